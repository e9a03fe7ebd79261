"""Every equation of the engine against autograd, or against loops over indices, on random networks.

The checks stand in ``helpers/battery.py``; ``tests/mistakes`` shows that each of them can fail.
"""

import math

import pytest
from hypothesis import given, target

import minipc
from helpers.battery import CHECKS
from helpers.checks import assert_live, assert_same, worst_error
from helpers.strategies import problems

pytestmark = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")  # fixed steps may be too long here

INFERENCE = ("sPC", "ePC", "EPS")  # these equations need a hidden layer


def once(condition):
    """One name a check: the equations it covers, joined."""
    names = {}
    for equation, function in CHECKS.items():
        if condition(equation):
            names.setdefault(function, []).append(equation)
    return [pytest.param(function, id=" ".join(equations)) for function, equations in names.items()]


def agree(check, p):
    """The engine agrees with a live oracle; Hypothesis looks for the worst case."""
    actual, expected = check(minipc, p)
    assert_live(expected)
    assert_same(actual, expected)
    target(math.log10(worst_error(actual, expected) + 1e-300))


@pytest.mark.parametrize("check", once(lambda equation: not equation.startswith(INFERENCE)))
@given(p=problems(depth=(1, 6)))
def test_functions_blocks_backprop_and_optimisers(check, p):
    """Nothing here needs a hidden layer: one block is enough."""
    agree(check, p)


@pytest.mark.parametrize("check", once(lambda equation: equation.startswith(INFERENCE)))
@given(p=problems())
def test_predictive_coding(check, p):
    """Energies, gradients, steps and estimates of sPC and ePC."""
    agree(check, p)
