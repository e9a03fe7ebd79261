"""Which gradient each variant computes: reductions to sPC, exact backprop, rates in beta; claims S04, S21-S24, S28, S30, S38."""

import numpy as np
import pytest
from helpers.battery import GOOD, flat, network, oracle
from helpers.checks import assert_differ, assert_live, assert_same, worst_error
from helpers.strategies import fewer, problems
from hypothesis import given
from hypothesis import strategies as st

import minipc as pc
from minipc import backprop, mistakes, spc, variants
from minipc.check import complex_step
from reference import autograd_oracles as ad
from reference import closed_form as cf
from reference.problems import make

noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")  # a fixed step may be too long
FEW = {"inference_steps": 4, "step_size": 0.05}
MANY = {"inference_steps": 4000, "step_size": 0.1}


def call(rule, p, precision="own", **options):
    """A rule on a problem, with its own precisions or others."""
    Pi = p.precision if precision == "own" else precision
    return rule(network(p), p.params, p.x, p.y, Pi, **options)


def smooth(seed, **options):
    """A small problem whose inference converges quickly."""
    kinds = ("tanh", "sigmoid", "gelu", "softplus")
    options = {
        "sizes": (3, 5, 4, 2),
        "B": 3,
        "activation": kinds[seed % 4],
        "output": "identity",
        "gain": 0.6,
        **options,
    }
    return make(np.random.default_rng(seed), **options)


# ---------------------------------------------------------------------- what reduces to sPC

REDUCED = {
    "no momentum": lambda p: call(variants.momentum, p, momentum=0, **FEW),
    "the whole way to the target": lambda p: call(variants.target_interpolation, p, beta=1, **FEW),
    "the loss weighted by one": lambda p: call(variants.nudged, p, beta=1.0, **FEW),
    "multipliers that stay zero": lambda p: call(variants.pc_alm, p, dual_step=0, **FEW),
    "weights that stay": lambda p: variants.incremental(
        network(p), p.params, p.x, p.y, precision=p.precision, optimizer=pc.SGD(1e-300), state=None, **FEW
    )[2],
}


@noisy
@fewer(3)
@pytest.mark.parametrize("name", REDUCED)
@given(p=problems(depth=(1, 5)))
def test_what_reduces_to_spc_does_so_bit_by_bit(name, p):
    """S38 among them: with a learning rate below rounding, incremental steps are those of sPC."""
    g, expected = REDUCED[name](p), call(spc.gradient, p, record_every=1, **FEW)  # its readable form
    for field in ("grads", "loss", "energy", "states", "errors", "residual"):
        assert_same(getattr(g, field), getattr(expected, field), rtol=0)


OTHERWISE = {
    "momentum": lambda p: call(variants.momentum, p, momentum=0.5, **FEW),
    "a nearer target": lambda p: call(variants.target_interpolation, p, beta=0.5, **FEW),
    "a weighted loss": lambda p: call(variants.nudged, p, beta=0.5, **FEW),
    "two weights": lambda p: call(variants.centred, p, beta=0.5, **FEW),
    "multipliers": lambda p: call(variants.pc_alm, p, dual_step=0.5, **FEW),
    "a penalty": lambda p: call(variants.pc_alm, p, dual_step=0, penalty=2.0, **FEW),
    "sweeps": lambda p: call(variants.top_down, p, **FEW),
    "weights that move": lambda p: variants.incremental(
        network(p), p.params, p.x, p.y, precision=p.precision, optimizer=pc.SGD(0.1), state=None, **FEW
    )[2],
    "fixed predictions": lambda p: call(variants.fixed_prediction, p, **FEW),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_every_setting_matters(name):
    """The negative side: another value gives another gradient."""
    for p in GOOD:
        assert_differ(flat(OTHERWISE[name](p).grads), flat(call(spc.gradient, p, **FEW).grads))


@pytest.mark.parametrize("seed", range(4))
def test_sweeps_and_momentum_reach_the_equilibrium_of_spc(seed):
    """The same stationary points (MOM.1): states, energy and gradient once all have converged."""
    p = smooth(seed)
    expected = call(spc.gradient, p, **MANY)
    assert (expected.residual < 1e-12).all()
    bp = backprop.gradient(network(p), p.params, p.x, p.y)
    for g in (call(variants.top_down, p, **MANY), call(variants.momentum, p, momentum=0.7, **MANY)):
        assert (g.residual < 1e-12).all()
        assert_same([g.grads, g.energy, g.states], [expected.grads, expected.energy, expected.states])
        assert_differ(g.grads, bp.grads)


# ---------------------------------------------------------------------- how the error travels


@noisy
@given(problems(depth=(2, 5), precisions=(None, "unit")), st.sampled_from([0.3, 1.0]))
@fewer(2)
def test_one_sweep_carries_the_error_to_every_layer(p, lam):
    """S21, Eq. (sPC.11): displacements -lam^(L-l) delta_l at once."""
    start, L = spc.feedforward(network(p), p.params, p.x), len(p.layers)
    delta = oracle(ad.deltas, p, p.x, p.y, precision=False)
    g = call(variants.top_down, p, inference_steps=1, step_size=lam)
    for l in range(1, L):
        deviation = g.states[l] - start[l] + lam ** (L - l) * delta[l]
        assert np.linalg.norm(delta[l]) > 0
        assert np.linalg.norm(deviation) < 1e-14 * np.linalg.norm(start[l]) + 1e-12 * lam ** (
            L - l
        ) * np.linalg.norm(delta[l])


def test_the_other_order_of_the_sweep_is_wrong():
    """Control of S21: layers that move at once, or from the bottom up, leave the lower ones at rest."""
    for p in GOOD:
        p = p._replace(precision=None)
        sweep = call(variants.top_down, p, inference_steps=1, step_size=0.3)
        s, start = spc.feedforward(network(p), p.params, p.x), spc.feedforward(network(p), p.params, p.x)
        for l in range(1, len(p.layers)):
            s = [*s[:l], s[l] - 0.3 * oracle(ad.spc_activity_gradient, p, s, p.y)[l], *s[l + 1 :]]
        moved = [[a - b for a, b in zip(t[1:-1], start[1:-1], strict=True)] for t in (s, sweep.states)]
        assert not any(v.any() for v in moved[0])
        assert_live(moved[1])


@noisy
@given(
    problems(depth=(3, 5), precisions=(None, "unit")),
    st.sampled_from([0.3, 1.0]),
    st.sampled_from([0.5, 0.9]),
)
@fewer(2)
def test_momentum_leaves_the_first_arrival_alone(p, lam, m):
    """A layer that has not moved has no velocity: (sPC.8) and (sPC.9) hold, step by step."""
    net, L = network(p), len(p.layers)
    delta = oracle(ad.deltas, p, p.x, p.y, precision=False)
    for k in range(1, L):
        g = call(variants.momentum, p, momentum=m, inference_steps=k, step_size=lam)
        assert not any(g.errors[l].any() for l in range(1, L - k))
        l = L - k
        deviation, size = g.errors[l] + lam**k * delta[l], np.linalg.norm(g.states[l])
        assert np.linalg.norm(deviation) < 1e-12 * lam**k * np.linalg.norm(delta[l]) + 1e-14 * size
    assert net.blocks


def test_momentum_changes_everything_after_the_first_arrival():
    """From its second step on a layer moves differently."""
    for p in GOOD:
        two = {"inference_steps": 2, "step_size": 0.05}
        plain, fast = call(spc.gradient, p, **two), call(variants.momentum, p, momentum=0.9, **two)
        assert_same(fast.states[-2], plain.states[-2], rtol=0)  # has just arrived
        assert_differ(fast.errors[-2], plain.errors[-2])


# ---------------------------------------------------------------------- exact backprop


@given(problems(depth=(1, 6)))
def test_timed_updates_are_backprop(p):
    """S22, Eq. (ZIL.1), in every block alone: relative to the size of the states, whose differences the errors are."""
    g = variants.z_il(network(p), p.params, p.x, p.y)
    expected = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
    size = max(np.linalg.norm(s) for s in g.states)
    for actual, exact in zip(g.grads, expected, strict=True):
        for name in exact:
            deviation = np.linalg.norm(actual[name] - exact[name])
            assert deviation < 1e-12 * np.linalg.norm(exact[name]) + 1e-13 * size * max(size, 1)


def test_updates_at_the_last_step_are_not_backprop():
    """Control of S22: every block but the first is wrong."""
    wrong = mistakes.load("all blocks learn at the last step")
    for p in GOOD:
        g = wrong.variants.z_il(network(p, wrong), p.params, p.x, p.y)
        expected = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
        assert_same(g.grads[0], expected[0], rtol=1e-9)
        for actual, exact in zip(g.grads[1:], expected[1:], strict=True):
            assert_differ(actual, exact)


@given(
    problems(depth=(2, 6), precisions=(None, "unit")),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.integers(0, 12),
)
@fewer(2)
def test_fixed_predictions_follow_the_binomial_law(p, lam, k):
    """S23, Eq. (FPA.2): backprop's error times Pr[Binomial(k, lam) >= L - l], in every layer at every step."""
    L, delta = len(p.layers), oracle(ad.deltas, p, p.x, p.y, precision=False)
    g = call(variants.fixed_prediction, p, inference_steps=k, step_size=lam)
    for l in range(1, L):
        share = cf.binomial_tail(k, L - l, lam)
        assert bool(g.errors[l].any()) == (share > 0)
        if share:
            assert_same(g.errors[l], -share * delta[l], rtol=1e-12)


def test_a_whole_step_is_exact_after_as_many_steps_as_there_are_hidden_layers():
    """S23: lam = 1; one step earlier the first block has felt nothing."""
    for p in GOOD:
        p = p._replace(precision=None)
        expected = oracle(ad.loss_gradient, p, p.x, p.y, precision=False)
        steps = len(p.layers) - 1
        exact, early = (
            call(variants.fixed_prediction, p, inference_steps=n, step_size=1) for n in (steps, steps - 1)
        )
        assert_same(exact.grads, expected, rtol=1e-13)
        assert not exact.residual.any()
        assert not any(v.any() for v in early.grads[0].values())


def test_the_point_mass_is_not_the_law():
    """Control of S23: (sPC.12) agrees at the arrival and not later."""
    for k, i in ((3, 1), (5, 2), (9, 3)):
        assert cf.binomial_tail(i, i, 0.3) == cf.binomial_point_mass(i, i, 0.3)
        assert cf.binomial_tail(k, i, 0.3) > 1.1 * cf.binomial_point_mass(k, i, 0.3)


@given(problems(depth=(2, 5)))
@fewer(4)
def test_the_fixed_point_of_fixed_predictions_is_backprop(p):
    """S24, Eq. (FPA.3): for any precisions; the output's enters the loss."""
    top = ad.precisions(p.layers, p.precision)[-1]
    bound = max(
        np.linalg.eigvalsh(np.diag(np.ones(n)) * (1.0 if Pi is None else Pi)).max()
        if np.ndim(Pi) < 2
        else np.linalg.eigvalsh(Pi).max()
        for Pi, n in zip(ad.precisions(p.layers, p.precision)[:-1], p.sizes[1:], strict=False)
    )
    g = call(variants.fixed_prediction, p, inference_steps=1500, step_size=1 / bound)
    expected = ad.loss_gradient(p.layers, p.params, p.x, p.y, p.loss, top)
    assert_live(expected)
    assert_same(g.grads, expected)


@pytest.mark.filterwarnings("ignore:.* inference diverged")
def test_live_jacobians_have_another_fixed_point():
    """Control of S24."""
    wrong = mistakes.load("the Jacobians move with the states")
    p = smooth(0, precision=None)
    g = wrong.variants.fixed_prediction(
        network(p, wrong), p.params, p.x, p.y, inference_steps=500, step_size=0.5
    )
    assert_differ(g.grads, backprop.gradient(network(p), p.params, p.x, p.y).grads)


@pytest.mark.parametrize("seed", range(4))
def test_multipliers_find_backprop(seed):
    """S30, Eq. (sPC.20): errors vanish, states return to the feedforward point, the gradient is that of the loss."""
    p = smooth(seed)
    g = call(variants.pc_alm, p, inference_steps=6000, step_size=0.1, penalty=1.0, dual_step=0.3)
    top = ad.precisions(p.layers, p.precision)[-1]
    assert (g.residual < 1e-11).all()
    assert_same(g.grads, ad.loss_gradient(p.layers, p.params, p.x, p.y, p.loss, top), rtol=1e-9)
    assert_same(g.states, spc.feedforward(network(p), p.params, p.x), rtol=1e-9)
    yhat = network(p).forward(p.params, p.x)
    assert_same(g.energy, ad.loss_value(p.loss, yhat, p.y, top), rtol=1e-9)
    without = call(variants.pc_alm, p, dual_step=0, **MANY)
    assert_differ(without.grads, ad.loss_gradient(p.layers, p.params, p.x, p.y, p.loss, top))


# ---------------------------------------------------------------------- nudging


def deviations(rule, p, betas=(1e-2, 1e-3)):
    """Relative errors against backprop for two values of beta."""
    top = ad.precisions(p.layers, p.precision)[-1]
    expected = flat(ad.loss_gradient(p.layers, p.params, p.x, p.y, p.loss, top))
    return [worst_error(flat(call(rule, p, beta=beta, **MANY).grads), expected) for beta in betas]


@pytest.mark.parametrize("seed", range(4))
def test_nudging_approaches_backprop_at_its_rates(seed):
    """S28: a decade of beta is a factor of 10 for loss weighting, of 100 for the centred difference."""
    p = smooth(seed)
    large, small = deviations(variants.nudged, p)
    assert abs(large / small / 10 - 1) < 0.2
    large, small = deviations(variants.centred, p)
    assert abs(large / small / 100 - 1) < 0.2


@pytest.mark.parametrize("seed", range(4))
def test_target_interpolation_does_not_approach_backprop(seed):
    """Control of S28: the error stays where it is."""
    large, small = deviations(variants.target_interpolation, smooth(seed))
    assert small > 1e-3
    assert abs(large / small - 1) < 0.2


def test_negative_nudges_are_allowed():
    """One of the two halves of the centred difference; E_(-beta) rewards the loss."""
    p = smooth(0)
    plus, minus = (call(variants.nudged, p, beta=beta, **MANY) for beta in (0.01, -0.01))
    assert (plus.energy > 0).all()
    assert (minus.energy < 0).all()
    half = [{k: (a[k] + b[k]) / 2 for k in a} for a, b in zip(plus.grads, minus.grads, strict=True)]
    assert_same(half, call(variants.centred, p, beta=0.01, **MANY).grads)


# ---------------------------------------------------------------------- incremental


def test_incremental_updates_are_those_of_the_optimiser():
    """Adam's state goes in and comes out; N updates for N steps."""
    p = GOOD[0]
    adam = pc.Adam(0.01)
    params, state = p.params, adam.init(p.params)
    for batch in (1, 2):
        params, state, g = variants.incremental(
            network(p), params, p.x, p.y, optimizer=adam, state=state, precision=p.precision, **FEW
        )
        assert state.t == 4 * batch
    assert_differ(params, p.params)
    assert_same(g.grads, spc.weight_gradient(network(p), params, g.states, p.y, p.precision), rtol=0)


def test_incremental_training_learns():
    """The loop of the docstring on one batch."""
    p = smooth(1, loss="mse", precision=None)
    params, optimizer, losses = p.params, pc.SGD(0.2), []
    for _ in range(60):
        params, _, g = variants.incremental(network(p), params, p.x, p.y, optimizer=optimizer, state=None)
        losses.append(g.loss.mean())
    assert losses[-1] < 0.5 * losses[0]


# ---------------------------------------------------------------------- precisions


@pytest.mark.parametrize("kind", ["scalar", "diagonal", "full"])
def test_the_precision_gradient_is_the_complex_step_of_the_full_energy(kind):
    """S04, Eq. (sPC.14); the check of symmetry lets a perturbation of this size pass."""
    p = make(np.random.default_rng(3), sizes=(3, 5, 4, 2), B=3, activation="tanh", loss="mse", precision=kind)
    net = network(p)
    Pi = [np.asarray(value, float) for value in p.precision]
    expected = []
    for l, value in enumerate(Pi):

        def total(moved, l=l):
            return variants.full_energy(net, p.params, p.s, p.y, [*Pi[:l], moved, *Pi[l + 1 :]]).sum()

        expected.append(complex_step(total, value))
    actual = variants.precision_gradient(net, p.params, p.s, p.y, p.precision)
    assert_live(expected)
    assert_same(actual, expected, rtol=1e-12)
    wrong = mistakes.load("the log-determinant is missing in the energy")
    bare = wrong.variants.full_energy(network(p, wrong), p.params, p.s, p.y, p.precision)
    assert_same(bare, spc.energy(net, p.params, p.s, p.y, p.precision), rtol=0)
    assert_differ(bare, variants.full_energy(net, p.params, p.s, p.y, p.precision))


def test_the_best_precision_is_the_inverse_of_the_mean_square():
    """Stationary points of (sPC.14): matrix, diagonal and number; where nothing is given nothing is learned."""
    p = make(
        np.random.default_rng(3), sizes=(3, 4, 3, 2), B=40, activation="tanh", loss="mse", precision=None
    )
    net, B = network(p), len(p.x)
    eps = spc.errors(net, p.params, p.s, p.y).eps
    best = [np.linalg.inv(eps[1].T @ eps[1] / B), B / (eps[2] ** 2).sum(axis=0), None]
    gradient = variants.precision_gradient(net, p.params, p.s, p.y, best)
    assert gradient[2] is None
    assert max(np.abs(g).max() for g in gradient[:2]) < 1e-11
    number = [None, None, 2 * B / (eps[3] ** 2).sum()]
    assert abs(variants.precision_gradient(net, p.params, p.s, p.y, number)[2]) < 1e-11
    assert variants.precision_gradient(net, p.params, p.s, p.y, None) == [None] * 3


def test_a_free_output_has_no_normaliser():
    """Without a target the last precision weighs nothing."""
    p = GOOD[0]
    net, Pi = network(p), [None, None, None, 2.0]
    assert_same(
        variants.full_energy(net, p.params, p.s, None, Pi), spc.energy(net, p.params, p.s, None, Pi), rtol=0
    )
    assert variants.precision_gradient(net, p.params, p.s, None, Pi) == [None] * 4


# ---------------------------------------------------------------------- Newton


def scalar_chain(w, form, kind):
    """One unit a layer: x -> a -> b, the child clamped; mu_a = x, mu_b = w g(a) or g(w a)."""
    net = pc.Network([pc.Dense(1, 1), pc.Dense(1, 1, kind, form=form)])
    return net, [{"W": np.ones((1, 1)), "b": np.zeros(1)}, {"W": np.full((1, 1), w), "b": np.zeros(1)}]


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "softplus", "gelu"])
def test_one_parent_and_one_child(kind):
    """S42, Eq. (sPC.21) as it is printed: pre form, from the prediction; derivatives by differences of autograd's g."""
    w, pi_a, pi_b, mu, child = 0.8, 1.3, 0.6, 0.4, -0.7
    g, h = ad.ACTIVATIONS[kind], 1e-4
    slope, bend = (g(mu + h) - g(mu - h)) / (2 * h), (g(mu + h) - 2 * g(mu) + g(mu - h)) / h**2
    net, params = scalar_chain(w, "pre", kind)
    dev = child - w * g(mu)
    own = pi_a + pi_b * (w**2 * slope**2 - w * bend * dev)
    s = variants.newton_step(net, params, [np.full((1, 1), mu)] * 2, np.full((1, 1), child), [pi_a, pi_b])
    assert abs(s[1][0, 0] - (mu + w * slope * pi_b * dev / own)) < 1e-6
    dropped = mu + w * slope * pi_b * dev / (pi_a + pi_b * w**2 * slope**2)
    assert abs(s[1][0, 0] - dropped) > 1e-3


@pytest.mark.parametrize("form", ["post", "pre"])
def test_a_scalar_chain_converges_quadratically(form):
    """Newton's steps square the error, so the phi'' terms are right; one step is exact without a nonlinearity."""
    x, y = np.full((2, 1), 0.3), np.array([[0.9], [-0.2]])
    net, params = scalar_chain(0.7, form, "tanh")
    s = spc.feedforward(net, params, x)
    sizes = []
    for _ in range(4):
        sizes.append(np.abs(spc.activity_gradient(net, params, s, y)[1]).max())
        s = variants.newton_step(net, params, s, y)
    assert sizes[2] < 10 * sizes[1] ** 2
    assert np.abs(spc.activity_gradient(net, params, s, y)[1]).max() < 1e-15
    net, params = scalar_chain(0.7, form, "identity")
    s = variants.newton_step(net, params, spc.feedforward(net, params, x), y)
    assert np.abs(spc.activity_gradient(net, params, s, y)[1]).max() < 1e-15


def test_a_step_that_climbs_says_so():
    """A curvature that is not positive: the target is far below a tanh that bends down."""
    net, params = scalar_chain(3.0, "post", "tanh")
    with pytest.warns(pc.InferenceWarning, match="newton_step climbs"):
        variants.newton_step(net, params, [np.full((1, 1), 0.3)] * 2, np.full((1, 1), -5.0))


# ---------------------------------------------------------------------- warnings, training


DIVERGING = {
    "top-down sPC": lambda p: call(variants.top_down, p, inference_steps=30, step_size=5.0),
    "momentum": lambda p: call(variants.momentum, p, inference_steps=30, step_size=5.0),
    "nudged": lambda p: call(variants.nudged, p, beta=0.5, inference_steps=30, step_size=5.0),
    "target interpolation": lambda p: call(
        variants.target_interpolation, p, beta=0.5, inference_steps=30, step_size=5.0
    ),
    "fixed-prediction": lambda p: call(variants.fixed_prediction, p, inference_steps=2000, step_size=5.0),
    "PC-ALM": lambda p: call(variants.pc_alm, p, inference_steps=2000, step_size=5.0),
    "incremental": lambda p: variants.incremental(
        network(p),
        p.params,
        p.x,
        p.y,
        optimizer=pc.SGD(10.0),
        state=None,
        inference_steps=2000,
        step_size=5.0,
    ),
}


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("name", DIVERGING)
def test_divergence_warns_by_name(name):
    """A step that is too long; the warning points at the line that called the rule."""
    p = make(
        np.random.default_rng(0),
        sizes=(3, 5, 4, 2),
        B=2,
        activation="identity",
        output="identity",
        form="post",
        loss="mse",
        precision=None,
    )
    with pytest.warns(pc.InferenceWarning, match=f"{name} inference diverged in [12] of 2 samples") as caught:
        DIVERGING[name](p)
    assert {w.filename for w in caught if w.category is pc.InferenceWarning} == {__file__}


RULES = {
    "top_down": (variants.top_down, {}),
    "momentum": (variants.momentum, {"momentum": 0.5}),
    "z_il": (variants.z_il, {}),
    "fixed_prediction": (variants.fixed_prediction, {}),
    "pc_alm": (variants.pc_alm, {"inference_steps": 20}),
    "target_interpolation": (variants.target_interpolation, {"beta": 0.5}),
    "nudged": (variants.nudged, {"beta": 0.5}),
    "centred": (variants.centred, {"beta": 0.5}),
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_trains(name):
    """Handed to fit as it is; the loss falls."""
    rule, options = RULES[name]
    p = smooth(1, loss="mse", precision=None)
    _, history = pc.fit(
        network(p),
        p.params,
        (p.x, p.y),
        rule=rule,
        optimizer=pc.Adam(0.02),
        epochs=60,
        progress=False,
        **options,
    )
    assert history["loss"][-1] < 0.5 * history["loss"][0]
