"""SpecAugment: what it masks, what it warps, and what it never touches."""

import torch
from torch import Tensor

from s4speech.audio.specaugment import spec_augment

NONE = {"time_warp": 0, "freq_masks": 0, "time_masks": 0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ones(lengths: list[int], bands: int = 80) -> tuple[Tensor, Tensor]:
    return torch.ones(len(lengths), max(lengths), bands), torch.tensor(lengths)


def spans(mask: Tensor) -> list[tuple[int, int]]:
    """(start, width) of the runs of true."""
    edges = torch.diff(torch.cat([torch.zeros(1), mask.float(), torch.zeros(1)]))
    starts, stops = (edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()
    return [(a, b - a) for a, b in zip(starts, stops, strict=True)]


def test_nothing_asked_nothing_done() -> None:
    x, lengths = torch.randn(2, 50, 80), torch.tensor([50, 30])
    given = x.clone()
    assert torch.equal(spec_augment(x, lengths, **NONE), x)  # type: ignore[arg-type]
    spec_augment(x, lengths)
    assert torch.equal(x, given), "the input is changed in place"


def test_frequency_masks_cover_whole_bands_of_at_most_their_width() -> None:
    x, lengths = ones([40] * 200)
    y = spec_augment(x, lengths, **{**NONE, "freq_masks": 1, "freq_width": 27}, generator=generator())
    assert set(y.unique().tolist()) == {0.0, 1.0}
    widths, places = set(), set()
    for row in y:
        assert torch.equal(row, row[:1].expand_as(row)), "the same bands in every frame"
        found = spans(row[0] == 0)
        assert len(found) <= 1
        for start, width in found:
            widths.add(width)
            places |= {start, start + width - 1}
    assert max(widths) == 27 and min(widths) <= 2 and {0, 79} <= places
    y = spec_augment(x, lengths, **{**NONE, "freq_masks": 3, "freq_width": 10}, generator=generator())
    assert max(int((row[0] == 0).sum()) for row in y) in range(11, 31)


def test_time_masks_follow_each_rows_length() -> None:
    lengths = [200] * 100 + [60] * 100
    x, n = ones(lengths, bands=4)
    y = spec_augment(x, n, **{**NONE, "time_masks": 1, "time_ratio": 0.1}, generator=generator())
    widths: dict[int, set[int]] = {200: set(), 60: set()}
    for row, length in zip(y, lengths, strict=True):
        assert torch.equal(row, row[:, :1].expand_as(row)), "the same frames in every band"
        assert (row[length:] == 1).all(), "padding is not masked"
        widths[length] |= {width for _, width in spans(row[:, 0] == 0)}
    assert max(widths[200]) == 20 and max(widths[60]) == 6


def test_rows_and_calls_differ_and_a_seed_repeats() -> None:
    x, n = ones([100, 100])
    first, again, other = (spec_augment(x, n, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_warping_moves_a_point_by_a_few_frames_and_keeps_the_ends_and_the_padding() -> None:
    n = torch.tensor([100, 60, 12])
    ramp = torch.arange(100.0).view(1, -1, 1).repeat(3, 1, 2)
    furthest = 0.0
    for seed in range(30):
        y = spec_augment(ramp, n, **{**NONE, "time_warp": 5}, generator=generator(seed))
        for row, length in zip(y, n.tolist(), strict=True):
            assert torch.equal(row[length:], ramp[0, length:])
            assert (row[:length].diff(dim=0) >= 0).all(), "time never runs backwards"
            assert row[0, 0] < 4 and row[length - 1, 0] > length - 4  # means of at most 6 frames
            furthest = max(furthest, float((row[:, 0] - ramp[0, :, 0]).abs().max()))
        assert torch.equal(y[2], ramp[2]), "too short to warp"
    assert 3.0 < furthest < 7.0


def test_the_shortest_rows() -> None:
    x, n = torch.randn(3, 13, 80), torch.tensor([13, 1, 0])
    assert spec_augment(x, n, generator=generator()).isfinite().all()
