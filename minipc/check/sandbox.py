"""A student's function in a process of its own, under limits of time and memory.

The child process only evaluates the function and hands back arrays; whether they are right is decided by the caller.
So neither what the student's file prints, nor how it ends, nor what it changes in its own copy of minipc makes a
wrong answer right. An endless loop, a crash or a huge allocation is an exception here, not a hang.

It is a limit for careless code, not a wall against hostile code. The child runs as the same user: it can read and
write this user's files and the network, it can import minipc and call the function that it was asked to write, and
by way of ``ctypes`` it can start and end processes. To grade for marks use a container or a user of its own, give
the result to a place that the child cannot write to, and start ``python -P -m minipc`` from a folder of yours, so that a
``numpy.py`` among the student's files is not taken for the real one.
"""

import contextlib
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time as clock
import weakref

from ..arguments import check_count, check_positive_number
from . import wire
from .child import is_own, shortened

START = 60.0  # seconds for Python and minipc to start in the child
LATE = 0.5  # seconds after a limit, in which the child says where it is
HEAD, TAIL = 2000, 20000  # bytes that are kept of what is printed
LONGEST = 1 << 28  # bytes of a reply
ROOT = str(pathlib.Path(__file__).resolve().parents[2])
CHILD = (
    f"import sys; sys.path.insert(0, {ROOT!r}); sys.dont_write_bytecode = True; "
    f"from minipc.check import child; del sys.path[0]; sys.path.append({ROOT!r}); child.main()"
)
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class StudentFailure(Exception):
    """There is no answer of the student's function. The text says why; ``place`` is (file, line, function, code) or None."""

    def __init__(self, text, place=None):
        super().__init__(text)
        self.place = place


class StudentError(StudentFailure):
    """The student's code raised an exception; the text is its traceback, ``kind`` its name."""

    def __init__(self, text, place=None, kind=""):
        super().__init__(text, place)
        self.kind = kind


class StudentTimeout(StudentFailure):
    """The limit of time was reached."""


class StudentMemory(StudentFailure):
    """The limit of memory was reached."""


class StudentCrash(StudentFailure):
    """The process ended, or its reply could not be read."""


class Remote:
    """A function of a file, to be called like any other; it runs in a process of its own.

    Arguments and results are arrays, numbers, strings, None, lists, tuples and dicts of them, and networks and
    blocks of minipc. They are copied, so nothing that the function does to its arguments is seen. Results of torch, JAX,
    CuPy or autograd become NumPy arrays. The process begins in the current folder, with the folder of the file first on
    its path, and ends with :meth:`close` or the end of a ``with``.

    Parameters
    ----------
    file : str or path       of Python; its name need not be an identifier
    function : str           name of the function in it
    time : float             seconds that a call may take, and the loading of the file, too
    total : float            seconds for all of them together; also the limit of the processor time
    memory : int             megabytes that it may use beyond Python, NumPy and minipc themselves; enforced on Linux

    Attributes
    ----------
    calls : int              how many have begun
    elapsed : float          seconds in which the student's code was at work
    memory_enforced : bool   False where the system does not limit it
    failure : StudentFailure     the latest, or None

    Raises
    ------
    FileNotFoundError, ValueError, TypeError     no such file, or wrong arguments, before anything is run
    StudentError             the file or the function raises an exception, also a SyntaxError or a missing function
    StudentTimeout, StudentMemory, StudentCrash      the process is ended; every later call raises the same again

    Examples
    --------
    >>> with Remote(example, "double", time=5) as double:
    ...     double([1.0, (2.0, None)])
    [2.0, (4.0, None)]
    """

    def __init__(self, file, function, *, time=10.0, total=60.0, memory=1024):
        check_positive_number("time", time)
        check_positive_number("total", total)
        check_count("memory", memory, least=1)
        if not isinstance(function, str) or not function.isidentifier():
            raise ValueError(f"function must be the name of a function, got {function!r}")
        if not pathlib.Path(file).is_file():
            raise FileNotFoundError(f"there is no file {file}")
        self.file, self.function, self.__name__ = str(file), function, function
        self.time, self.total, self.memory = float(time), float(total), int(memory)
        self.calls, self.elapsed, self.failure, self.memory_enforced = 0, 0.0, None, False
        self._child = _Child()
        try:
            setting = (str(pathlib.Path(file).resolve()), function, self.memory, self.total)
            self.memory_enforced = self._ask(setting, START, "Python did not start")
            self.elapsed = 0.0
            self._ask(self._limit(), self._limit(), f"{self.file} was not loaded")
        except BaseException:
            self.close()
            raise

    def __call__(self, *args, **kwargs):
        if isinstance(self.failure, StudentTimeout | StudentMemory | StudentCrash):
            raise self.failure
        limit = self._limit()
        self.calls += 1
        return self._ask((limit, args, kwargs), limit, f"{self.function} did not return")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"Remote({self.file!r}, {self.function!r})"

    def close(self):
        """End the process, and all that it has started."""
        self._child.end()

    @property
    def output(self) -> str:
        """What the student's code has printed: the beginning, and how much it was. Complete after :meth:`close`."""
        return self._child.printed.text()

    def _limit(self):
        """Seconds for the next call; never none at all, so that the call says that it has no time."""
        return max(min(self.time, self.total - self.elapsed), 0.01)

    def _ask(self, request, limit, late):
        """The reply to a request, or a StudentFailure."""
        began = clock.monotonic()
        try:
            line = self._child.ask(wire.dump(request), limit + LATE)
        finally:
            self.elapsed += clock.monotonic() - began
        self.failure = None
        try:
            kind, *rest = ("none",) if line is None else wire.load(line)
            if kind == "value":
                return rest[0]
            self.failure = self._failure(kind, limit, late, *rest)
        except (ValueError, TypeError, IndexError) as error:
            self._child.end()
            self.failure = StudentCrash(f"Crash: the reply of the process cannot be read ({error})")
        if not isinstance(self.failure, StudentError):
            self.close()
        raise self.failure
