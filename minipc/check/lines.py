"""The function and the answer as they are handed in: nested arguments in, numbers out; made functions on lines, and watched.

Neither may edit its arguments or be random; what they do of that is told, and the check goes on with copies.
"""

import math
import warnings

import numpy as np

from .oracle import EPS, TINY
from .trees import (
    StructureError,
    argument_names,
    changed,
    copied,
    flatten,
    host,
    like_leaf,
    match,
    number_or_array,
    rebuild,
)

OUTSIDE = (ArithmeticError, ValueError, AssertionError)  # what a function may raise where it does not exist


def name_of(function):
    """How a function is called in a message."""
    return getattr(function, "__name__", type(function).__name__).replace("<lambda>", "a lambda")


class Answer:
    """The derivative to be checked: called on copies, its habits watched."""

    def __init__(self, function, args):
        self.function, self.args, self.problems, self.calls = function, args, [], 0

    def __call__(self, *extra):
        args = copied((*self.args, *extra))
        result = self.function(*args)
        if not self.calls:
            names = argument_names(self.function, len(args))
            for name, now, before in zip(names, args, (*self.args, *extra), strict=True):
                self.problems += [
                    f"{name_of(self.function)} edits its argument {p}" for p in changed(now, before, name)
                ]
            again = self.function(*copied((*self.args, *extra)))
            if not _same(result, again):
                self.problems.append(f"{name_of(self.function)} is random: two calls give two answers")
        self.calls += 1
        return result

    def tree(self, answer, function):
        """Its arrays on the host, by the names of the parameters; {} if the structure is another."""
        like = function.trees if isinstance(function.wrt, tuple) else function.trees[0]
        names = function.names if isinstance(function.wrt, tuple) else function.names[0]
        try:
            if isinstance(function.wrt, tuple):
                if not isinstance(answer, list | tuple) or len(answer) != len(like):
                    raise StructureError(
                        f"the answer must be a tuple of {len(like)}, got {type(answer).__name__}"
                    )
                found = [match(a, tree, name) for a, tree, name in zip(answer, like, names, strict=True)]
                leaves = {k: v for part in found for k, v in part.items()}
            else:
                leaves = match(answer, like, names)
            return {name: host(leaf, f"the derivative by {name}") for name, leaf in leaves.items()}
        except StructureError as wrong:
            several = (
                isinstance(answer, list | tuple) and len(answer) > 1 and not isinstance(function.wrt, tuple)
            )
            hint = f"; for {len(answer)} arguments say wrt={tuple(range(len(answer)))}" if several else ""
            self.problems.append(f"{name_of(self.function)} returns another structure: {wrong}{hint}")
            return {}


class Function:
    """A function on lines through its arguments: all leaves in double precision if it takes them, values on the host."""

    def __init__(self, f, args, wrt, read, real=None):
        self.f, self.args, self.wrt, self.read, self.real = f, list(args), wrt, read, real or _pairs
        self.where = _positions(wrt, len(args))
        self.names = [argument_names(f, len(args))[i] for i in self.where]
        self.trees = [args[i] for i in self.where]
        self.originals = _leaves(self.trees, self.names)
        self.problems, self.copies, self.usable = [], False, True
        result = self._watch(args)
        self._precision(result)
        self.leaves = {name: host(leaf, name) for name, leaf in self.base.items()}
        self.scales = {name: _scale(x) for name, x in self.leaves.items()}

    def _watch(self, args):
        """The first call, on copies: does it edit its arguments?"""
        self.args, passed = copied(self.args), copied(list(args))
        result = self.f(*passed)
        for name, now, before in zip(argument_names(self.f, len(args)), passed, args, strict=True):
            edited = [f"{name_of(self.f)} edits its argument {path}" for path in changed(now, before, name)]
            self.problems += edited
            self.copies |= bool(edited)
        return result

    def _precision(self, result):
        """In double precision if f takes it; shape and kind of the values; are two calls the same?"""
        own = real_number(result) if self.read is number else self.read(result)
        self.base, self.output = dict(self.originals), result
        try:
            promoted = {name: _promoted(leaf) for name, leaf in self.originals.items()}
            self.output = self.call(promoted)
            self.base = promoted
        except (TypeError, ValueError, RuntimeError):  # a library that does not mix precisions
            pass
        y, again = self.read(self.output), self.read(self.call(self.base))
        self.shape, self.complex, self.size = y.shape, y.dtype.kind == "c", float(abs(y).max(initial=0))
        self.dtypes = {name: host(leaf, name).dtype for name, leaf in self.base.items()}
        self.eps = max(EPS[real_bytes(dtype)] for dtype in (y.dtype, *self.dtypes.values()))
        self.bytes = min(real_bytes(host(x, "x").dtype) for x in (own, *self.originals.values()))
        self._judge_itself(y, again)

    def _judge_itself(self, y, again):
        """Can anything be said of a function with these values in two calls?"""
        finite, same = np.isfinite(y).all(), np.allclose(y, again, rtol=1e3 * self.eps, atol=0)
        if not finite:
            self.problems.append(f"{name_of(self.f)} is not finite here: {_few(y)}")
        elif not same:
            told = f"two calls with the same arguments give {_few(y)} and {_few(again)}"
            self.problems.append(f"{name_of(self.f)} is random: {told}; fix the seed inside it")
        self.usable = bool(finite and same)

    def reading(self, read):
        """The same function with one number read off its values."""
        other = object.__new__(Function)
        whole = self.read
        other.__dict__ = {**self.__dict__, "read": lambda y: read(np.ravel(whole(y))), "real": np.real}
        return other

    def call(self, leaves):
        """f with other leaves."""
        args, values = list(self.args), iter(leaves.values())
        for i, tree in zip(self.where, self.trees, strict=True):
            args[i] = rebuild(tree, values)
        return self.f(*(copied(args) if self.copies else args))

    def values(self, moved, steps):
        """What is read off at x + sum of t v, flat."""
        leaves = dict(self.base)
        for direction, t in zip(moved, steps, strict=True):
            for name, v in direction.items():
                leaves[name] = leaves[name] + t * v
        return np.ravel(self.read(self.call(leaves)))

    def line(self, *directions):
        """``at(t, ...)``: the real vector of values at x + t v; not finite where f does not exist."""
        moved = [self._device(v) for v in directions]

        def at(*steps):
            try:
                return self.real(self.values(moved, steps))
            except OUTSIDE:
                return np.full_like(self.real(np.ravel(self.read(self.output))), np.nan)

        return at

    def imaginary(self, direction, others=(), steps=()):
        """Complex step along a direction at x + t v of ``others``, Eq. (CHK.2); None where f lets no complex number through."""
        if self.complex or any(self.leaves[name].dtype.kind == "c" for name in direction):
            return None
        moved = [self._device(v) for v in (direction, *others)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                y = self.values(moved, (1j * TINY, *steps))
        except Exception:  # for whatever reason
            return None
        return y.imag.astype(float) / TINY if y.dtype.kind == "c" else None  # (CHK.2)

    def _device(self, direction):
        return {
            name: like_leaf(v.astype(self.dtypes[name]), self.base[name]) for name, v in direction.items()
        }

    def assembled(self, vector):
        """A real vector of values as the array that f returns."""
        if self.complex and self.real is _pairs:
            vector = vector[: len(vector) // 2] + 1j * vector[len(vector) // 2 :]
        return vector

    def cotangent(self, rng):
        """A random vector of the shape and kind of the values, and the same as f would return it."""
        y = host(self.output, "f(*args)")
        v = rng.standard_normal(y.shape) + (1j * rng.standard_normal(y.shape) if self.complex else 0)
        v = np.asarray(v).astype(y.dtype if y.dtype.kind in "fc" else float)
        return v.ravel(), like_leaf(v, self.output) if number_or_array(self.output) else v

    def as_arguments(self, direction):
        """A direction as a tree like the arguments, in their own precision; with the direction that it then is."""
        own = {name: direction[name].astype(host(x, name).dtype) for name, x in self.originals.items()}
        leaves = iter([like_leaf(own[name], x) for name, x in self.originals.items()])
        trees = tuple(rebuild(tree, leaves) for tree in self.trees)
        exact = {name: v.astype(self.dtypes[name]) for name, v in own.items()}
        return exact, trees if isinstance(self.wrt, tuple) else trees[0]


def number(value):
    """The one real number that a function to be differentiated must return; complex inside a complex step.

    Raises
    ------
    ValueError
    """
    y = host(value, "f(*args)")
    if y.shape != ():
        raise ValueError(
            f"f must return one number, got an array of shape {y.shape}: a loss per sample has to be summed, "
            "for example lambda *args: f(*args).sum()"
        )
    return y


def real_number(value):
    """The same at real arguments: its imaginary part, if it has one, must be zero."""
    y = number(value)
    if y.dtype.kind == "c" and y.imag:
        raise ValueError(
            f"f must return a real number, got {y.item():.6g}: take .real, or the square of its modulus"
        )
    return y.real


def gaussian(rng, x):
    """A direction of the shape of ``x``, complex where it is."""
    v = rng.standard_normal(x.shape)
    return np.asarray(v + 1j * rng.standard_normal(x.shape) if x.dtype.kind == "c" else v)


def power_of_two(x):
    """The nearest below x; 1 for zero and for what is not finite."""
    return 2.0 ** math.floor(math.log2(x)) if 0 < x < math.inf else 1.0


def real_bytes(dtype):
    """Bytes of a real number of this type; 8 where it is no floating-point number."""
    return np.finfo(dtype).dtype.itemsize if np.dtype(dtype).kind in "fc" else 8


def _scale(x):
    """The size of the entries, a power of two: by that much a leaf may change."""
    return power_of_two(float(np.sqrt((abs(x) ** 2).mean()))) if x.size else 1.0


def _pairs(y):
    """Complex values as real ones: all real parts, then all imaginary ones."""
    return np.concatenate([y.real, y.imag]) if y.dtype.kind == "c" else y


def _positions(wrt, count):
    """``wrt`` as a tuple of numbers of arguments."""
    where = wrt if isinstance(wrt, tuple) else (wrt,)
    if not where or any(isinstance(i, bool) or not isinstance(i, int) for i in where):
        raise TypeError(f"wrt must be the number of an argument or a tuple of such, got {wrt!r}")
    if any(not 0 <= i < count for i in where) or len({*where}) < len(where):
        raise ValueError(
            f"wrt must point to different ones of the {count} arguments, 0 to {count - 1}; got {wrt!r}"
        )
    return where


def _leaves(trees, names):
    """What the derivative is taken by: arrays and numbers by their paths; refuses data."""
    found = {k: v for name, tree in zip(names, trees, strict=True) for k, v in flatten(tree, name).items()}
    if not found:
        raise ValueError(
            f"there is nothing to differentiate by: {', '.join(names)} holds no array and no number"
        )
    for path, leaf in found.items():
        if not number_or_array(leaf):
            raise TypeError(
                f"{path} must be a NumPy or CuPy array or a number, got {type(leaf).__name__}: convert inside f, "
                "or let wrt point to another argument"
            )
        kind = host(leaf, path).dtype
        if kind.kind not in "fc":
            raise TypeError(
                f"{path} is {kind}: whole numbers are data, there is no derivative by them. Write 3.0 for 3, use "
                "astype(float), or let wrt point to another argument"
            )
        if not np.isfinite(host(leaf, path)).all():
            raise ValueError(f"{path} is not finite")
    return found


def _promoted(leaf):
    """In double precision; arrays are copied."""
    if isinstance(leaf, int | float | complex) and not isinstance(leaf, np.generic):
        return leaf
    array = leaf if hasattr(leaf, "astype") else np.asarray(leaf)
    return array.astype(complex if array.dtype.kind == "c" else float)


def _few(y):
    """Some numbers of a result."""
    flat = np.ravel(y)
    return ", ".join(f"{v:.6g}" for v in flat[:3]) + (", ..." if flat.size > 3 else "")


def _same(one, other):
    """Are two answers equal to rounding? Only those that are built alike are compared."""
    a, b = (flatten(getattr(x, "grads", x), "x") for x in (one, other))
    if a.keys() != b.keys():
        return False
    pairs = [(host(a[k], k), host(b[k], k)) for k in a]
    return all(
        p.shape == q.shape and np.allclose(p, q, rtol=1e-4, atol=1e-30, equal_nan=True) for p, q in pairs
    )
