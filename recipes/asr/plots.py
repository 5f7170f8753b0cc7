"""Learning curves and attention weights as PNG."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

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
