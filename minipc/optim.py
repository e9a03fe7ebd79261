r"""Update rules: parameters and gradient in, new parameters and new state out.

=========  ==========================================================================================
(SGD.1)    :math:`\theta \leftarrow \theta - \eta\, g`
(ADAM.1)   :math:`m \leftarrow \beta_1 m + (1 - \beta_1)\, g`
(ADAM.2)   :math:`v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2`
(ADAM.3)   :math:`\hat m = m / (1 - \beta_1^t)`, :math:`\hat v = v / (1 - \beta_2^t)`
(ADAM.4)   :math:`\theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)`
=========  ==========================================================================================

An optimiser holds numbers, never arrays: ``state`` is handed in and out, so a run can be stored and
repeated. Gradients arrive divided by the batch size already (``train.fit`` does it, and nothing else).
"""

from dataclasses import dataclass
from typing import NamedTuple

from .arguments import check_positive_number, is_number
from .backend import array_module


def _map(function, *trees):
    """Apply ``function`` to the parameters of the same name of several lists of dicts."""
    return [{name: function(*(p[name] for p in ps)) for name in ps[0]} for ps in zip(*trees, strict=True)]


@dataclass(frozen=True)
class SGD:
    """Gradient descent, Eq. (SGD.1).

    Parameters
    ----------
    learning_rate : float      eta, positive
    """

    learning_rate: float

    def __post_init__(self):
        check_positive_number("learning_rate", self.learning_rate)

    def init(self, params):
        """No state."""
        return None

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place."""
        eta = float(self.learning_rate)
        return _map(lambda p, g: p - eta * g, params, grads), state  # (SGD.1)


class AdamState(NamedTuple):
    """Running means of the gradient and of its square, and the number of steps taken."""

    m: list
    v: list
    t: int


@dataclass(frozen=True)
class Adam:
    """Adam, Eqs. (ADAM.1)-(ADAM.4).

    Parameters
    ----------
    learning_rate : float      eta, positive
    b1, b2 : float             decay of the running means, in [0, 1)
    eps : float                added to the root, positive

    Notes
    -----
    Adam removes a common factor of the gradient: the small factor that a few small ePC steps put before
    backprop's gradient (ePC.11) is invisible to it, as long as the gradient stays well above ``eps``.
    Source: Kingma & Ba (2015), arXiv 1412.6980.
    """

    learning_rate: float = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        check_positive_number("learning_rate", self.learning_rate)
        check_positive_number("eps", self.eps)
        for name in ("b1", "b2"):
            value = getattr(self, name)
            if not is_number(value):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not 0 <= value < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {value}")

    def init(self, params):
        """Zero means."""
        zeros = _map(lambda p: array_module(p).zeros_like(p), params)
        return AdamState(zeros, zeros, 0)

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place."""
        b1, b2, eta, eps, t = (
            float(self.b1),
            float(self.b2),
            float(self.learning_rate),
            float(self.eps),
            state.t + 1,
        )
        m = _map(lambda m, g: b1 * m + (1 - b1) * g, state.m, grads)  # (ADAM.1)
        v = _map(lambda v, g: b2 * v + (1 - b2) * g * g, state.v, grads)  # (ADAM.2)
        first, second = 1 / (1 - b1**t), 1 / (1 - b2**t)  # (ADAM.3)
        new = _map(
            lambda p, m, v: p - eta * (first * m) / ((second * v) ** 0.5 + eps), params, m, v
        )  # (ADAM.4)
        return new, AdamState(m, v, t)
