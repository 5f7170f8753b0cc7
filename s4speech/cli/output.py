"""Where transcripts go: the terminal, or files that appear whole."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from s4speech.cli.inputs import Input
from s4speech.errors import InputError

if TYPE_CHECKING:
    from s4speech.streaming.transcript import Transcript

TEXT_FORMATS = ("txt", "vtt", "srt", "tsv", "json")  # of whisper, and written with `all`


class Outputs:
    """The formats and the place that the user asked for.

    terminal: standard output is one. live: it shows the words as they are heard, besides what goes to files.
    """

    def __init__(
        self,
        inputs: list[Input],
        output_format: str | None,
        directory: Path | None,
        *,
        streaming: bool = False,
        word_timestamps: bool = False,
        max_line_width: int | None = None,
    ) -> None:
        """Check that the outputs can be told apart. Raises InputError: they cannot, or no such folder.

        output_format: None is what suits the place. streaming: the transcript is written as it grows.
        """
        self.terminal = sys.stdout.isatty()
        can_rewrite = self.terminal and os.environ.get("TERM") != "dumb"
        self.live = streaming and can_rewrite and (directory is not None or output_format is None)
        self.directory = directory
        piped = streaming and not self.terminal and directory is None
        chosen = output_format or ("json" if piped else "txt")
        self.extensions = TEXT_FORMATS if chosen == "all" else (chosen,)
        self.several = len(inputs) > 1
        self.word_timestamps, self.max_line_width = word_timestamps, max_line_width
        if directory is not None:
            _check_names(inputs, directory)
        elif chosen == "ctm":
            _check_recordings(inputs)
        elif chosen == "all" or (self.several and chosen not in ("txt", "json")):
            what = f"-f {chosen}" + (" of several files" if self.several else "")
            raise InputError(f"{what}: the terminal cannot hold it; give a folder with -o DIR")

    def path(self, one: Input, extension: str) -> Path:
        """Return the file for a recording, in a folder that exists. Only with a directory."""
        assert self.directory is not None
        path = self.directory / one.output.with_name(f"{one.output.name}.{extension}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, one: Input, transcript: "Transcript") -> None:
        """Write the transcript of a whole recording."""
        from s4speech.cli.formats import as_dict, render
        from s4speech.files import write_by_rename

        if self.directory is None and self.several and self.extensions != ("ctm",):
            if self.extensions == ("json",):  # one object a line can be taken apart again
                plain = {"file": one.name} | as_dict(transcript, self.word_timestamps)
                typer.echo(json.dumps(plain, ensure_ascii=False))
            else:
                typer.echo(f"{one.name}: {transcript.text}")
            return
        for extension in self.extensions:
            content = render(
                transcript,
                extension,
                one.output.name,
                max_line_width=self.max_line_width,
                word_timestamps=self.word_timestamps,
            )
            if self.directory is None:
                typer.echo(content, nl=False)
            else:
                write_by_rename(self.path(one, extension), content)


class GrowingFile:
    """A file that is written while its recording goes on, under another name, and renamed at the end.

    After a crash the unfinished one is there, as far as it came. Raises OSError naming ``path``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(f"{path.name}.part")
        try:
            self._file = open(self._unfinished, "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise self._named(error) from error

    def write(self, text: str) -> None:
        """Add text; it is on its way to the disk when this returns."""
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise self._named(error) from error

    def close(self) -> None:
        """Give the file its name."""
        try:
            self._file.close()
            os.replace(self._unfinished, self._path)
        except OSError as error:
            raise self._named(error) from error

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, str(self._path))


def _check_recordings(inputs: list[Input]) -> None:
    """Raise InputError: two recordings would have one name in the CTM of all."""
    from s4speech.cli.formats import ctm_name

    for one, other in _alike(inputs, lambda one: ctm_name(one.output.name)):
        raise InputError(f"{one}: it has the name of {other} in CTM; write a file for each with -o DIR")


def _check_names(inputs: list[Input], directory: Path) -> None:
    """Make the output folder. Raises InputError: it is a file, or two inputs would write the same output."""
    for one, other in _alike(inputs, lambda one: one.output):
        raise InputError(
            f"{one}: its output would have the name of {other}'s; give each its own folder with -o"
        )
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: is a file; wanted a folder for the transcripts after -o")
    directory.mkdir(parents=True, exist_ok=True)


def _alike(inputs: list[Input], key: Callable[[Input], object]) -> Iterator[tuple[str, str]]:
    """Yield the names of inputs that share their key with another one, and that one's."""
    first: dict[object, str] = {}
    for one in inputs:
        other = first.setdefault(key(one), one.name)
        if other != one.name:
            yield one.name, other
