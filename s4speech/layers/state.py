"""Row operations on recurrent states.

A state is a value: a NamedTuple (or tuple) of tensors, possibly nested, with the batch on dim 0 of every
leaf. Beam search reorders rows, a batch engine lets rows join, pause and leave; none of them knows what is
inside.

A leaf that grows with time (an attention cache) keeps time on dim 1, *right-aligned*: the newest entry is
last. When two states of different age meet, the shorter one is padded with zeros on the left, which its own
length leaf already marks as invalid.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = Any  # a Tensor, or a (named) tuple of State


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Apply `function` leaf by leaf to states of one structure and return the same structure."""
    first = states[0]
    if isinstance(first, Tensor):
        return function(*states)
    if not isinstance(first, tuple):
        raise TypeError(f"a state is made of tensors and tuples, got {type(first).__name__}")
    leaves = [map_state(function, *parts) for parts in zip(*states, strict=True)]
    return type(first)(*leaves) if hasattr(first, "_fields") else tuple(leaves)


def _align(leaves: Sequence[Tensor]) -> list[Tensor]:
    """Left-pad dim 1 with zeros to the longest of `leaves` (a no-op for leaves of constant size)."""
    if leaves[0].dim() < 2:
        return list(leaves)
    longest = max(leaf.shape[1] for leaf in leaves)
    pad = (0, 0) * (leaves[0].dim() - 2)
    return [F.pad(leaf, (*pad, longest - leaf.shape[1], 0)) for leaf in leaves]


def select_rows(state: State, index: Tensor) -> State:
    """Rows `index` (M,) int64 of a state of N rows -> a state of M rows; rows may repeat (beam reorder)."""
    return map_state(lambda leaf: leaf.index_select(0, index), state)


def where_rows(mask: Tensor, yes: State, no: State) -> State:
    """Row b from `yes` where mask (N,) bool is true, else from `no` (a paused row keeps its old state)."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        a, b = _align([a, b])
        return torch.where(mask.view(-1, *([1] * (a.dim() - 1))), a, b)

    return map_state(choose, yes, no)


def cat_rows(states: Sequence[State]) -> State:
    """States of N1, N2, ... rows -> one state of N1 + N2 + ... rows (rows join).

    Raises ValueError when there is no state.
    """
    if not states:
        raise ValueError("cat_rows needs at least one state")
    return map_state(lambda *leaves: torch.cat(_align(leaves)), *states)


def split_rows(state: State, sizes: Sequence[int]) -> list[State]:
    """The inverse of `cat_rows`: a state of sum(sizes) rows -> one state a size (rows leave)."""
    bounds = [0]
    for size in sizes:
        bounds.append(bounds[-1] + size)
    return [map_state(lambda leaf, a=start, b=stop: leaf[a:b], state) for start, stop in pairwise(bounds)]
