"""Runs every mutant in a fork of one process in which pytest has collected the tests, until one of them fails.

Which tests reach which lines is recorded once (``reach``); a mutant meets those that reach its lines, the ones that
have killed much at a low cost first. A test that does not come to an end is a kill, too.
"""

import ast
import gc
import hashlib
import json
import os
import resource
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

from .swap import install

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = ("spc", "epc", "blocks", "bptt", "rtrl", "influence", "cells", "tpc")
POOL = (
    "mutation/fixed_problems.py",
    "oracles",
    "exact",
    "inputs",
    "closed_form",
    "negative",
    "backend/test_block_devices.py",
    "backend/test_carry_devices.py",
)
MEMORY = 8 << 30
LONGEST = 15  # seconds of a test, while lines are recorded; longer ones are left out


def source_of(module):
    """The text of a module of the engine."""
    return (ROOT / "minipc" / f"{module}.py").read_text(encoding="utf-8")


class Runner:
    """A plugin of pytest: it takes the place of the loop over the tests."""

    def __init__(self, work):
        self.work, self.reports, self.items = work, [], {}

    def pytest_runtestloop(self, session):
        """Do the work in place of the tests."""
        self.items = {item.nodeid: item for item in session.items}
        config = session.config
        config.pluginmanager.unregister(name="terminalreporter")
        self.work(self)
        return True

    def pytest_runtest_logreport(self, report):
        """Remember what became of a test."""
        self.reports.append(report)

    def run(self, item, following=None):
        """Run one test; is it all right?"""
        self.reports.clear()
        if hasattr(item, "_initrequest"):
            item._initrequest()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return not any(report.failed for report in self.reports)


# ---------------------------------------------------------------------- which tests reach which lines


def reach(runner, path, modules=MODULES):
    """Lines of the engine that each test reaches, and its seconds: read from ``path``, new tests added."""
    stamp = hashlib.sha256("".join(map(source_of, modules)).encode()).hexdigest()
    known = json.loads(path.read_text()) if path.exists() else {}
    if known.get("stamp") != stamp:
        known = {"stamp": stamp, "tests": {}}
    files = {str(ROOT / "minipc" / f"{module}.py"): module for module in modules}
    tests = known["tests"]
    new = [item for name, item in runner.items.items() if name not in tests]
    signal.signal(signal.SIGALRM, _too_long)
    for i, item in enumerate(new):
        lines = {module: set() for module in modules}
        following = new[i + 1] if i + 1 < len(new) else None
        started = time.perf_counter()
        signal.alarm(LONGEST)
        with _Trace(files, lines):
            passed = runner.run(item, following)
        signal.alarm(0)
        seconds = time.perf_counter() - started
        if passed and any(lines.values()) and seconds < 1:
            started = time.perf_counter()
            passed = runner.run(item, following)  # its time without the trace; and it must pass twice
            seconds = time.perf_counter() - started
        tests[item.nodeid] = {
            "seconds": seconds, "passed": passed, **{m: sorted(found) for m, found in lines.items() if found}
        }  # fmt: skip
        if i % 200 == 199 or following is None:
            print(f"recorded {i + 1} of {len(new)} tests", file=sys.stderr, flush=True)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(json.dumps(known))
    return {name: test for name, test in tests.items() if name in runner.items and test["passed"]}


def _too_long(*_):
    raise TimeoutError("too slow a test for many mutants")


class _Trace:
    """Notes lines of some files."""

    def __init__(self, files, lines):
        self.files, self.lines = files, lines

    def __enter__(self):
        files, lines = self.files, self.lines

        def calls(frame, event, argument):
            module = files.get(frame.f_code.co_filename)
            if module is None:
                return None
            seen = lines[module].add
            seen(frame.f_lineno)

            def inside(frame, event, argument):
                seen(frame.f_lineno)
                return inside

            return inside

        sys.settrace(calls)

    def __exit__(self, *_):
        sys.settrace(None)


# ---------------------------------------------------------------------- the mutants


def run_module(runner, name, tests, todo, budget, note, kills, known):
    """Run the mutants ``todo`` of a module; ``note(mutant, status, killer, seconds)`` is called of each.

    ``kills`` counts, by function and test, what has killed already; ``known`` is what killed a mutant before, by its key. The engine as it is goes first, as a control.
    """
    module, source = import_module(f"minipc.{name}"), source_of(name)
    spans = statements(source)
    gc.collect()
    gc.freeze()
    using = _within(budget, _ordered([t for t in tests if tests[t].get(name)], tests, kills, None), tests)
    if (control := _one(runner, module, source, None, using, tests))[0] != "survived":
        sys.exit(f"{control[1]} fails on the engine itself: what it kills says nothing")
    for mutant in todo:
        first, last = spans(mutant)
        reached = [t for t, test in tests.items() if any(first <= l <= last for l in test.get(name, ()))]
        if first == 0:  # at the level of the module or a class: whatever uses the module
            reached = [t for t, test in tests.items() if test.get(name)]
        order = _ordered(reached, tests, kills, mutant.function)
        if known.get(mutant.key) in order:
            order.sort(key=known[mutant.key].__ne__)  # what killed this mutant before goes first
        order = _within(budget, order, tests)
        started = time.perf_counter()
        status, killer = (
            _one(runner, module, source, mutant, order, tests) if order else ("not reached", None)
        )
        if killer:
            for place in (mutant.function, None):
                kills[place, killer] = kills.get((place, killer), 0) + 1
        note(mutant, status, killer, time.perf_counter() - started)


def _within(budget, order, tests):
    """The first tests, as many as take so many seconds, and one at least."""
    spent = 0.0
    for i, test in enumerate(order):
        spent += tests[test]["seconds"] + 0.003
        if spent > budget and i:
            return order[:i]
    return order


def _ordered(reached, tests, kills, function):
    """Cheap tests first, and those that have killed; variants of one test are kept apart."""
    variants, score = {}, {}
    for name in sorted(reached, key=lambda t: tests[t]["seconds"]):
        base = name.split("[")[0]
        variants[base] = variants.get(base, 0) + 1
        merit = 1 + 8 * kills.get((function, name), 0) + kills.get((None, name), 0)
        score[name] = (tests[name]["seconds"] + 0.003) * variants[base] / merit
    return sorted(reached, key=score.get)


def _one(runner, module, source, mutant, order, tests):
    """Fork, install, run: ("killed" or "survived", the test)."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        _child(runner, module, source, mutant, order, tests, send)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    last = int(said.split(b"\n")[-2]) if b"\n" in said else 0
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return "survived", None
    return "killed" if os.WIFEXITED(status) else "timeout", order[last]


def _child(runner, module, source, mutant, order, tests, send):
    """The life of a mutant; ends with exit status 1 when a test fails."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if mutant is not None:  # None is the control
            install(module, source, mutant)
        for i, name in enumerate(order):
            os.write(send, b"%d\n" % i)
            signal.setitimer(signal.ITIMER_REAL, 5 + 30 * tests[name]["seconds"])
            following = runner.items[order[i + 1]] if i + 1 < len(order) else None
            if not runner.run(runner.items[name], following):
                os._exit(1)
        os._exit(0)
    except BaseException:
        os._exit(1)


def statements(source):
    """A function: the lines of the smallest statement, or head of one, around a mutant; (0, 0) outside functions."""
    tree = ast.parse(source)
    spans = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        body = (function.body[0].lineno, function.end_lineno)
        spans.append((function.lineno, body[0] - 1, body))  # defaults: the whole function is reached by them
        for node in ast.walk(function):
            if not isinstance(node, ast.stmt):
                continue
            inner = getattr(node, "body", None)
            last = inner[0].lineno - 1 if isinstance(inner, list) and inner else node.end_lineno
            last = max(last, node.lineno)
            spans.append((node.lineno, last, (node.lineno, last)))
    spans.sort(key=lambda s: s[1] - s[0])

    def find(mutant):
        for first, last, lines in spans:
            if first <= mutant.line <= last:
                return lines
        return 0, 0

    return find
