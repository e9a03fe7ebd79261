r"""Backpropagation through time: the gradient that all rules in time are compared with.

=========  ==========================================================================================
(RNN.6)    credit at a state, :math:`q_t = \partial\mathcal L_t/\partial h_t`; zero where no target counts
(BPTT.1)   :math:`p_t = q_t + J_{t+1}^\top p_{t+1}`, :math:`p_{T+1} = 0`
(BPTT.2)   :math:`\partial\mathcal L/\partial\Theta = \sum_t (D_t \odot p_t)\, z_t^\top`
(BPTT.3)   :math:`\partial\mathcal L/\partial h_0 = J_1^\top p_1`
(BPTT.4)   truncated to k steps: :math:`\sum_t q_t^\top \sum_{i=t-k+1}^t J_t \cdots J_{i+1} \bar M_i`
(BPTT.6)   in segments: :math:`p = q + v` at the end of one, :math:`v = J^\top p` from the one after it
=========  ==========================================================================================

The recursion itself stands in the cells, ``sweep``; the chain through blocks and cells in ``recurrent.pull``.
"""

import math

from .arguments import check_count
from .backend import array_module
from .network import Gradient, check_loss
from .recurrent import Prepared, add_learned, losses, outputs_of, prepare_sequences, pull, run


def gradient(net, params, inputs, targets, mask=None, h0=None, reset=None):
    r"""Gradient of the loss summed over time and batch, by backpropagation through time, Eqs. (BPTT.1)-(BPTT.3).

    Parameters
    ----------
    net : RecurrentNetwork
    params : list of dicts
    inputs : (T, B, *shapes[0])          time first; integers for an Embedding
    targets : (T, B, o) or labels (T, B)
    mask : (T, B) bool, or lengths (B,)  where a loss counts; None: everywhere. Lengths: the first steps of each lane
    h0 : (B, N), or list of them         state before the first step, one a cell; None: zero, or the learned one
    reset : (T, B) bool                  before step t, lane b goes back to its initial state

    Returns
    -------
    Gradient
        ``grads``, ``loss`` (B,), ``final`` (last state of every cell) and ``initial`` (dLoss/dh_0 of every cell).

    Raises
    ------
    ValueError, TypeError                bad shapes, dtypes, labels or values, by symbol, before any work
    FloatingPointError                   the loss is not finite; says in which block that began

    Notes
    -----
    Cost: O(T B P) time for P weights, O(T B N) memory; two synchronisations, whatever T, and one more for a mask.
    Derivation: reference/equations.md.  Source: Werbos (1990), Proc. IEEE 78(10).

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity")])
    >>> p = [{"W": np.array([[2.0]]), "U": np.array([[1.0]]), "b": np.zeros(1)}]
    >>> g = gradient(net, p, np.ones((2, 1, 1)), np.zeros((2, 1, 1)))
    >>> g.loss, g.grads[0]["W"]
    (array([5.]), array([[3.]]))
    """
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset)
    out, last, tapes, *_ = run(net, params, p.start, p.inputs, p.reset, p.start)
    values, v = losses(net, out, p)
    loss = values.sum(axis=0)
    check_loss(net, params, p.inputs, loss, outputs_of(net, params, p))
    back = pull(net, params, tapes, v, [None] * len(net.blocks))
    return _result(net, back.grads, loss, last, _arrived(net, back))


def truncated(net, params, inputs, targets, mask=None, h0=None, reset=None, *, steps):
    r"""Truncated BPTT, Eq. (BPTT.4): the loss of step t sends credit to the last ``steps`` steps alone.

    Arguments and results as in :func:`gradient`. **Which gradient**: of every L_t with the state before its window held
    constant. ``steps=1`` keeps the immediate terms only: credit through space, none through time (an approximation that
    does not become exact in any limit but that of no memory). ``steps >= T`` is BPTT, exactly. In between the error
    depends on how long the network remembers. The window slides by one step, as in the equation; programs that cut the
    sequence into pieces of k steps compute something else, in which a loss has between 1 and k steps.

    Parameters
    ----------
    steps : int                          k, at least 1

    Notes
    -----
    Cost: O(T k B P) time, O(T k B N) memory: every window is a sequence of its own, run at once.
    """
    check_count("steps", steps, least=1)
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset)
    xp, (T, B), k = array_module(p.inputs), p.inputs.shape[:2], min(int(steps), len(p.inputs))
    _, last, tapes, *_ = run(net, params, p.start, p.inputs, p.reset, p.start)
    # window w ends with step w; its step j is step w - k + 1 + j. Before step 0 it idles, and is reset at step 0
    step = xp.arange(k)[:, None] + xp.arange(T) - (k - 1)  # (k, T)
    begins = xp.repeat(step == 0, B, axis=1)
    at = xp.where(step > 0, step, xp.zeros_like(step))
    windows = p.inputs[at].reshape(k, T * B, *p.inputs.shape[2:])
    cut = (
        begins
        if p.reset is None
        else begins | (p.reset[at].reshape(k, T * B) & xp.repeat(step > 0, B, axis=1))
    )
    entry, start = [None] * len(net.blocks), [None] * len(net.blocks)
    for l in net.cells:
        entry[l] = tapes[l].before[at[0]].reshape(T * B, -1)
        start[l] = xp.tile(p.start[l], (T, 1))
    out, _, tapes, *_ = run(net, params, entry, windows, cut, start)
    ends = Prepared(None, p.targets, p.mask, None, None)
    values, q = losses(net, out[-1].reshape(T, B, -1), ends)
    loss = values.sum(axis=0)
    check_loss(net, params, p.inputs, loss, outputs_of(net, params, p))
    v = xp.zeros_like(out)
    v[-1] = q.reshape(T * B, -1)  # (BPTT.4): only the last step of a window has a loss
    back = pull(net, params, tapes, v, [None] * len(net.blocks))
    arrived = [None if r is None else r.reshape(T, B, -1).sum(axis=0) for r in back.reset]
    return _result(net, back.grads, loss, last, arrived)


def checkpointed(net, params, inputs, targets, mask=None, h0=None, reset=None, *, segment=None):
    r"""BPTT that keeps states only between segments, and runs each segment again on the way back, Eq. (BPTT.6).

    Arguments and results as in :func:`gradient`; the same gradient.

    Parameters
    ----------
    segment : int, optional              steps between two kept states; None: the square root of T

    Notes
    -----
    Memory O((T/segment + segment) B N) in place of O(T B N), for one more forward pass.
    Source: Chen et al. (2016), arXiv 1604.06174.
    """
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset)
    T, L = len(p.inputs), len(net.blocks)
    segment = (
        math.isqrt(T - 1) + 1 if segment is None else check_count("segment", segment, least=1) or int(segment)
    )
    cuts = [slice(t, min(t + segment, T)) for t in range(0, T, segment)]
    entries = [p.start]
    for cut in cuts[:-1]:
        entries.append(run(net, params, entries[-1], *_part(p, cut), p.start).last)
    grads = loss = last = None
    v_end, resets = [None] * L, [None] * L
    for cut, entry in zip(reversed(cuts), reversed(entries), strict=True):
        out, ended, tapes, *_ = run(net, params, entry, *_part(p, cut), p.start)
        last = ended if last is None else last
        part = Prepared(None, p.targets[cut], None if p.mask is None else p.mask[cut], None, None)
        values, v = losses(net, out, part)
        back = pull(net, params, tapes, v, v_end)  # (BPTT.6)
        v_end = back.start
        loss = values.sum(axis=0) if loss is None else loss + values.sum(axis=0)
        grads = back.grads if grads is None else added(grads, back.grads)
        resets = [r if old is None else old + r for old, r in zip(resets, back.reset, strict=True)]
    check_loss(net, params, p.inputs, loss, outputs_of(net, params, p))
    arrived = [None if s is None else s + r for s, r in zip(v_end, resets, strict=True)]
    return _result(net, grads, loss, last, arrived)


def added(a, b):
    """The sum of two gradients."""
    return [{name: p[name] + q[name] for name in p} for p, q in zip(a, b, strict=True)]


def _part(p, cut):
    """Inputs and resets of some steps."""
    return p.inputs[cut], None if p.reset is None else p.reset[cut]


def _arrived(net, back):
    """Credit at the initial states: what comes from the first step, and from resets."""
    return [None if s is None else s + r for s, r in zip(back.start, back.reset, strict=True)]  # (BPTT.3)


def _result(net, grads, loss, last, arrived):
    grads = add_learned(net, grads, arrived)
    initial = [arrived[l].conj() if net.blocks[l].complex_state else arrived[l] for l in net.cells]  # (LRU.4)
    return Gradient(grads, loss, final=[last[l] for l in net.cells], initial=initial)
