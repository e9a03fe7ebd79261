"""The log of a long command: one line of JSON for every run that is done, so that it can be stopped and goes on."""

import json
import os

from minipc.files import check_place, json_line, replacing

FIRST = b'{"config": '  # how every line of a log begins


class Log:
    """Runs that are done, one line each; half a line, left by a command that was killed, is dropped."""

    def __init__(self, path):
        self.path = check_place(path)
        whole, end, half = self._content().rpartition(b"\n")
        if not (half.startswith(FIRST) or FIRST.startswith(half)):
            raise ValueError(
                f"{self.path} is no log of this command; its last line begins with {half[:20]!r}"
            )
        self.runs()
        if half:
            with replacing(self.path) as file:
                file.write(whole + end)

    def _content(self):
        return self.path.read_bytes() if self.path.exists() else b""

    def runs(self):
        """All of them, read anew."""
        lines = self._content().split(b"\n")[:-1]
        for number, line in enumerate(lines, start=1):
            if not line.startswith(FIRST):
                raise ValueError(
                    f"{self.path} is no log of this command; line {number} begins with {line[:20]!r}"
                )
        return [json.loads(line) for line in lines]

    def append(self, result):
        """One more line, on the disk before the next run begins."""
        with self.path.open("ab", buffering=0) as file:
            file.write(json_line(result))
            os.fsync(file.fileno())
