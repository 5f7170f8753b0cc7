"""Layers that see a chunk at a time: convolution and attention with look-ahead inside the chunk only.

A sequence is cut into chunks of C frames. A frame sees the past (attention: a window of it) and the rest of
its own chunk, nothing after it. With no chunk size (None) the whole sequence is one chunk. `freeze` gives the
form that takes one chunk at a time with a state of constant size:

    forward(x, chunk=C) == scan of x[:, 0:C], x[:, C:2C], ...
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.layers.attention import check_heads, merge_heads, split_heads
from s4speech.layers.conv import ConvState
from s4speech.layers.sequence import frozen_copy

_COMMON_CHUNKS = (1, 2, 4, 8)  # frames; what depends on them alone is computed once
_SMALL = 1 << 18  # products of a convolution that are made at once: beyond, memory costs more than conv1d


class ChunkConv(nn.Module):
    """Depthwise convolution, centred; what lies beyond the chunk counts as zero.

    (Li et al. 2023, "Dynamic chunk convolution for unified streaming and non-streaming Conformer ASR".)
    """

    def __init__(self, d_model: int, kernel_size: int) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: got {kernel_size}, wanted an odd number")
        self.side = kernel_size // 2
        self.filter = nn.Conv1d(d_model, d_model, kernel_size, groups=d_model)

    def forward(self, x: Tensor, chunk: int | None = None) -> Tensor:
        """x (B, T, D), zero in padding -> (B, T, D)."""
        b, t, d = x.shape
        x = x.transpose(1, 2)
        if chunk is None or chunk >= t:
            y: Tensor = self.filter(F.pad(x, (self.side, self.side)))
            return y.transpose(1, 2)
        windows = F.pad(x, (self.side, -t % chunk)).unfold(2, self.side + chunk, chunk)  # (B, D, n, side + C)
        rows = F.pad(windows.transpose(1, 2).flatten(0, 1), (0, self.side))
        out = self.filter(rows).view(b, -1, d, chunk).transpose(2, 3)
        y = out.flatten(1, 2)[:, :t]
        return y

    def freeze(self) -> "FrozenChunkConv":
        """The form for streams; immutable."""
        return FrozenChunkConv(self)


class FrozenChunkConv:
    """The last frames are the state."""

    def __init__(self, layer: ChunkConv) -> None:
        self.layer = frozen_copy(layer)
        self._weight = self.layer.filter.weight[:, 0].t().contiguous()  # (kernel_size, D)
        self._bias = cast(Tensor, self.layer.filter.bias)

    def init_state(self, batch: int) -> ConvState:
        """Nothing heard yet."""
        weight = self.layer.filter.weight
        return ConvState(weight.new_zeros(batch, self.layer.side, weight.shape[0]))

    def scan(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        """One chunk: x (B, C, D) -> (B, C, D), new state."""
        window = torch.cat([state.past, x], 1)
        padded = F.pad(window, (0, 0, 0, self.layer.side))
        if x.numel() * len(self._weight) <= _SMALL:  # conv1d takes longer to begin than to compute
            frames = padded.unfold(1, len(self._weight), 1).transpose(2, 3)  # (B, C, kernel_size, D)
            y: Tensor = (frames * self._weight).sum(2) + self._bias
        else:
            y = self.layer.filter(padded.transpose(1, 2)).transpose(1, 2)
        return y, ConvState(window[:, x.shape[1] :])


class ChunkAttentionState(NamedTuple):
    """keys, values: (B, left, D), newest last; length: (B,) how many of them have been heard."""

    keys: Tensor
    values: Tensor
    length: Tensor


class ChunkAttention(nn.Module):
    """Multi-head attention over `left` past frames and the frame's own chunk; the whole sequence without one.

    Order is told by a learnt bias of each head for each distance (Raffel et al. 2020, section 2.1), the same
    beyond `left` frames to either side: there are no absolute positions, so a stream may last for ever.
    """

    def __init__(self, d_model: int, n_heads: int, left: int) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        if left < 1:
            raise ValueError(f"left_frames: got {left}, wanted >= 1")
        self.d_model, self.n_heads, self.left = d_model, n_heads, left
        self.project_in = nn.Linear(d_model, 3 * d_model)
        self.project_out = nn.Linear(d_model, d_model)
        self.distance = nn.Parameter(torch.zeros(n_heads, 2 * left + 1))

    def forward(self, x: Tensor, valid: Tensor, chunk: int | None = None) -> Tensor:
        """x (B, T, D), valid (B, T) bool -> (B, T, D)."""
        q, k, v = self.project_in(x).chunk(3, -1)
        i = torch.arange(x.shape[1], device=x.device)
        ahead = i - i.unsqueeze(1)  # (T, T): key minus query
        seen = valid.unsqueeze(1)
        if chunk is not None:
            block = i.div(chunk, rounding_mode="floor")
            seen = seen & (ahead >= -self.left) & (block <= block.unsqueeze(1))
        q, k, v = (split_heads(part, self.n_heads) for part in (q, k, v))
        scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5 + self.bias(ahead).to(q.dtype)
        scores = scores.masked_fill(~seen.unsqueeze(1), torch.finfo(scores.dtype).min)
        # in the dtype of the products: autocast would make the softmax, and every product after it, float32
        with torch.autocast(q.device.type, enabled=False):
            mixed = scores.softmax(-1).to(v.dtype) @ v
        y: Tensor = self.project_out(merge_heads(mixed))
        return y

    def bias(self, ahead: Tensor) -> Tensor:
        """Distances (T, S), key minus query -> what is added to the scores (n_heads, T, S)."""
        return self.distance[:, ahead.clamp(-self.left, self.left) + self.left]

    def freeze(self) -> "FrozenChunkAttention":
        """The form for streams; immutable."""
        return FrozenChunkAttention(self)


class FrozenChunkAttention:
    """Keys and values of the last `left` frames are the state, of constant size from the start."""

    def __init__(self, layer: ChunkAttention) -> None:
        self.layer = frozen_copy(layer)
        self._biases = {c: self._bias(c) for c in _COMMON_CHUNKS}

    def init_state(self, batch: int) -> ChunkAttentionState:
        """Nothing heard yet."""
        weight = self.layer.project_in.weight
        cache = weight.new_zeros(batch, self.layer.left, self.layer.d_model)
        return ChunkAttentionState(cache, cache, torch.zeros(batch, dtype=torch.long, device=weight.device))

    def scan(self, x: Tensor, state: ChunkAttentionState) -> tuple[Tensor, ChunkAttentionState]:
        """One chunk: x (B, C, D) -> (B, C, D), new state."""
        layer, c = self.layer, x.shape[1]
        q, k, v = layer.project_in(x).chunk(3, -1)
        keys, values = torch.cat([state.keys, k], 1), torch.cat([state.values, v], 1)
        bias = self._biases[c] if c in self._biases else self._bias(c)
        # On a GPU to ask would cost more than the mask: the CPU would have to wait for the answer.
        if x.is_cuda or bool((state.length < layer.left).any()):
            index = torch.arange(keys.shape[1], device=x.device)
            unheard = index < layer.left - state.length.unsqueeze(1)  # (B, left + C)
            bias = bias.masked_fill(unheard[:, None, None], float("-inf"))
        q, k, v = (split_heads(part, layer.n_heads) for part in (q, keys, values))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        y: Tensor = layer.project_out(merge_heads(mixed))
        length = (state.length + c).clamp(max=layer.left)
        return y, ChunkAttentionState(keys[:, c:], values[:, c:], length)

    def _bias(self, c: int) -> Tensor:
        """What a chunk of c frames adds to its scores (1, n_heads, c, left + c): -inf beyond the window."""
        left = self.layer.left
        index = torch.arange(left + c, device=self.layer.distance.device)
        ahead = index - index[left:].unsqueeze(1)
        return self.layer.bias(ahead).masked_fill(ahead < -left, float("-inf")).unsqueeze(0)
