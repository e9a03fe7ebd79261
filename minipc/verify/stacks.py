"""Claims: cells one over the other, and the influence of the lower ones on the upper ones."""

import numpy as np

from .. import bptt, rtrl
from .setting import any_sequence, by_complex_step, claim, in_time, off, sequence, time_ad

GATED, DIAGONAL = ("rnn", "gru", "lstm"), ("elstm", "lru", "rtu")


def two(rng, kinds):
    """Two of the kinds, the same one twice by chance."""
    return [str(kind) for kind in rng.choice(kinds, 2)]


def _local(p):
    """Gradient by the layer-local rule (STACK.4)."""
    return rtrl.gradient(*in_time(p), influence="local").grads


@claim(
    "T19",
    "STACK.1-STACK.4",
    "two gated cells: all blocks of the influence are BPTT; the layer-local rule is what it says",
    "autograd",
    1e-12,
    trials=10,
)
def t19(rng):
    p = any_sequence(rng, two(rng, GATED))
    exact = time_ad.loss_gradient(*p.arguments)
    error = [off(rtrl.gradient(*in_time(p), influence="exact").grads, exact)]
    error.append(off(_local(p), time_ad.layer_local_gradient(*p.arguments)))
    q = sequence(rng, two(rng, GATED))
    return np.max(error), off(_local(q), time_ad.loss_gradient(*q.arguments))


def _one_trace(p):
    """Gradients of the lower LRU's nu and th from a single complex trace: Re is taken for complex-linear."""
    (lower, upper), h1 = p.params, time_ad.complexes(p.h0[0])
    zeta1, zeta2 = (np.exp(-np.exp(q["nu"]) + 1j * np.exp(q["th"])) for q in p.params)
    gam1, gam2 = (np.exp(q["lg"]) for q in p.params)
    (B1, B2), (C1, C2) = ([q[f"{x}_re"] + 1j * q[f"{x}_im"] for q in p.params] for x in "BC")
    outputs, _ = time_ad.run(p.blocks, p.params, p.inputs, p.h0)
    dy = np.where(p.mask[:, :, None], outputs - p.targets, 0)  # (RNN.6), squared error
    ez, X, found = 0 * h1, 0.0, 0.0
    for t, u in enumerate(p.inputs):
        ez, h1 = zeta1 * ez + h1, zeta1 * h1 + gam1 * (u @ B1.T)  # (LRU.6), (LRU.2)
        V = C1 * ez[:, None, :]  # (B, v, j): without Re
        X = zeta2[:, None] * X + gam2[:, None] * (B2 @ V)  # (STACK.6), one for nu and th
        found = found + np.einsum("bk,ki,bij->j", dy[t], C2, X)
        found = found + np.einsum("bk,kv,bvj->j", dy[t], upper["D"], V)
    slopes = {"nu": -np.exp(lower["nu"]) * zeta1, "th": 1j * np.exp(lower["th"]) * zeta1}
    return {name: (found * slope).real for name, slope in slopes.items()}


@claim(
    "T20",
    "STACK.5, STACK.6",
    "cross-traces of diagonal stacks: eLSTM over eLSTM, LRU over LRU, any over any",
    "complex step",
    1e-12,
    trials=5,
)
def t20(rng):
    errors, controls = [], []
    for kinds in (["elstm", "elstm"], ["lru", "lru"], two(rng, DIAGONAL)):
        p = any_sequence(rng, kinds, loss="mse", T=4)
        exact = by_complex_step(p)
        errors.append(off(rtrl.gradient(*in_time(p), influence="diagonal").grads, exact))
        q = sequence(rng, kinds)
        errors.append(off(_local(q), time_ad.layer_local_gradient(*q.arguments)))
        controls.append(off(_local(q), time_ad.loss_gradient(*q.arguments)))
    q = sequence(rng, ["lru", "lru"], gamma="free", loss="mse")
    right, wrong = time_ad.loss_gradient(*q.arguments)[0], _one_trace(q)
    controls.append(off([wrong], [{name: right[name] for name in wrong}]))
    return np.max(errors), np.min(controls)


@claim(
    "T44",
    "HYB.1-HYB.4, STACK.2",
    "stacks of any cells with blocks between: blocks of K steps, step by step and BPTT agree",
    "autograd",
    1e-12,
    trials=5,
)
def t44(rng):
    first, second = str(rng.choice(GATED + DIAGONAL)), str(rng.choice(GATED))
    below = [str(rng.choice(["dense", "embedding"]))] if first in GATED else []  # else K is one throughout
    chain = [*below, first, "dense", second, *(["dense"] if rng.random() < 0.5 else [])]
    p = any_sequence(rng, chain, activation=str(rng.choice(["tanh", "sigmoid"])))
    exact = time_ad.loss_gradient(*p.arguments)
    found = [rtrl.gradient(*in_time(p), block=K).grads for K in (None, *range(1, len(p.inputs) + 1))]
    found += [rtrl.gradient(*in_time(p), influence="exact").grads, bptt.gradient(*in_time(p)).grads]
    q = sequence(rng, [first, "dense", second])
    return np.max([off(g, exact) for g in found]), off(_local(q), time_ad.loss_gradient(*q.arguments))
