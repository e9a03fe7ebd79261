"""Every public rule and verb on the stand-in device: stays there, waits for nothing, edits nothing, keeps the dtype.

The numbers of synchronisations (``Call.checks``) are part of the contract: one where a target comes in (is
everything finite and in range?), one for the feedforward loss (is it finite?), one at the end of inference (did
it diverge?), none in the steps of inference, whatever their number. So backprop costs two and a gradient of sPC
or ePC three. Precisions that are arrays are checked on the host: one more each, once a call.
"""

import ast
import functools
import inspect
import pathlib

import numpy as np
import pytest
from helpers.checks import assert_same, read_only

import minipc as pc
from backend.calls import CALLS, CASES, FIVE, arrays, setting
from backend.fakecupy import DeviceArray, count_syncs, map_arrays, to_device
from minipc import backprop, check, dag, epc, functions, optim, spc, variants

every_case = pytest.mark.parametrize(("name", "where"), CASES)
REAL_FIELDS = {"regime", "curvature", "step_size"}  # computed from real parts: they choose the step
NOT_COMPLEX = {"epc.largest_eigenvalue", "train.fit"}  # a Rayleigh quotient is real; so is the history of fit
ADAPTS = [
    name for name in CALLS if name.startswith("epc.") and "," in name
]  # the step follows the real parts
ANALYTIC = [case for case in CASES if case[0] not in {*NOT_COMPLEX, *ADAPTS} or "free" in case[0]]
CONSTANT = {
    "epc.feedforward",
    "dag.feedforward",
    *(f"functions.{d}{name}" for d in ("d", "d2") for name in ("identity", "relu", "leaky_relu")),
}
MANY = 40  # inference steps


def complex_arrays(result):
    """The arrays of a result that carry the imaginary part of a complex step."""
    if hasattr(result, "_asdict"):
        result = {name: value for name, value in result._asdict().items() if name not in REAL_FIELDS}
    return arrays(result)


def moved(p, h):
    """The problem with parameters, input, states and errors moved by ``h`` along a fixed random direction."""
    rng = np.random.default_rng(11)
    shift = functools.partial(map_arrays, lambda a: a + h * rng.standard_normal(a.shape))
    return p._replace(params=shift(p.params), x=shift(p.x), s=shift(p.s), e=shift(p.e))


def flat(result):
    """All numbers of a result in one vector."""
    return np.concatenate([a.ravel() for a in complex_arrays(result)])


def test_every_public_function_is_listed():
    """A function that is not in the list would go untested."""
    listed = {name.split(",")[0] for name in CALLS} | {"spc.relax", "epc.relax"}  # the steps of infer
    for module in (functions, backprop, spc, epc, variants, dag):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                assert f"{module.__name__.removeprefix('minipc.')}.{name}" in listed
    rules = {name for name, rule in inspect.getmembers(optim, inspect.isclass) if hasattr(rule, "step")}
    assert {f"optim.{name}" for name in rules} <= listed


@every_case
def test_stays_on_the_device(name, where, fake_device):
    """Device arrays out, the numbers of NumPy, as many synchronisations as promised, arguments untouched."""
    net, p = setting(where)
    call = CALLS[name]
    expected = arrays(call.run(net, p))
    on_device = to_device(p)
    with count_syncs() as syncs:
        actual = arrays(call.run(net, on_device))
        waits = syncs()
    assert expected
    assert {type(a) for a in actual} == {DeviceArray}
    assert {type(a) for a in expected} == {np.ndarray}
    assert_same(actual, expected, rtol=1e-12)
    if name != "train.fit":
        on_host = sum(isinstance(Pi, np.ndarray) for Pi in p.precision or [])
        short = where == "no precision" and name in (
            "epc.infer",
            "epc.gradient",
        )  # the fast form asks: a short step?
        assert waits == call.checks + short + (on_host if call.weighs else 0)


@every_case
def test_arguments_are_not_edited(name, where):
    """Every array handed in is read-only: an edit raises."""
    net, p = setting(where)
    read_only([a for a in arrays(p) if isinstance(a, np.ndarray)])
    CALLS[name].run(net, p)


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_follows_the_parameters(name, where, dtype):
    """Every public function is listed: an in-place += further up would hide a promotion below it."""
    results = arrays(CALLS[name].run(*setting(where, dtype)))
    assert {a.dtype for a in results} == {np.dtype(dtype)}


@pytest.mark.parametrize(("name", "where"), [case for case in CASES if case[0] not in NOT_COMPLEX])
def test_complex_input_gives_a_complex_result_with_the_same_real_part(name, where):
    """No branch, buffer or norm drops the imaginary part or is moved by it."""
    (net, p), (_, z) = setting(where), setting(where, complex)
    actual, expected = (complex_arrays(CALLS[name].run(net, q)) for q in (z, p))
    assert {a.dtype.kind for a in actual} == {"c"}
    assert_same([a.real for a in actual], expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "where"), ANALYTIC)
def test_complex_step_is_the_derivative(name, where):
    """Im f(z + ih) / h along a random direction against the central difference, through whole inferences."""
    net, p = setting(where)
    run = CALLS[name].run
    exact = flat(run(net, moved(p, 1e-200j))).imag / 1e-200
    central = (flat(run(net, moved(p, 1e-6))) - flat(run(net, moved(p, -1e-6)))) / 2e-6
    assert bool(central.any()) == (name not in CONSTANT)
    assert_same(exact, central, rtol=1e-6)


STEPS = {"step_size": 0.05, "inference_steps": 3, "record_every": 2}
NUMPY_SCALARS = {
    "spc.gradient": (spc.gradient, STEPS),
    "epc.gradient": (epc.gradient, STEPS),
    "tolerance": (epc.gradient, {"tolerance": 1e3}),
    "precision": (spc.gradient, {"precision": [0.7, 1.3, 0.9], **STEPS}),
}


def numpy_scalars(options):
    """The same options as NumPy scalars, which are strong types: float32 times np.float64 is float64."""
    return {
        k: [np.float64(v) for v in o] if isinstance(o, list) else np.asarray(o)[()]
        for k, o in options.items()
    }


@pytest.mark.parametrize("name", NUMPY_SCALARS)
def test_numpy_scalar_options_change_nothing(name):
    """Bit by bit and in float32."""
    rule, options = NUMPY_SCALARS[name]
    net, p = setting("numbers", np.float32)
    plain, scalar = (arrays(rule(net, p.params, p.x, p.y, **o)) for o in (options, numpy_scalars(options)))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(plain, scalar, strict=True))


NUMBERS = {
    "SGD": lambda n: pc.SGD(n(0.1)),
    "momentum": lambda n: pc.SGD(n(0.1), momentum=n(0.9), nesterov=True, weight_decay=n(0.1)),
    "RMSprop": lambda n: pc.RMSprop(n(0.1), decay=n(0.9), eps=n(1e-8), weight_decay=n(0.1)),
    "Adam": lambda n: pc.Adam(n(0.1), n(0.9), n(0.99), n(1e-8), n(0.1)),
    "AdamW": lambda n: pc.AdamW(n(0.1), n(0.9), n(0.99), n(1e-8), n(0.1)),
    "Clip": lambda n: pc.Clip(pc.SGD(n(0.1)), norm=n(0.5)),
    "WarmUp": lambda n: pc.SGD(pc.WarmUp(n(0.1), 3)),
    "Cosine": lambda n: pc.SGD(pc.Cosine(n(0.1), 5, final=n(0.01))),
    "StepDecay": lambda n: pc.SGD(pc.StepDecay(n(0.1), n(0.5), 1)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numpy_scalars_in_an_optimiser_change_nothing(name):
    """Bit by bit and in float32."""
    _, p = setting("numbers", np.float32)
    runs = [NUMBERS[name](kind) for kind in (float, np.float64)]
    plain, scalar = (arrays(rule.step(p.params, p.params, rule.init(p.params))) for rule in runs)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(plain, scalar, strict=True))


@pytest.mark.parametrize(("rule", "step_size"), [(spc, 0.02), (epc, 0.02), (epc, "power"), (epc, "adaptive")])
def test_synchronisations_do_not_depend_on_the_steps(rule, step_size, fake_device):
    """Three, for no step, for one and for forty, also with every step recorded."""
    net, p = setting("no precision")
    p = to_device(p)
    for steps in (0, 1, MANY):
        with count_syncs() as syncs:
            rule.gradient(net, p.params, p.x, p.y, inference_steps=steps, step_size=step_size, record_every=1)
            assert syncs() == 3


@pytest.mark.parametrize("rule", [spc, epc])
def test_a_tolerance_costs_one_synchronisation_in_ten_steps(rule, fake_device):
    """It looks before the steps 0, 10, 20 and 30 of forty, and once more to write the warning."""
    net, p = setting("no precision")
    p = to_device(p)
    with count_syncs() as syncs, pytest.warns(pc.InferenceWarning, match="did not converge"):
        rule.gradient(net, p.params, p.x, p.y, inference_steps=MANY, step_size=0.02, tolerance=1e-9)
    assert syncs() == 3 + 4 + 1


@pytest.mark.parametrize("rule", [spc, epc])
def test_the_docstring_states_the_number_of_synchronisations(rule):
    """The three that are measured above."""
    assert "three synchronisations, whatever N" in " ".join(rule.gradient.__doc__.split())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 6])
def test_training_synchronises_a_few_times_a_batch(batch_size, fake_device):
    """Once at the start; in a batch three for sPC, at most four for the loop; not once a sample or a parameter."""
    net, p = setting("no precision")
    x, y = (to_device(np.tile(a, (3, 1))) for a in (p.x, p.y))
    options = {"rule": spc.gradient, "optimizer": pc.SGD(0.01), "epochs": 2, "progress": False}
    with count_syncs() as syncs:
        pc.fit(net, to_device(p.params), (x, y), batch_size=batch_size, **options)
        batches = 2 * 6 // batch_size
        assert (syncs() - 1) % batches == 0
        assert (syncs() - 1) // batches <= 3 + 4


def test_accuracy_and_comparison_of_device_arrays_equal_those_of_the_host(fake_device):
    """The two functions that end on the host: a number and a table."""
    net, p = setting("no precision")
    q = to_device(p)
    assert pc.accuracy(net, q.params, q.x, q.y) == pc.accuracy(net, p.params, p.x, p.y)
    tables = [
        check.compare(
            spc.gradient(net, d.params, d.x, d.y, **FIVE), backprop.gradient(net, d.params, d.x, d.y)
        )
        for d in (p, q)
    ]
    assert tables[0].worst > 1e-3
    assert str(tables[0]) == str(tables[1])


@pytest.mark.parametrize("rule", ["spc", "epc"])
def test_the_report_on_convergence_of_device_arrays_equals_that_of_the_host(rule, fake_device):
    """The run is on the device, the report on the host."""
    net, p = setting("matrices")
    options = {"rule": rule, "inference_steps": 15, "step_size": 0.05}
    here = check.convergence(net, p.params, p.x, p.y, p.precision, **options)
    p = to_device(p)
    there = check.convergence(net, p.params, p.x, p.y, p.precision, **options)
    for name in ("residuals", "eigenvalues", "predicted", "bracket", "equilibrium"):
        assert_same(getattr(there, name), getattr(here, name))


def test_training_history_of_device_arrays_equals_that_of_the_host(fake_device):
    """fit with a validation set: parameters on the device, the same history on the host."""
    net, p = setting("no precision")
    options = {
        "rule": epc.gradient,
        "optimizer": pc.Adam(0.01),
        "epochs": 2,
        "batch_size": 1,
        "progress": False,
    }
    runs = [pc.fit(net, d.params, (d.x, d.y), validation=(d.x, d.y), **options) for d in (p, to_device(p))]
    histories = [{name: run[1][name] for name in run[1] if name != "seconds"} for run in runs]
    assert histories[0].keys() == {"loss", "energy", "validation_loss", "validation_accuracy"}
    assert_same(histories[1], histories[0], rtol=1e-12)
    assert_same(runs[1][0], runs[0][0], rtol=1e-12)
    assert {type(a) for a in arrays(runs[1][0])} == {DeviceArray}


def names_used(path):
    """Dotted names that a module takes from an array module: ``xp.linalg.solve``, ``array_module(a).exp``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        base = node.func if isinstance(node, ast.Call) else node
        if names and ast.unparse(base) in ("xp", "array_module"):
            yield ".".join(names)


def test_every_name_used_exists_in_cupy():
    """Against the CuPy wheel; no device is needed."""
    cupy = pytest.importorskip("cupy")
    used = {name for path in pathlib.Path(pc.__file__).parent.glob("*.py") for name in names_used(path)}
    assert {"where", "linalg.solve", "stack"} <= used

    def exists(name):
        return functools.reduce(lambda module, part: getattr(module, part, None), name.split("."), cupy)

    assert {name for name in used if exists(name) is None} == set()


on_a_gpu = pytest.mark.skipif(not pc.gpu_available(), reason="needs CuPy and a device")


@pytest.mark.gpu
@on_a_gpu
@every_case
def test_a_real_device_gives_the_numbers_of_numpy(name, where):
    """At 1e-10 in float64, and the results stay there."""
    import cupy

    net, p = setting(where)
    expected = arrays(CALLS[name].run(net, p))
    actual = arrays(CALLS[name].run(net, map_arrays(cupy.asarray, p)))
    assert {type(a) for a in actual} == {cupy.ndarray}
    assert_same(actual, expected, rtol=1e-10)


@pytest.mark.gpu
@on_a_gpu
@every_case
def test_a_real_device_keeps_float32(name, where):
    """No promotion by a rule that CuPy has and NumPy has not."""
    import cupy

    net, p = setting(where, np.float32)
    assert {a.dtype for a in arrays(CALLS[name].run(net, map_arrays(cupy.asarray, p)))} == {
        np.dtype(np.float32)
    }
