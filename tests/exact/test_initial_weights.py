"""Initial weights: scale, orthonormality, reproducibility, Eqs. (INIT.1)-(INIT.3)."""

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_same

from minipc import Dense, Network

SHAPES = [(300, 500), (500, 300)]


def weights(n_in, n_out, seed=0, **options):
    """W of one block."""
    (p,) = Network([Dense(n_in, n_out, **options)]).init(seed=seed)
    assert not p["b"].any()
    assert p["W"].shape == (n_out, n_in)
    return p["W"]


@pytest.mark.parametrize(
    ("init", "variance"), [("xavier", lambda a, b: 2 / (a + b)), ("kaiming", lambda a, b: 2 / a)]
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


@pytest.mark.parametrize("init", ["xavier", "kaiming", "orthogonal"])
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
