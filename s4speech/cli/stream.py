"""Recordings through sessions, from their first block to their last word, shown as they are heard."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s4speech.cli.inputs import Input, PCMOptions, at_real_time, check_whole, open_source
from s4speech.cli.output import GrowingFile, Outputs
from s4speech.cli.progress import progress
from s4speech.cli.stop import Stopped, StopSignals
from s4speech.errors import InputError

if TYPE_CHECKING:
    from s4speech.audio.blocks import AudioBlocks
    from s4speech.audio.microphone import Microphone
    from s4speech.cli.live import Display
    from s4speech.streaming.events import Event
    from s4speech.streaming.recognizer import Progress
    from s4speech.streaming.session import Session

_BLOCK_S = 0.1  # so soon a file hears of a signal, and its words are shown


@dataclass(frozen=True)
class Listener:
    """Transcribes one input after another while it is heard."""

    outputs: Outputs
    pcm: PCMOptions
    max_duration_s: float
    real_time: bool
    microphone: "Microphone | None"  # the one input, if there is one

    def transcribe(self, one: Input, session: "Session", stop: StopSignals) -> None:
        """Transcribe an input with a new session, until it ends or a signal comes.

        Raises InputError: bad audio, after everything before it was heard and shown.
        """
        if self.microphone is not None:
            self._record(one, session, stop, self.microphone)
            return
        from s4speech.audio.blocks import read_blocks

        source = open_source(one, self.pcm)
        opening = read_blocks(source, block_s=_BLOCK_S, max_duration_s=self.max_duration_s)
        self._show(one, opening, session, stop)
        check_whole(source)

    def _record(self, one: Input, session: "Session", stop: StopSignals, microphone: "Microphone") -> None:
        from s4speech.audio.microphone import record

        if sys.stderr.isatty():
            print(f"listening to {microphone.name}; Ctrl-C ends it", file=sys.stderr)
        self._show(one, record(microphone), session, stop)
        if microphone.lost_s:
            raise InputError(
                f"microphone: {microphone.lost_s:.1f} s were lost, for recognition was too slow;"
                " use a larger --chunk-ms or a smaller model"
            )

    def _show(
        self,
        one: Input,
        opening: "AbstractContextManager[AudioBlocks]",
        session: "Session",
        stop: StopSignals,
    ) -> None:
        with ExitStack() as stack:
            try:
                with stop.waiting():  # a pipe may have to be read to its end first
                    audio = stack.enter_context(opening)
            except Stopped:
                return
            audio = at_real_time(audio) if self.real_time else audio
            displays = self._displays(one)
            # Text and a bar on one terminal would be in each other's way.
            report = None if self.outputs.terminal else stack.enter_context(progress(one.output.name))
            listen(session, audio, displays, stop, report)

    def _displays(self, one: Input) -> "list[Display]":
        from s4speech.cli.formats import document
        from s4speech.cli.live import Finals, JSONLines, LiveLine, to_stdout

        outputs = self.outputs
        displays: list[Display] = []
        if outputs.live:
            displays.append(LiveLine(sys.stdout, f"{one.name}: " if outputs.several else ""))
        for extension in outputs.extensions:
            empty = document(
                extension,
                one.output.name,
                max_line_width=outputs.max_line_width,
                word_timestamps=outputs.word_timestamps,
            )
            if outputs.directory is not None:
                file = GrowingFile(outputs.path(one, extension))
                displays.append(Finals(empty, file.write, file.close))
            elif not outputs.live and extension == "json":
                displays.append(JSONLines(to_stdout(), one.name if outputs.several else None))
            elif not outputs.live:
                named = outputs.several and extension != "ctm"  # whose lines begin with a name
                displays.append(Finals(empty, to_stdout(f"{one.name}: " if named else "")))
        return displays


def listen(
    session: "Session",
    audio: "AudioBlocks",
    displays: "Sequence[Display]",
    stop: StopSignals,
    report: "Progress | None" = None,
) -> None:
    """Feed a session until the audio ends, is found bad, or a signal comes; then finish the segment.

    Raises InputError: bad audio, after everything before it was heard and shown.
    """
    heard_s = 0.0
    failure: InputError | None = None

    def show(events: "list[Event]") -> None:
        for event in events:
            for display in displays:
                display.show(event)

    try:
        while stop.received is None:
            with stop.waiting():
                block = next(audio.blocks, None)
            if block is None:
                break
            show(session.accept(block, audio.sample_rate_hz))
            heard_s += len(block) / audio.sample_rate_hz
            if report is not None:
                report(heard_s, audio.duration_s)
    except InputError as error:
        failure = error
    except Stopped:
        pass
    show(session.finish())
    for display in displays:
        display.close(heard_s)
    if failure is not None:
        raise failure
