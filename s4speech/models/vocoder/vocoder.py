"""Vocoder: an S4D/convolution network filters a harmonic source and noise in the short-time spectrum.

A source-filter model (Wang et al. 2019, "Neural source-filter waveform models") whose filters are spectra and
whose output is an inverse STFT (Siuzdak 2023, Vocos). The phase of voiced sound comes from the source, so
that the network has envelopes to learn and not phases: hours of training instead of weeks.

It is causal but for `lookahead` frames: the network is causal and reads its input that much later.
"""

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s4speech.audio.mel import MelFrames
from s4speech.config.tts import MelConfig, VocoderConfig
from s4speech.layers import S4D, CausalConv, Chain, FeedForward, Residual
from s4speech.models.vocoder.source import NOISE_SAMPLES, harmonics, noise_table

if TYPE_CHECKING:
    from s4speech.models.vocoder.frozen import FrozenVocoder

PITCH_SCALE = 200.0  # Hz: pitch enters the network as log(f0 / 200 Hz)
CLIP = 8.0  # nepers: what the network may add to or take from the envelope of the mel frames


class Filters(NamedTuple):
    """Of T frames, F = n_fft / 2 + 1 bins: voiced (B, T, F) complex, unvoiced (B, T, F) real."""

    voiced: Tensor
    unvoiced: Tensor


class Vocoder(nn.Module):
    """log-mel and pitch -> samples. What is voiced it sees in the frames: pitch trackers err about it.

    noise_scale: of the noise under louder harmonics, at synthesis; where noise is louder it is left alone. A
    pitch that is not quite the recording's makes training put noise in place of harmonics.
    """

    noise: Tensor
    window: Tensor
    spread: Tensor
    level: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, mel: MelConfig, config: VocoderConfig) -> None:
        super().__init__()
        self.mel, self.config, self.noise_scale = mel, config, 1.0
        d = config.d_model
        self.bins = mel.n_fft // 2 + 1
        self.input = nn.Linear(mel.n_mels + 1, d)
        self.network = Chain(*(_block(config, i) for i in range(config.n_layers)))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, 4 * self.bins)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        window = torch.hann_window(mel.n_fft)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("noise", noise_table(), persistent=False)
        self.register_buffer("mean", torch.zeros(mel.n_mels))
        self.register_buffer("std", torch.ones(mel.n_mels))
        spread, level = _envelope(mel, window)
        self.register_buffer("spread", spread, persistent=False)
        self.register_buffer("level", level, persistent=False)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Of each mel band, (n_mels,): what the network's input is normalised with."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    @property
    def side(self) -> int:
        """Samples that a frame's window reaches over its hop, on each side."""
        return (self.mel.n_fft - self.mel.hop) // 2

    def embed(self, mel: Tensor, f0: Tensor) -> Tensor:
        """(B, T, n_mels), (B, T) Hz -> (B, T, D)."""
        pitch = (f0 / PITCH_SCALE).log().unsqueeze(-1)
        y: Tensor = self.input(torch.cat([(mel - self.mean) / self.std, pitch], -1))
        return y

    def filters(self, hidden: Tensor, mel: Tensor) -> Filters:
        """Output of the network (B, T, D) and its frames (B, T, n_mels) -> the filters."""
        raw: Tensor = self.head(self.norm(hidden))
        wide = torch.promote_types(raw.dtype, torch.float32)  # under autocast it is bfloat16
        raw, mel = raw.to(wide), mel.to(wide)
        voiced, unvoiced, real, imaginary = torch.split(raw, self.bins, -1)
        envelope = (mel - self.level) @ self.spread  # log amplitude
        voiced, unvoiced = envelope + voiced.clamp(-CLIP, CLIP), envelope + unvoiced.clamp(-CLIP, CLIP)
        response, noise = minimum_phase(voiced), unvoiced.exp()
        if self.noise_scale != 1.0:
            share = torch.sigmoid(2 * (unvoiced - voiced))  # of the noise in the power of a bin
            noise = noise * (share + self.noise_scale * (1 - share))
        # what is learnt on top starts at phase 0, and is smooth where the phase wraps around
        phase = torch.complex(1 + real, imaginary)
        phase = phase / phase.abs().clamp(min=1e-3)
        return Filters(response * phase, noise)

    def forward(self, mel: Tensor, f0: Tensor) -> Filters:
        """mel (B, T, n_mels), f0 (B, T) Hz at the end of each frame, never 0: a guess where unvoiced."""
        ahead = self.config.lookahead
        x = F.pad(self.embed(mel, f0).transpose(1, 2), (0, ahead), mode="replicate").transpose(1, 2)
        hidden = self.network(x)[:, ahead:]
        return self.filters(hidden, mel)

    def waveform(self, filters: Filters, f0: Tensor, noise: Tensor, phase: Tensor | None = None) -> Tensor:
        """Filtered sources: noise (B, T * hop) standard normal -> samples (B, T * hop).

        phase: (B,) float64 cycles at which the harmonics begin, None: 0.
        """
        phase = torch.zeros(len(f0), dtype=torch.float64, device=f0.device) if phase is None else phase
        source, _ = harmonics(f0, f0[:, 0], phase, self.mel.hop, self.mel.sample_rate)
        spectrum = filters.voiced * self.analyse(source) + filters.unvoiced * self.analyse(noise)
        side, size = self.side, source.shape[1]
        return overlap_add(self.synthesise(spectrum), self.mel.hop)[:, side : side + size]

    def analyse(self, samples: Tensor) -> Tensor:
        """samples (B, T * hop) -> spectra of the windows around each hop (B, T, F)."""
        padded = F.pad(samples, (self.side, self.mel.n_fft - self.mel.hop - self.side))
        spectra: Tensor = torch.fft.rfft(padded.unfold(1, self.mel.n_fft, self.mel.hop) * self.window)
        return spectra

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """Spectra (B, T, F) -> windows (B, T, n_fft) whose overlapping sum is the waveform."""
        gain = self.mel.hop / self.window.square().sum()  # squared windows add up to a constant
        windows: Tensor = torch.fft.irfft(spectrum, self.mel.n_fft) * (self.window * gain)
        return windows

    @torch.inference_mode()
    def whole(self, mel: Tensor, f0: Tensor) -> Tensor:
        """Frames of one or more whole utterances -> samples (B, T * hop), with the noise of a stream."""
        size = mel.shape[1] * self.mel.hop
        noise = self.noise.repeat(-(-size // NOISE_SAMPLES))[:size].expand(len(mel), -1)
        return self.waveform(self(mel, f0), f0, noise)

    def freeze(self) -> "FrozenVocoder":
        """The form for streams; immutable, safe to share between threads."""
        from s4speech.models.vocoder.frozen import FrozenVocoder

        return FrozenVocoder(self)


def _block(config: VocoderConfig, index: int) -> Residual:
    mixer = (
        S4D(config.d_model, config.d_state, dt_min=1e-2, dt_max=1.0)
        if index % config.s4d_every == 0
        else CausalConv(config.d_model, config.kernel_size)
    )
    return Residual(Chain(mixer, FeedForward(config.d_model, config.d_ff)))


def _envelope(mel: MelConfig, window: Tensor) -> tuple[Tensor, Tensor]:
    """(n_mels, F) that spreads log powers of bands to log amplitudes of bins; (n_mels,) of white noise."""
    bank = MelFrames(**mel.model_dump()).filterbank  # (F, n_mels)
    level = (bank.sum(0) * window.square().sum()).clamp(min=1e-6).log()
    centres = bank.argmax(0)
    spread = torch.zeros(mel.n_mels, len(bank))
    for k in range(len(bank)):
        after = int((centres <= k).sum())
        low, high = max(after - 1, 0), min(after, mel.n_mels - 1)
        between = int(centres[high] - centres[low])
        part = (k - float(centres[low])) / between if between > 0 else 0.0
        part = min(max(part, 0.0), 1.0)
        spread[low, k] += 0.5 * (1 - part)
        spread[high, k] += 0.5 * part
    return spread, level


def minimum_phase(log_magnitude: Tensor) -> Tensor:
    """log amplitudes (..., F) of n = 2 (F - 1) bins -> the complex response whose energy comes first.

    A vocal tract is such a filter. Its log amplitude and its phase are the transform of a causal cepstrum
    (Oppenheim and Schafer, Discrete-Time Signal Processing, section 13.5).
    """
    n = 2 * (log_magnitude.shape[-1] - 1)
    cepstrum = torch.fft.irfft(log_magnitude, n)
    fold = torch.zeros(n, device=log_magnitude.device)
    fold[0], fold[1 : n // 2], fold[n // 2] = 1.0, 2.0, 1.0
    log_response = torch.fft.rfft(cepstrum * fold)
    return torch.polar(log_response.real.exp(), log_response.imag)  # complex exp is not vectorised


def overlap_add(windows: Tensor, hop: int) -> Tensor:
    """windows (B, T, n) every `hop` samples -> their sum (B, (T - 1) hop + n)."""
    b, t, n = windows.shape
    parts = windows.reshape(b, t, n // hop, hop)
    total = sum(F.pad(parts[:, :, i], (0, 0, i, n // hop - 1 - i)) for i in range(n // hop))
    return cast(Tensor, total).flatten(1)
