"""Where to cut a long recording."""

from collections.abc import Iterable, Iterator

import numpy as np

from s4speech.audio.io import Samples
from s4speech.streaming.samples import SampleQueue

_HOP_S = 0.01
_SMOOTH_HOPS = 20  # 0.2 s: a pause, not the closure of one stop consonant
_SEARCH_S = 5.0  # how far before the limit a cut may be


def cut_windows(samples: Samples, sample_rate_hz: int, max_window_s: float = 20.0) -> list[slice]:
    """Cut (S,) samples into adjoining windows of at most ``max_window_s`` seconds each.

    Each cut is where 0.2 s of audio have the least energy, among the last 5 s that the window may have
    (a quarter of shorter windows), so that it falls between words wherever there is a pause.
    """
    longest = _longest(sample_rate_hz, max_window_s)
    windows: list[slice] = []
    start = 0
    while len(samples) - start > longest:
        end = start + _cut(samples[start:], sample_rate_hz, longest)
        windows.append(slice(start, end))
        start = end
    windows.append(slice(start, len(samples)))
    return windows


def iter_windows(
    blocks: Iterable[Samples], sample_rate_hz: int, max_window_s: float = 20.0
) -> Iterator[tuple[int, Samples]]:
    """The windows of `cut_windows`, each with its first sample, of a recording that comes in blocks.

    Two windows are held in memory.
    """
    longest = _longest(sample_rate_hz, max_window_s)
    queue, start = SampleQueue(), 0
    for block in blocks:
        for first in range(0, len(block), longest):
            queue.push(block[first : first + longest])
            while len(queue) > 2 * longest:  # then where to cut does not depend on what follows
                window = queue.take(_cut(queue.peek(2 * longest), sample_rate_hz, longest))
                yield start, window
                start += len(window)
    rest = queue.take(len(queue))
    for where in cut_windows(rest, sample_rate_hz, max_window_s):
        yield start + where.start, rest[where]


def _longest(sample_rate_hz: int, max_window_s: float) -> int:
    return max(1, round(max_window_s * sample_rate_hz))


def _cut(samples: Samples, sample_rate_hz: int, longest: int) -> int:
    """Where the first window of more than ``longest`` samples ends."""
    hop, left = max(1, round(_HOP_S * sample_rate_hz)), len(samples)
    search = min(round(_SEARCH_S * sample_rate_hz), longest // 4)
    # What is left must not become a last window of a syllable: share it between two when it is short.
    low, high = min(longest - search, left // 2), min(longest, left - search)
    return low + _quietest(samples[low:high], hop)


def _quietest(samples: Samples, hop: int) -> int:
    """Return the index at the middle of the quietest 0.2 s, or the middle when there is less than that."""
    hops = len(samples) // hop
    if hops < _SMOOTH_HOPS:
        return len(samples) // 2
    energy = np.square(samples[: hops * hop].astype(np.float64)).reshape(hops, hop).sum(1)
    smooth = np.convolve(energy, np.ones(_SMOOTH_HOPS), mode="valid")
    return (int(smooth.argmin()) * 2 + _SMOOTH_HOPS) * hop // 2
