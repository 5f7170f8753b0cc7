"""Does a long stream say what its recordings say alone?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from s4speech.metrics.alignment import align
from s4speech.streaming.bench_audio import AudioLoop
from s4speech.streaming.events import Event, Final
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.transcript import Word

JOINT_S = 1.0  # what differs nearer than this to where two recordings meet is laid to the joint


@dataclass(frozen=True)
class Comparison:
    """Words of the recordings alone, and how many of them are others in the stream (edits), by place."""

    words: int
    differ: int
    differ_inside: int  # farther than JOINT_S from both ends of a recording


class WordLog:
    """The words of a stream, kept in a file: hours of them would be memory that grows."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, events: Iterable[Event]) -> None:
        """Take the words of finals."""
        for event in events:
            if isinstance(event, Final):
                for word in event.segment.words:
                    self._file.write(f"{word.start_s:.3f} {word.text}\n")

    def words(self) -> Iterator[tuple[float, str]]:
        """When each began, in seconds, and the word."""
        self._file.seek(0)
        for line in self._file:
            start_s, _, text = line.rstrip("\n").partition(" ")
            yield float(start_s), text


def compare_with_recordings(
    recognizer: Recognizer, chunk_ms: float | None, audio: AudioLoop, log: WordLog, seconds: float
) -> Comparison:
    """Compare the words of a stream that went round the loop for ``seconds`` with each recording's alone."""
    said = list(log.words())
    first = 0
    alone: dict[int, list[tuple[float, str]]] = {}
    words = differ = inside = 0
    for number, start_s, end_s in _occurrences(audio, seconds):
        if number not in alone:
            alone[number] = _hear_alone(recognizer, chunk_ms, audio, audio.pieces[number])
        last = first
        while last < len(said) and said[last][0] < end_s:
            last += 1
        here = [(at_s - start_s, text) for at_s, text in said[first:last]]
        first = last
        places = list(_edits(alone[number], here))
        words += len(alone[number])
        differ += len(places)
        inside += sum(JOINT_S <= place <= end_s - start_s - JOINT_S for place in places)
    return Comparison(words, differ, inside)


def _occurrences(audio: AudioLoop, seconds: float) -> Iterator[tuple[int, float, float]]:
    """Each recording that was heard to its end: its number, and from when to when in the stream."""
    rounds = 0
    while True:
        for number, piece in enumerate(audio.pieces):
            start_s = (rounds * len(audio) + piece.start) / audio.sample_rate
            end_s = (rounds * len(audio) + piece.stop) / audio.sample_rate
            if end_s > seconds:
                return
            yield number, start_s, end_s
        rounds += 1


def _hear_alone(
    recognizer: Recognizer, chunk_ms: float | None, audio: AudioLoop, piece: slice
) -> list[tuple[float, str]]:
    with recognizer.stream(chunk_ms=chunk_ms) as session:
        events = session.accept(audio.read(piece.start, piece.stop - piece.start), audio.sample_rate)
        events += session.finish()
    finals = [event.segment for event in events if isinstance(event, Final)]
    return [_placed(word) for segment in finals for word in segment.words]


def _placed(word: Word) -> tuple[float, str]:
    return word.start_s, word.text


def _edits(ref: Sequence[tuple[float, str]], hyp: Sequence[tuple[float, str]]) -> Iterator[float]:
    """When each word that is in one only, or is another one in the other, is said."""
    pairs = align(" ".join(text for _, text in ref), " ".join(text for _, text in hyp))
    old, new = iter(ref), iter(hyp)
    for pair in pairs:
        times = [next(words)[0] for words, mark in ((old, "I"), (new, "D")) if pair.mark != mark]
        if pair.mark != "C":
            yield times[0]
