"""The harmonic source against a sum of cosines, its phase, its power; the noise."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from s4speech.models.vocoder.source import NOISE_SAMPLES, harmonics, noise_table
from tests.oracles.compare import close

RATE, HOP = 8000, 40


def glide(t: int, rows: int = 1) -> Tensor:
    """F0 (rows, t) that rises and falls between about 80 and 320 Hz."""
    place = torch.linspace(0, 9, t, dtype=torch.float64)
    return torch.stack([160 * 2 ** (place + row).sin() for row in range(rows)])


def cosines(f0: np.ndarray, before: float, phase: float) -> np.ndarray:
    """The definition, sample by sample and harmonic by harmonic: (T,) -> (T * HOP,)."""
    samples, cycles, last = [], phase, before
    for end in f0:
        for i in range(1, HOP + 1):
            start_of_sample, pitch = last + (end - last) * (i - 1) / HOP, last + (end - last) * i / HOP
            cycles += 0.5 * (start_of_sample + pitch) / RATE  # the exact integral of a line
            count = math.floor(0.5 * RATE / pitch)
            total = sum(math.cos(2 * math.pi * k * cycles) for k in range(1, count + 1))
            samples.append(2 * math.sqrt(pitch / RATE) * total)
        last = end
    return np.array(samples)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_a_gliding_pitch_is_a_sum_of_cosines(dtype: torch.dtype, tolerance: float) -> None:
    f0 = glide(30)
    wanted = cosines(f0[0].numpy(), 100.0, 0.37)
    phase = torch.tensor([0.37], dtype=torch.float64)
    found, _ = harmonics(f0.to(dtype), torch.tensor([100.0], dtype=dtype), phase, HOP, RATE)
    assert found.dtype == dtype
    if dtype == torch.float32:  # a pitch that rounds to the other side of a whole number of harmonics
        f0_rounded = f0.float().double()
        wanted = cosines(f0_rounded[0].numpy(), 100.0, 0.37)
    close(found[0], torch.from_numpy(wanted), tolerance)


def test_a_chunk_goes_on_where_the_last_one_ended() -> None:
    f0 = glide(50, rows=2)
    phase = torch.tensor([0.1, 0.9], dtype=torch.float64)
    whole, end = harmonics(f0, f0[:, 0], phase, HOP, RATE)
    parts, before = [], f0[:, 0]
    for part in f0.split([1, 7, 2, 40], 1):
        samples, phase = harmonics(part, before, phase, HOP, RATE)
        before = part[:, -1]
        parts.append(samples)
    close(torch.cat(parts, 1), whole, 1e-9)
    close(phase, end, 1e-12)
    assert phase.dtype == torch.float64 and float(phase.min()) >= 0 and float(phase.max()) < 1


def test_the_phase_does_not_drift() -> None:
    """100.5 Hz for two minutes, in chunks of a second: only rounding is between every other second."""
    f0 = torch.full((1, RATE // HOP), 100.5)
    phase = torch.zeros(1, dtype=torch.float64)
    first, _ = harmonics(f0, f0[:, 0], phase, HOP, RATE)
    for _ in range(120):
        _, phase = harmonics(f0, f0[:, 0], phase, HOP, RATE)
    later, _ = harmonics(f0, f0[:, 0], phase, HOP, RATE)
    close(later, first, 1e-4)


@pytest.mark.parametrize("f0_hz", [55.0, 110.0, 217.3, 490.0])
def test_it_has_the_power_of_white_noise_and_is_flat(f0_hz: float) -> None:
    f0 = torch.full((1, 20 * RATE // HOP), f0_hz)
    samples, _ = harmonics(f0, f0[:, 0], torch.zeros(1, dtype=torch.float64), HOP, RATE)
    assert float(samples.square().mean()) == pytest.approx(1.0, rel=2 * f0_hz / RATE)
    # twenty seconds: the lines of the spectrum are far apart, and each is as high as the next
    spectrum = torch.fft.rfft(samples[0] * torch.hann_window(samples.shape[1])).abs()
    lines = torch.stack(
        [
            spectrum[round(k * f0_hz * 20) + torch.arange(-3, 4)].square().sum()
            for k in range(1, int(4000 / f0_hz) + 1)
        ]
    )
    assert float((lines / lines.mean() - 1).abs().max()) < 0.01
    assert float(lines.sum() / spectrum.square().sum()) > 0.999


def test_the_noise_is_normal_and_always_the_same() -> None:
    noise = noise_table()
    assert noise.shape == (NOISE_SAMPLES,) and torch.equal(noise, noise_table())
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.var()) - 1) < 0.03
    torch.manual_seed(5)
    assert torch.equal(noise, noise_table()), "whatever the seed of the program"
