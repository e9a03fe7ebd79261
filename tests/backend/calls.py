"""Every public rule and verb as a call on one problem: the list over which the backend tests run.

The keys are the names of the functions in ``minipc``, with the setting after a comma; a test asserts that no
public function is missing.
"""

from collections.abc import Callable
from itertools import pairwise
from numbers import Integral
from typing import NamedTuple

import numpy as np

import minipc as pc
from minipc import backprop, dag, epc, functions, spc, variants
from reference.problems import astype, make

SETTINGS = {
    "no precision": {"loss": "cross_entropy", "form": "post", "precision": None},
    "numbers": {"loss": "mse", "form": "pre", "precision": "scalar"},
    "diagonals": {"loss": "cross_entropy", "form": "pre", "precision": "diagonal"},
    "matrices": {"loss": "mse", "form": "post", "precision": "full"},
}
FIVE = {"inference_steps": 5, "step_size": 0.05}  # stable in every setting


class Call(NamedTuple):
    """A public function on a network and a problem.

    ``checks`` is how often the host waits for the device when precisions are None or numbers. Each precision
    that is an array costs one more wait, wherever it is handed in: it is checked on the host, once a call.
    """

    run: Callable  # (net, problem) -> nested arrays
    checks: int = 0
    weighs: bool = True  # takes precisions
    settings: tuple = tuple(SETTINGS)


def setting(name, dtype=float):
    """Network and problem: depth 3, batch 2, widths all different, nothing linear.

    In another dtype the precisions stay float64: the rules bring them to the dtype of the parameters.
    """
    p = make(
        np.random.default_rng(5), sizes=(4, 6, 5, 3), B=2, activation="tanh", output="gelu", **SETTINGS[name]
    )
    widths = zip(pairwise(p.sizes), p.layers, strict=True)
    blocks = [pc.Dense(n_in, n_out, kind, form=form) for (n_in, n_out), (kind, form) in widths]
    moved = astype(p, dtype)._replace(precision=p.precision)
    return pc.Network(blocks, p.loss), moved


def _verb(rule, name, *fields, **options):
    """A verb of sPC or ePC on the problem's own states or errors."""
    return lambda net, p: getattr(rule, name)(
        net, p.params, *(getattr(p, field) for field in fields), p.precision, **options
    )


def _block(net, p):
    """Forward, both directions back and both forward of the middle block, at states that are no forward pass."""
    block, q = net.blocks[1], p.params[1]
    mu, tape = block.forward(q, p.s[1])
    return mu, tape, block.vjp(q, tape, p.s[2]), block.jvp(q, tape, p.e[1]), block.jvp(q, tape, p.e[1], q)


def _two_steps(optimizer):
    """Parameters and state after two updates with different gradients."""

    def run(net, p):
        params, state = optimizer.step(p.params, p.params, optimizer.init(p.params))
        return optimizer.step(params, [{k: 2 * v * v for k, v in q.items()} for q in p.params], state)

    return run


def _fit(net, p):
    """Parameters after one epoch of two batches; the history is on the host by design."""
    options = {
        "rule": spc.gradient,
        "optimizer": pc.SGD(0.1),
        "epochs": 1,
        "batch_size": 1,
        "progress": False,
    }
    return pc.fit(net, p.params, (p.x, p.y), **options, precision=p.precision, **FIVE)[0]


def _largest(net, p):
    return epc.largest_eigenvalue(net, p.params, p.e, p.x, p.y, p.precision, iterations=3)


def _elementwise(function, *fields):
    """A function of :mod:`minipc.functions` on outputs, targets or states of the problem."""
    at = {
        "a": lambda p: p.s[2],
        "yhat": lambda p: p.s[2][:, :3],
        "y": lambda p: p.y,
        "v": lambda p: p.e[2][:, :3],
    }
    return Call(
        lambda net, p: function(*(at[field](p) for field in fields)), weighs=False, settings=("numbers",)
    )


def _functions():
    """Every activation, its derivatives, every loss, error and curvature."""
    calls = {}
    for f in functions.ACTIVATIONS.values():
        calls[f"functions.{f.phi.__name__}"] = _elementwise(f.phi, "a")
        calls[f"functions.{f.dphi.__name__}"] = _elementwise(lambda a, f=f: f.dphi(a, f.phi(a)), "a")
        calls[f"functions.{f.d2phi.__name__}"] = _elementwise(lambda a, f=f: f.d2phi(a, f.phi(a)), "a")
    for f in functions.LOSSES.values():
        calls[f"functions.{f.value.__name__}"] = _elementwise(f.value, "yhat", "y")
        calls[f"functions.{f.error.__name__}"] = _elementwise(f.error, "yhat", "y")
        calls[f"functions.{f.curvature.__name__}"] = _elementwise(f.curvature, "yhat", "v")
    calls["functions.log_softmax"] = _elementwise(functions.log_softmax, "yhat")
    calls["functions.softmax"] = _elementwise(functions.softmax, "yhat")
    return calls


def _incremental(net, p):
    """Parameters, and the gradient at the end, after joint steps."""
    options = {"optimizer": pc.SGD(0.1), "state": None, "precision": p.precision, **FIVE}
    new, _, g = variants.incremental(net, p.params, p.x, p.y, **options)
    return new, g


def _newton(net, p):
    """A Newton step near zero, where this problem is convex along every unit."""
    s = [p.x, *(0.1 * v for v in p.s[1:])]
    return variants.newton_step(net, p.params, s, 0.1 * p.y, p.precision)


def _kinds(name):
    """A verb of learned precisions; where the problem has none, ones are learned."""
    return lambda net, p: getattr(variants, name)(net, p.params, p.s, p.y, p.precision or [1.0, 1.0, None])


def _graph(name, *fields, **options):
    """A verb of the graph in which the output sees both hidden layers; its weights are the problem's, twice."""

    def run(net, p):
        xp = pc.backend.array_module(p.x)
        last = net.blocks[2]
        block = pc.Dense(last.n_in + net.blocks[0].n_out, last.n_out, last.activation, form=last.form)
        graph = pc.Dag([*net.blocks[:2], block], [(0,), (1,), (1, 2)], net.loss.name)
        W = p.params[2]["W"]
        wide = {"W": xp.concatenate([W, W, W], axis=1)[:, : block.n_in], "b": p.params[2]["b"]}
        params = [*p.params[:2], wide]
        if name == "Dag.forward":
            return graph.forward(params, p.x)
        return getattr(dag, name)(graph, params, *(getattr(p, field) for field in fields), **options)

    return run


def _weighed_graph(name, *fields, **options):
    """The same with the precisions of the problem."""
    return lambda net, p: _graph(name, *fields, precision=p.precision, **options)(net, p)


OPTIMISERS = {
    "SGD": pc.SGD(0.1),
    "SGD, momentum": pc.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "SGD, nesterov": pc.SGD(pc.Cosine(0.1, 5, warm_up=1), momentum=0.9, nesterov=True),
    "RMSprop": pc.RMSprop(0.1, weight_decay=0.1),
    "Adam": pc.Adam(0.1),
    "Adam, decay": pc.Adam(0.1, weight_decay=0.1),
    "AdamW": pc.AdamW(0.1),
    "Clip": pc.Clip(pc.SGD(0.1), norm=0.5),
    "Clip, short": pc.Clip(pc.SGD(0.1), norm=1e3),
    "ByBlock": pc.ByBlock({1: None, 3: pc.Adam(0.1)}, otherwise=pc.Clip(pc.SGD(0.1), norm=0.5)),
}
CALLS = {
    **_functions(),
    "blocks.Dense": Call(_block, weighs=False),
    "network.forward": Call(lambda net, p: net.forward(p.params, p.x), 1, weighs=False),
    "backprop.gradient": Call(lambda net, p: backprop.gradient(net, p.params, p.x, p.y), 2, weighs=False),
    "backprop.gradient, labels": Call(
        lambda net, p: backprop.gradient(net, p.params, p.x, p.y.argmax(axis=1)), 2, False, ("no precision",)
    ),
    "spc.feedforward": Call(lambda net, p: spc.feedforward(net, p.params, p.x), 1, weighs=False),
    "spc.errors": Call(_verb(spc, "errors", "s", "y"), 1),
    "spc.energy": Call(_verb(spc, "energy", "s", "y"), 1),
    "spc.energy, free output": Call(lambda net, p: spc.energy(net, p.params, p.s, None, p.precision), 1),
    "spc.activity_gradient": Call(_verb(spc, "activity_gradient", "s", "y"), 1),
    "spc.weight_gradient": Call(_verb(spc, "weight_gradient", "s", "y"), 1),
    "spc.infer": Call(_verb(spc, "infer", "s", "y", **FIVE), 3),
    "spc.infer, recorded": Call(_verb(spc, "infer", "s", "y", **FIVE, record_every=2), 3),
    "spc.gradient": Call(_verb(spc, "gradient", "x", "y", **FIVE), 3),
    "spc.gradient, recorded": Call(_verb(spc, "gradient", "x", "y", **FIVE, record_every=2), 3),
    "spc.gradient, tolerance": Call(_verb(spc, "gradient", "x", "y", **FIVE, tolerance=1e3), 4),
    "epc.feedforward": Call(lambda net, p: epc.feedforward(net, p.params, p.x), 1, weighs=False),
    "epc.states_from_errors": Call(
        lambda net, p: epc.states_from_errors(net, p.params, p.e, p.x), 1, weighs=False
    ),
    "epc.energy": Call(_verb(epc, "energy", "e", "x", "y"), 1),
    "epc.energy, free output": Call(lambda net, p: epc.energy(net, p.params, p.e, p.x, None, p.precision), 1),
    "epc.error_gradient": Call(_verb(epc, "error_gradient", "e", "x", "y"), 1),
    "epc.weight_gradient": Call(_verb(epc, "weight_gradient", "e", "x", "y"), 1),
    "epc.largest_eigenvalue": Call(_largest, 1),
    "epc.gauss_newton_step": Call(
        _verb(epc, "gauss_newton_step", "e", "x", "y"), 1, settings=("numbers", "matrices")
    ),
    "epc.infer": Call(_verb(epc, "infer", "e", "x", "y", **FIVE), 3),
    "epc.infer, adaptive": Call(_verb(epc, "infer", "e", "x", "y", inference_steps=5), 3),
    "epc.infer, power": Call(_verb(epc, "infer", "e", "x", "y", inference_steps=5, step_size="power"), 3),
    "epc.infer, recorded": Call(_verb(epc, "infer", "e", "x", "y", inference_steps=5, record_every=2), 3),
    "epc.gradient": Call(_verb(epc, "gradient", "x", "y", **FIVE), 3),
    "epc.gradient, adaptive": Call(_verb(epc, "gradient", "x", "y", inference_steps=5), 3),
    "epc.gradient, power": Call(_verb(epc, "gradient", "x", "y", inference_steps=5, step_size="power"), 3),
    "epc.gradient, recorded": Call(_verb(epc, "gradient", "x", "y", inference_steps=5, record_every=2), 3),
    "epc.gradient, tolerance": Call(_verb(epc, "gradient", "x", "y", inference_steps=5, tolerance=1e3), 4),
    "variants.top_down": Call(_verb(variants, "top_down", "x", "y", **FIVE), 3),
    "variants.momentum": Call(_verb(variants, "momentum", "x", "y", **FIVE), 3),
    "variants.incremental": Call(_incremental, 3),
    "variants.z_il": Call(lambda net, p: variants.z_il(net, p.params, p.x, p.y), 2, weighs=False),
    "variants.fixed_prediction": Call(_verb(variants, "fixed_prediction", "x", "y", **FIVE), 3),
    "variants.pc_alm": Call(_verb(variants, "pc_alm", "x", "y", **FIVE), 3),
    "variants.target_interpolation": Call(
        _verb(variants, "target_interpolation", "x", "y", beta=0.5, **FIVE), 3
    ),
    "variants.nudged": Call(_verb(variants, "nudged", "x", "y", beta=0.5, **FIVE), 3),
    "variants.centred": Call(_verb(variants, "centred", "x", "y", beta=0.5, **FIVE), 4),
    "variants.full_energy": Call(_kinds("full_energy"), 1),
    "variants.precision_gradient": Call(_kinds("precision_gradient"), 1),
    "variants.newton_step": Call(_newton, 2, settings=("numbers",)),
    "dag.Dag.forward": Call(_graph("Dag.forward"), 1, weighs=False),
    "dag.feedforward": Call(_graph("feedforward", "x"), 1, weighs=False),
    "dag.states_from_errors": Call(_graph("states_from_errors", "e", "x"), 1, weighs=False),
    "dag.energy": Call(_weighed_graph("energy", "e", "x", "y"), 1),
    "dag.error_gradient": Call(_weighed_graph("error_gradient", "e", "x", "y"), 1),
    "dag.weight_gradient": Call(_weighed_graph("weight_gradient", "e", "x", "y"), 1),
    "dag.infer": Call(_weighed_graph("infer", "e", "x", "y", **FIVE), 3),
    "dag.gradient": Call(_weighed_graph("gradient", "x", "y", **FIVE), 3),
    **{
        f"optim.{name}": Call(_two_steps(rule), weighs=False, settings=("numbers",))
        for name, rule in OPTIMISERS.items()
    },
    "train.fit": Call(_fit, settings=("numbers", "matrices")),
}
CASES = [(name, where) for name, call in CALLS.items() for where in call.settings]


def arrays(tree):
    """The leaves that must be arrays: everything but None, text and counts (``steps``, Adam's ``t``)."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [a for branch in tree for a in arrays(branch)]
    return [] if tree is None or isinstance(tree, Integral | str) else [tree]
