"""What became of the mutants, a file a module; which survivors are equivalent, and why; the score."""

import json
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def load_results(module, folder=RESULTS):
    """Results by key; empty if there are none."""
    path = Path(folder) / f"{module}.json"
    if not path.exists():
        return {}
    found, results = json.loads(path.read_text(encoding="utf-8")), {}
    for function, line, old, changes in found["places"]:
        for new, nth, operator, status, killer, seconds in changes:
            results[function, old, new, nth] = {
                "line": line,
                "operator": operator,
                "status": status,
                "killer": None if killer is None else found["tests"][killer],
                "seconds": seconds,
            }
    return results


def save_results(module, results, folder=RESULTS):
    """The mutants of a line together, in the order of the source; the tests that killed them by their number."""
    path, places = Path(folder) / f"{module}.json", {}
    path.parent.mkdir(exist_ok=True)
    tests = sorted({found["killer"] for found in results.values() if found["killer"]})
    number = {test: i for i, test in enumerate(tests)} | {None: None}
    for (function, old, new, nth), found in sorted(
        results.items(), key=lambda item: (item[1]["line"], item[0])
    ):
        change = [
            new,
            nth,
            *(found[k] for k in ("operator", "status")),
            number[found["killer"]],
            found["seconds"],
        ]
        places.setdefault((function, found["line"], old), []).append(change)
    rows = [json.dumps([*place, changes], ensure_ascii=False) for place, changes in places.items()]
    names = [json.dumps(test, ensure_ascii=False) for test in tests]
    text = '{"tests": [\n' + ",\n".join(names) + '\n],\n"places": [\n' + ",\n".join(rows) + "\n]}\n"
    path.write_text(text, encoding="utf-8")


def load_equivalent(module):
    """Reasons by key: the mutants that no test can kill, because they compute the same."""
    path = HERE / "equivalent" / f"{module}.toml"
    if not path.exists():
        return {}
    rows = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    return {(r["function"], r["old"], r["new"], r.get("nth", 1)): r["reason"] for r in rows}


def score(module, folder=RESULTS):
    """Counts of one module."""
    results, reasons = load_results(module, folder), load_equivalent(module)
    killed = sum(found["status"] in ("killed", "timeout") for found in results.values())
    left = [(key, found) for key, found in results.items() if found["status"] in ("survived", "not reached")]
    equivalent = [key for key, _ in left if key in reasons]
    return {
        "module": module, "mutants": len(results), "killed": killed, "equivalent": len(equivalent),
        "survived": [(key, found) for key, found in left if key not in reasons],
        "seconds": sum(found["seconds"] for found in results.values()),
    }  # fmt: skip


def table(modules, folder=RESULTS, survivors=False):
    """The score as text: killed of those that are not equivalent."""
    lines = [
        f"{'module':10} {'mutants':>8} {'killed':>8} {'equivalent':>11} {'survived':>9} {'score':>8} {'s each':>7}"
    ]
    rows = [score(module, folder) for module in modules]
    for row in [*rows, _sum(rows)]:
        lived = len(row["survived"])
        share = row["killed"] / max(row["killed"] + lived, 1)
        each = row["seconds"] / max(row["mutants"], 1)
        lines.append(
            f"{row['module']:10} {row['mutants']:8} {row['killed']:8} {row['equivalent']:11} {lived:9} {share:8.1%} {each:7.2f}"
        )
    if survivors:
        for row in rows:
            for (function, old, new, nth), found in row["survived"]:
                lines += [
                    "",
                    f"{row['module']}.py:{found['line']} {function} ({found['operator']}, {found['status']}"
                    + (f", number {nth})" if nth > 1 else ")"),
                    f"- {old}",
                    f"+ {new}",
                ]
    return "\n".join(lines)


def _sum(rows):
    total = {"module": "all", "survived": [s for row in rows for s in row["survived"]]}
    return total | {k: sum(row[k] for row in rows) for k in ("mutants", "killed", "equivalent", "seconds")}
