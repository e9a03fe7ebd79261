"""The checks of credit that stays with the unit, for the battery: spiking cells, e-prop, synthetic gradients.

As in ``temporal_battery.py``: an engine is ``minipc`` itself or a mutant, and a check is a function of an engine and a problem
that returns ``(actual, expected)``. Problems are those of ``reference.local_credit``, and recurrent nets for DNI.
"""

from functools import cache

import numpy as np

from reference import local_credit as local
from reference import temporal_loops as loops
from reference import temporal_oracles as ad
from reference.temporal_problems import make

from .checks import worst_error

CHECKS = {}
ETA, REFRESH = 0.05, 3


def check(*equations):
    """Register the decorated function as the check of these equations."""

    def register(function):
        CHECKS.update(dict.fromkeys(equations, function))
        return function

    return register


def spiking(engine, p, **options):
    """Arguments of the engine's rules in time for a :class:`reference.local_credit.Spiking`."""
    cell, (n, m) = engine.ALIF if "rho" in p.cell else engine.LIF, p.params[0]["U"].shape
    readout = engine.Dense(*p.params[1]["W"].shape[::-1])
    net = engine.RecurrentNetwork([cell(m, n, **{**p.cell, **options}), readout])
    return net, p.params, p.inputs, p.targets, p.mask, p.h0, p.reset


def flat(grads):
    """All gradients in one vector."""
    return np.concatenate([g[name].ravel() for g in grads for name in ("W", "U", "b") if name in g])


@cache
def gradients(kind):
    """What complex step says: all paths, and with the recurrent one cut; it is the same for all mutants."""
    (p,) = _spiking(kind)
    return [flat(local.spiking_gradient(p, cut=cut)) for cut in (False, True)]


@check("EPROP.1", "EPROP.2")
def cells_and_traces(engine, p):
    """The states, with hard and with smooth spikes; BPTT, where nothing is cut; and e-prop."""
    args, kind = spiking(engine, p), "alif" if "rho" in p.cell else "lif"
    hard = {**p.cell, "spike": "hard"}
    states = [
        spiking(engine, p, spike=c["spike"])[0].blocks[0].scan(p.params[0], p.h0, p.inputs, p.reset, p.h0)[0]
        for c in (hard, p.cell)
    ]
    expected = [local.spiking_run(c, p.params[0], p.inputs, p.h0, p.reset) for c in (hard, p.cell)]
    full = engine.bptt.gradient(*args).grads
    cut = engine.rtrl.gradient(*args, influence="eprop").grads
    return [*states, flat(full), flat(cut)], [*expected, *gradients(kind)]


@check("EPROP.3")
def feedback(engine, p):
    """With a fixed random matrix in the place of the transposed readout, and without."""
    B = np.random.default_rng(1).standard_normal(p.params[1]["W"].T.shape)
    actual = [
        engine.rtrl.gradient(*spiking(engine, p), influence=influence).grads[:1]
        for influence in ("eprop", engine.eprop.EProp(B))
    ]
    return [flat(g) for g in actual], [flat([local.eprop_loops(p, back)]) for back in (None, B)]


@check("DNI.1", "DNI.2", "DNI.3")
def synthetic(engine, p):
    """The gradient, A and its frozen copy."""
    block, (n, m), o = p.blocks[0], p.params[0]["U"].shape, p.targets.shape[2]
    cell = engine.RNN(m, n, block["activation"], form=block["form"], alpha=block["alpha"])
    A = 0.3 * np.random.default_rng(2).standard_normal((n, n + o + 1))
    out, _ = ad.run(p.blocks, p.params, p.inputs, p.h0, p.reset)
    q = loops.output_credit(p.loss, out, p.targets, p.mask)
    data = p.inputs, p.targets, p.mask, p.h0, p.reset
    g = engine.rtrl.gradient(
        engine.RecurrentNetwork([cell], p.loss), p.params, *data, influence=engine.dni.DNI(A, ETA, REFRESH)
    )
    found = local.dni_loops(
        block, p.params[0], p.inputs, p.targets, q, p.h0[0], A, ETA, REFRESH, p.mask, p.reset
    )
    M = g.carry.influence
    return [flat(g.grads), M.A[0], M.own[0]["frozen"]], [flat([found.gradient]), found.A, found.frozen]


@cache
def _spiking(kind):
    return [local.make_spiking(np.random.default_rng(3), kind, reset=True, T=6)]


@cache
def _recurrent():
    options = {"loss": "mse", "radius": 1.0, "T": 8, "B": 3, "activation": "tanh", "reset": True}
    return [
        make(np.random.default_rng(seed), ["rnn"], form=form, alpha=0.4, **options)
        for seed, form in enumerate(("post", "pre"))
    ]


def problems(equation):
    """Fixed problems for the check of an equation, with nothing zero and nothing symmetric."""
    if equation.startswith("DNI"):
        return _recurrent()
    return _spiking("lif") if equation == "EPROP.1" else _spiking("alif")


def local_error(engine, equation) -> float:
    """Worst relative error of an engine in the check of one equation, on its problems."""
    return max(worst_error(*CHECKS[equation](engine, p)) for p in problems(equation))
