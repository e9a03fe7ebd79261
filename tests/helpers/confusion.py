"""Is every mistake recognised? Students who made it: see ``experiments.debugger``."""

from experiments.debugger import asked, outcome, student

__all__ = ["asked", "outcome", "student"]
