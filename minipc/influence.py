r"""Influence: how the states follow the parameters through all of the past, carried forward in time.

=========  ==========================================================================================
(RTRL.1)   :math:`M_t = J_t M_{t-1} + \bar M_t`, :math:`M_0 = \partial h_0/\partial\theta`
(RTRL.6)   lanes: M is per sample; a reset sets :math:`h_b \leftarrow h_0` and :math:`M_b \leftarrow M_0`
(HYB.2)    K steps at once: :math:`M_{t_0+K} = (J_{t_0+K} \cdots J_{t_0+1}) M_{t_0} + \sum_s R_s \otimes z_s`,
           :math:`R_s = J_{t_0+K} \cdots J_{s+1} \mathrm{diag}(D_s)`
(STACK.2)  :math:`M^{(l,k)}_t = A^l M^{(l,k)}_{t-1} + G^l M^{(l-1,k)}_t + [l = k] \bar M^l_t` for k <= l
(STACK.4)  layer-local: :math:`M^{(k,k)}` alone
(STACK.5)  a real diagonal layer over a diagonal one: :math:`X \leftarrow \zeta_2 X + B_2 (\phi'(h_1) e_{\zeta_1})`, elementwise
(STACK.6)  an LRU over an LRU: the same through :math:`\mathrm{Re}(C_1 \cdot)`, for each real parameter apart
=========  ==========================================================================================

One interface: ``step`` (or, in blocks, ``advance``), ``readout`` (credit -> gradient), ``reset`` (lanes), ``copy``, and
``entries`` (memory, in numbers). What is zero is neither kept nor multiplied: a cell's influence has columns for the
blocks below it and for itself, none for those above; a diagonal cell keeps of itself only each unit's own traces.

========== =================================== ======================================= ===========================
name       which gradient                      memory a sequence                       time a step
========== =================================== ======================================= ===========================
exact      the exact one                       N P a gated cell; O(P) a diagonal one   N^2 P; O(P)
hybrid     the exact one, every K steps        the same, and K N^2                     N^2 P / K + N P
diagonal   the exact one; refuses gated cells  O(P)                                    O(P)
local      biased, unless the cell is first    as exact, without lower layers          the same
========== =================================== ======================================= ===========================

P counts the parameters of the cell and of what stands below it; for those below, a diagonal cell keeps N numbers each.
Approximations stand in :mod:`minipc.approximations`, :mod:`minipc.eprop` and :mod:`minipc.dni`. One that has the verb
``observe`` is told, before each step, its target and the credit at the output.
"""

from . import approximations
from .arguments import check_count, check_word
from .backend import array_module
from .blocks import Dense, Embedding
from .cells import GatedCell
from .diagonal import times_input
from .dni import DNI
from .eprop import EProp
from .recurrent import is_cell

NAMES = ("hybrid", "exact", "diagonal", "local")
METHODS = {"eprop": EProp, "dni": DNI}  # approximations in modules of their own
APPROXIMATIONS = (*approximations.NAMES, *METHODS)
BLOCK = 128  # steps at most in a block, unless more are asked for


def start(name, net, params, h, block=None):
    """A new influence of this name for the states ``h`` (a list, one entry a block).

    A name of :mod:`minipc.approximations` ("snap-1", "uoro", ...), "eprop" or "dni", or one of their objects
    (``SnAp(2)``), gives an approximation.
    ``block`` is the number of steps between two updates of "hybrid"; None: twice the size of the largest state, at
    least 32 and at most 128 (so many steps share the cost of carrying M).
    """
    method = name if _has_start(name) else named(name)
    if method is None:
        check_word("influence", name, (*NAMES, *APPROXIMATIONS))
    if block is not None:
        check_count("block", block, least=1)
        if name != "hybrid":
            raise ValueError(
                f"block is an option of the influence hybrid, not of {name if method is None else method.name}"
            )
    if method is not None:
        return method.start(net, params, h)
    if name == "diagonal":
        for l in net.cells:
            if isinstance(net.blocks[l], GatedCell):
                raise ValueError(
                    f"influence diagonal: block {l + 1}, {net.blocks[l].formula}, has a dense state Jacobian; take hybrid or exact"
                )
    if name == "hybrid":
        return Hybrid(net, params, h, block)
    return Influence(net, params, h, local=name == "local")


def named(name):
    """The approximation of a name, such as "snap-1" or "eprop"; None if none has it."""
    return METHODS[name]() if isinstance(name, str) and name in METHODS else approximations.named(name)


def _has_start(value):
    """Is it an object such as SnAp(1)?"""
    return hasattr(value, "start") and not isinstance(value, type | str)


class Influence:
    """dh/dtheta of every cell, step by step: "exact", "diagonal" and "local".

    Attributes
    ----------
    own : list              of every cell: the columns of its own parameters, dense ``(B, N, P_l)``; of a diagonal cell
                            a dict of traces
    below : list            of every cell: the columns of the blocks below it, ``(B, N, P)``; None if there are none
    """

    block = 1

    def __init__(self, net, params, h, local=False):
        self.net, self.local = net, local
        L = len(net.blocks)
        self.own, self.below, self.spare, self.sources = ([None] * L for _ in range(4))
        self.fresh = not any(net.blocks[l].learn_h0 for l in net.cells)  # all of it is zero still
        columns = []  # (block, its columns) that reach the next block from below
        for l, block in enumerate(net.blocks):
            if not is_cell(block):
                columns = [*columns, (l, "block")]
                continue
            columns = [] if local else columns  # (STACK.4)
            self.sources[l], xp, B = columns, array_module(h[l]), len(h[l])
            width = sum(self._width(*source) for source in columns)
            if width:
                self.below[l] = xp.zeros((B, block.state_size, width), h[l].dtype)
            if isinstance(block, GatedCell):
                self.own[l] = block.start_influence(B, h[l])
            else:
                self.own[l] = block.start_traces(B, h[l])
            columns = [*columns, (l, "state"), *([(l, "output")] if block.output_shapes else [])]

    @property
    def name(self) -> str:
        """What it is, in a word; "diagonal" is the exact one."""
        return "local" if self.local else "exact"

    def settle(self):
        """Do what has been put off; here there is nothing."""

    def copy(self, h):
        """The same, in arrays of its own: steps and resets work in place. Wide enough for the states ``h``, whose
        numbers may be complex in a complex step."""
        self.settle()
        new = object.__new__(type(self))
        new.__dict__ |= self.__dict__
        new.spare = [None] * len(h)
        new.own, new.below = [None] * len(h), [None] * len(h)
        for l in self.net.cells:
            own = self.own[l]
            gated = not isinstance(own, dict)
            new.own[l] = _copied(own, h[l]) if gated else {k: _copied(v, h[l]) for k, v in own.items()}
            new.below[l] = None if self.below[l] is None else _copied(self.below[l], h[l])
        return new

    @property
    def entries(self) -> int:
        """Numbers kept, all lanes together: constant in time."""
        arrays = [b for b in self.below if b is not None]
        for o in self.own:
            arrays += list(o.values()) if isinstance(o, dict) else [o] if o is not None else []
        return sum(a.size for a in arrays)

    def reset(self, mask):
        """Lanes ``mask (B,)`` bool begin anew: their influence is that of the initial state, Eq. (RTRL.6)."""
        self.settle()
        for l in self.net.cells:
            block, own = self.net.blocks[l], self.own[l]
            xp = array_module(mask)
            if self.below[l] is not None:
                self.below[l] = _with_lanes(xp, mask, self.below[l], 0)  # (RTRL.6)
            if isinstance(own, dict):
                fresh = block.start_traces(1, next(iter(own.values())))
                self.own[l] = {name: _with_lanes(xp, mask, own[name], fresh[name]) for name in own}
            else:
                self.own[l] = _with_lanes(xp, mask, own, block.start_influence(1, own))

    def step(self, params, stretch, t):
        """One step further, Eqs. (RTRL.1), (STACK.2): step ``t`` of a stretch of time."""
        V = None  # (B, width, columns): how the output of the block before follows the parameters
        for l in self.net.cells if self.local else range(self.net.cells[-1] + 1):
            block, p = self.net.blocks[l], params[l]
            if is_cell(block):
                V = self._step_cell(l, block, p, stretch, t, V)
            else:
                V = _push(block, p, stretch.inputs[l][t], V)
        self.fresh = False

    def _step_cell(self, l, block, p, stretch, t, V):
        tape, local = stretch.tapes[l], stretch.locals[l]
        below = self.below[l]
        if below is not None:
            below = (
                block.times_jacobian(p, local, t, below) + block.input_jacobian(p, local, t) @ V
            )  # (STACK.2)
        if isinstance(block, GatedCell):
            new = block.step_influence(self.own[l], p, local, t, self.spare[l])  # (RTRL.1)
            own, self.spare[l] = new, self.own[l]
        else:
            own = block.step_traces(self.own[l], local, tape.u[t], t)  # (LRU.6), (ELSTM.3), (RTU.4)
        self.below[l], self.own[l] = below, own
        if self.local or l == self.net.cells[-1]:
            return None
        parts = [] if below is None else [block.push_output(p, below, V)]
        parts.append(block.push_own(p, own))  # (STACK.5), (STACK.6): of a diagonal cell without its zeros
        if block.output_shapes:
            parts.append(block.output_immediate(p, tape, t))
        return array_module(tape.u).concatenate(parts, axis=-1)

    def readout(self, q, total=None):
        """sum over the batch of credit times influence, Eqs. (RTRL.2), (STACK.3), added to the ``total`` so far.

        ``q`` is a list of credits ``(B, N)``, one entry a block, None where there is none. The total is in columns;
        :meth:`gradients` gives them their names.
        """
        self.settle()
        found = []
        for l in self.net.cells:
            if q[l] is None:
                found.append(None)
                continue
            below = None if self.below[l] is None else _read(q[l], self.below[l])
            if below is not None and self.net.blocks[l].complex_state:
                below = below.real  # (LRU.5); other complex numbers are the complex step's
            gated = isinstance(self.net.blocks[l], GatedCell)
            found.append(
                (
                    below,
                    _read(q[l], self.own[l]) if gated else self.net.blocks[l].read_traces(self.own[l], q[l]),
                )
            )
        if total is None:
            return found
        return [_sum(a, b) for a, b in zip(total, found, strict=True)]

    def gradients(self, params, total):
        """What :meth:`readout` gave as gradients: a list of dicts with the parameters that the states follow."""
        found = [{} for _ in self.net.blocks]
        for l, parts in zip(self.net.cells, total, strict=True):
            if parts is None:
                continue
            below, own = parts
            if below is not None:
                _add(found, self._unpack(self.sources[l], below))
            block = self.net.blocks[l]
            gated = isinstance(block, GatedCell)
            _add(found, [(l, block.unpack(own) if gated else block.to_parameters(params[l], own))])
        return found

    def _width(self, l, kind):
        """Number of columns of a block, of a cell's state parameters, or of its output parameters."""
        return sum(_size(shape) for shape in self._columns(l, kind).values())

    def _columns(self, l, kind):
        """Names and shapes of the columns of a source."""
        block = self.net.blocks[l]
        if kind == "block":
            return block.shapes
        return block.output_shapes if kind == "output" else block.state_columns

    def _unpack(self, sources, vector):
        """A vector of columns -> (block, dict of gradients) for every source."""
        at = 0
        for l, kind in sources:
            found = {}
            for name, shape in self._columns(l, kind).items():
                found[name] = vector[at : at + _size(shape)].reshape(shape)
                at += _size(shape)
            yield l, self.net.blocks[l].from_columns(found) if kind == "state" else found


class Hybrid(Influence):
    """Exact RTRL in blocks of K steps, Eqs. (HYB.1)-(HYB.4).

    The influence at the end of a block is found when it is asked for: nobody does at the end of a training sequence, and
    a sequence of one block costs what BPTT does. Where a diagonal cell has parameters below it, its cross-layer traces
    are cheap already and K is one.
    """

    name = "hybrid"
    pending = None  # (params, stretch) of the block whose end has not been asked for

    def __init__(self, net, params, h, block=None):
        super().__init__(net, params, h)
        widest = max(net.blocks[l].state_size for l in net.cells)
        self.block = min(max(2 * widest, 32), BLOCK) if block is None else int(block)
        if any(self.below[l] is not None and not isinstance(net.blocks[l], GatedCell) for l in net.cells):
            self.block = 1

    def advance(self, params, stretch):
        """All steps of a stretch further, Eq. (HYB.2), as soon as that is asked for."""
        self.settle()
        self.pending = params, stretch

    def settle(self):
        """One sweep back of the unit vectors of every state, Eq. (HYB.2), through the block that has been put off."""
        if self.pending is None:
            return
        (params, stretch), self.pending = self.pending, None
        new = {l: self._rows(l, params, stretch.tapes, stretch.inputs) for l in self.net.cells}
        for l, (below, own) in new.items():
            self.below[l], self.own[l] = below, own
        self.fresh = False

    def _rows(self, target, params, tapes, inputs):
        """New influence on the state of the cell ``target``."""
        cell, p, tape = self.net.blocks[target], params[target], tapes[target]
        if not isinstance(cell, GatedCell):
            return None, cell.advance_traces(self.own[target], p, tape)  # (HYB.4)
        B = tape.u.shape[1]
        swept = cell.sweep(p, tape, None, cell.unit_rows(B, tape.after), rows=True)
        own = cell.carry_influence(None if self.fresh else self.own[target], tape, swept)  # (HYB.2)
        if self.below[target] is None:
            return None, own
        below = swept.start @ self.below[target]  # the past, through this cell's own state
        v, fresh = cell.pull_input(p, tape, swept), {}
        for l in range(target - 1, -1, -1):
            block, p, tape = self.net.blocks[l], params[l], tapes[l]
            if not is_cell(block):
                v, fresh[l, "block"] = _pull_rows(block, p, inputs[l], v, input=l > 0)
                continue
            if block.output_shapes:
                fresh[l, "output"] = _flat(block.output_rows(p, tape, v), block.output_shapes)
            v_h, direct = block.output_pull(p, v)
            swept = block.sweep(p, tape, v_h, None, rows=True)
            fresh[l, "state"] = block.rows_to_columns(p, tape, swept)
            past = block.push_rows(
                swept.start, self.own[l], p
            )  # what these rows owe to the state before the block
            fresh[l, "state"] = fresh[l, "state"] + past
            if self.below[l] is not None:
                width = self.below[l].shape[-1]
                below[..., :width] += swept.start @ self.below[l]  # a gated cell: else K is one
            v = block.pull_input(p, tape, swept) if l > 0 else None
            v = v + direct if direct is not None and v is not None else v
        xp = array_module(below)
        return below + xp.concatenate([fresh[source] for source in self.sources[target]], axis=-1), own


def _pull_rows(block, p, x, v, input):
    """Rows of credit back through a feedforward block: at its input, and at its parameters, per sample.

    ``x (T, B, ...)`` its input, ``v (T, B, rows, n_out) -> (T, B, rows, n_in)`` and ``(B, rows, P_l)``.
    """
    xp, (T, B, rows) = array_module(v), v.shape[:3]
    if isinstance(block, Dense):
        _, tape = block.forward(p, x.reshape(T * B, -1))
        down, back = block.pull_rows(p, tape, v.reshape(T * B, rows, -1))
        regressor = (tape.s if block.form == "post" else tape.r).reshape(T, B, -1)
        back = back.reshape(T, B, rows, -1)
        W = times_input(
            back, regressor if block.scale == 1 else float(block.scale) * regressor, per_sample=True
        )
        parts = [W.reshape(B, rows, -1), back.sum(axis=0)] if block.bias else [W.reshape(B, rows, -1)]
        return down.reshape(T, B, rows, -1), xp.concatenate(parts, axis=-1)
    if isinstance(block, Embedding) and x.ndim == 2:  # one index a step: into its row
        grads, lanes = xp.zeros((B, block.vocabulary, rows, block.width), v.dtype), xp.arange(B)
        for t in range(T):
            grads[lanes, x[t]] += v[t]  # (EMB.2)
        return None, grads.transpose(0, 2, 1, 3).reshape(B, rows, -1)
    flat = x.reshape(T * B, *x.shape[2:])
    shape = block.forward(p, flat[:1])[0].shape[1:]
    down, grads = None, xp.zeros((B, rows, sum(_size(s) for s in block.shapes.values())), v.dtype)
    if input:
        many = xp.repeat(flat, rows, axis=0)
        _, tape = block.forward(p, many)
        down, _ = block.vjp(p, tape, v.reshape(-1, *shape), params=False)
        down = down.reshape(T, B, rows, -1)
    if block.shapes:  # one row of one sample after another: the gradient of a block is a sum over its batch
        for b in range(B):
            _, tape = block.forward(p, x[:, b])
            for i in range(rows):
                _, found = block.vjp(p, tape, v[:, b, i].reshape(T, *shape), input=False)
                grads[b, i] = xp.concatenate([found[name].reshape(-1) for name in block.shapes])
    return down, grads


def _push(block, p, x, V):
    """Columns forward through a feedforward block: ``(B, n_in, P) -> (B, n_out, P + P_l)``, Eq. (STACK.2)."""
    xp, B = array_module(x), len(x)
    width = _size(block.forward(p, x[:1])[0].shape[1:])
    like = next(iter(p.values())) if p else (V if V is not None else x)
    rows = xp.tile(
        xp.eye(width, dtype=xp.result_type(like, x) if x.dtype.kind in "fc" else like.dtype), (B, 1, 1)
    )
    down, own = _pull_rows(block, p, x[None], rows[None], input=V is not None)
    return own if V is None else xp.concatenate([down[0] @ V, own], axis=-1)


def _read(q, M):
    """sum over the batch of q M; ``(B, N), (B, N, P) -> (P,)``."""
    return q.reshape(-1) @ M.reshape(-1, M.shape[-1])


def _sum(a, b):
    """The sum of two totals of a cell."""
    if a is None or b is None:
        return a if b is None else b
    below = None if a[0] is None else a[0] + b[0]
    return below, {k: a[1][k] + b[1][k] for k in a[1]} if isinstance(a[1], dict) else a[1] + b[1]


def _add(found, parts):
    """Add dicts of gradients to those of their blocks."""
    for l, grads in parts:
        for name, value in grads.items():
            found[l][name] = value + found[l][name] if name in found[l] else value


def _with_lanes(xp, mask, array, value):
    """``array (B, ...)`` with ``value`` in some lanes."""
    return xp.where(mask.reshape(-1, *[1] * (array.ndim - 1)), value, array).astype(array.dtype, copy=False)


def _flat(found, shapes):
    """A dict of ``(B, rows, *shape)`` as one array ``(B, rows, P)``."""
    arrays = [found[name] for name in shapes]
    xp = array_module(arrays[0])
    return xp.concatenate([a.reshape(*a.shape[:2], -1) for a in arrays], axis=-1)


def _size(shape):
    size = 1
    for n in shape:
        size *= n
    return size


def _copied(array, h):
    """A copy, in the wider of two dtypes."""
    return array.astype(array_module(array).result_type(array, h))
