"""Samples do not interact: claims S35 and S36, permutations, stacks, and a neighbour that is changed."""

import numpy as np
import pytest
from helpers.battery import LAM, flat, network, samples, zero_errors
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import fewer, problems
from hypothesis import given

from minipc import backprop, epc, spc

pytestmark = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")

N = 4
RULES = {
    "backprop": lambda p: backprop.gradient(network(p), p.params, p.x, p.y),
    "sPC": lambda p: spc.gradient(
        network(p), p.params, p.x, p.y, p.precision, inference_steps=N, step_size=LAM
    ),
    "ePC fixed": lambda p: epc.gradient(
        network(p), p.params, p.x, p.y, p.precision, inference_steps=N, step_size=LAM
    ),
    "ePC power": lambda p: epc.gradient(
        network(p), p.params, p.x, p.y, p.precision, inference_steps=N, step_size="power"
    ),
    "ePC adaptive": lambda p: epc.gradient(network(p), p.params, p.x, p.y, p.precision, inference_steps=N),
}
by_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def per_sample(g):
    """Everything of a result that belongs to single samples, the states in the place of the errors they imply."""
    rest = (
        None if g.residual is None else 1 + g.residual
    )  # near the equilibrium it is a difference of large numbers
    step = (
        None if g.step_size is None else np.where(g.residual > 1e-6, g.step_size, 0)
    )  # at rest rounding decides
    fields = g.loss, g.energy, g.states, g.errors[-1], rest, step
    return [field for field in fields if field is not None]


def rows(p, index):
    """The problem with these samples, in this order."""
    return p._replace(x=p.x[index], y=p.y[index])


def take(tree, index):
    """These samples of a per-sample result."""
    return [take(v, index) if isinstance(v, list) else v[index] for v in tree]


@by_rule
@fewer(3)
@given(p=problems(depth=(1, 4), widest=7))
def test_a_batch_is_a_stack_of_single_samples(rule, p):
    """Every per-sample number is that of the sample alone; gradients are sums over the samples."""
    whole, alone = rule(p), [rule(one) for one in samples(p)]
    for b, g in enumerate(alone):
        assert_same(take(per_sample(whole), slice(b, b + 1)), per_sample(g))
        if g.curvature is not None:  # a quotient of small differences
            assert_same(
                [whole.curvature[b : b + 1], 2 - whole.regime[b : b + 1]],
                [g.curvature, 2 - g.regime],
                rtol=1e-6,
            )
    assert_live(flat(whole.grads))
    assert_same(flat(whole.grads), sum(flat(g.grads) for g in alone))


@by_rule
@fewer(3)
@given(p=problems(depth=(1, 4), widest=7))
def test_the_order_of_the_samples_does_not_matter(rule, p):
    """Reversed: the same per-sample numbers in the new order, the same gradient."""
    back = np.arange(len(p.x))[::-1]
    a, b = rule(p), rule(rows(p, back))
    assert_same(per_sample(b), take(per_sample(a), back))
    assert_same(flat(b.grads), flat(a.grads))


@by_rule
@fewer(3)
@given(p=problems(depth=(1, 4), widest=7))
def test_three_copies_give_three_times_the_gradient(rule, p):
    """S36: and the same states, so a step size means the same at every batch size."""
    one, three = rule(rows(p, [0])), rule(rows(p, [0, 0, 0]))
    assert_same(per_sample(three), take(per_sample(one), [0, 0, 0]))
    assert_same(flat(three.grads), 3 * flat(one.grads))


@by_rule
@fewer(3)
@given(p=problems(depth=(2, 4), widest=7))
def test_a_sample_does_not_feel_its_neighbour(rule, p):
    """Another first sample changes its own numbers and no other's."""
    x = p.x.copy()
    x[0] += 1
    a, b = rule(p), rule(p._replace(x=x))
    others = slice(1, None)
    assert_same(take(per_sample(b), others), take(per_sample(a), others))
    assert_differ(b.states[0][:1], a.states[0][:1])


@given(problems(depth=(1, 6)))
def test_a_free_output_leaves_the_forward_pass_at_rest(p):
    """S35: energy and all gradients are exactly zero; a clamped output has a loss."""
    net = network(p)
    s, e = spc.feedforward(net, p.params, p.x), zero_errors(p)
    args, more = (net, p.params, s, None, p.precision), (net, p.params, e, p.x, None, p.precision)
    for values in (spc.energy(*args), epc.energy(*more)):
        assert values.shape == (len(p.x),)
        assert not values.any()
    gradients = [*spc.activity_gradient(*args)[1:], *epc.error_gradient(*more)[1:]]
    gradients += [v for g in (*spc.weight_gradient(*args), *epc.weight_gradient(*more)) for v in g.values()]
    assert not any(v.any() for v in gradients)
    assert (spc.energy(net, p.params, s, p.y, p.precision) > 0).all()
