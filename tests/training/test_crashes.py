"""Real processes, really killed: what is on the disk afterwards goes on to the numbers of the run that never stopped."""

import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import minipc as pc
from training import child

CHILD = pathlib.Path(child.__file__)
PACKAGE = pathlib.Path(pc.__file__).parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX systems")


def listen():
    """Take Ctrl-C as in a terminal: a process in the background is born deaf to it, and so are its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder, *how):
    """A run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), *how],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PACKAGE,
        preexec_fn=listen if os.name == "posix" else None,
    )  # fmt: skip


def lived(folder, *how):
    """Exit status and output of a run that ends by itself, one way or another."""
    process = start(folder, *how)
    out, error = process.communicate(timeout=120)
    return process.returncode, out + error


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that is never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert lived(folder) == (0, "")
    return result(folder)


def result(folder):
    with np.load(folder / "end.npz") as file:
        return dict(file)


def same(folder, whole):
    """The end of a stopped and continued run, bit by bit."""
    end = result(folder)
    assert end.keys() == whole.keys()
    assert len(whole["loss"]) == child.EPOCHS
    assert all(np.array_equal(end[name], whole[name]) for name in whole)


STEPS = ["begin", "half", "flush", "rename", "renamed"]


@posix
@pytest.mark.parametrize("number", [1, 8])  # the first checkpoint, and one in the second epoch
@pytest.mark.parametrize("step", STEPS)
def test_kill_9_during_the_writing(step, number, whole, tmp_path):
    """Before, within and after the file's content, before and after it takes its name."""
    status, _ = lived(tmp_path, f"{step}:{number}")
    assert status == -signal.SIGKILL
    file = tmp_path / "run.npz"
    written = number if step == "renamed" else number - 1
    if step == "flush":  # each writing flushes the file and its folder
        written = number // 2
    assert file.exists() == (written > 0)
    if written:
        saved = pc.load_checkpoint(file).run
        assert 7 * saved.epoch + saved.batch == written
    parts = list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))
    assert bool(parts) == (step != "renamed" and not (step == "flush" and number % 2 == 0))
    assert lived(tmp_path) == (0, "")
    same(tmp_path, whole)
    assert not list(tmp_path.glob(".*.part"))  # what the killed process left is gone


@posix
def test_kill_9_again_and_again_at_any_moment(whole, tmp_path):
    """Ten lives, each a little longer than an import, until one of them reaches the end."""
    rng, lives, places = np.random.default_rng(int(time.time())), 0, []
    while not (tmp_path / "end.npz").exists():
        process = start(tmp_path)
        lives += 1
        if lives <= 10:
            known = (tmp_path / "run.npz").stat().st_mtime_ns if (tmp_path / "run.npz").exists() else 0
            deadline = time.monotonic() + 60
            while (
                time.monotonic() < deadline and process.poll() is None
            ):  # until this life has written something
                if (tmp_path / "run.npz").exists() and (tmp_path / "run.npz").stat().st_mtime_ns != known:
                    break
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
            process.kill()
        process.communicate(timeout=60)
        if (tmp_path / "run.npz").exists():
            saved = pc.load_checkpoint(tmp_path / "run.npz").run  # always whole
            places.append((saved.epoch, saved.batch))
    assert places == sorted(places)
    assert lives > 2
    same(tmp_path, whole)


@posix
def test_a_real_ctrl_c(whole, tmp_path):
    """SIGINT, as the terminal sends it: the run says where it is and how to go on."""
    process = start(tmp_path, "slow")
    deadline = time.monotonic() + 60
    while not (tmp_path / "run.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 4, error
    assert out.startswith("stopped after ")
    assert "run.npz" in out
    assert lived(tmp_path) == (0, "")
    same(tmp_path, whole)


@posix
def test_a_full_disk_leaves_the_last_checkpoint(whole, tmp_path):
    """No file may grow beyond 2,000 bytes from the second epoch on: the write fails, what was there stays."""
    status, out = lived(tmp_path, "full")
    assert status == 3, out
    assert out.startswith("1 epochs: cannot write the checkpoint ")
    assert "what was there before is untouched" in out
    assert pc.load_checkpoint(tmp_path / "run.npz").run.epoch == 1
    assert not list(tmp_path.glob(".*.part"))
    assert lived(tmp_path) == (0, "")
    same(tmp_path, whole)


def fill(path):
    """Write to a file until there is no space left."""
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017 - how long it takes is unknown


@posix
def test_a_small_file_system_that_is_full(whole, tmp_path):
    """The same on a file system of 64 kB, where one may be made (root on Linux)."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("may not mount a file system here")
    try:
        process = start(folder, "slow")
        while not (folder / "run.npz").exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        before = (folder / "run.npz").read_bytes()
        pc.load_checkpoint(folder / "run.npz")
        fill(folder / "ballast")
        status, out = lived(folder)
        assert status == 3, out
        assert "No space left" in out
        assert (folder / "run.npz").read_bytes() == before
        (folder / "ballast").unlink()
        assert lived(folder) == (0, "")
        same(folder, whole)
    finally:
        subprocess.run(["umount", str(folder)], check=False)
