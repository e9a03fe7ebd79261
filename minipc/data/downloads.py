"""Files that are not shipped: looked for on this machine, else downloaded; used only with the known checksum.

A file ``mnist/x.gz`` is looked for under the folder that the environment variable ``MINIPC_DATA`` names, then
under the cache folder (``$XDG_CACHE_HOME/minipc``, by default ``~/.cache/minipc``). If neither has it, it is
downloaded into the cache folder, under a temporary name until it is complete and checked.

The checksum is that of the *unpacked* bytes: two gzip files of the same content may differ.
"""

import gzip
import hashlib
import io
import os
import pathlib
import zlib
from typing import NamedTuple

from ..files import replacing

TIMEOUT = 60  # seconds without an answer


class Remote(NamedTuple):
    """A gzip file of known content: ``folder/name``, where it comes from, size and sha256 when unpacked."""

    folder: str
    name: str
    url: str
    size: int
    sha256: str


def unpacked(remote) -> bytes:
    """The content of a :class:`Remote` file, found or downloaded, its checksum verified.

    Raises
    ------
    ValueError               the content is not the known one: names the file or URL and both checksums
    ConnectionError          it is on neither place and cannot be downloaded; says where to put it by hand
    """
    for folder in _folders():
        path = folder / remote.folder / remote.name
        if path.is_file():
            return _verified(path.read_bytes(), remote, path)
    packed = _downloaded(remote)
    content = _verified(packed, remote, remote.url)
    path.parent.mkdir(parents=True, exist_ok=True)  # the last place looked at is the cache
    with replacing(path) as file:
        file.write(packed)
    return content


def _folders():
    """Where to look: under MINIPC_DATA, if it is set, and in the cache."""
    given, cache = os.environ.get("MINIPC_DATA"), os.environ.get("XDG_CACHE_HOME")
    cache = pathlib.Path(cache) if cache else pathlib.Path.home() / ".cache"
    return [*([pathlib.Path(given)] if given else []), cache / "minipc"]


def _verified(packed, remote, source):
    """The unpacked bytes, if they are the known ones; unpacks no more than their size."""
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            content = file.read(remote.size + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{source} is not a complete gzip file: {error}; delete it and try again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != remote.sha256:
        raise ValueError(
            f"{source}: the unpacked content must have the sha256 {remote.sha256}, got {found} "
            f"({len(content)} of {remote.size} bytes looked at); delete it and try again"
        )
    return content


def _downloaded(remote):
    import urllib.request  # only here: it is slow to import

    try:
        with urllib.request.urlopen(remote.url, timeout=TIMEOUT) as answer:
            return answer.read(remote.size + 1024)  # packed it is hardly ever larger
    except OSError as error:
        raise ConnectionError(
            f"cannot download {remote.url}: {error}; without a network, put the file into a folder "
            f"{remote.folder} and let the environment variable MINIPC_DATA name the folder that holds {remote.folder}"
        ) from None  # the chain below is forty lines of sockets
