"""Where speech goes: files that appear whole, or standard output as it is made."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from s4speech.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from s4speech.streaming.synthesizer import WordTiming

# libsndfile's names by suffix.
FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}


class Sink(Protocol):
    """Takes samples (S,), floats."""

    def write(self, samples: "NDArray[np.float32]") -> None: ...


@contextmanager
def until_reader_stops() -> Iterator[None]:
    """End the command, without an error, when the reader of standard output (a player, head) stops."""
    try:
        yield
    except BrokenPipeError as error:  # typer would make 1 of it
        raise typer.Exit(0) from error


class RawOutput:
    """Standard output: 16-bit little-endian samples, each chunk at once."""

    def __init__(self, sample_rate: int) -> None:
        """Say on standard error what they are, for they do not."""
        print(f"s4speech: raw samples: {sample_rate} Hz, 16-bit little-endian, mono", file=sys.stderr)

    def write(self, samples: "NDArray[np.float32]") -> None:
        try:
            with until_reader_stops():
                sys.stdout.buffer.write(_int16(samples).astype("<i2").tobytes())
                sys.stdout.buffer.flush()
        except OSError as error:
            raise InputError(f"standard output: {error.strerror}; write a file with -f") from error


def check_outputs(file: Path | None, folder: Path | None, raw: bool, stream: bool, json: Path | None) -> None:
    """Raise InputError, before anything is computed, unless there is one place that can be written to.

    raw: --output-raw; stream: without a file it means the same. Makes the folder.
    """
    if sum([file is not None, folder is not None, raw]) > 1:
        raise InputError("synthesize: got several of -f, -d and --output-raw; give one")
    if file is not None:
        if file.suffix.lower() not in FORMATS:
            hint = "; for a pipe give --output-raw" if str(file) == "-" else ""
            raise InputError(f"-f {file}: wanted a file name in {', '.join(FORMATS)}{hint}")
        _check_file(file, "-f")
    elif folder is not None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"-d {folder}: is a file; give a folder for the audio files")
        folder.mkdir(parents=True, exist_ok=True)
        _check_writable(folder, f"-d {folder}")
    elif not (raw or stream):
        raise InputError(
            "synthesize: nowhere to write; give -f FILE.wav, -d FOLDER, or --output-raw for samples in a pipe"
        )
    elif sys.stdout is None:
        raise InputError("synthesize: standard output is closed; give -f FILE.wav")
    elif sys.stdout.isatty():
        raise InputError(
            f"{'--output-raw' if raw else '--stream'}: standard output is a terminal, which plays nothing;"
            " give -f FILE.wav, or pipe it into a player: | aplay -r RATE -f S16_LE"
        )
    if json is not None:
        _check_file(json, "--json")


def _check_file(path: Path, option: str) -> None:
    if path.is_dir() or (path.exists() and not path.is_file()) or str(path) == "-":
        raise InputError(f"{option} {path}: is no regular file; give the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}; make it first")
    _check_writable(path.parent, f"{option} {path}")


def _check_writable(folder: Path, what: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{what}: the folder {folder} cannot be written to; choose another")


@contextmanager
def audio_file(path: Path, sample_rate: int) -> Iterator[Sink]:
    """A file that is written under another name beside `path`, and renamed at the end of ``with``.

    After an error or Ctrl-C it is gone, and what `path` was before is still there. Raises OSError naming
    `path`: the disk is full.
    """
    import soundfile

    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    name, subtype = FORMATS[path.suffix.lower()]
    try:
        with soundfile.SoundFile(unfinished, "w", sample_rate, 1, subtype, format=name) as file:
            yield _File(file)
        unfinished.replace(path)
    except soundfile.LibsndfileError as error:
        raise OSError(None, error.error_string.rstrip("."), str(path)) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


class _File:
    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, samples: "NDArray[np.float32]") -> None:
        self._file.write(_int16(samples))


def words_as_json(words: "list[WordTiming]", sample_rate: int, duration_s: float, **more: str) -> str:
    """One line of JSON; times in seconds to the millisecond, under whisper's names."""
    plain = more | {
        "sample_rate": sample_rate,
        "duration": round(duration_s, 3),
        "words": [
            {"word": word.text, "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
            for word in words
        ],
    }
    return json.dumps(plain, ensure_ascii=False) + "\n"


def _int16(samples: "NDArray[np.float32]") -> "NDArray[np.int16]":
    import numpy as np

    whole: NDArray[np.int16] = np.round(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    return whole
