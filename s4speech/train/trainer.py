"""What every training does: optimiser, learning rate, checkpoints, logs, continuing after a kill."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException
from torch.utils.data import DataLoader

from s4speech.config.train import TrainerConfig
from s4speech.data.places import PlacedSampler
from s4speech.data.processes import TookPart, launched
from s4speech.data.sampler import EpochSampler
from s4speech.errors import Stopped
from s4speech.train.curves import Curves
from s4speech.train.optim import build_optimizer, lr_factor, parameter_kinds, set_lr
from s4speech.train.progress import TrainingProgress
from s4speech.train.resume import LAST, Place, last_checkpoint, load_checkpoint, place_of, set_place
from s4speech.train.saver import Saver, StopRequest
from s4speech.train.strategy import PlainFiles, make_strategy

_log = logging.getLogger(__name__)


class Task(pl.LightningModule):
    """A model with the optimiser and the schedule of its config; subclasses say what a step is.

    trained_s: seconds of training and validation so far, those before a resume included. steps: of the
    optimiser, when the training is over.
    """

    model: nn.Module
    config: TrainerConfig

    def __init__(self) -> None:
        super().__init__()
        self.trained_s, self.steps = 0.0, 0
        self._since = time.monotonic()
        self._unheard_s = 0.0
        self._kinds: dict[str, str] | None = None

    @property
    def progress(self) -> float:
        """The part of the training that is over, 0 .. 1."""
        return self.global_step / max(1.0, float(self.trainer.estimated_stepping_batches))

    def setup(self, stage: str) -> None:
        """What each parameter is, while they are whole: FSDP leaves a flat piece of each."""
        self._kinds = parameter_kinds(self.model)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """What the config names."""
        return build_optimizer(self.model, self.config, self._kinds)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm ourselves: Lightning refuses to with a fused optimiser, for float16's sake alone."""
        if self.config.strategy == "fsdp":  # no process has a whole gradient
            whole: Any = self.trainer.strategy.model
            whole.clip_grad_norm_(self.config.grad_clip)
        else:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)

    def on_train_start(self) -> None:
        """The clock of this run; and what Lightning leaves out when it goes on in the middle of an epoch."""
        self._since = time.monotonic()
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """The last epoch is validated, and so saved, whatever `validate_every` says."""
        if self.current_epoch + 1 == self.trainer.max_epochs:
            self.trainer.check_val_every_n_epoch = 1

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """The randomness of this micro-batch, and the rate of the coming step.

        Both are functions of the place in the training: there is nothing to restore on a resume, and it does
        not matter which process does what.
        """
        torch.manual_seed(random_seed(self.config.seed, self.current_epoch, self.number_of(batch_idx)))
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            config = self.config
            factor = lr_factor(config.schedule, self.global_step, config.warmup_steps, self.progress)
            set_lr(self.trainer.optimizers[0], factor)

    def number_of(self, batch_idx: int) -> int:
        """Of a micro-batch of this process, among those of all processes in the epoch."""
        return batch_idx * self.trainer.world_size + self.global_rank

    def heard_in(self, seconds: float, batch_idx: int) -> float:
        """seconds: of audio in a micro-batch -> at the end of a step those of all processes in it, else 0.

        Those that only fill up the last step of an epoch do not count.
        """
        loader: Any = self.trainer.train_dataloader
        if not loader.sampler.repeats(self.current_epoch, self.number_of(batch_idx)):
            self._unheard_s += seconds
        if (batch_idx + 1) % self.trainer.accumulate_grad_batches:
            return 0.0
        heard = torch.tensor(self._unheard_s, dtype=torch.float64, device=self.device)
        self._unheard_s = 0.0
        return float(self.trainer.strategy.reduce(heard, reduce_op="sum"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clock."""
        now = time.monotonic()
        self.trained_s += now - self._since
        self._since = now
        checkpoint["trained_s"] = self.trained_s

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the clock, at the place of the checkpoint."""
        self.trained_s = float(checkpoint.get("trained_s", 0.0))
        set_place(checkpoint, place_of(checkpoint), self.trainer.world_size)


def random_seed(*place: int) -> int:
    """A number for `torch.manual_seed`, unlike that of any other place."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])


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
    """Train, or continue exactly where `folder`/checkpoints/last.ckpt was taken, when it is there.

    monitor, mode: the logged value that chooses the best `keep` checkpoints, and whether min or max is best.
    train: its sampler is a `PlacedSampler`; the loaders share the data between processes themselves.
    Writes checkpoints (the best `keep` and the last), TensorBoard events and metrics.csv under `folder`.
    Raises Stopped: a signal has asked for it, and the place is saved. Raises InputError: the processes that
    were started are not those of the config; no checkpoint can be read. Raises TookPart, when the training is
    over: this is not the first of the processes that were started.
    """
    config, start, stop = task.config, launched(), StopRequest()
    pl.seed_everything(config.seed, verbose=False)
    last = last_checkpoint(folder) if start.rank == 0 else None
    with _quiet_lightning(), stop.heard():
        trainer = _make_trainer(
            task, folder, last, monitor, mode, [*callbacks, TrainingProgress(progress)], stop
        )
        if start.outside:  # the first process has decided for all
            trainer.strategy.setup_environment()
            last = trainer.strategy.broadcast(last)
        elif start.rank:
            last = folder / "checkpoints" / LAST
            last = last if last.exists() else None
        place = _place(last)
        sampler = cast(PlacedSampler[Any], train.sampler)
        sampler.begin(config.accumulate, place.epoch, place.number)
        if isinstance(valid.sampler, EpochSampler):
            valid.sampler.everywhere = config.strategy == "fsdp"  # whose processes run in step
        _fit(trainer, task, train, valid, last, stop)
    if start.rank:
        raise TookPart
    # Lightning brings back the weights from the processes that it has started, but neither of these
    content = load_checkpoint(folder / "checkpoints" / LAST)
    task.trained_s, task.steps = float(content["trained_s"]), int(content["global_step"])


def _place(last: Path | None) -> Place:
    return Place() if last is None else place_of(load_checkpoint(last))


def _make_trainer(
    task: Task,
    folder: Path,
    last: Path | None,
    monitor: str,
    mode: str,
    callbacks: list[pl.Callback],
    stop: StopRequest,
) -> pl.Trainer:
    config, place = task.config, _place(last)
    steps = 0 if last is None else int(load_checkpoint(last)["global_step"])
    curves = Curves(folder / "metrics" / "metrics.csv", place.rows)
    best = ModelCheckpoint(
        folder / "checkpoints",
        filename=f"{{epoch:03d}}-{{{monitor}:.4f}}",
        auto_insert_metric_name=False,
        monitor=monitor,
        mode=mode,
        save_top_k=config.keep,
        save_on_train_epoch_end=False,  # but after each validation
    )
    return pl.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=make_strategy(config),
        plugins=None if config.strategy == "fsdp" else PlainFiles(),
        precision=config.precision,
        max_epochs=config.total_epochs,
        accumulate_grad_batches=config.accumulate // config.processes,
        check_val_every_n_epoch=config.validate_every,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        logger=[TensorBoardLogger(folder, name="tensorboard", version="", purge_step=steps or None), curves],
        callbacks=[best, Saver(folder, config.checkpoint_minutes, curves, stop), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _fit(
    trainer: pl.Trainer,
    task: Task,
    train: DataLoader[Any],
    valid: DataLoader[Any],
    last: Path | None,
    stop: StopRequest,
) -> None:
    try:
        # weights_only: a checkpoint is data, never code
        trainer.fit(task, train, valid, ckpt_path=None if last is None else str(last), weights_only=True)
    except Stopped:
        raise
    except SystemExit:  # what Lightning makes of Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    except Exception as error:
        # one of several processes has stopped, and this one, or the one that waits for all, has noticed
        if stop.made or (isinstance(error, ProcessExitedException) and error.exit_code == Stopped().code):
            _log.warning("stopped: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise Stopped from None
        raise
    if stop.made:  # asked in the last moments of the training: what comes after it does not listen
        raise Stopped


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's hardware report, advertisements and advice about its own code from the terminal."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    loggers.append(logging.getLogger("torch.multiprocessing.spawn"))
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
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
