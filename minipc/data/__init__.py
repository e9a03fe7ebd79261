"""Data that ships with the package: real handwritten digits."""

import pathlib
from typing import NamedTuple

import numpy as np

from ..arguments import float_dtype

HERE = pathlib.Path(__file__).parent
TEST_SIZE = 360


class Split(NamedTuple):
    """Training and test set; ``x (N, 64)`` float, ``y (N,)`` integer labels 0..9."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits(dtype="float64") -> Split:
    """Optical handwritten digits: 1,797 images of 8 x 8 pixels, 1,437 to train on and the last 360 to test.

    Pixels are 0..16 in the file and 0..1 here, row by row. The split keeps the order of the file; its end is
    harder than a shuffled test set would be. Source, licence and citation: ``minipc/data/digits.md``.

    Examples
    --------
    >>> digits().x_train.shape, digits().y_test.shape
    ((1437, 64), (360,))
    """
    dtype = float_dtype(dtype)
    with np.load(HERE / "digits.npz", allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    x, y = (images / 16).astype(dtype), labels.astype(np.int64)
    return Split(x[:-TEST_SIZE], y[:-TEST_SIZE], x[-TEST_SIZE:], y[-TEST_SIZE:])
