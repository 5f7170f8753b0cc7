"""Tokenizer and English normaliser."""

import pickle
import subprocess
import sys

import pytest

from s4speech.errors import InputError
from s4speech.text.normalize import normalize_english
from s4speech.text.tokenizer import BLANK, EOS, SOS, UNKNOWN, Tokenizer

TEXTS = ["THE CAT SAT ON THE MAT", "IT'S A DOG", "HELLO WORLD", "THAT CAT IS THE DOG'S"] * 4


@pytest.fixture(scope="module", params=[("bpe", 45), ("unigram", 24), ("char", 20)], ids=lambda p: p[0])
def tokenizer(request, tmp_path_factory):
    kind, size = request.param
    return Tokenizer.train(TEXTS, tmp_path_factory.mktemp("tok") / "tokenizer.model", size, kind)


def test_special_ids_come_first(tokenizer):
    assert tokenizer.pieces[:3] == ("<blank>", "<unk>", "<sos/eos>")
    assert [tokenizer.pieces[i] for i in (BLANK, UNKNOWN, SOS)] == ["<blank>", "<unk>", "<sos/eos>"]
    assert SOS == EOS
    assert len(tokenizer.pieces) == tokenizer.vocab_size


def test_round_trip(tokenizer):
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert not {0, 1, 2} & set(ids)
        assert tokenizer.decode(ids) == text
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


def test_words_name_the_tokens_that_make_them(tokenizer):
    ids = tokenizer.encode("THE CAT IS HELLO")
    words = tokenizer.words(ids)
    assert [word for word, _ in words] == ["THE", "CAT", "IS", "HELLO"]
    for word, where in words:
        assert tokenizer.decode(ids[where]) == word


def test_special_tokens_make_no_text(tokenizer):
    ids = tokenizer.encode("THE CAT")
    assert tokenizer.decode([2, 0, *ids, 2]) == "THE CAT"
    assert tokenizer.words([2, *ids, 2])[0][1].start == 1
    assert tokenizer.words([0, 2]) == []


def test_unknown_characters_are_one_mark_inside_their_word(tokenizer):
    ids = tokenizer.encode("CA\u00e9")
    assert UNKNOWN in ids
    assert tokenizer.decode(ids) == "CA\u2047"


@pytest.mark.parametrize("token", [-1, 10_000])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer, token):
    with pytest.raises(IndexError, match=str(token)):
        tokenizer.decode([token])


def test_load_and_pickle_give_the_same(tmp_path):
    path = tmp_path / "tokenizer.model"
    tokenizer = Tokenizer.train(TEXTS, path, 40)
    for other in (Tokenizer.load(path), pickle.loads(pickle.dumps(tokenizer))):
        assert other.pieces == tokenizer.pieces
        assert other.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_training_is_deterministic_and_leaves_one_file(tmp_path):
    for name in ("a", "b"):
        Tokenizer.train(iter(TEXTS), tmp_path / name, 40)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_long_line_is_not_left_out(tmp_path):
    text = "ZEBRA " * 2000  # longer than sentencepiece's default limit of 4192 bytes
    tokenizer = Tokenizer.train([text, "CAT"], tmp_path / "m", 12)
    assert UNKNOWN not in tokenizer.encode("ZEBRA")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_vocabulary_too_large_names_the_largest(tmp_path, kind):
    with pytest.raises(InputError, match=r"got 5000.*largest possible is") as caught:
        Tokenizer.train(TEXTS, tmp_path / "m", 5000, kind)
    largest = int(str(caught.value).split("largest possible is ")[1].split(";")[0])
    assert not (tmp_path / "m").exists()
    assert Tokenizer.train(TEXTS, tmp_path / "m", largest, kind).vocab_size == largest


def test_a_vocabulary_too_small_names_the_smallest(tmp_path):
    with pytest.raises(InputError, match=r"got 5.*smallest possible is 2"):
        Tokenizer.train(TEXTS, tmp_path / "m", 5)


@pytest.mark.parametrize("size", [5, 500])
def test_a_character_vocabulary_has_one_size(tmp_path, size):
    with pytest.raises(InputError, match=f"got {size}.*char model of this text has 20 pieces"):
        Tokenizer.train(TEXTS, tmp_path / "m", size, "char")
    assert not (tmp_path / "m").exists()


JAPANESE = ["えーとここから先は三つの話です", "ＣＤの音を聞いたあー人", "二〇〇一年に行った", "えーと"]


def test_japanese_characters(tmp_path):
    tokenizer = Tokenizer.train(JAPANESE, tmp_path / "m", None, "char")
    assert sorted(tokenizer.pieces[3:]) == sorted(set("".join(JAPANESE)))  # and none for a space
    for text in [*JAPANESE, "年の人から", "あ"]:
        ids = tokenizer.encode(text)
        assert len(ids) == len(text)
        assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tokenizer.encode("人龍年")) == "人\u2047年"
    with pytest.raises(InputError, match=r"got null for a bpe model"):
        Tokenizer.train(JAPANESE, tmp_path / "n", None, "bpe")


def test_japanese_with_spaces_keeps_them(tmp_path):
    texts = ["えーと ここ から", "三つ の 話"]
    tokenizer = Tokenizer.train(texts, tmp_path / "m", None, "char")
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


@pytest.mark.parametrize("texts", [[], [""]])
def test_no_text(tmp_path, texts):
    with pytest.raises(InputError, match="training text is empty"):
        Tokenizer.train(texts, tmp_path / "m", 10)


def test_a_missing_or_foreign_file_is_named(tmp_path):
    path = tmp_path / "tokenizer.model"
    with pytest.raises(InputError, match=r"tokenizer.model: cannot read"):
        Tokenizer.load(path)
    for junk in (b"", b"junk"):
        path.write_bytes(junk)
        with pytest.raises(InputError, match=r"tokenizer\.model: "):
            Tokenizer.load(path)


def test_text_imports_no_torch():
    code = "import sys, s4speech.text.tokenizer, s4speech.text.normalize; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", "HELLO WORLD"),
        ("don\u2019t  stop", "DON'T STOP"),
        ("well-known \u2014 fact", "WELL KNOWN FACT"),
        ("U.S. and/or caf\u00e9", "US AND OR CAFE"),
        ("\ufb01ne \uff21\uff22", "FINE AB"),
        ("' '' a", "A"),
        ("dogs' 'tis", "DOGS' 'TIS"),
        ("\u201cquoted\u201d \u2026", "QUOTED"),
        ("", ""),
    ],
)
def test_normalize_english(text, expected):
    assert normalize_english(text) == expected
