"""A transcript as txt, vtt, srt, tsv or json: whisper's formats and names."""

import html
import json
from collections.abc import Callable, Iterator
from typing import Any

from s4speech.streaming.transcript import Segment, Transcript, Word


def as_txt(transcript: Transcript, max_line_width: int | None = None) -> str:
    """Return one line a segment, or lines of at most ``max_line_width`` characters."""
    return "".join(f"{text}\n" for _, _, text in _cues(transcript, max_line_width))


def as_srt(transcript: Transcript, max_line_width: int | None = None) -> str:
    """Return SubRip subtitles: numbered cues, times with a comma."""
    return "".join(
        f"{number}\n{_clock(start, ',', True)} --> {_clock(end, ',', True)}\n{_srt_text(text)}\n\n"
        for number, (start, end, text) in enumerate(_cues(transcript, max_line_width), start=1)
    )


def as_vtt(transcript: Transcript, max_line_width: int | None = None) -> str:
    """Return WebVTT subtitles: times with a dot, hours only when there are any."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start, '.', False)} --> {_clock(end, '.', False)}\n{_vtt_text(text)}\n\n"
        for start, end, text in _cues(transcript, max_line_width)
    )


def as_tsv(transcript: Transcript, max_line_width: int | None = None) -> str:
    """Return a table of start and end in whole milliseconds, and the text, between tabs."""
    return "start\tend\ttext\n" + "".join(
        f"{_milliseconds(start)}\t{_milliseconds(end)}\t{' '.join(text.split())}\n"
        for start, end, text in _cues(transcript, max_line_width)
    )


def as_dict(transcript: Transcript, word_timestamps: bool = False) -> dict[str, Any]:
    """Return plain data under whisper's names; times in seconds to the millisecond."""
    return {
        "text": transcript.text,
        "duration": round(transcript.duration_s, 3),
        "segments": [
            _segment_as_dict(number, segment, word_timestamps)
            for number, segment in enumerate(transcript.segments)
        ],
    }


def as_json(transcript: Transcript, word_timestamps: bool = False) -> str:
    """Return `as_dict` as JSON text."""
    return json.dumps(as_dict(transcript, word_timestamps), ensure_ascii=False, indent=2) + "\n"


# Formats that show lines of text, by the extension of their files; json is the other one.
LINE_FORMATS: dict[str, Callable[[Transcript, int | None], str]] = {
    "txt": as_txt,
    "vtt": as_vtt,
    "srt": as_srt,
    "tsv": as_tsv,
}


def render(
    transcript: Transcript,
    extension: str,
    *,
    max_line_width: int | None = None,
    word_timestamps: bool = False,
) -> str:
    """Return the content of the file with this extension (txt, vtt, srt, tsv or json)."""
    if extension == "json":
        return as_json(transcript, word_timestamps)
    return LINE_FORMATS[extension](transcript, max_line_width)


def _segment_as_dict(number: int, segment: Segment, word_timestamps: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": number,
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


def _cues(transcript: Transcript, max_line_width: int | None) -> Iterator[tuple[float, float, str]]:
    """Yield (start, end, text) of each segment, or of each line when a width is given."""
    for segment in transcript.segments:
        if max_line_width is None or not segment.words:
            yield segment.start_s, segment.end_s, segment.text
            continue
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


def _srt_text(text: str) -> str:
    """Keep blank lines and ``-->`` out of a cue; SubRip has no escapes, so it is shortened."""
    return " ".join(text.split()).replace("-->", "->")


def _vtt_text(text: str) -> str:
    """Keep blank lines out of a cue and escape what WebVTT reads as tags, entities or ``-->``."""
    return html.escape(" ".join(text.split()), quote=False)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _clock(seconds: float, mark: str, always_hours: bool) -> str:
    """Return [HH:]MM:SS and the milliseconds after ``mark``."""
    minutes, milliseconds = divmod(_milliseconds(seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours:02d}:" if hours or always_hours else ""
    return f"{head}{minutes:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"
