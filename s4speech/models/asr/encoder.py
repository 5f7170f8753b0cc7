"""Conformer encoder (Gulati et al. 2020, arXiv 2005.08100) for offline recognition."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.layers.attention import RelativeAttention, relative_positions
from s4speech.layers.block import DropPath, FeedForward, TiedDropout
from s4speech.layers.sequence import length_mask


class Conv2dSubsampling(nn.Module):
    """Two 3x3 convolutions of stride 2 over (time, band), then a linear layer: 4 times fewer frames.

    A row's frames come from its own frames alone: T -> ((T - 1) // 2 - 1) // 2.
    """

    context = 7  # frames needed for the first output

    def __init__(self, n_mels: int, d_model: int) -> None:
        super().__init__()
        if n_mels < self.context:
            raise ValueError(f"n_mels: got {n_mels}, wanted at least {self.context} with subsampling conv2d")
        self.conv = nn.Sequential(
            nn.Conv2d(1, d_model, 3, 2), nn.ReLU(), nn.Conv2d(d_model, d_model, 3, 2), nn.ReLU()
        )
        bands = ((n_mels - 1) // 2 - 1) // 2
        self.project = nn.Linear(d_model * bands, d_model)

    def lengths(self, lengths: Tensor) -> Tensor:
        """Frames in (B,) -> frames out (B,)."""
        return (((lengths - 1) // 2 - 1) // 2).clamp(min=0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n_mels) -> (B, T', D)."""
        y: Tensor = self.project(self.conv(x.unsqueeze(1)).transpose(1, 2).flatten(2))
        return y


class Conv1dSubsampling(nn.Module):
    """The same reduction by two convolutions over time only: a small part of the cost on a CPU."""

    context = 7

    def __init__(self, n_mels: int, d_model: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(n_mels, d_model, 3, 2), nn.GELU(), nn.Conv1d(d_model, d_model, 3, 2), nn.GELU()
        )
        self.project = nn.Linear(d_model, d_model)

    def lengths(self, lengths: Tensor) -> Tensor:
        """Frames in (B,) -> frames out (B,)."""
        return (((lengths - 1) // 2 - 1) // 2).clamp(min=0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n_mels) -> (B, T', D)."""
        y: Tensor = self.project(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return y


SUBSAMPLINGS: dict[str, type[Conv1dSubsampling | Conv2dSubsampling]]
SUBSAMPLINGS = {"conv2d": Conv2dSubsampling, "conv1d": Conv1dSubsampling}


class ConvModule(nn.Module):
    """Pointwise, GLU, depthwise over time, norm, SiLU, pointwise.

    LayerNorm stands where the paper has BatchNorm: its statistics would depend on what else is in the batch.
    """

    def __init__(self, d_model: int, kernel_size: int) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: got {kernel_size}, wanted an odd number")
        self.pointwise_in = nn.Linear(d_model, 2 * d_model)
        self.depthwise = nn.Conv1d(d_model, d_model, kernel_size, padding=kernel_size // 2, groups=d_model)
        self.norm = nn.LayerNorm(d_model)
        self.pointwise_out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x (B, T, D), valid (B, T, 1) -> (B, T, D)."""
        y = F.glu(self.pointwise_in(x), -1) * valid
        y = self.depthwise(y.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.pointwise_out(F.silu(self.norm(y)))
        return out


class ConformerBlock(nn.Module):
    """FF/2, relative attention, convolution, FF/2, norm; each pre-norm with a residual."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        kernel_size: int,
        dropout: float,
        tied_dropout: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(5))
        self.ff_in = FeedForward(d_model, d_ff, dropout, nn.SiLU, tied=tied_dropout)
        # dropout inside attention would cost more than the attention on a CPU
        self.attention = RelativeAttention(d_model, n_heads, 0.0 if tied_dropout else dropout)
        self.conv = ConvModule(d_model, kernel_size)
        self.ff_out = FeedForward(d_model, d_ff, dropout, nn.SiLU, tied=tied_dropout)
        self.drop = nn.Sequential(
            TiedDropout(dropout) if tied_dropout else nn.Dropout(dropout), DropPath(drop_path)
        )

    def forward(self, x: Tensor, positions: Tensor, valid: Tensor) -> Tensor:
        """x (B, T, D), positions (2T - 1, D), valid (B, T) bool -> (B, T, D)."""
        mask = valid[:, None, None]
        x = x + 0.5 * self.drop(self.ff_in(self.norms[0](x)))
        x = x + self.drop(self.attention(self.norms[1](x), positions, mask))
        x = x + self.drop(self.conv(self.norms[2](x), valid.unsqueeze(-1)))
        x = x + 0.5 * self.drop(self.ff_out(self.norms[3](x)))
        out: Tensor = self.norms[4](x)
        return out


class Encoded(NamedTuple):
    """frames: (B, T, D); lengths: (B,); inter: outputs of the intermediate blocks, [(frames, lengths)]."""

    frames: Tensor
    lengths: Tensor
    inter: list[tuple[Tensor, Tensor]]


class ConformerEncoder(nn.Module):
    """Subsampling by 4, then Conformer blocks; by 8 from block `reduce_after` on, when it is given.

    subsampling: conv2d | conv1d. inter: blocks whose output is returned as well (intermediate CTC).
    Raises ValueError naming the option.
    """

    def __init__(
        self,
        n_mels: int,
        d_model: int,
        n_layers: int,
        n_heads: int,
        d_ff: int,
        kernel_size: int,
        *,
        subsampling: str = "conv2d",
        dropout: float = 0.1,
        tied_dropout: bool = False,
        drop_path: float = 0.0,
        reduce_after: int | None = None,
        inter: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if reduce_after is not None and not 0 <= reduce_after < n_layers:
            raise ValueError(f"reduce_after: got {reduce_after}, wanted 0 .. {n_layers - 1} or null")
        if any(not 0 < block < n_layers for block in inter):
            raise ValueError(f"inter_ctc: got {list(inter)}, wanted blocks 1 .. {n_layers - 1}")
        if subsampling not in SUBSAMPLINGS:
            raise ValueError(f"subsampling: got {subsampling!r}, wanted one of {', '.join(SUBSAMPLINGS)}")
        self.d_model, self.reduce_after, self.inter = d_model, reduce_after, frozenset(inter)
        self.subsampling = SUBSAMPLINGS[subsampling](n_mels, d_model)
        self.dropout = TiedDropout(dropout) if tied_dropout else nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(
                d_model, n_heads, d_ff, kernel_size, dropout, tied_dropout, drop_path * (i + 1) / n_layers
            )
            for i in range(n_layers)
        )
        self.reduce = None if reduce_after is None else nn.Linear(2 * d_model, d_model)
        self.norm = nn.LayerNorm(d_model)

    @property
    def factor(self) -> int:
        """Feature frames for one output frame."""
        return 4 if self.reduce is None else 8

    def forward(self, features: Tensor, lengths: Tensor) -> Encoded:
        """features (B, T, n_mels), lengths (B,) -> Encoded.

        Raises ValueError when the batch is shorter than the subsampling's context.
        """
        if features.shape[1] < self.subsampling.context:
            raise ValueError(f"features: got {features.shape[1]} frames, wanted {self.subsampling.context}")
        x = self.subsampling(features)
        lengths = self.subsampling.lengths(lengths)
        x, positions, valid = self._prepare(self.dropout(x), lengths)
        inter = []
        for i, block in enumerate(self.blocks):
            if i == self.reduce_after and self.reduce is not None:
                x, lengths = pair_frames(x * valid.unsqueeze(-1), lengths)
                x, positions, valid = self._prepare(self.reduce(x), lengths)
            x = block(x, positions, valid)
            if i + 1 in self.inter:
                inter.append((x, lengths))
        return Encoded(self.norm(x), lengths, inter)

    def _prepare(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, relative_positions(x.shape[1], self.d_model, x), length_mask(lengths, x.shape[1])


def pair_frames(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, D) -> (B, ceil(T / 2), 2D): every two frames side by side, the last one with zeros if alone."""
    x = F.pad(x, (0, 0, 0, x.shape[1] % 2))
    return torch.unflatten(x, 1, (-1, 2)).flatten(2), (lengths + 1) // 2


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
