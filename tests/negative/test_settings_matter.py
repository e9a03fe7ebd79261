"""Settings that must matter do, and approximations differ from what they approximate, in the expected direction."""

import numpy as np
import pytest
from helpers.battery import GOOD, fixed, network
from helpers.checks import assert_differ, assert_same

from minipc import Dense, Network, backprop, epc, spc
from reference.problems import astype

P = GOOD[0]
UNIT = fixed((3, 5, 4, 6, 2), precision=False)[0]
OPTIONS = {"sPC": {"inference_steps": 8, "step_size": 0.05}, "ePC": {"inference_steps": 4, "step_size": 0.05}}
RULES = {"sPC": spc, "ePC": epc}
by_rule = pytest.mark.parametrize("name", RULES)


def grads(name, p=P, **changes):
    """Weight gradient of a rule on a problem, with some options changed."""
    options = {**OPTIONS[name], **changes}
    return RULES[name].gradient(network(p), p.params, p.x, p.y, p.precision, **options).grads


@by_rule
@pytest.mark.parametrize("l", range(4))
def test_every_precision_matters(name, l):
    """Doubling one layer's changes that layer's gradient; none at all is not the same as those given."""
    precision = [*P.precision[:l], 2 * P.precision[l], *P.precision[l + 1 :]]
    assert_differ(grads(name, P._replace(precision=precision))[l], grads(name)[l])
    assert_differ(grads(name, P._replace(precision=None))[l], grads(name)[l])


@by_rule
def test_a_full_precision_is_not_its_diagonal(name):
    """Correlations between the errors of a layer matter."""
    p = GOOD[1]
    diagonal = p._replace(precision=[np.diag(Pi).copy() for Pi in p.precision])
    assert_differ(grads(name, diagonal), grads(name, p))


@by_rule
@pytest.mark.parametrize("change", [{"inference_steps": 3}, {"step_size": 0.06}], ids=["steps", "step size"])
def test_steps_and_step_size_matter(name, change):
    """One step more or a step a fifth longer is seen in every hidden layer."""
    for one, other in zip(grads(name, **change)[:-1], grads(name)[:-1], strict=True):
        assert_differ(one, other)


def test_the_ways_to_choose_a_step_are_different_ways():
    """Fixed, power, adaptive."""
    fixed_step, power, adaptive = (grads("ePC", step_size=way) for way in (0.05, "power", "adaptive"))
    assert_differ(power, fixed_step)
    assert_differ(adaptive, fixed_step)
    assert_differ(adaptive, power)


@pytest.mark.parametrize("name", ["backprop", *RULES])
@pytest.mark.parametrize("kind", ["form", "activation", "bias", "loss", "target"])
def test_the_network_and_the_data_matter(name, kind):
    """The form, one layer's activation, one bias, the loss, one entry of the target."""

    def run(p):
        rule = backprop if name == "backprop" else RULES[name]
        return rule.gradient(
            network(p), p.params, p.x, p.y, *([] if rule is backprop else [p.precision])
        ).grads

    y = np.exp(UNIT.y) / np.exp(UNIT.y).sum(axis=1, keepdims=True)  # good for both losses
    p, moved = UNIT._replace(y=y), y.copy()
    moved[0] = moved[0, ::-1]
    other = {
        "form": p._replace(layers=[(phi, "pre") for phi, _ in p.layers]),
        "activation": p._replace(layers=[p.layers[0], ("sigmoid", "post"), *p.layers[2:]]),
        "bias": p._replace(params=[p.params[0], {**p.params[1], "b": p.params[1]["b"] + 0.1}, *p.params[2:]]),
        "loss": p._replace(loss="cross_entropy"),
        "target": p._replace(y=moved),
    }[kind]
    for one, two in zip(run(other), run(p), strict=True):
        assert_differ(one, two)


def test_initialisation_gain_and_seed_matter():
    """Each of them is another network."""

    def W(seed=0, **options):
        return Network([Dense(5, 4, **options)]).init(seed=seed)[0]["W"]

    for other in (W(seed=1), W(gain=2.0), W(init="kaiming"), W(init="orthogonal")):
        assert_differ(other, W())


# ---------------------------------------------------------------------- approximations are not the real thing


def cosine(a, b):
    """Cosine of the angle between two weight matrices."""
    return (a["W"] * b["W"]).sum() / np.linalg.norm(a["W"]) / np.linalg.norm(b["W"])


def test_few_steps_of_spc_are_not_backprop_and_smaller_the_deeper():
    """The first gradient to arrive in layer 1 is backprop's times the step size to the power of the depth, Eq. (sPC.9)."""
    exact = backprop.gradient(network(UNIT), UNIT.params, UNIT.x, UNIT.y).grads
    g = grads("sPC", UNIT, inference_steps=3)
    size = [np.linalg.norm(a["W"]) / np.linalg.norm(b["W"]) for a, b in zip(g, exact, strict=True)]
    assert_differ(g, exact, min_rel=0.5)
    assert size[0] < 0.2 * size[1] < 0.04 * size[2] < 0.04 * size[3]
    assert_same(g[0]["W"], 0.05**3 * exact[0]["W"])


def test_few_small_steps_of_epc_are_backprop_times_a_factor_in_the_hidden_layers_only():
    """The direction of backprop, the length lam N; the output layer has its full length, Eq. (ePC.11)."""
    exact = backprop.gradient(network(UNIT), UNIT.params, UNIT.x, UNIT.y).grads
    g = grads("ePC", UNIT, inference_steps=2, step_size=1e-4)
    for a, b in zip(g[:-1], exact[:-1], strict=True):
        assert cosine(a, b) > 0.999
        assert np.linalg.norm(a["W"]) == pytest.approx(2e-4 * np.linalg.norm(b["W"]), rel=0.05)
    assert_same(g[-1], exact[-1], rtol=0.05)
    assert_differ(g, exact, min_rel=0.9)


@by_rule
def test_the_equilibrium_is_neither_backprop_nor_a_few_steps(name):
    """Another gradient, also in direction; and more steps still change it."""
    options = {"inference_steps": 20_000, "tolerance": 1e-10}
    end = grads(name, UNIT, **options)
    exact = backprop.gradient(network(UNIT), UNIT.params, UNIT.x, UNIT.y).grads
    assert_differ(end, exact, min_rel=0.1)
    assert min(cosine(a, b) for a, b in zip(end, exact, strict=True)) < 0.99
    assert_differ(grads(name, UNIT), end, min_rel=0.01)


def test_spc_and_epc_are_different_rules_before_the_equilibrium():
    """The same number of the same steps; ePC has reached the first layer, sPC has not."""
    a, b = (grads(name, UNIT, inference_steps=2, step_size=0.05) for name in RULES)
    assert not a[0]["W"].any()
    assert np.linalg.norm(b[0]["W"]) > 1e-3


def test_single_precision_is_close_but_not_the_same():
    """float32 agrees with float64 to 1e-4 in every rule, and differs from it."""
    small = astype(P, "float32")
    for name in RULES:
        single, double = grads(name, small), grads(name)
        assert {v.dtype for q in single for v in q.values()} == {np.dtype("float32")}
        assert_same(single, double, rtol=1e-3)
        assert_differ(single, double, min_rel=1e-9)
