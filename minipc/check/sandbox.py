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
import inspect
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

import numpy as np

from ..arguments import check_count, check_number_between
from . import wire
from .child import is_own
from .explanation import StoppedError

LIMIT = 10**7  # seconds or megabytes; the system's own counters end somewhere
START = 60.0  # seconds for Python and minipc to start in the child
LATE = 0.5  # seconds in which the child says that a limit is reached, before it is taken for dead
HEAD, TAIL = 1500, 500  # characters that are shown of what is printed
LONGEST = 1 << 24  # bytes of a reply, to which a million numbers come
ROOT = str(pathlib.Path(__file__).resolve().parents[2])
CHILD = (
    f"import sys; sys.path.insert(0, {ROOT!r}); sys.dont_write_bytecode = True; "
    f"from minipc.check import child; del sys.path[0]; sys.path.append({ROOT!r}); child.main()"
)
SETTING = {  # one thread: address space and processor time are those of the student's code
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PYTHONIOENCODING": "utf-8:backslashreplace",
}


class StudentFailure(Exception):  # noqa: N818
    """There is no answer of the student's function, and the text says why.

    Attributes
    ----------
    place : (file, line, function, code), or None      the student's own line at which it happened
    traceback : str                                    of an exception: the student's own lines, or ""
    """

    def __init__(self, text, place=None, traceback=""):
        super().__init__(text)
        self.place, self.traceback = place, traceback


class StudentError(StudentFailure):
    """The student's code raised an exception.

    The class that is raised has the name of the student's, and is a ValueError or NotImplementedError if that is one.
    """


class StudentTimeout(StudentFailure, StoppedError):  # noqa: N818
    """The limit of time was reached."""


class StudentMemory(StudentFailure, StoppedError):  # noqa: N818
    """The limit of memory was reached."""


class StudentCrash(StudentFailure, StoppedError):  # noqa: N818
    """The process ended, or its reply cannot be read."""


class Remote:
    r"""A function of a file, to be called like any other; it runs in a process of its own.

    Arguments and results are arrays, numbers, strings, None, lists, tuples and dicts of them, and networks and
    blocks of minipc. Copies of them travel; what the function edits of its arguments is edited here, too. Results of
    torch, JAX, CuPy or autograd come as NumPy arrays. The process starts with the ``with`` (or the first call), in the
    current folder and with the folder of the file first on its path; it ends with the ``with`` (or :meth:`close`).

    Parameters
    ----------
    file : str or path       of Python; its name need not be an identifier
    function : str           name of the function in it
    time : float             seconds that a call may take, and the loading of the file
    total : float            seconds for all of that together; also the limit of the processor time
    memory : int             megabytes that it may use beyond Python, NumPy and minipc themselves

    Attributes
    ----------
    calls : int              how many have begun
    elapsed : float          seconds in which the student's code was at work
    memory_enforced : bool   False where the system has no such limit; Linux has. None before the start
    failures : list          every StudentFailure so far

    Raises
    ------
    FileNotFoundError, ValueError, TypeError     no such file, or wrong arguments, before anything is run
    StudentError             the file or the function raises an exception: a SyntaxError, a NameError if it is missing
    StudentTimeout, StudentMemory, StudentCrash      the process is ended; every later call raises the same again

    Examples
    --------
    >>> folder = __import__("tempfile").TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "exercise 1.py")
    >>> _ = file.write_text('''
    ... import numpy as np
    ... def dtanh(a):
    ...     return 1 - np.tanh(a)
    ... def stuck(a):
    ...     while True: pass
    ... ''')
    >>> from minipc.check import explain
    >>> with Remote(file, "dtanh") as dtanh:
    ...     dtanh(np.zeros(3)), explain(dtanh, "ACT.2").names
    (array([1., 1., 1.]), ("tanh' is written 1 - mu",))
    >>> with Remote(file, "stuck", time=0.5) as stuck:
    ...     try:
    ...         stuck(np.zeros(3))
    ...     except StudentTimeout as error:
    ...         print(str(error).replace(str(file), file.name))
    stuck did not return within 0.5 s
    exercise 1.py, line 6, in stuck: while True: pass
    >>> folder.cleanup()
    """

    def __init__(self, file, function, *, time=10.0, total=60.0, memory=1024):
        check_number_between("time", time, 0.01, LIMIT)
        check_number_between("total", total, 0.01, LIMIT)
        check_count("memory", memory, least=1)
        check_number_between("memory", memory, 1, LIMIT)
        if not isinstance(function, str) or not function.isidentifier():
            raise ValueError(f"function must be the name of a function, got {function!r}")
        if not pathlib.Path(file).is_file():
            raise FileNotFoundError(f"there is no file {file}")
        self.file, self.function, self.__name__ = str(file), function, function
        self.time, self.total, self.memory = float(time), float(total), int(memory)
        self.calls, self.elapsed, self.failures, self.memory_enforced = 0, 0.0, [], None
        self._path, self._child = str(pathlib.Path(file).resolve()), None

    def __enter__(self):
        """Start the process and load the file."""
        self._child = _Child()
        try:
            setting = (self._path, self.function, self.memory, self.total)
            self.memory_enforced = self._ask(setting, START, "Python was not started")
            self.elapsed = 0.0
            limit = self._limit()
            self.__signature__ = self._ask(limit, limit, f"{self.file} was not loaded", _signature)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def __call__(self, *args, **kwargs):
        if self._child is None:
            self.__enter__()
        if self.failures and isinstance(self.failures[-1], StoppedError):
            raise self.failures[-1]
        limit = self._limit()
        self.calls += 1
        given = dict(enumerate(args)) | kwargs

        def read(reply):
            result, edited = reply
            for key, value in edited.items():
                restored(given[key], value)
            return result

        return self._ask((limit, args, kwargs), limit, f"{self.function} did not return", read)

    def __repr__(self):
        return f"Remote({self.file!r}, {self.function!r})"

    def close(self):
        """End the process, and what it has started."""
        if self._child is not None:
            self._child.end()

    @property
    def printed(self) -> str:
        """What the student's code has printed, shortened; complete after :meth:`close`."""
        return printable(self._child.printed.text()) if self._child is not None else ""

    def _limit(self):
        """Seconds for the next call; never none at all, so that the call says that it has no time."""
        return max(min(self.time, self.total - self.elapsed), 0.01)

    def _ask(self, request, limit, late, read=lambda reply: reply):
        """What ``read`` makes of the reply to a request, or a StudentFailure; ``late`` says what has not happened."""
        request, began = wire.dump(request), clock.monotonic()
        try:
            line = self._child.ask(request, limit + LATE)
        except BaseException:  # Ctrl-C: there is no way back into step with the child
            self.close()
            raise
        finally:
            self.elapsed += clock.monotonic() - began
        try:
            if len(line) == LONGEST:
                kind, report = "large", ()
            else:
                kind, *report = wire.load(line) if line.startswith(b"{") else ("stopped", line)
            if kind == "value":
                return read(*report)
            failures = {
                "error": self._error,
                "memory": self._memory,
                "large": self._large,
                "exit": self._exit,
                "stopped": self._stopped,
            }
            failure = failures[kind](late, limit, *report)
        except (AttributeError, LookupError, TypeError, ValueError):  # not what child.py writes
            failure = StudentCrash(f"{late}: its process sent what cannot be read")
        self.failures.append(failure)
        if isinstance(failure, StoppedError):
            self.close()
        raise failure

    def _error(self, late, limit, kinds, message, text, place):
        """An exception of the student's, with its own name; ``explain`` looks whether it is one of two."""
        known = {"ValueError": ValueError, "NotImplementedError": NotImplementedError}
        base = next((known[kind] for kind in kinds if kind in known), StudentError)
        kind = type(kinds[0], (StudentError,) if base is StudentError else (StudentError, base), {})
        if kinds[0] == "EOFError":
            message += ": there is nothing to read here, input() cannot be used"
        return kind(self._shown(message), self._place(place), self._shown(text))

    def _memory(self, late, limit, kinds, message, text, place):
        place = self._place(place)
        return StudentMemory(f"{late}: it needs more than {self.memory} MB of memory{_at(place)}", place)

    def _large(self, late, limit):
        return StudentMemory(f"{late} what can be handed over: it is larger than {LONGEST >> 20} MB")

    def _exit(self, late, limit, kinds, message, text, place):
        place = self._place(place)
        return StudentCrash(f"{late}: it ends its process, by sys.exit or the like{_at(place)}", place)

    def _stopped(self, late, limit, line):
        """The process has come to an end, or has to."""
        status, trace = self._child.last_words(line)
        own = [found for found in FRAME.findall(trace) if is_own(found[0])]
        place = self._place((own[0][0], int(own[0][1]), own[0][2], None)) if own else None
        if line.startswith(b"Timeout"):
            text = f"{late} within {limit:g} s"
            if limit != self.time:
                text = f"{late}: {self.total:g} s for loading and all calls are used up"
            return StudentTimeout(f"{text}{_at(place)}", place)
        if status == -getattr(signal, "SIGXCPU", 0):
            text = f"{late}: more than {self.total:g} s of processor time"
            return StudentTimeout(f"{text}{_at(place)}", place)
        return StudentCrash(f"{late}: its process {_end(status)}{_at(place)}", place)

    def _place(self, place):
        """File, line, function and code, the file as it was named."""
        if place is None:
            return None
        file, line, function, code = place
        if code is None and pathlib.Path(file).is_file():
            with contextlib.suppress(OSError, IndexError):
                code = pathlib.Path(file).read_text("utf-8", "replace").splitlines()[line - 1].strip()
        return self._shown(file), line, self._shown(function), self._shown(code or "")

    def _shown(self, text):
        """Text of the child for a terminal, the file as it was named."""
        return printable(text.replace(self._path, self.file))


FRAME = re.compile(r'File "(.+)", line (\d+) in (.+)')


def _at(place):
    """The line of a place, below a message."""
    if place is None:
        return ""
    file, line, function, code = place
    return f"\n{file}, line {line}, in {function}: {code}"


def _end(status):
    """How a process ended, in words."""
    if status is None:
        return "has cut the connection"
    if status >= 0:
        return f"has ended with status {status}, by os._exit or the like"
    hint = ", as the system does when memory runs out" if status == -9 else ""
    return f"was ended by signal {-status} ({signal.strsignal(-status)}){hint}"


def _signature(parameters):
    """What :func:`inspect.signature` says of the function; the values of defaults stay in the child."""
    if parameters is None:
        return None
    kinds = list(inspect._ParameterKind)
    return inspect.Signature(
        [
            inspect.Parameter(name, kinds[kind], default=None if default else inspect.Parameter.empty)
            for name, kind, default in parameters
        ]
    )


def restored(old, new):
    """``old`` edited so that it is ``new``, as far as it can be edited; else ``new``."""
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if old.shape == new.shape and old.dtype == new.dtype and old.flags.writeable:
            old[...] = new
            return old
    elif isinstance(old, list) and isinstance(new, list):
        old[:] = [restored(*pair) for pair in zip(old, new, strict=False)] + new[len(old) :]
        return old
    elif isinstance(old, dict) and isinstance(new, dict):
        values = {key: restored(old.get(key), value) for key, value in new.items()}
        old.clear()
        old.update(values)
        return old
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        for pair in zip(old, new, strict=True):
            restored(*pair)
        return old
    return new


def printable(text):
    """Without the characters that move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class _Printed:
    """The beginning and the end of what a process prints, and how much it is."""

    def __init__(self):
        self.first, self.last, self.count = b"", b"", 0

    def read(self, stream):
        """All of it, until nothing can write to it any more."""
        with stream:
            while piece := stream.read1(1 << 16):
                self.count += len(piece)
                room = HEAD - len(self.first)
                self.first += piece[:room]
                self.last = (self.last + piece[room:])[-TAIL:]

    def text(self):
        """All of it, or both ends."""
        left_out = self.count - len(self.first) - len(self.last)
        middle = f"\n... {left_out:,} bytes left out ...\n".encode() if left_out else b""
        return (self.first + middle + self.last).decode("utf-8", "replace")


class _Child:
    """The process, spoken to line by line, and never waited for without a limit."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-c", CHILD],
            **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
            env={**os.environ, **SETTING},
            start_new_session=True,
        )
        self._last_resort = weakref.finalize(self, _kill, self._process)
        self.printed, self._ended = _Printed(), False
        self._reader = _thread(self.printed.read, self._process.stderr)
        self._talker = None

    def ask(self, line, seconds) -> bytes:
        """The line that answers; ``b"Timeout"`` if none comes, ``b""`` if the process has ended."""
        if self._ended:
            raise ValueError("the process of this function has been closed")
        answers = queue.Queue()

        def talk(to, back):
            with contextlib.suppress(OSError):
                to.write(line)
                to.flush()
            answers.put(back.readline(LONGEST))

        self._talker = _thread(talk, self._process.stdin, self._process.stdout)
        try:
            return answers.get(timeout=seconds)
        except queue.Empty:
            return b"Timeout"

    def last_words(self, line):
        """Its exit status (None if it had to be ended), and what it still had to say after ``line``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.05 if line.startswith(b"Timeout") else 1.0)
        status = self._process.returncode
        self._last_resort()
        rest = queue.Queue()
        self._talker.join(LATE)
        self._talker = _thread(lambda stream: rest.put(stream.read(LONGEST)), self._process.stdout)
        with contextlib.suppress(queue.Empty):
            line += rest.get(timeout=LATE)
        return status, line.decode("utf-8", "replace")

    def end(self):
        """Kill the process, wait for it, and close its pipes."""
        if self._ended:
            return
        self._ended = True
        self._last_resort()
        for thread in filter(None, (self._reader, self._talker)):
            thread.join(LATE)
        if self._talker is None or not self._talker.is_alive():  # else a process that got away holds the pipe
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()


def _thread(work, *streams):
    thread = threading.Thread(target=work, args=streams, daemon=True)
    thread.start()
    return thread


def _kill(process):
    """End a process and its group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
