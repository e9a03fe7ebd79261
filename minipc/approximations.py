r"""Approximations of RTRL: influences that cost what the forward pass costs, biased or noisy, behind one interface.

=========  ==========================================================================================
(SNAP.1)   pattern :math:`R = \mathrm{nz}(I + A + \dots + A^{\mathrm{ord}-1})`, :math:`A = \mathrm{nz}(J)`: who reaches whom in ord - 1 steps
(SNAP.2)   :math:`M_t = R \odot (J_t M_{t-1}) + \bar M_t`, the column of a parameter of unit i masked by :math:`R_{\cdot i}`
(SNAP.3)   SnAp-1: :math:`T_i \leftarrow J_{ii} T_i + D_i z`, :math:`g_{ij} = \sum_t q_i T_{ij}`
(RFLO.1)   :math:`T \leftarrow (1-\alpha) T + D z^\top`: J without its weights
(KERNL.1)  :math:`k_i = \max(0, 1 - \alpha_i)`, :math:`T_i \leftarrow k_i T_i + D_i z`, :math:`g_{ij} = \sum_t (A^\top q)_i T_{ij}`
(KERNL.2)  A and k learn from a noisy copy, :math:`A\, nf \approx \tilde h - h`, :math:`nf \leftarrow k\, nf + \zeta`, :math:`gf \leftarrow k\, gf - nf`
(UORO.1)   :math:`M \approx s w^\top`
(UORO.2)   :math:`s \leftarrow r_0 J s + r_1 \nu`, :math:`w \leftarrow w/r_0 + \nu^\top \bar M/r_1`, signs :math:`\nu`
(UORO.3)   :math:`r_0 = (|w|/|J s|)^{1/2}`, :math:`r_1 = (|\nu^\top \bar M|/|\nu|)^{1/2}`, :math:`g \mathrel{+}= (q \cdot s) w`
(KF.1)     :math:`\partial h_k/\partial\Theta_{ij} \approx B_{ki} A_j`, signs :math:`c_1, c_2`
(KF.2)     :math:`A \leftarrow c_1 p_0 A + c_2 p_1 z`, :math:`B \leftarrow c_1 J B/p_0 + c_2 \mathrm{diag}(D)/p_1`,
           :math:`p_0 = (|J B|/|A|)^{1/2}`, :math:`p_1 = (|D|/|z|)^{1/2}`
(KF.3)     :math:`g \mathrel{+}= (B^\top q) A^\top`
(KF.4)     reversed: :math:`\partial h_k/\partial\Theta_{ij} \approx A_i B_{kj}`, signs :math:`\nu`
(KF.5)     :math:`A \leftarrow p_0 A + p_1 \nu`, :math:`B \leftarrow J B/p_0 + (\nu \bar M)/p_1`, :math:`g \mathrel{+}= A (B^\top q)^\top`,
           :math:`p_0 = (|J B|/|A|)^{1/2}`, :math:`p_1 = (|\nu \bar M|/|\nu|)^{1/2}`
(SK.1)     :math:`M \approx \mathrm{embed}(T) + L R^\top`: SnAp-1, and of :math:`X = \mathrm{offdiag}(J)\, \mathrm{embed}(T) + J L R^\top` the best of rank r;
           :math:`\eta` is the norm of the rest
(SK.2)     :math:`\mathrm{cert}_t = \rho_t \mathrm{cert}_{t-1} + \eta_t \ge |\tilde M - M|_F`, :math:`\rho_t = \min(|J|_F, (|J|_1 |J|_\infty)^{1/2})`
=========  ==========================================================================================

``rtrl.gradient(..., influence="snap-1")``, ``rtrl.online`` and ``tpc.gradient`` take the names, and the objects with their
options: ``influence=SnAp(order=1)``. Every method follows each cell's own state through its own parameters alone
(STACK.4), and credit comes down through space at the same step: whatever stands below the last cell learns from the
present alone, **biased**, also where the table says exact or unbiased, which is about a single cell that comes first.

==============  =====================================  =========================  ========================
influence       which gradient                         memory a sequence          time a step
==============  =====================================  =========================  ========================
snap-1          biased; exact on diagonal cells        n n_z                      n n_z
snap-2, ...     biased; exact if every unit reaches    c n n_z, c entries a       c^2 n n_z
                every other in ord - 1 steps           column of the pattern
rflo, kernl     biased                                 n n_z                      n n_z
uoro            unbiased, noisy                        n n_z                      n n_z
kf              unbiased, less noisy                   n^2 + n_z                  n^3
reverse-kf      unbiased, noisy                        n n_z                      n^2 n_z
sketch-r        biased by no more than it certifies;   r n n_z                    n^3 + r^2 n n_z
                exact if r = n
==============  =====================================  =========================  ========================

n_z numbers a row of weights has; n n_z counts the rows of every gate. J itself, n^2 numbers a lane, is formed by kf,
reverse-kf and sketch-r alone.
"""

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from .arguments import (
    cast,
    check_array,
    check_count,
    check_module,
    check_positive_number,
    generator,
    is_number,
)
from .backend import Array, array_module, as_backend, to_numpy
from .cells import GatedCell
from .recurrent import prepare_sequences, run

TINY = 1e-30  # in every ratio of norms, so that it is positive; any positive ratio keeps the mean


class Approximation:
    """An approximate dh/dtheta of every cell, step by step; the interface of :class:`minipc.influence.Influence`.

    Attributes
    ----------
    method : SnAp, UORO, ...     how one cell is followed
    own : list                   of every cell a dict of arrays ``(B, ...)``
    draw : callable              ``draw(B, width) -> (B, width)`` signs, of the methods that need some; to be replaced
                                 where all signs are to be tried
    """

    block, local = 1, True

    def __init__(self, method, net, params, h):
        self.method, self.net = method, net
        self.own = [None] * len(net.blocks)
        self.below = [None] * len(net.blocks)  # nothing of the blocks below: (STACK.4)
        self.draw = Signs(method.seed) if hasattr(method, "seed") else None
        self.patterns = [None] * len(net.blocks)
        for l in net.cells:
            cell, like = net.blocks[l], h[l]
            if isinstance(cell, GatedCell):
                self.patterns[l] = method.prepare(net.cells.index(l), cell, params[l], like)
                self.own[l] = method.start_cell(cell, self.patterns[l], len(like), like)
            else:
                self.own[l] = cell.start_traces(len(like), like)

    @property
    def name(self) -> str:
        """As it is asked for."""
        return self.method.name

    @property
    def certificate(self):
        """Bound ``(B,)`` on the distance from the layer-local influence, Frobenius norm of all cells, Eq. (SK.2).

        Raises AttributeError if the method is not :class:`Sketch`: no other certifies anything.
        """
        if not isinstance(self.method, Sketch):
            raise AttributeError(f"influence {self.name} has no certificate: take Sketch")
        bounds = [self.own[l]["bound"] for l in self.net.cells]
        return sum(bound * bound for bound in bounds) ** 0.5

    def settle(self):
        """Do what has been put off; here there is nothing."""

    @property
    def entries(self) -> int:
        """Numbers kept, all lanes together: constant in time."""
        return sum(a.size for own in self.own if own is not None for a in own.values())

    def copy(self, h):
        """The same, in arrays of its own; as :meth:`minipc.influence.Influence.copy`."""
        new = object.__new__(type(self))
        new.__dict__ |= self.__dict__
        new.draw = self.draw.copy() if isinstance(self.draw, Signs) else self.draw
        new.own = [None if own is None else dict(own) for own in self.own]
        for l in self.net.cells:
            for name, a in self.own[l].items():
                new.own[l][name] = a.astype(array_module(a).result_type(a, h[l]))
        return new

    def reset(self, mask):
        """Lanes ``mask (B,)`` bool begin anew, Eq. (RTRL.6)."""
        xp = array_module(mask)
        for l in self.net.cells:
            cell, own = self.net.blocks[l], self.own[l]
            like = next(iter(own.values()))
            fresh = {} if isinstance(cell, GatedCell) else cell.start_traces(1, like)
            for name, a in own.items():
                lanes = mask.reshape(-1, *[1] * (a.ndim - 1))
                own[name] = xp.where(lanes, fresh.get(name, xp.zeros_like(a[:1])), a)

    def step(self, params, stretch, t):
        """One step further: step ``t`` of a stretch of time."""
        for l in self.net.cells:
            cell, own, local = self.net.blocks[l], self.own[l], stretch.locals[l]
            if isinstance(cell, GatedCell):
                step = Step(cell, params[l], local, t, self.patterns[l], self.draw)
                self.own[l] = self.method.step_cell(step, own)
            else:
                self.own[l] = cell.step_traces(own, local, stretch.tapes[l].u[t], t)

    def readout(self, q, total=None):
        """Credit times influence, summed over the batch and added to the ``total`` so far; ``q`` as everywhere."""
        found = [None] * len(q) if total is None else list(total)
        for l in self.net.cells:
            if q[l] is None:
                continue
            cell = self.net.blocks[l]
            if isinstance(cell, GatedCell):
                new = self.method.read_cell(cell, self.patterns[l], self.own[l], q[l])
            else:
                new = cell.read_traces(self.own[l], q[l])
            if found[l] is not None:
                new = (
                    {k: v + found[l][k] for k, v in new.items()} if isinstance(new, dict) else new + found[l]
                )
            found[l] = new
        return found

    def gradients(self, params, total):
        """What :meth:`readout` gave as gradients: a list of dicts with the parameters that the states follow."""
        found = [{} for _ in self.net.blocks]
        for l in self.net.cells:
            if total[l] is not None:
                cell = self.net.blocks[l]
                gated = isinstance(cell, GatedCell)
                found[l] = _by_name(cell, total[l]) if gated else cell.to_parameters(params[l], total[l])
        return found


class Signs:
    """Random signs: of a seed, and then every copy goes on alike; or of a generator, which they all share.

    So a carry can be gone on from twice, with the same result; and a rule that is given a generator draws anew each time.
    """

    def __init__(self, seed):
        self.shared, self.rng = hasattr(seed, "bit_generator"), generator(seed)

    def __call__(self, B, width):
        """``(B, width)`` of -1 and 1, on the host: each lane has its own."""
        return 2 * self.rng.integers(0, 2, (B, width)) - 1

    def copy(self):
        """One that draws the same, unless the generator is shared."""
        return self if self.shared else copy.deepcopy(self)


# ---------------------------------------------------------------------- one step of one cell


@dataclass(frozen=True)
class Step:
    """One step of a gated cell, as the methods see it: J and Mbar = E (x) z without their zeros.

    What has one row for every row of weights is kept by unit, ``(B, n, columns)``: the columns of unit i are those of
    its gates, group after group (:func:`_by_name` gives them their names).
    """

    cell: Any
    p: dict
    local: Any
    t: int
    pattern: Any
    draw: Any

    @property
    def E(self):
        """How the state follows the pre-activations through the recurrent weights, ``(B, parts, gates, n)``."""
        return self.local.groups[0].E[self.t]

    def direct(self):
        """J at fixed pre-activations, of each unit by itself, ``(B, n, parts, parts)``; a number for a leak."""
        parts, direct = self.cell.parts, self.local.direct
        if parts == 1 and (direct[0] is None or is_number(direct[0])):
            return 0.0 if direct[0] is None else direct[0]
        E = self.E
        k = array_module(E).zeros((len(E), self.cell.n, parts, parts), E.dtype)
        for part, d in enumerate(direct):
            if d is not None:
                k[..., part] = d[self.t].transpose(0, 2, 1)
        return k

    def own_jacobian(self):
        """J of each unit on itself, through its own weight, too, ``(B, n, parts, parts)``."""
        cell, W, xp = self.cell, self.p["W"], array_module(self.p["W"])
        W_ii = xp.diagonal(W.reshape(cell.gates, cell.n, cell.n), axis1=1, axis2=2)  # (gates, n)
        through = (self.E * W_ii).sum(axis=2).transpose(0, 2, 1)  # (B, n, parts)
        if self.local.slope is not None:
            through = through * self.local.slope[self.t][:, :, None]
        if cell.parts == 1:
            return through[..., None] + self.direct()
        k = self.direct()
        k[..., 0] += through
        return k

    def jacobian_within(self, pattern):
        """J between the units of each column of a pattern, ``(B, n, width parts, width parts)``."""
        cell, xp, units = self.cell, array_module(self.p["W"]), pattern.units
        width, parts = pattern.width, cell.parts
        W = self.p["W"].reshape(cell.gates, cell.n, cell.n)[:, units[:, :, None], units[:, None]]
        E = self.E[..., units] * pattern.there
        J = xp.einsum("bsgia,giac->biasc", E, W)  # (RNN.4), of the first part of the previous state
        if self.local.slope is not None:
            J = J * self.local.slope[self.t][:, units][:, :, None, None]
        found, slot, k = xp.zeros((*J.shape, parts), J.dtype), xp.arange(width), self.direct()
        found[..., 0] = J
        if is_number(k):
            found[:, :, slot, 0, slot, 0] += k
        else:
            found[:, :, slot, :, slot] += k[:, units].transpose(2, 0, 1, 3, 4)
        return found.reshape(*J.shape[:2], width * parts, width * parts)

    def jacobian(self):
        """J itself, ``(B, n, n)``, of a cell of one number a unit, Eq. (RNN.4)."""
        cell, xp, E = self.cell, array_module(self.p["W"]), self.E
        J = xp.einsum("bgk,gkj->bkj", E[:, 0], self.p["W"].reshape(cell.gates, cell.n, cell.n))
        if self.local.slope is not None:
            J = J * self.local.slope[self.t][:, None]
        unit, d = xp.arange(cell.n), self.direct()
        J[:, unit, unit] += d if is_number(d) else d[..., 0, 0]
        return J

    def jacobian_times(self, X):
        """J X, of a vector ``(B, N)`` or of columns ``(B, N, m)`` a lane, Eq. (RNN.4)."""
        if X.ndim == 3:
            return self.cell.times_jacobian(self.p, self.local, self.t, X)
        cell, (B, N) = self.cell, X.shape  # without J itself
        parts = X.reshape(B, cell.parts, cell.n)
        seen = parts[:, 0] if self.local.slope is None else self.local.slope[self.t] * parts[:, 0]
        a = (seen @ self.p["W"].T).reshape(B, 1, cell.gates, cell.n)
        new = (self.E * a).sum(axis=2)
        for part, d in enumerate(self.local.direct):
            if d is not None:
                new = new + (d if is_number(d) else d[self.t]) * parts[:, part, None]
        return new.reshape(B, N)

    def add_immediate(self, rows):
        """Mbar added to ``rows (B, n, parts, columns)``, in place, Eq. (RNN.5)."""
        at = 0
        for group in self.local.groups:
            e, z = group.E[self.t].transpose(0, 3, 1, 2), group.z[self.t]
            width = e.shape[-1] * z.shape[-1]
            new = e[..., None] * z[:, None, None, None]
            rows[..., at : at + width] += new.reshape(*new.shape[:3], width)
            at += width

    def weighted_immediate(self, nu):
        """nu^T Mbar, ``(B, N) -> (B, n, columns)``, Eq. (UORO.2)."""
        found, xp = [], array_module(nu)
        nu = nu.reshape(len(nu), self.cell.parts, 1, self.cell.n)
        for group in self.local.groups:
            e, z = (nu * group.E[self.t]).sum(axis=1).transpose(0, 2, 1), group.z[self.t]  # (B, n, gates)
            found.append((e[..., None] * z[:, None, None]).reshape(*e.shape[:2], -1))
        return found[0] if len(found) == 1 else xp.concatenate(found, axis=-1)

    def rows_immediate(self, nu):
        """nu Mbar, a sum over rows of weights, ``(B, gates n) -> (B, N, n_z)``, Eq. (KF.5)."""
        found, xp, (B, n) = [], array_module(nu), (len(nu), self.cell.n)
        nu = nu.reshape(B, 1, self.cell.gates, n)
        for group in self.local.groups:
            e = (nu * group.E[self.t]).sum(axis=2).reshape(B, -1)  # (B, N)
            found.append(e[:, :, None] * group.z[self.t][:, None])
        return found[0] if len(found) == 1 else xp.concatenate(found, axis=-1)

    def signs(self, width, like):
        """New signs ``(B, width)``, one row a lane."""
        nu = as_backend(self.draw(len(like), width), like=like)
        return nu.astype(like.real.dtype)


def _columns(cell):
    """Number of columns of a unit, all gates."""
    return sum(shape[1] for name, shape in cell.state_columns.items()) * cell.gates


def _by_name(cell, total):
    """Gradients by name of ``total (n, columns)``, which is by unit."""
    found, at = {}, 0
    for name, (_, width) in cell.state_columns.items():
        part = total[:, at : at + cell.gates * width].reshape(cell.n, cell.gates, width)
        found[name] = part.transpose(1, 0, 2).reshape(cell.gates * cell.n, width)
        at += cell.gates * width
    return cell.from_columns(found)


def _norm(a):
    """The Euclidean norm of every lane, ``(B,)``; analytic, for the complex step."""
    return (a * a).reshape(len(a), -1).sum(axis=1) ** 0.5


def _ratio(a, b):
    """The root of a quotient of norms, ``(B,)``."""
    return ((a + TINY) / (b + TINY)) ** 0.5


def _lanes(r, a):
    """A number a lane, in the shape of ``a``."""
    return r.reshape(-1, *[1] * (a.ndim - 1))


# ---------------------------------------------------------------------- the methods


class Method:
    """What the methods share: the start, and refusals."""

    diagonal = False  # does it keep the exact traces of diagonal cells?

    def start(self, net, params, h) -> Approximation:
        """A new influence for the states ``h`` (a list, one entry a block)."""
        for l in net.cells:
            cell = net.blocks[l]
            place = f"influence {self.name}: block {l + 1}, {cell.formula},"
            if not isinstance(cell, GatedCell):
                if not self.diagonal:
                    raise ValueError(f"{place} has exact traces at the same cost: take snap-1 or diagonal")
                continue
            if cell.learn_h0:
                raise ValueError(
                    f"{place} learns its initial state, which is not followed: take exact or hybrid"
                )
            self.check(cell, place)
        return Approximation(self, net, params, h)

    def check(self, cell, place):
        """Refuse gated cells to which the method cannot be applied."""

    def prepare(self, place, cell, p, like):
        """What is known once and for all of a cell, the ``place``-th one from zero."""


class _Traced(Method):
    """One trace a unit: the column of a parameter of unit i has entries for i, and for what i reaches."""

    def start_cell(self, cell, pattern, B, like):
        """What is kept of a cell at its start: zeros."""
        return {"trace": array_module(like).zeros((B, cell.n, cell.parts, _columns(cell)), like.dtype)}

    def step_cell(self, step, own):
        """What is kept after one more step."""
        trace = own["trace"]
        k = self.carried(step)
        if is_number(k) or k.shape[-1] == 1:
            trace *= k
        else:
            trace = k @ trace
        step.add_immediate(trace)
        return {"trace": trace}

    def read_cell(self, cell, pattern, own, q):
        """Credit ``q (B, N)`` times influence, summed over the batch: ``(n, columns)``."""
        by_unit = q.reshape(len(q), cell.parts, cell.n).transpose(2, 0, 1)
        return _read(by_unit.reshape(cell.n, -1), own["trace"])


def _read(q, trace):
    """sum over the batch of credit times trace; ``(n, B S), (B, n, S, columns) -> (n, columns)``."""
    n = len(q)
    trace = trace.transpose(1, 0, 2, 3).reshape(n, -1, trace.shape[-1])
    return (q.reshape(n, 1, -1) @ trace)[:, 0]


@dataclass(frozen=True)
class SnAp(_Traced):
    """Sparse n-step approximation: of the influence those entries that a few steps can fill, Eqs. (SNAP.1)-(SNAP.3).

    Parameters
    ----------
    order : int              n of SnAp-n, at least 1: units are followed to where order - 1 steps lead

    Raises
    ------
    ValueError, TypeError    for an order that is no positive integer; where it starts, for a learned initial state

    Notes
    -----
    **Which gradient**: biased; exact on diagonal cells (LRU, RTU, eLSTM), whose exact traces it keeps, and if every unit
    reaches every other within order - 1 steps (SNAP.4): with dense W that is SnAp-2. The pattern is that of the weights
    that are zero when the influence starts (one synchronisation a cell); one who trains has to keep them zero.
    Memory a sequence: n n_z for SnAp-1, c n n_z else, where c counts the entries of the fullest column of the pattern.
    Time a step: n n_z; c^2 n n_z. Source: Menick et al. (2021), arXiv 2006.07232.

    Examples
    --------
    >>> SnAp(2).name
    'snap-2'
    """

    order: int = 1
    diagonal = True

    def __post_init__(self):
        check_count("order of SnAp", self.order, least=1)

    @property
    def name(self) -> str:
        """snap-1, snap-2, ..."""
        return f"snap-{self.order}"

    def prepare(self, place, cell, p, like):
        """The pattern, from the weights that are zero now."""
        if self.order == 1:
            return None
        linked = (p["W"].reshape(cell.gates, cell.n, cell.n) != 0).any(axis=0)
        reached = one_hop = to_numpy(linked | array_module(like).eye(cell.n, dtype=bool))
        for _ in range(self.order - 2):
            reached = reached @ one_hop  # (SNAP.1)
        return _Pattern.of(reached, like)

    def start_cell(self, cell, pattern, B, like):
        """What is kept of a cell at its start: zeros."""
        shape = (B, cell.n, cell.parts * (1 if pattern is None else pattern.width), _columns(cell))
        return {"trace": array_module(like).zeros(shape, like.dtype)}

    def step_cell(self, step, own):
        """What is kept after one more step."""
        if step.pattern is None:
            return super().step_cell(step, own)
        trace = step.jacobian_within(step.pattern) @ own["trace"]  # (SNAP.2)
        step.add_immediate(trace[:, :, : step.cell.parts])
        return {"trace": trace}

    def read_cell(self, cell, pattern, own, q):
        """Credit ``q (B, N)`` times influence, summed over the batch: ``(n, columns)``."""
        if pattern is None:
            return super().read_cell(cell, pattern, own, q)
        reached = q.reshape(len(q), cell.parts, cell.n)[:, :, pattern.units]  # (B, parts, n, width)
        return _read(reached.transpose(2, 0, 3, 1).reshape(cell.n, -1), own["trace"])

    def carried(self, step):
        """J of each unit on itself."""
        return step.own_jacobian()  # (SNAP.3)


class _Pattern(NamedTuple):
    """The rows of the influence that are kept: of unit i those of ``units[i]``, the first of which is i itself.

    Columns of the pattern that are shorter than the longest are filled up, with rows that stay zero.
    """

    units: Array  # (n, width)
    there: Array  # (n, width) bool
    width: int

    @classmethod
    def of(cls, reached, like):
        """From a table ``reached[k, i]`` (n, n) bool: unit i reaches unit k."""
        n = len(reached)
        columns = [[i, *(k for k in range(n) if reached[k, i] and k != i)] for i in range(n)]
        width = max(map(len, columns))
        xp = array_module(like)
        units = xp.asarray([[*column, *[i] * (width - len(column))] for i, column in enumerate(columns)])
        there = xp.asarray([[a < len(column) for a in range(width)] for column in columns])
        return cls(units, there, width)


@dataclass(frozen=True)
class RFLO(_Traced):
    """Random-feedback local online learning: J without its weights, Eq. (RFLO.1).

    Notes
    -----
    **Which gradient**: biased, what goes through the recurrent weights is left out; without a leak these are the
    immediate terms alone. In a GRU the update gate stands in the place of the leak, and an LSTM remembers through c
    (Hochreiter & Schmidhuber 1997). The credit is that of the rule, no random feedback.
    Memory a sequence and time a step: n n_z. Source: Murray (2019), eLife 8.
    """

    name = "rflo"

    def carried(self, step):
        """What passes beside the weights."""
        return step.direct()  # (RFLO.1)


@dataclass(frozen=True)
class UORO(Method):
    """Unbiased online recurrent optimisation: M as one product, right in the mean, Eqs. (UORO.1)-(UORO.3).

    Parameters
    ----------
    seed : int or numpy.random.Generator     of the signs; a generator goes on from call to call, which training wants

    Notes
    -----
    **Which gradient**: unbiased over the signs, with a variance that grows with n and with the memory of the cell; every
    lane has its own signs, so a batch averages. Every gated cell. Memory a sequence and time a step: n n_z.
    Source: Tallec & Ollivier (2018), arXiv 1702.05043; from zero, with a tiny constant in both ratios.
    """

    seed: Any = 0
    name = "uoro"

    def __post_init__(self):
        generator(self.seed)

    def start_cell(self, cell, pattern, B, like):
        """What is kept of a cell at its start: zeros."""
        xp = array_module(like)
        return {
            "s": xp.zeros((B, cell.state_size), like.dtype),
            "w": xp.zeros((B, cell.n, _columns(cell)), like.dtype),
        }  # (UORO.1)

    def step_cell(self, step, own):
        """What is kept after one more step."""
        s, w = step.jacobian_times(own["s"]), own["w"]
        nu = step.signs(s.shape[1], s)
        new = step.weighted_immediate(nu)
        r0, r1 = _ratio(_norm(w), _norm(s)), _ratio(_norm(new), _norm(nu))  # (UORO.3)
        s = _lanes(r0, s) * s + _lanes(r1, s) * nu  # (UORO.2)
        w = w / _lanes(r0, w) + new / _lanes(r1, w)  # (UORO.2)
        return {"s": s, "w": w}

    def read_cell(self, cell, pattern, own, q):
        """Credit ``q (B, N)`` times influence, summed over the batch: ``(n, columns)``."""
        return _weighted((q * own["s"]).sum(axis=1), own["w"])  # (UORO.3)


@dataclass(frozen=True)
class KF(Method):
    """Kronecker-factored RTRL: the regressors in one factor, the states in the other, Eqs. (KF.1)-(KF.3).

    Parameters
    ----------
    seed : int or numpy.random.Generator     as of :class:`UORO`

    Notes
    -----
    **Which gradient**: unbiased over the signs, less noisy than :class:`UORO`. RNN and LSTM; a GRU has two regressors.
    Memory a sequence: n^2 + n_z; time a step: n^3. Source: Mujika, Meier & Steger (2018), arXiv 1805.10842.
    """

    seed: Any = 0
    name = "kf"

    def __post_init__(self):
        generator(self.seed)

    def check(self, cell, place):
        """Mbar must be one Kronecker product."""
        if len(cell.grouped) > 1:
            raise ValueError(
                f"{place} has two regressors, so its influence is no Kronecker product: take reverse-kf"
            )

    def start_cell(self, cell, pattern, B, like):
        """What is kept of a cell at its start: zeros."""
        xp, width = array_module(like), _columns(cell) // cell.gates
        return {
            "A": xp.zeros((B, width), like.dtype),
            "B": xp.zeros((B, cell.state_size, cell.gates * cell.n), like.dtype),
        }  # (KF.1)

    def step_cell(self, step, own):
        """What is kept after one more step."""
        A, JB, E, z = own["A"], step.jacobian_times(own["B"]), step.E, step.local.groups[0].z[step.t]
        c = step.signs(2, A)
        c1, c2 = c[:, 0], c[:, 1]
        p0, p1 = _ratio(_norm(JB), _norm(A)), _ratio(_norm(E), _norm(z))  # (KF.2)
        A = _lanes(c1 * p0, A) * A + _lanes(c2 * p1, z) * z  # (KF.2)
        B = _lanes(c1 / p0, JB) * JB
        _, parts, gates, n = E.shape
        unit, by_unit = array_module(B).arange(n), B.reshape(len(B), parts, n, gates, n)
        by_unit[:, :, unit, :, unit] += (_lanes(c2 / p1, E) * E).transpose(3, 0, 1, 2)  # (KF.2)
        return {"A": A, "B": B}

    def read_cell(self, cell, pattern, own, q):
        """Credit ``q (B, N)`` times influence, summed over the batch: ``(n, columns)``."""
        return _by_unit(cell, _row(q, own["B"]).T @ own["A"])  # (KF.3)


@dataclass(frozen=True)
class ReverseKF(Method):
    """Kronecker factors the other way round: units in one, states and regressors in the other, Eqs. (KF.4), (KF.5).

    Parameters
    ----------
    seed : int or numpy.random.Generator     as of :class:`UORO`

    Notes
    -----
    **Which gradient**: unbiased over the signs. Every gated cell. Memory a sequence: n n_z; time a step: n^2 n_z.
    Source: Marschall, Cho & Savin (2020), arXiv 1907.02649.
    """

    seed: Any = 0
    name = "reverse-kf"

    def __post_init__(self):
        generator(self.seed)

    def start_cell(self, cell, pattern, B, like):
        """What is kept of a cell at its start: zeros."""
        xp, width = array_module(like), _columns(cell) // cell.gates
        return {
            "A": xp.zeros((B, cell.gates * cell.n), like.dtype),
            "B": xp.zeros((B, cell.state_size, width), like.dtype),
        }  # (KF.4)

    def step_cell(self, step, own):
        """What is kept after one more step."""
        A, JB = own["A"], step.jacobian_times(own["B"])
        nu = step.signs(A.shape[1], A)
        new = step.rows_immediate(nu)
        p0, p1 = _ratio(_norm(JB), _norm(A)), _ratio(_norm(new), _norm(nu))  # (KF.5)
        A = _lanes(p0, A) * A + _lanes(p1, nu) * nu  # (KF.5)
        return {"A": A, "B": JB / _lanes(p0, JB) + new / _lanes(p1, new)}  # (KF.5)

    def read_cell(self, cell, pattern, own, q):
        """Credit ``q (B, N)`` times influence, summed over the batch: ``(n, columns)``."""
        return _by_unit(cell, own["A"].T @ _row(q, own["B"]))  # (KF.5)


@dataclass(frozen=True)
class Sketch(Method):
    """SK-RTRL: SnAp-1 and a sketch of the rest, with a certificate, Eqs. (SK.1), (SK.2).

    Parameters
    ----------
    rank : int               r of the sketch; 0 is SnAp-1, n (or more) is exact

    Notes
    -----
    **Which gradient**: biased, by no more than ``influence.certificate (B,)`` says: the influence of a cell is at most so
    far from the exact one, in the Frobenius norm, so a step's gradient is off by at most ``|q| certificate`` a lane.
    RNN and GRU. Memory a sequence: r n n_z; time a step: n^3 + r^2 n n_z. In a complex step the directions of the sketch
    stay those of the real parts. Source: sonaradarcn/sketched-rtrl (2026); written from the equations.
    """

    rank: int = 4

    def __post_init__(self):
        check_count("rank of Sketch", self.rank, least=0)

    @property
    def name(self) -> str:
        """sketch-4, ..."""
        return f"sketch-{self.rank}"

    def check(self, cell, place):
        """A unit has one number."""
        if cell.parts > 1:
            raise ValueError(
                f"{place} has two numbers a unit, and a sketch is for one: take RNN or GRU cells"
            )

    def start_cell(self, cell, pattern, B, like):
        """What is kept of a cell at its start: zeros."""
        xp, n, r = array_module(like), cell.n, min(self.rank, cell.n)
        return {
            "trace": xp.zeros((B, n, 1, _columns(cell)), like.dtype),
            "left": xp.zeros((B, n, r), like.dtype),
            "right": xp.zeros((B, r, n, _columns(cell)), like.dtype),
            "bound": xp.zeros(B, like.real.dtype),
        }

    def step_cell(self, step, own):
        """What is kept after one more step."""
        J, T, right = step.jacobian(), own["trace"][:, :, 0], own["right"]
        xp, unit = array_module(T), array_module(T).arange(J.shape[1])
        J_ii, JL = J[:, unit, unit], J @ own["left"]
        off = J.copy()
        off[:, unit, unit] = 0
        basis, rest = _leading(off.real, T.real, JL.real, right.real)
        onto = xp.swapaxes(basis, 1, 2)  # X by its leading directions, exactly
        new = (onto @ off)[..., None] * T[:, None]  # (SK.1)
        if right.size:
            new += (onto @ JL @ right.reshape(*right.shape[:2], -1)).reshape(right.shape)
        trace = J_ii[:, :, None, None] * own["trace"]  # (SNAP.3)
        step.add_immediate(trace)
        size = abs(J.real)
        rho = xp.minimum(_norm(J.real), (size.sum(axis=1).max(axis=1) * size.sum(axis=2).max(axis=1)) ** 0.5)
        bound = rho * own["bound"] + rest  # (SK.2)
        return {"trace": trace, "left": basis.astype(T.dtype), "right": new, "bound": bound}

    def read_cell(self, cell, pattern, own, q):
        """Credit ``q (B, N)`` times influence, summed over the batch: ``(n, columns)``."""
        seen = _row(q, own["left"])  # (B, r)
        right = own["right"].reshape(seen.size, cell.n * _columns(cell))
        return _read(q.T, own["trace"]) + (seen.reshape(-1) @ right).reshape(cell.n, -1)


def _leading(off, T, JL, right):
    """The r leading left singular vectors ``(B, n, r)`` of X (SK.1), and the norm ``(B,)`` of what is left over.

    The rows of X are combinations of those of embed(T), which are orthogonal, and of R: in an orthonormal basis of
    these n + r rows X is a small matrix.
    """
    xp, (B, r, n, width) = array_module(T), right.shape
    size = (T * T).sum(axis=2) ** 0.5
    Q = T / xp.where(size > 0, size, 1)[:, :, None]
    small = off * size[:, None]
    if r > 0:
        C = (right * Q[:, None]).sum(axis=3)  # of R in the directions of embed(T)
        beside = (right - C[..., None] * Q[:, None]).reshape(B, r, n * width)
        triangle = xp.linalg.qr(xp.swapaxes(beside, 1, 2), mode="r")
        small = xp.concatenate([small + JL @ C, JL @ xp.swapaxes(triangle, 1, 2)], axis=2)
    U, values, _ = xp.linalg.svd(small, full_matrices=False)
    return U[:, :, :r], (values[:, r:] ** 2).sum(axis=1) ** 0.5


@dataclass(frozen=True, eq=False)
class KeRNL(_Traced):
    """Kernel RNN learning: A k^(t-s) in the place of the product of the J, Eq. (KERNL.1).

    Parameters
    ----------
    A : (n, n), optional             how a trace of one unit moves the others; a list where there are several cells
    alpha : (n,), optional           what the traces forget, k = max(0, 1 - alpha); a list where there are several cells

    Raises
    ------
    ValueError, TypeError            where it starts: other shapes, other kinds of arrays, cells that are no RNN

    Notes
    -----
    **Which gradient**: biased; None for both, the identity and the leak of the cell, is RFLO. :func:`learn_kernel` finds
    better ones. A carry keeps the kernel with which it began. Memory a sequence: n n_z; time a step: n n_z + n^2.
    Source: Roth, Kanitscheider & Fiete (2019), ICLR.
    """

    A: Any = None
    alpha: Any = None
    name = "kernl"

    def check(self, cell, place):
        """A unit's trace fades by one number."""
        if not hasattr(cell, "alpha"):
            raise ValueError(f"{place} has no leak that a kernel could stand for: take RNN cells")

    def start(self, net, params, h):
        """As everywhere; a list has one entry a cell."""
        for name, value in (("A", self.A), ("alpha", self.alpha)):
            if isinstance(value, list | tuple) and len(value) != len(net.cells):
                raise ValueError(
                    f"{name} of KeRNL must have {len(net.cells)} entries, one a cell, got {len(value)}"
                )
        return super().start(net, params, h)

    def prepare(self, place, cell, p, like):
        """A and what a trace keeps, k."""
        xp = array_module(like)
        A, alpha = (_of_cell(value, place) for value in (self.A, self.alpha))
        real = like.real.dtype
        A = xp.eye(cell.n, dtype=real) if A is None else _checked("A of KeRNL", A, (cell.n, cell.n), p, real)
        if alpha is None:
            alpha = xp.full(cell.n, cell.alpha, real)
        else:
            alpha = _checked("alpha of KeRNL", alpha, (cell.n,), p, real)
        return A, _kept(alpha)

    def carried(self, step):
        """What the kernel says that is kept."""
        return step.pattern[1][:, None, None]  # (KERNL.1)

    def read_cell(self, cell, pattern, own, q):
        """Credit ``q (B, N)`` times influence, summed over the batch: ``(n, columns)``."""
        return super().read_cell(cell, pattern, own, q @ pattern[0])  # (KERNL.1)


def learn_kernel(
    net, params, inputs, h0=None, reset=None, *, kernel=None, learning_rate=1e-3, noise=1e-3, seed=0
):
    r"""A better kernel for :class:`KeRNL`, from a copy of the network with noise in its states, Eq. (KERNL.2).

    .. math:: \tilde h_t = f(\tilde h_{t-1}, u_t) + \sigma\zeta_t, \qquad
        A \Bigl( \sum_s k^{t-s} \zeta_s \Bigr) \approx (\tilde h_t - h_t)/\sigma

    Gradient descent at every step; each cell by itself, on the inputs that it has. ``alpha`` stays between 0 and 1.

    Parameters
    ----------
    net, params, inputs, h0, reset       as in :func:`minipc.rtrl.gradient`; RNN cells alone
    kernel : KeRNL, optional             to go on from; None: the identity, and the leak of the cell
    learning_rate : float                of the mean over the batch; should be well below 1/n
    noise : float                        sigma, small against the states
    seed : int or numpy.random.Generator

    Returns
    -------
    KeRNL                                with lists of ``A`` and ``alpha``, one entry a cell

    Notes
    -----
    Cost O(B n (n + m)) a step; memory O(B n).  Source: Roth, Kanitscheider & Fiete (2019), ICLR. There the step is not
    divided by sigma^2: it is their learning rate times sigma^2 here.
    """
    check_positive_number("learning_rate", learning_rate)
    check_positive_number("noise", noise)
    rng, kernel = generator(seed), KeRNL() if kernel is None else kernel
    if not isinstance(kernel, KeRNL):
        raise TypeError(f"kernel must be a KeRNL, got {type(kernel).__name__}")
    p = prepare_sequences(net, params, inputs, None, None, h0, reset, forward=True)
    start = kernel.start(net, params, p.start)
    done, found = run(net, params, p.start, p.inputs, p.reset, p.start), []
    for l in net.cells:
        draw = lambda like: as_backend(rng.standard_normal(like.shape), like=like).astype(like.dtype)  # noqa: E731
        found.append(
            _learned(
                net.blocks[l],
                params[l],
                done.tapes[l],
                p.start[l],
                start.patterns[l],
                learning_rate,
                noise,
                draw,
            )
        )
    A, alpha = zip(*found, strict=True)
    return KeRNL(list(A), list(alpha))


def _learned(cell, p, tape, start, pattern, rate, noise, draw):
    """A and alpha of one cell after all steps of a tape."""
    xp, (A, k), h = array_module(start), pattern, start
    alpha, nf, gf = 1 - k, xp.zeros_like(start), xp.zeros_like(start)
    for t in range(len(tape.u)):
        if tape.reset is not None:
            anew = tape.reset[t][:, None]
            h, nf, gf = (xp.where(anew, a, b) for a, b in ((start, h), (0 * nf, nf), (0 * gf, gf)))
        zeta = draw(h)
        h = cell.step(p, h, tape.u[t])[0] + noise * zeta  # (KERNL.2)
        nf, gf, dA, dalpha = kernel_step(A, alpha, nf, gf, zeta, (h - tape.after[t]) / noise)
        A = A - rate / len(h) * dA
        alpha = xp.clip(alpha - rate / len(h) * dalpha, 0, 1)
    return A, alpha


def kernel_step(A, alpha, nf, gf, zeta, moved):
    """Filtered noise ``nf`` and its derivative by alpha ``gf (B, n)`` after a step, and the gradients, Eq. (KERNL.2).

    ``zeta (B, n)`` is the noise of the step, ``moved (B, n)`` how far it and the noise before have moved the state;
    gradients of half the squared error, summed over the batch: dA (n, n), dalpha (n,).
    """
    k = 1 - alpha
    nf, gf = k * nf + zeta, k * gf - nf  # (KERNL.2)
    error = nf @ A.T - moved
    return nf, gf, error.T @ nf, (error @ A * gf).sum(axis=0)  # (KERNL.2)


def _of_cell(value, place):
    """The entry of one cell; an array is that of the only one."""
    return value[place] if isinstance(value, list | tuple) else value


def _checked(name, value, shape, p, real):
    """An array of this shape in the precision of the parameters."""
    check_array(name, value, kinds="fc")
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
    check_module(name, value, [p])
    return cast(value, real)


def _kept(alpha):
    """k of (KERNL.1)."""
    xp = array_module(alpha)
    return xp.where(alpha.real < 1, 1 - alpha, xp.zeros_like(alpha))


def _row(q, B):
    """B^T q of every lane; ``(B, N), (B, N, m) -> (B, m)``."""
    return (q[:, None] @ B)[:, 0]


def _by_unit(cell, rows):
    """Rows of weights ``(gates n, n_z)``, group beside group, by unit: ``(n, columns)``."""
    found, at, xp = [], 0, array_module(rows)
    for _, width in cell.state_columns.values():
        part = rows[:, at : at + width].reshape(cell.gates, cell.n, width)
        found.append(part.transpose(1, 0, 2).reshape(cell.n, -1))
        at += width
    return found[0] if len(found) == 1 else xp.concatenate(found, axis=-1)


def _weighted(c, w):
    """sum over the batch of a number times an array."""
    return (c @ w.reshape(len(w), -1)).reshape(w.shape[1:])


METHODS = {"rflo": RFLO, "kernl": KeRNL, "uoro": UORO, "kf": KF, "reverse-kf": ReverseKF}
NUMBERED = {"snap": SnAp, "sketch": Sketch}
NAMES = (*METHODS, *(f"{word}-1, {word}-2, ..." for word in NUMBERED))


def named(name):
    """The method of a name, such as "snap-1" or "uoro"; None if no method has it."""
    if not isinstance(name, str):
        return None
    if name in METHODS:
        return METHODS[name]()
    word, _, number = name.rpartition("-")
    return NUMBERED[word](int(number)) if word in NUMBERED and number.isdecimal() else None
