"""Training of a language model with Lightning."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from s4speech.config.lm import LMTrainConfig
from s4speech.models.lm import LanguageModel
from s4speech.train.trainer import Task, run_trainer


class LMTask(Task):
    """Cross-entropy of the next token. The model itself knows nothing of Lightning."""

    config: LMTrainConfig

    def __init__(self, model: LanguageModel, config: LMTrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def loss(self, rows: Tensor) -> Tensor:
        """rows (B, length + 1) -> nats a token, mean over all."""
        logits: Tensor = self.model(rows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        loss = self.loss(batch)
        self.log("train/loss", loss, batch_size=len(batch), on_step=True, on_epoch=False)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(batch))
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"], batch_size=len(batch))
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Loss over all held-out rows."""
        self.log("valid/loss", self.loss(batch), batch_size=len(batch), on_epoch=True, sync_dist=True)


def fit(
    task: LMTask,
    train: DataLoader[Tensor],
    valid: DataLoader[Tensor],
    folder: Path,
    *,
    progress: bool = True,
) -> None:
    """Train, or continue; see `run_trainer`. The best checkpoints are those of validation loss."""
    run_trainer(task, train, valid, folder, monitor="valid/loss", mode="min", progress=progress)
