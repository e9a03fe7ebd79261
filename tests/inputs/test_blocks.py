"""Blocks: what cannot be built, what does not fit, and indices out of range say why."""

import numpy as np
import pytest

import minipc as pc
from minipc import backprop, epc, spc
from minipc.registry import build

COUNT = "must be an integer, got"
BUILD = {
    "Dense scale 0": (lambda: pc.Dense(3, 2, scale=0), ValueError, "scale of a Dense block must be positive"),
    "Dense scale NaN": (lambda: pc.Dense(3, 2, scale=np.nan), ValueError, "scale of a Dense block .*nan"),
    "Dense scale text": (lambda: pc.Dense(3, 2, scale="1"), TypeError, "scale of a Dense block .* got '1'"),
    "Dense bias 1": (
        lambda: pc.Dense(3, 2, bias=1),
        TypeError,
        "bias of a Dense block must be True or False, got 1",
    ),
    "Dense bias None": (lambda: pc.Dense(3, 2, bias=None), TypeError, "bias of a Dense block .*None"),
    "Conv2d no channels": (
        lambda: pc.Conv2d(0, 3, 2),
        ValueError,
        "in_channels of a Conv2d block must be at least 1, got 0",
    ),
    "Conv2d channels float": (
        lambda: pc.Conv2d(1, 3.0, 2),
        TypeError,
        f"out_channels of a Conv2d block {COUNT} 3.0",
    ),
    "Conv2d kernel a pair": (
        lambda: pc.Conv2d(1, 3, (3, 3)),
        TypeError,
        rf"kernel_size of a Conv2d block {COUNT} \(3, 3\)",
    ),
    "Conv2d kernel 0": (
        lambda: pc.Conv2d(1, 3, 0),
        ValueError,
        "kernel_size of a Conv2d block must be at least 1",
    ),
    "Conv2d stride 0": (
        lambda: pc.Conv2d(1, 3, 2, stride=0),
        ValueError,
        "stride of a Conv2d block must be at least 1, got 0",
    ),
    "Conv2d negative padding": (
        lambda: pc.Conv2d(1, 3, 2, padding=-1),
        ValueError,
        "padding of a Conv2d block must not be negative, got -1",
    ),
    "Conv2d padding same": (
        lambda: pc.Conv2d(1, 3, 2, padding="same"),
        TypeError,
        f"padding .* {COUNT} 'same'",
    ),
    "Conv2d activation": (
        lambda: pc.Conv2d(1, 3, 2, activation="swish"),
        ValueError,
        "activation of a Conv2d block must be one of identity, .*; got 'swish'",
    ),
    "Conv2d form": (
        lambda: pc.Conv2d(1, 3, 2, form="mid"),
        ValueError,
        "form of a Conv2d block must be one of post",
    ),
    "Conv2d init": (
        lambda: pc.Conv2d(1, 3, 2, init="zero"),
        ValueError,
        "init of a Conv2d block .*got 'zero'",
    ),
    "Conv2d gain": (
        lambda: pc.Conv2d(1, 3, 2, gain=-1.0),
        ValueError,
        "gain of a Conv2d block must be positive",
    ),
    "MaxPool2d kernel 0": (
        lambda: pc.MaxPool2d(0),
        ValueError,
        "kernel_size of a MaxPool2d block must be at least 1",
    ),
    "AvgPool2d stride 0": (
        lambda: pc.AvgPool2d(2, 0),
        ValueError,
        "stride of a AvgPool2d block must be at least 1",
    ),
    "MaxPool2d stride float": (
        lambda: pc.MaxPool2d(2, 2.0),
        TypeError,
        f"stride of a MaxPool2d block {COUNT} 2.0",
    ),
    "Embedding vocabulary 0": (
        lambda: pc.Embedding(0, 3),
        ValueError,
        "vocabulary of an Embedding block must be at least 1, got 0",
    ),
    "Embedding width text": (
        lambda: pc.Embedding(3, "4"),
        TypeError,
        f"width of an Embedding block {COUNT} '4'",
    ),
    "Embedding gain": (
        lambda: pc.Embedding(3, 4, gain=0),
        ValueError,
        "gain of an Embedding block must be positive",
    ),
    "LayerNorm shape float": (
        lambda: pc.LayerNorm(3.0),
        TypeError,
        f"shape of a LayerNorm block {COUNT} 3.0",
    ),
    "LayerNorm shape empty": (
        lambda: pc.LayerNorm(()),
        ValueError,
        "shape of a LayerNorm block .*at least one",
    ),
    "LayerNorm a size 0": (
        lambda: pc.LayerNorm((3, 0)),
        ValueError,
        "shape of a LayerNorm block .*at least 1, got 0",
    ),
    "LayerNorm eps": (
        lambda: pc.LayerNorm(3, eps=0.0),
        ValueError,
        "eps of a LayerNorm block must be positive",
    ),
    "BatchNorm2d channels": (
        lambda: pc.BatchNorm2d(True),
        TypeError,
        f"channels of a BatchNorm2d block {COUNT} True",
    ),
    "BatchNorm2d statistics": (
        lambda: pc.BatchNorm2d(3, "running"),
        ValueError,
        "statistics of a BatchNorm2d block must be one of batch, frozen; got 'running'",
    ),
    "BatchNorm2d eps": (
        lambda: pc.BatchNorm2d(3, eps=-1),
        ValueError,
        "eps of a BatchNorm2d block must be positive",
    ),
    "Residual of nothing": (lambda: pc.Residual([]), ValueError, "at least one block, got an empty list"),
    "Residual of a block": (
        lambda: pc.Residual(pc.Dense(3, 3)),
        TypeError,
        "blocks of a Residual block must be a list of blocks, got Dense",
    ),
    "Residual of a class": (
        lambda: pc.Residual([pc.Dense(3, 3), pc.Dense]),
        TypeError,
        "block 2 of a Residual block must be a block, got <class",
    ),
    "Residual of a size": (
        lambda: pc.Residual([3]),
        TypeError,
        "block 1 of a Residual block must be a block, got 3",
    ),
    "Residual of an embedding": (
        lambda: pc.Residual([pc.Embedding(3, 3)]),
        ValueError,
        "block 1 of a Residual block must take numbers, got Embedding",
    ),
    "Residual skip": (
        lambda: pc.Residual([pc.Dense(3, 3)], skip=np.inf),
        ValueError,
        "skip of a Residual block must be a finite number, got inf",
    ),
    "Residual skip text": (
        lambda: pc.Residual([pc.Dense(3, 3)], skip="1"),
        ValueError,
        "skip of a Residual block must be a finite number, got '1'",
    ),
    "muPC of one block": (
        lambda: pc.mupc(3, 4, 2, depth=1),
        ValueError,
        "depth of a muPC network must be at least 2, got 1",
    ),
    "muPC width": (
        lambda: pc.mupc(3, 0, 2, depth=4),
        ValueError,
        "width of a muPC network must be at least 1, got 0",
    ),
    "muPC activation": (
        lambda: pc.mupc(3, 4, 2, 4, "swish"),
        ValueError,
        "activation of a Dense block .*'swish'",
    ),
    "Embedding in the middle": (
        lambda: pc.Network([pc.Dense(3, 2), pc.Embedding(3, 2), pc.Flatten()]),
        ValueError,
        "block 2 takes integers, so it must be the first block; got Embedding",
    ),
    "an unknown name": (lambda: build("Conv3d", {}), KeyError, "Conv3d"),
    "an unknown option": (lambda: build("MaxPool2d", {"size": 2}), TypeError, "size"),
    "an unknown name inside": (lambda: build("Residual", {"blocks": [["Conv3d", {}]]}), KeyError, "Conv3d"),
}
FIT = {
    "Dense takes a width": (
        pc.Dense(3, 2),
        (4,),
        r"Dense must take inputs of shape \(3,\), got \(4,\)",
    ),
    "Dense takes no images": (pc.Dense(3, 2), (3, 2, 2), r"inputs of shape \(3,\), got \(3, 2, 2\)"),
    "Conv2d takes images": (
        pc.Conv2d(3, 2, 2),
        (12,),
        r"images of shape \(C, H, W\), got inputs of shape \(12,\)",
    ),
    "Conv2d takes its channels": (
        pc.Conv2d(3, 2, 2),
        (2, 4, 4),
        r"images with 3 channels, got inputs of shape \(2,",
    ),
    "Conv2d needs a window": (
        pc.Conv2d(1, 2, 5, padding=1),
        (1, 3, 2),
        "at least 5 x 5 pixels .*got 3 x 2 padded by 1",
    ),
    "MaxPool2d takes images": (
        pc.MaxPool2d(2),
        (4,),
        r"MaxPool2d must take images of shape \(C, H, W\)",
    ),
    "AvgPool2d needs a window": (
        pc.AvgPool2d(3),
        (2, 3, 2),
        "AvgPool2d must take .*at least 3 x 3 .*got 3 x 2$",
    ),
    "LayerNorm takes its shape": (pc.LayerNorm((2, 3)), (3, 2), r"inputs of shape \(2, 3\), got \(3, 2\)"),
    "BatchNorm2d takes its channels": (
        pc.BatchNorm2d(3),
        (2, 3, 3),
        r"images with 3 channels.*got .*\(2, 3, 3\)",
    ),
    "BatchNorm2d takes images": (pc.BatchNorm2d(3), (3,), r"images with 3 channels.*got .*\(3,\)"),
    "Residual must lead back": (
        pc.Residual([pc.Dense(3, 2)]),
        (3,),
        r"lead back to the shape of its input, \(3,\); got \(2,\)",
    ),
    "Residual, the chain does not fit": (
        pc.Residual([pc.Dense(3, 2), pc.Dense(3, 3)]),
        (3,),
        r"Dense must take inputs of shape \(3,\), got \(2,\)",
    ),
}
INDICES = {
    "too large": (np.array([[0, 1], [4, 2]]), ValueError, r"x must hold indices 0\.\.3; got 4 in sample 1"),
    "negative": (np.array([[0, 1], [1, -1]]), ValueError, r"x must hold indices 0\.\.3; got -1 in sample 1"),
    "floats": (
        np.array([[0.0, 1.0]]),
        TypeError,
        "x must hold integers, indices of an Embedding, got float64",
    ),
    "booleans": (
        np.array([True, False]),
        TypeError,
        "x must hold integers, indices of an Embedding, got bool",
    ),
    "a list": ([[0, 1]], TypeError, "x must be a NumPy or CuPy array, got list"),
}


@pytest.mark.parametrize("name", BUILD)
def test_a_block_that_makes_no_sense_is_refused(name):
    """When it is built: the symbol, what was expected, what was given."""
    call, error, message = BUILD[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", FIT)
def test_samples_that_do_not_fit_are_refused(name):
    """When the network is built: ``out_shape`` names both shapes."""
    block, shape, message = FIT[name]
    with pytest.raises(ValueError, match=message):
        block.out_shape(shape)


EMBEDDED = pc.Network([pc.Embedding(4, 2), pc.Flatten(), pc.Dense(4, 2)], input_shape=(2,))


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("rule", [backprop, spc, epc])
def test_bad_indices_are_refused(name, rule):
    """NumPy would take -1 for the last row, and CuPy wraps whatever it is given."""
    x, error, message = INDICES[name]
    with pytest.raises(error, match=message):
        rule.gradient(EMBEDDED, EMBEDDED.init(), x, np.zeros((2, 2)))


def test_good_indices_pass():
    """Any integer type, all the same."""
    x = np.array([[0, 3], [2, 1]])
    outputs = [EMBEDDED.forward(EMBEDDED.init(), x.astype(kind)) for kind in ("int8", "uint8", "int64")]
    assert all(np.array_equal(output, outputs[0]) for output in outputs)


def test_an_embedding_has_no_derivative_by_its_input():
    """Asked for, it says why; it must not be silent about it."""
    block, x = pc.Embedding(4, 2), np.array([0, 3])
    p = block.init_params(np.random.default_rng(0), "float64")
    mu, tape = block.forward(p, x)
    with pytest.raises(TypeError, match="no derivative with respect to its input, which is indices"):
        block.vjp(p, tape, mu)
    with pytest.raises(TypeError, match="no derivative with respect to its input, which is indices"):
        block.jvp(p, tape, mu)


def test_numbers_of_numpy_are_accepted():
    """As every other number; the configuration stays plain."""
    block = pc.Conv2d(np.int64(2), 3, np.int32(2), gain=np.float32(0.5))
    assert block.out_shape((2, 4, 4)) == (3, 3, 3)
    assert {type(value) for value in block.config().values()} == {int, float, str}
    assert pc.LayerNorm([np.int64(3)]).config() == {"shape": [3], "eps": 1e-5}
    assert pc.Residual([pc.Dense(2, 2)], np.float64(2)).config()["skip"] == 2.0
