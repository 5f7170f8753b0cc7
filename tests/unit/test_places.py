"""The micro-batches of a training: the same for any number of processes, from any place on."""

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import CutSet
from lhotse.testing.dummies import dummy_cut

from s4speech.data import places
from s4speech.data.places import PlacedSampler, filled, shared
from s4speech.data.sampler import EpochSampler, steps_alike
from s4speech.data.text import RowSampler


class Numbers(PlacedSampler[int]):
    """So many micro-batches an epoch: 100 * epoch + number."""

    def __init__(self, count: int, rank: int = 0, world: int = 1) -> None:
        super().__init__()
        self.count, self.share = count, (rank, world)

    def epoch(self, epoch: int) -> Iterator[int]:
        return iter(range(100 * epoch, 100 * epoch + self.count))

    def process(self) -> tuple[int, int]:
        return self.share


@given(st.integers(1, 30), st.integers(1, 4), st.sampled_from([1, 2, 3, 4]), st.integers(0, 3))
def test_processes_together_make_the_steps_of_one(
    count: int, per_process: int, world: int, epoch: int
) -> None:
    accumulate = per_process * world

    def epoch_of(rank: int, size: int) -> list[int]:
        sampler = Numbers(count, rank, size)
        sampler.begin(accumulate)
        sampler.set_epoch(epoch)
        made = list(sampler)
        repeats = [sampler.repeats(epoch, number) for number in range(count + 1)]
        assert repeats == [False] * count + [True]
        return made

    alone = epoch_of(0, 1)
    assert len(alone) % accumulate == 0 and len(alone) - count < accumulate
    assert set(alone) == set(range(100 * epoch, 100 * epoch + count))  # all of them
    together = zip(*(epoch_of(rank, world) for rank in range(world)), strict=True)
    assert list(itertools.chain(*together)) == alone


@given(st.integers(1, 30), st.integers(0, 8), st.sampled_from([1, 2, 4]))
def test_a_training_goes_on_where_it_was_and_only_in_that_epoch(count: int, step: int, world: int) -> None:
    whole = Numbers(count)
    whole.begin(4)
    for rank in range(world):
        sampler = Numbers(count, rank, world)
        sampler.begin(4, epoch=0, number=4 * step)
        assert list(sampler) == list(whole)[4 * step + rank :: world]
        sampler.set_epoch(1)
        assert len(list(sampler)) * world == len(list(whole))


@given(st.lists(st.integers(), max_size=20), st.integers(1, 5))
def test_what_is_evaluated_is_heard_once_or_by_all(items: list[int], world: int) -> None:
    shares = [list(shared(items, rank, world)) for rank in range(world)]
    if len(items) < world:
        assert shares == [items] * world
    else:
        assert sorted(itertools.chain(*shares)) == sorted(items) and all(shares)


def test_an_epoch_without_anything_is_not_filled() -> None:
    assert list(filled([], 3)) == []


def cuts(count: int) -> CutSet:
    rng = random.Random(0)
    return CutSet.from_cuts(dummy_cut(i, duration=rng.uniform(1, 10)) for i in range(count))


def longest(batch: CutSet) -> float:
    return max(cut.duration for cut in batch)


def epoch_of(sampler: EpochSampler, epoch: int) -> list[list[str]]:
    sampler.set_epoch(epoch)
    return [[cut.id for cut in batch] for batch in sampler]


def test_the_micro_batches_of_a_step_are_of_like_duration() -> None:
    plain = list(EpochSampler(lambda epoch: cuts(400), max_duration_s=20, shuffle=True).epoch(0))

    def spread(batches: list[CutSet]) -> float:
        steps = [list(map(longest, batches[i : i + 4])) for i in range(0, len(batches) // 4 * 4, 4)]
        return sum(max(step) - min(step) for step in steps) / len(steps)

    alike = list(steps_alike(plain, 4, random.Random(0)))
    assert sorted(map(id, alike)) == sorted(map(id, plain))
    assert spread(alike) < 0.3 * spread(plain)


@pytest.mark.parametrize("lazy", [False, True], ids=["in memory", "lazy"])
def test_every_cut_is_heard_once_an_epoch_in_an_order_of_its_own(lazy: bool, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "cuts.jsonl.gz"
    cuts(60).to_file(path)
    read = CutSet.from_jsonl_lazy(path) if lazy else CutSet.from_file(path).to_eager()

    def sampler() -> EpochSampler:
        made = EpochSampler(lambda epoch: read, max_duration_s=20, shuffle=True, seed=3)
        made.begin(1)
        return made

    first = epoch_of(sampler(), 0)
    assert sorted(itertools.chain(*first)) == sorted(cut.id for cut in cuts(60))
    assert first != epoch_of(sampler(), 1) and first == epoch_of(sampler(), 0)
    resumed = sampler()
    resumed.begin(1, 1, 5)
    assert epoch_of(resumed, 1) == epoch_of(sampler(), 1)[5:]


def test_a_part_that_is_evaluated_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = EpochSampler(lambda epoch: cuts(40), max_duration_s=20, shuffle=False)
    whole = [tuple(cut.id for cut in batch) for batch in sampler]
    shares = []
    for rank in range(3):
        monkeypatch.setattr(places, "processes", lambda rank=rank: (rank, 3))
        shares.append([tuple(cut.id for cut in batch) for batch in sampler])
    assert sorted(itertools.chain(*shares)) == sorted(whole) and max(map(len, shares)) < len(whole)
    sampler.everywhere = True
    assert [tuple(cut.id for cut in batch) for batch in sampler] == whole


@pytest.mark.parametrize("world", [1, 2, 4])
def test_rows_of_text_are_the_same_for_any_number_of_processes(
    world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = []
    for rank in range(world):
        monkeypatch.setattr(places, "processes", lambda rank=rank: (rank, world))
        sampler = RowSampler(50, 3, epoch_rows=40, seed=1)
        sampler.begin(4)
        sampler.set_epoch(2)
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler) == 12 // world
    monkeypatch.setattr(places, "processes", lambda: (0, 1))
    alone = RowSampler(50, 3, epoch_rows=40, seed=1)
    alone.begin(4)
    alone.set_epoch(2)
    assert list(itertools.chain(*zip(*shares, strict=True))) == list(alone)
