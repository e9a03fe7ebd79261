"""Options of BPTT and RTRL that change no number, or that the sums of the equations say: segments, carries, staleness."""

import math

import numpy as np
import pytest
from helpers.checks import assert_live, assert_same

import minipc as pc
from minipc import bptt, rtrl

M, N, O = 3, 4, 2


def problem(blocks=None, T=6, B=3, seed=0):
    """Network, parameters, inputs, targets; every parameter away from zero."""
    rng = np.random.default_rng(seed)
    net = pc.RecurrentNetwork(blocks or [pc.RNN(M, N, "tanh"), pc.Dense(N, O)])
    params = [{k: v + 0.3 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(seed)]
    return net, params, rng.standard_normal((T, B, M)), rng.standard_normal((T, B, net.shapes[-1][0]))


# ---------------------------------------------------------------------- segments of BPTT


@pytest.mark.parametrize("T", [1, 2, 4, 9, 10, 17])
@pytest.mark.parametrize("segment", [None, 1, 3, 40, np.int64(2)])
def test_segments_are_as_long_as_they_are_asked_to_be(monkeypatch, T, segment):
    """None is the square root of T, rounded up; each segment but the last is run once more; the gradient is BPTT's."""
    arguments, lengths, run = problem(T=T), [], bptt.run
    expected = bptt.gradient(*arguments)
    monkeypatch.setattr(bptt, "run", lambda *a: lengths.append(len(a[3])) or run(*a))
    g = bptt.checkpointed(*arguments, segment=segment)
    length = min(math.ceil(math.sqrt(T)) if segment is None else int(segment), T)
    whole, rest = divmod(T, length)
    cuts = [length] * whole + [rest] * (rest > 0)
    assert lengths == cuts[:-1] + cuts[::-1]
    assert_same([g.grads, g.loss, g.final], [expected.grads, expected.loss, expected.final], rtol=1e-12)


@pytest.mark.parametrize("call", [bptt.gradient, bptt.checkpointed, lambda *a: bptt.truncated(*a, steps=2)])
def test_a_loss_that_is_not_finite_stops_bptt(call):
    """By name, as every rule does."""
    net, params, inputs, targets = problem([pc.RNN(M, N, "relu"), pc.Dense(N, O)])
    params = [{k: 1e200 * np.abs(v) for k, v in p.items()} for p in params]
    with pytest.raises(FloatingPointError, match="loss"), np.errstate(all="ignore"):
        call(net, params, np.abs(inputs), targets)


# ---------------------------------------------------------------------- stretches of RTRL


@pytest.mark.parametrize("influence", ["exact", "hybrid", "local", "snap-1", "rflo"])
@pytest.mark.parametrize("lanes", ["all", "some"])
def test_a_reset_is_a_new_sequence_also_where_the_steps_are_many(influence, lanes):
    """Gradients of a long stretch with a reset are those of its two parts, lane by lane (RTRL.6)."""
    T, B, at = 40, 3, 17
    net, params, inputs, targets = problem(T=T, B=B)
    again = np.ones(B, bool) if lanes == "all" else np.array([True, False, True])
    reset = np.zeros((T, B), bool)
    reset[at] = again
    found = rtrl.gradient(net, params, inputs, targets, reset=reset, influence=influence)
    total = None
    for b in range(B):
        one = slice(b, b + 1)
        for part in [slice(0, at), slice(at, T)] if again[b] else [slice(0, T)]:
            g = rtrl.gradient(net, params, inputs[part, one], targets[part, one], influence=influence).grads
            total = g if total is None else bptt.added(total, g)
    assert_live(total)
    assert_same(found.grads, total, rtol=1e-10)


def test_a_block_of_the_carry_need_not_be_said_again():
    """The influence that goes on keeps its number of steps; another number is refused."""
    net, params, inputs, targets = problem(T=8)
    whole = rtrl.gradient(net, params, inputs, targets, influence="hybrid", block=3)
    first = rtrl.gradient(net, params, inputs[:4], targets[:4], influence="hybrid", block=3)
    second = rtrl.gradient(net, params, inputs[4:], targets[4:], influence="hybrid", carry=first.carry)
    assert second.carry.influence.block == 3
    assert_same(bptt.added(first.grads, second.grads), whole.grads, rtol=1e-10)
    with pytest.raises(ValueError, match="block must be that of carry, 3, got 4"):
        rtrl.gradient(net, params, inputs[4:], targets[4:], influence="hybrid", block=4, carry=first.carry)


@pytest.mark.parametrize("B", [2, 4, 5])
@pytest.mark.parametrize("influence", ["exact", "hybrid"])
def test_as_many_lanes_as_states_are_no_special_case(influence, B):
    """An LSTM of two units has four states, and an output of two: credit at h is no credit at [h; c]."""
    arguments = problem([pc.LSTM(M, 2), pc.Dense(2, O)], B=B)
    expected = bptt.gradient(*arguments).grads
    assert_same(rtrl.gradient(*arguments, influence=influence).grads, expected, rtol=1e-10)


def test_local_credit_stops_at_indices():
    """Nothing goes further down than the rows of an Embedding in the first block, through a cell or past one (STACK.4)."""
    rng = np.random.default_rng(0)
    net = pc.RecurrentNetwork([pc.Embedding(5, M), pc.RNN(M, N, "tanh"), pc.Dense(N, O)], input_shape=())
    params, inputs = net.init(0), rng.integers(0, 5, (1, 3))
    targets = rng.standard_normal((1, 3, O))
    local = rtrl.gradient(net, params, inputs, targets, influence="local")
    assert_same(
        local.grads, bptt.gradient(net, params, inputs, targets).grads, rtol=1e-12
    )  # one step: no history


# ---------------------------------------------------------------------- online


def by_hand(arguments, rate, influence="exact", mean=False):
    """Gradient descent at every step, with gradients of stretches of one step: last parameters, sum of the gradients."""
    net, theta, inputs, targets = arguments
    carry = total = None
    for t in range(len(inputs)):
        g = rtrl.gradient(net, theta, inputs[t : t + 1], targets[t : t + 1], influence=influence, carry=carry)
        carry, total = g.carry, g.grads if total is None else bptt.added(total, g.grads)
        share = rate / inputs.shape[1] if mean else rate
        theta = [{k: v - share * d[k] for k, v in q.items()} for q, d in zip(theta, g.grads, strict=True)]
    return theta, total


def test_online_learning_is_a_step_for_every_step():
    """The mean over the lanes, taken at the parameters of the moment."""
    arguments = problem()
    found = rtrl.online(*arguments, optimizer=pc.SGD(0.2))
    expected, _ = by_hand(arguments, 0.2, mean=True)
    assert_same(found.params, expected, rtol=1e-12)
    assert abs(found.params[0]["W"] - arguments[1][0]["W"]).max() > 0.01


def test_online_learning_goes_on_with_the_optimisers_state():
    """Adam in two halves is Adam in one go; without the state it is not."""
    net, params, inputs, targets = problem(T=8)
    adam = pc.Adam(0.05)
    whole = rtrl.online(net, params, inputs, targets, optimizer=adam)
    first = rtrl.online(net, params, inputs[:4], targets[:4], optimizer=adam)
    rest = (net, first.params, inputs[4:], targets[4:])
    second = rtrl.online(*rest, optimizer=adam, state=first.state, carry=first.carry)
    assert_same(second.params, whole.params, rtol=1e-12)
    anew = rtrl.online(*rest, optimizer=adam, carry=first.carry)
    assert abs(anew.params[0]["W"] - whole.params[0]["W"]).max() > 1e-3


def test_a_stretch_in_which_nothing_counts_teaches_nothing():
    """Part of a longer sequence may be masked from end to end; a whole sequence may not."""
    net, params, inputs, targets = problem()
    nowhere = np.zeros(inputs.shape[:2], bool)
    found = rtrl.online(net, params, inputs, targets, nowhere, optimizer=pc.SGD(0.2))
    assert_same(found.params, params, rtol=0)
    assert not found.loss.any()
    with pytest.raises(ValueError, match="mask must be True somewhere"):
        rtrl.staleness(net, params, inputs, targets, nowhere, learning_rate=0.1)


@pytest.mark.parametrize("rate", [0.3, 1e-3])
def test_staleness_is_the_relative_distance_of_the_two_sums(rate):
    """|sum_t g_t(theta_t) - g(theta_0)| / |g(theta_0)| over all parameters, with the batch's sums."""
    arguments = problem()
    _, total = by_hand(arguments, rate)
    frozen = bptt.gradient(*arguments).grads
    found = rtrl.staleness(*arguments, learning_rate=rate)
    flat = [np.concatenate([v.ravel() for g in tree for v in g.values()]) for tree in (total, frozen)]
    assert_same([found.online, found.frozen], [total, frozen], rtol=1e-10)
    expected = np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1])
    assert expected > 0.1 * rate
    assert abs(found.deviation - expected) < 1e-9 * expected
    assert type(found.deviation) is float


def test_staleness_of_float32_is_a_number_of_python():
    """So that it can be printed and stored."""
    net, params, inputs, targets = problem()
    single = [{k: v.astype(np.float32) for k, v in p.items()} for p in params]
    found = rtrl.staleness(net, single, inputs.astype("f4"), targets.astype("f4"), learning_rate=0.1)
    assert type(found.deviation) is float


def test_staleness_of_no_gradient_is_refused():
    """With zero weights in the readout, no bias and targets of zero there is nothing to compare with."""
    net, params, inputs, targets = problem()
    params = [params[0], {k: 0 * v for k, v in params[1].items()}]
    with pytest.raises(ValueError, match="the gradient is zero: there is nothing to compare with"):
        rtrl.staleness(net, params, inputs, 0 * targets, learning_rate=0.1)
