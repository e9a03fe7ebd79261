"""Variants of sPC in linear networks against linear algebra: claims S27, S28, S30; the stability of momentum."""

import numpy as np
import pytest
from helpers.battery import network
from helpers.checks import assert_differ, assert_live, assert_same

import minipc as pc
from minipc import backprop, spc, variants
from reference import closed_form as cf
from reference.problems import linear


def gentle(seed):
    """A well-conditioned linear problem with unit precisions."""
    rng = np.random.default_rng(seed)
    return linear(rng, sizes=(3, 5, 4, 6, 2), B=3, precision=None, gain=0.7)


def settled(rule, p, **options):
    """The rule at equilibrium, with the best fixed step."""
    ev = np.linalg.eigvalsh(cf.hessian_states(p.params))
    options = {"inference_steps": 2500, "step_size": 1.8 / ev.max(), **options}
    g = rule(network(p), p.params, p.x, p.y, **options)
    assert (g.residual < 1e-12).all()
    return g


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [-0.5, 0.01, 0.3, 1.0])
def test_target_interpolation_is_filtered_for_every_beta(seed, beta):
    """S27, Eq. (sPC.15): eps/beta = P^T Omega^-1 r, the same for every beta, and not backprop's."""
    p = gentle(seed)
    g = settled(variants.target_interpolation, p, beta=beta)
    scaled = [e / beta for e in g.errors[1:-1]]
    assert_same(scaled, cf.equilibrium(p.params, p.x, p.y).errors[1:-1])
    assert_same(g.errors[1:-1], cf.interpolated_errors(p.params, p.x, p.y, beta)[1:])
    delta = backprop.gradient(network(p), p.params, p.x, p.y).errors[1:-1]
    assert_live(delta)
    assert_differ(scaled, delta)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [-0.05, 0.01, 0.3, 1.0])
def test_loss_weighting_is_regularised_backprop(seed, beta):
    """Eq. (sPC.16): eps/beta = P^T (I + beta sum P P^T)^-1 r; at beta = 1 the equilibrium of sPC."""
    p = gentle(seed)
    g = settled(variants.nudged, p, beta=beta)
    expected = cf.nudged_errors(p.params, p.x, p.y, beta)[1:]
    assert_live(expected)
    assert_same(g.errors[1:-1], expected)
    whole = [None, *(np.ones(len(q["b"])) for q in p.params)]
    Pi = [*whole[1:-1], beta * whole[-1]]
    if beta > 0:
        assert_same(expected, cf.equilibrium(p.params, p.x, p.y, Pi).errors[1:-1])
        assert_same(g.energy, cf.equilibrium(p.params, p.x, p.y, Pi).energy)


def test_too_strong_a_negative_nudge_has_no_minimum():
    """Eq. (sPC.17): E_(-beta) is bounded below only if beta times the largest eigenvalue of sum P P^T is below 1."""
    p = gentle(0)
    bound = 1 / np.linalg.eigvalsh(cf.omega(p.params) - np.eye(2)).max()
    steps = {"inference_steps": 4000, "step_size": 0.1}
    below = variants.nudged(network(p), p.params, p.x, p.y, beta=-0.9 * bound, **steps)
    above = variants.nudged(network(p), p.params, p.x, p.y, beta=-1.1 * bound, **steps)
    assert below.residual.max() < 1e-3
    assert above.residual.min() > 10


@pytest.mark.parametrize("seed", range(3))
def test_multipliers_find_backprop_in_linear_networks(seed):
    """S30: errors vanish and the multipliers carry -delta, for any positive penalty that the step allows."""
    p = gentle(seed)
    expected = backprop.gradient(network(p), p.params, p.x, p.y)
    for penalty in (0.5, 1.0, 2.0):
        g = variants.pc_alm(
            network(p),
            p.params,
            p.x,
            p.y,
            inference_steps=8000,
            step_size=0.1,
            penalty=penalty,
            dual_step=0.3,
        )
        assert_same(g.grads, expected.grads, rtol=1e-9)
        assert max(np.abs(e).max() for e in g.errors[1:-1]) < 1e-11


@pytest.mark.parametrize("m", [0.0, 0.5, 0.9])
def test_momentum_is_stable_up_to_its_bound(m):
    """Eq. (MOM.1): lambda ev_max < 2 (1 + m); pins the scale of the gradient and the sign of the momentum."""
    p = gentle(1)
    bound = 2 * (1 + m) / np.linalg.eigvalsh(cf.hessian_states(p.params)).max()

    def residuals(share):
        options = {"momentum": m, "step_size": share * bound}
        return [
            variants.momentum(network(p), p.params, p.x, p.y, inference_steps=n, **options).residual
            for n in (30, 90)
        ]

    early, late = residuals(0.95)
    assert (late < early).all()
    with pytest.warns(pc.InferenceWarning):
        early, late = residuals(1.05)
    assert (late > early).all()


def test_newton_steps_of_a_linear_chain_of_units_solve_it_when_one_unit_is_free():
    """Eq. (sPC.21) with two hidden units overshoots: the diagonal is not the Hessian."""
    rng = np.random.default_rng(0)
    one = linear(rng, sizes=(3, 1, 4), B=3, precision="diagonal")
    net = network(one)
    s = variants.newton_step(net, one.params, one.s, one.y, one.precision)
    assert_same(s, cf.equilibrium(one.params, one.x, one.y, one.precision).states, rtol=1e-12)
    two = linear(rng, sizes=(3, 2, 4), B=3, precision="diagonal")
    s = variants.newton_step(network(two), two.params, two.s, two.y, two.precision)
    slope = spc.activity_gradient(network(two), two.params, s, two.y, two.precision)
    assert np.abs(slope[1]).max() > 1e-3
