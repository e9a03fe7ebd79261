"""Exercises in time: recurrent cells, backpropagation through time, real-time recurrent learning, stacks.

The cell of most of them is the plain one, h_t = tanh(W h_{t-1} + U u_t + b). Time comes first in every sequence,
(T, B, ...), and Theta = [W U b] has the columns of z_t = [h_{t-1}; u_t; 1], n_z = n + m + 1 of them.
"""

import numpy as np

from ..blocks import Dense, Embedding
from ..cells import GRU, LSTM, RNN
from ..recurrent import RecurrentNetwork
from .register import exercise

# ---------------------------------------------------------------------- problems


def sequence(d, chain, T=None):
    """A network of the cells and blocks of ``chain``, functions of two widths, with sequences and initial states."""
    n = d.widths(len(chain) + 1)
    net = RecurrentNetwork([make(i, o) for make, i, o in zip(chain, n[:-1], n[1:], strict=True)])
    T = d.T if T is None else T
    h0 = [d.normal(d.B, net.blocks[l].state_size) for l in net.cells]
    return {
        "net": net,
        "params": d.params(net),
        "inputs": d.normal(T, d.B, n[0]),
        "targets": d.normal(T, d.B, n[-1]),
        "h0": h0[0] if len(h0) == 1 else h0,
    }


def dense(i, o):
    """A tanh block between cells."""
    return Dense(i, o, "tanh")


def readout(i, o):
    """The linear output."""
    return Dense(i, o, "identity")


def plain(d):
    """A tanh cell and a linear readout."""
    return sequence(d, [RNN, readout])


def one_cell(d, cell=RNN, leak=False):
    """A cell alone: one step from ``h`` on ``u``, and a sequence ``inputs`` from ``h0`` on."""
    given = sequence(d, [cell])
    given |= {"params": given["params"][0], "h": given["h0"], "u": given["inputs"][0]}
    given["q"] = d.normal(d.T, d.B, given["h0"].shape[1])  # credit of every state
    return given | ({"alpha": d.uniform(0.3, 0.8).item()} if leak else {})


def leaky(d):
    """A tanh cell with a leak."""
    return one_cell(d, leak=True)


def gru(d):
    """A GRU alone."""
    return one_cell(d, GRU)


def lstm(d):
    """An LSTM alone; its state is [h; c]."""
    return one_cell(d, LSTM)


# ---------------------------------------------------------------------- what engines are asked


def widths(params):
    """(m, n) of a gated cell."""
    return params["U"].shape[1], params["W"].shape[1]


def rnn(engine, params, **options):
    """The tanh cell of these parameters."""
    return engine.RNN(*widths(params), **options)


def jacobian(cell, params, tape):
    """J of the one step of a tape, column by column: J times the identity."""
    B, N = tape.before.shape[1:]
    return cell.times_jacobian(params, cell.local(params, tape), 0, np.tile(np.eye(N), (B, 1, 1)))


def by_name(influence, params, l, N, B):
    """The influence on the state of cell l as a list of dicts of (B, N, *shape): one unit of credit after another."""
    found = [{name: np.empty((B, N, *v.shape)) for name, v in p.items()} for p in params]
    for b, k in np.ndindex(B, N):
        q = [None] * len(params)
        q[l] = np.zeros((B, N))
        q[l][b, k] = 1
        for into, grads in zip(found, influence.gradients(params, influence.readout(q)), strict=True):
            for name, value in grads.items():
                into[name][b, k] = value
    return found


def influence_of(engine, kind, net, params, inputs, h0, length, **options):
    """The influence on the last cell's state after all inputs, found in stretches of some steps."""
    h = [None] * len(params)
    for l, state in zip(net.cells, h0 if isinstance(h0, list) else [h0], strict=True):
        h[l] = state
    M, start = engine.influence.start(kind, net, params, h, **options), h
    for t in range(0, len(inputs), length):
        done = engine.recurrent.run(net, params, h, inputs[t : t + length], None, start)
        if kind == "hybrid":
            M.advance(params, done)
        else:
            M.step(params, done.with_locals(net, params), 0)
        h = done.last
    M.settle()
    last = net.cells[-1]
    return by_name(M, params, last, net.blocks[last].state_size, inputs.shape[1])


# ---------------------------------------------------------------------- one step of the plain cell


@exercise("RNN.1", problem=leaky)
def step(engine, params, h, u, alpha):
    """One step of the leaky cell in the post form: h_t (B, n), with phi = tanh.

    ``params`` holds ``W`` (n, n), ``U`` (n, m), ``b`` (n,); ``h`` is h_{t-1} (B, n), ``u`` is u_t (B, m), ``alpha``
    the leak rate, a number.
    """
    return rnn(engine, params, alpha=alpha).step(params, h, u)[0]


@exercise("RNN.2", problem=leaky)
def pre_form(engine, params, h, u, alpha):
    """One step of the leaky cell in the pre form, as a tuple of h_t (B, n), J_t = dh_t/dh_{t-1} (B, n, n) and z_t.

    z_t (B, n_z) is what Theta = [W U b] multiplies. What is given: see (RNN.1).
    """
    cell = rnn(engine, params, alpha=alpha, form="pre")
    after, tape = cell.scan(params, h, u[None])
    return after[0], jacobian(cell, params, tape), cell.local(params, tape).groups[0].z[0]


@exercise("RNN.3", problem=leaky)
def slopes_and_regressors(engine, params, inputs, h0, alpha):
    """Of every step of the leaky cell, post form: the slope D_t = dh_t/da_t (T, B, n), and z_t (T, B, n_z).

    z_t = [h_{t-1}; u_t; 1]. ``params`` holds ``W``, ``U``, ``b``; ``inputs`` (T, B, m), ``h0`` (B, n), ``alpha`` the
    leak rate. phi = tanh.
    """
    cell = rnn(engine, params, alpha=alpha)
    group = cell.local(params, cell.scan(params, h0, inputs)[1]).groups[0]
    return group.E[:, :, 0, 0], group.z


@exercise("RNN.4", problem=leaky)
def state_jacobian(engine, params, h, u, alpha):
    """J_t = dh_t/dh_{t-1} (B, n, n) of one step of the leaky cell, post form. What is given: see (RNN.1)."""
    cell = rnn(engine, params, alpha=alpha)
    return jacobian(cell, params, cell.step(params, h, u)[1])


@exercise("RNN.5", problem=leaky)
def immediate_jacobian(engine, params, h, u, alpha):
    """Mbar_t = dh_t/dTheta at fixed h_{t-1}, (B, n, n, n_z), of one step of the leaky cell, post form.

    Theta = [W U b] (n, n_z). What is given: see (RNN.1).
    """
    cell = rnn(engine, params, alpha=alpha)
    local, (B, n) = cell.local(params, cell.step(params, h, u)[1]), h.shape
    M = cell.step_influence(cell.start_influence(B, h), params, local, 0)
    return M.reshape(B, n, n, -1)


def with_readout(d):
    """States, a linear readout, and targets that do not count at every step."""
    n, o = d.widths(2)
    given = {
        "V": d.normal(o, n),
        "b": d.normal(o),
        "h": d.normal(d.T, d.B, n),
        "targets": d.normal(d.T, d.B, o),
    }
    return given | {"mask": d.chance(0.7, d.T, d.B)[::-1].copy()}


@exercise("RNN.6", problem=with_readout)
def credit(engine, V, b, h, targets, mask):
    """Credit q_t = dL_t/dh_t of every state, (T, B, n), and the loss (B,) of each sequence, summed over its steps.

    The readout is yhat_t = h_t @ V.T + b, V (o, n); L_t = 1/2 |yhat_t - y_t|^2. ``h`` (T, B, n) are the states,
    ``targets`` (T, B, o). Where ``mask`` (T, B) is False no target counts: the loss is zero, and so is the credit.
    """
    block, params, (T, B) = engine.Dense(V.shape[1], V.shape[0], "identity"), {"W": V, "b": b}, mask.shape
    net, given = engine.Network([block]), engine.recurrent.Prepared(None, targets, mask, None, None)
    out, tape = block.forward(params, h.reshape(T * B, -1))
    values, v = engine.recurrent.losses(net, out.reshape(T, B, -1), given)
    return block.vjp(params, tape, v.reshape(T * B, -1))[0].reshape(h.shape), values.sum(axis=0)


# ---------------------------------------------------------------------- cells with gates


@exercise("GRU.1", problem=gru)
def gru_step(engine, params, h, u):
    """One step of the GRU: h_t (B, n).

    ``params`` holds ``W`` (3n, n), ``U`` (3n, m), ``b`` (3n,), the rows of the gates r, z, c one after the other;
    ``h`` is h_{t-1} (B, n), ``u`` is u_t (B, m). The reset gate stands behind the weights, r * (W_c h).
    """
    return engine.GRU(*widths(params)).step(params, h, u)[0]


@exercise("GRU.2", problem=gru)
def gru_state_jacobian(engine, params, h, u):
    """J_t = dh_t/dh_{t-1} (B, n, n) of the GRU. What is given: see (GRU.1)."""
    cell = engine.GRU(*widths(params))
    return jacobian(cell, params, cell.step(params, h, u)[1])


@exercise("GRU.3", problem=gru)
def gru_immediate_jacobian(engine, params, h, u):
    """dh_t/dtheta at fixed h_{t-1}: a dict ``W`` (B, n, 3n, n), ``U`` (B, n, 3n, m), ``b`` (B, n, 3n) of the GRU.

    What is given: see (GRU.1).
    """
    cell = engine.GRU(*widths(params))
    return cell.immediate_jacobian(params, cell.step(params, h, u)[1])


@exercise("LSTM.1", problem=lstm)
def lstm_step(engine, params, h, u):
    """One step of the LSTM: the state [h_t; c_t] (B, 2n).

    ``params`` holds ``W`` (4n, n), ``U`` (4n, m), ``b`` (4n,), the rows of the gates i, f, g, o one after the other;
    ``h`` is the state before, [h_{t-1}; c_{t-1}] (B, 2n), ``u`` is u_t (B, m).
    """
    return engine.LSTM(*widths(params)).step(params, h, u)[0]


@exercise("LSTM.2", problem=lstm)
def lstm_state_jacobian(engine, params, h, u):
    """J_t (B, 2n, 2n) of the LSTM: how [h_t; c_t] follows [h_{t-1}; c_{t-1}]. What is given: see (LSTM.1)."""
    cell = engine.LSTM(*widths(params))
    return jacobian(cell, params, cell.step(params, h, u)[1])


@exercise("LSTM.3", problem=lstm)
def lstm_immediate_jacobian(engine, params, h, u):
    """d[h_t; c_t]/dtheta at a fixed state before: ``W`` (B, 2n, 4n, n), ``U`` (B, 2n, 4n, m), ``b`` (B, 2n, 4n).

    What is given: see (LSTM.1).
    """
    cell = engine.LSTM(*widths(params))
    return cell.immediate_jacobian(params, cell.step(params, h, u)[1])


# ---------------------------------------------------------------------- backward in time


@exercise("BPTT.1", problem=plain)
def gradient(engine, net, params, inputs, targets, h0):
    """The gradient of the loss summed over time and batch, backward in time: a list of two dicts.

    ``net.blocks`` are a cell h_t = tanh(h_{t-1} @ W.T + u_t @ U.T + b) and a linear readout yhat_t = h_t @ W.T + b;
    ``params`` is a list of two dicts, ``W``, ``U``, ``b`` of the cell and ``W``, ``b`` of the readout. ``inputs``
    (T, B, m), ``targets`` (T, B, o), ``h0`` (B, n). The loss of a step is 1/2 |yhat_t - y_t|^2.
    """
    anew = np.zeros(inputs.shape[:2], bool)  # nowhere, but the engine then goes step by step
    return engine.bptt.gradient(net, params, inputs, targets, None, h0, anew)


@exercise("BPTT.2", problem=one_cell)
def weight_gradient(engine, params, inputs, h0, q):
    """dLoss/dW, dLoss/dU, dLoss/db of the plain cell from the total credits p_t: a dict ``W``, ``U``, ``b``.

    h_t = tanh(h_{t-1} @ W.T + u_t @ U.T + b). ``inputs`` (T, B, m), ``h0`` (B, n); ``q`` (T, B, n) holds the
    p_t = dLoss/dh_t, through all later steps already. Sums over time and batch.
    """
    cell = rnn(engine, params)
    _, tape = cell.scan(params, h0, inputs)
    local = cell.local(params, tape)
    w = cell._rows_of(local.groups[0].E, (q,), False)
    return cell.gradients(params, tape, engine.cells.Swept((local, (w,)), None, None))


def with_resets(d):
    """A tanh cell and a linear readout, and lanes that begin anew in between."""
    given = plain(d)
    reset = d.chance(0.4, d.T, d.B)
    reset[0] = False
    reset[d.T // 2, 0] = True
    return given | {"reset": reset}


@exercise("BPTT.3", problem=with_resets)
def initial_gradient(engine, net, params, inputs, targets, h0, reset):
    """dLoss/dh_0 of every sequence, (B, n), where sequences begin anew in between.

    Where ``reset`` (T, B) is True, the state before step t of that lane is h0 again: nothing goes back beyond it, and
    what arrives there counts. The network and the rest: see (BPTT.1).
    """
    return engine.bptt.gradient(net, params, inputs, targets, None, h0, reset).initial


def with_window(d):
    """A tanh cell and a linear readout, and a window."""
    return plain(d) | {"steps": 2 + d.setting % 2 if not d.short else 2}


@exercise("BPTT.4", problem=with_window)
def truncated(engine, net, params, inputs, targets, h0, steps):
    """Truncated BPTT: each loss L_t sends its credit to the steps t, t - 1, ..., t - k + 1 alone; k = ``steps``.

    A list of two dicts, the network and what is given: see (BPTT.1). The window slides by one step.
    """
    return engine.bptt.truncated(net, params, inputs, targets, None, h0, steps=steps)


def with_segments(d):
    """A tanh cell and a linear readout, and segments that do not divide T."""
    return plain(d) | {"segment": 2}


@exercise("BPTT.6", problem=with_segments)
def checkpointed(engine, net, params, inputs, targets, h0, segment):
    """BPTT that keeps states between segments of ``segment`` steps alone, and runs each segment again on the way back.

    The gradient of (BPTT.1), a list of two dicts; the network and what is given: see there.
    """
    return engine.bptt.checkpointed(net, params, inputs, targets, None, h0, segment=segment)


@exercise("BPTT.5", problem=one_cell)
def total_credit(engine, params, inputs, h0, q):
    """The total credit p_t = dLoss/dh_t of every step, (T, B, n), through all later steps: also dLoss/de_t at e = 0.

    ``q`` (T, B, n) are the credits q_t = dL_t/dh_t of the losses of the same step. The cell is
    h_t = tanh(h_{t-1} @ W.T + u_t @ U.T + b); ``inputs`` (T, B, m), ``h0`` (B, n).
    """
    cell, p = rnn(engine, params), []
    _, tape = cell.scan(params, h0, inputs)
    for t in range(len(inputs)):  # of the states from t on, the one before step t+1 hears J^T p_{t+1}
        later = tape._replace(
            u=tape.u[t + 1 :],
            before=tape.before[t + 1 :],
            after=tape.after[t + 1 :],
            kept=tuple(v[t + 1 :] for v in tape.kept),
            reset=np.zeros((len(inputs) - t - 1, len(h0)), bool),
        )
        p.append(q[t] if t + 1 == len(inputs) else q[t] + cell.sweep(params, later, q[t + 1 :], None).start)
    return np.stack(p)


# ---------------------------------------------------------------------- forward in time


@exercise("RTRL.1", problem=one_cell)
def influence(engine, params, inputs, h0):
    """The influence M_T = dh_T/dTheta of the plain cell after the last step, (B, n, n, n_z); M_0 = 0.

    h_t = tanh(h_{t-1} @ W.T + u_t @ U.T + b), Theta = [W U b] (n, n_z); ``params`` holds ``W`` (n, n), ``U`` (n, m),
    ``b`` (n,), ``inputs`` (T, B, m), ``h0`` (B, n). Entry [b, k, i, j] is the derivative of h_k by Theta_ij in lane b.
    """
    cell, (B, n) = rnn(engine, params), h0.shape
    local, M = cell.local(params, cell.scan(params, h0, inputs)[1]), cell.start_influence(B, h0)
    for t in range(len(inputs)):
        M = cell.step_influence(M, params, local, t)
    return M.reshape(B, n, n, -1)


@exercise("RTRL.2", problem=plain)
def rtrl_gradient(engine, net, params, inputs, targets, h0):
    """The gradient of the loss summed over time and batch, forward in time: a list of two dicts.

    The network and what is given: see (BPTT.1).
    """
    return engine.rtrl.gradient(net, params, inputs, targets, None, h0, influence="exact")


def symbols(d):
    """Symbols, their embedding, a tanh cell and a linear readout; every symbol comes more than once."""
    rows, width, n, o = d.widths(4)
    net = RecurrentNetwork([Embedding(rows, width), RNN(width, n), Dense(n, o, "identity")], input_shape=())
    inputs = (np.arange(d.T * d.B) % rows)[d.rng.permutation(d.T * d.B)].reshape(d.T, d.B)
    targets, h0 = d.normal(d.T, d.B, o), d.normal(d.B, n)
    return {"net": net, "params": d.params(net), "inputs": inputs, "targets": targets, "h0": h0}


@exercise("RTRL.3", problem=symbols)
def embedding_gradient(engine, net, params, inputs, targets, h0):
    """The gradient of an embedding under a cell, through all of time: dLoss/dE (rows, m).

    ``params`` is a list of three dicts: ``W`` (rows, m) is the embedding E, u_t = E[inputs[t]]; then the tanh cell,
    and the readout, as in (BPTT.1). ``inputs`` (T, B) are integers.
    """
    g = engine.rtrl.gradient(net, params, inputs, targets, None, h0, influence="exact")
    return g.grads[0]["W"]


def stream(d):
    """A block under a tanh cell and one over it, and lanes that begin anew in between."""
    given = sequence(d, [dense, RNN, readout])
    reset = d.chance(0.3, d.T, d.B)
    reset[0] = False
    reset[-1, 0] = True
    return given | {"reset": reset}


@exercise("RTRL.6", problem=stream)
def stream_gradient(engine, net, params, inputs, targets, h0, reset):
    """The gradient of the loss over a stream in which lanes begin anew: a list of three dicts.

    ``net.blocks`` are a tanh block, a tanh cell, a linear readout. Where ``reset`` (T, B) is True, the state before step
    t of that lane is h0 again. The stream comes in two stretches: the second one begins with the states and
    the influence that the first one leaves, and the gradients add up to that of the whole.
    """
    cut, rtrl = len(inputs) // 2, engine.rtrl.gradient
    first = (
        rtrl(net, params, inputs[:cut], targets[:cut], None, h0, reset[:cut], influence="exact")
        if cut
        else None
    )
    carried = {"carry": first.carry} if cut else {"h0": h0}
    rest = rtrl(
        net, params, inputs[cut:], targets[cut:], None, reset=reset[cut:], influence="exact", **carried
    )
    return engine.bptt.added(first.grads, rest.grads) if cut else rest.grads


def learning(d):
    """A tanh cell and a linear readout that learn while time goes on; not every lane has a target at every step."""
    mask = d.chance(0.6, d.T, d.B)[::-1].copy()
    return plain(d) | {"mask": mask, "learning_rate": d.uniform(0.05, 0.3).item()}


@exercise("RTRL.7", problem=learning)
def online(engine, net, params, inputs, targets, mask, h0, learning_rate):
    """Learn at every step, and return the parameters after the last one: a list of two dicts.

    At every step: the new state and influence, then one step of gradient descent with the gradient q_t' M_t, summed
    over the lanes that have a target there (``mask`` (T, B)) and divided by their number; where there is none,
    nothing moves. The influence is carried on as it is. The network and the rest: see (BPTT.1).
    """
    optimizer = engine.optim.SGD(learning_rate)
    return engine.rtrl.online(net, params, inputs, targets, mask, h0, optimizer=optimizer).params


# ---------------------------------------------------------------------- blocks of steps


def in_blocks(d):
    """A tanh cell and a linear readout, and blocks that do not divide T."""
    return plain(d) | {"block": 2}


@exercise("HYB.1", problem=in_blocks)
def block_gradient(engine, net, params, inputs, targets, h0, block):
    """The gradient of (RTRL.2) in blocks of ``block`` steps: BPTT inside of a block, the influence before it.

    A list of two dicts; the network and what is given: see (BPTT.1). T need not be a multiple of ``block``.
    """
    return engine.rtrl.gradient(net, params, inputs, targets, None, h0, influence="hybrid", block=block)


def below(d):
    """A tanh block under a tanh cell, and blocks of steps."""
    return sequence(d, [dense, RNN]) | {"block": 2}


@exercise("HYB.2", problem=below)
def block_influence(engine, net, params, inputs, h0, block):
    """The influence on the cell's state after the last step, found in blocks of ``block`` steps by backward sweeps.

    A list of two dicts of arrays (B, n, *shape): how h_T follows ``W``, ``b`` of the tanh block, and ``W``, ``U``,
    ``b`` of the tanh cell over it. ``inputs`` (T, B, m), ``h0`` (B, n).
    """
    return influence_of(engine, "hybrid", net, params, inputs, h0, block, block=block)


# ---------------------------------------------------------------------- stacks


def two_cells(d):
    """A tanh cell over a tanh cell."""
    return sequence(d, [RNN, RNN])


@exercise("STACK.2", problem=two_cells)
def stack_influence(engine, net, params, inputs, h0):
    """The influence on the upper cell's state after the last step, of the parameters of both cells.

    A list of two dicts of arrays (B, n2, *shape): how h2_T follows ``W``, ``U``, ``b`` of the lower cell, and of the
    upper one, whose input is the state of the lower cell at the same step. Both are tanh cells, ``params`` a list
    of two dicts, ``inputs`` (T, B, m), ``h0`` a list of (B, n1) and (B, n2).
    """
    return influence_of(engine, "exact", net, params, inputs, h0, 1)


def stack(d):
    """Two tanh cells and a linear readout."""
    return sequence(d, [RNN, RNN, readout])


@exercise("STACK.3", problem=stack)
def stack_gradient(engine, net, params, inputs, targets, h0):
    """The gradient of the loss summed over time and batch, of two cells and a readout: a list of three dicts.

    ``net.blocks`` are two tanh cells, the upper one on the state of the lower one at the same step, and a linear
    readout. ``params`` is a list of three dicts, ``h0`` a list of (B, n1) and (B, n2); the rest: see (BPTT.1).
    """
    return engine.rtrl.gradient(net, params, inputs, targets, None, h0, influence="exact")


@exercise("STACK.4", problem=stack)
def local_gradient(engine, net, params, inputs, targets, h0):
    """The layer-local rule of the same stack: each cell's own influence on its own state, and no other.

    Credit comes down through the upper cell at the same step. A list of three dicts; what is given: see (STACK.3).
    """
    return engine.rtrl.gradient(net, params, inputs, targets, None, h0, influence="local")
