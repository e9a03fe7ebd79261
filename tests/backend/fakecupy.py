"""A stand-in for CuPy on a machine without a GPU. It computes with NumPy and refuses to mix with it.

Stricter than CuPy on purpose: CuPy also accepts ``np.tanh(x)`` by dispatch, which makes code work in some
places and fail in others (``np.zeros``, ``np.asarray``). Here every NumPy call on a device array raises.
Host synchronisations are counted. What CuPy 14 lacks was measured on its wheel; a test compares again
wherever the wheel is installed.
"""

import contextlib
import operator
import sys
import types

import numpy as np
import pytest

ABSENT = frozenset(
    """block busday_count datetime64 einsum_path errstate float128 frompyfunc geomspace insert isnat longdouble matrix
    matvec memmap nanpercentile nanquantile ndenumerate nditer object_ polyder polyint recarray spacing str_
    timedelta64 unstack vecdot vecmat void""".split()
)
ABSENT_LINALG = frozenset(
    "diagonal matrix_norm multi_dot outer svdvals tensordot trace vecdot vector_norm".split()
)
ABSENT_METHODS = frozenset("ctypes getfield resize setfield setflags to_device".split())
NO_KEYWORD = {"einsum": {"out", "order", "casting"}}  # of one function
NO_UFUNC_KEYWORD = {"where", "order", "subok", "signature", "axes", "axis", "keepdims"}
NO_REDUCTION_KEYWORD = {"where", "initial"}
WITH_AT = frozenset("add subtract maximum minimum".split())  # the ufuncs that scatter with repeated indices
REDUCTIONS = frozenset("sum prod max min mean all any argmax argmin".split())
_syncs = 0


@contextlib.contextmanager
def count_syncs():
    """``with count_syncs() as syncs: ...; assert syncs() == 0``."""
    start = _syncs
    yield lambda: _syncs - start


def _sync(value):
    """Count one wait of the host for the device."""
    global _syncs
    _syncs += 1
    return value


def _unwrap(value, where):
    """Device array -> its buffer; a NumPy array is refused, NumPy scalars and numbers pass."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"{where}: NumPy array mixed with a device array")
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(v, where) for v in value)
    return value


def _wrap(value):
    """Buffer -> device array; reductions stay 0-d arrays, as on the device."""
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(np.asarray(value))
    if isinstance(value, list | tuple):
        wrapped = [_wrap(v) for v in value]
        return type(value)(*wrapped) if hasattr(value, "_fields") else type(value)(wrapped)
    return value


def _call(function, name, args, kwargs, forbidden=frozenset()):
    """Call a NumPy function on the buffers."""
    if bad := forbidden & kwargs.keys():
        raise TypeError(f"cupy.{name} does not support {sorted(bad)}")
    kwargs = {k: _unwrap(v, name) for k, v in kwargs.items()}
    return _wrap(function(*_unwrap(args, name), **kwargs))


class DeviceArray:
    """Array that lives 'on the device': no implicit way back to the host."""

    __array_ufunc__ = None  # np.tanh(x) and numpy_array + x raise TypeError
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, host):
        self._host = host

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_function__(self, function, *_):
        raise TypeError(f"{function.__name__}: a NumPy function was called on a device array")

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)

    def __len__(self):
        return len(self._host)

    def __getitem__(self, key):
        return _wrap(self._host[_unwrap(key, "index")])

    def __setitem__(self, key, value):
        self._host[_unwrap(key, "index")] = _unwrap(value, "assignment")

    def __getattr__(self, name):
        if name.startswith("__") or name in ABSENT_METHODS:  # else __array_interface__ would leak the buffer
            raise AttributeError(name)
        attribute = getattr(self._host, name)
        forbidden = NO_REDUCTION_KEYWORD if name in REDUCTIONS else frozenset()
        if callable(attribute):
            return lambda *args, **kwargs: _call(attribute, name, args, kwargs, forbidden)
        return _wrap(attribute)

    def __float__(self):
        return _sync(float(self._host))

    def __int__(self):
        return _sync(int(self._host))

    def __index__(self):
        return _sync(operator.index(self._host))

    def __complex__(self):
        return _sync(complex(self._host))

    def __bool__(self):
        return _sync(bool(self._host))

    def __repr__(self):
        return _sync(repr(self._host))

    def __format__(self, spec):
        return _sync(format(self._host, spec))

    def item(self, *args):
        """One number, on the host."""
        return _sync(self._host.item(*args))

    def tolist(self):
        """Lists of numbers, on the host."""
        return _sync(self._host.tolist())

    def get(self):
        """A copy on the host."""
        return _sync(self._host.copy())


def _binary(name, reflected=False, in_place=False):
    """An operator of two operands."""
    function = getattr(operator, f"i{name}" if in_place else f"{name}_" if name in ("and", "or") else name)

    def method(self, other):
        other = _unwrap(other, name)
        if isinstance(other, list | tuple):
            raise TypeError(f"{name}: lists are not accepted")
        if in_place:
            self._host = function(self._host, other)
            return self
        return _wrap(function(other, self._host) if reflected else function(self._host, other))

    return method


def _unary(name):
    """An operator of one operand."""
    function = getattr(operator, name)
    return lambda self: _wrap(function(self._host))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    setattr(DeviceArray, f"__{_name}__", _binary(_name))
    setattr(DeviceArray, f"__r{_name}__", _binary(_name, reflected=True))
    if _name != "matmul":  # CuPy has no __imatmul__
        setattr(DeviceArray, f"__i{_name}__", _binary(_name, in_place=True))
for _name in ("gt", "lt", "ge", "le", "eq", "ne"):
    setattr(DeviceArray, f"__{_name}__", _binary(_name))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(DeviceArray, f"__{_name}__", _unary(_name))


class _Module(types.ModuleType):
    """A NumPy module seen through the device: same names, less what CuPy lacks."""

    def __init__(self, name, host, absent):
        super().__init__(name)
        self._numpy, self._absent = host, absent

    def __getattr__(self, name):
        if name.startswith("__") or name in self._absent:
            raise AttributeError(f"{self.__name__} has no attribute {name!r}")
        function = getattr(self._numpy, name)
        if not callable(function) or isinstance(function, type):
            return function  # constants, dtypes, finfo
        ufunc = isinstance(function, np.ufunc)
        forbidden = NO_UFUNC_KEYWORD if ufunc else NO_REDUCTION_KEYWORD if name in REDUCTIONS else set()

        def call(*args, **kwargs):
            if ufunc and any(isinstance(a, list | tuple) for a in args):
                raise TypeError(f"cupy.{name}: lists are not accepted")
            return _call(function, name, args, kwargs, forbidden | NO_KEYWORD.get(name, set()))

        if name in WITH_AT:
            call.at = lambda *args: _call(function.at, f"{name}.at", args, {})
        return call


class _FakeCuPy(_Module):
    """The module ``cupy``."""

    ndarray = DeviceArray
    linalg = _Module("cupy.linalg", np.linalg, ABSENT_LINALG)
    cuda = types.SimpleNamespace(is_available=lambda: True)

    @staticmethod
    def asarray(value, dtype=None):
        """The one way in: host data, or a device array. A list of device arrays is refused."""
        if isinstance(value, DeviceArray):
            return DeviceArray(np.asarray(value._host, dtype))
        if isinstance(value, list | tuple) and any(isinstance(v, DeviceArray) for v in value):
            raise TypeError("Implicit conversion to a NumPy array is not allowed; use stack.")
        return DeviceArray(np.array(value, dtype))

    array = asarray


cupy = _FakeCuPy("cupy", np, ABSENT)


def map_arrays(function, tree):
    """The same nested lists, dicts and (named) tuples with ``function`` applied to every NumPy array."""
    if isinstance(tree, np.ndarray):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_arrays(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        moved = [map_arrays(function, value) for value in tree]
        return type(tree)(*moved) if hasattr(tree, "_fields") else type(tree)(moved)
    return tree


def to_device(tree):
    """Copy every array to the stand-in, read-only there (CuPy has no such thing; it shows an edited argument)."""

    def put(array):
        array = cupy.asarray(array)
        array._host.flags.writeable = False
        return array

    return map_arrays(put, tree)


@pytest.fixture
def fake_device(monkeypatch):
    """Let ``array_module`` find the stand-in where CuPy would be."""
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy
