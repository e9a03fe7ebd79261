"""Approximations of RTRL with every index spelled out: dense influences, one lane at a time, and all signs enumerated.

=========  ===========================================================================  =======================
id         equation, entry by entry                                                     function
=========  ===========================================================================  =======================
(SNAP.1)   R[k,i] = 1 iff unit i reaches unit k in at most ord - 1 hops                 pattern
(SNAP.2)   M[k,r,j] = R[k,r] sum_m J[k,m] M'[m,r,j] + Mbar[k,r,j]                       snap
(RFLO.1)   M[k,r,j] = sum_m K[k,m] M'[m,r,j] + Mbar[k,r,j], K: J without its weights    rflo
(KERNL.1)  Tr[i,j] = max(0, 1-alpha[i]) Tr'[i,j] + D[i] z[j], M[k,i,j] = A[k,i] Tr[i,j] kernl
(KERNL.2)  the error that A and alpha are to make small                                 kernel_error
(UORO.2)   s[k] = r0 sum_m J[k,m] s'[m] + r1 nu[k],                                     uoro
           w[r,j] = w'[r,j] / r0 + sum_k nu[k] Mbar[k,r,j] / r1
(UORO.3)   r0 = sqrt(|w'| / |J s'|), r1 = sqrt(|nu Mbar| / |nu|)                        uoro
(KF.2)     A[j] = c1 p0 A'[j] + c2 p1 z[j],                                             kf
           B[k,r] = c1 sum_m J[k,m] B'[m,r] / p0 + c2 E[k,r] / p1
(KF.5)     A[r] = p0 A'[r] + p1 nu[r],                                                  reverse_kf
           B[k,j] = sum_m J[k,m] B'[m,j] / p0 + sum_r nu[r] Mbar[k,r,j] / p1
(SK.1)     M = embed(Tr) + the best X of rank r of                                      sketch
           offdiag(J) embed(Tr') + J X'
(SK.2)     cert = min(|J|_F, sqrt(|J|_1 |J|_inf)) cert' + |what was discarded|_F        sketch
=========  ===========================================================================  =======================

k, m count the N numbers of the state, r the rows of all weights [W U b], j their columns, i the units: number k of
the state belongs to unit k mod n, and so does row r. A function takes the steps of one lane and returns the influence
(N, rows, n_z) after each of them; those that throw signs take the signs. The steps are linearised by autograd.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from . import temporal_oracles as ad
from .temporal_loops import output_credit

TINY = 1e-30  # in the ratios, where both norms are zero


class Step(NamedTuple):
    """One step of one lane; ``begins`` says that the lane is back at its initial state."""

    J: np.ndarray  # (N, N)
    Mbar: np.ndarray  # (N, rows, n_z)
    direct: np.ndarray  # (N, N), J at fixed pre-activations
    z: np.ndarray  # (n_z,), the regressor
    n: int
    begins: bool


def linearised(p):
    """The steps of every lane of a problem with one gated cell, a list over b of lists over t."""
    (block,), (theta,) = p.blocks, p.params
    T, B = p.inputs.shape[:2]
    (start,), (after,) = p.h0, ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)[1]
    lanes = [[] for _ in range(B)]
    for t in range(T):
        back = np.zeros(B, bool) if p.reset is None else p.reset[t]
        h = start if t == 0 else np.where(back[:, None], start, after[t - 1])
        J = ad.state_jacobian(block, theta, h, p.inputs[t])
        parts = ad.immediate_jacobian(block, theta, h, p.inputs[t])
        Mbar = np.concatenate([parts["W"], parts["U"], parts["b"][..., None]], axis=3)
        for b in range(B):
            z, direct = _regressor(block, theta, h[b], p.inputs[t, b], J[b], parts["W"][b])
            lanes[b].append(Step(J[b], Mbar[b], direct, z, theta["W"].shape[1], t == 0 or bool(back[b])))
    return lanes


def _regressor(block, theta, h, u, J, in_W):
    """z of one lane, and J without what goes through W; ``in_W (N, rows, n)`` is E[k,r] z[j]."""
    W = theta["W"]
    rows, n = W.shape
    seen = ad.ACTIVATIONS[block["activation"]](h) if block.get("form") == "pre" else h
    direct = J.copy()
    if block["kind"] == "rnn":
        direct = (1 - block["alpha"]) * np.eye(n)
    else:
        for k, m in np.ndindex(len(h), n):
            direct[k, m] -= sum(in_W[k, r, 0] / seen[0] * W[r, m] for r in range(rows))
    return np.array([*seen[:n], *u, 1.0]), direct


def _carried(J, M, mask=None):
    """sum_m J[k,m] M[m,r,j], entry by entry."""
    found = np.zeros(M.shape)
    for k, r, j in np.ndindex(*M.shape):
        if mask is None or mask[k, r]:
            found[k, r, j] = sum(J[k, m] * M[m, r, j] for m in range(len(J)))
    return found


def _influences(steps, advance, start):
    """What ``advance(kept, step, t)`` keeps after every step; ``start`` where the lane begins."""
    kept, found = start, []
    for t, step in enumerate(steps):
        kept = advance(start if step.begins else kept, step, t)
        found.append(kept)
    return found


def exact(steps):
    """RTRL."""
    return _influences(steps, lambda M, s, t: _carried(s.J, M) + s.Mbar, 0 * steps[0].Mbar)


def pattern(J, n, order):
    """R (n, n) bool, (SNAP.1)."""
    linked = np.zeros((n, n), bool)
    for k, m in np.ndindex(*J.shape):
        linked[k % n, m % n] |= J[k, m] != 0
    reached = [{i} for i in range(n)]  # from unit i
    for _ in range(order - 1):
        reached = [units | {k for m in units for k in range(n) if linked[k, m]} for units in reached]
    return np.array([[k in reached[i] for i in range(n)] for k in range(n)])


def snap(steps, order):
    """SnAp-n."""
    n, (N, rows, _) = steps[0].n, steps[0].Mbar.shape
    R = pattern(steps[0].J, n, order)
    mask = np.array([[R[k % n, r % n] for r in range(rows)] for k in range(N)])
    return _influences(steps, lambda M, s, t: _carried(s.J, M, mask) + s.Mbar, 0 * steps[0].Mbar)  # (SNAP.2)


def rflo(steps):
    """RFLO; of gated cells, J at fixed pre-activations."""
    return _influences(steps, lambda M, s, t: _carried(s.direct, M) + s.Mbar, 0 * steps[0].Mbar)  # (RFLO.1)


def kernl(steps, A, alpha):
    """KeRNL with a kernel, of a cell with one gate."""
    n, _, n_z = steps[0].Mbar.shape

    def advance(trace, s, t):
        new = np.zeros((n, n_z))
        for i, j in np.ndindex(n, n_z):
            new[i, j] = max(0.0, 1 - alpha[i]) * trace[i, j] + s.Mbar[i, i, j]  # (KERNL.1)
        return new

    traces = _influences(steps, advance, np.zeros((n, n_z)))
    return [
        np.array([[[A[k, i] * trace[i, j] for j in range(n_z)] for i in range(n)] for k in range(n)])
        for trace in traces
    ]


def kernel_error(A, alpha, noise, moved):
    """1/2 sum_t |A nf_t - moved_t|^2 with nf_t = max(0, 1-alpha) nf_{t-1} + noise_t, one lane (T, n), (KERNL.2)."""
    T, n = noise.shape
    nf, total = [0.0] * n, 0.0
    for t in range(T):
        nf = [(1 - alpha[i] if alpha[i].real < 1 else 0.0) * nf[i] + noise[t, i] for i in range(n)]
        for k in range(n):
            total += 0.5 * (sum(A[k, i] * nf[i] for i in range(n)) - moved[t, k]) ** 2
    return total


def norm(a):
    """The Euclidean norm of all entries."""
    return math.sqrt(sum(float(v) ** 2 for v in np.ravel(a)))


def ratio(a, b):
    """sqrt(|a| / |b|)."""
    return math.sqrt((norm(a) + TINY) / (norm(b) + TINY))


def uoro(steps, signs):
    """UORO with the signs (T, N)."""
    (N, rows, n_z), T = steps[0].Mbar.shape, len(steps)

    def advance(kept, step, t):
        s, w = kept
        Js = [sum(step.J[k, m] * s[m] for m in range(N)) for k in range(N)]
        new = np.zeros((rows, n_z))
        for r, j in np.ndindex(rows, n_z):
            new[r, j] = sum(signs[t, k] * step.Mbar[k, r, j] for k in range(N))
        r0, r1 = ratio(w, Js), ratio(new, signs[t])  # (UORO.3)
        return [r0 * Js[k] + r1 * signs[t, k] for k in range(N)], w / r0 + new / r1  # (UORO.2)

    kept = _influences(steps, advance, ([0.0] * N, np.zeros((rows, n_z))))
    return [np.multiply.outer(kept[t][0], kept[t][1]) for t in range(T)]


def kf(steps, signs):
    """KF-RTRL with the signs (T, 2); E[k,r] is what a bias does, as its regressor is one."""
    N, rows, n_z = steps[0].Mbar.shape

    def advance(kept, step, t):
        (A, B), (c1, c2) = kept, signs[t]
        JB, E = np.zeros((N, rows)), step.Mbar[:, :, -1]
        for k, r in np.ndindex(N, rows):
            JB[k, r] = sum(step.J[k, m] * B[m, r] for m in range(N))
        p0, p1 = ratio(JB, A), ratio(E, step.z)  # (KF.2)
        return c1 * p0 * A + c2 * p1 * step.z, c1 * JB / p0 + c2 * E / p1  # (KF.2)

    kept = _influences(steps, advance, (np.zeros(n_z), np.zeros((N, rows))))
    return [np.einsum("kr,j->krj", B, A) for A, B in kept]


def reverse_kf(steps, signs):
    """Reverse KF-RTRL with the signs (T, rows)."""
    N, rows, n_z = steps[0].Mbar.shape

    def advance(kept, step, t):
        A, B = kept
        JB, new = np.zeros((N, n_z)), np.zeros((N, n_z))
        for k, j in np.ndindex(N, n_z):
            JB[k, j] = sum(step.J[k, m] * B[m, j] for m in range(N))
            new[k, j] = sum(signs[t, r] * step.Mbar[k, r, j] for r in range(rows))
        p0, p1 = ratio(JB, A), ratio(new, signs[t])  # (KF.5)
        return p0 * A + p1 * signs[t], JB / p0 + new / p1  # (KF.5)

    kept = _influences(steps, advance, (np.zeros(rows), np.zeros((N, n_z))))
    return [np.einsum("r,kj->krj", A, B) for A, B in kept]


def all_signs(T, width):
    """Every table of signs (T, width), ``(2^(T width), T, width)``."""
    return np.array(list(itertools.product((-1.0, 1.0), repeat=T * width))).reshape(-1, T, width)


def expected(estimate, steps, width):
    """The mean influence over all signs, after every step."""
    found = [estimate(steps, signs) for signs in all_signs(len(steps), width)]
    return [sum(M[t] for M in found) / len(found) for t in range(len(steps))]


def sketch(steps, rank):
    """SK-RTRL, for one number a unit: pairs of an influence (n, rows, n_z) and its certificate."""
    N, rows, n_z = steps[0].Mbar.shape

    def advance(kept, step, t):
        trace, X, cert = kept  # both (N, rows, n_z); embed(Tr) has entries where k and r are of one unit
        J, own = step.J, np.eye(N)[:, np.arange(rows) % N] > 0
        diagonal, off = np.diag(np.diag(J)), J - np.diag(np.diag(J))
        full = (_carried(off, trace) + _carried(J, X)).reshape(N, -1)
        U, values, V = np.linalg.svd(full, full_matrices=False)
        X = (U[:, :rank] * values[:rank]) @ V[:rank]  # (SK.1)
        new = _carried(diagonal, trace, own) + step.Mbar
        rho = min(norm(J), math.sqrt(np.abs(J).sum(axis=0).max() * np.abs(J).sum(axis=1).max()))
        return new, X.reshape(trace.shape), rho * cert + norm(values[rank:])  # (SK.2)

    zero = np.zeros((N, rows, n_z))
    return [(trace + X, cert) for trace, X, cert in _influences(steps, advance, (zero, zero, 0.0))]


def gradient(p, influences):
    """{"W", "U", "b"} of a problem with one cell: credit times influence, ``influences`` a list over b of lists over t."""
    outputs = ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)[0]
    credit = output_credit(p.loss, outputs, p.targets, p.mask)
    total = 0.0
    for b, t in itertools.product(range(credit.shape[1]), range(len(credit))):
        total = total + sum(credit[t, b, k] * influences[b][t][k] for k in range(credit.shape[2]))
    n, m = p.params[0]["W"].shape[1], p.params[0]["U"].shape[1]
    return [{"W": total[:, :n], "U": total[:, n : n + m], "b": total[:, n + m]}]
