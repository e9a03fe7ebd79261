"""What ePC says about its steps: curvature, regime, step size; in the fast form, in float32, in a complex step, at rest."""

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc
from minipc import epc, fast

noisy = pytest.mark.filterwarnings("ignore::minipc.InferenceWarning")
STEPS = pytest.mark.parametrize("step_size", [0.1, "power", "adaptive"])
PRECISIONS = pytest.mark.parametrize("precision", [None, [2.0, None, None]], ids=["fast", "readable"])


def problem(activation="tanh", B=4, scale=1.0, dtype=float, blocks=None):
    """Network, parameters, input and target."""
    rng = np.random.default_rng(0)
    net = pc.Network(blocks or [pc.Dense(3, 5, activation), pc.Dense(5, 4, activation), pc.Dense(4, 2)])
    params = [{k: (scale * v).astype(dtype) for k, v in p.items()} for p in net.init(0)]
    return net, params, rng.standard_normal((B, 3)).astype(dtype), rng.standard_normal((B, 2)).astype(dtype)


def readable(monkeypatch, *arguments, **options):
    """The result of the readable form."""
    with monkeypatch.context() as changed:
        changed.setattr(fast, "applies", lambda *_: False)
        return epc.gradient(*arguments, **options)


@noisy
@pytest.mark.parametrize("step_size", [0.1, "power"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_fast_form_looks_at_the_curvature_where_a_step_is_not_short(monkeypatch, step_size, steps):
    """After the first step a sample with lam times curvature above 1/2 is watched to the end, another one is not."""
    net, params, x, y = problem(B=12, scale=4 if step_size == "power" else 1.1)
    first = readable(monkeypatch, net, params, x, y, inference_steps=1, step_size=step_size)
    last = readable(monkeypatch, net, params, x, y, inference_steps=steps, step_size=step_size)
    watched = first.curvature * first.step_size > 0.5
    if step_size != "power":
        assert watched.any()
        assert not watched.all()
        assert (first.curvature[watched] * 0.1 < 1).all()  # not short, and not unstable yet
    assert steps < 7 or (last.curvature > first.curvature * (1 + 1e-6))[watched].any()
    expected = np.where(watched, last.curvature, first.curvature)
    g = epc.gradient(net, params, x, y, inference_steps=steps, step_size=step_size)
    assert_same(g.curvature, expected, rtol=1e-9)
    assert_same(g.regime, 1 - np.abs(1 - g.step_size * expected) ** steps, rtol=1e-9)


@noisy
@PRECISIONS
@STEPS
def test_rounding_is_no_curvature(step_size, precision):
    """A thousand steps after the equilibrium the largest curvature met is still one of the Hessian's."""
    net, params, x, y = problem("identity")
    g = epc.gradient(net, params, x, y, precision, inference_steps=1000, step_size=step_size)
    highest = epc.largest_eigenvalue(
        net, params, epc.feedforward(net, params, x), x, y, precision, iterations=300
    )
    assert (g.residual < 1e-10).all()
    assert (g.curvature <= highest * (1 + 1e-6)).all()
    assert (g.curvature >= 1).all()
    assert (g.regime > 0.99).all()


@noisy
@PRECISIONS
@STEPS
def test_a_flat_energy_has_a_small_curvature(step_size, precision):
    """With precisions of 1/10 and small weights every curvature lies below one; steps stay at one all the same."""
    net, params, x, y = problem("identity", scale=0.2)
    low = [0.1, 0.1, 0.1]
    g = epc.gradient(net, params, x, y, low, inference_steps=300, step_size=step_size)
    highest = epc.largest_eigenvalue(net, params, epc.feedforward(net, params, x), x, y, low, iterations=300)
    H = 0.1 * np.eye(9)  # (ePC.13): Pi, and J' Pi J of the output
    W = [None, *(p["W"] for p in params)]
    J = np.concatenate([W[3] @ W[2], W[3]], axis=1)
    H += 0.1 * J.T @ J
    assert_same(highest, np.full(len(x), np.linalg.eigvalsh(H).max()), rtol=1e-6)
    assert (highest < 0.5).all()
    assert (g.curvature <= highest * (1 + 1e-6)).all()
    assert (g.curvature >= 0.1 - 1e-9).all()
    if step_size == "adaptive":
        assert (g.step_size == 1).all()


@noisy
@PRECISIONS
@STEPS
def test_decisions_are_real_numbers_in_a_complex_step(step_size, precision):
    """Curvature, regime and step size steer the descent; a complex step goes through the states alone."""
    net, params, x, y = problem()
    g = epc.gradient(net, params, x + 1e-20j, y, precision, inference_steps=3, step_size=step_size)
    plain = epc.gradient(net, params, x, y, precision, inference_steps=3, step_size=step_size)
    assert np.iscomplexobj(g.states[1])
    found = [g.curvature, g.regime, g.step_size]
    assert {v.dtype for v in found} == {np.dtype(float)}
    assert_same(found, [plain.curvature, plain.regime, plain.step_size])


@noisy
@PRECISIONS
@STEPS
def test_the_count_of_steps_is_a_number_of_python(step_size, precision):
    """Also if NumPy's was given."""
    net, params, x, y = problem()
    e = epc.feedforward(net, params, x)
    run = epc.infer(net, params, e, x, y, precision, inference_steps=np.int64(3), step_size=step_size)
    assert type(run.steps) is int


@noisy
def test_one_giant_step_does_not_overflow_the_regime():
    """(ePC.17) of one step is 1 - |1 - lam c|, as large as it may be."""
    net, params, x, y = problem("identity")
    g = epc.gradient(net, params, x, y, [2.0, None, None], inference_steps=1, step_size=1e80)
    assert_same(g.regime, 1 - np.abs(1 - 1e80 * g.curvature), rtol=1e-12)


@STEPS
def test_one_block_is_at_rest(step_size):
    """Nothing is free: the curvature is one or unmet, every number is there for every sample, zeros are no error."""
    rng = np.random.default_rng(0)
    net = pc.Network([pc.Dense(3, 2, "relu")])
    params = [{"W": np.zeros((2, 3)), "b": -np.ones(2)}]
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    g = epc.gradient(net, params, x, y, inference_steps=2, step_size=step_size)
    assert g.curvature.shape == g.regime.shape == g.step_size.shape == (5,)
    assert (g.curvature == (0 if step_size == 0.1 else 1)).all() or step_size == "power"
    assert (g.step_size == (0.1 if step_size == 0.1 else 1)).all()
    highest = epc.largest_eigenvalue(net, params, [None], x, y)
    assert highest.shape == (5,)
    assert (highest == 1).all()


def test_gauss_newton_keeps_float32():
    """(ePC.15) with numbers, diagonals and matrices as precisions."""
    net, params, x, y = problem(dtype=np.float32)
    e = epc.feedforward(net, params, x)
    eye = np.eye(5, dtype=np.float32)
    for precision in (None, [2.0, None, None], [np.ones(5, np.float32), None, None], [2 * eye, 3.0, None]):
        step = epc.gauss_newton_step(net, params, e, x, y, precision)
        assert {v.dtype for v in step[1:]} == {np.dtype(np.float32)}


@pytest.mark.parametrize("shape", [(2, 3), (3, 3)])
def test_gauss_newton_with_a_precision_for_every_entry_of_a_matrix_state(shape):
    """States (rows, width) and Pi of their shape: from any errors to the equilibrium of a linear network (ePC.15)."""
    rng = np.random.default_rng(0)
    rows, width = shape
    net = pc.Network(
        [pc.Embedding(5, width), pc.Flatten(), pc.Dense(rows * width, 2)],
        input_shape=(rows,),
    )
    params, x = net.init(0), rng.integers(0, 5, (4, rows))
    y = rng.standard_normal((4, 2))
    e = [None, rng.standard_normal((4, *shape)), rng.standard_normal((4, rows * width))]
    precision = [rng.uniform(0.5, 2, shape), rng.uniform(0.5, 2, rows * width), None]
    at = epc.gauss_newton_step(net, params, e, x, y, precision)
    slope = epc.error_gradient(net, params, at, x, y, precision)
    assert [v.shape for v in at[1:]] == [v.shape for v in e[1:]]
    assert abs(epc.error_gradient(net, params, e, x, y, precision)[1]).max() > 0.1
    assert max(abs(v).max() for v in slope[1:]) < 1e-12
