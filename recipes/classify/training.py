"""Stage train."""

import json
from pathlib import Path
from typing import Any

import torch

from recipes.classify.context import ClassifyContext
from recipes.plots import Panels, plot_learning_curves
from s4speech.data.classify import make_loader
from s4speech.files import write_by_rename
from s4speech.train.classify import ClassifyTask, fit

LEARNING_CURVES: Panels = {
    "loss": ("train/loss", "valid/loss"),
    "accuracy": ("train/accuracy", "valid/accuracy"),
}


def train(context: ClassifyContext, folder: Path) -> None:
    """Train, or continue from the last checkpoint; learning_curves.png, and what it cost in training.json."""
    config = context.config.train
    torch.manual_seed(config.seed)  # the initial weights
    model = context.build_model()
    parameters = sum(p.numel() for p in model.parameters())
    context.say(f"train: {parameters} parameters")
    data = context.data
    loader = make_loader(
        data.train, config.batch_size, shuffle=True, seed=config.seed, workers=config.workers
    )
    valid = make_loader(
        data.valid, config.batch_size, shuffle=False, seed=config.seed, workers=min(config.workers, 1)
    )
    task = ClassifyTask(model, config)
    fit(task, loader, valid, folder, progress=context.console.is_terminal)
    minutes = round(task.trained_s / 60, 2)
    cost: dict[str, Any] = {"parameters": parameters, "steps": task.steps, "minutes": minutes}
    cost |= {"threads": torch.get_num_threads(), "command": context.command}
    write_by_rename(folder / "training.json", json.dumps(cost, indent=1))
    context.say(f"train: {task.steps} steps, {minutes} minutes")
    plot_learning_curves(folder / "metrics" / "metrics.csv", folder / "learning_curves.png", LEARNING_CURVES)
