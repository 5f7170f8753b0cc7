"""Batches of utterances for the stages."""

from collections.abc import Iterator

from lhotse import CutSet
from torch.utils.data import DataLoader

from recipes.tts.context import TTSContext
from s4speech.config.tts import SpeechTrainConfig
from s4speech.data.sampler import EpochSampler
from s4speech.data.speech import SpeechBatch, SpeechDataset


def dataset(context: TTSContext, *, aligned: bool = False) -> SpeechDataset:
    """aligned: with the durations of the align stage."""
    return SpeechDataset(
        context.config.mel,
        context.token_ids,
        context.pitch,
        context.speakers,
        context.durations if aligned else None,
    )


def speech_loader(
    context: TTSContext, part: str, config: SpeechTrainConfig, *, shuffle: bool = False, aligned: bool = False
) -> DataLoader[SpeechBatch]:
    """Batches of a part: of like durations, in another order every epoch if `shuffle`."""
    cuts = context.cuts(part)
    sampler = EpochSampler(
        lambda epoch: cuts, max_duration_s=config.max_duration_s, shuffle=shuffle, seed=config.seed
    )
    return DataLoader(
        dataset(context, aligned=aligned), sampler=sampler, batch_size=None, num_workers=config.workers
    )


def utterances(context: TTSContext, part: str, *, aligned: bool = False) -> Iterator[SpeechBatch]:
    """One by one, in the order of the part."""
    data = dataset(context, aligned=aligned)
    for cut in context.cuts(part):
        yield data[CutSet.from_cuts([cut])]


def planned_s(context: TTSContext, config: SpeechTrainConfig) -> float:
    """Seconds of audio in all epochs of a training."""
    seconds: float = sum(cut.duration for cut in context.cuts("train"))
    return config.total_epochs * seconds
