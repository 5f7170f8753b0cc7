"""Configuration of a recognition recipe: egs/CORPUS/asr/*.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from s4speech.config.asr import ASRConfig, Positive
from s4speech.config.base import StrictModel
from s4speech.config.train import TrainConfig
from s4speech.models.package import DecodeConfig

Parts = Annotated[list[str], Field(min_length=1)]


class CorpusConfig(StrictModel):
    """name: of `s4speech.data.corpora`. root: folder of the published layout, from the working directory.

    valid: parts for checkpoint selection; or valid_speakers: these speakers of the training parts, which are
    then not trained on. The test parts are looked at by decode and score alone.
    """

    name: str
    root: str
    train: Parts
    valid: list[str] = []
    valid_speakers: list[str] = []
    test: Parts


class TokenizerConfig(StrictModel):
    """Sentencepiece model, trained on the training transcripts."""

    type: Literal["bpe", "unigram", "char"] = "bpe"
    vocab_size: Positive = 5000


class DecodeStageConfig(DecodeConfig):
    """Decoding of the test parts. max_duration_s: seconds of audio searched together."""

    max_duration_s: float = 60.0


class DoctorConfig(StrictModel):
    """alphabet: characters that transcripts are made of. min_s: shortest utterance in seconds."""

    alphabet: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' "
    min_s: float = 0.2


class PackageConfig(StrictModel):
    """What the model card says and the recipe cannot know. name: also of the model directory."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    language: str = "en"
    data: str
    licence: str


class ASRRecipe(StrictModel):
    """A whole recipe. exp_dir: where its results go, relative to the working directory."""

    exp_dir: str
    corpus: CorpusConfig
    doctor: DoctorConfig = DoctorConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ASRConfig = ASRConfig()
    train: TrainConfig = TrainConfig()
    decode: DecodeStageConfig = DecodeStageConfig()
    package: PackageConfig
