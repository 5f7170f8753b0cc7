"""The audio of one utterance, as the doctor hears it; many of them in several processes."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from s4speech.errors import InputError

SILENT_PEAK = 1e-3
CLIPPED_SHARE = 0.01
DC_OFFSET = 0.02  # of full scale: a recorder that is out of order, or a wrong decoder
POOLED = 256  # fewer clips are read in this process: starting others takes longer
_CHUNK = 32


class Clip(NamedTuple):
    """Where an utterance's audio is.

    offset, size: bytes inside `path`; size -1: the whole file. start_s, duration_s: the piece of the
    recording; None: all of it. rate, samples: of the recording as its manifest has it. channel: the one that
    the manifest chose; None: the file may have one only.
    """

    path: str
    rate: int
    samples: int
    offset: int = 0
    size: int = -1
    start_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None
    min_s: float = 0.1
    headers_only: bool = False


class Problem(NamedTuple):
    """kind: a word to count by."""

    kind: str
    text: str
    fatal: bool = True


class Heard(NamedTuple):
    """What is wrong; the rate of the file in Hz, 0: unreadable; a digest of the samples, empty: none."""

    problems: list[Problem]
    rate: int = 0
    digest: str = ""


def hear(clip: Clip) -> Heard:
    """Decode one clip, or read its header only."""
    try:
        with soundfile.SoundFile(_file(clip)) as file:
            rate, channels = file.samplerate, file.channels
            if channels > 1 and clip.channel is None:
                text = f"{channels} channels, wanted one: mix them down, or choose one"
                return Heard([Problem("channels", text)], rate)
            if clip.headers_only:
                return Heard(_length_problems(clip, _wanted(clip, rate)[1], file.frames, rate), rate)
            first, count = _wanted(clip, rate)
            if first:
                file.seek(min(first, file.frames))
            samples = file.read(-1 if clip.duration_s is None else count, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError, TypeError) as error:
        return Heard([Problem("unreadable", f"unreadable audio ({' '.join(str(error).split())})")])
    one = samples[:, clip.channel or 0]
    problems = _length_problems(clip, count, len(one), rate) or _sample_problems(one)
    silent = any(problem.kind == "silent" for problem in problems)  # all such are alike
    return Heard(problems, rate, "" if silent else hashlib.blake2b(one.tobytes(), digest_size=12).hexdigest())


def _file(clip: Clip) -> str | io.BytesIO:
    if clip.size < 0:
        return clip.path
    with open(clip.path, "rb") as file:
        file.seek(clip.offset)
        return io.BytesIO(file.read(clip.size))


def _wanted(clip: Clip, rate: int) -> tuple[int, int]:
    """First sample and number of samples, at the file's rate; resampled ones are known to half a sample."""
    if clip.duration_s is not None:
        samples = clip.duration_s * rate
        return round(clip.start_s * rate), round(samples) if rate == clip.rate else int(samples - 0.5)
    if rate == clip.rate:
        return 0, clip.samples
    return 0, int((clip.samples - 0.5) * rate / clip.rate)


def _length_problems(clip: Clip, wanted: int, got: int, rate: int) -> list[Problem]:
    if clip.headers_only and clip.duration_s is not None:
        wanted += round(clip.start_s * rate)
    if got < wanted:
        return [Problem("truncated", f"truncated: {got} samples, the header says {wanted}")]
    length = wanted if clip.headers_only and clip.duration_s is not None else got
    if length < clip.min_s * rate:
        text = f"too short: {length} samples, wanted at least {round(clip.min_s * rate)}"
        return [Problem("short" if length else "empty", text)]
    return []


def _sample_problems(samples: NDArray[np.float32]) -> list[Problem]:
    if not np.isfinite(samples).all():
        return [Problem("nan", "samples that are not numbers (NaN or infinite)")]
    peak = np.abs(samples)
    if peak.max() < SILENT_PEAK:
        return [Problem("silent", f"silent: peak {peak.max():.1e}", False)]
    problems = []
    clipped = float((peak > 0.999).mean())
    if clipped > CLIPPED_SHARE:
        problems.append(
            Problem("clipped", f"clipped: {100 * clipped:.1f} % of the samples at full scale", False)
        )
    mean = float(samples.mean(dtype=np.float64))
    if abs(mean) > DC_OFFSET:
        problems.append(
            Problem("dc", f"DC offset: the mean of the samples is {mean:+.3f} of full scale", False)
        )
    return problems


def default_jobs() -> int:
    """Processes that read audio, unless told otherwise."""
    return min(os.cpu_count() or 1, 16)


def hear_all(
    clips: Sequence[Clip], jobs: int = 1, advance: Callable[[int], object] = lambda clips: None
) -> Iterator[Heard]:
    """`hear` of each clip, in their order, in `jobs` processes where there are enough clips.

    advance: is told how many more are done. Raises InputError: one of the processes died.
    """
    if jobs == 1 or len(clips) < POOLED:
        for clip in clips:
            yield hear(clip)
            advance(1)
        return
    chunks = [clips[i : i + _CHUNK] for i in range(0, len(clips), _CHUNK)]
    try:
        with ProcessPoolExecutor(jobs) as pool:
            for heard in pool.map(_hear_chunk, chunks):
                yield from heard
                advance(len(heard))
    except BrokenProcessPool as error:
        raise InputError(
            "a process that reads audio died (out of memory, or killed); run again with --jobs 1"
        ) from error


def _hear_chunk(clips: Sequence[Clip]) -> list[Heard]:
    return [hear(clip) for clip in clips]
