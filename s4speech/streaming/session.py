"""A stream of speech in, its words out while they are spoken."""

import operator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4speech.audio.blocks import check_rate
from s4speech.audio.io import Samples, prepare_samples
from s4speech.errors import InputError
from s4speech.streaming.events import Event
from s4speech.streaming.stream import Stream, hear_chunks


class Session:
    """One stream, from `Recognizer.stream`. It may last for days: memory and time a chunk do not grow with
    the S4 decoder (the state of a Transformer decoder grows with the words).

    Leaving a `with` drops the words that are not finished: call `finish` in it, as here.

    Threads may each use a session of their own of one recogniser; one session belongs to one thread.

    >>> with recognizer.stream() as session:
    ...     for block in microphone:
    ...         for event in session.accept(block, 48000):
    ...             print(event)
    ...     print(session.finish())
    """

    def __init__(self, stream: Stream) -> None:
        self._stream: Stream | None = stream

    @property
    def stream(self) -> Stream:
        """What is driven. Raises ValueError: the session is finished."""
        if self._stream is None:
            raise ValueError(
                "session finished: it takes no more audio; begin another with Recognizer.stream()"
            )
        return self._stream

    def accept(self, samples: NDArray[Any], sample_rate: int) -> list[Event]:
        """Hear some more audio; what that makes known.

        Args:
            samples: (S,) or (S, channels), any S; floats in [-1, 1] or signed integers.
            sample_rate: of these samples, a whole number of 1000 to 768000 Hz. It may change from call to
                call.

        Raises InputError, and takes nothing of these samples: not finite, misshapen, or a bad rate.
        ValueError: the session is finished.
        """
        stream, mono = self.stream, check_samples(samples, sample_rate)
        events: list[Event] = []
        for start in range(0, len(mono), sample_rate):  # by the second: hours at once need no second copy
            stream.push(mono[start : start + sample_rate], sample_rate)
            while stream.ready:
                events += hear_chunks([stream])[0]
        return events

    def finish(self) -> list[Event]:
        """End the stream: the last words. A second call returns nothing."""
        if self._stream is None:
            return []
        stream, self._stream = self._stream, None
        return stream.end()

    def close(self) -> None:
        """Let go of the stream; words that were not asked for with `finish` are lost."""
        self._stream = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_samples(samples: NDArray[Any], sample_rate: int) -> Samples:
    """Mono float32 (S,), S >= 0. Raises InputError: not finite, misshapen, or a bad rate."""
    try:
        check_rate(operator.index(sample_rate), "samples")
    except TypeError as error:
        raise InputError(f"samples: sample rate {sample_rate!r}; wanted a whole number of Hz") from error
    samples = np.asarray(samples)
    if samples.ndim in (1, 2) and not len(samples):
        return np.zeros(0, np.float32)
    return prepare_samples(samples, sample_rate, sample_rate, min_samples=1)
