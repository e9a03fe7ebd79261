r"""Variants of predictive coding, on the verbs of sPC; each says which gradient it computes.

=========  ==========================================================================================
(sPC.11)   top-down sweep: layers :math:`L-1, \dots, 1` one after the other, each from the new layer above
(MOM.1)    heavy ball: :math:`v_l \leftarrow m v_l - \lambda\, \partial E/\partial s_l`,
           :math:`s_l \leftarrow s_l + v_l`
(sPC.13)   incremental: states and weights move together, both gradients from the same state
(sPC.14)   :math:`E - \frac12 \sum_l \log\det\Pi_l`, with the gradient
           :math:`\frac12 (\sum_b \varepsilon_l \varepsilon_l^\top - B\, \Pi_l^{-1})` in :math:`\Pi_l`
(sPC.15)   target interpolation: :math:`\hat y + \beta (y - \hat y)`, with the feedforward :math:`\hat y`
(sPC.16)   loss weighting: :math:`E_\beta`, which is :math:`E` with :math:`\beta \mathcal L` for the loss
(sPC.17)   centred: :math:`(\partial E_{+\beta} - \partial E_{-\beta}) / (2 \beta)`
(sPC.20)   multipliers: :math:`w_l = v_l + \rho\, \Pi_l \varepsilon_l` in the place of :math:`\xi_l`,
           :math:`v_l \leftarrow v_l + \tau \varepsilon_l`
(sPC.21)   diagonal Newton: :math:`s_l \leftarrow s_l - (\partial E/\partial s_l) / \pi'_l`
(ZIL.1)    Z-IL: :math:`\lambda = 1`, the weights of layer l learn at step :math:`L - l`
(FPA.1)    fixed prediction:
           :math:`\varepsilon_l \leftarrow \varepsilon_l - \lambda (\xi_l - J_{l+1}^\top \xi_{l+1})`
           with :math:`\mu` and :math:`J` held at the feedforward point
=========  ==========================================================================================

====================  ===============================================================================
rule                  the gradient it computes
====================  ===============================================================================
z_il                  backprop's, exactly, after L - 1 steps
fixed_prediction      backprop's, exactly, once it has converged
pc_alm                backprop's, exactly, once it has converged
nudged                backprop's + O(beta), at equilibrium
centred               backprop's + O(beta^2), at equilibrium
target_interpolation  the equilibrium's at a nearer target: **not** backprop's, for no beta
top_down, momentum    the equilibrium's, as sPC, once they have converged: **not** backprop's
incremental           dE/dW on the way; the weights move with the states
====================  ===============================================================================

Every rule starts at the feedforward point. Lists are indexed by the layer; an entry 0 that does not exist
is None. Precisions are those of sPC, in all rules but Z-IL.
"""

import math
import warnings
from typing import NamedTuple

from . import spc
from .arguments import check_optimizer, check_positive_number, check_share, is_number, prepare
from .backend import Array, array_module, is_array
from .blocks import Dense
from .functions import ACTIVATIONS
from .inference import (
    InferenceWarning,
    check_options,
    check_precision,
    dot,
    layer_energies,
    local_gradient,
    norm_squared,
    start_loss,
    total_energy,
    warn_if_unsettled,
    weigh,
)
from .network import Gradient, by_layer


class _Fixed(NamedTuple):
    """What inference leaves alone; ``first`` is the forward pass of block 1, whose input is clamped."""

    net: object
    params: list
    y: Array
    Pi: list
    first: tuple


def _start(net, params, x, y, precision, inference_steps, step_size):
    """Check the arguments; what is fixed, and states, errors and loss of the feedforward point."""
    check_options(inference_steps, step_size, None, 0)
    x, y = prepare(net, params, x, y)
    Pi = check_precision(net, params, precision)
    s, now, first = spc._feedforward(net, params, x, y, Pi)
    return _Fixed(net, params, y, Pi, first), s, now, start_loss(net, params, x, now, y)


def _look(fixed, s):
    """Predictions and errors at the states ``s``, Eqs. (sPC.1), (sPC.3)."""
    net, params, y, Pi, first = fixed
    return spc._errors(net, params, s, y, Pi, first)


def _energy(fixed, now):
    """E of each sample, Eq. (sPC.2)."""
    return total_energy(fixed.net, now, fixed.y)


def _slope(fixed, now):
    """dE/ds, Eq. (sPC.4)."""
    return spc._activity_gradient(fixed.net, fixed.params, now)


def _descend(s, gradient, step_size):
    """One step of all free layers at once; s[0] is clamped."""
    return [s[0], *(v - step_size * g for v, g in zip(s[1:], gradient[1:], strict=True))]  # (sPC.5)


def _local(fixed, s, now, energy, loss):
    """The local gradient at the states ``s`` with the errors ``now``, Eqs. (sPC.6), (sPC.7)."""
    residual = norm_squared(_slope(fixed, now), energy) ** 0.5
    return Gradient(local_gradient(fixed.net, fixed.params, now), loss, energy, s, now.eps, residual)


def _settled(rule, fixed, s, now, energy, start, loss, step_size):
    """As :func:`_local`; warns if the energy of a sample rose above ``start``."""
    g = _local(fixed, s, now, energy, loss)
    warn_if_unsettled(rule, start, energy, g.residual, step_size, None)
    return g


def _warn_if_not_finite(rule, residual, step_size):
    """For the rules that descend no energy. Costs one synchronisation."""
    lost = ~array_module(residual).isfinite(residual)
    if bool(lost.any()):
        share = f"{int(lost.sum())} of {lost.size} samples"
        message = f"{rule} inference diverged in {share}, with step_size {step_size}"
        warnings.warn(message, InferenceWarning, stacklevel=3)


# ------------------------------------------------------------------ other ways to the equilibrium of sPC


def top_down(net, params, x, y, precision=None, *, inference_steps=20, step_size=0.1) -> Gradient:
    """Local weight gradient of sPC whose layers move one after the other, from the top down, Eq. (sPC.11).

    Which gradient: after convergence that of sPC at its equilibrium, not backprop's. One sweep carries the
    error from the output to every layer, where :func:`minipc.spc.gradient` needs L - l steps; what it has
    lost on the way, ``step_size ** (L - l)``, is the same.

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    inference_steps : int           number N of sweeps
    step_size : float               step lambda

    Returns
    -------
    Gradient                        the fields of :func:`minipc.spc.gradient`

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                the energy of a sample rose above its start

    Notes
    -----
    Cost: a sweep is one forward and one backward pass, as a step of sPC; O(N B P) time. The layers cannot
    move in parallel. Derivation: reference/equations.md#spc11.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> sweeps = top_down(net, params, x, y, inference_steps=400, step_size=0.2)
    >>> steps = pc.spc.gradient(net, params, x, y, inference_steps=400, step_size=0.2)
    >>> pc.check.compare(sweeps, steps).worst < 1e-9
    True
    """
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    L, f, theta, Pi, lam = len(net.blocks), by_layer(net.blocks), by_layer(params), fixed.Pi, float(step_size)
    start = _energy(fixed, now)
    for _ in range(inference_steps):
        s, xi = list(s), list(now.xi)
        for l in range(L - 1, 0, -1):
            # the layer above has moved, its prediction has not: that comes from this layer's old state
            down, _ = f[l + 1].vjp(theta[l + 1], now.tape[l + 1], xi[l + 1], params=False)
            step = -lam * (xi[l] - down)
            s[l] = s[l] + step  # (sPC.11)
            xi[l] = weigh(Pi[l], now.eps[l] + step)  # (sPC.11)
        now = _look(fixed, s)
    return _settled("top-down sPC", fixed, s, now, _energy(fixed, now), start, loss, step_size)


def momentum(
    net, params, x, y, precision=None, *, inference_steps=20, step_size=0.1, momentum=0.9
) -> Gradient:
    """Local weight gradient of sPC whose states move with momentum (heavy ball), Eq. (MOM.1).

    Which gradient: after convergence that of sPC at its equilibrium, not backprop's. On the way there it is
    neither sPC's nor backprop's. The first arrival (sPC.9) is untouched, because a layer that has not moved
    has no velocity; every law of later steps is broken. ``momentum = 0`` is sPC.

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    inference_steps : int           number N of steps
    step_size : float               step lambda, stable below 2 (1 + momentum) / (largest eigenvalue of H_s)
    momentum : float                m, in [0, 1)

    Returns
    -------
    Gradient                        the fields of :func:`minipc.spc.gradient`

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                the energy of a sample ended above its start (it may oscillate on the way)

    Notes
    -----
    Cost: N + 1 forward and backward passes, O(N B P) time. Derivation: reference/equations.md#mom1.
    Source: Polyak (1964); presets of public code use it on the states.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> fast = momentum(net, params, x, y, inference_steps=60, step_size=0.2, momentum=0.5)
    >>> slow = pc.spc.gradient(net, params, x, y, inference_steps=60, step_size=0.2)
    >>> bool((fast.residual < slow.residual).all())
    True
    """
    check_share("momentum", momentum)
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    start, lam, m = _energy(fixed, now), float(step_size), float(momentum)
    v = [0 * a for a in s]
    for _ in range(inference_steps):
        gradient = _slope(fixed, now)
        v = [v[0], *(m * a - lam * g for a, g in zip(v[1:], gradient[1:], strict=True))]  # (MOM.1)
        s = [s[0], *(a + b for a, b in zip(s[1:], v[1:], strict=True))]  # (MOM.1)
        now = _look(fixed, s)
    return _settled("momentum", fixed, s, now, _energy(fixed, now), start, loss, step_size)


def incremental(net, params, x, y, *, optimizer, state, inference_steps=20, step_size=0.1, precision=None):
    """Incremental predictive coding: N joint steps of states and weights on one batch, Eq. (sPC.13).

    Which gradient: each of the N updates uses dE/dW at states that have not settled, of weights that have
    just moved; the sum of them is the gradient of nothing. With weights that stay (a learning rate below
    rounding) this is sPC, step by step.

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    optimizer : SGD, Adam, ...      takes ``grads / B``, N times
    state                           of the optimiser: ``optimizer.init(params)``, later what comes back
    inference_steps : int           number N of joint steps
    step_size : float               step lambda of the states

    Returns
    -------
    params : list of dicts          after N updates; new arrays
    state                           of the optimiser
    Gradient
        At the final states and weights, not applied yet: ``grads``, ``energy``, ``states``, ``errors``,
        ``residual``; ``loss`` is that of the feedforward prediction before the first update.

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                a state overflowed; the energy of a sample may rise, as weights are shared

    Notes
    -----
    Cost: N + 1 forward and backward passes and N updates. ``minipc.fit(..., rule="incremental")`` trains with it; a
    loop of one's own is three lines long:

    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params, optimizer = net.init(seed=0), pc.SGD(0.05)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> state, losses = optimizer.init(params), []
    >>> for batch in range(20):
    ...     params, state, g = incremental(net, params, x, y, optimizer=optimizer, state=state)
    ...     losses.append(g.loss.mean())
    >>> bool(losses[-1] < 0.1 * losses[0])
    True

    Derivation: reference/equations.md#spc13.  Source: Salvatori et al. (2024), arXiv 2212.00720.
    """
    check_optimizer("optimizer", optimizer)
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    lam, B = float(step_size), len(s[0])
    for _ in range(inference_steps):
        # both gradients belong to the same states and the same weights: neither has moved yet
        gradient, grads = _slope(fixed, now), local_gradient(net, params, now)
        s = _descend(s, gradient, lam)  # (sPC.13)
        mean = [{name: value / B for name, value in g.items()} for g in grads]  # the one division
        params, state = optimizer.step(params, mean, state)  # (sPC.13)
        fixed = fixed._replace(params=params, first=net.blocks[0].forward(params[0], s[0]))
        now = _look(fixed, s)
    g = _local(fixed, s, now, _energy(fixed, now), loss)
    _warn_if_not_finite("incremental", g.residual, step_size)
    return params, state, g


# ------------------------------------------------------------------ backprop, exactly


def z_il(net, params, x, y) -> Gradient:
    """Backprop's gradient from predictive coding with timed updates (Z-IL), Eq. (ZIL.1).

    Which gradient: exactly backprop's. With a step of 1 the error that arrives first in layer l, at step
    L - l, *is* backprop's (sPC.9), and the layer below has not moved yet: so that is when the block learns. All
    blocks learn from the same weights; they are changed when the pass is over.

    Parameters
    ----------
    net, params, x, y               as in :func:`minipc.spc.gradient`; hidden precisions are one

    Returns
    -------
    Gradient
        ``grads``, each of its own step; ``loss``; ``energy``, ``states``, ``errors`` and ``residual`` after
        the last step. The states have not settled, and a step of 1 is often too long to let them.

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Notes
    -----
    Cost: L forward and backward passes; backprop needs one. Derivation: reference/equations.md#zil1.
    Source: Song et al. (2020), NeurIPS; Salvatori et al. (2022), AAAI.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> pc.check.compare(z_il(net, params, x, y), pc.backprop.gradient(net, params, x, y)).worst < 1e-14
    True
    """
    fixed, s, now, loss = _start(net, params, x, y, None, 0, 1.0)
    L, f, theta, grads = len(net.blocks), by_layer(net.blocks), by_layer(params), [None] * len(net.blocks)
    for l in range(L, 0, -1):  # step k = L - l
        _, g = f[l].vjp(theta[l], now.tape[l], now.xi[l], input=False)
        grads[l - 1] = {name: -value for name, value in g.items()}  # (ZIL.1)
        if l > 1:
            s = _descend(s, _slope(fixed, now), 1.0)  # (ZIL.1)
            now = _look(fixed, s)
    energy = _energy(fixed, now)
    residual = norm_squared(_slope(fixed, now), energy) ** 0.5
    return Gradient(grads, loss, energy, s, now.eps, residual)


def fixed_prediction(net, params, x, y, precision=None, *, inference_steps=20, step_size=0.5) -> Gradient:
    """Backprop's gradient from predictive coding with fixed predictions, Eq. (FPA.1).

    Which gradient: backprop's at the fixed point, for every step below 2 (below 2 / Pi with precisions). On
    the way, with unit hidden precisions, layer l has backprop's error times Pr[Binomial(N, lambda) >= L - l]
    (FPA.2); a step of 1 is exact after L - 1 steps. Predictions and Jacobians stay those of the feedforward
    point, which a circuit would have to store: this is what makes it exact.

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    inference_steps : int           number N of steps
    step_size : float               step lambda

    Returns
    -------
    Gradient
        ``grads``, ``loss``, ``states`` (prediction plus error), ``errors``, ``residual`` (norm of the errors'
        change per unit of lambda); no energy, because frozen predictions descend none.

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                an error overflowed

    Notes
    -----
    Cost: one forward pass and N + 1 backward passes, O(N B P) time. Derivation: reference/equations.md#fpa1.
    Source: Whittington & Bogacz (2017); Millidge, Tschantz & Buckley (2020), arXiv 2006.04182.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> g = fixed_prediction(net, params, x, y, inference_steps=2, step_size=1.0)
    >>> pc.check.compare(g, pc.backprop.gradient(net, params, x, y)).worst < 1e-14
    True
    """
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    L, Pi, lam = len(net.blocks), fixed.Pi, float(step_size)
    eps, top = now.eps[:L], now.xi[L]
    for _ in range(inference_steps):
        gradient = _slope(fixed, now)  # the tape is that of the feedforward point, and stays
        eps = [None, *(e - lam * g for e, g in zip(eps[1:], gradient[1:], strict=True))]  # (FPA.1)
        now = now._replace(xi=[None, *(weigh(Pi[l], eps[l]) for l in range(1, L)), top])  # (FPA.1)
    residual = norm_squared(_slope(fixed, now), loss) ** 0.5
    _warn_if_not_finite("fixed-prediction", residual, step_size)
    s = [s[0], *(mu + e for mu, e in zip(s[1:], eps[1:], strict=True))]  # (sPC.1)
    grads = local_gradient(net, params, now)
    return Gradient(grads, loss, None, s, [*eps, now.eps[L]], residual)


def pc_alm(
    net, params, x, y, precision=None, *, inference_steps=200, step_size=0.1, penalty=1.0, dual_step=0.2
) -> Gradient:
    """Backprop's gradient from predictive coding with multipliers (PC-ALM), Eq. (sPC.20).

    Which gradient: exactly backprop's, if it converges: the multipliers v[l] push until every hidden error is
    zero, and then they carry -delta[l]. ``dual_step = 0`` with ``penalty = 1`` is sPC, with its own gradient.

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    inference_steps : int           number N of steps of states and multipliers
    step_size : float               step lambda of the states
    penalty : float                 rho, positive; must outweigh the curvature of the network (sPC.20)
    dual_step : float               step tau of the multipliers, not negative

    Returns
    -------
    Gradient
        ``grads``, ``loss``, ``energy`` (the augmented Lagrangian, at the end the loss), ``states``,
        ``errors``, ``residual``: the norm of the gradient in the states and, if tau > 0, in the multipliers.

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                a state overflowed; watch ``residual`` for convergence, it is not certain

    Notes
    -----
    Cost: N + 1 forward and backward passes, O(N B P) time. Derivation: reference/equations.md#spc20.
    Source: Seely & Gould (2026), arXiv 2605.31022.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> g = pc_alm(net, params, x, y, inference_steps=1000, step_size=0.2)
    >>> bool((g.residual < 1e-9).all())
    True
    >>> pc.check.compare(g, pc.backprop.gradient(net, params, x, y)).worst < 1e-8
    True
    """
    check_positive_number("penalty", penalty)
    if not is_number(dual_step):
        raise TypeError(f"dual_step must be a number, got {dual_step!r}")
    if not 0 <= dual_step < math.inf:
        raise ValueError(f"dual_step must be finite and not negative, got {dual_step}")
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    L, lam, rho, tau = len(net.blocks), float(step_size), float(penalty), float(dual_step)
    v = [0 * a for a in s]
    for _ in range(inference_steps):
        s = _descend(s, _slope(fixed, _multiplied(now, v, rho)), lam)  # (sPC.20)
        now = _look(fixed, s)
        v = [v[0], *(a + tau * e for a, e in zip(v[1:], now.eps[1:L], strict=True))]  # (sPC.20)
    eps = now.eps[:L]
    *hidden, top = layer_energies(net, now, fixed.y)
    energy = top + rho * sum(hidden) + dot(v, eps, loss)  # (sPC.20)
    g = _local(fixed, s, _multiplied(now, v, rho), energy, loss)
    if tau:  # the multipliers are free as well, and eps is the gradient in them
        g = g._replace(residual=(g.residual * g.residual + norm_squared(eps, loss)) ** 0.5)
    _warn_if_not_finite("PC-ALM", g.residual, step_size)
    return g


def _multiplied(now, v, rho):
    """The errors with w in the place of xi."""
    w = [a + rho * b for a, b in zip(v[1:], now.xi[1:-1], strict=True)]  # (sPC.20)
    return now._replace(xi=[None, *w, now.xi[-1]])  # (sPC.20)


# ------------------------------------------------------------------ nudging


def target_interpolation(
    net, params, x, y, precision=None, *, beta, inference_steps=20, step_size=0.1
) -> Gradient:
    """Local weight gradient of sPC with a nearer target, divided by beta, Eq. (sPC.15).

    Which gradient: that of the equilibrium for the target ``yhat + beta (y - yhat)``, divided by beta. It is
    **not** backprop's, in no limit of beta: in linear networks of unit precision the errors, divided by beta,
    are P_l^T Omega^-1 r for *every* beta, as with the full target. Backprop needs the loss weighting of
    :func:`nudged`.

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    beta : float                    not zero; 1 is sPC; negative values push away from the target
    inference_steps, step_size      as in :func:`minipc.spc.gradient`

    Returns
    -------
    Gradient
        ``grads`` (divided by beta); ``loss`` of the true target; ``energy``, ``states``, ``errors`` and
        ``residual`` with the nearer one, not divided.

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                the energy of a sample rose above its start

    Notes
    -----
    With mse yhat is the feedforward output; with the cross-entropies it is the feedforward probability,
    softmax or sigmoid, so that targets stay distributions (for beta in [0, 1]).
    Cost: as :func:`minipc.spc.gradient`. Derivation: reference/equations.md#spc15.
    Source: Pinchetti et al. (2024), arXiv 2407.01163 (there PN for beta > 0, NN for beta < 0).

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> g = target_interpolation(net, params, x, y, beta=1e-3, inference_steps=200)
    >>> pc.check.compare(g, pc.backprop.gradient(net, params, x, y)).worst > 0.1
    True
    """
    _check_beta(beta)
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    beta, lam = float(beta), float(step_size)
    fixed = fixed._replace(y=fixed.y - (1 - beta) * now.eps[-1])  # (sPC.15)
    now = _look(fixed, s)
    start = _energy(fixed, now)
    for _ in range(inference_steps):
        s = _descend(s, _slope(fixed, now), lam)
        now = _look(fixed, s)
    g = _settled("target interpolation", fixed, s, now, _energy(fixed, now), start, loss, step_size)
    return g._replace(grads=_scaled(1 / beta, g.grads))  # (sPC.15)


def nudged(net, params, x, y, precision=None, *, beta, inference_steps=20, step_size=0.1) -> Gradient:
    """Local weight gradient of sPC with the loss weighted by beta, divided by beta, Eq. (sPC.16).

    Which gradient: at equilibrium backprop's + O(beta); beta = 1 is sPC.

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    beta : float                    not zero; with negative values the energy need not have a minimum
    inference_steps, step_size      as in :func:`minipc.spc.gradient`

    Returns
    -------
    Gradient
        ``grads`` (divided by beta); ``loss`` (not weighted); ``energy`` (E_beta), ``states``, ``errors`` and
        ``residual``, not divided.

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                the energy of a sample rose above its start

    Notes
    -----
    A small beta makes small errors. They are differences of states, so about 1e-16 / beta of the gradient is
    rounding in float64, 1e-7 / beta in float32. Cost: as :func:`minipc.spc.gradient`. Derivation:
    reference/equations.md#spc16.
    Source: Scellier & Bengio (2017), Front. Comput. Neurosci. 11 (equilibrium propagation).

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> bp, options = pc.backprop.gradient(net, params, x, y), {"inference_steps": 400, "step_size": 0.2}
    >>> pair = [nudged(net, params, x, y, beta=beta, **options) for beta in (1e-2, 1e-3)]
    >>> errors = [pc.check.compare(g, bp).worst for g in pair]
    >>> round(errors[0] / errors[1])
    10
    """
    _check_beta(beta)
    beta = float(beta)
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    end = _nudge(fixed, s, now, beta, inference_steps, step_size)
    g = _settled("nudged", fixed, *end, loss, step_size)
    return g._replace(grads=_scaled(1 / beta, g.grads))  # (sPC.16)


def centred(net, params, x, y, precision=None, *, beta, inference_steps=20, step_size=0.1) -> Gradient:
    """Difference of two opposite nudges, divided by 2 beta, Eq. (sPC.17).

    Which gradient: at the two equilibria backprop's + O(beta^2).

    Parameters
    ----------
    net, params, x, y, precision    as in :func:`minipc.spc.gradient`
    beta : float                    positive, and small enough for E_(-beta) to have a minimum
    inference_steps, step_size      as in :func:`minipc.spc.gradient`, for each of the two

    Returns
    -------
    Gradient
        ``grads``; ``loss`` (not weighted); ``energy``, ``states`` and ``errors`` of +beta; ``residual``, the
        larger one.

    Raises
    ------
    ValueError, TypeError, FloatingPointError    as :func:`minipc.spc.gradient`

    Warns
    -----
    InferenceWarning                the energy of a sample rose above its start

    Notes
    -----
    Cost: twice that of :func:`nudged`. Derivation: reference/equations.md#spc17.
    Source: Laborieux et al. (2021), Front. Neurosci. 15.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> params = net.init(seed=0)
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> bp, options = pc.backprop.gradient(net, params, x, y), {"inference_steps": 400, "step_size": 0.2}
    >>> pair = [centred(net, params, x, y, beta=beta, **options) for beta in (1e-2, 1e-3)]
    >>> errors = [pc.check.compare(g, bp).worst for g in pair]
    >>> round(errors[0] / errors[1])
    100
    """
    _check_beta(beta, positive=True)
    beta = float(beta)
    fixed, s, now, loss = _start(net, params, x, y, precision, inference_steps, step_size)
    plus = _nudge(fixed, s, now, beta, inference_steps, step_size)
    minus = _nudge(fixed, s, now, -beta, inference_steps, step_size)
    up, down = (
        _settled("nudged", fixed, *plus, loss, step_size),
        _settled("nudged", fixed, *minus, loss, step_size),
    )
    difference = [{k: p[k] - q[k] for k in p} for p, q in zip(up.grads, down.grads, strict=True)]
    worse = array_module(loss).maximum(up.residual, down.residual)
    return up._replace(grads=_scaled(1 / (2 * beta), difference), residual=worse)  # (sPC.17)


def _nudge(fixed, s, now, beta, inference_steps, step_size):
    """Descend E_beta: the states, the errors that act in it, its value there and at the start."""

    def weighted(now):
        *hidden, top = layer_energies(fixed.net, now, fixed.y)
        acting = now._replace(xi=[*now.xi[:-1], beta * now.xi[-1]])  # (sPC.16)
        return acting, sum(hidden) + beta * top  # (sPC.16)

    now, energy = weighted(now)
    start = energy
    for _ in range(inference_steps):
        s = _descend(s, _slope(fixed, now), float(step_size))
        now, energy = weighted(_look(fixed, s))
    return s, now, energy, start


def _scaled(factor, grads):
    return [{name: factor * value for name, value in g.items()} for g in grads]


def _check_beta(beta, *, positive=False):
    """The weight of the loss: finite and not zero, as the gradient is divided by it."""
    if not is_number(beta):
        raise TypeError(f"beta must be a number, got {beta!r}")
    if not math.isfinite(beta) or beta == 0 or (positive and beta < 0):
        raise ValueError(f"beta must be finite and {'positive' if positive else 'not zero'}, got {beta}")


# ------------------------------------------------------------------ learned precisions


def full_energy(net, params, s, y, precision):
    """Energy of each sample with the normaliser of the precisions, Eq. (sPC.14); ``(B,)``.

    Without the log-determinants the energy falls to zero with the precisions; with them it is, up to a
    constant, minus the log-density of the states and the target given the input (mse).

    Parameters
    ----------
    net, params, s, y               as in :func:`minipc.spc.energy`
    precision : list of L           Pi[1..L]; None stands for one, with no log-determinant

    Notes
    -----
    Cost: one forward pass, and O(n[l]^3) for every precision matrix.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net, one = pc.Network([pc.Dense(1, 1)]), [{"W": np.ones((1, 1)), "b": np.zeros(1)}]
    >>> full_energy(net, one, [np.ones((1, 1))], np.array([[3.0]]), [4.0]) + np.log(2)
    array([8.])
    """
    s, y, Pi = spc._prepare(net, params, s, y, precision)
    now = spc._errors(net, params, s, y, Pi)
    energy = total_energy(net, now, y)
    for l in _weighed(net, y):
        energy = energy - 0.5 * _log_det(Pi[l], now.eps[l])  # (sPC.14)
    return energy


def precision_gradient(net, params, s, y, precision):
    """Derivative of the summed :func:`full_energy` with respect to the precisions, Eq. (sPC.14).

    Parameters
    ----------
    net, params, s, y, precision    as in :func:`full_energy`

    Returns
    -------
    list of L
        The structure of ``precision``: for a number an array of no axes, for a diagonal ``(n[l],)``, for a
        matrix a symmetric ``(n[l], n[l])``; None where there is None, and for the output if it is free. Sums
        over the batch, to be divided by it where the gradients of the weights are.

    Notes
    -----
    Zero where Pi is the inverse of the mean of eps eps^T, of its diagonal, or of the mean of the diagonal. A
    step of descent can leave the positive definite matrices; the next call refuses what is not positive.
    Cost: one forward pass, O(B n[l]^2 + n[l]^3) for every matrix. Derivation: reference/equations.md#spc14.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net, one = pc.Network([pc.Dense(1, 1)]), [{"W": np.ones((1, 1)), "b": np.zeros(1)}]
    >>> precision_gradient(net, one, [np.ones((1, 1))], np.array([[3.0]]), [0.25])  # 1 / 2^2
    [array(0.)]
    """
    s, y, Pi = spc._prepare(net, params, s, y, precision)
    eps, B = spc._errors(net, params, s, y, Pi).eps, len(s[0])
    gradient = [None] * len(net.blocks)
    for l in _weighed(net, y):
        if _is_matrix(Pi[l], eps[l]):
            scatter = eps[l].T @ eps[l]
            gradient[l - 1] = 0.5 * (scatter - B * array_module(Pi[l]).linalg.inv(Pi[l]))  # (sPC.14)
        elif is_array(Pi[l]) and Pi[l].ndim:
            gradient[l - 1] = 0.5 * ((eps[l] * eps[l]).sum(axis=0) - B / Pi[l])  # (sPC.14), its diagonal
        elif Pi[l] is not None:
            trace = 0.5 * ((eps[l] * eps[l]).sum() - eps[l].size / Pi[l])  # (sPC.14), its trace
            gradient[l - 1] = array_module(eps[l]).asarray(trace)
    return gradient


def _weighed(net, y):
    """The layers that can have a precision: the output only if it is clamped."""
    return range(1, len(net.blocks) + (y is not None))


def _is_matrix(Pi, eps):
    """A matrix of a layer whose state is a vector, not the diagonal of one whose state has two axes."""
    return is_array(Pi) and Pi.ndim == 2 and eps.ndim == 2


def _log_det(Pi, eps):
    """log det of the precision of a layer; complex numbers (complex step) pass."""
    n = eps[0].size
    if Pi is None:
        return 0.0
    if not is_array(Pi):
        return n * math.log(Pi)
    xp = array_module(Pi)
    if _is_matrix(Pi, eps):
        sign, size = xp.linalg.slogdet(Pi)
        return size + xp.log(sign)  # the sign of a real one is 1
    return xp.log(Pi).sum() if Pi.ndim else n * xp.log(Pi)


# ------------------------------------------------------------------ one Newton step


def newton_step(net, params, s, y, precision=None):
    """States after one Newton step with the diagonal of the Hessian, all layers at once, Eq. (sPC.21).

    Each unit moves to the bottom of the parabola that fits the energy along it, the others being held. They
    are not held, all move at once, so the step can overshoot.

    Parameters
    ----------
    net, params, s                  as in :func:`minipc.spc.energy`; Dense blocks, in both forms, and mse
    y : (B, n[L])                   target
    precision : list of L, or None  Pi[1..L]: None, a number or (n[l],)

    Returns
    -------
    list of L                       s[0], the array passed in, and new s[1], ..., s[L-1]

    Raises
    ------
    ValueError, TypeError           another loss, another block, a precision matrix, no target

    Warns
    -----
    InferenceWarning                a curvature is not positive: there the step climbs

    Notes
    -----
    Cost: one forward and two backward passes. With one parent and one child this is the update of the
    hierarchical Gaussian filter. Gauss-Newton steps in the errors, with the whole matrix:
    :func:`minipc.epc.gauss_newton_step`. Derivation: reference/equations.md#spc21.
    Source: derived here; cf. Mathys et al. (2014), Front. Hum. Neurosci. 8.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(1, 1), pc.Dense(1, 1)])
    >>> params = [{"W": np.array([[2.0]]), "b": np.zeros(1)}, {"W": np.array([[3.0]]), "b": np.zeros(1)}]
    >>> x, y = np.array([[1.0]]), np.array([[1.0]])
    >>> newton_step(net, params, pc.spc.feedforward(net, params, x), y)[1]  # 2 + 3 * (1 - 6) / (1 + 9)
    array([[0.5]])
    """
    if net.loss.name != "mse":
        raise ValueError(f"newton_step needs loss = mse, got {net.loss.name}")
    for l, block in enumerate(net.blocks, start=1):
        if not isinstance(block, Dense):
            raise TypeError(f"newton_step needs Dense blocks, got {type(block).__name__} as block {l}")
    s, y, Pi = spc._prepare(net, params, s, y, precision)
    if y is None:
        raise ValueError("newton_step needs a target y, got None")
    for l, value in enumerate(Pi):
        if is_array(value) and value.ndim == 2:
            raise ValueError(
                f"Pi[{l}] must be a number or a diagonal for newton_step, got the shape {value.shape}"
            )
    Pi = [1.0 if value is None else value for value in Pi]
    now = spc._errors(net, params, s, y, Pi)
    gradient, new, lowest = spc._activity_gradient(net, params, now), [s[0]], []
    for l in range(1, len(net.blocks)):
        own = Pi[l] + _curvature(
            net.blocks[l], params[l], now.tape[l + 1], Pi[l + 1], now.xi[l + 1]
        )  # (sPC.21)
        lowest.append(own.real.min())
        new.append(s[l] - gradient[l] / own)  # (sPC.21)
    if lowest and bool((array_module(*lowest).stack(lowest) <= 0).any()):
        message = "newton_step climbs: the energy is not convex along every unit; take a descent step there"
        warnings.warn(message, InferenceWarning, stacklevel=2)
    return new


def _curvature(block, p, tape, Pi, xi):
    """Second derivative of the energy of the layer above in each unit of its input, (B, n_in)."""
    phi, W = ACTIVATIONS[block.activation], p["W"]
    dphi, d2phi = phi.dphi(tape.a, tape.r), phi.d2phi(tape.a, tape.r)
    if block.form == "post":
        return (Pi * dphi * dphi - xi * d2phi) @ (W * W)  # (sPC.21)
    return dphi * dphi * ((Pi + 0 * xi) @ (W * W)) - d2phi * (xi @ W)  # (sPC.21)
