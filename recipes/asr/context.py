"""What the stages of the recognition recipe share: the config and where things lie."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from lhotse import CutSet
from rich.console import Console

from recipes.asr.config import ASRRecipe
from s4speech.config.asr import ASRConfig
from s4speech.errors import InputError
from s4speech.models.asr.model import ASRModel, build_asr
from s4speech.models.package import BUILD_ERRORS, first_line
from s4speech.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ASRContext:
    """One run of the recipe. command: as the user typed it, for the model card."""

    config: ASRRecipe
    console: Console
    command: str

    @property
    def exp_dir(self) -> Path:
        return Path(self.config.exp_dir)

    def say(self, text: str) -> None:
        """Print a line as it is: paths are neither broken nor coloured."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

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
            vocab_size = self.config.tokenizer.vocab_size
            _build(self.config.model.model_copy(update={"vocab_size": vocab_size}))

    def check_trainer(self) -> None:
        """Raises InputError: `train` wants GPUs that are not there."""
        train = self.config.train
        there = max(torch.cuda.device_count(), int(torch.backends.mps.is_available()))
        if train.accelerator == "gpu" and there < train.devices:
            key = "devices" if there else "accelerator"
            wanted = f"got gpu with {train.devices} devices, there are {there}"
            raise InputError(f"train.{key}: {wanted}; set train.accelerator=auto, or fewer train.devices")

    def check_decoder(self) -> None:
        """Raises InputError: `decode.device` is not there."""
        if self.config.decode.device == "cuda" and not torch.cuda.is_available():
            raise InputError("decode.device: got cuda, there is no CUDA device; set decode.device=auto")

    @property
    def decode_device(self) -> torch.device:
        name = self.config.decode.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(name)

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
