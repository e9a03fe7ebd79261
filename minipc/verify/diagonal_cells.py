"""Claims: the traces of LRU, RTU and eLSTM, one cell alone."""

import numpy as np

from .. import rtrl
from .setting import by_complex_step, claim, in_time, off, recurrent, sequence, stretch, time_ad


def alone(rng, kind, **options):
    """One diagonal cell and nothing else; the error is squared, so that the complex step passes."""
    return sequence(rng, [kind], loss="mse", **options)


def _credit(p):
    """dL_t/dout_t (T, B, o) of the squared error (RNN.6), by the oracle's forward pass."""
    outputs, _ = time_ad.run(p.blocks, p.params, p.inputs, p.h0)
    return np.where(p.mask[:, :, None], outputs - p.targets, 0)


def _lru_traces(p, conjugate=False, late=False, logarithm=False):
    """(LRU.6)-(LRU.8) with one mistake: delta for q, h_t for h_{t-1} in the trace of zeta, lg for gamma in that of B."""
    (theta,), h = p.params, time_ad.complexes(p.h0[0])
    zeta, gam = np.exp(-np.exp(theta["nu"]) + 1j * np.exp(theta["th"])), np.exp(theta["lg"])
    B, C = (theta[f"{name}_re"] + 1j * theta[f"{name}_im"] for name in "BC")
    ez, eg, EB, found = 0 * h, 0 * h, 0.0, []
    for u, dy in zip(p.inputs, _credit(p), strict=True):
        before, h = h, zeta * h + gam * (u @ B.T)  # (LRU.2)
        ez, eg = zeta * ez + (h if late else before), zeta * eg + u @ B.T  # (LRU.6)
        EB = zeta[:, None] * EB + (theta["lg"] if logarithm else gam)[:, None] * u[:, None, :]  # (LRU.6)
        q = dy @ (C.conj() if conjugate else C)  # (LRU.5)
        found.append([(q * ez).sum(0), (q * eg).sum(0), (q[:, :, None] * EB).sum(0)])
    of_zeta, of_gam, of_B = (sum(parts) for parts in zip(*found, strict=True))
    slopes = {"nu": -np.exp(theta["nu"]) * zeta, "th": 1j * np.exp(theta["th"]) * zeta}
    g = {name: (of_zeta * slope).real for name, slope in slopes.items()}  # (LRU.7)
    return {**g, "lg": gam * of_gam.real, "B_re": of_B.real, "B_im": -of_B.imag}  # (LRU.7), (LRU.8)


def _elstm_traces(p, gate_alone):
    """Traces of bz and bf, (ELSTM.3); with ``gate_alone`` the Jacobian is f, as if the gates did not see the state."""
    (theta,), (c,) = p.params, p.h0
    Tz, Tf, found = 0 * c, 0 * c, []
    for u, q in zip(p.inputs, _credit(p), strict=True):
        z = np.tanh(u @ theta["Wz"].T + theta["wz"] * c + theta["bz"])
        f = 1 / (1 + np.exp(-(u @ theta["Wf"].T + theta["wf"] * c + theta["bf"])))
        Az, Af = (1 - f) * (1 - z**2), (c - z) * f * (1 - f)  # (ELSTM.2)
        k = f if gate_alone else f + Az * theta["wz"] + Af * theta["wf"]  # (ELSTM.2)
        Tz, Tf, c = k * Tz + Az, k * Tf + Af, f * c + (1 - f) * z  # (ELSTM.3), (ELSTM.1)
        found.append([(q * Tz).sum(0), (q * Tf).sum(0)])
    return dict(zip(("bz", "bf"), np.sum(found, axis=0), strict=True))


def _only(names, *gradients):
    """Some parameters of gradients of one cell."""
    return [[{name: g[name] for name in names}] for g in gradients]


@claim(
    "T15",
    "LRU.1-LRU.8",
    "the LRU's traces give the gradients of all eight parameters",
    "autograd and complex step in real pairs",
    1e-12,
    trials=5,
)
def t15(rng):
    p = alone(rng, "lru", gamma="free", reset=bool(rng.random() < 0.5))
    exact = time_ad.loss_gradient(*p.arguments)
    found = rtrl.gradient(*in_time(p), influence="diagonal").grads
    error = np.max([off(found, exact), off(found, by_complex_step(p))])
    q = alone(rng, "lru", gamma="free")
    (right,), traced = time_ad.loss_gradient(*q.arguments), _lru_traces(q)
    wrong = [_lru_traces(q, **{mistake: True}) for mistake in ("conjugate", "late", "logarithm")]
    (of_traces,) = _only(traced, right)
    return np.max([error, off([traced], of_traces)]), np.min([off([w], of_traces) for w in wrong])


@claim(
    "T16", "LRU.9", "the LRU's gamma tied to zeta adds to the gradient of nu", "complex step", 1e-12, trials=5
)
def t16(rng):
    p = alone(rng, "lru", gamma="tied", learn_h0=bool(rng.random() < 0.5))
    exact = by_complex_step(p)
    found = rtrl.gradient(*in_time(p), influence="diagonal").grads
    free = {**p.params[0], "lg": 0.5 * np.log(1 - np.exp(-2 * np.exp(p.params[0]["nu"])))}
    untied = p._replace(
        params=[free], blocks=[{**p.blocks[0], "gamma": "free"}]
    )  # the same gamma, held fixed
    wrong = rtrl.gradient(*in_time(untied), influence="diagonal").grads
    return off(found, exact), off(*_only(["nu"], wrong[0], exact[0]))


@claim("T17", "RTU.1-RTU.4", "the RTU's traces, linear and tanh", "complex step", 1e-12, trials=5)
def t17(rng):
    errors, controls = [], []
    for activation in ("identity", "tanh"):
        p = alone(rng, "rtu", activation=activation, learn_h0=bool(rng.random() < 0.5))
        (exact,) = by_complex_step(p)
        (found,) = rtrl.gradient(*in_time(p), influence="diagonal").grads
        errors.append(off([found], [exact]))
        wrong = {"th": found["th"] / np.exp(p.params[0]["th"])}  # dg/dth = -p, dp/dth = g
        controls.append(off(*_only(["th"], wrong, exact)))
    return np.max(errors), np.min(controls)


@claim("T18", "ELSTM.1-ELSTM.3", "the eLSTM's traces, with peephole weights", "complex step", 1e-12, trials=5)
def t18(rng):
    p = alone(rng, "elstm", reset=bool(rng.random() < 0.5), learn_h0=bool(rng.random() < 0.5))
    found = rtrl.gradient(*in_time(p), influence="diagonal").grads
    q = alone(rng, "elstm")

    (exact,) = _only(("bz", "bf"), by_complex_step(q)[0])
    error = [off(found, by_complex_step(p)), off([_elstm_traces(q, gate_alone=False)], exact)]
    return np.max(error), off([_elstm_traces(q, gate_alone=True)], exact)


@claim(
    "T38",
    "LRU.2, LRU.6",
    "the LRU's Jacobian and its traces of gamma and B are the same in any state; that of zeta is not",
    "identity",
    0,
)
def t38(rng):
    p, q = alone(rng, "lru"), alone(rng, "rnn", activation="tanh", alpha=1.0)

    def derivatives(p, h):
        """J of one step from the state h (real pairs), and the influence after it."""
        (cell,), (theta,), one = recurrent(p).blocks, p.params, stretch(p, 0, 1, h0=[h])
        (native,) = in_time(one)[5]
        _, tape = cell.step(theta, native, p.inputs[0])
        influence = rtrl.gradient(*in_time(one), influence="exact").carry.influence
        return cell.state_jacobian(theta, tape), influence.own[0]

    shift = lambda h: h + rng.standard_normal(h.shape)  # noqa: E731
    (h,), (k,) = p.h0, q.h0
    (J, traces), (J_other, others) = derivatives(p, h), derivatives(p, shift(h))
    same = [(J, J_other), *((traces[name], others[name]) for name in ("gam", "B"))]
    dense = off([derivatives(q, shift(k))[0]], [derivatives(q, k)[0]])
    moved = off([others["zeta"]], [traces["zeta"]])
    return float(sum(np.abs(a - b).sum() for a, b in same)), min(dense, moved)
