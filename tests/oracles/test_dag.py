"""ePC on a graph: a chain is ePC bit by bit, backprop at zero errors, sPC at equilibrium; claim S33 is in the battery."""

import json

import numpy as np
import pytest
from autograd import grad
from helpers.battery import GOOD, flat, graph, network, zero_errors
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import fewer, problems
from hypothesis import given

import minipc as pc
from minipc import dag, epc
from reference import autograd_oracles as ad

noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")  # a fixed step may be too long
FEW = {"inference_steps": 4, "step_size": 0.05}


def on_graph(p):
    """The problem on a graph in which every node but the first has two parents: the Dag, its parameters."""
    parents, params = graph(p)
    blocks = [
        pc.Dense(sum(p.sizes[i] for i in nodes), n, kind, form=form)
        for nodes, n, (kind, form) in zip(parents, p.sizes[1:], p.layers, strict=True)
    ]
    return pc.Dag(blocks, parents, p.loss), params


def loss_gradient(p, parents, params):
    """dLoss/dW on a graph, by autograd of the forward pass."""
    top = ad.precisions(p.layers, p.precision)[-1]

    def total(params):
        yhat = ad.dag_states(p.layers, params, parents, zero_errors(p), p.x)[-1]
        return ad.loss_value(p.loss, yhat, p.y, top)

    return ad.in_params(total, params)


@noisy
@fewer(2)
@given(problems(depth=(1, 6)))
def test_a_chain_is_epc_bit_by_bit(p):
    """Node j has the one parent j - 1: every verb gives the very numbers of minipc.epc."""
    net = network(p)
    chain = pc.Dag(net.blocks, [(j,) for j in range(len(net.blocks))], p.loss)
    data, sides = (p.params, p.e, p.x, p.y, p.precision), ((dag, chain, {}), (epc, net, {"record_every": 1}))
    actual, expected = (
        [
            rule.feedforward(m, p.params, p.x),
            rule.states_from_errors(m, p.params, p.e, p.x),
            m.forward(p.params, p.x),
            rule.energy(m, *data),
            rule.error_gradient(m, *data),
            rule.weight_gradient(m, *data),
            rule.energy(m, p.params, p.e, p.x, None, p.precision),
            rule.error_gradient(m, p.params, p.e, p.x, None, p.precision),
            rule.weight_gradient(m, p.params, p.e, p.x, None, p.precision),
            rule.infer(m, *data, **FEW, **readable)[:3],
        ]
        for rule, m, readable in sides
    )
    assert_same(actual, expected, rtol=0)
    g, h = (
        rule.gradient(m, p.params, p.x, p.y, p.precision, **FEW, **readable) for rule, m, readable in sides
    )
    for field in ("grads", "loss", "energy", "states", "errors", "residual"):
        assert_same(getattr(g, field), getattr(h, field), rtol=0)
    assert chain.sizes == net.sizes


def test_at_zero_errors_the_backward_vector_is_backprops():
    """(ePC.3) at e = 0: minus the gradient in e is backprop's, and after one small step so is that of the weights."""
    for p in GOOD:
        net, params = on_graph(p)
        p = p._replace(precision=[None] * (len(p.layers) - 1) + [p.precision[-1]])
        expected = loss_gradient(p, net.parents, params)
        lam = 1e-6
        g = dag.gradient(net, params, p.x, p.y, p.precision, inference_steps=1, step_size=lam)
        hidden = [{k: v / lam for k, v in q.items()} for q in g.grads[:-1]]
        assert_live(expected)
        assert_same(hidden[0], expected[0], rtol=1e-9)  # exactly, as its input is clamped
        assert_same(flat([*hidden, g.grads[-1]]), flat(expected), rtol=1e-3)


def test_both_ways_count():
    """Control of S33: a graph is not the chain that is left when the connections that skip a node are cut."""
    for p in GOOD:
        net, params = on_graph(p)
        cut = [
            {
                "W": np.concatenate([q["W"][:, a:b] * (i == j - 1) for i, a, b in columns(net, j)], axis=1),
                "b": q["b"],
            }
            for j, q in enumerate(params, start=1)
        ]
        whole, chain = (dag.error_gradient(net, q, p.e, p.x, p.y, p.precision) for q in (params, cut))
        assert_differ(whole, chain)
        assert_same(chain, epc.error_gradient(network(p), p.params, p.e, p.x, p.y, p.precision), rtol=1e-13)


def columns(net, j):
    """(parent, first, last) column of every parent of node j."""
    start = 0
    for i in net.parents[j - 1]:
        yield i, start, start + net.sizes[i]
        start += net.sizes[i]


def test_descent_finds_the_stationary_point_of_the_states_too():
    """(ePC.7) on a graph: where dE/de = 0 the energy is stationary in the states, by autograd."""
    p = GOOD[0]._replace(precision=None)
    net, params = on_graph(p)
    params = [{"W": 0.6 * q["W"], "b": q["b"]} for q in params]
    g = dag.gradient(net, params, p.x, p.y, inference_steps=4000, step_size=0.1)
    assert (g.residual < 1e-12).all()
    assert (g.energy < g.loss).all()

    def energy(free):
        s, E = [p.x, *free], 0.0
        for j, (layer, q, nodes) in enumerate(zip(p.layers, params, net.parents, strict=True), start=1):
            mu = ad.predict(layer, q, ad.anp.concatenate([s[i] for i in nodes], axis=1))
            E = E + ad.anp.sum((s[j] - mu) ** 2 if j < len(s) else (p.y - mu) ** 2) / 2
        return E

    assert max(np.abs(slope).max() for slope in grad(energy)(list(g.states[1:]))) < 1e-11


def test_a_graph_trains():
    """Handed to fit as any other network."""
    p = GOOD[0]._replace(precision=None)
    net, params = on_graph(p)
    _, history = pc.fit(
        net, params, (p.x, p.y), rule=dag.gradient, optimizer=pc.Adam(0.02), epochs=60, progress=False
    )
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_initial_parameters_and_text():
    """init draws every block; repr names nodes, maps and parents."""
    net = pc.Dag([pc.Dense(2, 3, "tanh"), pc.Dense(5, 4), pc.Dense(7, 1)], [(0,), (0, 1), (1, 2)])
    params = net.init(seed=0, dtype="float32")
    assert [{k: (v.shape, v.dtype.name) for k, v in q.items()} for q in params] == [
        {"W": ((n, m), "float32"), "b": ((n,), "float32")} for n, m in ((3, 2), (4, 5), (1, 7))
    ]
    assert "node 2: W s + b of 0, 1, width 4" in repr(net)
    assert net.shapes == [(2,), (3,), (4,), (1,)]


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_loss_that_is_not_finite_names_the_node():
    """Before inference, and with the first node in which it shows."""
    net = pc.Dag([pc.Dense(2, 3), pc.Dense(5, 4), pc.Dense(7, 1)], [(0,), (0, 1), (1, 2)])
    params = net.init(seed=0)
    params[1] = {**params[1], "b": np.full(4, np.inf)}
    with pytest.raises(FloatingPointError, match=r"parameter b\[2\] of block 2"):
        dag.gradient(net, params, np.ones((2, 2)), np.ones((2, 1)))
    params[1] = {**params[1], "b": np.full(4, 1e308), "W": np.full((4, 5), 1e308)}
    with pytest.raises(FloatingPointError, match="first appeared in the output of block 2"):
        dag.gradient(net, params, np.ones((2, 2)), np.ones((2, 1)))
    with pytest.raises(FloatingPointError, match="appeared in the loss"):
        dag.gradient(net, net.init(seed=0), np.full((2, 2), 1e200), np.ones((2, 1)))


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_divergence_warns():
    """A step that is too long."""
    p = GOOD[0]
    net, params = on_graph(p)
    with pytest.warns(pc.InferenceWarning, match="ePC inference diverged"):
        dag.gradient(net, params, p.x, p.y, inference_steps=30, step_size=5.0)


def test_a_small_rise_is_enough_for_the_warning(recwarn):
    """The chain by hand, x = 1, weights 2 and 3, y = 1: one mode, ev = 10, so a step of 0.2 is the bound (ePC.13)."""
    chain = pc.Dag([pc.Dense(1, 1), pc.Dense(1, 1)], [(0,), (1,)])
    params = [{"W": np.full((1, 1), w), "b": np.zeros(1)} for w in (2.0, 3.0)]
    x = y = np.ones((1, 1))
    g = dag.gradient(chain, params, x, y, inference_steps=1, step_size=0.199)
    assert not recwarn
    assert_same(g.energy, np.array([1.25 + 11.25 * 0.99**2]), rtol=1e-12)
    with pytest.warns(pc.InferenceWarning, match="diverged in 1 of 1 samples"):
        dag.gradient(chain, params, x, y, inference_steps=1, step_size=0.201)


def test_a_graph_is_built_again_from_its_configuration():
    """As a network is; through JSON."""
    net = pc.Dag([pc.Dense(2, 3, "tanh"), pc.Dense(5, 1)], [(0,), (0, 1)], "mse")
    again = pc.Dag.from_config(json.loads(json.dumps(net.config())))
    assert again.config() == net.config()
    params, x = net.init(seed=1), np.array([[0.3, -1.0], [2.0, 0.5]])
    assert np.array_equal(again.forward(params, x), net.forward(params, x))
