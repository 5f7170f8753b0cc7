"""The paper's acoustic model: a decoder that reads its own frames and looks at the text by cross-attention.

S4 decoder: Miyazaki, Murata, Koriyama, "Structured State Space Decoder for Speech Recognition and Synthesis",
ICASSP 2023 (arXiv 2210.17098). Its twin has causal self-attention and positions in place of the SSM (Li et
al. 2019, "Neural Speech Synthesis with Transformer Network"). There is no post-net.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.config.tts import AutoregressiveConfig, MelConfig
from s4speech.layers import S4D, CausalAttention, Chain, GatedMix, SequenceLayer, State
from s4speech.layers.attention import Memory, sinusoids
from s4speech.layers.sequence import frozen_copy
from s4speech.models.asr.decoder import DecoderLayer
from s4speech.models.tts.encoder import TextEncoder
from s4speech.models.tts.norm import Frames, SpeechNorm

EXTRA = 2  # numbers a frame besides the bands: log F0 where voiced, voicing
LIMITS = (3.0, 7.0)  # of log F0
WINDOW = 4  # tokens past the last peak of attention that a step may look at
AT_THE_END = 3  # tokens before the last one from which a stop is believed
FRAMES_A_TOKEN = 15  # before a sentence that does not stop is cut off, and
FRAMES_MORE = 100  # so many besides


class Decoded(NamedTuple):
    """frames (B, T, ..), voiced as logits; stop: (B, U) logits; attention: (n_layers, B, n_heads, U, N)."""

    frames: Frames
    stop: Tensor
    attention: Tensor


class AutoregressiveModel(SpeechNorm):
    """Phones and the frames so far -> the next `stack` frames, and whether they are the last."""

    def __init__(
        self, n_symbols: int, mel: MelConfig, config: AutoregressiveConfig, n_speakers: int = 1
    ) -> None:
        super().__init__(mel)
        self.config = config
        d, self.step_size = config.d_model, config.stack * (mel.n_mels + EXTRA)
        self.encoder = TextEncoder(n_symbols, config.encoder, n_speakers)
        self.memory = nn.Linear(config.encoder.d_model, d)
        narrow = d // 2
        drop = config.prenet_dropout
        self.prenet = nn.Sequential(
            *(nn.Linear(self.step_size, narrow), nn.ReLU(), nn.Dropout(drop)),
            *(nn.Linear(narrow, narrow), nn.ReLU(), nn.Dropout(drop)),
            nn.Linear(narrow, d),
        )
        self.layers = nn.ModuleList(
            DecoderLayer(self._mixer(), config.n_heads, config.d_ff, config.dropout, drop_path=0.0)
            for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(d)
        self.output = nn.Linear(d, self.step_size)
        self.stop = nn.Linear(d, 1)

    def _mixer(self) -> SequenceLayer:
        config, d = self.config, self.config.d_model
        if config.decoder == "transformer":
            return CausalAttention(d, config.n_heads)
        return Chain(S4D(d, config.d_state, dt_min=5e-3, dt_max=1.0), GatedMix(d, config.dropout))

    def previous(self, mel: Tensor, f0: Tensor, voiced: Tensor) -> Tensor:
        """Frames of recordings (B, T, ..), voiced 0/1 -> what each step of the decoder reads, the `stack`
        frames before its own, zeros for the first: (B, ceil(T / stack), step_size)."""
        stack = self.config.stack
        read = self._read(self.normalize(mel), self.normalize_pitch(f0), voiced)
        size = read.shape[1] + -read.shape[1] % stack
        late = F.pad(read, (0, 0, stack, size - read.shape[1]))[:, :size]
        return torch.unflatten(late, 1, (-1, stack)).flatten(2)

    @staticmethod
    def _read(mel: Tensor, pitch: Tensor, voiced: Tensor) -> Tensor:
        return torch.cat([mel, (pitch * voiced).unsqueeze(-1), voiced.unsqueeze(-1)], -1)

    def look(self, tokens: Tensor, token_lengths: Tensor, speaker: Tensor) -> tuple[Memory, ...]:
        """tokens (B, N), token_lengths (B,), speaker (B,) -> keys and values of each layer."""
        hidden = self.memory(self.encoder(tokens, token_lengths, speaker))
        place = sinusoids(torch.arange(tokens.shape[1], device=tokens.device), self.config.d_model)
        hidden = hidden + place.to(hidden.dtype)
        return tuple(layer.cross.project(hidden, token_lengths) for layer in stack_of(self))

    def embed(self, previous: Tensor, position: Tensor) -> Tensor:
        """previous (..., step_size), position (...,) of the step -> (..., D)."""
        x: Tensor = self.prenet(previous)
        if self.config.decoder == "transformer":
            x = x + sinusoids(position, self.config.d_model).to(x.dtype)
        return x

    def frames(self, hidden: Tensor) -> tuple[Frames, Tensor]:
        """Output of the last layer (B, U, D) -> frames (B, U stack, ..), voiced as logits; what is read of
        them (B, U, step_size)."""
        raw = torch.unflatten(self.output(hidden).float(), 2, (self.config.stack, -1)).flatten(1, 2)
        mel, pitch, voiced = raw[..., :-EXTRA], raw[..., -2], raw[..., -1]
        f0 = (pitch * self.pitch[1] + self.pitch[0]).clamp(*LIMITS).exp()
        read = self._read(mel, self.normalize_pitch(f0), (voiced > 0).to(mel.dtype))
        read = torch.unflatten(read, 1, (-1, self.config.stack)).flatten(2)
        return Frames(mel * self.std + self.mean, f0, voiced), read

    def forward(self, tokens: Tensor, token_lengths: Tensor, speaker: Tensor, previous: Tensor) -> Decoded:
        """tokens (B, N), previous (B, U, step_size) as of `previous` -> U steps of `stack` frames."""
        return self.decode(self.look(tokens, token_lengths, speaker), previous)

    def decode(self, memories: tuple[Memory, ...], previous: Tensor) -> Decoded:
        """The same with what `look` found."""
        x = self.embed(previous, torch.arange(previous.shape[1], device=previous.device))
        attention = []
        for layer, memory in zip(stack_of(self), memories, strict=True):
            x = layer.mixer(x)
            attention.append(layer.cross.weights(layer.cross_norm(x), memory))
            x = layer.feed_forward(layer.attend(x, memory))
        x = self.norm(x)
        return Decoded(self.frames(x)[0], self.stop(x).squeeze(-1).float(), torch.stack(attention))

    def freeze(self) -> "FrozenAutoregressiveModel":
        """The form that goes step by step; immutable, safe to share between threads."""
        return FrozenAutoregressiveModel(self)


def stack_of(model: AutoregressiveModel) -> list[DecoderLayer]:
    """The layers of the decoder, with their type."""
    return cast(list[DecoderLayer], list(model.layers))


class AutoregressiveState(NamedTuple):
    """position: (B,) steps made; peak: (B,) the token that the last one looked at most; mixers: the state of
    each layer's mixer."""

    position: Tensor
    peak: Tensor
    mixers: State


class Step(NamedTuple):
    """frames (B, stack, ..), voiced 0/1; read (B, step_size): the next step's `previous`; stop (B,) logits;
    attention (B, N): the mean over layers and heads."""

    frames: Frames
    read: Tensor
    stop: Tensor
    attention: Tensor


class FrozenAutoregressiveModel:
    """The model with its constants computed once."""

    def __init__(self, model: AutoregressiveModel) -> None:
        self.model = frozen_copy(model)
        self.mixers = tuple(layer.mixer.freeze() for layer in stack_of(self.model))

    @torch.inference_mode()
    def look(self, tokens: Tensor, token_lengths: Tensor, speaker: Tensor) -> tuple[Memory, ...]:
        """As the model's, once a sentence."""
        return self.model.look(tokens, token_lengths, speaker)

    def init_state(self, batch: int = 1) -> AutoregressiveState:
        """Before the first step."""
        zeros = torch.zeros(batch, dtype=torch.long, device=self.model.mean.device)
        return AutoregressiveState(zeros, zeros, tuple(mixer.init_state(batch) for mixer in self.mixers))

    @torch.inference_mode()
    def step(
        self,
        previous: Tensor,
        state: AutoregressiveState,
        memories: tuple[Memory, ...],
        window: int | None = None,
    ) -> tuple[Step, AutoregressiveState]:
        """previous (B, step_size), the state and the memories of B rows -> the next `stack` frames.

        window: the tokens that may be looked at are the one before the last peak of attention to `window`
        past it, and the peak never goes back; None: all of them, as in training.
        """
        model = self.model
        if window is not None:
            away = torch.arange(memories[0].keys.shape[2], device=previous.device) - state.peak.unsqueeze(1)
            near = ((away >= -1) & (away <= window))[:, None, None]
            memories = tuple(memory._replace(mask=memory.mask & near) for memory in memories)
        x = model.embed(previous, state.position)
        mixers, attention = [], []
        for layer, mixer, before, memory in zip(
            stack_of(model), self.mixers, state.mixers, memories, strict=True
        ):
            y, after = mixer.step(x, before)
            y = y.unsqueeze(1)
            attention.append(layer.cross.weights(layer.cross_norm(y), memory).mean(1)[:, 0])
            x = layer.feed_forward(layer.attend(y, memory)).squeeze(1)
            mixers.append(after)
        seen = torch.stack(attention).mean(0)
        peak = seen.argmax(1)
        if window is not None:
            peak = torch.maximum(peak, state.peak)
        hidden = model.norm(x).unsqueeze(1)
        frames, read = model.frames(hidden)
        frames = frames._replace(voiced=(frames.voiced > 0).float())
        stop = model.stop(hidden)[:, 0, 0].float()
        return Step(frames, read[:, 0], stop, seen), AutoregressiveState(
            state.position + 1, peak, tuple(mixers)
        )

    @torch.inference_mode()
    def generate(
        self,
        tokens: Tensor,
        speaker: int = 0,
        *,
        max_steps: int | None = None,
        window: int | None = WINDOW,
    ) -> tuple[Frames, Tensor]:
        """tokens (N,) of one sentence -> frames (1, T, ..) up to the stop token, attention (T / stack, N).

        max_steps: where a sentence that does not stop is cut off; None: 15 frames a token and 100 more. The
        attention of such a sentence has max_steps rows. window: see `step`; with one, a stop in a pause
        before the end of the text is not believed.
        """
        if max_steps is None:
            max_steps = self.max_steps(len(tokens))
        memories = self.look(tokens.unsqueeze(0), torch.tensor([len(tokens)]), torch.tensor([speaker]))
        state = self.init_state(1)
        previous = self.model.mean.new_zeros(1, self.model.step_size)
        steps: list[Step] = []
        while len(steps) < max_steps:
            step, state = self.step(previous, state, memories, window)
            steps.append(step)
            previous = step.read
            arrived = window is None or int(state.peak) >= len(tokens) - 1 - AT_THE_END
            if arrived and float(step.stop) > 0:
                break
        mel, f0, voiced = (
            torch.cat(parts, 1) for parts in zip(*(step.frames for step in steps), strict=True)
        )
        return Frames(mel, f0, voiced), torch.cat([step.attention for step in steps])

    def max_steps(self, n_tokens: int) -> int:
        """Where `generate` cuts off a sentence that does not stop."""
        return -(-(FRAMES_A_TOKEN * n_tokens + FRAMES_MORE) // self.model.config.stack)
