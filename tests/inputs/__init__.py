"""Bad input is refused before any work, in words that teach."""
