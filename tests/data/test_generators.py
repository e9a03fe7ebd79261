"""Two moons, adding, parity, copying and Bogacz's example: loops over indices, closed forms, stated baselines."""

import math
from itertools import pairwise

import numpy as np
import pytest

import minipc as pc
from minipc import data
from reference import closed_form, data_loops


def count_where(mask):
    """The steps that count, as a set of (t, b)."""
    return set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))


def assert_targets(task, expected):
    """The mask is True exactly where a target is expected; elsewhere the target is 0."""
    assert count_where(task.mask) == expected.keys()
    targets = task.targets[..., 0] if task.targets.ndim == 3 else task.targets
    assert all(targets[place] == value for place, value in expected.items())
    assert (targets[~task.mask] == 0).all()
    assert len(set(expected.values())) > 1


def best_constant(targets, classes):
    """Cross-entropy of the frequencies of the classes: what no constant can beat."""
    share = np.bincount(targets, minlength=classes) / len(targets)
    return -(share[share > 0] * np.log(share[share > 0])).sum()


# Two moons (MOON.1)


@pytest.mark.parametrize("samples", [2, 3, 10, 101])
def test_the_moons_without_noise_lie_on_their_half_circles(samples):
    """Unit distance from the centres (0, 0) and (1, 1/2), in the upper and in the lower half plane."""
    x, y = data.two_moons(samples=samples, noise=0.0, seed=3)
    upper, lower = x[y == 0], x[y == 1] - (1, 0.5)
    assert (len(upper), len(lower)) == (samples // 2, samples - samples // 2)
    for half, sign in ((upper, 1), (lower, -1)):
        assert abs(np.hypot(*half.T) - 1).max() < 1e-14
        assert (sign * half[:, 1] > -1e-14).all()


def test_the_angles_of_a_moon_are_evenly_spaced_to_both_ends():
    """Every 30 degrees, each half circle seen from its centre."""
    x, y = data.two_moons(samples=14, noise=0.0)
    upper, lower = x[y == 0], x[y == 1] - (1, 0.5)
    for half in (upper, lower):
        degrees = np.sort(np.degrees(np.arccos(half[:, 0].clip(-1, 1))))
        assert degrees == pytest.approx([0, 30, 60, 90, 120, 150, 180])


def test_the_noise_of_the_moons_has_its_standard_deviation():
    """The same seed without noise gives the same points in the same order, so the difference is the noise."""
    n = 20_000
    noisy, clean = (data.two_moons(samples=n, noise=noise, seed=1) for noise in (0.3, 0.0))
    assert (noisy.y == clean.y).all()
    noise = noisy.x - clean.x
    assert abs(noise.mean(axis=0)).max() < 5 * 0.3 / n**0.5
    assert abs(np.cov(noise.T) / 0.09 - np.eye(2)).max() < 5 * (2 / n) ** 0.5


def test_the_moons_come_in_random_order():
    """Without it a minibatch would be of one class: the expected number of changes of class is n / 2."""
    y = data.two_moons(samples=1000).y
    assert abs((y[1:] != y[:-1]).sum() - 500) < 5 * 250**0.5


def test_no_line_separates_the_moons_and_a_hidden_layer_does():
    """Points are what ``fit`` takes; the end (0, 1/2) of class 1 lies between points of class 0."""
    points = data.two_moons(samples=100, noise=0.0)
    assert min(abs(points.x[points.y == 1] - (0, 0.5)).sum(axis=1)) < 1e-14
    net = pc.Network([pc.Dense(2, 16, "tanh"), pc.Dense(16, 2)], loss="cross_entropy")
    linear = pc.Network([pc.Dense(2, 2)], loss="cross_entropy")
    reached = []
    for network in (net, linear):
        params, _ = pc.fit(
            network,
            network.init(seed=0),
            points,
            rule=pc.backprop.gradient,
            optimizer=pc.Adam(0.03),
            epochs=60,
            batch_size=20,
            progress=False,
        )
        reached.append(pc.accuracy(network, params, *points))
    assert reached[0] == 1
    assert 0.5 < reached[1] < 0.95


# Adding (ADD.1)


@pytest.mark.parametrize("T", [2, 3, 7, 50])
def test_the_target_of_the_adding_problem_is_the_sum_of_the_marked(T):
    """By a loop over the steps; exactly, since two numbers are added."""
    task = data.adding(T=T, samples=40, seed=T)
    assert task.inputs.shape == (T, 40, 2)
    assert task.targets.shape == (T, 40, 1)
    assert_targets(task, data_loops.adding_targets(task.inputs))


@pytest.mark.parametrize("T", [2, 5, 12])
def test_one_mark_in_each_half_and_every_step_has_its_turn(T):
    """Uniformly: the frequencies are within five standard deviations."""
    n = 6000
    marks = data.adding(T=T, samples=n, seed=2).inputs[:, :, 1]
    assert set(np.unique(marks)) <= {0, 1}
    for half in (slice(0, T // 2), slice(T // 2, T)):
        assert (marks[half].sum(axis=0) == 1).all()
        steps = len(marks[half])
        share = marks[half].mean(axis=1)
        assert abs(share - 1 / steps).max() <= 5 * math.sqrt((steps - 1) / steps**2 / n)


def test_the_baselines_of_the_adding_problem():
    """The constant 1 has the mean squared error 1/6; the second number and a guess of the first, 1/12."""
    n = 50_000
    task = data.adding(T=10, samples=n, seed=0)
    values, marks, sums = task.inputs[:, :, 0], task.inputs[:, :, 1], task.targets[-1, :, 0]
    second = (values * marks)[5:].sum(axis=0)
    constant, informed = (sums - 1) ** 2, (sums - second - 0.5) ** 2
    for error, expected in ((constant, 1 / 6), (informed, 1 / 12)):
        assert abs(error.mean() - expected) < 5 * error.std() / n**0.5
    assert abs(sums.mean() - 1) < 5 * (1 / 6 / n) ** 0.5
    assert values.min() >= 0
    assert values.max() < 1


# Delayed parity (PAR.1)


@pytest.mark.parametrize("delay", [0, 1, 5])
@pytest.mark.parametrize("more", [2, 3, 40])
def test_the_target_of_delayed_parity_is_the_parity_of_two_bits(delay, more):
    """By a loop, from the first step at which both bits exist."""
    task = data.delayed_parity(T=delay + more, delay=delay, samples=30, seed=more)
    assert task.inputs.shape == (delay + more, 30, 1)
    assert set(np.unique(task.inputs)) == {0, 1}
    assert_targets(task, data_loops.parity_targets(task.inputs[:, :, 0], delay))


def test_the_baseline_of_parity_is_log_two_and_one_bit_says_nothing():
    """Fair classes, also given either of the two bits: frequencies within five standard deviations."""
    delay, B, T = 3, 400, 104
    task = data.delayed_parity(T=T, delay=delay, samples=B, seed=4)
    y, x = task.targets[delay + 1 :], task.inputs[:, :, 0]
    n = y.size
    assert abs(y.mean() - 0.5) < 5 * 0.5 / n**0.5
    assert best_constant(y.ravel(), 2) == pytest.approx(math.log(2), abs=25 / n)
    for back in range(T - len(y), -1, -1):  # every bit from x[t - delay - 1] to x[t]
        bit = x[T - len(y) - back : T - back]
        assert abs(((2 * y - 1) * (2 * bit - 1)).mean()) < 5 / n**0.5


# Copying (COPY.1)


@pytest.mark.parametrize(("digits", "delay"), [(1, 1), (3, 1), (4, 6), (30, 10)])
def test_the_copy_task_asks_for_the_digits_in_order(digits, delay):
    """By a loop; blank and go stand where the table of the docstring says."""
    task = data.copy_task(digits=digits, delay=delay, samples=20, seed=delay)
    T = 2 * digits + delay
    assert task.inputs.shape == task.targets.shape == task.mask.shape == (T, 20)
    assert_targets(task, data_loops.copy_targets(task.inputs, digits, delay))
    for t in range(T):
        shown = set(task.inputs[t].tolist())
        if t < digits:
            assert shown <= set(range(1, 10))
        else:
            assert shown == {10 if t == digits + delay - 1 else 0}


def test_the_default_of_the_copy_task_is_that_of_the_paper():
    """30 digits from 1 to 9, 10 steps between the last digit and the first answer."""
    task = data.copy_task(samples=5)
    assert task.mask.sum(axis=0).tolist() == [30] * 5
    assert task.mask.argmax(axis=0).tolist() == [30 + 10] * 5


def test_the_baseline_of_copying_is_log_nine():
    """All nine digits equally often, and independent of their neighbours."""
    task = data.copy_task(digits=30, delay=2, samples=2000, seed=1)
    answers = task.targets[task.mask]
    n = len(answers)
    share = np.bincount(answers, minlength=10) / n
    assert share[0] == 0
    assert abs(share[1:] - 1 / 9).max() < 5 * math.sqrt(8 / 81 / n)
    assert best_constant(answers, 10) == pytest.approx(math.log(9), abs=50 / n)
    same = np.mean([a == b for a, b in pairwise(task.inputs[:30])])
    assert abs(same - 1 / 9) < 5 * math.sqrt(8 / 81 / (29 * 2000))


# Bogacz's example (BOG.1), (sPC.23)


def test_the_mode_of_bogacz_solves_its_cubic():
    """2 s^3 - 3 s - 3 = 0; and it is the mode that the closed form finds among the roots."""
    example = data.bogacz()
    assert (example.observation, example.prior) == (2, 3)
    assert abs(2 * example.mode**3 - 3 * example.mode - 3) < 1e-13
    assert example.mode == pytest.approx(closed_form.warm_up_mode(2, 3), abs=1e-12)
    assert example.mode == pytest.approx(1.56747, abs=5e-6)


def test_the_density_of_bogacz_is_the_normalised_posterior():
    """Prior times likelihood, over their integral: Simpson's rule on a finer and wider grid."""
    example, steps = data.bogacz(), 40_000
    joint = [
        math.exp(-0.5 * (s - 3) ** 2) * math.exp(-0.5 * (2 - s * s) ** 2)
        for s in (-8 + 16 * i / steps for i in range(steps + 1))
    ]
    Z = 16 / steps / 3 * (joint[0] + joint[-1] + 4 * sum(joint[1:-1:2]) + 2 * sum(joint[2:-1:2]))
    for s, energy, density in zip(example.s, example.energy, example.density, strict=True):
        assert density * Z == pytest.approx(math.exp(-energy), rel=1e-12)
        assert energy == pytest.approx(0.5 * (s - 3) ** 2 + 0.5 * (2 - s**2) ** 2, rel=1e-14)
    assert example.s[[0, 500, 1000]].tolist() == [-5, 0, 5]
    assert abs(example.s[example.density.argmax()] - example.mode) <= 0.005
    assert example.density[example.s < 0].sum() * 0.01 == pytest.approx(0.0026, abs=5e-5)
    assert max(example.density[[0, -1]]) < 1e-16


def test_the_flow_of_the_reference_ends_at_the_mode_of_the_example():
    """The gradient of sPC.23 comes to rest there."""
    example = data.bogacz()
    s = closed_form.warm_up_flow(example.observation, example.prior, 0.01, 2000, error_units=False)
    assert s == pytest.approx(example.mode, abs=1e-12)
