"""Configuration of sequence classification: the model, its training, and the tasks."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from s4speech.config.asr import Layers, NotNegative, NotNegativeFloat, Positive, PositiveFloat, Probability
from s4speech.config.base import StrictModel
from s4speech.config.layer import LayerConfig
from s4speech.config.train import Epochs, Seed, TrainerConfig

Percentage = Annotated[float, Field(ge=0, le=100)]
Decibels = Annotated[float, Field(ge=-100, le=100)]
Symbols = Annotated[int, Field(ge=2)]


class StageConfig(StrictModel):
    """`n_layers` blocks of width `d_model`, then the mean over every `pool` frames (1: none)."""

    d_model: Positive
    n_layers: Layers
    pool: Positive = 1


class SequenceModelConfig(StrictModel):
    """Blocks of one sequence layer, in stages.

    mix: what follows the layer in a block: gated (GELU, linear, GLU, as in S4) or feed_forward (a block of
    its own, four times as wide, as in the Transformer). Attention gets sinusoidal positions.
    """

    type: Literal["sequence"]
    layer: LayerConfig
    stages: Annotated[list[StageConfig], Field(min_length=1)]
    mix: Literal["gated", "feed_forward"] = "gated"
    dropout: Probability = 0.0


class M5Config(StrictModel):
    """Convolutions on the waveform (Dai et al. 2017): the baseline that is built for one sampling rate."""

    type: Literal["m5"]
    channels: Annotated[list[Positive], Field(min_length=1)] = [128, 128, 256, 512]
    kernel_size: Positive = 80
    stride: Positive = 4


ClassifierConfig = Annotated[SequenceModelConfig | M5Config, Field(discriminator="type")]


class ClassifyTrainConfig(TrainerConfig):
    """Training of a classifier. The best checkpoint by validation accuracy is the result."""

    batch_size: Positive = 16
    label_smoothing: Probability = 0.0
    epochs: Epochs = 40
    lr: PositiveFloat = 0.01
    schedule: Literal["linear", "cosine", "inverse_sqrt"] = "cosine"
    warmup_steps: NotNegative = 1000
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.05
    grad_clip: PositiveFloat = 1.0
    keep: Positive = 1


class AugmentConfig(StrictModel):
    """Random changes of training clips; see `s4speech.data.augment.Augmentation`. noise: a folder."""

    shift_s: NotNegativeFloat = 0.1
    gain_db: NotNegativeFloat = 6.0
    noise: str | None = None
    noise_probability: Annotated[float, Field(ge=0, le=1)] = 0.8
    snr_db: tuple[Decibels, Decibels] = (5.0, 30.0)

    @field_validator("snr_db")
    @classmethod
    def _low_to_high(cls, snr_db: tuple[float, float]) -> tuple[float, float]:
        if snr_db[0] > snr_db[1]:
            raise ValueError("wanted the lower one first")
        return snr_db


class SpeechCommandsConfig(StrictModel):
    """One word in one second (Warden 2018); see `s4speech.data.speech_commands`.

    root: folder of the published layout, from the working directory. words: the classes (empty: all 35).
    split: official (the corpus's lists) or speakers, of whom about `percentages` are in train, valid, test.
    test_rates: sample rates in Hz at which the test part is heard; training is at 16000. cache: keep all
    clips in memory, 32 kB each.
    """

    type: Literal["speech_commands"]
    root: str
    split: Literal["official", "speakers"] = "official"
    words: list[str] = []
    percentages: tuple[Percentage, Percentage, Percentage] = (80.0, 10.0, 10.0)
    test_rates: Annotated[list[Positive], Field(min_length=1)] = [16000, 8000]
    augment: AugmentConfig | None = None
    cache: bool = True

    @field_validator("test_rates")
    @classmethod
    def _each_once(cls, test_rates: list[int]) -> list[int]:
        if len(set(test_rates)) < len(test_rates):
            raise ValueError("wanted each rate once")
        return test_rates


class GeneratedConfig(StrictModel):
    """Examples that are generated; see `s4speech.data.sequential`. train, valid, test: how many."""

    train: Positive
    valid: Positive
    test: Positive
    seed: Seed = 0


class ListOpsConfig(GeneratedConfig):
    """Nested lists of operators on digits, and the digit that results. min_length, max_length: tokens."""

    type: Literal["listops"]
    min_length: Positive
    max_length: Positive
    max_depth: Positive = 10
    max_args: Positive = 10

    @model_validator(mode="after")
    def _some_length(self) -> "ListOpsConfig":
        if self.min_length > self.max_length:
            raise ValueError(
                f"min_length: got {self.min_length}, wanted at most max_length {self.max_length}"
            )
        return self


class CopyConfig(GeneratedConfig):
    """Repeat `tokens` random symbols after a gap of `gap` frames."""

    type: Literal["copy"]
    symbols: Symbols = 8
    tokens: Positive = 10
    gap: NotNegative = 100


class DelayConfig(GeneratedConfig):
    """Every symbol of `length` again `delay` frames later."""

    type: Literal["delay"]
    symbols: Symbols = 8
    delay: NotNegative = 100
    length: Positive = 500

    @model_validator(mode="after")
    def _something_to_answer(self) -> "DelayConfig":
        if self.delay >= self.length:
            raise ValueError(f"delay: got {self.delay}, wanted less than length {self.length}")
        return self


TaskConfig = Annotated[
    SpeechCommandsConfig | ListOpsConfig | CopyConfig | DelayConfig, Field(discriminator="type")
]
