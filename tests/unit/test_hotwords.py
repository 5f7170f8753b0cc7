"""Hotwords: the bonus against every occurrence counted by hand, their files, and what they do in a search."""

import random
from pathlib import Path

import numpy as np
import pytest

from s4speech.config.streaming import SearchOptions
from s4speech.errors import InputError
from s4speech.search import FrameSyncSearch, Hotwords, Hypothesis, Phrase, read_hotwords, run
from s4speech.text.tokenizer import Tokenizer
from tests.conftest import message

TEXTS = ["MOBY DICK SAW NEW YORK AND A NEW BOAT", "THE QUICK FOX JUMPS OVER LAZY DOGS IN CAFES"] * 4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    return Tokenizer.train(TEXTS, folder / "tokenizer.model", 50, "bpe")


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """a, b and c are one token each, after the mark of a word."""
    return Tokenizer.train(["abc"], tmp_path_factory.mktemp("char") / "tokenizer.model", 7, "char")


def total(hotwords: Hotwords, tokens: list[int]) -> float:
    """The bonus of a whole sequence."""
    node, bonus = 0, 0.0
    for token in tokens:
        node, change = hotwords.step(node, token)
        bonus += change
    return bonus - hotwords.pending(node)


def counted(phrases: dict[tuple[int, ...], float], tokens: list[int]) -> float:
    """The definition: the longest phrase that ends at each token pays what its beginning has not."""
    bonus = 0.0
    for end in range(1, len(tokens) + 1):
        ending = [p for p in phrases if tuple(tokens[:end][-len(p) :]) == p]
        if ending:
            longest = max(ending, key=len)
            begun = max((len(p) for p in phrases if p != longest and longest[: len(p)] == p), default=0)
            bonus += phrases[longest] * (len(longest) - begun)
    return bonus


def test_a_partial_match_counts_until_it_fails(tokenizer: Tokenizer) -> None:
    hotwords = Hotwords(["NEW YORK"], tokenizer, 1.5)
    tokens = tokenizer.encode("NEW YORK")
    node, changes = 0, []
    for token in [*tokens[:-1], tokenizer.encode("SAW")[0]]:
        node, change = hotwords.step(node, token)
        changes.append(change)
    assert changes == [1.5] * (len(tokens) - 1) + [-1.5 * (len(tokens) - 1)]
    assert (node, hotwords.pending(node)) == (0, 0.0)
    assert total(hotwords, tokens) == 1.5 * len(tokens)
    assert total(hotwords, tokens[:-1]) == 0.0
    assert total(hotwords, tokenizer.encode("A NEW NEW YORK AND NEW YORK A")) == 3.0 * len(tokens)
    node, _ = hotwords.step(0, tokens[0])
    assert hotwords.pending(node) == 1.5
    node = 0
    for token in tokens:
        node, _ = hotwords.step(node, token)
    assert hotwords.pending(node) == 0.0


@pytest.mark.parametrize("seed", range(30))
def test_the_bonus_is_that_of_all_occurrences(characters: Tokenizer, seed: int) -> None:
    # Few words of few letters, so phrases begin, end and lie inside others.
    rng = random.Random(seed)

    def text(longest: int) -> str:
        return " ".join(rng.choices(["a", "b", "ab"], k=rng.randint(1, longest)))

    words = {text(4): rng.choice([0.5, 1.0, 2.0]) for _ in range(5)}
    phrases = {tuple(characters.encode(word)): score for word, score in words.items()}
    hotwords = Hotwords([Phrase(word, score) for word, score in words.items()], characters, 9.0)
    for _ in range(50):
        tokens = characters.encode(text(8))
        for n in range(len(tokens) + 1):
            assert total(hotwords, tokens[:n]) == pytest.approx(counted(phrases, tokens[:n]), abs=1e-12)


def test_a_shared_beginning_is_credited_with_the_better_score(characters: Tokenizer) -> None:
    word, a, b, c = characters.encode("abc")
    hotwords = Hotwords([Phrase("ab", 1.0), Phrase("ac", 3.0), "ac"], characters, 2.0)
    node, first = hotwords.step(0, word)
    node, second = hotwords.step(node, a)
    assert (first, second, hotwords.pending(node)) == (3.0, 3.0, 6.0)
    assert total(hotwords, [word, a, b]) == 3.0
    assert total(hotwords, [word, a, c]) == 9.0


@pytest.mark.parametrize("text", ["MOBY DICK", "Moby Dick", " moby-dick ", "Möby  Dick!"])
def test_phrases_are_written_as_transcripts_are(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.encode("MOBY DICK")
    assert total(Hotwords([text], tokenizer, 1.0), tokens) == len(tokens)


def test_a_vocabulary_of_small_letters_is_taken_as_it_is(characters: Tokenizer) -> None:
    assert total(Hotwords(["cab"], characters, 1.0), characters.encode("cab")) == 4.0


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "blank"),
        (" \t", "blank"),
        ("New York 66", "'New York 66' has characters that the model never writes (66)"),
        ("Zoë 東京", "(東京)"),
        ("?!", "'?!' has characters"),
    ],
)
def test_a_phrase_that_cannot_be_spelt_is_refused(tokenizer: Tokenizer, text: str, said: str) -> None:
    assert said in message(lambda: Hotwords(["A BOAT", text], tokenizer, 1.0))


@pytest.mark.parametrize("text", ["abzc", "az"])
def test_what_stops_the_best_spelling_is_named(characters: Tokenizer, text: str) -> None:
    assert "never writes (z)" in message(lambda: Hotwords([text], characters, 1.0))


def test_no_phrase_and_bad_scores_are_refused(tokenizer: Tokenizer) -> None:
    assert message(lambda: Hotwords([], tokenizer, 1.0)) == "hotwords: got no phrase; wanted one or more"
    for score in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"^hotwords: 'A BOAT': got score"):
            Hotwords([Phrase("A BOAT", score)], tokenizer, 1.0)


def write(folder: Path, text: str) -> Path:
    path = folder / "hotwords.txt"
    path.write_bytes(text.encode())
    return path


def test_a_file_has_a_phrase_a_line(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff# fox\r\nMoby Dick :2.5\r\n\r\n  New York\t\r\n # dogs\nA: BOAT : 0\n")
    hotwords = read_hotwords(path, tokenizer, 1.5)
    for text, score in [("MOBY DICK", 2.5), ("NEW YORK", 1.5), ("A BOAT", 0.0), ("FOX DOGS", 0.0)]:
        tokens = tokenizer.encode(text)
        assert total(hotwords, tokens) == score * len(tokens)


@pytest.mark.parametrize(
    "text, said",
    [
        ("NEW YORK\n\nNEW YORK 6\n", ":3: 'NEW YORK 6' has characters that the model never writes (6)"),
        ("NEW YORK :much\n", ":1: got score 'much'; wanted a number after ' :'"),
        ("# all\nNEW YORK :-1\n", ":2: 'NEW YORK': got score -1.0; wanted 0 or more"),
        (":2.5\n", ":1: got a blank phrase"),
        ("# nothing\n\n", ": no hotwords"),
    ],
)
def test_a_bad_line_is_named(tokenizer: Tokenizer, tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    assert message(lambda: read_hotwords(path, tokenizer, 1.0)).startswith(f"{path}{said}")


def test_an_unreadable_file_is_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    missing = tmp_path / "none.txt"
    assert message(lambda: read_hotwords(missing, tokenizer, 1.0)).startswith(
        f"{missing}: cannot read (No such"
    )
    path = tmp_path / "latin.txt"
    path.write_bytes(b"CAF\xc9\n")
    assert message(lambda: read_hotwords(path, tokenizer, 1.0)).startswith(f"{path}: not UTF-8 at byte 3")


def search_all(
    choices: list[dict[int, float]], vocabulary: int, hotwords: Hotwords | None, beam: int = 8
) -> list[Hypothesis]:
    search = FrameSyncSearch(SearchOptions(decoder_weight=0, beam=beam), hotwords=hotwords)
    for choice in choices:
        probs = np.full(vocabulary, 1e-6)
        for token, p in choice.items():
            probs[token] = p
        probs[0] = 1 - probs[1:].sum()
        run(search.advance(np.log(probs)), None)  # type: ignore[arg-type]
        run(search.advance(np.log(np.eye(vocabulary)[0] + 1e-6)), None)  # type: ignore[arg-type]
    return search.hypotheses()


def test_in_a_search(characters: Tokenizer) -> None:
    word, a, b, c = characters.encode("abc")
    size = characters.vocab_size
    heard = [{word: 0.98}, {a: 0.6, c: 0.38}, {b: 0.98}]
    plain = search_all(heard, size, None)
    assert plain[0].tokens == [word, a, b]

    pulled = search_all(heard, size, Hotwords(["cb"], characters, 0.5))
    assert pulled[0].tokens == [word, c, b]
    assert pulled[0].scores["hotwords"] == 1.5
    assert pulled[0].score == pytest.approx(pulled[0].scores["ctc"] + 1.5)

    # Neither one that nothing here contains, nor one that stays unfinished, though it leads on the way.
    for phrase in ("bbb", "cbc"):
        other = search_all(heard, size, Hotwords([phrase], characters, 0.5))
        found = {tuple(h.tokens): h.score for h in other}
        assert other[0].tokens == plain[0].tokens
        assert [h.scores["hotwords"] for h in other] == [0.0] * len(other)
        for h in plain[:2]:
            assert found[tuple(h.tokens)] == pytest.approx(h.score, abs=1e-12)


def test_a_hotword_wins_the_last_place(characters: Tokenizer) -> None:
    word, _, _, c = characters.encode("abc")
    heard, size = [{word: 0.98}, {c: 0.3}], characters.vocab_size
    assert search_all(heard, size, None, beam=1)[0].tokens == [word]
    assert search_all(heard, size, Hotwords(["c"], characters, 1.5), beam=1)[0].tokens == [word, c]


def test_an_irrelevant_hotword_changes_nothing(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    others = [t for t in range(3, tokenizer.vocab_size) if t not in tokenizer.encode("MOBY DICK")]
    heard = [{int(t): 0.3 for t in rng.choice(others, 3, replace=False)} for _ in range(20)]
    plain = search_all(heard, tokenizer.vocab_size, None)
    assert search_all(heard, tokenizer.vocab_size, Hotwords(["Moby Dick"], tokenizer, 5.0)) == plain


def test_every_prefix_has_its_own_place(characters: Tokenizer) -> None:
    letters = characters.encode("ac")
    hotwords = Hotwords(["aca", "cc"], characters, 0.4)
    heard = [{letters[0]: 0.9}, *[{t: 0.45 for t in letters[1:]}] * 3]
    found = search_all(heard, characters.vocab_size, hotwords)
    bonuses = [h.scores["hotwords"] for h in found]
    assert bonuses == pytest.approx([total(hotwords, h.tokens) for h in found])
    assert len({round(bonus, 3) for bonus in bonuses}) > 2
