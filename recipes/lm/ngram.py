"""The n-gram model in the language model recipe: what its stages do otherwise than for a trained model."""

import json
import math
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recipes.lm.context import LMContext
from s4speech.config.base import dump_config
from s4speech.config.lm import NgramLMConfig
from s4speech.data.text import join_rows
from s4speech.files import write_by_rename
from s4speech.models.lm import LMPackageConfig
from s4speech.text.arpa import write_arpa
from s4speech.text.kneser_ney import estimate
from s4speech.text.ngram import NgramModel
from s4speech.text.ngram_file import NAME, load_ngram, save_ngram


def ngram_path(context: LMContext) -> Path:
    """What the train stage writes."""
    return context.exp_dir / "train" / NAME


def estimate_ngrams(context: LMContext, folder: Path, config: NgramLMConfig) -> None:
    """ngram.safetensors, lm.arpa.gz if wanted, and what it cost in training.json."""
    begin = time.monotonic()
    tokens = join_rows(np.load(context.rows_path("train"), mmap_mode="r", allow_pickle=False))
    made = estimate(tokens, config.order, context.tokenizer.vocab_size, config.prune)
    counts = made.model.counts
    for order in made.fallback:
        context.say(f"train: order {order} has no discounts of its own, it takes {made.discounts[order - 1]}")
    save_ngram(folder / NAME, made.model)
    if config.arpa:
        write_arpa(folder / "lm.arpa.gz", made.model, context.tokenizer.pieces)
    minutes = round((time.monotonic() - begin) / 60, 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    cost: dict[str, Any] = {"parameters": sum(counts), "steps": 1, "minutes": minutes}
    cost |= {"tokens": len(tokens), "threads": 1}
    cost |= {"command": context.command, "ngrams": counts, "peak_gb": round(peak, 2)}
    cost |= {"discounts": made.discounts, "fallback_orders": made.fallback}
    write_by_rename(folder / "training.json", json.dumps(cost, indent=1))
    context.say(f"train: n-grams of order 1 to {config.order}: {counts}; {minutes} minutes, {peak:.1f} GB")


def read_ngrams(context: LMContext) -> NgramModel:
    """The estimated model. Raises InputError: it is damaged."""
    return load_ngram(ngram_path(context))


def ngram_nats(model: NgramModel, rows: Sequence[Tensor]) -> float:
    """-log p of rows (length,) that begin with <sos>, which is not predicted."""
    return -math.log(10) * sum(float(model.log10(row.numpy()).sum()) for row in rows)


def save_ngram_package(context: LMContext, folder: Path, config: LMPackageConfig, card: str) -> None:
    """Write the model directory into an existing, empty folder."""
    (folder / "config.yaml").write_text(dump_config(config), "utf-8")
    save_ngram(folder / NAME, read_ngrams(context))
    (folder / "tokenizer.model").write_bytes(context.tokenizer_path.read_bytes())
    (folder / "README.md").write_text(card, "utf-8")
