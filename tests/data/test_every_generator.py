"""What all generators promise: seeds, dtypes, keyword-only options, and refusals before any work."""

import inspect

import numpy as np
import pytest

from minipc import data

SMALL = {
    "two_moons": {"samples": 20},
    "tracking": {"T": 5, "samples": 3},
    "lorenz": {"T": 5, "samples": 3, "burn_in": 5},
    "adding": {"T": 6, "samples": 3},
    "delayed_parity": {"T": 12, "samples": 3},
    "copy_task": {"samples": 3},
    "number_names": {"samples": 20},
    "bogacz": {},
}
SEEDED = [name for name in SMALL if name != "bogacz"]
FLOATS = ["two_moons", "tracking", "lorenz", "adding", "delayed_parity", "bogacz"]


def make(name, **options):
    """A small result of a generator."""
    return getattr(data, name)(**SMALL[name], **options)


def same(a, b):
    """Equal in every field."""
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_options_go_by_keyword_and_results_have_names(name):
    """A number without its name says nothing; a result is a named tuple."""
    parameters = inspect.signature(getattr(data, name)).parameters.values()
    assert {p.kind for p in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(p.default is not p.empty for p in parameters)
    assert make(name)._fields
    assert name in data.__all__


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_repeats_and_another_differs(name):
    """Also as a generator of that seed, which moves on; the global state is left alone."""
    if name == "number_names":
        pytest.importorskip("num2words")
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    rng = np.random.default_rng(7)
    first = make(name, seed=7)
    assert same(first, make(name, seed=7))
    assert same(first, make(name, seed=rng))
    assert not same(first, make(name, seed=rng))
    assert not same(first, make(name, seed=8))
    after = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    assert state["pos"] == after["pos"]
    assert (state["key"] == after["key"]).all()


@pytest.mark.parametrize("name", FLOATS)
def test_float32_is_float64_rounded(name):
    """The same draws; the sum of the adding problem is that of the rounded numbers."""
    wide, narrow = (make(name, dtype=dtype) for dtype in ("float64", "float32"))
    for u, v in zip(wide, narrow, strict=True):
        if not isinstance(u, np.ndarray) or u.dtype.kind != "f":
            assert np.array_equal(u, v)
            continue
        assert (u.dtype, v.dtype) == (np.float64, np.float32)
        assert abs(u - v).max() <= 2e-7 * abs(u).max()
        if not (name == "adding" and u.shape[-1] == 1):
            assert (u.astype(np.float32) == v).all()


@pytest.mark.parametrize("name", SMALL)
def test_integers_and_masks_have_one_kind(name):
    """Labels, classes and symbols are int64, masks bool; nothing is a view that edits another field."""
    if name == "number_names":
        return
    arrays = {f: v for f, v in make(name)._asdict().items() if isinstance(v, np.ndarray)}
    kinds = {v.dtype for v in arrays.values() if v.dtype.kind != "f"}
    assert kinds <= {np.dtype(np.int64), np.dtype(bool)}
    assert "mask" not in arrays or arrays["mask"].dtype == bool


@pytest.mark.parametrize("name", ["adding", "delayed_parity", "copy_task"])
def test_sequences_share_time_and_batch(name):
    """(T, B) of inputs, targets and mask."""
    task = make(name)
    assert task.inputs.shape[:2] == task.targets.shape[:2] == task.mask.shape
    assert isinstance(task, data.Sequences)


EYE = np.eye(2)
GOOD = {"A": 0.5 * EYE, "C": EYE, "Q": EYE, "R": EYE}
BAD = {
    "no moon": ("two_moons", {"samples": 1}, ValueError, "samples must be at least 2, got 1"),
    "half a sample": ("two_moons", {"samples": 2.5}, TypeError, "samples must be an integer, got 2.5"),
    "true samples": ("two_moons", {"samples": True}, TypeError, "samples must be an integer, got True"),
    "negative noise": ("two_moons", {"noise": -0.1}, ValueError, "noise must be .* at least 0, got -0.1"),
    "noise NaN": ("two_moons", {"noise": np.nan}, ValueError, "noise must be .*finite.*, got nan"),
    "noise in words": ("two_moons", {"noise": "much"}, TypeError, "noise must be a number, got 'much'"),
    "no steps": ("tracking", {"T": 0}, ValueError, "T must be at least 1, got 0"),
    "no sequence": ("tracking", {"samples": 0}, ValueError, "samples must be at least 1, got 0"),
    "A alone": ("tracking", {"A": EYE}, ValueError, "given together.*missing: C, Q, R"),
    "A not square": (
        "tracking",
        GOOD | {"A": np.ones((2, 3))},
        ValueError,
        r"A must have shape \(2, 2\), got \(2, 3\)",
    ),
    "C transposed": (
        "tracking",
        GOOD | {"C": np.ones((2, 1))},
        ValueError,
        r"C must have shape \(2, 2\), got \(2, 1\)",
    ),
    "Q a row": ("tracking", GOOD | {"Q": np.ones(2)}, ValueError, r"Q must be a matrix .*got shape \(2,\)"),
    "Q of another size": (
        "tracking",
        GOOD | {"Q": np.eye(3)},
        ValueError,
        r"Q must have shape \(2, 2\), got \(3, 3\)",
    ),
    "R of another size": (
        "tracking",
        GOOD | {"R": np.eye(1)},
        ValueError,
        r"R must have shape \(2, 2\), got \(1, 1\)",
    ),
    "Q not symmetric": ("tracking", GOOD | {"Q": [[1, 0.5], [0, 1]]}, ValueError, "Q must be symmetric, got"),
    "R negative": (
        "tracking",
        GOOD | {"R": -EYE},
        ValueError,
        "R must be a covariance, .* negative eigenvalue -1",
    ),
    "A infinite": ("tracking", GOOD | {"A": [[np.inf]]}, ValueError, "A must be finite, got"),
    "A complex": ("tracking", GOOD | {"A": EYE * 1j}, TypeError, "A must hold real numbers, got complex128"),
    "A text": ("tracking", GOOD | {"A": "spring"}, TypeError, "A must hold real numbers, got <U6"),
    "A ragged": (
        "tracking",
        GOOD | {"A": [[1, 2], [3]]},
        ValueError,
        "A must be a matrix, got rows of different lengths",
    ),
    "A empty": ("tracking", GOOD | {"A": [[]]}, ValueError, "A must be a matrix .* not empty"),
    "A on the circle": ("tracking", GOOD | {"A": EYE}, ValueError, "P0 must be given if A .* got modulus 1:"),
    "P0 of another size": (
        "tracking",
        GOOD | {"P0": np.eye(3)},
        ValueError,
        r"P0 must have shape \(2, 2\), got \(3, 3\)",
    ),
    "P0 negative": ("tracking", GOOD | {"P0": -EYE}, ValueError, "P0 must be a covariance"),
    "A explodes": (
        "tracking",
        GOOD | {"A": 1e9 * EYE, "P0": EYE},
        ValueError,
        "A must not let .* in T = 200 steps",
    ),
    "time stands still": ("lorenz", {"dt": 0}, ValueError, "dt must be positive and finite, got 0"),
    "time runs back": ("lorenz", {"dt": -0.01}, ValueError, "dt must be positive and finite, got -0.01"),
    "too long a step": ("lorenz", {"dt": 0.5}, ValueError, "dt must be small, .* got 0.5"),
    "negative burn-in": ("lorenz", {"burn_in": -1}, ValueError, "burn_in must not be negative, got -1"),
    "one step to add": ("adding", {"T": 1}, ValueError, "T must be at least 2, got 1"),
    "T a float": ("adding", {"T": 50.0}, TypeError, "T must be an integer, got 50.0"),
    "parity never defined": (
        "delayed_parity",
        {"T": 6, "delay": 5},
        ValueError,
        "T must be at least 7, got 6",
    ),
    "the future": ("delayed_parity", {"delay": -1}, ValueError, "delay must not be negative, got -1"),
    "no digit": ("copy_task", {"digits": 0}, ValueError, "digits must be at least 1, got 0"),
    "no time for go": ("copy_task", {"delay": 0}, ValueError, "delay must be at least 1, got 0"),
    "too few for three parts": (
        "number_names",
        {"samples": 9},
        ValueError,
        "samples must be at least 10, got 9",
    ),
    "more than there are": (
        "number_names",
        {"samples": 11, "high": 10},
        ValueError,
        "samples must be at most high, 10",
    ),
    "beyond a million": (
        "number_names",
        {"high": 1_000_001},
        ValueError,
        "high must be at most 1000000, got 1000001",
    ),
}
BAD |= {
    f"{name}: a negative seed": (name, {"seed": -1}, ValueError, "seed must be an integer >= 0 or a")
    for name in SEEDED
}
BAD |= {
    f"{name}: seed in words": (name, {"seed": "0"}, TypeError, "seed must be an integer") for name in SEEDED
}
BAD |= {
    f"{name}: integers": (name, {"dtype": "int64"}, TypeError, "dtype must be float32 or float64, got int64")
    for name in FLOATS
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_refused(case):
    """By the name of the option, with what was expected and what was given."""
    name, options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        getattr(data, name)(**options)
