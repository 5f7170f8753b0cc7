"""The vocoder's loss: what it measures, and that the right amount of noise is its minimum."""

import math

import pytest
import torch
from torch import Tensor

from s4speech.audio.mel import MelFrames
from s4speech.config.tts import MelConfig, VocoderConfig, VocoderTrainConfig
from s4speech.data.vocoder import Segments
from s4speech.models.vocoder.vocoder import Vocoder
from s4speech.train.vocoder import VocoderTask, distance, log_spectra
from tests.oracles.compare import frames

MEL = MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=10)
WINDOWS = [32, 64, 256]


def build(voiced: float = 0.0, unvoiced: float = 0.0) -> VocoderTask:
    """A vocoder that says of every frame: harmonics and noise so many nepers above the envelope."""
    torch.manual_seed(0)
    size = {"d_model": 16, "n_layers": 2, "d_ff": 24, "d_state": 4, "kernel_size": 3}
    model = Vocoder(MEL, VocoderConfig(**size, s4d_every=2))
    torch.nn.init.zeros_(model.head.weight)
    with torch.no_grad():
        model.head.bias[: model.bins] = voiced
        model.head.bias[model.bins : 2 * model.bins] = unvoiced
    return VocoderTask(model, VocoderTrainConfig(epochs=1, windows=WINDOWS, frames=100))


def noisy_speech(harmonic: float = 0.0, rows: int = 8, t: int = 100) -> Segments:
    """Noise of a level that wanders, plus so much of pulses at 450 Hz, several in a window of the frames."""
    samples = 0.1 * frames(rows, t * MEL.hop, dtype=torch.float32)
    time = torch.arange(t * MEL.hop) / MEL.sample_rate
    tone = sum((2 * math.pi * 450 * k * time).cos() for k in range(1, 9)) * (4 * 450 / 8000) ** 0.5
    samples = samples * (1 + 0.5 * (9 * time).sin()) + 0.1 * harmonic * tone
    return Segments(MelFrames(**MEL.model_dump()).frames(samples), torch.full((rows, t), 450.0), samples)


def loss_of(task: VocoderTask, batch: Segments) -> tuple[float, float]:
    with torch.no_grad():
        loss, near = task.losses(batch, torch.Generator().manual_seed(0))[:2]
    return float(loss), float(near)


def test_the_loss_is_least_with_the_right_amount_of_noise() -> None:
    batch = noisy_speech()
    right, *wrong = (loss_of(build(-8.0, level), batch)[0] for level in (0.0, -1.0, -0.4, 0.4, 1.0))
    assert right < min(wrong) - 0.02
    less, _, _, more = wrong
    assert less > wrong[1] and more > wrong[2], "further off is worse"


def test_the_gradient_points_to_the_right_amount_of_noise() -> None:
    batch = noisy_speech()
    slopes = []
    for level in (-0.5, 0.5):
        task = build(-8.0, level)
        task.losses(batch, torch.Generator().manual_seed(0))[0].backward()
        grad = task.model.head.bias.grad
        assert grad is not None
        slopes.append(float(grad[task.model.bins : 2 * task.model.bins].sum()))
    assert slopes[0] < -0.1 and slopes[1] > 0.1


def test_noise_is_not_replaced_by_harmonics_nor_harmonics_by_noise() -> None:
    noise, voice = noisy_speech(), noisy_speech(harmonic=3.0)
    hiss, buzz = build(-8.0, 0.0), build(-0.1, -1.2)
    assert loss_of(hiss, noise)[0] < loss_of(buzz, noise)[0] - 0.1
    assert loss_of(buzz, voice)[0] < loss_of(hiss, voice)[0] - 0.1


def test_a_waveform_without_noise_is_near_but_not_alike() -> None:
    """Why two draws (Gritsenko et al. 2020): the median spectrum is nearer to noise than other noise is."""
    real, one, other = (log_spectra(frames(4, 4096, seed=i).float(), 8000, WINDOWS) for i in range(3))
    flat = [part.median(1, keepdim=True).values.expand_as(part) for part in real]
    assert float(distance(real, flat)) < float(distance(real, one)) - 0.1
    energy = distance(real, one) + distance(real, other) - distance(one, other)
    assert float(2 * distance(real, flat)) > float(energy) + 0.1


def test_the_spectra_of_white_noise_are_around_one_and_the_ear_counts_low_bins_more() -> None:
    samples = frames(4, 40_000, dtype=torch.float32)
    for spectrum, size in zip(log_spectra(samples, 8000, WINDOWS), WINDOWS, strict=True):
        assert spectrum.shape == (4, (40_000 - size) // (size // 4) + 1, size // 2 + 1)
        # of silence only the floor is left, times the weight
        weight = log_spectra(torch.zeros(1, 4096), 8000, [size])[0][0, 0] / math.log(1e-4)
        assert float(weight.mean()) == pytest.approx(1.0, abs=1e-5) and bool((weight.diff() < 0).all())
        power = (2 * spectrum / weight).exp().mean((0, 1))
        assert float((power[1:-1] - 1).abs().max()) < 0.12


def test_the_distance_is_a_mean_over_windows() -> None:
    a, b = frames(2, 3, 4), frames(2, 5, 6, seed=2)
    assert float(distance([a, b], [a, b])) == 0
    assert float(distance([a, b], [a + 1, b - 3])) == pytest.approx(2.0)


def test_the_ends_of_a_piece_do_not_count() -> None:
    """The windows there lack what is beyond the piece."""
    task, batch = build(), noisy_speech(rows=2)
    edge = MEL.n_fft // 2

    def with_ends(value: float) -> Segments:
        samples = batch.samples.clone()
        samples[:, :edge] = samples[:, -edge:] = value
        return batch._replace(samples=samples)

    assert loss_of(task, with_ends(0.0)) == loss_of(task, with_ends(0.9))


def test_every_parameter_learns_and_the_draws_follow_the_generator() -> None:
    task, batch = build(), noisy_speech(rows=2)
    torch.nn.init.normal_(task.model.head.weight, std=0.01)

    def losses(seed: int) -> Tensor:
        return task.losses(batch, torch.Generator().manual_seed(seed))[0]

    assert float(losses(1).detach()) == float(losses(1).detach()) != float(losses(2).detach())
    losses(1).backward()
    silent = [n for n, p in task.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in task.model.parameters() if p.grad is not None)


def test_silence_has_a_finite_loss_and_gradient() -> None:
    task = build()
    silence = torch.zeros(2, 100 * MEL.hop)
    mel = MelFrames(**MEL.model_dump()).frames(silence)
    loss = task.losses(Segments(mel, torch.full((2, 100), 100.0), silence))[0]
    loss.backward()
    assert torch.isfinite(loss.detach())
    assert all(torch.isfinite(p.grad).all() for p in task.model.parameters() if p.grad is not None)
