"""Sequences, masks, resets, states and options that are wrong are refused by name, before any work."""

import numpy as np
import pytest

import minipc as pc
from minipc import backprop, bptt, epc, rtrl, spc

T, B, M, O = 6, 2, 3, 4
RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((T, B, M)), RNG.standard_normal((T, B, O))
LABELS = RNG.integers(0, O, (T, B))
ROWS = np.full((T, B, O), 0.25)
STACK = pc.RecurrentNetwork([pc.Dense(M, 4, "tanh"), pc.RNN(4, 5), pc.LSTM(5, 2), pc.Dense(2, O)])
CLASSES = pc.RecurrentNetwork(STACK.blocks, "cross_entropy")
SWITCHES = pc.RecurrentNetwork(STACK.blocks, "binary_cross_entropy")
ONE = pc.RecurrentNetwork([pc.RNN(M, 5), pc.Dense(5, O)])
LONG = pc.RecurrentNetwork([pc.LSTM(M, 5), pc.Dense(5, O)])
LEARNED = pc.RecurrentNetwork([pc.RNN(M, 5, learn_h0=True), pc.Dense(5, O)])
DIAGONAL = pc.RecurrentNetwork([pc.LRU(M, 5), pc.Dense(5, O)])
MIXED = pc.RecurrentNetwork([pc.Dense(M, 4), pc.RNN(4, 5), pc.LRU(5, 3), pc.Dense(3, O)])
WORDS = pc.RecurrentNetwork([pc.Embedding(7, M), pc.GRU(M, 5), pc.Dense(5, O)], input_shape=())
IMAGES = pc.RecurrentNetwork([pc.Flatten(), pc.RNN(M, O)], input_shape=(1, 1, M))
PLAIN = pc.Network([pc.Dense(M, O)])
TOKENS = RNG.integers(0, 7, (T, B))
MASK = np.ones((T, B), bool)
H = RNG.standard_normal((B, 5))
SGD = pc.SGD(0.1)


def bp(net=STACK, inputs=INPUTS, targets=TARGETS, params=None, **options):
    """bptt.gradient."""
    return bptt.gradient(net, net.init(0) if params is None else params, inputs, targets, **options)


def rt(net=ONE, inputs=INPUTS, targets=TARGETS, params=None, **options):
    """rtrl.gradient."""
    return rtrl.gradient(net, net.init(0) if params is None else params, inputs, targets, **options)


def online(net=ONE, inputs=INPUTS, targets=TARGETS, params=None, optimizer=SGD, **options):
    """rtrl.online."""
    params = net.init(0) if params is None else params
    return rtrl.online(net, params, inputs, targets, optimizer=optimizer, **options)


def stale(**options):
    """rtrl.staleness."""
    options = {"learning_rate": 0.1, **options}
    return rtrl.staleness(ONE, ONE.init(0), INPUTS, TARGETS, **options)


def moved(params, l, name, change):
    """Parameters with one array of block ``l`` = 1, 2, ... changed."""
    return [{**p, name: change(p[name])} if i == l else p for i, p in enumerate(params, start=1)]


def at(array, place, value):
    """A copy with one entry replaced."""
    array = array.copy()
    array[place] = value
    return array


def carry(net=ONE, influence="exact", lanes=B, dtype=float, **options):
    """The carry of an earlier stretch."""
    data = (a[:, :lanes].astype(dtype) for a in (INPUTS, TARGETS))
    return rtrl.gradient(net, net.init(0, dtype), *data, influence=influence, **options).carry


INPUT = {
    "batch first": (
        lambda: bp(inputs=INPUTS.swapaxes(0, 1)),
        ValueError,
        r"targets must have shape \(2, 6, 4\) for inputs of shape \(2, 6, 3\); got \(6, 2, 4\) \(time comes first",
    ),
    "one sequence without its batch": (
        lambda: bp(inputs=INPUTS[:, 0]),
        ValueError,
        r"inputs must have shape \(T, B, 3\), time first; got \(6, 3\)",
    ),
    "a step without its time": (lambda: bp(inputs=INPUTS[0]), ValueError, r"\(T, B, 3\), .*got \(2, 3\)"),
    "wrong width": (
        lambda: bp(inputs=INPUTS[..., :2]),
        ValueError,
        r"inputs must .*\(T, B, 3\).*got \(6, 2, 2\)",
    ),
    "images flat": (
        lambda: bp(IMAGES, INPUTS),
        ValueError,
        r"inputs must have shape \(T, B, 1, 1, 3\), time first; got \(6, 2, 3\)",
    ),
    "no step": (
        lambda: bp(inputs=INPUTS[:0], targets=TARGETS[:0]),
        ValueError,
        r"inputs must have at least one step and one sequence, got shape \(0, 2, 3\)",
    ),
    "no sequence": (lambda: bp(inputs=INPUTS[:, :0], targets=TARGETS[:, :0]), ValueError, r"\(6, 0, 3\)"),
    "a list": (
        lambda: bp(inputs=INPUTS.tolist()),
        TypeError,
        "inputs must be a NumPy or CuPy array, got list",
    ),
    "integers": (
        lambda: bp(inputs=INPUTS.astype(int)),
        TypeError,
        "inputs must hold float32 or float64 numbers, got int64",
    ),
    "float16": (lambda: bp(inputs=INPUTS.astype("float16")), TypeError, "inputs must hold .*got float16"),
    "NaN": (
        lambda: bp(inputs=at(INPUTS, (4, 1, 0), np.nan)),
        ValueError,
        "inputs must be finite; got nan in step 4, sequence 1",
    ),
    "infinite": (
        lambda: bp(inputs=at(INPUTS, (0, 0, 0), np.inf)),
        ValueError,
        "inputs must be finite; got inf",
    ),
    "an index too large": (
        lambda: bp(WORDS, at(TOKENS, (3, 0), 7)),
        ValueError,
        r"inputs must hold indices 0..6; got 7 in step 3, sequence 0",
    ),
    "an index below zero": (
        lambda: bp(WORDS, TOKENS - 7),
        ValueError,
        "inputs must hold indices 0..6; got -",
    ),
    "indices as floats": (
        lambda: bp(WORDS, TOKENS.astype(float)),
        TypeError,
        "inputs must hold integers, indices of an Embedding, got float64",
    ),
    "indices one-hot": (
        lambda: bp(WORDS, np.eye(7, dtype=int)[TOKENS]),
        ValueError,
        r"inputs must have shape \(T, B\), time first; got \(6, 2, 7\)",
    ),
    "complex into an LRU": (
        lambda: bp(DIAGONAL, INPUTS + 0j),
        TypeError,
        "inputs of a network with an LRU must be real.* got complex128",
    ),
    "in forward": (
        lambda: STACK.forward(STACK.init(0), INPUTS[0]),
        ValueError,
        r"inputs must have shape \(T, B, 3\), time first",
    ),
}
TARGET = {
    "another length": (
        lambda: bp(targets=TARGETS[:5]),
        ValueError,
        r"targets must have shape \(6, 2, 4\) for inputs of shape \(6, 2, 3\); got \(5, 2, 4\)",
    ),
    "one a sequence": (
        lambda: bp(targets=TARGETS[-1]),
        ValueError,
        r"targets must have shape \(6, 2, 4\).*got \(2, 4\)",
    ),
    "wrong width": (
        lambda: bp(targets=TARGETS[..., :3]),
        ValueError,
        r"targets must have shape \(6, 2, 4\).*got \(6, 2, 3\)",
    ),
    "None": (lambda: bp(targets=None), TypeError, "targets must be a NumPy or CuPy array, got NoneType"),
    "NaN": (
        lambda: bp(targets=at(TARGETS, (5, 1, 3), np.nan)),
        ValueError,
        "targets must be finite; got nan in step 5, sequence 1",
    ),
    "labels for mse": (
        lambda: bp(targets=LABELS),
        ValueError,
        r"targets must have shape \(6, 2, 4\).*got \(6, 2\)",
    ),
    "label out of range": (
        lambda: bp(CLASSES, targets=at(LABELS, (2, 1), O)),
        ValueError,
        "targets must hold labels 0..3; got 4 in step 2, sequence 1",
    ),
    "labels as floats": (
        lambda: bp(CLASSES, targets=LABELS.astype(float)),
        TypeError,
        "targets as labels must be integers, got float64",
    ),
    "labels with an axis too much": (
        lambda: bp(CLASSES, targets=LABELS[..., None]),
        ValueError,
        r"targets must have shape \(6, 2, 4\) or labels \(6, 2\).*got \(6, 2, 1\)",
    ),
    "rows that do not sum to one": (
        lambda: bp(CLASSES, targets=at(ROWS, (1, 1, 2), 0.5)),
        ValueError,
        "targets must be rows that sum to one, or integer labels; got 1.25 in step 1, sequence 1",
    ),
    "logits": (
        lambda: bp(CLASSES, targets=ROWS + [[[2, -2, 0, 0]]]),
        ValueError,
        "targets must not be negative: logits go into the network, not into targets",
    ),
    "complex beside an LRU": (
        lambda: bp(DIAGONAL, targets=TARGETS + 0j),
        TypeError,
        "targets of a network with an LRU must be real.* got complex128",
    ),
    "switches": (
        lambda: bp(SWITCHES, targets=2 * ROWS + 1),
        ValueError,
        "targets must lie between 0 and 1; got 1.5",
    ),
}
TABLE = {
    "mask of integers": (
        lambda: bp(mask=MASK.astype(int)),
        ValueError,
        r"mask must be boolean of shape \(6, 2\), got int64 of shape \(6, 2\)",
    ),
    "mask of floats": (lambda: bp(mask=MASK * 1.0), ValueError, "mask must be boolean .*got float64"),
    "mask batch first": (
        lambda: bp(mask=MASK.T),
        ValueError,
        r"mask must .*\(6, 2\), got bool of shape \(2, 6\)",
    ),
    "mask with an axis": (
        lambda: bp(mask=MASK[..., None]),
        ValueError,
        r"mask must .*bool of shape \(6, 2, 1\)",
    ),
    "mask by sequence": (
        lambda: bp(mask=MASK[0]),
        ValueError,
        r"mask must be boolean of shape \(6, 2\), or integer lengths \(2,\); got bool of shape \(2,\)",
    ),
    "mask by step": (lambda: bp(mask=MASK[:, 0]), ValueError, r"mask must .*got bool of shape \(6,\)"),
    "mask False": (lambda: bp(mask=~MASK), ValueError, "mask must be True somewhere"),
    "mask a list": (
        lambda: bp(mask=MASK.tolist()),
        TypeError,
        "mask must be a NumPy or CuPy array, got list",
    ),
    "mask a number": (lambda: bp(mask=3), TypeError, "mask must be a NumPy or CuPy array, got int"),
    "length 0": (
        lambda: bp(mask=np.array([0, 3])),
        ValueError,
        r"mask as lengths must lie in 1..6, got 0..3",
    ),
    "length T + 1": (lambda: bp(mask=np.array([7, 3])), ValueError, r"mask as lengths .* 1..6, got 3..7"),
    "lengths of another batch": (
        lambda: bp(mask=np.array([3, 3, 3])),
        ValueError,
        r"integer lengths \(2,\); got int64 of shape \(3,\)",
    ),
    "lengths as floats": (
        lambda: bp(mask=np.array([3.0, 6.0])),
        TypeError,
        "mask as lengths must hold integers, got float64",
    ),
    "reset of integers": (
        lambda: rt(reset=MASK.astype(int)),
        ValueError,
        r"reset must be boolean of shape \(6, 2\), got int64",
    ),
    "reset a row too long": (
        lambda: rt(reset=np.ones((T + 1, B), bool)),
        ValueError,
        r"bool of shape \(7, 2\)",
    ),
    "reset by step": (
        lambda: rt(reset=MASK[:, 0]),
        ValueError,
        r"reset must be boolean .*bool of shape \(6,\)",
    ),
    "reset batch first": (lambda: online(reset=MASK.T), ValueError, r"reset .* of shape \(2, 6\)"),
    "reset steps": (lambda: rt(reset=[0, 3]), TypeError, "reset must be a NumPy or CuPy array, got list"),
}
STATE = {
    "of one unit too many": (
        lambda: bp(ONE, h0=np.zeros((B, 6))),
        ValueError,
        r"h0 of block 1, tanh\(W h \+ U u \+ b\), must have shape \(2, 5\), got \(2, 6\)",
    ),
    "without the batch": (lambda: bp(ONE, h0=H[0]), ValueError, r"h0 of block 1, .* \(2, 5\), got \(5,\)"),
    "of another batch": (lambda: bp(ONE, h0=np.zeros((3, 5))), ValueError, r"h0 .* \(2, 5\), got \(3, 5\)"),
    "of a GRU into an LSTM": (
        lambda: bp(LONG, h0=H),
        ValueError,
        r"h0 of block 1, LSTM, must have shape \(2, 10\), got \(2, 5\) \(the state of another cell\?\)",
    ),
    "a pair for an LSTM": (
        lambda: bp(LONG, h0=(H, H)),
        ValueError,
        r"h0 must have 1 states?, one a cell; got 2",
    ),
    "an array for two cells": (
        lambda: bp(STACK, h0=H),
        ValueError,
        "h0 must have 2 states, one a cell; got 1",
    ),
    "one a block": (
        lambda: bp(STACK, h0=[None, H, None, None]),
        ValueError,
        "h0 must have 2 states, one a cell; got 4",
    ),
    "in another order": (
        lambda: bp(STACK, h0=[np.zeros((B, 4)), H]),
        ValueError,
        r"h0 of block 2, .* \(2, 5\), got \(2, 4\) \(the state of another cell\?\)",
    ),
    "a number": (lambda: bp(ONE, h0=0.0), TypeError, "h0 must be an array .*or a list of arrays.*got float"),
    "text in a list": (lambda: bp(ONE, h0=["zero"]), TypeError, "h0 of block 1 must be a NumPy .*got str"),
    "integers": (lambda: bp(ONE, h0=np.zeros((B, 5), int)), TypeError, "h0 of block 1 must hold .*got int64"),
    "float16": (lambda: bp(ONE, h0=H.astype("float16")), TypeError, "h0 of block 1 must hold .*got float16"),
    "NaN": (
        lambda: bp(ONE, h0=at(H, (1, 2), np.nan)),
        ValueError,
        "h0 of block 1 must be finite; got nan in sequence 1",
    ),
    "learned and given": (
        lambda: bp(LEARNED, h0=H),
        ValueError,
        "h0 of block 1 is learned, so it cannot be given as well",
    ),
    "complex beside an LRU": (
        lambda: bp(MIXED, h0=[H + 1j, None]),
        TypeError,
        "h0 of block 2 of a network with an LRU must be real.* got complex128",
    ),
    "the pair of an LRU as reals": (
        lambda: bp(DIAGONAL, h0=np.concatenate([H, H], axis=1)),
        ValueError,
        r"h0 of block 1, .* \(2, 5\), got \(2, 10\)",
    ),
}
PARAMS = {
    "of another network": (lambda: bp(params=ONE.init(0)), ValueError, "params must have 4 dicts"),
    "an RNN's into a GRU": (
        lambda: bp(WORDS, TOKENS, params=moved(WORDS.init(0), 2, "W", lambda W: W[:5])),
        ValueError,
        r"W\[2\] must have shape \(15, 5\), got \(5, 5\)",
    ),
    "h0 of a learned state missing": (
        lambda: bp(LEARNED, params=ONE.init(0)),
        ValueError,
        r"params\[0\] must have the entries W, U, b, h0; got W, U, b",
    ),
    "h0 where none is learned": (
        lambda: bp(ONE, params=LEARNED.init(0)),
        ValueError,
        r"params\[0\] must have the entries W, U, b; got W, U, b, h0",
    ),
    "mixed precision": (
        lambda: bp(params=moved(STACK.init(0), 3, "U", lambda U: U.astype("float32"))),
        TypeError,
        r"U\[3\] must have the precision of W\[1\], float64; got float32",
    ),
    "float16": (
        lambda: bp(ONE, params=[{k: v.astype("float16") for k, v in p.items()} for p in ONE.init(0)]),
        TypeError,
        r"W\[1\] must hold float32 or float64 numbers, got float16",
    ),
    "complex in an LRU": (
        lambda: bp(DIAGONAL, params=moved(DIAGONAL.init(0), 1, "nu", lambda nu: nu + 0j)),
        TypeError,
        r"the parameters of a network with an LRU must be real.*got complex128 in nu\[1\]",
    ),
    "complex below an LRU": (
        lambda: rt(MIXED, params=moved(MIXED.init(0), 1, "W", lambda W: W + 0j)),
        TypeError,
        r"the parameters of a network with an LRU must be real.*got complex128 in W\[1\]",
    ),
}
OPTION = {
    "truncated 0": (
        lambda: bptt.truncated(ONE, ONE.init(0), INPUTS, TARGETS, steps=0),
        ValueError,
        "steps must be at least 1, got 0",
    ),
    "truncated a float": (
        lambda: bptt.truncated(ONE, ONE.init(0), INPUTS, TARGETS, steps=2.0),
        TypeError,
        "steps must be an integer, got 2.0",
    ),
    "truncated None": (
        lambda: bptt.truncated(ONE, ONE.init(0), INPUTS, TARGETS, steps=None),
        TypeError,
        "steps must be an integer, got None",
    ),
    "truncated without": (
        lambda: bptt.truncated(ONE, ONE.init(0), INPUTS, TARGETS),
        TypeError,
        "missing .*'steps'",
    ),
    "segment 0": (
        lambda: bptt.checkpointed(ONE, ONE.init(0), INPUTS, TARGETS, segment=0),
        ValueError,
        "segment must be at least 1, got 0",
    ),
    "segment text": (
        lambda: bptt.checkpointed(ONE, ONE.init(0), INPUTS, TARGETS, segment="3"),
        TypeError,
        "segment must be an integer, got '3'",
    ),
    "influence unknown": (
        lambda: rt(influence="snap"),
        ValueError,
        "influence must be one of hybrid, exact, diagonal, local, .*snap-1.*; got 'snap'",
    ),
    "influence None": (lambda: rt(influence=None), ValueError, "influence must be one of .*; got None"),
    "block with exact": (
        lambda: rt(influence="exact", block=4),
        ValueError,
        "block is an option of the influence hybrid, not of exact",
    ),
    "block 0": (lambda: rt(block=0), ValueError, "block must be at least 1, got 0"),
    "block a float": (lambda: rt(block=4.0), TypeError, "block must be an integer, got 4.0"),
    "diagonal with an RNN": (
        lambda: rt(influence="diagonal"),
        ValueError,
        r"influence diagonal: block 1, tanh\(W h \+ U u \+ b\), has a dense state Jacobian; take hybrid or exact",
    ),
    "diagonal with an RNN under an LRU": (
        lambda: rt(MIXED, influence="diagonal"),
        ValueError,
        "influence diagonal: block 2, .*dense",
    ),
    "online hybrid": (lambda: online(influence="hybrid"), ValueError, "influence hybrid gives .* take exact"),
    "online unknown": (lambda: online(influence="past"), ValueError, "influence must be one of .*got 'past'"),
    "online without an optimizer": (
        lambda: rtrl.online(ONE, ONE.init(0), INPUTS, TARGETS),
        TypeError,
        "missing .*'optimizer'",
    ),
    "optimizer None": (
        lambda: online(optimizer=None),
        TypeError,
        r"optimizer must be one such as .*got None",
    ),
    "optimizer a class": (lambda: online(optimizer=pc.SGD), TypeError, "optimizer must be one such as .*SGD"),
    "staleness hybrid": (
        lambda: stale(influence="hybrid"),
        ValueError,
        "influence hybrid gives .* take exact",
    ),
    "staleness rate 0": (
        lambda: stale(learning_rate=0),
        ValueError,
        "learning_rate must be positive .*got 0",
    ),
    "staleness rate text": (lambda: stale(learning_rate="0.1"), TypeError, "learning_rate .* got '0.1'"),
    "Network to BPTT": (
        lambda: bptt.gradient(PLAIN, PLAIN.init(0), INPUTS, TARGETS),
        TypeError,
        "net must be a RecurrentNetwork, got Network",
    ),
    "Network to truncated": (
        lambda: bptt.truncated(PLAIN, PLAIN.init(0), INPUTS, TARGETS, steps=1),
        TypeError,
        "net must be a RecurrentNetwork, got Network",
    ),
    "Network to RTRL": (lambda: rt(PLAIN), TypeError, "net must be a RecurrentNetwork, got Network"),
    "Network to online": (lambda: online(PLAIN), TypeError, "net must be a RecurrentNetwork, got Network"),
    "a list to RTRL": (
        lambda: rtrl.gradient([pc.RNN(3, 4)], [], INPUTS, TARGETS),
        TypeError,
        "net must be a RecurrentNetwork, got list",
    ),
}
CARRY = {
    "a state": (
        lambda: rt(carry=H),
        TypeError,
        "carry must be the carry of an earlier gradient, got ndarray",
    ),
    "a gradient": (lambda: rt(carry=rt()), TypeError, "carry must be the carry of .*, got Gradient"),
    "of another batch": (
        lambda: rt(influence="exact", carry=carry(lanes=1)),
        ValueError,
        r"carry must have states of shape and precision .*\(2, 5\).*, got .*\(1, 5\)",
    ),
    "of another influence": (
        lambda: rt(influence="hybrid", carry=carry()),
        ValueError,
        "carry must be that of the influence hybrid, got that of exact",
    ),
    "of hybrid, online": (
        lambda: online(carry=carry(influence="hybrid")),
        ValueError,
        "carry must be that of the influence exact, got that of hybrid",
    ),
    "of another cell": (
        lambda: rt(carry=carry(LONG, "hybrid")),
        ValueError,
        "carry must be that of this network, .*; got that of ",
    ),
    "of a learned state": (
        lambda: rt(influence="exact", carry=carry(LEARNED)),
        ValueError,
        "carry must be that of this network, .*; got that of ",
    ),
    "of a network of the same shapes": (
        lambda: rt(
            influence="exact", carry=carry(pc.RecurrentNetwork([pc.RNN(M, 5, "sigmoid"), pc.Dense(5, O)]))
        ),
        ValueError,
        "carry must be that of this network, .*; got that of ",
    ),
    "of the layer-local rule": (
        lambda: rt(influence="exact", carry=carry(influence="local")),
        ValueError,
        "carry must be that of the influence exact, got that of local",
    ),
    "of another precision": (
        lambda: rt(influence="exact", carry=carry(dtype=np.float32)),
        ValueError,
        "carry must have states of .*float64.*, got .*float32",
    ),
    "of another block": (
        lambda: rt(block=2, carry=carry(influence="hybrid", block=3)),
        ValueError,
        "block must be that of carry, 3, got 2",
    ),
    "and h0": (
        lambda: rt(influence="exact", carry=carry(), h0=H),
        ValueError,
        "h0 and carry both say where to begin: give one of them",
    ),
}
CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("inputs", INPUT),
        ("targets", TARGET),
        ("tables", TABLE),
        ("h0", STATE),
        ("params", PARAMS),
        ("options", OPTION),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", CASES)
def test_refused_before_any_work(name, no_work):
    """The message names the symbol, what was expected and what was given."""
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", CARRY)
def test_a_carry_that_does_not_fit(name):
    """Of another network, batch, influence, precision: there would be an answer, and it would be wrong."""
    call, error, message = CARRY[name]
    with pytest.raises(error, match=message):
        call()


VERBS = {
    "truncated": lambda net, *a, **o: bptt.truncated(net, *a, steps=2, **o),
    "checkpointed": bptt.checkpointed,
    "exact": lambda net, *a, **o: rtrl.gradient(net, *a, influence="exact", **o),
    "hybrid": rtrl.gradient,
    "online": lambda net, *a, **o: rtrl.online(net, *a, optimizer=SGD, **o),
    "staleness": lambda net, *a, **o: rtrl.staleness(net, *a, learning_rate=0.1, **o),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_checks_its_arguments(verb, no_work):
    """Not BPTT alone."""
    run, params = VERBS[verb], ONE.init(0)
    for arguments, options, message in (
        ((params[:1], INPUTS, TARGETS), {}, "params must have 2 dicts"),
        ((params, INPUTS[0], TARGETS), {}, "inputs must have shape"),
        ((params, INPUTS, TARGETS[0]), {}, "targets must have shape"),
        ((params, INPUTS, TARGETS), {"mask": MASK[0]}, "mask must be boolean"),
        ((params, INPUTS, TARGETS), {"h0": H[0]}, "h0 of block 1"),
        ((params, INPUTS, TARGETS), {"reset": MASK[0]}, "reset must be boolean"),
    ):
        with pytest.raises(ValueError, match=message):
            run(ONE, *arguments, **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda net, p, x, y: backprop.gradient(net, p, x, y),
        lambda net, p, x, y: spc.gradient(net, p, x, y, inference_steps=2, step_size=0.1),
        lambda net, p, x, y: epc.gradient(net, p, x, y, inference_steps=2),
        lambda net, p, x, y: spc.feedforward(net, p, x),
        lambda net, p, x, y: pc.freeze_statistics(net, p, x),
        lambda net, p, x, y: spc.energy(net, p, [x, H], y),
    ],
    ids=["backprop", "spc", "epc", "feedforward", "freeze_statistics", "energy"],
)
def test_a_rule_without_time_refuses_a_recurrent_network(call, no_work):
    """And says which rules there are."""
    with pytest.raises(TypeError, match="net must be a Network, got a RecurrentNetwork: take bptt or rtrl"):
        call(ONE, ONE.init(0), INPUTS[0], TARGETS[0])


@pytest.mark.parametrize("verb", [pc.evaluate, lambda net, p, d: pc.accuracy(net, p, *d)])
def test_pairs_to_measure_a_recurrent_network_on(verb, no_work):
    """A pair of rows is no sequence."""
    with pytest.raises((TypeError, ValueError), match="Sequences"):
        verb(ONE, ONE.init(0), (INPUTS[0], TARGETS[0]))


NOT_FINITE = {
    "a parameter of the cell": (
        lambda: moved(STACK.init(0), 2, "W", lambda W: at(W, (0, 0), np.nan)),
        r"parameter W\[2\] of block 2 \(tanh\(W h \+ U u \+ b\)\) holds NaN",
    ),
    "an output that overflows": (
        lambda: moved(STACK.init(0), 4, "W", lambda W: 1e308 * np.ones_like(W)),
        "the loss is not finite: ",
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", NOT_FINITE)
@pytest.mark.parametrize("verb", VERBS)
def test_a_loss_that_is_not_finite(name, verb):
    """A FloatingPointError that says in which block it began; nothing is returned."""
    make, message = NOT_FINITE[name]
    with pytest.raises(FloatingPointError, match=message):
        VERBS[verb](STACK, make(), INPUTS, TARGETS)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("verb", VERBS)
def test_a_state_that_explodes_names_the_cell(verb):
    """The given state is near the end of float64, and block 1 multiplies it by ten; from zero all would be finite."""
    net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity"), pc.Dense(1, 1)])
    params = moved(net.init(0), 1, "W", lambda W: 0 * W + 10)
    params = moved(params, 2, "W", lambda W: 0 * W + 1e-300)  # the loss would be finite long after the state
    ones = np.ones((3, 1, 1))
    with pytest.raises(FloatingPointError, match="first appeared in the output of block 1"):
        VERBS[verb](net, params, ones, ones, h0=np.full((1, 1), 1e308))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_state_that_explodes_in_a_later_stretch_names_the_cell():
    """Of 400 steps by ten; RTRL looks at fewer steps at once than it takes from the zero state."""
    net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity"), pc.Dense(1, 1)])
    params = moved(net.init(0), 1, "W", lambda W: 0 * W + 10)
    params = moved(params, 2, "W", lambda W: 0 * W + 1e-300)
    ones = np.ones((400, 1, 1))
    for influence in ("exact", "hybrid"):
        with pytest.raises(FloatingPointError, match="first appeared in the output of block 1"):
            rtrl.gradient(net, params, ones, ones, influence=influence)


ALLOWED = {
    "a complex step in the state of real cells": lambda: bp(ONE, h0=H + 1e-200j),
    "a real state for an LRU": lambda: bp(DIAGONAL, h0=H),
    "a complex state for an LRU": lambda: bp(DIAGONAL, h0=H + 1j),
    "a complex state for the LRU of two cells": lambda: bp(MIXED, h0=[H, np.ones((B, 3)) + 1j]),
    "None for one of two cells": lambda: bp(STACK, h0=[None, np.ones((B, 4))]),
    "float32 into float64": lambda: bp(ONE, INPUTS.astype("float32"), h0=H.astype("float32")),
    "lengths of any integer type": lambda: bp(mask=np.array([6, 1], "uint8")),
    "a mask with a lane that never counts": lambda: bp(mask=MASK & [True, False]),
    "NumPy's integers as options": lambda: rt(block=np.int64(2)),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed(name):
    """Nothing of it is dropped on the way: the results are finite, and of the kind that they should be."""
    g = ALLOWED[name]()
    assert np.isfinite(g.loss).all()
    assert g.loss.dtype.kind == ("c" if "complex step" in name else "f")
