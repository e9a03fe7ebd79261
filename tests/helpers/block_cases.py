"""Blocks with random parameters and inputs that can show a bug: every block, and the sizes that go wrong.

A case is data; ``engine`` may be ``minipc`` or what ``minipc.mistakes.load`` returns. Images are never square,
channels, kernels and strides differ, windows overlap or leave pixels over, B is at least 2.
"""

from typing import NamedTuple

import numpy as np

from reference import block_oracles as bo


class Case(NamedTuple):
    """A block as [name, config], the shape of a sample at its input, the equations that it shows."""

    name: str
    config: dict
    in_shape: tuple
    equations: tuple


def _conv(C, C_out, k, size, **options):
    config = {"in_channels": C, "out_channels": C_out, "kernel_size": k, **options}
    return Case("Conv2d", config, (C, *size), ("CONV",))


def _dense(n_in, n_out, **options):
    return ["Dense", {"n_in": n_in, "n_out": n_out, **options}]


CONVOLUTIONS = {
    "3x3": _conv(2, 3, 3, (5, 4)),
    "3x3 padded, tanh": _conv(2, 3, 3, (5, 4), padding=1, activation="tanh"),
    "3x3 padded, pre": _conv(2, 3, 3, (4, 5), padding=1, activation="tanh", form="pre"),
    "1x1": _conv(3, 2, 1, (3, 4), activation="sigmoid"),
    "1x1, stride 2": _conv(2, 3, 1, (4, 5), stride=2, activation="gelu", form="pre"),
    "1x1, padded": _conv(2, 3, 1, (2, 3), padding=1),
    "2x2, stride 2, pixels left over": _conv(2, 3, 2, (5, 6), stride=2, activation="softplus"),
    "2x2, stride 3, gaps": _conv(3, 2, 2, (6, 8), stride=3, activation="tanh"),
    "3x3, stride 2, padded, left over": _conv(2, 3, 3, (6, 7), stride=2, padding=1, activation="gelu"),
    "3x3, stride 2, pre": _conv(3, 2, 3, (7, 5), stride=2, activation="gelu", form="pre"),
    "5x5, padded by 2": _conv(2, 2, 5, (4, 6), padding=2, activation="relu"),
    "4x4, padded beyond need": _conv(1, 2, 4, (3, 5), stride=2, padding=3, activation="leaky_relu"),
    "kernel as large as the image": _conv(2, 4, 3, (3, 3), activation="tanh"),
}
POOLINGS = {
    f"{name[:3]} {what}": Case(name, config, shape, ("POOL",))
    for name in ("MaxPool2d", "AvgPool2d")
    for what, config, shape in (
        ("2x2", {"kernel_size": 2}, (3, 4, 6)),
        ("2x2, pixels left over", {"kernel_size": 2}, (2, 5, 7)),
        ("3x3, overlapping", {"kernel_size": 3, "stride": 1}, (2, 5, 4)),
        ("3x3, stride 2, overlapping", {"kernel_size": 3, "stride": 2}, (2, 7, 6)),
        ("2x2, stride 3, gaps", {"kernel_size": 2, "stride": 3}, (2, 8, 6)),
        ("1x1, stride 2", {"kernel_size": 1, "stride": 2}, (2, 3, 4)),
        ("the whole image", {"kernel_size": 3}, (4, 3, 3)),
    )
}
DENSES = {
    "dense, no bias": Case(*_dense(3, 5, activation="tanh", bias=False), (3,), ("BP",)),
    "dense, scaled": Case(*_dense(3, 4, activation="gelu", scale=0.3), (3,), ("BP",)),
    "dense, scaled, pre": Case(*_dense(4, 3, activation="tanh", form="pre", scale=1.7), (4,), ("BP",)),
    "dense, scaled, pre, no bias": Case(
        *_dense(4, 3, activation="softplus", form="pre", scale=0.6, bias=False, init="normal"), (4,), ("BP",)
    ),
}
_TANH, _PRE = {"activation": "tanh"}, {"activation": "tanh", "form": "pre"}
_INNER = {"blocks": [_dense(3, 5, **_TANH), _dense(5, 3)], "skip": 0.7}
RESIDUALS = {
    "residual, dense": Case("Residual", {"blocks": [_dense(4, 6, **_TANH), _dense(6, 4)]}, (4,), ("RES",)),
    "residual, one block, pre": Case(
        "Residual", {"blocks": [_dense(3, 3, **_PRE)], "skip": -1.3}, (3,), ("RES",)
    ),
    "residual, nested": Case(
        "Residual",
        {"blocks": [_dense(4, 3, **_TANH), ["Residual", _INNER], _dense(3, 4, **_PRE)], "skip": 0.5},
        (4,),
        ("RES",),
    ),
    "residual, images": Case(
        "Residual",
        {
            "blocks": [
                ["Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": 1, **_TANH}],
                ["LayerNorm", {"shape": [3, 3, 4]}],
                ["Conv2d", {"in_channels": 3, "out_channels": 2, "kernel_size": 1}],
            ],
            "skip": 1.0,
        },
        (2, 3, 4),
        ("RES",),
    ),
    "residual, batch norm inside": Case(
        "Residual",
        {"blocks": [["BatchNorm2d", {"channels": 2}], ["MaxPool2d", {"kernel_size": 1}]], "skip": 1.6},
        (2, 3, 4),
        ("RES",),
    ),
}
NORMS = {
    "layer norm": Case("LayerNorm", {"shape": [5]}, (5,), ("LN",)),
    "layer norm, images, large eps": Case("LayerNorm", {"shape": [2, 3, 4], "eps": 0.3}, (2, 3, 4), ("LN",)),
    "batch norm": Case("BatchNorm2d", {"channels": 3}, (3, 2, 4), ("BN",)),
    "batch norm, large eps": Case("BatchNorm2d", {"channels": 2, "eps": 0.5}, (2, 3, 3), ("BN",)),
    "batch norm, frozen": Case("BatchNorm2d", {"channels": 3, "statistics": "frozen"}, (3, 2, 4), ("BN",)),
}
FLAT = {"flatten": Case("Flatten", {}, (2, 3, 4), ())}
EMBEDDINGS = {
    "embedding": Case("Embedding", {"vocabulary": 4, "width": 3}, (), ("EMB",)),
    "embedding of sequences": Case("Embedding", {"vocabulary": 3, "width": 2}, (5,), ("EMB",)),
    "embedding of tables": Case("Embedding", {"vocabulary": 5, "width": 3}, (2, 3), ("EMB",)),
}
CASES = {**CONVOLUTIONS, **POOLINGS, **DENSES, **RESIDUALS, **NORMS, **FLAT, **EMBEDDINGS}
NUMBERS = {name: case for name, case in CASES.items() if case.name != "Embedding"}  # inputs with a derivative
WEIGHTED = {
    name: case for name, case in CASES.items() if case.name not in ("MaxPool2d", "AvgPool2d", "Flatten")
}
SAMPLEWISE = {  # all but those that normalise over the batch
    name: case for name, case in CASES.items() if "batch norm" not in name or "frozen" in name
}
PIECEWISE_LINEAR = {  # J does not change with the input
    name
    for name, case in NUMBERS.items()
    if case.name in ("MaxPool2d", "AvgPool2d", "Flatten")
    or "frozen" in name
    or (
        case.name == "Conv2d"
        and case.config.get("activation", "identity") in ("identity", "relu", "leaky_relu")
    )
}
STATISTICS = ("mean", "var")  # parameters without a gradient


class Setting(NamedTuple):
    """A case with arrays: the block of an engine, [name, config] for the oracle, parameters, input, vectors."""

    block: object
    pair: tuple
    p: dict
    s: np.ndarray  # (B, *in_shape)
    v: np.ndarray  # (B, *out_shape)
    s_dot: np.ndarray
    p_dot: dict

    @property
    def learnt(self):
        """Names of the parameters that have a gradient."""
        return [name for name in self.p if name.split(".")[-1] not in STATISTICS]


def setting(case, engine, seed=0, B=3):
    """Random arrays for a case; no parameter is zero, biases and shifts included. No two entries are equal."""
    rng = np.random.default_rng(seed)
    block = engine.registry.build(case.name, case.config)
    p = {name: rng.standard_normal(shape) for name, shape in block.shapes.items()}
    p_dot = {name: rng.standard_normal(shape) for name, shape in block.shapes.items()}
    for name in p:
        last = name.split(".")[-1]
        if last == "var":
            p[name] = 0.5 + p[name] ** 2
        if last in STATISTICS:
            p_dot[name] = 0 * p_dot[name]  # no weights: no tangent
        if last == "W" and p[name].ndim > 1:
            p[name] = p[name] / p[name][0].size ** 0.5
    if "relu" in case.config.get("activation", ""):
        p["b"] = abs(p["b"]) + 0.5  # so that no channel is dead
    if case.name == "Embedding":
        s, s_dot = rng.integers(0, case.config["vocabulary"], (B + 2, *case.in_shape)), None
        s[:2] = 1  # an index that is met more than once
    else:
        s, s_dot = (rng.standard_normal((B, *case.in_shape)) for _ in range(2))
    v = rng.standard_normal((len(s), *block.out_shape(case.in_shape)))
    return Setting(block, (case.name, case.config), p, s, v, s_dot, p_dot)


def expected_vjp(c):
    """(J^T v or None, gradient of the learnt parameters), by autograd."""
    down = None if c.s_dot is None else bo.vjp_input(c.pair, c.p, c.s, c.v)
    g = bo.vjp_params(c.pair, c.p, c.s, c.v) if c.learnt else {}
    return down, {name: g[name] for name in c.learnt}


def actual_vjp(c):
    """The same two of the block."""
    down, grads = c.block.vjp(c.p, c.block.forward(c.p, c.s)[1], c.v, input=c.s_dot is not None, params=True)
    return down, {name: grads[name] for name in c.learnt}


def expected_jvp(c):
    """[tangent along the input alone, along input and parameters], by autograd."""
    both = [bo.jvp(c.pair, c.p, c.s, c.s_dot, c.p_dot)] if c.learnt else []
    return both if c.s_dot is None else [bo.jvp(c.pair, c.p, c.s, c.s_dot), *both]


def actual_jvp(c):
    """The same of the block."""
    _, tape = c.block.forward(c.p, c.s)
    both = [c.block.jvp(c.p, tape, c.s_dot, c.p_dot)] if c.learnt else []
    return both if c.s_dot is None else [c.block.jvp(c.p, tape, c.s_dot), *both]
