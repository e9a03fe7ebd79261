"""CIFAR-10 from archive or batches, by their format; and the lossy subset, which nobody is to take for CIFAR-10."""

import hashlib
import io
import os
import pathlib
import sys

import numpy as np
import pytest

import minipc as pc
from data.archives import tar
from minipc.data import cifar
from minipc.data.downloads import Remote

DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, (6, 2, 3, 32, 32), dtype=np.uint8)  # two in each of six batches
LABELS = DRAW.integers(0, 10, (6, 2), dtype=np.uint8)


def batch(images, labels):
    """Records as the authors' page describes them: the label, then 1,024 bytes each of red, green, blue, row by row."""
    return b"".join(
        bytes([label, *(value for plane in image for row in plane for value in row)])
        for image, label in zip(images, labels, strict=True)
    )


BATCHES = {name: batch(*pair) for name, *pair in zip(cifar.BATCHES, IMAGES, LABELS, strict=True)}
ARCHIVE = tar(
    {"cifar-10-batches-bin/readme.html": b"", **{f"cifar-10-batches-bin/{n}": b for n, b in BATCHES.items()}},
    "w:gz",
)


@pytest.fixture
def small(cache, server, monkeypatch):
    """Six small batches in an archive at the server; nothing is on this machine."""
    server.files["/cifar-10-binary.tar.gz"] = ARCHIVE
    changes = {
        "url": f"{server.url}/cifar-10-binary.tar.gz",
        "size": 2 * 3073,
        "packed": hashlib.sha256(ARCHIVE).hexdigest(),
    }
    for name, data in BATCHES.items():
        file = cifar.FILES[name]._replace(sha256=hashlib.sha256(data).hexdigest(), **changes)
        monkeypatch.setitem(cifar.FILES, name, file)


@pytest.fixture
def folder(small, tmp_path, monkeypatch):
    """The empty folder ``cifar10`` under MINIPC_DATA."""
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    return tmp_path / "cifar10"


@pytest.fixture
def lossy(folder, monkeypatch):
    """Images of one colour as JPEG, two to train on and one to test: colours (3, 3)."""
    image = pytest.importorskip("PIL.Image")
    colours = np.array([[200, 30, 40], [10, 220, 60], [50, 70, 240]], np.uint8)
    files = []
    for colour in colours:
        file = io.BytesIO()
        image.new("RGB", (32, 32), tuple(map(int, colour))).save(file, "JPEG", quality=95)
        files.append(np.frombuffer(file.getvalue(), np.uint8))
    arrays = {}
    for part, members, labels in (("train", files[:2], [7, 8]), ("test", files[2:], [9])):
        arrays[f"{part}_bytes"] = np.concatenate(members)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, members)])
        arrays[f"{part}_labels"] = np.array(labels, np.uint8)
    path = folder / "cifar10_jpeg_20k_5k.npz"
    np.savez(path, **arrays)
    content = path.read_bytes()
    remote = Remote("cifar10", (path.name,), None, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(cifar, "LOSSY", remote)
    return colours


def assert_is_the_set(d, dtype="float32"):
    """Five batches to train on, in their order, and the last to test."""
    assert np.array_equal(
        d.x_train, IMAGES[:5].reshape(10, 3, 32, 32).astype(dtype) / np.dtype(dtype).type(255)
    )
    assert np.array_equal(d.x_test, IMAGES[5].astype(dtype) / np.dtype(dtype).type(255))
    assert d.x_train.dtype == d.x_test.dtype == np.dtype(dtype)
    assert d.y_train.tolist() == LABELS[:5].ravel().tolist()
    assert d.y_test.tolist() == LABELS[5].tolist()
    assert d.y_train.dtype == d.y_test.dtype == np.int64


def test_the_archive_is_downloaded_once_for_all_its_members(small, server, cache):
    """Nothing is unpacked on the disk."""
    assert_is_the_set(pc.data.cifar10())
    assert_is_the_set(pc.data.cifar10())
    assert server.asked == [("/cifar-10-binary.tar.gz", None)]
    assert [path.name for path in (cache / "cifar10").iterdir()] == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_archive_under_minipc_data(dtype, folder, server):
    """Read where it is."""
    (folder / "cifar-10-binary.tar.gz").write_bytes(ARCHIVE)
    assert_is_the_set(pc.data.cifar10(dtype), dtype)
    assert server.asked == []


@pytest.mark.parametrize("where", ["", "cifar-10-batches-bin"])
def test_the_batches_under_minipc_data(where, folder, server):
    """As somebody has unpacked them, with or without their folder."""
    (folder / where).mkdir(exist_ok=True)
    for name, data in BATCHES.items():
        (folder / where / name).write_bytes(data)
    assert_is_the_set(pc.data.cifar10())
    assert server.asked == []


def test_a_damaged_batch_is_refused(folder):
    """Also where the archive beside it is right: it is not passed over without a word."""
    (folder / "cifar-10-binary.tar.gz").write_bytes(ARCHIVE)
    (folder / "data_batch_3.bin").write_bytes(BATCHES["data_batch_3.bin"][:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin: .* sha256 .*6145 of 6146 bytes.*delete it"):
        pc.data.cifar10()


def test_another_archive_is_refused(small, server, cache):
    """By its own checksum; one with a changed member, put here by hand, by that of the member."""
    changed = tar({f"cifar-10-batches-bin/{n}": bytes(2 * 3073) for n in BATCHES}, "w:gz")
    server.files["/cifar-10-binary.tar.gz"] = changed
    with pytest.raises(
        ValueError, match=r"SHA256 hash of downloaded file .*cifar-10-binary.tar.gz.* but got"
    ):
        pc.data.cifar10()
    (cache / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(changed)
    with pytest.raises(
        ValueError, match=r"cifar-10-binary.tar.gz: the unpacked content must have the sha256"
    ):
        pc.data.cifar10()


def test_the_lossy_subset_is_used_with_a_warning(lossy, server):
    """The warning has a name and says what it is not; the images are those of the file, within the loss."""
    with pytest.warns(pc.data.LossySubsetWarning, match="NOT CIFAR-10.*do not compare results") as caught:
        d = pc.data.cifar10()
    assert [pathlib.Path(w.filename).name for w in caught] == [
        pathlib.Path(__file__).name
    ]  # the caller's line
    assert (d.x_train.shape, d.x_test.shape) == ((2, 3, 32, 32), (1, 3, 32, 32))
    assert (d.y_train.tolist(), d.y_test.tolist()) == ([7, 8], [9])
    assert np.abs(255 * np.concatenate([d.x_train, d.x_test]) - lossy[:, :, None, None]).max() < 5
    assert server.asked == []


def test_cifar10_itself_goes_before_the_subset(lossy, folder):
    """Without a warning, which would be an error here."""
    (folder / "cifar-10-binary.tar.gz").write_bytes(ARCHIVE)
    assert_is_the_set(pc.data.cifar10())


def test_a_damaged_subset_is_refused(lossy, folder):
    """As any other file."""
    path = folder / "cifar10_jpeg_20k_5k.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with (
        pytest.warns(pc.data.LossySubsetWarning),
        pytest.raises(ValueError, match=r"jpeg_20k_5k\.npz: .* sha256"),
    ):
        pc.data.cifar10()


def test_the_subset_needs_pillow(lossy, monkeypatch):
    """And says how to get it."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with (
        pytest.warns(pc.data.LossySubsetWarning),
        pytest.raises(ImportError, match=r"pip install .minipc\[data\]"),
    ):
        pc.data.cifar10()


def test_the_checksums_are_six_and_differ():
    """A batch entered twice would go unnoticed until somebody downloads it."""
    assert len(set(cifar.BATCHES.values())) == 6
    assert [name[5:] for name in cifar.BATCHES] == [*(f"batch_{i}.bin" for i in range(1, 6)), "batch.bin"]


@pytest.mark.skipif(not os.environ.get("MINIPC_DATA"), reason="needs the JPEG subset: set MINIPC_DATA")
def test_the_real_subset_matches_the_lossless_images():
    """The first 4,000 images are those of CIFAR-10, in its order, but for the loss: 5.8 grey levels, at most 13."""
    path = pathlib.Path(os.environ["MINIPC_DATA"]) / "cifar10" / "cifar10_train_first4000_lossless.npz"
    if not path.exists() or cifar.found(cifar.FILES["test_batch.bin"]):
        pytest.skip("needs the subset, the lossless images, and no CIFAR-10 itself")
    with pytest.warns(pc.data.LossySubsetWarning):
        d = pc.data.cifar10()
    assert (d.x_train.shape, d.x_test.shape) == ((20000, 3, 32, 32), (5000, 3, 32, 32))
    assert np.bincount(d.y_train[:10000]).tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    assert np.bincount(d.y_test).tolist() == [500] * 10
    with np.load(path, allow_pickle=False) as file:
        images, labels = file["images"] / np.float32(255), file["labels"]
    assert np.array_equal(d.y_train[:4000], labels)
    loss = 255 * np.abs(d.x_train[:4000] - images).mean((1, 2, 3))
    assert loss.mean() == pytest.approx(5.8, abs=0.05)
    assert loss.max() < 13.5
    wrong_order = 255 * np.abs(d.x_train[:4000] - images.swapaxes(2, 3)).mean((1, 2, 3))  # rows for columns
    assert wrong_order.mean() > 3 * loss.mean()
