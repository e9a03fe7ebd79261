"""The loop: which samples, one division, the history, what is handed on, and when it stops."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.checks import assert_same, read_only

import minipc as pc
from minipc import backprop, epc, spc
from training.problem import NET, PARAMS, RULES, Spy, X, Y, flat, train

SMALL = 1e-300  # a learning rate that changes nothing


@pytest.mark.parametrize("rule", RULES)
def test_a_seed_makes_the_run(rule):
    """The same numbers bit by bit; another seed, another order, other numbers."""
    first, again, generator = (
        flat(train(RULES[rule], seed=seed)[0]) for seed in (1, 1, np.random.default_rng(1))
    )
    assert np.array_equal(first, again)
    assert np.array_equal(first, generator)
    assert not np.array_equal(first, flat(train(RULES[rule], seed=2)[0]))


def test_the_global_random_state_is_left_alone():
    """Randomness enters as a seed or a generator."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - looked at, not used
    train(spc.gradient)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002 - looked at, not used


@pytest.mark.parametrize("optimizer", [pc.SGD(0.1), pc.Adam(0.1)])
def test_arguments_are_not_modified(optimizer):
    """Read-only parameters and data go through, and stay what they were."""
    params, x, y = NET.init(seed=3), X.copy(), Y.copy()
    read_only([params, x, y])
    new, _ = train(epc.gradient, params, (x, y), optimizer=optimizer, validation=(x, y))
    assert not np.array_equal(flat(new), flat(params))
    assert np.array_equal(flat(params), flat(PARAMS))


@pytest.mark.parametrize("rule", RULES)
def test_one_update_is_one_step_on_the_gradient_divided_by_the_batch_size(rule):
    """One batch, one epoch: params - eta * (sum of the samples' gradients) / B."""
    new, _ = train(RULES[rule], epochs=1, batch_size=5)
    grads = RULES[rule](NET, PARAMS, X, Y).grads
    expected = [{k: p[k] - 0.1 * g[k] / 5 for k in p} for p, g in zip(PARAMS, grads, strict=True)]
    assert_same(new, expected, rtol=1e-13)


def test_every_sample_is_seen_once_an_epoch_and_the_last_batch_is_smaller():
    """5 samples, 2 a batch: 2, 2, 1, in an order that is drawn anew."""
    spy = Spy()
    train(spy, epochs=2)
    assert [len(x) for _, x, _, _ in spy.calls] == [2, 2, 1] * 2
    orders = [np.concatenate([x for _, x, _, _ in spy.calls[i : i + 3]]) for i in (0, 3)]
    assert all(np.array_equal(np.sort(order, axis=0), np.sort(X, axis=0)) for order in orders)
    assert not np.array_equal(*orders)
    for _, x, y, _ in spy.calls:
        rows = [int(np.flatnonzero((X == row).all(axis=1))[0]) for row in x]
        assert np.array_equal(y, Y[rows])  # a sample keeps its label


def test_every_batch_is_divided_by_its_own_size():
    """The run again by hand, from the batches that the rule was given."""
    spy = Spy()
    new, _ = train(spy, epochs=2)
    params = PARAMS
    for seen, x, y, _ in spy.calls:
        assert np.array_equal(flat(seen), flat(params))
        grads = backprop.gradient(NET, params, x, y).grads
        params = [{k: p[k] - 0.1 * (g[k] / len(x)) for k in p} for p, g in zip(params, grads, strict=True)]
    assert np.array_equal(flat(new), flat(params))


def test_a_batch_may_be_larger_than_the_data():
    """It is then all of the data."""
    spy = Spy()
    train(spy, epochs=1, batch_size=64)
    assert [len(x) for _, x, _, _ in spy.calls] == [5]


HISTORIES = {
    "backprop": (backprop.gradient, NET, Y, False, {"loss", "seconds"}),
    "backprop, validation": (
        backprop.gradient,
        NET,
        Y,
        True,
        {"loss", "seconds", "validation_loss", "validation_accuracy"},
    ),
    "spc": (spc.gradient, NET, Y, False, {"loss", "energy", "seconds"}),
    "epc, mse, validation": (
        epc.gradient,
        pc.Network(NET.blocks, loss="mse"),
        np.eye(3)[Y],
        True,
        {"loss", "energy", "seconds", "validation_loss"},
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_history_has_the_promised_entries(name):
    """One finite number an epoch each; seconds are positive; an accuracy only where there are classes."""
    rule, net, y, validate, keys = HISTORIES[name]
    options = {"rule": rule, "optimizer": pc.SGD(0.01), "epochs": 3, "batch_size": 2, "progress": False}
    _, history = pc.fit(net, PARAMS, (X, y), validation=(X, y) if validate else None, **options)
    assert history.keys() == keys
    assert all(values.shape == (3,) and np.isfinite(values).all() for values in history.values())
    assert (history["seconds"] > 0).all()


def test_loss_and_energy_of_an_epoch_are_means_over_its_samples():
    """Of samples, not of batches: the last batch is smaller. Before each update, so here at the start."""
    _, history = train(epc.gradient, optimizer=pc.SGD(SMALL), epochs=1)
    g = epc.gradient(NET, PARAMS, X, Y)
    assert_same(history["loss"], np.array([g.loss.mean()]), rtol=1e-14)
    assert_same(history["energy"], np.array([g.energy.mean()]), rtol=1e-14)
    assert g.energy.mean() < g.loss.mean()


def test_validation_is_measured_after_the_epoch():
    """With the new parameters, on the validation set."""
    x, y = X[:3] + 0.5, Y[:3]
    new, history = train(epochs=1, validation=(x, y))
    assert_same(
        history["validation_loss"], np.array([backprop.gradient(NET, new, x, y).loss.mean()]), rtol=1e-14
    )
    assert history["validation_accuracy"][0] == pc.accuracy(NET, new, x, y)
    assert history["validation_loss"][0] != backprop.gradient(NET, PARAMS, x, y).loss.mean()


def test_accuracy_counts_the_largest_outputs():
    """Three of four right, for labels and for rows; an identity network makes the outputs plain."""
    net = pc.Network([pc.Dense(3, 3)], loss="cross_entropy")
    params = [{"W": np.eye(3), "b": np.zeros(3)}]
    x, labels = np.array([[1.0, 0, 0], [0, 2, 1], [0, 1, 3], [5, 4, 0]]), np.array([0, 1, 2, 1])
    assert pc.accuracy(net, params, x, labels) == 0.75
    assert pc.accuracy(net, params, x, np.eye(3)[labels]) == 0.75
    assert isinstance(pc.accuracy(net, params, x, labels), float)


def test_options_are_handed_to_the_rule():
    """All of them, to every batch."""
    spy, options = Spy(), {"inference_steps": 3, "step_size": 0.2, "precision": [None, 2.0, None]}
    train(spy, epochs=1, **options)
    assert [handed for *_, handed in spy.calls] == [options] * 3


def test_an_option_reaches_inference():
    """Without inference the hidden layers have no error and learn nothing; with it they do."""
    still, _ = train(spc.gradient, inference_steps=0)
    moved, _ = train(spc.gradient, inference_steps=2)
    for l, kept in enumerate([True, True, False]):
        assert np.array_equal(still[l]["W"], PARAMS[l]["W"]) == kept
        assert not np.array_equal(moved[l]["W"], PARAMS[l]["W"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_parameters_keep_their_dtype(dtype):
    """Whatever the dtype of the data."""
    new, _ = train(spc.gradient, NET.init(seed=3, dtype=dtype), optimizer=pc.Adam(0.01))
    assert {value.dtype for p in new for value in p.values()} == {np.dtype(dtype)}


# ------------------------------------------------------------------------------ stopping


@pytest.mark.parametrize("rule", RULES)
def test_a_parameter_of_nan_stops_training_by_name(rule):
    """Before anything is learnt from it."""
    params = [PARAMS[0], {**PARAMS[1], "W": PARAMS[1]["W"] * np.nan}, PARAMS[2]]
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match=r"parameter W\[2\] of block 2 \(gelu"),
    ):
        train(RULES[rule], params)


@pytest.mark.parametrize("rule", RULES)
def test_a_huge_learning_rate_stops_training_and_says_when_and_where(rule):
    """The first step throws the parameters out of range; the second batch notices."""
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"epoch 1, batch 2.*block \d"):
        train(RULES[rule], optimizer=pc.SGD(1e308))


def test_a_gradient_that_is_not_finite_stops_training_by_name():
    """Also if the loss is finite and the rule itself noticed nothing."""

    def rule(net, params, x, y):
        g = backprop.gradient(net, params, x, y)
        g.grads[1]["b"][0] = np.inf
        return g

    with pytest.raises(FloatingPointError, match=r"epoch 1, batch 1.*gradient of b\[2\] of block 2 \(gelu"):
        train(rule)


def test_a_loss_that_is_not_finite_stops_training_by_name():
    """Of a rule that does not look for itself."""

    def rule(net, params, x, y):
        return backprop.gradient(net, params, x, y)._replace(loss=np.full(len(x), np.nan))

    with pytest.raises(FloatingPointError, match=r"epoch 1, batch 1.*every block's output is finite"):
        train(rule)


# ------------------------------------------------------------------------------ the progress bar


class Bar:
    """In place of tqdm: counts updates."""

    made = None

    def __init__(self, total, **_):
        type(self).made, self.total, self.updates, self.shown = self, total, 0, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        self.updates += 1

    def set_postfix(self, numbers):
        self.shown.append(numbers)


def test_the_bar_counts_batches_and_shows_the_history(monkeypatch):
    """One update a batch, one line of numbers an epoch."""
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    _, history = train(epochs=2, progress=True)
    assert (Bar.made.total, Bar.made.updates) == (6, 6)
    assert [numbers["loss"] for numbers in Bar.made.shown] == [f"{loss:.4g}" for loss in history["loss"]]


def test_no_bar_if_none_is_wanted(monkeypatch, capfd):
    """tqdm is not even asked for, and nothing is printed."""
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace())  # without a tqdm in it
    train(progress=False)
    assert capfd.readouterr() == ("", "")


def test_training_runs_without_tqdm(monkeypatch, capfd):
    """The same numbers, in silence."""
    monkeypatch.setitem(sys.modules, "tqdm", None)  # an import then fails
    assert np.array_equal(flat(train(progress=True)[0]), flat(train(progress=False)[0]))
    assert capfd.readouterr() == ("", "")


def test_training_runs_with_the_real_tqdm(capfd):
    """The calls fit it; the bar is for the terminal alone."""
    pytest.importorskip("tqdm")
    train(progress=True)
    assert capfd.readouterr().out == ""
