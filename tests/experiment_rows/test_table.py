"""The table says no where it should, and the command line writes what it prints."""

import json
import pathlib

import pytest
from contracts.source import expand, modules, text
from contracts.test_equations import DEFINED

import experiments.__main__ as command
from experiments import table

FOLDER = pathlib.Path(command.__file__).parent
FILES = modules(FOLDER)


@pytest.mark.parametrize(
    ("line", "lands"),
    [
        (table.at_most("", 1e-15, 1e-14, ""), True),
        (table.at_most("", [1e-15, 1e-13], 1e-14, ""), False),
        (table.at_most("", [1e-15, float("nan")], 1e-14, ""), False),
        (table.near("", [1.0, 2.0], [1.1, 2.0], 0.2), True),
        (table.near("", [1.0, 2.0], [1.0, 2.3], 0.2), False),
        (table.factor("", [5, 0.5], [2, 1], 3), True),
        (table.factor("", 7, 2, 3), False),
        (table.factor("", 0.5, 2, 3), False),
        (table.factor("", None, 2, 3), False),
        (table.factor("", float("nan"), 2, 3), False),
        (table.note("", 3), None),
    ],
)
def test_a_line_lands_by_its_criterion(line, lands):
    """On both sides of it; NaN and "never" do not land."""
    assert line.lands is lands


def test_every_row_is_explained():
    """The docstring states the setting and the equations; the equations exist."""
    assert sorted(table.ROWS) == [*range(1, 10), 13, 14, 15, 16]
    for row in table.ROWS.values():
        assert "\nSetting: " in table.text_of(row)
        assert "\nEquations: " in table.text_of(row)
    for path in FILES.values():
        assert set(expand(text(path))) <= set(DEFINED)


def test_the_engine_and_the_oracles_do_not_know_the_experiments():
    """They are not installed."""
    assert not any("import experiments" in text(path) for path in [*modules().values()])
    assert not any("from experiments" in text(path) for path in [*modules().values()])


def test_without_a_row_it_lists_them(capsys):
    """Number and title, one a line."""
    assert command.main([]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(table.ROWS)
    assert "First arrival" in printed[1]
    assert "(MNIST)" in printed[5]


def test_an_unknown_row_is_wrong_usage(capsys):
    """It says which there are."""
    assert command.main(["2", "17"]) == 2
    assert "no row 17; there are 1, 2, 3" in capsys.readouterr().err


def test_numbers_and_text_are_written(tmp_path, capsys, monkeypatch):
    """JSON has every number, the Markdown file text and table; exit status 1 if a line does not land."""
    assert command.main(["2", "14", "--json", str(tmp_path / "n.json"), "--out", str(tmp_path / "n.md")]) == 0
    rows = json.loads((tmp_path / "n.json").read_text())
    assert [row["row"] for row in rows] == [2, 14]
    assert rows[1]["lines"][0]["measured"] == [69, 62]
    written = (tmp_path / "n.md").read_text()
    assert "## 14. Origin saddle" in written
    assert "| L = 2: updates of BP / PC | 69 / 62 | 69 / 62 |" in written
    assert "69 / 62" in capsys.readouterr().out
    broken = table.ROWS[14]._replace(run=lambda seed: [table.near("x", 1.0, 2.0, 0.1)])
    monkeypatch.setitem(table.ROWS, 14, broken)
    assert command.main(["14"]) == 1
    assert "  NO" in capsys.readouterr().out


def test_the_results_file_has_the_texts_of_today():
    """A changed setting or criterion needs a new run."""
    results = (FOLDER / "RESULTS.md").read_text(encoding="utf-8")
    for row in table.ROWS.values():
        assert f"## {row.number}. {row.title}\n\n{table.text_of(row)}\n" in results, row.number
