"""Which utterances make an epoch, and which of them make a batch."""

import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler

from s4speech.data.places import PlacedSampler, shared
from s4speech.errors import InputError

EpochCuts = Callable[[int], CutSet]
POOL_STEPS = 8  # optimiser steps whose micro-batches are sorted by duration together


def steps_alike(batches: Iterable[CutSet], size: int, rng: random.Random) -> Iterator[CutSet]:
    """The batches in another order: every `size` of them, an optimiser step, have utterances of like length.

    So no process waits long for another. Steps follow in random order within `POOL_STEPS`; what makes no
    whole step comes last.
    """
    iterator = iter(batches)
    while pool := list(islice(iterator, POOL_STEPS * size)):
        pool.sort(key=lambda cuts: max(cut.duration for cut in cuts))
        whole = len(pool) // size * size
        steps = [pool[i : i + size] for i in range(0, whole, size)]
        rng.shuffle(steps)
        for step in [*steps, pool[whole:]]:
            yield from step


class EpochSampler(PlacedSampler[CutSet]):
    """Batches of cuts of like duration; every epoch may have its own cuts.

    choose: epoch -> the cuts of that epoch, also such as are read lazily. shuffle: a training (see
    `PlacedSampler`); without, each batch is evaluated by one process, or all by every one with `everywhere`.
    max_duration_s: seconds of audio a batch, padding included. change: (cut, epoch) -> the cut as it is heard
    in that epoch, such as a `CutAugmenter`.
    """

    def __init__(
        self,
        choose: EpochCuts,
        *,
        max_duration_s: float,
        shuffle: bool,
        seed: int = 0,
        buckets: int = 20,
        change: Callable[[Cut, int], Cut] | None = None,
    ) -> None:
        super().__init__()
        self._choose, self._max_duration_s, self._change = choose, max_duration_s, change
        self._shuffle, self._seed, self._buckets = shuffle, seed, buckets
        self.everywhere = False

    def __iter__(self) -> Iterator[CutSet]:
        change, epoch = self._change, self._epoch
        if self._shuffle:
            batches = super().__iter__()
        elif self.everywhere:
            batches = self.epoch(epoch)
        else:
            batches = shared(self.epoch(epoch), *self.process())
        if change is None:
            return batches
        return (CutSet.from_cuts(change(cut, epoch) for cut in cuts) for cuts in batches)

    def epoch(self, epoch: int) -> Iterator[CutSet]:
        # a generator ends once and for all; lhotse's samplers begin again
        batches = (cuts for cuts in self._bucketing(epoch))
        if self._shuffle and self.accumulate > 1:
            return steps_alike(batches, self.accumulate, random.Random(f"{self._seed} {epoch}"))
        return batches

    def _bucketing(self, epoch: int) -> DynamicBucketingSampler:
        cuts = self._choose(epoch)
        few = len(list(islice(cuts, 8 * self._buckets)))  # lazy cuts have no length
        buckets = few // 8
        with warnings.catch_warnings():  # lhotse would rather have cuts read lazily
            warnings.filterwarnings("ignore", message=".*eagerly read CutSet")
            return DynamicBucketingSampler(
                cuts,
                max_duration=self._max_duration_s,
                shuffle=self._shuffle,
                seed=self._seed + epoch,
                num_buckets=buckets,
                # lhotse cannot make one bucket
                duration_bins=None if buckets > 1 else [self._max_duration_s],
                drop_last=False,
                # the same batches on every process, which then takes its own
                rank=0,
                world_size=1,
            )


def training_epochs(
    cuts: CutSet, speeds: list[float], max_s: Callable[[int], float], seed: int = 0
) -> EpochCuts:
    """Every utterance once an epoch at one of the speeds, in turn; in epoch e those up to max_s(e) seconds.

    Raises InputError when an epoch has no utterance.
    """
    versions = [list(cuts) if speed == 1.0 else list(cuts.perturb_speed(speed)) for speed in speeds]

    def choose(epoch: int) -> CutSet:
        # a rotation a cut: all speeds in every epoch, and each cut hears all of them in len(speeds) epochs
        turns = random.Random(seed).choices(range(len(speeds)), k=len(versions[0]))
        chosen = (versions[(turn + epoch) % len(speeds)][i] for i, turn in enumerate(turns))
        kept = CutSet.from_cuts(cut for cut in chosen if cut.duration <= max_s(epoch))
        if not len(kept):
            shortest = min(cut.duration for cut in versions[0])
            raise InputError(
                f"train.curriculum: no utterance of at most {max_s(epoch)} s for epoch {epoch + 1}, the "
                f"shortest has {shortest:.2f} s; give a larger max_s"
            )
        return kept

    return choose
