"""The engine, and autograd, against the equations with every index spelled out, on small problems."""

import numpy as np
import pytest
from helpers.battery import LAM, network, oracle, zero_errors
from helpers.checks import assert_live, assert_same
from helpers.strategies import fewer, problems
from hypothesis import given

from minipc import backprop, epc, spc
from reference import autograd_oracles as ad
from reference import index_loops as loops

pytestmark = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")

SMALL = problems(depth=(2, 3), widest=5)


@given(problems(depth=(1, 3), widest=5))
def test_gradients(p):
    """Eqs. (BP.4)-(BP.6), (sPC.4), (sPC.6), (sPC.7), (ePC.4): nothing that NumPy's products could hide."""
    net, L = network(p), len(p.layers)
    expected = [
        oracle(loops.backprop_gradient, p, p.x, p.y, precision=False),
        oracle(loops.spc_activity_gradient, p, p.s, p.y)[1:],
        oracle(loops.spc_weight_gradient, p, p.s, p.y),
        oracle(loops.epc_error_gradient, p, p.e, p.x, p.y)[1:],
    ]
    actual = [
        backprop.gradient(net, p.params, p.x, p.y).grads,
        spc.activity_gradient(net, p.params, p.s, p.y, p.precision)[1:],
        spc.weight_gradient(net, p.params, p.s, p.y, p.precision),
        epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision)[1:],
    ]
    assert L == 1 or len(expected[1]) == L - 1
    assert_live(expected)
    assert_same(actual, expected, rtol=1e-12)


@given(SMALL)
@fewer(2)
def test_inference(p):
    """Eqs. (sPC.5), (ePC.5): four steps from any start, all layers from the same old values."""
    net, options = network(p), {"inference_steps": 4, "step_size": LAM}
    states = loops.spc_infer(p.layers, p.params, p.s, p.y, p.loss, p.precision, 4, LAM)
    errors = loops.epc_infer(p.layers, p.params, p.e, p.x, p.y, p.loss, p.precision, 4, LAM)
    assert_live([states, errors])
    assert_same(spc.infer(net, p.params, p.s, p.y, p.precision, **options).s, states, rtol=1e-12)
    assert_same(epc.infer(net, p.params, p.e, p.x, p.y, p.precision, **options).e, errors, rtol=1e-12)


@given(problems(depth=(2, 3), widest=5, losses=("cross_entropy",)))
@fewer(2)
def test_integer_labels_are_one_hot_rows(p):
    """The loops compare labels with the index; rows of zeros and a one give the very same numbers."""
    net, n = network(p), p.sizes[-1]
    labels = np.arange(len(p.x)) % n
    rows = np.eye(n)[labels]
    expected = [
        oracle(loops.backprop_gradient, p, p.x, labels, precision=False),
        oracle(loops.spc_activity_gradient, p, p.s, labels),
        oracle(loops.epc_error_gradient, p, p.e, p.x, labels),
    ]
    assert_live(expected)
    for y in (labels, labels.astype("uint8"), rows, rows.astype(bool)):
        actual = [
            backprop.gradient(net, p.params, p.x, y).grads,
            spc.activity_gradient(net, p.params, p.s, y, p.precision),
            epc.error_gradient(net, p.params, p.e, p.x, y, p.precision),
        ]
        assert_same(actual, expected, rtol=1e-12)
    for rule in (spc, epc):
        runs = [rule.gradient(net, p.params, p.x, y, p.precision, inference_steps=3) for y in (labels, rows)]
        assert_same([runs[0].grads, runs[0].loss], [runs[1].grads, runs[1].loss], rtol=0)


@given(SMALL)
@fewer(2)
def test_the_oracles_agree_with_one_another(p):
    """Autograd and the loops: derivatives taken by machine and by hand, no engine involved."""
    by_machine = [
        oracle(ad.loss_gradient, p, p.x, p.y, precision=False),
        oracle(ad.spc_activity_gradient, p, p.s, p.y),
        oracle(ad.spc_weight_gradient, p, p.s, p.y),
        oracle(ad.epc_error_gradient, p, p.e, p.x, p.y),
        ad.states_from_errors(p.layers, p.params, zero_errors(p), p.x),
    ]
    by_hand = [
        oracle(loops.backprop_gradient, p, p.x, p.y, precision=False),
        oracle(loops.spc_activity_gradient, p, p.s, p.y),
        oracle(loops.spc_weight_gradient, p, p.s, p.y),
        oracle(loops.epc_error_gradient, p, p.e, p.x, p.y),
        loops.states_from_errors(p.layers, p.params, zero_errors(p), p.x),
    ]
    assert_live(by_machine)
    assert_same(by_hand, by_machine)
