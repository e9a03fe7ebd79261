"""Claims: credit that stays with the unit: e-prop in spiking cells, and synthetic gradients."""

import numpy as np

from .. import rtrl
from ..blocks import Dense
from ..dni import target
from ..recurrent import RecurrentNetwork
from ..spiking import ALIF, LIF
from .setting import any_sequence, claim, local_ad, off, recurrent, rel, sequence, time_ad


def _spiking(p):
    """Arguments of the engine's temporal rules for a :class:`reference.local_credit.Spiking`."""
    (theta, readout), cell = p.params, ALIF if "rho" in p.cell else LIF
    n, m = theta["U"].shape
    net = RecurrentNetwork([cell(m, n, **p.cell), Dense(n, len(readout["b"]))])
    return net, p.params, p.inputs, p.targets, p.mask, p.h0, p.reset


@claim(
    "T12",
    "EPROP.1-EPROP.3",
    "e-prop is the gradient with the recurrent path of the spikes cut; LIF and ALIF, smooth spikes",
    "complex step",
    1e-12,
    trials=10,
)
def t12(rng):
    error = 0.0
    for kind in ("lif", "alif"):
        p = local_ad.make_spiking(rng, kind, reset=bool(rng.random() < 0.5))
        cut = local_ad.spiking_gradient(p, cut=True)
        error = max(error, off(rtrl.gradient(*_spiking(p), influence="eprop").grads, cut))
    q = local_ad.make_spiking(rng, "alif", T=6)
    cut = local_ad.spiking_gradient(q, cut=True)
    without = local_ad.eprop_loops(q, adaptation=0.0)  # the term of bt is dropped
    return error, off([without], cut[:1])


def _credits(p):
    """Of a net whose first block is the cell: total credits p_t and immediate ones q_t (T, B, N), both by autograd, as the
    engine has credit (LRU.5)."""

    def total(mask):
        (found,) = time_ad.native(p.blocks, time_ad.error_gradient(*p._replace(mask=mask).arguments[:-1]))
        return found.conj()

    steps = np.arange(len(p.inputs))[:, None]
    return total(p.mask), np.stack([total(p.mask & (steps == t))[t] for t in steps[:, 0]])


@claim(
    "T13",
    "DNI.2",
    "the target of a synthetic gradient is p_{t-1} where sg_t is p_t; in all cells",
    "identity, p and q by autograd",
    1e-12,
    trials=10,
)
def t13(rng):
    kind = str(rng.choice(["rnn", "gru", "lstm", "elstm", "lru", "rtu"]))
    error = 0.0
    for p in (any_sequence(rng, [kind, "dense"], reset=False, learn_h0=False), sequence(rng, ["rnn"], T=5)):
        cell, theta, B = recurrent(p).blocks[0], p.params[0], p.inputs.shape[1]
        (states,) = time_ad.native(p.blocks, time_ad.run(p.blocks, p.params, p.inputs, p.h0)[1])
        total, alone = _credits(p)
        steps = range(1, len(p.inputs))
        tapes = [cell.step(theta, states[t - 1], p.inputs[t])[1] for t in steps]
        later = list(zip(tapes, total[1:], strict=True))
        wishes = [
            target(cell, theta, tape, q, sg, np.zeros(B, bool))
            for (tape, sg), q in zip(later, alone[:-1], strict=True)
        ]
        error = max(error, rel(np.stack(wishes), total[:-1]))
    through = [np.einsum("bij,bj->bi", cell.state_jacobian(theta, tape), sg) for tape, sg in later]
    return error, rel(alone[:-1] + through, total[:-1])  # J for J^T, of the recurrent net
