"""Continuing a training that was stopped: the files beside the last checkpoint go back to its moment."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger


def last_checkpoint(folder: Path) -> Path | None:
    """checkpoints/last.ckpt under `folder`, None before the first one.

    A run that was killed between writing one of the best checkpoints and the last one left a file that the
    last one, if there is one, does not know; it is removed, for it would be averaged with the others.
    """
    last = folder / "checkpoints" / "last.ckpt"
    known = {last.name}
    callbacks = _load(last)["callbacks"] if last.exists() else {}
    for state in callbacks.values():
        known |= {Path(path).name for path in state.get("best_k_models", {})}
    for path in last.parent.glob("*.ckpt"):
        if path.name not in known:
            path.unlink()
    return last if last.exists() else None


def continued_csv_logger(folder: Path, last: Path | None) -> CSVLogger:
    """The logger of metrics/metrics.csv under `folder`, with the rows from before the checkpoint `last`.

    Lightning's own deletes what an earlier run has logged.
    """
    metrics = folder / "metrics" / "metrics.csv"
    before = metrics.with_name("before.csv")
    if metrics.exists() and not before.exists():  # both: killed right here
        metrics.replace(before)
    logger = CSVLogger(folder, "metrics", "")
    writer = logger.experiment
    if last is not None and before.exists():
        # The validation of the checkpoint's own epoch is logged after it is saved, at the step before.
        end = int(_load(last)["global_step"])
        with before.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            writer.metrics = [dict(row) for row in rows if int(row["step"]) < end]
            writer.metrics_keys = list(rows.fieldnames or ())
        writer.save()
    before.unlink(missing_ok=True)
    return logger


def _load(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint without reading its tensors."""
    content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return content
