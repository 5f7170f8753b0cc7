"""Configuration of speech synthesis: mel frames, aligner, acoustic models, vocoder."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from s4speech.config.asr import (
    Layers,
    NotNegative,
    NotNegativeFloat,
    Positive,
    PositiveFloat,
    Probability,
)
from s4speech.config.base import StrictModel
from s4speech.config.layer import StateSize
from s4speech.config.train import TrainerConfig


class MelConfig(StrictModel):
    """Log-mel frames of a waveform: one every `hop` samples, each of `n_fft` samples around it."""

    sample_rate: Annotated[int, Field(ge=8000, le=96_000)] = 22050
    n_fft: Annotated[int, Field(ge=16, le=2**16)] = 1024
    hop: Positive = 256
    n_mels: Annotated[int, Field(gt=0, le=1024)] = 80

    @model_validator(mode="after")
    def _windows_overlap(self) -> "MelConfig":
        # squared Hann windows add up to a constant from three hops on
        if self.n_fft % (2 * self.hop) or self.n_fft < 4 * self.hop:
            raise ValueError(f"n_fft: got {self.n_fft} with hop {self.hop}, wanted 4, 6, 8 or more even hops")
        return self

    @property
    def hop_s(self) -> float:
        """Seconds a frame."""
        return self.hop / self.sample_rate


class AlignerConfig(StrictModel):
    """Convolutions over phones and over frames, compared by distance (Badlani et al. 2022)."""

    d_model: Positive = 128
    dropout: Probability = 0.1


class TextEncoderConfig(StrictModel):
    """[bidirectional S4D, convolution] x n_layers over phones."""

    d_model: Positive = 192
    n_layers: Layers = 4
    d_state: StateSize = 32
    kernel_size: Positive = 5
    dropout: Probability = 0.1

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"got {size}, wanted an odd number: as many phones before as after")
        return size


class ParallelConfig(StrictModel):
    """Durations, pitch and energy are predicted for each phone, then a causal S4D decoder makes the frames.

    stack: frames that one step of the decoder makes.
    """

    type: Literal["parallel"] = "parallel"
    encoder: TextEncoderConfig = TextEncoderConfig()
    d_model: Positive = 256
    n_layers: Layers = 6
    d_state: StateSize = 32
    kernel_size: Positive = 5
    dropout: Probability = 0.1
    stack: Positive = 2


class AutoregressiveConfig(StrictModel):
    """The paper's: a decoder that reads its own frames, with cross-attention to the phones.

    stack: frames that one step of the decoder makes. noise, step_dropout: in training, the deviation of the
    noise on the normalised frames that the decoder reads, and the part of its steps that read nothing.
    guide_sigma, guide_weight: of guided attention, how many tokens beside the alignment are near, and the
    loss's weight.
    """

    type: Literal["autoregressive"] = "autoregressive"
    decoder: Literal["s4", "transformer"] = "s4"
    encoder: TextEncoderConfig = TextEncoderConfig()
    d_model: Positive = 256
    n_layers: Layers = 4
    n_heads: Positive = 4
    d_ff: Positive = 768
    d_state: StateSize = 32
    dropout: Probability = 0.1
    prenet_dropout: Probability = 0.5
    noise: NotNegativeFloat = 0.3
    step_dropout: Probability = 0.1
    stack: Positive = 3
    guide_sigma: PositiveFloat = 1.0
    guide_weight: NotNegativeFloat = 0.2

    @model_validator(mode="after")
    def _heads_divide(self) -> "AutoregressiveConfig":
        wanted = 2 * self.n_heads
        if self.d_model % wanted:
            raise ValueError(f"d_model: got {self.d_model}, wanted a multiple of twice n_heads, {wanted}")
        return self


def _named(value: Any) -> Any:
    """The default model needs no name."""
    return {"type": "parallel", **value} if isinstance(value, dict) else value


AcousticConfig = Annotated[
    ParallelConfig | AutoregressiveConfig, Field(discriminator="type"), BeforeValidator(_named)
]


class VocoderConfig(StrictModel):
    """A harmonic source and a noise source, filtered in the short-time spectrum by an S4D/conv network.

    lookahead: frames of the future that it sees. s4d_every: every so manieth block has an S4D, the others a
    convolution.
    """

    d_model: Positive = 256
    n_layers: Layers = 8
    d_ff: Positive = 768
    d_state: StateSize = 16
    kernel_size: Positive = 7
    s4d_every: Positive = 4
    lookahead: NotNegative = 2


class SynthesisTrainerConfig(TrainerConfig):
    """What the trainings of a voice have in common."""

    lr: PositiveFloat = 1e-3
    schedule: Literal["linear", "cosine", "inverse_sqrt"] = "cosine"
    warmup_steps: NotNegative = 200
    grad_clip: PositiveFloat = 1.0
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    keep: Positive = 1


class SpeechTrainConfig(SynthesisTrainerConfig):
    """Training of an aligner or an acoustic model. max_duration_s: seconds of audio a batch, with padding."""

    max_duration_s: PositiveFloat = 60.0


class VocoderTrainConfig(SynthesisTrainerConfig):
    """Training of a vocoder.

    batch_size pieces of `frames` frames; `batches` of them are an epoch. windows: sizes, in samples, of the
    short-time spectra in which waveforms are compared.
    """

    batch_size: Positive = 32
    frames: Annotated[int, Field(ge=16)] = 64
    batches: Positive = 200
    windows: Annotated[list[Annotated[int, Field(ge=16)]], Field(min_length=1)] = [
        64,
        128,
        256,
        512,
        1024,
        2048,
    ]


class AdversarialConfig(VocoderTrainConfig):
    """Training of a vocoder against discriminators, which learn at `discriminator_lr`; the last epoch is the
    result.

    spectral_weight, feature_weight: of the distance of spectra, and of what the discriminators' layers say,
    beside their verdict.
    """

    batch_size: Positive = 16
    frames: Annotated[int, Field(ge=16)] = 48
    lr: PositiveFloat = 3e-4
    discriminator_lr: PositiveFloat = 1e-3
    spectral_weight: PositiveFloat = 15.0
    feature_weight: PositiveFloat = 2.0

    @model_validator(mode="after")
    def _steps_in_turn(self) -> "AdversarialConfig":
        for name in ("accumulate", "devices"):
            if getattr(self, name) != 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted 1: two optimisers step in turn")
        return self
