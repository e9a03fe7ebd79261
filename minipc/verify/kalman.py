"""Claims: tPC in a linear-Gaussian world is a filter; which one, and what its gradient is."""

from typing import NamedTuple

import numpy as np

from .. import check, tpc
from ..blocks import Dense
from ..cells import RNN
from ..recurrent import RecurrentNetwork
from .setting import claim, kalman, rel, spd


class World(NamedTuple):
    """A linear-Gaussian state space with one lane of data, and the engine's network of it."""

    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    y: np.ndarray  # (T, o)
    drive: np.ndarray  # (T, n): what inputs and bias add to the state
    start: np.ndarray  # (n,)
    seen: np.ndarray  # (T, o)
    net: RecurrentNetwork
    params: list
    inputs: np.ndarray  # (T, 1, m)

    @property
    def observed(self):
        """y with what the readout's bias adds taken off, for the oracles."""
        return self.y - self.params[1]["b"]

    @property
    def precision(self):
        """Pi of the state, and R^-1."""
        return [np.linalg.inv(self.Q), np.linalg.inv(self.R)]

    @property
    def data(self):
        """Positional arguments of the engine."""
        return self.net, self.params, self.inputs, self.y[:, None], None, [self.start[None]]


def world(rng, T=6, n=4, o=2, m=3, radius=1.0, A=None):
    """A random one; Q and R are SPD, A is not symmetric, and nothing is zero."""
    if A is None:
        A = rng.standard_normal((n, n))
        A *= radius / np.abs(np.linalg.eigvals(A)).max()
    C, U = rng.standard_normal((o, n)), rng.standard_normal((n, m))
    b, d = rng.standard_normal(n), rng.standard_normal(o)
    inputs = rng.standard_normal((T, 1, m))
    net = RecurrentNetwork([RNN(m, n, "identity"), Dense(n, o)])
    return World(
        *(A, C, spd(rng, n), spd(rng, o), 2 * rng.standard_normal((T, o)), inputs[:, 0] @ U.T + b),
        *(rng.standard_normal(n), rng.random((T, o)) < 0.6, net),
        *([{"W": A, "U": U, "b": b}, {"W": C, "b": d}], inputs),
    )


def equilibrium(w, **options):
    """What the engine learns from, at the equilibrium of inference: one Newton step where all is linear."""
    given = {"precision": w.precision, "inference": "newton", "inference_steps": 2}
    return tpc.gradient(*w.data, **{**given, **options})


def filtered(w, **options):
    """The engine as a filter."""
    given = {"precision": w.precision, "inference": "newton", "inference_steps": 2}
    return tpc.infer(*w.data, **{**given, **options})


@claim(
    "T24",
    "KAL.1-KAL.3, tPC.9",
    "linear tPC at equilibrium: a Kalman update with Q; Damp = I - KC; the innovations cost",
    "closed form",
    1e-12,
)
def t24(rng):
    w = world(rng)
    n, Omega = len(w.A), w.C @ w.Q @ w.C.T + w.R
    K = kalman.gain(w.Q, w.C, w.R)
    rest = w.drive, w.C, K, w.observed, w.start
    mu, s = kalman.observer(w.A, *rest)
    f, Pi = filtered(w), w.precision[0]
    v = w.observed - mu @ w.C.T
    eps = f.states[:, 0] - f.predictions[:, 0]
    H = Pi + w.C.T @ w.precision[1] @ w.C
    posterior = filtered(w, propagate=True).covariance[0, 0]  # the start is known: the first Sig is that of Q
    cost = kalman.innovations_cost(w.A, w.drive, w.C, K, Omega, w.observed, w.start)
    error = max(
        rel([f.predictions[:, 0], f.states[:, 0]], [mu, s]),  # (KAL.1)
        rel(posterior @ Pi, np.eye(n) - K @ w.C),  # (KAL.2)
        rel([posterior, np.linalg.inv(H)], [(np.eye(n) - K @ w.C) @ w.Q] * 2),  # (KAL.2)
        rel(eps @ Pi, v @ np.linalg.inv(Omega) @ w.C),  # (KAL.3)
        rel(f.energy.sum(axis=0), np.array([cost])),  # (KAL.3)
        rel(s[0], np.linalg.solve(H, Pi @ mu[0] + w.C.T @ w.precision[1] @ w.observed[0])),  # (tPC.9)
    )
    forgetful = w.Q @ w.C.T @ np.linalg.inv(w.C @ w.Q @ w.C.T)  # without R
    wrong = kalman.observer(w.A, w.drive, w.C, forgetful, w.observed, w.start)[1]
    return error, rel(f.states[:, 0], wrong)


@claim(
    "T25",
    "KAL.4",
    "with propagated precision tPC is the Kalman filter: 30 steps, some channels unseen",
    "closed form",
    1e-11,
    trials=5,
)
def t25(rng):
    w = world(rng, T=30)
    w = w._replace(R=np.diag(rng.uniform(0.5, 2.0, len(w.R))))  # channels are unseen one by one
    precision = [w.precision[0], np.diag(w.precision[1]).copy()]
    n, error = len(w.A), 0.0
    for seen in (None, w.seen):
        right = kalman.kalman_filter(
            *(w.A, w.drive, w.C, w.Q, w.R, w.observed, w.start, np.zeros((n, n)), seen)
        )
        observed = None if seen is None else seen[:, None]
        f = filtered(w, precision=precision, propagate=True, observed=observed)
        fixed = filtered(w, precision=precision, observed=observed)
        means = [f.predictions[:, 0], f.states[:, 0], f.covariance[:, 0]]
        error = max(error, rel(means, [right.predicted, right.mean, right.covariance]))
    return error, rel(fixed.states[:, 0], right.mean)


@claim(
    "T26",
    "KAL.5, KAL.6",
    "implicit influence in a linear world: the recursive prediction-error method",
    "complex step through the observer",
    1e-11,
)
def t26(rng):
    w = world(rng)
    K, Omega = kalman.gain(w.Q, w.C, w.R), w.C @ w.Q @ w.C.T + w.R
    beside = w.drive, w.C, K, Omega, w.observed, w.start
    exact = check.complex_step(lambda A: kalman.innovations_cost(A, *beside), w.A)
    g = equilibrium(w, influence="implicit")
    plain = equilibrium(w, influence="plain")
    mu, _ = kalman.observer(w.A, w.drive, w.C, K, w.observed, w.start)
    M, _ = kalman.observer_sensitivity(w.A, w.drive, w.C, K, w.observed, w.start)  # (KAL.5)
    xi = (w.observed - mu @ w.C.T) @ np.linalg.inv(Omega) @ w.C  # Pi eps* (KAL.3)
    written = -np.einsum("tk,tkij->ij", xi, M)  # (KAL.6)
    return max(rel(g.grads[0]["W"], exact), rel(written, exact)), rel(plain.grads[0]["W"], exact)


def _radius(A, K, C):
    """The spectral radius of (I - K C) A."""
    return np.abs(np.linalg.eigvals((np.eye(len(A)) - K @ C) @ A)).max()


def _forgotten(w, Pi):
    """What is left of a difference of the starts (n,) after every step of the engine's filter, (T, n)."""
    difference = np.full(len(w.A), 0.1)
    precision = [Pi, w.precision[1]]
    moved = w._replace(start=w.start + difference)
    a, b = (filtered(v, precision=precision).states[:, 0] for v in (moved, w))
    return a - b, difference


@claim(
    "T27",
    "KAL.5",
    "with the stationary gain sensitivities die out though A is unstable, as (I - KC) A does; failures",
    "closed form, 20 systems a trial",
    0,
    trials=5,
)
def t27(rng):
    failed, unstable = 0, 1.0
    while unstable <= 1.02:  # a gain from any Q at all need not do it: the worst of as many as that takes
        for _ in range(20):
            w = world(rng, n=3, o=1, radius=1.3)
            P, K = kalman.stationary(w.A, w.C, w.Q, w.R)
            failed += not _radius(w.A, K, w.C) < 1
            other = kalman.gain(spd(rng, 3, 0.01, 10.0), w.C, w.R)
            unstable = max(unstable, _radius(w.A, other, w.C))
    left, difference = _forgotten(w, np.linalg.inv(P))  # the engine has this gain with Pi = P^-1
    for row in left:
        difference = (np.eye(3) - K @ w.C) @ w.A @ difference  # (KAL.5)
        failed += not np.linalg.norm(row - difference) < 1e-10
    return float(failed), unstable - 1
