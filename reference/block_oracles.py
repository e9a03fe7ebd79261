"""Autograd oracles of the blocks: each map written from its equation, every derivative taken by autograd.

No derivative in this file is derived by hand, but for the one that is a claim itself, (sPC.19).

========  ===================================================================  =========================
id        equation                                                             function
========  ===================================================================  =========================
(BP.1)    phi(c W s + b)  or  c W phi(s) + b, with a fixed factor c            dense
(CONV.1)  a_{o,yx} = sum_{c,ij} W_{o,c,ij} s_{c, ty+i-p, tx+j-p} + b_o         conv2d
(POOL.1)  mu_{c,yx} = max_{ij} s_{c, ty+i, tx+j}                               pool, "max"
(POOL.3)  mu_{c,yx} = 1/k^2 sum_{ij} s_{c, ty+i, tx+j}                         pool, "mean"
(EMB.1)   mu_{b,i} = sum_k [s_b = k] W_{ki}                                    embedding
(RES.1)   mu = skip s + f(s)                                                   residual
(LN.1)    gamma (s - mean) / sqrt(var + eps) + beta over the features          layer_norm
(BN.1)    the same over samples and pixels of a channel                        batch_norm, "batch"
(BN.4)    the same with given mean and variance                                batch_norm, "frozen"
(sPC.18)  mu_l = s_{l-1} + gain_l W_l phi(s_{l-1}) and its first, last layer   mupc_predictions
(sPC.19)  dE/ds_l and dE/dW_l of that network, entry by entry as stated        mupc_gradient
========  ===================================================================  =========================

Images are (B, C, H, W), W of a convolution is (C_out, C, k, k). No window is ever cut out of an image here:
which pixel belongs to which window is said by matrices of zeros and ones, ``selection``. A block is a pair
(name, config), config being a dict of its sizes and words; ``block`` is such a pair, ``p`` a dict of arrays.
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad

from .autograd_oracles import ACTIVATIONS, loss_value


def selection(n, kernel_size, stride, padding):
    """[h = t y + i - p] for offset i, window y, pixel h: zeros and ones, (k, windows, n)."""
    windows = (n + 2 * padding - kernel_size) // stride + 1
    i, y, h = np.ogrid[:kernel_size, :windows, :n]
    return (h == stride * y + i - padding).astype(float)


def activated(form, name, affine, s):
    """phi(affine(s)) or affine(phi(s)), (BP.1)."""
    phi = ACTIVATIONS[name]
    return phi(affine(s)) if form == "post" else affine(phi(s))


def dense(p, s, n_in, n_out, activation="identity", form="post", init=None, gain=1.0, bias=True, scale=1.0):
    """mu (B, n_out) from s (B, n_in), (BP.1)."""

    def affine(r):
        a = scale * anp.einsum("ij,bj->bi", p["W"], r)
        return a + p["b"] if bias else a

    return activated(form, activation, affine, s)  # (BP.1)


def conv2d(
    p,
    s,
    in_channels,
    out_channels,
    kernel_size,
    stride=1,
    padding=0,
    activation="identity",
    form="post",
    init=None,
    gain=1.0,
):
    """mu (B, C_out, Ho, Wo) from s (B, C, H, W), (CONV.1)."""
    rows, columns = (selection(n, kernel_size, stride, padding) for n in s.shape[2:])

    def affine(r):
        a = anp.einsum("ocij,iyh,jxw,bchw->boyx", p["W"], rows, columns, r)
        return a + p["b"][:, None, None]  # (CONV.1)

    return activated(form, activation, affine, s)


def pool(kind, s, kernel_size, stride=None):
    """mu (B, C, Ho, Wo) from s (B, C, H, W), (POOL.1), (POOL.3)."""
    rows, columns = (selection(n, kernel_size, stride or kernel_size, 0) for n in s.shape[2:])
    windows = anp.einsum("iyh,jxw,bchw->bcyxij", rows, columns, s)
    windows = anp.reshape(windows, (*windows.shape[:4], kernel_size**2))
    return anp.max(windows, axis=4) if kind == "max" else anp.mean(windows, axis=4)


def embedding(p, s, vocabulary, width, gain=1.0):
    """mu (B, *shape, width) from integers s (B, *shape), (EMB.1)."""
    one_hot = (s[..., None] == np.arange(vocabulary)).astype(float)
    return anp.dot(one_hot, p["W"])  # (EMB.1)


def standardised(s, axes, eps):
    """s with mean zero and variance one over axes."""
    mean = anp.mean(s, axis=axes, keepdims=True)
    var = anp.mean((s - mean) ** 2, axis=axes, keepdims=True)
    return (s - mean) / anp.sqrt(var + eps)


def layer_norm(p, s, shape, eps=1e-5):
    """mu (B, *shape) from s (B, *shape), (LN.1)."""
    return p["gamma"] * standardised(s, tuple(range(1, s.ndim)), eps) + p["beta"]  # (LN.1)


def batch_norm(p, s, channels, statistics="batch", eps=1e-5):
    """mu (B, C, H, W) from s (B, C, H, W), (BN.1), (BN.4)."""
    gamma, beta, mean, var = (p[name][:, None, None] for name in ("gamma", "beta", "mean", "var"))
    if statistics == "batch":
        return gamma * standardised(s, (0, 2, 3), eps) + beta  # (BN.1)
    return gamma * (s - mean) / anp.sqrt(var + eps) + beta  # (BN.4)


def residual(p, s, blocks, skip=1.0):
    """mu like s, (RES.1); the parameters of inner block l are named "l.name"."""
    r = s
    for l, block in enumerate(blocks, start=1):
        own = {name.removeprefix(f"{l}."): value for name, value in p.items() if name.startswith(f"{l}.")}
        r = predict(block, own, r)
    return skip * s + r  # (RES.1)


MAPS = {
    "Dense": dense,
    "Conv2d": conv2d,
    "MaxPool2d": lambda p, s, **config: pool("max", s, **config),
    "AvgPool2d": lambda p, s, **config: pool("mean", s, **config),
    "Flatten": lambda p, s: anp.reshape(s, (s.shape[0], -1)),
    "Embedding": embedding,
    "LayerNorm": layer_norm,
    "BatchNorm2d": batch_norm,
    "Residual": residual,
}


def predict(block, p, s):
    """The output of a block (name, config)."""
    name, config = block
    return MAPS[name](p, s, **config)


# Derivatives, all by autograd. ``theta`` is a pair (p, s); only what is listed in ``of`` is differentiated.


def _paired(block, v, p, s):
    """sum over everything of v * mu."""
    return anp.sum(v * predict(block, p, s))


def vjp_input(block, p, s, v):
    """J^T v, the shape of s."""
    return grad(lambda s: _paired(block, v, p, s))(s)


def vjp_params(block, p, s, v):
    """Derivative of the sum of v * mu by every parameter that occurs in the map; a dict."""
    return grad(lambda p: _paired(block, v, p, s))(p)


def jvp(block, p, s, s_dot, p_dot=None):
    """The tangent of mu: the derivative by v of <J^T v, tangents>, which is linear in v."""

    def paired(v):
        total = 0.0
        if s_dot is not None:
            total = total + anp.sum(vjp_input(block, p, s, v) * s_dot)
        if p_dot is not None:
            g = vjp_params(block, p, s, v)
            total = total + sum(anp.sum(g[name] * p_dot[name]) for name in p_dot)
        return total

    return grad(paired)(np.zeros_like(predict(block, p, s)) + 0.5)


def vjp_slope(block, p, s, v, s_dot):
    """Derivative of J^T v along s_dot: the gradient of <J^T v, s_dot>, because second derivatives commute."""
    return grad(lambda s: anp.sum(vjp_input(block, p, s, v) * s_dot))(s)


# Chains of blocks: the loss and both energies. ``blocks`` are pairs, ``params`` dicts, one a block


def feedforward(blocks, params, x):
    """[x, s_1, ..., s_{L-1}, yhat]."""
    s = [x]
    for block, p in zip(blocks, params, strict=True):
        s.append(predict(block, p, s[-1]))
    return s


def half_square(v):
    """1/2 |v|^2 per sample, (B,), over all other axes."""
    return 0.5 * anp.sum(anp.reshape(v, (v.shape[0], -1)) ** 2, axis=1)


def spc_energy(blocks, params, s, y, loss):
    """E (B,) of the states s = [x, s_1, ..., s_{L-1}], unit precisions, (sPC.1), (sPC.2)."""
    *mu, yhat = [predict(block, p, below) for block, p, below in zip(blocks, params, s, strict=True)]
    return loss_value(loss, yhat, y) + sum(
        half_square(s_l - mu_l) for s_l, mu_l in zip(s[1:], mu, strict=True)
    )


def epc_energy(blocks, params, e, x, y, loss):
    """E (B,) of the errors e = [None, e_1, ..., e_{L-1}], unit precisions, (ePC.1), (ePC.2)."""
    s = x
    for block, p, e_l in zip(blocks[:-1], params[:-1], e[1:], strict=True):
        s = predict(block, p, s) + e_l
    yhat = predict(blocks[-1], params[-1], s)
    return loss_value(loss, yhat, y) + sum(half_square(e_l) for e_l in e[1:])


def loss_gradient(blocks, params, x, y, loss):
    """Structure of params: derivative of the loss summed over the batch."""
    return grad(lambda params: anp.sum(loss_value(loss, feedforward(blocks, params, x)[-1], y)))(params)


def spc_gradients(blocks, params, s, y, loss):
    """([None, dE/ds_1, ..., dE/ds_{L-1}], dE/dparams) of the summed energy, (sPC.4), (sPC.6), (sPC.7)."""

    def total(free, params):
        return anp.sum(spc_energy(blocks, params, [s[0], *free], y, loss))

    free = list(s[1:])
    return [None, *grad(total, 0)(free, params)], grad(total, 1)(free, params)


def epc_error_gradient(blocks, params, e, x, y, loss):
    """[None, dE/de_1, ..., dE/de_{L-1}] of the summed energy, (ePC.4)."""
    free = list(e[1:])
    return [None, *grad(lambda free: anp.sum(epc_energy(blocks, params, [None, *free], x, y, loss)))(free)]


# muPC (Innocenti et al. 2025)


def mupc_gains(n_0, width, depth):
    """[None, gain_1, ..., gain_L], (sPC.18)."""
    return [None, n_0**-0.5, *[(width * depth) ** -0.5] * (depth - 2), 1.0 / width]


def mupc_predictions(weights, s, activation):
    """[mu_1, ..., mu_L] from the states [x, s_1, ..., s_{L-1}] and the weights W_1, ..., W_L, (sPC.18)."""
    phi, L = ACTIVATIONS[activation], len(weights)
    gain = mupc_gains(s[0].shape[1], weights[0].shape[0], L)
    mu = [gain[1] * anp.dot(s[0], weights[0].T)]  # (sPC.18) no skip, no phi
    for l in range(2, L + 1):
        branch = gain[l] * anp.dot(phi(s[l - 1]), weights[l - 1].T)
        mu.append(s[l - 1] + branch if l < L else branch)  # (sPC.18) no skip at the output
    return mu


def mupc_energy(weights, s, y, loss, activation):
    """E (B,) of the states, (sPC.2) with the predictions (sPC.18)."""
    *mu, yhat = mupc_predictions(weights, s, activation)
    E = loss_value(loss, yhat, y)
    for s_l, mu_l in zip(s[1:], mu, strict=True):
        E = E + 0.5 * anp.sum((s_l - mu_l) ** 2, axis=1)
    return E


def mupc_energy_gradient(weights, s, y, loss, activation):
    """([None, dE/ds_1, ...], [dE/dW_1, ..., dE/dW_L]) by autograd."""

    def total(free, weights):
        return anp.sum(mupc_energy(weights, [s[0], *free], y, loss, activation))

    return [None, *grad(total, 0)(list(s[1:]), weights)], grad(total, 1)(list(s[1:]), weights)


def mupc_gradient(weights, s, y, loss, activation):
    """The same two lists as (sPC.19) states them."""
    L, gain = len(weights), mupc_gains(s[0].shape[1], weights[0].shape[0], len(weights))
    phi, W = ACTIVATIONS[activation], [None, *weights]
    *mu, yhat = mupc_predictions(weights, s, activation)
    eps = [None, *(s_l - mu_l for s_l, mu_l in zip(s[1:], mu, strict=True))]
    eps.append(-grad(lambda yhat: anp.sum(loss_value(loss, yhat, y)))(yhat))  # xi_L
    dE_ds = [None]
    for l in range(1, L):
        slope = grad(lambda a: anp.sum(phi(a)))(s[l])
        skip = eps[l + 1] if l + 1 < L else 0.0
        dE_ds.append(eps[l] - (skip + gain[l + 1] * slope * (eps[l + 1] @ W[l + 1])))  # (sPC.19)
    sources = [s[0], *(phi(s_l) for s_l in s[1:])]
    dE_dW = [-gain[l] * eps[l].T @ sources[l - 1] for l in range(1, L + 1)]  # (sPC.19)
    return dE_ds, dE_dW
