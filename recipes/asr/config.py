"""Configuration of a recognition recipe: egs/CORPUS/asr/*.yaml."""

import itertools
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from recipes.context import Device
from recipes.download import DownloadingConfig
from s4speech.config.asr import ASRConfig, Positive, PositiveFloat, StreamingEncoderConfig
from s4speech.config.augment import SoundsConfig
from s4speech.config.base import StrictModel
from s4speech.config.streaming import DEFAULT_ENDPOINTS, EndpointRule, Finite, SearchOptions
from s4speech.config.train import TrainConfig
from s4speech.models.asr.recognize import Method
from s4speech.models.package import JointConfig

Unit = Literal["word", "char"]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a file, too
Parts = Annotated[list[Name], Field(min_length=1)]
CONTEXT_FRAMES = 7  # that the encoder's subsampling needs for its first output


class NoisyTestsConfig(SoundsConfig):
    """Noise for copies of the test parts, such as dev-clean-10dB: one for each ratio of speech to noise."""

    snr_db: Annotated[list[float], Field(min_length=1)] = [10.0, 5.0]


class CorpusConfig(StrictModel):
    """name: of `s4speech.data.corpora`. root: folder of the published layout, from the working directory.

    valid: parts for checkpoint selection; or valid_speakers: these speakers of the training parts, which are
    then not trained on. The test parts are looked at by decode and score alone. noisy_tests: and at copies of
    them with noise.
    """

    name: str
    root: str
    train: Parts
    valid: list[Name] = []
    valid_speakers: list[str] = []
    test: Parts
    noisy_tests: NoisyTestsConfig | None = None

    def noisy(self, part: str) -> dict[str, float]:
        """The noisy copies of a test part and their ratios."""
        ratios = self.noisy_tests.snr_db if self.noisy_tests else []
        return {f"{part}-{snr_db:g}dB": snr_db for snr_db in ratios}

    @property
    def parts(self) -> list[str]:
        """What is read of the corpus."""
        return [*self.train, *self.valid, *self.test]

    @property
    def all_tests(self) -> list[str]:
        """The test parts and their noisy copies."""
        return [name for part in self.test for name in (part, *self.noisy(part))]


class TokenizerConfig(StrictModel):
    """Sentencepiece model, trained on the training transcripts. vocab_size: null, of char: as they have."""

    type: Literal["bpe", "unigram", "char"] = "bpe"
    vocab_size: Positive | None = 5000

    @model_validator(mode="after")
    def _known_size(self) -> "TokenizerConfig":
        if self.vocab_size is None and self.type != "char":
            raise ValueError(f"vocab_size: got null with type {self.type}, wanted a number")
        return self


class FusedLM(StrictModel):
    """path: of `s4speech.models.lm.load_scorer`: a model directory, or an n-gram file. weight: of its log p.

    length_bonus: natural log added for each token, to make up for what the language model takes from long
    transcripts. ctc_weight: part of CTC in CTC + decoder beside it; null: as without it.
    """

    path: str
    weight: PositiveFloat = 0.6
    length_bonus: Finite = 0.0
    ctc_weight: Annotated[float, Field(ge=0, le=1)] | None = None


class TuneConfig(StrictModel):
    """What the tune stage tries for each language model: all combinations, on the validation part alone.

    ctc_weights: parts of CTC in CTC + decoder; none: as without tuning. (0 is not among them: a streaming
    search wants more. There they set rescore_weight, too.) utterances: so many of the part, of all lengths;
    null: all.
    """

    weights: Annotated[list[PositiveFloat], Field(min_length=1)]
    length_bonuses: Annotated[list[Finite], Field(min_length=1)] = [0.0]
    ctc_weights: list[Annotated[float, Field(gt=0, le=1)]] = []
    utterances: Positive | None = None

    @property
    def axes(self) -> dict[str, list[float]]:
        """What is tried of each field of `FusedLM`."""
        axes = {"weight": self.weights, "length_bonus": self.length_bonuses, "ctc_weight": self.ctc_weights}
        return {name: list(dict.fromkeys(values)) for name, values in axes.items() if values}

    @property
    def points(self) -> list[dict[str, float]]:
        """A value of each axis."""
        axes = self.axes
        return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


class DecodeStageConfig(JointConfig):
    """Decoding of the test parts. methods: each is decoded and scored.

    lms: by name; `joint` is decoded without one and with each. tune: chooses their weights, length
    bonuses and CTC weights. packaged_lm: the one of `lms` that goes into the model directory.
    max_duration_s: seconds of audio searched together. device: auto is a GPU where there is one. processes:
    that share the work, on one thread or one GPU each.
    """

    methods: Annotated[list[Method], Field(min_length=1)] = ["ctc_greedy", "joint"]
    lms: dict[Name, FusedLM] = {}
    tune: TuneConfig | None = None
    packaged_lm: Name | None = None
    max_duration_s: PositiveFloat = 60.0
    device: Device = "auto"
    processes: Annotated[int, Field(ge=1, le=1024)] = 1

    @field_validator("methods")
    @classmethod
    def _each_once(cls, methods: list[Method]) -> list[Method]:
        if len(set(methods)) < len(methods):
            raise ValueError("wanted each method once")
        return methods

    @model_validator(mode="after")
    def _language_models_are_used(self) -> "DecodeStageConfig":
        if self.lms and "joint" not in self.methods:
            raise ValueError("lms: wanted joint among the methods, the search that reads language models")
        if self.tune is not None and not self.lms:
            raise ValueError("tune: there is nothing to choose for, wanted language models in lms")
        if self.packaged_lm is not None and self.packaged_lm not in self.lms:
            wanted = ", ".join(self.lms) or "none, for lms is empty"
            raise ValueError(f"packaged_lm: got {self.packaged_lm!r}, wanted one of lms: {wanted}")
        return self


class FusionConfig(StrictModel):
    """path: model directory of a language model over the same tokens (`recipes lm`). search: used with it."""

    path: str
    search: SearchOptions


class StreamingStageConfig(StrictModel):
    """How a streaming model is used, which goes into its directory, and how it is tested.

    chunk_ms, search, endpoints: as in `StreamingConfig`, whose calibration the calibrate stage fits. lm: the
    language model that goes into the directory, and the search it is used with in place of `search`, which
    is decoded for comparison (the language model at chunk_ms and at full context only).
    parts: that are decoded; null: the test parts; valid may be named, too. chunks_ms: chunk sizes that the
    decode stage tries; full: and each utterance as one chunk. groups: numbers of utterances of one speaker
    that are one recording in the longform stage, which hears `lanes` recordings together.
    compare_lms: language models by name, and the search of each: the compare stage decodes with them at
    chunk_ms and, if `full`, at full context. tune: chooses their weights and length_bonus.
    """

    chunk_ms: PositiveFloat = 640.0
    search: SearchOptions = SearchOptions()
    lm: FusionConfig | None = None
    compare_lms: dict[Name, FusionConfig] = {}
    tune: TuneConfig | None = None
    endpoints: list[EndpointRule] = list(DEFAULT_ENDPOINTS)
    parts: Parts | None = None
    chunks_ms: Annotated[list[PositiveFloat], Field(min_length=1)] = [160.0, 320.0, 640.0]
    full: bool = True
    groups: Annotated[list[Positive], Field(min_length=1)] = [1, 2, 4, 8, 16]
    lanes: Positive = 16

    @property
    def used_search(self) -> SearchOptions:
        """The search that the model is used with."""
        return self.search if self.lm is None else self.lm.search

    @model_validator(mode="after")
    def _tried_as_it_is_used(self) -> "StreamingStageConfig":
        if self.chunk_ms not in self.chunks_ms:
            raise ValueError(
                f"chunks_ms: got {self.chunks_ms}, wanted chunk_ms ({self.chunk_ms:g}) among them"
            )
        for name, fused in self.compare_lms.items():
            if not fused.search.lm_weight:
                raise ValueError(
                    f"compare_lms.{name}.search.lm_weight: got 0, wanted more: 0 is not using it"
                )
        if self.tune is not None and not self.compare_lms:
            raise ValueError("tune: there is nothing to choose for, wanted language models in compare_lms")
        if self.groups[0] != 1 or sorted(set(self.groups)) != self.groups:
            raise ValueError(f"groups: got {self.groups}, wanted 1 and then larger numbers")
        return self


class DoctorConfig(StrictModel):
    """alphabet: characters that transcripts are made of; null: any. min_s: shortest utterance in seconds."""

    alphabet: Annotated[str, Field(min_length=1)] | None = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' "
    min_s: PositiveFloat = 0.2


class ScoreConfig(StrictModel):
    """unit: what the main error rate counts; char where words have no spaces between them, as in Japanese."""

    unit: Unit = "word"


class PackageConfig(StrictModel):
    """What the model card says and the recipe cannot know. name: also of the model directory.

    half: weights are kept as float16.
    """

    name: Name
    language: str = "en"
    data: str
    licence: str
    credit: str | None = None
    half: bool = False


class ASRRecipe(DownloadingConfig):
    """A whole recipe. pretrained: a model directory in place of a training; it is packaged again, with the
    search, calibration and language model of this recipe.
    """

    corpus: CorpusConfig
    pretrained: str | None = None
    doctor: DoctorConfig = DoctorConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ASRConfig = ASRConfig()
    train: TrainConfig = TrainConfig()
    decode: DecodeStageConfig = DecodeStageConfig()
    streaming: StreamingStageConfig = StreamingStageConfig()
    score: ScoreConfig = ScoreConfig()
    package: PackageConfig

    @property
    def streams(self) -> bool:
        """The model is one for streams: it has stages of its own."""
        return isinstance(self.model.encoder, StreamingEncoderConfig)

    @property
    def frame_ms(self) -> float:
        """Of the encoder of a streaming model."""
        encoder = self.model.encoder
        halved = isinstance(encoder, StreamingEncoderConfig) and encoder.reduce
        return 1000 * self.model.features.hop_s * (8 if halved else 4)

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

    @model_validator(mode="after")
    def _language_models_of_streams(self) -> "ASRRecipe":
        """Models of either kind have their own section for them."""
        if self.streams and (self.decode.lms or self.decode.tune or self.decode.packaged_lm):
            raise ValueError(
                "decode.lms, tune, packaged_lm: got some with a streaming encoder; wanted "
                "streaming.compare_lms, streaming.tune, streaming.lm"
            )
        return self

    @model_validator(mode="after")
    def _streams_of_words(self) -> "ASRRecipe":
        """Delays, confidences and recordings of a streaming model are scored in words."""
        if self.streams and self.score.unit != "word":
            raise ValueError(
                f"score.unit: got {self.score.unit} with a streaming encoder, wanted word; its tables have "
                "the character error rate, too"
            )
        return self

    @model_validator(mode="after")
    def _chunks_are_frames(self) -> "ASRRecipe":
        """And the parts that are decoded exist."""
        if isinstance(self.model.encoder, StreamingEncoderConfig):
            for chunk_ms in self.streaming.chunks_ms:
                frames = chunk_ms / self.frame_ms
                if abs(frames - round(frames)) > 1e-6:
                    raise ValueError(
                        f"streaming.chunks_ms: got {chunk_ms:g}, wanted multiples of a frame, "
                        f"{self.frame_ms:g} ms"
                    )
        known = ["valid", *self.corpus.all_tests]
        for part in self.streaming.parts or []:
            if part not in known:
                raise ValueError(f"streaming.parts: got {part!r}, wanted some of: {', '.join(known)}")
        return self
