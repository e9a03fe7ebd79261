"""Every rule learns real digits, far above chance, within a few epochs."""

import math

import numpy as np
import pytest

import minipc as pc
from training.problem import RULES

CHANCE_LOSS, CHANCE_ACCURACY = math.log(10), 0.1  # ten classes, about equally frequent


@pytest.fixture(scope="module")
def digits():
    """The data in float32, as a student would take it."""
    return pc.data.digits("float32")


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_learns_the_digits(rule, digits):
    """From chance to less than a fifth of its loss and eight times its accuracy on unseen writers; the loss falls."""
    net = pc.Network(
        [pc.Dense(64, 48, "tanh"), pc.Dense(48, 32, "tanh"), pc.Dense(32, 10)], loss="cross_entropy"
    )
    params = net.init(seed=0, dtype="float32")
    assert pc.accuracy(net, params, digits.x_test, digits.y_test) < 2.5 * CHANCE_ACCURACY
    _, history = pc.fit(
        net,
        params,
        (digits.x_train, digits.y_train),
        rule=RULES[rule],
        optimizer=pc.Adam(3e-3),
        epochs=5,
        validation=(digits.x_test, digits.y_test),
        progress=False,
    )
    assert (np.diff(history["loss"]) < 0).all()
    assert history["loss"][-1] < CHANCE_LOSS / 5
    assert history["validation_accuracy"][-1] > 8 * CHANCE_ACCURACY
    if rule != "backprop":
        assert (history["energy"] < history["loss"]).all()
