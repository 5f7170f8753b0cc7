"""Plain text with [[phonemes]], and SSML, as sentences of spans."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from xml.parsers import expat

from s4speech.errors import InputError
from s4speech.text.english import normalize_english, say_as
from s4speech.text.english.say_as import KINDS
from s4speech.text.sentences import LONGEST, MASK, find_sentences


@dataclass(frozen=True)
class Prosody:
    """How a span is spoken, relative to the voice."""

    rate: float = 1.0  # speed factor, 0.2 to 5
    pitch: float = 0.0  # semitones, -24 to 24
    volume: float = 0.0  # dB, -96 to 24


@dataclass(frozen=True)
class Span:
    """A piece of a sentence: exactly one of the first four is given."""

    text: str | None = None  # as written, to be normalised
    spoken: str | None = None  # normalised words
    phonemes: str | None = None  # as written between [[ and ]]
    pause_s: float | None = None  # silence
    prosody: Prosody = Prosody()

    def __post_init__(self) -> None:
        """Raises ValueError: none or more than one kind of content."""
        kinds = (self.text, self.spoken, self.phonemes, self.pause_s)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(f"a span has one of text, spoken, phonemes, pause_s; got {kinds}")


@dataclass(frozen=True)
class Sentence:
    """What is synthesised in one go. ``paragraph_end``: the pause after it is longer."""

    spans: tuple[Span, ...]
    paragraph_end: bool


@dataclass
class _Flow:
    """Spans that are parted into sentences together: a plain text, a <p> or an <s>."""

    spans: list[Span] = field(default_factory=list)
    paragraph_end: bool = False
    whole: bool = False  # an <s>: one sentence, whatever full stops it has, unless it is very long

    def sentences(self) -> Iterator[Sentence]:
        """Yield the sentences, lazily. A span that is no text counts as one letter of a word."""
        if self.whole and sum(len(span.text or "") for span in self.spans) <= LONGEST:
            yield Sentence(tuple(self.spans), self.paragraph_end)
            return
        pieces = [MASK if span.text is None else span.text.replace(MASK, " ") for span in self.spans]
        written = "".join(pieces)
        index, offset = 0, 0  # the span and the place in it where the next sentence begins
        for part in find_sentences(written):
            need, taken = part.stop - part.start, list[Span]()
            while need:
                span, size = self.spans[index], min(need, len(pieces[index]) - offset)
                if span.text is None:
                    taken.append(span)
                elif span.text[offset : offset + size].strip():
                    taken.append(replace(span, text=span.text[offset : offset + size]))
                need, offset = need - size, offset + size
                if offset == len(pieces[index]):
                    index, offset = index + 1, 0
            if taken:
                yield Sentence(
                    tuple(taken), part.paragraph_end and (self.paragraph_end or part.stop < len(written))
                )


_PHONEMES = re.compile(r"\[\[([^\[\]]{1,1000})\]\]")


def _spans(text: str, prosody: Prosody) -> Iterator[Span]:
    """Part text from [[phonemes]]. Brackets that are not closed, or closed around nothing, are text."""
    end = 0
    for match in _PHONEMES.finditer(text):
        if match[1].strip():
            if match.start() > end:
                yield Span(text=text[end : match.start()], prosody=prosody)
            yield Span(phonemes=match[1].strip(), prosody=prosody)
            end = match.end()
    if end < len(text):
        yield Span(text=text[end:], prosody=prosody)


def read_text(text: str) -> Iterator[Sentence]:
    """Yield the sentences of plain text, lazily.

    ``[[hɛlˈO]]`` in it is phonemes; brackets that are not closed are text. A blank line ends a paragraph.
    """
    return _Flow(list(_spans(text, Prosody())), paragraph_end=True).sentences()


# --- values of attributes

_RATES = {"x-slow": 0.5, "slow": 0.8, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
_PITCHES = {"x-low": -6.0, "low": -3.0, "medium": 0.0, "default": 0.0, "high": 3.0, "x-high": 6.0}
_VOLUMES = {
    "silent": -96.0,
    "x-soft": -12.0,
    "soft": -6.0,
    "medium": 0.0,
    "default": 0.0,
    "loud": 6.0,
    "x-loud": 10.0,
}
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.8, "x-strong": 1.2}
_VALUE = re.compile(r"([+-]?)(\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})\s*(%|st|dB|ms|s|)", re.I)
_LIMITS = {"rate": (0.2, 5.0), "pitch": (-24.0, 24.0), "volume": (-96.0, 24.0)}
_LONGEST_BREAK_S = 30.0
_WANTED = {
    "rate": f"0.2 to 5, 20% to 500%, +20%, -20% or {', '.join(_RATES)}",
    "pitch": f"-24st to +24st, +10%, -10% or {', '.join(_PITCHES)}",
    "volume": f"-96dB to +24dB, 0 to 100, +10%, -10% or {', '.join(_VOLUMES)}",
    "time": f"0s to {_LONGEST_BREAK_S:g}s, such as 500ms or 1.5s",
}


def _decibel(factor: float) -> float:
    return max(-96.0, 20 * math.log10(factor)) if factor > 0 else -96.0


def _number(name: str, text: str) -> float | None:
    """Return the value of a prosody attribute or a time that is a number, None where it is none."""
    match = _VALUE.fullmatch(text)
    if not match:
        return None
    sign, unit = match[1], match[3].lower()
    value = float(sign + match[2])
    factor = 1 + value / 100 if sign else value / 100  # of a percentage
    if name == "rate":
        return factor if unit == "%" else value if not unit and sign != "-" else None
    if name == "pitch":
        if unit == "%" and factor > 0:
            return 12 * math.log2(factor)
        return value if unit == "st" else None
    if name == "volume":
        if unit == "%":
            return _decibel(factor)
        return (
            value
            if unit == "db"
            else _decibel(value / 100)
            if not unit and not sign and value <= 100
            else None
        )
    return value / (1000 if unit == "ms" else 1) if unit in ("s", "ms") and sign != "-" else None


def _clamp(name: str, value: float) -> float:
    low, high = _LIMITS[name]
    return min(max(value, low), high)


# --- SSML

_ATTRIBUTES = {
    "speak": {"version"},
    "p": set[str](),
    "s": set[str](),
    "break": {"time", "strength"},
    "prosody": {"rate", "pitch", "volume"},
    "say-as": {"interpret-as", "format", "detail"},
    "phoneme": {"ph", "alphabet"},
    "sub": {"alias"},
}
_NEEDED = {"say-as": "interpret-as", "phoneme": "ph", "sub": "alias"}
_LEAVES = {"break", *_NEEDED}


class _Element(NamedTuple):
    name: str
    attributes: dict[str, str]
    prosody: Prosody


class _Reader:
    """Collects the flows of an SSML document while expat reads it."""

    def __init__(self) -> None:
        self.flows: list[_Flow] = []
        self._flow = _Flow()
        self._open: list[_Element] = []
        self._pending: list[str] = []  # text since the last tag; expat may give a word in two parts
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._pending_text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def read(self, document: str) -> list[_Flow]:
        try:
            self._parser.Parse(document.encode("utf-8", "replace"), True)
        except expat.ExpatError as error:
            place = f"SSML line {error.lineno}, column {error.offset + 1}"
            hint = {
                expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]: "write the character itself",
                expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]: "wanted <speak>...</speak>",
            }.get(error.code, "wanted well-formed XML: every tag closed, & written &amp; and < written &lt;")
            raise InputError(f"{place}: {expat.ErrorString(error.code)}; {hint}") from None
        return self.flows

    def _place(self) -> str:
        return f"SSML line {self._parser.CurrentLineNumber}, column {self._parser.CurrentColumnNumber + 1}"

    def _doctype(self, *_: object) -> None:
        raise InputError(f"{self._place()}: got a document type declaration, which is not read; remove it")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._take_text()
        place = self._place()
        if name not in _ATTRIBUTES:
            raise InputError(f"{place}: unknown element <{name}>; supported: {', '.join(_ATTRIBUTES)}")
        self._check_nesting(name, place)
        for key, value in attributes.items():
            if key == "xml:lang":
                if value.lower().split("-")[0] != "en":
                    raise InputError(f"{place}: <{name}> has xml:lang={value!r}; this voice reads en only")
            elif key not in _ATTRIBUTES[name] and not (name == "speak" and re.match("xmlns|xml:|xsi:", key)):
                wanted = ", ".join(sorted(_ATTRIBUTES[name])) or "none but xml:lang"
                raise InputError(f"{place}: <{name}> has an unknown attribute {key!r}; supported: {wanted}")
        if name in _NEEDED and not attributes.get(_NEEDED[name], "").strip():
            raise InputError(f"{place}: <{name}> needs the attribute {_NEEDED[name]}, and a value in it")
        prosody = self._open[-1].prosody if self._open else Prosody()
        if name in ("p", "s"):
            self._flush()
        elif name == "prosody":
            prosody = self._prosody(prosody, attributes, place)
        elif name == "break":
            self._flow.spans.append(Span(pause_s=self._pause(attributes, place), prosody=prosody))
        elif name == "say-as" and attributes["interpret-as"] not in KINDS:
            wanted = ", ".join(KINDS)
            raise InputError(f"{place}: interpret-as={attributes['interpret-as']!r}; supported: {wanted}")
        elif name == "phoneme" and attributes.get("alphabet", "ipa").lower() != "ipa":
            raise InputError(f"{place}: alphabet={attributes['alphabet']!r}; supported: ipa")
        self._open.append(_Element(name, attributes, prosody))

    def _check_nesting(self, name: str, place: str) -> None:
        names = [element.name for element in self._open]
        if (name == "speak") == bool(names):
            wanted = "the document begins with <speak>" if name != "speak" else "there is one <speak>"
            raise InputError(f"{place}: <{name}> is out of place; {wanted}")
        if names and names[-1] in _LEAVES:
            raise InputError(f"{place}: <{name}> is inside <{names[-1]}>, which takes no elements")
        outer = {"p": {"p", "s"}, "s": {"s"}}.get(name, set()) & set(names[:100])
        if outer:
            raise InputError(f"{place}: <{name}> is inside <{min(outer)}>; close that first")
        if len(names) >= 100:
            raise InputError(f"{place}: elements nested more than 100 deep; close some")

    def _prosody(self, outer: Prosody, attributes: dict[str, str], place: str) -> Prosody:
        values = {"rate": outer.rate, "pitch": outer.pitch, "volume": outer.volume}
        for name, words in (("rate", _RATES), ("pitch", _PITCHES), ("volume", _VOLUMES)):
            if name not in attributes:
                continue
            text = attributes[name].strip()
            value = words.get(text.lower(), _number(name, text))
            if value is None or value != _clamp(name, value):
                raise InputError(f"{place}: {name}={attributes[name]!r}; wanted {_WANTED[name]}")
            values[name] = _clamp(name, values[name] * value if name == "rate" else values[name] + value)
        return Prosody(**values)

    def _pause(self, attributes: dict[str, str], place: str) -> float:
        strength = attributes.get("strength", "medium").strip()
        if strength not in _STRENGTHS:
            raise InputError(f"{place}: strength={strength!r}; wanted {', '.join(_STRENGTHS)}")
        if "time" not in attributes:
            return _STRENGTHS[strength]
        seconds = _number("time", attributes["time"].strip())
        if seconds is None or seconds > _LONGEST_BREAK_S:
            raise InputError(f"{place}: time={attributes['time']!r}; wanted {_WANTED['time']}")
        return seconds

    def _pending_text(self, text: str) -> None:
        self._pending.append(text)

    def _take_text(self) -> str:
        """Return the text since the last tag, also added to the flow unless it belongs to a leaf."""
        text = "".join(self._pending)
        self._pending = []
        if text and self._open[-1].name not in _LEAVES:
            # White space is no layout here: a blank line ends no paragraph.
            self._flow.spans += _spans(re.sub(r"\s+", " ", text), self._open[-1].prosody)
        return text

    def _end(self, name: str) -> None:
        text = self._take_text()
        _, attributes, prosody = self._open.pop()
        if name == "break" and text.strip():
            raise InputError(f"{self._place()}: <break> has text in it; write <break/> before the text")
        if name == "phoneme":
            self._flow.spans.append(Span(phonemes=attributes["ph"].strip(), prosody=prosody))
        elif name == "sub":
            self._say(normalize_english(attributes["alias"]), prosody)
        elif name == "say-as":
            self._say(say_as(text, attributes["interpret-as"], attributes.get("format", "")), prosody)
        elif name in ("p", "s", "speak"):
            self._flush(whole=name == "s")
            if name != "s" and self.flows:
                self.flows[-1].paragraph_end = True

    def _say(self, spoken: str, prosody: Prosody) -> None:
        if spoken:
            self._flow.spans.append(Span(spoken=spoken, prosody=prosody))

    def _flush(self, whole: bool = False) -> None:
        """Close the flow in progress; pauses alone join the one before."""
        flow, self._flow = self._flow, _Flow()
        flow.whole = whole
        flow.spans = (
            [span for span in flow.spans if span.text is None or span.text.strip()] if whole else flow.spans
        )
        if any(span.pause_s is None and (span.text is None or span.text.strip()) for span in flow.spans):
            self.flows.append(flow)
        else:
            pauses = [span for span in flow.spans if span.pause_s is not None]
            if pauses and self.flows:
                self.flows[-1].spans += pauses
            elif pauses:
                self.flows.append(_Flow(pauses, whole=True))


def _sentences(flows: Sequence[_Flow]) -> Iterator[Sentence]:
    for flow in flows:
        yield from flow.sentences()


def read_ssml(document: str) -> Iterator[Sentence]:
    """Return the sentences of an SSML document; they are made lazily, but the document is checked at once.

    Prosody of nested elements: rates multiply, pitches and volumes add, within the limits of ``Prosody``.
    [[phonemes]] are read here too. Raises InputError with line and column: not well-formed, an element or
    attribute that is not supported, a value out of range, a document type (so no entities are expanded).
    """
    return _sentences(_Reader().read(document))
