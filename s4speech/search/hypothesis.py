"""What every search returns, and what a label-synchronous search asks of its scorers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """One transcript of one utterance.

    tokens: vocabulary ids, without blank, sos and eos.
    score: natural log of what the search ranks by; higher is better.
    scores: unweighted log-probability by part: "attention", "ctc", "lm".
    ended_by: "eos": the scorers ended it; "frames": a time-synchronous search reached the last frame;
        "limit": suspicious, it has as many tokens as there are encoder frames, or nothing could end it.
    frames: encoder frame (0-based) at which each token peaks, where the search knows it.
    """

    tokens: list[int]
    score: float
    scores: dict[str, float] = field(default_factory=dict)
    ended_by: Literal["eos", "frames", "limit"] = "eos"
    frames: list[int] | None = None


class Scorer(Protocol):
    """A label-synchronous scorer: an attention decoder bound to its encoder memory, or a language model.

    It works on N = utterances x hypotheses rows, utterance-major: hypothesis k of utterance b is row b * K +
    k, and every utterance always has the same number K of rows. It keeps nothing between calls: its state is
    a value, a (nested) tuple of tensors with the N rows on dim 0 of every leaf, which the search reorders.

    A scorer may also have ``keep(utterances: Tensor) -> Scorer``: itself, bound to these utterances (int64
    positions in its present batch) only. A decoder without it goes on being called with the rows of finished
    utterances. A language model needs it only if it is bound to utterances.
    """

    def init_state(self, batch: int) -> Any:
        """State of `batch` rows that have read nothing."""
        ...

    def score(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Reads one token a row, (N,) int64, sos first -> log-probabilities (N, V) of the next, new state."""
        ...
