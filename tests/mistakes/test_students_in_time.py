"""Students who wrote rules in time by themselves, with loops, einsum or matrices, right and wrong: what they are told."""

import numpy as np
import pytest

import minipc as pc
from minipc import check
from reference import temporal_loops as loops

TANH = {"activation": "tanh", "form": "post", "alpha": 1.0}


def told(function, equation, seed=0):
    """The names of the mistakes in a student's function."""
    return check.explain(function, equation, seed=seed).names


def named(name, function, equation, seed=0):
    """Is this the mistake, or one of those that are the same on these problems?"""
    found = check.explain(function, equation, seed=seed)
    assert len(found.names) == 1, str(found)
    assert name in found.alternatives[0], str(found)


def ones(h):
    """The column of the bias."""
    return np.ones((len(h), 1))


# ---------------------------------------------------------------------- one step of the cell


WRONG_STEPS = {
    "the bias is forgotten in the step": lambda W, U, b, h, u, alpha: (
        (1 - alpha) * h + alpha * np.tanh(h @ W.T + u @ U.T)
    ),
    "W is transposed in the step": lambda W, U, b, h, u, alpha: (
        (1 - alpha) * h + alpha * np.tanh(h @ W + u @ U.T + b)
    ),
    "the leaky cell keeps all of the old state": lambda W, U, b, h, u, alpha: (
        h + alpha * np.tanh(h @ W.T + u @ U.T + b)
    ),
    "alpha and 1 - alpha have changed places": lambda W, U, b, h, u, alpha: (
        alpha * h + (1 - alpha) * np.tanh(h @ W.T + u @ U.T + b)
    ),
}


@pytest.mark.parametrize("name", WRONG_STEPS)
def test_a_wrong_step_is_named(name):
    """(RNN.1) in one line."""
    named(name, WRONG_STEPS[name], "RNN.1")


def slope(W, U, b, h, u, alpha):
    """D_t."""
    return alpha * (1 - np.tanh(h @ W.T + u @ U.T + b) ** 2)


def eye(h):
    """The identity of the states."""
    return np.eye(h.shape[1])


WRONG_JACOBIANS = {
    "the leak is forgotten in J": lambda W, U, b, h, u, alpha: slope(W, U, b, h, u, alpha)[:, :, None] * W,
    "phi' multiplies the columns of W in J, not the rows": lambda W, U, b, h, u, alpha: (
        slope(W, U, b, h, u, alpha)[:, None, :] * W + (1 - alpha) * eye(h)
    ),
    "W is transposed inside of J": lambda W, U, b, h, u, alpha: (
        slope(W, U, b, h, u, alpha)[:, :, None] * W.T + (1 - alpha) * eye(h)
    ),
    "the leak rate is missing in front of phi'": lambda W, U, b, h, u, alpha: (
        slope(W, U, b, h, u, 1.0)[:, :, None] * W + (1 - alpha) * eye(h)
    ),
    "phi' is missing in the derivative of a step": lambda W, U, b, h, u, alpha: np.tile(
        alpha * W + (1 - alpha) * eye(h), (len(h), 1, 1)
    ),
    "phi' is taken from h_{t-1}": lambda W, U, b, h, u, alpha: (
        alpha * (1 - h**2)[:, :, None] * W + (1 - alpha) * eye(h)
    ),
    "phi' is taken from h_t, as if there were no leak": lambda W, U, b, h, u, alpha: (
        alpha * (1 - step_by_hand(W, U, b, h, u, alpha) ** 2)[:, :, None] * W + (1 - alpha) * eye(h)
    ),
}


def step_by_hand(W, U, b, h, u, alpha):
    """(RNN.1)."""
    return (1 - alpha) * h + alpha * np.tanh(h @ W.T + u @ U.T + b)


def jacobian_by_hand(W, U, b, h, u, alpha):
    """(RNN.4)."""
    return slope(W, U, b, h, u, alpha)[:, :, None] * W + (1 - alpha) * eye(h)


def jacobian_by_loops(params, h, u, alpha):
    """(RNN.4), every index written out."""
    block = {**TANH, "alpha": alpha}
    lanes = [(h_b, loops.rnn_step(block, params, h_b, u_b)[2]) for h_b, u_b in zip(h, u, strict=True)]
    return np.array([loops.rnn_jacobian(block, params, h_b, D) for h_b, D in lanes])


@pytest.mark.parametrize("name", WRONG_JACOBIANS)
def test_a_wrong_jacobian_is_named(name):
    """(RNN.4) in one line."""
    named(name, WRONG_JACOBIANS[name], "RNN.4")


def test_a_transposed_jacobian_is_called_that():
    """J^T for J."""

    def function(W, U, b, h, u, alpha):
        return jacobian_by_hand(W, U, b, h, u, alpha).swapaxes(1, 2)

    named("the influence is carried by the transpose of J", function, "RNN.4")


def credit(V, b, h, targets, mask, *, factor=1.0, sign=1.0, masked=True, counted=True, last=True):
    """(RNN.6) with places to go wrong."""
    error = h @ V.T + b - targets
    values = (error**2).sum(axis=2) / 2
    dy = sign * factor * error * (mask[:, :, None] if masked else 1)
    dy[-1] *= last
    return np.einsum("oi,tbo->tbi", V, dy), (values * (mask if counted else 1)).sum(axis=0)


WRONG_CREDIT = {
    "steps that do not count send credit": {"masked": False},
    "steps that do not count are in the loss": {"counted": False},
    "the credit has the wrong sign": {"sign": -1.0},
    "the last step is skipped": {"last": 0.0},
}


@pytest.mark.parametrize("name", WRONG_CREDIT)
def test_wrong_credit_is_named(name):
    """(RNN.6)."""
    named(name, lambda *given: credit(*given, **WRONG_CREDIT[name]), "RNN.6")


def test_a_factor_two_of_the_squared_error_is_named():
    """dL/dyhat = 2 (yhat - y) is that of another loss."""
    assert told(lambda *given: credit(*given, factor=2.0), "RNN.6") == ("a factor 2 too much ([0])",)


# ---------------------------------------------------------------------- forward in time


def influence(
    W,
    U,
    b,
    inputs,
    h0,
    *,
    dphi=lambda h, h_prev: 1 - h**2,
    regressor=lambda h, h_prev: h_prev,
    J=lambda D, W: np.einsum("bi,ij->bij", D, W),
    advance=lambda J, M, Mbar: np.einsum("bkr,brij->bkij", J, M) + Mbar,
    immediate=None,
    start=lambda h0: h0,
    counts=lambda t, T: True,
):
    """(RTRL.1) with places to go wrong."""
    h, (B, n), n_z = start(h0), h0.shape, len(W) + U.shape[1] + 1
    M = np.zeros((B, n, n, n_z))
    for t, u in enumerate(inputs):
        h_prev, h = h, np.tanh(h @ W.T + u @ U.T + b)
        z = np.concatenate([regressor(h, h_prev), u, ones(h)], axis=1)
        D = dphi(h, h_prev)
        Mbar = np.einsum("ki,bi,bj->bkij", np.eye(n), D, z) if immediate is None else immediate(D, z)
        M = advance(J(D, W), M, Mbar) if counts(t, len(inputs)) else M
    return M


WRONG_INFLUENCE = {
    "the recursion of the influence is dropped": {"advance": lambda J, M, Mbar: Mbar},
    "the influence is carried by the transpose of J": {
        "advance": lambda J, M, Mbar: np.einsum("brk,brij->bkij", J, M) + Mbar
    },
    "the influence decays by 0.999": {
        "advance": lambda J, M, Mbar: 0.999 * np.einsum("bkr,brij->bkij", J, M) + Mbar
    },
    "J is missing: the influence only adds up": {"advance": lambda J, M, Mbar: M + Mbar},
    "the immediate term goes through J as well": {
        "advance": lambda J, M, Mbar: np.einsum("bkr,brij->bkij", J, M + Mbar)
    },
    "phi' multiplies the columns of W in J, not the rows": {"J": lambda D, W: np.einsum("bj,ij->bij", D, W)},
    "W is transposed inside of J": {"J": lambda D, W: np.einsum("bi,ji->bij", D, W)},
    "phi' is missing in the derivative of a step": {"dphi": lambda h, h_prev: 1 + 0 * h},
    "tanh' is written 1 - mu": {"dphi": lambda h, h_prev: 1 - h},
    "tanh' is taken at mu instead of a": {"dphi": lambda h, h_prev: 1 - np.tanh(h) ** 2},
    "phi' is taken from h_{t-1}": {"dphi": lambda h, h_prev: 1 - h_prev**2},
    "the recurrent weights learn from h_t, not from h_{t-1}": {"regressor": lambda h, h_prev: h},
    "the immediate term moves every unit (the [k = i] is missing)": {
        "immediate": lambda D, z: np.repeat((D[:, :, None] * z[:, None])[:, None], D.shape[1], axis=1)
    },
    "a sequence of states begins at zero, not at h_0": {"start": lambda h0: 0 * h0},
    "the first step does not reach the influence": {"counts": lambda t, T: t > 0},
    "the last step does not reach the influence": {"counts": lambda t, T: t < T - 1},
    "the immediate term stands outside of phi'": {
        "immediate": lambda D, z: np.einsum("ki,bi,bj->bkij", np.eye(D.shape[1]), 1 + 0 * D, z)
    },
}


@pytest.mark.parametrize("name", WRONG_INFLUENCE)
@pytest.mark.parametrize("seed", [0, 11])
def test_a_wrong_influence_is_named(name, seed):
    """(RTRL.1), one place of the student's own function is wrong."""
    named(
        name,
        lambda W, U, b, inputs, h0: influence(W, U, b, inputs, h0, **WRONG_INFLUENCE[name]),
        "RTRL.1",
        seed,
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the influence is carried by the transpose of J", "tanh' is written 1 - mu"),
        (
            "the recursion of the influence is dropped",
            "the recurrent weights learn from h_t, not from h_{t-1}",
        ),
        ("W is transposed inside of J", "phi' is taken from h_{t-1}"),
        ("J is missing: the influence only adds up", "the immediate term stands outside of phi'"),
    ],
)
def test_two_wrong_places_are_both_named(first, second):
    """Two at once."""
    options = WRONG_INFLUENCE[first] | WRONG_INFLUENCE[second]
    assert set(told(lambda W, U, b, inputs, h0: influence(W, U, b, inputs, h0, **options), "RTRL.1")) == {
        first,
        second,
    }


def test_what_matches_nothing_says_so_and_shows_a_small_problem():
    """A decay by 0.9 is no mistake that has a name."""
    advance = {"advance": lambda J, M, Mbar: 0.9 * np.einsum("bkr,brij->bkij", J, M) + Mbar}
    found = check.explain(lambda W, U, b, inputs, h0: influence(W, U, b, inputs, h0, **advance), "RTRL.1")
    assert found.verdict == "unknown"
    assert found.names == ()
    assert "T = 2" in found.smallest


def rtrl(
    params,
    inputs,
    targets,
    h0,
    *,
    credit_at=lambda t: t,
    read_before=False,
    add=lambda total, new: total + new,
    scale=1.0,
    sign=1.0,
    first=0,
):
    """The whole rule, (RTRL.2), with places to go wrong."""
    p, r = params
    n, m = p["U"].shape
    M_0 = influence(**p, inputs=inputs[:0], h0=h0)
    M, states, h = [M_0], [h0], h0
    for t in range(len(inputs)):
        M.append(influence(**p, inputs=inputs[: t + 1], h0=h0))
        h = np.tanh(h @ p["W"].T + inputs[t] @ p["U"].T + p["b"])
        states.append(h)
    dy = [sign * (h @ r["W"].T + r["b"] - y) for h, y in zip(states[1:], targets, strict=True)]
    total, V, c = 0.0, 0.0, 0.0
    for t in range(first, len(inputs)):
        q = dy[credit_at(t)] @ r["W"]
        total = add(total, np.einsum("bk,bkij->ij", q, M[t] if read_before else M[t + 1]))
        V, c = V + dy[t].T @ states[t + 1], c + dy[t].sum(axis=0)
    W, U, b = scale * total[:, :n], scale * total[:, n : n + m], scale * total[:, n + m]
    return [{"W": W, "U": U, "b": b}, {"W": scale * V, "b": scale * c}]


WRONG_RTRL = {
    "the influence is read before it is advanced": {"read_before": True},
    "the credit is that of the step before": {"credit_at": lambda t: max(t - 1, 0)},
    "the gradients of the steps overwrite each other (= for +=): the last one remains": {
        "add": lambda total, new: new
    },
    "the credit has the wrong sign": {"sign": -1.0},
}


@pytest.mark.parametrize("name", WRONG_RTRL)
def test_a_wrong_rtrl_is_named(name):
    """(RTRL.2), the whole rule."""
    named(
        name,
        lambda params, inputs, targets, h0: rtrl(params, inputs, targets, h0, **WRONG_RTRL[name]),
        "RTRL.2",
    )


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (lambda inputs: 1 / inputs.shape[1], "the gradient is a mean over the lanes, not a sum"),
        (lambda inputs: 1 / len(inputs), "the gradient is a mean over time, not a sum"),
        (lambda inputs: 2.0, "a factor 2 too much"),
    ],
)
def test_a_scaled_gradient_is_named(of, name):
    """Means for sums."""
    function = lambda params, inputs, targets, h0: rtrl(params, inputs, targets, h0, scale=of(inputs))  # noqa: E731
    found = check.explain(function, "RTRL.2")
    assert name in (*found.names, *(found.alternatives[0] if found.alternatives else ()))


# ---------------------------------------------------------------------- backward in time


def bptt(
    params,
    inputs,
    targets,
    h0,
    *,
    slope=lambda a, a_next: 1 - np.tanh(a) ** 2,
    back=lambda delta, W: delta @ W,
    through=lambda slope, p: slope * p,
    regressor=lambda h, t: h[t],
    counts=lambda t, T: True,
    only=None,
    carried=1.0,
    cut=None,
    bias="all",
    first=0,
    start=1.0,
):
    """The whole rule, (BPTT.1), with places to go wrong."""
    p, r = params
    T, h, a = len(inputs), [start * h0], []
    for u in inputs:
        a.append(h[-1] @ p["W"].T + u @ p["U"].T + p["b"])
        h.append(np.tanh(a[-1]))
    dy = [h[t + 1] @ r["W"].T + r["b"] - targets[t] for t in range(T)]
    g = dict.fromkeys(p, 0.0)
    later = np.zeros_like(h0)
    for t in reversed(range(first, T)):
        total = carried * later + (dy[t] @ r["W"] if counts(t, T) else 0.0)
        delta = slope(a[t], a[min(t + 1, T - 1)]) * total
        if only is None:
            g["W"], g["U"] = g["W"] + delta.T @ regressor(h, t), g["U"] + delta.T @ inputs[t]
            g["b"] = g["b"] + delta.sum(axis=0) if bias == "all" or t + 1 == T else g["b"]
        else:
            g = {"W": delta.T @ h[t], "U": delta.T @ inputs[t], "b": delta.sum(axis=0)}
        later = back(through(slope(a[t], a[min(t + 1, T - 1)]), total), p["W"])
        if cut is not None and t % cut == 0:
            later = 0 * later
    readout = {"W": sum(d.T @ s for d, s in zip(dy, h[1:], strict=True)), "b": sum(d.sum(axis=0) for d in dy)}
    return [g, readout]


WRONG_BPTT = {
    "the credit travels back through W, not through its transpose": {"back": lambda delta, W: delta @ W.T},
    "no credit travels back in time": {"carried": 0.0},
    "phi' is missing on the way back in time": {"through": lambda slope, p: p},
    "phi' is missing in the derivative of a step": {"slope": lambda a, a_next: 1 + 0 * a},
    "only the loss of the last step sends credit": {"counts": lambda t, T: t + 1 == T},
    "the recurrent weights learn from h_t, not from h_{t-1}": {"regressor": lambda h, t: h[t + 1]},
    "tanh' is taken at mu instead of a": {"slope": lambda a, a_next: 1 - np.tanh(np.tanh(a)) ** 2},
    "the bias learns from the last step only": {"bias": "last"},
    "the first step does not learn (a loop back in time that ends too early)": {"first": 1},
    "the initial state is not used: every sequence begins at zero": {"start": 0.0},
    "the gradients of the steps overwrite each other (= for +=): the first one remains": {"only": "first"},
}


@pytest.mark.parametrize("name", WRONG_BPTT)
def test_a_wrong_bptt_is_named(name):
    """(BPTT.1), the whole rule."""
    named(
        name,
        lambda params, inputs, targets, h0: bptt(params, inputs, targets, h0, **WRONG_BPTT[name]),
        "BPTT.1",
    )


def test_truncation_in_pieces_is_not_that_of_a_window():
    """What most programs do under the name of truncated BPTT."""

    def function(params, inputs, targets, h0, steps):
        return bptt(params, inputs, targets, h0, cut=steps)

    named("the sequence is cut into pieces of k steps, and no credit crosses a cut", function, "BPTT.4")


# ---------------------------------------------------------------------- cells with gates, diagonal cells


def sigmoid(a):
    """1 / (1 + e^-a)."""
    return 1 / (1 + np.exp(-a))


def gru_jacobian(
    W, U, b, h, u, *, direct=lambda z: z, D_r=lambda Dc, s, r: Dc * s * r * (1 - r), D_z=None, in_c=None
):
    """(GRU.2) with places to go wrong."""
    n = h.shape[1]
    W_r, W_z, W_c = W.reshape(3, n, n)
    a = u @ U.T + b
    r, z = sigmoid(a[:, :n] + h @ W_r.T), sigmoid(a[:, n : 2 * n] + h @ W_z.T)
    s = h @ W_c.T
    c = np.tanh(a[:, 2 * n :] + r * s)
    Dc = (1 - z) * (1 - c**2)
    Dz = (h - c) * z * (1 - z) if D_z is None else D_z(h, c, z)
    J = D_r(Dc, s, r)[:, :, None] * W_r + Dz[:, :, None] * W_z
    J = J + ((Dc * r) if in_c is None else in_c(Dc, r))[:, :, None] * W_c
    return J + direct(z)[:, :, None] * np.eye(n)


WRONG_GRU = {
    "the old state passes with 1 - z": {"direct": lambda z: 1 - z},
    "the old state does not pass on beside the weights": {"direct": lambda z: 0 * z},
    "the reset gate does not know what it lets through": {"D_r": lambda Dc, s, r: Dc * r * (1 - r)},
    "the update gate is pulled to the candidate, not to the past": {
        "D_z": lambda h, c, z: (c - h) * z * (1 - z)
    },
    "the reset gate is missing behind the recurrent weights": {"in_c": lambda Dc, r: Dc},
}


@pytest.mark.parametrize("name", WRONG_GRU)
def test_a_wrong_gru_is_named(name):
    """(GRU.2)."""
    named(name, lambda W, U, b, h, u: gru_jacobian(W, U, b, h, u, **WRONG_GRU[name]), "GRU.2")


def lru_traces(
    params,
    inputs,
    h0,
    *,
    before=True,
    carry=lambda zeta: zeta,
    gam_of=np.exp,
    B_scale=None,
    phase=lambda th: np.exp(th),
    driven=lambda gam: 1.0,
):
    """(LRU.6) with places to go wrong."""
    p = params
    zeta = np.exp(-np.exp(p["nu"]) + 1j * phase(p["th"]))
    gam, B, h = gam_of(p["lg"]), p["B_re"] + 1j * p["B_im"], h0
    ez, eg, EB = np.zeros_like(h0), np.zeros_like(h0), np.zeros((*h0.shape, B.shape[1]), complex)
    for u in inputs:
        new = zeta * h + gam * (u @ B.T)
        ez = carry(zeta) * ez + (h if before else new)
        eg = carry(zeta) * eg + driven(gam) * (u @ B.T)
        EB = carry(zeta)[:, None] * EB + (gam if B_scale is None else B_scale(p))[:, None] * u[:, None, :]
        h = new
    return ez, eg, EB


WRONG_LRU = {
    "the trace of zeta takes h_t, not h_{t-1}": {"before": False},
    "the trace of B is driven by the logarithm of gamma": {"B_scale": lambda p: p["lg"]},
    "the traces are carried by the conjugate of zeta": {"carry": np.conj},
    "the traces of the LRU are not carried on": {"carry": lambda zeta: 0 * zeta},
    "the phase is theta, not exp(theta)": {"phase": lambda th: th},
    "the trace of gamma is driven by gamma B u": {"driven": lambda gam: gam},
}


@pytest.mark.parametrize("name", WRONG_LRU)
def test_wrong_traces_of_an_lru_are_named(name):
    """(LRU.6)."""
    named(name, lambda params, inputs, h0: lru_traces(params, inputs, h0, **WRONG_LRU[name]), "LRU.6")


def rtu_traces(
    params, inputs, h0, *, w=np.exp, slope=lambda h: 1 - h**2, turn=1.0, at_once=True, gamma=True, cross=1.0
):
    """(RTU.4) with places to go wrong."""
    r, angle, n = np.exp(-np.exp(params["nu"])), np.exp(params["th"]), len(params["nu"])
    g, s, gam, rate = r * np.cos(angle), r * np.sin(angle), np.sqrt(1 - r**2), np.exp(params["nu"])
    found = {name: np.zeros((len(h0), 2, *np.shape(v))) for name, v in params.items()}
    h = [h0[:, :n], h0[:, n:]]
    for u in inputs:
        x = u @ params["W1"].T, u @ params["W2"].T
        new = [np.tanh(g * h[0] - s * h[1] + gam * x[0]), np.tanh(g * h[1] + s * h[0] + gam * x[1])]
        added = {
            "nu": [
                -rate * g * h[0] + rate * s * h[1] + gamma * rate * r**2 / gam * x[0],
                -rate * g * h[1] - rate * s * h[0] + gamma * rate * r**2 / gam * x[1],
            ],
            "th": [-w(params["th"]) * (s * h[0] + g * h[1]), w(params["th"]) * (g * h[0] - s * h[1])],
            "W1": [gam[:, None] * u[:, None], 0.0],
            "W2": [0.0, gam[:, None] * u[:, None]],
        }
        for name, (A1, A2) in added.items():
            wide = (lambda v: v[..., None]) if name in ("W1", "W2") else (lambda v: v)
            t1, t2 = found[name][:, 0], found[name][:, 1]
            first = wide(slope(new[0])) * (wide(g) * t1 - turn * cross * wide(s) * t2 + A1)
            seen = t1 if at_once else first
            second = wide(slope(new[1])) * (wide(g) * t2 + turn * cross * wide(s) * seen + A2)
            found[name] = np.stack([first, second], axis=1)
        h = new
    return found


WRONG_RTU = {
    "exp(theta) is missing in the derivative of the rotation": {"w": np.ones_like},
    "nu does not reach gamma": {"gamma": False},
    "the sine has the wrong sign in the Jacobian": {"turn": -1.0},
    "each trace of a pair follows itself alone": {"cross": 0.0},
    "the second trace of a pair follows the new first one": {"at_once": False},
}


@pytest.mark.parametrize("name", WRONG_RTU)
def test_wrong_traces_of_an_rtu_are_named(name):
    """(RTU.4)."""
    named(name, lambda params, inputs, h0: rtu_traces(params, inputs, h0, **WRONG_RTU[name]), "RTU.4")


def elstm_traces(params, inputs, h0, *, own=lambda new, old: old, k=None, A_f=None, A_z=None, peephole=True):
    """(ELSTM.3) with places to go wrong."""
    p, c = params, h0
    found = {name: np.zeros((len(h0), *np.shape(v))) for name, v in p.items()}
    for u in inputs:
        z = np.tanh(u @ p["Wz"].T + p["wz"] * c + p["bz"])
        f = sigmoid(u @ p["Wf"].T + p["wf"] * c + p["bf"])
        new = f * c + (1 - f) * z
        seen = own(new, c)
        A = {"z": (1 - f) * (1 - z**2) if A_z is None else A_z(f, z)}
        A["f"] = (seen - z) * f * (1 - f) if A_f is None else A_f(seen, z, f)
        kappa = f + A["z"] * p["wz"] + A["f"] * p["wf"] if k is None else k(f, A, p)
        for x, A_x in A.items():
            found[f"W{x}"] = kappa[:, :, None] * found[f"W{x}"] + A_x[:, :, None] * u[:, None]
            found[f"w{x}"] = kappa * found[f"w{x}"] + A_x * (seen if peephole else 1.0)
            found[f"b{x}"] = kappa * found[f"b{x}"] + A_x
        c = new
    return found


WRONG_ELSTM = {
    "k is the forget gate alone": {"k": lambda f, A, p: f},
    "k forgets the way through the forget gate": {"k": lambda f, A, p: f + A["z"] * p["wz"]},
    "the traces of a diagonal cell are not carried on": {"k": lambda f, A, p: 0 * f},
    "the forget gate is pulled the wrong way": {"A_f": lambda c, z, f: (z - c) * f * (1 - f)},
    "1 - f is missing in A_z": {"A_z": lambda f, z: 1 - z**2},
    "tanh' is missing in A_z": {"A_z": lambda f, z: 1 - f},
    "the traces take c_t, not c_{t-1}": {"own": lambda new, old: new},
    "the peephole learns as if it were a bias": {"peephole": False},
}


@pytest.mark.parametrize("name", WRONG_ELSTM)
def test_wrong_traces_of_an_elstm_are_named(name):
    """(ELSTM.3)."""
    named(name, lambda params, inputs, h0: elstm_traces(params, inputs, h0, **WRONG_ELSTM[name]), "ELSTM.3")


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (
            lambda C_re, C_im, dy: dy @ (C_re - 1j * C_im),
            "the credit of the LRU is delta, the conjugate is missing",
        ),
        (lambda C_re, C_im, dy: -dy @ (C_re + 1j * C_im), "the sign is wrong"),
        (lambda C_re, C_im, dy: dy @ (C_re + 0j * C_im), None),
    ],
)
def test_wrong_credit_of_an_lru(function, name):
    """(LRU.5): delta for q, the sign, and what has no name."""
    assert told(function, "LRU.5") == ((name,) if name else ())


# ---------------------------------------------------------------------- right ones, written otherwise


def rnn_by_loops(params, inputs, targets, h0):
    """BPTT with every index written out: the loops of ``reference``."""
    p, r = params
    states, h = [], h0
    for u in inputs:
        lanes = zip(h, u, strict=True)
        h = np.array([loops.rnn_step(TANH, p, h_b, u_b)[0] for h_b, u_b in lanes])
        states.append(h)
    dy = loops.output_credit("mse", np.array(states) @ r["W"].T + r["b"], targets)
    grads, _, _ = loops.rnn_bptt(TANH, p, inputs, dy @ r["W"], h0)
    return [grads, {"W": np.einsum("tbo,tbi->oi", dy, states), "b": dy.sum(axis=(0, 1))}]


def influence_backwards(W, U, b, inputs, h0):
    """(RTRL.1) as a product of Jacobians from the end, one lane after the other."""
    n, m, states = *U.shape, [h0]
    for u in inputs:
        states.append(np.tanh(states[-1] @ W.T + u @ U.T + b))
    M = np.zeros((len(h0), n, n, n + m + 1))
    for lane in range(len(h0)):
        R = np.eye(n)
        for t in reversed(range(len(inputs))):
            D, z = 1 - states[t + 1][lane] ** 2, np.r_[states[t][lane], inputs[t, lane], 1.0]
            M[lane] += (R * D)[:, :, None] * z
            R = R @ np.diag(D) @ W
    return M


def truncated_by_windows(params, inputs, targets, h0, steps):
    """(BPTT.4): one BPTT for every loss, on the last steps alone."""
    p, states, total = params[0], [h0], None
    for u in inputs:
        states.append(np.tanh(states[-1] @ p["W"].T + u @ p["U"].T + p["b"]))
    for t in range(len(inputs)):
        first = max(0, t - steps + 1)
        g = bptt(
            params,
            inputs[first : t + 1],
            targets[first : t + 1],
            states[first],
            counts=lambda t, T: t + 1 == T,
        )
        last = bptt(params, inputs[t : t + 1], targets[t : t + 1], states[t])
        g = [g[0], last[1]]
        total = g if total is None else [{k: q[k] + v[k] for k in q} for q, v in zip(total, g, strict=True)]
    return total


def by_lanes(jacobians):
    """J of one lane after the other."""
    return lambda params, h, u: np.array([jacobians(params, *lane)[0] for lane in zip(h, u, strict=True)])


RIGHT = {
    "RNN.1": [step_by_hand],
    "RNN.4": [jacobian_by_hand, jacobian_by_loops],
    "RNN.6": [credit],
    "RTRL.1": [influence, influence_backwards],
    "RTRL.2": [rtrl, bptt, rnn_by_loops, pc.bptt.gradient, pc.rtrl.gradient],
    "BPTT.1": [bptt, rtrl, rnn_by_loops, pc.bptt.gradient, pc.rtrl.gradient],
    "BPTT.4": [truncated_by_windows, pc.bptt.truncated],
    "GRU.2": [gru_jacobian, by_lanes(loops.gru_jacobians)],
    "LSTM.2": [by_lanes(loops.lstm_jacobians)],
    "LRU.5": [lambda C_re, C_im, dy: dy @ (C_re + 1j * C_im)],
    "LRU.6": [lru_traces],
    "RTU.4": [rtu_traces],
    "ELSTM.3": [elstm_traces],
    "STACK.3": [pc.bptt.gradient, pc.rtrl.gradient],
    "STACK.5": [pc.bptt.gradient],
    "STACK.6": [pc.bptt.gradient],
}


@pytest.mark.parametrize(("equation", "function"), [(e, f) for e, found in RIGHT.items() for f in found])
@pytest.mark.parametrize("seed", range(3))
def test_right_ones_are_correct_however_they_are_written(equation, function, seed):
    """Matrices, einsum, index loops, backwards for forwards."""
    found = check.explain(function, equation, seed=seed)
    assert found.correct, str(found)
    assert found.names == ()


def test_a_dict_in_another_order_is_as_right_or_wrong():
    """Names, not places, say which array of a dict is which."""

    def backwards(function, sign=1.0):
        def student(params, q, e_zeta, e_gamma):
            zeta, gam = np.exp(-np.exp(params["nu"]) + 1j * np.exp(params["th"])), np.exp(params["lg"])
            g = function(params, zeta, gam, q, e_zeta, e_gamma)
            return {"lg": sign * g["lg"], "th": g["th"], "nu": g["nu"]}

        return student

    def modes(p, zeta, gam, q, ez, eg):
        return {
            "nu": (q * ez * -np.exp(p["nu"]) * zeta).real.sum(axis=0),
            "th": (q * ez * 1j * np.exp(p["th"]) * zeta).real.sum(axis=0),
            "lg": gam * (q * eg).real.sum(axis=0),
        }

    assert check.explain(backwards(modes), "LRU.7").correct
    assert told(backwards(modes, -1.0), "LRU.7") == ("the sign is wrong (lg)",)
