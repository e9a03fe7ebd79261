r"""The energy of inference around its equilibrium: gradient, Hessian, equilibrium, spectrum; every sample on its own.

=========  ==========================================================================================
(CHK.10)   modes: :math:`H v_i = \mu_i v_i` with H the Hessian of E at the equilibrium, share of the start
           :math:`c_i = v_i \cdot (z_0 - z^\ast)`; all of them, or Lanczos from the start
=========  ==========================================================================================

All free variables of a sample lie side by side in one vector z of D numbers: the states s[1..L-1] of sPC, the errors
e[1..L-1] of ePC. Everything here is float64 on the host; products with the Hessian are complex steps (CHK.2)
of the engine's own inference gradient, so what is looked at is the energy that the engine descends.
"""

from typing import NamedTuple

import numpy as np  # host only: eigenvalues

from .. import epc, spc
from ..backend import to_numpy
from ..convolution import MaxPool2d

EPS = float(np.finfo(float).eps)
STEP = 1e-100  # of the complex step: its square vanishes
ROWS = 4096  # lanes (directions times samples) in one gradient
POLISH, INNER, ADAPTIVE, ROUNDS, PATIENCE = 30, 200, 50, 40, 5  # limits of the search for the equilibrium
KINKED = ("relu", "leaky_relu")
NEAR = 1e-4  # from here on, relative to the start's gradient, Newton's steps take over


class Landscape:
    """The energy of one rule on one batch; ``rule`` is "spc" or "epc".

    Arguments are checked and on the host in float64: ``x``, ``y`` as rows, precisions by layer.
    """

    def __init__(self, rule, net, params, x, y, Pi):
        self.rule, self.net, self.params, self.x, self.y, self.Pi = rule, net, params, x, y, Pi
        self.sizes = net.sizes[1:-1]

    def split(self, z):
        """Vectors ``(B, D)`` as free variables by layer, entry 0 None."""
        parts = np.split(z, np.cumsum(self.sizes)[:-1], axis=1)
        return [
            None,
            *(v.reshape(len(v), *shape) for v, shape in zip(parts, self.net.shapes[1:-1], strict=True)),
        ]

    def join(self, layers):
        """Free variables by layer, entry 0 not looked at, as vectors ``(B, D)``."""
        return np.concatenate([np.reshape(v, (len(v), -1)) for v in layers[1:]], axis=1)

    def look(self, z):
        """The errors of the network at ``z (..., B, D)``, lanes in a row: sample 0, 1, ... again and again."""
        lanes = z.size // (len(self.x) * z.shape[-1])
        x, y = (np.concatenate([v] * lanes) for v in (self.x, self.y))
        free = self.split(z.reshape(-1, z.shape[-1]))
        if self.rule == "spc":
            return spc._errors(self.net, self.params, [x, *free[1:]], y, self.Pi)
        return epc._point(self.net, self.params, free, x, y, self.Pi)

    def gradient(self, z):
        """dE/dz at ``z (..., B, D)``, the same shape, Eqs. (sPC.4), (ePC.4)."""
        at = self.look(z)
        of = spc._activity_gradient if self.rule == "spc" else epc._error_gradient
        return self.join(of(self.net, self.params, at)).reshape(z.shape)

    def gradients(self, z):
        """:meth:`gradient` of many ``z (K, B, D)``, some at a time."""
        block = max(1, ROWS // z.shape[1])
        return np.concatenate([self.gradient(z[i : i + block]) for i in range(0, len(z), block)])

    def times_hessian(self, z, v):
        """Products of the Hessian at ``z (B, D)`` with ``v (..., B, D)``, by a complex step of the gradient."""
        return self.gradient(z + 1j * STEP * v).imag / STEP  # (CHK.2)

    def hessian(self, z):
        """The Hessian of every sample at ``z``, ``(B, D, D)``: D gradients, many at once."""
        B, D = z.shape
        units, block = np.eye(D), max(1, ROWS // B)
        columns = [self.times_hessian(z, units[i : i + block, None]) for i in range(0, D, block)]
        H = np.concatenate(columns).transpose(1, 0, 2)
        return (H + H.transpose(0, 2, 1)) / 2

    def errors_of(self, z):
        """The errors e[1..L-1] at ``z (..., B, D)``, the same shape."""
        return self.join(self.look(z).eps[:-1]).reshape(z.shape) if self.rule == "spc" else z

    def from_errors(self, e):
        """``z`` at the errors ``e (B, D)``: for sPC the states that follow from them (ePC.1)."""
        if self.rule == "epc":
            return e
        return self.join(epc._point(self.net, self.params, self.split(e), self.x, self.y, self.Pi).s)

    def sides(self, z):
        """Which relu units are on and which pixels win in a max pool at ``z (B, D)``, ``(B, units)`` booleans.

        Where one of them changes, the energy has a kink.
        """
        tapes = self.look(z).tape[1:]
        found = [on for block, tape in zip(self.net.blocks, tapes, strict=True) for on in _sides(block, tape)]
        return np.concatenate([np.zeros((len(z), 0), bool), *found], axis=1)

    def recorded(self, recording):
        """The free variables in a recording of the engine, ``(K, B, D)``."""
        s = np.stack([self.join([to_numpy(v) for v in states]) for states in recording.states]).astype(float)
        if self.rule == "spc":
            return s
        block, of_states = max(1, ROWS // s.shape[1]), self.of_rule("spc")
        return np.concatenate([of_states.errors_of(s[i : i + block]) for i in range(0, len(s), block)])

    def of_samples(self, samples):
        """The landscape of some of the samples."""
        return Landscape(self.rule, self.net, self.params, self.x[samples], self.y[samples], self.Pi)

    def of_rule(self, rule):
        """The same energy in the free variables of another rule: in the errors it is well conditioned."""
        return Landscape(rule, self.net, self.params, self.x, self.y, self.Pi)


def _sides(block, tape):
    """The sides of a block, or of the blocks inside of it: arrays ``(B, units)``."""
    if hasattr(block, "blocks"):
        return [on for inner, t in zip(block.blocks, tape, strict=True) for on in _sides(inner, t)]
    if isinstance(block, MaxPool2d):
        return [wins.reshape(len(wins), -1) for _, wins in block._winners(tape)]
    return [(tape.a > 0).reshape(len(tape.a), -1)] if getattr(block, "activation", "") in KINKED else []


def length(v):
    """Euclidean norm along the last axis."""
    return np.linalg.norm(v, axis=-1)


def equilibrium(land, z, start):
    """The equilibrium ``(B, D)`` below each ``z``: safe descent in the errors, then Newton's method there.

    ``start (B, D)`` is where inference began. A sample whose gradient is not shorter than there, because its step was
    too long, is taken from the start again. The errors are good coordinates for both rules: the equilibria
    are the same, and the smallest eigenvalue does not go to zero with depth.
    """
    of_e = land.of_rule("epc")
    first, floor = length(of_e.gradient(of_start := land.errors_of(start))), rounding(land, start)
    here = land.errors_of(np.where(np.isfinite(z).all(axis=1, keepdims=True), z, start))
    now = length(of_e.gradient(here))
    e = np.where((np.isfinite(now) & (now <= first))[:, None], here, of_start)
    now = best = np.where(now <= first, now, first)
    stuck = np.zeros(len(z), int)
    for _ in range(ROUNDS):
        far = (now > np.maximum(NEAR * first, floor)) & (stuck < PATIENCE)
        if not far.any():
            break
        e = np.where(far[:, None], _descend(of_e, e), e)
        now = length(of_e.gradient(e))
        stuck = np.where(now < 0.9 * best, 0, stuck + 1)
        best = np.minimum(best, now)
    return land.from_errors(_newton(of_e, e))


def _descend(land, e):
    """Some adaptive steps of the engine, Eq. (EPS.1): the energy of no sample rises."""
    first = land.net.blocks[0].forward(land.params[0], land.x)
    at = epc._point(land.net, land.params, land.split(e), land.x, land.y, land.Pi, first)
    options = first, at, ADAPTIVE, "adaptive", None, 0
    run, _, _ = epc.relax(land.net, land.params, land.split(e), land.x, land.y, land.Pi, *options)
    return land.join(run.e)


def _newton(land, e):
    """Newton's method, sample by sample as long as the gradient gets shorter; ``(B, D)``."""
    g = land.gradient(e)
    moving = length(g) > 0
    for _ in range(POLISH):
        trial = e - _solve(land, e, g)
        trial_g = land.gradient(trial)
        moving = moving & (length(trial_g) < length(g))
        if not moving.any():
            break
        e, g = (np.where(moving[:, None], new, old) for new, old in ((trial, e), (trial_g, g)))
    return e


def _solve(land, e, g):
    """``H^-1 g`` of every sample by conjugate gradients; a direction without positive curvature ends it."""
    p, r, d = np.zeros_like(g), g, g
    rr = goal = (r * r).sum(axis=1)
    going = rr > 0
    for _ in range(min(INNER, 2 * g.shape[1])):
        Hd = land.times_hessian(e, d)
        curvature = (d * Hd).sum(axis=1)
        going = going & (curvature > 0)
        if not going.any():
            break
        alpha = np.where(going, rr / np.where(going, curvature, 1), 0)[:, None]
        p, r = p + alpha * d, r - alpha * Hd
        rest = (r * r).sum(axis=1)
        d = r + np.where(going, rest / np.where(rr > 0, rr, 1), 0)[:, None] * d
        rr, going = rest, going & (rest > 1e-24 * goal)
    return p


def rounding(land, z, eps=EPS):
    """How long a gradient at ``z`` may be by rounding alone, ``(B,)``: eps times what is subtracted in it."""
    at = land.look(z)
    terms = [land.join([None, *part]) for part in (at.xi[1:], at.eps[1:])]
    size = sum(map(length, terms)) + length(land.from_errors(z) if land.rule == "epc" else z)
    return 10 * eps * size


class Spectrum(NamedTuple):
    """Modes of the Hessian of every sample at its equilibrium, Eq. (CHK.10).

    Attributes
    ----------
    eigenvalues : (B, m)     ascending; all D of them, or the Ritz values of Lanczos
    shares : (B, m)          |c_i|, length of the start's displacement along each mode
    vectors : (B, D, m)      the modes v_i as columns, or Lanczos' approximations of them
    error : (B, m)           bound on the error of each eigenvalue; zero where all modes are there
    """

    eigenvalues: np.ndarray
    shares: np.ndarray
    vectors: np.ndarray
    error: np.ndarray


def spectrum(land, z, displacement, modes=None) -> Spectrum:
    """Modes of the Hessian at ``z (B, D)``: all of them, or ``modes`` steps of Lanczos from the ``displacement``."""
    if modes is None or modes >= z.shape[1]:
        values, vectors = np.linalg.eigh(land.hessian(z))  # (CHK.10)
        shares = shares_of(vectors, displacement)
        return Spectrum(values, shares, vectors, 0 * values)
    return _lanczos(land, z, displacement, modes)


def shares_of(vectors, displacement):
    """|c_i| of a displacement ``(B, D)`` in the modes, ``(B, m)``, Eq. (CHK.10)."""
    return abs(np.einsum("bdm,bd->bm", vectors, displacement))  # (CHK.10)


def _lanczos(land, z, displacement, m):
    """Lanczos with full orthogonalisation, one lane a sample.

    The Ritz values with these shares are the Gauss quadrature of the start's displacement over the spectrum: predictions from
    them are exact for the first m - 2 steps, and soon for all. A start without displacement is replaced by a random one.
    """
    B, D = z.shape
    size = length(displacement)[:, None]
    other = np.random.default_rng(0).standard_normal((B, D))
    q = np.where(size > 0, displacement / np.where(size > 0, size, 1), other / length(other)[:, None])
    Q, T, alive, beta = np.zeros((B, D, m)), np.zeros((B, m, m)), np.ones(B, bool), np.zeros(B)
    for j in range(m):
        Q[:, :, j] = q
        w = land.times_hessian(z, q)
        again = T[:, 0, 0]  # a harmless value for a lane that is finished
        T[:, j, j] = np.where(alive, (q * w).sum(axis=1), again)
        for _ in range(2):  # twice is enough
            w = _clean(Q, w)
        beta = length(w)
        alive = alive & (beta > 1e-12 * abs(T).max(axis=(1, 2)))
        beta = np.where(alive, beta, 0)
        q = np.where(alive[:, None], w / np.where(alive, beta, 1)[:, None], 0)
        if j + 1 < m:
            T[:, j, j + 1] = T[:, j + 1, j] = beta
    values, small = np.linalg.eigh(T)
    shares = size * abs(small[:, 0])
    return Spectrum(values, shares, Q @ small, beta[:, None] * abs(small[:, -1]))


def _clean(Q, w):
    """``w (B, D)`` without its parts along the columns of ``Q (B, D, m)``."""
    return w - np.einsum("bdj,bj->bd", Q, np.einsum("bdj,bd->bj", Q, w))
