"""Students who wrote temporal predictive coding by themselves, right and wrong: what they are told."""

import numpy as np
import pytest

import minipc
from minipc import check, tpc
from minipc.exercises import EXERCISES, Draw
from reference import tpc_indices as indices
from reference import tpc_loops as loops
from reference.temporal_oracles import pairs
from reference.temporal_problems import Sequence


def told(function, equation, seed=0):
    """The names of the mistakes in a student's function."""
    return check.explain(function, equation, seed=seed).names


def hands_in(function, **options):
    """The same function with one place of it wrong; the other parameters keep their names."""

    def student(*given):
        return function(*given, **options)

    return student


# ---------------------------------------------------------------------- (tPC.2), sample by sample


def energy(s, z, mu, y, V1, d1, V2, d2, Pi, Pi1, beta, *, half=0.5, loss=0.5, readout=1.0, weigh=None):
    """F_t in loops over samples."""
    weigh = weigh or (lambda e, P: sum(P[i] * e[i] ** 2 for i in range(len(e))))
    found = []
    for b in range(len(s)):
        first = weigh(s[b] - mu[b], Pi)
        second = weigh(z[b] - np.tanh(V1 @ s[b] + d1), Pi1)
        last = V2 @ z[b] + d2 - y[b]
        found.append(half * (first + readout * second) + beta * loss * (last @ last))
    return np.array(found)


WRONG_ENERGY = [
    ({"half": 1.0}, ("the energy lacks the factor 1/2",)),
    ({"loss": 1.0}, ("the output error is counted twice in the energy",)),
    ({"half": 1.0, "loss": 1.0}, ("a factor 2 too much",)),
    ({"weigh": lambda e, P: e @ e}, ("the precisions of the states are forgotten",)),
    ({"weigh": lambda e, P: (e * e / P).sum()}, ("the precisions of the states are inverted",)),
]


@pytest.mark.parametrize(("options", "names"), WRONG_ENERGY)
def test_energy_of_a_step(options, names):
    """Factors and precisions."""
    assert told(hands_in(energy, **options), "tPC.2") == names


def test_beta_in_the_energy():
    """Forgotten; on everything; on the errors of the readout too."""
    assert told(lambda *v: energy(*v[:-1], 1.0), "tPC.2") == ("beta is forgotten: the loss counts whole",)
    everywhere = told(lambda *v: v[-1] * np.array(energy(*v[:-1], 1.0)), "tPC.2")
    assert everywhere == ("the errors of the states are not divided by beta",)
    readout = told(lambda *v: energy(*v, readout=v[-1]), "tPC.2")
    assert readout == ("beta weighs the errors of the readout too",)


# ---------------------------------------------------------------------- (tPC.4), (tPC.5), (tPC.8), (tPC.11)


def descend(
    s,
    mu,
    y,
    V,
    d,
    Pi,
    Pi_y,
    beta,
    inference_steps,
    step_size,
    *,
    down=None,
    own=None,
    error=None,
    step=-1.0,
    short=0,
):
    """Descent on F_t in einsum, the readout in pre form."""
    own = own or (lambda eps: Pi * eps)
    error = error or (lambda e: Pi_y * e)
    down = down or (lambda s, mu, e: (1 - np.tanh(s) ** 2) * np.einsum("oi,bo->bi", V, e))
    for _ in range(inference_steps - short):
        e = error(y - np.tanh(s) @ V.T - d)
        s = s + step * step_size * (own(s - mu) - beta * down(s, mu, e))
    return s


def right_descent(s, mu, y, V, d, Pi, Pi_y, beta, inference_steps, step_size):
    """The right one."""
    return descend(s, mu, y, V, d, Pi, Pi_y, beta, inference_steps, step_size)


def wrong_descent(s, mu, y, V, d, Pi, Pi_y, beta, inference_steps, step_size, kind):
    """One place of it is wrong."""
    phi = lambda x: 1 - np.tanh(x) ** 2  # noqa: E731
    options = {
        "phi'": {"down": lambda s, mu, e: e @ V},
        "point": {"down": lambda s, mu, e: phi(mu) * (e @ V)},
        "1 - mu": {"down": lambda s, mu, e: (1 - np.tanh(s)) * (e @ V)},
        "sign": {"down": lambda s, mu, e: -phi(s) * (e @ V)},
        "none": {"down": lambda s, mu, e: 0 * s},
        "own": {"own": lambda eps: eps},
        "own inverted": {"own": lambda eps: eps / Pi},
        "error": {"error": lambda e: e},
        "up": {"step": 1.0},
        "short": {"short": 1},
        "mean": {"step": -1.0 / len(s)},
    }[kind]
    return descend(s, mu, y, V, d, Pi, Pi_y, beta, inference_steps, step_size, **options)


WRONG_DESCENT = {
    "phi'": "phi' is missing (pre form)",
    "point": "the derivative is taken at the prediction, not at the state",
    "1 - mu": "tanh' is written 1 - mu",
    "sign": "the top-down term has the wrong sign",
    "none": "the top-down term is missing",
    "own": "inference knows nothing of the precision of the state",
    "own inverted": "the precisions of the states are inverted",
    "error": "the precision is missing in the top-down term",
    "up": "inference climbs the energy",
    "short": "inference is one step short",
    "mean": "the energy is a batch mean during inference",
}


@pytest.mark.parametrize("kind", WRONG_DESCENT)
@pytest.mark.parametrize("seed", [0, 21])
def test_a_wrong_step_of_inference_is_named(kind, seed):
    """One place of the student's own loop."""
    names = told(lambda *v: wrong_descent(*v, kind), "tPC.4", seed)
    assert names == (WRONG_DESCENT[kind],)


def test_beta_in_inference():
    """Forgotten in the loss; and a step of F/beta."""
    forgotten = told(lambda *v: descend(*v[:7], 1.0, *v[8:]), "tPC.4")
    assert forgotten == ("beta is forgotten: the loss counts whole",)
    longer = told(lambda *v: descend(*v[:9], v[9] / v[7]), "tPC.4")
    assert longer == ("the step of inference forgets beta",)


def test_the_transpose_found_in_public_code_is_looked_at_with_equal_widths():
    """V^T (phi' e) in the place of phi' (V^T e): it cannot be computed unless state and output have one size."""
    down = lambda V: lambda s, mu, e: (e * (1 - np.tanh(s) ** 2)) @ V.T  # noqa: E731
    found = check.explain(lambda *v: descend(*v, down=down(v[3])), "tPC.4")
    assert "raises ValueError" in str(found) or found.names


def infer(
    c, mu, y, seen, V, d, Pi, beta, inference_steps, step_size, start, *, begin=None, zero=True, rest=True
):
    """From a prediction or a carried state, sample by sample."""
    begin, found = begin or start, []
    for b in range(len(mu)):
        s = c[b] if begin == "previous" and (seen[b] or not rest) else mu[b]
        for _ in range(inference_steps):
            q = V.T @ (V @ s + d - y[b]) * (seen[b] if zero else 1.0)
            s = s - step_size * (Pi * (s - mu[b]) + beta * q)
        found.append(s)
    return np.array(found)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ()),
        (
            {"begin": "prediction"},
            ("inference starts at the prediction where the carried state is asked for",),
        ),
        ({"rest": False}, ("a state that is not observed stays where inference starts",)),
        ({"zero": False}, ("a state that is not observed moves",)),
    ],
)
def test_start_of_inference(options, names):
    """Where it begins, and where nothing is observed."""
    assert told(hands_in(infer, **options), "tPC.5") == names


def test_right_inference_is_correct_in_every_exercise():
    """Of the same loop: (tPC.4), (tPC.5), and in the coordinates of the output (tPC.11)."""

    def in_output(mu, y, seen, V, d, pi, beta, inference_steps, step_size):
        n = mu.shape[1]
        options = (pi * np.ones(n), beta, inference_steps, step_size, "prediction")
        return infer(mu, mu, y, seen, V, d, *options)

    for seed in range(4):
        assert check.explain(right_descent, "tPC.4", seed=seed).correct
        assert check.explain(infer, "tPC.5", seed=seed).correct
        assert check.explain(in_output, "tPC.11", seed=seed).correct


def in_output(mu, y, seen, V, d, pi, beta, inference_steps, step_size, *, decay=True, moves=True):
    """(tPC.11) as it is written."""
    w, first = np.zeros_like(y), mu @ V.T + d
    for _ in range(inference_steps):
        xi = seen[:, None] * (y - first - (w @ (V @ V.T) if moves else 0))
        w = w - step_size * ((pi * w if decay else 0) - beta * xi)
    return mu + w @ V


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ()),
        ({"decay": False}, ("the shortcut through the outputs forgets that the error decays",)),
        (
            {"moves": False},
            ("the shortcut through the outputs takes the error of the first step at every step",),
        ),
    ],
)
def test_inference_in_the_coordinates_of_the_output(options, names):
    """The same numbers."""
    assert told(hands_in(in_output, **options), "tPC.11") == names


def unobserved(mu, y, seen, M, V, d, Pi, beta, inference_steps, step_size, *, damps=None, moves=None):
    """State and influence of each sample."""
    states, influence = [], []
    for b in range(len(mu)):
        w = float(seen[b] if moves is None else moves)
        states.append(
            infer(
                mu[b : b + 1],
                mu[b : b + 1],
                y[b : b + 1],
                [w],
                V,
                d,
                Pi,
                beta,
                inference_steps,
                step_size,
                "x",
            )[0]
        )
        H = np.diag(Pi) + (seen[b] if damps is None else damps) * beta * V.T @ V
        influence.append(np.linalg.inv(H) @ (Pi[:, None] * M[b]))
    return np.array(states), np.array(influence)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ()),
        ({"damps": 1.0}, ("a masked step still damps",)),
        ({"moves": 1.0}, ("of masked channels only the loss is masked, not the error",)),
        ({"moves": 1.0, "damps": 1.0}, ("a state that is not observed moves",)),
    ],
)
def test_where_nothing_is_observed(options, names):
    """Neither moved nor damped."""
    assert told(hands_in(unobserved, **options), "tPC.8") == names


# ---------------------------------------------------------------------- (tPC.7), (TPR.2)-(TPR.5): a loop over time


def learn(
    inputs,
    targets,
    h0,
    W,
    U,
    b,
    V,
    d,
    Pi,
    beta,
    inference_steps,
    step_size,
    *,
    history=True,
    credit=None,
    at="c",
    slope=None,
    carry="s",
    readout="s",
    scale=1.0,
    recursion=None,
    stale=False,
):
    """tPC-RTRL sample by sample, M in (n, n, n + m + 1); places to go wrong."""
    (n, m), T, B = U.shape, *inputs.shape[:2]
    Theta, total = np.zeros((n, n + m + 1)), {"V": np.zeros_like(V), "d": np.zeros_like(d)}
    for i in range(B):
        c, free, M = h0[i], h0[i], np.zeros((n, n, n + m + 1))
        for t in range(T):
            mu = np.tanh(W @ c + U @ inputs[t, i] + b)
            s = old = mu
            for _ in range(inference_steps):
                old, s = s, s - step_size * (Pi * (s - mu) + beta * V.T @ (V @ s + d - targets[t, i]))
            D = (slope or (lambda mu: 1 - mu**2))(mu)
            z = np.concatenate([{"c": c, "s": s, "mu": mu, "free": free}[at], inputs[t, i], [1.0]])
            Mbar = np.einsum("ki,i,j->kij", np.eye(n), D, z)
            J = D[:, None] * W
            past = np.einsum("km,mij->kij", J if recursion != "transposed" else J.T, M)
            M = Mbar + past * history
            eps = (old if stale else s) - mu
            q = -Pi * eps / beta if credit is None else credit(Pi, eps, beta)
            Theta += np.einsum("k,kij->ij", q, M)
            r = {"s": s, "mu": mu}[readout]
            e = V @ (old if stale else r) + d - targets[t, i]
            total["V"] += scale * np.outer(e, r)
            total["d"] += scale * e
            free = mu
            c = s if carry == "s" else mu
    return {"d": total["d"], "V": total["V"], "b": Theta[:, -1], "U": Theta[:, n:-1], "W": Theta[:, :n]}


WRONG_LEARNING = [
    ({"credit": lambda Pi, eps, beta: Pi * eps / beta}, "the credit of the state has the sign of its error"),
    ({"credit": lambda Pi, eps, beta: -Pi * eps}, "the credit is not divided by beta"),
    ({"credit": lambda Pi, eps, beta: -eps / beta}, "the credit lacks the precision"),
    ({"at": "mu"}, "the recurrent weights learn from h_t, not from h_{t-1}"),
    ({"at": "s"}, "the recurrent weights learn from the inferred state of their own step"),
    ({"slope": lambda mu: 1 + 0 * mu}, "phi' is missing in the derivative of a step"),
    ({"slope": lambda mu: 1 - mu}, "tanh' is written 1 - mu"),
    ({"slope": lambda mu: 1 - np.tanh(mu) ** 2}, "tanh' is taken at mu instead of a"),
    ({"carry": "mu"}, "the carries are swapped"),
    ({"readout": "mu"}, "the readout learns at the prediction, not at the inferred state"),
]


@pytest.mark.parametrize(("options", "name"), WRONG_LEARNING)
@pytest.mark.parametrize("equation", ["tPC.7", "TPR.3"])
def test_a_wrong_gradient_is_named(options, name, equation):
    """Without and with a history."""
    function = hands_in(learn, history=equation == "TPR.3", **options)
    found = check.explain(function, equation)
    assert len(found.names) == 1, str(found)
    assert name in found.alternatives[0]


@pytest.mark.parametrize(
    ("equation", "options", "name"),
    [
        ("tPC.7", {"history": True}, "tPC learns as if the carried state had a history"),
        ("TPR.3", {"history": False}, "the recursion of the influence is dropped"),
        ("TPR.3", {"recursion": "transposed"}, "the influence is carried by the transpose of J"),
        (
            "tPC.7",
            {"history": False, "stale": True},
            "the errors are those of the state before the last step",
        ),
    ],
)
def test_what_history_does(equation, options, name):
    """Too much of it, none, or the wrong way; and what errors those are."""
    found = check.explain(hands_in(learn, **options), equation)
    assert len(found.names) == 1, str(found)
    assert name in found.alternatives[0]


def test_the_readout_of_F():
    """The gradient of F_t where that of F_t/beta is asked for."""
    found = told(lambda *v: learn(*v, history=False, scale=v[9]), "tPC.7")
    assert found == ("the readout's gradient is that of F, not of F/beta",)


def test_credit_from_the_loss_at_the_inferred_state():
    """q(s) is no error: the two agree at the equilibrium alone."""

    def wrong(inputs, targets, h0, W, U, b, V, d, Pi, beta, inference_steps, step_size):
        place = iter(np.ndindex(targets.shape[1], len(targets)))

        def credit(Pi, eps, beta):
            i, t = next(place)
            states = trajectories[i]
            return V.T @ (V @ states[t] + d - targets[t, i])

        trajectories = []
        for i in range(targets.shape[1]):
            c, rows = h0[i], []
            for t in range(len(targets)):
                mu = np.tanh(W @ c + U @ inputs[t, i] + b)
                c = mu
                for _ in range(inference_steps):
                    c = c - step_size * (Pi * (c - mu) + beta * V.T @ (V @ c + d - targets[t, i]))
                rows.append(c)
            trajectories.append(rows)
        return learn(inputs, targets, h0, W, U, b, V, d, Pi, beta, inference_steps, step_size, credit=credit)

    name = "the credit is q at the inferred state, not the error that inference has left"
    assert told(wrong, "TPR.3") == (name,)


def test_right_gradients_are_correct_however_they_are_written():
    """Loops of the student, and the index loops of ``reference``."""

    def by_indices(inputs, targets, h0, W, U, b, V, d, Pi, beta, inference_steps, step_size):
        readout, total = {"W": V, "b": d}, None
        block = {"kind": "rnn", "activation": "tanh", "form": "post", "alpha": 1.0}

        def infer(mu, c, y, seen):
            run = inference_steps, step_size
            return indices.descend("mse", np.diag(Pi), beta, readout, mu, mu, y, seen, *run)

        for i in range(len(h0)):
            cell, top, *_ = indices.rnn_tpc(
                block,
                {"W": W, "U": U, "b": b},
                readout,
                "mse",
                inputs[:, i],
                targets[:, i],
                [True] * len(inputs),
                h0[i],
                np.diag(Pi),
                beta,
                "plain",
                "state",
                infer,
            )
            found = {**cell, "V": top["W"], "d": top["b"]}
            total = found if total is None else {k: total[k] + v for k, v in found.items()}
        return total

    for seed in range(3):
        assert check.explain(hands_in(learn, history=False), "tPC.7", seed=seed).correct
        assert check.explain(hands_in(learn), "TPR.3", seed=seed).correct
    assert check.explain(by_indices, "TPR.3").correct


def influence(
    inputs, states, h0, W, U, b, *, free=False, at="before", slope="own", immediate=1.0, past=1.0, J=None
):
    """M of every sample in einsum."""
    (n, m), (T, B) = U.shape, inputs.shape[:2]
    M, before, mu, D = np.zeros((B, n, n, n + m + 1)), h0, h0, 0 * h0
    for t in range(T):
        c = mu if free else before
        previous, mu_c = D, np.tanh(before @ W.T + inputs[t] @ U.T + b)
        point = np.tanh(c @ W.T + inputs[t] @ U.T + b)
        D = 1 - point**2
        z = np.concatenate(
            [{"before": c, "after": mu_c, "state": states[t]}[at], inputs[t], np.ones((B, 1))], axis=1
        )
        jacobian = (previous if slope == "before" else D)[:, :, None] * W
        if J == "transposed":
            jacobian = jacobian.transpose(0, 2, 1)
        M = past * np.einsum("bkm,bmij->bkij", jacobian, M)
        rows = np.arange(n)
        M[:, rows, rows] += immediate * D[:, :, None] * z[:, None]
        before, mu = states[t], mu_c
    return M


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, None),
        ({"past": 0.0}, "the recursion of the influence is dropped"),
        ({"J": "transposed"}, "the influence is carried by the transpose of J"),
        ({"free": True}, "J and Mbar are those of the free run, not of the carried state"),
        ({"at": "after"}, "the recurrent weights learn from h_t, not from h_{t-1}"),
        ({"at": "state"}, "the recurrent weights learn from the inferred state of their own step"),
        ({"past": 0.999}, "the influence decays by 0.999"),
        ({"immediate": 0.0}, "it is zero"),
        ({"immediate": -1.0}, "the sign is wrong"),
    ],
)
def test_influence(options, name):
    """(TPR.2), its recursion."""
    assert told(hands_in(influence, **options), "TPR.2") == (() if name is None else (name,))


# ---------------------------------------------------------------------- (TPR.5), (TPR.6)


def damped(
    inputs,
    targets,
    h0,
    reset,
    influence,
    W,
    U,
    b,
    V,
    d,
    Omega,
    beta,
    inference_steps,
    step_size,
    *,
    D=None,
    order="after",
    forget=True,
):
    """The cell's gradient with a damped influence, sample by sample."""
    (n, m), T, B = U.shape, *inputs.shape[:2]
    Theta = np.zeros((n, n + m + 1))
    H = Omega + beta * V.T @ V
    if D is None:
        D = lambda H, Omega: np.linalg.inv(H) @ Omega  # noqa: E731
    full = D(H, Omega) if influence == "implicit" else np.diag(np.diag(Omega) / np.diag(H))
    for i in range(B):
        c, S = h0[i], np.zeros((n, n, n + m + 1))
        for t in range(T):
            if reset[t, i]:
                c, S = h0[i], 0 * S if forget else S
            mu = np.tanh(W @ c + U @ inputs[t, i] + b)
            s = mu
            for _ in range(inference_steps):
                s = s - step_size * (Omega @ (s - mu) + beta * V.T @ (V @ s + d - targets[t, i]))
            slope, z = 1 - mu**2, np.concatenate([c, inputs[t, i], [1.0]])
            M = np.einsum("k,km,mij->kij", slope, W, S)
            M[np.arange(n), np.arange(n)] += np.outer(slope, z)
            S = np.einsum("km,mij->kij", full, M)
            Theta -= np.einsum("k,kij->ij", Omega @ (s - mu) / beta, S if order == "before" else M)
            c = s
    return {"W": Theta[:, :n], "U": Theta[:, n:-1], "b": Theta[:, -1]}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ()),
        ({"order": "before"}, ("the gradient is read out of the damped influence",)),
        ({"forget": False}, ("a reset leaves the influence on the inferred state as it is",)),
        ({"D": lambda H, P: np.linalg.inv(H)}, ("the precision is missing behind the inverse of H",)),
        ({"D": lambda H, P: P @ np.linalg.inv(H)}, ("the damping is transposed",)),
    ],
)
def test_damped_influence(options, names):
    """(TPR.5), in both kinds."""
    assert told(hands_in(damped, **options), "TPR.5") == names


def second(M, s, z, y, V1, d1, V2, d2, Pi, Pi1, beta, *, bend=1.0, coupled=1.0, alone=False, loss=None):
    """H and S of each sample."""
    n, found = len(Pi), ([], [])
    for b in range(len(s)):
        f = np.tanh(V1 @ s[b] + d1)
        J, xi = (1 - f**2)[:, None] * V1, Pi1 * (z[b] - f)
        curved = V1.T @ ((xi * -2 * f * (1 - f**2))[:, None] * V1)
        ss = np.diag(Pi) + J.T @ (Pi1[:, None] * J) - bend * curved
        sz, zz = -(J.T * Pi1), np.diag(Pi1) + (beta if loss is None else loss) * V2.T @ V2
        H = np.block([[ss, sz], [coupled * sz.T, zz]])
        found[0].append(H)
        block = np.linalg.inv(ss) if alone else np.linalg.inv(H)[:n, :n]
        found[1].append(block @ (Pi[:, None] * M[b]))
    return tuple(map(np.array, found))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ()),
        ({"bend": 0.0}, ("phi'' is dropped in H",)),
        ({"alone": True}, ("H is that of the state alone",)),
        ({"coupled": 0.0}, ("the states of the readout are not coupled to the state",)),
        ({"loss": 1.0}, ("beta is forgotten: the loss counts whole",)),
    ],
)
def test_second_derivatives_and_damping(options, names):
    """(TPR.6)."""
    assert told(hands_in(second, **options), "TPR.6") == names


# ---------------------------------------------------------------------- the Kalman filter


def update(mu, y, C, Q, R, *, noise=lambda R: R, prior=lambda Q: Q, sign=1.0, innovation=1.0):
    """mean by the gain."""
    Q, R = prior(Q), noise(R)
    K = Q @ C.T @ np.linalg.inv(innovation * C @ Q @ C.T + R)
    return np.array([m + sign * K @ (v - C @ m) for m, v in zip(mu, y, strict=True)])


WRONG_UPDATE = [
    ({}, ()),
    ({"noise": lambda R: 0 * R}, ("the gain knows no noise of the observations",)),
    ({"noise": np.linalg.inv}, ("the noise of the observations is taken for its precision",)),
    ({"prior": np.linalg.inv}, ("the precisions of the states are inverted",)),
    ({"innovation": 0.0}, ("the covariance of the innovation is R, without C Q C'",)),
    ({"sign": -1.0}, ("the top-down term has the wrong sign",)),
]


@pytest.mark.parametrize(("options", "names"), WRONG_UPDATE)
@pytest.mark.parametrize("seed", [0, 31])
def test_update_of_the_filter(options, names, seed):
    """(KAL.1), by the gain, where the engine takes a Newton step."""
    assert told(hands_in(update, **options), "KAL.1", seed) == names


def filter_step(s, Sigma, u, y, reset, A, U, b, C, Q, R, *, carry=None, keep="posterior", forget=True):
    """The textbook, sample by sample."""
    means, covariances = [], []
    for i in range(len(s)):
        m, Sig = (0 * s[i], (0 if forget else 1) * Sigma[i]) if reset[i] else (s[i], Sigma[i])
        P = (carry or (lambda A, Sig, Q: A @ Sig @ A.T + Q))(A, Sig, Q)
        K = P @ C.T @ np.linalg.inv(C @ P @ C.T + R)
        mu = A @ m + U @ u[i] + b
        means.append(mu + K @ (y[i] - C @ mu))
        covariances.append(P if keep == "prior" else P - K @ C @ P)
    return np.array(means), np.array(covariances)


WRONG_FILTER = [
    ({}, None),
    ({"keep": "prior"}, "the prior covariance is carried on, not the posterior"),
    ({"forget": False}, "a reset leaves the covariance as it is"),
    (
        {"carry": lambda A, S, Q: A.T @ S @ A + Q},
        "the covariance is carried by the transpose of the Jacobian",
    ),
    (
        {"carry": lambda A, S, Q: A @ S @ A + Q},
        "the covariance is carried by A on both sides, not by A and its transpose",
    ),
    ({"carry": lambda A, S, Q: S + Q}, "the covariance does not pass the dynamics"),
    ({"carry": lambda A, S, Q: Q}, "the precision of the past is left out: the gain is that of a fixed Q"),
    (
        {"carry": lambda A, S, Q: A @ S @ A.T + np.linalg.inv(Q)},
        "the noise of a step is taken for its precision",
    ),
]


@pytest.mark.parametrize(("options", "name"), WRONG_FILTER)
def test_step_of_the_filter(options, name):
    """(KAL.4), in covariances, where the engine has precisions."""
    found = check.explain(hands_in(filter_step, **options), "KAL.4")
    if name is None:
        assert found.correct, str(found)
    else:
        assert len(found.names) == 1, str(found)
        assert name in found.alternatives[0]


def sensitivity(M, C, Q, R, *, sign=-1.0, side="left"):
    """(KAL.5), by the gain."""
    K = Q @ C.T @ np.linalg.inv(C @ Q @ C.T + R)
    D = np.eye(len(Q)) + sign * K @ C
    return np.array([(D if side == "left" else D.T) @ m for m in M])


@pytest.mark.parametrize(
    ("options", "names"), [({}, ()), ({"side": "right"}, ("the damping is transposed",))]
)
def test_sensitivity_of_the_filter(options, names):
    """The damping is I - K C."""
    assert told(hands_in(sensitivity, **options), "KAL.5") == names


def test_covariance_and_cost_of_the_filter():
    """(KAL.2), (KAL.3)."""

    def covariance(C, Q, R):
        return Q - Q @ C.T @ np.linalg.solve(C @ Q @ C.T + R, C @ Q)

    def cost(mu, y, C, Q, R):
        v = y - mu @ C.T
        return 0.5 * np.einsum("bo,op,bp->b", v, np.linalg.inv(C @ Q @ C.T + R), v)

    for seed in range(3):
        assert check.explain(covariance, "KAL.2", seed=seed).correct
        assert check.explain(cost, "KAL.3", seed=seed).correct
    assert told(lambda *v: 2 * cost(*v), "KAL.3") == ("a factor 2 too much",)


# ---------------------------------------------------------------------- (tPC.1), (tPC.6), (TPR.1), (TPR.4), (TPR.7)


def original(s, c, u, y, W, U, b, V, d, Pi, Pi_y, *, sign=-1.0, phi=np.tanh, xi=None, e=None):
    """The learning rule of the paper, outer product by outer product."""
    eps = s - np.tanh(c) @ W.T - u @ U.T - b
    xi, e = (xi or (lambda eps: Pi * eps))(eps), (e or (lambda e: Pi_y * e))(y - np.tanh(s) @ V.T - d)
    grads = {"W": np.einsum("bi,bj->ij", xi, phi(c)), "U": np.einsum("bi,bj->ij", xi, u), "b": xi.sum(axis=0)}
    grads |= {"V": np.einsum("bi,bj->ij", e, np.tanh(s)), "d": e.sum(axis=0)}
    return {name: sign * g for name, g in grads.items()}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, None),
        ({"sign": 1.0}, "the sign is wrong"),
        ({"phi": lambda c: c}, "the recurrent weights learn from h, not from phi(h) (pre form)"),
        ({"xi": lambda eps: eps}, "the credit lacks the precision"),
        ({"e": lambda e: e}, "the precision is missing in the weight gradient"),
    ],
)
def test_learning_in_the_original_model(options, name):
    """(tPC.6)."""
    found = check.explain(hands_in(original, **options), "tPC.6")
    if name is None:
        assert found.correct, str(found)
    else:
        assert len(found.names) == 1, str(found)
        assert name in (*found.names, *found.alternatives[0])


def readout_influence(
    inputs,
    targets,
    h0,
    reset,
    W,
    U,
    b,
    V,
    d,
    Pi,
    beta,
    inference_steps,
    step_size,
    *,
    bent=1.0,
    own=1.0,
    mixed=1.0,
    back=1.0,
):
    """(TPR.7), sample by sample: H, the mixed derivative and S of a tanh readout."""
    (o, n), T, B = V.shape, *inputs.shape[:2]
    gradient, influence = np.zeros((o, n + 1)), []
    for i in range(B):
        c, S = h0[i], np.zeros((n, o, n + 1))
        for t in range(T):
            if reset[t, i]:
                c, S = h0[i], 0 * S
            mu = np.tanh(W @ c + U @ inputs[t, i] + b)
            s, y = mu, targets[t, i]
            for _ in range(inference_steps):
                r = np.tanh(V @ s + d)
                s = s - step_size * (Pi * (s - mu) + beta * V.T @ ((1 - r**2) * (r - y)))
            r, z = np.tanh(V @ s + d), np.append(s, 1.0)
            slope, e = 1 - r**2, r - y
            curved = slope**2 - 2 * r * slope * e  # d2L/da2
            H = np.diag(Pi) + beta * V.T @ ((slope**2 - bent * 2 * r * slope * e)[:, None] * V)
            R = np.einsum("k,km,mij->kij", 1 - mu**2, W, S)
            gradient += np.outer(slope * e, z) - back * np.einsum("k,kij->ij", Pi * (s - mu) / beta, R)
            M = np.einsum("ik,i,j->kij", V, curved, z)  # d2L/ds dV: V^T L'' z + delta
            M[np.arange(n), :, np.arange(n)] += own * slope * e
            S = np.einsum("km,mij->kij", np.linalg.inv(H), Pi[:, None, None] * R - mixed * beta * M)
            c = s
        influence.append(S)
    return np.array(influence), gradient[:, :n], gradient[:, n]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, None),
        ({"bent": 0.0}, "phi'' is dropped in H"),
        ({"own": 0.0}, "the presynaptic activity does not move in the mixed derivative"),
        ({"mixed": 0.0}, "the readout does not move the carried state"),
        ({"mixed": -1.0}, "the readout moves the carried state the wrong way"),
        ({"back": 0.0}, "the readout learns from its own step alone"),
    ],
)
def test_what_the_readout_does_to_the_carried_states(options, name):
    """(TPR.7)."""
    found = check.explain(hands_in(readout_influence, **options), "TPR.7")
    if name is None:
        assert found.correct, str(found)
    else:
        assert len(found.names) == 1, str(found)
        assert name in found.alternatives[0]


def trajectory(
    inputs,
    targets,
    h0,
    reset,
    carry,
    W,
    U,
    b,
    V,
    d,
    Pi,
    beta,
    inference_steps,
    step_size,
    *,
    always=None,
    anew=1.0,
):
    """(TPR.4), all samples at once."""
    c, states = h0, []
    for u, y, again in zip(inputs, targets, reset, strict=True):
        c = np.where(again[:, None], anew * h0, c)
        mu = s = np.tanh(c @ W.T + u @ U.T + b)
        for _ in range(inference_steps):
            s = s - step_size * (Pi * (s - mu) + beta * (s @ V.T + d - y) @ V)
        states.append(s)
        c = s if (always or carry) == "state" else mu
    return states


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ()),
        ({"always": "state"}, ("the inferred state is carried where the prediction is asked for",)),
        ({"always": "prediction"}, ("the prediction is carried on from the inferred state",)),
        ({"anew": 0.0}, ("a reset sets the state to zero, not to its start",)),
    ],
)
def test_what_is_carried(options, names):
    """States, predictions, resets."""
    assert told(lambda *v: np.array(trajectory(*v, **options)), "TPR.4") == names


def test_prediction_and_error():
    """(tPC.1), and with the Jacobian (TPR.1)."""

    def error(s, c, u, W, U, b, sign=1.0):
        mu = np.tanh(np.einsum("ij,bj->bi", W, c) + np.einsum("ij,bj->bi", U, u) + b)
        return mu, sign * (s - mu)

    def step(u, c, y, W, U, b, V, d, Pi, beta, inference_steps, step_size):
        mu = s = np.tanh(c @ W.T + u @ U.T + b)
        for _ in range(inference_steps):
            s = s - step_size * (Pi * (s - mu) + beta * (s @ V.T + d - y) @ V)
        return mu, s, np.stack([np.diag(1 - m**2) @ W for m in mu])

    assert check.explain(error, "tPC.1").correct
    assert told(hands_in(error, sign=-1.0), "tPC.1") == ("the error has the wrong sign",)
    assert check.explain(step, "TPR.1").correct


# ---------------------------------------------------------------------- whole rules, by autograd in ``reference``


def sequence(net, params, inputs, targets, mask, h0, reset):
    """The problem as the oracles have it."""
    blocks = []
    for block in net.blocks:
        kind = type(block).__name__.lower()
        known = {
            name: getattr(block, name)
            for name in ("activation", "form", "alpha", "gamma")
            if hasattr(block, name)
        }
        blocks.append({"kind": kind, **known})
    states = [pairs(h) if np.iscomplexobj(h) else h for h in h0]
    return Sequence(blocks, "mse", params, inputs, targets, mask, states, reset)


def of_oracle(precision, blocks):
    """Precisions with an LRU's as the oracles have them, [Re; Im]."""
    if all(block["kind"] != "lru" for block in blocks):
        return precision
    return [precision[0].reshape(-1, 2).T.ravel(), *precision[1:]]


@pytest.mark.parametrize(
    ("equation", "options"),
    [
        ("TPR.8", {}),
        ("TPR.9", {"influence": "plain", "carry": "prediction"}),
        ("TPR.10", {"influence": "plain", "carry": "prediction", "inference": "fixed"}),
    ],
)
def test_whole_rules_by_autograd_are_correct(equation, options):
    """One loop over lanes and steps, every derivative by autograd."""

    def student(
        net, params, inputs, targets, mask, h0, reset, beta, precision, influence, inference_steps, step_size
    ):
        p = sequence(net, params, inputs, targets, mask, h0, reset)
        run = {"beta": beta, "inference_steps": inference_steps, "step_size": step_size}
        run |= {"precision": of_oracle(precision, p.blocks), "influence": influence} | options
        found = loops.gradient(p, **run)
        return (found.states, found.grads) if equation == "TPR.10" else found.grads

    found = check.explain(student, equation)
    assert found.correct, str(found)


def test_the_certificate_by_autograd_is_correct():
    """Its recursion, with second derivatives by autograd."""

    def student(net, params, inputs, targets, mask, h0, reset, beta, inference_steps, step_size, precision):
        p = sequence(net, params, inputs, targets, mask, h0, reset)
        run = {
            "beta": beta,
            "inference_steps": inference_steps,
            "step_size": step_size,
            "precision": precision,
        }
        bounds = loops.gradient(p, influence="plain", certified=True, **run).bounds
        return bounds[..., 0], bounds[..., 1], bounds[..., 1].sum(axis=0)

    found = check.explain(student, "TPR.13")
    assert found.correct, str(found)


@pytest.mark.parametrize(
    ("function", "equation"), [(tpc.gradient, "TPR.8"), (tpc.gradient, "TPR.9"), (tpc.certificate, "TPR.13")]
)
def test_the_rules_of_minipc_can_be_handed_in_as_they_are(function, equation):
    """Their arguments have the names of the exercise."""
    assert check.explain(function, equation).correct


@pytest.mark.parametrize("equation", EXERCISES)
def test_the_arrays_of_the_first_problem_are_in_all_others(equation):
    """Relations are looked for by their names: a network that changes with the setting would stop the search."""
    exercise, names = EXERCISES[equation], []
    for setting in range(3):
        given = exercise.problem(Draw(np.random.default_rng(setting), setting=setting))
        found = exercise.answer(minipc, *(given[name] for name in exercise.arguments))
        names.append(set(check.explanation.arrays(found)))
    assert names[0] <= names[1]
    assert names[0] <= names[2]
    if equation.split(".")[0] in ("tPC", "TPR", "KAL"):
        assert names[0] == names[1] == names[2]
