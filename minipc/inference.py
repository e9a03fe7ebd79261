r"""What every predictive-coding inference shares: precisions, energies, the recorder, the warnings.

=========  ==========================================================================================
(sPC.2)    :math:`E = \frac12 \sum_{l<L} \varepsilon_l^\top \Pi_l \varepsilon_l + \mathcal L(\hat y, y)`
(sPC.3)    :math:`\xi_l = \Pi_l \varepsilon_l` for :math:`l < L`, :math:`\xi_L = -\partial\mathcal L/\partial\hat y`
(sPC.6)    :math:`\partial E/\partial W_l = -(\xi_l \odot \phi'(a_l))\, s_{l-1}^\top` (post form)
(sPC.7)    :math:`\partial E/\partial W_l = -\xi_l\, \phi(s_{l-1})^\top` (pre form)
=========  ==========================================================================================

sPC computes the errors from the states and ePC the states from the errors; the energy is the same
function of both. Lists are indexed by the layer, entry 0 is None.
"""

import warnings
from typing import NamedTuple

import numpy as np  # host only: positive definiteness, numbers

from .arguments import cast, check_count, check_module, check_positive_number, is_number, real_precision
from .backend import Array, array_module, is_array, to_numpy
from .network import check_loss

CHECK_EVERY = 10  # inference steps between two looks at the residual, one host synchronisation each


class InferenceWarning(RuntimeWarning):
    """Inference diverged, or did not reach the tolerance that was asked for."""


class Recording(NamedTuple):
    """Snapshots of inference, taken before every k-th step and once at the end.

    Attributes
    ----------
    steps : list of R int
    energy : (R, B)
    layers : (R, L, B)                1/2 eps_l' Pi_l eps_l of the layers l = 1..L-1, and the loss as l = L
    states : list of R lists          s[0], ..., s[L-1]
    """

    steps: list
    energy: Array
    layers: Array
    states: list


class Recorder:
    """Collects snapshots on the device; ``every = 0`` collects none."""

    def __init__(self, net, y, every):
        self.net, self.y, self.every = net, y, every
        self.steps, self.layers, self.states = [], [], []

    def __call__(self, step, s, now, *, last=False):
        """Look at the states ``s`` and their errors ``now`` if it is time, and at the last step once."""
        if self.every and (step % self.every == 0 or last) and step not in self.steps[-1:]:
            self.steps.append(step)
            self.layers.append(layer_energies(self.net, now, self.y))
            self.states.append(list(s))

    def result(self):
        """The :class:`Recording`, or None."""
        if not self.every:
            return None
        xp = array_module(self.layers[0][0])
        layers = xp.stack([xp.stack(terms) for terms in self.layers])
        return Recording(self.steps, layers.sum(axis=1), layers, self.states)


def check_precision(net, params, precision):
    """Precisions by layer: ``[None, Pi[1], ..., Pi[L]]``, where None stands for one.

    ``precision`` is None, or a list of L entries, one a block: None, a positive number, the positive
    diagonal (an array of the shape of a state), or a symmetric positive definite ``(n[l], n[l])``. The
    cross-entropies have no output precision, their last entry is None. Matrices are checked on the host, once
    a call.
    """
    L = len(net.blocks)
    if precision is None:
        return [None] * (L + 1)
    if not isinstance(precision, list | tuple):
        raise TypeError(
            f"precision must be a list of {L} entries, one a block, got {type(precision).__name__}"
        )
    if len(precision) != L:
        raise ValueError(f"precision must have {L} entries, one a block, got {len(precision)}")
    if net.loss.name != "mse" and precision[-1] is not None:
        given = precision[-1] if is_number(precision[-1]) else type(precision[-1]).__name__
        raise ValueError(f"Pi[{L}] must be None: {net.loss.name} has no output precision (BP.3); got {given}")
    Pi = [None]
    for l, value in enumerate(precision, start=1):
        symbol, shape = f"Pi[{l}]", net.shapes[l]
        if value is None:
            Pi.append(None)
        elif is_array(value):
            check_module(symbol, value, params)
            full = [2 * shape] if len(shape) == 1 else []  # a matrix only where a state is a vector
            if value.shape not in ((), shape, *full):
                allowed = " or ".join(map(str, [shape, *full]))
                raise ValueError(f"{symbol} must be a number or have shape {allowed}, got {value.shape}")
            if value.dtype.kind not in "fc":
                raise TypeError(f"{symbol} must hold floating point numbers, got {value.dtype}")
            _check_positive(symbol, to_numpy(value.real), full)
            Pi.append(cast(value, real_precision(params, value)))
        elif not is_number(value):
            raise TypeError(f"{symbol} must be a number or an array, got {type(value).__name__}")
        else:
            _check_positive(symbol, np.array(float(value)), [])
            Pi.append(float(value))  # a Python float keeps float32
    return Pi


def _check_positive(symbol, value, matrices):
    if not np.isfinite(value).all():
        raise ValueError(f"{symbol} must be finite, got {value[~np.isfinite(value)][0]}")
    if value.shape not in matrices:
        if not (value > 0).all():
            raise ValueError(f"{symbol} must be positive, got {value.min()}")
        return
    if np.abs(value - value.T).max() > 1e-6 * np.abs(value).max():
        raise ValueError(
            f"{symbol} must be symmetric, got a matrix with Pi - Pi.T up to {np.abs(value - value.T).max():.1e}"
        )
    lowest = np.linalg.eigvalsh(value).min()
    if lowest <= 0:
        raise ValueError(f"{symbol} must be positive definite, got the eigenvalue {lowest:.3g}")


def weigh(Pi, eps):
    """Precision times error of one layer, Eq. (sPC.3); ``(B, ...) -> (B, ...)``."""
    if Pi is None:
        return eps
    if is_array(Pi) and Pi.ndim == 2 and eps.ndim == 2:
        return eps @ Pi  # (sPC.3); symmetric, so no transpose
    if is_array(Pi) and Pi.ndim == 3:  # a matrix for every sample, (KAL.4)
        return (Pi @ eps[:, :, None])[:, :, 0]
    return eps * Pi  # (sPC.3)


def layer_energies(net, now, y):
    """The L terms of the energy, Eq. (sPC.2): one (B,) for each hidden layer, then the loss.

    ``now`` has the fields ``eps``, ``xi`` and ``yhat``; of sPC, they come from the states, of ePC, ``eps``
    is the error variable itself. The loss is weighted by Pi[L] for mse, and zero if the output is free.
    """
    eps, xi = now.eps, now.xi
    terms = [0.5 * inner(eps[l], xi[l]) for l in range(1, len(eps) - 1)]  # (sPC.2)
    if y is None:
        terms.append(0 * now.yhat.sum(axis=1))
    elif net.loss.name == "mse":
        terms.append(0.5 * inner(eps[-1], xi[-1]))  # (BP.3), (LOSS.1)
    else:
        terms.append(net.loss.value(now.yhat, y))  # (BP.3), (LOSS.2)
    return terms


def start_loss(net, params, x, now, y):
    """Loss of the prediction from which inference starts, ``(B,)``; stops here if it is not finite."""
    if y is None:
        return None
    loss = net.loss.value(now.yhat, y)
    check_loss(net, params, x, loss)
    return loss


def total_energy(net, now, y):
    """Energy of each sample, Eq. (sPC.2); ``(B,)``."""
    return sum(layer_energies(net, now, y))  # (sPC.2)


def local_gradient(net, params, now):
    """dE/dW, dE/db at fixed states, summed over the batch, Eqs. (sPC.6), (sPC.7); the structure of ``params``.

    ``now`` has the fields ``xi`` and ``tape``. Each block needs its own error and input, nothing else.
    """
    grads = []
    for l, (block, p) in enumerate(zip(net.blocks, params, strict=True), start=1):
        _, g = block.vjp(p, now.tape[l], -now.xi[l], input=False)
        grads.append(g)  # (sPC.6), (sPC.7)
    return grads


def norm_squared(vectors, like):
    """Squared norm of each sample over all layers of a by-layer list; zeros (B,) for an empty list."""
    return dot(vectors, vectors, like)


def dot(u, v, like):
    """Inner product of each sample over all layers, ``(B,)``."""
    products = [inner(a, b) for a, b in zip(u[1:], v[1:], strict=True)]
    return sum(products) if products else 0 * like


def inner(u, v):
    """Inner product of each sample, ``(B, ...), (B, ...) -> (B,)``; complex numbers are not conjugated."""
    if u.ndim > 2:
        u, v = u.reshape(len(u), -1), v.reshape(len(v), -1)
    return array_module(u).einsum("bi,bi->b", u, v)


def by_sample(factor, v):
    """A factor of each sample, ``(B,)``, in a shape that multiplies ``v (B, ...)``."""
    return factor.reshape(-1, *[1] * (v.ndim - 1))


def check_options(inference_steps, step_size, tolerance, record_every, words=()):
    """Steps, step size, tolerance and recorder options, checked before any work."""
    check_count("inference_steps", inference_steps, least=0)
    check_count("record_every", record_every, least=0)
    if isinstance(step_size, str):
        if step_size not in words:
            known = "a positive number" + "".join(f' or "{word}"' for word in words)
            raise ValueError(f"step_size must be {known}; got {step_size!r}")
    else:
        check_positive_number("step_size", step_size)
    if tolerance is not None:
        check_positive_number("tolerance", tolerance)


def converged(gradient, like, tolerance, step):
    """Is it time to look, and is every sample below the tolerance? A look synchronises with the device."""
    if tolerance is None or step % CHECK_EVERY:
        return False
    return bool((norm_squared(gradient, like).real < tolerance**2).all())


def unsettled(start, energy, residual, tolerance):
    """Which lanes diverged, and which missed the tolerance: two arrays like the energies, on the host.

    Costs one synchronisation. Descent from any start can only lower the energy, so a risen energy means that the step was
    too long for this lane.
    """
    xp = array_module(energy)
    start, energy, residual = start.real, energy.real, residual.real
    rounding = 100 * float(xp.finfo(start.dtype).eps) * (1 + abs(start))
    diverged = ~(energy <= start + rounding) | ~xp.isfinite(residual)
    late = residual >= tolerance if tolerance is not None else xp.zeros_like(diverged)
    return to_numpy(xp.stack([diverged, late]))


def warn_if_unsettled(rule, start, energy, residual, step_size, tolerance):
    """Warn by name if the energy of a sample rose or is not finite, or if the tolerance was not reached.

    Costs one synchronisation.
    """
    diverged, late = unsettled(start, energy, residual, tolerance)
    if not diverged.any() and not late.any():
        return
    residuals = to_numpy(residual.real)
    if diverged.any():
        message = (
            f"{rule} inference diverged in {diverged.sum()} of {diverged.size} samples (first: sample "
            f"{np.argmax(diverged)}): the energy rose above its start, with step_size {step_size}; a fixed step "
            f"must stay below 2 / (largest eigenvalue of the energy's Hessian) of every sample"
        )
    else:
        message = (
            f"{rule} inference did not converge in {late.sum()} of {late.size} samples: the largest residual is "
            f"{np.max(residuals):.1e}, the tolerance {tolerance:.1e}; use more inference_steps"
        )
    warnings.warn(message, InferenceWarning, stacklevel=4)
