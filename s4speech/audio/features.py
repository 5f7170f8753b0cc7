"""Log-mel features, the same offline and in chunks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn


class LogMelState(NamedTuple):
    """pending: (B, P) samples not yet covered by a whole hop, P < window."""

    pending: Tensor


class LogMel(nn.Module):
    """Log-mel spectrogram: Hann window of 25 ms every 10 ms, power spectrum, mel bands, natural logarithm.

    Frame t covers samples t hop .. t hop + window - 1: nothing is padded and nothing depends on the rest of
    the utterance, so that a stream cut anywhere gives the same frames.
    """

    window_samples: Tensor
    filterbank: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 80,
        window_s: float = 0.025,
        hop_s: float = 0.010,
        n_fft: int = 512,
    ) -> None:
        super().__init__()
        self.sample_rate, self.n_mels, self.n_fft = sample_rate, n_mels, n_fft
        self.window, self.hop = round(window_s * sample_rate), round(hop_s * sample_rate)
        if not 0 < self.hop <= self.window:
            raise ValueError(f"hop_s: got {hop_s}, wanted more than 0 and at most window_s {window_s}")
        if n_fft < self.window:
            raise ValueError(f"n_fft: got {n_fft}, wanted at least the window of {self.window} samples")
        self.register_buffer("window_samples", torch.hann_window(self.window), persistent=False)
        filterbank = torchaudio.functional.melscale_fbanks(
            n_fft // 2 + 1, 20.0, sample_rate / 2, n_mels, sample_rate, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("filterbank", filterbank, persistent=False)

    def lengths(self, sample_lengths: Tensor) -> Tensor:
        """Samples (B,) -> whole frames (B,)."""
        return ((sample_lengths - self.window).div(self.hop, rounding_mode="floor") + 1).clamp(min=0)

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """samples (B, S) float32 in [-1, 1], lengths (B,) -> log-mel (B, T, n_mels), frames (B,).

        Frames past a row's length are zeros. Raises ValueError when the batch is shorter than one window.
        """
        if samples.shape[1] < self.window:
            raise ValueError(f"samples: got {samples.shape[1]}, wanted at least one window of {self.window}")
        frames = self.lengths(lengths)
        features = self._frames(samples)[:, : int(frames.max())]
        valid = torch.arange(features.shape[1], device=frames.device) < frames.unsqueeze(1)
        return features * valid.unsqueeze(-1), frames

    def init_state(self, batch: int) -> LogMelState:
        """Nothing heard yet."""
        return LogMelState(self.window_samples.new_zeros(batch, 0))

    def scan(self, samples: Tensor, state: LogMelState) -> tuple[Tensor, LogMelState]:
        """A chunk of samples (B, S), any S >= 0 -> the frames now whole (B, T, n_mels), new state."""
        heard = torch.cat([state.pending, samples], 1)
        if heard.shape[1] < self.window:
            return samples.new_zeros(samples.shape[0], 0, self.n_mels), LogMelState(heard)
        features = self._frames(heard)
        return features, LogMelState(heard[:, features.shape[1] * self.hop :])

    def _frames(self, samples: Tensor) -> Tensor:
        windows = samples.unfold(1, self.window, self.hop) * self.window_samples
        spectrum = torch.fft.rfft(F.pad(windows, (0, self.n_fft - self.window)))
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log((power @ self.filterbank).clamp(min=1e-10))
