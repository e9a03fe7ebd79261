"""Raw entries: zeros, saturated units, weights of 20. Nothing overflows, and the derivatives are still right."""

import numpy as np
import pytest
from helpers.battery import CHECKS, flat, network
from helpers.checks import assert_finite
from helpers.strategies import extreme_problems
from hypothesis import given

import minipc
from minipc import backprop, epc, spc

EQUATIONS = ("BP.1", "BP.2", "BP.4", "BP.5", "JVP.1", "sPC.1", "sPC.2", "sPC.4", "ePC.1", "ePC.2", "ePC.4")


@given(p=extreme_problems())
def test_the_checks_hold_for_raw_entries(p):
    """Against the size of what was multiplied: a saturated unit leaves 1e-16 where autograd leaves 0."""
    product = np.prod([20 * n for n in p.sizes])  # the longest path through weights of 20
    for equation in EQUATIONS:
        actual, expected = (flat(tree) for tree in CHECKS[equation](minipc, p))
        tolerance = 1e-10 * np.abs(expected).max() + 1e-14 * product
        assert np.abs(actual - expected).max() <= tolerance, equation


@pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")
@given(extreme_problems())
def test_no_rule_overflows(p):
    """NumPy's warnings are errors here. Steps that are too long for a problem may warn, by name, and nothing else."""
    net, y = network(p), p.y
    results = [
        backprop.gradient(net, p.params, p.x, y),
        spc.gradient(net, p.params, p.x, y, inference_steps=3, step_size=1e-4),
        epc.gradient(net, p.params, p.x, y, inference_steps=20),
        epc.gradient(net, p.params, p.x, y, inference_steps=3, step_size="power"),
    ]
    for g in results:
        assert_finite([v for v in g if not callable(v) and v is not None], "returned")
    assert (results[2].energy <= results[2].loss * (1 + 1e-12) + 1e-12).all()
