"""One step of time: its blocks, its second derivatives, and the short forms of inference, beside forms that share no code."""

import numpy as np
import pytest

import minipc as pc
from minipc import spc
from minipc.inference import total_energy
from minipc.timestep import ComplexOutput, OfFirst, Timestep
from tests.helpers.checks import assert_same

B, N, o = 3, 6, 4
OPTIONS = {
    "inference": "spc",
    "beta": 0.7,
    "inference_steps": 6,
    "step_size": 0.11,
    "tolerance": None,
    "start": "prediction",
}


def spd(rng, n):
    """A random symmetric positive definite matrix."""
    A = rng.standard_normal((n, n))
    return A @ A.T / n + 0.5 * np.eye(n)


def setting(blocks, loss="mse", precision="full", seed=0, **options):
    """A step of a network, its numbers, and a target of each lane."""
    rng = np.random.default_rng(seed)
    net = pc.RecurrentNetwork(blocks, loss)
    params = [{k: v + 0.3 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(seed)]
    cell, layers = net.blocks[0], max(len(blocks) - 1, 1)
    if precision == "full":
        hidden = [spd(rng, block.n_out) for block in blocks[1:-1]]
        precision = [
            spd(rng, cell.state_size),
            *hidden,
            spd(rng, net.shapes[-1][0]) if loss == "mse" else None,
        ]
        assert len(precision) == layers + 1
    step = Timestep(net, params, precision, **(OPTIONS | options))
    mu = rng.standard_normal((B, cell.state_size))
    width = net.shapes[-1][0]
    y = rng.standard_normal((B, width)) if loss == "mse" else np.eye(width)[rng.integers(0, width, B)]
    return step, mu, y


READOUTS = {
    "linear": [pc.RNN(2, N), pc.Dense(N, o)],
    "post": [pc.RNN(2, N), pc.Dense(N, 5, "tanh"), pc.Dense(5, 3, "sigmoid"), pc.Dense(3, o)],
    "pre": [pc.GRU(2, N), pc.Dense(N, 5, "tanh", form="pre"), pc.Dense(5, o, "gelu", form="pre")],
    "scaled, no bias": [
        pc.RNN(2, N),
        pc.Dense(N, 5, "tanh", scale=0.6, bias=False),
        pc.Dense(5, o, "tanh", scale=1.7),
    ],
    "LSTM": [pc.LSTM(2, N), pc.Dense(N, 5, "tanh"), pc.Dense(5, o)],
    "LSTM, pre": [pc.LSTM(2, N), pc.Dense(N, o, "tanh", form="pre")],
    "the state itself": [pc.RNN(2, o)],
    "h of an LSTM itself": [pc.LSTM(2, o)],
}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", READOUTS)
def test_second_derivatives(name, loss):
    """(TPR.6), (TPR.7): complex steps through the gradient of the energy, which autograd has proven."""
    step, mu, y = setting(READOUTS[name], loss)
    look = step.infer(mu, y)  # not at the equilibrium: errors are there
    H, mixed = step.second_derivatives(look.now)
    net, theta, sizes = step.net, step.params, step.net.sizes[1 : len(step.net.blocks)]
    s = [mu, *spc_states(step, mu, y)]

    def gradient(states, params):
        now = spc._errors(net, params, states, y, step.Pi)
        return np.concatenate(spc._activity_gradient(net, params, now)[1:], axis=1)

    at = 0
    for l, n in enumerate(sizes, start=1):
        for i in range(n):
            moved = [v.astype(complex) for v in s]
            moved[l][:, i] += 1e-30j
            assert_same(H[:, :, at], gradient(moved, theta).imag / 1e-30, 1e-12)
            at += 1
    at = 0
    for l, p in enumerate(theta):
        for key, value in p.items():
            for index in np.ndindex(value.shape):
                w = value.astype(complex)
                w[index] += 1e-30j
                params = [{**q, key: w} if k == l else q for k, q in enumerate(theta)]
                assert_same(mixed[:, :, at], gradient(s, params).imag / 1e-30, 1e-12)
                at += 1
    assert at == mixed.shape[2]


def spc_states(step, mu, y):
    """All states that inference ends with."""
    s, now, first = spc._feedforward(step.net, step.params, mu, y, step.Pi)
    run, *_ = spc.relax(step.net, step.params, s, y, step.Pi, now, first, step.steps, step.step_size, None, 0)
    return run.s[1:]


@pytest.mark.parametrize("precision", [None, [2.0, None], [0.3, 1.9], [None, np.array([0.4, 2.0, 1.0, 0.7])]])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "binary_cross_entropy"])
def test_inference_in_the_output_is_spc(loss, precision):
    """(tPC.11): the same states, step for step."""
    precision = precision if loss == "mse" or precision is None else [precision[0], None]
    for steps in range(4):
        step, mu, y = setting(READOUTS["linear"], loss, precision, inference_steps=steps)
        assert step.gram is not None
        short = step.infer(mu, y)
        (state,) = spc_states(step, mu, y)
        assert_same(short.s, state, 1e-13)
        s = [mu, state]
        now = spc._errors(step.net, step.params, s, y, step.Pi)
        assert_same(short.energy, total_energy(step.net, now, y), 1e-13)
        assert_same(
            short.residual,
            np.linalg.norm(spc._activity_gradient(step.net, step.params, now)[1], axis=1),
            1e-10,
        )


@pytest.mark.parametrize(
    "options",
    [{"start": "previous"}, {"inference": "newton"}, {"tolerance": 1e-3}, {"inference": "epc"}],
)
def test_the_short_form_knows_its_limits(options):
    """It is there for plain steps from the prediction alone."""
    assert setting(READOUTS["linear"], precision=None, **options)[0].gram is None
    assert setting(READOUTS["post"], precision=None)[0].gram is None
    assert setting(READOUTS["linear"])[0].gram is None  # a full precision bends the rows of V


@pytest.mark.parametrize("name", READOUTS)
def test_every_inference_reaches_one_equilibrium(name):
    """sPC, ePC and Newton's steps; the energy is convex enough near the prediction."""
    found = []
    for options in (
        {"inference": "newton", "inference_steps": 20},
        {"inference": "spc", "inference_steps": 20_000, "step_size": 0.05, "tolerance": 1e-12},
        {"inference": "epc", "inference_steps": 2_000, "step_size": "adaptive", "tolerance": 1e-12},
    ):
        step, mu, y = setting(READOUTS[name], precision=None, beta=0.3, **options)
        look = step.infer(mu, y)
        assert look.residual.max() < 1e-10
        found.append(look.s)
    assert_same(found[0], found[1], 1e-9)
    assert_same(found[0], found[2], 1e-9)


def test_a_linear_readout_takes_one_newton_step():
    """(tPC.9): s = (Pi + beta V' R^-1 V)^-1 (Pi mu + beta V' R^-1 (y - b))."""
    step, mu, y = setting(READOUTS["linear"], inference="newton", inference_steps=1)
    Pi, R, beta = step.Pi[1] * step.beta, step.Pi[2], step.beta
    V, b = step.params[1]["W"], step.params[1]["b"]
    left = Pi + beta * V.T @ R @ V
    right = mu @ Pi + beta * (y - b) @ R @ V
    assert_same(step.infer(mu, y).s, np.linalg.solve(left, right.T).T, 1e-12)


def test_start_at_the_carried_state():
    """(tPC.5): no step leaves the state where it was, enough of them come to the same equilibrium."""
    previous = np.random.default_rng(1).standard_normal((B, N))
    step, mu, y = setting(READOUTS["post"], precision=None, start="previous", inference_steps=0)
    assert np.array_equal(step.infer(mu, y, previous=previous).s, previous)
    ends = []
    for start in ("previous", "prediction"):
        step, mu, y = setting(
            READOUTS["post"], precision=None, beta=0.3, start=start, inference_steps=5_000, step_size=0.1
        )
        ends.append(step.infer(mu, y, previous=previous).s)
    assert_same(ends[0], ends[1], 1e-9)


def test_the_first_part_of_a_state():
    """OfFirst is the block on h alone: value, J^T v with zeros for c, J v."""
    rng = np.random.default_rng(0)
    dense = pc.Dense(4, 3, "tanh")
    block, p = OfFirst(dense, 4), dense.init_params(rng, float)
    s, v, d = rng.standard_normal((B, 7)), rng.standard_normal((B, 3)), rng.standard_normal((B, 7))
    out, tape = block.forward(p, s)
    expected, inner = dense.forward(p, s[:, :4])
    assert np.array_equal(out, expected)
    down, grads = block.vjp(p, tape, v)
    below, expected = dense.vjp(p, inner, v)
    assert np.array_equal(down[:, :4], below)
    assert not down[:, 4:].any()
    assert all(np.array_equal(grads[k], expected[k]) for k in expected)
    assert_same((block.jvp(p, tape, d) * v).sum(axis=1), (down * d).sum(axis=1), 1e-13)


def test_the_output_of_an_lru_as_a_block():
    """Re(C h) + D u on real pairs, against complex numbers; C^T v, and the gradients, by complex steps."""
    rng = np.random.default_rng(0)
    cell = pc.LRU(3, 5, 4)
    p = {k: v + 0.1 * rng.standard_normal(v.shape) for k, v in cell.init_params(rng, float).items()}
    p = {name: p[name] for name in ("C_re", "C_im", "D")}
    h, u, v = (
        rng.standard_normal((B, 5)) + 1j * rng.standard_normal((B, 5)),
        rng.standard_normal((B, 3)),
        rng.standard_normal((B, 4)),
    )
    s = np.stack([h.real, h.imag], axis=2).reshape(B, 10)

    def output(q, s):
        block = ComplexOutput(cell, q)
        block.see(u)
        return block.forward(q, s)[0], block

    out, block = output(p, s)
    assert_same(out, ((p["C_re"] + 1j * p["C_im"]) @ h[:, :, None])[:, :, 0].real + u @ p["D"].T, 1e-13)
    down, grads = block.vjp(p, (s, u), v)
    assert_same((block.jvp(p, (s, u), s[::-1]) * v).sum(axis=1), (down * s[::-1]).sum(axis=1), 1e-13)
    for name in p:
        expected = pc.check.complex_step(
            lambda w, name=name: (output({**p, name: w}, s)[0] * v).sum(), p[name]
        )
        assert_same(grads[name], expected, 1e-12)
    assert_same(down, pc.check.complex_step(lambda w: (output(p, w)[0] * v).sum(), s), 1e-12)
