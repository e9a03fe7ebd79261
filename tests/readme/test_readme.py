"""What the README says is what happens: the quick start, the claims, the numbers, the links, the commands."""

import contextlib
import inspect
import io
import pathlib
import re

import pytest
from mutation.runner import MODULES
from mutation.scores import score

from minipc import __main__, data, mistakes, verify

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
OUTPUT = re.findall(r"```text\n(.*?)```", README, re.DOTALL)


def printed(code):
    """What a block of code prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "<README>", "exec"), {"__name__": "__main__"})
    return out.getvalue().strip().splitlines()


def test_the_quick_start_prints_what_stands_below_it():
    """The energies digit by digit; of the error, that it is rounding (its last digit belongs to the machine)."""
    energy, error = printed(PYTHON[0])
    stated_energy, stated_error = OUTPUT[1].strip().splitlines()
    assert energy == stated_energy
    for line in (error, stated_error):
        label, value = line.rsplit(" ", 1)
        assert label == "max relative error vs autograd:"
        assert 0 < float(value) < 1e-14


def test_the_training_example_runs():
    """The second block as it stands, without its progress bar."""
    code = "import minipc as pc\n" + PYTHON[1].replace(
        "seed=0, validation", "seed=0, progress=False, validation"
    )
    assert "progress=False" in code
    printed(code + "\nassert history['validation_accuracy'][-1] > 0.7")


def test_the_image_network_gives_the_gradient_that_it_says():
    """The third block, after the second one's data."""
    code = "import minipc as pc\nd = pc.data.digits('float32')\n" + PYTHON[2]
    assert printed(code) == ["True"]


def test_the_sequence_example_prints_what_stands_below_it():
    """The fourth block: two gradients that differ by rounding."""
    (line,) = printed("import minipc as pc\n" + PYTHON[3])
    stated = next(text for text in OUTPUT if text.startswith("RTRL and BPTT")).strip()
    for text in (line, stated):
        label, value = text.rsplit(" ", 1)
        assert label == "RTRL and BPTT differ by"
        assert 0 < float(value) < 1e-13


def test_the_example_of_tpc_prints_what_stands_below_it():
    """The fifth block, digit by digit."""
    stated = next(text for text in OUTPUT if text.startswith("None    W[1]")).strip().splitlines()
    assert printed("import numpy as np, minipc as pc\n" + PYTHON[4]) == stated


@pytest.mark.parametrize("number", [5, 6, 7])
def test_the_debugger_prints_what_stands_below_it(number):
    """Word by word but for numbers, whose last digits belong to the machine."""
    code = "import numpy as np, minipc as pc\n" + PYTHON[number]
    stated = README.split(PYTHON[number])[1].split("```text\n")[1].split("```")[0].strip().splitlines()
    number = re.compile(r"-?\d[\d.]*(?:e[-+]\d+)?")
    found = printed(code)
    assert [number.sub("#", line).split() for line in found] == [number.sub("#", l).split() for l in stated]
    for line, expected in zip(found, stated, strict=True):
        for a, b in zip(number.findall(line), number.findall(expected), strict=True):
            assert float(a.rstrip(".")) == pytest.approx(float(b.rstrip(".")), rel=0.02, abs=1e-12)


def test_the_proof_table_lists_every_claim():
    """Ids, tolerances and texts of the README's table are those of ``verify``."""
    block = next(text for text in OUTPUT if text.startswith("id "))
    stated = {row.split()[0]: row for row in block.strip().splitlines()[1:-1]}
    assert stated.keys() == verify.CLAIMS.keys()
    for claim in verify.CLAIMS.values():
        row = stated[claim.id]
        assert row.endswith(f"{claim.claim} ({claim.equations}; {claim.oracle})")
        assert f" {claim.tolerance:.0e} " in row
        assert " yes " in row
    assert f"puts {len(verify.CLAIMS)} claims" in README


def test_the_number_of_mistakes_is_stated():
    """Counted from the table."""
    assert f"holds {len(mistakes.MISTAKES)} named derivation mistakes" in README


def test_the_score_of_mutation_testing_is_stated():
    """From the results that the runs have left."""
    rows = [score(module) for module in MODULES]
    total, killed, equivalent = (
        sum(row[name] for row in rows) for name in ("mutants", "killed", "equivalent")
    )
    lived = sum(len(row["survived"]) for row in rows)
    assert killed > 0.97 * (killed + lived)
    text = " ".join(README.split())
    assert (
        f"the gradient code (`blocks`, `cells`, `spc`, `epc`, `bptt`, `rtrl`, `influence`, `tpc`), {total:,} of them"
        in text
    )
    assert f"{killed:,} are killed, {lived} survive without a reason" in text
    assert f"of each of the other {equivalent} why" in text


def test_the_debugger_is_as_good_as_stated():
    """From the file that ``python -m experiments.debugger`` writes."""
    found = (ROOT / "experiments" / "DEBUGGER.md").read_text(encoding="utf-8")
    exercises, count = re.search(r"(\d+) exercises, (\d+) mistakes", found).groups()
    apart = re.search(r"(\d+) mistakes were told apart from all others", found).group(1)
    pairs = re.search(r"(\d+) of 200 random pairs were named", found).group(1)
    assert "0 not called correct, 0 given a name" in found
    text = " ".join(README.split())
    assert f"there are {exercises} exercises" in text
    assert f"each of the {count} mistakes was named on three problems" in text
    assert f"({apart} told apart from all others, {int(count) - int(apart)} named together" in text
    assert f"{pairs} of 200 random pairs, and none in 1,000 correct answers" in text
    assert int(count) == len(mistakes.MISTAKES)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "reference/equations.md"])
def test_links_to_files_resolve(name):
    """Every relative link of a document points to a file that is there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if not link.startswith("http")]
    missing = [link for link in links if not ((ROOT / name).parent / link).exists()]
    assert missing == []
    assert links or name != "README.md"


def test_the_make_targets_exist():
    """Every ``make`` command in the documents is a target."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"(?:`|^)make (\w+)", text, re.MULTILINE))
    assert {"tour", "test"} <= commands <= targets


def test_every_data_set_and_every_made_task_is_named():
    """The table of the loaders is that of ``about``; the generators stand below it."""
    section = README.partition("\n## Data\n")[2].partition("\n## ")[0]
    loaders = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)\(", row)
    }
    assert loaders == set(data.about())
    functions = {name for name in data.__all__ if inspect.isfunction(getattr(data, name))}
    assert {name for name in functions - {"about"} if f"`{name}" not in section} == set()


def test_the_training_run_prints_what_stands_below_it(tmp_path, monkeypatch, capsys):
    """The same table; numbers to two digits, as rounding differs from machine to machine, seconds not at all."""
    command = re.search(r"python -m minipc (train digits .*)", README)[1].split()
    stated = next(text for text in OUTPUT if text.startswith("digits, epc:")).split()
    monkeypatch.chdir(tmp_path)
    assert __main__.main(command) == 0
    printed = capsys.readouterr().out.split()
    assert len(printed) == len(stated)
    for now, then in zip(printed, stated, strict=True):
        try:
            expected = float(then)
        except ValueError:
            assert now == then
        else:
            assert abs(float(now) - expected) <= 0.02 * abs(expected) or expected < 0.2  # seconds
    assert (tmp_path / "digits.npz").exists()
    assert (tmp_path / "digits.jsonl").exists()


def test_the_mnist_table_holds_the_results():
    """Every cell stands in the file that the experiment wrote, in the row of its rule."""
    results = (ROOT / "experiments" / "MNIST.md").read_text(encoding="utf-8")
    section = README.partition("\n## All of MNIST\n")[2].partition("\n## ")[0]
    heads = ("4 layers", "20 layers", "20 layers, one rate lower")
    parts = [results.partition(f"\n## {head}\n")[2].partition("\n## ")[0] for head in heads]
    table = [re.split(r" *\| *", line.strip("| ")) for line in section.splitlines() if line.startswith("| ")][
        1:
    ]
    rules = [row.split(" | ")[0].strip("| ") for row in parts[0].splitlines() if row.startswith("| ")][2:]
    assert [row[0] for row in table] == rules
    for rule, *accuracies, times in table:
        for part, accuracy in zip(parts, accuracies, strict=True):
            found = next(
                (row.split(" | ") for row in part.splitlines() if row.startswith(f"| {rule} |")), None
            )
            if accuracy == "all three overflow":
                assert "3 not finite" in found[2]
            elif accuracy:
                assert found[2] == accuracy
            else:
                assert found is None
        assert times == "; ".join(
            next(row.split(" | ")[8] for row in part.splitlines() if row.startswith(f"| {rule} |"))
            for part in parts[:2]
        )
