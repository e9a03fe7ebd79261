"""The project's own text as the contract tests read it: files, syntax trees, comments, equation ids."""

import ast
import functools
import io
import pathlib
import re
import tokenize

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE, REFERENCE = ROOT / "minipc", ROOT / "reference"
EQUATIONS = (REFERENCE / "equations.md").read_text(encoding="utf-8")
ID = re.compile(
    r"\b(?:ACT|LOSS|INIT|BP|JVP|CONV|POOL|EMB|RES|LN|BN|sPC|ePC|EPS|LIN|SGD|RMS|ADAM|DECAY|CLIP|WARM|COS|STEP|CHK|MOM|ZIL|FPA|MOON|TRK|LOR|ADD|PAR|COPY|BOG|RNN|GRU|LSTM|BPTT|RTRL|HYB|LRU|ELSTM|RTU|STACK|SNAP|RFLO|KERNL|UORO|KF|SK|EPROP|DNI|tPC|TPR|KAL)\.\d+\b"
)
RANGE = re.compile(rf"({ID.pattern})-({ID.pattern})")


def name_of(path):
    """A module's name inside its package: ``spc``, ``data``, ``__init__``."""
    return path.parent.name if path.name == "__init__.py" and path.parent != PACKAGE else path.stem


def modules(folder=PACKAGE):
    """Every module of a package: name -> path."""
    return {name_of(path): path for path in sorted(folder.rglob("*.py"))}


def text(path):
    """What is in a file."""
    return path.read_text(encoding="utf-8")


@functools.cache
def tree(path):
    """The syntax tree of a module."""
    return ast.parse(text(path))


@functools.cache
def comments(path):
    """The comments of a module: line number -> text."""
    tokens = tokenize.generate_tokens(io.StringIO(text(path)).readline)
    return {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}


@functools.cache
def comment_ids(path):
    """Equation ids in the comments of a module: where a line of code implements them."""
    return {found for line in comments(path).values() for found in expand(line)}


def expand(line):
    """The ids in a text in their order; ``BP.1-BP.3`` is three of them."""

    def between(match):
        (family, first), (_, last) = (end.split(".") for end in match.groups())
        return ", ".join(f"{family}.{n}" for n in range(int(first), int(last) + 1))

    plain = re.sub(r"\[([^\]]+)\]\(#\w+\)", r"\1", line)  # links to the anchors
    return ID.findall(RANGE.sub(between, plain))


def table(heading):
    """The rows of the first table under a heading (without its number) of equations.md; lists of cells, without the head."""
    section = re.split(rf"\n## \d+\. {heading}\n", EQUATIONS)[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
