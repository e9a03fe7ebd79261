"""Settings that must matter do; approximations differ from what they approximate."""
