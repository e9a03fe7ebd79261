"""Deep linear networks against linear algebra: claims S10 to S13, S15 to S18 and S37, and the example by hand."""

import numpy as np
import pytest
from helpers.battery import GOOD, network, zero_errors
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import fewer, linear_problems, problems
from hypothesis import assume, given
from hypothesis import strategies as st

from minipc import Dense, InferenceWarning, Network, backprop, epc, spc
from minipc.check import complex_step
from reference import autograd_oracles as ad
from reference import closed_form as cf
from reference.problems import linear

few = fewer(6)
HESSIANS = {"sPC": (spc, cf.hessian_states), "ePC": (epc, cf.hessian_errors)}
by_rule = pytest.mark.parametrize(("rule", "hessian"), HESSIANS.values(), ids=HESSIANS)


def largest(H):
    """Largest eigenvalue."""
    return np.linalg.eigvalsh(H).max()


def run(rule, p, **options):
    """The rule from the feedforward point."""
    return rule.gradient(network(p), p.params, p.x, p.y, p.precision, **options)


def gentle(seed):
    """A well-conditioned linear problem: every kind of precision, four blocks."""
    rng = np.random.default_rng(seed)
    return linear(
        rng, sizes=(3, 5, 4, 6, 2), B=3, precision=["full", "diagonal", "scalar"][seed % 3], gain=0.8
    )


# ---------------------------------------------------------------------- equilibrium


@pytest.mark.parametrize("seed", range(3))
def test_both_rules_and_the_block_system_reach_the_closed_form(seed):
    """S11, Eqs. (LIN.1)-(LIN.6): states, errors, energy, weight gradient; three ways besides the closed form."""
    p = gentle(seed)
    star = cf.equilibrium(p.params, p.x, p.y, p.precision)
    expected = star.states[1:], star.errors, star.energy, cf.weight_gradient(star)
    assert_live(expected)
    assert_same(cf.block_solve(p.params, p.x, p.y, p.precision), star.states)
    for rule, hessian in HESSIANS.values():
        lam = 1 / largest(hessian(p.params, p.precision))
        g = run(rule, p, inference_steps=20_000, step_size=lam, tolerance=1e-12)
        assert_same((g.states[1:], g.errors, g.energy, g.grads), expected)
    start = run(spc, p, inference_steps=0)
    assert_differ(start.energy, star.energy)


@pytest.mark.parametrize("seed", range(3))
def test_the_equilibrium_energy_needs_the_precisions(seed):
    """Controls of S11: Omega without the inverse precisions, and the loss itself, are something else."""
    p = gentle(seed)
    star = cf.energy_star(p.params, p.x, p.y, p.precision)
    assert_differ(cf.energy_star(p.params, p.x, p.y), star)
    assert_differ(backprop.gradient(network(p), p.params, p.x, p.y).loss, star)


@few
@given(linear_problems())
def test_the_local_gradient_at_equilibrium_is_the_total_derivative(p):
    """S12, Eq. (LIN.5): complex step through the closed form of the energy, every W and b; not so at the forward states."""
    star = cf.equilibrium(p.params, p.x, p.y, p.precision)

    def total(l, k):
        def energy(v):
            return cf.energy_star(
                [*p.params[:l], {**p.params[l], k: v}, *p.params[l + 1 :]], p.x, p.y, p.precision
            ).sum()

        return complex_step(energy, p.params[l][k])

    expected = [{k: total(l, k) for k in q} for l, q in enumerate(p.params)]
    assert_live(expected)
    assert_same(spc.weight_gradient(network(p), p.params, star.states, p.y, p.precision), expected)
    forward = spc.feedforward(network(p), p.params, p.x)
    assert_differ(
        [xi.T @ s for xi, s in zip(star.weighted[2:], forward[1:], strict=True)],
        [-q["W"] for q in expected[1:]],
    )


@pytest.mark.parametrize("p", GOOD, ids=["post mse", "pre mse", "post cross-entropy", "pre diagonal"])
def test_spc_and_epc_meet_at_the_equilibrium_of_a_nonlinear_network(p):
    """S10: states, energies and weight gradients; after five steps they are still apart."""
    a = run(spc, p, inference_steps=60_000, step_size=0.05, tolerance=1e-12)
    b = run(epc, p, inference_steps=60_000, tolerance=1e-12)
    assert_live([a.grads, b.states])
    assert_same([b.states, b.errors, b.energy, b.grads], [a.states, a.errors, a.energy, a.grads], rtol=1e-9)
    assert_differ(
        run(epc, p, inference_steps=5).grads,
        run(spc, p, inference_steps=5, step_size=0.05).grads,
        min_rel=0.1,
    )


@given(linear_problems())
def test_a_gauss_newton_step_lands_on_the_equilibrium(p):
    """S18, Eq. (ePC.15): from any errors, with any precisions."""
    star = cf.equilibrium(p.params, p.x, p.y, p.precision)
    assert_live(star.errors[1:])
    for start in (p.e, zero_errors(p)):
        e = epc.gauss_newton_step(network(p), p.params, start, p.x, p.y, p.precision)
        assert_same(e[1:], star.errors[1:-1], rtol=1e-9)


@few
@given(problems(losses=("mse",), activations=("tanh",)))
def test_a_gauss_newton_step_does_not_land_in_a_nonlinear_network(p):
    """Control of S18: a residual is left."""
    e = epc.gauss_newton_step(network(p), p.params, p.e, p.x, p.y, p.precision)
    left = epc.error_gradient(network(p), p.params, e, p.x, p.y, p.precision)
    assert max(np.linalg.norm(v) for v in left[1:]) > 1e-3


# ---------------------------------------------------------------------- limits


def hidden_errors(p, beta):
    """eps*[1..L-1] for the output precision beta."""
    precision = [None] * (len(p.layers) - 1) + [beta]
    return epc.gauss_newton_step(network(p), p.params, zero_errors(p), p.x, p.y, precision)[1:]


@few
@given(linear_problems(precisions=(None,)))
def test_a_weak_output_gives_backprop(p):
    """S13, Eq. (LIN.7): eps*/beta tends to minus delta at first order; with unit precision it is far from it."""
    delta = backprop.gradient(network(p), p.params, p.x, p.y).errors[1:-1]
    assert_same(delta, cf.small_beta_limit(p.params, p.x, p.y)[1:])
    scale = largest(cf.omega(p.params))

    def gap(beta):
        return max(
            np.linalg.norm(e / beta - d) / np.linalg.norm(d)
            for e, d in zip(hidden_errors(p, beta), delta, strict=True)
        )

    assert gap(1e-4 / scale) < 1e-3
    assert gap(1e-4 / scale) / gap(1e-5 / scale) == pytest.approx(10, rel=0.01)
    assert_differ(hidden_errors(p, 1.0), delta)


@few
@given(linear_problems(precisions=(None,)))
def test_a_strong_output_gives_the_exact_fit(p):
    """S13, Eq. (LIN.8): the limit fits the target, at first order in 1/beta, if all outputs can be reached."""
    reach = np.linalg.eigvalsh(cf.omega(p.params) - np.eye(p.sizes[-1]))
    assume(reach.min() > 1e-3 * reach.max())
    fit = cf.large_beta_limit(p.params, p.x, p.y)[1:]

    def gap(beta):
        return max(
            np.linalg.norm(e - f) / np.linalg.norm(f)
            for e, f in zip(hidden_errors(p, beta), fit, strict=True)
        )

    assert gap(1e4 / reach.min()) / gap(1e5 / reach.min()) == pytest.approx(10, rel=0.05)
    assert gap(1e5 / reach.min()) < 1e-3
    assert_differ(hidden_errors(p, 1.0), fit)


def test_the_example_for_pencil_and_paper():
    """Section 9 of the equations: x = 1, w = 2 and 3, y = 1; every number there by every rule."""
    net, one = Network([Dense(1, 1), Dense(1, 1)]), np.ones((1, 1))
    params = [{"W": np.array([[w]]), "b": np.zeros(1)} for w in (2.0, 3.0)]
    g = backprop.gradient(net, params, one, one)
    assert [g.loss[0], *(q["W"][0, 0] for q in g.grads), *(e[0, 0] for e in g.errors[1:])] == [
        12.5,
        15,
        10,
        -15,
        -5,
    ]
    jump = epc.gauss_newton_step(net, params, [None, 0 * one], one, one)[1]
    assert jump[0, 0] == pytest.approx(-1.5, rel=1e-14)
    for g in (
        spc.gradient(net, params, one, one, inference_steps=1, step_size=0.1),  # ev(H_s) = 10 as well
        epc.gradient(net, params, one, one, inference_steps=1, step_size=0.1),
        epc.gradient(net, params, one, one, inference_steps=1, step_size="power"),
        epc.gradient(net, params, one, one, inference_steps=1),
    ):
        numbers = [g.energy, g.states[1], *g.errors[1:], *(q["W"] for q in g.grads)]
        assert [v.item() for v in numbers] == pytest.approx([1.25, 0.5, -1.5, -0.5, 1.5, 0.25], rel=1e-13)
    long = epc.gradient(net, params, one, one, inference_steps=1, step_size=0.15)
    assert [long.energy[0], long.states[1].item(), long.errors[2].item()] == pytest.approx(
        [4.0625, -0.25, 1.75]
    )


# ---------------------------------------------------------------------- dynamics


@pytest.mark.parametrize("rule", [spc, epc])
def test_the_smallest_rise_of_the_energy_is_warned_of(rule):
    """The example above, E = 1.25 + 11.25 (1 - 10 lam)^2 after a step: it rises from lam = 0.2 on."""
    net, one = Network([Dense(1, 1), Dense(1, 1)]), np.ones((1, 1))
    params = [{"W": np.array([[w]]), "b": np.zeros(1)} for w in (2.0, 3.0)]
    below = rule.gradient(net, params, one, one, inference_steps=1, step_size=0.19999)
    assert below.energy[0] == pytest.approx(1.25 + 11.25 * 0.9999**2, rel=1e-13)
    for lam in (0.200001, 0.205):
        with pytest.warns(InferenceWarning, match="diverged in 1 of 1 samples"):
            rule.gradient(net, params, one, one, inference_steps=1, step_size=lam)


@by_rule
@pytest.mark.parametrize("seed", range(3))
def test_the_stable_steps_end_at_two_over_the_largest_eigenvalue(rule, hessian, seed):
    """S15, Eq. (ePC.13): .95 of it converges, 1.05 diverges; a gradient with another scale would shift the bracket."""
    p = gentle(seed)
    bound = 2 / largest(hessian(p.params, p.precision))

    def ratio(share):
        a, b = (run(rule, p, inference_steps=n, step_size=share * bound).residual for n in (100, 300))
        return b / a

    assert (ratio(0.95) < 0.5).all()
    with pytest.warns(InferenceWarning, match="diverged in 3 of 3"):
        assert (ratio(1.05) > 2).all()


@by_rule
@pytest.mark.parametrize("seed", range(3))
def test_the_energy_falls_in_every_stable_step(rule, hessian, seed):
    """S37: strictly, for every sample; beyond the bound it rises sooner or later."""
    p = gentle(seed)
    bound = 2 / largest(hessian(p.params, p.precision))
    energy = run(rule, p, inference_steps=20, step_size=0.95 * bound, record_every=1).recording.energy
    assert (np.diff(energy, axis=0) < 0).all()
    with pytest.warns(InferenceWarning, match="diverged"):
        energy = run(rule, p, inference_steps=300, step_size=1.05 * bound, record_every=1).recording.energy
    assert (np.diff(energy, axis=0).max(axis=0) > 0).all()


@given(linear_problems(precisions=(None,)), st.floats(0.2, 1.8), st.integers(1, 8))
def test_epc_relaxes_mode_by_mode(p, share, steps):
    """S16, Eqs. (ePC.12), (ePC.17): output residual and errors after N steps by the eigenvalues of Omega."""
    lam = share / largest(cf.omega(p.params))
    g = run(epc, p, inference_steps=steps, step_size=lam)
    residual, e = cf.mode_law(p.params, p.x, p.y, lam, steps)
    assert_live([residual, e])
    assert_same([g.errors[-1], g.errors[1:-1]], [residual, e[1:]])
    other, _ = cf.mode_law(p.params, p.x, p.y, 1.5 * lam, steps)
    assert_differ(other, residual, min_rel=1e-6)


@pytest.mark.filterwarnings(
    "ignore::minipc.InferenceWarning"
)  # where ev is below 2 the long step is no descent
@few
@given(linear_problems(precisions=(None,)))
def test_one_long_step_reverses_the_output_error(p):
    """S17, Eq. (ePC.14): along the top mode, for lam (ev - 1) > 1 and one step; neither a second nor a short step does."""
    ev, V = np.linalg.eigh(cf.omega(p.params))
    before = cf.residual(p.params, p.x, p.y) @ V[:, -1]
    assert np.abs(before).min() > 1e-6

    def after(lam_times, steps):
        return run(epc, p, inference_steps=steps, step_size=lam_times / (ev[-1] - 1)).errors[-1] @ V[:, -1]

    assert (np.sign(after(1.5, 1)) == -np.sign(before)).all()
    assert (np.sign(after(1.5, 2)) == np.sign(before)).all()
    assert (np.sign(after(0.5, 1)) == np.sign(before)).all()


@fewer(3)
@given(linear_problems())
def test_the_closed_forms_agree_with_autograd_and_one_another(p):
    """Oracles against oracles: Hessians, and the energy at the equilibrium; no engine involved."""
    one = [v[:1] for v in p.s], [None, *(v[:1] for v in p.e[1:])]
    args = p.loss, p.precision
    H_s = ad.energy_hessian_states(p.layers, p.params, one[0], p.y[:1], *args)
    H_e = ad.energy_hessian_errors(p.layers, p.params, one[1], p.x[:1], p.y[:1], *args)
    assert_same(
        [cf.hessian_states(p.params, p.precision), cf.hessian_errors(p.params, p.precision)], [H_s, H_e]
    )
    M = ad.state_error_jacobian(p.layers, p.params, one[1], p.x[:1])
    assert_same(M.T @ H_s @ M, H_e)  # (ePC.9)
    star = cf.equilibrium(p.params, p.x, p.y, p.precision)
    assert_same(ad.spc_energy(p.layers, p.params, star.states, p.y, *args), star.energy)
