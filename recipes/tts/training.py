"""Stage train: the acoustic model."""

from pathlib import Path

import torch

from recipes.plots import Panels, plot_learning_curves
from recipes.tts.context import TTSContext
from recipes.tts.loaders import planned_s, speech_loader
from s4speech.models.asr.encoder import parameter_count
from s4speech.models.tts.parallel import ParallelModel
from s4speech.train.autoregressive import AutoregressiveTask
from s4speech.train.parallel import ParallelTask
from s4speech.train.speech import SpeechTask, fit

LEARNING_CURVES: Panels = {
    "loss": ("train/loss", "valid/loss"),
    "log-mel": ("train/mel", "valid/mel"),
    "pitch of frames": ("train/pitch", "valid/pitch"),
    "duration": ("train/duration", "valid/duration"),
}
AUTOREGRESSIVE_CURVES: Panels = {
    "loss": ("train/loss", "valid/loss"),
    "log-mel": ("train/mel", "valid/mel"),
    "guided attention": ("train/attention", "valid/attention"),
    "stop token": ("train/stop", "valid/stop"),
}


def train(context: TTSContext, folder: Path) -> None:
    """Train, or continue from the last checkpoint; learning curves as learning_curves.png."""
    config = context.config.train
    torch.manual_seed(config.seed)  # the initial weights
    model = context.build_acoustic()
    context.say(f"train: {parameter_count(model) / 1e6:.2f} M parameters")
    plan = (config, planned_s(context, config), context.config.mel.hop_s)
    task: SpeechTask
    if isinstance(model, ParallelModel):
        task, curves = ParallelTask(model, *plan), LEARNING_CURVES
    else:
        task, curves = AutoregressiveTask(model, *plan), AUTOREGRESSIVE_CURVES
    loader = speech_loader(context, "train", config, shuffle=True, aligned=True)
    valid = speech_loader(context, "valid", config, aligned=True)
    fit(task, loader, valid, folder, progress=context.console.is_terminal)
    context.say(f"train: {task.trained_s / 60:.1f} minutes")
    plot_learning_curves(folder / "metrics" / "metrics.csv", folder / "learning_curves.png", curves)
