"""What every claim uses: the register, the oracles, random problems, one measure of difference.

The one module that imports ``reference/`` (and with it HIPS autograd).
"""

from typing import NamedTuple

import numpy as np

from .. import check
from ..blocks import Dense, Embedding
from ..cells import GRU, LSTM, RNN
from ..diagonal import ELSTM, LRU, RTU
from ..network import Network
from ..recurrent import RecurrentNetwork

try:
    from reference import approximation_oracles as approximate
    from reference import autograd_oracles as ad
    from reference import block_oracles as block_ad
    from reference import closed_form as cf
    from reference import kalman, tpc_loops, tpc_problems
    from reference import local_credit as local_ad
    from reference import temporal_oracles as time_ad
    from reference import tpc_oracles as tpc_ad
    from reference.problems import astype, linear, make
    from reference.temporal_problems import make as sequence
    from reference.tpc_problems import spd
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
    "any_sequence",
    "approximate",
    "astype",
    "block_ad",
    "by_complex_step",
    "cf",
    "claim",
    "first_sample",
    "flat",
    "hessian",
    "in_time",
    "influence_matrix",
    "kalman",
    "linear",
    "local_ad",
    "make",
    "network",
    "off",
    "oracle",
    "paired",
    "plus",
    "recurrent",
    "rel",
    "sequence",
    "smooth",
    "spd",
    "stack",
    "stretch",
    "time_ad",
    "times",
    "tpc_ad",
    "tpc_loops",
    "tpc_problems",
]

BLOCKS = {"dense": Dense, "embedding": Embedding, "rnn": RNN, "gru": GRU, "lstm": LSTM}
BLOCKS |= {"elstm": ELSTM, "rtu": RTU, "lru": LRU}
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


def off(actual, expected):
    """As :func:`rel`, but an array counts as no smaller than a hundredth of the whole: a sum that cancels has fewer digits."""
    rel(actual, expected)  # raises if the structures differ
    dicts = isinstance(expected[0], dict)
    a, x = ([g[k] for g in tree for k in sorted(g)] if dicts else tree for tree in (actual, expected))
    errors = np.array([np.linalg.norm(u - v) for u, v in zip(a, x, strict=True)])
    sizes = np.array([np.linalg.norm(v) for v in x])
    with np.errstate(all="ignore"):
        worst = float(np.where(errors == 0, 0, errors / (sizes + 1e-2 * np.linalg.norm(sizes))).max())
    return worst if np.isfinite(worst) else float("inf")


def plus(a, b):
    """The sum of two gradients."""
    return [{k: g[k] + f[k] for k in g} for g, f in zip(a, b, strict=True)]


def recurrent(problem, engine=None):
    """The engine's network of a :class:`reference.temporal_problems.Sequence`; or that of a mutant."""
    blocks = [_block(*pair, engine) for pair in zip(problem.blocks, problem.params, strict=True)]
    net = engine.RecurrentNetwork if engine else RecurrentNetwork
    return net(blocks, problem.loss, () if problem.blocks[0]["kind"] == "embedding" else None)


def _block(block, p, engine=None):
    """The engine's block of a dict of the oracles; the widths are those of the parameters."""
    kind, learn = block["kind"], {"learn_h0": "h0" in p or "h0_re" in p}
    own = BLOCKS[kind]
    make = getattr(engine, own.__name__) if engine else own
    if kind == "dense":
        return make(*p["W"].shape[::-1], block["activation"], form=block["form"])
    if kind == "embedding":
        return make(*p["W"].shape)
    if kind in ("rnn", "gru", "lstm"):
        n, m = p["W"].shape[1], p["U"].shape[1]
        if kind == "rnn":
            return make(m, n, block["activation"], form=block["form"], alpha=block["alpha"], **learn)
        return make(m, n, **learn)
    if kind == "elstm":
        return make(*p["Wz"].shape[::-1], **learn)
    if kind == "rtu":
        return make(*p["W1"].shape[::-1], block["activation"], **learn)
    return make(*p["B_re"].shape[::-1], len(p["D"]), gamma=block["gamma"], **learn)


def in_time(problem, engine=None, **replaced):
    """Arguments of the engine's temporal rules, or of a mutant's, in order; an LRU's state is complex there."""
    p = problem._replace(**replaced)
    h0 = None if p.h0 is None else time_ad.native(p.blocks, p.h0)
    return recurrent(p, engine), p.params, p.inputs, p.targets, p.mask, h0, p.reset


def any_sequence(rng, chain=None, **options):
    """A problem in time with any loss, resets or none, initial states given or learned."""
    loss = str(rng.choice(["mse", "cross_entropy", "binary_cross_entropy"]))
    drawn = {"loss": loss, "reset": bool(rng.random() < 0.5), "learn_h0": bool(rng.random() < 0.5)}
    return sequence(rng, chain, **{**drawn, **options})


def stretch(problem, begin, end=None, **replaced):
    """Some steps of a problem in time."""
    p, cut = problem, slice(begin, end)
    some = lambda table: None if table is None else table[cut]  # noqa: E731
    parts = {"inputs": p.inputs[cut], "targets": p.targets[cut], "mask": some(p.mask), "reset": some(p.reset)}
    return p._replace(**{**parts, **replaced})


def paired(states):
    """States of the engine, or derivatives by them, as the oracles have them: complex ones in real pairs."""
    return [time_ad.pairs(h) if h.dtype.kind == "c" else h for h in states]


def influence_matrix(net, params, influence, B, N):
    """M (B, N, P) of one cell, entry by entry, as the influence gives it to credit; [Re; Im] of a complex state."""
    (l,), rows = net.cells, []
    cell = net.blocks[l]
    for b, k in np.ndindex(B, N):
        credit = [None] * len(net.blocks)
        credit[l] = np.zeros((B, cell.state_size), complex if cell.complex_state else float)
        credit[l][b, k % cell.state_size] = 1.0 if k < cell.state_size else -1j  # Re(q M)
        grads = influence.gradients(params, influence.readout(credit))[l]
        rows.append(np.concatenate([grads[name].ravel() for name in cell.shapes if name in grads]))
    return np.array(rows).reshape(B, N, -1)


def by_complex_step(problem):
    """Structure of params: derivative of the reference's loss by complex step (CHK.2), the LRU in real pairs."""
    p = problem

    def derivative(l, name):
        def total(value):
            moved = [*p.params[:l], {**p.params[l], name: value}, *p.params[l + 1 :]]
            return time_ad.loss(p.blocks, moved, *p.arguments[2:]).sum()

        return check.complex_step(total, p.params[l][name])

    return [{name: derivative(l, name) for name in q} for l, q in enumerate(p.params)]


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
