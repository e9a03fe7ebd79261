r"""Diagonal recurrent cells: LRU, RTU, eLSTM. Each unit follows its own past alone, so exact RTRL costs O(P).

=========  ==========================================================================================
(LRU.1)    :math:`\zeta = \exp(-e^{\nu} + i e^{\theta})`, :math:`\gamma = e^{\lg}`; always :math:`|\zeta| < 1`
(LRU.2)    :math:`h_t = \zeta \odot h_{t-1} + \gamma \odot (B u_t)`, output :math:`\mathrm{Re}(C h_t) + D u_t`
(LRU.3)    first values: :math:`|\zeta|^2` uniform in a ring, phases uniform, :math:`\gamma = \sqrt{1 - |\zeta|^2}`
(LRU.4)    :math:`\delta_t = \partial\mathcal L/\partial \mathrm{Re}\,h_t + i\,\partial\mathcal L/\partial \mathrm{Im}\,h_t = \bar C^\top \partial\mathcal L/\partial\hat y_t`
(LRU.5)    credit :math:`q_t = \bar\delta_t = C^\top \partial\mathcal L/\partial\hat y_t`; of a real p, :math:`\mathrm{Re} \sum_i q_i\, \partial h_i/\partial p`
(LRU.6)    traces :math:`e_\zeta \leftarrow \zeta e_\zeta + h_{t-1}`, :math:`e_\gamma \leftarrow \zeta e_\gamma + B u_t`,
           :math:`E_B \leftarrow \zeta E_B + 1\, u_t^\top` (times :math:`\gamma` when it is read)
(LRU.7)    :math:`g_\nu = \mathrm{Re}(q e_\zeta (-e^\nu \zeta))`, :math:`g_\theta = \mathrm{Re}(q e_\zeta\, i e^\theta \zeta)`, :math:`g_{\lg} = \gamma\, \mathrm{Re}(q e_\gamma)`
(LRU.8)    :math:`g_{B_{re}} = \mathrm{Re}(q E_B)`, :math:`g_{B_{im}} = -\mathrm{Im}(q E_B)`, :math:`g_{C_{re}} = dy\, \mathrm{Re}(h)^\top`,
           :math:`g_{C_{im}} = -dy\, \mathrm{Im}(h)^\top`, :math:`g_D = dy\, u^\top`
(LRU.9)    :math:`\gamma` tied to :math:`\zeta`: :math:`g_\nu` gains :math:`\mathrm{Re}(q e_\gamma)\, e^\nu |\zeta|^2/\gamma`
(ELSTM.1)  :math:`z = \tanh(W_z u + w_z c' + b_z)`, :math:`f = \sigma(W_f u + w_f c' + b_f)`, :math:`c = f c' + (1-f) z`
(ELSTM.2)  :math:`A_z = (1-f)(1-z^2)`, :math:`A_f = (c' - z) f (1-f)`, :math:`k = \partial c/\partial c' = f + A_z w_z + A_f w_f`
(ELSTM.3)  traces :math:`T \leftarrow k T + A_z u^\top`, with :math:`c'` and 1 in the place of u; the same with :math:`A_f`
(RTU.1)    :math:`r = \exp(-e^\nu)`, :math:`\omega = e^\theta`, :math:`g = r\cos\omega`, :math:`p = r\sin\omega`, :math:`\gamma = \sqrt{1-r^2}`
(RTU.2)    :math:`h_1 = \phi(g h_1' - p h_2' + \gamma W_1 u)`, :math:`h_2 = \phi(g h_2' + p h_1' + \gamma W_2 u)`
(RTU.3)    :math:`dg/d\nu = -e^\nu g`, :math:`dp/d\nu = -e^\nu p`, :math:`d\gamma/d\nu = e^\nu r^2/\gamma`; :math:`dg/d\theta = -p\omega`, :math:`dp/d\theta = g\omega`
(RTU.4)    traces in pairs, with the 2 x 2 Jacobian of each unit
(HYB.4)    K steps of a trace in one product, with the powers of :math:`\zeta` as a matrix
=========  ==========================================================================================

Complex numbers stand in one place, the state of the LRU, and under one convention: credit is q of (LRU.5), which is
what travels back by plain, unconjugated products. The delta of (LRU.4), PyTorch's ``.grad``, is its conjugate. What
leaves the cell (outputs, gradients of parameters) is real.

A *trace* holds dh_i/dp for the parameters of unit i alone, ``(B, parts, n)`` for a vector, ``(B, parts, n, m)`` for a
matrix on the inputs; all other entries of the influence are zero and are never touched.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np  # host only: parameters are drawn here

from .arguments import check_count, check_number_between, check_word
from .backend import Array, array_module
from .cells import Cell, Swept, Tape, through_reset
from .functions import ACTIVATIONS, sigmoid


class Local(NamedTuple):
    """The derivatives of T steps of a diagonal cell at fixed previous states.

    ``A (T, B, parts, parts, n)``, or what broadcasts to it, is the Jacobian of each unit; ``immediate`` a dict of
    ``(E, on_input)``, E ``(T, B, parts, n)`` or what broadcasts to it: a vector's immediate term, or with ``on_input``
    a matrix's, E u^T.
    """

    A: Array
    immediate: dict


def times_input(E, u, per_sample):
    """sum over time (and batch) of E u^T; ``E (T, B, [rows,] n), u (T, B, m) -> ([B, [rows,]] n, m)``.

    A complex E goes with a real u as pairs of real numbers: half of the work of a complex product.
    """
    if E.dtype.kind == "c" and u.dtype.kind == "f":
        both = times_input(pairs(E), u, per_sample)  # (..., 2n, m)
        both = both.reshape(*both.shape[:-2], -1, 2, both.shape[-1])
        return both[..., 0, :] + 1j * both[..., 1, :]
    if not per_sample:
        return E.reshape(-1, E.shape[-1]).T @ u.reshape(-1, u.shape[-1])
    T, B = u.shape[:2]
    found = E.reshape(T, B, -1).transpose(1, 2, 0) @ u.transpose(1, 0, 2)  # (B, [rows] n, m)
    return found.reshape(*E.shape[1:], u.shape[-1])


def interleaved(re, im, axis):
    """Two real matrices as one, rows (axis 0) or columns (axis 1) in turn: its products are pairs, complex numbers to be."""
    both = array_module(re).stack([re, im], axis=axis + 1)
    return both.reshape(-1, re.shape[1]) if axis == 0 else both.reshape(len(re), -1)


def pairs(z):
    """Complex ``(..., n)`` as real ``(..., 2n)``, the same memory: re, im, re, im, ..."""
    return z.view(z.real.dtype)


def complexes(x):
    """Real ``(..., 2n)`` as complex ``(..., n)``, the same memory."""
    return x.view(array_module(x).result_type(x.dtype, "F"))


def _at(values, t):
    """Step t of an array that may be the same at all steps."""
    return values[t] if len(values) > 1 else values[0]


class DiagonalCell(Cell):
    """What LRU, RTU and eLSTM share: ``scan`` and ``local`` are the cell, the rest follows from them."""

    def sweep(self, p, tape, v_out, v_end, rows=False):
        """Run back through the steps of a tape, Eq. (BPTT.1); as :meth:`minipc.cells.GatedCell.sweep`."""
        xp, local = array_module(tape.u), self.local(p, tape)
        T, B = tape.u.shape[:2]
        A = xp.broadcast_to(local.A, (T, B, *local.A.shape[2:]))
        like = v_out[0] if v_end is None else v_end
        v = xp.zeros_like(like) if v_end is None else v_end
        total, credits = xp.zeros_like(v), xp.empty((T, *v.shape), xp.result_type(v, tape.after, A))
        for t in range(T - 1, -1, -1):
            if v_out is not None:
                v = v + v_out[t]
            credits[t] = v
            A_t = A[t][:, None] if rows else A[t]  # (B, [1,] parts, parts, n)
            v = self._transposed(A_t, v)
            if tape.reset is not None:
                v, total = through_reset(tape.reset[t], v, total)
        return Swept((local, credits), v, total)

    def _transposed(self, A, v):
        """A^T v of every unit; ``(B, [1,] parts, parts, n), (B, [rows,] N)``."""
        if self.parts == 1:
            return A[..., 0, 0, :] * v
        parts = v.reshape(*v.shape[:-1], self.parts, self.n)
        return (A * parts[..., :, None, :]).sum(axis=-3).reshape(v.shape)

    def contracted(self, tape, swept, per_sample):
        """sum over time (and batch) of credit times immediate term, for every trace: ``([B, rows,] n[, m])``."""
        local, credits = swept.credit
        v = credits.reshape(*credits.shape[:-1], self.parts, self.n)
        found = {}
        for name, (E, on_input) in local.immediate.items():
            if per_sample:
                E = E[:, :, None]
            vE = (v * E).sum(axis=-2) if self.parts > 1 else v[..., 0, :] * E[..., 0, :]
            if on_input:
                found[name] = times_input(vE, tape.u, per_sample)
            else:
                found[name] = vE.sum(axis=0) if per_sample else vE.reshape(-1, self.n).sum(axis=0)
        return found

    def gradients(self, p, tape, swept):
        """Parameter gradients, sums over batch and time: credit times immediate terms, (RTRL.4)."""
        return self.to_parameters(p, self.contracted(tape, swept, per_sample=False))

    def rows(self, p, tape, swept):
        """Parameter gradients of every sample and row, sums over time: dict of ``(B, rows, *shape)``."""
        return self.to_parameters(p, self.contracted(tape, swept, per_sample=True))

    def terms(self, p):
        """Every parameter's derivative in those of the traces: name -> list of (trace, factor (n,), None for one)."""
        return {name: [(name, None)] for name in self.traced}

    def _combined(self, terms, values):
        """The sum of some traces, or of what they gave, with their factors."""
        total = 0
        for name, factor in terms:
            if factor is not None:
                factor = factor[:, None] if name in self.on_input else factor
            total = total + (values[name] if factor is None else values[name] * factor)
        return total

    def to_parameters(self, p, c):
        """From what the traces give, ``(..., n[, m])``, to the gradients of the parameters."""
        found = {name: self._combined(terms, c) for name, terms in self.terms(p).items()}
        if self.complex_state:
            found = {name: value.real for name, value in found.items()}  # (LRU.5)
        if self.learn_h0 and "h0.0" in c:
            parts = [c[f"h0.{s}"] for s in range(self.parts)]
            found |= self.initial_gradient(array_module(parts[0]).concatenate(parts, axis=-1))
        return found

    def tangents(self, p, traces):
        """dh/dp of the parameters of unit i, which moves unit i alone: list of ``(B, parts, n[, m])``, in the order of
        :attr:`state_columns`."""
        found = [self._combined(terms, traces) for terms in self.terms(p).values()]
        return found + self._initial_tangents(traces)

    def _initial_tangents(self, traces):
        return [traces[f"h0.{s}"] for s in range(self.parts if self.learn_h0 else 0)]

    # ------------------------------------------------------------------ traces
    def start_traces(self, B, like):
        """Traces at the initial state: zero, and one for the initial state itself if it is learned."""
        xp, traces = array_module(like), {}
        for name, (shape, dtype) in self._trace_shapes(B, like.dtype).items():
            traces[name] = xp.zeros(shape, dtype)
        for s in range(self.parts if self.learn_h0 else 0):
            traces[f"h0.{s}"][:, s] = 1  # (RTRL.1), M_0
        return traces

    def _trace_shapes(self, B, dtype):
        """Shape and dtype of every trace; ``dtype`` is that of the state."""
        vector = ((B, self.parts, self.n), dtype)
        matrix = ((B, self.parts, self.n, self.n_in), dtype)
        shapes = {name: matrix if name in self.on_input else vector for name in self.traced}
        return shapes | {f"h0.{s}": vector for s in range(self.parts if self.learn_h0 else 0)}

    def advance_traces(self, traces, p, tape):
        """The traces after the steps of a tape, Eqs. (LRU.6), (ELSTM.3), (RTU.4), in new arrays."""
        xp, (B, S, n) = array_module(tape.u), (tape.u.shape[1], self.parts, self.n)
        seeds = xp.zeros((B, S, S, n), tape.after.dtype)
        for s in range(S):
            seeds[:, s, s] = 1  # row s reads part s of every unit at once: the units do not meet
        swept = self.sweep(p, tape, None, seeds.reshape(B, S, S * n), rows=True)
        through = swept.start.reshape(B, S, S, n)  # row s, part s' at the beginning
        new = self.contracted(tape, swept, per_sample=True)
        arrived = swept.reset.reshape(B, S, S, n)
        new |= {f"h0.{s}": arrived[:, :, s] for s in range(S if self.learn_h0 else 0)}
        return {name: self._carried(through, traces[name]) + new[name] for name in traces}

    @staticmethod
    def _carried(through, trace):
        """``(B, S, S', n)`` times a trace ``(B, S', n[, m])``."""
        if trace.ndim == 4:
            through = through[..., None]
        return sum(through[:, :, s] * trace[:, None, s] for s in range(trace.shape[1]))

    def step_traces(self, traces, local, u, t):
        """The traces after step t, Eqs. (LRU.6), (ELSTM.3), (RTU.4), in place; ``u (B, m)`` its input."""
        A, new = _at(local.A, t), {}
        for name, trace in traces.items():
            A_c = A[..., None] if trace.ndim == 4 else A
            if self.parts == 1:
                trace *= A_c[:, 0]
                new[name] = trace
            else:
                new[name] = (A_c * trace[:, None]).sum(axis=2)
            if name in local.immediate:
                E, on_input = local.immediate[name]
                E = _at(E, t)
                new[name] += E[..., None] * u[:, None, None] if on_input else E
        return new

    def read_traces(self, traces, q):
        """sum over the batch of credit times trace, for every trace; ``q (B, N)``."""
        q, c = q.reshape(-1, self.n), {}  # batch and parts in one axis
        for name, trace in traces.items():
            trace = trace.reshape(-1, *trace.shape[2:])
            if trace.ndim == 2:
                c[name] = (q * trace).sum(axis=0)
            else:  # a product of matrices for every unit: ten times faster than einsum
                c[name] = (q.T[:, None] @ trace.transpose(1, 0, 2))[:, 0]
        return c

    # ------------------------------------------------------------------ stacks, see minipc.influence
    @property
    def state_columns(self) -> dict:
        """Columns of the influence that the cell has on the one above it: its parameters', but for the output's."""
        return {name: shape for name, shape in self.shapes.items() if name not in self.output_shapes}

    def from_columns(self, found):
        """Columns have the names of the parameters."""
        return found

    def times_jacobian(self, p, local, t, X):
        """J X of step t, ``(B, N, P)``: elementwise."""
        A = _at(local.A, t)
        if self.parts == 1:
            return A[:, 0, 0, :, None] * X
        parts = X.reshape(len(X), 1, self.parts, self.n, -1)
        return (A[..., None] * parts).sum(axis=2).reshape(X.shape)

    def push_output(self, p, X, V):
        """Columns at the state to columns at the output, ``(B, N, P) -> (B, n_out, P)``."""
        return X

    def push_own(self, p, traces):
        """The own parameters' columns at the output, ``(B, n_out, P)``: every trace into its unit's column."""
        xp = array_module(p[self.state_names[0]])
        return self.push_rows(xp.eye(self.state_size, dtype=p[self.state_names[0]].dtype)[None], traces, p)

    @property
    def state_names(self) -> tuple:
        """Names of the parameters that the state follows."""
        return tuple(self.state_columns)

    def push_rows(self, v, traces, p):
        """Rows of credit at the state times the own influence, ``(B, rows, N) -> (B, rows, P)``, Eqs. (STACK.5), (STACK.6)."""
        xp, found = array_module(v), []
        v = v.reshape(*v.shape[:2], self.parts, self.n)
        for tangent in self.tangents(p, traces):
            if tangent.ndim == 3:
                columns = (v * tangent[:, None]).sum(axis=2)
            else:
                columns = (v[..., None] * tangent[:, None]).sum(axis=2)
            found.append(columns.reshape(*columns.shape[:2], -1))
        columns = xp.concatenate(found, axis=-1)
        return columns.real if self.complex_state else columns

    def rows_to_columns(self, p, tape, swept):
        """What the steps of a tape add to the influence on the rows of a sweep, ``(B, rows, P)``."""
        found = self.rows(p, tape, swept)
        if self.learn_h0:
            found |= self.initial_gradient(swept.reset)
        arrays = [found[name] for name in self.state_columns]
        return array_module(arrays[0]).concatenate([a.reshape(*a.shape[:2], -1) for a in arrays], axis=-1)


@dataclass(frozen=True)
class ELSTM(DiagonalCell):
    """eLSTM, or quasi-LSTM: gates that see the cell's own past only, Eqs. (ELSTM.1)-(ELSTM.3).

    Parameters
    ----------
    n_in, n : int            m and n, widths of the input and of the state, positive
    learn_h0 : bool          the initial state is a parameter ``h0 (n,)`` that starts at zero; else it is zero or given

    Notes
    -----
    Parameters: ``Wz, Wf (n, m)``, ``wz, wf, bz, bf (n,)``. Exact RTRL: O(n m) a step.
    Source: Irie, Gopalakrishnan & Schmidhuber (2023), arXiv 2305.19044.
    """

    n_in: int
    n: int
    learn_h0: bool = False

    traced, on_input = ("Wz", "wz", "bz", "Wf", "wf", "bf"), ("Wz", "Wf")

    def __post_init__(self):
        self._check_widths()

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "eLSTM"

    @property
    def shapes(self) -> dict:
        """Shape of every parameter."""
        n, m = self.n, self.n_in
        gate = lambda g: {f"W{g}": (n, m), f"w{g}": (n,), f"b{g}": (n,)}  # noqa: E731
        return {**gate("z"), **gate("f"), **self._initial_shapes}

    def init_params(self, rng, dtype) -> dict:
        """Draw Wz and Wf from N(0, 1/m), wz and wf from N(0, 1); b and h0 are zero; host arrays of ``dtype``."""
        p = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        for g in "zf":
            p[f"W{g}"] = rng.standard_normal((self.n, self.n_in)) / math.sqrt(self.n_in)
            p[f"w{g}"] = rng.standard_normal(self.n)
        return {name: value.astype(dtype) for name, value in p.items()}

    def scan(self, p, h, u, reset=None, start=None, follow=None):
        """Run T steps from ``h (B, n)`` on ``u (T, B, m)``: states ``(T, B, n)`` and a tape."""
        xp = array_module(u)
        a_z, a_f = u @ p["Wz"].T + p["bz"], u @ p["Wf"].T + p["bf"]
        before, after, kept, c = [], [], [], h
        for t in range(len(u)):
            if reset is not None:
                c = xp.where(reset[t][:, None], start, c)
            before.append(c)
            z, f = xp.tanh(a_z[t] + p["wz"] * c), sigmoid(a_f[t] + p["wf"] * c)
            c = f * c + (1 - f) * z  # (ELSTM.1)
            after.append(c)
            kept.append((z, f))
            c = c if follow is None else follow(t, c)
        z, f = (xp.stack(values) for values in zip(*kept, strict=True))
        after = xp.stack(after)
        return after, Tape(u, xp.stack(before), after, (z, f), reset)

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eqs. (ELSTM.2), (ELSTM.3)."""
        (z, f), c = tape.kept, tape.before
        A_z, A_f = (1 - f) * (1 - z * z), (c - z) * f * (1 - f)
        k = f + A_z * p["wz"] + A_f * p["wf"]  # (ELSTM.2)
        immediate = {}
        for g, A in (("z", A_z), ("f", A_f)):
            A = A[:, :, None]
            immediate |= {f"W{g}": (A, True), f"w{g}": (A * c[:, :, None], False), f"b{g}": (A, False)}
        return Local(k[:, :, None, None], immediate)  # (ELSTM.3)

    def pull_input(self, p, tape, swept):
        """Credit at the input of every step, ``(T, B, [rows,] m)``."""
        local, v = swept.credit
        A_z, A_f = (local.immediate[f"W{g}"][0][:, :, 0] for g in "zf")
        if v.ndim == 4:
            A_z, A_f = A_z[:, :, None], A_f[:, :, None]
        return (v * A_z) @ p["Wz"] + (v * A_f) @ p["Wf"]

    def input_jacobian(self, p, local, t):
        """G = dh_t/du_t of step t, ``(B, n, m)``."""
        A_z, A_f = (local.immediate[f"W{g}"][0][t, :, 0, :, None] for g in "zf")
        return A_z * p["Wz"] + A_f * p["Wf"]


@dataclass(frozen=True)
class LRU(DiagonalCell):
    """Linear recurrent unit, Eqs. (LRU.1)-(LRU.9): complex diagonal recurrence, real input and output.

    Parameters
    ----------
    n_in, n : int            m and n, widths of the input and of the complex state, positive
    n_out : int              o, width of the output; None: n
    gamma : str              "free" (its logarithm ``lg`` is a parameter) or "tied" to zeta (LRU.9)
    r_min, r_max : float     ring of the first |zeta|, in [0, 1), r_min < r_max
    max_phase : float        largest first phase, in (0, 2 pi]
    learn_h0 : bool          the initial state is ``h0_re + i h0_im``, parameters that start at zero

    Raises
    ------
    ValueError, TypeError    for a width that is no positive integer, an unknown gamma, a ring that is none

    Notes
    -----
    Parameters: ``nu, th, lg (n,)``, ``B_re, B_im (n, m)``, ``C_re, C_im (n_out, n)``, ``D (n_out, m)``. The state is
    complex64 where the parameters are float32. Exact RTRL: O(n m) a step. Complex parameters are refused: the cell's own
    numbers are complex, so the complex step cannot pass; tests take it in real pairs.
    Source: Orvieto et al. (2023), arXiv 2303.06349; traces: Zucchet et al. (2023), arXiv 2305.15947.
    """

    n_in: int
    n: int
    n_out: int = None
    gamma: str = "free"
    r_min: float = 0.0
    r_max: float = 0.99
    max_phase: float = 2 * math.pi
    learn_h0: bool = False

    traced, on_input, complex_state = ("zeta", "gam", "B"), ("B",), True

    def __post_init__(self):
        self._check_widths()
        if self.n_out is None:
            object.__setattr__(self, "n_out", self.n)
        check_count("n_out of an LRU cell", self.n_out, least=1)
        check_word("gamma of an LRU cell", self.gamma, ("free", "tied"))
        for name, high in (("r_min", 1.0), ("r_max", 1.0), ("max_phase", 2 * math.pi)):
            check_number_between(f"{name} of an LRU cell", getattr(self, name), 0.0, high)
        if not self.r_min < self.r_max < 1:
            raise ValueError(f"r_min < r_max < 1 must hold in an LRU cell, got {self.r_min} and {self.r_max}")
        if self.max_phase == 0:
            raise ValueError("max_phase of an LRU cell must be positive, got 0")

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "Re(C h) + D u"

    @property
    def shapes(self) -> dict:
        """Shape of every parameter."""
        n, m, o = self.n, self.n_in, self.n_out
        shapes = {"nu": (n,), "th": (n,), "lg": (n,), "B_re": (n, m), "B_im": (n, m)}
        shapes |= {"C_re": (o, n), "C_im": (o, n), "D": (o, m)}
        if self.gamma == "tied":
            del shapes["lg"]
        return shapes | ({"h0_re": (n,), "h0_im": (n,)} if self.learn_h0 else {})

    def init_params(self, rng, dtype) -> dict:
        """Draw from the ring, Eq. (LRU.3); D from N(0, 1/m); host arrays of ``dtype``."""
        n, m, o = self.n, self.n_in, self.n_out
        square = rng.uniform(size=n) * (self.r_max**2 - self.r_min**2) + self.r_min**2
        square = np.clip(square, 1e-12, None)  # the logarithm of zero
        p = {"nu": np.log(-0.5 * np.log(square)), "th": np.log(self.max_phase * (1 - rng.uniform(size=n)))}
        p["lg"] = 0.5 * np.log(1 - square)
        p |= {name: rng.standard_normal((n, m)) / math.sqrt(2 * m) for name in ("B_re", "B_im")}
        p |= {name: rng.standard_normal((o, n)) / math.sqrt(n) for name in ("C_re", "C_im")}  # (LRU.3)
        p["D"] = rng.standard_normal((o, m)) / math.sqrt(m)
        p |= {"h0_re": np.zeros(n), "h0_im": np.zeros(n)}
        return {name: p[name].astype(dtype) for name in self.shapes}

    def eigenvalues(self, p):
        """zeta (n,) complex and gam (n,), Eq. (LRU.1)."""
        xp = array_module(p["nu"])
        zeta = xp.exp(-xp.exp(p["nu"]) + 1j * xp.exp(p["th"]))  # (LRU.1)
        tied = self.gamma == "tied"
        gam = xp.sqrt(1 - (zeta * zeta.conj()).real) if tied else xp.exp(p["lg"])  # (LRU.1), (LRU.9)
        return zeta, gam

    def initial_state(self, p, B, like):
        """``(B, n)`` complex: zero, or the learned one."""
        xp = array_module(like)
        dtype = xp.result_type(like.dtype, xp.complex64)
        if not self.learn_h0:
            return xp.zeros((B, self.n), dtype)
        return xp.repeat((p["h0_re"] + 1j * p["h0_im"]).astype(dtype)[None], B, axis=0)

    def initial_gradient(self, v):
        """Gradients of the learned initial state from the credit q that arrives there."""
        return {"h0_re": v.real, "h0_im": -v.imag}  # (LRU.5)

    def scan(self, p, h, u, reset=None, start=None, follow=None):
        """Run T steps from ``h (B, n)`` complex on ``u (T, B, m)``: states ``(T, B, n)`` and a tape."""
        xp, (zeta, gam) = array_module(u), self.eigenvalues(p)
        Bu = complexes(u @ interleaved(p["B_re"], p["B_im"], axis=0).T)  # (T, B, n)
        states = xp.empty(
            (len(u) + 1, *h.shape), Bu.dtype
        )  # each from the one before: no second copy of them
        states[0] = h
        xp.multiply(gam, Bu, out=states[1:])
        before, carried = states[:-1], xp.empty_like(states[0])
        if reset is not None or follow is not None:  # where they are not the same
            before = states[:-1].copy()
        for t in range(len(u)):
            if follow is not None and t:
                before[t] = follow(t - 1, states[t])
            if reset is not None:
                before[t] = xp.where(reset[t][:, None], start, before[t] if follow is not None else states[t])
            xp.multiply(zeta, before[t], out=carried)
            states[t + 1] += carried  # (LRU.2)
        if follow is not None:
            follow(len(u) - 1, states[len(u)])
        after = states[1:]
        return after, Tape(u, before, after, (Bu,), reset)

    def output(self, p, after, u):
        """Re(C h) + D u, Eq. (LRU.2); ``(T, B, n_out)``."""
        return pairs(after) @ interleaved(p["C_re"], -p["C_im"], axis=1).T + u @ p["D"].T  # (LRU.2)

    @property
    def output_shapes(self) -> dict:
        """Shapes of C and D, which stand between state and output."""
        return {name: self.shapes[name] for name in ("C_re", "C_im", "D")}

    def output_pull(self, p, v):
        """Credit q at the state (LRU.5), and at the input through D; ``v (T, B, [rows,] n_out)``."""
        return complexes(v @ interleaved(p["C_re"], p["C_im"], axis=1)), v @ p["D"]  # (LRU.5)

    def output_gradients(self, p, tape, v):
        """Gradients of C and D, sums over batch and time, Eq. (LRU.8)."""
        flat = v.reshape(-1, v.shape[-1])
        both = flat.T @ pairs(tape.after).reshape(len(flat), -1)  # (n_out, 2n)
        grads = {"C_re": both[:, ::2].copy(), "C_im": -both[:, 1::2]}  # (LRU.8)
        return {**grads, "D": flat.T @ tape.u.reshape(len(flat), -1)}  # (LRU.8)

    def output_rows(self, p, tape, v):
        """The same per sample and row, ``v (T, B, rows, n_out)``."""
        return {
            "C_re": times_input(v, tape.after.real, per_sample=True),
            "C_im": -times_input(v, tape.after.imag, per_sample=True),
            "D": times_input(v, tape.u, per_sample=True),
        }

    def output_immediate(self, p, tape, t):
        """How the output of step t follows C and D, ``(B, n_out, P)``."""
        xp, B = array_module(tape.u), tape.u.shape[1]
        rows = xp.tile(xp.eye(self.n_out, dtype=tape.u.dtype), (1, B, 1, 1))
        tape = tape._replace(u=tape.u[t : t + 1], after=tape.after[t : t + 1])
        found = self.output_rows(p, tape, rows)
        return xp.concatenate(
            [found[name].reshape(B, self.n_out, -1) for name in self.output_shapes], axis=-1
        )

    def push_output(self, p, X, V):
        """Columns at the state, and at the input through D, to columns at the output: Re(C X) + D V."""
        return p["C_re"] @ X.real - p["C_im"] @ X.imag + p["D"] @ V

    def push_own(self, p, traces):
        """The own parameters' columns at the output, Re(C .), Eq. (STACK.6)."""
        return self.push_rows((p["C_re"] + 1j * p["C_im"])[None], traces, p)

    def sweep(self, p, tape, v_out, v_end, rows=False):
        """As :meth:`DiagonalCell.sweep`; without resets in buffers."""
        if tape.reset is not None or v_out is None:
            return super().sweep(p, tape, v_out, v_end, rows)
        xp, (zeta, _), credits = array_module(tape.u), self.eigenvalues(p), v_out.copy()
        carried = xp.empty_like(v_out[0])
        if v_end is not None:
            credits[-1] += v_end
        for t in range(len(v_out) - 2, -1, -1):
            xp.multiply(zeta, credits[t + 1], out=carried)
            credits[t] += carried  # (BPTT.1)
        return Swept((self.local(p, tape), credits), zeta * credits[0], xp.zeros_like(carried))

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eq. (LRU.6)."""
        zeta, _ = self.eigenvalues(p)
        (Bu,), one = tape.kept, array_module(zeta).ones_like(zeta)
        immediate = {"zeta": (tape.before[:, :, None], False), "gam": (Bu[:, :, None], False)}
        return Local(
            zeta[None, None, None, None], immediate | {"B": (one[None, None, None], True)}
        )  # (LRU.6)

    def terms(self, p):
        """The real parameters' derivatives in those of zeta, gam and B/gam, Eqs. (LRU.7)-(LRU.9)."""
        xp, (zeta, gam) = array_module(p["nu"]), self.eigenvalues(p)
        rate = xp.exp(p["nu"])
        terms = {"nu": [("zeta", -rate * zeta)], "th": [("zeta", 1j * xp.exp(p["th"]) * zeta)]}  # (LRU.7)
        if self.gamma == "tied":
            terms["nu"].append(("gam", rate * (zeta * zeta.conj()).real / gam))  # (LRU.9)
        else:
            terms["lg"] = [("gam", gam)]  # (LRU.7)
        return {**terms, "B_re": [("B", gam)], "B_im": [("B", 1j * gam)]}  # (LRU.8)

    def _initial_tangents(self, traces):
        return [traces["h0.0"], 1j * traces["h0.0"]] if self.learn_h0 else []

    def pull_input(self, p, tape, swept):
        """Credit at the input of every step through the state, ``(T, B, [rows,] m)``; that through D comes apart."""
        _, gam = self.eigenvalues(p)
        return pairs(gam * swept.credit[1]) @ interleaved(p["B_re"], -p["B_im"], axis=0)

    def input_jacobian(self, p, local, t):
        """G = dh_t/du_t, ``(1, n, m)`` complex, the same for every sample and step."""
        _, gam = self.eigenvalues(p)
        return (gam[:, None] * (p["B_re"] + 1j * p["B_im"]))[None]

    def step_traces(self, traces, local, u, t):
        """The traces after step t, Eq. (LRU.6), in place; ``u (B, m)`` its input."""
        zeta = local.A[0, 0, 0, 0]
        for name, trace in traces.items():
            trace *= zeta[:, None] if name == "B" else zeta
        for name in ("zeta", "gam"):
            traces[name] += local.immediate[name][0][t]
        traces["B"].real += u[:, None, None]  # (LRU.6): real, and the same for every unit
        return traces

    def contracted(self, tape, swept, per_sample):
        """As :meth:`DiagonalCell.contracted`; without the factors that are one."""
        if per_sample:
            return super().contracted(tape, swept, per_sample)
        credits, n = swept.credit[1], self.n
        zeta = (credits * tape.before).reshape(-1, n).sum(axis=0)
        gam = (credits * tape.kept[0]).reshape(-1, n).sum(axis=0)
        return {"zeta": zeta, "gam": gam, "B": times_input(credits, tape.u, per_sample)}

    def advance_traces(self, traces, p, tape):
        """The traces after the steps of a tape, Eq. (LRU.6); all steps in one product, Eq. (HYB.4)."""
        if tape.reset is not None:  # then every lane has powers of its own
            return super().advance_traces(traces, p, tape)
        xp, (zeta, _), T = array_module(tape.u), self.eigenvalues(p), len(tape.u)
        powers = xp.ones((T + 1, self.n), zeta.dtype)  # zeta^T, ..., zeta, 1
        for k in range(T - 1, -1, -1):
            xp.multiply(zeta, powers[k + 1], out=powers[k])
        through, powers = powers[0], powers[1:]
        both = pairs(powers).T @ tape.u.transpose(1, 0, 2)  # (B, 2n, m)
        new = {
            "zeta": (powers[:, None] * tape.before).sum(axis=0),
            "gam": (powers[:, None] * tape.kept[0]).sum(axis=0),
        }
        found = {name: through * traces[name] + value[:, None] for name, value in new.items()}
        E_B = through[:, None] * traces["B"]
        E_B.real += both[:, None, ::2]
        E_B.imag += both[:, None, 1::2]  # (HYB.4)
        found["B"] = E_B
        return found | {name: through * traces[name] for name in traces if name.startswith("h0")}


@dataclass(frozen=True)
class RTU(DiagonalCell):
    """Recurrent trace unit, Eqs. (RTU.1)-(RTU.4): the LRU in real pairs, with an optional nonlinearity.

    Parameters
    ----------
    n_in, n : int            m and the number of pairs, positive; state and output are ``[h1; h2]`` (B, 2n)
    activation : str         "identity" or "tanh", or any other of the package
    r_min, r_max, max_phase  ring of the first values, as in :class:`LRU`
    learn_h0 : bool          the initial state is a parameter ``h0 (2n,)`` that starts at zero; else it is zero or given

    Notes
    -----
    Parameters: ``nu, th (n,)``, ``W1, W2 (n, m)``. Exact RTRL: O(n m) a step.
    Source: Elelimy, White, Bowling & White (2024), arXiv 2409.01449.
    """

    n_in: int
    n: int
    activation: str = "identity"
    r_min: float = 0.0
    r_max: float = 0.99
    max_phase: float = 2 * math.pi
    learn_h0: bool = False

    parts, traced, on_input = 2, ("nu", "th", "W1", "W2"), ("W1", "W2")

    def __post_init__(self):
        self._check_widths()
        check_word("activation of an RTU cell", self.activation, ACTIVATIONS)
        for name, high in (("r_min", 1.0), ("r_max", 1.0), ("max_phase", 2 * math.pi)):
            check_number_between(f"{name} of an RTU cell", getattr(self, name), 0.0, high)
        if not self.r_min < self.r_max < 1:
            raise ValueError(f"r_min < r_max < 1 must hold in an RTU cell, got {self.r_min} and {self.r_max}")
        if self.max_phase == 0:
            raise ValueError("max_phase of an RTU cell must be positive, got 0")

    @property
    def n_out(self) -> int:
        """Width of the output, 2n."""
        return 2 * self.n

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "RTU" if self.activation == "identity" else f"RTU {self.activation}"

    @property
    def shapes(self) -> dict:
        """Shape of every parameter."""
        n, m = self.n, self.n_in
        return {"nu": (n,), "th": (n,), "W1": (n, m), "W2": (n, m), **self._initial_shapes}

    def init_params(self, rng, dtype) -> dict:
        """Draw r and the phase as the LRU, W1 and W2 from N(0, 1/m); host arrays of ``dtype``."""
        ring = LRU(self.n_in, self.n, 1, r_min=self.r_min, r_max=self.r_max, max_phase=self.max_phase)
        drawn = ring.init_params(rng, np.dtype(float))
        p = {"nu": drawn["nu"], "th": drawn["th"], "h0": np.zeros(2 * self.n)}
        p |= {name: rng.standard_normal((self.n, self.n_in)) / math.sqrt(self.n_in) for name in ("W1", "W2")}
        return {name: p[name].astype(dtype) for name in self.shapes}

    def rotation(self, p):
        """(g, p, gam), each (n,), Eq. (RTU.1); and (r, omega)."""
        xp = array_module(p["nu"])
        r, omega = xp.exp(-xp.exp(p["nu"])), xp.exp(p["th"])
        return r * xp.cos(omega), r * xp.sin(omega), xp.sqrt(1 - r * r), r, omega  # (RTU.1)

    def scan(self, p, h, u, reset=None, start=None, follow=None):
        """Run T steps from ``h (B, 2n)`` on ``u (T, B, m)``: states ``(T, B, 2n)`` and a tape."""
        xp, n, (g, q, gam, _, _) = array_module(u), self.n, self.rotation(p)
        phi = ACTIVATIONS[self.activation].phi
        x = u @ xp.concatenate([p["W1"], p["W2"]]).T  # (T, B, 2n)
        driven, before, after, kept = xp.concatenate([gam, gam]) * x, [], [], []
        for t in range(len(u)):
            if reset is not None:
                h = xp.where(reset[t][:, None], start, h)
            before.append(h)
            h1, h2 = h[:, :n], h[:, n:]
            a = driven[t] + xp.concatenate([g * h1 - q * h2, g * h2 + q * h1], axis=1)
            h = phi(a)  # (RTU.2)
            after.append(h)
            kept.append(a)
            h = h if follow is None else follow(t, h)
        after = xp.stack(after)
        return after, Tape(u, xp.stack(before), after, (x, xp.stack(kept)), reset)

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eqs. (RTU.3), (RTU.4)."""
        xp, (g, q, gam, r, omega) = array_module(tape.u), self.rotation(p)
        x, a = tape.kept
        T, B = x.shape[:2]
        split = lambda v: v.reshape(T, B, 2, self.n)  # noqa: E731
        slope = split(ACTIVATIONS[self.activation].dphi(a, tape.after))
        h, x = split(tape.before), split(x)
        turned = xp.stack([-h[:, :, 1], h[:, :, 0]], axis=2)  # what the sine multiplies
        rate = xp.exp(p["nu"])
        nu = -rate * g * h - rate * q * turned + rate * r * r / gam * x  # (RTU.3)
        th = -q * omega * h + g * omega * turned  # (RTU.3)
        zero = xp.zeros_like(slope[:, :, 0])
        immediate = {
            "nu": (slope * nu, False),
            "th": (slope * th, False),
            "W1": (xp.stack([slope[:, :, 0] * gam, zero], axis=2), True),
            "W2": (xp.stack([zero, slope[:, :, 1] * gam], axis=2), True),
        }  # (RTU.4)
        A = slope[:, :, :, None] * xp.stack([xp.stack([g, -q]), xp.stack([q, g])])  # (RTU.2)
        return Local(A, immediate)

    def pull_input(self, p, tape, swept):
        """Credit at the input of every step, ``(T, B, [rows,] m)``."""
        local, v = swept.credit
        n, first, second = self.n, local.immediate["W1"][0][:, :, 0], local.immediate["W2"][0][:, :, 1]
        if v.ndim == 4:
            first, second = first[:, :, None], second[:, :, None]
        return (v[..., :n] * first) @ p["W1"] + (v[..., n:] * second) @ p["W2"]

    def input_jacobian(self, p, local, t):
        """G = dh_t/du_t of step t, ``(B, 2n, m)``."""
        first, second = local.immediate["W1"][0][t, :, 0], local.immediate["W2"][0][t, :, 1]
        return array_module(first).concatenate(
            [first[..., None] * p["W1"], second[..., None] * p["W2"]], axis=1
        )
