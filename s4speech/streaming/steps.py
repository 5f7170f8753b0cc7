"""Steps of decoder and language model: what several streams ask at the same time is one call of each."""

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from s4speech.layers import State, cat_rows, select_rows, split_rows
from s4speech.layers.state import map_state
from s4speech.models.asr.streaming import Projected, TriggeredDecoder
from s4speech.search.frame_sync import Answer, Answers, Read

Result = TypeVar("Result")


class Step(NamedTuple):
    """One token for each of n prefixes of a stream: tokens (n,), state (n rows), the frames seen (1 row).

    read: what the language model reads at the same time.
    """

    tokens: Tensor
    state: State
    seen: Projected
    read: Read | None = None


Needed = Step | Read
# Work that needs such steps on its way to a result: an Answer to each, Answers to a Step with a Read.
Steps: TypeAlias = Generator[Needed, Answer | Answers, Result]


def run_steps(decoder: TriggeredDecoder, works: Sequence[Steps[Result]]) -> list[Result]:
    """Run all to their ends, side by side: each round answers the next step of all that have one."""
    results: dict[int, Result] = {}
    answers: dict[int, Answer | Answers | None] = dict.fromkeys(range(len(works)))
    while answers:
        asked: dict[int, Needed] = {}
        for index, answer in answers.items():
            try:
                asked[index] = next(works[index]) if answer is None else works[index].send(answer)
            except StopIteration as end:
                results[index] = end.value
        answers = dict(zip(asked, _answer(decoder, list(asked.values())), strict=True))
    return [results[index] for index in range(len(works))]


def _answer(decoder: TriggeredDecoder, asked: Sequence[Needed]) -> Iterator[Answer | Answers]:
    """Answer steps of several streams, with one call of each model."""
    scored = iter(_score(decoder, [one for one in asked if isinstance(one, Step)]))
    reads = [one if isinstance(one, Read) else one.read for one in asked]
    heard = iter(_hear([read for read in reads if read is not None]))
    for one, read in zip(asked, reads, strict=True):
        if isinstance(one, Read):
            yield next(heard)
        else:
            yield next(scored) if read is None else Answers(next(scored), next(heard))


def _hear(reads: Sequence[Read]) -> list[Answer]:
    """Answer what is read by language models, of which streams that are used alike have one."""
    answers: dict[int, Answer] = {}
    for lm in {id(read.lm): read.lm for read in reads}.values():
        own = [i for i, read in enumerate(reads) if read.lm is lm]
        tokens = torch.cat([reads[i].tokens for i in own])
        found = lm.score(tokens, cat_rows([reads[i].state for i in own]))
        answers |= zip(own, split_rows(found, [len(reads[i].tokens) for i in own]), strict=True)
    return [answers[i] for i in range(len(reads))]


def _score(decoder: TriggeredDecoder, steps: Sequence[Step]) -> list[Answer]:
    """Answer steps of several streams with one call."""
    if not steps:
        return []
    device = steps[0].tokens.device
    counts, sizes = [len(step.tokens) for step in steps], [size(step.seen) for step in steps]
    valid = torch.arange(max(sizes), device=device) < torch.tensor(sizes, device=device).unsqueeze(1)
    if len(steps) == 1:
        tokens, state, seen, _ = steps[0]
        return [decoder.score(tokens, state, seen, valid)]
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
