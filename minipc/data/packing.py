"""What a packed file holds: plain, gzip, xz, or one member of a zip or tar; in memory, never more than asked for.

Nothing is extracted to the disk. An archive with a name that leads out of its folder is refused all the same: it is
not the one that was published.
"""

import gzip
import lzma
import pathlib
import stat
import tarfile
import zipfile
import zlib

OPEN = {".gz": gzip.open, ".xz": lzma.open}
BROKEN = (
    EOFError,
    NotImplementedError,  # a damaged zip may seem to be of a version to come,
    OSError,  # or begin before the file
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def unpacked(path, limit, member=None) -> bytes:
    """At most ``limit`` bytes of what the file at ``path`` holds; of a zip or tar, of its ``member``.

    Raises
    ------
    ValueError          the file is truncated or not of the kind that its name says; the archive lacks the member,
                        or has it as a link, or holds a name that leads out of its folder
    """
    path = pathlib.Path(path)
    with path.open("rb") as packed:
        try:
            if is_archive(path.name):
                return (_from_zip if path.suffix == ".zip" else _from_tar)(packed, limit, member)
            if path.suffix not in OPEN:
                return packed.read(limit)
            with OPEN[path.suffix](packed) as file:
                return file.read(limit)
        except BROKEN as error:
            kind = "archive" if is_archive(path.name) else f"{path.suffix[1:]} file"
            raise ValueError(f"not a complete {kind}: {error}") from None


def is_archive(name) -> bool:
    """By its name: a zip or a tar, packed or not."""
    return name.endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz"))


def _from_zip(packed, limit, member):
    with zipfile.ZipFile(packed) as archive:
        for name in archive.namelist():
            _check_name(name)
        if member not in archive.namelist():
            raise ValueError(f"it has no member {member}")
        info = archive.getinfo(member)
        mode = info.external_attr >> 16  # of the file on the system where it was packed; 0: not told
        _check_file(member, stat.S_IFMT(mode) in (0, stat.S_IFREG) and not info.is_dir())
        if info.flag_bits & 1:
            raise ValueError(f"the member {member} is encrypted")
        with archive.open(info) as file:
            return file.read(limit)


def _from_tar(packed, limit, member):
    content = None
    with tarfile.open(fileobj=packed) as archive:
        for info in archive:  # to the end: it is seen whether the archive is complete
            _check_name(info.name)
            if info.name == member:
                _check_file(member, info.isreg())
                content = archive.extractfile(info).read(limit)
    if content is None:
        raise ValueError(f"it has no member {member}")
    return content


def _check_name(name):
    parts = pathlib.PureWindowsPath(name)  # knows both separators, and drives
    if parts.is_absolute() or parts.drive or name.startswith("/") or ".." in parts.parts:
        raise ValueError(f"it holds the name {name!r}, which leads out of its folder")


def _check_file(member, regular):
    if not regular:
        raise ValueError(f"the member {member} is a link or folder, not a file")
