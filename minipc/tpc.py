r"""Temporal predictive coding and tPC-RTRL: the state of each step is inferred, and learns from its own error.

=========  ==========================================================================================
(tPC.1)    :math:`\mu_t = f(c_{t-1}, u_t; \theta)`, :math:`\varepsilon_t = s_t - \mu_t`
(tPC.7)    one step: :math:`g_\theta = -\bar M_t^\top \Pi\varepsilon_t / \beta`, the gradient with a stop at the carried state
(tPC.8)    nothing observed: :math:`s_t = \mu_t`, no error, no update
(TPR.2)    :math:`M_t = \bar M_t + J_t S_{t-1} = \partial\mu_t/\partial\theta`, J and Mbar at the carried state
(TPR.3)    :math:`g = -\frac1\beta \sum_t M_t^\top \Pi\varepsilon_t`; readout: :math:`\frac1\beta` times the local gradient at :math:`s_t`
(TPR.4)    carry :math:`c_t = s_t` ("state") or :math:`\mu_t` ("prediction")
(TPR.5)    influence: none, S = 0; plain, S = M; implicit, S = Damp M; diag, S = (diag Pi / diag H) M
           (H of the state alone: hidden states of the readout eliminated)
(TPR.6)    :math:`S_t = [H_t^{-1}]_{ss} \Pi M_t`, H of all free states at :math:`s_t`
(TPR.7)    readout parameters: :math:`S_t = [H_t^{-1}(\Pi M_t - \partial^2 F_t/\partial s\,\partial\theta)]_s`
(TPR.13)   certificate: :math:`|\Delta_t| \le |D_t J_t| |\Delta_{t-1}| + |(I - D_t) M_t|` for :math:`\Delta = S^{plain} - S^{impl}`, D = Damp
=========  ==========================================================================================

Credit has two directions, chosen apart. In space it comes from inference (:mod:`minipc.timestep`): the error of the state
of a step. Through time it comes from an influence (:mod:`minipc.influence`), as in RTRL. Which gradient comes out:

=========== ============ ==================================================================================
carry       influence    exact gradient of, at the equilibrium of inference
=========== ============ ==================================================================================
state       None         (1/beta) sum F_t*, with a stop at the carried state (tPC.7)
state       implicit     (1/beta) sum F_t* along the inferred trajectory, any beta (TPR.8)
state       plain        nothing (the paper's rule); :func:`certificate` bounds what is missing
prediction  plain        (1/beta) sum of the Moreau envelopes of beta L_t along the free trajectory, any beta (TPR.9)
prediction  plain        BPTT, with inference "fixed" (TPR.10)
any         not None     BPTT + O(beta) as beta goes to zero
=========== ============ ==================================================================================

In a stack the last cell's state is inferred; what stands below it runs forward, and its credit comes through the blocks of
(STACK.2). So mu_t is the prediction of the whole stack, and the table holds for it.

tPC-E (Ng-Kee-Kwong, Tang, Akam & Bogacz 2026) is influence "rflo" and carry "state" with a leaky linear cell,
``RNN(m, n, "identity", form="pre", alpha=0.5)``: a trace for each weight in the place of M.

Source: Potter & Rhodes (2026), arXiv 2602.18131; tPC: Millidge, Tang, Osanlouy, Harper & Bogacz (2024), PLOS Computational
Biology 20(4). "implicit", "diag", the reading of "prediction" as Moreau envelopes and ePC in the step are ours:
reference/equations.md.
"""

from types import SimpleNamespace
from typing import NamedTuple

from . import fast_influence
from .arguments import check_word
from .backend import Array, array_module, to_numpy
from .cells import GatedCell, Tape
from .dni import SyntheticGradient
from .filtering import Filtered, infer
from .inference import inner
from .influence import APPROXIMATIONS, NAMES, Influence, named
from .influence import start as start_influence
from .network import Gradient
from .recurrent import State, add_learned, flat_time, plus, prepare_sequences, pull
from .rtrl import AT_ONCE, credit, observed, one_step_down
from .timestep import Timestep, weigh_rows
from .trajectory import CARRIES, together, walk, warn

__all__ = ["Certificate", "Damped", "Filtered", "certificate", "gradient", "infer", "which"]

UNBIASED = ("uoro", "kf", "reverse-kf")


def gradient(
    net,
    params,
    inputs,
    targets,
    mask=None,
    h0=None,
    reset=None,
    *,
    influence=None,
    carry="state",
    inference="spc",
    beta=1.0,
    inference_steps=20,
    step_size=0.1,
    tolerance=None,
    precision=None,
    start="prediction",
):
    r"""Temporal predictive coding, and tPC-RTRL: Eqs. (tPC.1)-(tPC.8), (TPR.1)-(TPR.7).

    Parameters
    ----------
    net, params, inputs, targets, mask, h0, reset
        as in :func:`minipc.bptt.gradient`. Where ``mask`` is False nothing is observed: s_t = mu_t (tPC.8)
    influence : None, str or an influence
        None: tPC, no history. "plain": the paper's. "implicit": exact for the inferred trajectory; needs Dense blocks above
        a gated cell. "diag": its diagonal, for diagonal cells, too. "local", "exact": as in :func:`minipc.rtrl.gradient`
        (exact is plain, step by step). Or an approximation: "snap-1", "uoro", ... of :mod:`minipc.approximations`,
        "eprop", "dni"
    carry : str                       "state": c_t = s_t, or "prediction": c_t = mu_t
    inference : str
        "spc", "epc", "newton" (second derivatives; Dense blocks), or "fixed": predictions and Jacobians stay those of the
        forward pass, at their equilibrium, from ``start`` "prediction"
    beta : float                      factor of the loss in the energy, positive; of the loss alone
    inference_steps : int             number N
    step_size : float or "adaptive"   lambda of F_t; "adaptive" for epc. Newton and fixed do not use it
    tolerance : float, optional       stop when the residual of every lane is below it, and warn of lanes that miss it
    precision : list, optional
        Pi of the state, then one for each block above the last cell: None (one), a number, a diagonal (n,), or SPD (n, n).
        The last one weighs the squared error. The state of an LRU counts as 2n real numbers Re, Im, Re, Im, ..., and its
        output as a block
    start : str                       of inference: "prediction" (mu_t), or "previous" (the carried state)

    Returns
    -------
    Gradient
        ``grads``; ``loss (B,)`` of the predictions, summed over the steps that count; ``energy (B,)`` sum F_t/beta and
        ``residual (B,)``, the largest over time of the norm of its derivative, at the end of inference; ``states (T, B, N)``
        inferred (with "fixed", energy is the loss: nothing moves in F); ``final``, the carried state of every cell;
        ``equals``, a sentence that says **which gradient** this is (table of the module). Of "dni" ``carry``, too: ``carry.influence.A`` is to go on with.

    Raises
    ------
    ValueError, TypeError             bad shapes, dtypes, values, words, by symbol, before any work
    FloatingPointError                a loss or a state is not finite; says at which step of which sequence, and in which block

    Warns
    -----
    InferenceWarning                  inference of some steps diverged or missed the tolerance; says which sequences

    Notes
    -----
    Cost: N forward and backward passes of what stands above the state, with "prediction" of all steps at once; and that of
    the influence, as in :mod:`minipc.influence`: "plain" goes in blocks of steps where it can (HYB.2), so a sequence costs
    BPTT and the inference. "implicit": n^2 P a step for the solve.
    Derivation: reference/equations.md.  Source: Potter & Rhodes (2026), arXiv 2602.18131.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.RecurrentNetwork([pc.RNN(1, 1, "identity")])
    >>> p = [{"W": np.array([[2.0]]), "U": np.array([[1.0]]), "b": np.zeros(1)}]
    >>> g = gradient(net, p, np.ones((2, 1, 1)), np.zeros((2, 1, 1)), influence="plain", carry="prediction", inference="fixed")
    >>> g.grads[0]["W"]
    array([[3.]])
    """
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset)
    options = {"inference": inference, "beta": beta, "inference_steps": inference_steps}
    options |= {"step_size": step_size, "tolerance": tolerance, "start": start}
    check_word("carry", carry, CARRIES)
    step = Timestep(net, params, precision, **options)
    M = _start(influence, carry, net, params, p, step)
    length = 1 if isinstance(M, Damped) else AT_ONCE if M is None or M.block == 1 else M.block
    found = _Sums(net)
    for path in walk(net, params, p, step, carry, length):
        if M is None:
            found.add(_one_step(net, params, p, path))
        elif M.block > 1:
            found.add(_in_block(net, params, path, M))
        else:
            found.add(_step_by_step(net, params, p, path, M, found))
        found.above(step, path)
    if M is not None:
        found.add(M.gradients(params, found.total) if found.total is not None else [])
        if isinstance(M, Damped):
            found.readout(M)
    start_energy, energy, residual, loss = (together(parts) for parts in found.scalars)
    warn(inference, start_energy, energy, residual, step_size, tolerance)
    return Gradient(
        found.result(params),
        loss.sum(axis=0),
        energy=energy.sum(axis=0),
        states=together(found.states),
        residual=residual.max(axis=0),
        final=[path.last[l] for l in net.cells],
        carry=State(path.last, M, p.start) if isinstance(M, SyntheticGradient) else None,
        equals=which(influence, carry, step),
    )


# ---------------------------------------------------------------------- credit through time


def _start(influence, carry, net, params, p, step):
    """The influence at the beginning, or None."""
    if influence is None:
        return None
    if influence in ("implicit", "diag"):
        cell = net.blocks[net.cells[-1]]
        if influence == "implicit" and not isinstance(cell, GatedCell):
            raise ValueError(
                f"influence implicit couples the units, and the traces of a diagonal cell do not close under it; block "
                f"{net.cells[-1] + 1} is {cell.formula}: take diag"
            )
        step.check_second_derivatives(f"influence {influence}")
        if carry == "state" and step.inference == "fixed":
            raise ValueError(
                f"influence {influence} follows inference that descends F_t, and inference fixed does not: take plain"
            )
        if carry == "state":
            return Damped(net, params, p.start, step, influence)
        influence = "plain"  # what is carried is mu_t, whose influence is M_t: nothing is damped
    if isinstance(influence, str) and influence != "plain" and named(influence) is None:
        check_word("influence", influence, ("plain", "implicit", "diag", *NAMES, *APPROXIMATIONS))
    return start_influence("hybrid" if influence == "plain" else influence, net, params, p.start)


def _one_step(net, params, p, path):
    """No history: -Mbar^T Pi eps/beta, and through space what stands below (tPC.7)."""
    q, grads = _spread(net, params, path, through_cells=True)
    T, B = path.mu.shape[:2]
    for l in net.cells:
        cell, tape = net.blocks[l], path.stretch.tapes[l]
        lanes = Tape(
            *(flat_time(a)[None] for a in tape[:3]), tuple(flat_time(a)[None] for a in tape.kept), None
        )
        swept = cell.sweep(params[l], lanes, None, flat_time(q[l]))  # (tPC.7)
        grads[l] = grads[l] | cell.gradients(params[l], lanes, swept)
        if cell.learn_h0:  # it enters where a step begins at the initial state
            xp, begins = array_module(path.mu), _begins(p, path.cut, T, B)
            arrived = swept.start.reshape(T, B, -1)
            arrived = xp.where(begins[:, :, None], arrived, xp.zeros_like(arrived)).sum(axis=(0, 1))
            grads[l] |= cell.initial_gradient(arrived)
    return grads


def _begins(p, cut, T, B):
    """Which steps of a stretch begin at the initial state, ``(T, B)``."""
    xp = array_module(p.inputs)
    begins = xp.zeros((T, B), bool) if p.reset is None else p.reset[cut].copy()
    if cut.start == 0:
        begins[0] = True
    return begins


def _in_block(net, params, path, M):
    """(HYB.1): credit through the block, and through M what was before it."""
    c, stretch = net.cells[-1], path.stretch
    cell, p = net.blocks[c], params[c]
    swept = cell.sweep(p, stretch.tapes[c], path.q, None)
    grads = [{} for _ in net.blocks]
    grads[c] = cell.gradients(p, stretch.tapes[c], swept)
    arrived, start = [None] * len(net.blocks), [None] * len(net.blocks)
    arrived[c], start[c] = swept.reset, swept.start
    if c:
        v = cell.pull_input(p, stretch.tapes[c], swept)
        v = v if path.direct is None else v + path.direct
        back = pull(SimpleNamespace(blocks=net.blocks[:c]), params[:c], stretch.tapes[:c], v, [None] * c)
        grads[:c], arrived[:c], start[:c] = back.grads, back.reset, back.start
    add_learned(net, grads, arrived)
    for l, found in enumerate(M.gradients(params, M.readout(start))):  # (HYB.1)
        grads[l] = plus(grads[l], found)
    M.advance(params, stretch)  # (HYB.2)
    return grads


def _step_by_step(net, params, p, path, M, found):
    """(TPR.2), (TPR.3); what the readout of the influence gives is added up in ``found.total``."""
    q, grads = _spread(net, params, path, through_cells=M.local)
    done = path.stretch.with_locals(net, params)
    reset = None if p.reset is None else p.reset[path.cut]
    anew = [False] * len(path.q) if reset is None else to_numpy(reset.any(axis=1)).tolist()
    if not any(anew) and fast_influence.applies(M, q):  # the same numbers, with less work
        found.total = fast_influence.advance(M, params, done, q, found.total)
        return grads
    seen = observed(p.targets[path.cut], None if p.mask is None else p.mask[path.cut])
    v = array_module(seen).stack([-look.now.xi[-1] for look in path.looks]).reshape(seen.shape)
    for t in range(len(path.q)):
        if anew[t]:
            M.reset(reset[t])  # (RTRL.6)
        if hasattr(M, "observe"):  # what learns from targets, or from the error at the output
            M.observe(seen[t], v[t])
        M.step(params, done, t)  # (TPR.2)
        found.total = M.readout([None if v is None else v[t] for v in q], found.total)  # (TPR.3)
        if isinstance(M, Damped):
            M.damp(path.looks[t].now)  # (TPR.5)
    return grads


def _spread(net, params, path, through_cells):
    """Credit at every cell's state, a list with one entry a block, and gradients of the blocks that it passes."""
    c, L, tapes = net.cells[-1], len(net.blocks), path.stretch.tapes
    q, grads, v = [None] * L, [{} for _ in net.blocks], path.direct
    q[c] = path.q
    if c and through_cells:
        down = one_step_down(net.blocks[c], params[c], tapes[c], path.q)  # (STACK.4)
        v = down if v is None else v + down
    if c and v is not None:
        below = SimpleNamespace(blocks=net.blocks[:c])
        q[:c], grads[:c] = credit(below, params[:c], tapes[:c], v, through_cells)
    return q, grads


class _Sums:
    """What a gradient adds up on its way through time."""

    def __init__(self, net):
        self.net, self.grads, self.total = net, [{} for _ in net.blocks], None
        self.scalars, self.states = ([], [], [], []), []

    def add(self, grads):
        """Gradients of some blocks, in which parameters may be missing."""
        for l, found in enumerate(grads):
            self.grads[l] = plus(self.grads[l], found)

    def above(self, step, path):
        """Parameters above the state (TPR.3), energies and states."""
        c, shape = self.net.cells[-1], path.mu.shape[:2]
        for look in path.looks:
            found = step.gradients(look.now)
            if step.complex:
                self.grads[c] = plus(self.grads[c], found[0])
                found = found[1:]
            for l, g in enumerate(found[: len(self.net.blocks) - c - 1], start=c + 1):
                self.grads[l] = plus(self.grads[l], g)
        xp = array_module(path.mu)
        for values, name in zip(self.scalars, ("start", "energy", "residual", "loss"), strict=True):
            values.append(xp.stack([getattr(look, name) for look in path.looks]).reshape(shape))
        self.states.append(path.s)

    def readout(self, M):
        """(TPR.7), (TPR.8): what the parameters above the state owe to the carried states."""
        if M.R is not None:
            for l, g in M.readout_gradients():
                self.grads[l] = plus(self.grads[l], g)

    def result(self, params):
        """In the structure of ``params``."""
        return [{name: g[name] for name in p} for g, p in zip(self.grads, params, strict=True)]


class Damped(Influence):
    """Influence on the inferred state, Eqs. (TPR.5)-(TPR.7): "implicit" and "diag".

    ``damp`` turns M_t into S_t after the readout of a step. ``R (B, N, P)`` are the columns of the parameters above the state,
    which reach the past through the carried states (implicit only).
    """

    def __init__(self, net, params, h, step, kind):
        super().__init__(net, params, h)
        self.c, self.timestep, self.kind, self.R, self.R_total = net.cells[-1], step, kind, None, 0
        if kind == "implicit":
            width = sum(v.size for p in step.params for v in p.values())
            self.R = array_module(h[self.c]).zeros((*h[self.c].shape, width), h[self.c].dtype)

    @property
    def entries(self) -> int:
        """Numbers kept, all lanes together."""
        return super().entries + (0 if self.R is None else self.R.size)

    def reset(self, mask):
        """As :meth:`Influence.reset`."""
        super().reset(mask)
        if self.R is not None:
            xp = array_module(mask)
            self.R = xp.where(mask[:, None, None], xp.zeros_like(self.R), self.R)

    def step(self, params, stretch, t):
        """M_t = Mbar_t + J_t S_{t-1} (TPR.2)."""
        super().step(params, stretch, t)
        if self.R is not None:
            cell, local = self.net.blocks[self.c], stretch.locals[self.c]
            self.R = cell.times_jacobian(params[self.c], local, t, self.R)  # (TPR.2)

    def readout(self, q, total=None):
        """As :meth:`Influence.readout`; that of the parameters above the state is added up here."""
        if self.R is not None:
            self.R_total = self.R_total + array_module(self.R).einsum(
                "bn,bnp->p", q[self.c], self.R
            )  # (TPR.8)
        return super().readout(q, total)

    def damp(self, now):
        """S_t from M_t, at the end of a step's inference (TPR.5)-(TPR.7)."""
        own, below, step = self.own[self.c], self.below[self.c], self.timestep
        xp = array_module(now.yhat)
        H, mixed = step.second_derivatives(now, mixed=self.kind == "implicit")
        if self.kind == "diag":
            N = step.net.sizes[1]
            hidden, between, H = H[:, N:, N:], H[:, :N, N:], H[:, :N, :N]
            if hidden.shape[1]:  # hidden states of the readout follow the state
                H = H - between @ xp.linalg.solve(hidden, xp.swapaxes(between, 1, 2))
            diagonal = xp.diagonal(H, axis1=1, axis2=2)
            Pi = xp.diagonal(weigh_rows(step.Pi[1], xp.eye(N, dtype=H.dtype)[None])[0])
            if step.complex:  # a unit's Re and Im together, so that its trace stays one complex number
                Pi, diagonal = Pi.reshape(-1, 2).sum(axis=1), diagonal.reshape(len(H), -1, 2).sum(axis=2)
            factor = Pi / diagonal  # (TPR.5)
            if isinstance(own, dict):
                for trace in own.values():
                    trace *= factor.reshape(*trace.shape[:3], *[1] * (trace.ndim - 3))
            else:
                own *= factor[:, :, None]
            if below is not None:
                below *= factor[:, :, None]
            return
        N, columns = own.shape[1], [A for A in (below, own, self.R) if A is not None]
        M = xp.concatenate(columns, axis=2)
        right = xp.zeros((*H.shape[:2], M.shape[2]), H.dtype)
        right[:, :N] = xp.swapaxes(weigh_rows(step.Pi[1], xp.swapaxes(M, 1, 2)), 1, 2)  # Pi M
        right[:, :, M.shape[2] - self.R.shape[2] :] -= mixed  # (TPR.7)
        S, at = xp.linalg.solve(H, right)[:, :N], 0  # (TPR.6)
        for A in columns:
            A[...] = S[:, :, at : at + A.shape[2]]
            at += A.shape[2]

    def readout_gradients(self):
        """(block, gradients) of the parameters above the state, through the carried states."""
        at = 0
        for i, p in enumerate(self.timestep.params):
            found = {}
            for name, value in p.items():
                found[name] = self.R_total[at : at + value.size].reshape(value.shape)
                at += value.size
            if found:
                yield self.c + i, found


# ---------------------------------------------------------------------- what is what


def which(influence, carry, step):
    """Which gradient a combination is, in a sentence (table of the module)."""
    name = influence if isinstance(influence, str) else getattr(influence, "name", influence)
    end = "" if step.inference == "fixed" else ", at the equilibrium of inference"
    first = influence == "local" and step.alone
    exact = (
        first
        or influence in ("plain", "exact", "hybrid", "diagonal")
        or (carry == "prediction" and influence in ("implicit", "diag"))
    )
    envelopes = "the Moreau envelopes of beta L_t along the free trajectory"
    below = "for the cells and what stands below them"
    if step.complex:  # C and D learn at the moved state, and D passes credit of that state down
        below = "for the parameters of the last state"
    if carry == "prediction" and (exact or influence is None):
        of = "the gradient of BPTT" if exact else "tBPTT(1), immediate terms only (BPTT.4)"
        if step.inference == "fixed":
            return f"{of}, exactly (TPR.10)"
        plain = step.inference == "spc" and step.start == "prediction" and step.unit_precision
        if plain and step.steps == step.layers == 1:
            return f"{step.step_size / step.beta:g} times {of}, {below}, exactly (TPR.11)"
        if plain and step.steps == step.layers and step.step_size == step.beta:
            return f"{of}, {below}, exactly (TPR.12)"
    if influence is None:
        of = "(1/beta) sum F_t*" if carry == "state" else f"(1/beta) the sum of {envelopes}"
        return f"the gradient of {of} with a stop at the carried state{end} (tPC.7): no history"
    if exact and carry == "prediction":
        return f"the gradient of (1/beta) the sum of {envelopes}{end} (TPR.9); BPTT + O(beta)"
    if influence == "implicit":
        return f"the gradient of (1/beta) sum F_t* along the inferred trajectory{end} (TPR.8); BPTT + O(beta)"
    if exact:
        return "of nothing exactly: BPTT + O(beta); tpc.certificate bounds the distance to the gradient of (1/beta) sum F_t* (TPR.13)"
    if influence == "diag":
        return "of nothing exactly: the damping without what couples the units (TPR.5); BPTT + O(beta)"
    if name in UNBIASED:
        return f"a noisy estimate ({name}): on average over its signs what plain is, with one cell; at every draw another"
    place = name if name in ("eprop", "dni") else "approximations"
    return f"a biased estimate of what plain is, with the influence {name} (minipc.{place})"


class Certificate(NamedTuple):
    """Bounds of :func:`certificate`, (TPR.13).

    Attributes
    ----------
    delta : (T, B)          on the Frobenius norm of S^plain - S^impl after every step
    gradient : (T, B)       on the norm of the difference of the two gradients of every step, all parameters together
    total : (B,)            on that of their sum over time: the sum of ``gradient``
    """

    delta: Array
    gradient: Array
    total: Array


def certificate(
    net,
    params,
    inputs,
    targets,
    mask=None,
    h0=None,
    reset=None,
    *,
    inference="spc",
    beta=1.0,
    inference_steps=20,
    step_size=0.1,
    tolerance=None,
    precision=None,
    start="prediction",
) -> Certificate:
    r"""How far the paper's gradient ("plain", carry "state") is at most from that of (1/beta) sum F_t* ("implicit"), (TPR.13).

    Arguments as in :func:`gradient`. Both follow one trajectory, so the difference of their influences obeys a recursion of
    its own, and its norm one that needs no second influence: :math:`\delta_t = |D_t J_t| \delta_{t-1} + |(I - D_t) M_t|`, spectral
    and Frobenius norms; a step's gradients differ by at most :math:`|J_t^\top \Pi\varepsilon_t/\beta|\, \delta_{t-1}`. The columns
    of the parameters above the state, of which "plain" has none, count too (TPR.7).

    Returns
    -------
    Certificate

    Notes
    -----
    Cost: that of step-by-step RTRL, and n^2 P a step. The bound holds for the inferred trajectory as it is; that "implicit" is
    the gradient of sum F_t* needs the equilibrium.
    """
    p = prepare_sequences(net, params, inputs, targets, mask, h0, reset)
    options = {"inference": inference, "beta": beta, "inference_steps": inference_steps}
    options |= {"step_size": step_size, "tolerance": tolerance, "start": start}
    step = Timestep(net, params, precision, **options)
    M = _start("implicit", "state", net, params, p, step)  # refuses what has no certificate
    M, c = start_influence("exact", net, params, p.start), net.cells[-1]
    xp, (cell, q) = array_module(p.inputs), (net.blocks[c], params[c])
    delta, deltas, bounds = xp.zeros(p.inputs.shape[1], p.start[c].dtype), [], []
    for path in walk(net, params, p, step, "state", 1):
        done = path.stretch.with_locals(net, params)
        if p.reset is not None:
            again = p.reset[path.cut][0]
            M.reset(again)
            delta = xp.where(again, xp.zeros_like(delta), delta)
        M.step(params, done, 0)
        J = cell.state_jacobian(q, path.stretch.tapes[c])
        back = (path.q[0][:, None] @ J)[:, 0]
        bounds.append(xp.sqrt(inner(back, back)) * delta)  # (TPR.13)
        H, mixed = step.second_derivatives(path.looks[0].now)
        N, columns = J.shape[1], [A for A in (M.below[c], M.own[c]) if A is not None]
        right = xp.zeros((*H.shape[:2], N), H.dtype)
        right[:, :N] = weigh_rows(step.Pi[1], xp.eye(N, dtype=H.dtype)[None])
        solved = xp.linalg.solve(H, xp.concatenate([right, mixed], axis=2))[:, :N]
        D, readout = solved[:, :, :N], solved[:, :, N:]  # (TPR.6), (TPR.7)
        left = xp.concatenate([A - D @ A for A in columns] + [readout], axis=2)
        grown = xp.linalg.svd(D @ J, compute_uv=False)[:, 0] * delta
        delta = grown + xp.sqrt((left * left).sum(axis=(1, 2)))  # (TPR.13)
        deltas.append(delta)
    gradient = xp.stack(bounds)
    return Certificate(xp.stack(deltas), gradient, gradient.sum(axis=0))
