"""Configuration of a synthesis recipe: egs/CORPUS/tts/*.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recipes.download import DownloadingConfig
from s4speech.config.asr import NotNegative, NotNegativeFloat, Positive, PositiveFloat
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

    @model_validator(mode="after")
    def _different_speakers(self) -> "SpeechCorpusConfig":
        names = [voice.speaker for voice in self.voices]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"voices: speaker {name!r} is there twice, wanted a name for each")
        return self


class TextConfig(StrictModel):
    """unit: what the acoustic model reads."""

    unit: Literal["phonemes", "characters"] = "phonemes"


Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a file, too


class SynthesizeConfig(StrictModel):
    """The held-out texts, spoken. texts: at most so many; null: all. plots: texts that are plotted, too.

    noise_scale: see `Vocoder`. iterations: of Griffin-Lim. compare: name -> YAML of another recipe, trained
    on the same corpus, whose acoustic model speaks the same texts with the vocoder of this one.
    """

    texts: Positive | None = None
    plots: NotNegative = 4
    noise_scale: Annotated[float, Field(ge=0, le=1)] = 1.0
    iterations: Positive = 60
    compare: dict[Name, str] = {}


class ScoreConfig(StrictModel):
    """judge: the recogniser that listens: tiny.en, a faster-whisper directory, a model of ours; null: none.

    mos: predict opinions with DNSMOS. listen: texts on the page. speed: held-out texts over which the speed
    is measured, with so many `threads` each. hard: file of hard sentences, `KIND-NUMBER|text` a line, which
    the voice speaks and which are searched for lost and repeated words; null: none.
    """

    judge: str | None = "tiny.en"
    mos: bool = True
    listen: Positive = 20
    speed: Positive = 20
    threads: Annotated[list[Positive], Field(min_length=1)] = [1, 2]
    hard: str | None = None


class PackageConfig(StrictModel):
    """What the model card says and the recipe cannot know. name: also of the voice directory.

    half: weights are kept as float16. samples: synthesised texts that go with it.
    """

    name: Name
    language: Literal["en"] = "en"
    data: str
    licence: str
    credit: str | None = None
    half: bool = True
    samples: NotNegative = 4


class TTSRecipe(DownloadingConfig):
    """A whole recipe. adversarial: in place of `finetune`, to tune the vocoder against discriminators."""

    corpus: SpeechCorpusConfig
    mel: MelConfig = MelConfig()
    text: TextConfig = TextConfig()
    aligner: AlignerConfig = AlignerConfig()
    align: SpeechTrainConfig = SpeechTrainConfig()
    model: AcousticConfig = ParallelConfig()
    train: SpeechTrainConfig = SpeechTrainConfig()
    vocoder: VocoderConfig = VocoderConfig()
    train_vocoder: VocoderTrainConfig = VocoderTrainConfig()
    finetune: VocoderTrainConfig = VocoderTrainConfig()
    adversarial: AdversarialConfig | None = None
    synthesize: SynthesizeConfig = SynthesizeConfig()
    score: ScoreConfig = ScoreConfig()
    package: PackageConfig
