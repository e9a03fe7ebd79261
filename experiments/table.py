"""Lines of an experiment: measured, expected, and by which criterion the one lands on the other."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

ROWS = {}  # number -> Row, in the order of definition


class Line(NamedTuple):
    """One line of a table.

    Attributes
    ----------
    what : str                what was measured
    measured : object         numbers, for the JSON file
    shown : str               the same as text
    expected : str            "" if there is no expectation
    criterion : str           when it lands; "" if there is no expectation
    lands : bool or None      None if there is no expectation
    """

    what: str
    measured: object
    shown: str
    expected: str = ""
    criterion: str = ""
    lands: bool | None = None


class Row(NamedTuple):
    """One experiment: ``run(seed=0)`` gives its lines. ``data`` says whether it needs MNIST."""

    number: int
    title: str
    run: Callable
    data: bool


def row(number, title, *, data=False):
    """Register a function as the experiment of that number."""

    def register(function):
        ROWS[number] = Row(number, title, function, data)
        return function

    return register


def text_of(row):
    """The docstring of an experiment without its indentation."""
    return inspect.getdoc(row.run)


def show(value) -> str:
    """A number with three digits, several with slashes between them."""
    if isinstance(value, list | tuple):
        return " / ".join(show(v) for v in value)
    if value is None:
        return "never"
    if isinstance(value, bool | str | int):
        return str(value)
    if value == 0 or 0.001 <= abs(value) < 10:
        return f"{value:.3g}"
    if 10 <= abs(value) < 100_000:
        return f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.0e}"


# Criteria


def at_most(what, measured, bound, expected):
    """A deviation that should be no more than rounding: ``measured <= bound``."""
    small = all(m <= bound for m, _ in _pairs(measured, measured))
    return says(what, measured, expected, f"at most {show(bound)}", small)


def near(what, measured, expected, within):
    """A value, or several: each within ``within`` of the expected one."""
    close = all(abs(m - e) <= within for m, e in _pairs(measured, expected))
    return says(what, measured, show(expected), f"within {show(within)}", close)


def factor(what, measured, expected, times):
    """A positive value, or several: each between ``expected / times`` and ``expected * times``."""
    close = all(e / times <= m <= e * times for m, e in _pairs(measured, expected))
    return says(what, measured, show(expected), f"within a factor of {show(times)}", close)


def says(what, measured, expected, criterion, lands, shown=None):
    """Any other criterion, in words; the caller decides."""
    return Line(what, measured, show(measured) if shown is None else shown, expected, criterion, bool(lands))


def note(what, measured, shown=None):
    """A number without an expectation."""
    return Line(what, measured, show(measured) if shown is None else shown)


def _pairs(measured, expected):
    """Measured and expected side by side; a value that is not there (None) is infinitely far away."""
    if not isinstance(measured, list | tuple):
        measured, expected = [measured], [expected]
    return [(float("inf") if m is None else m, e) for m, e in zip(measured, expected, strict=True)]


# Output


def as_text(lines) -> str:
    """Lines as an aligned table for the terminal."""
    cells = [("", "measured", "expected", "lands if", "lands"), *map(_cells, lines)]
    widths = [max(len(c[i]) for c in cells) for i in range(5)]
    return "\n".join(
        "  ".join(f"{c:{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_markdown(lines) -> str:
    """Lines as a Markdown table."""
    cells = [("", "measured", "expected", "lands if", "lands"), ("---",) * 5, *map(_cells, lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _cells(line):
    lands = "" if line.lands is None else "yes" if line.lands else "NO"
    return line.what, line.shown, line.expected, line.criterion, lands
