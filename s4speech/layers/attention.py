"""Causal self-attention with a cache, relative self-attention of the Conformer, cross-attention."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.layers.sequence import FrozenLayer, SequenceLayer, frozen_copy, length_mask


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(B, T, D) -> (B, n_heads, T, D / n_heads)."""
    return torch.unflatten(x, -1, (n_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, n_heads, T, D / n_heads) -> (B, T, D)."""
    return x.transpose(1, 2).flatten(-2)


def check_heads(d_model: int, n_heads: int) -> None:
    """Raises ValueError unless n_heads divides d_model."""
    if n_heads < 1 or d_model % n_heads:
        raise ValueError(f"n_heads: got {n_heads}, wanted a divisor of d_model {d_model}")


class CausalAttentionState(NamedTuple):
    """keys, values: (B, S, D), newest last; length: (B,) how many of the S entries are valid."""

    keys: Tensor
    values: Tensor
    length: Tensor


class CausalAttention(SequenceLayer):
    """Multi-head self-attention over the past (Vaswani et al. 2017): the baseline among the sequence layers.

    window: how many frames, the current one included, are seen; None: all of them, and a state that grows.
    It has no notion of position: add an encoding to the input where order matters.
    """

    def __init__(self, d_model: int, n_heads: int = 4, *, window: int | None = None) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        if window is not None and window < 1:
            raise ValueError(f"window: got {window}, wanted a number of frames >= 1 or null")
        self.d_model, self.n_heads, self.window = d_model, n_heads, window
        self.project_in = nn.Linear(d_model, 3 * d_model)
        self.project_out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        q, k, v = (split_heads(part, self.n_heads) for part in self.project_in(x).chunk(3, -1))
        if self.window is None or x.shape[1] <= self.window:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            t = torch.arange(x.shape[1], device=x.device)
            age = t.unsqueeze(1) - t.unsqueeze(0)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=(age >= 0) & (age < self.window))
        y: Tensor = self.project_out(merge_heads(mixed))
        return y

    def freeze(self, rate: float = 1.0) -> "FrozenCausalAttention":
        return FrozenCausalAttention(self)


class FrozenCausalAttention(FrozenLayer):
    """The recurrent form: keys and values of the past are the state."""

    def __init__(self, layer: CausalAttention) -> None:
        self.layer = frozen_copy(layer)

    def init_state(self, batch: int) -> CausalAttentionState:
        weight = self.layer.project_in.weight
        cache = weight.new_zeros(batch, 0, self.layer.d_model)
        length = torch.zeros(batch, dtype=torch.long, device=weight.device)
        return CausalAttentionState(cache, cache, length)

    @torch.inference_mode()
    def step(self, x: Tensor, state: CausalAttentionState) -> tuple[Tensor, CausalAttentionState]:
        y, state = self.scan(x.unsqueeze(1), state)
        return y.squeeze(1), state

    @torch.inference_mode()
    def scan(self, x: Tensor, state: CausalAttentionState) -> tuple[Tensor, CausalAttentionState]:
        layer, t = self.layer, x.shape[1]
        if t == 0:
            return x, state
        q, k, v = layer.project_in(x).chunk(3, -1)
        keys, values = torch.cat([state.keys, k], 1), torch.cat([state.values, v], 1)
        size = keys.shape[1]
        index = torch.arange(size, device=x.device)
        age = torch.arange(size - t, size, device=x.device).unsqueeze(1) - index  # (t, size)
        seen = (age >= 0) if layer.window is None else (age >= 0) & (age < layer.window)
        valid = index >= size - t - state.length.unsqueeze(1)  # (B, size)
        mask = seen & valid.unsqueeze(1)
        q, k, v = (split_heads(part, layer.n_heads) for part in (q, keys, values))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.unsqueeze(1))
        length = state.length + t
        if layer.window is not None:
            kept = layer.window - 1
            keys, values = keys[:, max(0, size - kept) :], values[:, max(0, size - kept) :]
            length = length.clamp(max=kept)
        return layer.project_out(merge_heads(mixed)), CausalAttentionState(keys, values, length)


class RelativeAttention(nn.Module):
    """Self-attention with relative positions over the whole utterance (Dai et al. 2019, eq. in section 3.3).

    score(i, j) = (q_i + u) k_j + (q_i + v) W r_{i-j}, r sinusoidal; used by the Conformer encoder.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        if d_model % 2:
            raise ValueError(f"d_model: got {d_model}, wanted an even number (sinusoidal positions)")
        self.d_model, self.n_heads, self.dropout = d_model, n_heads, dropout
        self.query, self.key = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.value, self.project_out = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.position = nn.Linear(d_model, d_model, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(n_heads, 1, d_model // n_heads))
        self.position_bias = nn.Parameter(torch.zeros(n_heads, 1, d_model // n_heads))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D).

        positions: (2T - 1, D) encodings of T-1 .. -(T-1); mask: (B, 1, 1 | T, T), true = seen.
        """
        q, k, v = (split_heads(f(x), self.n_heads) for f in (self.query, self.key, self.value))
        r = split_heads(self.position(positions).unsqueeze(0), self.n_heads)
        scale = (self.d_model // self.n_heads) ** -0.5
        by_content = ((q + self.content_bias.to(q.dtype)) * scale) @ k.transpose(-1, -2)
        by_position = ((q + self.position_bias.to(q.dtype)) * scale) @ r.transpose(-1, -2)
        scores = by_content + _relative_shift(by_position)
        scores = scores.masked_fill(~mask, torch.finfo(q.dtype).min)
        # in the dtype of the products: autocast would make the softmax, and every product after it, float32
        with torch.autocast(x.device.type, enabled=False):
            weights = scores.softmax(-1).to(v.dtype)
            mixed = F.dropout(weights, self.dropout, self.training) @ v
        y: Tensor = self.project_out(merge_heads(mixed))
        return y


def _relative_shift(x: Tensor) -> Tensor:
    """(B, H, T, 2T - 1) by offset, T-1 first -> (B, H, T, T) by key index: a view, row i starts at T-1-i."""
    b, h, t, _ = x.shape
    x = x.contiguous()
    s0, s1, s2, s3 = x.stride()
    return x.as_strided((b, h, t, t), (s0, s1, s2 - s3, s3), x.storage_offset() + (t - 1) * s3)


def relative_positions(size: int, d_model: int, like: Tensor) -> Tensor:
    """Sinusoidal encodings of the offsets size-1 .. -(size-1): (2 size - 1, d_model)."""
    return sinusoids(torch.arange(size - 1, -size, -1, device=like.device), d_model).to(like.dtype)


def sinusoids(position: Tensor, d_model: int) -> Tensor:
    """position (...,) -> (..., d_model) float32, sine and cosine interleaved (Vaswani et al. 2017, 3.5)."""
    channel = torch.arange(0, d_model, 2, device=position.device)
    frequency = torch.exp(channel * (-9.210340371976184 / d_model))  # 10000 ^ (-channel / d_model)
    angle = position.unsqueeze(-1).float() * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


class Memory(NamedTuple):
    """What a cross-attention layer keeps of an encoder output.

    keys, values: (B, n_heads, T, D / n_heads); mask: (B, 1, 1, T) bool, true on valid frames.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor


class CrossAttention(nn.Module):
    """Multi-head attention from a sequence to an encoder output whose K, V are projected once (`project`)."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.n_heads, self.dropout = n_heads, dropout
        self.query, self.key = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.value, self.project_out = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def project(self, memory: Tensor, lengths: Tensor) -> Memory:
        """memory (B, T, D), lengths (B,) -> its keys and values."""
        mask = length_mask(lengths, memory.shape[1])[:, None, None]
        keys, values = (split_heads(f(memory), self.n_heads).contiguous() for f in (self.key, self.value))
        return Memory(keys, values, mask)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """x (B, U, D) -> (B, U, D); each of the U queries sees all valid frames of its row's memory."""
        q = split_heads(self.query(x), self.n_heads)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            q, memory.keys, memory.values, attn_mask=memory.mask, dropout_p=dropout
        )
        y: Tensor = self.project_out(merge_heads(mixed))
        return y

    def weights(self, x: Tensor, memory: Memory) -> Tensor:
        """Attention weights (B, n_heads, U, T), for plots."""
        q = split_heads(self.query(x), self.n_heads)
        scores: Tensor = (q @ memory.keys.transpose(-1, -2)) * q.shape[-1] ** -0.5
        return scores.masked_fill(~memory.mask, float("-inf")).softmax(-1)
