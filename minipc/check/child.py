"""The process in which a student's function runs: it is handed problems, and hands back what the function returns.

:class:`minipc.check.sandbox.Remote` starts it, writes requests to its standard input and reads replies from its
standard output, a line each (:mod:`minipc.check.wire`). Both are then out of reach of ``input`` and ``print``: the
student's code reads nothing, and what it prints goes to standard error. What is right or wrong is not known here.
"""

import contextlib
import difflib
import errno
import faulthandler
import inspect
import math
import mmap
import os
import pathlib
import re
import signal
import sys
import time
import traceback
import types

from . import wire

try:
    import resource
except ImportError:  # Windows
    resource = None

SPARE = 64  # megabytes beyond the limit, in which to say that it was reached
GRACE = 2.0  # seconds after its limit at which a call ends by itself, should the parent be no more
LONGEST = 4000  # characters of a traceback
PROCESSES = set(
    "os.exec os.fork os.forkpty os.kill os.killpg os.posix_spawn os.spawn os.startfile os.system pty.spawn "
    "subprocess.Popen".split()
)
PACKAGE, LIBRARY = pathlib.Path(__file__).resolve().parents[1], pathlib.Path(os.__file__).resolve().parent


def main():
    """Serve one parent, until it wants no more or the student's code has closed the pipes to it."""
    with contextlib.suppress(OSError):
        serve()
    os._exit(0)  # whatever the student's code has planned for the end


def serve():
    """Load a function, then call it once a request, until there are no more."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)

    def answer(limit, work):
        with watched(limit, replies):
            line = outcome(work)
        replies.write(line)
        replies.flush()

    faulthandler.enable(replies)
    file, name, memory, total = wire.load(requests.readline())
    enforced = set_limits(memory, total)
    sys.addaudithook(no_processes)
    answer(GRACE, lambda: enforced)
    found = []
    answer(wire.load(requests.readline()), lambda: found.append(load(file, name)) or signature(found[0]))
    for line in requests:
        limit, args, options = wire.load(line)
        answer(limit, lambda args=args, options=options: call(found[0], args, options))


def set_limits(memory, total) -> bool:
    """At most ``memory`` more megabytes and ``total`` more seconds of processor time; is the memory limited?"""
    if resource is None:
        return False
    lower(resource.RLIMIT_CORE, 0, 0)
    seconds = math.ceil(time.process_time() + total) + 1
    lower(resource.RLIMIT_CPU, seconds, seconds + 1)
    try:
        used = (pathlib.Path("/proc") / "self" / "status").read_text()
    except OSError:  # not Linux: such limits are accepted elsewhere, too, and then forgotten
        return False
    for which, field in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
        now = re.search(rf"{field}:\s*(\d+) kB", used)
        if now is None:
            continue
        now = int(now[1]) // 1024
        lower(which, now + memory << 20, now + memory + SPARE << 20)
        try:
            mmap.mmap(-1, memory + SPARE << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except (OSError, OverflowError):
            return True
    return False


def lower(which, soft, hard):
    """Set a limit of this process, but never above one that it has."""
    now = resource.getrlimit(which)[1]
    soft, hard = (n if now == resource.RLIM_INFINITY else min(n, now) for n in (soft, hard))
    resource.setrlimit(which, (soft, hard))


def no_processes(event, _):
    """An audit hook, which nothing can remove: refuses to start processes, and to end any."""
    if event in PROCESSES:
        raise PermissionError(
            errno.EPERM, f"code that is checked may not start or end processes; this is {event}"
        )


@contextlib.contextmanager
def watched(limit, replies):
    """After ``limit`` seconds reply which line is running; some seconds later end the process."""
    faulthandler.dump_traceback_later(limit, file=replies)
    timer = getattr(signal, "setitimer", None)
    if timer:
        timer(signal.ITIMER_REAL, limit + GRACE)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if timer:
            timer(signal.ITIMER_REAL, 0)


def load(file, name):
    """The function ``name`` of a file; its helpers may lie beside it, and its name need not be an identifier."""
    path = pathlib.Path(file).resolve()
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]
    module = types.ModuleType("__student__")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look there
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    if not hasattr(module, name):
        own = [k for k, v in vars(module).items() if isinstance(v, types.FunctionType)]
        close = difflib.get_close_matches(name, own, n=1)
        there = f"it defines {', '.join(own)}" if own else "it defines no function"
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise NameError(f"there is no function {name} in {path.name}{hint}; {there}")
    function = getattr(module, name)
    if not callable(function):
        raise TypeError(f"{name} in {path.name} is no function, but of type {type(function).__name__}")
    return function


def signature(function):
    """(name, kind, has it a default) of every parameter; None where Python does not know them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(p.name, int(p.kind), p.default is not p.empty) for p in parameters]


def call(function, args, options):
    """What the function returns, and those of its arguments that it has edited, by place or name."""
    given = dict(enumerate(args)) | options
    before = {key: wire.dump(value) for key, value in given.items()}
    result = function(*args, **options)
    return result, {k: v for k, v in given.items() if wire.dump(v, wire.stand_in) != before[k]}


def outcome(work) -> bytes:
    """What ``work`` returns, or why it does not, as a line for the parent."""
    try:
        return wire.dump(("value", work()), wire.stand_in)
    except MemoryError as error:
        if resource is not None:  # room to say so
            for which in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
                resource.setrlimit(which, (resource.getrlimit(which)[1],) * 2)
        return wire.dump(("memory", *report(error)))
    except SystemExit as error:
        return wire.dump(("exit", *report(error)))
    except BaseException as error:
        return wire.dump(("error", *report(error)))


def report(error):
    """Names of its classes, its message, its traceback in the student's own lines, and the last of them."""
    whole = traceback.TracebackException.from_exception(error)
    part = whole
    while part is not None:
        part.stack[:] = [frame for frame in part.stack if is_own(frame.filename)]
        part = part.__cause__ or (None if part.__suppress_context__ else part.__context__)
    last = "".join(whole.format_exception_only()).strip()
    text = "".join(whole.format()).strip() if whole.stack else last
    place = [(f.filename, f.lineno, f.name, f.line) for f in whole.stack[-1:]]
    if isinstance(error, SyntaxError) and is_own(error.filename or "<"):
        place = [(error.filename, error.lineno, "", (error.text or "").strip())]
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return kinds, shortened(last.partition(": ")[2]), shortened(text), place[0] if place else None


def is_own(file) -> bool:
    """Is it the student's, and no part of this package, of Python or of an installed library?"""
    path = pathlib.Path(file)
    installed = {"site-packages", "dist-packages"}.intersection(path.parts)
    return not (
        file.startswith("<") or installed or path.is_relative_to(PACKAGE) or path.is_relative_to(LIBRARY)
    )


def shortened(text, length=LONGEST):
    """Beginning and end of a long text, and how much of it there is."""
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}\n... ({len(text):,} characters in all) ...\n{text[-length // 2 :]}"
