"""The MNIST experiment: an equal search for all rules that never sees the test set, and a log that survives a kill."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from itertools import groupby

import numpy as np
import pytest

import minipc as pc
from experiments import mnist, mnist_results
from experiments.mnist import PLAN, SETTINGS, Plan

NAME = "ePC, 5 steps of 0.001"
ROOT = pathlib.Path(__file__).parents[2]
TINY = Plan(
    depths={2: (1, 2)}, rates=(1e-3, 3e-3), search_seeds=(0,), final_seeds=(1, 2), held_out=100,
    settings={name: SETTINGS[name] for name in ("backprop", "ePC, 5 steps of 0.001")},
)  # fmt: skip
ALL = 2 * 2 + 2 * 2  # runs of TINY: two settings at two rates, then at two seeds


def tiny(seed=0):
    """Noise with the shapes of MNIST: 300 and 50 images."""
    rng = np.random.default_rng(seed)
    x = rng.random((350, 784), dtype="float32")
    y = rng.integers(0, 10, 350)
    return pc.data.Split(x[:300], y[:300], x[300:], y[300:])


def do(folder, *words, plan=TINY, split=None):
    """The command on tiny data; its exit status."""
    files = ["--log", str(folder / "log.jsonl"), "--out", str(folder / "out.md")]
    return mnist.main([*files, *words], plan, tiny() if split is None else split)


def logged(folder):
    """The lines of the log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def without_time(runs):
    """What must be the same each time."""
    return [{name: v for name, v in r.items() if "seconds" not in name} for r in runs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert do(folder) == 0
    return folder


# The plan


def test_every_rule_is_searched_with_the_same_budget():
    """For one depth the runs of the search differ in the rule and in nothing else."""
    runs = list(mnist.search(PLAN))
    key = lambda c: (c["layers"], c["rule"], str(c["options"]))  # noqa: E731
    budgets = {
        name: [{k: v for k, v in c.items() if k not in ("rule", "options")} for c in group]
        for name, group in groupby(runs, key)
    }
    assert len(budgets) == len(PLAN.depths) * len(PLAN.settings) == 14
    for layers in PLAN.depths:
        first, *others = [budget for name, budget in budgets.items() if name[0] == layers]
        assert len(first) == len(PLAN.rates) >= 5
        assert all(budget == first for budget in others)


def test_every_rule_has_the_same_final_runs(whole):
    """Three seeds, none of them the search's; in the log the rules have the same seeds and epochs."""
    assert len(PLAN.final_seeds) == 3
    assert not set(PLAN.final_seeds) & set(PLAN.search_seeds)
    final = [r["config"] for r in logged(whole) if r["config"]["phase"] == "final"]
    found = {
        rule: [(c["seed"], c["epochs"]) for c in final if c["rule"] == rule] for rule in ("backprop", "epc")
    }
    assert found["backprop"] == found["epc"] == [(1, 2), (2, 2)]


def test_the_search_never_sees_the_test_set(tmp_path):
    """With a test set of NaN it gives the same numbers; the final runs, which need it, refuse."""
    split = tiny()
    nothing = split._replace(x_test=split.x_test * np.nan)
    assert do(tmp_path, "--only", "search", split=nothing) == 0
    found = [r["accuracy"] for r in logged(tmp_path)]
    other = tmp_path / "other"
    other.mkdir()
    assert do(other, "--only", "search") == 0
    assert found == [r["accuracy"] for r in logged(other)]
    assert len(found) == 4
    assert do(tmp_path, split=nothing) == 2


def test_the_search_is_judged_by_images_that_it_does_not_train_on():
    """The last 100 of 300 training images; the final run trains on all and is judged by the test images."""
    split = tiny()
    (x, y), (judge, labels) = mnist.data({"held_out": 100}, split)
    np.testing.assert_array_equal(x, split.x_train[:200])
    np.testing.assert_array_equal(y, split.y_train[:200])
    np.testing.assert_array_equal(judge, split.x_train[200:])
    np.testing.assert_array_equal(labels, split.y_train[200:])
    (x, y), (judge, labels) = mnist.data({"held_out": 0}, split)
    for found, expected in zip((x, y, judge, labels), split, strict=True):
        np.testing.assert_array_equal(found, expected)


# One run


def a_config(**changes):
    """A short final run of backprop."""
    return TINY.config("final", 2, "backprop", 1e-3, 1) | changes


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_gives_all_rules_the_same_start_and_order(monkeypatch, seed):
    """What reaches ``fit``: first weights and seed are those of the seed, whatever the rule."""
    calls = []
    monkeypatch.setattr(pc, "fit", lambda net, params, data, **options: calls.append((params, options)))
    for name in SETTINGS:
        mnist.run(PLAN.config("final", 4, name, 1e-3, seed), tiny())
    expected = mnist.gelu_mlp(4).init(seed, "float32")
    assert len(calls) == len(SETTINGS)
    for params, options in calls:
        assert options["seed"] == seed
        for p, q in zip(params, expected, strict=True):
            np.testing.assert_array_equal(p["W"], q["W"])


def test_the_rate_rises_to_its_peak_and_falls_to_zero(monkeypatch):
    """300 images are 5 batches; in 20 epochs the peak comes after a tenth of the 100 updates."""
    calls = []
    monkeypatch.setattr(pc, "fit", lambda *_, **options: calls.append(options))
    mnist.run(a_config(epochs=20, learning_rate=0.5), tiny())
    rate = calls[0]["optimizer"].learning_rate
    assert [rate(0), rate(9), rate(10)] == pytest.approx([0.05, 0.5, 0.5])
    assert rate(55) == pytest.approx(0.25)
    assert rate(100) == 0


def test_a_run_is_repeatable_and_its_seed_matters():
    """Same configuration, same numbers; another seed, another loss."""
    one, two, three = (mnist.run(a_config(seed=seed), tiny()) for seed in (1, 1, 2))
    assert without_time([one]) == without_time([two])
    assert one["loss"] != three["loss"]


def test_accuracy_and_loss_are_those_of_fit():
    """The run through the public verbs: same weights, order and schedule."""
    config, split = a_config(), tiny()
    net, rate = mnist.gelu_mlp(2), pc.Cosine(1e-3, 10, warm_up=1)
    _, history = pc.fit(
        net, net.init(1, "float32"), (split.x_train, split.y_train), rule="backprop", optimizer=pc.Adam(rate),
        epochs=2, seed=1, validation=(split.x_test, split.y_test), progress=False,
    )  # fmt: skip
    result = mnist.run(config, split)
    assert result["accuracy"] == history["validation_accuracy"].tolist()
    assert result["loss"] == pytest.approx(history["loss"], rel=1e-5)
    assert result["updates"] == 10
    assert all(len(result[name]) == 2 for name in ("seconds", "processor_seconds"))
    assert all(s > 0 for s in result["seconds"] + result["processor_seconds"])


def test_a_run_that_diverges_is_a_result():
    """It says when it stopped, and the look at the gradient afterwards does not fail."""
    result = mnist.run(a_config(learning_rate=1e30), tiny())
    assert "epoch 1" in result["stopped"]
    assert result["accuracy"] == []
    assert result["cosines"][0] == pytest.approx([1, 1])


def test_inference_that_diverges_is_counted():
    """sPC with a step of 30 warns in each of the 5 batches of 2 epochs."""
    long = SETTINGS["sPC, 20 steps of 0.1"]._replace(options={"inference_steps": 2, "step_size": 30.0})
    plan = TINY._replace(settings={"long": long})
    result = mnist.run(plan.config("final", 2, "long", 1e-4, 1), tiny())
    assert result["warnings"] == {"InferenceWarning": 10}
    assert mnist_results._diverging([result]) == "100.0%"


def test_the_look_tells_the_regimes_apart():
    """Small ePC steps are backprop's gradient, adaptive ones the equilibrium's, and sPC has no regime."""
    split, net = tiny(), mnist.gelu_mlp(4)
    params = net.init(0, "float32")
    looks = {
        name: mnist.look(PLAN.config("final", 4, name, 1e-3, 1), net, params, split[:2]) for name in SETTINGS
    }
    assert looks["backprop"] == (None, [1.0] * 4)
    small, near = looks["ePC, 5 steps of 0.001"], looks["ePC, 10 adaptive steps"]
    assert 0 < small[0] < 0.1
    assert min(small[1]) > 0.999
    assert near[0] > 0.9
    assert max(near[1]) < 0.99
    regime, cosines = looks["sPC, 20 steps of 0.1"]
    assert regime is None
    assert 0 < min(cosines) < 0.99


def test_a_layer_that_receives_nothing_has_cosine_zero():
    """Twenty layers, two steps of sPC: (sPC.8) leaves all layers but the last ones without a gradient."""
    setting = SETTINGS["sPC, 20 steps of 0.1"]._replace(options={"inference_steps": 2, "step_size": 0.1})
    config = PLAN._replace(settings={"two": setting}).config("final", 20, "two", 1e-3, 1)
    net = mnist.gelu_mlp(20)
    _, cosines = mnist.look(config, net, net.init(0, "float32"), tiny()[:2])
    assert cosines[:17] == [0.0] * 17
    assert min(cosines[17:]) > 0


@pytest.mark.parametrize(("gain", "step"), [(1e30, 0.001), (1, 1e30)])
def test_a_look_where_something_is_not_finite(gain, step):
    """The loss, or the gradient after inference alone: it says None, and the log stays readable."""
    net = mnist.gelu_mlp(4)
    params = [{**p, "W": p["W"] * np.float32(gain)} for p in net.init(0, "float32")]
    config = {"rule": "epc", "options": {"inference_steps": 5, "step_size": step}}
    assert mnist.look(config, net, params, tiny()[:2]) == (None, None)


# The log


def test_a_second_command_repeats_nothing(whole, monkeypatch):
    """All runs are in the log; the results are written again, the same."""
    before = (whole / "out.md").read_text()
    (whole / "out.md").unlink()
    monkeypatch.setattr(mnist, "run", None)
    assert do(whole) == 0
    assert len(logged(whole)) == ALL
    assert (whole / "out.md").read_text() == before


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch, whole, capsys):
    """In the fourth run; the second command does the others, and the log is that of a run that was not stopped."""
    calls, run = [], mnist.run

    def stop(config, split):
        calls.append(config)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(config, split)

    monkeypatch.setattr(mnist, "run", stop)
    assert do(tmp_path) == 130
    assert len(logged(tmp_path)) == 3
    assert not (tmp_path / "out.md").exists()
    assert "the same command goes on" in capsys.readouterr().err
    assert do(tmp_path) == 0
    assert len(calls) == ALL + 1
    assert without_time(logged(tmp_path)) == without_time(logged(whole))


CHILD = """
import pathlib, sys
sys.path[:0] = {paths}
from experiment_rows.test_mnist import do
print("begins", flush=True)
do(pathlib.Path({folder!r}))
"""


def test_a_kill_loses_no_run_that_is_done(tmp_path, whole):
    """kill -9 as soon as two runs are in the log; the same command goes on."""
    code = CHILD.format(paths=[str(ROOT), str(ROOT / "tests")], folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    deadline, log = time.monotonic() + 60, tmp_path / "log.jsonl"
    while not (log.exists() and log.read_bytes().count(b"\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    kept = log.read_bytes()
    assert 2 <= kept.count(b"\n") < ALL
    assert do(tmp_path) == 0
    assert log.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert without_time(logged(tmp_path)) == without_time(logged(whole))


@pytest.mark.parametrize("cut", [1, 40, 5_000])
def test_half_a_line_is_dropped(tmp_path, whole, cut):
    """Cut off anywhere, even only its end or all but its start: that run is done again, the others are kept."""
    content = (whole / "log.jsonl").read_bytes()
    cut = min(cut, len(content.splitlines()[-1]) - 3)
    (tmp_path / "log.jsonl").write_bytes(content[:-cut])
    assert do(tmp_path) == 0
    lines, before = (tmp_path / "log.jsonl").read_bytes().splitlines(), content.splitlines()
    assert lines[:-1] == before[:-1]
    assert without_time([json.loads(lines[-1])]) == without_time([json.loads(before[-1])])


@pytest.mark.parametrize(
    ("text", "named"),
    [("notes\nof mine\n", "line 1"), ("notes", "last line"), ('{"a": 1}\n{"config": ', "line 1")],
)
def test_a_file_that_is_no_log_is_refused_and_kept(tmp_path, capsys, text, named):
    """Only what begins as a line of a log does may be a half-written one."""
    (tmp_path / "log.jsonl").write_text(text)
    assert do(tmp_path) == 2
    error = capsys.readouterr().err
    assert "no log of this command" in error
    assert named in error
    assert (tmp_path / "log.jsonl").read_text() == text


def test_only_picks_runs(tmp_path):
    """All texts must be in the line; a final run waits until the search of its setting is complete."""
    assert do(tmp_path, "--only", "backprop", "--only", "rate 0.001") == 0
    assert [mnist.label(r["config"]) for r in logged(tmp_path)] == [
        "search, 2 layers, backprop, rate 0.001, seed 0"
    ]
    assert do(tmp_path, "--only", "final") == 0
    assert len(logged(tmp_path)) == 1
    assert do(tmp_path, "--only", "backprop") == 0
    assert [r["config"]["phase"] for r in logged(tmp_path)] == ["search"] * 2 + ["final"] * 2


@pytest.mark.parametrize("option", ["--log", "--out"])
def test_a_place_that_is_not_there_is_wrong_usage(tmp_path, option, capsys):
    """Before any work."""
    assert do(tmp_path, option, str(tmp_path / "none" / "file")) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "log.jsonl").exists()


# The choice and the tables

MADE = PLAN._replace(rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2), lower={})


def line(name, phase, rate, seed, accuracy, stopped=None, layers=20, seconds=2.0):
    """A made line of the log."""
    return {
        "config": MADE.config(phase, layers, name, rate, seed),
        "updates": 1000, "accuracy": accuracy, "loss": [0.5] * len(accuracy), "stopped": stopped,
        "seconds": [2 * seconds] * len(accuracy), "processor_seconds": [seconds] * len(accuracy),
        "warnings": {"InferenceWarning": 10}, "regime": [0.01, 0.02], "cosines": [[1.0, 0.0], [0.5, 0.0]],
        "versions": {"numpy": "2"}, "blas_threads": "1",
    }  # fmt: skip


def searched(name, last, layers=20, **changes):
    """A search whose runs end at these accuracies."""
    pairs = zip(MADE.rates, last, strict=True)
    return [line(name, "search", rate, 0, [0.99, a], layers=layers, **changes) for rate, a in pairs]


@pytest.mark.parametrize(
    ("last", "chosen"),
    [
        ([0.1, 0.2, 0.5, 0.4, 0.3], 1e-3),
        ([0.1, 0.5, 0.5, 0.5, 0.3], 3e-4),  # the smaller one
        ([0.1, 0.2, 0.3, 0.4, 0.5], 1e-2),
        ([0.5, 0.2, 0.3, 0.4, 0.1], 1e-4),
    ],
)
def test_the_choice(last, chosen):
    """Highest accuracy after the last epoch, though an earlier one was better; of equal ones the smallest rate."""
    runs = searched(NAME, last)
    for order in (runs, runs[::-1]):
        assert mnist_results.of_search(MADE, order, 20, NAME).chosen == chosen


def test_one_rate_lower():
    """The next one of the grid, with the seeds of the final runs; nothing before the search, nor below its end."""
    plan = MADE._replace(lower={20: (NAME,)})
    runs = searched(NAME, [0.1, 0.2, 0.5, 0.4, 0.3])
    assert [(c["learning_rate"], c["seed"], c["phase"]) for c in mnist.lower(plan, runs)] == [
        (3e-4, seed, "final") for seed in plan.final_seeds
    ]
    assert list(mnist.lower(plan, runs[:-1])) == []
    assert list(mnist.lower(plan, searched(NAME, [0.5, 0.2, 0.1, 0.1, 0.1]))) == []
    runs += [line(NAME, "final", 3e-4, seed, [0.8]) for seed in plan.final_seeds]
    runs += searched("backprop", [0.1, 0.2, 0.9, 0.4, 0.3])
    runs += [line("backprop", "final", 1e-3, seed, [0.9]) for seed in plan.final_seeds]
    section = mnist_results.markdown(plan, runs).partition("one rate lower")[2].partition("##")[0]
    assert f"| {NAME} | 0.0003 | 80.00 [80.00..80.00] | -10.00 [-10.00..-10.00] |" in section
    assert mnist_results.of_final(plan, runs, 20, NAME) == []  # they are none of the chosen rate


def test_a_run_that_stopped_counts_as_chance():
    """Though it was good before."""
    runs = searched(NAME, [0.2, 0.3, 0.5, 0.4, 0.3])
    runs[2]["stopped"] = "training stopped in epoch 2"
    found = mnist_results.of_search(MADE, runs, 20, NAME)
    assert found.chosen == 3e-3
    assert found.accuracy[1e-3] == 0.1


def test_no_choice_without_the_whole_search():
    """Nor from runs of another depth, rule, length or share of images."""
    runs = searched(NAME, [0.1, 0.2, 0.5, 0.4, 0.3])
    assert mnist_results.of_search(MADE, runs[:-1], 20, NAME).chosen is None
    assert mnist_results.of_search(MADE, runs, 4, NAME).chosen is None
    assert mnist_results.of_search(MADE, runs, 20, "backprop").chosen is None
    others = {"epochs": 3, "held_out": 5_000, "seed": 7, "phase": "final", "batch_size": 32, "warm_up": 0.0}
    for name, value in others.items():
        other = [{**r, "config": {**r["config"], name: value}} for r in runs]
        assert mnist_results.of_search(MADE, other, 20, NAME).chosen is None, name


def test_the_mean_of_several_search_seeds():
    """One seed alone would choose another rate; a missing seed leaves no choice."""
    plan = MADE._replace(search_seeds=(0, 7))
    runs = searched(NAME, [0.5, 0.4, 0.1, 0.1, 0.1])
    for rate, last in zip(plan.rates, [0.1, 0.4, 0.1, 0.1, 0.1], strict=True):
        runs.append(line(NAME, "search", rate, 7, [last]))
    assert mnist_results.of_search(plan, runs, 20, NAME).chosen == 3e-4
    assert mnist_results.of_search(plan, runs, 20, NAME).accuracy[1e-4] == pytest.approx(0.3)
    assert mnist_results.of_search(plan, runs[:-1], 20, NAME).chosen is None


def cells(text, name, table=0):
    """The cells of the table row that begins with a name."""
    rows = [row for row in text.splitlines() if row.startswith(f"| {name} |")]
    return [cell.strip() for cell in rows[table].strip("|").split("|")]


def a_log():
    """Backprop at 90, 91, 92 % and ePC at 89, 91.5, 88 %; at another rate it would be at 99 %."""
    runs = searched("backprop", [0.1, 0.2, 0.9, 0.4, 0.3]) + searched(NAME, [0.1, 0.2, 0.3, 0.4, 0.9])
    for seed, bp, epc in zip((3, 1, 2), (0.92, 0.90, 0.91), (0.88, 0.89, 0.915), strict=True):
        runs.append(line("backprop", "final", 1e-3, seed, [0.5, bp], seconds=2.0))
        runs.append(line(NAME, "final", 1e-2, seed, [0.95, epc], seconds=5.0))
        runs.append(line(NAME, "final", 1e-3, seed, [0.99, 0.99]))
    return runs


def test_the_final_table():
    """Means, extremes and differences of equal seeds, worked out by hand; at the chosen rate and after the last epoch."""
    text = mnist_results.markdown(MADE, a_log())
    assert cells(text, "backprop", 1)[:4] == ["backprop", "0.001", "91.00 [90.00..92.00]", ""]
    row = cells(text, NAME, 1)
    assert row[1:5] == ["0.01", "89.50 [88.00..91.50]", "-1.50 [-4.00..+0.50]", "0.5"]
    assert row[5:] == ["0.01 to 0.02", "0.5 to 0.25", "5.0 (10.0)", "2.5", "1.0%"]
    assert cells(text, NAME, 0)[1:3] == ["–", "–"]  # four layers: nothing done
    assert cells(text, "sPC, 20 steps of 0.1", 1)[1:3] == ["–", "–"]


def test_the_final_table_tells_what_is_missing_and_what_stopped():
    """A stopped run counts as 10 %: (88 + 91.5 + 10) / 3."""
    runs = a_log()
    next(r for r in runs if r["accuracy"] == [0.95, 0.89]).update(stopped="...", accuracy=[0.95])
    assert cells(mnist_results.markdown(MADE, runs), NAME, 1)[2] == (
        "63.17 [10.00..91.50], 1 not finite (from epoch 2)"
    )
    short = [r for r in a_log() if r["config"]["seed"] != 2]
    assert cells(mnist_results.markdown(MADE, short), NAME, 1)[2] == "88.50 [88.00..89.00], 1 missing"


def test_a_run_that_is_there_twice_counts_once():
    """Two commands that share a log may have done the same: the first one stands."""
    again = [{**r, "accuracy": [0.0]} for r in a_log()]
    assert mnist_results.markdown(MADE, a_log() + again) == mnist_results.markdown(MADE, a_log())


def test_the_tables_are_tables():
    """Every row of a table has as many cells as its head; there are five, and one of lines that land."""
    text = mnist_results.markdown(MADE, a_log())
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [len(rows) for rows in tables] == [2 + len(MADE.settings)] * 2 + [3] + [2 + len(MADE.settings)] * 3
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1, rows[0]


def test_the_search_table():
    """Every number of the search, its 5 runs of 2 epochs of 2 s; the chosen one in bold, and the edge where it is."""
    text = mnist_results.markdown(MADE, a_log())
    assert cells(text, "backprop", -2)[1:] == ["10.00", "20.00", "**90.00**", "40.00", "30.00", "20"]
    assert cells(text, NAME, -2)[1:] == ["10.00", "20.00", "30.00", "40.00", "**90.00** *edge*", "20"]
    low = mnist_results.markdown(MADE, searched(NAME, [0.9, 0.1, 0.1, 0.1, 0.1]))
    assert cells(low, NAME, -2)[1] == "**90.00** *edge*"


@pytest.mark.parametrize(
    ("layers", "name", "points", "lands"),
    [
        (4, NAME, -0.29, True),
        (4, NAME, -0.31, False),
        (4, NAME, 0.31, False),
        (4, "sPC, 20 steps of 0.1", -5, None),
        (20, NAME, -0.9, True),
        (20, NAME, -1.1, False),
        (20, "sPC, 20 steps of 0.1", -11, True),
        (20, "sPC, 20 steps of 0.1", -9, False),
    ],
)
def test_what_lands(layers, name, points, lands):
    """On both sides of each criterion."""
    runs = []
    for setting, accuracy in (("backprop", 0.95), (name, 0.95 + points / 100)):
        runs += searched(setting, [0.1, 0.2, 0.9, 0.4, 0.3], layers=layers)
        runs += [line(setting, "final", 1e-3, seed, [accuracy], layers=layers) for seed in MADE.final_seeds]
    (found,) = mnist_results.expected(MADE, runs)
    assert found.lands is lands
    assert found.measured == pytest.approx([points] * 3)
    assert mnist_results.expected(MADE, runs[:-1]) == []  # a seed is missing


def test_the_results_are_those_of_the_log():
    """Both files are in the repository; the log has every planned run, and no run twice."""
    log = mnist.Log(mnist.HERE / "mnist.jsonl")
    done = log.runs()
    configs = [r["config"] for r in done]
    planned = [*mnist.search(PLAN), *mnist.final(PLAN, done), *mnist.lower(PLAN, done)]
    assert len(planned) == 84 + 42 + 6
    assert all(configs.count(config) == 1 for config in planned)
    assert (mnist.HERE / "MNIST.md").read_text(encoding="utf-8") == mnist_results.markdown(PLAN, done)
    assert log.path.stat().st_size < 200_000
