"""The ground floor: which array module, which way an array moves, whether there is a device."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import minipc as pc
from backend.fakecupy import DeviceArray, count_syncs, to_device
from minipc.backend import array_module, is_array
from minipc.optim import AdamState

TREE = [{"W": np.ones((2, 3)), "b": np.zeros(2, "float32")}, None, (np.arange(3),)]


def test_the_array_module_is_told_from_the_arrays(fake_device):
    """One device array among the arguments is enough; numbers and None say nothing."""
    x = fake_device.ones(2)
    assert array_module(1.0, None, x) is fake_device
    assert array_module(np.ones(2), 1.0, None) is np
    assert array_module() is np


def test_without_cupy_everything_is_numpy(monkeypatch):
    """CuPy is looked up where it would be if a caller had imported it, never imported."""
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert array_module(np.ones(2)) is np
    assert "cupy" not in sys.modules


def test_arrays_are_told_from_scalars_and_lists(fake_device):
    """Only arrays of the two modules count."""
    assert is_array(np.ones(2))
    assert is_array(fake_device.ones(2))
    assert not any(is_array(value) for value in (1.0, np.float64(1), [1.0], None))


def test_as_backend_moves_a_structure_there_and_back(fake_device):
    """Structure and dtypes stay; None stays None."""
    there = pc.as_backend(TREE, like=fake_device.ones(1))
    assert there[1] is None
    assert isinstance(there[2], tuple)
    assert {type(a) for a in (*there[0].values(), *there[2])} == {DeviceArray}
    assert there[0]["b"].dtype == np.float32
    back = pc.as_backend(there, like=np.ones(1))
    assert np.array_equal(back[0]["W"], TREE[0]["W"])
    assert type(back[2][0]) is np.ndarray


def test_as_backend_keeps_named_tuples(fake_device):
    """The running means of Adam can be moved."""
    state = AdamState([{"W": np.ones(2)}], [{"W": np.ones(2)}], np.array(3))
    moved = pc.as_backend(state, like=fake_device.ones(1))
    assert type(moved) is AdamState
    assert isinstance(moved.m[0]["W"], DeviceArray)


def test_to_numpy_is_one_synchronisation(fake_device):
    """And none for an array that is on the host already."""
    x = to_device(np.ones((2, 3)))
    with count_syncs() as syncs:
        assert type(pc.to_numpy(x)) is np.ndarray
        assert type(pc.to_numpy(np.ones(2))) is np.ndarray
        assert syncs() == 1


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (None, False),  # the import fails
        (SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False)), False),
        (SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True)), True),
    ],
    ids=["no CuPy", "CuPy without a device", "CuPy with a device"],
)
def test_gpu_available_wants_cupy_and_a_device(module, expected, monkeypatch):
    """The import of CuPy succeeds without a GPU, so it proves nothing."""
    monkeypatch.setitem(sys.modules, "cupy", module)
    assert pc.gpu_available() is expected
