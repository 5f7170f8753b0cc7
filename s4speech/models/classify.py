"""Classification of whole sequences, or of every frame: a waveform or tokens to class scores."""

from functools import partial

import torch
from torch import Tensor, nn

from s4speech.config.classify import ClassifierConfig, M5Config, SequenceModelConfig, StageConfig
from s4speech.config.layer import AttentionConfig
from s4speech.layers.attention import sinusoids
from s4speech.layers.block import Chain, FeedForward, GatedMix, Residual
from s4speech.layers.sequence import SequenceLayer, length_mask
from s4speech.models.baseline import M5
from s4speech.models.layer import build_layer


def build_classifier(
    config: ClassifierConfig, classes: int, vocab_size: int | None = None, per_frame: bool = False
) -> nn.Module:
    """The model that a config names. vocab_size: of tokens; None: the input is a waveform.

    It is called with (inputs, lengths, rate), see `SequenceClassifier.forward`.
    Raises ValueError naming the option: sizes that do not fit together, or a task that is not for this model.
    """
    match config:
        case SequenceModelConfig():
            return SequenceClassifier(config, classes, vocab_size, per_frame)
        case M5Config():
            if vocab_size is not None or per_frame:
                raise ValueError("type: got m5, wanted sequence: m5 classifies waveforms as a whole")
            return M5Classifier(config, classes)


class SequenceClassifier(nn.Module):
    """Input layer, stages of residual blocks with average pooling between them, mean over time, linear.

    Everything a frame of the deeper stages stands for is the same time at any sampling rate: pooling takes
    fewer frames at a lower one, and only the layers before the first pooling hear of the rate.
    """

    def __init__(
        self, config: SequenceModelConfig, classes: int, vocab_size: int | None, per_frame: bool
    ) -> None:
        super().__init__()
        if per_frame and any(stage.pool > 1 for stage in config.stages):
            raise ValueError("stages: got a pool above 1, wanted 1: every frame of the task has a class")
        width = config.stages[0].d_model
        self.embed: nn.Module = nn.Linear(1, width) if vocab_size is None else nn.Embedding(vocab_size, width)
        self.positions = isinstance(config.layer, AttentionConfig)
        if self.positions and width % 2:
            raise ValueError(f"d_model: got {width}, wanted an even number (sinusoidal positions)")
        following = [*(stage.d_model for stage in config.stages[1:]), None]
        self.stages = nn.ModuleList(map(partial(Stage, config), config.stages, following))
        last = config.stages[-1].d_model
        self.norm = nn.LayerNorm(last)
        self.per_frame = per_frame
        self.output = nn.Linear(last, classes)

    def forward(self, inputs: Tensor, lengths: Tensor, rate: float = 1.0) -> Tensor:
        """Scores of the classes: (B, classes), or (B, T, classes) if every frame has one.

        inputs: (B, T, 1) waveform or (B, T) int64 tokens. lengths: (B,), valid frames, at least 1; padding
        never changes the result. rate: as in `SequenceLayer.forward`.
        Raises ValueError: a rate at which pooling would not take a whole number of frames.
        """
        x = self.embed(normalize_level(inputs, lengths) if inputs.is_floating_point() else inputs)
        if self.positions:
            time = torch.arange(x.shape[1], device=x.device) * rate
            x = x + sinusoids(time, x.shape[-1]).to(x.dtype)
        for stage in self.stages:
            x, lengths, rate = stage(x, lengths, rate)
        x = self.norm(x)
        y: Tensor = self.output(x if self.per_frame else masked_mean(x, lengths))
        return y


class Stage(nn.Module):
    """Residual blocks of one width, then pooling and the step to the next width."""

    def __init__(self, config: SequenceModelConfig, stage: StageConfig, next_width: int | None) -> None:
        super().__init__()
        blocks = [part for _ in range(stage.n_layers) for part in _block(config, stage.d_model)]
        self.blocks, self.pool = Chain(*blocks), stage.pool
        change = next_width is not None and (next_width != stage.d_model or stage.pool > 1)
        self.widen = nn.Linear(stage.d_model, next_width or 0) if change else nn.Identity()

    def forward(self, x: Tensor, lengths: Tensor, rate: float) -> tuple[Tensor, Tensor, float]:
        """x (B, T, D), lengths (B,) -> (B, frames, next width), lengths, the rate of what comes out."""
        x = self.blocks(x, lengths, rate)
        if self.pool > 1:
            x, lengths = masked_pool(x, lengths, pool_frames(self.pool, rate))
            rate = 1.0
        return self.widen(x), lengths, rate


def _block(config: SequenceModelConfig, d_model: int) -> list[SequenceLayer]:
    """The layer and what mixes its channels, each with its residual connection."""
    layer, p = build_layer(config.layer, d_model), config.dropout
    if config.mix == "gated":
        return [Residual(Chain(layer, GatedMix(d_model, p)), dropout=p)]
    return [Residual(layer, dropout=p), Residual(FeedForward(d_model, 4 * d_model, p), dropout=p)]


class M5Classifier(nn.Module):
    """M5 under the interface of `SequenceClassifier`; it has no notion of the rate."""

    def __init__(self, config: M5Config, classes: int) -> None:
        super().__init__()
        self.features = M5(config.channels, config.kernel_size, config.stride)
        self.output = nn.Linear(self.features.d_model, classes)

    def forward(self, inputs: Tensor, lengths: Tensor, rate: float = 1.0) -> Tensor:
        """inputs (B, T, 1), lengths (B,) -> (B, classes). Raises ValueError: T is too short for one frame."""
        features = self.features(normalize_level(inputs, lengths))
        y: Tensor = self.output(masked_mean(features, self.features.out_lengths(lengths)))
        return y


def pool_frames(pool: int, rate: float) -> int:
    """How many frames at `rate` are as long as `pool` frames at rate 1.

    Raises ValueError naming both unless it is a whole number.
    """
    frames = round(pool / rate)
    if frames < 1 or abs(frames * rate - pool) > 1e-6 * pool:
        raise ValueError(f"pool: got {pool} at rate {rate}, wanted a pool that the rate divides")
    return frames


def check_rate(config: ClassifierConfig, rate: float) -> None:
    """Raises ValueError: the model that `config` names cannot take input at `rate`."""
    if isinstance(config, SequenceModelConfig):
        first = next((stage.pool for stage in config.stages if stage.pool > 1), None)
        if first is not None:
            pool_frames(first, rate)


def masked_pool(x: Tensor, lengths: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Mean over every `frames` valid frames: x (B, T, D), lengths (B,) -> (B, ceil(T / frames), D), lengths.

    The last one of a sequence is the mean over those it has.
    """
    x = x.masked_fill(~length_mask(lengths, x.shape[1]).unsqueeze(-1), 0.0)
    x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % frames))
    total = torch.unflatten(x, 1, (-1, frames)).sum(2)
    begin = torch.arange(total.shape[1], device=x.device) * frames
    count = (lengths.unsqueeze(1) - begin).clamp(1, frames)  # at least 1: padding
    return total / count.unsqueeze(-1).to(x.dtype), -(-lengths // frames)


def normalize_level(wave: Tensor, lengths: Tensor) -> Tensor:
    """wave (B, T, 1) with a root mean square of 1 over its valid samples; silence stays silent.

    Speech at its own level, 0.05, is lost beside the bias of the first layer.
    """
    power = masked_mean(wave.square(), lengths).unsqueeze(1)
    return wave / power.sqrt().clamp(min=1e-4)


def masked_mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the valid frames: x (B, T, D), lengths (B,) -> (B, D); zero where there is none."""
    x = x.masked_fill(~length_mask(lengths, x.shape[1]).unsqueeze(-1), 0.0)
    return x.sum(1) / lengths.clamp(min=1).unsqueeze(-1).to(x.dtype)
