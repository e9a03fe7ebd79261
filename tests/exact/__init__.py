"""Identities of the equations."""
