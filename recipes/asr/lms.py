"""The language models that a recipe decodes with, and their weights as the tune stage chose them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recipes.asr.config import FusedLM, FusionConfig, TuneConfig
from recipes.asr.context import ASRContext
from s4speech.config.streaming import SearchOptions
from s4speech.files import write_by_rename
from s4speech.metrics.alignment import align, align_characters
from s4speech.models.lm import load_scorer
from s4speech.search.hypothesis import Scorer

TUNED = "tune.json"
NONE = "none"  # what is decoded without a language model


def load_lms(context: ASRContext) -> dict[str, Scorer]:
    """Those that are compared, by name. Raises InputError: missing, or of other tokens."""
    config = context.config
    paths = {
        name: lm.path
        for name, lm in (config.streaming.compare_lms if config.streams else config.decode.lms).items()
    }
    return {name: load_scorer(path, context.tokenizer, context.decode_device) for name, path in paths.items()}


def chosen_lms(context: ASRContext) -> dict[str, FusedLM]:
    """Of a model of whole utterances, by name, with the weights they are used with."""
    config = context.config.decode
    tuned = {} if config.tune is None else _tuned(context, config.tune)
    return {name: lm.model_copy(update=tuned.get(name, {})) for name, lm in config.lms.items()}


def chosen_searches(context: ASRContext) -> dict[str, FusionConfig]:
    """Of a streaming model, by name, with the weights they are used with."""
    config = context.config.streaming
    tuned = {} if config.tune is None else _tuned(context, config.tune)
    return {
        name: fusion.model_copy(update={"search": at_point(fusion, tuned[name])} if name in tuned else {})
        for name, fusion in config.compare_lms.items()
    }


def at_point(fusion: FusionConfig, point: Mapping[str, float]) -> SearchOptions:
    """The search with the values of one of `TuneConfig.points`."""
    update = {"lm_weight": point["weight"], "length_bonus": point["length_bonus"]}
    search = fusion.search.model_copy(update=update)
    return search.with_ctc_weight(point["ctc_weight"]) if "ctc_weight" in point else search


def _tuned(context: ASRContext, config: TuneConfig) -> dict[str, dict[str, float]]:
    found = json.loads((context.exp_dir / "tune" / TUNED).read_text("utf-8"))
    return {name: {key: one[key] for key in config.axes} for name, one in found["lms"].items()}


def choose(context: ASRContext, folder: Path, config: TuneConfig, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write tune.json: the point with the fewest errors for each language model, and all others. Errors are
    counted in `score.unit`.

    rows: one an utterance: id, ref, texts: name -> one for each point; NONE -> one.
    """
    rows = list(rows)
    unit = context.config.score.unit
    aligned, rate = (align, "WER") if unit == "word" else (align_characters, "CER")
    units = sum(pair.mark != "I" for row in rows for pair in aligned(row["ref"], row["ref"]))

    def errors(name: str, point: int) -> dict[str, float]:
        pairs = (pair for row in rows for pair in aligned(row["ref"], row["texts"][name][point]))
        wrong = sum(pair.mark != "C" for pair in pairs)
        return {rate.lower(): wrong / max(units, 1), "errors": wrong}

    record: dict[str, Any] = {"utterances": len(rows), f"{unit}s": units}
    record |= {NONE: errors(NONE, 0), "lms": {}}
    told = f"{rate} {100 * record[NONE][rate.lower()]:.2f} %"
    context.say(f"tune: {len(rows)} utterances, {units} {unit}s, {told}")
    heard = set(context.config.corpus.valid) & set(context.config.corpus.test)
    if heard:
        parts = ", ".join(sorted(heard))
        context.say(f"tune: {parts} is tested on, too: what is gained there is chosen there")
    for name in (name for name in rows[0]["texts"] if name != NONE):
        table = [point | errors(name, i) for i, point in enumerate(config.points)]
        # Of equals the one that interferes least, then the first.
        best = min(table, key=lambda one: (one["errors"], one["weight"], abs(one["length_bonus"])))
        record["lms"][name] = best | {"table": table}
        told = ", ".join(f"{axis.replace('_', ' ')} {best[axis]:g}" for axis in config.axes)
        edges = _edges(config, best)
        context.say(f"tune {name}: {told}, {rate} {100 * best[rate.lower()]:.2f} %{edges}")
    write_by_rename(folder / TUNED, json.dumps(record, indent=1))


def _edges(config: TuneConfig, best: Mapping[str, float]) -> str:
    """A hint where more might be better."""
    at = [
        axis.replace("_", " ")
        for axis, values in config.axes.items()
        if len(values) > 2 and best[axis] in (min(values), max(values))
    ]
    return f" ({' and '.join(at)} at the edge of what was tried)" if at else ""


def tuning_part(context: ASRContext, config: TuneConfig) -> list[Any]:
    """Cuts of the validation part, all or so many of all durations."""
    cuts = sorted(context.part("valid"), key=lambda cut: cut.duration)
    if config.utterances is None or config.utterances >= len(cuts):
        return cuts
    return [cuts[i * len(cuts) // config.utterances] for i in range(config.utterances)]
