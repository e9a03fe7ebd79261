"""The fast form of inference gives what the readable form gives, which is the one that the proofs are about."""

import numpy as np
import pytest
from helpers.battery import network
from helpers.checks import assert_live, assert_same

import minipc as pc
from minipc import epc, fast, spc
from reference.problems import make

STEPS = [1, 2, 3, 8]
noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")


def problem(seed, **options):
    """Any activations, either form, either loss; unit precisions."""
    return make(np.random.default_rng(seed), precision=None, depth=(2, 6), gain=0.8, **options)


@pytest.fixture
def both(monkeypatch):
    """Call a function twice: as it is, and with the readable form alone. The fast form must have been there to use."""

    def run(call):
        used = []
        original = fast.applies
        monkeypatch.setattr(fast, "applies", lambda *a: used.append(original(*a)) or used[-1])
        quick = call()
        assert used == [True]
        monkeypatch.setattr(fast, "applies", lambda *a: False)
        readable = call()
        monkeypatch.setattr(fast, "applies", original)
        return quick, readable

    return run


def fields(result, leave=()):
    """The fields of a result that hold numbers."""
    return {k: v for k, v in result._asdict().items() if v is not None and k not in leave}


def assert_equal_results(quick, readable, leave=(), rtol=1e-12):
    """Every field; errors and small gradients are differences of states, so they are compared on their scale."""
    quick, readable = fields(quick, leave), fields(readable, leave)
    assert quick.keys() == readable.keys()
    for name, expected in readable.items():
        if isinstance(expected, int):
            assert quick[name] == expected
            continue
        flat = [np.concatenate([np.ravel(v) for v in _leaves(tree)]) for tree in (quick[name], expected)]
        assert flat[0].shape == flat[1].shape
        assert np.isfinite(flat[0]).all()
        assert np.linalg.norm(flat[0] - flat[1]) <= rtol * np.linalg.norm(flat[1]), name


def _leaves(tree):
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [a for v in tree.values() for a in _leaves(v)]
    if isinstance(tree, list):
        return [a for v in tree for a in _leaves(v)]
    return [np.asarray(tree)]


@noisy
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("seed", range(12))
def test_spc_from_the_feedforward_pass(both, seed, steps):
    """Where only the layers that the error has reached are worked on, Eq. (sPC.8)."""
    p = problem(seed)
    net = network(p)
    quick, readable = both(
        lambda: spc.gradient(net, p.params, p.x, p.y, inference_steps=steps, step_size=0.1)
    )
    assert_equal_results(quick, readable)
    assert_live([readable.grads[-1]])


@noisy
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("seed", range(12))
def test_spc_from_any_states(both, seed, steps):
    """Then every layer moves from the first step on."""
    p = problem(seed)
    net = network(p)
    quick, readable = both(lambda: spc.infer(net, p.params, p.s, p.y, inference_steps=steps, step_size=0.07))
    assert_equal_results(quick, readable)
    moved = [np.abs(a - b).max() for a, b in zip(quick.s[1:], p.s[1:], strict=True)]
    assert min(moved) > 1e-3


@noisy
@pytest.mark.parametrize("step_size", [0.02, 0.7, "power"])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("seed", range(8))
def test_epc(both, seed, steps, step_size):
    """Short steps, long ones and one for each sample; zero errors and any errors."""
    p = problem(seed)
    net = network(p)
    options = {"inference_steps": steps, "step_size": step_size}
    short = ("curvature", "regime") if step_size == 0.02 else ()
    for call in (
        lambda: epc.gradient(net, p.params, p.x, p.y, **options),
        lambda: epc.infer(net, p.params, p.e, p.x, p.y, **options),
    ):
        quick, readable = both(call)
        assert_equal_results(quick, readable, leave=short)
        assert (
            quick.curvature <= readable.curvature * (1 + 1e-9)
        ).all()  # looked at in fewer steps, if at all


@noisy
@pytest.mark.parametrize("form", ["post", "pre"])
@pytest.mark.parametrize("activation", ["tanh", "identity", "relu", "gelu", "softplus"])
@pytest.mark.parametrize("sizes", [(4, 6, 6, 6, 6, 6, 3), (5, 5, 5, 5, 5), (4, 6, 3, 6, 3, 6, 2)])
def test_layers_of_one_size_share_buffers(both, sizes, activation, form):
    """With distinct widths no buffer would be shared; here one that is read too late shows."""
    p = problem(1, sizes=sizes, activation=activation, output="tanh", form=form)
    net = network(p)
    for call in (
        lambda: spc.gradient(net, p.params, p.x, p.y, inference_steps=9, step_size=0.1),
        lambda: spc.infer(net, p.params, p.s, p.y, inference_steps=4, step_size=0.05),
        lambda: epc.gradient(net, p.params, p.x, p.y, inference_steps=4, step_size=0.05),
        lambda: epc.infer(net, p.params, p.e, p.x, p.y, inference_steps=4, step_size=0.01),
        lambda: epc.infer(net, p.params, p.e, p.x, p.y, inference_steps=4, step_size="power"),
    ):
        quick, readable = both(call)
        assert_equal_results(quick, readable, leave=("curvature", "regime"))


@noisy
def test_the_curvature_of_short_steps_is_looked_at_in_the_first(both):
    """With one step this is all; with more, what is met later is left out."""
    p = problem(3, activation="tanh", loss="mse")
    net = network(p)
    quick, readable = both(lambda: epc.gradient(net, p.params, p.x, p.y, inference_steps=1, step_size=1e-3))
    assert_same([quick.curvature, quick.regime], [readable.curvature, readable.regime], rtol=1e-9)
    assert (quick.curvature > 0).all()


@noisy
def test_a_long_step_of_one_sample_says_nothing_about_another():
    """Whether the curvature is looked at again is decided sample by sample."""
    net = pc.Network([pc.Dense(3, 6, "tanh"), pc.Dense(6, 5, "tanh"), pc.Dense(5, 2)])
    params, rng = net.init(3), np.random.default_rng(3)
    x, y = rng.standard_normal((2, 3)) * np.array([[0.1], [40.0]]), rng.standard_normal((2, 2))
    c = epc.gradient(net, params, x, y, inference_steps=1, step_size=1e-3).curvature
    lam = float(0.5 / np.sqrt(c[0] * c[1]))  # a long step for one of them, a short one for the other
    rows = slice(0, 2), [0], [1]
    first = epc.gradient(net, params, x, y, inference_steps=1, step_size=lam)
    short = int(np.argmin(first.curvature))
    assert lam * first.curvature[short] < 0.45 < 0.55 < lam * first.curvature[1 - short]
    both, *alone = (epc.gradient(net, params, x[i], y[i], inference_steps=6, step_size=lam) for i in rows)
    for b in (0, 1):
        assert both.curvature[b] == pytest.approx(alone[b].curvature[0], rel=1e-9)
        assert both.regime[b] == pytest.approx(alone[b].regime[0], rel=1e-9)
    assert both.curvature[short] == pytest.approx(first.curvature[short], rel=1e-9)


@noisy
def test_float32_stays_float32_and_arguments_are_left_alone(both):
    """Buffers are the module's own."""
    p = problem(5, sizes=(3, 7, 6, 5, 2), dtype="float32")
    net, params = network(p), p.params
    before = [v.copy() for v in (*p.s, *p.e[1:], p.x, p.y, *(a for q in params for a in q.values()))]
    for call in (
        lambda: spc.infer(net, params, p.s, p.y, inference_steps=5, step_size=0.1),
        lambda: epc.infer(net, params, p.e, p.x, p.y, inference_steps=5, step_size=0.1),
        lambda: epc.infer(net, params, p.e, p.x, p.y, inference_steps=5, step_size="power"),
    ):
        quick, readable = both(call)
        assert all(v.dtype == np.float32 for v in _leaves(list(quick)) if v.dtype.kind == "f")
        assert_equal_results(quick, readable, leave=("curvature", "regime", "residual"), rtol=1e-5)
    after = [*p.s, *p.e[1:], p.x, p.y, *(a for q in params for a in q.values())]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"record_every": 1}, False),
        ({"tolerance": 1e-30}, False),
        ({"precision": [None, 2.0, None]}, False),
        ({"target": None}, False),
    ],
)
@noisy
def test_where_it_is_used(monkeypatch, options, expected):
    """Plain cases only; everything else is the readable form's."""
    net = pc.Network([pc.Dense(3, 4, "tanh"), pc.Dense(4, 5, "tanh"), pc.Dense(5, 2)])
    params, rng = net.init(0), np.random.default_rng(1)
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((2, 2))
    seen, original = [], fast.applies
    monkeypatch.setattr(fast, "applies", lambda *a: seen.append(original(*a)) or seen[-1])
    options = dict(options)
    y = options.pop("target", y)
    precision = options.pop("precision", None)
    s = spc.feedforward(net, params, x)
    spc.infer(net, params, s, y, precision, inference_steps=2, step_size=0.1, **options)
    assert seen == [expected]


@noisy
@pytest.mark.parametrize("readable", [{}, {"record_every": 1}], ids=["plain", "recorded"])
@pytest.mark.parametrize("complex_layer", [1, 2])
def test_complex_states_of_one_layer_are_no_case_for_it(complex_layer, readable):
    """A complex step in one free layer, with a real input, is the derivative of the states after inference."""
    net = pc.Network([pc.Dense(3, 4, "tanh"), pc.Dense(4, 5, "tanh"), pc.Dense(5, 2)])
    params, rng = net.init(0), np.random.default_rng(1)
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((2, 2))
    free = [None, rng.standard_normal((2, 4)), rng.standard_normal((2, 5))]
    along = rng.standard_normal(free[complex_layer].shape)

    def moved(h):
        return [v + h * along if l == complex_layer else v for l, v in enumerate(free)]

    options = {"inference_steps": 4, "step_size": 0.1, **readable}
    for run in (
        lambda free: spc.infer(net, params, [x, *free[1:]], y, **options).s[1:],
        lambda free: epc.infer(net, params, free, x, y, **options).e[1:],
    ):
        slope = [v.imag / 1e-30 for v in run(moved(1e-30j))]
        ahead, behind = run(moved(1e-5)), run(moved(-1e-5))
        expected = [(a - b) / 2e-5 for a, b in zip(ahead, behind, strict=True)]
        assert_live(expected)
        assert_same(slope, expected, rtol=1e-8)
