"""Files that are not shipped: found on this machine or downloaded; used only with the known checksum.

A file is looked for in the folder that the environment variable ``MINIPC_DATA`` names, then in the cache folder of the
platform (Linux: ``$XDG_CACHE_HOME/minipc``, by default ``~/.cache/minipc``; found by pooch). If neither has it, it is
downloaded into the cache. A download that breaks off is continued by the next call, from where it stood.

The checksum is that of the *unpacked* bytes: two gzip files of the same content may differ.
"""

import hashlib
import os
import pathlib
from typing import NamedTuple

from .packing import unpacked


class Remote(NamedTuple):
    """A file of known content, and where it is to be had.

    Attributes
    ----------
    folder : str            under MINIPC_DATA and in the cache
    names : tuple           file names accepted there; packing told by suffix: .gz, .xz or none
    url : str or None       public origin; None: it has none (then only MINIPC_DATA)
    size : int              bytes when unpacked
    sha256 : str or None    of the unpacked bytes
    member : str or None    the file inside the zip or tar at ``url``; the archive is accepted in ``folder``, too
    packed : str or None    sha256 of the file at ``url`` as it comes, looked at after a download
    md5 : str or None       of the unpacked bytes, where no sha256 of them is public
    """

    folder: str
    names: tuple
    url: str | None
    size: int
    sha256: str | None
    member: str | None = None
    packed: str | None = None
    md5: str | None = None


def content(remote) -> bytes:
    """The content of a :class:`Remote` file, found or downloaded, its checksum verified.

    Raises
    ------
    ValueError               the content is not the known one: names the file or URL and both checksums
    ConnectionError          it is not here and cannot be downloaded; says where to put it by hand
    FileNotFoundError        it is not here and has no public origin
    """
    path = found(remote)
    if path is None:
        raise ConnectionError(f"{remote.names[0]} is not here; {_by_hand(remote)}")
    return verified(path, remote)


def found(remote):
    """The path of a :class:`Remote` file on this machine; None: it is not here."""
    names = [*remote.names, *([file_name(remote.url)] if remote.member else [])]
    paths = (folder / remote.folder / name for folder in _folders() for name in names)
    return next((path for path in paths if path.is_file()), None)


def verified(path, remote, source=None) -> bytes:
    """The unpacked content of the file at ``path``, if it is the known one; unpacks no more than its size."""
    source = source or path
    member = remote.member if path.name == file_name(remote.url or "") else None
    try:
        found = unpacked(path, remote.size + 1, member)
    except ValueError as error:
        raise ValueError(f"{source} {error}; delete it and try again") from None
    check(found, remote, source)
    return found


def check(found, remote, source):
    """The bytes are those of the known checksum."""
    kind, expected = ("sha256", remote.sha256) if remote.sha256 else ("md5", remote.md5)
    digest = hashlib.new(kind, found, usedforsecurity=False).hexdigest()
    if digest != expected:
        raise ValueError(
            f"{source}: the unpacked content must have the {kind} {expected}, got {digest} "
            f"({len(found)} of {remote.size} bytes looked at); delete it and try again"
        )


def file_name(url) -> str:
    """The last part of the path of a URL."""
    return url.split("?")[0].rsplit("/", 1)[-1]


def _folders():
    """Where to look: under MINIPC_DATA, if it is set, and in the cache, if pooch is there to tell where it is."""
    given = os.environ.get("MINIPC_DATA")
    return [*([pathlib.Path(given)] if given else []), *_cache()]


def _cache():
    try:
        import pooch
    except ImportError:
        return []
    return [pooch.os_cache("minipc")]


def _by_hand(remote):
    return (
        f"put the file into a folder {remote.folder} and let the environment variable MINIPC_DATA name the folder that "
        f"holds {remote.folder}"
    )
