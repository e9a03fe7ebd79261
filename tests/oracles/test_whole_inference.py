"""sPC and ePC from the first line to the last: results, derivatives through all steps, snapshots, stopping."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from helpers.battery import GOOD, LAM, N, descend, network, oracle, state_errors, zero_errors
from helpers.checks import assert_live, assert_same, read_only
from helpers.strategies import fewer, problems
from hypothesis import given

from minipc import InferenceWarning, epc, spc
from minipc.check import complex_step
from reference import autograd_oracles as ad

RULES = {"sPC": spc, "ePC": epc}
STEPS = {
    "sPC fixed": (spc, LAM),
    "ePC fixed": (epc, LAM),
    "ePC power": (epc, "power"),
    "ePC adaptive": (epc, "adaptive"),
}
P = GOOD[0]  # post form, squared error, diagonal precisions
noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")  # a fixed step may be too long
by_rule = pytest.mark.parametrize("name", RULES)
by_step = pytest.mark.parametrize(("rule", "step_size"), STEPS.values(), ids=STEPS)


def energy_at(name, p, free, params, x):
    """The summed energy by the oracle, of the free states or errors."""
    if name == "sPC":
        return anp.sum(ad.spc_energy(p.layers, params, [x, *free], p.y, p.loss, p.precision))
    return anp.sum(ad.epc_energy(p.layers, params, [None, *free], x, p.y, p.loss, p.precision))


def relaxed(name, p, params, x, steps=N):
    """The free layers after plain gradient descent from the feedforward point, every derivative by autograd."""
    start = ad.feedforward(p.layers, params, x)[:-1] if name == "sPC" else zero_errors(p)
    slope = grad(lambda free: energy_at(name, p, free, params, x))
    return descend(lambda v: [None, *slope(list(v[1:]))], start, LAM, steps)[1:]


@noisy
@by_rule
@given(p=problems())
def test_every_field_of_the_result(name, p):
    """Loss, energy, states, errors and residual of a run of three steps."""
    g = RULES[name].gradient(network(p), p.params, p.x, p.y, p.precision, inference_steps=N, step_size=LAM)
    free = relaxed(name, p, p.params, p.x)
    slope = grad(lambda free: energy_at(name, p, free, p.params, p.x))(free)
    states = [p.x, *free] if name == "sPC" else ad.states_from_errors(p.layers, p.params, [None, *free], p.x)
    yhat = ad.feedforward(p.layers, p.params, p.x)[-1]
    expected = [
        ad.loss_value(p.loss, yhat, p.y),
        oracle(ad.spc_energy, p, states, p.y),
        states,
        np.sqrt(sum((v**2).sum(axis=1) for v in slope)),
        state_errors(p._replace(s=states))[-1],
    ]
    assert_live(expected)
    assert_same([g.loss, g.energy, g.states, g.residual, g.errors[-1]], expected)
    if name == "ePC":
        assert_same(g.errors[1:-1], free)
    assert_same(network(p).forward(p.params, p.x), yhat)


@noisy
@by_rule
@pytest.mark.parametrize("p", GOOD, ids=["post mse", "pre mse", "post cross-entropy", "pre diagonal"])
def test_complex_step_through_the_whole_inference(name, p):
    """The energy after three steps as a function of every W, b and x: autograd differentiates through its own steps."""

    def unrolled(params, x):
        return energy_at(name, p, relaxed(name, p, params, x), params, x)

    def energy(params, x):
        options = {"inference_steps": N, "step_size": LAM}
        return RULES[name].gradient(network(p), params, x, p.y, p.precision, **options).energy.sum()

    def by_entry(l, k):
        return complex_step(
            lambda v: energy([*p.params[:l], {**p.params[l], k: v}, *p.params[l + 1 :]], p.x), p.params[l][k]
        )

    expected = grad(unrolled)(p.params, p.x), grad(unrolled, 1)(p.params, p.x)
    assert_live(expected)
    actual = [{k: by_entry(l, k) for k in q} for l, q in enumerate(p.params)]
    assert_same((actual, complex_step(lambda x: energy(p.params, x), p.x)), expected)


# ---------------------------------------------------------------------- snapshots


@by_step
@pytest.mark.parametrize(
    ("steps", "every", "when"), [(7, 3, [0, 3, 6, 7]), (4, 2, [0, 2, 4]), (2, 5, [0, 2]), (0, 1, [0])]
)
def test_snapshots_show_the_run(rule, step_size, steps, every, when):
    """Taken before every k-th step and at the end; states, energies and layers are those of shorter runs."""
    p, net = P, network(P)
    options = {"step_size": step_size}
    g = rule.gradient(
        net, p.params, p.x, p.y, p.precision, inference_steps=steps, record_every=every, **options
    )
    B, L, seen = len(p.x), len(p.layers), g.recording
    assert seen.steps == when
    assert seen.energy.shape == (len(when), B)
    assert seen.layers.shape == (len(when), L, B)
    assert_same(seen.layers.sum(axis=1), seen.energy, rtol=1e-14)
    for k, states, energy, layers in zip(when, seen.states, seen.energy, seen.layers, strict=True):
        short = rule.gradient(net, p.params, p.x, p.y, p.precision, inference_steps=k, **options)
        assert short.recording is None
        assert_same([states, energy], [short.states, short.energy], rtol=1e-14)
        assert_same(energy, oracle(ad.spc_energy, p, states, p.y))
        hidden = state_errors(p._replace(s=states))[:-1]
        terms = [ad.quadratic(v, Pi) for v, Pi in zip(hidden, p.precision[:-1], strict=True)]
        assert_same(layers[:-1].sum(axis=0) + 1, sum(terms) + 1)  # zero at the start
        if k >= L:
            assert_same(list(layers[:-1]), terms)
    plain = rule.gradient(net, p.params, p.x, p.y, p.precision, inference_steps=steps, **options)
    assert_same([g.grads, g.states, g.energy], [plain.grads, plain.states, plain.energy], rtol=0)


@by_step
def test_the_energy_at_the_start_is_the_loss(rule, step_size):
    """At the feedforward point there is no other error, if the output has unit precision."""
    net = network(P)
    g = rule.gradient(
        net,
        P.params,
        P.x,
        P.y,
        [*P.precision[:-1], None],
        inference_steps=2,
        step_size=step_size,
        record_every=1,
    )
    assert_live(g.loss)
    assert_same(g.recording.energy[0], g.loss, rtol=1e-14)
    assert not g.recording.layers[0, :-1].any()
    assert (g.energy < g.loss).all()


# ---------------------------------------------------------------------- stopping


def start(rule, p):
    """(start of inference, data) in the order in which ``infer`` takes them."""
    return (spc.feedforward(network(p), p.params, p.x), p.y) if rule is spc else (zero_errors(p), p.x, p.y)


@by_step
@pytest.mark.parametrize("tolerance", [1e-1, 1e-3])
def test_inference_stops_at_the_tolerance(rule, step_size, tolerance):
    """At the first look, every ten steps, that finds every sample below it."""
    net, options = network(P), {"step_size": step_size}
    args = net, P.params, *start(rule, P), P.precision
    run = rule.infer(*args, inference_steps=5000, tolerance=tolerance, **options)
    assert 0 < run.steps < 5000
    assert run.steps % 10 == 0
    assert (run.residual < tolerance).all()
    with pytest.warns(InferenceWarning, match="did not converge"):
        before = rule.infer(*args, inference_steps=run.steps - 1, tolerance=tolerance * 1e-3, **options)
    assert before.steps == run.steps - 1
    ten_before = rule.infer(*args, inference_steps=run.steps - 10, **options)
    assert (ten_before.residual >= tolerance).any()
    same = rule.infer(*args, inference_steps=run.steps, **options)
    assert_same(run[:3], same[:3], rtol=0)


@by_step
def test_the_last_snapshot_of_a_run_that_stopped_is_taken_once(rule, step_size):
    """The tolerance is met where a snapshot is due anyway."""
    options = {"inference_steps": 5000, "tolerance": 1e-1, "record_every": 5}
    run = rule.infer(network(P), P.params, *start(rule, P), P.precision, step_size=step_size, **options)
    assert run.recording.steps == list(range(0, run.steps + 1, 5))
    assert len(run.recording.states) == len(run.recording.energy) == len(run.recording.steps)


@by_step
def test_inference_at_rest_takes_no_step(rule, step_size):
    """With the output free the feedforward point is the equilibrium, whatever the tolerance."""
    *first, _ = start(rule, P)
    run = rule.infer(
        network(P),
        P.params,
        *first,
        None,
        P.precision,
        inference_steps=50,
        step_size=step_size,
        tolerance=1e-12,
    )
    assert run.steps == 0
    assert not run.residual.any()


@by_step
def test_a_missed_tolerance_is_said_with_numbers(rule, step_size):
    """How many samples, which residual, which tolerance."""
    with pytest.warns(InferenceWarning, match=r"did not converge in 3 of 3 samples.*1\.0e-09"):
        rule.infer(
            network(P),
            P.params,
            *start(rule, P),
            P.precision,
            inference_steps=3,
            step_size=step_size,
            tolerance=1e-9,
        )


@by_step
def test_the_tolerance_is_the_line_between_warning_and_silence(rule, step_size):
    """Just missed at the last step warns, just met there does not, although nobody looked in between."""
    args, options = (network(P), P.params, *start(rule, P), P.precision), {"inference_steps": 7}
    worst = rule.infer(*args, step_size=step_size, **options).residual.max()
    assert rule.infer(*args, step_size=step_size, tolerance=1.01 * worst, **options).steps == 7
    with pytest.warns(InferenceWarning, match="did not converge in 1 of 3 samples"):
        rule.infer(*args, step_size=step_size, tolerance=0.99 * worst, **options)


@by_rule
def test_a_diverging_sample_is_named(name):
    """Two samples rest at their own prediction; the step is too long for the third, and the warning says so."""
    y = network(P).forward(P.params, P.x)
    y[2] += 1
    with pytest.warns(
        InferenceWarning, match=f"{name} inference diverged in 1 of 3 samples .first: sample 2"
    ):
        g = RULES[name].gradient(network(P), P.params, P.x, y, P.precision, inference_steps=50, step_size=3.0)
    assert g.energy[2] > g.loss[2]
    assert not g.energy[:2].any()


@by_step
def test_inference_edits_no_argument(rule, step_size):
    """States, errors, parameters, data and precisions are read-only here."""
    p = P._replace(params=[{k: v.copy() for k, v in q.items()} for q in P.params])
    args = start(rule, p)
    read_only([p.params, list(args)])
    rule.infer(
        network(p), p.params, *args, p.precision, inference_steps=2, step_size=step_size, record_every=1
    )


@noisy
@given(problems(depth=(2, 4), widest=6))
@fewer(2)
def test_infer_from_the_feedforward_point_is_gradient(p):
    """The two doors lead into the same room, for every way to choose the step; the fast form takes a shorter way there
    from the feedforward pass, and arrays lie in another order, so rounding differs (the residual is a small difference).
    """
    net = network(p)
    for rule, step_size in STEPS.values():
        options = {"inference_steps": 4, "step_size": step_size}
        g = rule.gradient(net, p.params, p.x, p.y, p.precision, **options)
        run = rule.infer(net, p.params, *start(rule, p), p.precision, **options)
        free = g.states[1:] if rule is spc else g.errors[1:-1]
        assert_same([run[0][1:], run.energy, 1 + run.residual], [free, g.energy, 1 + g.residual], rtol=1e-13)
