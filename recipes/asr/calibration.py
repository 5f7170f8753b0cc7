"""Whether a word's confidence is the probability that it is right: Platt scaling and its error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from s4speech.config.streaming import Calibration
from s4speech.metrics.alignment import align
from s4speech.streaming.confidence import confidence
from s4speech.streaming.transcript import Word

LEAST = 5e-4  # confidences are rounded to three digits: a 1 says "above 1 - LEAST"
BINS = 10


class Judged(NamedTuple):
    """Words of transcripts: confidence (N,), and whether each is right (N,) bool."""

    confidences: NDArray[np.float64]
    correct: NDArray[np.bool_]


class Bins(NamedTuple):
    """Words by confidence, in bins of equal width, without empty ones; confidence and correct are means."""

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.float64]


def judge(ref: str, words: Sequence[Word]) -> list[tuple[float, bool]]:
    """The confidence of each word, and whether it is right: one of the reference, in the alignment."""
    pairs = align(ref, " ".join(word.text for word in words))
    marks = [pair.mark == "C" for pair in pairs if pair.mark != "D"]
    return [(word.confidence, right) for word, right in zip(words, marks, strict=True)]


def judged(pairs: Sequence[tuple[float, bool]]) -> Judged:
    """As arrays."""
    return Judged(np.array([c for c, _ in pairs], float), np.array([right for _, right in pairs], bool))


def fit(words: Judged) -> Calibration:
    """Platt's scale and offset (1999, with his targets, which keep both finite); none for no words."""
    if not len(words.correct):
        return Calibration()
    p = torch.from_numpy(words.confidences).clamp(LEAST, 1 - LEAST)
    logits, right = p.logit(), torch.from_numpy(words.correct).double()
    n_right, n_wrong = float(right.sum()), float((1 - right).sum())
    targets = torch.where(right > 0, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2)).double()
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(weights[0] * logits + weights[1], targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    scale, offset = weights.tolist()
    return Calibration(scale=scale, offset=offset)


def calibrated(words: Judged, calibration: Calibration) -> Judged:
    """The same words with the confidence that a user sees."""
    logs = np.log(np.clip(words.confidences, LEAST, 1 - LEAST))
    return Judged(np.array([confidence(log, calibration) for log in logs.tolist()], float), words.correct)


def bins(words: Judged) -> Bins:
    """Of width 1 / BINS."""
    which = np.minimum((words.confidences * BINS).astype(int), BINS - 1)
    counts = np.bincount(which, minlength=BINS)
    used = counts > 0
    mean, right = (
        np.bincount(which, values, BINS)[used] / counts[used] for values in (words.confidences, words.correct)
    )
    return Bins(counts[used], mean, right)


def expected_error(words: Judged) -> float:
    """ECE (Naeini et al. 2015): mean distance of confidence and accuracy over the bins, by their words."""
    if not len(words.correct):
        return 0.0
    found = bins(words)
    return float(np.average(np.abs(found.confidence - found.correct), weights=found.counts))
