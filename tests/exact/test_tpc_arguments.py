"""What tpc.gradient and tpc.certificate promise of defaults, stacks, learned starts, resets and memory."""

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc
from minipc import tpc

M, O, B = 3, 2, 3
NETS = {
    "RNN": [pc.RNN(M, 4, "tanh"), pc.Dense(4, O)],
    "hidden readout": [pc.RNN(M, 4, "tanh"), pc.Dense(4, 5, "tanh"), pc.Dense(5, O)],
    "GRU over RNN": [pc.Dense(M, 4, "tanh"), pc.RNN(4, 3, "tanh"), pc.GRU(3, 4), pc.Dense(4, O)],
    "GRU over LRU": [pc.LRU(M, 4, 3), pc.GRU(3, 4), pc.Dense(4, O)],
    "LRU over GRU": [pc.GRU(M, 4), pc.LRU(4, 3, O)],
    "LRU over Dense": [pc.Dense(M, 4, "tanh"), pc.LRU(4, 3, 5), pc.Dense(5, O)],
    "eLSTM": [pc.ELSTM(M, 4), pc.Dense(4, 5, "tanh"), pc.Dense(5, O)],
    "learned h0": [pc.RNN(M, 4, "tanh", learn_h0=True), pc.RNN(4, 3, "tanh", learn_h0=True), pc.Dense(3, O)],
    "no readout": [pc.Dense(M, 4, "tanh"), pc.RNN(4, O, "tanh")],
}


def problem(name, T=6):
    """Network, parameters away from zero, inputs, targets."""
    rng = np.random.default_rng(0)
    net = pc.RecurrentNetwork(NETS[name])
    params = [{k: v + 0.2 * rng.standard_normal(v.shape) for k, v in p.items()} for p in net.init(0)]
    return net, params, rng.standard_normal((T, B, M)), rng.standard_normal((T, B, O))


def total(*found):
    """The sum of gradients."""
    return [{k: sum(g[l][k] for g in found) for k in found[0][l]} for l in range(len(found[0]))]


@pytest.mark.parametrize("verb", ["gradient", "certificate"])
def test_the_defaults_are_the_documented_ones(verb):
    """spc, beta 1, twenty steps of 0.1 from the prediction; no tolerance, unit precisions."""
    arguments, call = problem("hidden readout"), getattr(tpc, verb)
    said = {"inference": "spc", "beta": 1.0, "inference_steps": 20, "step_size": 0.1, "start": "prediction"}
    if verb == "gradient":
        said |= {"influence": None, "carry": "state"}
    look = (lambda r: [r.grads, r.energy]) if verb == "gradient" else (lambda r: [r.delta, r.gradient])
    assert_same(look(call(*arguments)), look(call(*arguments, **said)), rtol=0)
    for other in ({"inference_steps": 19}, {"inference_steps": 21}, {"beta": 1.1}, {"step_size": 0.11}):
        changed = look(call(*arguments, **{**said, **other}))[1]
        assert abs(changed - look(call(*arguments))[1]).max() > 1e-9


@pytest.mark.parametrize("influence", [None, "plain", "exact", "snap-1", "rflo"])
def test_a_reset_in_a_long_stretch_cuts_it(influence):
    """Forty steps of a lane with a reset are two sequences, also where the steps go quickly."""
    T, at = 40, 17
    net, params, x, y = problem("RNN", T)
    reset = np.zeros((T, B), bool)
    reset[at, 1] = True
    reset.flags.writeable = False
    g = tpc.gradient(net, params, x, y, reset=reset, influence=influence)

    def part(time, lanes):
        return tpc.gradient(net, params, x[time][:, lanes], y[time][:, lanes], influence=influence).grads

    parts = [part(slice(None), [0, 2]), part(slice(at), [1]), part(slice(at, None), [1])]
    assert_same(g.grads, total(*parts), rtol=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_fixed_predictions_are_bptt_through_every_stack(name):
    """(TPR.10) in blocks of steps and step by step, with resets that begin at learned states; without history tBPTT(1)."""
    net, params, x, y = problem(name, T=40)
    reset = np.zeros((40, B), bool)
    reset[5, 1] = reset[33, :2] = True
    options = {"carry": "prediction", "inference": "fixed"}
    for again in (None, reset):
        expected = pc.bptt.gradient(net, params, x, y, reset=again).grads
        for influence in ("plain", "exact"):
            g = tpc.gradient(net, params, x, y, reset=again, influence=influence, **options)
            assert_same(g.grads, expected, rtol=1e-9)
        short = pc.bptt.truncated(net, params, x, y, reset=again, steps=1).grads
        assert_same(tpc.gradient(net, params, x, y, reset=again, **options).grads, short, rtol=1e-9)


def test_without_history_no_argument_is_edited():
    """The table of resets says where a learned state begins, besides the first step, and is left as it was."""
    net, params, x, y = problem("learned h0")
    reset = np.zeros(x.shape[:2], bool)
    reset[3, 1] = True
    before = reset.copy()
    tpc.gradient(net, params, x, y, reset=reset)
    assert (reset == before).all()


def test_it_is_the_last_cell_that_implicit_looks_at():
    """A gated one may stand over a diagonal one, and not below it."""
    net, params, x, y = problem("GRU over LRU")
    assert np.isfinite(
        tpc.gradient(net, params, x, y, influence="implicit", inference="newton").residual
    ).all()
    with pytest.raises(ValueError, match="the traces of a diagonal cell do not close under it; block 2 is"):
        tpc.gradient(*problem("LRU over GRU"), influence="implicit", inference="newton")


@pytest.mark.parametrize("name", ["RNN", "hidden readout", "GRU over RNN"])
def test_entries_of_a_damped_influence(name):
    """ "implicit" keeps columns for the parameters above the state besides those of "diag" (TPR.7)."""
    net, params, _, _ = problem(name)
    h = [np.zeros((B, b.state_size)) if l in net.cells else None for l, b in enumerate(net.blocks)]
    options = {"inference": "spc", "beta": 1.0, "inference_steps": 1, "step_size": 0.1}
    step = tpc.Timestep(net, params, None, **options, tolerance=None, start="prediction")
    diag, implicit = (tpc.Damped(net, params, h, step, kind) for kind in ("diag", "implicit"))
    exact = tpc.start_influence("exact", net, params, h)
    above = sum(v.size for p in params[net.cells[-1] + 1 :] for v in p.values())
    assert diag.entries == exact.entries
    assert implicit.entries == exact.entries + B * 4 * above


def test_a_certificate_needs_inference_that_descends():
    """With fixed predictions nothing is at the minimum of F_t, which the bound is about."""
    with pytest.raises(ValueError, match="inference fixed does not: take plain"):
        tpc.certificate(*problem("RNN"), inference="fixed")
    with pytest.raises(ValueError, match="the traces of a diagonal cell do not close under it"):
        tpc.certificate(*problem("eLSTM"))


@pytest.mark.parametrize("name", ["RNN", "hidden readout", "GRU over RNN"])
def test_a_certificate_begins_anew_at_a_reset(name):
    """After it, bounds and gradients are those of the rest alone: what was before leaves no distance."""
    net, params, x, y = problem(name, T=8)
    reset = np.zeros((8, B), bool)
    reset[3, :2] = True
    options = {"inference_steps": 5, "step_size": 0.1}
    c = tpc.certificate(net, params, x, y, reset=reset, **options)
    whole = tpc.certificate(net, params, x, y, **options)
    first = tpc.certificate(net, params, x[:3], y[:3], **options)
    rest = tpc.certificate(net, params, x[3:, :2], y[3:, :2], **options)
    assert_same([c.delta[:3], c.gradient[:3]], [first.delta, first.gradient], rtol=1e-12)
    assert_same([c.delta[3:, :2], 1 + c.gradient[3:, :2]], [rest.delta, 1 + rest.gradient], rtol=1e-12)
    assert_same([c.delta[:, 2], c.gradient[:, 2]], [whole.delta[:, 2], whole.gradient[:, 2]], rtol=1e-12)
    assert abs(c.delta[3:, :2] - whole.delta[3:, :2]).max() > 1e-6
    assert_same(c.total, c.gradient.sum(axis=0), rtol=1e-14)
