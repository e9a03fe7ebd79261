r"""Derivatives by one parameter: every entry, or random projections; by complex step where differences confirm it, else by these.

=========  =============================================================================================================
(CHK.6)    random projection :math:`\langle v, g \rangle = \frac{d}{dt} f(x + t v)` with Gaussian v: :math:`\mathrm E \langle v, g - g' \rangle^2 = |g - g'|^2`
=========  =============================================================================================================
"""

import numpy as np

from . import oracle
from .lines import gaussian, power_of_two
from .verdicts import Evidence

PROJECTIONS = 8
TRIALS = 3  # directions in which a complex step must be confirmed
SAMPLED = 32  # entries that are looked at beside the projections


class Slopes:
    """First derivatives along directions: by differences, or by the complex step."""

    def __init__(self, function, rng):
        self.function, self.rng, self.noise = function, rng, {}

    def differences(self, direction):
        """By the values of f."""
        return oracle.differences(self.function.line(direction), self._noise(direction), self.function.eps)

    def _noise(self, direction):
        """Measured once for each set of parameters that move, while all their entries do: one alone may change nothing."""
        names = tuple(direction)
        if names not in self.noise:
            line = self.function.line(_all_of(self.function, names, self.rng))
            self.noise[names] = oracle.noise_level(line, self.function.eps)
        return self.noise[names]

    def analytic(self, direction, nudge=None):
        """None where it does not go through f; at x + ``nudge``."""
        found = self.function.imaginary(direction, *(([nudge], [1.0]) if nudge else ()))
        return (
            None if found is None else oracle.Derivative(found, 4 * self.function.eps * abs(found), 0 * found)
        )


class Curvatures:
    """Second derivatives along one direction u and others: of values, or differences of complex steps, Eq. (CHK.8)."""

    def __init__(self, function, u, rng):
        self.function, self.rng, self.noise = function, rng, {}
        self.unit = max(function.scales.values())
        self.u = {name: v * self.unit for name, v in u.items()}

    def differences(self, direction):
        """By four values a step."""
        plane = self.function.line(direction, self.u)
        if "values" not in self.noise:
            line = self.function.line(_all_of(self.function, self.u, self.rng))
            self.noise["values"] = oracle.noise_level(line, self.function.eps)
        return _divided(oracle.mixed_difference(plane, self.noise["values"]), self.unit)

    def analytic(self, direction, nudge=None):
        """The complex step along the direction, differences along u; None where it does not go through f."""
        others = [self.u] + [nudge] * bool(nudge)

        def slope(t):
            found = self.function.imaginary(direction, others, [t, 1.0][: len(others)])
            return np.full(1, np.nan) if found is None else found

        if not np.isfinite(slope(0.0)).all():
            return None
        eps = self.function.eps
        return _divided(oracle.differences(slope, oracle.noise_level(slope, eps), eps), self.unit)


def _all_of(function, names, rng):
    """A random direction in which every entry of some parameters moves, by its own size."""
    leaves = {name: function.leaves[name] for name in names}
    sizes = {name: np.where(x == 0, function.scales[name], abs(x)) for name, x in leaves.items()}
    return {name: gaussian(rng, x) * sizes[name] for name, x in leaves.items()}


def _divided(found, unit):
    return oracle.Derivative(*(part / unit for part in found))


def _confirmed(found, other, size):
    """Up to which error differences confirm a complex step; inf where they contradict it or say too little.

    They say enough if they are good to a thousandth, or where the derivative is next to nothing beside the ``size`` of f.
    """
    norm, error = np.linalg.norm(found.value), np.linalg.norm(other.error)
    level = 10 * error + 1e-10 * norm
    enough = error <= 1e-3 * norm or (0 < norm and error <= 1e-9 * size)
    return level if enough and np.linalg.norm(found.value - other.value) <= level else np.inf


def oracle_name(analytic):
    """What the table calls it."""
    return "complex step" if analytic else "differences"


class Probe:
    """One parameter under the oracle."""

    def __init__(self, function, name, slopes=None, rng=None, out=()):
        self.function, self.name, self.slopes, self.rng, self.out = function, name, slopes, rng, out
        self.x, self.scale = function.leaves[name], function.scales[name]
        self.shape = (*out, *self.x.shape)
        self.size = int(np.prod(out))

    def trusted(self):
        """Error of the complex step, and up to which one differences confirm it, along three random directions; or None."""
        nudge = {
            k: 4 * self.function.eps * x * self.rng.standard_normal(x.shape)
            for k, x in self.function.leaves.items()
        }
        spread, level = 0.0, 0.0
        for _ in range(TRIALS):
            v = {self.name: gaussian(self.rng, self.x) * self.scale}
            found = self.slopes.analytic(v)
            if found is None:
                return None
            level = max(level, _confirmed(found, self.slopes.differences(v), self.function.size))
            if not np.isfinite(level):
                return None
            moved = self.slopes.analytic(v, nudge)
            spread = max(spread, *(np.linalg.norm(e) for e in (moved.value - found.value, found.error)))
        return 2 * spread / self.scale, level / self.scale

    def limit(self, trust, g, d):
        """The error of a complex step; of its confirmation where the answer differs by less: then nobody knows who is right."""
        error, level = trust
        apart = float(np.linalg.norm(g - d))
        return level if 1e-9 * np.linalg.norm(d) < apart <= level else error

    def derive(self, v, scale, analytic):
        """Value, error, jump along v, which is moved in units of a scale; as f returns them, flat."""
        take = self.slopes.analytic if analytic else self.slopes.differences
        found = _divided(take({self.name: v * scale}), scale)
        return tuple(self.function.assembled(part) for part in found)

    def entry(self, i, analytic):
        """The derivative by the i-th number; by a complex one in both directions, dRe + i dIm."""
        flat = self.x.ravel()
        scale = max(self.scale, power_of_two(abs(flat[i]))) if flat[i] else self.scale
        parts = []
        for unit in (1, 1j) if flat.dtype.kind == "c" else (1,):
            v = np.zeros(flat.shape, flat.dtype)
            v[i] = unit
            parts.append(self.derive(v.reshape(self.x.shape), scale, analytic))
        if len(parts) == 1:
            return parts[0]
        (a, e, j), (b, f, k) = parts
        return a + 1j * b, np.hypot(e, f), np.hypot(j, k)


class Entries(Probe):
    """Every entry."""

    def look(self, g):
        """Evidence and the derivative; None for the evidence where the answer has another shape."""
        trust = self.trusted()
        found = [self.entry(i, trust is not None) for i in range(self.x.size)]
        d, errors, jump = (np.array(part).T.reshape(self.shape) for part in zip(*found, strict=True))
        if g.shape != self.shape:
            return None, d
        error = self.limit(trust, g, d) if trust else float(np.linalg.norm(errors[jump == 0]))
        entries = f"all {self.x.size} entries" if self.x.size > 1 else "the one entry"
        return Evidence(g, d, error, abs(jump), oracle_name(trust), entries), d

    def project(self, a):
        """The entries themselves."""
        return a


class Projections(Probe):
    """Random projections, Eq. (CHK.6), and some entries, so that one can be shown."""

    def look(self, g):
        """Evidence and the projections of the derivative."""
        if g.shape != self.shape:
            return None, None
        self.directions = [gaussian(self.rng, self.x) for _ in range(PROJECTIONS)]
        trust = self.trusted()
        analytic = trust is not None
        found = [self.derive(v, self.scale, analytic) for v in self.directions]
        d, errors, jump = (np.array(part) for part in zip(*found, strict=True))
        given = self.project(g)
        error = (
            PROJECTIONS**0.5 * self.limit(trust, given, d)
            if trust
            else float(np.linalg.norm(errors[jump == 0]))
        )
        worst = self._entries(g, d, analytic)
        probes = f"{PROJECTIONS} projections, {SAMPLED} of {self.x.size} entries"
        return Evidence(given, d, error, abs(jump), oracle_name(analytic), probes, worst), d

    def project(self, a):
        """<v, a> for every direction, (projections, outputs)."""
        rows = a.reshape(self.size, self.x.size)
        found = np.array([rows @ v.ravel().conj() for v in self.directions])  # (CHK.6)
        return found.real if self.x.dtype.kind == "c" else found

    def _entries(self, g, d, analytic):
        """The largest difference among some entries: the largest of the answer, random ones, one that is hunted for."""
        rows = abs(g.reshape(self.size, self.x.size)).sum(axis=0)
        largest = np.argsort(rows)[-SAMPLED // 2 :]
        chosen = [*largest, *self.rng.integers(0, self.x.size, SAMPLED - len(largest))]
        if np.linalg.norm(self.project(g) - d) > 1e-6 * np.linalg.norm(d):
            chosen.append(self._hunt(g, analytic))
        best = (-1.0,)
        for i in sorted({*map(int, chosen)}):
            given, expected = g.reshape(self.size, -1)[:, i], self.entry(i, analytic)[0]
            o = int(np.argmax(abs(given - expected)))
            if not abs(given - expected)[o] <= best[0]:
                index = np.unravel_index(o * self.x.size + i, self.shape)
                best = (abs(given - expected)[o], tuple(map(int, index)), given[o].item(), expected[o].item())
        return best[1:]

    def _hunt(self, g, analytic):
        """An entry that differs: halve the entries, keep the half whose projection differs more."""
        rows, v = g.reshape(self.size, -1), self.directions[0].ravel()

        def difference(part):
            w = np.zeros_like(v)
            w[part] = v[part]
            given = rows @ w.conj()
            given = given.real if v.dtype.kind == "c" else given
            return np.linalg.norm(given - self.derive(w.reshape(self.x.shape), self.scale, analytic)[0])

        part = np.arange(v.size)
        while len(part) > 1:
            half = np.array_split(part, 2)
            part = max(half, key=difference)
        return int(part[0])


def along(slopes, direction, unit):
    """Along one direction: by complex step where differences confirm it; and its name."""
    plain, found = slopes.differences(direction), slopes.analytic(direction)
    analytic = found is not None and np.isfinite(_confirmed(found, plain, slopes.function.size))
    return _divided(found if analytic else plain, unit), oracle_name(analytic)
