"""What every claim uses: the register, the oracles, random problems, one measure of difference.

The one module that imports ``reference/`` (and with it HIPS autograd).
"""

from typing import NamedTuple

import numpy as np

from .. import check
from ..blocks import Dense
from ..network import Network

try:
    from reference import autograd_oracles as ad
    from reference import block_oracles as block_ad
    from reference import closed_form as cf
    from reference.problems import astype, linear, make
except ImportError as error:
    raise ImportError(
        "verify compares with the oracles in reference/, which need HIPS autograd: "
        'pip install "minipc[tour]", or pip install autograd in a checkout'
    ) from error

__all__ = [
    "CLAIMS",
    "Claim",
    "ad",
    "any_loss",
    "astype",
    "block_ad",
    "cf",
    "claim",
    "first_sample",
    "flat",
    "hessian",
    "linear",
    "make",
    "network",
    "oracle",
    "rel",
    "smooth",
    "stack",
    "times",
]

SMOOTH = ("tanh", "sigmoid", "gelu", "softplus")


class Claim(NamedTuple):
    """A row of the table before it has run; ``trial(rng) -> (error, control)``."""

    id: str
    equations: str
    claim: str
    oracle: str
    tolerance: float
    trials: int
    trial: object


CLAIMS = {}


def claim(id, equations, text, oracle, tolerance, trials=20):
    """Register the decorated trial as a claim."""

    def register(trial):
        CLAIMS[id] = Claim(id, equations, text, oracle, tolerance, trials, trial)
        return trial

    return register


def network(problem, engine=None):
    """The engine's network of a :class:`reference.problems.Problem`."""
    block, net, n = (
        (engine.Dense, engine.Network, problem.sizes) if engine else (Dense, Network, problem.sizes)
    )
    kinds = zip(n, n[1:], problem.layers, strict=False)
    return net([block(n_in, n_out, kind, form=form) for n_in, n_out, (kind, form) in kinds], problem.loss)


def rel(actual, expected):
    """Largest relative error over the arrays of two equal structures."""
    return check.compare(actual, expected).worst


def oracle(function, p, *data, precision=True):
    """Call an oracle on a problem: its layers, parameters, the data, loss and precisions."""
    return function(p.layers, p.params, *data, p.loss, *([p.precision] if precision else []))


def any_loss(rng, **options):
    """A problem with one of all losses; ``make`` by itself draws from the first two."""
    return make(rng, loss=str(rng.choice(["mse", "cross_entropy", "binary_cross_entropy"])), **options)


def smooth(rng, **options):
    """A problem with an activation that has second derivatives, so that remainders have the expected order."""
    return make(rng, activation=str(rng.choice(SMOOTH)), **options)


def stack(free, b=0):
    """Layers 1..L-1 of sample ``b`` in one vector."""
    return np.concatenate([v[b] for v in free[1:]])


def first_sample(p):
    """The same problem with its first sample alone."""
    return p._replace(x=p.x[:1], y=p.y[:1], s=[v[:1] for v in p.s], e=[None, *(v[:1] for v in p.e[1:])])


def flat(tree):
    """All arrays of a gradient in one vector: for what compares parameters of very different sizes."""
    return np.concatenate([value.ravel() for p in tree for value in p.values()])


def times(factor, grads):
    """A gradient multiplied by a number."""
    return [{k: factor * v for k, v in g.items()} for g in grads]


def hessian(gradient, free):
    """Second derivatives (n, n) of one sample by complex step through the hand-derived ``gradient``.

    ``free`` are the layers 1..L-1 (1, n_l) with an entry in front that stays. ``gradient(free)`` has to return
    the structure of ``free``; it is called once, on n copies of the sample, each moved in one direction.
    """
    widths, h = [v.shape[1] for v in free[1:]], 1e-200
    n = sum(widths)
    steps = np.split(1j * h * np.eye(n), np.cumsum(widths)[:-1], axis=1)
    moved = [np.repeat(v, n, axis=0) + step for v, step in zip(free[1:], steps, strict=True)]
    return np.concatenate([g.imag for g in gradient([free[0], *moved])[1:]], axis=1) / h  # (CHK.2)
