"""What ``python -m minipc train`` can be asked for: a data set, and the network that is usual for it.

A :class:`Task` has samples, for the rules in space; a :class:`SequenceTask` sequences, for the rules in time.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np  # host only: the data

from . import data
from .blocks import Dense, Embedding, Flatten
from .cells import GRU, LSTM, RNN
from .data import Sequences
from .diagonal import ELSTM, LRU, RTU
from .network import Network
from .recurrent import RecurrentNetwork


class Task(NamedTuple):
    """A loader ``(dtype) -> Split``, the number of classes, and the widths of the hidden layers, unless others are given."""

    load: Callable
    classes: int
    hidden: tuple
    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 1e-3


class SequenceTask(NamedTuple):
    """What is remembered, for how long, and what one reaches without a memory.

    Attributes
    ----------
    load : callable          ``(steps, dtype) -> (train, test)``, Sequences each
    loss : str               of the network
    symbols : int            that inputs are taken from; None: inputs are numbers
    inputs : int             numbers at a step, 1 symbol
    outputs : int            classes, or numbers to predict
    metric : str             measured beside the loss
    without_memory : callable  ``(train, test) -> {"loss": ..., metric: ...}``, the best that a predictor does which sees the
                             input of the same step alone
    steps, meaning : int, str  default of ``--steps``, and what it is
    cell, hidden             of the network, unless others are given
    """

    load: Callable
    loss: str
    symbols: int
    inputs: int
    outputs: int
    metric: str
    without_memory: Callable
    steps: int
    meaning: str
    cell: str
    hidden: tuple
    epochs: int
    batch_size: int
    learning_rate: float


DIGITS = 5  # to copy
TRAIN, TEST = 20_260_401, 20_260_402  # seeds of the two sets: the data of a task are the same in every run


def copy(steps, dtype):
    """Five digits, a delay of so many steps, and the five digits."""
    return (
        data.copy_task(digits=DIGITS, delay=steps, samples=n, seed=seed)
        for n, seed in ((5000, TRAIN), (1000, TEST))
    )


def adding(steps, dtype):
    """Sequences of so many steps."""
    return (
        data.adding(T=steps, samples=n, seed=seed, dtype=dtype) for n, seed in ((5000, TRAIN), (1000, TEST))
    )


def parity(steps, dtype):
    """The delay is so many steps; thirty answers a sequence."""
    return (
        data.delayed_parity(T=steps + 31, delay=steps, samples=n, seed=seed, dtype=dtype)
        for n, seed in ((2000, TRAIN), (500, TEST))
    )


def shakespeare(steps, dtype):
    """Pieces of so many characters, each with the character that follows; the text's own training and test part."""
    corpus = data.tiny_shakespeare()
    return (pieces(part, steps) for part in (corpus.train, corpus.test))


def pieces(text, steps) -> Sequences:
    """Integers ``(N,)`` cut into pieces side by side; the target is what comes next. What is left over is dropped.

    Examples
    --------
    >>> cut = pieces(np.arange(8), 3)
    >>> cut.inputs.T.tolist(), cut.targets.T.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    count = (len(text) - 1) // steps
    if count < 2:
        raise ValueError(f"steps must leave two pieces at least of {len(text)} characters; got {steps}")
    return Sequences(*(text[i : i + count * steps].reshape(count, steps).T.copy() for i in (0, 1)))


def by_pairs(train, test):
    """What follows each character, counted in the training text: loss and accuracy of these frequencies on the test text.

    Every pair is counted once more than it is seen, so that none is impossible.
    """
    n = 1 + max(int(part.max()) for s in (train, test) for part in s[:2])
    seen = np.bincount(n * train.inputs.ravel() + train.targets.ravel(), minlength=n * n).reshape(n, n) + 1
    u, y = test.inputs.ravel(), test.targets.ravel()
    share = seen / seen.sum(axis=1, keepdims=True)
    return {
        "loss": float(-np.log(share[u, y]).mean()),
        "accuracy": float((seen.argmax(axis=1)[u] == y).mean()),
    }


TASKS = {
    "digits": Task(data.digits, 10, (128,)),
    "mnist": Task(data.mnist, 10, (128, 128, 128)),
    "fashion_mnist": Task(data.fashion_mnist, 10, (128, 128, 128)),
    "cifar10": Task(data.cifar10, 10, (512, 512)),
    "copy": SequenceTask(
        copy, "cross_entropy", 11, 1, 10, "accuracy", lambda *_: {"loss": math.log(9), "accuracy": 1 / 9},
        10, "the delay between the last digit and the first answer", "gru", (64,), 10, 32, 5e-3,
    ),
    "adding": SequenceTask(
        adding, "mse", None, 2, 1, "absolute_error", lambda *_: {"loss": 1 / 12, "absolute_error": 1 / 3},
        50, "the length of the sequences", "gru", (32,), 10, 32, 5e-3,
    ),
    "parity": SequenceTask(
        parity, "cross_entropy", None, 1, 2, "accuracy", lambda *_: {"loss": math.log(2), "accuracy": 1 / 2},
        5, "the delay", "gru", (32,), 10, 32, 5e-3,
    ),
    "shakespeare": SequenceTask(
        shakespeare, "cross_entropy", 65, 1, 65, "accuracy", by_pairs,
        50, "the characters of a piece", "gru", (128,), 3, 64, 3e-3,
    ),
}  # fmt: skip
CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM, "elstm": ELSTM, "lru": LRU, "rtu": RTU}
LINEAR = ("lru", "rtu")  # in their state: a nonlinear layer stands behind them


def recurrent(task, cell, hidden, activation=None):
    """The network of a sequence task: cells of the widths ``hidden``, one on the other, and Dense outputs.

    Integer inputs go through an Embedding as wide as there are symbols: what one-hot inputs would be, without their 65
    numbers a character. ``activation`` is that of an RNN (None: tanh), or of the layer behind every LRU and RTU, whose
    state is linear (None: gelu); the other cells have none to choose.
    """
    if activation is not None and cell not in ("rnn", *LINEAR):
        raise ValueError(f"--activation is no option of {cell}, which has its own; rnn, lru and rtu take one")
    width = task.symbols or task.inputs
    blocks = [Embedding(width, width)] if task.symbols else []
    for n in hidden:
        options = {"activation": activation or "tanh"} if cell == "rnn" else {}
        blocks.append(CELLS[cell](width, n, **options))
        width = blocks[-1].out_shape((width,))[0]
        if cell in LINEAR:
            blocks.append(Dense(width, n, activation or "gelu"))
            width = n
    shape = () if task.symbols else None
    return RecurrentNetwork([*blocks, Dense(width, task.outputs)], task.loss, input_shape=shape)


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
