"""From the configuration of a sequence layer to the layer."""

from s4speech.config.layer import (
    AttentionConfig,
    ConvConfig,
    DSSConfig,
    LayerConfig,
    LSSLConfig,
    LSTMConfig,
    S4Config,
    S4DConfig,
    S5Config,
)
from s4speech.layers.attention import CausalAttention
from s4speech.layers.conv import CausalConv
from s4speech.layers.dss import DSS
from s4speech.layers.lssl import LSSL
from s4speech.layers.s4 import S4
from s4speech.layers.s4d import S4D
from s4speech.layers.s5 import S5
from s4speech.layers.sequence import SequenceLayer
from s4speech.models.baseline import LSTM, SelfAttention


def build_layer(config: LayerConfig, d_model: int) -> SequenceLayer:
    """The layer that a config names, for frames of `d_model` channels.

    Raises ValueError naming the option that the layer refuses.
    """
    options = config.model_dump(exclude={"type"})
    match config:
        case S4DConfig():
            return S4D(d_model, **options)
        case S4Config():
            return S4(d_model, **options)
        case DSSConfig():
            return DSS(d_model, **options)
        case S5Config():
            return S5(d_model, **options)
        case LSSLConfig():
            return LSSL(d_model, **options)
        case AttentionConfig():
            kind = SelfAttention if config.bidirectional else CausalAttention
            return kind(d_model, config.n_heads)
        case LSTMConfig():
            return LSTM(d_model, bidirectional=config.bidirectional)
        case ConvConfig():
            return CausalConv(d_model, config.kernel_size)
