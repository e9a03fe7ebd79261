"""Claims: the influence carried forward in time, step by step, in blocks, in pieces, and with weights that move."""

import numpy as np

from .. import bptt, rtrl
from .setting import (
    any_sequence,
    claim,
    in_time,
    influence_matrix,
    off,
    plus,
    recurrent,
    rel,
    sequence,
    stretch,
    time_ad,
)
from .through_time import remembering


def _in_pieces(p, ends, **options):
    """Sums of the gradients of stretches that end at ``ends``, with the carry handed on: one after each of them."""
    found, carry, begin = [], None, 0
    for end in ends:
        part = stretch(p, begin, end) if carry is None else stretch(p, begin, end, h0=None)
        g = rtrl.gradient(*in_time(part), carry=carry, **options)
        found.append(plus(found[-1], g.grads) if found else g.grads)
        carry, begin = g.carry, end
    return found, carry


def recursion(p, carried):
    """Gradient of one recurrent net by (RTRL.1), (RTRL.2) with autograd's Jacobians; M_t = carried(J, M) + Mbar."""
    (block,), (theta,), (start,) = p.blocks, p.params, p.h0
    states = [start, *time_ad.run(p.blocks, p.params, p.inputs, p.h0)[1][0]]
    M, total = None, dict.fromkeys(theta, 0.0)
    for t, u in enumerate(p.inputs):
        J = time_ad.state_jacobian(block, theta, states[t], u)
        Mbar = time_ad.immediate_jacobian(block, theta, states[t], u)
        M = Mbar if M is None else {name: carried(J, M[name]) + Mbar[name] for name in M}
        q = np.where(p.mask[t][:, None], states[t + 1] - p.targets[t], 0)  # (RNN.6), squared error
        total = {name: total[name] + np.einsum("bk,bk...->...", q, M[name]) for name in M}
    return [total]


@claim(
    "T02",
    "RTRL.1, RTRL.2",
    "RTRL gives the gradient of every prefix, at every step, in all cells",
    "autograd",
    1e-12,
    trials=10,
)
def t02(rng):
    p = any_sequence(rng)
    found, _ = _in_pieces(p, range(1, len(p.inputs) + 1), influence="exact")
    exact = time_ad.prefix_gradients(*p.arguments)
    counted = p.mask.any(axis=1).cumsum() > 0  # before the first target all is zero
    error = max(off(a, x) for a, x, one in zip(found, exact, counted, strict=True) if one)
    q = remembering(rng, T=12, late=True)
    right = time_ad.loss_gradient(*q.arguments)
    wrong = {
        "no carry": lambda J, M: 0 * M,
        "J^T for J": lambda J, M: np.einsum("bmk,bm...->bk...", J, M),
        "M decays": lambda J, M: 0.999 * np.einsum("bkm,bm...->bk...", J, M),
    }
    return error, min(off(recursion(q, carried), right) for carried in wrong.values())


def _one_step(p, t, carry):
    """The carry after step t."""
    part = stretch(p, t, t + 1) if carry is None else stretch(p, t, t + 1, h0=None)
    return rtrl.gradient(*in_time(part), influence="exact", carry=carry).carry


def _shaken(carry, rng):
    """The same states with noise in the influence."""
    influence = carry.influence.copy(carry.h)
    for l in influence.net.cells:
        own = influence.own[l]
        if isinstance(own, dict):
            influence.own[l] = {name: v + 0.1 * rng.standard_normal(v.shape) for name, v in own.items()}
        else:
            influence.own[l] = own + 0.1 * rng.standard_normal(own.shape)
    return carry._replace(influence=influence)


@claim(
    "T03",
    "RTRL.3-RTRL.5",
    "duality: influence forward = errors backward; transported sum; error bound",
    "identity, autograd J and Mbar",
    1e-12,
    trials=5,
)
def t03(rng):
    kind = str(rng.choice(["rnn", "gru", "lstm", "elstm", "lru", "rtu"]))
    p = sequence(rng, [kind], T=4, B=2, mask=False)
    net, (block,), (theta,), (start,) = recurrent(p), p.blocks, p.params, p.h0
    (T, B), N, norm = p.inputs.shape[:2], start.shape[1], lambda a: np.linalg.norm(a, axis=(1, 2))
    states = [start, *time_ad.run(p.blocks, p.params, p.inputs, p.h0)[1][0]]
    moving = [
        name for name in net.blocks[0].shapes if name not in ("C_re", "C_im", "D")
    ]  # those move no state
    J, Mbar, M, carry, noisy, before, errors = [], [], [], None, None, 0.0, [0.0]
    for t, u in enumerate(p.inputs):
        J.append(time_ad.state_jacobian(block, theta, states[t], u))
        parts = time_ad.immediate_jacobian(block, theta, states[t], u)
        Mbar.append(np.concatenate([parts[name].reshape(B, N, -1) for name in moving], axis=2))
        carry = _one_step(p, t, carry)
        M.append(influence_matrix(net, p.params, carry.influence, B, N))
        moved = _one_step(p, t, noisy)
        noisy = _shaken(moved, rng)
        reached, shaken = (influence_matrix(net, p.params, c.influence, B, N) for c in (moved, noisy))
        here = norm(shaken - M[t])
        bound = np.linalg.norm(J[t], 2, axis=(1, 2)) * before + norm(shaken - reached)  # (RTRL.5)
        errors.append((here / bound - 1).max())
        before = here
    for t in range(T):
        through, total = np.eye(N), Mbar[t]
        for i in range(t - 1, -1, -1):
            through = through @ J[i + 1]
            total = total + through @ Mbar[i]  # (RTRL.3)
        errors.append(rel(M[t], total))
    q, dual = rng.standard_normal((T, B, N)), 0.0
    p_t = np.zeros((B, N))
    for t in range(T - 1, -1, -1):
        p_t = q[t] + (0 if t == T - 1 else np.einsum("bkj,bk->bj", J[t + 1], p_t))  # (BPTT.1)
        dual = dual + np.einsum("bk,bkp->p", p_t, Mbar[t])
    forward = np.einsum("tbk,tbkp->p", q, np.array(M))
    errors.append(rel(forward, dual))  # (RTRL.4)
    return np.max(errors), rel(np.einsum("tbk,tbkp->p", q, np.array(Mbar)), forward)


def _alone(p, b):
    """The sequences that lane b is made of: one after the other, each begun at the initial state."""
    begins = [0, *(t for t in range(1, len(p.inputs)) if p.reset[t, b])]
    lane = p._replace(
        inputs=p.inputs[:, b : b + 1],
        targets=p.targets[:, b : b + 1],
        mask=p.mask[:, b : b + 1],
        h0=None if p.h0 is None else [h[b : b + 1] for h in p.h0],
        reset=None,
    )
    return [stretch(lane, *ends) for ends in zip(begins, [*begins[1:], None], strict=True)]


@claim(
    "T06",
    "RTRL.6",
    "a sequence in pieces is the whole; a reset begins a new one; a batch is the sum of its lanes",
    "identity",
    1e-13,
    trials=10,
)
def t06(rng):
    p = any_sequence(rng, reset=True)
    T, B = p.inputs.shape[:2]
    options = {"influence": "exact"} if rng.random() < 0.5 else {"block": int(rng.integers(1, T + 1))}
    ends = [*sorted(set(rng.integers(1, T, 2).tolist())), T]
    whole = rtrl.gradient(*in_time(p), **options).grads
    pieces, _ = _in_pieces(p, ends, **options)
    sequences = [rtrl.gradient(*in_time(q), **options).grads for b in range(B) for q in _alone(p, b)]
    summed = sequences[0]
    for grads in sequences[1:]:
        summed = plus(summed, grads)
    q, cut = remembering(rng, T=6), int(rng.integers(2, 5))
    first = rtrl.gradient(*in_time(stretch(q, None, cut)), influence="exact")
    stale = first.carry._replace(h=first.carry.start)  # the states go back, the influence does not
    second = rtrl.gradient(*in_time(stretch(q, cut, None, h0=None)), influence="exact", carry=stale)
    back = np.repeat(np.arange(6)[:, None] == cut, len(q.h0[0]), axis=1)
    exact = time_ad.loss_gradient(*q._replace(reset=back).arguments)
    return max(off(pieces[-1], whole), off(summed, whole)), off(plus(first.grads, second.grads), exact)


def _numbers(tree):
    """How many numbers arrays in tuples, lists and dicts hold."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return sum(_numbers(item) for item in tree)
    return getattr(tree, "size", 0)


@claim(
    "T07",
    "RTRL.1, HYB.3",
    "10,000 steps: the influence has as many numbers as after one",
    "count",
    0,
    trials=1,
)
def t07(rng):
    error = 0
    for kind in ("rnn", "lru"):
        for options in ({"influence": "exact"}, {"influence": "hybrid"}):
            p, carry, kept = sequence(rng, [kind], T=2000, radius=0.5), None, []
            for i in range(5):
                part = p if i == 0 else p._replace(h0=None)
                carry = rtrl.gradient(*in_time(part), carry=carry, **options).carry
                kept.append(carry.influence.entries + _numbers([carry.h, carry.start]))
            step = rtrl.gradient(*in_time(stretch(p, 0, 1)), **options).carry
            first = step.influence.entries + _numbers([step.h, step.start])
            error = max(error, *(abs(n - first) for n in kept))
    (cell,), (theta,), (h,) = recurrent(p).blocks, p.params, carry.h
    tapes = [_numbers(cell.scan(theta, h, p.inputs[:T])[1]) for T in (10, 1000)]
    return float(error), tapes[1] / tapes[0] - 1


@claim(
    "T40",
    "RTRL.2",
    "weights that move at every step: the deviation from the gradient falls tenfold with eta",
    "autograd, ratio over a decade",
    0.2,
    trials=5,
)
def t40(rng):
    def deviation(p, eta, **options):
        """Of the summed online gradient from autograd's at the first weights, over all parameters."""
        found = rtrl.staleness(*in_time(p), learning_rate=eta, **options).online
        exact = time_ad.loss_gradient(*p.arguments)
        pairs = [(g[k] - x[k], x[k]) for g, x in zip(found, exact, strict=True) for k in x]
        return (sum((d * d).sum() for d, _ in pairs) / sum((x * x).sum() for _, x in pairs)) ** 0.5

    p, q = any_sequence(rng), sequence(rng, ["rnn", "gru"])
    ratio = deviation(p, 1e-5) / deviation(p, 1e-6)
    biased = deviation(q, 1e-5, influence="local") / deviation(q, 1e-6, influence="local")
    return abs(ratio / 10 - 1), abs(biased / 10 - 1)


@claim(
    "T43",
    "HYB.1-HYB.4",
    "RTRL in blocks of K steps: BPTT for every K, and at the end of every block",
    "autograd",
    1e-12,
    trials=10,
)
def t43(rng):
    p = any_sequence(rng)
    T, error, prefixes = len(p.inputs), 0.0, time_ad.prefix_gradients(*p.arguments)
    for K in range(1, T + 1):
        ends = [*range(K, T, K), T]
        found, _ = _in_pieces(p, ends, block=K)
        found = [(found[i], prefixes[end - 1]) for i, end in enumerate(ends) if p.mask[:end].any()]
        whole = rtrl.gradient(*in_time(p), block=K).grads
        error = max(error, off(whole, prefixes[-1]), *(off(*pair) for pair in found))
    q, K = remembering(rng, T=6), int(rng.integers(1, 6))
    exact, carry = time_ad.loss_gradient(*q.arguments), None
    doubled = bptt.gradient(*in_time(q)).grads  # p is not cut at the ends of blocks: all of BPTT, and M too
    for begin in range(0, 6, K):
        part = stretch(q, begin, begin + K)
        if carry is None:
            g = rtrl.gradient(*in_time(part), block=K)
            forgetful = g.grads
        else:
            alone = rtrl.gradient(*in_time(part._replace(h0=carry.h)), block=K)  # M is not carried on
            rest = bptt.gradient(*in_time(stretch(q, begin, None, h0=carry.h)))
            past = carry.influence.gradients(q.params, carry.influence.readout(rest.initial))
            forgetful, doubled = plus(forgetful, alone.grads), plus(doubled, past)
            g = rtrl.gradient(*in_time(part._replace(h0=None)), block=K, carry=carry)
        carry = g.carry
    return error, min(off(forgetful, exact), off(doubled, exact))
