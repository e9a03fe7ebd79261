"""Build the student and the solution notebooks from the percent sources of this folder.

``python tutorials/build.py`` writes ``student/*.ipynb`` and ``solutions/*.ipynb``;
``python tutorials/build.py --check`` writes nothing and fails if a notebook is not up to date.
A solution stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` (nbgrader's markers).
"""

import argparse
import pathlib
import re
import sys

import jupytext

HERE = pathlib.Path(__file__).parent
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION\n?", re.DOTALL | re.MULTILINE)
MARKERS = re.compile(r"^ *### (BEGIN|END) SOLUTION\n?", re.MULTILINE)
EXERCISE = re.compile(r"\*\*(Exercise [\d.]+\d)")


def sources():
    """The percent files, in order."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def notebook(source, *, student):
    """The notebook of a percent source, as text; the same text for the same source."""
    nb = jupytext.read(source)
    exercise = "Exercise"
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{i:03d}"
        if cell.cell_type == "markdown":
            exercise = (EXERCISE.findall(cell.source) or [exercise])[-1]
        elif student:
            stub = rf'\1raise NotImplementedError("{exercise}: see the text above")' + "\n"
            cell.source = SOLUTION.sub(stub, cell.source + "\n").rstrip("\n")
        else:
            cell.source = MARKERS.sub("", cell.source + "\n").rstrip("\n")
    nb.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return jupytext.writes(nb, fmt="ipynb").rstrip("\n") + "\n"


def targets():
    """Every notebook's path and the text it must have."""
    for source in sources():
        for folder in ("student", "solutions"):
            path = HERE / folder / source.with_suffix(".ipynb").name
            yield path, notebook(source, student=folder == "student")


def main():
    """Write the notebooks, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a notebook is not up to date"
    )
    check, stale = parser.parse_args().check, []
    for path, text in targets():
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.relative_to(HERE.parent))
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"not up to date: {', '.join(map(str, stale))}; run python tutorials/build.py")


if __name__ == "__main__":
    main()
