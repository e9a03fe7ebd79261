"""One energy in two coordinate systems: claims S05, S07, S08, S09 and S25 on random networks."""

import numpy as np
import pytest
from helpers.battery import network, oracle, sample, zero_errors
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import fewer, problems
from hypothesis import given

from minipc import epc, spc
from minipc.inference import check_precision, local_gradient
from reference import autograd_oracles as ad
from reference.problems import NONLINEAR

SMOOTH = [name for name in NONLINEAR if "relu" not in name]


@given(problems())
def test_both_coordinates_have_the_same_energy_and_weight_gradient(p):
    """S05, Eqs. (ePC.1), (ePC.2), (ePC.6): e -> s -> e returns, and e = 0 is where sPC starts."""
    net = network(p)
    s = epc.states_from_errors(net, p.params, p.e, p.x)
    assert_live([s, p.e])
    assert_same(spc.errors(net, p.params, s, p.y, p.precision).eps[1:-1], p.e[1:], rtol=1e-12)
    a = (
        spc.energy(net, p.params, s, p.y, p.precision),
        spc.weight_gradient(net, p.params, s, p.y, p.precision),
    )
    b = [f(net, p.params, p.e, p.x, p.y, p.precision) for f in (epc.energy, epc.weight_gradient)]
    assert_same(list(a), b)
    start = epc.states_from_errors(net, p.params, epc.feedforward(net, p.params, p.x), p.x)
    assert_same(start, spc.feedforward(net, p.params, p.x), rtol=0)


@given(problems())
def test_the_gradients_of_the_two_coordinates_are_linked_by_the_jacobian(p):
    """S07, Eq. (ePC.7): M is unit lower-triangular, and its transpose, not M itself, maps the gradient."""
    p = sample(p, 0)
    net, M = network(p), ad.state_error_jacobian(p.layers, p.params, p.e, p.x)
    s = epc.states_from_errors(net, p.params, p.e, p.x)
    of_s = ad.stack(spc.activity_gradient(net, p.params, s, p.y, p.precision)[1:])
    of_e = ad.stack(epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision)[1:])
    assert not np.triu(M, 1).any()
    assert_same(np.diag(M), np.ones(len(M)), rtol=0)
    assert_live(of_e)
    assert_same(of_e, M.T @ of_s)
    if len(p.layers) > 2:
        assert_differ(M @ of_s, of_e, min_rel=1e-6)


@given(problems())
def test_the_gradient_in_the_errors_is_accumulated_from_above(p):
    """Eq. (ePC.7) in backward form: dE/de_l = dE/ds_l + J_{l+1}^T dE/de_{l+1}, with equality at the top."""
    net, L = network(p), len(p.layers)
    s = epc.states_from_errors(net, p.params, p.e, p.x)
    of_s = spc.activity_gradient(net, p.params, s, p.y, p.precision)
    of_e = epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision)
    assert_same(of_e[L - 1], of_s[L - 1])
    for l in range(1, L - 1):
        block, q = net.blocks[l], p.params[l]
        down, _ = block.vjp(q, block.forward(q, s[l])[1], of_e[l + 1], params=False)
        assert_same(of_e[l], of_s[l] + down)


@given(problems(depth=(3, 4), widest=6, activations=SMOOTH))
@fewer(3)
def test_an_epc_step_is_a_preconditioned_spc_step(p):
    """S08, Eq. (ePC.8): -lam M M^T dE/ds, with a remainder that falls by ten in a decade."""
    p = sample(p, 0)
    net, M = network(p), ad.state_error_jacobian(p.layers, p.params, p.e, p.x)
    s = epc.states_from_errors(net, p.params, p.e, p.x)
    of_s = ad.stack(spc.activity_gradient(net, p.params, s, p.y, p.precision)[1:])
    of_e = epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision)
    direction = -M @ M.T @ of_s

    def remainder(lam):
        e = [None, *(v - lam * g for v, g in zip(p.e[1:], of_e[1:], strict=True))]
        moved = ad.stack(epc.states_from_errors(net, p.params, e, p.x)[1:]) - ad.stack(s[1:])
        return np.linalg.norm(moved / lam - direction) / np.linalg.norm(direction)

    assert_differ(-of_s, direction, min_rel=1e-5)
    assert remainder(1e-6) < 1e-3
    if remainder(1e-4) > 1e-8:  # a network may be nearly linear here
        assert remainder(1e-4) / remainder(1e-5) == pytest.approx(10, rel=0.3)


@given(problems())
def test_local_and_direct_weight_gradient_differ_by_that_of_the_error_gradient(p):
    """S09, Eq. (ePC.10), at any errors; at the output the two agree, in the hidden layers they do not."""
    net = network(p)
    at = epc._point(net, p.params, p.e, p.x, p.y, check_precision(net, p.params, p.precision))
    slope = epc.error_gradient(net, p.params, p.e, p.x, p.y, p.precision)
    gap = local_gradient(net, p.params, at._replace(xi=[*slope, 0 * at.xi[-1]]))
    direct = oracle(ad.epc_total_weight_gradient, p, p.e, p.x, p.y)
    local = epc.weight_gradient(net, p.params, p.e, p.x, p.y, p.precision)
    assert_same(local, [{k: a[k] + b[k] for k in a} for a, b in zip(direct, gap, strict=True)])
    assert_differ(local[:-1], direct[:-1])


@pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")  # one step may be too long
@given(problems(depth=(2, 4), precisions=(None,)))
def test_one_step_of_epc_is_backprop_times_the_step_in_the_first_layer(p):
    """S25, Eq. (ePC.11): e = -lam delta and dE/dW_1 = lam dLoss/dW_1 exactly; the output is not scaled."""
    lam, net = 0.1, network(p)
    g = epc.infer(net, p.params, zero_errors(p), p.x, p.y, inference_steps=1, step_size=lam)
    delta = oracle(ad.deltas, p, p.x, p.y, precision=False)[1:-1]
    backprop = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    assert_live([delta, backprop])
    assert_same(g.e[1:], [-lam * v for v in delta])
    grads = epc.weight_gradient(net, p.params, g.e, p.x, p.y)
    assert_same(grads[0], {k: lam * v for k, v in backprop[0].items()})
    tiny = epc.infer(net, p.params, zero_errors(p), p.x, p.y, inference_steps=1, step_size=1e-7).e
    assert_same(epc.weight_gradient(net, p.params, tiny, p.x, p.y)[-1], backprop[-1], rtol=1e-2)
