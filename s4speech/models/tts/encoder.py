"""Phones -> hidden vectors: bidirectional S4D and convolutions; and what is predicted from them."""

import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.config.tts import TextEncoderConfig
from s4speech.layers import S4D, Chain, FrozenLayer, GatedMix, Residual, SequenceLayer
from s4speech.layers.sequence import check_causal, length_mask


class ConvFeedForward(SequenceLayer):
    """Convolution of `kernel_size` frames to twice the width, GELU, and back (Ren et al. 2019)."""

    def __init__(self, d_model: int, kernel_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: got {kernel_size}, wanted an odd number")
        self.d_model = d_model
        self.widen = nn.Conv1d(d_model, 2 * d_model, kernel_size, padding=kernel_size // 2)
        self.drop = nn.Dropout(dropout)
        self.narrow = nn.Linear(2 * d_model, d_model)

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        if lengths is not None:
            x = x.masked_fill(~length_mask(lengths, x.shape[1]).unsqueeze(-1), 0.0)
        wide = F.gelu(self.widen(x.transpose(1, 2)).transpose(1, 2))
        y: Tensor = self.narrow(self.drop(wide))
        return y

    def freeze(self, rate: float = 1.0) -> FrozenLayer:
        check_causal(bidirectional=True)
        raise AssertionError("unreachable")


class TextEncoder(nn.Module):
    """tokens -> hidden vectors, one each, that know the whole sentence and the speaker."""

    def __init__(self, n_symbols: int, config: TextEncoderConfig, n_speakers: int = 1) -> None:
        super().__init__()
        d = config.d_model
        self.d_model = d
        self.embedding = nn.Embedding(n_symbols, d)
        self.speaker = nn.Embedding(n_speakers, d)
        nn.init.normal_(self.speaker.weight, std=0.1)
        blocks: list[SequenceLayer] = []
        for _ in range(config.n_layers):
            ssm = S4D(d, config.d_state, dt_min=1e-2, dt_max=1.0, bidirectional=True)
            blocks.append(Residual(Chain(ssm, GatedMix(d, config.dropout)), dropout=config.dropout))
            convolution = ConvFeedForward(d, config.kernel_size, config.dropout)
            blocks.append(Residual(convolution, dropout=config.dropout))
        self.blocks = Chain(*blocks)
        self.norm = nn.LayerNorm(d)

    def forward(self, tokens: Tensor, lengths: Tensor, speaker: Tensor) -> Tensor:
        """tokens (B, N), lengths (B,), speaker (B,) -> (B, N, D)."""
        x = self.embedding(tokens) + self.speaker(speaker).unsqueeze(1)
        y: Tensor = self.norm(self.blocks(x, lengths)) + self.speaker(speaker).unsqueeze(1)
        return y


class Predictor(nn.Module):
    """One number a phone: two convolutions (Ren et al. 2021, FastSpeech 2, section 2.3)."""

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(d_model, d_model, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.drop = nn.Dropout(dropout)
        self.output = nn.Linear(d_model, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x (B, N, D), lengths (B,) -> (B, N)."""
        mask = length_mask(lengths, x.shape[1]).unsqueeze(-1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = x.masked_fill(~mask, 0.0)
            x = self.drop(norm(F.gelu(convolution(x.transpose(1, 2)).transpose(1, 2))))
        y: Tensor = self.output(x).squeeze(-1).float()
        return y
