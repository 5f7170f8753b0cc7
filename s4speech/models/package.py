"""A model directory: what is published, loaded and served.

config.yaml, model.safetensors, tokenizer.model, stats.safetensors, README.md (the model card), and
lm.safetensors, or ngram.safetensors, where a language model belongs to it. Loading runs no code from the
directory: typed YAML and safetensors only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from s4speech.config.asr import ASRConfig, NotNegativeFloat, Positive
from s4speech.config.base import StrictModel, dump_config, load_config
from s4speech.config.lm import AnyLMConfig, NgramLMConfig
from s4speech.config.streaming import Finite, StreamingConfig
from s4speech.errors import InputError
from s4speech.models.asr.build import build_asr
from s4speech.models.asr.model import ASRModel
from s4speech.models.directory import check_directory
from s4speech.models.lm import LanguageModel, build_lm
from s4speech.models.loading import as_half, build_checked, load_tensors, load_tokenizer, save_tensors
from s4speech.search.ngram import NgramLM
from s4speech.text.ngram_file import NAME as NGRAMS
from s4speech.text.ngram_file import save_ngram
from s4speech.text.tokenizer import Tokenizer

STATISTICS = ("mean", "scale")
LM_FILE = "lm.safetensors"


class JointConfig(StrictModel):
    """How the model is decoded unless told otherwise. ctc_weight: part of CTC in the joint score."""

    beam: Positive = 10
    ctc_weight: Annotated[float, Field(ge=0, le=1)] = 0.3


class DecodeConfig(JointConfig):
    """And how its language model, if it has one, is used; a streaming model says it in its search.

    lm_ctc_weight: ctc_weight beside it; null: as without it.
    """

    lm_weight: NotNegativeFloat = 0.0
    lm_ctc_weight: Annotated[float, Field(ge=0, le=1)] | None = None
    length_bonus: Finite = 0.0


class ASRPackageConfig(StrictModel):
    """config.yaml of a recognition model.

    streaming: null for one that does not stream. lm: of the language model in lm.safetensors, or in
    ngram.safetensors; null: none.
    """

    task: Literal["asr"] = "asr"
    language: str = "en"
    model: ASRConfig
    decode: DecodeConfig = DecodeConfig()
    streaming: StreamingConfig | None = None
    lm: AnyLMConfig | None = None


@dataclass(frozen=True)
class ASRPackage:
    """A recognition model ready for use; the model is in eval mode."""

    model: ASRModel
    tokenizer: Tokenizer
    config: ASRPackageConfig
    lm: LanguageModel | NgramLM | None = None

    @property
    def frame_shift_s(self) -> float:
        """Seconds between two encoder frames."""
        return self.model.frame_shift_s


def save_asr(
    folder: Path,
    config: ASRPackageConfig,
    model: ASRModel,
    tokenizer_model: Path,
    card: str,
    *,
    lm: LanguageModel | NgramLM | None = None,
    half: bool = False,
) -> None:
    """Write a model directory into an existing, empty folder.

    lm: the language model whose config is ``config.lm``. half: weights as float16, which takes half the room;
    `load_asr` makes float32 of them.
    """
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    statistics = {name: state.pop(name) for name in STATISTICS}
    if half:
        state = as_half(state)
    (folder / "config.yaml").write_text(dump_config(config), "utf-8")
    save_tensors(folder / "model.safetensors", state)
    save_tensors(folder / "stats.safetensors", statistics)
    if isinstance(lm, NgramLM):
        save_ngram(folder / NGRAMS, lm.model)
    elif lm is not None:
        save_tensors(folder / LM_FILE, as_half(lm.state_dict()) if half else lm.state_dict())
    (folder / "tokenizer.model").write_bytes(tokenizer_model.read_bytes())
    (folder / "README.md").write_text(card, "utf-8")


def load_asr(folder: str | Path, device: torch.device | str = "cpu") -> ASRPackage:
    """Load a model directory for inference. device: where the states of an n-gram model are.

    Raises InputError naming the file: missing, of another model, damaged, or not what its name says.
    """
    folder = Path(folder)
    check_directory(folder)
    config = load_config(ASRPackageConfig, folder / "config.yaml")
    tokenizer = load_tokenizer(folder, config.model.vocab_size)
    model = build_checked(lambda: build_asr(config.model), folder / "config.yaml")
    wanted = model.state_dict()
    statistics = {name: wanted.pop(name) for name in STATISTICS}
    state = load_tensors(folder / "model.safetensors", wanted)
    model.load_state_dict(state | load_tensors(folder / "stats.safetensors", statistics))
    lm = None if config.lm is None else load_lm_inside(folder, config.lm, tokenizer, device)
    return ASRPackage(model.eval().requires_grad_(False), tokenizer, config, lm)


def load_lm_inside(
    folder: Path, config: AnyLMConfig, tokenizer: Tokenizer, device: torch.device | str
) -> LanguageModel | NgramLM:
    """The language model in a recogniser's directory, alone. config: `lm` of its config.yaml.

    Raises InputError as `load_asr` does.
    """
    if config.vocab_size != tokenizer.vocab_size:
        raise InputError(
            f"{folder / 'config.yaml'}: lm.vocab_size: got {config.vocab_size}, wanted the model's "
            f"{tokenizer.vocab_size}; the language model is another model's"
        )
    if isinstance(config, NgramLMConfig):
        return NgramLM(folder, tokenizer, device)
    return build_lm(config, folder / "config.yaml", folder / LM_FILE)
