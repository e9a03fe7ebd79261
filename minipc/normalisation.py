r"""Normalisation: blocks that give their input mean zero and variance one, then a scale and a shift that are learnt.

=========  ==========================================================================================
(LN.1)     :math:`\hat s_{bi} = (s_{bi} - m_b)/\sqrt{v_b + \epsilon}`, :math:`\mu_{bi} = \gamma_i \hat s_{bi} + \beta_i`;
           mean :math:`m_b` and variance :math:`v_b` over the n features of each sample
(LN.2)     down, with :math:`g = \gamma v`: :math:`(g_i - \frac1n \sum_j g_j - \hat s_i \frac1n \sum_j g_j \hat s_j)/\sqrt{v_b + \epsilon}`
(LN.3)     parameters, :math:`\sum_b v_{bi} \hat s_{bi}` and :math:`\sum_b v_{bi}`
(LN.4)     forward mode: the bracket of (LN.2) is a symmetric matrix, so it serves both directions
(BN.1)     the same with mean and variance of each channel over samples and pixels
(BN.2)     down, the bracket of (LN.2) with sums over samples and pixels: samples interact
(BN.3)     parameters, :math:`\sum_{b,yx} v_{bc,yx} \hat s_{bc,yx}` and :math:`\sum_{b,yx} v_{bc,yx}`
(BN.4)     frozen: mean and variance are numbers that came from elsewhere; down :math:`\gamma v/\sqrt{v_c + \epsilon}`
=========  ==========================================================================================

Mean and variance depend on every entry that they are taken over; a derivative that treats them as constants
is wrong by the two sums in (LN.2). Variances are those of the entries at hand, divided by their number.
"""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np  # host only: parameters are made here

from .arguments import check_count, check_positive_number, check_word, prepare_input
from .backend import Array
from .blocks import configuration


class NormTape(NamedTuple):
    """What a normalisation remembers: the normalised input and one over its standard deviation."""

    s_hat: Array
    rate: Array


def centred(g, s_hat, axes):
    """``g`` less its mean and less its share along ``s_hat``, Eqs. (LN.2), (BN.2): the derivative of normalising."""
    along = (g * s_hat).mean(axis=axes, keepdims=True)
    return g - g.mean(axis=axes, keepdims=True) - s_hat * along  # (LN.2), (BN.2)


def normalised(s, axes, eps):
    """``s`` with mean zero and variance one over ``axes``, one over the standard deviation, mean, variance."""
    mean = s.mean(axis=axes, keepdims=True)
    distance = s - mean
    var = (distance * distance).mean(axis=axes, keepdims=True)
    rate = (var + eps) ** -0.5
    return distance * rate, rate, mean, var  # (LN.1), (BN.1)


@dataclass(frozen=True)
class LayerNorm:
    """Normalise each sample over its features, Eq. (LN.1); ``(B, *shape) -> (B, *shape)``. Samples do not interact.

    Parameters
    ----------
    shape : int or tuple of int      shape of a sample: n, or for instance (C, H, W); normalised over all of it
    eps : float                      added to the variance, positive

    Raises
    ------
    ValueError, TypeError            for a size that is no positive integer, an eps that is not positive

    Notes
    -----
    Parameters: ``gamma``, ``beta`` of shape ``shape``; they start at one and zero. Cost O(B n).
    Source: Ba, Kiros & Hinton (2016), arXiv 1607.06450.

    Examples
    --------
    >>> block = LayerNorm(2, eps=1e-12)
    >>> p = block.init_params(None, "float64")
    >>> block.forward(p, np.array([[1.0, 3.0], [0.0, 8.0]]))[0]
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    shape: int | tuple
    eps: float = 1e-5

    def __post_init__(self):
        sizes = self.shape if isinstance(self.shape, tuple | list) else (self.shape,)
        if not sizes:
            raise ValueError("shape of a LayerNorm block must have at least one size, got ()")
        for n in sizes:
            check_count("shape of a LayerNorm block", n, least=1)
        check_positive_number("eps of a LayerNorm block", self.eps)
        object.__setattr__(self, "shape", tuple(int(n) for n in sizes))

    @property
    def shapes(self) -> dict:
        """Shape of every parameter: ``gamma``, ``beta``, that of a sample."""
        return {"gamma": self.shape, "beta": self.shape}

    @property
    def in_shape(self) -> tuple:
        """Shape of a sample at the input."""
        return self.shape

    def out_shape(self, in_shape) -> tuple:
        """Shape of a sample at the output, the same; a ValueError if samples of ``in_shape`` do not fit."""
        if tuple(in_shape) != self.shape:
            raise ValueError(f"LayerNorm must take inputs of shape {self.shape}, got {tuple(in_shape)}")
        return self.shape

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "layer norm"

    def config(self) -> dict:
        """The arguments that build this block again."""
        return {"shape": list(self.shape), "eps": float(self.eps)}

    def init_params(self, rng, dtype) -> dict:
        """Ones and zeros; host arrays of ``dtype``."""
        return {"gamma": np.ones(self.shape, dtype), "beta": np.zeros(self.shape, dtype)}

    def forward(self, p, s):
        """Output and tape, Eq. (LN.1)."""
        s_hat, rate, _, _ = normalised(s, self._axes, float(self.eps))
        return p["gamma"] * s_hat + p["beta"], NormTape(s_hat, rate)  # (LN.1)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """Pull ``v (B, *shape)`` back through the block: ``J^T v`` and the parameter gradient, Eqs. (LN.2), (LN.3)."""
        down = grads = None
        if input:
            down = tape.rate * centred(p["gamma"] * v, tape.s_hat, self._axes)  # (LN.2)
        if params:
            grads = {"gamma": (v * tape.s_hat).sum(axis=0), "beta": v.sum(axis=0)}  # (LN.3)
        return down, grads

    def jvp(self, p, tape, s_dot, p_dot=None):
        """Push tangents forward, Eq. (LN.4); ``s_dot (B, *shape)``, ``p_dot`` like ``p``."""
        mu_dot = p["gamma"] * (tape.rate * centred(s_dot, tape.s_hat, self._axes))  # (LN.4)
        if p_dot is not None:
            mu_dot = mu_dot + p_dot["gamma"] * tape.s_hat + p_dot["beta"]
        return mu_dot

    @property
    def _axes(self):
        """All but the batch."""
        return tuple(range(1, len(self.shape) + 1))


@dataclass(frozen=True)
class BatchNorm2d:
    """Normalise each channel over samples and pixels, Eq. (BN.1); ``(B, C, H, W) -> (B, C, H, W)``.

    ``statistics="batch"`` takes mean and variance from the batch at hand, as other libraries do in training.
    Then **samples interact**: energies are no longer sums of independent terms, an inference step depends on
    the batch, and the Jacobian that (sPC.4) takes for each sample alone is not block diagonal any more. And
    inside inference the map itself moves, because the statistics are those of the *states*, which change
    with every step. ``statistics="frozen"`` takes the parameters ``mean`` and ``var`` instead: a map of each
    sample alone, so that all of the theory holds. :func:`freeze_statistics` leads from the one to the other.

    Parameters
    ----------
    channels : int           C, positive
    statistics : str         "batch" or "frozen"
    eps : float              added to the variance, positive

    Raises
    ------
    ValueError, TypeError    for a size that is no positive integer, an unknown word, an eps that is not positive

    Notes
    -----
    Parameters: ``gamma``, ``beta``, ``mean``, ``var``, all (C,); they start at one, zero, zero, one. ``mean``
    and ``var`` are statistics, not weights: their gradients are zeros, and no tangent of them is pushed
    forward. Cost O(B C H W). Source: Ioffe & Szegedy (2015), arXiv 1502.03167; here without running averages.

    Examples
    --------
    >>> block = BatchNorm2d(1, eps=1e-12)
    >>> p = block.init_params(None, "float64")
    >>> block.forward(p, np.array([1.0, 3.0]).reshape(2, 1, 1, 1))[0].ravel()
    array([-1.,  1.])
    """

    channels: int
    statistics: str = "batch"
    eps: float = 1e-5

    def __post_init__(self):
        check_count("channels of a BatchNorm2d block", self.channels, least=1)
        check_word("statistics of a BatchNorm2d block", self.statistics, STATISTICS)
        check_positive_number("eps of a BatchNorm2d block", self.eps)

    @property
    def shapes(self) -> dict:
        """Shape of every parameter: ``gamma``, ``beta``, ``mean``, ``var``, (C,)."""
        return dict.fromkeys(("gamma", "beta", "mean", "var"), (self.channels,))

    @property
    def in_shape(self) -> None:
        """Height and width of the images are not fixed."""
        return None

    def out_shape(self, in_shape) -> tuple:
        """Shape of a sample at the output, the same; a ValueError if samples of ``in_shape`` do not fit."""
        if len(in_shape) != 3 or in_shape[0] != self.channels:
            raise ValueError(
                f"BatchNorm2d must take images with {self.channels} channels, shape (C, H, W), "
                f"got inputs of shape {tuple(in_shape)}"
            )
        return tuple(in_shape)

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return f"batch norm, {self.statistics}"

    def config(self) -> dict:
        """The arguments that build this block again."""
        return configuration(self)

    def init_params(self, rng, dtype) -> dict:
        """Ones and zeros; host arrays of ``dtype``."""
        one, zero = np.ones(self.channels, dtype), np.zeros(self.channels, dtype)
        return {"gamma": one, "beta": zero, "mean": zero.copy(), "var": one.copy()}

    def forward(self, p, s):
        """Output and tape, Eqs. (BN.1), (BN.4)."""
        if self.statistics == "batch":
            s_hat, rate, _, _ = normalised(s, AXES, float(self.eps))  # (BN.1)
        else:
            rate = (p["var"][:, None, None] + float(self.eps)) ** -0.5
            s_hat = (s - p["mean"][:, None, None]) * rate  # (BN.4)
        return p["gamma"][:, None, None] * s_hat + p["beta"][:, None, None], NormTape(s_hat, rate)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """Pull ``v (B, C, H, W)`` back through the block: ``J^T v`` and the parameter gradient, Eqs. (BN.2)-(BN.4)."""
        down = grads = None
        if input:
            g = p["gamma"][:, None, None] * v
            if self.statistics == "batch":
                g = centred(g, tape.s_hat, AXES)
            down = tape.rate * g  # (BN.2), (BN.4)
        if params:
            grads = {"gamma": (v * tape.s_hat).sum(axis=AXES), "beta": v.sum(axis=AXES)}  # (BN.3)
            zero = 0 * grads["beta"]
            grads.update(mean=zero, var=zero)
        return down, grads

    def jvp(self, p, tape, s_dot, p_dot=None):
        """Push tangents forward; ``s_dot (B, C, H, W)``, ``p_dot`` like ``p``: (BN.2), (BN.4) are symmetric up to gamma."""
        moved = centred(s_dot, tape.s_hat, AXES) if self.statistics == "batch" else s_dot
        mu_dot = p["gamma"][:, None, None] * (tape.rate * moved)  # (BN.2), (BN.4)
        if p_dot is not None:
            mu_dot = mu_dot + p_dot["gamma"][:, None, None] * tape.s_hat + p_dot["beta"][:, None, None]
        return mu_dot

    def freeze(self, p, s):
        """The frozen block, and ``p`` with the statistics of ``s (B, C, H, W)`` in ``mean`` and ``var``."""
        _, _, mean, var = normalised(s, AXES, float(self.eps))
        frozen = BatchNorm2d(self.channels, "frozen", self.eps)
        return frozen, {**p, "mean": mean.reshape(-1), "var": var.reshape(-1)}


def freeze_statistics(net, params, x):
    """Take the statistics of a batch into the parameters: ``(net, params)`` in which every BatchNorm2d is frozen.

    On ``x`` itself the new network gives what the old one gave; on any other batch it no longer depends on
    which samples are together in it. Blocks that are frozen already get new statistics too.

    Parameters
    ----------
    net : Network
    params : list of dicts
    x : (B, *input_shape)      a batch that stands for the data, as large as affordable

    Returns
    -------
    net : Network              with frozen blocks, also inside Residual blocks; ``net`` itself stays as it is
    params : list of dicts     with ``mean`` and ``var`` of this batch; arrays that do not change are shared

    Examples
    --------
    >>> import minipc as pc
    >>> block = BatchNorm2d(1)
    >>> block.freeze(block.init_params(None, "float64"), np.arange(4.0).reshape(4, 1, 1, 1))[1]["mean"]
    array([1.5])
    """
    s, frozen, new = prepare_input(net, params, x), copy.copy(net), []
    frozen.blocks = []
    for block, p in zip(net.blocks, params, strict=True):
        block, p = freeze(block, p, s)
        frozen.blocks.append(block)
        new.append(p)
        s, _ = block.forward(p, s)
    return frozen, new


def freeze(block, p, s):
    """``(block, p)`` with the statistics of the input ``s`` in them, if the block has such."""
    return block.freeze(p, s) if hasattr(block, "freeze") else (block, p)


STATISTICS = ("batch", "frozen")
AXES = (0, 2, 3)  # samples, rows, columns
