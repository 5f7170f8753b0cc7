"""Audio as one array: whole files, and samples that a program has already."""

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from s4speech.audio.blocks import (
    AudioInfo,
    Source,
    audio_info,
    check_duration,
    check_rate,
    find_fault,
    read_blocks,
)
from s4speech.audio.limits import MAX_DURATION_S
from s4speech.audio.pcm import RawPCM, Samples
from s4speech.errors import InputError

__all__ = [
    "MIN_SAMPLES",
    "TARGET_RATE_HZ",
    "AudioInfo",
    "RawPCM",
    "Samples",
    "Source",
    "audio_info",
    "check_duration",
    "check_length",
    "prepare_samples",
    "read_audio",
    "read_blocks",
]

TARGET_RATE_HZ = 16000
MIN_SAMPLES = 400  # one 25 ms analysis window at 16 kHz


def read_audio(
    source: Source,
    target_rate: int = TARGET_RATE_HZ,
    *,
    min_samples: int = MIN_SAMPLES,
    max_duration_s: float = MAX_DURATION_S,
) -> Samples:
    """Read a path, ``"-"`` (standard input) or a binary file object as mono audio: (S,) float32.

    Channels are averaged and the result is resampled to ``target_rate`` Hz. Integer formats give [-1, 1).
    It is decoded in blocks (`read_blocks`), so a small file that holds hours stops at ``max_duration_s``
    without filling the memory.

    Raises InputError: missing, a directory, not audio, truncated or damaged, longer than
    ``max_duration_s`` seconds, NaN or infinite samples, no samples, or fewer than ``min_samples``.
    (An OGG file cut between two pages does not tell, and reads as the shorter file.)
    """
    with read_blocks(source, max_duration_s=max_duration_s) as audio:
        resampler = soxr.ResampleStream(audio.sample_rate_hz, target_rate, 1, dtype="float32")
        # Without a change of rate the resampler would only add its delay.
        same_rate = audio.sample_rate_hz == target_rate
        parts = [block if same_rate else resampler.resample_chunk(block) for block in audio]
        if not same_rate:
            parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate(parts)
    check_length(len(samples), target_rate, min_samples, audio.name)
    return samples


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
    check_rate(sample_rate_hz, name)
    if np.issubdtype(samples.dtype, np.signedinteger):
        wave = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    elif np.issubdtype(samples.dtype, np.floating):
        wave = samples.astype(np.float32)
    else:
        raise InputError(f"{name}: got samples of type {samples.dtype}; wanted floats, or signed integers")
    wave = wave.reshape(len(wave), -1) if len(wave) else np.zeros((0, 1), np.float32)
    fault = find_fault(wave, 0, sample_rate_hz, name)
    if fault is not None:
        raise fault[1]
    mono: Samples = wave.mean(axis=1, dtype=np.float32)
    if sample_rate_hz != target_rate:
        mono = soxr.resample(mono, sample_rate_hz, target_rate)
    check_length(len(mono), target_rate, min_samples, name)
    return mono


def check_length(samples: int, rate_hz: int, min_samples: int, name: str) -> None:
    """Raise InputError for fewer samples than can be analysed."""
    wanted = max(1, min_samples)
    if samples < wanted:
        raise InputError(
            f"{name}: has {samples} samples at {rate_hz} Hz ({1000 * samples / rate_hz:.1f} ms);"
            f" wanted at least {wanted} ({1000 * wanted / rate_hz:.1f} ms); leave it out"
        )
