"""Saving and loading: exact, all or nothing, nothing executed."""

import json
import os
import stat

import numpy as np
import pytest
from backend.fakecupy import cupy, to_device

import minipc as pc
from minipc import files
from minipc.blocks import FORMS, INITIALISATIONS
from minipc.functions import ACTIVATIONS, LOSSES
from training.problem import NET, PARAMS, flat

BLOCKS = [
    pc.Dense(3, 3, activation, form, init, gain, bias, scale)
    for activation in ACTIVATIONS
    for form in FORMS
    for init, gain, bias, scale in zip(
        INITIALISATIONS,
        (0.5, 1.0, 2**0.5, 1.0),
        (True, True, True, False),
        (1.0, 1.0, 1.0, 3**-0.5),
        strict=True,
    )
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
def test_round_trip_is_exact(loss, dtype, tmp_path):
    """Every option of every block, the loss, every bit of the parameters; text or path as the name."""
    net = pc.Network(BLOCKS, loss)
    params = net.init(seed=1, dtype=dtype)
    net.save(tmp_path / "model.npz", params)
    loaded, again = pc.Network.load(str(tmp_path / "model.npz"))
    assert loaded.blocks == net.blocks
    assert loaded.loss is net.loss
    assert [p.keys() for p in again] == [p.keys() for p in params]
    assert {value.dtype for p in again for value in p.values()} == {np.dtype(dtype)}
    assert np.array_equal(flat(again), flat(params))
    x = np.random.default_rng(0).standard_normal((2, 3))
    assert np.array_equal(loaded.forward(again, x), net.forward(params, x))


def test_the_name_is_kept_and_an_old_file_replaced(tmp_path):
    """No suffix is added; the newest parameters are in the file, and no other file is left."""
    path = tmp_path / "my model"
    NET.save(path, NET.init(seed=9))
    NET.save(path, PARAMS)
    assert [file.name for file in tmp_path.iterdir()] == ["my model"]
    assert np.array_equal(flat(pc.Network.load(path)[1]), flat(PARAMS))


def test_device_parameters_are_saved_from_the_device(fake_device, tmp_path):
    """And come back on the host."""
    NET.save(tmp_path / "model.npz", to_device(PARAMS))
    assert np.array_equal(flat(pc.Network.load(tmp_path / "model.npz")[1]), flat(PARAMS))
    assert isinstance(to_device(PARAMS)[0]["W"], cupy.ndarray)


class Crash(BaseException):
    """Something that no ``except Exception`` catches, as Ctrl-C."""


def half(file, **_):
    """np.savez that stops in the middle."""
    file.write(b"PK half a file")
    raise Crash


def failing(*_):
    """os.replace or os.fsync on a full or broken disk."""
    raise OSError("no space left on device")


CRASHES = {
    "in the middle of writing": (np, "savez", half, Crash),
    "while flushing": (os, "fsync", failing, OSError),
    "while renaming": (os, "replace", failing, OSError),
}


@pytest.mark.parametrize("when", CRASHES)
@pytest.mark.parametrize("old", [True, False])
def test_a_crash_leaves_the_old_file_and_no_other(when, old, tmp_path, monkeypatch):
    """Or no file at all, if there was none."""
    path = tmp_path / "model.npz"
    if old:
        NET.save(path, PARAMS)
    module, name, function, error = CRASHES[when]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, function)
        with pytest.raises(error):
            NET.save(path, NET.init(seed=9))
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"] * old
    if old:
        assert np.array_equal(flat(pc.Network.load(path)[1]), flat(PARAMS))


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
def test_the_file_has_the_usual_permissions(tmp_path):
    """A temporary file is its owner's alone; the result is as readable as any other new file."""
    (tmp_path / "other").touch()
    NET.save(tmp_path / "model.npz", PARAMS)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_pickles_are_never_allowed(tmp_path, monkeypatch):
    """np.load is told so in every call, of networks and of data."""
    NET.save(tmp_path / "model.npz", PARAMS)
    load, seen = np.load, []

    def spy(file, **options):
        seen.append(options)
        return load(file, **options)

    monkeypatch.setattr(np, "load", spy)
    pc.Network.load(tmp_path / "model.npz")
    pc.data.digits()
    assert seen == [{"allow_pickle": False}] * 2


def test_json_has_no_number_that_json_does_not_know(tmp_path):
    """NaN and infinity become text; the rest comes back as it went."""
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": (float("nan"), float("inf"), -float("inf"))}}
    files.write_json(tmp_path / "numbers.json", value)
    back = json.loads((tmp_path / "numbers.json").read_text(), parse_constant=pytest.fail)
    assert back == {"a": [1, 2.5, None, True, "x"], "b": {"c": ["nan", "inf", "-inf"]}}


def test_json_is_all_or_nothing(tmp_path):
    """What cannot be written leaves the old file."""
    path = tmp_path / "numbers.json"
    files.write_json(path, [1])
    with pytest.raises(TypeError):
        files.write_json(path, [object()])
    assert json.loads(path.read_text()) == [1]
    assert len(list(tmp_path.iterdir())) == 1
