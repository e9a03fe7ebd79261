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
(TPR.5)    influence: none, S = 0; plain, S = M
=========  ==========================================================================================

Beta needs no code of its own: divided by beta, the energy has the precisions Pi/beta and the loss with weight one, and a
step of lambda beta there is a step of lambda here. So inference is that of :mod:`minipc.spc` or :mod:`minipc.epc` on the chain
"prediction mu_t, readout", with mu_t clamped, and its weighted error is Pi eps/beta, the credit of (TPR.3).
"""

from .arguments import check_positive_number, check_word
from .backend import array_module
from .blocks import Flatten
from .influence import Influence
from .inference import check_precision, local_gradient
from .network import Gradient, Network
from .recurrent import Prepared, Stretch, is_cell, prepare_sequences
from . import epc, spc, variants


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
    M = Influence(net, params, p.start)
    state, total, grads, losses = p.start[c], None, None, 0
    for t in range(T):
        if p.reset is not None:
            M.reset(p.reset[t])
            state = xp.where(p.reset[t][:, None], p.start[c], state)
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
        state = s if carry == "state" else mu  # (TPR.4)
    found = M.gradients(params, total)
    for l, g in enumerate(grads, start=c + 1):
        found[l] = g
    return Gradient(found, losses, final=[state])


def _divided(Pi, beta):
    """Precisions over beta, but for the output's, which belongs to the loss."""
    return [None, *((1 / beta if v is None else v / beta) for v in Pi[1:-1]), Pi[-1]]


def _infer(net, params, mu, y, Pi, inference, steps, step_size):
    """State (B, n) inferred, errors at the end, loss at the start."""
    s, now, first = spc._feedforward(net, params, mu, y, Pi)
    if inference == "fixed":  # (TPR.10): credit backprop would give
        loss = net.loss.value(now.yhat, y)
        g = variants._fixed_equilibrium(net, params, now)
        return s[1], g, loss
    if inference == "spc":
        run, now, loss = spc._infer(net, params, s, y, Pi, now, first, steps, step_size, None, 0, feedforward=True)
        return run.s[1], now, loss
    raise NotImplementedError
