"""Recurrent cells and networks of them: what cannot be built says why."""

import numpy as np
import pytest

import minipc as pc
from minipc import bptt
from minipc.registry import CELLS, build

COUNT = "must be an integer, got"
LEAST = "must be at least 1, got"
CELL = {
    "RNN n 0": (lambda: pc.RNN(3, 0), ValueError, f"n of an RNN cell {LEAST} 0"),
    "RNN n_in a tuple": (lambda: pc.RNN((3,), 2), TypeError, rf"n_in of an RNN cell {COUNT} \(3,\)"),
    "RNN n a bool": (lambda: pc.RNN(3, True), TypeError, f"n of an RNN cell {COUNT} True"),
    "RNN activation": (
        lambda: pc.RNN(3, 2, "swish"),
        ValueError,
        "activation of an RNN cell must be one of identity, .*; got 'swish'",
    ),
    "RNN activation a function": (
        lambda: pc.RNN(3, 2, np.tanh),
        ValueError,
        "activation of an RNN cell must be one of identity, .*; got <ufunc 'tanh'>",
    ),
    "RNN form": (
        lambda: pc.RNN(3, 2, form="mid"),
        ValueError,
        "form of an RNN cell must be one of post, pre; got 'mid'",
    ),
    "RNN alpha 0": (
        lambda: pc.RNN(3, 2, alpha=0),
        ValueError,
        r"alpha of an RNN cell must .*\(0, 1\], got 0",
    ),
    "RNN alpha above 1": (
        lambda: pc.RNN(3, 2, alpha=1.5),
        ValueError,
        r"alpha of an RNN cell must .*\(0, 1\], got 1.5",
    ),
    "RNN alpha NaN": (lambda: pc.RNN(3, 2, alpha=np.nan), ValueError, r"alpha .*\(0, 1\], got nan"),
    "RNN alpha text": (lambda: pc.RNN(3, 2, alpha="1"), TypeError, "alpha of an RNN cell .* got '1'"),
    "RNN alpha True": (lambda: pc.RNN(3, 2, alpha=True), TypeError, "alpha of an RNN cell .* got True"),
    "RNN init": (lambda: pc.RNN(3, 2, init="zero"), ValueError, "init of an RNN cell .*got 'zero'"),
    "RNN gain": (lambda: pc.RNN(3, 2, gain=-1.0), ValueError, "gain of an RNN cell must be positive"),
    "RNN learn_h0 1": (
        lambda: pc.RNN(3, 2, learn_h0=1),
        TypeError,
        "learn_h0 of an RNN cell must be True or False, got 1",
    ),
    "GRU n_in float": (lambda: pc.GRU(3.0, 2), TypeError, f"n_in of a GRU cell {COUNT} 3.0"),
    "GRU n negative": (lambda: pc.GRU(3, -2), ValueError, f"n of a GRU cell {LEAST} -2"),
    "GRU init": (lambda: pc.GRU(3, 2, init=None), ValueError, "init of a GRU cell .*got None"),
    "LSTM n text": (lambda: pc.LSTM(3, "2"), TypeError, f"n of an LSTM cell {COUNT} '2'"),
    "LSTM gain NaN": (lambda: pc.LSTM(3, 2, gain=np.nan), ValueError, "gain of an LSTM cell .*nan"),
    "LSTM learn_h0 an array": (
        lambda: pc.LSTM(3, 2, learn_h0=np.zeros(4)),
        TypeError,
        "learn_h0 of an LSTM cell must be True or False",
    ),
    "ELSTM n_in 0": (lambda: pc.ELSTM(0, 2), ValueError, f"n_in of an ELSTM cell {LEAST} 0"),
    "ELSTM learn_h0": (
        lambda: pc.ELSTM(3, 2, learn_h0="yes"),
        TypeError,
        "learn_h0 of an ELSTM cell .*'yes'",
    ),
    "LRU n_out 0": (lambda: pc.LRU(3, 2, 0), ValueError, f"n_out of an LRU cell {LEAST} 0"),
    "LRU n_out float": (lambda: pc.LRU(3, 2, 2.0), TypeError, f"n_out of an LRU cell {COUNT} 2.0"),
    "LRU n float": (lambda: pc.LRU(3, 2.5), TypeError, f"n of an LRU cell {COUNT} 2.5"),
    "LRU gamma": (
        lambda: pc.LRU(3, 2, gamma="fixed"),
        ValueError,
        "gamma of an LRU cell must be one of free, tied; got 'fixed'",
    ),
    "LRU gamma a number": (lambda: pc.LRU(3, 2, gamma=0.5), ValueError, "gamma of an LRU cell .*got 0.5"),
    "LRU ring outside in": (
        lambda: pc.LRU(3, 2, r_min=0.9, r_max=0.5),
        ValueError,
        "r_min < r_max < 1 must hold in an LRU cell, got 0.9 and 0.5",
    ),
    "LRU ring unstable": (lambda: pc.LRU(3, 2, r_max=1.0), ValueError, "r_max < 1 must hold .* and 1.0"),
    "LRU ring negative": (lambda: pc.LRU(3, 2, r_min=-0.1), ValueError, "r_min of an LRU cell .*got -0.1"),
    "LRU ring NaN": (lambda: pc.LRU(3, 2, r_max=np.nan), ValueError, "r_max of an LRU cell .*got nan"),
    "LRU phase 0": (
        lambda: pc.LRU(3, 2, max_phase=0),
        ValueError,
        "max_phase of an LRU cell must be positive, got 0",
    ),
    "LRU phase above a turn": (
        lambda: pc.LRU(3, 2, max_phase=7),
        ValueError,
        "max_phase of an LRU cell .*got 7",
    ),
    "RTU activation": (
        lambda: pc.RTU(3, 2, "linear"),
        ValueError,
        "activation of an RTU cell must be one of identity, .*; got 'linear'",
    ),
    "RTU ring": (
        lambda: pc.RTU(3, 2, r_min=0.5, r_max=0.5),
        ValueError,
        "r_min < r_max < 1 must hold in an RTU cell, got 0.5 and 0.5",
    ),
    "RTU phase text": (lambda: pc.RTU(3, 2, max_phase="pi"), TypeError, "max_phase of an RTU cell .*'pi'"),
    "RTU n 0": (lambda: pc.RTU(3, 0), ValueError, f"n of an RTU cell {LEAST} 0"),
    "an unknown cell in a file": (lambda: build("Rnn", {}), KeyError, "Rnn"),
}

NETWORK = {
    "no cell": (
        lambda: pc.RecurrentNetwork([pc.Dense(3, 2)]),
        ValueError,
        r"needs at least one cell \(RNN, GRU, ...\); without one take Network",
    ),
    "no block": (lambda: pc.RecurrentNetwork([]), ValueError, "at least one block, got an empty list"),
    "a cell and no list": (
        lambda: pc.RecurrentNetwork(pc.RNN(3, 2)),
        TypeError,
        "blocks must be a list.*got RNN",
    ),
    "a class": (
        lambda: pc.RecurrentNetwork([pc.RNN]),
        TypeError,
        "block 1 must be a block .*RNN.* got <class",
    ),
    "something else": (
        lambda: pc.RecurrentNetwork([pc.RNN(3, 2), np.tanh]),
        TypeError,
        "block 2 must be a block .*LSTM.*got <ufunc 'tanh'>",
    ),
    "widths that do not fit": (
        lambda: pc.RecurrentNetwork([pc.RNN(3, 4), pc.Dense(5, 2)]),
        ValueError,
        r"block 2 does not fit the output of block 1: Dense must take inputs of shape \(5,\), got \(4,\)",
    ),
    "the state of an LSTM is not its output": (
        lambda: pc.RecurrentNetwork([pc.LSTM(3, 4), pc.GRU(8, 2)]),
        ValueError,
        r"block 2 does not fit the output of block 1: GRU must take inputs of shape \(8,\), got \(4,\)",
    ),
    "the output of an RTU is 2n": (
        lambda: pc.RecurrentNetwork([pc.RTU(3, 4), pc.Dense(4, 2)]),
        ValueError,
        r"block 2 does not fit the output of block 1: .*\(4,\), got \(8,\)",
    ),
    "images into a cell": (
        lambda: pc.RecurrentNetwork([pc.Conv2d(1, 2, 3), pc.RNN(8, 2)], input_shape=(1, 4, 4)),
        ValueError,
        r"block 2 does not fit the output of block 1: RNN must take .*\(8,\), got \(2, 2, 2\)",
    ),
    "Embedding not first": (
        lambda: pc.RecurrentNetwork([pc.RNN(3, 4), pc.Embedding(5, 3)]),
        ValueError,
        "block 2 takes integers, so it must be the first block",
    ),
    "batch statistics": (
        lambda: pc.RecurrentNetwork([pc.BatchNorm2d(1), pc.Flatten(), pc.RNN(4, 2)], input_shape=(1, 2, 2)),
        ValueError,
        "block 1 takes its statistics from the batch, so sequences would interact: .*freeze_statistics",
    ),
    "batch statistics in a Residual": (
        lambda: pc.RecurrentNetwork(
            [pc.Residual([pc.BatchNorm2d(1)]), pc.Flatten(), pc.RNN(4, 2)], input_shape=(1, 2, 2)
        ),
        ValueError,
        "block 1 takes its statistics from the batch",
    ),
    "a cell in a Residual": (lambda: pc.Residual([pc.RNN(3, 3)]), TypeError, "RNN"),
    "a cell in Network": (
        lambda: pc.Network([pc.RNN(3, 2)]),
        TypeError,
        r"block 1 must be a block .*got RNN\(.*\(a recurrent cell: take RecurrentNetwork\)",
    ),
    "a cell in a Dag": (lambda: pc.Dag([pc.RNN(3, 2)], [(0,)]), TypeError, "block 1 .*RNN"),
    "images at the output": (
        lambda: pc.RecurrentNetwork([pc.RNN(3, 4), pc.Flatten(), pc.Dense(5, 2)]),
        ValueError,
        "block 3 does not fit the output of block 2",
    ),
    "loss": (
        lambda: pc.RecurrentNetwork([pc.RNN(3, 2)], "ctc"),
        ValueError,
        "loss must be one of .*got 'ctc'",
    ),
    "input shape against the cell": (
        lambda: pc.RecurrentNetwork([pc.RNN(3, 2)], input_shape=(7, 3)),
        ValueError,
        r"block 1 does not fit the input: RNN must take inputs of shape \(3,\), got \(7, 3\)",
    ),
    "a dtype of parameters": (
        lambda: pc.RecurrentNetwork([pc.RNN(3, 2)]).init(0, "float16"),
        TypeError,
        "dtype must be float32 or float64, got float16",
    ),
    "a seed": (lambda: pc.RecurrentNetwork([pc.RNN(3, 2)]).init(-1), ValueError, "seed must be .*got -1"),
}


@pytest.mark.parametrize("name", CELL)
def test_a_cell_that_cannot_be(name):
    """The message names the argument, the cell, what was expected and what was given."""
    make, error, message = CELL[name]
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("name", NETWORK)
def test_a_network_that_cannot_be(name):
    """So do those of a chain of cells."""
    make, error, message = NETWORK[name]
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("kind", CELLS)
def test_numbers_of_numpy_are_accepted(kind):
    """As every other number; the configuration stays plain, so a file can hold it."""
    cell = CELLS[kind](np.int64(3), np.int32(2))
    plain = CELLS[kind](3, 2)
    assert cell == plain
    assert {type(value) for value in cell.config().values()} <= {int, float, str, bool, type(None)}
    assert build(kind, cell.config()) == plain


def test_frozen_statistics_are_accepted():
    """What the message about the batch advises, works."""
    blocks = [pc.BatchNorm2d(1), pc.Flatten(), pc.Dense(4, 2)]
    feed = pc.Network(blocks, input_shape=(1, 2, 2))
    rng = np.random.default_rng(0)
    frozen, params = pc.freeze_statistics(feed, feed.init(0), rng.standard_normal((5, 1, 2, 2)))
    net = pc.RecurrentNetwork([*frozen.blocks[:2], pc.RNN(4, 2)], input_shape=(1, 2, 2))
    params = [*params[:2], net.init(0)[2]]
    inputs = rng.standard_normal((3, 2, 1, 2, 2))
    assert bptt.gradient(net, params, inputs, np.zeros((3, 2, 2))).loss.shape == (2,)
