"""Configuration of a recognition model, as it stands in recipes and in model directories."""

from typing import Annotated, Literal

from pydantic import Field

from s4speech.config.base import StrictModel

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Layers = Annotated[int, Field(gt=0, le=1000)]


class FeatureConfig(StrictModel):
    """Log-mel front end."""

    sample_rate: Annotated[int, Field(ge=1000, le=384_000)] = 16000
    n_mels: Annotated[int, Field(gt=0, le=1024)] = 80
    window_s: Annotated[float, Field(gt=0, le=1)] = 0.025
    hop_s: Annotated[float, Field(gt=0, le=1)] = 0.010
    n_fft: Annotated[int, Field(gt=0, le=2**20)] = 512


class SpecAugmentConfig(StrictModel):
    """See `s4speech.audio.specaugment`."""

    time_warp: NotNegative = 5
    freq_masks: NotNegative = 2
    freq_width: NotNegative = 27
    time_masks: NotNegative = 10
    time_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05


class EncoderConfig(StrictModel):
    """Conformer. reduce_after: after so many blocks every two frames become one (null: never).

    inter_ctc: blocks after which a CTC loss is added in training and fed back (empty: none).
    """

    subsampling: Literal["conv2d", "conv1d"] = "conv2d"
    d_model: Positive = 512
    n_layers: Layers = 12
    n_heads: Positive = 8
    d_ff: Positive = 2048
    kernel_size: Positive = 31
    dropout: Probability = 0.1
    tied_dropout: bool = False
    drop_path: Probability = 0.0
    reduce_after: NotNegative | None = None
    inter_ctc: list[Positive] = []


class S4DecoderConfig(StrictModel):
    """The S4 decoder of Miyazaki et al. 2023: [SSM, cross-attention, feed-forward] x n_layers.

    kernel: s4d (init legs | inv | lin | real) or s4, the paper's (init legs | legt | fourier).
    """

    type: Literal["s4"] = "s4"
    d_model: Positive = 512
    n_layers: Layers = 6
    n_heads: Positive = 8
    d_ff: Positive = 2048
    dropout: Probability = 0.1
    drop_path: Probability = 0.1
    kernel: Literal["s4d", "s4"] = "s4d"
    d_state: Annotated[int, Field(gt=0, le=4096)] = 64
    n_ssm: Positive = 1
    init: Literal["legs", "inv", "lin", "real", "legt", "fourier"] = "legs"
    discretization: Literal["zoh", "bilinear"] = "bilinear"
    dt_min: PositiveFloat = 1e-3
    dt_max: PositiveFloat = 1e-1


class TransformerDecoderConfig(StrictModel):
    """The Transformer decoder, the baseline."""

    type: Literal["transformer"] = "transformer"
    d_model: Positive = 512
    n_layers: Layers = 6
    n_heads: Positive = 8
    d_ff: Positive = 2048
    dropout: Probability = 0.1
    drop_path: Probability = 0.0


DecoderConfig = Annotated[S4DecoderConfig | TransformerDecoderConfig, Field(discriminator="type")]


class ASRConfig(StrictModel):
    """A recognition model. vocab_size: null in a recipe, where the tokenizer decides."""

    features: FeatureConfig = FeatureConfig()
    specaugment: SpecAugmentConfig = SpecAugmentConfig()
    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = S4DecoderConfig()
    vocab_size: Positive | None = None
    ctc_weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    inter_ctc_weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    label_smoothing: Probability = 0.1
