"""The recognition recipe: from a corpus in its published layout to a scored, packaged model."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from recipes.asr import streaming, streaming_score
from recipes.asr.config import ASRRecipe
from recipes.asr.context import ASRContext
from recipes.asr.data import doctor, prepare, stats, tokenizer
from recipes.asr.evaluation import decode, package, score
from recipes.asr.training import average, train
from recipes.download import provide_corpora
from recipes.fingerprint import config_part
from recipes.stage import Stage, run_stages
from s4speech.config.base import load_config
from s4speech.data.corpora import find_corpus

FEATURES = "model.features"
NOT_IN_THE_RESULT = {"workers", "cache_gib"}  # keys of `train` that only change how fast it goes


def _corpus(context: ASRContext) -> list[Path]:
    corpus = context.config.corpus
    return find_corpus(corpus.name).paths(Path(corpus.root), [*corpus.train, *corpus.valid, *corpus.test])


def _training(context: ASRContext) -> dict[str, Any]:
    train = context.config.train.model_dump(mode="json", exclude=NOT_IN_THE_RESULT)
    return config_part(context.config, ("model",)) | {"train": train}


def _language_model(context: ASRContext) -> list[Path]:
    lm = context.config.streaming.lm
    return [] if lm is None else [Path(lm.path)]


def _initial_weights(context: ASRContext) -> list[Path]:
    init = context.config.train.init
    return [] if init is None else [Path(init.path)]


_TO_A_MODEL: tuple[Stage[ASRContext], ...] = (
    Stage("prepare", prepare, config=("corpus", "model.features.sample_rate"), inputs=_corpus),
    Stage("doctor", doctor, config=("doctor",), needs=("prepare",)),
    Stage("tokenizer", tokenizer, config=("tokenizer",), needs=("prepare", "doctor")),
    Stage("stats", stats, config=(FEATURES,), needs=("prepare", "doctor")),
    Stage(
        "train",
        train,
        config=_training,
        needs=("prepare", "tokenizer", "stats"),
        inputs=_initial_weights,
        check=ASRContext.check_trainer,
        kept="checkpoints/last.ckpt",
        version=2,  # the parameters of S4D have other shapes since 1
    ),
    Stage("average", average, needs=("prepare", "tokenizer", "train")),
)
# Of a model of whole utterances.
STAGES: tuple[Stage[ASRContext], ...] = (
    *_TO_A_MODEL,
    Stage(
        "decode",
        decode,
        config=("decode",),
        needs=("prepare", "tokenizer", "average"),
        check=ASRContext.check_decoder,
    ),
    Stage("score", score, needs=("decode",)),
    Stage("package", package, config=("package",), needs=("tokenizer", "average", "score")),
)
USE = ("streaming.chunk_ms", "streaming.search", "streaming.lm")
# Of a model for streams.
STREAMING_STAGES: tuple[Stage[ASRContext], ...] = (
    *_TO_A_MODEL,
    Stage(
        "decode",
        streaming.decode,
        config=(*USE, "streaming.parts", "streaming.chunks_ms", "streaming.full"),
        needs=("prepare", "tokenizer", "average"),
        inputs=_language_model,
        check=ASRContext.check_decoder,
    ),
    Stage(
        "calibrate",
        streaming.calibrate,
        config=USE,
        needs=("prepare", "tokenizer", "average"),
        inputs=_language_model,
        check=ASRContext.check_decoder,
    ),
    Stage(
        "longform",
        streaming.longform,
        config=(*USE, "streaming.endpoints", "streaming.parts", "streaming.groups"),
        needs=("prepare", "tokenizer", "average"),
        inputs=_language_model,
        check=ASRContext.check_decoder,
    ),
    Stage("score", streaming_score.score, needs=("decode", "calibrate", "longform")),
    Stage(
        "package",
        streaming_score.package,
        config=("package", "decode.beam", "decode.ctc_weight"),
        needs=("tokenizer", "average", "calibrate", "score"),
    ),
)


def main(
    config_path: Path,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    stop_stage: str | None = None,
    dry_run: bool = False,
) -> int:
    """Run the stages that are not done. Raises InputError for what the user has to change."""
    config = load_config(ASRRecipe, config_path, overrides)
    command = shlex.join(["python", "-m", "recipes", "asr", str(config_path), *overrides])
    context = ASRContext(config, Console(), command)
    context.check_model()
    corpus = config.corpus
    parts = [*corpus.train, *corpus.valid, *corpus.test]
    provide_corpora(context, [(corpus.name, corpus.root, parts)], dry_run)
    stages = STREAMING_STAGES if config.streams else STAGES
    run_stages(stages, context, context.exp_dir, stage, stop_stage, dry_run, context.console)
    return 0


__all__ = ["STAGES", "STREAMING_STAGES", "main"]
