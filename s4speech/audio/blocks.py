"""Audio that is read block by block: files, pipes and headerless samples, checked, as mono float32."""

import math
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

import numpy as np
import soundfile

from s4speech.audio.pcm import RawPCM, Samples, read_some, read_wav_header
from s4speech.errors import InputError

File: TypeAlias = str | Path | BinaryIO
Source: TypeAlias = File | RawPCM

_MAX_STREAM_BYTES = 2 << 30  # of a pipe that must be stored before it can be decoded
_RATES_HZ = (1000, 768_000)  # beyond these a header is wrong, and resampling would fill the memory
_LOUDEST = 1e6  # beyond any scale in use (1, or 32768); its power spectrum still fits float32
_BLOCK_SAMPLES = 1 << 18  # decoded at a time at most, all channels together
_SHORTENED = re.compile(r"^ *(?:data|SSND|Data Size) +: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_FRAMES = 1 << 62  # libsndfile's "no length in the header" is above this


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    sample_rate_hz: int
    channels: int
    frames: int  # samples of one channel
    format: str  # as soundfile names it: WAV, FLAC, OGG, MP3 ...

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate_hz


@dataclass(frozen=True)
class AudioBlocks:
    """A recording while it is read. Iterate over it once: mono blocks (S,) float32, at its own rate."""

    name: str  # for messages
    sample_rate_hz: int
    duration_s: float | None  # None: it comes through a pipe, and ends when it ends
    blocks: Iterator[Samples]

    def __iter__(self) -> Iterator[Samples]:
        return self.blocks


def audio_info(source: File) -> AudioInfo:
    """Read a file's header. Raises InputError: missing, a directory, not audio, no samples, absurd rate."""
    with ExitStack() as stack:
        target, name, is_pipe = stack.enter_context(_resolved(source))
        if is_pipe:
            target = stack.enter_context(_stored(target, name))
        return _checked_info(stack.enter_context(_decoder(target, name)), name)


@contextmanager
def read_blocks(
    source: Source, *, block_s: float = 1.0, max_duration_s: float = math.inf
) -> Iterator[AudioBlocks]:
    """Open a path, ``"-"`` (standard input), a binary file object or headerless PCM to read it in blocks.

    >>> with read_blocks("talk.flac") as audio:
    ...     for block in audio:
    ...         session.accept(block, audio.sample_rate_hz)

    Channels are averaged; integer formats give [-1, 1). A block has at most ``block_s`` seconds, and the
    memory needed does not depend on the length. PCM through a pipe, with or without a WAV header, is given
    as soon as it comes. Pipes of other formats are stored first: libsndfile has to seek in them.

    Raises InputError, before the first block: missing, a directory, not audio, no samples, absurd rate, or a
    header that says more than there is or than ``max_duration_s``. While iterating, after everything before
    the place was given: damaged, cut short, too long, NaN or infinite samples. Only an unfinished last sample
    of `RawPCM` is no error; it is counted in its ``left_over``.
    """
    with ExitStack() as stack:
        if isinstance(source, RawPCM):
            yield _pcm_blocks(source, block_s, max_duration_s)
            return
        target, name, is_pipe = stack.enter_context(_resolved(source))
        if is_pipe:
            pcm, head = read_wav_header(target, name)
            if pcm is not None:
                yield _pcm_blocks(pcm, block_s, max_duration_s, whole=True)
                return
            target = stack.enter_context(_stored(target, name, head))
        file = stack.enter_context(_decoder(target, name))
        info = _checked_info(file, name)
        check_duration(info, max_duration_s, name)
        frames = _file_blocks(file, info, name, _block_frames(block_s, info.sample_rate_hz, info.channels))
        mono = _mono(frames, info.sample_rate_hz, max_duration_s, name)
        yield AudioBlocks(name, info.sample_rate_hz, info.duration_s, mono)


def check_duration(info: AudioInfo, max_duration_s: float, name: str) -> None:
    """Raise InputError when the header of the file ``name`` says more than ``max_duration_s`` seconds."""
    if info.duration_s > max_duration_s:
        raise _too_long(name, info.duration_s, max_duration_s)


def check_rate(rate_hz: int, name: str) -> None:
    """Raise InputError for a sample rate that no recording has."""
    low, high = _RATES_HZ
    if not low <= rate_hz <= high:
        raise InputError(f"{name}: sample rate {rate_hz} Hz; wanted {low} to {high}; convert it again")


def find_fault(block: Samples, offset: int, rate_hz: int, name: str) -> tuple[int, InputError] | None:
    """Return the first frame with a NaN, infinite or absurd sample, and the error that it is; None: all good.

    block: (frames, channels). offset: of its first frame in the recording.
    """
    if not block.size or (block.min() >= -_LOUDEST and block.max() <= _LOUDEST):  # false with a NaN too
        return None
    frame, channel = np.argwhere(~(np.abs(block) <= _LOUDEST))[0]
    index = offset + int(frame)
    return int(frame), InputError(
        f"{name}: sample {index} ({index / rate_hz:.3f} s) is {block[frame, channel]:g};"
        " wanted finite numbers from -1 to 1; write the file again from its source"
    )


@contextmanager
def _resolved(source: File) -> Iterator[tuple[Any, str, bool]]:
    """Give a path as bytes, a descriptor or a stream; its name for messages; and whether it is a pipe."""
    if isinstance(source, (str, Path)) and str(source) != "-":
        name = str(source)
        try:
            mode = os.stat(source).st_mode
            if stat.S_ISREG(mode):
                # Opened here for the reason why not; libsndfile calls every failure "System error".
                with open(source, "rb"):
                    pass
        except OSError as error:
            raise InputError(f"{name}: cannot read ({error.strerror}); wanted an audio file") from error
        if stat.S_ISREG(mode):
            yield os.fsencode(source), name, False
        elif stat.S_ISFIFO(mode):
            with open(source, "rb") as pipe:
                yield pipe, name, True
        else:
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise InputError(f"{name}: is {what}; wanted an audio file (or - for standard input)")
        return
    if isinstance(source, (str, Path)):
        stdin = sys.stdin.buffer
        # Where libsndfile reads, by descriptor: it would call back into Python, and lose a Ctrl-C there.
        seekable = stdin.seekable()
        yield stdin.fileno() if seekable else stdin, "standard input", not seekable
    else:
        yield source, str(getattr(source, "name", "audio data")), not source.seekable()


@contextmanager
def _stored(pipe: IO[bytes], name: str, head: bytes = b"") -> Iterator[int]:
    """Copy ``head`` and a pipe to a temporary file, which vanishes; gives its descriptor.

    Raises InputError: more than the limit.
    """
    with tempfile.TemporaryFile() as copy:
        copy.write(head)
        while copy.tell() <= _MAX_STREAM_BYTES:
            data = read_some(pipe, 1 << 20)
            if not data:
                copy.seek(0)
                yield copy.fileno()
                return
            copy.write(data)
    limit = f"{_MAX_STREAM_BYTES >> 20} MiB"
    raise InputError(f"{name}: more than {limit} through a pipe; give the path of a file instead")


@contextmanager
def _decoder(target: bytes | int | IO[bytes], name: str) -> Iterator[soundfile.SoundFile]:
    """Open a path, a descriptor or a file object with libsndfile. Raises InputError: not audio."""
    try:
        file = soundfile.SoundFile(target, closefd=not isinstance(target, int))
    except soundfile.LibsndfileError as error:
        raise _not_audio(name, error.error_string) from error
    except TypeError as error:  # soundfile takes .raw for headerless samples and asks for their rate
        raise _not_audio(name, "headerless samples") from error
    with file:
        yield file


def _checked_info(file: soundfile.SoundFile, name: str) -> AudioInfo:
    """Check what the header says. Raises InputError: no samples, no length, absurd rate, or cut short."""
    info = AudioInfo(file.samplerate, file.channels, file.frames, file.format)
    check_rate(info.sample_rate_hz, name)
    # libsndfile shortens WAV, AIFF and AU silently to what is there, and says so only in its log.
    for declared, present in _SHORTENED.findall(file.extra_info):
        # Programs that write to a pipe put a limit, not a length.
        if int(present) < int(declared) < 0x7FFF0000:
            raise _truncated(name, f"{present} bytes of the {declared} its header says")
    if info.frames > _UNKNOWN_FRAMES:
        raise InputError(f"{name}: its header gives no length; convert it again, to a file and not to a pipe")
    if info.frames == 0:
        raise _no_samples(name)
    return info


def _block_frames(block_s: float, rate_hz: int, channels: int) -> int:
    return max(1, int(min(block_s * rate_hz, _BLOCK_SAMPLES // channels)))


def _pcm_blocks(pcm: RawPCM, block_s: float, max_duration_s: float, whole: bool = False) -> AudioBlocks:
    """Read samples that need no decoder; ``whole``: an unfinished last sample is an error."""
    check_rate(pcm.sample_rate_hz, pcm.name)

    def frames() -> Iterator[Samples]:
        yield from pcm.blocks(_block_frames(block_s, pcm.sample_rate_hz, pcm.channels))
        if pcm.missing and pcm.size:
            raise _truncated(pcm.name, f"{pcm.size - pcm.missing} bytes of the {pcm.size} its header says")
        if pcm.left_over and whole:
            raise _truncated(pcm.name, "it ends in the middle of a sample")

    blocks = _mono(frames(), pcm.sample_rate_hz, max_duration_s, pcm.name)
    return AudioBlocks(pcm.name, pcm.sample_rate_hz, None, blocks)


def _file_blocks(file: soundfile.SoundFile, info: AudioInfo, name: str, size: int) -> Iterator[Samples]:
    """Decode blocks of (at most ``size``, channels) float32. Raises InputError: damaged or cut short."""
    frames = 0
    while True:
        try:
            block: Samples = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _truncated(name, error.error_string.strip()) from error
        if not len(block):
            break
        frames += len(block)
        yield block
    if frames < info.frames:
        raise _truncated(name, f"{frames} samples of the {info.frames} its header says")


def _mono(blocks: Iterator[Samples], rate_hz: int, max_duration_s: float, name: str) -> Iterator[Samples]:
    """Average the channels of (frames, channels); what comes before a fault is given before the error."""
    frames = 0
    for block in blocks:
        good, error = find_fault(block, frames, rate_hz, name) or (len(block), None)
        if frames + good > max_duration_s * rate_hz:
            good = int(max_duration_s * rate_hz) - frames
            error = _too_long(name, (frames + len(block)) / rate_hz, max_duration_s)
        frames += good
        if good:
            yield block[:good].mean(axis=1, dtype=np.float32)
        if error is not None:
            raise error
    if frames == 0:
        raise _no_samples(name)


def _not_audio(name: str, why: str) -> InputError:
    why = why.strip().rstrip(".")
    return InputError(
        f"{name}: not audio that soundfile reads ({why}); wanted WAV, FLAC, OGG, MP3 or the like"
    )


def _no_samples(name: str) -> InputError:
    return InputError(f"{name}: has no samples; wanted speech; record it again or leave it out")


def _truncated(name: str, why: str) -> InputError:
    return InputError(f"{name}: truncated or damaged ({why.rstrip('.')}); copy or convert it again")


def _too_long(name: str, got_s: float, limit_s: float) -> InputError:
    return InputError(
        f"{name}: lasts {got_s:.1f} s or more; wanted at most {limit_s:.1f} s; cut it into parts"
    )
