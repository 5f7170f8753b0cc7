"""Transcripts with times: CTM (words) and STM (segments of a reference), as sclite reads them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.metrics.trn import text_lines

# In the text of an STM segment that is not to be scored; sclite knows it with and without underscores.
IGNORED = "ignoretimesegmentinscoring"


@dataclass(frozen=True)
class TimedWord:
    """A line of a CTM file."""

    recording: str
    channel: str
    start_s: float
    duration_s: float
    word: str
    confidence: float | None = None

    @property
    def middle_s(self) -> float:
        """The time that decides which segment the word belongs to."""
        return self.start_s + self.duration_s / 2


@dataclass(frozen=True)
class Segment:
    """A line of an STM file."""

    recording: str
    channel: str
    speaker: str
    start_s: float
    end_s: float
    text: str  # with alternatives and optional words (`s4speech.metrics.network`)
    line: int  # of the file


def read_ctm(path: str | Path) -> list[TimedWord]:
    """Read a CTM file, ``recording channel start duration word [confidence]`` a line, in the file's order.

    Raises InputError: unreadable, not UTF-8, or a line that is no such (naming file and line). Alternatives
    (``<ALT_BEGIN>``) are refused.
    """
    words = []
    for number, line in text_lines(path, "CTM"):
        fields = line.split()
        if len(fields) not in (5, 6):
            wanted = "wanted 'recording channel start duration word [confidence]'"
            raise InputError(f"{path}:{number}: got {len(fields)} fields; {wanted}")
        if fields[4].upper().startswith("<ALT"):
            wanted = "wanted words only; write the alternatives into an STM reference as { a / b }"
            raise InputError(f"{path}:{number}: got '{fields[4]}', alternatives; {wanted}")
        start, duration = (_seconds(path, number, field) for field in fields[2:4])
        confidence = _number(path, number, fields[5], "confidence") if len(fields) == 6 else None
        words.append(TimedWord(fields[0], fields[1], start, duration, fields[4], confidence))
    return words


def write_ctm(path: str | Path, words: Iterable[TimedWord]) -> None:
    """Write ``words`` as a CTM file in the order that sclite wants, by rename.

    Raises InputError: a recording, a channel or a word that is empty or holds a space.
    """
    ordered = sorted(words, key=lambda word: (word.recording, word.channel, word.start_s))
    try:
        write_by_rename(path, "".join(map(ctm_line, ordered)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def ctm_line(word: TimedWord) -> str:
    """A line of a CTM file. Raises InputError: recording, channel or word is empty or holds a space."""
    for name in ("recording", "channel", "word"):
        value = getattr(word, name)
        if len(value.split()) != 1 or value != value.strip():
            raise InputError(f"the {name} '{value}' cannot stand in CTM; wanted it without spaces")
    confidence = "" if word.confidence is None else f" {word.confidence:.4f}"
    times = f"{word.start_s:.3f} {word.duration_s:.3f}"
    return f"{word.recording} {word.channel} {times} {word.word}{confidence}\n"


def read_stm(path: str | Path) -> list[Segment]:
    """Read an STM file, ``recording channel speaker start end [<labels>] words`` a line, sorted by time.

    Segments that are not to be scored are among them (`IGNORED`); labels are dropped.

    Raises InputError: unreadable, not UTF-8, or a line that is no such (naming file and line).
    """
    segments = []
    for number, line in text_lines(path, "STM"):
        fields = line.split(maxsplit=5)
        if len(fields) < 5:
            wanted = "wanted 'recording channel speaker start end words'"
            raise InputError(f"{path}:{number}: got {len(fields)} fields; {wanted}")
        start, end = (_seconds(path, number, field) for field in fields[3:5])
        if end < start:
            raise InputError(f"{path}:{number}: the segment ends at {end:g} s, before its start {start:g} s")
        text = fields[5].strip() if len(fields) > 5 else ""
        if text.startswith("<") and ">" in text:
            text = text.partition(">")[2].strip()
        segments.append(Segment(fields[0], fields[1], fields[2], start, end, text, number))
    if not segments:
        raise InputError(f"{path}: no segments; wanted 'recording channel speaker start end words'")
    return sorted(segments, key=lambda segment: (*_side(segment), segment.start_s))


def cut(
    segments: Sequence[Segment], words: Sequence[TimedWord], path: str | Path
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Give each word of a CTM file to a segment. Returns references, hypotheses and speakers by id.

    As sclite: a word belongs to the first segment of its recording and channel that ends after its middle,
    and to the last one if none does, so no word is lost. A segment without words has an empty hypothesis;
    ignored segments swallow theirs. Ids are ``speaker-NNN``.

    Raises InputError: words of a recording and channel that the segments lack (naming it and ``path``).
    """
    waiting: dict[tuple[str, str], list[TimedWord]] = {}
    for word in words:
        waiting.setdefault(_side(word), []).append(word)
    known = {_side(segment) for segment in segments}
    if foreign := [words for side, words in waiting.items() if side not in known]:
        first = foreign[0][0]
        raise InputError(
            f"{path}: recording '{first.recording}' channel '{first.channel}' is not in the reference;"
            f" it has '{segments[0].recording}' '{segments[0].channel}' and so on; rename one of them"
        )
    last = {_side(segment): segment for segment in segments}
    refs, hyps, speakers = {}, {}, {}
    counted: dict[str, int] = {}
    for side in waiting:
        waiting[side].sort(key=lambda word: word.start_s)
    for segment in segments:
        left = waiting.get(_side(segment), [])
        size = next((i for i, word in enumerate(left) if word.middle_s >= segment.end_s), len(left))
        if segment is last[_side(segment)]:
            size = len(left)
        heard, left[:] = left[:size], left[size:]
        if IGNORED in segment.text.lower().replace("_", ""):
            continue
        number = counted.get(segment.speaker, 0)
        counted[segment.speaker] = number + 1
        name = f"{segment.speaker}-{number:03d}"
        refs[name], speakers[name] = segment.text, segment.speaker
        hyps[name] = " ".join(word.word for word in heard)
    return refs, hyps, speakers


def by_recording(words: Sequence[TimedWord]) -> dict[str, str]:
    """Return the text of each recording, or ``recording-channel`` of one with several channels."""
    sides: dict[tuple[str, str], list[TimedWord]] = {}
    channels: dict[str, set[str]] = {}
    for word in words:
        sides.setdefault((word.recording, word.channel), []).append(word)
        channels.setdefault(word.recording, set()).add(word.channel)
    return {
        recording if len(channels[recording]) == 1 else f"{recording}-{channel}": " ".join(
            word.word for word in sorted(some, key=lambda word: word.start_s)
        )
        for (recording, channel), some in sides.items()
    }


def _side(one: TimedWord | Segment) -> tuple[str, str]:
    """Return recording and channel as they are compared: "2347 A" is "2347 a"."""
    return one.recording.lower(), one.channel.lower()


def _seconds(path: str | Path, number: int, text: str) -> float:
    value = _number(path, number, text, "time")
    if value < 0:
        raise InputError(f"{path}:{number}: got the time {text}; wanted 0 or more seconds")
    return value


def _number(path: str | Path, number: int, text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value - value != 0:  # nan or infinite
        raise InputError(f"{path}:{number}: got '{text}' for a {what}; wanted a number")
    return value
