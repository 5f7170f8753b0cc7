"""`s4speech synthesize`: text and SSML to audio files, or to standard output as it is spoken."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4speech.cli.options import check_use
from s4speech.cli.progress import progress
from s4speech.cli.speech_output import (
    RawOutput,
    Sink,
    audio_file,
    check_outputs,
    until_reader_stops,
    words_as_json,
)
from s4speech.cli.stop import end_on_sigterm
from s4speech.errors import InputError
from s4speech.files import write_by_rename

if TYPE_CHECKING:
    from s4speech.config.voice import VoiceConfig
    from s4speech.streaming.recognizer import Progress
    from s4speech.streaming.script import Reader, Script, SpeechOptions, Text
    from s4speech.streaming.synthesizer import Chunk, Synthesizer, WordTiming

DEFAULT_VOICE = "en-tts"
STANDARD_INPUT = "-"


def synthesize(
    text: Annotated[
        list[str] | None,
        typer.Argument(help="What to say; - or nothing: standard input.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help=f"Voice directory or bundled name; default: {DEFAULT_VOICE}."),
    ] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output-file", "-f", "-o", help="Write a .wav, .flac or .ogg file.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-d", help="Write a file for each line of text: 0001.wav is line 1."),
    ] = None,
    output_raw: Annotated[
        bool,
        typer.Option("--output-raw", help="16-bit samples without a header on standard output, as made."),
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Small chunks from the start; into a pipe: as --output-raw.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the times of the words; with -d a line a file.")
    ] = None,
    speaker: Annotated[
        str | None, typer.Option("--speaker", "-s", help="Name or number; default: the voice's first.")
    ] = None,
    length_scale: Annotated[
        float, typer.Option("--length-scale", help="Factor on durations, 0.1 to 10.")
    ] = 1.0,
    pitch: Annotated[float, typer.Option("--pitch", help="Semitones up or down, -24 to 24.")] = 0.0,
    volume: Annotated[float, typer.Option("--volume", help="Factor on the samples, 0 to 10.")] = 1.0,
    sentence_silence: Annotated[
        float, typer.Option("--sentence-silence", help="Seconds between sentences; twice that at paragraphs.")
    ] = 0.2,
    ssml: Annotated[
        bool, typer.Option("--ssml", help="The text is SSML; found out by itself if it begins with <speak.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print each sentence as it is read, and its phonemes.")
    ] = False,
) -> None:
    """Say a text: into a file with -f, a file a line with -d, or as raw samples for a player.

    Plain text may have [[phonemes]] in it. Without any of these options nothing is said. Ctrl-C leaves no
    file half written.
    """
    # Everything that can be wrong with the request is found before torch is imported.
    from s4speech.streaming.script import SpeechOptions, read_script, speaker_number

    options = SpeechOptions(length_scale, pitch, volume, sentence_silence)
    check_use(not dry_run, "speech, which --dry-run makes none of", json=json_file, stream=stream)
    check_use(output_dir is None, "-f and --output-raw", stream=stream)
    if not dry_run:
        check_outputs(output_file, output_dir, output_raw, stream, json_file)
    folder = _find_voice(model, needed=not dry_run)
    config = None if folder is None else _config(folder)
    number = 0 if config is None else speaker_number(config.speakers, speaker)
    given, is_ssml = _text(text or []), True if ssml else None
    if folder is not None and output_dir is not None and not dry_run:
        lines = _numbered_lines(given)
        begun = chain([next(lines)], lines)
        with end_on_sigterm():
            voice = _Speaker(_load(folder), options, number, json_file is not None)
            _say_lines(voice, begun, is_ssml, output_dir, json_file)
        return
    script = read_script(given, _reader(config), is_ssml, sentence_silence)
    if folder is None or dry_run:
        _print(script)
        return
    with end_on_sigterm():
        soon = output_file is None or stream
        times = _Speaker(_load(folder), options, number, json_file is not None, soon).say(script, output_file)
        if json_file is not None:
            write_by_rename(json_file, times)


@dataclass(frozen=True)
class _Speaker:
    """timed: the words' times are wanted. soon: small chunks from the start."""

    synthesizer: "Synthesizer"
    options: "SpeechOptions"
    number: int
    timed: bool
    soon: bool = False

    def say(self, script: "Script", path: Path | None, **named: str) -> str:
        """Say it into a file, or as raw samples; return the words' times as JSON, `named` among them."""
        rate = self.synthesizer.sample_rate_hz
        output: AbstractContextManager[Sink] = (
            nullcontext(RawOutput(rate)) if path is None else audio_file(path, rate)
        )
        bar: AbstractContextManager[Progress | None] = nullcontext() if path is None else progress(path.name)
        words: list[WordTiming] = []
        done_s = 0.0
        with output as sink, bar as report:
            for chunk in self._chunks(script):
                sink.write(chunk.samples)
                if self.timed:
                    words += chunk.words
                done_s += chunk.duration_s
                if report is not None:
                    report(done_s, None)
        return words_as_json(words, rate, done_s, **named)

    def _chunks(self, script: "Script") -> "Iterator[Chunk]":
        from s4speech.streaming.synthesizer import FIRST_CHUNK_S, WHOLE_CHUNK_S

        first_s = FIRST_CHUNK_S if self.soon else WHOLE_CHUNK_S
        return self.synthesizer.say(script, self.number, self.options, first_chunk_s=first_s)


def _say_lines(
    speaker: _Speaker,
    lines: Iterator[tuple[int, str]],
    ssml: bool | None,
    folder: Path,
    json_file: Path | None,
) -> None:
    """Each line into a file of its own. Raises Exit(2) at the end: there was one that cannot be said."""
    from s4speech.streaming.script import read_script

    times, complete = list[str](), True
    for number, line in lines:
        name = f"{number:04d}.wav"
        try:
            script = read_script(line, speaker.synthesizer.reader, ssml, speaker.options.sentence_silence)
            times.append(speaker.say(script, folder / name, file=name))
        except InputError as error:
            print(f"s4speech: line {number}: {error}", file=sys.stderr)
            complete = False
    if json_file is not None:
        write_by_rename(json_file, "".join(times))
    if not complete:
        raise typer.Exit(2)


def _text(words: list[str]) -> "Text":
    """The text of the command line, or that of standard input, a line after another.

    Raises InputError: there is neither; while it is read: not UTF-8. SSML is read as a whole.
    """
    from s4speech.streaming.script import is_ssml

    if words and words != [STANDARD_INPUT]:
        return " ".join(words)
    if sys.stdin is None or (sys.stdin.isatty() and not words):
        raise InputError("synthesize: nothing to say; give a text, or pipe one into standard input")
    lines = _standard_input()
    first = list[str]()
    for line in lines:
        first.append(line)
        if line.strip():
            break
    return "".join([*first, *lines]) if is_ssml("".join(first)) else chain(first, lines)


def _standard_input() -> Iterator[str]:
    live = sys.stdin.isatty()
    try:
        for line in io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig"):
            yield (
                line + "\n" if live else line
            )  # what was typed is said at once: a blank line ends a paragraph
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input: byte {error.object[error.start]:#04x} is not UTF-8; convert the text to UTF-8"
        ) from error


def _numbered_lines(text: "Text") -> Iterator[tuple[int, str]]:
    """Number of each line that is not blank, from 1, and the line. Raises InputError: there is none."""
    none = True
    for number, line in enumerate(text.splitlines() if isinstance(text, str) else text, start=1):
        if line.strip():
            none = False
            yield number, line
    if none:
        raise InputError("text: is empty; give some words")


def _print(script: "Script") -> None:
    from s4speech.streaming.script import Utterance

    with until_reader_stops():
        for item in script:
            if isinstance(item, Utterance):
                typer.echo(f"{item.spoken}\n  {item.phonemes}")


def _find_voice(model: str | None, *, needed: bool) -> Path | None:
    """The voice's directory; None: none was asked for, none is bundled, and none is needed."""
    from s4speech.streaming.pretrained import bundled_models, find_model

    if model is None and DEFAULT_VOICE not in bundled_models():
        if needed:
            raise InputError(
                "synthesize: no voice given; give a voice directory with -m DIR, or train one with"
                " `python -m recipes tts egs/kathleen/tts/recipe.yaml` in a clone of the repository"
            )
        return None
    return find_model(model or DEFAULT_VOICE, "tts")


def _config(folder: Path) -> "VoiceConfig":
    from s4speech.config.base import load_config
    from s4speech.config.voice import VoiceConfig

    return load_config(VoiceConfig, folder / "config.yaml")


def _reader(config: "VoiceConfig | None") -> "Reader":
    """What turns words into tokens. torch is imported only when a word is not in the lexicon."""
    from s4speech.streaming.pretrained import letter_to_sound
    from s4speech.text.characters import Speller
    from s4speech.text.phonemes import Pronouncer

    if config is not None and config.unit == "characters":
        return Speller()
    return Pronouncer(lambda word: letter_to_sound()(word))


def _load(folder: Path) -> "Synthesizer":
    import torch

    from s4speech.streaming.synthesizer import Synthesizer

    if "OMP_NUM_THREADS" not in os.environ:
        # Two gain a fifth on an idle machine, and on a busy one they wait for each other.
        torch.set_num_threads(1)
    return Synthesizer.load(folder)
