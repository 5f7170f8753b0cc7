"""Speech without end for the bench: recordings one after another, again and again."""

import os
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from s4speech.audio.io import Samples, Source, read_blocks
from s4speech.errors import InputError
from s4speech.streaming.resample import Resampler

_WIDTH = 2  # bytes a sample


class AudioLoop:
    """Recordings at one rate, joined to a loop.

    They are in a file, as 16-bit samples: kept in this process they would be most of the memory that the
    bench looks at.
    """

    def __init__(
        self,
        file: IO[bytes],
        sources: Iterable[Source],
        sample_rate: int,
        *,
        grain: int = 1,
        limit: int | None = None,
    ) -> None:
        """Read the recordings, until there are ``limit`` samples, into a file that is empty and unbuffered.

        grain: the length of each is cut to a multiple of so many samples. Where grain is a model's chunk, a
        recording is cut into the same chunks alone and in the loop.

        Raises InputError: not audio, or nothing left of it.
        """
        self.sample_rate = sample_rate
        self.pieces: list[slice] = []  # where each recording is
        self._file = file
        for source in sources:
            self._add(source, grain, limit)
            if limit is not None and len(self) >= limit // grain * grain:
                break
        if not self.pieces:
            least = f"{1000 * grain / sample_rate:.0f} ms"
            raise InputError(f"bench: got no recording of {least}, which is one chunk; give longer ones")

    def __len__(self) -> int:
        return self.pieces[-1].stop if self.pieces else 0

    def read(self, start: int, count: int) -> NDArray[np.int16]:
        """Samples (count,) from ``start`` on, which may be anywhere: the loop has no end."""
        parts = []
        while count > 0:
            first = start % len(self)
            size = min(count, len(self) - first)
            # Not through the position of the file: threads share it.
            parts.append(os.pread(self._file.fileno(), size * _WIDTH, first * _WIDTH))
            start, count = start + size, count - size
        return np.frombuffer(b"".join(parts), np.int16)

    def _add(self, source: Source, grain: int, limit: int | None) -> None:
        start = stop = len(self)
        self._file.seek(start * _WIDTH)
        with read_blocks(source) as audio:
            resampler = Resampler(audio.sample_rate_hz, self.sample_rate)
            for block in audio:
                stop += self._write(resampler.push(block))
                if limit is not None and stop >= limit:
                    break
            else:
                stop += self._write(resampler.flush())
        if limit is not None:
            stop = min(stop, limit)
        if size := (stop - start) // grain * grain:
            self.pieces.append(slice(start, start + size))

    def _write(self, samples: Samples) -> int:
        self._file.write(np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16).tobytes())
        return len(samples)
