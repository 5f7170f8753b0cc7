"""Excitation of the vocoder: a flat harmonic series at the pitch, and white noise."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NOISE_SAMPLES = 1 << 16  # three seconds at 22 kHz, then it repeats: nobody hears that


def noise_table() -> Tensor:
    """(NOISE_SAMPLES,) standard normal numbers, the same everywhere: a stream needs those of the whole."""
    return torch.randn(NOISE_SAMPLES, generator=torch.Generator().manual_seed(0))


def harmonics(f0: Tensor, before: Tensor, phase: Tensor, hop: int, sample_rate: int) -> tuple[Tensor, Tensor]:
    """A sum of all cosines below half the sample rate, with the power of white noise of variance 1.

    f0: (B, T) Hz, > 0, at the end of each frame; before: (B,) at the start of the first; between them it is
    linear. phase: (B,) float64, of the fundamental in cycles, before the first sample.
    -> samples (B, T * hop), the phase after them.
    """
    ends = f0.double()
    starts = torch.cat([before.double().unsqueeze(1), ends[:, :-1]], 1)
    ramp = torch.arange(1, hop + 1, device=f0.device, dtype=torch.float64) / hop
    slope = (ends - starts).unsqueeze(-1)
    # the integral of a line over the frame, and what all frames before it came to
    within = (starts.unsqueeze(-1) * ramp + 0.5 * slope * ramp.square()) * (hop / sample_rate)
    total = within[..., -1].cumsum(1)
    offset = F.pad(total[:, :-1], (1, 0)) + phase.unsqueeze(1)
    cycles = within + offset.unsqueeze(-1)
    cycles = cycles - cycles.round()  # around 0, where float32 is finest, is the pulse
    pitch = starts.unsqueeze(-1) + slope * ramp
    wide = torch.promote_types(f0.dtype, torch.float32)
    samples = _pulses(cycles.flatten(1).to(wide), pitch.flatten(1).to(wide), sample_rate)
    return samples, (total[:, -1] + phase) % 1.0


def _pulses(cycles: Tensor, pitch: Tensor, sample_rate: int) -> Tensor:
    """sum of cos(2 pi k cycles), k = 1 .. K, in closed form (Dirichlet's kernel); K: all below Nyquist."""
    count = (0.5 * sample_rate / pitch).floor()
    half = math.pi * cycles
    sine = half.sin()
    near = sine.abs() < 1e-4  # the limit, where the quotient is 0 / 0
    kernel = ((2 * count + 1) * half).sin() / torch.where(near, torch.ones_like(sine), sine)
    total = torch.where(near, count, (kernel - 1) / 2)
    return total * 2 * (pitch / sample_rate).sqrt()
