"""Optimisers, schedules and their wrappers: each refusal names the option; most come before any work, at construction."""

import numpy as np
import pytest

import minipc as pc
from inputs.setting import PARAMS, train

POSITIVE = "must be positive and finite, got"
SHARE = r"must lie in \[0, 1\), got"
RATE = r"learning_rate must be a number or a schedule such as minipc\.Cosine"
STEP = pc.SGD(0.1)


def updates(rule, params=PARAMS, state="init"):
    """One update of ``rule``."""
    return rule.step(params, params, rule.init(params) if state == "init" else state)


NUMBERS = {
    "SGD 0": (lambda: pc.SGD(0), ValueError, f"learning_rate {POSITIVE} 0"),
    "SGD negative": (lambda: pc.SGD(-0.1), ValueError, f"learning_rate {POSITIVE} -0.1"),
    "SGD NaN": (lambda: pc.SGD(np.nan), ValueError, f"learning_rate {POSITIVE} nan"),
    "SGD infinite": (lambda: pc.SGD(np.inf), ValueError, f"learning_rate {POSITIVE} inf"),
    "SGD text": (lambda: pc.SGD("0.1"), TypeError, f"{RATE}.*got '0.1'"),
    "SGD True": (lambda: pc.SGD(True), TypeError, f"{RATE}.*got True"),
    "SGD None": (lambda: pc.SGD(None), TypeError, f"{RATE}.*got None"),
    "SGD an array": (lambda: pc.SGD(np.array([0.1, 0.2])), TypeError, f"{RATE}.*got array"),
    "momentum 1": (lambda: pc.SGD(0.1, momentum=1), ValueError, f"momentum {SHARE} 1"),
    "momentum negative": (lambda: pc.SGD(0.1, momentum=-0.5), ValueError, f"momentum {SHARE} -0.5"),
    "momentum NaN": (lambda: pc.SGD(0.1, momentum=np.nan), ValueError, f"momentum {SHARE} nan"),
    "momentum text": (lambda: pc.SGD(0.1, "0.9"), TypeError, "momentum must be a number, got '0.9'"),
    "nesterov without momentum": (
        lambda: pc.SGD(0.1, nesterov=True),
        ValueError,
        "nesterov needs a momentum above 0, got momentum = 0",
    ),
    "nesterov a number": (
        lambda: pc.SGD(0.1, 0.9, nesterov=1),
        TypeError,
        "nesterov must be True or False, got 1",
    ),
    "decay of the weights negative": (
        lambda: pc.SGD(0.1, weight_decay=-1e-4),
        ValueError,
        "weight_decay must be finite and at least 0, got -0.0001",
    ),
    "decay of the weights NaN": (
        lambda: pc.Adam(weight_decay=np.nan),
        ValueError,
        "weight_decay must be finite and at least 0, got nan",
    ),
    "decay of the weights infinite": (
        lambda: pc.AdamW(weight_decay=np.inf),
        ValueError,
        "weight_decay must be finite and at least 0, got inf",
    ),
    "decay of the weights None": (
        lambda: pc.RMSprop(weight_decay=None),
        TypeError,
        "weight_decay must be a number, got None",
    ),
    "RMSprop learning_rate": (lambda: pc.RMSprop(0.0), ValueError, f"learning_rate {POSITIVE} 0.0"),
    "RMSprop decay 1": (lambda: pc.RMSprop(decay=1.0), ValueError, f"decay {SHARE} 1.0"),
    "RMSprop eps": (lambda: pc.RMSprop(eps=0), ValueError, f"eps {POSITIVE} 0"),
    "Adam learning_rate": (lambda: pc.Adam(0.0), ValueError, f"learning_rate {POSITIVE} 0.0"),
    "Adam b1": (lambda: pc.Adam(b1=1.0), ValueError, f"b1 {SHARE} 1.0"),
    "Adam b2": (lambda: pc.Adam(b2=-0.1), ValueError, f"b2 {SHARE} -0.1"),
    "Adam b1 text": (lambda: pc.Adam(b1="0.9"), TypeError, "b1 must be a number, got '0.9'"),
    "Adam eps": (lambda: pc.Adam(eps=0), ValueError, f"eps {POSITIVE} 0"),
    "AdamW b2": (lambda: pc.AdamW(b2=1), ValueError, f"b2 {SHARE} 1"),
    "AdamW eps": (lambda: pc.AdamW(eps=-1e-8), ValueError, f"eps {POSITIVE} -1e-08"),
    "AdamW learning_rate": (lambda: pc.AdamW("fast"), TypeError, f"{RATE}.*got 'fast'"),
}

SCHEDULES = {
    "a class": (lambda: pc.Adam(pc.Cosine), TypeError, f"{RATE}.*got <class 'minipc.schedules.Cosine'>"),
    "peak 0": (lambda: pc.WarmUp(0, 5), ValueError, f"peak {POSITIVE} 0"),
    "peak text": (lambda: pc.Cosine("0.1", 5), TypeError, "peak must be a number, got '0.1'"),
    "warm-up of no update": (lambda: pc.WarmUp(0.1, 0), ValueError, "warm_up must be at least 1, got 0"),
    "warm-up a share": (lambda: pc.WarmUp(0.1, 0.1), TypeError, "warm_up must be an integer, got 0.1"),
    "warm-up negative": (
        lambda: pc.Cosine(0.1, 5, warm_up=-1),
        ValueError,
        "warm_up must not be negative, got -1",
    ),
    "warm-up longer than all": (
        lambda: pc.Cosine(0.1, 5, warm_up=6),
        ValueError,
        "warm_up must be below steps = 5, got 6",
    ),
    "warm-up as long as all": (
        lambda: pc.Cosine(0.1, 5, warm_up=5),
        ValueError,
        "warm_up must be below steps = 5, got 5",
    ),
    "no step": (lambda: pc.Cosine(0.1, 0), ValueError, "steps must be at least 1, got 0"),
    "steps a float": (lambda: pc.Cosine(0.1, 1e3), TypeError, "steps must be an integer, got 1000.0"),
    "final above the peak": (
        lambda: pc.Cosine(0.1, 5, final=0.2),
        ValueError,
        "final must lie between 0 and 0.1, got 0.2",
    ),
    "final negative": (lambda: pc.Cosine(0.1, 5, final=-0.1), ValueError, "final must lie between 0 and 0.1"),
    "final NaN": (lambda: pc.Cosine(0.1, 5, final=np.nan), ValueError, "final must lie between 0 and 0.1"),
    "factor above 1": (
        lambda: pc.StepDecay(0.1, 10, 5),
        ValueError,
        "factor must lie between 0 and 1, got 10",
    ),
    "factor 0": (lambda: pc.StepDecay(0.1, 0, 5), ValueError, f"factor {POSITIVE} 0"),
    "every 0": (lambda: pc.StepDecay(0.1, 0.5, 0), ValueError, "every must be at least 1, got 0"),
    "start infinite": (lambda: pc.StepDecay(np.inf, 0.5, 5), ValueError, f"start {POSITIVE} inf"),
    "steps with a bad warm-up": (
        lambda: pc.StepDecay(0.1, 0.5, 5, warm_up=True),
        TypeError,
        "warm_up must be an integer, got True",
    ),
    "a function that gives a negative rate": (
        lambda: updates(pc.SGD(lambda t: t - 1)),
        ValueError,
        "learning_rate must be finite and not negative, got -1 for t = 0",
    ),
    "a function that gives NaN": (
        lambda: updates(pc.Adam(lambda t: np.nan)),
        ValueError,
        "learning_rate must be .*got nan for t = 0",
    ),
    "a function that gives nothing": (
        lambda: updates(pc.AdamW(lambda t: None)),
        ValueError,
        "learning_rate must be .*got None for t = 0",
    ),
}

WRAPPERS = {
    "norm 0": (lambda: pc.Clip(STEP, 0), ValueError, f"norm {POSITIVE} 0"),
    "norm negative": (lambda: pc.Clip(STEP, -1.0), ValueError, f"norm {POSITIVE} -1.0"),
    "norm infinite": (lambda: pc.Clip(STEP, np.inf), ValueError, f"norm {POSITIVE} inf"),
    "norm None": (lambda: pc.Clip(STEP, None), TypeError, "norm must be a number, got None"),
    "clip a class": (
        lambda: pc.Clip(pc.Adam, 1.0),
        TypeError,
        r"optimizer must be one such as minipc\.SGD\(1e-3\), got <class",
    ),
    "clip a number": (lambda: pc.Clip(0.1, 1.0), TypeError, "optimizer must be .*got 0.1"),
    "clip nothing": (lambda: pc.Clip(None, 1.0), TypeError, "optimizer must be .*got None"),
    "clip a schedule": (lambda: pc.Clip(pc.WarmUp(0.1, 5), 1.0), TypeError, "optimizer must be .*got WarmUp"),
    "groups a list": (
        lambda: pc.ByBlock([STEP, None], STEP),
        TypeError,
        "blocks must be a dict, block number -> optimiser, got",
    ),
    "block 0": (
        lambda: pc.ByBlock({0: STEP}, STEP),
        ValueError,
        "a block number must be at least 1, got 0",
    ),
    "a block by name": (
        lambda: pc.ByBlock({"W": STEP}, STEP),
        TypeError,
        "a block number must be an integer, got 'W'",
    ),
    "a block with a number": (
        lambda: pc.ByBlock({2: 0.1}, STEP),
        TypeError,
        r"blocks\[2\] must be one such as .*got 0.1",
    ),
    "a block with a class": (
        lambda: pc.ByBlock({2: pc.SGD}, STEP),
        TypeError,
        r"blocks\[2\] must be one such as .*got <class",
    ),
    "otherwise a number": (
        lambda: pc.ByBlock({2: STEP}, 0.1),
        TypeError,
        "otherwise must be one such as .*got 0.1",
    ),
    "a block that does not exist": (
        lambda: pc.ByBlock({2: STEP, 4: None}, STEP).init(PARAMS),
        ValueError,
        "there is no block 4: params has 3 blocks, counted from 1 to 3",
    ),
    "a block that does not exist, in fit": (
        lambda: train(optimizer=pc.Clip(pc.ByBlock({4: None}, STEP), 1.0)),
        ValueError,
        "there is no block 4",
    ),
}

STATES = {
    "none for Adam": (
        lambda: updates(pc.Adam(), state=None),
        TypeError,
        r"state must be what init\(params\) or the last step returned, AdamState; got NoneType",
    ),
    "Adam's for RMSprop": (
        lambda: updates(pc.RMSprop(), state=pc.Adam().init(PARAMS)),
        TypeError,
        "RMSpropState; got AdamState",
    ),
    "Adam's for SGD": (
        lambda: updates(STEP, state=pc.Adam().init(PARAMS)),
        TypeError,
        "SGDState; got AdamState",
    ),
    "RMSprop's for AdamW": (
        lambda: updates(pc.AdamW(), state=pc.RMSprop().init(PARAMS)),
        TypeError,
        "AdamState; got RMSpropState",
    ),
    "a single one for groups": (
        lambda: updates(pc.ByBlock({1: None}, STEP), state=STEP.init(PARAMS)),
        TypeError,
        "list; got SGDState",
    ),
}

CASES = [
    pytest.param(*case, id=name)
    for table in (NUMBERS, SCHEDULES, WRAPPERS, STATES)
    for name, case in table.items()
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_bad_input_is_refused(call, error, message, no_work):
    """Rates, shares, counts, classes in the place of instances, blocks that are not there, states of another."""
    with pytest.raises(error, match=message):
        call()


ACCEPTED = {
    "numbers of NumPy": lambda: updates(
        pc.Adam(np.float32(0.1), b1=np.float32(0.5), weight_decay=np.float64(0))
    ),
    "an integer as a rate": lambda: updates(pc.SGD(1)),
    "a rate of zero in a schedule": lambda: updates(pc.SGD(lambda t: 0)),
    "no memory": lambda: updates(pc.Adam(b1=0, b2=0)),
    "final as high as the peak": lambda: pc.Cosine(0.1, 5, final=0.1)(5),
    "a factor of 1": lambda: pc.StepDecay(0.1, 1, 5)(5),
    "counts of NumPy": lambda: pc.Cosine(0.1, np.int64(5), warm_up=np.int32(1))(3),
    "no groups": lambda: updates(pc.ByBlock({}, STEP)),
    "everything frozen": lambda: updates(pc.ByBlock({}, None)),
    "wrappers in wrappers": lambda: updates(pc.Clip(pc.ByBlock({1: pc.Clip(STEP, 1)}, pc.Clip(STEP, 2)), 3)),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_right_is_accepted(name):
    """The checks refuse no more than they must."""
    assert ACCEPTED[name]() is not None
