"""Every rule in time and every face of every cell as a call: the list over which the backend tests of time run.

The numbers of synchronisations follow from what has to be known on the host: are all values in range (one), does the
mask count a step (one, where there is a mask), is the loss finite (one for each stretch that is looked at), and which
steps begin anew (one for each stretch, where there are resets and the influence goes step by step). Where states are
inferred: which steps are observed at all (one more for a mask), and whether inference settled (one).
"""

from collections.abc import Callable
from numbers import Number
from typing import NamedTuple

import numpy as np

import minipc as pc
from minipc import approximations, bptt, rtrl, tpc

T, B = 5, 2
SETTINGS = {
    "gated": (
        [
            pc.Dense(3, 4, "tanh"),
            pc.RNN(4, 5, "tanh", "pre", alpha=0.4, learn_h0=True),
            pc.GRU(5, 3),
            pc.LSTM(3, 2),
            pc.Dense(2, 3),
        ],
        "mse",
    ),
    "RNN": ([pc.RNN(3, 5), pc.Dense(5, 3)], "cross_entropy"),
    "RNN, leak": ([pc.RNN(3, 5, "sigmoid", alpha=0.4), pc.RNN(5, 4, "softplus"), pc.Dense(4, 3)], "mse"),
    "LSTM": ([pc.LSTM(3, 4, learn_h0=True), pc.Dense(4, 3)], "binary_cross_entropy"),
    "diagonal": ([pc.ELSTM(3, 5, learn_h0=True), pc.RTU(5, 2, "tanh"), pc.Dense(4, 3)], "mse"),
    "RTU": ([pc.RTU(3, 4, learn_h0=True), pc.Dense(8, 3)], "mse"),
    "LRU": ([pc.Dense(3, 4, "tanh"), pc.LRU(4, 5, 6, learn_h0=True), pc.Dense(6, 3)], "mse"),
    "LRU, stack": ([pc.LRU(3, 4, gamma="tied"), pc.LayerNorm(4), pc.LRU(4, 2, 3)], "mse"),
    "GRU, LSTM": ([pc.Dense(3, 4, "tanh"), pc.GRU(4, 3), pc.LSTM(3, 2), pc.Dense(2, 3)], "mse"),
    "spikes": (
        [
            pc.LIF(3, 5, spike="smooth"),
            pc.ALIF(5, 4, rho=0.8, adaptation=0.5, spike="smooth"),
            pc.Dense(4, 3),
        ],
        "mse",
    ),
    "words": ([pc.Embedding(6, 3), pc.GRU(3, 4, learn_h0=True), pc.Dense(4, 3)], "cross_entropy"),
}
STEP_BY_STEP = ("diagonal", "LRU", "LRU, stack")  # parameters below a diagonal cell: hybrid has K = 1
DIAGONAL = ("diagonal", "RTU", "LRU", "LRU, stack")
GIVEN = ("RNN", "RNN, leak", "GRU, LSTM")  # gated cells that learn no initial state
RNNS = ("RNN", "RNN, leak")
TRACED = (*GIVEN, *DIAGONAL, "spikes")  # the same, and diagonal cells, which have traces of their own
REAL = tuple(name for name in SETTINGS if "LRU" not in name)
COMPLEX_STEP = tuple(name for name in REAL if name != "words")


class Problem(NamedTuple):
    """Parameters and data, without anything that is zero."""

    params: list
    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    h0: list
    reset: np.ndarray


class Call(NamedTuple):
    """A rule on a network and a problem; ``checks`` synchronisations where there is neither mask nor reset."""

    run: Callable  # (net, problem) -> nested arrays
    checks: int = 0
    resets: int = 0  # further synchronisations where there are resets
    settings: tuple = tuple(SETTINGS)
    masks: int = 0  # further synchronisations where there is a mask
    blocks: bool = False  # in blocks of steps, where a cell can


def setting(name, dtype=float, tables=True):
    """Network and problem; with ``tables`` there are a mask and resets."""
    blocks, loss = SETTINGS[name]
    net, rng = pc.RecurrentNetwork(blocks, loss, () if name == "words" else None), np.random.default_rng(7)
    draw = lambda *shape: 0.5 * rng.standard_normal(shape).astype(dtype)  # noqa: E731
    params = [{k: (v + draw(*v.shape)).astype(dtype) for k, v in p.items()} for p in net.init(3)]
    targets = draw(T, B, 3)
    if loss != "mse":
        targets = np.exp(targets) / np.exp(targets).sum(axis=-1, keepdims=True)
    h0 = []
    for l in net.cells:
        cell = net.blocks[l]
        h = draw(B, cell.state_size) + (1j * draw(B, cell.state_size) if cell.complex_state else 0)
        h0.append(None if cell.learn_h0 else h)
    mask, reset = np.ones((T, B), bool), np.zeros((T, B), bool)
    mask[1, 0] = mask[3] = False
    reset[2, 1] = reset[4, 0] = True
    inputs = rng.integers(0, 6, (T, B)) if name == "words" else draw(T, B, 3)
    return net, Problem(params, inputs, targets, mask if tables else None, h0, reset if tables else None)


def influence_arrays(carry):
    """States and influence of a carry; what has been put off is found first."""
    carry.influence.settle()
    return [carry.h, carry.start, carry.influence.own, carry.influence.below]


def _shown(g):
    """A gradient, with its carry as arrays."""
    return [g.grads, g.loss, g.final, g.initial, None if g.carry is None else influence_arrays(g.carry)]


def _rule(function, **options):
    return lambda net, p: _shown(function(net, *p, **options))


def part(p, cut, h0=True):
    """The steps of a slice."""
    table = lambda a: None if a is None else a[cut]  # noqa: E731
    data = {
        "inputs": p.inputs[cut],
        "targets": p.targets[cut],
        "mask": table(p.mask),
        "reset": table(p.reset),
    }
    return p._replace(**data) if h0 else p._replace(**data, h0=None)


def _two_stretches(influence):
    """The second of two, which begins with the carry of the first."""

    def run(net, p):
        first = rtrl.gradient(net, *part(p, slice(3)), influence=influence)
        return _shown(
            rtrl.gradient(net, *part(p, slice(3, T), h0=False), influence=influence, carry=first.carry)
        )

    return run


def _online(net, p):
    new = rtrl.online(net, *p, optimizer=pc.SGD(0.01, momentum=0.5))
    return [new.params, list(new.state), new.loss, influence_arrays(new.carry)]


def _staleness(net, p):
    """The deviation itself is a number on the host."""
    return list(rtrl.staleness(net, *p, learning_rate=1e-3)[1:])


APPROXIMATE = {
    "snap-1": (*GIVEN, "diagonal", "LRU, stack"),
    "rflo": GIVEN,
    "uoro": GIVEN,
    "reverse-kf": GIVEN,
    "kf": RNNS,
    "kernl": RNNS,
    "sketch-9": RNNS,
    "sketch-2": RNNS,
}


def _learned_kernel(net, p):
    """A and alpha of every cell."""
    kernel = approximations.learn_kernel(net, p.params, p.inputs, p.h0, p.reset)
    return [kernel.A, kernel.alpha]


INFERENCE = {"inference_steps": 3, "step_size": 0.02, "beta": 0.5}


def _inferred(**options):
    """tPC with these options; what it says of itself is no array."""

    def run(net, p):
        g = tpc.gradient(net, *p, **{**INFERENCE, **options})
        return [g.grads, g.loss, g.energy, g.states, g.residual, g.final]

    return run


def _filter(**options):
    return lambda net, p: list(tpc.infer(net, *p, **{**INFERENCE, **options}))


CURVED = ("gated", "RNN", "RNN, leak", "LSTM", "words")  # Dense blocks above a gated cell: second derivatives
CALLS = {
    "recurrent.forward": Call(lambda net, p: net.forward(p.params, p.inputs, p.h0, p.reset), 1),
    "bptt.gradient": Call(_rule(bptt.gradient), 2, masks=1),
    "bptt.truncated": Call(_rule(bptt.truncated, steps=3), 2, masks=1),
    "bptt.checkpointed": Call(_rule(bptt.checkpointed, segment=2), 2, masks=1),
    "rtrl.gradient, exact": Call(_rule(rtrl.gradient, influence="exact"), 2, 1),
    "rtrl.gradient, local": Call(_rule(rtrl.gradient, influence="local"), 2, 1),
    "rtrl.gradient, diagonal": Call(_rule(rtrl.gradient, influence="diagonal"), 2, 1, DIAGONAL),
    **{
        f"rtrl.gradient, {name}": Call(_rule(rtrl.gradient, influence=name), 2, 1, where)
        for name, where in APPROXIMATE.items()
    },
    "rtrl.gradient, hybrid": Call(_rule(rtrl.gradient), 2, blocks=True),
    "rtrl.gradient, exact, carry": Call(_two_stretches("exact"), 4, 2),
    "rtrl.gradient, hybrid, carry": Call(_two_stretches("hybrid"), 4, blocks=True),
    "rtrl.gradient, snap-2": Call(
        _rule(rtrl.gradient, influence="snap-2"), 3, 1, ("RNN",)
    ),  # which weights are zero?
    "approximations.learn_kernel": Call(_learned_kernel, 1, 0, RNNS),
    "rtrl.gradient, eprop": Call(_rule(rtrl.gradient, influence="eprop"), 2, 1, TRACED),
    "rtrl.gradient, eprop, carry": Call(_two_stretches("eprop"), 4, 2, TRACED),
    "rtrl.gradient, dni": Call(_rule(rtrl.gradient, influence=pc.DNI(learning_rate=0.3, refresh=2)), 2, 1),
    "rtrl.gradient, dni, carry": Call(_two_stretches(pc.DNI(learning_rate=0.3, refresh=2)), 4, 2),
    "rtrl.online": Call(_online, 1 + T, T, masks=1),
    "rtrl.staleness": Call(_staleness),
    "tpc.gradient, none": Call(_inferred(), 3, masks=2),
    "tpc.gradient, plain": Call(_inferred(influence="plain"), 3, masks=2, blocks=True),
    "tpc.gradient, plain, prediction": Call(
        _inferred(influence="plain", carry="prediction"), 3, masks=2, blocks=True
    ),
    "tpc.gradient, exact": Call(_inferred(influence="exact"), 3, 1, masks=2),
    "tpc.gradient, local": Call(_inferred(influence="local"), 3, 1, masks=2),
    "tpc.gradient, implicit": Call(_inferred(influence="implicit"), 2 + T, T, CURVED, masks=2),
    "tpc.gradient, diag": Call(_inferred(influence="diag"), 2 + T, T, masks=2),
    "tpc.gradient, epc": Call(_inferred(influence="plain", inference="epc"), 3, masks=2, blocks=True),
    "tpc.gradient, newton": Call(_inferred(inference="newton"), 3, 0, CURVED, masks=2),
    "tpc.gradient, fixed": Call(_inferred(influence="plain", inference="fixed"), 3, masks=2, blocks=True),
    "tpc.gradient, previous": Call(_inferred(influence="plain", start="previous"), 3, masks=2, blocks=True),
    "tpc.certificate": Call(
        lambda net, p: list(tpc.certificate(net, *p, **INFERENCE)), 1 + T, 0, CURVED, masks=2
    ),
    "tpc.infer": Call(_filter(), 3, masks=1),
    "tpc.infer, prediction": Call(_filter(carry="prediction"), 3, masks=1),
    "tpc.infer, propagate": Call(_filter(propagate=True, inference="newton"), 3, 0, CURVED, masks=1),
}
CASES = [(name, where) for name, call in CALLS.items() for where in call.settings]

CELLS = {
    "RNN": pc.RNN(3, 4),
    "RNN, pre": pc.RNN(3, 4, "gelu", "pre", learn_h0=True),
    "RNN, leak": pc.RNN(3, 4, "softplus", alpha=0.3),
    "GRU": pc.GRU(3, 4),
    "LSTM": pc.LSTM(3, 4),
    "ELSTM": pc.ELSTM(3, 4, learn_h0=True),
    "RTU": pc.RTU(3, 4),
    "RTU, tanh": pc.RTU(3, 4, "tanh"),
    "LRU": pc.LRU(3, 4, 5),
    "LRU, tied": pc.LRU(3, 4, gamma="tied", learn_h0=True),
    "LIF": pc.LIF(3, 4, spike="smooth"),
    "ALIF": pc.ALIF(3, 4, adaptation=0.5, spike="smooth", learn_h0=True),
}


class Step(NamedTuple):
    """What a step of a cell takes, and a vector to pull back."""

    p: dict
    h: np.ndarray
    u: np.ndarray
    v: np.ndarray


def step_problem(name, dtype=float):
    """A state that no step has led to."""
    cell, rng = CELLS[name], np.random.default_rng(9)
    draw = lambda *shape: 0.5 * rng.standard_normal(shape).astype(dtype)  # noqa: E731
    number = lambda: draw(B, cell.state_size) + (1j * draw(B, cell.state_size) if cell.complex_state else 0)  # noqa: E731
    p = {k: (v + draw(*v.shape)).astype(dtype) for k, v in cell.init_params(rng, float).items()}
    return cell, Step(p, number(), draw(B, cell.n_in), number())


def faces(cell, q):
    """step, vjp and both Jacobians; the immediate one where the state is real."""
    h, tape = cell.step(q.p, q.h, q.u)
    found = [
        h,
        cell.output(q.p, h[None], q.u[None]),
        *cell.vjp(q.p, tape, q.v),
        cell.state_jacobian(q.p, tape),
    ]
    return found if cell.complex_state else [*found, cell.immediate_jacobian(q.p, tape)]


def leaves(tree):
    """The arrays of nested things; None and Python's numbers are skipped."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [a for branch in tree for a in leaves(branch)]
    return [] if tree is None or (isinstance(tree, Number) and not hasattr(tree, "dtype")) else [tree]
