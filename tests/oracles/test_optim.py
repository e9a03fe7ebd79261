"""Optimisers and schedules against loops over entries written from the equations, identities, and PyTorch.

``tests/mistakes`` shows that checks of this kind can fail.
"""

import itertools

import numpy as np
import pytest
from backend.calls import OPTIMISERS
from helpers.checks import assert_differ, assert_live, assert_same, leaves, read_only
from hypothesis import given
from hypothesis import strategies as st

import minipc as pc
from reference import index_loops as loops

NAMES = [pytest.param(rule, id=name) for name, rule in OPTIMISERS.items()]


def tree(rng, shapes, dtype=float):
    """A list of dicts of random arrays, one a block."""
    return [{k: rng.standard_normal(s).astype(dtype) for k, s in block.items()} for block in shapes]


SHAPES = [{"W": (3, 4), "b": (3,)}, {}, {"W": (2, 3, 2, 2), "b": (2,)}, {"W": (1, 5)}]


def run(rule, steps=5, shapes=SHAPES, dtype=float, seed=0):
    """Parameters, and the gradients of so many updates; then parameters and state after them."""
    rng = np.random.default_rng(seed)
    params, gradients = tree(rng, shapes, dtype), [tree(rng, shapes, dtype) for _ in range(steps)]
    new, state = params, rule.init(params)
    for grads in gradients:
        new, state = rule.step(new, grads, state)
    return params, gradients, new, state


# ---------------------------------------------------------------------- the loops


def rate(schedule, t):
    """The learning rate after t updates, by the loops."""
    if isinstance(schedule, pc.WarmUp):
        return loops.warm_up_rate(t, schedule.peak, schedule.warm_up)
    if isinstance(schedule, pc.Cosine):
        return loops.cosine_rate(t, schedule.peak, schedule.steps, schedule.warm_up, schedule.final)
    if isinstance(schedule, pc.StepDecay):
        return loops.step_decay_rate(t, schedule.start, schedule.factor, schedule.every, schedule.warm_up)
    return schedule


def entry_update(rule, t, w, g, m, v):
    """One array after t others: new (w, m, v)."""
    eta = rate(rule.learning_rate, t)
    if isinstance(rule, pc.AdamW):
        w = loops.decoupled_decay(w, eta, rule.weight_decay)
    else:
        g = loops.coupled_decay(w, g, rule.weight_decay)
    if isinstance(rule, pc.SGD):
        w, v = loops.momentum_step(w, g, v, eta, rule.momentum, rule.nesterov)
        return w, m, v
    if isinstance(rule, pc.RMSprop):
        w, v = loops.rmsprop_step(w, g, v, eta, rule.decay, rule.eps)
        return w, m, v
    return loops.adam_step(w, g, m, v, t + 1, eta, rule.b1, rule.b2, rule.eps)


def update(rule, t, entries, grads):
    """All arrays; ``entries`` {(l, name): (w, m, v)}, ``grads`` {(l, name): g}, l counting from 1."""
    if rule is None:
        return entries
    if isinstance(rule, pc.Clip):
        clipped = loops.clip(list(grads.values()), rule.norm)
        return update(rule.optimizer, t, entries, dict(zip(grads, clipped, strict=True)))
    if isinstance(rule, pc.ByBlock):
        new = {}
        groups = [({l}, own) for l, own in rule.blocks.items()]
        groups.append(({l for l, _ in entries} - rule.blocks.keys(), rule.otherwise))
        for members, own in groups:
            mine = [at for at in entries if at[0] in members]
            new |= update(own, t, {at: entries[at] for at in mine}, {at: grads[at] for at in mine})
        return new
    return {at: entry_update(rule, t, entries[at][0], grads[at], *entries[at][1:]) for at in entries}


def flat(params):
    """{(l, name): array}."""
    return {(l, name): value for l, p in enumerate(params, start=1) for name, value in p.items()}


def replayed(rule, params, gradients):
    """The parameters after these updates, {(l, name): array}."""
    entries = {at: (w, 0 * w, 0 * w) for at, w in flat(params).items()}
    for t, grads in enumerate(gradients):
        entries = update(rule, t, entries, flat(grads))
    return {at: entry[0] for at, entry in entries.items()}


ETA, SHARE, DECAY = st.floats(1e-3, 0.3), st.floats(0, 0.95), st.sampled_from([0.0, 0.01, 0.5])
COUNT = st.integers(1, 5)
schedules = st.one_of(
    st.builds(pc.WarmUp, ETA, COUNT),
    st.builds(
        lambda peak, length, warm_up, share: pc.Cosine(peak, warm_up + length, warm_up, share * peak),
        *(ETA, COUNT, st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0])),
    ),
    st.builds(pc.StepDecay, ETA, st.floats(0.1, 1.0), COUNT, st.integers(0, 3)),
)
rates = st.one_of(ETA, schedules)
adams = {"learning_rate": rates, "b1": SHARE, "b2": SHARE, "eps": st.sampled_from([1e-8, 1e-2])}
single = st.one_of(
    st.builds(pc.SGD, rates, weight_decay=DECAY),
    st.builds(pc.SGD, rates, st.floats(0.1, 0.95), st.booleans(), DECAY),
    st.builds(pc.RMSprop, rates, SHARE, adams["eps"], DECAY),
    st.builds(pc.Adam, **adams, weight_decay=DECAY),
    st.builds(pc.AdamW, **adams, weight_decay=DECAY),
)
wrapped = st.recursive(
    single,
    lambda inner: st.one_of(
        st.builds(pc.Clip, inner, st.floats(0.5, 10)),
        st.builds(
            pc.ByBlock, st.dictionaries(st.integers(1, 2), st.none() | inner, max_size=2), st.none() | inner
        ),
    ),
    max_leaves=4,
)
widths = st.lists(st.integers(1, 4), min_size=3, max_size=4)


@given(rule=wrapped, sizes=widths, steps=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_any_optimiser_is_its_equations_entry_by_entry(rule, sizes, steps, seed):
    """Every option, schedule and nesting, over several updates; two or three blocks of any widths."""
    shapes = [{"W": (n, m), "b": (n,)} for m, n in itertools.pairwise(sizes)]
    params, gradients, new, _ = run(rule, steps, shapes, seed=seed)
    expected = replayed(rule, params, gradients)
    assert_live(list(expected.values()))
    assert flat(new).keys() == expected.keys()
    for at, value in flat(new).items():
        assert_same(value, expected[at], rtol=1e-12)


@given(schedule=schedules, t=st.integers(0, 40))
def test_any_schedule_is_its_equation(schedule, t):
    """At any update, also far beyond the end; a float that is not negative."""
    actual, expected = schedule(t), rate(schedule, t)
    assert isinstance(actual, float)
    assert 0 <= actual
    assert abs(actual - expected) <= 1e-12 * (
        schedule.start if isinstance(schedule, pc.StepDecay) else schedule.peak
    )


# ---------------------------------------------------------------------- schedules


VALUES = {
    "warm-up": (pc.WarmUp(0.4, 4), {0: 0.1, 1: 0.2, 3: 0.4, 4: 0.4, 1000: 0.4}),
    "warm-up of one": (pc.WarmUp(0.4, 1), {0: 0.4, 1: 0.4}),
    "cosine": (pc.Cosine(0.4, 8), {0: 0.4, 2: 0.2 + 0.2 * 0.5**0.5, 4: 0.2, 8: 0.0, 9: 0.0, 1000: 0.0}),
    "cosine, final": (pc.Cosine(0.4, 6, final=0.1), {0: 0.4, 2: 0.325, 3: 0.25, 4: 0.175, 6: 0.1, 7: 0.1}),
    "cosine, warm-up": (
        pc.Cosine(0.4, 12, warm_up=4),
        {0: 0.1, 1: 0.2, 3: 0.4, 4: 0.4, 8: 0.2, 12: 0.0, 13: 0.0},
    ),
    "steps": (pc.StepDecay(0.8, 0.5, 2), {0: 0.8, 1: 0.8, 2: 0.4, 3: 0.4, 4: 0.2, 20: 0.8 * 2**-10}),
    "steps, warm-up": (
        pc.StepDecay(0.8, 0.5, 2, warm_up=2),
        {0: 0.4, 1: 0.8, 2: 0.8, 3: 0.8, 4: 0.4, 6: 0.2},
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_of_the_schedules(name):
    """At the start, at the end of the warm-up, in the middle, at the end and beyond, worked out by hand."""
    schedule, values = VALUES[name]
    assert {t: schedule(t) for t in values} == pytest.approx(values, rel=1e-14, abs=1e-16)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("rule", [pc.SGD, pc.RMSprop, pc.Adam, pc.AdamW])
def test_an_optimiser_with_a_schedule_is_a_new_optimiser_in_every_update(name, rule):
    """With the rate of that update as its number: bit for bit."""
    schedule, _ = VALUES[name]
    rng = np.random.default_rng(0)
    (p, q), scheduled = (tree(rng, SHAPES),) * 2, rule(schedule)
    state = other = scheduled.init(p)
    for t in range(5):
        grads = tree(rng, SHAPES)
        p, state = scheduled.step(p, grads, state)
        q, other = rule(schedule(t)).step(q, grads, other)
        assert all(np.array_equal(a, b) for a, b in zip(leaves(p), leaves(q), strict=True))


def test_any_function_of_t_is_a_schedule():
    """It is asked once an update, with the number of updates done before."""
    asked = []
    rule = pc.SGD(lambda t: asked.append(t) or 0.1 / (1 + t))
    run(rule, steps=3)
    assert asked == [0, 1, 2]


# ---------------------------------------------------------------------- identities


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_sgd_and_adam_are_their_formulas_bit_for_bit(dtype):
    """As these lines have always been computed."""
    params, gradients, new, _ = run(pc.SGD(0.1), dtype=dtype)
    for (l, name), p in flat(params).items():
        for grads in gradients:
            p = p - 0.1 * grads[l - 1][name]
        assert np.array_equal(new[l - 1][name], p)
        assert new[l - 1][name].dtype == dtype
    eta, b1, b2, eps = 0.01, 0.8, 0.95, 1e-6
    params, gradients, new, state = run(pc.Adam(eta, b1, b2, eps), dtype=dtype)
    for (l, name), p in flat(params).items():
        m = v = np.zeros_like(p)
        for t, grads in enumerate(gradients, start=1):
            g = grads[l - 1][name]
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            p = p - eta * (1 / (1 - b1**t) * m) / ((1 / (1 - b2**t) * v) ** 0.5 + eps)
        for actual, expected in ((new, p), (state.m, m), (state.v, v)):
            assert np.array_equal(actual[l - 1][name], expected)
            assert actual[l - 1][name].dtype == dtype


def test_no_decay_is_no_decay():
    """Bit for bit; and AdamW without it is Adam."""
    for kind in (pc.SGD, pc.RMSprop, pc.Adam):
        assert_same(run(kind(0.1, weight_decay=0.0))[2], run(kind(0.1))[2], rtol=0)
    assert_same(run(pc.AdamW(0.1, weight_decay=0))[2], run(pc.Adam(0.1))[2], rtol=0)


def decoupled_sgd(eta, momentum, weight_decay):
    """Parameters after five updates of gradient descent with (DECAY.2) in front of every update."""
    params, gradients, _, _ = run(pc.SGD(eta))
    rule = pc.SGD(eta, momentum=momentum)
    state = rule.init(params)
    for grads in gradients:
        params = [{k: (1 - eta * weight_decay) * v for k, v in p.items()} for p in params]
        params, state = rule.step(params, grads, state)
    return params


def test_for_plain_gradient_descent_coupled_and_decoupled_decay_are_one():
    """(DECAY.1) and (DECAY.2) with the same eta lambda; with momentum they are not."""
    plain = run(pc.SGD(0.1, weight_decay=0.4))[2]
    assert_same(plain, decoupled_sgd(0.1, 0.0, 0.4), rtol=1e-13)
    assert_differ(plain, run(pc.SGD(0.1))[2], min_rel=0.05)
    assert_differ(
        run(pc.SGD(0.1, momentum=0.5, weight_decay=0.4))[2], decoupled_sgd(0.1, 0.5, 0.4), min_rel=0.01
    )


def test_coupled_decay_is_the_gradient_of_the_squared_length():
    """Of lambda/2 |theta|^2, for all optimisers: handing in that gradient is the same."""
    lam = 0.3
    for kind in (pc.SGD, pc.RMSprop, pc.Adam):
        p, gradients, _, _ = run(kind(0.1))
        q, coupled, plain = p, kind(0.1, weight_decay=lam), kind(0.1)
        state, other = coupled.init(p), plain.init(p)
        for grads in gradients:
            more = [{k: g[k] + lam * w[k] for k in w} for g, w in zip(grads, q, strict=True)]
            p, state = coupled.step(p, grads, state)
            q, other = plain.step(q, more, other)
        assert_same(p, q, rtol=1e-13)


def test_the_statistics_of_batch_norm_do_not_decay():
    """They are parameters, also inside a residual block, but nothing that is learned; gamma and beta decay."""
    inner = pc.BatchNorm2d(2, statistics="frozen")
    net = pc.Network(
        [
            pc.Conv2d(1, 2, 3),
            pc.Residual([inner]),
            pc.BatchNorm2d(2),
            pc.Flatten(),
            pc.Dense(8, 1),
        ],
        input_shape=(1, 4, 4),
    )
    params = [{name: value + 1.0 for name, value in p.items()} for p in net.init(seed=0)]
    zero = [{name: 0 * value for name, value in p.items()} for p in params]
    for rule in (pc.AdamW(0.1, weight_decay=0.5), pc.SGD(0.1, weight_decay=0.5)):
        new, _ = rule.step(params, zero, rule.init(params))
        statistics = {(2, "1.mean"), (2, "1.var"), (3, "mean"), (3, "var")}
        assert statistics < flat(params).keys()
        for (l, name), before in flat(params).items():
            expected = 1.0 if (l, name) in statistics else 1 - 0.1 * 0.5
            assert new[l - 1][name] == pytest.approx(expected * before, rel=1e-14), (l, name)


def test_nesterov_takes_the_gradient_where_the_velocity_leads():
    """(SGD.3) against the form of Sutskever et al. on a quadratic: theta is the point of the gradient."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 5))
    A, eta, mu = A @ A.T / 5, 0.1, 0.8
    point, u = rng.standard_normal(5), np.zeros(5)
    rule, params = pc.SGD(eta, momentum=mu, nesterov=True), [{"b": point}]
    state = rule.init(params)
    for _ in range(20):
        u = mu * u - eta * A @ (point + mu * u)
        point = point + u
        params, state = rule.step(params, [{"b": A @ params[0]["b"]}], state)
        assert_same(params[0]["b"], point + mu * u, rtol=1e-12)
    plain, state = [{"b": params[0]["b"]}], state._replace(v=[{"b": u}])
    rules = (rule, pc.SGD(eta, momentum=mu))
    assert_differ(*(r.step(plain, [{"b": A @ point}], state)[0] for r in rules))


def test_a_constant_gradient_gives_steps_of_one_over_one_minus_mu():
    """In the end, whatever kind of momentum."""
    g = [{"b": np.array([1.0, -2.0])}]
    for nesterov in (False, True):
        rule = pc.SGD(0.1, momentum=0.8, nesterov=nesterov)
        params, state = [{"b": np.zeros(2)}], rule.init(g)
        for _ in range(200):
            before, (params, state) = params, rule.step(params, g, state)
        assert_same(before[0]["b"] - params[0]["b"], 0.1 * g[0]["b"] / (1 - 0.8), rtol=1e-12)


# ---------------------------------------------------------------------- wrappers


def length(grads):
    """Norm of all entries together."""
    return np.linalg.norm(np.concatenate([g.ravel() for g in leaves(grads)]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_short_gradient_is_left_bit_for_bit_as_it_is(dtype):
    """Up to the norm itself; a gradient of zeros too, without a division by zero."""
    rng, rule = np.random.default_rng(0), pc.SGD(0.1)
    for seed in range(20):
        params, gradients, _, _ = run(rule, steps=1, dtype=dtype, seed=seed)
        grads = gradients[0] if seed else [{k: 0 * v for k, v in g.items()} for g in gradients[0]]
        norm = float(length(grads)) * (1 + rng.uniform(1e-5, 1)) + 1e-9
        clipped = pc.Clip(rule, norm).step(params, grads, rule.init(params))
        plain = rule.step(params, grads, rule.init(params))
        for a, b in zip(leaves(clipped[0]), leaves(plain[0]), strict=True):
            assert np.array_equal(a, b)


def test_a_long_gradient_keeps_its_direction_and_has_the_norm():
    """Over all blocks together."""
    params, gradients, _, _ = run(pc.SGD(1.0), steps=1)
    clip = pc.Clip(pc.SGD(1.0), 0.25)
    new, _ = clip.step(params, gradients[0], clip.init(params))
    step = [{k: p[k] - q[k] for k in p} for p, q in zip(params, new, strict=True)]
    assert length(step) == pytest.approx(0.25, rel=1e-12)
    ratios = np.concatenate(
        [(a / b).ravel() for a, b in zip(leaves(step), leaves(gradients[0]), strict=True)]
    )
    assert np.ptp(ratios) < 1e-12 * ratios.mean()


def test_a_network_without_parameters_has_nothing_to_clip():
    """The norm of nothing is zero."""
    clip = pc.Clip(pc.Adam(), 1.0)
    assert clip.step([{}, {}], [{}, {}], clip.init([{}, {}]))[0] == [{}, {}]


def test_clipping_inside_and_outside_of_groups():
    """Outside the norm is that of all blocks, inside that of the group."""
    groups = {3: pc.SGD(0.1), 4: None}
    outside = pc.Clip(pc.ByBlock(groups, pc.SGD(0.1)), 0.5)
    inside = pc.ByBlock(groups, pc.Clip(pc.SGD(0.1), 0.5))
    params, gradients, _, _ = run(outside, steps=1)
    one, other = (rule.step(params, gradients[0], rule.init(params))[0] for rule in (outside, inside))
    assert one[0]["W"] == pytest.approx(
        params[0]["W"] - 0.1 * gradients[0][0]["W"] * 0.5 / length(gradients[0])
    )
    assert other[0]["W"] == pytest.approx(
        params[0]["W"] - 0.1 * gradients[0][0]["W"] * 0.5 / length(gradients[0][:1])
    )
    assert_same(other[2], run(pc.SGD(0.1), steps=1)[2][2], rtol=0)


def test_a_frozen_block_is_returned_as_it_came_and_has_no_state():
    """The others move as if they were alone."""
    rule = pc.ByBlock({1: None, 4: pc.Adam(0.1)}, otherwise=pc.SGD(0.1, momentum=0.5))
    params, _, new, state = run(rule)
    assert all(new[0][k] is params[0][k] for k in params[0])
    assert_same(new[3], run(pc.Adam(0.1))[2][3], rtol=0)
    assert_same(new[2], run(pc.SGD(0.1, momentum=0.5))[2][2], rtol=0)
    assert [type(s).__name__ for s in state] == ["AdamState", "SGDState"]


def test_groups_do_not_depend_on_the_order_of_the_dict_nor_on_its_later_changes():
    """The order of the states is that of the blocks."""
    blocks = {3: pc.Adam(0.1), 1: pc.SGD(0.1)}
    rule = pc.ByBlock(blocks, None)
    assert rule == pc.ByBlock({np.int64(1): blocks[1], 3: blocks[3]}, None)
    assert [type(s).__name__ for s in rule.init(tree(np.random.default_rng(0), SHAPES))] == [
        "SGDState",
        "AdamState",
    ]
    blocks[1] = None
    assert rule.blocks[1] == pc.SGD(0.1)


# ---------------------------------------------------------------------- state


def parts(state):
    """The structure of a state and its leaves, as a checkpoint sees them."""
    if isinstance(state, dict):
        branches = {k: parts(v) for k, v in state.items()}
        return {k: b[0] for k, b in branches.items()}, [leaf for b in branches.values() for leaf in b[1]]
    if isinstance(state, list | tuple):
        branches = [parts(v) for v in state]
        return [type(state).__name__, *(b[0] for b in branches)], [leaf for b in branches for leaf in b[1]]
    return getattr(state, "shape", int), [state]


def rebuilt(template, found):
    """The structure of ``template`` with the leaves of an iterator."""
    if isinstance(template, dict):
        return {k: rebuilt(v, found) for k, v in template.items()}
    if isinstance(template, list | tuple):
        new = [rebuilt(v, found) for v in template]
        return type(template)(*new) if hasattr(template, "_fields") else type(template)(new)
    return next(found)


@pytest.mark.parametrize("rule", NAMES)
def test_a_state_can_be_stored_and_put_back(rule):
    """Leaves are arrays or ints, the structure is that of ``init``, and the run goes on bit for bit."""
    params, gradients, half, state = run(rule, steps=3, dtype=np.float32)
    structure, found = parts(state)
    assert structure == parts(rule.init(params))[0]
    assert {type(leaf) for leaf in found} <= {np.ndarray, int}
    assert {leaf.dtype for leaf in found if type(leaf) is np.ndarray} <= {np.dtype(np.float32)}
    stored = [leaf.copy() if type(leaf) is np.ndarray else leaf for leaf in found]
    again = rebuilt(rule.init(params), iter(stored))
    ways = (rule.step(half, gradients[0], s) for s in (state, again))
    for a, b in zip(*(parts(way)[1] for way in ways), strict=True):
        assert np.array_equal(a, b)


def test_only_what_is_needed_is_kept():
    """Plain SGD keeps a count, momentum and RMSprop one array for each parameter, Adam two."""
    params = tree(np.random.default_rng(0), SHAPES)
    kept = {pc.SGD(0.1): 0, pc.SGD(0.1, momentum=0.5): 1, pc.RMSprop(): 1, pc.Adam(): 2, pc.AdamW(): 2}
    for rule, arrays in kept.items():
        assert len(parts(rule.init(params))[1]) == arrays * len(flat(params)) + 1


@pytest.mark.parametrize("rule", NAMES)
def test_nothing_is_changed_in_place(rule):
    """Parameters, gradients and state are read-only, and two steps from the same state agree."""
    params, gradients, new, state = run(rule, steps=2)
    read_only([a for a in parts([params, gradients, new, state])[1] if type(a) is np.ndarray])
    one, other = (rule.step(new, gradients[0], state) for _ in range(2))
    for a, b in zip(parts(one)[1], parts(other)[1], strict=True):
        assert np.array_equal(a, b)


def test_the_state_of_sgd_may_be_none_at_the_start():
    """It has always been; and afterwards the updates are counted."""
    params, gradients, _, _ = run(pc.SGD(0.1), steps=1)
    for rule in (pc.SGD(0.1), pc.SGD(pc.WarmUp(0.1, 5), momentum=0.5)):
        one, other = (rule.step(params, gradients[0], s) for s in (None, rule.init(params)))
        assert_same(one[0], other[0], rtol=0)
        assert one[1].t == 1


# ---------------------------------------------------------------------- PyTorch

WITH_TORCH = {
    "SGD": (pc.SGD(0.1), "SGD", {"lr": 0.1}),
    "momentum": (
        pc.SGD(0.1, momentum=0.7, weight_decay=0.2),
        "SGD",
        {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.2},
    ),
    "Nesterov": (
        pc.SGD(0.1, momentum=0.7, nesterov=True, weight_decay=0.2),
        "SGD",
        {"lr": 0.1, "momentum": 0.7, "nesterov": True, "weight_decay": 0.2},
    ),
    "RMSprop": (
        pc.RMSprop(0.01, decay=0.8, eps=1e-5, weight_decay=0.2),
        "RMSprop",
        {"lr": 0.01, "alpha": 0.8, "eps": 1e-5, "weight_decay": 0.2},
    ),
    "Adam": (
        pc.Adam(0.01, 0.8, 0.95, 1e-5, weight_decay=0.2),
        "Adam",
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.2},
    ),
    "AdamW": (
        pc.AdamW(0.01, 0.8, 0.95, 1e-5, weight_decay=0.2),
        "AdamW",
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.2},
    ),
}


def by_torch(torch, name, options, params, gradients, norm=None, schedule=None):
    """The parameters after the same updates, by torch.optim."""
    tensors = {at: torch.tensor(w) for at, w in flat(params).items()}
    optimizer = getattr(torch.optim, name)(list(tensors.values()), **options)
    scheduler = schedule(optimizer) if schedule else None
    for grads in gradients:
        for at, g in flat(grads).items():
            tensors[at].grad = torch.tensor(g)
        if norm:
            torch.nn.utils.clip_grad_norm_(list(tensors.values()), norm)
        optimizer.step()
        if scheduler:
            scheduler.step()
    return {at: tensor.numpy() for at, tensor in tensors.items()}


@pytest.mark.parametrize("name", WITH_TORCH)
def test_the_conventions_are_those_of_pytorch(name):
    """Twenty updates of every optimiser with all of its options."""
    torch = pytest.importorskip("torch")
    rule, theirs, options = WITH_TORCH[name]
    params, gradients, new, _ = run(rule, steps=20)
    expected = by_torch(torch, theirs, options, params, gradients)
    assert_same(list(flat(new).values()), list(expected.values()), rtol=1e-12)


def test_clipping_is_that_of_pytorch():
    """But for the 1e-6 that PyTorch adds to the norm."""
    torch = pytest.importorskip("torch")
    params, gradients, new, _ = run(pc.Clip(pc.SGD(0.1), 0.5), steps=20)
    expected = by_torch(torch, "SGD", {"lr": 0.1}, params, gradients, norm=0.5)
    assert_same(list(flat(new).values()), list(expected.values()), rtol=1e-6)


def test_schedules_are_those_of_pytorch():
    """WarmUp is LinearLR from 1/w, Cosine is CosineAnnealingLR, StepDecay is StepLR; one after the other SequentialLR."""
    torch = pytest.importorskip("torch")
    s = torch.optim.lr_scheduler

    def warm(o, w=4):
        return s.LinearLR(o, start_factor=1 / w, total_iters=w - 1)

    pairs = [
        (pc.WarmUp(0.1, 4), warm),
        (pc.Cosine(0.1, 20, final=0.01), lambda o: s.CosineAnnealingLR(o, 20, 0.01)),
        (pc.StepDecay(0.1, 0.5, 3), lambda o: s.StepLR(o, 3, 0.5)),
        (
            pc.StepDecay(0.1, 0.5, 3, warm_up=4),
            lambda o: s.SequentialLR(o, [warm(o), s.StepLR(o, 3, 0.5)], [4]),
        ),
        (
            pc.Cosine(0.1, 20, warm_up=4, final=0.01),
            lambda o: s.SequentialLR(o, [warm(o), s.CosineAnnealingLR(o, 16, 0.01)], [4]),
        ),
    ]
    for ours, theirs in pairs:
        params, gradients, new, _ = run(pc.SGD(ours), steps=20)
        expected = by_torch(torch, "SGD", {"lr": 0.1}, params, gradients, schedule=theirs)
        assert_same(list(flat(new).values()), list(expected.values()), rtol=1e-12)
