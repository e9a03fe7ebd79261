"""Is every mistake recognised? Students who made it, on problems drawn anew, and what they are told."""

from typing import NamedTuple

from minipc import check
from minipc.exercises import EXERCISES, twin
from minipc.mistakes import MISTAKES, load


class Outcome(NamedTuple):
    """What a student with a mistake was told."""

    mistake: str
    equation: str
    names: tuple
    alternatives: tuple

    @property
    def named(self):
        """The mistake, or one that is the same on these problems, and no second one."""
        return len(self.names) == 1 and self.mistake in self.alternatives[0]


def student(engine, equation):
    """One who writes what this engine says."""
    answer = EXERCISES[equation].answer
    return lambda *given: answer(engine, *(twin(engine, value) for value in given))


def outcome(name, seed, equation=None):
    """What a student with the mistake of this name is told, in the exercise of its equation."""
    equation = equation or MISTAKES[name].equation
    told = check.explain(student(load(name), equation), equation, seed=seed)
    return Outcome(name, equation, told.names, told.alternatives)
