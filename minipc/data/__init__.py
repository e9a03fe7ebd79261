"""Real data: handwritten digits that ship with the package, and MNIST, found on this machine or downloaded."""

import pathlib
from typing import NamedTuple

import numpy as np

from ..arguments import float_dtype
from . import idx

HERE = pathlib.Path(__file__).parent
TEST_SIZE = 360


class Split(NamedTuple):
    """Training and test set; ``x (N, n)`` float, one row an image, ``y (N,)`` integer labels 0..9."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


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


def mnist(dtype="float32") -> Split:
    """MNIST: 60,000 images of 28 x 28 pixels to train on, 10,000 to test; ``x (N, 784)``, pixels 0..1.

    The four files are looked for in the folder ``mnist`` under the environment variable ``MINIPC_DATA`` and
    under the cache folder, else downloaded into the cache (11 MB). Every file is used only if its content has
    the known sha256. float32 takes 220 MB, float64 twice as much.

    Raises
    ------
    ConnectionError          a file is not here and cannot be downloaded; says where to put it
    ValueError               a file does not hold what it should
    """
    dtype = float_dtype(dtype)
    x_train, x_test = (_scaled(idx.images(part), dtype) for part in ("train", "t10k"))
    return Split(x_train, idx.labels("train"), x_test, idx.labels("t10k"))


def _scaled(pixels, dtype):
    """Bytes 0..255 as numbers 0..1; in place, because the array is large."""
    x = pixels.astype(dtype)
    x /= 255
    return x
