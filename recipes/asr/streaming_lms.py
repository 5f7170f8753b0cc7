"""Stages tune and compare of a streaming model: one language model beside another."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut

from recipes.asr.context import FULL, ASRContext
from recipes.asr.evaluation import Clock
from recipes.asr.lms import NONE, at_point, chosen_searches, load_lms
from recipes.asr.shards import Result, Work
from recipes.asr.streaming import RESCORED, Listener, decode_parts
from recipes.asr.tune import tried, try_points
from s4speech.config.streaming import SearchOptions
from s4speech.search.hypothesis import Scorer


def compared_chunks(context: ASRContext) -> list[str]:
    """The chunk sizes at which language models are compared."""
    return [name for name in context.chunks if name in (context.used_chunk, FULL)]


def fused_key(name: str) -> str:
    """Of the texts that were decoded with the language model of that name, at one chunk size."""
    return f"{RESCORED}+{name}"


def compare(context: ASRContext, folder: Path) -> None:
    """Each part with each of `streaming.compare_lms` -> PART.jsonl, texts by CHUNK/rescored+NAME."""
    decode_parts(context, folder, _prepare, context.config.streaming.search.beam)


def _prepare(context: ASRContext) -> Work:
    return partial(_compare_batch, context, Listener(context), load_lms(context))


@torch.inference_mode()
def _compare_batch(
    context: ASRContext, listener: Listener, lms: Mapping[str, Scorer], batch: Sequence[Cut]
) -> Result:
    clock = Clock(listener.device)
    mel, frames, durations_s = listener.features(batch)
    clock.lap("features")
    rows: list[dict[str, Any]] = [{"id": cut.id} for cut in batch]
    for label in compared_chunks(context):
        chunk = context.chunks[label]
        heard = listener.hear(mel, frames, chunk)
        clock.lap(f"{label}/encoder")
        for name, fusion in chosen_searches(context).items():
            key = f"{label}/{fused_key(name)}"
            found = listener.search(fusion.search, heard, chunk, durations_s, lms[name])
            clock.lap(key)
            for row, one in zip(rows, found, strict=True):
                row[key] = one.rescored[1]
    return {"rows": rows, "seconds": clock.seconds}


def tune(context: ASRContext, folder: Path) -> None:
    """The validation part, at the chunk size that is used, at each point of `streaming.tune` -> tune.json."""
    config = context.config.streaming.tune
    assert config is not None  # the stage is there only with it
    try_points(context, folder, config, _prepare_tuning)


def _prepare_tuning(context: ASRContext) -> Work:
    return partial(_tune_batch, context, Listener(context), load_lms(context))


@torch.inference_mode()
def _tune_batch(
    context: ASRContext, listener: Listener, lms: Mapping[str, Scorer], batch: Sequence[Cut]
) -> Result:
    config, chunk = context.config.streaming, context.chunks[context.used_chunk]
    assert config.tune is not None
    mel, frames, durations_s = listener.features(batch)
    heard = listener.hear(mel, frames, chunk)

    def texts(options: SearchOptions, lm: Scorer | None = None) -> list[str]:
        found = listener.search(options, heard, chunk, durations_s, lm)
        return [one.rescored[1] for one in found]

    found = {NONE: [texts(config.search)]}
    for name, fusion in config.compare_lms.items():
        options = [at_point(fusion, point) for point in config.tune.points]
        found[name] = [texts(one, lms[name]) for one in options]
    return tried(batch, found)
