"""The faster forms in time find the numbers of the readable ones: the approximations over a stretch, inference in the
outputs of a linear readout with its errors found for all steps at once, scans in buffers."""

import numpy as np
import pytest

import minipc as pc
from minipc import approximations, fast_influence, rtrl, tpc
from minipc.cells import GatedCell
from minipc.timestep import Timestep

T, B, CELLS = (
    40,
    3,
    {
        "leaky": lambda: [pc.RNN(4, 5, alpha=0.6), pc.Dense(5, 2)],
        "plain": lambda: [pc.RNN(4, 5), pc.Dense(5, 2)],
        "pre": lambda: [pc.RNN(4, 5, form="pre", alpha=0.6), pc.Dense(5, 2)],
        "GRU above a block": lambda: [pc.Dense(4, 3, "tanh"), pc.GRU(3, 5), pc.Dense(5, 2)],
        "LSTM": lambda: [pc.LSTM(4, 5), pc.Dense(5, 2)],
        "GRU over LSTM": lambda: [pc.LSTM(4, 5), pc.GRU(5, 4), pc.Dense(4, 2)],
        "RNN over LRU": lambda: [pc.LSTM(4, 5), pc.LRU(5, 6, 3), pc.RNN(3, 4, alpha=0.3), pc.Dense(4, 2)],
        "LRU": lambda: [pc.LRU(4, 5, 2)],
        "RTU": lambda: [pc.RTU(4, 5, "tanh"), pc.Dense(10, 2)],
        "ELSTM": lambda: [pc.ELSTM(4, 5), pc.Dense(5, 2)],
    },
)


def problem(name, loss="mse"):
    """Network, parameters, inputs, targets and initial states; biases and self-weights that are not zero."""
    rng, net = np.random.default_rng(7), pc.RecurrentNetwork(CELLS[name](), loss=loss)
    params = [
        {k: v + 0.3 * rng.standard_normal(v.shape) if k in ("b", "W") else v for k, v in p.items()}
        for p in net.init(0)
    ]
    u, y = rng.standard_normal((T, B, 4)), rng.standard_normal((T, B, 2))
    if loss == "cross_entropy":
        y = np.eye(2)[rng.integers(0, 2, (T, B))]
    h0 = []
    for l in net.cells:
        h = 0.5 * rng.standard_normal((B, net.blocks[l].state_size))
        h0.append(h + 0.2j if net.blocks[l].complex_state else h)
    return net, params, u, y, h0


def influences():
    """Every influence with a fast form."""
    rng = np.random.default_rng(8)
    kernel = approximations.KeRNL(rng.standard_normal((5, 5)), rng.random(5))
    return {"snap-1": pc.SnAp(1), "rflo": pc.RFLO(), "kernl": kernel, "uoro": pc.UORO(3)}


def close(found, expected):
    """Equal to 1e-12 of the largest entry."""
    assert found.shape == expected.shape
    assert abs(found - expected).max() <= 1e-12 * abs(expected).max()


@pytest.mark.parametrize("influence", influences())
@pytest.mark.parametrize("name", CELLS)
def test_a_stretch_at_once_is_step_after_step(name, influence, monkeypatch):
    """Gradients of two stretches and all that is carried, T = 22 and 18, the second one from what the first left."""
    net, params, u, y, h0 = problem(name)
    gated = [isinstance(net.blocks[l], GatedCell) for l in net.cells]
    if (influence != "snap-1" and not all(gated)) or (
        influence == "kernl" and not hasattr(net.blocks[0], "alpha")
    ):
        pytest.skip("the influence refuses this cell")
    method, both, used = influences()[influence], [], []
    advance = fast_influence.advance
    monkeypatch.setattr(
        fast_influence, "advance", lambda *given: used.append(len(given[3])) or advance(*given)
    )
    for least in (2, T + 1):
        monkeypatch.setattr(fast_influence, "LEAST", least)
        first = rtrl.gradient(net, params, u[:22], y[:22], h0=h0, influence=method)
        second = rtrl.gradient(net, params, u[22:], y[22:], carry=first.carry, influence=method)
        kept = [a for own in second.carry.influence.own if own for a in own.values()]
        both.append([v for g in (first, second) for p in g.grads for v in p.values()] + kept)
    assert len(used) == 2  # the fast form when it is to be used, and then only
    for found, expected in zip(*both, strict=True):
        close(found, expected)


def test_signs_are_those_of_the_steps():
    """All drawn at once, of a seed: the numbers that one step after the other draws."""
    single, many = approximations.Signs(5), approximations.Signs(5)
    steps = np.stack([single(B, 5) for _ in range(T)])
    np.testing.assert_array_equal(many(T * B, 5).reshape(T, B, 5), steps)


@pytest.mark.parametrize("where", ["everywhere", "mask", "reset"])
@pytest.mark.parametrize("influence", [None, "plain", "snap-1"])
@pytest.mark.parametrize("name", ["leaky", "pre", "GRU above a block", "LRU", "RTU", "ELSTM", "RNN over LRU"])
def test_inference_of_a_stretch_looks_once(name, influence, where, monkeypatch):
    """Inferred in the outputs, with errors, energies and gradients found of all steps at once: what the steps of sPC in
    the states give, one step of time after the other."""
    net, params, u, y, h0 = problem(name)
    rng, options, both = np.random.default_rng(9), {}, []
    if where == "mask":
        options["mask"] = rng.random((T, B)) < 0.6
        options["mask"][5] = False
    elif where == "reset":
        options["reset"] = rng.random((T, B)) < 0.1
    followed, follower = [], Timestep.follower
    monkeypatch.setattr(Timestep, "follower", lambda *given: followed.append(1) or follower(*given))
    for readable in (False, True):
        if readable:
            monkeypatch.setattr(Timestep, "_linear_readout", lambda step: None)
            monkeypatch.setattr(Timestep, "follower", lambda *given: None)
        g = tpc.gradient(
            net,
            params,
            u,
            y,
            h0=h0,
            **options,
            influence=influence,
            inference_steps=7,
            step_size=0.15,
            beta=0.8,
        )
        both.append(
            [v for p in g.grads for v in p.values()] + [g.loss, g.energy, g.residual, g.states, *g.final]
        )
    assert followed
    for found, expected in zip(*both, strict=True):
        close(found, expected)


def test_inference_of_a_stretch_with_other_losses(monkeypatch):
    """Cross-entropy: its error is not linear in the output."""
    net, params, u, y, h0 = problem("leaky", "cross_entropy")
    both = []
    for readable in (False, True):
        if readable:
            monkeypatch.setattr(Timestep, "_linear_readout", lambda step: None)
        g = tpc.gradient(net, params, u, y, h0=h0, influence="plain", inference_steps=5)
        both.append([v for p in g.grads for v in p.values()] + [g.states, g.energy])
    for found, expected in zip(*both, strict=True):
        close(found, expected)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_a_leaky_cell_in_buffers_is_the_loop(activation):
    """With a reset in no lane the readable loop runs: the same states and tape; float32 stays float32."""
    cell, rng = pc.RNN(4, 5, activation, alpha=0.3), np.random.default_rng(0)
    for dtype in ("float64", "float32"):
        p = {
            k: (v + rng.standard_normal(v.shape)).astype(dtype)
            for k, v in cell.init_params(rng, dtype).items()
        }
        h, u = rng.standard_normal((B, 5)).astype(dtype), rng.standard_normal((T, B, 4)).astype(dtype)
        after, tape = cell.scan(p, h, u)
        expected, loop = cell.scan(p, h, u, np.zeros((T, B), bool), h)
        assert after.dtype == dtype
        for found, value in (
            (after, expected),
            (tape.before, loop.before),
            *zip(tape.kept, loop.kept, strict=True),
        ):
            assert abs(found - value).max() < 20 * np.finfo(dtype).eps * abs(value).max()
