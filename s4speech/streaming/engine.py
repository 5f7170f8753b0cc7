"""Many streams, one model call."""

from typing import Any

from numpy.typing import NDArray

from s4speech.streaming.events import Event
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.session import Session, check_samples
from s4speech.streaming.stream import Stream, hear_chunks


class BatchEngine:
    """Sessions of one recogniser that advance together: one model call for all that have a chunk.

    A session may join, pause (give no audio) or finish at any time, and says what it would say alone. An
    engine and its sessions belong to one thread.

    >>> engine = BatchEngine(recognizer)
    >>> one, two = engine.stream(), engine.stream()
    >>> one.accept(samples, 16000)
    >>> for session, events in engine.advance():
    ...     print(session, events)
    """

    def __init__(self, recognizer: Recognizer, *, chunk_ms: float | None = None) -> None:
        """chunk_ms: of every session, as in `Recognizer.stream`."""
        self._recognizer, self._chunk_ms = recognizer, chunk_ms
        self._sessions: list[EngineSession] = []

    def stream(self, **options: Any) -> "EngineSession":
        """A new session. Options, and what they raise, as in `Recognizer.stream`, but for chunk_ms."""
        alone = self._recognizer.stream(chunk_ms=self._chunk_ms, **options)
        session = EngineSession(alone.stream, self._sessions)
        self._sessions.append(session)
        return session

    def advance(self) -> list[tuple["EngineSession", list[Event]]]:
        """Hear one chunk of every session that has one: these sessions, and the events of each.

        Empty when none has one. A session that is behind has one again at the next call.
        """
        ready = [session for session in self._sessions if session.stream.ready]
        if not ready:
            return []
        return list(zip(ready, hear_chunks([session.stream for session in ready]), strict=True))


class EngineSession(Session):
    """A session of a `BatchEngine`, whose `advance` returns the events: `accept` only takes audio."""

    def __init__(self, stream: Stream, others: list["EngineSession"]) -> None:
        super().__init__(stream)
        self._others = others

    def accept(self, samples: NDArray[Any], sample_rate: int) -> list[Event]:
        """Keep audio until it is heard. Returns nothing; arguments and errors as in `Session.accept`."""
        self.stream.push(check_samples(samples, sample_rate), sample_rate)
        return []

    def finish(self) -> list[Event]:
        """Leave the engine: hear what is left of this session, alone, and return its last events."""
        events = super().finish()
        self.close()
        return events

    def close(self) -> None:
        """Leave the engine."""
        super().close()
        if self in self._others:
            self._others.remove(self)
