"""Texts: small ones read by hand, the known counts of the real ones, splits without a leak, and what is refused."""

import collections
import os

import numpy as np
import pytest

import minipc as pc
from minipc.data import text

needs_files = pytest.mark.skipif("MINIPC_DATA" not in os.environ, reason="MINIPC_DATA names no folder")
TRAIN, VALID, TEST = b" \n = A B = \nthe <unk> the\n", b"B the\n", b"\n<unk>\n"


def characters(data):
    """The reader of tiny Shakespeare."""
    return text.read_characters(data, "f.txt")


def pairs(data):
    """The reader of Tatoeba."""
    return text.read_pairs(data, "f.txt")


def whole(parts):
    """All pairs of all parts."""
    return [*parts.train, *parts.valid, *parts.test]


def test_characters_are_numbered_in_sorted_order():
    """By code point: line end, B, a, b, e acute. Ten characters split 9 : 0 : 1."""
    corpus = characters("abBéabaaé\n".encode())
    assert corpus.vocabulary == ("\n", "B", "a", "b", "é")
    assert corpus.train.tolist() == [2, 3, 1, 4, 2, 3, 2, 2, 4]
    assert (corpus.valid.tolist(), corpus.test.tolist()) == ([], [0])
    assert {ids.dtype for ids in corpus[:3]} == {np.dtype(np.int64)}


def test_characters_are_split_in_order():
    """The first 90 %, the next 5 %, the rest."""
    written = "0123456789abcdefghi\n" * 10
    corpus = characters(written.encode())
    parts = ["".join(corpus.vocabulary[i] for i in ids) for ids in corpus[:3]]
    assert parts == [written[:180], written[180:190], written[190:]]


def test_words_are_numbered_as_they_come_and_lines_end():
    """A blank line is an <eos>, too; <unk> is a word; valid and test use the numbers of train."""
    corpus = text.read_words(TRAIN, VALID, TEST)
    assert corpus.vocabulary == ("<eos>", "=", "A", "B", "the", "<unk>")
    assert corpus.train.tolist() == [0, 1, 2, 3, 1, 0, 4, 5, 4, 0]
    assert corpus.valid.tolist() == [3, 4, 0]
    assert corpus.test.tolist() == [0, 5, 0]
    assert {ids.dtype for ids in corpus[:3]} == {np.dtype(np.int64)}


def test_pairs_keep_every_character():
    """No-break spaces belong to French; a line separator of Unicode ends no line of the file."""
    assert pairs("Go.\tVa\u202f!\nHi\u2028you.\tSalut.\n".encode()) == [
        ("Go.", "Va\u202f!"),
        ("Hi\u2028you.", "Salut."),
    ]


@pytest.mark.parametrize(
    "read", [characters, pairs, lambda data: text.read_words(data, data, data)], ids=["char", "pair", "word"]
)
def test_line_ends_of_windows_change_nothing(read):
    """CRLF is read as LF."""
    unix = b"Go.\tVa !\nHi.\tSalut.\n"
    one, other = read(unix), read(unix.replace(b"\n", b"\r\n"))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


REFUSED = {
    "characters empty": (lambda: characters(b""), "f.txt, line 1: .* has no end"),
    "characters cut": (lambda: characters(b"one\ntw"), "f.txt, line 2: .* cut"),
    "characters no UTF-8": (lambda: characters(b"one\n\xff\n"), "f.txt, line 2: must be UTF-8 text, .*0xff"),
    "words empty train": (
        lambda: text.read_words(b"", VALID, TEST),
        "WikiText-2 train, line 1: .* has no end",
    ),
    "words cut": (lambda: text.read_words(TRAIN, VALID[:-1], TEST), "WikiText-2 valid, line 1: .* cut"),
    "words cut in a character": (
        lambda: text.read_words(TRAIN, VALID, "B\né\n".encode()[:-2]),
        "WikiText-2 test, line 2: must be UTF-8",
    ),
    "words unknown in valid": (
        lambda: text.read_words(TRAIN, b"A\n\nthe C B\n", TEST),
        "WikiText-2 valid, line 3: .* come in train, got 'C'",
    ),
    "words unknown in test": (lambda: text.read_words(TRAIN, VALID, b"D\n"), "test, line 1: .* got 'D'"),
    "words with an end": (
        lambda: text.read_words(TRAIN, VALID, b"A\nthe <eos>\n"),
        "WikiText-2 test, line 2: must not hold <eos>",
    ),
    "pairs empty": (lambda: pairs(b""), "f.txt, line 1: .* has no end"),
    "pairs cut": (lambda: pairs(b"Go.\tVa !\nHi.\tSal"), "f.txt, line 2: .* cut"),
    "pairs without tab": (
        lambda: pairs(b"Go.\tVa !\nHi. Salut\n"),
        "line 2: must be english<TAB>french, got 'Hi",
    ),
    "pairs with two tabs": (lambda: pairs(b"Go.\tVa !\tCC-BY\n"), "line 1: must be english<TAB>french"),
    "pairs blank line": (
        lambda: pairs(b"Go.\tVa !\n\nHi.\tSalut\n"),
        "line 2: must be english<TAB>french, got ''",
    ),
    "pairs no French": (lambda: pairs(b"Go.\t \n"), "line 1: must be english<TAB>french"),
    "pairs no English": (lambda: pairs(b"\tVa !\n"), "line 1: must be english<TAB>french"),
    "pairs latin-1": (
        lambda: pairs("Hi.\tÇa va.\n".encode("latin-1")),
        "line 1: must be UTF-8 text, got .*0xc7",
    ),
    "valid negative": (lambda: pc.data.tatoeba(valid=-1), "valid must not be negative, got -1"),
    "test negative": (lambda: pc.data.tatoeba(test=-1), "test must not be negative, got -1"),
    "seed negative": (lambda: pc.data.tatoeba(seed=-1), "seed must be an integer >= 0 .* got -1"),
    "nothing to train on": (
        lambda: text.split_pairs([("a", "1"), ("a", "2"), ("b", "1")], 1, 1, np.random.default_rng(0)),
        r"valid \+ test must leave .* fewer than 2, got 1 \+ 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_as_it_should_be_is_refused(case):
    """The message names the file and the line, or the argument."""
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("options", [{"valid": 1.5}, {"test": "10"}, {"valid": True}, {"seed": "seed"}])
def test_arguments_of_another_type_are_refused(options):
    """Before any file is looked for."""
    with pytest.raises(TypeError, match=f"{next(iter(options))} must be an integer"):
        pc.data.tatoeba(**options)


# English sentences with one, two or three translations
MANY = [(f"sentence {i}", f"phrase {i} {j}") for i in range(200) for j in range(1 + i % 3)]


@pytest.mark.parametrize(("valid", "test"), [(20, 30), (0, 1), (1, 0), (0, 0), (150, 49)])
def test_no_sentence_is_in_two_parts_and_none_is_lost(valid, test):
    """Sizes count English sentences; all translations of one stay together."""
    parts = text.split_pairs(MANY, valid, test, np.random.default_rng(3))
    sentences = [{english for english, _ in part} for part in parts]
    assert [len(s) for s in sentences] == [200 - valid - test, valid, test]
    assert len(set.union(*sentences)) == 200
    assert collections.Counter(whole(parts)) == collections.Counter(MANY)


def test_pairs_are_shuffled_by_the_seed():
    """The same seed gives the same lists, another one others; no part keeps the order of the file."""
    one, same, other = (text.split_pairs(MANY, 50, 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert all(a != b for a, b in zip(one, other, strict=True))
    place = {pair: i for i, pair in enumerate(MANY)}
    for part in one:
        order = np.array([place[pair] for pair in part])
        assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.3  # sorted would be 1


def test_every_part_has_sentences_from_everywhere_in_the_file():
    """The file is sorted by length: the places of a part are spread like those of all, mean 99.5, deviation 57.7."""
    parts = text.split_pairs(MANY, 50, 50, np.random.default_rng(4))
    for part in parts:
        places = np.array(sorted({int(english.split()[1]) for english, _ in part}))
        assert abs(places.mean() - 99.5) < 3 * 57.7 / np.sqrt(len(places))


def test_the_loaders_read_their_files(monkeypatch):
    """Each reader gets the file that belongs to it; sizes and seed reach the split."""
    small = {text.SHAKESPEARE: b"ba\n", text.TATOEBA: "".join(f"{a}\t{b}\n" for a, b in MANY).encode()}
    small |= dict(
        zip((text.WIKITEXT[part] for part in ("train", "valid", "test")), (TRAIN, VALID, TEST), strict=True)
    )
    monkeypatch.setattr(text, "content", small.get)
    assert pc.data.tiny_shakespeare().vocabulary == ("\n", "a", "b")
    assert [len(ids) for ids in pc.data.wikitext2()[:3]] == [10, 3, 3]
    expected = text.split_pairs(MANY, 10, 20, np.random.default_rng(7))
    assert pc.data.tatoeba(valid=10, test=20, seed=7) == expected
    assert pc.data.tatoeba(valid=10, test=20, seed=np.random.default_rng(7)) == expected
    with pytest.raises(ValueError, match=r"valid \+ test must leave .* fewer than 200, got 5000 \+ 5000"):
        pc.data.tatoeba()


@needs_files
def test_tiny_shakespeare_is_the_known_text():
    """1,115,394 characters, 65 of them different, 40,000 lines; 1,003,854 to train as nanoGPT counts them."""
    corpus = pc.data.tiny_shakespeare()
    assert [len(ids) for ids in corpus[:3]] == [1003854, 55770, 55770]
    assert len(corpus.vocabulary) == 65
    assert corpus.vocabulary == tuple(sorted(corpus.vocabulary))
    whole = "".join(corpus.vocabulary[i] for i in np.concatenate(corpus[:3]))
    assert whole.count("\n") == 40000
    assert whole.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    assert whole.endswith("Whiles thou art waking.\n")


@needs_files
def test_wikitext2_is_the_known_text():
    """Tokens, lines and vocabulary as published; every line can be read back."""
    corpus = pc.data.wikitext2()
    assert [len(ids) for ids in corpus[:3]] == [2088628, 217646, 245569]
    assert len(corpus.vocabulary) == len(set(corpus.vocabulary)) == 33278
    end = corpus.vocabulary.index("<eos>")
    assert [int((ids == end).sum()) for ids in corpus[:3]] == [36718, 3760, 4358]
    assert [int(ids.max()) < 33278 and int(ids.min()) >= 0 for ids in corpus[:3]] == [True] * 3
    words = [[corpus.vocabulary[i] for i in ids[:9]] for ids in corpus[:3]]
    assert words[0] == "<eos> = Valkyria Chronicles III = <eos> <eos> Senjō".split()
    assert words[1] == "<eos> = Homarus gammarus = <eos> <eos> Homarus gammarus".split()
    assert words[2] == "<eos> = Robert <unk> = <eos> <eos> Robert <unk>".split()
    new = np.flatnonzero(
        np.r_[True, np.maximum.accumulate(corpus.train)[1:] > np.maximum.accumulate(corpus.train)[:-1]]
    )
    assert np.array_equal(corpus.train[new], np.arange(33278))  # numbered as they come


@needs_files
@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_wikitext2_can_be_written_back(part):
    """In the file a blank stands before every word and before every line end: the bytes come back."""
    corpus = pc.data.wikitext2()
    spelled = [" \n" if word == "<eos>" else f" {word}" for word in corpus.vocabulary]
    written = "".join(spelled[i] for i in getattr(corpus, part))
    assert written.encode() == text.content(text.WIKITEXT[part])


@needs_files
def test_tatoeba_is_the_known_set_without_a_leak():
    """167,130 pairs, 116,830 English sentences, 5,000 of them to validate and 5,000 to test."""
    parts = pc.data.tatoeba(seed=1)
    sentences = [{english for english, _ in part} for part in parts]
    assert [len(s) for s in sentences] == [106830, 5000, 5000]
    assert len(set.union(*sentences)) == 116830
    assert sum(map(len, parts)) == len(set(whole(parts))) == 167130
    assert ("Go.", "Va !") in whole(parts)
    lengths = [np.array([len(english) for english, _ in part]) for part in parts]
    assert all(
        abs(np.corrcoef(n, np.arange(len(n)))[0, 1]) < 0.05 for n in lengths
    )  # the file is sorted by length


@needs_files
def test_tatoeba_sizes_and_seed_are_arguments():
    """Sizes count English sentences."""
    one, other = pc.data.tatoeba(valid=0, test=10, seed=2), pc.data.tatoeba(valid=0, test=10, seed=3)
    assert (len(one.valid), len({english for english, _ in one.test})) == (0, 10)
    assert one.test != other.test
