"""How sure a mean, a rate or a difference of rates is: percentile bootstrap, 95 %."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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


def bootstrap_rate(
    errors: Sequence[int], lengths: Sequence[int], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of sum(errors) / sum(lengths), one pair of them an utterance (or a speaker).

    nan where no draw has any length. Bisani & Ney (2004, "Bootstrap estimates for confidence intervals in
    ASR performance evaluation").
    """
    totals = resampled_totals((errors, lengths), resamples=resamples, seed=seed)
    return percentiles(totals[:, 0] / totals[:, 1])


def resampled_totals(columns: Sequence[Sequence[int]], *, resamples: int, seed: int) -> NDArray[np.float64]:
    """Draw the rows of ``columns`` with replacement, as many as there are, and add them up.

    Returns (R, columns), R <= ``resamples``: draws whose last column, the length, adds up to 0 have no rate
    and are left out.
    """
    table = np.asarray(columns, dtype=np.int64).T
    rows = len(table)
    if not rows:
        return np.empty((0, len(columns)))
    generator = np.random.default_rng(seed)
    # How often each row is drawn is multinomial; in blocks, so that a large test set fits in memory.
    block = max(1, 4_000_000 // rows)
    totals = [
        generator.multinomial(rows, np.full(rows, 1 / rows), size=min(block, resamples - start)) @ table
        for start in range(0, resamples, block)
    ]
    drawn = np.concatenate(totals).astype(np.float64)
    return drawn[drawn[:, -1] > 0]


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles; nan without values."""
    if not len(values):
        return math.nan, math.nan
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
