"""Ctrl-C and SIGTERM while audio is heard: what was said is finished first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A signal came while nothing was being computed."""


class StopSignals:
    """Within ``with``, the first signal only sets ``received``; the next one ends the process at once.

    >>> with StopSignals() as stop:
    ...     while stop.received is None:
    ...         with stop.waiting():
    ...             block = next(blocks)
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._waiting = False
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 for Ctrl-C, 143 for SIGTERM; 0 when there was none."""
        return 0 if self.received is None else 128 + self.received

    def __enter__(self) -> "StopSignals":
        self._before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal raise `Stopped` here: a read that waits would go on waiting."""
        self._waiting = True
        try:
            if self.received is not None:  # it came a moment ago
                raise Stopped
            yield
        finally:
            self._waiting = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        if self._waiting:
            raise Stopped


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit with 143 that runs clean-up code, as Ctrl-C does."""

    def receive(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, receive)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
