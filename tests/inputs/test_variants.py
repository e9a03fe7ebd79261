"""Options of the variants, and graphs that are none: each refusal names what is wrong, before any work."""

import numpy as np
import pytest

import minipc as pc
from inputs.setting import CLASSES, LABELS, NET, PARAMS, SGD, E, S, X, Y
from minipc import dag, variants

POSITIVE = "must be positive and finite, got"
RULES = ("top_down", "momentum", "fixed_prediction", "pc_alm", "target_interpolation", "nudged", "centred")
NUDGES = ("target_interpolation", "nudged", "centred")


def rule(name, *args, **options):
    """A rule on the network of the setting; the nudges with their beta."""
    beta = {"beta": 0.5} if name in NUDGES else {}
    return getattr(variants, name)(NET, PARAMS, *(args or (X, Y)), **{**beta, **options})


def joint(**options):
    """Incremental steps."""
    return variants.incremental(NET, PARAMS, X, Y, **{"optimizer": SGD, "state": None, **options})


def newton(net=NET, y=Y, precision=None):
    """A Newton step."""
    return variants.newton_step(net, PARAMS, S, y, precision)


def a(n_in, n_out):
    """A block."""
    return pc.Dense(n_in, n_out)


THREE = [a(2, 3), a(5, 4), a(7, 1)]
WIRED = [(0,), (0, 1), (1, 2)]

OPTIONS = {
    **{
        f"{name}, step_size 0": (
            lambda name=name: rule(name, step_size=0),
            ValueError,
            f"step_size {POSITIVE} 0",
        )
        for name in RULES
    },
    **{
        f"{name}, a word": (
            lambda name=name: rule(name, step_size="adaptive"),
            ValueError,
            "step_size must be a positive number; got 'adaptive'",
        )
        for name in RULES
    },
    **{
        f"{name}, half a step": (
            lambda name=name: rule(name, inference_steps=1.5),
            TypeError,
            "inference_steps must be an integer, got 1.5",
        )
        for name in RULES
    },
    **{
        f"{name}, x of another width": (
            lambda name=name: rule(name, X[:, :3], Y),
            ValueError,
            r"x must have shape \(B, 4\)",
        )
        for name in RULES
    },
    **{
        f"{name}, beta 0": (
            lambda name=name: rule(name, beta=0),
            ValueError,
            "beta must be finite and .*got 0",
        )
        for name in NUDGES
    },
    **{
        f"{name}, beta NaN": (
            lambda name=name: rule(name, beta=np.nan),
            ValueError,
            "beta must be finite and .*got nan",
        )
        for name in NUDGES
    },
    **{
        f"{name}, beta text": (
            lambda name=name: rule(name, beta="0.5"),
            TypeError,
            "beta must be a number, got '0.5'",
        )
        for name in NUDGES
    },
    "centred, beta negative": (
        lambda: rule("centred", beta=-0.5),
        ValueError,
        "beta must be finite and positive, got -0.5",
    ),
    "nudged, beta infinite": (
        lambda: rule("nudged", beta=-np.inf),
        ValueError,
        "beta must be finite and not zero, got -inf",
    ),
    "momentum 1": (
        lambda: rule("momentum", momentum=1.0),
        ValueError,
        r"momentum must lie in \[0, 1\), got 1.0",
    ),
    "momentum negative": (
        lambda: rule("momentum", momentum=-0.1),
        ValueError,
        r"momentum must lie in \[0, 1\), got -0.1",
    ),
    "momentum NaN": (
        lambda: rule("momentum", momentum=np.nan),
        ValueError,
        r"momentum must lie in .*got nan",
    ),
    "momentum bool": (
        lambda: rule("momentum", momentum=True),
        TypeError,
        "momentum must be a number, got True",
    ),
    "dual_step negative": (
        lambda: rule("pc_alm", dual_step=-0.1),
        ValueError,
        "dual_step must be finite and not negative, got -0.1",
    ),
    "dual_step NaN": (
        lambda: rule("pc_alm", dual_step=np.nan),
        ValueError,
        "dual_step must be finite and not negative, got nan",
    ),
    "dual_step None": (
        lambda: rule("pc_alm", dual_step=None),
        TypeError,
        "dual_step must be a number, got None",
    ),
    "penalty 0": (lambda: rule("pc_alm", penalty=0), ValueError, f"penalty {POSITIVE} 0"),
    "penalty text": (lambda: rule("pc_alm", penalty="1"), TypeError, "penalty must be a number, got '1'"),
    "an optimizer that is a class": (
        lambda: joint(optimizer=pc.SGD),
        TypeError,
        r"optimizer must be one such as minipc\.SGD\(1e-3\), got <class",
    ),
    "an optimizer that is a number": (lambda: joint(optimizer=0.1), TypeError, "optimizer must be .*got 0.1"),
    "no optimizer": (lambda: joint(optimizer=None), TypeError, "optimizer must be .*got None"),
    "Z-IL with precisions": (
        lambda: variants.z_il(NET, PARAMS, X, Y, [1.0] * 3),
        TypeError,
        "takes 4 positional arguments but 5 were given",
    ),
    "Newton for cross-entropy": (
        lambda: newton(CLASSES, LABELS),
        ValueError,
        "newton_step needs loss = mse, got cross_entropy",
    ),
    "Newton without a target": (lambda: newton(y=None), ValueError, "newton_step needs a target y, got None"),
    "Newton with a precision matrix": (
        lambda: newton(precision=[None, np.eye(5), None]),
        ValueError,
        r"Pi\[2\] must be a number or a diagonal for newton_step, got the shape \(5, 5\)",
    ),
    "precisions that are not positive": (
        lambda: variants.full_energy(NET, PARAMS, S, Y, [1.0, -1.0, None]),
        ValueError,
        r"Pi\[2\] must be positive, got -1",
    ),
    "a precision for the logits": (
        lambda: variants.precision_gradient(CLASSES, PARAMS, S, LABELS, [None, None, 1.0]),
        ValueError,
        r"Pi\[3\] must be None: cross_entropy has no output precision",
    ),
}

GRAPHS = {
    "no block": (lambda: pc.Dag([], []), ValueError, "at least one block, got an empty list"),
    "a block alone": (lambda: pc.Dag(a(2, 3), [(0,)]), TypeError, "blocks must be a list.*got Dense"),
    "parents as a dict": (lambda: pc.Dag(THREE, {1: (0,)}), TypeError, "parents must be a list.*got dict"),
    "too few parents": (
        lambda: pc.Dag(THREE, WIRED[:2]),
        ValueError,
        "parents must have 3 entries, one a block, got 2",
    ),
    "something that is no block": (
        lambda: pc.Dag([a(2, 3), "tanh"], [(0,), (1,)]),
        TypeError,
        "block 2 must be a Dense block, got 'tanh'",
    ),
    "a cycle": (
        lambda: pc.Dag([a(2, 3), a(4, 4), a(4, 1)], [(0,), (2,), (2,)]),
        ValueError,
        r"the parents of node 2 must come before it \(no cycles\): 0\.\.1; got 2",
    ),
    "a child before its parent": (
        lambda: pc.Dag([a(3, 3), a(2, 3), a(3, 1)], [(2,), (0,), (1,)]),
        ValueError,
        r"the parents of node 1 must come before it \(no cycles\): 0\.\.0; got 2",
    ),
    "a node without parents": (
        lambda: pc.Dag(THREE, [(0,), (), (1, 2)]),
        TypeError,
        r"the parents of node 2 must be a tuple of one or more node numbers, got \(\)",
    ),
    "a number for a tuple": (
        lambda: pc.Dag([a(2, 3), a(3, 1)], [0, 1]),
        TypeError,
        "the parents of node 1 must be a tuple of one or more node numbers, got 0",
    ),
    "a negative node": (
        lambda: pc.Dag([a(2, 3), a(3, 1)], [(0,), (-1,)]),
        ValueError,
        "a parent of node 2 must not be negative, got -1",
    ),
    "half a node": (
        lambda: pc.Dag([a(2, 3), a(3, 1)], [(0,), (0.5,)]),
        TypeError,
        "a parent of node 2 must be an integer, got 0.5",
    ),
    "a parent twice": (
        lambda: pc.Dag([a(2, 3), a(6, 1)], [(0,), (1, 1)]),
        ValueError,
        r"node 2 must have each parent once, got \(1, 1\)",
    ),
    "a node without a child": (
        lambda: pc.Dag([a(2, 3), a(2, 4), a(4, 1)], [(0,), (0,), (2,)]),
        ValueError,
        "node 1 has no child; only the output, node 3, has none",
    ),
    "widths that do not fit": (
        lambda: pc.Dag([a(2, 3), a(4, 4), a(7, 1)], WIRED),
        ValueError,
        r"block 2 must take n_in = 2 \+ 3 = 5, the states of its parents \(0, 1\); got n_in = 4",
    ),
    "an unknown loss": (lambda: pc.Dag(THREE, WIRED, "hinge"), ValueError, "loss must be one of .*'hinge'"),
    "parameters of another graph": (
        lambda: dag.gradient(pc.Dag(NET.blocks, [(0,), (1,), (2,)]), PARAMS[:2], X, Y),
        ValueError,
        "params must have 3 dicts",
    ),
    "errors of another width": (
        lambda: dag.energy(pc.Dag(NET.blocks, [(0,), (1,), (2,)]), PARAMS, [None, E[2], E[1]], X, Y),
        ValueError,
        r"e\[1\] must have shape \(2, 6\), got \(2, 5\)",
    ),
    "a word for the step": (
        lambda: dag.gradient(pc.Dag(NET.blocks, [(0,), (1,), (2,)]), PARAMS, X, Y, step_size="adaptive"),
        ValueError,
        "step_size must be a positive number; got 'adaptive'",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_of_variants_are_refused(name, no_work):
    """Options, data, precisions."""
    call, error, message = OPTIONS[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", GRAPHS)
def test_bad_graphs_are_refused(name, no_work):
    """Order, parents, widths, data."""
    call, error, message = GRAPHS[name]
    with pytest.raises(error, match=message):
        call()


def test_newton_takes_dense_blocks_only(monkeypatch, no_work):
    """Another block has another curvature."""
    monkeypatch.setattr(variants, "Dense", int)
    with pytest.raises(TypeError, match="newton_step needs Dense blocks, got Dense as block 1"):
        newton()


def test_numpy_numbers_are_numbers():
    """Options may come from arrays; float32 stays float32."""
    params = [{k: v.astype(np.float32) for k, v in p.items()} for p in PARAMS]
    for name, options in {
        "momentum": {"momentum": np.float64(0.5)},
        "pc_alm": {"penalty": np.float64(1.0), "dual_step": np.float64(0.5)},
        "nudged": {"beta": np.float64(0.5)},
        "centred": {"beta": np.float64(0.5)},
        "target_interpolation": {"beta": np.float64(0.5)},
    }.items():
        g = getattr(variants, name)(
            NET, params, X, Y, step_size=np.float64(0.1), inference_steps=np.int64(3), **options
        )
        assert g.grads[0]["W"].dtype == g.energy.dtype == g.residual.dtype == np.float32
