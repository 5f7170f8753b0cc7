"""Rows of a training batch joined to longer recordings, and when the training does it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from recipes.asr.config import ASRRecipe
from s4speech.config.asr import ASRConfig, SpecAugmentConfig
from s4speech.config.base import load_config
from s4speech.config.train import TrainConfig
from s4speech.data.asr import Batch, join_rows
from s4speech.data.places import PlacedSampler
from s4speech.models.asr.build import build_asr
from s4speech.text.tokenizer import EOS
from s4speech.train.asr import ASRTask, fit
from tests.conftest import REPOSITORY

FRAMES, COUNTS = [70, 64, 90, 60, 81], [2, 3, 1, 4, 2]


@pytest.fixture
def batch() -> Batch:
    """Five utterances: every feature says whose it is, and every token; padding is NaN and -1."""
    features, tokens = torch.full((5, max(FRAMES), 4), torch.nan), torch.full((5, max(COUNTS)), -1)
    for i, (frames, count) in enumerate(zip(FRAMES, COUNTS, strict=True)):
        features[i, :frames] = torch.arange(frames * 4).view(frames, 4) + 1000.0 * i
        tokens[i, :count] = torch.arange(count) + 10 * (i + 1)
    return Batch(list("abcde"), features, torch.tensor(FRAMES), tokens, torch.tensor(COUNTS), 3.65)


def test_one_row_alone_stays_as_it_is(batch: Batch) -> None:
    assert join_rows(batch, 1) is batch


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_nothing_is_lost_and_nothing_but_eos_is_new(batch: Batch, count: int) -> None:
    joined = join_rows(batch, count)
    groups = [list(range(5))[i : i + count] for i in range(0, 5, count)]  # the last one has what is left
    assert joined.ids == ["+".join("abcde"[i] for i in group) for group in groups]
    assert joined.duration_s == batch.duration_s
    assert joined.lengths.tolist() == [sum(FRAMES[i] for i in group) for group in groups]
    assert joined.token_lengths.tolist() == [sum(COUNTS[i] for i in g) + len(g) - 1 for g in groups]
    assert joined.lengths.dtype == joined.token_lengths.dtype == joined.tokens.dtype == torch.int64
    for row, group in enumerate(groups):
        features = torch.cat([batch.features[i, : FRAMES[i]] for i in group])
        assert torch.equal(joined.features[row, : len(features)], features)
        tokens: list[int] = []
        for i in group:
            tokens += [EOS] * bool(tokens) + batch.tokens[i, : COUNTS[i]].tolist()
        assert joined.tokens[row, : len(tokens)].tolist() == tokens
    # The old padding, NaN and -1, is nowhere.
    assert joined.features.isfinite().all() and joined.features.shape[1] == joined.lengths.max()
    assert joined.tokens.min() >= 0 and joined.tokens.shape[1] == joined.token_lengths.max()


def test_an_utterance_without_words_still_has_its_end(batch: Batch) -> None:
    joined = join_rows(batch._replace(token_lengths=torch.tensor([2, 0, 1, 0, 0])), 3)
    assert joined.tokens.tolist() == [[10, 11, EOS, EOS, 30], [EOS, 0, 0, 0, 0]]
    assert joined.token_lengths.tolist() == [5, 1]


class MadeBatches(Dataset[Batch]):
    """Batches that are there already."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        return self._batches[index]


class InOrder(PlacedSampler[int]):
    """Ten items, the same in every epoch."""

    def epoch(self, epoch: int) -> range:
        return range(10)


def rows_of_epochs(folder: Path, batch: Batch, **options: Any) -> tuple[list[set[int]], set[int]]:
    """Train on ten equal batches an epoch: numbers of rows that the model saw in each, and in validation."""
    size: dict[str, Any] = {"d_model": 8, "n_layers": 1, "n_heads": 2, "d_ff": 8}
    config = ASRConfig.model_validate(
        {
            "vocab_size": 60,
            "features": {"n_mels": 12},
            "encoder": size | {"type": "streaming", "kernel_size": 3, "left_frames": 4, "d_state": 4},
            "decoder": size | {"type": "s4", "d_state": 4},
        }
    )
    trained = TrainConfig.model_validate(
        {"accelerator": "cpu", "workers": 0, "precision": "32-true", "lr": 1e-3} | options
    )
    task = ASRTask(build_asr(config), trained, SpecAugmentConfig(), 1e9, lambda ids: "words")
    epochs: list[set[int]] = [set() for _ in range(trained.total_epochs)]
    valid: set[int] = set()
    loss = task.model.loss

    def watched(features: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Any:
        (epochs[task.current_epoch] if task.training else valid).add(len(features))
        return loss(features, lengths, tokens, token_lengths)

    task.model.loss = watched  # type: ignore[method-assign]
    clean = batch._replace(features=torch.randn(5, 90, 12), tokens=batch.tokens.clamp(min=0))
    ten, one = MadeBatches([clean] * 10), MadeBatches([clean])
    train = DataLoader(ten, sampler=InOrder(), batch_size=None)
    fit(task, train, DataLoader(one, batch_size=None), folder, progress=False)
    return epochs, valid


def test_the_training_joins_after_so_many_epochs(batch: Batch, tmp_path: Path) -> None:
    options = {"curriculum": [{"epochs": 1, "max_s": 2.0}], "epochs": 2, "join": 3, "join_after": 2}
    epochs, valid = rows_of_epochs(tmp_path, batch, **options)
    # Of the first two, one is the curriculum's; then 1, 2 or 3 of five rows are one.
    assert epochs == [{5}, {5}, {5, 3, 2}]
    assert valid == {5}


def test_a_recipe_that_says_nothing_joins_nothing(batch: Batch, tmp_path: Path) -> None:
    assert rows_of_epochs(tmp_path, batch, epochs=1) == ([{5}], {5})


def test_the_shipped_recipes_join_nothing_of_their_curriculum() -> None:
    joined = 0
    for path in REPOSITORY.glob("egs/*/asr/*.yaml"):
        train = load_config(ASRRecipe, path).train
        if train.join > 1:
            joined += 1
            assert train.join_after >= sum(step.epochs for step in train.curriculum), path
    assert joined >= 2
