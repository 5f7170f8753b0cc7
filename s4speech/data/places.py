"""The place of a training: which micro-batch of which epoch, the same for any number of processes.

An epoch is a sequence of micro-batches that depends on the seed and the epoch alone. Every `accumulate` of
them, in order, make one optimiser step. Process r of W takes number r, r + W, ... of each step; the last step
of an epoch is filled up with the epoch's first micro-batches.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, cycle, islice
from typing import Generic, TypeVar

from s4speech.data.processes import processes

T = TypeVar("T")


def filled(items: Iterable[T], size: int, counted: Callable[[int], None] | None = None) -> Iterator[T]:
    """The items; then the first ones again, until their number is a multiple of `size`.

    counted: is told the number of items before any is repeated.
    """
    first: list[T] = []
    count = 0
    for item in items:
        if count < size:
            first.append(item)
        count += 1
        yield item
    if counted is not None:
        counted(count)
    yield from islice(cycle(first), -count % size)


def shared(items: Iterable[T], rank: int, world: int) -> Iterator[T]:
    """What process `rank` of `world` evaluates: each item on one of them.

    Fewer items than processes: every process has all of them, for none may have nothing to report. Means over
    everything are the same.
    """
    iterator = iter(items)
    head = list(islice(iterator, world))
    whole = chain(head, iterator)
    return whole if len(head) < world else islice(whole, rank, None, world)


class PlacedSampler(Generic[T]):
    """A sampler of micro-batches for training, on each process; a subclass says which an epoch has.

    Lightning calls `set_epoch`; `begin` is for who trains, before anything is read: a loader with workers
    reads ahead, so that only the trainer knows which micro-batches have been trained on.
    """

    def __init__(self) -> None:
        self.accumulate = 1
        self._epoch, self._start = 0, (0, 0)
        self._counts: dict[int, int] = {}  # micro-batches of the epochs whose end was reached

    def begin(self, accumulate: int, epoch: int = 0, number: int = 0) -> None:
        """Go on in `epoch` with its micro-batch `number`. accumulate: micro-batches an optimiser step."""
        self.accumulate = accumulate
        self._epoch, self._start = epoch, (epoch, number)

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration goes through."""
        self._epoch = epoch

    def epoch(self, epoch: int) -> Iterable[T]:
        """All micro-batches of an epoch in order, a function of the seed and the epoch."""
        raise NotImplementedError

    def repeats(self, epoch: int, number: int) -> bool:
        """Whether that micro-batch, which was made, has been in the epoch before."""
        return number >= self._counts.get(epoch, number + 1)

    def process(self) -> tuple[int, int]:
        """Rank and number of the processes that share the micro-batches."""
        return processes()

    def __iter__(self) -> Iterator[T]:
        epoch = self._epoch
        start = self._start[1] if epoch == self._start[0] else 0
        rank, world = self.process()
        # before `begin` (alone with a sampler) as many for each process
        counted = partial(self._counts.__setitem__, epoch)
        whole = filled(self.epoch(epoch), max(self.accumulate, world), counted)
        return islice(whole, start + rank, None, world)
