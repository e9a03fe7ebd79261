r"""Feedforward blocks: a map with three hand-written faces, ``forward``, ``vjp`` and ``jvp``.

=========  ==========================================================================================
(BP.1)     post form :math:`\mu_l = \phi(W_l s_{l-1} + b_l)`, pre form :math:`\mu_l = W_l \phi(s_{l-1}) + b_l`;
           with a fixed factor, ``scale``, in front of :math:`W_l` if one is given
(BP.2)     :math:`J_l = \mathrm{diag}(\phi'(a_l)) W_l` (post), :math:`W_l\, \mathrm{diag}(\phi'(s_{l-1}))` (pre)
(BP.5)     parameters, post: :math:`(v \odot \phi'(a_l))\, s_{l-1}^\top` and :math:`v \odot \phi'(a_l)`
(BP.6)     parameters, pre: :math:`v\, \phi(s_{l-1})^\top` and :math:`v`
(JVP.1)    forward mode, :math:`J_l\, \dot s_{l-1}` plus the change by :math:`\dot W_l, \dot b_l`
(INIT.1)   xavier      :math:`W_{ij} \sim N(0, 2 / (n_{in} + n_{out}))`
(INIT.2)   kaiming     :math:`W_{ij} \sim N(0, 2 / n_{in})`
(INIT.3)   orthogonal  orthonormal rows or columns
(INIT.4)   normal      :math:`W_{ij} \sim N(0, 1)`
(EMB.1)    a row for each index, :math:`\mu_{b,i} = W_{s_b,i}`
(EMB.2)    its parameters, :math:`\sum_{b: s_b = k} v_{b,i}` for row k
=========  ==========================================================================================

A block holds sizes and names, never arrays: parameters come in as a dict, results go out as new arrays.
``forward`` also returns a *tape*, what the derivatives at this point need. Vectors ``v`` that go down and
tangents that go up are per sample, ``(B, n)``; gradients of parameters are sums over the batch.

Every block offers ``shapes`` (of its parameters), ``in_shape`` (of a sample, None if it takes what comes),
``out_shape(in_shape)``, ``formula``, ``config()``, ``init_params(rng, dtype)`` and the three faces.
"""

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np  # host only: parameters are drawn here

from .arguments import check_count, check_positive_number, check_word, is_number
from .backend import Array, add_rows
from .functions import ACTIVATIONS


class Tape(NamedTuple):
    """What a Dense block remembers of one forward pass.

    ``a`` is the argument of phi and ``r`` its value: in post form the pre-activation and the output, both
    (B, n_out); in pre form the input and the regressor phi(s), both (B, n_in). ``s`` (B, n_in) is the input.
    """

    s: Array
    a: Array
    r: Array


@dataclass(frozen=True)
class Dense:
    """Fully connected block, Eq. (BP.1), in the post form ``phi(W s + b)`` or the pre form ``W phi(s) + b``.

    Parameters
    ----------
    n_in, n_out : int      widths, positive
    activation : str       identity, tanh, sigmoid, relu, leaky_relu, gelu or softplus
    form : str             "post" (activation after the weights) or "pre" (before them)
    init : str             "xavier" (INIT.1), "kaiming" (INIT.2), "orthogonal" (INIT.3) or "normal" (INIT.4);
                           biases start at zero
    gain : float           factor on the initial weights, positive
    bias : bool            False leaves out ``b``
    scale : float          fixed factor in front of the weights, ``scale W s + b``, positive: a multiplier that
                           does not change with learning, as in muPC (sPC.18)

    Raises
    ------
    ValueError, TypeError  for a width that is no positive integer, or an unknown name

    Examples
    --------
    >>> block = Dense(2, 1, "tanh")
    >>> mu, tape = block.forward({"W": np.array([[1.0, -1.0]]), "b": np.zeros(1)}, np.array([[0.5, 0.5]]))
    >>> mu
    array([[0.]])
    """

    n_in: int
    n_out: int
    activation: str = "identity"
    form: str = "post"
    init: str = "xavier"
    gain: float = 1.0
    bias: bool = True
    scale: float = 1.0

    def __post_init__(self):
        for name in ("n_in", "n_out"):
            check_count(f"{name} of a Dense block", getattr(self, name), least=1)
        for name, known in (("activation", ACTIVATIONS), ("form", FORMS), ("init", INITIALISATIONS)):
            check_word(f"{name} of a Dense block", getattr(self, name), known)
        if not is_number(self.gain) or not 0 < self.gain < math.inf:
            raise ValueError(f"gain of a Dense block must be a positive finite number, got {self.gain!r}")
        if not isinstance(self.bias, bool):
            raise TypeError(f"bias of a Dense block must be True or False, got {self.bias!r}")
        check_positive_number("scale of a Dense block", self.scale)

    @property
    def in_shape(self) -> tuple:
        """Shape of one input sample."""
        return (self.n_in,)

    def out_shape(self, shape) -> tuple:
        """Shape of one output sample, ``(n_out,)``; a ValueError if ``shape`` is not ``(n_in,)``."""
        if shape != (self.n_in,):
            raise ValueError(f"Dense must take inputs of shape {(self.n_in,)}, got {shape}")
        return (self.n_out,)

    @property
    def shapes(self) -> dict:
        """Shape of every parameter: ``W`` (n_out, n_in), and ``b`` (n_out,) if there is a bias."""
        weights = {"W": (self.n_out, self.n_in)}
        return {**weights, "b": (self.n_out,)} if self.bias else weights

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        name = self.activation
        W = "W" if self.scale == 1 else f"{self.scale:.3g} W"
        b = " + b" if self.bias else ""
        if name == "identity":
            return f"{W} s{b}"
        return f"{name}({W} s{b})" if self.form == "post" else f"{W} {name}(s){b}"

    def config(self) -> dict:
        """The arguments that build this block again."""
        return configuration(self)

    def init_params(self, rng, dtype) -> dict:
        """Draw ``W`` by the initialisation's rule, ``b = 0``; host arrays of ``dtype``."""
        W = float(self.gain) * INITIALISATIONS[self.init](rng, self.n_out, self.n_in)
        p = {"W": W.astype(dtype), "b": np.zeros(self.n_out, dtype)}
        return {name: p[name] for name in self.shapes}

    def forward(self, p, s):
        """Output and tape, Eq. (BP.1); ``s (B, n_in) -> mu (B, n_out)``. Cost O(B n_in n_out)."""
        phi = ACTIVATIONS[self.activation].phi
        if self.form == "post":
            a = self._affine(p, s)
            mu = phi(a)  # (BP.1)
            return mu, Tape(s, a, mu)
        r = phi(s)
        return self._affine(p, r), Tape(s, s, r)  # (BP.1)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """Pull ``v`` back through the block: ``J^T v`` and the parameter gradient, Eqs. (BP.2), (BP.5), (BP.6).

        Parameters
        ----------
        v : (B, n_out)          what arrives at the output
        input, params : bool    which of the two results is wanted; the other is None

        Returns
        -------
        down : (B, n_in)        J^T v of each sample
        grads : dict            ``W`` (n_out, n_in), ``b`` (n_out,) if there is one, sums over the batch
        """
        down = grads = None
        if self.form == "post":
            back = self._through_phi(tape, v)  # forward: mu = phi(a), so v comes back through phi'(a) first
            if input:
                down = down_through(p["W"], back)  # (BP.2)  forward: a = s @ W.T + b
            if params:
                grads = {"W": back.T @ tape.s, "b": back.sum(axis=0)}  # (BP.5)
        else:
            if input:
                back = down_through(p["W"], v)  # forward: mu = phi(s) @ W.T + b
                down = self._through_phi(tape, back)  # (BP.2)
            if params:
                grads = {"W": v.T @ tape.r, "b": v.sum(axis=0)}  # (BP.6)
        if self.scale != 1:  # the factor in front of W is in every derivative but that of b
            down = None if down is None else self._scaled(down)
            grads = None if grads is None else {**grads, "W": self._scaled(grads["W"])}
        if grads is not None and not self.bias:
            del grads["b"]
        return down, grads

    def pull_rows(self, p, tape, v):
        """Pull many vectors back through each sample, ``v (B, rows, n_out)``, and give parameters' gradients a sample.

        Returns ``J^T v (B, rows, n_in)`` and what meets in them: credit at the rows of W and b, ``(B, rows, n_out)``.
        """
        if self.form == "post":
            back = v if self.activation == "identity" else v * self._slope(tape)[:, None]
            return self._scaled(back @ p["W"]), back  # (BP.2)
        down = self._scaled(v @ p["W"])
        return (down if self.activation == "identity" else down * self._slope(tape)[:, None]), v  # (BP.2)

    def jvp(self, p, tape, s_dot, p_dot=None):
        """Push tangents forward, Eq. (JVP.1); ``s_dot (B, n_in)``, ``p_dot`` like ``p`` -> (B, n_out)."""
        if self.form == "post":
            a_dot = self._scaled(up_through(p["W"], s_dot))
            if p_dot is not None:
                a_dot = a_dot + self._affine(p_dot, tape.s)
            return self._through_phi(tape, a_dot)  # (JVP.1)
        mu_dot = self._scaled(up_through(p["W"], self._through_phi(tape, s_dot)))  # (JVP.1)
        if p_dot is not None:
            mu_dot = mu_dot + self._affine(p_dot, tape.r)
        return mu_dot

    def _affine(self, p, r):
        """``scale W r + b``, with weights and biases or with tangents of them; ``(B, n_in) -> (B, n_out)``."""
        a = self._scaled(up_through(p["W"], r))
        return a + p["b"] if self.bias else a

    def _scaled(self, a):
        """``scale * a``."""
        return a if self.scale == 1 else float(self.scale) * a

    def _through_phi(self, tape, v):
        """``phi'(a) * v``: the same factor on the way down and on the way up, because phi is elementwise."""
        if self.activation == "identity":
            return v
        return v * self._slope(tape)

    def _slope(self, tape):
        """phi'(a)."""
        return ACTIVATIONS[self.activation].dphi(tape.a, tape.r)


def up_through(W, s):
    """``s @ W.T``, the weights on the way up; ``(B, n_in) -> (B, n_out)``.

    Written with the samples as columns: then no factor is read across its rows, here and in all that follows,
    which made the product 1.2 to 1.3 times faster with one thread (benchmarks/spatial.py). Where there are many more
    samples than units, all steps of long sequences for instance, rows are better (benchmarks/temporal.py).
    """
    return s @ W.T if _many(s, W) else (W @ s.T).T


def down_through(W, v):
    """``v @ W``, the weights on the way down; ``(B, n_out) -> (B, n_in)``. As :func:`up_through`."""
    return v @ W if _many(v, W) else (W.T @ v.T).T


def _many(samples, W):
    """Are there many more samples than output units?"""
    return len(samples) > 8 * len(W)


class WithoutParameters:
    """What blocks without parameters share: they take samples of any shape that their ``out_shape`` accepts."""

    @property
    def shapes(self) -> dict:
        """There are no parameters."""
        return {}

    @property
    def in_shape(self) -> None:
        """The shape of an input sample is not fixed."""
        return None

    def config(self) -> dict:
        """The arguments that build this block again."""
        return configuration(self)

    def init_params(self, rng, dtype) -> dict:
        """There are no parameters."""
        return {}


@dataclass(frozen=True)
class Flatten(WithoutParameters):
    """Images or any other samples as vectors, ``(B, *shape) -> (B, n)``; no parameters, the last index runs fastest.

    Examples
    --------
    >>> Flatten().out_shape((3, 4, 2))
    (24,)
    """

    def out_shape(self, in_shape) -> tuple:
        """Shape of a sample at the output, ``(n,)`` with all entries of ``in_shape``."""
        return (math.prod(in_shape),)

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "flatten"

    def forward(self, p, s):
        """Output and tape, which is the shape of the input."""
        return s.reshape(len(s), -1), s.shape

    def vjp(self, p, tape, v, *, input=True, params=True):
        """The inverse reshaping, ``down (B, *shape)``, and the empty gradient."""
        return v.reshape(tape) if input else None, {} if params else None

    def jvp(self, p, tape, s_dot, p_dot=None):
        """The same reshaping of the tangent."""
        return s_dot.reshape(len(s_dot), -1)


@dataclass(frozen=True)
class Embedding:
    """A learnt row for each index, Eq. (EMB.1): integers ``(B, *shape) -> (B, *shape, width)``.

    Only as the first block: indices are no numbers that inference could move, so there is no derivative with
    respect to them. The verbs refuse an index out of range before any work; the block alone does not look.

    Parameters
    ----------
    vocabulary : int     number of indices; the input holds 0..vocabulary - 1
    width : int          n, length of a row
    gain : float         factor on the initial rows, whose entries are N(0, 1) (INIT.4), positive

    Raises
    ------
    ValueError, TypeError    for a size that is no positive integer, a gain that is not positive

    Notes
    -----
    Parameters: ``W`` (vocabulary, width). The gradient of W adds up what arrives for each index, without a
    product with one-hot rows: O(B width) time for B indices, whatever the vocabulary.

    Examples
    --------
    >>> block = Embedding(3, 2)
    >>> block.forward({"W": np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])}, np.array([2, 0]))[0]
    array([[4., 5.],
           [0., 1.]])
    """

    vocabulary: int
    width: int
    gain: float = 1.0

    integer_input = True  # no annotation: a mark of the class, no field

    def __post_init__(self):
        for name in ("vocabulary", "width"):
            check_count(f"{name} of an Embedding block", getattr(self, name), least=1)
        check_positive_number("gain of an Embedding block", self.gain)

    @property
    def shapes(self) -> dict:
        """Shape of the parameter: ``W`` (vocabulary, width)."""
        return {"W": (self.vocabulary, self.width)}

    @property
    def in_shape(self) -> None:
        """Every shape will do: a sample is one index, a sequence or an image of them."""
        return None

    def out_shape(self, in_shape) -> tuple:
        """Shape of a sample at the output, ``(*in_shape, width)``."""
        return (*in_shape, self.width)

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "W[s]"

    def config(self) -> dict:
        """The arguments that build this block again."""
        return configuration(self)

    def init_params(self, rng, dtype) -> dict:
        """Draw ``W``; a host array of ``dtype``."""
        return {"W": (float(self.gain) * normal(rng, self.vocabulary, self.width)).astype(dtype)}

    def forward(self, p, s):
        """Output and tape, Eq. (EMB.1); the tape is the indices."""
        return p["W"][s], s  # (EMB.1)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """The parameter gradient of ``v (B, *shape, width)``, Eq. (EMB.2); ``input=True`` is a TypeError."""
        if input:
            raise TypeError(
                "an Embedding block has no derivative with respect to its input, which is indices"
            )
        rows = v.reshape(-1, self.width)
        return None, {"W": add_rows(tape.reshape(-1), rows, self.vocabulary)} if params else None  # (EMB.2)

    def jvp(self, p, tape, s_dot, p_dot=None):
        """The rows of the tangent, ``(B, *shape, width)``; ``s_dot`` must be None, since indices have none."""
        if s_dot is not None:
            raise TypeError(
                "an Embedding block has no derivative with respect to its input, which is indices"
            )
        return (p["W"] * 0 if p_dot is None else p_dot["W"])[tape]  # (EMB.1), linear in W


def configuration(block) -> dict:
    """The fields of a block by name, as numbers and words of Python, which JSON can hold."""
    values = {field.name: getattr(block, field.name) for field in fields(block)}
    return {name: v.item() if isinstance(v, np.generic) else v for name, v in values.items()}


def xavier(rng, n_out, n_in, window=1):
    """Glorot & Bengio (2010), normal form: the variance is kept forward and backward.

    ``window`` is the number of weights by which an input pixel reaches a channel of the output, k k for a
    convolution, so that the fan-out is ``n_out * window``.
    """
    return rng.standard_normal((n_out, n_in)) * math.sqrt(2 / (n_in + n_out * window))  # (INIT.1)


def kaiming(rng, n_out, n_in, window=1):
    """He et al. (2015), normal form: the variance is kept through relu."""
    return rng.standard_normal((n_out, n_in)) * math.sqrt(2 / n_in)  # (INIT.2)


def orthogonal(rng, n_out, n_in, window=1):
    """Saxe et al. (2014): orthonormal columns (or rows, where there are fewer of them)."""
    q, r = np.linalg.qr(rng.standard_normal((max(n_out, n_in), min(n_out, n_in))))
    q = q * np.sign(np.diag(r))  # (INIT.3)  the sign makes the distribution uniform
    return q if n_out >= n_in else q.T


def normal(rng, n_out, n_in, window=1):
    """Independent entries of variance one; the scale of the signal is then a matter of the block's ``scale``."""
    return rng.standard_normal((n_out, n_in))  # (INIT.4)


FORMS = ("post", "pre")
INITIALISATIONS = {"xavier": xavier, "kaiming": kaiming, "orthogonal": orthogonal, "normal": normal}
