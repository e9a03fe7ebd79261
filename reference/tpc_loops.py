"""tPC, tPC-RTRL and filtering as one loop over lanes and steps, every derivative by autograd.

One lane at a time, all parameters in one vector, all states in one vector: no Jacobian, no second derivative and no
split into cells, readout and parameters below is derived by hand, so a mistake in one cannot hide here.

=========  ========================================================================  =====================
id         equation                                                                  function
=========  ========================================================================  =====================
(tPC.1)    mu_t = f(c_{t-1}, u_t; theta), eps_t = s_t - mu_t                         Lane.predict
(tPC.2)    F_t/beta: errors of the state and of the hidden readout states, and L_t   Lane.energy
(tPC.4)    s <- s - lam dF_t/ds, N steps                                             Lane.infer
(tPC.5)    from mu_t, or from the carried state                                      Lane.infer
(tPC.7)    one step: the prediction before counts as a constant                      gradient, none
(tPC.8)    nothing observed: s_t = mu_t, no error, no update                         gradient
(TPR.2)    M_t = Mbar_t + J_t S_{t-1}, for all cells as one                          gradient
(TPR.3)    g = dF_t/dtheta at fixed s_t, through mu_t by M_t, by itself otherwise    gradient
(TPR.4)    c_t = s_t or mu_t                                                         gradient
(TPR.5)    S_t: zero, M_t, Damp_t M_t, or by the diagonals of Pi and H               gradient
(TPR.6)    ds_t = -H^{-1} d2F/ds dmu M_t, H of all free states                       gradient
(TPR.7)    and -H^{-1} d2F/ds dtheta                                                 gradient
(TPR.10)   fixed predictions: Pi eps_t = -beta q_t                                   Lane.infer
(TPR.13)   delta_t = |Damp_t J_t| delta_{t-1} + |S^plain - S^impl of M_t|, for "plain"  gradient
(KAL.1)    K = Q C^T Omega^{-1}, s = mu + K v, Q as it is (pinned)                   kalman_filter
(KAL.4)    Sig^- = A Sig A^T + Q, Sig = (I - K C) Sig^-                              kalman_filter
=========  ========================================================================  =====================

Conventions of ``temporal_oracles``: problems are :class:`reference.temporal_problems.Sequence`, states are real, an
LRU has [Re; Im]. ``precision``: None, or one entry for the state, then one for every block above the last cell
(an LRU's own output counts as such a block), each None, a number, a diagonal or a matrix.
"""

from typing import NamedTuple

import autograd.numpy as anp
import numpy as np
from autograd import grad, jacobian
from autograd.misc.flatten import flatten

from . import temporal_oracles as time_ad
from .autograd_oracles import loss_value, quadratic


def full(Pi, n):
    """A precision as a matrix (n, n)."""
    if Pi is None:
        return np.eye(n)
    return np.asarray(Pi) if np.ndim(Pi) == 2 else np.eye(n) * Pi


def derivative(function, *values):
    """Jacobians of a function of vectors in each of them; the terms of zero are for constant functions."""
    nought = lambda *v: function(*v) + 0.0 * sum(anp.sum(x) for x in v)  # noqa: E731
    return [jacobian(nought, i)(*values) for i in range(len(values))]


class Lane:
    """One lane of a problem, with its energy: theta, states before (all cells), context and free states are vectors.

    The context is what a step gives to the energy: states of all cells, with mu_t of the last one at the end of
    them, then the input of the last cell. The free states are s_t, then the hidden readout states.
    """

    def __init__(self, problem, b, beta, precision):
        self.blocks, self.loss, self.beta, self.b = problem.blocks, problem.loss, beta, b
        self.theta, self.params = flatten(problem.params)
        self.problem = problem
        self.cells = [l for l, block in enumerate(problem.blocks) if time_ad.is_cell(block)]
        self.c = self.cells[-1]
        widths = [time_ad.state_width(problem.blocks[l], problem.params[l]) for l in self.cells]
        self.ends, self.n = np.cumsum(widths), widths[-1]
        self.above = list(range(self.c + 1, len(problem.blocks)))
        self.lru = problem.blocks[self.c]["kind"] == "lru"
        self.outside = precision

    def start(self, theta):
        """The initial states of all cells, of parameters that may hold them."""
        h0 = None if self.problem.h0 is None else [h[self.b : self.b + 1] for h in self.problem.h0]
        states = time_ad.starts(self.blocks, self.params(theta), h0, 1)
        return anp.concatenate([states[l][0] for l in self.cells])

    def predict(self, theta, before, u):
        """The context (tPC.1)."""
        params, at, out, v = self.params(theta), 0, [], u[None]
        for l in range(self.c + 1):
            h = None
            if l in self.cells:
                width = time_ad.state_width(self.blocks[l], params[l])
                h, at = before[None, at : at + width], at + width
            below = v
            h, v = time_ad.apply(self.blocks[l], params[l], h, below)
            out += [] if h is None else [h[0]]
        # an embedding's symbol is no vector
        return anp.concatenate([*out, below[0]] if self.c else out)

    def functions(self, theta, context, u):
        """One function for every block above the state, of a row to a row; an LRU's own output is the first."""
        params = self.params(theta)
        v = context[None, self.ends[-1] :] if self.c else u[None]
        cell = self.blocks[self.c]
        look = lambda s: time_ad.output(cell, params[self.c], s, v)  # noqa: E731
        rest = [lambda s, l=l: time_ad.apply(self.blocks[l], params[l], None, s)[1] for l in self.above]
        if self.lru:
            return [look, *rest]
        if not rest:
            return [look]
        return [lambda s: rest[0](look(s)), *rest[1:]]

    def forward(self, theta, context, u):
        """The free states of a forward pass, a list of rows, and the output (1, o)."""
        *hidden, last = self.functions(theta, context, u)
        s = [context[None, self.ends[-1] - self.n : self.ends[-1]]]
        for f in hidden:
            s.append(f(s[-1]))
        return s, last(s[-1])

    def precisions(self, widths):
        """Of the free states, as matrices, divided by beta; and that of the output."""
        given = [None] * (len(widths) + 1) if self.outside is None else self.outside
        return [full(Pi, n) / self.beta for Pi, n in zip(given[:-1], widths, strict=True)], given[-1]

    def energy(self, theta, free, context, u, y):
        """F_t/beta (tPC.2)."""
        *hidden, last = self.functions(theta, context, u)
        widths = [len(v[0]) for v in self.forward(theta, context, u)[0]]
        Pi, output = self.precisions(widths)
        mu, at, total = context[None, self.ends[-1] - self.n : self.ends[-1]], 0, 0.0
        for l, n in enumerate(widths):
            s, at = free[None, at : at + n], at + n
            total = total + quadratic(s - mu, Pi[l])[0]
            mu = hidden[l](s) if l < len(hidden) else last(s)
        return total + loss_value(self.loss, mu, y[None], output)[0]

    def infer(self, theta, context, u, y, inference, steps, step_size, previous=None):
        """The free states after inference from the prediction (tPC.4); "fixed": of (TPR.10); "newton": ends at rest.

        ``previous`` is the context of the carried state, where inference starts from there (tPC.5).
        """
        rows, _ = self.forward(theta, context, u)
        widths, mu = [len(v[0]) for v in rows], np.concatenate([v[0] for v in rows])
        rate = step_size * self.beta
        if inference in ("spc", "newton"):
            s, slope = mu, grad(self.energy, 1)
            if previous is not None:
                s = np.concatenate([v[0] for v in self.forward(theta, previous, u)[0]])
            for _ in range(steps):
                s = s - rate * slope(theta, s, context, u, y)
            for _ in range(6 if inference == "newton" else 0):  # to the equilibrium
                H = jacobian(slope, 1)(theta, s, context, u, y)
                s = s - np.linalg.solve(H, slope(theta, s, context, u, y))
            return s
        *hidden, last = self.functions(theta, context, u)
        if inference == "epc":

            def states(e):
                parts, s = np.split(np.arange(len(mu)), np.cumsum(widths)[:-1]), []
                for l, part in enumerate(parts):
                    s.append((rows[0] if l == 0 else hidden[l - 1](s[-1])) + e[None, part])
                return anp.concatenate([v[0] for v in s])

            e = 0 * mu
            for _ in range(steps):
                e = e - rate * grad(lambda e: self.energy(theta, states(e), context, u, y))(e)
            return states(e)
        if inference == "fixed":
            Pi, output = self.precisions(widths)
            found = []
            for l, row in enumerate(rows):  # credit of the forward pass at every free state

                def loss(v, l=l):
                    for f in [*hidden, last][l:]:
                        v = f(v)
                    return loss_value(self.loss, v, y[None], output)[0]

                found.append(row[0] - np.linalg.solve(Pi[l], grad(loss)(row)[0]))
            return np.concatenate(found)
        raise ValueError(f"unknown inference {inference!r}")


class Found(NamedTuple):
    """What the loop found."""

    grads: list
    loss: np.ndarray  # (B,) of the free predictions
    energy: np.ndarray  # (B,) sum of F_t/beta at the end of inference
    states: np.ndarray  # (T, B, N) inferred
    predictions: np.ndarray  # (T, B, N)
    influence: np.ndarray  # S (T, B, N, P) on the state that is carried, of all parameters
    steps: np.ndarray  # (T, B, P): what every step adds to the gradient
    bounds: np.ndarray  # (T, B, 2): of the certificate, on S and on the step's gradient (TPR.13)


def gradient(
    problem,
    influence=None,
    carry="state",
    inference="spc",
    beta=1.0,
    inference_steps=20,
    step_size=0.1,
    precision=None,
    start="prediction",
    certified=False,
):
    """tPC (influence None) and tPC-RTRL ("plain", "implicit", "diag"), summed over lanes and steps.

    ``certified``: the bounds of (TPR.13) are found, for "plain"; they need second derivatives.
    """
    T, B = problem.inputs.shape[:2]
    loss, energy = np.zeros(B), np.zeros(B)
    inferred, predicted, influences, steps, bounds = [], [], [], [], []
    for b in range(B):
        lane = Lane(problem, b, beta, precision)
        theta, n = lane.theta, lane.n
        initial, S0 = lane.start(theta), derivative(lane.start, theta)[0]
        state, S = initial, S0
        for t in range(T):
            u, y = problem.inputs[t, b], problem.targets[t, b]
            if influence is None:
                S = 0 * S  # (TPR.5)
            if t == 0 or (problem.reset is not None and problem.reset[t, b]):
                state, S, delta = initial, S0, 0.0
            context = lane.predict(theta, state, u)
            Mbar, through = derivative(
                lambda theta, h, u=u, lane=lane: lane.predict(theta, h, u), theta, state
            )
            M = Mbar + through @ S  # (TPR.2), and of the input of the last cell
            end, begin = lane.ends[-1], lane.ends[-1] - n
            s, S, g = context[begin:end], M[:end], 0 * theta
            J, damping, source, q = through[begin:end, -n:], np.eye(n), 0 * theta, np.zeros(n)
            seen = problem.mask is None or problem.mask[t, b]
            if seen:
                steps_of = inference, inference_steps, step_size
                before = np.concatenate([state, context[end:]]) if start == "previous" else None
                free = lane.infer(theta, context, u, y, *steps_of, before)
                at = theta, free, context
                s, F = free[:n], lambda *at, u=u, y=y, lane=lane: lane.energy(*at, u, y)
                if inference == "fixed":  # the errors of (TPR.10) meet the derivatives of the forward pass
                    g = lane_fixed(lane, at, M, u, y)
                else:
                    g = grad(F, 0)(*at) + grad(F, 2)(*at) @ M  # (TPR.3)
                energy[b] += F(*at)
                loss[b] += loss_value(lane.loss, lane.forward(theta, context, u)[1], y[None])[0]
                if carry == "state" and (certified or influence in ("implicit", "diag")):
                    in_theta, H, in_context = derivative(grad(F, 1), *at)
                    moved = -np.linalg.solve(H, in_context @ M + in_theta)[:n]  # (TPR.6), (TPR.7)
                    damping = -np.linalg.solve(H, in_context)[:n, begin:end]
                    source, q = M[begin:end] - moved, grad(F, 2)(*at)[begin:end]
                    if influence == "diag":
                        Pi = -np.diag(in_context[:n, begin:end])
                        own = np.diag(np.linalg.inv(np.linalg.inv(H)[:n, :n]))  # hidden states follow
                        if lane.lru:  # a mode is one complex number: its two entries together
                            Pi, own = (np.tile(v[: n // 2] + v[n // 2 :], 2) for v in (Pi, own))
                        moved = (Pi / own)[:, None] * M[begin:end]  # (TPR.5)
                    if influence != "plain":
                        S = np.concatenate([M[:begin], moved])
            off = np.linalg.norm(q @ J) * delta  # (TPR.13)
            delta = np.linalg.norm(damping @ J, 2) * delta + np.linalg.norm(source)  # (TPR.13)
            bounds.append([delta, off])
            inferred.append(s)
            predicted.append(context[begin:end])
            influences.append(S[begin:])
            steps.append(g)
            state = np.concatenate([context[:begin], s]) if carry == "state" else context[:end]  # (TPR.4)

    def over_time(v):
        v = np.array(v)
        return np.swapaxes(v.reshape(B, T, *v.shape[1:]), 0, 1)

    found = [over_time(v) for v in (inferred, predicted, influences, steps, bounds)]
    return Found(lane.params(found[3].sum(axis=(0, 1))), loss, energy, *found)


def lane_fixed(lane, at, M, u, y):
    """The gradient of the loss of the prediction, of this step alone: -M^T Pi eps/beta with (TPR.10)."""
    theta, _, context = at

    def loss(theta, context):
        return loss_value(lane.loss, lane.forward(theta, context, u)[1], y[None])[0]

    return grad(loss, 0)(theta, context) + grad(loss, 1)(theta, context) @ M


def kalman_filter(A, C, Q, R, driven, observations, observed, mean, covariance, again=None, pinned=False):
    """The textbook filter in gain form, one lane: means (T, n), covariances (T, n, n), (KAL.1), (KAL.4).

    ``driven`` (T, n) is what the inputs add to A s; ``observed`` (T, o) says which channels are seen; ``again`` (T,)
    where the lane goes back to its beginning. ``pinned``: the covariance before an observation is Q, whatever was
    before (KAL.1).
    """
    means, covariances, start = [], [], (mean, covariance)
    again = [False] * len(driven) if again is None else again
    for b, y, seen, back in zip(driven, observations, observed, again, strict=True):
        mean, covariance = start if back else (mean, covariance)
        mean, prior = A @ mean + b, Q if pinned else A @ covariance @ A.T + Q
        rows = C[seen]
        K = prior @ rows.T @ np.linalg.inv(rows @ prior @ rows.T + R[np.ix_(seen, seen)])
        mean = mean + K @ (y[seen] - rows @ mean)
        covariance = (np.eye(len(A)) - K @ rows) @ prior
        means.append(mean)
        covariances.append(covariance)
    return np.array(means), np.array(covariances)
