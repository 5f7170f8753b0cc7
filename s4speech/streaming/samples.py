"""Samples that wait: put in by any number, taken out in blocks."""

import numpy as np

from s4speech.audio.io import Samples


class SampleQueue:
    """First in, first out. The memory it takes follows what it holds."""

    def __init__(self) -> None:
        self._data: Samples = np.zeros(0, np.float32)
        self._start = self._stop = 0

    def __len__(self) -> int:
        return self._stop - self._start

    def push(self, samples: Samples) -> None:
        """Put (S,) samples in."""
        held = len(self)
        if self._stop + len(samples) > len(self._data):
            # A new array of twice what is held now: copying is amortised, and a backlog is given back.
            data = np.empty(2 * (held + len(samples)), np.float32)
            data[:held] = self._data[self._start : self._stop]
            self._data, self._start, self._stop = data, 0, held
        self._data[self._stop : self._stop + len(samples)] = samples
        self._stop += len(samples)

    def peek(self, count: int) -> Samples:
        """The first ``count`` samples, or all there are; not to be written to."""
        return self._data[self._start : min(self._start + count, self._stop)]

    def take(self, count: int, advance: int | None = None) -> Samples:
        """As `peek`, and ``advance`` of them (None: all of them) leave the queue."""
        samples = self.peek(count)
        self._start += len(samples) if advance is None else min(advance, len(samples))
        return samples
