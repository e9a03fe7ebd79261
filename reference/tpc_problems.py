"""Random problems of temporal predictive coding: those of ``temporal_problems`` with precisions and a beta."""

from typing import NamedTuple

import numpy as np

from .temporal_oracles import state_width
from .temporal_problems import Sequence, make
from .tpc_oracles import last_cell, widths


class Inference(NamedTuple):
    """A problem in time, and what its energy is made of; precisions as in ``tpc_oracles``."""

    problem: Sequence
    precision: list
    beta: float

    @property
    def arguments(self):
        """In the order of the functions of ``tpc_oracles``."""
        return self.problem.arguments

    @property
    def options(self):
        """Keyword arguments of the functions of ``tpc_oracles``."""
        return {"precision": self.precision, "beta": self.beta}

    @property
    def native(self):
        """The precisions as the engine has them: the state of an LRU is Re, Im, Re, Im, ... there."""
        if self.precision is None:
            return None
        Pi, p = self.precision[0], self.problem
        if p.blocks[last_cell(p.blocks)]["kind"] != "lru" or np.ndim(Pi) == 0:
            return self.precision
        order = np.arange(len(Pi)).reshape(2, -1).T.ravel()
        return [Pi[order] if np.ndim(Pi) == 1 else Pi[np.ix_(order, order)], *self.precision[1:]]


def spd(rng, n, low=0.5, high=2.0):
    """A symmetric positive definite matrix (n, n) with eigenvalues between ``low`` and ``high``."""
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return (Q * rng.uniform(low, high, n)) @ Q.T


def precision_of(rng, n, kind="any"):
    """None, a number, a diagonal (n,) or an SPD matrix (n, n)."""
    kind = str(rng.choice(["none", "number", "diagonal", "spd"])) if kind == "any" else kind
    if kind == "none":
        return None
    if kind == "number":
        return float(rng.uniform(0.5, 2.0))
    return rng.uniform(0.5, 2.0, n) if kind == "diagonal" else spd(rng, n)


def precisions(rng, p, state="any", hidden="any"):
    """Of the state, and of the output of every block above it; the last one weighs a squared error."""
    sizes = widths(p.blocks, p.params, states(p), np.zeros((1, inputs_of_cell(p))))
    found = [precision_of(rng, sizes[0], state), *(precision_of(rng, n, hidden) for n in sizes[1:])]
    return [*found, precision_of(rng, p.targets.shape[2], hidden) if p.loss == "mse" else None]


def draw(rng, kinds=None, *, state="any", hidden="any", beta="any", **options):
    """A problem in time with the kinds of precision ``state`` and ``hidden``."""
    p = make(rng, kinds, **options)
    beta = float(rng.choice([1.0, 0.3, 0.1])) if beta == "any" else float(beta)
    return Inference(p, precisions(rng, p, state, hidden), beta)


def states(p):
    """N of the last cell."""
    c = last_cell(p.blocks)
    return state_width(p.blocks[c], p.params[c])


def inputs_of_cell(p):
    """Width of the input of the last cell."""
    q = p.params[last_cell(p.blocks)]
    return next(q[name] for name in ("U", "Wz", "B_re", "W1") if name in q).shape[1]
