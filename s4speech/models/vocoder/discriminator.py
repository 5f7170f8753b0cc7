"""What a vocoder is trained against: small networks that tell recordings from its output.

Periods of the waveform (Kong et al. 2020, HiFi-GAN, section 2.3) and short-time spectra (Jang et al. 2021,
UnivNet, section 2.2), with a tenth of the channels: a CPU has to train them.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 5, 11)
WINDOWS = (256, 512, 1024)
SLOPE = 0.1  # of the leaky rectifiers
LOUDNESS = 10.0  # brings the waveform of speech to about 1
QUIET = 1e-3  # of a magnitude, under its logarithm


class PeriodDiscriminator(nn.Module):
    """Sees every p-th sample of a waveform in a column of its own."""

    def __init__(self, period: int, channels: Sequence[int] = (1, 16, 32, 64, 64)) -> None:
        super().__init__()
        self.period = period
        self.layers = nn.ModuleList(
            _normalised(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in pairwise(channels)
        )
        self.score = _normalised(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, samples: Tensor) -> list[Tensor]:
        """samples (B, S) -> what each layer says, the scores last."""
        padded = F.pad(LOUDNESS * samples, (0, -samples.shape[1] % self.period))
        return _run(torch.unflatten(padded, 1, (-1, self.period)).unsqueeze(1), self.layers, self.score)


class SpectrumDiscriminator(nn.Module):
    """Sees the log magnitudes of a short-time spectrum as a picture."""

    window: Tensor

    def __init__(self, size: int, channels: Sequence[int] = (1, 8, 16, 32, 32)) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size) * (2.0 / size), persistent=False)
        self.layers = nn.ModuleList(
            _normalised(nn.Conv2d(a, b, (3, 9), (1, 2), (1, 4))) for a, b in pairwise(channels)
        )
        self.score = _normalised(nn.Conv2d(channels[-1], 1, (3, 3), padding=1))

    def forward(self, samples: Tensor) -> list[Tensor]:
        """samples (B, S) -> what each layer says, the scores last."""
        with torch.autocast(samples.device.type, enabled=False):
            spectrum = torch.fft.rfft(samples.unfold(1, self.size, self.size // 4) * self.window)
            power = spectrum.real.square() + spectrum.imag.square()
            picture = 0.5 * (power + QUIET**2).log() + 4.0  # around 0
        return _run(picture.unsqueeze(1), self.layers, self.score)


def _normalised(layer: nn.Conv2d) -> nn.Module:
    """With weights that keep the size of what goes through: PyTorch's own make it a tenth in four layers."""
    nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
    normalised: nn.Module = weight_norm(layer)
    return normalised


def _run(x: Tensor, layers: nn.ModuleList, score: nn.Module) -> list[Tensor]:
    outputs = []
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        outputs.append(x)
    outputs.append(score(x))
    return outputs


class Discriminator(nn.Module):
    """All of them."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            [
                *(PeriodDiscriminator(period) for period in PERIODS),
                *(SpectrumDiscriminator(size) for size in WINDOWS),
            ]
        )

    def forward(self, samples: Tensor) -> list[list[Tensor]]:
        """samples (B, S) -> the outputs of each part."""
        return [part(samples) for part in self.parts]


def judge_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Least squares: recordings are 1, the rest is 0 (Mao et al. 2017)."""
    parts = [
        (1 - a[-1].float()).square().mean() + b[-1].float().square().mean()
        for a, b in zip(real, fake, strict=True)
    ]
    return torch.stack(parts).mean()


def fool_loss(fake: list[list[Tensor]]) -> Tensor:
    """What the vocoder minimises: that its output is taken for a recording."""
    return torch.stack([(1 - part[-1].float()).square().mean() for part in fake]).mean()


def feature_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Mean difference of what the layers say (Kumar et al. 2019, MelGAN, eq. 4)."""
    differences = [
        F.l1_loss(b.float(), a.detach().float())
        for ours, theirs in zip(real, fake, strict=True)
        for a, b in zip(ours[:-1], theirs[:-1], strict=True)
    ]
    return torch.stack(differences).mean()
