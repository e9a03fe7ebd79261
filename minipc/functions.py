r"""Activations and losses, each value beside its derivative.

=========  =====================================================================================
(ACT.1)    identity     :math:`\phi(a) = a`
(ACT.2)    tanh         :math:`\phi' = 1 - \mu^2`
(ACT.3)    sigmoid      :math:`\phi' = \mu (1 - \mu)`
(ACT.4)    relu         :math:`\phi' = 1[a > 0]`
(ACT.5)    leaky_relu   :math:`\phi' = 1` for :math:`a > 0`, else 0.01
(ACT.6)    gelu         tanh form, :math:`\frac12 a (1 + \tanh(c (a + k a^3)))`
(ACT.7)    softplus     :math:`\phi = \log(1 + e^a)`, :math:`\phi' = 1 - e^{-\mu}`
(LOSS.1)   mse              :math:`\frac12 |y - \hat y|^2`, error :math:`y - \hat y`
(LOSS.2)   cross_entropy    :math:`-y^\top \log \mathrm{softmax}(\hat y)`,
           error :math:`y - \mathrm{softmax}(\hat y)`
(LOSS.3)   curvature :math:`v \mapsto (\partial^2 \mathcal L/\partial \hat y^2)\, v`: :math:`v`, resp.
           :math:`p \odot v - p (p^\top v)`
=========  =====================================================================================

Every derivative is ``dphi(a, mu)`` with the pre-activation ``a`` and the value ``mu = phi(a)`` that the
forward pass has computed already, so tanh and exp are never evaluated twice. All functions are
elementwise, keep the dtype, and let complex numbers through (complex step). At a kink the derivative is
the left one. The *error* of a loss is minus its derivative, the arrow that enters (BP.3).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from .backend import array_module

_GELU_C, _GELU_K = math.sqrt(2 / math.pi), 0.044715
_LEAK = 0.01


class Activation(NamedTuple):
    """Elementwise ``phi(a)`` and its derivative ``dphi(a, mu)`` with ``mu = phi(a)``; ``(B, n) -> (B, n)``."""

    name: str
    phi: Callable
    dphi: Callable


def identity(a):
    return a  # (ACT.1)


def didentity(a, mu):
    return array_module(a).ones_like(a)  # (ACT.1)


def tanh(a):
    return array_module(a).tanh(a)  # (ACT.2)


def dtanh(a, mu):
    return 1 - mu * mu  # (ACT.2)


def sigmoid(a):
    return 0.5 * array_module(a).tanh(0.5 * a) + 0.5  # (ACT.3), in the form that cannot overflow


def dsigmoid(a, mu):
    return mu * (1 - mu)  # (ACT.3)


def relu(a):
    return a * (a.real > 0)  # (ACT.4); a product, so that NaN stays NaN


def drelu(a, mu):
    return (a.real > 0).astype(a.dtype)  # (ACT.4)


def leaky_relu(a):
    return array_module(a).where(a.real > 0, a, _LEAK * a)  # (ACT.5)


def dleaky_relu(a, mu):
    xp = array_module(a)
    return xp.where(a.real > 0, xp.ones_like(a), _LEAK)  # (ACT.5)


def gelu(a):
    t = array_module(a).tanh(_GELU_C * (a + _GELU_K * a * a * a))
    return 0.5 * a * (1 + t)  # (ACT.6)


def dgelu(a, mu):
    t = array_module(a).tanh(_GELU_C * (a + _GELU_K * a * a * a))
    slope = _GELU_C * (1 + 3 * _GELU_K * a * a)  # of the argument of tanh
    return 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * slope  # (ACT.6)


def softplus(a):
    xp = array_module(a)
    positive = a.real > 0
    return a * positive + xp.log1p(xp.exp(xp.where(positive, -a, a)))  # (ACT.7); exp never overflows


def dsoftplus(a, mu):
    return -array_module(mu).expm1(-mu)  # (ACT.7)


ACTIVATIONS = {
    "identity": Activation("identity", identity, didentity),
    "tanh": Activation("tanh", tanh, dtanh),
    "sigmoid": Activation("sigmoid", sigmoid, dsigmoid),
    "relu": Activation("relu", relu, drelu),
    "leaky_relu": Activation("leaky_relu", leaky_relu, dleaky_relu),
    "gelu": Activation("gelu", gelu, dgelu),
    "softplus": Activation("softplus", softplus, dsoftplus),
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


LOSSES = {
    "mse": Loss("mse", mse, mse_error, mse_curvature),
    "cross_entropy": Loss("cross_entropy", cross_entropy, cross_entropy_error, cross_entropy_curvature),
}
