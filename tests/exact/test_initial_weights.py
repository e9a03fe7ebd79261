"""Initial weights: scale, orthonormality, reproducibility, Eqs. (INIT.1)-(INIT.4)."""

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_same

from minipc import BatchNorm2d, Conv2d, Dense, Embedding, LayerNorm, Network, Residual

SHAPES = [(300, 500), (500, 300)]


def weights(n_in, n_out, seed=0, **options):
    """W of one block."""
    (p,) = Network([Dense(n_in, n_out, **options)]).init(seed=seed)
    assert not p["b"].any()
    assert p["W"].shape == (n_out, n_in)
    return p["W"]


@pytest.mark.parametrize(
    ("init", "variance"),
    [("xavier", lambda a, b: 2 / (a + b)), ("kaiming", lambda a, b: 2 / a), ("normal", lambda a, b: 1.0)],
)
@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
def test_the_variance_is_that_of_the_paper(init, variance, n_in, n_out):
    """150,000 entries: their variance is known to 0.4 percent (one standard deviation); mean and kurtosis are a normal's."""
    W = weights(n_in, n_out, init=init) / variance(n_in, n_out) ** 0.5
    assert W.var() == pytest.approx(1, rel=0.02)
    assert W.mean() == pytest.approx(0, abs=0.02)
    assert (W**4).mean() == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize(("n_in", "n_out"), [(30, 50), (50, 30), (4, 4)])
def test_orthogonal_weights_are_orthonormal(n_in, n_out):
    """Rows or columns, whichever are fewer."""
    W = weights(n_in, n_out, init="orthogonal")
    gram = W @ W.T if n_out < n_in else W.T @ W
    assert_same(gram, np.eye(min(n_in, n_out)), rtol=1e-13)


def test_orthogonal_weights_have_no_preferred_sign():
    """The trace of a uniformly distributed 4 x 4 matrix is zero on average; without the sign rule it is not."""
    traces = [np.trace(weights(4, 4, seed=seed, init="orthogonal")) for seed in range(400)]
    assert abs(np.mean(traces)) < 4 * np.std(traces) / 400**0.5
    assert np.std(traces) == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("init", ["xavier", "kaiming", "orthogonal", "normal"])
def test_gain_scales_and_the_seed_draws(init):
    """Exactly; another seed is another network; a generator may stand for the seed."""
    W = weights(5, 4, init=init)
    assert_same(weights(5, 4, init=init, gain=3.0), 3 * W, rtol=1e-15)
    assert_same(weights(5, 4, init=init, seed=np.random.default_rng(0)), W, rtol=0)
    assert_differ(weights(5, 4, init=init, seed=1), W)


def test_blocks_draw_one_after_the_other():
    """The second block does not repeat the first; the dtype is as asked, the numbers are the same."""
    net = Network([Dense(4, 4), Dense(4, 4)])
    first, second = net.init(seed=0)
    assert_differ(second["W"], first["W"])
    single = net.init(seed=0, dtype="float32")
    assert {v.dtype for p in single for v in p.values()} == {np.dtype("float32")}
    assert_same(single[1]["W"], second["W"].astype("float32"), rtol=0)


@pytest.mark.parametrize(
    ("init", "variance"),
    [("xavier", 2 / (9 * 40 + 9 * 60)), ("kaiming", 2 / (9 * 40)), ("normal", 1.0)],
)
def test_a_convolution_counts_the_inputs_of_a_unit_and_the_units_of_an_input(init, variance):
    """3 x 3 kernels from 40 to 60 channels: 360 numbers reach a unit, an input reaches 540 of them; no bias."""
    p = Conv2d(40, 60, 3, init=init, gain=2.0).init_params(np.random.default_rng(0), "float64")
    assert p["W"].shape == (60, 40, 3, 3)
    assert p["W"].var() == pytest.approx(4 * variance, rel=0.03)
    assert p["W"].mean() == pytest.approx(0, abs=0.02 * variance**0.5)
    assert p["b"].shape == (60,)
    assert not p["b"].any()


def test_the_kernels_of_an_orthogonal_convolution_are_orthonormal():
    """As rows of all their weights."""
    p = Conv2d(3, 5, 2, init="orthogonal").init_params(np.random.default_rng(0), "float64")
    rows = p["W"].reshape(5, 12)
    assert_same(rows @ rows.T, np.eye(5), rtol=1e-13)


def test_a_convolution_keeps_the_variance():
    """What (INIT.2) is for: through ten padded layers of relu the signal neither dies nor explodes."""
    rng = np.random.default_rng(0)
    s, block = rng.standard_normal((4, 24, 9, 9)), Conv2d(24, 24, 3, activation="relu", init="kaiming")
    start = (s**2).mean()
    s = np.pad(s, ((0, 0), (0, 0), (10, 10), (10, 10)), mode="wrap")  # no border is lost to zeros
    for _ in range(10):
        s, _ = block.forward(block.init_params(rng, "float64"), s)
    assert 0.3 < (s**2).mean() / start < 3


def test_the_other_blocks_start_as_their_docstrings_say():
    """Rows N(0, gain^2); normalisation that changes nothing; the chain of a Residual in its order."""
    rng = np.random.default_rng(0)
    rows = Embedding(400, 50, gain=0.5).init_params(rng, "float64")["W"]
    assert rows.std() == pytest.approx(0.5, rel=0.02)
    for block in (LayerNorm(3), BatchNorm2d(3)):
        p = block.init_params(rng, "float32")
        ones = {k for k, v in p.items() if (v == 1).all()}
        assert ones == {"gamma", "var"} & p.keys()
        assert not any(p[k].any() for k in p.keys() - ones)
    chain = [Dense(3, 4), Dense(4, 3)]
    p = Residual(chain).init_params(np.random.default_rng(1), "float64")
    alone = Network(chain).init(seed=1)
    assert_same([p["1.W"], p["2.W"]], [alone[0]["W"], alone[1]["W"]], rtol=0)
