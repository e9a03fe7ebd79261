"""Autograd oracles of recurrent networks: cells and losses written from the equations, every derivative by autograd.

No derivative in this file is derived by hand, so a mistake in a hand-derived rule cannot hide here. Complex
numbers do not occur either: the state of the LRU is a pair of real arrays, so no convention about complex
derivatives is shared with the engine.

=========  =================================================================  =================================
id         equation                                                           function
=========  =================================================================  =================================
(RNN.1)    a = W h' + U u + b, h = (1-alpha) h' + alpha phi(a)                rnn, post
(RNN.2)    a = W phi(h') + U u + b, h = (1-alpha) h' + alpha a                rnn, pre
(RNN.4)    J = dh_t/dh_{t-1}                                                  state_jacobian
(RNN.5)    Mbar = dh_t/dtheta, h_{t-1} held fixed                             immediate_jacobian
(GRU.1)    r = sig(W_r h' + U_r u + b_r), z = sig(W_z h' + U_z u + b_z),      gru
           c = tanh(r * W_c h' + U_c u + b_c), h = (1-z) c + z h'
(LSTM.1)   i, f, o = sig(..), g = tanh(..), c = f c' + i g, h = o tanh(c)     lstm
(ELSTM.1)  z = tanh(Wz u + wz c' + bz), f = sig(Wf u + wf c' + bf),           elstm
           c = f c' + (1-f) z
(LRU.1)    zeta = exp(-exp(nu) + i exp(th)), gam = exp(lg)                    lru
(LRU.2)    h = zeta h' + gam (B u), out = Re(C h) + D u                       lru
(LRU.9)    gam = sqrt(1 - |zeta|^2)                                           lru, tied
(RTU.1)    r = exp(-exp(nu)), w = exp(th), gg = r cos w, ph = r sin w         rtu
(RTU.2)    h1 = phi(gg h1' - ph h2' + gam W1 u), h2 likewise                  rtu
(BPTT.2)   dLoss/dtheta                                                       loss_gradient
(BPTT.3)   dLoss/dh_0                                                         initial_gradient
(BPTT.4)   credit through the last k steps only                               truncated_gradient
(BPTT.5)   E = 1/2 sum_t |e_t|^2 + Loss with h_t = f(h_{t-1}, u_t) + e_t      error_gradient
(RTRL.2)   d(L_1 + ... + L_t)/dtheta for every t                              prefix_gradients
(RTRL.3)   M_t = dh_t/dtheta along the whole sequence                         influence
(STACK.1)  A = dh_t/dh_{t-1}, G = dh_t/du_t of one layer                      state_jacobian, input_jacobian
(STACK.2)  dh^l_t/dtheta^k of a stack, all blocks                             influence
(STACK.4)  layer-local: own influence, credit at the same t                   layer_local_gradient
=========  =================================================================  =================================

Conventions. Time first, batch second: inputs (T, B, m) or, before an embedding, integers (T, B); targets
(T, B, o) or labels (T, B); losses per sample, (B,); gradients are sums over batch and time, structured as
``params``. A prime marks the step before.

blocks   list of dicts {"kind": ...}: "dense" and "rnn" with "activation" and "form" ("rnn" with "alpha" too),
         "gru", "lstm", "elstm", "embedding", "lru" with "gamma" ("free" or "tied"), "rtu" with "activation"
params   list of dicts of arrays, one a block; "h0" (LRU: "h0_re", "h0_im") in it is a learned initial state
h0       None or one entry a cell: None (the learned one, else zero) or the initial states (B, N)
mask     None or (T, B) bool: which steps count
reset    None or (T, B) bool: before step t, lane b goes back to its initial state
states   real, (B, N). LSTM: [h; c]; RTU: [h1; h2]; LRU: [Re h; Im h], so N = 2n

The engine keeps the state of the LRU as n complex numbers and returns the derivative of the loss by it as
delta = dLoss/dRe(h) + i dLoss/dIm(h), (LRU.4). With ``pairs`` and ``complexes``: pairs(h of the engine) is the
state here, and pairs(delta of the engine) is the derivative here; ``native`` does it for a list of cells.
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad, jacobian

from .autograd_oracles import ACTIVATIONS, loss_value, predict

sigmoid, tanh = ACTIVATIONS["sigmoid"], ACTIVATIONS["tanh"]


def pairs(z):
    """[Re z; Im z] (..., 2n), real, of z (..., n), complex."""
    return np.concatenate([np.real(z), np.imag(z)], axis=-1)


def complexes(h):
    """Re + i Im (..., n), complex, of [Re; Im] (..., 2n), real."""
    n = h.shape[-1] // 2
    return h[..., :n] + 1j * h[..., n:]


def native(blocks, states):
    """The states of the cells, (.., N), with the pairs of an LRU as complex numbers, as the engine has them."""
    cells = [block for block in blocks if is_cell(block)]
    return [complexes(h) if block["kind"] == "lru" else h for block, h in zip(cells, states, strict=True)]


# Cells: one step each, (state, output) from the state before and the input


def split(v, parts):
    """The given number of equal parts of v (..., parts n) along the last axis."""
    n = v.shape[-1] // parts
    return [v[..., i * n : (i + 1) * n] for i in range(parts)]


def rnn(block, p, h, u):
    """h_t (B, n), twice, (RNN.1), (RNN.2)."""
    phi, alpha = ACTIVATIONS[block["activation"]], block["alpha"]
    if block["form"] == "post":
        a = anp.dot(h, p["W"].T) + anp.dot(u, p["U"].T) + p["b"]
        new = (1.0 - alpha) * h + alpha * phi(a)  # (RNN.1)
    elif block["form"] == "pre":
        a = anp.dot(phi(h), p["W"].T) + anp.dot(u, p["U"].T) + p["b"]
        new = (1.0 - alpha) * h + alpha * a  # (RNN.2)
    else:
        raise ValueError(f'form must be "post" or "pre"; got {block["form"]!r}')
    return new, new


def gru(block, p, h, u):
    """h_t (B, n), twice; gates in the order r, z, c, (GRU.1)."""
    Wr, Wz, Wc = split(p["W"].T, 3)
    Ur, Uz, Uc = split(p["U"].T, 3)
    br, bz, bc = split(p["b"], 3)
    r = sigmoid(anp.dot(h, Wr) + anp.dot(u, Ur) + br)
    z = sigmoid(anp.dot(h, Wz) + anp.dot(u, Uz) + bz)
    c = tanh(r * anp.dot(h, Wc) + anp.dot(u, Uc) + bc)
    new = (1.0 - z) * c + z * h  # (GRU.1)
    return new, new


def lstm(block, p, state, u):
    """[h_t; c_t] (B, 2n) and h_t (B, n); gates in the order i, f, g, o, (LSTM.1)."""
    h, c = split(state, 2)
    i, f, g, o = split(anp.dot(h, p["W"].T) + anp.dot(u, p["U"].T) + p["b"], 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)  # (LSTM.1)
    h = sigmoid(o) * tanh(c)  # (LSTM.1)
    return anp.concatenate([h, c], axis=1), h


def elstm(block, p, c, u):
    """c_t (B, n), twice, (ELSTM.1)."""
    z = tanh(anp.dot(u, p["Wz"].T) + p["wz"] * c + p["bz"])
    f = sigmoid(anp.dot(u, p["Wf"].T) + p["wf"] * c + p["bf"])
    new = f * c + (1.0 - f) * z  # (ELSTM.1)
    return new, new


def lru(block, p, state, u):
    """[Re h_t; Im h_t] (B, 2n) and Re(C h_t) + D u_t (B, o), (LRU.1), (LRU.2), (LRU.9)."""
    re, im = split(state, 2)
    r, w = anp.exp(-anp.exp(p["nu"])), anp.exp(p["th"])  # |zeta| and its angle, (LRU.1)
    zeta_re, zeta_im = r * anp.cos(w), r * anp.sin(w)
    if block["gamma"] == "free":
        gam = anp.exp(p["lg"])  # (LRU.1)
    elif block["gamma"] == "tied":
        gam = anp.sqrt(1.0 - r**2)  # (LRU.9)
    else:
        raise ValueError(f'gamma must be "free" or "tied"; got {block["gamma"]!r}')
    new_re = zeta_re * re - zeta_im * im + gam * anp.dot(u, p["B_re"].T)  # (LRU.2) real part
    new_im = zeta_re * im + zeta_im * re + gam * anp.dot(u, p["B_im"].T)  # (LRU.2) imaginary part
    out = anp.dot(new_re, p["C_re"].T) - anp.dot(new_im, p["C_im"].T) + anp.dot(u, p["D"].T)  # (LRU.2)
    return anp.concatenate([new_re, new_im], axis=1), out


def rtu(block, p, state, u):
    """[h1; h2] (B, 2n), twice, (RTU.1), (RTU.2)."""
    h1, h2 = split(state, 2)
    phi = ACTIVATIONS[block["activation"]]
    r, w = anp.exp(-anp.exp(p["nu"])), anp.exp(p["th"])  # (RTU.1)
    gg, ph, gam = r * anp.cos(w), r * anp.sin(w), anp.sqrt(1.0 - r**2)  # (RTU.1)
    new1 = phi(gg * h1 - ph * h2 + gam * anp.dot(u, p["W1"].T))  # (RTU.2)
    new2 = phi(gg * h2 + ph * h1 + gam * anp.dot(u, p["W2"].T))  # (RTU.2)
    new = anp.concatenate([new1, new2], axis=1)
    return new, new


CELLS = {"rnn": rnn, "gru": gru, "lstm": lstm, "elstm": elstm, "lru": lru, "rtu": rtu}


def is_cell(block):
    """Whether a block has a state."""
    return block["kind"] in CELLS


def apply(block, p, h, u):
    """(state, output) of any block; the state of a block without one is None."""
    if is_cell(block):
        return CELLS[block["kind"]](block, p, h, u)
    if block["kind"] == "embedding":
        return None, anp.dot(np.eye(p["W"].shape[0])[u], p["W"])
    if block["kind"] == "dense":
        return None, predict((block["activation"], block["form"]), p, u)
    raise ValueError(f"unknown kind of block: {block['kind']!r}")


def state_width(block, p):
    """N, the number of real entries of a cell's state."""
    if block["kind"] in ("lru", "rtu"):
        return 2 * len(p["nu"])
    if block["kind"] == "elstm":
        return len(p["bz"])
    return {"rnn": 1, "gru": 1, "lstm": 2}[block["kind"]] * p["W"].shape[1]


# Sequences


def starts(blocks, params, h0, B):
    """The initial state (B, N) of every block, None for a block without one."""
    given = iter([None] * len(blocks) if h0 is None else h0)
    found = []
    for block, p in zip(blocks, params, strict=True):
        if not is_cell(block):
            found.append(None)
            continue
        h = next(given)
        if h is None and "h0_re" in p:
            h = anp.concatenate([p["h0_re"], p["h0_im"]])
        elif h is None:
            h = p.get("h0", np.zeros(state_width(block, p)))
        found.append(h + np.zeros((B, 1)))
    return found


def returned(lanes, start, h):
    """h (B, N), in the lanes named (B,) the initial state."""
    return h if lanes is None or h is None else anp.where(lanes[:, None], start, h)


def step(blocks, params, before, u):
    """One step of the whole network: the states after it, one a block, and its output (B, o), (STACK.1)."""
    states = []
    for block, p, h in zip(blocks, params, before, strict=True):
        h, u = apply(
            block, p, h, u
        )  # (STACK.1): the input of a layer is the output of the one below at the same t
        states.append(h)
    return states, u


def unroll(blocks, params, inputs, start, reset=None):
    """The outputs, a list of (B, o), and the states after every step, a list of lists with one a block."""
    before, outputs, trajectory = start, [], []
    for t, u in enumerate(inputs):
        if reset is not None:
            before = [returned(reset[t], s, h) for s, h in zip(start, before, strict=True)]
        before, out = step(blocks, params, before, u)
        outputs.append(out)
        trajectory.append(before)
    return outputs, trajectory


def run(blocks, params, inputs, h0=None, reset=None):
    """Outputs (T, B, o) and the states of every cell, a list of (T, B, N)."""
    outputs, trajectory = unroll(blocks, params, inputs, starts(blocks, params, h0, inputs.shape[1]), reset)
    cells = [l for l, block in enumerate(blocks) if is_cell(block)]
    return anp.stack(outputs), [anp.stack([states[l] for states in trajectory]) for l in cells]


def step_loss(loss_name, out, target, counts):
    """L_t (B,), zero where the step does not count."""
    value = loss_value(loss_name, out, target)
    return value if counts is None else value * counts


def total_loss(outputs, targets, loss_name, mask):
    """Loss (B,) = L_1 + ... + L_T."""
    total = 0.0
    for t, out in enumerate(outputs):
        total = total + step_loss(loss_name, out, targets[t], None if mask is None else mask[t])
    return total


def loss(blocks, params, inputs, targets, loss_name, mask=None, h0=None, reset=None):
    """Loss (B,), the sum over the steps that count."""
    outputs, _ = run(blocks, params, inputs, h0, reset)
    return total_loss(outputs, targets, loss_name, mask)


# Gradients, all by autograd


def loss_gradient(blocks, params, inputs, targets, loss_name, mask=None, h0=None, reset=None):
    """Structure of params: dLoss/dtheta, summed over batch and time, (BPTT.2), (BPTT.3)."""
    return grad(lambda params: anp.sum(loss(blocks, params, inputs, targets, loss_name, mask, h0, reset)))(
        params
    )


def initial_states(blocks, params, h0, B):
    """The initial states of the cells, a list of (B, N): given, learned or zero."""
    return [h for h in starts(blocks, params, h0, B) if h is not None]


def initial_gradient(blocks, params, inputs, targets, loss_name, mask=None, h0=None, reset=None):
    """dLoss/dh_0 of every cell, a list of (B, N), (BPTT.3).

    The initial state as a variable of each sample; where ``reset`` goes back to it, that counts too.
    """
    return grad(lambda h0: anp.sum(loss(blocks, params, inputs, targets, loss_name, mask, h0, reset)))(
        initial_states(blocks, params, h0, inputs.shape[1])
    )


def prefix_gradients(blocks, params, inputs, targets, loss_name, mask=None, h0=None, reset=None):
    """List over t of the structure of params: d(L_1 + ... + L_t)/dtheta, (RTRL.2)."""
    T, B = inputs.shape[:2]
    mask = np.ones((T, B), bool) if mask is None else mask
    time = np.arange(T)[:, None]
    return [
        loss_gradient(blocks, params, inputs, targets, loss_name, mask & (time <= t), h0, reset)
        for t in range(T)
    ]


def truncated_loss(blocks, params, inputs, targets, loss_name, mask, start, reset, steps, before):
    """Sum over batch and time of L_t, each computed by the last ``steps`` steps alone, (BPTT.4).

    ``before`` holds constants: the states of every block before step t, by the whole sequence. A window that
    begins with the first step begins with the initial state itself, which then is part of it; and so it is
    where a lane is reset inside the window.
    """
    total = 0.0
    for t in range(len(inputs)):
        first = max(0, t + 1 - steps)  # the window: steps first, ..., t, counted from zero
        h = start if first == 0 else before[first]
        for i in range(first, t + 1):
            if reset is not None:
                h = [returned(reset[i], s, v) for s, v in zip(start, h, strict=True)]
            h, out = step(blocks, params, h, inputs[i])
        total = total + anp.sum(step_loss(loss_name, out, targets[t], None if mask is None else mask[t]))
    return total


def _constants(blocks, params, inputs, h0, reset):
    """The states of every block before each step, from the whole sequence, as numbers."""
    start = starts(blocks, params, h0, inputs.shape[1])
    _, trajectory = unroll(blocks, params, inputs, start, reset)
    return [start, *trajectory[:-1]]


def truncated_gradient(blocks, params, inputs, targets, loss_name, mask=None, h0=None, reset=None, *, steps):
    """Structure of params: truncated BPTT, the states before the window held constant, (BPTT.4)."""
    before = _constants(blocks, params, inputs, h0, reset)

    def total(params):
        start = starts(blocks, params, h0, inputs.shape[1])
        return truncated_loss(blocks, params, inputs, targets, loss_name, mask, start, reset, steps, before)

    return grad(total)(params)


def truncated_initial_gradient(
    blocks, params, inputs, targets, loss_name, mask=None, h0=None, reset=None, *, steps
):
    """dLoss/dh_0 of every cell by the windows that reach the initial state, a list of (B, N), (BPTT.4)."""
    before, B = _constants(blocks, params, inputs, h0, reset), inputs.shape[1]

    def total(h0):
        start = starts(blocks, params, h0, B)
        return truncated_loss(blocks, params, inputs, targets, loss_name, mask, start, reset, steps, before)

    return grad(total)(initial_states(blocks, params, h0, B))


def layer_local_gradient(blocks, params, inputs, targets, loss_name, mask=None, h0=None, reset=None):
    """Structure of params: the layer-local rule, (STACK.4). Not the gradient of the loss, unless one cell is all.

    For block k alone: L_t is a function of theta^k through the states of block k at all steps up to t, whose
    inputs are constants. From the output of block k at step t on it goes up through the blocks above at the
    same t, with their own states of the step before held constant. So a state of the past is differentiated
    with respect to the parameters of its own layer only.
    """
    before = _constants(blocks, params, inputs, h0, reset)

    def inputs_of(k):
        below = []
        for t, u in enumerate(inputs):
            lanes = None if reset is None else reset[t]
            for block, p, s, h in zip(blocks[:k], params[:k], before[0][:k], before[t][:k], strict=True):
                _, u = apply(block, p, returned(lanes, s, h), u)
            below.append(u)
        return below

    def total(p, k, below):
        theta = [*params[:k], p, *params[k + 1 :]]
        own = starts(blocks, theta, h0, inputs.shape[1])[k]
        h, total = own, 0.0
        for t, u in enumerate(below):
            lanes = None if reset is None else reset[t]
            h, out = apply(blocks[k], p, returned(lanes, own, h), u)
            for l in range(k + 1, len(blocks)):
                held = returned(lanes, before[0][l], before[t][l])  # the past of the layers above: constant
                _, out = apply(blocks[l], params[l], held, out)
            total = total + anp.sum(step_loss(loss_name, out, targets[t], None if mask is None else mask[t]))
        return total

    return [grad(total)(p, k, inputs_of(k)) for k, p in enumerate(params)]


# Error variables in time


def output(block, p, h, u):
    """What the block above sees of the state h_t (B, N) of a cell with the input u_t, (LSTM.1), (LRU.2)."""
    if block["kind"] == "lstm":
        return split(h, 2)[0]
    if block["kind"] == "lru":
        re, im = split(h, 2)
        return anp.dot(re, p["C_re"].T) - anp.dot(im, p["C_im"].T) + anp.dot(u, p["D"].T)  # (LRU.2)
    return h


def error_energy(blocks, params, inputs, targets, loss_name, mask, h0, e):
    """Sum over the batch of 1/2 sum_t |e_t|^2 + Loss, with e_t (B, N) of every cell added to its state, (BPTT.5).

    ``e`` is a list over the cells of (T, B, N).
    """
    before, total = starts(blocks, params, h0, inputs.shape[1]), 0.0
    for t, u in enumerate(inputs):
        states, errors = [], iter(e)
        for block, p, h in zip(blocks, params, before, strict=True):
            below = u
            h, u = apply(block, p, h, below)
            if h is not None:
                e_t = next(errors)[t]
                h = h + e_t  # (BPTT.5)
                u = output(block, p, h, below)
                total = total + 0.5 * anp.sum(e_t**2)
            states.append(h)
        before = states
        counts = None if mask is None else mask[t]
        total = total + anp.sum(step_loss(loss_name, u, targets[t], counts))
    return total


def error_gradient(blocks, params, inputs, targets, loss_name, mask=None, h0=None):
    """dE/de at e = 0: for every cell (T, B, N), the total credit p_t of its states, (BPTT.5)."""
    T, B = inputs.shape[:2]
    e = [np.zeros((T, *h.shape)) for h in initial_states(blocks, params, h0, B)]
    return grad(lambda e: error_energy(blocks, params, inputs, targets, loss_name, mask, h0, e))(e)


# Jacobians of one step, and the influence


def _one(v, b):
    """Sample b as a batch of one."""
    return v[b : b + 1]


def state_jacobian(block, p, h, u):
    """J (B, N, N): dh_t/dh_{t-1} of each sample, (RNN.4), (STACK.1)."""
    return np.stack(
        [jacobian(lambda v, b=b: apply(block, p, v[None], _one(u, b))[0][0])(h[b]) for b in range(len(h))]
    )


def input_jacobian(block, p, h, u):
    """G (B, N, m): dh_t/du_t of each sample, (STACK.1)."""
    return np.stack(
        [jacobian(lambda v, b=b: apply(block, p, _one(h, b), v[None])[0][0])(u[b]) for b in range(len(h))]
    )


def _jacobian(function, value, *more):
    """Jacobian in the first argument; the term of zero tells autograd that a constant function depends on it."""
    return jacobian(lambda v: function(v, *more) + 0.0 * anp.sum(v))(value)


def immediate_jacobian(block, p, h, u):
    """Mbar: dict of (B, N, ...), dh_t/dtheta of each sample with h_{t-1} held fixed, (RNN.5)."""

    def state(value, name):
        return apply(block, {**p, name: value}, h, u)[0]

    return {name: _jacobian(state, value, name) for name, value in p.items()}


def influence(blocks, params, inputs, h0=None, reset=None):
    """M: for every cell a list over the blocks of dicts of (T, B, N, ...), dh^l_t/dtheta^k, (RTRL.3), (STACK.2)."""
    cells = sum(is_cell(block) for block in blocks)

    def states(value, cell, k, name):
        theta = [*params[:k], {**params[k], name: value}, *params[k + 1 :]]
        return run(blocks, theta, inputs, h0, reset)[1][cell]

    return [
        [
            {name: _jacobian(states, value, cell, k, name) for name, value in p.items()}
            for k, p in enumerate(params)
        ]
        for cell in range(cells)
    ]
