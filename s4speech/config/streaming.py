"""Configuration of streaming recognition: the search, when a segment ends, how sure the words are."""

from typing import Annotated

from pydantic import Field

from s4speech.config.asr import NotNegativeFloat, Positive, PositiveFloat
from s4speech.config.base import StrictModel

Finite = Annotated[float, Field(allow_inf_nan=False)]


class SearchOptions(StrictModel):
    """The frame-synchronous search. A prefix h of the transcript is ranked by

        log p_ctc(h) + decoder_weight log p_dec(h) + lm_weight log p_lm(h) + length_bonus |h| + hotwords(h).

    beam: prefixes kept after each frame, of those that are at most `margin` (null: any) behind the best.
    min_probability: a token extends a prefix only in frames that give it at least this much. nbest:
    hypotheses that the decoder scores again at the end of a segment, when rescore_weight, which then takes
    the place of decoder_weight, is not 0. hotword_score: natural log added for each token of a hotword.
    """

    beam: Positive = 8
    margin: PositiveFloat | None = None
    min_probability: Annotated[float, Field(ge=0, lt=1)] = 0.01
    decoder_weight: NotNegativeFloat = 0.3
    rescore_weight: NotNegativeFloat = 0.3
    lm_weight: NotNegativeFloat = 0.0
    length_bonus: Finite = 0.0
    nbest: Positive = 8
    hotword_score: NotNegativeFloat = 1.5

    def with_ctc_weight(self, ctc_weight: float) -> "SearchOptions":
        """Decoder weights for another part of CTC in CTC + decoder, > 0 to 1: what others call ctc_weight."""
        weight = (1 - ctc_weight) / ctc_weight
        return self.model_copy(update={"decoder_weight": weight, "rescore_weight": weight})


class EndpointRule(StrictModel):
    """A segment ends when every condition of one rule holds.

    after_words: only when something was said in it. silence_s: at least so long since the last token.
    length_s: the segment is at least so long.
    """

    name: str
    after_words: bool = False
    silence_s: NotNegativeFloat = 0.0
    length_s: NotNegativeFloat = 0.0


# Kaldi's and sherpa-onnx's three rules, and one between them: a long segment ends at a short pause.
DEFAULT_ENDPOINTS = (
    EndpointRule(name="silence", silence_s=2.4),
    EndpointRule(name="pause", after_words=True, silence_s=1.2),
    EndpointRule(name="long", after_words=True, silence_s=0.4, length_s=10.0),
    EndpointRule(name="cap", length_s=20.0),
)


class Calibration(StrictModel):
    """Word confidence: sigmoid(scale * logit(posterior) + offset) (Platt 1999)."""

    scale: Finite = 1.0
    offset: Finite = 0.0


class StreamingConfig(StrictModel):
    """How a streaming model is used unless told otherwise. chunk_ms: audio that is heard at once."""

    chunk_ms: PositiveFloat = 640
    search: SearchOptions = SearchOptions()
    endpoints: list[EndpointRule] = list(DEFAULT_ENDPOINTS)
    calibration: Calibration = Calibration()
