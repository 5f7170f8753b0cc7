"""Batches for the vocoder: pieces of recordings with their frames and their pitch."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from lhotse import CutSet
from torch import Tensor
from torch.utils.data import Dataset

from s4speech.audio.mel import MelFrames
from s4speech.config.tts import MelConfig
from s4speech.data.places import PlacedSampler
from s4speech.data.speech import continuous_pitch, samples_of
from s4speech.errors import InputError


class Segments(NamedTuple):
    """mel (B, T, n_mels), f0 (B, T) Hz without gaps, samples (B, T * hop)."""

    mel: Tensor
    f0: Tensor
    samples: Tensor


class SegmentDataset(Dataset[Segments]):
    """Batches of `batch_size` pieces of `frames` frames; a piece is drawn from a recording by its length.

    Item i is always the same, for any i >= 0: `Pieces` says which make an epoch. pitch: F0 in Hz at the end
    of each frame, 0 where unvoiced, of each recording. mels: frames to speak in place of the recording's own,
    of each recording: those of an acoustic model. The waveforms are kept in memory as int16 (a corpus of
    1.4 h takes 220 MB).
    """

    def __init__(
        self,
        mel: MelConfig,
        cuts: CutSet,
        pitch: Mapping[str, Tensor],
        *,
        frames: int,
        batch_size: int,
        batches: int,
        seed: int,
        mels: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.front_end, self.config = MelFrames(**mel.model_dump()), mel
        self.cuts = [cut for cut in cuts if cut.num_samples // mel.hop >= frames]
        if not self.cuts:
            raise InputError(
                f"frames: no recording is as long as {frames} frames of {mel.hop_s:.4g} s; set fewer frames"
            )
        self.pitch, self.mels = pitch, mels
        self.frames, self.batch_size, self.batches, self.seed = frames, batch_size, batches, seed
        lengths = np.array([cut.num_samples // mel.hop - frames + 1 for cut in self.cuts], np.float64)
        self._chances = lengths / lengths.sum()
        self._cache: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, item: int) -> Segments:
        random = np.random.default_rng([self.seed, item])
        pieces = [self._piece(random) for _ in range(self.batch_size)]
        return Segments(*(torch.stack(parts) for parts in zip(*pieces, strict=True)))

    def _piece(self, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        cut = self.cuts[int(random.choice(len(self.cuts), p=self._chances))]
        whole, hop, size = self._samples(cut), self.config.hop, self.frames
        pitch = self.pitch[cut.id]
        total = min(len(whole) // hop, len(pitch))
        start = int(random.integers(total - size + 1))
        side = (self.front_end.window - hop) // 2
        samples = torch.from_numpy(whole[start * hop : (start + size) * hop].astype(np.float32) / 32768)
        if self.mels is None:
            # frames of the whole recording: those at the edges of the piece hear what is beyond it
            padded = np.zeros(size * hop + 2 * side, np.float32)
            first = start * hop - side
            found = whole[max(first, 0) : first + len(padded)].astype(np.float32) / 32768
            padded[max(-first, 0) : max(-first, 0) + len(found)] = found
            mel = self.front_end._frames(torch.from_numpy(padded).unsqueeze(0))[0]
        else:
            mel = self.mels[cut.id][start : start + size].float()
        return mel, continuous_pitch(pitch)[start : start + size], samples

    def _samples(self, cut: object) -> np.ndarray:
        name = cut.id  # type: ignore[attr-defined]
        if name not in self._cache:
            # resampling may go beyond full scale, where int16 would turn around
            self._cache[name] = (samples_of(cut) * 32768).round().clip(-32768, 32767).astype(np.int16)
        return self._cache[name]


class Pieces(PlacedSampler[int]):
    """The items of a `SegmentDataset` for each epoch: others in every epoch, and on every device."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        world = self.process()[1]
        whole = max(self.accumulate, world)
        return -(-self.batches // whole) * whole // world

    def epoch(self, epoch: int) -> Iterator[int]:
        return iter(range(epoch * self.batches, (epoch + 1) * self.batches))
