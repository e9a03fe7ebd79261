"""Students of approximations, spiking cells, e-prop and DNI, who wrote it by themselves: what they are told.

Nothing here uses the engine: equations in loops or einsum, each with places to go wrong.
"""

import numpy as np
from helpers.students import cases, verify

from reference import approximation_oracles as oracles


def ratio(a, b):
    """The root of the ratio of two norms, lane by lane."""
    norms = [np.linalg.norm(x.reshape(len(x), -1), axis=1) for x in (a, b)]
    return np.sqrt(norms[0] / norms[1])


def col(r, ndim=2):
    """A number a lane beside arrays of so many axes."""
    return r.reshape(-1, *[1] * (ndim - 1))


# ---------------------------------------------------------------------- traces


def summed(q, traces, *, when=0, steps=slice(None)):
    """sum over t of q_i T_ij; ``when`` -1 takes the traces of the step before."""
    before = [0 * traces[0], *traces[:-1]]
    return sum(
        np.einsum("bi,bij->ij", c, T) for c, T in list(zip(q, before if when else traces, strict=True))[steps]
    )


def snap_1(J, D, z, q, *, kept=lambda J: np.diagonal(J, axis1=1, axis2=2), new=lambda k, D: D, **reading):
    """SnAp-1 in einsum."""
    T, traces = 0.0, []
    for t in range(len(D)):
        k = kept(J[t])
        T = k[:, :, None] * T + np.einsum("bi,bj->bij", new(k, D[t]), z[t])
        traces.append(T)
    return T, summed(q, traces, **reading)


def snap_1_by_loops(J, D, z, q):
    """The same, number by number."""
    steps, B, n = D.shape
    T, g = np.zeros((B, n, z.shape[2])), np.zeros((n, z.shape[2]))
    for t in range(steps):
        for b, i, j in np.ndindex(*T.shape):
            T[b, i, j] = J[t, b, i, i] * T[b, i, j] + D[t, b, i] * z[t, b, j]
            g[i, j] += q[t, b, i] * T[b, i, j]
    return T, g


def mixed(J, D, z, q):
    """J itself, where its diagonal is meant."""
    T, g = 0.0, 0.0
    for t in range(len(D)):
        T = (J[t] @ T if t else 0.0) + np.einsum("bi,bj->bij", D[t], z[t])
        g = g + np.einsum("bi,bij->ij", q[t], T)
    return T, g


def rflo(D, z, q, alpha, *, kept=lambda alpha: 1 - alpha, **places):
    """RFLO, which is SnAp-1 with another carry."""
    return snap_1(D, D, z, q, kept=lambda D: kept(alpha) + 0 * D, **places)


def kernl(A, alpha, D, z, q, *, kept=lambda a: np.maximum(0, 1 - a), through=lambda A, q: q @ A, **places):
    """KeRNL: the same with a carry of each unit, and credit through A'."""
    return snap_1(D, D, z, through(A, q), kept=lambda D: kept(alpha) + 0 * D, **places)


TRACED = [
    ("SNAP.3", snap_1, {}, ()),
    ("SNAP.3", snap_1_by_loops, {}, ()),
    (
        "SNAP.3",
        snap_1,
        {"kept": lambda J: 0 * J[:, 0]},
        "SnAp-1 is the immediate terms alone: the carry of J_ii is missing",
    ),
    ("SNAP.3", snap_1, {"new": lambda k, D: 1 + 0 * D}, "D is missing in the immediate term of the traces"),
    ("SNAP.3", snap_1, {"new": lambda k, D: k * D + D}, "the new term of a trace is carried at once"),
    ("SNAP.3", snap_1, {"when": -1}, "the credit meets the trace of the step before"),
    ("SNAP.3", snap_1, {"steps": slice(-1)}, "the last step is missing in the sum"),
    ("SNAP.3", snap_1, {"steps": slice(-1, None)}, "only the last step counts, not the sum"),
    ("SNAP.3", mixed, {}, "a trace is mixed with those of other units: J T, not J_ii T_i"),
    ("SNAP.3", snap_1, {"new": lambda k, D: D * D}, "D is there twice in the immediate term of the traces"),
    (
        "SNAP.3",
        snap_1,
        {"kept": lambda J: 0 * J[:, 0], "when": -1},
        (
            "SnAp-1 is the immediate terms alone: the carry of J_ii is missing",
            "the credit meets the trace of the step before",
        ),
    ),
    (
        "SNAP.3",
        snap_1,
        {"new": lambda k, D: 1 + 0 * D, "steps": slice(-1)},
        ("D is missing in the immediate term of the traces", "the last step is missing in the sum"),
    ),
    ("RFLO.1", rflo, {}, ()),
    ("RFLO.1", rflo, {"kept": lambda alpha: 1.0}, "the trace of RFLO does not leak"),
    ("RFLO.1", rflo, {"kept": lambda alpha: 0.0}, "the trace of RFLO remembers nothing"),
    ("RFLO.1", rflo, {"kept": lambda alpha: alpha}, "the trace of RFLO keeps alpha, not 1 - alpha"),
    (
        "RFLO.1",
        rflo,
        {"new": lambda k, D: (1 - k) * D},
        "a trace is a running mean: the new term is weighted by what is forgotten (alpha twice)",
    ),
    ("RFLO.1", snap_1, {}, "RFLO keeps the path through the self weight: that is SnAp-1"),
    ("RFLO.1", rflo, {"steps": slice(1, None)}, "the first step is missing in the sum"),
    ("KERNL.1", kernl, {}, ()),
    (
        "KERNL.1",
        kernl,
        {"through": lambda A, q: q @ A.T},
        "the credit goes through A, not through its transpose",
    ),
    ("KERNL.1", kernl, {"through": lambda A, q: q}, "the kernel's A is left out"),
    ("KERNL.1", kernl, {"kept": lambda a: a}, "alpha is taken for what is kept"),
    (
        "KERNL.1",
        kernl,
        {"kept": lambda a: 1 - a},
        "what is kept may be negative: the maximum with zero is missing",
    ),
]


@cases(TRACED)
def test_traces(equation, function, places, expected, seed):
    """SnAp-1, RFLO and KeRNL."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- patterns


def pattern(W, order, *, hops=lambda order: order - 1, way=lambda W: W):
    """Who reaches whom, walking from every unit; (k, i)."""
    n, linked = len(W), way(W) != 0
    found = np.eye(n)
    for i in range(n):
        here = {i}
        for _ in range(hops(order)):
            here |= {k for m in here for k in range(n) if linked[k, m]}
        found[list(here), i] = 1
    return found


def by_powers(W, order):
    """The power of the table of links, without the unit itself."""
    found = np.eye(len(W))
    for _ in range(order - 1):
        found = (W != 0) @ found
    return (found > 0).astype(int)


def masked(R, J, D, z, q, *, mask=lambda R: R, turn=lambda J: J, again=1.0):
    """SnAp-n with dense arrays."""
    n, M, g = len(R), 0.0, 0.0
    for t in range(len(D)):
        Mbar = np.einsum("bi,bj,ki->bkij", D[t], z[t], np.eye(n))
        if t > 0:
            M = again * mask(R)[None, :, :, None] * np.einsum("bkm,bmij->bkij", turn(J[t]), M)
        M = M + Mbar
        g = g + np.einsum("bk,bkij->ij", q[t], M)
    return M, g


def masked_by_loops(R, J, D, z, q):
    """The loops of ``reference``, lane by lane."""
    n, lanes, g = len(R), [], 0.0
    for b in range(D.shape[1]):
        M = 0.0
        for t in range(len(D)):
            Mbar = np.einsum("i,j,ki->kij", D[t, b], z[t, b], np.eye(n))
            M = Mbar + (oracles._carried(J[t, b], M, R) if t else 0.0)
            g = g + np.einsum("k,kij->ij", q[t, b], M)
        lanes.append(M)
    return np.array(lanes), g


MASKED = [
    ("SNAP.1", pattern, {}, ()),
    ("SNAP.1", pattern, {"hops": lambda order: order}, "the pattern reaches one step too far"),
    ("SNAP.1", pattern, {"hops": lambda order: 1}, "the pattern is that of one step, whatever the order"),
    (
        "SNAP.1",
        pattern,
        {"way": lambda W: W.T},
        "the mask is transposed: the units that act on i, not those that i acts on",
    ),
    ("SNAP.1", by_powers, {}, "only paths of exactly order - 1 steps count"),
    ("SNAP.2", masked, {}, ()),
    ("SNAP.2", masked_by_loops, {}, ()),
    (
        "SNAP.2",
        masked,
        {"mask": lambda R: R.T},
        "the mask is transposed: the units that act on i, not those that i acts on",
    ),
    ("SNAP.2", masked, {"mask": np.ones_like}, "nothing is masked: that is exact RTRL"),
    (
        "SNAP.2",
        masked,
        {"turn": lambda J: J.swapaxes(1, 2)},
        "the masked influence is carried by the transpose of J",
    ),
    ("SNAP.2", masked, {"again": 0.0}, "what is kept within the pattern is not carried"),
]


@cases(MASKED)
def test_patterns(equation, function, places, expected, seed):
    """SnAp-n."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- kernels that learn


def kernel_step(
    A, alpha, nf, gf, zeta, moved, *, early=True, new=lambda k, nf: k * nf, sign=-1, back=lambda A: A.T
):
    """One step of learning a kernel; ``early``: gf takes nf before its own step."""
    k, B = 1 - alpha, len(nf)
    now = new(k, nf) + zeta
    gf = k * gf - (nf if early else now)
    error = np.stack([A @ now[b] + sign * moved[b] for b in range(B)])
    dA = sum(np.outer(error[b], now[b]) for b in range(B))
    dalpha = sum((back(A) @ error[b]) * gf[b] for b in range(B))
    return now, gf, dA, dalpha


LEARNING = [
    ("KERNL.2", kernel_step, {}, ()),
    ("KERNL.2", kernel_step, {"early": False}, "gf takes the new nf, not that of the step before"),
    ("KERNL.2", kernel_step, {"new": lambda k, nf: 0 * nf}, "the noise is not filtered"),
    ("KERNL.2", kernel_step, {"sign": 1}, "what has moved is added to the kernel's error, not subtracted"),
    (
        "KERNL.2",
        kernel_step,
        {"back": lambda A: A},
        "A is not transposed when the kernel's error goes to alpha",
    ),
    ("KERNL.2", kernel_step, {"back": lambda A: np.eye(len(A))}, "alpha learns without A"),
]


@cases(LEARNING)
def test_kernels(equation, function, places, expected, seed):
    """(KERNL.2)."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- at random


def uoro(
    s,
    w,
    J,
    D,
    z,
    nu,
    q,
    *,
    in_s=1.0,
    size=ratio,
    flip=False,
    over_r0=lambda w, r: w / r,
    over_r1=lambda x, r: x / r,
    look=lambda s, Js: Js,
    signs=lambda nu: nu,
    slope=lambda D: D,
):
    """UORO; ``flip`` turns r0 over."""
    Js = (J @ s[:, :, None])[:, :, 0]
    new = (nu * slope(D))[:, :, None] * z[:, None]
    r0, r1 = size(w, look(s, Js)), size(new, nu)
    r0 = 1 / r0 if flip else r0
    s = col(r0) * Js + col(r1) * signs(nu)
    w = over_r0(w, col(r0, 3)) + over_r1(new, col(r1, 3))
    return s, w, np.einsum("bk,bk,bij->ij", q, s, w)


def turned_uoro(s, w, J, D, z, nu, q):
    """With J'."""
    return uoro(s, w, J.swapaxes(1, 2), D, z, nu, q)


def early(s, w, J, D, z, nu, q):
    """Reads out what it had."""
    new = uoro(s, w, J, D, z, nu, q)
    return new[0], new[1], np.einsum("bk,bk,bij->ij", q, s, w)


def kf(
    A, B, J, D, z, c, q, *, size=ratio, signs=lambda c: c, p0_in_B=True, turned=lambda B: B, unit=lambda r: r
):
    """KF-RTRL."""
    c1, c2 = signs(c).T
    JB = J @ B
    p0, p1 = unit(size(JB, A)), size(D, z)
    A = col(c1 * p0) * A + col(c2 * p1) * z
    B = col(c1 / (p0 if p0_in_B else 1), 3) * JB + col(c2 / p1, 3) * np.stack([np.diag(d) for d in D])
    return A, B, sum(np.outer(turned(B[b]).T @ q[b], A[b]) for b in range(len(q)))


def reverse_kf(A, B, J, D, z, nu, q, *, signs=lambda nu: nu, p0_in_A=True, p0_in_B=True, p1_in_B=True):
    """Reverse KF-RTRL."""
    nu, JB = signs(nu), J @ B
    new = (nu * D)[:, :, None] * z[:, None]
    p0, p1 = ratio(JB, A), ratio(new, nu)
    A = (col(p0) if p0_in_A else 1) * A + col(p1) * nu
    B = JB / (col(p0, 3) if p0_in_B else 1) + new / (col(p1, 3) if p1_in_B else 1)
    return A, B, np.einsum("bi,bk,bkj->ij", A, q, B)


def square_ratio(a, b):
    """Without the root."""
    return ratio(a, b) ** 2


def batch_ratio(a, b):
    """Of the whole batch."""
    return np.full(len(a), np.sqrt(np.linalg.norm(a) / np.linalg.norm(b)))


RANDOM = [
    ("UORO.2", uoro, {}, ()),
    ("UORO.2", uoro, {"over_r0": lambda w, r: w}, "w is not divided by r0"),
    ("UORO.2", uoro, {"over_r0": lambda w, r: w * r}, "w is multiplied by r0, as s is"),
    ("UORO.2", uoro, {"over_r1": lambda x, r: x}, "the new term of w is not divided by r1"),
    ("UORO.2", uoro, {"signs": abs}, "s takes all signs as +1"),
    ("UORO.3", uoro, {"flip": True}, "r0 is upside down"),
    ("UORO.3", uoro, {"size": square_ratio}, "the ratios of norms have no root"),
    ("UORO.3", uoro, {"size": batch_ratio}, "the norms are those of the whole batch, not of a lane"),
    ("UORO.3", uoro, {"look": lambda s, Js: s}, "r0 takes the norm of s, not that of J s"),
    ("UORO.2", turned_uoro, {}, "s is carried by the transpose of J"),
    ("UORO.2", uoro, {"slope": np.ones_like}, "D is missing in the new term of w"),
    ("UORO.3", early, {}, "the credit meets the factors of the step before"),
    ("KF.2", kf, {}, ()),
    ("KF.2", kf, {"p0_in_B": False}, "B is not divided by p0"),
    ("KF.2", kf, {"signs": abs}, "all signs of KF-RTRL are +1"),
    ("KF.2", kf, {"signs": lambda c: c[:, ::-1]}, "the signs c1 and c2 are exchanged"),
    ("KF.2", kf, {"signs": lambda c: c[:, [0, 0]]}, "both terms of KF-RTRL have the same sign"),
    ("KF.2", kf, {"unit": lambda r: 1 / r}, "p0 is upside down"),
    ("KF.2", kf, {"size": square_ratio}, "the ratios of norms have no root"),
    ("KF.3", kf, {"turned": np.transpose}, "the credit goes through B, not through its transpose"),
    ("KF.5", reverse_kf, {}, ()),
    ("KF.5", reverse_kf, {"signs": abs}, "all signs of reverse KF-RTRL are +1"),
    ("KF.5", reverse_kf, {"p0_in_B": False}, "B of reverse KF-RTRL is not divided by p0"),
    ("KF.5", reverse_kf, {"p0_in_A": False}, "A of reverse KF-RTRL is not multiplied by p0"),
    ("KF.5", reverse_kf, {"p1_in_B": False}, "the new term of B of reverse KF-RTRL is not divided by p1"),
]


@cases(RANDOM)
def test_random_signs(equation, function, places, expected, seed):
    """UORO, KF-RTRL and its reverse."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- with a certificate


def sketch(
    T,
    L,
    R,
    cert,
    J,
    D,
    z,
    *,
    off=lambda J: J * (1 - np.eye(J.shape[1])),
    carry=lambda J, X: np.einsum("bkm,bmij->bkij", J, X),
    grow=lambda rho, cert: rho * cert,
    least=min,
    lost=np.linalg.norm,
):
    """SK-RTRL with the whole X and its singular values."""
    B, n, n_z = T.shape
    embedded = np.einsum("bij,ki->bkij", T, np.eye(n))
    X = np.einsum("bkm,bmij->bkij", off(J), embedded) + carry(J, np.einsum("bka,baij->bkij", L, R))
    new = np.diagonal(J, axis1=1, axis2=2)[:, :, None] * T + D[:, :, None] * z[:, None]
    r, kept, bound = L.shape[2], np.zeros_like(X), np.zeros(B)
    for b in range(B):
        U, values, V = np.linalg.svd(X[b].reshape(n, -1), full_matrices=False)
        kept[b] = (U[:, :r] * values[:r] @ V[:r]).reshape(n, n, n_z)
        two = np.linalg.norm(J[b]), np.sqrt(np.linalg.norm(J[b], 1) * np.linalg.norm(J[b], np.inf))
        bound[b] = grow(least(two), cert[b]) + lost(values[r:])
    return new, kept, bound


def turned_sketch(T, L, R, cert, J, D, z):
    """With J'."""
    return sketch(T, L, R, cert, J.swapaxes(1, 2), D, z)


SKETCHED = [
    ("SK.1", sketch, {}, ()),
    ("SK.1", sketch, {"off": lambda J: J}, "the diagonal of J acts twice, in the trace and in the sketch"),
    ("SK.1", sketch, {"off": lambda J: 0 * J}, "what SnAp-1 leaves out does not enter the sketch"),
    ("SK.1", turned_sketch, {}, "the sketch is carried by the transpose of J"),
    ("SK.2", sketch, {"least": lambda two: two[0]}, "rho is the Frobenius norm alone"),
    ("SK.2", sketch, {"lost": lambda values: 0.0}, "the certificate leaves out what this step has lost"),
    ("SK.1", sketch, {"carry": lambda J, X: X}, "the sketch is not carried by J"),
    ("SK.2", sketch, {"grow": lambda rho, cert: 0}, "the certificate knows only what this step has lost"),
    (
        "SK.2",
        sketch,
        {"grow": lambda rho, cert: cert},
        "the certificate of the step before is not multiplied by rho",
    ),
    (
        "SK.2",
        sketch,
        {"lost": lambda values: (values**2).sum()},
        "what a step has lost is counted as its square",
    ),
    ("SK.2", sketch, {"lost": max}, "what a step has lost is the largest of the values that are left out"),
]


@cases(SKETCHED)
def test_sketches(equation, function, places, expected, seed):
    """SK-RTRL."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- spiking cells and e-prop


def surrogate(k, x):
    """psi."""
    r = 1 / (1 + np.exp(-k * x))
    return k * r * (1 - r)


def lif(
    params,
    inputs,
    spike,
    v,
    kappa,
    threshold,
    slope,
    *,
    leak=1.0,
    fires=1.0,
    psi=surrogate,
    at=1.0,
    filtered=lambda kappa: kappa,
    reset=0.0,
    late=False,
):
    """LIF units with one filtered regressor a lane, as the paper has it."""
    spikes, potentials, traces, zbar = [], [], [], 0.0
    for u in inputs:
        z = np.hstack([spike, u, np.ones((len(u), 1))])
        v = (kappa if leak else 1) * v + spike @ params["W"].T + u @ params["U"].T + params["b"]
        v = v - reset * threshold * spike
        spike = (v - fires * threshold > 0).astype(float)
        if late:
            z[:, : v.shape[1]] = spike
        zbar = filtered(kappa) * zbar + z
        spikes.append(spike)
        potentials.append(v)
        traces.append(psi(slope, v - at * threshold)[:, :, None] * zbar[:, None])
    return spikes, potentials, traces


def alif(
    params,
    inputs,
    spike,
    v,
    ad,
    kappa,
    threshold,
    slope,
    rho,
    adaptation,
    *,
    raised=1.0,
    seen=1.0,
    in_traces=1.0,
    fades=lambda rho: rho,
    trace_fades=lambda rho: rho,
    leak=lambda kappa: kappa,
):
    """ALIF units, with e^a as its own recursion."""
    kept, zbar, ea, e = ([], [], [], []), 0.0, 0.0, 0.0
    for u in inputs:
        z = np.hstack([spike, u, np.ones((len(u), 1))])
        v = leak(kappa) * v + spike @ params["W"].T + u @ params["U"].T + params["b"]
        ad = fades(rho) * ad + spike
        x = v - threshold - raised * adaptation * ad
        spike = np.where(x > 0, 1.0, 0.0)
        zbar, ea = kappa * zbar + z, trace_fades(rho) * ea + e
        psi = surrogate(slope, v - threshold - seen * raised * adaptation * ad)
        e = psi[:, :, None] * (zbar[:, None] - in_traces * adaptation * ea)
        for some, new in zip(kept, (spike, v, ad, e), strict=True):
            some.append(new)
    return kept


def eprop(e, yhat, y, feedback, readout, *, signal=lambda v, B, W: v @ B.T, **reading):
    """Random feedback, in loops over time."""
    q = np.array([signal(v, feedback, readout) for v in yhat - y])
    return summed(q, e, **reading)


SPIKING = [
    ("EPROP.1", lif, {}, ()),
    ("EPROP.1", lif, {"leak": 0.0}, "a potential does not leak"),
    ("EPROP.1", lif, {"fires": 0.0, "at": 0.0}, "a LIF fires as soon as its potential is positive"),
    (
        "EPROP.1",
        lif,
        {"fires": 0.0},
        "a LIF fires without regard to its threshold, which the surrogate knows",
    ),
    ("EPROP.1", lif, {"at": 0.0}, "the surrogate is taken at v, not at v minus the threshold"),
    (
        "EPROP.1",
        lif,
        {"psi": lambda k, x: surrogate(k, x) / k},
        "the slope is missing in front of the surrogate",
    ),
    (
        "EPROP.1",
        lif,
        {"psi": lambda k, x: k / (1 + np.exp(-k * x))},
        "the surrogate lacks the factor 1 - sigma",
    ),
    ("EPROP.1", lif, {"filtered": lambda kappa: 1}, "the trace of a potential does not decay"),
    (
        "EPROP.1",
        lif,
        {"filtered": lambda kappa: 0},
        "the regressor of a LIF is not filtered: its traces remember nothing",
    ),
    ("EPROP.1", lif, {"reset": 1.0}, "a potential is reset after a spike, beside the self weight"),
    (
        "EPROP.1",
        lif,
        {"late": True},
        "the traces of a LIF take the spikes of this step, not of the step before",
    ),
    (
        "EPROP.1",
        lif,
        {"at": 0.0, "filtered": lambda kappa: 1},
        (
            "the surrogate is taken at v, not at v minus the threshold",
            "the trace of a potential does not decay",
        ),
    ),
    ("EPROP.2", alif, {}, ()),
    ("EPROP.2", alif, {"in_traces": 0.0}, "the term of bt is dropped from the traces"),
    ("EPROP.2", alif, {"in_traces": -1.0}, "the term of bt has the wrong sign in the traces"),
    ("EPROP.2", alif, {"raised": -1.0}, "a spike lowers the threshold"),
    ("EPROP.2", alif, {"raised": 0.0}, "the adaptation does not raise the threshold"),
    ("EPROP.2", alif, {"seen": 0.0}, "the surrogate of an ALIF does not see the adaptation"),
    ("EPROP.2", alif, {"fades": lambda rho: 1}, "the adaptation does not decay"),
    ("EPROP.2", alif, {"trace_fades": lambda rho: 1}, "the trace of the adaptation does not decay"),
    (
        "EPROP.2",
        alif,
        {"trace_fades": lambda rho: 0},
        "the adaptation is forgotten from step to step",
    ),
    ("EPROP.2", alif, {"leak": lambda kappa: 1}, "an ALIF's potential does not leak"),
    ("EPROP.3", eprop, {}, ()),
    (
        "EPROP.3",
        eprop,
        {"signal": lambda v, B, W: v @ W},
        "random feedback is drawn, and backpropagation used",
    ),
    (
        "EPROP.3",
        eprop,
        {"signal": lambda v, B, W: -v @ B.T},
        "random feedback has the sign of the error, not of the credit",
    ),
    ("EPROP.3", eprop, {"when": -1}, "the credit meets the trace of the step before"),
    ("EPROP.3", eprop, {"steps": slice(-1)}, "the last step is missing in the sum"),
    (
        "EPROP.3",
        eprop,
        {"signal": lambda v, B, W: v @ B.T / len(v)},
        "a mean over the batch, not a sum (a factor 1/B)",
    ),
]


@cases(SPIKING)
def test_spikes(equation, function, places, expected, seed):
    """LIF, ALIF and e-prop."""
    verify(equation, function, places, expected, seed)


# ---------------------------------------------------------------------- synthetic gradients


def seen(h, y, order="hy1"):
    """z~."""
    parts = {"h": h, "y": y, "1": np.ones((len(h), 1)), "0": np.zeros((len(h), 1)), "-": 0 * y}
    return np.hstack([parts[letter] for letter in order])


def synthetic(A, h, y, *, order="hy1"):
    """sg, lane by lane."""
    return [A @ row for row in seen(h, y, order)]


def learn(
    A,
    frozen,
    before,
    q,
    J,
    h,
    y,
    begins,
    learning_rate,
    *,
    says="frozen",
    turned=lambda J: J.T,
    own=1.0,
    later=lambda begins: ~begins,
    at="before",
    over=len,
    factor=1.0,
    predicted="A",
):
    """One step of least mean squares, lane by lane."""
    now, change = seen(h, y), 0 * A
    for b in range(len(h)):
        target = own * q[b]
        if later(begins)[b]:
            target = target + turned(J[b]) @ ({"frozen": frozen, "A": A}[says] @ now[b])
        off = {"A": A, "frozen": frozen}[predicted] @ before[b] - target
        change += np.outer(off, {"before": before, "now": now}[at][b])
    return A - factor * learning_rate * change / over(h)


def through_mbar(A, h, y, D, z, q, *, credit=lambda sg, q: sg, slope=lambda D: D):
    """sg times Mbar, number by number."""
    sg = credit(seen(h, y) @ A.T, q)
    g = np.zeros((h.shape[1], z.shape[1]))
    for b, i, j in np.ndindex(len(h), *g.shape):
        g[i, j] += slope(D)[b, i] * sg[b, i] * z[b, j]
    return g


GUESSED = [
    ("DNI.1", synthetic, {}, ()),
    ("DNI.1", synthetic, {"order": "h-1"}, "the synthetic gradient does not see the target"),
    ("DNI.1", synthetic, {"order": "hy0"}, "the synthetic gradient has no bias"),
    ("DNI.1", synthetic, {"order": "yh1"}, "h and y are exchanged in the regressor of a synthetic gradient"),
    ("DNI.1", synthetic, {"order": "1hy"}, "the bias stands first in the regressor of a synthetic gradient"),
    ("DNI.2", learn, {}, ()),
    (
        "DNI.2",
        learn,
        {"turned": lambda J: J},
        "the target of a synthetic gradient goes through J, not through its transpose",
    ),
    (
        "DNI.2",
        learn,
        {"own": 0.0},
        "the target of a synthetic gradient leaves out the credit of its own step",
    ),
    (
        "DNI.2",
        learn,
        {"says": "A"},
        "the target of a synthetic gradient is said by A, not by its frozen copy",
    ),
    ("DNI.2", learn, {"later": np.ones_like}, "a reset sends synthetic credit into the past"),
    ("DNI.2", learn, {"later": np.zeros_like}, "the target of a synthetic gradient leaves out the future"),
    ("DNI.2", learn, {"at": "now"}, "A learns from the next regressor"),
    ("DNI.2", learn, {"over": lambda h: 1}, "A learns from the sum over the lanes, not from the mean"),
    ("DNI.2", learn, {"factor": -1.0}, "A goes away from its target"),
    ("DNI.2", learn, {"factor": 2.0}, "a factor 2 in the step of A"),
    ("DNI.2", learn, {"predicted": "frozen"}, "A learns from the error of its frozen copy"),
    (
        "DNI.2",
        learn,
        {"own": 0.0, "over": lambda h: 1},
        (
            "the target of a synthetic gradient leaves out the credit of its own step",
            "A learns from the sum over the lanes, not from the mean",
        ),
    ),
    ("DNI.3", through_mbar, {}, ()),
    (
        "DNI.3",
        through_mbar,
        {"credit": lambda sg, q: q},
        "the immediate credit meets Mbar, not the synthetic one",
    ),
    ("DNI.3", through_mbar, {"slope": np.ones_like}, "D is missing"),
    ("DNI.3", through_mbar, {"credit": lambda sg, q: -sg}, "the sign is wrong"),
]


@cases(GUESSED)
def test_synthetic_gradients(equation, function, places, expected, seed):
    """DNI."""
    verify(equation, function, places, expected, seed)
