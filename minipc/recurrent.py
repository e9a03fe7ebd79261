"""The recurrent network: a chain of blocks and cells that runs over sequences, time first.

Every block and cell takes the whole stretch of time that it is given, one after the other; within a cell the steps
follow each other. :func:`run` and :func:`pull` are that pass and its transpose, on which BPTT and RTRL stand.
"""

import re
from typing import Any, NamedTuple

import numpy as np  # host only: which lanes are reset, which steps count

from .arguments import (
    cast,
    check_array,
    check_module,
    check_params,
    check_values,
    first_parameter,
    input_test,
    prepare_target,
    real_precision,
    takes_integers,
)
from .backend import Array, array_module, is_array, to_numpy
from .network import Network
from .registry import BLOCKS, CELLS


class RecurrentNetwork(Network):
    """A chain of blocks and recurrent cells with a loss at every step.

    Parameters
    ----------
    blocks : list of blocks and cells      at least one cell; each takes the output of the one before
    loss : str                             "mse", "cross_entropy" or "binary_cross_entropy", as in :class:`Network`
    input_shape : tuple                    of the input of one step, where the first block takes several; () for an Embedding

    Attributes
    ----------
    shapes : list of L + 1 tuples          of a step of one sequence, as in :class:`Network`
    cells : list of int                    places of the cells in ``blocks``

    Raises
    ------
    ValueError, TypeError                  as :class:`Network`; no cell at all; a BatchNorm2d that mixes samples

    Examples
    --------
    >>> from minipc import RNN, Dense
    >>> net = RecurrentNetwork([RNN(2, 4), Dense(4, 3)])
    >>> net.forward(net.init(seed=0), np.zeros((5, 1, 2))).shape
    (5, 1, 3)
    """

    recurrent = True
    known = BLOCKS | CELLS

    def __init__(self, blocks, loss="mse", input_shape=None):
        super().__init__(blocks, loss, input_shape)
        self.cells = [l for l, block in enumerate(self.blocks) if is_cell(block)]
        if not self.cells:
            raise ValueError(
                "a RecurrentNetwork needs at least one cell (RNN, GRU, ...); without one take Network"
            )
        for l, block in enumerate(self.blocks, start=1):
            if _mixes_samples(block):
                raise ValueError(
                    f"block {l} takes its statistics from the batch, so sequences would interact: freeze them in a "
                    f"Network of the blocks below the first cell, freeze_statistics"
                )

    def forward(self, params, inputs, h0=None, reset=None):
        """Outputs at every step; ``inputs (T, B, *shapes[0]) -> (T, B, o)``.

        ``h0`` and ``reset`` as in :func:`minipc.bptt.gradient`. Cost O(T B P).
        """
        *_, out = self.outputs(params, inputs, h0, reset)
        return out

    def outputs(self, params, inputs, h0=None, reset=None):
        """The output of every block in turn, ``(T, B, ...)``."""
        p = prepare_sequences(self, params, inputs, None, None, h0, reset, forward=True)
        yield from outputs_of(self, params, p)

    def config(self):
        """As that of a :class:`Network`; ``recurrent`` says which of the two it is."""
        return {**super().config(), "recurrent": True}


def is_cell(block) -> bool:
    """Has it a state?"""
    return getattr(block, "recurrent", False)


def _mixes_samples(block) -> bool:
    """Does it take statistics from the batch, or a block inside of it?"""
    return getattr(block, "statistics", None) == "batch" or any(
        map(_mixes_samples, getattr(block, "blocks", ()))
    )


class Prepared(NamedTuple):
    """Checked arguments of a temporal rule, to compute with."""

    inputs: Array  # (T, B, ...)
    targets: Array  # (T, B, o), rows; None if there are none
    mask: Array  # (T, B) bool, or None: every step counts
    start: list  # initial state of every block's cell, (B, N); None where there is no cell
    reset: Array  # (T, B) bool, or None


def steps_through(net, params, h, x, reset, start):
    """Yield (output (T, B, ...), last state or None, tape) of every block on ``x (T, B, ...)``, from states ``h`` on."""
    T, B = x.shape[:2]
    for block, p, h_l, start_l in zip(net.blocks, params, h, start, strict=True):
        if is_cell(block):
            after, tape = block.scan(p, h_l, x, reset, start_l)
            x, last = block.output(p, after, x), after[-1].copy()  # (STACK.1); not a view of all steps
        else:
            flat, tape = block.forward(p, x.reshape(T * B, *x.shape[2:]))
            x, last = flat.reshape(T, B, *flat.shape[1:]), None
        yield x, last, tape


def outputs_of(net, params, p):
    """The output of every block in turn, ``(T, B, ...)``, of prepared sequences."""
    for out, _, _ in steps_through(net, params, p.start, p.inputs, p.reset, p.start):
        yield out


class Stretch(NamedTuple):
    """What :func:`run` finds: outputs ``(T, B, o)``, and lists with one entry a block: last states (None without a
    state), tapes, and inputs."""

    out: Array
    last: list
    tapes: list
    inputs: list
    locals: list = None  # the derivatives of every cell's steps, where they have been asked for

    def with_locals(self, net, params):
        """The same, with the derivatives of the cells; the stretch may end below the network's last block."""
        K = len(self.tapes)
        cells = zip(net.blocks[:K], params[:K], self.tapes, strict=True)
        return self._replace(
            locals=[block.local(p, tape) if is_cell(block) else None for block, p, tape in cells]
        )


def run(net, params, h, x, reset, start) -> Stretch:
    """The network from the states ``h`` on, over the inputs ``x (T, B, ...)``."""
    last, tapes, inputs = [], [], [x]
    for out, h_l, tape in steps_through(net, params, h, x, reset, start):
        last.append(h_l)
        tapes.append(tape)
        inputs.append(out)
    return Stretch(out, last, tapes, inputs[:-1])


class Pulled(NamedTuple):
    """What comes back through a stretch of time: parameter gradients, credit of the states before it (lists, one
    entry a block, None without a state), and of the initial states, through resets on the way."""

    grads: list
    start: list
    reset: list


def pull(net, params, tapes, v, v_end):
    """The transpose of :func:`run`, Eqs. (BPTT.1)-(BPTT.3).

    ``v (T, B, o)`` is the credit at the outputs, ``v_end`` a list of credits ``(B, N)`` at the last states, with
    entries None where nothing comes from later.
    """
    L = len(net.blocks)
    grads, start, reset = [None] * L, [None] * L, [None] * L
    T, B = v.shape[:2]
    for l in range(L - 1, -1, -1):
        block, p, tape = net.blocks[l], params[l], tapes[l]
        if is_cell(block):
            v_h, direct = block.output_pull(p, v)
            swept = block.sweep(p, tape, v_h, v_end[l])
            found = block.gradients(p, tape, swept) | block.output_gradients(p, tape, v)
            grads[l] = {name: found[name] for name in block.shapes if name in found}
            start[l], reset[l] = swept.start, swept.reset
            if l > 0:
                v = block.pull_input(p, tape, swept)
                v = v if direct is None else v + direct
        else:
            v, grads[l] = block.vjp(p, tape, v.reshape(T * B, *v.shape[2:]), input=l > 0)
            v = None if v is None else v.reshape(T, B, *v.shape[1:])
    return Pulled(grads, start, reset)


def add_learned(net, grads, arrived):
    """Put in the gradients of learned initial states: ``arrived`` is the credit there, ``(B, N)`` a cell."""
    for l in net.cells:
        if net.blocks[l].learn_h0:
            grads[l] |= net.blocks[l].initial_gradient(arrived[l].sum(axis=0))
    return grads


def plus(a, b):
    """The sum of the gradients of a block, in which parameters may be missing."""
    return {n: a[n] + b[n] if n in a and n in b else a.get(n, b.get(n)) for n in {**a, **b}}


def flat_time(a):
    """Time and batch in one axis, ``(T, B, ...) -> (T B, ...)``."""
    return a.reshape(-1, *a.shape[2:])


def losses(net, out, p):
    """Losses ``(T, B)``, zero where a step does not count, and the credit at the outputs ``(T, B, o)`` (RNN.6)."""
    xp, (T, B) = array_module(out), out.shape[:2]
    values = net.loss.value(flat_time(out), flat_time(p.targets)).reshape(T, B)
    v = -net.loss.error(flat_time(out), flat_time(p.targets)).reshape(out.shape)  # (RNN.6)
    if p.mask is not None:
        values = xp.where(p.mask, values, xp.zeros_like(values))
        v = xp.where(p.mask[:, :, None], v, xp.zeros_like(v))
    return values, v


# ---------------------------------------------------------------------- the entrance

STEPS = ("step", "sequence")  # the first axes, in messages about values


def prepare_sequences(
    net, params, inputs, targets, mask, h0, reset, forward=False, stretch=False, symbol="targets"
) -> Prepared:
    """Check the arguments of a temporal rule before any work; one synchronisation for all values, one for a mask.

    ``forward``: there are no targets. A complex ``h0`` of a real cell is the complex step's and passes; beside an LRU,
    whose own numbers are complex, everything but the LRU's state must be real. ``stretch``: of a longer sequence, so no
    step need count in it. ``symbol`` is the name of the targets in messages.

    Raises ValueError or TypeError, naming the symbol, what was expected and what was given.
    """
    if not getattr(net, "recurrent", False):
        raise TypeError(f"net must be a RecurrentNetwork, got {type(net).__name__}")
    real = check_params(net, params)
    for l, p in enumerate(params, start=1):
        for name, value in p.items():
            _check_real(net, "the parameters", value, f" in {name}[{l}]")
    indices, shape = takes_integers(net), net.shapes[0]
    check_array("inputs", inputs, kinds="iu" if indices else "fc")
    if inputs.ndim != 2 + len(shape) or inputs.shape[2:] != shape:
        expected = ", ".join(["T", "B", *map(str, shape)])
        raise ValueError(f"inputs must have shape ({expected}), time first; got {inputs.shape}")
    if 0 in inputs.shape[:2]:
        raise ValueError(f"inputs must have at least one step and one sequence, got shape {inputs.shape}")
    check_module("inputs", inputs, params)
    T, B = inputs.shape[:2]
    _check_real(net, "inputs", inputs)
    message, *test = input_test(net, inputs)
    tests = [(message.replace("x must", "inputs must", 1), *test, STEPS)]
    inputs = inputs if indices else cast(inputs, real)
    if not forward:
        targets, more = _prepare_targets(net, params, inputs, targets, symbol)
        tests += more
    mask = _prepare_mask(mask, T, B, params, stretch)
    if reset is not None:
        _check_table("reset", reset, T, B, params)
    start, more = _initial_states(net, params, h0, B, inputs)
    check_values([*tests, *more])
    return Prepared(inputs, targets, mask, start, reset)


def _prepare_targets(net, params, inputs, targets, symbol):
    """Targets as rows ``(T, B, o)`` and the tests of their values."""
    check_array(symbol, targets, kinds="fciub")
    _check_real(net, symbol, targets)
    (T, B), (o,), classes = inputs.shape[:2], net.shapes[-1], net.loss.name == "cross_entropy"
    if targets.shape != (T, B, o) and not (classes and targets.shape == (T, B)):
        also = f" or labels {(T, B)}" if classes else ""
        hint = " (time comes first in both)" if targets.shape[:2] == (B, T) else ""
        raise ValueError(
            f"{symbol} must have shape {(T, B, o)}{also} for inputs of shape {inputs.shape}; got {targets.shape}{hint}"
        )
    in_words = lambda message: re.sub(r"\by\b", symbol, message)  # noqa: E731
    try:
        rows, tests = prepare_target(net, params, flat_time(inputs), flat_time(targets))
    except (TypeError, ValueError) as error:
        raise type(error)(in_words(str(error))) from None
    by_step = lambda a: a.reshape(T, B, *a.shape[1:])  # noqa: E731
    tests = [(in_words(message), by_step(holds), by_step(values), STEPS) for message, holds, values in tests]
    return by_step(rows), tests


def _check_real(net, name, value, place=""):
    """Beside an LRU nothing is complex: the credit of its state takes the place of the complex step's numbers."""
    if value.dtype.kind == "c" and any(net.blocks[l].complex_state for l in net.cells):
        raise TypeError(
            f"{name} of a network with an LRU must be real, as the LRU's own numbers are complex; got {value.dtype}{place}"
        )


def _prepare_mask(mask, T, B, params, stretch):
    """A boolean table (T, B), also from lengths (B,); None stays None."""
    if mask is None:
        return None
    if is_array(mask) and mask.ndim == 1:
        if mask.dtype.kind not in "iub":
            raise TypeError(f"mask as lengths must hold integers, got {mask.dtype}")
        if mask.shape != (B,) or mask.dtype.kind == "b":
            raise ValueError(
                f"mask must be boolean of shape {(T, B)}, or integer lengths {(B,)}; got {mask.dtype} of shape {mask.shape}"
            )
        check_module("mask", mask, params)
        lengths = to_numpy(mask)
        if lengths.min() < 1 or lengths.max() > T:
            raise ValueError(f"mask as lengths must lie in 1..{T}, got {lengths.min()}..{lengths.max()}")
        return array_module(mask).arange(T)[:, None] < mask
    _check_table("mask", mask, T, B, params)
    if not stretch and not to_numpy(mask).any():
        raise ValueError("mask must be True somewhere: with no step that counts there is no loss")
    return mask


def _check_table(name, table, T, B, params):
    """A boolean array (T, B) in the place of the parameters."""
    if not is_array(table):
        raise TypeError(f"{name} must be a NumPy or CuPy array, got {type(table).__name__}")
    if table.dtype.kind != "b" or table.shape != (T, B):
        raise ValueError(
            f"{name} must be boolean of shape {(T, B)}, got {table.dtype} of shape {table.shape}"
        )
    check_module(name, table, params)


def _initial_states(net, params, h0, B, inputs):
    """The state of every cell before the first step, a list with one entry a block, and tests of given values."""
    if h0 is None:
        given = [None] * len(net.cells)
    elif is_array(h0):
        given = [h0]
    elif isinstance(h0, list | tuple):
        given = list(h0)
    else:
        raise TypeError(
            f"h0 must be an array (one cell) or a list of arrays, one a cell; got {type(h0).__name__}"
        )
    if len(given) != len(net.cells):
        raise ValueError(f"h0 must have {len(net.cells)} states, one a cell; got {len(given)}")
    real = real_precision(params, inputs)
    arrays = [value for p in params for value in p.values()] + [a for a in (inputs, *given) if is_array(a)]
    moved = any(a.dtype.kind == "c" for a in arrays) and not any(
        net.blocks[l].complex_state for l in net.cells
    )
    dtype = np.result_type(real, np.complex64) if moved else real  # complex numbers are the complex step's
    like = array_module(first_parameter(params, inputs)).empty(0, dtype)
    start, tests = [None] * len(net.blocks), []
    for l, h in zip(net.cells, given, strict=True):
        cell, name = net.blocks[l], f"h0 of block {l + 1}"
        if h is None:
            start[l] = cell.initial_state(params[l], B, like)
            continue
        if cell.learn_h0:
            raise ValueError(f"{name} is learned, so it cannot be given as well")
        check_array(name, h, kinds="fc")
        if h.shape != (B, cell.state_size):
            raise ValueError(
                f"{name}, {cell.formula}, must have shape {(B, cell.state_size)}, got {h.shape} (the state of another cell?)"
            )
        check_module(name, h, params)
        if not cell.complex_state:
            _check_real(net, name, h)
        tests.append((f"{name} must be finite", array_module(h).isfinite(h), h, ("sequence",)))
        start[l] = h.astype(np.result_type(real, np.complex64) if cell.complex_state else dtype)
    return start, tests


class State(NamedTuple):
    """What RTRL hands from one stretch of time to the next: states, the influence on them, and where resets go to."""

    h: list
    influence: Any
    start: list
