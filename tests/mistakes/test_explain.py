"""The debugger of derivations: every mistake by its name, no name without reason, and what it says of odd results."""

import time

import numpy as np
import pytest
from contracts.source import EQUATIONS
from helpers.confusion import bench

import minipc as pc
from experiments.debugger import asked, by_chance, changed, outcome, pair_outcome, pairs, student
from minipc import check
from minipc.exercises import EXERCISES, Draw
from minipc.mistakes import MISTAKES, load, place

BENCH = bench()


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_named_on_problems_that_it_was_not_tuned_on(name):
    """Sizes and values of two seeds that nobody has looked at."""
    for seed in (101, 202):
        found = outcome(name, seed, BENCH)
        assert found.named, str(found.told)


@pytest.mark.parametrize("equation", EXERCISES)
def test_the_engine_itself_is_correct_and_edits_nothing(equation):
    """In its own form, and in that of a clean copy."""
    for engine in (pc, load()):
        explanation = check.explain(student(engine, equation), equation, seed=7)
        assert explanation.correct, str(explanation)
        assert explanation.notes == ()


def test_no_name_for_correct_code_on_a_thousand_problems():
    """All exercises in turn, rounding of 1e-12 in every number."""
    found = by_chance(1000, 3, 1e-12)
    assert len({o.equation for o in found}) == len(EXERCISES)
    assert [o for o in found if not o.told.correct or o.told.names] == []


def test_no_name_for_answers_that_are_almost_right():
    """A constant in float32, say: nearer to the right answer than any mistake is."""
    found = by_chance(2 * len(EXERCISES), 6, 3e-8)
    assert {o.told.verdict for o in found} == {"close"}
    assert [o for o in found if o.told.names] == []


def test_four_of_five_random_pairs_are_named():
    """200 pairs; of the rest no name is given that does not give the answer."""
    found = [pair_outcome(pair, i, BENCH) for i, pair in enumerate(pairs(200, 17))]
    assert sum(o.named for o in found) >= 160


def test_answers_that_are_wrong_as_no_mistake_is_get_no_name_in_less_than_two_seconds():
    """Noise of one per cent on problems that were never tried, so that every pair is; seconds of computing."""

    def seconds(equation, seed):
        function = changed(equation, np.random.default_rng(0), 1e-2)
        began = time.process_time()
        told = check.explain(function, equation, seed=seed)
        assert (told.verdict, told.names) == ("unknown", ()), equation
        return time.process_time() - began

    for equation in EXERCISES:  # the second chance is for a machine that was busy with something else
        assert seconds(equation, 12345) < 2 or seconds(equation, 54321) < 2, equation


# ---------------------------------------------------------------------- what is said of odd results


def right(net, params, s, y, precision):
    """The right answer to (sPC.4)."""
    return pc.spc.activity_gradient(net, params, s, y, precision)


def raising(net, params, s, y, precision):
    """A student's exception."""
    return undefined_name  # noqa: F821


def todo(net, params, s, y, precision):
    """An exercise that was not begun."""
    raise NotImplementedError("Exercise 2.1")


def edits(net, params, s, y, precision):
    """Edits the states that it is given."""
    found = right(net, params, s, y, precision)
    s[1] += 1.0
    return found


def first_of(change):
    """The right answer with the first array changed."""

    def function(net, params, s, y, precision):
        found = right(net, params, s, y, precision)
        return [None, change(found[1]), *found[2:]]

    return function


@pytest.mark.parametrize(
    ("function", "verdict", "message"),
    [
        (todo, "not done", "not done yet: Exercise 2.1"),
        (raising, "raises", "NameError: name 'undefined_name' is not defined, in line"),
        (lambda *given: None, "structure", "nothing was returned: is the return missing?"),
        (lambda *given: right(*given)[:2], "structure", "1 arrays were returned, 2 expected"),
        (lambda *given: (g for g in right(*given)), "structure", "made of arrays of numbers, got generator"),
        (lambda *given: "none", "structure", "made of arrays of numbers, got str"),
        (first_of(lambda g: g.T), "shape", "is it transposed?"),
        (first_of(lambda g: g.sum(axis=0)), "shape", "is there a sum too many?"),
        (first_of(lambda g: g / 0), "not finite", "[1][0, 0] is "),
        (first_of(lambda g: g + 1e-6), "close", "almost: right to"),
        (lambda *given: right(*given)[::-1], "shape", "[1] has shape"),
    ],
)
def test_what_is_no_gradient_yet(function, verdict, message):
    """In the order in which a student meets it."""
    explanation = check.explain(function, "sPC.4")
    assert explanation.verdict == verdict
    assert message in explanation.message
    assert not explanation.correct
    assert explanation.names == ()


def test_an_edited_argument_and_another_dtype_are_noted():
    """Both leave the answer correct."""
    told = check.explain(edits, "sPC.4")
    assert told.correct
    assert told.notes == ("it edits its argument s",)
    told = check.explain(lambda *given: [g if g is None else g.astype("f4") for g in right(*given)], "sPC.4")
    assert told.correct
    assert "float32" in told.notes[0]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda g: -g, ("the sign is wrong ([1])",)),
        (lambda g: 0.37 * g, ("a constant factor 0.37 ([1])",)),
        (lambda g: g / len(g), ("a mean over the batch, not a sum (a factor 1/B) ([1])",)),
        (lambda g: 0 * g, ("it is zero ([1])",)),
    ],
)
def test_simple_relations_name_the_array(change, names):
    """The others are right."""
    told = check.explain(first_of(change), "sPC.4")
    assert told.names == names
    assert "It is wrong in [1]:" in str(told)


def test_a_student_is_called_by_names_or_in_order():
    """All names that it needs are known, or else the order of the exercise."""

    def by_name(y, Pi, s, W, b, *, params):
        assert len(W) == len(b) == len(Pi)
        return right(
            pc.Network([pc.Dense(*w.shape[::-1], a) for w, a in zip(W, kinds(W), strict=True)]),
            params,
            s,
            y,
            Pi,
        )

    def kinds(W):
        return ["tanh"] * (len(W) - 1) + ["identity"]

    assert check.explain(by_name, "sPC.4").correct
    assert check.explain(lambda a, b_, c, d, e: right(a, b_, c, d, e), "sPC.4").correct
    assert check.explain(lambda *given: right(*given), "sPC.4").correct


class Foreign:
    """An array of a library that NumPy knows nothing of, but how to read it."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        """What NumPy asks for."""
        return np.asarray(self._array, dtype)


def test_arrays_of_another_library_are_read():
    """Right ones are right, wrong ones are named."""
    assert check.explain(
        lambda *given: [g if g is None else Foreign(g) for g in right(*given)], "sPC.4"
    ).correct
    told = check.explain(lambda *given: [g if g is None else Foreign(-g) for g in right(*given)], "sPC.4")
    assert told.names == ("the sign is wrong",)


def test_pytorch_is_read():
    """Tensors that still know their gradient, in the student's own arithmetic."""
    torch = pytest.importorskip("torch")

    def by_autograd(W, b, s, y, Pi):
        s = [torch.tensor(v, requires_grad=True) for v in s]
        top, total = len(W), 0.0
        for l in range(1, top + 1):
            a = s[l - 1] @ torch.tensor(W[l - 1]).T + torch.tensor(b[l - 1])
            eps = (s[l] if l < top else torch.tensor(y)) - (torch.tanh(a) if l < top else a)
            P = torch.as_tensor(Pi[l - 1], dtype=torch.float64)  # of a number it would make a float32
            total = total + 0.5 * ((eps @ P if P.ndim == 2 else P * eps) * eps).sum()
        found = torch.autograd.grad(total, s[1:], create_graph=True)
        return [None, *found]

    assert check.explain(by_autograd, "sPC.4").correct


def test_it_prints_as_text_as_a_table_and_as_json():
    """One mistake in all three."""
    told = check.explain(first_of(lambda g: -g), "sPC.4")
    shapes, *table, mistake, equation = str(told).splitlines()
    assert shapes.startswith("(sPC.4) The shapes are right, the dtype too, all numbers are finite.")
    assert "worst entry" in table[0]
    assert mistake == "The mistake: the sign is wrong ([1])"
    assert equation.startswith(r"  (sPC.4)  $\partial E/\partial s_l = \xi_l")
    assert "<table>" in told._repr_html_()
    found = told.to_dict()
    assert found["names"] == ["the sign is wrong ([1])"]
    assert found["arrays"][0]["relative_error"] == pytest.approx(2.0)
    assert found["correct"] is False


def test_bad_arguments_are_refused():
    """The ids that have an exercise are listed."""
    with pytest.raises(ValueError, match=r"equation must be one of .*sPC\.4.*; got 'sPC\.99'"):
        check.explain(right, "sPC.99")
    with pytest.raises(TypeError, match="student must be a function, got int"):
        check.explain(3, "sPC.4")


# ---------------------------------------------------------------------- exercises and the bench


@pytest.mark.parametrize("equation", EXERCISES)
def test_an_exercise_says_what_it_wants(equation):
    """Its id is an equation's or a rule's, its statement names shapes, its problem gives all that is asked for."""
    exercise = EXERCISES[equation]
    anchor = equation.lower().replace(".", "")
    assert f'id="{anchor}"' in EQUATIONS or "." not in equation
    assert str(exercise).startswith(f"({equation})  {exercise.name}(")
    assert len(exercise.statement) > 20
    for size in (None, *range(len(Draw.SMALL))):
        given = exercise.problem(Draw(np.random.default_rng(1), size))
        assert set(exercise.arguments) <= set(given)


def test_problems_are_not_degenerate():
    """No two of three settings have the same B or T, widths differ, small problems have short numbers."""
    draws = [Draw(np.random.default_rng(5), setting=i) for i in range(3)]
    assert len({d.B for d in draws}) == len({d.T for d in draws}) == 3
    assert min(d.B for d in draws) >= 2
    assert min(d.T for d in draws) >= 4
    assert len(set(draws[0].widths(4))) == 4
    small = Draw(np.random.default_rng(5), 3)
    x = small.normal(50)
    assert (np.round(x, 1) == x).all()
    assert (x != 0).all()


def test_every_mistake_has_a_place_and_an_exercise():
    """Inside of a function, so that the bench can exchange it; and somebody asks for it."""
    for name, mistake in MISTAKES.items():
        assert place(mistake) is not None, name
        assert asked(name), name


def test_the_bench_puts_everything_back():
    """Also after an exception, and when mistakes are nested."""
    a = np.array([[0.3, -2.0]])
    clean = BENCH.engine.functions.dtanh(a, np.tanh(a))

    def interrupted():
        with BENCH.wrong("tanh' is written 1 - mu"):
            assert not np.allclose(BENCH.engine.functions.dtanh(a, np.tanh(a)), clean)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert np.array_equal(BENCH.engine.functions.dtanh(a, np.tanh(a)), clean)
    assert np.array_equal(pc.functions.dtanh(a, np.tanh(a)), clean)


def test_the_bench_knows_which_mistakes_a_run_can_meet():
    """Those of the functions that were called, and no others."""
    a = np.ones((2, 3))
    met = BENCH.reached(lambda engine: engine.functions.dsigmoid(a, a))
    assert met == ["sigmoid' lacks the factor 1 - mu"]


def test_two_mistakes_of_the_same_text_are_refused():
    """The second one no longer finds its line."""
    with (
        pytest.raises(LookupError, match="must occur exactly once"),
        BENCH.wrong("phi' is missing (post form)", "phi' is missing (post form)"),
    ):
        pass
