"""Learning curves, attention weights and what is learnt of a streaming model as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from recipes.asr.calibration import Bins
from recipes.plots import Panels
from s4speech.models.asr.model import ASRModel
from s4speech.text.tokenizer import SOS

LEARNING_CURVES: Panels = {
    "loss a token": ("train/ctc", "train/attention", "valid/ctc", "valid/attention"),
    "token accuracy (teacher forced)": ("train/accuracy", "valid/accuracy"),
    "greedy CTC error rate, validation": ("valid/wer", "valid/cer"),
}


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


def plot_reliability(curves: Mapping[str, Bins], title: str, target: Path) -> None:
    """Part of the words that is right over their confidence, by the name of the confidence."""
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for name, found in curves.items():
        panel.plot(found.confidence, found.correct, marker=".", label=name)
    panel.set(title=title, xlabel="confidence", ylabel="right", xlim=(0, 1), ylim=(0, 1))
    panel.grid(alpha=0.3)
    if curves:
        panel.legend(fontsize=8)
    figure.savefig(target, dpi=120)


def plot_streaming(
    chunks: Mapping[str, Mapping[str, float]], groups: Mapping[str, float], target: Path
) -> None:
    """WER in per cent: by decoding and chunk size, and by the number of utterances in a recording."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for method, rates in chunks.items():
        left.plot(list(rates), list(rates.values()), marker=".", label=method)
    left.set(title="single utterances", xlabel="chunk", ylabel="WER %")
    left.legend(fontsize=8)
    right.plot(list(groups), list(groups.values()), marker=".")
    right.set(title="recordings of several utterances", xlabel="utterances", ylabel="WER %")
    for panel in (left, right):
        panel.grid(alpha=0.3)
    figure.savefig(target, dpi=120)
