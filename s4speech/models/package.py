"""A model directory: what is published, loaded and served.

config.yaml, model.safetensors, tokenizer.model, stats.safetensors, README.md (the model card). Loading runs
no code from the directory: typed YAML and safetensors only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from s4speech.config.asr import ASRConfig, Positive
from s4speech.config.base import StrictModel, dump_config, load_config
from s4speech.errors import InputError
from s4speech.models.asr.build import build_asr
from s4speech.models.asr.model import ASRModel
from s4speech.models.directory import check_directory
from s4speech.text.tokenizer import Tokenizer

STATISTICS = ("mean", "scale")
# What building a model raises: sizes that do not fit together, or that no memory holds.
BUILD_ERRORS = (ValueError, TypeError, RuntimeError, OverflowError, MemoryError)


class DecodeConfig(StrictModel):
    """How the model is decoded unless told otherwise. ctc_weight: part of CTC in the joint score."""

    beam: Positive = 10
    ctc_weight: Annotated[float, Field(ge=0, le=1)] = 0.3


class ASRPackageConfig(StrictModel):
    """config.yaml of a recognition model."""

    task: Literal["asr"] = "asr"
    language: str = "en"
    model: ASRConfig
    decode: DecodeConfig = DecodeConfig()


@dataclass(frozen=True)
class ASRPackage:
    """A recognition model ready for use; the model is in eval mode."""

    model: ASRModel
    tokenizer: Tokenizer
    config: ASRPackageConfig

    @property
    def frame_shift_s(self) -> float:
        """Seconds between two encoder frames."""
        return self.model.frame_shift_s


def save_asr(
    folder: Path, config: ASRPackageConfig, model: ASRModel, tokenizer_model: Path, card: str
) -> None:
    """Write a model directory into an existing, empty folder."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    statistics = {name: state.pop(name) for name in STATISTICS}
    (folder / "config.yaml").write_text(dump_config(config), "utf-8")
    save_file(state, folder / "model.safetensors")
    save_file(statistics, folder / "stats.safetensors")
    (folder / "tokenizer.model").write_bytes(tokenizer_model.read_bytes())
    (folder / "README.md").write_text(card, "utf-8")


def load_asr(folder: str | Path) -> ASRPackage:
    """Load a model directory for inference.

    Raises InputError naming the file: missing, of another model, damaged, or not what its name says.
    """
    folder = Path(folder)
    check_directory(folder)
    config = load_config(ASRPackageConfig, folder / "config.yaml")
    tokenizer = Tokenizer.load(folder / "tokenizer.model")
    if config.model.vocab_size != tokenizer.vocab_size:
        raise InputError(
            f"{folder / 'tokenizer.model'}: {tokenizer.vocab_size} pieces, config.yaml says "
            f"{config.model.vocab_size}; it belongs to another model"
        )
    try:
        with torch.device("cpu"):
            model = build_asr(config.model)
    except BUILD_ERRORS as error:
        raise InputError(f"{folder / 'config.yaml'}: {first_line(error)}") from error
    wanted = model.state_dict()
    statistics = {name: wanted.pop(name) for name in STATISTICS}
    state = _load_tensors(folder / "model.safetensors", wanted)
    model.load_state_dict(state | _load_tensors(folder / "stats.safetensors", statistics))
    return ASRPackage(model.eval().requires_grad_(False), tokenizer, config)


def first_line(error: BaseException) -> str:
    """What an error says, without the call stack that PyTorch's allocator appends."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _load_tensors(path: Path, wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a file; InputError unless they are finite, with the names and shapes of `wanted`."""
    try:
        got: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file ({error}); package it again") from error
    missing, foreign = sorted(wanted.keys() - got.keys()), sorted(got.keys() - wanted.keys())
    shapes = [n for n in wanted.keys() & got.keys() if wanted[n].shape != got[n].shape]
    problem = (
        f"tensor {missing[0]} is missing ({len(missing)} in all)"
        if missing
        else f"unknown tensor {foreign[0]} ({len(foreign)} in all)"
        if foreign
        else f"tensor {sorted(shapes)[0]} has shape {tuple(got[sorted(shapes)[0]].shape)}, "
        f"config.yaml makes it {tuple(wanted[sorted(shapes)[0]].shape)}"
        if shapes
        else None
    )
    if problem:
        raise InputError(f"{path}: {problem}; it belongs to another model")
    for name, tensor in got.items():
        if not tensor.isfinite().all():
            raise InputError(
                f"{path}: tensor {name} has NaN or infinite values; train or copy the model again"
            )
    return got
