"""Checks at every entrance: an error names the symbol, what was expected and what was given, before any work.

Values that must be looked at (finite? in range?) cost one synchronisation with a device, all of them together.
"""

import math

import numpy as np  # host only: dtypes, generators, messages

from .backend import array_module, is_array, to_numpy


def is_number(value) -> bool:
    """A real number of Python or NumPy; a bool is none."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def check_positive_number(name, value):
    """A positive finite real number."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")


def check_count(name, value, *, least):
    """An integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        bound = "not be negative" if least == 0 else f"be at least {least}"
        raise ValueError(f"{name} must {bound}, got {value}")


def check_word(name, value, known):
    """One of the known words."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")


def float_dtype(dtype):
    """float32 or float64, as a NumPy dtype."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}") from None
    if found not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {found}")
    return found


def generator(seed):
    """The generator of a seed; a generator is passed on."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed must be an integer >= 0 or a numpy.random.Generator, got {seed!r}") from None


def check_params(net, params):
    """Structure, shapes and dtypes of ``params``; returns the dtype of the real numbers in it."""
    if not hasattr(net, "blocks"):
        raise TypeError(f"net must be a Network, got {type(net).__name__}")
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
            if real is None:
                real, first, home = real_dtype(value.dtype), symbol, array_module(value).__name__
            if real_dtype(value.dtype) != real:
                raise TypeError(f"{symbol} must have the precision of {first}, {real}; got {value.dtype}")
            if array_module(value).__name__ != home:
                raise TypeError(
                    f"{symbol} is a {array_module(value).__name__} array but {first} is a {home} array: "
                    f"move all of them, minipc.as_backend(params, like=x)"
                )
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
