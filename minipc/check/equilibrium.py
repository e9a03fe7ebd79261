r"""Inference to its end: the errors at which the energy of predictive coding rests, by Newton's method.

=========  ==========================================================================================
(CHK.16)   :math:`\partial E/\partial e = 0` from the errors given, :math:`e \leftarrow e - t\, H_e^{-1}\, \partial E/\partial e`
=========  ==========================================================================================

What many small steps approach, this reaches to rounding in a few large ones. :math:`H_e v` comes from a complex step of the
inference gradient (CHK.2), so every block can be passed, and the system is solved by conjugate gradients: in the errors the
Hessian is the precision and little else, so they need few steps. A step that would raise the energy of a sample is halved
for that sample.
"""

from typing import NamedTuple

from ..backend import array_module
from ..inference import by_sample, dot, layer_energies, local_gradient, norm_squared

NEWTON_STEPS, HALVINGS = 50, 30
STEP = 1e-20  # of the complex step: its square is below rounding in float32, too


class Rest(NamedTuple):
    """``grads`` the local gradient where inference rests, ``residual`` the largest left, relative to the errors."""

    grads: list
    residual: float


def rest(rule, net, params, s, y, Pi, weight=1.0) -> Rest:
    r"""Local gradient of :math:`E_w = \sum_{l<L} \frac12 \varepsilon_l^\top \Pi_l \varepsilon_l + w \mathcal L` at its rest near ``s``.

    Parameters
    ----------
    rule : module                    :mod:`minipc.epc`, or :mod:`minipc.dag` on a graph
    s : list of L                    states where inference has come to, from which it goes on; s[0] = x
    y, Pi                            prepared: rows, and precisions by layer
    weight : float                   w of the loss; negative for a push away from the target (sPC.17)
    """
    e = _errors(rule, net, params, s, y, Pi)

    def look(e):
        """Errors at a point with the loss weighed, dE_w/de, and E_w of each sample."""
        at = rule._point(net, params, e, s[0], y, Pi)
        *hidden, loss = layer_energies(net, at, y)
        at = at._replace(xi=[*at.xi[:-1], weight * at.xi[-1]])  # (sPC.16)
        return at, rule._error_gradient(net, params, at), sum(hidden) + weight * loss

    now, zero = look(e), array_module(y).zeros(len(y), y.dtype)
    near = float(array_module(y).finfo(y.dtype).eps) ** 0.5
    for _ in range(NEWTON_STEPS):
        before = norm_squared(now[1], zero)
        p = _direction(lambda v, e=e: _curved(look, e, v), now[1], zero)
        e, now, moved = _descend(look, e, now, p, zero)
        still = norm_squared(now[1], zero) >= 0.25 * before
        if not moved or bool(((_left(*now[:2], zero) < near) & still).all()):  # rounding is all that is left
            break
    return Rest(local_gradient(net, params, now[0]), float(_left(*now[:2], zero).max()))


def _left(at, g, zero):
    """Size of dE/de of every sample, (B,), relative to the errors: it is a difference of two terms of their size (ePC.4)."""
    xp, scale = array_module(zero), norm_squared(at.xi, zero)
    return xp.sqrt(norm_squared(g, zero) / xp.where(scale > 0, scale, 1))


def _errors(rule, net, params, s, y, Pi):
    """The errors that stand for the states ``s``; zero if one of these is not finite."""
    xp, zeros = array_module(s[0]), [None, *(0 * a for a in s[1:])]
    if not all(bool(xp.isfinite(a).all()) for a in s[1:]):
        s = [s[0], *(xp.zeros_like(a) for a in s[1:])]
        return [None, *s[1:]]
    e = zeros
    for l in range(1, len(s)):  # the prediction of layer l needs the errors below it alone
        e[l] = s[l] - rule._point(net, params, e, s[0], y, Pi).s[l]
    return e


def _curved(look, e, v):
    """H_e v, by a complex step (CHK.2)."""
    _, g, _ = look([None, *(a + 1j * STEP * b for a, b in zip(e[1:], v[1:], strict=True))])
    return [None, *(a.imag / STEP for a in g[1:])]  # (CHK.2)


def _times(c, v):
    """A number for each sample, (B,), times errors."""
    return [None, *(by_sample(c, a) * a for a in v[1:])]


def _plus(u, v):
    return [None, *(a + b for a, b in zip(u[1:], v[1:], strict=True))]


def _direction(times, g, zero):
    """-H^-1 g by conjugate gradients, sample by sample; stops where the curvature is not positive."""
    xp = array_module(zero)
    p, r = _times(zero, g), _times(zero - 1, g)
    d, size = r, norm_squared(r, zero)
    end, going = 1e-24 * size, size > 0
    for _ in range(sum(a[0].size for a in g[1:]) + 5):
        Hd = times(d)
        curvature = dot(d, Hd, zero)
        going = going & (curvature > 0) & (size > end)
        if not bool(going.any()):
            break
        a = xp.where(going, size / xp.where(going, curvature, 1), zero)
        p, r = _plus(p, _times(a, d)), _plus(r, _times(-a, Hd))
        new = norm_squared(r, zero)
        d, size = _plus(r, _times(xp.where(going, new / xp.where(size > 0, size, 1), zero), d)), new
    stuck = (norm_squared(p, zero) == 0) & (norm_squared(g, zero) > 0)  # no convex way: straight down
    return _plus(p, _times(xp.where(stuck, zero - 1, zero), g))


def _descend(look, e, now, p, zero):
    """A step along ``p``, halved for every sample whose energy it would raise; did it end?"""
    xp, start = array_module(zero), now[2]
    rounding = 100 * float(xp.finfo(start.dtype).eps) * (1 + abs(start))
    t = zero + 1
    for _ in range(HALVINGS):
        trial = _plus(e, _times(t, p))
        there = look(trial)
        fine = there[2] <= start + rounding
        if bool(fine.all()):
            return trial, there, True  # (CHK.16)
        t = xp.where(fine, t, t / 2)
    return e, now, False
