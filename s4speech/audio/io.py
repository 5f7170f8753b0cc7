"""Audio files in: any format, rate and number of channels, checked, as mono float32."""

import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from s4speech.audio.limits import MAX_DURATION_S
from s4speech.errors import InputError

Samples: TypeAlias = NDArray[np.float32]
Source: TypeAlias = str | Path | BinaryIO

TARGET_RATE_HZ = 16000
MIN_SAMPLES = 400  # one 25 ms analysis window at 16 kHz
_MAX_STREAM_BYTES = 2 << 30  # of a pipe, which must be stored before it can be decoded
_RATES_HZ = (1000, 768_000)  # beyond these a header is wrong, and resampling would fill the memory
_LOUDEST = 1e6  # beyond any scale in use (1, or 32768); its power spectrum still fits float32
_BLOCK_SAMPLES = 1 << 18  # decoded at a time, all channels together
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


def audio_info(source: Source) -> AudioInfo:
    """Read a file's header. Raises InputError: missing, a directory, not audio, no samples, absurd rate."""
    with _opened(source) as (file, name):
        return _checked_info(file, name)


def read_audio(
    source: Source,
    target_rate: int = TARGET_RATE_HZ,
    *,
    min_samples: int = MIN_SAMPLES,
    max_duration_s: float = MAX_DURATION_S,
) -> Samples:
    """Read a path, ``"-"`` (standard input) or a binary file object as mono audio: (S,) float32.

    Channels are averaged and the result is resampled to ``target_rate`` Hz. Integer formats give [-1, 1).
    The file is decoded in blocks, so a small file that holds hours stops at ``max_duration_s`` without
    filling the memory.

    Raises InputError: missing, a directory, not audio, truncated or damaged, longer than
    ``max_duration_s`` seconds, NaN or infinite samples, no samples, or fewer than ``min_samples``.
    (An OGG file cut between two pages does not tell, and reads as the shorter file.)
    """
    with _opened(source) as (file, name):
        info = _checked_info(file, name)
        check_duration(info, max_duration_s, name)
        resampler = soxr.ResampleStream(info.sample_rate_hz, target_rate, 1, dtype="float32")
        # Without a change of rate the resampler would only add its delay.
        same_rate = info.sample_rate_hz == target_rate
        parts: list[Samples] = []
        frames = 0
        for block in _blocks(file, name):
            _check_finite(block, frames, info.sample_rate_hz, name)
            frames += len(block)
            if frames > max_duration_s * info.sample_rate_hz:
                raise _too_long(name, frames / info.sample_rate_hz, max_duration_s)
            mono = block.mean(axis=1, dtype=np.float32)
            parts.append(mono if same_rate else resampler.resample_chunk(mono))
        if frames < info.frames:
            raise _truncated(name, f"{frames} samples of the {info.frames} its header says")
        if not same_rate:
            parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    _check_length(samples, target_rate, min_samples, name)
    return samples


def check_duration(info: AudioInfo, max_duration_s: float, name: str) -> None:
    """Raise InputError when the header of the file ``name`` says more than ``max_duration_s`` seconds."""
    if info.duration_s > max_duration_s:
        raise _too_long(name, info.duration_s, max_duration_s)


def prepare_samples(
    samples: NDArray[Any],
    sample_rate_hz: int,
    target_rate: int = TARGET_RATE_HZ,
    *,
    min_samples: int = MIN_SAMPLES,
    name: str = "samples",
) -> Samples:
    """Turn an array (S,) or (S, channels), floating or integer, into mono float32 (S,) at ``target_rate`` Hz.

    Integers are scaled by their type's range. Raises InputError as `read_audio` does, and for other shapes.
    """
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] == 0):
        raise InputError(f"{name}: got shape {samples.shape}; wanted (samples,) or (samples, channels)")
    _check_rate(sample_rate_hz, name)
    if np.issubdtype(samples.dtype, np.signedinteger):
        wave = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    elif np.issubdtype(samples.dtype, np.floating):
        wave = samples.astype(np.float32)
    else:
        raise InputError(f"{name}: got samples of type {samples.dtype}; wanted floats, or signed integers")
    wave = wave.reshape(len(wave), -1) if len(wave) else np.zeros((0, 1), np.float32)
    _check_finite(wave, 0, sample_rate_hz, name)
    mono: Samples = wave.mean(axis=1, dtype=np.float32)
    if sample_rate_hz != target_rate:
        mono = soxr.resample(mono, sample_rate_hz, target_rate)
    _check_length(mono, target_rate, min_samples, name)
    return mono


@contextmanager
def _opened(source: Source) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """Open ``source`` for decoding and give it with its name for messages."""
    with _seekable(source) as (target, name):
        try:
            file = soundfile.SoundFile(target)
        except soundfile.LibsndfileError as error:
            raise _not_audio(name, error.error_string) from error
        except TypeError as error:  # soundfile takes .raw for headerless samples and asks for their rate
            raise _not_audio(name, "headerless samples") from error
        with file:
            yield file, name


@contextmanager
def _seekable(source: Source) -> Iterator[tuple[bytes | IO[bytes], str]]:
    """Give what soundfile can seek in: the path as bytes, the file object, or a copy of the pipe."""
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
            yield os.fsencode(source), name
        elif stat.S_ISFIFO(mode):
            with open(source, "rb") as pipe, _stored(pipe, name) as copy:
                yield copy, name
        else:
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise InputError(f"{name}: is {what}; wanted an audio file (or - for standard input)")
        return
    stream: IO[bytes] = sys.stdin.buffer if isinstance(source, (str, Path)) else source
    name = "standard input" if stream is sys.stdin.buffer else str(getattr(stream, "name", "audio data"))
    if stream.seekable():
        yield stream, name
    else:
        with _stored(stream, name) as copy:
            yield copy, name


@contextmanager
def _stored(pipe: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Copy a pipe to a temporary file, which vanishes with it. Raises InputError: more than the limit."""
    with tempfile.TemporaryFile() as copy:
        while copy.tell() <= _MAX_STREAM_BYTES:
            data = pipe.read(1 << 20)
            if not data:
                copy.seek(0)
                yield copy
                return
            copy.write(data)
    limit = f"{_MAX_STREAM_BYTES >> 20} MiB"
    raise InputError(f"{name}: more than {limit} through a pipe; give the path of a file instead")


def _blocks(file: soundfile.SoundFile, name: str) -> Iterator[Samples]:
    """Decode the file in blocks of (frames, channels) float32. Raises InputError: damaged data."""
    size = max(1, _BLOCK_SAMPLES // file.channels)
    while True:
        try:
            block: Samples = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _truncated(name, error.error_string.strip()) from error
        if not len(block):
            return
        yield block


def _checked_info(file: soundfile.SoundFile, name: str) -> AudioInfo:
    """Check what the header says. Raises InputError: no samples, no length, absurd rate, or cut short."""
    info = AudioInfo(file.samplerate, file.channels, file.frames, file.format)
    _check_rate(info.sample_rate_hz, name)
    # libsndfile shortens WAV, AIFF and AU silently to what is there, and says so only in its log.
    for declared, present in _SHORTENED.findall(file.extra_info):
        # Programs that write to a pipe put a limit, not a length.
        if int(present) < int(declared) < 0x7FFF0000:
            raise _truncated(name, f"{present} bytes of the {declared} its header says")
    if info.frames > _UNKNOWN_FRAMES:
        raise InputError(f"{name}: its header gives no length; convert it again, to a file and not to a pipe")
    if info.frames == 0:
        raise InputError(f"{name}: has no samples; wanted speech; record it again or leave it out")
    return info


def _check_rate(rate_hz: int, name: str) -> None:
    low, high = _RATES_HZ
    if not low <= rate_hz <= high:
        raise InputError(f"{name}: sample rate {rate_hz} Hz; wanted {low} to {high}; convert it again")


def _check_finite(block: Samples, offset: int, rate_hz: int, name: str) -> None:
    """Raise InputError for the first NaN, infinite or absurd sample; ``offset``: the block's first frame."""
    if not block.size or (block.min() >= -_LOUDEST and block.max() <= _LOUDEST):  # false with a NaN too
        return
    frame, channel = np.argwhere(~(np.abs(block) <= _LOUDEST))[0]
    index = offset + int(frame)
    raise InputError(
        f"{name}: sample {index} ({index / rate_hz:.3f} s) is {block[frame, channel]:g};"
        " wanted finite numbers from -1 to 1; write the file again from its source"
    )


def _check_length(samples: Samples, rate_hz: int, min_samples: int, name: str) -> None:
    wanted = max(1, min_samples)
    if len(samples) < wanted:
        raise InputError(
            f"{name}: has {len(samples)} samples at {rate_hz} Hz ({1000 * len(samples) / rate_hz:.1f} ms);"
            f" wanted at least {wanted} ({1000 * wanted / rate_hz:.1f} ms); leave it out"
        )


def _not_audio(name: str, why: str) -> InputError:
    why = why.strip().rstrip(".")
    return InputError(
        f"{name}: not audio that soundfile reads ({why}); wanted WAV, FLAC, OGG, MP3 or the like"
    )


def _truncated(name: str, why: str) -> InputError:
    return InputError(f"{name}: truncated or damaged ({why.rstrip('.')}); copy or convert it again")


def _too_long(name: str, got_s: float, limit_s: float) -> InputError:
    return InputError(
        f"{name}: lasts {got_s:.1f} s or more; wanted at most {limit_s:.1f} s; cut it into parts"
    )
