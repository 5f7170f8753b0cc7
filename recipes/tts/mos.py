"""How good does the speech sound? DNSMOS, a network that predicts the mean opinion of listeners (1 to 5).

Made to judge noise suppression: it flatters clean but robotic speech (formant synthesis scores well), so it
stands beside a word error rate and real recordings, never alone. Package speechmos, weights inside.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from s4speech.audio.io import TARGET_RATE_HZ, read_audio
from s4speech.errors import InputError
from s4speech.metrics.interval import Mean, bootstrap_mean


@dataclass(frozen=True)
class Opinion:
    """Predicted opinions of one file, 1 (bad) to 5 (excellent)."""

    overall: float  # P.835
    signal: float  # P.835: the speech itself
    background: float  # P.835: how little the background disturbs
    p808: float  # P.808: overall, by another network


def opinion(path: Path) -> Opinion:
    """Return DNSMOS of an audio file, resampled to 16 kHz; samples beyond full scale are clipped.

    Raises InputError: speechmos is not installed, the file cannot be read, or it is silent.
    """
    try:
        from speechmos import dnsmos
    except ImportError as error:
        raise InputError(
            "score: speechmos is not installed; install it with: pip install 's4speech[judge]'"
        ) from error
    samples = np.clip(read_audio(path, TARGET_RATE_HZ), -1, 1)
    if not samples.any():
        raise InputError(f"{path}: silence has no quality; wanted speech")
    found = dnsmos.run(samples, TARGET_RATE_HZ)
    return Opinion(*(float(found[f"{key}_mos"]) for key in ("ovrl", "sig", "bak", "p808")))


def mean_opinion(opinions: Iterable[Opinion]) -> dict[str, Mean]:
    """Return the mean of each field over files, with its 95 % bootstrap interval."""
    rows = list(opinions)
    return {
        field.name: bootstrap_mean([getattr(row, field.name) for row in rows]) for field in fields(Opinion)
    }
