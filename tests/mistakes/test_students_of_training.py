"""Students of optimisers, schedules and muPC, who wrote it by themselves: what they are told.

Nothing here uses the engine; the right ones are also those of ``reference``.
"""

import math

import numpy as np
from helpers.students import cases, verify

from reference import block_oracles as blocks
from reference import index_loops as loops

# ---------------------------------------------------------------------- gradient descent and its heirs


def sgd(theta, g, learning_rate, batch_size, *, sign=-1.0, divide=lambda g, B: g / B):
    """One update; g is a sum."""
    return theta + sign * learning_rate * divide(g, batch_size)


def momentum(
    theta,
    g,
    v,
    learning_rate,
    mu,
    *,
    new=lambda mu, v, g: mu * v + g,
    step=lambda rate, mu, old, v, g: rate * v,
):
    """Velocity, then the step."""
    after = new(mu, v, g)
    return theta - step(learning_rate, mu, v, after, g), after


def look_ahead(rate, mu, old, v, g):
    """The step of Nesterov's momentum."""
    return rate * (g + mu * v)


def eta_inside(theta, g, v, learning_rate, mu):
    """PyTorch's formula with the learning rate in the velocity."""
    v = mu * v + learning_rate * g
    return theta - v, v


def rmsprop(
    theta,
    g,
    v,
    learning_rate,
    alpha,
    eps,
    *,
    mean=lambda alpha, v, g: alpha * v + (1 - alpha) * g**2,
    length=lambda v, eps: np.sqrt(v) + eps,
    old=False,
):
    """One update."""
    after = mean(alpha, v, g)
    return theta - learning_rate * g / length(v if old else after, eps), after


def adam(
    theta,
    g,
    m,
    v,
    t,
    learning_rate,
    b1,
    b2,
    eps,
    *,
    count=0,
    first=lambda b1, t: 1 - b1**t,
    second=lambda b2, t: 1 - b2**t,
    moved=lambda g, m: m,
    square=lambda g: g * g,
    length=lambda v, eps: np.sqrt(v) + eps,
    keep=False,
    swapped=False,
):
    """One update, written as a paper has it."""
    b1, b2, t = (b2, b1, t) if swapped else (b1, b2, t + count)
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * square(g)
    m_hat, v_hat = m / first(b1, t), v / second(b2, t)
    theta = theta - learning_rate * moved(g, m_hat) / length(v_hat, eps)
    return (theta, m_hat, v_hat) if keep else (theta, m, v)


def adam_by_loops(theta, g, m, v, t, learning_rate, b1, b2, eps):
    """The loops of ``reference``."""
    return loops.adam_step(theta, g, m, v, t, learning_rate, b1, b2, eps)


def adamw(
    theta, g, m, v, t, learning_rate, b1, b2, eps, weight_decay, *, share="eta", when="before", **places
):
    """Decoupled decay."""
    share = {"eta": learning_rate * weight_decay, "one": weight_decay}[share]
    rest = (t, learning_rate, b1, b2, eps)
    if when == "coupled":
        return adam(theta, g + weight_decay * theta, m, v, *rest, **places)
    if when == "before":
        return adam((1 - share) * theta, g, m, v, *rest, **places)
    theta, m, v = adam(theta, g, m, v, *rest, **places)
    return (1 - share) * theta, m, v


DESCENT = [
    ("SGD.1", sgd, {}, ()),
    ("SGD.1", sgd, {"sign": 1.0}, "the step goes uphill"),
    ("SGD.1", sgd, {"divide": lambda g, B: g}, "the gradient is not divided by the batch size"),
    (
        "SGD.1",
        sgd,
        {"sign": 1.0, "divide": lambda g, B: g},
        ("the step goes uphill", "the gradient is not divided by the batch size"),
    ),
    ("SGD.2", momentum, {}, ()),
    (
        "SGD.2",
        momentum,
        {"new": lambda mu, v, g: mu * v + (1 - mu) * g},
        "the velocity is a running mean, not a sum",
    ),
    ("SGD.2", momentum, {"new": lambda mu, v, g: v + g}, "the velocity forgets nothing"),
    ("SGD.2", momentum, {"new": lambda mu, v, g: mu * v - g}, "the gradient is subtracted from the velocity"),
    (
        "SGD.2",
        momentum,
        {"step": lambda rate, mu, old, v, g: rate * old},
        "the step with momentum takes the old velocity",
    ),
    ("SGD.2", eta_inside, {}, "the learning rate stands inside of the velocity"),
    ("SGD.3", momentum, {"step": look_ahead}, ()),
    ("SGD.3", momentum, {}, "Nesterov's step looks ahead with the old gradient: plain momentum"),
    (
        "SGD.3",
        momentum,
        {"step": lambda rate, mu, old, v, g: rate * (g + v)},
        "Nesterov's step forgets that the velocity decays",
    ),
    ("RMS.1", rmsprop, {}, ()),
    (
        "RMS.1",
        rmsprop,
        {"mean": lambda alpha, v, g: (1 - alpha) * v + alpha * g**2},
        "RMSprop's two weights are exchanged",
    ),
    (
        "RMS.1",
        rmsprop,
        {"mean": lambda alpha, v, g: alpha * v + g**2},
        "RMSprop sums up the squares: the factor 1 - alpha is missing",
    ),
    ("RMS.2", rmsprop, {"length": lambda v, eps: np.sqrt(v + eps)}, "RMSprop adds eps under the root"),
    (
        "RMS.2",
        rmsprop,
        {"length": lambda v, eps: v + eps},
        "RMSprop divides by the mean square, not by its root",
    ),
    ("RMS.2", rmsprop, {"old": True}, "RMSprop divides by the mean of the update before"),
    ("ADAM.1", adam, {}, ()),
    ("ADAM.4", adam_by_loops, {}, ()),
    ("ADAM.3", adam, {"first": lambda b1, t: 1}, "Adam lacks the bias correction of m"),
    ("ADAM.3", adam, {"second": lambda b2, t: 1}, "Adam lacks the bias correction of v"),
    (
        "ADAM.3",
        adam,
        {"first": lambda b1, t: 1, "second": lambda b2, t: 1},
        ("Adam lacks the bias correction of m", "Adam lacks the bias correction of v"),
    ),
    ("ADAM.3", adam, {"count": -1}, "t is one too small in the bias correction"),
    ("ADAM.3", adam, {"keep": True}, "the corrected means are kept for the next update"),
    ("ADAM.2", adam, {"square": abs}, "Adam takes the mean of |g|, not of its square"),
    ("ADAM.4", adam, {"length": lambda v, eps: np.sqrt(v + eps)}, "Adam adds eps under the root"),
    ("ADAM.4", adam, {"length": lambda v, eps: v + eps}, "Adam divides by v, not by its root"),
    ("ADAM.4", adam, {"moved": lambda g, m: g}, "Adam's step takes g, not its mean"),
    ("ADAM.4", adam, {"moved": lambda g, m: -m}, "Adam's step goes uphill"),
    ("ADAM.1", adam, {"swapped": True}, "b1 and b2 are exchanged"),
    ("DECAY.2", adamw, {}, ()),
    ("DECAY.2", adamw, {"when": "coupled"}, "AdamW couples the decay"),
    ("DECAY.2", adamw, {"when": "after"}, "the decoupled decay comes after the step"),
    ("DECAY.2", adamw, {"share": "one"}, "the decoupled decay forgets the learning rate"),
    (
        "DECAY.2",
        adamw,
        {"when": "coupled", "first": lambda b1, t: 1},
        ("AdamW couples the decay", "Adam lacks the bias correction of m"),
    ),
]


@cases(DESCENT)
def test_optimisers(equation, function, places, expected, seed):
    """SGD, momentum, RMSprop, Adam, AdamW."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- decay and clipping


def coupled(params, grads, weight_decay, *, share=lambda wd, p: wd * p, biases=True):
    """The decay in the gradient."""
    found = []
    for p, g in zip(params, grads, strict=True):
        found.append({"b": g["b"] + (share(weight_decay, p["b"]) if biases else 0)})
        found[-1]["W"] = g["W"] + share(weight_decay, p["W"])
    return found


def clip(
    grads,
    norm,
    *,
    of=lambda grads, block: grads,
    root=math.sqrt,
    shorter=lambda norm, length: min(1, norm / length),
):
    """The gradient no longer than ``norm``; ``of`` are the blocks of which a length is taken."""
    found = []
    for block in grads:
        parts = [array for one in of(grads, block) for array in one.values()]
        length = root(sum(float((array**2).sum()) for array in parts))
        found.append({name: array * shorter(norm, length) for name, array in block.items()})
    return found


def clip_by_loops(grads, norm):
    """The loops of ``reference``, one list of arrays."""
    return loops.clip([array for block in grads for array in block.values()], norm)


def clip_entries(grads, norm):
    """Another thing of the same name."""
    return [{name: np.clip(array, -norm, norm) for name, array in block.items()} for block in grads]


SHORTER = [
    ("DECAY.1", coupled, {}, ()),
    (
        "DECAY.1",
        coupled,
        {"share": lambda wd, p: 0.5 * wd * p},
        "the coupled decay is halved, as if the square had no derivative",
    ),
    ("DECAY.1", coupled, {"share": lambda wd, p: 2 * wd * p}, "the coupled decay is doubled"),
    ("DECAY.1", coupled, {"share": lambda wd, p: -wd * p}, "the coupled decay has the wrong sign"),
    (
        "DECAY.1",
        coupled,
        {"share": lambda wd, p: wd * np.sign(p)},
        "the coupled decay subtracts the sign of a parameter (L1)",
    ),
    ("DECAY.1", coupled, {"biases": False}, "the coupled decay leaves out the biases"),
    ("CLIP.1", clip, {}, ()),
    ("CLIP.1", clip_by_loops, {}, ()),
    ("CLIP.1", clip, {"of": lambda grads, block: [block]}, "every block is clipped by a norm of its own"),
    ("CLIP.1", clip, {"root": lambda square: square}, "the norm that clips lacks its root"),
    (
        "CLIP.1",
        clip,
        {"shorter": lambda norm, length: norm / length},
        "short gradients are lengthened to the norm",
    ),
    (
        "CLIP.1",
        clip,
        {"of": lambda grads, block: [{"W": g["W"]} for g in grads]},
        "the norm that clips leaves out the biases",
    ),
    ("CLIP.1", clip_entries, {}, "every entry is clipped by itself"),
]


@cases(SHORTER)
def test_decay_and_clipping(equation, function, places, expected, seed):
    """Coupled decay, and the norm of a gradient."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- schedules


def rising(t, peak, w, *, first=1):
    """The warm-up."""
    return peak * (t + first) / w


def warm_up(peak, warm_up, updates, *, first=1, top=True):
    """A line, then the peak."""
    return [rising(t, peak, warm_up, first=first) if t < warm_up or not top else peak for t in range(updates)]


def cosine(
    peak, steps, warm_up, final, updates, *, half=0.5, done=None, first=1, low=lambda final: final, end=True
):
    """A line, half a period of a cosine, then the final rate."""
    done = done or (lambda t, N, w: (t - w) / (N - w))
    rates = []
    for t in range(updates):
        if t < warm_up:
            rates.append(rising(t, peak, warm_up, first=first))
        elif t > steps and end:
            rates.append(final)
        else:
            phase = math.cos(math.pi * done(t, steps, warm_up))
            rates.append(final + half * (peak - low(final)) * (1 + phase))
    return np.array(rates)


def steps_down(start, factor, every, warm_up, updates, *, count=lambda t, w, k: (t - w) // k, power=pow):
    """A line, then stairs."""
    return [
        rising(t, start, warm_up) if t < warm_up else start * power(factor, count(t, warm_up, every))
        for t in range(updates)
    ]


RATES = [
    ("WARM.1", warm_up, {}, ()),
    ("WARM.1", warm_up, {"first": 0}, "the warm-up begins with a rate of zero"),
    ("WARM.1", warm_up, {"top": False}, "the warm-up goes on rising beyond the peak"),
    ("COS.1", cosine, {}, ()),
    ("COS.1", cosine, {"half": 1.0}, "the cosine lacks its half"),
    ("COS.1", cosine, {"first": 0}, "the warm-up begins with a rate of zero"),
    ("COS.1", cosine, {"low": lambda final: 0}, "the cosine falls from the peak plus the final rate"),
    ("COS.1", cosine, {"end": False}, "the cosine rises again after the last step"),
    ("STEP.1", steps_down, {}, ()),
    ("STEP.1", steps_down, {"count": lambda t, w, k: (t - w) / k}, "the rate falls in every update"),
    (
        "STEP.1",
        steps_down,
        {"count": lambda t, w, k: t // k},
        "the steps are counted from the first update, not from the end of the warm-up",
    ),
    ("STEP.1", steps_down, {"count": lambda t, w, k: (t - w + 1) // k}, "the rate falls one update early"),
    (
        "STEP.1",
        steps_down,
        {"power": lambda f, n: f * n},
        "the rate is multiplied by the number of steps, not by a power",
    ),
]


@cases(RATES)
def test_schedules(equation, function, places, expected, seed):
    """Warm-up, cosine, stairs."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- muPC


def gains(params, *, depth=lambda L: L, output=lambda n: 1 / n):
    """g_1, ..., g_L."""
    n, n_in = params[0]["W"].shape
    L = len(params)
    return [n_in**-0.5, *[(n * depth(L)) ** -0.5] * (L - 2), output(n)]


def predictions(params, s, *, skip=(1,), scaled_bias=False, source=lambda x: x, **places):
    """mu_1, ..., mu_L; ``skip``: at which blocks one is, besides none."""
    L, g, mu = len(params), gains(params, **places), []
    for l, p in enumerate(params):
        x = source(s[0]) if l == 0 else np.tanh(s[l])
        branch = g[l] * (x @ p["W"].T + (p.get("b", 0) if scaled_bias else 0))
        branch = branch + (0 if scaled_bias else p.get("b", 0))
        inside = 0 < l < L - 1
        mu.append(branch + (s[l] if (inside and 1 in skip) or (l == L - 1 and "out" in skip) else 0))
    return mu


def mupc_gradients(
    params,
    s,
    y,
    *,
    skip_down=1.0,
    slope=lambda s: 1 - np.tanh(s) ** 2,
    at_input=np.tanh,
    sign=-1.0,
    scaled=True,
    **places,
):
    """(sPC.19) as it is written."""
    L, g, mu = len(params), gains(params, **places), predictions(params, s, **places)
    eps = [None, *(s[l] - mu[l - 1] for l in range(1, L)), y - mu[-1]]
    dE_ds = [None]
    for l in range(1, L):
        above = g[l] * slope(s[l]) * (eps[l + 1] @ params[l]["W"])
        dE_ds.append(eps[l] + sign * above - (skip_down * eps[l + 1] if l + 1 < L else 0))
    x = [s[0], *map(at_input, s[1:])]
    return dE_ds, [-(g[l] if scaled else 1) * eps[l + 1].T @ x[l] for l in range(L)]


def mupc_of_reference(params, s, y):
    """By autograd."""
    return blocks.mupc_energy_gradient([p["W"] for p in params], s, y, "mse", "tanh")


DEEP = [
    ("sPC.18", predictions, {}, ()),
    ("sPC.18", predictions, {"depth": lambda L: 1}, "the gain of the branches does not know the depth"),
    (
        "sPC.18",
        predictions,
        {"depth": lambda L: L - 1},
        "the gain of the branches counts the hidden layers, not the blocks",
    ),
    (
        "sPC.18",
        predictions,
        {"output": lambda n: n**-0.5},
        "the gain of the output is 1/sqrt(n), not 1/n",
    ),
    ("sPC.18", predictions, {"skip": (1, "out")}, "the skip is kept at the output"),
    ("sPC.18", predictions, {"skip": ()}, "the branches have no skip"),
    ("sPC.18", predictions, {"scaled_bias": True}, "the bias is scaled too"),
    ("sPC.18", predictions, {"source": np.tanh}, "the input goes through phi"),
    ("sPC.19", mupc_gradients, {}, ()),
    ("sPC.19", mupc_of_reference, {}, ()),
    ("sPC.19", mupc_gradients, {"scaled": False}, "the fixed factor is missing in the weight gradient"),
    ("sPC.19", mupc_gradients, {"skip_down": 0.0}, "the skip is dropped on the way down"),
    ("sPC.19", mupc_gradients, {"slope": np.ones_like}, "phi' is missing (pre form)"),
    ("sPC.19", mupc_gradients, {"slope": lambda s: 1 - np.tanh(s)}, "tanh' is written 1 - mu"),
    (
        "sPC.19",
        mupc_gradients,
        {"at_input": lambda s: s},
        "the presynaptic activity did not go through phi (pre form)",
    ),
    ("sPC.19", mupc_gradients, {"depth": lambda L: 1}, "the gain of the branches does not know the depth"),
    (
        "sPC.19",
        mupc_gradients,
        {"scaled": False, "slope": np.ones_like},
        ("the fixed factor is missing in the weight gradient", "phi' is missing (pre form)"),
    ),
]


@cases(DEEP)
def test_mupc(equation, function, places, expected, seed):
    """Predictions and gradients of the network that can be deep."""
    verify(equation, function, places, expected, seed)
