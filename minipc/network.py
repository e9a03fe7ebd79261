"""The chain of blocks: initialisation, forward pass, summary, saving, and the checks at every entrance.

A network holds no parameters. ``params`` is a list of dicts, one a block, and every gradient has exactly
this structure.
"""

import itertools
import json
from typing import NamedTuple

import numpy as np  # host only: random numbers and files

from .backend import Array, array_module, is_array, to_numpy
from .blocks import BLOCKS
from .files import replacing
from .functions import LOSSES


class Gradient(NamedTuple):
    """What every learning rule returns; fields a rule does not have are None.

    Attributes
    ----------
    grads : list of dicts            the structure of ``params``; what is to be subtracted, summed over the batch
    loss : (B,)                      loss of the feedforward prediction (the same for every rule)
    energy : (B,)                    energy at the end of inference
    states : list of L (B, n[l])     s[0] = x, s[1], ..., s[L-1] at the end
    errors : list of L + 1           None, eps[1], ..., eps[L]; the last one is minus dLoss/dyhat
    residual : (B,)                  norm of the inference gradient at the end: how far from equilibrium
    regime : (B,)                    ePC: relaxed fraction of the fastest mode, Eq. (ePC.17); below .1 the
                                     gradient is backprop's up to a factor, above .9 it is the equilibrium's
    curvature : (B,)                 ePC: the largest curvature met, on which ``regime`` is based
    step_size : (B,)                 ePC: the last step of each sample
    recording : Recording            energies, errors and states on the way, if asked for
    """

    grads: list
    loss: Array
    energy: Array = None
    states: list = None
    errors: list = None
    residual: Array = None
    regime: Array = None
    curvature: Array = None
    step_size: Array = None
    recording: tuple = None


class Network:
    """A chain of blocks with a loss at its end.

    Parameters
    ----------
    blocks : list of blocks      each one's ``n_in`` is the ``n_out`` of the one before
    loss : str                   "mse" (LOSS.1) or "cross_entropy" (LOSS.2, the output is a vector of logits)

    Raises
    ------
    ValueError, TypeError        for an empty chain, something that is no block, widths that do not fit, an
                                 unknown loss

    Examples
    --------
    >>> from minipc import Dense
    >>> net = Network([Dense(2, 3, "tanh"), Dense(3, 2)], loss="cross_entropy")
    >>> params = net.init(seed=0)
    >>> net.forward(params, np.zeros((4, 2))).shape
    (4, 2)
    """

    def __init__(self, blocks, loss="mse"):
        blocks = list(blocks)
        if not blocks:
            raise ValueError("a network needs at least one block, got an empty list")
        for l, block in enumerate(blocks, start=1):
            if type(block).__name__ not in BLOCKS:
                raise TypeError(f"block {l} must be a block ({', '.join(BLOCKS)}), got {block!r}")
        for l, (below, here) in enumerate(itertools.pairwise(blocks), start=1):
            if below.n_out != here.n_in:
                raise ValueError(
                    f"block {l + 1} must take n_in = {below.n_out}, the output of block {l}; got n_in = {here.n_in}"
                )
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {loss!r}")
        self.blocks = blocks
        self.loss = LOSSES[loss]

    @property
    def sizes(self) -> list:
        """Widths n[0], ..., n[L]."""
        return [self.blocks[0].n_in, *(block.n_out for block in self.blocks)]

    def init(self, seed=0, dtype="float64"):
        """Draw parameters on the host.

        Parameters
        ----------
        seed : int or numpy.random.Generator
        dtype : "float64" (for proofs) or "float32" (for speed)

        Returns
        -------
        list of dicts, one a block. For the GPU: ``minipc.as_backend(params, like=x)``.
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
        rng = np.random.default_rng(seed)
        return [block.init_params(rng, np.dtype(dtype)) for block in self.blocks]

    def forward(self, params, x):
        """Prediction of the network, Eq. (BP.1); ``x (B, n[0]) -> (B, n[L])``. Cost O(B P)."""
        x = prepare_input(self, params, x)
        check_values(self, x)
        for block, p in zip(self.blocks, params, strict=True):
            x, _ = block.forward(p, x)  # (BP.1)
        return x

    def __repr__(self):
        rows = [("block", "map", "in", "out", "parameters")]
        for l, block in enumerate(self.blocks, start=1):
            rows.append((str(l), block.formula, block.n_in, block.n_out, f"{_count(block):,}"))
        total = sum(_count(block) for block in self.blocks)
        lines = [
            "  ".join(f"{c!s:>{w}}" for c, w in zip(row, (5, 22, 6, 6, 11), strict=True)) for row in rows
        ]
        return "\n".join([*lines, f"loss {self.loss.name}, {total:,} parameters"])

    def save(self, path, params):
        """Write architecture and parameters to one ``.npz`` file: all or nothing, no pickle.

        The file is written under a temporary name beside ``path``, flushed to the disk and renamed, so a
        crash leaves either the old file or the new one.
        """
        check_params(self, params)
        header = {
            "format": 1,
            "loss": self.loss.name,
            "blocks": [[type(block).__name__, block.config()] for block in self.blocks],
        }
        arrays = {f"{l}.{k}": to_numpy(v) for l, p in enumerate(params, start=1) for k, v in p.items()}
        with replacing(path) as file:
            np.savez(file, header=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(cls, path):
        """Read what :meth:`save` wrote: ``(network, params)``. A ValueError names what is wrong with a file."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            header = json.loads(str(arrays.pop("header")))
            net = cls([BLOCKS[name](**config) for name, config in header["blocks"]], loss=header["loss"])
            params = [{k: arrays[f"{l}.{k}"] for k in b.shapes} for l, b in enumerate(net.blocks, start=1)]
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is not a network saved by minipc: {error!r}") from error
        check_params(net, params)
        return net, params


def _count(block):
    return sum(int(np.prod(shape)) for shape in block.shapes.values())


def by_layer(items):
    """Shift a list of blocks' things so that entry l belongs to layer l = 1..L; entry 0 is None."""
    return [None, *items]


# --------------------------------------------------------------------------- the checks at every entrance


def check_params(net, params):
    """Structure, shapes and dtypes of ``params``; returns the dtype of the real numbers in it."""
    L = len(net.blocks)
    if not isinstance(params, list | tuple):
        raise TypeError(f"params must be a list of {L} dicts, one a block, got {type(params).__name__}")
    if len(params) != L:
        raise ValueError(
            f"params must have {L} dicts, one a block, got {len(params)} (parameters of another network?)"
        )
    real = None
    for l, (block, p) in enumerate(zip(net.blocks, params, strict=True), start=1):
        if not isinstance(p, dict):
            raise TypeError(f"params[{l - 1}] must be a dict, got {type(p).__name__}")
        if p.keys() != block.shapes.keys():
            raise ValueError(
                f"params[{l - 1}] must have the entries {', '.join(block.shapes)}; got {', '.join(map(str, p))}"
            )
        for name, shape in block.shapes.items():
            value, symbol = p[name], f"{name}[{l}]"
            check_array(symbol, value, kinds="fc")
            if value.shape != shape:
                hint = " (transposed?)" if value.shape == shape[::-1] else " (parameters of another network?)"
                raise ValueError(f"{symbol} must have shape {shape}, got {value.shape}{hint}")
            kind = real_dtype(value.dtype)
            if real not in (None, kind):
                raise TypeError(f"{symbol} must have the precision of W[1], {real}; got {value.dtype}")
            real = kind
    return real


def check_array(symbol, value, kinds):
    """``value`` is an array of one of the dtype ``kinds`` (NumPy's letters)."""
    if not is_array(value):
        raise TypeError(f"{symbol} must be a NumPy or CuPy array, got {type(value).__name__}")
    if value.dtype.kind not in kinds or value.dtype.itemsize < 4 * (value.dtype.kind in "fc"):
        hint = " (scale integers to floats first, e.g. pixels / 16)" if value.dtype.kind in "iub" else ""
        raise TypeError(f"{symbol} must hold {_KINDS[kinds]}, got {value.dtype}{hint}")


_KINDS = {"fc": "float32 or float64 numbers", "fciub": "numbers"}


def real_dtype(dtype):
    """The dtype of the real and imaginary parts."""
    return np.dtype({"F": "f", "D": "d"}.get(dtype.char, dtype.char))


def cast(value, real):
    """Bring an array to the precision of the parameters; complex numbers (complex step) stay complex."""
    dtype = np.result_type(real, np.complex64) if value.dtype.kind == "c" else real
    return value if value.dtype == dtype else value.astype(dtype)


def prepare(net, params, x, y):
    """Check parameters, input and target before any work; returns ``x (B, n[0])``, ``y (B, n[L])`` to compute with.

    Integer labels become one-hot rows. Raises ValueError or TypeError, naming the symbol, what was
    expected and what was given. Costs one synchronisation on a device (are all values in range?).
    """
    x = prepare_input(net, params, x)
    check_array("y", y, kinds="fciub")
    check_module("y", y, params)
    n, classes = net.blocks[-1].n_out, net.loss.name == "cross_entropy"
    labels = y if classes and y.ndim == 1 else None
    if labels is not None and y.dtype.kind not in "iu":
        raise TypeError(f"y as labels must be integers, got {y.dtype}")
    expected = (len(x),) if labels is not None else (len(x), n)
    if y.shape != expected:
        also = f" or labels {(len(x),)}" if classes and labels is None else ""
        raise ValueError(f"y must have shape {expected}{also} for x of shape {x.shape}; got {y.shape}")
    y = cast(y if labels is None else one_hot(labels, n), x.real.dtype)
    check_values(net, x, y, labels)
    return x, y


def prepare_input(net, params, x):
    """The part of :func:`prepare` that is about ``params`` and ``x``, without a look at the values."""
    real = check_params(net, params)
    check_array("x", x, kinds="fc")
    n = net.blocks[0].n_in
    if x.ndim != 2 or x.shape[1] != n:
        raise ValueError(f"x must have shape (B, {n}), a row a sample; got {x.shape}")
    if len(x) == 0:
        raise ValueError(f"x must have at least one sample, got the empty batch {x.shape}")
    check_module("x", x, params)
    return cast(x, real)


def prepare_layers(net, params, symbol, free, x):
    """Check states or errors of the layers 1..L-1, one (B, n[l]) each; ``free`` has an entry 0 that is not looked at."""
    L, sizes = len(net.blocks), net.sizes
    if not isinstance(free, list | tuple):
        raise TypeError(f"{symbol} must be a list {symbol}[0..{L - 1}], got {type(free).__name__}")
    if len(free) != L:
        raise ValueError(
            f"{symbol} must be a list {symbol}[0..{L - 1}] for {L} blocks, got {len(free)} entries"
        )
    found = [free[0]]
    for l in range(1, L):
        check_array(f"{symbol}[{l}]", free[l], kinds="fc")
        if free[l].shape != (len(x), sizes[l]):
            raise ValueError(f"{symbol}[{l}] must have shape {(len(x), sizes[l])}, got {free[l].shape}")
        check_module(f"{symbol}[{l}]", free[l], params)
        found.append(cast(free[l], x.real.dtype))
    return found


def one_hot(labels, n):
    """Integer labels (B,) -> rows (B, n) of zeros and a one."""
    return labels[:, None] == array_module(labels).arange(n)


def check_module(symbol, value, params):
    """``value`` lives where the parameters live."""
    here, there = array_module(value).__name__, array_module(*params[0].values()).__name__
    if here != there:
        raise TypeError(
            f"{symbol} is a {here} array but the parameters are {there} arrays: move one of them, "
            f"e.g. params = minipc.as_backend(params, like=x)"
        )


def check_values(net, x, y=None, labels=None):
    """Finite input and target, labels in range, distributions that sum to one: one synchronisation for all."""
    xp = array_module(x)
    tests = [("x must be finite", xp.isfinite(x), x)]  # message, what holds where, the values it is about
    if labels is not None:
        n = net.blocks[-1].n_out
        tests.append((f"y must hold labels 0..{n - 1}", (labels >= 0) & (labels < n), labels))
    elif y is not None:
        tests.append(("y must be finite", xp.isfinite(y), y))
        if net.loss.name == "cross_entropy":  # (LOSS.2): y - softmax is the derivative only then
            total = y.real.sum(axis=1)
            off = total - 1
            tests.append(("y must be rows that sum to one, or integer labels", off * off < 1e-6, total))
            tests.append(("y must not be negative: logits go into the network, not into y", y.real >= 0, y))
    if bool(xp.stack([holds.all() for _, holds, _ in tests]).all()):
        return
    for message, holds, value in tests:
        holds = to_numpy(holds)
        if not holds.all():
            at = np.unravel_index(np.argmin(holds), holds.shape)
            raise ValueError(f"{message}; got {to_numpy(value)[at]} in sample {at[0]}")


def check_loss(net, params, x, loss):
    """Stop before inference if the feedforward loss is not finite, and say where that began."""
    if not bool(array_module(loss).isfinite(loss).all()):
        raise FloatingPointError(f"the loss is not finite: {where_not_finite(net, params, x)}")


def where_not_finite(net, params, x):
    """The first block in which a value that is not finite appears, in words."""
    for l, (block, p) in enumerate(zip(net.blocks, params, strict=True), start=1):
        for name, value in p.items():
            if not np.isfinite(to_numpy(value)).all():
                return f"parameter {name}[{l}] of block {l} ({block.formula}) holds NaN or infinity"
        x, _ = block.forward(p, x)
        if not np.isfinite(to_numpy(x)).all():
            return f"it first appeared in the output of block {l} ({block.formula})"
    return f"every block's output is finite, so it appeared in the loss ({net.loss.name})"
