"""The table of mistakes: every one is caught by the very check that the engine passes.

A mutant must be *wrong*, by more than 1e-4 where the engine is right to 1e-10. That it raises an error proves
nothing: an error from elsewhere would count as a catch.
"""

import collections

import pytest
from helpers import approximation_battery as approximate
from helpers import local_battery as local
from helpers import temporal_battery as temporal
from helpers import tpc_battery as inferred
from helpers.battery import BATTERY, CHECKS, GOOD, SQUARE, battery_error
from helpers.checks import assert_live
from helpers.confusion import bench

import minipc
from minipc.mistakes import MISTAKES, PACKAGE, Mistake, load

SHAPES = {  # with distinct widths these do not run at all
    "W is not transposed": "matmul",
    "W is not transposed (pre form)": "matmul",
    "phi' sits one layer off, before W instead of after it (pre form)": "broadcast",
}
RULES = (
    *("architectures", "backend", "blocks", "convolution", "normalisation", "residual"),
    *("backprop", "dag", "epc", "functions", "inference", "optim", "schedules", "spc", "train", "variants"),
    *("cells", "diagonal", "recurrent", "bptt", "influence", "rtrl", "approximations"),
    *("timestep", "trajectory", "filtering", "tpc"),
    *("spiking", "eprop", "dni"),
)
FAMILIES = ("sPC", "ePC", "BP", "RNN", "GRU", "LSTM", "ELSTM", "LRU", "RTU", "BPTT", "RTRL", "HYB", "STACK")
FAMILIES += ("tPC", "TPR", "KAL")
FAMILIES += ("EPROP", "DNI")


def error(engine, name):
    """How far an engine is from the oracle in the check of a mistake's equation."""
    equation = MISTAKES[name].equation
    if equation in temporal.CHECKS:
        return temporal.temporal_error(engine, equation)
    if equation in approximate.CHECKS:
        return approximate.approximation_error(engine, equation)
    if equation in inferred.CHECKS:
        return inferred.tpc_error(engine, equation)
    if equation in local.CHECKS:
        return local.local_error(engine, equation)
    return battery_error(engine, equation, SQUARE if name in SHAPES else GOOD)


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_caught(name):
    """The engine passes the check of the mistake's equation at 1e-10; the mutant misses it by a million times that."""
    assert error(minipc, name) < 1e-10
    least = 1e-3 if MISTAKES[name].equation in inferred.CHECKS else 1e-4
    with bench().wrong(name) as engine:
        assert least < error(engine, name) < float("inf")


@pytest.mark.parametrize("name", list(MISTAKES)[::20])
def test_an_engine_that_is_built_with_a_mistake_is_the_one_that_exchanges_code(name):
    """The two ways to a wrong engine miss by the same number."""
    with bench().wrong(name) as engine:
        expected = error(engine, name)
    assert error(load(name), name) == expected


@pytest.mark.parametrize("equation", BATTERY)
def test_the_engine_and_its_clean_copy_pass_the_whole_battery(equation):
    """Loading from source text changes nothing; both live, on rectangular and on square problems."""
    for p in (*GOOD, *SQUARE):
        assert_live(CHECKS[equation](minipc, p)[1])
    for engine in (minipc, load()):
        assert BATTERY[equation](engine) < 1e-10
        assert battery_error(engine, equation, SQUARE) < 1e-10


@pytest.mark.parametrize("equation", temporal.CHECKS)
def test_the_engine_and_its_clean_copy_pass_the_checks_in_time(equation):
    """The same, on the sequences of the equation."""
    for p in temporal.problems(equation):
        assert_live(temporal.CHECKS[equation](minipc, p)[1])
    for engine in (minipc, load()):
        assert temporal.temporal_error(engine, equation) < 1e-10


@pytest.mark.parametrize("equation", approximate.CHECKS)
def test_the_engine_and_its_clean_copy_pass_the_checks_of_approximations(equation):
    """The same, with the signs that are given."""
    for p in approximate.problems(equation):
        assert_live(approximate.CHECKS[equation](minipc, p)[1])
    for engine in (minipc, load()):
        assert approximate.approximation_error(engine, equation) < 1e-10


@pytest.mark.parametrize("equation", inferred.CHECKS)
def test_the_engine_and_its_clean_copy_pass_the_checks_of_inference_in_time(equation):
    """The same, with the options of the equation."""
    for case in inferred.problems(equation):
        assert_live(inferred.CHECKS[equation](minipc, case)[1])
    for engine in (minipc, load()):
        assert inferred.tpc_error(engine, equation) < 1e-10


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("the recursion of the influence is dropped", "TPR.5"),
        ("the influence is carried by the transpose of J", "TPR.5"),
        ("the influence decays by 0.999", "TPR.5"),
        ("a reset forgets the influence of the layers below", "TPR.5"),
        ("the trace of zeta takes h_t, not h_{t-1}", "TPR.3"),
        ("the trace of B is driven by the logarithm of gamma", "TPR.3"),
        ("stale errors: computed before the last state step", "tPC.7"),
        ("the top-down term has the wrong sign", "tPC.7"),
        ("phi' sits one layer off, before W instead of after it (pre form)", "tPC.4"),
    ],
)
def test_mistakes_below_it_show_in_tpc(name, equation):
    """Those of cells, influences and inference that tPC stands on."""
    assert 1e-5 < inferred.tpc_error(load(name), equation) < float("inf")


@pytest.mark.parametrize("equation", local.CHECKS)
def test_the_engine_and_its_clean_copy_pass_the_checks_of_local_credit(equation):
    """The same, of spiking cells, e-prop and synthetic gradients."""
    for p in local.problems(equation):
        assert_live(local.CHECKS[equation](minipc, p)[1])
    for engine in (minipc, load()):
        assert local.local_error(engine, equation) < 1e-10


@pytest.mark.parametrize("name", SHAPES)
def test_a_product_of_the_wrong_shapes_needs_square_problems_to_run(name):
    """With distinct widths NumPy refuses these two; square problems alone show that they are wrong."""
    with pytest.raises(ValueError, match=SHAPES[name]):
        BATTERY[MISTAKES[name].equation](load(name))


def test_the_table_is_in_order():
    """Names and substitutions are unique, every rule has mistakes, every equation has a check."""
    assert len(MISTAKES) > 40
    assert all(name == mistake.name for name, mistake in MISTAKES.items())
    assert len({(m.module, m.old, m.new) for m in MISTAKES.values()}) == len(MISTAKES)
    assert {m.module for m in MISTAKES.values()} == set(RULES)
    families = [
        temporal.CHECKS.keys(),
        approximate.CHECKS.keys(),
        inferred.CHECKS.keys(),
        local.CHECKS.keys(),
    ]
    in_time = set().union(*families)
    assert {m.equation for m in MISTAKES.values()} <= CHECKS.keys() | in_time
    assert not CHECKS.keys() & in_time
    assert len(in_time) == sum(map(len, families))
    assert {m.equation for m in MISTAKES.values()} >= in_time
    per_rule = collections.Counter(m.equation.split(".")[0] for m in MISTAKES.values())
    assert min(per_rule[family] for family in FAMILIES) >= 5


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_is_there_once(name):
    """The old text occurs exactly once in its module, and the new text is another."""
    mistake = MISTAKES[name]
    source = (PACKAGE / f"{mistake.module}.py").read_text(encoding="utf-8")
    assert source.count(mistake.old) == 1
    assert mistake.old != mistake.new
    compile(source.replace(mistake.old, mistake.new), mistake.module, "exec")


def test_loading_leaves_the_engine_alone():
    """A mutant shares no module with minipc, and an unknown name is refused."""
    mutant = load("the top-down term has the wrong sign")
    assert mutant.spc is not minipc.spc
    assert mutant.blocks.Dense is not minipc.Dense
    assert battery_error(minipc, "sPC.4", GOOD) < 1e-10
    assert load("the top-down term has the wrong sign") is mutant
    with pytest.raises(KeyError):
        load("no such mistake")


@pytest.mark.parametrize("old", ["no such line", "def "], ids=["nowhere", "in many places"])
def test_a_mistake_that_does_not_fit_the_source_is_refused(monkeypatch, old):
    """After a change of the engine a mistake must not silently become the clean engine, or several mistakes."""
    monkeypatch.setitem(MISTAKES, "new", Mistake("new", "spc", "sPC.4", old, "nothing"))
    with pytest.raises(LookupError, match=r"must occur exactly once in spc\.py"):
        load("new")
