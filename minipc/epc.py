r"""Error-based predictive coding (ePC): the errors are free, the states follow from them.

The energy is that of sPC in other coordinates, so the equilibria are the same; but here every error
reaches every layer in one step, undiminished. Lists are indexed by the layer; an entry 0 that does not
exist is None.

=========  ==========================================================================================
(ePC.1)    :math:`s_0 = x`, :math:`s_l = f_l(s_{l-1}) + e_l` for :math:`l < L`, :math:`\hat y = f_L(s_{L-1})`
(ePC.2)    :math:`E = \frac12 \sum_{l<L} e_l^\top \Pi_l e_l + \mathcal L(\hat y, y)`
(ePC.3)    :math:`d_L = \xi_L`, :math:`d_l = J_{l+1}^\top d_{l+1}`, without :math:`e` inside the recursion
(ePC.4)    :math:`\partial E/\partial e_l = \Pi_l e_l - d_l`
(ePC.5)    :math:`e_l \leftarrow e_l - \lambda\, \partial E/\partial e_l`, all layers at once, from :math:`e = 0`
(ePC.6)    weights: the local gradient (sPC.6), (sPC.7) at the derived states, with :math:`\varepsilon_l = e_l`
(ePC.15)   Gauss-Newton: :math:`e \leftarrow \Pi^{-1} J^\top (\Pi_L^{-1} + J \Pi^{-1} J^\top)^{-1} (y - \hat y + J e)`
(ePC.17)   relaxed fraction of a mode with eigenvalue :math:`ev` after N steps: :math:`1 - (1 - \lambda\, ev)^N`
(EPS.1)    backtracking: keep the step if the energy falls enough, then lengthen it, else shorten it
(EPS.2)    curvature met by a step: :math:`\langle g - g', g\rangle / (\lambda |g|^2)`
(EPS.3)    power iteration on :math:`v \mapsto \Pi v + J^\top (\partial^2 \mathcal L)\, J v`, one lane a sample
=========  ==========================================================================================

Source: Goemaere, Oliviers, Bogacz & Demeester (2025), arXiv 2505.20137.
"""

import math
from typing import NamedTuple

from . import fast
from .arguments import check_count, prepare, prepare_input, prepare_layers
from .backend import Array, array_module
from .inference import (
    Recorder,
    Recording,
    by_sample,
    check_options,
    check_precision,
    converged,
    dot,
    inner,
    layer_energies,
    local_gradient,
    norm_squared,
    start_loss,
    total_energy,
    warn_if_unsettled,
    weigh,
)
from .network import Gradient, by_layer

POWER_ITERATIONS = 8
SHORTEN, LENGTHEN, LONGEST = 0.3, 1.5, 1.0  # (EPS.1)
SHORT = 0.5  # a step times the curvature: below, nothing can be unstable soon
FALL = 0.45  # (EPS.1): share of lam |g|^2 by which the energy must fall; 1/2 is the best step of a parabola


class Point(NamedTuple):
    """The network at errors ``e``; lists by layer, entry 0 None.

    Attributes
    ----------
    s : list of L, (B, n[l])            derived states
    yhat : (B, n[L])
    eps : list of L + 1, (B, n[l])      e[1..L-1], and minus dLoss/dyhat at Pi[L] = 1 as eps[L]
    xi : list of L + 1, (B, n[l])       weighted, Eq. (sPC.3)
    tape : list of L + 1                what the blocks' derivatives need
    """

    s: list
    yhat: Array
    eps: list
    xi: list
    tape: list


class Inference(NamedTuple):
    """Result of :func:`infer`.

    Attributes
    ----------
    e : list of L                       None, e[1], ..., e[L-1] at the end
    energy, residual : (B,)             at the end; the residual is the norm of dE/de
    steps : int                         steps tried
    regime : (B,)                       relaxed fraction of the fastest mode met, Eq. (ePC.17): 0 nothing
                                        has moved, 1 that mode is at rest, negative it moves away (unstable)
    curvature : (B,)                    largest curvature met, Eq. (EPS.2) or (EPS.3): at most the largest
                                        eigenvalue of the Hessian (averaged along the step)
    step_size : (B,)                    the last step of each sample
    recording : Recording or None
    """

    e: list
    energy: Array
    residual: Array
    steps: int
    regime: Array
    curvature: Array
    step_size: Array
    recording: Recording


def feedforward(net, params, x):
    """Errors e[1..L-1] = 0, the start of inference: the derived states are the feedforward pass, Eq. (ePC.1)."""
    return _zeros(net, params, prepare_input(net, params, x))


def _zeros(net, params, x):
    xp = array_module(x)
    numbers = [v.dtype for p in params for v in p.values()] + ([] if x.dtype.kind in "iu" else [x.dtype])
    dtype = xp.result_type(*numbers)
    orders = ("F" if len(shape) == 1 else "C" for shape in net.shapes[1:-1])  # as the blocks' outputs lie
    return [
        None,
        *(xp.zeros((len(x), *n), dtype, order) for n, order in zip(net.shapes[1:-1], orders, strict=True)),
    ]


def states_from_errors(net, params, e, x):
    """States s[0..L-1] that the errors stand for, Eq. (ePC.1); ``(B, n[l])``."""
    return _point(net, params, *_prepare(net, params, e, x, None, None)).s  # (ePC.1)


def _prepare(net, params, e, x, y, precision):
    """Errors, input, target and precisions, checked and ready to compute with."""
    return prepare_layers(net, params, x, y, "e", e, lambda: check_precision(net, params, precision))


def energy(net, params, e, x, y, precision=None):
    """Energy of each sample, Eq. (ePC.2): ``(B,)``, the same number as sPC's at the derived states.

    Parameters
    ----------
    e : list of L                       None, e[1], ..., e[L-1], each (B, n[l])
    x : (B, n[0])
    y : (B, n[L]), or None              None leaves the output unclamped, without a loss term
    precision : list of L, or None      Pi[1..L]: None, a number, (n[l],) or SPD (n[l], n[l]); None means one

    Notes
    -----
    Cost: one forward pass, O(B P).
    """
    e, x, y, Pi = _prepare(net, params, e, x, y, precision)
    return total_energy(net, _point(net, params, e, x, y, Pi), y)  # (ePC.2)


def error_gradient(net, params, e, x, y, precision=None):
    """dE/de[l] of the layers l = 1..L-1, Eqs. (ePC.3), (ePC.4); a list of ``(B, n[l])``, entry 0 is None."""
    return _error_gradient(net, params, _point(net, params, *_prepare(net, params, e, x, y, precision)))


def weight_gradient(net, params, e, x, y, precision=None):
    """Local dE/dW, dE/db summed over the batch, Eq. (ePC.6); the structure of ``params``.

    DANGER: the derivative of E(e, W) at fixed *errors* is another thing, backprop through the perturbed
    network (ePC.10). Here the derived *states* are held fixed, which makes the rule local.
    """
    at = _point(net, params, *_prepare(net, params, e, x, y, precision))
    return local_gradient(net, params, at)  # (ePC.6)


def _point(net, params, e, x, y, Pi, first=None):
    L, f, theta = len(net.blocks), by_layer(net.blocks), by_layer(params)
    s, eps, tape = [x], [None], [None]
    for l in range(1, L + 1):
        mu, t = first if first and l == 1 else f[l].forward(theta[l], s[l - 1])
        if l < L:
            eps.append(e[l])
            s.append(mu + e[l])  # (ePC.1)
        else:
            eps.append(0 * mu if y is None else net.loss.error(mu, y))
        tape.append(t)
    xi = [None, *(weigh(Pi[l], eps[l]) for l in range(1, L + 1))]
    return Point(s, mu, eps, xi, tape)


def _error_gradient(net, params, at):
    L, f, theta = len(net.blocks), by_layer(net.blocks), by_layer(params)
    d, gradient = at.xi[L], [None] * L  # (ePC.3)
    for l in range(L - 1, 0, -1):
        d, _ = f[l + 1].vjp(theta[l + 1], at.tape[l + 1], d, params=False)  # (ePC.3)
        gradient[l] = at.xi[l] - d  # (ePC.4)
    return gradient


def infer(
    net,
    params,
    e,
    x,
    y,
    precision=None,
    *,
    inference_steps,
    step_size="adaptive",
    tolerance=None,
    record_every=0,
) -> Inference:
    """Relax the errors by gradient descent on the energy, Eq. (ePC.5).

    Parameters
    ----------
    e : list of L                   the start, e.g. :func:`feedforward`; not modified
    x, y, precision                 as in :func:`energy`
    inference_steps : int           number N of steps, at least 0; adaptive steps that are taken back count
    step_size : float or str
        a number            the same fixed step for every sample; stable below 2 / (largest eigenvalue of H_e),
                            Eq. (ePC.13), which grows during training
        "power"             1 / (largest eigenvalue), per sample, by power iteration at the start, Eq. (EPS.3)
        "adaptive"          backtracking, per sample, Eq. (EPS.1): the energy of no sample ever rises
    tolerance : float, optional     stop when every sample's residual is below it
    record_every : int              take a snapshot before every so many steps and at the end (0: never)

    Warns
    -----
    InferenceWarning                a sample's energy rose above its start, or missed the tolerance

    Notes
    -----
    Cost: O(N B P) time. All layers move from the same old errors (Jacobi).
    """
    check_options(inference_steps, step_size, tolerance, record_every, words=("adaptive", "power"))
    e, x, y, Pi = _prepare(net, params, e, x, y, precision)
    return _infer(net, params, e, x, y, Pi, inference_steps, step_size, tolerance, record_every)[0]


def _infer(net, params, e, x, y, Pi, inference_steps, step_size, tolerance, record_every):
    """:func:`infer` on checked arguments; also returns the point at the end and the loss at the start."""
    first = net.blocks[0].forward(params[0], x)  # x is clamped: its prediction never changes
    at = _point(net, params, e, x, y, Pi, first)
    loss = start_loss(net, params, x, at, y)
    run, at, start = relax(
        net, params, e, x, y, Pi, first, at, inference_steps, step_size, tolerance, record_every
    )
    warn_if_unsettled("ePC", start, run.energy, run.residual, step_size, tolerance)
    return run, at, loss


def relax(net, params, e, x, y, Pi, first, at, inference_steps, step_size, tolerance, record_every):
    """The steps of (ePC.5) from the point ``at`` of the errors ``e``: the inference, the point at the end, and the
    energy at the start. ``first`` is the forward pass of block 1."""
    terms = layer_energies(net, at, y)
    start, record = sum(terms), Recorder(net, y, record_every)
    descend = _adaptive_steps if step_size == "adaptive" else _fixed_steps
    run = descend(net, params, e, x, y, Pi, first, at, terms, inference_steps, step_size, tolerance, record)
    e, at, gradient, energy, steps, left, curvature, lam = run
    record(steps, at.s, at, last=True)
    residual = norm_squared(gradient, energy) ** 0.5
    return Inference(e, energy, residual, steps, 1 - left, curvature, lam, record.result()), at, start


def _fixed_steps(net, params, e, x, y, Pi, first, at, terms, inference_steps, step_size, tolerance, record):
    """The steps of (ePC.5), all of one size.

    The curvature is looked at in every step; by the fast form in the first one, and in all for samples for which that
    was not short.
    """
    xp, gradient, scale = array_module(x), None, _scale(terms)
    like = scale
    if step_size == "power":
        start = _error_gradient(net, params, at)
        curvature = _largest_eigenvalue(net, params, at, start, Pi, POWER_ITERATIONS)
        lam = 1 / curvature
    else:
        curvature, lam = xp.zeros_like(like), xp.full_like(like, float(step_size))

    def met(g, after, step):
        """The largest curvature so far and along this step, between these two gradients."""
        nonlocal scale
        fall, slope = norm_squared(g, like).real, dot(g, after, like).real
        scale = scale + fall if step == 0 else scale
        return xp.maximum(curvature, _curvature_met(fall, slope, lam, scale))

    if fast.applies(net, params, [x, *e[1:]], y, Pi, record.every, tolerance):  # the same, with less work
        size = lam if step_size == "power" else float(step_size)
        watch, watched = step_size == "power", xp.ones_like(like, dtype=bool)
        descent = fast.ErrorDescent(net, params, e, y, at, first, size)
        for step in range(inference_steps):
            before, gradient = gradient, descent.step(look=step < 2 or watch)
            if step == 1:
                curvature = met(before, gradient, 0)
                if not watch:
                    watched = lam * curvature > SHORT  # sample by sample: they do not interact
                    watch = bool(watched.any())  # one synchronisation
            elif watch and step:
                curvature = xp.where(watched, met(before, gradient, step - 1), curvature)
        e, step, before = descent.errors(), int(inference_steps), gradient
        at = _point(net, params, e, x, y, Pi, first)
        gradient = _error_gradient(net, params, at)
        if step == 1 or (watch and step):
            curvature = xp.where(watched, met(before, gradient, step - 1), curvature)
    else:
        gradient = _error_gradient(net, params, at)
        for step in range(inference_steps):
            record(step, at.s, at)
            if converged(gradient, like, tolerance, step):
                break
            # every gradient is from the old e: a simultaneous (Jacobi) update
            moves = zip(e[1:], gradient[1:], strict=True)
            e = [None, *(v - by_sample(lam, g) * g for v, g in moves)]  # (ePC.5)
            at = _point(net, params, e, x, y, Pi, first)
            before, gradient = gradient, _error_gradient(net, params, at)
            curvature = met(before, gradient, step)
        else:
            step = int(inference_steps)
    ceiling = float(xp.finfo(curvature.dtype).max) ** (0.5 / max(step, 1))  # no overflow
    left = xp.minimum(abs(1 - lam * curvature), ceiling) ** step  # (ePC.17)
    return e, at, gradient, total_energy(net, at, y), step, left, curvature, lam


def _adaptive_steps(
    net, params, e, x, y, Pi, first, at, terms, inference_steps, step_size, tolerance, record
):
    """Steps of (ePC.5) that lengthen and shorten, sample by sample, Eq. (EPS.1)."""
    xp = array_module(x)

    def look(e):
        at = _point(net, params, e, x, y, Pi, first)
        return at, _error_gradient(net, params, at), total_energy(net, at, y)

    gradient, energy = _error_gradient(net, params, at), sum(terms)
    steepest = norm_squared(gradient, energy).real
    scale = _scale(terms) + steepest
    # start with the step that is the best one along the gradient of the quadratic model
    curvature = _curvature_along(net, params, at, gradient, Pi, steepest)
    lam, taken = xp.minimum(1 / curvature, LONGEST), []  # (EPS.1)
    for step in range(inference_steps):
        record(step, at.s, at)
        if converged(gradient, energy, tolerance, step):
            break
        moves = zip(e[1:], gradient[1:], strict=True)
        trial = [None, *(v - by_sample(lam, g) * g for v, g in moves)]  # (ePC.5), all layers from the old e
        at, trial_gradient, trial_energy = look(trial)
        fall, slope = norm_squared(gradient, energy).real, dot(gradient, trial_gradient, energy).real
        keep = _accept(energy.real, trial_energy.real, lam, fall, slope)  # (EPS.1)
        met = _curvature_met(fall, slope, lam, scale)
        curvature = xp.where(keep & (met > curvature), met, curvature)
        taken.append(xp.where(keep, lam, 0))
        e, gradient = _choose(keep, trial, e), _choose(keep, trial_gradient, gradient)
        energy = xp.where(keep, trial_energy, energy)
        if record.every:
            at = _point(net, params, e, x, y, Pi, first)
        lam = xp.where(keep, xp.minimum(LENGTHEN * lam, LONGEST), SHORTEN * lam)  # (EPS.1)
    else:
        step = int(inference_steps)
    at = _point(net, params, e, x, y, Pi, first)  # the last trial may have been taken back
    left = xp.ones_like(curvature)
    for used in taken:
        left = left * xp.minimum(abs(1 - used * curvature), 1)  # (ePC.17)
    return e, at, gradient, energy, step, left, curvature, lam


def _scale(terms):
    """Squared norm of the weighted errors, ``(B,)``, from the terms of the energy at the start (all but the loss)."""
    return 2 * sum(terms[:-1], 0 * terms[-1]).real


def _curvature_met(fall, slope, lam, scale):
    """Curvature along a step, Eq. (EPS.2), ``(B,)``; zero where rounding hides it.

    ``scale`` is the squared norm of the two terms whose difference the gradient is, Eq. (ePC.4), at the start.
    """
    info, xp, promised = array_module(fall).finfo(fall.dtype), array_module(fall), lam * fall
    clear = (fall > float(info.eps) * scale) & (promised > float(info.tiny))
    return xp.where(clear, (fall - slope) / xp.where(clear, promised, 1), 0)  # (EPS.2)


def _accept(energy, trial_energy, lam, fall, slope):
    """Which samples keep the step, Eq. (EPS.1); ``(B,)`` booleans.

    A step is kept if the energy falls by nearly half of ``lam |g|^2``, that is, for a parabola, if the slope
    along the gradient hardly turns over. A weaker demand (any fall) lets the output error overshoot and change
    sign, Eq. (ePC.14), and then the output layer learns the wrong way: deep networks collapse. Near the
    minimum the fall drowns in rounding, so there the slope at the end of the step itself decides.
    """
    falls = trial_energy <= energy - FALL * lam * fall  # (EPS.1)
    rounding = 8 * float(array_module(energy).finfo(energy.dtype).eps) * (1 + abs(energy))
    return falls | ((abs(trial_energy - energy) <= rounding) & (slope >= (2 * FALL - 1) * fall))  # (EPS.1)


def _choose(keep, new, old):
    """Sample by sample, layer by layer: ``new`` where ``keep``, else ``old``."""
    xp = array_module(keep)
    return [None, *(xp.where(by_sample(keep, a), a, b) for a, b in zip(new[1:], old[1:], strict=True))]


def largest_eigenvalue(net, params, e, x, y, precision=None, *, iterations=POWER_ITERATIONS):
    """Largest eigenvalue of the Gauss-Newton Hessian of E in the errors, per sample, Eq. (EPS.3); ``(B,)``.

    Started at the backprop deltas. A Rayleigh quotient: never above the true value. For MSE and linear
    networks the Gauss-Newton Hessian is the Hessian. Cost: ``iterations`` forward and backward passes.
    """
    check_count("iterations", iterations, least=1)
    e, x, y, Pi = _prepare(net, params, e, x, y, precision)
    at = _point(net, params, e, x, y, Pi)
    return _largest_eigenvalue(net, params, at, _error_gradient(net, params, at), Pi, iterations)


def _largest_eigenvalue(net, params, at, gradient, Pi, iterations):
    L, f, theta = len(net.blocks), by_layer(net.blocks), by_layer(params)
    zero = (0 * at.yhat).sum(axis=1).real
    xp = array_module(zero)
    v = [None, *(at.xi[l] - gradient[l] for l in range(1, L))]  # the deltas d[l] of (ePC.3)
    eigenvalue = zero + 1
    for _ in range(iterations):
        length = norm_squared(v, zero).real ** 0.5
        scale = 1 / xp.where(length > 0, length, 1)
        v = [None, *(a * by_sample(scale, a) for a in v[1:])]
        down = weigh(Pi[L], net.loss.curvature(at.yhat, _tangent(net, params, at, v)))  # (LOSS.3)
        Hv = [None] * L
        for l in range(L - 1, 0, -1):
            down, _ = f[l + 1].vjp(theta[l + 1], at.tape[l + 1], down, params=False)
            Hv[l] = weigh(Pi[l], v[l]) + down  # (EPS.3)
        eigenvalue = xp.where(length > 0, dot(v, Hv, zero).real, 1)
        v = Hv
    return eigenvalue


def _curvature_along(net, params, at, v, Pi, length_squared):
    """Rayleigh quotient of the Gauss-Newton Hessian along ``v``, ``(B,)``: one forward-mode pass, no backward."""
    L, xp = len(net.blocks), array_module(length_squared)
    up = _tangent(net, params, at, v)
    top = inner(up, weigh(Pi[L], net.loss.curvature(at.yhat, up)))
    own = dot(v, [None, *(weigh(Pi[l], v[l]) for l in range(1, L))], length_squared)
    still = length_squared == 0
    return xp.where(still, 1, (own + top).real / xp.where(still, 1, length_squared))


def _tangent(net, params, at, v):
    """How the output moves when the errors move along ``v``, ``(B, n[L])``: the tangent of (ePC.1)."""
    L, f, theta, up = len(net.blocks), by_layer(net.blocks), by_layer(params), None
    for l in range(1, L):
        up = v[l] + f[l].jvp(theta[l], at.tape[l], up) if l > 1 else v[l]  # (JVP.1)
    return f[L].jvp(theta[L], at.tape[L], up) if L > 1 else 0 * at.yhat  # (JVP.1)


def gauss_newton_step(net, params, e, x, y, precision=None):
    """Errors after one Gauss-Newton step on the energy, Eq. (ePC.15); a list like ``e``.

    Lands on the equilibrium of a linear network from any ``e``. For the mse loss only. Cost: a backward
    pass of B n[L] rows and B systems of n[L] unknowns.
    """
    if net.loss.name != "mse":
        raise ValueError(f"gauss_newton_step needs loss = mse, got {net.loss.name}")
    e, x, y, Pi = _prepare(net, params, e, x, y, precision)
    at = _point(net, params, e, x, y, Pi)
    L, f, theta, xp = len(net.blocks), by_layer(net.blocks), by_layer(params), array_module(x)
    B, n = at.yhat.shape
    unit = xp.eye(n, dtype=at.yhat.dtype)
    J, d = [None] * L, xp.concatenate([unit] * B)  # one row for each sample and each output
    for l in range(L - 1, 0, -1):
        _, tape = f[l + 1].forward(theta[l + 1], xp.repeat(at.s[l], n, axis=0))
        d, _ = f[l + 1].vjp(theta[l + 1], tape, d, params=False)
        J[l] = d.reshape(B, n, -1)  # dyhat/de[l] of each sample (B, n[L], n[l])
    inverse = [None, *(_inverse(Pi[l], at.xi[l]) for l in range(1, L + 1))]
    system, rhs = inverse[L], at.eps[L]
    for l in range(1, L):
        system = system + J[l] @ inverse[l] @ J[l].transpose(0, 2, 1)
        rhs = rhs + (J[l] @ e[l].reshape(B, -1, 1))[:, :, 0]
    z = xp.linalg.solve(xp.broadcast_to(system, (B, n, n)), rhs[:, :, None])
    step = [None, *(inverse[l] @ (J[l].transpose(0, 2, 1) @ z) for l in range(1, L))]  # (ePC.15)
    return [None, *(v.reshape(e[l].shape) for l, v in enumerate(step[1:], start=1))]


def _inverse(Pi, like):
    """Inverse of a precision as a matrix (n, n), for states like ``like (B, ...)``."""
    xp, n = array_module(like), math.prod(like.shape[1:])
    one = xp.eye(n, dtype=like.dtype)
    if Pi is None:
        return one
    if getattr(Pi, "ndim", 0) == 2 and Pi.shape == (n, n):
        return xp.linalg.inv(Pi)
    return one / (Pi if getattr(Pi, "ndim", 0) == 0 else Pi.reshape(-1))


def gradient(
    net,
    params,
    x,
    y,
    precision=None,
    *,
    inference_steps=8,
    step_size="adaptive",
    tolerance=None,
    record_every=0,
) -> Gradient:
    r"""Local weight gradient of ePC after inference from zero errors, Eqs. (ePC.1)-(ePC.6).

    Which gradient this is depends on how far inference got, and ``regime`` says it: below .1 it is
    backprop's, times a small factor in the hidden layers (ePC.11); above .9 it is the equilibrium's, the
    same as sPC's.

    Parameters
    ----------
    net : Network
    params : list of dicts            as :meth:`Network.init` draws them
    x : (B, n[0])                     input, clamped
    y : (B, n[L]) or labels (B,)      target
    precision : list of L, or None    Pi[1..L]: None, a number, (n[l],) or SPD (n[l], n[l]); None means one
    inference_steps : int             number N of inference steps
    step_size : float or str          "adaptive" (safe), "power", or a fixed step; see :func:`infer`
    tolerance : float, optional       stop when the residual of every sample is below it
    record_every : int                snapshots before every so many steps, in ``recording`` (0: none)

    Returns
    -------
    Gradient
        ``grads``, ``loss`` (of the feedforward prediction), ``energy``, ``states``, ``errors`` (e[1..L-1],
        then minus dLoss/dyhat), ``residual``, ``regime``, ``curvature``, ``step_size``, ``recording``.

    Raises
    ------
    ValueError, TypeError             bad shapes, dtypes, labels, values or options, before any work
    FloatingPointError                the feedforward loss is not finite

    Warns
    -----
    InferenceWarning                  inference diverged (a fixed step can), or missed the tolerance

    Notes
    -----
    Cost: N + 1 forward and backward passes and one forward pass, O(N B P) time. On a device three
    synchronisations, whatever N; a fixed step costs a fourth. Derivation: reference/equations.md.
    Source: Goemaere et al. (2025), arXiv 2505.20137; the adaptive step is ours.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> g = gradient(net, net.init(seed=0), x, y, inference_steps=20)
    >>> bool((g.energy < g.loss).all()), bool((g.residual < 1e-3).all())
    (True, True)
    """
    check_options(inference_steps, step_size, tolerance, record_every, words=("adaptive", "power"))
    x, y = prepare(net, params, x, y)
    Pi = check_precision(net, params, precision)
    e = _zeros(net, params, x)
    run, at, loss = _infer(net, params, e, x, y, Pi, inference_steps, step_size, tolerance, record_every)
    return Gradient(
        local_gradient(net, params, at),
        loss,
        run.energy,
        at.s,
        at.eps,
        run.residual,
        run.regime,
        run.curvature,
        run.step_size,
        run.recording,
    )
