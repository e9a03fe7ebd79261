"""Who may import whom, what ``import minipc`` loads, and how long that takes."""

import ast
import json
import os
import subprocess
import sys

import pytest

from contracts.source import PACKAGE, REFERENCE, modules, tree

RANK = {  # imports run to a lower rank only; a rule never imports a rule of its own rank
    "backend": 0,
    "files": 0,
    "arguments": 1,
    "functions": 1,
    "schedules": 2,
    "progress": 0,
    "containers": 1,
    **dict.fromkeys(["about", "packing"], 0),
    "transfer": 1,
    "downloads": 2,
    **dict.fromkeys(["idx", "cifar", "text", "generators", "dynamics", "words"], 3),
    "series": 4,  # decodes as text does
    "data": 5,
    "blocks": 2,
    **dict.fromkeys(["convolution", "normalisation", "fast", "cells"], 3),
    **dict.fromkeys(["residual", "diagonal", "spiking", "dni"], 4),
    "registry": 5,
    "network": 6,
    "architectures": 7,
    **dict.fromkeys(["inference", "recurrent"], 7),
    "approximations": 7.5,  # stands on recurrent; influence and the command line know it
    "fast_influence": 8,
    "eprop": 7.7,
    **dict.fromkeys(["backprop", "spc", "epc", "optim", "bptt", "influence", "trajectory"], 8),
    **dict.fromkeys(["variants", "dag"], 9),  # they stand on spc and epc
    **dict.fromkeys(["rtrl", "timestep"], 9),  # and these on influence, spc and epc
    **dict.fromkeys(["batches", "metrics", "checkpoint"], 9),
    "comparison": 1,
    "oracle": 0,
    **dict.fromkeys(["trees", "verdicts"], 1),
    "lines": 2,
    "probes": 3,
    "derivatives": 4,
    "tables": 0,
    "register": 0,
    **dict.fromkeys(["in_approximation", "in_blocks", "in_space", "in_time", "in_tpc", "in_training"], 13),
    "in_diagonal": 13.1,  # it shares the problems of in_time
    "in_variants": 13.1,  # and this those of in_space
    "exercises": 13.2,
    "explanation": 13.3,
    "wire": 10,
    "child": 11,
    "sandbox": 13.4,
    "equilibrium": 12,
    "causes": 13,  # they stand on the rules
    "parts": 13.1,
    "audit": 13.2,
    **dict.fromkeys(["mistakes", "plotting"], 9),
    "filtering": 10,
    "landscape": 9.2,
    "descent": 9.3,
    "convergence": 9.4,
    "convergence_in_time": 11.5,
    "check": 13.5,
    "tpc": 11,
    "rules": 12,
    "train": 13,
    "tasks": 13,
    "command": 14,
    "setting": 14,
    **dict.fromkeys(
        [
            "runner",
            "approximate",
            "conventions",
            "coordinates",
            "diagonal_cells",
            "exact_backprop",
            "examples",
            "gradients",
            "kalman",
            "learning",
            "linear_nets",
            "local_credit",
            "stacks",
            "through_time",
            "travel",
        ],
        15,
    ),
    "influences": 16,  # they share the problems of through_time
    "temporal_pc": 16,
    "public_code": 17,  # and this the recursion of influences
    "verify": 18,
    "tour": 19,
    "__main__": 20,
}
ALGORITHMS = (
    "functions",
    "residual",
    "architectures",
    "backprop",
    "spc",
    "epc",
    "variants",
    "dag",
    "bptt",
    "approximations",
    "spiking",
    "eprop",
    "dni",
    "influence",
    "rtrl",
    "timestep",
    "trajectory",
    "filtering",
    "tpc",
    "optim",
    "schedules",
)
MAY_IMPORT = {
    "matplotlib": {"plotting"},
    "num2words": {"words"},
    "tqdm": {"progress"},
    "pooch": {"downloads"},
    "requests": {"transfer"},  # with urllib3, it comes with pooch
    "urllib3": {"transfer"},
    "PIL": {"cifar"},
    "reference": {"setting"},
    "autograd": set(),
    "cupy": {"backend"},
}
NEVER_LOADED = [
    *("matplotlib", "tqdm", "num2words", "pooch", "requests", "PIL"),
    *("autograd", "hypothesis", "scipy", "cupy", "pytest", "reference"),
]


def imported(path):
    """Absolute imports of a module, the first part of each name; also those inside functions."""
    nodes = list(ast.walk(tree(path)))
    names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
    return {name.split(".")[0] for name in names}


def own(path):
    """The modules of minipc that a module of minipc imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from [node.module] if node.module else [a.name for a in node.names if a.name in RANK]


def words(path):
    """Names, attributes and strings of the code; comments and docstrings are no code."""
    nodes = list(ast.walk(tree(path)))
    bodies = [n.body for n in nodes if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docstrings = {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Name | ast.Attribute | ast.alias):
            yield node.id if isinstance(node, ast.Name) else getattr(node, "attr", getattr(node, "name", ""))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_every_module_has_its_place():
    """A new room has to be placed in the order of the house."""
    assert modules().keys() - {"__init__"} == RANK.keys()


@pytest.mark.parametrize("name", RANK)
def test_imports_run_one_way(name):
    """functions and backend <- blocks <- network <- rules <- train, check <- command line."""
    assert {other for other in own(modules()[name]) if RANK[other] >= RANK[name]} == set()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_do_not_import_numpy(name):
    """Their arrays are NumPy's or CuPy's; only ``backend`` knows which."""
    assert imported(modules()[name]) <= {
        "collections",
        "copy",
        "dataclasses",
        "functools",
        "math",
        "types",
        "typing",
        "warnings",
    }


def test_only_the_ground_floor_names_cupy():
    """As a name, an attribute, an import or a string that is the module's name."""
    naming = {name for name, path in modules().items() if any(w.split(".")[0] == "cupy" for w in words(path))}
    assert naming == {"backend"}


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_optional_libraries_have_one_door(library):
    """Matplotlib in ``plotting``, CuPy in ``backend``, downloads in ``downloads`` and ``transfer``, number names in ``words``, ..."""
    assert {name for name, path in modules().items() if library in imported(path)} == MAY_IMPORT[library]


def test_the_package_needs_numpy_alone():
    """Everything else that is imported belongs to Python or has its one door."""
    foreign = set.union(*(imported(path) for path in modules().values())) - sys.stdlib_module_names
    assert foreign == {"numpy", *(library for library, doors in MAY_IMPORT.items() if doors)}


def test_the_oracles_never_import_the_engine():
    """Two names for one implementation prove nothing."""
    foreign = set.union(*(imported(path) for path in modules(REFERENCE).values())) - sys.stdlib_module_names
    assert foreign <= {"numpy", "autograd", "reference"}
    assert all(
        not any(w.split(".")[0] == "minipc" for w in words(path)) for path in modules(REFERENCE).values()
    )


def fresh(code, cache=None):
    """What a new interpreter prints, as JSON; ``cache`` is a folder for compiled modules."""
    environment = dict(os.environ)
    if cache is not None:
        environment["PYTHONPYCACHEPREFIX"] = str(cache)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
        env=environment,
    )
    return json.loads(run.stdout)


def test_import_loads_nothing_it_does_not_need():
    """Neither pictures nor oracles nor CuPy."""
    loaded = fresh("import json, sys, minipc; print(json.dumps([*sys.modules]))")
    assert "minipc.spc" in loaded
    assert set(NEVER_LOADED) & {name.split(".")[0] for name in loaded} == set()
    assert "minipc.verify" not in loaded


def test_import_is_quick(tmp_path):
    """Below 0.2 s of processor time with NumPy, the best of six new interpreters, of which the first compiles."""
    code = "import time; t = time.process_time(); import minipc; print(time.process_time() - t)"
    assert min(fresh(code, tmp_path) for _ in range(6)) < 0.2
