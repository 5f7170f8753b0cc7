"""last.ckpt: when it is written, and the signals that ask a training to stop."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import get_worker_info

from s4speech.errors import Stopped
from s4speech.train.curves import Curves
from s4speech.train.resume import LAST, PREVIOUS, Place

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # a pre-emption; what SLURM can send some time before
VALIDATION_S = 30.0  # further than this from its last checkpoint, a training is saved before a validation


class StopRequest:
    """Whether somebody has asked this process to stop.

    Processes that it has started to train hear of it from this one; processes that read data go on, for the
    step that is being made may need them.
    """

    def __init__(self) -> None:
        self.made = False
        self._owner = os.getpid()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Take the signals over for a while."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        self.listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if get_worker_info() is not None:  # torch ends its workers with the second one, if it has to
            signal.signal(number, signal.SIG_DFL)
            return
        self.made = True
        if os.getpid() == self._owner:
            for process in multiprocessing.active_children():
                if process.pid is not None and not process.daemon:
                    os.kill(process.pid, number)


class Saver(pl.Callback):
    """Writes checkpoints/last.ckpt: at the start of an epoch that follows a validation, every `minutes`
    between two optimiser steps, at the end, and when the training is asked to stop, which then ends with
    `Stopped`.

    Always between two steps, when everything of the step before has been logged: what follows is the same as
    without a stop. The file is there whole at every moment, and so is the one before. One process leaves a
    validation at once; several make it whole, for they agree between two steps alone.
    """

    def __init__(self, folder: Path, minutes: float, curves: Curves, stop: StopRequest) -> None:
        self._folder, self._seconds, self._curves, self._stop = (
            folder / "checkpoints",
            60 * minutes,
            curves,
            stop,
        )
        self._saved_at = time.monotonic()
        self._saved_step: int | None = None
        self._validated = False
        self._place: Place | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop.listen()  # after Lightning's own handlers, which save nothing
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step != self._saved_step:
            self._save_if(trainer, Place(epoch=trainer.current_epoch), self._validated)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if batch_idx and batch_idx % trainer.accumulate_grad_batches == 0:
            self._save_if(trainer, Place(trainer.current_epoch, batch_idx * trainer.world_size))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        number = trainer.fit_loop.epoch_loop.batch_progress.current.completed * trainer.world_size
        self._save_if(trainer, Place(trainer.current_epoch, number, validating=True))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._stop.made and trainer.world_size == 1:  # saved before
            raise Stopped

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer, Place(epoch=trainer.current_epoch))
        if trainer.is_global_zero:
            (self._folder / PREVIOUS).unlink(missing_ok=True)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._place is not None:
            checkpoint["place"] = self._place._asdict()

    def _save_if(self, trainer: pl.Trainer, place: Place, wanted: bool = False) -> None:
        limit = min(VALIDATION_S, self._seconds) if place.validating else self._seconds
        due = wanted or time.monotonic() - self._saved_at > limit
        stop = self._stop.made
        if trainer.world_size > 1:  # all of them, or none
            flags = torch.tensor([float(due), float(stop)], device=trainer.strategy.root_device)
            flags = trainer.strategy.reduce(flags, reduce_op="sum")
            due, stop = (bool(flag) for flag in flags.tolist())
        if due or stop:
            self._save(trainer, place)
        if stop:
            raise Stopped

    def _save(self, trainer: pl.Trainer, place: Place) -> None:
        for logger in trainer.loggers:
            logger.save()
        unfinished = self._folder / f"{LAST}.tmp"
        self._place = place._replace(rows=self._curves.rows)
        trainer.save_checkpoint(unfinished)  # a whole model, whatever the strategy; all processes wait
        self._place = None
        if trainer.is_global_zero:
            best = [Path(path) for path in getattr(trainer.checkpoint_callback, "best_k_models", {})]
            for path in [*(path for path in best if path.exists()), unfinished]:
                sync(path)
            last = self._folder / LAST
            if last.exists():
                os.replace(last, self._folder / PREVIOUS)
            os.replace(unfinished, last)
            sync(self._folder)
        trainer.strategy.barrier()  # no process ends, and so ends the others, before the file has its name
        self._saved_at, self._saved_step, self._validated = time.monotonic(), trainer.global_step, False


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
