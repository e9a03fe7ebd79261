"""Exercises of temporal predictive coding: the energy of a step, its inference, credit, influence, the Kalman filter.

The small ones are of plain arrays: one step above a prediction, or a tanh cell with a readout over some steps. The
answer is what :class:`minipc.timestep.Timestep` and :mod:`minipc.tpc` say of the same numbers.
"""

import warnings

import numpy as np

from ..blocks import Dense
from ..cells import RNN
from ..diagonal import LRU
from ..recurrent import RecurrentNetwork
from .register import exercise

# ---------------------------------------------------------------------- one step


def one_step(draw):
    """One step above a prediction; a linear or a tanh readout (V, d), one with a hidden state z (V1, d1, V2, d2)."""
    o, k, n = sorted(draw.widths(3))  # fewer outputs than states
    B = draw.B
    return {
        **{name: draw.normal(B, n) for name in ("s", "mu", "c")},
        "z": draw.normal(B, k),
        "y": draw.normal(B, o),
        "V": draw.normal(o, n) / n**0.5,
        "d": draw.normal(o),
        "V1": draw.normal(k, n) / n**0.5,
        "d1": draw.normal(k),
        "V2": draw.normal(o, k) / k**0.5,
        "d2": draw.normal(o),
        "Pi": draw.uniform(0.5, 2.0, n),
        "Pi1": draw.uniform(0.5, 2.0, k),
        "Pi_y": draw.uniform(0.5, 2.0, o),
        "pi": float(draw.uniform(0.5, 2.0)),
        "M": draw.normal(B, n, 5),
        "seen": ~draw.chance(0.4, B),
        **descent(draw),
        "start": ("previous", "prediction")[draw.setting % 2],
    }


def descent(draw):
    """The options of inference: beta, the number of steps, and their length."""
    return {
        "beta": round(float(draw.uniform(0.3, 0.8)), 2),
        "inference_steps": 2 + draw.setting % 2,
        "step_size": round(float(draw.uniform(0.1, 0.3)), 2),
    }


def above(engine, n, readout, precision, beta=1.0, **options):
    """The step of minipc above a state of width n, with its network and parameters; readout: (W, b, activation, form)."""
    blocks = [engine.Dense(W.shape[1], W.shape[0], kind, form=form) for W, _, kind, form in readout]
    net = engine.RecurrentNetwork([engine.RNN(1, n), *blocks])
    cell = {
        "W": np.zeros((n, n)),
        "U": np.zeros((n, 1)),
        "b": np.zeros(n),
    }  # not used: the prediction is given
    params = [cell, *({"W": W, "b": b} for W, b, *_ in readout)]
    chosen = {
        "inference": "spc",
        "inference_steps": 1,
        "step_size": 1.0,
        "tolerance": None,
        "start": "prediction",
    }
    return net, params, engine.timestep.Timestep(net, params, precision, beta=beta, **chosen | options)


def damped(engine, net, params, step, now, M):
    """S (B, n, P) of an influence M (B, n, P), Eqs. (TPR.5), (TPR.6)."""
    influence = engine.tpc.Damped(net, params, [M[:, :, 0], *[None] * (len(params) - 1)], step, "implicit")
    influence.own[0] = M.copy()
    influence.damp(now)
    return influence.own[0]


@exercise("tPC.2", problem=one_step)
def energy(engine, s, z, mu, y, V1, d1, V2, d2, Pi, Pi1, beta):
    """F_t (B,) of a step: the energy of each sample, at any states s (B, n) and z (B, k).

    mu (B, n) is the prediction of s. Above it stands a readout with one hidden state z, predicted by
    tanh(s @ V1.T + d1); yhat = z @ V2.T + d2, the loss is 1/2 |yhat - y|^2. Pi (n,) is the diagonal precision of
    the state, Pi1 (k,) that of z; beta weighs the loss alone.
    """
    readout = [(V1, d1, "tanh", "post"), (V2, d2, "identity", "post")]
    step = above(engine, s.shape[1], readout, [Pi, Pi1, None], beta)[2]
    return beta * engine.spc.energy(step.net, step.params, [mu, s, z], y, step.Pi[1:])


@exercise("tPC.4", problem=one_step)
def infer(engine, s, mu, y, V, d, Pi, Pi_y, beta, inference_steps, step_size):
    """The state (B, n) after ``inference_steps`` steps of descent on F_t, from s (B, n), with the given step_size.

    mu (B, n) is the prediction, Pi (n,) its diagonal precision. The readout is in pre form: yhat = tanh(s) @ V.T + d;
    the loss is 1/2 (y - yhat)' Pi_y (y - yhat) with Pi_y (o,) the diagonal of R^-1, and beta weighs it.
    """
    options = {"inference_steps": inference_steps, "step_size": step_size, "start": "previous"}
    step = above(engine, s.shape[1], [(V, d, "tanh", "pre")], [Pi, Pi_y], beta, **options)[2]
    return step.infer(mu, y, previous=s).s


@exercise("tPC.5", problem=one_step)
def infer_where_seen(engine, c, mu, y, seen, V, d, Pi, beta, inference_steps, step_size, start):
    """The state (B, n) after ``inference_steps`` steps of descent on F_t.

    They begin at the prediction mu (B, n) if ``start`` is "prediction", at the carried state c (B, n) if it is
    "previous". In samples where ``seen`` (B,) is False nothing is observed, and the state rests at mu. The readout
    is linear, yhat = s @ V.T + d, the loss 1/2 |yhat - y|^2, Pi (n,) the diagonal precision of the state.
    """
    options = {"inference_steps": inference_steps, "step_size": step_size, "start": start}
    step = above(engine, c.shape[1], [(V, d, "identity", "post")], [Pi, None], beta, **options)[2]
    return step.infer(mu, y, weight=seen[:, None].astype(y.dtype), previous=c).s


@exercise("tPC.8", problem=one_step)
def unobserved(engine, mu, y, seen, M, V, d, Pi, beta, inference_steps, step_size):
    """The state s (B, n) after ``inference_steps`` steps from mu, and its influence S (B, n, P): a pair.

    M (B, n, P) is the influence on mu (B, n), and S = H^-1 Pi M with H the second derivative of F_t in s. In samples
    where ``seen`` (B,) is False nothing is observed: the loss does not count. The readout is linear,
    yhat = s @ V.T + d, the loss 1/2 |yhat - y|^2, Pi (n,) the diagonal precision of the state.
    """
    options = {"inference_steps": inference_steps, "step_size": step_size}
    net, params, step = above(engine, mu.shape[1], [(V, d, "identity", "post")], [Pi, None], beta, **options)
    look = step.infer(mu, y, weight=seen[:, None].astype(y.dtype))
    return look.s, damped(engine, net, params, step, look.now, M)


@exercise("tPC.11", problem=one_step)
def infer_in_output(engine, mu, y, seen, V, d, pi, beta, inference_steps, step_size):
    """The state (B, n) after ``inference_steps`` steps of descent on F_t from mu (B, n), found in the output's w (B, o).

    The readout is linear, yhat = s @ V.T + d, the loss 1/2 |yhat - y|^2, the precision of the state a number pi. In
    samples where ``seen`` (B,) is False nothing is observed. The states are those that (tPC.4) finds.
    """
    options = {"inference_steps": inference_steps, "step_size": step_size}
    step = above(engine, mu.shape[1], [(V, d, "identity", "post")], [pi, None], beta, **options)[2]
    return step.follower(y[None], mu[None], seen[None, :, None].astype(y.dtype))(0, mu)


@exercise("TPR.6", problem=one_step)
def damp(engine, M, s, z, y, V1, d1, V2, d2, Pi, Pi1, beta):
    """H (B, n + k, n + k), the second derivative of F_t in s and z together, and the damped influence S (B, n, P): a pair.

    S is the influence on the inferred state of M (B, n, P), that on its prediction: the block of s of H^-1 Pi M.
    H is taken at the given states s (B, n) and z (B, k). Above s stands a readout with one hidden state z, predicted
    by tanh(s @ V1.T + d1); yhat = z @ V2.T + d2, the loss is 1/2 |yhat - y|^2, weighed by beta. Pi (n,) is the
    diagonal precision of s, Pi1 (k,) that of z.
    """
    readout = [(V1, d1, "tanh", "post"), (V2, d2, "identity", "post")]
    net, params, step = above(engine, s.shape[1], readout, [Pi, Pi1, None], beta)
    now = engine.spc._errors(step.net, step.params, [s, s, z], y, step.Pi)
    H, _ = step.second_derivatives(now, mixed=False)
    return beta * H, damped(engine, net, params, step, now, M)


# ---------------------------------------------------------------------- the Kalman filter


def filtering(draw):
    """A linear observation of a state with noise, and a linear step before it."""
    o, m, n = sorted(draw.widths(3))
    B = draw.B
    return {
        **{name: draw.normal(B, n) for name in ("mu", "s")},
        "y": draw.normal(B, o),
        "u": draw.normal(B, m),
        "A": draw.normal(n, n) / n**0.5,
        "U": draw.normal(n, m) / m**0.5,
        "b": draw.normal(n),
        "C": draw.normal(o, n) / n**0.5,
        "Q": draw.positive_definite(n),
        "R": draw.positive_definite(o),
        "Sigma": np.stack([draw.positive_definite(n) for _ in range(B)]),
        "M": draw.normal(B, n, 4),
        "reset": draw.chance(0.4, B),
    }


def observed(engine, n, C, Q, R):
    """The step of minipc for a linear observation with noise: beta 1, precisions Q^-1 and R^-1."""
    readout = [(C, np.zeros(len(C)), "identity", "post")]
    return above(engine, n, readout, [np.linalg.inv(Q), np.linalg.inv(R)], inference="newton")


@exercise("tPC.9", "KAL.1", problem=filtering)
def update(engine, mu, y, C, Q, R):
    """The inferred state (B, n) at the equilibrium of F_t, which is the update of a Kalman filter.

    mu (B, n) is predicted with the noise covariance Q (n, n), its precision is Q^-1; y (B, o) is observed,
    y = s @ C.T plus noise of covariance R (o, o); beta is 1.
    """
    return observed(engine, mu.shape[1], C, Q, R)[2].infer(mu, y).s


@exercise("KAL.2", problem=filtering)
def posterior(engine, C, Q, R):
    """The covariance (n, n) of the state after the observation, H^-1 = (I - K C) Q.

    Q (n, n) is the covariance before it; y = s @ C.T plus noise of covariance R (o, o) is observed.
    """
    step, n = observed(engine, len(Q), C, Q, R)[2], len(Q)
    now = step.infer(np.zeros((1, n)), np.zeros((1, len(C)))).now
    return np.linalg.inv(step.second_derivatives(now, mixed=False)[0][0])


@exercise("KAL.3", problem=filtering)
def innovation_cost(engine, mu, y, C, Q, R):
    """The energy F_t (B,) at the equilibrium of inference, from the innovation v = y - mu @ C.T.

    What is given: see (KAL.1).
    """
    return observed(engine, mu.shape[1], C, Q, R)[2].infer(mu, y).energy


@exercise("KAL.5", problem=filtering)
def sensitivity(engine, M, C, Q, R):
    """The influence S (B, n, P) on the state after the update, (I - K C) M, of the influence M (B, n, P) on the prediction.

    What else is given: see (KAL.1).
    """
    net, params, step = observed(engine, len(Q), C, Q, R)
    mu = M[:, :, 0]
    return damped(engine, net, params, step, step.infer(mu, mu @ C.T).now, M)


@exercise("KAL.4", problem=filtering)
def filter_step(engine, s, Sigma, u, y, reset, A, U, b, C, Q, R):
    """One step of the Kalman filter: the state s_t (B, n) and its covariance Sigma_t (B, n, n), a pair.

    Before it s (B, n) and Sigma (B, n, n). The prediction is s @ A.T + u @ U.T + b with noise of covariance Q
    (n, n), then y (B, o) is observed, y = s_t @ C.T plus noise of covariance R (o, o). Samples in which ``reset``
    (B,) is True begin anew: at s = 0, which is known (Sigma = 0).
    """
    n, m = len(A), U.shape[1]
    step = observed(engine, n, C, Q, R)[2]
    cell, p = engine.RNN(m, n, "identity"), {"W": A, "U": U, "b": b}
    kalman = engine.filtering.Propagated(step, s)
    kalman.covariance = Sigma
    after, tape = cell.scan(p, np.where(reset[:, None], 0 * s, s), u[None])
    Pi = kalman.predict(cell, p, tape, reset)
    look = step.infer(after[0], y, Pi=Pi)
    return look.s, kalman.update(look.now, Pi)


# ---------------------------------------------------------------------- some steps of a tanh cell with a readout


def some_steps(draw):
    """T, short: every step has its inference."""
    T = draw.T
    if not draw.short:
        draw.sizes["T"] = T = 3 + draw.setting % 2
    return T


def flags(draw, T, B):
    """Where something happens, (T, B): never in the last of several lanes, and not in the first step."""
    found = np.zeros((T, B), bool)
    if T > 1 and B > 1:
        found[1:, :-1] = draw.chance(0.4, T - 1, B - 1)
    return found


def sequence(draw):
    """A tanh cell with a readout over some steps."""
    n, m, o = draw.widths(3)
    T, B = some_steps(draw), draw.B
    return {
        "inputs": draw.normal(T, B, m),
        "targets": draw.normal(T, B, o),
        "states": draw.normal(T, B, n),
        "u": draw.normal(B, m),
        "y": draw.normal(B, o),
        **{name: draw.normal(B, n) for name in ("s", "c", "h0")},
        "reset": flags(draw, T, B),
        "mask": ~flags(draw, T, B),
        "W": draw.normal(n, n) / n**0.5,
        "U": draw.normal(n, m) / m**0.5,
        "b": draw.normal(n, scale=0.5),
        "V": draw.normal(o, n) / n**0.5,
        "d": draw.normal(o),
        "Pi": draw.uniform(0.5, 2.0, n),
        "Pi_y": draw.uniform(0.5, 2.0, o),
        "Omega": draw.positive_definite(n),
        **descent(draw),
        "carry": ("state", "prediction")[draw.setting % 2],
        "influence": ("implicit", "diag")[draw.setting % 2],
    }


def learn(engine, inputs, targets, h0, W, U, b, V, d, *, top="identity", reset=None, mask=None, **options):
    """What tpc.gradient says of such a cell."""
    (n, m), o = U.shape, len(V)
    net = engine.RecurrentNetwork([engine.RNN(m, n), engine.Dense(n, o, top)])
    params = [{"W": W, "U": U, "b": b}, {"W": V, "b": d}]
    return quiet(engine.tpc.gradient, net, params, inputs, targets, mask, [h0], reset, **options)


def quiet(rule, *arguments, **options):
    """A rule without its warnings: a mistake may let inference diverge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rule(*arguments, **options)


def by_name(g):
    """Gradients W, U, b, V, d."""
    cell, top = g.grads
    return {**cell, "V": top["W"], "d": top["b"]}


@exercise("tPC.7", problem=sequence)
def gradient(engine, inputs, targets, h0, W, U, b, V, d, Pi, beta, inference_steps, step_size):
    """The gradient of tPC, without a history: a dict ``W``, ``U``, ``b``, ``V``, ``d``, summed over steps and batch.

    inputs (T, B, m), targets (T, B, o), carried at the start h0 (B, n). In every step the prediction is
    mu = tanh(c @ W.T + u @ U.T + b), of the state c that is carried; the readout is yhat = s @ V.T + d, the loss
    1/2 |yhat - y|^2. The state s is inferred by ``inference_steps`` steps of descent on F_t from mu, with the
    diagonal precision Pi (n,), and carried on. The gradient is that of F_t/beta at s, with c held constant.
    """
    options = {
        "precision": [Pi, None],
        "beta": beta,
        "inference_steps": inference_steps,
        "step_size": step_size,
    }
    return by_name(learn(engine, inputs, targets, h0, W, U, b, V, d, **options))


def predicted(engine, c, u, W, U, b, form="post"):
    """The prediction (B, n) of a tanh cell, with the cell, its parameters and its tape."""
    cell, p = engine.RNN(U.shape[1], len(W), form=form), {"W": W, "U": U, "b": b}
    after, tape = cell.scan(p, c, u[None])
    return after[0], cell, p, tape


@exercise("tPC.1", problem=sequence)
def errors(engine, s, c, u, W, U, b):
    """The prediction mu = tanh(c @ W.T + u @ U.T + b) (B, n) and the error eps (B, n) of a state s (B, n): a pair.

    c (B, n) is the carried state, u (B, m) the input.
    """
    mu = predicted(engine, c, u, W, U, b)[0]
    step = above(engine, len(W), [(np.eye(len(W)), b, "identity", "post")], None)[2]
    return mu, engine.spc._errors(step.net, step.params, [mu, s], s, step.Pi).eps[1]


@exercise("tPC.3", "tPC.6", problem=sequence)
def original_gradient(engine, s, c, u, y, W, U, b, V, d, Pi, Pi_y):
    """The derivatives of F_t by the parameters at a state s (B, n): a dict ``W``, ``U``, ``b``, ``V``, ``d``, batch sums.

    The original model, in pre form: mu = tanh(c) @ W.T + u @ U.T + b of the carried state c (B, n) and the input
    u (B, m), yhat = tanh(s) @ V.T + d. Pi (n,) is the diagonal precision of the state, Pi_y (o,) that of y (B, o),
    the diagonal of R^-1; beta is 1.
    """
    mu, cell, p, tape = predicted(engine, c, u, W, U, b, "pre")
    step = above(engine, len(W), [(V, d, "tanh", "pre")], [Pi, Pi_y])[2]
    now = engine.spc._errors(step.net, step.params, [mu, s], y, step.Pi)
    top = step.gradients(now)[0]
    swept = cell.sweep(p, tape, None, step.credit(now))
    return {**cell.gradients(p, tape, swept), "V": top["W"], "d": top["b"]}


@exercise("TPR.1", problem=sequence)
def trajectory_step(engine, u, c, y, W, U, b, V, d, Pi, beta, inference_steps, step_size):
    """One step: the prediction mu (B, n), the inferred state s (B, n), and the Jacobian J (B, n, n) of mu by c.

    mu = tanh(c @ W.T + u @ U.T + b) of the carried state c (B, n) and the input u (B, m); the readout is
    yhat = s @ V.T + d, the loss 1/2 |yhat - y|^2. The state s is inferred by ``inference_steps`` steps of descent
    on F_t from mu, with the diagonal precision Pi (n,).
    """
    options = {"inference_steps": inference_steps, "step_size": step_size}
    step = above(engine, len(W), [(V, d, "identity", "post")], [Pi, None], beta, **options)[2]
    mu, cell, p, tape = predicted(engine, c, u, W, U, b)
    return mu, step.infer(mu, y).s, cell.state_jacobian(p, tape)


class Given:
    """In the place of a :class:`minipc.timestep.Timestep`: the inferred states are given."""

    complex = False

    def __init__(self, engine, states):
        self.engine, self.states = engine, iter(states)

    def follower(self, *_):
        """No short way."""

    def infer(self, mu, *_, **__):
        """The next one."""
        self.last, zero = next(self.states), np.zeros(len(mu))
        return self.engine.timestep.Inferred(self.last, None, zero, zero, zero, zero)

    def as_state(self, s):
        """The same."""
        return s

    def credit(self, now):
        """Nobody asks for it."""
        return 0 * self.last


@exercise("TPR.2", problem=sequence)
def influence(engine, inputs, states, h0, W, U, b):
    """The plain influence M_T (B, n, n, n + m + 1) on the last prediction; S = M.

    mu_t = tanh(c @ W.T + u_t @ U.T + b) for inputs (T, B, m), where c is the carried state: first h0 (B, n), then the
    inferred state of the step before, of states (T, B, n). M[b, k, i, j] is the derivative of mu[b, k] by the entry
    (i, j) of Theta = [W U b], through all the past; it is zero at the start.
    """
    (n, m), (T, B) = U.shape, inputs.shape[:2]
    net = engine.RecurrentNetwork([engine.RNN(m, n)])
    params, targets = [{"W": W, "U": U, "b": b}], np.zeros((T, B, n))
    p = engine.recurrent.prepare_sequences(net, params, inputs, targets, None, [h0], None)
    M = engine.influence.Influence(net, params, p.start)
    for path in engine.trajectory.walk(net, params, p, Given(engine, states), "state", T):
        stretch = path.stretch.with_locals(net, params)
        for t in range(T):
            M.step(params, stretch, t)
    return M.own[0].reshape(B, n, n, n + m + 1)


@exercise("TPR.3", problem=sequence)
def gradient_with_influence(engine, inputs, targets, h0, W, U, b, V, d, Pi, beta, inference_steps, step_size):
    """The gradient of tPC-RTRL with the plain influence: a dict ``W``, ``U``, ``b``, ``V``, ``d``, summed over steps and batch.

    As in (tPC.7), but the influence M_t = Mbar_t + J_t M_{t-1} takes the place of Mbar_t; J_t and Mbar_t are taken at
    the carried state.
    """
    options = {
        "precision": [Pi, None],
        "beta": beta,
        "inference_steps": inference_steps,
        "step_size": step_size,
    }
    return by_name(learn(engine, inputs, targets, h0, W, U, b, V, d, influence="exact", **options))


@exercise("TPR.4", problem=sequence)
def trajectory(
    engine, inputs, targets, h0, reset, carry, W, U, b, V, d, Pi, beta, inference_steps, step_size
):
    """The inferred states (T, B, n).

    As in (tPC.7), but ``carry`` says what is carried on: "state", the inferred one, or "prediction". Where ``reset``
    (T, B) is True a sequence begins that step in its h0 again.
    """
    options = {
        "precision": [Pi, None],
        "beta": beta,
        "inference_steps": inference_steps,
        "step_size": step_size,
    }
    return learn(engine, inputs, targets, h0, W, U, b, V, d, reset=reset, carry=carry, **options).states


@exercise("TPR.5", problem=sequence)
def gradient_damped(
    engine, inputs, targets, h0, reset, influence, W, U, b, V, d, Omega, beta, inference_steps, step_size
):
    """The gradient of the cell's parameters with the influence on the inferred state: a dict ``W``, ``U``, ``b``.

    As in (TPR.3), but the precision of the state is a matrix Omega (n, n), and what is carried on from M_t is
    S_t = H_t^-1 Omega M_t, H_t the second derivative of F_t in the state, if ``influence`` is "implicit"; if it is
    "diag", row k of M_t is multiplied by Omega_kk / H_kk. Where ``reset`` (T, B) is True a sequence begins that step
    in its h0 again, and without influence.
    """
    options = {
        "precision": [Omega, None],
        "beta": beta,
        "inference_steps": inference_steps,
        "step_size": step_size,
    }
    g = learn(engine, inputs, targets, h0, W, U, b, V, d, reset=reset, influence=influence, **options)
    return g.grads[0]


class Kept:
    """The implicit influence, kept to be looked at when the rule has run."""

    name = "implicit"

    def __init__(self, engine, precision, options):
        self.engine, self.precision, self.options = engine, precision, options

    def start(self, net, params, h):
        """That of (TPR.6), (TPR.7)."""
        step = self.engine.timestep.Timestep(
            net, params, self.precision, inference="spc", tolerance=None, start="prediction", **self.options
        )
        self.influence = self.engine.tpc.Damped(net, params, h, step, "implicit")
        return self.influence


@exercise("TPR.7", problem=sequence)
def gradient_readout(engine, inputs, targets, h0, reset, W, U, b, V, d, Pi, beta, inference_steps, step_size):
    """The influence S_T (B, n, o, n + 1) of the readout on the last state, and the readout's gradient: S, then ``V``, ``d``.

    As in (TPR.3), but the readout is yhat = tanh(s @ V.T + d), and what its parameters do to the carried states
    counts: R_t = J_t S_{t-1} is their influence on the prediction, S_t = H_t^-1 (Pi R_t - d2F_t/ds dtheta) that on
    the inferred state, S[b, k, i, j] the derivative of s[b, k] by the entry (i, j) of [V d]. Where ``reset`` (T, B) is
    True a sequence begins that step in its h0 again, and without influence.
    """
    options = {"beta": beta, "inference_steps": inference_steps, "step_size": step_size}
    kept, (o, n) = Kept(engine, [Pi, None], options), V.shape
    options = {**options, "precision": [Pi, None], "influence": kept, "top": "tanh"}
    top = learn(engine, inputs, targets, h0, W, U, b, V, d, reset=reset, **options).grads[1]
    S = kept.influence.R
    S = np.concatenate([S[:, :, : o * n].reshape(-1, n, o, n), S[:, :, o * n :, None]], axis=3)
    return S, top["W"], top["b"]


# ---------------------------------------------------------------------- whole rules


def network(draw, blocks, **options):
    """A network with the arguments and options of the rule; precisions of the states are diagonal, beta is 0.3 to 0.8."""
    net = RecurrentNetwork(blocks)
    T, B, c = some_steps(draw), draw.B, net.cells[-1]
    cell = net.blocks[c]
    width = cell.state_size * (2 if cell.complex_state else 1)
    hidden = [block.n_out for block in net.blocks[c + 1 : -1]]
    states = [None] * len(net.blocks)
    for l in net.cells:
        shape = B, net.blocks[l].state_size
        states[l] = draw.normal(*shape) + (1j * draw.normal(*shape) if net.blocks[l].complex_state else 0)
    hidden = [cell.n_out] * cell.complex_state + hidden  # the output of an LRU is a state, too
    return {
        "net": net,
        "params": draw.params(net),
        "inputs": draw.normal(T, B, *net.shapes[0]),
        "targets": draw.normal(T, B, *net.shapes[-1]),
        "mask": ~flags(draw, T, B),
        "h0": [states[l] for l in net.cells],
        "reset": flags(draw, T, B),
        "precision": [draw.uniform(0.5, 2.0, n) for n in (width, *hidden)] + [None],
        **descent(draw),
        **options,
    }


def rule(engine, net, params, inputs, targets, mask, h0, reset, options):
    """What tpc.gradient says."""
    return quiet(engine.tpc.gradient, net, params, inputs, targets, mask, h0, reset, **options)


def damped_stack(draw):
    """A block, a cell and a readout, for the damped influences."""
    n, m, k, o = draw.widths(4)
    blocks = [Dense(m, k, "tanh"), RNN(k, n), Dense(n, o)]
    return network(draw, blocks, influence=("diag", "implicit")[draw.setting % 2])


@exercise("TPR.8", problem=damped_stack)
def gradient_of_stack(
    engine,
    net,
    params,
    inputs,
    targets,
    mask,
    h0,
    reset,
    influence,
    beta,
    inference_steps,
    step_size,
    precision,
):
    """The gradients of tPC-RTRL with a damped influence: a list of dicts, one a block.

    The carried state is the inferred one; ``influence`` is "implicit" or "diag". ``net`` has the blocks Dense (tanh),
    RNN (tanh, post form), Dense (linear), the loss is mse, at the steps where ``mask`` (T, B) is True. ``precision``
    has the diagonal (n,) of the state, then None. The arguments are those of :func:`minipc.tpc.gradient`.
    """
    options = {"beta": beta, "inference_steps": inference_steps, "step_size": step_size}
    options |= {"precision": precision, "influence": influence}
    return rule(engine, net, params, inputs, targets, mask, h0, reset, options).grads


def stack_with_lru(draw):
    """An LRU below a readout, over a cell."""
    n, m, k, o, p = draw.widths(5)
    return network(
        draw, [RNN(m, k), LRU(k, n, p), Dense(p, o, "tanh")], carry="prediction", influence="plain"
    )


@exercise("TPR.9", problem=stack_with_lru)
def gradient_of_envelopes(
    engine,
    net,
    params,
    inputs,
    targets,
    mask,
    h0,
    reset,
    influence,
    carry,
    beta,
    inference_steps,
    step_size,
    precision,
):
    """The gradients of tPC-RTRL with the plain influence where the predictions are carried on: a list of dicts, one a block.

    ``net`` has the blocks RNN (tanh), LRU, Dense (tanh), the loss is mse, at the steps where ``mask`` (T, B) is
    True. ``influence`` is "plain", ``carry`` is "prediction", ``precision`` has the diagonal of the state, Re, Im, Re, Im,
    ..., then that of the LRU's output, then None. The arguments are those of :func:`minipc.tpc.gradient`.
    """
    options = {"beta": beta, "inference_steps": inference_steps, "step_size": step_size}
    options |= {"precision": precision, "influence": influence, "carry": carry}
    return rule(engine, net, params, inputs, targets, mask, h0, reset, options).grads


def deep_readout(draw):
    """A cell and a readout with a hidden state, for fixed predictions."""
    n, m, k, o = draw.widths(4)
    blocks = [RNN(m, n), Dense(n, k, "tanh"), Dense(k, o)]
    return network(draw, blocks, carry="prediction", influence="plain", inference="fixed")


class Blocks:
    """The plain influence, carried on every two steps."""

    name = "hybrid"

    def __init__(self, engine):
        self.start = lambda net, params, h: engine.influence.Hybrid(net, params, h, 2)


@exercise("TPR.10", problem=deep_readout)
def gradient_fixed(
    engine, net, params, inputs, targets, mask, h0, reset, influence, carry, inference, beta, precision
):
    """The states (T, B, n) inferred with fixed predictions, and the gradients, a list of dicts, one a block: a pair.

    ``net`` has the blocks RNN (tanh, post form), Dense (tanh), Dense (linear), the loss is mse, at the steps where
    ``mask`` (T, B) is True. ``influence`` is "plain", ``carry`` "prediction", ``inference`` "fixed"; ``precision`` has the
    diagonals of the state and of the hidden state, then None. The arguments are those of :func:`minipc.tpc.gradient`.
    """
    options = {"beta": beta, "precision": precision, "carry": carry, "inference": inference}
    options |= {"influence": Blocks(engine)}
    g = rule(engine, net, params, inputs, targets, mask, h0, reset, options)
    return g.states, g.grads


def nonlinear_readout(draw):
    """A cell and a tanh readout."""
    n, m, o = draw.widths(3)
    return network(draw, [RNN(m, n), Dense(n, o, "tanh")])


@exercise("TPR.13", problem=nonlinear_readout)
def certificate(
    engine, net, params, inputs, targets, mask, h0, reset, beta, inference_steps, step_size, precision
):
    """The bounds delta (T, B) and gradient (T, B), and the sum of the latter (B,): three arrays.

    ``net`` has the blocks RNN (tanh, post form), Dense (tanh), the loss is mse, at the steps where ``mask`` (T, B) is
    True. ``precision`` has the diagonal of the state, then None. The influences have columns for the parameters of
    the cell and, last, for those of the readout. The arguments are those of :func:`minipc.tpc.certificate`.
    """
    options = {
        "beta": beta,
        "inference_steps": inference_steps,
        "step_size": step_size,
        "precision": precision,
    }
    return tuple(quiet(engine.tpc.certificate, net, params, inputs, targets, mask, h0, reset, **options))
