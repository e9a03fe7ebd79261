"""The notebooks are built from their sources, differ only in the marked lines, and keep the house rules."""

import ast
import importlib.util
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("build", ROOT / "tutorials" / "build.py")
build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)
SOURCES = build.sources()
BANNED = (
    "urlopen",
    "urlretrieve",
    "requests",
    "np.random.seed",
    "np.random.rand(",
    "pip install -U",
    "hypothesis",
)


def code_cells(source, *, student):
    """Sources of the code cells of one version."""
    cells = json.loads(build.notebook(source, student=student))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def test_there_is_a_tutorial():
    """A glob that finds nothing would make every other test here pass."""
    assert SOURCES


def test_the_notebooks_on_disk_are_those_of_the_sources():
    """``tutorials/build.py`` has been run after the last edit."""
    stale = [path.name for path, text in build.targets() if path.read_text(encoding="utf-8") != text]
    assert stale == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_student_and_solution_differ_in_the_exercises_alone(source):
    """Same name, arguments and docstring; the student's body is a NotImplementedError that names the exercise."""
    pairs = zip(code_cells(source, student=False), code_cells(source, student=True), strict=True)
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    assert len(changed) >= 1
    for solution, stub in changed:
        full, empty = ast.parse(solution).body[0], ast.parse(stub).body[0]
        assert (full.name, ast.unparse(full.args)) == (empty.name, ast.unparse(empty.args))
        assert ast.get_docstring(full) == ast.get_docstring(empty)
        assert "NotImplementedError('Exercise " in ast.unparse(empty)
        assert "SOLUTION" not in solution + stub


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_house_rules(source):
    """Short cells, no downloads, no global seed, no output stored."""
    notebook = json.loads(build.notebook(source, student=False))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            text = "".join(cell["source"])
            assert len(text.splitlines()) <= 15, text
            assert not any(word in text for word in BANNED), text
            assert cell["outputs"] == []
    first = "".join(notebook["cells"][0]["source"])
    assert "Reading:" in first
    assert "Running:" in first
