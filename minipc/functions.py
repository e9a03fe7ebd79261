r"""Activations and losses, each value beside its derivatives.

=========  =====================================================================================
(ACT.1)    identity     :math:`\phi(a) = a`
(ACT.2)    tanh         :math:`\phi' = 1 - \mu^2`
(ACT.3)    sigmoid      :math:`\phi' = \mu (1 - \mu)`
(ACT.4)    relu         :math:`\phi' = 1[a > 0]`
(ACT.5)    leaky_relu   :math:`\phi' = 1` for :math:`a > 0`, else 0.01
(ACT.6)    gelu         tanh form, :math:`\frac12 a (1 + \tanh(c (a + k a^3)))`
(ACT.7)    softplus     :math:`\phi = \log(1 + e^a)`, :math:`\phi' = 1 - e^{-\mu}`
(ACT.8)    identity     :math:`\phi'' = 0`
(ACT.9)    tanh         :math:`\phi'' = -2 \mu (1 - \mu^2)`
(ACT.10)   sigmoid      :math:`\phi'' = \mu (1 - \mu) (1 - 2 \mu)`
(ACT.11)   relu         :math:`\phi'' = 0`
(ACT.12)   leaky_relu   :math:`\phi'' = 0`
(ACT.13)   gelu         :math:`\phi'' = t' + \frac12 a t''` with :math:`t = \tanh(c (a + k a^3))`
(ACT.14)   softplus     :math:`\phi'' = e^{-\mu} (1 - e^{-\mu})`
(LOSS.1)   mse              :math:`\frac12 |y - \hat y|^2`, error :math:`y - \hat y`
(LOSS.2)   cross_entropy    :math:`-y^\top \log \mathrm{softmax}(\hat y)`,
           error :math:`y - \mathrm{softmax}(\hat y)`
(LOSS.3)   curvature :math:`v \mapsto (\partial^2 \mathcal L/\partial \hat y^2)\, v`: :math:`v`, resp.
           :math:`p \odot v - p (p^\top v)`, resp. :math:`p \odot (1 - p) \odot v`
(LOSS.4)   binary_cross_entropy  :math:`\sum_i \mathrm{softplus}(\hat y_i) - y_i \hat y_i`,
           error :math:`y - \mathrm{sigmoid}(\hat y)`
=========  =====================================================================================

Every derivative is ``dphi(a, mu)`` with the pre-activation ``a`` and the value ``mu = phi(a)`` that the
forward pass has computed already, so tanh and exp are never evaluated twice; the second derivative is
``d2phi(a, mu)``. All functions are elementwise, keep the dtype, and let complex numbers through (complex
step). At a kink the derivative is the left one, and the second derivative is zero. The *error* of a loss is minus its derivative, the arrow that enters (BP.3).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from .backend import array_module

_GELU_C, _GELU_K = math.sqrt(2 / math.pi), 0.044715
_LEAK = 0.01


class Activation(NamedTuple):
    """Elementwise ``phi(a)``, and the derivatives ``dphi(a, mu)``, ``d2phi(a, mu)`` with ``mu = phi(a)``."""

    name: str
    phi: Callable
    dphi: Callable
    d2phi: Callable


def identity(a):
    return a  # (ACT.1)


def didentity(a, mu):
    return array_module(a).ones_like(a)  # (ACT.1)


def d2identity(a, mu):
    return array_module(a).zeros_like(a)  # (ACT.8)


def tanh(a):
    return array_module(a).tanh(a)  # (ACT.2)


def dtanh(a, mu):
    return 1 - mu * mu  # (ACT.2)


def d2tanh(a, mu):
    return -2 * mu * (1 - mu * mu)  # (ACT.9)


def sigmoid(a):
    return 0.5 * array_module(a).tanh(0.5 * a) + 0.5  # (ACT.3), in the form that cannot overflow


def dsigmoid(a, mu):
    return mu * (1 - mu)  # (ACT.3)


def d2sigmoid(a, mu):
    return (1 - 2 * mu) * mu * (1 - mu)  # (ACT.10)


def relu(a):
    return a * (a.real > 0)  # (ACT.4); a product, so that NaN stays NaN


def drelu(a, mu):
    return (a.real > 0).astype(a.dtype)  # (ACT.4)


def d2relu(a, mu):
    return array_module(a).zeros_like(a)  # (ACT.11)


def leaky_relu(a):
    return array_module(a).where(a.real > 0, a, _LEAK * a)  # (ACT.5)


def dleaky_relu(a, mu):
    xp = array_module(a)
    return xp.where(a.real > 0, xp.ones_like(a), _LEAK)  # (ACT.5)


def d2leaky_relu(a, mu):
    return array_module(a).zeros_like(a)  # (ACT.12)


def gelu(a):
    t = array_module(a).tanh(_GELU_C * (a + _GELU_K * a * a * a))
    return 0.5 * a * (1 + t)  # (ACT.6)


def dgelu(a, mu):
    t = array_module(a).tanh(_GELU_C * (a + _GELU_K * a * a * a))
    slope = _GELU_C * (1 + 3 * _GELU_K * a * a)  # of the argument of tanh
    return 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * slope  # (ACT.6)


def d2gelu(a, mu):
    t = array_module(a).tanh(_GELU_C * (a + _GELU_K * a * a * a))
    slope, bend = _GELU_C * (1 + 3 * _GELU_K * a * a), _GELU_C * 6 * _GELU_K * a  # of the argument of tanh
    dt = (1 - t * t) * slope
    d2t = (1 - t * t) * bend - 2 * t * dt * slope
    return dt + 0.5 * a * d2t  # (ACT.13)


def softplus(a):
    xp = array_module(a)
    positive = a.real > 0
    return a * positive + xp.log1p(xp.exp(xp.where(positive, -a, a)))  # (ACT.7); exp never overflows


def dsoftplus(a, mu):
    return -array_module(mu).expm1(-mu)  # (ACT.7)


def d2softplus(a, mu):
    xp = array_module(mu)
    return -xp.exp(-mu) * xp.expm1(-mu)  # (ACT.14)


ACTIVATIONS = {
    "identity": Activation("identity", identity, didentity, d2identity),
    "tanh": Activation("tanh", tanh, dtanh, d2tanh),
    "sigmoid": Activation("sigmoid", sigmoid, dsigmoid, d2sigmoid),
    "relu": Activation("relu", relu, drelu, d2relu),
    "leaky_relu": Activation("leaky_relu", leaky_relu, dleaky_relu, d2leaky_relu),
    "gelu": Activation("gelu", gelu, dgelu, d2gelu),
    "softplus": Activation("softplus", softplus, dsoftplus, d2softplus),
}


class Loss(NamedTuple):
    """A loss of the output ``yhat (B, n)`` and the prepared target ``y (B, n)``.

    ``value(yhat, y) -> (B,)``, ``error(yhat, y) -> (B, n)`` (minus the derivative of the value) and
    ``curvature(yhat, v) -> (B, n)``, the second derivative times a vector.
    """

    name: str
    value: Callable
    error: Callable
    curvature: Callable


def mse(yhat, y):
    eps = y - yhat
    return 0.5 * (eps * eps).sum(axis=1)  # (LOSS.1)


def mse_error(yhat, y):
    return y - yhat  # (LOSS.1)


def mse_curvature(yhat, v):
    return v  # (LOSS.3)


def log_softmax(yhat):
    """Logarithm of the softmax of each row, stable; ``(B, n) -> (B, n)``."""
    xp = array_module(yhat)
    shifted = yhat - yhat.real.max(axis=1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))


def softmax(yhat):
    """Softmax of each row; ``(B, n) -> (B, n)``."""
    return array_module(yhat).exp(log_softmax(yhat))


def cross_entropy(yhat, y):
    return -(y * log_softmax(yhat)).sum(axis=1)  # (LOSS.2)


def cross_entropy_error(yhat, y):
    return y - softmax(yhat)  # (LOSS.2), for rows of y that sum to one


def cross_entropy_curvature(yhat, v):
    p = softmax(yhat)
    return p * v - p * (p * v).sum(axis=1, keepdims=True)  # (LOSS.3)


def binary_cross_entropy(yhat, y):
    return (softplus(yhat) - y * yhat).sum(axis=1)  # (LOSS.4); the stable form: no logarithm of a sigmoid


def binary_cross_entropy_error(yhat, y):
    return y - sigmoid(yhat)  # (LOSS.4)


def binary_cross_entropy_curvature(yhat, v):
    p = sigmoid(yhat)
    return p * (1 - p) * v  # (LOSS.3)


LOSSES = {
    "mse": Loss("mse", mse, mse_error, mse_curvature),
    "cross_entropy": Loss("cross_entropy", cross_entropy, cross_entropy_error, cross_entropy_curvature),
    "binary_cross_entropy": Loss(
        "binary_cross_entropy",
        binary_cross_entropy,
        binary_cross_entropy_error,
        binary_cross_entropy_curvature,
    ),
}
