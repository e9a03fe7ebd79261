r"""Real-time recurrent learning: the gradient of BPTT, found forward in time, with memory that does not grow with it.

=========  ==========================================================================================
(RTRL.1)   :math:`M_t = J_t M_{t-1} + \bar M_t`, :math:`M_0 = \partial h_0/\partial\theta`
(RTRL.2)   :math:`\partial(\mathcal L_1 + \dots + \mathcal L_t)/\partial\theta = \sum_{i\le t} q_i^\top M_i`
(HYB.1)    in blocks: BPTT inside the block, and everything before it through M,
           :math:`g \mathrel{+}= \sum_t (D_t \odot p_t) z_t^\top + (J_{t_0+1}^\top p_{t_0+1})^\top M_{t_0}`
(RTRL.7)   online: :math:`\theta \leftarrow \theta - \eta \sum_b q_{t,b}^\top M_{t,b} / |S_t|`, summed over the lanes S_t that count
=========  ==========================================================================================

Credit comes down through space at each step, from the loss to the states; :mod:`minipc.influence` carries it into the past.
That this is BPTT is a duality, (RTRL.4): :math:`\sum_t q_t^\top M_t = \sum_t p_t^\top \bar M_t`.
"""

from typing import NamedTuple

from . import fast_influence
from .arguments import check_module, check_optimizer, check_positive_number, real_dtype
from .backend import Array, array_module, to_numpy
from .cells import Tape
from .influence import start as start_influence
from .network import Gradient, check_loss
from .recurrent import (
    Prepared,
    State,
    add_learned,
    flat_time,
    is_cell,
    losses,
    plus,
    prepare_sequences,
    pull,
    run,
)

AT_ONCE = 64  # steps whose states are found at once, before the influence goes through them


def gradient(
    net,
    params,
    inputs,
    targets,
    mask=None,
    h0=None,
    reset=None,
    *,
    influence="hybrid",
    block=None,
    carry=None,
):
    r"""Gradient of the loss summed over time and batch, forward in time, Eqs. (RTRL.1)-(RTRL.2), (HYB.1)-(HYB.2).

    Parameters
    ----------
    net, params, inputs, targets, mask, h0, reset
        as in :func:`minipc.bptt.gradient`; a reset puts the influence back, too
    influence : str, or an object such as SnAp(2)
        "hybrid" (exact, in blocks), "exact" (step by step), "diagonal" (exact; LRU, RTU, eLSTM only), or "local": each
        cell's own parameters on its own state, and credit through space at the same step for all that stands below it,
        **biased** unless a single cell comes first; or an approximation of "local" at a lower cost, "snap-1", "uoro", ...:
        :mod:`minipc.approximations` says which gradient each of them is; or "eprop", "dni"
    block : int, optional                steps in a block of "hybrid"; None: see :func:`minipc.influence.start`
    carry : State, optional              ``carry`` of the gradient of the stretch before: states and influence go on, the
                                         influence with its options

    Returns
    -------
    Gradient
        ``grads``, ``loss`` (B,), ``final`` (last state of every cell) and ``carry``. **Which gradient**: that of BPTT, but
        for "local" and approximations; with ``carry`` that of this stretch's losses through the whole past, so that the
        gradients of the stretches add up to that of the whole sequence.

    Raises
    ------
    ValueError, TypeError                bad shapes, dtypes, labels or values, by symbol, before any work
    FloatingPointError                   the loss is not finite; says in which block that began

    Notes
    -----
    Memory: that of the influence, constant in T. Time a step and sample, for a dense cell of n units with P parameters:
    n^2 P step by step, n^2 P / K + n P in blocks of K steps; a diagonal cell: O(P). In blocks the influence at the end is
    found when ``carry`` is used: without it a sequence of one block costs what BPTT does. One synchronisation for the
    values, and one for every block, or every 64 steps of those that go one by one (two with resets).
    Derivation: reference/equations.md.  Source: Williams & Zipser (1989), Neural Computation 1(2); blocks: Schmidhuber
    (1992), Neural Computation 4(2).

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity")])
    >>> p = [{"W": np.array([[2.0]]), "U": np.array([[1.0]]), "b": np.zeros(1)}]
    >>> gradient(net, p, np.ones((2, 1, 1)), np.zeros((2, 1, 1)), influence="exact").grads[0]["W"]
    array([[3.]])
    """
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset, stretch=True)
    state = _begin(net, params, p, h0, carry, influence, block)
    advance = _in_blocks if state.influence.block > 1 else _step_by_step
    loss, grads, state = advance(net, params, p, state)
    return Gradient(grads, loss, final=[state.h[l] for l in net.cells], carry=state)


class Online(NamedTuple):
    """What :func:`online` returns: the last parameters and optimiser state, the losses (T, B) of every step before its
    update, and the states and influence to go on with."""

    params: list
    state: tuple
    loss: Array
    carry: State


def online(
    net,
    params,
    inputs,
    targets,
    mask=None,
    h0=None,
    reset=None,
    *,
    optimizer,
    state=None,
    influence="exact",
    carry=None,
):
    r"""Learn at every step: the parameters move while the sequence goes on, Eq. (RTRL.7).

    The gradient of step t is :math:`q_t^\top M_t` summed over the batch and divided by the number of lanes that count at t;
    steps without any make no update. **Which gradient**: M was carried by Jacobians of earlier parameters, so it is stale:
    exact as the learning rate goes to zero, with an error of order eta that :func:`staleness` measures (T40).

    Parameters
    ----------
    optimizer : SGD, Adam, ...           one update a step
    state : tuple, optional              the optimiser's, to go on with; None: a new one
    influence : str or object            as in :func:`gradient`, but for "hybrid": what is there at every step

    Returns
    -------
    Online

    Notes
    -----
    Memory O(influence), constant in T; time as :func:`gradient` step by step. One synchronisation for the values, one for
    a mask, and one for every step (two with resets). Other arguments and errors as there.
    """
    check_optimizer("optimizer", optimizer)
    _check_every_step(influence)
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset, stretch=True)
    now = _begin(net, params, p, h0, carry, influence, None)
    xp, state = array_module(p.inputs), optimizer.init(params) if state is None else state
    rows, lanes = [], _lanes(p)
    for t in range(len(p.inputs)):
        values, grads, now = _step(net, params, p, now, t)
        rows.append(values)
        if lanes[t]:
            params, state = optimizer.step(
                params, [{k: v / lanes[t] for k, v in g.items()} for g in grads], state
            )  # (RTRL.7)
    return Online(params, state, xp.stack(rows), now)


class Staleness(NamedTuple):
    """What :func:`staleness` returns: the relative deviation (a float), and the two summed gradients."""

    deviation: float
    online: list
    frozen: list


def staleness(
    net, params, inputs, targets, mask=None, h0=None, reset=None, *, learning_rate, influence="exact"
):
    r"""How far the sum of the gradients used online, by gradient descent, is from the gradient at the first parameters.

    :math:`|\sum_t g_t(\theta_t) - g(\theta_0)| / |g(\theta_0)|` over all parameters; O(eta), Eq. (RTRL.2) at a moving theta.
    Both causes are in it: the loss is met at other parameters, and M remembers older ones.

    Parameters
    ----------
    learning_rate : float                eta of plain gradient descent on the batch's sum, positive
    """
    check_positive_number("learning_rate", learning_rate)
    _check_every_step(influence)
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset)
    frozen = gradient(net, params, inputs, targets, mask, h0, reset, influence=influence).grads
    now, theta, total = _begin(net, params, p, h0, None, influence, None), params, None
    for t in range(len(p.inputs)):
        _, grads, now = _step(net, theta, p, now, t)
        total = _plus(net, total, grads)
        theta = [
            {k: v - learning_rate * g[k] for k, v in q.items()} for q, g in zip(theta, grads, strict=True)
        ]
    square = lambda tree: sum(float((to_numpy(v) ** 2).sum()) for g in tree for v in g.values())  # noqa: E731
    off = [{k: v - f[k] for k, v in g.items()} for g, f in zip(total, frozen, strict=True)]
    size = square(frozen)
    if size == 0:
        raise ValueError("the gradient is zero: there is nothing to compare with")
    return Staleness((square(off) / size) ** 0.5, total, frozen)


def _begin(net, params, p, h0, carry, name, block):
    """State before the first step: the given one in arrays of its own, or a new one."""
    if carry is None:
        return State(p.start, start_influence(name, net, params, p.start, block), p.start)
    if not isinstance(carry, State):
        raise TypeError(f"carry must be the carry of an earlier gradient, got {type(carry).__name__}")
    if h0 is not None:
        raise ValueError("h0 and carry both say where to begin: give one of them")
    M, fresh = carry.influence, start_influence(name, net, params, p.start, block)
    for h in carry.h:
        if h is not None:
            check_module("carry", h, params)
    if M.net.blocks != net.blocks:
        raise ValueError(f"carry must be that of this network, {net.blocks}; got that of {M.net.blocks}")
    given, expected = (
        [(h.shape, str(real_dtype(h.dtype))) for h in hs if h is not None] for hs in (carry.h, p.start)
    )
    if given != expected:
        raise ValueError(f"carry must have states of shape and precision {expected}, got {given}")
    if M.name != fresh.name:
        asked = name if isinstance(name, str) else fresh.name
        raise ValueError(f"carry must be that of the influence {asked}, got that of {M.name}")
    if block is not None and fresh.block != M.block:
        raise ValueError(f"block must be that of carry, {M.block}, got {block}")
    return State(carry.h, M.copy(p.start), carry.start)


def _check_every_step(influence):
    """Is the gradient there at every step?"""
    if influence == "hybrid":
        raise ValueError("influence hybrid gives gradients at the end of a block only: take exact")


def _in_blocks(net, params, p, state):
    """(HYB.1): loss (B,), gradients, and the state at the end."""
    loss, grads, h, M = 0, None, state.h, state.influence
    start = _returns(net, params, state.start)
    for cut in _cuts(p, M.block):
        done = run(net, params, h, p.inputs[cut], None if p.reset is None else p.reset[cut], start)
        values, v = _losses(net, params, p, done, cut)
        back = pull(net, params, done.tapes, v, [None] * len(net.blocks))  # p is cut at the end of the block
        grads = _plus(net, grads, add_learned(net, back.grads, back.reset))  # the resets inside the block
        grads = _plus(net, grads, M.gradients(params, M.readout(back.start)))  # (HYB.1)
        M.advance(params, done)  # (HYB.2)
        loss, h = loss + values.sum(axis=0), done.last
    return loss, grads, State(h, M, start)


def _step_by_step(net, params, p, state):
    """(RTRL.1), (RTRL.2): loss (B,), gradients, and the state at the end."""
    loss, grads, total = 0, None, None
    for cut in _cuts(p, AT_ONCE):
        values, found, total, state = _steps(net, params, p, state, cut, total)
        loss, grads = loss + values.sum(axis=0), _plus(net, grads, found)
    return loss, _plus(net, grads, state.influence.gradients(params, total)), state


def _steps(net, params, p, state, cut, total=None):
    """Some steps: their losses (T, B), gradients behind the states, those through the influence, the next state.

    The states of all steps are found at once, with their credit and derivatives; the influence goes from step to step.
    """
    h, M, start = state.h, state.influence, _returns(net, params, state.start)
    done = run(net, params, h, p.inputs[cut], None if p.reset is None else p.reset[cut], start)
    values, v = _losses(net, params, p, done, cut)
    q, grads = credit(net, params, done.tapes, v, through_cells=M.local)
    done = done.with_locals(net, params)
    anew = [False] * len(values) if p.reset is None else to_numpy(p.reset[cut].any(axis=1)).tolist()
    if not any(anew) and fast_influence.applies(M, q):  # the same numbers, with less work
        total = fast_influence.advance(M, params, done, q, total)
        return values, grads, total, State(done.last, M, start)
    seen = observed(p.targets[cut], None if p.mask is None else p.mask[cut])
    for t in range(len(values)):
        if anew[t]:
            M.reset(p.reset[cut][t])  # (RTRL.6)
        if hasattr(M, "observe"):  # what learns from targets, or from the error at the output
            M.observe(seen[t], v[t])
        M.step(params, done, t)  # (RTRL.1)
        total = M.readout([None if q_l is None else q_l[t] for q_l in q], total)  # (RTRL.2), (STACK.3)
    return values, grads, total, State(done.last, M, start)


def observed(targets, mask):
    """Targets ``(T, B, o)``, zero where a step does not count."""
    if mask is None:
        return targets
    xp = array_module(targets)
    return xp.where(mask[:, :, None], targets, xp.zeros_like(targets))


def _step(net, params, p, state, t):
    """One step: losses (B,), the gradient of their sum through all of the past, the next state."""
    values, grads, total, state = _steps(net, params, p, state, slice(t, t + 1))
    return values[0], _plus(net, grads, state.influence.gradients(params, total)), state


def _returns(net, params, start):
    """Where resets go to: the states ``start``, but the learned ones as the parameters are now."""
    learned = [l in net.cells and net.blocks[l].learn_h0 for l in range(len(net.blocks))]
    return [
        net.blocks[l].initial_state(params[l], len(s), s) if learned[l] else s for l, s in enumerate(start)
    ]


def _cuts(p, length):
    """The steps in pieces of a length."""
    T = len(p.inputs)
    return [slice(t, min(t + length, T)) for t in range(0, T, length)]


def _losses(net, params, p, done, cut):
    """Losses (T, B) of some steps and the credit at their outputs; stops if a loss is not finite."""
    part = Prepared(None, p.targets[cut], None if p.mask is None else p.mask[cut], None, None)
    values, v = losses(net, done.out, part)
    check_loss(net, params, p.inputs[cut], values, iter([*done.inputs[1:], done.out]))
    return values, v


def credit(net, params, tapes, v, through_cells):
    """Credit q_t ``(T, B, N)`` of every state, and the gradients of what stands between the states and the loss.

    ``v (T, B, o)`` at the outputs. q is the derivative at fixed other states, which reach the loss through their own
    influence; with ``through_cells`` it is the whole derivative at the same step, as the layer-local rule wants (STACK.4).
    """
    L = len(net.blocks)
    q, grads = [None] * L, [{} for _ in net.blocks]
    for l in range(L - 1, -1, -1):
        if v is None:  # below the last way past the states
            break
        block, p, tape = net.blocks[l], params[l], tapes[l]
        if is_cell(block):
            grads[l] = block.output_gradients(p, tape, v)
            at_output, v = block.output_pull(
                p, v
            )  # v goes on where the output sees the input: through the D of an LRU
            q[l] = _at_state(block, at_output)
            if through_cells and l > 0:
                down = one_step_down(block, p, tape, q[l])  # (STACK.4)
                v = down if v is None else v + down
        else:
            v, grads[l] = _pulled(block, p, tape, v, input=l > 0)
    return q, grads


def _pulled(block, p, tape, v, **wanted):
    """The block's vjp of all steps at once, ``v (T, B, ...)``."""
    down, grads = block.vjp(p, tape, flat_time(v), **wanted)
    return None if down is None else down.reshape(*v.shape[:2], *down.shape[1:]), grads


def one_step_down(block, p, tape, q):
    """Credit (T, B, N) at the states down to the inputs of the same steps: all of them are lanes of one step."""
    tape = Tape(*(flat_time(a)[None] for a in tape[:3]), tuple(flat_time(a)[None] for a in tape.kept), None)
    down = block.pull_input(p, tape, block.sweep(p, tape, None, flat_time(q)))
    return down.reshape(*q.shape[:2], -1)


def _at_state(block, q):
    """Credit at the output's part of the state as credit at the whole of it, ``(T, B, N)``."""
    if q.shape[-1] == block.state_size:
        return q
    xp = array_module(q)
    return xp.concatenate([q, xp.zeros((*q.shape[:-1], block.state_size - q.shape[-1]), q.dtype)], axis=-1)


def _plus(net, a, b):
    """The sum of two gradients, in which parameters may be missing."""
    if a is None:
        return b
    sums = [plus(p, q) for p, q in zip(a, b, strict=True)]
    return [{n: g[n] for n in block.shapes if n in g} for block, g in zip(net.blocks, sums, strict=True)]


def _lanes(p):
    """How many lanes count at every step, on the host."""
    T, B = p.inputs.shape[:2]
    return [B] * T if p.mask is None else to_numpy(p.mask.sum(axis=1)).tolist()
