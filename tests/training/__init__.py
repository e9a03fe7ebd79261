"""The training loop, the data and the files."""
