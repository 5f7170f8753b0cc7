"""Training of a recognition model with Lightning."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jiwer
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from s4speech.audio.specaugment import spec_augment
from s4speech.config.asr import SpecAugmentConfig
from s4speech.config.train import TrainConfig
from s4speech.data.asr import Batch
from s4speech.models.asr.model import ASRModel
from s4speech.train.optim import build_optimizer, lr_factor, set_lr
from s4speech.train.progress import TrainingProgress
from s4speech.train.resume import continued_csv_logger, last_checkpoint


class ASRTask(pl.LightningModule):
    """One training step, one validation step, the optimiser. The model itself knows nothing of Lightning.

    planned_s: seconds of audio in all epochs, from which the schedule knows how far the training is.
    decode: token ids -> text, for the greedy CTC error rate on the validation part.
    """

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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """What the config names."""
        return build_optimizer(self.model, self.config)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm ourselves: Lightning refuses to with a fused optimiser, for float16's sake alone."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)

    @property
    def progress(self) -> float:
        """The part of the training that is over, 0 .. 1, in seconds of audio heard."""
        return float(self.heard_s) / self.planned_s

    def on_train_epoch_start(self) -> None:
        """No dropout in frozen parts, nor in the encoder while the training is still without augmentation.

        The last epoch is validated, and so saved, whatever `validate_every` says.
        """
        if self.current_epoch + 1 == self.trainer.max_epochs:
            self.trainer.check_val_every_n_epoch = 1
        for name in self.config.freeze:
            getattr(self.model, name).eval()
        if "encoder" not in self.config.freeze:
            self.model.encoder.train(self.current_epoch >= self.config.augment_after)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The rate of the coming step, from what has been heard: nothing to restore on a resume."""
        factor = lr_factor(self.config.schedule, self.global_step, self.config.warmup_steps, self.progress)
        set_lr(self.trainer.optimizers[0], factor)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Joint loss of one batch with SpecAugment."""
        features = self.model.normalize(batch.features)
        if self.current_epoch >= self.config.augment_after:
            features = spec_augment(features, batch.lengths, **self.specaugment.model_dump())
        losses = self.model.loss(features, batch.lengths, batch.tokens, batch.token_lengths)
        self.heard_s += batch.duration_s * self.trainer.world_size
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
        """Greedy CTC error rates over the whole validation part."""
        rates = {"valid/wer": jiwer.wer, "valid/cer": jiwer.cer}
        for name, rate in rates.items():
            self.log(name, float(rate(self._references, self._hypotheses)), prog_bar=True, sync_dist=True)
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
    """Train, or continue from `folder`/checkpoints/last.ckpt when it is there.

    Writes checkpoints (the best `keep` and the last), TensorBoard events and metrics.csv under `folder`.
    """
    config = task.config
    pl.seed_everything(config.seed, verbose=False)
    last = last_checkpoint(folder)
    metric = config.monitor.replace("valid/", "")
    checkpoint = ModelCheckpoint(
        folder / "checkpoints",
        filename=f"{{epoch:03d}}-{{{config.monitor}:.4f}}",
        auto_insert_metric_name=False,
        monitor=config.monitor,
        mode="min" if metric == "wer" else "max",
        save_top_k=config.keep,
        save_last=True,
        save_on_train_epoch_end=False,  # but after each validation
    )
    with _quiet_lightning():
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            # on a CPU, Lightning's own choice would run the whole recipe again in each process
            strategy="ddp_fork" if config.accelerator == "cpu" and config.devices > 1 else "auto",
            precision=config.precision,
            max_epochs=config.total_epochs,
            accumulate_grad_batches=config.accumulate,
            check_val_every_n_epoch=config.validate_every,
            use_distributed_sampler=False,  # lhotse's sampler splits the data over ranks itself
            num_sanity_val_steps=0,
            log_every_n_steps=20,
            logger=[
                TensorBoardLogger(folder, name="tensorboard", version=""),
                continued_csv_logger(folder, last),
            ],
            callbacks=[checkpoint, TrainingProgress(progress), *callbacks],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        # weights_only: a checkpoint is data, never code
        trainer.fit(task, train, valid, ckpt_path=None if last is None else str(last), weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's hardware report, advertisements and advice about its own code from the terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        logger.setLevel(level)


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the models in Lightning checkpoints, in float64 -> a state dict of the bare model.

    Raises ValueError when there is none.
    """
    if not paths:
        raise ValueError("average_checkpoints needs at least one checkpoint")
    total: dict[str, Tensor] = {}
    for path in paths:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        for name, value in saved.items():
            if name.startswith("model."):
                key = name.removeprefix("model.")
                total[key] = total.get(key, torch.zeros((), dtype=torch.float64)) + value.double()
    return {name: (value / len(paths)).float() for name, value in total.items()}
