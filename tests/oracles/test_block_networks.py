"""Networks of every block under every rule, against autograd of the loss and of the energies; muPC; freezing."""

import json

import numpy as np
import pytest
from helpers.block_cases import STATISTICS
from helpers.block_networks import NETWORKS, problem
from helpers.checks import assert_differ, assert_live, assert_same, leaves, read_only

import minipc as pc
from minipc import backprop, epc, spc
from reference import block_oracles as bo

RTOL = 1e-11


def learnt(grads):
    """Gradients of the weights; autograd knows nothing of statistics that are no part of the map."""
    return [{k: g for k, g in p.items() if k.split(".")[-1] not in STATISTICS} for p in grads]


every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "binary_cross_entropy"])
def test_backprop_is_the_gradient_of_the_loss(name, loss):
    """Eqs. (BP.4) and those of the blocks."""
    net, pairs, params, x, _, _, y = problem(name, 1, loss=loss)
    g = backprop.gradient(net, params, x, y)
    expected = learnt(bo.loss_gradient(pairs, params, x, y, loss))
    assert_live(expected)
    assert_same(learnt(g.grads), expected, RTOL)
    assert [p.keys() for p in g.grads] == [p.keys() for p in params]


@every_network
def test_spc_gradients_are_those_of_the_energy(name):
    """Eqs. (sPC.2), (sPC.4), (sPC.6); with batch statistics of the summed energy, to which each sample belongs."""
    net, pairs, params, _, s, _, y = problem(name, 2)
    dE_ds, dE_dp = bo.spc_gradients(pairs, params, s, y, "cross_entropy")
    expected = [bo.spc_energy(pairs, params, s, y, "cross_entropy"), dE_ds[1:], learnt(dE_dp)]
    assert_live(expected)
    actual = [
        spc.energy(net, params, s, y),
        spc.activity_gradient(net, params, s, y)[1:],
        learnt(spc.weight_gradient(net, params, s, y)),
    ]
    assert_same(actual, expected, RTOL)


@every_network
def test_epc_gradients_are_those_of_the_energy(name):
    """Eqs. (ePC.2), (ePC.4), (ePC.6)."""
    net, pairs, params, x, _, e, y = problem(name, 3)
    s = epc.states_from_errors(net, params, e, x)
    expected = [
        bo.epc_energy(pairs, params, e, x, y, "cross_entropy"),
        bo.epc_error_gradient(pairs, params, e, x, y, "cross_entropy")[1:],
        learnt(bo.spc_gradients(pairs, params, s, y, "cross_entropy")[1]),
    ]
    assert_live(expected)
    actual = [
        epc.energy(net, params, e, x, y),
        epc.error_gradient(net, params, e, x, y)[1:],
        learnt(epc.weight_gradient(net, params, e, x, y)),
    ]
    assert_same(actual, expected, RTOL)


@every_network
def test_inference_descends_the_energy(name):
    """Three steps of sPC and of ePC, Eqs. (sPC.5), (ePC.5), with the gradients of autograd."""
    net, pairs, params, x, s, e, y = problem(name, 4)
    lam, options = 0.02, {"inference_steps": 3, "step_size": 0.02}
    for _ in range(3):
        slope = bo.spc_gradients(pairs, params, s, y, "cross_entropy")[0]
        s = [x, *(v - lam * g for v, g in zip(s[1:], slope[1:], strict=True))]
        slope = bo.epc_error_gradient(pairs, params, e, x, y, "cross_entropy")
        e = [None, *(v - lam * g for v, g in zip(e[1:], slope[1:], strict=True))]
    *_, start, start_e, _ = problem(name, 4)
    assert_same(spc.infer(net, params, start, y, **options).s[1:], s[1:], RTOL)
    assert_same(epc.infer(net, params, start_e, x, y, **options).e[1:], e[1:], RTOL)


@every_network
def test_one_epc_step_is_backprop(name):
    """Eq. (ePC.11): from e = 0 the errors after one step are minus the step times backprop's deltas, on any chain."""
    net, pairs, params, x, _, e, y = problem(name, 5)
    if name == "images, batch statistics":
        return  # its ePC step is that of the summed energy; covered above
    zero = [None, *(0 * v for v in e[1:])]
    delta = bo.epc_error_gradient(pairs, params, zero, x, y, "cross_entropy")
    g = epc.gradient(net, params, x, y, inference_steps=1, step_size=0.1)
    assert_live(delta[1:])
    assert_same(g.errors[1:-1], [-0.1 * d for d in delta[1:]], 1e-12)


@every_network
@pytest.mark.parametrize("rule", [backprop, spc, epc])
def test_a_whole_gradient_keeps_float32(name, rule):
    """Everything that a rule returns for a chain of these blocks."""
    net, _, params, x, _, _, y = problem(name, 8)
    params = [{k: a.astype("float32") for k, a in p.items()} for p in params]
    x = x if x.dtype.kind == "i" else x.astype("float32")
    g = rule.gradient(net, params, x, y.astype("float32"))
    fields = [v for v in g if v is not None]
    assert {a.dtype for a in leaves(fields)} - {x.dtype} <= {np.dtype("float32")}


@every_network
@pytest.mark.parametrize("rule", [backprop, spc, epc])
def test_the_complex_step_passes_through_a_whole_gradient(name, rule):
    """Im g(params + ih) / h along a random direction against the central difference; nothing is dropped on the way."""
    net, _, params, x, _, _, y = problem(name, 9)
    rng = np.random.default_rng(0)
    direction = [
        {k: 0 * a if k.endswith(STATISTICS) else rng.standard_normal(a.shape) for k, a in p.items()}
        for p in params
    ]
    options = {} if rule is backprop else {"inference_steps": 3, "step_size": 0.05}

    def run(h):
        moved = [{k: p[k] + h * d[k] for k in p} for p, d in zip(params, direction, strict=True)]
        return np.concatenate([a.ravel() for a in leaves(rule.gradient(net, moved, x, y, **options).grads)])

    exact, central = run(1e-200j).imag / 1e-200, (run(1e-6) - run(-1e-6)) / 2e-6
    assert_live(central)
    assert_same(exact, central, 1e-6)


@every_network
def test_a_network_survives_its_file(name, tmp_path):
    """Nested blocks and input shape included."""
    net, _, params, x, _, _, _ = problem(name, 6)
    net.save(tmp_path / "net.npz", params)
    loaded, again = pc.Network.load(tmp_path / "net.npz")
    assert loaded.blocks == net.blocks
    assert loaded.shapes == net.shapes
    assert np.array_equal(loaded.forward(again, x), net.forward(params, x))
    assert json.loads(json.dumps([block.config() for block in net.blocks]))


@every_network
def test_training_lowers_the_loss(name):
    """A few epochs of the loop with sPC: everything from input to optimiser takes these blocks."""
    net, _, params, x, _, _, y = problem(name, 7, B=6)
    options = {"rule": backprop.gradient, "optimizer": pc.Adam(0.02), "epochs": 15, "batch_size": 3}
    trained, history = pc.fit(net, params, (x, y.argmax(axis=1)), **options, progress=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    for old, new in zip(params, trained, strict=True):  # statistics are no weights: they stay
        assert all(np.array_equal(old[k], new[k]) for k in old if k.endswith(STATISTICS))


@pytest.mark.parametrize("rule", [spc, epc])
@pytest.mark.parametrize("options", [{"bias": False}, {"scale": 0.4}, {"bias": False, "scale": 2.0}])
def test_the_fast_form_leaves_other_dense_blocks_to_the_readable_one(rule, options):
    """Precisions of one change nothing but switch it off; it knows neither a fixed factor nor a missing bias."""
    net = pc.Network([pc.Dense(3, 5, "tanh"), pc.Dense(5, 4, "tanh", **options), pc.Dense(4, 2)])
    rng = np.random.default_rng(0)
    params = [{k: rng.standard_normal(n) for k, n in block.shapes.items()} for block in net.blocks]
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((2, 2))
    runs = [
        rule.gradient(net, params, x, y, precision, inference_steps=4, step_size=0.05)
        for precision in (None, [1.0, 1.0, 1.0])
    ]
    assert_live(runs[1].grads)
    assert_same(runs[0].grads, runs[1].grads, 1e-12)


@pytest.mark.parametrize("depth", [2, 4, 7])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_mupc_gradients(depth, loss):
    """Eq. (sPC.19): the formula, autograd of the energy, and the engine through its blocks give the same."""
    rng = np.random.default_rng(depth)
    net = pc.mupc(3, 6, 4, depth, activation="tanh", loss=loss)
    params = net.init(seed=depth)
    W = [next(iter(p.values())) for p in params]
    assert [w.shape for w in W] == [(6, 3), *[(6, 6)] * (depth - 2), (4, 6)]
    x, y = rng.standard_normal((2, 3)), rng.dirichlet(np.ones(4), size=2)
    s = [x, *(rng.standard_normal((2, 6)) for _ in range(depth - 1))]
    expected = bo.mupc_energy_gradient(W, s, y, loss, "tanh")
    assert_live(expected)
    assert_same(bo.mupc_gradient(W, s, y, loss, "tanh"), expected, 1e-12)
    grads = [next(iter(p.values())) for p in spc.weight_gradient(net, params, s, y)]
    assert_same([spc.activity_gradient(net, params, s, y), grads], list(expected), 1e-12)


def test_mupc_keeps_the_signal_at_any_depth():
    """What the gains are for: activities of order one after 3 and after 60 blocks, where plain ones explode."""
    x, size = np.random.default_rng(0).standard_normal((8, 50)), {}
    for depth in (3, 60):
        net = pc.mupc(50, 64, 10, depth)
        params = net.init(seed=0)
        size[depth] = np.std(spc.feedforward(net, params, x)[-1])
        assert {k: v.std().round(1) for p in params for k, v in p.items()} in (
            {"W": 1.0},
            {"W": 1.0, "1.W": 1.0},
        )
    assert 0.5 < size[3] < 2
    assert 0.5 < size[60] < 3
    plain = pc.Residual([pc.Dense(64, 64, "relu", "pre", init="kaiming")])
    s = x @ np.random.default_rng(1).standard_normal((50, 64)) / 50**0.5
    for _ in range(60):
        s = plain.forward(plain.init_params(np.random.default_rng(2), "float64"), s)[0]
    assert np.std(s) > 1e3


def test_freezing_keeps_the_numbers_and_frees_the_samples():
    """On the batch itself nothing changes; afterwards a sample no longer depends on its neighbours."""
    inner = pc.Residual([pc.BatchNorm2d(2), pc.Conv2d(2, 2, 3, padding=1, activation="tanh")], skip=0.5)
    blocks = [pc.Conv2d(1, 2, 2, activation="tanh"), pc.BatchNorm2d(2), inner, pc.Flatten(), pc.Dense(8, 3)]
    net, rng = pc.Network(blocks, input_shape=(1, 3, 3)), np.random.default_rng(0)
    params, x = net.init(seed=0), 2 + rng.standard_normal((5, 1, 3, 3))
    read_only([x, *(a for p in params for a in p.values())])
    frozen, new = pc.freeze_statistics(net, params, x)
    assert_same(frozen.forward(new, x), net.forward(params, x), 1e-12)
    assert_differ(net.forward(params, x)[:2], net.forward(params, x[:2]))
    assert_same(frozen.forward(new, x)[:2], frozen.forward(new, x[:2]), 1e-12)
    assert [getattr(block, "statistics", None) for block in net.blocks] == [None, "batch", None, None, None]
    assert frozen.blocks[1].statistics == frozen.blocks[2].blocks[0].statistics == "frozen"
    assert net.blocks[2].blocks[0].statistics == "batch"
    below = net.blocks[0].forward(params[0], x)[0]
    assert_same(
        [new[1]["mean"], new[1]["var"]], [below.mean(axis=(0, 2, 3)), below.var(axis=(0, 2, 3))], 1e-12
    )
    assert not new[2]["1.mean"].any() == params[2]["1.mean"].any()
    twice, again = pc.freeze_statistics(frozen, new, x[:2])
    assert_differ(again[1]["mean"], new[1]["mean"])
    assert twice.blocks == frozen.blocks
