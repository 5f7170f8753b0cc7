"""Log-mel frames for synthesis: frame t lies around samples t hop .. (t + 1) hop."""

import torch.nn.functional as F
from torch import Tensor

from s4speech.audio.features import LogMel


class MelFrames(LogMel):
    """Log-mel of the power spectrum in windows of `n_fft` samples, centred on each hop.

    S samples make S // hop frames: (n_fft - hop) / 2 zeros are put before and after.
    """

    def __init__(self, sample_rate: int = 22050, n_fft: int = 1024, hop: int = 256, n_mels: int = 80) -> None:
        super().__init__(sample_rate, n_mels, n_fft / sample_rate, hop / sample_rate, n_fft)

    def frames(self, samples: Tensor) -> Tensor:
        """samples (B, S) in [-1, 1] -> log-mel (B, S // hop, n_mels)."""
        side = (self.window - self.hop) // 2
        return self._frames(F.pad(samples, (side, side + self.hop)))[:, : samples.shape[1] // self.hop]
