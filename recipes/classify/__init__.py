"""The classification recipe: from waveforms or generated tokens to the accuracy of a sequence layer."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from recipes.classify.config import ClassifyRecipe
from recipes.classify.context import ClassifyContext
from recipes.classify.data import prepare, task_files
from recipes.classify.evaluation import evaluate
from recipes.classify.training import train
from recipes.fingerprint import config_part
from recipes.stage import Stage, run_stages
from s4speech.config.base import load_config
from s4speech.config.train import NOT_IN_THE_RESULT


def _training(context: ClassifyContext) -> dict[str, Any]:
    train = context.config.train.model_dump(mode="json", exclude=NOT_IN_THE_RESULT)
    return config_part(context.config, ("model",)) | {"train": train}


def _task(context: ClassifyContext) -> dict[str, Any]:
    return context.config.task.model_dump(mode="json", exclude={"cache"})


STAGES: tuple[Stage[ClassifyContext], ...] = (
    Stage("prepare", prepare, config=_task, inputs=task_files),
    Stage(
        "train",
        train,
        training=True,
        config=_training,
        needs=("prepare",),
        check=ClassifyContext.check_trainer,
        kept="checkpoints/last.ckpt",
    ),
    Stage(
        "evaluate",
        evaluate,
        config=("evaluate",),
        needs=("prepare", "train"),
        check=ClassifyContext.check_evaluate,
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
    config = load_config(ClassifyRecipe, config_path, overrides)
    command = shlex.join(["python", "-m", "recipes", "classify", str(config_path), *overrides])
    context = ClassifyContext(config, Console(), command)
    context.check_model()
    run_stages(STAGES, context, context.exp_dir, stage, stop_stage, dry_run, context.console)
    return 0


__all__ = ["STAGES", "main"]
