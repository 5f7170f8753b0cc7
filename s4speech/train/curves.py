"""metrics.csv: learning curves, a whole file at every moment, continued where a checkpoint was taken."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from s4speech.files import write_by_rename

SAVE_EVERY = 20  # rows


class Curves(Logger):
    """Writes what is logged to `path`, a row each time.

    rows: of an earlier run that are kept (None: none, a new training); those after are of steps that will be
    made again.
    """

    def __init__(self, path: Path, rows: int | None = None) -> None:
        super().__init__()
        self._path = path
        self._rows: list[dict[str, str]] = [] if rows is None else self._read()[:rows]
        self._unsaved = 0

    def _read(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        with self._path.open(newline="", encoding="utf-8") as file:
            return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @property
    def rows(self) -> int:
        """Logged so far."""
        return len(self._rows)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """They are in the config."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """A row of values at an optimiser step."""
        values = {name: str(float(value)) for name, value in metrics.items() if name != "epoch"}
        values["epoch"] = str(int(metrics.get("epoch", 0)))
        self._rows.append(values | {"step": str(step)})
        self._unsaved += 1
        if self._unsaved >= SAVE_EVERY:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the file, if there is anything new in it."""
        if self._unsaved:
            text = io.StringIO()
            names = sorted({name for row in self._rows for name in row})
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_by_rename(self._path, text.getvalue())
            self._unsaved = 0

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """The end of a run, also of one that fails."""
        self.save()
