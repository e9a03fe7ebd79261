"""Linear-Gaussian state space: Kalman filter, observer with a fixed gain, RTS smoother, stationary gain, innovations.

One lane: s_t = A s_{t-1} + d_t + w_t with w ~ N(0, Q), y_t = C s_t + v_t with v ~ N(0, R). Everything that an input or
a bias adds to the state is in ``drive`` (T, n); what is added to an observation is to be taken off ``y`` (T, o).

========  ======================================================================  =============================
id        equation                                                                function
========  ======================================================================  =============================
(KAL.1)   Omega = C P C^T + R, K = P C^T Omega^{-1}, s* = mu + K (y - C mu)        gain, observer
(KAL.2)   H^{-1} = (I - K C) P                                                    kalman_filter
(KAL.3)   F_t* = 1/2 v^T Omega^{-1} v                                             innovations_cost
(KAL.4)   P_t = A Sig_{t-1} A^T + Q, Sig_t = (I - K_t C) P_t                      kalman_filter
(KAL.5)   dS_t = (I - K C) (dA s_{t-1} + A dS_{t-1})                              observer_sensitivity
(KAL.6)   d/dA sum_t F_t*                                                         innovations_cost, complex step
========  ======================================================================  =============================

Transposes are never conjugated, so complex inputs pass through and a complex step may differentiate the costs.
"""

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """What a filter finds: predictions and updates of every step."""

    predicted: np.ndarray  # mu_t (T, n)
    predicted_covariance: np.ndarray  # P_t (T, n, n)
    mean: np.ndarray  # s_t (T, n)
    covariance: np.ndarray  # Sig_t (T, n, n)


def gain(P, C, R):
    """K (n, o) = P C^T (C P C^T + R)^{-1}, (KAL.1)."""
    return np.linalg.solve(C @ P @ C.T + R, C @ P).T


def kalman_filter(A, drive, C, Q, R, y, start, start_covariance, seen=None):
    """The Kalman filter, (KAL.4). ``seen (T, o)`` bool: the channels that are observed at every step.

    The first step predicts from ``start`` (n,) with ``start_covariance`` (n, n).
    """
    s, Sig, rows = start, start_covariance, []
    for t in range(len(y)):
        mu = A @ s + drive[t]
        P = A @ Sig @ A.T + Q  # (KAL.4)
        some = np.ones(len(R), bool) if seen is None else seen[t]
        K = gain(P, C[some], R[np.ix_(some, some)])
        s = mu + K @ (y[t, some] - C[some] @ mu)  # (KAL.1)
        left = np.eye(len(P)) - K @ C[some]
        Sig = left @ P @ left.T + K @ R[np.ix_(some, some)] @ K.T  # (KAL.2), in the form that stays positive
        rows.append((mu, P, s, Sig))
    return Estimate(*(np.array(part) for part in zip(*rows, strict=True)))


def observer(A, drive, C, K, y, start):
    """(mu_t (T, n), s_t (T, n)) with one gain for all steps, (KAL.1)."""
    s, predicted, updated = start, [], []
    for t in range(len(y)):
        mu = A @ s + drive[t]
        s = mu + K @ (y[t] - C @ mu)  # (KAL.1)
        predicted.append(mu)
        updated.append(s)
    return np.array(predicted), np.array(updated)


def innovations_cost(A, drive, C, K, Omega, y, start):
    """sum_t 1/2 v_t^T Omega^{-1} v_t, v_t = y_t - C mu_t, of the observer, (KAL.3)."""
    predicted, _ = observer(A, drive, C, K, y, start)
    v = y - predicted @ C.T
    return 0.5 * (v * np.linalg.solve(Omega, v.T).T).sum()


def observer_sensitivity(A, drive, C, K, y, start, damped=True):
    """(dmu_t/dA, ds_t/dA), each (T, n, n, n): [t, k, i, j] by A[i, j], (KAL.5).

    ``damped=False`` is the mistake S = M: the observer's correction left out.
    """
    n, (_, updated) = len(A), observer(A, drive, C, K, y, start)
    left = np.eye(n) - K @ C if damped else np.eye(n)
    S, before, M_rows, S_rows = np.zeros((n, n, n)), start, [], []
    for s in updated:
        M = np.einsum("km,mij->kij", A, S)
        M = M + np.einsum("ki,j->kij", np.eye(n), before)  # dA s_{t-1}
        S = np.einsum("km,mij->kij", left, M)  # (KAL.5)
        M_rows.append(M)
        S_rows.append(S)
        before = s
    return np.array(M_rows), np.array(S_rows)


def stationary(A, C, Q, R, steps=10_000):
    """(P, K): the predicted covariance that (KAL.4) goes to, and its gain, by iterating the Riccati equation."""
    P = Q
    for _ in range(steps):
        K = gain(P, C, R)
        left = np.eye(len(A)) - K @ C
        new = A @ (left @ P @ left.T + K @ R @ K.T) @ A.T + Q  # (KAL.4)
        if np.abs(new - P).max() <= 1e-12 * np.abs(new).max():
            return new, gain(new, C, R)
        P = new
    raise ValueError("the Riccati equation did not settle: is the pair (A, C) detectable?")


def smoother(A, Q, filtered):
    """(means (T, n), covariances (T, n, n)) of every state given all observations: Rauch, Tung and Striebel."""
    means, covariances = [filtered.mean[-1]], [filtered.covariance[-1]]
    for t in range(len(filtered.mean) - 2, -1, -1):
        P = filtered.predicted_covariance[t + 1]
        G = np.linalg.solve(P, A @ filtered.covariance[t]).T
        means.append(filtered.mean[t] + G @ (means[-1] - filtered.predicted[t + 1]))
        covariances.append(filtered.covariance[t] + G @ (covariances[-1] - P) @ G.T)
    return np.array(means[::-1]), np.array(covariances[::-1])


def joint(A, drive, C, Q, R, y, start, start_covariance, seen=None):
    """The same as :func:`smoother` by one block tridiagonal system of all T n unknowns, the joint Gaussian."""
    T, n = len(y), len(A)
    first = A @ start_covariance @ A.T + Q
    H, rhs = np.zeros((T, n, T, n)), np.zeros((T, n))
    for t in range(T):
        some = np.ones(len(R), bool) if seen is None else seen[t]
        Rinv = np.linalg.inv(R[np.ix_(some, some)])
        Pi = np.linalg.inv(first if t == 0 else Q)
        mean = A @ start + drive[t] if t == 0 else drive[t]
        H[t, :, t] += Pi + C[some].T @ Rinv @ C[some]
        rhs[t] += Pi @ mean + C[some].T @ Rinv @ y[t, some]
        if t:
            H[t - 1, :, t - 1] += A.T @ Pi @ A
            H[t, :, t - 1] -= Pi @ A
            H[t - 1, :, t] -= A.T @ Pi
            rhs[t - 1] -= A.T @ Pi @ drive[t]
    inverse = np.linalg.inv(H.reshape(T * n, T * n))
    blocks = inverse.reshape(T, n, T, n)
    return (inverse @ rhs.ravel()).reshape(T, n), np.array([blocks[t, :, t] for t in range(T)])
