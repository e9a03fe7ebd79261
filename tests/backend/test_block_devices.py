"""Every face of every block on the stand-in device: the numbers of NumPy, no synchronisation, nothing edited."""

import numpy as np
import pytest
from helpers.block_cases import CASES, setting
from helpers.block_networks import NETWORKS, problem
from helpers.checks import assert_same

import minipc as pc
from backend.calls import arrays
from backend.fakecupy import DeviceArray, count_syncs, map_arrays, to_device
from minipc import backprop, epc, spc

every_case = pytest.mark.parametrize("name", CASES)


def faces(c):
    """Output, J^T v, gradients, tangents along the input alone and along everything."""
    mu, tape = c.block.forward(c.p, c.s)
    down, grads = c.block.vjp(c.p, tape, c.v, input=c.s_dot is not None)
    return [mu, down, grads, c.block.jvp(c.p, tape, c.s_dot), c.block.jvp(c.p, tape, c.s_dot, c.p_dot)]


def moved(c, function):
    """The setting with its arrays put elsewhere; block and configuration stay."""
    fields = {name: function(getattr(c, name)) for name in ("p", "s", "v", "s_dot", "p_dot")}
    return c._replace(**fields)


def cast(dtype):
    """Floats in another precision; integers are indices."""
    return lambda tree: map_arrays(lambda a: a if a.dtype.kind == "i" else a.astype(dtype), tree)


@every_case
def test_a_block_stays_on_the_device(name, fake_device):
    """Device arrays out, which are read-only on their way in; the host never waits."""
    c = setting(CASES[name], pc, 1)
    there = moved(c, to_device)
    with count_syncs() as syncs:
        actual = arrays(faces(there))
        assert syncs() == 0
    assert {type(a) for a in actual} == {DeviceArray}
    assert_same([1 + a.get() for a in actual], [1 + a for a in arrays(faces(c))], rtol=1e-12)


@every_case
def test_a_block_keeps_float32_on_the_device(name, fake_device):
    """No promotion by an index, a count or a factor."""
    c = moved(moved(setting(CASES[name], pc, 2), cast(np.float32)), to_device)
    assert {a.dtype for a in arrays(faces(c))} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("rule", "waits"), [(backprop, 2), (spc, 3), (epc, 3)])
def test_a_network_of_these_blocks_stays_on_the_device(name, rule, waits, fake_device):
    """The numbers of NumPy and no more synchronisations than for Dense blocks."""
    net, _, params, x, _, _, y = problem(name, 1)
    options = {} if rule is backprop else {"inference_steps": 4, "step_size": 0.05}
    expected = rule.gradient(net, params, x, y, **options)
    there = to_device([params, x, y])
    with count_syncs() as syncs:
        actual = rule.gradient(net, *there, **options)
        assert syncs() == waits
    assert {type(a) for a in arrays(actual)} == {DeviceArray}
    assert_same(arrays(actual.grads), arrays(expected.grads), rtol=1e-12)


def test_indices_on_the_device_are_checked(fake_device):
    """There an index out of range would wrap around without a word."""
    net, _, params, x, *_, y = problem("indices", 1)
    there = to_device([params, np.where(x == x.max(), 5, x), y])
    with pytest.raises(ValueError, match=r"indices 0\.\.4; got 5 in sample"):
        spc.gradient(net, *there)


@pytest.mark.gpu
@pytest.mark.skipif(not pc.gpu_available(), reason="needs CuPy and a device")
@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_real_device_gives_the_numbers_of_numpy(name, dtype):
    """At 1e-10 in float64; float32 stays."""
    import cupy

    c = moved(setting(CASES[name], pc, 1), cast(dtype))
    actual, expected = arrays(faces(moved(c, lambda t: map_arrays(cupy.asarray, t)))), arrays(faces(c))
    assert {type(a) for a in actual} == {cupy.ndarray}
    assert {a.dtype for a in actual} == {np.dtype(dtype)}
    rtol = 1e-10 if dtype is np.float64 else 1e-4
    assert_same([1 + a.get() for a in actual], [1 + a for a in expected], rtol=rtol)
