"""Names of numbers against the rules of both languages, written out; the parts share no number."""

import sys

import pytest

from minipc import data

pytest.importorskip("num2words")

ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
ENGLISH_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
FRENCH = (
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept "
    "dix-huit dix-neuf"
).split()
FRENCH_TENS = "_ _ vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt".split()


def english(n):
    """British English: "and" before the last two digits, a comma between thousands and hundreds."""
    if n < 20:
        return ENGLISH[n]
    if n < 100:
        return ENGLISH_TENS[n // 10] + (f"-{ENGLISH[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{ENGLISH[n // 100]} hundred" + (f" and {english(n % 100)}" if n % 100 else "")
    link = " and " if n % 1000 < 100 else ", "
    return f"{english(n // 1000)} thousand" + (link + english(n % 1000) if n % 1000 else "")


def french(n, *, last=True):
    """Traditional French: vingts and cents only at the end of a number, "et" before un and onze, except after 80."""
    if n < 20:
        return FRENCH[n]
    if n < 100:
        tens, unit = FRENCH_TENS[n // 10], n % 10 + (10 if n // 10 in (7, 9) else 0)
        if unit == 0:
            return tens + ("s" if n == 80 and last else "")
        return tens + (" et " if unit in (1, 11) and n < 80 else "-") + FRENCH[unit]
    if n < 1000:
        hundreds = "cent" if n < 200 else f"{FRENCH[n // 100]} cent"
        if n % 100 == 0:
            return hundreds + ("s" if n >= 200 and last else "")
        return f"{hundreds} {french(n % 100, last=last)}"
    thousands = "mille" if n < 2000 else f"{french(n // 1000, last=False)} mille"
    return thousands + (f" {french(n % 1000)}" if n % 1000 else "")


SMALL = {english(n): n for n in range(1000)}


def value(name):
    """The number of an English name below a million: what stands before "thousand", and what stands after it."""
    thousands, _, rest = name.rpartition(" thousand")
    rest = rest.removeprefix(",").removeprefix(" and").strip()
    return 1000 * (SMALL[thousands] if thousands else 0) + (SMALL[rest] if rest else 0)


def pairs(parts):
    """All pairs of the three parts."""
    return [*parts.train, *parts.valid, *parts.test]


def test_the_rules_know_the_difficult_names():
    """The oracle itself, by examples from grammars."""
    assert [french(n) for n in (21, 71, 80, 81, 91, 200, 201, 1000, 80_000, 200_000)] == [
        "vingt et un",
        "soixante et onze",
        "quatre-vingts",
        "quatre-vingt-un",
        "quatre-vingt-onze",
        "deux cents",
        "deux cent un",
        "mille",
        "quatre-vingt mille",
        "deux cent mille",
    ]
    assert [english(n) for n in (0, 42, 1001, 1100)] == [
        "zero",
        "forty-two",
        "one thousand and one",
        "one thousand, one hundred",
    ]


def test_all_names_below_a_thousand_are_right():
    """Every number once, in both languages."""
    found = pairs(data.number_names(samples=1000, high=1000))
    assert sorted(found) == sorted((english(n), french(n)) for n in range(1000))
    assert ("forty-two", "quarante-deux") in found


def test_larger_names_are_right():
    """A sample of those below a million, the documented limit, both sides of a pair the same number."""
    found = pairs(data.number_names(samples=1500, high=1_000_000, seed=1))
    assert len(set(found)) == 1500
    for left, right in found:
        n = value(left)
        assert (left, right) == (english(n), french(n))
    assert max(value(left) for left, _ in found) > 990_000


def test_no_number_stands_in_two_parts():
    """Sizes as documented; numbers below ``high``."""
    parts = data.number_names(samples=299, high=500, seed=2)
    assert [len(part) for part in parts] == [299 - 29 - 29, 29, 29]
    numbers = [{value(left) for left, _ in part} for part in parts]
    assert len(set.union(*numbers)) == 299
    assert max(set.union(*numbers)) < 500


def test_the_parts_are_drawn_from_the_same_range():
    """Neither sorted nor cut by size: each part's mean is near the middle, five standard deviations."""
    for part in data.number_names(samples=1000, high=1000, seed=3):
        mean = sum(value(left) for left, _ in part) / len(part)
        assert abs(mean - 499.5) < 5 * 289 / len(part) ** 0.5


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    """A name in sys.modules that is None cannot be imported."""
    monkeypatch.setitem(sys.modules, "num2words", None)
    with pytest.raises(ImportError, match=r'number_names needs num2words: pip install "minipc\[data\]"'):
        data.number_names()
