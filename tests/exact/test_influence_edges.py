"""The influence through every kind of block and stack, in blocks of steps and in stretches, against BPTT."""

import numpy as np
import pytest
from helpers.checks import assert_live, assert_same

import minipc as pc
from minipc import bptt, influence, rtrl

M, O = 3, 2
VECTORS = {  # chains on inputs (T, B, M)
    "RNN over LRU": [pc.LRU(M, 4, 3), pc.RNN(3, 5, "tanh"), pc.Dense(5, O)],
    "RNN over RTU": [pc.RTU(M, 4, "tanh"), pc.RNN(8, 5, "tanh"), pc.Dense(5, O)],
    "RNN over eLSTM": [pc.ELSTM(M, 4), pc.RNN(4, 5, "tanh"), pc.Dense(5, O)],
    "GRU over two LRU": [pc.LRU(M, 4, 3), pc.LRU(3, 2, 4), pc.GRU(4, 5), pc.Dense(5, O)],
    "Dense, two RNN": [
        pc.Dense(M, 4, "tanh"),
        pc.RNN(4, 5, "tanh"),
        pc.RNN(5, 3, "tanh", "pre"),
        pc.Dense(3, O),
    ],
    "Dense, LSTM, Dense, GRU": [
        pc.Dense(M, 4, "tanh"),
        pc.LSTM(4, 3),
        pc.Dense(3, 4, "tanh", "pre", scale=2.0),
        pc.GRU(4, 5),
        pc.Dense(5, O),
    ],
    "no bias": [pc.Dense(M, 4, "tanh", bias=False), pc.RNN(4, 5, "tanh"), pc.Dense(5, O, bias=False)],
    "scales": [
        pc.Dense(M, 4, "tanh", scale=0.5),
        pc.Dense(4, 6, "tanh", "pre", scale=np.float64(2.0)),
        pc.RNN(6, 5, "tanh"),
        pc.Dense(5, O, scale=3),
    ],
    "a block that is no Dense": [pc.Dense(M, 4), pc.LayerNorm(4), pc.RNN(4, 5, "tanh"), pc.Dense(5, O)],
    "such a block first": [
        pc.LayerNorm(M),
        pc.RNN(M, 5, "tanh"),
        pc.LayerNorm(5),
        pc.RNN(5, 4, "tanh"),
        pc.Dense(4, O),
    ],
    "learned h0": [pc.RNN(M, 4, "tanh", learn_h0=True), pc.RNN(4, 5, "tanh"), pc.Dense(5, O)],
    "learned h0 above": [pc.RNN(M, 4, "tanh"), pc.RNN(4, 5, "tanh", learn_h0=True), pc.Dense(5, O)],
    "GRU with learned h0": [pc.GRU(M, 4, learn_h0=True), pc.Dense(4, O)],
    "LSTM with learned h0": [
        pc.Dense(M, 4, "tanh"),
        pc.LSTM(4, 3, learn_h0=True),
        pc.GRU(3, 4),
        pc.Dense(4, O),
    ],
    "LRU with learned h0": [
        pc.LRU(M, 4, 3, learn_h0=True),
        pc.RNN(3, 5, "tanh", learn_h0=True),
        pc.Dense(5, O),
    ],
}
INDICES = {  # chains on indices
    "Embedding": ([pc.Embedding(6, 4), pc.RNN(4, 5, "tanh"), pc.Dense(5, O)], ()),
    "Embedding, two cells": ([pc.Embedding(6, 4), pc.RNN(4, 3, "tanh"), pc.GRU(3, 5), pc.Dense(5, O)], ()),
    "windows of indices": ([pc.Embedding(6, 4), pc.Flatten(), pc.RNN(8, 5, "tanh"), pc.Dense(5, O)], (2,)),
    "Embedding, LayerNorm": (
        [pc.Embedding(6, 4), pc.LayerNorm(4), pc.RNN(4, 5, "tanh"), pc.Dense(5, O)],
        (),
    ),
}
IMAGES = {  # chains on inputs (T, B, 2, 3)
    "Flatten": ([pc.Flatten(), pc.RNN(6, 5, "tanh"), pc.Dense(5, O)], (2, 3)),
    "Flatten, Dense": ([pc.Flatten(), pc.Dense(6, 4, "tanh"), pc.RNN(4, 5, "tanh"), pc.Dense(5, O)], (2, 3)),
    "LayerNorm, Flatten": (
        [pc.LayerNorm((2, 3)), pc.Flatten(), pc.RNN(6, 5, "tanh"), pc.Dense(5, O)],
        (2, 3),
    ),
}
CHAINS = [*VECTORS, *INDICES, *IMAGES]


def problem(name, T=7, B=3, dtype=float):
    """Network, parameters away from zero, inputs and targets."""
    rng = np.random.default_rng(0)
    blocks, shape = (VECTORS[name], (M,)) if name in VECTORS else {**INDICES, **IMAGES}[name]
    net = pc.RecurrentNetwork(blocks, **({} if name in VECTORS else {"input_shape": shape}))
    params = [
        {k: (v + 0.2 * rng.standard_normal(v.shape)).astype(dtype) for k, v in p.items()} for p in net.init(0)
    ]
    inputs = (
        rng.integers(0, 6, (T, B, *shape))
        if name in INDICES
        else rng.standard_normal((T, B, *shape)).astype(dtype)
    )
    return net, params, inputs, rng.standard_normal((T, B, O)).astype(dtype)


def in_stretches(net, params, inputs, targets, cuts, reset=None, **options):
    """The sum of the gradients of stretches of one sequence, and what the first ones carry."""
    total = carry = None
    for a, b in zip([0, *cuts], [*cuts, len(inputs)], strict=True):
        again = None if reset is None else reset[a:b]
        g = rtrl.gradient(net, params, inputs[a:b], targets[a:b], reset=again, carry=carry, **options)
        carry, total = g.carry, g.grads if total is None else bptt.added(total, g.grads)
    return total


@pytest.mark.parametrize("options", [{"influence": "exact"}, *({"block": k} for k in (2, 3, 7))], ids=str)
@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_has_the_gradient_of_bptt(name, options):
    """In one go, in stretches that cut blocks, and with resets of some lanes (RTRL.1), (RTRL.6), (HYB.1)-(HYB.4)."""
    net, params, inputs, targets = problem(name)
    reset = np.zeros(inputs.shape[:2], bool)
    reset[3, 1] = reset[5, :2] = True
    for again in (None, reset):
        expected = bptt.gradient(net, params, inputs, targets, reset=again).grads
        assert_live(expected)
        for cuts in ([], [4], [1, 2, 6]):
            assert_same(
                in_stretches(net, params, inputs, targets, cuts, again, **options), expected, rtol=1e-9
            )


@pytest.mark.parametrize("options", [{"influence": "exact"}, {"block": 2}], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "Dense, two RNN",
        "RNN over LRU",
        "RNN over RTU",
        "such a block first",
        "Embedding",
        "scales",
        "Flatten, Dense",
        "Flatten",
        "LayerNorm, Flatten",
    ],
)
def test_float32_stays_float32(name, options):
    """States, gradients, and the influence itself, also after a reset and from one stretch to the next."""
    net, params, inputs, targets = problem(name, dtype=np.float32)
    params = [{k: v.astype(np.float32) for k, v in p.items()} for p in params]
    reset = np.zeros(inputs.shape[:2], bool)
    reset[3, 1] = True
    first = rtrl.gradient(net, params, inputs[:4], targets[:4], reset=reset[:4], **options)
    second = rtrl.gradient(
        net, params, inputs[4:], targets[4:], reset=reset[4:], carry=first.carry, **options
    )
    M = second.carry.influence.copy(second.carry.h)
    M.reset(np.array([True, False, True]))
    arrays = [b for b in M.below if b is not None]
    for own in M.own:
        arrays += list(own.values()) if isinstance(own, dict) else [own] if own is not None else []
    arrays += [v for g in (first, second) for q in g.grads for v in q.values()]
    assert {v.dtype for v in arrays} <= {np.dtype(np.float32), np.dtype(np.complex64)}


@pytest.mark.parametrize("options", [{"influence": "exact"}, {"block": 2}, {"influence": "local"}], ids=str)
@pytest.mark.parametrize("name", ["Dense, two RNN", "RNN over LRU", "GRU over two LRU"])
def test_the_carry_of_a_stretch_can_be_used_twice(name, options):
    """Going on copies the influence: steps and resets work in place, in arrays of their own."""
    net, params, inputs, targets = problem(name)
    first = rtrl.gradient(net, params, inputs[:4], targets[:4], **options)
    reset = np.zeros((3, 3), bool)
    reset[1, 0] = True

    def go_on(again=None):
        return rtrl.gradient(net, params, inputs[4:], targets[4:], reset=again, carry=first.carry, **options)

    expected = go_on().grads
    other = go_on(reset).grads
    assert abs(other[0][next(iter(other[0]))] - expected[0][next(iter(expected[0]))]).max() > 1e-6
    assert_same(go_on().grads, expected, rtol=0)


def test_names_of_influences():
    """They are what ``carry`` must be that of, and what messages say."""
    net, params, inputs, targets = problem("RNN over LRU")
    found = {
        name: rtrl.gradient(net, params, inputs, targets, influence=name).carry.influence.name
        for name in ("hybrid", "exact", "local")
    }
    assert found == {"hybrid": "hybrid", "exact": "exact", "local": "local"}


@pytest.mark.parametrize(
    ("n", "block"),
    [(1, 32), (15, 32), (16, 32), (17, 34), (40, 80), (63, 126), (64, 128), (65, 128), (200, 128)],
)
def test_the_default_block_is_twice_the_largest_state(n, block):
    """At least 32 steps and at most 128; of the largest state, wherever it stands."""
    for blocks in (
        [pc.RNN(M, n), pc.RNN(n, 1), pc.Dense(1, O)],
        [pc.RNN(M, 1), pc.RNN(1, n), pc.Dense(n, O)],
    ):
        net = pc.RecurrentNetwork(blocks)
        h = (
            [np.zeros((1, n)), np.zeros((1, 1)), None]
            if blocks[0].n == n
            else [np.zeros((1, 1)), np.zeros((1, n)), None]
        )
        assert influence.start("hybrid", net, net.init(0), h).block == block


@pytest.mark.parametrize(
    ("name", "block"),
    [("GRU over two LRU", 1), ("RNN over LRU", 4), ("Dense, two RNN", 4), ("no bias", 4)],
)
def test_traces_through_a_diagonal_cell_go_step_by_step(name, block):
    """Where a diagonal cell has parameters below it, a block is one step; else it is what was asked for."""
    net, params, _, _ = problem(name)
    h = [
        np.zeros((3, b.state_size), complex if b.complex_state else float) if l in net.cells else None
        for l, b in enumerate(net.blocks)
    ]
    M = influence.start("hybrid", net, params, h, np.int64(4))
    assert M.block == block
    assert type(M.block) is int


def test_entries_count_what_is_kept():
    """A dense cell: N columns of its own and of all below; a diagonal one: its traces."""
    net, params, inputs, targets = problem("Dense, two RNN")
    M = rtrl.gradient(net, params, inputs, targets, influence="exact").carry.influence
    sizes = [sum(v.size for v in p.values()) for p in params]
    below = [sizes[0], sizes[0] + sizes[1]]
    assert M.entries == 3 * (5 * below[0] + 3 * below[1]) + sum(M.own[l].size for l in net.cells)
    net, params, inputs, targets = problem("RNN over LRU")
    M = rtrl.gradient(net, params, inputs, targets, influence="exact").carry.influence
    assert M.entries == sum(v.size for v in M.own[0].values()) + M.own[1].size + M.below[1].size


@pytest.mark.parametrize("name", [3, None, ["hybrid"], ("exact",), {}], ids=str)
def test_what_is_no_name_is_refused(name):
    """Also what cannot be looked up in a table."""
    net, params, inputs, targets = problem("Dense, two RNN")
    with pytest.raises(ValueError, match="influence must be one of hybrid, exact"):
        rtrl.gradient(net, params, inputs, targets, influence=name)


@pytest.mark.parametrize("options", [{"influence": "exact"}, {"block": 2}, {"block": 5}], ids=str)
@pytest.mark.parametrize(
    "name", ["Dense, two RNN", "Dense, LSTM, Dense, GRU", "learned h0", "Flatten", "no bias"]
)
def test_a_complex_step_goes_through_influence_and_carry(name, options):
    """Second derivatives of the loss, along inputs and parameters of the second stretch: RTRL's are BPTT's."""
    net, params, inputs, targets = problem(name)
    rng = np.random.default_rng(1)
    along = [{k: rng.standard_normal(v.shape) for k, v in p.items()} for p in params]
    h = 1e-20j
    moved = [{k: v + h * a[k] for k, v in p.items()} for p, a in zip(params, along, strict=True)]
    expected = bptt.gradient(net, moved, inputs + h, targets).grads
    found = rtrl.gradient(net, moved, inputs + h, targets, **options).grads
    slope = lambda tree: [{k: v.imag / 1e-20 for k, v in q.items()} for q in tree]  # noqa: E731
    assert_live(slope(expected))
    assert_same(slope(found), slope(expected), rtol=1e-8)
    late = np.where(np.arange(len(inputs)) < 4, 0, h).reshape(-1, *[1] * (inputs.ndim - 1))
    first = rtrl.gradient(net, params, inputs[:4], targets[:4], **options)
    second = rtrl.gradient(net, params, (inputs + late)[4:], targets[4:], carry=first.carry, **options)
    expected = bptt.gradient(net, params, inputs + late, targets).grads
    assert_same(slope(second.grads), slope(expected), rtol=1e-8)


@pytest.mark.parametrize("options", [{"influence": "exact"}, {"block": 2}, {"block": 7}], ids=str)
@pytest.mark.parametrize("name", ["Dense, two RNN", "RNN over LRU"])
def test_a_lane_that_is_reset_owes_nothing_to_the_past(name, options):
    """Right after a stretch, too, whose last block has not been asked for yet (RTRL.6)."""
    net, params, inputs, targets = problem(name)
    M, before = (rtrl.gradient(net, params, inputs, targets, **options).carry.influence for _ in range(2))
    q = [np.ones((3, b.state_size)) if l in net.cells else None for l, b in enumerate(net.blocks)]
    M.reset(np.array([True, True, True]))
    assert not any(v.any() for g in M.gradients(params, M.readout(q)) for v in g.values())
    left = before.gradients(params, before.readout(q))
    assert all(v.any() for g in left[: net.cells[-1]] for v in g.values())
