"""Exercises in training: optimisers, weight decay, clipping, schedules, and the network that can be deep (muPC)."""

import itertools
from types import SimpleNamespace

import numpy as np

from .register import exercise


def update(d):
    """A parameter with its gradient, what an optimiser may remember of them, and every number that one may have."""
    shape = d.widths(2)
    given = {name: d.normal(*shape) for name in ("theta", "g", "m")}
    return given | {
        "v": d.uniform(0.2, 2.0, *shape),
        "batch_size": d.B,
        "t": 2 + d.setting,
        "learning_rate": float(d.uniform(0.05, 0.3)),
        "mu": float(d.uniform(0.5, 0.9)),
        "alpha": float(d.uniform(0.6, 0.9)),
        "b1": float(d.uniform(0.6, 0.8)),
        "b2": float(d.uniform(0.85, 0.95)),
        "eps": float(d.uniform(0.05, 0.2)),  # large enough to be seen
        "weight_decay": float(d.uniform(0.1, 0.5)),
    }


@exercise("SGD.1", problem=update)
def sgd(engine, theta, g, learning_rate, batch_size):
    """``theta (n, m)`` after one update by gradient descent; ``g (n, m)`` is the sum of the gradients of the batch."""
    found = engine.network.Gradient([{"theta": g}], np.zeros(batch_size))
    rule, optimizer = (lambda *_: found), engine.optim.SGD(learning_rate)
    now = SimpleNamespace(network=None, options={}, rule=rule, optimizer=optimizer)
    run, batch = SimpleNamespace(params=[{"theta": theta}], state=None), SimpleNamespace(arrays=(None, None))
    return engine.train._update(now, run, batch, batch_size)[0][0]["theta"]


def _moved(optimizer, theta, g, state):
    """Parameter and state of an optimiser after one update of a single array; None stays out of the state."""
    kept = type(state)(*(part if name == "t" else [{"x": part}] for name, part in state._asdict().items()))
    (new,), after = optimizer.step([{"x": theta}], [{"x": g}], kept)
    names = [name for name in state._fields if name != "t"]
    return {"theta": new["x"], **{name: getattr(after, name)[0]["x"] for name in names}}


@exercise("SGD.2", problem=update)
def momentum(engine, theta, g, v, learning_rate, mu):
    """theta and v (n, m) after one update with momentum; ``theta``, ``g``, ``v`` (n, m), v of the update before.

    ``g`` is the gradient, divided by the batch size already.
    """
    state = engine.optim.SGDState(v, 3)
    return _moved(engine.optim.SGD(learning_rate, momentum=mu), theta, g, state)


@exercise("SGD.3", problem=update)
def nesterov(engine, theta, g, v, learning_rate, mu):
    """theta and v (n, m) after one update with Nesterov's momentum; ``theta``, ``g``, ``v`` (n, m), v of the update before.

    ``g`` is the gradient, divided by the batch size already.
    """
    state = engine.optim.SGDState(v, 3)
    return _moved(engine.optim.SGD(learning_rate, momentum=mu, nesterov=True), theta, g, state)


@exercise("RMS.1", "RMS.2", problem=update)
def rmsprop(engine, theta, g, v, learning_rate, alpha, eps):
    """theta and v (n, m) after one update of RMSprop; ``theta``, ``g``, ``v`` (n, m), v of the update before.

    ``alpha`` is the decay of the running mean; ``eps`` is so large here that its place can be seen.
    """
    return _moved(engine.optim.RMSprop(learning_rate, alpha, eps), theta, g, engine.optim.RMSpropState(v, 3))


SLIPS = (
    "t is one too small in the bias correction",
    "t is one too large in the bias correction",
    "b1 and b2 are exchanged",
)


@exercise("ADAM.1", "ADAM.2", "ADAM.3", "ADAM.4", problem=update, slips=SLIPS)
def adam(engine, theta, g, m, v, t, learning_rate, b1, b2, eps, *, slip=None):
    """theta, m and v (n, m) after update number ``t`` (1, 2, ...) of Adam.

    ``theta``, ``g``, ``m``, ``v`` (n, m), the means m and v of the update before; ``b1``, ``b2`` are beta_1 and beta_2,
    and ``eps`` is so large here that its place can be seen.
    """
    count = {SLIPS[0]: t - 1, SLIPS[1]: t + 1}.get(slip, t)
    if slip == SLIPS[2]:
        b1, b2 = b2, b1
    state = engine.optim.AdamState(m, v, count - 1)
    return _moved(engine.optim.Adam(learning_rate, b1, b2, eps), theta, g, state)


@exercise("DECAY.2", problem=update)
def adamw(engine, theta, g, m, v, t, learning_rate, b1, b2, eps, weight_decay):
    """theta, m and v (n, m) after update number ``t`` of AdamW, with decoupled weight decay; the others as in (ADAM.1)."""
    state = engine.optim.AdamState(m, v, t - 1)
    return _moved(engine.optim.AdamW(learning_rate, b1, b2, eps, weight_decay), theta, g, state)


def gradients(d):
    """Parameters and gradients of three blocks; a norm that is smaller than that of the gradients, or larger."""
    n = d.widths(4)
    shapes = [(o, i) for i, o in itertools.pairwise(n)]
    params, grads = ([{"W": d.normal(*s), "b": d.normal(s[0])} for s in shapes] for _ in range(2))
    length = sum((g * g).sum() for q in grads for g in q.values()) ** 0.5
    norm = float(d.rounded(length * (0.4, 0.8, 1.5)[d.setting]))
    return {"params": params, "grads": grads, "norm": norm, "weight_decay": float(d.uniform(0.1, 0.5))}


@exercise("DECAY.1", problem=gradients)
def coupled(engine, params, grads, weight_decay):
    """The gradients with coupled weight decay: a list of dicts ``W``, ``b``, as ``params`` and ``grads`` are."""
    return engine.optim._coupled(grads, params, weight_decay)


@exercise("CLIP.1", problem=gradients)
def clip(engine, grads, norm):
    """The gradients, shortened to ``norm`` if they are longer: a list of dicts ``W``, ``b``, as ``grads`` is."""
    last = SimpleNamespace(init=None, step=lambda params, clipped, state: clipped)
    return engine.optim.Clip(last, norm).step(None, grads, None)


# ---------------------------------------------------------------------- schedules


def schedule(d):
    """The numbers of a schedule, and for how many updates it is asked."""
    w, steps = 2 + d.setting, 12 + int(d.rng.integers(6))
    peak = float(d.uniform(0.1, 0.5))
    return {
        "peak": peak,
        "start": peak,
        "final": float(d.uniform(0.01, 0.05)),
        "factor": float(d.uniform(0.3, 0.8)),
        "every": 2 + (d.setting + 1) % 3,
        "warm_up": w,
        "steps": steps,
        "updates": steps + 4,
    }


def _rates(rate, updates):
    return np.array([rate(t) for t in range(updates)])


@exercise("WARM.1", problem=schedule)
def warm_up_rates(engine, peak, warm_up, updates):
    """The learning rates (updates,) of t = 0, 1, ..., updates - 1: a warm-up of ``warm_up`` updates, then the peak."""
    return _rates(engine.schedules.WarmUp(peak, warm_up), updates)


@exercise("COS.1", problem=schedule)
def cosine_rates(engine, peak, steps, warm_up, final, updates):
    """The learning rates (updates,) of t = 0, 1, ..., updates - 1: a cosine from ``peak`` to ``final`` after a warm-up.

    ``warm_up`` is w, whose rates are those of (WARM.1), and ``steps`` is N, the warm-up among them.
    """
    return _rates(engine.schedules.Cosine(peak, steps, warm_up, final), updates)


@exercise("STEP.1", problem=schedule)
def step_rates(engine, start, factor, every, warm_up, updates):
    """The learning rates (updates,) of t = 0, 1, ..., updates - 1: after a warm-up times ``factor`` every so many updates.

    ``warm_up`` is w, whose rates are those of (WARM.1) with the peak ``start``; ``every`` is k.
    """
    return _rates(engine.schedules.StepDecay(start, factor, every, warm_up), updates)


# ---------------------------------------------------------------------- muPC


def deep(d):
    """States, targets and weights of a muPC network of tanh, as wide at the output as inside; in one case with biases."""
    (n_in, n), L = d.widths(2), 3 + d.setting
    n = n + 1 if n == n_in and not d.square else n
    sizes = [n_in, *[n] * L]
    params = [{"W": d.normal(o, i)} for i, o in itertools.pairwise(sizes)]
    if d.setting == 2:
        params = [{**p, "b": d.normal(n)} for p in params]
    return {"params": params, "s": [d.normal(d.B, i) for i in sizes[:-1]], "y": d.normal(d.B, n)}


def _mupc(engine, params):
    """The network of these weights, and its parameters as the engine calls them."""
    (n, n_in), depth = params[0]["W"].shape, len(params)
    net = engine.architectures.mupc(n_in, n, n, depth, "tanh")
    if "b" in params[0]:  # muPC itself has none
        net = engine.Network.from_config(_with_biases(net.config()))
    named = [
        {name: p[name.rpartition(".")[2]] for name in block.shapes}
        for block, p in zip(net.blocks, params, strict=True)
    ]
    return net, named


def _with_biases(config):
    """The same configuration with biases in every block."""
    if isinstance(config, dict):
        return {k: True if k == "bias" else _with_biases(v) for k, v in config.items()}
    return [*map(_with_biases, config)] if isinstance(config, list | tuple) else config


@exercise("sPC.18", problem=deep)
def predictions(engine, params, s):
    """The predictions mu_1, ..., mu_L of a muPC network with phi = tanh: a list of L arrays (B, n).

    ``params`` is a list of L dicts with ``W``, the first (n, n_in), the others (n, n); in one problem also with a bias
    ``b (n,)``, which muPC has not: nothing stands before it. ``s`` is the list s[0] (the input), ..., s[L-1].
    """
    net, params = _mupc(engine, params)
    return [block.forward(p, x)[0] for block, p, x in zip(net.blocks, params, s, strict=True)]


@exercise("sPC.19", problem=lambda d: _without_biases(deep(d)))
def mupc_gradients(engine, params, s, y):
    """dE/ds[l], l = 1..L-1, a list of L arrays (B, n) with entry 0 None, and dE/dW[l], l = 1..L, summed over the batch.

    Of a muPC network with phi = tanh at the states ``s``, the list s[0] (the input), ..., s[L-1]; the loss is
    1/2 |mu_L - y|^2, ``y (B, n)``. ``params`` is a list of L dicts with ``W``, the first (n, n_in), the others (n, n). Two
    lists are returned, the second one of L arrays with the shapes of W.
    """
    net, params = _mupc(engine, params)
    dE_dW = [None, *(g for p in engine.spc.weight_gradient(net, params, s, y) for g in p.values())]
    return {"dE_ds": engine.spc.activity_gradient(net, params, s, y), "dE_dW": dE_dW}


def _without_biases(given):
    return given | {"params": [{"W": p["W"]} for p in given["params"]]}
