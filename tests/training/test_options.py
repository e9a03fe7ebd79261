"""What fit offers beside the loop itself: rules by name, metrics, early stopping, callbacks, several rules' options."""

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc
from minipc import backprop, variants
from minipc.rules import IN_TIME
from training.problem import NET, PARAMS, RNG, Spy, flat, train

X_NEW, Y_NEW = RNG.standard_normal((7, 4)), np.array([0, 1, 2, 2, 1, 0, 2])
OPTIONS = {"nudged": {"beta": 0.1}, "centred": {"beta": 0.1}, "target_interpolation": {"beta": 0.1}}


@pytest.mark.parametrize("name", [name for name in pc.RULES if name not in ("incremental", *IN_TIME)])
def test_a_rule_by_name_is_the_function(name):
    """The same parameters, bit by bit, and not those that came in; the others: below, and in test_sequences."""
    options = OPTIONS.get(name, {})
    by_name, by_function = (train(rule, **options)[0] for rule in (name, pc.RULES[name]))
    assert np.array_equal(flat(by_name), flat(by_function))
    assert not np.array_equal(flat(by_name), flat(PARAMS))


def test_names_and_functions_of_the_rules_agree():
    """A name is that of the function, or of its module; the two that are short for more are in the list."""
    short = {"tbptt": pc.bptt.truncated, "checkpointed_bptt": pc.bptt.checkpointed}
    for name, rule in pc.RULES.items():
        assert rule is short.get(name, rule)
        assert name in short or name in (rule.__name__, rule.__module__.rpartition(".")[2])


def test_incremental_predictive_coding_trains_with_its_own_updates():
    """As its own loop of three lines does: the state of the optimiser goes through all N updates of a batch."""
    spy, adam = Spy(), pc.Adam(0.01)
    train(spy, optimizer=adam)
    params, state = PARAMS, adam.init(PARAMS)
    for _, x, y, _ in spy.calls:
        params, state, _ = variants.incremental(
            NET, params, x, y, optimizer=adam, state=state, inference_steps=3
        )
    trained, history = train("incremental", optimizer=adam, inference_steps=3)
    assert np.array_equal(flat(trained), flat(params))
    assert state.t == 3 * len(spy.calls)
    assert history.keys() == {"loss", "energy", "seconds"}


def hits(out, target):
    """Log-probability of the target: a measure of one's own."""
    return (target * (out - np.log(np.exp(out).sum(axis=1, keepdims=True)))).sum(axis=1)


def test_metrics_are_means_over_the_samples_of_the_validation_set():
    """Names and functions side by side; the function's name is in the history."""
    trained, history = train(
        validation=(X_NEW, Y_NEW), metrics=["accuracy", "absolute_error", hits], epochs=1
    )
    out, rows = NET.forward(trained, X_NEW), np.eye(3)[Y_NEW]
    assert history.keys() == {"loss", "seconds"} | {
        f"validation_{name}" for name in ("loss", "accuracy", "absolute_error", "hits")
    }
    expected = {
        "accuracy": sum(int(row.argmax() == label) for row, label in zip(out, Y_NEW, strict=True)) / 7,
        "absolute_error": sum(abs(a - b) for a, b in zip(out.ravel(), rows.ravel(), strict=True)) / 21,
        "hits": -history["validation_loss"][0],
    }
    for name, value in expected.items():
        assert abs(history[f"validation_{name}"][0] - value) < 1e-14


def test_binary_accuracy_counts_the_outputs_on_the_right_side():
    """Five of six, logits against 0 and 1."""
    net = pc.Network([pc.Dense(2, 2)], loss="binary_cross_entropy")
    params = [{"W": np.eye(2), "b": np.zeros(2)}]
    x, y = np.array([[1.0, -2], [0.5, 3], [-1, -0.1]]), np.array([[1.0, 0], [1, 0], [0, 0]])
    assert pc.evaluate(net, params, (x, y), ["binary_accuracy"])["binary_accuracy"] == pytest.approx(
        5 / 6, rel=1e-15
    )


@pytest.mark.parametrize("N", [1, 999, 1000, 1001, 2500])
def test_evaluation_in_parts_is_that_of_the_whole(N):
    """Whatever the number of samples is beside the 1,000 of one pass."""
    x, y = np.random.default_rng(0).standard_normal((N, 4)), np.arange(N) % 3
    found = pc.evaluate(NET, PARAMS, (x, y))
    out = NET.forward(PARAMS, x)
    assert abs(found["loss"] - NET.loss.value(out, np.eye(3)[y]).mean()) < 1e-13
    assert found["accuracy"] == (out.argmax(axis=1) == y).mean()
    assert pc.accuracy(NET, PARAMS, x, y) == found["accuracy"]


# ------------------------------------------------------------------------------ early stopping

CURVES = {  # values, patience, min_delta: best epoch and the number of epochs after which it stops (None: it does not)
    "falls": ([5, 4, 3, 2], 2, 0.0, 3, None),
    "rises": ([1, 2, 3, 4], 2, 0.0, 0, 3),
    "a dip": ([3, 2, 4, 1, 5, 5], 2, 0.0, 3, 6),
    "equal values are no improvement": ([2, 2, 2], 2, 0.0, 0, 3),
    "small steps are none": ([2, 1.95, 1.9, 1.85], 2, 0.2, 0, 3),
    "small steps add up": ([2, 1.9, 1.7, 1.7, 1.7], 2, 0.2, 2, 5),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("monitor", ["validation_loss", "validation_accuracy"])
def test_the_best_epoch_and_the_end(name, monitor):
    """Small losses are good, large accuracies are."""
    values, patience, min_delta, best, stop = CURVES[name]
    sign = -1 if monitor.endswith("accuracy") else 1
    rule = pc.EarlyStopping(monitor, patience, min_delta)
    assert rule.best({monitor: [sign * v for v in values]}) == best
    stops = [n for n in range(len(values) + 1) if rule.stops({monitor: [sign * v for v in values[:n]]})]
    assert (stops[0] if stops else None) == stop


def test_early_stopping_ends_the_run_and_returns_the_best_parameters():
    """A learning rate that makes it worse: the run stops two epochs after the best one, whose parameters come back."""
    seen = []
    options = {"optimizer": pc.SGD(6.0), "epochs": 12, "validation": (X_NEW, Y_NEW), "seed": 1}
    stopped, history = train(
        early_stopping=pc.EarlyStopping(patience=2), callbacks=[lambda *now: seen.append(now)], **options
    )
    best = int(history["validation_loss"].argmin())
    assert len(history["loss"]) == best + 3 < 12
    assert np.array_equal(flat(stopped), flat(seen[best][1]))
    assert not np.array_equal(flat(stopped), flat(seen[-1][1]))
    assert pc.evaluate(NET, stopped, (X_NEW, Y_NEW))["loss"] == history["validation_loss"][best]
    all_of_it, whole = train(**options)
    assert np.array_equal(whole["loss"][: best + 3], history["loss"])
    assert not np.array_equal(flat(all_of_it), flat(stopped))


def test_the_best_parameters_come_back_also_if_the_run_does_not_stop():
    """Patience without end."""
    options = {"optimizer": pc.SGD(6.0), "epochs": 4, "validation": (X_NEW, Y_NEW), "seed": 1}
    params, history = train(early_stopping=pc.EarlyStopping(patience=100), **options)
    assert len(history["loss"]) == 4
    assert history["validation_loss"].argmin() < 3
    assert pc.evaluate(NET, params, (X_NEW, Y_NEW))["loss"] == history["validation_loss"].min()


# ------------------------------------------------------------------------------ callbacks


def test_callbacks_see_every_epoch_and_may_stop_the_run():
    """All of them are called; one True is enough; the second run is the first one, cut off."""
    seen = []

    def watch(epoch, params, history):
        seen.append((epoch, flat(params), {name: values.tolist() for name, values in history.items()}))

    def stop(epoch, params, history):
        return epoch == 2

    stopped, history = train(epochs=5, callbacks=[stop, watch])
    assert [epoch for epoch, *_ in seen] == [1, 2]
    assert np.array_equal(seen[-1][1], flat(stopped))
    assert seen[-1][2]["loss"] == history["loss"].tolist()
    assert len(seen[0][2]["loss"]) == 1
    assert np.array_equal(flat(stopped), flat(train(epochs=2)[0]))


def test_a_rule_may_have_options_that_are_its_own():
    """Named ones are checked before work starts, ``**options`` are not."""

    def rule(net, params, x, y, *, factor):
        g = backprop.gradient(net, params, x, y)
        return g._replace(grads=[{k: factor * v for k, v in p.items()} for p in g.grads])

    assert_same(train(rule, factor=2.0)[0], train(rule, factor=1.0, optimizer=pc.SGD(0.2))[0], rtol=1e-12)


def test_a_validation_loss_that_is_not_finite_is_named_in_a_graph_too():
    """A Dag has no chain to walk: its nodes are asked in turn."""
    net = pc.Dag([pc.Dense(2, 3), pc.Dense(5, 4), pc.Dense(7, 1)], [(0,), (0, 1), (1, 2)])
    params = [{**p, "W": 1e200 * p["W"]} for p in net.init(seed=0)]
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="output of block 2"):
        pc.evaluate(net, params, (np.ones((2, 2)), np.ones((2, 1))))
