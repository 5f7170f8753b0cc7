"""The synthesis recipe: from a corpus in LJSpeech's layout to a scored, packaged voice."""

import shlex
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from recipes.download import provide_corpora
from recipes.fingerprint import config_part
from recipes.stage import Stage, run_stages
from recipes.tts.alignment import align
from recipes.tts.config import TTSRecipe
from recipes.tts.context import TTSContext
from recipes.tts.data import doctor, prepare, stats, text
from recipes.tts.packaging import package
from recipes.tts.scoring import judge_packages, score
from recipes.tts.synthesis import compared, compared_files, synthesize
from recipes.tts.training import train
from recipes.vocoder.training import finetune, train_vocoder
from s4speech.config.base import load_config
from s4speech.config.train import NOT_IN_THE_RESULT
from s4speech.data.corpora import find_corpus


def _corpora(context: TTSContext) -> list[Path]:
    voices = context.config.corpus.voices
    return [path for voice in voices for path in find_corpus(voice.corpus).paths(Path(voice.root), ["all"])]


def _align(context: TTSContext) -> dict[str, Any]:
    train = context.config.align.model_dump(mode="json", exclude=NOT_IN_THE_RESULT)
    return config_part(context.config, ("mel", "aligner")) | {"align": train}


def _training(context: TTSContext) -> dict[str, Any]:
    train = context.config.train.model_dump(mode="json", exclude=NOT_IN_THE_RESULT)
    return config_part(context.config, ("mel", "model")) | {"train": train}


def _vocoder(key: str) -> Callable[[TTSContext], dict[str, Any]]:
    """What a training of the vocoder depends on: the config section `key`, and the vocoder's."""

    def part(context: TTSContext) -> dict[str, Any]:
        config = context.finetuning if key == "finetune" else context.config.train_vocoder
        train = config.model_dump(mode="json", exclude=NOT_IN_THE_RESULT)
        return config_part(context.config, ("mel", "vocoder")) | {key: train}

    return part


def _score(context: TTSContext) -> dict[str, Any]:
    """Installing a judge makes the stage run again."""
    config = context.config.score
    there = {"judge": config.judge is None or judge_packages(config.judge)}
    there["mos"] = not config.mos or find_spec("speechmos") is not None
    return config_part(context.config, ("score", "package.half")) | {"there": there}


def _hard(context: TTSContext) -> list[Path]:
    hard = context.config.score.hard
    return [] if hard is None else [Path(hard)]


def _check_compared(context: TTSContext) -> None:
    compared(context)


STAGES: tuple[Stage[TTSContext], ...] = (
    Stage("prepare", prepare, config=("corpus", "mel.sample_rate"), inputs=_corpora),
    Stage("doctor", doctor, config=("corpus.min_s",), needs=("prepare",)),
    Stage("text", text, config=("text",), needs=("prepare", "doctor")),
    Stage("stats", stats, config=("mel",), needs=("prepare", "doctor")),
    Stage(
        "align",
        align,
        training=True,
        config=_align,
        needs=("prepare", "text", "stats"),
        check=TTSContext.check_align,
        kept="checkpoints/last.ckpt",
    ),
    Stage(
        "train",
        train,
        training=True,
        config=_training,
        needs=("prepare", "text", "stats", "align"),
        check=TTSContext.check_train,
        kept="checkpoints/last.ckpt",
    ),
    Stage(
        "vocoder",
        train_vocoder,
        training=True,
        config=_vocoder("train_vocoder"),
        needs=("prepare", "stats"),
        check=TTSContext.check_vocoder,
        kept="checkpoints/last.ckpt",
    ),
    Stage(
        "finetune",
        finetune,
        training=True,
        config=_vocoder("finetune"),
        needs=("prepare", "text", "stats", "align", "train", "vocoder"),
        check=TTSContext.check_finetune,
        kept="checkpoints/last.ckpt",
    ),
    Stage(
        "synthesize",
        synthesize,
        config=("synthesize",),
        needs=("prepare", "text", "stats", "align", "train", "vocoder", "finetune"),
        inputs=compared_files,
        check=_check_compared,
    ),
    Stage(
        "score",
        score,
        config=_score,
        needs=("prepare", "text", "stats", "align", "train", "finetune", "synthesize"),
        inputs=_hard,
    ),
    Stage(
        "package",
        package,
        config=("package",),
        needs=("prepare", "text", "stats", "train", "finetune", "synthesize", "score"),
    ),
)

# What a vocoder needs no text for.
VOCODER_STAGES = tuple(one for one in STAGES if one.name in ("prepare", "doctor", "stats", "vocoder"))


def main(
    config_path: Path,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    stop_stage: str | None = None,
    dry_run: bool = False,
    *,
    recipe: str = "tts",
    stages: Sequence[Stage[TTSContext]] = STAGES,
) -> int:
    """Run the stages that are not done. Raises InputError for what the user has to change."""
    config = load_config(TTSRecipe, config_path, overrides)
    command = shlex.join(["python", "-m", "recipes", recipe, str(config_path), *overrides])
    context = TTSContext(config, Console(), command)
    voices = [(voice.corpus, voice.root, ["all"]) for voice in config.corpus.voices]
    provide_corpora(context, voices, dry_run)
    run_stages(stages, context, context.exp_dir, stage, stop_stage, dry_run, context.console)
    return 0


__all__ = ["STAGES", "VOCODER_STAGES", "main"]
