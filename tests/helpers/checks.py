"""Comparisons that cannot pass by accident: equal, alive, different; and arguments that refuse to be edited."""

import numpy as np

from minipc.check import _leaves, compare

RTOL = 1e-10  # a derivation against its oracle in float64


def leaves(tree) -> list:
    """The arrays of nested lists, tuples and dicts, as ``minipc.check.compare`` finds them; None is skipped."""
    return list(_leaves(tree).values())


def worst_error(actual, expected) -> float:
    """Largest relative error of all arrays; infinite where one is not finite or the structures differ."""
    try:
        rows = compare(actual, expected).rows
    except ValueError:
        return np.inf
    return max(row.relative_error if np.isfinite(row.relative_error) else np.inf for row in rows)


def assert_same(actual, expected, rtol=RTOL):
    """Every array agrees in shape and, in norm, within ``rtol``; the message shows the table of errors."""
    table = compare(actual, expected)  # a ValueError names a shape or structure that differs
    for side, tree in (("actual", actual), ("expected", expected)):
        for row, leaf in zip(table.rows, leaves(tree), strict=True):
            assert np.isfinite(leaf).all(), f"{row.name} is not finite in the {side} value"
    wrong = [row.name for row in table.rows if not row.relative_error <= rtol]
    assert not wrong, f"{', '.join(wrong)}: relative error above {rtol:.0e}\n{table}"


def assert_live(reference, min_norm=1e-6):
    """Every array of the *reference* is away from zero: agreement with zero proves nothing."""
    found = leaves(reference)
    assert found, "the reference holds no array"
    for i, leaf in enumerate(found):
        norm = np.linalg.norm(leaf)
        assert norm > min_norm, f"array {i} of {len(found)} of the reference is dead: norm {norm:.1e}"


def assert_differ(a, b, min_rel=1e-3) -> float:
    """Negative control: two results that theory tells apart really differ. Returns by how much."""
    assert all(np.isfinite(leaf).all() for leaf in leaves([a, b])), "a value that is not finite is no difference"
    error = max(row.relative_error for row in compare(a, b).rows)
    assert error > min_rel, f"expected a difference above {min_rel:.0e}, got the relative error {error:.1e}"
    return error


def read_only(tree):
    """Mark every array read-only, so that an edit of an argument raises; returns ``tree``."""
    for leaf in leaves(tree):
        leaf.flags.writeable = False
    return tree
