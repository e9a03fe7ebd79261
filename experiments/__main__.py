"""The command line: ``python -m experiments [ROW ... | all] [--seed S] [--json FILE] [--out FILE]``."""

import argparse
import sys
import time

from minipc.files import replacing, write_json

from . import limits, linear, signal, training  # noqa: F401  they register their rows
from .table import ROWS, as_markdown, as_text, text_of

HEAD = """# Results of the experiments

Written by `python -m experiments all --out experiments/RESULTS.md`; nothing here is typed by hand. Machine: 2 cores,
one BLAS thread. Seed {seed}. The expected numbers are those of earlier, independent runs with a setting that is known
only roughly (see `experiments/__init__.py`); what does not land is explained in the text of its row.

{summary}
"""


def main(argv=None):
    """Run experiments; the exit status is 0 if every line landed, 1 if not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Measured beside expected.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="numbers of rows, or all; none: list them")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of every row (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write every number as JSON")
    parser.add_argument("--out", metavar="FILE", help="write texts and tables as Markdown")
    args = parser.parse_args(argv)
    if not args.rows:
        for row in sorted(ROWS.values()):
            print(f"{row.number:3}  {row.title}{' (MNIST)' if row.data else ''}")
        return 0
    known = {str(number): number for number in ROWS}
    unknown = [name for name in args.rows if name not in known and name != "all"]
    if unknown:
        print(
            f"python -m experiments: no row {', '.join(unknown)}; there are {', '.join(sorted(known, key=int))}",
            file=sys.stderr,
        )
        return 2
    numbers = sorted(ROWS) if "all" in args.rows else [known[name] for name in args.rows]
    try:
        results = [run(ROWS[number], args.seed) for number in numbers]
        if args.json:
            write_json(args.json, [as_json(*result) for result in results])
        if args.out:
            with replacing(args.out) as file:
                file.write(markdown(results, args.seed).encode())
    except (OSError, ValueError) as error:
        print(f"python -m experiments: {error}", file=sys.stderr)
        return 2
    return 0 if all(line.lands is not False for _, lines, _ in results for line in lines) else 1


def run(row, seed):
    """Run one row and print its table: the row, its lines and the seconds of processor time it took."""
    print(f"\n{row.number}. {row.title}", flush=True)
    began = time.process_time()
    lines = row.run(seed=seed)
    seconds = time.process_time() - began
    print(f"{as_text(lines)}\n{seconds:.0f} s of processor time", flush=True)
    return row, lines, seconds


def as_json(row, lines, seconds):
    """Every number of a row."""
    return {
        "row": row.number,
        "title": row.title,
        "seconds": seconds,
        "lines": [line._asdict() for line in lines],
    }


def markdown(results, seed):
    """The results file: text and table of every row. Without seconds, so that it is the same every time."""
    parts = [HEAD.format(seed=seed, summary=summary(results))]
    for row, lines, _ in results:
        parts.append(f"## {row.number}. {row.title}\n\n{text_of(row)}\n\n{as_markdown(lines)}\n")
    return "\n".join(parts)


def summary(results):
    """How many lines of each row landed."""
    rows = ["| row | lines that land | of |", "|---|---|---|"]
    for row, lines, _ in results:
        judged = [line.lands for line in lines if line.lands is not None]
        rows.append(f"| {row.number}. {row.title} | {sum(judged)} | {len(judged)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
