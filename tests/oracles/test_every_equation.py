"""Every equation of the engine against autograd, or against loops over indices, on random networks.

The checks stand in ``helpers/battery.py``; ``tests/mistakes`` shows that each of them can fail.
"""

import math

import pytest
from helpers.battery import CHECKS
from helpers.checks import assert_live, assert_same, worst_error
from helpers.strategies import fewer, problems
from hypothesis import given, target

import minipc

pytestmark = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")  # fixed steps may be too long here

INFERENCE = ("sPC", "ePC", "EPS", "MOM", "ZIL", "FPA")  # these equations need a hidden layer
LIGHT = ("ACT", "LOSS")  # these are checked together
OPTIMISERS = ("SGD", "RMS", "ADAM", "DECAY", "CLIP", "WARM", "COS", "STEP")
BLOCKS = ("CONV", "POOL", "EMB", "RES", "LN", "BN", "sPC.18", "sPC.19")  # these bring their own sizes


def by_check(families):
    """The checks of these families: one parameter for each function, named by its equations."""
    names = {}
    for equation, function in CHECKS.items():
        if equation.startswith(families) and not (equation in BLOCKS and families is INFERENCE):
            names.setdefault(function, []).append(equation)
    return pytest.mark.parametrize("check", [pytest.param(f, id=" ".join(ids)) for f, ids in names.items()])


def agree(check, p):
    """The engine agrees with a live oracle; returns the worst error."""
    actual, expected = check(minipc, p)
    assert_live(expected)
    assert_same(actual, expected)
    return worst_error(actual, expected)


def search(error):
    """Let Hypothesis look for the worst case."""
    target(math.log10(error + 1e-300))


@given(p=problems(depth=(1, 6)))
def test_functions(p):
    """Activations and losses, with numbers of the problem."""
    search(max(agree(check, p) for equation, check in CHECKS.items() if equation.startswith(LIGHT)))


@by_check(OPTIMISERS)
@given(p=problems(depth=(1, 6)))
@fewer(5)
def test_optimisers(check, p):
    """Five updates with gradients made of the parameters of the problem; values of the schedules."""
    search(agree(check, p))


@by_check(("BP", "JVP"))
@given(p=problems(depth=(1, 6)))
def test_blocks_and_backprop(check, p):
    """Nothing here needs a hidden layer: one block is enough."""
    search(agree(check, p))


@by_check(BLOCKS)
@given(p=problems(depth=(1, 1)))
@fewer(10)
def test_blocks_with_their_own_sizes(check, p):
    """The problem seeds their arrays. ``test_blocks.py`` has more about them."""
    search(agree(check, p))


@by_check(INFERENCE)
@given(p=problems())
def test_predictive_coding(check, p):
    """Energies, gradients, steps and estimates of sPC and ePC."""
    search(agree(check, p))


def test_every_check_runs():
    """No family of equations is forgotten here."""
    assert all(
        equation.startswith((*LIGHT, *OPTIMISERS, "BP", "JVP", *BLOCKS, *INFERENCE)) for equation in CHECKS
    )
