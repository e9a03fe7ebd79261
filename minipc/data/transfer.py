"""One file over HTTP, continued where it stopped; and a lock, so that two processes do not write the same one."""

import contextlib
import os
import re
import time

from ..progress import bar

TIMEOUT = 30  # seconds without a byte
TRIES = 3  # in a row that bring nothing new
PAUSE = 1.0  # seconds before another one
CHUNK = 2**14  # bytes; of a chunk that does not come to its end nothing may be left


def fetch(url, path, limit=None):
    """Download ``url`` to ``path`` as it is; what ``path`` holds already is taken for its beginning.

    A connection that breaks is taken up again with an HTTP Range request, as long as each try brings more. A server
    that knows no Range sends everything once more. Whether the bytes are the right ones is for the caller to see.

    Raises
    ------
    ConnectionError          no network, no answer in time, or an answer that says no; ``path`` is kept
    ValueError               more than ``limit`` bytes
    """
    import requests  # these two come with pooch
    import urllib3

    failures = 0
    while True:
        before = _size(path)
        try:
            if _transfer(url, path, limit):
                return
            reason = f"the connection ended after {_size(path)} bytes"
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = getattr(error.args[0] if error.args else None, "reason", error)  # without its wrapping
            answer = getattr(error, "response", None)
            if answer is not None and answer.status_code < 500:  # no use in asking again
                failures = TRIES
        failures = 0 if _size(path) > before else failures + 1
        if failures >= TRIES:
            raise ConnectionError(f"cannot download {url}: {reason}")
        time.sleep(PAUSE if failures else 0)


def _transfer(url, path, limit):
    """One request; True if ``path`` is complete after it, as far as the server tells."""
    import requests

    have = _size(path)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except ValueError as error:  # of the address, or of one that the server redirects to
        raise requests.exceptions.InvalidURL(f"no such address can be: {error}") from None
    with answer:
        if answer.status_code == 416:  # nothing comes after `have`; it may be too long, which the caller sees
            return True
        answer.raise_for_status()
        begin, total = _place(answer)
        if begin > have:
            path.unlink()
            return False
        options = {"desc": path.stem, "initial": begin, "total": total, "unit": "B", "unit_scale": True}
        with open(path, "r+b" if begin else "wb") as file, bar(**options) as shown:
            file.truncate(file.seek(begin))
            for chunk in answer.raw.stream(CHUNK, decode_content=False):  # the file itself, packed as it is
                file.write(chunk)
                shown.update(len(chunk))
                if limit is not None and file.tell() > limit:
                    raise ValueError(f"it is longer than the {limit} bytes that it can have at most")
            return total is None or file.tell() == total


def _place(answer):
    """Where in the file the answer begins, and how long the file is, if that is known."""
    if answer.status_code == 206:
        place = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if place:
            return int(place[1]), None if place[2] == "*" else int(place[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _size(path):
    return path.stat().st_size if path.exists() else 0


@contextlib.contextmanager
def alone(path):
    """One process at a time is in this block with this ``path``, the others wait; it ends with the process, at worst."""
    with open(path, "ab") as file:
        if os.name == "nt":
            _lock_on_windows(file)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock_on_windows(file):
    import msvcrt

    while True:
        with contextlib.suppress(OSError):  # it gives up after ten seconds
            return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
