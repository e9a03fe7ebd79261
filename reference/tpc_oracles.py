"""Autograd oracles of temporal predictive coding: the energy of a step, its minimum by Newton, and what follows it.

The energy is written from the equations; every derivative, in states and in parameters, is autograd's. The exact
gradient of the sum of equilibrated energies needs the derivative of the minimum s*(theta): here it is that of one
more Newton step from s* with a constant H, s* - H^{-1} dF/ds(s*; theta), whose value is s* (the gradient is zero
there) and whose derivative is -H^{-1} d2F/(ds dtheta), the implicit function theorem. ``along`` finds the same
number without any of it: complex parameters, and Newton until the complex equilibrium.

========  ======================================================================  =============================
id        equation                                                                function
========  ======================================================================  =============================
(tPC.1)   mu_t = f(c_{t-1}, u_t; theta), eps_t = s_t - mu_t                        trajectory
(tPC.2)   F_t = 1/2 eps^T Pi eps + 1/2 sum_l eps_l^T Pi_l eps_l + beta L_t         energy
(tPC.4)   dF_t/ds                                                                 slope
(tPC.7)   gradient of (1/beta) sum F_t*, the states carried held constant         stop_gradient
(tPC.8)   where nothing is observed, beta L_t = 0 and s_t = mu_t                   trajectory
(TPR.1)   s_t = argmin F_t                                                        minimum, trajectory
(TPR.2)   M_t = dmu_t/dtheta = Mbar_t + J_t S_{t-1}                               recursion, sensitivity
(TPR.3)   g = -(1/beta) sum M_t^T Pi eps_t, and the local gradient above          recursion
(TPR.4)   c_t = s_t ("state") or mu_t ("prediction")                              trajectory
(TPR.5)   S_t from M_t: none, plain, implicit, diag                               trajectory, recursion
(TPR.6)   H_t, second derivative in all free states; Damp_t = [H^{-1}]_ss Pi      curvature, damping
(TPR.7)   S_t of the parameters above the state                                   sensitivity
(TPR.8)   d/dtheta (1/beta) sum F_t*                                              gradient, along
(TPR.9)   F_t*(mu) = min_s F_t: the Moreau envelope                               gradient, carry "prediction"
========  ======================================================================  =============================

Conventions as in ``temporal_oracles``, and:

free       the states that are free in a step, in one array (B, n): s (B, N), then the outputs of the blocks above
           the last cell, but for the output of the network. An LRU's state is [Re; Im], its output Re(C h) + D u
           the output of a block; an LSTM's state is [h; c], read out at h
precision  None, or the precision of s, then of the output of every block above the last cell; at least two
           entries, the last one of the squared error
beta       multiplies the loss of the output alone

Only the last cell's state is inferred: the cells and blocks below it run free.
"""

from itertools import pairwise
from typing import NamedTuple

import autograd.numpy as anp
import numpy as np
from autograd import grad, make_vjp

from .autograd_oracles import loss_value, quadratic
from .temporal_oracles import apply, immediate_jacobian, is_cell, output, returned, starts, state_jacobian


def last_cell(blocks):
    """The index of the cell whose state is inferred."""
    return max(l for l, block in enumerate(blocks) if is_cell(block))


def chain(blocks, params):
    """The functions f(s, u) above the state, one after the other; u is the input of the cell, which an LRU's output sees."""
    c = last_cell(blocks)
    above = [
        lambda s, u, block=block, p=p: apply(block, p, None, s)[1]
        for block, p in zip(blocks[c + 1 :], params[c + 1 :], strict=True)
    ]
    read = lambda s, u: output(blocks[c], params[c], s, u)  # noqa: E731
    if blocks[c]["kind"] == "lru":
        return [read, *above]
    if not above:
        return [read]
    first = above[0]
    return [lambda s, u: first(read(s, u), u), *above[1:]]


def widths(blocks, params, N, u):
    """How many numbers each free state has: N, and the widths of the outputs but the last."""
    s, found = np.zeros((len(u), N)), [N]
    for f in chain(blocks, params)[:-1]:
        s = f(s, u)
        found.append(s.shape[1])
    return found


def parts(free, sizes):
    """The free states (B, n) as a list of arrays, one a layer."""
    ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return [free[:, a:b] for a, b in pairwise(ends)]


def energy(blocks, params, mu, free, u, y, loss_name, counts=None, beta=1.0, precision=None):
    """F_t (B,), (tPC.2)."""
    fs = chain(blocks, params)
    Pi = [None] * (1 + len(fs)) if precision is None else precision
    s = parts(free, widths(blocks, params, mu.shape[1], u))
    F = quadratic(s[0] - mu, Pi[0])  # (tPC.2): (tPC.1) in the brackets
    for l, f in enumerate(fs[:-1], start=1):
        F = F + quadratic(s[l] - f(s[l - 1], u), Pi[l])  # (tPC.2): hidden states of the readout
    L = loss_value(loss_name, fs[-1](s[-1], u), y, Pi[-1])
    L = L if counts is None else L * counts  # (tPC.8)
    return F + beta * L  # (tPC.2): beta on the loss of the output only


def slope(F, free):
    """dF/d(free) (B, n) of F(free) (B,), (tPC.4); of a holomorphic F at complex numbers its complex derivative."""
    return grad(lambda z: anp.real(anp.sum(F(z))))(free)


def curvature(F, free):
    """d2F/d(free)2 (B, n, n) of each sample, (TPR.6): every sample n times over, each copy in one direction."""
    B, n = free.shape
    directions = np.tile(np.eye(n), (B, 1))
    copies = np.repeat(free, n, axis=0)
    found = grad(lambda z: anp.sum(slope(lambda v: F(v, n), z) * directions))(copies)
    return found.reshape(B, n, n)


def minimum(F, free, steps=200):
    """(free* (B, n), H^{-1} (B, n, n)): the minimum of F(free) (B,) that Newton's method goes to, downhill, (TPR.1).

    ``F(free, copies)`` is the same for so many copies of every sample, one after the other.
    Where a step does not lower the energy, or H is not positive definite, H is raised by a multiple of the identity.
    """
    shift, n = np.zeros(len(free)), free.shape[1]
    for _ in range(steps):
        g, H, before = slope(F, free), curvature(F, free), F(free)
        if np.abs(g).max() < 1e-9:
            break
        while True:
            raised = H + shift[:, None, None] * np.eye(n)
            low = np.linalg.eigvalsh(raised)[:, 0] <= 1e-3
            trial = (
                free - np.linalg.solve(raised + 1e3 * low[:, None, None] * np.eye(n), g[:, :, None])[:, :, 0]
            )
            bad = low | ~(F(trial) <= before + 1e-12 * (1 + np.abs(before)))
            if not bad.any():
                break
            shift = np.where(bad, 4 * shift + 0.1, shift)
        free, shift = trial, np.where(shift < 0.05, 0.0, shift / 8)
    inverse = np.linalg.inv(curvature(F, free))
    for _ in range(3):  # to rounding
        free = free - np.einsum("bij,bj->bi", inverse, slope(F, free))
    inverse = np.linalg.inv(curvature(F, free))
    if np.linalg.eigvalsh(inverse).min() <= 0 or np.abs(slope(F, free)).max() > 1e-11 * (
        1 + np.abs(free).max()
    ):
        raise ValueError("no minimum was found: the problem is too hard for an oracle")
    return free, inverse


class Step(NamedTuple):
    """One step of a trajectory."""

    before: list  # the states carried into it, one a block
    mu: np.ndarray  # (B, N)
    u: np.ndarray  # (B, m), the input of the last cell
    free: np.ndarray  # (B, n)
    inverse: np.ndarray  # H^{-1} (B, n, n), constant
    energy: np.ndarray  # F_t (B,)
    F: object  # the function of the free states


def trajectory(
    blocks,
    params,
    inputs,
    targets,
    loss_name,
    mask=None,
    h0=None,
    reset=None,
    *,
    carry="state",
    beta=1.0,
    precision=None,
    found=None,
    held=None,
    near=None,
    polish=1,
    influence="implicit",
):
    """List over t of :class:`Step`: inferred states, and the state that goes on, (TPR.1), (TPR.4).

    found    the trajectory at these parameters: then the parameters may be autograd's, or complex, and the
             derivative of every minimum is that of ``polish`` Newton steps from it
    held     a trajectory whose carried states are taken as constants (tPC.7)
    near     (T, B, N) states: the search for the minimum begins there, and not at the prediction
    influence  how the inferred state is taken to follow its prediction: "implicit" as it does; "plain" one to one;
             "diag" by the diagonal of Damp; the values are the same
    """
    c, B = last_cell(blocks), inputs.shape[1]
    start = starts(blocks, params, h0, B)
    before, steps = start, []
    for t, x in enumerate(inputs):
        if held is not None and t:
            before = held[t].before
        if reset is not None:
            before = [returned(reset[t], s, h) for s, h in zip(start, before, strict=True)]
        states = list(before)
        for l in range(c):
            states[l], x = apply(blocks[l], params[l], before[l], x)
        mu = apply(blocks[c], params[c], before[c], x)[0]  # (tPC.1)
        counts = None if mask is None else mask[t]

        def F(free, copies=1, mu=mu, x=x, y=targets[t], counts=counts):
            if copies > 1:  # every lane so many times over
                mu, x, y = (np.repeat(v, copies, axis=0) for v in (mu, x, y))
                counts = None if counts is None else np.repeat(counts, copies)
            return energy(blocks, params, mu, free, x, y, loss_name, counts, beta, precision)

        if influence is None:
            raise ValueError("without an influence the carried states are held: stop_gradient")
        if found is None:
            free, inverse = minimum(F, _ahead(blocks, params, mu if near is None else near[t], x))  # (TPR.1)
        else:
            free, inverse = found[t].free + 0 * _like(mu), found[t].inverse
            for _ in range(polish):
                free = free - anp.einsum("bij,bj->bi", inverse, slope(F, free))
        steps.append(Step(before, mu, x, free, inverse, F(free), F))
        states[c] = free[:, : mu.shape[1]] if carry == "state" else mu  # (TPR.4)
        if carry == "state" and found is not None and influence != "implicit":  # (TPR.5)
            follows = 1.0 if influence == "plain" else diagonal(blocks[c], found[t], precision)
            states[c] = found[t].free[:, : mu.shape[1]] + follows * (mu - found[t].mu)
        before = states
    return steps


def _like(mu):
    """A zero of the kind of mu: complex if that is."""
    return 0j if np.iscomplexobj(getattr(mu, "_value", mu)) else 0.0


def _ahead(blocks, params, s, u):
    """The free states with no error above the state s (B, N)."""
    found = [s]
    for f in chain(blocks, params)[:-1]:
        found.append(f(found[-1], u))
    return np.concatenate(found, axis=1)


def _total(steps, beta):
    return anp.sum(anp.stack([step.energy for step in steps])) / beta


def gradient(blocks, params, *data, beta=1.0, found=None, **options):
    """Structure of params: d/dtheta (1/beta) sum F_t* (TPR.8); with carry "prediction" of the Moreau envelopes (TPR.9).

    ``influence`` "plain" or "diag" is the rule of (TPR.3) with that S_t, which is the gradient of nothing.
    """
    found = trajectory(blocks, params, *data, beta=beta, **options) if found is None else found
    options.pop("near", None)
    return grad(lambda p: _total(trajectory(blocks, p, *data, beta=beta, found=found, **options), beta))(
        params
    )


def stop_gradient(blocks, params, *data, beta=1.0, found=None, **options):
    """Structure of params: the same with the carried states of all cells held constant, (tPC.7)."""
    found = trajectory(blocks, params, *data, beta=beta, **options) if found is None else found
    options.pop("near", None)

    def total(p):
        return _total(trajectory(blocks, p, *data, beta=beta, found=found, held=found, **options), beta)

    return grad(total)(params)


def along(blocks, params, direction, *data, beta=1.0, found=None, **options):
    """The derivative of (1/beta) sum F_t* in a direction (structure of params), by complex step, (TPR.8).

    The parameters are theta + i h direction; Newton finds the complex equilibrium of every step. No implicit
    function theorem, no envelope theorem, no derivative in a parameter.
    """
    found = trajectory(blocks, params, *data, beta=beta, **options) if found is None else found
    options.pop("near", None)
    h = 1e-30
    moved = [{k: p[k] + 1j * h * d[k] for k in p} for p, d in zip(params, direction, strict=True)]
    steps = trajectory(blocks, moved, *data, beta=beta, found=found, polish=3, **options)
    return float(np.imag(_total(steps, beta)) / h)


def sensitivity(blocks, params, *data, found=None, at=None, **options):
    """ds_t/dtheta, a list over the blocks of dicts of (len(at), B, N, ...), (TPR.6), (TPR.7); ``at``: which steps, None all."""
    found = trajectory(blocks, params, *data, **options) if found is None else found
    options.pop("near", None)
    N, at = found[0].mu.shape[1], range(len(found)) if at is None else at

    def states(theta):
        steps = trajectory(blocks, theta, *data, found=found, **options)
        return anp.stack([steps[t].free[:, :N] for t in at])

    pull, values = make_vjp(states)(params)
    derivatives = [{k: np.zeros((*values.shape, *v.shape)) for k, v in p.items()} for p in params]
    for index in np.ndindex(values.shape):
        one = np.zeros(values.shape)
        one[index] = 1.0
        for rows, row in zip(derivatives, pull(one), strict=True):
            for name, value in row.items():
                rows[name][index] = value
    return derivatives


def full(Pi, n):
    """A precision as a matrix (n, n)."""
    Pi = 1.0 if Pi is None else Pi
    return np.asarray(Pi) if np.ndim(Pi) == 2 else Pi * np.eye(n)


def damping(step, precision=None):
    """Damp_t (B, N, N) = [H^{-1}]_ss Pi at the inferred state, (TPR.6)."""
    N = step.mu.shape[1]
    return step.inverse[:, :N, :N] @ full(None if precision is None else precision[0], N)


def diagonal(block, step, precision=None):
    """diag Pi / diag H (B, N) at the inferred state, the hidden states above it eliminated, (TPR.5).

    The units of an LRU keep one number for Re and Im, of the sums of both.
    """
    N = step.mu.shape[1]
    Pi = np.diag(full(None if precision is None else precision[0], N))
    H = np.stack([np.diag(np.linalg.inv(one[:N, :N])) for one in step.inverse])
    if block["kind"] == "lru":
        Pi, H = Pi[: N // 2] + Pi[N // 2 :], H[:, : N // 2] + H[:, N // 2 :]
        return np.concatenate([Pi / H, Pi / H], axis=1)
    return Pi / H


def recursion(blocks, params, found, influence, *, beta=1.0, precision=None, reset=None):
    """(gradient of the cell by (TPR.3), [S_1, ..., S_T]) by the recursion of (TPR.2), (TPR.5), of one cell that comes first.

    J, Mbar and H are autograd's; S_t is a dict of (B, N, ...). The gradient is a dict.
    """
    c = last_cell(blocks)
    if c:
        raise ValueError("the recursion is of one cell without blocks below it")
    (block, p), N = (blocks[c], params[c]), found[0].mu.shape[1]
    Pi = full(None if precision is None else precision[0], N)
    S, total, influences = None, dict.fromkeys(p, 0.0), []
    for t, step in enumerate(found):
        h = step.before[c]
        M = immediate_jacobian(block, p, h, step.u)
        if S is not None and influence is not None:
            J = state_jacobian(block, p, h, step.u)
            if reset is not None:
                J = np.where(reset[t][:, None, None], 0.0, J)
            M = {name: M[name] + np.einsum("bkm,bm...->bk...", J, S[name]) for name in M}  # (TPR.2)
        q = (step.mu - step.free[:, :N]) @ Pi / beta
        total = {name: total[name] + np.einsum("bk,bk...->...", q, M[name]) for name in M}  # (TPR.3)
        if influence == "implicit":
            D = damping(step, precision)  # (TPR.6)
        elif influence == "diag":
            D = np.stack([np.diag(one) for one in diagonal(block, step, precision)])  # (TPR.5)
        else:
            D = np.broadcast_to(np.eye(N), (len(h), N, N))
        S = {name: np.einsum("bkm,bm...->bk...", D, M[name]) for name in M}  # (TPR.5)
        influences.append(S)
    return total, influences
