"""How the error travels in sPC: claims S19 and S20, exact for any activation."""

import numpy as np
import pytest
from helpers.battery import network
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import problems
from hypothesis import given
from hypothesis import strategies as st

from minipc import spc
from reference import autograd_oracles as ad

noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")  # a step of 1 is often too long


def errors_of_the_run(p, lam):
    """eps[l] at every step k = 0..L-1 from the feedforward point."""
    net, s = network(p), spc.feedforward(network(p), p.params, p.x)
    run = spc.infer(
        net, p.params, s, p.y, p.precision, inference_steps=len(p.layers) - 1, step_size=lam, record_every=1
    )
    return [spc.errors(net, p.params, s, p.y, p.precision).eps for s in run.recording.states]


def law(p, lam):
    """-lam^(L-l) pi_{l+1} ... pi_{L-1} delta_l of the layers 1..L-1, Eqs. (sPC.9), (sPC.10)."""
    L, pi = len(p.layers), ad.precisions(p.layers, p.precision)
    delta = ad.deltas(p.layers, p.params, p.x, p.y, p.loss, pi[-1])
    way = [np.prod([1.0 if v is None else v for v in pi[l : L - 1]]) for l in range(1, L)]
    return [-(lam ** (L - l)) * way[l - 1] * delta[l] for l in range(1, L)]


@noisy
@given(problems(depth=(3, 5), precisions=(None, "unit", "scalar")), st.sampled_from([0.3, 1.0]))
def test_silence_then_the_first_arrival(p, lam):
    """S19, S20: nothing at all before step L - l, Eq. (sPC.8), then backprop's delta times the factors on the way."""
    eps, L, expected = errors_of_the_run(p, lam), len(p.layers), law(p, lam)
    states = spc.feedforward(network(p), p.params, p.x)
    assert_live(expected, min_norm=0)
    for l in range(1, L):
        assert not any(eps[k][l].any() for k in range(L - l))
        deviation, size = eps[L - l][l] - expected[l - 1], np.linalg.norm(states[l])  # a difference of states
        assert np.linalg.norm(deviation) < 1e-12 * np.linalg.norm(expected[l - 1]) + 1e-14 * size


@given(problems(depth=(3, 4), precisions=("scalar",), losses=("mse",)))
def test_the_law_without_the_precisions_on_the_way_is_wrong(p):
    """Control of S20: the product of the precisions matters, from the second layer below the output on."""
    with_precisions, without = (
        law(p, 0.5),
        law(p._replace(precision=[None] * (len(p.layers) - 1) + p.precision[-1:]), 0.5),
    )
    assert_differ(without[:-1], with_precisions[:-1], min_rel=1e-4)
    assert_same(without[-1], with_precisions[-1])
