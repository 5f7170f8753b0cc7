"""From the rate of the source to the rate of the model, a piece at a time."""

import numpy as np
import soxr

from s4speech.audio.io import Samples
from s4speech.streaming.samples import SampleQueue

_BLOCK_S = 0.01


class Resampler:
    """Mono samples of one rate at another. How the input is cut changes nothing in the output.

    To 16 kHz it holds back up to 41 ms from 44.1 and 48 kHz, 80 ms from 96 kHz, 120 ms from 8 kHz.
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self.source_hz = source_hz
        # Without a change of rate the resampler would only add its delay.
        self._same = source_hz == target_hz
        self._stream = soxr.ResampleStream(source_hz, target_hz, 1, dtype="float32")
        self._block = max(1, round(_BLOCK_S * source_hz))
        self._waiting = SampleQueue()

    def push(self, samples: Samples) -> Samples:
        """(S,) samples in, any S; what is ready out."""
        if self._same:
            return samples
        self._waiting.push(samples)
        blocks = []
        # Blocks of one size, for rounding might follow the size.
        while len(self._waiting) >= self._block:
            blocks.append(self._stream.resample_chunk(self._waiting.take(self._block)))
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def flush(self) -> Samples:
        """The rest, at the end of the source; nothing may be pushed after it."""
        if self._same:
            return np.zeros(0, np.float32)
        rest: Samples = self._stream.resample_chunk(self._waiting.take(len(self._waiting)), last=True)
        return rest
