r"""e-prop: what a unit owes to its parameters through its own memory alone, with the paths between units cut.

=========  ==========================================================================================
(EPROP.1)  LIF traces :math:`\bar z_t = \kappa \bar z_{t-1} + z_t`, :math:`e_{ij} = \psi_i \bar z_j`, z the regressor of a unit:
           spikes of the step before, input, 1
(EPROP.2)  ALIF :math:`e^a_t = \rho e^a_{t-1} + e_{t-1}`, :math:`e_{ij} = \psi_i (\bar z_j - \mathrm{bt}\, e^a_{ij})`
(EPROP.3)  :math:`g_{ij} = \sum_t \mathcal L^{sig}_i e_{ij}`; :math:`\mathcal L^{sig}` the credit through space, or
           :math:`B\, \partial\mathcal L_t/\partial\hat y_t` with a fixed random B
=========  ==========================================================================================

Both tables are one recursion, :math:`T_t = K_t T_{t-1} + \bar M_t` with K the part of the state Jacobian that passes beside the
recurrent weights (``direct`` of :class:`minipc.cells.Local`). So it is there for every gated cell: on a leaky RNN it is
RFLO (1 - alpha passes), on an LSTM it is what passes with c, as in the paper. On a diagonal cell nothing is cut: its
traces are the exact ones.

**Biased**: exact is the gradient with the recurrent path cut, that is the one in which the weights receive the spikes of
the step before as given numbers; T12 proves that. Layer-local, credit through space at the same step (STACK.4). A readout
that remembers (the leaky one of the paper) is not seen through time: its filter of the traces is left out.
Source: Bellec et al. (2020), Nature Communications 11, 3625.
"""

from dataclasses import dataclass

from .arguments import cast, check_array, check_module, is_number, real_dtype
from .backend import Array, array_module, is_array
from .cells import GatedCell


@dataclass(frozen=True, eq=False)
class EProp:
    """The influence e-prop, with options.

    Parameters
    ----------
    feedback : None, array or list
        None: credit comes through space, by backpropagation or from the errors of inference. An array B (n, o) for one cell,
        or a list with an entry a cell, None or (n, o): in the place of credit stands B dL_t/dyhat_t (EPROP.3), with o outputs
        of the network. Blocks between the cells still learn from credit through space
    """

    feedback: Array | list | None = None

    name = "eprop"

    def start(self, net, params, h):
        """A new influence for the states ``h`` (a list, one entry a block)."""
        return Eligibility(net, h, self._by_block(net, params, h))

    def _by_block(self, net, params, h):
        """The feedback matrices, one entry a block; refuses what does not fit."""
        found, given = [None] * len(net.blocks), self.feedback
        if given is None:
            return found
        if not isinstance(given, list | tuple) and not is_array(given):
            raise TypeError(
                f"feedback must be an array (one cell) or a list of arrays, one a cell; got {type(given).__name__}"
            )
        given = [given] if is_array(given) else list(given)
        if len(given) != len(net.cells):
            raise ValueError(f"feedback must have {len(net.cells)} matrices, one a cell; got {len(given)}")
        for l, B in zip(net.cells, given, strict=True):
            if B is None:
                continue
            cell, name, (o,) = net.blocks[l], f"feedback of block {l + 1}", net.shapes[-1]
            if cell.complex_state:
                raise ValueError(f"{name}, {cell.formula}, cannot be given: its credit is complex; take None")
            check_array(name, B, kinds="fc")
            if B.shape != (cell.n_out, o):
                raise ValueError(f"{name}, {cell.formula}, must have shape {(cell.n_out, o)}, got {B.shape}")
            check_module(name, B, params)
            if not array_module(B).isfinite(B).all():
                raise ValueError(f"{name} must be finite")
            found[l] = cast(B, real_dtype(h[l].dtype))
        return found


class Eligibility:
    """Eligibility traces of every cell, step by step; the interface of :class:`minipc.influence.Influence`.

    Attributes
    ----------
    own : list               of every cell a dict of traces: of a gated one by group, ``(B, parts, gates, n, columns)``, how
                             the parts of unit i follow row i of a gate
    feedback : list          one entry a block, ``(n_out, o)`` or None
    """

    block, local, name = 1, True, "eprop"

    def __init__(self, net, h, feedback):
        self.net, self.feedback, self.v = net, feedback, None
        self.own, self.below = [None] * len(net.blocks), [None] * len(net.blocks)
        for l in net.cells:
            self.own[l] = _start(net.blocks[l], len(h[l]), h[l])

    def settle(self):
        """Do what has been put off; here there is nothing."""

    def observe(self, y, v):
        """What the network should say, ``y (B, o)``, and the credit at its output, ``v (B, o)``, at the step to come."""
        self.v = v

    def copy(self, h):
        """The same, in arrays of its own; as :meth:`minipc.influence.Influence.copy`."""
        new = object.__new__(type(self))
        new.__dict__ |= self.__dict__
        new.own = [None] * len(h)
        for l in self.net.cells:
            wide = array_module(h[l]).result_type
            new.own[l] = {name: T.astype(wide(T, h[l])) for name, T in self.own[l].items()}
        return new

    @property
    def entries(self) -> int:
        """Numbers kept, all lanes together: constant in time."""
        return sum(T.size for own in self.own if own is not None for T in own.values())

    def reset(self, mask):
        """Lanes ``mask (B,)`` bool begin anew, Eq. (RTRL.6)."""
        xp = array_module(mask)
        for l in self.net.cells:
            fresh = _start(self.net.blocks[l], 1, next(iter(self.own[l].values())))
            for name, T in self.own[l].items():
                lanes = mask.reshape(-1, *[1] * (T.ndim - 1))
                self.own[l][name] = xp.where(lanes, fresh[name], T).astype(T.dtype, copy=False)

    def step(self, params, stretch, t):
        """One step further, Eqs. (EPROP.1), (EPROP.2): step ``t`` of a stretch of time."""
        for l in self.net.cells:
            cell, local = self.net.blocks[l], stretch.locals[l]
            if isinstance(cell, GatedCell):
                self.own[l] = _step(self.own[l], local, t)
            else:
                self.own[l] = cell.step_traces(self.own[l], local, stretch.tapes[l].u[t], t)

    def readout(self, q, total=None):
        """Credit times traces, summed over the batch and added to the ``total`` so far, Eq. (EPROP.3)."""
        found = [None] * len(q) if total is None else list(total)
        for l in self.net.cells:
            cell, credit = self.net.blocks[l], q[l]
            if self.feedback[l] is not None:
                credit = _padded(cell, self.v @ self.feedback[l].T)  # (EPROP.3)
            if credit is None:
                continue
            read = _read if isinstance(cell, GatedCell) else cell.read_traces
            new = read(self.own[l], credit)
            found[l] = new if found[l] is None else {name: v + new[name] for name, v in found[l].items()}
        return found

    def gradients(self, params, total):
        """What :meth:`readout` gave as gradients: a list of dicts with the parameters that the states follow."""
        found = [{} for _ in self.net.blocks]
        for l in self.net.cells:
            if total[l] is not None:
                cell = self.net.blocks[l]
                gated = isinstance(cell, GatedCell)
                found[l] = cell.from_columns(total[l]) if gated else cell.to_parameters(params[l], total[l])
        return found


def _start(cell, B, like):
    """Traces at the initial state: zero, and one for the initial state itself if it is learned."""
    if not isinstance(cell, GatedCell):
        return cell.start_traces(B, like)
    xp, traces, (parts, n) = array_module(like), {}, (cell.parts, cell.n)
    for name, shape in cell.state_columns.items():
        across = (cell.gates, n, shape[1]) if name != "h0" else (parts, n, 1)
        traces[name] = xp.zeros((B, parts, *across), like.dtype)
    for s in range(parts if cell.learn_h0 else 0):
        traces["h0"][:, s, s] = 1  # (RTRL.1), M_0
    return traces


def _step(traces, local, t):
    """K T + Mbar of step t for every trace of a gated cell, Eqs. (EPROP.1), (EPROP.2)."""
    new = {name: _passed(local.direct, t, T) for name, T in traces.items()}
    for group in local.groups:
        new["".join(group.names)] += group.E[t][..., None] * group.z[t][:, None, None, None]
    return new


def _passed(direct, t, T):
    """K T of step t: what passes from each unit to itself beside the recurrent weights."""
    new = array_module(T).zeros_like(T)
    for part, d in enumerate(direct):
        if d is not None:
            d = d if is_number(d) else d[t][:, :, None, :, None]  # (B, parts, 1, n, 1)
            new += d * T[:, None, part]
    return new


def _read(traces, q):
    """sum over the batch of credit times trace, for every trace: the columns by group."""
    found = {}
    for name, T in traces.items():
        parts, gates, n = T.shape[1:4]
        read = array_module(T).einsum("bsi,bsgij->gij", q.reshape(-1, parts, n), T)
        found[name] = read.reshape(-1) if name == "h0" else read.reshape(gates * n, -1)
    return found


def _padded(cell, credit):
    """Credit at the output as credit at the whole of the state, ``(B, N)``."""
    xp, rest = array_module(credit), cell.state_size - credit.shape[1]
    return xp.concatenate([credit, xp.zeros((len(credit), rest), credit.dtype)], axis=1)
