"""The comparisons refuse what they must refuse, and accept what they must accept."""

import numpy as np
import pytest

from helpers.checks import assert_differ, assert_live, assert_same, leaves, read_only, worst_error

ONE = [{"W": np.array([[1.0, 2.0]]), "b": np.array([3.0])}, {"W": np.array([[4.0]]), "b": np.array([5.0])}]


def changed(index, name, value):
    """ONE with another array in one place."""
    return [{**q, name: np.array(value)} if l == index else q for l, q in enumerate(ONE)]


NAN, INF = changed(1, "b", [np.nan]), changed(1, "b", [np.inf])
OFF, SHAPE = changed(1, "b", [5.0 + 1e-8]), changed(1, "b", [5.0, 5.0])


def test_equal_trees_are_the_same():
    """Also within the tolerance, in nested tuples, with None in places."""
    assert_same(ONE, ONE)
    assert_same(([None, *ONE], np.ones(2)), ([None, *ONE], np.ones(2) + 1e-12))
    assert_same(OFF, ONE, rtol=1e-7)
    assert worst_error(ONE, ONE) == 0


@pytest.mark.parametrize("wrong", [NAN, INF, OFF], ids=["nan", "infinite", "off by 2e-9"])
def test_a_wrong_last_array_is_not_the_same(wrong):
    """Nothing hides behind the arrays that agree, on neither side."""
    for pair in ((wrong, ONE), (ONE, wrong)):
        with pytest.raises(AssertionError, match=r"b\[2\]"):
            assert_same(*pair)
        assert worst_error(*pair) > 1e-10


def test_two_nans_are_not_the_same():
    """A rule that is not finite agrees with nothing."""
    with pytest.raises(AssertionError, match="not finite"):
        assert_same(NAN, NAN)
    assert worst_error(NAN, NAN) == np.inf


@pytest.mark.parametrize("wrong", [SHAPE, ONE[:1], [np.ones(2), np.ones(1)], []])
def test_another_shape_or_structure_is_not_the_same(wrong):
    """An array that would broadcast, a missing layer, another nesting, nothing at all."""
    for pair in ((wrong, ONE), (ONE, wrong)):
        with pytest.raises(ValueError, match=r"shape|structure"):
            assert_same(*pair)
        with pytest.raises(ValueError, match=r"shape|structure"):
            worst_error(*pair)


def test_nothing_is_not_the_same_as_nothing():
    """A comparison without arrays would pass whatever the engine does."""
    with pytest.raises(ValueError, match="nothing to compare"):
        assert_same([None], [None])


def test_dead_references_are_refused():
    """Zero, tiny, NaN and empty references, in the last place."""
    assert_live(ONE)
    assert_live(changed(1, "b", [1e-6]))
    for dead in (changed(1, "b", [0.0]), changed(1, "b", [1e-10]), NAN, [None]):
        with pytest.raises(AssertionError, match=r"dead|no array"):
            assert_live(dead)


def test_equal_values_do_not_differ():
    """A control must differ clearly, and not by being broken."""
    assert assert_differ(changed(0, "b", [4.0]), ONE) == pytest.approx(1 / 3)
    for same in (ONE, OFF, NAN, INF):
        with pytest.raises(AssertionError, match=r"expected a difference|not finite"):
            assert_differ(same, ONE)


def test_read_only_arrays_refuse_an_edit():
    """All of them, and the values stay."""
    tree = read_only([None, {"W": np.zeros(2)}, (np.zeros(3),)])
    for leaf in leaves(tree):
        with pytest.raises(ValueError, match="read-only"):
            leaf += 1
        assert not leaf.any()
    assert len(leaves(tree)) == 2
