"""What a stage's result depends on, as one short text: its config, external inputs and upstream stages."""

import hashlib
import json
import os
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from s4speech.errors import InputError


def digest(value: object) -> str:
    """A JSON-able value as 16 hexadecimal digits. Raises TypeError: not JSON-able."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_part(config: BaseModel, keys: tuple[str, ...]) -> dict[str, Any]:
    """The values of dotted keys, such as ``train.lr``, as plain data. Raises KeyError: no such key."""
    data = config.model_dump(mode="json")
    return {key: reduce(lambda node, name: node[name], key.split("."), data) for key in keys}


class MissingInput(InputError):
    """An external file or directory that a stage reads is not there. path: of what is missing."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class InputFiles:
    """Digests of external files and directories, each read once a run: a corpus is 300 000 `stat` calls."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def digest(self, path: Path, stage: str) -> str:
        """By name, size in bytes and modification time; a directory by all files below it.

        Raises MissingInput: nothing there, naming the stage that needs it; InputError: not readable.
        """
        if path not in self._known:
            try:
                self._known[path] = digest([str(path), sorted(_listing(path))])
            except FileNotFoundError as error:
                raise MissingInput(
                    Path(error.filename),
                    f"stage {stage!r}: {error.filename} does not exist, wanted a file or directory; "
                    "correct the path in the config, or put the data there",
                ) from None
            except OSError as error:
                raise InputError(f"stage {stage!r}: cannot read {path} ({error}); check the path") from error
        return self._known[path]


def _listing(path: Path) -> Iterator[tuple[str, int, int]]:
    """(path, bytes, modified in ns) of a file, or of every file below a directory."""
    stat = path.stat()
    if not path.is_dir():
        yield str(path), stat.st_size, stat.st_mtime_ns
        return
    pending = [str(path)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(entry.path)
                else:
                    # A dangling link is listed as itself: the doctor stage reports unreadable audio by name.
                    stat = entry.stat(follow_symlinks=os.path.exists(entry.path))
                    yield entry.path, stat.st_size, stat.st_mtime_ns
