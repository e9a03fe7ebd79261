"""MNIST: found, verified, parsed; and what is said when a file is missing, broken or another one."""

import gzip
import hashlib
import http.server
import os
import threading

import numpy as np
import pytest

import minipc as pc
from minipc.data import downloads, mnist_files

PUBLISHED_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # labels per class
PUBLISHED_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 2), dtype=np.uint8)
DIGITS = np.array([3, 1, 4, 1, 5], np.uint8)


def idx(array):
    """An array in the idx format, written from its description."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Four small files in place of MNIST, in a folder that MINIPC_DATA names; the cache is empty."""
    contents = {
        "train-images-idx3-ubyte": idx(PIXELS),
        "train-labels-idx1-ubyte": idx(DIGITS),
        "t10k-images-idx3-ubyte": idx(PIXELS[:2]),
        "t10k-labels-idx1-ubyte": idx(DIGITS[:2]),
    }
    files = {}
    (tmp_path / "mnist").mkdir()
    for name, content in contents.items():
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))
        digest = hashlib.sha256(content).hexdigest()
        files[name] = downloads.Remote(
            "mnist", f"{name}.gz", f"http://nowhere.invalid/{name}.gz", len(content), digest
        )
    monkeypatch.setattr(mnist_files, "FILES", files)
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "mnist"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images_are_rows_of_numbers_from_zero_to_one(small, dtype):
    """Byte 255 is 1, rows follow each other, labels are integers."""
    d = pc.data.mnist(dtype)
    assert np.array_equal(d.x_train, PIXELS.reshape(5, 6).astype(dtype) / 255)
    assert d.x_train.dtype == d.x_test.dtype == np.dtype(dtype)
    assert d.x_test.shape == (2, 6)
    assert np.array_equal(d.y_train, DIGITS)
    assert d.y_train.dtype.kind == "i"


def test_a_file_of_other_content_is_refused(small):
    """The message has the path and both checksums."""
    path = small / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(DIGITS[1:3])))
    with pytest.raises(ValueError, match=r"t10k-labels.*must have the sha256 [0-9a-f]{64}, got [0-9a-f]{64}"):
        pc.data.mnist()


def test_a_truncated_file_is_refused(small):
    """Of a download that broke off, for example."""
    path = small / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is not a complete gzip file"):
        pc.data.mnist()


def test_a_file_that_is_no_gzip_is_refused(small):
    """An error page of a web server, for example."""
    (small / "train-images-idx3-ubyte.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="is not a complete gzip file"):
        pc.data.mnist()


def test_no_more_is_unpacked_than_the_file_should_hold(small, monkeypatch):
    """A small file that unpacks to gigabytes does not fill the memory."""
    read = []
    original = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda file, size=-1: read.append(size) or original(file, size)
    )
    (small / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(ValueError, match="14 of 13 bytes"):
        mnist_files.labels("train")
    assert read == [14]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(DIGITS), "an idx file of 3 axes begins with 0x00000803, got 00000801"),
        (b"\0\0", "begins with 0x00000803, got 0000"),
        (idx(PIXELS)[:-1], r"the header says \(5, 3, 2\), that is 30 bytes, got 29"),
        (idx(PIXELS) + b"\0", r"that is 30 bytes, got 31"),
    ],
)
def test_the_format_is_checked(content, message):
    """Magic number and length, for a file whose checksum somebody has entered."""
    with pytest.raises(ValueError, match=message):
        mnist_files.read_idx(content, mnist_files.IMAGES, "images")


def test_without_file_and_network_it_says_what_to_do(small):
    """The URL, the folder and the variable."""
    (small / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(ConnectionError, match=r"http://nowhere\.invalid/train-images.*mnist.*MINIPC_DATA"):
        pc.data.mnist()


@pytest.fixture
def server(small, monkeypatch):
    """A web server on this machine that serves the small files; MINIPC_DATA is not set."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(small))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{web.server_port}/"
        files = {name: f._replace(url=f"{url}{f.name}") for name, f in mnist_files.FILES.items()}
        monkeypatch.setattr(mnist_files, "FILES", files)
        monkeypatch.delenv("MINIPC_DATA")
        yield small
        web.shutdown()
        thread.join()


def test_a_missing_file_is_downloaded_once_into_the_cache(server, tmp_path):
    """Then the network is not needed any more, and no temporary file is left."""
    first = pc.data.mnist()
    for path in server.glob("*.gz"):
        path.unlink()
    assert np.array_equal(pc.data.mnist().x_train, first.x_train)
    cached = sorted(path.name for path in (tmp_path / "cache" / "minipc" / "mnist").iterdir())
    assert cached == sorted(f"{name}.gz" for name in mnist_files.FILES)


def test_a_wrong_download_is_not_kept(server, tmp_path):
    """It is checked before it gets its name."""
    (server / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(PIXELS[::-1])))
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1.*sha256"):
        pc.data.mnist()
    assert list((tmp_path / "cache").rglob("*.gz")) == []


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
