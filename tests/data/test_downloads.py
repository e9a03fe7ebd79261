"""Downloads from a server that stops, lies, redirects and sleeps: the right bytes or a clear error, and a clean cache."""

import gzip
import hashlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data import server as act
from minipc.data import transfer
from minipc.data.downloads import Remote, content

CONTENT = np.random.default_rng(0).bytes(200_000)  # does not get smaller when packed
PACKED = gzip.compress(CONTENT, mtime=0)
HALF = len(PACKED) // 2
OTHER = gzip.compress(CONTENT[::-1], mtime=0)


def remote_at(url, **changes):
    """The file of these tests."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Remote("things", ("x.gz", "x"), f"{url}/x.gz", len(CONTENT), digest)._replace(**changes)


@pytest.fixture
def remote(server, cache):
    """The file at its server; the cache is empty."""
    server.files["/x.gz"] = PACKED
    return remote_at(server.url)


def kept(cache):
    """The files in the cache but those in ``partial``."""
    paths = (path.relative_to(cache) for path in cache.rglob("*") if path.is_file())
    return [str(path) for path in paths if path.parts[0] != "partial"]


def part(cache):
    """Where an unfinished download is."""
    return cache / "partial" / "things" / "x.gz.part"


def begun(cache, data):
    """An earlier call left ``data``."""
    part(cache).parent.mkdir(parents=True)
    part(cache).write_bytes(data)


def test_it_is_downloaded_once(remote, server, cache):
    """Then it is found in the cache, byte by byte what was sent."""
    assert content(remote) == CONTENT
    assert content(remote) == CONTENT
    assert server.asked == [("/x.gz", None)]
    assert kept(cache) == ["things/x.gz"]
    assert (cache / "things" / "x.gz").read_bytes() == PACKED
    assert not part(cache).exists()


def test_a_broken_connection_is_taken_up_again(remote, server, cache):
    """Within the call, where it stopped."""
    server.plan = [act.half]
    assert content(remote) == CONTENT
    assert server.asked == [("/x.gz", None), ("/x.gz", f"bytes={HALF}-")]


def test_as_long_as_each_try_brings_more_there_is_another(remote, server, cache):
    """More breaks than tries without success are allowed."""
    server.plan = [act.half] * 8
    assert content(remote) == CONTENT
    places = [int(asked.removeprefix("bytes=")[:-1]) for _, asked in server.asked[1:]]
    assert len(places) == 8 > transfer.TRIES
    assert places == sorted(set(places))


def test_a_download_is_continued_by_the_next_call(remote, server, cache):
    """What came is kept, but not where somebody would take it for the file."""
    server.plan = [act.half] + [act.nothing] * transfer.TRIES
    with pytest.raises(ConnectionError, match=rf"{remote.url}: .*MINIPC_DATA"):
        content(remote)
    assert len(server.asked) == 1 + transfer.TRIES
    assert kept(cache) == []
    assert part(cache).read_bytes() == PACKED[:HALF]
    server.asked.clear()
    assert content(remote) == CONTENT
    assert server.asked == [("/x.gz", f"bytes={HALF}-")]


def test_a_redirection_to_no_address_loses_nothing(remote, server, cache):
    """It is a fault of the server, not of the bytes that came before."""
    server.plan = [act.half] + [act.redirect(302, "http://[::1")] * transfer.TRIES
    with pytest.raises(ConnectionError, match=rf"cannot download {remote.url}: no such address can be"):
        content(remote)
    assert part(cache).read_bytes() == PACKED[:HALF]


def test_a_server_that_is_silent_for_too_long_is_given_up(remote, server, cache, monkeypatch):
    """In the middle; what came is kept for the next call."""
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    server.plan = [act.waiting] + [act.nothing] * transfer.TRIES
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="cannot download"):
        content(remote)
    assert time.monotonic() - start < 5
    had = part(cache).read_bytes()
    assert PACKED.startswith(had)
    assert HALF - transfer.CHUNK < len(had) <= HALF


SERVERS = {  # what the server does -> how often it is asked
    "ignores Range": ([act.half, act.no_range], 2),
    "ignores Range and breaks": ([act.half, act.half_without_range, act.no_range], 3),
    "sends chunks and breaks": ([act.unfinished_chunks], 2),
    "is overloaded at first": ([act.status(503)], 2),
    "answers a Range from an earlier place": ([act.half, act.from_elsewhere(-1000)], 2),
    "answers a Range from a later place": ([act.half, act.from_elsewhere(1000)], 3),
    "answers a Range with less": ([act.half, act.a_part_of_the_rest], 3),
    "answers a Range without a place": ([act.half, act.without_place], 2),
    "says nothing of use about the length": ([act.of_length("many")], 1),
    "says that the gzip is for the journey": ([act.named_as_packed], 1),
    "redirects for good": ([act.redirect(301, "/x.gz")], 2),
    "redirects for now": ([act.redirect(302, "/x.gz")], 2),
    "redirects after a break": ([act.half, act.redirect(302, "/x.gz")], 3),
}


@pytest.mark.parametrize("name", SERVERS)
def test_right_bytes_from_a_server_that(name, remote, server, cache):
    """Does one thing after another; no more requests than it takes."""
    server.plan, requests = list(SERVERS[name][0]), SERVERS[name][1]
    assert content(remote) == CONTENT
    assert len(server.asked) == requests
    assert (cache / "things" / "x.gz").read_bytes() == PACKED


def test_a_redirection_keeps_the_range(remote, server, cache):
    """Else the file would be sent once more."""
    server.plan = [act.half, act.redirect(302, "/elsewhere")]
    server.files["/elsewhere"] = PACKED
    assert content(remote) == CONTENT
    assert server.asked[2] == ("/elsewhere", f"bytes={HALF}-")


BEGINNINGS = {  # what an earlier call left -> the Range requests of this one
    "the first half": (PACKED[:HALF], [f"bytes={HALF}-"]),
    "all of it": (PACKED, [f"bytes={len(PACKED)}-"]),
    "too much": (PACKED + b"more", [f"bytes={len(PACKED) + 4}-", None]),
    "another file": (OTHER[:HALF], [f"bytes={HALF}-", None]),
    "all of another file": (OTHER, [f"bytes={len(OTHER)}-", None]),
    "nothing": (b"", [None]),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_right_bytes_where_an_earlier_call_left(name, remote, server, cache):
    """What can be used is used; else it begins again."""
    data, ranges = BEGINNINGS[name]
    begun(cache, data)
    assert content(remote) == CONTENT
    assert [asked for _, asked in server.asked] == ranges
    assert (cache / "things" / "x.gz").read_bytes() == PACKED


@pytest.mark.parametrize(("data", "requests"), [(PACKED, 0), (OTHER, 1)])
def test_a_process_that_ended_before_it_could_verify(data, requests, remote, server, cache):
    """A complete download that has no name in the cache yet: verified now, and used only if it is right."""
    begun(cache, b"")
    part(cache).rename(part(cache).with_suffix(""))
    part(cache).with_suffix("").write_bytes(data)
    assert content(remote) == CONTENT
    assert len(server.asked) == requests


REFUSED = {  # plan, change of the file, error, message, requests
    "wrong bytes": ([act.instead(OTHER)], {}, ValueError, "http.*must have the sha256 [0-9a-f]{64}, got", 1),
    "a page instead": ([act.instead(b"<html>")], {}, ValueError, "http.*not a complete gz file", 1),
    "nothing at all": ([act.instead(b"")], {}, ValueError, r"http.*sha256.*0 of 200000 bytes", 1),
    "half, and says that it is all": (
        [act.half_without_length],
        {},
        ValueError,
        "http.*not a complete gz file",
        1,
    ),
    "too much": ([act.instead(bytes(300_000))], {}, ValueError, "http.*longer than the .* bytes", 1),
    "too much for this archive": (
        [act.instead(bytes(300_000))],
        {"member": "x", "length": 1000},
        ValueError,
        "http.*longer than the 1000 bytes",
        1,
    ),
    "packed otherwise": ([], {"packed": "0" * 64}, ValueError, "http.*x.gz.*expected 0{64} but got", 1),
    "another md5": ([], {"sha256": None, "md5": "0" * 32}, ValueError, "must have the md5 0{32}, got", 1),
    "404": ([act.status(404)], {}, ConnectionError, "cannot download http.*404", 1),
    "403": ([act.status(403)], {}, ConnectionError, "cannot download http.*403", 1),
    "500 for ever": ([act.status(500)] * 9, {}, ConnectionError, "http.*500.*MINIPC_DATA", transfer.TRIES),
    "redirects in a circle": (
        [act.redirect(302, "/x.gz")] * 200,
        {},
        ConnectionError,
        "cannot download http.*redirects",
        None,
    ),
    "redirects to a file": (
        [act.redirect(302, "file:///etc/passwd")] * 3,
        {},
        ConnectionError,
        "cannot download",
        3,
    ),
    "nobody there": (
        [],
        {"url": "http://127.0.0.1:1/x.gz"},
        ConnectionError,
        r"cannot download http://127\.0\.0\.1:1/x\.gz: .*refused.*folder things.*MINIPC_DATA",
        0,
    ),
    "no such host": (
        [],
        {"url": "http://nowhere.invalid/x.gz"},
        ConnectionError,
        r"cannot download http://nowhere\.invalid/x\.gz: .*put x\.gz or x into a folder things.*MINIPC_DATA",
        0,
    ),
    "no public origin": (
        [],
        {"url": None},
        FileNotFoundError,
        "x.gz is not here and has no public origin",
        0,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_clear_error_and_a_clean_cache(name, remote, server, cache):
    """Nothing that is wrong or unfinished has a name in the cache; asked no more often than makes sense."""
    plan, changes, error, message, requests = REFUSED[name]
    server.plan = list(plan)
    with pytest.raises(error, match=message):
        content(remote._replace(**changes))
    assert kept(cache) == []
    assert requests is None or len(server.asked) == requests
    if error is ValueError:
        assert [path.name for path in part(cache).parent.iterdir()] == ["x.gz.lock"]


def test_after_a_wrong_download_the_right_one_is_taken(remote, server, cache):
    """Nothing of the wrong one is in the way."""
    server.plan = [act.instead(OTHER)]
    with pytest.raises(ValueError, match="sha256"):
        content(remote)
    assert content(remote) == CONTENT


def test_a_file_under_minipc_data_comes_first(remote, server, cache, tmp_path, monkeypatch):
    """Before the cache and the network, in any packing; a damaged one is refused, not passed over."""
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path))
    assert content(remote) == CONTENT
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "x").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"/things/x: the unpacked content.*\(7 of 200000 .*delete it"):
        content(remote)
    (tmp_path / "things" / "x").write_bytes(CONTENT)
    (cache / "things" / "x.gz").write_bytes(OTHER)
    assert content(remote) == CONTENT
    assert len(server.asked) == 1


def test_no_more_is_unpacked_than_the_file_should_hold(remote, tmp_path, monkeypatch):
    """A small file that unpacks to gigabytes does not fill the memory: one byte too many is enough to know."""
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path))
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "x.gz").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(ValueError, match=r"\(200001 of 200000 bytes looked at\)"):
        content(remote)


def test_a_damaged_file_in_the_cache_is_refused(remote, server, cache):
    """By its path, and what to do; deleted, it is downloaded again."""
    content(remote)
    path = cache / "things" / "x.gz"
    path.write_bytes(PACKED[:-100])
    with pytest.raises(ValueError, match=r"things/x\.gz: not a complete gz file.*delete it and try again"):
        content(remote)
    path.unlink()
    assert content(remote) == CONTENT


def test_without_pooch_minipc_data_still_works(remote, server, cache, tmp_path, monkeypatch):
    """And without the file it says what to install."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pooch: pip install "minipc\[data\]"; or put x.gz or x into'):
        content(remote)
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path))
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "x.gz").write_bytes(PACKED)
    assert content(remote) == CONTENT
    assert server.asked == []


def test_minipc_data_must_name_a_folder(remote, cache, tmp_path, monkeypatch):
    """A wrong name would otherwise start a download without a word."""
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path / "dta"))
    with pytest.raises(FileNotFoundError, match=r"MINIPC_DATA must name a folder, got '.*dta'"):
        content(remote)


def test_a_cache_folder_that_cannot_be_written(remote, server, cache):
    """A file is in its place. The message has the folder and the way around it."""
    cache.parent.write_bytes(b"")
    with pytest.raises(OSError, match=r"cannot write into the cache folder .*home/minipc: .*MINIPC_DATA"):
        content(remote)


def test_a_full_disk(remote, server, cache):
    """It is no fault of the network; what had come is continued when there is room again. Stand-in: a limit for files."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * transfer.CHUNK, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write into the cache folder .*too large"):
            content(remote)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept(cache) == []
    assert content(remote) == CONTENT
    assert [asked for _, asked in server.asked] == [None, f"bytes={2 * transfer.CHUNK}-"]


def test_a_bar_is_shown(remote, server, cache, capsys):
    """On the error stream, with the name of the file; the result is on neither stream."""
    content(remote)
    out, err = capsys.readouterr()
    assert out == ""
    assert "x.gz:   0%" in err


def test_without_tqdm_there_is_no_bar(remote, server, cache, capsys, monkeypatch):
    """And nothing else is missing."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert content(remote) == CONTENT
    assert "%" not in capsys.readouterr().err


CHILD = """
import sys
from data.test_downloads import CONTENT, content, remote_at
print("ready", flush=True)
assert content(remote_at(sys.argv[1])) == CONTENT
"""


def child(server):
    """Another process that downloads the file; it has told that it begins."""
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{CHILD}"
    process = subprocess.Popen([sys.executable, "-c", code, server.url], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def wait_until(condition):
    """A minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_kill_in_the_middle(remote, server, cache):
    """What had come is there, the cache is clean, the lock is free, and the next process goes on from there."""
    server.plan = [act.waiting]
    with child(server) as process:
        wait_until(lambda: part(cache).exists() and part(cache).stat().st_size >= HALF // 2)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert kept(cache) == []
    had = part(cache).read_bytes()
    assert 0 < len(had) < len(PACKED)
    assert PACKED.startswith(had)
    assert content(remote) == CONTENT
    assert server.asked == [("/x.gz", None), ("/x.gz", f"bytes={len(had)}-")]


def test_two_processes_do_not_spoil_each_other(remote, server, cache):
    """The second waits for the first and takes what that one has put into the cache."""
    server.plan = [act.waiting]
    with child(server) as first:
        wait_until(lambda: server.asked)
        with child(server) as second:
            time.sleep(0.5)  # it would ask, if it did not wait
            assert second.poll() is None
            server.go_on.set()
            assert (first.wait(60), second.wait(60)) == (0, 0)
    assert server.asked == [("/x.gz", None)]
    assert (cache / "things" / "x.gz").read_bytes() == PACKED
