"""Configuration of a sequence layer: one tagged union over everything `build_layer` can build."""

from typing import Annotated, Literal

from pydantic import Field

from s4speech.config.asr import Positive, PositiveFloat
from s4speech.config.base import StrictModel

StateSize = Annotated[int, Field(gt=0, le=4096)]
Discretization = Literal["zoh", "bilinear"]
DiagonalInit = Literal["legs", "inv", "lin", "real"]


class SSMConfig(StrictModel):
    """What all state space layers have. dt: the step of each channel starts log-uniform in its range."""

    d_state: StateSize = 64
    dt_min: PositiveFloat = 1e-3
    dt_max: PositiveFloat = 1e-1
    bidirectional: bool = False


class S4DConfig(SSMConfig):
    """Diagonal SSM a channel (Gu et al. 2022)."""

    type: Literal["s4d"]
    init: DiagonalInit = "legs"
    n_ssm: Positive = 1
    discretization: Discretization = "zoh"
    dt_tie: bool = True


class S4Config(SSMConfig):
    """Diagonal plus low rank SSM a channel (Gu et al. 2022). rank: null is what the initialisation needs."""

    type: Literal["s4"]
    init: Literal["legs", "legt", "fourier"] = "legs"
    rank: Positive | None = None
    n_ssm: Positive = 1
    discretization: Discretization = "bilinear"
    mode: Literal["chunked", "cauchy"] = "chunked"


class DSSConfig(SSMConfig):
    """Diagonal SSM with a normalised kernel (Gupta et al. 2022)."""

    type: Literal["dss"]
    init: Literal["legs", "inv", "lin"] = "legs"
    normalization: Literal["softmax", "exp"] = "softmax"
    norm_length: Positive = 1024
    n_ssm: Positive = 1


class S5Config(SSMConfig):
    """One SSM for all channels (Smith et al. 2023)."""

    type: Literal["s5"]
    init: DiagonalInit = "legs"
    n_blocks: Positive = 1
    discretization: Discretization = "zoh"
    dt_tie: bool = False


class LSSLConfig(SSMConfig):
    """Dense SSM, whose kernel is computed by its powers (Gu et al. 2021): slow, for comparison."""

    type: Literal["lssl"]
    init: Literal["legs", "legt", "fourier"] = "legs"
    n_ssm: Positive = 1
    discretization: Discretization = "bilinear"


class AttentionConfig(StrictModel):
    """Self-attention over the whole sequence, or over the past (bidirectional: false)."""

    type: Literal["attention"]
    n_heads: Positive = 4
    bidirectional: bool = False


class LSTMConfig(StrictModel):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), the recurrent baseline."""

    type: Literal["lstm"]
    bidirectional: bool = False


class ConvConfig(StrictModel):
    """Causal depthwise convolution of `kernel_size` frames."""

    type: Literal["conv"]
    kernel_size: Positive = 15


LayerConfig = Annotated[
    S4DConfig | S4Config | DSSConfig | S5Config | LSSLConfig | AttentionConfig | LSTMConfig | ConvConfig,
    Field(discriminator="type"),
]
