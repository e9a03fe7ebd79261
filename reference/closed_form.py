"""Closed forms of deep linear predictive-coding nets: equilibrium, energy, gradient, Hessians, laws, learning.

The network is mu_l = W_l s_{l-1} + b_l with squared error at the output; linear algebra replaces inference.
At the end, one nonlinear example with a single unknown (sPC.23).

========  ======================================================================  ===========================
id        equation                                                                function
========  ======================================================================  ===========================
(LIN.1)   P_L = I, P_l = P_{l+1} W_{l+1}                                          path_matrices
(LIN.2)   Omega = sum_{l=1}^{L} P_l Pi_l^{-1} P_l^T,  r = y - yhat_FF             omega, residual
(LIN.3)   xi_l* = P_l^T Omega^{-1} r,  eps_l* = Pi_l^{-1} xi_l*,                  equilibrium
          s_l* = W_l s_{l-1}* + b_l + eps_l*
(LIN.4)   E* = 1/2 r^T Omega^{-1} r                                               equilibrium, energy_star
(LIN.5)   dE*/dW_l = -xi_l* s_{l-1}*^T,  dE*/db_l = -xi_l*                        weight_gradient
(LIN.6)   H_s block tridiagonal, and the right side of H_s s* = rhs               hessian_states, block_solve
(LIN.7)   Pi_L = beta I, beta -> 0:    eps_l*/beta -> P_l^T r                     small_beta_limit
(LIN.8)   Pi_L = beta I, beta -> inf:  eps_l* -> P_l^T (sum_{l<L} P_l P_l^T)^+ r  large_beta_limit
(LIN.10)  Hessians of the loss and of E* at W = 0, scalar chain                   saddle_hessians
          and their eigenvalues                                                   saddle_eigenvalues
(ePC.12)  residual and errors after N steps from e = 0, mode by mode              mode_law
(ePC.13)  H_e = blkdiag(Pi_l) + J^T Pi_L J,  J = [P_1 ... P_{L-1}]                hessian_errors
(sPC.12)  C(k, i) lam^i (1 - lam)^{k-i},  i = L - l                               binomial_point_mass
(FPA.2)   Pr[ Binomial(k, lam) >= i ],  i = L - l                                 binomial_tail
(sPC.15)  eps_l* = beta P_l^T Omega^{-1} r for the interpolated target            interpolated_errors
(sPC.16)  eps_l* = beta P_l^T (I + beta sum_{l<L} P_l P_l^T)^{-1} r               nudged_errors
(sPC.21)  s_a = mu_a + w g' pi_b dev / pi_a',  pi_a' = pi_a + pi_b (w^2 g'^2 - w g'' dev)  newton_unit
(sPC.22)  cos(y - yhat, change of yhat) after an infinitesimal weight step        target_alignment
(sPC.23)  the warm-up example: flow with error units, direct flow, mode           warm_up_flow, warm_up_mode
(sPC.24)  steps to contract every mode to a given share at lam = 1/ev_max         contraction_steps
========  ======================================================================  ===========================

Conventions. Batch first, (B, n); W is (n_out, n_in); eps = state - prediction; energies are per sample,
(B,); gradients are to be descended; parameter gradients are sums over the batch, structured as ``params``.
Lists of results are indexed by the layer; entry 0 is None where nothing exists. Stacked vectors and
Hessians hold the free layers 1 to L-1 in this order, n = n_1 + ... + n_{L-1}. Transposes are never
conjugated: complex inputs pass through, and a complex step may differentiate ``energy_star``.

params     list of {"W", "b"}, one a block, counted from zero; shifted once by ``by_layer``
precision  None or the precisions of layers 1 to L: each None (one), a scalar, (n_l,) or SPD (n_l, n_l)
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Equilibrium(NamedTuple):
    """Result of ``equilibrium``: lists indexed by the layer and the energy (B,)."""

    states: list  # [x, s_1*, ..., s_{L-1}*], each (B, n_l)
    errors: list  # [None, eps_1*, ..., eps_L*]
    weighted: list  # [None, xi_1*, ..., xi_L*]
    energy: np.ndarray  # E*, (B,)


# Helpers


def by_layer(params):
    """W = [None, W_1, ..., W_L] and b = [None, b_1, ..., b_L], indexed by the layer."""
    return [None, *(p["W"] for p in params)], [None, *(p["b"] for p in params)]


def full_precision(Pi, n):
    """Pi as a full matrix (n, n), from None, a scalar, (n,) or (n, n)."""
    if Pi is None:
        return np.eye(n)
    if np.ndim(Pi) == 0:
        return Pi * np.eye(n)
    if np.ndim(Pi) == 1:
        return np.diag(Pi)
    return np.asarray(Pi)


def precisions(params, precision):
    """[None, Pi_1, ..., Pi_L], full matrices (n_l, n_l)."""
    given = [None] * len(params) if precision is None else list(precision)
    if len(given) != len(params):
        raise ValueError(f"precision must have {len(params)} entries, one a layer; got {len(given)}")
    return [None, *(full_precision(Pi, len(p["b"])) for Pi, p in zip(given, params, strict=True))]


def solve_rows(A, v):
    """A^{-1} v for each row of v (B, n); A is (n, n)."""
    return np.linalg.solve(A, v.T).T


def slices(params):
    """[None, slice of s_1, ..., slice of s_{L-1}] in the stacked free layers, and their total width n."""
    widths = [len(p["b"]) for p in params[:-1]]
    ends = np.cumsum([0, *widths])
    return [None, *(slice(start, end) for start, end in pairwise(ends))], int(ends[-1])


# Paths, output covariance, residual


def path_matrices(params):
    """[None, P_1, ..., P_L], P_l = dyhat/ds_l of shape (n_L, n_l), (LIN.1)."""
    W, _ = by_layer(params)
    L = len(params)
    P = [None] * (L + 1)
    P[L] = np.eye(W[L].shape[0])  # (LIN.1)
    for l in range(L - 1, 0, -1):
        P[l] = P[l + 1] @ W[l + 1]  # (LIN.1)
    return P


def omega(params, precision=None):
    """Omega (n_L, n_L), covariance of the output, (LIN.2)."""
    P, Pi = path_matrices(params), precisions(params, precision)
    return sum(P[l] @ np.linalg.solve(Pi[l], P[l].T) for l in range(1, len(params) + 1))  # (LIN.2)


def residual(params, x, y):
    """r = y - yhat_FF (B, n_L); the biases live in yhat_FF, (LIN.2)."""
    s = x
    for p in params:
        s = s @ p["W"].T + p["b"]
    return y - s  # (LIN.2)


# Equilibrium


def equilibrium(params, x, y, precision=None):
    """States, errors, weighted errors and energy where dE/ds = 0, (LIN.3), (LIN.4)."""
    W, b = by_layer(params)
    P, Pi, L = path_matrices(params), precisions(params, precision), len(params)
    r = residual(params, x, y)
    filtered = solve_rows(omega(params, precision), r)  # Omega^{-1} r, (B, n_L)
    xi, eps, s = [None], [None], [x]
    for l in range(1, L + 1):
        xi.append(filtered @ P[l])  # xi_l* = P_l^T Omega^{-1} r, (LIN.3)
        eps.append(solve_rows(Pi[l], xi[l]))  # (LIN.3)
    for l in range(1, L):
        s.append(s[l - 1] @ W[l].T + b[l] + eps[l])  # (LIN.3)
    return Equilibrium(s, eps, xi, 0.5 * np.sum(r * filtered, axis=1))  # (LIN.4)


def energy_star(params, x, y, precision=None):
    """E* (B,), the energy at the equilibrium as a function of everything, (LIN.4)."""
    r = residual(params, x, y)
    return 0.5 * np.sum(r * solve_rows(omega(params, precision), r), axis=1)  # (LIN.4)


def weight_gradient(equilibrium):
    """Structure of params: derivative of the summed E*, local gradient at the equilibrium, (LIN.5)."""
    s, _, xi, _ = equilibrium
    gradient = []
    for xi_l, s_below in zip(xi[1:], s, strict=True):
        gradient.append({"W": -xi_l.T @ s_below, "b": -xi_l.sum(axis=0)})  # (LIN.5)
    return gradient


def hessian_states(params, precision=None):
    """H_s (n, n), block tridiagonal, (LIN.6)."""
    W, _ = by_layer(params)
    Pi, (at, n), L = precisions(params, precision), slices(params), len(params)
    H = np.zeros((n, n), dtype=np.result_type(*W[1:], *Pi[1:]))
    for l in range(1, L):
        H[at[l], at[l]] = Pi[l] + W[l + 1].T @ Pi[l + 1] @ W[l + 1]  # (LIN.6) diagonal block
        if l + 1 < L:
            H[at[l], at[l + 1]] = -W[l + 1].T @ Pi[l + 1]  # (LIN.6) block to the right
            H[at[l + 1], at[l]] = -Pi[l + 1] @ W[l + 1]  # its transpose
    return H


def block_solve(params, x, y, precision=None):
    """[x, s_1*, ..., s_{L-1}*], each (B, n_l): the linear system dE/ds = 0 solved as a whole, (LIN.6)."""
    W, b = by_layer(params)
    Pi, (at, n), L = precisions(params, precision), slices(params), len(params)
    H = hessian_states(params, precision)
    rhs = np.zeros((len(x), n), dtype=np.result_type(H, x, y, *b[1:]))
    for l in range(1, L):
        rhs[:, at[l]] = Pi[l] @ b[l] - W[l + 1].T @ Pi[l + 1] @ b[l + 1]  # (LIN.6)
        if l == 1:
            rhs[:, at[l]] += x @ (Pi[1] @ W[1]).T  # (LIN.6) clamped input
        if l == L - 1:
            rhs[:, at[l]] += y @ (W[L].T @ Pi[L]).T  # (LIN.6) clamped target
    stacked = solve_rows(H, rhs)
    return [x, *(stacked[:, at[l]] for l in range(1, L))]


def hessian_errors(params, precision=None):
    """H_e (n, n) = blkdiag(Pi_l) + J^T Pi_L J with J = [P_1 ... P_{L-1}], (ePC.13)."""
    P, Pi, (at, n), L = path_matrices(params), precisions(params, precision), slices(params), len(params)
    H = np.zeros((n, n), dtype=np.result_type(*P[1:], *Pi[1:]))
    for l in range(1, L):
        H[at[l], at[l]] += Pi[l]  # (ePC.13) blkdiag(Pi_l)
        for m in range(1, L):
            H[at[l], at[m]] += P[l].T @ Pi[L] @ P[m]  # (ePC.13) J^T Pi_L J
    return H


# Laws and limits


def mode_law(params, x, y, step_size, steps):
    """y - yhat (B, n_L) and [None, e_1, ..., e_{L-1}] after ePC steps from e = 0 with Pi = 1, (ePC.12)."""
    P, r = path_matrices(params), residual(params, x, y)
    ev, V = np.linalg.eigh(omega(params))  # modes: ev (n_L,), columns v of V (n_L, n_L)
    amplitude = (r @ V) / ev  # r.v / ev, (B, n_L)
    left = (1.0 - step_size * ev) ** steps  # share of each mode that has not relaxed
    output = (amplitude * (1.0 + (ev - 1.0) * left)) @ V.T  # (ePC.12)
    relaxed = (amplitude * (1.0 - left)) @ V.T
    return output, [None, *(relaxed @ P_l for P_l in P[1:-1])]  # e_l = P_l^T ..., (ePC.12)


def small_beta_limit(params, x, y):
    """[None, P_1^T r, ..., P_{L-1}^T r]: eps_l*/beta for Pi_L = beta I, beta -> 0, other Pi = 1, (LIN.7)."""
    P, r = path_matrices(params), residual(params, x, y)
    return [None, *(r @ P_l for P_l in P[1:-1])]  # (LIN.7)


def large_beta_limit(params, x, y):
    """[None, eps_1*, ..., eps_{L-1}*] for Pi_L = beta I, beta -> inf, other Pi = 1, (LIN.8)."""
    P, r = path_matrices(params), residual(params, x, y)
    hidden = sum(P_l @ P_l.T for P_l in P[1:-1])  # sum_{l<L} P_l P_l^T
    fitted = r @ np.linalg.pinv(hidden, rcond=1e-12, hermitian=True).T
    return [None, *(fitted @ P_l for P_l in P[1:-1])]  # (LIN.8)


def binomial_point_mass(k, i, step_size):
    """C(k, i) lam^i (1 - lam)^{k-i}, a float: share of the error in layer l = L - i at step k, (sPC.12)."""
    if i > k:
        return 0.0
    return math.comb(k, i) * step_size**i * (1.0 - step_size) ** (k - i)  # (sPC.12)


def binomial_tail(k, i, step_size):
    """Pr[Binomial(k, lam) >= i], a float: share of backprop's error in layer l = L - i at step k, (FPA.2)."""
    return sum(binomial_point_mass(k, m, step_size) for m in range(i, k + 1))  # (FPA.2)


def interpolated_errors(params, x, y, beta):
    """[None, eps_1*, ..., eps_{L-1}*] at unit precision for the target yhat_FF + beta r, (sPC.15)."""
    P, r = path_matrices(params), residual(params, x, y)
    filtered = solve_rows(omega(params), beta * r)  # the residual of the nearer target
    return [None, *(filtered @ P_l for P_l in P[1:-1])]  # (sPC.15)


def nudged_errors(params, x, y, beta):
    """[None, eps_1*, ..., eps_{L-1}*] at unit precision with the loss weighted by beta, (sPC.16)."""
    P, r = path_matrices(params), residual(params, x, y)
    hidden = sum(P_l @ P_l.T for P_l in P[1:-1])
    filtered = solve_rows(np.eye(len(hidden)) + beta * hidden, beta * r)
    return [None, *(filtered @ P_l for P_l in P[1:-1])]  # (sPC.16)


# Learning: the saddle at the origin, target alignment


def saddle_hessians(x, y, depth):
    """Hessians (depth, depth) of the summed loss and of the summed E* at w = 0, (LIN.10).

    Of the scalar chain yhat = w_L ... w_1 x without biases, unit precision; x and y are (B,).
    """
    xx, xy, yy = np.sum(x * x), np.sum(x * y), np.sum(y * y)
    loss, energy = np.zeros((depth, depth)), np.zeros((depth, depth))
    if depth == 1:
        loss[0, 0] = energy[0, 0] = xx  # no hidden layer: E* is the loss
    if depth == 2:
        loss[0, 1] = loss[1, 0] = energy[0, 1] = energy[1, 0] = -xy  # (LIN.10)
    if depth >= 2:
        energy[-1, -1] = -yy  # (LIN.10) from Omega = 1 + w_L^2 + ..., the same at every depth
    return loss, energy


def saddle_eigenvalues(x, y, depth):
    """Eigenvalues, ascending, of the two Hessians of ``saddle_hessians`` by formula, depth at least 2, (LIN.10)."""
    xy, yy = np.sum(x * y), np.sum(y * y)
    if depth == 2:
        root = (yy**2 + 4 * xy**2) ** 0.5
        return np.array([-abs(xy), abs(xy)]), np.array([-yy - root, -yy + root]) / 2  # (LIN.10)
    return np.zeros(depth), np.array([-yy] + [0.0] * (depth - 1))  # (LIN.10)


def target_alignment(params, x, y, rule):
    """cos(r, d yhat) (B,), d yhat the change after an infinitesimal weight step on this sample alone, (sPC.22).

    ``rule`` "backprop" steps along the gradient of the loss, "equilibrium" along that of E* (LIN.5), unit
    precision.
    """
    W, b = by_layer(params)
    P, r, feedforward = path_matrices(params), residual(params, x, y), [x]
    for l in range(1, len(params)):
        feedforward.append(feedforward[-1] @ W[l].T + b[l])
    star = equilibrium(params, x, y)
    at = {
        "equilibrium": (star.states, star.weighted),
        "backprop": (feedforward, [None, *(r @ Q for Q in P[1:])]),
    }
    s, xi = at[rule]
    change = 0.0
    for l in range(
        1, len(params) + 1
    ):  # dW_l = xi_l s_{l-1}^T, db_l = xi_l move yhat by P_l (dW_l s_{l-1}^FF + db_l)
        overlap = np.sum(s[l - 1] * feedforward[l - 1], axis=1, keepdims=True) + 1.0
        change = change + (overlap * xi[l]) @ P[l].T  # (sPC.22)
    return np.sum(r * change, axis=1) / (np.linalg.norm(r, axis=1) * np.linalg.norm(change, axis=1))


def contraction_steps(eigenvalues, tolerance):
    """Steps until descent at lam = 1/ev_max has shrunk every mode to ``tolerance``, and kappa ln(1/tol), (sPC.24)."""
    kappa = max(eigenvalues) / min(eigenvalues)
    if kappa == 1:
        return 1, 0.0
    slowest = 1.0 - 1.0 / kappa  # factor per step of the mode with ev_min
    return math.ceil(math.log(tolerance) / math.log(slowest)), -kappa * math.log(tolerance)  # (sPC.24)


# Examples with one unknown


SLOPES = {  # g, g', g'' at a
    "tanh": lambda a: (np.tanh(a), 1 - np.tanh(a) ** 2, -2 * np.tanh(a) * (1 - np.tanh(a) ** 2)),
    "sigmoid": lambda a: (
        1 / (1 + np.exp(-a)),
        np.exp(-a) / (1 + np.exp(-a)) ** 2,
        np.exp(-a) * (np.exp(-a) - 1) / (1 + np.exp(-a)) ** 3,
    ),
    "softplus": lambda a: (
        np.log1p(np.exp(a)),
        1 / (1 + np.exp(-a)),
        np.exp(-a) / (1 + np.exp(-a)) ** 2,
    ),
}


def newton_unit(layer, params, x, y, precision):
    """s_a and pi_a' (B, 1) after a Newton step of the parent in x -> a -> b from its prediction, (sPC.21).

    The prediction of a is mu_a = w_1 x + b_1, that of b is w g(s_a) + b_2, and b is clamped to y. ``layer`` is
    the second block's (activation, form): pre, g = phi and w = w_2; post, g(s) = phi(w_2 s + b_2) and w = 1.
    """
    (kind, form), (pi_a, pi_b) = layer, precision
    mu_a = x @ params[0]["W"].T + params[0]["b"]
    w, offset = params[1]["W"].item(), params[1]["b"]
    if form == "pre":
        g, slope, bend = SLOPES[kind](mu_a)
    else:
        g, slope, bend = SLOPES[kind](w * mu_a + offset)
        slope, bend, w, offset = w * slope, w**2 * bend, 1.0, 0.0
    dev = y - (w * g + offset)
    pi = pi_a + pi_b * (w**2 * slope**2 - w * bend * dev)  # (sPC.21)
    return mu_a + w * slope * pi_b * dev / pi, pi  # (sPC.21)


# The warm-up example: one unknown s with prior N(prior, 1), observed through g(s) = s^2 with noise N(0, 1)


def warm_up_flow(observation, prior, step, steps, *, error_units, sign=1.0):
    """s after so many Euler steps from s = prior, (sPC.23); ``sign`` -1 flips eps_p in the equation of s.

    With ``error_units`` the errors are units of their own that relax to their values, from zero; without
    them they have their values at once, and s follows the gradient.
    """
    s, eps_p, eps_u = prior, 0.0, 0.0
    for _ in range(steps):
        error_p, error_u = s - prior, observation - s * s
        if not error_units:
            eps_p, eps_u = error_p, error_u
        ds = eps_u * 2 * s - sign * eps_p  # (sPC.23)
        s, eps_p, eps_u = (
            s + step * ds,
            eps_p + step * (error_p - eps_p),  # (sPC.23)
            eps_u + step * (error_u - eps_u),  # (sPC.23)
        )
    return s


def warm_up_mode(observation, prior):
    """The s of highest posterior density: the real root of 2 s^3 + (1 - 2 u) s - v with the lowest energy, (sPC.23)."""
    roots = np.roots([2.0, 0.0, 1.0 - 2.0 * observation, -prior])
    real = roots[abs(roots.imag) < 1e-9].real
    energy = 0.5 * (real - prior) ** 2 + 0.5 * (observation - real**2) ** 2
    return float(real[np.argmin(energy)])
