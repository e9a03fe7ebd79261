"""Claims: how the error travels down the layers, step by step."""

import numpy as np

from .. import mistakes, spc, variants
from ..blocks import Dense
from ..network import Network
from .setting import ad, astype, claim, make, network, oracle


def _arrivals(p, lam, weight, engine=None):
    """Deviation from the law of first arrival; ``weight[l]`` multiplies lam^(L-l). Also one step too late."""
    rule, net, L = engine.spc if engine else spc, network(p, engine), len(p.layers)
    delta = oracle(ad.deltas, p, p.x, p.y, precision=False)
    run = rule.gradient(
        net, p.params, p.x, p.y, p.precision, inference_steps=L, step_size=lam, record_every=1
    )
    eps = [rule.errors(net, p.params, s, p.y, p.precision).eps for s in run.recording.states]
    early = max(np.abs(eps[k][l]).max() for l in range(1, L) for k in range(L - l))  # (sPC.8): exactly zero
    law = [None, *(-weight[l] * lam ** (L - l) * delta[l] for l in range(1, L))]

    def deviation(l, k):
        size = np.linalg.norm(law[l]) + 1e-3 * np.linalg.norm(run.states[l])  # eps is a difference of states
        return np.linalg.norm(eps[k][l] - law[l]) / size

    arrived = max(deviation(l, L - l) for l in range(1, L))
    late = max(deviation(l, L - l + 1) for l in range(1, L))
    return (1.0 if early else arrived), late


@claim(
    "S19",
    "sPC.8, sPC.9",
    "the first error reaches layer l after L-l steps, as -lam^(L-l) delta_l",
    "identity",
    1e-12,
)
def s19(rng):
    kind = str(rng.choice(["tanh", "leaky_relu", "gelu", "softplus"]))
    p = make(rng, activation=kind, depth=(3, 4), precision=None)
    lam, one = float(rng.choice([0.3, 1.0])), [1.0] * len(p.layers)
    error, late = _arrivals(p, lam, one)
    sequential = mistakes.load("the layers move one after the other, not at once")
    return error, min(late, _arrivals(p, 0.3, one, sequential)[0])


@claim("S20", "sPC.10", "with precisions the arrival is multiplied by those on the way", "identity", 1e-12)
def s20(rng):
    kind = str(rng.choice(["tanh", "leaky_relu", "gelu"]))
    p = make(rng, activation=kind, depth=(3, 4), precision=None, loss="mse")
    p = p._replace(precision=[*(float(rng.choice([0.5, 0.7, 1.5, 2.0])) for _ in p.layers[1:]), None])
    L, lam = len(p.layers), float(rng.choice([0.3, 1.0]))
    weight = [None, *(float(np.prod(p.precision[l : L - 1])) for l in range(1, L))]
    error, _ = _arrivals(p, lam, weight)
    return error, _arrivals(p, lam, [1.0] * L)[0]


@claim("S21", "sPC.11", "one top-down sweep moves layer l by -lam^(L-l) delta_l", "autograd", 1e-12)
def s21(rng):
    kind = str(rng.choice(["tanh", "leaky_relu", "gelu", "softplus"]))
    p, lam = make(rng, activation=kind, depth=(3, 4), precision=None), float(rng.choice([0.3, 1.0]))
    net, L = network(p), len(p.layers)
    delta, start = oracle(ad.deltas, p, p.x, p.y, precision=False), spc.feedforward(net, p.params, p.x)

    def deviation(states):
        """Largest over the layers; displacements are differences of states, which bounds their digits."""
        law = [None, *(-(lam ** (L - l)) * delta[l] for l in range(1, L))]
        size = [None, *(np.linalg.norm(law[l]) + 1e-3 * np.linalg.norm(start[l]) for l in range(1, L))]
        return max(np.linalg.norm(states[l] - start[l] - law[l]) / size[l] for l in range(1, L))

    sweep = variants.top_down(net, p.params, p.x, p.y, inference_steps=1, step_size=lam)
    upwards = list(start)
    for l in range(1, L):  # the other way round nothing arrives below layer L-1
        upwards[l] = upwards[l] - lam * spc.activity_gradient(net, p.params, upwards, p.y)[l]
    return deviation(sweep.states), deviation(upwards)


@claim(
    "S43",
    "sPC.9",
    "float32 stall: 20 layers, 48 sPC steps, the first layer feels nothing",
    "exact zero",
    0,
    trials=5,
)
def s43(rng):  # by (sPC.9) the error is due there after 19 steps, and float64 has it
    widths = [16, *[64] * 18]
    blocks = [Dense(n, 64, "gelu", init="orthogonal", gain=2**0.5) for n in widths]
    net = Network([*blocks, Dense(64, 10)], loss="cross_entropy")
    params, x, y = net.init(seed=rng), rng.uniform(-1, 1, (4, 16)), np.arange(4)
    size = {}
    for dtype in ("float32", "float64"):
        run = spc.gradient(net, astype(params, dtype), x.astype(dtype), y, inference_steps=48, step_size=0.1)
        size[dtype] = float(np.abs(run.errors[1]).max())
    return size["float32"], float(size["float64"] > 0)
