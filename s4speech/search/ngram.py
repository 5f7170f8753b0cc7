"""N-gram language model: an ARPA file over the tokens of a tokenizer, with back-off."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4speech.errors import InputError
from s4speech.text.tokenizer import EOS, SOS, UNKNOWN, Tokenizer

Context = tuple[int, ...]
Row = NDArray[np.float32]

_NOTHING = -1  # in a state: before the first token
_ZERO = -99.0  # log10 of what the file gives no probability; SRILM's own convention
_LN10 = math.log(10)
_NO_FOLLOWERS = (np.zeros(0, np.int64), np.zeros(0, np.float32))
_CACHED_ROWS = 2048  # 40 MB for 5000 tokens


class NgramLM:
    """A `Scorer` for any search; threads may share it. A state is (N, order - 1) int64: the last tokens read.

    <s>, </s> and <unk> of the file are SOS, EOS and UNKNOWN. A token that is not in it has the probability of
    <unk>, or 10^-99 without one.
    """

    def __init__(self, path: str | Path, tokenizer: Tokenizer) -> None:
        """Read an ARPA file, plain or gzipped.

        Raises InputError: unreadable, malformed, or a word that is not a token (naming the line).
        """
        self._vocabulary = tokenizer.vocab_size
        self._back_off: dict[Context, float] = {}
        self._followers: dict[Context, tuple[NDArray[np.int64], Row]] = {}  # tokens and natural logs
        ids = {piece: i for i, piece in enumerate(tokenizer.pieces)} | {"<s>": SOS, "</s>": EOS}
        ids |= {"<unk>": UNKNOWN, "<UNK>": UNKNOWN}
        self.order = 0
        for grams, values in _read(path, ids):
            self.order += 1
            self._add(grams, values)
        tokens, log_probs = self._followers.pop((), _NO_FOLLOWERS)
        unknown = log_probs[tokens == UNKNOWN]
        self._unigrams = np.full(self._vocabulary, unknown[0] if len(unknown) else _ZERO * _LN10, np.float32)
        self._unigrams[tokens] = log_probs
        self._row = lru_cache(_CACHED_ROWS)(self._compute_row)

    def init_state(self, batch: int) -> Tensor:
        """State of `batch` rows that have read nothing."""
        return torch.full((batch, self.order - 1), _NOTHING)

    def score(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Reads tokens (N,), SOS first -> natural logs (N, V) float32 of the next, new state."""
        state = torch.cat([state, tokens[:, None]], dim=1)[:, 1:]
        rows = [self._row(self._known(tuple(context))) for context in state.tolist()]
        return torch.from_numpy(np.stack(rows)).to(tokens.device), state

    def _known(self, context: Context) -> Context:
        """The longest end of a context that the model tells from shorter ones."""
        while context and context not in self._followers and context not in self._back_off:
            context = context[1:]
        return context

    def _compute_row(self, context: Context) -> Row:
        if not context:
            return self._unigrams
        row = self._row(self._known(context[1:])) + np.float32(self._back_off.get(context, 0.0))
        if context in self._followers:
            tokens, values = self._followers[context]
            row[tokens] = values
        return row

    def _add(self, grams: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Adds the n-grams (G, n) of one order; values (G, 2) are log10 of probability and back-off."""
        order = np.lexsort(grams.T[::-1])
        grams, values = grams[order], values[order] * _LN10
        for i in np.flatnonzero(values[:, 1]).tolist():
            self._back_off[tuple(grams[i].tolist())] = float(values[i, 1])
        given = ~np.isnan(values[:, 0])
        grams, values = grams[given], values[given]
        changes = np.flatnonzero((grams[1:, :-1] != grams[:-1, :-1]).any(axis=1)) + 1
        for start, stop in pairwise([0, *changes.tolist(), len(grams)] if len(grams) else []):
            context = tuple(grams[start, :-1].tolist())
            self._followers[context] = grams[start:stop, -1], values[start:stop, 0].astype(np.float32)


def _read(path: str | Path, ids: dict[str, int]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The n-grams of an ARPA file, order by order: ids (G, n), log10 of probability and back-off (G, 2)."""
    try:
        with open(path, "rb") as file:
            opened = gzip.open if file.read(2) == b"\x1f\x8b" else open
        with opened(path, "rt", encoding="utf-8") as text:
            lines = ((number, line.strip(" \t\r\n")) for number, line in enumerate(text, start=1))
            yield from _parse(path, ((n, line) for n, line in lines if line), ids)
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror or error}); wanted an ARPA file") from error
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot read ({error}); wanted an ARPA file, plain or gzipped") from error


def _parse(
    path: str | Path, lines: Iterator[tuple[int, str]], ids: dict[str, int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    def expect(wanted: str) -> tuple[int, str]:
        number, line = next(lines, (0, ""))
        if not number:
            raise InputError(f"{path}: ends where {wanted} is wanted; is the file whole?")
        return number, line

    number, line = expect("\\data\\")
    while line != "\\data\\":  # comments come before it
        number, line = expect("\\data\\")
    counts: list[int] = []
    number, line = expect("'ngram 1=COUNT'")
    while found := re.fullmatch(r"ngram\s+(\d{1,2})\s*=\s*(\d{1,18})", line):
        if int(found[1]) != len(counts) + 1:
            raise InputError(f"{path}:{number}: got '{line}'; wanted the count of order {len(counts) + 1}")
        counts.append(int(found[2]))
        number, line = expect("\\1-grams:")
    if not counts or not counts[0]:
        raise InputError(f"{path}:{number}: got '{_short(line)}'; wanted 'ngram 1=COUNT', 1 or more of them")
    for order, count in enumerate(counts, start=1):
        if line != f"\\{order}-grams:":
            raise InputError(f"{path}:{number}: got '{_short(line)}'; wanted '\\{order}-grams:'")
        grams, values = array("q"), array("d")  # as long as the file is, whatever the count says
        for i in range(count):
            number, line = expect(f"{order}-gram {i + 1} of {count}")
            try:
                words, numbers = _gram(line, order)
                grams.extend([ids[word] for word in words])
                values.extend(numbers)
            except KeyError as error:
                raise InputError(
                    f"{path}:{number}: {error} is no token of this model; wanted n-grams of the tokens that"
                    " its tokenizer splits text into"
                ) from None
            except ValueError:
                raise InputError(
                    f"{path}:{number}: got '{_short(line)}'; wanted LOG10, {order} tokens and, if it has one,"
                    " its back-off weight"
                ) from None
        yield np.array(grams).reshape(-1, order), np.array(values).reshape(-1, 2)
        number, line = expect("\\end\\")
    if line != "\\end\\":
        raise InputError(f"{path}:{number}: got '{_short(line)}'; wanted '\\end\\' after the counted n-grams")


def _gram(line: str, order: int) -> tuple[list[str], tuple[float, float]]:
    """Words, and log10 of probability (NaN: none) and back-off. Raises ValueError."""
    # Not split(): some tokens are spaces to Unicode.
    log_p, *words = (part for part in line.replace("\t", " ").split(" ") if part)
    back_off = float(words.pop()) if len(words) == order + 1 else 0.0
    value = float(log_p)
    if len(words) != order or not value <= 0 or not math.isfinite(back_off):
        raise ValueError
    # SOS and EOS are one token: that of <s> is its history, that of </s> its probability.
    if words[-1] == "<s>":
        return words, (math.nan, back_off)
    return words, (max(value, _ZERO), 0.0 if words[-1] == "</s>" else back_off)


def _short(line: str) -> str:
    return line if len(line) <= 40 else line[:40] + "..."
