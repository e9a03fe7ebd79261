"""The report on convergence against closed forms, independent Hessians and recursions; Eqs. (CHK.9)-(CHK.12)."""

import json
import warnings
from itertools import pairwise

import numpy as np
import pytest
from helpers.battery import network, oracle, samples
from helpers.checks import assert_same, read_only

import minipc as pc
from minipc.check import convergence
from reference import autograd_oracles as ad
from reference import closed_form as cf
from reference.problems import astype, linear, make

RULES = ("spc", "epc")
PRECISIONS = ("unit", "scalar", "diagonal", "full")
SIZES = (3, 5, 4, 6, 2)
HESSIAN = {"spc": cf.hessian_states, "epc": cf.hessian_errors}
by_rule = pytest.mark.parametrize("rule", RULES)
by_precision = pytest.mark.parametrize("precision", PRECISIONS)


def linear_problem(precision="full", seed=0, sizes=SIZES, B=3):
    """A linear network whose modes are not too slow."""
    return linear(np.random.default_rng(seed), sizes=list(sizes), B=B, precision=precision, gain=0.7)


def tanh_problem(seed=0, loss="mse", **options):
    """A network with second derivatives and no closed form."""
    rng = np.random.default_rng(seed)
    options = {"sizes": list(SIZES), "B": 3, "activation": "tanh", "precision": "diagonal", **options}
    return make(rng, loss=loss, **options)


def report(p, rule, steps, lam, **options):
    """The report on a problem, whose arguments may not be edited, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_only([p.params, p.x, p.y, [v for v in p.precision or [] if isinstance(v, np.ndarray)]])
        options = {"rule": rule, "inference_steps": steps, "step_size": lam, **options}
        return convergence(network(p), p.params, p.x, p.y, p.precision, **options)


def top(p, rule):
    """Largest eigenvalue of the Hessian of a linear problem."""
    return np.linalg.eigvalsh(HESSIAN[rule](p.params, p.precision)).max()


def displacement(p, rule):
    """The way from the equilibrium to the feedforward start of a linear problem, ``(B, D)``."""
    star = cf.equilibrium(p.params, p.x, p.y, p.precision)
    ff = [p.x]
    for q in p.params[:-1]:
        ff.append(ff[-1] @ q["W"].T + q["b"])
    if rule == "epc":
        return -np.concatenate(star.errors[1:-1], axis=1)
    return np.concatenate([a - b for a, b in zip(ff[1:], star.states[1:], strict=True)], axis=1)


def residuals_of(p, rule, lam, steps):
    """``(steps + 1, B)`` norms of the gradient of a linear problem: ``(I - lam H)^k g``, from the feedforward start."""
    H, d, found = HESSIAN[rule](p.params, p.precision), displacement(p, rule), []
    for _ in range(steps + 1):
        found.append(np.linalg.norm(d @ H, axis=1))
        d = d - lam * d @ H
    return np.array(found)


# ---------------------------------------------------------------------- linear networks: all of it in closed form


@by_rule
@by_precision
def test_the_spectrum_is_that_of_the_closed_form(rule, precision):
    """Every eigenvalue of every sample; bracket, condition number, best step and its rate follow from the excited ones."""
    p = linear_problem(precision)
    c = report(p, rule, 5, 0.01)
    H = HESSIAN[rule](p.params, p.precision)
    values, vectors = np.linalg.eigh(H)
    assert_same(c.eigenvalues, np.tile(values, (3, 1)))
    assert_same(c.bracket, np.full(3, 2 / values[-1]))
    shares = abs(displacement(p, rule) @ vectors)
    excited = (shares > 1e-9).all(axis=0)
    assert (excited == (shares > 1e-9).any(axis=0)).all()
    assert (c.excited == excited).all()
    assert_same(c.shares[c.excited], shares[c.excited], 1e-6)
    values = values[excited]
    if (rule, precision) == ("epc", "unit"):  # only the modes of Omega move (ePC.13)
        assert_same(values, np.linalg.eigvalsh(cf.omega(p.params)))
    low, high = values[0], values[-1]
    assert_same([c.condition, c.best_step], [np.full(3, high / low), np.full(3, 2 / (high + low))], 1e-9)
    assert_same(c.best_rate, np.full(3, max(abs(1 - 2 / (high + low) * mu) for mu in (low, high))), 1e-9)


@by_rule
@by_precision
def test_the_equilibrium_is_that_of_the_closed_form(rule, precision):
    """States of sPC, errors of ePC; the gradient there is rounding."""
    p = linear_problem(precision)
    c, star = report(p, rule, 5, 0.01), cf.equilibrium(p.params, p.x, p.y, p.precision)
    assert_same(c.equilibrium[1:], {"spc": star.states[1:], "epc": star.errors[1:-1]}[rule])
    assert (c.gap <= c.rounding).all()


@by_rule
@by_precision
@pytest.mark.parametrize("share", [0.3, 0.9, 1.05])
def test_every_residual_is_observed_and_predicted_as_the_recursion_has_it(rule, precision, share):
    """Below and above the bracket; 250 steps are three recordings of the engine."""
    p = linear_problem(precision)
    lam = share * 2 / top(p, rule)
    c, expected = report(p, rule, 250, lam), residuals_of(p, rule, lam, 250)
    clear = (expected > 1e-9 * expected[0]) & (expected < 1e7 * expected[0])
    assert clear[:30].all()
    assert_same(c.residuals[clear], expected[clear], 1e-6)
    assert_same(c.predicted[clear], expected[clear], 1e-6)
    assert_same([c.residuals[:30], c.predicted[:30]], [expected[:30]] * 2, 1e-10)


@by_rule
@by_precision
@pytest.mark.parametrize("seed", range(4))
def test_predicted_steps_are_those_that_it_takes(rule, precision, seed):
    """Exactly, also when the run is too short to see them; and so says the recursion."""
    p = linear_problem(precision, seed)
    lam = 0.9 * 2 / top(p, rule)
    needed = (residuals_of(p, rule, lam, 5000) < 1e-7).argmax(axis=0)
    assert (needed > 20).all()
    long, short = (report(p, rule, n, lam, tolerance=1e-7) for n in (needed.max() + 5, 10))
    assert (long.observed_steps == needed).all()
    assert (long.predicted_steps == needed).all()
    assert (short.predicted_steps == needed).all()
    assert (short.more_steps == needed - 10).all()
    assert (long.more_steps == 0).all()
    assert np.isinf(short.observed_steps).all()
    assert (abs(short.predicted[-1] - short.residuals[-1]) < 1e-9 * short.residuals[0]).all()


@by_rule
def test_rates_are_those_of_the_last_tenth_and_of_the_slowest_mode(rule):
    """The definitions (CHK.9), (CHK.10), from the recursion."""
    p = linear_problem()
    lam = 0.5 / top(p, rule)
    c, r = report(p, rule, 97, lam), residuals_of(p, rule, lam, 97)
    expected = (r[97] / r[87]) ** (1 / 10)
    assert_same([c.observed_rate, c.predicted_rate], [expected, expected], 1e-9)
    values = np.linalg.eigvalsh(HESSIAN[rule](p.params, p.precision))
    assert_same(c.final_rate, np.full(3, abs(1 - lam * values).max()))


@by_rule
def test_where_the_slowest_mode_lives(rule):
    """Its squared length in every layer; a slow step makes it the lowest eigenvalue, a long one the highest."""
    p = linear_problem()
    values, vectors = np.linalg.eigh(HESSIAN[rule](p.params, p.precision))
    ends = np.cumsum([0, *p.sizes[1:-1]])
    for lam, mode in ((0.1 / values[-1], 0), (1.99 / values[-1], -1)):
        expected = [(vectors[a:b, mode] ** 2).sum() for a, b in pairwise(ends)]
        assert_same(report(p, rule, 2, lam).slowest, np.tile(expected, (3, 1)), 1e-9)


@pytest.mark.parametrize("step_size", ["adaptive", "power"])
@by_precision
def test_steps_of_the_engine_are_seen_and_predicted_from(step_size, precision):
    """Every step of every sample; the modes give every residual, taken-back trials included."""
    p = linear_problem(precision)
    c = report(p, "epc", 60, step_size)
    clear = c.residuals > 1e-8
    assert clear[:10].all()
    assert_same(c.predicted[clear], c.residuals[clear], 1e-5)
    net = network(p)
    run = pc.epc.infer(net, p.params, pc.epc.feedforward(net, p.params, p.x), p.x, p.y, p.precision, inference_steps=60, step_size=step_size)  # fmt: skip
    assert_same([c.regime, c.curvature], [run.regime, run.curvature])
    assert (run.curvature <= top(p, "epc") * (1 + 1e-9)).all()
    if step_size == "power":
        assert_same(c.step_size, run.step_size)
    seen = np.isfinite(c.observed_steps)
    assert (c.predicted_steps[seen] == c.observed_steps[seen]).all()
    assert (c.predicted_steps[~seen] > 60).all()
    assert c.stable.all()
    longer = report(p, "epc", 500, step_size)
    assert np.isfinite(longer.observed_steps).all()
    assert (longer.predicted_steps == longer.observed_steps).all()


def test_adaptive_steps_are_summed_up_over_the_second_half_of_the_run():
    """Their mean, and the mean factor of the slowest mode, from the engine's own states and the closed form."""
    p = linear_problem()
    net, H = network(p), cf.hessian_errors(p.params, p.precision)
    start = pc.epc.feedforward(net, p.params, p.x)
    run = pc.epc.infer(net, p.params, start, p.x, p.y, p.precision, inference_steps=30, record_every=1)
    e = []
    for states in run.recording.states:
        below = [q["b"] + s @ q["W"].T for q, s in zip(p.params, states, strict=True)]
        e.append(np.concatenate([s - mu for s, mu in zip(states[1:], below, strict=False)], axis=1))
    e = np.array(e)
    star = np.concatenate(cf.equilibrium(p.params, p.x, p.y, p.precision).errors[1:-1], axis=1)
    lam = np.linalg.norm(np.diff(e, axis=0), axis=2) / np.linalg.norm((e - star) @ H, axis=2)[:-1]
    late = np.where(lam[15:] < 1e-9, 0, lam[15:])
    values = np.linalg.eigvalsh(H)[:, None]
    c = report(p, "epc", 30, "adaptive")
    for b in range(3):
        assert (late[:, b] == 0).any()  # a step that was taken back
        assert c.step_size[b] == pytest.approx(late[late[:, b] > 0, b].mean(), rel=1e-6)
        factors = np.exp(np.log(abs(1 - late[:, b] * values)).mean(axis=1))
        assert c.final_rate[b] == pytest.approx(factors.max(), rel=1e-6)


def test_a_few_adaptive_steps_may_not_foretell_the_rest():
    """Where the last ones did not shrink every mode, no number of steps is named."""
    p = linear_problem()
    for steps in range(1, 12):
        c = report(p, "epc", steps, "adaptive")
        for text, more in zip(c.verdicts, c.more_steps, strict=True):
            assert ("the last steps do not shrink every mode" in text) == np.isinf(more)
            assert "inf " not in text


# ---------------------------------------------------------------------- other networks


@by_rule
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("form", ["post", "pre"])
def test_the_spectrum_is_that_of_autograd_at_the_equilibrium(rule, loss, form):
    """Where the gradient vanishes by autograd too; every sample has its own."""
    p = tanh_problem(loss=loss, form=form)
    c = report(p, rule, 20, 0.1)
    assert (c.gap <= c.rounding).all()
    for b, one in enumerate(samples(p)):
        free = [None, *(v[b : b + 1] for v in c.equilibrium[1:])]
        if rule == "spc":
            at = ([one.x, *free[1:]], one.y)
            slope, H = oracle(ad.spc_activity_gradient, one, *at), oracle(ad.energy_hessian_states, one, *at)
        else:
            at = (free, one.x, one.y)
            slope, H = oracle(ad.epc_error_gradient, one, *at), oracle(ad.energy_hessian_errors, one, *at)
        assert np.linalg.norm(ad.stack(slope[1:])) < 1e-12
        assert_same(c.eigenvalues[b], np.linalg.eigvalsh(H), 1e-9)
    assert np.ptp(c.bracket) > 1e-6


@by_rule
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("seed", range(3))
def test_the_final_rate_is_observed_in_a_long_run(rule, loss, seed):
    """Of networks that are not linear, at 1e-3; steps from the linearisation are near."""
    c = report(tanh_problem(seed, loss), rule, 1500, 0.08)
    assert c.stable.all()
    assert (abs(c.observed_rate - c.predicted_rate) < 1e-4).all()
    # is a second mode still to be seen beside the slowest one when rounding begins?
    alone = abs(c.predicted_rate - c.final_rate) < 5e-4
    assert alone.all() or rule == "epc"
    assert (abs(c.observed_rate - c.final_rate)[alone] < 1e-3).all()
    assert (abs(c.predicted_steps / c.observed_steps - 1) < 0.15).all()


@by_rule
@pytest.mark.parametrize("seed", [4, 7])
def test_the_bracket_separates_convergence_from_none_sample_by_sample(rule, seed):
    """0.99 of a sample's own bracket converges, 1.01 of it does not; the brackets differ."""
    p = tanh_problem(seed)
    bracket = report(p, rule, 300, 0.05).bracket
    assert np.diff(np.sort(bracket)).max() > 0.05 * bracket.min()
    for b, one in enumerate(samples(p)):
        inside, outside = (report(one, rule, 1500, f * bracket[b]) for f in (0.99, 1.01))
        assert_same([inside.bracket, outside.bracket], [bracket[b : b + 1]] * 2, 1e-9)
        assert inside.residuals[-1, 0] < 1e-8
        assert inside.stable[0]
        assert outside.residuals[-1, 0] > 1e-3
        assert not outside.stable[0]
        assert inside.verdicts[0].startswith("stable: converged in ")
        assert outside.verdicts[0].startswith("step too large: lambda mu_max = 2.02, above 2; ")
        assert outside.verdicts[0].endswith(f"take less than {bracket[b]:.3g}")


@by_rule
def test_the_equilibrium_is_found_from_any_run(rule):
    """The same one after no step, a good run, a run that grows, and one that has diverged."""
    p = tanh_problem(4)
    found = [report(p, rule, n, lam) for n, lam in ((0, 0.1), (200, 0.1), (40, 1.5), (400, 60.0))]
    assert_same([c.equilibrium[1:] for c in found[1:]], [found[0].equilibrium[1:]] * 3, 1e-9)
    for c in found:
        assert c.settled.all()
        assert (c.gap <= 100 * c.rounding).all()


@by_rule
def test_a_step_between_two_brackets_is_judged_sample_by_sample(rule):
    """In one batch."""
    p = tanh_problem(4)
    order = np.sort(report(p, rule, 300, 0.05).bracket)
    lam = float(order[:2].mean() if np.diff(order)[0] > np.diff(order)[1] else order[1:].mean())
    c = report(p, rule, 2000, lam)
    assert (c.stable == (lam < c.bracket)).all()
    assert 0 < c.stable.sum() < 3
    assert ((c.residuals[-1] < 1e-6) == c.stable).all()
    assert [text.startswith("stable") for text in c.verdicts] == c.stable.tolist()
    assert ["it oscillates and does not settle" in text for text in c.verdicts] == (~c.stable).tolist()


def test_a_run_that_diverges_has_infinite_residuals():
    """At the rate that the spectrum says, until then."""
    p = linear_problem()
    p.params[-1]["W"][...] *= 3
    lam = 1.4 / top(p, "epc")
    assert all("; it grows; " in text for text in report(p, "epc", 99, 1.5 * lam).verdicts)
    too_long = report(p, "epc", 3000, 3 * lam)
    assert np.isinf(too_long.residuals[-1]).all()
    assert np.isinf(too_long.predicted_steps).all()
    assert all("diverged" in text for text in too_long.verdicts)
    assert (too_long.observed_rate > 1).all()
    assert_same(too_long.observed_rate, too_long.final_rate, 1e-6)


def test_samples_that_diverge_leave_the_others_alone():
    """Two units side by side, with the curvatures 9.05 and 0.06; in sample 1 nothing moves the first one."""
    net = pc.Network([pc.Dense(2, 2), pc.Dense(2, 2)])
    params = [{"W": np.eye(2), "b": np.zeros(2)}, {"W": np.diag([3.0, 0.1]), "b": np.zeros(2)}]
    x, y = np.array([[1.0, 2.0], [1.0, -2.0], [2.0, 1.0]]), np.array([[4.0, 1.0], [3.0, 2.0], [6.1, 1.0]])
    options = {"inference_steps": 700, "step_size": 0.25}
    c = convergence(net, params, x, y, [0.05, None], **options)
    alone = convergence(net, params, x[1:2], y[1:2], [0.05, None], **options)
    assert_same(c.eigenvalues, np.tile([0.06, 9.05], (3, 1)))
    assert np.isinf(c.residuals[-1, [0, 2]]).all()
    assert np.isinf(c.more_steps).tolist() == [True, False, True]
    assert_same(c.residuals[:, 1], alone.residuals[:, 0])
    k = np.arange(701)
    assert_same(c.residuals[:, 1], 0.1 * 2.2 * (1 - 0.25 * 0.06) ** k, 1e-9)
    assert not c.stable.any()
    assert c.verdicts[1] == alone.verdicts[0]
    assert "it has not grown yet" in c.verdicts[1]


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_epc_is_faster_than_spc_in_a_deep_network_by_what_is_predicted(activation):
    """Each at its best step; the ratio of the steps is predicted and seen."""
    rng = np.random.default_rng(0)
    p = make(rng, sizes=[4, *[7] * 7, 3], B=2, activation=activation, output=activation, form="post", loss="mse", precision=None, gain=0.9)  # fmt: skip
    p = p._replace(y=p.y if activation == "identity" else 0.2 * p.y)
    best = {rule: float(report(p, rule, 1, 0.01).best_step.min()) for rule in RULES}
    c = {rule: report(p, rule, 3500, best[rule]) for rule in RULES}
    predicted = c["spc"].predicted_steps / c["epc"].predicted_steps
    observed = c["spc"].observed_steps / c["epc"].observed_steps
    assert (observed > 5).all()
    assert (abs(predicted / observed - 1) < (1e-9 if activation == "identity" else 0.1)).all()
    assert (c["spc"].condition > 10 * c["epc"].condition).all()


@by_rule
@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_lanczos_agrees_with_all_modes(rule, activation):
    """Extremes of the excited spectrum, bracket, and every predicted residual, from half of the dimensions."""
    rng = np.random.default_rng(0)
    p = make(rng, sizes=[4, 18, 16, 20, 3], B=2, activation=activation, output="identity", form="post", loss="mse", precision="scalar", gain=0.8)  # fmt: skip
    full, few = report(p, rule, 150, 0.1), report(p, rule, 150, 0.1, modes=36)
    assert few.eigenvalues.shape == (2, 36)
    assert full.eigenvalues.shape == (2, 54)
    clear = full.residuals > 1e-12
    assert_same(few.predicted[clear], full.predicted[clear], 1e-6)
    for name in ("bracket", "condition", "final_rate"):
        assert_same(getattr(few, name), getattr(full, name), 1e-6)
    assert_same(few.slowest, full.slowest, 1e-4)
    assert (few.predicted_steps == full.predicted_steps).all()
    assert (few.error[:, 1] < 1e-6).all()


def test_lanczos_ends_where_there_are_no_more_modes():
    """ePC of a linear network excites the two modes of Omega; what is asked for beyond them changes nothing."""
    p = linear_problem("unit")
    c, values = report(p, "epc", 30, 0.05, modes=7), np.linalg.eigvalsh(cf.omega(p.params))
    assert c.eigenvalues.shape == (3, 7)
    assert (c.excited.sum(axis=1) == 2).all()
    assert_same(c.eigenvalues[c.excited].reshape(3, 2), np.tile(values, (3, 1)))
    assert_same([c.eigenvalues[:, 0], c.eigenvalues[:, -1]], [np.full(3, v) for v in values])
    assert c.stable.all()
    assert_same(c.predicted[:10], c.residuals[:10], 1e-9)


def test_too_few_modes_say_so():
    """The bound on the lowest eigenvalue holds, and the verdict asks for more."""
    rng = np.random.default_rng(0)
    p = make(rng, sizes=[4, 18, 16, 20, 3], B=2, activation="tanh", form="post", loss="mse", precision=None)
    full, few = report(p, "spc", 20, 0.1), report(p, "spc", 20, 0.1, modes=4)
    for b in range(2):
        assert abs(full.eigenvalues[b] - few.eigenvalues[b, 0]).min() <= few.error[b, 0]
        assert abs(full.eigenvalues[b] - few.eigenvalues[b, -1]).min() <= few.error[b, 1]
    assert (few.error[:, 0] > 0.01 * few.eigenvalues[:, 0]).all()
    assert all(text.endswith("take more modes") for text in few.verdicts)
    assert_same(few.predicted[:3], full.predicted[:3], 1e-9)  # m - 2 steps are exact


@by_rule
@pytest.mark.parametrize("kind", ["convolution", "residual", "layer norm"])
def test_blocks_of_every_kind(rule, kind):
    """The rate at the end of a long run is the one that the spectrum says."""
    images = pc.Conv2d(2, 3, 3, activation="tanh"), pc.AvgPool2d(2), pc.Flatten()
    blocks = {
        "convolution": [*images, pc.Dense(12, 3)],
        "residual": [pc.Dense(4, 5, "tanh"), pc.Residual([pc.Dense(5, 5, "relu")]), pc.Dense(5, 3)],
        "layer norm": [pc.Dense(4, 5, "tanh"), pc.LayerNorm(5, eps=1.0), pc.Dense(5, 3, "tanh")],
    }[kind]
    shape = (2, 6, 6) if kind == "convolution" else (4,)
    net = pc.Network(blocks, input_shape=shape)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, *shape)), rng.standard_normal((2, 3))
    start = convergence(net, net.init(seed=1), x, y, rule=rule, inference_steps=3, step_size=0.01)
    lam = float(start.bracket.min() / 2)
    c = convergence(net, net.init(seed=1), x, y, rule=rule, inference_steps=1000, step_size=lam)
    assert c.stable.all()
    assert (c.residuals[-1] < 1e-9).all()
    assert (abs(c.observed_rate - c.predicted_rate) < 1e-4).all()
    assert (abs(c.predicted_rate - c.final_rate) < 2e-3).all()
    assert ((abs(c.observed_steps / c.predicted_steps - 1) < 0.2) | (c.crossings > 0)).all()
    assert (c.crossings == 0).sum() > 0


# ---------------------------------------------------------------------- what is no minimum


def gelu(a):
    """As equation (ACT.6) has it."""
    return 0.5 * a * (1 + np.tanh((2 / np.pi) ** 0.5 * (a + 0.044715 * a**3)))


def root(f, low, high):
    """Where f goes from below zero to above, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if f(middle) > 0 else (middle, high)
    return low


def one_gelu():
    """E = (s - x)^2 / 2 + (y - gelu(s))^2 / 2, with one unknown s."""
    net = pc.Network([pc.Dense(1, 1), pc.Dense(1, 1, "gelu", form="pre")])
    return net, [{"W": np.array([[1.0]]), "b": np.zeros(1)}, {"W": np.array([[1.0]]), "b": np.zeros(1)}]


def test_a_saddle_is_no_minimum():
    """gelu at its lowest point: the gradient vanishes, the curvature is 1 - g'' (y - g), from the formula of gelu."""
    low, h = root(lambda a: gelu(a + 1e-100j).imag, -1.0, -0.5), 1e-4
    second = (gelu(low + h) - 2 * gelu(low) + gelu(low - h)) / h**2
    for rule in RULES:
        data = (*one_gelu(), np.array([[low]]), np.array([[5.0]]))
        c = convergence(*data, rule=rule, inference_steps=9, step_size=0.1)
        assert_same(c.eigenvalues, np.array([[1 - second * (5 - gelu(low))]]), 1e-6)
        assert c.eigenvalues[0, 0] < -1
        assert not c.stable[0]
        assert c.verdicts[0].startswith("not a minimum: ")
        assert f"eigenvalue {c.eigenvalues[0, 0]:.3g} " in c.verdicts[0]


def test_of_two_minima_it_is_the_one_inference_went_to():
    """Where a run converged; after a step too long, the one below the start, wherever the run ended."""

    def slope(s):
        return s + 0.7 - (gelu(s + 1e-100j).imag / 1e-100) * (5 - gelu(s))

    left, right = root(slope, -3.0, -0.9), root(slope, 1.0, 4.0)
    data = (*one_gelu(), np.array([[-0.7]]), np.array([[5.0]]))
    for lam, steps, expected in ((0.3, 40, right), (1.2, 20, left), (1.8, 6, right)):
        c = convergence(*data, inference_steps=steps, step_size=lam)
        assert_same(c.equilibrium[1], np.array([[expected]]))
    end = pc.spc.infer(*data[:2], [data[2]] * 2, data[3], inference_steps=5, step_size=1.8).s[1]
    assert abs(end - left) > 1  # the last run was on both sides
    assert c.residuals[-1, 0] > c.residuals[0, 0]


@by_rule
def test_a_minimum_at_a_kink_of_relu_is_named(rule):
    """Left of zero the gradient is negative, right of it positive: no point has gradient zero."""
    net = pc.Network([pc.Dense(1, 1), pc.Dense(1, 1, "relu", form="pre")])
    params = [{"W": np.array([[1.0]]), "b": np.zeros(1)}, {"W": np.array([[1.0]]), "b": np.zeros(1)}]
    data, options = (np.array([[0.5]]), np.array([[-1.0]])), {"inference_steps": 50, "step_size": 0.1}
    c = convergence(net, params, *data, rule=rule, **options)
    assert c.verdicts[0].startswith(
        "no smooth minimum: units of relu or max sit at their kink (1), so that the gradient, 5.0e-01"
    )
    assert c.kinks[0] == 1
    assert c.gap[0] > 0.4
    assert not c.stable[0]


def test_units_that_change_sides_are_counted():
    """One of two relu units goes off while the other pulls; the target's error of -4 is shared by three predictions."""
    net = pc.Network([pc.Dense(1, 1), pc.Dense(1, 2, "relu"), pc.Dense(2, 1)])
    params = [
        {"W": np.array([[1.0]]), "b": np.zeros(1)},
        {"W": np.array([[1.0], [1.0]]), "b": np.array([10.0, -0.9])},
        {"W": np.array([[1.0, 0.0]]), "b": np.zeros(1)},
    ]
    c = convergence(net, params, np.array([[1.0]]), np.array([[7.0]]), inference_steps=200, step_size=0.3)
    assert_same(c.equilibrium[1:], [np.array([[-1 / 3]]), np.array([[10 - 5 / 3, 0.0]])])
    assert c.crossings[0] == 1
    assert c.kinks[0] == 0
    assert c.stable[0]
    assert "a unit of relu or max changes sides on the way" in c.verdicts[0]


def test_a_slow_network_is_told_where_it_is_slow():
    """Two states in a chain of numbers, w2 = 50: the closed form has the condition number, the mode, and the best step."""
    w2, w3 = 50.0, 0.1
    net = pc.Network([pc.Dense(1, 1) for _ in range(3)])
    params = [{"W": np.array([[w]]), "b": np.full(1, 0.5)} for w in (1.0, w2, w3)]
    H = np.array([[1 + w2**2, -w2], [-w2, 1 + w3**2]])
    values, vectors = np.linalg.eigh(H)
    lam = 0.1 / values[1]
    c = convergence(net, params, np.array([[1.0]]), np.array([[7.0]]), inference_steps=20, step_size=lam)
    assert_same(c.condition, values[1:] / values[:1], 1e-6)
    slow = f"slow: condition number {values[1] / values[0]:.2g}, the slowest mode lies {100 * vectors[1, 0] ** 2:.0f} % in layer 2"
    assert slow in c.verdicts[0]
    best = 2 / values.sum()
    assert f"the best step is {best:.3g}, rate {1 - best * values[0]:.4g}" in c.verdicts[0]
    assert c.verdicts[0].startswith(f"stable: will converge in about {c.more_steps[0]:.0f} more steps, ")
    assert c.more_steps[0] > 1e5


# ---------------------------------------------------------------------- the rest


@by_rule
def test_the_run_is_the_engines(rule):
    """Steps in several recordings are those of one call of ``infer``."""
    p, engine = tanh_problem(), getattr(pc, rule)
    net = network(p)
    free = engine.feedforward(net, p.params, p.x)
    where = (free, p.y) if rule == "spc" else (free, p.x, p.y)
    run = engine.infer(
        net, p.params, *where, p.precision, inference_steps=230, step_size=0.05, record_every=1
    )
    c = report(p, rule, 230, 0.05)
    assert_same(c.residuals[-1], run.residual, 1e-9)
    if rule == "epc":
        assert_same([c.curvature, c.regime], [run.curvature, run.regime], 1e-9)
        assert (c.regime > 0.9).all()
        assert all(
            text.endswith(f"regime {f:.2f}: near the equilibrium")
            for text, f in zip(c.verdicts, c.regime, strict=True)
        )
        assert report(p, rule, 1, 1e-3).verdicts[0].endswith("backprop-like")


@by_rule
@pytest.mark.parametrize("steps", [0, 1])
def test_very_short_runs(rule, steps):
    """No step: the residual of the start, no rate to observe, the same prediction."""
    p = linear_problem()
    lam = 1 / top(p, rule)
    c = report(p, rule, steps, lam)
    assert c.residuals.shape == (steps + 1, 3)
    assert_same(c.residuals, residuals_of(p, rule, lam, steps), 1e-9)
    assert np.isnan(c.observed_rate).all() == (steps == 0)
    assert (c.predicted_steps == report(p, rule, 9, lam).predicted_steps).all()
    if rule == "epc":
        assert report(p, rule, steps, "adaptive").residuals.shape == (steps + 1, 3)


def test_float32_is_judged_by_its_own_rounding():
    """The spectrum is computed in float64; a tolerance that rounding hides is named."""
    p = linear_problem()
    lam = 1 / top(p, "spc")
    single = report(astype(p, np.float32), "spc", 1500, lam, tolerance=1e-9)
    double = report(p, "spc", 1500, lam)
    assert_same(single.eigenvalues, double.eigenvalues, 1e-5)
    assert (single.residuals[-1] > 1e-9).all()
    assert all("below rounding" in text for text in single.verdicts)
    assert_same(single.observed_rate, single.predicted_rate, 1e-3)
    assert np.isfinite(double.observed_steps).all()


def test_it_may_be_the_gradient_function():
    """``rule=pc.epc.gradient`` is "epc"."""
    p = linear_problem()
    for rule in RULES:
        assert report(p, getattr(pc, rule).gradient, 3, 0.01).rule == rule


def test_labels_are_a_target():
    """As in the rules."""
    p = tanh_problem(loss="cross_entropy")._replace(y=np.array([1, 0, 1]))
    rows = p._replace(y=np.eye(2)[p.y])
    assert_same(report(p, "epc", 9, 0.1).residuals, report(rows, "epc", 9, 0.1).residuals)


def test_a_start_at_the_equilibrium():
    """Nothing to do: no step, no rate, all modes count."""
    p = linear_problem()
    p = p._replace(y=network(p).forward(p.params, p.x))
    c = report(p, "spc", 5, 0.01)
    assert (c.observed_steps == 0).all()
    assert (c.predicted_steps == 0).all()
    assert np.isnan(c.observed_rate).all()
    assert_same(c.condition, np.full(3, np.linalg.cond(cf.hessian_states(p.params, p.precision))), 1e-9)


def test_it_prints_and_can_be_stored():
    """One line a sample, the verdict below; the same in HTML; JSON without NaN."""
    c = report(linear_problem(), "epc", 30, "adaptive")
    lines = str(c).splitlines()
    assert len(lines) == 1 + 3 + 3
    assert lines[0].split()[:2] == ["step", "2/mu_max"]
    assert [line.split("  ")[0] for line in lines[1:4]] == ["sample 0", "sample 1", "sample 2"]
    assert [line.split(":")[0] for line in lines[4:]] == ["sample 0", "sample 1", "sample 2"]
    html = c._repr_html_()
    assert html.count("<tr>") == 4
    assert "Convergence of ePC" in html
    stored = json.loads(json.dumps(c.to_dict(), allow_nan=False))
    assert stored["rule"] == "epc"
    assert stored["verdicts"] == c.verdicts
    assert np.shape(stored["eigenvalues"]) == c.eigenvalues.shape
    assert stored["stable"] == [True] * 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rule": "tpc"}, ValueError, 'rule must be "spc" or "epc", or their gradient function; got \'tpc\''),
        ({"rule": []}, ValueError, "rule must be"),
        ({"rule": pc.backprop.gradient}, ValueError, "rule must be"),
        ({"step_size": "adaptive"}, ValueError, "step_size must be a positive number"),
        ({"step_size": 0}, ValueError, "step_size must be positive"),
        ({"step_size": "quick", "rule": "epc"}, ValueError, 'or "adaptive" or "power"'),
        ({"inference_steps": -1}, ValueError, "inference_steps must not be negative"),
        ({"tolerance": 0}, ValueError, "tolerance must be positive"),
        ({"tolerance": None}, TypeError, "tolerance must be a number"),
        ({"modes": 0}, ValueError, "modes must be at least 1"),
        ({"modes": 2.5}, TypeError, "modes must be an integer"),
        ({"x": np.zeros((3, 7))}, ValueError, "x must have shape"),
        ({"y": np.zeros((2, 2))}, ValueError, "y must have shape"),
        ({"precision": [1.0]}, ValueError, "precision must have 4 entries"),
        ({"net": pc.Network([pc.Dense(3, 2)])}, ValueError, "params must have 1 dicts"),
        ({"net": [pc.Dense(3, 2)]}, TypeError, "net must be a Network, got list"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    """Before any work."""
    p = linear_problem()
    given = {"net": network(p), "params": p.params, "x": p.x, "y": p.y, "precision": None, "inference_steps": 3, "step_size": 0.1}  # fmt: skip
    with pytest.raises(error, match=message.replace("(", r"\(")):
        convergence(**{**given, **change})


def test_a_loss_that_is_not_finite_is_where_it_stops():
    """As in the rules: nothing can be inferred from it."""
    p = linear_problem()
    p.params[1]["W"][0, 0] = np.nan
    with pytest.raises(FloatingPointError, match=r"the loss is not finite: parameter W\[2\]"):
        report(p, "spc", 3, 0.1)


def test_networks_that_have_no_inference_of_single_samples_are_refused():
    """No hidden layer; batch normalisation on the batch; a recurrent network; a graph."""
    x, y = np.ones((2, 3)), np.ones((2, 2))
    options = {"inference_steps": 3, "step_size": 0.1}
    one = pc.Network([pc.Dense(3, 2)])
    with pytest.raises(ValueError, match="net must have a hidden layer"):
        convergence(one, one.init(), x, y, **options)
    blocks = [pc.Conv2d(1, 2, 3), pc.BatchNorm2d(2), pc.Flatten(), pc.Dense(18, 2)]
    norm = pc.Network(blocks, input_shape=(1, 5, 5))
    images = np.random.default_rng(0).standard_normal((2, 1, 5, 5))
    with pytest.raises(ValueError, match="freeze_statistics"):
        convergence(norm, norm.init(), images, y, **options)
    frozen, params = pc.freeze_statistics(norm, norm.init(), images)
    assert convergence(frozen, params, images, y, **options).stable.all()
    recurrent = pc.RecurrentNetwork([pc.RNN(3, 4), pc.Dense(4, 2)])
    with pytest.raises(TypeError, match=r"take check\.convergence_in_time"):
        convergence(recurrent, recurrent.init(), x, y, **options)
    graph = pc.Dag([pc.Dense(3, 4), pc.Dense(4, 2)], [(0,), (1,)])
    with pytest.raises(TypeError, match="net must be a Network"):
        convergence(graph, graph.init(), x, y, **options)


def test_the_figure_shows_the_numbers_of_the_report(tmp_path):
    """Observed and predicted residuals of every sample; every excited mode at lambda mu, on the curve |1 - lambda mu|."""
    pytest.importorskip("matplotlib")
    p = tanh_problem(4)
    c = report(p, "spc", 120, 0.38)
    figure = pc.plotting.convergence(c, "a title", samples=[0, 2])
    left, right = figure.axes
    lines = left.get_lines()
    for b, observed, predicted in ((0, *lines[:2]), (2, *lines[2:4])):
        shown = np.isfinite(observed.get_ydata())
        assert shown[:50].all()
        assert np.array_equal(observed.get_ydata()[shown], c.residuals[shown, b])
        shown = np.isfinite(predicted.get_ydata())
        assert shown[:50].all()
        assert np.array_equal(predicted.get_ydata()[shown], c.predicted[shown, b])
    for b, dots in zip((0, 2), right.collections, strict=False):
        x = c.step_size[b] * c.eigenvalues[b][c.excited[b]]
        assert_same(np.array(dots.get_offsets()), np.stack([x, abs(1 - x)], axis=1))
    assert figure.get_suptitle() == "a title"
    pc.plotting.save(figure, tmp_path / "convergence.png")
    with pytest.raises(ValueError, match="samples must be one to four"):
        pc.plotting.convergence(c, samples=[])
    diverged = report(linear_problem(), "epc", 150, 1.0)
    pc.plotting.save(pc.plotting.convergence(diverged), tmp_path / "diverged.png")
    pc.plotting.save(pc.plotting.convergence(report(p, "epc", 0, "adaptive")), tmp_path / "start.png")
