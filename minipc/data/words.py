"""English and French names of numbers: a small translation task whose answer is always known."""

from typing import NamedTuple

from ..arguments import check_count, generator

LARGEST = 1_000_000


class NumberNames(NamedTuple):
    """Three lists of pairs (English, French) of text; no number stands in two of them."""

    train: list
    valid: list
    test: list


def number_names(*, samples=1000, high=100_000, seed=0) -> NumberNames:
    """Names of distinct numbers in English and French, such as ("forty-two", "quarante-deux").

    Of the numbers 0..high-1 ``samples`` are drawn without repetition, in random order. A tenth of them, rounded
    down, is for validation, as many are for the test, the rest is to train on. Since no number is in two parts,
    the test asks for the rule and not for memory.

    Parameters
    ----------
    samples : int                       at least 10, at most high
    high : int                          at most 1,000,000
    seed : int or numpy.random.Generator

    Returns
    -------
    NumberNames                         train, valid, test: lists of pairs (English, French)

    Raises
    ------
    ImportError                         num2words is not installed; says how
    ValueError, TypeError               samples below 10 or above high, high above a million; seed

    Notes
    -----
    British English, with "and" and commas ("one thousand, two hundred and one"); French of France, traditional
    spelling, hyphens inside tens alone ("mille deux cent un", "quatre-vingt-dix-neuf"). Letters are lower case, with
    accents ("zéro"). Names by the library num2words (LGPL), about 0.1 ms a pair.

    Examples
    --------
    >>> parts = number_names(samples=100, high=100)
    >>> [len(part) for part in parts], ("forty-two", "quarante-deux") in sum(parts, [])
    ([80, 10, 10], True)
    """
    check_count("high", high, least=10)
    check_count("samples", samples, least=10)
    if high > LARGEST:
        raise ValueError(f"high must be at most {LARGEST}, got {high}")
    if samples > high:
        raise ValueError(f"samples must be at most high, {high}: the numbers are distinct; got {samples}")
    rng = generator(seed)
    try:
        from num2words import num2words
    except ImportError:
        raise ImportError('number_names needs num2words: pip install "minipc[data]"') from None
    numbers = rng.choice(high, samples, replace=False).tolist()
    pairs = [(num2words(n, lang="en"), num2words(n, lang="fr")) for n in numbers]
    tenth = samples // 10
    return NumberNames(pairs[2 * tenth :], pairs[:tenth], pairs[tenth : 2 * tenth])
