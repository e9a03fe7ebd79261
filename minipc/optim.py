r"""Update rules: parameters and gradient in, new parameters and new state out.

=========  ==========================================================================================
(SGD.1)    :math:`\theta \leftarrow \theta - \eta\, g`
(SGD.2)    :math:`v \leftarrow \mu v + g`, :math:`\theta \leftarrow \theta - \eta\, v`
(SGD.3)    :math:`v \leftarrow \mu v + g`, :math:`\theta \leftarrow \theta - \eta\, (g + \mu v)`
(RMS.1)    :math:`v \leftarrow \alpha v + (1 - \alpha)\, g^2`
(RMS.2)    :math:`\theta \leftarrow \theta - \eta\, g / (\sqrt v + \epsilon)`
(ADAM.1)   :math:`m \leftarrow \beta_1 m + (1 - \beta_1)\, g`
(ADAM.2)   :math:`v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2`
(ADAM.3)   :math:`\hat m = m / (1 - \beta_1^t)`, :math:`\hat v = v / (1 - \beta_2^t)`
(ADAM.4)   :math:`\theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)`
(DECAY.1)  coupled: :math:`g \leftarrow g + \lambda \theta` before anything else
(DECAY.2)  decoupled: :math:`\theta \leftarrow (1 - \eta \lambda)\, \theta` before the step
(CLIP.1)   :math:`g \leftarrow g\, c / \max(c, \lVert g \rVert)`, one norm over all blocks
=========  ==========================================================================================

An optimiser holds numbers, never arrays: ``state`` is handed in and out, so a run can be stored and
repeated. Its leaves are arrays and one int, t, the number of updates done; its structure is that of
``init(params)``. Gradients arrive divided by the batch size already (``train.fit`` does it, and nothing else).

``learning_rate`` is a number or a function of t, such as those of :mod:`minipc.schedules`. Weight decay acts on
every parameter, biases too, but not on ``mean`` and ``var`` of a BatchNorm2d, which are measured and not learned.
:class:`Clip` and :class:`ByBlock` wrap optimisers, also each other.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from .arguments import (
    check_count,
    check_number_between,
    check_optimizer,
    check_positive_number,
    check_share,
    is_number,
)
from .backend import array_module


def _map(function, *trees):
    """Apply ``function`` to the parameters of the same name of several lists of dicts."""
    return [{name: function(*(p[name] for p in ps)) for name in ps[0]} for ps in zip(*trees, strict=True)]


def _zeros(params):
    """A zero for every parameter."""
    return _map(lambda p: array_module(p).zeros_like(p), params)


def _check_rate(rate):
    """A positive number, or a function of t that is no class."""
    if is_number(rate):
        check_positive_number("learning_rate", rate)
    elif isinstance(rate, type) or not callable(rate):
        raise TypeError(
            f"learning_rate must be a number or a schedule such as minipc.Cosine(1e-3, steps=1000), got {rate!r}"
        )


def _eta(rate, t):
    """The learning rate of the update that follows ``t`` others; zero is no error in a schedule."""
    eta = rate(t) if callable(rate) else rate
    if not is_number(eta) or not 0 <= eta < math.inf:
        raise ValueError(f"learning_rate must be finite and not negative, got {eta!r} for t = {t}")
    return float(eta)


def _check_state(state, kind):
    """``state`` is one of this optimiser."""
    if not isinstance(state, kind):
        raise TypeError(
            f"state must be what init(params) or the last step returned, {kind.__name__}; got {type(state).__name__}"
        )


def _decays(name):
    """False for the statistics of a BatchNorm2d: parameters without a gradient, which nothing may shrink."""
    return name.rpartition(".")[2] not in ("mean", "var")


def _coupled(grads, params, weight_decay):
    """The gradient of the loss plus ``weight_decay`` times half the squared length of the parameters."""
    wd = float(weight_decay)
    if not wd:
        return grads
    return [
        {name: g + wd * p[name] if _decays(name) else g for name, g in q.items()}  # (DECAY.1)
        for p, q in zip(params, grads, strict=True)
    ]


def _shrunk(params, share):
    """The parameters less the same share of each."""
    return [{name: (1 - share) * v if _decays(name) else v for name, v in p.items()} for p in params]


class SGDState(NamedTuple):
    """Velocities, an empty list without momentum, and the number of updates done."""

    v: list
    t: int


@dataclass(frozen=True)
class SGD:
    """Gradient descent, plain or with momentum, Eqs. (SGD.1)-(SGD.3).

    Parameters
    ----------
    learning_rate : float or schedule    eta, positive
    momentum : float                     mu, in [0, 1); 0: plain, Eq. (SGD.1)
    nesterov : bool                      look one step of the velocity ahead, Eq. (SGD.3); needs a momentum
    weight_decay : float                 lambda, coupled, Eq. (DECAY.1); not negative

    Notes
    -----
    A constant gradient g drives the velocity to g / (1 - mu): with mu = 0.9 the steps grow ten times longer.
    Source: Polyak (1964); Sutskever et al. (2013) for Nesterov's. The learning rate stands outside the
    velocity, as in PyTorch; equations.md has the other conventions.

    Examples
    --------
    >>> import numpy as np
    >>> params, g = [{"W": np.ones((1, 1))}], [{"W": np.ones((1, 1))}]
    >>> sgd = SGD(0.1, momentum=0.5)
    >>> new, state = sgd.step(params, g, sgd.init(params))
    >>> new, state = sgd.step(new, g, state)
    >>> float(round(new[0]["W"][0, 0], 3)), state.t  # 1 - 0.1 - 0.1 * 1.5
    (0.75, 2)
    """

    learning_rate: Any
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self):
        _check_rate(self.learning_rate)
        check_share("momentum", self.momentum)
        if not isinstance(self.nesterov, bool):
            raise TypeError(f"nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got momentum = 0")
        check_number_between("weight_decay", self.weight_decay, 0)

    def init(self, params):
        """Velocities of zero, if there is a momentum."""
        return SGDState(_zeros(params) if self.momentum else [], 0)

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place. ``state`` None stands for ``init(params)``."""
        state = self.init(params) if state is None else state
        _check_state(state, SGDState)
        eta, mu = _eta(self.learning_rate, state.t), float(self.momentum)
        grads, v = _coupled(grads, params, self.weight_decay), state.v
        if not mu:
            new = _map(lambda p, g: p - eta * g, params, grads)  # (SGD.1)
        else:
            v = _map(lambda v, g: mu * v + g, v, grads)  # (SGD.2)
            if self.nesterov:
                new = _map(lambda p, g, v: p - eta * (g + mu * v), params, grads, v)  # (SGD.3)
            else:
                new = _map(lambda p, v: p - eta * v, params, v)  # (SGD.2)
        return new, SGDState(v, state.t + 1)


class RMSpropState(NamedTuple):
    """Running mean of the squared gradient, and the number of updates done."""

    v: list
    t: int


@dataclass(frozen=True)
class RMSprop:
    """RMSprop, Eqs. (RMS.1), (RMS.2).

    Parameters
    ----------
    learning_rate : float or schedule    eta, positive
    decay : float                        alpha, decay of the running mean, in [0, 1)
    eps : float                          added to the root, positive
    weight_decay : float                 lambda, coupled, Eq. (DECAY.1); not negative

    Notes
    -----
    The mean starts at zero and is not corrected: the first step is ``eta / sqrt(1 - decay)`` long in every
    entry, ten times eta with the default.
    Source: Tieleman & Hinton (2012), lecture 6.5 of *Neural networks for machine learning*.
    """

    learning_rate: Any = 1e-3
    decay: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self):
        _check_rate(self.learning_rate)
        check_share("decay", self.decay)
        check_positive_number("eps", self.eps)
        check_number_between("weight_decay", self.weight_decay, 0)

    def init(self, params):
        """Zero means."""
        return RMSpropState(_zeros(params), 0)

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place."""
        _check_state(state, RMSpropState)
        eta, alpha, eps = _eta(self.learning_rate, state.t), float(self.decay), float(self.eps)
        grads = _coupled(grads, params, self.weight_decay)
        v = _map(lambda v, g: alpha * v + (1 - alpha) * g * g, state.v, grads)  # (RMS.1)
        new = _map(lambda p, g, v: p - eta * g / (v**0.5 + eps), params, grads, v)  # (RMS.2)
        return new, RMSpropState(v, state.t + 1)


class AdamState(NamedTuple):
    """Running means of the gradient and of its square, and the number of updates done."""

    m: list
    v: list
    t: int


@dataclass(frozen=True)
class Adam:
    """Adam, Eqs. (ADAM.1)-(ADAM.4).

    Parameters
    ----------
    learning_rate : float or schedule    eta, positive
    b1, b2 : float                       decay of the running means, in [0, 1)
    eps : float                          added to the root, positive
    weight_decay : float                 lambda, coupled, Eq. (DECAY.1); not negative. AdamW decouples it

    Notes
    -----
    Adam removes a common factor of the gradient: the small factor that a few small ePC steps put before
    backprop's gradient (ePC.11) is invisible to it, as long as the gradient stays well above ``eps``.
    Source: Kingma & Ba (2015), arXiv 1412.6980.
    """

    learning_rate: Any = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self):
        _check_rate(self.learning_rate)
        check_positive_number("eps", self.eps)
        check_share("b1", self.b1)
        check_share("b2", self.b2)
        check_number_between("weight_decay", self.weight_decay, 0)

    def init(self, params):
        """Zero means."""
        zeros = _zeros(params)
        return AdamState(zeros, zeros, 0)

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place."""
        _check_state(state, AdamState)
        b1, b2, eps, t = float(self.b1), float(self.b2), float(self.eps), state.t + 1
        eta = _eta(self.learning_rate, state.t)
        grads = _coupled(grads, params, self.weight_decay)
        m = _map(lambda m, g: b1 * m + (1 - b1) * g, state.m, grads)  # (ADAM.1)
        v = _map(lambda v, g: b2 * v + (1 - b2) * g * g, state.v, grads)  # (ADAM.2)
        first, second = 1 / (1 - b1**t), 1 / (1 - b2**t)  # (ADAM.3)
        new = _map(
            lambda p, m, v: p - eta * (first * m) / ((second * v) ** 0.5 + eps), params, m, v
        )  # (ADAM.4)
        return new, AdamState(m, v, t)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay, Eqs. (DECAY.2), (ADAM.1)-(ADAM.4).

    Parameters
    ----------
    learning_rate, b1, b2, eps    as in :class:`Adam`
    weight_decay : float          lambda, decoupled, Eq. (DECAY.2); not negative

    Notes
    -----
    Adam divides the gradient by its size. A coupled decay is part of the gradient and is divided as well, so that
    weights with large gradients hardly decay; a decoupled one shrinks all weights by the same share.
    Source: Loshchilov & Hutter (2019), arXiv 1711.05101; the decay is multiplied by eta, as in PyTorch.
    """

    learning_rate: Any = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self):
        Adam(self.learning_rate, self.b1, self.b2, self.eps, self.weight_decay)  # its checks

    def init(self, params):
        """Zero means."""
        return Adam().init(params)

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place."""
        _check_state(state, AdamState)
        eta, wd = _eta(self.learning_rate, state.t), float(self.weight_decay)
        params = _shrunk(params, eta * wd)  # (DECAY.2)
        return Adam(self.learning_rate, self.b1, self.b2, self.eps).step(params, grads, state)


@dataclass(frozen=True)
class Clip:
    """Shorten a gradient that is too long, Eq. (CLIP.1), then let an optimiser take its step.

    Parameters
    ----------
    optimizer : SGD, Adam, ...    whose state this is; its coupled weight decay comes after the clipping
    norm : float                  c, largest Euclidean norm over all parameters of all blocks together, positive

    Notes
    -----
    A gradient no longer than c is left bit for bit as it is: c / max(c, ||g||) is then c / c, which is exactly 1.
    The norm stays on the device, so the host does not wait. In float32 the squares overflow for entries above
    1e19; what is left of such a gradient is zero, after a warning of NumPy.
    Source: Pascanu, Mikolov & Bengio (2013), arXiv 1211.5063.

    Examples
    --------
    >>> import numpy as np
    >>> params, g = [{"b": np.zeros(2)}], [{"b": np.array([3.0, 4.0])}]
    >>> clip = Clip(SGD(1.0), norm=1.0)
    >>> clip.step(params, g, clip.init(params))[0][0]["b"]
    array([-0.6, -0.8])
    """

    optimizer: Any
    norm: float

    def __post_init__(self):
        check_optimizer("optimizer", self.optimizer)
        check_positive_number("norm", self.norm)

    def init(self, params):
        """The state of the optimiser."""
        return self.optimizer.init(params)

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place."""
        c = float(self.norm)
        length = sum((g * g).sum() for q in grads for g in q.values()) ** 0.5  # 0-d, on the device
        shorten = c / array_module(length).maximum(length, c)  # (CLIP.1)
        return self.optimizer.step(params, _map(lambda g: shorten * g, grads), state)


@dataclass(frozen=True)
class ByBlock:
    """An optimiser of its own for some blocks; None freezes a block.

    Parameters
    ----------
    blocks : dict                      block number, from 1 -> optimiser or None
    otherwise : optimiser or None      for all other blocks together

    Notes
    -----
    Each entry is a group. A :class:`Clip` inside ``ByBlock`` sees the gradient of its group, one around it that of
    all blocks, the frozen ones too. Inside another ``ByBlock`` the numbers are still those of the network. A frozen
    block's parameters are returned as they came, not copied.

    Examples
    --------
    >>> import numpy as np
    >>> params = [{"b": np.ones(1)}, {"b": np.ones(1)}, {"b": np.ones(1)}]
    >>> rule = ByBlock({1: None, 3: SGD(0.1)}, otherwise=SGD(0.5))
    >>> [float(p["b"][0]) for p in rule.step(params, params, rule.init(params))[0]]
    [1.0, 0.5, 0.9]
    """

    blocks: dict
    otherwise: Any

    def __post_init__(self):
        if not isinstance(self.blocks, dict):
            raise TypeError(f"blocks must be a dict, block number -> optimiser, got {self.blocks!r}")
        for l, optimizer in self.blocks.items():
            check_count("a block number", l, least=1)
            if optimizer is not None:
                check_optimizer(f"blocks[{l}]", optimizer)
        if self.otherwise is not None:
            check_optimizer("otherwise", self.otherwise)
        ordered = {int(l): self.blocks[l] for l in sorted(self.blocks)}
        object.__setattr__(self, "blocks", ordered)  # a copy: the caller's dict may change

    def init(self, params):
        """A list of the groups' states in the order of their blocks, last that of the others; none of a frozen one."""
        if unknown := [l for l in self.blocks if l > len(params)]:
            raise ValueError(
                f"there is no block {unknown[0]}: params has {len(params)} blocks, counted from 1 to {len(params)}"
            )
        return [optimizer.init(_only(ls, params)) for optimizer, ls in self._groups(params)]

    def step(self, params, grads, state):
        """New parameters and state; nothing is changed in place."""
        _check_state(state, list)
        new, states = list(params), []
        for (optimizer, ls), own in zip(self._groups(params), state, strict=True):
            moved, own = optimizer.step(_only(ls, params), _only(ls, grads), own)
            new = [moved[l - 1] if l in ls else p for l, p in enumerate(new, start=1)]
            states.append(own)
        return new, states

    def _groups(self, params):
        """Optimiser and block numbers of every group that learns."""
        others = [l for l in range(1, len(params) + 1) if l not in self.blocks]
        groups = [*((optimizer, [l]) for l, optimizer in self.blocks.items()), (self.otherwise, others)]
        return [(optimizer, ls) for optimizer, ls in groups if optimizer is not None]


def _only(ls, tree):
    """The blocks ``ls`` alone; the others are empty, so that all keep their numbers."""
    return [p if l in ls else {} for l, p in enumerate(tree, start=1)]
