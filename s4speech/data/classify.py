"""Batches for classification of sequences, and for a class a frame.

A task is three parts of examples and the names of its classes; examples are one-channel waveforms or tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from s4speech.data.places import PlacedSampler
from s4speech.data.processes import processes

IGNORE = -100  # a target that is not asked for; the ignore_index of torch's cross entropy
POOL_BATCHES = 50  # batches that are sorted by length together
SIMILAR = 1.2  # longest / shortest sequence up to which padding costs less than sorting gives

Example: TypeAlias = tuple[Tensor, Tensor]
Key: TypeAlias = tuple[int, list[int]]  # epoch, indices of a batch


class ClassifyBatch(NamedTuple):
    """B sequences, padded to the longest, T frames.

    inputs: waveforms (B, T, 1) float32, or tokens (B, T) int64; 0 after the end.
    lengths: (B,) int64, valid frames.
    targets: classes (B,) int64, or one a frame (B, T) int64 with IGNORE where nothing is asked.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor


class SequenceDataset(Dataset[Example]):
    """Examples of (inputs, target) by number.

    inputs (T, 1) float32 or (T,) int64; target () or (T,) int64. lengths: frames of each example. rate: what
    the sequence layers take as `rate`, frames of the training part a frame here (2.0: half the sample rate).
    """

    lengths: Sequence[int]
    rate: float = 1.0

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Example:
        return self.example(index, 0)

    def example(self, index: int, epoch: int) -> Example:
        """The example as it is in that epoch: random changes depend on (seed, epoch, index) alone."""
        raise NotImplementedError


@dataclass(frozen=True)
class TaskData:
    """A task's parts, and what its inputs and targets are."""

    train: SequenceDataset
    valid: SequenceDataset
    test: dict[str, SequenceDataset]  # by name
    classes: tuple[str, ...]  # names in the order of the target ids
    vocab_size: int | None  # input tokens, padding included; None: waveforms
    per_frame: bool  # a target a frame, or a sequence


def collate(examples: Sequence[Example]) -> ClassifyBatch:
    """Examples -> a padded batch."""
    inputs = [example[0] for example in examples]
    targets = [torch.as_tensor(example[1]) for example in examples]
    return ClassifyBatch(
        pad_sequence(inputs, batch_first=True),
        torch.tensor([len(x) for x in inputs]),
        pad_sequence(targets, batch_first=True, padding_value=IGNORE)
        if targets[0].ndim
        else torch.stack(targets),
    )


class BatchSampler(PlacedSampler[Key]):
    """Which examples make each batch of an epoch, on this process.

    With `shuffle`, batches are a function of (seed, epoch), so a continued training sees those that it would
    have seen; sequences of unlike length are then sorted within pools of `POOL_BATCHES` batches, to pad less,
    and the batches are shuffled again. Without, they follow the data set.

    lengths: frames of each example. rank, world: this process and their number; by default those of
    torch.distributed, if it runs. Every process has its own batches and as many as the others: the first ones
    are repeated to fill up.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}, wanted at least 1")
        super().__init__()
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._batch_size, self._shuffle, self._seed = batch_size, shuffle, seed
        self._process = None if rank is None or world is None else (rank, world)

    def __len__(self) -> int:
        _, world = self.process()
        whole = max(self.accumulate, world)
        batches = -(-len(self._lengths) // self._batch_size)
        return -(-batches // whole) * whole // world

    def epoch(self, epoch: int) -> Iterator[Key]:
        count, size = len(self._lengths), self._batch_size
        if not self._shuffle:
            for start in range(0, count, size):
                yield epoch, list(range(start, min(start + size, count)))
            return
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(count)
        if count and self._lengths.max() > SIMILAR * self._lengths.min():
            pools = np.split(order, range(POOL_BATCHES * size, count, POOL_BATCHES * size))
            order = np.concatenate([pool[np.argsort(self._lengths[pool], kind="stable")] for pool in pools])
        batches = np.split(order, range(size, count, size))
        for i in rng.permutation(len(batches)):
            yield epoch, batches[i].tolist()

    def process(self) -> tuple[int, int]:
        return processes() if self._process is None else self._process


class _Batches(Dataset[ClassifyBatch]):
    """Makes the batch that a sampler chose. The epoch comes with it, so worker processes need not be told."""

    def __init__(self, dataset: Dataset[Example]) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Key) -> ClassifyBatch:
        epoch, indices = key
        if isinstance(self._dataset, SequenceDataset):
            return collate([self._dataset.example(index, epoch) for index in indices])
        return collate([self._dataset[index] for index in indices])


def make_loader(
    dataset: Dataset[Example], batch_size: int, *, shuffle: bool, seed: int, workers: int = 0
) -> DataLoader[ClassifyBatch]:
    """The batches of a part, made here (0) or in so many worker processes; see `BatchSampler`.

    batch_size: sequences a batch on each process. Its `sampler` has `set_epoch`. The trainer must leave the
    sampler alone (Lightning: use_distributed_sampler=False).
    """
    # without known lengths there is nothing to sort by
    lengths = dataset.lengths if isinstance(dataset, SequenceDataset) else [1] * len(cast(Any, dataset))
    sampler = BatchSampler(lengths, batch_size, shuffle=shuffle, seed=seed)
    return DataLoader(
        _Batches(dataset),
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
