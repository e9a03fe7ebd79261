"""Tell a student what is wrong with a function: shape, finite, dtype, which array, and the mistake by its name.

What the student returns is compared with the engine's answer, and where it differs, with the answers of engines
that have a mistake from ``minipc.mistakes`` in them, with simple relations (sign, factor, transpose, ...), and with
two of these at once. A name is given only if the wrong answer is reproduced to rounding on every problem tried.
"""

import contextlib
import copy
import dataclasses
import functools
import inspect
import math
import re
import time
import traceback
import warnings
import zlib
from typing import NamedTuple

import numpy as np

from . import tables
from .comparison import Comparison, compare, leaves
from .trees import as_numpy, changed

RIGHT, SAME = 1e-8, 1e-7  # relative: a correct answer; two wrong answers that are the same one
FLOAT32 = 1e-4  # a correct answer in single precision
SECONDS = 1.2  # of computing, to search pairs of mistakes in
TRIALS = 3  # problems that an answer has to be right on


class StoppedError(Exception):
    """Raised by a student's function that cannot be called again (a crash, a time limit); passes through."""


class NoNumbersError(TypeError):
    """A student's result is not made of arrays and numbers."""


class Explanation(NamedTuple):
    """What :func:`explain` found; ``print`` shows it, a notebook shows a table.

    Attributes
    ----------
    equation : str
    verdict : str             "correct", "not done", "raises", "structure", "shape", "not finite", "one mistake",
                              "two mistakes", "close" or "unknown"
    names : tuple of str      of the mistakes; empty unless one or two were recognised
    message : str             in words
    comparison : Comparison   every array of the answer beside the expected one, or None
    notes : tuple of str      what else was noticed: another dtype, an argument that was edited
    smallest : str            the smallest problem found on which the answer is wrong, or ""
    alternatives : tuple      for each of ``names`` the names of all mistakes that are the same one here, itself included
    """

    equation: str
    verdict: str
    names: tuple
    message: str
    comparison: Comparison | None = None
    notes: tuple = ()
    smallest: str = ""
    alternatives: tuple = ()

    @property
    def correct(self) -> bool:
        """Is the answer right on every problem that was tried?"""
        return self.verdict == "correct"

    def to_dict(self) -> dict:
        """The same for JSON."""
        rows = self.comparison.rows if self.comparison else []
        return {
            "equation": self.equation,
            "verdict": self.verdict,
            "correct": self.correct,
            "names": list(self.names),
            "alternatives": [list(names) for names in self.alternatives],
            "message": self.message,
            "notes": list(self.notes),
            "arrays": [
                {
                    "name": r.name,
                    "relative_error": r.relative_error,
                    "cosine": r.cosine,
                    "norm_ratio": r.norm_ratio,
                    "worst": list(r.worst),
                    "got": _number(r.got),
                    "expected": _number(r.expected),
                }
                for r in rows
            ],
            "smallest": self.smallest,
        }

    def _head(self):
        """What was looked at first, in one line."""
        if self.comparison is None:
            return f"({self.equation}) {self.message}"
        rows = [r for r in self.comparison.rows if not r.relative_error < RIGHT]
        where = (
            "in every array"
            if len(rows) == len(self.comparison.rows)
            else f"in {', '.join(r.name for r in rows)}"
        )
        dtype = "" if any("dtype" in note for note in self.notes) else ", the dtype too"
        return f"({self.equation}) The shapes are right{dtype}, all numbers are finite. It is wrong {where}:"

    def _tail(self):
        """The mistake, its equation, the smallest problem."""
        if self.comparison is None:
            return []
        word = "The mistake" if len(self.names) == 1 else "The mistakes"
        lines = [f"{word}: {self.message}" if self.names else self.message[0].upper() + self.message[1:]]
        lines += [f"  ({id})  {text}" for id, text in self._equations().items()]
        return [*lines, *([self.smallest] if self.smallest else [])]

    def _equations(self):
        """The equations to look at: id -> line of the engine's docstrings, in LaTeX."""
        from ..mistakes import MISTAKES

        ids = dict.fromkeys(
            [self.equation, *(MISTAKES[name].equation for name in self.names if name in MISTAKES)]
        )
        return {id: found[id] for id in ids if id in (found := _lines())}

    def __str__(self):
        notes = [f"note: {note}" for note in self.notes]
        table = [] if self.comparison is None else [str(self.comparison)]
        return "\n".join([self._head(), *notes, *table, *self._tail()])

    def _repr_html_(self):
        header = ["array", "relative error", "cosine", "norm ratio", "worst entry", "got", "expected"]
        cells = [
            [r.name, f"{r.relative_error:.1e}", f"{r.cosine:.4f}", f"{r.norm_ratio:.4g}", list(r.worst)]
            + [f"{r.got:.6g}", f"{r.expected:.6g}"]
            for r in (self.comparison.rows if self.comparison else [])
        ]
        notes = [f"note: {note}" for note in self.notes]
        return tables.html(self._head(), header, cells, "\n".join([*notes, *self._tail()]))


@functools.cache
def _lines():
    """The equations in the tables of the engine's docstrings: id -> what stands beside it, ``$`` around LaTeX."""
    from ..mistakes import PACKAGE

    found = {}
    for path in sorted(PACKAGE.glob("*.py")):
        for id, line in re.findall(
            r"^\((\w+\.\d+)\)\s+(.*(?:\n {8,}.*)*)", path.read_text("utf-8"), re.MULTILINE
        ):
            found.setdefault(id, " ".join(re.sub(r":math:`([^`]*)`", r"$\1$", line).split()))
    return found


def _number(value):
    """For JSON: a float, or [real, imaginary]."""
    return [value.real, value.imag] if isinstance(value, complex) else value


def exercises() -> dict:
    """Every exercise by the id of its equation; printed, one says what the function is given and returns."""
    from ..exercises import EXERCISES

    return dict(EXERCISES)


def explain(student, equation, *, seed=0) -> Explanation:
    """Try a student's function for an equation and say what is wrong with it, by name.

    Looks in this order: not done, raises, number of arrays, shapes, finite, equal; then for one named mistake, for a
    simple relation (sign, factor 2, 1/B, 1/T, transposed, conjugate, zero, another layer's), for two at once. If
    nothing reproduces the answer it says so, and shows the smallest problem on which the answer is wrong.

    Parameters
    ----------
    student : callable        the arguments are those of ``print(check.exercises()[equation])``, in this order; or, if
                              the parameters have names of arguments, those it asks for, in any order
    equation : str            an id with an exercise, "sPC.4"
    seed : int                of the problems; the default is what a course would use

    Raises
    ------
    ValueError                no exercise for this equation
    TypeError                 student is not callable

    Notes
    -----
    Runs in less than two seconds, if the student's function does. Results may be arrays of any library,
    nested lists, tuples, dicts or a ``Gradient``.

    Examples
    --------
    >>> import minipc as pc
    >>> print(explain(pc.spc.activity_gradient, "sPC.4").message)
    correct: the same to 1e-10 on 3 problems
    >>> def wrong(net, params, s, y, precision):
    ...     return [None if g is None else -g for g in pc.spc.activity_gradient(net, params, s, y, precision)]
    >>> explain(wrong, "sPC.4").names
    ('the sign is wrong',)
    """
    found = exercises()
    if equation not in found:
        raise ValueError(f"equation must be one of {', '.join(found)}; got {equation!r}")
    if not callable(student):
        raise TypeError(f"student must be a function, got {type(student).__name__}")
    return _case(equation, seed).explain(student)


# ---------------------------------------------------------------------- problems and answers


@functools.cache
def _bench():
    """The engine that all mistakes are tried in."""
    from ..mistakes import Bench

    return Bench()


# what is kept are answers with mistakes, for the next try of the same exercise
@functools.lru_cache(maxsize=8)
def _case(equation, seed, square=False):
    return _Case(exercises()[equation], seed, square)


class _Trial:
    """One problem: what is given, what is right, and what engines with mistakes say of it."""

    def __init__(self, exercise, rng, bench, **options):
        from .. import exercises as room

        draw = room.Draw(rng, **options)
        self.exercise, self.bench = exercise, bench
        given = exercise.problem(draw)
        self.offered = {**_more_names(given), **given}
        self.given = {name: given[name] for name in exercise.arguments}
        self.sizes = draw.sizes
        self._twins = [room.twin(bench.engine, v) for v in self.given.values()]
        self._tree = _plain(self.answer())
        self.right = leaves(self._tree)
        self.shapes = list(map(np.shape, self.right.values()))
        self.alone = functools.cache(self.wrong)  # one mistake is asked for more than once, two are not

    def answer(self, **slip):
        """What the bench's engine says, as it is now."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # with a mistake in it inference may well diverge
            return self.exercise.answer(self.bench.engine, *copy.deepcopy(self._twins), **slip)

    def wrong(self, *names):
        """The arrays of an engine with these mistakes; None if it gives none that could be meant."""
        slips = [name for name in names if name in self.exercise.slips]
        if len(slips) > 1:  # both are in the same place
            return None
        slip = {"slip": slips[0]} if slips else {}
        fit = self.bench.wrong(*(name for name in names if name not in slips))
        with fit:  # a LookupError: they do not fit together
            try:
                found = leaves(_like(_plain(self.answer(**slip)), self._tree))
            except Exception:  # whatever a mistake brings about: the student's function did return
                return None
        fits = list(map(np.shape, found.values())) == self.shapes
        return dict(zip(self.right, found.values(), strict=True)) if fits else None

    def student(self, function):
        """What a student's function returns, and the names of the arguments that it edited."""
        given = copy.deepcopy(self.offered)
        before = copy.deepcopy(self.offered)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is said below, once
            result = _call(function, self.exercise.arguments, given)
        edited = [name for name in self.given if changed(given[name], before[name], name)]
        return leaves(_like(_plain(result), self._tree)), edited


class _Case:
    """An exercise on its problems."""

    def __init__(self, exercise, seed, square=False):
        self.exercise, self.seed, self.square = exercise, seed, square
        rng = np.random.default_rng([seed, zlib.crc32(exercise.equation.encode())])
        self.trials = [_Trial(exercise, rng, _bench(), square=square, setting=i) for i in range(TRIALS)]

    def explain(self, student):
        """The :class:`Explanation`."""
        began = time.thread_time()
        say = functools.partial(Explanation, self.exercise.equation)
        actual, edited = [], []
        for trial in self.trials:
            try:
                result, touched = trial.student(student)
            except NotImplementedError as todo:
                return say("not done", (), f"not done yet: {todo}" if str(todo) else "not done yet")
            except StoppedError:
                raise
            except NoNumbersError as error:
                return say("structure", (), str(error))
            except Exception as error:
                return self._raised(student, error, say)
            actual.append(result)
            edited += touched
        notes = [f"it edits its argument {name}" for name in dict.fromkeys(edited)]
        for found, trial in zip(actual, self.trials, strict=True):
            wrong = _structure(found, trial.right) or _shapes(found, trial) or _finite(found)
            if wrong:
                return say(wrong[0], (), wrong[1], None, tuple(notes))
        actual = [
            dict(zip(t.right, a.values(), strict=True)) for a, t in zip(actual, self.trials, strict=True)
        ]
        notes += _dtypes(actual[0], self.trials[0].right)
        single = any(a.dtype in (np.float32, np.complex64) for found in actual for a in found.values())
        worst = [
            max(map(distance, a.values(), t.right.values())) for a, t in zip(actual, self.trials, strict=True)
        ]
        if max(worst) < (FLOAT32 if single else RIGHT):
            exact = "1e-10" if max(worst) < 1e-10 else f"{max(worst):.0e}"
            return say(
                "correct", (), f"correct: the same to {exact} on {TRIALS} problems", None, tuple(notes)
            )
        shown = int(np.argmax([w >= RIGHT for w in worst]))
        comparison = compare(actual[shown], self.trials[shown].right)
        if max(worst) < FLOAT32:  # so near to the right answer that only a mistake of just this size counts
            alone = self._alone(actual, 1e-3 * max(worst))
            named = (alone,) if alone else ()
        else:
            named = self._names(actual, began)
        names = tuple(either[0] for either in named)
        smallest = "" if names else self._smallest(student)
        if names:
            verdict = "one mistake" if len(names) == 1 else "two mistakes"
            message = _sentence(named)
        elif max(worst) < FLOAT32:
            verdict = "close"
            message = (
                f"almost: right to {max(worst):.0e}, where rounding alone leaves 1e-15. An approximation (a finite "
                f"difference, an eps), an iteration cut short, or float32 somewhere inside?"
            )
        else:
            verdict = "unknown"
            message = "wrong, and no mistake that is known here, alone or with a second one, explains it"
        return say(verdict, names, message, comparison, tuple(notes), smallest, named)

    def _raised(self, student, error, say):
        """An exception: where a product does not fit, equal widths may show which mistake it is."""
        message = f"your function raises {_one_line(error)}"
        if isinstance(error, ValueError) and not self.square and _fits_not(error):
            again = _case(self.exercise.equation, self.seed, square=True).explain(student)
            if again.names:
                note = f"with the widths of this problem {message}; with equal widths it runs, and there:"
                return again._replace(notes=(note, *again.notes))
        return say("raises", (), message + _place(error, student))

    @functools.cached_property
    def _reached(self):
        """Mistakes in a function that the answers call."""
        met = self.trials[0].bench.reached(lambda _: [trial.answer() for trial in self.trials])
        return [*met, *self.exercise.slips]

    @functools.cached_property
    def _singles(self):
        """Mistakes that change the answer to some problem: name -> arrays of each problem."""
        found = {}
        for name in self._reached:
            wrong = [trial.alone(name) for trial in self.trials]
            if None not in wrong and not all(map(_same, wrong, (t.right for t in self.trials))):
                found[name] = wrong
        return found

    def _names(self, actual, began):
        """The mistakes that reproduce the answers; those of a tuple inside are the same one on these problems."""
        alone = self._alone(actual, SAME)
        if alone:
            return (alone,)
        right, sizes = [t.right for t in self.trials], [t.sizes for t in self.trials]
        relation = relations(actual, right, sizes)
        simple = len(relation) == 1 and ", and " not in relation[0] and "constant" not in relation[0]
        if simple:
            return (relation,)
        for name, wrong in self._singles.items():
            more = relations(actual, wrong, sizes, uniform=True)
            if more:  # a factor may be a mistake that has a name
                second = [other for other in self._singles if self._reproduces(actual, name, other)]
                return (name,), (second or more)
        pair = self._pair(actual, began)
        return self._either(actual, *pair) if pair else tuple((name,) for name in relation)

    def _alone(self, actual, limit):
        """Mistakes that change the answer, and alone give the one that is seen, as near as ``limit``."""

        def gives(name):
            pairs = zip(self.trials, actual, strict=True)
            return all((wrong := trial.alone(name)) and _same(seen, wrong, limit) for trial, seen in pairs)

        found = [name for name in self._reached if gives(name)]
        return tuple(name for name in found if not all(_same(t.alone(name), t.right) for t in self.trials))

    def _either(self, actual, one, other):
        """Two mistakes, each with those that are the same one beside the other."""

        def instead(of, beside):
            others = [name for name in self._singles if name not in (of, beside)]
            return (of, *(name for name in others if self._reproduces(actual, name, beside)))

        return instead(one, other), instead(other, one)

    def _pair(self, actual, began):
        """Two mistakes at once; those pairs first whose effects add up to what is seen."""
        names = list(self._singles)
        if len(names) < 2:
            return ()
        effect = np.array([self._effect(self._singles[name]) for name in names])
        seen = self._effect(actual)
        touched = abs(effect) > 1e-12
        gram, along = effect @ effect.T, effect @ seen
        left = gram.diagonal()[:, None] + gram.diagonal() + 2 * gram - 2 * along[:, None] - 2 * along
        first, second = np.triu_indices(len(names), 1)
        for k in np.argsort(left[first, second], kind="stable"):
            i, j = first[k], second[k]
            if np.linalg.norm(seen[~(touched[i] | touched[j])]) > 1e-2 * np.linalg.norm(seen):
                continue  # much differs that neither of the two changes
            if time.thread_time() - began > SECONDS:
                break
            if self._reproduces(actual, names[i], names[j]):
                return names[i], names[j]
        return ()

    def _effect(self, answers):
        """How far answers are from the right ones, every array in units of its norm; finite."""
        parts = [
            (found[name] - x).ravel() / (np.linalg.norm(x) or 1.0)
            for found, trial in zip(answers, self.trials, strict=True)
            for name, x in trial.right.items()
        ]
        vector = np.concatenate(parts)
        vector = np.concatenate([vector.real, vector.imag])  # an answer may be complex, the right one real
        return np.clip(np.nan_to_num(vector, nan=1e3), -1e3, 1e3)

    def _reproduces(self, actual, *names):
        """Do these mistakes together give the answers? Two of one line may fit into it in one order only."""
        for order in (names, names[::-1]):
            with contextlib.suppress(LookupError):
                pairs = zip(self.trials, actual, strict=True)
                return all((wrong := trial.wrong(*order)) and _same(seen, wrong) for trial, seen in pairs)
        return False

    def _smallest(self, student):
        """The smallest problem on which the answer is wrong, in words; "" if only larger ones show it."""
        from ..exercises import Draw

        for size in range(len(Draw.SMALL)):
            rng = np.random.default_rng([self.seed, size])
            try:
                trial = _Trial(self.exercise, rng, _bench(), size=size)
                found, _ = trial.student(student)
            except StoppedError:
                raise
            except Exception:  # this size does not exist, or breaks the function in another way
                continue
            if _structure(found, trial.right) or _shapes(found, trial):
                continue
            found = dict(zip(trial.right, found.values(), strict=True))
            wrong = {k for k, a in found.items() if not distance(a, trial.right[k]) < RIGHT}
            if wrong:
                lines = [f"The smallest problem on which it shows ({_sizes(trial)}):"]
                lines += [f"  {name} = {_readable(value)}" for name, value in trial.given.items()]
                for name in trial.right:
                    if name in wrong:
                        lines.append(f"  {name}: got {_readable(found[name])}")
                        lines.append(f"  {' ' * len(name)}  expected {_readable(trial.right[name])}")
                return "\n".join(lines)
        return ""


# ---------------------------------------------------------------------- simple relations


def relations(actual, right, sizes, uniform=False):
    """Simple relations between answers and the right ones, as names; () if some array has none.

    ``actual`` and ``right`` are dicts of arrays, one a problem, ``sizes`` their B and T. ``uniform``: all arrays
    that differ have the same relation.
    """
    found, names = {}, dict.fromkeys(name for x in right for name in x)
    for name in names:  # the problems of an exercise may differ in what they have
        have = [i for i, x in enumerate(right) if name in x]
        some = [actual[i] for i in have], [right[i] for i in have]
        text = _relation(*([tree[name] for tree in trees] for trees in some), [sizes[i] for i in have])
        if text is None:
            text = None if uniform else _stranger(name, *some)
        if text is None:
            return ()
        if text:
            found.setdefault(text, []).append(name)
    if uniform and (len(found) != 1 or "it is zero" in found):
        return ()
    everything = len(found) == 1 and len(next(iter(found.values()))) == len(names)
    first = {text: [name for name in names if name in right[0]] or names for text, names in found.items()}
    return tuple(text if everything else f"{text} ({', '.join(names)})" for text, names in first.items())


_FACTORS = {  # of a problem of B samples or lanes and T steps: how the factor follows from them
    "the sign is wrong": ("", lambda: -1),
    "a factor 2 too much": ("", lambda: 2),
    "a factor 1/2 too much": ("", lambda: 0.5),
    "a mean over the batch, not a sum (a factor 1/B)": ("B", lambda B: 1 / B),
    "a mean over time, not a sum (a factor 1/T)": ("T", lambda T: 1 / T),
    "a mean over batch and time, not a sum (a factor 1/(B T))": ("BT", lambda B, T: 1 / (B * T)),
    "a sum over the batch too much (a factor B)": ("B", lambda B: B),
    "a sum over time too much (a factor T)": ("T", lambda T: T),
    "the sign is wrong, and a factor 2 too much": ("", lambda: -2),
    "the sign is wrong, and a factor 1/2 too much": ("", lambda: -0.5),
    "the sign is wrong, and a mean over the batch, not a sum (a factor -1/B)": ("B", lambda B: -1 / B),
    "the sign is wrong, and a mean over time, not a sum (a factor -1/T)": ("T", lambda T: -1 / T),
    "a factor 2, and a mean over the batch, not a sum (a factor 2/B)": ("B", lambda B: 2 / B),
    "a factor 1/2, and a mean over the batch, not a sum (a factor 1/(2 B))": ("B", lambda B: 0.5 / B),
}


def _factor(text, size):
    """The factor of this name in a problem of these sizes; NaN, which fits nothing, without them."""
    needed, value = _FACTORS[text]
    return value(*(size[name] for name in needed)) if size.keys() >= set(needed) else math.nan


def _relation(actual, right, sizes):
    """In words how an array of each problem differs from the right one; "" if it does not, None if nothing fits."""
    pairs = list(zip(actual, right, strict=True))
    if all(near(a, x) for a, x in pairs):
        return ""
    if all(not a.any() for a in actual):
        return "it is zero"
    for text in _FACTORS:
        if all(near(a, _factor(text, size) * x) for (a, x), size in zip(pairs, sizes, strict=True)):
            return text
    if all(x.size > 1 for x in right):
        factors = [np.vdot(x, a) / np.vdot(x, x) for a, x in pairs if x.any()]
        if factors and all(near(a, factors[0] * x) for a, x in pairs) and abs(factors[0]) > SAME:
            return f"a constant factor {factors[0]:.6g}"
    if all(np.iscomplexobj(x) and near(a, x.conj()) for a, x in pairs):
        return "the conjugate is missing"
    if all(
        a.ndim > 1 and a.shape == x.swapaxes(-1, -2).shape and near(a, x.swapaxes(-1, -2)) for a, x in pairs
    ):
        return "it is transposed"
    in_time = all(x.ndim > 1 and len(x) == size.get("T") for x, size in zip(right, sizes, strict=True))
    if in_time and all(near(a[:-1], x[:-1]) and not a[-1].any() for a, x in pairs):
        return "the last step is missing"
    if in_time and all(near(a[1:], x[:-1]) for a, x in pairs):
        return "it comes one step late"
    if in_time and all(near(a[:-1], x[1:]) for a, x in pairs):
        return "it comes one step early"
    return None


def _stranger(name, actual, right):
    """Another array of the answer stands where this one belongs."""
    for other in right[0]:
        if other != name and all(
            other in x and a[name].shape == x[other].shape and near(a[name], x[other])
            for a, x in zip(actual, right, strict=True)
        ):
            return f"it is {other}, of another place"
    return None


def near(a, x, limit=SAME):
    """Equal to rounding, in norm."""
    return distance(a, x) < limit


def distance(a, x) -> float:
    """Relative error in norm, infinite for what is not finite; zero beside zero is zero."""
    if a.shape != x.shape:
        return math.inf
    size = np.linalg.norm(x)
    error = np.linalg.norm(a - x)
    if not np.isfinite(error):
        return math.inf
    return float(error / size) if size else (math.inf if error > 1e-12 else 0.0)


def _same(found, other, limit=SAME):
    return all(near(a, x, limit) for a, x in zip(found.values(), other.values(), strict=True))


# ---------------------------------------------------------------------- what came back


def arrays(result) -> dict:
    """The arrays of a result by name: of any library, in any nesting, or a single number."""
    return leaves(_plain(result))


def _plain(tree):
    """The same tree of NumPy arrays."""
    tree = getattr(tree, "grads", tree)
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    found = as_numpy(tree)
    if found.dtype.kind not in "fciub":
        raise NoNumbersError(f"the result must be made of arrays of numbers, got {type(tree).__name__}")
    return found


def _like(found, right):
    """The same numbers in the form of the right answer: a list of T arrays where one is wanted, keys in its order."""
    if isinstance(found, list) and isinstance(right, np.ndarray):
        with contextlib.suppress(ValueError):
            stacked = np.array(found)
            return stacked if stacked.dtype.kind in "fciub" else found
    if isinstance(found, dict | list) and isinstance(right, dict | list) and len(found) == len(right):
        by_key = isinstance(right, dict)
        keys = right if by_key and isinstance(found, dict) and found.keys() == right.keys() else found
        values = [found[key] for key in keys] if isinstance(found, dict) else found
        wanted = list(right.values()) if by_key else right
        new = list(map(_like, values, wanted))
        return dict(zip(right, new, strict=True)) if by_key else new
    return found


def _structure(found, right):
    """The wrong number of arrays, as (verdict, message)."""
    if len(found) == len(right):
        return None
    if not found:
        return "structure", "nothing was returned: is the return missing?"
    return "structure", f"{len(found)} arrays were returned, {len(right)} expected: {', '.join(right)}"


def _shapes(found, trial):
    """The first wrong shape."""
    for (_, a), (name, x) in zip(found.items(), trial.right.items(), strict=True):
        if a.shape != x.shape:
            if a.shape == x.shape[::-1]:
                hint = ": is it transposed?"
            elif a.ndim == x.ndim + 1 and len(a) == trial.sizes.get("B"):
                hint = ": is the sum over the batch missing?"
            elif a.ndim == x.ndim - 1:
                hint = ": is there a sum too many?"
            else:
                hint = ""
            return "shape", f"{name} has shape {a.shape}, expected {x.shape} ({_sizes(trial)}){hint}"
    return None


def _finite(found):
    for name, a in found.items():
        if not np.isfinite(a).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(a))[0])
            return "not finite", f"{name}{list(place)} is {a[place]}"
    return None


def _dtypes(found, right):
    return [
        f"{name} has dtype {a.dtype}, what is given is {right[name].dtype}"
        for name, a in found.items()
        if a.dtype != right[name].dtype
    ]


def _sizes(trial):
    return ", ".join(f"{name} = {n}" for name, n in trial.sizes.items())


def _sentence(named):
    """The mistakes in a sentence, each with its equation where it has one; alternatives are said to be that."""
    from ..mistakes import MISTAKES

    def one(name):
        return f"{name}, ({MISTAKES[name].equation})" if name in MISTAKES else name

    def either(names):
        first, *others = map(one, names)
        return f"{first} (or, the same here: {'; '.join(others)})" if others else first

    return "; and: ".join(map(either, named))


def _readable(value):
    if hasattr(value, "blocks"):
        return (
            ", ".join(f"{type(b).__name__}({_config(b)})" for b in value.blocks) + f", loss {value.loss.name}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_readable, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_readable(v)}" for k, v in value.items()) + "}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ").replace("\n", "")
    return str(value)


def _config(block):
    """The arguments of a block that are not the default."""
    usual = {f.name: f.default for f in dataclasses.fields(block)} if dataclasses.is_dataclass(block) else {}
    return ", ".join(f"{k}={v}" for k, v in block.config().items() if v != usual.get(k))


def _one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _fits_not(error):
    words = ("matmul", "broadcast", "shape", "dimension", "aligned", "size")
    return any(word in str(error).lower() for word in words)


def _place(error, student):
    """The student's own line in which an exception began."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(student), "__code__", None)
    own = [f for f in frames if code and f.filename == code.co_filename]
    if not own:
        return ""
    return f", in line {own[-1].lineno}: {own[-1].line}" if own[-1].line else f", in line {own[-1].lineno}"


# ---------------------------------------------------------------------- calling a student


def _call(function, arguments, offered):
    """Call a function by the names of its parameters if all that it needs are known, else in order."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if needed and all(name in offered for name in needed):
        asked = [p for p in parameters if p.name in needed or p.name in arguments]
        keywords = {p.name: offered[p.name] for p in asked if p.kind is not p.POSITIONAL_ONLY}
        return function(*(offered[p.name] for p in asked if p.kind is p.POSITIONAL_ONLY), **keywords)
    return function(*(offered[name] for name in arguments))


def _more_names(given):
    """Names under which parts are known too: ``Pi``, and ``W``, ``b``, ... of the parameters."""
    more = {}
    if "precision" in given:
        more["Pi"] = given["precision"]
    params = given.get("params")
    if isinstance(params, dict):
        more |= params
    if isinstance(params, list):
        names = dict.fromkeys(name for p in params for name in p)
        more |= {name: [p.get(name) for p in params] for name in names}
    return more
