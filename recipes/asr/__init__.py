"""The recognition recipe: from a corpus in its published layout to a scored, packaged model."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from recipes.asr import pretrained, streaming, streaming_lms, streaming_score
from recipes.asr.config import ASRRecipe
from recipes.asr.context import ASRContext
from recipes.asr.data import doctor, prepare, stats, tokenizer
from recipes.asr.evaluation import decode, package, score
from recipes.asr.plan import with_plan
from recipes.asr.training import average, train
from recipes.asr.tune import tune
from recipes.download import provide_corpora
from recipes.fingerprint import config_part
from recipes.stage import Stage, run_stages
from s4speech.config.base import load_config
from s4speech.config.train import NOT_IN_THE_RESULT
from s4speech.data.corpora import find_corpus

FEATURES = "model.features"


def _corpus(context: ASRContext) -> list[Path]:
    corpus = context.config.corpus
    noise = [] if corpus.noisy_tests is None else [Path(corpus.noisy_tests.path)]
    return find_corpus(corpus.name).paths(Path(corpus.root), corpus.parts) + noise


def _training(context: ASRContext) -> dict[str, Any]:
    train = context.config.train.model_dump(mode="json", exclude=NOT_IN_THE_RESULT)
    return config_part(context.config, ("model",)) | {"train": train}


def _decoding(context: ASRContext) -> dict[str, Any]:
    """The section decode: options that are not used are no part of the result, nor is who does the work."""
    config = context.config.decode
    unused = {"processes", "packaged_lm", "tune"} | ({"lms"} if not config.lms else set())
    return {"decode": config.model_dump(mode="json", exclude=unused)}


def _language_model(context: ASRContext) -> list[Path]:
    lm = context.config.streaming.lm
    return [] if lm is None else [Path(lm.path)]


def _compared(context: ASRContext) -> list[Path]:
    """The language models that are compared, of either kind of model."""
    config = context.config
    lms = config.streaming.compare_lms if config.streams else config.decode.lms
    return [Path(lm.path) for lm in lms.values()]


def _packaging(context: ASRContext) -> dict[str, Any]:
    packaged = context.config.decode.packaged_lm
    return config_part(context.config, ("package",)) | ({} if packaged is None else {"lm": packaged})


def _pretrained(context: ASRContext) -> list[Path]:
    return [pretrained.source(context)]


def _training_files(context: ASRContext) -> list[Path]:
    """Weights to start from, and the sounds of the augmentation."""
    init, augment = context.config.train.init, context.config.train.augment
    paths = [] if init is None else [init.path]
    if augment is not None:
        rooms = augment.room.rooms if augment.room else None
        paths += [sounds.path for sounds in (rooms, augment.noise) if sounds]
    return [Path(path) for path in paths]


_TO_A_MODEL: tuple[Stage[ASRContext], ...] = (
    Stage("prepare", prepare, config=("corpus", "model.features.sample_rate"), inputs=_corpus),
    Stage("doctor", doctor, config=("doctor",), needs=("prepare",)),
    Stage("tokenizer", tokenizer, config=("tokenizer",), needs=("prepare", "doctor")),
    Stage("stats", stats, config=(FEATURES,), needs=("prepare", "doctor")),
    Stage(
        "train",
        train,
        training=True,
        config=_training,
        needs=("prepare", "tokenizer", "stats"),
        inputs=_training_files,
        check=ASRContext.check_trainer,
        kept="checkpoints/last.ckpt",
        version=2,  # the parameters of S4D have other shapes since 1
    ),
    Stage("average", average, needs=("prepare", "tokenizer", "train")),
)
# From a model directory: what decodes needs the same stages.
_FROM_A_MODEL: tuple[Stage[ASRContext], ...] = (
    *_TO_A_MODEL[:2],
    Stage("tokenizer", pretrained.tokenizer, inputs=_pretrained, needs=("prepare", "doctor")),
    Stage("average", pretrained.average, inputs=_pretrained, needs=("prepare", "tokenizer")),
)
Stages = tuple[Stage[ASRContext], ...]
USE = ("streaming.chunk_ms", "streaming.search", "streaming.lm")
_CHUNKS = ("streaming.chunks_ms", "streaming.full")


def _searching(
    name: str,
    run: Callable[[ASRContext, Path], None],
    config: tuple[str, ...] | Callable[[ASRContext], dict[str, Any]],
    inputs: Callable[[ASRContext], list[Path]],
    *,
    tuned: bool = False,
) -> Stage[ASRContext]:
    """A stage in which the model hears utterances. inputs: its language models. tuned: by the stage tune."""
    return Stage(
        name,
        run,
        shared=True,
        config=config,
        needs=("prepare", "tokenizer", "average", *(("tune",) if tuned else ())),
        inputs=inputs,
        check=ASRContext.check_decoder,
    )


def offline_stages(tuned: bool, to_a_model: Stages = _TO_A_MODEL) -> Stages:
    """Of a model of whole utterances."""
    tuning = ("decode.beam", "decode.ctc_weight", "decode.lms", "decode.tune")
    return (
        *to_a_model,
        *((_searching("tune", tune, tuning, _compared),) if tuned else ()),
        _searching("decode", decode, _decoding, _compared, tuned=tuned),
        Stage("score", score, config=("score",), needs=("decode",)),
        Stage("package", package, config=_packaging, needs=("tokenizer", "average", "score")),
    )


def streaming_stages(compared: bool, tuned: bool, to_a_model: Stages = _TO_A_MODEL) -> Stages:
    """Of a model for streams. compared: there are language models to compare."""
    long = (*USE, "streaming.endpoints", "streaming.parts", "streaming.groups")
    tuning = ("streaming.chunk_ms", "streaming.search", "streaming.compare_lms", "streaming.tune")
    comparing = (*USE, "streaming.parts", *_CHUNKS, "streaming.compare_lms")
    return (
        *to_a_model,
        _searching("decode", streaming.decode, (*USE, "streaming.parts", *_CHUNKS), _language_model),
        _searching("calibrate", streaming.calibrate, USE, _language_model),
        _searching("longform", streaming.longform, long, _language_model),
        *((_searching("tune", streaming_lms.tune, tuning, _compared),) if tuned else ()),
        *(
            (_searching("compare", streaming_lms.compare, comparing, _compared, tuned=tuned),)
            if compared
            else ()
        ),
        Stage(
            "score",
            streaming_score.score,
            needs=("decode", "calibrate", "longform", *(("compare",) if compared else ())),
        ),
        Stage(
            "package",
            streaming_score.package,
            config=("package", "decode.beam", "decode.ctc_weight"),
            needs=("tokenizer", "average", "calibrate", "score"),
        ),
    )


STAGES = offline_stages(tuned=False)
STREAMING_STAGES = streaming_stages(compared=False, tuned=False)


def stages_of(config: ASRRecipe) -> Stages:
    """The stages of a recipe: some it has only where its config asks for them."""
    start = _TO_A_MODEL if config.pretrained is None else _FROM_A_MODEL
    if config.streams:
        streams = config.streaming
        stages = streaming_stages(bool(streams.compare_lms), streams.tune is not None, start)
    else:
        stages = offline_stages(config.decode.tune is not None, start)
    return with_plan(stages, config.train)


def main(
    config_path: Path,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    stop_stage: str | None = None,
    dry_run: bool = False,
) -> int:
    """Run the stages that are not done. Raises InputError for what the user has to change."""
    config = pretrained.with_pretrained(load_config(ASRRecipe, config_path, overrides), dry_run)
    command = shlex.join(["python", "-m", "recipes", "asr", str(config_path), *overrides])
    context = ASRContext(config, Console(), command)
    context.check_model()
    corpus = config.corpus
    provide_corpora(context, [(corpus.name, corpus.root, corpus.parts)], dry_run)
    run_stages(stages_of(config), context, context.exp_dir, stage, stop_stage, dry_run, context.console)
    return 0


__all__ = ["STAGES", "STREAMING_STAGES", "main", "stages_of"]
