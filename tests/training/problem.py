"""Small problems for the training loop, and a rule that writes down how it was called."""

import numpy as np

import minipc as pc
from minipc import backprop, epc, spc

RULES = {"backprop": backprop.gradient, "spc": spc.gradient, "epc": epc.gradient}
NET = pc.Network([pc.Dense(4, 6, "tanh"), pc.Dense(6, 5, "gelu"), pc.Dense(5, 3)], loss="cross_entropy")
PARAMS = NET.init(seed=3)
RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((5, 4)), np.array([0, 2, 1, 1, 2])


def train(rule=backprop.gradient, params=PARAMS, data=(X, Y), **options):
    """fit on five samples, two a batch; parameters and history."""
    options = {
        "optimizer": pc.SGD(0.1),
        "epochs": 2,
        "batch_size": 2,
        "seed": 0,
        "progress": False,
        **options,
    }
    return pc.fit(NET, params, data, rule=rule, **options)


def flat(params):
    """All parameters in one vector."""
    return np.concatenate([value.ravel() for p in params for value in p.values()])


class Spy:
    """A rule that passes on to backprop and keeps parameters, batches and options of every call."""

    def __init__(self):
        self.calls = []

    def __call__(self, net, params, x, y, **options):
        self.calls.append((params, x, y, options))
        return backprop.gradient(net, params, x, y)
