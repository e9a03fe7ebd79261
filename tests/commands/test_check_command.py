"""``python -m minipc check`` as a person types it: every way in which a student's code can fail, and what is said of it.

The right answers here are written from Eq. (sPC.4) or are minipc's own, called from the student's file.
"""

import inspect
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings

import numpy as np
import pytest

import minipc as pc
from minipc import __main__, check, command
from minipc.check import sandbox, wire

ROOT = pathlib.Path(pc.__file__).parents[1]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory, and lists of processes")
ARGUMENTS = "net, params, s, y, precision"
RIGHT = f"def f({ARGUMENTS}):\n    from minipc import spc\n    return spc.activity_gradient({ARGUMENTS})\n"


@pytest.fixture(autouse=True)
def mark(tmp_path, monkeypatch):
    """Every test in a folder of its own; afterwards no process is left, and no file in the folder for temporary ones."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for name in ("OPENBLAS_NUM_THREADS", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)  # what the command sees to itself
    mark = f"mark-{uuid.uuid4()}"
    monkeypatch.setenv("MINIPC_TEST_MARK", mark)
    yield mark
    assert left(mark) == []
    assert list(temporary.iterdir()) == []
    assert not list(tmp_path.rglob("__pycache__"))


def left(mark):
    """Numbers of the processes that were started here, or by one of those, and are not this one."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes() and path.parent.name != str(os.getpid()):
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def checked(capsys, source, *words, name="exercise.py", against="sPC.4"):
    """Exit status, the JSON file and what is printed, of the function ``f``."""
    path = pathlib.Path(name)
    path.write_text(source, encoding="utf-8")
    status = __main__.main(["check", f"{path}:f", "--against", against, "--json", "out.json", *words])
    found, printed = json.loads(pathlib.Path("out.json").read_text()), capsys.readouterr().out
    assert found["text"] + "\n" == printed
    assert found["exit_status"] == status == command.EXIT[found["status"]]
    assert found["correct"] is (status == 0)
    message = found["message"] if status > 1 else ""  # else the explanation says it in its own order
    for said in (message, found["table"] if status else "", *found["names"]):
        assert said in printed
    for line in found["printed"].splitlines():
        assert f"  {line}" in printed
    assert f"exit status {status}, " in printed
    return status, found, printed


# ---------------------------------------------------------------------- right and wrong


def test_a_right_function_passes(capsys):
    """Exit status 0; the JSON file holds what was found, the cost and the limits."""
    status, found, printed = checked(capsys, RIGHT, "--time", "7", "--memory", "300", "--seed", "3")
    assert status == 0
    assert printed.startswith(
        "(sPC.4) correct: the same to 1e-10 on 3 problems\nexit status 0, correct; exercise.py:f, 3 calls, "
    )
    assert found["verdict"] == found["status"] == "correct"
    assert (found["equation"], found["file"], found["function"]) == ("sPC.4", "exercise.py", "f")
    assert (found["seed"], found["calls"], found["names"], found["error"]) == (3, 3, [], None)
    assert found["limits"]["time"] == 7
    assert found["limits"]["memory"] == 300
    assert 0 < found["elapsed"] < 7
    assert found["versions"]["minipc"] == pc.__version__


SPELLED_OUT = '''
import numpy as np

def f(params, s, y, precision):
    """Eq. (sPC.4) with loops, in another order of arguments."""
    L = len(params)
    phi = [np.tanh] * (L - 1) + [lambda a: a]
    slope = [lambda a: 1 - np.tanh(a) ** 2] * (L - 1) + [np.ones_like]
    a = [s[l] @ params[l]["W"].T + params[l]["b"] for l in range(L)]
    value = [*s[1:], y]
    xi = []
    for l in range(L):
        eps, Pi = value[l] - phi[l](a[l]), np.asarray(precision[l])
        xi.append(eps @ Pi if Pi.ndim == 2 else eps * Pi)
    gradient = [None]
    for l in range(1, L):
        gradient.append((xi[l - 1] - (xi[l] * slope[l](a[l])) @ params[l]["W"]))
    return gradient
'''


def test_a_function_that_is_written_otherwise_passes(capsys):
    """Loops, and arguments by their names."""
    assert checked(capsys, SPELLED_OUT)[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("- (xi[l]", "+ (xi[l]", "the top-down term has the wrong sign"),
        ("* slope[l](a[l])", "", None),
        ("(xi[l - 1] -", "-(xi[l - 1] -", "the sign is wrong"),
    ],
)
def test_a_mistake_is_named(old, new, name, capsys):
    """Exit status 1, the name in words and in JSON; another seed, another problem, the same name."""
    assert SPELLED_OUT.count(old) == 1
    tables = []
    for seed in "01":
        status, found, _ = checked(capsys, SPELLED_OUT.replace(old, new), "--seed", seed)
        assert status == 1
        assert found["status"] == "wrong"
        assert len(found["names"]) == 1
        assert name in (None, *found["names"])
        assert "expected" in found["table"]
        tables.append(found["table"])
    assert tables[0] != tables[1]


SAME = {  # what explain says of a function here and of the same one in a process of its own
    "right": RIGHT,
    "spelled out": SPELLED_OUT,
    "wrong sign": SPELLED_OUT.replace("- (xi[l]", "+ (xi[l]"),
    "nothing": f"def f({ARGUMENTS}):\n    pass",
    "wrong shape": "def f(s):\n    return [None, *(v.T for v in s[1:])]",
    "a generator": "def f(s):\n    return (v for v in s)",
    "a word": "def f(s):\n    return 'right'",
    "objects": "import numpy as np\ndef f(s):\n    return [None, *(np.array([print] * 2) for _ in s[1:])]",
    "complex": "def f(s):\n    return [None, *(v * 1j for v in s[1:])]",
    "single precision": "def f(s):\n    return [None, *(v.astype('float32') for v in s[1:])]",
    "not finite": "def f(s):\n    return [None, *(v * float('nan') for v in s[1:])]",
    "edits": f"{RIGHT}    \n{RIGHT}".replace("def f(", "def g(", 1)
    + "\nr = f\ndef f(net, params, s, y, precision):\n    out = r(net, params, s, y, precision)\n    s[1] += 1\n"
    "    params[0]['W'][0] = 0\n    precision.append(3)\n    y = 0\n    return out",
    "not done": "def f(s):\n    raise NotImplementedError('Exercise 1.2')",
    "a product that does not fit": "def f(params, s):\n    return [None, s[0] @ params[0]['W'] @ s[1]]",
    "another library": """
class Tensor:
    def __init__(self, a, free=False):
        self.a, self.free, self.ndim = a, free, a.ndim
    def detach(self):
        return Tensor(self.a, free=True)
    def cpu(self):
        return self
    def numpy(self):
        if not self.free:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        return self.a
    def __array__(self, dtype=None, copy=None):
        return self.numpy()
def f(s):
    return [None, *map(Tensor, s[1:])]""",
    "with grads": "class G:\n    pass\ndef f(s):\n    g = G()\n    g.grads = [None, *s[1:]]\n    return g",
    "keyword only": "def f(*, s, y):\n    return [None, *s[1:]]",
}


@pytest.mark.parametrize("what", SAME)
def test_the_command_says_what_a_notebook_says(what):
    """Every field of the explanation, also the arguments that were edited; but for the line, which is below."""
    path = pathlib.Path("same.py")
    path.write_text(SAME[what])
    here = {}
    exec(compile(SAME[what], str(path), "exec"), here)
    expected = check.explain(here["f"], "sPC.4", seed=5)
    with sandbox.Remote(path, "f") as there:
        found = check.explain(there, "sPC.4", seed=5)
    assert found.names == expected.names
    assert found.notes == expected.notes
    assert expected.message.startswith(found.message)
    assert found.to_dict() | {"message": ""} == expected.to_dict() | {"message": ""}
    if what == "edits":
        assert found.notes == tuple(f"it edits its argument {name}" for name in ("params", "s", "precision"))


@pytest.mark.parametrize("against", check.exercises())
def test_every_exercise_can_be_checked(against):
    """What it hands over arrives as it was sent, and the engine's answer to that is the same to the bit."""
    from minipc.exercises import Draw

    exercise = check.exercises()[against]
    for setting in range(3):
        given = exercise.problem(Draw(np.random.default_rng(setting), setting=setting))
        given = {name: given[name] for name in exercise.arguments}
        arrived = wire.load(wire.dump(given))
        for name, value in given.items():
            assert describe(arrived[name]) == describe(value)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", pc.InferenceWarning)  # not what is asked here
            answers = [exercise.answer(pc, *values.values()) for values in (given, arrived)]
        answers[1] = wire.load(wire.dump(answers[1], wire.stand_in))
        first, second = (check.explanation.arrays(answer) for answer in answers)
        assert first.keys() == second.keys()
        assert first
        for name, value in first.items():
            np.testing.assert_array_equal(second[name], value)


def describe(value):
    """A value in words that tell all of it."""
    if isinstance(value, np.ndarray | np.generic):
        return (type(value).__name__, str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(describe, value))
    if isinstance(value, dict):
        return {key: describe(v) for key, v in value.items()}
    return (type(value).__name__, repr(value))


# ---------------------------------------------------------------------- code that fails

FAILURES = {  # source of the file, exit status, what is said, and the student's line that is shown
    "raises": (
        "def f(*a):\n    x = {}\n    return x['W']",
        3,
        "your function raises KeyError: 'W'",
        3,
        "x['W']",
    ),
    "raises in a helper function": (
        "def g(x):\n    return 1 / x\n\ndef f(*a):\n    return g(0)",
        3,
        "your function raises ZeroDivisionError: division by zero",
        2,
        "return 1 / x",
    ),
    "raises inside of NumPy": (
        "import numpy as np\ndef f(*a):\n    return np.linalg.inv(np.zeros((2, 2)))",
        3,
        "LinAlgError: Singular matrix",
        3,
        "np.linalg.inv",
    ),
    "raises inside of minipc": (
        "import minipc\ndef f(net, params, s, y, precision):\n    return net.forward(params, y[0])",
        3,
        "ValueError: ",
        3,
        "net.forward",
    ),
    "not done": ("def f(*a):\n    raise NotImplementedError('1.2')", 3, "not done yet: 1.2", 2, "raise Not"),
    "raises in more than one way": (
        "calls = []\ndef f(*a):\n    calls.append(1)\n    if len(calls) == 1:\n        raise ValueError('shapes')\n"
        "    raise KeyError('later')",
        3,
        "your function raises ValueError: shapes",
        5,
        "raise ValueError",
    ),
    "a generator": ("def f(*a):\n    return (v for v in a)", 1, "got generator", None, ""),
    "raises in code that Python has written": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    n: int\n    def __post_init__(self):\n"
        "        1 / self.n\ndef f(*a):\n    return A(0)",
        3,
        "ZeroDivisionError",
        6,
        "1 / self.n",
    ),
    "too few parameters": ("def f(a, b):\n    return a", 3, "TypeError: f() takes 2 positional", None, ""),
    "recursion": ("def f(*a):\n    return f(*a)", 3, "RecursionError: maximum recursion", 2, "return f(*a)"),
    "reads": ("def f(*a):\n    return input('n? ')", 3, "input() cannot be used", 2, "input('n? ')"),
    "interrupts itself": (
        "def f(*a):\n    raise KeyboardInterrupt",
        3,
        "raises KeyboardInterrupt",
        2,
        "raise Key",
    ),
    "a list in itself": (
        "def f(*a):\n    x = []\n    x.append(x)\n    return x",
        3,
        "contains itself",
        None,
        "",
    ),
    "syntax error": ("def f(*a):\n    return (1,\n", 3, "SyntaxError: '(' was never closed", 2, "return (1,"),
    "indentation error": ("def f(*a):\nreturn 1\n", 3, "IndentationError: expected", 2, "return 1"),
    "null bytes": ("def f(*a):\n    return '\0'\n", 3, "null bytes", None, ""),
    "import error": (
        "import numpyy\ndef f(*a):\n    pass",
        3,
        "No module named 'numpyy'",
        1,
        "import numpyy",
    ),
    "raises when loaded": ("x = 1\ny = x.W\ndef f(*a):\n    pass", 3, "has no attribute 'W'", 2, "y = x.W"),
    "no such function": (
        "def ff(*a):\n    pass\ndef h():\n    pass",
        3,
        "there is no function f in",
        None,
        "",
    ),
    "no function at all": ("x = 1", 3, "it defines no function", None, ""),
    "a number": ("f = 3", 3, "f in exercise.py is no function, but of type int", None, ""),
    "endless loop": (
        "def f(*a):\n    n = 0\n    while True:\n        n += 1",
        4,
        "0.9 s for loading and all",
        None,
        "",
    ),
    "sleeps": (
        "import time\ndef f(*a):\n    time.sleep(100)",
        4,
        "0.9 s for loading and all",
        3,
        "time.sleep(100)",
    ),
    "endless loop in C": (
        "def f(*a):\n    return sum(iter(int, 1))",
        4,
        "are used up",
        2,
        "sum(iter(int, 1))",
    ),
    "endless when loaded": (
        "while True:\n    pass\n",
        4,
        "exercise.py was not loaded within 0.9 s",
        None,
        "",
    ),
    "deaf to signals": (
        "import faulthandler, signal\n"
        "def f(*a):\n    for n in (1, 2, 14, 15):\n        signal.signal(n, signal.SIG_IGN)\n"
        "    faulthandler.cancel_dump_traceback_later()\n    while True:\n        pass",
        4,
        "are used up",
        None,
        "",
    ),
    "catches everything": (
        "def f(*a):\n    while True:\n        try:\n            while True: pass\n"
        "        except BaseException:\n            pass",
        4,
        "are used up",
        4,
        "while True: pass",
    ),
    "floods": (
        "def f(*a):\n    while True:\n        print('x' * 99)",
        4,
        "bytes left out",
        3,
        "print('x' * 99)",
    ),
    "a process of its own": (
        "import os\ndef f(*a):\n    os.fork()",
        3,
        "may not start or end processes",
        3,
        "os.fork()",
    ),
    "fork bomb": (  # a small one, should it go off
        "import os\ndef f(*a):\n    for _ in range(3):\n        try:\n            os.fork()\n"
        "        except OSError:\n            pass\n    while True:\n        pass",
        4,
        "are used up",
        None,
        "",
    ),
    "a command": (
        "import os\ndef f(*a):\n    os.system('true')",
        3,
        "this is os.system",
        3,
        "os.system('true')",
    ),
    "a program": (
        "import subprocess\ndef f(*a):\n    subprocess.run(['true'])",
        3,
        "this is subprocess.Popen",
        3,
        "subprocess.run",
    ),
    "ends a process": (
        "import os\ndef f(*a):\n    os.kill(os.getpid(), 0)",
        3,
        "this is os.kill",
        3,
        "os.kill(os.getpid(), 0)",
    ),
    "sys.exit": (
        "import sys\ndef f(*a):\n    sys.exit(0)",
        6,
        "it ends its process, by sys.exit",
        3,
        "sys.exit(0)",
    ),
    "os._exit": (
        "import os\ndef f(*a):\n    os._exit(0)",
        6,
        "has ended with status 0, by os._exit",
        None,
        "",
    ),
    "segmentation fault": (
        "import ctypes\ndef f(*a):\n    ctypes.string_at(0)",
        6,
        "was ended by signal 11 (Segmentation fault)",
        3,
        "ctypes.string_at(0)",
    ),
    "abort": ("import os\ndef f(*a):\n    os.abort()", 6, "was ended by signal 6 (Aborted)", 3, "os.abort()"),
    "killed": (
        "import signal\ndef f(*a):\n    signal.raise_signal(9)",
        6,
        "was ended by signal 9 (Killed), as the system does when memory runs out",
        None,
        "",
    ),
    "exit when loaded": (
        "import sys\nsys.exit(0)",
        6,
        "exercise.py was not loaded: it ends its process",
        2,
        "sys.exit(0)",
    ),
    "os._exit when loaded": (
        "import os\nos._exit(0)",
        6,
        "exercise.py was not loaded: its process has ended",
        None,
        "",
    ),
    "closes everything": ("import os\ndef f(*a):\n    os.closerange(3, 200)", 6, "its process", None, ""),
    "cuts the connection": (
        "import os, time\ndef f(*a):\n    os.closerange(3, 200)\n    time.sleep(100)",
        6,
        "its process has cut the connection",
        None,
        "",
    ),
    "a huge array": (
        "import numpy as np\ndef f(*a):\n    return np.ones(10**9)",
        5,
        "more than 200 MB",
        3,
        "np.ones",
    ),
    "more and more": (
        "def f(*a):\n    x = []\n    while True:\n        x.append('a' * 1000 + str(len(x)))",
        5,
        "more than 200 MB",
        4,
        "x.append",
    ),
    "a huge array when loaded": (
        "import numpy as np\nx = np.ones(10**9)\ndef f(*a):\n    pass",
        5,
        "exercise.py was not loaded: it needs more than 200 MB",
        2,
        "x = np.ones(10**9)",
    ),
    "threads": (
        "import threading, time\ndef f(*a):\n    for _ in range(400):\n        threading.Thread(target=time.sleep, args=(99,)).start()",
        3,
        "can't start new thread",
        4,
        "threading.Thread",
    ),
    "a long result": (
        "def f(*a):\n    return ['x' * 100] * 200000",
        5,
        "f did not return what can be handed over: it is larger than 16 MB",
        None,
        "",
    ),
    "stops itself": (
        "import signal\ndef f(*a):\n    signal.raise_signal(signal.SIGSTOP)",
        4,
        "are used up",
        None,
        "",
    ),
    "a huge result": (
        "import numpy as np\ndef f(*a):\n    return np.broadcast_to(1.0, (10**5, 10**5))",
        5,
        "more than 200 MB",
        None,
        "",
    ),
}


@LINUX
@pytest.mark.parametrize("what", FAILURES)
def test_code_that_fails(what, capsys):
    """An exit status of its own, the reason in words, the student's line, no frame of the engine, and soon."""
    source, expected, said, line, code = FAILURES[what]
    began = time.monotonic()
    status, found, printed = checked(
        capsys, source, "--time", "0.9" if expected == 4 else "9", "--memory", "200"
    )
    assert time.monotonic() - began < 20
    assert status == expected
    assert said in printed
    assert found["names"] == []
    assert not re.search(
        r"minipc/|child\.py|site-packages|<string>|frozen", printed.replace("minipc/check", "")
    )
    assert "exercise.py" in printed.splitlines()[-1]
    if line is not None:
        assert found["error"]["line"] == line
        assert code in found["error"]["code"]
        assert re.search(rf"exercise\.py\"?, line {line}\b", printed)
        assert code in printed
    elif code == "" and found["error"] and expected == 3:
        assert found["error"]["line"] is None


FORK = "import ctypes, os, time\ndef f(*a):\n    if ctypes.CDLL(None).fork():\n        return 0\n"


@LINUX
def test_what_it_has_started_is_ended_with_it(capsys):
    """A process that C has started is in the group, and none is left, as the fixture sees."""
    assert checked(capsys, FORK + "    time.sleep(60)\n    os._exit(0)")[0] == 1


@LINUX
def test_what_gets_away_does_not_hold_the_command_up(mark, capsys):
    """A process that has left the group keeps the pipes open; the command waits for it a second or two at most."""
    began = time.monotonic()
    source = FORK + "    os.setsid()\n    time.sleep(60)\n    os._exit(0)"
    assert checked(capsys, source)[0] == 1
    assert time.monotonic() - began < 30
    escaped = left(mark)
    assert escaped
    for process in escaped:
        os.kill(process, signal.SIGKILL)
    wait(lambda: not left(mark))


def test_an_exception_of_an_exception(capsys, tmp_path):
    """Both are shown, each with the student's line, the file as it was named; nothing colours the terminal."""
    source = (
        "import numpy as np\ndef f(*a):\n    try:\n        np.linalg.inv(np.zeros((2, 2)))\n"
        "    except ValueError as e:\n        raise ValueError('no \\x1b[31m layer') from e"
    )
    _, found, printed = checked(capsys, source)
    assert 'File "exercise.py", line 4, in f' in printed
    assert 'File "exercise.py", line 6, in f' in printed
    assert "_linalg.py" not in printed
    assert "direct cause" in printed
    assert found["error"]["type"] == "ValueError"
    assert found["error"]["message"] == "no \\x1b[31m layer"
    assert found["error"]["file"] == "exercise.py"
    assert "\x1b" not in printed
    assert str(tmp_path) not in printed


def test_what_is_printed_before_a_crash_is_shown(capsys):
    """Nothing waits in a buffer."""
    _, found, _ = checked(
        capsys, "import os\nprint('loaded')\ndef f(*a):\n    print('called')\n    os._exit(1)"
    )
    assert found["printed"] == "loaded\ncalled\n"


def test_what_is_printed_is_shown_shortened(capsys):
    """Standard output and standard error, of Python and of C, without control characters; a long one by its ends."""
    noise = "    os.write(1, b'called\\n'); print('x' * 10**6); print('last')\n"
    first, _, rest = RIGHT.partition("\n")
    source = f"import os, sys\nprint('loaded: \\x1b[31mé', file=sys.stderr)\n{first}\n{noise}{rest}"
    status, found, printed = checked(capsys, source)
    assert status == 0
    assert found["printed"].startswith("loaded: \\x1b[31mé\ncalled\nxxx")
    assert found["printed"].endswith("xxx\nlast\n")
    assert re.search(r"\n\.\.\. [23],\d\d\d,\d\d\d bytes left out \.\.\.\n", found["printed"])
    assert len(printed) < 3000


def test_a_message_of_any_length_is_shortened(capsys):
    """So is the message of an exception."""
    status, _, printed = checked(capsys, "def f(*a):\n    raise ValueError('x' * 10**6)")
    assert status == 3
    assert "1,000,0" in printed
    assert len(printed) < 20000


# ---------------------------------------------------------------------- passes that are none

FORGED = {
    "exit status 0 when loaded": "import os\nos._exit(0)",
    "exit at the end": "import atexit, os\natexit.register(os._exit, 0)\ndef f(*a):\n    return 0",
    "the word": "def f(*a):\n    print('(sPC.4) correct: the same to 1e-10 on 3 problems\\nexit status 0, correct')",
    "the file": "import json\nopen('out.json', 'w').write(json.dumps({'correct': True, 'exit_status': 0}))\n"
    "def f(*a):\n    return 0",
    "another minipc": "import minipc\nfrom minipc.check import explanation\n"
    "minipc.check.explain = explanation.explain = lambda *a, **k: explanation.Explanation('sPC.4', 'correct', (), 'correct')\n"
    "explanation.Explanation.correct = True\nexplanation.distance = lambda a, x: 0.0\ndef f(*a):\n    return 0",
    "another engine": "import minipc\nminipc.spc.activity_gradient = lambda *a, **k: [None, 0]\ndef f(*a):\n    return [None, 0]",
    "a comparison that says yes": "import numpy as np\nclass Yes(np.ndarray):\n    def __eq__(self, other):\n        return True\n"
    "    def __sub__(self, other):\n        return 0 * self\ndef f(s):\n    return [None, *(v.view(Yes) for v in s[1:])]",
    "a reply of its own": "import os\ndef f(*a):\n    for n in range(3, 20):\n        try:\n"
    '            os.write(n, b\'{"tuple": ["value", {"correct": true}]}\\n\')\n'
    "        except OSError:\n            pass\n    return 0",
    "a reply that is none": "import os\ndef f(*a):\n    for n in range(3, 20):\n        try:\n"
    '            os.write(n, b\'{"tuple": ["_ask", 1, 2]}\\n\')\n'
    "        except OSError:\n            pass\n    return 0",
    "right once": f"calls = []\n{RIGHT.replace('def f', 'def g')}\ndef f({ARGUMENTS}):\n    calls.append(1)\n"
    f"    return g({ARGUMENTS}) if len(calls) < 3 else [0 * v for v in g({ARGUMENTS})[1:]]",
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_pass_is_none(what, capsys):
    """Whatever the child does: the arrays are compared here."""
    status, found, printed = checked(capsys, FORGED[what], "--time", "5")
    assert status in (1, 3, 6)
    assert not found["correct"]
    assert printed.splitlines()[-1].startswith(f"exit status {status}, ")
    assert check.explain(pc.spc.activity_gradient, "sPC.4").correct  # nothing has reached this process


def test_a_module_beside_the_file_is_not_taken_for_the_real_one(mark):
    """``python -P`` from the student's own folder: its ``json.py`` and ``minipc.py`` reach neither process."""
    trap = "import os\nos._exit(0)\n"
    for name in ("json", "numpy", "minipc", "argparse"):
        pathlib.Path(f"{name}.py").write_text(trap)
    pathlib.Path("exercise.py").write_text("import minipc, numpy, json\ndef f(*a):\n    return 0")
    done = shell(["-P", "-m", "minipc", "check", "exercise.py:f", "--against", "sPC.4"])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "wrong" in done.stdout


# ---------------------------------------------------------------------- in a shell


def shell(words, **options):
    """A new Python, which finds minipc whatever the folder is."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, timeout=60, **options
    )


def test_from_another_folder(tmp_path, capsys):
    """A name that is no identifier, a helper beside the file, one with the name of a module of the checker's."""
    folder = tmp_path / "sub missions"
    folder.mkdir()
    (folder / "tables.py").write_text("def signs():\n    return -1\n")
    (folder / "my helper.py").write_text("")
    (folder / "exercise 1-2.é.py").write_text(
        "from __future__ import annotations\nimport dataclasses, tables\nimport minipc as pc\n@dataclasses.dataclass\nclass Answer:\n    grads: list\n"
        "if __name__ == '__main__':\n    raise SystemExit\n"
        f"def f({ARGUMENTS}):\n    g = pc.spc.activity_gradient({ARGUMENTS})\n"
        "    return Answer([None if v is None else tables.signs() * v for v in g])\n",
        encoding="utf-8",
    )
    target = os.path.relpath(folder / "exercise 1-2.é.py")
    done = shell(["-m", "minipc", "check", f"{target}:f", "--against", "sPC.4", "--json", "here.json"])
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(pathlib.Path("here.json").read_text())
    assert found["names"] == ["the sign is wrong"]
    assert found["file"] == target
    assert found["text"] + "\n" == done.stdout


def test_the_command_takes_less_than_two_seconds():
    """Of processor time, both processes together; the best of up to three."""
    resource = pytest.importorskip("resource")
    pathlib.Path("exercise.py").write_text(RIGHT)
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert shell(["-m", "minipc", "check", "exercise.py:f", "--against", "sPC.4"]).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if taken[-1] < 2:
            break
    assert min(taken) < 2


def started(seconds):
    """The command on its way, once the student's code is running."""
    pathlib.Path("exercise.py").write_text(
        "import time\ndef f(*a):\n    open('running', 'w').close()\n    time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = ["-m", "minipc", "check", "exercise.py:f", "--against", "sPC.4", "--time", seconds]
    process = subprocess.Popen(
        [sys.executable, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    wait(pathlib.Path("running").exists)
    return process


def wait(condition, seconds=20.0):
    """Until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.02)


@LINUX
def test_ctrl_c_ends_both(mark):
    """Exit status 130, one line, nothing left."""
    process = started("60")
    assert len(left(mark)) == 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err) == ("", "\ninterrupted\n")
    assert left(mark) == []


@LINUX
def test_a_parent_that_is_killed_leaves_nothing(mark):
    """The child ends by itself, two seconds after its limit at the latest."""
    process = started("2")
    process.kill()
    process.communicate()
    assert len(left(mark)) == 1
    wait(lambda: not left(mark), 20)


# ---------------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exercise.py:f"], "against which equation"),
        (["--against", "sPC.4"], "say what to check"),
        (["exercise.py", "--against", "sPC.4"], "the target must be FILE.py:FUNCTION, got exercise.py"),
        (["exercise.py:", "--against", "sPC.4"], "the target must be FILE.py:FUNCTION"),
        (["exercise.py:f()", "--against", "sPC.4"], "the target must be FILE.py:FUNCTION"),
        (["exercise.ipynb:f", "--against", "sPC.4"], "is a notebook"),
        (["nowhere.py:f", "--against", "sPC.4"], "there is no file nowhere.py"),
        (["exercise.py:f", "--against", "sPC4"], "no exercise for sPC4 (did you mean sPC.4?)"),
        (["exercise.py:f", "--against", "sPC.4", "--time", "0"], "time must lie between 0.01 and 10000000"),
        (["exercise.py:f", "--against", "sPC.4", "--time", "inf"], "time must lie between"),
        (["exercise.py:f", "--against", "sPC.4", "--memory", "100000000"], "memory must lie between"),
        (["exercise.py:f", "--against", "sPC.4", "--memory", "0"], "memory must be at least 1"),
        (["exercise.py:f", "--against", "sPC.4", "--seed", "-1"], "--seed must not be negative, got -1"),
        (["exercise.py:f", "--against", "sPC.4", "--json", "no/x.json"], "the folder no does not exist"),
    ],
)
def test_a_refusal_says_why(words, said, capsys):
    """Exit status 2 and one line; nothing was run, nothing written."""
    pathlib.Path("exercise.py").write_text("open('ran', 'w')")
    assert __main__.main(["check", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert [path.name for path in pathlib.Path().iterdir()] == ["exercise.py"]


def test_an_unknown_option_is_exit_status_two(capsys):
    """With the one that may have been meant."""
    with pytest.raises(SystemExit) as stop:
        __main__.main(["check", "exercise.py:f", "--agianst", "sPC.4"])
    assert stop.value.code == 2
    assert "did you mean --against?" in capsys.readouterr().err


def test_the_list_of_exercises(capsys):
    """All in lines, one in full; the same as JSON."""
    assert __main__.main(["check", "--list", "--json", "list.json"]) == 0
    printed, rows = capsys.readouterr().out.splitlines(), json.loads(pathlib.Path("list.json").read_text())
    assert (
        [line.split()[0] for line in printed] == [row["equation"] for row in rows] == list(check.exercises())
    )
    assert any(
        re.fullmatch(r"sPC\.4 +activity_gradient\(net, params, s, y, precision\)", line) for line in printed
    )
    assert __main__.main(["check", "--list", "--against", "sPC.4"]) == 0
    assert capsys.readouterr().out == f"{check.exercises()['sPC.4']}\n"


def test_a_terminal_without_such_letters(monkeypatch):
    """What it cannot show is escaped, and the exit status is the same."""
    pathlib.Path("exercise.py").write_text("print('→')\n" + RIGHT, encoding="utf-8")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert __main__.main(["check", "exercise.py:f", "--against", "sPC.4"]) == 0
    stream.flush()
    assert b"\\u2192" in stream.buffer.getvalue()


# ---------------------------------------------------------------------- Remote


def remote(source, **options):
    pathlib.Path("remote.py").write_text(source)
    return sandbox.Remote("remote.py", "f", **options)


def test_values_travel_both_ways():
    """Every kind of value: type, dtype, shape and bits; by place and by name."""
    values = [None, True, -3, 2**70, 0.1, float("-inf"), "é\n\ud800", 1 - 2j, [], (), {}, {1: (2, [None])}]
    values += [np.zeros((0, 3)), np.array(2.5), np.arange(6.0).reshape(2, 3).T, np.array([True, False])]
    values += [np.ones(2, dtype) for dtype in ("float32", "complex64", "int8", "uint64", ">f8", "float16")]
    values += [np.float32(0.1), np.int64(3), np.bool_(True), np.complex128(1j), np.array([np.nan, -0.0])]
    values += [
        pc.Dense(2, 3, "tanh"),
        pc.GRU(2, 3),
        pc.Network([pc.Dense(2, 3), pc.Dense(3, 1)], "cross_entropy"),
    ]
    values += [pc.RecurrentNetwork([pc.RNN(2, 3), pc.Dense(3, 1)]), pc.Dag([pc.Dense(2, 1)], [(0,)])]
    with remote("def f(*args, **options):\n    return args, options") as f:
        for value in values:
            (got,), options = f(value, name=value)
            assert describe(got) == describe(options["name"]) == describe(value)
        assert f(*values[:3], a=1)[1] == {"a": 1}


def test_named_tuples_keep_their_names():
    """So a Gradient is one."""
    g = pc.Gradient(grads=[{"W": np.ones(2)}], loss=np.zeros(1))
    got = wire.load(wire.dump(g))
    assert got._fields == g._fields
    assert type(got).__name__ == "Gradient"
    assert check.compare(got, g).worst == 0


def test_what_cannot_travel_is_refused_here():
    """A function as an argument is the caller's mistake, not the student's."""
    with remote("def f(x):\n    return 1") as f:
        with pytest.raises(TypeError, match=r"only arrays.*not a builtin_function_or_method"):
            f(print)
        assert f.failures == []
        assert f(3) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1, 2",
        b'{"unknown": 1}',
        b'{"tuple": 3}',
        b'{"tuple": [], "dict": []}',
        b'{"array": ["<f8", [2], "AAAA"]}',
        b'{"array": ["<f8", [-1], ""]}',
        b'{"array": ["O", [1], "AAAAAAAAAAA="]}',
        b'{"array": ["<f8", [1000000000000], ""]}',
        b'{"scalar": ["<U2", [], "AAAAAAAAAAA="]}',
        b'{"named": ["x; import os", ["a"], [1]]}',
        b'{"named": ["x", ["a b"], [1]]}',
        b'{"network": ["object", {}]}',
        b'{"block": ["Dense", {}]}',
        b'{"dict": [[[], 1]]}',
        b"[" * 10**5,
    ],
)
def test_what_is_no_message_is_refused(line):
    """Nothing but a ValueError; no array of objects, no array without its bytes, no other class."""
    with pytest.raises(ValueError, match="no message"):
        wire.load(line)


def test_the_parameters_are_known_here():
    """Names, kinds and which have a default; a callable without a signature is called in order."""
    with remote("def f(net, s, *, beta=1, **more):\n    return beta") as f:
        here = inspect.signature(lambda net, s, *, beta=1, **more: None)
        there = inspect.signature(f)
        assert [(p.name, p.kind) for p in there.parameters.values()] == [
            (p.name, p.kind) for p in here.parameters.values()
        ]
        assert [p.default is p.empty for p in there.parameters.values()] == [True, True, False, True]
        assert (f.__name__, repr(f)) == ("f", "Remote('remote.py', 'f')")
        assert f(1, 2) == 1  # the default is the child's
    with remote("f = max") as f:
        assert f(1, 2) == 2


def test_arguments_are_edited_as_in_one_process():
    """Arrays, lists and dicts in place; nothing else is touched."""
    x, same, nested = np.zeros((2, 3)), np.ones(2), [np.zeros(2), {"W": np.zeros(2)}, (np.zeros(1),)]
    inner = nested[0], nested[1]["W"], nested[2][0]
    source = (
        "def f(x, same, nested, option):\n    x[1] = 5\n    nested[0] += 1\n    nested[1]['W'][1] = 2\n"
        "    nested[2][0][0] = 4\n    nested.append(3)\n    option['new'] = x\n    del option['old']\n    return x.sum()"
    )
    option = {"old": 1}
    with remote(source) as f:
        assert f(x, same, nested, option=option) == 15
    assert x.tolist() == [[0] * 3, [5] * 3]
    assert same.tolist() == [1, 1]
    assert (nested[0] is inner[0], nested[1]["W"] is inner[1], nested[2][0] is inner[2]) == (True,) * 3
    assert [a.tolist() for a in inner] == [[1, 1], [0, 2], [4]]
    assert nested[3:] == [3]
    assert list(option) == ["new"]


def test_an_exception_is_no_end():
    """The next call is answered; the name and the base of the exception are the student's."""
    with remote(
        "class Odd(ValueError):\n    pass\ndef f(x):\n    if x:\n        raise Odd('odd')\n    return x"
    ) as f:
        with pytest.raises(sandbox.StudentError, match=r"^odd$") as caught:
            f(1)
        assert isinstance(caught.value, ValueError)
        assert type(caught.value).__name__ == "Odd"
        assert caught.value.place == ("remote.py", 5, "f", "raise Odd('odd')")
        assert f(0) == 0
        assert f.failures == [caught.value]
        assert f.calls == 2


def test_time_of_a_call_and_in_all():
    """Each of its own; afterwards every call gives the same failure at once."""
    source = "import time\ndef f(seconds):\n    time.sleep(seconds)\n    return 1"
    with remote(source, time=0.5, total=20) as f:
        assert f(0.1) == 1
        time.sleep(3)  # between calls no clock runs
        assert f(0.1) == 1
        with pytest.raises(
            sandbox.StudentTimeout, match=r"f did not return within 0.5 s\nremote.py, line 3, in f: "
        ):
            f(30)
        began = time.monotonic()
        with pytest.raises(sandbox.StudentTimeout, match=r"within 0.5 s"):
            f(0)
        assert time.monotonic() - began < 0.1
    with remote(source, time=5, total=2) as f:
        assert [f(0.8), f(0.8)] == [1, 1]
        assert 1.6 < f.elapsed < 2
        with pytest.raises(sandbox.StudentTimeout, match=r"2 s for loading and all calls are used up"):
            f(0.8)
        assert f.calls == 3


@LINUX
def test_the_limits_of_the_process():
    """As the system has them: processor time, memory, no dump of memory; three threads of a library are one."""
    source = (
        "import os, resource as r\ndef f():\n    kinds = r.RLIMIT_CPU, r.RLIMIT_DATA, r.RLIMIT_CORE\n"
        "    return [r.getrlimit(k) for k in kinds], os.environ['OPENBLAS_NUM_THREADS']"
    )
    with remote(source, time=3, total=40, memory=500) as f:
        (cpu, data, core), threads = f()
        assert f.memory_enforced
    assert 41 <= cpu[0] <= 44
    assert cpu[1] == cpu[0] + 1
    assert 500 < data[0] / 2**20 < 800
    assert data[1] - data[0] == 64 * 2**20
    assert core == (0, 0)
    assert threads == "1"


@LINUX
def test_processor_time_is_limited():
    """Four threads that compute at once use it up before the clock does; the limit is there if the clock's is not."""
    source = "import resource\ndef f():\n    resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\n    while True:\n        pass"
    with remote(source, time=8, total=8) as f, pytest.raises(sandbox.StudentTimeout, match="processor time"):
        f()
    assert f.elapsed < 6


def test_where_the_child_looks_for_modules():
    """Beside the file first; what lies beside minipc (its tests, say) is not in the way of anything."""
    with remote("import sys\ndef f():\n    return sys.path[0], sys.path[-1]") as f:
        assert f() == (str(pathlib.Path.cwd()), str(ROOT))


def test_a_small_allocation_is_within_the_limit():
    """The limit is above what Python and NumPy need themselves."""
    with remote("import numpy as np\ndef f(n):\n    return np.ones(n).sum()", memory=100) as f:
        assert f(10**7) == 1e7  # 80 MB


def test_without_a_with():
    """The first call starts it; close ends it, and a call then is refused; dropping it ends the process, too."""
    f = remote("def f(x):\n    return x + 1")
    assert f.printed == ""
    assert f(1) == 2
    f.close()
    with pytest.raises(ValueError, match="has been closed"):
        f(1)
    f.close()
    f = remote("def f(x):\n    return x + 1")
    assert f(1) == 2
    process = f._child._process
    stream = (process.stdin, process.stdout, process.stderr)
    del f
    assert process.poll() is not None
    for s in stream:
        s.close()


def test_a_child_that_nobody_speaks_to_ends():
    """Though a thread of the student's is still at work: its parent may have been killed between two calls."""
    source = "import threading, time\ndef f():\n    threading.Thread(target=time.sleep, args=(600,)).start()\n    return 1"
    with remote(source) as f:
        assert f() == 1
        f._child._process.stdin.close()
        assert f._child._process.wait(20) == 0


@LINUX
def test_a_call_that_is_stopped_leaves_nothing_open(mark):
    """Without a ``with``, too: no process, no pipe."""
    f = remote("def f():\n    while True:\n        pass", time=0.3)
    with pytest.raises(sandbox.StudentTimeout):
        f()
    assert left(mark) == []
    process = f._child._process
    assert process.stdin.closed
    assert process.stdout.closed
    assert process.stderr.closed


def test_a_reply_that_is_none_is_a_crash():
    """Whatever the student's code has written to the pipe instead: never an error of this process."""
    for line in (
        '{"tuple": ["value", 3]}',
        '{"tuple": ["unknown"]}',
        '{"tuple": ["error", [], 1, 2, 3]}',
        "{",
        "{}",
    ):
        source = f"import os\ndef f():\n    for n in range(3, 20):\n        try:\n            os.write(n, {line.encode()!r} + b'\\n')\n"
        with remote(source + "        except OSError:\n            pass") as f:
            with pytest.raises(sandbox.StudentCrash, match="its process sent what cannot be read"):
                f()


@LINUX
def test_an_interrupted_call_ends_the_process():
    """The answer that would come later belongs to no other call."""
    f = remote("import time\ndef f(x):\n    time.sleep(x)\n    return x")
    assert f(0) == 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            f(5)
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ValueError, match="has been closed"):
        f(0)


def test_two_at_once():
    """Each has its own process."""
    pathlib.Path("other.py").write_text("n = 0\ndef f(x):\n    global n\n    n += x\n    return n")
    with sandbox.Remote("other.py", "f") as one, sandbox.Remote("other.py", "f") as two:
        assert [one(1), two(10), one(1), two(10)] == [1, 10, 2, 20]


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"function": "a b"}, ValueError, "name of a function, got 'a b'"),
        ({"function": 3}, ValueError, "name of a function, got 3"),
        ({"file": "nowhere.py"}, FileNotFoundError, "there is no file nowhere.py"),
        ({"time": -1}, ValueError, "time must lie between"),
        ({"total": "3"}, TypeError, "total must be a number"),
        ({"memory": 1.5}, TypeError, "memory must be an integer"),
    ],
)
def test_wrong_arguments(options, kind, said):
    """Before any process starts."""
    pathlib.Path("remote.py").write_text("")
    with pytest.raises(kind, match=said):
        sandbox.Remote(**{"file": "remote.py", "function": "f", **options})


def test_a_failure_of_the_checker_is_no_verdict(monkeypatch, capsys):
    """Neither a pass nor the student's mistake: exit status 2, and what it was."""
    pathlib.Path("exercise.py").write_text(RIGHT)
    monkeypatch.setattr(command, "explain", lambda *_, **__: [][1])
    assert __main__.main(["check", "exercise.py:f", "--against", "sPC.4"]) == 2
    assert "no verdict, minipc itself fails here: IndexError(" in capsys.readouterr().err
