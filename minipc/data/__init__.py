"""Data: digits that ship with the package, sets that are found here or downloaded, and made tasks."""

import pathlib

import numpy as np

from ..arguments import float_dtype
from . import cifar, idx
from .about import About, about
from .about import add as _add
from .cifar import LossySubsetWarning
from .containers import Points, Sequences, Split
from .dynamics import Tracking, lorenz, tracking
from .generators import Bogacz, adding, bogacz, copy_task, delayed_parity, two_moons
from .series import Flight, Flights, TimeSeries, nanodrone, timeseries
from .text import Corpus, Pairs, tatoeba, tiny_shakespeare, wikitext2
from .words import NumberNames, number_names

__all__ = [
    "About",
    "Bogacz",
    "Corpus",
    "Flight",
    "Flights",
    "LossySubsetWarning",
    "NumberNames",
    "Pairs",
    "Points",
    "Sequences",
    "Split",
    "TimeSeries",
    "Tracking",
    "about",
    "adding",
    "bogacz",
    "cifar10",
    "copy_task",
    "delayed_parity",
    "digits",
    "fashion_mnist",
    "lorenz",
    "mnist",
    "nanodrone",
    "number_names",
    "tatoeba",
    "timeseries",
    "tiny_shakespeare",
    "tracking",
    "two_moons",
    "wikitext2",
]

HERE = pathlib.Path(__file__).parent
TEST_SIZE = 360

_add(
    name="digits",
    title="Optical recognition of handwritten digits",
    what="images of 8 x 8 pixels, row by row, sixteenths 0..1: x (N, 64); labels y (N,) 0..9; 1,437 to train on, "
    "360 to test, in the order of the file",
    source="ships with minipc; UCI Machine Learning Repository, data set 80, the file optdigits.tes",
    licence="CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    citation="E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits [data set], UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C50P49",
)


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

    The four files (``.gz`` or unpacked) are looked for in the folder ``mnist`` under the environment variable
    ``MINIPC_DATA`` and under the cache folder, else downloaded into the cache (11 MB). Every file is used only if its
    content has the known sha256. float32 takes 220 MB, float64 twice as much. Licence and citation: ``about("mnist")``.

    Raises
    ------
    ConnectionError          a file is not here and cannot be downloaded; says where to put it
    ValueError               a file does not hold what it should
    ImportError              a download needs pooch, which is not installed
    """
    return _idx("mnist", float_dtype(dtype))


def fashion_mnist(dtype="float32") -> Split:
    """Fashion-MNIST: articles of clothing, in the format of :func:`mnist`, which see; folder ``fashion_mnist``, 31 MB.

    A download is used only if it has the public sha256 of the packed file. Of the unpacked content only an MD5 is
    public: by it a file is verified at every use. MD5 finds damage; it is no protection from somebody who made a file
    to deceive. Licence and citation: ``about("fashion_mnist")``.
    """
    return _idx("fashion_mnist", float_dtype(dtype))


def cifar10(dtype="float32") -> Split:
    """CIFAR-10: 50,000 colour images to train on, 10,000 to test; ``x (N, 3, 32, 32)`` red, green, blue, 0..1.

    Ten classes: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck. The archive
    ``cifar-10-binary.tar.gz``, or the six ``.bin`` files that it holds, are looked for in the folder ``cifar10`` under
    the environment variable ``MINIPC_DATA`` and under the cache folder, else the archive is downloaded (170 MB).
    float32 takes 740 MB. Licence and citation: ``about("cifar10")``.

    **Not CIFAR-10** is the subset ``cifar10_jpeg_20k_5k.npz``: 20,000 + 5,000 images with the losses of JPEG. Where
    that file is found and the archive is not, it is used (needs Pillow), with a warning: its results are not comparable
    with published ones.

    Raises
    ------
    ConnectionError, ValueError, ImportError     as :func:`mnist`

    Warns
    -----
    LossySubsetWarning       the images are those of the JPEG subset
    """
    dtype = float_dtype(dtype)
    x_train, y_train, x_test, y_test = cifar.arrays()
    return Split(_scaled(x_train, dtype), y_train, _scaled(x_test, dtype), y_test)


def _idx(dataset, dtype):
    x_train, x_test = (_scaled(idx.images(dataset, part), dtype) for part in ("train", "t10k"))
    return Split(x_train, idx.labels(dataset, "train"), x_test, idx.labels(dataset, "t10k"))


def _scaled(pixels, dtype):
    """Bytes 0..255 as numbers 0..1; in place, because the array is large."""
    x = pixels.astype(dtype)
    x /= 255
    return x
