"""Streams that are simulated, to see what they cost and how late their words are."""

import gc
import heapq
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch

from s4speech.errors import InputError
from s4speech.streaming.bench_audio import AudioLoop
from s4speech.streaming.bench_record import Chunks, Measurement, MemoryLog, ReadMB, resident_mb
from s4speech.streaming.bench_words import WordLog
from s4speech.streaming.engine import BatchEngine
from s4speech.streaming.events import Event
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.session import Session

Result = TypeVar("Result")
Progress: TypeAlias = Callable[[float, float], None]  # seconds done, and in all

_BLOCK_S = 0.02  # audio arrives in packets of so much
_WARM_UP_CHUNKS = 8
_MAX_CELLS = 20_000_000  # chunks of all streams: 17 bytes each
# A run is given up when a chunk is late by more than both.
_GIVE_UP_S, _GIVE_UP_CHUNKS = 3.0, 8


@dataclass(frozen=True)
class Plan:
    """What is simulated: `streams` at once, of `seconds` each.

    engine: sessions of their own, or those of a `BatchEngine`. fast: not at real time, but as fast as it
    goes. threads: so many share the sessions, each with one thread of PyTorch; a batch, and streams that run
    fast, have one thread, with so many of PyTorch.
    """

    streams: int = 1
    seconds: float = 60.0
    chunk_ms: float | None = None
    engine: Literal["sessions", "batch"] = "sessions"
    threads: int = 1
    fast: bool = False


class Clock(NamedTuple):
    """Seconds since some time, how to let some pass, and seconds of the processor in this thread."""

    now: Callable[[], float]
    sleep: Callable[[float], None]
    cpu: Callable[[], float]


CLOCK = Clock(time.perf_counter, time.sleep, time.thread_time)


class _Took(NamedTuple):
    """How long a call took."""

    start: float
    end: float
    cpu: float


class Grid(NamedTuple):
    """How a stream is cut into chunks: chunk k is [k hop, (k + 1) hop + overlap) of its samples."""

    sample_rate: int
    hop: int
    overlap: int

    @property
    def chunk_s(self) -> float:
        """Seconds of audio from chunk to chunk."""
        return self.hop / self.sample_rate

    def chunks(self, samples: int) -> int:
        """How many chunks so many samples have."""
        return max(0, samples - self.overlap) // self.hop


def chunk_grid(recognizer: Recognizer, chunk_ms: float | None) -> Grid:
    """Find out from a stream how long its chunks are. Raises InputError as `Recognizer.stream` does."""
    stream = recognizer.stream(chunk_ms=chunk_ms).stream
    model = stream.setup.model
    stream.push(np.zeros(model.overlap_samples, np.float32), model.sample_rate)
    frames = 0
    while not stream.ready:
        stream.push(np.zeros(model.frame_samples, np.float32), model.sample_rate)
        frames += 1
    return Grid(model.sample_rate, frames * model.frame_samples, model.overlap_samples)


def most_streams(keep_up: Callable[[int], bool], limit: int = 4096) -> int:
    """The most streams that keep up, by doubling and then halving the gap; 0: not even one."""
    good, bad = 0, 1
    while bad <= limit and keep_up(bad):
        good, bad = bad, 2 * bad
    while bad - good > 1 and good < limit:
        middle = (good + bad) // 2
        if keep_up(middle):
            good = middle
        else:
            bad = middle
    return good


def measure(
    recognizer: Recognizer,
    plan: Plan,
    audio: AudioLoop,
    grid: Grid,
    *,
    clock: Clock = CLOCK,
    read_mb: ReadMB = resident_mb,
    progress: Progress | None = None,
    words: WordLog | None = None,
) -> Measurement:
    """Simulate the plan's streams, each from another place of the loop.

    grid: of `chunk_grid`. words: takes the words of the first stream; only of a fast run.

    Raises InputError: shorter than ten chunks, or more chunks than can be written down.
    """
    chunks = grid.chunks(math.floor(plan.seconds * grid.sample_rate))
    if chunks < 10:
        least = (10 * grid.hop + grid.overlap) / grid.sample_rate
        raise InputError(
            f"bench: got {plan.seconds:g} s; wanted at least ten chunks, {least:.1f} s; use --seconds"
        )
    if chunks * plan.streams > _MAX_CELLS:
        raise InputError(
            f"bench: got {chunks * plan.streams} chunks; wanted at most {_MAX_CELLS}; take fewer streams or"
            " a shorter time"
        )
    run = _Run(recognizer, plan, audio, grid, chunks, clock, read_mb, progress, words)
    with _torch_threads(plan.threads if plan.fast or plan.engine == "batch" else 1):
        run.warm_up()
        gc.collect()
        return run.fast() if plan.fast else run.live()


class _Run:
    """One simulation. What belongs to one stream is used by one thread."""

    def __init__(
        self,
        recognizer: Recognizer,
        plan: Plan,
        audio: AudioLoop,
        grid: Grid,
        chunks: int,
        clock: Clock,
        read_mb: ReadMB,
        progress: Progress | None,
        words: WordLog | None,
    ) -> None:
        self._plan, self._audio, self._grid, self._length = plan, audio, grid, chunks
        self._clock, self._progress, self._words = clock, progress, words
        self._recognizer = recognizer
        self._engine = BatchEngine(recognizer, chunk_ms=plan.chunk_ms) if plan.engine == "batch" else None
        self._sessions = [self._open() for _ in range(plan.streams)]
        self._numbers = {id(session): number for number, session in enumerate(self._sessions)}
        self._chunks = Chunks(plan.streams, chunks)
        self._memory = MemoryLog(chunks * grid.chunk_s, read_mb)
        self._begin = math.nan  # a fast run has no times of arrival
        self._block = min(grid.hop, round(_BLOCK_S * grid.sample_rate))
        self._give_up_s = max(_GIVE_UP_S, _GIVE_UP_CHUNKS * grid.chunk_s)
        self._given_up = False
        self._fed, self._heard = [0] * plan.streams, [0] * plan.streams
        self._busy = [0.0] * plan.streams

    def warm_up(self) -> None:
        """The first calls of a process are slow; they are not measured."""
        with self._recognizer.stream(chunk_ms=self._plan.chunk_ms) as session:
            samples = self._audio.read(0, _WARM_UP_CHUNKS * self._grid.hop + self._grid.overlap)
            session.accept(samples, self._grid.sample_rate)
            session.finish()

    def fast(self) -> Measurement:
        """A chunk of every stream at a time."""
        for chunk in range(self._length):
            self._tick(chunk * self._grid.chunk_s)
            for stream in range(self._plan.streams):
                self._feed(stream, self._grid.hop + (self._grid.overlap if chunk == 0 else 0))
            self._advance()
        done = self._result()
        if self._words is not None:
            self._words.add(self._sessions[0].finish())
        return done

    def live(self) -> Measurement:
        """Audio comes when it is said; chunks of one stream between those of the others."""
        streams = range(self._plan.streams)
        threads = 1 if self._engine else self._plan.threads
        self._begin = self._clock.now()
        if threads == 1:
            self._serve(streams)
            return self._result()
        # PyTorch's number of threads is a setting of each thread.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                list(pool.map(self._serve, [streams[first::threads] for first in range(threads)]))
            except BaseException:
                self._given_up = True  # so that the others end too
                raise
        return self._result()

    def _result(self) -> Measurement:
        self._memory.tick(max(self._heard) * self._grid.chunk_s, last=True)
        return Measurement(
            streams=self._plan.streams,
            threads=self._plan.threads,
            engine=self._plan.engine,
            seconds=self._length * self._grid.chunk_s,
            chunk_s=self._grid.chunk_s,
            fast=self._plan.fast,
            chunks=self._chunks,
            memory=self._memory,
            busy_s=sum(self._busy),
            gave_up=self._given_up,
        )

    def _open(self) -> Session:
        if self._engine is not None:
            return self._engine.stream()
        return self._recognizer.stream(chunk_ms=self._plan.chunk_ms)

    def _serve(self, streams: Sequence[int]) -> None:
        """Feed what has arrived, hear what is ready, wait; until the streams end."""
        blocks = math.ceil((self._length * self._grid.hop + self._grid.overlap) / self._block)
        coming = [(self._arrival(stream, 1), stream, 1) for stream in streams]
        heapq.heapify(coming)
        while not self._given_up:
            now = self._clock.now()
            if 0 in streams:
                self._tick(now - self._begin)
            while coming and coming[0][0] <= now:
                _, stream, block = coming[0]
                self._feed(stream, self._block)
                if block < blocks:
                    heapq.heapreplace(coming, (self._arrival(stream, block + 1), stream, block + 1))
                else:
                    heapq.heappop(coming)
            if self._advance():
                continue
            if not coming:
                break
            self._clock.sleep(max(0.0, coming[0][0] - self._clock.now()))

    def _arrival(self, stream: int, block: int) -> float:
        """When so many blocks of the stream are there. The streams' chunks end at different times."""
        phase = self._grid.chunk_s * stream / self._plan.streams
        return self._begin + phase + block * self._block / self._grid.sample_rate

    def _feed(self, stream: int, count: int) -> None:
        """Give a stream its next samples; a session hears a chunk with them, if they complete one."""
        place = len(self._audio) * stream // self._plan.streams + self._fed[stream]
        samples = self._audio.read(place, count)
        events, took = self._timed(lambda: self._sessions[stream].accept(samples, self._grid.sample_rate))
        self._fed[stream] += count
        self._busy[stream] += took.end - took.start
        if self._engine is None and self._grid.chunks(self._fed[stream]) > self._heard[stream]:
            self._put(stream, events, took)

    def _advance(self) -> bool:
        """Let the engine hear a chunk of all that have one, each of which has its share of the time."""
        if self._engine is None:
            return False
        heard, took = self._timed(self._engine.advance)
        for session, events in heard:
            stream = self._numbers[id(session)]
            self._busy[stream] += (took.end - took.start) / len(heard)
            self._put(stream, events, took, len(heard))
        return bool(heard)

    def _timed(self, call: Callable[[], Result]) -> tuple[Result, _Took]:
        cpu = self._clock.cpu()
        start = self._clock.now()
        result = call()
        end = self._clock.now()
        return result, _Took(start, end, self._clock.cpu() - cpu)

    def _put(self, stream: int, events: list[Event], took: _Took, sharers: int = 1) -> None:
        """Write down the stream's next chunk, heard in one call with those of `sharers` - 1 others."""
        chunk = self._heard[stream]
        self._heard[stream] += 1
        samples = (chunk + 1) * self._grid.hop + self._grid.overlap
        due = self._arrival(stream, math.ceil(samples / self._block))
        self._chunks.put(
            stream,
            chunk,
            events,
            compute=(took.end - took.start) / sharers,
            cpu=took.cpu / sharers,
            lag=took.start - due,
            latency=took.end - due,
        )
        self._given_up |= took.end - due > self._give_up_s
        if self._words is not None and stream == 0:
            self._words.add(events)

    def _tick(self, now_s: float) -> None:
        if self._memory.tick(now_s) and self._progress is not None:
            self._progress(min(now_s, self._length * self._grid.chunk_s), self._length * self._grid.chunk_s)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
