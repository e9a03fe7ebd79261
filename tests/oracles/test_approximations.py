"""The approximations of RTRL against dense influences with every index spelled out, and against RTRL."""

import numpy as np
import pytest
from helpers.approximation_battery import Fed
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import SEEDS, fewer
from helpers.temporal_battery import network, states
from hypothesis import given
from hypothesis import strategies as st

import minipc as pc
from minipc import rtrl
from reference import approximation_oracles as oracles
from reference.temporal_problems import make

TOL = 1e-10
KINDS = st.sampled_from(["rnn", "gru", "lstm"])
RESET = st.booleans()
EVERY_CELL = ("snap-1", "snap-2", "snap-3", "rflo", "uoro", "reverse-kf")


def draw(seed, kind, **options):
    """A problem of one cell, T 5 and two lanes."""
    options = {"T": 5, "B": 2, "loss": "mse", **options}
    return make(np.random.default_rng(seed), [kind], **options)


def sparse(p, seed=0):
    """The same problem with about half of the recurrent weights zero, none of them on the diagonal."""
    theta, rng = p.params[0], np.random.default_rng(seed)
    n = theta["W"].shape[1]
    kept = (rng.random((n, n)) < 0.4) | np.eye(n, dtype=bool)
    W = theta["W"].reshape(-1, n, n) * kept
    return p._replace(params=[{**theta, "W": W.reshape(theta["W"].shape)}])


def ring(p):
    """The same problem with a ring of units that see themselves and the one before, each with a weight of 1."""
    theta = p.params[0]
    n = theta["W"].shape[1]
    sign = np.where(np.arange(n) % 2, 1.0, -1.0)
    one = np.eye(n) * sign[:, None] + np.roll(np.eye(n), 1, axis=0)
    gates = len(theta["W"]) // n
    return p._replace(params=[{**theta, "W": np.concatenate([one] * gates)}])


def engine(p, influence, **options):
    """rtrl.gradient of the engine."""
    return rtrl.gradient(
        network(pc, p),
        p.params,
        p.inputs,
        p.targets,
        p.mask,
        states(p),
        p.reset,
        influence=influence,
        **options,
    )


def dense(p, estimate, *more):
    """The gradient by the dense influences of every lane."""
    return oracles.gradient(p, [estimate(steps, *more) for steps in oracles.linearised(p)])


def signs(p, width, seed=1):
    """Signs ``(T, B, width)``, of each lane its own."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], (*p.inputs.shape[:2], width))


def widths(p):
    """Numbers of the state and rows of the weights."""
    rows, n = p.params[0]["W"].shape
    return (2 * n if p.blocks[0]["kind"] == "lstm" else n), rows


# ---------------------------------------------------------------------- the oracles themselves


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_the_dense_influence_is_that_of_rtrl(kind):
    """Eq. (RTRL.1): the frame in which every approximation is written gives the gradient with the full J."""
    p = draw(0, kind, reset=True)
    expected = engine(p, "exact").grads
    assert_live(expected)
    assert_same(dense(p, oracles.exact), expected, rtol=1e-12)


# ---------------------------------------------------------------------- SnAp, RFLO, KeRNL


@pytest.mark.parametrize("order", [1, 2, 3])
@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_snap(order, seed, kind, reset):
    """Eqs. (SNAP.1)-(SNAP.3): sparse weights, masks by the units that are reached."""
    p = sparse(draw(seed, kind, reset=reset), seed)
    expected = dense(p, oracles.snap, order)
    assert_live(expected[0]["b"])
    assert_same(engine(p, f"snap-{order}").grads, expected, rtol=TOL)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_snap_of_the_full_pattern_is_exact_and_of_one_hop_less_is_not(kind):
    """Eq. (SNAP.4): a ring of n units has the diameter n - 1, dense weights 1."""
    n = 4
    p = ring(draw(0, kind, T=8, widths=[3, n]))
    exact = engine(p, "exact").grads
    assert_same(engine(p, f"snap-{n}").grads, exact, rtol=1e-12)
    assert_differ(engine(p, f"snap-{n - 1}").grads, exact)
    q = draw(0, kind)
    assert_same(engine(q, "snap-2").grads, engine(q, "exact").grads, rtol=1e-12)
    assert_differ(engine(q, "snap-1").grads, engine(q, "exact").grads)


@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_rflo(seed, kind, reset):
    """Eq. (RFLO.1); of gated cells what passes beside the weights."""
    p = draw(seed, kind, reset=reset)
    expected = dense(p, oracles.rflo)
    assert_same(engine(p, "rflo").grads, expected, rtol=TOL)


def test_rflo_without_a_leak_is_the_immediate_terms():
    """Nothing passes beside the weights: truncated BPTT of one step."""
    p = draw(0, "rnn", alpha=1.0)
    one = pc.bptt.truncated(network(pc, p), p.params, p.inputs, p.targets, p.mask, states(p), steps=1)
    assert_same(engine(p, "rflo").grads, one.grads, rtol=1e-12)


@given(SEEDS, RESET)
@fewer(10)
def test_kernl(seed, reset):
    """Eq. (KERNL.1): any kernel; one unit remembers nothing."""
    p, rng = draw(seed, "rnn", reset=reset), np.random.default_rng(seed)
    n = len(p.params[0]["W"])
    A, alpha = rng.standard_normal((n, n)), rng.uniform(0.1, 1.0, n)
    alpha[0] = 1.5
    assert_same(engine(p, pc.KeRNL(A, alpha)).grads, dense(p, oracles.kernl, A, alpha), rtol=TOL)
    assert_differ(engine(p, pc.KeRNL(A.T, alpha)).grads, engine(p, pc.KeRNL(A, alpha)).grads)


# ---------------------------------------------------------------------- UORO, KF


@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_uoro(seed, kind, reset):
    """Eqs. (UORO.1)-(UORO.3), the same signs."""
    p = draw(seed, kind, reset=reset)
    nu = signs(p, widths(p)[0])
    lanes = [oracles.uoro(steps, nu[:, b]) for b, steps in enumerate(oracles.linearised(p))]
    assert_same(engine(p, Fed(pc.UORO(), nu)).grads, oracles.gradient(p, lanes), rtol=TOL)


@given(SEEDS, st.sampled_from(["rnn", "lstm"]), RESET)
@fewer(10)
def test_kf(seed, kind, reset):
    """Eqs. (KF.1)-(KF.3), the same signs."""
    p = draw(seed, kind, reset=reset)
    c = signs(p, 2)
    lanes = [oracles.kf(steps, c[:, b]) for b, steps in enumerate(oracles.linearised(p))]
    assert_same(engine(p, Fed(pc.KF(), c)).grads, oracles.gradient(p, lanes), rtol=TOL)


@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_reverse_kf(seed, kind, reset):
    """Eqs. (KF.4), (KF.5), the same signs."""
    p = draw(seed, kind, reset=reset)
    nu = signs(p, widths(p)[1])
    lanes = [oracles.reverse_kf(steps, nu[:, b]) for b, steps in enumerate(oracles.linearised(p))]
    assert_same(engine(p, Fed(pc.ReverseKF(), nu)).grads, oracles.gradient(p, lanes), rtol=TOL)


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
@pytest.mark.parametrize("name", ["uoro", "kf", "reverse_kf"])
def test_the_mean_over_all_signs_is_the_influence(name, kind):
    """The oracles agree with each other: no estimate is biased, at any step."""
    if (name, kind) == ("reverse_kf", "lstm"):
        return  # 2^24 tables
    steps = oracles.linearised(draw(0, kind, T=3, widths=[3, 2]))[0]
    N, rows, _ = steps[0].Mbar.shape
    width = {"uoro": N, "kf": 2, "reverse_kf": rows}[name]
    assert_same(oracles.expected(getattr(oracles, name), steps, width), oracles.exact(steps), rtol=1e-12)
