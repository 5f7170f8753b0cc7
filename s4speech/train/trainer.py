"""What every training does: optimiser, learning rate, checkpoints, logs, continuing after a kill."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from s4speech.config.train import TrainerConfig
from s4speech.train.optim import build_optimizer, lr_factor, set_lr
from s4speech.train.progress import TrainingProgress
from s4speech.train.resume import continued_csv_logger, last_checkpoint


class Task(pl.LightningModule):
    """A model with the optimiser and the schedule of its config; subclasses say what a step is.

    trained_s: seconds of training and validation so far, those before a resume included.
    """

    model: nn.Module
    config: TrainerConfig

    def __init__(self) -> None:
        super().__init__()
        self.trained_s = 0.0
        self._since = time.monotonic()

    @property
    def progress(self) -> float:
        """The part of the training that is over, 0 .. 1."""
        return self.global_step / max(1.0, float(self.trainer.estimated_stepping_batches))

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

    def on_train_start(self) -> None:
        """The clock of this run."""
        self._since = time.monotonic()

    def on_train_epoch_start(self) -> None:
        """The last epoch is validated, and so saved, whatever `validate_every` says."""
        if self.current_epoch + 1 == self.trainer.max_epochs:
            self.trainer.check_val_every_n_epoch = 1

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """The rate of the coming step, from how far the training is: nothing to restore on a resume."""
        factor = lr_factor(self.config.schedule, self.global_step, self.config.warmup_steps, self.progress)
        set_lr(self.trainer.optimizers[0], factor)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clock."""
        now = time.monotonic()
        self.trained_s += now - self._since
        self._since = now
        checkpoint["trained_s"] = self.trained_s

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the clock."""
        self.trained_s = float(checkpoint.get("trained_s", 0.0))


def run_trainer(
    task: Task,
    train: DataLoader[Any],
    valid: DataLoader[Any],
    folder: Path,
    *,
    monitor: str,
    mode: str,
    callbacks: Sequence[pl.Callback] = (),
    progress: bool = True,
) -> None:
    """Train, or continue from `folder`/checkpoints/last.ckpt when it is there.

    monitor, mode: the logged value that chooses the best `keep` checkpoints, and whether min or max is best.
    The loaders split the data over several devices themselves.
    Writes checkpoints (the best `keep` and the last), TensorBoard events and metrics.csv under `folder`.
    """
    config = task.config
    pl.seed_everything(config.seed, verbose=False)
    last = last_checkpoint(folder)
    best = ModelCheckpoint(
        folder / "checkpoints",
        filename=f"{{epoch:03d}}-{{{monitor}:.4f}}",
        auto_insert_metric_name=False,
        monitor=monitor,
        mode=mode,
        save_top_k=config.keep,
        save_on_train_epoch_end=False,  # but after each validation
    )
    # Not `save_last`, which leaves out epochs that are not among the best. After `best`: it holds its state.
    newest = ModelCheckpoint(
        folder / "checkpoints",
        filename="last",
        save_on_train_epoch_end=False,
        enable_version_counter=False,
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
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=20,
            logger=[
                TensorBoardLogger(folder, name="tensorboard", version=""),
                continued_csv_logger(folder, last),
            ],
            callbacks=[best, newest, TrainingProgress(progress), *callbacks],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            # weights_only: a checkpoint is data, never code
            trainer.fit(task, train, valid, ckpt_path=None if last is None else str(last), weights_only=True)
        except SystemExit:  # what Lightning makes of Ctrl-C
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise


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


def best_checkpoints(folder: Path, keep: int, mode: str) -> list[Path]:
    """The best `keep` of EPOCH-VALUE.ckpt, by the value that `run_trainer` puts into their names.

    There may be more of them: Lightning forgets what it kept when an experiment is moved and then continued.
    """
    paths = [path for path in folder.glob("*.ckpt") if not path.stem.startswith("last")]

    def rank(path: Path) -> tuple[float, str]:
        value = float(path.stem.split("-")[1])
        return (value if mode == "min" else -value), path.name

    return sorted(sorted(paths, key=rank)[:keep])
