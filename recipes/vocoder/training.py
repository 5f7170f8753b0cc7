"""Stages vocoder and finetune."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from recipes.plots import Panels, plot_learning_curves
from recipes.tts.context import TTSContext
from recipes.tts.loaders import utterances
from s4speech.config.tts import AdversarialConfig, VocoderTrainConfig
from s4speech.data.speech import TensorFile
from s4speech.data.vocoder import Pieces, SegmentDataset, Segments
from s4speech.models.asr.encoder import parameter_count
from s4speech.models.loading import save_tensors
from s4speech.train.vocoder import AdversarialTask, VocoderTask, fit

VALID_BATCHES = 4
LEARNING_CURVES: Panels = {
    "energy distance": ("train/loss", "valid/loss"),
    "distance": ("train/distance", "valid/distance"),
}


def train_vocoder(context: TTSContext, folder: Path) -> None:
    """Train on the recordings, or continue from the last checkpoint; learning_curves.png."""
    config = context.config.train_vocoder
    torch.manual_seed(config.seed)  # the initial weights
    vocoder = context.build_vocoder()
    context.say(f"vocoder: {parameter_count(vocoder) / 1e6:.2f} M parameters")
    _fit(context, folder, VocoderTask(vocoder, config), config)


def finetune(context: TTSContext, folder: Path) -> None:
    """Go on from the vocoder stage with the frames that the acoustic model makes, in place of the recordings'
    own, for their texts, durations and pitch; against discriminators if the config says so."""
    config = context.finetuning
    path = folder / "mels.safetensors"
    if not path.exists():
        save_tensors(path, _predicted(context))  # each process of a training may make it
    torch.manual_seed(config.seed)
    vocoder = context.trained_vocoder("vocoder").train().requires_grad_(True)
    task = (
        AdversarialTask(vocoder, config)
        if isinstance(config, AdversarialConfig)
        else VocoderTask(vocoder, config)
    )
    _fit(context, folder, task, config, TensorFile(path))


def _predicted(context: TTSContext) -> dict[str, Tensor]:
    """Frames of every utterance of train and valid, as float16."""
    model = context.trained_acoustic()
    mels = {}
    for part in ("train", "valid"):
        for batch in utterances(context, part, aligned=True):
            with torch.inference_mode():
                measured = model.measure(batch.mel, batch.f0, batch.voiced, batch.durations)
                frames, _ = model(batch.tokens, batch.token_lengths, batch.speaker, measured, batch.durations)
            mels[batch.ids[0]] = frames.mel[0, : batch.mel.shape[1]].half().contiguous()
    return mels


def _fit(
    context: TTSContext,
    folder: Path,
    task: VocoderTask,
    config: VocoderTrainConfig,
    mels: Mapping[str, Tensor] | None = None,
) -> None:
    def loader(part: str, batches: int, sampler: Pieces | None) -> DataLoader[Segments]:
        data = SegmentDataset(
            context.config.mel,
            context.cuts(part),
            context.pitch,
            frames=config.frames,
            batch_size=config.batch_size,
            batches=batches,
            seed=config.seed,
            mels=mels,
        )
        return DataLoader(data, sampler=sampler, batch_size=None, num_workers=config.workers)

    train = loader("train", config.batches, Pieces(config.batches))
    fit(task, train, loader("valid", VALID_BATCHES, None), folder, progress=context.console.is_terminal)
    context.say(f"{folder.name}: {task.trained_s / 60:.1f} minutes")
    plot_learning_curves(folder / "metrics" / "metrics.csv", folder / "learning_curves.png", LEARNING_CURVES)
