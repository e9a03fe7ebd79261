"""The results file of :mod:`experiments.mnist`, from its log alone."""

from typing import NamedTuple

import numpy as np

from .table import as_markdown, note, says, show

CHANCE = 0.1  # what a run that stopped counts as, as in row 8


class Search(NamedTuple):
    """What the search found for one setting at one depth.

    Attributes
    ----------
    accuracy : dict             learning rate -> mean accuracy on the held-out images after the last epoch
    chosen : float or None      the rate with the highest one, of equal ones the smallest; None: not complete
    seconds : float             processor time of its training
    """

    accuracy: dict
    chosen: float | None
    seconds: float


def of_search(plan, done, layers, name):
    """The search of a setting, from the runs that are done."""
    accuracy, seconds = {}, 0.0
    for rate in sorted(plan.rates):
        runs = _found(done, [plan.config("search", layers, name, rate, seed) for seed in plan.search_seeds])
        if len(runs) == len(plan.search_seeds):
            accuracy[rate] = float(np.mean([score(r) for r in runs]))
            seconds += sum(s for r in runs for s in r["processor_seconds"])
    complete = len(accuracy) == len(plan.rates)
    return Search(accuracy, max(accuracy, key=accuracy.get) if complete else None, seconds)


def next_lower(plan, done, layers, name):
    """The rate of the search below the chosen one; None: not complete, or there is none."""
    chosen = of_search(plan, done, layers, name).chosen
    return max((rate for rate in plan.rates if chosen is not None and rate < chosen), default=None)


def of_final(plan, done, layers, name, rate=None):
    """The final runs of a setting that are done, at the rate that was chosen or another, in the order of the seeds."""
    rate = of_search(plan, done, layers, name).chosen if rate is None else rate
    return _found(done, [plan.config("final", layers, name, rate, seed) for seed in plan.final_seeds])


def _found(done, configs):
    """The first run of each of these configurations; a log may hold others."""
    found = (next((r for r in done if r["config"] == config), None) for config in configs)
    return [r for r in found if r is not None]


def score(run):
    """Accuracy after the last epoch; chance for a run that did not get there."""
    return run["accuracy"][-1] if run["stopped"] is None else CHANCE


# The file

HEAD = """# MNIST: accuracy and cost of the rules

Written by `python -m experiments.mnist` from its log, `mnist.jsonl`; nothing here is typed by hand.
{machine}

**Setting.** 784-128x(L-1)-10 with L = {depths} layers, GELU (tanh form), orthogonal weights of gain sqrt 2, zero
biases, cross-entropy, float32; pixels 0..1, batches of {batch}, Adam, whose learning rate rises in the first {warm_up:.0%} of
the updates and then falls along a cosine to zero. The seed draws the first weights and the order of the images: for
one seed they are the same for all rules. No weight decay, no early stopping, no best epoch: what counts is the
accuracy after the last one.

**Search.** The peak of the learning rate is searched for each rule and depth by the same {count} runs: rates {rates};
seed {seeds}; {search_epochs}; trained without the last {held_out:,} training images and judged
by them. Chosen is the highest accuracy there, of equal ones the smaller rate. The test set has no part in it.

**Final runs.** All training images; seeds {final_seeds}; {final_epochs}; judged by the test images.

**Columns.** *Accuracy*: mean [worst..best] of the seeds, in %. *Minus backprop*: the same of the differences between
runs of equal seed, in points. *Regime*: relaxed fraction of the fastest mode (ePC.17), first 64 images, before and
after training, median of the seeds: below 0.1 the gradient is backprop's, above 0.9 the equilibrium's; negative, the
step is unstable; sPC has none. *Cosine*: between the gradient of W[l] and backprop's at the same weights, mean over the
layers (0 for a layer that receives nothing), before and after training, median of the seeds. *Seconds*: of an epoch
of training, median: processor time, and wall clock in brackets. *Diverging batches*: share of the batches in which the
energy of an image rose above its start. A run whose gradient is not finite is stopped and counts as {chance:.0f} %, chance.
"""

SEARCH = """## Search: accuracy on the {held_out:,} held-out images, %

Chosen in bold; *edge*: it is the smallest or largest rate of the grid, so a better one may lie outside.
"""

EXPECTED = """## What was expected

The criteria were set before the first final run: with four layers ePC is within 0.3 points of backprop, with twenty it
trains (at most 1 point below backprop) and sPC does not (at least 10 points below).
"""

LOWER = """Added when the final runs had been seen: these settings trained in the short search, and were lost in the longer runs.
The same seeds, at the next lower rate of the search; *minus backprop* is against backprop at its own rate.
"""

READING = """## What the tables say

Written after the runs. (1) ePC with small enough steps is backprop with another name: regime below 0.01, cosine 1, its
accuracy, for two to three times the time. (2) A step must be small for every image. With 20 layers the published 0.001
does not stay so: the curvature of some images grows (row 16) until the step is too long for them (ePC.13), their
inference diverges, and their gradients outweigh the batch. The search ends in overflow at all but its two smallest
rates, and the final runs at the better of these end so, too; at the smallest one they learn, about seven points worse than
backprop. A tenth of the step trains as backprop does, but that setting was added when this had been seen. (3) The fixed
steps of 0.1 (ePC) and 0.3 (sPC) diverge already with four layers. (4) At equilibrium, which the adaptive step reaches for
the fastest mode, four layers cost a point. Twenty layers learned in the two epochs of the search, but in the longer final
runs at the same rate two of three seeds were lost in the fourth epoch, without a gradient that is not finite. One rate
lower all three learn, four and a half to five points worse than backprop: a short search chooses rates that are too long
for a longer run, of a rule that does not show it early. (5) sPC with 20 steps of 0.1 is as good as ePC at equilibrium with
four layers. With twenty it learns, about ten points worse than backprop. So "ePC trains twenty layers and sPC does
not" holds here for ePC in the limit of backprop; at equilibrium ePC is in between, at a rate that was not the search's.
"""


def markdown(plan, done):
    """Setting, final runs of every depth, what was expected, how we read it, search, and why these settings."""
    parts = [_head(plan, done)]
    for layers in plan.depths:
        lines = [_final_row(plan, done, layers, name) for name in plan.settings]
        parts.append(f"## {layers} layers\n\n{_table(FINAL, lines)}\n")
    for layers, names in plan.lower.items():
        rates = {name: next_lower(plan, done, layers, name) for name in names}
        rates = {name: rate for name, rate in rates.items() if rate is not None}
        lines = [_final_row(plan, done, layers, name, rate) for name, rate in rates.items()]
        parts.append(f"## {layers} layers, one rate lower\n\n{LOWER}\n{_table(FINAL, lines)}\n")
    parts.append(f"{EXPECTED}\n{as_markdown(expected(plan, done))}\n")
    parts += [READING, SEARCH.format(held_out=plan.held_out)]
    for layers in plan.depths:
        names = [f"{layers} layers", *(f"{rate:g}" for rate in sorted(plan.rates)), "processor time, s"]
        lines = [_search_row(plan, done, layers, name) for name in plan.settings]
        parts.append(f"{_table(names, lines)}\n")
    lines = [(name, setting.why) for name, setting in plan.settings.items()]
    parts.append(f"## Why these settings of inference\n\n{_table(['rule', 'why'], lines)}\n")
    return "\n".join(parts)


FINAL = (
    "rule", "learning rate", "accuracy, %", "minus backprop", "loss at the end", "regime", "cosine",
    "seconds an epoch", "times backprop", "diverging batches",
)  # fmt: skip


def _head(plan, done):
    """Where, with what, and how."""
    first = done[0]["config"] if done else {"batch_size": 0, "warm_up": 0}
    found = sorted({(*r["versions"].items(), ("BLAS threads", r["blas_threads"])) for r in done})
    machine = "; ".join(", ".join(f"{name} {value}" for name, value in kind) for kind in found)
    return HEAD.format(
        machine=f"Made with {machine}." if done else "",
        depths=_list(plan.depths),
        batch=first["batch_size"],
        warm_up=first["warm_up"],
        count=len(plan.rates) * len(plan.search_seeds),
        rates=_list(f"{rate:g}" for rate in sorted(plan.rates)),
        seeds=_list(plan.search_seeds),
        final_seeds=_list(plan.final_seeds),
        search_epochs=_list(f"{epochs} epochs with {L} layers" for L, (epochs, _) in plan.depths.items()),
        final_epochs=_list(f"{epochs} epochs with {L} layers" for L, (_, epochs) in plan.depths.items()),
        held_out=plan.held_out,
        chance=100 * CHANCE,
    )


def _list(values):
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def _final_row(plan, done, layers, name, rate=None):
    """One rule, at the rate that was chosen or another: what the columns say."""
    rate = of_search(plan, done, layers, name).chosen if rate is None else rate
    runs = of_final(plan, done, layers, name, rate)
    if not runs:
        return (name, "–" if rate is None else f"{rate:g}", *["–"] * (len(FINAL) - 2))
    points, missing = minus_backprop(plan, done, layers, name, rate), len(plan.final_seeds) - len(runs)
    seconds, base = _seconds(runs), _seconds(of_final(plan, done, layers, "backprop"))
    return (
        name,
        f"{rate:g}",
        _spread([100 * score(r) for r in runs])
        + _stopped(runs)
        + (f", {missing} missing" if missing else ""),
        _spread(points, "+") if points and name != "backprop" else "",
        _median("{:.2g}", [r["loss"][-1] for r in runs if r["loss"]]),
        _two([r["regime"] for r in runs]),
        _two([[None if c is None else float(np.mean(c)) for c in r["cosines"]] for r in runs]),
        "–" if seconds is None else f"{seconds[0]:.1f} ({seconds[1]:.1f})",
        "–" if None in (seconds, base) else f"{seconds[0] / base[0]:.1f}",
        _diverging(runs),
    )


def minus_backprop(plan, done, layers, name, rate=None):
    """Accuracy minus backprop's (at its own rate), in points, of every seed that both have."""
    mine, base = (
        {r["config"]["seed"]: score(r) for r in runs}
        for runs in (of_final(plan, done, layers, name, rate), of_final(plan, done, layers, "backprop"))
    )
    return [100 * (mine[seed] - base[seed]) for seed in plan.final_seeds if seed in mine and seed in base]


def _spread(values, sign=""):
    return f"{np.mean(values):{sign}.2f} [{min(values):{sign}.2f}..{max(values):{sign}.2f}]"


def _stopped(runs):
    """How many did not get to the end, and when the first of them stopped."""
    early = [len(r["accuracy"]) + 1 for r in runs if r["stopped"] is not None]
    return f", {len(early)} not finite (from epoch {min(early)})" if early else ""


def _median(form, values):
    return form.format(float(np.median(values))) if values else "–"


def _two(pairs):
    """Median before and after training of those that have both."""
    whole = [pair for pair in pairs if None not in pair]
    return " to ".join(show(v) for v in np.median(whole, axis=0).tolist()) if whole else ""


def _seconds(runs):
    """Median seconds of an epoch: processor time, wall clock."""
    times = [[s for r in runs for s in r[kind]] for kind in ("processor_seconds", "seconds")]
    return [float(np.median(t)) for t in times] if all(times) else None


def _diverging(runs):
    """Share of the batches whose inference warned."""
    warned = sum(r["warnings"].get("InferenceWarning", 0) for r in runs)
    return f"{warned / sum(r['updates'] for r in runs):.1%}" if warned else "0"


def expected(plan, done):
    """Lines with their criteria, for the depths and settings that the issue of this experiment names."""
    lines = []
    for layers, name in ((layers, name) for layers in plan.depths for name in plan.settings):
        points = minus_backprop(plan, done, layers, name)
        if name == "backprop" or len(points) < len(plan.final_seeds):
            continue
        what, mean = f"{layers} layers: {name}, minus backprop", float(np.mean(points))
        if layers == 4 and name.startswith("ePC"):
            lines.append(says(what, points, "0", "within 0.3", abs(mean) <= 0.3, f"{mean:+.2f}"))
        elif layers == 20 and name.startswith("ePC"):
            lines.append(says(what, points, "trains", "at least -1", mean >= -1, f"{mean:+.2f}"))
        elif layers == 20:
            lines.append(says(what, points, "does not train", "at most -10", mean <= -10, f"{mean:+.2f}"))
        else:
            lines.append(note(what, points, f"{mean:+.2f}"))
    return lines


def _search_row(plan, done, layers, name):
    """Accuracies of one rule, the chosen one marked."""
    accuracy, chosen, seconds = of_search(plan, done, layers, name)
    rates, cells = sorted(plan.rates), []
    for rate in rates:
        cell = f"{100 * accuracy[rate]:.2f}" if rate in accuracy else "–"
        if rate == chosen:
            cell = f"**{cell}**" + (" *edge*" if rate in (rates[0], rates[-1]) else "")
        cells.append(cell)
    return (name, *cells, f"{seconds:.0f}" if accuracy else "–")


def _table(names, lines):
    cells = [tuple(names), ("---",) * len(names), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
