"""Interpolated modified Kneser-Ney smoothing of n-gram counts.

Chen and Goodman 1998 ("An empirical study of smoothing techniques for language modeling"), in the form of
Heafield et al. 2013 ("Scalable modified Kneser-Ney language model estimation"), whose lmplz gives the same
numbers: counts of the highest order as they are; below it an n-gram counts the different tokens before it,
except those that begin with <s>; three discounts an order from its counts of counts; the unigrams are
interpolated with the uniform distribution; what is pruned leaves its mass to the back-off.

Memory, at the most: about 11 bytes a token of text, or 70 to 90 for every different n-gram of the highest
order (120 where the vocabulary is large: words), whichever is more. Where there is less, it stops at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4speech.errors import InputError
from s4speech.text.ngram import ZERO, Ints, Level, NgramModel
from s4speech.text.ngram_tables import changes, digits_per_number, group, pack, token_type
from s4speech.text.tokenizer import BLANK, EOS

Float64s = NDArray[np.float64]
Discounts = tuple[float, float, float]

FALLBACK: Discounts = (0.5, 1.0, 1.5)  # lmplz's
_CHUNK = 1 << 24  # windows that are packed at once


@dataclass(frozen=True)
class Estimate:
    """A model and how it was made. fallback: orders whose counts of counts give no discounts."""

    model: NgramModel
    discounts: list[Discounts]
    fallback: list[int]


class _Counts(NamedTuple):
    """The n-grams of one order, sorted. words: (n, G). raw: how often each stands in the text; adjusted: what
    Kneser-Ney counts."""

    words: Ints
    raw: Ints
    adjusted: Ints


class _Order(NamedTuple):
    """What remains of one order, without what is pruned; numbers of the order below are before pruning there.

    words: (G,) last tokens. mass: (G,) discounted probability. gamma: (G,) weight of the order below in the
    context of each. parent, lower: (G,) the n-gram without its last and without its first token.
    """

    words: Ints
    mass: Float64s
    gamma: Float64s
    parent: Ints
    lower: Ints


def estimate(
    tokens: Ints,
    order: int,
    vocab_size: int,
    prune: Sequence[int] = (),
    fallback: Discounts | None = FALLBACK,
) -> Estimate:
    """The model of a text.

    tokens: (T,) ids below `vocab_size`, of which BLANK is never predicted: sentences, with EOS before the
    first, between them, and after the last. prune: for each order (the last number counts for those above it
    too) the count up to which n-grams are left out, never falling, 0 for the unigrams. fallback: discounts of
    an order whose counts of counts give none, as those of small vocabularies and made-up texts.

    Raises InputError: no text, thresholds out of order, no discounts and no fallback, not enough memory.
    """
    thresholds = _thresholds(order, prune)
    if len(tokens) < 3 or tokens[0] != EOS or tokens[-1] != EOS:
        raise InputError(
            f"n-grams: {len(tokens)} tokens; wanted sentences between <s> and </s>, at least one"
        )
    check_memory(10 * len(tokens), f"{len(tokens)} tokens")
    tokens = tokens.astype(token_type(vocab_size), copy=False)
    ends = np.flatnonzero(tokens == EOS)
    discounts: list[Discounts] = []
    fell_back: list[int] = []
    orders: list[_Order] = []
    kept_of: list[NDArray[np.bool_]] = []
    back_offs: list[Float64s] = []
    found = _all_unigrams(tokens, vocab_size) if order == 1 else _longest(tokens, order, vocab_size)
    for n in range(order, 0, -1):
        used = _discounts(found.adjusted, n)
        if used is None and fallback is None:
            raise InputError(
                f"n-grams: the counts of counts of order {n} give no discounts (a small or made-up text, or a"
                " small vocabulary); use more text, or fallback discounts"
            )
        fell_back[:0] = [n] if used is None else []
        discounts.insert(0, used or fallback or FALLBACK)
        if n == 1:
            break
        shorter, lower = _shorten(found.words, found.raw, tokens, ends, vocab_size)
        kept = found.raw > thresholds[n - 1]
        remains, back_off = _smooth(found, kept, shorter.words, lower, discounts[0])
        orders.insert(0, remains)
        kept_of.insert(0, kept)
        back_offs.insert(0, back_off)
        found = shorter
    model = NgramModel(_interpolate(found.adjusted, discounts[0], orders, kept_of, back_offs))
    return Estimate(model, discounts, fell_back)


def _thresholds(order: int, prune: Sequence[int]) -> list[int]:
    full = [*prune, *[prune[-1] if prune else 0] * order][:order]
    if len(prune) > order or full[0] or sorted(full) != full:
        raise InputError(
            f"prune: got {list(prune)}; wanted at most {order} counts that never fall, the first of them 0"
        )
    return full


def _all_unigrams(tokens: Ints, vocab_size: int) -> _Counts:
    raw = np.bincount(tokens[1:], minlength=vocab_size)
    return _Counts(np.arange(vocab_size)[None], raw, raw)


def _longest(tokens: Ints, order: int, vocab_size: int) -> _Counts:
    """The n-grams of the highest order: all windows without an end of sentence inside."""
    last = len(tokens) - order + 1
    whole = np.ones(max(last, 0), bool)
    for i in range(1, order - 1):
        whole &= tokens[i : last + i] != EOS
    words, raw = _count(tokens, whole, order, vocab_size)
    return _Counts(words, raw, raw)


def _count(tokens: Ints, begins: NDArray[np.bool_], n: int, vocab_size: int) -> tuple[Ints, Ints]:
    """The different windows tokens[i : i + n] with begins[i] -> (n, G) sorted, how often each stands (G,)."""
    digits, total, done = digits_per_number(vocab_size), int(begins.sum()), 0
    parts = [np.empty(total, np.uint64) for _ in range(0, n, digits)]
    for start in range(0, len(begins), _CHUNK):
        at = np.flatnonzero(begins[start : start + _CHUNK]) + start
        for part, packed in zip(parts, pack([tokens[at + i] for i in range(n)], vocab_size), strict=True):
            part[done : done + len(at)] = packed
        done += len(at)
    if len(parts) == 1:
        parts[0].sort()
    else:
        order = np.lexsort(parts[::-1])
        parts = [part[order] for part in parts]
        del order
    first = changes(parts)
    raw = np.diff(np.append(first, total)).astype(np.uint32)
    parts = [part[first] for part in parts]
    check_memory(60 * len(first), f"{len(first)} different {n}-grams")
    words = np.empty((n, len(first)), token_type(vocab_size))
    for row in reversed(range(n)):
        part = parts[row // digits]
        words[row] = part % np.uint64(vocab_size)
        part //= np.uint64(vocab_size)
    return words, raw


def _shorten(
    words: Ints, raw: Ints, tokens: Ints, ends: NDArray[np.int64], vocab_size: int
) -> tuple[_Counts, Ints]:
    """n-grams (n, G) -> those of n - 1 tokens, and (G,) which of them each is without its first token.

    What begins with <s> has nothing before it that could be counted: its count is that of the text.
    """
    n = len(words)
    if n == 2:
        counts = _all_unigrams(tokens, vocab_size)
        return counts._replace(adjusted=np.bincount(words[1], minlength=vocab_size)), words[1]
    order, first = group(words[1:], vocab_size)
    lower = np.empty(words.shape[1], np.uint32)
    sizes = np.diff(np.append(first, len(order)))
    lower[order] = np.repeat(np.arange(len(first), dtype=np.uint32), sizes)
    shorter = words[1:, order[first]]
    shorter_raw = np.add.reduceat(raw[order], first, dtype=np.int64)
    # Sentences that are long enough: the next end is not inside the window.
    starts = np.zeros(len(tokens), bool)
    starts[ends[:-1][np.diff(ends) >= n - 2]] = True
    begin, begin_raw = _count(tokens, starts, n - 1, vocab_size)
    at = int(np.searchsorted(shorter[0], EOS))  # none of the others begins with <s>
    lower += (lower >= at) * np.uint32(begin.shape[1])

    def with_begin(rows: Ints, new: Ints) -> Ints:
        return np.concatenate([rows[..., :at], new.astype(rows.dtype), rows[..., at:]], axis=-1)

    return (
        _Counts(with_begin(shorter, begin), with_begin(shorter_raw, begin_raw), with_begin(sizes, begin_raw)),
        lower,
    )


def _discounts(adjusted: Ints, n: int) -> Discounts | None:
    """Of counts 1, 2 and more; None: these counts of counts give none. Chen and Goodman, equation 26."""
    n1, n2, n3, n4 = np.bincount(np.minimum(adjusted, 5), minlength=6)[1:5].tolist()
    if not (n1 and n2 and n3):
        return None
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 <= d <= i for i, d in enumerate(found, start=1)) else None


def _smooth(
    found: _Counts, kept: NDArray[np.bool_], shorter: Ints, lower: Ints, discounts: Discounts
) -> tuple[_Order, Float64s]:
    """One order, and log10 back-off of each n-gram (n - 1, G') `shorter` of the one below it."""
    words, adjusted = found.words, found.adjusted
    first = changes(words[:-1])
    sizes = np.diff(np.append(first, words.shape[1]))

    def total(values: NDArray[Any]) -> NDArray[np.int64]:
        return np.add.reduceat(values, first, dtype=np.int64)

    whole = total(adjusted)
    left: Float64s = total(np.where(kept, 0, adjusted)).astype(np.float64)  # what the pruned ones had
    for i, discount in enumerate(discounts, start=1):
        left += discount * total((adjusted == i if i < 3 else adjusted >= 3) & kept)
    gamma = left / whole
    # All that can be gone on from, in order: the contexts.
    nodes = words[0, first] if len(words) == 2 else np.flatnonzero(shorter[-1] != EOS)
    back_off = np.zeros(shorter.shape[1])
    back_off[nodes] = np.log10(np.maximum(gamma, 10.0**ZERO))
    context = np.repeat(np.arange(len(first), dtype=np.int32), sizes)[kept]
    adjusted = adjusted[kept]
    mass = (adjusted - np.array([0, *discounts])[np.minimum(adjusted, 3)]) / whole[context]
    return _Order(words[-1, kept], mass, gamma[context], nodes[context], lower[kept]), back_off


def _interpolate(
    unigrams: Ints,
    discounts: Discounts,
    orders: Sequence[_Order],
    kept_of: Sequence[NDArray[np.bool_]],
    back_offs: Sequence[Float64s],
) -> list[Level]:
    """From the unigrams up, which have the uniform distribution below them."""
    used = np.array([0, *discounts])[np.minimum(unigrams, 3)]
    p = (unigrams - used + used.sum() / (len(unigrams) - 1)) / unigrams.sum()
    p[BLANK] = 10.0**ZERO
    kept_of = [np.ones(len(unigrams), bool), *kept_of]
    levels: list[Level] = []
    words: Ints = np.arange(len(unigrams)).astype(token_type(len(unigrams)))
    for n, kept in enumerate(kept_of):
        log10 = np.log10(p).astype(np.float32)
        if n == len(orders):
            levels.append(Level(words, log10, np.zeros(0, np.float32), np.zeros(0, np.uint32)))
            break
        number = np.cumsum(kept) - 1  # among those that are kept
        above = orders[n]
        children = np.bincount(number[above.parent], minlength=len(words))
        starts = np.append(0, np.cumsum(children)).astype(np.uint32)
        levels.append(Level(words, log10, back_offs[n][kept].astype(np.float32), starts))
        p = above.mass + above.gamma * p[number[above.lower]]
        words = above.words
    return levels


def check_memory(needed: int, what: str) -> None:
    """Raises InputError: `what` takes more bytes than this machine has free (where the system tells)."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), needed)
    if needed > free:
        raise InputError(
            f"n-grams: {what} need about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; use"
            " less text (text.max_tokens), a lower order, or a larger machine"
        )
