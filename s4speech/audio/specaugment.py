"""SpecAugment (Park et al. 2019, arXiv 1904.08779)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def spec_augment(
    features: Tensor,
    lengths: Tensor,
    *,
    time_warp: int = 5,
    freq_masks: int = 2,
    freq_width: int = 27,
    time_masks: int = 10,
    time_ratio: float = 0.05,
    generator: torch.Generator | None = None,
) -> Tensor:
    """features (B, T, F) normalised to zero mean, lengths (B,) -> augmented copy of the same shape.

    time_warp: a point of the utterance moves by up to so many frames. freq_width: bands a frequency mask at
    most covers. time_ratio: part of the utterance a time mask at most covers. Masked cells are 0 (the mean).
    """
    b, t, f = features.shape
    if time_warp:
        features = torch.stack(
            [_warp(row, int(n), time_warp, generator) for row, n in zip(features, lengths, strict=True)]
        )
    keep_f = ~_masks(torch.full((b,), f), freq_masks, torch.full((b,), float(freq_width)), f, generator)
    keep_t = ~_masks(lengths.cpu(), time_masks, lengths.cpu() * time_ratio, t, generator)
    keep = keep_t.unsqueeze(2) & keep_f.unsqueeze(1)
    return features * keep.to(features.device)


def _masks(
    sizes: Tensor, count: int, widths: Tensor, total: int, generator: torch.Generator | None
) -> Tensor:
    """(B, total) bool, true inside one of `count` spans a row, each uniform in width and place."""
    width = torch.rand(len(sizes), count, 1, generator=generator) * (widths.view(-1, 1, 1) + 1)
    width = width.floor()
    places = sizes.view(-1, 1, 1) - width + 1
    start = (torch.rand(len(sizes), count, 1, generator=generator) * places).floor()
    index = torch.arange(total).view(1, 1, -1)
    return ((index >= start) & (index < start + width)).any(1)


def _warp(row: Tensor, length: int, window: int, generator: torch.Generator | None) -> Tensor:
    if length <= 2 * window + 2:
        return row
    centre = int(torch.randint(window + 1, length - window, (1,), generator=generator))
    target = centre + int(torch.randint(-window, window + 1, (1,), generator=generator))
    left, right = row[:centre].T.unsqueeze(0), row[centre:length].T.unsqueeze(0)
    warped = [
        F.interpolate(part, size, mode="linear", align_corners=False)[0].T
        for part, size in ((left, target), (right, length - target))
    ]
    return torch.cat([*warped, row[length:]])
