"""The step sizes of ePC: backtracking, power iteration, and what is reported about them."""

import warnings

import numpy as np
import pytest
from helpers.battery import GOOD, backtrack, fixed, gauss_newton_matrix, network, oracle, samples, zero_errors
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import fewer, linear_problems, problems
from hypothesis import given

from minipc import InferenceWarning, epc
from reference import autograd_oracles as ad
from reference import closed_form as cf
from reference.problems import NONLINEAR, linear, make

SMOOTH = [name for name in NONLINEAR if "relu" not in name]
MODES = {"fixed": 0.05, "power": "power", "adaptive": "adaptive"}
by_mode = pytest.mark.parametrize("step_size", MODES.values(), ids=MODES)
noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")


def wild(seed):
    """Large weights and an output that saturates, so that inference can circle but not explode."""
    options = {"activation": "tanh", "output": "tanh", "form": "post", "loss": "mse", "precision": None}
    return make(np.random.default_rng(seed), sizes=(3, 5, 4, 6, 2), B=3, gain=1.5, **options)


def run(p, **options):
    """ePC from zero errors."""
    return epc.gradient(network(p), p.params, p.x, p.y, p.precision, **options)


# ---------------------------------------------------------------------- backtracking, (EPS.1)


def rounding(energy):
    """What (EPS.1) calls agreement to rounding."""
    return 8 * np.finfo(float).eps * (1 + abs(energy))


@given(problems())
def test_the_energy_of_no_sample_ever_rises(p):
    """In no step, for no sample, by more than rounding; and of every sample it falls."""
    seen = run(p, inference_steps=15, record_every=1).recording.energy
    assert (seen[1:] <= seen[:-1] + rounding(seen[:-1])).all()
    assert (seen[-1] < seen[0]).all()


@pytest.mark.parametrize(
    ("change", "slope", "kept"),
    [
        (-0.46, -1.0, True),  # it falls by more than .45 lam |g|^2, whatever the slope
        (-0.44, 1.0, False),  # not enough, and not hidden in rounding
        (-1e-9, 1.0, False),
        (-np.inf, 0.0, True),
        (np.nan, 1.0, False),
        (np.inf, 1.0, False),
    ],
)
def test_a_step_is_kept_if_the_energy_falls_enough(change, slope, kept):
    """The first condition of (EPS.1), with lam = |g|^2 = 1 and E = 3."""
    one = np.ones(1)
    assert epc._accept(3 * one, (3 + change) * one, one, one, slope * one) == kept


@pytest.mark.parametrize(("slope", "kept"), [(1.0, True), (0.0, True), (-0.099, True), (-0.101, False)])
@pytest.mark.parametrize("units", [-7, 0, 7])
def test_where_the_fall_drowns_in_rounding_the_slope_decides(units, slope, kept):
    """The second condition of (EPS.1): <g', g> >= -.1 |g|^2, within eight units of rounding of 1 + |E|, not beyond.

    An energy that has not risen satisfies the first condition to rounding, whatever the slope.
    """
    fall, eps = np.full(1, 1e-20), np.finfo(float).eps
    energy = np.full(1, 3.0)
    assert epc._accept(energy, energy + 4 * units * eps, np.ones(1), fall, slope * fall) == (
        kept or units <= 0
    )
    assert not epc._accept(energy, energy + 4 * 9 * eps, np.ones(1), fall, fall)


def test_a_step_that_is_taken_back_costs_a_step_and_nothing_else():
    """A sample stands still while its step shrinks, the others go on; its result is that of the shorter run."""
    p = GOOD[0]
    paths = [backtrack(one) for one in samples(p)]
    sizes = np.array([[step[2] for step in path] for path in paths])  # (B, steps)
    stays = np.diff(sizes, axis=1) < 0  # step k + 1 was taken back
    assert 0 < stays.sum() < stays.size
    for k in range(stays.shape[1]):
        before, after = run(p, inference_steps=k + 1), run(p, inference_steps=k + 2)
        for b, stay in enumerate(stays[:, k]):
            same = all(
                np.array_equal(v[b], w[b])
                for v, w in zip(before.errors[1:-1], after.errors[1:-1], strict=True)
            )
            assert same == stay
            assert (after.energy[b] == before.energy[b]) == stay
            assert (after.step_size[b] < before.step_size[b]) == stay


@given(problems(depth=(2, 3), widest=5, activations=SMOOTH))
@fewer(5)
def test_a_tight_tolerance_is_reached(p):
    """1e-10, where the fall of the energy has long drowned in rounding: the slope decides. No warning."""
    g = run(p, inference_steps=20_000, tolerance=1e-10)
    assert (g.residual < 1e-10).all()
    slope = oracle(ad.epc_error_gradient, p, [None, *g.errors[1:-1]], p.x, p.y)
    assert max(np.abs(v).max() for v in slope[1:]) < 1e-9


def test_the_safe_step_converges_where_a_fixed_one_circles_in_silence():
    """Saturated outputs bound the energy, so nothing warns; only residual and regime show that 0.5 is too long."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        circling = run(wild(0), inference_steps=300, step_size=0.5)
        safe = run(wild(0), inference_steps=300)
    assert (circling.energy < circling.loss).all()
    assert (circling.residual > 0.1).all()
    assert (circling.regime < 0).all()
    assert (safe.residual < 1e-10).all()
    assert (safe.regime > 0.99).all()
    assert (safe.energy < circling.energy).all()


@noisy
def test_a_long_unstable_run_says_so_without_an_overflow():
    """The regime is a product over the steps; that it is hugely negative is no error of arithmetic."""
    with np.errstate(over="raise"):
        assert (run(wild(2), inference_steps=500, step_size=0.5).regime < -1e100).all()


@by_mode
def test_a_step_that_would_be_too_long_for_one_sample_is_not_shortened_for_all(step_size):
    """Steps belong to samples: a fixed one is the same for all, the others differ."""
    g = run(GOOD[1], inference_steps=3, step_size=step_size)
    assert g.step_size.shape == g.curvature.shape == g.regime.shape == (3,)
    assert (len(set(g.step_size)) == 1) == (step_size == 0.05)
    assert (g.step_size <= 1).all()


# ---------------------------------------------------------------------- power iteration, (EPS.3)


def dense(p, e):
    """Largest eigenvalue of the Gauss-Newton matrix of every sample, (B,)."""
    return np.array(
        [
            np.linalg.eigvalsh(gauss_newton_matrix(one, one_e)).max()
            for one, one_e in zip(samples(p), e, strict=True)
        ]
    )


def split(e, B):
    """The errors of the single samples."""
    return [[None, *(v[b : b + 1] for v in e[1:])] for b in range(B)]


@pytest.mark.parametrize("p", GOOD)
def test_power_iteration_finds_the_largest_eigenvalue(p):
    """With many iterations; that of the dense matrix, both losses, at errors that are not zero."""
    expected = dense(p, split(p.e, 3))
    assert_live(expected)
    actual = epc.largest_eigenvalue(network(p), p.params, p.e, p.x, p.y, p.precision, iterations=2000)
    assert_same(actual, expected)


@given(problems(depth=(2, 4), widest=6))
@fewer(3)
def test_power_iteration_is_never_above_the_largest_eigenvalue(p):
    """A Rayleigh quotient; more iterations never lower it."""
    estimates = [
        epc.largest_eigenvalue(network(p), p.params, p.e, p.x, p.y, p.precision, iterations=n)
        for n in (1, 2, 8, 30)
    ]
    top = dense(p, split(p.e, len(p.x)))
    assert (estimates[-1] <= top * (1 + 1e-12)).all()
    assert (np.diff(estimates, axis=0) >= -1e-12 * top).all()


@pytest.mark.parametrize("p", GOOD)
def test_the_power_step_is_one_over_the_estimate_at_the_start(p):
    """Eight iterations from the feedforward point, then the same step throughout."""
    zero = zero_errors(p)
    expected = 1 / epc.largest_eigenvalue(network(p), p.params, zero, p.x, p.y, p.precision, iterations=8)
    assert_differ(
        expected,
        1 / epc.largest_eigenvalue(network(p), p.params, zero, p.x, p.y, p.precision, iterations=2),
        min_rel=1e-5,
    )
    g = run(p, inference_steps=5, step_size="power")
    assert_same(g.step_size, expected, rtol=1e-14)
    for b, one in enumerate(samples(p)):
        fixed_step = run(one, inference_steps=5, step_size=float(expected[b]))
        assert_same([v[b : b + 1] for v in g.errors[1:]], fixed_step.errors[1:], rtol=1e-12)


# ---------------------------------------------------------------------- curvature and regime, (EPS.2), (ePC.17)


@noisy
@by_mode
@given(p=linear_problems())
def test_the_curvature_of_a_linear_network_is_a_lower_bound(step_size, p):
    """At most the largest eigenvalue of the Hessian, by the closed form; at least its smallest."""
    ev = np.linalg.eigvalsh(cf.hessian_errors(p.params, p.precision))
    g = run(p, inference_steps=8, step_size=step_size)
    assert (g.curvature <= ev.max() * (1 + 1e-7)).all()
    assert (g.curvature >= ev.min() * (1 - 1e-7)).all()


@noisy
@by_mode
@pytest.mark.parametrize("start", ["zero errors", "the equilibrium"])
@pytest.mark.parametrize("seed", range(3))
def test_a_gradient_of_mere_rounding_says_nothing_about_the_curvature(step_size, start, seed):
    """Long after the equilibrium was reached, and where inference starts there: a lower bound, and a share."""
    p = linear(np.random.default_rng(seed), sizes=(3, 5, 4, 2), B=3, gain=0.8, precision="full")
    net, top = network(p), np.linalg.eigvalsh(cf.hessian_errors(p.params, p.precision)).max()
    e, steps = zero_errors(p), 2000
    if start == "the equilibrium":
        e, steps = epc.gauss_newton_step(net, p.params, p.e, p.x, p.y, p.precision), 20
    g = epc.infer(net, p.params, e, p.x, p.y, p.precision, inference_steps=steps, step_size=step_size)
    assert (g.residual < 1e-12).all()
    assert (g.curvature <= top * (1 + 1e-7)).all()
    assert ((g.regime >= 0) & (g.regime <= 1)).all()


@noisy
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@given(p=linear_problems(precisions=(None,)))
def test_the_regime_of_a_fixed_step_is_the_relaxed_fraction_of_its_mode(share, p):
    """1 - |1 - lam ev|^N with the reported ev, and close to that of the true fastest mode once it is met."""
    ev = np.linalg.eigvalsh(cf.omega(p.params)).max()
    g = run(p, inference_steps=6, step_size=share / ev)
    assert_same(g.regime, 1 - abs(1 - share / ev * g.curvature) ** 6)
    assert (g.regime > 0).all()
    assert (g.regime <= 1 - (1 - share) ** 6 + 1e-6).all()


def test_the_regime_tells_backprop_from_equilibrium():
    """Below .1 the hidden gradients are backprop's up to a factor, above .9 the residual is small."""
    p = fixed((3, 5, 4, 6, 2), precision=False)[0]
    early, late = run(p, inference_steps=3, step_size=1e-3), run(p, inference_steps=200)
    delta = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    assert (early.regime < 0.1).all()
    assert (late.regime > 0.9).all()
    assert_same([{k: v / 3e-3 for k, v in q.items()} for q in early.grads[:-1]], delta[:-1], rtol=0.1)
    assert_differ(late.grads[:-1], delta[:-1], min_rel=0.1)
    assert (late.residual < 1e-3 * early.residual).all()


@noisy
def test_a_risen_energy_is_warned_of():
    """Twice the stable step in a linear network: nothing bounds the energy."""
    p = fixed((3, 5, 4, 6, 2), activation="identity")[0]
    lam = 4 / np.linalg.eigvalsh(cf.hessian_errors(p.params, p.precision)).max()
    with pytest.warns(InferenceWarning, match="ePC inference diverged in 3 of 3 samples"):
        run(p, inference_steps=100, step_size=lam)
