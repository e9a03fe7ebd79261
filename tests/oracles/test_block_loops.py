"""Convolution, pooling, embedding and normalisation against loops over indices; and what only examples can show."""

import numpy as np
import pytest
from helpers.block_cases import CONVOLUTIONS, POOLINGS, setting
from helpers.checks import assert_live, assert_same

import minipc as pc
from reference import index_loops as loops

RNG = np.random.default_rng(0)
RTOL = 1e-12


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_the_sum_with_every_index(name):
    """Eqs. (CONV.1)-(CONV.3) without activation, every size."""
    case = CONVOLUTIONS[name]
    c = setting(case._replace(config={**case.config, "activation": "identity"}), pc, 1)
    t, pad = case.config.get("stride", 1), case.config.get("padding", 0)
    ds, dW, db = loops.convolution_sums(c.p["W"], c.s, c.v, t, pad)
    expected = [loops.convolution(c.p["W"], c.p["b"], c.s, t, pad), ds, {"W": dW, "b": db}]
    assert_live(expected)
    mu, tape = c.block.forward(c.p, c.s)
    assert_same([mu, *c.block.vjp(c.p, tape, c.v)], expected, RTOL)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_a_pool_is_the_loop_over_windows(name, ties):
    """Eqs. (POOL.1)-(POOL.4); with ties too, where autograd would share the derivative among the equal ones."""
    case = POOLINGS[name]
    c = setting(case, pc, 2)
    s = np.round(c.s) if ties else c.s
    k = case.config["kernel_size"]
    loop = loops.max_pool if case.name == "MaxPool2d" else loops.mean_pool
    expected = loop(s, c.v, k, case.config.get("stride", k))
    assert_live(expected)
    mu, tape = c.block.forward(c.p, s)
    down, grads = c.block.vjp(c.p, tape, c.v)
    assert_same([mu, down], expected, RTOL)
    assert grads == {}
    up = c.block.jvp(c.p, tape, c.s_dot)
    np.testing.assert_allclose(
        (c.v * up).sum(), (expected[1] * c.s_dot).sum(), RTOL
    )  # the adjoint, ties included


def test_of_equal_pixels_the_first_wins():
    """Once, top left first; a pixel that wins twice collects twice."""
    block = pc.MaxPool2d(2, stride=1)
    s = np.array([[[[1.0, 5.0, 5.0], [5.0, 0.0, 0.0]]]])
    _, tape = block.forward({}, s)
    down, _ = block.vjp({}, tape, np.array([[[[2.0, 3.0]]]]))
    assert np.array_equal(down, [[[[0.0, 5.0, 0.0], [0.0, 0.0, 0.0]]]])


def test_nan_is_not_pooled_away():
    """A value that is not a number must not vanish behind a larger one."""
    for block in (pc.MaxPool2d(2), pc.AvgPool2d(2)):
        for place in range(4):
            s = np.arange(4.0)
            s[place] = np.nan
            assert np.isnan(block.forward({}, s.reshape(1, 1, 2, 2))[0]).all()


def test_a_convolution_does_not_flip_its_kernel():
    """Cross-correlation: a one in the corner of the kernel takes the corner of the window."""
    block, W = pc.Conv2d(1, 1, 2), np.zeros((1, 1, 2, 2))
    W[0, 0, 0, 1] = 1
    s = np.arange(6.0).reshape(1, 1, 2, 3)
    assert np.array_equal(block.forward({"W": W, "b": np.zeros(1)}, s)[0], [[[[1.0, 2.0]]]])


def test_a_1x1_convolution_is_a_dense_block_at_every_pixel():
    """The same numbers from another room."""
    conv, dense = pc.Conv2d(3, 4, 1, activation="tanh"), pc.Dense(3, 4, "tanh")
    p = dense.init_params(RNG, "float64")
    s = RNG.standard_normal((2, 3, 4, 5))
    pixels = s.transpose(0, 2, 3, 1).reshape(-1, 3)
    expected = dense.forward(p, pixels)[0].reshape(2, 4, 5, 4).transpose(0, 3, 1, 2)
    assert_same(conv.forward({"W": p["W"][:, :, None, None], "b": p["b"]}, s)[0], expected, RTOL)


def test_a_convolution_over_the_whole_image_is_a_dense_block():
    """And its gradient, through Flatten."""
    conv, dense = pc.Conv2d(2, 3, 4, form="pre", activation="tanh"), pc.Dense(32, 3, "tanh", form="pre")
    p, s, v = conv.init_params(RNG, "float64"), RNG.standard_normal((3, 2, 4, 4)), RNG.standard_normal((3, 3))
    flat, shape = pc.Flatten().forward({}, s)
    q = {"W": p["W"].reshape(3, 32), "b": p["b"]}
    mu, tape = dense.forward(q, flat)
    down, grads = dense.vjp(q, tape, v)
    conv_mu, conv_tape = conv.forward(p, s)
    conv_down, conv_grads = conv.vjp(p, conv_tape, v.reshape(3, 3, 1, 1))
    assert_same(conv_mu.reshape(3, 3), mu, RTOL)
    assert_same(conv_down, pc.Flatten().vjp({}, shape, down)[0], RTOL)
    assert_same(conv_grads["W"].reshape(3, 32), grads["W"], RTOL)


def test_pixels_that_no_window_reaches_get_nothing():
    """Left over by the stride: no influence, no gradient."""
    for block in (pc.Conv2d(2, 3, 2, stride=3), pc.MaxPool2d(2, 3), pc.AvgPool2d(2, 3)):
        p = block.init_params(RNG, "float64")
        s = RNG.standard_normal((2, 2, 4, 6))
        mu, tape = block.forward(p, s)
        down, _ = block.vjp(p, tape, np.ones(mu.shape))
        reached = np.zeros((4, 6), bool)
        reached[np.ix_([0, 1], [0, 1, 3, 4])] = True
        assert not down[:, :, ~reached].any()
        assert down[:, :, reached].any()
        changed = block.forward(p, np.where(reached, s, 9.0))[0]
        assert np.array_equal(changed, mu)


def test_embedding_rows_add_up():
    """Eq. (EMB.2): an index that occurs three times collects three rows, one that does not occur none."""
    block, s = pc.Embedding(5, 3), np.array([2, 0, 2, 4, 2])
    p, v = block.init_params(RNG, "float64"), RNG.standard_normal((5, 3))
    _, grads = block.vjp(p, block.forward(p, s)[1], v, input=False)
    assert_same(grads["W"], loops.embedding_sums(s, v, 5), RTOL)
    assert not grads["W"][[1, 3]].any()
    still = block.jvp(p, s, None)  # no tangent of anything
    assert still.shape == v.shape
    assert not still.any()
    for kind in ("int8", "uint16", "int64"):
        again = block.vjp(p, s.astype(kind), v, input=False)[1]["W"]
        assert np.array_equal(again, grads["W"])


def test_a_small_integer_type_of_the_indices_does_not_overflow():
    """Place times width leaves int8 long before the vocabulary does."""
    block, s = pc.Embedding(100, 40), np.array([99, 3], "int8")
    p, v = block.init_params(RNG, "float64"), RNG.standard_normal((2, 40))
    grads = block.vjp(p, block.forward(p, s)[1], v, input=False)[1]
    assert_same(grads["W"], loops.embedding_sums(s, v, 100), RTOL)


def test_normalisation_is_the_sum_with_every_index():
    """Eqs. (LN.1), (BN.1); with gamma one and beta zero the output has mean zero and variance one."""
    layer, batch = pc.LayerNorm(4, eps=0.1), pc.BatchNorm2d(3, eps=0.2)
    s, images = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 3, 4, 3))
    p = {"gamma": RNG.standard_normal(4), "beta": RNG.standard_normal(4)}
    assert_same(layer.forward(p, s)[0], loops.layer_norm(p["gamma"], p["beta"], s, 0.1), RTOL)
    q = {**batch.init_params(RNG, "float64"), "gamma": RNG.standard_normal(3), "beta": RNG.standard_normal(3)}
    assert_same(batch.forward(q, images)[0], loops.batch_norm(q["gamma"], q["beta"], images, 0.2), RTOL)
    plain = pc.BatchNorm2d(3, eps=1e-12)
    mu = plain.forward(plain.init_params(RNG, "float64"), images)[0]
    assert_same([1 + mu.mean(axis=(0, 2, 3)), mu.var(axis=(0, 2, 3))], [np.ones(3), np.ones(3)], 1e-10)


def test_batch_statistics_couple_the_samples():
    """The trap of the docstring: another sample in the batch changes the prediction and J^T v of this one."""
    images, v = RNG.standard_normal((3, 2, 3, 4)), RNG.standard_normal((3, 2, 3, 4))
    for statistics, coupled in (("batch", True), ("frozen", False)):
        block = pc.BatchNorm2d(2, statistics)
        p = block.init_params(RNG, "float64")
        other = np.concatenate([images[:1], 2 * images[1:]])
        (mu, tape), (mu2, _) = block.forward(p, images), block.forward(p, other)
        assert np.array_equal(mu[0], mu2[0]) is not coupled
        only = np.where(np.arange(3)[:, None, None, None] == 0, v, 0)  # only sample 0 sends something down
        assert block.vjp(p, tape, only)[0][1:].any() == coupled


def test_statistics_are_no_weights():
    """Their gradients are zeros of their shape, in both modes, and they have no tangent."""
    for statistics in ("batch", "frozen"):
        block = pc.BatchNorm2d(2, statistics)
        p, s = block.init_params(RNG, "float64"), RNG.standard_normal((2, 2, 3, 3))
        _, tape = block.forward(p, s)
        grads = block.vjp(p, tape, s)[1]
        assert grads.keys() == p.keys()
        assert not grads["mean"].any()
        assert not grads["var"].any()
        zero = {k: 0 * value for k, value in p.items()}
        tangent = {**zero, "mean": p["var"], "var": p["var"]}
        assert not block.jvp(p, tape, 0 * s, tangent).any()


def test_a_residual_block_is_its_skip_and_its_chain():
    """Eq. (RES.1) by hand; a factor zero leaves the chain."""
    chain = [pc.Dense(3, 5, "tanh"), pc.Dense(5, 3, "sigmoid")]
    block, s = pc.Residual(chain, skip=0.5), RNG.standard_normal((2, 3))
    p = block.init_params(RNG, "float64")
    inner = [{"W": p["1.W"], "b": p["1.b"]}, {"W": p["2.W"], "b": p["2.b"]}]
    expected = 0.5 * s + chain[1].forward(inner[1], chain[0].forward(inner[0], s)[0])[0]
    assert_same(block.forward(p, s)[0], expected, RTOL)
    without = pc.Residual(chain, skip=0.0).forward(p, s)[0]
    assert_same(without, expected - 0.5 * s, RTOL)
