"""The checks of the equations in time, for the battery: what an engine says beside what autograd says.

As in ``battery.py``, an engine is ``minipc`` itself or what ``minipc.mistakes.load`` returns, and a check is a
function of an engine and a problem, here a ``reference.temporal_problems.Sequence``, that returns
``(actual, expected)``. Every equation has problems of its own kind: a network in which it occurs.
"""

from functools import cache

import numpy as np

from reference import temporal_oracles as ad
from reference.temporal_problems import Sequence, make

from .checks import worst_error

CELLS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM", "elstm": "ELSTM", "lru": "LRU", "rtu": "RTU"}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
BLOCK = 2  # steps of the hybrid's blocks: no divisor of T
STEPS = 2  # of truncated BPTT
ETA = 0.1  # of online learning
CHECKS = {}


# ---------------------------------------------------------------------- an engine on a problem


def network(engine, p):
    """The engine's network of a problem."""
    blocks = []
    for block, q in zip(p.blocks, p.params, strict=True):
        kind, options = block["kind"], {k: v for k, v in block.items() if k != "kind"}
        if kind == "embedding":
            blocks.append(engine.Embedding(*q["W"].shape))
        elif kind == "dense":
            blocks.append(engine.Dense(*q["W"].shape[::-1], **options))
        else:
            rows, m = q[{"elstm": "Wz", "lru": "B_re", "rtu": "W1"}.get(kind, "U")].shape
            options["learn_h0"] = "h0" in q or "h0_re" in q
            if kind == "lru":
                options["n_out"] = len(q["D"])
            blocks.append(getattr(engine, CELLS[kind])(m, rows // GATES.get(kind, 1), **options))
    shape = () if p.blocks[0]["kind"] == "embedding" else None
    return engine.RecurrentNetwork(blocks, p.loss, input_shape=shape)


def states(p):
    """The initial states as the engine wants them: complex numbers for an LRU."""
    return None if p.h0 is None else ad.native(p.blocks, p.h0)


def call(engine, rule, p, **options):
    """A rule of the engine, "bptt.gradient" say, on a problem."""
    module, name = rule.split(".")
    rule = getattr(getattr(engine, module), name)
    return rule(network(engine, p), p.params, p.inputs, p.targets, p.mask, states(p), p.reset, **options)


def flat(p, grads):
    """All gradients, or parameters, in one vector, in the order of the problem's parameters."""
    found = zip(p.params, grads, strict=True)
    return np.concatenate([g[name].ravel() for q, g in found for name in q])


_KEPT = {}  # what the oracles said of a problem: many mutants are compared with it


def kept(name, p, compute):
    """``compute()``, once for a problem."""
    if (name, id(p)) not in _KEPT:  # the problem is kept too, so that its id is not given away
        _KEPT[name, id(p)] = p, compute()
    return _KEPT[name, id(p)][1]


def oracle(function, p, **options):
    """The vector of an oracle's gradients."""
    return kept(function.__name__, p, lambda: flat(p, function(*p.arguments, **options)))


def check_in(checks):
    """A decorator that registers a function as the check of some equations."""

    def check(*equations):
        def register(function):
            checks.update(dict.fromkeys(equations, function))
            return function

        return register

    return check


check = check_in(CHECKS)


# ---------------------------------------------------------------------- the checks


@check("RNN.1", "RNN.2", "RNN.3", "RNN.4", "GRU.1", "GRU.2", "GRU.3", "LSTM.1", "LSTM.2", "LSTM.3")
@check("ELSTM.1", "ELSTM.2", "ELSTM.3", "RTU.1", "RTU.2", "RTU.3", "RTU.4")
@check("LRU.1", "LRU.2", "LRU.5", "LRU.6", "LRU.7", "LRU.8", "LRU.9")
def derivatives_of_a_cell(engine, p):
    """The gradient backward in time and forward in time: both rest on the cell's derivatives."""
    backward, forward = call(engine, "bptt.gradient", p), call(engine, "rtrl.gradient", p, influence="exact")
    return [flat(p, backward.grads), flat(p, forward.grads)], [oracle(ad.loss_gradient, p)] * 2


@check("RNN.6")
def losses(engine, p):
    """The loss of every sequence over the steps that count, and the credit that it sends, by the whole gradient."""
    g = call(engine, "bptt.gradient", p)
    return [g.loss, flat(p, g.grads)], [
        kept("loss", p, lambda: ad.loss(*p.arguments)),
        oracle(ad.loss_gradient, p),
    ]


@check("BPTT.1", "BPTT.2")
def backward_in_time(engine, p):
    """BPTT."""
    return [flat(p, call(engine, "bptt.gradient", p).grads)], [oracle(ad.loss_gradient, p)]


@check("BPTT.6")
def in_segments(engine, p):
    """BPTT that keeps few states."""
    return [flat(p, call(engine, "bptt.checkpointed", p, segment=2).grads)], [oracle(ad.loss_gradient, p)]


@check("BPTT.3")
def at_the_initial_state(engine, p):
    """dLoss/dh_0 of every cell, through the first step and through resets."""
    expected = kept("initial", p, lambda: ad.native(p.blocks, ad.initial_gradient(*p.arguments)))
    return call(engine, "bptt.gradient", p).initial, expected


@check("BPTT.4")
def truncated(engine, p):
    """Every loss through the last steps."""
    g = call(engine, "bptt.truncated", p, steps=STEPS)
    return [flat(p, g.grads)], [oracle(ad.truncated_gradient, p, steps=STEPS)]


@check("RNN.5", "RTRL.1", "RTRL.3", "STACK.2", "STACK.5", "STACK.6")
def forward_in_time(engine, p):
    """RTRL, step by step."""
    g = call(engine, "rtrl.gradient", p, influence="exact")
    return [flat(p, g.grads)], [oracle(ad.loss_gradient, p)]


def last_alone(p):
    """The same problem, with losses at the last step alone, and there not in the first lane if there are others."""
    mask = np.zeros(p.inputs.shape[:2], bool)
    mask[-1, min(1, mask.shape[1] - 1) :] = True
    return p._replace(mask=mask)


def prefixes_of(p):
    """The same problem, with the losses of the first steps alone."""
    T = len(p.inputs)
    mask = np.ones((T, p.inputs.shape[1]), bool) if p.mask is None else p.mask
    for t in range(1, T + 1):
        until = mask & (np.arange(T)[:, None] < t)
        if until.any():
            yield p._replace(mask=until)


@check("RTRL.2")
def read(engine, p):
    """The gradient of every prefix."""
    prefixes = kept("prefixes", p, lambda: list(prefixes_of(p)))
    actual = [flat(p, call(engine, "rtrl.gradient", q, influence="exact").grads) for q in prefixes]
    return actual, [oracle(ad.loss_gradient, q) for q in prefixes]


@check("RTRL.7")
def learned_online(engine, p):
    """An online update that comes when all parameters are the first ones still."""
    late = kept("late", p, lambda: last_alone(p))
    new = call(engine, "rtrl.online", late, optimizer=engine.optim.SGD(ETA))
    mean = oracle(ad.loss_gradient, late) / late.mask[-1].sum()
    return [flat(p, new.params)], [flat(p, p.params) - ETA * mean]


@check("RTRL.6")
def streams(engine, p):
    """With resets, at once and in two stretches of time."""
    whole = call(engine, "rtrl.gradient", p, influence="exact")
    actual, cut = [flat(p, whole.grads)], len(p.inputs) // 2
    if p.mask is not None:  # some step must count in either stretch
        cut = max(cut, 1 + int(p.mask.any(axis=1).argmax()))
    if cut:
        first, rest = (
            p._replace(
                inputs=p.inputs[s],
                targets=p.targets[s],
                mask=None if p.mask is None else p.mask[s],
                reset=None if p.reset is None else p.reset[s],
            )
            for s in (slice(cut), slice(cut, None))
        )
        a = call(engine, "rtrl.gradient", first, influence="exact")
        b = call(engine, "rtrl.gradient", rest._replace(h0=None), influence="exact", carry=a.carry)
        actual.append(flat(p, a.grads) + flat(p, b.grads))
    return actual, [oracle(ad.loss_gradient, p)] * len(actual)


@check("HYB.1", "HYB.2", "HYB.4")
def in_blocks(engine, p):
    """RTRL in blocks of steps."""
    g = call(engine, "rtrl.gradient", p, block=BLOCK)
    return [flat(p, g.grads)], [oracle(ad.loss_gradient, p)]


@check("STACK.4")
def layer_local(engine, p):
    """The layer-local rule, which is not the gradient."""
    g = call(engine, "rtrl.gradient", p, influence="local")
    return [flat(p, g.grads)], [oracle(ad.layer_local_gradient, p)]


# ---------------------------------------------------------------------- the problems

_RNN = [
    (["rnn", "dense"], {"form": "post", "alpha": 1.0}),
    (["rnn", "dense"], {"form": "post", "alpha": 0.4}),
    (["rnn", "dense"], {"form": "pre", "alpha": 0.4}),
]
_LEAKY = [
    (["rnn", "dense"], {"form": "post", "alpha": 0.4, "reset": True}),
    (["dense", "rnn", "dense"], {"form": "pre", "alpha": 0.4, "reset": True}),
]
_STACK = [
    (["rnn", "rnn", "dense"], {"form": "post", "reset": True}),
    (["rnn", "dense", "rnn"], {"form": "post", "alpha": 0.4}),
]
RECIPES = {  # of the equations of a family, or of one equation: chains of blocks, with options of ``make``
    "RNN": _RNN,
    "GRU": [(["gru", "dense"], {})],
    "LSTM": [(["lstm", "dense"], {})],
    "ELSTM": [(["elstm", "dense"], {})],
    "LRU": [(["dense", "lru"], {"gamma": "free"}), (["dense", "lru"], {"gamma": "tied"})],
    "LRU.1": [(["dense", "lru"], {"gamma": "free"})],
    "RTU": [(["rtu", "dense"], {"activation": "identity"}), (["rtu", "dense"], {"activation": "tanh"})],
    "BPTT": _LEAKY,
    "RTRL": _LEAKY + _STACK,
    "RTRL.3": [(["embedding", "rnn", "dense"], {"form": "post"}), (["embedding", "elstm", "dense"], {})],
    "HYB": _STACK,
    "HYB.4": [(["lru", "dense"], {"gamma": "free"})],
    "STACK": _STACK,
    "STACK.5": [(["elstm", "dense", "elstm"], {}), (["rtu", "elstm"], {"activation": "tanh"})],
    "STACK.6": [(["dense", "lru", "rnn"], {"form": "post"}), (["lru", "dense", "lru"], {})],
}


def recipe(equation):
    """The key of an equation's problems."""
    return equation if equation in RECIPES else equation.split(".")[0]


def problems(equation) -> list[Sequence]:
    """Fixed problems for the check of an equation, with nothing zero and nothing symmetric; T 5, three lanes."""
    return _drawn(recipe(equation))


@cache
def _drawn(key):
    found = []
    for seed, (chain, options) in enumerate(RECIPES[key]):
        options = {"activation": "tanh", "loss": "mse", "radius": 1.0, "T": 5, "B": 3, **options}
        found.append(make(np.random.default_rng(seed), chain, **options))
    return found


def temporal_error(engine, equation, found=None) -> float:
    """Worst relative error of an engine in the check of one equation, on its problems or on given ones."""
    found = problems(equation) if found is None else found
    return max(worst_error(*CHECKS[equation](engine, p)) for p in found)


# ---------------------------------------------------------------------- problems that hide mistakes


def shortened(p, T):
    """The first steps alone; every step counts, and no lane goes back before it has begun."""
    reset = None if p.reset is None else p.reset[:T] & (np.arange(T) > 0)[:, None]
    return p._replace(inputs=p.inputs[:T], targets=p.targets[:T], mask=None, reset=reset)


def at_zero(p):
    """Initial states that are zero."""
    return p._replace(h0=[0 * h for h in p.h0])


def one_lane(p):
    """The lane that is reset most often, and the mask if it leaves something out there."""
    b = 0 if p.reset is None else int(p.reset.sum(axis=0).argmax())
    lane = slice(b, b + 1)
    cut = {name: getattr(p, name) for name in ("inputs", "targets", "mask", "reset")}
    cut = {name: None if v is None else v[:, lane] for name, v in cut.items()}
    return p._replace(**cut, h0=[h[lane] for h in p.h0])


def one_unit(p):
    """Cells of one unit; blocks between them keep their widths."""
    params, cells, h0, narrow = [], iter(p.h0), [], None  # narrow: width of what comes from the block before
    for block, q in zip(p.blocks, p.params, strict=True):
        kind = block["kind"]
        rows, inputs = GATES.get(kind, 1), {"W", "U", "Wz", "Wf", "W1", "W2", "B_re", "B_im", "D"}
        inputs = {"W"} if kind == "dense" else inputs - ({"W"} if kind in GATES else set())
        found = {k: v[:, :narrow] if k in inputs and kind != "embedding" else v for k, v in q.items()}
        if kind in CELLS:
            h, found = next(cells), {k: _first_unit(k, v, rows) for k, v in found.items()}
            h0.append(h.reshape(len(h), {"lstm": 2, "rtu": 2, "lru": 2}.get(kind, 1), -1)[:, :, 0])
            narrow = {"lru": None, "rtu": 2}.get(kind, 1)
        else:
            narrow = None
        params.append(found)
    p = p._replace(params=params, h0=h0)
    o = ad.run(p.blocks, p.params, p.inputs, p.h0)[0].shape[-1]
    return p._replace(targets=p.targets[..., :o])


def _first_unit(name, v, gates):
    """What the first unit of a cell has of a parameter."""
    if name in ("C_re", "C_im"):
        return v[:, :1]
    if name == "D":
        return v
    v = v.reshape(gates, -1, *v.shape[1:])[:, :1].reshape(gates, *v.shape[1:])
    return v[:, :1] if name == "W" else v


def _recurrent(p, change):
    """The same problem with other recurrent weights, gate by gate."""
    params = []
    for block, q in zip(p.blocks, p.params, strict=True):
        if block["kind"] in GATES:
            n = q["W"].shape[1]
            q = {**q, "W": np.concatenate([change(W) for W in q["W"].reshape(-1, n, n)])}
        params.append(q)
    return p._replace(params=params)


def symmetric(p):
    """Recurrent weights equal to their transposes."""
    return _recurrent(p, lambda W: (W + W.T) / 2)


def tiny(p):
    """Recurrent weights of spectral radius 0.01, and no leak: the past is nearly without effect."""
    blocks = [{**b, "alpha": 1.0} if "alpha" in b else b for b in p.blocks]
    return _recurrent(p._replace(blocks=blocks), lambda W: 0.01 * W)


def linear(p):
    """No nonlinearity, where one can be chosen."""
    return p._replace(blocks=[{**b, "activation": "identity"} if "activation" in b else b for b in p.blocks])


DEGENERATE = {
    "one step from zero": lambda p: at_zero(shortened(p, 1)),
    "one step": lambda p: shortened(p, 1),
    "two steps from zero": lambda p: at_zero(shortened(p, 2)),
    "one lane": one_lane,
    "one unit": one_unit,
    "symmetric recurrent weights": symmetric,
    "linear activation": linear,
    "tiny recurrent weights": tiny,
}


def degenerate(name, equation):
    """The problems of an equation, each made degenerate in one way."""
    return _made_degenerate(name, recipe(equation))


@cache
def _made_degenerate(name, key):
    return [DEGENERATE[name](p) for p in _drawn(key)]
