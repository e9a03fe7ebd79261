r"""Temporal predictive coding and tPC-RTRL: the state of each step is inferred, and learns from its own error.

=========  ==========================================================================================
(tPC.1)    :math:`\mu_t = f(c_{t-1}, u_t; \theta)`, :math:`\varepsilon_t = s_t - \mu_t`
(tPC.2)    :math:`F_t(s) = \frac12 (s - \mu_t)^\top \Pi (s - \mu_t) + \beta \mathcal L_t(s)`, and the errors of hidden readout states
(tPC.4)    :math:`\partial F_t/\partial s = \Pi\varepsilon_t + \beta q_t(s)`; N steps of descent
(tPC.7)    one step: :math:`g_\theta = -\bar M_t^\top \Pi\varepsilon_t`
(tPC.8)    nothing observed: :math:`s_t = \mu_t`, no error, no update
(TPR.2)    :math:`M_t = \bar M_t + J_t S_{t-1}`, J and Mbar at the carried state
(TPR.3)    :math:`g = -\frac1\beta \sum_t M_t^\top \Pi\varepsilon_t`; readout: :math:`\frac1\beta` times the local gradient
(TPR.4)    carry :math:`c_t = s_t` ("state") or :math:`\mu_t` ("prediction")
(TPR.5)    influence: none, S = 0; plain, S = M; implicit, S = Damp M; diag, S = (diag Pi / diag H) M
(TPR.6)    :math:`H_t` of all free states at :math:`s_t`, :math:`S_t = [H^{-1}]_{ss} \Pi M_t`
(TPR.7)    readout parameters: :math:`S_t = H_t^{-1} (\Pi M_t - \beta\, \partial^2\mathcal L_t/\partial s\,\partial\theta)`
=========  ==========================================================================================

Beta needs no code of its own: divided by beta, the energy has the precisions Pi/beta and the loss with weight one, and a
step of lambda beta there is a step of lambda here. So inference is that of :mod:`minipc.spc` or :mod:`minipc.epc` on the chain
"prediction mu_t, readout", with mu_t clamped, and its weighted error is Pi eps/beta, the credit of (TPR.3).
"""

from .arguments import check_positive_number, check_word
from .backend import array_module
from .blocks import Flatten
from .functions import ACTIVATIONS
from .influence import Influence
from .inference import check_precision, local_gradient
from .network import Gradient, Network
from .recurrent import Prepared, Stretch, is_cell, prepare_sequences
from . import spc


def gradient(
    net,
    params,
    inputs,
    targets,
    mask=None,
    h0=None,
    reset=None,
    *,
    influence=None,
    carry="state",
    inference="spc",
    beta=1.0,
    inference_steps=20,
    step_size=0.1,
    precision=None,
):
    """tPC (influence None) or tPC-RTRL ("plain") with one gated cell; see the table of the module."""
    check_word("carry", carry, ("state", "prediction"))
    check_positive_number("beta", beta)
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset)
    (c,) = net.cells
    readout = Network([Flatten(), *net.blocks[c + 1 :]], net.loss.name, input_shape=(net.blocks[c].n,))
    theta = [{}, *params[c + 1 :]]
    Pi = _divided(check_precision(readout, theta, precision), beta)
    xp, T = array_module(p.inputs), len(p.inputs)
    if influence is not None:
        check_word("influence", influence, ("plain", "implicit", "diag"))
    M = Influence(net, params, p.start)
    width = sum(v.size for q in theta for v in q.values())
    R = xp.zeros((*p.start[c].shape, width), p.start[c].dtype)  # of the readout's parameters on the carried state
    state, total, grads, losses, readout_total = p.start[c], None, None, 0, 0
    for t in range(T):
        if p.reset is not None:
            M.reset(p.reset[t])
            state = xp.where(p.reset[t][:, None], p.start[c], state)
            R = xp.where(p.reset[t][:, None, None], 0 * R, R)
        if influence is None:
            M.reset(xp.ones(len(state), bool))  # (TPR.5): S = 0
        x, tapes, below = p.inputs[t], [], []
        for l in range(c):
            below.append(x[None])
            x, tape = net.blocks[l].forward(params[l], x)
            tapes.append(tape)
        after, tape = net.blocks[c].scan(params[c], state, x[None])
        mu = after[0]  # (tPC.1)
        stretch = Stretch(None, None, [*tapes, tape], [*below, x[None]])
        stretch = stretch._replace(
            locals=[b.local(q, k) if is_cell(b) else None
                    for b, q, k in zip(net.blocks[: c + 1], params[: c + 1], stretch.tapes, strict=True)]
        )
        M.step(params, stretch, 0)  # (TPR.2)
        if influence == "implicit":
            R = net.blocks[c].times_jacobian(params[c], stretch.locals[c], 0, R)  # (TPR.2)
        s, now, loss = _infer(readout, theta, mu, p.targets[t], Pi, inference, inference_steps, step_size * beta)
        if p.mask is not None:  # (tPC.8)
            seen = p.mask[t][:, None]
            s = xp.where(seen, s, mu)
            now = now._replace(xi=[None, *(xp.where(seen, v, 0 * v) for v in now.xi[1:])])
            loss = xp.where(p.mask[t], loss, 0 * loss)
        credit = [None] * len(net.blocks)
        credit[c] = -now.xi[1]  # Pi eps / beta
        total = M.readout(credit, total)  # (TPR.3)
        local = local_gradient(readout, theta, now)[1:]  # (TPR.3)
        grads = local if grads is None else [{k: a[k] + b[k] for k in a} for a, b in zip(grads, local, strict=True)]
        losses = losses + loss
        if influence == "implicit":
            readout_total = readout_total + xp.einsum("bn,bnp->p", credit[c], R)  # (TPR.8)
        if influence in ("implicit", "diag") and carry == "state":
            seen = None if p.mask is None else p.mask[t]
            R = _damp(M, c, R, readout, theta, now, Pi, seen, influence)  # (TPR.5)-(TPR.7)
        state = s if carry == "state" else mu  # (TPR.4)
    found = M.gradients(params, total)
    if influence == "implicit" and carry == "state":
        at = 0
        for g in grads:
            for name in g:
                g[name] = g[name] + readout_total[at : at + g[name].size].reshape(g[name].shape)
                at += g[name].size
    for l, g in enumerate(grads, start=c + 1):
        found[l] = g
    return Gradient(found, losses, final=[state])


def _divided(Pi, beta):
    """Precisions over beta, but for the output's, which belongs to the loss."""
    return [None, *((1 / beta if v is None else v / beta) for v in Pi[1:-1]), Pi[-1]]


def _infer(net, params, mu, y, Pi, inference, steps, step_size):
    """State (B, n) inferred, errors at the end, loss at the start."""
    s, now, first = spc._feedforward(net, params, mu, y, Pi)
    if inference == "fixed":  # (TPR.10): predictions and Jacobians stay those of the forward pass, at their equilibrium
        loss, xi = net.loss.value(now.yhat, y), list(now.xi)
        for l in range(len(net.blocks) - 1, 0, -1):
            xi[l] = net.blocks[l].vjp(params[l], now.tape[l + 1], xi[l + 1], params=False)[0]
        return mu + _solved(Pi[1], xi[1]), now._replace(xi=xi), loss
    if inference == "spc":
        run, now, loss = spc._infer(net, params, s, y, Pi, now, first, steps, step_size, None, 0, feedforward=True)
        return run.s[1], now, loss
    raise NotImplementedError


def _solved(Pi, v):
    """Pi^-1 v for rows v ``(B, n)``."""
    if Pi is None:
        return v
    return array_module(v).linalg.solve(Pi, v.T).T if getattr(Pi, "ndim", 0) == 2 else v / Pi


def _damp(M, c, R, readout, theta, now, Pi, seen, influence):
    """S from M, in place: of the state that is carried; the new influence of the readout's parameters."""
    xp, n = array_module(R), R.shape[1]
    H, mixed = _second_derivatives(readout, theta, now, Pi)
    own, below = M.own[c], M.below[c]
    if influence == "diag":
        diagonal = _times(Pi[1], xp.ones((1, n)))[0] / xp.diagonal(H[:, :n, :n], axis1=1, axis2=2)  # (TPR.5)
        S = [None if A is None else diagonal[:, :, None] * A for A in (below, own)]
    else:
        columns = [A for A in (below, own, R) if A is not None]
        ends = [A.shape[2] for A in columns]
        right = xp.zeros((*H.shape[:2], sum(ends)), H.dtype)
        joined = xp.concatenate(columns, axis=2)
        right[:, :n] = xp.swapaxes(_times(Pi[1], xp.swapaxes(joined, 1, 2)), 1, 2)  # Pi M
        right[:, :, sum(ends[:-1]) :] -= mixed  # (TPR.7)
        solved = xp.linalg.solve(H, right)[:, :n]  # (TPR.6)
        parts, at = [], 0
        for w in ends:
            parts.append(solved[:, :, at : at + w])
            at += w
        S = [None, *parts] if below is None else parts
    if seen is not None:  # (tPC.8): no observation, no damping
        keep = seen[:, None, None]
        old = (below, own, R)
        S = [None if a is None else xp.where(keep, a, b) for a, b in zip(S, old, strict=False)]
    M.below[c], M.own[c] = S[0], xp.ascontiguousarray(S[1])
    return S[2] if influence == "implicit" else R


def _times(Pi, v):
    """Pi v for rows v ``(..., n)``."""
    if Pi is None:
        return v
    return v @ Pi if getattr(Pi, "ndim", 0) == 2 else v * Pi


def _second_derivatives(net, params, now, Pi):
    """H (B, n, n) of the energy in all free states, and the mixed derivative (B, n, P) in state and parameter, (TPR.6)."""
    xp, L = array_module(now.yhat), len(net.blocks)
    sizes = net.sizes[1:L]
    ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    B, n = len(now.yhat), ends[-1]
    width = sum(v.size for p in params for v in p.values())
    H, mixed = xp.zeros((B, n, n), now.yhat.dtype), xp.zeros((B, n, width), now.yhat.dtype)
    at = 0
    eye = lambda k: xp.eye(k, dtype=now.yhat.dtype)  # noqa: E731
    H[:, : ends[1], : ends[1]] += _times(Pi[1], eye(sizes[0]))
    for l in range(2, L + 1):  # block l takes the free state l - 1
        block, p, tape, xi = net.blocks[l - 1], params[l - 1], now.tape[l], now.xi[l]
        phi, W = ACTIVATIONS[block.activation], p["W"]
        here = slice(ends[l - 2], ends[l - 1])
        dphi, d2phi = phi.dphi(tape.a, tape.r), phi.d2phi(tape.a, tape.r)
        if block.form == "post":
            J = dphi[:, :, None] * W
            bend = W.T @ ((xi * d2phi)[:, :, None] * W)
        else:
            J = W * dphi[:, None]
            bend = ((xi @ W) * d2phi)[:, :, None] * eye(W.shape[1])
        if l == L:
            PJ = xp.stack([net.loss.curvature(now.yhat, J[:, :, k]) for k in range(J.shape[2])], axis=2)
        else:
            PJ = xp.swapaxes(_times(Pi[l], xp.swapaxes(J, 1, 2)), 1, 2)
            above = slice(ends[l - 1], ends[l])
            H[:, above, above] += _times(Pi[l], eye(sizes[l - 1]))
            H[:, above, here] -= PJ
            H[:, here, above] -= xp.swapaxes(PJ, 1, 2)
        H[:, here, here] += xp.swapaxes(J, 1, 2) @ PJ - bend
        # parameters: dE/dW = -delta z^T, dE/db = -delta
        k = W.size
        if block.form == "post":
            delta, z = xi * dphi, tape.s
            d_delta = -dphi[:, None] * xp.swapaxes(PJ, 1, 2) + (xi * d2phi)[:, None] * W.T  # (B, n_in, n_out)
            dz = eye(W.shape[1])[None]
        else:
            delta, z = xi, tape.r
            d_delta = -xp.swapaxes(PJ, 1, 2)
            dz = dphi[:, :, None] * eye(W.shape[1])
        G = -(d_delta[:, :, :, None] * z[:, None, None] + delta[:, None, :, None] * dz[:, :, None])
        mixed[:, here, at : at + k] = G.reshape(B, -1, k)
        if block.bias:
            mixed[:, here, at + k : at + k + len(W)] = -d_delta
        if l < L:
            up = _times(Pi[l], eye(sizes[l - 1])) * xp.ones((B, 1, 1))
            up = up * dphi[:, None] if block.form == "post" else up  # d delta / d s_l, rows are directions
            mixed[:, above, at : at + k] = -(up[:, :, :, None] * z[:, None, None]).reshape(B, -1, k)
            if block.bias:
                mixed[:, above, at + k : at + k + len(W)] = -up
        at += k + (len(W) if block.bias else 0)
    return H, mixed
