"""From the config of a recognition model to the model."""

from s4speech.audio.features import LogMel
from s4speech.config.asr import ASRConfig, StreamingEncoderConfig
from s4speech.models.asr.encoder import ConformerEncoder
from s4speech.models.asr.model import ASRModel, build_decoder
from s4speech.models.asr.streaming import StreamingASRModel
from s4speech.models.asr.streaming_encoder import StreamingEncoder


def build_asr(config: ASRConfig) -> ASRModel:
    """A model with fresh weights: a StreamingASRModel where the encoder is of that type.

    Raises ValueError naming the option; `vocab_size` must be set.
    """
    if config.vocab_size is None:
        raise ValueError("vocab_size: got null, wanted the number of tokens")
    features, encoder = LogMel(**config.features.model_dump()), config.encoder
    weights = {
        "ctc_weight": config.ctc_weight,
        "inter_ctc_weight": config.inter_ctc_weight,
        "label_smoothing": config.label_smoothing,
    }
    options = encoder.model_dump(exclude={"type", "inter_ctc", "decoder_left", "decoder_right"})
    options |= {"n_mels": features.n_mels, "inter": encoder.inter_ctc}
    if isinstance(encoder, StreamingEncoderConfig):
        return StreamingASRModel(
            features,
            StreamingEncoder(**options),
            build_decoder(config.decoder, config.vocab_size),
            window=(encoder.decoder_left, encoder.decoder_right),
            **weights,
        )
    return ASRModel(
        features, ConformerEncoder(**options), build_decoder(config.decoder, config.vocab_size), **weights
    )
