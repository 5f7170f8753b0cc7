"""Acoustic model: durations, pitch and energy of each phone, then a causal S4D decoder makes the frames.

The decoder has both forms of its layers: convolution in training, chunks with a state at synthesis. What it
reads, phones stretched by their durations, is known for a whole sentence before the first frame.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.config.tts import MelConfig, ParallelConfig
from s4speech.layers import S4D, CausalConv, Chain, FeedForward, GatedMix, Residual, SequenceLayer, State
from s4speech.layers.packed import keep_blocks, pack_linears
from s4speech.layers.sequence import frozen_copy, length_mask
from s4speech.models.tts.encoder import Predictor, TextEncoder
from s4speech.models.tts.norm import Frames, SpeechNorm

POSITION = 5  # numbers that say where in its phone a frame is
NEAR = 10.0  # frames to the ends of the phone that are told apart
BLOCK = 64  # tokens: sentences are padded to multiples of it, for which matrices are kept


class Prosody(NamedTuple):
    """Of each phone (B, N): duration in frames (of `forward`: the logarithm of 1 + it), pitch as the
    normalised log F0, energy as the mean of the normalised mel bands."""

    duration: Tensor
    pitch: Tensor
    energy: Tensor


class ParallelModel(SpeechNorm):
    """Phones -> frames, all at once or a chunk after another."""

    def __init__(self, n_symbols: int, mel: MelConfig, config: ParallelConfig, n_speakers: int = 1) -> None:
        super().__init__(mel)
        self.config = config
        d, hidden = config.d_model, config.encoder.d_model
        self.encoder = TextEncoder(n_symbols, config.encoder, n_speakers)
        self.duration = Predictor(hidden, config.encoder.dropout)
        self.pitch_of = Predictor(hidden, config.encoder.dropout)
        self.energy_of = Predictor(hidden, config.encoder.dropout)
        self.prosody = nn.Linear(2, hidden)
        self.input = nn.Linear(config.stack * (hidden + POSITION), d)
        blocks: list[SequenceLayer] = []
        for _ in range(config.n_layers):
            ssm = S4D(d, config.d_state, dt_min=5e-3, dt_max=1.0)
            blocks.append(Residual(Chain(ssm, GatedMix(d))))
            blocks.append(
                Residual(
                    Chain(
                        CausalConv(d, config.kernel_size),
                        FeedForward(d, 3 * d, config.dropout, tied=True),
                    )
                )
            )
        self.decoder = Chain(*blocks)
        self.norm = nn.LayerNorm(d)
        self.output = nn.Linear(d, config.stack * (mel.n_mels + 2))

    def measure(self, mel: Tensor, f0: Tensor, voiced: Tensor, durations: Tensor) -> Prosody:
        """Frames of recordings and durations (B, N) of their phones -> what the predictors should say.

        The pitch of a phone is that of its voiced frames; without one, that of the line between neighbours.
        """
        phone = phone_of_frame(durations, mel.shape[1])
        within = length_mask(durations.sum(1), mel.shape[1]).to(mel.dtype)
        weight = (voiced + 1e-3) * within

        def mean(values: Tensor, weights: Tensor) -> Tensor:
            total = values.new_zeros(durations.shape)
            sums = total.scatter_add(1, phone, values * weights)
            return sums / total.scatter_add(1, phone, weights).clamp(min=1e-6)

        energy = mean(self.normalize(mel).mean(-1), within)
        return Prosody(durations.float().log1p(), mean(self.normalize_pitch(f0), weight), energy)

    def predict(self, hidden: Tensor, lengths: Tensor) -> Prosody:
        """hidden (B, N, D) -> prosody; the encoder is not trained by the durations."""
        return Prosody(
            self.duration(hidden.detach(), lengths),
            self.pitch_of(hidden, lengths),
            self.energy_of(hidden, lengths),
        )

    def expand(self, hidden: Tensor, prosody: Prosody, durations: Tensor, size: int) -> Tensor:
        """What the decoder reads: hidden (B, N, D), durations (B, N) frames -> (B, size / stack, d_model)."""
        known = hidden + self.prosody(torch.stack([prosody.pitch, prosody.energy], -1).to(hidden.dtype))
        phone = phone_of_frame(durations, size)
        stretched = known.gather(1, phone.unsqueeze(-1).expand(-1, -1, known.shape[-1]))
        ends = durations.cumsum(1)
        frame = torch.arange(size, device=hidden.device)
        duration = durations.gather(1, phone).clamp(min=1)
        left = ends.gather(1, phone) - frame  # frames to the end, at least 1 but in padding
        since = duration - left
        place = torch.stack(
            [
                since / duration,
                duration.float().log() / 2,
                (since / NEAR).clamp(0, 1),
                (left / NEAR).clamp(0, 1),
                (left <= 1).float(),
            ],
            -1,
        ).to(stretched.dtype)
        both = torch.cat([stretched, place], -1)
        y: Tensor = self.input(torch.unflatten(both, 1, (-1, self.config.stack)).flatten(2))
        return y

    def frames(self, hidden: Tensor) -> Frames:
        """Output of the decoder (B, T / stack, d_model) -> frames (B, T, ..); voiced are logits."""
        raw = self.output(self.norm(hidden)).float()
        raw = raw.unflatten(2, (self.config.stack, -1)).flatten(1, 2)
        mel, pitch, voiced = raw[..., :-2] * self.std + self.mean, raw[..., -2], raw[..., -1]
        return Frames(mel, (pitch * self.pitch[1] + self.pitch[0]).clamp(3.0, 7.0).exp(), voiced)

    def forward(
        self, tokens: Tensor, token_lengths: Tensor, speaker: Tensor, prosody: Prosody, durations: Tensor
    ) -> tuple[Frames, Prosody]:
        """tokens (B, N) with the durations, pitch and energy of recordings -> frames (B, T, ..), predictions.

        T: the longest sum of durations, rounded up to whole stacks.
        """
        hidden = self.encoder(tokens, token_lengths, speaker)
        predicted = self.predict(hidden, token_lengths)
        longest = int(durations.sum(1).max())
        size = longest + -longest % self.config.stack
        y = self.decoder(self.expand(hidden, prosody, durations, size))
        return self.frames(y), predicted

    def freeze(self) -> "FrozenParallelModel":
        """The form that makes frames in chunks; immutable, safe to share between threads."""
        return FrozenParallelModel(self)


def phone_of_frame(durations: Tensor, size: int) -> Tensor:
    """durations (B, N) -> the number of the phone at each of `size` frames; past the end, the last one of the
    row that has frames."""
    ends = durations.cumsum(1)
    last = torch.searchsorted(ends, ends[:, -1:].contiguous())
    frame = torch.arange(size, device=durations.device).expand(len(ends), -1).contiguous()
    return torch.searchsorted(ends, frame, right=True).minimum(last)


class Plan(NamedTuple):
    """A sentence before its frames are made. inputs: (1, T / stack, d_model) what the decoder reads;
    durations: (N,) frames of each token; shift: (T,) what is added to log F0."""

    inputs: Tensor
    durations: Tensor
    shift: Tensor


class FrozenParallelModel:
    """The model with its constants computed once."""

    def __init__(self, model: ParallelModel) -> None:
        self.model = pack_linears(frozen_copy(model))
        keep_blocks(self.model.encoder, BLOCK)
        self.decoder = self.model.decoder.freeze()

    @torch.inference_mode()
    def plan(
        self,
        tokens: Tensor,
        speaker: int = 0,
        *,
        slowness: Tensor | None = None,
        semitones: Tensor | None = None,
        extra: Tensor | None = None,
    ) -> Plan:
        """tokens (N,) of one sentence -> what the decoder is to read.

        slowness: (N,) factor on each duration. semitones: (N,) higher pitch of each token. extra: (N,) frames
        added to each duration, for breaks.
        """
        model, n = self.model, len(tokens)
        lengths = torch.tensor([n])
        padded = F.pad(tokens, (0, -n % BLOCK)).unsqueeze(0)
        hidden = model.encoder(padded, lengths, torch.tensor([speaker]))[:, :n]
        predicted = model.predict(hidden, lengths)
        wanted = predicted.duration[0].expm1()
        if slowness is not None:
            wanted = wanted * slowness
        if extra is not None:
            wanted = wanted + extra
        # rounded so that what is lost on one token is given to the next, each at least one frame
        durations = torch.ones(n, dtype=torch.long)
        total, spent = 0.0, 0
        for i, value in enumerate(wanted.tolist()):
            total += max(value, 1.0)
            durations[i] = max(1, round(total) - spent)
            spent += int(durations[i])
        spent = int(durations.sum())
        size = spent + -spent % model.config.stack
        shift = torch.zeros(n) if semitones is None else semitones * (0.6931471805599453 / 12)
        inputs = model.expand(hidden, predicted, durations.unsqueeze(0), size)
        phone = phone_of_frame(durations.unsqueeze(0), size)[0]
        # the decoder is not told: it has never heard the speaker so high, and the vocoder is given any pitch
        return Plan(inputs, durations, shift[phone])

    def init_state(self) -> State:
        """Before the first frame."""
        return self.decoder.init_state(1)

    @torch.inference_mode()
    def scan(self, plan: Plan, start: int, stop: int, state: State) -> tuple[Frames, State]:
        """Frames of the steps start .. stop of a plan, (1, (stop - start) * stack, ..), and the new state."""
        hidden, state = self.decoder.scan(plan.inputs[:, start:stop], state)
        frames = self.model.frames(hidden)
        return frames._replace(voiced=(frames.voiced > 0).float()), state
