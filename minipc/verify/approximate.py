"""Claims: approximations of RTRL, where they are exact, what their mean is, and what they certify."""

import numpy as np

from .. import approximations, mistakes, rtrl
from .. import recurrent as through_time
from ..approximations import KF, UORO, KeRNL, ReverseKF
from .setting import any_sequence, approximate, claim, in_time, off, recurrent, rel, sequence, time_ad


def _one_cell(rng, kind, n, T, **options):
    """A problem of one gated cell with n units and two lanes, no step masked."""
    return sequence(rng, [kind], widths=[n + 1, n], T=T, B=2, mask=False, **options)


def _gradient(p, influence):
    """The engine's, by an influence."""
    return rtrl.gradient(*in_time(p), influence=influence).grads


def _step_by_step(p, method, signs=None, engine=None):
    """The influence of one cell after every step; ``signs`` one array ``(B, width)`` a step, or the method's own.

    ``engine`` is a mutant, and then the method is one of its own.
    """
    net, start, run = recurrent(p, engine), [p.h0[0]], (engine.recurrent if engine else through_time).run
    M = method.start(net, p.params, start)
    if signs is not None:
        rows = iter(signs)
        M.draw = lambda B, width: next(rows)
    done = run(net, p.params, start, p.inputs, p.reset, start).with_locals(net, p.params)
    for t in range(len(p.inputs)):
        if p.reset is not None:
            M.reset(p.reset[t])
        M.step(p.params, done, t)
        yield M


def _matrix(p, M, copies=1):
    """What credit reads, ``(B, N, P)``; with ``copies`` of every lane side by side their mean."""
    B, N = len(p.h0[0]) // copies, p.h0[0].shape[1]
    found = []
    for b, k in np.ndindex(B, N):
        q = np.zeros((B, copies, N))
        q[b, :, k] = 1 / copies
        grads = M.gradients(p.params, M.readout([q.reshape(B * copies, N)]))[0]
        found.append(np.concatenate([grads[name].ravel() for name in ("W", "U", "b")]))
    return np.array(found).reshape(B, N, -1)


def _exact(p):
    """M after every step, by autograd: (T, B, N, P)."""
    found = time_ad.influence(p.blocks, p.params, p.inputs, p.h0, p.reset)[0][0]
    return np.concatenate(
        [found[name].reshape(*found[name].shape[:3], -1) for name in ("W", "U", "b")], axis=3
    )


def _mean(p, method, width, engine=None):
    """The influence of a method after every step, mean over all of its signs: each table of signs has lanes."""
    tables = approximate.all_signs(len(p.inputs), width)
    copies, B = len(tables), p.inputs.shape[1]
    many = p._replace(
        inputs=np.repeat(p.inputs, copies, axis=1), h0=[np.repeat(p.h0[0], copies, axis=0)], mask=None
    )
    signs = np.tile(tables, (B, 1, 1)).transpose(1, 0, 2)
    return [_matrix(many, M, copies) for M in _step_by_step(many, method, signs, engine)]


def _from_the_mean(p, method, width, mistake):
    """How far the mean is from RTRL at any step; and how far with a mistake."""
    exact, wrong = _exact(p), mistakes.load(mistake)
    broken = _mean(p, getattr(wrong.approximations, type(method).__name__)(), width, wrong)
    return rel(list(_mean(p, method, width)), list(exact)), rel(broken[-1], exact[-1])


def _ring(p, rng):
    """The same problem with a ring of units: each sees itself and the one before. Its diameter is n - 1."""
    theta = p.params[0]
    rows, n = theta["W"].shape
    seen = np.eye(n) + np.roll(np.eye(n), 1, axis=0)
    size = rng.choice([-1.0, 1.0], (rows // n, n, n)) * rng.uniform(0.8, 1.2, (rows // n, n, n))
    W = (seen * size).reshape(rows, n)
    return p._replace(params=[{**theta, "W": W, "b": 0.3 * theta["b"]}, *p.params[1:]])


@claim(
    "T08",
    "SNAP.1-SNAP.4",
    "SnAp-1 is RTRL on diagonal cells; SnAp-n is, where every unit is reached; not one step less",
    "autograd",
    1e-12,
    trials=10,
)
def t08(rng):
    diagonal = any_sequence(rng, [str(rng.choice(["lru", "rtu", "elstm"])), "dense"])
    n = int(rng.integers(3, 5))
    ring = sequence(rng, ["rnn", "dense"], widths=[2, n, 7], T=n + 4, activation="tanh", loss="mse")
    ring = _ring(ring, rng)
    dense = sequence(rng, [str(rng.choice(["rnn", "gru", "lstm"])), "dense"])
    pairs = [(diagonal, "snap-1"), (ring, f"snap-{n}"), (dense, "snap-2")]
    error = max(off(_gradient(p, name), time_ad.loss_gradient(*p.arguments)) for p, name in pairs)
    return error, off(_gradient(ring, f"snap-{n - 1}"), time_ad.loss_gradient(*ring.arguments))


@claim(
    "T09",
    "UORO.1-UORO.3",
    "UORO is right in the mean: over all signs, after every step, from zero",
    "enumeration; autograd",
    1e-12,
    trials=3,
)
def t09(rng):
    results = []
    for kind, n, T in (("rnn", 3, 4), ("gru", 2, 4), ("lstm", 2, 3)):
        p = _one_cell(rng, kind, n, T)
        results.append(_from_the_mean(p, UORO(), p.h0[0].shape[1], "w is not divided by r0"))
    return max(error for error, _ in results), min(control for _, control in results)


@claim(
    "T10",
    "KF.1-KF.5",
    "KF-RTRL and its reverse are right in the mean: over all signs, after every step, from zero",
    "enumeration; autograd",
    1e-12,
    trials=3,
)
def t10(rng):
    rnn, lstm, gru = (_one_cell(rng, *which) for which in (("rnn", 3, 4), ("lstm", 2, 4), ("gru", 2, 2)))
    results = []
    for wrong in ("all signs of KF-RTRL are +1", "B is not divided by p0"):
        results += [_from_the_mean(p, KF(), 2, wrong) for p in (rnn, lstm)]
    for wrong in ("all signs of reverse KF-RTRL are +1", "B of reverse KF-RTRL is not divided by p0"):
        rows = len(gru.params[0]["b"])
        results.append(_from_the_mean(rnn, ReverseKF(), 3, wrong))
        results.append(_from_the_mean(gru, ReverseKF(), rows, wrong))
    return max(error for error, _ in results), min(control for _, control in results)


@claim(
    "T11",
    "RFLO.1, KERNL.1, SNAP.3",
    "RFLO is SnAp-1 without weights of units on themselves, and KeRNL with A = I; as index loops say",
    "identity; index loops",
    1e-12,
    trials=5,
)
def t11(rng):
    p = _one_cell(rng, "rnn", 4, 6, alpha=0.4)
    theta = p.params[0]
    apart = p._replace(params=[{**theta, "W": theta["W"] * (1 - np.eye(4))}])
    kernel = KeRNL(np.eye(4), np.full(4, 0.4))
    errors = [off(_gradient(apart, "snap-1"), _gradient(apart, "rflo"))]
    for q in (p, apart):
        rflo = approximate.gradient(q, [approximate.rflo(steps) for steps in approximate.linearised(q)])
        errors += [off(_gradient(q, method), rflo) for method in ("rflo", "kernl", kernel)]
    return max(errors), off(_gradient(p, "snap-1"), _gradient(p, "rflo"))


@claim(
    "T14",
    "SK.1, SK.2",
    "SK-RTRL: the certificate bounds the error of every step; rank n is RTRL, rank 0 SnAp-1",
    "autograd",
    1e-12,
    trials=5,
)
def t14(rng):
    kind = str(rng.choice(["rnn", "gru"]))
    p = _one_cell(rng, kind, 4, 7, radius=1.0, reset=bool(rng.random() < 0.5))
    wrong = mistakes.load("the certificate knows only what this step has lost")
    errors = [_beyond(p, approximations.Sketch(rank)) for rank in range(5)]
    errors.append(off(_gradient(p, "sketch-4"), time_ad.loss_gradient(*p.arguments)))
    errors.append(off(_gradient(p, "sketch-0"), _gradient(p, "snap-1")))
    q = _one_cell(rng, "rnn", 4, 7, activation="identity", alpha=1.0, radius=1.0)
    return max(errors), max(_beyond(q, wrong.approximations.Sketch(rank), wrong) for rank in range(3))


def _beyond(p, method, engine=None):
    """The most by which the error of the influence is above its certificate, in parts of the influence."""
    exact, found = _exact(p), []
    for t, M in enumerate(_step_by_step(p, method, engine=engine)):
        error = np.linalg.norm(_matrix(p, M) - exact[t], axis=(1, 2))
        found.append((error - M.certificate) / np.linalg.norm(exact[t], axis=(1, 2)))  # (SK.2)
    return np.max(found)
