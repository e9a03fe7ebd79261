"""Which degenerate problem hides which mistake: why the problems of this suite look as they do.

Every configuration changes one thing of the four square problems, on which every mistake shows.
"""

import pytest
from helpers.battery import SQUARE, battery_error, fixed

from minipc import mistakes, spc
from minipc.verify import network

HIDDEN_BY = {
    "one sample": {
        "the weight gradient is a batch mean, not a sum",
        "the bias gradient is a batch mean, not a sum",
        "the energy is a batch mean during inference",
        "the gradient is not divided by the batch size",
    },
    "symmetric weights": {"W is not transposed"},
    "linear activation": {
        "phi' is missing (post form)",
        "phi' is missing (pre form)",
        "phi' sits one layer off, before W instead of after it (pre form)",
        "phi' is missing in the weight gradient",
        "the presynaptic activity went through phi",
        "the presynaptic activity did not go through phi (pre form)",
        "the derivative is taken at the prediction, not at the state",
    },
    "states of a forward pass": {
        "the precision is missing in the bottom-up term",
        "the derivative is taken at the prediction, not at the state",
        "the energy lacks the factor 1/2",
        "the error is not added to the state",
        "e enters the recursion of d",
        "the precision is missing in front of e",
    },
    "unit precision": {
        "the precision is inverted",
        "the precision is missing in the weight gradient",
        "the precision is missing in the bottom-up term",
        "the precision is missing in the top-down term",
        "the precision is missing in front of e",
    },
    "target that is met": {
        "the output delta has the wrong sign",
        "the output error is not penalised",
        "the output error is counted twice",
        "the output error is counted twice in the energy",
    },
    "one hidden layer": {
        "the layers move one after the other, not at once",
        "e enters the recursion of d",
    },
    "no biases": set(),
}


def symmetric(p):
    """Weights equal to their transposes."""
    return p._replace(params=[{**q, "W": q["W"] + q["W"].T} for q in p.params])


def at_rest(p):
    """States of the forward pass, errors zero."""
    return p._replace(s=spc.feedforward(network(p), p.params, p.x), e=[None, *(0 * v for v in p.e[1:])])


def met(p):
    """States whose prediction of the output is the target: then nothing comes down from it."""
    return at_rest(p)._replace(y=network(p).forward(p.params, p.x), loss="mse", precision=None)


def unbiased(p):
    """All biases zero, as they are before training."""
    return p._replace(params=[{**q, "b": 0 * q["b"]} for q in p.params])


CONFIGURATIONS = {
    "one sample": fixed((4, 4, 4, 4, 4), B=1),
    "symmetric weights": [symmetric(p) for p in SQUARE],
    "linear activation": fixed((4, 4, 4, 4, 4), activation="identity"),
    "states of a forward pass": [at_rest(p) for p in SQUARE],
    "unit precision": fixed((4, 4, 4, 4, 4), precision=False),
    "target that is met": [met(p) for p in SQUARE],
    "one hidden layer": fixed((4, 4, 4)),
    "no biases": [unbiased(p) for p in SQUARE],
}


def hidden(problems):
    """The mistakes that the check of their own equation does not see on these problems."""
    return {
        name
        for name, mistake in mistakes.MISTAKES.items()
        if battery_error(mistakes.load(name), mistake.equation, problems) < 1e-12
    }


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_degenerate_problem_hides_mistakes(name):
    """Those listed; a set of problems that had to stand in for the good ones would let them through."""
    found = hidden(CONFIGURATIONS[name])
    assert found >= HIDDEN_BY[name]
    assert bool(found) == bool(HIDDEN_BY[name])


def test_the_good_problems_hide_nothing():
    """Every mistake of the table shows, in the check of its own equation."""
    assert hidden(SQUARE) == set()


def test_every_configuration_and_every_name_is_known():
    """The table speaks of mistakes that exist."""
    assert HIDDEN_BY.keys() == CONFIGURATIONS.keys()
    assert set.union(*HIDDEN_BY.values()) <= mistakes.MISTAKES.keys()
