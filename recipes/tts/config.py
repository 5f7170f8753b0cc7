"""Configuration of a synthesis recipe: egs/CORPUS/tts/*.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from recipes.context import RecipeConfig
from s4speech.config.asr import NotNegativeFloat, Positive, PositiveFloat
from s4speech.config.base import StrictModel
from s4speech.config.tts import (
    AcousticConfig,
    AdversarialConfig,
    AlignerConfig,
    MelConfig,
    ParallelConfig,
    SpeechTrainConfig,
    VocoderConfig,
    VocoderTrainConfig,
)


class VoiceConfig(StrictModel):
    """A corpus of one voice in LJSpeech's layout. speaker: the voice's name."""

    corpus: str = "ljspeech"
    root: str
    speaker: Annotated[str, Field(min_length=1)]


class SpeechCorpusConfig(StrictModel):
    """The voices, and which of their texts are held out: so many of each, by a hash of the text, with all
    recordings of it.

    trim_db: what is so far below the loudest frame at the beginning and the end is cut off, but for margin_s.
    """

    voices: Annotated[list[VoiceConfig], Field(min_length=1)]
    valid_texts: Positive = 30
    test_texts: Positive = 110
    trim_db: PositiveFloat = 40.0
    margin_s: NotNegativeFloat = 0.1
    min_s: PositiveFloat = 0.5


class TextConfig(StrictModel):
    """unit: what the acoustic model reads."""

    unit: Literal["phonemes", "characters"] = "phonemes"


class TTSRecipe(RecipeConfig):
    """A whole recipe."""

    corpus: SpeechCorpusConfig
    mel: MelConfig = MelConfig()
    text: TextConfig = TextConfig()
    aligner: AlignerConfig = AlignerConfig()
    align: SpeechTrainConfig = SpeechTrainConfig()
    model: AcousticConfig = ParallelConfig()
    train: SpeechTrainConfig = SpeechTrainConfig()
    vocoder: VocoderConfig = VocoderConfig()
    train_vocoder: VocoderTrainConfig = VocoderTrainConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    finetune: AdversarialConfig = AdversarialConfig()
