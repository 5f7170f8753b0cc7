"""Stage vocoder."""

from pathlib import Path

import torch
from torch.utils.data import DataLoader

from recipes.plots import Panels, plot_learning_curves
from recipes.tts.context import TTSContext
from s4speech.data.vocoder import Pieces, SegmentDataset, Segments
from s4speech.models.asr.encoder import parameter_count
from s4speech.train.vocoder import VocoderTask, fit

VALID_BATCHES = 4
LEARNING_CURVES: Panels = {
    "energy distance": ("train/loss", "valid/loss"),
    "distance": ("train/distance", "valid/distance"),
}


def train_vocoder(context: TTSContext, folder: Path) -> None:
    """Train on the recordings, or continue from the last checkpoint; learning curves as learning_curves.png."""
    config = context.config.train_vocoder
    torch.manual_seed(config.seed)  # the initial weights
    vocoder = context.build_vocoder()
    context.say(f"vocoder: {parameter_count(vocoder) / 1e6:.2f} M parameters")

    def loader(part: str, batches: int, sampler: Pieces | None) -> DataLoader[Segments]:
        data = SegmentDataset(
            context.config.mel,
            context.cuts(part),
            context.pitch,
            frames=config.frames,
            batch_size=config.batch_size,
            batches=batches,
            seed=config.seed,
        )
        return DataLoader(data, sampler=sampler, batch_size=None, num_workers=config.workers)

    train = loader("train", config.batches, Pieces(config.batches))
    task = VocoderTask(vocoder, config)
    fit(task, train, loader("valid", VALID_BATCHES, None), folder, progress=context.console.is_terminal)
    context.say(f"vocoder: {task.trained_s / 60:.1f} minutes")
    plot_learning_curves(folder / "metrics" / "metrics.csv", folder / "learning_curves.png", LEARNING_CURVES)
