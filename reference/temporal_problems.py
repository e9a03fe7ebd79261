"""Random sequences that can show a bug: nothing zero, nothing uniform, nothing symmetric, nothing square.

A problem is plain data, so that engine and oracles can be handed the same one. Widths are distinct and at
least 2, there are at least 2 lanes and 4 steps, initial states and biases are not zero, recurrent weights are
not symmetric and have a spectral radius of 0.5, 1 or 1.5, the modes of diagonal cells decay by 0.5 to 0.95 a
step and turn at angles that are spread. Every lane has targets at several steps, the last one among them, and
a step without.
"""

from typing import NamedTuple

import numpy as np

from .problems import astype

RECURRENT = ("rnn", "gru", "lstm", "elstm", "lru", "rtu")
RADII = (0.5, 1.0, 1.5)
ALPHAS = (1.0, 0.4)


class Sequence(NamedTuple):
    """One recurrent network with data; the entries are those of ``reference.temporal_oracles``."""

    blocks: list  # of dicts, "kind" and its options
    loss: str
    params: list  # of dicts of arrays, one a block
    inputs: np.ndarray  # (T, B, m), or (T, B) integers where an embedding comes first
    targets: np.ndarray  # (T, B, o), or (T, B) labels
    mask: np.ndarray | None  # (T, B) bool, the steps that count
    h0: list | None  # one entry a cell, (B, N) real
    reset: np.ndarray | None  # (T, B) bool

    @property
    def arguments(self):
        """In the order of the functions of ``reference.temporal_oracles``."""
        return (
            self.blocks,
            self.params,
            self.inputs,
            self.targets,
            self.loss,
            self.mask,
            self.h0,
            self.reset,
        )


def recurrent_weights(rng, n, gates, radius):
    """W (gates n, n); each gate's square has the spectral radius ``radius``, one of ``RADII`` if "any"."""
    found = []
    for _ in range(gates):
        W = rng.standard_normal((n, n))
        goal = float(rng.choice(RADII)) if radius == "any" else radius
        found.append(W * (goal / np.abs(np.linalg.eigvals(W)).max()))
    return np.concatenate(found)


def modes(rng, n):
    """nu, th (n,): |zeta| between 0.5 and 0.95, angles spread from 0.1 to 3 in a random order."""
    nu = np.log(-np.log(rng.uniform(0.5, 0.95, n)))
    angle = 0.1 + 2.9 * (rng.permutation(n) + rng.uniform(0.1, 0.9, n)) / n
    return {"nu": nu, "th": np.log(angle)}


def away(rng, *shape):
    """Numbers of either sign, 0.3 to 1.3 away from zero."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.3, 1.3, shape)


def block_params(rng, block, m, n, o, radius="any", learn_h0=False):
    """Parameters of one block with m inputs; n units, and o outputs where they are not the units."""

    def weights(rows, columns):
        return rng.standard_normal((rows, columns)) / columns**0.5

    kind, N = block["kind"], n
    if kind == "dense":
        return {"W": weights(n, m), "b": away(rng, n)}
    if kind == "embedding":
        return {"W": rng.standard_normal((m, n))}
    if kind in ("rnn", "gru", "lstm"):
        gates = {"rnn": 1, "gru": 3, "lstm": 4}[kind]
        N = 2 * n if kind == "lstm" else n
        W = recurrent_weights(rng, n, gates, radius)
        found = {"W": W, "U": weights(gates * n, m), "b": away(rng, gates * n)}
    elif kind == "elstm":
        found = {f"W{gate}": weights(n, m) for gate in "zf"}
        found |= {f"{name}{gate}": away(rng, n) for name in "wb" for gate in "zf"}
    elif kind == "rtu":
        N = 2 * n
        found = {**modes(rng, n), "W1": weights(n, m), "W2": weights(n, m)}
    elif kind == "lru":
        found = modes(rng, n)
        if block["gamma"] == "free":
            found["lg"] = away(rng, n)
        found |= {"B_re": weights(n, m), "B_im": weights(n, m)}
        found |= {"C_re": weights(o, n), "C_im": weights(o, n), "D": weights(o, m)}
        return {**found, "h0_re": away(rng, n), "h0_im": away(rng, n)} if learn_h0 else found
    else:
        raise ValueError(f"unknown kind of block: {kind!r}")
    return {**found, "h0": away(rng, N)} if learn_h0 else found


def chain_of(rng, cells):
    """Kinds of blocks: one or two cells, with dense blocks before, between and after them by chance."""
    if cells == "any":
        cells = [str(rng.choice(RECURRENT)) for _ in range(int(rng.integers(1, 3)))]
    kinds = []
    for cell in cells:
        kinds += [*(["dense"] if rng.random() < 0.4 else []), cell]
    return [*kinds, "dense"] if rng.random() < 0.6 else kinds


def options_of(rng, kind, activation, form, alpha, gamma):
    """The dict of one block; what is "any" is drawn."""
    tanh_like = ("tanh", "sigmoid", "gelu", "softplus")
    form = str(rng.choice(["post", "pre"])) if form == "any" else form
    if kind in ("dense", "rnn"):
        name = str(rng.choice(tanh_like)) if activation == "any" else activation
        found = {"kind": kind, "activation": name, "form": form}
        return (
            {**found, "alpha": float(rng.choice(ALPHAS)) if alpha == "any" else alpha}
            if kind == "rnn"
            else found
        )
    if kind == "lru":
        return {"kind": kind, "gamma": str(rng.choice(["free", "tied"])) if gamma == "any" else gamma}
    if kind == "rtu":
        name = str(rng.choice(["identity", "tanh"])) if activation == "any" else activation
        return {"kind": kind, "activation": name}
    return {"kind": kind}


def output_width(block, n, o):
    """The number of outputs of a block with n units."""
    return {"lru": o, "rtu": 2 * n}.get(block["kind"], n)


def counted(rng, T, B):
    """mask (T, B): every lane counts at its last step and at another one, and has a step that does not count."""
    mask = rng.random((T, B)) < 0.6
    for b in range(B):
        yes, no = rng.permutation(T - 1)[:2]
        mask[yes, b], mask[no, b], mask[-1, b] = True, False, True
    return mask


def returns(rng, T, B):
    """reset (T, B): some steps of some lanes, at least one after the first step; one lane has none."""
    reset = rng.random((T, B)) < 0.3
    never, always = rng.permutation(B)[:2]
    reset[:, never] = False
    reset[int(rng.integers(1, T)), always] = True
    return reset


def initial(rng, block, p, B):
    """An initial state (B, N), away from zero."""
    n = len(p[{"elstm": "bz", "lru": "nu", "rtu": "nu"}.get(block["kind"], "b")])
    units = {"gru": n // 3, "lstm": n // 2, "lru": 2 * n, "rtu": 2 * n}.get(block["kind"], n)
    return away(rng, B, units)


def make(
    rng,
    chain=None,
    *,
    cells="any",
    T=None,
    B=None,
    activation="any",
    form="any",
    alpha="any",
    gamma="any",
    radius="any",
    loss="any",
    labels="any",
    mask=True,
    reset=False,
    learn_h0=False,
    widths=None,
    dtype=float,
):
    """Draw a problem from the generator ``rng``; every argument that is not "any" or None is kept as given.

    ``chain`` names the kinds of all blocks, ``cells`` those of the cells alone. ``mask`` and ``reset`` say
    whether there is one. With ``learn_h0`` the initial states are parameters and ``h0`` is None. ``widths`` are
    those of the inputs and of all blocks in order (of an LRU also that of its output), where they are not drawn.
    """
    kinds = chain_of(rng, cells) if chain is None else list(chain)
    T, B = T or int(rng.integers(4, 8)), B or int(rng.integers(2, 4))
    blocks = [options_of(rng, kind, activation, form, alpha, gamma) for kind in kinds]
    if kinds[-1] == "dense" and activation == "any":
        blocks[-1]["activation"] = "identity"
    drawn = rng.permutation(np.arange(2, 4 + 2 * len(blocks))).tolist()
    widths = iter(drawn if widths is None else widths)
    m = first = next(widths)
    params = []
    for block in blocks:
        n = next(widths)
        o = next(widths) if block["kind"] == "lru" else None
        params.append(block_params(rng, block, m, n, o, radius, learn_h0))
        m = output_width(block, n, o)
    if kinds[0] == "embedding":
        inputs = rng.integers(0, first, (T, B))
    else:
        inputs = rng.standard_normal((T, B, first))
    loss = str(rng.choice(["mse", "cross_entropy"])) if loss == "any" else loss
    targets = rng.standard_normal((T, B, m))
    if loss == "cross_entropy":
        targets = np.exp(targets) / np.exp(targets).sum(axis=2, keepdims=True)
        if bool(rng.random() < 0.5) if labels == "any" else labels:
            targets = rng.integers(0, m, (T, B))
    if loss == "binary_cross_entropy":
        targets = 1 / (1 + np.exp(-targets))
    h0 = [
        initial(rng, block, p, B)
        for block, p in zip(blocks, params, strict=True)
        if block["kind"] in RECURRENT
    ]
    problem = Sequence(
        blocks,
        loss,
        params,
        inputs,
        targets,
        counted(rng, T, B) if mask else None,
        None if learn_h0 else h0,
        returns(rng, T, B) if reset else None,
    )
    return problem if dtype is float else numbers(problem, dtype)


def numbers(problem, dtype):
    """The same problem with its real numbers in ``dtype``; labels, masks and resets as they are."""
    moved = {
        name: astype(value, dtype)
        for name, value in (("params", problem.params), ("h0", problem.h0))
        if value is not None
    }
    for name in ("inputs", "targets"):
        value = getattr(problem, name)
        if value.dtype.kind == "f":
            moved[name] = value.astype(dtype)
    return problem._replace(**moved)
