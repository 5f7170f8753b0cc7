"""What trainings on utterances for synthesis have in common."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from s4speech.config.tts import SpeechTrainConfig
from s4speech.data.speech import SpeechBatch
from s4speech.train.trainer import Task, run_trainer


class SpeechTask(Task):
    """A step of training or validation is the sum of what `losses` returns; all of them are logged.

    planned_s: seconds of audio in all epochs, from which the schedule knows how far the training is. monitor:
    the validation value whose smallest has the best checkpoint.
    """

    config: SpeechTrainConfig
    monitor = "valid/loss"
    heard_s: Tensor

    def __init__(self, config: SpeechTrainConfig, planned_s: float, hop_s: float) -> None:
        super().__init__()
        self.config, self.planned_s, self.hop_s = config, planned_s, hop_s
        self.register_buffer("heard_s", torch.zeros((), dtype=torch.float64))

    @property
    def progress(self) -> float:
        """The part of the training that is over, 0 .. 1, in seconds of audio heard."""
        return float(self.heard_s) / self.planned_s

    def losses(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Scalars by name; their sum is minimised."""
        raise NotImplementedError

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        losses = self.losses(batch)
        total: Tensor = torch.stack(list(losses.values())).sum()
        self.heard_s += self.heard_in(float(batch.lengths.sum()) * self.hop_s, batch_idx)
        size = len(batch.ids)
        self.log_dict({f"train/{k}": v for k, v in (losses | {"loss": total}).items()}, batch_size=size)
        self.log("loss", total, prog_bar=True, logger=False, batch_size=size)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"], batch_size=size)
        return total

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        """The same on held-out texts."""
        losses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        values: dict[str, Any] = {f"valid/{k}": v for k, v in (losses | {"loss": total}).items()}
        self.log_dict(values, batch_size=len(batch.ids), sync_dist=True)


def fit(
    task: SpeechTask,
    train: DataLoader[SpeechBatch],
    valid: DataLoader[SpeechBatch],
    folder: Path,
    *,
    progress: bool = True,
) -> None:
    """Train, or continue; see `run_trainer`."""
    run_trainer(task, train, valid, folder, monitor=task.monitor, mode="min", progress=progress)
