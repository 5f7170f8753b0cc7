"""Oracles of the searches: every CTC path enumerated, every transcript scored from scratch, a toy scorer."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

Transcript = tuple[int, ...]


def log_sum(values: list[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).logsumexp(0)) if values else -math.inf


def collapse(path: tuple[int, ...]) -> Transcript:
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


def transcripts_by_enumeration(log_probs: Tensor) -> dict[Transcript, float]:
    """log p(h) of every transcript h by summing all V^T paths of (T, V) log-probabilities."""
    frames = log_probs.double().tolist()
    paths: dict[Transcript, list[float]] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(frames)):
        score = math.fsum(frame[label] for frame, label in zip(frames, path, strict=True))
        paths.setdefault(collapse(path), []).append(score)
    return {transcript: log_sum(scores) for transcript, scores in paths.items()}


def prefix_score(transcripts: dict[Transcript, float], prefix: Transcript) -> float:
    """log psi(prefix): all transcripts that begin with it."""
    return log_sum([score for h, score in transcripts.items() if h[: len(prefix)] == prefix])


class RecurrentState(NamedTuple):
    history: Tensor  # (N, D)
    count: Tensor  # (N,) tokens read


class RecurrentScorer:
    """h_t = a * h_{t-1} + E[token], logits = W tanh(h) + memory: every score depends on the whole history.

    memory: (B, V), one row an utterance. Without `droppable` it has no `keep`, like a decoder that cannot
    shrink.
    """

    def __init__(self, memory: Tensor, seed: int, droppable: bool = True) -> None:
        make = torch.Generator().manual_seed(seed)
        vocabulary, size = memory.shape[1], 6
        self.memory, self.seed = memory, seed
        self.decay = torch.rand(size, generator=make, dtype=torch.float64) * 1.2 - 0.3
        self.embedding = torch.randn(vocabulary, size, generator=make, dtype=torch.float64)
        self.output = torch.randn(vocabulary, size, generator=make, dtype=torch.float64)
        self.calls: list[int] = []  # rows of each call
        if droppable:
            self.keep = self._keep

    def _keep(self, utterances: Tensor) -> RecurrentScorer:
        kept = RecurrentScorer(self.memory[utterances], self.seed)
        kept.calls = self.calls
        return kept

    def init_state(self, batch: int) -> RecurrentState:
        return RecurrentState(torch.zeros(batch, len(self.decay), dtype=torch.float64), torch.zeros(batch))

    def score(self, tokens: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        self.calls.append(len(tokens))
        history = self.decay * state.history + self.embedding[tokens]
        bias = self.memory.repeat_interleave(len(tokens) // len(self.memory), dim=0)
        log_probs = (history.tanh() @ self.output.T + bias).log_softmax(-1)
        return log_probs, RecurrentState(history, state.count + 1)


def rescore(scorer: RecurrentScorer, utterance: int, tokens: Transcript, sos: int, eos: int) -> float:
    """log p(tokens eos) of one utterance, alone and from scratch."""
    alone = RecurrentScorer(scorer.memory[utterance : utterance + 1], scorer.seed)
    state, total = alone.init_state(1), 0.0
    for read, write in itertools.pairwise((sos, *tokens, eos)):
        log_probs, state = alone.score(torch.tensor([read]), state)
        total += float(log_probs[0, write])
    return total
