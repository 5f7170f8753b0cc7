"""How far the training is: a bar for people, a line an epoch for the log."""

import logging
from typing import cast

import lightning.pytorch as pl
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_log = logging.getLogger(__name__)


class TrainingProgress(pl.Callback):
    """One bar for the whole training, with the time left; after each validation a line in the log.

    The module has `progress`, the part of the training that is over.
    """

    def __init__(self, bar: bool) -> None:
        self._bar = Progress(
            TextColumn("train"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            disable=not bar,
            speed_estimate_period=600,
        )
        self._task = self._bar.add_task("", total=1.0)
        self._valid = ""
        self._continued = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._continued = trainer.global_step > 0
        self._bar.start()
        self._show(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if self._continued:
            _log.info("continued with epoch %d of %s", trainer.current_epoch + 1, trainer.max_epochs)
            self._continued = False
        self._show(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if "valid/wer" in values:
            self._valid = f" WER {100 * values['valid/wer']:.1f} % CER {100 * values['valid/cer']:.1f} %"
        elif "valid/accuracy" in values:
            self._valid = f" accuracy {100 * values['valid/accuracy']:.1f} %"
        told = ", ".join(f"{k} {v:.4g}" for k, v in sorted(values.items()) if not k.startswith("train/"))
        _log.info("epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, told)
        self._show(trainer, pl_module)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._bar.stop()

    def _show(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = trainer.callback_metrics.get("loss")
        text = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        text += "" if loss is None else f" loss {float(loss):.2f}"
        progress = cast(float, pl_module.progress)
        self._bar.update(self._task, completed=progress, description=text + self._valid)
