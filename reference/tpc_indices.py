"""Index loops of tPC-RTRL: one lane, one recurrent net, a linear readout, every index spelled out.

=========  =====================================================================  =======================
id         equation, entry by entry                                               function
=========  =====================================================================  =======================
(tPC.1)    mu[i] = f(c, u)[i], eps[i] = s[i] - mu[i]                              rnn_tpc
(tPC.4)    dF/ds[i] = sum_j Pi[i,j] eps[j] + beta sum_o V[o,i] dy[o]              slope
(tPC.8)    not observed: dy = 0                                                   output
(TPR.1)    J and Mbar at the carried state                                        rnn_tpc
(TPR.2)    M[k,i,j] = [k=i] D[i] z[j] + sum_m J[k,m] S[m,i,j]                     rnn_tpc
(TPR.3)    g[i,j] -= 1/beta sum_{k,m} eps[m] Pi[m,k] M[k,i,j]                     rnn_tpc
(TPR.4)    c = s or mu                                                            rnn_tpc
(TPR.5)    S = 0, M, Damp M, or M[k] Pi[k,k]/H[k,k]                               rnn_tpc
(TPR.6)    H[i,j] = Pi[i,j] + beta sum_{o,p} V[o,i] d2L[o,p] V[p,j]               hessian
(TPR.7)    d2L/(ds[k] dV[o,j]) = [k=j] dy[o] + sum_p V[p,k] d2L[p,o] s[j]         rnn_tpc
=========  =====================================================================  =======================

The readout is yhat = V s + b_V; dy and d2L are the first and second derivatives of L_t by yhat. The inferred states
are given; :func:`descend` finds them by N steps as (tPC.4) writes them.
"""

import math

import numpy as np

from .temporal_loops import rnn_jacobian, rnn_step


def output(loss, V, b, s, y, seen):
    """(dy (o,), d2L (o, o)) at the state s, zero where nothing is observed (tPC.8)."""
    o, n = V.shape
    yhat = [sum(V[k, i] * s[i] for i in range(n)) + b[k] for k in range(o)]
    dy, curved = [0.0] * o, np.zeros((o, o))
    if not seen:
        return dy, curved
    if loss == "mse":
        for k in range(o):
            dy[k], curved[k, k] = yhat[k] - y[k], 1.0
        return dy, curved
    top = max(yhat)
    weights = [math.exp(v - top) for v in yhat]
    share = [w / sum(weights) for w in weights]
    for k, p in np.ndindex(o, o):
        curved[k, p] = share[k] * (k == p) - share[k] * share[p]
    for k in range(o):
        dy[k] = share[k] - (float(k == y) if np.ndim(y) == 0 else y[k])  # a label, or a row
    return dy, curved


def slope(Pi, beta, V, mu, s, dy):
    """dF/ds (n,), (tPC.4)."""
    n, o = len(s), len(dy)
    return [
        sum(Pi[i, j] * (s[j] - mu[j]) for j in range(n)) + beta * sum(V[k, i] * dy[k] for k in range(o))
        for i in range(n)
    ]


def descend(loss, Pi, beta, readout, mu, s, y, seen, steps, step_size):
    """s (n,) after some steps of gradient descent from s, (tPC.4)."""
    s = list(s)
    for _ in range(steps):
        dy, _ = output(loss, readout["W"], readout["b"], s, y, seen)
        down = slope(Pi, beta, readout["W"], mu, s, dy)
        s = [s[i] - step_size * down[i] for i in range(len(s))]  # (tPC.4)
    return s


def hessian(Pi, beta, V, curved):
    """H (n, n), (TPR.6)."""
    n, o = len(Pi), len(V)
    H = np.zeros((n, n))
    for i, j in np.ndindex(n, n):
        bent = sum(V[k, i] * curved[k, p] * V[p, j] for k in range(o) for p in range(o))
        H[i, j] = Pi[i, j] + beta * bent  # (TPR.6)
    return H


def rnn_tpc(block, p, readout, loss, inputs, targets, seen, h0, Pi, beta, influence, carry, infer):
    """Gradient {"W", "U", "b"} of the cell and {"W", "b"} of the readout, states s (T, n), S (n, n, n_z) at the end.

    One lane: inputs (T, m), targets (T, o) or labels (T,), seen (T,), h0 (n,). ``infer(mu, c, y, seen)`` returns the
    inferred state of a step. The influence of the readout's parameters on the state is kept where it is "implicit".
    """
    T, m = inputs.shape
    n, o = len(h0), len(readout["W"])
    width = n + m + 1
    V = readout["W"]
    total, above = np.zeros((n, width)), np.zeros((o, n + 1))
    S, R, c, states = np.zeros((n, n, width)), np.zeros((n, o, n + 1)), list(h0), []
    for t in range(T):
        mu, z, D = rnn_step(block, p, c, inputs[t])  # (tPC.1)
        J = rnn_jacobian(block, p, c, D)  # (TPR.1)
        M, N = np.zeros((n, n, width)), np.zeros((n, o, n + 1))
        for k, i, j in np.ndindex(n, n, width):
            M[k, i, j] = (k == i) * D[i] * z[j] + sum(J[k, r] * S[r, i, j] for r in range(n))  # (TPR.2)
        for k, i, j in np.ndindex(n, o, n + 1):
            N[k, i, j] = sum(J[k, r] * R[r, i, j] for r in range(n))  # (TPR.2)
        s = infer(mu, c, targets[t], seen[t])
        eps = [s[i] - mu[i] for i in range(n)]  # (tPC.1)
        xi = [sum(Pi[k, r] * eps[r] for r in range(n)) for k in range(n)]
        dy, curved = output(loss, V, readout["b"], s, targets[t], seen[t])
        regressor = [*s, 1.0]
        for i, j in np.ndindex(n, width):
            total[i, j] -= sum(xi[k] * M[k, i, j] for k in range(n)) / beta  # (TPR.3)
        for i, j in np.ndindex(o, n + 1):
            above[i, j] += dy[i] * regressor[j]  # (TPR.3): the local gradient
            above[i, j] -= sum(xi[k] * N[k, i, j] for k in range(n)) / beta  # (TPR.8)
        H = hessian(Pi, beta, V, curved)
        S, R = np.zeros(S.shape), np.zeros(R.shape)
        if influence == "implicit" and carry == "state":
            inverse = np.linalg.inv(H)
            for k, i, j in np.ndindex(n, n, width):
                S[k, i, j] = sum(
                    inverse[k, r] * Pi[r, q] * M[q, i, j] for r in range(n) for q in range(n)
                )  # (TPR.5)
            for k, i, j in np.ndindex(n, o, n + 1):
                for r in range(n):
                    mixed = (r == j) * dy[i] + sum(V[q, r] * curved[q, i] for q in range(o)) * regressor[j]
                    PiN = sum(Pi[r, q] * N[q, i, j] for q in range(n))
                    R[k, i, j] += inverse[k, r] * (PiN - beta * mixed)  # (TPR.7)
        elif influence == "diag" and carry == "state":
            for k, i, j in np.ndindex(n, n, width):
                S[k, i, j] = Pi[k, k] / H[k, k] * M[k, i, j]  # (TPR.5)
        elif influence is not None:
            S = M  # (TPR.5): plain; and what is carried is mu, whose influence is M
        states.append(s)
        c = s if carry == "state" else mu  # (TPR.4)
    gradient = {"W": total[:, :n], "U": total[:, n : n + m], "b": total[:, n + m]}
    return gradient, {"W": above[:, :n], "b": above[:, n]}, np.array(states), S
