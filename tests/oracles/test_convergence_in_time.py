"""The report on the inference of temporal predictive coding: closed form of a linear readout, and the rule's own residuals."""

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc
from minipc.check import convergence_in_time

T, B, BETA = 4, 2, 0.6
by_inference = pytest.mark.parametrize("inference", ["spc", "epc"])
by_carry = pytest.mark.parametrize("carry", ["state", "prediction"])


def problem(*above, cell=None, loss="mse"):
    """A recurrent network with biases, an initial state and data: nothing zero."""
    rng = np.random.default_rng(0)
    net = pc.RecurrentNetwork([cell or pc.RNN(3, 5), *above], loss=loss)
    params = [{k: v + 0.1 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(seed=1)]
    inputs, targets = rng.standard_normal((T, B, 3)), rng.standard_normal((T, B, 2))
    if loss == "cross_entropy":
        targets = rng.integers(2, size=(T, B))
    return net, params, inputs, targets, [0.5 + rng.standard_normal((B, net.blocks[0].state_size))]


@by_inference
@by_carry
def test_a_linear_readout_has_the_eigenvalues_of_its_closed_form(inference, carry):
    """Pi + beta V^T Pi_y V, of F_t itself, at every step; all residuals are those predicted, the steps exact."""
    net, params, *data = problem(pc.Dense(5, 2))
    rng = np.random.default_rng(3)
    A = rng.standard_normal((5, 5))
    Pi, Pi_y = A @ A.T / 5 + np.eye(5), np.array([0.5, 2.0])
    V = params[1]["W"]
    values = np.linalg.eigvalsh(Pi + BETA * (V.T * Pi_y) @ V)
    options = {"inference": inference, "carry": carry, "beta": BETA, "precision": [Pi, Pi_y]}
    c = convergence_in_time(net, params, *data, **options, inference_steps=300, step_size=1.5 / values[-1])
    assert_same(c.eigenvalues, np.tile(values, (T * B, 1)))
    assert_same(c.bracket, np.full(T * B, 2 / values[-1]))
    assert_same(c.step_size, np.full(T * B, 1.5 / values[-1]))
    clear = c.residuals > 1e-10
    assert_same(c.predicted[clear], c.residuals[clear], 1e-4)
    assert (c.predicted_steps == c.observed_steps).all()
    assert (c.observed_steps > 5).all()
    assert c.names[-1] == f"step {T - 1}, sample {B - 1}"
    assert str(c).splitlines()[1].startswith("step 0, sample 0  ")
    assert np.ptp(c.residuals[0]) > 0.1
    too_long = convergence_in_time(
        net, params, *data, **options, inference_steps=9, step_size=2.1 / values[-1]
    )
    assert not too_long.stable.any()
    assert all(f"take less than {2 / values[-1]:.3g}" in text for text in too_long.verdicts)


@by_inference
@by_carry
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_residuals_are_those_of_the_rule(inference, carry, loss):
    """With hidden layers above the state; the rate at the end is what the spectrum says."""
    net, params, *data = problem(pc.Dense(5, 4, "tanh"), pc.Dense(4, 2), loss=loss)
    options = {"inference": inference, "carry": carry, "beta": BETA, "step_size": 0.2}
    net_inputs, targets, h0 = data
    c = convergence_in_time(net, params, *data, **options, inference_steps=12)
    g = pc.tpc.gradient(net, params, net_inputs, targets, h0=h0, **options, inference_steps=12)
    assert_same(c.residuals[-1].reshape(T, B).max(axis=0), g.residual, 1e-9)
    long = convergence_in_time(net, params, *data, **options, inference_steps=400)
    assert long.stable.all()
    assert (abs(long.observed_rate - long.predicted_rate) < 1e-4).all()
    assert np.ptp(long.eigenvalues[:, -1]) > 1e-4


def test_adaptive_steps_and_other_cells():
    """As in tPC; a cell whose state is read out in part, and a readout without a block."""
    net, params, *data = problem(pc.Dense(4, 2), cell=pc.LSTM(3, 4))
    c = convergence_in_time(net, params, *data, inference="epc", inference_steps=60, step_size="adaptive")
    assert c.stable.all()
    assert np.isfinite(c.observed_steps).all()
    net, params, *data = problem(cell=pc.RNN(3, 2))
    c = convergence_in_time(net, params, *data, inference_steps=30, step_size=0.3)
    assert_same(c.eigenvalues, np.full((T * B, 2), 2.0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"inference": "newton"}, ValueError, "inference must be one of spc, epc"),
        ({"carry": "both"}, ValueError, "carry must be one of"),
        ({"step_size": "adaptive"}, ValueError, "step_size must be a positive number"),
        ({"step_size": "power", "inference": "epc"}, ValueError, 'a positive number or "adaptive"'),
        ({"tolerance": -1}, ValueError, "tolerance must be positive"),
        ({"modes": 0}, ValueError, "modes must be at least 1"),
        ({"beta": 0}, ValueError, "beta must be positive"),
        ({"inputs": np.zeros((4, 2))}, ValueError, "inputs must have shape"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    """Before any work."""
    net, params, inputs, targets, _ = problem(pc.Dense(5, 2))
    given = {
        "net": net,
        "params": params,
        "inputs": inputs,
        "targets": targets,
        "inference_steps": 3,
        "step_size": 0.1,
    }
    with pytest.raises(error, match=message):
        convergence_in_time(**{**given, **change})


def test_networks_without_a_real_state_are_refused():
    """Complex cells, and chains without time."""
    net = pc.RecurrentNetwork([pc.LRU(3, 4, 2)])
    options = {"inference_steps": 3, "step_size": 0.1}
    with pytest.raises(ValueError, match="the last cell must have real states, got LRU"):
        convergence_in_time(net, net.init(), np.ones((4, 2, 3)), np.ones((4, 2, 2)), **options)
    chain = pc.Network([pc.Dense(3, 4), pc.Dense(4, 2)])
    with pytest.raises(TypeError, match="net must be a RecurrentNetwork"):
        convergence_in_time(chain, chain.init(), np.ones((4, 2, 3)), np.ones((4, 2, 2)), **options)
