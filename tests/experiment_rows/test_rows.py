"""The cheap rows of ``python -m experiments``, some with fewer networks or steps: every line lands."""

import os

import pytest

from experiments import limits, linear, signal, training

need_mnist = pytest.mark.skipif(not os.environ.get("MINIPC_DATA"), reason="needs MNIST: set MINIPC_DATA")


def check(lines):
    """Every line that has an expectation lands."""
    assert lines
    missed = [line for line in lines if line.lands is False]
    assert missed == []
    assert any(line.lands for line in lines)


def test_row_1_closed_form():
    """sPC and ePC against linear algebra."""
    check(linear.oracle(steps=5_000))


def test_row_2_first_arrival():
    """Exact zeros, then the law."""
    check(signal.first_arrival())


def test_row_3_exact_backprop():
    """Z-IL and fixed predictions."""
    check(limits.exact_backprop())


def test_row_4_one_step():
    """ePC with one step."""
    check(limits.one_step())


def test_row_5_same_equilibrium():
    """Two networks instead of twelve, so no demand on the smallest cosine."""
    _, states, grads, cosines, *_ = limits.same_equilibrium(nets=2, others=0)
    check([states, grads])
    assert 0 < max(cosines.measured) < 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_row_9_nudging(seed):
    """Which limit is backprop, for two networks."""
    lines = limits.nudging(seed=seed)
    if seed == 0:
        check(lines)
    assert all(line.lands for line in lines if "error at" in line.what)  # the orders in beta


def test_row_13_target_alignment():
    """Eight networks of every depth."""
    check(linear.target_alignment(more=8))


def test_row_14_origin_saddle():
    """Depths 2, 3 and 5; nothing is random."""
    check(linear.origin_saddle())


@need_mnist
def test_row_7_float32_stall():
    """Layers that receive nothing."""
    check(signal.float32_stall())


@need_mnist
def test_row_8_four_layers():
    """One run of backprop and of small-step ePC: the same accuracy, and the regime says why."""
    rules = [rule for rule in training.TABLE[4, 6_400, 3] if rule[1] in ("BP", "ePC N = 5, lam 0.001")]
    bp, small = training.training_table(table={(4, 6_400, 1): rules})
    check([bp, small])
    assert abs(bp.measured["accuracy"][0] - small.measured["accuracy"][0]) < 1
    assert 0 < small.measured["regime"][0][0] < 0.1
