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
