"""What the training loop goes through: samples, or sequences with the time first; one minibatch after another."""

from typing import NamedTuple

import numpy as np  # host only: how many steps count

from .arguments import (
    cast,
    check_array,
    check_module,
    check_params,
    check_values,
    input_test,
    prepare_labels,
    prepare_shape,
)
from .backend import is_array, to_numpy
from .recurrent import prepare_sequences


class Batches(NamedTuple):
    """Checked data.

    Attributes
    ----------
    arrays : (x, y), (inputs, targets) or (inputs, targets, mask)
    axis : int                  of the samples: 0, or 1 in sequences (T, B, ...)
    weights : (N,) integers     on the host: what a sample counts; 1, or the number of steps of a sequence that count
    """

    arrays: tuple
    axis: int
    weights: np.ndarray

    @property
    def steps(self):
        """Outputs that a sample has: 1, or the steps T of a sequence."""
        return self.arrays[0].shape[0] if self.axis else 1

    def take(self, rows):
        """The samples of these numbers, an index array."""
        at = (slice(None),) * self.axis + (rows,)
        return self._replace(arrays=tuple(a[at] for a in self.arrays))

    def as_rows(self, out):
        """Outputs, inputs and targets with time and batch in one axis, and the mask, ``(T B,)`` or None."""
        if self.axis == 0:
            return out, *self.arrays, None
        flat = [a.reshape(-1, *a.shape[2:]) for a in (out, *self.arrays)]
        return flat if len(flat) == 4 else (*flat, None)


def as_batches(name, net, params, data) -> Batches:
    """Check data before any work: a pair (x, y), or Sequences (anything with inputs, targets and mask)."""
    if getattr(net, "recurrent", False) and not hasattr(data, "inputs"):
        raise TypeError(
            f"{name} must be Sequences(inputs (T, B, ...), targets (T, B, ...)) for a RecurrentNetwork, "
            f"got {type(data).__name__}"
        )
    if not hasattr(data, "inputs") and (not isinstance(data, list | tuple) or len(data) != 2):
        raise TypeError(f"{name} must be a pair (x, y) or Sequences, got {type(data).__name__}")
    try:
        if hasattr(data, "inputs"):
            return _sequences(net, params, data)
        x, y = data
        x = prepare_shape(net, params, x)
        y, tests = prepare_labels(net, params, x, y)
        check_values([input_test(net, x), *tests])
        return Batches((x, y), 0, np.ones(len(x), int))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _sequences(net, params, data):
    inputs, targets, mask = data.inputs, data.targets, data.mask
    real = check_params(net, params)
    check_array("inputs", inputs, kinds="fciub")
    check_array("targets", targets, kinds="fciub")
    if inputs.ndim < 2 or targets.shape[:2] != inputs.shape[:2]:
        raise ValueError(
            f"inputs (T, B, ...) and targets (T, B, ...) must agree in T and B; got {inputs.shape}, {targets.shape}"
        )
    if 0 in inputs.shape[:2]:
        raise ValueError(
            f"there must be at least one step and one sequence, got inputs of shape {inputs.shape}"
        )
    check_module("inputs", inputs, params)
    T, N = inputs.shape[:2]
    _, tests = prepare_labels(net, params, *(a.reshape(T * N, *a.shape[2:]) for a in (inputs, targets)))
    check_values(tests)
    if getattr(net, "recurrent", False):
        prepare_sequences(net, params, inputs, None, None, None, None, forward=True)
    inputs = cast(inputs, real) if inputs.dtype.kind in "fc" else inputs
    if mask is None:
        return Batches((inputs, targets), 1, np.full(N, T))
    if not is_array(mask):
        raise TypeError(f"mask must be a NumPy or CuPy array, got {type(mask).__name__}")
    if mask.dtype.kind != "b" or mask.shape != (T, N):
        raise ValueError(f"mask must be boolean of shape {(T, N)}, got {mask.dtype} of shape {mask.shape}")
    check_module("mask", mask, params)
    weights = to_numpy(mask.sum(axis=0))
    if not weights.all():
        raise ValueError(
            f"mask must be True at one step of every sequence at least; sequence {weights.argmin()} has none"
        )
    return Batches((inputs, targets, mask), 1, weights)
