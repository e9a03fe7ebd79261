"""Exercises on the other feedforward blocks: convolution, pooling, embedding, residual, normalisation."""

import numpy as np

from .register import exercise

# ---------------------------------------------------------------------- convolution


def images(d):
    """Images and a kernel; windows overlap, or leave pixels between them, with and without a border."""
    C, C_out = d.widths(2)
    k, stride, padding = ((2, 1, 1), (3, 2, 1), (2, 2, 0))[d.setting]
    H, W = (k + stride, k + 2 * stride) if not d.short else (k, k + stride)
    Ho, Wo = (1 + (n + 2 * padding - k) // stride for n in (H, W))
    shapes = {"W": (C_out, C, k, k), "b": (C_out,), "s": (d.B, C, H, W), "v": (d.B, C_out, Ho, Wo)}
    more = {"W_dot": shapes["W"], "b_dot": shapes["b"], "s_dot": shapes["s"]}
    arrays = {name: d.normal(*shape) for name, shape in (shapes | more).items()}
    return {**arrays, "stride": stride, "padding": padding}


def _conv(engine, W, b, s, stride, padding):
    """The block, its parameters, and what it keeps of the forward pass."""
    p = {"W": W, "b": b}
    options = {"stride": stride, "padding": padding, "activation": "tanh"}
    f = engine.Conv2d(W.shape[1], W.shape[0], W.shape[2], **options)
    return f, p, f.forward(p, s)[1]


@exercise("CONV.1", problem=images)
def conv_forward(engine, W, b, s, stride, padding):
    """tanh of the cross-correlation of the images s (B, C, H, W) with the kernels W (C_out, C, k, k), plus b: (B, C_out, Ho, Wo)."""
    p = {"W": W, "b": b}
    options = {"stride": stride, "padding": padding, "activation": "tanh"}
    return engine.Conv2d(W.shape[1], W.shape[0], W.shape[2], **options).forward(p, s)[0]


@exercise("CONV.2", problem=images)
def conv_down(engine, W, b, s, v, stride, padding):
    """J^T v with respect to the images s, for v (B, C_out, Ho, Wo) at the output of (CONV.1): (B, C, H, W)."""
    f, p, tape = _conv(engine, W, b, s, stride, padding)
    return f.vjp(p, tape, v, params=False)[0]


@exercise("CONV.3", problem=images)
def conv_gradient(engine, W, b, s, v, stride, padding):
    """The gradient of W and b, for v (B, C_out, Ho, Wo) at the output of (CONV.1): a dict ``W``, ``b``."""
    f, p, tape = _conv(engine, W, b, s, stride, padding)
    return f.vjp(p, tape, v, input=False)[1]


@exercise("CONV.4", problem=images)
def conv_tangent(engine, W, b, s, s_dot, W_dot, b_dot, stride, padding):
    """The tangent of the output of (CONV.1) along s_dot, W_dot, b_dot: (B, C_out, Ho, Wo)."""
    f, p, tape = _conv(engine, W, b, s, stride, padding)
    return f.jvp(p, tape, s_dot, {"W": W_dot, "b": b_dot})


@exercise("CONV.5", problem=lambda d: {**images(d), "kernel_size": (2, 3, 2)[d.setting]})
def columns(engine, s, kernel_size, stride, padding):
    """The windows of the images s (B, C, H, W) as columns, outside of the image zeros: (C k k, B Ho Wo)."""
    return engine.Conv2d(s.shape[1], 1, kernel_size, stride=stride, padding=padding)._columns(s)


# ---------------------------------------------------------------------- pooling, embedding


def pooled_images(d):
    """Images with equal pixels; windows that overlap, touch, or leave pixels between them."""
    k, stride = ((2, 1), (2, 2), (2, 3))[d.setting]
    H, W = k + stride, k + 2 * stride
    (C,) = d.widths(1)
    return {
        "s": np.round(d.normal(d.B, C, H, W)),
        "v": d.normal(d.B, C, 2, 3),
        "kernel_size": k,
        "stride": stride,
    }


def _pool(engine, name, s, v, kernel_size, stride):
    f = getattr(engine, name)(kernel_size, stride)
    return f.vjp({}, f.forward({}, s)[1], v)[0]


@exercise("POOL.2", problem=pooled_images)
def max_pool_down(engine, s, v, kernel_size, stride):
    """J^T v of the maximum over windows of s (B, C, H, W), for v (B, C, Ho, Wo): (B, C, H, W).

    Of pixels that are equal the first one of the window, row by row, is the maximum.
    """
    return _pool(engine, "MaxPool2d", s, v, kernel_size, stride)


@exercise("POOL.4", problem=pooled_images)
def mean_pool_down(engine, s, v, kernel_size, stride):
    """J^T v of the mean over windows of s (B, C, H, W), for v (B, C, Ho, Wo): (B, C, H, W)."""
    return _pool(engine, "AvgPool2d", s, v, kernel_size, stride)


def indices(d):
    """Indices of which some occur more than once."""
    (width,) = d.widths(1)
    s = d.rng.integers(0, 4, d.B + 2)
    s[:2] = 1
    return {"s": s, "v": d.normal(d.B + 2, width), "vocabulary": 4}


@exercise("EMB.2", problem=indices)
def embedding_gradient(engine, s, v, vocabulary):
    """The gradient of the table W (vocabulary, width) of rows W[s], for v (B, width) at the output, s (B,) integers."""
    f = engine.Embedding(vocabulary, v.shape[1])
    return f.vjp({"W": np.zeros((vocabulary, v.shape[1]))}, s, v, input=False)[1]["W"]


# ---------------------------------------------------------------------- residual


def bottleneck(d):
    """A chain of two dense blocks beside a skip."""
    n, m = d.widths(2)
    shapes = {"W1": (m, n), "b1": (m,), "W2": (n, m), "b2": (n,)}
    more = {"s": (d.B, n), "v": (d.B, n), "s_dot": (d.B, n)}
    arrays = {name: d.normal(*shape) for name, shape in (shapes | more).items()}
    return {**arrays, "skip": 0.7}


def _residual(engine, W1, b1, W2, b2, skip):
    m, n = W1.shape
    inner = [engine.Dense(n, m, "tanh"), engine.Dense(m, n)]
    return engine.Residual(inner, skip), {"1.W": W1, "1.b": b1, "2.W": W2, "2.b": b2}


@exercise("RES.1", problem=bottleneck)
def residual_forward(engine, W1, b1, W2, b2, s, skip):
    """skip s + tanh(s @ W1.T + b1) @ W2.T + b2: (B, n)."""
    f, p = _residual(engine, W1, b1, W2, b2, skip)
    return f.forward(p, s)[0]


@exercise("RES.2", problem=bottleneck)
def residual_down(engine, W1, b1, W2, b2, s, v, skip):
    """J^T v of (RES.1) with respect to s, for v (B, n), and the gradients: a dict ``s``, ``W1``, ``b1``, ``W2``, ``b2``."""
    f, p = _residual(engine, W1, b1, W2, b2, skip)
    down, grads = f.vjp(p, f.forward(p, s)[1], v)
    return {"s": down, **{f"{name}{l}": grads[f"{l}.{name}"] for l in (1, 2) for name in "Wb"}}


@exercise("RES.3", problem=bottleneck)
def residual_tangent(engine, W1, b1, W2, b2, s, s_dot, skip):
    """The tangent of (RES.1) along s_dot: (B, n)."""
    f, p = _residual(engine, W1, b1, W2, b2, skip)
    return f.jvp(p, f.forward(p, s)[1], s_dot)


# ---------------------------------------------------------------------- normalisation


def features(d):
    """Vectors with a scale and a shift for each feature."""
    (n,) = d.widths(1)
    n = n + 2
    arrays = {"s": d.normal(d.B + 1, n), "v": d.normal(d.B + 1, n)}
    return {**arrays, "gamma": d.uniform(0.5, 2.0, n), "beta": d.normal(n), "eps": 0.3}


def channels(d):
    """Images with a scale, a shift, a mean and a variance for each channel."""
    C, H, W = d.widths(3)
    arrays = {"s": d.normal(d.B, C, H + 1, W), "v": d.normal(d.B, C, H + 1, W)}
    own = {"gamma": d.uniform(0.5, 2.0, C), "beta": d.normal(C), "mean": d.normal(C)}
    return {**arrays, **own, "var": d.uniform(0.5, 2.0, C), "eps": 0.3}


def _layer_norm(engine, gamma, beta, s, eps):
    f = engine.LayerNorm((s.shape[1],), eps)
    return f, {"gamma": gamma, "beta": beta}, f.forward({"gamma": gamma, "beta": beta}, s)


@exercise("LN.1", problem=features)
def layer_norm(engine, gamma, beta, s, eps):
    """gamma (s - mean) / sqrt(variance + eps) + beta, mean and variance over the features of each sample: (B, n)."""
    return _layer_norm(engine, gamma, beta, s, eps)[2][0]


@exercise("LN.2", problem=features)
def layer_norm_down(engine, gamma, beta, s, v, eps):
    """J^T v of (LN.1) with respect to s, for v (B, n): (B, n)."""
    f, p, (_, tape) = _layer_norm(engine, gamma, beta, s, eps)
    return f.vjp(p, tape, v, params=False)[0]


@exercise("LN.3", problem=features)
def layer_norm_gradient(engine, gamma, beta, s, v, eps):
    """The gradient of gamma and beta of (LN.1), for v (B, n): a dict ``gamma``, ``beta``, (n,)."""
    f, p, (_, tape) = _layer_norm(engine, gamma, beta, s, eps)
    return f.vjp(p, tape, v, input=False)[1]


def _batch_norm(engine, p, s, v, eps, statistics):
    f = engine.BatchNorm2d(s.shape[1], statistics, eps)
    return f.vjp(p, f.forward(p, s)[1], v)


@exercise("BN.2", problem=channels)
def batch_norm_down(engine, gamma, beta, s, v, eps):
    """J^T v of batch normalisation with respect to the images s (B, C, H, W): (B, C, H, W).

    Mean and variance of a channel are over all samples and pixels; gamma, beta (C,).
    """
    return _batch_norm(engine, {"gamma": gamma, "beta": beta}, s, v, eps, "batch")[0]


@exercise("BN.3", problem=channels)
def batch_norm_gradient(engine, gamma, beta, s, v, eps):
    """The gradient of gamma and beta of batch normalisation (BN.2): a dict ``gamma``, ``beta``, (C,)."""
    grads = _batch_norm(engine, {"gamma": gamma, "beta": beta}, s, v, eps, "batch")[1]
    return {name: grads[name] for name in ("gamma", "beta")}


@exercise("BN.4", problem=channels)
def frozen_batch_norm_down(engine, gamma, beta, mean, var, s, v, eps):
    """J^T v of batch normalisation with the given statistics mean, var (C,): (B, C, H, W)."""
    p = {"gamma": gamma, "beta": beta, "mean": mean, "var": var}
    return _batch_norm(engine, p, s, v, eps, "frozen")[0]
