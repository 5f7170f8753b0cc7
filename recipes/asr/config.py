"""Configuration of a recognition recipe: egs/CORPUS/asr/*.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from recipes.context import Device, RecipeConfig
from s4speech.config.asr import ASRConfig, Positive, PositiveFloat
from s4speech.config.base import StrictModel
from s4speech.config.train import TrainConfig
from s4speech.models.asr.recognize import Method
from s4speech.models.package import DecodeConfig

Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a file, too
Parts = Annotated[list[Name], Field(min_length=1)]
CONTEXT_FRAMES = 7  # that the encoder's subsampling needs for its first output


class CorpusConfig(StrictModel):
    """name: of `s4speech.data.corpora`. root: folder of the published layout, from the working directory.

    valid: parts for checkpoint selection; or valid_speakers: these speakers of the training parts, which are
    then not trained on. The test parts are looked at by decode and score alone.
    """

    name: str
    root: str
    train: Parts
    valid: list[Name] = []
    valid_speakers: list[str] = []
    test: Parts


class TokenizerConfig(StrictModel):
    """Sentencepiece model, trained on the training transcripts."""

    type: Literal["bpe", "unigram", "char"] = "bpe"
    vocab_size: Positive = 5000


class DecodeStageConfig(DecodeConfig):
    """Decoding of the test parts. methods: each is decoded and scored.

    max_duration_s: seconds of audio searched together. device: auto is a GPU where there is one.
    """

    methods: Annotated[list[Method], Field(min_length=1)] = ["ctc_greedy", "joint"]
    max_duration_s: PositiveFloat = 60.0
    device: Device = "auto"

    @field_validator("methods")
    @classmethod
    def _each_once(cls, methods: list[Method]) -> list[Method]:
        if len(set(methods)) < len(methods):
            raise ValueError("wanted each method once")
        return methods


class DoctorConfig(StrictModel):
    """alphabet: characters that transcripts are made of. min_s: shortest utterance in seconds."""

    alphabet: Annotated[str, Field(min_length=1)] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' "
    min_s: PositiveFloat = 0.2


class PackageConfig(StrictModel):
    """What the model card says and the recipe cannot know. name: also of the model directory."""

    name: Name
    language: str = "en"
    data: str
    licence: str


class ASRRecipe(RecipeConfig):
    """A whole recipe."""

    corpus: CorpusConfig
    doctor: DoctorConfig = DoctorConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ASRConfig = ASRConfig()
    train: TrainConfig = TrainConfig()
    decode: DecodeStageConfig = DecodeStageConfig()
    package: PackageConfig

    @model_validator(mode="after")
    def _shortest_is_heard(self) -> "ASRRecipe":
        """At the fastest speed the shortest utterance still makes one frame of the encoder."""
        features, fastest = self.model.features, max(1.0, *self.train.speeds)
        needed_s = fastest * (features.window_s + (CONTEXT_FRAMES - 1) * features.hop_s)
        if self.doctor.min_s < needed_s:
            raise ValueError(
                f"doctor.min_s: got {self.doctor.min_s}, wanted at least {needed_s:.3f}, "
                f"{CONTEXT_FRAMES} frames at speed {fastest}"
            )
        return self
