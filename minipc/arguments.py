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


def check_share(name, value):
    """A number in [0, 1): what is kept of something, less than all of it."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value}")


def check_number_between(name, value, low, high=None):
    """A finite number from ``low`` to ``high``, both allowed; without ``high`` from ``low`` on."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not low <= value < math.inf or (high is not None and value > high):
        bounds = f"be finite and at least {low}" if high is None else f"lie between {low} and {high}"
        raise ValueError(f"{name} must {bounds}, got {value}")


def check_optimizer(name, value):
    """Something with the verbs ``init`` and ``step``, and no class."""
    if isinstance(value, type) or not (hasattr(value, "init") and hasattr(value, "step")):
        raise TypeError(f"{name} must be one such as minipc.SGD(1e-3), got {value!r}")


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
        if seed is None:
            raise TypeError
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed must be an integer >= 0 or a numpy.random.Generator, got {seed!r}") from None


def check_params(net, params):
    """Structure, shapes and dtypes of ``params``; returns the dtype of the real numbers in it.

    None if the network has no parameter at all.
    """
    if not hasattr(net, "blocks"):
        raise TypeError(f"net must be a Network, got {type(net).__name__}")
    L = len(net.blocks)
    if not isinstance(params, list | tuple):
        raise TypeError(f"params must be a list of {L} dicts, one a block, got {type(params).__name__}")
    if len(params) != L:
        raise ValueError(
            f"params must have {L} dicts, one a block, got {len(params)} (parameters of another network?)"
        )
    real = first = home = passed = None
    for l, (block, p) in enumerate(zip(net.blocks, params, strict=True), start=1):
        shapes = block.shapes
        if not isinstance(p, dict):
            raise TypeError(f"params[{l - 1}] must be a dict, got {type(p).__name__}")
        if p.keys() != shapes.keys():
            expected = f"the entries {', '.join(shapes)}" if shapes else "no entries"
            raise ValueError(f"params[{l - 1}] must have {expected}; got {', '.join(map(str, p)) or 'none'}")
        for name, shape in shapes.items():
            value = p[name]
            if passed == (type(value), getattr(value, "dtype", None)) and value.shape == shape:
                continue  # of the kind that has passed
            symbol = f"{name}[{l}]"
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
            passed = type(value), value.dtype
    return real


def check_array(symbol, value, kinds):
    """``value`` is an array of one of the dtype ``kinds`` (NumPy's letters)."""
    if not is_array(value):
        raise TypeError(f"{symbol} must be a NumPy or CuPy array, got {type(value).__name__}")
    if value.dtype.kind not in kinds or (value.dtype.kind in "fc" and value.dtype.char not in "fdFD"):
        hint = " (scale integers to floats first, e.g. pixels / 16)" if value.dtype.kind in "iub" else ""
        raise TypeError(f"{symbol} must hold {_KINDS[kinds]}, got {value.dtype}{hint}")


_KINDS = {"fc": "float32 or float64 numbers", "fciub": "numbers", "iu": "integers, indices of an Embedding"}


def real_dtype(dtype):
    """The dtype of the real and imaginary parts."""
    return np.dtype({"F": "f", "D": "d"}.get(dtype.char, dtype.char))


def cast(value, real):
    """Bring an array to the precision of the parameters; complex numbers (complex step) stay complex."""
    dtype = np.result_type(real, np.complex64) if value.dtype.kind == "c" else real
    return value if value.dtype == dtype else value.astype(dtype)


def prepare(net, params, x, y):
    """Check parameters, input and target before any work; returns ``x (B, ...)``, ``y (B, n[L])`` to compute with.

    Integer labels become one-hot rows; ``y`` None stays None only in :func:`prepare_layers`. Raises
    ValueError or TypeError, naming the symbol, what was expected and what was given. Costs one
    synchronisation on a device (are all values in range?).
    """
    x = prepare_shape(net, params, x)
    y, tests = prepare_target(net, params, x, y)
    check_values([input_test(net, x), *tests])
    return x, y


def prepare_input(net, params, x):
    """The part of :func:`prepare` that is about ``params`` and ``x``."""
    x = prepare_shape(net, params, x)
    check_values([input_test(net, x)])
    return x


def input_test(net, x):
    """The test that the values of ``x`` have to pass, for :func:`check_values`."""
    if takes_integers(net):
        n = net.blocks[0].vocabulary
        return f"x must hold indices 0..{n - 1}", (x >= 0) & (x < n), x
    return "x must be finite", array_module(x).isfinite(x), x


def takes_integers(net) -> bool:
    """Is the input a table of indices (an Embedding comes first)?"""
    return getattr(net.blocks[0], "integer_input", False)


def prepare_layers(net, params, x, y, symbol, free, precision_check):
    """Check a verb's arguments: as :func:`prepare`, and states or errors of the layers 1..L-1, (B, *net.shapes[l]).

    Entry 0 of ``free`` is not looked at; ``y`` may be None. Returns ``free, x, y`` to compute with and what
    ``precision_check()`` returns. One synchronisation for all values.
    """
    x = prepare_shape(net, params, x)
    L, xp = len(net.blocks), array_module(x)
    y, tests = (None, []) if y is None else prepare_target(net, params, x, y)
    if not isinstance(free, list | tuple):
        raise TypeError(f"{symbol} must be a list {symbol}[0..{L - 1}], got {type(free).__name__}")
    if len(free) != L:
        raise ValueError(
            f"{symbol} must be a list {symbol}[0..{L - 1}] for {L} blocks, got {len(free)} entries"
        )
    found = [free[0]]
    tests = [input_test(net, x), *tests]
    dtype = real_precision(params, x)
    for l in range(1, L):
        name, value = f"{symbol}[{l}]", free[l]
        check_array(name, value, kinds="fc")
        if value.shape != (len(x), *net.shapes[l]):
            raise ValueError(f"{name} must have shape {(len(x), *net.shapes[l])}, got {value.shape}")
        check_module(name, value, params)
        found.append(cast(value, dtype))
        tests.append((f"{name} must be finite", xp.isfinite(found[l]), found[l]))
    check_values(tests)
    return found, x, y, precision_check()


def prepare_shape(net, params, x):
    """``params`` and ``x`` without a look at the values; ``x`` in the precision of the parameters."""
    if getattr(net, "recurrent", False):
        raise TypeError("net must be a Network, got a RecurrentNetwork: take bptt or rtrl, on sequences")
    real, shape, indices = check_params(net, params), net.shapes[0], takes_integers(net)
    check_array("x", x, kinds="iu" if indices else "fc")
    if x.shape[1:] != shape or x.ndim == 0:
        expected = ", ".join(["B", *map(str, shape)]) + ("," if not shape else "")
        raise ValueError(f"x must have shape ({expected}), a row a sample; got {x.shape}")
    if len(x) == 0:
        raise ValueError(f"x must have at least one sample, got the empty batch {x.shape}")
    check_module("x", x, params)
    return x if indices or real is None else cast(x, real)


def real_precision(params, x):
    """The dtype of real numbers to compute with: that of the parameters, or of ``x`` if there are none."""
    return real_dtype(first_parameter(params, x).dtype)


def first_parameter(params, otherwise):
    """Any array among the parameters (they agree in precision and place); ``otherwise`` if there is none."""
    return next((value for p in params for value in p.values()), otherwise)


def prepare_target(net, params, x, y):
    """``y`` as rows in the precision of ``x``, and the tests that its values have to pass."""
    y, tests = prepare_labels(net, params, x, y)
    if y.ndim == 1 and net.loss.name == "cross_entropy":
        y = cast(one_hot(y, net.shapes[-1][0]), real_precision(params, x))
    return y, tests


def prepare_labels(net, params, x, y):
    """:func:`prepare_target`, but integer labels stay what they are: a row for each takes room."""
    check_array("y", y, kinds="fciub")
    check_module("y", y, params)
    (n,), classes, xp = net.shapes[-1], net.loss.name == "cross_entropy", array_module(y)
    labels = classes and y.ndim == 1
    if labels and y.dtype.kind not in "iu":
        raise TypeError(f"y as labels must be integers, got {y.dtype}")
    expected = (len(x),) if labels else (len(x), n)
    if y.shape != expected:
        also = f" or labels {(len(x),)}" if classes and not labels else ""
        raise ValueError(f"y must have shape {expected}{also} for x of shape {x.shape}; got {y.shape}")
    if labels:
        return y, [(f"y must hold labels 0..{n - 1}", (y >= 0) & (y < n), y)]
    y = cast(y, real_precision(params, x))
    tests = [("y must be finite", xp.isfinite(y), y)]
    if classes:  # (LOSS.2): y - softmax is the derivative only then
        total = y.real.sum(axis=1)
        off = total - 1
        tests.append(("y must be rows that sum to one, or integer labels", off * off < 1e-6, total))
        tests.append(("y must not be negative: logits go into the network, not into y", y.real >= 0, y))
    if net.loss.name == "binary_cross_entropy":  # (LOSS.4) is bounded below only then
        tests.append(("y must lie between 0 and 1", (y.real >= 0) & (y.real <= 1), y))
    return y, tests


def one_hot(labels, n):
    """Integer labels (B,) -> rows (B, n) of zeros and a one."""
    return labels[:, None] == array_module(labels).arange(n)


def check_module(symbol, value, params):
    """``value`` lives where the parameters live."""
    here = array_module(value).__name__
    there = array_module(first_parameter(params, value)).__name__
    if here != there:
        raise TypeError(
            f"{symbol} is a {here} array but the parameters are {there} arrays: move one of them, "
            f"e.g. params = minipc.as_backend(params, like=x)"
        )


def check_values(tests):
    """Tests are (message, where it holds, the values it is about), (B, ...): one synchronisation for all of them.

    A fourth entry are the names of the first axes, where they are others than ("sample",).
    """
    xp = array_module(tests[0][1])
    if bool(xp.stack([holds.all() for _, holds, *_ in tests]).all()):
        return
    for message, holds, value, *axes in tests:
        holds = to_numpy(holds)
        if not holds.all():
            at = np.unravel_index(np.argmin(holds), holds.shape)
            words = zip(axes[0] if axes else ("sample",), at, strict=False)
            place = ", ".join(f"{word} {i}" for word, i in words)
            raise ValueError(f"{message}; got {to_numpy(value)[at]} in {place}")
