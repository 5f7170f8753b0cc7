"""A back-off n-gram model as a tree of sorted arrays: a token that follows a context is found by bisection.

Token ids are those of a `Tokenizer`: one id, EOS, is <s> where a context begins, and </s> where it is
predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float32]

ZERO = -99.0  # log10 of what has no probability; SRILM's own convention


class Level(NamedTuple):
    """The n-grams of one order, sorted by their tokens, first token first.

    words: (G,) the last token of each. log10: (G,) log10 p(last token | those before); NaN: none, only a
    context. back_off: (G,) log10; starts: (G + 1,), the n-grams starts[g] .. starts[g + 1] of the next level
    begin with this one; both are empty in the last level.
    """

    words: Ints
    log10: Floats
    back_off: Floats
    starts: Ints


class NgramModel:
    """Immutable, and safe to share between threads. The first level has all V tokens, in order."""

    def __init__(self, levels: Sequence[Level]) -> None:
        """Raises ValueError: the levels are no tree."""
        self.levels = tuple(levels)
        self.order, self.vocab_size = len(levels), len(levels[0].words)
        _check(self.levels)

    @property
    def counts(self) -> list[int]:
        """How many n-grams each order has."""
        return [len(level.words) for level in self.levels]

    def children(self, level: int, nodes: Ints, tokens: Ints) -> NDArray[np.int64]:
        """The nodes of `level` + 1 at which `tokens` follow `nodes` of `level`; -1 where none does.

        nodes: -1 has no children.
        """
        starts, words = self.levels[level].starts, self.levels[level + 1].words
        low, end = starts[nodes].astype(np.int64), starts[nodes + 1].astype(np.int64)
        end[nodes < 0] = low[nodes < 0] = 0
        high = end.copy()
        while len(open_ := np.flatnonzero(low < high)):
            middle = (low[open_] + high[open_]) // 2
            right = words[middle] < tokens[open_]
            low[open_[right]] = middle[right] + 1
            high[open_[~right]] = middle[~right]
        found = low < end
        found[found] = words[low[found]] == tokens[found]
        return np.where(found, low, -1)

    def contexts(self, history: Ints) -> list[NDArray[np.int64]]:
        """history (N, order - 1), the last tokens read, -1 before the first -> nodes (N,) of the last token,
        of the last two, ... of all; -1: not in the model."""
        rows, width = history.shape
        # nodes[k - 1]: of the last k tokens of every row. All of them go down the tree together.
        first = history[:, ::-1].T.astype(np.int64)
        nodes = np.where(first < self.vocab_size, first, -1)
        last = np.arange(width)[::-1]
        for depth in range(1, width):
            tokens = history[:, last[depth:] + depth].T
            below = self.children(depth - 1, nodes[depth:].reshape(-1), tokens.reshape(-1))
            nodes[depth:] = below.reshape(-1, rows)
        return list(nodes)

    def rows(self, history: Ints) -> Floats:
        """history (N, order - 1) as in `contexts` -> log10 p (N, V) of the next token."""
        out = np.repeat(self.levels[0].log10[None], len(history), axis=0)
        for level, nodes in enumerate(self.contexts(history)):
            here, below = self.levels[level], self.levels[level + 1]
            rows = np.flatnonzero(nodes >= 0)
            known = nodes[rows]
            out[rows] += here.back_off[known, None]
            starts = here.starts[known].astype(np.int64)
            sizes = here.starts[known + 1].astype(np.int64) - starts
            where = np.arange(sizes.sum()) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
            values, tokens, rows = below.log10[where], below.words[where], np.repeat(rows, sizes)
            given = ~np.isnan(values)
            out[rows[given], tokens[given]] = values[given]
        return out

    def log10(self, tokens: Ints) -> NDArray[np.float64]:
        """tokens (T,), of which the first is only read, as <s> is -> log10 p (T - 1,) of the others.

        EOS ends a sentence, and the next one begins there.
        """
        tokens = tokens.astype(np.int64)
        before, known = tokens[:-1], tokens[1:]  # nodes of the context, and of it with the token
        found = self.levels[0].log10[known].astype(np.float64)
        for level in range(self.order - 1):
            here, below = self.levels[level], self.levels[level + 1]
            found += np.where(before < 0, 0.0, here.back_off[before])
            known = self.children(level, before, tokens[1:])
            values = np.where(known < 0, np.nan, below.log10[known] if len(below.log10) else np.nan)
            found = np.where(np.isnan(values), found, values)
            before = np.concatenate([[-1], known[:-1]])
        return found


def _check(levels: Sequence[Level]) -> None:
    """Raises ValueError: following the levels would lead outside them, or give no probability."""
    vocab_size = len(levels[0].words)
    for n, (words, log10, back_off, starts) in enumerate(levels, start=1):
        last = n == len(levels)
        inner = 0 if last else len(words)
        if not len(log10) == len(words) or len(back_off) != inner or len(starts) != inner + (not last):
            raise ValueError(f"order {n}: {len(words)} n-grams, and not as many probabilities or back-offs")
        if (log10 > 0).any() or np.isinf(log10).any() or not np.isfinite(back_off).all():
            raise ValueError(f"order {n}: a log-probability above 0, or a number that is not finite")
        if len(words) and int(words.max()) >= vocab_size:
            raise ValueError(f"order {n}: token {words.max()}, wanted less than {vocab_size}")
        if not last:
            below = levels[n].words
            if starts[0] != 0 or starts[-1] != len(below) or (starts[1:] < starts[:-1]).any():
                raise ValueError(f"order {n}: where the next order begins is out of order")
            sorted_ = below[1:] > below[:-1]
            sorted_[starts[(starts > 0) & (starts < len(below))] - 1] = True
            if not sorted_.all():
                raise ValueError(f"order {n + 1}: n-grams are not sorted")
    if np.isnan(levels[0].log10).any() or (levels[0].words != np.arange(vocab_size)).any():
        raise ValueError("order 1: not every token, or one without a probability")
