"""Decoder steps: what the searches of several streams ask at the same time is one model call."""

from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from s4speech.layers import State, cat_rows, select_rows, split_rows
from s4speech.layers.state import map_state
from s4speech.models.asr.streaming import Projected, TriggeredDecoder
from s4speech.search.frame_sync import Answer

Result = TypeVar("Result")


class Step(NamedTuple):
    """One token for each of n prefixes of a stream: tokens (n,), state (n rows), the frames seen (1 row)."""

    tokens: Tensor
    state: State
    seen: Projected


Steps: TypeAlias = Generator[Step, Answer, Result]  # work that needs decoder steps on its way to a result


def run_steps(decoder: TriggeredDecoder, works: Sequence[Steps[Result]]) -> list[Result]:
    """Run all to their ends, side by side: each round answers the next step of all that have one."""
    results: dict[int, Result] = {}
    answers: dict[int, Answer | None] = dict.fromkeys(range(len(works)))
    while answers:
        asked: dict[int, Step] = {}
        for index, answer in answers.items():
            try:
                asked[index] = next(works[index]) if answer is None else works[index].send(answer)
            except StopIteration as end:
                results[index] = end.value
        answers = dict(zip(asked, _score(decoder, list(asked.values())), strict=True))
    return [results[index] for index in range(len(works))]


def _score(decoder: TriggeredDecoder, steps: Sequence[Step]) -> list[Answer]:
    """Answer steps of several streams with one call."""
    if not steps:
        return []
    device = steps[0].tokens.device
    counts, sizes = [len(step.tokens) for step in steps], [size(step.seen) for step in steps]
    valid = torch.arange(max(sizes), device=device) < torch.tensor(sizes, device=device).unsqueeze(1)
    if len(steps) == 1:
        return [decoder.score(*steps[0], valid)]
    # The decoder wants equally many rows of each stream: the first row of those with fewer is repeated.
    most, first = max(counts), 0
    rows: list[int] = []
    kept: list[int] = []
    for index, count in enumerate(counts):
        rows += [*range(first, first + count), *[first] * (most - count)]
        kept += range(index * most, index * most + count)
        first += count
    padded = torch.tensor(rows, device=device)
    log_probs, state = decoder.score(
        torch.cat([step.tokens for step in steps])[padded],
        select_rows(cat_rows([step.state for step in steps]), padded),
        map_state(lambda *windows: _stack(windows, max(sizes)), *(step.seen for step in steps)),
        valid,
    )
    real = torch.tensor(kept, device=device)
    return split_rows(select_rows((log_probs, state), real), counts)


def _stack(windows: Sequence[Tensor], frames: int) -> Tensor:
    """Windows (1, H, W, d) -> (N, H, frames, d), zeros after the shorter ones."""
    return torch.cat([F.pad(window, (0, 0, 0, frames - window.shape[2])) for window in windows])


def size(projected: Projected) -> int:
    """How many frames there are."""
    return projected.keys[0].shape[2]


def cut(projected: Projected, frames: slice) -> Projected:
    """Some of the frames."""
    part: Projected = map_state(lambda leaf: leaf[:, :, frames], projected)
    return part


def join(before: Projected, after: Projected) -> Projected:
    """Frames, and those that follow them."""
    joined: Projected = map_state(lambda *leaves: torch.cat(leaves, 2), before, after)
    return joined
