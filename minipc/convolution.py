r"""Convolution and pooling: blocks on images, ``(B, C, H, W)``, with hand-written ``forward``, ``vjp`` and ``jvp``.

=========  ==========================================================================================
(CONV.1)   :math:`a_{o,yx} = \sum_{c,ij} W_{o,c,ij}\, s_{c,\,ty+i-p,\,tx+j-p} + b_o`, post form
           :math:`\mu = \phi(a)`, pre form the same sum over :math:`\phi(s)`; t stride, p padding
(CONV.2)   down, :math:`(J^\top v)_{c,hw} = \sum_{o,ij,yx} W_{o,c,ij}\, v_{o,yx}` over :math:`ty+i-p = h, tx+j-p = w`
(CONV.3)   parameters, :math:`\sum_{b,yx} v_{o,yx}\, s_{c,\,ty+i-p,\,tx+j-p}` and :math:`\sum_{b,yx} v_{o,yx}`
(CONV.4)   forward mode, the map (CONV.1) of :math:`\dot s` plus that of s with :math:`\dot W, \dot b`
(CONV.5)   columns, :math:`U_{cij,byx} = s_{bc,\,ty+i-p,\,tx+j-p}`: then (CONV.1)-(CONV.3) are matrix products
(POOL.1)   maximum of a window, :math:`\mu_{c,yx} = \max_{ij} s_{c,ty+i,tx+j}`
(POOL.2)   its derivative belongs to the winner of the window, of several equal ones to the first
(POOL.3)   mean of a window, :math:`\mu_{c,yx} = k^{-2} \sum_{ij} s_{c,ty+i,tx+j}`
(POOL.4)   its derivative is :math:`k^{-2}` for every pixel of the window
=========  ==========================================================================================

What every framework calls a convolution is a cross-correlation: the kernel is not flipped. Loops run over
the k * k offsets of a window, never over samples, channels or pixels: :func:`offsets` gives for each of them
the pixels that it meets, and the same indices serve to gather and to scatter.

In memory the channels come first, ``(C, B, H, W)``, because then both matrix products (CONV.5) read and write
images without a copy; the arrays that go in and out are views ``(B, C, H, W)`` of it, and any other layout
is as right.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np  # host only: parameters are drawn here

from .arguments import check_count, check_positive_number, check_word
from .backend import Array, array_module
from .blocks import FORMS, INITIALISATIONS, WithoutParameters, configuration
from .functions import ACTIVATIONS


def offsets(kernel_size, stride, height, width):
    """For each offset (i, j) of a window, top left first: the index of the pixels it meets in ``height * width`` windows."""
    for i in range(kernel_size):
        for j in range(kernel_size):
            rows = slice(i, i + stride * (height - 1) + 1, stride)
            yield i, j, (..., rows, slice(j, j + stride * (width - 1) + 1, stride))


def window_count(name, shape, kernel_size, stride, padding=0):
    """Height and width of the output: the windows that fit into images ``(C, H, W)``; a ValueError if none does."""
    if len(shape) != 3:
        raise ValueError(f"{name} must take images of shape (C, H, W), got inputs of shape {shape}")
    height, width = ((n + 2 * padding - kernel_size) // stride + 1 for n in shape[1:])
    if height < 1 or width < 1:
        padded = f" padded by {padding}" if padding else ""
        raise ValueError(
            f"{name} must take images of at least {kernel_size} x {kernel_size} pixels (its kernel_size), "
            f"got {shape[1]} x {shape[2]}{padded}"
        )
    return height, width


def no_image(shape, v):
    """Zeros of this shape (B, C, H, W), to collect in; of the dtype of ``v``, channels first in memory."""
    B, C, H, W = shape
    return array_module(v).zeros((C, B, H, W), v.dtype).transpose(1, 0, 2, 3)


class ConvTape(NamedTuple):
    """What a Conv2d block remembers of one forward pass.

    ``shape`` is that of the input; ``columns`` (C k k, B Ho Wo) its windows, in pre form those of phi(s);
    ``a`` the argument of phi and ``r`` its value: in post form (B, C_out, Ho, Wo), in pre form (B, C, H, W).
    """

    shape: tuple
    columns: Array
    a: Array
    r: Array


@dataclass(frozen=True)
class Conv2d:
    """Convolution of images, Eq. (CONV.1), in the post form ``phi(W * s + b)`` or the pre form ``W * phi(s) + b``.

    It is a *cross-correlation*, as in every framework: ``W[o, c, i, j]`` meets the pixel i rows below and j
    columns right of the window's corner, the kernel is not flipped. What stands beyond the border is zero, in
    pre form after phi. The last rows and columns are left out where the stride does not reach them.

    Parameters
    ----------
    in_channels, out_channels : int   C and C_out, positive
    kernel_size : int                 k, positive; kernels are square
    stride : int                      step t between windows, positive
    padding : int                     p zeros on each side
    activation : str                  as for :class:`minipc.Dense`
    form : str                        "post" (activation after the weights) or "pre" (before them)
    init : str                        "xavier" (INIT.1), "kaiming" (INIT.2), "orthogonal" (INIT.3), "normal" (INIT.4),
                                      with n_in = C k k, and n_out = C_out k k in (INIT.1); biases start at zero
    gain : float                      factor on the initial weights, positive

    Raises
    ------
    ValueError, TypeError             for a size that is no positive integer, a negative padding, an unknown name

    Notes
    -----
    Parameters: ``W`` (C_out, C, k, k), ``b`` (C_out,). Images (B, C, H, W) become (B, C_out, Ho, Wo) with
    Ho = floor((H + 2 p - k) / t) + 1. Cost: one matrix product, O(B Ho Wo C_out C k k) time; the columns
    (CONV.5) take B Ho Wo C k k numbers and stay in the tape, so that the vjp does not gather them again.

    Examples
    --------
    >>> import numpy as np
    >>> block = Conv2d(1, 1, 2)
    >>> p = {"W": np.array([[[[1.0, 0.0], [0.0, -1.0]]]]), "b": np.zeros(1)}
    >>> block.forward(p, np.arange(9.0).reshape(1, 1, 3, 3))[0]
    array([[[[-4., -4.],
             [-4., -4.]]]])
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    activation: str = "identity"
    form: str = "post"
    init: str = "xavier"
    gain: float = 1.0

    def __post_init__(self):
        for name in ("in_channels", "out_channels", "kernel_size", "stride"):
            check_count(f"{name} of a Conv2d block", getattr(self, name), least=1)
        check_count("padding of a Conv2d block", self.padding, least=0)
        for name, known in (("activation", ACTIVATIONS), ("form", FORMS), ("init", INITIALISATIONS)):
            check_word(f"{name} of a Conv2d block", getattr(self, name), known)
        check_positive_number("gain of a Conv2d block", self.gain)

    @property
    def shapes(self) -> dict:
        """Shape of every parameter: ``W`` (C_out, C, k, k), ``b`` (C_out,)."""
        k = self.kernel_size
        return {"W": (self.out_channels, self.in_channels, k, k), "b": (self.out_channels,)}

    @property
    def in_shape(self) -> None:
        """Height and width of the images are not fixed."""
        return None

    def out_shape(self, in_shape) -> tuple:
        """Shape of a sample at the output, ``(C, H, W) -> (C_out, Ho, Wo)``; a ValueError if it does not fit."""
        size = window_count("Conv2d", in_shape, self.kernel_size, self.stride, self.padding)
        if in_shape[0] != self.in_channels:
            raise ValueError(
                f"Conv2d must take images with {self.in_channels} channels, got inputs of shape {in_shape}"
            )
        return (self.out_channels, *size)

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        name, k = self.activation, self.kernel_size
        if name == "identity":
            return f"W * s + b, {k}x{k}"
        return f"{name}(W * s + b), {k}x{k}" if self.form == "post" else f"W * {name}(s) + b, {k}x{k}"

    def config(self) -> dict:
        """The arguments that build this block again."""
        return configuration(self)

    def init_params(self, rng, dtype) -> dict:
        """Draw ``W`` by the initialisation's rule, ``b = 0``; host arrays of ``dtype``."""
        shape, k = self.shapes["W"], self.kernel_size
        W = INITIALISATIONS[self.init](rng, self.out_channels, self.in_channels * k * k, window=k * k)
        W = (float(self.gain) * W).astype(dtype).reshape(shape)
        return {"W": W, "b": np.zeros(self.out_channels, dtype)}

    def forward(self, p, s):
        """Output and tape, Eq. (CONV.1); ``s (B, C, H, W) -> mu (B, C_out, Ho, Wo)``."""
        phi = ACTIVATIONS[self.activation].phi
        if self.form == "post":
            columns = self._columns(s)
            a = self._affine(p, columns, s.shape)
            mu = phi(a)  # (CONV.1)
            return mu, ConvTape(s.shape, columns, a, mu)
        r = phi(s)
        columns = self._columns(r)
        return self._affine(p, columns, s.shape), ConvTape(s.shape, columns, s, r)  # (CONV.1)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """Pull ``v`` back through the block: ``J^T v`` and the parameter gradient, Eqs. (CONV.2), (CONV.3).

        Parameters
        ----------
        v : (B, C_out, Ho, Wo)  what arrives at the output
        input, params : bool    which of the two results is wanted; the other is None

        Returns
        -------
        down : (B, C, H, W)     J^T v of each sample
        grads : dict            ``W`` (C_out, C, k, k), ``b`` (C_out,), sums over batch and pixels
        """
        down = grads = None
        back = self._through_phi(tape, v) if self.form == "post" else v
        back = back.transpose(1, 0, 2, 3).reshape(self.out_channels, -1)  # (C_out, B Ho Wo)
        if input:
            down = self._scatter(self._matrix(p).T @ back, tape.shape)  # (CONV.2)  forward: a = W @ columns
            if self.form == "pre":
                down = self._through_phi(tape, down)
        if params:
            W = (back @ tape.columns.T).reshape(p["W"].shape)
            grads = {"W": W, "b": back.sum(axis=1)}  # (CONV.3)
        return down, grads

    def jvp(self, p, tape, s_dot, p_dot=None):
        """Push tangents forward, Eq. (CONV.4); ``s_dot (B, C, H, W)``, ``p_dot`` like ``p`` -> (B, C_out, Ho, Wo)."""
        if self.form == "pre":
            s_dot = self._through_phi(tape, s_dot)
        a_dot = self._images(self._matrix(p) @ self._columns(s_dot), tape.shape)
        if p_dot is not None:
            a_dot = a_dot + self._affine(p_dot, tape.columns, tape.shape)  # (CONV.4)
        return self._through_phi(tape, a_dot) if self.form == "post" else a_dot

    def _columns(self, s):
        """The windows as columns, Eq. (CONV.5); ``(B, C, H, W) -> (C k k, B Ho Wo)``."""
        xp, k, pad = array_module(s), self.kernel_size, self.padding
        (B, C, H, W), (_, Ho, Wo) = s.shape, self.out_shape(s.shape[1:])
        image = s.transpose(1, 0, 2, 3)  # (C, B, H, W)
        if pad:
            image = xp.zeros((C, B, H + 2 * pad, W + 2 * pad), s.dtype)
            image[:, :, pad : pad + H, pad : pad + W] = s.transpose(1, 0, 2, 3)
        columns = xp.empty((C, k, k, B, Ho, Wo), s.dtype)
        for i, j, pixels in offsets(k, self.stride, Ho, Wo):
            columns[:, i, j] = image[pixels]  # (CONV.5)
        return columns.reshape(C * k * k, B * Ho * Wo)

    def _scatter(self, columns, shape):
        """The adjoint of :meth:`_columns`: every pixel collects what its copies received; ``-> (B, C, H, W)``."""
        xp, k, pad = array_module(columns), self.kernel_size, self.padding
        (B, C, H, W), (_, Ho, Wo) = shape, self.out_shape(shape[1:])
        columns = columns.reshape(C, k, k, B, Ho, Wo)
        image = xp.zeros((C, B, H + 2 * pad, W + 2 * pad), columns.dtype)
        for i, j, pixels in offsets(k, self.stride, Ho, Wo):
            image[pixels] += columns[:, i, j]  # (CONV.2)  windows overlap, so it is added
        return image[:, :, pad : pad + H, pad : pad + W].transpose(1, 0, 2, 3)

    def _affine(self, p, columns, shape):
        """``W * s + b`` from the columns of s; ``-> (B, C_out, Ho, Wo)``."""
        return self._images(self._matrix(p) @ columns, shape) + p["b"][:, None, None]  # (CONV.1)

    def _matrix(self, p):
        """The kernels as rows, ``(C_out, C k k)``."""
        return p["W"].reshape(self.out_channels, -1)

    def _images(self, rows, shape):
        """``(C_out, B Ho Wo) -> (B, C_out, Ho, Wo)``, for an input of this shape; a view."""
        return rows.reshape(self.out_channels, shape[0], *self.out_shape(shape[1:])[1:]).transpose(1, 0, 2, 3)

    def _through_phi(self, tape, v):
        """``phi'(a) * v``: the same factor on the way down and on the way up, because phi is elementwise."""
        if self.activation == "identity":
            return v
        return v * ACTIVATIONS[self.activation].dphi(tape.a, tape.r)


class PoolTape(NamedTuple):
    """What a MaxPool2d block remembers: the input (B, C, H, W) and the output (B, C, Ho, Wo)."""

    s: Array
    mu: Array


@dataclass(frozen=True)
class _Pool(WithoutParameters):
    """What both pooling blocks share: windows without padding."""

    kernel_size: int
    stride: int | None = None

    def __post_init__(self):
        name = type(self).__name__
        check_count(f"kernel_size of a {name} block", self.kernel_size, least=1)
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel_size)
        check_count(f"stride of a {name} block", self.stride, least=1)

    def out_shape(self, in_shape) -> tuple:
        """Shape of a sample at the output, ``(C, H, W) -> (C, Ho, Wo)``; a ValueError if no window fits."""
        return (in_shape[0], *window_count(type(self).__name__, in_shape, self.kernel_size, self.stride))

    def _offsets(self, shape):
        """:func:`offsets` of the windows in images of this shape."""
        return offsets(self.kernel_size, self.stride, *self.out_shape(shape[1:])[1:])


class MaxPool2d(_Pool):
    """Maximum of every window of every channel, Eq. (POOL.1); ``(B, C, H, W) -> (B, C, Ho, Wo)``.

    Ho = floor((H - k) / t) + 1: no padding, and pixels that no window reaches are left out. Among equal
    pixels one wins, the first (top left first); the derivative belongs to it alone. A NaN wins.

    Parameters
    ----------
    kernel_size : int        k, side of the square window
    stride : int, optional   t; by default k. Windows overlap if it is smaller

    Raises
    ------
    ValueError, TypeError    for a size that is no positive integer

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool2d(2).forward({}, np.arange(16.0).reshape(1, 1, 4, 4))[0]
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return f"max {self.kernel_size}x{self.kernel_size}"

    def forward(self, p, s):
        """Output and tape, Eq. (POOL.1). Cost O(B C Ho Wo k k)."""
        shifted = (s[pixels] for _, _, pixels in self._offsets(s.shape))
        mu = functools.reduce(array_module(s).maximum, shifted)  # (POOL.1)
        return mu, PoolTape(s, mu)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """Pull ``v`` back to the winners, Eq. (POOL.2): ``down (B, C, H, W)`` and the empty gradient."""
        if not input:
            return None, {} if params else None
        down = no_image(tape.s.shape, v)
        for pixels, wins in self._winners(tape):
            down[pixels] += v * wins  # (POOL.2)  added: a pixel may win in several windows
        return down, {} if params else None

    def jvp(self, p, tape, s_dot, p_dot=None):
        """The tangent of the winners, Eq. (POOL.2)."""
        return sum(s_dot[pixels] * wins for pixels, wins in self._winners(tape))  # (POOL.2)

    def _winners(self, tape):
        """For each offset the pixels that it meets, and in which windows they are the first to hold the maximum."""
        free = True  # the windows that have no winner yet
        for _, _, pixels in self._offsets(tape.s.shape):
            equal = tape.s[pixels] == tape.mu
            yield pixels, equal & free
            free = ~equal & free


class AvgPool2d(_Pool):
    """Mean of every window of every channel, Eq. (POOL.3); ``(B, C, H, W) -> (B, C, Ho, Wo)``.

    Ho = floor((H - k) / t) + 1: no padding, and pixels that no window reaches are left out.

    Parameters
    ----------
    kernel_size : int        k, side of the square window
    stride : int, optional   t; by default k. Windows overlap if it is smaller

    Raises
    ------
    ValueError, TypeError    for a size that is no positive integer

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool2d(2).forward({}, np.arange(16.0).reshape(1, 1, 4, 4))[0]
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return f"mean {self.kernel_size}x{self.kernel_size}"

    def forward(self, p, s):
        """Output and tape, which is the shape of the input, Eq. (POOL.3). Cost O(B C Ho Wo k k)."""
        return self._mean(s), s.shape

    def vjp(self, p, tape, v, *, input=True, params=True):
        """Spread ``v`` over its window, Eq. (POOL.4): ``down (B, C, H, W)`` and the empty gradient."""
        if not input:
            return None, {} if params else None
        down = no_image(tape, v)
        share = v * (1 / self.kernel_size**2)
        for _, _, pixels in self._offsets(tape):
            down[pixels] += share  # (POOL.4)  added: windows may overlap
        return down, {} if params else None

    def jvp(self, p, tape, s_dot, p_dot=None):
        """The mean of the tangent, Eq. (POOL.4): the map is linear."""
        return self._mean(s_dot)

    def _mean(self, s):
        total = sum(s[pixels] for _, _, pixels in self._offsets(s.shape))
        return total * (1 / self.kernel_size**2)  # (POOL.3), (POOL.4)
