"""One small network, its parameters and data, and short ways to call every entrance with something wrong."""

import numpy as np

import minipc as pc
from minipc import backprop, epc, spc

NET = pc.Network([pc.Dense(4, 6, "tanh"), pc.Dense(6, 5, "tanh"), pc.Dense(5, 3)])
CLASSES = pc.Network(NET.blocks, loss="cross_entropy")
SWITCHES = pc.Network(NET.blocks, loss="binary_cross_entropy")
RNG = np.random.default_rng(0)
PARAMS = NET.init(seed=0)
X, Y = RNG.standard_normal((2, 4)), RNG.standard_normal((2, 3))
LABELS, ROWS = np.array([0, 2]), np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
S = [X, RNG.standard_normal((2, 6)), RNG.standard_normal((2, 5))]
E = [None, *S[1:]]
SGD = pc.SGD(0.1)


def float32(params):
    """Parameters in float32."""
    return [{name: value.astype(np.float32) for name, value in p.items()} for p in params]


def replaced(l, name, value):
    """The parameters with one array of layer ``l`` = 1, 2, 3 replaced."""
    return [{**p, name: value} if i == l else p for i, p in enumerate(PARAMS, start=1)]


def regression(params=PARAMS, x=X, y=Y):
    """backprop with squared error."""
    return backprop.gradient(NET, params, x, y)


def classification(y=LABELS, params=PARAMS, x=X):
    """backprop with cross-entropy."""
    return backprop.gradient(CLASSES, params, x, y)


def states(precision=None, net=NET, y=Y, **options):
    """sPC with options."""
    return spc.gradient(net, PARAMS, X, y, precision, **options)


def errors(precision=None, **options):
    """ePC with options."""
    return epc.gradient(NET, PARAMS, X, Y, precision, **options)


def train(data=(X, Y), rule=spc.gradient, optimizer=SGD, **options):
    """fit with options."""
    return pc.fit(NET, PARAMS, data, rule=rule, optimizer=optimizer, progress=False, **options)
