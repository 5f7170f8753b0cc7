"""A stage directory's own files: started.json, done.json, clearing, and the lock of an experiment."""

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s4speech.errors import InputError

STARTED, DONE, LOG = "started.json", "done.json", "log.txt"
_LOCK = ".lock"
_TRASH = ".trash-"
_PARTIAL = ".partial"
_OWN = {STARTED, DONE, LOG, STARTED + _PARTIAL, DONE + _PARTIAL}

Record = dict[str, Any]


def read_record(path: Path) -> Record:
    """A record, or {} when it is missing or damaged: the stage then counts as not done."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(path: Path, record: Record) -> None:
    """Write a record so that it is there whole or not at all, whenever the machine stops."""
    partial = path.with_name(path.name + _PARTIAL)
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def clear_stage(directory: Path, aside: Path | None = None) -> None:
    """Remove a stage directory's old content, or move it to `aside`, whose own content is then removed.

    By rename first: a directory killed half-way through its removal must never look like a result.
    Raises InputError: it holds files but no record of a stage, so it is somebody else's.
    """
    if not directory.exists():
        return
    ours = (directory / STARTED).exists() or (directory / DONE).exists()
    if not ours and any(name not in _OWN for name in os.listdir(directory)):
        raise InputError(
            f"{directory}: holds files that no stage of a recipe made (no {STARTED}); "
            "move them away, or choose another exp_dir"
        )
    if aside is None:
        _remove(directory)
    else:
        if aside.exists():
            _remove(aside)
        directory.rename(aside)


def _remove(directory: Path) -> None:
    trash = directory.parent / f"{_TRASH}{directory.name}-{uuid.uuid4().hex[:8]}"
    directory.rename(trash)
    shutil.rmtree(trash)


@contextlib.contextmanager
def experiment_lock(exp_dir: Path) -> Iterator[None]:
    """Hold an experiment directory for one process.

    Raises InputError: another process holds it (naming its id), or the directory cannot be made.
    """
    try:
        exp_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{exp_dir}: cannot be made ({error}); choose another exp_dir") from error
    with open(exp_dir / _LOCK, "a+", encoding="utf-8") as file:
        try:
            # A record lock, not flock: worker processes inherit an flock, and after a kill -9 of their
            # parent they would hold the directory until they notice.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"{exp_dir}: process {file.read().strip() or 'unknown'} is running a recipe in it; "
                "wait for it to end, or choose another exp_dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        for trash in exp_dir.glob(_TRASH + "*"):  # left by a kill during clear_stage
            shutil.rmtree(trash, ignore_errors=True)
        yield
