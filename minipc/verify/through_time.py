"""Claims: backpropagation through time, whole, truncated and in segments."""

import numpy as np

from .. import bptt, rtrl
from ..recurrent import losses, prepare_sequences, run
from .setting import (
    any_sequence,
    claim,
    in_time,
    off,
    paired,
    plus,
    recurrent,
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
    q = sequence(rng, ["rnn"], form="post")
    net, checked = recurrent(q), prepare_sequences(*in_time(q))
    done = run(net, q.params, checked.start, checked.inputs, None, checked.start)
    _, v = losses(net, done.out, checked)
    (cell,), (theta,), (tape,) = net.blocks, q.params, done.tapes
    late = tape._replace(before=tape.after)  # the regressor of the post form is the state of the step before
    wrong = cell.gradients(theta, late, cell.sweep(theta, late, v, None))
    return error, off([wrong], time_ad.loss_gradient(*q.arguments))


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
    """p_t (T, B, N) of the one cell: what its output sends at step t, and dLoss/dh_t of the rest, (BPTT.1), (BPTT.3).

    Also the first alone, q_t.
    """
    net, *_ = args = in_time(p)
    checked = prepare_sequences(*args)
    done = run(net, p.params, checked.start, checked.inputs, None, checked.start)
    (l,), (_, v) = net.cells, losses(net, done.out, checked)
    q, _ = rtrl.credit(net, p.params, done.tapes, v)
    (q,), (states,) = paired([q[l].conj()]), paired([done.tapes[l].after])
    total = q.copy()
    for t in range(len(q) - 1):
        rest = stretch(p, t + 1, None, h0=[states[t]])
        total[t] += paired(bptt.gradient(*in_time(rest)).initial)[0]
    return total, q


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
