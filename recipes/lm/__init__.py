"""The language model recipe: from a text file to a model that scores a recogniser's word pieces."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from recipes.download import provide
from recipes.fingerprint import config_part
from recipes.lm.config import LMRecipe
from recipes.lm.context import LMContext
from recipes.lm.data import prepare, text_files
from recipes.lm.evaluation import evaluate, evaluate_files, package
from recipes.lm.ngram import estimate_ngrams
from recipes.lm.training import train
from recipes.stage import Stage, run_stages
from s4speech.config.base import load_config
from s4speech.config.train import NOT_IN_THE_RESULT
from s4speech.data.archives import wanted_of_text
from s4speech.data.processes import TookPart, launched


def _training(context: LMContext) -> dict[str, Any]:
    if context.ngram is not None:
        return config_part(context.config, ("model",))
    train = context.config.train.model_dump(mode="json", exclude=NOT_IN_THE_RESULT)
    return config_part(context.config, ("model",)) | {"train": train}


def _train(context: LMContext, folder: Path) -> None:
    if context.ngram is not None:
        if launched().rank:
            raise TookPart  # the first process counts alone
        estimate_ngrams(context, folder, context.ngram)
    else:
        train(context, folder)


STAGES: tuple[Stage[LMContext], ...] = (
    Stage("prepare", prepare, config=("text",), inputs=text_files),
    Stage(
        "train",
        _train,
        training=True,
        config=_training,
        needs=("prepare",),
        check=LMContext.check_trainer,
        kept="checkpoints/last.ckpt",
    ),
    Stage(
        "evaluate",
        evaluate,
        config=("evaluate",),
        needs=("prepare", "train"),
        inputs=evaluate_files,
        check=LMContext.check_evaluate,
    ),
    Stage("package", package, config=("package",), needs=("prepare", "train", "evaluate")),
)


def main(
    config_path: Path,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    stop_stage: str | None = None,
    dry_run: bool = False,
) -> int:
    """Run the stages that are not done. Raises InputError for what the user has to change."""
    config = load_config(LMRecipe, config_path, overrides)
    command = shlex.join(["python", "-m", "recipes", "lm", str(config_path), *overrides])
    context = LMContext(config, Console(), command)
    context.check_model()
    provide(context, *wanted_of_text(Path(config.text.path)), dry_run)
    run_stages(STAGES, context, context.exp_dir, stage, stop_stage, dry_run, context.console)
    return 0


__all__ = ["STAGES", "main"]
