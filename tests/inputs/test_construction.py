"""Blocks, networks, first parameters, comparisons, claims: what cannot be built says why."""

import numpy as np
import pytest

import minipc as pc
from inputs.setting import NET, PARAMS, X, Y
from minipc import check, verify

KINDS = "identity, tanh, sigmoid, relu, leaky_relu, gelu, softplus"
WORDS = f"activation of a Dense block must be one of {KINDS}; got"

CASES = {
    "n_in 0": (lambda: pc.Dense(0, 3), ValueError, "n_in of a Dense block must be at least 1, got 0"),
    "n_out negative": (
        lambda: pc.Dense(3, -1),
        ValueError,
        "n_out of a Dense block must be at least 1, got -1",
    ),
    "n_in float": (lambda: pc.Dense(3.0, 2), TypeError, "n_in of a Dense block must be an integer, got 3.0"),
    "n_out text": (lambda: pc.Dense(3, "2"), TypeError, "n_out of a Dense block must be an integer, got '2'"),
    "n_in bool": (lambda: pc.Dense(True, 2), TypeError, "n_in of a Dense block must be an integer, got True"),
    "activation unknown": (lambda: pc.Dense(3, 2, "Tanh"), ValueError, f"{WORDS} 'Tanh'"),
    "activation a function": (lambda: pc.Dense(3, 2, np.tanh), ValueError, f"{WORDS} <ufunc 'tanh'>"),
    "activation None": (lambda: pc.Dense(3, 2, None), ValueError, f"{WORDS} None"),
    "activation a list": (
        lambda: pc.Dense(3, 2, ["tanh"]),
        (TypeError, ValueError),
        r"activation .*got \['tanh'\]",
    ),
    "form unknown": (
        lambda: pc.Dense(3, 2, form="middle"),
        ValueError,
        "form of a Dense block must be one of post, pre; got 'middle'",
    ),
    "init unknown": (
        lambda: pc.Dense(3, 2, init="zero"),
        ValueError,
        "init of a Dense block must be one of xavier, kaiming, orthogonal, normal; got 'zero'",
    ),
    "gain 0": (
        lambda: pc.Dense(3, 2, gain=0),
        ValueError,
        "gain of a Dense block must be a positive finite number, got 0",
    ),
    "gain NaN": (
        lambda: pc.Dense(3, 2, gain=np.nan),
        ValueError,
        "gain .* must be a positive finite number, got nan",
    ),
    "gain text": (
        lambda: pc.Dense(3, 2, gain="2"),
        (TypeError, ValueError),
        "gain .* must be a positive finite number, got '2'",
    ),
    "gain bool": (
        lambda: pc.Dense(3, 2, gain=True),
        (TypeError, ValueError),
        "gain .*got True",
    ),
    "no block": (lambda: pc.Network([]), ValueError, "a network needs at least one block, got an empty list"),
    "blocks None": (lambda: pc.Network(None), TypeError, "blocks .*NoneType"),
    "one block without a list": (
        lambda: pc.Network(pc.Dense(3, 2)),
        TypeError,
        "blocks .*Dense",
    ),
    "a class for a block": (
        lambda: pc.Network([pc.Dense]),
        TypeError,
        r"block 1 must be a block \(Dense, Conv2d, .*\), got <class",
    ),
    "sizes for a block": (
        lambda: pc.Network([(3, 2)]),
        TypeError,
        r"block 1 must be a block \(Dense, Conv2d, .*\), got \(3, 2\)",
    ),
    "widths do not fit": (
        lambda: pc.Network([pc.Dense(3, 2), pc.Dense(3, 2)]),
        ValueError,
        "block 2 does not fit the output of block 1: Dense must take inputs of shape \\(3,\\), got \\(2,\\)",
    ),
    "loss unknown": (
        lambda: pc.Network(NET.blocks, "nll"),
        ValueError,
        "loss must be one of mse, cross_entropy, binary_cross_entropy; got 'nll'",
    ),
    "loss None": (
        lambda: pc.Network(NET.blocks, None),
        ValueError,
        "loss must be one of mse, cross_entropy, binary_cross_entropy; got None",
    ),
    "loss a list": (
        lambda: pc.Network(NET.blocks, ["mse"]),
        (TypeError, ValueError),
        r"loss .*got \['mse'\]",
    ),
    "params for a network": (
        lambda: pc.spc.gradient(PARAMS, NET, X, Y),
        TypeError,
        "net .*Network.*list",
    ),
    "init float16": (
        lambda: NET.init(dtype="float16"),
        TypeError,
        "dtype must be float32 or float64, got float16",
    ),
    "init int": (lambda: NET.init(dtype=int), TypeError, "dtype must be float32 or float64, got int64"),
    "init complex": (
        lambda: NET.init(dtype=complex),
        TypeError,
        "dtype must be float32 or float64, got complex128",
    ),
    "init unknown dtype": (
        lambda: NET.init(dtype="double precision"),
        TypeError,
        "dtype must be float32 or float64.*double precision",
    ),
    "negative seed": (lambda: NET.init(seed=-1), ValueError, "seed .*-1"),
    "seed text": (lambda: NET.init(seed="0"), TypeError, "seed .*'0'"),
    "digits as integers": (
        lambda: pc.data.digits("int"),
        TypeError,
        "dtype must be float32 or float64, got int64",
    ),
    "compare other depth": (
        lambda: check.compare(PARAMS[:1], PARAMS[:2]),
        ValueError,
        r"structures differ: got \['W\[1\]', 'b\[1\]'\], expected \['W\[1\]', 'b\[1\]', 'W\[2\]', 'b\[2\]'\]",
    ),
    "compare other names": (
        lambda: check.compare([{"W": X}], [{"V": X}]),
        ValueError,
        r"got \['W\[1\]'\], expected \['V\[1\]'\]",
    ),
    "compare other shapes": (
        lambda: check.compare([{"W": X.T}], [{"W": X}]),
        ValueError,
        r"W\[1\] must have shape \(2, 4\), got \(4, 2\)",
    ),
    "compare nothing": (lambda: check.compare(None, None), ValueError, "nothing to compare"),
    "compare empty arrays": (lambda: check.compare(X[:0], X[:0]), ValueError, "nothing to compare"),
    "unknown claim": (
        lambda: verify.verify(["S02", "S99"]),
        ValueError,
        r"unknown claim S99; there are S01, .*S43",
    ),
    "a claim without a list": (
        lambda: verify.verify("S02"),
        (TypeError, ValueError),
        "only .*'S02'",
    ),
    "no trial": (lambda: verify.verify(["S02"], trials=0), ValueError, "trials must be at least 1, got 0"),
    "half a trial": (
        lambda: verify.verify(["S02"], trials=1.5),
        TypeError,
        "trials .*1.5",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_by_name(name, no_work):
    """Symbol, expected and given."""
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call()


def test_a_comparison_does_not_overlook_nan():
    """max(0, nan) is 0 in Python: a gradient of NaN must not pass for equal."""
    expected = [{"W": X, "b": Y}]
    assert not check.compare([{"W": X, "b": Y * np.nan}], expected).worst <= 1
    assert not check.compare([{"W": X * np.nan, "b": Y}], expected).worst <= 1


def test_gain_accepts_a_number_of_numpy():
    """As every other number does."""
    assert np.array_equal(
        pc.Dense(3, 2, gain=np.float32(2)).init_params(np.random.default_rng(0), np.float64)["W"],
        pc.Dense(3, 2, gain=2.0).init_params(np.random.default_rng(0), np.float64)["W"],
    )
