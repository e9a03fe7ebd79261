"""The smallest cases: no step, one block, one sample, one unit."""

import numpy as np
import pytest
from helpers.battery import CHECKS, LAM, fixed, network, oracle
from helpers.checks import assert_live, assert_same, leaves, worst_error
from helpers.strategies import fewer, problems
from hypothesis import given

from minipc import backprop, epc, mistakes, spc
from reference import autograd_oracles as ad

PC = {
    "sPC": (spc, LAM),
    "ePC fixed": (epc, LAM),
    "ePC power": (epc, "power"),
    "ePC adaptive": (epc, "adaptive"),
}
by_rule = pytest.mark.parametrize(("rule", "step_size"), PC.values(), ids=PC)


@by_rule
@fewer(3)
@given(p=problems(precisions=(None, "unit")))
def test_no_step_leaves_the_feedforward_point(rule, step_size, p):
    """The energy is the loss, hidden gradients are exactly zero, the output's is backprop's."""
    g = rule.gradient(network(p), p.params, p.x, p.y, p.precision, inference_steps=0, step_size=step_size)
    assert_same(g.states, ad.feedforward(p.layers, p.params, p.x)[:-1])
    assert_same(g.energy, g.loss, rtol=1e-14)
    assert not any(leaf.any() for leaf in leaves([g.grads[:-1], g.errors[1:-1]]))
    assert_same(g.grads[-1], oracle(ad.loss_gradient, p, p.x, p.y, precision=False)[-1])
    delta = oracle(ad.deltas, p, p.x, p.y, precision=False)[1:-1]
    felt = delta if rule is epc else delta[-1:]  # sPC: the error has reached the last hidden layer only
    assert_same(g.residual, np.sqrt(sum((v**2).sum(axis=1) for v in felt)))
    assert rule is spc or not g.regime.any()


@by_rule
@fewer(3)
@given(p=problems(depth=(1, 1)))
def test_one_block_has_nothing_to_infer(rule, step_size, p):
    """Every rule is backprop with the output precision, at rest from the start, after any number of steps."""
    top = ad.precisions(p.layers, p.precision)[-1]
    expected = ad.loss_gradient(p.layers, p.params, p.x, p.y, p.loss, top)
    for steps in (0, 1, 12):
        g = rule.gradient(
            network(p),
            p.params,
            p.x,
            p.y,
            p.precision,
            inference_steps=steps,
            step_size=step_size,
            tolerance=1e-12,
        )
        assert_live(expected)
        assert_same(g.grads, expected)
        assert_same(g.energy, ad.loss_value(p.loss, ad.feedforward(p.layers, p.params, p.x)[-1], p.y, top))
        assert not g.residual.any()
        assert [s.shape for s in g.states] == [p.x.shape]
        assert len(g.errors) == 2


@given(problems(depth=(1, 1)))
def test_one_block_has_no_free_layer(p):
    """Lists of free layers hold an entry 0 and nothing else."""
    net = network(p)
    assert spc.activity_gradient(net, p.params, p.s, p.y, p.precision) == [None]
    assert epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision) == [None]
    assert epc.feedforward(net, p.params, p.x) == [None]
    assert (epc.largest_eigenvalue(net, p.params, p.e, p.x, p.y, p.precision) == 1).all()


@pytest.mark.parametrize("equation", CHECKS)
def test_one_sample_and_one_unit_are_no_special_case(equation):
    """Every check on one sample, and on layers of one unit; squared error, since one logit has no loss."""
    for p in (fixed((3, 5, 4, 6, 2), B=1)[0], *fixed((1, 1, 1, 1), B=1)[:2]):
        assert worst_error(*CHECKS[equation](mistakes.load(), p)) < 1e-10


@by_rule
def test_results_have_the_promised_shapes(rule, step_size):
    """Per-sample numbers are (B,), gradients have the structure of the parameters, errors and states are by layer."""
    p = fixed((3, 5, 4, 6, 2), B=1)[0]
    g = rule.gradient(network(p), p.params, p.x, p.y, p.precision, inference_steps=2, step_size=step_size)
    assert g.loss.shape == g.energy.shape == g.residual.shape == (1,)
    assert [{k: v.shape for k, v in q.items()} for q in g.grads] == [
        {k: v.shape for k, v in q.items()} for q in p.params
    ]
    assert [v.shape for v in g.states] == [(1, n) for n in p.sizes[:-1]]
    assert g.errors[0] is None
    assert [v.shape for v in g.errors[1:]] == [(1, n) for n in p.sizes[1:]]
    assert backprop.gradient(network(p), p.params, p.x, p.y).energy is None
