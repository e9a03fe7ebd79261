"""The approximations of RTRL against dense influences with every index spelled out, and against RTRL."""

import numpy as np
import pytest
from helpers.approximation_battery import Fed
from helpers.checks import assert_differ, assert_live, assert_same
from helpers.strategies import SEEDS, fewer
from helpers.temporal_battery import network, states
from hypothesis import given
from hypothesis import strategies as st

import minipc as pc
from minipc import approximations, rtrl
from reference import approximation_oracles as oracles
from reference.temporal_problems import make

TOL = 1e-10
KINDS = st.sampled_from(["rnn", "gru", "lstm"])
RESET = st.booleans()
EVERY_CELL = ("snap-1", "snap-2", "snap-3", "rflo", "uoro", "reverse-kf")


def draw(seed, kind, **options):
    """A problem of one cell, T 5 and two lanes."""
    options = {"T": 5, "B": 2, "loss": "mse", **options}
    return make(np.random.default_rng(seed), [kind], **options)


def sparse(p, seed=0):
    """The same problem with about half of the recurrent weights zero, none of them on the diagonal."""
    theta, rng = p.params[0], np.random.default_rng(seed)
    n = theta["W"].shape[1]
    kept = (rng.random((n, n)) < 0.4) | np.eye(n, dtype=bool)
    W = theta["W"].reshape(-1, n, n) * kept
    return p._replace(params=[{**theta, "W": W.reshape(theta["W"].shape)}])


def ring(p):
    """The same problem with a ring of units that see themselves and the one before, each with a weight of 1."""
    theta = p.params[0]
    n = theta["W"].shape[1]
    sign = np.where(np.arange(n) % 2, 1.0, -1.0)
    one = np.eye(n) * sign[:, None] + np.roll(np.eye(n), 1, axis=0)
    gates = len(theta["W"]) // n
    return p._replace(params=[{**theta, "W": np.concatenate([one] * gates)}])


def engine(p, influence, **options):
    """rtrl.gradient of the engine."""
    return rtrl.gradient(
        network(pc, p),
        p.params,
        p.inputs,
        p.targets,
        p.mask,
        states(p),
        p.reset,
        influence=influence,
        **options,
    )


def dense(p, estimate, *more):
    """The gradient by the dense influences of every lane."""
    return oracles.gradient(p, [estimate(steps, *more) for steps in oracles.linearised(p)])


def signs(p, width, seed=1):
    """Signs ``(T, B, width)``, of each lane its own."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], (*p.inputs.shape[:2], width))


def widths(p):
    """Numbers of the state and rows of the weights."""
    rows, n = p.params[0]["W"].shape
    return (2 * n if p.blocks[0]["kind"] == "lstm" else n), rows


# ---------------------------------------------------------------------- the oracles themselves


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_the_dense_influence_is_that_of_rtrl(kind):
    """Eq. (RTRL.1): the frame in which every approximation is written gives the gradient with the full J."""
    p = draw(0, kind, reset=True)
    expected = engine(p, "exact").grads
    assert_live(expected)
    assert_same(dense(p, oracles.exact), expected, rtol=1e-12)


# ---------------------------------------------------------------------- SnAp, RFLO, KeRNL


@pytest.mark.parametrize("order", [1, 2, 3])
@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_snap(order, seed, kind, reset):
    """Eqs. (SNAP.1)-(SNAP.3): sparse weights, masks by the units that are reached."""
    p = sparse(draw(seed, kind, reset=reset), seed)
    expected = dense(p, oracles.snap, order)
    assert_live(expected[0]["b"])
    assert_same(engine(p, f"snap-{order}").grads, expected, rtol=TOL)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_snap_of_the_full_pattern_is_exact_and_of_one_hop_less_is_not(kind):
    """Eq. (SNAP.4): a ring of n units has the diameter n - 1, dense weights 1."""
    n = 4
    p = ring(draw(0, kind, T=8, widths=[3, n]))
    exact = engine(p, "exact").grads
    assert_same(engine(p, f"snap-{n}").grads, exact, rtol=1e-12)
    assert_differ(engine(p, f"snap-{n - 1}").grads, exact)
    q = draw(0, kind)
    assert_same(engine(q, "snap-2").grads, engine(q, "exact").grads, rtol=1e-12)
    assert_differ(engine(q, "snap-1").grads, engine(q, "exact").grads)


@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_rflo(seed, kind, reset):
    """Eq. (RFLO.1); of gated cells what passes beside the weights."""
    p = draw(seed, kind, reset=reset)
    expected = dense(p, oracles.rflo)
    assert_same(engine(p, "rflo").grads, expected, rtol=TOL)


def test_rflo_without_a_leak_is_the_immediate_terms():
    """Nothing passes beside the weights: truncated BPTT of one step."""
    p = draw(0, "rnn", alpha=1.0)
    one = pc.bptt.truncated(network(pc, p), p.params, p.inputs, p.targets, p.mask, states(p), steps=1)
    assert_same(engine(p, "rflo").grads, one.grads, rtol=1e-12)


@given(SEEDS, RESET)
@fewer(10)
def test_kernl(seed, reset):
    """Eq. (KERNL.1): any kernel; one unit remembers nothing."""
    p, rng = draw(seed, "rnn", reset=reset), np.random.default_rng(seed)
    n = len(p.params[0]["W"])
    A, alpha = rng.standard_normal((n, n)), rng.uniform(0.1, 1.0, n)
    alpha[0] = 1.5
    assert_same(engine(p, pc.KeRNL(A, alpha)).grads, dense(p, oracles.kernl, A, alpha), rtol=TOL)
    assert_differ(engine(p, pc.KeRNL(A.T, alpha)).grads, engine(p, pc.KeRNL(A, alpha)).grads)


# ---------------------------------------------------------------------- UORO, KF


@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_uoro(seed, kind, reset):
    """Eqs. (UORO.1)-(UORO.3), the same signs."""
    p = draw(seed, kind, reset=reset)
    nu = signs(p, widths(p)[0])
    lanes = [oracles.uoro(steps, nu[:, b]) for b, steps in enumerate(oracles.linearised(p))]
    assert_same(engine(p, Fed(pc.UORO(), nu)).grads, oracles.gradient(p, lanes), rtol=TOL)


@given(SEEDS, st.sampled_from(["rnn", "lstm"]), RESET)
@fewer(10)
def test_kf(seed, kind, reset):
    """Eqs. (KF.1)-(KF.3), the same signs."""
    p = draw(seed, kind, reset=reset)
    c = signs(p, 2)
    lanes = [oracles.kf(steps, c[:, b]) for b, steps in enumerate(oracles.linearised(p))]
    assert_same(engine(p, Fed(pc.KF(), c)).grads, oracles.gradient(p, lanes), rtol=TOL)


@given(SEEDS, KINDS, RESET)
@fewer(10)
def test_reverse_kf(seed, kind, reset):
    """Eqs. (KF.4), (KF.5), the same signs."""
    p = draw(seed, kind, reset=reset)
    nu = signs(p, widths(p)[1])
    lanes = [oracles.reverse_kf(steps, nu[:, b]) for b, steps in enumerate(oracles.linearised(p))]
    assert_same(engine(p, Fed(pc.ReverseKF(), nu)).grads, oracles.gradient(p, lanes), rtol=TOL)


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
@pytest.mark.parametrize("name", ["uoro", "kf", "reverse_kf"])
def test_the_mean_over_all_signs_is_the_influence(name, kind):
    """The oracles agree with each other: no estimate is biased, at any step."""
    if (name, kind) == ("reverse_kf", "lstm"):
        return  # 2^24 tables
    steps = oracles.linearised(draw(0, kind, T=3, widths=[3, 2]))[0]
    N, rows, _ = steps[0].Mbar.shape
    width = {"uoro": N, "kf": 2, "reverse_kf": rows}[name]
    assert_same(oracles.expected(getattr(oracles, name), steps, width), oracles.exact(steps), rtol=1e-12)


# ---------------------------------------------------------------------- SK-RTRL


@pytest.mark.parametrize("rank", [0, 1, 2, 9])
@given(SEEDS, st.sampled_from(["rnn", "gru"]), RESET)
@fewer(10)
def test_sketch(rank, seed, kind, reset):
    """Eqs. (SK.1), (SK.2): the small problem gives the leading directions of the large one, and what is left over."""
    p = draw(seed, kind, reset=reset)
    lanes = [oracles.sketch(steps, rank) for steps in oracles.linearised(p)]
    g = engine(p, pc.Sketch(rank))
    assert_same(g.grads, oracles.gradient(p, [[M for M, _ in steps] for steps in lanes]), rtol=TOL)
    bound = np.array([steps[-1][1] for steps in lanes])
    assert_same(1 + g.carry.influence.certificate, 1 + bound, rtol=TOL)


def test_a_sketch_of_full_rank_is_exact_and_of_rank_zero_is_snap():
    """Eq. (SK.1); a rank above n is n."""
    for kind in ("rnn", "gru"):
        p = draw(2, kind, reset=True)
        n = p.params[0]["W"].shape[1]
        exact = engine(p, "exact").grads
        for rank in (n, n + 3):
            g = engine(p, f"sketch-{rank}")
            assert_same(g.grads, exact, rtol=1e-12)
            assert (g.carry.influence.certificate == 0).all()
        assert_same(engine(p, "sketch-0").grads, engine(p, "snap-1").grads, rtol=1e-12)
        assert_differ(engine(p, f"sketch-{n - 1}").grads, exact)


def test_a_complex_step_goes_through_a_sketch_that_discards_nothing():
    """The directions are those of the real parts, and what they span is all."""
    p = draw(0, "rnn", T=4, mask=False)
    n = p.params[0]["W"].shape[1]

    def moved(h):
        theta = p.params[0]
        direction = np.cos(np.arange(n * n)).reshape(n, n)
        return p._replace(params=[{**theta, "W": theta["W"] + h * direction}])

    found = (engine(moved(1e-200j), name).grads[0] for name in (f"sketch-{n}", "exact"))
    sketch, exact = ({k: v.imag / 1e-200 for k, v in grads.items()} for grads in found)
    assert_live(exact)
    assert_same(sketch, exact, rtol=TOL)


# ---------------------------------------------------------------------- the kernel of KeRNL


@given(SEEDS)
@fewer(20)
def test_the_gradients_of_a_kernel(seed):
    """Eq. (KERNL.2), by complex step through the error that the kernel has over all steps."""
    rng, T, B, n = np.random.default_rng(seed), 5, 2, 3
    A, alpha = rng.standard_normal((n, n)), rng.uniform(0.1, 0.9, n)
    noise, moved = rng.standard_normal((2, T, B, n))

    def error(A, alpha):
        return sum(oracles.kernel_error(A, alpha, noise[:, b], moved[:, b]) for b in range(B))

    nf, gf, found = np.zeros((B, n)), np.zeros((B, n)), [0.0, 0.0]
    for t in range(T):
        nf, gf, dA, dalpha = approximations.kernel_step(A, alpha, nf, gf, noise[t], moved[t])
        found = [found[0] + dA, found[1] + dalpha]
    expected = [
        pc.check.complex_step(lambda A: error(A, alpha), A),
        pc.check.complex_step(lambda alpha: error(A, alpha), alpha),
    ]
    assert_same(found, expected, rtol=TOL)


def test_a_learned_kernel_of_a_diagonal_linear_cell_is_its_jacobian():
    """Eq. (KERNL.2): h~ - h is nf itself with k = J_ii; the gradient of KeRNL is then exact."""
    k = np.array([0.9, 0.3, 0.6, 0.1])
    net = pc.RecurrentNetwork([pc.RNN(3, 4, "identity", alpha=0.5), pc.Dense(4, 2)])
    params, rng = net.init(0), np.random.default_rng(0)
    params[0]["W"] = np.diag((k - 0.5) / 0.5)  # J = 0.5 I + 0.5 W
    inputs, reset = rng.standard_normal((800, 8, 3)), rng.random((800, 8)) < 0.02
    kernel = approximations.learn_kernel(net, params, inputs, reset=reset, learning_rate=0.05)
    assert np.allclose(kernel.alpha[0], 1 - k, atol=0.01)  # resets put the copy back, too
    kernel = approximations.learn_kernel(net, params, inputs, kernel=kernel, learning_rate=0.05, seed=1)
    assert np.allclose(kernel.A[0], np.eye(4), atol=1e-6)
    assert np.allclose(kernel.alpha[0], 1 - k, atol=1e-6)
    data = inputs[:10], rng.standard_normal((10, 8, 2))
    exact = rtrl.gradient(net, params, *data).grads
    assert_same(rtrl.gradient(net, params, *data, influence=kernel).grads, exact, rtol=1e-5)
    assert_differ(rtrl.gradient(net, params, *data, influence="kernl").grads, exact)


# ---------------------------------------------------------------------- as an influence

ALL = (*EVERY_CELL, "kf", "kernl", "sketch-0", "sketch-2")


def stack(seed=0, **options):
    """Two cells, one over the other, with a block between."""
    chain = ["dense", "rnn", "dense", "rnn", "dense"]
    return make(np.random.default_rng(seed), chain, T=6, B=3, **options)


@pytest.mark.parametrize("name", ["snap-2", "snap-9", "sketch-99"])
def test_a_stack_is_followed_layer_by_layer(name):
    """Eq. (STACK.4): what is exact for one cell gives the layer-local rule, and not the gradient."""
    p = stack(reset=True)
    assert_same(engine(p, name).grads, engine(p, "local").grads, rtol=1e-12)
    assert_differ(engine(p, name).grads, engine(p, "exact").grads)


@pytest.mark.parametrize("name", ALL)
def test_in_two_stretches_and_with_resets_it_is_the_same(name):
    """Eq. (RTRL.6): the influence goes on, with signs that go on; a reset lane forgets its own."""
    p = stack(reset=True, mask=False)
    whole = engine(p, name)
    first = engine(p._replace(inputs=p.inputs[:4], targets=p.targets[:4], reset=p.reset[:4]), name)
    rest = p._replace(inputs=p.inputs[4:], targets=p.targets[4:], reset=p.reset[4:])
    for _ in range(2):  # the carry is not used up
        second = rtrl.gradient(
            network(pc, p),
            p.params,
            rest.inputs,
            rest.targets,
            None,
            None,
            rest.reset,
            influence=name,
            carry=first.carry,
        )
        total = [{k: a[k] + b[k] for k in a} for a, b in zip(first.grads, second.grads, strict=True)]
        assert_same(total, whole.grads, rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_lane_that_is_reset_is_at_its_beginning(name):
    """Every array of the influence is what it is at the start, in that lane alone."""
    p = draw(0, "rnn", B=3, mask=False)
    influence = engine(p, name).carry.influence
    before = {k: a.copy() for k, a in influence.own[0].items()}
    influence.reset(np.array([False, True, False]))
    for k, a in influence.own[0].items():
        assert not a[1].any()
        assert np.array_equal(a[[0, 2]], before[k][[0, 2]])
        assert k == "bound" or not a.size or a[[0, 2]].any()


@pytest.mark.parametrize("name", ["uoro", "kf", "reverse-kf"])
def test_every_lane_and_every_step_has_its_own_signs(name):
    """Copies of one sequence differ; a seed gives the same again, another one does not."""
    p = draw(0, "rnn", B=2, mask=False)
    twins = p._replace(inputs=p.inputs[:, [0, 0]], h0=[h[[0, 0]] for h in p.h0])
    own = engine(twins, name).carry.influence.own[0]
    assert all(abs(a[0] - a[1]).max() > 1e-3 for a in own.values())
    method = {"uoro": pc.UORO, "kf": pc.KF, "reverse-kf": pc.ReverseKF}[name]
    assert_same(engine(p, method(3)).grads, engine(p, method(3)).grads, rtol=0)
    assert_differ(engine(p, method(3)).grads, engine(p, method(4)).grads)
    drawn = approximations.Signs(0)
    table = drawn(500, 7)
    assert set(np.unique(table)) == {-1, 1}
    assert abs(table.mean()) < 0.1
    assert (drawn(500, 7) != table).any()


def test_a_generator_goes_on_from_call_to_call():
    """Training wants new signs every time; the mean over many calls comes near the exact gradient."""
    p = draw(0, "rnn", alpha=0.4, mask=False)
    method, exact = pc.UORO(np.random.default_rng(0)), engine(p, "exact").grads[0]["W"]
    found = [engine(p, method).grads[0]["W"] for _ in range(400)]
    assert_differ(found[0], found[1])
    begun = engine(p, method)
    again = [
        rtrl.gradient(network(pc, p), p.params, p.inputs, p.targets, influence=method, carry=begun.carry)
        for _ in range(2)
    ]
    assert_differ(*(g.grads for g in again))  # also from one carry
    spread = np.std(found, axis=0).max() / len(found) ** 0.5
    assert abs(np.mean(found, axis=0) - exact).max() < 5 * spread < abs(exact).max()


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("snap-1", lambda n, z: n * z),
        ("snap-2", lambda n, z: n * n * z),
        ("rflo", lambda n, z: n * z),
        ("kernl", lambda n, z: n * z),
        ("uoro", lambda n, z: n * z + n),
        ("kf", lambda n, z: n * n + z),
        ("reverse-kf", lambda n, z: n * z + n),
        ("sketch-2", lambda n, z: 3 * n * z + 2 * n + 1),
    ],
)
def test_the_memory_is_that_of_the_table(name, entries):
    """Numbers a lane, after one step as after many."""
    for T in (1, 12):
        p = draw(0, "rnn", T=max(T, 4), mask=False, widths=[3, 6])
        p = p._replace(inputs=p.inputs[:T], targets=p.targets[:T])
        assert engine(p, name).carry.influence.entries == 2 * entries(6, 6 + 3 + 1)
    ringed = ring(draw(0, "rnn", mask=False, widths=[3, 6]))
    assert (
        engine(ringed, "snap-3").carry.influence.entries == 2 * 3 * 6 * 10
    )  # three of six units are reached


@pytest.mark.parametrize("name", ALL)
def test_online_learning_takes_them(name):
    """At every step; float32 stays."""
    p = draw(0, "rnn", mask=False, dtype=np.float32)
    new = rtrl.online(
        network(pc, p), p.params, p.inputs, p.targets, h0=p.h0, optimizer=pc.SGD(0.01), influence=name
    )
    assert_differ(new.params, p.params, min_rel=1e-5)
    assert {a.dtype for q in new.params for a in q.values()} == {np.dtype(np.float32)}
    assert {a.dtype for a in new.carry.influence.own[0].values()} == {np.dtype(np.float32)}


# ---------------------------------------------------------------------- what is refused

NET = pc.RecurrentNetwork([pc.RNN(3, 5), pc.Dense(5, 2)])
X, Y = np.ones((4, 2, 3)), np.ones((4, 2, 2))
LEARNS = pc.RecurrentNetwork([pc.RNN(3, 5, learn_h0=True), pc.Dense(5, 2)])
GATED = pc.RecurrentNetwork([pc.GRU(3, 5), pc.Dense(5, 2)])
LONG = pc.RecurrentNetwork([pc.LSTM(3, 5), pc.Dense(5, 2)])
MODES = pc.RecurrentNetwork([pc.LRU(3, 5), pc.Dense(5, 2)])


def ask(influence, net=NET, **options):
    """rtrl.gradient."""
    return rtrl.gradient(net, net.init(0), X, Y, influence=influence, **options)


def go_on(begun, asked):
    """A stretch with one influence, the next with another."""
    return ask(asked, carry=ask(begun).carry)


def kernel(**options):
    """learn_kernel."""
    return approximations.learn_kernel(NET, NET.init(0), X, **options)


REFUSED = {
    "an unknown name": (
        lambda: ask("snap"),
        ValueError,
        r"influence must be one of hybrid, .*uoro.*got 'snap'",
    ),
    "no order": (lambda: ask("snap-"), ValueError, "got 'snap-'"),
    "order zero": (lambda: ask("snap-0"), ValueError, "order of SnAp must be at least 1, got 0"),
    "a negative order": (lambda: ask("snap--1"), ValueError, "got 'snap--1'"),
    "half an order": (lambda: pc.SnAp(1.5), TypeError, r"order of SnAp must be an integer, got 1\.5"),
    "a number for uoro": (lambda: ask("uoro-3"), ValueError, "got 'uoro-3'"),
    "a negative rank": (lambda: pc.Sketch(-1), ValueError, "rank of Sketch must not be negative, got -1"),
    "a rank in words": (lambda: pc.Sketch("4"), TypeError, "rank of Sketch must be an integer, got '4'"),
    "the class, not an object": (lambda: ask(pc.UORO), ValueError, "influence must be one of"),
    "a seed in words": (lambda: pc.UORO("lucky"), TypeError, "seed must be an integer >= 0 or"),
    "a negative seed": (lambda: pc.KF(-1), ValueError, "seed must be an integer >= 0 or"),
    "half a seed": (lambda: pc.ReverseKF(0.5), TypeError, "seed must be an integer >= 0 or"),
    "a block": (lambda: ask("snap-1", block=4), ValueError, "block is an option of .*hybrid, not of snap-1"),
    "a block for an object": (lambda: ask(pc.RFLO(), block=4), ValueError, "hybrid, not of rflo"),
    "another influence's carry": (
        lambda: go_on("exact", "snap-1"),
        ValueError,
        "carry must be that of the influence snap-1, got that of exact",
    ),
    "a carry for the exact one": (
        lambda: go_on("uoro", "exact"),
        ValueError,
        "carry must be that of the influence exact, got that of uoro",
    ),
    "a carry of another order": (
        lambda: go_on("snap-1", pc.SnAp(2)),
        ValueError,
        "influence snap-2, got that of snap-1",
    ),
    "a carry of another rank": (
        lambda: go_on("sketch-1", "sketch-2"),
        ValueError,
        "sketch-2, got that of sketch-1",
    ),
    "learned initial states": (
        lambda: ask("snap-1", LEARNS),
        ValueError,
        "influence snap-1: block 1, .* learns its initial state, which is not followed: take exact",
    ),
    "learned initial states of uoro": (lambda: ask("uoro", LEARNS), ValueError, "influence uoro: block 1"),
    "UORO of a diagonal cell": (
        lambda: ask("uoro", MODES),
        ValueError,
        "influence uoro: block 1, .* has exact traces at the same cost: take snap-1 or diagonal",
    ),
    "a sketch of a diagonal cell": (lambda: ask("sketch-1", MODES), ValueError, "has exact traces"),
    "KF of a GRU": (lambda: ask("kf", GATED), ValueError, "influence kf: block 1, GRU, has two regressors"),
    "a sketch of an LSTM": (
        lambda: ask("sketch-1", LONG),
        ValueError,
        "block 1, LSTM, has two numbers a unit",
    ),
    "a kernel of a GRU": (lambda: ask("kernl", GATED), ValueError, "block 1, GRU, has no leak"),
    "A of another size": (
        lambda: ask(pc.KeRNL(np.eye(4))),
        ValueError,
        r"A of KeRNL must have shape \(5, 5\), got \(4, 4\)",
    ),
    "alpha as a number": (
        lambda: ask(pc.KeRNL(alpha=0.5)),
        TypeError,
        "alpha of KeRNL must be a NumPy or CuPy",
    ),
    "alpha of another size": (
        lambda: ask(pc.KeRNL(alpha=np.ones(4))),
        ValueError,
        r"alpha of KeRNL must have shape \(5,\), got \(4,\)",
    ),
    "integers for A": (
        lambda: ask(pc.KeRNL(np.eye(5, dtype=int))),
        TypeError,
        "A of KeRNL must hold .*got int64",
    ),
    "a list that is too short": (
        lambda: ask(pc.KeRNL([])),
        ValueError,
        "A of KeRNL must have 1 entries, one a cell, got 0",
    ),
    "no learning rate": (lambda: kernel(learning_rate=0), ValueError, "learning_rate must be positive"),
    "no noise": (lambda: kernel(noise=-1), ValueError, "noise must be positive"),
    "a kernel of another kind": (
        lambda: kernel(kernel=pc.RFLO()),
        TypeError,
        "kernel must be a KeRNL, got RFLO",
    ),
    "a seed for a kernel": (lambda: kernel(seed=-3), ValueError, "seed must be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_by_name(name):
    """Before any work."""
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_only_a_sketch_certifies():
    """The others say that they do not."""
    with pytest.raises(AttributeError, match="influence snap-1 has no certificate: take Sketch"):
        _ = ask("snap-1").carry.influence.certificate
