"""Training of a classifier with Lightning."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as pl
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from s4speech.config.classify import ClassifyTrainConfig
from s4speech.data.classify import IGNORE, ClassifyBatch
from s4speech.train.trainer import Task, run_trainer


class Score(NamedTuple):
    """loss: mean over the targets. right, asked: numbers of targets."""

    loss: Tensor
    right: Tensor
    asked: Tensor


class ClassifyTask(Task):
    """One training step, one validation step. The model itself knows nothing of Lightning."""

    config: ClassifyTrainConfig

    def __init__(self, model: nn.Module, config: ClassifyTrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def score(self, batch: ClassifyBatch, label_smoothing: float = 0.0) -> Score:
        """Cross-entropy and the number of targets that have the highest score."""
        scores: Tensor = self.model(batch.inputs, batch.lengths).flatten(0, -2).float()
        targets = batch.targets.flatten()
        loss = F.cross_entropy(scores, targets, ignore_index=IGNORE, label_smoothing=label_smoothing)
        right = scores.argmax(-1) == targets  # never where it is IGNORE
        return Score(loss, right.sum(), (targets != IGNORE).sum())

    def training_step(self, batch: ClassifyBatch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        score = self.score(batch, self.config.label_smoothing)
        size = len(batch.lengths)
        values = {"train/loss": score.loss, "train/accuracy": score.right / score.asked}
        self.log_dict(values, batch_size=size, on_step=True, on_epoch=False)
        self.log("loss", score.loss, prog_bar=True, logger=False, batch_size=size)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"], batch_size=size)
        return score.loss

    def validation_step(self, batch: ClassifyBatch, batch_idx: int) -> None:
        """Loss and accuracy over all targets."""
        score = self.score(batch)
        values = {"valid/loss": score.loss, "valid/accuracy": score.right / score.asked}
        self.log_dict(values, batch_size=int(score.asked), on_epoch=True, prog_bar=True, sync_dist=True)


def fit(
    task: ClassifyTask,
    train: DataLoader[ClassifyBatch],
    valid: DataLoader[ClassifyBatch],
    folder: Path,
    *,
    callbacks: Sequence[pl.Callback] = (),
    progress: bool = True,
) -> None:
    """Train, or continue; see `run_trainer`. The best checkpoints are those of validation accuracy."""
    run_trainer(
        task,
        train,
        valid,
        folder,
        monitor="valid/accuracy",
        mode="max",
        callbacks=callbacks,
        progress=progress,
    )
