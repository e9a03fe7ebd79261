r"""Derivatives of a function that nobody has differentiated, each with an estimate of its own accuracy.

Everything happens on a line: ``line(t)`` is the vector ``f(x + t v)`` for a real step t, in units in which t = 1 is a large
change. Complex step (CHK.2) where the function allows it, else central differences, extrapolated.

=========  ===========================================================================================================
(CHK.3)    central difference :math:`A(h) = (f(h) - f(-h))/2h = f' + c_2 h^2 + c_4 h^4 + \dots`, noise :math:`\nu/h`
(CHK.4)    Richardson's extrapolation in Ridders' tableau :math:`T_{i,j} = T_{i,j-1} + (T_{i,j-1} - T_{i-1,j-1})/(r^{2j} - 1)`
(CHK.5)    noise of a function, from what a polynomial of degree 5 leaves of N values close together: :math:`\nu^2 = \sum_k r_k^2/(N - 6)`
=========  ===========================================================================================================
"""

from typing import NamedTuple

import numpy as np

RATIO = 4.0  # of one step to the next: a power of two, so that x + h is exact more often
FIRST = 2.0**-3  # the first step; a line is measured so that 1 is a large change
SHORT = 2.0**-15  # so short that narrow features show
LEVELS = 20  # at most: the shortest step is 2^-41
ORDER = 6  # columns of the tableau
EPS = {2: 2.0**-10, 4: 2.0**-23, 8: 2.0**-52, 16: 2.0**-52}  # by the bytes of a real number
GAPS = (1e-7, 1e-5, 1e-3, 1e-1)  # of the points where noise is measured
POINTS = np.sqrt(
    [1, 3, 7, 11, 17, 23, 31, 41, 53, 67, 83]
)  # uneven, as the steps of values that are rounded are not
SMOOTH = np.linalg.qr(np.vander(POINTS / 10, 6))[0]  # orthonormal basis of the polynomials of degree 5 there
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

    def found(self):
        """The values; NaN where there is none, because the function did not exist at any step."""
        return np.where(np.isinf(self.error), np.nan, self.value)


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

    def ladder(h):
        return _ladder(line, centre, noise, eps, h)

    found, kink, h = ladder(FIRST)
    if not kink.any():
        found = _lengthened(ladder, found)
    if h > SHORT and (doubt := ~_agree(found, _short(line, noise, eps))).any():
        other, again, h = ladder(h / RATIO)
        found, kink = _take(doubt, other, found), np.where(doubt, again, kink)
    found, kink = _shortened(ladder, found, kink, h, noise)
    certain = (found.value == 0) & ~kink & _constant(line, centre, found)
    return Derivative(found.value, np.where(certain, 0.0, found.error), np.where(kink, found.jump, 0.0))


def _lengthened(ladder, found):
    """With longer steps as long as they make it better and do not contradict."""
    h = FIRST
    while h < 2.0**30 and _spoilt(found).any():
        h *= 64
        other, *_ = ladder(h)
        better = _spoilt(found) & (2 * other.error < found.error) & _agree(other, found)
        if not better.any():
            break
        found = _take(better, other, found)
    return found


def _shortened(ladder, found, kink, h, noise):
    """Where a kink is suspected, with shorter steps, until it is left behind or noise would hide it."""
    while kink.any() and h > 2.0**-38 and (noise / h < 1e-4 * abs(found.jump))[kink].any():
        other, again, h = ladder(h / RATIO)
        kept = ~again & _agree(other, found) & (found.error < other.error)  # there was no kink after all
        found = _take(kink & ~kept, other, found)
        kink = kink & again
    return found, kink


def _constant(line, centre, found):
    """Outputs that change with no step, long ones included: their derivative is zero for certain. Asked where it seems so."""
    if found.value.all():
        return False
    return np.all([line(t) == centre for t in (1.0, -1.0, 2.0**10, -(2.0**10), 2.0**20, -(2.0**20))], axis=0)


def _short(line, noise, eps):
    """One difference with a step so short that narrow features show: it must not contradict the long ones."""
    right, left = line(SHORT), line(-SHORT)
    A = (right - left) / (2 * SHORT)  # (CHK.3)
    floor = (noise + eps * np.fmax(abs(right), abs(left)) + eps * abs(A)) / SHORT
    return Derivative(A, 4 * floor + 1e-6 * abs(A), np.zeros_like(A))


def _spoilt(found):
    """Outputs whose derivative has lost digits, but not all: something is left that longer steps must not contradict."""
    size = abs(found.value)
    return (found.error > 1e-9 * size) & (found.error < 0.2 * size)


def _agree(one, other):
    """Are two values the same within their errors?"""
    return abs(one.value - other.value) <= one.error + other.error


def _ladder(line, centre, noise, eps, h):
    """Steps h, h/4, ... until noise wins: the derivative, where a kink is suspected, the last step."""
    slope, jump = _Tableau(2, centre.size), _Tableau(1, centre.size)
    first = None
    for level in range(LEVELS):
        right, left = line(h), line(-h)
        A = (right - left) / (2 * h)  # (CHK.3)
        D = (right + left - 2 * centre) / h  # the derivative to the right minus that to the left
        floor = (noise + eps * np.fmax(abs(right), abs(left)) + eps * abs(A)) / h
        slope.add(A, floor)
        jump.add(D, 4 * floor)
        first = D if first is None else first
        if (level >= 2 and (RATIO * floor >= slope.error).all()) or h < 2.0**-40:
            break
        h /= RATIO
    size = abs(slope.value) + abs(jump.value)
    stays = (abs(D) > 0.5 * abs(first)) & (abs(D) > 100 * floor)  # a smooth function has D = O(h)
    kink = ((abs(jump.value) > 10 * jump.error) & (abs(jump.value) > 1e-7 * size)) | stays
    return Derivative(slope.found(), 2 * slope.error, np.where(stays, D, jump.value)), kink, h


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
    return Derivative(table.found(), 2 * table.error, np.zeros(1))


def noise_level(line, eps):
    """Noise (m,) of the values of ``line`` near 0, at least rounding, Eq. (CHK.5).

    Measured within a millionth, to the right and to the left, of which the lesser counts: a kink on one side is no
    noise. Further out for values that did not change at all, as those of a function that rounds. A function that varies
    within a ten-millionth counts as noisy. Cost: 23 calls, 22 more for each larger distance.
    """
    level = np.full_like(centre := line(0.0), np.nan)
    for gap in GAPS:
        if np.isnan(level).any():
            right, left = (
                _noise(np.array([line(side * gap * t) for t in POINTS.tolist()]) - centre) for side in (1, -1)
            )
            level = np.where(np.isnan(level), np.fmin(right, left), level)
    return np.fmax(level, eps * abs(centre))


def _noise(values):
    """What a polynomial of degree 5 leaves of the values (11, m), or half a step of a staircase; NaN where they are all zero."""
    left = values - SMOOTH @ (SMOOTH.T @ values)
    level = np.sqrt((left**2).sum(axis=0) / (len(POINTS) - 6))  # (CHK.5)
    steps = abs(np.diff(values, axis=0, prepend=0.0))
    stairs = np.where((steps == 0).sum(axis=0) >= len(POINTS) // 2, 0.5 * steps.max(axis=0), 0.0)
    return np.where(values.any(axis=0), np.fmax(level, stairs), np.nan)
