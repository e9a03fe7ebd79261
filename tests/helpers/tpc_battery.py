"""The checks of tPC, tPC-RTRL and filtering, for the battery: what an engine says beside a loop with autograd.

As in ``temporal_battery.py``, but a problem is a :class:`Case`: a sequence and the options of the rule.
"""

import warnings
from functools import cache
from typing import NamedTuple

import numpy as np

from reference import temporal_oracles as ad
from reference import tpc_loops as loops
from reference.temporal_problems import RECURRENT, Sequence, make

from .checks import worst_error
from .temporal_battery import flat, kept, network, shortened, states

CHECKS = {}


class Case(NamedTuple):
    """A sequence and the options of ``tpc.gradient``; for the filter a noise covariance R comes with them."""

    sequence: Sequence
    options: dict


def check(*equations):
    """Register the decorated function as the check of these equations."""

    def register(function):
        CHECKS.update(dict.fromkeys(equations, function))
        return function

    return register


def call(engine, verb, p, options):
    """A verb of the engine's ``tpc`` on a sequence."""
    rule = getattr(engine.tpc, verb)
    return rule(network(engine, p), p.params, p.inputs, p.targets, p.mask, states(p), p.reset, **options)


def expected(case):
    """What the loop says, once for a case."""
    return kept("tpc", case, lambda: loops.gradient(case.sequence, **as_oracle(case)))


def as_oracle(case):
    """The options with the precision of an LRU's state for [Re; Im], where the engine has Re, Im, Re, Im, ..."""
    Pi, cells = case.options["precision"], [b["kind"] for b in case.sequence.blocks if b["kind"] in RECURRENT]
    if cells[-1] != "lru" or Pi is None:
        return case.options
    turned = np.arange(Pi[0].shape[-1]).reshape(-1, 2).T.ravel()
    first = Pi[0][turned] if Pi[0].ndim == 1 else Pi[0][np.ix_(turned, turned)]
    return {**case.options, "precision": [first, *Pi[1:]]}


def pairs(v):
    """States as the loop has them."""
    return ad.pairs(v) if v.dtype.kind == "c" else v


# ---------------------------------------------------------------------- the checks


@check("tPC.2", "tPC.4", "tPC.5", "tPC.11", "TPR.4")
def inference(engine, case):
    """The inferred states, their energy, the loss of the predictions and the state at the end."""
    g, x = call(engine, "gradient", case.sequence, case.options), expected(case)
    final = (x.states if case.options["carry"] == "state" else x.predictions)[-1]
    actual, wanted = [pairs(g.states), g.loss, pairs(g.final[-1])], [x.states, x.loss, final]
    if case.options["inference"] == "fixed":  # its energy is another one, with predictions that do not move
        return actual, wanted
    return [*actual, g.energy], [*wanted, x.energy]


@check("tPC.7", "TPR.2", "TPR.3", "TPR.5", "TPR.6", "TPR.7", "TPR.8", "TPR.9")
def gradients(engine, case):
    """The gradient of every parameter."""
    return flat(case.sequence, call(engine, "gradient", case.sequence, case.options).grads), flat(
        case.sequence, expected(case).grads
    )


@check("tPC.8")
def masks(engine, case):
    """Both: nothing observed, nothing moved, nothing learned, nothing damped."""
    actual, wanted = zip(inference(engine, case), gradients(engine, case), strict=True)
    return list(actual), list(wanted)


@check("TPR.10")
def fixed_predictions(engine, case):
    """BPTT's gradient, by autograd of the loss; and the inferred states."""
    p, g = case.sequence, call(engine, "gradient", case.sequence, case.options)
    wanted = kept("loss_gradient", p, lambda: flat(p, ad.loss_gradient(*p.arguments)))
    return [flat(p, g.grads), pairs(g.states)], [wanted, expected(case).states]


def both_influences(case):
    """The loop with "plain" and its bounds, and with "implicit"."""
    return [
        loops.gradient(case.sequence, **{**as_oracle(case), "influence": influence}, certified=True)
        for influence in ("plain", "implicit")
    ]


@check("TPR.13")
def bounds(engine, case):
    """The certificate: as its recursion says, and above what it bounds."""
    options = {k: v for k, v in case.options.items() if k not in ("influence", "carry")}
    found = call(engine, "certificate", case.sequence, options)
    x, exact = kept("both", case, lambda: both_influences(case))
    off = [x.influence - exact.influence, x.steps - exact.steps]
    true = [np.linalg.norm(v.reshape(*v.shape[:2], -1), axis=2) for v in off]
    below = [np.maximum(t - bound, 0) for t, bound in zip(true, found[:2], strict=True)]
    return [found.delta, found.gradient, found.total, 1 + below[0], 1 + below[1]], [
        x.bounds[..., 0],
        x.bounds[..., 1],
        x.bounds[..., 1].sum(axis=0),
        np.ones_like(below[0]),
        np.ones_like(below[1]),
    ]


@check("KAL.1", "KAL.4")
def filtering(engine, case):
    """Means and covariances of the textbook filter, and what is read out of them."""
    p, (Pi, precision) = case.sequence, case.options["precision"]
    propagate = case.options["propagate"]
    f = call(engine, "infer", p._replace(mask=None), case.options)
    (cell, top), o = p.params, p.targets.shape[2]
    A, C, driven = cell["W"], top["W"], p.inputs @ cell["U"].T + cell["b"]
    R = np.eye(o) / precision if np.ndim(precision) < 2 else np.linalg.inv(precision)
    observed = case.options.get("observed", np.ones_like(p.targets, bool))
    rows = [
        loops.kalman_filter(
            A,
            C,
            np.linalg.inv(Pi),
            R,
            driven[:, b],
            p.targets[:, b] - top["b"],
            observed[:, b],
            p.h0[0][b],
            np.zeros_like(A),
            again=None if p.reset is None else p.reset[:, b],
            pinned=not propagate,
        )
        for b in range(p.inputs.shape[1])
    ]
    means, covariances = (np.stack(v, axis=1) for v in zip(*rows, strict=True))
    actual, wanted = [f.states, f.outputs], [means, means @ C.T + top["b"]]
    return (actual, wanted) if not propagate else ([*actual, f.covariance], [*wanted, covariances])


# ---------------------------------------------------------------------- the problems


def spd(rng, n):
    """A precision matrix that is far from diagonal, with eigenvalues above 1/2."""
    A = rng.standard_normal((n, n))
    return A @ A.T / n + 0.5 * np.eye(n)


def precision_of(rng, p, kind):
    """Pi of the state, then of every block above the last cell; None for the output."""
    last = max(l for l, block in enumerate(p.blocks) if block["kind"] in RECURRENT)
    widths = [ad.state_width(p.blocks[last], p.params[last]), *(len(q["b"]) for q in p.params[last + 1 : -1])]
    if p.blocks[last]["kind"] == "lru" and len(p.blocks) > last + 1:
        widths.insert(1, len(p.params[last]["D"]))
    one = spd if kind == "full" else lambda rng, n: rng.uniform(0.5, 2.0, n)
    return [*(one(rng, n) for n in widths), None]


def case(seed, chain, kind="full", **options):
    """A case; options of ``make`` and of the rule together."""
    rng = np.random.default_rng(seed)
    rule = {"influence": None, "carry": "state", "inference": "spc", "beta": 0.7}
    rule |= {"inference_steps": 4, "step_size": 0.2, "start": "prediction"}
    drawn = {"activation": "tanh", "loss": "mse", "radius": 1.0, "reset": True, "T": 4, "B": 2}
    for name, value in options.items():
        (rule if name in rule else drawn)[name] = value
    p = make(rng, chain, **drawn)
    return Case(p, {**rule, "precision": precision_of(rng, p, kind)})


SQUARE = {"widths": [4, 4, 4]}  # a wrong product is no shape error


def filter_case(seed, propagate, channels):
    """A linear cell and a linear readout, with noise; ``channels``: observed one by one."""
    rng = np.random.default_rng(seed)
    p = make(
        rng,
        ["rnn", "dense"],
        activation="identity",
        form="post",
        alpha=1.0,
        radius=1.0,
        loss="mse",
        T=5,
        B=3,
        reset=True,
    )
    n, o = p.h0[0].shape[1], p.targets.shape[2]
    last = rng.uniform(0.5, 2.0, o) if channels else spd(rng, o)
    options = {
        "precision": [spd(rng, n), last],
        "propagate": propagate,
        "inference": "newton",
        "inference_steps": 1,
    }
    if channels:
        options["observed"] = rng.random((5, 3, o)) < 0.7
    return Case(p, options)


def linear_readout(c, Pi):
    """The same case with a linear readout and one number as precision of the state."""
    blocks = [*c.sequence.blocks[:-1], {**c.sequence.blocks[-1], "activation": "identity"}]
    return Case(c.sequence._replace(blocks=blocks), {**c.options, "precision": Pi})


POST, PRE = {"form": "post", "alpha": 0.4}, {"form": "pre", "alpha": 0.4}
FIXED = {"influence": "plain", "inference": "fixed", "carry": "prediction"}
DEEP = ["rnn", "dense", "dense"]
RECIPES = {
    "tPC": lambda: [
        case(0, ["rnn", "dense"], **POST),
        case(1, DEEP, **PRE),
    ],
    "tPC.4": lambda: [
        case(2, ["rnn", "dense"], **PRE, **SQUARE),
        case(28, ["gru", "dense"], form="pre", **SQUARE),
    ],
    "tPC.8": lambda: [
        case(3, ["rnn", "dense"], **PRE, influence="implicit"),
        case(4, ["gru", "dense", "dense"], kind="diagonal", influence="diag"),
        case(17, ["lru", "dense"], influence="diag", beta=0.3, step_size=0.1),
    ],
    "TPR.2": lambda: [
        case(5, ["dense", "rnn", "dense"], **POST, influence="plain"),
        case(6, DEEP, **PRE, influence="plain", carry="prediction"),
        case(7, ["gru", "dense"], influence="plain"),
        case(
            29, ["rnn", "dense"], **POST, influence="plain", T=35, B=1, reset=False, widths=[2, 3, 2]
        ),  # two blocks of steps
    ],
    "TPR.4": lambda: [
        case(8, ["rnn", "dense"], **POST, influence="plain"),
        case(9, ["gru", "dense"], influence="plain", carry="prediction"),
        case(30, DEEP, **POST, influence="plain", inference="fixed"),
    ],
    "TPR.5": lambda: [
        case(10, ["rnn", "dense"], **POST, influence="implicit"),
        case(11, ["dense", "gru", "dense"], influence="diag"),
    ],
    "TPR.6": lambda: [
        case(12, DEEP, **POST, influence="implicit"),
        case(13, DEEP, **PRE, influence="implicit"),
    ],
    "TPR.7": lambda: [
        case(14, ["rnn", "dense"], **PRE, influence="implicit"),
        case(31, ["gru", "dense"], form="post", influence="implicit"),
    ],
    "tPC.5": lambda: [
        case(20, ["rnn", "dense"], **POST, start="previous"),
        case(21, DEEP, **PRE, start="prediction"),
    ],
    "tPC.11": lambda: [
        linear_readout(case(32, ["rnn", "dense"], **POST, widths=[3, 5, 2]), [1.7, None]),
        linear_readout(case(33, ["gru", "dense"], form="post", widths=[3, 5, 2], loss="cross_entropy"), None),
    ],
    "TPR.13": lambda: [
        case(22, ["rnn", "dense"], **POST, influence="plain"),
        case(23, ["dense", "gru", "dense", "dense"], influence="plain"),
    ],
    "KAL": lambda: [filter_case(24, False, True), filter_case(25, False, False)],
    "KAL.4": lambda: [filter_case(26, True, True), filter_case(27, True, False)],
    "TPR.10": lambda: [
        case(15, ["rnn", "dense"], **POST, **FIXED),
        case(16, DEEP, **PRE, **FIXED),
        case(
            34, ["rnn", "dense"], **POST, **FIXED, T=35, B=1, reset=False, widths=[2, 3, 2]
        ),  # two blocks of steps
    ],
    "TPR.8": lambda: [
        case(35, ["dense", "rnn", "dense"], **POST, influence="diag"),
        case(36, ["dense", "gru", "dense"], influence="implicit"),
    ],
    "TPR.9": lambda: [
        case(18, ["lru", "dense"], influence="plain", carry="prediction", beta=0.3, step_size=0.1),
        case(19, ["dense", "lru"], influence="plain", carry="prediction", beta=0.3, step_size=0.1),
    ],
}
RECIPES["TPR.3"] = lambda: [
    *_drawn("TPR.2"),
    case(18, ["lru", "dense"], influence="plain", beta=0.3, step_size=0.1),
    case(19, ["dense", "lru"], influence="plain", beta=0.3, step_size=0.1),
]


def recipe(equation):
    """The key of an equation's problems."""
    return equation if equation in RECIPES else equation.split(".")[0]


def problems(equation) -> list[Case]:
    """Fixed cases for the check of an equation, with nothing zero and nothing symmetric; T 4, two lanes."""
    return _drawn(recipe(equation))


@cache
def _drawn(key):
    return RECIPES[key]()


def tpc_error(engine, equation, found=None) -> float:
    """Worst relative error of an engine in the check of one equation, on its problems or on given ones."""
    found = problems(equation) if found is None else found
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* inference (diverged|did not)")  # mutants may
        return max(worst_error(*CHECKS[equation](engine, c)) for c in found)


# ---------------------------------------------------------------------- problems that hide mistakes


def changed(c, **options):
    """The same case with other options."""
    return c._replace(options={**c.options, **options})


def inner(c, **replaced):
    """The same case with other data."""
    return c._replace(sequence=c.sequence._replace(**replaced))


def linear(c):
    """A readout without activations."""
    last = max(l for l, block in enumerate(c.sequence.blocks) if block["kind"] in RECURRENT)
    blocks = [
        {**block, "activation": "identity"} if l > last else block
        for l, block in enumerate(c.sequence.blocks)
    ]
    return inner(c, blocks=blocks)


def one_step(c):
    """The first step alone; channels that are masked, too."""
    cut = {"observed": c.options["observed"][:1]} if "observed" in c.options else {}
    return changed(c._replace(sequence=shortened(c.sequence, 1)), **cut)


def unit(c):
    """Precisions of one; the filter needs one for its noise."""
    return changed(
        c, precision=[np.eye(len(c.options["precision"][0])), 1.0] if "propagate" in c.options else None
    )


def of_beta(c, beta):
    """Another beta; the filter has none."""
    return c if "propagate" in c.options else changed(c, beta=beta)


DEGENERATE = {
    "one step": one_step,
    "unit precision": unit,
    "beta 1": lambda c: of_beta(c, 1.0),
    "small beta": lambda c: of_beta(c, 1e-4),
    "linear readout": linear,
    "no mask, no reset": lambda c: inner(c, mask=None, reset=None),
    "start at zero": lambda c: inner(c, h0=[0 * h for h in c.sequence.h0]),
    "one step of inference": lambda c: c if "propagate" in c.options else changed(c, inference_steps=1),
}


def degenerate(name, equation):
    """The problems of an equation, each made degenerate in one way."""
    return _made_degenerate(name, recipe(equation))


@cache
def _made_degenerate(name, key):
    return [DEGENERATE[name](c) for c in _drawn(key)]
