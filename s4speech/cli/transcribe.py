"""`s4speech transcribe`: audio files to text."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4speech.audio.limits import MAX_DURATION_S
from s4speech.errors import InputError

if TYPE_CHECKING:
    from s4speech.streaming.recognizer import Recognizer
    from s4speech.streaming.transcript import Transcript

Report = Callable[[float, float], None]


class Format(str, Enum):
    """Output formats, by whisper's names."""

    txt = "txt"
    vtt = "vtt"
    srt = "srt"
    tsv = "tsv"
    json = "json"
    all = "all"


def transcribe(
    files: Annotated[list[str], typer.Argument(help="Audio of any format and rate; - is standard input.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model directory or bundled name.")
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--output_format", "-f", help="What to write.")
    ] = Format.txt,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", "-o", help="Write <stem>.<format> here, not to the terminal."),
    ] = None,
    word_timestamps: Annotated[
        bool, typer.Option("--word_timestamps", help="Add each word's times to json.")
    ] = False,
    beam_size: Annotated[
        int | None, typer.Option("--beam_size", min=1, help="Hypotheses kept; default: as the model says.")
    ] = None,
    ctc_weight: Annotated[
        float | None,
        typer.Option("--ctc_weight", min=0, max=1, help="CTC's share; default: as the model says."),
    ] = None,
    max_line_width: Annotated[
        int | None, typer.Option("--max_line_width", min=1, help="Characters a line.")
    ] = None,
    max_duration: Annotated[
        float, typer.Option("--max_duration", min=0, help="Longest recording taken, in seconds.")
    ] = MAX_DURATION_S,
) -> None:
    """Transcribe audio files to the terminal, or to files with -o."""
    # Everything that can be wrong with the request is found before torch is imported.
    directory = _checked_model(model)
    writer = _Writer(files, output_format, output_dir, word_timestamps, max_line_width)
    good = [file for file in files if _survives(partial(_check, file, max_duration))]
    failed = len(good) < len(files)
    if good:
        from s4speech.streaming.recognizer import Recognizer

        recognizer = Recognizer.load(directory)
        options = {"beam": beam_size, "ctc_weight": ctc_weight, "max_duration_s": max_duration}
        for file in good:
            failed |= not _survives(partial(_transcribe_one, recognizer, file, writer, options))
    if failed:
        raise typer.Exit(2)


def _transcribe_one(recognizer: "Recognizer", file: str, writer: "_Writer", options: dict[str, Any]) -> None:
    with _progress(file) as progress:
        transcript = recognizer.transcribe_file(file, progress=progress, **options)
    writer.write(file, transcript)


class _Writer:
    """Where transcripts go: text for the terminal, or files that appear whole."""

    def __init__(
        self,
        files: list[str],
        output_format: Format,
        directory: Path | None,
        word_timestamps: bool,
        max_line_width: int | None,
    ) -> None:
        """Check that the outputs can be told apart. Raises InputError: they cannot, or no such folder."""
        self._format, self._directory = output_format, directory
        self._word_timestamps, self._max_line_width = word_timestamps, max_line_width
        self._several = len(files) > 1
        if directory is not None:
            _check_output(files, directory)
        elif output_format is Format.all or (
            self._several and output_format not in (Format.txt, Format.json)
        ):
            what = f"-f {output_format.value}" + (" of several files" if self._several else "")
            raise InputError(f"{what}: the terminal cannot hold it; give a folder with -o DIR")

    def write(self, file: str, transcript: "Transcript") -> None:
        """Write one file's transcript."""
        from s4speech.cli.formats import as_dict, render
        from s4speech.files import write_by_rename

        chosen = ["txt", "vtt", "srt", "tsv", "json"] if self._format is Format.all else [self._format.value]
        if self._directory is None and self._several:
            if self._format is Format.json:  # one object a line can be taken apart again
                plain = {"file": file} | as_dict(transcript, self._word_timestamps)
                typer.echo(json.dumps(plain, ensure_ascii=False))
            else:
                typer.echo(f"{file}: {transcript.text}")
            return
        for extension in chosen:
            content = render(
                transcript,
                extension,
                max_line_width=self._max_line_width,
                word_timestamps=self._word_timestamps,
            )
            if self._directory is None:
                typer.echo(content, nl=False)
            else:
                write_by_rename(self._directory / f"{_stem(file)}.{extension}", content)


def _check(file: str, max_duration_s: float) -> None:
    """Look at a file's header. Raises InputError: it cannot be read as audio, or is too long."""
    from s4speech.audio.io import audio_info, check_duration

    if file != "-" and not Path(file).is_fifo():  # a pipe can be read only once
        check_duration(audio_info(file), max_duration_s, file)


def _checked_model(model: str | None) -> Path:
    from s4speech.streaming.pretrained import HOW_TO_TRAIN, find_model

    if model is None:
        raise InputError(f"transcribe: no model given; give a model directory with -m DIR, or {HOW_TO_TRAIN}")
    return find_model(model)


def _check_output(files: list[str], directory: Path) -> None:
    """Make the output folder. Raises InputError: it is a file, or two inputs would write the same output."""
    by_stem: dict[str, str] = {}
    for file in files:
        other = by_stem.setdefault(_stem(file), file)
        if other != file:
            raise InputError(
                f"{file}: its output would have the name of {other}'s; give each its own folder with -o"
            )
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: is a file; wanted a folder for the transcripts after -o")
    directory.mkdir(parents=True, exist_ok=True)


def _stem(file: str) -> str:
    return "stdin" if file == "-" else Path(file).stem


def _survives(work: Callable[[], None]) -> bool:
    """Do ``work`` and return True; on bad input print the error and return False, so that others go on."""
    try:
        work()
    except InputError as error:
        print(f"s4speech: {error}", file=sys.stderr)
        return False
    except OSError as error:
        if error.filename is None:  # not about a file: the reader of our output has left
            raise
        print(f"s4speech: {error.filename}: {error.strerror}", file=sys.stderr)
        return False
    return True


@contextmanager
def _progress(file: str) -> Iterator[Report | None]:
    """Show a bar on standard error while one file is transcribed, if a person is watching."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(_stem(file), total=None)
        yield lambda done_s, total_s: bar.update(task, completed=done_s, total=total_s)
