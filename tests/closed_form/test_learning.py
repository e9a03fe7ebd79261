"""Closed forms of learning and of the worked example: claims S39, S40, S41, and the number of steps (sPC.24)."""

import math

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import elementwise_grad, grad, hessian
from helpers.checks import assert_differ, assert_live, assert_same

from minipc import Dense, Network, backprop, epc, spc
from reference import autograd_oracles as ad
from reference import closed_form as cf
from reference.problems import linear


def equilibrium_gradient(net, params, x, y):
    """dE*/dW of a linear network, by the engine."""
    e = epc.gauss_newton_step(net, params, epc.feedforward(net, params, x), x, y)
    return epc.weight_gradient(net, params, e, x, y)


def backprop_gradient(net, params, x, y):
    """dLoss/dW, by the engine."""
    return backprop.gradient(net, params, x, y).grads


# ---------------------------------------------------------------------- the saddle at the origin


@pytest.mark.parametrize("L", [1, 2, 3, 5])
def test_the_curvature_at_the_origin(L):
    """S39, Eq. (LIN.10): the Hessians are those of the loss and of (LIN.4), written out and differentiated."""
    rng = np.random.default_rng(L)
    x, y = rng.standard_normal((2, 4))

    def loss(w):
        return 0.5 * anp.sum((y - math.prod(w) * x) ** 2)

    def energy(w):
        omega = 1.0 + sum(math.prod(w[l:]) ** 2 for l in range(1, L))
        return loss(w) / omega

    exact = [hessian(f)(np.zeros(L)) for f in (loss, energy)]
    assert_same(list(cf.saddle_hessians(x, y, L)), exact)
    if L > 1:
        assert_same(list(cf.saddle_eigenvalues(x, y, L)), [np.linalg.eigvalsh(H) for H in exact])
        assert np.linalg.eigvalsh(exact[1])[0] < 0  # the saddle of E* is strict at every depth
    assert (np.linalg.norm(exact[0]) > 0) == (L <= 2)


# ---------------------------------------------------------------------- target alignment


@pytest.mark.parametrize("seed", range(3))
def test_target_alignment_is_what_a_short_weight_step_does(seed):
    """S40, Eq. (sPC.22): the output before and after a step of 1e-6 on one sample, by both rules."""
    p = linear(np.random.default_rng(seed), sizes=(3, 5, 4, 6, 2), B=3, precision=None)
    net = Network([Dense(*pair) for pair in zip(p.sizes, p.sizes[1:], strict=False)])
    found = {}
    for name, rule in (("backprop", backprop_gradient), ("equilibrium", equilibrium_gradient)):
        cosines = []
        for b in range(3):
            x, y = p.x[b : b + 1], p.y[b : b + 1]
            g = rule(net, p.params, x, y)
            moved = [{k: q[k] - 1e-6 * h[k] for k in q} for q, h in zip(p.params, g, strict=True)]
            r, change = y - net.forward(p.params, x), net.forward(moved, x) - net.forward(p.params, x)
            cosines.append(np.sum(r * change) / (np.linalg.norm(r) * np.linalg.norm(change)))
        found[name] = cf.target_alignment(p.params, p.x, p.y, name)
        assert_live(found[name])
        assert_same(found[name], np.array(cosines), rtol=1e-4)
    assert_differ(found["backprop"], found["equilibrium"])


def test_without_a_hidden_layer_both_rules_are_aligned():
    """Exactly: the step is along the residual."""
    p = linear(np.random.default_rng(0), sizes=(4, 3), B=5, precision=None)
    for rule in ("backprop", "equilibrium"):
        assert_same(cf.target_alignment(p.params, p.x, p.y, rule), np.ones(5), rtol=1e-14)


# ---------------------------------------------------------------------- how many steps


@pytest.mark.parametrize("seed", range(3))
def test_the_slowest_mode_says_how_many_steps_it_takes(seed):
    """Eq. (sPC.24): sPC of a linear net, started off its equilibrium along the slowest mode of H_s."""
    p = linear(np.random.default_rng(seed), sizes=(3, 5, 4, 2), B=1, precision="full")
    net = Network([Dense(*pair) for pair in zip(p.sizes, p.sizes[1:], strict=False)])
    star = cf.equilibrium(p.params, p.x, p.y, p.precision)
    ev, V = np.linalg.eigh(cf.hessian_states(p.params, p.precision))
    at, _ = cf.slices(p.params)
    start = [p.x, *(star.states[l] + V[at[l], 0][None] for l in (1, 2))]
    N, estimate = cf.contraction_steps(ev, 1e-3)

    def distance(steps):
        run = spc.infer(net, p.params, start, p.y, p.precision, inference_steps=steps, step_size=1 / ev.max())
        return np.linalg.norm(np.concatenate([run.s[l] - star.states[l] for l in (1, 2)], axis=1))

    assert distance(N) <= 1e-3 < distance(N - 1)
    assert N <= estimate + 1
    assert ev.max() / ev.min() > 5  # not the trivial case


def test_equal_eigenvalues_need_one_step():
    """The step 1/ev is the exact one."""
    assert cf.contraction_steps([2.0, 2.0], 1e-6) == (1, 0.0)
    steps, estimate = cf.contraction_steps([0.01, 2.0], 1e-3)
    assert steps == pytest.approx(estimate, rel=0.01)


# ---------------------------------------------------------------------- the worked example


def test_the_numbers_of_the_worked_example():
    """S41, Eq. (sPC.23): as published and as the cubic says, and the wrong sign."""
    assert cf.warm_up_flow(2.0, 3.0, 0.01, 500, error_units=True) == pytest.approx(1.5524, abs=5e-5)
    assert cf.warm_up_flow(2.0, 3.0, 0.01, 500, error_units=False) == pytest.approx(1.5675, abs=5e-5)
    mode = cf.warm_up_mode(2.0, 3.0)
    assert 2 * mode**3 - 3 * mode - 3 == pytest.approx(0, abs=1e-12)
    assert mode == pytest.approx(1.56747, abs=5e-6)
    assert cf.warm_up_flow(2.0, 3.0, 0.01, 500, error_units=True, sign=-1.0) == pytest.approx(-1.81, abs=0.01)


@pytest.mark.parametrize(("observation", "prior"), [(2.0, 3.0), (1.0, 0.5), (3.0, -1.0)])
def test_both_flows_end_at_the_mode(observation, prior):
    """With and without error units, if they are given the time; the mode is the lowest point of the energy."""
    mode = cf.warm_up_mode(observation, prior)
    for error_units in (True, False):
        end = cf.warm_up_flow(observation, prior, 0.01, 20_000, error_units=error_units)
        assert end == pytest.approx(mode, abs=1e-9)
    s = np.linspace(-5, 5, 100_001)
    energy = 0.5 * (s - prior) ** 2 + 0.5 * (observation - s**2) ** 2
    assert s[np.argmin(energy)] == pytest.approx(mode, abs=1e-4)


@pytest.mark.parametrize("form", ["pre", "post"])
@pytest.mark.parametrize("kind", cf.SLOPES)
def test_the_slopes_and_the_newton_step_of_one_unit(kind, form):
    """S42, Eq. (sPC.21): g' and g'' against autograd, and the step against the energy's own derivatives."""
    a, phi = np.linspace(-2, 2, 5), ad.ACTIVATIONS[kind]
    exact = [phi(a), elementwise_grad(phi)(a), elementwise_grad(elementwise_grad(phi))(a)]
    assert_live(exact)
    assert_same(list(cf.SLOPES[kind](a)), exact)
    params = [{"W": np.array([[w]]), "b": np.array([b])} for w, b in ((0.4, 1.0), (1.3, -0.2))]
    x, y, Pi = np.array([[0.5], [-1.0]]), np.array([[1.0], [0.3]]), [0.7, 1.9]
    s, pi = cf.newton_unit((kind, form), params, x, y, Pi)

    def energy(s, b):
        mu_b = ad.predict((kind, form), params[1], s[None, None])[0, 0]
        return 0.5 * Pi[0] * (s - start[b]) ** 2 + 0.5 * Pi[1] * (y[b, 0] - mu_b) ** 2

    start = 0.4 * x[:, 0] + 1.0
    for b in range(2):
        slope, curvature = grad(energy)(start[b], b), grad(grad(energy))(start[b], b)
        assert pi[b, 0] == pytest.approx(curvature, rel=1e-12)
        assert s[b, 0] == pytest.approx(start[b] - slope / curvature, rel=1e-12)
