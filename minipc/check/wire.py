"""How values travel between two processes: as lines of JSON, from which only data can be built.

Nothing that is read can run code: there is no pickle, an array is its dtype, shape and bytes, a network its
configuration. Lists and JSON's own values are themselves; everything else is a dict with one key, its kind.
"""

import base64
import collections
import json
import math

import numpy as np

from ..dag import Dag
from ..network import Network
from ..recurrent import RecurrentNetwork
from ..registry import BLOCKS, CELLS, build
from .trees import as_numpy

NETWORKS = {kind.__name__: kind for kind in (Network, RecurrentNetwork, Dag)}
NUMBERS = "biufc"  # kinds of dtype that may travel: bool, integers, real and complex numbers


class Other:
    """Stands for a value that is no data, a generator, a function, ...; its class has the name of the value's class."""


def refuse(value):
    """What is no data may not be sent: raises a TypeError."""
    kind = type(value).__name__
    raise TypeError(f"only arrays, numbers, strings and networks can go to another process, not a {kind}")


def stand_in(value):
    """What is no data is sent as an :class:`Other`, for the receiver to judge."""
    return {"other": type(value).__name__}


def dump(value, other=refuse) -> bytes:
    """``value`` as one line; ``other`` is asked about what is no data.

    Raises a ValueError where the value contains itself, or an integer is too long for JSON.
    """
    try:
        return json.dumps(pack(value, other)).encode() + b"\n"
    except RecursionError:
        raise ValueError("the value is nested too deeply, or contains itself") from None


def load(line):
    """The value that :func:`dump` made this line of; raises a ValueError if it is none.

    Examples
    --------
    >>> load(dump({"s": (None, np.ones(2)), 1: 2j}))
    {'s': (None, array([1., 1.])), 1: 2j}
    """
    try:
        return unpack(json.loads(line))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"no message: {error!r}") from None


def pack(value, other):
    """``value`` as JSON can hold it; arrays of other libraries become NumPy's."""
    if isinstance(value, np.generic) and value.dtype.kind in NUMBERS:
        return {"scalar": _pack_array(np.asarray(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, list):
        return [pack(v, other) for v in value]
    if hasattr(value, "_fields") or hasattr(value, "grads"):  # a named tuple, or some other Gradient
        names = getattr(value, "_fields", ("grads",))
        return {"named": [type(value).__name__, list(names), [pack(getattr(value, n), other) for n in names]]}
    if isinstance(value, tuple):
        return {"tuple": [pack(v, other) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[pack(k, other), pack(v, other)] for k, v in value.items()]}
    kind = type(value)
    if kind in NETWORKS.values():
        return {"network": [kind.__name__, value.config()]}
    if kind in (BLOCKS | CELLS).values():
        return {"block": [kind.__name__, value.config()]}
    array = as_numpy(value)
    return {"array": _pack_array(array)} if array.dtype.kind in NUMBERS else other(value)


def _pack_array(array):
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return [array.dtype.str, list(array.shape), data]


def unpack(value):
    """The value that :func:`pack` packed; what it did not pack raises some error, see :func:`load`."""
    if isinstance(value, list):
        return [unpack(v) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, data),) = value.items()
    return UNPACK[kind](data)


def _unpack_array(data):
    dtype, shape, text = data
    dtype, data = np.dtype(dtype), base64.b64decode(text, validate=True)
    if (
        dtype.kind not in NUMBERS
        or min(shape, default=0) < 0
        or len(data) != dtype.itemsize * math.prod(shape)
    ):
        raise ValueError(f"no array of numbers: {dtype}, {shape}, {len(data)} bytes")
    return np.frombuffer(bytearray(data), dtype).reshape(shape)  # of a bytearray it can be written to


def _unpack_named(data):
    name, fields, values = data
    return collections.namedtuple(name, fields)(*map(unpack, values))


UNPACK = {
    "scalar": lambda data: _unpack_array(data)[()],
    "complex": lambda data: complex(*data),
    "tuple": lambda data: tuple(map(unpack, data)),
    "named": _unpack_named,
    "dict": lambda data: {unpack(k): unpack(v) for k, v in data},
    "network": lambda data: NETWORKS[data[0]].from_config(data[1]),
    "block": lambda data: build(*data),
    "array": _unpack_array,
    "other": lambda name: type(name, (Other,), {})(),
}
