"""Batches for synthesis: cuts -> frames, pitch and phones."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from s4speech.audio.mel import MelFrames
from s4speech.audio.pitch import f0_contour
from s4speech.config.tts import MelConfig


def samples_of(cut: Cut) -> NDArray[np.float32]:
    """The waveform of a cut of one channel, (S,)."""
    samples: NDArray[np.float32] = cut.load_audio()[0]
    return samples


def mel_of(frames: MelFrames, cut: Cut) -> Tensor:
    """Log-mel of a cut: (T, n_mels)."""
    return frames.frames(torch.from_numpy(samples_of(cut)).unsqueeze(0))[0]


def pitch_of(config: MelConfig, cut: Cut) -> Tensor:
    """F0 in Hz at the end of each frame of a cut, 0 where unvoiced: (T,)."""
    samples = samples_of(cut)
    times_s = np.arange(1, len(samples) // config.hop + 1) * config.hop_s
    return torch.from_numpy(f0_contour(samples, config.sample_rate, times_s))


def continuous_pitch(f0: Tensor) -> Tensor:
    """f0 (T,) Hz with 0 where unvoiced -> the same without gaps: between voiced frames it is log-linear.

    An utterance without a voiced frame gets 100 Hz.
    """
    voiced = f0.nonzero()[:, 0].numpy()
    if not len(voiced):
        return torch.full_like(f0, 100.0)
    log = np.interp(np.arange(len(f0)), voiced, f0[voiced].log().numpy())
    return torch.from_numpy(np.exp(log)).to(f0.dtype)


class TensorFile(Mapping[str, Tensor]):
    """The tensors of a safetensors file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self._file = safe_open(self.path, framework="pt")
        self._names: list[str] = self._file.keys()  # type: ignore[no-untyped-call]

    def __getitem__(self, name: str) -> Tensor:
        value: Tensor = self._file.get_tensor(name)  # type: ignore[no-untyped-call]
        return value

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getstate__(self) -> Path:  # for worker processes
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path
        self._open()


class SpeechBatch(NamedTuple):
    """Utterances padded to the longest.

    ids; tokens (B, N), token_lengths (B,); speaker (B,); mel (B, T, n_mels), f0 (B, T) Hz without gaps,
    voiced (B, T) 0 or 1, lengths (B,) frames; durations (B, N) frames a token, zeros where there are none.
    """

    ids: list[str]
    tokens: Tensor
    token_lengths: Tensor
    speaker: Tensor
    mel: Tensor
    f0: Tensor
    voiced: Tensor
    lengths: Tensor
    durations: Tensor


class SpeechDataset(Dataset[SpeechBatch]):
    """Makes a batch of the cuts that the sampler chose. Frames are computed once and kept in memory (a corpus
    of 1.4 h takes 70 MB).

    tokens: ids of each utterance. pitch: as `pitch_of`, of each. durations: frames a token, of each, None
    before there is an alignment. speakers: name -> number.
    """

    def __init__(
        self,
        mel: MelConfig,
        tokens: Mapping[str, list[int]],
        pitch: Mapping[str, Tensor],
        speakers: Mapping[str, int],
        durations: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.frames = MelFrames(**mel.model_dump())
        self.tokens, self.pitch, self.speakers, self.durations = tokens, pitch, speakers, durations
        self._cache: dict[str, Tensor] = {}

    def __getitem__(self, cuts: CutSet) -> SpeechBatch:  # lhotse samplers yield CutSets
        chosen = list(cuts)
        mels = [self.mel(cut) for cut in chosen]
        f0 = [self.pitch[cut.id][: len(mel)] for cut, mel in zip(chosen, mels, strict=True)]
        tokens = [torch.tensor(self.tokens[cut.id]) for cut in chosen]
        durations = [
            torch.zeros(len(t), dtype=torch.long) if self.durations is None else self.durations[cut.id].long()
            for cut, t in zip(chosen, tokens, strict=True)
        ]
        return SpeechBatch(
            [cut.id for cut in chosen],
            pad_sequence(tokens, batch_first=True),
            torch.tensor([len(t) for t in tokens]),
            torch.tensor([self.speakers[cut.supervisions[0].speaker] for cut in chosen]),
            pad_sequence(mels, batch_first=True),
            pad_sequence([continuous_pitch(f) for f in f0], batch_first=True, padding_value=100.0),
            pad_sequence([(f > 0).float() for f in f0], batch_first=True),
            torch.tensor([len(m) for m in mels]),
            pad_sequence(durations, batch_first=True),
        )

    def mel(self, cut: Cut) -> Tensor:
        """Log-mel of one cut, (T, n_mels) float32."""
        if cut.id not in self._cache:
            self._cache[cut.id] = mel_of(self.frames, cut).half()
        return self._cache[cut.id].float()
