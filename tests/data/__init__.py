"""Data: loaders and generators."""
