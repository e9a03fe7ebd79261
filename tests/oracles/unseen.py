"""Functions that minipc has never seen, with gradients derived by hand, right and wrong: what a student would bring.

A case is a function, its arguments, the right gradient, and wrong ones: by their name the gradient and a part of the sentence
that explains it (None where no simple reason exists).
"""

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """One function and what somebody derived for it."""

    f: object
    args: tuple
    right: object
    wrong: dict  # name -> (gradient, part of a note or None)
    wrt: object = 0


def normal(seed, *shape):
    """Numbers of N(0, 1)."""
    return np.random.default_rng(seed).standard_normal(shape)


def softmax(a):
    """Over the last axis; the real part is subtracted, so that a complex step passes."""
    e = np.exp(a - a.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def with_(tree, **changes):
    """A dict with some entries changed by functions of the old ones."""
    return {k: changes[k](v) if k in changes else v for k, v in tree.items()}


def changed(gradient, **changes):
    """A gradient that returns a dict, with some entries changed."""
    return lambda *args: with_(gradient(*args), **changes)


# --- softmax regression with a penalty --------------------------------------------------------------------------------


def regression_loss(params, x, labels):
    """Cross-entropy, summed over samples, plus a penalty on the weights."""
    p = softmax(x @ params["W"].T + params["b"])
    return -np.log(p[np.arange(len(labels)), labels]).sum() + 0.05 * (params["W"] ** 2).sum()


def regression_gradient(params, x, labels):
    """p minus one-hot, times the input."""
    d = softmax(x @ params["W"].T + params["b"])
    d[np.arange(len(labels)), labels] -= 1
    return {"W": d.T @ x + 0.1 * params["W"], "b": d.sum(0)}


def regression_per_sample(params, x, labels):
    """The sum over samples forgotten for b."""
    d = softmax(x @ params["W"].T + params["b"])
    d[np.arange(len(labels)), labels] -= 1
    return {"W": d.T @ x + 0.1 * params["W"], "b": d}


def regression_unpenalised(params, x, labels):
    """The penalty forgotten."""
    g = regression_gradient(params, x, labels)
    return with_(g, W=lambda W: W - 0.1 * params["W"])


softmax_regression = Case(
    regression_loss,
    ({"W": normal(0, 4, 3), "b": normal(1, 4)}, normal(2, 7, 3), np.array([0, 1, 3, 2, 0, 1, 3])),
    regression_gradient,
    {
        "sign": (lambda *a: with_(regression_gradient(*a), W=np.negative, b=np.negative), "sign is wrong"),
        "batch mean for sum": (
            changed(regression_gradient, b=lambda b: b / 7),
            "1/7 (a mean over axis 0 of x",
        ),
        "no sum over the batch": (regression_per_sample, "sum over axis 0 is missing"),
        "no penalty": (regression_unpenalised, "-0.1 times the parameter itself"),
        "transposed": (changed(regression_gradient, W=np.transpose), "transposed, it is right"),
    },
)


# --- attention ------------------------------------------------------------------------------------------------------------


def attention(params, x, weights):
    """One head over the rows of x (T, n), read out with fixed weights (T, m)."""
    Q, K, V = (x @ params[k].T for k in ("Wq", "Wk", "Wv"))
    P = softmax(Q @ K.T / Q.shape[1] ** 0.5)
    return ((P @ V) * weights).sum()


def attention_gradient(params, x, weights, *, centred=True, scale=None):
    """Back through the product with V, the softmax of each row, and both projections."""
    Q, K, V = (x @ params[k].T for k in ("Wq", "Wk", "Wv"))
    scale = scale or Q.shape[1] ** -0.5
    P = softmax(Q @ K.T * Q.shape[1] ** -0.5)
    dV, dP = P.T @ weights, weights @ V.T
    dA = P * (dP - centred * (P * dP).sum(1, keepdims=True)) * scale
    return {"Wq": (dA @ K).T @ x, "Wk": (dA.T @ Q).T @ x, "Wv": dV.T @ x}


def attention_swapped(params, x, weights):
    """The gradients of query and key exchanged."""
    g = attention_gradient(params, x, weights)
    return {**g, "Wq": g["Wk"], "Wk": g["Wq"]}


attention_block = Case(
    attention,
    ({"Wq": normal(3, 4, 3), "Wk": normal(4, 4, 3), "Wv": normal(5, 2, 3)}, normal(6, 5, 3), normal(7, 5, 2)),
    attention_gradient,
    {
        "softmax not centred": (lambda *a: attention_gradient(*a, centred=False), None),
        "scale forgotten": (lambda *a: attention_gradient(*a, scale=1.0), "right one times 2"),
        "query and key exchanged": (attention_swapped, "this is the derivative by params['Wk']"),
        "zero for the values": (changed(attention_gradient, Wv=np.zeros_like), "zero everywhere"),
    },
)


# --- layer norm -----------------------------------------------------------------------------------------------------------


def layer_norm(x, gain, bias, weights):
    """Normalised over the last axis, then a gain and a bias; read out with fixed weights."""
    c = x - x.mean(-1, keepdims=True)
    return (weights * (gain * c / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5) + bias)).sum()


def layer_norm_gradient(x, gain, bias, weights, *, through_mean=True, through_variance=True):
    """Mean and variance depend on x, too."""
    c = x - x.mean(-1, keepdims=True)
    s = 1 / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)
    xhat, d = c * s, weights * gain
    dx = d - through_mean * d.mean(-1, keepdims=True)
    dx = s * (dx - through_variance * xhat * (d * xhat).mean(-1, keepdims=True))
    return dx, (weights * xhat).sum(0), weights.sum(0)


normalisation = Case(
    layer_norm,
    (normal(8, 5, 4), normal(9, 4), normal(10, 4), normal(11, 5, 4)),
    layer_norm_gradient,
    {
        "mean as a constant": (lambda *a: layer_norm_gradient(*a, through_mean=False), None),
        "variance as a constant": (lambda *a: layer_norm_gradient(*a, through_variance=False), None),
        "bias not summed": (
            lambda *a: (*layer_norm_gradient(*a)[:2], a[3]),
            "the sum over axis 0 is missing",
        ),
        "gain and bias exchanged": (
            lambda *a: tuple(layer_norm_gradient(*a)[i] for i in (0, 2, 1)),
            "this is the derivative by bias",
        ),
    },
    wrt=(0, 1, 2),
)


# --- log-sum-exp -----------------------------------------------------------------------------------------------------------


def log_sum_exp(x, A):
    """A smooth maximum of some linear functions."""
    a = A @ x
    return a.real.max() + np.log(np.exp(a - a.real.max()).sum())


smooth_maximum = Case(
    log_sum_exp,
    (normal(12, 3), 3 * normal(13, 6, 3)),
    lambda x, A: A.T @ softmax(A @ x),
    {
        "not normalised": (lambda x, A: A.T @ np.exp(A @ x), "the right one times"),
        "the largest alone": (lambda x, A: A[np.argmax(A @ x)], None),
        "sign": (lambda x, A: -A.T @ softmax(A @ x), "sign is wrong"),
    },
)


# --- likelihood of a Kalman filter --------------------------------------------------------------------------------------------


def kalman(theta, y):
    """Minus log-likelihood of a series under a scalar state-space model; theta: transition, log variances."""
    a, q, r = theta["a"], np.exp(theta["log_q"]), np.exp(theta["log_r"])
    m, P, total = 0.3, 1.0, 0.0
    for value in y:
        m, P = a * m, a * a * P + q
        e, S = value - m, P + r
        total = total + 0.5 * (np.log(S) + e * e / S)
        m, P = m + P / S * e, P * r / S
    return total


def kalman_gradient(theta, y, *, carried=True):
    """The sensitivities of mean and variance are carried beside them; rows: a, log q, log r."""
    a, q, r = theta["a"], np.exp(theta["log_q"]), np.exp(theta["log_r"])
    m, P, dm, dP, g = 0.3, 1.0, np.zeros(3), np.zeros(3), np.zeros(3)
    ea, eq, er = np.eye(3)
    for value in y:
        dm, dP = a * dm + m * ea, a * a * dP + 2 * a * P * ea + q * eq
        m, P = a * m, a * a * P + q
        e, S, dS = value - m, P + r, dP + r * er
        g = g + 0.5 * dS / S - e * dm / S - 0.5 * e * e / S**2 * dS
        dm = dm + (dP / S - P * dS / S**2) * e - P / S * dm
        dP = dP * r / S + P * r * er / S - P * r * dS / S**2
        m, P = m + P / S * e, P * r / S
        dm, dP = carried * dm, carried * dP
    return dict(zip(("a", "log_q", "log_r"), map(float, g), strict=True))


likelihood = Case(
    kalman,
    ({"a": 0.8, "log_q": -0.5, "log_r": 0.3}, normal(14, 6)),
    kalman_gradient,
    {
        "history dropped": (lambda *a: kalman_gradient(*a, carried=False), None),
        "by q for log q": (
            lambda t, y: with_(kalman_gradient(t, y), log_q=lambda g: g / np.exp(t["log_q"])),
            None,
        ),
        "no half": (changed(kalman_gradient, a=lambda g: 2 * g), "right one times 2"),
    },
)


# --- energy of a graph ---------------------------------------------------------------------------------------------------------


def graph_energy(X, A):
    """Squared distances of neighbours, the adjacency need not be symmetric."""
    D = X[:, None] - X[None]
    return 0.5 * (A * (D * D).sum(-1)).sum()


def laplacian(A):
    """Degrees minus adjacency."""
    return np.diag(A.sum(1)) - A


graph = Case(
    graph_energy,
    (normal(15, 5, 2), np.abs(normal(16, 5, 5))),
    lambda X, A: laplacian(A + A.T) @ X,
    {
        "one direction of the edges": (lambda X, A: laplacian(A) @ X, None),
        "degrees alone": (lambda X, A: np.diag((A + A.T).sum(1)) @ X, None),
        "half": (lambda X, A: 0.5 * laplacian(A + A.T) @ X, "right one times 1/2"),
        "sign": (lambda X, A: -laplacian(A + A.T) @ X, "sign is wrong"),
    },
)


# --- a complex filter --------------------------------------------------------------------------------------------------------------


def filter_error(h, x, y):
    """Squared error of a complex filter."""
    r = np.convolve(x, h, "valid") - y
    return 0.5 * (abs(r) ** 2).sum()


def filter_gradient(h, x, y):
    """dF/dRe + i dF/dIm: correlate the residual with the conjugate of the input."""
    r = np.convolve(x, h, "valid") - y
    n = len(h)
    return np.array([(r * x[n - 1 - k : len(x) - k].conj()).sum() for k in range(n)])


complex_filter = Case(
    filter_error,
    (
        normal(17, 3) + 1j * normal(18, 3),
        normal(19, 9) + 1j * normal(20, 9),
        normal(21, 7) + 1j * normal(22, 7),
    ),
    filter_gradient,
    {
        "conjugate": (lambda *a: filter_gradient(*a).conj(), "complex conjugate"),
        "real part alone": (lambda *a: filter_gradient(*a).real, "only the real part"),
        "twice": (lambda *a: 2 * filter_gradient(*a), "right one times 2"),
        "time reversed": (lambda *a: filter_gradient(*a)[::-1], "reversed along its first axis"),
        "input not conjugated": (lambda h, x, y: filter_gradient(h, x.conj(), y), None),
    },
)


# --- a small convolutional net -------------------------------------------------------------------------------------------------------


def patches(x, size):
    """(B, H, W) -> (B, H', W', size, size)."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))


def cnn(params, x, y):
    """One channel, a kernel, tanh, mean over pixels of two filters, a linear readout, squared error."""
    a = np.einsum("bhwij,cij->bchw", patches(x, 3), params["K"]) + params["k"][:, None, None]
    out = np.tanh(a).mean((2, 3)) @ params["W"].T
    return 0.5 * ((out - y) ** 2).sum()


def cnn_gradient(params, x, y, *, flipped=False, mean=True):
    """Every pixel adds to the same kernel."""
    a = np.einsum("bhwij,cij->bchw", patches(x, 3), params["K"]) + params["k"][:, None, None]
    s = np.tanh(a)
    d = s.mean((2, 3)) @ params["W"].T - y
    da = (d @ params["W"])[:, :, None, None] * (1 - s * s) / (s[0, 0].size if mean else 1)
    K = np.einsum("bchw,bhwij->cij", da, patches(x, 3))
    return {"K": K[:, ::-1, ::-1] if flipped else K, "k": da.sum((0, 2, 3)), "W": d.T @ s.mean((2, 3))}


def cnn_bias_per_pixel(params, x, y):
    """The sum over pixels forgotten for the bias, which is the same for all of them."""
    g = cnn_gradient(params, x, y)
    return with_(g, k=lambda k: np.broadcast_to(k[:, None, None] / 12, (2, 3, 4)))


convolution = Case(
    cnn,
    (
        {"K": normal(23, 2, 3, 3), "k": normal(24, 2), "W": normal(25, 3, 2)},
        normal(26, 4, 5, 6),
        normal(27, 4, 3),
    ),
    cnn_gradient,
    {
        "kernel reversed": (lambda *a: cnn_gradient(*a, flipped=True), "reversed along its last two axes"),
        "pixels summed": (lambda *a: cnn_gradient(*a, mean=False), "right one times 12"),
        "bias per pixel": (cnn_bias_per_pixel, "the shape is (2, 3, 4), expected (2,)"),
        "readout transposed": (changed(cnn_gradient, W=np.transpose), "transposed, it is right"),
    },
)


# --- log-determinant -------------------------------------------------------------------------------------------------------------------


def log_determinant(A):
    """log det(A A^T + 1) through a Cholesky factor, which conjugates: no complex step."""
    return 2 * np.log(np.diag(np.linalg.cholesky(A @ A.T + np.eye(len(A))))).sum()


def log_determinant_gradient(A):
    """Twice the inverse times A."""
    return 2 * np.linalg.solve(A @ A.T + np.eye(len(A)), A)


cholesky = Case(
    log_determinant,
    (normal(28, 4, 4),),
    log_determinant_gradient,
    {
        "one side of A A^T": (lambda A: log_determinant_gradient(A) / 2, "right one times 1/2"),
        "transposed": (lambda A: log_determinant_gradient(A).T, "the answer is transposed"),
        "the 1 forgotten": (lambda A: 2 * np.linalg.inv(A).T, None),
    },
)


# --- Huber regression --------------------------------------------------------------------------------------------------------------------


def huber(w, x, y):
    """Squared for small residuals, linear for large ones: one derivative, not two."""
    r = x @ w - y
    small = abs(r.real) < 0.7
    return np.where(small, 0.5 * r * r, 0.7 * np.where(r.real > 0, r, -r) - 0.245).sum()


robust = Case(
    huber,
    (normal(29, 3), normal(30, 8, 3), normal(31, 8)),
    lambda w, x, y: x.T @ np.clip(x @ w - y, -0.7, 0.7),
    {
        "squared everywhere": (lambda w, x, y: x.T @ (x @ w - y), None),
        "sign alone": (lambda w, x, y: x.T @ np.sign(x @ w - y), None),
        "batch mean": (
            lambda w, x, y: x.T @ np.clip(x @ w - y, -0.7, 0.7) / 8,
            "1/8 (a mean over axis 0 of x",
        ),
    },
)


# --- contrastive loss ----------------------------------------------------------------------------------------------------------------------


def contrastive(U, V):
    """Each row of U has to find its row of V among all, by the cosine; norms inside: no complex step."""
    u, v = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in (U, V))
    a = u @ v.T / 0.5
    return (np.log(np.exp(a).sum(1)) - np.diag(a)).sum()


def contrastive_gradient(U, V, *, tangential=True, temperature=0.5):
    """Back through the cosine: only what is orthogonal to a row changes it."""
    nu, nv = (np.linalg.norm(A, axis=1, keepdims=True) for A in (U, V))
    u, v = U / nu, V / nv
    d = (softmax(u @ v.T / 0.5) - np.eye(len(u))) / temperature
    du, dv = d @ v, d.T @ u
    if tangential:
        du, dv = du - u * (u * du).sum(1, keepdims=True), dv - v * (v * dv).sum(1, keepdims=True)
    return du / nu, dv / nv


pairs = Case(
    contrastive,
    (normal(32, 5, 3), normal(33, 5, 3)),
    contrastive_gradient,
    {
        "the norm as a constant": (lambda *a: contrastive_gradient(*a, tangential=False), None),
        "temperature forgotten": (lambda *a: contrastive_gradient(*a, temperature=1), "right one times 1/2"),
        "V as a constant": (
            lambda *a: (contrastive_gradient(*a)[0], np.zeros((5, 3))),
            "zero everywhere",
        ),
    },
    wrt=(0, 1),
)


# --- steps of an ODE -------------------------------------------------------------------------------------------------------------------------


def field(state, mu):
    """Van der Pol, its derivative by the state and by mu."""
    x, v = state
    one = 0 * x + 1
    slope = np.array([v, mu * (1 - x * x) * v - x])
    return (
        slope,
        np.array([[0 * one, one], [-2 * mu * x * v - 1, mu * (1 - x * x)]]),
        np.array([0, (1 - x * x) * v]),
    )


def runge_kutta(mu, start):
    """Two steps of the classical method; the squared distance from (1, 0)."""
    s, h = start, 0.3
    for _ in range(2):
        k1 = field(s, mu)[0]
        k2 = field(s + h / 2 * k1, mu)[0]
        k3 = field(s + h / 2 * k2, mu)[0]
        k4 = field(s + h * k3, mu)[0]
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return ((s - np.array([1.0, 0.0])) ** 2).sum()


def runge_kutta_gradient(mu, start, *, order=4):
    """Tangents of every stage; columns: mu and both numbers of the start. Order 1 takes Euler's tangent instead."""
    s, h, T = np.asarray(start), 0.3, np.array([[0.0, 1, 0], [0, 0, 1]])

    def stage(at, tangent):
        k, J, by_mu = field(at, mu)
        return k, J @ tangent + np.outer(by_mu, [1, 0, 0])

    for _ in range(2):
        k1, t1 = stage(s, T)
        k2, t2 = stage(s + h / 2 * k1, T + h / 2 * t1)
        k3, t3 = stage(s + h / 2 * k2, T + h / 2 * t2)
        k4, t4 = stage(s + h * k3, T + h * t3)
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        T = T + (h / 6 * (t1 + 2 * t2 + 2 * t3 + t4) if order == 4 else h * t1)
    g = 2 * (s - np.array([1.0, 0.0])) @ T
    return float(g[0]), g[1:]


ode = Case(
    runge_kutta,
    (0.7, np.array([0.4, -1.1])),
    runge_kutta_gradient,
    {
        "tangent of another method": (lambda *a: runge_kutta_gradient(*a, order=1), None),
        "half of a square": (
            lambda *a: tuple(g / 2 for g in runge_kutta_gradient(*a)),
            "right one times 1/2",
        ),
    },
    wrt=(0, 1),
)


# --- mixture of Gaussians -----------------------------------------------------------------------------------------------------------------------


def mixture(params, x):
    """Minus log-likelihood of points under Gaussians of variance one; a dict that holds a list."""
    means = np.stack(params["means"])
    a = -0.5 * ((x[:, None] - means) ** 2).sum(-1) + np.log(softmax(params["logits"]))
    return -np.log(np.exp(a).sum(1)).sum()


def mixture_gradient(params, x, *, hard=False, centred=True):
    """By the responsibilities."""
    means = np.stack(params["means"])
    R = softmax(-0.5 * ((x[:, None] - means) ** 2).sum(-1) + params["logits"])
    R = (R == R.max(1, keepdims=True)) * 1.0 if hard else R
    g = -(R[:, :, None] * (x[:, None] - means)).sum(0)
    return {"means": list(g), "logits": centred * len(x) * softmax(params["logits"]) - R.sum(0)}


clusters = Case(
    mixture,
    ({"means": list(normal(34, 3, 2)), "logits": normal(35, 3)}, 2 * normal(36, 9, 2)),
    mixture_gradient,
    {
        "hard assignments": (lambda *a: mixture_gradient(*a, hard=True), None),
        "normalisation of the weights": (lambda *a: mixture_gradient(*a, centred=False), None),
    },
)


# --- Rayleigh quotient ---------------------------------------------------------------------------------------------------------------------------


def rayleigh(w, C):
    """The largest eigenvalue is its maximum; vdot conjugates: no complex step."""
    return np.vdot(w, C @ w) / np.vdot(w, w)


quotient = Case(
    rayleigh,
    (normal(37, 4), normal(38, 4, 4)),
    lambda w, C: ((C + C.T) @ w - 2 * rayleigh(w, C) * w) / (w @ w),
    {
        "C taken for symmetric": (lambda w, C: 2 * (C @ w - rayleigh(w, C) * w) / (w @ w), None),
        "the numerator alone": (lambda w, C: (C + C.T) @ w / (w @ w), "times the parameter itself"),
    },
)


# --- a bag of words -------------------------------------------------------------------------------------------------------------------------------


def bag(E, words, y):
    """The mean of the rows of a table, squared error; words are data and come twice."""
    return 0.5 * ((E[words].mean(1) - y) ** 2).sum()


def bag_gradient(E, words, y, *, lost=False):
    """Repeated words add up."""
    d = np.repeat(((E[words].mean(1) - y) / words.shape[1])[:, None], words.shape[1], axis=1)
    g = np.zeros_like(E)
    if lost:
        g[words] += d
    else:
        np.add.at(g, words, d)
    return g


embedding = Case(
    bag,
    (normal(39, 6, 2), np.array([[0, 1, 1], [2, 0, 4], [1, 5, 3]]), normal(40, 3, 2)),
    bag_gradient,
    {
        "repeated words lost": (lambda *a: bag_gradient(*a, lost=True), "4 of 12 entries differ"),
        "mean over words forgotten": (lambda *a: 3 * bag_gradient(*a), "right one times 3"),
    },
)

CASES = {
    "softmax regression with a penalty": softmax_regression,
    "attention": attention_block,
    "layer norm": normalisation,
    "log-sum-exp": smooth_maximum,
    "likelihood of a Kalman filter": likelihood,
    "energy of a graph": graph,
    "complex filter": complex_filter,
    "convolutional net": convolution,
    "log-determinant by Cholesky": cholesky,
    "Huber regression": robust,
    "contrastive loss": pairs,
    "Runge-Kutta steps": ode,
    "mixture of Gaussians": clusters,
    "Rayleigh quotient": quotient,
    "bag of words": embedding,
}
