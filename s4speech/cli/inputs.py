"""What to transcribe: files, folders of them, standard input."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from s4speech.errors import InputError

if TYPE_CHECKING:
    from s4speech.audio.blocks import AudioBlocks, Source
    from s4speech.audio.pcm import Samples

STANDARD_INPUT = "-"
MICROPHONE = "--mic"

# What soundfile reads, and what it does not but people call audio: that is said of each such file.
_SUFFIXES = {".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"}
_SUFFIXES |= {".aifc", ".au", ".snd", ".caf", ".voc", ".sph", ".m4a", ".aac", ".wma"}


@dataclass(frozen=True)
class Input:
    """A recording."""

    name: str  # as the user wrote it, or its path below the folder that the user wrote
    output: Path  # its transcript's name, less the extension; below the output folder


@dataclass(frozen=True)
class PCMOptions:
    """How standard input without a header is to be read; None: it has a header."""

    sample_rate_hz: int | None = None
    format: str | None = None
    channels: int | None = None

    def __bool__(self) -> bool:
        return self != PCMOptions()


def find_inputs(name: str) -> list[Input]:
    """Return the recording, or those below a folder, sorted. Raises InputError: a folder without any."""
    path = Path(name)
    if name == STANDARD_INPUT:
        return [Input(name, Path("stdin"))]
    if not path.is_dir():
        return [Input(name, Path(path.stem))]
    files = [file for file in sorted(path.rglob("*")) if _is_audio(file.relative_to(path), file)]
    if not files:
        raise InputError(
            f"{name}: is a directory without audio; wanted .wav, .flac, .mp3 or the like below it"
        )
    return [Input(str(file), file.relative_to(path).with_suffix("")) for file in files]


def open_source(one: Input, pcm: PCMOptions) -> "Source":
    """Return what `read_blocks` reads. Raises InputError: options that standard input cannot have."""
    if one.name != STANDARD_INPUT or not pcm:
        return one.name
    from s4speech.audio.blocks import check_rate
    from s4speech.audio.pcm import RawPCM

    rate = 16000 if pcm.sample_rate_hz is None else pcm.sample_rate_hz
    check_rate(rate, "standard input")
    channels = 1 if pcm.channels is None else pcm.channels
    return RawPCM(sys.stdin.buffer, rate, pcm.format or "s16le", channels)


def check_input(one: Input, pcm: PCMOptions, max_duration_s: float) -> None:
    """Look at a file's header. Raises InputError: it cannot be read as audio, or is too long."""
    from s4speech.audio.blocks import audio_info, check_duration

    if one.name == STANDARD_INPUT:
        if sys.stdin is None:
            raise InputError("standard input: is closed; pipe audio into it")
        open_source(one, pcm)
        if sys.stdin.isatty():
            raise InputError("standard input: is a terminal; pipe audio into it, or use --mic")
    elif not Path(one.name).is_fifo():  # a pipe can be read only once
        check_duration(audio_info(one.name), max_duration_s, one.name)


def check_whole(source: "Source") -> None:
    """Raise InputError when headerless samples ended within one; all before it has been transcribed."""
    from s4speech.audio.pcm import PCM_FORMATS, RawPCM

    if isinstance(source, RawPCM) and source.left_over:
        width = PCM_FORMATS[source.format] * source.channels
        raise InputError(
            f"{source.name}: ends in the middle of a sample ({source.left_over} of {width} bytes), which is"
            f" left out; is it {source.format} with {source.channels} channel{'s' * (source.channels > 1)}?"
        )


def at_real_time(audio: "AudioBlocks") -> "AudioBlocks":
    """Give each block when a microphone would: when its end has been said."""

    def blocks() -> "Iterator[Samples]":
        start, said_s = time.monotonic(), 0.0
        for block in audio:
            said_s += len(block) / audio.sample_rate_hz
            time.sleep(max(0.0, start + said_s - time.monotonic()))
            yield block

    return replace(audio, blocks=blocks())


def _is_audio(below: Path, path: Path) -> bool:
    hidden = any(part.startswith(".") for part in below.parts)  # "._talk.wav" is no audio
    return not hidden and below.suffix.lower() in _SUFFIXES and path.is_file()
