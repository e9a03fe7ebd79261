"""What each data set is, where it comes from, under which licence, and how it is cited."""

import textwrap
from typing import NamedTuple

ENTRIES = {}  # name -> About; each module that has a loader adds its own


class About(NamedTuple):
    """Facts about a data set, shown as a text.

    Attributes
    ----------
    name : str            of the loader, ``minipc.data.<name>``
    title : str
    what : str            shapes, units, splits
    source : str          origin, and the address it is downloaded from
    licence : str
    citation : str
    """

    name: str
    title: str
    what: str
    source: str
    licence: str
    citation: str

    def __str__(self):
        lines = [f"{self.title} (minipc.data.{self.name})"]
        for field in ("what", "source", "licence", "citation"):
            text = f"{field + ':':10}{getattr(self, field)}"
            lines.append(
                textwrap.fill(
                    text, 100, subsequent_indent=10 * " ", break_long_words=False, break_on_hyphens=False
                )
            )
        return "\n".join(lines)

    __repr__ = __str__  # so that a notebook shows it, too


def about(name=None):
    """Facts about the data set ``name``; without a name, the tuple of all names.

    Raises
    ------
    ValueError          no such data set; lists the known ones

    Examples
    --------
    >>> print(about("digits").licence)
    CC BY 4.0, https://creativecommons.org/licenses/by/4.0/
    """
    if name is None:
        return tuple(sorted(ENTRIES))
    if not isinstance(name, str) or name not in ENTRIES:
        raise ValueError(f"name must be one of {', '.join(sorted(ENTRIES))}; got {name!r}")
    return ENTRIES[name]


def add(**facts):
    """Add the :class:`About` of a data set."""
    ENTRIES[facts["name"]] = About(**facts)
