"""Where RTRL's carry and influence lie: beside the parameters, or they are refused."""

import pytest

from backend.fakecupy import DeviceArray, to_device
from backend.time_calls import leaves, setting
from minipc import bptt, rtrl


@pytest.mark.parametrize("where", ["gated", "LRU", "GRU, LSTM"])
def test_a_carry_of_another_place_is_refused(where, fake_device):
    """States on the host, parameters on the device, and the other way round."""
    net, p = setting(where)
    there, rest = to_device(p), p._replace(h0=None)
    for mine, other in ((rest, there), (to_device(rest), p)):
        carry = rtrl.gradient(net, *other).carry
        with pytest.raises(TypeError, match=r"carry is a (cupy|numpy) array but the parameters are"):
            rtrl.gradient(net, *mine, carry=carry)


@pytest.mark.parametrize("where", ["gated", "LRU", "GRU, LSTM"])
def test_the_influence_is_where_the_states_are(where, fake_device):
    """From the start, before any step, also that of the blocks below a cell."""
    net, p = setting(where)
    M = rtrl.start_influence(
        "exact", net, to_device(p.params), bptt.prepare_sequences(net, *to_device(p)).start
    )
    arrays = leaves([M.own, M.below])
    assert len(arrays) > len(net.cells)
    assert {type(a) for a in arrays} == {DeviceArray}
