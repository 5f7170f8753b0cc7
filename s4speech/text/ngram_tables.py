"""N-grams as tables of tokens, (n, G): sorted, grouped, and made into the levels of an `NgramModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4speech.text.ngram import Floats, Ints, Level


def arrange(tables: Sequence[tuple[Ints, Floats, Floats]], vocab_size: int) -> list[Level]:
    """The levels of n-grams in any order: for each n the tokens (n, G), log10 p and log10 back-off (G,).

    A context that is no n-gram itself becomes one without a probability. What stands twice is one n-gram,
    with the probability that one of them has and the sum of the back-offs: <s> and </s> become one token.

    Raises ValueError: an n-gram has two probabilities.
    """
    levels: list[Level] = []
    above = None  # the contexts of the order above
    done: list[tuple[Ints, Floats, Floats]] = []
    for words, log10, back_off in reversed(tables):
        n = len(words)
        if above is not None:
            words = np.concatenate([words, above], axis=1)
            log10 = np.concatenate([log10, np.full(above.shape[1], np.nan, np.float32)])
            back_off = np.concatenate([back_off, np.zeros(above.shape[1], np.float32)])
        if n == 1:  # every token
            words = np.concatenate([words, np.arange(vocab_size)[None]], axis=1)
            log10 = np.concatenate([log10, np.full(vocab_size, np.nan, np.float32)])
            back_off = np.concatenate([back_off, np.zeros(vocab_size, np.float32)])
        order, starts = group(words, vocab_size)
        log10, back_off = log10[order], back_off[order]
        if len(starts):
            if (np.add.reduceat((~np.isnan(log10)).astype(np.int64), starts) > 1).any():
                raise ValueError(f"a {n}-gram stands twice")
            log10, back_off = np.fmax.reduceat(log10, starts), np.add.reduceat(back_off, starts)
        words = words[:, order[starts]]
        done.insert(0, (words, log10, back_off))
        if n > 1:
            first = changes(words[:-1])
            above = words[:-1, first]
    for n, (words, log10, back_off) in enumerate(done, start=1):
        starts = np.zeros(0, np.uint32)
        if n < len(done):
            longer = done[n][0]
            first = changes(longer[:-1])
            sizes = np.diff(np.append(first, longer.shape[1]))
            # The contexts, in order, are the nodes that have followers: both are sorted alike.
            has = _among(words, longer[:-1, first], vocab_size)
            children = np.zeros(words.shape[1], np.int64)
            children[has] = sizes
            starts = np.append(0, np.cumsum(children)).astype(np.uint32)
        else:
            back_off = np.zeros(0, np.float32)
        levels.append(Level(words[-1].astype(token_type(vocab_size)), log10, back_off, starts))
    return levels


def _among(words: Ints, some: Ints, vocab_size: int) -> NDArray[np.bool_]:
    """Which columns of `words` (n, G), sorted and different, are columns of `some`, which are all of them."""
    order, starts = group(np.concatenate([words, some], axis=1), vocab_size)
    twice: NDArray[np.bool_] = np.diff(np.append(starts, len(order))) > 1
    return twice


def group(words: Ints, vocab_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """words (n, G) -> the order (G,) that sorts the columns, and where in it each different one begins."""
    parts = pack(words, vocab_size)
    order = np.argsort(parts[0]) if len(parts) == 1 else np.lexsort(parts[::-1])
    return order, changes([part[order] for part in parts])


def pack(words: Sequence[Ints] | Ints, vocab_size: int) -> list[NDArray[np.uint64]]:
    """Columns (n, G) -> as few numbers as hold them; they compare as the columns do, the first one first."""
    digits, base = digits_per_number(vocab_size), np.uint64(vocab_size)
    parts: list[NDArray[np.uint64]] = []
    for row, tokens in enumerate(words):
        if row % digits == 0:
            parts.append(tokens.astype(np.uint64))
        else:
            parts[-1] *= base
            parts[-1] += tokens.astype(np.uint64)
    return parts


def digits_per_number(vocab_size: int) -> int:
    """Tokens that one 64-bit number holds."""
    digits = 1
    while vocab_size ** (digits + 1) <= 1 << 64:
        digits += 1
    return digits


def token_type(vocab_size: int) -> type[np.unsignedinteger[Any]]:
    """The smallest that holds them: half of what an n-gram takes."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def changes(rows: Sequence[Ints] | Ints) -> NDArray[np.int64]:
    """Where a column differs from the one before, in any of its rows; the first one does."""
    changed = np.zeros(len(rows[0]), bool)
    changed[:1] = True
    for row in rows:
        changed[1:] |= row[1:] != row[:-1]
    return np.flatnonzero(changed)
