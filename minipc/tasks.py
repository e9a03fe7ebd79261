"""What ``python -m minipc train`` can be asked for: a data set, and the network that is usual for it."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from . import data
from .blocks import Dense, Flatten
from .network import Network


class Task(NamedTuple):
    """A loader ``(dtype) -> Split``, the number of classes, and the widths of the hidden layers, unless others are given."""

    load: Callable
    classes: int
    hidden: tuple


TASKS = {
    "digits": Task(data.digits, 10, (128,)),
    "mnist": Task(data.mnist, 10, (128, 128, 128)),
    "fashion_mnist": Task(data.fashion_mnist, 10, (128, 128, 128)),
    "cifar10": Task(data.cifar10, 10, (512, 512)),
}


def classifier(shape, hidden, classes, activation):
    """A chain of Dense blocks with logits at its end, for samples of ``shape``; orthogonal weights, zero biases.

    The gain is the square root of two, as in the papers, where the activation is one of the relu family, else one.
    """
    options = {"init": "orthogonal", "gain": 2**0.5 if activation in ("relu", "leaky_relu", "gelu") else 1.0}
    sizes = [math.prod(shape), *hidden]
    blocks = [Dense(*ends, activation, **options) for ends in pairwise(sizes)]
    flatten = [Flatten()] if len(shape) > 1 else []
    return Network(
        [*flatten, *blocks, Dense(sizes[-1], classes, **options)], "cross_entropy", input_shape=shape
    )
