"""Batches for recognition: cuts -> log-mel features and token ids."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from s4speech.audio.features import LogMel
from s4speech.data import shar, sphere  # noqa: F401  (in a worker process, too)
from s4speech.data.sampler import EpochSampler
from s4speech.errors import InputError
from s4speech.text.tokenizer import EOS


class Batch(NamedTuple):
    """ids; features (B, T, n_mels), frames (B,); tokens (B, U), token counts (B,); seconds of audio."""

    ids: list[str]
    features: Tensor
    lengths: Tensor
    tokens: Tensor
    token_lengths: Tensor
    duration_s: float


def join_rows(batch: Batch, count: int) -> Batch:
    """Every `count` rows of a batch one after another as one, with <eos> between their tokens.

    A training batch of longer recordings: what is heard at the joints is a change of speaker, mostly.
    """
    if count == 1:
        return batch
    groups = [range(i, min(i + count, len(batch.ids))) for i in range(0, len(batch.ids), count)]
    features = [torch.cat([batch.features[i, : batch.lengths[i]] for i in group]) for group in groups]
    eos = batch.tokens.new_tensor([EOS])
    tokens = []
    for group in groups:
        parts = [torch.cat([eos, batch.tokens[i, : batch.token_lengths[i]]]) for i in group]
        tokens.append(torch.cat(parts)[1:])
    return Batch(
        ["+".join(batch.ids[i] for i in group) for group in groups],
        pad_sequence(features, batch_first=True),
        batch.lengths.new_tensor([len(f) for f in features]),
        pad_sequence(tokens, batch_first=True),
        batch.token_lengths.new_tensor([len(t) for t in tokens]),
        batch.duration_s,
    )


class ASRDataset(Dataset[Batch]):
    """Makes a batch of the cuts that the sampler chose, on the CPU. Raises InputError: cuts of another sample
    rate than the features', or of several channels.

    cache_gib: features computed once are kept in memory as float16 up to this size, which saves decoding and
    resampling the audio again in every epoch (a corpus of 5 h at three speeds takes 0.9 GiB).
    """

    def __init__(self, features: LogMel, encode: Callable[[str], list[int]], cache_gib: float = 0.0) -> None:
        # a copy: a trainer moves the model's own front end to its device
        self.features, self.encode = copy.deepcopy(features).cpu(), encode
        self._cache: dict[str, Tensor] = {}
        self._room_bytes = int(cache_gib * 2**30)

    def __getitem__(self, cuts: CutSet) -> Batch:  # lhotse samplers yield CutSets
        features = [self.cut_features(cut) for cut in cuts]
        tokens = [torch.tensor(self.encode(cut.supervisions[0].text), dtype=torch.long) for cut in cuts]
        return Batch(
            [cut.id for cut in cuts],
            pad_sequence(features, batch_first=True),
            torch.tensor([len(f) for f in features]),
            pad_sequence(tokens, batch_first=True),
            torch.tensor([len(t) for t in tokens]),
            sum(cut.duration for cut in cuts),
        )

    def cut_features(self, cut: Cut) -> Tensor:
        """Log-mel (T, n_mels) float32 of one cut."""
        if cut.id in self._cache:
            return self._cache[cut.id].float()
        if (cut.sampling_rate, cut.num_channels) != (self.features.sample_rate, 1):
            raise InputError(
                f"{cut.id}: got {cut.sampling_rate} Hz and {cut.num_channels} channels, wanted "
                f"{self.features.sample_rate} Hz and one channel; prepare the corpus again"
            )
        samples = torch.from_numpy(cut.load_audio())
        features, _ = self.features(samples, torch.tensor([samples.shape[1]]))
        half: Tensor = features[0].half()
        if half.nbytes <= self._room_bytes:
            self._cache[cut.id] = half
            self._room_bytes -= half.nbytes
        return half.float()


def make_loader(dataset: ASRDataset, sampler: EpochSampler, workers: int = 0) -> DataLoader[Batch]:
    """The batches that the sampler chooses, made here (0) or in so many worker processes."""
    return DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=workers)
