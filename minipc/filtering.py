r"""Filtering: the inference of temporal predictive coding at deployment, on observations that come when they come.

=========  ==========================================================================================
(tPC.8)    nothing observed: :math:`s_t = \mu_t`, an open-loop rollout
(tPC.9)    linear: :math:`s_t = (\Pi + C^\top R^{-1} C)^{-1} (\Pi\mu_t + C^\top R^{-1} y_t)`
(KAL.1)    which is :math:`\mu_t + K (y_t - C\mu_t)`, :math:`K = Q C^\top (C Q C^\top + R)^{-1}`, :math:`Q = \Pi^{-1}`
(KAL.4)    propagated precision: :math:`\Pi_t = (J_t \Sigma_{t-1} J_t^\top + Q)^{-1}`, :math:`\Sigma_t = [H_t^{-1}]_{ss}`: the Kalman filter
=========  ==========================================================================================
"""

from typing import NamedTuple

from .arguments import check_module, check_word
from .backend import Array, array_module, is_array
from .cells import GatedCell
from .recurrent import flat_time, prepare_sequences
from .rtrl import AT_ONCE
from .timestep import Timestep, weigh_rows
from .trajectory import CARRIES, together, walk, warn


class Filtered(NamedTuple):
    """What :func:`infer` returns.

    Attributes
    ----------
    states, predictions : (T, B, N)     s_t inferred, and mu_t
    outputs, forecasts : (T, B, o)      read out of s_t, and of mu_t: before y_t was seen
    energy, residual : (T, B)           of F_t/beta at the end of inference
    covariance : (T, B, N, N)           Sig_t of (KAL.4), with ``propagate``; else None
    final : list                        carried state of every cell, to go on with
    """

    states: Array
    predictions: Array
    outputs: Array
    forecasts: Array
    energy: Array
    residual: Array
    covariance: Array
    final: list


def infer(
    net,
    params,
    inputs,
    observations,
    mask=None,
    h0=None,
    reset=None,
    *,
    carry="state",
    inference="spc",
    beta=1.0,
    inference_steps=20,
    step_size=0.1,
    tolerance=None,
    precision=None,
    start="prediction",
    observed=None,
    propagate=False,
) -> Filtered:
    r"""Filtering: the inference that training uses, at deployment, on observations that come when they come.

    Parameters
    ----------
    net, params, inputs, observations, mask, h0, reset, carry, inference, beta, inference_steps, step_size, tolerance, precision,
    start                             as in :func:`gradient`; the last precision is R^-1, that of the observations
    mask : (T, B) bool, or lengths    where something is observed; nowhere is an open-loop rollout: s_t = mu_t (tPC.8)
    observed : (T, B, o) bool         the same for every channel of a squared error, in the place of ``mask``
    propagate : bool
        the precision of the prediction follows the past, Eq. (KAL.4): ``precision[0]`` is then Q^-1 of the noise that each step
        adds, and the covariance Sig_t of the state is returned. The initial state is known. With a linear cell and
        readout this is the Kalman filter, with others an extended one. Needs "state", and Dense blocks above a gated cell

    Returns
    -------
    Filtered

    Raises
    ------
    ValueError, TypeError             as :func:`gradient`; channels masked under a full R^-1 (its entries would have to change)

    Notes
    -----
    Cost: N forward and backward passes of what stands above the state, a step; ``propagate``: and N^3.
    """
    if not isinstance(propagate, bool):
        raise TypeError(f"propagate must be True or False, got {propagate!r}")
    p = prepare_sequences(
        net, params, inputs, observations, mask, h0, reset, stretch=True, symbol="observations"
    )
    options = {"inference": inference, "beta": beta, "inference_steps": inference_steps}
    options |= {"step_size": step_size, "tolerance": tolerance, "start": start}
    check_word("carry", carry, CARRIES)
    step = Timestep(net, params, precision, **options)
    weight = None if observed is None else _check_observed(net, params, p, mask, observed, step)
    kalman, c = None, net.cells[-1]
    if propagate:
        if carry != "state":
            raise ValueError(
                "propagate needs carry state: a covariance follows what is inferred; got prediction"
            )
        if not isinstance(net.blocks[c], GatedCell):
            raise ValueError(f"propagate needs a gated cell, block {c + 1} is {net.blocks[c].formula}")
        step.check_second_derivatives("propagate")
        kalman = Propagated(step, p.start[c])
    rows = [[] for _ in range(8)]
    for path in walk(net, params, p, step, carry, AT_ONCE, weight, kalman):
        xp, shape = array_module(path.mu), path.mu.shape[:2]
        u = flat_time(path.stretch.inputs[c])
        read = [step.outputs(flat_time(h), u).reshape(*shape, -1) for h in (path.s, path.mu)]
        scalars = [xp.stack([v[i] for v in path.looks]).reshape(shape) for i in (3, 4, 5)]
        found = [path.s, path.mu, *read, *scalars, xp.stack(path.covariance) if kalman else None]
        for values, value in zip(rows, found, strict=True):
            values.append(value)
    s, mu, outputs, forecasts, first, energy, residual = (together(values) for values in rows[:7])
    warn(inference, first, energy, residual, step_size, tolerance)
    covariance = together(rows[7]) if kalman else None
    return Filtered(
        s, mu, outputs, forecasts, energy, residual, covariance, [path.last[l] for l in net.cells]
    )


def _check_observed(net, params, p, mask, observed, step):
    """The weight (T, B, o) of the channels."""
    if mask is not None:
        raise ValueError("mask and observed both say what is seen: give one of them")
    if net.loss.name != "mse":
        raise ValueError(
            f"observed is for the channels of a squared error, the loss is {net.loss.name}: take mask"
        )
    if not is_array(observed):
        raise TypeError(f"observed must be a NumPy or CuPy array, got {type(observed).__name__}")
    if observed.dtype.kind != "b" or observed.shape != p.targets.shape:
        raise ValueError(
            f"observed must be boolean of shape {p.targets.shape}, got {observed.dtype} of shape {observed.shape}"
        )
    check_module("observed", observed, params)
    if getattr(step.Pi[-1], "ndim", 0) == 2 and bool((observed.any(axis=2) != observed.all(axis=2)).any()):
        raise ValueError(
            f"observed must take all channels of a step or none under a full precision of the output, Pi[{step.layers + 1}]: "
            f"give that one as a diagonal"
        )
    return observed.astype(p.targets.dtype)


class Propagated:
    """The covariance of the state, from step to step, Eq. (KAL.4)."""

    def __init__(self, step, start):
        xp, (B, N) = array_module(start), start.shape
        Pi = weigh_rows(step.Pi[1], xp.eye(N, dtype=start.dtype)[None])[0]
        self.step, self.Q = step, xp.linalg.inv(Pi) / step.beta
        self.covariance = xp.zeros((B, N, N), start.dtype)

    def predict(self, cell, p, tape, reset):
        """Pi_t over beta, ``(B, N, N)``."""
        xp, Sig = array_module(self.Q), self.covariance
        if reset is not None:
            Sig = xp.where(reset[:, None, None], xp.zeros_like(Sig), Sig)
        A = cell.state_jacobian(p, tape)
        return xp.linalg.inv(A @ Sig @ xp.swapaxes(A, 1, 2) + self.Q) / self.step.beta  # (KAL.4)

    def update(self, now, Pi):
        """Sig_t, at the end of a step's inference."""
        H, _ = self.step.second_derivatives(now, [None, Pi, *self.step.Pi[2:]], mixed=False)
        N = Pi.shape[-1]
        self.covariance = array_module(Pi).linalg.inv(H)[:, :N, :N] / self.step.beta  # (KAL.4)
        return self.covariance
