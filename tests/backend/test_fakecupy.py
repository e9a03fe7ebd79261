"""The stand-in itself: it must refuse what CuPy refuses, and accept what CuPy accepts."""

import numpy as np
import pytest

from backend import fakecupy
from backend.fakecupy import DeviceArray, count_syncs

HOST = np.arange(1.0, 7.0).reshape(2, 3)

LEAKS = {
    "np.zeros + x": lambda x, xp: np.zeros(x.shape) + x,
    "x + np.zeros": lambda x, xp: x + np.zeros(x.shape),
    "x += np.zeros": lambda x, xp: x.__iadd__(np.zeros(x.shape)),
    "x @ np.eye": lambda x, xp: x @ np.eye(3),
    "np.eye @ x": lambda x, xp: np.eye(2) @ x,
    "x > np.zeros": lambda x, xp: x > np.zeros(x.shape),
    "x == np.zeros": lambda x, xp: x == np.zeros(x.shape),
    "mask & host mask": lambda x, xp: (x > 0) & np.ones(x.shape, bool),
    "x * 0-d array": lambda x, xp: x * np.array(0.5),
    "x + list": lambda x, xp: x + [1.0, 2.0, 3.0],
    "np.tanh(x)": lambda x, xp: np.tanh(x),
    "np.sum(x)": lambda x, xp: np.sum(x),
    "np.where(x)": lambda x, xp: np.where(x > 0, x, 0.0),
    "np.stack([x])": lambda x, xp: np.stack([x, x]),
    "np.einsum": lambda x, xp: np.einsum("bi->b", x),
    "np.linalg.norm": lambda x, xp: np.linalg.norm(x),
    "np.add.at": lambda x, xp: np.add.at(np.zeros(3), [0], x[0]),
    "xp.add.at(host)": lambda x, xp: xp.add.at(np.zeros(3), xp.asarray([0, 0]), x[0, :2]),
    "xp.add.at(host index)": lambda x, xp: xp.add.at(xp.zeros(3), np.array([0, 0]), x[0, :2]),
    "xp.multiply.at": lambda x, xp: xp.multiply.at(xp.zeros(3), xp.asarray([0, 0]), x[0, :2]),
    "np.asarray(x)": lambda x, xp: np.asarray(x),
    "np.array([x])": lambda x, xp: np.array([x, x]),
    "x[...] = host": lambda x, xp: x.__setitem__(..., np.zeros(x.shape)),
    "x[host index]": lambda x, xp: x[np.array([0, 1])],
    "host[x]": lambda x, xp: np.arange(9)[x],
    "xp.where(host)": lambda x, xp: xp.where(np.ones(x.shape, bool), x, 0.0),
    "xp.stack([host])": lambda x, xp: xp.stack([x, np.zeros(x.shape)]),
    "xp.concatenate([host])": lambda x, xp: xp.concatenate([x, np.zeros(x.shape)]),
    "xp.tanh(host)": lambda x, xp: xp.tanh(np.zeros(3)),
    "xp.tanh(x, out=host)": lambda x, xp: xp.tanh(x, out=np.zeros(x.shape)),
    "xp.linalg.solve(host)": lambda x, xp: xp.linalg.solve(np.eye(2), x),
    "xp.einsum(out=)": lambda x, xp: xp.einsum("bi->b", x, out=xp.zeros(2)),
    "ufunc(where=)": lambda x, xp: xp.tanh(x, where=x > 0),
    "sum(where=)": lambda x, xp: x.sum(where=x > 0),
    "xp.sum(initial=)": lambda x, xp: xp.sum(x, initial=1.0),
    "list of 0-d arrays": lambda x, xp: xp.array([x[0, 0], x[0, 1]]),
    "list to a ufunc": lambda x, xp: xp.tanh([0.0, 1.0]),
    "hidden initial state": lambda x, xp: xp.tanh(x @ xp.ones((3, 4)) + np.zeros((2, 4))),
    "absent function": lambda x, xp: xp.vecdot(x, x),
    "absent errstate": lambda x, xp: xp.errstate(all="ignore"),
    "absent in linalg": lambda x, xp: xp.linalg.vector_norm(x),
    "absent method": lambda x, xp: x.setflags(write=False),
    "a dict key": lambda x, xp: {x: 1},
}


@pytest.mark.parametrize("name", LEAKS)
def test_it_can_say_no(name, fake_device):
    """Every mixture with NumPy, every absent name, every missing keyword."""
    with pytest.raises((TypeError, AttributeError)):
        LEAKS[name](fake_device.asarray(HOST), fake_device)


def test_a_refusal_names_the_place(fake_device):
    """So that a red test can be read."""
    x = fake_device.asarray(HOST)
    with pytest.raises(TypeError, match="matmul: NumPy array mixed with a device array"):
        x @ np.eye(3)
    with pytest.raises(TypeError, match=r"cupy.tanh: lists are not accepted"):
        fake_device.tanh([1.0])
    with pytest.raises(AttributeError, match="cupy has no attribute 'vecdot'"):
        fake_device.vecdot(x, x)


ACCEPTED = {
    "arithmetic": lambda x, xp: (2 * x + 1 - x / 3) ** 2 - (-x) + (+x),
    "reflected": lambda x, xp: 1 / x + (2 - x) + 2.0**x,
    "whole numbers": lambda x, xp: (x // 2) % 2,
    "NumPy scalar": lambda x, xp: np.float64(2) * x + x * np.float32(0.5),
    "abs": lambda x, xp: abs(x - 3),
    "matmul": lambda x, xp: x @ x.T,
    "comparisons": lambda x, xp: (x > 2) & (x < 6) | ~(x != 4) ^ (x >= 5) & (x <= 5) | (x == 1),
    "boolean factor": lambda x, xp: x * (x > 3),
    "slices": lambda x, xp: x[None, :, 1:],
    "integer index": lambda x, xp: x[xp.asarray([1, 0, 1])],
    "boolean index": lambda x, xp: x[x > 2],
    "reductions": lambda x, xp: x.sum(axis=0, keepdims=True) + x.max() - x.mean(axis=1, keepdims=True),
    "argmax": lambda x, xp: x.argmax(axis=1),
    "all": lambda x, xp: (x > 0).all() & xp.isfinite(x).all(),
    "astype": lambda x, xp: x.astype(np.float32),
    "real": lambda x, xp: (x * 1j).real + (x + 1j * x).imag + x.conj(),
    "reshape": lambda x, xp: x.reshape(3, 2).transpose(1, 0).ravel(),
    "where": lambda x, xp: xp.where(x > 3, x, 0.1),
    "stack": lambda x, xp: xp.stack([x, 2 * x], axis=1),
    "concatenate": lambda x, xp: xp.concatenate([x] * 3, axis=1),
    "repeat": lambda x, xp: xp.repeat(x, 2, axis=0),
    "like": lambda x, xp: xp.zeros_like(x) + xp.ones_like(x) + xp.full_like(x, 0.5),
    "new arrays": lambda x, xp: xp.zeros((2, 3), x.dtype) + xp.eye(3, dtype=x.dtype)[:2] + xp.arange(3),
    "einsum": lambda x, xp: xp.einsum("bi,bj->bij", x, x, optimize=True),
    "broadcast_to": lambda x, xp: xp.broadcast_to(x, (4, 2, 3)),
    "ufuncs": lambda x, xp: xp.tanh(x) + xp.log1p(xp.exp(-x)) - xp.minimum(x, 3) + xp.expm1(-x),
    "solve": lambda x, xp: xp.linalg.solve(x @ x.T, x),
    "inv": lambda x, xp: xp.linalg.inv(x @ x.T),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_accepts_what_cupy_accepts(name, fake_device):
    """With NumPy's numbers and dtype, on the device, without a synchronisation."""
    expected = ACCEPTED[name](HOST, np)
    with count_syncs() as syncs:
        actual = ACCEPTED[name](fake_device.asarray(HOST), fake_device)
        assert syncs() == 0
    assert isinstance(actual, DeviceArray)
    assert actual.dtype == expected.dtype
    assert np.array_equal(actual.get(), expected)


def test_in_place_operations_and_out_change_the_array(fake_device):
    """Buffers made on the device may be reused."""
    x, out = fake_device.asarray(HOST), fake_device.zeros((2, 3))
    x += 1
    x *= 2
    fake_device.tanh(x, out=out)
    out[:, ::2] *= 3
    expected = np.tanh(2 * (HOST + 1))
    expected[:, ::2] *= 3
    assert np.array_equal(out.get(), expected)


def test_repeated_indices_add_up(fake_device):
    """As ``ufunc.at`` of CuPy does."""
    total = fake_device.zeros(3)
    fake_device.add.at(total, fake_device.asarray([2, 0, 2]), fake_device.asarray(HOST[0]))
    assert np.array_equal(total.get(), [2.0, 0.0, 4.0])


def test_the_host_keeps_its_own_array(fake_device):
    """What goes in and what comes out are copies."""
    host = HOST.copy()
    x = fake_device.asarray(host)
    x[...] = 0
    x.get()[...] = 7
    assert np.array_equal(host, HOST)
    assert not x.get().any()


def test_reductions_are_arrays_and_dtypes_are_not(fake_device):
    """0-d arrays, as on the device; ``result_type`` and ``finfo`` answer on the host."""
    x = fake_device.asarray(HOST.astype(np.float32))
    assert isinstance(x.sum(), DeviceArray)
    assert x.sum().shape == ()
    assert fake_device.result_type(x, x) == np.float32
    assert fake_device.finfo(x.dtype).eps == np.finfo(np.float32).eps
    assert (x.ndim, x.size, len(x), x.shape) == (2, 6, 2, (2, 3))


SYNCS = {
    "branch": lambda x: bool(x.sum() > 0),
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "complex": lambda x: complex(x.sum()),
    "index": lambda x: [10, 20, 30][x.argmax()],
    "item": lambda x: x.max().item(),
    "get": lambda x: x.get(),
    "tolist": lambda x: x.tolist(),
    "Python's max": lambda x: max(x[0, 0], x[0, 1]),
    "text": lambda x: f"{x.sum()}",
    "repr": lambda x: repr(x),
}


@pytest.mark.parametrize("name", SYNCS)
def test_it_counts_a_synchronisation(name, fake_device):
    """Every way back to the host waits for the device once."""
    x = fake_device.asarray(HOST[:1])
    with count_syncs() as syncs:
        SYNCS[name](x)
        assert syncs() == 1


def test_counters_do_not_disturb_each_other(fake_device):
    """Each counts from its own start."""
    x = fake_device.asarray(HOST)
    with count_syncs() as outer:
        float(x.sum())
        with count_syncs() as inner:
            float(x.sum())
            assert (outer(), inner()) == (2, 1)


def test_moved_structures_are_read_only_and_keep_their_form(fake_device):
    """An engine that edits an argument on the device is caught."""
    pair = [{"W": HOST}, None, ("text", 2.0)]
    moved = fakecupy.to_device(pair)
    assert moved[1:] == [None, ("text", 2.0)]
    with pytest.raises(ValueError, match="read-only"):
        moved[0]["W"] += 1


def test_what_it_calls_absent_is_absent_in_cupy():
    """Against the CuPy wheel; no device is needed."""
    cupy = pytest.importorskip("cupy")
    assert {name for name in fakecupy.ABSENT if hasattr(cupy, name)} == set()
    assert {name for name in fakecupy.ABSENT_LINALG if hasattr(cupy.linalg, name)} == set()
    assert {name for name in fakecupy.ABSENT_METHODS if hasattr(cupy.ndarray, name)} == set()
    lacking = {n for n in dir(np) if isinstance(getattr(np, n), np.ufunc) and not hasattr(cupy, n)}
    assert lacking <= fakecupy.ABSENT
