"""Dense and Embedding at the edges of their arguments: scale, gain, defaults, formulas, initial weights."""

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc
from minipc import blocks

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("gain", [0, -0.5, -1, np.inf, -np.inf, np.nan, "1", None, True])
def test_a_gain_that_is_no_positive_finite_number_is_refused(gain):
    """Zero, infinity and what is no number; a gain just above zero is one."""
    with pytest.raises(ValueError, match="gain of a Dense block must be a positive finite number, got"):
        pc.Dense(3, 2, gain=gain)
    assert pc.Dense(3, 2, gain=1e-300).gain == 1e-300


@pytest.mark.parametrize("form", ["post", "pre"])
@pytest.mark.parametrize("scale", [0.5, 2, np.float64(2.0), 3.0])
def test_a_scale_is_a_factor_of_the_weights(form, scale):
    """Forward, both derivatives and rows are those of a block with the weights ``scale W``; W's gradient has the factor."""
    scaled, plain = pc.Dense(4, 3, "tanh", form, scale=scale), pc.Dense(4, 3, "tanh", form)
    p = {"W": RNG.standard_normal((3, 4)), "b": RNG.standard_normal(3)}
    q, s, v = {"W": scale * p["W"], "b": p["b"]}, RNG.standard_normal((5, 4)), RNG.standard_normal((5, 3))
    (mu, tape), (expected, other) = scaled.forward(p, s), plain.forward(q, s)
    assert_same(mu, expected, rtol=1e-14)
    down, grads = scaled.vjp(p, tape, v)
    expected_down, expected_grads = plain.vjp(q, other, v)
    assert_same(down, expected_down, rtol=1e-13)
    assert_same(grads["W"], scale * expected_grads["W"], rtol=1e-13)
    assert_same(grads["b"], expected_grads["b"], rtol=1e-13)
    s_dot = RNG.standard_normal(s.shape)
    assert_same(scaled.jvp(p, tape, s_dot), plain.jvp(q, other, s_dot), rtol=1e-13)
    rows = RNG.standard_normal((5, 2, 3))
    assert_same(scaled.pull_rows(p, tape, rows)[0], plain.pull_rows(q, other, rows)[0], rtol=1e-13)


@pytest.mark.parametrize("form", ["post", "pre"])
def test_a_scale_of_numpy_does_not_widen_float32(form):
    """np.float64 is a number here, no array."""
    block = pc.Dense(4, 3, "tanh", form, scale=np.float64(0.5), gain=np.float64(2.0))
    p = block.init_params(np.random.default_rng(0), np.float32)
    s, v = RNG.standard_normal((5, 4)).astype(np.float32), RNG.standard_normal((5, 3)).astype(np.float32)
    mu, tape = block.forward(p, s)
    down, grads = block.vjp(p, tape, v)
    assert {a.dtype for a in (*p.values(), mu, down, *grads.values(), block.jvp(p, tape, s))} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize(
    ("block", "formula"),
    [
        (pc.Dense(3, 2), "W s + b"),
        (pc.Dense(3, 2, bias=False), "W s"),
        (pc.Dense(3, 2, "tanh"), "tanh(W s + b)"),
        (pc.Dense(3, 2, "tanh", "pre"), "W tanh(s) + b"),
        (pc.Dense(3, 2, "tanh", "pre", bias=False), "W tanh(s)"),
        (pc.Dense(3, 2, "relu", scale=0.25), "relu(0.25 W s + b)"),
        (pc.Flatten(), "flatten"),
        (pc.Embedding(5, 3), "W[s]"),
    ],
)
def test_formulas_say_what_a_block_does(block, formula):
    """Form, bias and scale are in the line that summaries show."""
    assert block.formula == formula


def test_defaults_of_blocks():
    """A plain Dense block is linear, post form, xavier, with a bias; a gain of one is no gain."""
    said = pc.Dense(3, 2, "identity", "post", "xavier", 1.0, True, 1.0)
    assert pc.Dense(3, 2) == said
    assert pc.Embedding(5, 3) == pc.Embedding(5, 3, 1.0)
    rows = pc.Embedding(400, 300).init_params(np.random.default_rng(0), float)["W"]
    assert abs(rows.std() - 1) < 0.02  # (INIT.4)


def test_the_default_window_of_xavier_is_one_weight():
    """(INIT.1): without a window the fan-out is the number of outputs."""
    found = blocks.xavier(np.random.default_rng(0), 3, 5)
    assert_same(found, np.random.default_rng(0).standard_normal((3, 5)) * np.sqrt(2 / 8), rtol=1e-15)


def test_orthogonal_weights_are_spread_evenly():
    """(INIT.3): the mean of the uniform distribution over rotations and reflections is zero, in every entry."""
    draws = np.stack([blocks.orthogonal(np.random.default_rng(i), 3, 3) for i in range(600)])
    assert abs(draws.mean(axis=0)).max() < 4 * np.sqrt(1 / 3 / 600)
    assert {float(np.sign(blocks.orthogonal(np.random.default_rng(i), 1, 1)[0, 0])) for i in range(20)} == {
        -1.0,
        1.0,
    }
