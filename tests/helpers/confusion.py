"""Is every mistake recognised? Students who made it: see ``experiments.debugger``."""

from functools import cache

from experiments import debugger
from experiments.debugger import asked, student
from minipc.mistakes import Bench

__all__ = ["asked", "outcome", "student"]


@cache
def bench():
    """One for all tests of a process; ``load(name)`` takes 0.15 s for each mistake and keeps a whole engine."""
    return Bench()


def outcome(name, seed):
    """What a student with the mistake of this name is told."""
    return debugger.outcome(name, seed, bench())
