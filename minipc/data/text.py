"""Text: tiny Shakespeare by the character, WikiText-2 by the word, and English-French pairs of Tatoeba.

Three loaders, and three readers that are pure functions of bytes. Line ends may be LF or CRLF. A last line without
an end is refused: the file has been cut.
"""

from typing import NamedTuple

import numpy as np

from ..arguments import check_count, generator
from .about import add
from .downloads import Remote, content

EOS = "<eos>"  # the end of a line, a token of its own
GITHUB = "https://raw.githubusercontent.com"
PYTORCH = (
    f"{GITHUB}/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8/word_language_model/data/wikitext-2"
)
SHAKESPEARE = Remote(
    "tinyshakespeare",
    ("input.txt.gz", "input.txt"),
    f"{GITHUB}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
    1115394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)
WIKITEXT = {
    part: Remote(
        "wikitext2",
        (f"wiki.{part}.tokens.xz", f"wiki.{part}.tokens"),
        f"{PYTORCH}/{part}.txt",
        size,
        sha256,
    )
    for part, size, sha256 in (
        ("train", 10797148, "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"),
        ("valid", 1121681, "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
        ("test", 1256449, "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
    )
}
TATOEBA = Remote(
    "tatoeba_en_fr",
    ("fra.txt.xz", "fra.txt"),
    f"{GITHUB}/modelexlab/data/adddaf33ac35572bcfeb421efec29435e7ea9332/fra-eng.zip",
    11669748,
    "0bb85dbaa1c896844649094d7eaf2e34bee34e84fe362b26ce7e8f2e12aae104",
    member="fra-eng/fra.txt",
    length=3_424_571,
)


class Corpus(NamedTuple):
    """A text as integers: ``train``, ``valid`` and ``test`` are (N,) int64, ``vocabulary[i]`` is what i stands for.

    Text from integers: ``"".join(vocabulary[i] for i in ids)``, with blanks between words.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: tuple


class Pairs(NamedTuple):
    """Translations: lists of pairs of strings, (English, French)."""

    train: list
    valid: list
    test: list


def tiny_shakespeare() -> Corpus:
    """Tiny Shakespeare: 1,115,394 characters of the plays, as integers.

    The vocabulary is the 65 characters of the text in the order of their code points. The split keeps the order of
    the text: the first 90 % train (1,003,854 characters), the next 5 % valid (55,770), the rest test (55,770).

    Returns
    -------
    Corpus

    Raises
    ------
    ConnectionError          the file is not here and cannot be downloaded; says where to put it
    ValueError               the file does not hold what it should

    Notes
    -----
    Source, licence and citation: ``minipc.data.about("tiny_shakespeare")``. The download is 1.1 MB; the integers
    take 9 MB.
    """
    return read_characters(content(SHAKESPEARE), "tiny Shakespeare")


def wikitext2() -> Corpus:
    """WikiText-2: 2,088,628 / 217,646 / 245,569 words of Wikipedia to train, validate and test, as integers.

    A word is what stands between white space; every line ends with the token ``<eos>``, blank lines, too; rare words
    are ``<unk>`` in the file. The vocabulary is the 33,278 words of the training text, ``<eos>`` included, in the
    order in which they first come; no other word comes in the rest. The split is that of the authors.

    Returns
    -------
    Corpus

    Raises
    ------
    ConnectionError          a file is not here and cannot be downloaded; says where to put it
    ValueError               a file does not hold what it should

    Notes
    -----
    Source, licence and citation: ``minipc.data.about("wikitext2")``. The download is 13 MB; the integers
    take 20 MB.
    """
    return read_words(*(content(WIKITEXT[part]) for part in ("train", "valid", "test")))


def tatoeba(*, valid=5000, test=5000, seed=0) -> Pairs:
    """Tatoeba: 167,130 pairs of an English sentence and a French translation, shuffled and split.

    116,830 English sentences differ, many have several translations. The split is by English sentence, so that no
    English sentence is in two parts: otherwise the test would ask for what was learned. The file is sorted by
    length, so the pairs are shuffled.

    Parameters
    ----------
    valid, test : int          how many English sentences, with all their translations; train gets the others
    seed : int or Generator    the shuffle; the same seed gives the same split

    Returns
    -------
    Pairs                      lists of (English, French), characters as in the file (no-break spaces, too)

    Raises
    ------
    ConnectionError            the file is not here and cannot be downloaded; says where to put it
    ValueError, TypeError      the file does not hold what it should; a size or the seed is none

    Notes
    -----
    Sentences that differ in a sign ("Go." and "Go!") count as two, and one French sentence may translate two English
    ones: near copies remain. The download is 3.4 MB. Source, licence and citation: ``minipc.data.about("tatoeba")``.
    """
    check_count("valid", valid, least=0)
    check_count("test", test, least=0)
    rng = generator(seed)
    return split_pairs(read_pairs(content(TATOEBA), "Tatoeba"), valid, test, rng)


def read_characters(data, name) -> Corpus:
    """Characters of a text in UTF-8 as integers, split in order 90 : 5 : 5.

    Raises
    ------
    ValueError          empty, cut or no UTF-8; names the file and the line

    Examples
    --------
    >>> corpus = read_characters(b"to be\\n", "input.txt")
    >>> corpus.vocabulary, corpus.train, corpus.test
    (('\\n', ' ', 'b', 'e', 'o', 't'), array([5, 4, 1, 2, 3]), array([0]))
    """
    points = np.frombuffer(decoded(data, name).encode("utf-32-le"), "<u4")
    known, ids = np.unique(points, return_inverse=True)
    ids = ids.astype(np.int64)
    n = len(ids)
    parts = np.split(ids, [n * 90 // 100, n * 95 // 100])
    return Corpus(*parts, tuple(map(chr, known)))


def read_words(train, valid, test) -> Corpus:
    """Words of three texts in UTF-8 as integers; the vocabulary is that of ``train`` in order of appearance.

    Raises
    ------
    ValueError          a text is empty, cut or no UTF-8, holds ``<eos>`` or a word that ``train`` does not hold;
                        names the file and the line

    Examples
    --------
    >>> corpus = read_words(b"the end of the line\\n", b"the end\\n", b"\\n")
    >>> corpus.vocabulary, corpus.valid, corpus.test
    (('the', 'end', 'of', 'line', '<eos>'), array([0, 1, 4]), array([4]))
    """
    texts = {"train": train, "valid": valid, "test": test}
    words = {part: _words(data, f"WikiText-2 {part}") for part, data in texts.items()}
    vocabulary = tuple(dict.fromkeys(words["train"]))  # a dict keeps the order
    number = {word: i for i, word in enumerate(vocabulary)}
    return Corpus(*(_numbers(words[part], number, f"WikiText-2 {part}") for part in texts), vocabulary)


def _words(data, name):
    """All words of a text, an EOS at the end of each line."""
    text = decoded(data, name)
    if EOS in text:
        line = text.count("\n", 0, text.index(EOS)) + 1
        raise ValueError(f"{name}, line {line}: must not hold {EOS}, the token that ends a line")
    return text.replace("\n", f" {EOS} ").split()


def _numbers(words, number, name):
    try:
        return np.fromiter(map(number.__getitem__, words), np.int64, len(words))
    except KeyError as error:
        word = error.args[0]
        line = words[: words.index(word)].count(EOS) + 1
        raise ValueError(f"{name}, line {line}: every word must come in train, got {word!r}") from None


def read_pairs(data, name) -> list:
    """Pairs (English, French) from lines ``english<TAB>french`` in UTF-8.

    Raises
    ------
    ValueError          empty, cut or no UTF-8, or a line without two texts; names the file and the line
    """
    pairs = []
    for line, row in enumerate(decoded(data, name)[:-1].split("\n"), start=1):
        pair = tuple(row.split("\t"))
        if len(pair) != 2 or not all(side.strip() for side in pair):
            raise ValueError(f"{name}, line {line}: must be english<TAB>french, got {row[:60]!r}")
        pairs.append(pair)
    return pairs


def split_pairs(pairs, valid, test, rng) -> Pairs:
    """Shuffle and split so that each English sentence is in one part; ``valid`` and ``test`` count sentences.

    Raises
    ------
    ValueError          no sentence is left to train on
    """
    sentences = list(dict.fromkeys(english for english, _ in pairs))
    if valid + test >= len(sentences):
        raise ValueError(
            f"valid + test must leave a sentence to train on: fewer than {len(sentences)}, got {valid} + {test}"
        )
    parts = Pairs([], [], [])
    home = dict.fromkeys(sentences, parts.train)
    chosen = rng.permutation(len(sentences))[: valid + test]
    for place, i in enumerate(chosen):
        home[sentences[i]] = parts.valid if place < valid else parts.test
    for i in rng.permutation(len(pairs)):
        home[pairs[i][0]].append(pairs[i])
    return parts


def decoded(data, name):
    """Bytes of UTF-8 with line ends LF or CRLF, as text with LF.

    Raises
    ------
    ValueError          no UTF-8, or the last line has no end; names the file and the line
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{name}, line {line}: must be UTF-8 text, got the byte {data[error.start]:#04x}"
        ) from None
    if not text.endswith("\n"):
        line = text.count("\n") + 1
        raise ValueError(f"{name}, line {line}: the last line has no end; is the file cut?")
    return text.replace("\r\n", "\n")


add(
    name="tiny_shakespeare",
    title="Tiny Shakespeare, 1,115,394 characters of the plays",
    what="integers (N,) int64, 65 characters; 1,003,854 to train, 55,770 to validate, 55,770 to test, in order",
    source=SHAKESPEARE.url,
    licence="text in the public domain; repository MIT",
    citation="A. Karpathy, char-rnn, 2015",
)
add(
    name="wikitext2",
    title="WikiText-2, words of Wikipedia articles",
    what="integers (N,) int64, 33,278 words with <eos>; 2,088,628 to train, 217,646 to validate, 245,569 to test",
    source=PYTORCH,
    licence="CC BY-SA 3.0 (Wikipedia text; Salesforce release): attribution, share alike",
    citation="S. Merity, C. Xiong, J. Bradbury, R. Socher, Pointer Sentinel Mixture Models, arXiv:1609.07843, 2016",
)
add(
    name="tatoeba",
    title="Tatoeba English-French pairs (manythings.org, fra-eng of 2019-04-07)",
    what="167,130 pairs of strings (English, French), 116,830 English sentences; shuffled, split by English sentence",
    source=f"{TATOEBA.url}, {TATOEBA.member}",
    licence="CC BY 2.0; attribution: www.manythings.org/anki and tatoeba.org",
    citation="www.manythings.org/anki and tatoeba.org, 2019-04-07",
)
