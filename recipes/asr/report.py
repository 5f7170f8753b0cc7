"""The score stage's pages: one HTML file for each part, with every decoding of it."""

from collections.abc import Mapping
from pathlib import Path

from recipes.asr.context import ASRContext
from recipes.context import commit
from s4speech.metrics.error_rate import ErrorReport
from s4speech.metrics.html import write_report

# Of every recipe, where its stages have written them; then those of a part in the score stage's folder.
PLOTS = {
    "Learning curves": "train/learning_curves.png",
    "Attention of the decoder": "average/attention.png",
    "Confidence against truth": "calibrate/reliability.png",
}
PART_PLOTS = {"Streaming": "{part}.streaming.png"}


def report(context: ASRContext, folder: Path, parts: Mapping[str, Mapping[str, ErrorReport]]) -> None:
    """Write PART.html for each part: its reports by name of the decoding, the one to compare with first."""
    for part, reports in parts.items():
        plots = {caption: context.exp_dir / path for caption, path in PLOTS.items()}
        plots |= {caption: folder / path.format(part=part) for caption, path in PART_PLOTS.items()}
        target = folder / f"{part}.html"
        write_report(
            target,
            reports,
            title=f"{context.config.package.name}: {part}",
            notes=[f"Made by {context.command}, commit {commit()}."],
            plots={caption: path for caption, path in plots.items() if path.exists()},
        )
        context.say(f"score: to look through: {target}")
