"""Griffin-Lim: a waveform whose short-time spectra have given magnitudes. The baseline of a vocoder."""

import torch
from torch import Tensor

from s4speech.audio.mel import MelFrames
from s4speech.config.tts import MelConfig
from s4speech.models.vocoder.vocoder import overlap_add

MOMENTUM = 0.99  # Perraudin, Balazs and Søndergaard 2013, "A fast Griffin-Lim algorithm"
UPDATES = 60  # from mel bands to bins


@torch.inference_mode()
def griffin_lim(mel: Tensor, config: MelConfig, iterations: int = 60) -> Tensor:
    """log-mel (T, n_mels), T >= 1 -> samples (T * hop,). Begins with the same random phases every time."""
    front_end = MelFrames(**config.model_dump())
    magnitude = bins_of(mel, front_end.filterbank).sqrt()
    window = front_end.window_samples
    weight = overlap_add(window.square().expand(1, len(mel), -1), config.hop)[0].clamp(min=1e-2)
    generator = torch.Generator().manual_seed(0)
    phase = torch.polar(
        torch.ones_like(magnitude), 2 * torch.pi * torch.rand(magnitude.shape, generator=generator)
    )
    before = torch.zeros_like(phase)
    for _ in range(iterations):
        samples = _waveform(magnitude * phase, window, config.hop) / weight
        rebuilt = torch.fft.rfft(samples.unfold(0, config.n_fft, config.hop) * window)
        phase = rebuilt - MOMENTUM / (1 + MOMENTUM) * before
        phase = phase / phase.abs().clamp(min=1e-12)
        before = rebuilt
    side = (config.n_fft - config.hop) // 2
    samples = _waveform(magnitude * phase, window, config.hop) / weight
    return samples[side : side + len(mel) * config.hop]


def bins_of(mel: Tensor, filterbank: Tensor) -> Tensor:
    """log-mel (T, n_mels), filterbank (F, n_mels) -> powers (T, F) >= 0 whose bands are closest to it.

    Multiplicative updates (Lee and Seung 2001) keep what starts positive positive. Bins that no band covers
    get nothing.
    """
    bands = mel.exp()
    covered = filterbank.sum(1)
    power = bands @ (filterbank / filterbank.square().sum(0)).T
    wanted = bands @ filterbank.T
    for _ in range(UPDATES):
        power = power * wanted / (power @ filterbank @ filterbank.T).clamp(min=1e-12)
    return power * (covered > 0)


def _waveform(spectrum: Tensor, window: Tensor, hop: int) -> Tensor:
    return overlap_add((torch.fft.irfft(spectrum, len(window)) * window).unsqueeze(0), hop)[0]
