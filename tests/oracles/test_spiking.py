"""Spiking cells and e-prop: complex step, index loops, and the nets that the cuts of e-prop stand for."""

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_live, assert_same, read_only
from helpers.strategies import SEEDS, fewer
from hypothesis import given

import minipc as pc
from minipc import bptt, rtrl, tpc
from reference import local_credit as local
from reference import temporal_loops as loops
from reference import temporal_oracles as ad
from reference import temporal_problems

TOL = 1e-11
KINDS = ["lif", "alif"]
every_kind = pytest.mark.parametrize("kind", KINDS)
with_resets = pytest.mark.parametrize("reset", [False, True])


def cell_of(p, n_in=None, **options):
    """The engine's cell of a problem."""
    n, m = p.params[0]["U"].shape
    return (pc.ALIF if "rho" in p.cell else pc.LIF)(n_in or m, n, **{**p.cell, **options})


def arguments(p, **options):
    """Arguments of the engine's rules in time."""
    readout = pc.Dense(*p.params[1]["W"].shape[::-1])
    net = pc.RecurrentNetwork([cell_of(p, **options), readout])
    return net, p.params, p.inputs, p.targets, p.mask, p.h0, p.reset


def draw(seed, kind, reset=False, **options):
    """A random problem."""
    return local.make_spiking(np.random.default_rng(seed), kind, reset=reset, **options)


# ---------------------------------------------------------------------- the cells


@pytest.mark.parametrize("spike", ["hard", "smooth"])
@with_resets
@every_kind
@given(seed=SEEDS)
@fewer(5)
def test_the_states(kind, reset, spike, seed):
    """Eqs. (EPROP.1), (EPROP.2), also of numbers that are complex."""
    p = draw(seed, kind, reset, spike=spike)
    cell = cell_of(p)
    after, _ = cell.scan(p.params[0], p.h0, p.inputs, p.reset, p.h0)
    expected = local.spiking_run(p.cell, p.params[0], p.inputs, p.h0, p.reset)
    assert_live(expected[:, :, cell.n :])
    assert_same(after, expected, rtol=TOL)
    spikes = after[:, :, : cell.n]
    assert np.isin(spikes, (0, 1)).all() == (spike == "hard")


@pytest.mark.parametrize(
    "rule",
    [
        bptt.gradient,
        *(lambda *a, o=o: rtrl.gradient(*a, **o) for o in ({"influence": "exact"}, {"block": 2})),
    ],
    ids=["BPTT", "RTRL", "hybrid"],
)
@with_resets
@every_kind
@given(seed=SEEDS)
@fewer(5)
def test_the_gradient_of_smooth_spikes(kind, reset, rule, seed):
    """All paths, none cut: the derivative of the loss."""
    p = draw(seed, kind, reset)
    expected = local.spiking_gradient(p, cut=False)
    assert_live(expected)
    assert_same(rule(*arguments(p)).grads, expected, rtol=TOL)


@every_kind
def test_the_surrogate_stands_where_the_derivative_of_the_spike_would(kind):
    """At the same state a hard step has the Jacobians of a smooth one, but for the spikes themselves."""
    p = draw(4, kind)
    found = []
    for spike in ("hard", "smooth"):
        cell = cell_of(p, spike=spike)
        after, tape = cell.step(p.params[0], p.h0, p.inputs[0])
        Mbar = cell.immediate_jacobian(p.params[0], tape)
        found.append((after, cell.state_jacobian(p.params[0], tape), Mbar))
    assert_live(found[0][1:])
    assert_same(found[0][1:], found[1][1:], rtol=0)
    assert_differ(found[0][0], found[1][0])


def test_a_self_weight_resets_by_subtraction():
    """W_ii = -v_th takes v_th off after each spike; that is where W begins."""
    cell = pc.LIF(1, 1, kappa=0.5, threshold=0.8)
    p, v, spike = {"W": np.array([[-0.8]]), "U": np.ones((1, 1)), "b": np.zeros(1)}, 0.0, 0.0
    after, _ = cell.scan(p, np.zeros((1, 2)), np.full((9, 1, 1), 0.6))
    for t in range(9):
        v = 0.5 * v + 0.6 - 0.8 * spike
        spike = float(v > 0.8)
        assert np.allclose(after[t, 0], [spike, v], rtol=1e-15, atol=0)
    assert 0 < after[:, 0, 0].sum() < 9
    first, plain = (
        c(3, 4).init_params(np.random.default_rng(2), float)["W"] for c in (pc.LIF, pc.RNN)
    )  # the same draw
    assert_same(plain - first, np.eye(4), rtol=1e-14)


def test_an_adaptation_of_zero_is_a_lif():
    """The states and the gradient; ad is there and nobody hears of it."""
    p = draw(1, "lif")
    alif = pc.ALIF(*p.params[0]["U"].shape[::-1], **p.cell, rho=0.7, adaptation=0.0)
    net = pc.RecurrentNetwork([alif, arguments(p)[0].blocks[1]])
    h0 = np.concatenate([p.h0, np.ones((len(p.h0), alif.n))], axis=1)
    for influence in ("exact", "eprop"):
        expected = rtrl.gradient(*arguments(p), influence=influence)
        g = rtrl.gradient(net, *arguments(p)[1:5], h0, None, influence=influence)
        assert_same([g.grads, g.loss], [expected.grads, expected.loss], rtol=TOL)


def test_what_is_not_finite_is_not_hidden_by_a_spike():
    """A potential that is NaN gives no spike of 0 or 1."""
    cell = pc.LIF(2, 3)
    p = cell.init_params(np.random.default_rng(0), float)
    h = np.zeros((1, 6))
    h[0, 4] = np.nan
    after, _ = cell.step(p, h, np.ones((1, 2)))
    assert np.isnan(after[0]).tolist() == [False, True, False] * 2


# ---------------------------------------------------------------------- e-prop


@with_resets
@every_kind
@given(seed=SEEDS)
@fewer(10)
def test_eprop_is_the_gradient_with_the_recurrent_path_cut(kind, reset, seed):
    """Eqs. (EPROP.1)-(EPROP.3): the weights receive given spikes; and it is not the gradient."""
    p = draw(seed, kind, reset)
    expected = local.spiking_gradient(p, cut=True)
    assert_live(expected)
    found = rtrl.gradient(*arguments(p), influence="eprop").grads
    assert_same(found, expected, rtol=TOL)
    assert_differ(found[0]["W"], local.spiking_gradient(p, cut=False)[0]["W"], 1e-6)


@pytest.mark.parametrize("spike", ["hard", "smooth"])
@with_resets
@every_kind
@given(seed=SEEDS)
@fewer(5)
def test_eprop_entry_by_entry(kind, reset, spike, seed):
    """Eqs. (EPROP.1)-(EPROP.3) as loops, with credit through space and with random feedback."""
    p = draw(seed, kind, reset, spike=spike, T=6)
    B = np.random.default_rng(seed).standard_normal(p.params[1]["W"].T.shape)
    for feedback, influence in ((None, pc.EProp()), (B, pc.EProp(B)), (B, pc.EProp([B]))):
        found = rtrl.gradient(*arguments(p), influence=influence).grads
        expected = local.eprop_loops(p, feedback)
        assert_live([expected["U"], expected["b"]])
        assert_same([found[0][k] for k in "WUb"], [expected[k] for k in "WUb"], rtol=TOL)


@every_kind
def test_eprop_from_the_errors_of_inference(kind):
    """Fixed prediction, state mu carried: Pi eps/beta is the credit, so tPC with e-prop is e-prop."""
    p = draw(2, kind)
    options = {"influence": "eprop", "carry": "prediction", "inference": "fixed"}
    for beta in (1.0, 0.1):
        g = tpc.gradient(*arguments(p), **options, beta=beta)
        assert_same(g.grads[0], local.spiking_gradient(p, cut=True)[0], rtol=TOL)


@every_kind
def test_random_feedback_of_the_errors_of_inference(kind):
    """The error at the output of each step, whatever beta; the carried state may be the inferred one."""
    p = draw(6, kind)
    B = np.random.default_rng(1).standard_normal(p.params[1]["W"].T.shape)
    expected = local.eprop_loops(p, B)
    for beta in (1.0, 0.1):
        options = {"influence": pc.EProp(B), "inference": "fixed", "beta": beta}
        g = tpc.gradient(*arguments(p), carry="prediction", **options)
        assert_same([g.grads[0][k] for k in "WUb"], [expected[k] for k in "WUb"], rtol=TOL)
    one = p._replace(inputs=p.inputs[-1:], targets=p.targets[-1:], mask=p.mask[-1:])
    found = [tpc.gradient(*arguments(one), carry=c, **options).grads[0] for c in ("state", "prediction")]
    assert_same([found[0][k] for k in "WUb"], [local.eprop_loops(one, B)[k] for k in "WUb"], rtol=TOL)
    assert_same(found[0], found[1], rtol=TOL)


@pytest.mark.parametrize("feedback", [False, True])
@every_kind
def test_a_long_stretch_at_once_is_the_same(kind, feedback):
    """So many steps that the traces go in products of matrices, and with feedback they do not."""
    p = draw(13, kind, T=20)
    B = np.random.default_rng(2).standard_normal(p.params[1]["W"].T.shape) if feedback else None
    expected = local.eprop_loops(p, B)
    found = [rtrl.gradient(*arguments(p), influence=pc.EProp(B)).grads[0]]
    options = {"influence": pc.EProp(B), "carry": "prediction", "inference": "fixed"}
    found.append(tpc.gradient(*arguments(p), **options).grads[0])
    for g in found:
        assert_same([g[k] for k in "WUb"], [expected[k] for k in "WUb"], rtol=TOL)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
@pytest.mark.parametrize("form", ["post", "pre"])
def test_on_a_leaky_net_it_is_rflo(form, alpha):
    """Tr <- (1 - alpha) Tr + D z^T, as loops (Murray 2019)."""
    p = temporal_problems.make(np.random.default_rng(3), ["rnn"], form=form, alpha=alpha, loss="mse", T=5)
    block, theta, (T, B, m) = p.blocks[0], p.params[0], p.inputs.shape
    out, _ = ad.run(p.blocks, p.params, p.inputs, p.h0)
    q, n = loops.output_credit("mse", out, p.targets, p.mask), p.h0[0].shape[1]
    total = np.zeros((n, n + m + 1))
    for b in range(B):
        h, trace = list(p.h0[0][b]), np.zeros_like(total)
        for t in range(T):
            h, z, D = loops.rnn_step(block, theta, h, p.inputs[t, b])
            trace = (1 - alpha) * trace + np.outer(D, z)
            total += q[t, b][:, None] * trace
    expected = [{"W": total[:, :n], "U": total[:, n:-1], "b": total[:, -1]}]
    net = pc.RecurrentNetwork([pc.RNN(m, n, block["activation"], form=form, alpha=alpha)])
    g = rtrl.gradient(net, p.params, p.inputs, p.targets, p.mask, p.h0, influence="eprop")
    assert_live(expected)
    assert_same(g.grads, expected, rtol=TOL)


def test_on_an_lstm_what_passes_beside_the_weights_stays():
    """K by autograd: the step with W h' as a given part of the bias, its Jacobian by h' is what passes with c."""
    p = temporal_problems.make(np.random.default_rng(5), ["lstm"], loss="mse", T=5, B=2)
    theta, (T, B, m), (start,) = p.params[0], p.inputs.shape, p.h0
    n = start.shape[1] // 2
    states = [start, *ad.run(p.blocks, p.params, p.inputs, p.h0)[1][0]]
    total = dict.fromkeys(theta, 0.0)
    for b in range(B):
        M = {name: np.zeros((2 * n, *v.shape)) for name, v in theta.items()}
        for t in range(T):
            h, u = states[t][b : b + 1], p.inputs[t, b : b + 1]
            given = {**theta, "W": 0 * theta["W"], "b": theta["b"] + theta["W"] @ h[0, :n]}
            K = ad.state_jacobian(p.blocks[0], given, h, u)[0]
            Mbar = ad.immediate_jacobian(p.blocks[0], theta, h, u)
            M = {name: np.tensordot(K, M[name], 1) + Mbar[name][0] for name in M}
            q = (states[t + 1][b, :n] - p.targets[t, b]) * p.mask[t, b]
            total = {name: total[name] + np.tensordot(q, M[name][:n], 1) for name in M}
    net = pc.RecurrentNetwork([pc.LSTM(m, n)])
    g = rtrl.gradient(net, p.params, p.inputs, p.targets, p.mask, p.h0, influence="eprop")
    assert_live([total])
    assert_same(g.grads, [total], rtol=TOL)


@given(seed=SEEDS)
@fewer(5)
def test_on_a_gru_the_update_gate_passes(seed):
    """K = diag(z), (GRU.3)."""
    p = temporal_problems.make(np.random.default_rng(seed), ["gru"], loss="mse", T=5, B=2)
    theta, (T, B, m), (start,) = p.params[0], p.inputs.shape, p.h0
    n = start.shape[1]
    states = [start, *ad.run(p.blocks, p.params, p.inputs, p.h0)[1][0]]
    total = dict.fromkeys(theta, 0.0)
    M = {name: np.zeros((B, n, *v.shape)) for name, v in theta.items()}
    rows = slice(n, 2 * n)
    for t in range(T):
        h, u = states[t], p.inputs[t]
        z = local.logistic(h @ theta["W"][rows].T + u @ theta["U"][rows].T + theta["b"][rows])
        Mbar = ad.immediate_jacobian(p.blocks[0], theta, h, u)
        M = {k: z.reshape(B, n, *[1] * (v.ndim - 2)) * v + Mbar[k] for k, v in M.items()}
        q = (states[t + 1] - p.targets[t]) * p.mask[t][:, None]
        total = {k: total[k] + np.einsum("bk,bk...->...", q, M[k]) for k in M}
    net = pc.RecurrentNetwork([pc.GRU(m, n)])
    g = rtrl.gradient(net, p.params, p.inputs, p.targets, p.mask, p.h0, influence="eprop")
    assert_live([total])
    assert_same(g.grads, [total], rtol=TOL)


@pytest.mark.parametrize("kind", ["elstm", "lru", "rtu"])
def test_on_a_diagonal_cell_nothing_is_cut(kind):
    """The traces are exact: the gradient of one cell is the gradient."""
    p = temporal_problems.make(np.random.default_rng(7), [kind, "dense"], loss="mse", reset=True)
    arrays = p.inputs, p.targets, p.mask, ad.native(p.blocks, p.h0), p.reset
    theta, o = p.params[0], len(p.params[1]["b"])
    if kind == "lru":
        cell = pc.LRU(*theta["B_re"].shape[::-1], len(theta["D"]), gamma=p.blocks[0]["gamma"])
    elif kind == "rtu":
        cell = pc.RTU(*theta["W1"].shape[::-1], p.blocks[0]["activation"])
    else:
        cell = pc.ELSTM(*theta["Wz"].shape[::-1])
    width = cell.out_shape((cell.n_in,))[0]
    dense = pc.Dense(width, o, p.blocks[1]["activation"], form=p.blocks[1]["form"])
    g = rtrl.gradient(pc.RecurrentNetwork([cell, dense]), p.params, *arrays, influence="eprop")
    assert_same(g.grads, ad.loss_gradient(*p.arguments), rtol=TOL)


def test_a_stack_is_layer_local():
    """Eq. (STACK.4): the upper cell's state of the step before is given, to the lower cell's parameters."""
    low, top = draw(8, "alif"), draw(9, "lif")
    n, T = low.params[0]["W"].shape[0], len(low.inputs)
    theta = [
        low.params[0],
        {**top.params[0], "U": np.random.default_rng(1).standard_normal((len(top.params[0]["W"]), n))},
    ]
    readout, targets = top.params[1], top.targets
    spikes = local.spiking_run(low.cell, theta[0], low.inputs, low.h0)[:, :, :n]
    states = local.spiking_run(top.cell, theta[1], spikes, top.h0)
    before = [top.h0, *states[:-1]]
    seen = local.received(low.cell, theta[0], low.inputs, low.h0)

    def loss(p):
        total, below = 0.0, local.spiking_run(low.cell, p, low.inputs, low.h0, given=seen)[:, :, :n]
        for t in range(T):
            now = local.spiking_run(top.cell, theta[1], below[t : t + 1], before[t])[0]
            eps = now[:, : states.shape[2] // 2] @ readout["W"].T + readout["b"] - targets[t]
            total = total + (0.5 * eps * eps).sum()
        return total

    expected = {
        name: pc.check.complex_step(lambda v, k=name: loss({**theta[0], k: v}), theta[0][name])
        for name in theta[0]
    }
    net = pc.RecurrentNetwork([cell_of(low), cell_of(top, n_in=n), pc.Dense(*readout["W"].shape[::-1])])
    g = rtrl.gradient(net, [*theta, readout], low.inputs, targets, None, [low.h0, top.h0], influence="eprop")
    assert_live([expected])
    assert_same(g.grads[:1], [expected], rtol=TOL)


@every_kind
def test_other_influences_follow_spiking_cells(kind):
    """SnAp-2 is RTRL, as all units reach each other (SNAP.4); RFLO cuts what e-prop cuts."""
    p = draw(10, kind, reset=True)
    snap = rtrl.gradient(*arguments(p), influence="snap-2").grads
    assert_same(snap, local.spiking_gradient(p, cut=False), rtol=TOL)
    rflo = rtrl.gradient(*arguments(p), influence="rflo").grads
    assert_same(rflo, local.spiking_gradient(p, cut=True), rtol=TOL)


@every_kind
def test_in_stretches_it_is_the_same(kind):
    """(RTRL.6): states and traces go on; a carry can be used twice; nothing that is given is written to."""
    p = draw(11, kind, reset=True, T=6)
    net, params, *data, h0, reset = arguments(p)
    read_only([params, data, h0, reset])
    B = read_only(np.random.default_rng(0).standard_normal(p.params[1]["W"].T.shape))
    for influence in ("eprop", pc.EProp(B)):
        whole = rtrl.gradient(net, params, *data, h0, reset, influence=influence).grads
        first, rest = ([a[s] for a in (*data, reset)] for s in (slice(2), slice(2, None)))
        one = rtrl.gradient(net, params, *first[:3], h0, first[3], influence=influence)
        for _ in range(2):
            two = rtrl.gradient(net, params, *rest[:3], None, rest[3], influence=influence, carry=one.carry)
            summed = [{k: g[k] + f[k] for k in g} for g, f in zip(one.grads, two.grads, strict=True)]
            assert_same(summed, whole, rtol=TOL)
        assert one.carry.influence.entries == two.carry.influence.entries > 0


@every_kind
def test_at_every_step(kind):
    """Online with a learning rate of nearly nothing is the summed gradient."""
    p = draw(12, kind)
    found = rtrl.staleness(*arguments(p), learning_rate=1e-9, influence="eprop")
    assert found.deviation < 1e-6
    assert_same(found.frozen, rtrl.gradient(*arguments(p), influence="eprop").grads, rtol=0)


def test_a_network_of_spikes_is_trained():
    """By name and with feedback, in fit: the loss falls."""
    net = pc.RecurrentNetwork([pc.ALIF(3, 20, kappa=0.8), pc.Dense(20, 2)])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 40, 3))
    y = np.cumsum(x[:, :, :2], axis=0) * 0.3
    B = rng.standard_normal((20, 2))
    for influence in ("eprop", pc.EProp(B)):
        options = {"rule": "rtrl", "influence": influence, "optimizer": pc.Adam(0.01), "epochs": 12}
        _, history = pc.fit(
            net, net.init(0), pc.data.Sequences(x, y), batch_size=10, progress=False, **options
        )
        assert history["loss"][-1] < 0.7 * history["loss"][0]
