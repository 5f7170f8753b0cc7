"""What the stages of the recognition recipe share: the config and where things lie."""

from functools import cached_property
from pathlib import Path

import torch
from lhotse import CutSet

from recipes.asr.config import ASRRecipe
from recipes.context import RecipeContext, check_device, check_trainer, find_device
from s4speech.config.asr import ASRConfig
from s4speech.errors import InputError
from s4speech.models.asr.build import build_asr
from s4speech.models.asr.model import ASRModel
from s4speech.models.lm import LanguageModel, load_language_model
from s4speech.models.loading import BUILD_ERRORS, first_line
from s4speech.search.ngram import KenLM, NgramLM
from s4speech.text.tokenizer import Tokenizer

FULL = "full"  # the chunk that is the whole utterance
MANY = 3500  # tokens, before it is known how many the transcripts have: as Japanese ones


class ASRContext(RecipeContext[ASRRecipe]):
    """One run of the recognition recipe."""

    def cuts(self, name: str) -> CutSet:
        """The cuts that the prepare stage wrote; name: train, valid or test/PART."""
        return CutSet.from_jsonl(cuts_path(self.exp_dir / "prepare", name)).to_eager()

    @property
    def tokenizer_path(self) -> Path:
        return self.exp_dir / "tokenizer" / "tokenizer.model"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.tokenizer_path)

    def build_model(self) -> ASRModel:
        """A fresh model of the recipe's size, with the vocabulary of its tokenizer.

        Raises InputError: sizes that do not fit together.
        """
        return _build(self.model_config())

    def check_model(self) -> None:
        """Find out before the first stage that the model cannot be built. Raises InputError."""
        with torch.random.fork_rng(devices=[]):
            vocab_size = self.config.tokenizer.vocab_size or MANY
            _build(self.config.model.model_copy(update={"vocab_size": vocab_size}))

    def check_trainer(self) -> None:
        """Raises InputError: `train` wants GPUs that are not there."""
        check_trainer(self.config.train)

    def check_decoder(self) -> None:
        """Raises InputError: `decode.device` is not there."""
        check_device(self.config.decode.device, "decode.device")

    @property
    def decode_device(self) -> torch.device:
        return find_device(self.config.decode.device)

    @property
    def chunks(self) -> dict[str, int | None]:
        """Of a streaming model, by name: encoder frames of each chunk size that is decoded; full: None."""
        config = self.config.streaming
        sizes: dict[str, int | None] = {
            f"{chunk_ms:g}ms": round(chunk_ms / self.config.frame_ms) for chunk_ms in config.chunks_ms
        }
        return sizes | ({FULL: None} if config.full else {})

    @property
    def used_chunk(self) -> str:
        """The name of the chunk size that the model is used with."""
        return f"{self.config.streaming.chunk_ms:g}ms"

    @property
    def language_model(self) -> LanguageModel | NgramLM | None:
        """The one that goes into the model directory.

        Raises InputError: it cannot be loaded or packaged, or its tokens are another tokenizer's.
        """
        config, name = self.config, self.config.decode.packaged_lm
        fused = config.streaming.lm if config.streams else config.decode.lms[name] if name else None
        if fused is None:
            return None
        model = load_language_model(fused.path, self.tokenizer)
        if isinstance(model, KenLM):
            raise InputError(f"{fused.path}: a file of KenLM is not packaged; give the ARPA file")
        return model

    @property
    def streaming_parts(self) -> list[str]:
        """What is decoded of a streaming model."""
        return self.config.streaming.parts or self.config.corpus.all_tests

    def part(self, name: str) -> CutSet:
        """The cuts of a part that is decoded: valid, or a test part."""
        return self.cuts("valid" if name == "valid" else f"test/{name}")

    def model_config(self) -> ASRConfig:
        """The model's config with the vocabulary size filled in."""
        return self.config.model.model_copy(update={"vocab_size": self.tokenizer.vocab_size})


def _build(config: ASRConfig) -> ASRModel:
    try:
        return build_asr(config)
    except BUILD_ERRORS as error:
        raise InputError(f"model: {first_line(error)}; correct it in the recipe's YAML") from error


def cuts_path(prepare: Path, name: str) -> Path:
    """Where the prepare stage writes a set of cuts: train, valid or test/PART, which cannot be mistaken."""
    return prepare / f"{name}.jsonl.gz"
