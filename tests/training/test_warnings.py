"""Inference that diverged or did not converge says so: which rule, how many samples, what to do."""

import warnings

import numpy as np
import pytest

import minipc as pc
from minipc import epc, spc
from training.problem import train

NET = pc.Network([pc.Dense(4, 6, "tanh"), pc.Dense(6, 5, "tanh"), pc.Dense(5, 3)])
PARAMS = NET.init(seed=0)
X, Y = (
    np.random.default_rng(1).standard_normal((2, 3, 4))[0],
    np.random.default_rng(2).standard_normal((3, 3)),
)
SETTLED = np.where([[True], [False], [False]], NET.forward(PARAMS, X), Y)  # the first sample has its target
NAMES = {spc: "sPC", epc: "ePC"}
rules = pytest.mark.parametrize("rule", NAMES, ids=NAMES.get)


def run(rule, y=SETTLED, **options):
    """A gradient on the three samples."""
    with np.errstate(all="ignore"):
        return rule.gradient(NET, PARAMS, X, y, **options)


@rules
@pytest.mark.parametrize("steps", [3, 2000])
def test_divergence_names_rule_samples_and_step(rule, steps):
    """After a few steps and after many; the sample that rests at its target is not among them."""
    message = rf"{NAMES[rule]} inference diverged in 2 of 3 samples \(first: sample 1\).*step_size 30"
    with pytest.warns(pc.InferenceWarning, match=message) as caught:
        run(rule, inference_steps=steps, step_size=30)
    assert len(caught) == 1


@rules
def test_inference_that_overflows_does_not_return_nan_in_silence(rule):
    """A linear network grows without bound."""
    net = pc.Network([pc.Dense(4, 6), pc.Dense(6, 3)])
    message = rf"{NAMES[rule]} inference diverged in 3 of 3 samples \(first: sample 0\)"
    with np.errstate(all="ignore"), pytest.warns(pc.InferenceWarning, match=message):
        g = rule.gradient(net, net.init(seed=0), X, Y, inference_steps=2000, step_size=30)
    assert not np.isfinite(g.residual).any()


@rules
def test_a_missed_tolerance_names_rule_samples_residual_and_tolerance(rule):
    """With what is left and what to do about it."""
    message = rf"{NAMES[rule]} inference did not converge in 2 of 3 samples: .*residual is (\S+), the tolerance 1\.0e-09; use more"
    with pytest.warns(pc.InferenceWarning, match=message) as caught:
        g = run(rule, inference_steps=3, step_size=0.1, tolerance=1e-9)
    assert f"the largest residual is {g.residual.max():.1e}" in str(caught[0].message)
    assert len(caught) == 1


@rules
def test_a_warning_points_at_the_line_of_the_caller(rule):
    """Not into the library: of ``gradient`` and of ``infer``."""
    start = spc.feedforward(NET, PARAMS, X) if rule is spc else (epc.feedforward(NET, PARAMS, X), X)
    start = (start,) if rule is spc else start
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rule.gradient(NET, PARAMS, X, Y, inference_steps=1, step_size=0.1, tolerance=1e-9)
        rule.infer(NET, PARAMS, *start, Y, inference_steps=1, step_size=0.1, tolerance=1e-9)
    assert [w.filename for w in caught] == [__file__] * 2


@rules
def test_settled_inference_is_silent_and_stops_early(rule):
    """Every residual below the tolerance: no warning (warnings are errors here), fewer steps than allowed."""
    options = {"inference_steps": 5000, "tolerance": 1e-8, "step_size": 0.1, "record_every": 1}
    g = run(rule, **options)
    assert (g.residual < 1e-8).all()
    assert 0 < g.recording.steps[-1] < 5000
    assert g.recording.steps[-1] % 10 == 0  # it looks every ten steps


@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_the_adaptive_step_never_diverges(scale):
    """Steep networks and long runs: silence, and no sample's energy above its start."""
    params = [{**p, "W": scale * p["W"]} for p in PARAMS]
    g = epc.gradient(NET, params, X, Y, inference_steps=30)
    assert (g.energy <= g.loss).all()


def test_training_warns_by_name_too():
    """The loop swallows nothing."""
    with np.errstate(all="ignore"), pytest.warns(pc.InferenceWarning, match="sPC inference diverged in"):
        train(spc.gradient, step_size=10, inference_steps=3, epochs=1, optimizer=pc.SGD(1e-9))
