"""The oracle itself against closed forms, Eqs. (CHK.3)-(CHK.5), (CHK.8): values, kinks, noise, and that its own error estimate is honest."""

import math

import numpy as np
import pytest

from minipc import check
from minipc.check import oracle

EPS = 2.0**-52
FUNCTIONS = {  # with their derivatives
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "log": (lambda x: np.log(2 + x), lambda x: 1 / (2 + x)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "quotient": (lambda x: x / (1 + x * x), lambda x: (1 - x * x) / (1 + x * x) ** 2),
    "cube": (lambda x: x**3 - 2 * x, lambda x: 3 * x * x - 2),
    "bell": (lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)),
    "root": (lambda x: np.sqrt(3 + x), lambda x: 0.5 / np.sqrt(3 + x)),
    "wave": (lambda x: np.sin(7 * x) + x**4, lambda x: 7 * np.cos(7 * x) + 4 * x**3),
}


def measured(f, eps=EPS):
    """Derivative of t -> f(t) at 0, with the noise measured; the number of calls."""
    calls = [0]

    def line(t):
        calls[0] += 1
        return np.atleast_1d(np.asarray(f(t), dtype=float))

    with np.errstate(all="ignore"):
        found = oracle.differences(line, oracle.noise_level(line, eps), eps)
    return found, calls[0]


def random_problem(rng, single):
    """A function on a line at some scale, and its derivative at 0."""
    f, df = FUNCTIONS[rng.choice([*FUNCTIONS])]
    x, size = rng.uniform(-1.5, 1.5), 10 ** rng.uniform(-8, 8)
    length = 10 ** rng.uniform(-6, 2)  # how much of the function one unit of t covers
    constant = rng.choice([0, 1, 100]) * size

    def line(t):
        y = size * f(x + length * t) + constant
        return float(np.float32(y)) if single else y

    return line, size * length * df(x)


@pytest.mark.parametrize("single", [False, True])
def test_the_error_is_not_larger_than_estimated(single):
    """In all but one of a hundred of 600 random problems at scales from 1e-8 to 1e8, and the estimate is of use in most."""
    rng = np.random.default_rng(11)
    errors, estimates, calls = [], [], []
    for _ in range(600):
        line, true = random_problem(rng, single)
        found, n = measured(line, 2.0**-23 if single else EPS)
        errors.append(abs(found.value[0] - true) / abs(true))
        estimates.append(found.error[0] / abs(true))
        calls.append(n)
    errors, estimates = np.array(errors), np.array(estimates)
    assert (errors <= estimates).mean() > 0.99
    assert np.median(estimates) < (1e-2 if single else 1e-8)
    assert np.median(estimates / np.maximum(errors, EPS)) < 1e3
    assert np.mean(calls) < 100


def test_the_tableau_is_exact_for_polynomials():
    """(CHK.4): three rows remove h^2 and h^4; steps with odd powers the same with h and h^3."""
    for power, exact in ((2, lambda h: 5 + 3 * h**2 - 7 * h**4), (1, lambda h: 5 + 3 * h - 7 * h**3)):
        table = oracle._Tableau(power, 1)
        for level in range(3):
            table.add(np.array([exact(2.0**-1 * 4.0**-level)]), 0.0)
        assert table.row[-1][0] == pytest.approx(5, rel=1e-14)
        assert table.row[1][0] != pytest.approx(5, rel=1e-6)


def test_the_floor_keeps_an_accident_from_claiming_an_accuracy():
    """Two entries that are equal, and noise of 0.1."""
    table = oracle._Tableau(2, 1)
    for _ in range(3):
        table.add(np.array([1.0]), 0.1)
    assert table.error[0] >= 0.1


@pytest.mark.parametrize("digits", [3, 6, 9])
@pytest.mark.parametrize("kind", ["rounded", "random"])
def test_noise_is_measured(digits, kind):
    """(CHK.5): of values that are rounded (quantum over sqrt(12)), or that carry random numbers."""
    rng, seen = np.random.default_rng(digits), {}

    def line(t):
        y = np.exp(0.7 * t)
        if kind == "rounded":
            return np.array([round(y, digits)])
        return np.array([y + 10.0**-digits * seen.setdefault(t, rng.standard_normal())])

    expected = 10.0**-digits / (12**0.5 if kind == "rounded" else 1)
    assert expected / 5 < oracle.noise_level(line, EPS)[0] < 5 * expected


@pytest.mark.parametrize("f", [np.exp, lambda t: np.sin(50 * t), lambda t: 3 + t**2, lambda t: 1e6 + t])
def test_a_smooth_function_has_the_noise_of_rounding(f):
    """Not its own variation."""
    level = oracle.noise_level(lambda t: np.array([f(t)]), EPS)[0]
    assert EPS * abs(f(0.0)) <= level < 20 * EPS * max(abs(f(0.0)), 1)


@pytest.mark.parametrize("side", [1, -1])
def test_a_kink_on_one_side_is_no_noise(side):
    """Within the points where noise is measured."""
    level = oracle.noise_level(lambda t: np.array([max(side * t - 3e-7, 0.0) + np.exp(t)]), EPS)[0]
    assert level < 20 * EPS


def test_a_narrow_feature_is_not_stepped_over():
    """A wave two thousandths wide in single precision on a constant: at all long steps there is nothing but the constant."""
    found, _ = measured(lambda t: np.float32(1000 + 2500 * t * np.exp(-((500 * t) ** 2))), 2.0**-23)
    true = 2500
    assert abs(found.value[0] - true) <= found.error[0] < 0.1 * abs(true)


def test_every_output_has_its_own_noise():
    """A smooth one beside one that rounds."""
    level = oracle.noise_level(lambda t: np.array([np.exp(t), round(np.exp(t), 5)]), EPS)
    assert level[0] < 1e-14
    assert 1e-6 < level[1] < 1e-5


KINKS = {  # function, derivative to the left, to the right
    "abs": (abs, -1, 1),
    "relu": (lambda t: max(t, 0.0), 0, 1),
    "beside a smooth part": (lambda t: 1e-3 * abs(t) + np.exp(t), 0.999, 1.001),
    "of a steep function": (lambda t: abs(t) + np.sin(30 * t), 29, 31),
    "large": (lambda t: 1e8 * abs(t) + 1e8, -1e8, 1e8),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_recognised(name):
    """With both one-sided derivatives: the value is their mean, the jump their difference."""
    f, left, right = KINKS[name]
    found, _ = measured(f)
    assert found.kinks.all()
    assert found.jump[0] == pytest.approx(right - left, rel=1e-2)
    assert found.value[0] == pytest.approx((right + left) / 2, rel=1e-5, abs=1e-5 * (right - left))


SMOOTH = {
    "a square": (lambda t: t * t, 0),
    "a high curvature": (lambda t: 1e4 * t * t + t, 1),
    "almost a kink": (lambda t: np.sqrt(t * t + 1e-6), 0),
    "a power of 3/2": (lambda t: abs(t) ** 1.5 + t, 1),
    "a kink to the right": (lambda t: max(t - 1e-4, 0.0) + t, 1),
    "a kink to the left": (lambda t: abs(t + 1e-4), 1),
    "kinks on both sides": (lambda t: max(abs(t) - 1e-3, 0.0) + 2 * t, 2),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_differentiable_is_no_kink(name):
    """However curved, or near to one."""
    f, true = SMOOTH[name]
    found, _ = measured(f)
    assert not found.kinks.any()
    assert found.value[0] == pytest.approx(true, abs=1e-6)
    assert abs(found.value[0] - true) <= found.error[0] < 1e-2


@pytest.mark.parametrize("f", [lambda t: float(t > 0), lambda t: np.sqrt(abs(t)), lambda t: np.cbrt(t)])
def test_a_jump_or_an_infinite_slope_is_no_derivative(f):
    """Either it is called a kink, or nothing is claimed."""
    found, _ = measured(f)
    assert found.kinks.any() or found.error[0] > max(1, 0.1 * abs(found.value[0]))


def test_outputs_are_independent():
    """A kink in one, the end of the domain in another, a third that is smooth, a fourth that is constant."""
    found, _ = measured(lambda t: [abs(t), np.log(t + 1e-4), np.exp(t), 2.0])
    assert found.kinks.tolist() == [True, False, False, False]
    assert found.value[1:] == pytest.approx([1e4, 1, 0], rel=1e-6)
    assert found.error[2] < 1e-9
    assert found.value[3] == 0


def test_a_function_that_exists_nowhere_near():
    """No value, no accuracy."""
    found, _ = measured(lambda t: 1.0 if t == 0 else np.nan)
    assert np.isnan(found.value[0])
    assert found.error[0] == np.inf


@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
def test_the_mixed_difference(scale):
    """(CHK.8): of a product of different functions, at different points, with both pure second derivatives in it."""
    f = lambda s, t: scale * np.array([np.sin(0.3 + s) * np.exp(2 * t) + s**3 + np.cos(t) + s * s * t])  # noqa: E731
    found = oracle.mixed_difference(f, np.array([EPS * scale]))
    true = scale * math.cos(0.3) * 2
    assert abs(found.value[0] - true) <= found.error[0] < 1e-6 * scale


def test_a_right_answer_is_never_called_wrong():
    """Nor a wrong one right, for 300 random functions of five numbers that round, cast, or have large constants."""
    rng = np.random.default_rng(12)
    verdicts = {"right": [], "wrong": []}
    for _ in range(300):
        x, B = 10 ** rng.uniform(-3, 3) * rng.standard_normal(5), rng.standard_normal((4, 5))
        B = B / np.linalg.norm(B @ x)
        constant, digits = rng.choice([0, 1, 1e3, 1e6]), int(rng.integers(2, 10))
        how = rng.choice(["round", "cast", "norm", "plain"])

        def f(x, B=B, c=constant, digits=digits, how=how):
            y = np.log(np.exp(B @ x).sum()) + c
            y = y + 0 * np.linalg.norm(x.real) if how == "norm" else y
            return round(y, digits) if how == "round" else np.float32(y) if how == "cast" else y

        def g(x, B=B):
            e = np.exp(B @ x)
            return B.T @ e / e.sum()

        wrong = g(x) + 0.2 * np.linalg.norm(g(x)) * rng.standard_normal(5)
        verdicts["right"].append(check.gradient(f, g, x).rows[0].verdict)
        verdicts["wrong"].append(check.gradient(f, lambda x, wrong=wrong: wrong, x).rows[0].verdict)
    assert set(verdicts["right"]) <= {"agrees", "cannot tell"}
    assert set(verdicts["wrong"]) <= {"differs", "cannot tell"}
    assert verdicts["right"].count("agrees") > 200
    assert verdicts["wrong"].count("differs") > 200
