"""Students who wrote it by themselves: a function with places to go wrong, and what they should be told."""

import functools

import pytest

from minipc import check


def verify(equation, function, places, expected, seed):
    """What a student is told whose function has these places changed: nothing, or this name (these, of two)."""
    names = {expected} if isinstance(expected, str) else set(expected)
    found = check.explain(functools.partial(function, **places), equation, seed=seed)
    assert set(found.names) == names, str(found)
    assert found.correct == (not names)


def cases(table):
    """A test over rows (equation, function, places, expected), on two problems each."""
    rows = pytest.mark.parametrize(("equation", "function", "places", "expected"), table)
    return lambda test: pytest.mark.parametrize("seed", [0, 11])(rows(test))
