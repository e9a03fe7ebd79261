"""Every rule in time and every cell on the stand-in device: as ``test_device.py`` and ``test_block_devices.py``."""

import inspect

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc
from backend.fakecupy import DeviceArray, count_syncs, map_arrays, to_device
from backend.time_calls import (
    CALLS,
    CASES,
    CELLS,
    COMPLEX_STEP,
    SETTINGS,
    STEP_BY_STEP,
    T,
    faces,
    influence_arrays,
    leaves,
    part,
    setting,
    step_problem,
)
from minipc import bptt, rtrl, tpc

every_case = pytest.mark.parametrize(("name", "where"), CASES)
every_cell = pytest.mark.parametrize("name", CELLS)
with_tables = pytest.mark.parametrize("tables", [False, True], ids=["plain", "mask and resets"])
ONLY_REAL = {  # norms; directions that are those of the real parts; a kernel that is kept within bounds
    *("rtrl.staleness", "tpc.certificate", "rtrl.gradient, sketch-2", "rtrl.gradient, sketch-9"),
    "approximations.learn_kernel",
}
REAL_CELLS = [name for name, cell in CELLS.items() if not cell.complex_state]


def test_every_public_function_in_time_is_listed():
    """A function that is not in the list would go untested."""
    listed = {name.split(",")[0] for name in CALLS}
    helpers = {
        "bptt.added",
        "rtrl.credit",
        "rtrl.one_step_down",
        "rtrl.observed",
        "tpc.which",
    }  # of the rules themselves
    for module in (bptt, rtrl, tpc):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                assert f"{module.__name__.removeprefix('minipc.')}.{name}" in listed | helpers
    assert {type(block).__name__ for blocks, _ in SETTINGS.values() for block in blocks} >= {
        type(cell).__name__ for cell in CELLS.values()
    }


@with_tables
@every_case
def test_a_rule_stays_on_the_device(name, where, tables, fake_device):
    """Device arrays out, the numbers of NumPy, as many synchronisations as promised, arguments untouched."""
    net, p = setting(where, tables=tables)
    call = CALLS[name]
    expected = leaves(call.run(net, p))
    there = to_device(p)
    with count_syncs() as syncs:
        actual = leaves(call.run(net, there))
        waits = syncs()
    assert {type(a) for a in actual} == {DeviceArray}
    assert_same([1 + a.get() for a in actual], [1 + a for a in expected], rtol=1e-12)
    if name == "rtrl.staleness":
        return  # it ends on the host
    stretches = 2 if "carry" in name else 1
    resets = stretches if call.blocks and where in STEP_BY_STEP else call.resets
    assert waits == call.checks + (call.masks + resets if tables else 0)


@pytest.mark.parametrize("where", SETTINGS)
@pytest.mark.parametrize("rule", [bptt.gradient, rtrl.gradient], ids=["BPTT", "RTRL"])
def test_synchronisations_do_not_depend_on_the_steps(rule, where, fake_device):
    """Two, for one step and for five: the host waits once for the values and once for the loss."""
    net, p = setting(where, tables=False)
    for steps in (1, 2, T):
        there = to_device(part(p, slice(steps)))
        with count_syncs() as syncs:
            rule(net, *there)
            assert syncs() == 2


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize(("influence", "waits"), [("exact", 1 + 3), ("hybrid", 1 + 13)])
def test_synchronisations_of_a_long_sequence(influence, waits, resets, fake_device):
    """130 steps: three times up to 64, or thirteen blocks of ten; a stretch that goes step by step asks for its resets."""
    net, p = setting("RNN", tables=False)
    p = p._replace(inputs=np.repeat(p.inputs, 26, axis=0), targets=np.repeat(p.targets, 26, axis=0))
    there = to_device(p._replace(reset=np.arange(260).reshape(130, 2) % 7 == 0 if resets else None))
    options = {"block": 10} if influence == "hybrid" else {}
    with count_syncs() as syncs:
        rtrl.gradient(net, *there, influence=influence, **options)
        assert syncs() == waits + (3 if resets and influence == "exact" else 0)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (bptt.gradient, "two synchronisations, whatever T, and one more for a mask"),
        (
            rtrl.gradient,
            "one for every block, or every 64 steps of those that go one by one (two with resets)",
        ),
        (rtrl.online, "one for a mask, and one for every step (two with resets)"),
    ],
)
def test_the_docstring_states_the_number_of_synchronisations(function, words):
    """Those that are measured here."""
    assert words in " ".join(function.__doc__.split())


@with_tables
@every_case
def test_a_rule_keeps_float32(name, where, tables):
    """No promotion by a count, a seed or a zero; the state of an LRU is complex64."""
    results = leaves(CALLS[name].run(*setting(where, np.float32, tables)))
    assert {a.dtype for a in results} <= {np.dtype(np.float32), np.dtype(np.complex64)}
    assert ("c" in {a.dtype.kind for a in results}) <= ("LRU" in where)


@with_tables
@every_case
def test_a_rule_edits_no_argument(name, where, tables):
    """Every array handed in is read-only: an edit raises."""
    net, p = setting(where, tables=tables)
    for array in leaves(p):
        array.flags.writeable = False
    CALLS[name].run(net, p)


@pytest.mark.parametrize("influence", ["exact", "hybrid", "local"])
@pytest.mark.parametrize("where", SETTINGS)
def test_a_carry_is_not_edited(where, influence):
    """The influence works in place, on arrays of its own: a carry can be used twice, with the same result."""
    net, p = setting(where)
    first = rtrl.gradient(net, *part(p, slice(3)), influence=influence)
    before = [a.copy() for a in leaves(influence_arrays(first.carry))]
    for array in leaves(influence_arrays(first.carry)):
        array.flags.writeable = False
    rest = part(p, slice(3, T), h0=False)
    runs = [rtrl.gradient(net, *rest, influence=influence, carry=first.carry) for _ in range(2)]
    assert all(
        np.array_equal(a, b) for a, b in zip(leaves(influence_arrays(first.carry)), before, strict=True)
    )
    assert all(
        np.array_equal(a, b) for a, b in zip(leaves(runs[0].grads), leaves(runs[1].grads), strict=True)
    )
    if influence == "exact":
        rtrl.online(net, *rest, optimizer=pc.SGD(0.01), carry=first.carry)


def moved(p, h):
    """Parameters, inputs and given states moved by ``h`` along a fixed random direction."""
    rng = np.random.default_rng(11)

    def shift(tree):
        return map_arrays(lambda a: a + h * rng.standard_normal(a.shape), tree)

    return p._replace(params=shift(p.params), inputs=shift(p.inputs), h0=shift(p.h0))


def flat(result):
    """All numbers in one vector."""
    return np.concatenate([a.ravel() for a in leaves(result)])


@with_tables
@pytest.mark.parametrize(
    ("name", "where"), [c for c in CASES if c[0] not in ONLY_REAL and c[1] in COMPLEX_STEP]
)
def test_complex_step_is_the_derivative(name, where, tables):
    """Im f(z + ih) / h against the central difference, through whole sequences: no buffer drops what is imaginary."""
    net, p = setting(where, tables=tables)
    run = CALLS[name].run
    exact = flat(run(net, moved(p, 1e-200j))).imag / 1e-200
    central = (flat(run(net, moved(p, 1e-6))) - flat(run(net, moved(p, -1e-6)))) / 2e-6
    assert central.any()
    assert_same(exact, central, rtol=1e-6)


@pytest.mark.parametrize("field", ["params", "inputs", "h0"])
@pytest.mark.parametrize("name", [n for n in CALLS if n not in {*ONLY_REAL, "rtrl.gradient, diagonal"}])
def test_a_complex_step_in_one_argument_alone(name, field):
    """The others stay real, so every buffer must take the wider of two dtypes."""
    net, p = setting("RNN", tables=False)
    run, shifted = CALLS[name].run, lambda h: p._replace(**{field: getattr(moved(p, h), field)})
    exact = flat(run(net, shifted(1e-200j))).imag / 1e-200
    central = (flat(run(net, shifted(1e-6))) - flat(run(net, shifted(-1e-6)))) / 2e-6
    assert_same(exact, central, rtol=1e-6)


@pytest.mark.parametrize("influence", ["exact", "hybrid"])
@pytest.mark.parametrize("where", COMPLEX_STEP)
def test_a_complex_step_that_begins_in_the_second_stretch(where, influence):
    """The carry is real, and the buffers that it brings along must give way."""
    net, p = setting(where)
    carry = rtrl.gradient(net, *part(p, slice(3)), influence=influence).carry

    def run(h):
        rest = part(moved(p, h), slice(3, T), h0=False)
        g = rtrl.gradient(net, *rest, influence=influence, carry=carry)
        return flat([g.grads, g.loss, g.final])

    assert_same(run(1e-200j).imag / 1e-200, (run(1e-6) - run(-1e-6)) / 2e-6, rtol=1e-6)


def to(function, q):
    """A step's arrays put elsewhere."""
    return q._replace(**{name: map_arrays(function, value) for name, value in q._asdict().items()})


@every_cell
def test_a_cell_stays_on_the_device(name, fake_device):
    """Its faces, on arrays that are read-only there; the host never waits."""
    cell, q = step_problem(name)
    there = q._replace(**{field: to_device(value) for field, value in q._asdict().items()})
    with count_syncs() as syncs:
        actual = leaves(faces(cell, there))
        assert syncs() == 0
    assert {type(a) for a in actual} == {DeviceArray}
    assert_same([1 + a.get() for a in actual], [1 + a for a in leaves(faces(cell, q))], rtol=1e-12)


@every_cell
def test_a_cell_keeps_float32(name):
    """complex64 where the state is complex."""
    cell, q = step_problem(name, np.float32)
    kinds = {a.dtype for a in leaves(faces(cell, q))}
    assert kinds == {np.dtype(np.float32), *([np.dtype(np.complex64)] if cell.complex_state else [])}


@every_cell
def test_a_cell_edits_no_argument(name):
    """Every array is read-only; the tape serves twice."""
    cell, q = step_problem(name)
    for array in leaves(q):
        array.flags.writeable = False
    _, tape = cell.step(q.p, q.h, q.u)
    twice = [leaves(cell.vjp(q.p, tape, q.v)) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*twice, strict=True))


@pytest.mark.parametrize("name", REAL_CELLS)
def test_complex_step_passes_through_a_cell(name):
    """All of its faces, along everything that it is handed."""
    cell, q = step_problem(name)
    rng = np.random.default_rng(3)
    way = to(lambda a: rng.standard_normal(a.shape), q)

    def at(h):
        moved = [leaves(q), leaves(way)]
        new = iter([a + h * d for a, d in zip(*moved, strict=True)])
        return flat(faces(cell, to(lambda _: next(new), q)))

    assert_same(at(1e-200j).imag / 1e-200, (at(1e-6) - at(-1e-6)) / 2e-6, rtol=1e-6)


def to_gpu(tree):
    """Every array on a real device."""
    import cupy

    return map_arrays(cupy.asarray, tree)


on_a_gpu = pytest.mark.skipif(not pc.gpu_available(), reason="needs CuPy and a device")


@pytest.mark.gpu
@on_a_gpu
@with_tables
@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_real_device_gives_the_numbers_of_numpy(name, where, tables, dtype):
    """At 1e-10 in float64; float32 stays."""
    import cupy

    net, p = setting(where, dtype, tables)
    actual, expected = leaves(CALLS[name].run(net, to_gpu(p))), leaves(CALLS[name].run(net, p))
    assert {type(a) for a in actual} == {cupy.ndarray}
    assert [a.dtype for a in actual] == [a.dtype for a in expected]
    rtol = 1e-10 if dtype is np.float64 else 1e-4
    assert_same([1 + a.get() for a in actual], [1 + a for a in expected], rtol=rtol)


@pytest.mark.gpu
@on_a_gpu
@every_cell
def test_a_real_device_steps_as_numpy(name):
    """The faces of a cell."""
    cell, q = step_problem(name)
    actual = leaves(faces(cell, q._replace(**{field: to_gpu(value) for field, value in q._asdict().items()})))
    assert_same([1 + a.get() for a in actual], [1 + a for a in leaves(faces(cell, q))], rtol=1e-10)


def test_matrices_of_eprop_and_dni_belong_to_the_device(fake_device):
    """Feedback and A: there the numbers are those of NumPy; from the host they are refused."""
    net, p = setting("spikes")
    rng = np.random.default_rng(1)
    B, A = rng.standard_normal((4, 3)), [0.1 * rng.standard_normal((n, n + 4)) for n in (10, 12)]
    makes = (lambda place: pc.EProp([None, place(B)]), lambda place: pc.DNI([place(a) for a in A]))
    for make in makes:
        expected = rtrl.gradient(net, *p, influence=make(lambda a: a)).grads
        actual = leaves(rtrl.gradient(net, *to_device(p), influence=make(to_device)).grads)
        assert {type(a) for a in actual} == {DeviceArray}
        assert_same([a.get() for a in actual], leaves(expected), rtol=1e-12)
        with pytest.raises(TypeError, match=r"(feedback|A) of block"):
            rtrl.gradient(net, *to_device(p), influence=make(lambda a: a))
