r"""DNI: synthetic gradients, a linear guess of the credit that the future will send, learned while time goes on.

=========  ==========================================================================================
(DNI.1)    :math:`\mathrm{sg}_t = A\,\tilde z_t`, :math:`\tilde z_t = [h_t; y_t; 1]`: an estimate of :math:`p_t = d\mathcal L/dh_t`
(DNI.2)    target of sg at t - 1: :math:`q_{t-1} + J_t^\top (A^- \tilde z_t)`, :math:`A^-` a frozen copy refreshed every 5 steps;
           :math:`dA = (A \tilde z_{t-1} - \mathrm{target})\, \tilde z_{t-1}^\top`
(DNI.3)    :math:`g = \sum_t \bar M_t^\top \mathrm{sg}_t`; of a recurrent net :math:`(D_t \odot \mathrm{sg}_t) z_t^\top`
=========  ==========================================================================================

The one method here that looks into the future: the others carry M forward and meet the credit of the present, this one
guesses p and meets :math:`\bar M_t`, duality (RTRL.4). With sg = p the target of t - 1 is p_{t-1}, (BPTT.1), so the exact p is a
fixed point, and there the gradient is that of BPTT (T13).

**Biased**, as far as A z~ is not p: p depends on inputs that are still to come, so no A makes it exact but by chance.
Layer-local: every cell has its own A, and credit comes down through space at the same step (STACK.4). A belongs to the
learner, not to the stretch of time: it goes on in ``carry``, and to begin new sequences with it, ``DNI(A=carry.influence.A)``.
Every call begins at the A that it is given, so a training loop hands A on, or it stays where it was. In tPC h_t is mu_t.
Source: Jaderberg et al. (2017), ICML, arXiv 1608.05343; in recurrent nets: Marschall, Cho & Savin (2020), JMLR 21.
"""

from dataclasses import dataclass

from .arguments import check_array, check_count, check_module, check_positive_number, real_dtype
from .backend import Array, array_module, is_array
from .cells import Tape


@dataclass(frozen=True, eq=False)
class DNI:
    """The influence DNI, with options.

    Parameters
    ----------
    A : None, array or list
        where A begins: an array (N, N + o + 1) for one cell, or a list of them, one a cell, as an influence's ``A`` has them; o
        outputs of the network. Of an LRU complex, (n, 2n + o + 1), on Re h, Im h, y, 1. None: zero, so at first nothing is
        learned but A
    learning_rate : float    of A, on the mean over the lanes; larger than 2 over the mean of |z~|^2 it diverges
    refresh : int            steps between two copies of A

    Raises
    ------
    ValueError, TypeError    for a rate that is not positive, a refresh below 1; when it starts, for A of another shape

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net, x, y = pc.RecurrentNetwork([pc.RNN(1, 1)]), np.ones((9, 2, 1)), np.zeros((9, 2, 1))
    >>> A = None
    >>> for _ in range(2):  # a training loop hands A on
    ...     g = pc.rtrl.gradient(net, net.init(seed=0), x, y, influence=DNI(A))
    ...     A = g.carry.influence.A
    >>> A[0].shape
    (1, 3)
    """

    A: Array | list | None = None
    learning_rate: float = 0.01
    refresh: int = 5

    name = "dni"

    def __post_init__(self):
        check_positive_number("learning_rate of DNI", self.learning_rate)
        check_count("refresh of DNI", self.refresh, least=1)

    def start(self, net, params, h):
        """A new influence for the states ``h`` (a list, one entry a block)."""
        return SyntheticGradient(self, net, h, self._first(net, params, h))

    def _first(self, net, params, h):
        """The first A of every cell, a list with one entry a block; refuses what does not fit."""
        found, given = [None] * len(net.blocks), self.A
        if given is not None and not isinstance(given, list | tuple) and not is_array(given):
            raise TypeError(
                f"A must be an array (one cell) or a list of arrays, one a cell; got {type(given).__name__}"
            )
        given = [None] * len(net.cells) if given is None else [given] if is_array(given) else list(given)
        if len(given) != len(net.cells):
            raise ValueError(f"A must have {len(net.cells)} matrices, one a cell; got {len(given)}")
        for l, A in zip(net.cells, given, strict=True):
            cell, xp = net.blocks[l], array_module(h[l])
            width = cell.state_size * (2 if cell.complex_state else 1) + net.shapes[-1][0] + 1
            name, shape = f"A of block {l + 1}", (cell.state_size, width)
            if A is None:
                found[l] = xp.zeros(shape, h[l].dtype)
                continue
            check_array(name, A, kinds="fc")
            if A.shape != shape:
                raise ValueError(
                    f"{name}, {cell.formula}, must have shape {shape}, for [h; y; 1]; got {A.shape}"
                )
            check_module(name, A, params)
            if not xp.isfinite(A).all():
                raise ValueError(f"{name} must be finite")
            if A.dtype.kind == "c" and h[l].dtype.kind != "c":
                raise TypeError(f"{name}, {cell.formula}, must be real, as its state is; got {A.dtype}")
            found[l] = A.astype(h[l].dtype, copy=False)
        return found


class SyntheticGradient:
    """A of every cell, and what it needs of the step before; the interface of :class:`minipc.influence.Influence`.

    Attributes
    ----------
    own : list               of every cell a dict: "A", its frozen copy "frozen", and of the step before "seen" z~ and "q"
    begins : (B,) bool       lanes that begin with the next step
    steps : int              how many there were: every so many A is copied
    """

    block, local, name = 1, True, "dni"

    def __init__(self, method, net, h, A):
        self.method, self.net, self.steps, self.y = method, net, 0, None
        like = h[net.cells[0]]
        self.begins = array_module(like).ones(len(like), bool)
        self.own, self.below, self.now = [None] * len(h), [None] * len(h), [None] * len(h)
        for l in net.cells:
            xp, (B, N) = array_module(h[l]), h[l].shape
            dtype = real_dtype(h[l].dtype) if net.blocks[l].complex_state else h[l].dtype
            seen = xp.zeros((B, A[l].shape[1]), dtype)  # zero: from a step that was not, A does not learn
            q = xp.zeros((B, N), h[l].dtype)
            self.own[l] = {"A": A[l], "frozen": A[l], "seen": seen, "q": q}

    @property
    def A(self):
        """The matrices as they are now, one a cell: to go on with, ``DNI(A=...)``."""
        return [self.own[l]["A"] for l in self.net.cells]

    def settle(self):
        """Do what has been put off; here there is nothing."""

    def copy(self, h):
        """The same, for the states ``h``, whose numbers may be complex in a complex step; no array is written to."""
        new = object.__new__(type(self))
        new.__dict__ |= self.__dict__
        new.own = [None if own is None else dict(own) for own in self.own]
        return new

    @property
    def entries(self) -> int:
        """Numbers kept, all lanes together: constant in time."""
        return sum(a.size for own in self.own if own is not None for a in own.values())

    def reset(self, mask):
        """Lanes ``mask (B,)`` bool begin anew: nothing comes back from them, as in Eq. (BPTT.3)."""
        self.begins = self.begins | mask

    def observe(self, y, v):
        """What the network should say at the step to come, ``y (B, o)``, zero where nothing is asked; ``v`` is not used."""
        self.y = y  # (DNI.1)

    def step(self, params, stretch, t):
        """One step further: step ``t`` of a stretch of time, whose Jacobian is needed when its credit is known."""
        for l in self.net.cells:
            tape = stretch.tapes[l]
            parts = (tape.u, tape.before, tape.after)
            kept = tuple(a[t : t + 1] for a in tape.kept)
            self.now[l] = params[l], Tape(*(a[t : t + 1] for a in parts), kept, None)

    def readout(self, q, total=None):
        """A learns from the step before, then speaks: sg times Mbar, summed over the batch and added to ``total``."""
        if self.y is None:
            raise ValueError("DNI needs the target of every step: call observe(y, v) before readout")
        found = [{} for _ in q] if total is None else list(total)
        for l in self.net.cells:
            if q[l] is not None:
                new = self._read(l, q[l])
                found[l] = {name: found[l][name] + g if found[l] else g for name, g in new.items()}
        self.steps, self.begins = self.steps + 1, array_module(self.y).zeros_like(self.begins)
        if self.steps % self.method.refresh == 0:  # (DNI.2)
            for l in self.net.cells:
                self.own[l]["frozen"] = self.own[l]["A"]
        return found

    def _read(self, l, q):
        """One cell: its A one step further, and its gradients."""
        cell, own, (p, tape) = self.net.blocks[l], self.own[l], self.now[l]
        xp, seen = array_module(q), _seen(cell, tape.after[0], self.y)
        wish = target(cell, p, tape, own["q"], synthetic(own["frozen"], seen), self.begins)
        off = synthetic(own["A"], own["seen"]) - wish
        A = own["A"] - float(self.method.learning_rate) / len(q) * (off.T @ own["seen"])  # (DNI.2)
        swept = cell.sweep(p, tape, None, synthetic(A, seen))
        grads = cell.gradients(p, tape, swept)  # (DNI.3)
        if cell.learn_h0:  # what goes back beyond a beginning arrives at the initial state, (BPTT.3)
            arrived = xp.where(self.begins[:, None], swept.start, xp.zeros_like(swept.start))
            grads |= cell.initial_gradient(arrived.sum(axis=0))
        self.own[l] = {"A": A, "frozen": own["frozen"], "seen": seen, "q": q}
        return grads

    def gradients(self, params, total):
        """What :meth:`readout` gave has the names of the parameters already."""
        return [dict(found) for found in total]


def synthetic(A, seen):
    """sg = A z~ of every lane, ``(N, width), (B, width) -> (B, N)``, Eq. (DNI.1)."""
    return seen @ A.T  # (DNI.1)


def target(cell, p, tape, q, sg, begins):
    """What sg of the step before should have been, ``(B, N)``, Eq. (DNI.2).

    ``q (B, N)`` was the credit there, ``tape`` is that of one step, the next, and ``sg`` is said there. Of lanes
    ``begins (B,)`` that began anew between the two nothing comes back.
    """
    back = cell.sweep(p, tape, None, sg).start
    return q + array_module(q).where(begins[:, None], 0 * back, back)  # (DNI.2)


def _seen(cell, h, y):
    """z~ = [h; y; 1] ``(B, width)``; of a complex state both parts."""
    xp = array_module(h)
    parts = [h.real, h.imag] if cell.complex_state else [h]
    return xp.concatenate([*parts, y, xp.ones_like(y[:, :1])], axis=1)  # (DNI.1)
