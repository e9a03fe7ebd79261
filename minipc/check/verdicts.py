"""What is said of a derivative: one row a parameter, a verdict that knows how good its oracle is, and a simple reason.

Equation (CHK.1) is the relative error. A verdict is one of the words below; the numbers behind it stand beside it.
"""

from typing import NamedTuple

import numpy as np

from .tables import html, text

AGREES, DIFFERS, UNKNOWN = "agrees", "differs", "cannot tell"
KINK, SHAPE, NOT_FINITE = "not differentiable", "wrong shape", "not finite"
RTOL = {2: 2e-2, 4: 1e-4, 8: 1e-9, 16: 1e-9}  # by the bytes of a real number: what a right derivation reaches
UNSURE = {2: 1e-1, 4: 1e-2, 8: 1e-3, 16: 1e-3}  # an oracle that is not even so good settles nothing
HEADER = ("parameter", "verdict", "rel. error", "cosine", "norm ratio", "worst entry", "given", "expected")
HEADER += ("oracle", "good to")


class DerivativeRow(NamedTuple):
    """How one parameter's derivative compares with the oracle's."""

    parameter: str  # its path as it is written in Python
    verdict: str  # agrees, differs, cannot tell, not differentiable, wrong shape, not finite
    relative_error: float  # (CHK.1); nan where nothing could be compared
    cosine: float  # 1: same direction, so a mere factor is wrong
    norm_ratio: float  # given / expected
    worst: tuple  # index of the largest difference that was looked at
    given: complex
    expected: complex
    oracle: str  # complex step, differences, or an identity
    accuracy: float  # of the oracle, relative, by its own estimate
    probes: str  # what was looked at
    notes: tuple  # sentences: what explains the difference, or why nothing can be said

    def cells(self):
        """The row of a table."""
        entry = "" if self.worst is None else str(list(self.worst)) if self.worst else "the number"
        numbers = [_number(x) for x in (self.given, self.expected)] if self.worst is not None else ["", ""]
        sizes = [f"{self.relative_error:.1e}", f"{self.cosine:.6f}", f"{self.norm_ratio:.4g}"]
        sizes = ["" if "nan" in cell else cell for cell in sizes]
        good = f"{self.accuracy:.0e}" if np.isfinite(self.accuracy) else ""
        return [self.parameter, self.verdict, *sizes, entry, *numbers, self.oracle, good]


class DerivativeCheck(NamedTuple):
    """Result of :func:`gradient`, :func:`jacobian`, :func:`vjp`, :func:`jvp`, :func:`hessian_vector`; prints as a table."""

    what: str  # what was checked
    rows: tuple
    problems: tuple  # what is wrong with a function as such: it edits its arguments, is random, returns another structure

    @property
    def correct(self) -> bool:
        """Nothing differs and nothing is left open. At a kink any value between the one-sided derivatives passes."""
        return not self.problems and bool(self.rows) and all(r.verdict in (AGREES, KINK) for r in self.rows)

    @property
    def worst(self) -> float:
        """Largest relative error of all parameters."""
        return max((r.relative_error for r in self.rows), default=float("nan"))

    def _notes(self):
        """The sentences below the table."""
        own = [f"{row.parameter}: {note}" for row in self.rows for note in row.notes]
        return "\n".join([*self.problems, *own, self._summary()])

    def _summary(self):
        if self.correct:
            return f"{self.what}: correct, to a relative error of {self.worst:.0e}"
        named = [r.parameter for r in self.rows if r.verdict not in (AGREES, KINK, UNKNOWN)]
        if named:
            return f"{self.what}: wrong in {', '.join(named)}"
        return f"{self.what}: not shown to be correct"

    def __str__(self):
        table = text(HEADER, [row.cells() for row in self.rows]) + "\n" if self.rows else ""
        return table + self._notes()

    def _repr_html_(self):
        return html(self.what, HEADER, [row.cells() for row in self.rows], self._notes())

    def to_dict(self):
        """Everything as numbers, strings and lists that JSON takes; what is not finite or complex is a string."""
        rows = [{key: _plain(value) for key, value in row._asdict().items()} for row in self.rows]
        problems, correct = list(self.problems), self.correct
        return {"what": self.what, "correct": correct, "problems": problems, "rows": rows}


class Evidence(NamedTuple):
    """What the oracle found of one parameter, entry by entry or projection by projection, beside what was given."""

    given: np.ndarray
    expected: np.ndarray
    error: float  # norm of the oracle's error, estimated
    jump: np.ndarray  # where the function has a kink, the one-sided derivatives differ by this; else 0
    oracle: str
    probes: str
    worst: tuple | None = None  # index, given, expected; None: the largest difference of the arrays above


def judge(name, found, bytes_, rounding, explain) -> DerivativeRow:
    """The verdict on one parameter, Eq. (CHK.1).

    Parameters
    ----------
    found : Evidence
    bytes_ : int             of a real number in the lowest precision that took part
    rounding : float         a norm of the answer that may come from rounding alone; the oracle, which divides by steps, has more
    explain : tolerance -> tuple of sentences        asked when it differs
    """
    with np.errstate(all="ignore"):
        given, expected = _double(found.given), found.expected
        smooth = found.jump == 0
        difference = np.where(smooth, abs(given - expected), _outside(found))
        size, norm = (float(np.linalg.norm(np.where(smooth, a, 0))) for a in (expected, given))
        error = float(np.linalg.norm(difference))
        relative = error / size if size else (0.0 if error == 0 else float("inf"))  # (CHK.1)
        most = max(
            size, norm, float(np.linalg.norm(found.jump))
        )  # by what it judges: the right one may be zero
        accuracy = found.error / most if most else (0.0 if found.error == 0 else float("inf"))
        inner = float((given * np.conj(expected)).real[smooth].sum())
        cosine = inner / (norm * size) if norm * size else float(norm == size)
        ratio = norm / size if size else (float("inf") if norm else 1.0)
        share = error / most if most else 0.0
    zero = norm < rounding and size <= max(10 * found.error, 1e-3 * rounding)
    zero = zero and found.error < 1e5 * rounding  # else the oracle has not seen that it is so small
    zero = zero or error == found.error == 0
    verdict, notes = _verdict(share, relative, accuracy, zero, smooth, bytes_)
    if zero and error:
        notes.append(f"zero but for rounding: the norms are {norm:.0e} and {size:.0e}")
        relative, cosine, ratio = 0.0, 1.0, 1.0
    if verdict == DIFFERS:
        notes = explain(min(1e-2, max(1e-6, 10 * RTOL[bytes_], 10 * accuracy))) or notes
    where = found.worst or _worst(difference, given, expected)
    return DerivativeRow(
        name, verdict, relative, cosine, ratio, *where, found.oracle, accuracy, found.probes, tuple(notes)
    )


def _verdict(share, relative, accuracy, zero, smooth, bytes_):
    """The word, and what it needs to be understood; ``share``: the difference by the larger of both norms."""
    kinks = "" if smooth.all() else _kinks(smooth)
    wrong = share > 10 * accuracy and share > RTOL[bytes_]
    if zero:
        return (KINK if kinks else AGREES), [kinks] if kinks else []
    if not (accuracy <= UNSURE[bytes_] or wrong):
        good = f"the oracle is only good to {accuracy:.0e} here"
        return UNKNOWN, [
            good if np.isfinite(accuracy) else "the oracle sees no change, but rounding may hide a small one"
        ]
    if not relative <= max(RTOL[bytes_], 3 * accuracy):
        return DIFFERS, [kinks] if kinks else []
    return (KINK, [kinks]) if kinks else (AGREES, [])


def _double(a):
    """In double precision: half precision is too coarse for norms."""
    return a.astype(np.result_type(a.dtype, float))


def _kinks(smooth):
    """What is said of them."""
    where = (
        ", ".join(str(list(map(int, i))) for i in np.argwhere(~smooth)[:3]) if smooth.ndim else "this number"
    )
    more = ", ..." if smooth.ndim and (~smooth).sum() > 3 else ""
    return (
        f"the function has a kink here, in {int((~smooth).sum())} of {smooth.size} directions looked at ({where}{more}): the "
        "derivatives to the right and to the left differ, and any value between them is accepted"
    )


def _outside(found):
    """At a kink: how far the given value lies outside the one-sided derivatives."""
    beyond = abs(_double(found.given) - found.expected) - 0.505 * abs(found.jump) - 3 * found.error
    return np.maximum(beyond, 0.0)


def _worst(difference, given, expected):
    """Index of the largest difference and both values there; what is no number is the largest."""
    flat = np.where(np.isnan(difference), np.inf, difference)
    at = np.unravel_index(int(np.argmax(flat)), flat.shape)
    return tuple(int(i) for i in at), given[at].item(), expected[at].item()


def without_numbers(name, verdict, note, oracle="", probes=""):
    """A row in which nothing can be compared."""
    nan = float("nan")
    return DerivativeRow(name, verdict, nan, nan, nan, None, nan, nan, oracle, nan, probes, (note,))


def relations(g, d, project, tolerance, *, sizes=None, x=None, others=None) -> tuple:
    """Simple reasons why ``g`` is not the derivative ``d``: sign, factor, transposed, conjugate, real part, weight decay.

    Parameters
    ----------
    g : array                the answer, of the parameter's shape
    d : array                what ``project`` makes of the right answer
    project : array -> array of the shape of d       the identity, or random projections
    sizes : dict             length -> where it occurs, for factors such as 1/B
    x : array                the parameter
    others : dict            name -> derivative, of the parameters of the same shape
    """
    g = _double(g)
    if not g.any():
        return ("the answer is zero everywhere",)
    if not d.any():
        return ("the function does not change with it: the derivative is zero",)
    for how, changed in _variants(g):
        factor = _proportional(project(changed), d, tolerance)
        named = "" if factor is None else _factor(factor, tolerance, sizes or {}, bare=d.size > 1)
        if named or (how and factor is not None and d.size > 1):
            return ("; ".join(part for part in (how, named) if part),)
    if np.iscomplexobj(d) and not np.imag(g).any() and _proportional(g.real, d.real, tolerance) is not None:
        return ("only the real part is given: i times the derivative by the imaginary part is missing",)
    for name, other in (others or {}).items():
        if _proportional(g, other, tolerance) is not None:
            return (f"this is the derivative by {name}, or a multiple of it",)
    if x is not None and x.any() and d.size > 1:
        factor = _proportional(project(g) - d, project(x), tolerance)
        if factor is not None:
            return (
                f"the difference is {factor:.6g} times the parameter itself, as a term of weight decay would be",
            )
    return _few_entries(g, d, tolerance) if g.shape == d.shape else ()


def shape_reason(g, d):
    """Why an answer has another shape than the derivative ``d``, with what makes it right, if that is simple."""
    wrong = f"the shape is {g.shape}, expected {d.shape}"
    for how, changed in _shapes(g, d):
        if changed.shape == d.shape and np.linalg.norm(changed - d) <= 1e-3 * np.linalg.norm(d):
            return f"{wrong}: {how}"
    return wrong


def _shapes(g, d):
    """Answers of another shape, brought to the right one."""
    yield "transposed, it is right", g.T
    if g.size == d.size:
        yield "only reshaped, it is right", g.reshape(d.shape)
    if g.ndim >= d.ndim:
        shape = (1,) * (g.ndim - d.ndim) + d.shape
        axes = tuple(i for i, (n, m) in enumerate(zip(g.shape, shape, strict=True)) if n != m == 1)
        summed = g.sum(axis=axes, keepdims=True)
        if summed.size == d.size:
            yield (
                f"the sum over axis {', '.join(map(str, axes))} is missing, where the forward pass broadcasts",
                summed.reshape(d.shape),
            )


def _variants(g):
    """The answer as it is, and as it would be without a common slip."""
    yield "", g
    if g.ndim == 2 and g.shape[0] == g.shape[1] > 1:
        yield "the answer is transposed", g.T
    if np.iscomplexobj(g) and g.imag.any():
        yield (
            "the answer is the complex conjugate of the right one; a gradient here is dF/dRe + i dF/dIm",
            g.conj(),
        )
        yield "the imaginary part does not belong there: take .real", g.real
    if g.ndim >= 2:
        yield "the answer is reversed along its last two axes", g[..., ::-1, ::-1]
    if g.ndim and len(g) > 1:
        yield "the answer is reversed along its first axis", g[::-1]


def _proportional(a, d, tolerance):
    """The real c with a = c d, if there is one."""
    with np.errstate(all="ignore"):
        size = float((abs(d) ** 2).sum())
        c = float((a * np.conj(d)).sum().real) / size if size else float("nan")
        close = tolerance if abs(c - 1) <= tolerance else min(tolerance, 1e-2 * abs(c - 1))
        return c if c and np.linalg.norm(a - c * d) <= close * np.linalg.norm(a) else None


def _few_entries(g, d, tolerance):
    """How many entries differ, if it is the lesser part, and what their indices have in common."""
    wrong = np.argwhere(abs(g - d) > tolerance * abs(d).max())
    if not 0 < 2 * len(wrong) < d.size:
        return ()
    common = [
        f"{axis} is {at[0]}" for axis, at in enumerate(wrong.T) if len({*at.tolist()}) == 1 < len(wrong)
    ]
    shared = f", in all of them the index on axis {' and on axis '.join(common)}" if common else ""
    return (f"{len(wrong)} of {d.size} entries differ{shared}",)


def _factor(c, tolerance, sizes, bare):
    """A factor in words; "" for one, and for a number that says nothing unless it may stand for itself (``bare``)."""

    def near(value):
        return abs(abs(c) - value) <= tolerance * value

    sign = "the sign is wrong" if c < 0 else ""
    if near(1):
        return sign  # the whole story, or none
    reasons = [f"1/{n} (a mean over {where} for a sum?)" for n, where in sizes.items() if near(1 / n)]
    reasons += [f"{n} ({n} is the length of {where})" for n, where in sizes.items() if near(n)]
    simple = [name for name, value in (("2", 2), ("1/2", 0.5)) if near(value)]
    size = " or ".join(simple + reasons) or f"{abs(c):.6g}" * bare
    if not size:
        return ""
    return "; ".join([sign] * bool(sign) + [f"the answer is the right one times {size}"])


def _number(x):
    return f"{x:.6g}"


def _plain(value):
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, complex):
        return str(value)
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
