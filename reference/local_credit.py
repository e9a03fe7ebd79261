"""Oracles of credit that stays with the unit: spiking cells, e-prop, and synthetic gradients (DNI).

No derivative of a cell is derived by hand in the first half: the cells are written from their equations, with a smooth
spike, and the tests differentiate them by complex step. What e-prop cuts is cut here in the other way: the weights
receive the spikes of the step before as *given numbers*, from a run that has been made before. The second half are
index loops; arrays only store numbers there.

=========  =====================================================================  =======================
id         equation                                                               function
=========  =====================================================================  =======================
(EPROP.1)  v = kap v' + W spike' + U u + b, spike = step(v - v_th)                spiking_run
           zbar = kap zbar' + z, e[i,j] = psi[i] zbar[j]                          eprop_loops
(EPROP.2)  spike = step(v - v_th - bt ad), ad = dec ad' + spike'                  spiking_run
           ea = dec ea' + e', e[i,j] = psi[i] (zbar[j] - bt ea[i,j])              eprop_loops
(EPROP.3)  g[i,j] = sum_{t,b} Lsig[b,i] e[b,i,j]                                  eprop_loops
(DNI.1)    sg[b,k] = sum_j A[k,j] zt[b,j], zt = [h; y; 1]                         dni_loops
(DNI.2)    target[k] = q_{t-1}[k] + sum_i J_t[i,k] (A^- zt_t)[i],                 dni_loops
           A[k,j] <- A[k,j] - eta mean_b (A zt_{t-1} - target)[k] zt_{t-1}[j]
(DNI.3)    g[i,j] = sum_{t,b} D_t[b,i] sg_t[b,i] z_t[b,j]                         dni_loops
=========  =====================================================================  =======================

A spiking cell is a dict: "kappa", "threshold", "slope", "spike" ("hard" or "smooth"), and of an ALIF "rho" and
"adaptation". Its state is [spike; v], of an ALIF [spike; v; ad], (B, N). A prime marks the step before.
"""

from typing import NamedTuple

import numpy as np

from .temporal_loops import resets, rnn_jacobian, rnn_step
from .temporal_problems import away, counted, recurrent_weights, returns

# ---------------------------------------------------------------------- cells, in complex numbers if the step wants it


def logistic(x):
    """1 / (1 + e^-x), of complex numbers, too."""
    return 1 / (1 + np.exp(-x))


def spiking_run(cell, p, inputs, state, reset=None, given=None):
    """States (T, B, N), (EPROP.1), (EPROP.2). ``given (T, B, n)``: spikes that the weights receive instead of their own."""
    n, start, states = p["W"].shape[0], state, []
    alif = "rho" in cell
    for t, u in enumerate(inputs):
        if reset is not None:
            state = np.where(reset[t][:, None], start, state)
        before, v = state[:, :n], state[:, n : 2 * n]
        received = before if given is None else given[t]
        v = cell["kappa"] * v + received @ p["W"].T + u @ p["U"].T + p["b"]  # (EPROP.1)
        x = v - cell["threshold"]
        parts = [v]
        if alif:
            ad = cell["rho"] * state[:, 2 * n :] + before  # (EPROP.2)
            x = x - cell["adaptation"] * ad
            parts.append(ad)
        smooth = cell["spike"] == "smooth"
        spike = logistic(cell["slope"] * x) if smooth else np.heaviside(x, 0.0)
        state = np.concatenate([spike, *parts], axis=1)
        states.append(state)
    return np.stack(states)


def received(cell, p, inputs, state, reset=None):
    """The spikes (T, B, n) that the weights receive at every step of a run."""
    n, states = p["W"].shape[0], spiking_run(cell, p, inputs, state, reset)
    before = np.concatenate([state[None], states[:-1]])
    if reset is not None:
        before = np.where(reset[:, :, None], state, before)
    return before[:, :, :n]


class Spiking(NamedTuple):
    """A spiking cell under a linear readout, with data."""

    cell: dict
    params: list  # [{"W", "U", "b"}, {"W", "b"}]
    inputs: np.ndarray  # (T, B, m)
    targets: np.ndarray  # (T, B, o)
    mask: np.ndarray  # (T, B) bool
    h0: np.ndarray  # (B, N)
    reset: np.ndarray | None


def make_spiking(rng, kind="any", spike="smooth", reset=False, T=5, B=3):
    """A random problem: nothing zero, nothing symmetric, every unit now below and now above its threshold."""
    n, m, o = (int(v) for v in rng.permutation([3, 4, 5]))
    kind = str(rng.choice(["lif", "alif"])) if kind == "any" else kind
    cell = {
        "kappa": float(rng.uniform(0.4, 0.9)),
        "threshold": float(rng.uniform(0.4, 1.0)),
        "slope": float(rng.uniform(1.0, 3.0)),
        "spike": spike,
    }
    if kind == "alif":
        cell |= {"rho": float(rng.uniform(0.5, 0.95)), "adaptation": float(rng.uniform(0.4, 1.0))}
    p = {
        "W": recurrent_weights(rng, n, 1, "any"),
        "U": rng.standard_normal((n, m)),
        "b": away(rng, n),
    }
    readout = {"W": rng.standard_normal((o, n)), "b": away(rng, o)}
    N = (3 if kind == "alif" else 2) * n
    back = returns(rng, T, B) if reset else None
    return Spiking(
        cell,
        [p, readout],
        rng.standard_normal((T, B, m)),
        rng.standard_normal((T, B, o)),
        counted(rng, T, B),
        away(rng, B, N),
        back,
    )


def spiking_loss(problem, params, given=None):
    """The squared error summed over time and batch; a complex number if the parameters are."""
    q, n = problem, params[0]["W"].shape[0]
    states = spiking_run(q.cell, params[0], q.inputs, q.h0, q.reset, given)
    eps = states[:, :, :n] @ params[1]["W"].T + params[1]["b"] - q.targets
    return (0.5 * (eps * eps).sum(axis=2) * q.mask).sum()


def spiking_gradient(problem, cut):
    """Gradient by complex step, structured as ``params``; ``cut``: the weights receive given spikes."""
    given = (
        received(problem.cell, problem.params[0], problem.inputs, problem.h0, problem.reset) if cut else None
    )
    found = []
    for l, p in enumerate(problem.params):
        found.append({})
        for name, value in p.items():
            derivative = np.zeros(value.shape)
            for i in np.ndindex(value.shape):
                moved = value.astype(complex)
                moved[i] += 1e-200j
                params = [*problem.params[:l], {**p, name: moved}, *problem.params[l + 1 :]]
                derivative[i] = np.imag(spiking_loss(problem, params, given)) / 1e-200
            found[-1][name] = derivative
    return found


# ---------------------------------------------------------------------- index loops


def eprop_loops(problem, feedback=None, adaptation=None):
    """Gradient {"W", "U", "b"} of the cell by the traces, (EPROP.1)-(EPROP.3), entry by entry.

    ``feedback (n, o)`` replaces the transpose of the readout in Lsig. ``adaptation`` replaces bt in the traces (not in
    the cell): zero drops the term.
    """
    q, (p, readout) = problem, problem.params
    (T, B, m), (n, _) = q.inputs.shape, p["W"].shape
    o, width, cell = len(readout["b"]), n + m + 1, problem.cell
    kap, k = cell["kappa"], cell["slope"]
    dec = cell.get("rho", 0.0)
    bt = cell.get("adaptation", 0.0)
    in_traces = bt if adaptation is None else adaptation
    alif, total = "rho" in cell, np.zeros((n, width))
    states = spiking_run(cell, p, q.inputs, q.h0, q.reset)
    back = readout["W"].T if feedback is None else feedback
    for b in range(B):
        zbar, ea, e = [0.0] * width, np.zeros((n, width)), np.zeros((n, width))
        before = list(q.h0[b])
        for t in range(T):
            if resets(q.reset, t, b):
                before, zbar, ea, e = list(q.h0[b]), [0.0] * width, np.zeros((n, width)), np.zeros((n, width))
            z = [*before[:n], *q.inputs[t, b], 1.0]
            now = states[t, b]
            for j in range(width):
                zbar[j] = kap * zbar[j] + z[j]  # (EPROP.1)
            for i in range(n):
                x = now[n + i] - cell["threshold"] - (bt * now[2 * n + i] if alif else 0.0)
                r = logistic(k * x)
                psi = k * r * (1 - r)
                for j in range(width):
                    ea[i, j] = dec * ea[i, j] + e[i, j]  # (EPROP.2): e is still that of the step before
                    e[i, j] = psi * (zbar[j] - in_traces * ea[i, j])  # (EPROP.1), (EPROP.2)
            if q.mask[t, b]:
                yhat = [
                    sum(readout["W"][a, i] * now[i] for i in range(n)) + readout["b"][a] for a in range(o)
                ]
                for i in range(n):
                    signal = sum(back[i, a] * (yhat[a] - q.targets[t, b, a]) for a in range(o))
                    for j in range(width):
                        total[i, j] += signal * e[i, j]  # (EPROP.3)
            before = list(now)
    return {"W": total[:, :n], "U": total[:, n : n + m], "b": total[:, n + m]}


class Synthetic(NamedTuple):
    """What :func:`dni_loops` finds: the gradient, A and its frozen copy at the end, and the targets (T - 1, B, n)."""

    gradient: dict
    A: np.ndarray
    frozen: np.ndarray
    targets: np.ndarray


def dni_loops(block, p, inputs, targets, credit, h0, A, eta, refresh, mask=None, reset=None):
    """(DNI.1)-(DNI.3) of a recurrent net, entry by entry; ``credit`` is q_t (T, B, n), ``A (n, n + o + 1)``.

    A learns at step t from step t - 1, and speaks at step t after that. Where a lane is reset before step t, nothing
    comes from later: the target of t - 1 is q_{t-1}.
    """
    (T, B, m), n, o = inputs.shape, h0.shape[1], targets.shape[2]
    A, frozen = A.copy(), A.copy()
    width, seen = n + m + 1, n + o + 1
    total, wanted = np.zeros((n, width)), []
    h, before = h0.copy(), None
    for t in range(T):
        zt, z, D, J = np.zeros((B, seen)), np.zeros((B, width)), np.zeros((B, n)), np.zeros((B, n, n))
        for b in range(B):
            start = h0[b] if resets(reset, t, b) else h[b]
            new, z[b], D[b] = rnn_step(block, p, list(start), inputs[t, b])
            J[b] = rnn_jacobian(block, p, list(start), D[b])
            y = [targets[t, b, a] if mask is None or mask[t, b] else 0.0 for a in range(o)]
            zt[b] = [*new, *y, 1.0]  # (DNI.1)
            h[b] = new
        if before is not None:
            wish, change = np.zeros((B, n)), np.zeros(A.shape)
            for b in range(B):
                later = [sum(frozen[i, j] * zt[b, j] for j in range(seen)) for i in range(n)]
                for k in range(n):
                    wish[b, k] = credit[t - 1, b, k]  # (DNI.2)
                    if not resets(reset, t, b):
                        wish[b, k] += sum(J[b, i, k] * later[i] for i in range(n))  # (DNI.2)
                    said = sum(A[k, j] * before[b, j] for j in range(seen))
                    for j in range(seen):
                        change[k, j] += (said - wish[b, k]) * before[b, j] / B  # (DNI.2)
            A = A - eta * change
            wanted.append(wish)
        if (t + 1) % refresh == 0:
            frozen = A.copy()
        for b in range(B):
            for i in range(n):
                sg = sum(A[i, j] * zt[b, j] for j in range(seen))  # (DNI.1)
                for j in range(width):
                    total[i, j] += D[b, i] * sg * z[b, j]  # (DNI.3)
        before = zt
    gradient = {"W": total[:, :n], "U": total[:, n : n + m], "b": total[:, n + m]}
    return Synthetic(gradient, A, frozen, np.array(wanted))
