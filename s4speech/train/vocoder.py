"""Training of the vocoder with Lightning."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from s4speech.config.tts import AdversarialConfig, VocoderTrainConfig
from s4speech.data.vocoder import Segments
from s4speech.models.vocoder.discriminator import Discriminator, feature_loss, fool_loss, judge_loss
from s4speech.models.vocoder.vocoder import Vocoder
from s4speech.train.optim import build_optimizer
from s4speech.train.trainer import Task, run_trainer

FLOOR = 1e-4  # of a magnitude, under its logarithm


def log_spectra(samples: Tensor, sample_rate: int, windows: Sequence[int]) -> list[Tensor]:
    """Log magnitudes in short-time spectra with several windows: (B, S) -> (B, frames, bins) each.

    White noise of variance 1 has magnitudes around 1 in all of them. Bins are weighted with the root of how
    densely the ear's filters lie there (Glasberg and Moore 1990), 1 on average.
    """
    spectra = []
    for size in windows:
        window = torch.hann_window(size, device=samples.device)
        frames = samples.unfold(1, size, size // 4) * (window * window.square().sum().rsqrt())
        spectrum = torch.fft.rfft(frames)
        power = spectrum.real.square() + spectrum.imag.square()
        hertz = torch.linspace(0, sample_rate / 2, power.shape[-1], device=samples.device)
        weight = (1 + 4.37e-3 * hertz).rsqrt()
        spectra.append(0.5 * (power + FLOOR**2).log() * (weight / weight.mean()))
    return spectra


def distance(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Mean absolute difference of log spectra: a scalar."""
    return torch.stack([F.l1_loss(a, b) for a, b in zip(first, second, strict=True)]).mean()


class VocoderTask(Task):
    """One training step, one validation step. The model itself knows nothing of Lightning."""

    config: VocoderTrainConfig
    model: Vocoder

    def __init__(self, model: Vocoder, config: VocoderTrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def losses(
        self, batch: Segments, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Spectral energy distance (Gritsenko et al. 2020, eq. 4), the distance of one draw, that draw.

        Two draws for the same frames: unlike a distance alone, whose minimum is the least noisy waveform, the
        energy distance is least where the draws are distributed as the recordings are.
        """
        mel, f0, samples = batch
        filters = self.model(mel, f0)
        with torch.autocast(samples.device.type, enabled=False):
            draws = []
            for _ in range(2):
                noise = torch.randn(samples.shape, generator=generator, device=samples.device)
                phase = torch.rand(len(f0), generator=generator, dtype=torch.float64, device=f0.device)
                draws.append(self.model.waveform(filters, f0, noise, phase))
            # what the first and the last frames lack is not the network's fault
            edge = self.model.mel.n_fft // 2
            rate, windows = self.model.mel.sample_rate, self.config.windows
            real, one, other = (log_spectra(x[:, edge:-edge], rate, windows) for x in (samples, *draws))
            near = distance(real, one)
            return near + distance(real, other) - distance(one, other), near, draws[0]

    def training_step(self, batch: Segments, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        loss, near, _ = self.losses(batch)
        size = len(batch.samples)
        self.log_dict({"train/loss": loss, "train/distance": near}, batch_size=size)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=size)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"], batch_size=size)
        return loss

    def validation_step(self, batch: Segments, batch_idx: int) -> None:
        """The same, with the same noise in every epoch; some of it to listen to in TensorBoard."""
        generator = torch.Generator(device=batch.samples.device).manual_seed(batch_idx)
        loss, near, _ = self.losses(batch, generator)
        values = {"valid/loss": loss, "valid/distance": near}
        self.log_dict(values, batch_size=len(batch.samples), sync_dist=True, prog_bar=True)
        if batch_idx == 0:
            self._listen(batch)

    def _listen(self, batch: Segments) -> None:
        heard = self.model.whole(batch.mel[:2], batch.f0[:2])
        board = self.trainer.loggers[0].experiment  # type: ignore[attr-defined]
        for name, samples in (("vocoder", heard), ("real", batch.samples[:2])):
            sound = F.pad(samples, (0, 2000)).flatten().clamp(-1, 1).float().cpu()
            board.add_audio(f"valid/{name}", sound, self.global_step, self.model.mel.sample_rate)


class AdversarialTask(VocoderTask):
    """The same against discriminators: two optimisers, which take a step each in turn."""

    config: AdversarialConfig

    def __init__(self, model: Vocoder, config: AdversarialConfig) -> None:
        super().__init__(model, config)
        self.discriminator = Discriminator()
        self.automatic_optimization = False

    @property
    def progress(self) -> float:
        """Lightning counts the steps of both."""
        return super().progress / 2

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:  # type: ignore[override]
        """The vocoder's, as the config names it, and the discriminators'."""
        theirs = torch.optim.AdamW(
            self.discriminator.parameters(), lr=self.config.discriminator_lr, betas=(0.8, 0.99), fused=True
        )
        return [build_optimizer(self.model, self.config), theirs]

    def training_step(self, batch: Segments, batch_idx: int) -> None:  # type: ignore[override]
        """A step of the discriminators, then one of the vocoder."""
        ours, theirs = self.optimizers()  # type: ignore[attr-defined]
        spectral, near, draw = self.losses(batch)
        edge = self.model.mel.n_fft // 2
        real, fake = batch.samples[:, edge:-edge], draw[:, edge:-edge]
        judged = judge_loss(self.discriminator(real), self.discriminator(fake.detach()))
        theirs.zero_grad()
        self.manual_backward(judged)
        theirs.step()
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            seen = self.discriminator(real)
        said = self.discriminator(fake)
        fooled, features = fool_loss(said), feature_loss(seen, said)
        loss = self.config.spectral_weight * spectral + fooled + self.config.feature_weight * features
        ours.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        ours.step()
        self.discriminator.requires_grad_(True)
        values = {"loss": spectral, "distance": near, "judge": judged, "fool": fooled, "features": features}
        self.log_dict({f"train/{k}": v for k, v in values.items()}, batch_size=len(batch.samples))
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(batch.samples))


def fit(
    task: VocoderTask,
    train: DataLoader[Segments],
    valid: DataLoader[Segments],
    folder: Path,
    *,
    progress: bool = True,
) -> None:
    """Train, or continue; see `run_trainer`. The best checkpoints are those of validation loss; against
    discriminators, which make it larger, the last ones."""
    adversarial = isinstance(task, AdversarialTask)
    monitor, mode = ("epoch", "max") if adversarial else ("valid/loss", "min")
    run_trainer(task, train, valid, folder, monitor=monitor, mode=mode, progress=progress)
