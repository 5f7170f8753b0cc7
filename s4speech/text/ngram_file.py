"""An n-gram model as one safetensors file: the arrays of `NgramModel`, read without running or parsing it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.text.ngram import Level, NgramModel

NAME = "ngram.safetensors"  # in a model directory
_FORMAT = "s4speech n-gram 1"


def save_ngram(path: str | Path, model: NgramModel) -> None:
    """Write a model, by rename. Raises OSError: not writable."""
    tensors = {
        f"{name}.{n}": np.ascontiguousarray(array)
        for n, level in enumerate(model.levels, start=1)
        for name, array in level._asdict().items()
    }
    write_by_rename(path, save(tensors, {"format": _FORMAT, "order": str(model.order)}))


def load_ngram(path: str | Path) -> NgramModel:
    """Read what `save_ngram` wrote. Raises InputError: missing, damaged, or another file."""
    wanted = "wanted an n-gram model that s4speech wrote; copy or package it again"
    try:
        with safe_open(path, framework="np") as file:
            about = file.metadata() or {}
            if about.get("format") != _FORMAT:
                raise InputError(f"{path}: its format is {about.get('format')!r}; {wanted}")
            order = int(about["order"])
            levels = [
                Level(*(file.get_tensor(f"{name}.{n}") for name in Level._fields))
                for n in range(1, order + 1)
            ]
        for level in levels:
            kinds = "".join(array.dtype.kind for array in level)
            if kinds != "uffu" or any(array.ndim != 1 for array in level):
                raise ValueError(f"arrays of kinds {kinds}")
        return NgramModel(levels)
    except InputError:
        raise
    except (SafetensorError, OSError, KeyError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"{path}: cannot read ({' '.join(str(error).split())}); {wanted}") from error
