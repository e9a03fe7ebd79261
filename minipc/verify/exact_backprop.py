"""Claims: where predictive coding gives backprop's gradient, and where it does not."""

import numpy as np

from .. import epc
from .setting import ad, claim, network, oracle, rel, smooth, times


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
