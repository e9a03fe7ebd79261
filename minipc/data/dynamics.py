r"""Sequences from dynamical systems: a linear one with Gaussian noise, and Lorenz's.

=========  ==========================================================================================
(TRK.1)    state, :math:`z_t = A z_{t-1} + w_t`, :math:`w_t \sim N(0, Q)`, from :math:`z_0 \sim N(0, P_0)`
(TRK.2)    observation, :math:`y_t = C z_t + v_t`, :math:`v_t \sim N(0, R)`
(TRK.3)    stationary covariance, :math:`P = A P A^\top + Q`
(LOR.1)    :math:`\dot x_1 = \sigma (x_2 - x_1)`, :math:`\dot x_2 = x_1 (\rho - x_3) - x_2`,
           :math:`\dot x_3 = x_1 x_2 - \beta x_3`; :math:`\sigma = 10, \rho = 28, \beta = 8/3`
(LOR.2)    Runge-Kutta step of order 4, :math:`x \leftarrow x + \tfrac{h}{6} (k_1 + 2 k_2 + 2 k_3 + k_4)`
=========  ==========================================================================================

Everything is drawn from ``seed`` and computed in float64, and rounded to ``dtype`` at the end. Samples are rows, so
``z @ A.T`` is A z of every sample. Derivations: reference/equations.md, section 12.
"""

from typing import NamedTuple

import numpy as np

from ..arguments import check_count, check_positive_number, float_dtype, generator
from .containers import Sequences

SPRING = {  # a mass on a spring with friction: position and velocity, of which the position is observed
    "A": ((1.0, 0.2), (-0.4, 0.7)),
    "C": ((1.0, 0.0),),
    "Q": ((0.01, 0.0), (0.0, 0.1)),
    "R": ((0.1,),),
}
SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3


class Tracking(NamedTuple):
    """Observations, the states behind them at the steps t = 1..T, and the model that drew them.

    Attributes
    ----------
    observations : (T, B, o)            y_1, ..., y_T
    states : (T, B, n)                  z_1, ..., z_T; z_0 is not among them
    A, C, Q, R : (n, n), (o, n), (n, n), (o, o)
    P0 : (n, n)                         covariance of z_0, whose mean is 0
    """

    observations: np.ndarray
    states: np.ndarray
    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    P0: np.ndarray


def tracking(
    *, T=200, samples=20, A=None, C=None, Q=None, R=None, P0=None, seed=0, dtype="float64"
) -> Tracking:
    r"""Noisy observations of a linear system, Eqs. (TRK.1), (TRK.2): where the Kalman filter is the best estimate.

    Without matrices the system is a mass on a spring with friction, pushed at random: z = (position, velocity),
    A = [[1, 0.2], [-0.4, 0.7]] (not symmetric, eigenvalues 0.85 +- 0.24i), the position observed, C = [1 0],
    Q = diag(0.01, 0.1), R = 0.1. Give A, C, Q and R together, or none of them.

    Parameters
    ----------
    T : int                             steps
    samples : int                       B
    A, C, Q, R : array_like             (n, n), (o, n), (n, n), (o, o); Q and R symmetric, no negative eigenvalue
    P0 : array_like (n, n), optional    covariance of z_0; without it the stationary one (TRK.3), which A must have
    seed : int or numpy.random.Generator
    dtype : "float32" or "float64"      of all arrays, the matrices too

    Returns
    -------
    Tracking                            observations (T, B, o), states (T, B, n), A, C, Q, R, P0

    Raises
    ------
    ValueError, TypeError               T or samples below 1; a matrix missing, not finite, of a wrong shape, or no
                                        covariance; no P0 and A has an eigenvalue of modulus 1 or more; seed; dtype

    Notes
    -----
    A filter starts from N(0, P0) at t = 0 and predicts before it sees y_1. To predict the next observation:
    ``Sequences(observations[:-1], observations[1:])``.

    Cost: O(T B (n^2 + o n)), and O(n^6) for the stationary covariance.
    Derivation: reference/equations.md#trk1.

    Examples
    --------
    >>> system = tracking(T=100, samples=3)
    >>> system.observations.shape, system.states.shape, system.A.shape
    ((100, 3, 1), (100, 3, 2), (2, 2))
    """
    check_count("T", T, least=1)
    check_count("samples", samples, least=1)
    dtype, rng = float_dtype(dtype), generator(seed)
    A, C, Q, R, P0 = _system(A, C, Q, R, P0)
    (o, n), (q, r) = C.shape, (_root(Q), _root(R))
    w, v = rng.normal(size=(T, samples, n)) @ q.T, rng.normal(size=(T, samples, o)) @ r.T
    z = rng.normal(size=(samples, n)) @ _root(P0).T
    states = np.empty((T, samples, n))
    with np.errstate(over="ignore", invalid="ignore"):  # told below, in words
        for t in range(T):
            z = z @ A.T + w[t]  # (TRK.1)
            states[t] = z
        observations = states @ C.T + v  # (TRK.2)
        result = Tracking(*(array.astype(dtype) for array in (observations, states, A, C, Q, R, P0)))
    if not (np.isfinite(result.states).all() and np.isfinite(result.observations).all()):
        raise ValueError(f"A must not let the states grow beyond all {dtype} numbers in T = {T} steps")
    return result


def stationary_covariance(A, Q):
    """P (n, n) with P = A P A^T + Q, as one linear system for its n^2 entries, Eq. (TRK.3)."""
    n = len(A)
    return np.linalg.solve(np.eye(n * n) - np.kron(A, A), Q.ravel()).reshape(n, n)  # (TRK.3)


def _system(A, C, Q, R, P0):
    """The matrices of :func:`tracking` as float64 arrays, checked."""
    given = {"A": A, "C": C, "Q": Q, "R": R}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) not in (0, 4):
        raise ValueError(
            f"A, C, Q and R must be given together, or none of them; missing: {', '.join(missing)}"
        )
    A, C, Q, R = (_matrix(name, value) for name, value in (SPRING if missing else given).items())
    n, o = len(A), len(C)
    shapes = {"A": (A, (n, n)), "C": (C, (o, n)), "Q": (Q, (n, n)), "R": (R, (o, o))}
    for name, (value, shape) in shapes.items():
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
    _check_covariance("Q", Q)
    _check_covariance("R", R)
    if P0 is None:
        radius = abs(np.linalg.eigvals(A)).max()
        if radius > 1 - 1e-9:
            raise ValueError(
                f"P0 must be given if A has an eigenvalue of modulus 1 or more, got modulus {radius:.6g}: "
                f"there is no stationary covariance to start from"
            )
        P0 = stationary_covariance(A, Q)
        return A, C, Q, R, (P0 + P0.T) / 2  # symmetric but for rounding
    P0 = _matrix("P0", P0)
    if P0.shape != (n, n):
        raise ValueError(f"P0 must have shape {(n, n)}, got {P0.shape}")
    _check_covariance("P0", P0)
    return A, C, Q, R, P0


def _matrix(name, value):
    """A finite real matrix in float64, a new array."""
    try:
        matrix = np.array(value)
    except ValueError:
        raise ValueError(f"{name} must be a matrix, got rows of different lengths") from None
    if matrix.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got {matrix.dtype}")
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} must be a matrix (two axes, not empty), got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, got {matrix[~np.isfinite(matrix)][0]}")
    return matrix.astype(np.float64)


def _check_covariance(name, P):
    """Symmetric, and no negative eigenvalue but for rounding."""
    size = abs(P).max()
    if abs(P - P.T).max() > 1e-9 * size:
        raise ValueError(f"{name} must be symmetric, got {P.tolist()}")
    least = np.linalg.eigvalsh(P).min()
    if least < -1e-9 * size:
        raise ValueError(f"{name} must be a covariance, but has the negative eigenvalue {least:.6g}")


def _root(P):
    """L with L L^T = P; P may be singular, which Cholesky's would not allow."""
    values, vectors = np.linalg.eigh(P)
    return vectors * np.sqrt(np.maximum(values, 0))


def lorenz(*, T=1000, samples=1, dt=0.01, burn_in=1000, seed=0, dtype="float64") -> Sequences:
    r"""Next-step prediction of Lorenz's chaotic system, Eqs. (LOR.1), (LOR.2); sigma 10, rho 28, beta 8/3.

    Each sample is a trajectory of its own. It starts uniformly in the box -10..10, -10..10, 15..35 and is integrated
    for ``burn_in`` steps that are thrown away, so that what is left lies on the attractor.

    Parameters
    ----------
    T : int                             steps
    samples : int                       B
    dt : float                          h, time of a step, integration step at once; positive
    burn_in : int                       steps before the first input
    seed : int or numpy.random.Generator
    dtype : "float32" or "float64"

    Returns
    -------
    Sequences                           inputs (T, B, 3), the states x(t); targets (T, B, 3), the states x(t + dt);
                                        no mask. The inputs are the trajectory; inputs[1:] equals targets[:-1]

    Raises
    ------
    ValueError, TypeError               T or samples below 1, burn_in below 0, dt not positive, or so large that the
                                        integration leaves all numbers; seed; dtype

    Notes
    -----
    States are in the units of the equations, about -20..20, -27..27 and 0..50: scale them before training.
    Neighbouring trajectories part like exp(0.9 t) (the known largest exponent, 0.906): the error of a step, at
    dt 0.01 at most 6e-5, becomes of order one within about 12 units of time, so the trajectory is *a* Lorenz
    trajectory, not the one of its start. Baseline: a hold, "the next state is this one".

    Cost: 4 (T + burn_in) B evaluations of (LOR.1).
    Derivation: reference/equations.md#lor1.  Source: Lorenz (1963), J. Atmos. Sci. 20(2).

    Examples
    --------
    >>> task = lorenz(T=5, samples=2)
    >>> task.inputs.shape, bool((task.inputs[1:] == task.targets[:-1]).all())
    ((5, 2, 3), True)
    """
    check_count("T", T, least=1)
    check_count("samples", samples, least=1)
    check_count("burn_in", burn_in, least=0)
    check_positive_number("dt", dt)
    dtype, rng, dt = float_dtype(dtype), generator(seed), float(dt)
    x = rng.uniform((-10, -10, 15), (10, 10, 35), (samples, 3))
    states = np.empty((T + 1, samples, 3))
    with np.errstate(over="ignore", invalid="ignore"):  # told below, in words
        for _ in range(burn_in):
            x = runge_kutta_step(lorenz_field, x, dt)
        for t in range(T + 1):
            states[t] = x
            x = runge_kutta_step(lorenz_field, x, dt)
    if not np.isfinite(states).all():
        raise ValueError(f"dt must be small, about 0.01, for the integration to stay finite; got {dt}")
    states = states.astype(dtype)
    return Sequences(states[:-1], states[1:])


def lorenz_field(x):
    """dx/dt (..., 3) of Lorenz's system, Eq. (LOR.1)."""
    x1, x2, x3 = x[..., 0], x[..., 1], x[..., 2]
    return np.stack([SIGMA * (x2 - x1), x1 * (RHO - x3) - x2, x1 * x2 - BETA * x3], axis=-1)  # (LOR.1)


def runge_kutta_step(field, x, h):
    """x after the time h, the classical Runge-Kutta method of order 4, Eq. (LOR.2)."""
    k1 = field(x)
    k2 = field(x + h / 2 * k1)
    k3 = field(x + h / 2 * k2)
    k4 = field(x + h * k3)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)  # (LOR.2)
