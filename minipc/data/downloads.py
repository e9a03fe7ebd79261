"""Files that are not shipped: found on this machine or downloaded; used only with the known checksum.

A file is looked for in the folder that the environment variable ``MINIPC_DATA`` names, then in the cache folder of the
platform (Linux: ``$XDG_CACHE_HOME/minipc``, by default ``~/.cache/minipc``; found by pooch). If neither has it, it is
downloaded into the cache. A download that breaks off is continued by the next call, from where it stood.

The checksum is that of the *unpacked* bytes: two gzip files of the same content may differ.
"""

import contextlib
import hashlib
import os
import pathlib
from typing import NamedTuple

from . import transfer


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
    length : int or None    bytes of the archive at ``url``; a download that is longer is stopped
    """

    folder: str
    names: tuple
    url: str | None
    size: int
    sha256: str | None = None
    member: str | None = None
    packed: str | None = None
    md5: str | None = None
    length: int | None = None


def content(remote) -> bytes:
    """The content of a :class:`Remote` file, found or downloaded, its checksum verified.

    Raises
    ------
    ValueError               the content is not the known one: names the file or URL and both checksums
    ConnectionError          it is not here and cannot be downloaded; says where to put it by hand
    ImportError              it is not here, and pooch, which downloads, is not installed
    FileNotFoundError        it is not here and has no public origin, or MINIPC_DATA names no folder
    OSError                  the cache folder cannot be written
    """
    path = found(remote)
    return _downloaded(remote) if path is None else _kept(path, remote)


def found(remote):
    """The path of a :class:`Remote` file on this machine; None: it is not here."""
    names = dict.fromkeys([*remote.names, *([_name(remote.url)] if remote.url else [])])
    paths = (folder / remote.folder / name for folder in _folders() for name in names)
    return next((path for path in paths if path.is_file()), None)


def _folders():
    """Where to look: under MINIPC_DATA, if it is set; then in the cache, if pooch is there to tell where it is."""
    given = os.environ.get("MINIPC_DATA")
    if given:
        if not os.path.isdir(given):
            raise FileNotFoundError(f"the environment variable MINIPC_DATA must name a folder, got {given!r}")
        yield pathlib.Path(given)
    with contextlib.suppress(ImportError):
        import pooch  # only here: not needed where MINIPC_DATA has the file

        yield pooch.os_cache("minipc")


def _kept(path, remote):
    try:
        return _verified(path, remote)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete it and try again") from None


def _verified(path, remote):
    """The unpacked content of the file at ``path``, if it is the known one; unpacks no more than its size."""
    from . import packing  # only here: archives are slow to import

    in_archive = remote.member and path.name == _name(remote.url)
    unpacked = packing.unpacked(path, remote.size + 1, remote.member if in_archive else None)
    kind = "sha256" if remote.sha256 else "md5"
    expected, digest = getattr(remote, kind), hashlib.new(kind, unpacked, usedforsecurity=False).hexdigest()
    if digest != expected:
        raise ValueError(
            f"the unpacked content must have the {kind} {expected}, got {digest} "
            f"({len(unpacked)} of {remote.size} bytes looked at)"
        )
    return unpacked


def _downloaded(remote):
    """The content, downloaded into the cache. The file gets its name there when all checksums are right."""
    by_hand = (
        f"put {' or '.join(remote.names)} into a folder {remote.folder} and let the environment variable MINIPC_DATA "
        f"name the folder that holds {remote.folder}"
    )
    if remote.url is None:
        raise FileNotFoundError(f"{remote.names[0]} is not here and has no public origin; {by_hand}")
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f'downloading {remote.url} needs pooch: pip install "minipc[data]"; or {by_hand}'
        ) from None
    cache = pooch.os_cache("minipc")
    try:
        return _into(cache, remote)
    except ConnectionError as error:
        # without its chain, which is forty lines of sockets
        raise ConnectionError(f"{error}; without a network, {by_hand}") from None
    except OSError as error:
        raise OSError(f"cannot write into the cache folder {cache}: {error}; or {by_hand}") from None


def _into(cache, remote):
    """What is not verified stays in ``partial``; one process at a time works there on a file."""
    import pooch

    name = _name(remote.url)
    final, folder = cache / remote.folder / name, cache / "partial" / remote.folder
    whole, part = folder / name, folder / f"{name}.part"
    final.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)

    def download(url, output, _):
        transfer.fetch(url, part, remote.length if remote.member else remote.size + remote.size // 100 + 1024)
        os.replace(part, output)

    store = pooch.create(folder, "", registry={name: remote.packed}, urls={name: remote.url})
    with transfer.alone(folder / f"{name}.lock"):
        if final.is_file():  # another process was faster
            return _kept(final, remote)
        for begun in (whole.exists() or part.exists(), False):
            try:
                store.fetch(name, downloader=download)  # verifies `packed`
                unpacked = _verified(whole, remote)
                os.replace(whole, final)
                return unpacked
            except ValueError as error:
                whole.unlink(missing_ok=True)
                part.unlink(missing_ok=True)
                if not begun:  # else the beginning may have been wrong: once more, from the start
                    raise ValueError(
                        f"{remote.url}: {error}; nothing of it is kept, try again later"
                    ) from None


def _name(url):
    """The last part of the path of a URL."""
    return url.split("?")[0].rsplit("/", 1)[-1]
