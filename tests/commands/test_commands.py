"""The command line as a person types it: exit status, tables, JSON, figures, and what it says when it refuses."""

import json
import math
import re

import numpy as np
import pytest

from minipc import __main__, plotting, tour, verify

KEYS = ["id", "equations", "claim", "oracle", "trials", "worst", "tolerance", "control", "holds"]


def test_verify_writes_its_table(tmp_path, capsys):
    """A line a claim, the same rows as JSON, exit status 0."""
    path = tmp_path / "rows.json"
    arguments = [
        "verify",
        "--only",
        "S02",
        "--only",
        "S06",
        "--trials",
        "2",
        "--seed",
        "3",
        "--json",
        str(path),
    ]
    assert __main__.main(arguments) == 0
    rows = json.loads(path.read_text())
    assert [list(row) for row in rows] == [KEYS, KEYS]
    assert [row["id"] for row in rows] == ["S02", "S06"]
    assert all(row["trials"] == 2 and 0 < row["worst"] <= row["tolerance"] < row["control"] for row in rows)
    printed = capsys.readouterr().out
    assert all(f"{row['worst']:.1e}" in printed and row["claim"] in printed for row in rows)
    assert "2 of 2 claims hold" in printed


def test_another_seed_is_another_problem():
    """And the same seed is the same one."""
    rows = [verify.verify(["S02"], trials=1, seed=seed)[0]["control"] for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_a_claim_that_does_not_hold_is_exit_status_one(monkeypatch, capsys):
    """A wrong engine is told from a right one by the shell, too."""
    wrong = verify.CLAIMS["S02"]._replace(trial=lambda rng: (1e-3, 1.0))
    monkeypatch.setitem(verify.CLAIMS, "S02", wrong)
    assert __main__.main(["verify", "--only", "S02"]) == 1
    assert " NO " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "--only", "S99"], "unknown claim S99; there are S01"),
        (["verify", "--trials", "0"], "trials must be at least 1, got 0"),
        (["verify", "--seed", "-1"], "seed must not be negative, got -1"),
        (["verify", "--only", "S02", "--trials", "1", "--json", "nowhere/x.json"], "nowhere does not exist"),
    ],
)
def test_a_refusal_says_why(arguments, message, capsys):
    """Exit status 2 and one line, without a traceback."""
    assert __main__.main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_curves_that_lie_on_each_other_are_both_seen():
    """BPTT and RTRL: the second is narrower, dashed and above the first; chance is drawn where it is."""
    curve, low = [[0.2, 0.9], [0.3, 1.0]], [[0.1, 0.1]] * 2
    runs = {
        "one": {"accuracy": curve, "past": True},
        "the same": {"accuracy": curve, "past": True},
        "nearly": {"accuracy": [[0.2, 0.8], [0.3, 1.0]], "past": True},
        "none": {"accuracy": low, "past": False},
        "none either": {"accuracy": low, "past": False},
    }
    figure = plotting.memory_curves(runs, 1 / 9, "title")
    (axes,) = figure.axes
    *curves, chance = axes.lines
    first, second, third, *_ = curves
    assert [line.get_label() for line in curves] == list(runs)
    assert list(first.get_ydata()) == list(second.get_ydata()) == [25.0, 95.0]
    assert first.get_linewidth() > 2 * second.get_linewidth() > 4 * third.get_linewidth()
    assert first.get_markersize() > second.get_markersize() > third.get_markersize()
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    assert len({line.get_color() for line in curves}) == 5
    assert {line.get_color() for line in curves} <= set(plotting.COLOURS)
    past, present = axes.texts
    assert (past.get_text(), present.get_text()) == (
        "credit reaches the past",
        "credit for the same step only",
    )
    assert 10 < present.get_position()[1] < past.get_position()[1] < 80
    assert abs(chance.get_ydata()[0] - 100 / 9) < 1e-12
    assert "11.1 %" in chance.get_label()
    assert axes.get_xlabel() == "epoch"
    assert axes.get_ylabel() == "test accuracy (%)"


def test_the_tour_prints_what_it_writes(tmp_path, monkeypatch, capsys):
    """A short tour: four figures, and every number of the tables in the JSON file."""
    monkeypatch.setattr(tour, "EPOCHS", 5)
    monkeypatch.setattr(tour, "SEEDS", (0,))
    assert __main__.main(["tour", "--out", str(tmp_path / "new"), "--json", str(tmp_path / "t.json")]) == 0
    result, printed = json.loads((tmp_path / "t.json").read_text()), capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "digits.png",
        "error_travel.png",
        "proofs.png",
        "recall.png",
    ]
    for path in result["figures"]:
        with open(path, "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    for row in result["digits"]["table"]:
        assert row["accuracy"] > 50  # five times chance
        assert f"{row['accuracy']:.1f} [" in printed
        assert f"{row['loss']:.4f}" in printed
    through_time, forward, inferred, same_step, forgetful = result["recall"]["table"]
    assert min(row["accuracy"] for row in (through_time, forward, inferred)) > 95  # chance is 100/9
    assert max(row["accuracy"] for row in (same_step, forgetful)) < 60
    assert through_time["gradient_difference"] == 0
    assert 0 < forward["gradient_difference"] < 1e-12 < 0.1 < forgetful["gradient_difference"]
    off, tenth = (
        np.array([row[f"gradient_difference{name}"] for row in (inferred, same_step)])
        for name in ("", "_at_a_tenth_of_beta")
    )
    assert 7 < off[0] / tenth[0] < 13  # O(beta)
    assert 0.8 < off[1] / tenth[1] < 1.25
    curves = [run["accuracy"][0] for run in result["recall"]["runs"].values()]
    assert [len(curve) for curve in curves] == [15] * 5
    for row, curve in zip(result["recall"]["table"], curves, strict=True):
        assert row["accuracy"] == row["accuracy_worst"] == row["accuracy_best"] == 100 * curve[-1]
        assert f"{row['accuracy']:.1f} [" in printed
        assert f"{row['loss']:8.4f} {row['seconds_per_epoch']:9.3f}" in printed
        shown = "-" if row is through_time else f"{row['gradient_difference']:.1e}"
        assert re.search(rf"    {row['rule']} .* {shown} ", printed)
        if row["gradient_difference_at_a_tenth_of_beta"]:
            assert f"{row['gradient_difference_at_a_tenth_of_beta']:.1e}\n" in printed
    for row in (inferred, same_step):
        assert row["equals"] in " ".join(printed.split())
    assert result["recall"]["inference"] == tour.INFERENCE
    for name in ("training_sequences", "test_sequences", "epochs", "units", "digits", "delay"):
        assert f"{result['recall'][name]} " in printed
    stalled, full = (result["error_travel"]["table"][i] for i in (0, 2))
    assert stalled["first_step"][0] is None  # sPC in float32 never reaches layer 1
    assert full["first_step"] == [1] * 19  # ePC reaches every layer in its first step
    assert math.isinf(float(stalled["log10_energy_at_end"][0]))
    assert result["proofs"]["held"] == result["proofs"]["claims"] == len(verify.CLAIMS)
