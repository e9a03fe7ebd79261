"""Tracking against its covariances and a Kalman filter, Lorenz against a loop, its symmetry and the order of the method."""

import numpy as np
import pytest

from minipc import data
from minipc.data import dynamics
from reference import data_loops

A = np.array([[0.6, -0.5, 0.2], [0.3, 0.7, 0.0], [0.1, -0.4, -0.5]])  # nothing here is symmetric or diagonal
C = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])
Q = np.array([[0.5, 0.2, -0.1], [0.2, 0.4, 0.15], [-0.1, 0.15, 0.3]])
R = np.array([[0.6, -0.3], [-0.3, 0.5]])
MODEL = {"A": A, "C": C, "Q": Q, "R": R}
N = 40_000


def assert_covariance(a, b, expected, variance_a, variance_b):
    """E[a b^T] of normal rows of mean zero is ``expected``, within five standard errors of each entry."""
    found = a.T @ b / len(a)
    error = np.sqrt((np.outer(variance_a, variance_b) + expected**2) / len(a))
    assert (abs(found - expected) < 5 * error).all()


@pytest.fixture(scope="module")
def system():
    """A few steps of many sequences."""
    return data.tracking(T=4, samples=N, **MODEL, seed=5)


@pytest.mark.parametrize("chosen", [MODEL, {k: np.array(v) for k, v in dynamics.SPRING.items()}])
def test_the_stationary_covariance_is_the_sum_of_its_series(chosen):
    """Term by term, with loops; P0 is that covariance."""
    expected = np.array(data_loops.stationary_series(chosen["A"], chosen["Q"], 800))
    P = dynamics.stationary_covariance(chosen["A"], chosen["Q"])
    assert abs(P - expected).max() < 1e-12 * abs(expected).max()
    assert abs(data.tracking(T=1, samples=1, **chosen).P0 - expected).max() < 1e-12 * abs(expected).max()
    swapped = dynamics.stationary_covariance(chosen["A"].T, chosen["Q"])
    assert abs(swapped - expected).max() > 1e-3


def test_the_sequences_are_stationary_from_the_first_step(system):
    """Covariances of states, of neighbouring states, of observations, and of observation and state."""
    P = np.array(data_loops.stationary_series(A, Q, 200))
    S = C @ P @ C.T + R
    p, s = np.diag(P), np.diag(S)
    for z, y in zip(system.states, system.observations, strict=True):
        assert_covariance(z, z, P, p, p)
        assert_covariance(y, y, S, s, s)
        assert_covariance(y, z, C @ P, s, p)
        assert abs(z.mean(axis=0)).max() < 5 * np.sqrt(p.max() / N)
    for before, after in zip(system.states[:-1], system.states[1:], strict=True):
        assert_covariance(after, before, A @ P, p, p)
    assert abs(A @ P - (A @ P).T).max() > 0.1


def test_the_noises_are_white_and_have_their_covariances(system):
    """w = z_t - A z_{t-1} and v = y - C z; none of them knows of another or of the state before."""
    w = [np.array(z) - before @ A.T for before, z in zip(system.states[:-1], system.states[1:], strict=True)]
    v = [y - z @ C.T for y, z in zip(system.observations, system.states, strict=True)]
    q, r = np.diag(Q), np.diag(R)
    for t in range(3):
        assert_covariance(w[t], w[t], Q, q, q)
        assert_covariance(v[t], v[t], R, r, r)
        assert_covariance(w[t], v[t + 1], np.zeros((3, 2)), q, r)
        assert_covariance(w[t], system.states[t], np.zeros((3, 3)), q, np.diag(system.P0))
        assert_covariance(v[t], v[t + 1], np.zeros((2, 2)), r, r)
    assert_covariance(w[0], w[1], np.zeros((3, 3)), q, q)


def test_without_noise_the_states_follow_the_matrix():
    """Index by index; A and C are applied and not their transposes."""
    start = np.array(
        [[4.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    )  # of rank one: z_0 is along (2, 1, 0)
    quiet = data.tracking(T=6, samples=3, A=A, C=C, Q=0 * Q, R=0 * R, P0=start, seed=1)
    for b in range(3):
        first = np.linalg.solve(A, quiet.states[0, b])  # z_0
        assert first == pytest.approx(first[1] * np.array([2, 1, 0]), abs=1e-7)
        for t in range(6):
            z = quiet.states[t, b]
            assert quiet.observations[t, b] == pytest.approx(data_loops.linear_step(C, z), abs=1e-12)
            if t:
                assert z == pytest.approx(data_loops.linear_step(A, quiet.states[t - 1, b]), abs=1e-12)
    assert abs(quiet.states).max() > 0.1


def kalman(observations, A, C, Q, R, P0):
    """Filtered means (T, B, n), and the mean of v^T S^{-1} v / o, which is 1 for the model that drew the data."""
    m, P, means, normalised = np.zeros((observations.shape[1], len(A))), P0, [], []
    for y in observations:
        m, P = m @ A.T, A @ P @ A.T + Q
        v, S = y - m @ C.T, C @ P @ C.T + R
        K = P @ C.T @ np.linalg.inv(S)
        normalised.append(((v @ np.linalg.inv(S)) * v).sum(axis=1) / len(C))
        m, P = m + v @ K.T, P - K @ S @ K.T
        means.append(m)
    return np.array(means), np.mean(normalised)


@pytest.mark.parametrize("chosen", [MODEL, {}])
def test_a_kalman_filter_with_the_model_fits_the_data_and_with_another_does_not(chosen):
    """Its normalised innovations have variance one: all six matrices and the convention of z_0 at once."""
    system = data.tracking(T=50, samples=400, **chosen, seed=6)
    y, states, *model = system
    A, C, Q, R, P0 = model
    error = np.sqrt(2 / (50 * 400 * len(C)))
    means, consistency = kalman(y, *model)
    assert abs(consistency - 1) < 5 * error
    others = [(A.T, C, Q, R, P0), (A, C, Q / 4, R, P0), (A, C, Q, R / 2, P0)]
    assert all(abs(kalman(y, *other)[1] - 1) > 5 * error for other in others)
    from_position = y @ np.linalg.pinv(C).T
    assert ((means - states) ** 2).mean() < 0.8 * ((from_position - states) ** 2).mean()


def test_a_system_that_does_not_come_to_rest_starts_where_it_is_told():
    """Constant velocity, pushed by a noise of rank one: the covariance of step t by the recursion."""
    A, g = np.array([[1.0, 0.5], [0.0, 1.0]]), np.array([0.125, 0.5])
    P = np.array([[1.0, 0.3], [0.3, 2.0]])
    Q, R = np.outer(g, g), np.eye(1)
    system = data.tracking(T=3, samples=N, A=A, C=[[1, 0]], Q=Q, R=R, P0=P)
    assert system.P0.tolist() == P.tolist()
    for z in system.states:
        P = A @ P @ A.T + Q
        assert_covariance(z, z, P, np.diag(P), np.diag(P))


def test_the_default_system_is_the_documented_one():
    """A mass on a spring; the text says the matrices and the eigenvalues."""
    system = data.tracking(T=2, samples=2)
    assert system.A.tolist() == [[1, 0.2], [-0.4, 0.7]]
    assert system.C.tolist() == [[1, 0]]
    assert system.Q.tolist() == [[0.01, 0], [0, 0.1]]
    assert system.R.tolist() == [[0.1]]
    assert sorted(np.linalg.eigvals(system.A), key=np.imag) == pytest.approx(
        [0.85 - 0.24j, 0.85 + 0.24j], abs=1e-3
    )


# Lorenz (LOR.1), (LOR.2)

AT_REST = [(0, 0, 0), (72**0.5, 72**0.5, 27), (-(72**0.5), -(72**0.5), 27)]


def test_the_trajectory_is_that_of_a_loop_over_numbers():
    """From the first input on, each sample by itself; rounding grows with the chaos, so 200 steps."""
    task = data.lorenz(T=200, samples=3, dt=0.01, seed=2)
    for b in range(3):
        path = np.array(data_loops.lorenz_trajectory(task.inputs[0, b], 0.01, 200))
        assert abs(task.inputs[:, b] - path[:-1]).max() < 1e-10
        assert abs(task.targets[:, b] - path[1:]).max() < 1e-10
    assert abs(task.inputs[:, 0] - task.inputs[:, 1]).max() > 1


def test_burn_in_is_the_number_of_steps_before_the_first_input():
    """The same seed starts at the same place; without burn-in that is the box."""
    raw = data.lorenz(T=8, samples=500, burn_in=0, seed=3).inputs
    late = data.lorenz(T=3, samples=500, burn_in=5, seed=3).inputs
    assert (late == raw[5:8]).all()
    low, high = raw[0].min(axis=0), raw[0].max(axis=0)
    assert (np.array([-10, -10, 15]) <= low).all()
    assert (high < np.array([10, 10, 35])).all()
    assert (high - low > 19).all()


@pytest.mark.parametrize("x", AT_REST)
def test_the_points_of_rest_stay(x):
    """The field vanishes there, and so does every stage of the step."""
    x = np.array(x, float)
    assert abs(dynamics.lorenz_field(x)).max() < 1e-12
    assert abs(dynamics.runge_kutta_step(dynamics.lorenz_field, x, 0.01) - x).max() < 1e-13


def test_the_field_is_the_derivative_written_out():
    """At random points, for any leading axes; half a turn around the third axis changes nothing."""
    x = np.random.default_rng(0).normal(size=(4, 5, 3)) * 20
    field = dynamics.lorenz_field(x)
    for i, j in np.ndindex(4, 5):
        assert field[i, j] == pytest.approx(data_loops.lorenz_derivative(x[i, j]), rel=1e-13)
    turn = np.array([-1, -1, 1])
    assert abs(dynamics.lorenz_field(turn * x) - turn * field).max() < 1e-12


def test_the_method_is_of_order_four():
    """Half the step, a sixteenth of the error: against steps a sixteenth as long, over 0.2 units of time."""
    x = data.lorenz(T=1, samples=20, seed=4).inputs[0]

    def after(h):
        y = x
        for _ in range(round(0.2 / h)):
            y = dynamics.runge_kutta_step(dynamics.lorenz_field, y, h)
        return y

    exact = after(0.005 / 16)
    errors = [np.linalg.norm(after(h) - exact) for h in (0.02, 0.01, 0.005)]
    assert errors[2] > 1e-9
    assert 14 < errors[0] / errors[1] < 18
    assert 14 < errors[1] / errors[2] < 18


@pytest.mark.parametrize("u", [0.1, -0.7])
def test_a_step_on_a_linear_equation_is_the_exponential_up_to_the_fourth_power(u):
    """1 + u + u^2/2 + u^3/6 + u^4/24, exactly."""
    found = dynamics.runge_kutta_step(lambda x: u / 0.5 * x, 3.0, 0.5)
    assert found == pytest.approx(3 * (1 + u + u**2 / 2 + u**3 / 6 + u**4 / 24), rel=1e-15)


def test_the_states_are_in_the_documented_range_and_visit_both_wings():
    """What a reader has to know before scaling."""
    x = data.lorenz(T=4000, samples=10, seed=0).inputs
    assert (abs(x) < (20, 28, 50)).all()
    assert x[..., 2].min() > 0
    assert ((x[..., 0] > 5).any(axis=0) & (x[..., 0] < -5).any(axis=0)).all()


def test_the_error_of_a_step_is_below_the_documented_one():
    """Against a hundred steps of a hundredth."""
    x = data.lorenz(T=2000, samples=5, seed=1).inputs[::10]
    exact = x
    for _ in range(100):
        exact = dynamics.runge_kutta_step(dynamics.lorenz_field, exact, 1e-4)
    error = abs(dynamics.runge_kutta_step(dynamics.lorenz_field, x, 0.01) - exact).max()
    assert 1e-7 < error < 6e-5
