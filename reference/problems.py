"""Random problems that can show a bug: nothing zero, nothing uniform, nothing square, nothing linear.

A problem is plain data, so that engine and oracles can be handed the same one. Widths are distinct and at
least 2, the batch has at least 2 samples, states are not those of a forward pass, biases and errors are not
zero, precisions are symmetric positive definite matrices.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

NONLINEAR = ("tanh", "sigmoid", "relu", "leaky_relu", "gelu", "softplus")
PRECISIONS = ("unit", "scalar", "diagonal", "full")


class Problem(NamedTuple):
    """One network with data; ``layers`` is a list of (activation, form), one a block."""

    layers: list
    loss: str
    params: list  # of dicts W (n_l, n_{l-1}), b (n_l,)
    x: np.ndarray  # (B, n_0)
    y: (
        np.ndarray
    )  # (B, n_L), for cross_entropy rows that sum to one, for binary_cross_entropy between 0 and 1
    s: list  # x, s_1, ..., s_{L-1}: random, not feedforward
    e: list  # None, e_1, ..., e_{L-1}
    precision: list  # Pi_1 .. Pi_L, or None

    @property
    def sizes(self):
        """Widths n_0, ..., n_L."""
        return [self.x.shape[1], *(len(p["b"]) for p in self.params)]


def make(
    rng,
    *,
    sizes=None,
    depth=(3, 5),
    B=None,
    activation="any",
    output="any",
    form="any",
    loss="any",
    precision="any",
    gain=1.0,
    dtype=float,
):
    """Draw a problem from the generator ``rng``; every argument that is not "any" or None is kept as given.

    ``activation`` is that of the hidden blocks, ``output`` that of the last one. ``depth`` is the range of
    the number of blocks, both ends included. ``precision`` None gives no precisions at all.
    """
    if sizes is None:
        L = int(rng.integers(depth[0], depth[1] + 1))
        sizes = [int(n) for n in rng.permutation(np.arange(2, max(8, L + 4)))[: L + 1]]
    L, B = len(sizes) - 1, B or int(rng.integers(2, 5))
    form = str(rng.choice(["post", "pre"])) if form == "any" else form
    loss = str(rng.choice(["mse", "cross_entropy"])) if loss == "any" else loss
    kinds = [str(rng.choice(NONLINEAR)) if activation == "any" else activation for _ in range(L)]
    kinds[-1] = str(rng.choice(["identity", "tanh", "gelu"])) if output == "any" else output
    layers = [(kind, form) for kind in kinds]
    params = []
    for (n_in, n_out), kind in zip(pairwise(sizes), kinds, strict=True):
        b = rng.standard_normal(n_out)
        if "relu" in kind:
            b = abs(b) + 0.5  # so that no layer is dead
        params.append({"W": gain * rng.standard_normal((n_out, n_in)) / n_in**0.5, "b": b})
    x, y = rng.standard_normal((B, sizes[0])), rng.standard_normal((B, sizes[-1]))
    if loss == "cross_entropy":
        y = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    if loss == "binary_cross_entropy":
        y = 1 / (1 + np.exp(-y))
    s = [x, *(0.5 + rng.standard_normal((B, n)) for n in sizes[1:-1])]
    e = [None, *(rng.standard_normal((B, n)) for n in sizes[1:-1])]
    Pi = None if precision is None else [_precision(rng, n, precision) for n in sizes[1:]]
    if Pi and loss != "mse":
        Pi[-1] = None
    problem = Problem(layers, loss, params, x, y, s, e, Pi)
    return problem if dtype is float else astype(problem, dtype)


def _precision(rng, n, kind):
    kind = str(rng.choice(PRECISIONS)) if kind == "any" else kind
    if kind == "unit":
        return None
    if kind == "scalar":
        return float(rng.uniform(0.5, 2.0))
    if kind == "diagonal":
        return rng.uniform(0.5, 2.0, n)
    A = rng.standard_normal((n, n)) / n**0.5
    return A @ A.T + 0.5 * np.eye(n)


def linear(rng, **options):
    """A linear network with squared error: the case with closed forms."""
    return make(rng, activation="identity", output="identity", form="post", loss="mse", **options)


def astype(tree, dtype):
    """The same nested structure with every array in ``dtype``."""
    if isinstance(tree, np.ndarray):
        return tree.astype(dtype)
    if isinstance(tree, dict):
        return {key: astype(value, dtype) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        moved = [astype(value, dtype) for value in tree]
        return type(tree)(*moved) if hasattr(tree, "_fields") else type(tree)(moved)
    return tree
