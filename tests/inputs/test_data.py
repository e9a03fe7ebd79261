"""x, y and params: each refusal names the symbol, what was expected and what was given, before any work."""

import numpy as np
import pytest
from backend.fakecupy import to_device

import minipc as pc
from inputs.setting import (
    CLASSES,
    LABELS,
    NET,
    PARAMS,
    ROWS,
    SWITCHES,
    E,
    S,
    X,
    Y,
    classification,
    float32,
    regression,
    replaced,
)
from minipc import backprop, epc, spc

NAN_X = np.where(np.arange(8).reshape(2, 4) == 6, np.nan, X)
FLOATS = "must hold float32 or float64 numbers, got"

BAD_X = {
    "a list": (X.tolist(), TypeError, "x must be a NumPy or CuPy array, got list"),
    "text": ("digits.npz", TypeError, "x must be a NumPy or CuPy array, got str"),
    "nothing": (None, TypeError, "x must be a NumPy or CuPy array, got NoneType"),
    "integers": (np.ones((2, 4), int), TypeError, f"x {FLOATS} int64.*scale integers"),
    "pixels": (np.ones((2, 4), np.uint8), TypeError, f"x {FLOATS} uint8.*pixels / 16"),
    "booleans": (np.ones((2, 4), bool), TypeError, f"x {FLOATS} bool"),
    "float16": (X.astype(np.float16), TypeError, f"x {FLOATS} float16"),
    "objects": (X.astype(object), TypeError, f"x {FLOATS} object"),
    "strings": (X.astype(str), TypeError, f"x {FLOATS} <U"),
    "one sample without its batch": (
        X[0],
        ValueError,
        r"x must have shape \(B, 4\), a row a sample; got \(4,\)",
    ),
    "three dimensions": (X[None], ValueError, r"x must have shape \(B, 4\).*got \(1, 2, 4\)"),
    "a column missing": (X[:, :3], ValueError, r"x must have shape \(B, 4\).*got \(2, 3\)"),
    "transposed": (X.T, ValueError, r"x must have shape \(B, 4\).*got \(4, 2\)"),
    "no sample": (X[:0], ValueError, r"x must have at least one sample, got the empty batch \(0, 4\)"),
    "NaN": (NAN_X, ValueError, "x must be finite; got nan in sample 1"),
    "infinity": (X + np.inf, ValueError, "x must be finite; got inf in sample 0"),
}

BAD_Y = {
    "a list": (Y.tolist(), TypeError, "y must be a NumPy or CuPy array, got list"),
    "nothing": (None, TypeError, "y must be a NumPy or CuPy array, got NoneType"),
    "objects": (Y.astype(object), TypeError, "y must hold numbers, got object"),
    "strings": (Y.astype(str), TypeError, "y must hold numbers, got <U"),
    "float16": (Y.astype(np.float16), TypeError, "y must hold numbers, got float16"),
    "another batch": (Y[:1], ValueError, r"y must have shape \(2, 3\) for x of shape \(2, 4\); got \(1, 3\)"),
    "a column missing": (Y[:, :2], ValueError, r"y must have shape \(2, 3\).*got \(2, 2\)"),
    "labels for mse": (LABELS, ValueError, r"y must have shape \(2, 3\).*got \(2,\)"),
    "NaN": (Y * np.nan, ValueError, "y must be finite; got nan in sample 0"),
    "infinity": (Y - np.inf, ValueError, "y must be finite; got -inf in sample 0"),
}

BAD_TARGET = {
    "a label too high": (LABELS + 1, ValueError, r"y must hold labels 0\.\.2; got 3 in sample 1"),
    "a small unsigned label too high": (np.array([0, 255], np.uint8), ValueError, r"labels 0\.\.2; got 255"),
    "a negative label": (LABELS - 1, ValueError, r"y must hold labels 0\.\.2; got -1 in sample 0"),
    "float labels": (LABELS * 1.0, TypeError, "y as labels must be integers, got float64"),
    "boolean labels": (LABELS > 0, TypeError, "y as labels must be integers, got bool"),
    "another batch": (
        np.array([0, 1, 2]),
        ValueError,
        r"y must have shape \(2,\) for x of shape \(2, 4\); got \(3,\)",
    ),
    "a column of labels": (LABELS[:, None], ValueError, r"\(2, 3\) or labels \(2,\).*got \(2, 1\)"),
    "rows that sum to two": (2 * ROWS, ValueError, r"y must be rows that sum to one.*got 2\.0 in sample 0"),
    "a negative row": (
        np.array([[1.0, 0, 0], [1.5, -0.5, 0]]),
        ValueError,
        r"y must not be negative.*got -0\.5 in sample 1",
    ),
    "logits": (Y, ValueError, "y must be rows that sum to one, or integer labels; got"),
    "NaN": (ROWS * np.nan, ValueError, "y must be finite; got nan"),
}

BAD_PARAMS = {
    "nothing": (None, TypeError, "params must be a list of 3 dicts, one a block, got NoneType"),
    "one dict": (PARAMS[0], TypeError, "params must be a list of 3 dicts, one a block, got dict"),
    "arrays": ([p["W"] for p in PARAMS], TypeError, r"params\[0\] must be a dict, got ndarray"),
    "a block missing": (PARAMS[:2], ValueError, "params must have 3 dicts, one a block, got 2"),
    "no bias": (
        [{"W": PARAMS[0]["W"]}, *PARAMS[1:]],
        ValueError,
        r"params\[0\] must have the entries W, b; got W",
    ),
    "a wrong name": (
        [*PARAMS[:2], {"w": 0, "b": 0}],
        ValueError,
        r"params\[2\] must have the entries W, b; got w, b",
    ),
    "W transposed": (
        replaced(2, "W", PARAMS[1]["W"].T),
        ValueError,
        r"W\[2\] must have shape \(5, 6\), got \(6, 5\) \(transposed\?\)",
    ),
    "b a row": (
        replaced(2, "b", np.zeros((1, 5))),
        ValueError,
        r"b\[2\] must have shape \(5,\), got \(1, 5\)",
    ),
    "of another network": (
        pc.Network([pc.Dense(4, 7), pc.Dense(7, 5), pc.Dense(5, 3)]).init(),
        ValueError,
        r"W\[1\] must have shape \(6, 4\), got \(7, 4\) \(parameters of another network\?\)",
    ),
    "W a list": (replaced(1, "W", [[1.0]]), TypeError, r"W\[1\] must be a NumPy or CuPy array, got list"),
    "W integers": (replaced(1, "W", np.ones((6, 4), int)), TypeError, rf"W\[1\] {FLOATS} int64"),
    "W float16": (replaced(1, "W", np.ones((6, 4), np.float16)), TypeError, rf"W\[1\] {FLOATS} float16"),
    "float32 after float64": (
        replaced(2, "W", PARAMS[1]["W"].astype(np.float32)),
        TypeError,
        r"W\[2\] must have the precision of W\[1\], float64; got float32",
    ),
    "the last bias float32": (
        replaced(3, "b", PARAMS[2]["b"].astype(np.float32)),
        TypeError,
        r"b\[3\] must have the precision of W\[1\], float64; got float32",
    ),
    "float64 after float32": (
        [*float32(PARAMS)[:2], PARAMS[2]],
        TypeError,
        r"W\[3\] must have the precision of W\[1\], float32; got float64",
    ),
}


@pytest.mark.parametrize("name", BAD_X)
def test_bad_x_is_refused(name, no_work):
    """Shape, dtype and values of the input."""
    x, error, message = BAD_X[name]
    with pytest.raises(error, match=message):
        regression(x=x)


@pytest.mark.parametrize("name", BAD_Y)
def test_bad_y_is_refused(name, no_work):
    """Shape, dtype and values of a target of squared error."""
    y, error, message = BAD_Y[name]
    with pytest.raises(error, match=message):
        regression(y=y)


@pytest.mark.parametrize("name", BAD_TARGET)
def test_a_bad_target_of_cross_entropy_is_refused(name, no_work):
    """Labels in range; rows that are distributions, because the derivative holds only for them."""
    y, error, message = BAD_TARGET[name]
    with pytest.raises(error, match=message):
        classification(y)


BAD_SWITCHES = {
    "a logit": (Y, ValueError, "y must lie between 0 and 1; got"),
    "a little above one": (ROWS + 1e-6, ValueError, r"y must lie between 0 and 1; got 1\.0000"),
    "below zero": (ROWS - 1e-6, ValueError, r"y must lie between 0 and 1; got -.* in sample 1"),
    "NaN": (ROWS * np.nan, ValueError, "y must be finite"),
    "labels": (LABELS, ValueError, r"y must have shape \(2, 3\) for x of shape \(2, 4\); got \(2,\)"),
}


@pytest.mark.parametrize("name", BAD_SWITCHES)
def test_a_bad_target_of_binary_cross_entropy_is_refused(name, no_work):
    """Each entry is a probability of its own; they need not sum to one, and labels mean nothing here."""
    y, error, message = BAD_SWITCHES[name]
    with pytest.raises(error, match=message):
        backprop.gradient(SWITCHES, PARAMS, X, y)


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_bad_params_are_refused(name, no_work):
    """Structure, shapes and dtypes of the parameters."""
    params, error, message = BAD_PARAMS[name]
    with pytest.raises(error, match=message):
        regression(params=params)


ACCEPTED = {
    "integers as a target of mse": lambda: regression(y=np.ones((2, 3), int)),
    "booleans as a target of mse": lambda: regression(y=np.ones((2, 3), bool)),
    "probabilities that do not sum to one": lambda: backprop.gradient(
        SWITCHES, PARAMS, X, np.full((2, 3), 0.4)
    ),
    "booleans as switches": lambda: backprop.gradient(SWITCHES, PARAMS, X, np.ones((2, 3), bool)),
    "small unsigned labels": lambda: classification(LABELS.astype(np.uint8)),
    "rows that sum to one": lambda: classification(ROWS),
    "params as a tuple": lambda: regression(params=tuple(PARAMS)),
    "x of another float type": lambda: regression(x=X.astype(np.float32)),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_right_is_accepted(name):
    """The checks refuse no more than they must; the result has the dtype of the parameters."""
    g = ACCEPTED[name]()
    assert g.grads[0]["W"].dtype == np.float64
    assert np.isfinite(g.loss).all()


INFER = {"inference_steps": 1, "step_size": 0.1}
ENTRANCES = {
    "forward": lambda params, x, y: NET.forward(params, x),
    "backprop": lambda params, x, y: backprop.gradient(NET, params, x, y),
    "spc.gradient": lambda params, x, y: spc.gradient(NET, params, x, y),
    "spc.feedforward": lambda params, x, y: spc.feedforward(NET, params, x),
    "spc.errors": lambda params, x, y: spc.errors(NET, params, [x, *S[1:]], y),
    "spc.energy": lambda params, x, y: spc.energy(NET, params, [x, *S[1:]], y),
    "spc.activity_gradient": lambda params, x, y: spc.activity_gradient(NET, params, [x, *S[1:]], y),
    "spc.weight_gradient": lambda params, x, y: spc.weight_gradient(NET, params, [x, *S[1:]], y),
    "spc.infer": lambda params, x, y: spc.infer(NET, params, [x, *S[1:]], y, **INFER),
    "epc.gradient": lambda params, x, y: epc.gradient(NET, params, x, y),
    "epc.feedforward": lambda params, x, y: epc.feedforward(NET, params, x),
    "epc.states_from_errors": lambda params, x, y: epc.states_from_errors(NET, params, E, x),
    "epc.energy": lambda params, x, y: epc.energy(NET, params, E, x, y),
    "epc.error_gradient": lambda params, x, y: epc.error_gradient(NET, params, E, x, y),
    "epc.weight_gradient": lambda params, x, y: epc.weight_gradient(NET, params, E, x, y),
    "epc.infer": lambda params, x, y: epc.infer(NET, params, E, x, y, **INFER),
    "epc.largest_eigenvalue": lambda params, x, y: epc.largest_eigenvalue(NET, params, E, x, y),
    "epc.gauss_newton_step": lambda params, x, y: epc.gauss_newton_step(NET, params, E, x, y),
    "accuracy": lambda params, x, y: pc.accuracy(NET, params, x, y),
    "fit": lambda params, x, y: pc.fit(NET, params, (x, y), rule=spc.gradient, optimizer=pc.SGD(0.1)),
    "fit, validation": lambda params, x, y: pc.fit(
        NET, params, (X, Y), rule=spc.gradient, optimizer=pc.SGD(0.1), validation=(x, y)
    ),
}
WITHOUT_Y = {"forward", "spc.feedforward", "epc.feedforward", "epc.states_from_errors"}


@pytest.mark.parametrize("name", ENTRANCES)
def test_every_entrance_checks_params_and_x(name, no_work):
    """The same words wherever a student comes in."""
    with pytest.raises(ValueError, match=r"W\[2\] must have shape \(5, 6\), got \(6, 5\) \(transposed\?\)"):
        ENTRANCES[name](BAD_PARAMS["W transposed"][0], X, Y)
    with pytest.raises(ValueError, match=r"x must have shape \(B, 4\), a row a sample; got \(2, 3\)"):
        ENTRANCES[name](PARAMS, X[:, :3], Y)


@pytest.mark.parametrize("name", [name for name in ENTRANCES if name not in WITHOUT_Y])
def test_every_entrance_checks_y(name, no_work):
    """A target of the wrong width would broadcast, NaN would spread."""
    with pytest.raises(ValueError, match=r"y must have shape \(2, 3\) for x of shape \(2, 4\); got \(2, 1\)"):
        ENTRANCES[name](PARAMS, X, Y[:, :1])
    with pytest.raises(ValueError, match="y must be finite; got nan"):
        ENTRANCES[name](PARAMS, X, Y * np.nan)


BAD_LAYERS = {
    "s an array": (
        lambda: spc.energy(NET, PARAMS, X, Y),
        TypeError,
        r"s must be a list s\[0..2\] of arrays, got ndarray",
    ),
    "s too short": (
        lambda: spc.infer(NET, PARAMS, S[:2], Y, **INFER),
        ValueError,
        r"s\[0..2\] for 3 blocks, got 2",
    ),
    "s[1] of another layer": (
        lambda: spc.weight_gradient(NET, PARAMS, [X, S[2], S[1]], Y),
        ValueError,
        r"s\[1\] must have shape \(2, 6\), got \(2, 5\)",
    ),
    "s[2] of another batch": (
        lambda: spc.activity_gradient(NET, PARAMS, [*S[:2], S[2][:1]], Y),
        ValueError,
        r"s\[2\] must have shape \(2, 5\), got \(1, 5\)",
    ),
    "e an array": (
        lambda: epc.energy(NET, PARAMS, X, X, Y),
        TypeError,
        r"e must be a list e\[0..2\], got ndarray",
    ),
    "e without its None": (
        lambda: epc.energy(NET, PARAMS, E[1:], X, Y),
        ValueError,
        r"e\[0..2\] for 3 blocks, got 2",
    ),
    "e[2] a list": (
        lambda: epc.error_gradient(NET, PARAMS, [*E[:2], [0.0]], X, Y),
        TypeError,
        r"e\[2\] must be a NumPy or CuPy array, got list",
    ),
    "e[1] a row for all": (
        lambda: epc.infer(NET, PARAMS, [None, E[1][:1], E[2]], X, Y, **INFER),
        ValueError,
        r"e\[1\] must have shape \(2, 6\), got \(1, 6\)",
    ),
}


@pytest.mark.parametrize("name", BAD_LAYERS)
def test_bad_states_and_errors_are_refused(name, no_work):
    """A batch of one would broadcast without a word."""
    call, error, message = BAD_LAYERS[name]
    with pytest.raises(error, match=message):
        call()


HUGE = replaced(3, "W", np.full((3, 5), 1.7e308) * np.sign(spc.feedforward(NET, PARAMS, X)[2][0]))
NOT_FINITE = {
    "NaN in W[2]": (
        replaced(2, "W", PARAMS[1]["W"] * np.nan),
        r"parameter W\[2\] of block 2 \(tanh\(W s \+ b\)\)",
    ),
    "infinity in b[3]": (
        replaced(3, "b", PARAMS[2]["b"] + np.inf),
        r"parameter b\[3\] of block 3 \(W s \+ b\)",
    ),
    "overflow in block 3": (HUGE, r"it first appeared in the output of block 3 \(W s \+ b\)"),
    "overflow in the loss": (
        replaced(3, "b", PARAMS[2]["b"] + 1e200),
        r"every block's output is finite.*loss \(mse\)",
    ),
}


@pytest.mark.parametrize("rule", [backprop, spc, epc])
@pytest.mark.parametrize("name", NOT_FINITE)
def test_parameters_that_are_not_finite_are_found(name, rule):
    """The message says in which block it began."""
    params, where = NOT_FINITE[name]
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match=f"the loss is not finite: .*{where}"),
    ):
        rule.gradient(NET, params, X, Y)


def test_the_accuracy_of_a_network_of_nan_is_no_number():
    """argmax of NaN is 0: without a check the share of zeros among the labels would come out."""
    with pytest.raises(FloatingPointError, match=r"parameter W\[2\] of block 2"):
        pc.accuracy(CLASSES, NOT_FINITE["NaN in W[2]"][0], X, LABELS)


MIXTURES = {
    "x on the device": (
        lambda: regression(x=to_device(X)),
        "x is a cupy array but the parameters are numpy arrays.*as_backend",
    ),
    "y on the device": (
        lambda: regression(y=to_device(Y)),
        "y is a cupy array but the parameters are numpy arrays",
    ),
    "params on the device": (
        lambda: regression(params=to_device(PARAMS)),
        "x is a numpy array.*are cupy arrays",
    ),
    "Pi on the device": (
        lambda: spc.gradient(NET, PARAMS, X, Y, [to_device(np.ones(6)), None, None]),
        r"Pi\[1\] is a cupy array but the parameters are numpy",
    ),
    "s on the device": (
        lambda: spc.energy(NET, PARAMS, [X, to_device(S[1]), S[2]], Y),
        r"s\[1\] is a cupy array",
    ),
    "one block on the device": (
        lambda: regression(params=[PARAMS[0], to_device(PARAMS[1]), PARAMS[2]]),
        r"W\[2\] .*cupy",
    ),
    "one bias on the device": (
        lambda: regression(params=replaced(1, "b", to_device(np.zeros(6)))),
        r"b\[1\] .*cupy",
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_of_host_and_device_are_refused(name, fake_device, no_work):
    """By symbol, with the line of code that moves an array."""
    call, message = MIXTURES[name]
    with pytest.raises(TypeError, match=message):
        call()
