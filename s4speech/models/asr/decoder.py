"""Attention decoders: the S4 decoder and the Transformer decoder, under one interface.

S4 decoder: Miyazaki, Murata, Koriyama, "Structured State Space Decoder for Speech Recognition and Synthesis",
ICASSP 2023 (arXiv 2210.17098). Both are pre-norm stacks of [sequence layer, cross-attention, feed-forward].
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from s4speech.layers import (
    S4,
    S4D,
    CausalAttention,
    Chain,
    FeedForward,
    GatedMix,
    Residual,
    State,
    select_rows,
)
from s4speech.layers.attention import CrossAttention, Memory, sinusoids
from s4speech.layers.block import DropPath
from s4speech.layers.sequence import SequenceLayer, frozen_copy


class DecoderLayer(nn.Module):
    """Three residual sub-blocks: mixer over the past tokens, cross-attention, feed-forward."""

    def __init__(
        self, mixer: SequenceLayer, n_heads: int, d_ff: int, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        d_model = mixer.d_model
        self.mixer = Residual(mixer, dropout=dropout, drop_path=drop_path)
        self.cross_norm = nn.LayerNorm(d_model)
        self.cross = CrossAttention(d_model, n_heads, dropout)
        self.cross_drop = nn.Sequential(nn.Dropout(dropout), DropPath(drop_path))
        self.feed_forward = Residual(
            FeedForward(d_model, d_ff, dropout), dropout=dropout, drop_path=drop_path
        )

    def attend(self, x: Tensor, memory: Memory) -> Tensor:
        """x (B, U, D) plus what its queries find in the memory."""
        y: Tensor = x + self.cross_drop(self.cross(self.cross_norm(x), memory))
        return y

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """x (B, U, D) -> (B, U, D)."""
        y: Tensor = self.feed_forward(self.attend(self.mixer(x), memory))
        return y


class Decoder(nn.Module):
    """Embedding, decoder layers, norm, untied output layer. Use `S4Decoder` or `TransformerDecoder`."""

    def __init__(self, vocab_size: int, d_model: int, layers: list[DecoderLayer], *, positions: bool) -> None:
        super().__init__()
        self.vocab_size, self.d_model, self.positions = vocab_size, d_model, positions
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(d_model)
        self.output = nn.Linear(d_model, vocab_size)

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """tokens (...,), position (...,) -> (..., D)."""
        x: Tensor = self.embedding(tokens)
        if self.positions:
            x = x * self.d_model**0.5 + sinusoids(position, self.d_model).to(x.dtype)
        return x

    def forward(
        self, tokens: Tensor, memory: Tensor, memory_lengths: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        """tokens (B, U) beginning with <sos>, memory (B, T, D), memory_lengths (B,) -> logits (B, U, V).

        seen: (B, U, T) bool, the frames that each token may look at, at least one; None: all of them.
        """
        x = self.embed(tokens, torch.arange(tokens.shape[1], device=tokens.device))
        for layer in stack(self):
            projected = layer.cross.project(memory, memory_lengths)
            if seen is not None:
                projected = projected._replace(mask=seen.unsqueeze(1))
            x = layer(x, projected)
        logits: Tensor = self.output(self.norm(x))
        return logits

    @torch.no_grad()
    def attention_weights(self, tokens: Tensor, memory: Tensor, memory_lengths: Tensor) -> Tensor:
        """Cross-attention of every layer: (n_layers, B, n_heads, U, T), for plots."""
        x = self.embed(tokens, torch.arange(tokens.shape[1], device=tokens.device))
        weights = []
        for layer in stack(self):
            projected = layer.cross.project(memory, memory_lengths)
            weights.append(layer.cross.weights(layer.cross_norm(layer.mixer(x)), projected))
            x = layer(x, projected)
        return torch.stack(weights)

    def freeze(self) -> "FrozenDecoder":
        """Constants of the recurrent form; immutable, safe to share between threads."""
        return FrozenDecoder(self)


def stack(decoder: Decoder) -> list[DecoderLayer]:
    """The layers of a decoder, with their type."""
    return cast(list[DecoderLayer], list(decoder.layers))


KERNELS: dict[str, Callable[..., SequenceLayer]] = {"s4d": S4D, "s4": S4}


def make_kernel(
    name: str, d_model: int, d_state: int, init: str, **options: int | float | str
) -> SequenceLayer:
    """The SSM that `decoder.kernel` names. Raises ValueError: an unknown name, or what the layer refuses."""
    if name not in KERNELS:
        raise ValueError(f"kernel: got {name!r}, wanted one of {', '.join(KERNELS)}")
    return KERNELS[name](d_model, d_state, init, **options)


class S4Decoder(Decoder):
    """No positions and no self-attention: an SSM, gated and mixed, carries the past tokens."""

    def __init__(
        self,
        vocab_size: int,
        d_model: int = 512,
        n_layers: int = 6,
        n_heads: int = 8,
        d_ff: int = 2048,
        *,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        kernel: str = "s4d",
        d_state: int = 64,
        n_ssm: int = 1,
        init: str = "legs",
        discretization: str = "bilinear",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
    ) -> None:
        def mixer() -> SequenceLayer:
            ssm = make_kernel(
                kernel,
                d_model,
                d_state,
                init,
                n_ssm=n_ssm,
                discretization=discretization,
                dt_min=dt_min,
                dt_max=dt_max,
            )
            return Chain(ssm, GatedMix(d_model, dropout))

        layers = [DecoderLayer(mixer(), n_heads, d_ff, dropout, drop_path) for _ in range(n_layers)]
        super().__init__(vocab_size, d_model, layers, positions=False)


class TransformerDecoder(Decoder):
    """Causal self-attention and sinusoidal positions: the baseline."""

    def __init__(
        self,
        vocab_size: int,
        d_model: int = 512,
        n_layers: int = 6,
        n_heads: int = 8,
        d_ff: int = 2048,
        *,
        dropout: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        if d_model % 2:
            raise ValueError(f"d_model: got {d_model}, wanted an even number (sinusoidal positions)")
        layers = [
            DecoderLayer(CausalAttention(d_model, n_heads), n_heads, d_ff, dropout, drop_path)
            for _ in range(n_layers)
        ]
        super().__init__(vocab_size, d_model, layers, positions=True)
        # the embedding is scaled by sqrt(D)
        nn.init.normal_(self.embedding.weight, std=d_model**-0.5)


class DecoderState(NamedTuple):
    """position: (N,) tokens read; mixers: the state of each layer's mixer."""

    position: Tensor
    mixers: State


class FrozenDecoder:
    """A decoder with its constants computed once. `bind` it to the memory of a batch of utterances."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = frozen_copy(decoder)
        self.mixers = tuple(layer.mixer.freeze() for layer in stack(self.decoder))

    def init_state(self, batch: int) -> DecoderState:
        """State of `batch` rows before <sos>."""
        position = torch.zeros(batch, dtype=torch.long, device=self.decoder.output.weight.device)
        return DecoderState(position, tuple(mixer.init_state(batch) for mixer in self.mixers))

    @torch.inference_mode()
    def scan(
        self, tokens: Tensor, state: DecoderState, memories: tuple[Memory, ...]
    ) -> tuple[Tensor, DecoderState]:
        """Several known tokens at once, in convolution form, from a state: tokens (N, U), memories of N rows
        -> log-probs (N, U, V) of what follows each, the state after all U."""
        decoder = self.decoder
        x = decoder.embed(tokens, state.position.unsqueeze(1) + torch.arange(tokens.shape[1]).to(tokens))
        mixers = []
        for layer, mixer, before, memory in zip(
            stack(decoder), self.mixers, state.mixers, memories, strict=True
        ):
            x, after = mixer.scan(x, before)
            x = layer.feed_forward(layer.attend(x, memory))
            mixers.append(after)
        log_probs = decoder.output(decoder.norm(x)).float().log_softmax(-1)
        return log_probs, DecoderState(state.position + tokens.shape[1], tuple(mixers))

    @torch.inference_mode()
    def bind(self, memory: Tensor, memory_lengths: Tensor) -> "BoundDecoder":
        """memory (B, T, D), memory_lengths (B,): project every layer's keys and values, once an utterance."""
        return BoundDecoder(
            self, tuple(layer.cross.project(memory, memory_lengths) for layer in stack(self.decoder))
        )


class BoundDecoder:
    """A frozen decoder that looks at given utterances: the scorer of beam search."""

    def __init__(self, frozen: FrozenDecoder, memories: tuple[Memory, ...]) -> None:
        self.frozen, self.memories = frozen, memories

    def keep(self, utterances: Tensor) -> "BoundDecoder":
        """The scorer of these utterances (M,) only, in this order."""
        return BoundDecoder(self.frozen, select_rows(self.memories, utterances))

    def init_state(self, batch: int) -> DecoderState:
        """State of `batch` rows before <sos>."""
        return self.frozen.init_state(batch)

    @torch.inference_mode()
    def score(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """tokens (N,), N = utterances x K with the rows of an utterance together -> log-probs (N, V), state.

        Raises ValueError when N is not a multiple of the number of utterances.
        """
        decoder, utterances = self.frozen.decoder, self.memories[0].keys.shape[0]
        if tokens.shape[0] % utterances:
            raise ValueError(f"tokens: got {tokens.shape[0]} rows, wanted a multiple of {utterances}")
        x = decoder.embed(tokens, state.position)
        mixers = []
        for layer, mixer, before, memory in zip(
            stack(decoder), self.frozen.mixers, state.mixers, self.memories, strict=True
        ):
            x, after = mixer.step(x, before)
            x = layer.attend(x.view(utterances, -1, decoder.d_model), memory).flatten(0, 1)
            x = layer.feed_forward(x)
            mixers.append(after)
        log_probs = decoder.output(decoder.norm(x)).float().log_softmax(-1)
        return log_probs, DecoderState(state.position + 1, tuple(mixers))
