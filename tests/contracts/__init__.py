"""Promises that are about the text: imports, names, equation ids, files."""
