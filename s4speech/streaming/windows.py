"""Where to cut a long recording."""

import numpy as np

from s4speech.audio.io import Samples

_HOP_S = 0.01
_SMOOTH_HOPS = 20  # 0.2 s: a pause, not the closure of one stop consonant
_SEARCH_S = 5.0  # how far before the limit a cut may be


def cut_windows(samples: Samples, sample_rate_hz: int, max_window_s: float = 20.0) -> list[slice]:
    """Cut (S,) samples into adjoining windows of at most ``max_window_s`` seconds each.

    Each cut is where 0.2 s of audio have the least energy, among the last 5 s that the window may have
    (a quarter of shorter windows), so that it falls between words wherever there is a pause.
    """
    hop = max(1, round(_HOP_S * sample_rate_hz))
    longest = max(1, round(max_window_s * sample_rate_hz))
    search = min(round(_SEARCH_S * sample_rate_hz), longest // 4)
    windows: list[slice] = []
    start = 0
    while (left := len(samples) - start) > longest:
        # What is left must not become a last window of a syllable: share it between two when it is short.
        low = min(longest - search, left // 2)
        high = min(longest, left - search)
        end = start + low + _quietest(samples[start + low : start + high], hop)
        windows.append(slice(start, end))
        start = end
    windows.append(slice(start, len(samples)))
    return windows


def _quietest(samples: Samples, hop: int) -> int:
    """Return the index at the middle of the quietest 0.2 s, or the middle when there is less than that."""
    hops = len(samples) // hop
    if hops < _SMOOTH_HOPS:
        return len(samples) // 2
    energy = np.square(samples[: hops * hop].astype(np.float64)).reshape(hops, hop).sum(1)
    smooth = np.convolve(energy, np.ones(_SMOOTH_HOPS), mode="valid")
    return (int(smooth.argmin()) * 2 + _SMOOTH_HOPS) * hop // 2
