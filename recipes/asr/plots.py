"""Learning curves and attention weights as PNG."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from s4speech.models.asr.model import ASRModel
from s4speech.text.tokenizer import SOS


def plot_learning_curves(metrics: Path, target: Path) -> None:
    """metrics.csv of Lightning's CSVLogger -> losses, token accuracy, greedy error rates over the epochs."""
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def curve(name: str) -> tuple[list[float], list[float]]:
        points = [(float(r["step"]), float(r[name])) for r in rows if r.get(name)]
        return [x for x, _ in points], [y for _, y in points]

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    wanted = (
        ("loss a token", ("train/ctc", "train/attention", "valid/ctc", "valid/attention")),
        ("token accuracy (teacher forced)", ("train/accuracy", "valid/accuracy")),
        ("greedy CTC error rate, validation", ("valid/wer", "valid/cer")),
    )
    for panel, (title, names) in zip(panels, wanted, strict=True):
        for name in names:
            x, y = curve(name)
            if x:
                style = {"alpha": 0.5, "linewidth": 0.8} if name.startswith("train") else {"marker": "."}
                panel.plot(x, y, label=name, **style)
        panel.set(title=title, xlabel="optimiser step")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    panels[0].set_ylim(0, 8)
    figure.savefig(target, dpi=120)


def plot_attention(
    model: ASRModel, mel: Tensor, tokens: Sequence[int], pieces: Sequence[str], title: str, target: Path
) -> None:
    """Cross-attention of each decoder layer, mean over heads, above the log-mel (1, T, n_mels) it sees."""
    with torch.no_grad():
        memory, lengths = model.encode(mel, torch.tensor([mel.shape[1]]))
        weights = model.decoder.attention_weights(torch.tensor([[SOS, *tokens]]), memory, lengths)
    layers = weights.mean(2)[:, 0]  # (n_layers, U, T)
    figure = Figure(figsize=(10, 2.2 * (len(layers) + 1)), layout="constrained")
    panels = figure.subplots(len(layers) + 1, 1)
    panels[0].imshow(mel[0].T, origin="lower", aspect="auto", cmap="magma")
    panels[0].set(title=f"{title}: log-mel, cross-attention by layer", ylabel="mel band")
    labels = ["<sos>", *pieces]
    for number, (panel, layer) in enumerate(zip(panels[1:], layers, strict=True), 1):
        panel.imshow(layer, aspect="auto", cmap="viridis", interpolation="nearest")
        panel.set(ylabel=f"layer {number}: token")
        panel.set_yticks(range(len(labels)), labels, fontsize=4)
    panels[-1].set_xlabel(f"encoder frame of {1000 * model.frame_shift_s:.0f} ms")
    figure.savefig(target, dpi=120)
