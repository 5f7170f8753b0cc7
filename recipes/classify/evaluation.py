"""Stage evaluate: accuracy of every test part, which classes are taken for which, and the speed."""

import csv
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from recipes.classify.context import ClassifyContext
from s4speech.data.classify import IGNORE, SequenceDataset, make_loader
from s4speech.data.speech_commands import SAMPLE_RATE_HZ
from s4speech.files import write_by_rename
from s4speech.metrics.accuracy import wilson_interval


class Evaluation(NamedTuple):
    """confusion: (classes, classes) int64 counts, targets by rows. seconds: of the model alone."""

    confusion: Tensor
    seconds: float


def evaluate(context: ClassifyContext, folder: Path) -> None:
    """The best checkpoint on every test part: a table, results.json, confusion matrices as CSV and PNG."""
    model, path = context.trained_model()
    data = context.data
    training = json.loads((context.exp_dir / "train" / "training.json").read_text("utf-8"))
    results: dict[str, Any] = {}
    table = Table("test set", "rate", "accuracy %", "95 %", "targets", "RTF", box=None)
    for name, part in data.test.items():
        confusion, seconds = _run(context, model, part, name, len(data.classes))
        right, asked = int(confusion.diagonal().sum()), int(confusion.sum())
        low, high = wilson_interval(right, asked)
        one = {"rate": part.rate, "accuracy": right / asked, "interval_95": [low, high]}
        one |= {"right": right, "targets": asked, "seconds": round(seconds, 3)}
        if data.vocab_size is None:
            one["rtf"] = seconds / (sum(part.lengths) * part.rate / SAMPLE_RATE_HZ)
        results[name] = one
        write_by_rename(folder / f"{name}.confusion.csv", _as_csv(confusion, data.classes))
        title = f"{name}: {100 * right / asked:.2f} %"
        _plot(confusion, data.classes, title, folder / f"{name}.confusion.png")
        table.add_row(
            name, f"{part.rate:g}", f"{100 * right / asked:.2f}", f"{100 * low:.1f}-{100 * high:.1f}",
            str(asked), f"{one['rtf']:.4f}" if "rtf" in one else "",
        )  # fmt: skip
    summary = {"test": results, "checkpoint": path.name, "training": training}
    summary |= {"threads": torch.get_num_threads(), "device": str(context.evaluate_device)}
    write_by_rename(folder / "results.json", json.dumps(summary, indent=1))
    context.console.print(table)
    context.say(f"evaluate: {path.name}, {training['parameters']} parameters; {folder / 'results.json'}")


@torch.inference_mode()
def _run(
    context: ClassifyContext, model: nn.Module, part: SequenceDataset, name: str, classes: int
) -> Evaluation:
    device = context.evaluate_device
    loader = make_loader(part, context.config.evaluate.batch_size, shuffle=False, seed=0)
    confusion, seconds = torch.zeros(classes, classes, dtype=torch.int64), 0.0
    for batch in track(
        loader, f"evaluate {name}", console=context.console, disable=not context.console.is_terminal
    ):
        begin = time.perf_counter()
        best = model(batch.inputs.to(device), batch.lengths.to(device), part.rate).argmax(-1).cpu()
        seconds += time.perf_counter() - begin
        asked = batch.targets != IGNORE
        pairs = batch.targets[asked] * classes + best[asked]
        confusion += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
    return Evaluation(confusion, seconds)


def _as_csv(confusion: Tensor, classes: Sequence[str]) -> str:
    """A line a target, a column a recognised class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["target", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, confusion.tolist(), strict=True))
    return text.getvalue()


def _plot(confusion: Tensor, classes: Sequence[str], title: str, target: Path) -> None:
    size = 1.5 + 0.28 * len(classes)
    figure = Figure(figsize=(size, size), layout="constrained")
    panel = figure.subplots()
    panel.imshow(confusion / confusion.sum(1, keepdim=True).clamp(min=1), cmap="Blues", vmin=0, vmax=1)
    panel.set(title=title, xlabel="recognised", ylabel="target")
    panel.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
    panel.set_yticks(range(len(classes)), classes, fontsize=7)
    for row, column in confusion.nonzero().tolist():
        share = confusion[row, column] / confusion[row].sum()
        panel.text(
            column, row, str(int(confusion[row, column])), ha="center", va="center", fontsize=6,
            color="white" if share > 0.5 else "black",
        )  # fmt: skip
    figure.savefig(target, dpi=120)
