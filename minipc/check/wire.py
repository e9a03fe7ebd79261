"""How values travel between two processes: as lines of JSON, from which only data can be built.

Nothing that is read can run code: there is no pickle, an array is its dtype, shape and bytes, a network its
configuration. Lists and JSON's own values are themselves; everything else is a dict with one key, its kind.
"""

import base64
import collections
import json
import math

import numpy as np

from ..backend import to_numpy
from ..dag import Dag
from ..network import Network
from ..recurrent import RecurrentNetwork
from ..registry import BLOCKS, CELLS, build

NETWORKS = {kind.__name__: kind for kind in (Network, RecurrentNetwork)}
NUMBERS = "biufc"  # kinds of dtype that may travel: bool, integers, real and complex numbers


class Other:
    """Stands for a result that is no data: a generator, a function, an array of objects."""

    def __init__(self, kind):
        self.kind = kind

    def __repr__(self):
        return f"<{self.kind}>"


def refuse(value):
    """What is no data may not be sent: raises a TypeError."""
    raise TypeError(f"{_kind(value)} cannot be handed to another process: only arrays, numbers and networks can")


def stand_in(value):
    """What is no data is sent as an :class:`Other`, for the receiver to judge."""
    return {"other": _kind(value)}


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
    if isinstance(value, tuple):
        values = [pack(v, other) for v in value]
        names = getattr(value, "_fields", None)
        return {"named": [type(value).__name__, list(names), values]} if names else {"tuple": values}
    if isinstance(value, dict):
        return {"dict": [[pack(k, other), pack(v, other)] for k, v in value.items()]}
    kind = type(value)
    if kind in NETWORKS.values():
        return {"network": [kind.__name__, value.config()]}
    if kind is Dag:
        return {"dag": value.config()}
    if kind in (BLOCKS | CELLS).values():
        return {"block": [kind.__name__, value.config()]}
    array = _as_array(value)
    return other(value) if array is None else {"array": _pack_array(array)}


def _as_array(value):
    """A NumPy array of numbers of another library's array, or None."""
    if not hasattr(value, "__array__"):
        return None
    try:
        if hasattr(value, "detach"):  # torch: from its graph, and from its device
            value = value.detach().cpu()
        array = to_numpy(value)
    except (RuntimeError, TypeError, ValueError):
        return None
    return array if array.dtype.kind in NUMBERS else None


def _pack_array(array):
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return [array.dtype.str, list(array.shape), data]


def _kind(value):
    """Name of a type, and of the dtype if it has one."""
    kind, dtype = type(value).__name__, getattr(value, "dtype", None)
    return kind if dtype is None else f"{kind} of {dtype}"


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
    if dtype.kind not in NUMBERS or min(shape, default=0) < 0 or len(data) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"no array of numbers: {dtype}, {shape}, {len(data)} bytes")
    return np.frombuffer(bytearray(data), dtype).reshape(shape)  # of a bytearray it can be written to


def _unpack_named(data):
    name, fields, values = data
    return collections.namedtuple(name, fields)(*map(unpack, values))


def _unpack_dag(config):
    blocks = [build(*block) for block in config["blocks"]]
    return Dag(blocks, config["parents"], loss=config["loss"])


UNPACK = {
    "scalar": lambda data: _unpack_array(data)[()],
    "complex": lambda data: complex(*data),
    "tuple": lambda data: tuple(map(unpack, data)),
    "named": _unpack_named,
    "dict": lambda data: {unpack(k): unpack(v) for k, v in data},
    "network": lambda data: NETWORKS[data[0]].from_config(data[1]),
    "dag": _unpack_dag,
    "block": lambda data: build(*data),
    "array": _unpack_array,
    "other": Other,
}
