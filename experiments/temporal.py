"""What the four long commands about time share: the log, the loop over what is left to do, and the results file.

``python -m experiments.bias``, ``.copy``, ``.nanodrone`` and ``.adaptation`` do the runs that ``temporal.jsonl`` does not
have, one line each, and write ``TEMPORAL.md`` from the log alone. Stop them whenever you like: the same command goes on.
"""

import argparse
import importlib
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minipc.checkpoint import versions
from minipc.files import check_place, replacing

from .log import Log

HERE = pathlib.Path(__file__).parent
SECTIONS = ("bias", "copy", "nanodrone", "adaptation")  # in the order of the file
SEEDS = (1, 2, 3)

HEAD = """# Temporal predictive coding: results

Written by `python -m experiments.bias`, `.copy`, `.nanodrone` and `.adaptation` from their log, `temporal.jsonl`; nothing
here is typed by hand. Every run has its line there, with its setting. Three seeds; a value is the mean of them, followed
by [lowest..highest]. Criteria stand beside the lines and were set before the runs were seen; where one was changed
afterwards, or a setting was chosen by its result, the text says so.
{machine}
"""


class Section(NamedTuple):
    """One command.

    Attributes
    ----------
    name, title : str
    configs : callable      ``() -> list``: every run, a dict of what makes it the run it is
    run : callable          ``config -> dict``: what was measured
    text : callable         ``runs -> str``: Markdown, of the runs that are done; each is ``{"config": ..., measured ...}``
    """

    name: str
    title: str
    configs: Callable
    run: Callable
    text: Callable


def sections():
    """All of them, in the order of the file."""
    return [importlib.import_module(f".{name}", __package__).SECTION for name in SECTIONS]


def command(section, argv=None):
    """Do what is left to do, write the results; the exit status is 0, 2 for wrong usage or files, 130 for Ctrl-C."""
    name = f"python -m experiments.{section.name}"
    parser = argparse.ArgumentParser(prog=name, description=section.title)
    parser.add_argument("--log", default=HERE / "temporal.jsonl", metavar="FILE", help="one line a run")
    parser.add_argument("--out", default=HERE / "TEMPORAL.md", metavar="FILE", help="the tables")
    args = parser.parse_args(argv)
    try:
        out, log = check_place(args.out), Log(args.log)
        work(section, log)
        with replacing(out) as file:
            file.write(markdown(log.runs()).encode())
    except KeyboardInterrupt:
        print(f"\nstopped; {args.log} has the runs that are done, the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    print(f"results: {out}")
    return 0


def work(section, log):
    """Do the runs that are not in the log, each on the disk before the next begins."""
    configs = [{"section": section.name, **config} for config in section.configs()]
    for number, config in enumerate(configs, start=1):
        if config in [done["config"] for done in log.runs()]:
            continue
        print(f"{number:3}/{len(configs)}  {label(config)} ...", flush=True)
        began = time.process_time()
        measured = section.run(config)
        seconds = time.process_time() - began
        log.append({
            "config": config, **measured, "processor_seconds": round(seconds, 1), "versions": versions(),
            "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "not set"),
        })  # fmt: skip
        print(f"         {seconds:.0f} s", flush=True)


def label(config):
    """A run in one line."""
    return ", ".join(f"{key} {value}" for key, value in config.items() if key != "section")


def markdown(done, parts=None):
    """The results file, from the runs that are done; of several equal ones the first counts."""
    parts = sections() if parts is None else parts
    found = sorted({(*r["versions"].items(), ("BLAS threads", r["blas_threads"])) for r in done})
    machine = "; ".join(", ".join(f"{name} {value}" for name, value in kind) for kind in found)
    texts = [HEAD.format(machine=f"Made with {machine}." if done else "")]
    for section in parts:
        runs = planned(section, done)
        missing = len(section.configs()) - len(runs)
        seconds = sum(r["processor_seconds"] for r in runs)
        note = f"`python -m experiments.{section.name}`: {len(runs)} runs, {seconds / 60:.0f} minutes of one core"
        note += f"; **{missing} runs are missing**." if missing else "."
        texts.append(f"## {section.title}\n\n{note}\n\n{section.text(runs) if runs else ''}".rstrip() + "\n")
    return "\n".join(texts)


def planned(section, done):
    """The runs of a section that its plan has, in its order; the first of each."""
    configs = [{"section": section.name, **config} for config in section.configs()]
    found = (next((run for run in done if run["config"] == config), None) for config in configs)
    return [run for run in found if run is not None]


def chosen(runs, key, **config):
    """One measured value of all runs with these settings, in the order of the plan."""
    return [r[key] for r in runs if all(r["config"][name] == value for name, value in config.items())]


def spread(values, form="{:.3g}"):
    """Mean [lowest..highest]; "–" of nothing, "diverges" where a number is not finite (in the log it is a string)."""
    if not values:
        return "–"
    if any(isinstance(v, str) or not np.isfinite(v) for v in values):
        return "diverges"
    show = form.format
    return f"{show(np.mean(values))} [{show(min(values))}..{show(max(values))}]"


def scaled(grads, factor):
    """The same gradient, times a number."""
    return [{name: factor * g for name, g in block.items()} for block in grads]


def cosine_of(grads, others):
    """Cosine between two gradients, all parameters together."""
    a, b = (
        np.concatenate([block[name].ravel() for block in g for name in sorted(block)])
        for g in (grads, others)
    )
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def grid(names, lines):
    """A Markdown table."""
    cells = [tuple(names), ("---",) * len(names), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in cells)
