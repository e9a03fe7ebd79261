"""Index loops in time: BPTT, RTRL and the traces of diagonal cells with every index spelled out.

Arrays only store numbers here; each sum over t, b, i, j or k of the equations is a visible Python sum or loop.

=========  =====================================================================  =======================
id         equation, entry by entry                                               function
=========  =====================================================================  =======================
(RNN.1)    a[b,i] = sum_j W[i,j] h'[b,j] + sum_j U[i,j] u[b,j] + b[i],            rnn_step, post
           h[b,i] = (1-alpha) h'[b,i] + alpha phi(a[b,i])
(RNN.2)    the same with phi(h'[b,j]) for h'[b,j] and a for phi(a)                rnn_step, pre
(RNN.3)    z[b,:] = h' or phi(h'), then u, then 1; D[b,i] = alpha phi'(a), alpha  rnn_step
(RNN.4)    J[b,k,i] = (1-alpha) [k=i] + alpha phi'(a[b,k]) W[k,i]                 rnn_jacobian, post
           J[b,k,i] = (1-alpha) [k=i] + alpha W[k,i] phi'(h'[b,i])                rnn_jacobian, pre
(RNN.5)    Mbar[b,k,i,j] = [k=i] D[b,i] z[b,j]                                    rnn_stack_rtrl
(RNN.6)    dL_t/dyhat[b,i] = yhat[b,i] - y[b,i], or softmax(yhat)[i] - y[b,i]     output_credit
(BPTT.1)   p_t[b,j] = q_t[b,j] + sum_i J_{t+1}[b,i,j] p_{t+1}[b,i]                rnn_bptt
(BPTT.2)   dLoss/dTheta[i,j] = sum_{t,b} D_t[b,i] p_t[b,i] z_t[b,j]               rnn_bptt
(BPTT.3)   dLoss/dh_0[b,j] = sum_i J_1[b,i,j] p_1[b,i]                            rnn_bptt
(RTRL.1)   M_t[b,k,i,j] = sum_m J_t[b,k,m] M_{t-1}[b,m,i,j] + Mbar_t[b,k,i,j]     rnn_stack_rtrl
(RTRL.2)   d(L_1+..+L_t)/dTheta[i,j] = sum_{s<=t,b,k} q_s[b,k] M_s[b,k,i,j]       rnn_stack_rtrl
(RTRL.6)   before a step that is reset: h[b,:] = h_0[b,:] and M[b,:,:,:] = 0      all
(HYB.1)    BPTT inside a block, and what is before it through M                   rnn_hybrid
(HYB.2)    R_s[k,i] = (J .. J_{s+1})[k,i] D_s[i], M <- (J .. J) M + sum R_s z_s   rnn_hybrid
(HYB.4)    E <- zeta^K E + sum_s zeta^(K-s) gam u_s, in real numbers              lru_block_trace
(STACK.2)  M^(l,k)_t = A^l M^(l,k)_{t-1} + G^l M^(l-1,k)_t + [l=k] Mbar^l_t       rnn_stack_rtrl
(STACK.3)  dLoss/dTheta^k = sum_t (q^L_t)^T M^(L,k)_t                             rnn_stack_rtrl
(GRU.2)    J[k,i] of the gated recurrent unit                                     gru_jacobians
(GRU.3)    its Mbar                                                               gru_jacobians
(LSTM.2)   J[k,i] of the long short-term memory                                   lstm_jacobians
(LSTM.3)   its Mbar                                                               lstm_jacobians
(LRU.4)    delta[b,i] = sum_o conj(C[o,i]) dy[b,o]                                lru_traces
(LRU.5)    q[b,i] = sum_o C[o,i] dy[b,o]                                          lru_traces
(LRU.6)    ez <- zeta ez + h', eg <- zeta eg + (B u), EB <- zeta EB + gam u       lru_traces
(LRU.7)    g_nu, g_th, g_lg                                                       lru_traces
(LRU.8)    g_B_re, g_B_im, g_C_re, g_C_im, g_D                                    lru_traces
(LRU.9)    what tied gam adds to g_nu                                             lru_traces
(ELSTM.2)  Az, Af, kk                                                             elstm_traces
(ELSTM.3)  Tr <- kk Tr + what the step adds                                       elstm_traces
(RTU.3)    dgg/dnu, dph/dnu, dgam/dnu, dgg/dth, dph/dth                           rtu_traces
(RTU.4)    the pairs of traces                                                    rtu_traces
(STACK.5)  X[i,j] <- z2[i] X[i,j] + B2[i,j] phi'(h1[j]) ez1[j]                    real_diagonal_stack
(STACK.6)  X[i,j] <- zeta2[i] X[i,j] + gam2[i] sum_v B2[i,v] Ev[v,j]              lru_stack
=========  =====================================================================  =======================

Conventions as in ``temporal_oracles``: time first, batch second; gradients are sums over batch and time. The
functions take ``credit``, dL_t/d(output of the cell at t), (T, B, ...), zero where no target is, instead of a
loss. A state of the LRU is complex here, (B, n), and so is its ``initial``, delta of (LRU.4).
"""

import cmath
import math

import numpy as np

from .index_loops import ACTIVATIONS, output_error, sigmoid

tanh = math.tanh


def output_credit(loss, outputs, targets, mask=None):
    """dL_t/dyhat_t (T, B, o), zero where the mask says so, (RNN.6)."""
    credit = np.zeros(outputs.shape)
    for t, yhat in enumerate(outputs):
        xi = output_error(loss, yhat, targets[t])
        for b, i in np.ndindex(*yhat.shape):
            credit[t, b, i] = -xi[b, i] if mask is None or mask[t, b] else 0.0  # (RNN.6)
    return credit


def resets(reset, t, b):
    """Whether lane b goes back to its initial state before step t."""
    return reset is not None and bool(reset[t, b])


# The recurrent net


def rnn_step(block, p, h, u):
    """(h_t, z_t, D_t) of one lane: lists of n, n_z and n numbers, (RNN.1)-(RNN.3)."""
    phi, dphi = ACTIVATIONS[block["activation"]]
    alpha, n, m = block["alpha"], len(h), len(u)
    post = block["form"] == "post"
    seen = [h[j] if post else phi(h[j]) for j in range(n)]
    a = [
        sum(p["W"][i, j] * seen[j] for j in range(n)) + sum(p["U"][i, j] * u[j] for j in range(m)) + p["b"][i]
        for i in range(n)
    ]
    new = [(1 - alpha) * h[i] + alpha * (phi(a[i]) if post else a[i]) for i in range(n)]  # (RNN.1), (RNN.2)
    D = [alpha * (dphi(a[i]) if post else 1.0) for i in range(n)]  # (RNN.3)
    return new, [*seen, *u, 1.0], D


def rnn_jacobian(block, p, h, D):
    """J (n, n) of one lane from h_{t-1} and D_t, (RNN.4)."""
    _, dphi = ACTIVATIONS[block["activation"]]
    alpha, n = block["alpha"], len(h)
    J = np.zeros((n, n))
    for k, i in np.ndindex(n, n):
        stays = (1 - alpha) * (k == i)
        if block["form"] == "post":
            J[k, i] = stays + D[k] * p["W"][k, i]  # (RNN.4) post form
        else:
            J[k, i] = stays + alpha * p["W"][k, i] * dphi(h[i])  # (RNN.4) pre form
    return J


def unpack(Theta, n, m):
    """{"W", "U", "b"} from Theta = [W U b] (n, n + m + 1)."""
    return {"W": Theta[:, :n], "U": Theta[:, n : n + m], "b": Theta[:, n + m]}


def rnn_bptt(block, p, inputs, credit, h0, reset=None):
    """(gradient, dLoss/dh_0 (B, n), total credits p_t (T, B, n)), (BPTT.1)-(BPTT.3)."""
    T, B, m = inputs.shape
    n = h0.shape[1]
    gradient, initial, total = np.zeros((n, n + m + 1)), np.zeros((B, n)), np.zeros((T, B, n))
    for b in range(B):
        h, tape = list(h0[b]), []
        for t in range(T):
            h = list(h0[b]) if resets(reset, t, b) else h
            new, z, D = rnn_step(block, p, h, inputs[t, b])
            tape.append((z, D, rnn_jacobian(block, p, h, D)))
            h = new
        later = [0.0] * n  # J_{t+1}^T p_{t+1}
        for t in reversed(range(T)):
            z, D, J = tape[t]
            for j in range(n):
                total[t, b, j] = credit[t, b, j] + later[j]  # (BPTT.1)
            for i, j in np.ndindex(n, n + m + 1):
                gradient[i, j] += D[i] * total[t, b, i] * z[j]  # (BPTT.2)
            later = [sum(J[i, j] * total[t, b, i] for i in range(n)) for j in range(n)]
            if resets(reset, t, b) or t == 0:
                for j in range(n):
                    initial[b, j] += later[j]  # (BPTT.3): what goes back beyond a start arrives at h_0
                later = [0.0] * n
    return unpack(gradient, n, m), initial, total


def rnn_stack_rtrl(blocks, params, inputs, credit, h0, reset=None):
    """(prefix gradients, influences) of RNN cells one over the other, (RTRL.1), (RTRL.2), (STACK.2), (STACK.3).

    The first is a list over t of lists over the cells of {"W", "U", "b"}; the second holds M^(l,k) at the end,
    a dict from (l, k) to (B, n_l, n_k, n_z), cells counted from zero. One cell alone is RTRL itself.
    """
    T, B, _ = inputs.shape
    L = len(blocks)
    n = [h.shape[1] for h in h0]
    m = [inputs.shape[2], *n[:-1]]
    width = [n[k] + m[k] + 1 for k in range(L)]
    M = {(l, k): np.zeros((B, n[l], n[k], width[k])) for l in range(L) for k in range(l + 1)}  # (RTRL.1): M_0
    total = [np.zeros((n[k], width[k])) for k in range(L)]
    h = [start.copy() for start in h0]
    prefixes = []
    for t in range(T):
        for b in range(B):
            if resets(reset, t, b):
                for l in range(L):
                    h[l][b] = h0[l][b]
                    for k in range(l + 1):
                        M[l, k][b] = 0.0  # (RTRL.6)
            u = inputs[t, b]
            for l in range(L):
                new, z, D = rnn_step(blocks[l], params[l], h[l][b], u)
                J = rnn_jacobian(blocks[l], params[l], h[l][b], D)
                for k in range(l + 1):
                    before = M[l, k][b].copy()
                    for r, i, j in np.ndindex(n[l], n[k], width[k]):
                        value = sum(J[r, s] * before[s, i, j] for s in range(n[l]))  # (RTRL.1)
                        if k < l:  # G^l[r,s] = D[r] U[r,s], and M^(l-1,k) is that of this step
                            below = M[l - 1, k][b]
                            value += sum(
                                D[r] * params[l]["U"][r, s] * below[s, i, j] for s in range(n[l - 1])
                            )  # (STACK.2)
                        elif r == i:
                            value += D[i] * z[j]  # (RNN.5)
                        M[l, k][b, r, i, j] = value
                h[l][b] = new
                u = new
            for k in range(L):
                for i, j in np.ndindex(n[k], width[k]):
                    total[k][i, j] += sum(
                        credit[t, b, r] * M[L - 1, k][b, r, i, j] for r in range(n[-1])
                    )  # (STACK.3)
        prefixes.append([unpack(total[k].copy(), n[k], m[k]) for k in range(L)])  # (RTRL.2)
    return prefixes, M


def rnn_hybrid(block, p, inputs, credit, h0, length):
    """RTRL in blocks of ``length`` steps, the last one as long as it is, (HYB.1), (HYB.2).

    Returns the gradients of the prefixes that end with a block, a dict from the number of steps to
    {"W", "U", "b"}, and the influence at the end (B, n, n, n_z).
    """
    T, B, m = inputs.shape
    n = h0.shape[1]
    width = n + m + 1
    total, M, h, prefixes = np.zeros((n, width)), np.zeros((B, n, n, width)), h0.copy(), {}
    for first in range(0, T, length):
        steps = range(first, min(first + length, T))
        for b in range(B):
            tape = {}
            for t in steps:
                new, z, D = rnn_step(block, p, h[b], inputs[t, b])
                tape[t] = (z, D, rnn_jacobian(block, p, h[b], D))
                h[b] = new
            later = [0.0] * n  # p is cut at the end of the block, (HYB.1)
            product = np.eye(n)  # J of the last step ... J of step s+1
            added = np.zeros((n, n, width))
            for t in reversed(steps):
                z, D, J = tape[t]
                credits = [credit[t, b, j] + later[j] for j in range(n)]  # (HYB.1)
                for i, j in np.ndindex(n, width):
                    total[i, j] += D[i] * credits[i] * z[j]  # (HYB.1) inside the block
                    for k in range(n):
                        added[k, i, j] += product[k, i] * D[i] * z[j]  # (HYB.2): R_s[k,i] z_s[j]
                later = [sum(J[i, j] * credits[i] for i in range(n)) for j in range(n)]
                product = np.array(
                    [[sum(product[k, r] * J[r, i] for r in range(n)) for i in range(n)] for k in range(n)]
                )
            before = M[b].copy()
            for i, j in np.ndindex(n, width):
                total[i, j] += sum(later[r] * before[r, i, j] for r in range(n))  # (HYB.1): all before it
                for k in range(n):
                    carried = sum(product[k, r] * before[r, i, j] for r in range(n))
                    M[b, k, i, j] = carried + added[k, i, j]  # (HYB.2)
        prefixes[steps[-1] + 1] = unpack(total.copy(), n, m)
    return prefixes, M


# Gated cells: the Jacobians of one step of one lane


def gru_jacobians(p, h, u):
    """(J (n, n), {"W", "U", "b"} of (n, 3n, ..)) of one lane; gates r, z, c, (GRU.2), (GRU.3)."""
    n, m = len(h), len(u)
    W, U, b = p["W"], p["U"], p["b"]
    J = np.zeros((n, n))
    Mbar = {"W": np.zeros((n, 3 * n, n)), "U": np.zeros((n, 3 * n, m)), "b": np.zeros((n, 3 * n))}
    for k in range(n):
        own = [sum(W[g * n + k, j] * h[j] for j in range(n)) for g in range(3)]
        fed = [sum(U[g * n + k, j] * u[j] for j in range(m)) + b[g * n + k] for g in range(3)]
        r, z = sigmoid(own[0] + fed[0]), sigmoid(own[1] + fed[1])
        c = tanh(r * own[2] + fed[2])
        Dz, Dc = (h[k] - c) * z * (1 - z), (1 - z) * (1 - c**2)
        Dr = Dc * own[2] * r * (1 - r)
        for i in range(n):
            J[k, i] = z * (k == i) + Dr * W[k, i] + Dz * W[n + k, i] + Dc * r * W[2 * n + k, i]  # (GRU.2)
        for g, (D, through) in enumerate(((Dr, Dr), (Dz, Dz), (Dc, Dc * r))):
            row = g * n + k
            for j in range(n):
                Mbar["W"][k, row, j] = through * h[j]  # (GRU.3)
            for j in range(m):
                Mbar["U"][k, row, j] = D * u[j]  # (GRU.3)
            Mbar["b"][k, row] = D  # (GRU.3)
    return J, Mbar


def lstm_jacobians(p, state, u):
    """(J (2n, 2n), {"W", "U", "b"} of (2n, 4n, ..)) of one lane; gates i, f, g, o, (LSTM.2), (LSTM.3)."""
    n, m = len(state) // 2, len(u)
    W, U, b = p["W"], p["U"], p["b"]
    h, c = state[:n], state[n:]
    J = np.zeros((2 * n, 2 * n))
    Mbar = {
        "W": np.zeros((2 * n, 4 * n, n)),
        "U": np.zeros((2 * n, 4 * n, m)),
        "b": np.zeros((2 * n, 4 * n)),
    }
    for k in range(n):
        a = [
            sum(W[g * n + k, j] * h[j] for j in range(n))
            + sum(U[g * n + k, j] * u[j] for j in range(m))
            + b[g * n + k]
            for g in range(4)
        ]
        i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), tanh(a[2]), sigmoid(a[3])
        top = tanh(f * c[k] + i * g)
        kk = o * (1 - top**2)  # dh/dc
        in_c = [g * i * (1 - i), c[k] * f * (1 - f), i * (1 - g**2), 0.0]  # dc/da of the four gates
        in_h = [kk * in_c[0], kk * in_c[1], kk * in_c[2], top * o * (1 - o)]  # dh/da
        for row, D, kept in ((k, in_h, kk * f), (n + k, in_c, f)):
            for j in range(n):
                J[row, j] = sum(D[x] * W[x * n + k, j] for x in range(4))  # (LSTM.2) from h'
            J[row, n + k] = kept  # (LSTM.2) from c'
            for x in range(4):
                for j in range(n):
                    Mbar["W"][row, x * n + k, j] = D[x] * h[j]  # (LSTM.3)
                for j in range(m):
                    Mbar["U"][row, x * n + k, j] = D[x] * u[j]  # (LSTM.3)
                Mbar["b"][row, x * n + k] = D[x]  # (LSTM.3)
    return J, Mbar


# Diagonal cells: one trace for each parameter, number by number


def lru_modes(p, i, gamma):
    """zeta and gam of mode i, (LRU.1), (LRU.9)."""
    zeta = cmath.exp(complex(-math.exp(p["nu"][i]), math.exp(p["th"][i])))  # (LRU.1)
    return zeta, math.exp(p["lg"][i]) if gamma == "free" else math.sqrt(1 - abs(zeta) ** 2)


def lru_traces(p, inputs, credit, h0, gamma="free", reset=None):
    """(gradient, dLoss/dh_0 (B, n), complex): the traces of one LRU, (LRU.4)-(LRU.9); ``h0`` is complex."""
    T, B, m = inputs.shape
    n, o = len(p["nu"]), len(p["D"])
    g = {name: np.zeros(value.shape) for name, value in p.items() if not name.startswith("h0")}
    initial = np.zeros((B, n), complex)
    for b in range(B):
        for i in range(n):
            zeta, gam = lru_modes(p, i, gamma)
            nu, angle = math.exp(p["nu"][i]), math.exp(p["th"][i])
            Bc = [complex(p["B_re"][i, j], p["B_im"][i, j]) for j in range(m)]
            h, ez, eg, e0, EB = complex(h0[b, i]), 0j, 0j, 1 + 0j, [0j] * m
            for t in range(T):
                u, dy = inputs[t, b], credit[t, b]
                if resets(reset, t, b):
                    h, ez, eg, e0, EB = complex(h0[b, i]), 0j, 0j, 1 + 0j, [0j] * m  # (RTRL.6)
                fed = sum(Bc[j] * u[j] for j in range(m))
                ez = zeta * ez + h  # (LRU.6): h is still h_{t-1}
                eg = zeta * eg + fed  # (LRU.6)
                EB = [zeta * EB[j] + gam * u[j] for j in range(m)]  # (LRU.6)
                e0 = zeta * e0
                h = zeta * h + gam * fed  # (LRU.2)
                q = sum(complex(p["C_re"][k, i], p["C_im"][k, i]) * dy[k] for k in range(o))  # (LRU.5)
                g["nu"][i] += (q * ez * (-nu * zeta)).real  # (LRU.7)
                g["th"][i] += (q * ez * (1j * angle * zeta)).real  # (LRU.7)
                if gamma == "free":
                    g["lg"][i] += gam * (q * eg).real  # (LRU.7)
                else:
                    g["nu"][i] += (q * eg).real * nu * abs(zeta) ** 2 / gam  # (LRU.9)
                for j in range(m):
                    g["B_re"][i, j] += (q * EB[j]).real  # (LRU.8)
                    g["B_im"][i, j] -= (q * EB[j]).imag  # (LRU.8)
                for k in range(o):
                    g["C_re"][k, i] += dy[k] * h.real  # (LRU.8)
                    g["C_im"][k, i] -= dy[k] * h.imag  # (LRU.8)
                initial[b, i] += (q * e0).conjugate()  # (LRU.4): delta = conj(q)
        for t in range(T):
            for k in range(o):
                for j in range(m):
                    g["D"][k, j] += credit[t, b, k] * inputs[t, b, j]  # (LRU.8)
    return g, initial


def lru_block_trace(p, inputs, gamma, length):
    """E^B at the end (B, n, m, 2), real and imaginary part, advanced once a block of ``length`` steps, (HYB.4)."""
    T, B, m = inputs.shape
    n = len(p["nu"])
    E = np.zeros((B, n, m, 2))
    for first in range(0, T, length):
        last = min(first + length, T)
        for i in range(n):
            zeta, gam = lru_modes(p, i, gamma)
            powers = [zeta**k for k in range(last - first + 1)]
            real, imaginary = [power.real for power in powers], [power.imag for power in powers]
            for b, j in np.ndindex(B, m):
                re, im = E[b, i, j]
                kept = real[-1] * re - imaginary[-1] * im, real[-1] * im + imaginary[-1] * re
                for part, rows in enumerate((real, imaginary)):
                    fed = sum(rows[last - 1 - t] * gam * inputs[t, b, j] for t in range(first, last))
                    E[b, i, j, part] = kept[part] + fed  # (HYB.4)
    return E


def lru_bptt(p, credit, gamma="free"):
    """Total credits p_t (T, B, n), complex, and dLoss/dh_0 as delta: (BPTT.1) as (LRU.5) writes it."""
    T, B, o = credit.shape
    n = len(p["nu"])
    total, initial = np.zeros((T, B, n), complex), np.zeros((B, n), complex)
    for i in range(n):
        zeta, _ = lru_modes(p, i, gamma)
        for b in range(B):
            later = 0j
            for t in reversed(range(T)):
                q = sum(complex(p["C_re"][k, i], p["C_im"][k, i]) * credit[t, b, k] for k in range(o))
                total[t, b, i] = q + later  # (LRU.5): no conjugate
                later = zeta * total[t, b, i]
            initial[b, i] = later.conjugate()
    return total, initial


def elstm_traces(p, inputs, credit, h0, reset=None):
    """(gradient, dLoss/dh_0 (B, n)): the traces of one eLSTM, (ELSTM.1)-(ELSTM.3)."""
    T, B, m = inputs.shape
    n = len(p["bz"])
    g = {name: np.zeros(value.shape) for name, value in p.items() if name != "h0"}
    initial = np.zeros((B, n))
    for b in range(B):
        for i in range(n):
            c = float(h0[b, i])
            W, w, bias, start = {}, {"z": 0.0, "f": 0.0}, {"z": 0.0, "f": 0.0}, 1.0
            W["z"], W["f"] = [0.0] * m, [0.0] * m
            for t in range(T):
                u, q = inputs[t, b], credit[t, b, i]
                if resets(reset, t, b):
                    c, start = float(h0[b, i]), 1.0  # (RTRL.6)
                    for gate in "zf":
                        W[gate], w[gate], bias[gate] = [0.0] * m, 0.0, 0.0  # (RTRL.6)
                z = tanh(sum(p["Wz"][i, j] * u[j] for j in range(m)) + p["wz"][i] * c + p["bz"][i])
                f = sigmoid(sum(p["Wf"][i, j] * u[j] for j in range(m)) + p["wf"][i] * c + p["bf"][i])
                A = {"z": (1 - f) * (1 - z**2), "f": (c - z) * f * (1 - f)}  # (ELSTM.2)
                kk = f + A["z"] * p["wz"][i] + A["f"] * p["wf"][i]  # (ELSTM.2)
                for gate in "zf":
                    W[gate] = [kk * W[gate][j] + A[gate] * u[j] for j in range(m)]  # (ELSTM.3)
                    w[gate] = kk * w[gate] + A[gate] * c  # (ELSTM.3): c is still c_{t-1}
                    bias[gate] = kk * bias[gate] + A[gate]  # (ELSTM.3)
                    for j in range(m):
                        g[f"W{gate}"][i, j] += q * W[gate][j]
                    g[f"w{gate}"][i] += q * w[gate]
                    g[f"b{gate}"][i] += q * bias[gate]
                start = kk * start
                initial[b, i] += q * start
                c = f * c + (1 - f) * z  # (ELSTM.1)
    return g, initial


def rtu_start(m):
    """The traces (t1, t2) of one RTU at its initial state: zero, but for those of that state itself."""
    zero = {(name, j): (0.0, 0.0) for name in ("W1", "W2") for j in range(m)}
    return zero | {("nu",): (0.0, 0.0), ("th",): (0.0, 0.0), ("h0", 0): (1.0, 0.0), ("h0", 1): (0.0, 1.0)}


def rtu_traces(p, inputs, credit, h0, activation="identity", reset=None):
    """(gradient, dLoss/dh_0 (B, 2n)): the pairs of traces of one RTU, (RTU.1)-(RTU.4)."""
    T, B, m = inputs.shape
    n = len(p["nu"])
    phi, dphi = ACTIVATIONS[activation]
    g = {name: np.zeros(value.shape) for name, value in p.items() if name != "h0"}
    initial = np.zeros((B, 2 * n))
    for b in range(B):
        for i in range(n):
            nu, w = math.exp(p["nu"][i]), math.exp(p["th"][i])  # (RTU.1)
            r = math.exp(-nu)
            gg, ph, gam = r * math.cos(w), r * math.sin(w), math.sqrt(1 - r**2)  # (RTU.1)
            dgg, dph, dgam = {"nu": -nu * gg}, {"nu": -nu * ph}, {"nu": nu * r**2 / gam}  # (RTU.3)
            dgg["th"], dph["th"], dgam["th"] = -ph * w, gg * w, 0.0  # (RTU.3): with the factor w
            h1, h2, trace = float(h0[b, i]), float(h0[b, n + i]), rtu_start(m)
            for t in range(T):
                u = inputs[t, b]
                if resets(reset, t, b):
                    h1, h2, trace = float(h0[b, i]), float(h0[b, n + i]), rtu_start(m)  # (RTRL.6)
                fed1 = sum(p["W1"][i, j] * u[j] for j in range(m))
                fed2 = sum(p["W2"][i, j] * u[j] for j in range(m))
                a1 = gg * h1 - ph * h2 + gam * fed1
                a2 = gg * h2 + ph * h1 + gam * fed2
                for key, (t1, t2) in trace.items():
                    add1 = add2 = 0.0
                    if key[0] in ("nu", "th"):
                        x = key[0]
                        add1 = dgg[x] * h1 - dph[x] * h2 + dgam[x] * fed1
                        add2 = dgg[x] * h2 + dph[x] * h1 + dgam[x] * fed2
                    elif key[0] == "W1":
                        add1 = gam * u[key[1]]
                    elif key[0] == "W2":
                        add2 = gam * u[key[1]]
                    trace[key] = (
                        dphi(a1) * (gg * t1 - ph * t2 + add1),  # (RTU.4)
                        dphi(a2) * (gg * t2 + ph * t1 + add2),  # (RTU.4)
                    )
                h1, h2 = phi(a1), phi(a2)  # (RTU.2)
                for key, (t1, t2) in trace.items():
                    value = credit[t, b, i] * t1 + credit[t, b, n + i] * t2
                    if key[0] == "h0":
                        initial[b, key[1] * n + i] += value
                    else:
                        g[key[0]][(i, *key[1:])] += value
    return g, initial


# Stacks of diagonal cells


def real_diagonal_stack(p, inputs, credit, h0, activation):
    """Gradients in z1 and z2 of h1 = z1 h1' + B1 u, h2 = z2 h2' + B2 phi(h1); credit is on h2, (STACK.5)."""
    phi, dphi = ACTIVATIONS[activation]
    T, B, m = inputs.shape
    n1, n2 = len(p["z1"]), len(p["z2"])
    g = {"z1": np.zeros(n1), "z2": np.zeros(n2)}
    for b in range(B):
        h1, h2 = list(h0[0][b]), list(h0[1][b])
        e1, e2, X = [0.0] * n1, [0.0] * n2, np.zeros((n2, n1))
        for t in range(T):
            for j in range(n1):
                e1[j] = p["z1"][j] * e1[j] + h1[j]
                h1[j] = p["z1"][j] * h1[j] + sum(p["B1"][j, v] * inputs[t, b, v] for v in range(m))
            for i in range(n2):
                e2[i] = p["z2"][i] * e2[i] + h2[i]
                h2[i] = p["z2"][i] * h2[i] + sum(p["B2"][i, j] * phi(h1[j]) for j in range(n1))
                for j in range(n1):
                    X[i, j] = p["z2"][i] * X[i, j] + p["B2"][i, j] * dphi(h1[j]) * e1[j]  # (STACK.5)
            for i in range(n2):
                g["z2"][i] += credit[t, b, i] * e2[i]
                for j in range(n1):
                    g["z1"][j] += credit[t, b, i] * X[i, j]  # (STACK.5)
    return g


def lru_stack(lower, upper, inputs, credit, h0, activation="identity"):
    """Gradients in nu, th and lg of the lower LRU; the upper one sees phi(lower output), (STACK.6).

    gam is free in both cells. ``credit`` is dL_t/d(output of the upper cell), ``h0`` the complex start of the
    lower one; the state of the upper cell does not enter, because the cell is linear in it.
    """
    _, dphi = ACTIVATIONS[activation]
    T, B, m = inputs.shape
    n1, n2, width, o = len(lower["nu"]), len(upper["nu"]), len(lower["D"]), len(upper["D"])
    modes1 = [lru_modes(lower, j, "free") for j in range(n1)]
    modes2 = [lru_modes(upper, i, "free") for i in range(n2)]
    g = {name: np.zeros(n1) for name in ("nu", "th", "lg")}
    for b in range(B):
        h1 = [complex(v) for v in h0[b]]
        ez, eg = [0j] * n1, [0j] * n1
        X = {name: np.zeros((n2, n1), complex) for name in g}
        for t in range(T):
            u = inputs[t, b]
            inner = {name: [0j] * n1 for name in g}  # dh1[j]/dp[j]
            for j in range(n1):
                zeta, gam = modes1[j]
                fed = sum(complex(lower["B_re"][j, v], lower["B_im"][j, v]) * u[v] for v in range(m))
                ez[j] = zeta * ez[j] + h1[j]  # (LRU.6)
                eg[j] = zeta * eg[j] + fed  # (LRU.6)
                h1[j] = zeta * h1[j] + gam * fed
                inner["nu"][j] = ez[j] * (-math.exp(lower["nu"][j]) * zeta)
                inner["th"][j] = ez[j] * (1j * math.exp(lower["th"][j]) * zeta)
                inner["lg"][j] = gam * eg[j]
            C1 = [
                [complex(lower["C_re"][v, j], lower["C_im"][v, j]) for j in range(n1)] for v in range(width)
            ]
            y = [
                sum((C1[v][j] * h1[j]).real for j in range(n1))
                + sum(lower["D"][v, k] * u[k] for k in range(m))
                for v in range(width)
            ]
            q = [
                sum(complex(upper["C_re"][k, i], upper["C_im"][k, i]) * credit[t, b, k] for k in range(o))
                for i in range(n2)
            ]
            for name in g:
                # Ev[v,j] = g'(y[v]) Re(C1[v,j] dh1[j]/dp[j]): real, for the lower output is
                Ev = [
                    [dphi(y[v]) * (C1[v][j] * inner[name][j]).real for j in range(n1)] for v in range(width)
                ]
                for i in range(n2):
                    zeta2, gam2 = modes2[i]
                    B2 = [complex(upper["B_re"][i, v], upper["B_im"][i, v]) for v in range(width)]
                    for j in range(n1):
                        fed = sum(B2[v] * Ev[v][j] for v in range(width))
                        X[name][i, j] = zeta2 * X[name][i, j] + gam2 * fed  # (STACK.6)
                        g[name][j] += (q[i] * X[name][i, j]).real  # (STACK.6)
                # the direct way: the upper output also sees its input through D
                for k in range(o):
                    for j in range(n1):
                        g[name][j] += credit[t, b, k] * sum(upper["D"][k, v] * Ev[v][j] for v in range(width))
    return g
