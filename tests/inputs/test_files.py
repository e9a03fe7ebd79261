"""Files that are no saved network are refused by name, and nothing in them is ever executed."""

import gc
import json
import pickle

import numpy as np
import pytest

import minipc as pc
from inputs.setting import NET, PARAMS, X


class Trap:
    """Unpickling this raises."""

    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


def contents(path):
    """Header and arrays of a good file."""
    NET.save(path, PARAMS)
    with np.load(path) as file:
        arrays = dict(file)
    return json.loads(str(arrays.pop("header"))), arrays


def write(path, header, arrays):
    """A file with this header and these arrays."""
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def truncated(path):
    """The first half of a good file."""
    NET.save(path, PARAMS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    """A good file with one bit of a parameter turned."""
    NET.save(path, PARAMS)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def a_single_array(path):
    """What np.save writes."""
    with path.open("wb") as file:
        np.save(file, X)


def with_header(**changes):
    """A good file but for some entries of its header."""

    def make(path):
        header, arrays = contents(path)
        write(path, {**header, **changes}, arrays)

    return make


def without_an_array(path):
    """A good file but for one missing array."""
    header, arrays = contents(path)
    del arrays["2.b"]
    write(path, header, arrays)


def with_a_pickle(path):
    """A good file but for an array of objects."""
    header, arrays = contents(path)
    write(path, header, {**arrays, "2.b": np.array([Trap()], object)})


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("W = [1, 2, 3]"),
    "truncated": truncated,
    "a bit turned": flipped,
    "another npz": lambda path: np.savez(path, W=X),
    "a single array": a_single_array,
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Trap())),
    "a pickled array": with_a_pickle,
    "a pickled header": lambda path: np.savez(path, header=np.array(Trap(), object)),
    "a header of another kind": lambda path: np.savez(path, header=np.array("[]")),
    "an unknown block": with_header(blocks=[["Conv3d", {}]]),
    "an unknown loss": with_header(loss="nll"),
    "an unknown option": with_header(blocks=[["Dense", {"n_in": 4, "n_out": 3, "dropout": 0.5}]]),
    "an unknown block inside of a block": with_header(blocks=[["Residual", {"blocks": [["Conv3d", {}]]}]]),
    "half a block inside of a block": with_header(blocks=[["Residual", {"blocks": [["Flatten"]]}]]),
    "a later format": with_header(format=99),
    "an array missing": without_an_array,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_by_name(name, tmp_path):
    """A ValueError with the path, no warning, no file left open, and nothing unpickled."""
    path = tmp_path / "model.npz"
    FOREIGN[name](path)
    with pytest.raises(ValueError, match=r"model\.npz is not a network saved by minipc: "):
        pc.Network.load(path)
    gc.collect()  # an open file would warn now


def test_a_missing_file_is_a_missing_file(tmp_path):
    """The error of the operating system says it best."""
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        pc.Network.load(tmp_path / "nowhere.npz")


def test_parameters_that_do_not_fit_the_header_are_refused(tmp_path):
    """In the words of every other entrance."""
    path = tmp_path / "model.npz"
    header, arrays = contents(path)
    write(path, header, {**arrays, "2.W": arrays["2.W"].T})
    with pytest.raises(ValueError, match=r"W\[2\] must have shape \(5, 6\), got \(6, 5\) \(transposed\?\)"):
        pc.Network.load(path)


def test_params_of_another_network_are_not_saved(tmp_path):
    """And no file appears."""
    with pytest.raises(ValueError, match="params must have 3 dicts, one a block, got 2"):
        NET.save(tmp_path / "model.npz", PARAMS[:2])
    assert list(tmp_path.iterdir()) == []
