"""Training of a recognition model with Lightning."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jiwer
import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from s4speech.audio.specaugment import spec_augment
from s4speech.config.asr import SpecAugmentConfig
from s4speech.config.train import TrainConfig
from s4speech.data.asr import Batch, join_rows
from s4speech.models.asr.model import ASRModel
from s4speech.train.trainer import Task, run_trainer


class ASRTask(Task):
    """One training step, one validation step, the optimiser. The model itself knows nothing of Lightning.

    planned_s: seconds of audio in all epochs, from which the schedule knows how far the training is.
    decode: token ids -> text, for the greedy CTC error rate on the validation part.
    """

    config: TrainConfig
    model: ASRModel
    heard_s: Tensor

    def __init__(
        self,
        model: ASRModel,
        config: TrainConfig,
        specaugment: SpecAugmentConfig,
        planned_s: float,
        decode: Callable[[list[int]], str],
    ) -> None:
        super().__init__()
        self.model, self.config, self.specaugment = model, config, specaugment
        for name in config.freeze:
            getattr(model, name).requires_grad_(False)
        self.planned_s, self.decode = planned_s, decode
        self.register_buffer("heard_s", torch.zeros((), dtype=torch.float64))
        self._references: list[str] = []
        self._hypotheses: list[str] = []

    @property
    def progress(self) -> float:
        """The part of the training that is over, 0 .. 1, in seconds of audio heard."""
        return float(self.heard_s) / self.planned_s

    def on_train_epoch_start(self) -> None:
        """No dropout in frozen parts, nor in the encoder while the training is still without augmentation."""
        super().on_train_epoch_start()
        for name in self.config.freeze:
            getattr(self.model, name).eval()
        if "encoder" not in self.config.freeze:
            self.model.encoder.train(self.current_epoch >= self.config.augment_after)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Joint loss of one batch with SpecAugment."""
        if self.current_epoch >= self.config.join_after:
            batch = join_rows(batch, 1 + int(torch.randint(self.config.join, ())))
        features = self.model.normalize(batch.features)
        if self.current_epoch >= self.config.augment_after:
            features = spec_augment(features, batch.lengths, **self.specaugment.model_dump())
        losses = self.model.loss(features, batch.lengths, batch.tokens, batch.token_lengths)
        self.heard_s += self.heard_in(batch.duration_s, batch_idx)
        values = {f"train/{k}": v for k, v in losses._asdict().items()}
        self.log_dict(values, batch_size=len(batch.ids), on_step=True, on_epoch=False)
        self.log("loss", losses.total, prog_bar=True, logger=False, batch_size=len(batch.ids))
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"], batch_size=len(batch.ids))
        return losses.total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses, and the words of greedy CTC."""
        features = self.model.normalize(batch.features)
        losses = self.model.loss(features, batch.lengths, batch.tokens, batch.token_lengths)
        values = {f"valid/{k}": v for k, v in losses._asdict().items()}
        self.log_dict(values, batch_size=int(batch.token_lengths.sum()), sync_dist=True)
        memory, lengths = self.model.encode(batch.features, batch.lengths)
        best = self.model.ctc_log_probs(memory).argmax(-1).cpu()
        for row, n, tokens, u in zip(best, lengths, batch.tokens, batch.token_lengths, strict=True):
            self._hypotheses.append(self.decode(row[: int(n)].unique_consecutive().tolist()))
            self._references.append(self.decode(tokens[: int(u)].tolist()))

    def on_validation_epoch_end(self) -> None:
        """Greedy CTC error rates over the whole validation part, each utterance of which one process has."""
        words = jiwer.process_words(self._references, self._hypotheses)
        letters = jiwer.process_characters(self._references, self._hypotheses)
        aligned: dict[str, jiwer.WordOutput | jiwer.CharacterOutput]
        aligned = {"valid/wer": words, "valid/cer": letters}
        for name, found in aligned.items():
            missed = found.substitutions + found.deletions
            counts = [float(missed + found.insertions), float(missed + found.hits)]
            total = torch.tensor(counts, dtype=torch.float64, device=self.device)
            errors, units = self.trainer.strategy.reduce(total, reduce_op="sum").tolist()
            self.log(name, errors / max(1.0, units), prog_bar=True)
        self._references, self._hypotheses = [], []


def fit(
    task: ASRTask,
    train: DataLoader[Batch],
    valid: DataLoader[Batch],
    folder: Path,
    *,
    callbacks: Sequence[pl.Callback] = (),
    progress: bool = True,
) -> None:
    """Train, or continue; see `run_trainer`."""
    run_trainer(
        task,
        train,
        valid,
        folder,
        monitor=task.config.monitor,
        mode=task.config.mode,
        callbacks=callbacks,
        progress=progress,
    )
