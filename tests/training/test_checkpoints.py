"""A run that stopped and was continued is the run that never stopped: every bit, wherever it stopped."""

import json
import pathlib
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest

import minipc as pc
from minipc import backprop, checkpoint, train
from training.problem import NET, PARAMS, RNG, Spy, X, Y, flat

VALIDATION = (RNG.standard_normal((4, 4)), np.array([2, 0, 1, 0]))
SETTING = {
    "rule": "epc",
    "optimizer": pc.Adam(0.05),
    "epochs": 3,
    "batch_size": 2,
    "seed": 5,
    "validation": VALIDATION,
    "early_stopping": pc.EarlyStopping(patience=50),
    "progress": False,
    "inference_steps": 3,
}


def fit(**options):
    """Three epochs of three batches with everything that has to be remembered."""
    return pc.fit(NET, PARAMS, (X, Y), **{**SETTING, **options})


def same(a, b):
    """Parameters and histories agree bit by bit; only the clock may differ."""
    assert np.array_equal(flat(a[0]), flat(b[0]))
    assert a[1].keys() == b[1].keys()
    for name in a[1].keys() - {"seconds"}:
        assert np.array_equal(a[1][name], b[1][name]), name
        assert len(a[1][name]) == len(b[1]["seconds"])


@pytest.fixture(scope="module")
def whole():
    """The run that never stops."""
    return fit()


class Stop:
    """A rule that is interrupted in its call number ``at``, counted from 0, as by Ctrl-C."""

    def __init__(self, rule, at):
        self.rule, self.at, self.calls = rule, at, 0

    def __call__(self, *args, **options):
        self.calls += 1
        if self.at is not None and self.calls == self.at + 1:
            raise KeyboardInterrupt
        return self.rule(*args, **options)


def epc(at=None):
    """ePC under one name, interrupted or not."""
    return Stop(pc.epc.gradient, at)


OPTIMIZERS = [
    pc.SGD(0.1),
    pc.SGD(pc.Cosine(0.1, steps=9, warm_up=2), momentum=0.9, nesterov=True, weight_decay=0.01),
    pc.RMSprop(0.01),
    pc.Adam(0.05),
    pc.AdamW(pc.StepDecay(0.05, factor=0.5, every=4)),
    pc.Clip(pc.ByBlock({1: pc.SGD(0.1, momentum=0.5), 2: None}, otherwise=pc.Adam(0.05)), norm=0.5),
]


@pytest.mark.parametrize("at", range(9))
def test_ctrl_c_in_any_batch_leaves_a_checkpoint_that_goes_on_bit_for_bit(at, whole, tmp_path):
    """Also from the first batch on; what was raised carries parameters and history, too."""
    file = tmp_path / "run.npz"
    with pytest.raises(pc.Interrupted) as stop:
        fit(rule=epc(at), checkpoint=file)
    saved = pc.load_checkpoint(file).run
    assert (saved.epoch, saved.batch) == divmod(at, 3)
    assert np.array_equal(flat(saved.params), flat(stop.value.params))
    assert len(stop.value.history.get("loss", ())) == at // 3
    assert isinstance(stop.value, KeyboardInterrupt)
    same(fit(rule=epc(), resume=file), whole)


def interrupted_at_line(number):
    """A trace function that raises KeyboardInterrupt before line ``number`` that is executed in the loop's modules."""
    modules, passed = {train.__file__, checkpoint.__file__}, 0

    def trace(frame, event, _):
        nonlocal passed
        if frame.f_code.co_filename not in modules:
            return None
        if event == "line":
            passed += 1
            if passed == number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    return trace


def test_ctrl_c_before_any_line_of_the_loop_loses_nothing(whole, tmp_path):
    """A signal may come between any two instructions: the optimiser has moved, the history not yet, ...

    Line after line of fit is interrupted until one run gets through. Either nothing had been done, or the
    checkpoint goes on to the very numbers of the whole run.
    """
    options = {"batch_size": 5, "epochs": 2}
    expected, outcomes, number = fit(**options), set(), 0
    before = sys.gettrace()
    while True:
        number += 3  # every third line: a minute would go into all of them; the numbers are odd and even
        file = tmp_path / f"{number}.npz"
        try:
            sys.settrace(interrupted_at_line(number))
            fit(checkpoint=file, **options)
            break
        except KeyboardInterrupt as stop:
            sys.settrace(before)
            if file.exists():
                same(fit(resume=file, **options), expected)
                outcomes.add("continued")
            else:  # before the loop, that is before anything was worth keeping
                outcomes.add("lost" if isinstance(stop, pc.Interrupted) else "nothing done")
            assert not list(tmp_path.glob("*.part"))
        finally:
            sys.settrace(before)
    assert outcomes == {"continued", "nothing done"}
    assert number > 150


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("rule", ["backprop", "spc", "epc", "incremental"])
def test_every_optimiser_and_rule_goes_on_bit_for_bit(optimizer, rule, tmp_path):
    """Two epochs, written; then the third."""
    options = {"rule": rule, "optimizer": optimizer}
    if rule == "backprop":
        options["inference_steps"] = None
    settings = {k: v for k, v in {**SETTING, **options}.items() if v is not None}

    def run(**more):
        return pc.fit(NET, PARAMS, (X, Y), **{**settings, **more})

    run(epochs=2, checkpoint=tmp_path / "run.npz")
    same(run(resume=tmp_path / "run.npz"), run())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_checkpoint_in_the_middle_of_an_epoch(dtype, tmp_path):
    """After every second batch; the epoch's loss is the mean over all its batches, those before the stop too."""
    files, params = [], NET.init(seed=3, dtype=dtype)
    options = {**SETTING, "rule": "spc", "batch_size": 1, "epochs": 2}

    def keep(path, run, config):
        files.append(tmp_path / f"{len(files)}.npz")
        checkpoint.save_checkpoint(files[-1], run, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "save_checkpoint", keep)
        expected = pc.fit(NET, params, (X, Y), checkpoint=tmp_path / "-", checkpoint_every=2, **options)
    places = [(saved.epoch, saved.batch) for saved in (pc.load_checkpoint(file).run for file in files)]
    assert places == [(0, 2), (0, 4), (1, 0), (1, 2), (1, 4), (2, 0)]
    for file in files:
        again = pc.fit(NET, params, (X, Y), resume=file, **options)
        same(again, expected)
        assert {v.dtype for p in again[0] for v in p.values()} == {np.dtype(dtype)}


def test_a_finished_run_can_be_trained_longer(whole, tmp_path):
    """The number of epochs is the one setting that may change; a resumed run that is done does no work."""
    fit(epochs=1, checkpoint=tmp_path / "run.npz")
    same(fit(resume=tmp_path / "run.npz"), whole)
    spy = Spy()
    fit(rule=spy, epochs=1, inference_steps=1, checkpoint=tmp_path / "spy.npz")
    spy.calls.clear()
    fit(rule=spy, epochs=1, inference_steps=1, resume=tmp_path / "spy.npz")
    assert spy.calls == []


def test_a_run_may_be_resumed_from_and_written_to_the_same_file(whole, tmp_path):
    """Twice interrupted, one file."""
    file = tmp_path / "run.npz"
    for at in (4, 1):
        with pytest.raises(pc.Interrupted, match=r"continue with resume="):
            fit(rule=epc(at), checkpoint=file, **({"resume": file} if file.exists() else {}))
    assert pc.load_checkpoint(file).run.epoch == 1
    same(fit(rule=epc(), checkpoint=file, resume=file), whole)


def test_the_checkpoint_of_an_earlier_run_is_not_overwritten_by_mistake(tmp_path):
    """Somebody forgot ``resume``: days of work are not replaced by the first epoch of a new run."""
    file = tmp_path / "run.npz"
    fit(epochs=2, checkpoint=file)
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match=r"run\.npz is there already: go on with resume='.*run\.npz'"):
        fit(checkpoint=file)
    assert file.read_bytes() == before


def test_an_early_stopped_run_stays_stopped(tmp_path):
    """The decision stands in the history; the best parameters in the file."""
    options = {
        "rule": "backprop", "optimizer": pc.SGD(6.0), "seed": 1, "epochs": 12, "validation": VALIDATION,
        "early_stopping": pc.EarlyStopping(patience=2), "batch_size": 2, "progress": False,
    }  # fmt: skip
    first = pc.fit(NET, PARAMS, (X, Y), checkpoint=tmp_path / "run.npz", **options)
    assert len(first[1]["loss"]) < 12
    same(pc.fit(NET, PARAMS, (X, Y), resume=tmp_path / "run.npz", **options), first)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_a_generator_as_seed_is_continued(kind, tmp_path):
    """Its state is in the file, arrays too; that of the one handed in at the second start does not count."""

    def seed(number):
        return np.random.Generator(getattr(np.random, kind)(number))

    expected = fit(seed=seed(8))
    fit(seed=seed(8), epochs=2, checkpoint=tmp_path / "run.npz")
    same(fit(seed=seed(99), resume=tmp_path / "run.npz"), expected)


@dataclass(frozen=True)
class Noise:
    """An option with a generator in it."""

    seed: np.random.Generator
    size: float = 0.1


class Noisy(Stop):
    """Adds to the gradient what two generators give, one of them in a dataclass."""

    def __init__(self, at=None):
        super().__init__(pc.backprop.gradient, at)

    def __call__(self, net, params, x, y, *, noise, rng):
        drawn = noise.size * (noise.seed.standard_normal() + rng.standard_normal())
        g = super().__call__(net, params, x, y)  # may stop here, with the numbers drawn
        return g._replace(grads=[{k: v + drawn for k, v in p.items()} for p in g.grads])


NOISY = {k: v for k, v in SETTING.items() if k not in ("rule", "inference_steps")}


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("kind", ["PCG64", "MT19937"])
def test_the_generators_among_the_options_of_a_rule_are_continued(at, kind, tmp_path):
    """Stopped in any batch: those handed in at the second start stand elsewhere, and do not count."""

    def run(seed, at=None, **more):
        rng = [np.random.Generator(getattr(np.random, kind)(seed + i)) for i in (0, 1)]
        return pc.fit(NET, PARAMS, (X, Y), **NOISY, rule=Noisy(at), noise=Noise(rng[0]), rng=rng[1], **more)

    file = tmp_path / "run.npz"
    with pytest.raises(pc.Interrupted):
        run(5, at, checkpoint=file)
    expected = run(5)
    same(run(70, resume=file), expected)
    assert not np.array_equal(flat(run(70)[0]), flat(expected[0]))


def test_other_generators_among_the_options_are_another_run(tmp_path):
    """Refused by name."""
    settings = {**NOISY, "rule": Noisy(), "noise": Noise(np.random.default_rng(0))}
    pc.fit(NET, PARAMS, (X, Y), checkpoint=tmp_path / "run.npz", rng=np.random.default_rng(1), **settings)
    other = np.random.Generator(np.random.MT19937(1))
    with pytest.raises(
        ValueError, match=r"with the generators \['PCG64', 'PCG64'\] .* \['PCG64', 'MT19937'\]"
    ):
        pc.fit(NET, PARAMS, (X, Y), resume=tmp_path / "run.npz", rng=other, **settings)


def test_the_best_parameters_are_in_the_file_and_do_not_move(whole, tmp_path):
    """Those of the epoch with the smallest validation loss, and the current ones beside them."""
    fit(checkpoint=tmp_path / "run.npz")
    saved = pc.load_checkpoint(tmp_path / "run.npz")
    best = int(np.argmin(saved.run.history["validation_loss"]))
    assert np.array_equal(flat(saved.run.best), flat(fit(epochs=best + 1)[0]))
    out = saved.network.forward(saved.run.params, X)
    assert np.array_equal(out, NET.forward(fit(early_stopping=None)[0], X))


def test_what_stands_in_the_header(tmp_path):
    """Configuration, versions, position: readable JSON, no pickle."""
    fit(checkpoint=tmp_path / "run.npz", precision=[np.ones(6), 2.0, None])
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        assert all(file[name].dtype.kind in "fiU" for name in file.files)
    assert header["versions"] == checkpoint.versions()
    assert header["versions"]["minipc"] == pc.__version__
    config = header["config"]
    assert config["rule"] == "minipc.epc.gradient"
    assert config["optimizer"]["Adam"]["learning_rate"] == 0.05
    assert config["options"]["inference_steps"] == 3
    assert config["options"]["precision"][0].startswith("float64[6] ")
    assert header["generator"]["bit_generator"] == "PCG64"


def test_reading_and_writing_again_gives_the_same_file_content(tmp_path):
    """Nothing is lost on the way in either direction."""
    with pytest.raises(pc.Interrupted):
        fit(rule=epc(4), checkpoint=tmp_path / "a.npz")
    saved = pc.load_checkpoint(tmp_path / "a.npz")
    checkpoint.save_checkpoint(tmp_path / "b.npz", saved.run, saved.config)
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a.files == b.files
        assert len(a.files) > 20
        assert all(np.array_equal(a[name], b[name]) for name in a.files)


def test_a_graph_is_checkpointed_too(tmp_path):
    """A Dag has no file of its own, but a run of one has."""
    net = pc.Dag([pc.Dense(4, 3, "tanh"), pc.Dense(7, 5, "tanh"), pc.Dense(8, 3)], [(0,), (0, 1), (1, 2)])
    data = (X, np.eye(3)[Y])
    options = {"rule": pc.dag.gradient, "optimizer": pc.Adam(0.02), "batch_size": 2, "progress": False}
    params = net.init(seed=0)
    expected = pc.fit(net, params, data, epochs=3, **options)
    pc.fit(net, params, data, epochs=1, checkpoint=tmp_path / "run.npz", **options)
    same(pc.fit(net, params, data, epochs=3, resume=tmp_path / "run.npz", **options), expected)


def test_other_versions_are_told(tmp_path, monkeypatch):
    """Then bits may differ: a warning, no refusal."""
    fit(epochs=1, checkpoint=tmp_path / "run.npz")
    monkeypatch.setattr(train, "versions", lambda: {**checkpoint.versions(), "numpy": "3.0"})
    with pytest.warns(UserWarning, match=r"was written with numpy .*may not continue bit for bit"):
        fit(epochs=1, resume=tmp_path / "run.npz")


def test_a_failed_write_carries_the_result_and_leaves_the_file_before(tmp_path, monkeypatch):
    """The disk is full in the second epoch."""
    file, written = tmp_path / "run.npz", []

    def full(path, run, config):
        if written:
            raise OSError(28, "No space left on device")
        written.append(checkpoint.save_checkpoint(path, run, config))

    monkeypatch.setattr(train, "save_checkpoint", full)
    with pytest.raises(pc.CheckpointError, match=r"cannot write the checkpoint .*No space left") as error:
        fit(checkpoint=file)
    monkeypatch.undo()
    assert np.array_equal(flat(error.value.params), flat(fit(epochs=2, early_stopping=None)[0]))
    assert len(error.value.history["loss"]) == 2
    assert pc.load_checkpoint(file).run.epoch == 1
    same(fit(resume=file), fit())


def test_without_a_checkpoint_nothing_is_written_and_ctrl_c_still_carries_the_parameters(
    tmp_path, monkeypatch
):
    """In a notebook: ``except minipc.Interrupted as stop: params = stop.params``."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pc.Interrupted, match=r"^stopped after 1 epochs and 1 batches$") as stop:
        fit(rule=epc(4))
    moved = flat(stop.value.params)
    assert not np.array_equal(moved, flat(PARAMS))
    assert not list(pathlib.Path(tmp_path).iterdir())


def test_the_seconds_of_an_interrupted_epoch_are_those_of_both_parts(tmp_path):
    """The clock goes on where it stood."""

    def slow(net, params, x, y, at=None):
        time.sleep(0.02)
        return backprop.gradient(net, params, x, y)

    options = {**SETTING, "rule": slow, "epochs": 1}
    options.pop("inference_steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_update", Stop(train._update, 2))
        with pytest.raises(pc.Interrupted):
            pc.fit(NET, PARAMS, (X, Y), checkpoint=tmp_path / "run.npz", **options)
    _, history = pc.fit(NET, PARAMS, (X, Y), resume=tmp_path / "run.npz", **options)
    assert history["seconds"][0] > 0.06
