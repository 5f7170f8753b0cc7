"""The command line around a recogniser without a model: it says a word for every 0.25 s of audio it hears.

`python -m tests.fake_recognizer` takes the arguments of `s4speech`, less the model.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

from s4speech.audio.blocks import read_blocks
from s4speech.cli import transcribe
from s4speech.cli.main import main
from s4speech.streaming.events import Final, Partial
from s4speech.streaming.transcript import Segment, Transcript, Word

WORDS = ["ALPHA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT", "GOLF", "HOTEL"]
WORD_S = 0.25
SEGMENT_S = len(WORDS) * WORD_S  # a segment is all the words


class FakeSession:
    """All words but the last one are stable."""

    def __init__(self):
        self._heard_s, self._said, self._done = 0.0, 0, 0

    def accept(self, samples, sample_rate):
        self._heard_s += len(samples) / sample_rate
        events = []
        while self._said < int(self._heard_s / WORD_S + 1e-6):
            self._said += 1
            words = [word.text for word in self._words()]
            if len(words) == len(WORDS):
                events += self._close("pause")
            else:
                start_s = self._done * WORD_S
                events.append(Partial(" ".join(words), " ".join(words[:-1]), start_s, self._heard_s))
        return events

    def finish(self):
        return self._close("end")

    def _words(self):
        return tuple(
            Word(WORDS[i % len(WORDS)], i * WORD_S, (i + 1) * WORD_S, 0.5)
            for i in range(self._done, self._said)
        )

    def _close(self, reason):
        words = self._words()
        self._done = self._said
        if not words:
            return []
        text = " ".join(word.text for word in words)
        return [Final(Segment(text, words[0].start_s, words[-1].end_s, words), reason)]


class FakeRecognizer:
    """As much of a `Recognizer` as the command line uses."""

    config = SimpleNamespace(streaming=None)

    def stream(self, **options):
        return FakeSession()

    def transcribe_file(self, source, *, progress, **options):
        session, segments, heard_s = FakeSession(), [], 0.0
        with read_blocks(source) as audio:
            for block in audio:
                heard_s += len(block) / audio.sample_rate_hz
                segments += [
                    e.segment for e in session.accept(block, audio.sample_rate_hz) if isinstance(e, Final)
                ]
                if progress is not None:
                    progress(heard_s, audio.duration_s)
        segments += [event.segment for event in session.finish()]
        words = tuple(word for one in segments for word in one.words)
        return Transcript(" ".join(one.text for one in segments), tuple(segments), words, heard_s)


def run_here(capfd, monkeypatch):
    """`transcribe` with the fake, a function: arguments -> (exit code, standard output, standard error)."""
    monkeypatch.setattr(transcribe, "_checked_model", lambda model: None)
    monkeypatch.setattr(transcribe, "_load", lambda directory, device: FakeRecognizer())

    def command(*arguments):
        code = None
        try:
            main(["transcribe", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command


def run(arguments):
    """Run the command line with the fake."""
    transcribe._checked_model = lambda model: Path()
    transcribe._load = lambda directory, device: FakeRecognizer()
    main(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
