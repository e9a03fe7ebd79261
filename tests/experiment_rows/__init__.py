"""The experiments land where they are said to; the folder is not called like theirs, which Python would mix up."""
