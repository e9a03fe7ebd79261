"""``python -m minipc train`` as a person types it: the numbers, the files, stopping and going on, what it refuses."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import minipc as pc
from minipc import __main__, command, data, tasks

ROOT = pathlib.Path(pc.__file__).parents[1]
SHORT = ["--epochs", "2", "--samples", "120", "--hidden", "12,9", "--batch-size", "30"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words, status=0):
    """A command; its exit status is checked."""
    assert __main__.main(["train", *words]) == status


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def numbers(path):
    """What a log holds of its run, but for the clock and the versions."""
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "time", "config")} for row in lines(path)]
    return [row for row in rows if row["event"] in ("epoch", "end")]


def digits(dtype="float32"):
    """The samples of SHORT: 108 to train on, 12 held out."""
    d = data.digits(dtype)
    return (d.x_train[:108], d.y_train[:108]), (d.x_train[108:120], d.y_train[108:120]), (d.x_test, d.y_test)


def test_the_numbers_are_those_of_fit(capsys):
    """The same run through the library: history, test set, table, JSON lines and the JSON file agree."""
    run("digits", "--rule", "epc", "--inference-steps", "3", "--seed", "4", "--json", "all.json", *SHORT)
    train_set, held_out, test = digits()
    options = {"init": "orthogonal", "gain": 2**0.5}
    net = pc.Network(
        [pc.Dense(64, 12, "gelu", **options), pc.Dense(12, 9, "gelu", **options), pc.Dense(9, 10, **options)],
        loss="cross_entropy",
    )
    params, history = pc.fit(
        net, net.init(seed=4, dtype="float32"), train_set, rule=pc.epc.gradient, optimizer=pc.Adam(1e-3), epochs=2,
        batch_size=30, seed=4, validation=held_out, inference_steps=3, progress=False,
    )  # fmt: skip
    result = json.loads(pathlib.Path("all.json").read_text())
    log = lines(result["log"])
    assert [row["event"] for row in log] == ["start", "epoch", "epoch", "end"]
    for name in ("loss", "energy", "validation_loss", "validation_accuracy"):
        assert result["history"][name] == history[name].tolist() == [row[name] for row in log[1:3]]
    expected = pc.evaluate(net, params, test)
    assert result["test_loss"] == log[-1]["test_loss"] == expected["loss"]
    assert result["test_accuracy"] == log[-1]["test_accuracy"] == expected["accuracy"]
    printed = capsys.readouterr().out
    assert f"accuracy {100 * expected['accuracy']:.2f} % of 360" in printed
    assert all(f"{history['loss'][k]:.4g}" in printed for k in (0, 1))
    assert (result["training_samples"], result["test_samples"]) == (108, 360)


def test_every_run_writes_its_configuration_seed_and_versions():
    """In the first line; and all of it is JSON."""
    run("digits", "--rule", "spc", "--seed", "7", "--checkpoint", "a.npz", *SHORT)
    start = lines("a.jsonl")[0]
    assert start["versions"] == {
        "minipc": pc.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
    assert start["config"]["seed"] == 7
    assert start["config"]["rule"] == "spc"
    assert start["config"]["hidden"] == [12, 9]
    assert abs(start["time"] - time.time()) < 100


def test_the_checkpoint_holds_the_network_that_was_tested():
    """Network and parameters from the file, nothing else."""
    run("digits", "--rule", "backprop", "--checkpoint", "a.npz", *SHORT)
    saved = pc.load_checkpoint("a.npz")
    test = digits()[2]
    assert pc.accuracy(saved.network, saved.run.params, *test) == lines("a.jsonl")[-1]["test_accuracy"]


def test_two_runs_of_one_second_do_not_meet():
    """Each has files of its own, with the same numbers for the same seed and others for another."""
    for seed in (0, 0, 1):
        run("digits", "--rule", "backprop", "--seed", str(seed), *SHORT)
    logs = sorted(pathlib.Path("runs").glob("*.jsonl"))
    assert len(logs) == len(list(pathlib.Path("runs").glob("*.npz"))) == 3
    same = [numbers(log) for log in logs if "seed0" in log.name]
    assert same[0] == same[1] != numbers(next(log for log in logs if "seed1" in log.name))


def test_the_test_set_is_not_looked_at_before_the_end(monkeypatch):
    """Neither in the epochs nor by early stopping: with other test images the same run comes out."""
    d = data.digits("float32")
    noise = np.random.default_rng(0).uniform(size=d.x_test.shape).astype("float32")
    run("digits", "--rule", "backprop", "--checkpoint", "a.npz", "--patience", "1", *SHORT)
    task = command.TASKS["digits"]._replace(load=lambda dtype: d._replace(x_test=noise))
    monkeypatch.setitem(command.TASKS, "digits", task)
    run("digits", "--rule", "backprop", "--checkpoint", "b.npz", "--patience", "1", *SHORT)
    a, b = numbers("a.jsonl"), numbers("b.jsonl")
    assert a[:-1] == b[:-1]
    assert a[-1]["test_loss"] != b[-1]["test_loss"]


OPTIMIZERS = {
    "": pc.Adam(1e-3),
    "--learning-rate 0.02": pc.Adam(0.02),
    "--optimizer sgd --momentum 0.9": pc.SGD(1e-3, momentum=0.9),
    "--optimizer rmsprop --weight-decay 0.1": pc.RMSprop(1e-3, weight_decay=0.1),
    "--optimizer adamw": pc.AdamW(1e-3),
    "--optimizer adamw --weight-decay 0.1 --clip-norm 2": pc.Clip(pc.AdamW(1e-3, weight_decay=0.1), 2.0),
    "--schedule cosine --warm-up 3": pc.Adam(pc.Cosine(1e-3, steps=8, warm_up=3)),  # 2 epochs of 4 batches
    "--warm-up 5": pc.Adam(pc.WarmUp(1e-3, 5)),
}


@pytest.mark.parametrize("words", OPTIMIZERS)
def test_the_optimiser_that_is_asked_for(words, monkeypatch):
    """Handed to fit as it would be written in Python."""
    seen, original = [], command.fit
    monkeypatch.setattr(command, "fit", lambda *a, **o: seen.append(o["optimizer"]) or original(*a, **o))
    run("digits", "--rule", "backprop", *words.split(), *SHORT)
    assert seen == [OPTIMIZERS[words]]


def test_options_of_a_rule(monkeypatch):
    """By their own flags and by --option, as numbers, words and lists."""
    seen, original = [], command.fit
    monkeypatch.setattr(command, "fit", lambda *a, **o: seen.append(o) or original(*a, **o))
    words = ["--step-size", "power", "--inference-steps", "2", "--option", "precision=[null,2,null]"]
    run("digits", "--rule", "epc", *words, *SHORT)
    assert (seen[0]["step_size"], seen[0]["inference_steps"], seen[0]["precision"]) == (
        "power",
        2,
        [None, 2, None],
    )


@pytest.mark.parametrize(
    ("words", "trained", "held_out"), [("", 108, 12), ("--validation 0", 120, 0), ("--validation 50", 70, 50)]
)
def test_samples_are_held_out_from_the_end(words, trained, held_out, monkeypatch):
    """A tenth, or as many as one says; none: no validation in the log."""
    seen, original = [], command.fit
    monkeypatch.setattr(command, "fit", lambda *a, **o: seen.append((a, o)) or original(*a, **o))
    run("digits", "--rule", "backprop", "--checkpoint", "a.npz", *words.split(), *SHORT)
    ((_, _, (x, y)), options), d = (*seen[0],)[:2], data.digits("float32")
    assert np.array_equal(x, d.x_train[:trained])
    assert np.array_equal(y, d.y_train[:trained])
    if held_out:
        assert np.array_equal(options["validation"][0], d.x_train[trained:120])
    assert ("validation_loss" in lines("a.jsonl")[1]) == bool(held_out)


def test_images_with_channels_are_flattened(monkeypatch):
    """A task whose samples are no vectors."""
    d = data.digits("float32")
    images = d._replace(x_train=d.x_train.reshape(-1, 1, 8, 8), x_test=d.x_test.reshape(-1, 1, 8, 8))
    monkeypatch.setitem(command.TASKS, "images", command.TASKS["digits"]._replace(load=lambda dtype: images))
    run("images", "--rule", "backprop", "--checkpoint", "a.npz", *SHORT)
    run("digits", "--rule", "backprop", "--checkpoint", "b.npz", *SHORT)
    assert numbers("a.jsonl") == numbers("b.jsonl")


# ------------------------------------------------------------------------------ stopping and going on


@contextlib.contextmanager
def stopped_in_call(at):
    """Ctrl-C in the update number ``at``."""
    original, calls = pc.train._update, []

    def update(*args, **options):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return original(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pc.train, "_update", update)
        yield


@pytest.mark.parametrize("at", [1, 3, 6])
def test_an_interrupted_run_goes_on_with_the_command_that_it_prints(at, capsys):
    """Its log is then, line by line, that of the run that was never stopped."""
    words = ["digits", "--rule", "epc", *SHORT]
    run(*words, "--checkpoint", "whole.npz")
    with stopped_in_call(at):
        run(*words, "--checkpoint", "a b.npz", status=130)
    said = capsys.readouterr().err
    assert f"stopped after {(at - 1) // 4} epochs and {(at - 1) % 4} batches" in said
    again = said.partition("continue: ")[2].strip()
    assert again.startswith("python -m minipc train digits --rule epc")
    assert __main__.main(shlex.split(again)[3:]) == 0
    assert numbers("a b.jsonl") == numbers("whole.jsonl")
    assert [row["event"] for row in lines("a b.jsonl") if row["event"] not in ("epoch", "end")] == [
        "start", "stopped", "resume",
    ]  # fmt: skip


def test_a_log_that_was_torn_is_mended():
    """Killed in the middle of a line, or between the checkpoint and its line: no epoch is missing, none is double."""
    words = ["digits", "--rule", "backprop", *SHORT]
    run(*words, "--checkpoint", "a.npz")
    expected = numbers("a.jsonl")
    content = pathlib.Path("a.jsonl").read_bytes().splitlines(keepends=True)
    pathlib.Path("a.jsonl").write_bytes(b"".join(content[:2]) + content[2][:20])
    run(*words, "--resume", "a.npz")
    assert numbers("a.jsonl") == expected


def test_training_that_breaks_off_is_exit_status_one(capsys):
    """With the reason on the screen and in the log."""
    with np.errstate(all="ignore"):
        run("digits", "--rule", "backprop", "--optimizer", "sgd", "--learning-rate", "1e30", "--checkpoint", "a.npz",
            *SHORT, status=1)  # fmt: skip
    assert "not finite" in capsys.readouterr().err
    assert "not finite" in lines("a.jsonl")[-1]["reason"]


def test_warnings_are_shown_once_and_counted(capsys):
    """Inference that diverges in every batch."""
    run("digits", "--rule", "spc", "--step-size", "5", "--checkpoint", "a.npz", *SHORT)
    said = capsys.readouterr().err
    assert said.count("diverged") == 1
    assert "InferenceWarning: sPC inference diverged" in said
    assert "InferenceWarning: 8 in all" in said
    assert lines("a.jsonl")[-1]["warnings"]["InferenceWarning"] == 8


def listen():
    """Take Ctrl-C as in a terminal: a process in the background is born deaf to it, and so are its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_what_the_loader_warns_of_is_in_the_log(monkeypatch, capsys):
    """A run on the lossy subset of CIFAR-10 cannot pass for one on the real set."""

    def load(dtype):
        warnings.warn("this is NOT CIFAR-10", data.LossySubsetWarning, stacklevel=2)
        return data.digits(dtype)

    monkeypatch.setitem(command.TASKS, "cifar10", command.TASKS["digits"]._replace(load=load))
    run("cifar10", "--rule", "backprop", "--checkpoint", "a.npz", "--json", "a.json", *SHORT)
    assert "LossySubsetWarning: this is NOT CIFAR-10" in capsys.readouterr().err
    assert lines("a.jsonl")[-1]["warnings"] == {"LossySubsetWarning": 1}
    assert json.loads(pathlib.Path("a.json").read_text())["warnings"] == {"LossySubsetWarning": 1}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_a_real_process_and_a_real_ctrl_c(folder):
    """As in a terminal; then the command that was printed, and the numbers of an undisturbed run."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = ["digits", "--rule", "epc", "--epochs", "40", "--samples", "600", "--checkpoint"]

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "minipc", "train", *arguments],
            env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=listen,
        )  # fmt: skip

    process = start(*words, "a.npz")
    deadline = time.monotonic() + 60
    while not (folder / "a.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    again = shlex.split(error.partition("continue: ")[2])
    assert again[:4] == ["python", "-m", "minipc", "train"]
    for process in (start(*again[4:]), start(*words, "b.npz")):
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    assert numbers("a.jsonl") == numbers("b.jsonl")


# ------------------------------------------------------------------------------ refusals

REFUSED = {
    "digits": "the following arguments are required: --rule",
    "--rule epc": "the following arguments are required: TASK",
    "imagenet --rule epc": "argument TASK: invalid choice: 'imagenet' \\(choose from .*digits.*mnist",
    "digits --rule bp": "argument --rule: invalid choice: 'bp' \\(choose from .*backprop.*spc.*epc",
    "digits --rule epc --infrence-steps 3": "unknown: --infrence-steps \\(did you mean --inference-steps\\?\\); there are ",
    "digits --rule epc --quick": "unknown: --quick.*there are .*--epochs",
    "digits mnist --rule epc": "unknown: mnist",
    "digits --rule epc --epochs many": "argument --epochs: invalid int value: 'many'",
    "digits --rule epc --epochs 0": "--epochs must be at least 1, got 0",
    "digits --rule epc --batch-size 0": "--batch-size must be at least 1, got 0",
    "digits --rule epc --seed -1": "seed must be an integer >= 0",
    "digits --rule epc --dtype float16": "argument --dtype: invalid choice: 'float16' \\(choose from",
    "digits --rule epc --device tpu": "argument --device: invalid choice: 'tpu' \\(choose from",
    "digits --rule epc --samples 5000": "--samples must be at most 1437, the training set of digits; got 5000",
    "digits --rule epc --samples 1": "--samples must be at least 2, got 1",
    "digits --rule epc --validation 1437": "--validation must leave samples to train on, of 1437; got 1437",
    "digits --rule epc --validation -1": "--validation must not be negative, got -1",
    "digits --rule epc --validation 0 --patience 2": "--patience needs samples that are held out",
    "digits --rule epc --patience 0": "patience must be at least 1, got 0",
    "digits --rule epc --hidden 12,x": "argument --hidden: must be whole numbers such as 128,128; got '12,x'",
    "digits --rule epc --hidden 12,0": "argument --hidden: widths must be at least 1",
    "digits --rule epc --activation gel": "argument --activation: invalid choice: 'gel'",
    "digits --rule backprop --inference-steps 3": "rule backprop: backprop.gradient has no option inference_steps: it takes none",
    "digits --rule spc --option beta=1": "rule spc: spc.gradient has no option beta: it takes precision, inference_steps",
    "digits --rule nudged": "rule nudged: variants.nudged needs the option beta",
    "digits --rule nudged --option beta": "argument --option: must be NAME=VALUE, e.g. beta=0.1; got 'beta'",
    "digits --rule nudged --option beta=much": "beta must be a number",
    "digits --rule epc --inference-steps -1": "inference_steps must not be negative, got -1",
    "digits --rule epc --step-size fast": "step_size must be .*adaptive.*'fast'",
    "digits --rule epc --option precision=[1]": "precision",
    "digits --rule epc --learning-rate -1": "learning_rate must be positive",
    "digits --rule epc --learning-rate nan": "learning_rate must be positive and finite, got nan",
    "digits --rule epc --momentum 0.9": "--momentum is no option of adam",
    "digits --rule epc --optimizer sgd --momentum 2": "momentum must",
    "digits --rule epc --clip-norm 0": "norm must be positive",
    "digits --rule epc --schedule cosine --warm-up 10000": "warm_up must",
    "digits --rule epc --warm-up -1": "warm_up must",
    "digits --rule epc --checkpoint-every 0": "checkpoint_every must be at least 1, got 0",
    "digits --rule epc --checkpoint nowhere/a.npz": "the folder nowhere does not exist",
    "digits --rule epc --resume missing.npz": "No such file.*missing.npz",
    "digits --rule epc --json nowhere/a.json": "the folder nowhere does not exist",
    "copy --rule epc": "copy has sequences, rule epc is for samples: take one of bptt, tbptt, checkpointed_bptt, rtrl, tpc, tpc_rtrl *$",
    "digits --rule bptt": "digits has samples, rule bptt is for sequences: take one of backprop, spc, epc",
    "digits --rule epc --cell gru": "--cell is an option of the tasks copy, adding, parity, shakespeare; digits is none",
    "digits --rule epc --steps 3": "--steps is an option of the tasks",
    "digits --rule epc --influence exact": "--influence is an option of the tasks",
    "digits --rule epc --carry state": "--carry is an option of the tasks",
    "digits --rule epc --inference spc": "--inference is an option of the tasks",
    "digits --rule epc --beta 1": "rule epc: epc.gradient has no option beta",
    "digits --rule nudged --beta much": "argument --beta: invalid float value: 'much'",
    "digits --rule nudged --beta nan": "beta must be finite and not zero, got nan",
    "digits --rule tpc": "digits has samples, rule tpc is for sequences: take one of backprop, spc, epc",
    "copy --rule tpc --carry mu": "argument --carry: invalid choice: 'mu' \\(choose from .*state.*prediction",
    "copy --rule tpc --inference bp": "argument --inference: invalid choice: 'bp' \\(choose from .*spc.*epc.*newton.*fixed",
    "copy --rule tpc --beta -1": "beta must be positive and finite, got -1",
    "copy --rule tpc --step-size adaptive": "step_size .*must be .*'adaptive'",
    "copy --rule tpc --inference-steps -1": "inference_steps must not be negative, got -1",
    "copy --rule tpc --influence plain": "--influence is no option of tpc, which has no history: take tpc_rtrl",
    "copy --rule tpc --option influence=snap-1": "--influence is no option of tpc",
    "copy --rule tpc --option h0=1": "h0 cannot be an option",
    "copy --rule tpc --option learning=1": "rule tpc: tpc.gradient has no option learning: it takes influence, carry, ",
    "copy --rule tpc_rtrl --influence history": "influence must be .*got 'history'",
    "copy --rule tpc_rtrl --influence dni": "--influence dni: what it has learned .* would begin anew in every batch",
    "copy --rule rtrl --influence dni": "--influence dni: .*DNI\\(A=",
    "copy --rule tpc_rtrl --option influence=null": "tpc_rtrl needs an influence: without one it is tpc",
    "copy --rule tpc_rtrl --option block=4": "rule tpc_rtrl: .*tpc_rtrl has no option block",
    "copy --rule tpc_rtrl --cell lru --influence implicit": "influence implicit.*diag",
    "copy --rule rtrl --beta 1": "rule rtrl: rtrl.gradient has no option beta: it takes influence, block",
    "copy --rule rtrl --influence plain": "influence must be .*got 'plain'",
    "copy --rule bptt --carry state": "rule bptt: bptt.gradient has no option carry",
    "copy --rule bptt --inference fixed": "rule bptt: bptt.gradient has no option inference",
    "copy --rule bptt --cell transformer": "argument --cell: invalid choice: 'transformer' \\(choose from .*rnn.*rtu",
    "copy --rule bptt --steps 0": "--steps must be at least 1, got 0",
    "adding --rule bptt --steps 1": "T must be at least 2, got 1",
    "parity --rule bptt --cell gru --activation relu": "--activation is no option of gru",
    "copy --rule bptt --influence exact": "rule bptt: bptt.gradient has no option influence: it takes none",
    "copy --rule bptt --option steps=3": "rule bptt: bptt.gradient has no option steps",
    "copy --rule tbptt": "rule tbptt: bptt.truncated needs the option steps",
    "copy --rule tbptt --option steps=0": "steps must be at least 1, got 0",
    "copy --rule rtrl --influence wrong": "influence must be",
    "copy --rule rtrl --cell rnn --influence diagonal": "influence diagonal: block 2.*dense state Jacobian",
    "copy --rule bptt --option h0=1": "h0 cannot be an option",
    "copy --rule rtrl --option carry=1": "carry cannot be an option",
    "copy --rule bptt --samples 5001": "--samples must be at most 5000, the training set of copy; got 5001",
    "copy --rule bptt --inference-steps 3": "bptt.gradient has no option inference_steps",
    "copy --rule bptt --stepps 3": "unknown: --stepps \\(did you mean --steps\\?\\)",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_it_refuses(words, capsys, monkeypatch):
    """Exit status 2 and one line that says what was expected; nothing is trained, no file is left."""
    monkeypatch.setattr(pc.Adam, "step", lambda *_: pytest.fail("a weight moved"))
    try:
        status = __main__.main(["train", *words.split()])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    said = capsys.readouterr().err
    assert re.search(REFUSED[words], said.replace("\n", " ")), said
    assert not [path for path in pathlib.Path().rglob("*") if path.is_file()]


# ------------------------------------------------------------------------------ sequences

TINY = ["--epochs", "2", "--samples", "40", "--batch-size", "12", "--hidden", "6"]
TEXT = ("To be, or not to be: that is the question.\n" * 60).encode()
SEQUENCES = {
    "copy": ["--steps", "2"],
    "adding": ["--steps", "6"],
    "parity": ["--steps", "1"],
    "shakespeare": ["--steps", "9"],
}
WITHOUT_MEMORY = {
    "copy": {"loss": np.log(9), "accuracy": 1 / 9},
    "adding": {"loss": 1 / 12, "absolute_error": 1 / 3},
    "parity": {"loss": np.log(2), "accuracy": 0.5},
}


@pytest.fixture
def _text(monkeypatch):
    """Another text in the place of Shakespeare's: no download."""
    monkeypatch.setattr(data, "tiny_shakespeare", lambda: data.text.read_characters(TEXT, "a text"))


@pytest.mark.usefixtures("_text")
@pytest.mark.parametrize("task", SEQUENCES)
def test_tasks_of_sequences_are_those_of_fit(task, capsys):
    """The same run through the library; the result stands beside what one reaches without memory."""
    run(
        task,
        "--rule",
        "bptt",
        "--seed",
        "3",
        "--checkpoint",
        "a.npz",
        "--json",
        "a.json",
        *SEQUENCES[task],
        *TINY,
    )
    result, saved = json.loads(pathlib.Path("a.json").read_text()), pc.load_checkpoint("a.npz")
    steps, chosen = int(SEQUENCES[task][1]), tasks.TASKS[task]
    everything, test = chosen.load(steps, "float32")
    train, held_out = (
        data.Sequences(*(None if a is None else a[:, rows] for a in everything))
        for rows in (slice(36), slice(36, 40))
    )
    net = saved.network
    params, history = pc.fit(
        net, net.init(seed=3, dtype="float32"), train, rule=pc.bptt.gradient, optimizer=pc.Adam(chosen.learning_rate),
        epochs=2, batch_size=12, seed=3, validation=held_out, metrics=[chosen.metric], progress=False,
    )  # fmt: skip
    for name in ("loss", f"validation_{chosen.metric}"):
        assert (
            result["history"][name] == history[name].tolist() == [row[name] for row in lines("a.jsonl")[1:3]]
        )
    expected = pc.evaluate(net, params, test, [chosen.metric])
    printed = capsys.readouterr().out
    for name in ("loss", chosen.metric):
        assert result[f"test_{name}"] == lines("a.jsonl")[-1][f"test_{name}"] == expected[name]
        baseline = result["without_memory"][name]
        if task in WITHOUT_MEMORY:
            assert abs(baseline - WITHOUT_MEMORY[task][name]) < 1e-15
        shown = (
            f"accuracy {100 * baseline:.2f} %"
            if name == "accuracy"
            else f"{name.replace('_', ' ')} {baseline:.4f}"
        )
        assert shown in printed.splitlines()[-1]
    assert (result["training_samples"], result["test_samples"]) == (36, test.inputs.shape[1])
    assert result["config"]["learning_rate"] == chosen.learning_rate
    assert result["config"]["steps"] == steps


def test_the_baselines_are_what_a_predictor_without_memory_gets():
    """The best constant on many sequences, by counting: no formula of the package."""
    adding = data.adding(T=7, samples=40000, seed=1)
    sums = adding.targets[-1, :, 0]
    assert abs(0.5 * sums.var() - WITHOUT_MEMORY["adding"]["loss"]) < 2e-3
    assert abs(np.abs(sums - 1).mean() - WITHOUT_MEMORY["adding"]["absolute_error"]) < 5e-3
    copy = data.copy_task(digits=2, delay=1, samples=20000, seed=1)
    shares = np.bincount(copy.targets[copy.mask], minlength=10) / copy.mask.sum()
    assert np.abs(shares[1:] - WITHOUT_MEMORY["copy"]["accuracy"]).max() < 0.01
    train, test = (
        data.Sequences(np.array([word[:-1]]).T, np.array([word[1:]]).T)
        for word in ([0, 1, 0, 1, 0, 2], [0, 1, 2])
    )
    found = tasks.by_pairs(train, test)  # after 0: twice 1, once 2; after 1: twice 0; each pair once more
    assert abs(found["loss"] + (np.log(3 / 6) + np.log(1 / 5)) / 2) < 1e-15
    assert found["accuracy"] == 0.5


def test_pieces_of_a_text_predict_the_next_character():
    """Side by side, none missing between them, none of them twice."""
    text = np.arange(100) % 7
    cut = tasks.pieces(text, 9)
    assert cut.inputs.shape == cut.targets.shape == (9, 11)
    assert np.array_equal(cut.inputs.T.ravel(), text[:99])
    assert np.array_equal(cut.targets.T.ravel(), text[1:])
    with pytest.raises(ValueError, match="steps must leave two pieces at least of 100 characters; got 50"):
        tasks.pieces(text, 50)


def test_training_and_test_sequences_are_others():
    """And the same ones in every run."""
    for task in ("copy", "adding", "parity"):
        first, test = tasks.TASKS[task].load(5, "float64")
        again, _ = tasks.TASKS[task].load(5, "float64")
        assert np.array_equal(first.inputs, again.inputs)
        assert not np.array_equal(first.inputs[0, :100], test.inputs[0, :100])  # one seed: the same first row


@pytest.mark.parametrize("cell", tasks.CELLS)
@pytest.mark.parametrize("task", ["copy", "adding"])
def test_every_cell_learns_alike_by_bptt_and_rtrl(cell, task):
    """One and the same run, in float64, but for the rounding; two cells on each other."""
    words = [
        "--cell",
        cell,
        "--dtype",
        "float64",
        "--steps",
        "3",
        *TINY,
        "--hidden",
        "4,3",
        "--samples",
        "20",
    ]
    ends = []
    for rule in (
        ["bptt"],
        ["checkpointed_bptt"],
        ["tbptt", "--option", "steps=100"],
        ["rtrl"],
        ["rtrl", "--influence", "exact"],
        ["tpc_rtrl", "--inference", "fixed", "--carry", "prediction", "--beta", "0.5"],  # (TPR.10)
    ):
        run(task, "--rule", *rule, "--checkpoint", f"{len(ends)}.npz", *words)
        saved = pc.load_checkpoint(f"{len(ends)}.npz")
        kinds = [type(block) for block in saved.network.blocks if pc.recurrent.is_cell(block)]
        assert kinds == [tasks.CELLS[cell]] * 2
        ends.append([row["loss"] for row in numbers(f"{len(ends)}.jsonl")[:-1]])
    assert np.abs(np.array(ends) / ends[0] - 1).max() < 1e-8
    run(task, "--rule", "tbptt", "--option", "steps=1", "--checkpoint", "one.npz", *words)
    run(
        task,
        "--rule",
        "tpc",
        "--inference",
        "fixed",
        "--carry",
        "prediction",
        "--checkpoint",
        "tpc.npz",
        *words,
    )
    one, tpc = (numbers(f"{name}.jsonl")[1]["loss"] for name in ("one", "tpc"))
    assert abs(one / ends[0][1] - 1) > 1e-7
    assert abs(tpc / one - 1) < 1e-8  # (tPC.7): without history, credit for the same step


@pytest.mark.parametrize("rule", ["tpc", "tpc_rtrl"])
def test_options_of_temporal_predictive_coding_are_those_of_fit(rule, monkeypatch):
    """Its own flags; the energy stands beside the loss; the numbers are those of the function, under the same options."""
    seen, original = [], command.fit
    monkeypatch.setattr(command, "fit", lambda *a, **o: seen.append((a, o)) or original(*a, **o))
    options = {
        "carry": "prediction",
        "inference": "spc",
        "beta": 0.25,
        "inference_steps": 3,
        "step_size": 0.4,
    }
    words = [
        "--carry",
        "prediction",
        "--inference",
        "spc",
        "--beta",
        "0.25",
        "--inference-steps",
        "3",
        "--step-size",
        "0.4",
    ]
    if rule == "tpc_rtrl":
        options["influence"] = "plain"
    run("adding", "--rule", rule, "--cell", "rnn", "--steps", "5", "--checkpoint", "a.npz", *words, *TINY)
    ((net, params, sequences), given) = seen[0]
    default = {"influence": "plain"} if rule == "tpc_rtrl" else {}
    assert {name: given[name] for name in options if name in given} | default == options
    _, history = pc.fit(
        net, params, sequences, rule=pc.tpc.gradient, optimizer=pc.Adam(5e-3), epochs=2, batch_size=12, seed=0,
        progress=False, **options,
    )  # fmt: skip
    rows = lines("a.jsonl")[1:3]
    for name in ("loss", "energy"):
        assert [row[name] for row in rows] == history[name].tolist()
    assert 0 < rows[0]["energy"] * 0.9 < rows[0]["loss"]


@pytest.mark.parametrize(
    "influence",
    ["implicit", "diag", "snap-1", "snap-2", "sketch-3", "rflo", "kernl", "uoro", "kf", "reverse-kf"],
)
def test_every_influence_can_be_asked_for(influence):
    """A run each, of which no two are the same; those that RTRL has, too."""
    words = ["parity", "--steps", "1", "--cell", "rnn", *TINY, "--seed", "1"]
    run(*words, "--rule", "tpc_rtrl", "--influence", influence, "--checkpoint", "a.npz")
    run(*words, "--rule", "tpc_rtrl", "--checkpoint", "plain.npz")
    assert numbers("a.jsonl") != numbers("plain.jsonl")
    if influence not in ("implicit", "diag"):
        run(*words, "--rule", "rtrl", "--influence", influence, "--checkpoint", "b.npz")
        assert numbers("b.jsonl") != numbers("a.jsonl")


def tree(params):
    """All parameters in one vector."""
    return np.concatenate([v.ravel() for p in params for v in p.values()])


@pytest.mark.parametrize("influence", ["uoro", "kf", "reverse-kf"])
def test_signs_go_on_from_batch_to_batch(influence, capsys):
    """With the same signs in every batch the noise would be a bias. They are drawn from the seed, and go on when a run does."""
    words = ["parity", "--rule", "rtrl", "--steps", "1", "--cell", "rnn", *TINY, "--influence", influence]
    words += ["--seed", "2"]
    run(*words, "--checkpoint", "whole.npz")
    saved = pc.load_checkpoint("whole.npz")
    everything, _ = tasks.TASKS["parity"].load(1, "float32")
    data36 = data.Sequences(*(None if a is None else a[:, :36] for a in everything))
    method = {"uoro": pc.UORO, "kf": pc.KF, "reverse-kf": pc.ReverseKF}[influence]
    ends = [
        pc.fit(
            saved.network, saved.network.init(seed=2, dtype="float32"), data36, rule="rtrl", influence=method(seed),
            optimizer=pc.Adam(5e-3), epochs=2, batch_size=12, seed=2, progress=False,
        )[0]
        for seed in (np.random.default_rng(2), np.random.default_rng(0), 2)
    ]  # fmt: skip
    assert np.array_equal(tree(saved.run.params), tree(ends[0]))
    for other in ends[1:]:
        assert not np.array_equal(tree(saved.run.params), tree(other))
    with stopped_in_call(3):
        run(*words, "--checkpoint", "a.npz", status=130)
    again = shlex.split(capsys.readouterr().err.partition("continue: ")[2])
    assert __main__.main(again[3:]) == 0
    assert numbers("a.jsonl") == numbers("whole.jsonl")


def test_the_activation_is_that_of_an_rnn_or_behind_a_linear_cell():
    """And none where a cell has its own."""
    task = tasks.TASKS["parity"]
    for cell, activation, shown in (
        ("rnn", None, ["tanh", "identity"]), ("rnn", "relu", ["relu", "identity"]), ("gru", None, ["-", "identity"]),
        ("lru", None, ["-", "gelu", "identity"]), ("rtu", "tanh", ["identity", "tanh", "identity"]),
    ):  # fmt: skip
        net = tasks.recurrent(task, cell, (4,), activation)
        assert [getattr(block, "activation", "-") for block in net.blocks] == shown


@pytest.mark.parametrize("at", [1, 3, 6])
def test_an_interrupted_run_on_sequences_goes_on(at, capsys):
    """With the command that it prints, to the same log."""
    words = [
        "copy",
        "--rule",
        "rtrl",
        "--influence",
        "exact",
        "--steps",
        "2",
        "--cell",
        "rnn",
        *TINY,
        "--batch-size",
        "9",
    ]
    run(*words, "--checkpoint", "whole.npz")
    with stopped_in_call(at):
        run(*words, "--checkpoint", "a b.npz", status=130)
    again = shlex.split(capsys.readouterr().err.partition("continue: ")[2])
    assert __main__.main(again[3:]) == 0
    assert numbers("a b.jsonl") == numbers("whole.jsonl")
    run(*words[:6], "3", *words[7:], "--resume", "a b.npz", status=2)
    assert "is the checkpoint of another run: its data was" in capsys.readouterr().err


def test_parity_is_learnt_and_needs_the_past():
    """Both in seconds: BPTT far above, one step of history at what is reached without memory."""
    words = ["parity", "--steps", "2", "--cell", "rnn", "--samples", "600", "--epochs", "4", "--hidden", "16"]
    run(*words, "--rule", "bptt", "--checkpoint", "a.npz")
    run(*words, "--rule", "tbptt", "--option", "steps=1", "--checkpoint", "b.npz")
    assert lines("a.jsonl")[-1]["test_accuracy"] > 0.95
    assert lines("b.jsonl")[-1]["test_accuracy"] < 0.8


def test_a_gpu_that_is_not_there(capsys):
    """What to install."""
    if pc.gpu_available():
        pytest.skip("there is one")
    run("digits", "--rule", "epc", "--device", "gpu", status=2)
    assert "pip install" in capsys.readouterr().err


def test_other_settings_than_those_of_the_checkpoint_are_named(capsys):
    """A resumed run is the run that was begun, or none."""
    run("digits", "--rule", "epc", "--checkpoint", "a.npz", *SHORT)
    for words, name in (("--learning-rate 0.1", "optimizer"), ("--batch-size 20", "batch_size"),
                        ("--hidden 5", "network"), ("--samples 90", "data"), ("--inference-steps 2", "options")):  # fmt: skip
        before = pathlib.Path("a.npz").read_bytes(), pathlib.Path("a.jsonl").read_bytes()
        run("digits", "--rule", "epc", *SHORT, *words.split(), "--resume", "a.npz", status=2)
        assert f"is the checkpoint of another run: its {name} was" in capsys.readouterr().err
        assert before == (pathlib.Path("a.npz").read_bytes(), pathlib.Path("a.jsonl").read_bytes())


@pytest.mark.parametrize("kept", ["a.npz", "a.jsonl"])
def test_files_of_an_earlier_run_are_not_overwritten(kept, capsys):
    """Neither the checkpoint nor its log."""
    run("digits", "--rule", "epc", "--checkpoint", "a.npz", *SHORT)
    for name in {"a.npz", "a.jsonl"} - {kept}:
        pathlib.Path(name).unlink()
    before = pathlib.Path(kept).read_bytes()
    run("digits", "--rule", "epc", "--checkpoint", "a.npz", *SHORT, status=2)
    assert (
        f"{kept} is there already: continue it with --resume, or choose another name"
        in capsys.readouterr().err
    )
    assert pathlib.Path(kept).read_bytes() == before
    assert len(list(pathlib.Path().iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"no archive", "network"])
def test_a_file_that_is_no_checkpoint(content, capsys):
    """Empty, something else, a saved network."""
    if content == "network":
        net = pc.Network([pc.Dense(2, 2)])
        net.save("a.npz", net.init(seed=0))
    else:
        pathlib.Path("a.npz").write_bytes(content)
    run("digits", "--rule", "epc", "--resume", "a.npz", *SHORT, status=2)
    assert "a.npz is not a checkpoint of minipc" in capsys.readouterr().err
