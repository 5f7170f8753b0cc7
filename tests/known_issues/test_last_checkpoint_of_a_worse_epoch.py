"""`save_last` of Lightning writes no checkpoint after an epoch that is not among the best: a kill lost it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from s4speech.config.classify import ClassifyTrainConfig
from s4speech.data.classify import SequenceDataset, make_loader
from s4speech.train.classify import ClassifyTask, fit


class Zeros(SequenceDataset):
    """Silence of class 0."""

    lengths = (5,) * 8

    def example(self, index: int, epoch: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(5, 1), torch.tensor(0)


class Bias(nn.Module):
    """The same scores for every input: the accuracy is 1 from the first epoch on, and never better."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor([2.0, 0.0]))

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        return self.scores.expand(len(inputs), -1)


def test_the_last_checkpoint_is_of_the_last_epoch(tmp_path: Path) -> None:
    config = ClassifyTrainConfig(epochs=3, accelerator="cpu", workers=0, precision="32-true", warmup_steps=0)
    loader = make_loader(Zeros(), 4, shuffle=False, seed=0)
    fit(ClassifyTask(Bias(), config), loader, loader, tmp_path, progress=False)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"000-1.0000.ckpt", "last.ckpt"}
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (3, 6) and last["trained_s"] > 0
