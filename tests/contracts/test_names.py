"""Public names: they exist, they are documented, and the example of the contract runs."""

import ast
import importlib
import inspect

import numpy as np
import pytest

import minipc as pc
from contracts.source import PACKAGE, comments, expand, modules, tree

RESULT_FIELDS = ("grads", "loss", "energy", "states", "errors", "residual")


def test_all_is_true():
    """Every name of ``__all__`` exists and is no accident of an import; the rooms are among them."""
    assert sorted(pc.__all__) == sorted(set(pc.__all__))
    assert all(hasattr(pc, name) for name in pc.__all__)
    assert {"Dense", "Network", "Gradient", "fit", "SGD", "Adam", "backprop", "spc", "epc", "check"} <= set(
        pc.__all__
    )


def test_the_star_import_gives_the_public_names():
    """And nothing else."""
    names = {}
    exec("from minipc import *", names)
    assert names.keys() - {"__builtins__"} == set(pc.__all__)


def test_the_contract_example_runs():
    """The part of the design's example that belongs to this version, line by line."""
    x, y = np.random.default_rng(0).uniform(size=(6, 64)), np.arange(6)
    net = pc.Network([pc.Dense(64, 128, "tanh"), pc.Dense(128, 10)], loss="cross_entropy")
    params = net.init(seed=0, dtype="float64")
    assert net.forward(params, x).shape == (6, 10)
    other = pc.backprop.gradient(net, params, x, y)
    assert other.loss.shape == (6,)
    g = pc.spc.gradient(net, params, x, y, inference_steps=20, step_size=0.1)
    assert all(getattr(g, name) is not None for name in RESULT_FIELDS)
    g = pc.epc.gradient(net, params, x, y, inference_steps=8, step_size="adaptive")
    assert [{k: v.shape for k, v in p.items()} for p in g.grads] == [
        {k: v.shape for k, v in p.items()} for p in params
    ]
    assert g.grads[0]["W"].dtype == params[0]["W"].dtype
    new, history = pc.fit(
        net, params, (x, y), rule=pc.epc.gradient, optimizer=pc.Adam(1e-3), epochs=5, seed=0, progress=False
    )
    assert history["loss"].shape == (5,)
    assert pc.check.compare(g, other).worst > 1e-3
    assert "W[1]" in str(pc.check.compare(new, params))


@pytest.mark.parametrize("rule", [pc.backprop, pc.spc, pc.epc])
def test_every_rule_has_one_signature(rule):
    """``gradient(net, params, x, y, ...)``, options by keyword, one result type: so any one can train."""
    signature = inspect.signature(rule.gradient)
    names = list(signature.parameters)
    options = [
        p for p in signature.parameters.values() if p.name not in ("net", "params", "x", "y", "precision")
    ]
    assert names[:4] == ["net", "params", "x", "y"]
    assert {p.kind for p in options} <= {inspect.Parameter.KEYWORD_ONLY}
    net = pc.Network([pc.Dense(2, 2)])
    assert type(rule.gradient(net, net.init(), np.ones((1, 2)), np.ones((1, 2)))) is pc.Gradient


@pytest.mark.parametrize("rule", [pc.bptt, pc.rtrl, pc.tpc])
def test_the_rules_in_time_have_one_signature(rule):
    """What is given comes first and in one order, so that any of them takes the place of another; options by keyword."""
    parameters = list(inspect.signature(rule.gradient).parameters.values())
    assert [p.name for p in parameters[:7]] == ["net", "params", "inputs", "targets", "mask", "h0", "reset"]
    assert {p.kind for p in parameters[7:]} <= {inspect.Parameter.KEYWORD_ONLY}
    net = pc.RecurrentNetwork([pc.RNN(2, 3), pc.Dense(3, 2)])
    g = rule.gradient(net, net.init(), np.ones((4, 1, 2)), np.ones((4, 1, 2)))
    assert type(g) is pc.Gradient
    assert g.loss.shape == (1,)
    assert [h.shape for h in g.final] == [(1, 3)]


def test_the_verbs_of_temporal_predictive_coding():
    """The certificate takes the options of the gradient, the filter those that concern inference; all by keyword."""
    gradient, infer, certificate = (
        inspect.signature(f).parameters for f in (pc.tpc.gradient, pc.tpc.infer, pc.tpc.certificate)
    )
    given = ["net", "params", "inputs", "targets", "mask", "h0", "reset"]
    inference = ["inference", "beta", "inference_steps", "step_size", "tolerance", "precision", "start"]
    assert [*gradient] == [*given, "influence", "carry", *inference]
    assert [*certificate] == [*given, *inference]
    assert [*infer] == [*given[:3], "observations", *given[4:], "carry", *inference, "observed", "propagate"]
    for signature in (gradient, infer, certificate):
        assert {p.kind for p in [*signature.values()][7:]} == {inspect.Parameter.KEYWORD_ONLY}
    for name in inference:
        assert gradient[name].default == infer[name].default == certificate[name].default


def test_the_rule_by_name_with_an_influence_is_the_function_with_that_of_the_paper():
    """``tpc_rtrl`` shows all options of ``tpc.gradient``; one default is another."""
    assert pc.RULES["tpc"] is pc.tpc.gradient
    one, other = (inspect.signature(pc.RULES[name]).parameters for name in ("tpc", "tpc_rtrl"))
    assert [*one] == [*other]
    differ = {name: (one[name].default, other[name].default) for name in one if one[name] != other[name]}
    assert differ == {"influence": (None, "plain")}


APPROXIMATIONS = {
    "snap-1": "SnAp",
    "sketch-4": "Sketch",
    "rflo": "RFLO",
    "kernl": "KeRNL",
    "uoro": "UORO",
    "kf": "KF",
    "reverse-kf": "ReverseKF",
}
PROTOCOL = ("step", "readout", "gradients", "reset", "copy", "entries", "settle", "block")


@pytest.mark.parametrize("name", APPROXIMATIONS)
def test_an_approximation_is_an_influence(name):
    """Each starts something with the verbs of an influence; the name and the object with its defaults are the same thing."""
    net = pc.RecurrentNetwork([pc.RNN(2, 3), pc.Dense(3, 2)])
    params, inputs, targets = net.init(seed=1), np.ones((4, 2, 2)), np.ones((4, 2, 2))
    M = getattr(pc, APPROXIMATIONS[name])().start(net, params, [np.zeros((2, 3)), None])
    assert [verb for verb in PROTOCOL if not hasattr(M, verb)] == []
    assert M.block == 1
    by_name, by_object = (
        pc.rtrl.gradient(net, params, inputs, targets, influence=influence).grads
        for influence in (name, getattr(pc, APPROXIMATIONS[name])())
    )
    assert all(np.array_equal(p[k], q[k]) for p, q in zip(by_name, by_object, strict=True) for k in p)


RULES = ("top_down", "momentum", "fixed_prediction", "pc_alm", "target_interpolation", "nudged", "centred")


@pytest.mark.parametrize("rule", [getattr(pc.variants, name) for name in RULES] + [pc.dag.gradient])
def test_a_variant_has_the_signature_of_a_rule(rule):
    """``f(net, params, x, y, precision=None, *, inference_steps, step_size, ...) -> Gradient``, each says which gradient."""
    parameters = list(inspect.signature(rule).parameters.values())
    assert [p.name for p in parameters[:5]] == ["net", "params", "x", "y", "precision"]
    assert {p.kind for p in parameters[5:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert {"inference_steps", "step_size"} <= {p.name for p in parameters[5:]}
    assert inspect.signature(rule).return_annotation is pc.Gradient
    assert "Which gradient: " in rule.__doc__


def test_the_other_variants_say_which_gradient_too():
    """Z-IL has no options, incremental steps return weights as well."""
    assert list(inspect.signature(pc.variants.z_il).parameters) == ["net", "params", "x", "y"]
    for rule in (pc.variants.z_il, pc.variants.incremental):
        assert "Which gradient: " in rule.__doc__


def public(body, where=""):
    """Public functions, classes and methods of a syntax tree: name and node."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{where}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def explained(node, ids):
    """A docstring; or an equation id in the body of a formula; or a claim, which carries its sentence."""
    claim = any(isinstance(d, ast.Call) and ast.unparse(d.func) == "claim" for d in node.decorator_list)
    formula = any(line in ids for line in range(node.lineno, node.end_lineno + 1))
    return bool(ast.get_docstring(node)) or claim or formula


@pytest.mark.parametrize("name", modules())
def test_everything_public_is_documented(name):
    """Every module has a docstring; every public function, class and method has one or its equation's id."""
    path = modules()[name]
    ids = {line for line, comment in comments(path).items() if expand(comment)}
    assert ast.get_docstring(tree(path))
    assert [where for where, node in public(tree(path).body) if not explained(node, ids)] == []


@pytest.mark.parametrize("name", ["backprop", "spc", "epc", "tpc"])
def test_the_main_functions_have_the_full_form(name):
    """Shapes, errors, cost, source and an example that runs as a doctest."""
    text = importlib.import_module(f"minipc.{name}").gradient.__doc__
    for part in (
        "Parameters\n",
        "Returns\n",
        "Raises\n",
        "Notes\n",
        "Examples\n",
        "Cost: ",
        "Source: ",
        ">>> ",
    ):
        assert part in text


def test_the_package_is_typed_and_carries_its_data():
    """The files that are no modules."""
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "data" / "digits.npz").stat().st_size < 100_000
