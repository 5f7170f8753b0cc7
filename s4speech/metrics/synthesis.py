"""How far synthesised speech is from a recording of the same sentence: spectrum, pitch, voicing, duration.

Both are analysed every 5 ms, cut to where there is sound, and paired by dynamic time warping of their
mel-cepstra; the figures are means over the pairs of that path.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from s4speech.errors import InputError

__all__ = [
    "FRAME_S",
    "Frames",
    "SynthesisScore",
    "analyse",
    "compare",
    "compare_frames",
    "mel_cepstral_distortion",
    "mel_cepstrum",
    "time_warp",
]

Array: TypeAlias = NDArray[np.floating]
# samples (S,), sample rate, times_s (T,) -> F0 in Hz (T,), 0 where unvoiced: s4speech.audio.pitch.f0_contour
PitchTracker: TypeAlias = Callable[[NDArray[np.float32], int, Array], Array]

FRAME_S = 0.005
ORDER = 24  # c0, the level, is left out of the distance
_POINTS = 512  # of the warped frequency axis
_SOUND_DB = 40.0  # frames this far below the loudest, at both ends, are silence
_MAX_S = 60.0  # the warping table grows with the product of both lengths


@dataclass(frozen=True)
class Frames:
    """Speech every 5 ms."""

    f0_hz: Array  # (T,), 0 where unvoiced
    cepstrum: Array  # (T, 25), natural logarithm of the amplitude


@dataclass(frozen=True)
class SynthesisScore:
    """One sentence against its recording."""

    mcd_db: float  # mel-cepstral distortion
    f0_rmse_cents: float  # over pairs voiced in both, nan without any; RMSE of ln F0 = cents * ln 2 / 1200
    voicing_error: float  # share of pairs in which one is voiced and the other is not
    duration_s: float  # of the recording's sound
    duration_error_s: float  # positive: the synthesised speech is longer

    @property
    def duration_error_percent(self) -> float:
        """The duration error in percent of the recording's duration."""
        return 100 * self.duration_error_s / self.duration_s


def compare(
    reference: NDArray[np.float32],
    synthesised: NDArray[np.float32],
    sample_rate: int,
    pitch: PitchTracker,
) -> SynthesisScore:
    """Score mono ``synthesised`` (S,) against the recording ``reference`` (R,), both at ``sample_rate`` Hz.

    Raises InputError: pyworld is not installed; samples that are not (S,), not finite, silent, or hold more
    than 60 s of sound.
    """
    a = analyse(reference, sample_rate, pitch, "reference")
    b = analyse(synthesised, sample_rate, pitch, "synthesised")
    return compare_frames(a, b)


def mel_cepstral_distortion(
    reference: NDArray[np.float32],
    synthesised: NDArray[np.float32],
    sample_rate: int,
    pitch: PitchTracker,
) -> float:
    """Return only the mel-cepstral distortion of `compare`, in dB."""
    return compare(reference, synthesised, sample_rate, pitch).mcd_db


def analyse(
    samples: NDArray[np.float32], sample_rate: int, pitch: PitchTracker, name: str = "samples"
) -> Frames:
    """Return F0 and mel-cepstrum of the sound in mono ``samples`` (S,). Raises as `compare` does."""
    if np.ndim(samples) != 1 or not np.all(np.isfinite(samples)):
        raise InputError(f"score: {name}: got shape {np.shape(samples)}; wanted finite mono samples (S,)")
    try:
        import pyworld
    except ImportError as error:
        raise InputError(
            "score: pyworld is not installed; install it with: pip install 's4speech[tts]'"
        ) from error
    sound = _sound(samples, sample_rate)
    if not len(sound):
        raise InputError(f"score: {name}: {len(samples)} samples without sound; wanted speech")
    if len(sound) > _MAX_S * sample_rate:
        raise InputError(
            f"score: {name}: {len(sound) / sample_rate:.0f} s of sound; wanted at most {_MAX_S:g} s;"
            " score sentences one by one"
        )
    times_s = np.arange(0, len(sound) / sample_rate, FRAME_S)
    f0_hz = np.asarray(pitch(sound, sample_rate, times_s), np.float64)
    power = pyworld.cheaptrick(sound.astype(np.float64), f0_hz, times_s, sample_rate)
    return Frames(f0_hz, mel_cepstrum(power, sample_rate))


def compare_frames(reference: Frames, synthesised: Frames) -> SynthesisScore:
    """Pair the frames of both and score the pairs. Neither may be empty."""
    distances, pairs = time_warp(reference.cepstrum[:, 1:], synthesised.cepstrum[:, 1:])
    a, b = reference.f0_hz[pairs[:, 0]], synthesised.f0_hz[pairs[:, 1]]
    both = (a > 0) & (b > 0)
    cents = 1200 * np.log2(b[both] / a[both])
    return SynthesisScore(
        # The root mean square, over warped frequency, of the difference of two log spectra in dB.
        mcd_db=float(10 / math.log(10) * math.sqrt(2) * distances.mean()),
        f0_rmse_cents=float(np.sqrt(np.mean(cents**2))) if both.any() else math.nan,
        voicing_error=float(np.mean((a > 0) != (b > 0))),
        duration_s=FRAME_S * len(reference.f0_hz),
        duration_error_s=FRAME_S * (len(synthesised.f0_hz) - len(reference.f0_hz)),
    )


def time_warp(a: Array, b: Array) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pair rows of a (T, D) and b (U, D) in order, each row at least once, so that the sum of Euclidean
    distances is smallest: the distances (P,), and the pairs of indices (P, 2)."""
    import librosa  # half a second

    pairs = librosa.sequence.dtw(a.T, b.T, metric="euclidean")[1][::-1].astype(np.int64)
    return np.linalg.norm(a[pairs[:, 0]] - b[pairs[:, 1]], axis=1), pairs


def mel_cepstrum(power: Array, sample_rate: int) -> NDArray[np.float64]:
    """Envelopes (T, F), squared amplitudes from 0 to half the sample rate, as (T, 25) cepstra c0..c24.

    ln amplitude = c0 + sum c_m cos(m w~), w~ being the frequency axis bent to the mel scale by an all-pass
    filter: SPTK's mel-cepstrum, computed by sampling the envelope on the bent axis.
    """
    bins, matrix = _warped_cosines(power.shape[1], sample_rate)
    low = np.minimum(np.floor(bins).astype(int), power.shape[1] - 2)
    log_amplitude = 0.5 * np.log(np.maximum(power, 1e-16))
    part = bins - low
    sampled = (1 - part) * log_amplitude[:, low] + part * log_amplitude[:, low + 1]
    result: NDArray[np.float64] = sampled @ matrix
    return result


@cache
def _warped_cosines(bins: int, sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where to sample an envelope of so many bins (P,), and the cosine transform (P, 25)."""
    warped = np.pi * (np.arange(_POINTS) + 0.5) / _POINTS
    alpha = _all_pass(sample_rate)
    frequency = warped - 2 * np.arctan(alpha * np.sin(warped) / (1 + alpha * np.cos(warped)))
    matrix = np.cos(np.outer(warped, np.arange(ORDER + 1))) * 2 / _POINTS
    matrix[:, 0] /= 2
    return frequency / np.pi * (bins - 1), matrix


def _all_pass(sample_rate: int) -> float:
    """The warping, 0 to 1, that comes closest to the mel scale (0.41 at 16 kHz, 0.455 at 22.05 kHz)."""
    w = np.linspace(0, np.pi, 1000)
    mel = np.log1p(w / np.pi * sample_rate / 2 / 1000) / np.log1p(sample_rate / 2 / 1000)
    alphas = np.arange(0, 0.9, 0.001)[:, None]
    warped = (w + 2 * np.arctan(alphas * np.sin(w) / (1 - alphas * np.cos(w)))) / np.pi
    return float(alphas[np.argmin(((warped - mel) ** 2).sum(axis=1)), 0])


def _sound(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Cut the silence at both ends; empty if there is nothing else."""
    size = max(1, round(4 * FRAME_S * sample_rate))
    frames = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size).astype(np.float64)
    power = (frames**2).mean(axis=1)
    if not power.any():
        return samples[:0]
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_SOUND_DB / 10))
    return samples[loud[0] * size : (loud[-1] + 1) * size]
