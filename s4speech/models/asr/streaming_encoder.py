"""Streaming encoder: chunks of audio in, a state of constant size from one to the next.

Blocks of feed-forward, local convolution, causal S4D, windowed attention, feed-forward. Convolution and
attention look ahead inside the chunk only; S4D carries what is older than their windows (an S4 stacked with a
local convolution: Shan et al. 2023, "Augmenting Conformers with structured state-space sequence models for
online speech recognition"). One model serves all chunk sizes because training draws a new one for each batch
(Zhang et al. 2020, "Unified streaming and non-streaming two-pass end-to-end model").
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.layers import S4D, Chain, FeedForward, GatedMix, State
from s4speech.layers.block import DropPath, TiedDropout
from s4speech.layers.chunked import ChunkAttention, ChunkAttentionState, ChunkConv
from s4speech.layers.conv import ConvState
from s4speech.layers.sequence import frozen_copy, length_mask
from s4speech.models.asr.encoder import SUBSAMPLINGS, Encoded, pair_frames


class BlockState(NamedTuple):
    """conv: the last frames; ssm: the state of S4D; attention: the last keys and values."""

    conv: ConvState
    ssm: State
    attention: ChunkAttentionState


class StreamingBlock(nn.Module):
    """FF/2, convolution, S4D, attention, FF/2, norm; each pre-norm with a residual."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        kernel_size: int,
        left: int,
        *,
        d_state: int,
        init: str,
        dt_min: float,
        dt_max: float,
        dropout: float,
        tied_dropout: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(6))
        self.ff_in = FeedForward(d_model, d_ff, dropout, nn.SiLU, tied=tied_dropout)
        self.conv_in = nn.Linear(d_model, 2 * d_model)
        self.conv = ChunkConv(d_model, kernel_size)
        self.conv_norm = nn.LayerNorm(d_model)
        self.conv_out = nn.Linear(d_model, d_model)
        # an element-wise dropout mask over all frames would cost more than the layer on a CPU
        mix = GatedMix(d_model, 0.0 if tied_dropout else dropout)
        self.ssm = Chain(S4D(d_model, d_state, init, dt_min=dt_min, dt_max=dt_max), mix)
        self.attention = ChunkAttention(d_model, n_heads, left)
        self.ff_out = FeedForward(d_model, d_ff, dropout, nn.SiLU, tied=tied_dropout)
        self.drop = nn.Sequential(
            TiedDropout(dropout) if tied_dropout else nn.Dropout(dropout), DropPath(drop_path)
        )

    def gate(self, x: Tensor) -> Tensor:
        """What the convolution reads."""
        return F.glu(self.conv_in(self.norms[1](x)), -1)

    def local(self, convolved: Tensor) -> Tensor:
        """What the convolution module adds."""
        y: Tensor = self.conv_out(F.silu(self.conv_norm(convolved)))
        return y

    def forward(self, x: Tensor, valid: Tensor, chunk: int | None) -> Tensor:
        """x (B, T, D), valid (B, T) bool -> (B, T, D)."""
        x = x + 0.5 * self.drop(self.ff_in(self.norms[0](x)))
        x = x + self.drop(self.local(self.conv(self.gate(x) * valid.unsqueeze(-1), chunk)))
        x = x + self.drop(self.ssm(self.norms[2](x)))
        x = x + self.drop(self.attention(self.norms[3](x), valid, chunk))
        x = x + 0.5 * self.drop(self.ff_out(self.norms[4](x)))
        out: Tensor = self.norms[5](x)
        return out


class FrozenStreamingBlock:
    """The form for streams."""

    def __init__(self, block: StreamingBlock) -> None:
        self.block = frozen_copy(block)
        self.conv, self.ssm, self.attention = (
            block.conv.freeze(),
            block.ssm.freeze(),
            block.attention.freeze(),
        )

    def init_state(self, batch: int) -> BlockState:
        """Nothing heard yet."""
        return BlockState(
            self.conv.init_state(batch), self.ssm.init_state(batch), self.attention.init_state(batch)
        )

    def scan(self, x: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        """One chunk: x (B, C, D) -> (B, C, D), new state."""
        block = self.block
        x = x + 0.5 * block.ff_in(block.norms[0](x))
        convolved, conv = self.conv.scan(block.gate(x), state.conv)
        x = x + block.local(convolved)
        y, ssm = self.ssm.scan(block.norms[2](x), state.ssm)
        x = x + y
        y, attention = self.attention.scan(block.norms[3](x), state.attention)
        x = x + y
        x = x + 0.5 * block.ff_out(block.norms[4](x))
        return block.norms[5](x), BlockState(conv, ssm, attention)


class StreamingEncoder(nn.Module):
    """Subsampling by 4, or by 8 with `reduce`, then blocks.

    Options as in `config.asr.StreamingEncoderConfig`. Raises ValueError naming the option.
    """

    def __init__(
        self,
        n_mels: int,
        d_model: int,
        n_layers: int,
        n_heads: int,
        d_ff: int,
        kernel_size: int,
        left_frames: int,
        *,
        subsampling: str = "conv1d",
        reduce: bool = False,
        d_state: int = 16,
        init: str = "real",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        dropout: float = 0.1,
        tied_dropout: bool = False,
        drop_path: float = 0.0,
        inter: Sequence[int] = (),
        chunks: Sequence[int] = (4, 8, 16, 32),
        full_probability: float = 0.4,
    ) -> None:
        super().__init__()
        if any(not 0 < block < n_layers for block in inter):
            raise ValueError(f"inter_ctc: got {list(inter)}, wanted blocks 1 .. {n_layers - 1}")
        if subsampling not in SUBSAMPLINGS:
            raise ValueError(f"subsampling: got {subsampling!r}, wanted one of {', '.join(SUBSAMPLINGS)}")
        self.d_model, self.inter = d_model, frozenset(inter)
        self.chunks, self.full_probability = tuple(chunks), full_probability
        self.subsampling = SUBSAMPLINGS[subsampling](n_mels, d_model)
        self.reduce = nn.Linear(2 * d_model, d_model) if reduce else None
        self.dropout = TiedDropout(dropout) if tied_dropout else nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            StreamingBlock(
                d_model,
                n_heads,
                d_ff,
                kernel_size,
                left_frames,
                d_state=d_state,
                init=init,
                dt_min=dt_min,
                dt_max=dt_max,
                dropout=dropout,
                tied_dropout=tied_dropout,
                drop_path=drop_path * (i + 1) / n_layers,
            )
            for i in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)

    @property
    def factor(self) -> int:
        """Feature frames between two encoder frames."""
        return 4 if self.reduce is None else 8

    @property
    def context(self) -> int:
        """Feature frames that one encoder frame is made of."""
        return self.subsampling.context + (0 if self.reduce is None else 4)

    def draw_chunk(self) -> int | None:
        """A chunk size for a training batch; None: the whole utterance."""
        if float(torch.rand(())) < self.full_probability:
            return None
        return self.chunks[int(torch.randint(len(self.chunks), ()))]

    def subsample(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, n_mels), frames (B,) -> what the blocks read (B, T', D), frames (B,)."""
        x, lengths = self.subsampling(x), self.subsampling.lengths(lengths)
        if self.reduce is not None:
            x, lengths = pair_frames(x * length_mask(lengths, x.shape[1]).unsqueeze(-1), lengths)
            x = self.reduce(x)
        return x, lengths

    def forward(self, x: Tensor, lengths: Tensor, chunk: int | None = None) -> Encoded:
        """Features (B, T, n_mels) with T >= 7, frames (B,); chunk: frames of the result seen at once."""
        x, lengths = self.subsample(x, lengths)
        valid = length_mask(lengths, x.shape[1])
        x = self.dropout(x)
        inter = []
        for i, block in enumerate(self.blocks):
            x = block(x, valid, chunk)
            if i + 1 in self.inter:
                inter.append((x, lengths))
        return Encoded(self.norm(x), lengths, inter)

    def freeze(self) -> "FrozenStreamingEncoder":
        """The form for streams; immutable, safe to share between threads."""
        return FrozenStreamingEncoder(self)


class FrozenStreamingEncoder:
    """One chunk at a time. The state is a tuple of `BlockState`, of constant size."""

    def __init__(self, encoder: StreamingEncoder) -> None:
        self.encoder = frozen_copy(encoder)
        self.blocks = tuple(FrozenStreamingBlock(cast(StreamingBlock, block)) for block in encoder.blocks)

    def init_state(self, batch: int) -> tuple[BlockState, ...]:
        """Nothing heard yet."""
        return tuple(block.init_state(batch) for block in self.blocks)

    @torch.inference_mode()
    def scan(self, x: Tensor, state: tuple[BlockState, ...]) -> tuple[Tensor, tuple[BlockState, ...]]:
        """One chunk of features (B, T, n_mels) -> frames (B, C, D), new state.

        T = (C - 1) factor + context features make C frames; the next chunk begins C factor features later.
        The last one of a stream may be shorter, and makes no frame with less than 7 features.
        """
        encoder = self.encoder
        frames = torch.full((x.shape[0],), x.shape[1], device=x.device)
        if x.shape[1] < encoder.subsampling.context:
            return x.new_zeros(x.shape[0], 0, encoder.d_model), state
        x, _ = encoder.subsample(x, frames)
        states = []
        for block, before in zip(self.blocks, state, strict=True):
            x, after = block.scan(x, before)
            states.append(after)
        return encoder.norm(x), tuple(states)
