"""What a voice is to say: tokens with the prosody of each, silences, pieces of long sentences, live text."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest

from s4speech.streaming.script import (
    LONGEST,
    Script,
    Silence,
    SpeechOptions,
    Utterance,
    read_script,
    speaker_number,
)
from s4speech.text.characters import Speller
from s4speech.text.english import normalize_english
from s4speech.text.phonemes import PAUSES, Pronouncer
from s4speech.text.sentences import split_sentences
from tests.conftest import message

PRONOUNCER = Pronouncer()


def items(text: str, silence: float = 0.2) -> list[Utterance | Silence]:
    return list(read_script(text, PRONOUNCER, sentence_silence=silence))


def said(script: list[Utterance | Silence] | Script) -> list[str]:
    return [item.spoken for item in script if isinstance(item, Utterance)]


def test_sentences_with_silences_between_them() -> None:
    assert [item if isinstance(item, Silence) else item.spoken for item in items("One. Two!\n\nThree?")] == [
        "one.",
        Silence(0.2),
        "two!",
        Silence(0.4),
        "three?",
    ]
    assert not any(isinstance(item, Silence) for item in items("One. Two!", 0.0))


def test_what_says_nothing_is_passed_over() -> None:
    assert said(items("... One. -- !! Two.")) == ["one.", "two."]


@pytest.mark.parametrize("text", ["", " \n\t ", "\ufeff", "<speak/>", "<speak> <break time='1s'/></speak>"])
def test_an_empty_text(text: str) -> None:
    assert message(lambda: items(text)) == "text: is empty; give some words"


@pytest.mark.parametrize("text", ["?!", "...", "-- ( )", "\x00\x07", "<speak>...</speak>"])
def test_only_punctuation(text: str) -> None:
    assert "has nothing that is said; give some words" in message(lambda: items(text))


def test_breaks_are_silence_and_the_voice_goes_on() -> None:
    pauses = '<break time="1s"/>', '<break strength="none"/>', '<break time="700ms"/>'
    script = items("<speak>one{}two {}three.{}</speak>".format(*pauses))
    assert said(script) == ["one,", "two three."]
    assert [item for item in script if isinstance(item, Silence)] == [Silence(1.0), Silence(0.7)]


def test_the_silence_of_a_sentence_is_not_that_of_its_breaks() -> None:
    script = items('<speak><s>one</s><s>two<break time="1s"/>three</s></speak>')
    assert [item for item in script if isinstance(item, Silence)] == [Silence(0.2), Silence(1.0)]


def test_prosody_belongs_to_the_tokens_of_its_words() -> None:
    left = '<prosody rate="2" pitch="+3st" volume="-6dB">left, now</prosody>'
    (one,) = items(f'<speak>go {left} <sub alias="and">&amp;</sub> [[ɡˈO]].</speak>')
    assert isinstance(one, Utterance)
    assert len(one.prosody) == len(one.phones.tokens)
    of_word = {
        word.text: {one.prosody[place].rate for place in range(word.start, word.stop)}
        for word in one.phones.words
    }
    assert of_word == {"go": {1.0}, "left": {2.0}, "now": {2.0}, "and": {1.0}, "[[ɡˈO]]": {1.0}}
    comma = one.phones.tokens.index(",")
    assert (one.prosody[comma].pitch, one.prosody[comma].volume) == (3.0, -6.0)
    assert one.prosody[0].rate == one.prosody[-1].rate == 1.0


def test_a_comma_behind_phonemes_is_kept() -> None:
    (one,) = items("[[hɛlˈO]], he said.")
    assert isinstance(one, Utterance) and one.spoken == "[[hɛlˈO]], he said."
    assert one.phonemes.startswith("hɛlˈO, h") and one.phonemes.endswith("sˈɛd.")


def test_the_phonemes_shown_are_said_alike_when_given_by_hand() -> None:
    (one,) = items("Doctor Smith paid.")
    assert isinstance(one, Utterance)
    (again,) = items("".join(f" [[{word}]]" for word in one.phonemes.strip(".").split()) + ".")
    assert isinstance(again, Utterance) and again.phones.tokens == one.phones.tokens


@pytest.mark.parametrize("reader", [PRONOUNCER, Speller()], ids=["phonemes", "characters"])
@pytest.mark.parametrize(
    "text",
    ["well, " * 150, "and the other one " * 60, "it is 12345, " * 20, "w" * 500, "a" * 4000],
    ids=["pauses", "words", "numbers", "letters", "one word"],
)
def test_a_long_sentence_is_said_in_pieces_and_nothing_is_lost(
    reader: Pronouncer | Speller, text: str
) -> None:
    script = [item for item in read_script(text, reader) if isinstance(item, Utterance)]
    whole = [reader.pronounce(normalize_english(sentence)) for sentence in split_sentences(text)]
    assert len(script) > 1
    for one in script:
        tokens, words = one.phones
        assert len(tokens) <= LONGEST + 3 and len(one.prosody) == len(tokens)
        assert tokens[0] == "^" and tokens[-1] == "$" and tokens[-2] in PAUSES
        assert all(0 < word.start < word.stop < len(tokens) for word in words)
        assert all(a.stop <= b.start for a, b in pairwise(words))
    for kind in ("words", "phones"):
        parts = [[one.phones for one in script], whole]
        got, wanted = (
            [word.text for phones in part for word in phones.words]
            if kind == "words"
            else [t for phones in part for t in phones.tokens if t not in (*PAUSES, "^", "$", " ")]
            for part in parts
        )
        assert got == wanted


def test_pieces_end_at_pauses_if_there_are_any() -> None:
    pieces = said(items("it is 1234567, " * 12))
    assert len(pieces) > 1 and all(piece.endswith("sixty seven,") for piece in pieces)


def test_text_that_arrives_is_said_when_the_next_sentence_begins() -> None:
    taken = 0

    def pieces() -> Iterator[str]:
        nonlocal taken
        for taken, piece in enumerate(text.split(" ")):  # noqa: B007
            yield piece + " "

    text = "Dr. Smith lives at no. 5. He is well, e.g. very well. He said so.\n\nThat is all"
    whole = [item if isinstance(item, Silence) else item.spoken for item in items(text)]
    script = read_script(pieces(), PRONOUNCER, sentence_silence=0.2)
    first = next(script)
    assert isinstance(first, Utterance) and first.spoken == "doctor smith lives at number five."
    assert taken < 10
    rest = [item if isinstance(item, Silence) else item.spoken for item in script]
    assert [first.spoken, *rest] == whole


def test_a_blank_line_ends_what_arrives() -> None:
    def pieces() -> Iterator[str]:
        yield "Good morning\n\n"
        raise AssertionError("not waited for")

    first = next(read_script(pieces(), PRONOUNCER))
    assert isinstance(first, Utterance) and first.spoken == "good morning"


def test_the_first_sentence_of_a_long_text_is_lazy() -> None:
    script = read_script("It goes on. " * 100_000, PRONOUNCER)
    assert isinstance(next(script), Utterance)


def test_phonemes_that_are_none_are_found_at_once() -> None:
    assert "got '@'" in message(lambda: read_script("Fine. " * 100 + "[[b@d]]", PRONOUNCER))
    assert "got '@'" in message(
        lambda: read_script('<speak>a <phoneme ph="b@d">x</phoneme></speak>', PRONOUNCER)
    )
    assert "this voice reads characters" in message(lambda: read_script("[[bˈæd]]", Speller()))


def test_options_out_of_range() -> None:
    for name, value in [
        ("length_scale", 0.0),
        ("length_scale", float("nan")),
        ("pitch", 25.0),
        ("volume", -1.0),
        ("sentence_silence", float("inf")),
    ]:
        assert f"{name}: got {value:g}; wanted " in message(lambda n=name, v=value: SpeechOptions(**{n: v}))  # type: ignore[misc]


def test_speakers_by_name_or_number() -> None:
    assert [speaker_number(["ann", "7"], one) for one in (None, "ann", "7", 1, "0")] == [0, 0, 1, 1, 0]
    for wrong in ("eve", "2", -1):
        assert message(lambda one=wrong: speaker_number(["ann", "7"], one)).endswith("wanted one of ann, 7")  # type: ignore[misc]


def test_reading_needs_no_torch() -> None:
    code = "import sys, s4speech.streaming.script as s; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
