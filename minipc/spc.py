r"""State-based predictive coding (sPC): the activities are free and relax, then the weights learn.

Layers are counted ``l = 1..L``, as in the equations; ``s[0]`` is the clamped input, layer ``L`` is the
output and has no free state. Lists are indexed by the layer; an entry 0 that does not exist is None.

=========  ==========================================================================================
(sPC.1)    :math:`\mu_l = f_l(s_{l-1})`, :math:`\varepsilon_l = s_l - \mu_l` for :math:`l < L`,
           output :math:`\hat y = f_L(s_{L-1})`
(sPC.2)    :math:`E = \frac12 \sum_{l<L} \varepsilon_l^\top \Pi_l \varepsilon_l + \mathcal L(\hat y, y)`
(sPC.3)    :math:`\xi_l = \Pi_l \varepsilon_l` for :math:`l < L`, :math:`\xi_L = -\partial\mathcal L/\partial\hat y`
(sPC.4)    :math:`\partial E/\partial s_l = \xi_l - J_{l+1}^\top \xi_{l+1}`, with :math:`J_{l+1}` at :math:`s_l`
(sPC.5)    :math:`s_l \leftarrow s_l - \lambda\, \partial E/\partial s_l`, all layers at once
(sPC.6)    :math:`\partial E/\partial W_l = -(\xi_l \odot \phi'(a_l))\, s_{l-1}^\top` (post form)
(sPC.7)    :math:`\partial E/\partial W_l = -\xi_l\, \phi(s_{l-1})^\top` (pre form)
=========  ==========================================================================================

Energies are per sample, ``(B,)``. Inference is per sample too, so ``step_size`` means the same at every
batch size; gradients of parameters are sums over the batch, divided once in the training step.

Source: Whittington & Bogacz (2017), Neural Computation 29(5), doi:10.1162/NECO_a_00949 (there with
variances instead of precisions); Rao & Ballard (1999).
"""

from typing import NamedTuple

from . import fast
from .arguments import prepare, prepare_input, prepare_layers
from .backend import Array, array_module
from .inference import (
    Recorder,
    Recording,
    check_options,
    check_precision,
    converged,
    local_gradient,
    norm_squared,
    start_loss,
    total_energy,
    warn_if_unsettled,
    weigh,
)
from .network import Gradient, by_layer


class Errors(NamedTuple):
    """Everything one look at the network gives, from :func:`errors`; lists by layer, entry 0 None.

    Attributes
    ----------
    yhat : (B, n[L])                          prediction of the output
    eps : list of L + 1, (B, n[l])            prediction errors; eps[L] is minus dLoss/dyhat at Pi[L] = 1
    xi : list of L + 1, (B, n[l])             weighted errors, Eq. (sPC.3)
    tape : list of L + 1                      what the blocks' derivatives need
    """

    yhat: Array
    eps: list
    xi: list
    tape: list


class Inference(NamedTuple):
    """Result of :func:`infer`.

    Attributes
    ----------
    s : list of L arrays (B, n[l])      activities of the layers 0..L-1; s[0] is the array passed in
    energy : (B,)                       at the end
    residual : (B,)                     norm of dE/ds at the end: how far from equilibrium
    steps : int                         steps taken; fewer than asked for if the tolerance was reached
    recording : Recording or None
    """

    s: list
    energy: Array
    residual: Array
    steps: int
    recording: Recording


def feedforward(net, params, x):
    """Activities s[0..L-1] with every hidden error zero: the usual start of inference, Eq. (sPC.1)."""
    x = prepare_input(net, params, x)
    return _feedforward(net, params, x, None, [None] * (len(net.blocks) + 1))[0]


def _feedforward(net, params, x, y, Pi):
    """The feedforward states, the errors there (zero, but for the output), and the forward pass of block 1."""
    L, f, theta = len(net.blocks), by_layer(net.blocks), by_layer(params)
    s, tape, eps, first, zeros = [x], [None], [None], None, array_module(x).zeros_like
    for l in range(1, L + 1):
        mu, t = f[l].forward(theta[l], s[l - 1])  # (sPC.1)
        first = first or (mu, t)
        tape.append(t)
        if l < L:
            s.append(mu)
            eps.append(zeros(mu))  # (sPC.1)
        else:
            eps.append(zeros(mu) if y is None else net.loss.error(mu, y))
    return s, Errors(mu, eps, [*eps[:L], weigh(Pi[L], eps[L])], tape), first  # (sPC.3)


def errors(net, params, s, y, precision=None):
    """Predictions, errors and weighted errors of every layer, Eqs. (sPC.1), (sPC.3).

    ``y`` None leaves the output free: its error is zero.
    """
    return _errors(net, params, *_prepare(net, params, s, y, precision))


def _prepare(net, params, s, y, precision):
    """States, target and precisions, checked and ready to compute with."""
    if not isinstance(s, list | tuple) or not s:
        raise TypeError(f"s must be a list s[0..{len(net.blocks) - 1}] of arrays, got {type(s).__name__}")
    s, x, y, Pi = prepare_layers(
        net, params, s[0], y, "s", s, lambda: check_precision(net, params, precision)
    )
    return [x, *s[1:]], y, Pi


def _errors(net, params, s, y, Pi, first=None):
    L, f, theta = len(net.blocks), by_layer(net.blocks), by_layer(params)
    eps, xi, tape = [None], [None], [None]
    for l in range(1, L + 1):
        mu, t = first if first and l == 1 else f[l].forward(theta[l], s[l - 1])  # (sPC.1)
        if l < L:
            eps.append(s[l] - mu)  # (sPC.1)
        else:
            eps.append(0 * mu if y is None else net.loss.error(mu, y))
        xi.append(weigh(Pi[l], eps[l]))  # (sPC.3)
        tape.append(t)
    return Errors(mu, eps, xi, tape)


def energy(net, params, s, y, precision=None):
    r"""Energy of each sample, Eq. (sPC.2).

    Parameters
    ----------
    s : list of L arrays (B, n[l])      activities of the layers 0..L-1; ``s[0]`` is the input
    y : (B, n[L]), or None              target; None leaves the output unclamped, without a loss term
    precision : list of L, or None      Pi[1..L]: None, a number, (n[l],) or SPD (n[l], n[l]); None means one

    Returns
    -------
    (B,)                                one energy per sample; never averaged here

    Notes
    -----
    Cost: one forward pass, O(B P). The log-determinant of the precisions is constant while they are
    fixed and is left out.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 2)])
    >>> params = [{"W": np.eye(2), "b": np.zeros(2)}]
    >>> energy(net, params, [np.zeros((1, 2))], np.array([[2.0, 1.0]]), [np.array([1.0, 4.0])])
    array([4.])
    """
    s, y, Pi = _prepare(net, params, s, y, precision)
    return total_energy(net, _errors(net, params, s, y, Pi), y)  # (sPC.2)


def activity_gradient(net, params, s, y, precision=None):
    """dE/ds[l] of the free layers l = 1..L-1, Eq. (sPC.4); a list of ``(B, n[l])``, entry 0 is None."""
    return _activity_gradient(net, params, errors(net, params, s, y, precision))


def _activity_gradient(net, params, now):
    L, f, theta, xi, tape = len(net.blocks), by_layer(net.blocks), by_layer(params), now.xi, now.tape
    gradient = [None] * L
    for l in range(1, L):
        # forward: mu[l+1] = f(s[l]), so the error of the layer above comes back through its Jacobian
        top_down, _ = f[l + 1].vjp(theta[l + 1], tape[l + 1], xi[l + 1], params=False)
        gradient[l] = xi[l] - top_down  # (sPC.4)
    return gradient


def weight_gradient(net, params, s, y, precision=None):
    """dE/dW, dE/db summed over the batch, Eqs. (sPC.6), (sPC.7); the structure of ``params``.

    The errors are recomputed from ``s``: errors from before the last state step belong to other states.
    """
    return local_gradient(net, params, errors(net, params, s, y, precision))  # (sPC.6), (sPC.7)


def infer(
    net, params, s, y, precision=None, *, inference_steps, step_size, tolerance=None, record_every=0
) -> Inference:
    """Relax the free activities by gradient descent on the energy, Eq. (sPC.5).

    Parameters
    ----------
    s : list of L arrays            the start, e.g. :func:`feedforward`; not modified
    y, precision                    as in :func:`energy`
    inference_steps : int           number N of steps, at least 0
    step_size : float               step lambda, per sample; stable below 2 / (largest eigenvalue of H_s)
    tolerance : float, optional     stop when every sample's residual is below it
    record_every : int              take a snapshot before every so many steps and at the end (0: never)

    Raises
    ------
    ValueError, TypeError           step_size not positive, a count that is negative or no integer

    Warns
    -----
    InferenceWarning                a sample's energy rose above its start, or missed the tolerance

    Notes
    -----
    Cost: O(N B P) time. All layers move from the same old states (Jacobi), as in the papers.
    """
    check_options(inference_steps, step_size, tolerance, record_every)
    s, y, Pi = _prepare(net, params, s, y, precision)
    first = net.blocks[0].forward(params[0], s[0])
    now = _errors(net, params, s, y, Pi, first)
    return _infer(net, params, s, y, Pi, now, first, inference_steps, step_size, tolerance, record_every)[0]


def _infer(
    net, params, s, y, Pi, now, first, inference_steps, step_size, tolerance, record_every, feedforward=False
):
    """:func:`infer` on checked arguments; also returns the errors at the end and the loss at the start."""
    loss = start_loss(net, params, s[0], now, y)
    options = inference_steps, step_size, tolerance, record_every
    run, now, start = relax(net, params, s, y, Pi, now, first, *options, feedforward)
    warn_if_unsettled("sPC", start, run.energy, run.residual, float(step_size), tolerance)
    return run, now, loss


def relax(
    net, params, s, y, Pi, now, first, inference_steps, step_size, tolerance, record_every, feedforward=False
):
    """The steps of (sPC.5): the inference, the errors at the end, and the energy at the start.

    ``now`` are the errors at ``s``, and ``first`` is the forward pass of block 1: s[0] is clamped, so its prediction
    never changes. ``feedforward`` says that ``s`` is the feedforward pass.
    """
    step_size = float(step_size)  # a Python float is dtype-neutral, np.float64 is not
    record = Recorder(net, y, record_every)
    start = energy = total_energy(net, now, y)

    def look(s):
        now = _errors(net, params, s, y, Pi, first)
        return now, _activity_gradient(net, params, now)

    if fast.applies(net, params, s, y, Pi, record_every, tolerance):  # the same steps, with less work
        step, run = int(inference_steps), (first, inference_steps, step_size)
        s = fast.spc_steps(net, params, s, y, now, *run, feedforward=feedforward)
        now, gradient = look(s)
    else:
        gradient = _activity_gradient(net, params, now)
        for step in range(inference_steps):
            record(step, s, now)
            if converged(gradient, energy, tolerance, step):
                break
            # every gradient is from the old s: a simultaneous (Jacobi) update
            s = [s[0], *(v - step_size * g for v, g in zip(s[1:], gradient[1:], strict=True))]  # (sPC.5)
            now, gradient = look(s)  # the errors belong to the new states
        else:
            step = int(inference_steps)
    record(step, s, now, last=True)
    energy = total_energy(net, now, y)
    residual = norm_squared(gradient, energy) ** 0.5
    return Inference(s, energy, residual, step, record.result()), now, start


def gradient(
    net, params, x, y, precision=None, *, inference_steps=20, step_size=0.1, tolerance=None, record_every=0
) -> Gradient:
    r"""Local weight gradient of sPC after inference from the feedforward pass, Eqs. (sPC.1)-(sPC.7).

    This is the gradient of the energy at the final states, not that of the loss: it equals neither
    backprop's gradient nor, before convergence, the equilibrium's. From the feedforward start the error
    needs L - l steps to reach layer l and arrives there multiplied by ``step_size ** (L - l)``, Eq. (sPC.9).

    Parameters
    ----------
    net : Network
    params : list of dicts            as :meth:`Network.init` draws them
    x : (B, n[0])                     input, clamped
    y : (B, n[L]) or labels (B,)      target
    precision : list of L, or None    Pi[1..L]: None, a number, (n[l],) or SPD (n[l], n[l]); None means one
    inference_steps : int             number N of inference steps
    step_size : float                 step lambda
    tolerance : float, optional       stop when the residual of every sample is below it
    record_every : int                snapshots before every so many steps, in ``recording`` (0: none)

    Returns
    -------
    Gradient
        ``grads``, ``loss`` (of the feedforward prediction), ``energy``, ``states``, ``errors``,
        ``residual``, ``recording``.

    Raises
    ------
    ValueError, TypeError             bad shapes, dtypes, labels, values or options, before any work
    FloatingPointError                the feedforward loss is not finite

    Warns
    -----
    InferenceWarning                  inference diverged, or missed the tolerance

    Notes
    -----
    Cost: N + 1 forward and backward passes, O(N B P) time. On a device three synchronisations, whatever N.
    Derivation: reference/equations.md.  Source: Whittington & Bogacz (2017).

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(2, 3, "tanh"), pc.Dense(3, 4, "tanh"), pc.Dense(4, 1)])
    >>> x, y = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [0.0]])
    >>> g = gradient(net, net.init(seed=0), x, y, inference_steps=50, step_size=0.2)
    >>> bool((g.energy < g.loss).all()), bool((g.residual < 1e-2).all())
    (True, True)
    """
    check_options(inference_steps, step_size, tolerance, record_every)
    x, y = prepare(net, params, x, y)
    Pi = check_precision(net, params, precision)
    s, now, first = _feedforward(net, params, x, y, Pi)
    options = inference_steps, step_size, tolerance, record_every
    run, now, loss = _infer(net, params, s, y, Pi, now, first, *options, feedforward=True)
    grads = local_gradient(net, params, now)
    return Gradient(grads, loss, run.energy, run.s, now.eps, run.residual, recording=run.recording)
