"""A mean and how sure it is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Mean(NamedTuple):
    """A mean with its 95 % interval; nan without values."""

    mean: float
    low: float
    high: float
    values: int  # how many


def bootstrap_mean(values: Sequence[float], *, resamples: int = 1000, seed: int = 0) -> Mean:
    """Return the mean of ``values``, nan left out, and its percentile bootstrap interval."""
    kept = np.asarray([value for value in values if not math.isnan(value)], dtype=np.float64)
    if not len(kept):
        return Mean(math.nan, math.nan, math.nan, 0)
    drawn = np.random.default_rng(seed).integers(0, len(kept), (resamples, len(kept)))
    low, high = np.percentile(kept[drawn].mean(axis=1), [2.5, 97.5])
    return Mean(float(kept.mean()), float(low), float(high), len(kept))
