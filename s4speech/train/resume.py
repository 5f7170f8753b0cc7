"""Continuing a training that was stopped, exactly where it was."""

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from s4speech.errors import InputError

LAST, PREVIOUS = "last.ckpt", "last-previous.ckpt"
_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a training is: `number` micro-batches of `epoch` (from 0) are trained on, by all processes.

    validating: these are all of them, and the validation comes next. rows: of metrics.csv so far.
    """

    epoch: int = 0
    number: int = 0
    validating: bool = False
    rows: int = 0


def last_checkpoint(folder: Path) -> Path | None:
    """checkpoints/last.ckpt under `folder`, None before the first one; of one process, before the training.

    One that cannot be read, after the machine itself has stopped, gives way to the one before. A run that
    was killed after one of the best checkpoints and before the last one left a file that the last one, if
    there is one, does not know; it is removed, for it would be averaged with the others. Those of epochs
    before the last one's stay: Lightning forgets what it kept when an experiment is moved.
    Raises InputError: no checkpoint can be read.
    """
    last = folder / "checkpoints" / LAST
    content = _newest(last)
    known = {LAST, PREVIOUS}
    for state in content.get("callbacks", {}).values():
        known |= {Path(path).name for path in state.get("best_k_models", {})}
    epoch = place_of(content).epoch if content else 0
    for path in last.parent.glob("*.ckpt"):
        number = path.name.split("-")[0]  # of EPOCH-VALUE.ckpt
        if path.name not in known and number.isdecimal() and int(number) >= epoch:
            path.unlink()
    for path in last.parent.glob("*.ckpt.tmp"):
        path.unlink()
    return last if content else None


def _newest(last: Path) -> dict[str, Any]:
    """The last checkpoint that can be read, which becomes `last`; {} when there is none at all."""
    previous, problem = last.with_name(PREVIOUS), None
    for path in (last, previous):
        try:
            content = load_checkpoint(path)
        except FileNotFoundError:
            continue
        except Exception as error:  # whatever torch says to half a file
            problem = f"{path}: cannot be read ({str(error).splitlines()[0]})"
            _log.warning("%s; looking for the one before", problem)
            continue
        if path == previous:
            os.replace(previous, last)
        return content
    if problem is not None:
        raise InputError(f"{problem}, nor is there one before it; delete {last.parent} to train again")
    return {}


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint; its tensors are read when they are used. Data only: no code of it is run."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return content


def place_of(checkpoint: dict[str, Any]) -> Place:
    """Where a checkpoint was taken. Those that know no place were taken after a validation."""
    if "place" in checkpoint:
        return Place(**checkpoint["place"])
    return Place(epoch=int(checkpoint["epoch"]) + 1)


def set_place(checkpoint: dict[str, Any], place: Place, world: int) -> None:
    """Write Lightning's own counters in a checkpoint, so that it goes on at `place` with `world` processes.

    Lightning would continue from what its counters were at that moment, which is not always where a training
    can go on, and belongs to one number of processes.
    """
    loops = checkpoint["loops"]["fit_loop"]
    begun = place.number > 0
    epochs, batches = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    done = {"ready": place.epoch + begun, "started": place.epoch + begun}
    done |= {"processed": place.epoch, "completed": place.epoch}
    epochs["current"], epochs["total"] = dict(done), dict(done)
    count = dict.fromkeys(("ready", "started", "processed", "completed"), place.number // world)
    batches["current"], batches["total"] = dict(count), dict(count)
    batches["is_last_batch"] = place.validating
    # a validation that has begun is begun again
    unfinished = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    finished = dict.fromkeys(unfinished, 0)
    validation = unfinished if place.validating else finished
    loops["epoch_loop.val_loop.batch_progress"] |= {
        "current": dict(validation),
        "total": dict(validation),
        "is_last_batch": False,
    }
