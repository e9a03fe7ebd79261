"""What the training loop and its checkpoints refuse: by name, before any weight has moved, and no file is executed."""

import gc
import json
import pickle
import zipfile

import numpy as np
import pytest

import minipc as pc
from minipc import checkpoint
from minipc.data import Sequences

NET = pc.Network([pc.Dense(4, 6, "tanh"), pc.Dense(6, 3)], loss="cross_entropy")
PARAMS = NET.init(seed=0)
RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
U, C = RNG.standard_normal((5, 6, 4)), RNG.integers(0, 3, (5, 6))
ONES = np.ones((5, 6), bool)


class MovedError(Exception):
    """A weight was about to move."""


class Never:
    """An optimiser that must not be asked."""

    def init(self, params):
        return ()

    def step(self, params, grads, state):
        raise MovedError


def fit(data=(X, Y), **options):
    """A run that would work, but for its optimiser."""
    return pc.fit(
        NET, PARAMS, data, **{"rule": "backprop", "optimizer": Never(), "progress": False, **options}
    )


def sequences(inputs=U, targets=C, mask=None):
    """With a rule that is never called: the data are looked at first."""
    return fit(Sequences(inputs, targets, mask), rule=lambda *_, **__: pytest.fail("the rule was called"))


BAD = {
    "rule unknown": (lambda: fit(rule="bp"), ValueError, "rule must be one of backprop, spc, .*; got 'bp'"),
    "rule a number": (lambda: fit(rule=3), TypeError, "rule must be a name or a function .*, got 3"),
    "rule None": (lambda: fit(rule=None), TypeError, "rule must be a name or a function"),
    "an option the rule has not": (
        lambda: fit(inference_steps=3), TypeError, "backprop.gradient has no option inference_steps: it takes none",
    ),
    "a misspelt option": (
        lambda: fit(rule="epc", inference_step=3), TypeError, "epc.gradient has no option inference_step: it takes precision",
    ),
    "an option that is needed": (lambda: fit(rule="nudged"), TypeError, "variants.nudged needs the option beta"),
    "a bad option": (lambda: fit(rule="spc", step_size=-1.0), ValueError, "step_size must"),
    "optimizer a class": (lambda: fit(optimizer=pc.Adam), TypeError, "optimizer must be one such as"),
    "optimizer a word": (lambda: fit(optimizer="adam"), TypeError, "optimizer must be one such as .*'adam'"),
    "epochs zero": (lambda: fit(epochs=0), ValueError, "epochs must be at least 1, got 0"),
    "epochs a fraction": (lambda: fit(epochs=1.5), TypeError, "epochs must be an integer, got 1.5"),
    "batch_size zero": (lambda: fit(batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
    "batch_size True": (lambda: fit(batch_size=True), TypeError, "batch_size must be an integer, got True"),
    "seed negative": (lambda: fit(seed=-1), ValueError, "seed must be an integer >= 0"),
    "seed a word": (lambda: fit(seed="a"), TypeError, "seed must be an integer >= 0"),
    "data one array": (lambda: fit(X), TypeError, r"data must be a pair \(x, y\) or Sequences, got ndarray"),
    "data three arrays": (lambda: fit((X, Y, Y)), TypeError, r"data must be a pair \(x, y\) or Sequences, got tuple"),
    "x too wide": (lambda: fit((RNG.standard_normal((6, 5)), Y)), ValueError, r"data: x must have shape \(B, 4\)"),
    "x and y of two lengths": (lambda: fit((X, Y[:5])), ValueError, r"data: y must have shape \(6, 3\) or labels \(6,\)|data: y must have shape \(6,\)"),
    "a label too large": (lambda: fit((X, Y + 1)), ValueError, r"data: y must hold labels 0..2; got 3"),
    "x with NaN": (lambda: fit((X * np.nan, Y)), ValueError, "data: x must be finite"),
    "no samples": (lambda: fit((X[:0], Y[:0])), ValueError, "data: x must have at least one sample"),
    "validation one array": (lambda: fit(validation=X), TypeError, "validation must be a pair"),
    "validation too wide": (lambda: fit(validation=(X[:, :3], Y)), ValueError, r"validation: x must have shape \(B, 4\)"),
    "a metric that is none": (lambda: fit(metrics=["f1"]), ValueError, "a metric must be one of accuracy, .*; got 'f1'"),
    "metrics a word": (lambda: fit(metrics="accuracy"), TypeError, "metrics must be a list of names or functions"),
    "accuracy of one output": (
        lambda: pc.evaluate(pc.Network([pc.Dense(2, 1)]), [{"W": np.ones((1, 2)), "b": np.ones(1)}], (X[:, :2], X[:, :1]), ["accuracy"]),
        ValueError, "accuracy compares the outputs of a sample, and this net has one",
    ),
    "early stopping without validation": (
        lambda: fit(early_stopping=pc.EarlyStopping()), ValueError,
        r"monitor must be one of loss \(there is no validation data\); got 'validation_loss'",
    ),
    "early stopping on what is not measured": (
        lambda: fit(validation=(X, Y), early_stopping=pc.EarlyStopping("validation_f1")), ValueError,
        "monitor must be one of loss, validation_loss, validation_accuracy; got 'validation_f1'",
    ),
    "early stopping on the seconds": (
        lambda: fit(early_stopping=pc.EarlyStopping("seconds")), ValueError, "monitor must be one of loss",
    ),
    "early stopping a number": (lambda: fit(early_stopping=3), TypeError, "early_stopping must be one such as"),
    "patience zero": (lambda: pc.EarlyStopping(patience=0), ValueError, "patience must be at least 1, got 0"),
    "min_delta negative": (lambda: pc.EarlyStopping(min_delta=-1), ValueError, "min_delta must be a number of at least 0"),
    "monitor a number": (lambda: pc.EarlyStopping(3), TypeError, "monitor must be a name of the history, got 3"),
    "a callback that is none": (lambda: fit(callbacks=[1]), TypeError, "callbacks must be a list of functions"),
    "callbacks a function": (lambda: fit(callbacks=print), TypeError, "callbacks must be a list of functions"),
    "checkpoint_every without a file": (lambda: fit(checkpoint_every=3), ValueError, "checkpoint_every needs checkpoint"),
    "checkpoint_every zero": (
        lambda: fit(checkpoint="a.npz", checkpoint_every=0), ValueError, "checkpoint_every must be at least 1, got 0",
    ),
    "a folder that is not there": (
        lambda: fit(checkpoint="nowhere/a.npz"), FileNotFoundError, "the folder nowhere does not exist",
    ),
    "a checkpoint that is a folder": (lambda: fit(checkpoint="."), IsADirectoryError, "is a folder"),
    "resume from nothing": (lambda: fit(resume="nothing.npz"), FileNotFoundError, "nothing.npz"),
    "inputs a list": (lambda: sequences(inputs=[1.0]), TypeError, "data: inputs must be a NumPy or CuPy array, got list"),
    "targets of other steps": (
        lambda: sequences(targets=C[:4]), ValueError, r"must agree in T and B; got \(5, 6, 4\), \(4, 6\)",
    ),
    "batch first": (lambda: sequences(inputs=U.swapaxes(0, 1)), ValueError, r"must agree in T and B"),
    "no steps": (lambda: sequences(inputs=U[:0], targets=C[:0]), ValueError, "there must be at least one step"),
    "a class too large": (lambda: sequences(targets=C + 1), ValueError, "data: y must hold labels 0..2"),
    "a mask of numbers": (lambda: sequences(mask=ONES * 1.0), ValueError, r"mask must be boolean of shape \(5, 6\), got float64"),
    "a mask of other steps": (lambda: sequences(mask=ONES[:4]), ValueError, r"mask must be boolean of shape \(5, 6\)"),
    "a mask that is a list": (lambda: sequences(mask=[True]), TypeError, "mask must be a NumPy or CuPy array, got list"),
    "a sequence without a step that counts": (
        lambda: sequences(mask=ONES & (np.arange(6) != 4)), ValueError, "sequence 4 has none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_before_any_weight_moves(name, tmp_path, monkeypatch):
    """The message has the symbol, what was expected and what was given; no file is left behind."""
    monkeypatch.chdir(tmp_path)
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()
    assert not list(tmp_path.iterdir())


def test_the_run_that_all_of_them_spoil_would_work():
    """The data are right, and so the optimiser is asked."""
    with pytest.raises(MovedError):
        fit()


# ------------------------------------------------------------------------------ checkpoints


class Trap:
    """Unpickling this raises."""

    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


SETTING = {
    "rule": "epc",
    "optimizer": pc.Adam(0.01),
    "epochs": 2,
    "batch_size": 4,
    "seed": 0,
    "progress": False,
}


def good(path, **options):
    """A checkpoint after one of two epochs."""
    pc.fit(NET, PARAMS, (X, Y), **{**SETTING, **options, "epochs": 1, "checkpoint": path})
    return path


def resumed(path, net=NET, params=PARAMS, data=(X, Y), **options):
    return pc.fit(net, params, data, **{**SETTING, **options, "resume": path})


def contents(path):
    """Header and arrays of a good file."""
    good(path)
    with np.load(path) as file:
        arrays = dict(file)
    return json.loads(str(arrays.pop("header"))), arrays


def rewritten(change):
    """A good file with something changed in its header or arrays."""

    def make(path):
        header, arrays = contents(path)
        change(header, arrays)
        np.savez(path, header=np.array(json.dumps(header)), **arrays)

    return make


def cut(share):
    """The first part of a good file."""

    def make(path):
        content = good(path).read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return make


def flipped(path):
    """One bit of the largest array turned."""
    good(path)
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("params.0.W.npy").header_offset + 200
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def pickled(path):
    """An array of objects among the others."""
    good(path)
    with zipfile.ZipFile(path, "a") as archive, archive.open("history.trap.npy", "w") as file:
        np.lib.format.write_array(file, np.array([Trap()], dtype=object))


def a_network(path):
    NET.save(path, PARAMS)


NO_CHECKPOINT = {
    "an empty file": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("loss 0.1"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Trap())),
    "an array of objects": pickled,
    "half of it": cut(0.5),
    "all but its end": cut(0.99),
    "a bit turned": flipped,
    "a saved network": a_network,
    "another format": rewritten(lambda header, arrays: header.update(format=7)),
    "no format": rewritten(lambda header, arrays: header.pop("format")),
    "no generator": rewritten(lambda header, arrays: header.pop("generator")),
    "no configuration": rewritten(lambda header, arrays: header.pop("config")),
    "a gap in the optimiser's state": rewritten(lambda header, arrays: arrays.pop("state.2")),
    "a block too many": rewritten(lambda header, arrays: arrays.update({"params.9.W": np.ones(1)})),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NO_CHECKPOINT)
def test_files_that_are_no_checkpoint_are_refused(name, tmp_path):
    """By name; whatever stands in them, nothing is executed, and the file is closed again."""
    path = tmp_path / "run.npz"
    NO_CHECKPOINT[name](path)
    for read in (pc.load_checkpoint, resumed):
        with pytest.raises(ValueError, match=r"run\.npz is not a checkpoint of minipc"):
            read(path)
    gc.collect()  # a file that was left open would warn here


OTHER_NET = pc.Network([pc.Dense(4, 5, "tanh"), pc.Dense(5, 3)], loss="cross_entropy")
OTHER_RUN = {
    "another learning rate": ({"optimizer": pc.Adam(0.02)}, "its optimizer was .*0.01.*0.02"),
    "another optimiser": ({"optimizer": pc.AdamW(0.01)}, "its optimizer was .*Adam.*AdamW"),
    "another rule": ({"rule": "spc"}, "its rule was minipc.epc.gradient, this one's is minipc.spc.gradient"),
    "another option": ({"inference_steps": 3}, "its options was {}, this one's is {'inference_steps': 3}"),
    "another size of batches": ({"batch_size": 3}, "its batch_size was 4, this one's is 3"),
    "another network": ({"net": OTHER_NET, "params": OTHER_NET.init(seed=0)}, "its network was"),
    "other samples": ({"data": (X + 1e-12, Y)}, "its data was"),
    "another order of samples": ({"data": (X[::-1], Y[::-1])}, "its data was"),
    "other labels": ({"data": (X, Y[[0, 1, 2, 0, 2, 1]])}, "its data was"),
    "validation": ({"validation": (X, Y)}, "its validation was None"),
    "early stopping": ({"early_stopping": pc.EarlyStopping("loss")}, "its early_stopping was None"),
    "another dtype": ({"params": NET.init(seed=0, dtype="float32")}, "its data was|does not hold the parameters"),
    "another generator": ({"seed": np.random.Generator(np.random.MT19937(1))}, "was written with the generator PCG64, seed is one of MT19937"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_RUN)
def test_a_checkpoint_of_another_run_is_refused(name, tmp_path):
    """With what differs: a run that goes on as something else would be no one's."""
    path = good(tmp_path / "run.npz")
    options, message = OTHER_RUN[name]
    with pytest.raises(ValueError, match=message):
        resumed(path, **options)


def test_parameters_of_another_shape_under_the_same_configuration_are_refused(tmp_path):
    """The header is right, the arrays are not."""
    path = tmp_path / "run.npz"
    rewritten(lambda header, arrays: arrays.update({"params.0.W": np.ones((6, 5))}))(path)
    with pytest.raises(ValueError, match=r"W\[1\] must have shape \(6, 4\), got \(6, 5\)"):
        resumed(path)


def test_the_good_file_is_one(tmp_path):
    """The twin of all the files above."""
    saved = pc.load_checkpoint(good(tmp_path / "run.npz"))
    assert isinstance(saved, checkpoint.Checkpoint)
    assert len(resumed(tmp_path / "run.npz")[1]["loss"]) == 2
