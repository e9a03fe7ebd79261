"""BPTT and RTRL in every form against autograd through the unrolled network: random chains of blocks and cells."""

import numpy as np
import pytest
from helpers.checks import assert_live, assert_same
from hypothesis import given
from hypothesis import strategies as st

import minipc as pc
from reference import temporal_oracles as ad
from reference.temporal_problems import RECURRENT, make

KINDS = {
    "dense": pc.Dense,
    "rnn": pc.RNN,
    "gru": pc.GRU,
    "lstm": pc.LSTM,
    "elstm": pc.ELSTM,
    "lru": pc.LRU,
    "rtu": pc.RTU,
}
EXACT = 1e-10
SEEDS = st.integers(0, 2**32 - 1)


def network(problem):
    """The engine's network of a problem."""
    blocks = []
    for block, p in zip(problem.blocks, problem.params, strict=True):
        options = {k: v for k, v in block.items() if k != "kind"}
        if block["kind"] == "embedding":
            blocks.append(pc.Embedding(*p["W"].shape))
        elif block["kind"] == "dense":
            blocks.append(pc.Dense(*p["W"].shape[::-1], **options))
        else:
            first = {"elstm": "Wz", "lru": "B_re", "rtu": "W1"}.get(block["kind"], "U")
            n, m = p[first].shape
            n //= {"gru": 3, "lstm": 4}.get(block["kind"], 1)
            options["learn_h0"] = any(name.startswith("h0") for name in p)
            if block["kind"] == "lru":
                options["n_out"] = len(p["D"])
            blocks.append(KINDS[block["kind"]](m, n, **options))
    shape = () if problem.blocks[0]["kind"] == "embedding" else None
    return pc.RecurrentNetwork(blocks, problem.loss, input_shape=shape)


def native(problem):
    """The initial states as the engine wants them: complex numbers for an LRU."""
    return None if problem.h0 is None else ad.native(problem.blocks, problem.h0)


def call(rule, problem, **options):
    """A rule of the engine on a problem."""
    p = problem
    return rule(network(p), p.params, p.inputs, p.targets, p.mask, native(p), p.reset, **options)


def flat(grads):
    """All gradients in one vector: entries of a small parameter count beside those of a large one."""
    return np.concatenate([value.ravel() for p in grads for value in p.values()])


def assert_gradient(g, problem, oracle=ad.loss_gradient, **options):
    """Every entry, against the oracle."""
    expected = oracle(*problem.arguments, **options)
    assert_live(flat(expected))
    assert [p.keys() for p in g.grads] == [p.keys() for p in problem.params]
    assert_same(
        flat(g.grads),
        flat([{k: e[k] for k in p} for p, e in zip(g.grads, expected, strict=True)]),
        rtol=EXACT,
    )


def draw(seed, **options):
    """A problem, by chance with resets and with learned initial states."""
    rng = np.random.default_rng(seed)
    options = {"reset": bool(rng.random() < 0.5), "learn_h0": bool(rng.random() < 0.5), **options}
    return make(rng, **options)


@pytest.mark.parametrize("cell", RECURRENT)
@given(seed=SEEDS)
def test_bptt_is_the_gradient(cell, seed):
    """(BPTT.1)-(BPTT.3): one cell of each kind, with blocks around it; loss and dLoss/dh_0, too."""
    p = draw(seed, cells=[cell])
    g = call(pc.bptt.gradient, p)
    assert_gradient(g, p)
    assert_same(g.loss, ad.loss(*p.arguments), rtol=EXACT)
    assert_same(g.initial, ad.native(p.blocks, ad.initial_gradient(*p.arguments)), rtol=EXACT)


@given(seed=SEEDS)
def test_bptt_of_stacks_is_the_gradient(seed):
    """Any chain of one or two cells."""
    p = draw(seed)
    assert_gradient(call(pc.bptt.gradient, p), p)


@given(seed=SEEDS, segment=st.integers(1, 9))
def test_checkpointed_bptt_is_the_gradient(seed, segment):
    """Whatever the segments."""
    p = draw(seed)
    g = call(pc.bptt.checkpointed, p, segment=segment)
    assert_gradient(g, p)
    assert_same(g.loss, ad.loss(*p.arguments), rtol=EXACT)
    assert_same(g.initial, ad.native(p.blocks, ad.initial_gradient(*p.arguments)), rtol=EXACT)


@given(seed=SEEDS, steps=st.integers(1, 5))
def test_truncated_bptt_is_the_sum_over_windows(seed, steps):
    """(BPTT.4): every loss sees the last k steps."""
    p = draw(seed)
    assert_gradient(call(pc.bptt.truncated, p, steps=steps), p, ad.truncated_gradient, steps=steps)


@pytest.mark.parametrize("influence", ["exact", "hybrid"])
@pytest.mark.parametrize("cell", RECURRENT)
@given(seed=SEEDS)
def test_rtrl_is_the_gradient(influence, cell, seed):
    """(RTRL.1)-(RTRL.2), (HYB.1)-(HYB.2): one cell of each kind, with blocks around it."""
    p = draw(seed, cells=[cell])
    options = {"block": 1 + seed % 5} if influence == "hybrid" else {}
    assert_gradient(call(pc.rtrl.gradient, p, influence=influence, **options), p)


@given(seed=SEEDS, block=st.sampled_from([None, 1, 2, 3, 5]))
def test_rtrl_of_stacks_is_the_gradient(seed, block):
    """(STACK.2): any chain; ``block`` None is step by step."""
    p = draw(seed)
    options = {"influence": "exact"} if block is None else {"block": block}
    g = call(pc.rtrl.gradient, p, **options)
    assert_gradient(g, p)
    assert_same(g.loss, ad.loss(*p.arguments), rtol=EXACT)


@given(seed=SEEDS)
def test_the_layer_local_rule_is_what_it_says(seed):
    """(STACK.4): its own past, and space at the same step."""
    p = draw(seed)
    assert_gradient(call(pc.rtrl.gradient, p, influence="local"), p, ad.layer_local_gradient)


@given(seed=SEEDS, cut=st.integers(1, 3), block=st.sampled_from([None, 2]))
def test_stretches_of_time_add_up(seed, cut, block):
    """(RTRL.6): the carry takes states, influence and the place where resets go to."""
    p = draw(seed)
    options = {"influence": "exact"} if block is None else {"block": block}
    first, rest = (
        p._replace(
            inputs=p.inputs[s],
            targets=p.targets[s],
            mask=p.mask[s],
            reset=None if p.reset is None else p.reset[s],
        )
        for s in (slice(cut), slice(cut, None))
    )
    a = call(pc.rtrl.gradient, first._replace(mask=None), **options)
    whole = call(
        pc.rtrl.gradient,
        p._replace(mask=np.concatenate([np.ones_like(p.mask[:cut]), p.mask[cut:]])),
        **options,
    )
    b = call(pc.rtrl.gradient, rest._replace(h0=None), carry=a.carry, **options)
    assert_same(flat(pc.bptt.added(a.grads, b.grads)), flat(whole.grads), rtol=EXACT)
    assert_same(b.final, whole.final, rtol=EXACT)


@given(seed=SEEDS)
def test_an_embedding_in_front(seed):
    """Integers (T, B): its rows are parameters that every state follows."""
    rng = np.random.default_rng(seed)
    p = make(rng, ["embedding", str(rng.choice(RECURRENT)), "dense"])
    assert_gradient(call(pc.bptt.gradient, p), p)
    assert_gradient(call(pc.rtrl.gradient, p, influence="exact"), p)
    assert_gradient(call(pc.rtrl.gradient, p, block=2), p)


@pytest.mark.parametrize("cell", RECURRENT)
@given(seed=SEEDS)
def test_one_step_of_a_cell(cell, seed):
    """J_t and Mbar_t, (RNN.4), (RNN.5) and the like of all cells; the vjp is their product with a vector."""
    rng = np.random.default_rng(seed)
    p = make(rng, [cell])
    block, q, h, u = network(p).blocks[0], p.params[0], native(p)[0], p.inputs[0]
    _, tape = block.step(q, h, u)
    J, Mbar = ad.state_jacobian(p.blocks[0], q, p.h0[0], u), ad.immediate_jacobian(p.blocks[0], q, p.h0[0], u)
    found = block.immediate_jacobian(q, tape)
    if cell == "lru":  # complex numbers for pairs of real ones
        n = block.n
        zeta = block.state_jacobian(q, tape)
        pairs = np.block([[zeta.real, -zeta.imag], [zeta.imag, zeta.real]])
        assert_same(pairs, J, rtol=EXACT)
        assert found.keys() == {"nu", "th", "B_re", "B_im", "lg"} & q.keys()
        expected = [Mbar[k][:, :n] + 1j * Mbar[k][:, n:] for k in found]
        assert_same([found[k] for k in found], expected, rtol=EXACT)
        return
    v = rng.standard_normal(h.shape)
    assert_same(block.state_jacobian(q, tape), J, rtol=EXACT)
    assert_same([found[k] for k in found], [Mbar[k] for k in found], rtol=EXACT)
    down, into, grads = block.vjp(q, tape, v)
    assert_same(down, np.einsum("bkj,bk->bj", J, v), rtol=EXACT)
    assert_same(into, np.einsum("bkj,bk->bj", ad.input_jacobian(p.blocks[0], q, p.h0[0], u), v), rtol=EXACT)
    assert_same(
        [grads[k] for k in found], [np.einsum("bk,bk...->...", v, Mbar[k]) for k in found], rtol=EXACT
    )


@pytest.mark.parametrize("influence", ["hybrid", "exact"])
def test_a_stretch_of_time_may_be_without_targets(influence):
    """A stream with delayed targets: the stretch has no gradient of its own, but the next one goes through it."""
    p = make(np.random.default_rng(0), ["gru", "dense"], T=6)
    late = np.arange(6)[:, None] >= np.full(p.mask.shape[1], 3)
    whole = call(pc.rtrl.gradient, p._replace(mask=late), influence=influence)
    early = p._replace(inputs=p.inputs[:3], targets=p.targets[:3], mask=late[:3])
    a = call(pc.rtrl.gradient, early, influence=influence)
    assert all(np.all(value == 0) for value in [*flat(a.grads), a.loss])
    rest = p._replace(inputs=p.inputs[3:], targets=p.targets[3:], mask=late[3:], h0=None)
    b = call(pc.rtrl.gradient, rest, carry=a.carry, influence=influence)
    assert_same(flat(b.grads), flat(whole.grads), rtol=EXACT)
    with pytest.raises(ValueError, match="mask must be True somewhere"):
        call(pc.bptt.gradient, early)
