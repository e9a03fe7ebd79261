"""Writing files so that nothing is lost: under a temporary name, flushed to the disk, then renamed."""

import contextlib
import glob
import json
import os
import pathlib
import tempfile


@contextlib.contextmanager
def replacing(path):
    """Open a temporary binary file beside ``path`` that takes its place when the block ends without error.

    A crash at any moment leaves either the old file or the new one, and no half-written one.
    """
    path = check_place(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def check_place(path):
    """The path of a file that can be written here, as far as one can see without writing."""
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    return path


def remove_parts(path):
    """Delete what a process that was killed while it wrote ``path`` has left; never while another one writes it."""
    path = pathlib.Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


def _flush_folder(folder):
    """After a renaming the new name, too, has to reach the disk; systems without such a thing do it themselves."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # some file systems have no such thing
                os.fsync(handle)
        finally:
            os.close(handle)


def _umask():
    current = os.umask(0)
    os.umask(current)
    return current


def write_json(path, value):
    """Write ``value`` as JSON: NaN and infinity, which JSON does not have, become strings."""
    with replacing(path) as file:
        file.write((json.dumps(_plain(value), indent=1, allow_nan=False) + "\n").encode())


def json_line(value) -> bytes:
    """``value`` as one line of JSON, with its end."""
    return (json.dumps(_plain(value), allow_nan=False) + "\n").encode()


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
