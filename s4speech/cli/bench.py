"""`s4speech bench`: what recognition costs on this machine."""

import json
import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4speech.cli.inputs import PCMOptions, check_input, find_inputs
from s4speech.cli.options import check_chunk, check_use
from s4speech.cli.transcribe import DEFAULT_MODEL
from s4speech.errors import InputError

if TYPE_CHECKING:
    from s4speech.streaming.bench import Grid, Plan, Progress
    from s4speech.streaming.bench_audio import AudioLoop
    from s4speech.streaming.bench_record import Measurement
    from s4speech.streaming.bench_words import Comparison, WordLog
    from s4speech.streaming.recognizer import Recognizer

bench = typer.Typer(help="Measure speed, latency and memory on this machine.", no_args_is_help=True)

_PLOTS = (".png", ".pdf", ".svg")
_LIVE_S, _TRIAL_S, _FAST_S = 60.0, 20.0, 600.0  # how long a run is unless told otherwise
_MOST_AUDIO_S = 3600.0  # read for streams at real time; it is looped


@bench.callback()
def _group() -> None:
    """Keeps `stream` a name: a group of one command would be that command."""


class Engine(str, Enum):
    """Who drives the streams."""

    sessions = "sessions"
    batch = "batch"


@bench.command()
def stream(
    audio: Annotated[
        list[str], typer.Argument(help="Speech: files, and folders of them; joined and looped.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model directory or bundled name.")
    ] = DEFAULT_MODEL,
    streams: Annotated[int | None, typer.Option(min=1, help="Streams at once; default: 1.")] = None,
    find: Annotated[bool, typer.Option("--find", help="Find out how many streams keep up.")] = False,
    hours: Annotated[float | None, typer.Option(help="Length of each stream.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="The same; default: 60, for each try of --find 20, with --fast 600.")
    ] = None,
    chunk_ms: Annotated[
        float | None,
        typer.Option(
            "--chunk-ms",
            help="Audio heard at once, rounded to whole encoder frames; default: as the model says.",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="A session of its own for each stream, or one model call for many.")
    ] = Engine.sessions,
    fast: Annotated[
        bool, typer.Option("--fast", help="As fast as it goes: do time and memory grow with the audio?")
    ] = False,
    same_words: Annotated[
        bool, typer.Option("--same-words", help="With --fast: compare with each recording transcribed alone.")
    ] = False,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads that serve sessions; of PyTorch for a batch and --fast.")
    ] = 1,
    plot: Annotated[Path | None, typer.Option(help="Draw times and memory: .png, .pdf or .svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Simulate live streams: time a chunk, latency of words, memory; streams a core with --find."""
    length_s = _length(seconds, hours, _FAST_S if fast else _TRIAL_S if find else _LIVE_S)
    check_use(not find, "runs without --find", streams=streams)
    check_use(not fast, "runs without --fast", find=find)
    check_use(fast, "--fast", same_words=same_words)
    check_chunk(chunk_ms)
    _check_plot(plot)
    from s4speech.streaming.pretrained import find_model

    directory = find_model(model)
    files = [one for name in audio for one in find_inputs(name)]
    for one in files:
        if one.name in audio:  # not for the many files of a folder
            check_input(one, PCMOptions(), math.inf)

    from s4speech.cli.bench_report import Report, save_plot, show
    from s4speech.streaming.bench import Plan, chunk_grid
    from s4speech.streaming.bench_audio import AudioLoop
    from s4speech.streaming.recognizer import Recognizer

    recognizer = Recognizer.load(directory)
    grid = chunk_grid(recognizer, chunk_ms)
    plan = Plan(streams or 1, length_s, chunk_ms, engine.value, threads, fast)
    # A tenth of a fast run: each tenth hears the same, so that only their age can make them differ.
    wanted_s = length_s / 10 if fast else min(_MOST_AUDIO_S, math.inf if find else plan.streams * length_s)
    limit = max(grid.hop, round(wanted_s * grid.sample_rate))
    with TemporaryFile(buffering=0) as store:
        loop = AudioLoop(store, (one.name for one in files), grid.sample_rate, grain=grid.hop, limit=limit)
        runs = _Runs(recognizer, loop, grid)
        report = Report(model, _machine(), len(loop) / grid.sample_rate, plan.threads)
        if find:
            report.trials, report.found = runs.find(plan)
            report.run = report.trials[max(report.found, 1)]
        elif same_words:
            report.run, report.words = runs.compare(plan)
        else:
            report.run = runs.measure(plan)
    if plot is not None:
        save_plot(report, plot)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        show(report)


class _Runs:
    """Runs over the same audio."""

    def __init__(self, recognizer: "Recognizer", loop: "AudioLoop", grid: "Grid") -> None:
        self._recognizer, self._loop, self._grid = recognizer, loop, grid

    def measure(self, plan: "Plan", words: "WordLog | None" = None) -> "Measurement":
        from s4speech.streaming.bench import measure

        with _progress(f"{plan.streams} stream{'s' * (plan.streams > 1)}") as report:
            return measure(self._recognizer, plan, self._loop, self._grid, progress=report, words=words)

    def find(self, plan: "Plan") -> "tuple[dict[int, Measurement], int]":
        """Runs by their number of streams, and the most that keep up."""
        from s4speech.streaming.bench import most_streams

        tried: dict[int, Measurement] = {}

        def keep_up(streams: int) -> bool:
            tried[streams] = self.measure(replace(plan, streams=streams))
            return tried[streams].keeps_up

        found = most_streams(keep_up)
        return dict(sorted(tried.items())), found

    def compare(self, plan: "Plan") -> "tuple[Measurement, Comparison]":
        from s4speech.streaming.bench_words import WordLog, compare_with_recordings

        with TemporaryFile("w+", encoding="utf-8") as file:
            log = WordLog(file)
            done = self.measure(plan, log)
            return done, compare_with_recordings(
                self._recognizer, plan.chunk_ms, self._loop, log, done.seconds
            )


def _length(seconds: float | None, hours: float | None, default: float) -> float:
    check_use(hours is None, "runs without --hours", seconds=seconds)
    for name, value, unit in (("--seconds", seconds, 1), ("--hours", hours, 3600)):
        if value is not None:
            if not 0 < value < math.inf:
                raise InputError(f"{name}: got {value:g}; wanted more than 0")
            return value * unit
    return default


def _check_plot(path: Path | None) -> None:
    """Raise InputError for a plot that could not be written after the run."""
    if path is None:
        return
    if path.suffix.lower() not in _PLOTS:
        raise InputError(f"--plot {path}: wanted a name that ends in {', '.join(_PLOTS)}")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"--plot {path}: cannot be written; wanted a file in a folder that exists")


def _machine() -> dict[str, Any]:
    import torch

    from s4speech import __version__

    names: list[str] = []
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        pass
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(usable),  # that this process may use
        "torch": torch.__version__,
        "s4speech": __version__,
    }


@contextmanager
def _progress(name: str) -> Iterator["Progress | None"]:
    """A line on standard error, for a person; not rich's, whose thread would take part in the measurement."""
    if not sys.stderr.isatty():
        yield None
        return

    def report(done_s: float, total_s: float) -> None:
        sys.stderr.write(f"\r\x1b[K{name}: {done_s:.0f} of {total_s:.0f} s")
        sys.stderr.flush()

    try:
        yield report
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
