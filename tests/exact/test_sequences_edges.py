"""The smallest sequences, and what must not matter: masks, resets, lanes, stretches, in every rule in time."""

import tracemalloc

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_live, assert_same

import minipc as pc
from minipc import bptt, rtrl

CELLS = {
    "RNN": pc.RNN(3, 4),
    "RNN, pre": pc.RNN(3, 4, "tanh", "pre", alpha=0.4),
    "GRU": pc.GRU(3, 4),
    "LSTM": pc.LSTM(3, 4),
    "ELSTM": pc.ELSTM(3, 4),
    "LRU": pc.LRU(3, 4),
    "RTU": pc.RTU(3, 2, "tanh"),
    "LIF": pc.LIF(3, 4, spike="smooth"),
    "ALIF": pc.ALIF(3, 4, adaptation=0.5, spike="smooth"),
}
STACKS = {
    **{name: [cell, pc.Dense(4, 2)] for name, cell in CELLS.items()},
    "RNN over LSTM": [pc.LSTM(3, 4), pc.Dense(4, 3, "tanh"), pc.RNN(3, 5), pc.Dense(5, 2)],
    "LRU over LRU": [pc.LRU(3, 4), pc.Dense(4, 3, "tanh"), pc.LRU(3, 4), pc.Dense(4, 2)],
    "GRU over RTU": [pc.RTU(3, 2), pc.GRU(4, 3), pc.Dense(3, 2)],
}
RULES = {
    "BPTT": bptt.gradient,
    "truncated": lambda *a, **o: bptt.truncated(*a, steps=3, **o),
    "checkpointed": lambda *a, **o: bptt.checkpointed(*a, segment=2, **o),
    "exact": lambda *a, **o: rtrl.gradient(*a, influence="exact", **o),
    "hybrid": lambda *a, **o: rtrl.gradient(*a, block=2, **o),
    "local": lambda *a, **o: rtrl.gradient(*a, influence="local", **o),
    "eprop": lambda *a, **o: rtrl.gradient(*a, influence="eprop", **o),
}
EXACT = ("checkpointed", "exact", "hybrid")
T, B = 6, 3
by_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
by_stack = pytest.mark.parametrize("name", STACKS)


def problem(blocks, T=T, B=B, loss="mse", input_shape=None, seed=0):
    """A network, parameters without a zero, inputs and targets."""
    net, rng = pc.RecurrentNetwork(blocks, loss, input_shape), np.random.default_rng(seed)
    params = [{k: v + 0.3 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(seed)]
    if net.shapes[0] == ():
        inputs = rng.integers(0, net.blocks[0].vocabulary, (T, B))
    else:
        inputs = rng.standard_normal((T, B, *net.shapes[0]))
    return net, params, inputs, rng.standard_normal((T, B, *net.shapes[-1]))


def results(g):
    """Gradients, loss, and the states at the end."""
    return [g.grads, g.loss, g.final]


def total(*gs):
    """The sum of gradients."""
    grads = gs[0].grads
    for g in gs[1:]:
        grads = bptt.added(grads, g.grads)
    return grads


def states(net, seed=1, lanes=B):
    """A random state for every cell."""
    rng, found = np.random.default_rng(seed), []
    for l in net.cells:
        shape = (lanes, net.blocks[l].state_size)
        h = rng.standard_normal(shape)
        found.append(h + 1j * rng.standard_normal(shape) if net.blocks[l].complex_state else h)
    return found


# ---------------------------------------------------------------------- the smallest


@by_stack
@by_rule
def test_one_step(rule, name):
    """T = 1: nothing has passed through time, so every rule is BPTT."""
    net, params, x, y = problem(STACKS[name], T=1)
    h0 = states(net)
    expected = bptt.gradient(net, params, x, y, h0=h0)
    assert_same(results(rule(net, params, x, y, h0=h0)), results(expected))
    assert_same(expected.loss, net.loss.value(net.forward(params, x, h0)[0], y[0]))


@by_stack
@by_rule
def test_one_lane(rule, name):
    """B = 1: the sum over lanes is that of each alone."""
    net, params, x, y = problem(STACKS[name])
    alone = [rule(net, params, x[:, b : b + 1], y[:, b : b + 1]) for b in range(B)]
    g = rule(net, params, x, y)
    assert_live(g.grads)
    assert_same(g.grads, total(*alone))
    assert_same(g.loss, np.concatenate([a.loss for a in alone]))


# ---------------------------------------------------------------------- masks


@by_stack
@pytest.mark.parametrize("rule", EXACT)
def test_a_mask_of_one_step(rule, name):
    """The gradient of that step's loss alone, and nothing after it has a say."""
    net, params, x, y = problem(STACKS[name])
    mask = np.zeros((T, B), bool)
    mask[3] = True
    g = RULES[rule](net, params, x, y, mask=mask)
    short = np.zeros((4, B), bool)
    short[3] = True
    expected = bptt.gradient(net, params, x[:4], y[:4], mask=short)
    assert_same(g.grads, expected.grads)
    assert_same(g.loss, net.loss.value(net.forward(params, x)[3], y[3]))
    assert_differ(g.grads, bptt.gradient(net, params, x, y).grads)


@by_rule
@by_stack
def test_lengths_are_a_mask(name, rule):
    """And so are lengths of another integer type."""
    net, params, x, y = problem(STACKS[name])
    lengths = np.array([6, 1, 4])
    mask = np.arange(T)[:, None] < lengths
    assert not np.array_equal(mask, mask[::-1])
    expected = results(rule(net, params, x, y, mask=mask))
    for given in (lengths, lengths.astype("uint8")):
        assert_same(results(rule(net, params, x, y, mask=given)), expected, rtol=0)


@by_rule
@by_stack
def test_targets_that_do_not_count_do_not_matter(name, rule):
    """As long as they are finite; those that count do."""
    net, params, x, y = problem(STACKS[name])
    mask = np.random.default_rng(3).random((T, B)) < 0.5
    mask[2, 0], mask[2, 1] = True, False
    other = np.where(mask[..., None], y, 7 * y + 1)
    expected = rule(net, params, x, y, mask=mask)
    assert_same(results(rule(net, params, x, other, mask=mask)), results(expected), rtol=0)
    assert_differ(rule(net, params, x, 7 * y + 1, mask=mask).grads, expected.grads)


@by_stack
@pytest.mark.parametrize("rule", ["truncated", *EXACT, "local"])
def test_a_ragged_batch_is_its_sequences(rule, name):
    """Padded to one length with a mask, or one after another at their own lengths."""
    net, params, x, y = problem(STACKS[name])
    lengths = np.array([6, 2, 4])
    g = RULES[rule](net, params, x, y, mask=lengths)
    alone = [
        RULES[rule](net, params, x[:n, b : b + 1], y[:n, b : b + 1]) for b, n in enumerate(lengths.tolist())
    ]
    assert_same(g.grads, total(*alone))
    assert_same(g.loss, np.concatenate([a.loss for a in alone]))


# ---------------------------------------------------------------------- resets


@by_rule
@by_stack
def test_a_reset_at_every_step_is_a_batch_of_single_steps(name, rule):
    """T sequences of length one, each from the initial state that was given."""
    net, params, x, y = problem(STACKS[name])
    h0, reset = states(net), np.ones((T, B), bool)
    g = rule(net, params, x, y, h0=h0, reset=reset)
    single = [bptt.gradient(net, params, x[t : t + 1], y[t : t + 1], h0=h0) for t in range(T)]
    assert_same(g.grads, total(*single))
    assert_same(g.loss, sum(s.loss for s in single))
    assert_same(g.final, single[-1].final)


@by_rule
@by_stack
def test_a_reset_at_the_first_step_changes_nothing(name, rule):
    """All lanes are at their initial state already."""
    net, params, x, y = problem(STACKS[name])
    reset = np.zeros((T, B), bool)
    reset[0] = True
    h0 = states(net)
    expected = results(rule(net, params, x, y, h0=h0))
    assert_same(results(rule(net, params, x, y, h0=h0, reset=reset)), expected)
    assert_same(results(rule(net, params, x, y, h0=h0, reset=np.zeros((T, B), bool))), expected)


@by_stack
@pytest.mark.parametrize("rule", EXACT)
def test_resets_cut_a_lane_into_sequences(rule, name):
    """One lane of two sequences, or two calls; the other lanes go on."""
    net, params, x, y = problem(STACKS[name])
    reset = np.zeros((T, B), bool)
    reset[4, 1] = True
    g = RULES[rule](net, params, x, y, reset=reset)
    lanes = [0, 2]
    parts = [
        bptt.gradient(net, params, x[:, lanes], y[:, lanes]),
        bptt.gradient(net, params, x[:4, 1:2], y[:4, 1:2]),
        bptt.gradient(net, params, x[4:, 1:2], y[4:, 1:2]),
    ]
    assert_same(g.grads, total(*parts))
    assert_differ(g.grads, bptt.gradient(net, params, x, y).grads, 1e-4)


@by_rule
@by_stack
def test_the_order_of_lanes_does_not_matter(name, rule):
    """Everything that has an axis of lanes, in another order."""
    net, params, x, y = problem(STACKS[name])
    rng = np.random.default_rng(5)
    mask, reset, h0 = rng.random((T, B)) < 0.6, rng.random((T, B)) < 0.2, states(net)
    mask[0], order = True, [2, 0, 1]
    g = rule(net, params, x, y, mask=mask, h0=h0, reset=reset)
    turned = rule(
        net,
        params,
        x[:, order],
        y[:, order],
        mask=mask[:, order],
        h0=[h[order] for h in h0],
        reset=reset[:, order],
    )
    assert_same(turned.grads, g.grads)
    assert_same([turned.loss, turned.final], [g.loss[order], [h[order] for h in g.final]])


# ---------------------------------------------------------------------- learned initial states


def learned(cell):
    """The same cell with a learned initial state."""
    return type(cell)(**{**cell.config(), "learn_h0": True})


@pytest.mark.parametrize("rule", ["BPTT", *EXACT])
@pytest.mark.parametrize("name", CELLS)
def test_a_learned_initial_state_with_resets(name, rule):
    """Every reset sends credit to it: each entry against a central difference of the loss."""
    net, params, x, y = problem([pc.Dense(3, 3, "tanh"), learned(CELLS[name]), pc.Dense(4, 2)])
    reset = np.zeros((T, B), bool)
    reset[2, 0] = reset[2, 1] = reset[5, 1] = True
    mask = np.ones((T, B), bool)
    mask[:3, 2] = False

    def loss(p):
        values = net.loss.value(
            net.forward(p, x, reset=reset).reshape(T * B, -1), y.reshape(T * B, -1)
        ).reshape(T, B)
        return values[mask].sum()

    g = RULES[rule](net, params, x, y, mask=mask, reset=reset)
    names = [k for k in params[1] if k.startswith("h0")]
    assert names
    for k in names:
        found, eps = np.empty_like(params[1][k]), 1e-5
        for i in range(found.size):
            ends = []
            for sign in (1, -1):
                moved = params[1][k].copy()
                moved[i] += sign * eps
                ends.append(loss([params[0], {**params[1], k: moved}, params[2]]))
            found[i] = (ends[0] - ends[1]) / (2 * eps)
        assert_live(found)
        assert_same(g.grads[1][k], found, rtol=1e-7)


# ---------------------------------------------------------------------- lengths of windows, segments and blocks


@by_stack
def test_a_window_as_long_as_the_sequence_is_bptt(name):
    """So is any longer one; a shorter one is not."""
    net, params, x, y = problem(STACKS[name])
    h0, expected = states(net), bptt.gradient(*problem(STACKS[name]), h0=states(net))
    for steps in (T, T + 1, 100):
        g = bptt.truncated(net, params, x, y, h0=h0, steps=steps)
        assert_same([*results(g), g.initial], [*results(expected), expected.initial])
    assert_differ(bptt.truncated(net, params, x, y, h0=h0, steps=T - 2).grads, expected.grads, 1e-5)


@by_stack
def test_every_segment_and_every_block_gives_the_gradient(name):
    """Those that divide T, those that do not, and those that are longer."""
    net, params, x, y = problem(STACKS[name])
    reset = np.random.default_rng(2).random((T, B)) < 0.2
    assert reset.any()
    options = {"h0": states(net), "reset": reset}
    expected = bptt.gradient(net, params, x, y, **options)
    for length in (None, *range(1, T + 3)):
        g = bptt.checkpointed(net, params, x, y, segment=length, **options)
        assert_same([*results(g), g.initial], [*results(expected), expected.initial])
        assert_same(results(rtrl.gradient(net, params, x, y, block=length, **options)), results(expected))


# ---------------------------------------------------------------------- blocks around cells

SHAPED = {
    "Embedding below": ([pc.Embedding(5, 3), pc.GRU(3, 4), pc.Dense(4, 2)], ()),
    "Conv2d below": (
        [pc.Conv2d(1, 2, 2, activation="tanh"), pc.Flatten(), pc.LayerNorm(8), pc.RNN(8, 3), pc.Dense(3, 2)],
        (1, 3, 3),
    ),
    "Residual and LayerNorm above": (
        [pc.LSTM(3, 4), pc.LayerNorm(4), pc.Residual([pc.Dense(4, 4, "tanh")]), pc.Dense(4, 2)],
        None,
    ),
    "between a GRU and an RNN": (
        [
            pc.GRU(3, 4),
            pc.LayerNorm(4),
            pc.Residual([pc.Dense(4, 4, "tanh", form="pre")]),
            pc.RNN(4, 3),
            pc.Dense(3, 2),
        ],
        None,
    ),
    "between an LRU and an LRU": (
        [
            pc.Dense(3, 3),
            pc.LRU(3, 4),
            pc.Residual([pc.LayerNorm(4), pc.Dense(4, 4, "gelu")]),
            pc.LRU(4, 3, gamma="tied"),
            pc.LayerNorm(3),
        ],
        None,
    ),
    "Embedding and Residual below an eLSTM": (
        [pc.Embedding(5, 3), pc.Residual([pc.Dense(3, 3, "tanh")]), pc.ELSTM(3, 4), pc.Dense(4, 2)],
        (),
    ),
}


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("name", SHAPED)
def test_blocks_below_between_and_above_cells(name, rule):
    """Every parameter of every block has the gradient of BPTT, and BPTT's is the derivative of the loss."""
    blocks, shape = SHAPED[name]
    net, params, x, y = problem(blocks, input_shape=shape)
    reset = np.zeros((T, B), bool)
    reset[3, 1] = True
    expected = bptt.gradient(net, params, x, y, reset=reset)
    assert_live(expected.grads)
    g = RULES[rule](net, params, x, y, reset=reset)
    assert_same(results(g), results(expected))
    rng, slope, eps = np.random.default_rng(4), 0.0, 1e-6
    ends = [[], []]
    for p, q in zip(params, expected.grads, strict=True):
        way = {k: rng.standard_normal(v.shape) for k, v in p.items()}
        slope += sum((way[k] * q[k]).sum() for k in p)
        for end, sign in zip(ends, (1, -1), strict=True):
            end.append({k: v + sign * eps * way[k] for k, v in p.items()})
    up, down = (bptt.gradient(net, end, x, y, reset=reset).loss.sum() for end in ends)
    assert_same(np.array(slope), np.array((up - down) / (2 * eps)), rtol=1e-7)


def test_a_learned_initial_state_is_the_present_one_at_a_reset():
    """Online, and in a stretch that begins with other parameters: scalar and linear, by hand."""
    net, rate = pc.RecurrentNetwork([pc.RNN(1, 1, "identity", learn_h0=True)]), 0.1
    h0, W, U, b = 1.0, 0.5, 1.0, 0.25
    params = [{"W": np.array([[W]]), "U": np.array([[U]]), "b": np.array([b]), "h0": np.array([h0])}]
    u, y = np.full((3, 1, 1), 0.75), np.full((3, 1, 1), 1.0)
    new = pc.rtrl.online(net, params, u, y, reset=np.ones((3, 1), bool), optimizer=pc.SGD(rate))
    losses = []
    for _ in range(3):  # every step begins at h0: no memory
        q = W * h0 + U * 0.75 + b - 1.0
        losses.append(0.5 * q * q)
        h0, W, U, b = h0 - rate * q * W, W - rate * q * h0, U - rate * q * 0.75, b - rate * q
    assert np.abs(new.loss[:, 0] - losses).max() < 1e-15
    assert abs(new.params[0]["h0"][0] - h0) < 1e-15
    moved = [{**params[0], "h0": np.array([2.0])}]
    reset = np.array([[True], [False], [False]])
    for influence in ("exact", "hybrid"):
        carry = pc.rtrl.gradient(net, params, u, y, influence=influence).carry
        g = pc.rtrl.gradient(net, moved, u, y, reset=reset, influence=influence, carry=carry)
        assert np.abs(g.loss - pc.bptt.gradient(net, moved, u, y).loss).max() < 1e-15
        assert pc.check.compare(g, pc.bptt.gradient(net, moved, u, y)).worst < 1e-14


@pytest.mark.parametrize("influence", ["exact", "hybrid"])
def test_a_stream_keeps_no_more_arrays_the_longer_it_goes_on(influence):
    """After 5 stretches and after 50 the same bytes, of 10 steps or of 200: nothing of the way is kept."""
    net = pc.RecurrentNetwork([pc.RNN(3, 6), pc.LSTM(6, 4), pc.Dense(4, 2)])
    params, rng = net.init(seed=0), np.random.default_rng(1)
    arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)

    def kept(stretches, T):
        carry = None
        tracemalloc.start()
        for _ in range(stretches):
            u, y = rng.standard_normal((T, 2, 3)), rng.standard_normal((T, 2, 2))
            g = rtrl.gradient(net, params, u, y, influence=influence, carry=carry)
            carry = g.carry
        carry.influence.settle()
        del u, y
        traces = tracemalloc.take_snapshot().filter_traces([arrays]).traces
        tracemalloc.stop()
        return sum(trace.size for trace in traces)

    assert kept(5, 10) == kept(50, 10) == kept(5, 200)


def test_the_influence_at_the_end_of_a_block_waits_until_it_is_asked_for():
    """It is that of the parameters that were there, however often it is asked for; what is put off is not lost."""
    net, rng = pc.RecurrentNetwork([pc.RNN(3, 6), pc.Dense(6, 2)]), np.random.default_rng(1)
    params, other = net.init(seed=0), net.init(seed=1)
    u, y = rng.standard_normal((2, 5, 2, 3)), rng.standard_normal((2, 5, 2, 2))
    late, early = (rtrl.gradient(net, params, u[0], y[0], block=5).carry for _ in range(2))
    assert late.influence.pending is not None
    early.influence.settle()
    assert early.influence.pending is None
    assert_live(early.influence.own[0])
    for _ in range(2):
        found = [rtrl.gradient(net, other, u[1], y[1], block=5, carry=carry) for carry in (late, early)]
        assert_same(found[0].grads, found[1].grads, rtol=1e-14)
        assert_differ(found[0].grads, rtrl.gradient(net, other, u[1], y[1]).grads, min_rel=1e-3)
