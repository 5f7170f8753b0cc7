"""Which frames belong to which phone: an alignment learned from pairs of text and speech alone.

Frames and phones are embedded by convolutions and compared by distance; the sum over all monotonic paths is
maximised (Badlani et al. 2022, "One TTS alignment to rule them all", arXiv 2108.10447).
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from s4speech.config.tts import AlignerConfig
from s4speech.layers.sequence import length_mask

BLANK = -1.0  # log probability of the blank that the sum over paths needs, before normalisation
PRIOR_WIDTH = 1.0  # omega of the beta-binomial prior: larger is nearer to the diagonal


class Aligner(nn.Module):
    """Log probabilities of the phones at each frame.

    n_quiet: the first so many symbols, the marks of pauses, of the beginning and of the end, are one and the
    same to it: silence. Otherwise the silence at a comma looks like that at a full stop, which is far more
    common, and the path gives it to the phones beside the comma.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, n_symbols: int, n_mels: int, config: AlignerConfig, n_speakers: int = 1, n_quiet: int = 1
    ) -> None:
        super().__init__()
        self.n_quiet = n_quiet
        d = config.d_model
        self.embedding = nn.Embedding(n_symbols, d)
        self.speaker = nn.Embedding(n_speakers, n_mels)
        nn.init.zeros_(self.speaker.weight)
        self.keys = nn.Sequential(
            nn.Conv1d(d, 2 * d, 3, padding=1), nn.ReLU(), nn.Dropout(config.dropout), nn.Conv1d(2 * d, d, 1)
        )
        self.queries = nn.Sequential(
            nn.Conv1d(n_mels, 2 * d, 5, padding=2),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Conv1d(2 * d, d, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(d, d, 1),
        )
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Of each mel band, (n_mels,): what the frames are normalised with."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(
        self, tokens: Tensor, token_lengths: Tensor, mel: Tensor, lengths: Tensor, speaker: Tensor
    ) -> Tensor:
        """tokens (B, N), mel (B, T, n_mels), speaker (B,) -> log probabilities (B, T, N) with the prior."""
        tokens = tokens.masked_fill(tokens < self.n_quiet, 0)
        phones = length_mask(token_lengths, tokens.shape[1])
        keys = _convolve(self.keys, self.embedding(tokens), phones)
        frames = (mel - self.mean) / self.std + self.speaker(speaker).unsqueeze(1)
        queries = _convolve(self.queries, frames, length_mask(lengths, mel.shape[1]))
        scale = keys.shape[-1] ** -0.5
        distance = (
            queries.square().sum(-1, keepdim=True)
            + keys.square().sum(-1).unsqueeze(1)
            - 2 * queries @ keys.transpose(1, 2)
        )
        scores = (-scale * distance).masked_fill(~phones.unsqueeze(1), -1e4)
        log_probs: Tensor = scores.log_softmax(-1)
        return log_probs + beta_binomial(token_lengths, lengths, *scores.shape[1:][::-1])


def _convolve(network: nn.Sequential, x: Tensor, mask: Tensor) -> Tensor:
    """x (B, T, D) -> (B, T, D'); mask (B, T): what is not true is silence to each convolution."""
    x = x.transpose(1, 2)
    for layer in network:
        x = layer(x.masked_fill(~mask.unsqueeze(1), 0.0))
    return x.transpose(1, 2).float()


def beta_binomial(token_lengths: Tensor, lengths: Tensor, n: int, t: int) -> Tensor:
    """log p(phone | frame) that favours the diagonal: (B, T, N) (Badlani et al. 2022, eq. 7)."""
    k = torch.arange(n, device=lengths.device, dtype=torch.float64)
    frame = torch.arange(1, t + 1, device=lengths.device, dtype=torch.float64).view(1, -1, 1)
    last = (token_lengths.double() - 1).view(-1, 1, 1)
    k = torch.minimum(k.view(1, 1, -1), last)
    total = lengths.double().view(-1, 1, 1)
    a, b = PRIOR_WIDTH * frame, PRIOR_WIDTH * (total - frame + 1).clamp(min=1)

    def log_beta(x: Tensor, y: Tensor) -> Tensor:
        return torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)

    choose = torch.lgamma(last + 1) - torch.lgamma(k + 1) - torch.lgamma(last - k + 1)
    return (choose + log_beta(k + a, last - k + b) - log_beta(a, b)).float()


def forward_sum_loss(log_probs: Tensor, token_lengths: Tensor, lengths: Tensor) -> Tensor:
    """Minus the log of the sum over all monotonic paths, a frame, mean over the batch: a scalar.

    It is CTC with the phones 1 .. N of each utterance as its labels (Shih et al. 2021, RAD-TTS).
    """
    padded = F.pad(log_probs, (1, 0), value=BLANK)
    mask = length_mask(token_lengths + 1, padded.shape[-1]).unsqueeze(1)
    labels = torch.arange(1, log_probs.shape[-1] + 1, device=log_probs.device).expand(len(lengths), -1)
    normal = padded.masked_fill(~mask, -1e4).log_softmax(-1).transpose(0, 1)
    losses = F.ctc_loss(normal, labels, lengths, token_lengths, reduction="none", zero_infinity=True)
    return (losses / lengths).mean()


def best_path(log_probs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Frames of each phone on the best monotonic path through (T, N): (N,), each at least 1, T in all.

    Raises ValueError: fewer frames than phones.
    """
    t, n = log_probs.shape
    if t < n:
        raise ValueError(f"log_probs: got {t} frames for {n} phones, wanted at least one each")
    score = np.full(n, -np.inf)
    score[0] = log_probs[0, 0]
    moved = np.zeros((t, n), bool)
    for i in range(1, t):
        before = np.concatenate([[-np.inf], score[:-1]])
        moved[i] = before > score
        score = np.maximum(before, score) + log_probs[i]
    durations = np.zeros(n, np.int64)
    phone = n - 1
    for i in range(t - 1, -1, -1):
        durations[phone] += 1
        phone -= int(moved[i, phone])
    return durations
