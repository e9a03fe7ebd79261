"""Claims: where predictive coding gives backprop's gradient, and where it does not."""

import numpy as np

from .. import backprop, epc
from ..optim import SGD, Adam
from .setting import ad, claim, make, network, oracle, rel, smooth, times


@claim(
    "S25",
    "ePC.11",
    "one ePC step: e = -lam delta, dE/dW_1 = lam dLoss/dW_1, others + O(lam)",
    "autograd",
    1e-12,
)
def s25(rng):
    p = smooth(rng, precision=None)
    net = network(p)
    delta = oracle(ad.deltas, p, p.x, p.y, precision=False)
    loss = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    deviation = []
    for lam in (1e-4, 1e-5):
        g = epc.gradient(net, p.params, p.x, p.y, inference_steps=1, step_size=lam)
        error = max(
            rel(g.errors[1:-1], [-lam * d for d in delta[1:-1]]), rel(g.grads[:1], times(lam, loss[:1]))
        )
        deviation.append([rel(g.grads[1:-1], times(lam, loss[1:-1])), rel(g.grads[-1:], loss[-1:])])
    ratios = np.array(deviation[0]) / np.array(deviation[1])
    first_order = bool((abs(ratios / 10 - 1) < 0.2).all())
    return (error if first_order else np.inf), rel(g.grads[-1:], times(lam, loss[-1:]))


@claim(
    "S26",
    "ePC.11, ADAM.1-ADAM.4",
    "Adam's first update with one ePC step is that with backprop: 1 - cosine, per layer and in all",
    "the other rule",
    1e-3,
)
def s26(rng):  # lam |g| >> eps, and lam small enough that no entry changes its sign
    p = make(rng, activation="tanh", output="identity", precision=None, gain=0.7)
    top = {**p.params[-1], "W": 3 * p.params[-1]["W"]}  # gives the hidden layers a fair share of the gradient
    p = p._replace(params=[*p.params[:-1], top])
    net = network(p)
    bp = backprop.gradient(net, p.params, p.x, p.y)
    one = epc.gradient(net, p.params, p.x, p.y, inference_steps=1, step_size=1e-6)

    def updates(optimizer, g):
        mean = times(1 / len(p.x), g.grads)
        new, _ = optimizer.step(p.params, mean, optimizer.init(p.params))
        return [
            np.concatenate([(a[k] - b[k]).ravel() for k in a]) for a, b in zip(new, p.params, strict=True)
        ]

    def apart(optimizer):
        u, v = updates(optimizer, one), updates(optimizer, bp)
        pairs = [*zip(u, v, strict=True), (np.concatenate(u), np.concatenate(v))]
        return [1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]

    return max(apart(Adam(1e-3, eps=1e-16))), apart(SGD(1e-3))[-1]
