"""What loaders and generators return: named tuples of arrays on the host."""

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Training and test set; ``x (N, n)`` float, one row an image, or ``(N, 3, 32, 32)``; ``y (N,)`` labels 0..9."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


class Points(NamedTuple):
    """Labelled samples, the ``data`` or ``validation`` of ``fit``: ``x (N, n)`` float, ``y (N,)`` integer labels."""

    x: np.ndarray
    y: np.ndarray


class Sequences(NamedTuple):
    """Sequences, time first; a target counts in the loss where ``mask`` is True, everywhere without one.

    Attributes
    ----------
    inputs : (T, B, m) float, or (T, B) integer
    targets : (T, B, o) float, or (T, B) integer classes
    mask : (T, B) bool, or None
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray = None
