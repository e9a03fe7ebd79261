"""What became of the mutants, a file a module; which survivors are equivalent, and why; the score."""

import json
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
FIELDS = ("function", "old", "new", "nth")
RESULTS = HERE / "results"


def load_results(module, folder=RESULTS):
    """Results by key; empty if there are none."""
    path = Path(folder) / f"{module}.json"
    if not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {tuple(row[f] for f in FIELDS): {k: v for k, v in row.items() if k not in FIELDS} for row in rows}


def save_results(module, results, folder=RESULTS):
    """One mutant a line, in the order of the source."""
    path = Path(folder) / f"{module}.json"
    path.parent.mkdir(exist_ok=True)
    rows = [dict(zip(FIELDS, key, strict=True)) | found for key, found in results.items()]
    rows.sort(key=lambda row: row["line"])
    path.write_text(
        "[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n", encoding="utf-8"
    )


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
