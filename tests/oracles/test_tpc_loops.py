"""The loop of tPC against what it must be by theory: derivatives of sums of energies, limits, conditioned Gaussians."""

import numpy as np
import pytest
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.tpc_battery import spd

from reference import temporal_oracles as ad
from reference import tpc_loops as loops
from reference.temporal_problems import make

T, B = 4, 2
CHAINS = {
    "one readout block": ["rnn", "dense"],
    "two": ["dense", "gru", "dense", "dense"],
    "LRU": ["lru", "dense"],
    "LRU over RNN": ["rnn", "lru"],
}
SETTLED = {"inference": "newton", "inference_steps": 40, "step_size": 0.1, "beta": 0.6}


def draw(chain, seed=0):
    """A problem, and precisions of the inferred states."""
    rng = np.random.default_rng(seed)
    p = make(rng, chain, activation="tanh", loss="mse", radius=1.0, T=T, B=B, reset=True)
    last = max(l for l, block in enumerate(p.blocks) if ad.is_cell(block))
    widths = [ad.state_width(p.blocks[last], p.params[last])]
    if p.blocks[last]["kind"] == "lru" and last + 1 < len(chain):
        widths.append(len(p.params[last]["D"]))
    widths += [len(q["b"]) for q in p.params[last + 1 : -1]]
    if "activation" in p.blocks[-1]:
        p.blocks[-1]["activation"] = "identity"
    return p, [*(spd(rng, n) + 1.5 * np.eye(n) for n in widths), None]  # one equilibrium


def flat(grads):
    """All numbers in one vector."""
    return np.concatenate([v.ravel() for q in grads for _, v in sorted(q.items())])


def slope(p, function, seed=1, h=1e-5):
    """Central difference of a number in a random direction of the parameters, and that direction."""
    rng = np.random.default_rng(seed)
    way = [{k: rng.standard_normal(v.shape) for k, v in q.items()} for q in p.params]
    ends = [
        function(
            p._replace(
                params=[
                    {k: v + s * h * w[k] for k, v in q.items()} for q, w in zip(p.params, way, strict=True)
                ]
            )
        )
        for s in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * h), flat(way)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(("carry", "influence"), [("state", "implicit"), ("prediction", "plain")])
def test_the_gradient_of_the_sum_of_equilibrated_energies(name, carry, influence):
    """(TPR.8), (TPR.9): at equilibrium, by a difference quotient; the other influences are not that."""
    p, Pi = draw(CHAINS[name])
    options = {"carry": carry, "precision": Pi, **SETTLED}
    found = loops.gradient(p, influence=influence, **options)
    expected, way = slope(p, lambda q: loops.gradient(q, "plain", **options).energy.sum())
    assert_live(found.grads)
    assert_same(np.array(flat(found.grads) @ way), np.array(expected), rtol=1e-7)
    wrong = loops.gradient(p, influence=None, **options)
    assert_differ(np.array(flat(wrong.grads) @ way), np.array(expected), 1e-3)


@pytest.mark.parametrize("name", CHAINS)
def test_fixed_predictions_are_bptt(name):
    """(TPR.10), with any precision."""
    p, Pi = draw(CHAINS[name])
    found = loops.gradient(p, "plain", "prediction", "fixed", beta=0.3, precision=Pi)
    assert_same(found.grads, ad.loss_gradient(*p.arguments), rtol=1e-12)
    assert_same(found.loss, ad.loss(*p.arguments), rtol=1e-12)


@pytest.mark.parametrize(("inference", "step_size"), [("spc", 0.15), ("epc", 0.1)])
def test_descent_ends_at_the_equilibrium(inference, step_size):
    """Of sPC and of ePC: the same states, the same gradient."""
    p, Pi = draw(["gru", "dense", "dense"])
    options = {
        "beta": 0.6,
        "precision": Pi,
        "inference_steps": 300,
        "step_size": step_size,
        "inference": inference,
    }
    found = loops.gradient(p, "implicit", **options)
    expected = loops.gradient(p, "implicit", precision=Pi, **SETTLED)
    assert_same(
        [found.states, found.grads, found.energy], [expected.states, expected.grads, expected.energy], 1e-9
    )
    lane, (u, y) = loops.Lane(p, 0, 0.6, Pi), (p.inputs[-1, 0], p.targets[-1, 0])
    context = lane.predict(lane.theta, lane.start(lane.theta), u)
    free = lane.infer(lane.theta, context, u, y, "newton", 40, 0.1)
    assert np.abs(loops.grad(lane.energy, 1)(lane.theta, free, context, u, y)).max() < 1e-12


def test_without_influence_a_small_beta_is_truncated_bptt_of_one_step():
    """(tPC.10): O(beta)."""
    p, _ = draw(CHAINS["one readout block"])
    p = p._replace(reset=None)
    expected = ad.truncated_gradient(*p.arguments, steps=1)
    found = loops.gradient(p, None, "state", beta=1e-7, inference_steps=1, step_size=1.0)
    assert_same(found.grads, expected, rtol=1e-5)


@pytest.mark.parametrize("missing", [False, True])
def test_the_filter_is_the_conditioned_gaussian(missing):
    """Means and covariances of the state given all observations so far, from the joint distribution of everything."""
    rng, n, o, steps = np.random.default_rng(0), 3, 2, 4
    A, C, Q, R = rng.standard_normal((n, n)), rng.standard_normal((o, n)), spd(rng, n), spd(rng, o)
    b, y = rng.standard_normal((steps, n)), rng.standard_normal((steps, o))
    seen = rng.random((steps, o)) < 0.6 if missing else np.ones((steps, o), bool)
    start, P = rng.standard_normal(n), spd(rng, n)
    means, covariances = loops.kalman_filter(A, C, Q, R, b, y, seen, start, P)
    # x_t as a linear map of (x_0 - start, w_1, ..., w_T)
    maps, mean, now = [], start, np.concatenate([np.eye(n), np.zeros((n, n * steps))], axis=1)
    prior = np.zeros((n * (steps + 1),) * 2)
    prior[:n, :n] = P
    for t in range(steps):
        prior[n * (t + 1) : n * (t + 2), n * (t + 1) : n * (t + 2)] = Q
        now = A @ now
        now[:, n * (t + 1) : n * (t + 2)] += np.eye(n)
        mean = A @ mean + b[t]
        maps.append((now.copy(), mean))
        G = np.concatenate([C[seen[i]] @ maps[i][0] for i in range(t + 1)])
        noise = np.zeros((len(G), len(G)))
        at = 0
        for i in range(t + 1):
            k = int(seen[i].sum())
            noise[at : at + k, at : at + k] = R[np.ix_(seen[i], seen[i])]
            at += k
        v = np.concatenate([(y[i] - C @ maps[i][1])[seen[i]] for i in range(t + 1)])
        K = prior @ G.T @ np.linalg.inv(G @ prior @ G.T + noise)
        assert_same(means[t], mean + now @ K @ v, rtol=1e-10)
        assert_same(covariances[t], now @ (prior - K @ G @ prior) @ now.T, rtol=1e-10)
