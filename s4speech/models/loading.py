"""What writing and loading any model directory needs: nothing in it is trusted."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.text.tokenizer import Tokenizer

# What building a model raises: sizes that do not fit together, or that no memory holds.
BUILD_ERRORS = (ValueError, TypeError, RuntimeError, OverflowError, MemoryError)

Built = TypeVar("Built")


def build_checked(build: Callable[[], Built], path: Path) -> Built:
    """A model on the CPU. Raises InputError naming the config file: it says what cannot be built."""
    try:
        with torch.device("cpu"):
            return build()
    except BUILD_ERRORS as error:
        raise InputError(f"{path}: {first_line(error)}") from error


def load_tokenizer(folder: Path, vocab_size: int | None) -> Tokenizer:
    """The tokenizer of a model directory. Raises InputError: not of the size that config.yaml says."""
    path = folder / "tokenizer.model"
    tokenizer = Tokenizer.load(path)
    if vocab_size != tokenizer.vocab_size:
        raise InputError(
            f"{path}: {tokenizer.vocab_size} pieces, config.yaml says {vocab_size}; "
            "it belongs to another model"
        )
    return tokenizer


def as_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating tensors as float16, which take half the room. Loading into a module makes float32 of them."""
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, by rename. `safetensors` itself lets only the owner read it."""
    write_by_rename(path, save(tensors))


def first_line(error: BaseException) -> str:
    """What an error says, without the call stack that PyTorch's allocator appends."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def load_tensors(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file; InputError unless they are finite, with the names and shapes of `wanted`."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; copy the whole directory that the package stage wrote")
    try:
        got: dict[str, Tensor] = load_file(path)
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
