"""What the bench has measured. All room is taken before the run: what measures memory must not take any."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from s4speech.streaming.events import Event, Final

ReadMB: TypeAlias = Callable[[], float | None]
Seconds: TypeAlias = NDArray[np.float32]

_PARTIAL, _FINAL = 1, 2
SETTLED_S = 600.0  # memory is compared with what it is after so much audio
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Percentiles:
    """Of n times, in milliseconds."""

    n: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Seconds) -> "Percentiles | None":
        """Of the times that are not NaN; None if there is none."""
        known = seconds[~np.isnan(seconds)].astype(np.float64)
        if not len(known):
            return None
        p50, p95, p99 = (float(1000 * p) for p in np.percentile(known, (50, 95, 99)))
        return cls(len(known), p50, p95, p99, float(1000 * known.max()))


class Chunks:
    """A row a stream, a column a chunk, seconds; NaN where there is nothing."""

    def __init__(self, streams: int, chunks: int) -> None:
        # Filled and not just allocated: pages that are first written during the run would count as growth.
        self.compute: Seconds = np.full((streams, chunks), np.nan, np.float32)
        self.cpu = self.compute.copy()  # of it, the processor's time in the thread that serves the stream
        self.lag = self.compute.copy()  # from the arrival of the chunk's last sample until it is begun
        self.latency = self.compute.copy()  # until its events are there
        self._said: NDArray[np.uint8] = np.full((streams, chunks), 0, np.uint8)

    def put(
        self,
        stream: int,
        chunk: int,
        events: Sequence[Event],
        *,
        compute: float,
        cpu: float,
        lag: float,
        latency: float,
    ) -> None:
        """A chunk was heard."""
        self.compute[stream, chunk] = compute
        self.cpu[stream, chunk] = cpu
        self.lag[stream, chunk] = lag
        self.latency[stream, chunk] = latency
        for event in events:
            self._said[stream, chunk] |= _FINAL if isinstance(event, Final) else _PARTIAL

    @property
    def heard(self) -> int:
        """How many there are."""
        return int((~np.isnan(self.compute)).sum())

    @property
    def partial(self) -> Seconds:
        """Latency of the chunks that changed what was said so far: (n,)."""
        return self.latency[(self._said & _PARTIAL) > 0]

    @property
    def final(self) -> Seconds:
        """Latency of the chunks that ended a segment: (n,)."""
        return self.latency[(self._said & _FINAL) > 0]


class MemoryLog:
    """Resident memory during a run, MB."""

    def __init__(self, length_s: float, read: ReadMB, most: int = 2000) -> None:
        """Looked at every minute of the streams; more often in short runs, less often in very long ones."""
        self._read = read
        self._every_s = max(min(60.0, length_s / 20), length_s / most)
        room = math.ceil(length_s / self._every_s) + 3
        self._seconds, self._mb = np.full(room, np.nan), np.full(room, np.nan)
        self._count = 0
        self._next_s = 0.0

    def tick(self, now_s: float, last: bool = False) -> bool:
        """Look if it is time to, and at the end; True: did."""
        room = len(self._seconds) - self._count  # one place is kept for the last
        if not last and (now_s < self._next_s or room == 1):
            return False
        mb = self._read()
        self._seconds[self._count] = now_s
        self._mb[self._count] = np.nan if mb is None else mb
        self._count += 1
        self._next_s = (now_s // self._every_s + 1) * self._every_s
        return True

    @property
    def series(self) -> list[tuple[float, float]]:
        """(seconds of the stream, MB); empty where memory cannot be measured."""
        rows = zip(self._seconds[: self._count].tolist(), self._mb[: self._count].tolist(), strict=True)
        return [(s, mb) for s, mb in rows if not math.isnan(mb)]

    @property
    def settled(self) -> float | None:
        """MB after ten minutes of audio; None for a run that is not longer."""
        series = self.series
        later = [mb for seconds, mb in series if seconds >= SETTLED_S]
        return later[0] if len(later) > 1 else None

    @property
    def growth(self) -> float | None:
        """MB at the end / after ten minutes."""
        settled = self.settled
        return None if settled is None else self.series[-1][1] / settled


@dataclass(frozen=True)
class Measurement:
    """A run. busy_s: spent in the recogniser, by all threads together."""

    streams: int
    threads: int
    engine: str
    seconds: float  # of each stream
    chunk_s: float
    fast: bool  # as fast as it goes: there is no lag, and no latency
    chunks: Chunks
    memory: MemoryLog
    busy_s: float
    gave_up: bool = False  # it was stopped because it fell too far behind

    @property
    def heard_s(self) -> float:
        """Audio heard, of all streams together."""
        return self.chunks.heard * self.chunk_s

    @property
    def load(self) -> float:
        """The part of their time that the serving threads compute; 1 is more than sessions can bear.

        A batch bears it: it takes the chunks that are there, and the more there are, the less each costs.
        """
        servers = self.threads if self.engine == "sessions" and not self.fast else 1
        return self.streams * self.rtf / servers

    @property
    def rtf(self) -> float:
        """Seconds of computing a second of audio, of one stream."""
        return self.busy_s / self.heard_s if self.chunks.heard else math.inf

    @property
    def percentiles(self) -> dict[str, Percentiles | None]:
        """Of compute, cpu, lag, partial and final."""
        chunks = self.chunks
        found = {"compute": Percentiles.of(chunks.compute), "cpu": Percentiles.of(chunks.cpu)}
        if not self.fast:
            found |= {"lag": Percentiles.of(chunks.lag)}
            found |= {"partial": Percentiles.of(chunks.partial), "final": Percentiles.of(chunks.final)}
        return found

    @property
    def keeps_up(self) -> bool:
        """Of 20 chunks at most one waits longer than it lasts, also at the end, and there is time left."""
        lags = [Percentiles.of(self.chunks.lag), _tenths(self.chunks.lag)[-1]]
        late = any(lag is not None and lag.p95 > 1000 * self.chunk_s for lag in lags)
        return not self.gave_up and not late and (self.load < 1 or self.engine == "batch")

    @property
    def tenths(self) -> list[Percentiles | None]:
        """Compute in each tenth of the stream."""
        return _tenths(self.chunks.compute)

    @property
    def tenths_cpu(self) -> list[Percentiles | None]:
        """The processor's part of it."""
        return _tenths(self.chunks.cpu)

    @property
    def slowdown(self) -> float | None:
        """Median compute of the last tenth / the second tenth; the first one warms up."""
        return _slowdown(self.tenths)

    @property
    def slowdown_cpu(self) -> float | None:
        """The same of the processor's time, which other programs change less."""
        return _slowdown(self.tenths_cpu)

    def as_dict(self) -> dict[str, Any]:
        """Plain data; times of chunks in milliseconds."""
        series, memory = self.memory.series, self.memory
        plain: dict[str, Any] = {
            "streams": self.streams,
            "threads": self.threads,
            "engine": self.engine,
            "real_time": not self.fast,
            "seconds": round(self.seconds, 3),
            "chunk_ms": round(1000 * self.chunk_s, 3),
            "chunks": self.chunks.heard,
            "rtf": _rounded(self.rtf, 5),
            "load": _rounded(self.load, 4),
            "ms": {name: _plain(found) for name, found in self.percentiles.items()},
            "memory_mb": {
                "start": round(series[0][1], 1) if series else None,
                "after_10_minutes": _rounded(memory.settled, 1),
                "end": round(series[-1][1], 1) if series else None,
                "growth": _rounded(memory.growth, 4),
                "series": [[round(seconds, 1), round(mb, 1)] for seconds, mb in series],
            },
        }
        if self.fast:
            both = zip(self.tenths, self.tenths_cpu, strict=True)
            plain["tenths_ms"] = [{"compute": _plain(wall), "cpu": _plain(cpu)} for wall, cpu in both]
            plain["slowdown"] = _rounded(self.slowdown, 4)
            plain["slowdown_cpu"] = _rounded(self.slowdown_cpu, 4)
        else:
            plain["keeps_up"] = self.keeps_up
        return plain


def resident_mb() -> float | None:
    """VmRSS of this process, MB; None where there is no /proc."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:")), None)


def _tenths(times: Seconds) -> list[Percentiles | None]:
    return [Percentiles.of(part) for part in np.array_split(times, 10, axis=1)]


def _slowdown(tenths: list[Percentiles | None]) -> float | None:
    second, last = tenths[1], tenths[-1]
    return last.p50 / second.p50 if second and last and second.p50 else None


def _plain(found: Percentiles | None) -> dict[str, float] | None:
    return None if found is None else {name: round(value, 3) for name, value in asdict(found).items()}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or math.isinf(value) else round(value, digits)
