"""Gated cells at the edges of their arguments: refusals, initial parameters, float32, layouts in memory, saturation."""

import numpy as np
import pytest
from helpers.checks import assert_same

import minipc as pc

M, N = 3, 4
RNG = np.random.default_rng(0)
CELLS = {"RNN": pc.RNN, "GRU": pc.GRU, "LSTM": pc.LSTM}
KINDS = {
    "RNN": pc.RNN(M, N, "tanh"),
    "leaky RNN": pc.RNN(M, N, "tanh", alpha=np.float64(0.4)),
    "leaky pre RNN": pc.RNN(M, N, "tanh", "pre", alpha=np.float64(0.4)),
    "GRU": pc.GRU(M, N, gain=np.float64(1.5)),
    "LSTM": pc.LSTM(M, N),
    "LSTM with learned h0": pc.LSTM(M, N, learn_h0=True),
}


def problem(cell, T=5, B=3, dtype=float):
    """Parameters, state and inputs."""
    rng = np.random.default_rng(0)
    p = {k: (0.5 * rng.standard_normal(shape)).astype(dtype) for k, shape in cell.shapes.items()}
    return (
        p,
        rng.standard_normal((B, cell.state_size)).astype(dtype),
        rng.standard_normal((T, B, M)).astype(dtype),
    )


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("sizes", "symbol"), [((0, N), "n_in"), ((M, 0), "n"), ((-1, N), "n_in"), ((M, 1.5), "n")]
)
def test_widths_must_be_positive_integers(name, sizes, symbol):
    """By the name of the cell and of the argument; one is the least."""
    with pytest.raises((ValueError, TypeError), match=f"^{symbol} of an? {name} cell must"):
        CELLS[name](*sizes)
    assert CELLS[name](1, 1).shapes["W"] == (CELLS[name].gates, 1)


@pytest.mark.parametrize("name", CELLS)
def test_initial_parameters(name):
    """Orthogonal gates of gain one, biases of zero but for the forget gate's of one; h0 only if it is learned, then zero."""
    cell = CELLS[name](M, N)
    p = cell.init_params(np.random.default_rng(0), float)
    assert p.keys() == {"W", "U", "b"}
    for W in p["W"].reshape(-1, N, N):
        assert_same(W @ W.T, np.eye(N), rtol=1e-12)
    forget = np.array([0, 1, 0, 0]) if name == "LSTM" else np.zeros(cell.gates)  # gates i, f, g, o
    assert (p["b"] == np.repeat(forget, N)).all()
    learned = CELLS[name](M, N, learn_h0=True).init_params(np.random.default_rng(0), np.float32)
    assert learned.keys() == {"W", "U", "b", "h0"}
    assert learned["h0"].shape == (cell.state_size,)
    assert not learned["h0"].any()
    assert {v.dtype for v in learned.values()} == {np.dtype(np.float32)}
    double = CELLS[name](M, N, gain=2.0).init_params(np.random.default_rng(0), float)
    assert_same(double["W"], 2 * p["W"], rtol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_shapes_may_be_given_as_lists(name):
    """A width is a width; another one is refused."""
    cell = CELLS[name](M, N)
    assert cell.out_shape([M]) == cell.out_shape((M,)) == (N,)
    with pytest.raises(ValueError, match=rf"{name} must take inputs of shape \(3,\), got \(4,\)"):
        cell.out_shape([4])


@pytest.mark.parametrize("name", KINDS)
def test_float32_stays_float32(name):
    """States, both derivatives, Jacobians, traces; NumPy's float64 as a leak or a gain is a number."""
    cell = KINDS[name]
    p, h, u = problem(cell, dtype=np.float32)
    drawn = cell.init_params(np.random.default_rng(0), np.float32)
    after, tape = cell.scan(p, h, u)
    swept = cell.sweep(p, tape, np.ones((5, 3, N), np.float32), None)
    _, one = cell.step(p, h, u[0])
    arrays = [after, tape.before, *tape.kept, *swept.credit[1], swept.start, swept.reset]
    arrays += [
        *drawn.values(),
        *cell.gradients(p, tape, swept).values(),
        *cell.immediate_jacobian(p, one).values(),
    ]
    arrays += [cell.state_jacobian(p, one), cell.start_influence(3, h), cell.unit_rows(3, h)]
    assert {v.dtype for v in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", KINDS)
def test_credit_may_lie_in_any_order_and_is_left_alone(name):
    """Read-only, with the samples as columns, or with time last: the same sweep; of many rows at once, too."""
    cell = KINDS[name]
    p, h, u = problem(cell)
    _, tape = cell.scan(p, h, u)
    v = RNG.standard_normal((5, 3, N))
    expected = cell.sweep(p, tape, v.copy(), None)
    rows = RNG.standard_normal((5, 3, 2, N))
    expected_rows = [cell.sweep(p, tape, np.ascontiguousarray(rows[:, :, i]), None) for i in range(2)]
    for order in ("C", "F"):
        credit, many = np.array(v, order=order), np.array(rows, order=order)
        for array in (credit, many):
            array.flags.writeable = False
        found = cell.sweep(p, tape, credit, None)
        assert_same([*found.credit[1], found.start], [*expected.credit[1], expected.start], rtol=1e-12)
        assert (credit == v).all()
        found = cell.sweep(p, tape, many, None, rows=True)
        for i, one in enumerate(expected_rows):
            assert_same(found.start[:, i], one.start, rtol=1e-12)
            for w, w_one in zip(found.credit[1], one.credit[1], strict=True):
                assert_same(w[:, :, i], w_one, rtol=1e-12)
        assert (many == rows).all()


@pytest.mark.parametrize("name", KINDS)
def test_rows_of_credit_at_the_whole_state(name):
    """``(T, B, rows, N)``: each row as if it came alone; also where there are as many rows as parts."""
    cell = KINDS[name]
    p, h, u = problem(cell)
    _, tape = cell.scan(p, h, u)
    for count in (2, 3):
        rows = RNG.standard_normal((5, 3, count, cell.state_size))
        found = cell.sweep(p, tape, rows, None, rows=True)
        for i in range(count):
            one = cell.sweep(p, tape, np.ascontiguousarray(rows[:, :, i]), None)
            assert_same(found.start[:, i], one.start, rtol=1e-12)


def test_a_closed_output_gate_is_no_division_by_zero():
    """Gates that are zero exactly, at pre-activations of -800: every derivative is finite, and h does not move."""
    cell = pc.LSTM(M, N)
    p, h, u = problem(cell)
    p["b"] = np.repeat([0.0, 0.0, 0.0, -1e4], N)
    after, tape = cell.scan(p, h, u)
    assert not after[..., :N].any()
    swept = cell.sweep(p, tape, np.ones((5, 3, N)), None)
    assert all(np.isfinite(v).all() for v in cell.gradients(p, tape, swept).values())
    assert all(np.isfinite(v).all() for v in (swept.start, *swept.credit[1]))
