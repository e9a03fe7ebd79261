r"""The approximations of RTRL, faster: a whole stretch of time at once.

:mod:`minipc.approximations` holds the readable forms, a step and its readout at a time. Where :func:`applies`, RTRL and
tPC-RTRL hand a stretch to this module, which finds the same numbers (pinned to the readable form at 1e-12 in
``tests/oracles/test_fast_influence.py``; timed in ``benchmarks/temporal.py``) with products of matrices in the place of
passes over a trace at every step:

* **Traces** (SnAp-1, RFLO, KeRNL). The duality (RTRL.4) holds for any recursion, so for T <- k T + D z, too. Credit goes
  back through the stretch with k in the place of J, ``v_{t-1} = q_{t-1} + k_t v_t``; all readouts together are one
  product of v D and z, and what v leaves at the beginning meets the trace that was there, as in (HYB.1). The trace at the
  end is one more product, with the products of the k of later steps, as in (HYB.2).
* **UORO**. w is a sum of the terms nu^T Mbar of all steps, one rank each, with factors that follow from r_0 and r_1. So in
  the stretch the factors are kept and w is not: its norm needs the inner products of the terms,
  (e_s . e_t)(z_s . z_t), and all readouts together are one product again.
"""

import numpy as np  # host only: signs are drawn there

from .approximations import RFLO, TINY, UORO, KeRNL, Signs, SnAp, Step
from .arguments import is_number
from .backend import array_module, as_backend
from .cells import GatedCell
from .recurrent import flat_time

LEAST = 16  # steps, from which on it pays


def applies(M, q) -> bool:
    """Is there a fast form for this influence, and a stretch of real numbers that is long enough? ``q`` as in RTRL."""
    method = getattr(M, "method", None)
    traced = isinstance(method, RFLO | KeRNL) or (isinstance(method, SnAp) and method.order == 1)
    credits = [v for v in q if v is not None]
    if not (traced or isinstance(method, UORO)) or not credits or len(credits[0]) < LEAST:
        return False
    if any(B is not None for B in getattr(M, "feedback", ())):  # of e-prop: its credit is not q
        return False
    return all(
        not isinstance(M.net.blocks[l], GatedCell) or all(a.dtype.kind == "f" for a in M.own[l].values())
        for l in M.net.cells
    ) and all(
        v.dtype.kind == "f" or not isinstance(M.net.blocks[l], GatedCell)
        for l, v in enumerate(q)
        if v is not None
    )


def advance(M, params, stretch, q, total=None):
    """All steps of a stretch without resets: ``M`` after them, in place, and the readouts added to ``total``.

    ``q`` is a list of credits ``(T, B, N)``, one entry a block, None where there is none.
    """
    found = [None] * len(q) if total is None else list(total)
    signs = _signs(M, stretch) if M.draw is not None else {}
    for l in M.net.cells:
        cell, p, own, tape = M.net.blocks[l], params[l], M.own[l], stretch.tapes[l]
        if not isinstance(cell, GatedCell):
            new, M.own[l] = _diagonal(cell, p, own, tape, q[l])
        else:
            if isinstance(M.method, UORO):
                new, M.own[l] = _uoro(cell, p, own, stretch.locals[l], q[l], signs[l])
            else:
                new, M.own[l] = _traced(M.method, cell, p, own, stretch.locals[l], M.patterns[l], q[l])
        if new is not None and found[l] is not None:
            new = {k: v + found[l][k] for k, v in new.items()} if isinstance(new, dict) else new + found[l]
        found[l] = found[l] if new is None else new
    return found


def _diagonal(cell, p, traces, tape, q):
    """Exact traces of a diagonal cell: (HYB.1), (HYB.4)."""
    new = None
    if q is not None:
        swept = cell.sweep(p, tape, q, None)
        new, past = cell.contracted(tape, swept, per_sample=False), cell.read_traces(traces, swept.start)
        new = {name: value + new[name] if name in new else value for name, value in past.items()}
    return new, cell.advance_traces(traces, p, tape)


# ---------------------------------------------------------------------- traces


def _traced(method, cell, p, own, local, pattern, q):
    """A trace of each unit, carried by k: the readouts ``(n, columns)``, and the trace at the end."""
    E = local.groups[0].E
    xp, (T, B, S, _, n) = array_module(E), E.shape
    k = method.carried(Step(cell, p, _lanes_of(local), 0, pattern, None))
    if not is_number(k):  # (T, B, n, S, S), or the same for all steps and lanes
        k = k.reshape(T, B, n, S, S) if len(k) == T * B else xp.broadcast_to(k, (T, B, n, S, S))
    carry = _Scalars(k, T) if S == 1 else _Matrices(k)
    trace, new = own["trace"], None
    if q is not None:
        if pattern is not None:
            q = q @ pattern[0]  # (KERNL.1)
        v = q.reshape(T, B, S, n).copy()
        for t in range(T - 1, 0, -1):
            carry.back(t, v[t], v[t - 1])  # (RTRL.4)
        parts = []
        for group in local.groups:
            w = _contracted(xp, v, group.E)  # (T, B, gates, n)
            g = w.reshape(T * B, -1).T @ flat_time(group.z)
            parts.append(g.reshape(-1, n, g.shape[-1]).transpose(1, 0, 2).reshape(n, -1))
        start = xp.zeros_like(v[0])
        carry.back(0, v[0], start)
        new = xp.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        new = new + (start.transpose(2, 0, 1).reshape(n, 1, -1) @ _by_unit(trace))[:, 0]  # (HYB.1)
    through, after = carry.products(xp, E)
    at, end = 0, _through(through, trace)
    for group in local.groups:
        left = (
            after[:, :, :, 0, None] * group.E
            if S == 1
            else (after[..., None, :] * group.E[:, :, None]).sum(axis=3)
        )
        left = left.reshape(T, B, -1).transpose(1, 2, 0)  # (B, S gates n, T)
        rows = left @ group.z.transpose(1, 0, 2)  # (HYB.2)
        rows = rows.reshape(B, S, -1, n, rows.shape[-1])
        width = rows.shape[2] * rows.shape[4]
        end[..., at : at + width] += rows.transpose(0, 3, 1, 2, 4).reshape(B, n, S, width)
        at += width
    return new, {"trace": end}


class _Scalars:
    """k of a cell with one number a unit: ``(T, B, n, 1, 1)`` or a number."""

    def __init__(self, k, T):
        self.k = k if is_number(k) else k[..., 0, 0][:, :, None]  # (T, B, 1, n)
        self.steps = [k] * T if is_number(k) else self.k

    def back(self, t, v, before):
        """``before (B, 1, n)`` plus k v, in place."""
        before += self.steps[t] * v

    def products(self, xp, like):
        """k of all steps multiplied, ``(B, 1, 1, n)``; and after each step the k of those behind it, ``(T, B, 1, 1, n)``."""
        T, B, n = len(like), like.shape[1], like.shape[-1]
        k = xp.full((T, 1, 1, 1), self.k, like.dtype) if is_number(self.k) else self.k
        after = xp.ones((T + 1, *k.shape[1:]), like.dtype)
        for k_t, before, later in zip(k[::-1], after[-2::-1], after[::-1], strict=False):
            xp.multiply(k_t, later, out=before)
        after = xp.broadcast_to(after[:, :, None], (T + 1, B, 1, 1, n))
        return after[0], after[1:]


class _Matrices:
    """k of a cell with S numbers a unit: ``(T, B, n, S, S)``."""

    def __init__(self, k):
        self.k = k.transpose(0, 1, 3, 4, 2)  # (T, B, S, S, n)

    def back(self, t, v, before):
        """``before (B, S, n)`` plus k^T v, in place."""
        before += (self.k[t] * v[:, :, None]).sum(axis=1)

    def products(self, xp, like):
        """k of all steps multiplied, ``(B, S, S, n)``; and after each step the k of those behind it."""
        after = xp.zeros_like(self.k)
        for s in range(after.shape[2]):
            after[-1, :, s, s] = 1
        for t in range(len(after) - 1, 0, -1):
            after[t - 1] = self._times(after[t], t)
        return self._times(after[0], 0), after

    def _times(self, after, t):
        return (after[:, :, :, None] * self.k[t][:, None]).sum(axis=2)


def _contracted(xp, v, E):
    """E^T v: ``(T, B, S, n), (T, B, S, gates, n) -> (T, B, gates, n)``."""
    return v * E[:, :, 0] if E.shape[2] == 1 else (v[:, :, :, None] * E).sum(axis=2)


def _through(through, trace):
    """``(B, S, S, n)`` times a trace ``(B, n, S, columns)``; of single numbers in place."""
    if through.shape[1] == 1:
        trace *= through[:, 0, 0, :, None, None]
        return trace
    return through.transpose(0, 3, 1, 2) @ trace


def _by_unit(trace):
    """``(B, n, S, columns) -> (n, B S, columns)``."""
    return trace.transpose(1, 0, 2, 3).reshape(trace.shape[1], -1, trace.shape[-1])


def _lanes_of(local):
    """The derivatives of all steps as those of one step of T B lanes."""
    flat = lambda a: flat_time(a)[None]  # noqa: E731
    groups = tuple(type(g)(g.names, flat(g.E), ()) for g in local.groups)
    direct = tuple(d if d is None or is_number(d) else flat(d) for d in local.direct)
    return local._replace(
        groups=groups, direct=direct, slope=None if local.slope is None else flat(local.slope)
    )


# ---------------------------------------------------------------------- UORO


def _signs(M, stretch):
    """Of every gated cell ``(T, B, N)``, drawn in the order of the steps."""
    cells = [l for l in M.net.cells if isinstance(M.net.blocks[l], GatedCell)]
    like, sizes = stretch.tapes[cells[0]].after, [M.net.blocks[l].state_size for l in cells]
    T, B = like.shape[:2]
    if isinstance(M.draw, Signs) and len(cells) == 1:  # all at once: the same numbers
        return {cells[0]: as_backend(M.draw(T * B, sizes[0]).reshape(T, B, -1), like=like)}
    drawn = [[M.draw(B, N) for N in sizes] for _ in range(T)]
    return {l: as_backend(np.stack([step[i] for step in drawn]), like=like) for i, l in enumerate(cells)}


def _uoro(cell, p, own, local, q, nu):
    """(UORO.1)-(UORO.3): the readouts ``(n, columns)``, and s and w at the end."""
    xp, s, w = array_module(own["s"]), own["s"], own["w"]
    (T, B, N), dtype = nu.shape, s.dtype
    nu = nu.astype(dtype, copy=False)
    signs = nu.reshape(T, B, cell.parts, 1, cell.n)
    rows = [
        (signs * g.E).sum(axis=2) if cell.parts > 1 else signs[:, :, 0] * g.E[:, :, 0] for g in local.groups
    ]
    lanes = lambda a: a.reshape(T, B, -1).transpose(1, 0, 2)  # noqa: E731  (B, T, ...)
    inner, past, at = 0, 0, 0  # <X_t, X_s> (B, T, T), and <X_t, w> (B, T) with the w that was there
    for e, group in zip(rows, local.groups, strict=True):
        e_b, z_b = lanes(e), lanes(group.z)
        inner = inner + (e_b @ e_b.transpose(0, 2, 1)) * (z_b @ z_b.transpose(0, 2, 1))
        gates, width = e.shape[2], z_b.shape[-1]
        before = w[:, :, at : at + gates * width].reshape(B, cell.n, gates, width).transpose(0, 2, 1, 3)
        past = past + ((e_b @ before.reshape(B, gates * cell.n, width)) * z_b).sum(axis=2)
        at += gates * width
    inner = xp.concatenate([past[:, :, None], inner], axis=2)  # w comes first
    inner = inner.transpose(1, 0, 2)  # (T, B, 1 + T)
    size = xp.stack([inner[t, :, t + 1] for t in range(T)]) ** 0.5  # |nu^T Mbar|
    r1 = ((size + TINY) / (float(N) ** 0.5 + TINY)) ** 0.5  # (UORO.3)
    twice, own_square, noise = 2 / r1, (size / r1) ** 2, r1[:, :, None] * nu
    factors = xp.zeros((B, 1 + T), dtype)  # of w, and of every term
    factors[:, 0], factors[:, 1:] = 1, (1 / r1).T
    times, of_lanes, shrunk, states = _product(cell, p, local), "bn,bn->b", [], []
    square = xp.einsum(of_lanes, w.reshape(B, -1), w.reshape(B, -1))
    for t in range(T):
        s = times(t, s)
        inverse = (xp.einsum(of_lanes, s, s) ** 0.5 + TINY) / (square**0.5 + TINY)
        r = inverse**0.5  # 1 / r_0 (UORO.3)
        s /= r[:, None]
        s += noise[t]  # (UORO.2)
        F = factors[:, : t + 1]
        along = xp.einsum(of_lanes, F, inner[t, :, : t + 1])
        square = abs(
            inverse * square + r * twice[t] * along + own_square[t]
        )  # |w|^2, also where it rounds to zero
        F *= r[:, None]
        shrunk.append(r)
        states.append(s)
    kept, factors = factors[:, 0], factors[:, 1:]
    new = None
    weight = xp.zeros((T, B), dtype)  # of each step's term in the sum of all readouts
    if q is not None:
        c = (q * xp.stack(states)).sum(axis=2)  # q . s
        weight[-1] = c[-1]
        for t in range(T - 1, 0, -1):
            weight[t - 1] = c[t - 1] + weight[t] * shrunk[t]
        new = ((weight[0] * shrunk[0]) @ w.reshape(B, -1)).reshape(w.shape[1:])
    w *= kept[:, None, None]
    at = 0
    for e, group in zip(rows, local.groups, strict=True):
        z, gates = group.z, e.shape[2]
        width = gates * z.shape[-1]
        if q is not None:
            g = ((weight / r1)[:, :, None, None] * e).reshape(T * B, -1).T @ flat_time(z)
            new[:, at : at + width] += _by_row(g[None], gates)[0]
        left = (factors.T[:, :, None, None] * e).reshape(T, B, -1).transpose(1, 2, 0)
        w[:, :, at : at + width] += _by_row(left @ z.transpose(1, 0, 2), gates)  # (UORO.2)
        at += width
    return new, {"s": s, "w": w}


def _product(cell, p, local):
    """J s of a step as a function of its number and s, Eq. (RNN.4)."""
    if cell.parts > 1 or cell.gates > 1:
        return lambda t, s: Step(cell, p, local, t, None, None).jacobian_times(s)
    W, D, slope, d = p["W"].T, local.groups[0].E[:, :, 0, 0], local.slope, local.direct[0]

    def times(t, s):
        new = D[t] * ((s if slope is None else slope[t] * s) @ W)
        if d is not None:
            new += (d if is_number(d) else d[t, :, 0]) * s
        return new

    return times


def _by_row(g, gates):
    """``(B, gates n, n_z) -> (B, n, gates n_z)``."""
    B, rows, width = g.shape
    return g.reshape(B, gates, rows // gates, width).transpose(0, 2, 1, 3).reshape(B, rows // gates, -1)
