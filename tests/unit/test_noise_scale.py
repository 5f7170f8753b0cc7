"""`Vocoder.noise_scale`: less noise under louder harmonics, none taken where noise is louder."""

import torch

from s4speech.config.tts import MelConfig, VocoderConfig
from s4speech.models.vocoder.vocoder import Filters, Vocoder


def _filters(noise_scale: float, bias: float) -> Filters:
    """bias: nepers by which the harmonics are louder than the noise."""
    torch.manual_seed(0)
    config = VocoderConfig(d_model=8, n_layers=1, d_ff=8, d_state=4)
    vocoder = Vocoder(MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=8), config).eval()
    torch.nn.init.zeros_(vocoder.head.weight)
    with torch.no_grad():
        vocoder.head.bias[: vocoder.bins] = bias
    vocoder.noise_scale = noise_scale
    with torch.inference_mode():
        found: Filters = vocoder(torch.randn(1, 5, 8), torch.full((1, 5), 200.0))
    return found


def test_noise_under_harmonics_is_scaled() -> None:
    whole, less = _filters(1.0, 6.0), _filters(0.2, 6.0)
    torch.testing.assert_close(less.voiced, whole.voiced)
    torch.testing.assert_close(less.unvoiced, 0.2 * whole.unvoiced, rtol=1e-3, atol=0)


def test_noise_alone_is_left() -> None:
    torch.testing.assert_close(_filters(0.2, -6.0).unvoiced, _filters(1.0, -6.0).unvoiced, rtol=1e-3, atol=0)


def test_half_way_between() -> None:
    """Equally loud: half of the noise counts as harmonics."""
    torch.testing.assert_close(_filters(0.2, 0.0).unvoiced, 0.6 * _filters(1.0, 0.0).unvoiced)
