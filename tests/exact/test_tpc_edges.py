"""tPC and tPC-RTRL: what must not matter, and what must: lanes, masks, lengths, resets, the beginning of a sequence."""

import itertools

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_live, assert_same

import minipc as pc
from minipc import bptt, tpc

T, B = 6, 3
STACKS = {
    "RNN": [pc.RNN(3, 4), pc.Dense(4, 2)],
    "RNN, pre": [pc.RNN(3, 4, "tanh", "pre", alpha=0.4), pc.Dense(4, 2, "tanh", form="pre")],
    "GRU": [pc.GRU(3, 4), pc.Dense(4, 5, "tanh"), pc.Dense(5, 2)],
    "LSTM": [pc.LSTM(3, 4), pc.Dense(4, 2)],
    "LRU": [pc.LRU(3, 4), pc.Dense(4, 2)],
    "LRU alone": [pc.Dense(3, 3, "tanh"), pc.LRU(3, 4, 2)],
    "RNN over LSTM": [pc.LSTM(3, 4), pc.Dense(4, 3, "tanh"), pc.RNN(3, 5), pc.Dense(5, 2)],
}
INFLUENCES = (None, "plain", "implicit", "diag")
CARRIES = ("state", "prediction")
INFERENCES = ("spc", "epc", "fixed")
STEPS = {"spc": {"inference_steps": 5, "step_size": 0.1}, "epc": {"inference_steps": 5, "step_size": 0.05}}


def ways(stack):
    """The options under which a stack can learn: implicit needs a real last cell."""
    for influence, carry, inference in itertools.product(INFLUENCES, CARRIES, INFERENCES):
        if influence == "implicit" and "LRU" in stack:
            continue
        if influence in ("implicit", "diag") and (carry, inference) == ("state", "fixed"):
            continue  # refused
        yield {"influence": influence, "carry": carry, "inference": inference, "beta": 0.7} | STEPS.get(
            inference, {}
        )
    yield {"start": "previous", "influence": "plain", "carry": "state", "inference": "spc"} | STEPS["spc"]
    if stack == "RNN":
        for influence in ("exact", "local", "snap-1", "snap-2", "rflo", "sketch-2"):
            yield {"influence": influence, "carry": "state", "inference": "spc"} | STEPS["spc"]


WAYS = [(name, options) for name in STACKS for options in ways(name)]
by_way = pytest.mark.parametrize(
    ("name", "options"),
    WAYS,
    ids=[
        ", ".join([name, *(str(v) for v in o.values() if not isinstance(v, int | float))]) for name, o in WAYS
    ],
)


def single(v):
    """In half the digits."""
    return v.astype(np.complex64 if v.dtype.kind == "c" else np.float32)


def width(net):
    """Real numbers of the inferred state."""
    cell = net.blocks[net.cells[-1]]
    return cell.state_size * (2 if cell.complex_state else 1)


def problem(name, T=T, seed=0, loss="mse", dtype=float):
    """A network, parameters without a zero, inputs, targets, initial states; and precisions of the inferred states."""
    net, rng = pc.RecurrentNetwork(STACKS[name], loss), np.random.default_rng(seed)
    params = [{k: v + 0.3 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(seed)]
    x, y = rng.standard_normal((T, B, 3)), rng.standard_normal((T, B, 2))
    h0 = []
    for l in net.cells:
        cell = net.blocks[l]
        h = rng.standard_normal((B, cell.state_size))
        h0.append(h + 1j * rng.standard_normal(h.shape) if cell.complex_state else h)
    return net, params, x, y, h0


def results(g):
    """What a rule returns of the whole batch, and of the lanes."""
    return [g.grads, g.loss, g.energy, g.states, g.final, g.residual]


def total(*gs):
    """The sum of gradients."""
    grads = gs[0].grads
    for g in gs[1:]:
        grads = bptt.added(grads, g.grads)
    return grads


def lanes(g, order):
    """The results of some lanes."""
    return [
        g.loss[order],
        g.energy[order],
        g.states[:, order],
        [h[order] for h in g.final],
        g.residual[order],
    ]


# ---------------------------------------------------------------------- lanes


@by_way
def test_a_batch_is_the_sum_of_its_lanes(name, options):
    """Each alone, with its mask, its resets and its initial state."""
    net, params, x, y, h0 = problem(name)
    rng = np.random.default_rng(1)
    mask, reset = rng.random((T, B)) < 0.7, rng.random((T, B)) < 0.3
    mask[-1], reset[3, 0] = True, True
    g = tpc.gradient(net, params, x, y, mask, h0, reset, **options)
    cut = [slice(b, b + 1) for b in range(B)]
    alone = [
        tpc.gradient(net, params, x[:, b], y[:, b], mask[:, b], [h[b] for h in h0], reset[:, b], **options)
        for b in cut
    ]
    assert_live(g.grads)
    assert_same(g.grads, total(*alone))
    for b, one in zip(cut, alone, strict=True):
        assert_same(lanes(one, slice(None)), lanes(g, b), rtol=1e-9)


@by_way
def test_the_order_of_lanes_does_not_matter(name, options):
    """Everything that has an axis of lanes, in another order."""
    net, params, x, y, h0 = problem(name)
    rng, order = np.random.default_rng(5), [2, 0, 1]
    mask, reset = rng.random((T, B)) < 0.6, rng.random((T, B)) < 0.2
    mask[0] = True
    g = tpc.gradient(net, params, x, y, mask, h0, reset, **options)
    turned = tpc.gradient(
        net,
        params,
        x[:, order],
        y[:, order],
        mask[:, order],
        [h[order] for h in h0],
        reset[:, order],
        **options,
    )
    assert_same(turned.grads, g.grads)
    assert_same(lanes(turned, slice(None)), lanes(g, order))


# ---------------------------------------------------------------------- masks


@by_way
def test_a_ragged_batch_is_its_sequences(name, options):
    """Lengths, or a mask, or one sequence after another: after its end a lane has no error and learns nothing."""
    net, params, x, y, h0 = problem(name)
    lengths = np.array([6, 1, 4])
    g = tpc.gradient(net, params, x, y, lengths, h0, **options)
    mask = np.arange(T)[:, None] < lengths
    assert_same(results(tpc.gradient(net, params, x, y, mask, h0, **options)), results(g), rtol=0)
    alone = []
    for b, n in enumerate(lengths.tolist()):
        lane = slice(b, b + 1)
        alone.append(
            tpc.gradient(net, params, x[:n, lane], y[:n, lane], None, [h[lane] for h in h0], **options)
        )
        assert_same(g.states[:n, lane], alone[-1].states)
    assert_same(g.grads, total(*alone))
    assert_same(
        [g.loss, g.energy], [np.concatenate([getattr(a, k) for a in alone]) for k in ("loss", "energy")]
    )


@by_way
def test_what_is_not_observed_is_predicted(name, options):
    """(tPC.8): where the mask is False, s_t is mu_t, whatever the target says; nothing is learned if nothing is seen."""
    net, params, x, y, h0 = problem(name)
    mask = np.random.default_rng(3).random((T, B)) < 0.5
    mask[2], mask[3] = True, False
    g = tpc.gradient(net, params, x, y, mask, h0, **options)
    other = tpc.gradient(net, params, x, np.where(mask[..., None], y, 7 * y + 1), mask, h0, **options)
    assert_same(results(other), results(g), rtol=0)
    assert_differ(tpc.gradient(net, params, x, 7 * y + 1, mask, h0, **options).grads, g.grads)
    mask = np.repeat(np.arange(T)[:, None] == T - 1, B, axis=1)
    blind = tpc.gradient(net, params, x, y, mask, h0, **options)
    assert_same(blind.states[:-1], free_run(net, params, x[:-1], h0))
    assert_differ(blind.states[-1], free_run(net, params, x, h0)[-1])


def free_run(net, params, x, h0):
    """The states (T, B, N) of the last cell without any observation, the complex ones as they are."""
    states, found, c = list(h0), [], net.cells[-1]
    for u in x:
        for l, (block, p) in enumerate(zip(net.blocks[: c + 1], params, strict=False)):
            if l in net.cells:
                i = net.cells.index(l)
                states[i], _ = block.step(p, states[i], u)
                u = block.output(p, states[i][None], u[None])[0]
            else:
                u, _ = block.forward(p, u)
        found.append(states[-1])
    return np.array(found)


# ---------------------------------------------------------------------- resets


@by_way
def test_resets_cut_a_lane_into_sequences(name, options):
    """One lane of two sequences, or two calls; the influence begins anew with the state."""
    net, params, x, y, h0 = problem(name)
    reset = np.zeros((T, B), bool)
    reset[4, 1] = True
    g = tpc.gradient(net, params, x, y, None, h0, reset, **options)

    def part(time, lane):
        return tpc.gradient(
            net, params, x[time][:, lane], y[time][:, lane], None, [h[lane] for h in h0], **options
        )

    parts = [part(slice(None), [0, 2]), part(slice(4), [1]), part(slice(4, None), [1])]
    assert_same(g.grads, total(*parts))
    assert_same(g.states[4:, 1:2], parts[2].states)
    assert_differ(g.grads, tpc.gradient(net, params, x, y, None, h0, **options).grads, 1e-5)


@by_way
def test_a_reset_at_the_first_step_changes_nothing(name, options):
    """All lanes are at their initial state already."""
    net, params, x, y, h0 = problem(name)
    reset = np.zeros((T, B), bool)
    reset[0] = True
    expected = results(tpc.gradient(net, params, x, y, None, h0, **options))
    assert_same(results(tpc.gradient(net, params, x, y, None, h0, reset, **options)), expected)


# ---------------------------------------------------------------------- what is the same as what


@by_way
def test_no_rule_edits_an_argument_or_keeps_one(name, options):
    """Read-only arrays in; the same call again gives the same."""
    net, params, x, y, h0 = problem(name)
    mask, reset = np.ones((T, B), bool), np.zeros((T, B), bool)
    mask[1, 0], reset[2, 1] = False, True
    for v in [x, y, mask, reset, *h0, *(v for p in params for v in p.values())]:
        v.flags.writeable = False
    first, again = (tpc.gradient(net, params, x, y, mask, h0, reset, **options) for _ in range(2))
    assert_same(results(again), results(first), rtol=0)


@by_way
def test_float32_stays_float32(name, options):
    """Everything that comes back; and it is the number of float64 to its precision."""
    net, params, x, y, h0 = problem(name)
    reset = np.zeros((T, B), bool)
    reset[2, 1] = True

    small = tpc.gradient(
        net,
        [{k: single(v) for k, v in p.items()} for p in params],
        single(x),
        single(y),
        None,
        [single(h) for h in h0],
        reset,
        **options,
    )
    found = [
        small.loss,
        small.energy,
        small.states,
        small.residual,
        *small.final,
        *(v for g in small.grads for v in g.values()),
    ]
    assert {v.dtype for v in found} <= {np.dtype(np.float32), np.dtype(np.complex64)}
    assert_same(small.grads, tpc.gradient(net, params, x, y, None, h0, reset, **options).grads, rtol=2e-3)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("inference", INFERENCES)
@pytest.mark.parametrize("carry", CARRIES)
def test_one_step_has_no_past(name, inference, carry):
    """T = 1: all influences and both carries give the same gradient, up to the readout's (TPR.7), which has no next step."""
    net, params, x, y, h0 = problem(name, T=1)
    found = [
        tpc.gradient(net, params, x, y, None, h0, **{**options, "carry": carry, "inference": inference})
        for options in (
            {"influence": i, **STEPS.get(inference, {})}
            for i in INFLUENCES
            if (i != "implicit" or "LRU" not in name)
            and (i not in ("implicit", "diag") or (carry, inference) != ("state", "fixed"))
        )
    ]
    for g in found[1:]:
        assert_same(g.grads, found[0].grads)
    other = tpc.gradient(
        net,
        params,
        x,
        y,
        None,
        h0,
        inference=inference,
        carry=CARRIES[carry == "state"],
        **STEPS.get(inference, {}),
    )
    assert_same(other.grads, found[0].grads)


@pytest.mark.parametrize("name", [name for name in STACKS if "over" not in name])
@pytest.mark.parametrize("inference", ["spc", "epc"])
def test_with_the_prediction_carried_every_influence_with_memory_is_the_same(name, inference):
    """(TPR.4): mu_t is carried, so nothing damps its influence; and a sequence without it is another one."""
    net, params, x, y, h0 = problem(name)
    options = {"carry": "prediction", "inference": inference, **STEPS[inference]}
    found = {
        i: tpc.gradient(net, params, x, y, None, h0, influence=i, **options)
        for i in INFLUENCES
        if i != "implicit" or "LRU" not in name
    }
    for influence in set(found) - {None, "plain"}:
        assert_same(found[influence].grads, found["plain"].grads)
    assert_differ(found[None].grads, found["plain"].grads, 1e-4)


@pytest.mark.parametrize("name", STACKS)
def test_the_prediction_carried_is_the_free_run(name):
    """Then inference changes nothing of what comes later: loss and final states are those of BPTT."""
    net, params, x, y, h0 = problem(name)
    g = tpc.gradient(net, params, x, y, None, h0, influence="plain", carry="prediction")
    expected = bptt.gradient(net, params, x, y, None, h0)
    assert_same([g.loss, g.final], [expected.loss, expected.final])
    fixed = tpc.gradient(
        net, params, x, y, None, h0, influence="plain", carry="prediction", inference="fixed"
    )
    assert_same(fixed.grads, expected.grads)  # (TPR.10)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("inference", INFERENCES)
def test_the_first_steps_know_nothing_of_the_later_ones(name, inference):
    """Online: states of a beginning are those of the whole, and the gradient of a beginning is a mask's."""
    net, params, x, y, h0 = problem(name)
    options = {"influence": "plain", "inference": inference, **STEPS.get(inference, {})}
    whole = tpc.gradient(net, params, x, y, None, h0, **options)
    short = tpc.gradient(net, params, x[:4], y[:4], None, h0, **options)
    assert_same(whole.states[:4], short.states)
    mask = np.repeat(np.arange(T)[:, None] < 4, B, axis=1)
    assert_same(tpc.gradient(net, params, x, y, mask, h0, **options).grads, short.grads)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "LRU"])
@pytest.mark.parametrize("inference", ["spc", "epc"])
def test_beta_is_a_precision(name, inference):
    """(tPC.2): beta weighs the loss, so beta and Pi, or Pi/beta and steps beta times as long, are the same."""
    net, params, x, y, h0 = problem(name)
    widths = [width(net), *net.sizes[net.cells[-1] + 2 : -1]] if name != "LRU" else [8, 4]
    beta, options = 0.3, {"influence": "plain", "inference": inference, "inference_steps": 4}
    Pi = [np.random.default_rng(l).uniform(0.5, 2, n) for l, n in enumerate(widths)]
    one = tpc.gradient(
        net, params, x, y, None, h0, beta=beta, step_size=0.1, precision=[*Pi, None], **options
    )
    two = tpc.gradient(
        net,
        params,
        x,
        y,
        None,
        h0,
        step_size=0.1 * beta,
        precision=[*(v / beta for v in Pi), None],
        **options,
    )
    assert_same(results(two)[:5], results(one)[:5])


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("inference", ["spc", "epc"])
def test_a_unit_precision_is_none_in_every_form(name, inference):
    """None, a number, a diagonal, a matrix."""
    net, params, x, y, h0 = problem(name)
    options = {"influence": "diag", "inference": inference, **STEPS[inference]}
    expected = tpc.gradient(net, params, x, y, None, h0, **options)
    above = len(net.blocks) - net.cells[-1] - 1 + ("LRU" in name)
    n, rest = width(net), [None] * max(above, 1)
    for one in (1.0, np.ones(n), np.eye(n)):
        g = tpc.gradient(net, params, x, y, None, h0, precision=[one, *rest], **options)
        assert_same(results(g), results(expected))


@pytest.mark.parametrize("carry", CARRIES)
@pytest.mark.parametrize("name", STACKS)
def test_a_sequence_in_pieces_is_the_whole(name, carry):
    """The carried state goes on as the initial state: states, losses, energies; without history the gradient, too."""
    net, params, x, y, h0 = problem(name)
    options = {"carry": carry, **STEPS["spc"]}
    whole = tpc.gradient(net, params, x, y, None, h0, **options)
    first = tpc.gradient(net, params, x[:2], y[:2], None, h0, **options)
    rest = tpc.gradient(net, params, x[2:], y[2:], None, first.final, **options)
    assert_same(np.concatenate([first.states, rest.states]), whole.states)
    assert_same(
        [first.loss + rest.loss, first.energy + rest.energy, rest.final],
        [whole.loss, whole.energy, whole.final],
    )
    assert_same(total(first, rest), whole.grads)
    plain = [
        tpc.gradient(*q, None, h, influence="plain", **options)
        for q, h in [
            ((net, params, x, y), h0),
            ((net, params, x[:2], y[:2]), h0),
            ((net, params, x[2:], y[2:]), first.final),
        ]
    ]
    assert_differ(total(*plain[1:]), plain[0].grads, 1e-5)  # it has forgotten what moved the state


@pytest.mark.parametrize(
    ("name", "influence"),
    [(n, i) for n in STACKS for i in INFLUENCES[1:] if i != "implicit" or "LRU" not in n],
)
def test_the_influence_needs_no_more_memory_the_longer_the_sequence(name, influence, monkeypatch):
    """As many numbers after 40 steps as after 4."""
    kept, start = [], tpc._start

    def spy(*args):
        kept.append(start(*args))
        return kept[-1]

    monkeypatch.setattr(tpc, "_start", spy)
    for steps in (4, 40):
        net, params, x, y, h0 = problem(name, T=steps)
        tpc.gradient(net, params, x, y, None, h0, influence=influence, inference_steps=2, step_size=0.02)
    sizes = [M.entries for M in kept]
    assert sizes[0] == sizes[1] > 0


# ---------------------------------------------------------------------- filtering


FILTERS = [
    (name, carry, start) for name in STACKS for carry in CARRIES for start in ("prediction", "previous")
]
by_filter = pytest.mark.parametrize(("name", "carry", "start"), FILTERS)


def shown(f):
    """All that a filter returns but the states at the end."""
    return [f.states, f.predictions, f.outputs, f.forecasts, f.energy, f.residual]


@by_filter
def test_a_filter_infers_what_training_infers(name, carry, start):
    """States, energies; forecasts are read out of the predictions."""
    net, params, x, y, h0 = problem(name)
    options = {"carry": carry, "start": start, **STEPS["spc"]}
    f = tpc.infer(net, params, x, y, None, h0, **options)
    g = tpc.gradient(net, params, x, y, None, h0, **options)
    assert_same(
        [f.states, f.energy.sum(axis=0), f.residual.max(axis=0), f.final],
        [g.states, g.energy, g.residual, g.final],
    )
    loss = net.loss.value(f.forecasts.reshape(T * B, -1), y.reshape(T * B, -1)).reshape(T, B).sum(axis=0)
    assert_same(loss, g.loss)
    nearer = net.loss.value(f.outputs.reshape(T * B, -1), y.reshape(T * B, -1)).sum()
    assert nearer < loss.sum()


@by_filter
def test_what_a_filter_does_not_see_is_an_open_loop(name, carry, start):
    """(tPC.8), wherever inference starts: s_t = mu_t exactly, no energy; nothing seen at all is the free run."""
    net, params, x, y, h0 = problem(name)
    options = {"carry": carry, "start": start, **STEPS["spc"]}
    mask = np.random.default_rng(3).random((T, B)) < 0.5
    mask[2], mask[3] = [True, False, True], [False, True, True]
    f = tpc.infer(net, params, x, y, mask, h0, **options)
    assert np.array_equal(f.states[~mask], f.predictions[~mask])
    assert np.array_equal(f.outputs[~mask], f.forecasts[~mask])
    assert not f.energy[~mask].any()
    assert not f.residual[~mask].any()
    assert (np.abs(f.states - f.predictions)[mask].max(axis=1) > 1e-6).all()
    blind = tpc.infer(net, params, x, y, np.zeros((T, B), bool), h0, **options)
    assert_same(blind.outputs, net.forward(params, x, h0))
    assert_same(blind.states, free_run(net, params, x, h0))


@by_filter
def test_channels_that_are_all_seen_or_all_unseen_are_a_mask(name, carry, start):
    """And what an unseen channel says does not matter; that of a seen one does."""
    net, params, x, y, h0 = problem(name)
    options = {"carry": carry, "start": start, **STEPS["spc"]}
    mask = np.random.default_rng(3).random((T, B)) < 0.5
    mask[2] = True
    expected = tpc.infer(net, params, x, y, mask, h0, **options)
    observed = np.repeat(mask[:, :, None], 2, axis=2)
    assert_same(shown(tpc.infer(net, params, x, y, None, h0, observed=observed, **options)), shown(expected))
    observed = observed.copy()
    observed[2, :, 1] = False
    one = tpc.infer(net, params, x, y, None, h0, observed=observed, **options)
    other = tpc.infer(
        net, params, x, np.where(observed, y, 5 * y + 1), None, h0, observed=observed, **options
    )
    assert_same(shown(other), shown(one), rtol=0)
    assert_differ(one.states, expected.states, 1e-5)


@by_filter
def test_a_filter_in_pieces_and_lanes(name, carry, start):
    """Time cut in two, lanes in another order, resets, read-only arguments, float32."""
    net, params, x, y, h0 = problem(name)
    rng, order = np.random.default_rng(5), [2, 0, 1]
    mask, reset, options = (
        rng.random((T, B)) < 0.7,
        np.zeros((T, B), bool),
        {"carry": carry, "start": start, **STEPS["spc"]},
    )
    reset[4, 1] = True
    for v in [x, y, mask, reset, *h0, *(v for p in params for v in p.values())]:
        v.flags.writeable = False
    f = tpc.infer(net, params, x, y, mask, h0, reset, **options)
    first = tpc.infer(net, params, x[:3], y[:3], mask[:3], h0, **options)
    second = tpc.infer(net, params, x[3:4], y[3:4], mask[3:4], first.final, **options)
    lane, rest = slice(1, 2), x[4:, 1:2]
    third = tpc.infer(net, params, rest, y[4:, lane], mask[4:, lane], [h[lane] for h in h0], **options)
    assert_same(
        [f.states[:3], f.states[3:4], f.states[4:, lane]], [first.states, second.states, third.states]
    )
    turned = tpc.infer(
        net,
        params,
        x[:, order],
        y[:, order],
        mask[:, order],
        [h[order] for h in h0],
        reset[:, order],
        **options,
    )
    assert_same(shown(turned), [v[:, order] for v in shown(f)])
    small = tpc.infer(
        net,
        [{k: single(v) for k, v in p.items()} for p in params],
        single(x),
        single(y),
        mask,
        [single(h) for h in h0],
        reset,
        **options,
    )
    assert {v.dtype for v in [*shown(small), *small.final]} <= {np.dtype(np.float32), np.dtype(np.complex64)}


@pytest.mark.parametrize("name", ["RNN", "LSTM", "RNN over LSTM"])
def test_the_covariance_of_a_filter(name):
    """Symmetric, positive; Q after a step without observation from the known start; smaller where a linear readout is seen."""
    net, params, x, y, h0 = problem(name)
    n, options = width(net), {"inference": "newton", "inference_steps": 8, "propagate": True}
    A = np.random.default_rng(2).standard_normal((n, n))
    Q = A @ A.T / n + 0.5 * np.eye(n)
    Pi = [np.linalg.inv(Q), *[None] * (len(net.blocks) - net.cells[-1] - 1)]
    mask, reset = np.ones((T, B), bool), np.zeros((T, B), bool)
    mask[:2, 0] = False
    reset[4, 1] = True
    f = tpc.infer(net, params, x, 0.1 * y, mask, h0, reset, precision=Pi, **options)
    assert_same(f.covariance, np.swapaxes(f.covariance, 2, 3))
    assert (np.linalg.eigvalsh(f.covariance) > 0).all()
    assert_same(f.covariance[0, 0], Q)
    assert (np.linalg.eigvalsh(Q - f.covariance[0, 1]) > -1e-12).all()
    assert np.trace(Q - f.covariance[0, 1]) > 1e-3
    again = tpc.infer(net, params, x[4:], 0.1 * y[4:], None, h0, precision=Pi, **options)
    assert_same(f.covariance[4:, 1], again.covariance[:, 1])  # a reset: the state is known again


# ---------------------------------------------------------------------- the certificate

CERTIFIED = [name for name in STACKS if "LRU" not in name]


@pytest.mark.parametrize("inference", ["spc", "epc", "newton"])
@pytest.mark.parametrize("name", CERTIFIED)
def test_the_certificate_bounds_the_distance_of_two_gradients(name, inference):
    """Of whole gradients of one lane (TPR.13), not a thousand times above it; and it is zero for one step."""
    options = {"inference": inference, **STEPS.get(inference, {"inference_steps": 6})}
    net, params, x, y, h0 = problem(name)
    y = 0.3 * y  # near enough for newton to be convex
    c = tpc.certificate(net, params, x, y, None, h0, **options)
    assert_same(c.total, c.gradient.sum(axis=0))
    assert not c.gradient[0].any()
    for b in range(B):
        lane = slice(b, b + 1)
        data = net, params, x[:, lane], y[:, lane], None, [h[lane] for h in h0]
        plain, implicit = (tpc.gradient(*data, influence=i, **options) for i in ("plain", "implicit"))
        apart = sum(
            ((p[k] - q[k]) ** 2).sum() for p, q in zip(plain.grads, implicit.grads, strict=True) for k in p
        )
        assert 1e-3 * c.total[b] < apart**0.5 <= c.total[b]


@pytest.mark.parametrize("name", CERTIFIED)
def test_the_certificate_of_lanes_resets_and_masks(name):
    """In another order; cut by a reset; nothing is added where nothing is observed."""
    net, params, x, y, h0 = problem(name)
    order = [2, 0, 1]
    mask, reset = np.ones((T, B), bool), np.zeros((T, B), bool)
    mask[:3, 0], reset[4, 1] = False, True
    options = STEPS["spc"]
    c = tpc.certificate(net, params, x, y, mask, h0, reset, **options)
    turned = tpc.certificate(
        net,
        params,
        x[:, order],
        y[:, order],
        mask[:, order],
        [h[order] for h in h0],
        reset[:, order],
        **options,
    )
    assert_same(
        [turned.delta, turned.gradient, turned.total],
        [c.delta[:, order], c.gradient[:, order], c.total[order]],
    )
    lane = slice(1, 2)
    alone = tpc.certificate(net, params, x[4:, lane], y[4:, lane], None, [h[lane] for h in h0], **options)
    assert_same([c.delta[4:, lane], c.gradient[4:, lane]], [alone.delta, alone.gradient])
    assert np.abs(c.delta[:3, 0]).max() < 1e-12 * c.delta[3, 0]
    small = tpc.certificate(
        net,
        [{k: single(v) for k, v in p.items()} for p in params],
        single(x),
        single(y),
        mask,
        [single(h) for h in h0],
        reset,
        **options,
    )
    assert {v.dtype for v in small} == {np.dtype(np.float32)}
