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
from minipc import __main__, command, data

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
