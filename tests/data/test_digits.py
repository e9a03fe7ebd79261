"""The data that ships with the package: what the text beside it says is what it holds."""

import hashlib
import pathlib
import re

import numpy as np
import pytest

import minipc as pc

FOLDER = pathlib.Path(pc.data.__file__).parent
PUBLISHED = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # samples per class, optdigits.names (UCI)
FIRST_ROW = [0, 0, 5, 13, 9, 1, 0, 0]  # of the first image, optdigits.tes (UCI)


def test_shapes_and_labels():
    """1,437 to train on, 360 to test, ten classes."""
    d = pc.data.digits()
    assert (d.x_train.shape, d.x_test.shape) == ((1437, 64), (360, 64))
    assert (d.y_train.shape, d.y_test.shape) == ((1437,), (360,))
    assert d.y_train.dtype.kind == d.y_test.dtype.kind == "i"
    assert set(d.y_train) == set(d.y_test) == set(range(10))


def test_pixels_are_sixteenths_from_zero_to_one():
    """Scaled, and not more: 17 levels, both ends reached."""
    d = pc.data.digits()
    x = np.concatenate([d.x_train, d.x_test])
    assert (x.min(), x.max()) == (0, 1)
    assert np.array_equal(np.unique(x), np.arange(17) / 16)


def test_the_data_are_the_published_ones():
    """Samples per class, the first image and its label, the order of the file."""
    d = pc.data.digits()
    assert np.bincount(np.concatenate([d.y_train, d.y_test])).tolist() == PUBLISHED
    assert (16 * d.x_train[0, :8]).tolist() == FIRST_ROW
    assert d.y_train[:10].tolist() == list(range(10))


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32])
def test_dtype_is_the_one_asked_for(dtype):
    """Of the pixels; sixteenths are exact in both."""
    d = pc.data.digits(dtype)
    assert d.x_train.dtype == d.x_test.dtype == np.dtype(dtype)
    assert np.array_equal(d.x_test, pc.data.digits().x_test)


def test_every_call_gives_new_arrays():
    """What one student does to them does not reach the next."""
    pc.data.digits().x_train[...] = 7
    assert pc.data.digits().x_train.max() == 1


def test_the_text_beside_the_data_is_true():
    """Checksum, licence, citation, and no pickled object in the file."""
    text = (FOLDER / "digits.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((FOLDER / "digits.npz").read_bytes()).hexdigest()
    assert re.search(r"sha256 of `digits.npz`: `([0-9a-f]{64})`", text)[1] == digest
    assert "CC BY 4.0" in text
    assert "https://doi.org/10.24432/C50P49" in text
    with np.load(FOLDER / "digits.npz", allow_pickle=False) as file:
        assert {name: (file[name].shape, file[name].dtype.name) for name in file} == {
            "images": ((1797, 64), "uint8"),
            "labels": ((1797,), "uint8"),
        }
