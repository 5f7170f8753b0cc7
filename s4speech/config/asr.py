"""Configuration of a recognition model, as it stands in recipes and in model directories."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

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


class ConformerConfig(StrictModel):
    """Conformer, for whole utterances.

    reduce_after: after so many blocks every two frames become one (null: never).
    inter_ctc: blocks after which a CTC loss is added in training and fed back (empty: none).
    """

    type: Literal["conformer"] = "conformer"
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


class StreamingEncoderConfig(StrictModel):
    """Chunks of audio with a carried state: convolution and attention inside the chunk and over a window of
    the past, a causal S4D over all of it.

    reduce: every two frames of the subsampling become one. left_frames: past frames that attention sees.
    chunks: sizes, in encoder frames, of which each training batch has one; full_probability: how often it has
    the whole utterance instead. decoder_left, decoder_right: the encoder frames before and after its CTC
    trigger that the decoder sees when it scores a token.
    """

    type: Literal["streaming"]
    subsampling: Literal["conv2d", "conv1d"] = "conv1d"
    reduce: bool = False
    d_model: Positive = 512
    n_layers: Layers = 12
    n_heads: Positive = 8
    d_ff: Positive = 2048
    kernel_size: Positive = 15
    left_frames: Positive = 128
    d_state: Annotated[int, Field(gt=0, le=4096)] = 16
    init: Literal["legs", "inv", "lin", "real"] = "real"
    dt_min: PositiveFloat = 1e-3
    dt_max: PositiveFloat = 1e-1
    dropout: Probability = 0.1
    tied_dropout: bool = False
    drop_path: Probability = 0.0
    inter_ctc: list[Positive] = []
    chunks: Annotated[list[Positive], Field(min_length=1)] = [4, 8, 16, 32]
    full_probability: Annotated[float, Field(ge=0, le=1)] = 0.4
    decoder_left: NotNegative = 32
    decoder_right: NotNegative = 4


def _encoder_type(value: Any) -> str:
    """Recipes before there were two kinds name none."""
    return str(value.get("type", "conformer") if isinstance(value, dict) else value.type)


EncoderConfig = Annotated[
    Annotated[ConformerConfig, Tag("conformer")] | Annotated[StreamingEncoderConfig, Tag("streaming")],
    Discriminator(_encoder_type),
]


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
    encoder: EncoderConfig = ConformerConfig()
    decoder: DecoderConfig = S4DecoderConfig()
    vocab_size: Positive | None = None
    ctc_weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    inter_ctc_weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    label_smoothing: Probability = 0.1
