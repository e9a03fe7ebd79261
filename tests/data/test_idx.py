"""MNIST and Fashion-MNIST: found packed or not, verified, read; and what is said of a file that is another one."""

import gzip
import hashlib
import os

import numpy as np
import pytest

import minipc as pc
from minipc.data import idx
from minipc.data.downloads import Remote

PUBLISHED_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # labels per class
PUBLISHED_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 2), dtype=np.uint8)
DIGITS = np.array([3, 1, 4, 1, 5], np.uint8)
CHECKSUMS = {"mnist": "sha256", "fashion_mnist": "md5"}  # of the unpacked bytes


def idx_file(array):
    """An array in the idx format, written from its description."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


CONTENTS = {
    "train-images-idx3-ubyte": idx_file(PIXELS),
    "train-labels-idx1-ubyte": idx_file(DIGITS),
    "t10k-images-idx3-ubyte": idx_file(PIXELS[:2]),
    "t10k-labels-idx1-ubyte": idx_file(DIGITS[:2]),
}


@pytest.fixture(params=CHECKSUMS)
def name(request, cache, server, monkeypatch):
    """A data set whose four files are small ones at the server; nothing is on this machine."""
    kind = CHECKSUMS[request.param]
    files = {}
    for file, content in CONTENTS.items():
        server.files[f"/{file}.gz"] = packed = gzip.compress(content)
        checksums = {kind: hashlib.new(kind, content).hexdigest()}
        if kind == "md5":
            checksums["packed"] = hashlib.sha256(packed).hexdigest()
        names, url = idx.FILES[request.param][file].names, f"{server.url}/{file}.gz"
        files[file] = Remote(request.param, names, url, len(content), **checksums)
    monkeypatch.setitem(idx.FILES, request.param, files)
    return request.param


@pytest.fixture(params=[".gz", ""])
def folder(request, name, tmp_path, monkeypatch):
    """The files are in a folder that MINIPC_DATA names, packed or not."""
    (tmp_path / name).mkdir()
    for file, content in CONTENTS.items():
        content = gzip.compress(content) if request.param else content
        (tmp_path / name / f"{file}{request.param}").write_bytes(content)
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path))
    return tmp_path / name


def load(name, dtype="float32"):
    """What a student calls."""
    return getattr(pc.data, name)(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images_are_rows_of_numbers_from_zero_to_one(dtype, name, folder, server):
    """Byte 255 is 1, rows follow each other, labels are integers; nothing is downloaded."""
    d = load(name, dtype)
    assert np.array_equal(d.x_train, PIXELS.reshape(5, 6).astype(dtype) / 255)
    assert np.array_equal(d.x_test, d.x_train[:2])
    assert d.x_train.dtype == d.x_test.dtype == np.dtype(dtype)
    assert d.y_train.tolist() == DIGITS.tolist()
    assert d.y_test.tolist() == DIGITS[:2].tolist()
    assert d.y_train.dtype == d.y_test.dtype == np.int64
    assert server.asked == []


def test_missing_files_are_downloaded_once(name, cache, server):
    """Each of the four, under its name."""
    first = load(name)
    assert np.array_equal(load(name).x_train, first.x_train)
    assert sorted(server.asked) == sorted((f"/{file}.gz", None) for file in CONTENTS)
    assert {path.name for path in (cache / name).iterdir()} == {f"{file}.gz" for file in CONTENTS}


def test_a_file_of_other_content_is_refused(name, folder):
    """The message has the path and both checksums."""
    (path,) = folder.glob("t10k-labels*")
    other = idx_file(DIGITS[1:3])
    path.write_bytes(gzip.compress(other) if path.suffix else other)
    with pytest.raises(
        ValueError, match=rf"t10k-labels.*must have the {CHECKSUMS[name]} [0-9a-f]+, got [0-9a-f]+"
    ):
        load(name)


def test_a_truncated_file_is_refused(name, folder):
    """Of a copy that broke off, for example."""
    (path,) = folder.glob("train-images*")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.*(not a complete gz file|34 of 46 bytes)"):
        load(name)


@pytest.mark.parametrize("dtype", ["float16", "int64", "pixels", None])
def test_another_dtype_is_refused(dtype, name, server):
    """Before work starts."""
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got"):
        load(name, dtype or np.uint8)
    assert server.asked == []


@pytest.mark.parametrize(
    ("content", "magic", "message"),
    [
        (idx_file(DIGITS), idx.IMAGES, "an idx file of 3 axes begins with 0x00000803, got 00000801"),
        (idx_file(PIXELS), idx.LABELS, "an idx file of 1 axes begins with 0x00000801, got 00000803"),
        (b"", idx.LABELS, "begins with 0x00000801, got $"),
        (b"\0\0", idx.IMAGES, "begins with 0x00000803, got 0000"),
        (idx_file(PIXELS)[:15], idx.IMAGES, "begins with 0x00000803, got 00000803"),
        (idx_file(PIXELS)[:-1], idx.IMAGES, r"the header says \(5, 3, 2\), that is 30 bytes, got 29"),
        (idx_file(PIXELS) + b"\0", idx.IMAGES, r"that is 30 bytes, got 31"),
        (b"\0\0\x08\1\xff\xff\xff\xff", idx.LABELS, r"says \(4294967295,\), that is 4294967295 bytes, got 0"),
    ],
)
def test_the_format_is_checked(content, magic, message):
    """Magic number and length, for a file whose checksum somebody has entered."""
    with pytest.raises(ValueError, match=message):
        idx.read_idx(content, magic, "mnist/file")


@pytest.mark.skipif(not os.environ.get("MINIPC_DATA"), reason="needs MNIST: set MINIPC_DATA")
def test_the_real_files_are_the_published_ones():
    """Samples per class, mean and deviation of the pixels, the first labels."""
    d = pc.data.mnist()
    assert (d.x_train.shape, d.x_test.shape) == ((60000, 784), (10000, 784))
    assert np.bincount(d.y_train).tolist() == PUBLISHED_TRAIN
    assert np.bincount(d.y_test).tolist() == PUBLISHED_TEST
    assert d.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert (round(float(d.x_train.mean()), 4), round(float(d.x_train.std()), 4)) == (0.1307, 0.3081)
    assert (d.x_train.min(), d.x_train.max()) == (0, 1)
