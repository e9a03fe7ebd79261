"""Claims: what is clamped, what is summed, what a sample may see of the others."""

import numpy as np

from .. import epc, mistakes, spc, variants
from ..blocks import Dense
from ..data import digits
from ..network import Network
from ..optim import SGD
from ..train import accuracy
from .setting import claim, flat, make, network, rel


@claim("S35", "sPC.2, sPC.4", "output free: the feedforward pass has E = 0 and no gradient", "identity", 0)
def s35(rng):
    p = make(rng)
    net = network(p)
    s = spc.feedforward(net, p.params, p.x)
    e = epc.feedforward(net, p.params, p.x)
    values = [
        spc.energy(net, p.params, s, None, p.precision),
        epc.energy(net, p.params, e, p.x, None, p.precision),
        *spc.activity_gradient(net, p.params, s, None, p.precision)[1:],
        *epc.error_gradient(net, p.params, e, p.x, None, p.precision)[1:],
    ]
    return max(float(np.abs(v).max()) for v in values), float(
        spc.energy(net, p.params, s, p.y, p.precision).min()
    )


@claim(
    "S36",
    "sPC.5, sPC.6",
    "three copies of a sample: three times the gradient, the same states",
    "identity",
    1e-12,
)
def s36(rng):
    p = make(rng, loss="mse")
    p = p._replace(y=p.y + network(p).forward(p.params, p.x))  # an output error of order one

    def deviation(rule, engine=None, **options):
        net = network(p, engine)
        one = rule.gradient(net, p.params, p.x[:1], p.y[:1], p.precision, **options)
        x, y = np.repeat(p.x[:1], 3, axis=0), np.repeat(p.y[:1], 3, axis=0)
        three = rule.gradient(net, p.params, x, y, p.precision, **options)
        top = rel(three.errors[-2], np.repeat(one.errors[-2], 3, axis=0))  # of the layer that moves first
        same = [rel(a, np.repeat(b, 3, axis=0)) for a, b in zip(three.states, one.states, strict=True)]
        g, expected = flat(three.grads), 3 * flat(one.grads)
        size = np.linalg.norm(expected) + 1e-3 * sum(
            (s * s).sum() for s in three.states
        )  # errors times states
        difference = np.linalg.norm(g - expected) / size
        return max(difference, *same), top

    wrong = mistakes.load("the energy is a batch mean during inference")
    fixed = {"inference_steps": 5, "step_size": 0.1}
    error = max(deviation(spc, **fixed)[0], deviation(epc, inference_steps=5)[0])
    return error, deviation(wrong.spc, wrong, **fixed)[1]


@claim(
    "S38",
    "sPC.13",
    "iPC: both gradients from one state; with weights that stay it is sPC",
    "sPC, step by step",
    1e-13,
)
def s38(rng):
    p = make(rng, activation="tanh", output="identity", depth=(3, 4), precision="diagonal", gain=0.8)
    lam, N = 0.2, 4
    net, B = network(p), len(p.x)
    steps = {"inference_steps": N, "step_size": lam, "precision": p.precision}
    run = {"optimizer": SGD(1e-300), "state": None, **steps}  # too small to change any weight
    still, _, g = variants.incremental(net, p.params, p.x, p.y, **run)
    plain = spc.gradient(net, p.params, p.x, p.y, **steps)
    error = max(rel(still, p.params), rel(g.states, plain.states), rel(flat(g.grads), flat(plain.grads)))

    def replay(eta):
        """The joint steps by the verbs of sPC: gradients of the same states and weights, then both move."""
        s, params = spc.feedforward(net, p.params, p.x), p.params
        for _ in range(N):
            slope = spc.activity_gradient(net, params, s, p.y, p.precision)
            grads = spc.weight_gradient(net, params, s, p.y, p.precision)
            s = [p.x, *(v - lam * d for v, d in zip(s[1:], slope[1:], strict=True))]
            params = [{k: q[k] - eta / B * h[k] for k in q} for q, h in zip(params, grads, strict=True)]
        return [
            flat(params) - flat(p.params),
            s,
        ]  # what the weights have gained: the lower ones little as yet

    def joint(rooms, net, optimizer):
        params, _, g = rooms.incremental(net, p.params, p.x, p.y, **{**run, "optimizer": optimizer})
        return [flat(params) - flat(p.params), g.states]

    expected = replay(0.1)
    wrong = mistakes.load("the weights take their gradient from the new states")
    late = joint(wrong.variants, network(p, wrong), wrong.optim.SGD(0.1))
    return max(error, rel(joint(variants, net, SGD(0.1)), expected)), rel(late, expected)


@claim(
    "S44",
    "sPC.2, ePC.2",
    "labels clamped at test time leak: an untrained net knows all digits",
    "misuse, on real digits",
    0.01,
    trials=3,
)
def s44(rng):
    d = digits()
    net = Network(
        [Dense(64, 64, "tanh"), Dense(64, 64, "tanh"), Dense(64, 10, gain=2.0)], loss="cross_entropy"
    )
    params, labels = net.init(seed=rng), d.y_test

    def wrong(rule, **options):
        """Share of wrong answers, read off the output after inference with the label of the test clamped."""
        run = rule.gradient(net, params, d.x_test, labels, inference_steps=40, **options)
        output, _ = net.blocks[-1].forward(params[-1], run.states[-1])
        return float((output.argmax(axis=1) != labels).mean())

    leak = max(wrong(spc, step_size=0.1), wrong(epc))
    return leak, 1 - accuracy(net, params, d.x_test, labels)  # the honest test: a plain forward pass
