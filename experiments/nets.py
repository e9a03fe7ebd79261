"""The networks and data that several experiments share."""

import contextlib
import functools
import warnings
from itertools import pairwise

import numpy as np

import minipc as pc
from reference import problems

TRAINED, TESTED = 6_400, 2_000  # the first so many training and test images of MNIST


def gelu_mlp(layers, width=128, loss="cross_entropy"):
    """The MLP of the ePC paper: 784-128x(L-1)-10, GELU (tanh form), orthogonal weights of gain sqrt 2, zero biases."""
    options = {"init": "orthogonal", "gain": 2**0.5}
    sizes = [784, *[width] * (layers - 1)]
    hidden = [pc.Dense(n, width, "gelu", **options) for n in sizes[:-1]]
    return pc.Network([*hidden, pc.Dense(width, 10, **options)], loss=loss)


@functools.cache
def mnist(dtype="float32", samples=TRAINED):
    """The first images of MNIST, pixels 0..1; a ``Split`` of ``samples`` and 2,000 test images."""
    d = pc.data.mnist(dtype)
    return pc.data.Split(d.x_train[:samples], d.y_train[:samples], d.x_test[:TESTED], d.y_test[:TESTED])


def one_hot(labels, dtype):
    """Labels 0..9 as rows of the unit matrix."""
    return np.eye(10, dtype=dtype)[labels]


def tanh_problem(rng, sizes, gain=1.0, B=3):
    """A tanh network with linear output, squared error, unit precisions; weights N(0, gain^2 / n_in), biases, x, y N(0, 1)."""
    options = {"activation": "tanh", "output": "identity", "form": "post", "loss": "mse", "precision": None}
    p = problems.make(rng, sizes=sizes, B=B, gain=gain, **options)
    blocks = [pc.Dense(*ends, kind) for ends, (kind, _) in zip(pairwise(sizes), p.layers, strict=True)]
    return pc.Network(blocks), p


def flat(grads):
    """All parameters of a gradient in one vector."""
    return np.concatenate([value.ravel() for p in grads for value in p.values()])


def cosine(a, b):
    """Cosine between two arrays, as a Python float."""
    a, b = np.ravel(a), np.ravel(b)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def deviation(a, b):
    """Relative error, in norm, of ``a`` against ``b``."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@contextlib.contextmanager
def quiet():
    """No warning of diverging inference and of overflow."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", pc.InferenceWarning)
        yield
