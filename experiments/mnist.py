"""MNIST, all of it: what four and twenty layers learn by each rule, at a learning rate that was searched for each.

``python -m experiments.mnist [--log FILE] [--out FILE] [--only TEXT ...]``

First the search, then the final runs, one after the other. Each is one line of the log as soon as it is done, and none
is done twice: stop the command whenever you like, and the same command goes on. The results file is made from the
log alone. Two of them may share a log if ``--only`` gives them different runs.
"""

import argparse
import collections
import itertools
import os
import pathlib
import sys
import time
import warnings
from typing import NamedTuple

import numpy as np

import minipc as pc
from minipc.checkpoint import versions
from minipc.files import check_place, replacing

from .log import Log
from .mnist_results import markdown, next_lower, of_search
from .nets import cosine, gelu_mlp, quiet

HERE = pathlib.Path(__file__).parent
BATCH = 64
WARM_UP = 0.1  # share of the updates in which the learning rate rises; then it falls along a cosine to zero


class Setting(NamedTuple):
    """One way to compute a gradient: a rule of ``minipc.RULES``, its options, and why these."""

    rule: str
    options: dict
    why: str


SETTINGS = {
    "backprop": Setting("backprop", {}, "the yardstick"),
    "ePC, 5 steps of 0.001": Setting(
        "epc",
        {"inference_steps": 5, "step_size": 0.001},
        "published for the CIFAR nets of the ePC paper; so little inference that the gradient is backprop's (ePC.11)",
    ),
    "ePC, 5 steps of 0.0001": Setting(
        "epc",
        {"inference_steps": 5, "step_size": 0.0001},
        "a tenth of it, nearer still to backprop: added when the search had shown the published step to diverge in 20 layers",
    ),
    "ePC, 4 steps of 0.1": Setting(
        "epc",
        {"inference_steps": 4, "step_size": 0.1},
        "between the two limits with four layers, and a fixed step that deep nets outgrow (row 16); as in row 8; added "
        "while the search ran",
    ),
    "ePC, 10 adaptive steps": Setting(
        "epc",
        {"inference_steps": 10, "step_size": "adaptive"},
        "near equilibrium: the step follows each image's energy (EPS.1); as in row 8",
    ),
    "sPC, 20 steps of 0.1": Setting(
        "spc", {"inference_steps": 20, "step_size": 0.1}, "a common setting; as in row 8"
    ),
    "sPC, 20 steps of 0.3": Setting(
        "spc", {"inference_steps": 20, "step_size": 0.3}, "the better one for 20 layers in row 8"
    ),
}


class Plan(NamedTuple):
    """What is run: the same for every setting.

    Attributes
    ----------
    depths : dict         layers -> (epochs of a run of the search, of a final run)
    rates : tuple         learning rates of the search
    search_seeds, final_seeds : tuples
    held_out : int        the last so many training images judge the search and train nothing in it
    settings : dict       name -> Setting
    lower : dict          layers -> names of the settings that are run once more, at the next lower rate of the search
    """

    depths: dict
    rates: tuple
    search_seeds: tuple
    final_seeds: tuple
    held_out: int
    settings: dict
    lower: dict = {}  # noqa: RUF012 - never changed

    def config(self, phase, layers, name, rate, seed):
        """What makes a run the run it is, as the log has it; equal ones are not repeated."""
        setting, last = self.settings[name], phase == "final"
        return {
            "phase": phase, "layers": layers, "rule": setting.rule, "options": setting.options,
            "learning_rate": rate, "seed": seed, "epochs": self.depths[layers][last],
            "held_out": 0 if last else self.held_out, "batch_size": BATCH, "warm_up": WARM_UP,
        }  # fmt: skip


PLAN = Plan(
    depths={4: (3, 10), 20: (2, 5)},
    rates=(3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),  # 3e-5 was added for all when 1e-4 had been chosen once
    search_seeds=(0,),
    final_seeds=(1, 2, 3),
    held_out=10_000,
    settings=SETTINGS,
    # added when the final runs had been seen: these trained in the short search, and were lost in the longer final runs
    lower={20: ("ePC, 5 steps of 0.001", "ePC, 10 adaptive steps")},
)


def search(plan):
    """Every run of the search."""
    for layers in plan.depths:
        for name, rate, seed in itertools.product(plan.settings, plan.rates, plan.search_seeds):
            yield plan.config("search", layers, name, rate, seed)


def final(plan, done):
    """The final runs of those settings whose search is complete."""
    for layers in plan.depths:
        for seed, name in itertools.product(plan.final_seeds, plan.settings):
            rate = of_search(plan, done, layers, name).chosen
            if rate is not None:
                yield plan.config("final", layers, name, rate, seed)


def lower(plan, done):
    """The final runs one rate lower, of the settings of ``plan.lower``."""
    for layers, names in plan.lower.items():
        for seed, name in itertools.product(plan.final_seeds, names):
            rate = next_lower(plan, done, layers, name)
            if rate is not None:
                yield plan.config("final", layers, name, rate, seed)


def data(config, split):
    """What a run trains on and what it is judged by: the search never sees the test set."""
    x, y, n = split.x_train, split.y_train, len(split.x_train) - config["held_out"]
    judge = (x[n:], y[n:]) if config["held_out"] else (split.x_test, split.y_test)
    return (x[:n], y[:n]), judge


class Watch:
    """A callback of ``fit``: accuracy and processor time of every epoch, and what there was when it stopped."""

    def __init__(self, net, params, judge):
        self.net, self.params, self.judge = net, params, judge
        self.history, self.accuracy, self.processor = {"loss": [], "seconds": []}, [], []
        self.began = time.process_time()

    def __call__(self, _, params, history):
        """The time of the judging is not counted."""
        self.processor.append(time.process_time() - self.began)
        self.params, self.history = params, history
        self.accuracy.append(pc.accuracy(self.net, params, *self.judge))
        self.began = time.process_time()


def run(config, split):
    """Train once; what the log says of it. A run that diverges is a result: ``stopped`` says when and where."""
    train, judge = data(config, split)
    net, seed = gelu_mlp(config["layers"]), config["seed"]
    start = net.init(seed, "float32")
    updates = config["epochs"] * -(-len(train[0]) // config["batch_size"])
    rate = pc.Cosine(config["learning_rate"], updates, warm_up=int(config["warm_up"] * updates))
    watch, stopped = Watch(net, start, judge), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pc.fit(
                net, start, train, rule=config["rule"], optimizer=pc.Adam(rate), epochs=config["epochs"],
                batch_size=config["batch_size"], seed=seed, callbacks=[watch], progress=sys.stderr.isatty(), **config["options"],
            )  # fmt: skip
        except FloatingPointError as error:
            stopped = str(error)
    looks = [look(config, net, params, train) for params in (start, watch.params)]
    return {
        "config": config,
        "updates": updates,
        "accuracy": watch.accuracy,
        "loss": _short(watch.history["loss"]),
        "seconds": _short(watch.history["seconds"]),
        "processor_seconds": _short(watch.processor),
        "stopped": stopped,
        "warnings": collections.Counter(w.category.__name__ for w in caught),
        "regime": [regime for regime, _ in looks],
        "cosines": [cosines for _, cosines in looks],
        "versions": versions(),
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "not set"),
    }


def look(config, net, params, train):
    """How far inference goes, and how near the gradient is to backprop's, on the first 64 images.

    The regime is the relaxed fraction of the fastest mode (ePC.17), median of the images, None for rules without one;
    the cosines are those between the two gradients of every W[l], 0 where the rule gives none. Both are None where
    something is not finite.
    """
    x, y = (a[:64] for a in train)
    try:
        with quiet():
            g = pc.RULES[config["rule"]](net, params, x, y, **config["options"])
            exact = pc.RULES["backprop"](net, params, x, y)
    except FloatingPointError:
        return None, None
    pairs = [(a["W"], b["W"]) for a, b in zip(g.grads, exact.grads, strict=True)]
    cosines = _short(cosine(a, b) if a.any() and b.any() else 0.0 for a, b in pairs)
    regime = [] if g.regime is None else _short([np.median(g.regime)])
    if not np.isfinite(regime + cosines).all():
        return None, None
    return regime[0] if regime else None, cosines


def _short(values):
    """Numbers as Python floats with six digits: enough, and the log stays small."""
    return [float(f"{v:.6g}") for v in values]


def label(config):
    """A run in one line; ``--only`` looks into it."""
    options = " ".join(f"{name}={value}" for name, value in config["options"].items())
    rule = f"{config['rule']} {options}".strip()
    return f"{config['phase']}, {config['layers']} layers, {rule}, rate {config['learning_rate']:g}, seed {config['seed']}"


def work(configs, log, split, only):
    """Do the runs that are not in the log."""
    configs = [c for c in configs if all(text in label(c) for text in only)]
    for number, config in enumerate(configs, start=1):
        if config in [done["config"] for done in log.runs()]:
            continue
        print(f"{number:3}/{len(configs)}  {label(config)} ...", flush=True)
        result = run(config, split)
        log.append(result)
        shown = f"{100 * result['accuracy'][-1]:.2f} %" if result["accuracy"] else "no epoch"
        end = f"; {result['stopped']}" if result["stopped"] else ""
        print(f"         {shown}, {sum(result['seconds']):.0f} s{end}", flush=True)


def main(argv=None, plan=PLAN, split=None):
    """Do what is left to do, write the results; the exit status is 0, 2 for wrong usage or files, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.mnist", description="All of MNIST, every rule, 4 and 20 layers."
    )
    parser.add_argument("--log", default=HERE / "mnist.jsonl", metavar="FILE", help="one line a run")
    parser.add_argument("--out", default=HERE / "MNIST.md", metavar="FILE", help="the tables")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help='runs with it in their line, as "final" or "20 layers"; may be repeated')  # fmt: skip
    args = parser.parse_args(argv)
    try:
        out, log = check_place(args.out), Log(args.log)
        split = pc.data.mnist() if split is None else split
        work(search(plan), log, split, args.only)
        work(final(plan, log.runs()), log, split, args.only)
        work(lower(plan, log.runs()), log, split, args.only)
        with replacing(out) as file:
            file.write(markdown(plan, log.runs()).encode())
    except KeyboardInterrupt:
        print(f"\nstopped; {args.log} has the runs that are done, the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"python -m experiments.mnist: {error}", file=sys.stderr)
        return 2
    print(f"results: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
