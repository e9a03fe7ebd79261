"""``check.gradient``, ``jacobian``, ``vjp``, ``jvp``, ``hessian_vector``: what they accept, refuse, explain and admit not to know."""

import json
import math
import time

import numpy as np
import pytest

import minipc as pc
from minipc import check
from minipc.check import verdicts

RNG = np.random.default_rng(0)
X, A = RNG.standard_normal(5), RNG.standard_normal((3, 4))
V = RNG.standard_normal(4)
Z = RNG.standard_normal(4) + 1j * RNG.standard_normal(4)


def only(found):
    """The one row of a report."""
    (row,) = found.rows
    return row


def square(x):
    """A function that every oracle can differentiate."""
    return (x**2).sum()


# --- which oracle ------------------------------------------------------------------------------------------------------

NOT_ANALYTIC = {
    "abs": (lambda x: (abs(x) ** 3).sum(), lambda x: 3 * x * abs(x)),
    "conj": (lambda x: (x.conj() * x).sum().real, lambda x: 2 * x),
    "conj in one factor": (lambda x: (x.conj() * x).sum() ** 2, lambda x: 4 * (x @ x) * x),
    "norm": (np.linalg.norm, lambda x: x / np.linalg.norm(x)),
    "vdot": (lambda x: np.vdot(x, x), lambda x: 2 * x),
    "real": (lambda x: square(x.real) + 0 * x.sum(), lambda x: 2 * x),
    "real of a part": (lambda x: square(x) + 0.1 * square(x.real), lambda x: 2.2 * x),
    "cast": (lambda x: square(x.astype(float)), lambda x: 2 * x),
    "float": (lambda x: sum(float(v) ** 2 for v in x), lambda x: 2 * x),
    "math": (lambda x: sum(math.tanh(v) for v in x), lambda x: 1 - np.tanh(x) ** 2),
    "a buffer of floats": (lambda x: square(np.zeros(5) + np.fromiter(x, float)), lambda x: 2 * x),
    "abs of a millionth": (lambda x: square(x) + 1e-6 * abs(x).sum(), lambda x: 2 * x + 1e-6 * np.sign(x)),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_complex_step_is_not_believed_where_it_does_not_hold(name):
    """The right gradient passes by differences; the one that a complex step would give is refused."""
    f, g = NOT_ANALYTIC[name]
    found = check.gradient(f, g, X)
    assert found.correct, f"\n{found}"
    assert only(found).oracle == "differences"
    assert only(found).accuracy < 1e-9
    assert not check.gradient(f, lambda x: 0 * x, X).correct
    assert not check.gradient(f, lambda x: g(x) * (1 + 1e-7), X).correct


def test_a_part_that_a_complex_step_does_not_see_is_not_overlooked():
    """Whoever forgets the same part as the complex step is not told to be right."""
    found = check.gradient(lambda x: square(x) + 1e-6 * abs(x).sum(), lambda x: 2 * x, X)
    assert only(found).verdict == "differs"


@pytest.mark.parametrize("constant", [1e12, 1e14, 1e17])
def test_a_complex_step_is_not_believed_where_differences_say_nothing(constant):
    """They do not contradict it: its zero is as good to them as the right one."""
    for answer in (np.zeros_like, lambda x: 2 * x):
        row = only(check.gradient(lambda x: constant + np.vdot(x, x), answer, 0.01 * X))
        assert (row.verdict, row.oracle) == ("cannot tell", "differences")


def test_nobody_is_blamed_for_less_than_what_differences_confirm():
    """A constant hides from them that a complex step does not see a small part, which the right answer has."""
    f = lambda x: 1e8 + np.cosh(x).sum() + 1e-7 * abs(x).sum()  # noqa: E731
    g = lambda x: np.sinh(x) + 1e-7 * np.sign(x)  # noqa: E731
    row = only(check.gradient(f, g, X))
    assert (row.verdict, row.oracle) == ("agrees", "complex step")
    assert 1e-8 < row.relative_error < row.accuracy < 1e-3
    assert only(check.gradient(f, g, X, full=False)).verdict == "agrees"
    assert only(check.gradient(f, lambda x: 1.01 * g(x), X)).verdict == "differs"


ANALYTIC = {
    "tanh": (lambda x: np.tanh(x).sum(), lambda x: 1 - np.tanh(x) ** 2),
    "where on real parts": (
        lambda x: np.where(x.real > 0, x, 0.1 * x).sum(),
        lambda x: np.where(x > 0, 1, 0.1),
    ),
    "a large constant": (lambda x: 1e8 + square(x), lambda x: 2 * x),
    "a small scale": (lambda x: np.sin(1e5 * x).sum(), lambda x: 1e5 * np.cos(1e5 * x)),
    "numbers": (
        lambda x: x[0] * x[1] ** 2 + np.exp(x[2]),
        lambda x: [x[1] ** 2, 2 * x[0] * x[1], np.exp(x[2])],
    ),
}


@pytest.mark.parametrize("name", ANALYTIC)
def test_complex_step_is_used_where_it_holds(name):
    """To rounding: an error of 1e-8 is seen."""
    f, g = ANALYTIC[name]
    x = X if name != "numbers" else [0.3, -1.2, 0.7]
    found = check.gradient(f, g, x)
    assert found.correct, f"\n{found}"
    assert {row.oracle for row in found.rows} == {"complex step"}
    assert max(row.accuracy for row in found.rows) < 1e-10


def test_each_parameter_has_its_own_oracle():
    """One goes through abs, the other does not."""
    found = check.gradient(
        lambda a, b: square(a) * abs(b).sum(),
        lambda a, b: (2 * a * abs(b).sum(), square(a) * np.sign(b)),
        X,
        V,
        wrt=(0, 1),
    )
    assert found.correct
    assert [row.oracle for row in found.rows] == ["complex step", "differences"]


# --- kinks ---------------------------------------------------------------------------------------------------------------

KINKS = {
    "relu": (lambda x: np.maximum(x, 0).sum(), lambda x, at: np.where(x == 0, at, x > 0), [1.0, 0, -1, 0]),
    "relu by where": (
        lambda x: np.where(x.real > 0, x, 0).sum(),
        lambda x, at: np.where(x == 0, at, x > 0),
        [1.0, 0, -1, 0],
    ),
    "abs beside a smooth part": (
        lambda x: abs(x).sum() + 5 * np.exp(x).sum(),
        lambda x, at: np.where(x == 0, 2 * at - 1, np.sign(x)) + 5 * np.exp(x),
        [1.0, 0, -1, 0],
    ),
}


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_any_value_between_the_one_sided_derivatives_passes(name, at):
    """And it is said that there is a kink, and where."""
    f, g, x = KINKS[name]
    found = check.gradient(f, lambda x: g(x, at), np.array(x))
    assert found.correct, f"\n{found}"
    assert only(found).verdict == "not differentiable"
    assert "kink here, in 2 of 4" in only(found).notes[0]
    assert "([1], [3])" in only(found).notes[0]


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("at", [-0.5, 1.5])
def test_a_value_outside_them_does_not(name, at):
    """A kink is no excuse; nor is it one for the other entries."""
    f, g, x = KINKS[name]
    found = check.gradient(f, lambda x: g(x, at), np.array(x))
    assert only(found).verdict == "differs"
    assert only(found).worst in ((1,), (3,))
    wrong = check.gradient(f, lambda x: g(x, 0.5) + np.array([0, 0, 0.1, 0]), np.array(x))
    assert only(wrong).verdict == "differs"
    assert only(wrong).worst == (2,)


def test_a_tie_of_a_maximum_is_a_kink():
    """Both maximal entries; the others have the derivative zero."""
    found = check.gradient(lambda x: x.max(), lambda x: np.eye(4)[x.argmax()], np.array([1.0, 2, 2, 0]))
    assert only(found).verdict == "not differentiable"
    assert found.correct


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-4])
def test_a_kink_nearby_is_none_here(distance):
    """The derivative on this side of it."""
    f, g = lambda x: abs(x - 0.3).sum(), lambda x: np.sign(x - 0.3)
    found = check.gradient(f, g, 0.3 + distance * np.array([1.0, -1, -1]))
    assert found.correct, f"\n{found}"
    assert only(found).verdict == "agrees"
    assert not check.gradient(f, lambda x: 0 * x, 0.3 + distance * np.array([1.0, -1, -1])).correct


# --- what cannot be known -----------------------------------------------------------------------------------------------------


def test_a_constant_that_drowns_the_function():
    """Differences lose their digits: right is not called right, and 1 % is not called wrong; twice is."""
    f, g = lambda x: 1e11 + np.linalg.norm(x), lambda x: x / np.linalg.norm(x)
    for factor in (1, 1.01):
        found = check.gradient(f, lambda x, c=factor: c * g(x), X)
        assert only(found).verdict == "cannot tell"
        assert "the oracle is only good to" in only(found).notes[0]
        assert 1e-3 < only(found).accuracy < 1
        assert not found.correct
    assert only(check.gradient(f, lambda x: 2 * g(x), X)).verdict == "differs"


@pytest.mark.parametrize("digits", [2, 3, 5, 8])
def test_a_function_that_rounds(digits):
    """As the result of an iteration with a tolerance does."""
    f = lambda x: round(np.log(np.exp(x).sum()), digits)  # noqa: E731
    g = lambda x: np.exp(x) / np.exp(x).sum()  # noqa: E731
    found = check.gradient(f, g, X)
    row = only(found)
    assert row.verdict in ("agrees", "cannot tell")
    assert row.relative_error <= row.accuracy
    assert row.accuracy > 10.0 ** -(digits + 1)
    assert (row.verdict == "agrees") == (row.accuracy <= 1e-3)
    wrong = only(check.gradient(f, lambda x: -g(x), X)).verdict
    assert wrong == "differs" or (wrong == "cannot tell" and digits < 4)


def test_an_infinite_derivative_and_a_function_that_ends():
    """The square root at zero, which does not exist to the left."""
    found = check.gradient(lambda x: np.sqrt(x).sum(), lambda x: 0.5 / np.sqrt(x), np.array([1.0, 0.0]))
    assert only(found).verdict == "cannot tell"


def test_near_the_end_of_the_domain_steps_become_short():
    """A logarithm at 1e-6 beside entries of size 1."""
    x = np.array([1e-6, 1.5, 2.0])
    f, g = lambda x: np.linalg.norm(np.log(x)), lambda x: np.log(x) / x / np.linalg.norm(np.log(x))
    found = check.gradient(f, g, x)
    assert found.correct, f"\n{found}"
    assert only(found).accuracy < 1e-6


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1, 1e3, 1e8])
@pytest.mark.parametrize("size", [1e-8, 1, 1e8])
@pytest.mark.parametrize("norm", [np.linalg.norm, lambda a: (a * a).sum() ** 0.5])
def test_any_scale(scale, size, norm):
    """Of the parameters and of the function, by both oracles."""

    def f(x):
        return size * norm(np.tanh(x / scale))

    def g(x):
        a = np.tanh(x / scale)
        return size / scale * a * (1 - a * a) / norm(a)

    found = check.gradient(f, g, scale * X)
    assert found.correct, f"\n{found}"
    assert only(found).accuracy < 1e-9
    assert not check.gradient(f, lambda x: g(x) * 1.000001, scale * X).correct


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1])
def test_parameters_much_smaller_than_what_the_function_feels(scale):
    """Steps become longer than the parameters."""
    f, g = lambda x: np.linalg.norm(np.tanh(x + 1)), lambda x: _slope(x + 1)
    found = check.gradient(f, g, scale * X)
    assert found.correct
    assert only(found).accuracy < 1e-8


def _slope(a):
    t = np.tanh(a)
    return t * (1 - t * t) / np.linalg.norm(t)


# --- zero -----------------------------------------------------------------------------------------------------------------------


def test_zero_is_right_where_nothing_depends_on_it():
    """And nothing else is, however small."""
    f = lambda a, b: square(a)  # noqa: E731
    assert check.gradient(f, lambda a, b: (2 * a, 0 * b), X, V, wrt=(0, 1)).correct
    found = check.gradient(f, lambda a, b: (2 * a, 1e-6 * b), X, V, wrt=(0, 1))
    assert [row.verdict for row in found.rows] == ["agrees", "differs"]
    assert found.rows[1].notes == ("the function does not change with it: the derivative is zero",)
    assert found.rows[1].relative_error == np.inf


def test_zero_alone_is_shown_only_where_nothing_changes_at_all():
    """Long steps show it; a constant that hides every change does not show that there is none."""
    found = check.gradient(lambda b, a: np.linalg.norm(a), lambda b, a: 0 * b, V, X)
    assert found.correct
    assert only(found).accuracy == 0
    assert (
        only(check.gradient(lambda b, a: np.linalg.norm(a), lambda b, a: 1e-20 * b, V, X)).verdict
        == "differs"
    )
    for answer in (np.zeros_like, np.cos):
        hidden = check.gradient(lambda x: np.float32(1e7 + np.sin(x).sum()), answer, X)
        assert only(hidden).verdict == "cannot tell", f"\n{hidden}"
        assert "the oracle " in only(hidden).notes[0]
        assert "inf" not in only(hidden).notes[0]


def test_zero_but_for_rounding_is_zero():
    """A number added to all logits changes no softmax; the answer is the sum of terms that cancel."""

    def f(c, a):
        e = np.exp(a + c)
        return -np.log(e[1] / e.sum())

    def g(c, a):
        e = np.exp(a + c)
        by_logits = e / e.sum() - np.eye(5)[1]
        return e[0] / e.sum() + e[2:].sum() / e.sum() - (1 - e[1] / e.sum()), by_logits

    found = check.gradient(f, g, 0.3, X, wrt=(0, 1))
    assert found.correct, f"\n{found}"
    assert "zero but for rounding" in found.rows[0].notes[0]
    wrong = check.gradient(f, lambda c, a: (g(c, a)[0] + 1e-6, g(c, a)[1]), 0.3, X, wrt=(0, 1))
    assert wrong.rows[0].verdict == "differs"
    real = lambda c, a: f(np.real(c), np.real(a))  # noqa: E731
    for seed in range(30):  # by differences, which have the same rounding divided by their steps
        x = np.random.default_rng(seed).standard_normal(5)
        found = check.gradient(real, g, 0.3, x, wrt=(0, 1), seed=seed)
        assert found.correct, f"\n{found}"
        assert {row.oracle for row in found.rows} == {"differences"}


def attention(W, b, x):
    """Keys with a bias, which every weight of a softmax over the keys loses again: the derivative by it is zero."""
    s = x @ (x @ W.T + b).T
    e = np.exp(s - s.real.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True) @ x)[:, 0].sum()


def attention_gradient(W, b, x):
    """By W and b, as one writes it down: by b as a sum of terms that cancel."""
    s = x @ (x @ W.T + b).T
    e = np.exp(s - s.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    by_s = p * (x[:, 0] - (p @ x)[:, :1])
    by_keys = by_s.T @ x
    return by_keys.T @ x, by_keys.sum(axis=0)


@pytest.mark.parametrize("parameters", ["float16", "float32", "float64"])
@pytest.mark.parametrize("answer", ["float32", "float64"])
def test_what_is_zero_but_for_the_rounding_of_the_answer_is_zero(parameters, answer):
    """Of the lowest precision that took part, though the oracle is a complex step in double precision."""
    wrong = 1.0 if parameters == "float16" else 1e-3
    for seed in range(5):
        rng = np.random.default_rng(seed)
        W, b, x = (rng.standard_normal(n).astype(parameters) for n in ((4, 4), (4,), (6, 4)))

        def g(*args, more=0.0):
            by_W, by_b = attention_gradient(*(a.astype(answer) for a in args))
            return by_W, by_b + np.array(more, answer)

        found = check.gradient(attention, g, W, b, x, wrt=(0, 1), seed=seed)
        assert found.correct, f"\n{found}"
        assert "zero but for rounding" in found.rows[1].notes[0]
        found = check.gradient(attention, lambda *a: g(*a, more=wrong), W, b, x, wrt=(0, 1), seed=seed)
        assert [row.verdict for row in found.rows] == ["agrees", "differs"]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_derivative_far_below_the_others_is_judged_by_itself(precision):
    """A complex step sees it as it is: it is no rounding, and twice is wrong."""
    f = lambda a, b: 1e6 * a + 1e-12 * np.sin(b).sum()  # noqa: E731
    g = lambda a, b: (1e6, 1e-12 * np.cos(b))  # noqa: E731
    a, b = np.zeros((), precision), X.astype(precision)
    assert check.gradient(f, g, a, b, wrt=(0, 1)).correct
    twice = check.gradient(f, lambda a, b: (1e6, 2 * g(a, b)[1]), a, b, wrt=(0, 1))
    assert [row.verdict for row in twice.rows] == ["agrees", "differs"]
    assert twice.rows[1].notes == ("the answer is the right one times 2",)


def test_a_constant_in_the_function_hides_no_small_answer():
    """What may be rounding follows from the other derivatives, not from how large the function is."""
    f = lambda a, b: 1e3 + np.linalg.norm(a)  # noqa: E731
    answers = [(0.0, "agrees"), (1e-12, "differs")]
    for factor, verdict in answers:
        g = lambda a, b, c=factor: (a / np.linalg.norm(a), c * b)  # noqa: E731
        assert [r.verdict for r in check.gradient(f, g, X, V, wrt=(0, 1)).rows] == ["agrees", verdict]
    drowned = lambda a, b: 1e9 + np.linalg.norm(a) + 1e-7 * np.linalg.norm(b)  # noqa: E731
    found = check.gradient(drowned, lambda a, b: (a / np.linalg.norm(a), 0 * b), X, V, wrt=(0, 1))
    assert found.rows[1].verdict == "cannot tell", f"\n{found}"


def test_one_that_is_missing_is_named():
    """All zero, where the derivative is not."""
    assert only(check.gradient(square, np.zeros_like, X)).notes == ("the answer is zero everywhere",)


# --- precision --------------------------------------------------------------------------------------------------------------------


def forms(x):
    """A function that computes in what it gets, and its gradient."""
    return np.log(np.cosh(x)).sum(), np.tanh(x)


@pytest.mark.parametrize("norm", [True, False])
def test_single_precision_is_promoted_where_the_function_takes_it(norm):
    """The oracle is that of double precision, the bar that of single precision."""
    f = (lambda x: np.linalg.norm(x)) if norm else (lambda x: forms(x)[0])
    g = (lambda x: x / np.linalg.norm(x)) if norm else (lambda x: forms(x)[1])
    x = X.astype("float32")
    found = check.gradient(f, g, x)
    assert found.correct
    assert only(found).accuracy < 1e-9
    assert only(found).relative_error > 1e-10
    assert only(found).oracle == ("differences" if norm else "complex step")
    assert not check.gradient(f, lambda x: g(x) * np.float32(1.001), x).correct
    assert check.gradient(f, lambda x: g(x) * np.float32(1.00001), x).correct


def single(x):
    """Refuses everything but single precision."""
    if x.dtype != np.float32:
        raise TypeError("float32 expected")
    return np.sqrt((np.tanh(x) ** 2).sum())


def single_gradient(x):
    """Its gradient."""
    t = np.tanh(x)
    return t * (1 - t * t) / np.sqrt((t * t).sum())


@pytest.mark.parametrize("f", [single, lambda x: single(x.astype("float32"))])
def test_a_function_in_single_precision_alone(f):
    """Steps and accuracy follow: about four digits; one per cent is still seen."""
    x = X.astype("float32")
    found = check.gradient(f, single_gradient, x)
    assert found.correct, f"\n{found}"
    assert 1e-7 < only(found).accuracy < 5e-3
    assert only(found).relative_error < only(found).accuracy
    found = check.gradient(f, lambda x: single_gradient(x) * np.float32(1.05), x)
    assert only(found).verdict == "differs"


def test_values_in_single_precision_set_the_bar():
    """Of a function that takes double precision and returns single: an oracle that is good to 1 % has to do."""
    f = lambda x: np.float32(100 + np.linalg.norm(x))  # noqa: E731
    row = only(check.gradient(f, lambda x: x / np.linalg.norm(x), X))
    assert 1e-3 < row.accuracy < 1e-2
    assert row.verdict == "agrees"
    double = only(check.gradient(lambda x: float(f(x)), lambda x: x / np.linalg.norm(x), X))
    assert double.verdict == "cannot tell"
    assert 1e-3 < double.accuracy < 1e-2


def test_an_answer_in_single_precision_is_judged_as_such():
    """Whatever the parameters are."""
    assert check.gradient(square, lambda x: (2 * x).astype("float32"), X).correct
    assert not check.gradient(square, lambda x: (2.001 * x).astype("float32"), X).correct


def test_half_precision():
    """Three digits; norms are not taken in it."""
    x = X.astype("float16")
    row = only(check.gradient(np.linalg.norm, lambda x: x / np.linalg.norm(x), x))
    assert row.verdict == "agrees"
    assert abs(row.cosine - 1) < 1e-6
    assert not check.gradient(np.linalg.norm, lambda x: x / np.linalg.norm(x) * np.float16(1.1), x).correct


def test_the_lowest_of_several_precisions_is_the_bar():
    """One parameter in single precision makes the derivative by the others good to no more."""
    x = np.random.default_rng(1).standard_normal((6, 4)).astype("float32")
    W, b = A.astype("float32"), V[:3]
    f = lambda W, b, x: np.tanh(x @ W.T + b).sum()  # noqa: E731

    def g(W, b, x, factor=1.0):
        d = 1 - np.tanh(x @ W.T + b) ** 2
        return d.T @ x, factor * d.sum(axis=0)

    found = check.gradient(f, g, W, b, x, wrt=(0, 1))
    assert g(W, b, x)[1].dtype == float
    assert found.rows[1].relative_error > 1e-9
    assert found.correct, f"\n{found}"
    found = check.gradient(f, lambda *a: g(*a, factor=1.001), W, b, x, wrt=(0, 1))
    assert [row.verdict for row in found.rows] == ["agrees", "differs"]


def test_double_precision_is_judged_as_such():
    """An answer that was computed in single precision and cast back is refused."""
    wrong = check.gradient(lambda x: forms(x)[0], lambda x: forms(x.astype("float32"))[1].astype(float), X)
    assert only(wrong).verdict == "differs"


# --- complex parameters ----------------------------------------------------------------------------------------------------------------


def test_complex_parameters_have_the_gradient_that_one_subtracts():
    """dF/dRe + i dF/dIm: of |z|^2 it is 2 z, of Re(z^2) it is 2 conj(z); downhill is downhill."""
    f, g = lambda z: (abs(z) ** 2).sum() + (z**2).real.sum(), lambda z: 2 * z + 2 * z.conj()
    assert check.gradient(f, g, Z).correct
    assert f(Z - 1e-4 * g(Z)) < f(Z)
    assert check.gradient(f, g, Z, full=False).correct


def test_the_other_convention_is_named():
    """As JAX and autograd return it."""
    f, g = lambda z: ((z**3).real + abs(z) ** 2).sum(), lambda z: 3 * z.conj() ** 2 + 2 * z
    assert check.gradient(f, g, Z).correct
    assert "complex conjugate" in only(check.gradient(f, lambda z: g(z).conj(), Z)).notes[0]
    assert "only the real part" in only(check.gradient(f, lambda z: g(z).real, Z)).notes[0]
    assert "times 1/2" in only(check.gradient(f, lambda z: g(z) / 2, Z)).notes[0]
    assert "complex conjugate" in only(check.gradient(f, lambda z: g(z).conj(), Z, full=False)).notes[0]


def test_a_real_parameter_has_a_real_derivative():
    """Inside a complex function, too; an imaginary part that is left over is named."""
    B = RNG.standard_normal((3, 5)) + 1j * RNG.standard_normal((3, 5))
    f, g = lambda x: (abs(B @ x) ** 2).sum(), lambda x: 2 * B.conj().T @ (B @ x)
    assert check.gradient(f, lambda x: g(x).real, X).correct
    found = check.gradient(f, g, X)
    assert not found.correct
    assert "take .real" in only(found).notes[0]


# --- reasons ------------------------------------------------------------------------------------------------------------------------------

M = RNG.standard_normal((4, 4))


def bilinear(W, x):
    """Its gradient is not symmetric, and B is 6."""
    return np.tanh(x @ W.T).sum()


def bilinear_gradient(W, x):
    """By W."""
    return (1 - np.tanh(x @ W.T) ** 2).T @ x


REASONS = {
    "sign": (lambda g, W: -g, "the sign is wrong"),
    "twice": (lambda g, W: 2 * g, "the answer is the right one times 2"),
    "half": (lambda g, W: g / 2, "the answer is the right one times 1/2"),
    "mean": (
        lambda g, W: g / 6,
        "the answer is the right one times 1/6 (a mean over axis 0 of x for a sum?)",
    ),
    "too often": (lambda g, W: g * 6, "the answer is the right one times 6 (6 is the length of axis 0 of x)"),
    "sign and twice": (lambda g, W: -2 * g, "the sign is wrong; the answer is the right one times 2"),
    "a factor": (lambda g, W: 0.37 * g, "the answer is the right one times 0.37"),
    "nearly one": (lambda g, W: 0.999 * g, "the answer is the right one times 0.999"),
    "transposed": (lambda g, W: g.T, "the answer is transposed"),
    "transposed, sign": (lambda g, W: -g.T, "the answer is transposed; the sign is wrong"),
    "decay": (
        lambda g, W: g - 0.1 * W,
        "the difference is -0.1 times the parameter itself, as a term of weight decay would be",
    ),
    "zero": (lambda g, W: 0 * g, "the answer is zero everywhere"),
    "one entry": (lambda g, W: g + np.outer([0, 1, 0, 0], [0, 0, 1, 0]), "1 of 16 entries differ"),
    "one row": (
        lambda g, W: g * [[1], [1.5], [1], [1]],
        "4 of 16 entries differ, in all of them the index on axis 0 is 1",
    ),
}


@pytest.mark.parametrize("name", REASONS)
@pytest.mark.parametrize("norm", [True, False])
def test_a_simple_reason_is_named(name, norm):
    """Whichever oracle is used."""
    how, reason = REASONS[name]
    f = (lambda W, x: bilinear(W, x) + 0 * np.linalg.norm(W)) if norm else bilinear
    x = np.random.default_rng(1).standard_normal((6, 4))
    assert check.gradient(f, bilinear_gradient, M, x).correct
    found = check.gradient(f, lambda W, x: how(bilinear_gradient(W, x), W), M, x)
    assert only(found).verdict == "differs"
    assert only(found).notes == (reason,)
    if name not in ("one entry", "one row"):
        assert only(
            check.gradient(f, lambda W, x: how(bilinear_gradient(W, x), W), M, x, full=False)
        ).notes == (reason,)


def test_a_factor_is_named_only_where_it_explains_the_difference():
    """0.2 % too much in single precision is a factor; with noise of a quarter of that it is none."""
    x = np.random.default_rng(1).standard_normal((6, 4)).astype("float32")
    noise = np.random.default_rng(2).standard_normal((4, 4)).astype("float32")

    def notes(level):
        def wrong(W, x):
            g = bilinear_gradient(W, x)
            error = level * noise * np.linalg.norm(g) / np.linalg.norm(noise)
            return (1.002 * g + error).astype("float32")

        row = only(check.gradient(bilinear, wrong, M.astype("float32"), x))
        assert row.verdict == "differs"
        return row.notes

    assert notes(0.0) == ("the answer is the right one times 1.002",)
    assert "times" not in "".join(notes(5e-4))


def test_no_reason_is_invented():
    """Noise of one tenth has none."""
    noise = 0.1 * np.random.default_rng(2).standard_normal((4, 4))
    x = np.random.default_rng(1).standard_normal((6, 4))
    for full in (True, False):
        row = only(check.gradient(bilinear, lambda W, x: bilinear_gradient(W, x) + noise, M, x, full=full))
        assert (row.verdict, row.notes) == ("differs", ())


def test_the_numbers_of_a_row():
    """Relative error, cosine, norm ratio, the worst entry with both values."""
    x = np.array([3.0, 4.0])
    row = only(check.gradient(square, lambda x: 2 * x + np.array([0.0, 1.0]), x))
    assert row.relative_error == pytest.approx(0.1)
    assert row.cosine == pytest.approx((36 + 72) / 10 / np.hypot(6, 9))
    assert row.norm_ratio == pytest.approx(np.hypot(6, 9) / 10)
    assert (row.worst, row.given, row.expected) == ((1,), 9, pytest.approx(8))


# --- structure, shape, finite ----------------------------------------------------------------------------------------------------------------

TREE = {"layers": [{"W": A, "b": V[:3]}, (V, 0.5)], "none": None}


def of_tree(p):
    """A function of a nested structure."""
    layer, (v, c) = p["layers"]
    return np.tanh(layer["W"] @ v + layer["b"]).sum() * c


def tree_gradient(p):
    """Its gradient; a list where there was a tuple."""
    layer, (v, c) = p["layers"]
    t = np.tanh(layer["W"] @ v + layer["b"])
    d = (1 - t * t) * c
    return {"layers": [{"W": np.outer(d, v), "b": d}, [layer["W"].T @ d, t.sum()]], "none": None}


def test_nested_structures_are_named_as_in_python():
    """Lists and tuples are one thing, None has no derivative."""
    found = check.gradient(of_tree, tree_gradient, TREE)
    assert found.correct
    assert [row.parameter for row in found.rows] == [
        "p['layers'][0]['W']",
        "p['layers'][0]['b']",
        "p['layers'][1][0]",
        "p['layers'][1][1]",
    ]


STRUCTURES = {
    "a key is missing": (
        lambda p: {"a": p["b"]},
        "p must be a dict with the keys 'a', 'b', got a dict with the keys 'a'",
    ),
    "an array for a dict": (lambda p: p["b"], "p must be a dict with the keys 'a', 'b', got one ndarray"),
    "nothing": (lambda p: None, "p must be a dict with the keys 'a', 'b', got None"),
    "a list in a leaf": (lambda p: {"a": [p["b"]], "b": p["a"]}, "p['a'] must be one array, got a list of 1"),
    "a leaf missing": (lambda p: {"a": None, "b": p["a"]}, "p['a'] must be one array, got None"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_another_structure_comes_first(name):
    """No row, one sentence."""
    g, message = STRUCTURES[name]
    found = check.gradient(lambda p: (p["a"] * p["b"]).sum(), g, {"a": X, "b": X + 1})
    assert not found.correct
    assert not found.rows
    assert message in found.problems[0]


def test_a_dict_with_the_numbers_of_a_list_is_no_list():
    """Nor the other way round."""
    f = lambda p: (p[0] * p[1]).sum()  # noqa: E731
    pairs, numbered = [X, X + 1], {0: X, 1: X + 1}
    found = check.gradient(f, lambda p: {0: p[1], 1: p[0]}, pairs)
    assert "p must be a list of 2, got a dict with the keys 0, 1" in only_problem(found)
    found = check.gradient(f, lambda p: [p[1], p[0]], numbered)
    assert "p must be a dict with the keys 0, 1, got a list of 2" in only_problem(found)


def only_problem(found):
    """The one sentence of a report without rows."""
    (problem,) = found.problems
    assert not found.rows
    return problem


def test_a_tuple_where_one_array_is_asked_for():
    """Says how to ask for both."""
    found = check.gradient(lambda a, b: (a * b).sum(), lambda a, b: (b, a), X, X + 1)
    assert "for 2 arguments say wrt=(0, 1)" in found.problems[0]
    one = check.gradient(lambda a, b: (a * b).sum(), lambda a, b: b, X, X + 1, wrt=(0, 1))
    assert "the answer must be a tuple of 2" in one.problems[0]
    assert check.gradient(
        lambda a, b: (a * b * b).sum(), lambda a, b: (2 * a * b, b * b), X, X + 1, wrt=(1, 0)
    ).correct


def test_arrays_without_entries_and_numbers_of_every_kind():
    """The first are passed over; a number may be Python's, NumPy's, or an array without axes."""
    f, g = lambda p: square(p["W"]) + p["e"].sum(), lambda p: {"e": p["e"], "W": 2 * p["W"]}
    found = check.gradient(f, g, {"W": A, "e": np.zeros((0, 3))})
    assert found.correct
    assert only(found).parameter == "p['W']"
    for x in (3.0, np.float64(3), np.float32(3), np.array(3.0)):
        for verb, answer in ((check.gradient, lambda x: 2 * x), (check.jacobian, lambda x: 2 * x)):
            assert verb(lambda x: x * x, answer, x).correct
            assert not verb(lambda x: x * x, lambda x: x, x).correct
        assert check.jvp(lambda x: x * x, lambda x, u: 2 * x * u, x).correct
        assert check.vjp(lambda x: x * x, lambda x, v: 2 * x * v, x).correct
        assert check.hessian_vector(lambda x: x**3, lambda x, u: 6 * x * u, x).correct
    assert check.gradient(lambda z: abs(z) ** 2, lambda z: 2 * z, 1 + 2j).correct
    assert check.gradient(lambda x: square(x), lambda x: 2 * x, A.T[::2]).correct


def test_an_answer_in_a_gradient_or_in_a_list():
    """What the rules return is opened; integers and truth values are numbers."""
    params = [{"W": A}]
    f = lambda p: p[0]["W"].sum()  # noqa: E731
    assert check.gradient(f, lambda p: pc.Gradient([{"W": np.ones((3, 4))}], *[None] * 8), params).correct
    assert check.gradient(f, lambda p: ({"W": np.ones((3, 4), int)},), params).correct


SHAPES = {
    "transposed": (lambda W, x: bilinear_gradient(W, x).T, "expected (3, 4): transposed, it is right"),
    "flat": (lambda W, x: bilinear_gradient(W, x).ravel(), "only reshaped, it is right"),
    "per sample": (
        lambda W, x: (1 - np.tanh(x @ W.T) ** 2)[:, :, None] * x[:, None],
        "the shape is (6, 3, 4), expected (3, 4): the sum over axis 0 is missing",
    ),
    "summed too far": (lambda W, x: bilinear_gradient(W, x).sum(0), "the shape is (4,), expected (3, 4)"),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("full", [None, False])
def test_a_wrong_shape_is_said_with_what_makes_it_right(name, full):
    """Before any number is compared."""
    g, message = SHAPES[name]
    row = only(check.gradient(bilinear, g, A, np.random.default_rng(1).standard_normal((6, 4)), full=full))
    assert row.verdict == "wrong shape"
    assert (message if full is None else "expected (3, 4)") in row.notes[0]
    assert np.isnan(row.relative_error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("full", [None, False])
def test_values_that_are_not_finite_are_counted(value, full):
    """With the first of them."""
    row = only(check.gradient(square, lambda x: np.where(np.arange(5) > 2, value, 2 * x), X, full=full))
    assert row.verdict == "not finite"
    assert row.notes == (f"2 of 5 entries are not finite, first {value} at [3]",)


# --- the functions themselves ------------------------------------------------------------------------------------------------------------------


def test_a_random_function_is_told():
    """No verdict on the gradient is given."""
    rng = np.random.default_rng(0)
    found = check.gradient(lambda x: square(x) + rng.standard_normal(), lambda x: 2 * x, X)
    assert not found.correct
    assert not found.rows
    assert "is random: two calls with the same arguments give" in found.problems[0]


def test_a_random_gradient_is_told():
    """Dropout in the backward pass with its own numbers, for instance."""
    rng = np.random.default_rng(0)
    found = check.gradient(square, lambda x: 2 * x * (rng.random(5) < 0.5), X)
    assert not found.correct
    assert "is random: two calls give two answers" in found.problems[0]


def test_last_bits_may_differ():
    """As those of a sum in another order."""
    signs = iter([1, -1] * 1000)
    assert check.gradient(lambda x: square(x) * (1 + 2e-16 * next(signs)), lambda x: 2 * x, X).correct


@pytest.mark.parametrize("takes", ["float32", "float64"])
def test_last_bits_of_single_precision_may_differ(takes):
    """Whether the parameters or only the values are in single precision."""
    signs = iter([1, -1] * 1000)

    def f(x):
        if x.dtype != takes:
            raise TypeError(f"{takes} expected")
        y = square(x) * (1 + 2e-7 * next(signs))
        return np.float32(y) if takes == "float64" else float(y)

    found = check.gradient(f, lambda x: 2 * x, X.astype(takes))
    assert not found.problems
    assert only(found).verdict in ("agrees", "cannot tell")


def edits_data(x, y):
    """Subtracts in place."""
    y -= y.mean()
    return (x * y).sum()


def edits_parameters(x, y):
    """Uses the array of the parameters as a buffer."""
    x *= y
    return x.sum()


@pytest.mark.parametrize("f", [edits_data, edits_parameters])
def test_a_function_that_edits_its_arguments_is_told(f):
    """And the gradient is judged as if it did not; the caller's arrays are as they were."""
    x, y = X.copy(), np.arange(5.0)
    right = (lambda x, y: y - y.mean()) if f is edits_data else (lambda x, y: +y)
    found = check.gradient(f, right, x, y)
    assert found.problems == (f"{f.__name__} edits its argument {'y' if f is edits_data else 'x'}",)
    assert only(found).verdict == "agrees"
    assert not found.correct
    assert np.array_equal(x, X)
    assert np.array_equal(y, np.arange(5.0))
    assert only(check.gradient(f, lambda x, y: -right(x, y), x, y)).verdict == "differs"


def test_a_gradient_that_edits_its_arguments_is_told():
    """Also inside a structure."""

    def g(p, y):
        p["a"][0] = 7
        return {"a": +y}

    found = check.gradient(lambda p, y: (p["a"] * y).sum(), g, {"a": X.copy()}, V[:1])
    assert found.problems == ("g edits its argument p['a']",)
    assert not found.correct


def test_a_function_that_is_not_finite_here():
    """Nothing to differentiate."""
    found = check.gradient(lambda x: np.log(x).sum(), lambda x: 1 / x, X)
    assert not found.rows
    assert "is not finite here: nan" in found.problems[0]


def test_what_the_functions_raise_goes_through():
    """With its own message and place."""
    with pytest.raises(ZeroDivisionError):
        check.gradient(lambda x: 1 / 0, lambda x: x, X)
    with pytest.raises(NotImplementedError, match="Exercise"):
        check.gradient(square, lambda x: (_ for _ in ()).throw(NotImplementedError("Exercise 2.1")), X)


# --- large arrays ------------------------------------------------------------------------------------------------------------------------------

WIDE = np.random.default_rng(3).standard_normal((60, 50))


def wide(W, norm=False):
    """A function of 3,000 numbers."""
    return np.linalg.norm(W) ** 2 / 2 + np.sin(W).sum() if norm else (W * W).sum() / 2 + np.sin(W).sum()


def wide_gradient(W, norm=False):
    """Its gradient."""
    return W + np.cos(W)


@pytest.mark.parametrize("norm", [True, False])
def test_projections_of_a_large_array(norm):
    """The right answer passes, and it is said what was looked at."""
    found = check.gradient(wide, wide_gradient, WIDE, norm)
    assert found.correct, f"\n{found}"
    assert only(found).probes == "8 projections, 32 of 3000 entries"
    assert only(found).oracle == ("differences" if norm else "complex step")


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_one_wrong_entry_of_a_large_array_is_found(norm, seed):
    """By halving; its index and both values are right."""
    at = tuple(map(int, np.random.default_rng(seed).integers(0, (60, 50))))

    def wrong(W, norm):
        g = wide_gradient(W)
        g[at] += 0.3
        return g

    row = only(check.gradient(wide, wrong, WIDE, norm, seed=seed))
    assert row.verdict == "differs"
    assert row.worst == at
    assert row.given == pytest.approx(row.expected + 0.3)
    assert row.expected == pytest.approx(wide_gradient(WIDE)[at])
    error = 0.3 / np.linalg.norm(wide_gradient(WIDE))
    assert error / 3 < row.relative_error < 3 * error  # an estimate from eight projections


def test_small_parameters_are_still_looked_at_entry_by_entry():
    """Beside a large one; ``full`` decides otherwise."""
    f, g = lambda p: wide(p["W"]) + square(p["b"]), lambda p: {"W": wide_gradient(p["W"]), "b": 2 * p["b"]}
    params = {"W": WIDE, "b": X}
    probes = [row.probes for row in check.gradient(f, g, params).rows]
    assert probes == ["8 projections, 32 of 3000 entries", "all 5 entries"]
    assert "projections" in check.gradient(f, g, params, full=False).rows[1].probes
    small = {"W": WIDE[:3], "b": X}
    assert check.gradient(f, g, small, full=True).rows[0].probes == "all 150 entries"


def test_projections_estimate_the_norms_of_the_difference():
    """(CHK.6): relative error, cosine and norm ratio, over many seeds."""
    noise = np.random.default_rng(4).standard_normal(WIDE.shape)
    true, given = wide_gradient(WIDE), wide_gradient(WIDE) + noise
    rows = [only(check.gradient(wide, lambda W: given, WIDE, seed=seed)) for seed in range(40)]
    middle = np.median([row.relative_error for row in rows])
    assert middle == pytest.approx(np.linalg.norm(noise) / np.linalg.norm(true), rel=0.2)
    cosine = (true * given).sum() / np.linalg.norm(true) / np.linalg.norm(given)
    assert np.mean([row.cosine for row in rows]) == pytest.approx(cosine, abs=0.05)


def test_what_projections_miss_is_as_rare_as_the_text_says():
    """(CHK.6): all of K are below tau times the norm with at most (tau sqrt(2/pi))^K, wherever the error sits."""
    rng = np.random.default_rng(5)
    for tau, K in ((0.5, 1), (0.5, 2), (1.0, 3)):
        for error in (np.eye(50)[0], np.ones(50) / 50**0.5, np.r_[1, -1, np.zeros(48)] / 2**0.5):
            missed = (abs(rng.standard_normal((20000, K, 50)) @ error) < tau).all(1).mean()
            assert missed <= (tau * (2 / np.pi) ** 0.5) ** K * 1.02 + 0.005


# --- the other verbs -----------------------------------------------------------------------------------------------------------------------------


def layer(x, W):
    """A function from 4 to 3 numbers."""
    return np.tanh(W @ x) + x[:3] ** 2


def layer_jacobian(x, W):
    """(3, 4)."""
    return (1 - np.tanh(W @ x) ** 2)[:, None] * W + np.eye(3, 4) * 2 * x


def test_the_jacobian():
    """Shape of the values first; sign, transposed, a row."""
    found = check.jacobian(layer, layer_jacobian, V, A)
    assert found.correct
    assert only(found).oracle == "complex step"
    assert (
        "transposed, it is right"
        in only(check.jacobian(layer, lambda *a: layer_jacobian(*a).T, V, A)).notes[0]
    )
    assert only(check.jacobian(layer, lambda *a: -layer_jacobian(*a), V, A)).notes == ("the sign is wrong",)
    scaled = only(check.jacobian(layer, lambda *a: layer_jacobian(*a) * [[1], [3], [1]], V, A))
    assert scaled.notes == ("4 of 12 entries differ, in all of them the index on axis 0 is 1",)
    assert scaled.worst[0] == 1
    for wrong, right in ((1.0, True), (1.01, False)):
        assert (
            check.jacobian(layer, lambda *a, c=wrong: c * layer_jacobian(*a), V, A, full=False).correct
            == right
        )


def test_the_jacobian_of_arrays_in_a_structure():
    """Values (2, 3), parameters (3, 4) and (3,): shapes (2, 3, 3, 4) and (2, 3, 3)."""
    x = np.random.default_rng(1).standard_normal((2, 4))

    def f(p, x):
        return np.tanh(x @ p["W"].T + p["b"])

    def jac(p, x):
        d = np.einsum("bi,ij->bij", 1 - f(p, x) ** 2, np.eye(3))
        return {"W": np.einsum("bij,bk->bijk", d, x), "b": d}

    params = {"W": A, "b": V[:3]}
    assert check.jacobian(f, jac, params, x).correct
    assert check.jacobian(f, jac, params, x, full=False).correct
    found = check.jacobian(f, lambda p, x: {**jac(p, x), "W": jac(p, x)["W"].swapaxes(1, 2)}, params, x)
    assert [row.verdict for row in found.rows] == ["agrees", "agrees"]  # d is diagonal: nothing is wrong
    found = check.jacobian(f, lambda p, x: {**jac(p, x), "W": 2 * jac(p, x)["W"]}, params, x)
    assert [row.verdict for row in found.rows] == ["differs", "agrees"]
    assert len(found.rows[0].worst) == 4


def test_the_jacobian_of_complex_values():
    """By differences; the conjugate is named; complex parameters are refused."""
    f = lambda x: np.exp(1j * (A @ x))  # noqa: E731
    g = lambda x: 1j * f(x)[:, None] * A  # noqa: E731
    assert check.jacobian(f, g, V).correct
    assert "conjugate" in only(check.jacobian(f, lambda x: g(x).conj(), V)).notes[0]
    with pytest.raises(TypeError, match="z is complex: check jvp and vjp"):
        check.jacobian(lambda z: z, lambda z: np.eye(4), Z)


def test_the_product_with_the_transposed_jacobian():
    """Entry by entry, and by the adjoint identity."""
    found = check.vjp(layer, lambda x, W, v: layer_jacobian(x, W).T @ v, V, A)
    assert found.correct
    assert [row.parameter for row in found.rows] == ["x", "<J^T v, u>"]
    both = check.vjp(lambda W, x: W @ x, lambda W, x, v: (np.outer(v, x), W.T @ v), A, V, wrt=(0, 1))
    assert both.correct
    wrong = check.vjp(layer, lambda x, W, v: -layer_jacobian(x, W).T @ v, V, A)
    assert wrong.rows[0].notes == ("the sign is wrong",)
    assert [row.verdict for row in wrong.rows] == ["differs", "differs"]


def test_a_product_that_is_not_linear_in_v_is_seen_by_the_adjoint_identity():
    """It was right for the first v alone."""
    calls = []

    def cheats(x, W, v):
        calls.append(v)
        return layer_jacobian(x, W).T @ (v if np.array_equal(v, calls[0]) else calls[0])

    found = check.vjp(layer, cheats, V, A)
    assert [row.verdict for row in found.rows] == ["agrees", "differs"]
    assert found.rows[1].notes == ("it must be <v, J u>",)


def test_the_product_with_the_jacobian():
    """A row for each parameter alone, one for all."""
    f = lambda p, x: np.tanh(p["W"] @ x + p["b"])  # noqa: E731

    def product(p, x, u, factor=1.0):
        return (1 - f(p, x) ** 2) * (u["W"] @ x + factor * u["b"])

    params = {"W": A, "b": V[:3]}
    assert check.jvp(f, product, params, V).correct
    found = check.jvp(f, lambda *a: product(*a, factor=2.0), params, V)
    assert [row.parameter for row in found.rows] == ["u in p['W'] alone", "u in p['b'] alone", "J u"]
    assert [row.verdict for row in found.rows] == ["agrees", "differs", "differs"]
    assert found.rows[1].notes == ("the answer is the right one times 2",)
    assert (
        only(check.jvp(np.tanh, lambda x, u: (1 - np.tanh(x) ** 2)[:2] * u[:2], V)).verdict == "wrong shape"
    )
    assert only(check.jvp(np.tanh, lambda x, u: u * np.nan, V)).verdict == "not finite"
    assert check.jvp(lambda W, x: W @ x, lambda W, x, u: u[0] @ x + W @ u[1], A, V, wrt=(0, 1)).correct


def test_complex_products_are_adjoint():
    """J u is complex, J^T v conjugates; forgetting it is seen."""
    C = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
    f = lambda z: (C @ z) ** 2  # noqa: E731
    J = lambda z: 2 * (C @ z)[:, None] * C  # noqa: E731
    assert check.jvp(f, lambda z, u: J(z) @ u, Z).correct
    assert not check.jvp(f, lambda z, u: J(z).conj() @ u, Z).correct
    assert check.vjp(f, lambda z, v: J(z).conj().T @ v, Z).correct
    assert not check.vjp(f, lambda z, v: J(z).T @ v, Z).correct


def quartic(x):
    """|x|^4 and something that is not symmetric in the entries."""
    return (x * x).sum() ** 2 + (np.sin(x[:-1]) * x[1:]).sum()


def quartic_gradient(x):
    """By x."""
    g = 4 * (x * x).sum() * x
    return g + np.r_[np.cos(x[:-1]) * x[1:], 0] + np.r_[0, np.sin(x[:-1])]


def quartic_product(x, u, outer=True, mixed=1.0):
    """H u."""
    Hu = 4 * (x * x).sum() * u + outer * 8 * (x @ u) * x
    Hu = Hu - np.r_[np.sin(x[:-1]) * x[1:] * u[:-1], 0]
    return Hu + np.r_[np.cos(x[:-1]) * u[1:], 0] + mixed * np.r_[0, np.cos(x[:-1]) * u[:-1]]


HESSIANS = {
    "of the function": (quartic, None, "complex step", 1e-9),
    "of the gradient": (quartic, quartic_gradient, "complex step", 1e-13),
    "of a function that conjugates": (
        lambda x: (abs(x) ** 2).sum() ** 2 + quartic(x) - (x * x).sum() ** 2,
        None,
        "differences",
        1e-6,
    ),
    "of a gradient that conjugates": (
        quartic,
        lambda x: quartic_gradient(x) + ((abs(x) ** 2).sum() - (x * x).sum()) * x,
        "differences",
        1e-9,
    ),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_hessian_times_vector(name):
    """From f alone, or from a gradient; without the outer product, and not symmetric."""
    f, grad_f, oracle, accuracy = HESSIANS[name]
    found = check.hessian_vector(f, quartic_product, X, grad_f=grad_f)
    assert found.correct, f"\n{found}"
    assert found.rows[0].oracle == oracle
    assert found.rows[0].accuracy < accuracy
    assert found.rows[1].parameter == "<w, H u>"
    lacks = check.hessian_vector(f, lambda x, u: quartic_product(x, u, outer=False), X, grad_f=grad_f)
    assert [row.verdict for row in lacks.rows] == ["differs", "agrees"]
    skew = check.hessian_vector(f, lambda x, u: quartic_product(x, u, mixed=0.0), X, grad_f=grad_f)
    assert [row.verdict for row in skew.rows] == ["differs", "differs"]
    if grad_f is None:
        assert check.hessian_vector(f, quartic_product, X, full=False).correct
        assert not check.hessian_vector(f, lambda x, u: 2 * quartic_product(x, u), X, full=False).correct


def test_hessian_times_vector_of_a_structure_and_of_complex_numbers():
    """Rows by parameter; over pairs of reals."""

    def product(p, u):
        s, r = p["a"] @ p["b"], p["b"] @ u["a"] + p["a"] @ u["b"]
        return {"a": 2 * r * p["b"] + 2 * s * u["b"], "b": 2 * r * p["a"] + 2 * s * u["a"]}

    f, params = lambda p: (p["a"] @ p["b"]) ** 2, {"a": X, "b": X[::-1] + 1}
    assert check.hessian_vector(f, product, params).correct
    found = check.hessian_vector(f, lambda p, u: {**product(p, u), "a": product(p, u)["b"]}, params)
    assert [row.verdict for row in found.rows] == ["differs", "agrees", "differs"]
    energy = lambda z: (abs(z) ** 2).sum() ** 2  # noqa: E731
    hv = lambda z, u: 4 * (abs(z) ** 2).sum() * u + 8 * (z.conj() * u).sum().real * z  # noqa: E731
    slope = lambda z: 4 * (abs(z) ** 2).sum() * z  # noqa: E731
    for grad_f in (None, slope):
        assert check.hessian_vector(energy, hv, Z, grad_f=grad_f).correct
        found = check.hessian_vector(energy, lambda z, u: hv(z, u.conj()), Z, grad_f=grad_f)
        assert found.rows[0].verdict == "differs"


# --- bad input -------------------------------------------------------------------------------------------------------------------------------------

BAD = {
    "a loss per sample": (
        lambda x: x**2,
        (X,),
        {},
        ValueError,
        r"one number, got an array of shape \(5,\).*summed",
    ),
    "one number in an array": (lambda x: (x**2).sum(keepdims=True), (X,), {}, ValueError, r"shape \(1,\)"),
    "a complex loss": (lambda z: (z**2).sum(), (Z,), {}, ValueError, "f must return a real number, got"),
    "no number": (lambda x: "text", (X,), {}, TypeError, "must be an array or a number, got one str"),
    "a tuple": (lambda x: (1.0, x), (X,), {}, TypeError, "must be an array or a number, got a tuple of 2"),
    "whole numbers": (square, (np.arange(3),), {}, TypeError, "whole numbers are data"),
    "a whole number": (lambda x: x, (3,), {}, TypeError, "Write 3.0 for 3"),
    "truth values": (square, (np.array([True]),), {}, TypeError, "whole numbers are data|bool"),
    "text": (lambda x: 1.0, ("text",), {}, TypeError, "x must be a NumPy or CuPy array or a number, got str"),
    "text in a structure": (
        lambda p: 1.0,
        ([{"W": X, "kind": "relu"}],),
        {},
        TypeError,
        r"p\[0\]\['kind'\] must be a NumPy or CuPy array or a number, got str",
    ),
    "nothing": (
        lambda p: 1.0,
        ([None, {}],),
        {},
        ValueError,
        "nothing to differentiate by: p holds no array",
    ),
    "a parameter that is not finite": (square, (np.array([1.0, np.nan]),), {}, ValueError, "x is not finite"),
    "wrt too large": (square, (X,), {"wrt": 1}, ValueError, "different ones of the 1 arguments"),
    "wrt below zero": (square, (X,), {"wrt": -1}, ValueError, "different ones of the 1 arguments"),
    "wrt twice": (square, (X,), {"wrt": (0, 0)}, ValueError, "different ones"),
    "wrt empty": (square, (X,), {"wrt": ()}, TypeError, "wrt must be the number of an argument"),
    "wrt by name": (square, (X,), {"wrt": "x"}, TypeError, "wrt must be the number of an argument"),
    "no arguments": (lambda: 1.0, (), {}, ValueError, "different ones of the 0 arguments"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_a_message(name):
    """Before the gradient is asked for."""
    f, args, options, error, message = BAD[name]
    called = []
    with pytest.raises(error, match=message):
        check.gradient(f, lambda *a: called.append(a), *args, **options)
    assert not called


# --- the report ---------------------------------------------------------------------------------------------------------------------------------------


def test_the_report_prints_and_travels():
    """As text, as HTML in which nothing is markup, as JSON."""
    found = check.gradient(of_tree, lambda p: {**tree_gradient(p), "none": None}, TREE)
    lines = str(found).splitlines()
    assert lines[0].split()[:2] == ["parameter", "verdict"]
    assert lines[1].startswith("p['layers'][0]['W']   agrees")
    assert "complex step" in lines[1]
    assert lines[-1].startswith("gradient of of_tree by a lambda: correct, to a relative error of")
    assert "<th>verdict</th>" in found._repr_html_()
    wrong = check.gradient(square, lambda x: -2 * x, X)
    assert str(wrong).splitlines()[-2:] == [
        "x: the sign is wrong",
        "gradient of square by a lambda: wrong in x",
    ]
    data = json.loads(json.dumps(wrong.to_dict(), allow_nan=False))
    assert data["correct"] is False
    assert data["rows"][0]["notes"] == ["the sign is wrong"]
    assert data["rows"][0]["relative_error"] == pytest.approx(2)
    assert json.loads(json.dumps(check.gradient(square, lambda x: x[:2], X).to_dict(), allow_nan=False))
    assert json.loads(json.dumps(check.gradient(lambda z: (abs(z) ** 2).sum(), lambda z: z, Z).to_dict()))
    product = check.vjp(lambda x: x, lambda x, v: v, X)
    assert "&lt;J^T v, u&gt;" in product._repr_html_()
    assert product.worst == max(row.relative_error for row in product.rows)


def test_what_counts_as_correct():
    """Agreement and kinks do; nothing else, no rows, or a problem do not."""
    row = only(check.gradient(square, lambda x: 2 * x, X))
    for verdict in (verdicts.AGREES, verdicts.KINK):
        assert verdicts.DerivativeCheck("", (row, row._replace(verdict=verdict)), ()).correct
    for verdict in (verdicts.DIFFERS, verdicts.UNKNOWN, verdicts.SHAPE, verdicts.NOT_FINITE):
        assert not verdicts.DerivativeCheck("", (row, row._replace(verdict=verdict)), ()).correct
    assert not verdicts.DerivativeCheck("", (), ()).correct
    assert not verdicts.DerivativeCheck("", (row,), ("something",)).correct


def test_the_same_seed_gives_the_same_report():
    """And another seed other projections; NumPy's own generator is not touched."""
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (
        check.gradient(wide, lambda W: 1.01 * wide_gradient(W), WIDE, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again
    assert one.rows[0].cosine == pytest.approx(1)
    assert one != other
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_no_warning_comes_out():
    """Warnings are errors in these tests; overflow and division by zero on the way are the oracle's own business."""
    assert check.gradient(
        lambda x: np.log(x).sum() + np.exp(300 * x).sum() * 0, lambda x: 1 / x, abs(X)
    ).correct


def test_a_few_hundred_parameters_take_less_than_a_second():
    """By differences, the slower oracle; processor time."""
    W, x = (
        np.random.default_rng(6).standard_normal((20, 15)),
        np.random.default_rng(7).standard_normal((8, 15)),
    )
    f = lambda W, x: np.linalg.norm(np.tanh(x @ W.T))  # noqa: E731

    def g(W, x):
        t = np.tanh(x @ W.T)
        return (t * (1 - t * t)).T @ x / np.linalg.norm(t)

    def seconds():
        start = time.process_time()
        assert check.gradient(f, g, W, x).correct
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 1


# --- minipc's own rules, other libraries ---------------------------------------------------------------------------------------------------------------


def test_the_engine_passes():
    """Backprop on a net, and BPTT through a complex linear recurrent unit."""
    rng = np.random.default_rng(8)
    net = pc.Network([pc.Dense(4, 3, "tanh"), pc.Dense(3, 2)], loss="cross_entropy")
    x, y = rng.standard_normal((5, 4)), np.eye(2)[[0, 1, 1, 0, 1]]
    loss = lambda p, x, y: net.loss.value(net.forward(p, x), y).sum()  # noqa: E731
    backprop = lambda p, x, y: pc.backprop.gradient(net, p, x, y)  # noqa: E731
    found = check.gradient(loss, backprop, net.init(seed=1, dtype="float64"), x, y)
    assert found.correct, f"\n{found}"
    assert found.rows[0].parameter == "p[0]['W']"
    seq = pc.RecurrentNetwork([pc.LRU(3, 4), pc.Dense(4, 2)])
    inputs, targets = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 2))
    params = seq.init(seed=1, dtype="float64")
    run = lambda p: pc.bptt.gradient(seq, p, inputs, targets)  # noqa: E731
    found = check.gradient(lambda p: run(p).loss.sum(), run, params)
    assert found.correct, f"\n{found}"


def test_answers_of_autograd_and_other_libraries():
    """Anything that NumPy can read; a box of autograd is opened."""
    from autograd import grad
    from autograd import numpy as anp

    class Foreign:
        def __init__(self, value):
            self.value = value

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.value)

    assert check.gradient(lambda x: anp.sum(x**3), grad(lambda x: anp.sum(x**3)), X).correct
    assert check.gradient(lambda x: Foreign((x**2).sum()), lambda x: Foreign(2 * x), X).correct
    box = type("Box", (), {"_value": 2 * X})
    assert check.gradient(square, lambda x: box(), X).correct


def test_results_of_torch():
    """A loss that wants a gradient, gradients of tensors, complex ones in the convention of minipc."""
    torch = pytest.importorskip("torch")

    def loss(W, x):
        return torch.tanh(torch.as_tensor(x) @ torch.as_tensor(W).T).square().sum()

    def gradient(W, x):
        W = torch.tensor(W, requires_grad=True)
        loss(W, x).backward()
        return W.grad

    x = np.random.default_rng(1).standard_normal((6, 4))
    assert check.gradient(loss, gradient, A, x).correct
    assert check.gradient(lambda W, x: loss(torch.tensor(W, requires_grad=True), x), gradient, A, x).correct
    assert not check.gradient(loss, lambda W, x: 2 * gradient(W, x), A, x).correct
    single = [a.astype("float32") for a in (A, x)]
    assert check.gradient(loss, gradient, *single).correct
    assert not check.gradient(loss, lambda W, x: 1.1 * gradient(W, x), *single).correct

    def energy(z):
        z = torch.as_tensor(z)
        return (z**2).real.sum() + (z.abs() ** 3).sum()

    def by_z(z):
        z = torch.tensor(z, requires_grad=True)
        energy(z).backward()
        return z.grad

    assert check.gradient(energy, by_z, Z).correct
    with pytest.raises(TypeError, match="got Tensor: convert inside f"):
        check.gradient(loss, gradient, torch.tensor(A), x)
