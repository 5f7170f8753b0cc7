"""What every acoustic model says, and what it is normalised with."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from s4speech.config.tts import MelConfig


class Frames(NamedTuple):
    """mel (B, T, n_mels) log powers, f0 (B, T) Hz, voiced (B, T): logits of a model in training, else 0/1."""

    mel: Tensor
    f0: Tensor
    voiced: Tensor


class SpeechNorm(nn.Module):
    """The statistics of a corpus, as buffers of the model that is one."""

    mean: Tensor
    std: Tensor
    pitch: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.mel = mel
        self.register_buffer("mean", torch.zeros(mel.n_mels))
        self.register_buffer("std", torch.ones(mel.n_mels))
        self.register_buffer("pitch", torch.tensor([5.0, 0.3]))

    def set_statistics(self, mean: Tensor, std: Tensor, pitch: Tensor) -> None:
        """Of each mel band (n_mels,); mean and deviation of log F0 (2,)."""
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.pitch.copy_(pitch)

    def normalize(self, mel: Tensor) -> Tensor:
        """Log-mel (..., n_mels) -> mean 0, deviation 1."""
        return (mel - self.mean) / self.std

    def normalize_pitch(self, f0: Tensor) -> Tensor:
        """Hz -> normalised log F0."""
        return (f0.log() - self.pitch[0]) / self.pitch[1]
