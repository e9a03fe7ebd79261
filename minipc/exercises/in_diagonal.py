"""Exercises of diagonal cells: LRU, eLSTM, RTU, and stacks of them."""

import numpy as np

from ..cells import RNN
from ..diagonal import ELSTM, LRU
from .in_time import dense, one_cell, sequence
from .register import exercise

# ---------------------------------------------------------------------- problems


def complex_normal(d, *shape):
    """Complex numbers."""
    return d.normal(*shape) + 1j * d.normal(*shape)


def lru(d, gamma="free"):
    """An LRU alone, with sequences, and everything that the equations of one step ask for."""
    m, n, o = d.widths(3)
    cell = LRU(m, n, o, gamma=gamma)
    params = {name: d.rounded(d.normal(*shape) / shape[-1] ** 0.5) for name, shape in cell.shapes.items()}
    params["nu"] = d.uniform(-2.0, 0.0, n)  # |zeta| between 0.4 and 0.9
    return {
        "params": params,
        "inputs": d.normal(d.T, d.B, m),
        "h0": complex_normal(d, d.B, n),
        "h": complex_normal(d, d.B, n),
        "u": d.normal(d.B, m),
        "dy": d.normal(d.B, o),
        "q": complex_normal(d, d.B, n),
        "e_zeta": complex_normal(d, d.B, n),
        "e_gamma": complex_normal(d, d.B, n),
        "E_B": complex_normal(d, d.B, n, m),
    }


def tied(d):
    """An LRU whose gamma is tied to zeta."""
    return lru(d, "tied")


def elstm(d):
    """An eLSTM alone."""
    return one_cell(d, ELSTM)


def rtu(d):
    """A tanh RTU alone."""
    m, n = d.widths(2)
    params = {"nu": d.uniform(-2.0, 0.0, n), "th": d.uniform(-1.0, 1.0, n)}
    params |= {name: d.normal(n, m) for name in ("W1", "W2")}
    return {
        "params": params,
        "inputs": d.normal(d.T, d.B, m),
        "h0": d.normal(d.B, 2 * n),
        "h": d.normal(d.B, 2 * n),
        "u": d.normal(d.B, m),
    }


def of_lru(engine, params):
    """The LRU of these parameters."""
    n, m = params["B_re"].shape
    return engine.LRU(m, n, len(params["D"]), gamma="free" if "lg" in params else "tied")


def of_rtu(engine, params, activation="tanh"):
    """The RTU of these parameters."""
    return engine.RTU(*params["W1"].shape[::-1], activation=activation)


def traces_of(cell, params, inputs, h0):
    """All traces after the steps of a sequence, beginning with zero."""
    _, tape = cell.scan(params, h0, inputs)
    local, traces = cell.local(params, tape), cell.start_traces(len(h0), h0)
    for t in range(len(inputs)):
        traces = cell.step_traces(traces, local, inputs[t], t)
    return traces


# ---------------------------------------------------------------------- LRU


@exercise("LRU.1", problem=lru)
def modes(engine, params):
    """The eigenvalues zeta (n,), complex, and the factors gamma (n,) of the input, as a tuple.

    ``params`` holds ``nu``, ``th`` and ``lg`` (n,), the logarithm of gamma.
    """
    return of_lru(engine, params).eigenvalues(params)


@exercise("LRU.2", problem=lru)
def lru_step(engine, params, h, u):
    """One step of the LRU: the state h_t (B, n), complex, and the output Re(C h_t) + D u_t (B, o), as a tuple.

    ``params`` holds ``nu``, ``th``, ``lg`` (n,), ``B_re``, ``B_im`` (n, m), ``C_re``, ``C_im`` (o, n), ``D`` (o, m);
    ``h`` is h_{t-1} (B, n), complex, ``u`` is u_t (B, m).
    """
    cell = of_lru(engine, params)
    after, _ = cell.scan(params, h, u[None])
    return after[0], cell.output(params, after, u[None])[0]


@exercise("LRU.5", problem=lru)
def lru_credit(engine, params, dy):
    """The credit q_t of the complex state, (B, n), in the convention in which dL/dp = Re(sum_i q_i dh_i/dp).

    ``dy`` (B, o) is dL_t/dyhat_t; ``params`` holds ``C_re``, ``C_im`` (o, n).
    """
    return of_lru(engine, params).output_pull(params, dy)[0]


@exercise("LRU.6", problem=lru)
def lru_traces(engine, params, inputs, h0):
    """The traces e_zeta (B, n), e_gamma (B, n), E_B (B, n, m) after the last step, all zero at the start: a tuple.

    E_B has the factor gamma in it. ``inputs`` (T, B, m), ``h0`` (B, n) complex; ``params``: see (LRU.2).
    """
    cell = of_lru(engine, params)
    traces = traces_of(cell, params, inputs, h0)
    E_B = cell.tangents(params, traces)[list(cell.state_columns).index("B_re")]
    return traces["zeta"][:, 0], traces["gam"][:, 0], E_B[:, 0]


@exercise("LRU.7", problem=lru)
def mode_gradients(engine, params, q, e_zeta, e_gamma):
    """What one step adds to the gradients of ``nu``, ``th`` and ``lg``, summed over the batch: a dict of (n,).

    ``q`` (B, n) is the credit, ``e_zeta``, ``e_gamma`` (B, n) are the traces, all complex; ``params``: see (LRU.2).
    """
    read = {"zeta": (q * e_zeta).sum(axis=0), "gam": (q * e_gamma).sum(axis=0), "B": 0 * params["B_re"]}
    found = of_lru(engine, params).to_parameters(params, read)
    return {name: found[name] for name in ("nu", "th", "lg") if name in found}


@exercise("LRU.8", problem=lru)
def lru_weight_gradients(engine, params, q, E_B, h, dy, u):
    """What one step adds to the gradients of the weights, a dict ``B_re``, ``B_im``, ``C_re``, ``C_im``, ``D``, ``u``.

    Sums over the batch, but for ``u`` (B, m): dL_t/du_t through the state and through D. ``q`` (B, n) is the credit of
    the state, ``E_B`` (B, n, m) the trace of B with gamma in it, ``h`` is h_t (B, n), ``dy`` (B, o) is dL_t/dyhat_t, ``u``
    is u_t (B, m); ``params``: see (LRU.2).
    """
    cell = of_lru(engine, params)
    one, gam = np.zeros(len(params["nu"])), np.exp(params["lg"])[:, None]
    B = (q[:, :, None] * E_B).sum(axis=0) / gam
    found = cell.to_parameters(params, {"zeta": one, "gam": one, "B": B})
    tape = engine.cells.Tape(u[None], None, h[None], None, None)
    down = cell.pull_input(params, tape, engine.cells.Swept((None, q[None]), None, None))[0]
    weights = {name: found[name] for name in ("B_re", "B_im")}
    weights |= cell.output_gradients(params, tape, dy[None])
    return weights | {"u": down + cell.output_pull(params, dy)[1]}


@exercise("LRU.9", problem=tied)
def tied_gradient(engine, params, q, e_zeta, e_gamma):
    """What one step adds to the gradient of ``nu`` (n,) where gamma = sqrt(1 - |zeta|^2), summed over the batch.

    What is given: see (LRU.7); there is no ``lg``.
    """
    return mode_gradients(engine, params, q, e_zeta, e_gamma)["nu"]


@exercise("HYB.4", problem=lru)
def block_trace(engine, params, inputs, E_B):
    """The trace of B (B, n, m), with gamma in it, a block of K steps later, in one go: powers of zeta times inputs.

    ``E_B`` (B, n, m) is the trace before the block, ``inputs`` (K, B, m); ``params``: see (LRU.2).
    """
    cell, gam = of_lru(engine, params), np.exp(params["lg"])[:, None]
    zero = np.zeros((inputs.shape[1], len(gam)), complex)
    _, tape = cell.scan(params, zero, inputs)
    traces = cell.start_traces(len(zero), zero)
    traces["B"] = traces["B"] + (E_B / gam)[:, None]
    return cell.advance_traces(traces, params, tape)["B"][:, 0] * gam


# ---------------------------------------------------------------------- eLSTM


@exercise("ELSTM.1", problem=elstm)
def elstm_step(engine, params, h, u):
    """One step of the eLSTM: c_t (B, n).

    ``params`` holds ``Wz``, ``Wf`` (n, m), ``wz``, ``wf``, ``bz``, ``bf`` (n,); ``h`` is c_{t-1} (B, n), ``u`` is u_t (B, m).
    """
    return engine.ELSTM(*params["Wz"].shape[::-1]).step(params, h, u)[0]


@exercise("ELSTM.2", problem=elstm)
def elstm_slopes(engine, params, h, u):
    """The slopes A_z, A_f (B, n) of c_t in the two pre-activations, and k = dc_t/dc_{t-1} (B, n), as a tuple.

    What is given: see (ELSTM.1).
    """
    cell = engine.ELSTM(*params["Wz"].shape[::-1])
    local = cell.local(params, cell.step(params, h, u)[1])
    A_z, A_f = (local.immediate[name][0][0, :, 0] for name in ("Wz", "Wf"))
    return A_z, A_f, local.A[0, :, 0, 0]


@exercise("ELSTM.3", problem=elstm)
def elstm_traces(engine, params, inputs, h0):
    """The traces dc_T/dp after the last step, all zero at the start: a dict like the parameters.

    ``Wz``, ``Wf`` (B, n, m), ``wz``, ``wf``, ``bz``, ``bf`` (B, n): entry i is of the parameters of unit i. ``inputs``
    (T, B, m), ``h0`` is c_0 (B, n); ``params``: see (ELSTM.1).
    """
    traces = traces_of(engine.ELSTM(*params["Wz"].shape[::-1]), params, inputs, h0)
    return {name: traces[name][:, 0] for name in params}


# ---------------------------------------------------------------------- RTU


@exercise("RTU.1", problem=rtu)
def rotation(engine, params):
    """g = r cos(w), p = r sin(w) and gamma = sqrt(1 - r^2), each (n,), as a tuple; ``params`` holds ``nu``, ``th`` (n,)."""
    return of_rtu(engine, params).rotation(params)[:3]


@exercise("RTU.2", problem=rtu)
def rtu_step(engine, params, h, u):
    """One step of the tanh RTU, as a tuple of the state [h1; h2] (B, 2n) and J = dh_t/dh_{t-1} (B, 2n, 2n).

    ``params`` holds ``nu``, ``th`` (n,), ``W1``, ``W2`` (n, m); ``h`` is [h1; h2] before (B, 2n), ``u`` is u_t (B, m).
    """
    cell = of_rtu(engine, params)
    after, tape = cell.step(params, h, u)
    return after, cell.state_jacobian(params, tape)


@exercise("RTU.3", problem=rtu)
def rotation_derivatives(engine, params):
    """A dict of (n,): ``dg_dnu``, ``dp_dnu``, ``dgamma_dnu``, ``dg_dth``, ``dp_dth``, of what (RTU.1) computes.

    ``params`` holds ``nu``, ``th`` (n,).
    """
    n, one = len(params["nu"]), {"nu": params["nu"], "th": params["th"]}
    one |= {"W1": np.ones((n, 1)), "W2": np.zeros((n, 1))}
    cell, h = of_rtu(engine, one, "identity"), np.zeros((2, 2 * n))
    h[0, :n] = 1  # lane 0: what g and p multiply; lane 1: what gamma multiplies
    local = cell.local(one, cell.step(one, h, np.array([[0.0], [1.0]]))[1])
    nu, th = (local.immediate[name][0][0] for name in ("nu", "th"))
    found = {"dg_dnu": nu[0, 0], "dp_dnu": nu[0, 1], "dgamma_dnu": nu[1, 0]}
    return found | {"dg_dth": th[0, 0], "dp_dth": th[0, 1]}


@exercise("RTU.4", problem=rtu)
def rtu_traces(engine, params, inputs, h0):
    """The pairs of traces after the last step, all zero at the start, of the tanh RTU: a dict like the parameters.

    ``nu``, ``th`` (B, 2, n), ``W1``, ``W2`` (B, 2, n, m): [b, 0] belongs to h1, [b, 1] to h2. ``inputs`` (T, B, m),
    ``h0`` (B, 2n); ``params``: see (RTU.2).
    """
    return traces_of(of_rtu(engine, params), params, inputs, h0)


# ---------------------------------------------------------------------- stacks


def two_elstms(d):
    """An eLSTM over an eLSTM, a tanh block in between."""
    return sequence(d, [ELSTM, dense, ELSTM])


@exercise("STACK.5", problem=two_elstms)
def diagonal_stack_gradient(engine, net, params, inputs, targets, h0):
    """The gradient of the loss summed over time and batch, of an eLSTM, a tanh block, an eLSTM: a list of three dicts.

    The loss of a step is 1/2 |c2_t - y_t|^2, c2 the state of the upper cell. ``params`` is a list of three dicts,
    those of (ELSTM.1), ``W``, ``b``, and (ELSTM.1); ``inputs`` (T, B, m), ``targets`` (T, B, o), ``h0`` a list of the
    two initial states.
    """
    return engine.rtrl.gradient(net, params, inputs, targets, None, h0, influence="exact")


def over_lru(d):
    """A tanh block under an LRU, a tanh cell over it."""
    given = sequence(d, [dense, lambda i, o: LRU(i, o + 1, o), RNN])
    given["params"][1]["nu"] = d.uniform(-2.0, 0.0, *given["params"][1]["nu"].shape)
    h, upper = given["h0"]
    return given | {"h0": [complex_normal(d, *h.shape), upper]}


@exercise("STACK.6", problem=over_lru)
def lru_stack_gradient(engine, net, params, inputs, targets, h0):
    """The gradient of the loss summed over time and batch, of a tanh block, an LRU, a tanh cell: a list of three dicts.

    The loss of a step is 1/2 |h_t - y_t|^2, h the state of the tanh cell, whose input is the output of the LRU, (LRU.2).
    ``params`` is a list of three dicts, ``h0`` a list of (B, n) complex and (B, o).
    """
    return engine.rtrl.gradient(net, params, inputs, targets, None, h0, influence="exact")
