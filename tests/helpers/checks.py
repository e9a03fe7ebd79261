"""Comparisons that cannot pass by accident: equal, alive, different; and arguments that refuse to be edited."""

import numpy as np

from minipc.check.comparison import compare
from minipc.check.comparison import leaves as _leaves

RTOL = 1e-10  # a derivation against its oracle in float64


def leaves(tree) -> list:
    """The arrays of nested lists, tuples and dicts, as ``minipc.check.compare`` finds them; None is skipped."""
    return list(_leaves(tree).values())


def assert_finite(tree, side):
    """No NaN and no infinity; names the array that has one."""
    for name, leaf in _leaves(tree).items():
        assert np.isfinite(leaf).all(), f"{name} is not finite in the {side} value"


def worst_error(actual, expected) -> float:
    """Largest relative error of all arrays; infinite where one is not finite."""
    if not all(np.isfinite(leaf).all() for leaf in leaves([actual, expected])):
        return np.inf
    return max(row.relative_error for row in compare(actual, expected).rows)


def assert_same(actual, expected, rtol=RTOL):
    """Every array agrees in shape and, in norm, within ``rtol``; the message shows the table of errors.

    A shape or structure that differs is a ValueError of ``compare``, which names it.
    """
    assert_finite(expected, "expected")
    assert_finite(actual, "actual")
    table = compare(actual, expected)
    wrong = [row.name for row in table.rows if not row.relative_error <= rtol]
    assert not wrong, f"{', '.join(wrong)}: relative error above {rtol:.0e}\n{table}"


def assert_live(reference, min_norm=1e-9):
    """Every array of the *reference* is away from zero: agreement with zero proves nothing."""
    found = leaves(reference)
    assert found, "the reference holds no array"
    for i, leaf in enumerate(found):
        norm = np.linalg.norm(leaf)
        assert norm > min_norm, f"array {i} of {len(found)} of the reference is dead: norm {norm:.1e}"


def assert_differ(a, b, min_rel=1e-3) -> float:
    """Negative control: two results that theory tells apart really differ. Returns by how much."""
    assert_finite([a, b], "compared")  # NaN is no difference
    error = worst_error(a, b)
    assert error > min_rel, f"expected a difference above {min_rel:.0e}, got the relative error {error:.1e}"
    return error


def read_only(tree):
    """Mark every array read-only, so that an edit of an argument raises; returns ``tree``."""
    for leaf in leaves(tree):
        leaf.flags.writeable = False
    return tree
