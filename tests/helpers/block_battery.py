"""The checks of the block equations, for the battery: what an engine says beside what an oracle says, on every case.

The problem of the battery only seeds the arrays here: blocks bring their own sizes.
"""

from functools import partial

import numpy as np

from reference import block_oracles as bo
from reference import index_loops as loops

from .block_cases import (
    CONVOLUTIONS,
    DENSES,
    EMBEDDINGS,
    NORMS,
    POOLINGS,
    RESIDUALS,
    actual_jvp,
    actual_vjp,
    expected_jvp,
    expected_vjp,
    setting,
)


def settings(cases, engine, p):
    """The cases with arrays that are drawn anew for every problem."""
    seed = int(1e6 * abs(p.x[0, 0]))
    return [setting(case, engine, seed) for case in cases]


def forward(cases, engine, p):
    """The map itself."""
    found = settings(cases, engine, p)
    return [c.block.forward(c.p, c.s)[0] for c in found], [bo.predict(c.pair, c.p, c.s) for c in found]


def backward(cases, half, engine, p):
    """J^T v (``half`` 0) or the gradient of the parameters (1)."""
    found = settings(cases, engine, p)
    return [actual_vjp(c)[half] for c in found], [expected_vjp(c)[half] for c in found]


def tangents(cases, engine, p):
    """Forward mode."""
    found = settings(cases, engine, p)
    return [actual_jvp(c) for c in found], [expected_jvp(c) for c in found]


def pooled(cases, engine, p):
    """J^T v and J u of a pool, by loops over windows; rounded inputs, so that pixels are equal."""
    actual, expected = [], []
    for c in settings(cases, engine, p):
        s, k = np.round(c.s), c.block.kernel_size
        _, tape = c.block.forward(c.p, s)
        loop = loops.max_pool if c.pair[0] == "MaxPool2d" else loops.mean_pool
        down = loop(s, c.v, k, c.block.stride)[1]
        up = (c.v * c.block.jvp(c.p, tape, c.s_dot)).sum()
        actual.append([c.block.vjp(c.p, tape, c.v)[0], np.array([up])])
        expected.append([down, np.array([(down * c.s_dot).sum()])])  # <v, J u> = <J^T v, u>
    return actual, expected


def of(cases, name):
    """The cases of one block."""
    return [case for case in cases.values() if case.name == name]


def frozen(wanted):
    """The batch normalisations with given statistics, or those without."""
    return [case for case in of(NORMS, "BatchNorm2d") if ("statistics" in case.config) == wanted]


_CONV = [  # small ones of each kind; test_blocks.py has them all
    CONVOLUTIONS[name]
    for name in ("3x3 padded, pre", "1x1, stride 2", "2x2, stride 3, gaps", "kernel as large as the image")
]
_RES = [RESIDUALS[name] for name in ("residual, dense", "residual, one block, pre", "residual, nested")]
_EMB, _LAYER = list(EMBEDDINGS.values()), of(NORMS, "LayerNorm")


def faces(cases, engine, p):
    """Every face of the cases in one check."""
    pairs = [forward(cases, engine, p), tangents(cases, engine, p)]
    pairs += [backward(cases, half, engine, p) for half in (0, 1)]
    return [a for a, _ in pairs], [e for _, e in pairs]


def downwards(cases, engine, p):
    """J^T v and the gradient of the parameters."""
    pairs = [backward(cases, half, engine, p) for half in (0, 1)]
    return [a for a, _ in pairs], [e for _, e in pairs]


def mupc(engine, p):
    """(sPC.18), (sPC.19) of five blocks, as wide at the output as inside: predictions, dE/ds and dE/dW, by autograd."""
    rng = np.random.default_rng(int(1e6 * abs(p.x[0, 0])))
    actual, expected = [], []
    for loss, activation in (("mse", "tanh"), ("cross_entropy", "gelu")):
        net = engine.architectures.mupc(3, 6, 6, depth=5, activation=activation, loss=loss)
        W = [rng.standard_normal(shape) for shape in ((6, 3), *[(6, 6)] * 4)]
        params = [dict.fromkeys(block.shapes, w) for block, w in zip(net.blocks, W, strict=True)]
        s = [rng.standard_normal((3, n)) for n in (3, 6, 6, 6, 6)]
        y = rng.dirichlet(np.ones(6), size=3)
        now = engine.spc.errors(net, params, s, y)
        predictions = [*(v - eps for v, eps in zip(s[1:], now.eps[1:], strict=False)), now.yhat]
        grads = engine.spc.weight_gradient(net, params, s, y)
        actual.append(
            [predictions, engine.spc.activity_gradient(net, params, s, y), [[*g.values()] for g in grads]]
        )
        dE_ds, dE_dW = bo.mupc_energy_gradient(W, s, y, loss, activation)
        expected.append([bo.mupc_predictions(W, s, activation), dE_ds, [[g] for g in dE_dW]])
    return actual, expected


def fixed_factors(engine, p):
    """Dense blocks with a factor and without bias, alone and in the network that they are for."""
    alone, together = faces(list(DENSES.values()), engine, p), mupc(engine, p)
    return [alone[0], together[0]], [alone[1], together[1]]


BLOCK_CHECKS = {
    **dict.fromkeys(("CONV.1", "CONV.5"), partial(forward, _CONV)),
    "CONV.2": partial(backward, _CONV, 0),
    "CONV.3": partial(backward, _CONV, 1),
    "CONV.4": partial(tangents, _CONV),
    "POOL.1": partial(forward, of(POOLINGS, "MaxPool2d")),
    "POOL.2": partial(pooled, of(POOLINGS, "MaxPool2d")),
    "POOL.3": partial(forward, of(POOLINGS, "AvgPool2d")),
    "POOL.4": partial(pooled, of(POOLINGS, "AvgPool2d")),
    "EMB.1": partial(forward, _EMB),
    "EMB.2": partial(backward, _EMB, 1),
    "RES.1": partial(forward, _RES),
    "RES.2": partial(downwards, _RES),
    "RES.3": partial(tangents, _RES),
    "LN.1": partial(forward, _LAYER),
    "LN.2": partial(backward, _LAYER, 0),
    "LN.3": partial(backward, _LAYER, 1),
    "LN.4": partial(tangents, _LAYER),
    "BN.1": partial(forward, frozen(False)),
    "BN.2": partial(backward, frozen(False), 0),
    "BN.3": partial(backward, list(NORMS.values()), 1),
    "BN.4": partial(faces, frozen(True)),
    "sPC.18": fixed_factors,
    "sPC.19": mupc,
}
