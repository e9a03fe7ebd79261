"""Mutation testing of the engine: `python -m tests.mutation` says how."""
