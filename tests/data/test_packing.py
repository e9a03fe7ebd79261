"""Packed files and archives: what they hold, no more than asked for, and refusals of what is broken or hostile."""

import gzip
import lzma
import stat
import tarfile
import tracemalloc

import numpy as np
import pytest

from data.archives import encrypted, tar, zipped
from minipc.data import packing

CONTENT = np.random.default_rng(0).bytes(50_000)
MEMBER, OTHERS = "folder/x.bin", {"folder/readme": b"hello", "folder/sub/y.bin": CONTENT[::-1]}
MEMBERS = {"folder/before": b"1", MEMBER: CONTENT, **OTHERS}
FORMS = {
    "x": CONTENT,
    "x.bin": CONTENT,
    "x.gz": gzip.compress(CONTENT),
    "x.xz": lzma.compress(CONTENT),
    "x.zip": zipped(MEMBERS),
    "x.tar": tar(MEMBERS),
    "x.tar.gz": tar(MEMBERS, "w:gz"),
    "x.tgz": tar(MEMBERS, "w:gz"),
    "x.tar.xz": tar(MEMBERS, "w:xz"),
}


@pytest.fixture
def written(tmp_path):
    """Write bytes under a name, alone in a folder."""

    def write(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", FORMS)
def test_what_a_file_holds(name, written, tmp_path):
    """Told by the suffix; nothing is written beside it."""
    path = written(name, FORMS[name])
    assert packing.unpacked(path, len(CONTENT) + 1, MEMBER) == CONTENT
    assert packing.unpacked(path, 10, MEMBER) == CONTENT[:10]
    assert [p.name for p in tmp_path.iterdir()] == [name]


NO_FILES = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a folder": tarfile.DIRTYPE,
    "a device": tarfile.CHRTYPE,
}
BAD_FILES = {  # name of the file, its bytes, what is said
    "gz, truncated": ("x.gz", FORMS["x.gz"][:-9], "not a complete gz file"),
    "gz, without its checksum": ("x.gz", FORMS["x.gz"][:-8], "not a complete gz file"),
    "gz, another checksum": ("x.gz", FORMS["x.gz"][:-8] + bytes(8), "not a complete gz file: CRC"),
    "gz, a page": ("x.gz", b"<html>", "not a complete gz file: Not a gzipped file"),
    "xz, truncated": ("x.xz", FORMS["x.xz"][:-9], "not a complete xz file"),
    "xz, a page": ("x.xz", b"<html>", "not a complete xz file"),
    "zip, truncated": ("x.zip", FORMS["x.zip"][:-9], "not a complete archive"),
    "zip, a page": ("x.zip", b"<html>", "not a complete archive"),
    "zip, empty": ("x.zip", b"", "not a complete archive"),
    "zip, damaged": ("x.zip", FORMS["x.zip"].replace(CONTENT[100:110], bytes(10)), "not a complete archive"),
    "zip, encrypted": ("x.zip", encrypted(zipped({MEMBER: CONTENT})), "folder/x.bin is encrypted"),
    "zip, no such member": ("x.zip", zipped(OTHERS), "it has no member folder/x.bin"),
    "zip, a link": (
        "x.zip",
        zipped({MEMBER: b"/etc/passwd"}, {MEMBER: stat.S_IFLNK | 0o777}),
        "the member folder/x.bin is a link or folder",
    ),
    "zip, out of the folder": (
        "x.zip",
        zipped({**MEMBERS, "../evil": b""}),
        r"the name '\.\./evil', which leads",
    ),
    "zip, out on a detour": (
        "x.zip",
        zipped({**MEMBERS, "a/../../evil": b""}),
        r"a/\.\./\.\./evil', which leads",
    ),
    "zip, absolute": ("x.zip", zipped({**MEMBERS, "/etc/evil": b""}), "'/etc/evil', which leads out"),
    "zip, of another drive": ("x.zip", zipped({**MEMBERS, "C:\\evil": b""}), "evil', which leads out"),
    "zip, out by backslash": ("x.zip", zipped({**MEMBERS, "..\\evil": b""}), "evil', which leads out"),
    "tar, truncated": ("x.tar", FORMS["x.tar"][:40_000], "not a complete archive"),
    "tar, a page": ("x.tar", b"<html>", "not a complete archive"),
    "tar, empty": ("x.tar", b"", "not a complete archive"),
    "tar, no such member": ("x.tar", tar(OTHERS), "it has no member folder/x.bin"),
    "tar.gz, truncated before": ("x.tar.gz", FORMS["x.tar.gz"][:40_000], "not a complete archive"),
    "tar.gz, truncated after": ("x.tar.gz", FORMS["x.tar.gz"][:80_000], "not a complete archive"),
    "tar.gz, not packed": ("x.tar.gz", FORMS["x.gz"], "not a complete archive"),
    "tar.gz, out of the folder": (
        "x.tar.gz",
        tar({**MEMBERS, "../evil": b""}, "w:gz"),
        r"'\.\./evil', which leads",
    ),
    "tar.gz, absolute": (
        "x.tar.gz",
        tar({**MEMBERS, "/etc/evil": b""}, "w:gz"),
        "'/etc/evil', which leads out",
    ),
    **{
        f"tar.gz, {kind}": (
            "x.tar.gz",
            tar(MEMBERS, "w:gz", {MEMBER: code}),
            "folder/x.bin is a link or folder",
        )
        for kind, code in NO_FILES.items()
    },
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused(name, written):
    """In words, with what is wrong."""
    file, data, message = BAD_FILES[name]
    with pytest.raises(ValueError, match=message):
        packing.unpacked(written(file, data), len(CONTENT) + 1, MEMBER)


@pytest.mark.parametrize("name", ["x.gz", "x.xz", "x.zip", "x.tar.gz", "x.tar.xz"])
def test_a_small_file_that_holds_gigabytes_does_not_fill_the_memory(name, written):
    """100 MB of zeros in a few kB: as many bytes as asked for, and little more memory than that."""
    zeros = bytes(10**8)
    forms = {
        "x.gz": lambda: gzip.compress(zeros, 1),
        "x.xz": lambda: lzma.compress(zeros, preset=0),
        "x.zip": lambda: zipped({MEMBER: zeros}),
        "x.tar.gz": lambda: gzip.compress(tar({MEMBER: zeros}), 1),
        "x.tar.xz": lambda: lzma.compress(tar({MEMBER: zeros}), preset=0),
    }
    path = written(name, forms[name]())
    assert path.stat().st_size < 10**6
    tracemalloc.start()
    assert packing.unpacked(path, 1001, MEMBER) == bytes(1001)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**7


@pytest.mark.parametrize("name", ["x.gz", "x.xz", "x.zip", "x.tar", "x.tar.gz", "x.tar.xz"])
def test_damage_anywhere_is_an_error_in_words_or_changes_the_content(name, written):
    """One byte of 200 changed at random: bytes come out, which the checksum then judges, or a ValueError."""
    draw, outcomes = np.random.default_rng(1), set()
    for _ in range(200):
        data = bytearray(FORMS[name])
        head_or_tail = draw.integers(2) * (len(data) - 600)  # where the structure is
        data[int(head_or_tail + draw.integers(600))] ^= int(draw.integers(1, 256))
        try:
            outcomes.add(type(packing.unpacked(written(name, bytes(data)), len(CONTENT) + 1, MEMBER)))
        except ValueError:
            outcomes.add(ValueError)
    assert outcomes <= {bytes, ValueError}
    assert ValueError in outcomes
