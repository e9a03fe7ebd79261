"""Mutation testing of the engine's gradient code.

python -m tests.mutation spc epc          run all mutants of these modules (none named: all eight)
python -m tests.mutation --again tpc      run again those that live without a reason, and new ones
python -m tests.mutation --new            go on where a run was stopped
python -m tests.mutation --listed         run those that are said to be equivalent: none may be killed
python -m tests.mutation --table          the score, from the results as they are; the survivors without a reason
"""

import argparse
import os
import sys
import time
from pathlib import Path

from .operators import mutants
from .runner import HERE, MODULES, POOL, Runner, reach, run_module, source_of
from .scores import RESULTS, load_equivalent, load_results, save_results, table


def main(argv=None):
    """The command; see the module."""
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", default=[], help=f"of {', '.join(MODULES)}; none: all")
    parser.add_argument(
        "--again", action="store_true", help="only those that are new, or live without a reason"
    )
    parser.add_argument("--new", action="store_true", help="only mutants that have not been run")
    parser.add_argument("--listed", action="store_true", help="only those that are listed as equivalent")
    parser.add_argument("--table", action="store_true", help="run nothing, print the score")
    parser.add_argument("--budget", type=float, default=6.0, help="seconds of tests a mutant, at most")
    parser.add_argument("--at-most", type=int, default=None, help="that many mutants a module, evenly spread")
    parser.add_argument("--only", default="", help="mutants of functions with this in their name")
    parser.add_argument(
        "--tests", nargs="*", default=None, help="files or folders of tests, in place of the pool"
    )
    parser.add_argument("--folder", default=str(RESULTS), help="where the results are kept")
    options = parser.parse_args(argv)
    modules = options.modules or MODULES
    if not options.table:
        _run(modules, options)
    print(table(modules, options.folder, survivors=True))


def _run(modules, options):
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    import pytest
    from hypothesis import Phase, settings

    settings.register_profile(
        "mutation", max_examples=8, deadline=None, derandomize=True, database=None,
        phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False,
    )  # fmt: skip
    runner = Runner(lambda runner: _work(runner, modules, options))
    doctests = [str(HERE.parents[1] / "minipc" / f"{name}.py") for name in MODULES]
    pool = [str(HERE.parent / part) for part in POOL] + doctests if options.tests is None else options.tests
    arguments = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:faulthandler",
        "--tb=no",
        "--assert=plain",
        "-q",
        "-s",
        *pool,
    ]
    status = pytest.main(arguments, plugins=[runner])
    if not runner.items:
        sys.exit(f"no tests were collected (pytest: {status})")


def _work(runner, modules, options):
    path = (HERE if options.folder == str(RESULTS) else Path(options.folder)) / "reach" / "reach.json"
    tests = reach(runner, path)
    failing = len(runner.items) - len(tests)
    print(
        f"{len(tests)} tests, {failing} left out because they do not pass twice in one process",
        file=sys.stderr,
    )
    for name in modules:
        results, every = load_results(name, options.folder), mutants(source_of(name))
        alive = {m.key for m in every}
        results = {key: found for key, found in results.items() if key in alive}
        todo = [m for m in every if options.only in m.function]
        if options.new:
            todo = [m for m in todo if m.key not in results]
        reasons = load_equivalent(name)
        if options.listed:
            todo = [m for m in todo if m.key in reasons]
        if options.again:
            live = [m for m in todo if results.get(m.key, {}).get("status") not in ("killed", "timeout")]
            todo = [m for m in live if m.key not in reasons]
        if options.at_most:
            todo = todo[:: max(1, len(todo) // options.at_most)]
        started = time.perf_counter()

        def note(mutant, status, killer, seconds, results=results, name=name, started=started, todo=todo):
            results[mutant.key] = {
                "line": mutant.line, "operator": mutant.operator, "status": status, "killer": killer,
                "seconds": round(seconds, 2),
            }  # fmt: skip
            note.done += 1
            if note.done % 25 == 0 or note.done == len(todo):
                save_results(name, results, options.folder)
                spent = time.perf_counter() - started
                lives = sum(found["status"] in ("survived", "not reached") for found in results.values())
                print(f"{name}: {note.done} of {len(todo)}, {lives} live, {spent / note.done:.2f} s each",
                      file=sys.stderr, flush=True)  # fmt: skip

        note.done = 0
        known = {key: found["killer"] for key, found in results.items() if found["killer"]}
        kills = {}  # of earlier runs, too: what has killed in a function comes first
        for (function, *_), found in results.items():
            for place in (function, None) if found["killer"] else ():
                kills[place, found["killer"]] = kills.get((place, found["killer"]), 0) + 1
        run_module(runner, name, tests, todo, options.budget, note, kills, known)
        save_results(name, results, options.folder)


if __name__ == "__main__":
    main()
