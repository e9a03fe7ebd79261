"""Claims: temporal predictive coding and tPC-RTRL: which gradient each policy is, and which it is not."""

import numpy as np

from .. import bptt, tpc
from ..cells import RNN
from ..influence import start
from ..recurrent import RecurrentNetwork, prepare_sequences
from ..timestep import Timestep
from ..trajectory import walk
from .setting import (
    any_sequence,
    claim,
    flat,
    in_time,
    influence_matrix,
    off,
    paired,
    rel,
    sequence,
    time_ad,
    times,
    tpc_ad,
    tpc_problems,
)
from .through_time import remembering

GATED, DIAGONAL = ("rnn", "gru", "lstm"), ("elstm", "lru", "rtu")
EQUILIBRIUM = {"inference": "newton", "inference_steps": 20}
READOUT = ("C_re", "C_im", "D")  # parameters of an LRU above its state


def learned(q, **options):
    """What the engine finds on a problem with precisions and beta; at the equilibrium if nothing else is said."""
    given = {"precision": q.native, "beta": q.beta, **EQUILIBRIUM}
    return tpc.gradient(*in_time(q.problem), **{**given, **options})


def at_rest(q, g, carry="state"):
    """The oracle's trajectory, the minimum next to the engine's states: (trajectory, how far those are from it)."""
    (states,) = paired([g.states])
    found = tpc_ad.trajectory(*q.arguments, carry=carry, near=states, **q.options)
    exact = np.stack([step.free[:, : states.shape[2]] for step in found])
    return found, np.linalg.norm(states - exact) / np.linalg.norm(exact)


def far(g, expected):
    """Distance of all parameters together."""
    return rel(flat(g), flat([{k: x[k] for k in a} for a, x in zip(g, expected, strict=True)]))


def settled(rng, kinds, influence, carry="state", **options):
    """(problem, what the engine finds, the oracle's trajectory): problems on which inference ends in a minimum."""
    options = {"T": 4, "B": 2, "reset": bool(rng.random() < 0.5), **options}
    while True:  # a curved readout may have a saddle, where Newton's method may end
        q = tpc_problems.draw(rng, kinds, **options)
        g = learned(q, influence=influence, carry=carry)
        found, left = at_rest(q, g, carry)
        if left < 1e-6:
            return q, g, found, left


def any_chain(rng, cells):
    """A cell with a readout, or its state as output; sometimes a block or another cell below it."""
    before = [[], [], ["dense"], ["rnn"], ["lru"]][int(rng.integers(5))]
    return [*before, str(rng.choice(cells)), *(["dense"] if rng.random() < 0.8 else [])]


@claim(
    "T21",
    "tPC.3, tPC.4, tPC.6",
    "inference descends dF/ds, learning takes dF/dtheta at its end, whatever the number of steps",
    "autograd",
    1e-12,
)
def t21(rng):
    q = tpc_problems.draw(
        rng, ["rnn", "dense"], T=4, B=2, form="pre", alpha=1.0, activation="tanh", mask=False
    )
    p, lam, n = q.problem, 0.1, q.problem.h0[0].shape[1]
    options = {"inference": "spc", "step_size": lam, "influence": None}
    N = int(rng.integers(1, 6))
    g, more = (learned(q, inference_steps=k, **options) for k in (N, N + 1))

    def energies(params, states, t):
        mu = time_ad.apply(p.blocks[0], params[0], [p.h0[0], *states][t], p.inputs[t])[0]
        counts = None if p.mask is None else p.mask[t]
        return lambda s: tpc_ad.energy(
            *(p.blocks, params, mu, s, p.inputs[t], p.targets[t], p.loss, counts, q.beta, q.precision)
        )

    slope = tpc_ad.slope(energies(p.params, g.states, 0), g.states[0])
    moved = more.states[0] - g.states[0]  # of the first step: its prediction is the same in both
    total = lambda theta: sum(  # noqa: E731
        energies(theta, g.states, t)(g.states[t]).sum() for t in range(4)
    )
    exact = times(1 / q.beta, tpc_ad.grad(total)(p.params))
    error = max(rel(moved, -lam * slope), off(g.grads, exact))
    # the bug of the public code, which only runs if state and output have one size
    C, s, e = (rng.standard_normal(shape) for shape in ((n, n), n, n))
    right = (1 - np.tanh(s) ** 2) * (C.T @ e)  # (tPC.4) for (tPC.3), R = I
    return error, min(
        rel(C.T @ (1 - np.tanh(s) ** 2) * e, right), rel(C.T @ ((1 - np.tanh(s) ** 2) * e), right)
    )


@claim(
    "T22",
    "tPC.7",
    "tPC is the gradient of the sum of equilibrated energies with a stop at the carried states",
    "autograd through Newton",
    1e-10,
    trials=10,
)
def t22(rng):
    learn = bool(rng.random() < 0.5)
    q, g, found, left = settled(rng, any_chain(rng, GATED + DIAGONAL), None, hidden="none", learn_h0=learn)
    exact = tpc_ad.stop_gradient(*q.arguments, found=found, **q.options)
    r = tpc_problems.draw(rng, ["rnn", "dense"], T=6, beta=1.0, alpha=1.0, radius=1.0, mask=False)
    without = tpc_ad.gradient(*r.arguments, **r.options)
    return max(left, far(g.grads, exact)) * q.beta, far(learned(r, influence=None).grads, without)


@claim(
    "T23",
    "tPC.8, tPC.5",
    "where nothing is observed: s = mu, no energy, no update; to the bit",
    "identity",
    0,
    trials=10,
)
def t23(rng):
    kinds = any_chain(rng, GATED + DIAGONAL)
    q = tpc_problems.draw(rng, kinds, T=5, B=2)
    cut = int(rng.integers(1, 5))
    p = q.problem._replace(mask=np.arange(5)[:, None] < np.full(2, cut))
    rule = str(rng.choice(["spc", "epc", "newton", "fixed"]))
    few = {"inference": rule, "inference_steps": 3, "step_size": 0.05}
    few["start"] = "prediction" if rule == "fixed" else str(rng.choice(["prediction", "previous"]))  # (tPC.5)
    carry = str(rng.choice(["state", "prediction"]))
    data = {"precision": q.native, "beta": q.beta, "carry": carry, **few}
    f = tpc.infer(*in_time(p), **data)
    some = tpc.infer(*in_time(q.problem), **data)  # other lanes are observed at the same step
    free = tpc.infer(*in_time(p, mask=np.zeros_like(p.mask)), **data)
    run = time_ad.run(p.blocks, p.params, p.inputs, p.h0)[1][-1]
    short = p._replace(inputs=p.inputs[:cut], targets=p.targets[:cut], mask=p.mask[:cut])
    a, b = (tpc.gradient(*in_time(x), influence="plain", **data) for x in (p, short))
    unseen = ~q.problem.mask
    violations = [
        not np.array_equal(some.states[unseen], some.predictions[unseen]),
        not np.array_equal(f.states[cut:], f.predictions[cut:]),
        f.energy[cut:].any(),
        not (a.energy == b.energy).all(),
        rel(a.grads, b.grads) > 1e-14,  # sums over steps, some of them zero, in another order
        rel(paired([free.states]), [run]) > 1e-13,  # an open loop
    ]
    (before, mu) = paired([f.states[cut - 1], f.predictions[cut]])
    late = mu + 0.95**3 * (before - mu)  # three steps from the carried state, Pi = I: on the way, not there
    return float(sum(map(bool, violations))), rel(late, mu)


def engine_influences(q, damped=True):
    """S_1, ..., S_T (B, N, P) of the cell's own parameters and (B, N, P') of those above it, as the engine has them."""
    net, params, *rest = in_time(q.problem)
    p = prepare_sequences(net, params, *rest)
    options = {"inference": "newton", "inference_steps": 20, "step_size": 0.1, "tolerance": None}
    step = Timestep(net, params, q.native, beta=q.beta, start="prediction", **options)
    M = tpc.Damped(net, params, p.start, step, "implicit") if damped else start("exact", net, params, p.start)
    own, above, c = [], [], net.cells[-1]
    for t, path in enumerate(walk(net, params, p, step, "state", 1)):
        if p.reset is not None:
            M.reset(p.reset[t])
        locals_ = [net.blocks[c].local(params[c], path.stretch.tapes[c])]
        M.step(params, path.stretch._replace(locals=locals_), 0)  # (TPR.2)
        if damped:
            M.damp(path.looks[0].now)  # (TPR.5)
            above.append(M.R.copy())
        own.append(influence_matrix(net, params, M, *path.mu.shape[1:]))
    return own, above


def columns(parts, t):
    """Derivatives by name, (T, B, N, ...), as columns (B, N, P) of step t."""
    return np.concatenate([v[t].reshape(*v.shape[1:3], -1) for v in parts.values()], axis=2)


@claim(
    "T28",
    "TPR.2, TPR.5, TPR.6, TPR.8",
    "implicit influence: S_t = ds_t/dtheta; the gradient of (1/beta) sum F*; any beta, SPD Pi",
    "autograd and complex step through Newton; times beta",
    1e-10,
    trials=5,
)
def t28(rng):
    cell = str(rng.choice(GATED))
    q, g, found, left = settled(rng, [cell, "dense"], "implicit", state="spd", activation="tanh")
    inferred = tpc_ad.sensitivity(*q.arguments, found=found, at=[2, 3], **q.options)
    own, _ = engine_influences(q)
    names = {k: inferred[0][k] for k in q.problem.params[0]}
    error = max(left, max(rel(own[t], columns(names, t - 2)) for t in (2, 3)))
    direction = [{k: rng.standard_normal(v.shape) for k, v in p.items()} for p in q.problem.params]
    along = tpc_ad.along(*q.arguments[:2], direction, *q.arguments[2:], found=found, **q.options)
    a, d = flat(g.grads), flat(direction)
    error = max(error, abs(a @ d - along) / (np.linalg.norm(a) * np.linalg.norm(d)))
    error = max(error, far(g.grads, tpc_ad.gradient(*q.arguments, found=found, **q.options)))
    r = tpc_problems.draw(
        rng, ["rnn", "dense"], T=6, beta=1.0, state="none", alpha=1.0, radius=1.0, mask=False
    )
    exact = tpc_ad.gradient(*r.arguments, **r.options)
    return error * q.beta, off(learned(r, influence="plain").grads[:1], exact[:1])


@claim(
    "T29",
    "TPR.6",
    "with hidden states in the readout: the block of the joint second derivative",
    "autograd through Newton; times beta",
    1e-10,
    trials=5,
)
def t29(rng):
    kinds = [str(rng.choice(GATED)), "dense", "dense"]
    q, g, found, left = settled(rng, kinds, "implicit", beta=0.3, mask=False)
    exact = tpc_ad.gradient(*q.arguments, found=found, **q.options)
    inferred = tpc_ad.sensitivity(*q.arguments, found=found, at=[2, 3], **q.options)
    own, _ = engine_influences(q)
    names = {k: inferred[0][k] for k in q.problem.params[0]}
    error = max(left, far(g.grads, exact), max(rel(own[t], columns(names, t - 2)) for t in (2, 3)))
    first, N = found[0], found[0].mu.shape[1]
    H = np.linalg.inv(first.inverse)[:, :N, :N]  # the readout's states held
    Mbar = time_ad.immediate_jacobian(q.problem.blocks[0], q.problem.params[0], first.before[0], first.u)
    M = columns({k: v[None] for k, v in Mbar.items()}, 0)
    wrong = np.linalg.solve(H, tpc_ad.full(q.precision[0], N) @ M)
    return error * q.beta, rel(wrong, own[0])


@claim(
    "T30",
    "TPR.7",
    "parameters of the readout shape the state that is carried: explicit term, and through S_t",
    "autograd through Newton; times beta",
    1e-10,
    trials=5,
)
def t30(rng):
    q, g, found, left = settled(rng, [str(rng.choice(GATED)), "dense"], "implicit")
    exact = tpc_ad.gradient(*q.arguments, found=found, **q.options)
    inferred = tpc_ad.sensitivity(*q.arguments, found=found, at=[2, 3], **q.options)
    _, above = engine_influences(q)
    error = max(left, max(rel(above[t], columns(inferred[1], t - 2)) for t in (2, 3)))
    r = tpc_problems.draw(rng, ["rnn", "dense"], T=6, beta=1.0, alpha=1.0, radius=1.0, mask=False)
    local = learned(r, influence="plain").grads[1:]
    right = tpc_ad.gradient(*r.arguments, **r.options)[1:]
    return max(error, off(g.grads[1:], exact[1:])) * q.beta, off(local, right)


@claim(
    "T31",
    "TPR.9",
    "carried predictions: the gradient of the Moreau envelopes along the free trajectory, any beta",
    "autograd through Newton; times beta",
    1e-10,
    trials=10,
)
def t31(rng):
    error = 0.0
    for kinds in (any_chain(rng, GATED + DIAGONAL), ["lru"]):
        q, g, found, left = settled(rng, kinds, "plain", "prediction", hidden="none")
        exact = tpc_ad.gradient(*q.arguments, found=found, carry="prediction", **q.options)
        error = max(error, left * q.beta, far(g.grads, exact) * q.beta)
    r = tpc_problems.draw(rng, ["rnn", "dense"], T=6, beta=1.0, alpha=1.0, radius=1.0, mask=False)
    right = tpc_ad.gradient(*r.arguments, carry="prediction", **r.options)
    return error, far(learned(r, influence="plain").grads, right)


@claim(
    "T32",
    "TPR.10",
    "fixed predictions, carried predictions: BPTT, in all cells and stacks, any beta and precisions",
    "autograd",
    1e-12,
)
def t32(rng):
    p = any_sequence(rng)
    q = tpc_problems.Inference(p, tpc_problems.precisions(rng, p), float(rng.choice([1.0, 0.1, 1e-3])))
    q.precision[-1] = None  # that would be another loss
    fixed = {"influence": "plain", "inference": "fixed"}
    g = learned(q, carry="prediction", **fixed)
    r = tpc_problems.Inference(remembering(rng)._replace(mask=None), None, 1.0)
    wrong = far(learned(r, **fixed).grads, time_ad.loss_gradient(*r.arguments))
    return off(g.grads, time_ad.loss_gradient(*p.arguments)), wrong


def up_to_the_state(q, grads):
    """The gradients of what stands below or in the last cell, without what reads it out."""
    c = tpc_ad.last_cell(q.problem.blocks)
    return [{k: v for k, v in g.items() if k not in READOUT} for g in grads[: c + 1]]


@claim(
    "T33",
    "TPR.11",
    "one step of inference, one block above the state, Pi = I: lam times BPTT up to the state, any beta",
    "autograd",
    1e-12,
)
def t33(rng):
    lam, kinds = float(rng.uniform(0.1, 1.0)), any_chain(rng, GATED + DIAGONAL)
    if kinds[-1] == "lru" or kinds[-2:] == ["lru", "dense"]:
        kinds = [
            "lru"
        ]  # its output is one block already; what D passes by the state to a block below is not lam times
    q = tpc_problems.draw(rng, kinds, state="none", hidden="none")
    one = {"inference": "spc", "inference_steps": 1, "step_size": lam, "influence": "plain"}

    def distance(q, **options):
        g, exact = learned(q, **{**one, **options}).grads, time_ad.loss_gradient(*q.arguments)
        return far(up_to_the_state(q, g), times(lam, up_to_the_state(q, exact)))

    r = tpc_problems.Inference(remembering(rng)._replace(mask=None), None, 1.0)
    two = {"carry": "prediction", "inference_steps": 2}
    return distance(q, carry="prediction"), min(distance(r, **two), distance(r, carry="state"))


@claim(
    "T34",
    "TPR.12",
    "lam = 1, as many steps as blocks above the state, Pi = I: BPTT up to the state, any beta",
    "autograd",
    1e-12,
)
def t34(rng):
    depth = int(rng.integers(1, 4))
    kinds = [*([] if rng.random() < 0.5 else ["dense"]), str(rng.choice(GATED)), *["dense"] * depth]
    options = {"state": "none", "hidden": "none", "mask": False}
    timed = {"inference": "spc", "step_size": 1.0, "influence": "plain", "carry": "prediction"}

    def distance(q, steps):
        g, exact = learned(q, inference_steps=steps, **timed).grads, time_ad.loss_gradient(*q.arguments)
        return far(up_to_the_state(q, g), up_to_the_state(q, exact))

    q = tpc_problems.draw(rng, kinds, **options)
    r = tpc_problems.draw(rng, ["rnn", *["dense"] * depth], loss="mse", beta=1.0, **options)
    error = distance(q, depth) * q.beta  # rounding of s - mu: the error is of the size of beta
    return error, distance(r, depth + 1)


def decade(distance, beta):
    """|ratio/10 - 1| of a distance at beta and at a tenth of it."""
    return abs(distance(beta) / distance(beta / 10) / 10 - 1)


@claim(
    "T35",
    "TPR.3, TPR.9, TPR.10",
    "(state, plain), (state, implicit), (prediction, plain) are BPTT + O(beta)",
    "autograd, ratio over a decade",
    0.2,
    trials=5,
)
def t35(rng):
    p = sequence(rng, [str(rng.choice(GATED)), "dense"], reset=bool(rng.random() < 0.5))
    exact = time_ad.loss_gradient(*p.arguments)

    def distance(influence, carry="state"):
        return lambda beta: far(
            learned(tpc_problems.Inference(p, None, beta), influence=influence, carry=carry).grads, exact
        )

    policies = (("plain",), ("implicit",), ("plain", "prediction"))
    return max(decade(distance(*policy), 1e-3) for policy in policies), decade(distance(None), 1e-3)


@claim(
    "T36",
    "tPC.10",
    "tPC without influence goes to BPTT cut to one step, and stays away from BPTT",
    "autograd, ratio over a decade",
    0.2,
    trials=5,
)
def t36(rng):
    p = sequence(rng, ["rnn", "dense"], T=6, alpha=1.0, radius=1.5, mask=False)
    p = p._replace(mask=np.repeat(np.arange(6)[:, None] > 3, len(p.h0[0]), axis=1))  # two late targets
    one, whole = (
        g[:1]
        for g in (time_ad.truncated_gradient(*p.arguments, steps=1), time_ad.loss_gradient(*p.arguments))
    )

    def distance(exact, **options):
        return lambda beta: far(learned(tpc_problems.Inference(p, None, beta), **options).grads[:1], exact)

    away = distance(whole, influence=None)(1e-4) > 0.1
    error = decade(distance(one, influence=None), 1e-3) if away else np.inf
    return error, decade(distance(one, influence="plain", carry="prediction"), 1e-3)


def _jacobian_and_damping(q, found):
    """J_t and Damp_t (B, N, N) of every step, of one cell that comes first, by autograd."""
    p = q.problem
    for t, step in enumerate(found):
        J = time_ad.state_jacobian(p.blocks[0], p.params[0], step.before[0], step.u)
        if p.reset is not None:
            J = np.where(p.reset[t][:, None, None], 0.0, J)
        yield J, tpc_ad.damping(step, q.precision)


@claim(
    "T37",
    "TPR.13",
    "plain - implicit influence obeys its recursion; the certificate bounds it, and the gradient's error",
    "identity, autograd J and Damp; bound",
    1e-12,
    trials=10,
)
def t37(rng):
    q, _, found, _ = settled(rng, [str(rng.choice(GATED)), "dense"], "implicit", mask=False)
    p, N = q.problem, found[0].mu.shape[1]
    implicit, above = engine_influences(q)
    plain, _ = engine_influences(q, damped=False)
    c = tpc.certificate(*in_time(p), precision=q.native, beta=q.beta, **EQUILIBRIUM)
    errors, norm = [0.0], lambda a: np.linalg.norm(a, axis=(1, 2))
    for t, (J, D) in enumerate(_jacobian_and_damping(q, found)):
        delta, before = plain[t] - implicit[t], plain[t - 1] - implicit[t - 1] if t else 0 * plain[0]
        new = (np.eye(N) - D) @ plain[t]  # S^plain is M^plain
        errors.append(norm(delta - D @ J @ before - new).max() / norm(plain[t]).max())  # (TPR.13)
        whole = np.concatenate([delta, above[t]], axis=2)
        errors.append(((norm(whole) - c.delta[t]) / norm(plain[t])).max())
    plain, implicit = (flat(learned(q, influence=name).grads) for name in ("plain", "implicit"))
    errors.append((np.linalg.norm(plain - implicit) - c.total.sum()) / np.linalg.norm(implicit))
    r = tpc_problems.draw(
        rng, ["rnn", "dense"], T=4, beta=1.0, state="none", alpha=1.0, radius=1.5, mask=False
    )
    found = at_rest(r, learned(r, influence="plain"))[0]
    influences, _ = engine_influences(r, damped=False)
    delta = undamped = 0 * influences[0]
    for (J, D), M in zip(_jacobian_and_damping(r, found), influences, strict=True):
        new = (np.eye(len(M[0])) - D) @ M
        delta, undamped = D @ J @ delta + new, J @ undamped + new
    return max(errors), rel(undamped, delta)


@claim(
    "T39",
    "TPR.2, TPR.3",
    "J = 2, Mbar = -1, M = 1: the influence is +1 where one step alone says -1",
    "closed form",
    0,
    trials=3,
)
def t39(rng):
    net = RecurrentNetwork([RNN(1, 1, "identity")])
    U, h0 = (rng.integers(-3, 4, shape).astype(float) for shape in ((1, 1), (1, 1)))
    params = [{"W": np.array([[2.0]]), "U": U, "b": np.zeros(1)}]
    inputs = np.array([1.0, -1.0]).reshape(2, 1, 1)  # Mbar_1 = M_1 = 1, Mbar_2 = -1
    h = 2 * (2 * h0 + U) - U
    targets = np.concatenate([0 * h, h - 1])[:, None]  # q_2 = 1
    data = net, params, inputs, targets, np.array([[False], [True]]), [h0]
    whole, alone = (tpc.gradient(*data, influence=name, inference="fixed") for name in ("plain", None))
    exact, right = bptt.gradient(*data).grads[0]["U"].item(), 1.0
    error = max(abs(whole.grads[0]["U"].item() - right), abs(exact - right))
    return error, right - alone.grads[0]["U"].item()  # 2: the opposite sign


@claim(
    "T41",
    "tPC.2, TPR.9",
    "hidden states in the readout, beta on the loss alone: BPTT + O(beta)",
    "autograd, ratio over a decade",
    0.2,
    trials=5,
)
def t41(rng):
    p = sequence(rng, [str(rng.choice(GATED)), "dense", "dense"], mask=False)
    exact = time_ad.loss_gradient(*p.arguments)

    def distance(hidden):
        return lambda beta: far(
            learned(
                tpc_problems.Inference(p, [None, hidden(beta), None], beta),
                influence="plain",
                carry="prediction",
            ).grads,
            exact,
        )

    return decade(distance(lambda beta: None), 1e-3), decade(distance(lambda beta: beta), 1e-3)  # beta on all
