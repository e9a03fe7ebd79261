"""Exercises in what is local or cheap: approximations of RTRL, spiking cells and e-prop, synthetic gradients.

What an influence needs of a cell is given as plain arrays, a linearised step: the Jacobian J, the derivative D of
the state by the pre-activation, the regressor z. No cell of the engine stands in between.
"""

from types import SimpleNamespace

import numpy as np

from .register import exercise


def steps(d, strength=1.0):
    """T linearised steps of B lanes of a leaky recurrent net: h_t = (1 - alpha) h_{t-1} + alpha phi(W h_{t-1} + U u + b).

    ``W (n, n)``, ``alpha``, ``D (T, B, n)``, ``z (T, B, n_z)`` = [h; u; 1], ``J (T, B, n, n)``, ``q (T, B, n)``.
    """
    m, n = sorted(d.widths(2))  # n is at least 3
    W, alpha = strength * d.normal(n, n) / n**0.5, float(d.uniform(0.2, 0.8))
    D, q = d.uniform(0.2, 1.2, d.T, d.B, n), d.normal(d.T, d.B, n)
    z = np.concatenate([d.normal(d.T, d.B, n + m), np.ones((d.T, d.B, 1))], axis=2)
    J = D[..., None] * W + (1 - alpha) * np.eye(n)
    return {"J": J, "D": D, "z": z, "q": q, "W": W, "alpha": alpha}


def step(d, strength=1.0):
    """One of them: ``J (B, n, n)``, ``D (B, n)``, ``z (B, n_z)``, ``q (B, n)``."""
    given = steps(d, strength)
    return given | {name: given[name][0] for name in "JDzq"}


def _linear(engine, W, alpha, D, z, signs=None, pattern=None):
    """A cell of the engine and the steps of these derivatives, as its methods see them."""
    cell = engine.RNN(z.shape[-1] - D.shape[-1] - 1, D.shape[-1], alpha=alpha)
    group = engine.cells.Group(("Theta",), D[:, :, None, None], (z,))
    local = engine.cells.Local((group,), (1 - alpha,), None)
    draw = lambda B, width: signs  # noqa: E731
    Step = engine.approximations.Step
    return cell, [Step(cell, {"W": W}, local, t, pattern, draw) for t in range(len(D))]


SUMS = {  # what can go wrong in a sum over steps: traces and credits that meet, of all of them
    "the credit meets the trace of the step before": lambda traces, q: (traces[:-1], q[1:]),
    "the credit of the step before meets the trace": lambda traces, q: (traces[1:], q[:-1]),
    "the first step is missing in the sum": lambda traces, q: (traces[1:], q[1:]),
    "the last step is missing in the sum": lambda traces, q: (traces[:-1], q[:-1]),
    "only the last step counts, not the sum": lambda traces, q: (traces[-1:], q[-1:]),
    "the sum of the credit meets the last trace": lambda traces, q: (
        traces[-1:],
        q.sum(axis=0, keepdims=True),
    ),
}


def _met(traces, q, slip):
    """Pairs of a trace and a credit, of all steps."""
    pairs = SUMS[slip](traces, q) if slip else (traces, q)
    return zip(*pairs, strict=True)


def _followed(method, cell, steps, q, slip):
    """What a method keeps after all steps, and the gradient that it reads out on the way."""
    own, kept = method.start_cell(cell, steps[0].pattern, len(q[0]), q), []
    for now in steps:
        own = method.step_cell(now, {name: a.copy() for name, a in own.items()})
        kept.append(own)
    pattern = steps[0].pattern
    return own, sum(method.read_cell(cell, pattern, own, credit) for own, credit in _met(kept, q, slip))


# ---------------------------------------------------------------------- sparse and local


def _ring(d):
    """Sparse weights: a ring of units, some of which see themselves or the next but one, too."""
    n = d.width + 2 if d.short else 4 + 2 * (d.setting % 2) + int(d.rng.integers(2))
    order = np.arange(n)
    seen = np.roll(np.eye(n), 1, axis=0) + np.diag(order % 2) + np.roll(np.eye(n), 2, axis=1) * (order == 0)
    W = d.normal(n, n) * (seen > 0)
    return {"W": W, "order": 2 + d.setting}


@exercise("SNAP.1", problem=_ring, slips=["only paths of exactly order - 1 steps count"])
def pattern(engine, W, order, *, slip=None):
    """The pattern R (n, n) of SnAp-``order``: 1 where unit i reaches unit k in at most order - 1 steps, else 0.

    R[k, i], as J[k, i]: ``W (n, n)`` leads from unit i to unit k, and where it is zero nothing does. A unit
    reaches itself.
    """
    if slip:
        return (np.linalg.matrix_power((W != 0) + 0.0, order - 1) > 0) + 0.0
    method, n = engine.approximations.SnAp(order), len(W)
    found = method.prepare(0, engine.RNN(1, n), {"W": W}, W[:1])
    return _dense(found, np.ones((1, n, found.width)))[0]


def _dense(pattern, numbers):
    """``numbers (B, n, width, ...)`` of what the units of a pattern reach, at their places (B, n, n, ...): [:, k, i]."""
    B, n, width = numbers.shape[:3]
    found = np.zeros((B, n, n, *numbers.shape[3:]))
    for i, a in np.ndindex(n, width):
        if pattern.there[i, a]:
            found[:, pattern.units[i, a], i] = numbers[:, i, a]
    return found


def _masked_steps(d):
    """Steps with a pattern R that is not symmetric."""
    given = steps(d)
    n = len(given["W"])
    return given | {"R": np.where(np.eye(n) > 0, 1.0, d.chance(0.5, n, n))}


@exercise("SNAP.2", problem=_masked_steps, slips=SUMS)
def snap(engine, R, J, D, z, q, W, alpha, *, slip=None):
    """The influence M (B, n, n, n_z) after T steps from zero, and the gradient g (n, n_z), summed over time and batch.

    M[b, k, i, j] = dh_k/dTheta_ij of lane b, masked by the pattern ``R (n, n)``, R[k, i] = 1 or 0, as it is carried.
    ``J (T, B, n, n)`` is the Jacobian of the state, ``D (T, B, n)`` its derivative by the pre-activation, ``z (T, B,
    n_z)`` the regressor, so that Mbar_kij = [k = i] D_i z_j; ``q (T, B, n)`` the credit of each step. ``W (n, n)`` and
    the leak ``alpha``, of which J = diag(D) W + (1 - alpha) I is made, are not needed.
    """
    found = engine.approximations._Pattern.of(R > 0, R)
    cell, linear = _linear(engine, W, alpha, D, z, pattern=found)
    own, g = _followed(engine.approximations.SnAp(2), cell, linear, q, slip)
    return {"M": _dense(found, own["trace"]), "g": g}


@exercise("SNAP.3", problem=steps, slips=SUMS)
def snap_1(engine, J, D, z, q, W, alpha, *, slip=None):
    """SnAp-1: the traces T (B, n, n_z) after T steps from zero, and the gradient g (n, n_z), summed over time and batch.

    ``J (T, B, n, n)`` is the Jacobian of the state, ``D (T, B, n)`` its derivative by the pre-activation, ``z (T, B,
    n_z)`` the regressor, ``q (T, B, n)`` the credit of each step. ``W (n, n)`` and the leak ``alpha``, of which
    J = diag(D) W + (1 - alpha) I is made, are not needed.
    """
    own, g = _followed(engine.approximations.SnAp(1), *_linear(engine, W, alpha, D, z), q, slip)
    return {"T": own["trace"][:, :, 0], "g": g}


@exercise("RFLO.1", problem=steps, slips=SUMS)
def rflo(engine, D, z, q, alpha, J, W, *, slip=None):
    """RFLO: the traces T (B, n, n_z) after T steps from zero, and the gradient g (n, n_z), summed over time and batch.

    ``D (T, B, n)`` is the derivative of the state by the pre-activation, with the leak rate ``alpha`` in it, ``z (T, B,
    n_z)`` the regressor, ``q (T, B, n)`` the credit of each step. The Jacobian ``J (T, B, n, n)`` and ``W (n, n)`` are
    not needed.
    """
    own, g = _followed(engine.approximations.RFLO(), *_linear(engine, W, alpha, D, z), q, slip)
    return {"T": own["trace"][:, :, 0], "g": g}


def _kernel(d):
    """Steps with a kernel: ``A (n, n)``, not symmetric, and ``alpha (n,)``, of which one is above 1."""
    given = steps(d)
    n = len(given["W"])
    alpha = d.uniform(0.1, 0.9, n)
    alpha[0] = 1.5
    return given | {"A": d.normal(n, n), "alpha": alpha}


@exercise("KERNL.1", problem=_kernel, slips=SUMS)
def kernl(engine, A, alpha, D, z, q, *, slip=None):
    """KeRNL: the traces T (B, n, n_z) after T steps from zero, and the gradient g (n, n_z), summed over time and batch.

    ``A (n, n)`` and ``alpha (n,)`` are the kernel; ``D (T, B, n)`` is the derivative of the state by the
    pre-activation, ``z (T, B, n_z)`` the regressor, ``q (T, B, n)`` the credit of each step.
    """
    method = engine.approximations.KeRNL(A, alpha)
    cell, _ = _linear(engine, A, 1.0, D, z)
    found = method.prepare(0, cell, {"W": A}, q[0])
    own, g = _followed(method, *_linear(engine, A, 1.0, D, z, pattern=found), q, slip)
    return {"T": own["trace"][:, :, 0], "g": g}


def _noisy(d):
    """A kernel, what is filtered of the noise so far, and the noise of a step with what it has moved."""
    (n,), names = d.widths(1), ("nf", "gf", "zeta", "moved")
    given = {"A": d.normal(n, n), "alpha": d.uniform(0.1, 0.9, n)}
    return given | {name: d.normal(d.B, n) for name in names}


@exercise("KERNL.2", problem=_noisy)
def kernel_step(engine, A, alpha, nf, gf, zeta, moved):
    """One step of learning the kernel: the new nf and gf (B, n), and dC/dA (n, n), dC/dalpha (n,), summed over the batch.

    ``A (n, n)``, ``alpha (n,)`` below 1; ``nf``, ``gf`` (B, n) are those of the step before, ``zeta (B, n)`` is the
    noise of this step and ``moved (B, n)`` how far the noisy state is from the other, h~ - h.
    """
    found = engine.approximations.kernel_step(A, alpha, nf, gf, zeta, moved)
    return dict(zip(("nf", "gf", "dA", "dalpha"), found, strict=True))


# ---------------------------------------------------------------------- at random


def _one_product(d):
    """A step with the two factors of UORO and new signs."""
    given = step(d)
    (B, n), n_z = given["D"].shape, given["z"].shape[1]
    return given | {"s": d.normal(B, n), "w": d.normal(B, n, n_z), "nu": _signs(d, B, n)}


def _signs(d, *shape):
    return np.where(d.chance(0.5, *shape), 1.0, -1.0)


LATE = ["the credit meets the factors of the step before"]


def _once(method, engine, W, alpha, D, z, signs, q, own, slip):
    """One step of a method from what it keeps, and the gradient after it."""
    cell, (now,) = _linear(engine, W, alpha, D[None], z[None], signs)
    new = method.step_cell(now, own)
    return new | {"g": method.read_cell(cell, None, own if slip else new, q)}


@exercise("UORO.2", "UORO.3", problem=_one_product, slips=LATE)
def uoro(engine, s, w, J, D, z, nu, q, W, alpha, *, slip=None):
    """One step of UORO: the new s (B, n) and w (B, n, n_z), and this step's gradient g (n, n_z), summed over the batch.

    ``s``, ``w`` are those of the step before, ``nu (B, n)`` the new signs, each -1 or 1. ``J (B, n, n)`` is the Jacobian
    of the state, ``D (B, n)`` its derivative by the pre-activation, ``z (B, n_z)`` the regressor, ``q (B, n)`` the credit.
    The norms are those of a lane. ``W (n, n)`` and the leak ``alpha``, of which J = diag(D) W + (1 - alpha) I is made,
    are not needed.
    """
    method = engine.approximations.UORO()
    return _once(method, engine, W, alpha, D, z, nu, q, {"s": s, "w": w}, slip)


def _kronecker(d):
    """A step with the two factors of KF-RTRL and new signs."""
    given = step(d)
    (B, n), n_z = given["D"].shape, given["z"].shape[1]
    c = _signs(d, B, 2)
    c[-1] = -1.0
    c[0] = 1.0, -1.0  # neither all the same nor all positive
    return given | {"A": d.normal(B, n_z), "B": d.normal(B, n, n), "c": c}


@exercise("KF.2", "KF.3", problem=_kronecker, slips=LATE)
def kf(engine, A, B, J, D, z, c, q, W, alpha, *, slip=None):
    """One step of KF-RTRL: the new A (lanes, n_z) and B (lanes, n, n), and this step's gradient g (n, n_z), over all lanes.

    ``A``, ``B`` are those of the step before, dh_k/dTheta_ij ~ B_ki A_j, and ``c (lanes, 2)`` the signs c1 and c2. ``J
    (lanes, n, n)`` is the Jacobian of the state, ``D (lanes, n)`` its derivative by the pre-activation, ``z (lanes, n_z)``
    the regressor, ``q (lanes, n)`` the credit. The norms are those of a lane. ``W (n, n)`` and the leak ``alpha``, of
    which J = diag(D) W + (1 - alpha) I is made, are not needed.
    """
    return _once(engine.approximations.KF(), engine, W, alpha, D, z, c, q, {"A": A, "B": B}, slip)


def _reversed(d):
    """A step with the two factors of reverse KF-RTRL and new signs."""
    given = step(d)
    (B, n), n_z = given["D"].shape, given["z"].shape[1]
    return given | {"A": d.normal(B, n), "B": d.normal(B, n, n_z), "nu": _signs(d, B, n)}


@exercise("KF.5", problem=_reversed, slips=LATE)
def reverse_kf(engine, A, B, J, D, z, nu, q, W, alpha, *, slip=None):
    """One step of reverse KF-RTRL: the new A (lanes, n), B (lanes, n, n_z), and this step's gradient g (n, n_z), over all lanes.

    ``A``, ``B`` are those of the step before, dh_k/dTheta_ij ~ A_i B_kj, and ``nu (lanes, n)`` the signs. The others as
    in (KF.2).
    """
    return _once(engine.approximations.ReverseKF(), engine, W, alpha, D, z, nu, q, {"A": A, "B": B}, slip)


# ---------------------------------------------------------------------- with a certificate


def _sketched(d):
    """A step with what a sketch keeps; J by turns so that one or the other bound on its norm is the smaller."""
    given = step(d, (0.1, 2.0, 1.0)[d.setting])
    (B, n), n_z = given["D"].shape, given["z"].shape[1]
    r = max(n - 2, 1)  # so that two of the n singular values are left out
    given |= {"T": d.normal(B, n, n_z), "L": d.normal(B, n, r), "R": d.normal(B, r, n, n_z)}
    return given | {"cert": d.uniform(0.5, 2.0, B)}


@exercise("SK.1", "SK.2", problem=_sketched)
def sketch(engine, T, L, R, cert, J, D, z, W, alpha):
    """One step of SK-RTRL: the new T (B, n, n_z), the new sketch L R (B, n, n, n_z) as a product, and the certificate (B,).

    ``T (B, n, n_z)``, ``L (B, n, r)``, ``R (B, r, n, n_z)`` and ``cert (B,)`` are those of the step before: the influence
    was [k = i] T_ij + sum_a L_ka R_aij. ``J (B, n, n)`` is the Jacobian of the state, ``D (B, n)`` its derivative by the
    pre-activation, ``z (B, n_z)`` the regressor. The new sketch has the rank r again. ``W (n, n)`` and the leak ``alpha``,
    of which J = diag(D) W + (1 - alpha) I is made, are not needed.
    """
    _, (now,) = _linear(engine, W, alpha, D[None], z[None])
    kept = {"trace": T[:, :, None], "left": L, "right": R, "bound": cert}
    own = engine.approximations.Sketch(L.shape[2]).step_cell(now, kept)
    product = np.einsum("bka,baij->bkij", own["left"], own["right"])
    return {"T": own["trace"][:, :, 0], "LR": product, "cert": own["bound"]}


# ---------------------------------------------------------------------- spiking cells and e-prop


def _spiking(d, adaptive=False):
    """A spiking cell with its inputs; every number of the state is its own array."""
    n, m = d.widths(2)
    params = {"W": d.normal(n, n) / n**0.5, "U": d.normal(n, m), "b": d.uniform(0.2, 0.8, n)}
    given = {
        "params": params,
        "inputs": d.normal(d.T, d.B, m),
        "spike": d.chance(0.5, d.B, n) + 0.0,
        "v": d.normal(d.B, n),
        "kappa": float(d.uniform(0.4, 0.9)),
        "threshold": float(d.uniform(0.3, 0.8)),
        "slope": float(d.uniform(1.5, 3.0)),
    }
    if adaptive:
        given |= {"ad": d.uniform(0.2, 1.0, d.B, n), "rho": float(d.uniform(0.5, 0.9))}
        given |= {"adaptation": float(d.uniform(0.2, 0.6))}
    return given


def _fired(engine, cell, params, inputs, state):
    """The parts of the states (T, B, n), and the traces of the spikes (T, B, n, n_z) as e-prop carries them."""
    states, tape = cell.scan(params, state, inputs)
    local, method = cell.local(params, tape), engine.eprop.EProp()
    own, traces = method.start_cell(cell, None, len(state), state), []
    for t in range(len(inputs)):
        own = method.step_cell(engine.approximations.Step(cell, params, local, t, None, None), own)
        traces.append(own["trace"][:, :, 0].copy())
    return np.split(states, cell.parts, axis=2), np.stack(traces)


@exercise("EPROP.1", problem=_spiking)
def lif(engine, params, inputs, spike, v, kappa, threshold, slope):
    """The spikes (T, B, n), the potentials v (T, B, n) and the traces e (T, B, n, n_z) of LIF units over T steps.

    ``params`` has ``W (n, n)``, ``U (n, m)``, ``b (n,)``; ``inputs`` is (T, B, m); ``spike`` and ``v`` (B, n) are those
    before the first step, ``kappa`` is the decay of the potential, ``threshold`` is v_th and ``slope`` the k of the
    surrogate psi. A spike is 1 where v is above the threshold, else 0. The columns of e are those of z = [spikes of the
    step before; input; 1], n_z = n + m + 1; the traces start at zero.
    """
    options = {"kappa": kappa, "threshold": threshold, "slope": slope}
    cell = engine.LIF(inputs.shape[2], v.shape[1], **options)
    parts, e = _fired(engine, cell, params, inputs, np.concatenate([spike, v], axis=1))
    return {"spike": parts[0], "v": parts[1], "e": e}


@exercise("EPROP.2", problem=lambda d: _spiking(d, adaptive=True))
def alif(engine, params, inputs, spike, v, ad, kappa, threshold, slope, rho, adaptation):
    """The spikes, the potentials v and the adaptations ad (T, B, n), and the traces e (T, B, n, n_z) of ALIF units.

    As (EPROP.1), and: ``ad (B, n)`` is that before the first step, ``rho`` its decay, ``adaptation`` bt: how much it
    raises the threshold. All traces are zero before the first step.
    """
    options = {"kappa": kappa, "threshold": threshold, "slope": slope, "rho": rho, "adaptation": adaptation}
    cell = engine.ALIF(inputs.shape[2], v.shape[1], **options)
    parts, e = _fired(engine, cell, params, inputs, np.concatenate([spike, v, ad], axis=1))
    return {"spike": parts[0], "v": parts[1], "ad": parts[2], "e": e}


def _signalled(d):
    """Traces, outputs and targets, a feedback matrix and the readout in whose place it stands."""
    n, m, o = d.widths(3)
    e, yhat, y = d.normal(d.T, d.B, n, n + m + 1), d.normal(d.T, d.B, o), d.normal(d.T, d.B, o)
    return {"e": e, "yhat": yhat, "y": y, "feedback": d.normal(n, o), "readout": d.normal(o, n)}


@exercise("EPROP.3", problem=_signalled, slips=SUMS)
def eprop_gradient(engine, e, yhat, y, feedback, readout, *, slip=None):
    """The gradient g (n, n_z) of e-prop with random feedback, summed over time and batch.

    ``e (T, B, n, n_z)`` are the traces of the spikes, ``yhat`` and ``y`` (T, B, o) the outputs and the targets of the loss
    1/2 |yhat - y|^2, ``feedback (n, o)`` the fixed random matrix B. ``readout (o, n)``, the weights through which
    backpropagation would go, is not needed.
    """
    cell = engine.LIF(e.shape[3] - e.shape[2] - 1, e.shape[2])
    net = engine.RecurrentNetwork([cell, engine.Dense(*readout.shape[::-1])])
    h, g = [np.zeros((e.shape[1], cell.state_size)), None], None
    influence = engine.eprop.EProp(feedback).start(net, [{}, {}], h)
    for traces, v in _met(e, yhat - y, slip):
        influence.own[0] = {"trace": np.stack([traces, 0 * traces], axis=2)}
        influence.observe(None, v)
        q = np.concatenate([v @ readout, 0 * h[0][:, cell.n :]], axis=1)
        g = influence.readout([q, None], g)
    return g[0]


# ---------------------------------------------------------------------- synthetic gradients


def _guess(d):
    """What DNI sees of a step, and of the one before."""
    n, m, o = d.widths(3)
    A, frozen = d.normal(2, n, n + o + 1) / n**0.5
    return {
        "A": A,
        "frozen": frozen,
        "before": np.concatenate([d.normal(d.B, n + o), np.ones((d.B, 1))], axis=1),
        "q": d.normal(d.B, n),
        "J": d.normal(d.B, n, n),
        "h": d.normal(d.B, n),
        "y": d.normal(d.B, o),
        "begins": d.chance(0.4, d.B)[::-1].copy(),
        "learning_rate": float(d.uniform(0.05, 0.2)),
        "D": d.uniform(0.2, 1.2, d.B, n),
        "z": d.normal(d.B, n + m + 1),
    }


class _Linear:
    """A cell of which no more is known than the derivatives of one step."""

    learn_h0 = complex_state = False

    def __init__(self, J, D=None, z=None):
        self.J, self.D, self.z = J, D, z

    def state_jacobian(self, p, tape):
        """J."""
        return self.J

    def sweep(self, p, tape, v_out, v_end):
        """Credit at the end of the step, at its start."""
        return SimpleNamespace(start=np.einsum("bij,bi->bj", self.J, v_end), end=v_end)

    def gradients(self, p, tape, swept):
        """Mbar' v."""
        return {} if self.D is None else {"Theta": (self.D * swept.end).T @ self.z}


def _learned(engine, cell, h, y, q, own, begins, learning_rate):
    """An influence DNI after one step with one cell, and its gradient."""
    net = SimpleNamespace(cells=[0], blocks=[cell])
    method = engine.dni.DNI(own["A"], learning_rate)
    influence = engine.dni.SyntheticGradient(method, net, [h], [own["A"]])
    influence.own[0] |= own
    influence.begins, influence.now[0] = begins, (None, SimpleNamespace(after=[h]))
    influence.observe(y, None)
    return influence, influence.readout([q])[0]


@exercise("DNI.1", problem=_guess)
def synthetic_gradient(engine, A, h, y):
    """The synthetic gradient sg (B, n) of the states ``h (B, n)`` and the targets ``y (B, o)``; ``A`` is (n, n + o + 1)."""
    return engine.dni.synthetic(A, engine.dni._seen(_Linear(None), h, y))


@exercise("DNI.2", problem=_guess)
def learn(engine, A, frozen, before, q, J, h, y, begins, learning_rate):
    """A (n, n + o + 1) after one step of learning, by the mean over the batch.

    ``frozen`` is the copy A^-, ``before (B, n + o + 1)`` is z~ of the step before and ``q (B, n)`` the credit of that step;
    ``J (B, n, n)`` is the Jacobian of this step, whose state is ``h (B, n)`` and whose target is ``y (B, o)``. Of lanes
    ``begins (B,)`` bool that begin anew with this step nothing comes back.
    """
    own = {"A": A, "frozen": frozen, "seen": before, "q": q}
    return _learned(engine, _Linear(J), h, y, q, own, begins, learning_rate)[0].A[0]


@exercise("DNI.3", problem=_guess, slips=["D is missing"])
def dni_gradient(engine, A, h, y, D, z, q, *, slip=None):
    """The gradient g (n, n_z) of one step by DNI, summed over the batch.

    ``A (n, n + o + 1)``, state ``h (B, n)``, target ``y (B, o)``; ``D (B, n)`` is the derivative of the state by the
    pre-activation, ``z (B, n_z)`` the regressor. ``q (B, n)``, the credit that the loss of this step alone sends, is not
    needed.
    """
    own = {"A": A, "seen": np.zeros((len(h), A.shape[1]))}
    cell = _Linear(np.zeros((len(h), h.shape[1], h.shape[1])), 0 * D + 1 if slip else D, z)
    return _learned(engine, cell, h, y, q, own, np.ones(len(h), bool), 0.1)[1]
