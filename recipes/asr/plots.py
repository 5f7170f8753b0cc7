"""Learning curves, attention weights and what is learnt of a streaming model as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import east_asian_width

import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from torch import Tensor

from recipes.asr.calibration import Bins
from recipes.asr.config import Unit
from recipes.plots import Panels
from s4speech.models.asr.model import ASRModel
from s4speech.text.tokenizer import SOS

EAST_ASIAN_FONTS = ("Noto Sans CJK JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic")


def learning_curves(unit: Unit) -> Panels:
    """Of a training whose errors are counted in words, or in characters alone."""
    rates = ("valid/wer", "valid/cer") if unit == "word" else ("valid/cer",)
    return {
        "loss a token": ("train/ctc", "train/attention", "valid/ctc", "valid/attention"),
        "token accuracy (teacher forced)": ("train/accuracy", "valid/accuracy"),
        "greedy CTC error rate, validation": rates,
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
    labels, font = _labels(["<sos>", *pieces])
    for number, (panel, layer) in enumerate(zip(panels[1:], layers, strict=True), 1):
        panel.imshow(layer, aspect="auto", cmap="viridis", interpolation="nearest")
        panel.set(ylabel=f"layer {number}: token")
        panel.set_yticks(range(len(labels)), labels, fontsize=4, fontfamily=font)
    panels[-1].set_xlabel(f"encoder frame of {1000 * model.frame_shift_s:.0f} ms")
    figure.savefig(target, dpi=120)


def _labels(pieces: Sequence[str]) -> tuple[list[str], list[str]]:
    """Pieces and the fonts to write them in; in code points where no font here has the characters."""
    usual = ["DejaVu Sans"]  # matplotlib's own
    if not any(east_asian_width(character) in "WF" for piece in pieces for character in piece):
        return list(pieces), usual
    fonts = [name for name in EAST_ASIAN_FONTS if name in {font.name for font in fontManager.ttflist}]
    if fonts:
        return list(pieces), usual + fonts
    return [piece if piece.isascii() else " ".join(f"{ord(c):X}" for c in piece) for piece in pieces], usual


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
