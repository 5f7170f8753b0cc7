"""Batches of the classification recipe, and their order."""

from collections import Counter

import numpy as np
import pytest
import torch

from s4speech.data.classify import IGNORE, BatchSampler, SequenceDataset, collate, make_loader
from s4speech.data.sequential import TokenDataset


def keys(sampler: BatchSampler, epoch: int = 0) -> list[list[int]]:
    sampler.set_epoch(epoch)
    got = list(sampler)
    assert {e for e, _ in got} <= {epoch} and len(got) == len(sampler)
    return [indices for _, indices in got]


def test_collate_pads_inputs_with_0_and_targets_a_frame_with_ignore():
    tokens = [torch.tensor([3, 1, 2]), torch.tensor([5])]
    batch = collate([(tokens[0], torch.tensor([1, 1, 0])), (tokens[1], torch.tensor([2]))])
    assert batch.inputs.tolist() == [[3, 1, 2], [5, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.targets.tolist() == [[1, 1, 0], [2, IGNORE, IGNORE]]
    waves = collate([(torch.ones(4, 1), torch.tensor(7)), (torch.ones(2, 1), torch.tensor(0))])
    assert waves.inputs.shape == (2, 4, 1) and waves.inputs.dtype == torch.float32
    assert waves.inputs[1].flatten().tolist() == [1, 1, 0, 0]
    assert (waves.lengths.tolist(), waves.targets.tolist()) == ([4, 2], [7, 0])
    assert waves.lengths.dtype == waves.targets.dtype == batch.inputs.dtype == torch.int64


@pytest.mark.parametrize("lengths", [[10] * 103, [1 + i % 50 for i in range(103)]])
def test_an_epoch_has_every_example_once_in_its_own_order(lengths):
    sampler = BatchSampler(lengths, 8, shuffle=True, seed=3)
    first, second = keys(sampler, 0), keys(sampler, 1)
    for batches in (first, second):
        assert sorted(i for batch in batches for i in batch) == list(range(103))
        assert sorted(map(len, batches)) == [7] + [8] * 12
    assert first != second
    assert keys(BatchSampler(lengths, 8, shuffle=True, seed=4)) != first


def test_the_order_is_a_function_of_seed_and_epoch():
    lengths = list(range(1, 200))
    went_through = BatchSampler(lengths, 8, shuffle=True, seed=3)
    history = [keys(went_through, epoch) for epoch in range(4)]
    resumed = BatchSampler(lengths, 8, shuffle=True, seed=3)
    assert keys(resumed, 3) == history[3]
    assert keys(resumed, 1) == history[1]


def test_without_shuffle_batches_follow_the_data_set():
    assert keys(BatchSampler([9, 1, 5, 7, 3], 2, shuffle=False)) == [[0, 1], [2, 3], [4]]


def test_batches_have_sequences_of_similar_length_and_no_order_of_length():
    lengths = np.random.default_rng(0).integers(30, 500, 2000)
    batches = keys(BatchSampler(lengths.tolist(), 16, shuffle=True))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded / lengths.sum() < 1.05
    longest = np.array([lengths[batch].max() for batch in batches])
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3
    assert (
        len({len(set(batch) & set(range(1000))) for batch in batches}) > 3
    )  # mixed, not cut from the data set


@pytest.mark.parametrize(("count", "world"), [(100, 2), (103, 4), (96, 3), (5, 4)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_have_as_many_batches_and_their_own(count, world, shuffle):
    lengths = list(range(10, 10 + count))
    samplers = [BatchSampler(lengths, 8, shuffle=shuffle, seed=1, rank=r, world=world) for r in range(world)]
    shares = [keys(sampler, 2) for sampler in samplers]
    assert len({len(share) for share in shares}) == 1
    batches = [tuple(batch) for share in shares for batch in share]
    whole = [tuple(batch) for batch in keys(BatchSampler(lengths, 8, shuffle=shuffle, seed=1), 2)]
    assert set(batches) == set(whole)
    repeated = len(batches) - len(whole)
    assert repeated == -len(whole) % world
    assert sum(n - 1 for n in Counter(batches).values()) == repeated


def test_the_share_is_found_when_training_starts_after_the_loader_was_made(monkeypatch):
    sampler = BatchSampler([1] * 40, 4, shuffle=True)
    alone = keys(sampler)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert keys(sampler) == alone[1::2]


class Echo(SequenceDataset):
    """Says which epoch and example it was asked for."""

    def __init__(self, count: int) -> None:
        self.lengths = [2] * count

    def example(self, index: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((2, 1), float(epoch)), torch.tensor(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_tells_the_data_set_the_epoch(workers):
    loader = make_loader(Echo(10), 4, shuffle=True, seed=5, workers=workers)
    assert len(loader) == 3
    for epoch in (0, 1, 7):  # as Lightning does
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        expected = keys(BatchSampler([2] * 10, 4, shuffle=True, seed=5), epoch)
        assert [batch.targets.tolist() for batch in batches] == expected
        assert all((batch.inputs == epoch).all() for batch in batches)


def test_the_loader_takes_any_data_set():
    pairs = torch.utils.data.TensorDataset(torch.arange(12).view(4, 3), torch.arange(4))
    (batch,) = make_loader(pairs, 4, shuffle=False, seed=0)
    assert batch.inputs.tolist() == torch.arange(12).view(4, 3).tolist()
    assert (batch.lengths.tolist(), batch.targets.tolist()) == ([3] * 4, [0, 1, 2, 3])


def test_token_data_sets_make_batches():
    dataset = TokenDataset([(np.array([1, 2], np.int16), 3), (np.array([4], np.int16), 0)])
    (batch,) = make_loader(dataset, 2, shuffle=False, seed=0)
    assert batch.inputs.tolist() == [[1, 2], [4, 0]] and batch.targets.tolist() == [3, 0]
