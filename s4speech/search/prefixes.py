"""The live prefixes of a frame-synchronous search, and their stacked states."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4speech.layers.state import State, cat_rows, select_rows
from s4speech.text.tokenizer import BLANK

_INF = math.inf
Start = tuple[State, int]  # a state of 1 row, and the token to read next


class Tail(NamedTuple):
    """How the paths of a transcript end, natural logs of parts of 1: a token may be held across a cut."""

    last: int  # the token that goes on if it comes again; BLANK: none
    in_blank: float  # paths that end in blank, after which it is a new one
    in_token: float


@dataclass(slots=True, eq=False)
class Prefix:
    """A live prefix. Masses are natural logs over the paths that spell it."""

    tokens: tuple[int, ...] = ()
    last: int = BLANK  # the last token, of the segment before if there is none here; BLANK: none
    in_blank: float = 0.0  # paths that end in blank
    in_token: float = -_INF  # paths that end in the last token
    total: float = 0.0
    frames: tuple[int, ...] = ()  # trigger of each token
    peak: float = 0.0  # log-probability of the last token in its trigger
    attention: float = 0.0
    lm: float = 0.0
    bonus: float = 0.0  # of hotwords, the unfinished one included
    rest: float = 0.0  # rank less total
    node: int = 0  # of the hotwords
    row: int = 0  # of the decoder's states: before the last token
    lm_row: int = 0  # of the language model's states: before the last token, or after it if lm_next is known
    lm_next: NDArray[np.floating] | None = None  # (V,) log-probabilities after the last token
    children: dict[int, Prefix] = field(default_factory=dict)  # live, by token


class Extension(NamedTuple):
    """`parent` and `token`, proposed in this frame; `child` if they are live and trigger again."""

    parent: Prefix
    token: int
    mass: float  # of the paths that get there in this frame
    log_p: float  # of the token in this frame
    child: Prefix | None


class StackedStates:
    """One stacked state. Each prefix knows its row, which siblings may share."""

    def __init__(self, start: Start) -> None:
        self._state, self._token = start
        self._device = _leaf(self._state).device

    def rows(self, rows: list[int]) -> State:
        """These rows; they may repeat."""
        return select_rows(self._state, torch.tensor(rows, device=self._device))

    def read(self, prefixes: list[Prefix], rows: list[int]) -> tuple[Tensor, State]:
        """The last tokens (n,) of prefixes, or the start's, and the rows (the states) to read them from."""
        tokens = [prefix.last if prefix.tokens else self._token for prefix in prefixes]
        return torch.tensor(tokens, device=self._device), self.rows(rows)

    def append(self, state: State) -> int:
        """New rows below the others; returns the number of the first."""
        first, self._state = len(_leaf(self._state)), cat_rows([self._state, state])
        return first

    def keep(self, rows: Iterable[int]) -> dict[int, int]:
        """Drops all other rows; returns the new number of each."""
        kept = sorted(set(rows))
        self._state = self.rows(kept)
        return {old: new for new, old in enumerate(kept)}


def _leaf(state: State) -> Tensor:
    while not isinstance(state, Tensor):
        state = state[0]
    return state
