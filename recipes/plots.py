"""Learning curves as PNG."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure

Panels: TypeAlias = Mapping[str, tuple[str, ...]]  # title -> names of the values in it


def plot_learning_curves(metrics: Path, target: Path, panels: Panels) -> None:
    """metrics.csv of Lightning's CSVLogger -> its values over the steps; losses are cut at 8."""
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(4 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            points = [(float(row["step"]), float(row[name])) for row in rows if row.get(name)]
            if points:
                style = {"alpha": 0.5, "linewidth": 0.8} if name.startswith("train") else {"marker": "."}
                panel.plot(*zip(*points, strict=True), label=name, **style)
        panel.set(title=title, xlabel="optimiser step")
        if title.startswith("loss"):
            panel.set_ylim(0, min(8, panel.get_ylim()[1]))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.savefig(target, dpi=120)
