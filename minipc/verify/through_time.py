"""Claims: backpropagation through time, whole, truncated and in segments."""

import numpy as np

from .. import bptt
from .setting import (
    any_sequence,
    claim,
    in_time,
    off,
    paired,
    plus,
    rel,
    sequence,
    stretch,
    time_ad,
)


def single_cell(rng, **options):
    """One cell of any kind; blocks before and after it by chance."""
    kind = str(rng.choice(["rnn", "gru", "lstm", "elstm", "lru", "rtu"]))
    before, after = (["dense"] if rng.random() < 0.5 else [] for _ in range(2))
    return sequence(rng, [*before, kind, *after], **options)


def remembering(rng, T=None, late=False):
    """A linear recurrent net whose first steps matter at the end, for controls; ``late``: one target, at T."""
    p = sequence(rng, ["rnn"], T=T, alpha=1.0, radius=1.0, activation="identity", loss="mse")
    last = np.zeros_like(p.mask)
    last[-1] = True
    return p._replace(mask=last) if late else p


@claim(
    "T01",
    "BPTT.1-BPTT.3, RNN.1-RNN.6",
    "BPTT is the gradient of the loss, in all cells: parameters and initial states",
    "autograd",
    1e-12,
)
def t01(rng):
    p = any_sequence(rng)
    g = bptt.gradient(*in_time(p))
    error = max(
        off(g.grads, time_ad.loss_gradient(*p.arguments)),
        off(paired(g.initial), time_ad.initial_gradient(*p.arguments)),
        rel(g.loss, time_ad.loss(*p.arguments)),
    )
    q = sequence(rng, ["rnn"], form="pre", activation="tanh")
    (h,), (p_t,) = time_ad.run(*q.arguments[:3], q.h0)[1], time_ad.error_gradient(*q.arguments[:-1])
    late = q.blocks[0]["alpha"] * np.einsum("tbi,tbj->ij", p_t, np.tanh(h))  # (BPTT.2) with z_t at h_t
    return error, off([{"W": late}], [{"W": time_ad.loss_gradient(*q.arguments)[0]["W"]}])


@claim(
    "T04", "BPTT.4", "BPTT cut to k steps: from the immediate terms to all of it", "autograd", 1e-12, trials=5
)
def t04(rng):
    p = any_sequence(rng)
    T = len(p.inputs)
    error = 0.0
    for k in (1, int(rng.integers(2, T)), T, T + 2):
        g = bptt.truncated(*in_time(p), steps=k)
        error = max(
            error,
            off(g.grads, time_ad.truncated_gradient(*p.arguments, steps=k)),
            off(paired(g.initial), time_ad.truncated_initial_gradient(*p.arguments, steps=k)),
        )
    error = max(error, off(g.grads, time_ad.loss_gradient(*p.arguments)))  # k >= T
    q = remembering(rng, T=4, late=True)  # the window does not see the first step
    wrong = bptt.truncated(*in_time(q), steps=3)
    return error, off(wrong.grads, time_ad.loss_gradient(*q.arguments))


def _total_credit(p):
    """p_t and q_t (T, B, N) of the one cell, (BPTT.1): J'p of the next step is what arrives at its initial state."""
    states, found = time_ad.run(p.blocks, p.params, p.inputs, p.h0)[1][0], []
    for t, h in enumerate([p.h0[0], *states[:-1]]):
        (q,) = time_ad.error_gradient(*stretch(p, t, t + 1, h0=[h]).arguments[:-1])
        rest = stretch(p, t + 1, h0=[states[t]])
        later = paired(bptt.gradient(*in_time(rest)).initial)[0] if len(rest.inputs) else 0
        found.append((q[0] + later, q[0]))
    return np.array(found).swapaxes(0, 1)


@claim(
    "T05", "BPTT.5", "errors in time: one gradient step from e = 0 gives e_t = -lam p_t", "autograd", 1e-12
)
def t05(rng):
    lam = float(rng.uniform(0.1, 1.0))
    p = single_cell(rng)
    total, _ = _total_credit(p)
    moved = -lam * time_ad.error_gradient(*p.arguments[:-1])[0]
    r = remembering(rng)
    _, q = _total_credit(r)
    return rel(-lam * total, moved), rel(-lam * q, -lam * time_ad.error_gradient(*r.arguments[:-1])[0])


@claim(
    "T45",
    "BPTT.1, BPTT.3, RTRL.6",
    "BPTT with states kept every so many steps only; resets inside and at their borders",
    "autograd",
    1e-12,
    trials=10,
)
def t45(rng):
    p = any_sequence(rng, reset=True)
    exact, initial = time_ad.loss_gradient(*p.arguments), time_ad.initial_gradient(*p.arguments)
    error = 0.0
    for segment in (None, *range(1, len(p.inputs) + 1)):
        g = bptt.checkpointed(*in_time(p), segment=segment)
        error = max(error, off(g.grads, exact), off(paired(g.initial), initial))
    q = remembering(rng)._replace(mask=None)
    cut = int(rng.integers(1, len(q.inputs)))
    first = bptt.gradient(*in_time(stretch(q, 0, cut)))
    second = bptt.gradient(*in_time(stretch(q, cut, h0=first.final)))  # its credit is not handed to the first
    wrong = plus(first.grads, second.grads)
    return error, off(wrong, time_ad.loss_gradient(*q.arguments))
