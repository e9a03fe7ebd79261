"""Equation ids: defined once, implemented where it is said, never invented; the table of claims."""

import re

import pytest

from contracts.source import EQUATIONS, ID, REFERENCE, comment_ids, expand, modules, table, text, tree
from minipc import verify

ANCHORS = re.findall(rf'<a id="([a-z0-9]+)"></a>\*\*\(({ID.pattern})\)\*\*', EQUATIONS)
DEFINED = [id for _, id in ANCHORS]
CLAIM_IDS = [f"S{n:02}" for n in (*range(1, 31), 33, *range(35, 45))]
CLAIM_IDS += [f"T{n:02}" for n in range(1, 46)]
WHERE = [(expand(row[0]), re.findall(r"`(\w+)\.py`", row[1]), row[1]) for row in table("Where to find it")]
FILES = {id: files for ids, files, _ in WHERE for id in ids}
IMPLEMENTED = {
    id
    for ids, files, cell in WHERE
    for id in ids
    if files and not re.search("property|reference/|another", cell)
}


def tabled(path):
    """The ids of the table in a module's docstring: those at the beginning of a line."""
    docstring = tree(path).body[0].value.value
    return re.findall(rf"^\(({ID.pattern})\)", docstring, re.MULTILINE)


def test_every_equation_is_defined_once_under_its_own_anchor():
    """The anchor is the id in lower case without punctuation."""
    assert len(DEFINED) == len(set(DEFINED)) > 50
    assert [anchor for anchor, _ in ANCHORS] == [id.replace(".", "").lower() for id in DEFINED]


@pytest.mark.parametrize(
    "path", [*modules().values(), *modules(REFERENCE).values()], ids=lambda path: path.name
)
def test_no_module_mentions_an_undefined_equation(path):
    """In comments, docstrings, messages and tables."""
    assert set(expand(text(path))) - set(DEFINED) == set()


@pytest.mark.parametrize("name", [name for name, path in modules().items() if tabled(path)])
def test_the_table_of_a_module_is_implemented(name):
    """Each id once, in a comment of that module or of one that equations.md names for it."""
    ids = tabled(modules()[name])
    assert len(ids) == len(set(ids))
    for id in ids:
        assert any(id in comment_ids(modules()[place]) for place in (name, *FILES[id])), id


@pytest.mark.parametrize(
    "name",
    [
        *("functions", "blocks", "convolution", "normalisation", "residual", "architectures"),
        *("backprop", "inference", "spc", "epc", "optim", "schedules", "comparison"),
        *("oracle", "probes", "derivatives"),
        *("landscape", "convergence"),
        *("generators", "dynamics"),
    ],
)
def test_every_implemented_equation_is_in_the_table_of_its_module_or_of_a_lower_one(name):
    """A comment that carries an id belongs to an equation that the reader finds in a docstring table."""
    tables = {id for path in modules().values() for id in tabled(path)}
    assert tabled(modules()[name])
    assert comment_ids(modules()[name]) - tables == set()


def test_every_equation_of_the_engine_is_implemented():
    """In a comment of a file that equations.md names; theorems and oracles have none."""
    found = {name: comment_ids(path) for name, path in modules().items()}
    assert len(IMPLEMENTED) > 35
    assert {id for id in IMPLEMENTED if not any(id in found[file] for file in FILES[id])} == set()


def test_every_equation_is_listed_in_the_map_once():
    """A section of its own says where to find it."""
    listed = [id for ids, _, _ in WHERE for id in ids]
    assert sorted(listed) == sorted(DEFINED)


def test_the_links_of_the_equations_lead_somewhere():
    """To an anchor or a heading of the page."""
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in EQUATIONS.splitlines()
        if line.startswith("#")
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", EQUATIONS))
    assert len(links) > 50
    assert links - headings - {anchor for anchor, _ in ANCHORS} == set()


def test_the_claims_are_those_of_the_theory():
    """No claim is lost, none has lost its row."""
    assert sorted(verify.CLAIMS) == CLAIM_IDS
    assert [row[0] for row in table("Claims")] == CLAIM_IDS


@pytest.mark.parametrize("id", CLAIM_IDS)
def test_a_claim_is_about_defined_equations_and_shares_one_with_its_row(id):
    """What the command line prints and what the page says are about the same thing."""
    rows = {row[0]: row for row in table("Claims")}
    printed, written = set(expand(verify.CLAIMS[id].equations)), set(expand(rows[id][2]))
    assert printed
    assert (printed | written) <= set(DEFINED)
    assert printed & written


def test_the_map_names_known_claims():
    """The column of claims in the map."""
    named = {id for row in table("Where to find it") for id in re.findall(r"[ST]\d\d", row[2])}
    assert named <= set(CLAIM_IDS)
    assert len(named) > 15
