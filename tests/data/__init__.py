"""Data sets found, downloaded, verified and read; the server that misbehaves runs on 127.0.0.1."""
