"""What a voice is to say: utterances of tokens with the prosody of each, and the silences between them.

No torch here: a text is read, checked and shown (`--dry-run`) without it.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import NamedTuple, Protocol

from s4speech.errors import InputError
from s4speech.text.english import normalize_english
from s4speech.text.markup import Prosody, Sentence, Span, read_ssml, read_text
from s4speech.text.phonemes import BEGIN, END, PAUSES, Phones, SpokenWord, split_spoken
from s4speech.text.sentences import find_sentences

LONGEST = 300  # tokens of an utterance, some 25 s: a longer sentence is said in pieces
PARAGRAPH = 2.0  # the silence after a paragraph, in silences after a sentence
_LIMITS = {
    "length_scale": (0.1, 10.0),
    "pitch": (-24.0, 24.0),
    "volume": (0.0, 10.0),
    "sentence_silence": (0.0, 60.0),
}
_SSML = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?<speak[\s/>]")
_LEADING_MARK = re.compile(r"[\s\"'\u2019\u201d)\]]*([,.;:!?])(?!\w)")
# So many characters behind a full stop say whether it ends the sentence.
_CONTEXT = 16

Text = str | Iterable[str]


class Reader(Protocol):
    """A `Pronouncer` or a `Speller`."""

    def pronounce(self, spoken: str) -> Phones: ...
    def tokens_of(self, phonemes: str) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class SpeechOptions:
    """How everything is said.

    length_scale: factor on durations. pitch: semitones. volume: factor on samples. sentence_silence: seconds
    between sentences. Raises InputError: out of range.
    """

    length_scale: float = 1.0
    pitch: float = 0.0
    volume: float = 1.0
    sentence_silence: float = 0.2

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:  # NaN neither
                raise InputError(f"{name}: got {value:g}; wanted {low:g} to {high:g}")


class Silence(NamedTuple):
    """So many seconds of it."""

    seconds: float


class Utterance(NamedTuple):
    """What is synthesised in one go. spoken: the normalised text. prosody: of each token."""

    spoken: str
    phones: Phones
    prosody: tuple[Prosody, ...]

    @property
    def phonemes(self) -> str:
        """The tokens as they can be written between [[ and ]], a word after another."""
        tokens = self.phones.tokens
        return _written(self.phones, lambda word: "".join(tokens[word.start : word.stop]))


Script = Iterator[Utterance | Silence]


def _written(phones: Phones, show: Callable[[SpokenWord], str]) -> str:
    """Words and the pauses behind them."""
    text, place = "", 1
    for word in phones.words:
        text += "".join(phones.tokens[place : word.start]).strip()
        text += f" {show(word)}" if text else show(word)
        place = word.stop
    return text + "".join(phones.tokens[place:-1]).strip()


def is_ssml(text: str) -> bool:
    """Whether a text begins as an SSML document does."""
    return _SSML.match(text) is not None


def read_script(
    text: Text, reader: Reader, ssml: bool | None = None, sentence_silence: float = 0.0
) -> Script:
    """What is said of a text, lazily, or of pieces of one as they come. ssml None: if it looks like SSML.

    Raises InputError at once: bad SSML, with line and column; phonemes that are none; nothing to say. Of text
    in pieces only the first sentence is looked at, the rest when its turn comes.
    """
    if isinstance(text, str) and ("[[" in text or "<phoneme" in text):
        for sentence in _sentences(text, ssml):
            for span in sentence.spans:
                if span.phonemes is not None:
                    reader.tokens_of(span.phonemes)
    script = utterances(_sentences(text, ssml), reader, sentence_silence)
    return chain([next(script)], script)


def _sentences(text: Text, ssml: bool | None) -> Iterator[Sentence]:
    if not isinstance(text, str):
        if ssml:
            return read_ssml("".join(text))
        return _arriving(text)
    text = text.removeprefix("\ufeff")
    return read_ssml(text) if (is_ssml(text) if ssml is None else ssml) else read_text(text)


def _arriving(pieces: Iterable[str]) -> Iterator[Sentence]:
    """Sentences as soon as the text behind them says that they are over. A blank line says so at once."""
    rest = ""
    for piece in pieces:
        rest += piece
        used = 0
        for part in find_sentences(rest):
            over = re.search(r"\n[ \t\r]*\n\s*\Z", rest[part.start : part.stop])
            if not over and part.stop + _CONTEXT > len(rest):
                break
            for sentence in read_text(rest[part.start : part.stop]):
                yield replace(sentence, paragraph_end=part.paragraph_end)
            used = part.stop
        rest = rest[used:]
    yield from read_text(rest)


def utterances(sentences: Iterable[Sentence], reader: Reader, sentence_silence: float = 0.0) -> Script:
    """What is said, in order; nothing after the last sentence but a <break> that was asked for.

    Raises InputError: phonemes that are none; and at the end, if there was nothing to say.
    """
    silence, gap, seen, spoke = 0.0, 0.0, "", False
    for sentence in sentences:
        spoken = (span for span in sentence.spans if span.pause_s != 0.0)  # <break strength="none"/>
        groups = [list(spans) for _, spans in groupby(spoken, lambda span: span.pause_s is None)]
        for i, spans in enumerate(groups):
            if spans[0].pause_s is not None:
                silence += sum(span.pause_s or 0.0 for span in spans)
                continue
            seen = seen or " ".join((span.text or "") for span in spans).strip()
            for utterance in _pieces(_utterance(spans, reader, goes_on=i + 1 < len(groups))):
                if silence + gap and (spoke or silence):
                    yield Silence(silence + gap)
                yield utterance
                silence, gap, spoke = 0.0, 0.0, True
        if spoke:
            gap = max(gap, sentence_silence * (PARAGRAPH if sentence.paragraph_end else 1.0))
    if not spoke:
        what = f"{seen[:40]!r} has nothing that is said" if seen else "is empty"
        raise InputError(f"text: {what}; give some words")
    if silence:
        yield Silence(silence)


def _utterance(spans: Sequence[Span], reader: Reader, goes_on: bool) -> Utterance | None:
    """The tokens of spans without pauses; None where there is no word in them. goes_on: after a <break>."""
    parts, of_words = list[str](), list[Prosody]()
    for span in spans:
        part = _spoken(span, reader)
        if part:
            parts.append(part)
            of_words += [span.prosody] * sum(piece not in PAUSES for piece in split_spoken(part))
    if not of_words:
        return None
    spoken = re.sub(r" (?=[,.;:!?])", "", " ".join(parts)).strip()
    if goes_on and spoken[-1] not in PAUSES:
        spoken += ","
    phones = reader.pronounce(spoken)
    prosody, last, word = list[Prosody](), of_words[0], 0
    for place in range(len(phones.tokens)):
        while word < len(phones.words) and phones.words[word].start <= place:
            last, word = of_words[word], word + 1
        prosody.append(last)
    return Utterance(spoken, phones, tuple(prosody))


def _spoken(span: Span, reader: Reader) -> str:
    if span.phonemes is not None:
        reader.tokens_of(span.phonemes)  # says what is wrong with them better than a whole sentence could
        return f"[[{span.phonemes}]]"
    if span.text is None:
        return span.spoken or ""
    # A text that goes on behind phonemes may begin with the comma between them.
    mark = _LEADING_MARK.match(span.text)
    return (mark[1] + " " if mark else "") + normalize_english(span.text)


def _pieces(utterance: Utterance | None) -> Iterator[Utterance]:
    """An utterance cut where it is too long: at the last pause, else between words, else anywhere."""
    if utterance is None:
        return
    tokens, words = utterance.phones
    starts, start, end = {word.start for word in words}, 1, len(tokens) - 1
    inside = {place for word in words for place in range(word.start, word.stop)}
    while end - start > LONGEST:
        places = range(start + LONGEST, start + LONGEST // 3, -1)
        pauses = (p for p in places if tokens[p - 1] in PAUSES and p - 1 not in inside)
        between = (p for p in places if p in starts)
        cut = next(pauses, next(between, start + LONGEST))
        yield _part(utterance, start, cut)
        start = cut
    yield utterance if start == 1 else _part(utterance, start, end)


def _part(utterance: Utterance, start: int, stop: int) -> Utterance:
    """tokens[start:stop] as an utterance of its own."""
    (tokens, words), prosody = utterance.phones, utterance.prosody
    chosen = tuple(
        SpokenWord(word.text, word.start - start + 1, min(word.stop, stop) - start + 1)
        for word in words
        if start <= word.start < stop
    )
    body = tokens[start:stop]
    stop -= body[-1] == " "  # of characters
    body = tokens[start:stop]
    if body[-1] not in PAUSES:
        body = (*body, ",")
    of_body = (*prosody[start:stop], *[prosody[stop - 1]] * (len(body) - (stop - start)))
    phones = Phones((BEGIN, *body, END), chosen)
    spoken = _written(phones, lambda word: word.text)
    return Utterance(spoken, phones, (prosody[start], *of_body, prosody[stop - 1]))


def speaker_number(speakers: Sequence[str], speaker: str | int | None) -> int:
    """Of a name, or of a number in the order of the names; None: the first.

    Raises InputError naming those that there are.
    """
    if speaker is None:
        return 0
    if speaker in speakers:
        return list(speakers).index(str(speaker))
    if str(speaker).isdecimal() and int(speaker) < len(speakers):
        return int(speaker)
    raise InputError(f"speaker: got '{speaker}'; wanted one of {', '.join(speakers)}")


def gain(decibel: float) -> float:
    """Factor on samples."""
    return math.pow(10.0, decibel / 20)
