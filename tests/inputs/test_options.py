"""Hyper-parameters: numbers, words, precisions, the loop; each refusal names the option, before any work."""

import numpy as np
import pytest

import minipc as pc
from inputs.setting import CLASSES, LABELS, NET, PARAMS, ROWS, SWITCHES, E, X, Y, errors, states, train
from minipc import epc, spc

POSITIVE = "must be positive and finite, got"


def Pi(first=None, second=None, third=None):
    """sPC with precisions of the three layers."""
    return states([first, second, third])


STEPS = {
    "step_size 0": (lambda: states(step_size=0), ValueError, f"step_size {POSITIVE} 0"),
    "step_size negative": (lambda: states(step_size=-0.1), ValueError, f"step_size {POSITIVE} -0.1"),
    "step_size NaN": (lambda: states(step_size=np.nan), ValueError, f"step_size {POSITIVE} nan"),
    "step_size infinite": (lambda: errors(step_size=np.inf), ValueError, f"step_size {POSITIVE} inf"),
    "step_size bool": (lambda: states(step_size=True), TypeError, "step_size must be a number, got True"),
    "step_size None": (lambda: states(step_size=None), TypeError, "step_size must be a number, got None"),
    "step_size complex": (lambda: states(step_size=0.1j), TypeError, "step_size must be a number, got 0.1j"),
    "step_size an array": (
        lambda: errors(step_size=np.ones(2)),
        TypeError,
        "step_size must be a number, got array",
    ),
    "a word for sPC": (
        lambda: states(step_size="adaptive"),
        ValueError,
        "step_size must be a positive number; got 'adaptive'",
    ),
    "an unknown word": (
        lambda: errors(step_size="adaptiv"),
        ValueError,
        'step_size must be a positive number or "adaptive" or "power"; got \'adaptiv\'',
    ),
    "inference_steps negative": (
        lambda: states(inference_steps=-1),
        ValueError,
        "inference_steps must not be negative, got -1",
    ),
    "inference_steps float": (
        lambda: errors(inference_steps=3.0),
        TypeError,
        "inference_steps must be an integer, got 3.0",
    ),
    "inference_steps bool": (
        lambda: states(inference_steps=True),
        TypeError,
        "inference_steps must be an integer, got True",
    ),
    "inference_steps text": (
        lambda: states(inference_steps="3"),
        TypeError,
        "inference_steps must be an integer, got '3'",
    ),
    "tolerance 0": (lambda: states(tolerance=0), ValueError, f"tolerance {POSITIVE} 0"),
    "tolerance negative": (lambda: errors(tolerance=-1e-3), ValueError, f"tolerance {POSITIVE} -0.001"),
    "tolerance NaN": (lambda: errors(tolerance=np.nan), ValueError, f"tolerance {POSITIVE} nan"),
    "tolerance text": (lambda: states(tolerance="1e-3"), TypeError, "tolerance must be a number, got '1e-3'"),
    "record_every negative": (
        lambda: states(record_every=-1),
        ValueError,
        "record_every must not be negative, got -1",
    ),
    "record_every float": (
        lambda: errors(record_every=0.5),
        TypeError,
        "record_every must be an integer, got 0.5",
    ),
    "record_every bool": (
        lambda: errors(record_every=True),
        TypeError,
        "record_every must be an integer, got True",
    ),
    "no power iteration": (
        lambda: epc.largest_eigenvalue(NET, PARAMS, E, X, Y, iterations=0),
        ValueError,
        "iterations .*0",
    ),
    "half a power iteration": (
        lambda: epc.largest_eigenvalue(NET, PARAMS, E, X, Y, iterations=1.5),
        TypeError,
        "iterations .*1.5",
    ),
    "Gauss-Newton for cross-entropy": (
        lambda: epc.gauss_newton_step(CLASSES, PARAMS, E, X, LABELS),
        ValueError,
        "gauss_newton_step needs loss = mse, got cross_entropy",
    ),
}

PRECISIONS = {
    "a number for all": (
        lambda: states(2.0),
        TypeError,
        "precision must be a list of 3 entries, one a block, got float",
    ),
    "an array for all": (
        lambda: states(np.ones(3)),
        TypeError,
        "precision must be a list of 3 entries.*got ndarray",
    ),
    "too few": (lambda: states([1.0]), ValueError, "precision must have 3 entries, one a block, got 1"),
    "one for the input too": (
        lambda: states([None, 1.0, 1.0, 1.0]),
        ValueError,
        "precision must have 3 entries.*got 4",
    ),
    "diagonal of another layer": (
        lambda: Pi(np.ones(5)),
        ValueError,
        r"Pi\[1\] must be a number or have shape \(6,\) or \(6, 6\), got \(5,\)",
    ),
    "matrix of another layer": (
        lambda: Pi(None, np.eye(6)),
        ValueError,
        r"Pi\[2\].*shape \(5,\) or \(5, 5\), got \(6, 6\)",
    ),
    "a column": (lambda: Pi(np.ones((6, 1))), ValueError, r"Pi\[1\].*got \(6, 1\)"),
    "negative": (lambda: Pi(-1.0), ValueError, r"Pi\[1\] must be positive, got -1"),
    "zero": (lambda: Pi(None, None, 0), ValueError, r"Pi\[3\] must be positive, got 0"),
    "a negative entry": (
        lambda: Pi(None, np.array([1, 1, -2, 1, 1.0])),
        ValueError,
        r"Pi\[2\] must be positive, got -2",
    ),
    "NaN": (lambda: Pi(np.nan), ValueError, r"Pi\[1\] must be finite, got nan"),
    "an infinite entry": (lambda: Pi(np.full(6, np.inf)), ValueError, r"Pi\[1\] must be finite, got inf"),
    "not symmetric": (
        lambda: Pi(np.eye(6) + np.eye(6, k=1)),
        ValueError,
        r"Pi\[1\] must be symmetric, got a matrix.*1\.0e\+00",
    ),
    "indefinite": (
        lambda: Pi(None, None, np.diag([1, 1, -1.0])),
        ValueError,
        r"Pi\[3\] must be positive definite, got the eigenvalue -1",
    ),
    "singular": (
        lambda: Pi(None, None, np.ones((3, 3))),
        ValueError,
        r"Pi\[3\] must be positive definite, got the eigenvalue",
    ),
    "for the output of cross-entropy": (
        lambda: states([None, None, 2.0], CLASSES, LABELS),
        ValueError,
        r"Pi\[3\] must be None: cross_entropy has no output precision.*got 2\.0",
    ),
    "for the output of binary cross-entropy": (
        lambda: states([None, None, 2.0], SWITCHES, ROWS),
        ValueError,
        r"Pi\[3\] must be None: binary_cross_entropy has no output precision.*got 2\.0",
    ),
    "text": (lambda: Pi("1"), TypeError, r"Pi\[1\] must be a number or an array, got str"),
    "a list": (lambda: Pi([1.0] * 6), TypeError, r"Pi\[1\] must be a number or an array, got list"),
    "bool": (lambda: Pi(True), TypeError, r"Pi\[1\] must be a number or an array, got bool"),
    "complex": (lambda: Pi(1j), TypeError, r"Pi\[1\] must be a number or an array, got complex"),
    "complex of NumPy": (
        lambda: Pi(np.complex128(1j)),
        TypeError,
        r"Pi\[1\] must be .*complex",
    ),
    "integers": (
        lambda: Pi(np.ones(6, int)),
        TypeError,
        r"Pi\[1\] must hold floating point numbers, got int64",
    ),
}

TRAINING = {
    "data an array": (lambda: train(X), TypeError, r"data must be a pair \(x, y\) or Sequences, got ndarray"),
    "data of three": (lambda: train((X, Y, Y)), TypeError, r"data must be a pair \(x, y\) or Sequences, got"),
    "validation an array": (
        lambda: train(validation=X),
        TypeError,
        r"validation must be a pair \(x, y\) or Sequences, got ndarray",
    ),
    "epochs 0": (lambda: train(epochs=0), ValueError, "epochs must be at least 1, got 0"),
    "epochs float": (lambda: train(epochs=1.5), TypeError, "epochs must be an integer, got 1.5"),
    "batch_size 0": (lambda: train(batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
    "batch_size bool": (lambda: train(batch_size=True), TypeError, "batch_size must be an integer, got True"),
    "rule a word": (lambda: train(rule="EPC"), ValueError, "rule must be one of backprop, .*; got 'EPC'"),
    "rule a module": (
        lambda: train(rule=spc),
        TypeError,
        "rule must be a name or a function such as minipc.epc.gradient, got <module",
    ),
    "unknown rule option": (lambda: train(stepsize=0.1), TypeError, "spc.gradient has no option stepsize"),
    "an option backprop has not": (
        lambda: train(rule=pc.backprop.gradient, step_size=0.1),
        TypeError,
        "backprop.gradient has no option step_size",
    ),
    "rule option out of range": (lambda: train(step_size=-1), ValueError, f"step_size {POSITIVE} -1"),
    "optimizer a number": (lambda: train(optimizer=0.1), TypeError, "optimizer .*0.1"),
    "optimizer a word": (lambda: train(optimizer="adam"), TypeError, "optimizer .*'adam'"),
    "optimizer a class": (lambda: train(optimizer=pc.Adam), TypeError, "optimizer .*Adam"),
}


@pytest.mark.parametrize("name", STEPS)
def test_bad_options_of_inference_are_refused(name, no_work):
    """Steps, step size, tolerance, recorder."""
    call, error, message = STEPS[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", PRECISIONS)
def test_bad_precisions_are_refused(name, no_work):
    """Numbers, diagonals and matrices must be positive, symmetric and of the right layer."""
    call, error, message = PRECISIONS[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", TRAINING)
def test_bad_options_of_training_are_refused(name, no_work):
    """The loop; those of the optimisers are in ``test_optim.py``."""
    call, error, message = TRAINING[name]
    with pytest.raises(error, match=message):
        call()


ACCEPTED = {
    "no step": lambda: states(inference_steps=0),
    "a number of NumPy": lambda: states(step_size=np.float32(0.1), inference_steps=np.int64(2)),
    "a whole step": lambda: errors(step_size=1, inference_steps=1),
    "precisions of all kinds": lambda: Pi(np.float32(2), np.full(5, 0.5), np.eye(3)),
    "a 0-d precision": lambda: Pi(np.array(2.0)),
    "integers as precisions": lambda: Pi(2, 1, 3),
}


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")
def test_what_is_right_is_accepted(name):
    """The checks refuse no more than they must."""
    assert ACCEPTED[name]() is not None
