"""The streaming bench: with sessions that take known times by a clock of their own, and with a tiny model."""

import json
import math
import tracemalloc
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from s4speech.cli.main import main
from s4speech.errors import InputError
from s4speech.streaming import bench, bench_record
from s4speech.streaming.bench import Clock, Plan, chunk_grid, most_streams
from s4speech.streaming.bench_audio import AudioLoop
from s4speech.streaming.bench_words import WordLog, compare_with_recordings
from s4speech.streaming.events import Final, Partial
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.transcript import Segment, Word
from tests.conftest import message
from tests.tiny_streaming import babble, tiny_package, tiny_recognizer

RATE, FRAME, OVERLAP = 1000, 100, 50
CHUNK_S = 0.2  # two frames


class FakeClock:
    """Time passes only by sleeping, and by what the sessions cost."""

    def __init__(self):
        self.s = 100.0

    def sleep(self, seconds):
        self.s += seconds

    @property
    def clock(self):
        return Clock(lambda: self.s, self.sleep, lambda: self.s / 2)


class FakeStream:
    def __init__(self, frames):
        model = SimpleNamespace(sample_rate=RATE, frame_samples=FRAME, overlap_samples=OVERLAP)
        self.setup = SimpleNamespace(model=model)
        self.samples, self.frames, self.heard = 0, frames, 0

    def push(self, samples, sample_rate):
        assert sample_rate == RATE
        self.samples += len(samples)

    @property
    def ready(self):
        return self.samples >= (self.heard + 1) * self.frames * FRAME + OVERLAP

    def hear(self):
        """A chunk: of every four the last one ends a segment, the third changes nothing."""
        self.heard += 1
        word = Word(f"W{self.heard}", 0.0, 0.1, 1.0)
        final = Final(Segment(word.text, 0.0, 0.1, (word,)), "pause")
        return [[], [Partial("A", "", 0, 0)], [Partial("A B", "", 0, 0)], []][self.heard % 4] or (
            [] if self.heard % 4 else [final]
        )


class FakeSession:
    def __init__(self, stream, cost):
        self.stream, self._cost = stream, cost

    def accept(self, samples, sample_rate):
        self.stream.push(samples, sample_rate)
        events = []
        while self.stream.ready:
            self._cost(self.stream.heard)
            events += self.stream.hear()
        return events

    def finish(self):
        return []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


class FakeRecognizer:
    """``cost``: called with the number of the chunk; lets time pass."""

    def __init__(self, cost=lambda chunk: None):
        self.cost = cost

    def stream(self, *, chunk_ms=None):
        frames = 2 if chunk_ms is None else round(chunk_ms / 100)
        return FakeSession(FakeStream(frames), self.cost)


class FakeEngine:
    """Chunks that are heard together cost one call."""

    def __init__(self, recognizer, *, chunk_ms=None):
        self._recognizer, self._sessions = recognizer, []
        self.chunk_ms = chunk_ms

    def stream(self):
        session = FakeSession(self._recognizer.stream(chunk_ms=self.chunk_ms).stream, None)
        session.accept = lambda samples, rate: session.stream.push(samples, rate) or []
        self._sessions.append(session)
        return session

    def advance(self):
        ready = [session for session in self._sessions if session.stream.ready]
        if ready:
            self._recognizer.cost(len(ready))
        return [(session, session.stream.hear()) for session in ready]


@pytest.fixture
def loop(tmp_path):
    """Ten seconds of speech."""
    soundfile.write(tmp_path / "ten.wav", np.zeros(10 * RATE), RATE)
    with TemporaryFile(buffering=0) as file:
        yield AudioLoop(file, [tmp_path / "ten.wav"], RATE)


@pytest.fixture
def no_collection(monkeypatch):
    """Each run begins with a garbage collection, which takes long in the heap of all the tests."""
    monkeypatch.setattr(bench, "gc", SimpleNamespace(collect=lambda: None))


@pytest.fixture
def run(loop, no_collection):
    """Measure with a fake clock: run(cost, streams=2, ...)."""

    def measure(cost, recognizer=FakeRecognizer, read_mb=lambda: 100.0, progress=None, **plan):
        clock = FakeClock()
        ears = recognizer(lambda chunk: clock.sleep(cost(chunk)))
        grid = chunk_grid(ears, plan.get("chunk_ms"))
        return bench.measure(
            ears, Plan(**plan), loop, grid, clock=clock.clock, read_mb=read_mb, progress=progress
        )

    return measure


def test_the_grid_is_that_of_the_streams():
    assert chunk_grid(FakeRecognizer(), None) == (RATE, 2 * FRAME, OVERLAP)
    grid = chunk_grid(FakeRecognizer(), 300)
    assert (grid.hop, grid.chunk_s) == (300, 0.3)
    assert [grid.chunks(n) for n in (0, 49, 349, 350, 649, 650)] == [0, 0, 0, 1, 1, 2]


def test_one_stream_that_has_time(run):
    done = run(lambda chunk: 0.03, seconds=20.05)
    assert done.chunks.heard == 100
    ms = done.percentiles
    for name in ("compute", "partial", "final"):
        assert (ms[name].p50, ms[name].p95, ms[name].max) == pytest.approx((30, 30, 30), abs=1e-2)
    assert ms["cpu"].p50 == pytest.approx(15, abs=1e-2)
    assert ms["lag"].max == pytest.approx(0, abs=1e-2)
    assert (ms["partial"].n, ms["final"].n) == (50, 25)
    assert done.rtf == pytest.approx(0.15) and done.load == pytest.approx(0.15)
    assert done.keeps_up


def test_percentiles_are_those_of_the_times(run):
    times = np.random.default_rng(0).uniform(0.001, 0.1, 500)
    done = run(lambda chunk: times[chunk], seconds=100.05)
    found = done.percentiles["compute"]
    wanted = 1000 * np.percentile(times, [50, 95, 99])
    assert (found.p50, found.p95, found.p99) == pytest.approx(wanted, rel=1e-3)
    assert done.rtf == pytest.approx(times.mean() / CHUNK_S, rel=1e-3)


def test_a_late_chunk_makes_the_next_ones_wait(run):
    done = run(lambda chunk: 0.5 if chunk == 10 else 0.05, seconds=10)
    # Audio comes in packets of 20 ms, so the chunk that ends at 50 ms of one is there 10 ms later.
    assert 1000 * done.chunks.lag[0, 10:14] == pytest.approx([0, 300, 150, 0], abs=1e-2)
    assert 1000 * done.chunks.latency[0, 10:14] == pytest.approx([500, 350, 200, 50], abs=1e-2)
    assert done.keeps_up


def test_streams_end_their_chunks_at_different_times(run):
    assert run(lambda chunk: 0.04, streams=4, seconds=10).percentiles["lag"].max == pytest.approx(0, abs=1e-2)
    crowded = run(lambda chunk: 0.06, streams=4, seconds=4)
    assert crowded.load == pytest.approx(1.2, abs=0.01) and not crowded.keeps_up


def test_too_late_is_given_up(run):
    done = run(lambda chunk: 0.4, seconds=1000)
    assert done.gave_up and not done.keeps_up
    assert done.rtf == pytest.approx(2)
    assert done.percentiles["lag"].max < 4000
    assert done.chunks.heard < 20


def test_a_batch_shares_the_time_of_a_call(run, monkeypatch):
    monkeypatch.setattr(bench, "BatchEngine", FakeEngine)
    alone = run(lambda ready: 0.01 + 0.01 * ready, streams=1, engine="batch", seconds=10)
    assert alone.percentiles["compute"].p99 == pytest.approx(20, abs=1e-2)
    many = run(lambda ready: 0.01 + 0.01 * ready, streams=15, engine="batch", seconds=10)
    # 15 alone would need 300 ms of 200; 15 together need 160, but go as soon as some are ready.
    assert many.keeps_up and many.percentiles["compute"].p50 < 14
    assert many.load == pytest.approx(1, abs=0.01)
    most = most_streams(
        lambda n: run(lambda ready: 0.01 + 0.01 * ready, streams=n, engine="batch", seconds=5).keeps_up
    )
    assert 15 <= most <= 19
    fast = run(lambda ready: 0.01 + 0.01 * ready, streams=5, engine="batch", seconds=10, fast=True)
    assert fast.percentiles["compute"].max == pytest.approx(12, abs=1e-2)


def test_threads_share_the_streams(loop):
    done = bench.measure(
        FakeRecognizer(), Plan(streams=5, seconds=2.1, threads=2), loop, chunk_grid(FakeRecognizer(), None)
    )
    assert done.chunks.heard == 50 and done.threads == 2
    assert done.percentiles["lag"].p50 < 100


def test_what_a_thread_raises_comes_out(loop):
    def fail(chunk):
        if chunk == 2:
            raise ZeroDivisionError

    ears = FakeRecognizer(fail)
    with pytest.raises(ZeroDivisionError):
        bench.measure(ears, Plan(streams=2, seconds=60, threads=2), loop, chunk_grid(ears, None))


@pytest.mark.parametrize("most", [*range(18), 100])
def test_the_most_streams_are_found(most):
    asked = []
    assert most_streams(lambda n: asked.append(n) or n <= most, limit=64) == min(most, 64)
    assert len(set(asked)) == len(asked) <= 13


def test_streams_a_core(run):
    # Six times 30 ms fit into the 200 ms of a chunk, seven do not.
    assert most_streams(lambda n: run(lambda chunk: 0.03, streams=n, seconds=5).keeps_up) == 6
    assert most_streams(lambda n: run(lambda chunk: 0.3, streams=n, seconds=5).keeps_up) == 0


def test_a_soak_compares_tenths_and_memory(run):
    reads = iter(range(1000, 2000))
    reported = []
    done = run(
        lambda chunk: 0.01 if chunk < 3600 * 0.9 / CHUNK_S else 0.012,
        seconds=3600.05,
        fast=True,
        read_mb=lambda: next(reads),
        progress=lambda *seconds: reported.append(seconds),
    )
    assert len(done.tenths) == 10 and sum(found.n for found in done.tenths) == 18000
    assert [round(found.p50, 1) for found in done.tenths] == [10.0] * 9 + [12.0]
    assert done.slowdown == pytest.approx(1.2, rel=1e-4) == done.slowdown_cpu
    assert "lag" not in done.percentiles
    # A minute apart, and at the end.
    assert done.memory.series[:2] == [(0, 1000), (60, 1001)] and done.memory.series[-1][0] == 3600
    assert done.memory.settled == 1010
    assert done.memory.growth == pytest.approx(1060 / 1010)
    assert reported[1] == pytest.approx((60, 3600))
    plain = done.as_dict()
    assert plain["slowdown"] == 1.2 and plain["memory_mb"]["after_10_minutes"] == 1010
    assert not plain["real_time"] and len(plain["tenths_ms"]) == 10
    json.dumps(plain, allow_nan=False)


def test_a_short_soak_has_no_ten_minutes(run):
    memory = run(lambda chunk: 0.01, seconds=600, fast=True).memory
    assert (memory.settled, memory.growth) == (None, None) and len(memory.series) == 21


def test_measuring_takes_no_memory_while_it_runs(run):
    kept = np.zeros(1000)
    count = iter(range(1000))

    def read():
        kept[next(count)] = tracemalloc.get_traced_memory()[0]
        return 1.0

    tracemalloc.start()
    try:
        run(lambda chunk: 0.01, seconds=2000, fast=True, read_mb=read)
    finally:
        tracemalloc.stop()
    used = kept[: next(count)]
    assert used[-1] - used[5] < 5000  # of 10,000 chunks; a float object each would be 240,000


def test_memory_where_there_is_no_proc(run, monkeypatch, tmp_path):
    monkeypatch.setattr(bench_record, "_STATUS", tmp_path / "none")
    assert bench_record.resident_mb() is None
    done = run(lambda chunk: 0.01, seconds=10, read_mb=bench_record.resident_mb)
    assert done.memory.series == [] and done.memory.growth is None
    assert done.as_dict()["memory_mb"]["end"] is None


def test_memory_here():
    mb = bench_record.resident_mb()
    assert mb is None or 20 < mb < 100_000


def test_nothing_said_has_no_latency(run):
    done = run(lambda chunk: 0.0, seconds=10)
    done.chunks._said[:] = 0
    assert done.percentiles["final"] is None and done.as_dict()["ms"]["final"] is None


def test_runs_that_cannot_be_measured(run):
    assert "at least ten chunks, 2.0 s" in message(lambda: run(lambda chunk: 0, seconds=1))
    assert "20000000" in message(lambda: run(lambda chunk: 0, seconds=1e9))


def write(path, seconds, rate=RATE, value=0.5):
    soundfile.write(path, np.full(round(seconds * rate), value), rate, subtype="FLOAT")
    return path


def test_a_loop_of_recordings_in_whole_chunks(tmp_path):
    files = [
        write(tmp_path / "a.wav", 0.35, value=0.25),
        write(tmp_path / "b.wav", 0.05),
        write(tmp_path / "c.wav", 0.2, 2 * RATE, value=-2.0),
    ]
    with TemporaryFile(buffering=0) as file:
        loop = AudioLoop(file, files, RATE, grain=100)
        assert loop.pieces == [slice(0, 300), slice(300, 500)] and len(loop) == 500
        assert (loop.read(0, 300) == 8192).all()
        assert loop.read(299, 1)[0] == 8192
        assert (loop.read(350, 100) == -32768).all()  # clipped, not wrapped round
        around = loop.read(10_480, 1060)
        assert len(around) == 1060 and around.dtype == np.int16
        assert (
            around
            == np.concatenate([loop.read(480, 20), loop.read(0, 500), loop.read(0, 500), loop.read(0, 40)])
        ).all()
    with TemporaryFile(buffering=0) as file:
        assert len(AudioLoop(file, files, RATE, grain=100, limit=250)) == 200
    with TemporaryFile(buffering=0) as file:
        limited = AudioLoop(file, [files[0], tmp_path / "never opened.wav"], RATE, grain=100, limit=350)
        assert len(limited) == 300


def test_a_loop_of_nothing(tmp_path):
    file = write(tmp_path / "short.wav", 0.05)
    with TemporaryFile(buffering=0) as store:
        assert "100 ms" in message(lambda: AudioLoop(store, [file], RATE, grain=100))
        assert "no.wav" in message(lambda: AudioLoop(store, [tmp_path / "no.wav"], RATE))


def said(*words):
    """A final with words at times."""
    placed = tuple(Word(text, at_s, at_s + 0.1, 1.0) for at_s, text in words)
    return Final(Segment(" ".join(word.text for word in placed), 0, 0, placed), "pause")


def test_words_that_differ_are_counted_by_place(tmp_path):
    recordings = {
        "a": [(0.5, "ONE"), (2.0, "TWO"), (3.5, "THREE")],
        "b": [(0.5, "FOUR"), (2.0, "FIVE"), (4.5, "SIX")],
    }
    files = [write(tmp_path / f"{name}.wav", 5, value=0.25 * i) for i, name in enumerate(recordings)]

    class Alone(FakeRecognizer):
        def stream(self, *, chunk_ms=None):
            session = FakeSession(FakeStream(2), lambda chunk: None)
            session.accept = lambda samples, rate: [said(*recordings["ab"[int(samples[0] > 0)]])]
            return session

    with TemporaryFile(buffering=0) as store, TemporaryFile("w+") as file:
        loop, log = AudioLoop(store, files, RATE), WordLog(file)
        log.add([Partial("ONE", "", 0, 0), said((0.5, "ONE"), (2.0, "TWO"), (3.5, "TREE"))])  # inside
        log.add([said((5.4, "FOR"), (7.0, "FIVE"), (9.5, "SIX"))])  # at the joint
        log.add([said((10.5, "ONE"), (13.5, "THREE"), (14.0, "TOO"))])  # deleted inside; inserted at its edge
        log.add([said((15.5, "FOUR"))])  # of a recording that was not heard to its end
        found = compare_with_recordings(Alone(), None, loop, log, 19.0)
    assert (found.words, found.differ, found.differ_inside) == (9, 4, 3)


@pytest.fixture
def command(capfd, tmp_path, monkeypatch, no_collection):
    """Run `s4speech bench stream` with a fake recogniser and clock: (exit code, output, errors)."""
    clock = FakeClock()
    ears = FakeRecognizer(lambda chunk: clock.sleep(0.03))
    monkeypatch.setattr(Recognizer, "load", lambda directory: ears)
    monkeypatch.setattr("s4speech.streaming.pretrained.find_model", Path)
    monkeypatch.setattr(bench, "measure", partial(bench.measure, clock=clock.clock))
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "speech"
    folder.mkdir()
    write(folder / "one.wav", 30)

    def bench_stream(*arguments, audio=folder):
        with pytest.raises(SystemExit) as caught:
            main(["bench", "stream", str(audio), *map(str, arguments)])
        captured = capfd.readouterr()
        return caught.value.code, captured.out, captured.err

    return bench_stream


def checked(result):
    code, out, error = result
    assert (code, error) == (0, ""), error
    assert max(map(len, out.splitlines())) <= 80
    return out


def test_the_table_of_a_live_run(command):
    out = checked(command("--streams", 2, "--seconds", 20))
    assert "2 streams x 20 s at real time; 30 s of speech, looped" in out
    row = next(line.split() for line in out.splitlines() if "compute a chunk" in line)
    assert row == ["compute", "a", "chunk", "30.0", "30.0", "30.0", "30.0", "198"]
    assert "load 0.30: keeps up" in out


def test_the_table_of_the_search(command):
    out = checked(command("--find", "--seconds", 10))
    assert "6 streams on 1 thread: 6 a core" in out
    rows = [line.split() for line in out.splitlines() if line.strip().endswith((" yes", " no"))]
    assert [(row[0], row[-1]) for row in rows] == [
        ("1", "yes"), ("2", "yes"), ("4", "yes"), ("6", "yes"), ("7", "no"), ("8", "no")
    ]  # fmt: skip
    assert "compute" in out and "keep up" in out


def test_the_table_of_a_soak(command):
    out = checked(command("--fast", "--hours", 0.5, "--same-words"))
    assert "of the second: 1.000; on the processor 1.000" in out
    assert "after 10 minutes" in out and "words:" in out
    assert len([line for line in out.splitlines() if line.startswith(" 00:")]) == 10


def test_json_and_plot(command, tmp_path):
    code, out, _ = command("--find", "--seconds", 10, "--json", "--plot", tmp_path / "find.png")
    plain = json.loads(out)
    assert code == 0 and (plain["streams"], plain["streams_per_core"]) == (6, 6)
    assert plain["run"]["streams"] == 6 and plain["run"]["ms"]["compute"]["p50"] == 30
    assert [one["keeps_up"] for one in plain["trials"]] == [True] * 4 + [False] * 2
    assert plain["machine"]["cores"] >= 1
    code, out, _ = command("--fast", "--seconds", 60, "--json", "--plot", tmp_path / "fast.svg")
    assert code == 0 and json.loads(out)["run"]["slowdown"] == 1
    assert json.loads(out)["audio_s"] == 6  # each tenth of the run hears the same
    assert (tmp_path / "find.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "fast.svg").read_bytes()


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        (["--seconds", "0"], "--seconds: got 0"),
        (["--hours", "nan"], "--hours: got nan"),
        (["--seconds", "9", "--hours", "1"], "--hours"),
        (["--find", "--streams", "2"], "--streams"),
        (["--find", "--fast"], "--find"),
        (["--same-words"], "--same-words"),
        (["--chunk-ms", "-5"], "--chunk-ms"),
        (["--plot", "x.bmp"], ".png"),
        (["--plot", "/nowhere/x.png"], "/nowhere/x.png"),
        (["--streams", "0"], "--streams"),
        (["--engine", "steam"], "--engine"),
        (["--seconds", "1"], "ten chunks"),
    ],
)
def test_requests_that_cannot_be_met(command, arguments, wanted):
    code, out, error = command(*arguments)
    assert code == 2 and out == ""
    assert error.startswith("s4speech: ") and error.count("\n") == 1 and wanted in error


def test_audio_that_is_none(command, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.wav").write_text("no audio")
    for audio in ("missing.wav", tmp_path / "empty", tmp_path / "text.wav"):
        code, out, error = command(audio=audio)
        assert (code, out, error.count("\n")) == (2, "", 1) and str(audio) in error


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_recognizer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def spoken(tmp_path):
    files = []
    for seed in range(2):
        files.append(tmp_path / f"{seed}.wav")
        soundfile.write(files[-1], babble(6.4, seed=seed), 16000)
    with TemporaryFile(buffering=0) as file:
        yield AudioLoop(file, files, 16000, grain=5120)


def test_a_model_measures_the_same_chunks_with_both_engines(tiny, spoken):
    grid = chunk_grid(tiny, None)
    assert grid == (16000, 5120, 720)
    threads = torch.get_num_threads()
    runs = {
        engine: bench.measure(tiny, Plan(2, 8.0, engine=engine, fast=True), spoken, grid)
        for engine in ("sessions", "batch")
    }
    assert torch.get_num_threads() == threads
    one, other = runs.values()
    assert one.chunks.heard == other.chunks.heard == 2 * 24
    assert (one.chunks._said == other.chunks._said).all() and (one.chunks._said == 2).any()
    assert one.percentiles["cpu"].p50 > 0 and math.isfinite(one.rtf)
    live = bench.measure(tiny, Plan(2, 3.3), spoken, grid)
    assert (live.chunks._said == one.chunks._said[:, : live.chunks._said.shape[1]]).all()


def test_the_first_recording_of_a_stream_says_what_it_says_alone(tiny, spoken):
    grid = chunk_grid(tiny, None)
    with TemporaryFile("w+") as file:
        log = WordLog(file)
        bench.measure(tiny, Plan(seconds=7.0, fast=True), spoken, grid, words=log)
        found = compare_with_recordings(tiny, None, spoken, log, 6.4)
    assert found.words > 5 and found.differ_inside == 0


def test_a_model_without_a_stream_is_refused(tmp_path):
    package = tiny_package(tmp_path)
    recognizer = Recognizer(package)
    recognizer._setup = None
    with pytest.raises(InputError, match="stream"):
        chunk_grid(recognizer, None)
