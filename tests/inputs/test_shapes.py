"""Networks whose samples are no vectors: what does not fit is refused by name, before any work."""

import json

import numpy as np
import pytest

import minipc as pc
from minipc import backprop, epc, spc

CONV = [pc.Conv2d(2, 3, 3, padding=1, activation="tanh"), pc.MaxPool2d(2), pc.Flatten(), pc.Dense(12, 2)]
NET = pc.Network(CONV, input_shape=(2, 4, 4))
PARAMS = NET.init(0)
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((3, 2, 4, 4)), RNG.standard_normal((3, 2))
S = [X, *(RNG.standard_normal((3, *shape)) for shape in NET.shapes[1:-1])]
WORDS = pc.Network([pc.Embedding(5, 3), pc.Flatten(), pc.Dense(6, 2)], input_shape=(2,))
VOCABULARY = WORDS.init(0)
TOKENS = np.array([[0, 4], [2, 1], [3, 3]])


def gradient(x=X, y=Y, net=NET, params=PARAMS, precision=None):
    """sPC's, enough steps to reach the first block."""
    return spc.gradient(net, params, x, y, precision, inference_steps=5, step_size=0.05)


CASES = {
    "no input shape": (lambda: pc.Network(CONV), ValueError, "input_shape must be given.*Conv2d"),
    "input shape a number": (
        lambda: pc.Network(CONV, input_shape=32),
        TypeError,
        "input_shape must be a tuple of integers, got 32",
    ),
    "input shape of floats": (
        lambda: pc.Network(CONV, input_shape=(2, 4.0, 4)),
        TypeError,
        "each entry of input_shape must be an integer, got 4.0",
    ),
    "input shape with a zero": (
        lambda: pc.Network(CONV, input_shape=(2, 0, 4)),
        ValueError,
        "each entry of input_shape must be at least 1, got 0",
    ),
    "input shape that the first block refuses": (
        lambda: pc.Network(CONV, input_shape=(1, 4, 4)),
        ValueError,
        "block 1 does not fit the input: ",
    ),
    "input shape against a Dense block": (
        lambda: pc.Network([pc.Dense(3, 2)], input_shape=(4,)),
        ValueError,
        r"block 1 does not fit the input: Dense must take inputs of shape \(3,\), got \(4,\)",
    ),
    "blocks that do not fit": (
        lambda: pc.Network([*CONV[:3], pc.Dense(13, 2)], input_shape=(2, 4, 4)),
        ValueError,
        r"block 4 does not fit the output of block 3: .*\(13,\), got \(12,\)",
    ),
    "images at the output": (
        lambda: pc.Network(CONV[:2], input_shape=(2, 4, 4)),
        ValueError,
        r"last block must give a vector \(n,\), got outputs of shape \(3, 2, 2\): add Flatten\(\)",
    ),
    "x flat": (
        lambda: gradient(x=X.reshape(3, -1)),
        ValueError,
        r"x must have shape \(B, 2, 4, 4\).*\(3, 32\)",
    ),
    "x without the batch": (lambda: gradient(x=X[0]), ValueError, r"x must have shape \(B, 2, 4, 4\)"),
    "x channels last": (
        lambda: gradient(x=X.transpose(0, 2, 3, 1)),
        ValueError,
        r"x must have shape \(B, 2, 4, 4\).*\(3, 4, 4, 2\)",
    ),
    "an empty batch": (lambda: gradient(x=X[:0], y=Y[:0]), ValueError, "at least one sample"),
    "x not finite": (lambda: gradient(x=X / 0 * 0), ValueError, "x must be finite; got nan in sample 0"),
    "y of another batch": (lambda: gradient(y=Y[:2]), ValueError, r"y must have shape \(3, 2\)"),
    "a state of another shape": (
        lambda: spc.energy(NET, PARAMS, [S[0], S[1].reshape(3, -1), *S[2:]], Y),
        ValueError,
        r"s\[1\] must have shape \(3, 3, 4, 4\), got \(3, 48\)",
    ),
    "an error of another shape": (
        lambda: epc.energy(NET, PARAMS, [None, *S[1:3], S[3][:2]], X, Y),
        ValueError,
        r"e\[3\] must have shape \(3, 12\), got \(2, 12\)",
    ),
    "a matrix for images": (
        lambda: gradient(precision=[np.eye(48), None, None, None]),
        ValueError,
        r"Pi\[1\] must be a number or have shape \(3, 4, 4\), got \(48, 48\)",
    ),
    "a precision that is negative somewhere": (
        lambda: gradient(precision=[-np.ones((3, 4, 4)), None, None, None]),
        ValueError,
        r"Pi\[1\] must be positive, got -1",
    ),
    "parameters for a block without": (
        lambda: gradient(params=[PARAMS[0], {"W": X}, *PARAMS[2:]]),
        ValueError,
        r"params\[1\] must have no entries; got W",
    ),
    "kernels of another size": (
        lambda: gradient(params=[{**PARAMS[0], "W": PARAMS[0]["W"][..., :2]}, *PARAMS[1:]]),
        ValueError,
        r"W\[1\] must have shape \(3, 2, 3, 3\), got \(3, 2, 3, 2\)",
    ),
    "tokens as floats": (
        lambda: gradient(TOKENS.astype(float), Y, WORDS, VOCABULARY),
        TypeError,
        "x must hold integers, indices of an Embedding, got float64",
    ),
    "a token too large": (
        lambda: gradient(TOKENS + 1, Y, WORDS, VOCABULARY),
        ValueError,
        r"x must hold indices 0\.\.4; got 5 in sample 0",
    ),
    "a token too small": (
        lambda: gradient(TOKENS - 1, Y, WORDS, VOCABULARY),
        ValueError,
        r"x must hold indices 0\.\.4; got -1 in sample 0",
    ),
    "tokens of another length": (
        lambda: gradient(TOKENS[:, :1], Y, WORDS, VOCABULARY),
        ValueError,
        r"x must have shape \(B, 2\).*\(3, 1\)",
    ),
}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_by_name(name):
    """Symbol, expected and given."""
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("net", "params", "x"), [(NET, PARAMS, X), (WORDS, VOCABULARY, TOKENS)])
def test_every_rule_takes_what_is_right(net, params, x):
    """And gives gradients of the shapes of the parameters, states of the shapes of the network."""
    for g in (
        backprop.gradient(net, params, x, Y),
        gradient(x, Y, net, params),
        epc.gradient(net, params, x, Y, inference_steps=3),
        epc.gradient(net, params, x, Y, inference_steps=2, step_size=0.01),
        epc.gradient(net, params, x, Y, inference_steps=2, step_size="power"),
    ):
        assert [{k: v.shape for k, v in p.items()} for p in g.grads] == [b.shapes for b in net.blocks]
        assert [s.shape[1:] for s in g.states] == net.shapes[:-1]
        assert all(np.abs(v).max() > 0 for p in g.grads for v in p.values())


def test_a_network_of_any_shape_is_saved_and_loaded(tmp_path):
    """Blocks, input shape and parameters."""
    net = pc.Network(
        [pc.Residual([pc.Conv2d(2, 2, 3, padding=1)], skip=0.5), pc.Flatten(), pc.Dense(32, 2)],
        loss="binary_cross_entropy",
        input_shape=(2, 4, 4),
    )
    params = net.init(1)
    net.save(tmp_path / "net.npz", params)
    again, theta = pc.Network.load(tmp_path / "net.npz")
    assert again.blocks == net.blocks
    assert again.shapes == net.shapes
    assert (again.forward(theta, X) == net.forward(params, X)).all()


def test_a_file_of_the_first_version_is_read(tmp_path):
    """Format 1 did not store the shape of the input, which its Dense blocks know."""
    net = pc.Network([pc.Dense(3, 2, "tanh")])
    params = net.init(0)
    net.save(tmp_path / "net.npz", params)
    with np.load(tmp_path / "net.npz") as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    del header["input_shape"]
    np.savez(tmp_path / "old.npz", header=np.array(json.dumps({**header, "format": 1})), **arrays)
    again, theta = pc.Network.load(tmp_path / "old.npz")
    assert again.shapes == [(3,), (2,)]
    assert (theta[0]["W"] == params[0]["W"]).all()


def test_the_summary_shows_the_shapes():
    """As products; a token is an index."""
    assert "2x4x4" in repr(NET)
    assert "3x4x4" in repr(NET)
    assert "index" in repr(pc.Network([pc.Embedding(5, 3), pc.Dense(3, 2)], input_shape=()))
