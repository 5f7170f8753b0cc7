"""Stage train."""

import json
from pathlib import Path
from typing import Any

import torch

from recipes.lm.context import LMContext
from recipes.plots import Panels, plot_learning_curves
from s4speech.data.text import TextRows, train_loader, valid_loader
from s4speech.files import write_by_rename
from s4speech.train.lm import LMTask, fit

LEARNING_CURVES: Panels = {"loss, nats a token": ("train/loss", "valid/loss")}


def train(context: LMContext, folder: Path) -> None:
    """Train, or continue from the last checkpoint; learning_curves.png, and what it cost in training.json."""
    config = context.config.train
    torch.manual_seed(config.seed)  # the initial weights
    model = context.build_model()
    parameters = sum(p.numel() for p in model.parameters())
    rows = TextRows(context.rows_path("train"))
    loader = train_loader(
        rows,
        config.batch_size,
        epoch_tokens=config.epoch_tokens,
        seed=config.seed,
        workers=config.workers,
    )
    valid = valid_loader(TextRows(context.rows_path("valid")), config.batch_size)
    context.say(f"train: {parameters} parameters")
    task = LMTask(model, config)
    fit(task, loader, valid, folder, progress=context.console.is_terminal)
    minutes = round(task.trained_s / 60, 2)
    cost: dict[str, Any] = {"parameters": parameters, "steps": task.steps, "minutes": minutes}
    rows_read = task.steps * config.accumulate * config.batch_size
    cost |= {"tokens": rows_read * context.config.text.length}
    cost |= {"threads": torch.get_num_threads(), "command": context.command}
    write_by_rename(folder / "training.json", json.dumps(cost, indent=1))
    context.say(f"train: {task.steps} steps, {cost['tokens']} tokens, {minutes} minutes")
    plot_learning_curves(folder / "metrics" / "metrics.csv", folder / "learning_curves.png", LEARNING_CURVES)
