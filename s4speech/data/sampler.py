"""Which utterances make an epoch, and which of them make a batch."""

import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler

from s4speech.errors import InputError

EpochCuts = Callable[[int], CutSet]


class EpochSampler:
    """Batches of cuts of like duration; every epoch may have its own cuts.

    choose: epoch -> the cuts of that epoch. Cuts, batches and their order depend on the seed and the epoch
    alone, and the place within an epoch can be saved and restored. Lightning calls `set_epoch`.
    max_duration_s: seconds of audio a batch, padding included. change: (cut, epoch) -> the cut as it is
    heard in that epoch, such as a `CutAugmenter`.
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
        self._choose, self._max_duration_s, self._change = choose, max_duration_s, change
        self._shuffle, self._seed, self._buckets = shuffle, seed, buckets
        self._epoch = 0
        self._inner = self._make()

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration goes through."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._inner = self._make()

    def __iter__(self) -> Iterator[CutSet]:
        for cuts in self._inner:
            if self._change is not None:
                cuts = CutSet.from_cuts(self._change(cut, self._epoch) for cut in cuts)
            yield cuts

    def state_dict(self) -> dict[str, Any]:
        """Epoch and place within it."""
        return {"epoch": self._epoch, "inner": self._inner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._epoch = state["epoch"]
        self._inner = self._make()
        self._inner.load_state_dict(state["inner"])

    def _make(self) -> DynamicBucketingSampler:
        cuts = self._choose(self._epoch)
        buckets = min(self._buckets, len(cuts) // 8)
        with warnings.catch_warnings():  # lhotse would rather have cuts read lazily
            warnings.filterwarnings("ignore", message=".*eagerly read CutSet")
            return DynamicBucketingSampler(
                cuts,
                max_duration=self._max_duration_s,
                shuffle=self._shuffle,
                seed=self._seed + self._epoch,
                num_buckets=buckets,
                # lhotse cannot make one bucket
                duration_bins=None if buckets > 1 else [self._max_duration_s],
                drop_last=False,
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
