"""Text for a language model: sentences of a file, as token ids, in rows of one length.

Sentences follow each other as in the file, with <eos> (= <sos>) between them. A row begins with one: training
starts where a search starts, and learns to go on after the end of a sentence.
"""

import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from s4speech.data.places import PlacedSampler
from s4speech.errors import InputError
from s4speech.text.normalize import normalize_english
from s4speech.text.tokenizer import EOS, SOS, UNKNOWN, Tokenizer

Tokens = NDArray[np.uint16]
MAX_VOCABULARY = 1 << 16  # token ids are kept in 16 bits
CHUNK = 10_000  # sentences that become one array


def read_sentences(path: Path, *, normalize: bool) -> Iterator[str]:
    """The lines of a text file (.xz and .gz are unpacked), stripped; empty ones are left out.

    normalize: as LibriSpeech writes text. Raises InputError: missing, damaged, or not UTF-8.
    """
    try:
        with _open(path) as file:
            for line in file:
                text = normalize_english(line) if normalize else line.strip()
                if text:
                    yield text
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); wanted UTF-8 text, one sentence a line, plain, .xz or .gz"
        ) from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


class TextParts(NamedTuple):
    """train, valid: rows (N, length + 1) of token ids. held_out: the sentences of valid, in their order.

    sentences: that were read. unknown: tokens that are <unk>.
    """

    train: Tokens
    valid: Tokens
    held_out: list[str]
    sentences: int
    unknown: int


def read_text(
    path: Path,
    tokenizer: Tokenizer,
    *,
    normalize: bool,
    length: int,
    block: int,
    hold_out: int,
    max_tokens: int | None = None,
) -> TextParts:
    """Read a text file; see `s4speech.config.lm.TextConfig`. Takes two bytes a token.

    Raises InputError: not readable, too many pieces, or too little text for both parts.
    """
    if tokenizer.vocab_size > MAX_VOCABULARY:
        raise InputError(f"tokenizer: {tokenizer.vocab_size} pieces, wanted at most {MAX_VOCABULARY}")
    parts: dict[bool, list[Tokens]] = {True: [], False: []}  # by held out or not
    pending: dict[bool, list[int]] = {True: [], False: []}
    held_out: list[str] = []
    sentences = tokens = 0
    for text in read_sentences(path, normalize=normalize):
        held = sentences // block % hold_out == hold_out // 2
        if held:
            held_out.append(text)
        ids = tokenizer.encode(text)
        pending[held] += [*ids, EOS]
        sentences, tokens = sentences + 1, tokens + len(ids) + 1
        full = max_tokens is not None and tokens >= max_tokens
        if full or sentences % CHUNK == 0:
            _move(pending, parts)
        if full:
            break
    _move(pending, parts)
    train, valid = (
        pack_rows(np.concatenate([np.array([SOS], dtype=np.uint16), *parts[held]]), length)
        for held in (False, True)
    )
    if not len(train) or not len(valid):
        part = "train on" if not len(train) else "hold out"
        raise InputError(
            f"{path}: {sentences} sentences, {tokens} tokens, do not make one row of {length} tokens to"
            f" {part}; use more text, a smaller text.length, or a smaller text.hold_out"
        )
    unknown = sum(int((part == UNKNOWN).sum()) for both in parts.values() for part in both)
    return TextParts(train, valid, held_out, sentences, unknown)


def _move(pending: dict[bool, list[int]], parts: dict[bool, list[Tokens]]) -> None:
    """Lists of Python numbers are large: make arrays of them."""
    for held, ids in pending.items():
        parts[held].append(np.array(ids, dtype=np.uint16))
        ids.clear()


def pack_rows(tokens: Tokens, length: int) -> Tokens:
    """Tokens (T,) that begin and end with <eos> -> rows (N, length + 1) that begin with one.

    A row ends anywhere, and the next one reads the sentence that was cut from its beginning. Sentences longer
    than a row are gone through row by row; what is left at the end and fills no row is dropped.
    """
    ends = np.flatnonzero(tokens == EOS)
    starts, start = [], 0
    while start + length < len(tokens):
        starts.append(start)
        last = int(ends[np.searchsorted(ends, start + length, side="right") - 1])
        start = last if last > start else start + length
    rows: Tokens = tokens[np.array(starts, dtype=np.int64)[:, None] + np.arange(length + 1)]
    return rows


def join_rows(rows: Tokens) -> Tokens:
    """What `pack_rows` made (N, length + 1) -> its tokens (T,) in order, each once: sentences between <eos>.

    What follows the last <eos> is left out.
    """
    length, parts = rows.shape[1] - 1, []
    for first in range(0, len(rows), CHUNK):
        some = np.asarray(rows[first : first + CHUNK])
        # The next row begins with the last end of a sentence, or where a long sentence goes on.
        last = length - np.argmax((some == EOS)[:, ::-1], axis=1)
        last[last == 0] = length
        parts.append(some[np.arange(length + 1) < last[:, None]])
    if (rows[-1:, 1:] == EOS).any():
        parts.append(np.array([EOS], dtype=np.uint16))
    tokens = np.concatenate(parts)
    end = len(tokens) - int(np.argmax(tokens[::-1] == EOS))
    return tokens[:end]


class TextRows(Dataset[Tensor]):
    """Rows of an .npy file, which is mapped, not read. An item is a batch: list of numbers -> (B, length + 1)
    int64."""

    def __init__(self, path: Path) -> None:
        self._rows = np.load(path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, indices: list[int]) -> Tensor:
        return torch.from_numpy(self._rows[indices].astype(np.int64))


class RowSampler(PlacedSampler[list[int]]):
    """Micro-batches of row numbers; an epoch is about `epoch_rows` rows in whole optimiser steps, and the
    next one goes on there.

    Each pass over the `count` rows has an order of its own, a function of (seed, pass), so a continued
    training sees the rows that it would have seen.
    """

    def __init__(self, count: int, batch_size: int, *, epoch_rows: int, seed: int) -> None:
        super().__init__()
        self._count, self._batch_size, self._seed = count, batch_size, seed
        self._epoch_rows = epoch_rows

    def size(self) -> int:
        """Micro-batches of an epoch, on all processes together."""
        whole = max(self.accumulate, self.process()[1])
        return max(1, self._epoch_rows // (self._batch_size * whole)) * whole

    def __len__(self) -> int:
        return self.size() // self.process()[1]

    def epoch(self, epoch: int) -> Iterator[list[int]]:
        rows = self.size() * self._batch_size
        order = self._rows(epoch * rows, rows)
        for first in range(0, rows, self._batch_size):
            yield order[first : first + self._batch_size].tolist()

    def _rows(self, start: int, size: int) -> NDArray[np.int64]:
        """Rows number start .. start + size of all passes, one after the other."""
        passes = range(start // self._count, (start + size - 1) // self._count + 1)
        orders = [np.random.default_rng((self._seed, number)).permutation(self._count) for number in passes]
        offset = start - passes[0] * self._count
        return np.concatenate(orders)[offset : offset + size]


def train_loader(
    rows: TextRows, batch_size: int, *, epoch_tokens: int | None, seed: int, workers: int = 0
) -> DataLoader[Tensor]:
    """Micro-batches (B, length + 1) in random order, on each process; see `RowSampler`.

    epoch_tokens: of an epoch (None: all). The trainer must leave the sampler alone.
    """
    length = rows[[0]].shape[1] - 1
    epoch_rows = len(rows) if epoch_tokens is None else epoch_tokens // length
    sampler = RowSampler(len(rows), batch_size, epoch_rows=epoch_rows, seed=seed)
    return DataLoader(
        rows, sampler=sampler, batch_size=None, num_workers=workers, persistent_workers=workers > 0
    )


def valid_loader(rows: TextRows, batch_size: int) -> DataLoader[Tensor]:
    """All rows in order."""
    batches = [
        list(range(first, min(first + batch_size, len(rows)))) for first in range(0, len(rows), batch_size)
    ]
    return DataLoader(rows, sampler=batches, batch_size=None)
