"""What must not stand in the code, and what the files at the top must say."""

import ast
import re
import tomllib

import pytest

import minipc as pc
from contracts.source import ROOT, modules, text, tree

MODULES = modules()
FORBIDDEN = {
    "pickle": r"^\s*(import|from) pickle|\bpickle\.\w|allow_pickle=True",
    "global random state": r"np\.random\.(?!default_rng|Generator)\w+",
    "bare except": r"except\s*:",
    "star import": r"import \*",
    "paths of one machine": r"[\"'](/\w+/\w+|[A-Z]:\\)",
    "left to do": r"\b(TODO|FIXME|XXX)\b",
}
MAY_PRINT = {"command", "__main__", "tour"}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_package_is_free_of(what):
    """Said of the text of every module."""
    found = [name for name, path in MODULES.items() if re.search(FORBIDDEN[what], text(path), re.MULTILINE)]
    assert found == []


def test_only_the_command_line_prints():
    """A library that prints cannot be silenced."""
    printing = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    assert printing <= MAY_PRINT
    assert "__main__" in printing


def field(file, pattern):
    """The one match of a pattern in a file at the top."""
    found = re.findall(pattern, text(ROOT / file), re.MULTILINE)
    assert found, f"{file} has no line like {pattern}"
    return found[0]


def test_the_version_has_one_place():
    """``minipc.__version__``; the citation and the newest entry of the changelog agree."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", pc.__version__)
    assert field("CITATION.cff", r"^version: \"?([\d.]+)") == pc.__version__
    assert field("CHANGELOG.md", r"^## \[?v?(\d+\.\d+\.\d+)") == pc.__version__


def test_the_build_takes_the_version_from_the_package():
    """No second number in pyproject.toml."""
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "minipc/__init__.py"


def test_the_release_date_of_citation_and_changelog_agree():
    """Both carry the day of the newest version."""
    assert field("CITATION.cff", r"^date-released: (\S+)") in field("CHANGELOG.md", r"^## .*\d+\.\d+\.\d+.*$")


def test_the_licence_is_mit_everywhere():
    """The file, the metadata and the citation."""
    assert text(ROOT / "LICENSE").startswith("MIT License")
    assert "WITHOUT WARRANTY OF ANY KIND" in text(ROOT / "LICENSE")
    assert tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["license"] == "MIT"
    assert field("CITATION.cff", r"^license: (\S+)") == "MIT"


def test_numpy_is_the_only_dependency_of_the_package():
    """CuPy and the rest are extras; requirements.txt names CuPy in comments alone."""
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    assert [re.split("[<>=]", d)[0] for d in project["dependencies"]] == ["numpy"]
    lines = [line for line in text(ROOT / "requirements.txt").splitlines() if "cupy" in line.lower()]
    assert all(line.startswith("#") for line in lines)


def test_markers_and_warnings_are_strict():
    """A misspelt marker or a new warning is an error."""
    options = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["pytest"]["ini_options"]
    assert options["filterwarnings"][0] == "error"
    assert "--strict-markers" in options["addopts"]
    assert options["xfail_strict"] is True
