"""Claims: the traces of LRU, RTU and eLSTM, one cell alone."""

import numpy as np

from .. import rtrl
from ..recurrent import losses, prepare_sequences, run
from .setting import by_complex_step, claim, in_time, off, recurrent, sequence, time_ad


def alone(rng, kind, **options):
    """One diagonal cell and nothing else; the error is squared, so that the complex step passes."""
    return sequence(rng, [kind], loss="mse", **options)


def _traced(p, cell=None, regressor="before", credit=lambda q: q):
    """Gradient by the traces step by step, with the wrong derivatives, state or credit if asked for.

    ``cell`` takes the place of the network's own after the forward pass; ``regressor`` is "before" or "after".
    """
    net, checked = recurrent(p), prepare_sequences(*in_time(p))
    done = run(net, p.params, checked.start, checked.inputs, checked.reset, checked.start)
    _, v = losses(net, done.out, checked)
    (theta,), (tape,), (h,) = p.params, done.tapes, checked.start
    cell = cell or net.blocks[0]
    q, _ = net.blocks[0].output_pull(theta, v)
    traces, total = cell.start_traces(len(h), h), None
    for t in range(len(q)):
        now = tape._replace(
            u=tape.u[t : t + 1],
            before=getattr(tape, regressor)[t : t + 1],
            after=tape.after[t : t + 1],
            kept=tuple(a[t : t + 1] for a in tape.kept),
        )
        traces = cell.advance_traces(traces, theta, now)
        read = cell.to_parameters(theta, cell.read_traces(traces, credit(q[t])))
        total = read if total is None else {name: total[name] + read[name] for name in read}
    return total


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
    (right,), names = time_ad.loss_gradient(*q.arguments), ("nu", "th", "lg", "B_re", "B_im")
    lg = q.params[0]["lg"]
    traced = _traced(q)
    wrong = [
        _traced(q, credit=np.conj),  # delta for q
        _traced(q, regressor="after"),  # h_t for h_{t-1} in the trace of zeta
        {
            **traced,
            **{name: traced[name] * (lg / np.exp(lg))[:, None] for name in ("B_re", "B_im")},
        },  # log gamma
    ]
    return np.max([error, off(*_only(names, traced, right))]), np.min(
        [off(*_only(names, w, right)) for w in wrong]
    )


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

    class GateAlone(type(recurrent(q).blocks[0])):
        """Its Jacobian is f: the gates do not see the state."""

        def local(self, p, tape):
            local = super().local(p, tape)
            _, f = tape.kept
            return local._replace(A=f[:, :, None, None])

    (right,) = by_complex_step(q)
    cell = recurrent(q).blocks[0]
    wrong = _traced(q, GateAlone(cell.n_in, cell.n))
    return off(found, by_complex_step(p)), off([wrong], [right])


@claim(
    "T38",
    "LRU.2, LRU.6",
    "the LRU's Jacobian and its traces of gamma and B are the same in any state; that of zeta is not",
    "identity",
    0,
)
def t38(rng):
    p, q = alone(rng, "lru"), alone(rng, "rnn", activation="tanh")

    def derivatives(p, h):
        """J of one step from the state h, and the traces after it."""
        (cell,), (theta,) = recurrent(p).blocks, p.params
        _, tape = cell.step(theta, h, p.inputs[0])
        J = cell.state_jacobian(theta, tape)
        return J, cell.advance_traces(cell.start_traces(len(h), h), theta, tape) if p is not q else None

    shift = lambda h: h + rng.standard_normal(h.shape)  # noqa: E731
    (h,), (k,) = in_time(p)[5], in_time(q)[5]
    (J, traces), (J_other, others) = derivatives(p, h), derivatives(p, shift(h))
    error = sum(
        np.abs(a - b).sum() for a, b in [(J, J_other), *((traces[x], others[x]) for x in ("gam", "B"))]
    )
    moved = [
        off([others["zeta"]], [traces["zeta"]]),
        off([derivatives(q, shift(k))[0]], [derivatives(q, k)[0]]),
    ]
    return float(error), np.min(moved)
