"""Activations and losses: complex step, one number at a time, and far from the origin."""

import numpy as np
import pytest
from helpers.battery import NAMES, PIECEWISE_LINEAR
from helpers.checks import assert_live, assert_same
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minipc.check import complex_step
from minipc.functions import ACTIVATIONS, LOSSES, softmax
from reference import autograd_oracles as ad
from reference import index_loops as loops

RNG = np.random.default_rng(0)
LOGITS, V = 2 * RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
TARGETS = {
    "mse": RNG.standard_normal((3, 4)),
    "cross_entropy": RNG.dirichlet(np.ones(4), size=3),
    "binary_cross_entropy": RNG.uniform(size=(3, 4)),
}
FAR = np.array([-1e3, -40.0, -20.0, -1.0, 1.0, 20.0, 40.0, 1e3])
AWAY_FROM_THE_KINK = st.one_of(st.floats(1e-3, 30), st.floats(-30, -1e-3))


def scalars(function, a):
    """A function of one number, entry by entry."""
    return np.array([function(float(v)) for v in a])


@pytest.mark.parametrize("name", NAMES)
@given(a=arrays(float, 5, elements=AWAY_FROM_THE_KINK))
def test_activations_equal_the_formula_of_one_number(name, a):
    """Value and derivative, Eqs. (ACT.1)-(ACT.7); absolute, since sigmoid(-30) has no digits left to compare."""
    phi, (value, slope) = ACTIVATIONS[name], loops.ACTIVATIONS[name]
    mu = phi.phi(a)
    np.testing.assert_allclose(mu, scalars(value, a), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(phi.dphi(a, mu), scalars(slope, a), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_activation_derivatives_equal_the_complex_step(name):
    """Both signs; the complex number goes through the code under test."""
    phi, a = ACTIVATIONS[name], np.array([-2.5, -0.7, -0.01, 0.01, 0.3, 1.9])
    expected = complex_step(lambda z: phi.phi(z).sum(), a)
    assert_live(expected)
    assert_same(phi.dphi(a, phi.phi(a)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_equal_the_complex_step_through_the_first(name):
    """Eqs. (ACT.8)-(ACT.14); 1 is added, because those of the piecewise linear ones are zero, exactly."""
    phi, a = ACTIVATIONS[name], np.array([-2.5, -0.7, -0.01, 0.01, 0.3, 1.9])
    expected = complex_step(lambda z: phi.dphi(z, phi.phi(z)).sum(), a)
    assert_same(1 + phi.d2phi(a, phi.phi(a)), 1 + expected)
    assert bool(expected.any()) == (name not in PIECEWISE_LINEAR)
    assert bool(phi.d2phi(a, phi.phi(a)).any()) == (name not in PIECEWISE_LINEAR)


@pytest.mark.parametrize("name", NAMES)
def test_activations_far_out_neither_overflow_nor_lose_the_limit(name):
    """A warning of NumPy is an error here; real and complex inputs, all values finite."""
    phi, (value, slope) = ACTIVATIONS[name], loops.ACTIVATIONS[name]
    mu = phi.phi(FAR)
    np.testing.assert_allclose(mu, scalars(value, FAR), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(phi.dphi(FAR, mu), scalars(slope, FAR), rtol=1e-12, atol=1e-15)
    assert_same(phi.phi(FAR.astype(complex)), mu.astype(complex), rtol=1e-15)
    assert not phi.d2phi(FAR, mu)[[0, -1]].any()  # straight lines, far out
    assert np.isfinite(phi.d2phi(FAR, mu)).all()


def test_softplus_keeps_its_small_tail():
    """Far to the left softplus and its derivative are exp(a), to all digits."""
    a = np.array([-50.0, -30.0, -20.0])
    mu = ACTIVATIONS["softplus"].phi(a)
    np.testing.assert_allclose(mu, np.log1p(np.exp(a)), rtol=1e-14)
    np.testing.assert_allclose(ACTIVATIONS["softplus"].dphi(a, mu), np.exp(a) / (1 + np.exp(a)), rtol=1e-14)


@pytest.mark.parametrize(("name", "left"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_the_derivative_at_the_kink_is_the_left_one(name, left):
    """The convention of Eqs. (ACT.4), (ACT.5), which no difference quotient can confirm."""
    phi, zero = ACTIVATIONS[name], np.zeros(1)
    assert phi.dphi(zero, phi.phi(zero)) == left
    assert phi.dphi(np.full(1, 1e-300), np.full(1, 1e-300)) == 1
    assert phi.d2phi(zero, phi.phi(zero)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_activations_keep_the_dtype_and_hand_on_nan(name):
    """A value that is not a number must not turn into one."""
    phi = ACTIVATIONS[name]
    for dtype in ("float32", "float64"):
        a = np.array([-1.0, 0.5], dtype)
        mu = phi.phi(a)
        assert mu.dtype == phi.dphi(a, mu).dtype == phi.d2phi(a, mu).dtype == dtype
    assert np.isnan(phi.phi(np.array([np.nan]))).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_error_of_a_loss_is_minus_the_complex_step(name):
    """Eqs. (LOSS.1), (LOSS.2), (LOSS.4)."""
    loss, y = LOSSES[name], TARGETS[name]
    expected = -complex_step(lambda yhat: loss.value(yhat, y).sum(), LOGITS)
    assert_live(expected)
    assert_same(loss.error(LOGITS, y), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_the_curvature_of_a_loss_is_minus_the_slope_of_its_error(name):
    """Eq. (LOSS.3): a complex step along V through the error."""
    loss, h = LOSSES[name], 1e-200
    expected = -np.imag(loss.error(LOGITS + 1j * h * V, TARGETS[name])) / h
    assert_live(expected)
    assert_same(loss.curvature(LOGITS, V), expected)


def test_cross_entropy_of_huge_logits_is_finite():
    """The largest logit is taken out; a constant added to all of them changes nothing."""
    loss, y = LOSSES["cross_entropy"], TARGETS["cross_entropy"]
    huge = 1e4 * LOGITS
    assert_same(loss.value(huge, y), ad.loss_value("cross_entropy", huge, y))
    assert np.isfinite(loss.error(huge, y)).all()
    assert_same(loss.value(LOGITS + 1e3, y), loss.value(LOGITS, y))
    assert_same(softmax(LOGITS).sum(axis=1), np.ones(3))
    assert_same(loss.curvature(LOGITS, np.ones((3, 4))) + 1, np.ones((3, 4)))  # the null vector


def test_binary_cross_entropy_of_huge_logits_is_finite():
    """Linear far out: the logarithm of a sigmoid that is exactly zero never appears, Eq. (LOSS.4)."""
    loss, y = LOSSES["binary_cross_entropy"], TARGETS["binary_cross_entropy"]
    huge = 1e4 * LOGITS
    assert_same(loss.value(huge, y), (np.maximum(huge, 0) - y * huge).sum(axis=1), rtol=1e-12)
    assert_same(loss.error(huge, y), y - (huge > 0), rtol=1e-12)
    assert_same(1 + loss.curvature(huge, V), np.ones((3, 4)))


def test_binary_cross_entropy_of_one_unit_is_cross_entropy_of_two():
    """Logits (z, 0) give softmax (sigmoid(z), 1 - sigmoid(z)): the same loss, Eqs. (LOSS.2), (LOSS.4)."""
    z, y = LOGITS[:, :1], TARGETS["binary_cross_entropy"][:, :1]
    two = np.concatenate([z, 0 * z], axis=1), np.concatenate([y, 1 - y], axis=1)
    one = LOSSES["binary_cross_entropy"]
    assert_same(one.value(z, y), LOSSES["cross_entropy"].value(*two))
    assert_same(one.error(z, y), LOSSES["cross_entropy"].error(*two)[:, :1])
