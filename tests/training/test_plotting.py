"""The picture of a history shows its numbers: every curve, every epoch, named."""

import sys

import numpy as np
import pytest

from minipc import plotting
from training.problem import X, Y, train

pytest.importorskip("matplotlib")


def curves(axes):
    """Label -> values of the lines of a panel."""
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_every_curve_of_every_run_is_drawn(tmp_path):
    """Two runs, one of them without energies; loss and validation loss share a panel."""
    runs = {
        "bp": train("backprop", epochs=3, validation=(X, Y))[1],
        "pc": train("epc", epochs=3, validation=(X, Y))[1],
    }
    figure = plotting.history(runs, "two rules")
    panels = {axes.get_ylabel(): curves(axes) for axes in figure.axes}
    assert panels.keys() == {"loss", "energy", "validation accuracy"}
    assert panels["loss"].keys() == {"bp", "bp, validation", "pc", "pc, validation"}
    assert panels["energy"].keys() == {"pc"}
    for label, run in runs.items():
        assert np.array_equal(panels["loss"][label], run["loss"])
        assert np.array_equal(panels["loss"][f"{label}, validation"], run["validation_loss"])
        assert np.array_equal(panels["validation accuracy"][label], run["validation_accuracy"])
    assert all(axes.get_xlabel() == "epoch" for axes in figure.axes)
    assert figure.axes[0].get_yscale() == "log"
    plotting.save(figure, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_one_history_alone():
    """As ``fit`` gave it; losses that reach zero have a plain axis."""
    (axes,) = plotting.history({"loss": np.array([1.0, 0.0]), "seconds": np.ones(2)}).axes
    assert axes.get_yscale() == "linear"
    assert np.array_equal(axes.get_lines()[0].get_ydata(), [1.0, 0.0])


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    """The package itself needs NumPy alone."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # an import then fails
    with pytest.raises(ImportError, match=r'pictures need matplotlib: pip install "minipc\[tour\]"'):
        plotting.history({"loss": [1.0]})


@pytest.mark.parametrize(
    ("runs", "error", "message"),
    [
        ([1.0], TypeError, r"runs must be a history, or a dict label -> history, got \[1.0\]"),
        ({}, TypeError, "runs must be a history"),
        ({"a": {"seconds": [1.0]}}, ValueError, "the history of 'a' must have the entry loss"),
        ({"seconds": [1.0]}, ValueError, "the history of '' must have the entry loss"),
    ],
)
def test_something_else_is_refused(runs, error, message):
    """By name."""
    with pytest.raises(error, match=message):
        plotting.history(runs)
