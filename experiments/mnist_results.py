"""The tables of :mod:`experiments.mnist`, from its log alone."""

from typing import NamedTuple


class Search(NamedTuple):
    """What the search of one setting at one depth found.

    Attributes
    ----------
    accuracy : dict             learning rate -> mean accuracy on the held-out images, 0 for a run that stopped
    chosen : float or None      the learning rate with the highest one, of equal ones the smallest; None: not complete
    """

    accuracy: dict
    chosen: float | None


def of_search(plan, done, layers, name):
    """Look it up in the runs ``done``."""
    epochs, _ = plan.depths[layers]
    runs = matching(plan, done, "search", layers, name, epochs, plan.search_seeds)
    accuracy = {}
    for rate in plan.rates:
        scores = [score(r) for r in runs if r["config"]["learning_rate"] == rate]
        if len(scores) == len(plan.search_seeds):
            accuracy[rate] = sum(scores) / len(scores)
    complete = len(accuracy) == len(plan.rates)
    return Search(accuracy, max(sorted(accuracy), key=accuracy.get) if complete else None)


def matching(plan, done, phase, layers, name, epochs, seeds):
    """The runs of one setting at one depth."""
    setting = plan.settings[name]
    same = {"phase": phase, "layers": layers, "rule": setting.rule, "options": setting.options, "epochs": epochs}
    same["held_out"] = plan.held_out if phase == "search" else 0
    return [r for r in done if same.items() <= r["config"].items() and r["config"]["seed"] in seeds]


def score(run):
    """Accuracy after the last epoch; 0 for a run that did not get there."""
    return run["accuracy"][-1] if run["stopped"] is None else 0.0


def markdown(plan, done):
    """The results file."""
    return ""
