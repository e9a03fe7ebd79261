r"""e-prop: what a unit owes to its parameters through its own memory alone, with the paths between units cut.

=========  ==========================================================================================
(EPROP.1)  LIF traces :math:`\bar z_t = \kappa \bar z_{t-1} + z_t`, :math:`e_{ij} = \psi_i \bar z_j`, z the regressor of a unit:
           spikes of the step before, input, 1
(EPROP.2)  ALIF :math:`e^a_t = \rho e^a_{t-1} + e_{t-1}`, :math:`e_{ij} = \psi_i (\bar z_j - \mathrm{bt}\, e^a_{ij})`
(EPROP.3)  :math:`g_{ij} = \sum_t \mathcal L^{sig}_i e_{ij}`; :math:`\mathcal L^{sig}` the credit through space, or
           :math:`B\, \partial\mathcal L_t/\partial\hat y_t` with a fixed random B
=========  ==========================================================================================

Both tables are one recursion, :math:`T_t = K_t T_{t-1} + \bar M_t` with K the part of the state Jacobian that passes beside the
recurrent weights (``direct`` of :class:`minipc.cells.Local`), which on a leaky RNN is RFLO. So it is there for every gated
cell: on an LSTM K is what passes with c, as in the paper. On a diagonal cell nothing is cut: its traces are the exact ones.

**Biased**: exact is the gradient with the recurrent path cut, that is the one in which the weights receive the spikes of
the step before as given numbers; T12 proves that. Layer-local, credit through space at the same step (STACK.4). A readout
that remembers (the leaky one of the paper) is not seen through time: its filter of the traces is left out.
Memory n n_z a sequence and number of a unit, time the same a step: :mod:`minipc.approximations`.
Source: Bellec et al. (2020), Nature Communications 11, 3625.
"""

from dataclasses import dataclass

from .approximations import RFLO, Approximation
from .arguments import cast, check_array, check_module, real_dtype
from .backend import Array, array_module, is_array


@dataclass(frozen=True, eq=False)
class EProp(RFLO):
    """The influence e-prop, with options.

    Parameters
    ----------
    feedback : None, array or list
        None: credit comes through space, by backpropagation or from the errors of inference. An array B (n, o) for one cell,
        or a list with an entry a cell, None or (n, o): in the place of credit stands B dL_t/dyhat_t (EPROP.3), with o outputs
        of the network. Blocks between the cells still learn from credit through space

    Raises
    ------
    ValueError, TypeError    when it starts: feedback of another shape, or of an LRU; a gated cell that learns its initial state

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.RecurrentNetwork([pc.LIF(3, 4), pc.Dense(4, 2)])
    >>> data = np.ones((5, 1, 3)), np.zeros((5, 1, 2))
    >>> g = pc.rtrl.gradient(net, net.init(seed=0), *data, influence=EProp(np.ones((4, 2))))
    >>> g.grads[0]["W"].shape, g.carry.influence.entries
    ((4, 4), 64)
    """

    feedback: Array | list | None = None

    name = "eprop"
    diagonal = True

    def start(self, net, params, h):
        """A new influence for the states ``h`` (a list, one entry a block)."""
        feedback = self._by_block(net, params, h)
        super().start(net, params, h)  # refuses what it cannot follow
        return Eligibility(self, net, params, h, feedback)

    def carried(self, step):
        """K_t: what passes from each unit to itself beside the recurrent weights."""
        return step.direct()  # (EPROP.1), (EPROP.2)

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


class Eligibility(Approximation):
    """The traces of every cell, and the credit that they meet.

    Attributes
    ----------
    feedback : list          one entry a block, ``(n_out, o)`` or None
    """

    def __init__(self, method, net, params, h, feedback):
        super().__init__(method, net, params, h)
        self.feedback, self.v = feedback, None

    def observe(self, y, v):
        """What the network should say, ``y (B, o)``, and the credit at its output, ``v (B, o)``, at the step to come."""
        self.v = v

    def readout(self, q, total=None):
        """Credit times traces, summed over the batch and added to the ``total`` so far, Eq. (EPROP.3)."""
        q = list(q)
        for l in self.net.cells:
            if self.feedback[l] is not None:
                q[l] = _padded(self.net.blocks[l], self.v @ self.feedback[l].T)  # (EPROP.3)
        return super().readout(q, total)


def _padded(cell, credit):
    """Credit at the output as credit at the whole of the state, ``(B, N)``."""
    xp, rest = array_module(credit), cell.state_size - credit.shape[1]
    return xp.concatenate([credit, xp.zeros((len(credit), rest), credit.dtype)], axis=1)
