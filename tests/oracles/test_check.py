"""The comparison that students and tests use: relative error, cosine, ratio, worst entry, Eqs. (CHK.1), (CHK.2)."""

import warnings

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from helpers.battery import network
from helpers.checks import assert_same, leaves
from helpers.strategies import problems
from hypothesis import given

from minipc import backprop
from minipc.check import compare, complex_step

ONE = [
    {"W": np.array([[1.0, 2.0], [2.0, 4.0]]), "b": np.array([3.0, 4.0])},
    {"W": np.array([[1.0]]), "b": np.array([2.0])},
]


def with_last(value):
    """ONE with another last bias."""
    return [ONE[0], {**ONE[1], "b": np.array([value])}]


@given(problems(depth=(1, 4)))
def test_every_row_is_what_its_column_says(p):
    """Error, cosine and ratio in the Euclidean norm; the worst entry with both values."""
    g = backprop.gradient(network(p), p.params, p.x, p.y)
    other = [{k: v + np.cos(v) for k, v in q.items()} for q in g.grads]
    table = compare(other, g)
    assert [row.name for row in table.rows] == [
        f"{k}[{l}]" for l in range(1, len(p.layers) + 1) for k in "Wb"
    ]
    for row, got, expected in zip(table.rows, leaves(other), leaves(g.grads), strict=True):
        a, x = got.ravel(), expected.ravel()
        assert row.relative_error == pytest.approx(np.linalg.norm(a - x) / np.linalg.norm(x))
        assert row.cosine == pytest.approx(a @ x / np.linalg.norm(a) / np.linalg.norm(x))
        assert row.norm_ratio == pytest.approx(np.linalg.norm(a) / np.linalg.norm(x))
        assert np.abs(got - expected).max() == abs(got[row.worst] - expected[row.worst])
        assert (row.got, row.expected) == (got[row.worst], expected[row.worst])
    assert table.worst == max(row.relative_error for row in table.rows)


def test_a_factor_and_a_direction_are_told_apart():
    """Twice the gradient has cosine 1 and ratio 2; the opposite one has cosine -1."""
    twice = compare([{k: 2 * v for k, v in q.items()} for q in ONE], ONE)
    assert all(row.cosine == pytest.approx(1) and row.norm_ratio == pytest.approx(2) for row in twice.rows)
    assert twice.worst == pytest.approx(1)
    against = compare([{k: -v for k, v in q.items()} for q in ONE], ONE)
    assert all(row.cosine == pytest.approx(-1) for row in against.rows)
    assert "W[1]" in str(twice)
    assert str(twice).count("\n") == 4


def test_zero_is_only_equal_to_zero():
    """Both zero: no error. Only the expected one: an infinite error."""
    zero = [{k: 0 * v for k, v in q.items()} for q in ONE]
    assert compare(zero, zero).worst == 0
    assert compare(ONE, zero).worst == np.inf
    assert compare(zero, ONE).worst == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_the_worst(value):
    """Wherever it stands: a NaN must not lose against the numbers before it; and no warning of NumPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in ((with_last(value), ONE), (ONE, with_last(value)), (with_last(value)[::-1], ONE[::-1])):
            assert not compare(*pair).worst < 1


def test_structures_that_differ_are_refused():
    """A missing layer, another shape that would broadcast, nothing at all."""
    for wrong in (ONE[:1], [ONE[0]["W"]], with_last(2.0)[:1] + [{"W": np.ones((1, 1))}]):
        with pytest.raises(ValueError, match="structures differ"):
            compare(wrong, ONE)
    with pytest.raises(ValueError, match=r"b\[2\] must have shape \(1,\), got \(2,\)"):
        compare([ONE[0], {**ONE[1], "b": np.ones(2)}], ONE)
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([None], [None])


def test_the_complex_step_has_no_cancellation():
    """Equal to autograd's derivative to rounding, where a difference quotient has half the digits."""

    def function(x, exp=np.exp):
        return (exp(x) * x**3 / (2 + x * x)).sum()

    x = np.array([[0.3, -1.2], [2.0, 0.7]])
    exact = grad(lambda x: function(x, anp.exp))(x)
    assert_same(complex_step(function, x), exact, rtol=1e-14)
    central = [(function(x + h) - function(x - h)) / 2e-6 for h in 1e-6 * np.eye(4).reshape(4, 2, 2)]
    assert 1e-14 < np.linalg.norm(np.reshape(central, (2, 2)) - exact) / np.linalg.norm(exact) < 1e-6
    assert complex_step(function, np.array(0.3)).shape == ()
