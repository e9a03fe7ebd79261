"""The register of exercises, and the random problems that they are tried on.

An exercise is one function of an engine and a problem. The engine is ``minipc``, whose answer is the right one,
or a copy with a mistake from ``minipc.mistakes`` in it: what a student returns is compared with both.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

EXERCISES = {}


class Exercise(NamedTuple):
    """One function to be written, :data:`EXERCISES` has one for each equation id.

    Attributes
    ----------
    equation : str           its id in reference/equations.md
    name : str               of the function that the student writes
    arguments : tuple        names of what it is given, in order
    statement : str          what it returns, with shapes
    answer : callable        ``answer(engine, *given)``: what that engine says
    problem : callable       ``problem(draw)``: a dict of what is given, by name
    slips : tuple            names of mistakes in what is around the engine's lines, a sum over time, say:
                             ``answer(engine, *given, slip=name)``
    """

    equation: str
    name: str
    arguments: tuple
    statement: str
    answer: Callable
    problem: Callable
    slips: tuple = ()

    def __str__(self):
        return f"({self.equation})  {self.name}({', '.join(self.arguments)})\n\n{self.statement}"


def exercise(*equations, problem, slips=()):
    """Register ``answer(engine, ...)`` as the exercise of these equations; its docstring is the statement.

    With ``slips`` the answer takes a keyword ``slip``, None or one of these names.
    """

    def register(answer):
        parameters = inspect.signature(answer).parameters.values()
        arguments = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)[1:]
        for equation in equations:
            if equation in EXERCISES:
                raise ValueError(f"{equation} has an exercise already: {EXERCISES[equation].name}")
            statement = inspect.cleandoc(answer.__doc__)
            said = (equation, answer.__name__, arguments, statement)
            EXERCISES[equation] = Exercise(*said, answer, problem, tuple(slips))
        return answer

    return register


class Draw:
    """Sizes and numbers of one random problem: nothing zero, nothing uniform, nothing square.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int, optional     0, 1, 2, ...: a small problem with short numbers, larger with each; None: a good one
    square : bool            all widths are the same, so that a transposed matrix fits
    setting : int            an exercise that has several settings (post and pre form, say) alternates by it

    Attributes
    ----------
    B, T, L : int            batch, time steps, blocks; at least 2, 4 and 3 in a good problem
    sizes : dict             those of B, T, L that the problem has asked for
    """

    SMALL = ((1, 1, 1), (1, 2, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 3, 2), (2, 4, 3))  # B, T, width

    def __init__(self, rng, size=None, square=False, setting=0):
        self.rng, self.square, self.setting, self.short = rng, square, setting, size is not None
        if self.short:
            B, T, self.width = self.SMALL[size]
            L = 2 if self.width == 1 else 3
        else:  # of three settings in a row no two have the same B or T: 1/B is no constant
            B, T, L = 2 + setting % 3, 4 + (setting + 1) % 3, 3 + setting % 2
        self._all, self.sizes = {"B": B, "T": T, "L": L}, {}

    def _size(self, name):
        self.sizes[name] = self._all[name]  # a problem has the sizes that were asked for
        return self._all[name]

    B, T, L = (property(lambda self, name=name: self._size(name)) for name in "BTL")

    def widths(self, count) -> list:
        """Numbers of units, distinct and at least 2 in a good problem."""
        if self.square:
            return [3] * count
        if self.short:
            return [self.width + i * (self.width > 1) for i in range(count)]
        return [int(n) for n in self.rng.permutation(np.arange(2, 3 + count))[:count]]

    def normal(self, *shape, scale=1.0):
        """Normal numbers; short ones in a small problem."""
        return self.rounded(scale * self.rng.standard_normal(shape), scale)

    def uniform(self, low, high, *shape):
        """Numbers between two ends."""
        return self.rounded(self.rng.uniform(low, high, shape))

    def rounded(self, x, scale=1.0):
        """One digit after the point in a small problem, and none of them zero."""
        if not self.short:
            return x
        step = 0.1 * scale
        return np.round(np.where(abs(x) < step, step, x), 2 if scale < 1 else 1)

    def positive_definite(self, n):
        """A symmetric positive definite matrix that is not diagonal."""
        A = self.normal(n, n) / n**0.5
        return self.rounded(A @ A.T + np.eye(n))

    def chance(self, share, *shape):
        """True in about this share of the places; at least one is True and, if there are two, one is not."""
        flags = self.rng.random(shape) < share
        flags.flat[0] = True
        if flags.size > 1:
            flags.flat[-1] = False
        return flags

    def params(self, net, scale=0.8):
        """Parameters of a network: no bias is zero, the weights are not small."""
        params = []
        for block in net.blocks:
            q = {}
            for name, shape in block.shapes.items():
                fan = np.prod(shape[1:]) if len(shape) > 1 else 1
                q[name] = self.rounded(self.normal(*shape) * scale / max(fan, 1) ** 0.5)
            params.append(q)
        return params


def twin(engine, thing):
    """The same network, in another engine; anything else comes back as it is."""
    kind = type(thing).__name__
    if kind in ("Network", "RecurrentNetwork", "Dag") and hasattr(thing, "config"):
        return getattr(engine, kind).from_config(thing.config())
    return thing
