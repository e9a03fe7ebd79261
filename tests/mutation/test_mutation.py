"""The runner itself: what it changes, that it changes it, and that the listed survivors are there."""

import os
import subprocess
import sys

import pytest
from helpers.battery import GOOD, battery_error

import minipc
from mutation.operators import mutants
from mutation.runner import MODULES, ROOT, source_of, statements
from mutation.scores import load_equivalent, load_results
from mutation.swap import install

SOURCE = '''"""Words stay."""
K = 2


class A:
    """So do these."""

    def f(self, x, s, *, n=1, word: int = 2):
        """And these."""
        if not x and s.T < n:
            raise ValueError(f"x must be {n}")
        check_count("n of A", n, least=1)
        x = min(x, -s[x])
        return [a for a in s[1:] if a]
'''
CHANGES = {
    ("K", "K = 3"), ("K", "K = 1"),
    ("A.f", "def f(self, x, s, *, n=2, word: int = 2):"), ("A.f", "def f(self, x, s, *, n=0, word: int = 2):"),
    ("A.f", "def f(self, x, s, *, n=1, word: int = 3):"), ("A.f", "def f(self, x, s, *, n=1, word: int = 1):"),
    ("A.f", "if not x or s.T < n:"), ("A.f", "if True and s.T < n:"), ("A.f", "if not x and True:"),
    ("A.f", "if (x) and s.T < n:"), ("A.f", "if not x and s.T <= n:"),
    ("A.f", "if not x and s.T >= n:"), ("A.f", "if not x and s < n:"),
    ("A.f", "pass"),
    ("A.f", 'check_count("n of A", n)'), ("A.f", 'check_count("n of A", n, least=2)'),
    ("A.f", 'check_count("n of A", n, least=0)'),
    ("A.f", "x = max(x, -s[x])"), ("A.f", "x = min(x, (s[x]))"),
    ("A.f", "x = min(x, -s[x - 1])"),
    ("A.f", "return [a for a in s[:] if a]"), ("A.f", "return [a for a in s[2:] if a]"),
    ("A.f", "return [a for a in s[0:] if a]"), ("A.f", "return [a for a in s[1:] if (not a)]"),
}  # fmt: skip


def test_the_changes_of_a_module():
    """All of a small module, no more: conditions and numbers, no words and no annotations."""
    found = mutants(SOURCE)
    assert {(m.function, m.new) for m in found} == CHANGES
    assert sum(m.new == "pass" for m in found) == 4  # raise, check, assignment to an argument, return
    for m in found:
        compile(SOURCE[: m.start] + m.text + SOURCE[m.end :], "changed", "exec")
        assert m.old != m.new


@pytest.mark.parametrize("module", MODULES)
def test_the_changes_of_the_engine(module):
    """Every mutant is Python, and has a name of its own."""
    source = source_of(module)
    found, spans = mutants(source), statements(source)
    assert len(found) > 200
    assert len({m.key for m in found}) == len(found)
    for m in found[::20]:
        first, last = spans(m)
        assert 0 == first == last or m.line <= last  # defaults stand before the body
        compile(source[: m.start] + m.text + source[m.end :], module, "exec")


def in_a_fork(work):
    """Exit status of some work in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        except BaseException:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_mutant_is_seen_by_all_who_have_imported_it():
    """The sign of (sPC.4) turned in a fork: the check of the equation misses it, here it is as before."""
    source = source_of("spc")
    wrong = next(m for m in mutants(source) if m.new == "gradient[l] = xi[l] + top_down  # (sPC.4)")

    def work():
        install(minipc.spc, source, wrong)
        return battery_error(minipc, "sPC.4", GOOD) > 1e-3

    assert in_a_fork(work) == 1
    assert battery_error(minipc, "sPC.4", GOOD) < 1e-10


@pytest.mark.parametrize(
    ("module", "new", "look"),
    [
        ("blocks", "n_in = 1", None),
        ("blocks", "bias: bool = False", lambda: minipc.Dense(2, 3).bias is False),
        ("cells", "parts, gates = 3, 4", lambda: minipc.LSTM.parts == 3),
        ("rtrl", "AT_ONCE = 65  # steps whose", lambda: minipc.rtrl.AT_ONCE == minipc.tpc.AT_ONCE == 65),
        (
            "rtrl",
            "influence='hybridX',",
            lambda: minipc.rtrl.gradient.__kwdefaults__["influence"] == "hybridX",
        ),
    ],
)
def test_defaults_and_constants_are_changed(module, new, look):
    """Also where they were imported, and in the constructor of a dataclass."""
    source = source_of(module)
    found = next((m for m in mutants(source) if m.new.startswith(new)), None)
    if look is None:
        assert found is None
        return

    def work():
        install(getattr(minipc, module), source, found)
        return 1 if look() else 2

    assert in_a_fork(work) == 1


@pytest.mark.parametrize("module", MODULES)
def test_every_listed_survivor_is_a_mutant_of_the_source(module):
    """After a change of the engine a reason must not stand beside a mutant that is no more."""
    reasons, alive = load_equivalent(module), {m.key for m in mutants(source_of(module))}
    assert [key for key in reasons if key not in alive] == []
    assert all(len(reason) > 10 for reason in reasons.values())
    killed = [k for k in reasons if load_results(module).get(k, {}).get("status") in ("killed", "timeout")]
    assert killed == []  # a mutant that a test kills is not equivalent


def test_the_command_runs_mutants(tmp_path):
    """A handful of mutants from end to end: those of the sum of the gradient of the weights, all killed."""
    command = [
        sys.executable,
        "-m",
        "tests.mutation",
        "spc",
        "--only",
        "weight_gradient",
        "--folder",
        str(tmp_path),
    ]
    command += ["--tests", "tests/oracles/test_index_loops.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "spc" in done.stdout
    results = load_results("spc", tmp_path)
    assert len(results) >= 3
    assert sum(found["status"] == "killed" for found in results.values()) >= 3
