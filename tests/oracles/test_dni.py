"""Synthetic gradients: index loops, the fixed point that is BPTT, and what A learns."""

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
with_resets = pytest.mark.parametrize("reset", [False, True])


def draw(seed, reset=False, T=13, **options):
    """A recurrent net whose output is its state, and a first A."""
    rng = np.random.default_rng(seed)
    p = temporal_problems.make(rng, ["rnn"], loss="mse", T=T, B=3, reset=reset, radius=1.0, **options)
    n = p.h0[0].shape[1]
    return p, 0.3 * rng.standard_normal((n, 2 * n + 1))


def arguments(p):
    """Arguments of the engine's rules in time."""
    block, (n, m) = p.blocks[0], p.params[0]["U"].shape
    net = pc.RecurrentNetwork([pc.RNN(m, n, block["activation"], form=block["form"], alpha=block["alpha"])])
    return net, p.params, p.inputs, p.targets, p.mask, p.h0, p.reset


def in_loops(p, A, eta, refresh):
    """What the index loops say."""
    out, _ = ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)
    q = loops.output_credit("mse", out, p.targets, p.mask)
    return local.dni_loops(
        p.blocks[0], p.params[0], p.inputs, p.targets, q, p.h0[0], A, eta, refresh, p.mask, p.reset
    )


@with_resets
@given(seed=SEEDS)
@fewer(8)
def test_dni_entry_by_entry(reset, seed):
    """Eqs. (DNI.1)-(DNI.3): the gradient, A, and its copy, over two refreshments and a half."""
    p, A = draw(seed, reset)
    expected = in_loops(p, A, 0.02, 5)
    assert_live([expected.gradient, expected.A - A, expected.frozen - A])
    assert_differ(expected.A, expected.frozen, 1e-6)
    for influence in (pc.DNI(A, 0.02), pc.DNI([A], learning_rate=0.02, refresh=5)):
        g = rtrl.gradient(*arguments(p), influence=influence)
        assert_same(g.grads, [expected.gradient], rtol=TOL)
        assert_same(g.carry.influence.A, [expected.A], rtol=TOL)
        assert_same(g.carry.influence.own[0]["frozen"], expected.frozen, rtol=TOL)


@pytest.mark.parametrize("refresh", [1, 2, 7])
def test_how_often_a_is_copied(refresh):
    """Every step, every other one, every seventh: three different A."""
    p, A = draw(3)
    g = rtrl.gradient(*arguments(p), influence=pc.DNI(A, 0.05, refresh))
    expected = in_loops(p, A, 0.05, refresh)
    assert_same(
        [*g.carry.influence.A, g.carry.influence.own[0]["frozen"]], [expected.A, expected.frozen], rtol=TOL
    )
    assert_differ(expected.A, in_loops(p, A, 0.05, 5).A, 1e-6)


# ---------------------------------------------------------------------- the fixed point

WIDE, OUT, STEPS, LANES = 9, 2, 4, 2  # [h; y; 1] is longer than there are steps and lanes: an exact A exists
CELLS = {
    "RNN": pc.RNN(3, WIDE),
    "RNN, pre": pc.RNN(3, WIDE, form="pre", alpha=0.4),
    "GRU": pc.GRU(3, WIDE),
    "LSTM": pc.LSTM(3, 5),
    "ELSTM": pc.ELSTM(3, WIDE),
    "RTU": pc.RTU(3, 5, "tanh"),
    "LRU": pc.LRU(3, 5, 4),
    "ALIF": pc.ALIF(3, 4, spike="smooth"),
}


def exact_a(net, params, x, y, h0):
    """A with A z~_t = p_t at every step of every lane: p_t by BPTT from every step on; its smallest singular value counts."""
    h, wanted, seen = h0, [], []
    for t in range(STEPS):
        after = bptt.gradient(net, params, x[: t + 1], y[: t + 1], h0=h0).final[0]
        q = rtrl.gradient(net, params, x[t : t + 1], y[t : t + 1], h0=h, influence=pc.DNI()).carry.influence
        p_t = q.own[0]["q"]  # the credit of the step alone
        if t + 1 < STEPS:
            later = bptt.gradient(net, params, x[t + 1 :], y[t + 1 :], h0=[after]).initial[0]
            p_t = p_t + later.conj()  # (LRU.5)
        parts = [after.real, after.imag] if after.dtype.kind == "c" else [after]
        seen.append(np.concatenate([*parts, y[t], np.ones((LANES, 1))], axis=1))
        wanted.append(p_t)
        h = [after]
    seen, wanted = np.concatenate(seen), np.concatenate(wanted)
    assert np.linalg.svd(seen, compute_uv=False)[-1] > 1e-4
    return np.linalg.lstsq(seen.astype(wanted.dtype), wanted, rcond=None)[0].T


def setting(name):
    """A net around a cell, without anything that is zero."""
    cell, rng = CELLS[name], np.random.default_rng(5)
    net = pc.RecurrentNetwork([cell, pc.Dense(cell.out_shape((3,))[0], OUT)])
    params = [{k: v + 0.3 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(1)]
    x, y = rng.standard_normal((STEPS, LANES, 3)), rng.standard_normal((STEPS, LANES, OUT))
    h = rng.standard_normal((LANES, cell.state_size))
    h = h + 1j * rng.standard_normal(h.shape) if cell.complex_state else h
    return net, params, x, y, [h]


@pytest.mark.parametrize("name", CELLS)
def test_where_a_is_exact_it_stays_and_the_gradient_is_bptt(name):
    """Eqs. (DNI.2), (DNI.3), (RTRL.4): sg = p is a fixed point, in every cell."""
    net, params, x, y, h0 = setting(name)
    A = exact_a(net, params, x, y, h0)
    expected = bptt.gradient(net, params, x, y, h0=h0).grads
    assert_live(expected)
    g = rtrl.gradient(net, params, x, y, h0=h0, influence=pc.DNI(A, 0.1, refresh=1))
    assert_same(g.grads, expected, rtol=1e-9)
    assert_same(g.carry.influence.A[0], A, rtol=1e-9)
    other = rtrl.gradient(net, params, x, y, h0=h0, influence=pc.DNI(1.1 * A, 0.1, refresh=1))
    assert_differ(other.grads, expected)
    assert_differ(other.carry.influence.A[0], 1.1 * A)


def test_credit_from_the_errors_of_inference():
    """Fixed prediction, mu carried: Pi eps/beta is the credit, so tPC with DNI is DNI."""
    net, params, x, y, h0 = setting("GRU")
    influence = pc.DNI(exact_a(net, params, x, y, h0), 0.1, refresh=2)
    expected = bptt.gradient(net, params, x, y, h0=h0).grads
    for beta in (1.0, 0.1):
        g = tpc.gradient(
            net, params, x, y, None, h0, influence=influence, carry="prediction", inference="fixed", beta=beta
        )
        assert_same(g.grads, expected, rtol=1e-9)
        assert_same(g.carry.influence.A, [influence.A], rtol=1e-9)
    A = 0.5 * influence.A  # not the exact one: it moves, by the same steps as in RTRL
    found = rtrl.gradient(net, params, x, y, h0=h0, influence=pc.DNI(A, 0.1)).carry.influence.A
    assert_differ(found, [A])
    options = {"carry": "prediction", "inference": "fixed"}
    g = tpc.gradient(net, params, x, y, None, h0, influence=pc.DNI(A, 0.1), **options)
    assert_same(g.carry.influence.A, found, rtol=TOL)
    assert tpc.gradient(net, params, x, y, None, h0, influence="eprop", **options).carry is None


def test_it_learns_a_credit_that_can_be_guessed():
    """One linear unit that keeps alpha of itself, constant target: p_t is known in closed form once T is far away."""
    alpha, w, T = 0.5, 0.6, 3000
    net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity", alpha=alpha)])
    params = [{"W": np.array([[w]]), "U": np.ones((1, 1)), "b": np.zeros(1)}]
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((T, 8, 1)), np.zeros((T, 8, 1))
    A = rtrl.gradient(net, params, x, y, influence=pc.DNI(None, 0.05)).carry.influence.A[0]
    J = 1 - alpha + alpha * w  # q = h and E[h_{t+k} | h_t] = J^k h_t, so E[p_t | h_t] = h_t / (1 - J^2)
    assert A.shape == (1, 3)
    assert abs(A[0, 0] * (1 - J * J) - 1) < 0.2
    assert abs(A[0, 2]) < 0.2


def test_what_it_has_learned_holds_for_other_sequences():
    """A from ten batches of an integration task: nearer to BPTT than the credit of each step alone, at fixed weights."""
    net, rng = pc.RecurrentNetwork([pc.RNN(3, 16, alpha=0.5), pc.Dense(16, 2)]), np.random.default_rng(1)
    params, A = net.init(0), None

    def batch():
        x = rng.standard_normal((150, 16, 3))
        return x, 0.1 * np.cumsum(x[:, :, :2], axis=0)

    for _ in range(10):
        A = rtrl.gradient(net, params, *batch(), influence=pc.DNI(A)).carry.influence.A
    data = batch()
    exact, alone, found = (
        np.concatenate([g.grads[0][k].ravel() for k in "WUb"])
        for g in (
            bptt.gradient(net, params, *data),
            bptt.truncated(net, params, *data, steps=1),
            rtrl.gradient(net, params, *data, influence=pc.DNI(A)),
        )
    )
    off = [np.linalg.norm(g - exact) / np.linalg.norm(exact) for g in (alone, found)]
    assert off[1] < 0.3 < 0.5 < off[0]


# ---------------------------------------------------------------------- on from call to call


def test_in_stretches_it_is_the_same():
    """A, its copy, the count of steps and the step before go on; a carry can be used twice; nothing given is written to."""
    p, A = draw(2, reset=True)
    net, params, *data, h0, reset = arguments(p)
    read_only([params, data, h0, reset, A])
    influence = pc.DNI(A, 0.05, 3)
    whole = rtrl.gradient(net, params, *data, h0, reset, influence=influence)
    first, rest = ([a[s] for a in (*data, reset)] for s in (slice(4), slice(4, None)))
    one = rtrl.gradient(net, params, *first[:3], h0, first[3], influence=influence)
    for name in (influence, "dni"):
        two = rtrl.gradient(net, params, *rest[:3], None, rest[3], influence=name, carry=one.carry)
        summed = [{k: g[k] + f[k] for k in g} for g, f in zip(one.grads, two.grads, strict=True)]
        assert_same(summed, whole.grads, rtol=TOL)
        assert_same(two.carry.influence.A, whole.carry.influence.A, rtol=TOL)
    assert one.carry.influence.entries == two.carry.influence.entries > 0


def test_a_goes_on_to_new_sequences():
    """What a training loop hands on; nothing of the states comes with it."""
    p, A = draw(4)
    learned = rtrl.gradient(*arguments(p), influence=pc.DNI(A, 0.05)).carry.influence.A
    again = rtrl.gradient(*arguments(p), influence=pc.DNI(learned, 0.05))
    expected = in_loops(p, learned[0], 0.05, 5)
    assert_same([again.grads[0], again.carry.influence.A[0]], [expected.gradient, expected.A], rtol=TOL)


def test_at_the_start_nothing_is_learned_but_a():
    """A zero A says zero for one step, and no more."""
    p, _ = draw(5)
    net, params, *data, h0, _ = arguments(p)
    first = rtrl.gradient(net, params, data[0][:1], data[1][:1], None, h0, influence="dni")
    assert all((v == 0).all() for v in first.grads[0].values())
    g = rtrl.gradient(net, params, *data, h0, influence="dni")
    assert_live(g.grads)


def test_a_learned_initial_state_gets_what_sg_sends_back():
    """At the beginning and at each reset J^T sg arrives there; with the exact A that is BPTT's."""
    net, params, x, y, h0 = setting("RNN")
    A = exact_a(net, params, x, y, [np.repeat(h0[0][:1], LANES, axis=0)])
    cell = pc.RNN(3, WIDE, learn_h0=True)
    learned = pc.RecurrentNetwork([cell, net.blocks[1]])
    theta = [{**params[0], "h0": h0[0][0]}, params[1]]
    g = rtrl.gradient(learned, theta, x, y, influence=pc.DNI(A, 0.1))
    assert_same(g.grads, bptt.gradient(learned, theta, x, y).grads, rtol=1e-9)


def test_an_influence_that_was_not_told_the_target_says_so():
    """By hand: observe comes before readout."""
    p, A = draw(1)
    net, params = arguments(p)[:2]
    influence = pc.DNI(A).start(net, params, p.h0)
    with pytest.raises(ValueError, match=r"DNI needs the target of every step: call observe\(y, v\) before"):
        influence.readout([np.zeros_like(p.h0[0])])
