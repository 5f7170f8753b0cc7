"""Pictures of alignments, frames and pitch."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor


def plot_alignment(log_probs: Tensor, durations: Tensor, symbols: Sequence[str], path: Path) -> None:
    """log_probs (T, N) as a picture, and the best path through it: durations (N,) frames of each symbol."""
    figure = Figure(figsize=(10, 0.14 * len(symbols) + 1), layout="constrained")
    axes = figure.subplots()
    axes.imshow(log_probs.softmax(-1).T.numpy(), aspect="auto", origin="lower", interpolation="none")
    ends = durations.cumsum(0).tolist()
    axes.step([0, *ends], [*range(len(ends)), len(ends) - 1], where="post", color="red", linewidth=0.8)
    axes.set_yticks(range(len(symbols)), symbols, fontsize=6)
    axes.set_xlabel("frame")
    figure.savefig(path, dpi=100)


def plot_speech(
    panels: Sequence[tuple[str, Tensor]], pitch: Sequence[tuple[str, Tensor]], path: Path
) -> None:
    """Log-mel frames (T, n_mels) of each panel, one below the other, and F0 contours (T,) with 0 as gaps."""
    figure = Figure(figsize=(10, 2.2 * (len(panels) + 1)), layout="constrained")
    rows = figure.subplots(len(panels) + 1, 1, squeeze=False)[:, 0]
    for axes, (name, mel) in zip(rows, panels, strict=False):
        axes.imshow(mel.T.numpy(), aspect="auto", origin="lower", interpolation="none")
        axes.set_title(name, fontsize=9)
    for name, f0 in pitch:
        rows[-1].plot(f0.masked_fill(f0 <= 0, float("nan")).numpy(), label=name, linewidth=1)
    rows[-1].set_ylabel("F0, Hz")
    rows[-1].legend(fontsize=8)
    figure.savefig(path, dpi=100)
