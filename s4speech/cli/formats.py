"""A transcript as txt, vtt, srt, tsv or json: whisper's formats and names; or as ctm, for sclite."""

import html
import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from s4speech.metrics.timed import TimedWord, ctm_line
from s4speech.streaming.transcript import Segment, Transcript, Word


class Document(Protocol):
    """A file that grows a segment at a time: the text of ``begin``, of every ``add`` and of ``end``."""

    def begin(self) -> str: ...
    def add(self, segment: Segment) -> str: ...
    def end(self, duration_s: float) -> str: ...


def document(
    extension: str, name: str, *, max_line_width: int | None = None, word_timestamps: bool = False
) -> Document:
    """Return an empty file with this extension (txt, vtt, srt, tsv, ctm or json). name: of the recording."""
    if extension == "json":
        return _JSONDocument(word_timestamps)
    if extension == "ctm":
        return _CTMDocument(name)
    return _CueDocument(extension, max_line_width)


def render(
    transcript: Transcript,
    extension: str,
    name: str,
    *,
    max_line_width: int | None = None,
    word_timestamps: bool = False,
) -> str:
    """Return the content of the file with this extension, as `document` has it."""
    if extension == "json":
        return as_json(transcript, word_timestamps)
    file = document(extension, name, max_line_width=max_line_width)
    return file.begin() + "".join(map(file.add, transcript.segments)) + file.end(transcript.duration_s)


def as_dict(transcript: Transcript, word_timestamps: bool = False) -> dict[str, Any]:
    """Return plain data under whisper's names; times in seconds to the millisecond."""
    return {
        "text": transcript.text,
        "duration": round(transcript.duration_s, 3),
        "segments": [
            {"id": number} | segment_as_dict(segment, word_timestamps)
            for number, segment in enumerate(transcript.segments)
        ],
    }


def as_json(transcript: Transcript, word_timestamps: bool = False) -> str:
    """Return `as_dict` as JSON text."""
    return json.dumps(as_dict(transcript, word_timestamps), ensure_ascii=False, indent=2) + "\n"


def segment_as_dict(segment: Segment, word_timestamps: bool) -> dict[str, Any]:
    """Return one segment as `as_dict` has it, without its number."""
    plain: dict[str, Any] = {
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
    }
    if word_timestamps:
        plain["words"] = [
            {
                "word": word.text,
                "start": round(word.start_s, 3),
                "end": round(word.end_s, 3),
                "probability": round(word.confidence, 4),
            }
            for word in segment.words
        ]
    return plain


def clock(seconds: float, mark: str = ".", always_hours: bool = False) -> str:
    """Return [HH:]MM:SS and the milliseconds after ``mark``."""
    minutes, milliseconds = divmod(_milliseconds(seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours:02d}:" if hours or always_hours else ""
    return f"{head}{minutes:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"


def _srt_cue(number: int, start_s: float, end_s: float, text: str) -> str:
    # Blank lines and --> would end a cue; SubRip has no escapes, so the arrow is shortened.
    shown = " ".join(text.split()).replace("-->", "->")
    return f"{number}\n{clock(start_s, ',', True)} --> {clock(end_s, ',', True)}\n{shown}\n\n"


def _vtt_cue(_: int, start_s: float, end_s: float, text: str) -> str:
    # Escaped: what WebVTT reads as tags, entities or -->.
    shown = html.escape(" ".join(text.split()), quote=False)
    return f"{clock(start_s)} --> {clock(end_s)}\n{shown}\n\n"


def _tsv_cue(_: int, start_s: float, end_s: float, text: str) -> str:
    return f"{_milliseconds(start_s)}\t{_milliseconds(end_s)}\t{' '.join(text.split())}\n"


def _txt_cue(_number: int, _start_s: float, _end_s: float, text: str) -> str:
    return f"{text}\n"


# What the file begins with, and a cue of it.
_CUES: dict[str, tuple[str, Callable[[int, float, float, str], str]]] = {
    "txt": ("", _txt_cue),
    "vtt": ("WEBVTT\n\n", _vtt_cue),
    "srt": ("", _srt_cue),
    "tsv": ("start\tend\ttext\n", _tsv_cue),
}


class _CueDocument:
    """Formats that show lines of text: each segment is one cue, or one cue a line of limited width."""

    def __init__(self, extension: str, max_line_width: int | None) -> None:
        self._head, self._cue = _CUES[extension]
        self._width = max_line_width
        self._number = 0

    def begin(self) -> str:
        return self._head

    def add(self, segment: Segment) -> str:
        text = ""
        for start_s, end_s, line in _cues(segment, self._width):
            self._number += 1
            text += self._cue(self._number, start_s, end_s, line)
        return text

    def end(self, duration_s: float) -> str:
        return ""


def ctm_name(recording: str) -> str:
    """Return a recording's name without spaces, which cannot stand in CTM: each is an underscore."""
    return "_".join(recording.split())


class _CTMDocument:
    """Words with their times and confidences."""

    def __init__(self, name: str) -> None:
        self._recording = ctm_name(name)

    def begin(self) -> str:
        return ""

    def add(self, segment: Segment) -> str:
        return "".join(
            ctm_line(
                TimedWord(
                    self._recording, "1", word.start_s, word.end_s - word.start_s, word.text, word.confidence
                )
            )
            for word in segment.words
        )

    def end(self, duration_s: float) -> str:
        return ""


class _JSONDocument:
    """The keys of `as_dict`, with the segments first: they are not kept until the end."""

    def __init__(self, word_timestamps: bool) -> None:
        self._word_timestamps = word_timestamps
        self._texts: list[str] = []

    def begin(self) -> str:
        return '{"segments": ['

    def add(self, segment: Segment) -> str:
        plain = {"id": len(self._texts)} | segment_as_dict(segment, self._word_timestamps)
        comma = "," if self._texts else ""
        self._texts.append(segment.text)
        return f"{comma}\n{json.dumps(plain, ensure_ascii=False)}"

    def end(self, duration_s: float) -> str:
        rest = {"text": " ".join(self._texts), "duration": round(duration_s, 3)}
        return "\n],\n" + json.dumps(rest, ensure_ascii=False)[1:] + "\n"


def _cues(segment: Segment, max_line_width: int | None) -> Iterator[tuple[float, float, str]]:
    """Yield (start, end, text) of the segment, or of each of its lines when a width is given."""
    if max_line_width is None or not segment.words:
        yield segment.start_s, segment.end_s, segment.text
        return
    for line in _lines(segment.words, max_line_width):
        yield line[0].start_s, line[-1].end_s, " ".join(word.text for word in line)


def _lines(words: tuple[Word, ...], width: int) -> Iterator[list[Word]]:
    """Fill lines with words; a word longer than ``width`` characters has a line of its own."""
    line: list[Word] = []
    used = 0
    for word in words:
        if line and used + 1 + len(word.text) > width:
            yield line
            line, used = [], 0
        used += len(word.text) + (1 if line else 0)
        line.append(word)
    if line:
        yield line


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
