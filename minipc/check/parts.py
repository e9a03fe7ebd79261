r"""The parts of a difference between two gradients: their sizes and shares, as numbers, tables and a figure.

=========  ==========================================================================================
(CHK.13)   difference :math:`d = g - g^\star` from the exact gradient of the loss, relative error :math:`|d|/|g^\star|`
(CHK.15)   share :math:`\langle p_i, d\rangle/|d|^2`, size :math:`|p_i|/|g^\star|`, cosine of :math:`p_i` and :math:`d`
=========  ==========================================================================================
"""

import math
import textwrap
from typing import NamedTuple

import numpy as np

from .causes import CAUSES
from .comparison import Comparison
from .tables import html, text

WIDTH = 110  # of lines of text
SHORT = {
    "stale weights": "stale",
    "inference not converged": "inference",
    "undamped influence": "undamped",
    "finite beta": "beta",
    "influence approximation": "influence",
    "layer-locality": "locality",
    "truncation in time": "truncation",
    "other": "other",
}  # heads of columns, labels of the figure


ORDER = (
    "The parts add up to the difference. A share is what a part contributes along it: parts may cancel, so a share can be "
    "negative or above 100 %, and another order of the causes would give other shares with the same sum."
)
MISTAKE = (
    'The part "other" has none of the known causes: the rule is not the one that it should be. minipc.check.explain looks for '
    "the mistake in one equation at a time."
)


class Part(NamedTuple):
    """What one cause, or all together, does to one parameter, or to all."""

    size: float  # (CHK.15), of the part against the exact gradient
    share: float  # (CHK.15), signed: the shares of all causes add up to one; 0 where there is no difference
    cosine: float  # (CHK.15), of the part and the difference


class Audit(NamedTuple):
    """What :func:`audit` finds; prints as tables, ``plot()`` draws it.

    Attributes
    ----------
    rule, against : str          what was compared with what
    comparison : Comparison      of every parameter: relative error, cosine, norm ratio, worst entry
    given, exact : dict          gradients by the name of the parameter, on the host
    parts : dict                 cause -> such a dict, whose sum over the causes is ``given - exact``; only the causes that apply
                                 to the rule; empty if the rule is unknown
    notes : tuple of str         what is to be known of the numbers
    rounding : float             the relative error that rounding may make
    """

    rule: str
    against: str
    comparison: Comparison
    given: dict
    exact: dict
    parts: dict
    notes: tuple
    rounding: float

    @property
    def relative_error(self) -> float:
        """Of all parameters together, Eq. (CHK.13)."""
        size = self._part(self._difference(), None).size
        return size if math.isfinite(size) else math.inf

    @property
    def shares(self) -> dict:
        """Cause -> signed share of the difference, of all parameters together; 0 for a cause that does not apply."""
        return {cause: self.part(cause).share for cause in CAUSES} if self.parts else {}

    @property
    def only_rounding(self) -> bool:
        """Is the difference no more than rounding makes?"""
        return self.relative_error <= self.rounding

    def part(self, cause, parameter=None) -> Part:
        """What a cause does to a parameter, ``"W[1]"`` say, or to all together; zeros if it has no part."""
        if cause not in CAUSES:
            raise ValueError(f"cause must be one of {', '.join(CAUSES)}; got {cause!r}")
        if parameter is not None and parameter not in self.exact:
            raise ValueError(f"parameter must be one of {', '.join(self.exact)}; got {parameter!r}")
        return self._part(self.parts.get(cause), parameter)

    def _part(self, part, parameter):
        if part is None:
            return Part(0.0, 0.0, 0.0)
        names = self.exact if parameter is None else [parameter]
        flat = lambda tree: np.concatenate([tree[name].ravel() for name in names]).astype(float)  # noqa: E731
        p, d, e = flat(part), flat(self._difference()), flat(self.exact)
        size, whole, unit = (float(np.linalg.norm(v)) for v in (p, d, e))
        along = float(p @ d)
        return Part(
            size / unit if unit else (math.inf if size else 0.0),
            along / whole**2 if whole else 0.0,
            along / (size * whole) if size * whole else 0.0,
        )  # (CHK.15)

    def _difference(self):
        return minus(self.given, self.exact)  # (CHK.13)

    def __str__(self):
        tables = [text(*self._parameters()), *([text(*self._causes())] if self.parts else [])]
        return "\n\n".join(
            [self._title(), *tables, "\n".join(textwrap.fill(line, WIDTH) for line in self._below())]
        )

    def _repr_html_(self):
        below = "\n".join(self._below())
        if not self.parts:
            return html(self._title(), *self._parameters(), below)
        return html(self._title(), *self._parameters()) + html("Its parts", *self._causes(), below)

    def _title(self):
        """Who is compared with whom, and the verdict."""
        who, error = f"{self.rule} against {self.against}", f"relative error {self.relative_error:.2g}"
        if self.only_rounding:
            return f"{who}: {error}, equal to rounding"
        if not self.parts:
            return f"{who}: {error}, and where it comes from is unknown"
        cause = max(self.shares, key=self.shares.get)
        return f"{who}: {error}, most of it by {cause} ({_percent(self.shares[cause])})"

    def _parameters(self):
        """Head and rows of the table of parameters; shares of those that differ by more than rounding."""
        shown = [] if self.only_rounding else [cause for cause in CAUSES if cause in self.parts]
        rows = []
        for r in self.comparison.rows:
            differs = r.relative_error > self.rounding
            shares = [_percent(self.part(cause, r.name).share) if differs else "-" for cause in shown]
            rows.append(
                [r.name, f"{r.relative_error:.1e}", f"{r.cosine:.4f}", f"{r.norm_ratio:.3g}", *shares]
            )
        return ["parameter", "rel. error", "cosine", "norm ratio", *(SHORT[cause] for cause in shown)], rows

    def _causes(self):
        """Head and rows of the table of the causes that apply, all parameters together."""
        rows = []
        for cause in (cause for cause in CAUSES if cause in self.parts):
            part = self.part(cause)
            along = ["-", "-"] if self.only_rounding else [_percent(part.share), f"{part.cosine:.3f}"]
            rows.append([cause, f"{part.size:.2g}", *along])
        return ["part", "size", "share", "cosine"], rows

    def _below(self):
        """What stands below the tables."""
        if not self.parts:
            return list(self.notes)
        lines = [f"{cause}: {CAUSES[cause]}." for cause in CAUSES if cause in self.parts and cause != "other"]
        absent = [cause for cause in CAUSES if cause not in self.parts]
        lines += [f"Does not apply: {', '.join(absent)}."] if absent else []
        if self.part("other").size > self.rounding:
            lines.append(MISTAKE)
        elif not self.only_rounding:
            lines.append(ORDER)
        return [*lines, *self.notes]

    def plot(self):
        """A figure (needs matplotlib): :func:`minipc.plotting.audit`."""
        from .. import plotting

        return plotting.audit(self)

    def to_dict(self) -> dict:
        """All of it in numbers and words that JSON knows; None for what is infinite or no number."""
        parameters = {
            r.name: {
                "relative_error": _plain(r.relative_error),
                "cosine": _plain(r.cosine),
                "norm_ratio": _plain(r.norm_ratio),
            }
            for r in self.comparison.rows
        }
        causes = {}
        for cause in CAUSES if self.parts else ():
            causes[cause] = {"applies": cause in self.parts, **_plain_part(self.part(cause))}
            causes[cause]["parameters"] = {name: _plain_part(self.part(cause, name)) for name in self.exact}
        return {
            "rule": self.rule,
            "against": self.against,
            "relative_error": _plain(self.relative_error),
            "only_rounding": self.only_rounding,
            "parameters": parameters,
            "causes": causes,
            "notes": list(self.notes),
        }


def _percent(share):
    shown = f"{100 * share:.1f} %"
    return shown.lstrip("-") if shown == "-0.0 %" else shown


def _plain(value):
    return float(value) if math.isfinite(value) else None


def _plain_part(part):
    return {name: _plain(value) for name, value in part._asdict().items()}


def minus(a, b):
    """The difference of two dicts of arrays."""
    return {name: a[name] - b[name] for name in b}
