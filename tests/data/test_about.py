"""What is said of the data sets: complete, and the same as elsewhere."""

import pathlib

import pytest

import minipc as pc

MADE = (".about", ".generators", ".dynamics", ".words")  # no data sets
FOLDER = pathlib.Path(pc.data.__file__).parent


def test_every_data_set_is_described():
    """Each name is that of a loader, and the other way round."""
    functions = {name: getattr(pc.data, name) for name in pc.data.__all__ if name[0].islower()}
    loaders = {name for name, f in functions.items() if not f.__module__.endswith(MADE)}
    assert set(pc.data.about()) == loaders


@pytest.mark.parametrize("name", pc.data.about())
def test_the_text_shows_all_facts(name):
    """Every field, in lines that fit a screen."""
    facts = pc.data.about(name)
    text = str(facts)
    assert facts.name == name
    assert all(len(fact) > 2 for fact in facts)
    assert all(" ".join(fact.split()) in " ".join(text.split()) for fact in facts)
    assert all(
        len(line) <= 110 or len(line.split()) == 1 for line in text.splitlines()
    )  # an address is not broken
    assert text.startswith(f"{facts.title} (minipc.data.{name})\nwhat: ")


def test_the_digits_are_described_as_beside_their_file():
    """Licence and citation."""
    text = " ".join((FOLDER / "digits.md").read_text(encoding="utf-8").split())
    facts = pc.data.about("digits")
    assert facts.licence.split(", ")[1] in text
    assert facts.citation.split(", ")[-1] in text


@pytest.mark.parametrize("name", ["imagenet", "MNIST", "", 3, ["mnist"], ("mnist",)])
def test_unknown_names_are_refused(name):
    """With a list of the known ones."""
    with pytest.raises(ValueError, match=r"name must be one of cifar10, digits, .*mnist.*; got"):
        pc.data.about(name)
