"""Linear tPC against the Kalman filter, the joint Gaussian and its smoother; observations that are not all there."""

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_live, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st

import minipc as pc
from reference import kalman
from reference.tpc_problems import spd

SEEDS = st.integers(0, 2**32 - 1)
NEWTON = {"inference": "newton", "inference_steps": 2}


def world(seed, T=8, n=4, o=3, m=2, radius=0.9):
    """(A, drive, C, Q, R, y, start, seen), and the engine's network, parameters and inputs of it."""
    rng = np.random.default_rng(seed)
    A, C, U = (rng.standard_normal(shape) for shape in ((n, n), (o, n), (n, m)))
    A *= radius / np.abs(np.linalg.eigvals(A)).max()
    b, u = rng.standard_normal(n), rng.standard_normal((T, m))
    y, start, seen = 2 * rng.standard_normal((T, o)), rng.standard_normal(n), rng.random((T, o)) < 0.6
    net = pc.RecurrentNetwork([pc.RNN(m, n, "identity"), pc.Dense(n, o)])
    params = [{"W": A, "U": U, "b": b}, {"W": C, "b": np.zeros(o)}]
    return (A, u @ U.T + b, C, spd(rng, n), spd(rng, o), y, start), seen, (net, params, u[:, None])


def infer(w, engine, **options):
    """The engine as a filter, one lane."""
    *_, Q, R, y, start = w
    given = {"precision": [np.linalg.inv(Q), np.linalg.inv(R)], **NEWTON}
    return pc.tpc.infer(*engine, y[:, None], None, [start[None]], **{**given, **options})


# ---------------------------------------------------------------------- the oracles among themselves


@pytest.mark.parametrize("all_seen", [True, False])
@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_smoother_is_the_joint_gaussian(all_seen, seed):
    """All states given all observations: recursion backwards = one block tridiagonal system; the last one is the filter."""
    w, seen, _ = world(seed)
    seen = None if all_seen else seen
    start_covariance = spd(np.random.default_rng(seed), 4)
    f = kalman.kalman_filter(*w, start_covariance, seen)
    means, covariances = kalman.smoother(w[0], w[3], f)
    exact = kalman.joint(*w, start_covariance, seen)
    assert_live(exact)
    assert_same([means, covariances], exact)
    assert_same([means[-1], covariances[-1]], [f.mean[-1], f.covariance[-1]])
    assert_differ(means[0], f.mean[0])
    for t in range(1, 8):  # the filter is the smoother of what has been seen
        past = kalman.joint(
            *w[:1], w[1][:t], *w[2:5], w[5][:t], w[6], start_covariance, None if all_seen else seen[:t]
        )
        assert_same([f.mean[t - 1], f.covariance[t - 1]], [past[0][-1], past[1][-1]])


@given(seed=SEEDS, radius=st.sampled_from([0.5, 1.0, 1.3]))
@settings(max_examples=20)
def test_the_stationary_gain_is_where_the_filter_goes(seed, radius):
    """(KAL.4): P_t and K_t of a long sequence; what is left of the start dies out."""
    (A, _, C, Q, R, *_), _, _ = world(seed, radius=radius)
    T = 600
    P, K = kalman.stationary(A, C, Q, R)
    f = kalman.kalman_filter(A, np.zeros((T, 4)), C, Q, R, np.zeros((T, 3)), np.ones(4), np.zeros((4, 4)))
    assert_same(f.predicted_covariance[-1], P, rtol=1e-8)
    assert np.abs(np.linalg.eigvals((np.eye(4) - K @ C) @ A)).max() < 1
    assert np.abs(f.mean[-1]).max() < 1e-6


@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_sensitivity_of_the_observer(seed):
    """(KAL.5): by complex step through the observer, entry by entry; without the damping it is another."""
    (A, drive, C, Q, R, y, start), _, _ = world(seed, T=5)
    K = kalman.gain(Q, C, R)
    M, S = kalman.observer_sensitivity(A, drive, C, K, y, start)
    for i, j in ((0, 1), (3, 2)):
        moved = A.astype(complex)
        moved[i, j] += 1e-200j
        mu, s = kalman.observer(moved, drive, C, K, y, start)
        assert_same([M[..., i, j], S[..., i, j]], [mu.imag / 1e-200, s.imag / 1e-200])
    undamped, _ = kalman.observer_sensitivity(A, drive, C, K, y, start, damped=False)
    assert_differ(undamped, M)


# ---------------------------------------------------------------------- the engine


@given(seed=SEEDS)
def test_the_equilibrium_is_an_update_with_the_noise_of_one_step(seed):
    """(KAL.1), (KAL.3): states, predictions, energies, and what is read out of them."""
    w, _, engine = world(seed)
    A, drive, C, Q, R, y, start = w
    f = infer(w, engine)
    mu, s = kalman.observer(A, drive, C, kalman.gain(Q, C, R), y, start)
    v = y - mu @ C.T
    assert_same([f.predictions[:, 0], f.states[:, 0]], [mu, s])
    assert_same([f.forecasts[:, 0], f.outputs[:, 0]], [mu @ C.T, s @ C.T])
    assert_same(f.energy[:, 0], 0.5 * (v * np.linalg.solve(C @ Q @ C.T + R, v.T).T).sum(axis=1))


@pytest.mark.parametrize("all_seen", [True, False])
@given(seed=SEEDS)
def test_propagated_precision_is_the_kalman_filter(all_seen, seed):
    """(KAL.4): mean and covariance; channels that are not seen; the fixed precision is another filter."""
    w, seen, engine = world(seed, T=12)
    R = w[4] if all_seen else np.diag(np.diag(w[4]))
    w = (*w[:4], R, *w[5:])
    precision = [np.linalg.inv(w[3]), np.linalg.inv(R) if all_seen else 1 / np.diag(R)]
    options = {} if all_seen else {"observed": seen[:, None]}
    f = infer(w, engine, precision=precision, propagate=True, **options)
    right = kalman.kalman_filter(*w, np.zeros((4, 4)), None if all_seen else seen)
    found = [f.predictions[:, 0], f.states[:, 0], f.covariance[:, 0]]
    assert_live([right.predicted, right.mean, right.covariance])
    assert_same(found, [right.predicted, right.mean, right.covariance])
    fixed = infer(w, engine, precision=precision, **options)
    assert_differ(fixed.states[:, 0], right.mean)


@given(seed=SEEDS, beta=st.sampled_from([0.3, 2.0]))
@settings(max_examples=20)
def test_beta_is_a_factor_of_the_precision_of_observations(seed, beta):
    """(KAL.4): R/beta."""
    w, _, engine = world(seed)
    f = infer(w, engine, propagate=True, beta=beta)
    right = kalman.kalman_filter(*w[:4], w[4] / beta, *w[5:], np.zeros((4, 4)))
    assert_same([f.states[:, 0], f.covariance[:, 0]], [right.mean, right.covariance])


@given(seed=SEEDS)
@settings(max_examples=10)
def test_a_lane_that_is_reset_is_a_new_filter(seed):
    """(KAL.4): state and covariance begin anew; the other lane goes on."""
    w, _, (net, params, u) = world(seed)
    A, drive, C, Q, R, y, start = w
    two = lambda v: np.repeat(v, 2, axis=1)  # noqa: E731
    reset = np.zeros((8, 2), bool)
    reset[5, 1] = True
    f = pc.tpc.infer(
        net, params, two(u), two(y[:, None]), None, [np.stack([start, start])], reset,
        precision=[np.linalg.inv(Q), np.linalg.inv(R)], propagate=True, **NEWTON,
    )  # fmt: skip
    whole = kalman.kalman_filter(*w, np.zeros((4, 4)))
    late = kalman.kalman_filter(A, drive[5:], C, Q, R, y[5:], start, np.zeros((4, 4)))
    assert_same([f.states[:, 0], f.covariance[:, 0]], [whole.mean, whole.covariance])
    assert_same([f.states[5:, 1], f.covariance[5:, 1]], [late.mean, late.covariance])
    assert_same(f.states[:5, 1], whole.mean[:5])


@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_implicit_gradient_is_that_of_the_innovations(seed):
    """(KAL.6): in A, by complex step through the observer; plain is another."""
    w, _, (net, params, u) = world(seed)
    A, drive, C, Q, R, y, start = w
    options = {"precision": [np.linalg.inv(Q), np.linalg.inv(R)], **NEWTON}
    data = net, params, u, y[:, None], None, [start[None]]
    Omega, K = C @ Q @ C.T + R, kalman.gain(Q, C, R)
    exact = pc.check.complex_step(lambda A: kalman.innovations_cost(A, drive, C, K, Omega, y, start), A)
    assert_live(exact)
    assert_same(pc.tpc.gradient(*data, influence="implicit", **options).grads[0]["W"], exact)
    assert_differ(pc.tpc.gradient(*data, influence="plain", **options).grads[0]["W"], exact)
