"""A table twice: in columns for a terminal, in HTML for a notebook."""

from html import escape


def text(header, rows) -> str:
    """Columns of strings under their header; the first column is left-aligned, the others right-aligned.

    >>> print(text(["name", "error"], [["W", "1e-16"], ["b", "0.5"]]))
    name  error
    W     1e-16
    b       0.5
    """
    lines = [[str(cell) for cell in line] for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html(title, header, rows, note="") -> str:
    """The same table for a notebook, under a title, with a note below it; nothing in it is markup.

    >>> html("A < B", ["name"], [["W"]])[:28]
    '<strong>A &lt; B</strong><ta'
    """

    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    table = f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>" if rows else ""
    below = "".join(f"<div>{escape(part)}</div>" for part in note.splitlines())
    return f"<strong>{escape(title)}</strong>{table}{below}"
