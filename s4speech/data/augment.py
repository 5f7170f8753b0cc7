"""Random changes of waveforms: time shift, noise, gain."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from s4speech.audio.io import Samples, read_audio
from s4speech.errors import InputError

Int16: TypeAlias = NDArray[np.int16]


@dataclass(frozen=True)
class Augmentation:
    """Which changes.

    shift_s: moved by up to so many seconds either way, filled with zeros. gain_db: louder or softer by up to
    this. noise: a folder of recordings, of which a random piece is mixed in with `noise_probability`, at a
    signal-to-noise ratio drawn from `snr_db` (low, high), of the power over the whole clip.
    """

    shift_s: float = 0.1
    gain_db: float = 6.0
    noise: Path | None = None
    noise_probability: float = 0.8
    snr_db: tuple[float, float] = (5.0, 30.0)


class Augmenter:
    """Applies an `Augmentation` at one sample rate. The noise is kept in memory.

    Raises InputError: the noise folder has no WAV or FLAC file, or one that cannot be read.
    """

    def __init__(self, options: Augmentation, sample_rate_hz: int) -> None:
        self._options, self._rate_hz = options, sample_rate_hz
        self._noises: list[Int16] = []
        if options.noise is not None:
            files = sorted(p for p in options.noise.rglob("*") if p.suffix.lower() in (".wav", ".flac"))
            if not files:
                raise InputError(
                    f"noise: no *.wav or *.flac below {options.noise}; give another folder, or none"
                )
            self._noises = [to_int16(read_audio(path, sample_rate_hz, min_samples=1)) for path in files]

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """(S,) float32 -> (S,) float32, which may go beyond [-1, 1)."""
        options = self._options
        largest = min(round(options.shift_s * self._rate_hz), len(samples))
        shift = int(rng.integers(-largest, largest + 1))
        changed = np.zeros_like(samples)
        kept = len(samples) - abs(shift)
        changed[max(shift, 0) :][:kept] = samples[max(-shift, 0) :][:kept]
        if self._noises and rng.random() < options.noise_probability:
            changed = self._mix(changed, rng)
        gain_db = rng.uniform(-options.gain_db, options.gain_db)
        return changed * np.float32(10 ** (gain_db / 20))

    def _mix(self, samples: Samples, rng: np.random.Generator) -> Samples:
        noise = self._noises[rng.integers(len(self._noises))]
        start = rng.integers(max(len(noise) - len(samples), 0) + 1)
        piece = np.resize(to_float(noise[start : start + len(samples)]), len(samples))  # short ones repeat
        noise_power = np.mean(piece**2)
        if noise_power == 0:  # recordings of single sounds have pauses
            return samples
        snr_db = rng.uniform(*self._options.snr_db)
        gain = np.sqrt(np.mean(samples**2) / noise_power) * 10 ** (-snr_db / 20)
        return samples + piece * np.float32(gain)


def to_int16(samples: Samples) -> Int16:
    """Samples in half the memory: exact for those of 16 bit files, clipped to [-1, 1)."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def to_float(samples: Int16) -> Samples:
    """The inverse of `to_int16`."""
    return samples.astype(np.float32) / np.float32(32768)
