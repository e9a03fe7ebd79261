r"""Derivatives of a function that nobody has differentiated, each with an estimate of its own accuracy.

Everything happens on a line: ``line(t)`` is the vector ``f(x + t v)`` for a real step t, in units in which t = 1 is a large
change. Complex step (CHK.2) where the function allows it, else central differences, extrapolated.

=========  ===========================================================================================================
(CHK.3)    central difference :math:`A(h) = (f(h) - f(-h))/2h = f' + c_2 h^2 + c_4 h^4 + \dots`, noise :math:`\nu/h`
(CHK.4)    Richardson's extrapolation in Ridders' tableau :math:`T_{i,j} = T_{i,j-1} + (T_{i,j-1} - T_{i-1,j-1})/(r^{2j} - 1)`
(CHK.5)    noise of a function from the differences of order k at equal distances: :math:`\nu^2 = (k!)^2/(2k)! \; \mathrm{mean}(\Delta^k f)^2`
=========  ===========================================================================================================
"""

import math
from typing import NamedTuple

import numpy as np

RATIO = 4.0  # of one step to the next: a power of two, so that x + h is exact more often
FIRST = 2.0**-3  # the first step; a line is measured so that 1 is a large change
LEVELS = 24  # the shortest step is 2^-49
ORDER = 6  # columns of the tableau
TINY = 1e-20  # the complex step: its square is below rounding, and it exists in single precision, too


class Derivative(NamedTuple):
    """Derivatives (m,) of the m outputs along a line, with what is known about them."""

    value: np.ndarray
    error: np.ndarray  # estimated, absolute; inf: nothing is known
    jump: np.ndarray  # derivative to the right minus that to the left where there is a kink, else 0

    @property
    def kinks(self):
        """Outputs that are not differentiable here."""
        return self.jump != 0


class _Tableau:
    """Ridders' tableau of samples a(h) = a(0) + c h^p + c' h^(p+2) + ... at steps h, h/4, h/16 ..."""

    def __init__(self, power, size):
        self.power, self.row = power, []
        self.value, self.error = np.zeros(size), np.full(size, np.inf)

    def add(self, sample, floor):
        """One more step; keeps for every output the entry of the tableau that moves least, floor included."""
        row = [sample]
        for j, old in enumerate(self.row[:ORDER]):
            row.append(row[-1] + (row[-1] - old) / (RATIO ** (self.power + 2 * j) - 1))  # (CHK.4)
            error = np.maximum(abs(row[-1] - row[-2]), abs(row[-1] - old)) + floor
            better = error < self.error
            self.value = np.where(better, row[-1], self.value)
            self.error = np.where(better, error, self.error)
        self.row = row


def differences(line, noise, eps) -> Derivative:
    """Derivative of ``line`` at 0 by extrapolated central differences, Eqs. (CHK.3), (CHK.4).

    Steps are shortened by 4 until noise would win, lengthened where noise has won from the start, and shortened again
    where the derivatives to the right and to the left differ: either the kink is left behind, or it is here.

    Parameters
    ----------
    line : t -> (m,)        not finite where the function does not exist
    noise : (m,)            of its values, from :func:`noise_level`
    eps : float             rounding of the numbers that ``line`` computes with
    """
    centre = line(0.0)
    found, kink, h = _ladder(line, centre, noise, eps, FIRST)
    longer = FIRST
    while longer < 2.0**30 and (found.error > 1e-9 * abs(found.value).max(initial=0)).any() and not kink.any():
        longer *= 64
        other, *_ = _ladder(line, centre, noise, eps, longer)
        if not (2 * other.error < found.error).any():
            break
        found = _take(other.error < found.error, other, found)
    while kink.any() and h > 2.0**-46 and (noise / h < 1e-3 * abs(found.jump))[kink].any():
        other, again, h = _ladder(line, centre, noise, eps, h / RATIO)
        found, kink = _take(kink, other, found), kink & again
    return found._replace(jump=np.where(kink, found.jump, 0.0))


def _ladder(line, centre, noise, eps, h):
    """Steps h, h/4, ... until noise wins: the derivative, where a kink is suspected, the last step."""
    slope, jump = _Tableau(2, centre.size), _Tableau(1, centre.size)
    first = None
    for level in range(LEVELS):
        right, left = line(h), line(-h)
        A, D = (right - left) / (2 * h), (right + left - 2 * centre) / h  # (CHK.3); right minus left derivative
        floor = (noise + eps * abs(A)) / h
        slope.add(A, floor)
        jump.add(D, 4 * floor)
        first = D if first is None else first
        if (level >= 2 and (RATIO * floor >= slope.error).all()) or h < 2.0**-48:
            break
        h /= RATIO
    size = abs(slope.value) + abs(jump.value)
    stays = (abs(D) > 0.5 * abs(first)) & (abs(D) > 100 * floor)  # a smooth function has D = O(h)
    kink = ((abs(jump.value) > 10 * jump.error) & (abs(jump.value) > 1e-7 * size)) | stays
    return Derivative(slope.value, 2 * slope.error, np.where(stays, D, jump.value)), kink, h


def _take(where, one, other):
    """Outputs of the one where it is said, else of the other."""
    return Derivative(*(np.where(where, a, b) for a, b in zip(one, other, strict=True)))


def mixed_difference(plane, noise) -> Derivative:
    """Mixed second derivative of ``plane(s, t)`` at 0 by four points, extrapolated, Eq. (CHK.8); noise over h squared."""
    h, table = FIRST, _Tableau(2, 1)
    for level in range(LEVELS):
        A = (plane(h, h) - plane(h, -h) - plane(-h, h) + plane(-h, -h)) / (4 * h * h)  # (CHK.8)
        floor = noise / (h * h)
        table.add(A, floor)
        if level >= 2 and (RATIO**2 * floor >= table.error).all():
            break
        h /= RATIO
    return Derivative(table.value, 2 * table.error, np.zeros(1))


def noise_level(line, eps):
    """Noise (m,) of the values of ``line`` near 0, at least rounding, Eq. (CHK.5).

    Measured at two small distances; the smaller one counts, because a function that changes much within a distance looks
    noisy there. Cost: 18 calls. Source: after Moré & Wild (2011), ECnoise, simplified.
    """
    found = [_noise(np.array([line(k * gap) for k in range(-4, 5)])) for gap in (2.0**-20, 2.0**-36)]
    measured = np.fmin(*found)
    return np.fmax(measured, eps * abs(line(0.0)))


def _noise(values):
    """From 9 values (9, m): the first three orders of differences that agree within 4 and change sign; else NaN."""
    table, levels, signs = values, [], []
    for k in range(1, 7):
        table = np.diff(table, axis=0)
        gamma = math.factorial(k) ** 2 / math.factorial(2 * k)
        levels.append(np.sqrt(gamma * (table**2).mean(axis=0)))  # (CHK.5)
        signs.append((table.min(axis=0) < 0) & (table.max(axis=0) > 0))
    level = np.full(values.shape[1], np.nan)
    for k in reversed(range(4)):
        three = np.array(levels[k : k + 3])
        agree = (three.max(axis=0) <= 4 * three.min(axis=0)) & (three.min(axis=0) > 0) & signs[k]
        level = np.where(agree, levels[k], level)
    return level
