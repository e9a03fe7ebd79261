r"""Recurrent cells with gates: RNN, GRU, LSTM; every derivative by hand.

=========  ==========================================================================================
(RNN.1)    post form :math:`a_t = W h_{t-1} + U u_t + b`, :math:`h_t = (1-\alpha) h_{t-1} + \alpha \phi(a_t)`
(RNN.2)    pre form :math:`a_t = W \phi(h_{t-1}) + U u_t + b`, :math:`h_t = (1-\alpha) h_{t-1} + \alpha a_t`
(RNN.3)    regressor :math:`z_t = [h_{t-1}; u_t; 1]`, :math:`D_t = \alpha \phi'(a_t)` (post);
           :math:`[\phi(h_{t-1}); u_t; 1]`, :math:`\alpha` (pre)
(RNN.4)    :math:`J_t = (1-\alpha) I + \mathrm{diag}(D_t) W` (post), :math:`(1-\alpha) I + \alpha W \mathrm{diag}(\phi'(h_{t-1}))` (pre)
(RNN.5)    :math:`\bar M_t[k; i,j] = 1[k=i]\, D_{t,i}\, z_{t,j}`
(GRU.1)    :math:`r, z = \sigma(W_{r,z} h_{t-1} + U_{r,z} u_t + b_{r,z})`, :math:`c = \tanh(U_c u_t + b_c + r \odot W_c h_{t-1})`,
           :math:`h_t = (1-z) \odot c + z \odot h_{t-1}`
(GRU.2)    :math:`\partial h/\partial a_r = (1-z)(1-c^2)\, (W_c h_{t-1})\, r(1-r)`, :math:`\partial h/\partial a_z = (h_{t-1} - c)\, z(1-z)`,
           :math:`\partial h/\partial a_c = (1-z)(1-c^2)`; at fixed pre-activations :math:`\partial h_t/\partial h_{t-1} = \mathrm{diag}(z)`
(GRU.3)    what the weights add to h: slope times regressor, for :math:`W_c` times r
(LSTM.1)   :math:`i, f, o = \sigma(\cdot)`, :math:`g = \tanh(\cdot)`; :math:`c_t = f c_{t-1} + i g`, :math:`h_t = o \tanh c_t`
(LSTM.2)   :math:`\partial c/\partial a = (g\, i(1-i),\; c_{t-1} f(1-f),\; i(1-g^2),\; 0)`; of h: times :math:`o(1-\tanh^2 c)`,
           and :math:`\tanh(c)\, o(1-o)` in the last; at fixed pre-activations :math:`\partial c_t/\partial c_{t-1} = f`,
           :math:`\partial h_t/\partial c_{t-1} = o(1-\tanh^2 c) f`
(LSTM.3)   what the weights add to h and c: slope times :math:`z = [h_{t-1}; u_t; 1]`
=========  ==========================================================================================

A cell is a block with a state. The state ``h (B, N)`` is one array: for an LSTM ``[h; c]``, N = 2n. What all
three share is their shape: a pre-activation of unit i moves the state of unit i alone. So a step is known by

* ``E``: how the state of a unit follows its pre-activations, ``(..., parts, gates, n)``;
* ``z``: the regressor, what the weights multiply, ``(..., n_z)``; rows of weights are ``gates n``;
* ``direct``: how it follows the previous state at fixed pre-activations;

and with these J = direct + E W, Mbar = E (x) z, J^T v = direct^T v + W^T (E^T v): :class:`Local`.

All cells work on whole stretches of time: ``scan`` runs T steps, ``sweep`` runs back through them. A step is a
stretch of length one. Vectors that come back may carry an axis of rows, ``(B, rows, N)``: many at once.
"""

import functools
import math
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np  # host only: parameters are drawn here

from .arguments import check_count, check_positive_number, check_word, is_number
from .backend import Array, array_module
from .blocks import FORMS, INITIALISATIONS, configuration
from .functions import ACTIVATIONS, sigmoid


class Tape(NamedTuple):
    """What a cell remembers of T steps.

    ``u (T, B, m)`` inputs; ``before (T, B, N)`` the state that entered each step, after a reset if there was one;
    ``after (T, B, N)`` the state that left it; ``kept`` the cell's own arrays (T, B, ...); ``reset (T, B)`` or None.
    """

    u: Array
    before: Array
    after: Array
    kept: tuple
    reset: Array


class Swept(NamedTuple):
    """What a backward sweep finds, all with the axis of rows if there is one.

    ``credit`` at every step, as the cell's ``gradients``, ``rows`` and ``pull_input`` want it; ``start (B, N)`` at
    the state before the first step; ``reset (B, N)`` at the initial state, through the resets on the way.
    """

    credit: tuple
    start: Array
    reset: Array


class Cell:
    """What all recurrent cells share: a state, steps, and faces made of the sequence-level ones."""

    recurrent = True
    parts = 1  # numbers that a unit has in the state
    complex_state = False

    @property
    def _name(self) -> str:
        """The cell in words, for messages."""
        name = type(self).__name__
        return f"{'a' if name == 'GRU' else 'an'} {name} cell"

    def _check_widths(self):
        """What every constructor refuses."""
        check_count(f"n_in of {self._name}", self.n_in, least=1)
        check_count(f"n of {self._name}", self.n, least=1)
        if not isinstance(self.learn_h0, bool):
            raise TypeError(f"learn_h0 of {self._name} must be True or False, got {self.learn_h0!r}")

    @property
    def in_shape(self) -> tuple:
        """Shape of the input of a step."""
        return (self.n_in,)

    def out_shape(self, shape) -> tuple:
        """Shape of the output of a step; a ValueError if inputs of ``shape`` do not fit."""
        if tuple(shape) != (self.n_in,):
            raise ValueError(
                f"{type(self).__name__} must take inputs of shape {(self.n_in,)}, got {tuple(shape)}"
            )
        return (self.n_out,)

    @property
    def n_out(self) -> int:
        """Width of the output."""
        return self.n

    @property
    def state_size(self) -> int:
        """N, the number of entries of the state."""
        return self.parts * self.n

    def config(self) -> dict:
        """The arguments that build this cell again."""
        return configuration(self)

    # ------------------------------------------------------------------ one step, for reading and for proofs
    def step(self, p, h, u):
        """One step; ``h (B, N), u (B, m) -> h_t (B, N)`` and a tape."""
        after, tape = self.scan(p, h, u[None])
        return after[0], tape

    def vjp(self, p, tape, v):
        """Pull ``v (B, N)`` back through one step: ``J^T v``, the input's share (B, m), and the parameters' dict."""
        swept = self.sweep(p, tape, None, v)
        return swept.start, self.pull_input(p, tape, swept)[0], self.gradients(p, tape, swept)

    def state_jacobian(self, p, tape):
        """J_t = dh_t/dh_{t-1} of one step, ``(B, N, N)``: the rows of the identity pulled back."""
        B = tape.u.shape[1]
        return self.sweep(p, tape, None, self.unit_rows(B, tape.after), rows=True).start

    def immediate_jacobian(self, p, tape):
        """Mbar_t = dh_t/dtheta at fixed h_{t-1}: dict of ``(B, N, *shape)``; of a complex state complex."""
        unit = self.unit_rows(tape.u.shape[1], tape.after)
        found = self.rows(p, tape, self.sweep(p, tape, None, unit, rows=True))
        if not self.complex_state:
            return found
        imaginary = self.rows(p, tape, self.sweep(p, tape, None, -1j * unit, rows=True))  # Re(-i dh) = Im(dh)
        return {name: value + 1j * imaginary[name] for name, value in found.items()}

    def unit_rows(self, B, like):
        """The identity for every sample, ``(B, N, N)``."""
        xp = array_module(like)
        return xp.tile(xp.eye(self.state_size, dtype=like.dtype), (B, 1, 1))

    # ------------------------------------------------------------------ the output: the first n numbers of the state
    def output(self, p, after, u):
        """What the next block sees; ``(T, B, N), (T, B, m) -> (T, B, n_out)``."""
        return after[..., : self.n_out]

    @property
    def output_shapes(self) -> dict:
        """Shapes of the parameters that stand between state and output: none, but for the LRU."""
        return {}

    def output_pull(self, p, v):
        """Credit ``v (T, B, [rows,] n_out)`` at the output: at the state, and directly at the input (None: nothing)."""
        return v, None

    def output_gradients(self, p, tape, v):
        """Gradients of the output's parameters, sums over batch and time."""
        return {}

    # ------------------------------------------------------------------ the initial state
    def initial_state(self, p, B, like):
        """``(B, N)``: zero, or the learned one, for every sample."""
        xp = array_module(like)
        if not self.learn_h0:
            return xp.zeros((B, self.state_size), like.dtype)
        return xp.repeat(p["h0"][None], B, axis=0).astype(xp.result_type(p["h0"], like), copy=False)

    def initial_gradient(self, v):
        """Gradient of the learned initial state from what arrives there, ``v (B, N)`` or per sample and row."""
        return {"h0": v}

    @property
    def _initial_shapes(self):
        return {"h0": (self.state_size,)} if self.learn_h0 else {}


def through_reset(reset, v, total):
    """At a reset the credit goes to the initial state and not into the past: both, ``v`` and the new total."""
    xp = array_module(v)
    here = reset.reshape(*reset.shape, *[1] * (v.ndim - 1))
    return xp.where(here, xp.zeros_like(v), v), total + xp.where(here, v, xp.zeros_like(v))


@dataclass(frozen=True)
class Group:
    """Parameters with the same rows, side by side: ``[W U b]``, with their factor E ``(T, B, parts, gates, n)`` and
    what each of them multiplies, ``(T, B, columns)`` (a bias multiplies one)."""

    names: tuple
    E: Array
    factors: tuple

    @functools.cached_property
    def z(self):
        """The regressor z_t in one, ``(T, B, n_z)``."""
        if len(self.factors) == len(self.names) == 1:
            return self.factors[0]
        xp, ones = array_module(self.E), self.factors[-1][..., :1]
        return xp.concatenate([*self.factors, xp.ones_like(ones)], axis=-1)


class Local(NamedTuple):
    """The derivatives of T steps of a gated cell at fixed previous states.

    ``groups`` in the order of the cell; ``direct[s']`` (T, B, parts, n), a number or None: how the parts follow part
    s' of the previous state at fixed pre-activations; ``slope`` (T, B, n) or None: of the regressor in the state.
    """

    groups: tuple
    direct: tuple
    slope: Array


class GatedCell(Cell):
    """RNN, GRU, LSTM, LIF and ALIF: ``_advance`` is the step, ``local`` its derivatives, the rest follows from them.

    Parameters ``W (gates n, n)``, ``U (gates n, m)``, ``b (gates n,)``, and ``h0 (N,)`` if it is learned.
    """

    gates = 1
    grouped = (("W", "U", "b"),)

    def _check(self):
        self._check_widths()
        check_word(f"init of {self._name}", self.init, INITIALISATIONS)
        check_positive_number(f"gain of {self._name}", self.gain)

    @property
    def shapes(self) -> dict:
        """Shape of every parameter."""
        R = self.gates * self.n
        return {"W": (R, self.n), "U": (R, self.n_in), "b": (R,), **self._initial_shapes}

    def init_params(self, rng, dtype) -> dict:
        """Draw W (each gate by the initialisation's rule) and U (INIT.1); b and h0 are zero; host arrays of ``dtype``."""
        W = [float(self.gain) * INITIALISATIONS[self.init](rng, self.n, self.n) for _ in range(self.gates)]
        U = [INITIALISATIONS["xavier"](rng, self.n, self.n_in) for _ in range(self.gates)]
        p = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        p |= {"W": np.concatenate(W), "U": np.concatenate(U)}
        return {name: value.astype(dtype) for name, value in p.items()}

    def scan(self, p, h, u, reset=None, start=None, follow=None):
        """Run T steps from ``h (B, N)`` on ``u (T, B, m)``: states ``(T, B, N)`` and a tape.

        Lanes with ``reset[t]`` begin step t in ``start (B, N)``. ``follow(t, h_t)``, if given, is the state that the next
        step begins in, in the place of h_t. Cost O(T B gates n (n + m)).
        """
        xp = array_module(u)
        a_u = u @ p["U"].T + p["b"]  # of all steps at once
        before, after, kept = [], [], []
        for t in range(len(u)):
            if reset is not None:
                h = xp.where(reset[t][:, None], start, h)
            before.append(h)
            h, k = self._advance(p, h, a_u[t])
            after.append(h)
            kept.append(k)
            h = h if follow is None else follow(t, h)
        stacked = tuple(xp.stack(values) for values in zip(*kept, strict=True))
        after = xp.stack(after)
        return after, Tape(u, xp.stack(before), after, stacked, reset)

    def sweep(self, p, tape, v_out, v_end, rows=False):
        """Run back through the steps of a tape, Eq. (BPTT.1).

        Parameters
        ----------
        v_out : (T, B, [rows,] n) or None      credit that arrives at the output of every step; or at the state, (.., N)
        v_end : (B, [rows,] N) or None         credit that arrives at the last state from later steps
        """
        xp, local = array_module(tape.u), self.local(p, tape)
        v, total = self._begin(tape, v_out, v_end)
        extra = (
            (slice(None), None) if rows else (slice(None),)
        )  # a sample's derivatives serve all of its rows
        credits = []
        for t in range(len(tape.u) - 1, -1, -1):
            if v_out is not None:
                arrived = xp.split(
                    v_out[t], v_out.shape[-1] // self.n, axis=-1
                )  # of an output: the first part
                v = [*(a + b for a, b in zip(v, arrived, strict=False)), *v[len(arrived) :]]
            credits.append(v)
            E, direct = local.groups[0].E[t], [d if is_number(d) or d is None else d[t] for d in local.direct]
            w = sum(E[:, s][extra] * v[s][..., None, :] for s in range(self.parts))  # (B, [rows,] gates, n)
            back = w.reshape(*w.shape[:-2], -1) @ p["W"]  # (BPTT.1): J^T v, through the weights
            v_before = [xp.zeros_like(back)] * self.parts
            for part, d in enumerate(direct):  # (BPTT.1): and beside them
                if d is not None:
                    v_before[part] = (
                        d * v[part] if is_number(d) else sum(d[:, s][extra] * v[s] for s in range(self.parts))
                    )
            if local.slope is not None:
                back = local.slope[t][extra] * back
            v = [v_before[0] + back, *v_before[1:]]
            if tape.reset is not None:
                joined, total = through_reset(tape.reset[t], xp.concatenate(v, axis=-1), total)
                v = xp.split(joined, self.parts, axis=-1)
        credits = tuple(
            xp.stack(part[::-1]) for part in zip(*credits, strict=True)
        )  # (T, B, [rows,] n) a part
        w = tuple(self._rows_of(group.E, credits, rows) for group in local.groups)
        return Swept((local, w), xp.concatenate(v, axis=-1), total)

    def _begin(self, tape, v_out, v_end):
        """The credit after the last step, a list of parts, and the zero that resets add to."""
        xp = array_module(tape.u)
        if v_end is None:
            v_end = xp.zeros((*v_out.shape[1:-1], self.state_size), v_out.dtype)
        return xp.split(v_end, self.parts, axis=-1), xp.zeros_like(v_end)

    def _rows_of(self, E, credits, rows):
        """E^T v of every step: credit at the rows of a group, ``(T, B, [rows,] gates n)``."""
        extra = (slice(None), slice(None), None) if rows else (slice(None), slice(None))
        w = sum(E[:, :, s][extra] * credits[s][..., None, :] for s in range(self.parts))
        return w.reshape(*w.shape[:-2], -1)

    def gradients(self, p, tape, swept):
        """Parameter gradients, sums over batch and time, Eq. (BPTT.2)."""
        (local, w), found = swept.credit, {}
        for group, w_g in zip(local.groups, w, strict=True):
            w_g = w_g.reshape(-1, w_g.shape[-1])
            for name, factor in zip(group.names, group.factors, strict=False):
                found[name] = w_g.T @ factor.reshape(-1, factor.shape[-1])  # (BPTT.2)
            if "b" in group.names:
                found["b"] = w_g.sum(axis=0)  # (BPTT.2)
        return {name: found[name] for name in ("W", "U", "b")}

    def rows(self, p, tape, swept):
        """Parameter gradients of every sample and row, sums over time: dict of ``(B, rows, *shape)``, (HYB.2)."""
        found = {}
        for group, value in zip(swept.credit[0].groups, self.group_rows(tape, swept), strict=True):
            found |= self._split(group.names, value)
        return {name: found[name] for name in ("W", "U", "b")}

    def group_rows(self, tape, swept):
        """The same by group, ``(B, rows, gates n, n_z)``: one product of matrices a sample."""
        (local, w), found = swept.credit, []
        T, B, rows = w[0].shape[:3]
        for group, w_g in zip(local.groups, w, strict=True):
            left = w_g.reshape(T, B, -1).transpose(1, 2, 0)  # (B, rows gates n, T)
            found.append((left @ group.z.transpose(1, 0, 2)).reshape(B, rows, w_g.shape[-1], -1))  # (HYB.2)
        return found

    def pull_input(self, p, tape, swept):
        """Credit at the input of every step, ``(T, B, [rows,] m)``."""
        return swept.credit[1][-1] @ p["U"]

    # ------------------------------------------------------------------ influence, see minipc.influence
    @property
    def state_columns(self) -> dict:
        """Columns of the influence: every group as ``[W U b]``, rows after rows, then h0."""
        widths = {"W": self.n, "U": self.n_in, "b": 1}
        groups = {
            "".join(names): (self.gates * self.n, sum(widths[name] for name in names))
            for names in self.grouped
        }
        return {**groups, **self._initial_shapes}

    def start_influence(self, B, like):
        """M_0 ``(B, N, P)``: zero, and one for a learned initial state, Eq. (RTRL.1)."""
        xp, N = array_module(like), self.state_size
        width = sum(math.prod(shape) for shape in self.state_columns.values())
        M = xp.zeros((B, N, width), like.dtype)
        if self.learn_h0:
            M[:, :, -N:] = xp.eye(N, dtype=like.dtype)
        return M

    def step_influence(self, M, p, local, t, out=None):
        """J M + Mbar of step t, Eq. (RTRL.1): a product for each sample, and Mbar only where it is not zero.

        The result is written to ``out``, if it is given.
        """
        new, at, n = self.times_jacobian(p, local, t, M, out), 0, self.n
        for group in local.groups:
            E, z = group.E, group.z
            width = z.shape[-1]
            if self.parts == self.gates == 1 and not self.learn_h0:  # rows k = i of (n n, n_z): a slice
                new.reshape(len(M), n * n, width)[:, :: n + 1] += (
                    E[t, :, 0, 0, :, None] * z[t, :, None]
                )  # (RNN.5)
                return new
            block = new[:, :, at : at + self.gates * n * width]
            block = block.reshape(len(M), self.parts, n, self.gates, n, width)
            unit = array_module(M).arange(n)
            for s in range(self.parts):
                for gate in range(self.gates):  # (RNN.5): pre-activation i moves unit i alone
                    block[:, s, unit, gate, unit] += E[t, :, s, gate, :, None] * z[t, :, None]
            at += self.gates * n * width
        return new

    def times_jacobian(self, p, local, t, X, out=None):
        """J X of step t, ``(B, N, P)``: a product through the weights, and what passes beside them."""
        xp, n, (B, N) = array_module(X), self.n, X.shape[:2]
        E = local.groups[0].E[t]
        if self.parts == self.gates == 1:
            J = E.reshape(B, n, 1) * p["W"]
        else:
            J = xp.einsum("bsgk,gkj->bskj", E, p["W"].reshape(self.gates, n, n)).reshape(B, N, n)
        if local.slope is not None:
            J = J * local.slope[t][:, None]
        direct = local.direct[0]
        if direct is not None:  # on the diagonal of the blocks of J
            unit = xp.arange(n)
            passed = direct if is_number(direct) else direct[t]
            J.reshape(B, self.parts, n, n)[:, :, unit, unit] += passed  # (RNN.4), (GRU.2), (EPROP.2)
        new = xp.matmul(J, X[:, :n], out=out)
        for part in range(1, self.parts):  # (LSTM.2)
            past = X[:, None, part * n : (part + 1) * n]
            new.reshape(B, self.parts, n, -1)[...] += local.direct[part][t][..., None] * past
        return new

    def input_jacobian(self, p, local, t):
        """G = dh_t/du_t of step t, ``(B, N, m)``."""
        xp, E = array_module(p["U"]), local.groups[-1].E[t]
        G = xp.einsum("bsgk,gkj->bskj", E, p["U"].reshape(self.gates, self.n, self.n_in))
        return G.reshape(len(E), self.state_size, self.n_in)

    def carry_influence(self, M, tape, swept):
        """M after the steps of a tape, from a sweep of unit rows, Eq. (HYB.2); ``M`` None is zero."""
        new = self.rows_to_columns(None, tape, swept)
        return new if M is None else swept.start @ M + new

    def rows_to_columns(self, p, tape, swept):
        """What the steps of a tape add to the influence on the rows of a sweep, ``(B, rows, P)``."""
        found = [value.reshape(*value.shape[:2], -1) for value in self.group_rows(tape, swept)]
        if self.learn_h0:
            found.append(swept.reset)
        return found[0] if len(found) == 1 else array_module(found[0]).concatenate(found, axis=-1)

    def push_output(self, p, X, V):
        """Columns at the state to columns at the output, ``(B, N, P) -> (B, n_out, P)``."""
        return X[:, : self.n_out]

    def push_own(self, p, M):
        """The same for the cell's own influence."""
        return M[:, : self.n_out]

    def push_rows(self, v, M, p):
        """Rows of credit at the state times the own influence, ``(B, rows, N) -> (B, rows, P)``."""
        return v @ M

    def from_columns(self, found):
        """Columns by group -> gradients by name."""
        grads = {}
        for names in self.grouped:
            grads |= self._split(names, found["".join(names)])
        return {name: (found if name == "h0" else grads)[name] for name in self.shapes}

    def unpack(self, vector):
        """A vector of all columns -> gradients by name."""
        found, at = {}, 0
        for name, shape in self.state_columns.items():
            found[name] = vector[at : at + math.prod(shape)].reshape(shape)
            at += math.prod(shape)
        return self.from_columns(found)

    def _split(self, names, both):
        """``[W U b]`` (..., gates n, n_z) into its parts."""
        widths = {"W": self.n, "U": self.n_in, "b": 1}
        ends = list(accumulate(widths[name] for name in names))
        found = {name: both[..., end - widths[name] : end] for name, end in zip(names, ends, strict=True)}
        if "b" in found:
            found["b"] = found["b"][..., 0]
        return found


def _lines(a):
    """``(T, B, n)``; of one sample ``(T, n)``: a vector times a matrix takes half the time of a row times a matrix."""
    return a[:, 0] if a.shape[1] == 1 else a


@dataclass(frozen=True)
class RNN(GatedCell):
    """Simple recurrent cell, Eqs. (RNN.1)-(RNN.5), in the post form or the pre form, with a leak.

    Parameters
    ----------
    n_in, n : int            m and n, widths of the input and of the state, positive
    activation : str         identity, tanh, sigmoid, relu, leaky_relu, gelu or softplus
    form : str               "post" (RNN.1) or "pre" (RNN.2)
    alpha : float            leak rate in (0, 1]; 1 is the plain cell
    init, gain               of W: "orthogonal" (default), "xavier", "kaiming" or "normal", times gain
    learn_h0 : bool          the initial state is a parameter ``h0 (n,)`` that starts at zero; else it is zero or given

    Raises
    ------
    ValueError, TypeError    for a width that is no positive integer, an unknown name, alpha out of range

    Examples
    --------
    >>> cell = RNN(1, 1)
    >>> p = {"W": np.array([[1.0]]), "U": np.array([[2.0]]), "b": np.zeros(1)}
    >>> cell.step(p, np.array([[-2.0]]), np.array([[1.0]]))[0]
    array([[0.]])
    """

    n_in: int
    n: int
    activation: str = "tanh"
    form: str = "post"
    alpha: float = 1.0
    init: str = "orthogonal"
    gain: float = 1.0
    learn_h0: bool = False

    def __post_init__(self):
        self._check()
        for name, known in (("activation", ACTIVATIONS), ("form", FORMS)):
            check_word(f"{name} of an RNN cell", getattr(self, name), known)
        if not is_number(self.alpha):
            raise TypeError(f"alpha of an RNN cell must be a number in (0, 1], got {self.alpha!r}")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha of an RNN cell must lie in (0, 1], got {self.alpha}")

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        name = self.activation
        new = f"{name}(W h + U u + b)" if self.form == "post" else f"W {name}(h) + U u + b"
        return new if self.alpha == 1 else f"{1 - self.alpha:.3g} h + {self.alpha:.3g} ({new})"

    def _advance(self, p, h, a_u):
        phi, alpha = ACTIVATIONS[self.activation].phi, float(self.alpha)
        if self.form == "post":
            a = h @ p["W"].T + a_u
            r = phi(a)
            return (r if alpha == 1 else (1 - alpha) * h + alpha * r), (a, r)  # (RNN.1)
        r = phi(h)
        a = r @ p["W"].T + a_u
        return (a if alpha == 1 else (1 - alpha) * h + alpha * a), (r,)  # (RNN.2)

    @property
    def _plain(self):
        """Neither a leak nor the pre form: the cell for which the loops below are written."""
        return self.form == "post" and self.alpha == 1

    def scan(self, p, h, u, reset=None, start=None, follow=None):
        """As :meth:`GatedCell.scan`; in the post form without resets in buffers."""
        if reset is not None or follow is not None or self.form == "pre":
            return super().scan(p, h, u, reset, start, follow)
        xp, phi, alpha = array_module(u), ACTIVATIONS[self.activation].phi, float(self.alpha)
        dtype = xp.result_type(u, h, p["W"])
        a = xp.ascontiguousarray(u @ p["U"].T + p["b"], dtype)
        states = xp.empty((len(u) + 1, *h.shape), dtype)
        states[0] = h
        r = states[1:] if alpha == 1 else xp.empty_like(a)
        W = xp.ascontiguousarray(p["W"].T)  # products read along its rows
        lines, sums, values = _lines(states), _lines(a), _lines(r)
        recurrent = xp.empty_like(lines[0])
        for a_t, before, after, r_t in zip(sums, lines, lines[1:], values, strict=False):
            before.dot(W, recurrent)
            xp.add(a_t, recurrent, a_t)
            if self.activation == "tanh":
                xp.tanh(a_t, r_t)
            else:
                r_t[...] = phi(a_t)  # (RNN.1)
            if alpha != 1:
                xp.multiply(before, 1 - alpha, after)
                xp.multiply(r_t, alpha, recurrent)
                xp.add(after, recurrent, after)  # (RNN.1)
        return states[1:], Tape(u, states[:-1], states[1:], (a, r), None)

    def sweep(self, p, tape, v_out, v_end, rows=False):
        """As :meth:`GatedCell.sweep`; a plain cell without resets in buffers."""
        if tape.reset is not None or not self._plain:
            return super().sweep(p, tape, v_out, v_end, rows)
        xp, local, W = array_module(tape.u), self.local(p, tape), p["W"]
        D, T = local.groups[0].E[:, :, 0, 0], len(tape.u)
        v = self._begin(tape, v_out, v_end)[0][0]
        v = v.astype(xp.result_type(v, D, W), order="C")  # a copy: it is written to
        if v_out is None:
            w, q = xp.empty((T, *v.shape), v.dtype), [None] * T
        else:  # the credit at the outputs makes room for that at the rows, step by step
            w = v_out.astype(v.dtype, order="C")
            q = w if rows else _lines(w)
        if rows:
            at_rows, at_v, factors = w.reshape(T, -1, self.n), v.reshape(-1, self.n), D[:, :, None]
            parts, total = w, v
        else:
            at_rows = parts = _lines(w)
            at_v = total = _lines(v[None])[0]
            factors = _lines(D)
        for D_t, q_t, w_t, line in zip(factors[::-1], q[::-1], parts[::-1], at_rows[::-1], strict=True):
            if q_t is not None:
                xp.add(total, q_t, total)  # (BPTT.1)
            xp.multiply(D_t, total, w_t)
            line.dot(W, at_v)  # (RNN.4)
        return Swept((local, (w,)), v, xp.zeros_like(v))

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eqs. (RNN.3)-(RNN.5)."""
        dphi, alpha = ACTIVATIONS[self.activation].dphi, float(self.alpha)
        if self.form == "post":
            a, r = tape.kept
            D = dphi(a, r) if alpha == 1 else alpha * dphi(a, r)  # (RNN.3)
            z_h, slope = tape.before, None
        else:
            (r,) = tape.kept
            D, z_h, slope = array_module(r).full_like(r, alpha), r, dphi(tape.before, r)  # (RNN.3)
        group = Group(("W", "U", "b"), D[:, :, None, None], (z_h, tape.u))
        return Local((group,), (None if alpha == 1 else 1 - alpha,), slope)  # (RNN.4)


@dataclass(frozen=True)
class GRU(GatedCell):
    """Gated recurrent unit, Eqs. (GRU.1)-(GRU.3), with the reset gate behind the weights.

    The arithmetic is that of PyTorch's GRU with ``bias_hh`` zero; gates stand in the order r, z, c.

    Parameters
    ----------
    n_in, n : int            m and n, widths of the input and of the state, positive
    init, gain               of each gate's W: "orthogonal" (default), "xavier", "kaiming" or "normal", times gain
    learn_h0 : bool          the initial state is a parameter ``h0 (n,)`` that starts at zero; else it is zero or given

    Notes
    -----
    Source: Cho et al. (2014), arXiv 1406.1078; the reset gate behind the weights is the later, faster form.
    """

    n_in: int
    n: int
    init: str = "orthogonal"
    gain: float = 1.0
    learn_h0: bool = False

    gates = 3
    grouped = (("W",), ("U", "b"))

    def __post_init__(self):
        self._check()

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "GRU"

    def _advance(self, p, h, a_u):
        n, a_h = self.n, h @ p["W"].T
        gates = sigmoid(a_u[:, : 2 * n] + a_h[:, : 2 * n])
        r, z, recurrent = gates[:, :n], gates[:, n:], a_h[:, 2 * n :]
        c = array_module(h).tanh(a_u[:, 2 * n :] + r * recurrent)
        return (1 - z) * c + z * h, (r, z, c, recurrent)  # (GRU.1)

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eqs. (GRU.2), (GRU.3)."""
        xp = array_module(tape.u)
        r, z, c, recurrent = tape.kept
        d_c = (1 - z) * (1 - c * c)
        d_r, d_z = d_c * recurrent * r * (1 - r), (tape.before - c) * z * (1 - z)  # (GRU.2)
        E_W, E_U = (xp.stack([d_r, d_z, last], axis=2)[:, :, None] for last in (d_c * r, d_c))  # (GRU.3)
        groups = Group(("W",), E_W, (tape.before,)), Group(("U", "b"), E_U, (tape.u,))
        return Local(groups, (z[:, :, None],), None)  # (GRU.2)


@dataclass(frozen=True)
class LSTM(GatedCell):
    """Long short-term memory, Eqs. (LSTM.1)-(LSTM.3); gates in the order i, f, g, o, state ``[h; c]`` (B, 2n).

    Parameters
    ----------
    n_in, n : int            m and n, widths of the input and of h, positive
    init, gain               of each gate's W: "orthogonal" (default), "xavier", "kaiming" or "normal", times gain
    learn_h0 : bool          the initial state is a parameter ``h0 (2n,)`` that starts at zero; else it is zero or given

    Notes
    -----
    The forget gate's bias starts at one, so that the cell remembers at first (Gers et al. 2000).
    Source: Hochreiter & Schmidhuber (1997), Neural Computation 9(8).
    """

    n_in: int
    n: int
    init: str = "orthogonal"
    gain: float = 1.0
    learn_h0: bool = False

    parts, gates = 2, 4

    def __post_init__(self):
        self._check()

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        return "LSTM"

    def init_params(self, rng, dtype) -> dict:
        """As the other gated cells; the forget gate's bias is one."""
        p = super().init_params(rng, dtype)
        p["b"][self.n : 2 * self.n] = 1
        return p

    def _advance(self, p, h, a_u):
        n, xp = self.n, array_module(h)
        a, c = h[:, :n] @ p["W"].T + a_u, h[:, n:]
        i, f, g, o = (
            sigmoid(a[:, :n]),
            sigmoid(a[:, n : 2 * n]),
            xp.tanh(a[:, 2 * n : 3 * n]),
            sigmoid(a[:, 3 * n :]),
        )
        c = f * c + i * g
        tanh_c = xp.tanh(c)
        return xp.concatenate([o * tanh_c, c], axis=1), (i, f, g, o, tanh_c)  # (LSTM.1)

    def local(self, p, tape):
        """The derivatives of all steps of a tape, Eqs. (LSTM.2), (LSTM.3)."""
        xp, n = array_module(tape.u), self.n
        i, f, g, o, tanh_c = tape.kept
        d_c = xp.stack([g * i * (1 - i), tape.before[..., n:] * f * (1 - f), i * (1 - g * g), 0 * o], axis=2)
        passed = o * (1 - tanh_c * tanh_c)  # dh/dc
        d_h = passed[:, :, None] * d_c
        d_h[:, :, 3] = tanh_c * o * (1 - o)  # (LSTM.2)
        group = Group(
            ("W", "U", "b"), xp.stack([d_h, d_c], axis=2), (tape.before[..., :n], tape.u)
        )  # (LSTM.3)
        return Local((group,), (None, xp.stack([passed * f, f], axis=2)), None)  # (LSTM.2)
