"""What `s4speech bench stream` prints and draws."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s4speech.cli.formats import clock
from s4speech.streaming.bench_record import Measurement
from s4speech.streaming.bench_words import JOINT_S, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType
    from rich.table import Table

_NAMES = {
    "compute": "compute a chunk",
    "cpu": "  on the processor",
    "lag": "a chunk waits",
    "partial": "partial after chunk",
    "final": "final after chunk",
}
_MOST_DOTS = 20_000


@dataclass
class Report:
    """All of a bench. run: the only one, or the one of `trials`, by number of streams, `found` of them."""

    model: str
    machine: dict[str, Any]
    audio_s: float  # of the loop
    threads: int
    run: Measurement = field(init=False)
    trials: dict[int, Measurement] = field(default_factory=dict)
    found: int | None = None  # the most streams that keep up
    words: Comparison | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain: dict[str, Any] = {
            "model": self.model,
            "machine": self.machine,
            "audio_s": round(self.audio_s, 1),
            "run": self.run.as_dict(),
        }
        if self.found is not None:
            plain["streams"] = self.found
            plain["streams_per_core"] = round(self.found / self.threads, 2)
            wanted = ("streams", "load", "ms", "keeps_up")
            plain["trials"] = [{k: one.as_dict()[k] for k in wanted} for one in self.trials.values()]
        if self.words is not None:
            plain["words"] = asdict(self.words)
        return plain


def show(report: Report) -> None:
    """Print tables and what they mean."""
    from rich.console import Console

    console = Console(highlight=False)
    for part in _parts(report):
        console.print(part, markup=False)


def _parts(report: Report) -> "Iterator[RenderableType]":
    run, machine = report.run, report.machine
    yield f"{report.model} on {machine['cpu']}, {_count(machine['cores'], 'core')}, torch {machine['torch']}"
    if report.found is not None:
        yield _trials(report.trials)
        found, threads = _count(report.found, "stream"), _count(report.threads, "thread")
        yield f"{found} on {threads}: {report.found / report.threads:.3g} a core\n"
    pace = "as fast as it goes" if run.fast else "at real time"
    streams = f"{_count(run.streams, 'stream')} x {run.seconds:.0f} s"
    yield f"{streams} {pace}; {report.audio_s:.0f} s of speech, looped"
    yield f"chunks of {1000 * run.chunk_s:.0f} ms; {run.engine}, {_count(run.threads, 'thread')}"
    if run.fast:
        yield _tenths(run)
    yield _percentiles(run)
    yield from _summary(run)
    if report.words is not None:
        yield _words(report.words)


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _percentiles(measurement: Measurement) -> "Table":
    table = _table("milliseconds", "p50", "p95", "p99", "max", "n")
    for name, found in measurement.percentiles.items():
        times = ["-"] * 4 if found is None else [_ms(x) for x in (found.p50, found.p95, found.p99, found.max)]
        table.add_row(_NAMES[name], *times, str(found.n if found else 0))
    return table


def _tenths(measurement: Measurement) -> "Table":
    table = _table("from", "ms a chunk: p50", "p95", "processor p50", "memory MB")
    length_s = measurement.seconds / 10
    series = measurement.memory.series
    for number, (wall, cpu) in enumerate(zip(measurement.tenths, measurement.tenths_cpu, strict=True)):
        inside = [mb for seconds, mb in series if seconds <= (number + 1) * length_s]
        times = ["-"] * 3 if wall is None or cpu is None else [_ms(x) for x in (wall.p50, wall.p95, cpu.p50)]
        begins = clock(number * length_s, always_hours=True).partition(".")[0]
        table.add_row(begins, *times, f"{inside[-1]:.1f}" if inside else "-")
    return table


def _trials(trials: dict[int, Measurement]) -> "Table":
    names = ("compute", "lag", "partial", "final")
    table = _table("streams", "load", "p95 ms: compute", "waits", "partial", "final", "keep up")
    for streams, run in trials.items():
        found = run.percentiles
        times = ["-" if (one := found[name]) is None else _ms(one.p95) for name in names]
        table.add_row(str(streams), f"{run.load:.2f}", *times, "yes" if run.keeps_up else "no")
    return table


def _summary(measurement: Measurement) -> list[str]:
    lines = [f"real-time factor of a stream {measurement.rtf:.4f}"]
    series, memory = measurement.memory.series, measurement.memory
    if not measurement.fast:
        lines[0] += f", load {measurement.load:.2f}: {_verdict(measurement)}"
    elif measurement.slowdown is not None:
        cpu = "" if measurement.slowdown_cpu is None else f"; on the processor {measurement.slowdown_cpu:.3f}"
        lines += [f"compute, median of the last tenth / of the second: {measurement.slowdown:.3f}{cpu}"]
    if not series:
        lines += ["memory cannot be measured here: there is no /proc"]
    elif memory.settled is None or memory.growth is None:
        lines += [f"memory {series[0][1]:.1f} MB at the start, {series[-1][1]:.1f} MB at the end"]
    else:
        lines += [
            f"memory {memory.settled:.1f} MB after 10 minutes, {series[-1][1]:.1f} MB at the end:"
            f" {memory.growth:.3f}"
        ]
    return lines


def _verdict(measurement: Measurement) -> str:
    if measurement.keeps_up:
        return "keeps up"
    if measurement.gave_up:
        return "falls behind; the run was given up"
    return "falls behind"


def _words(words: Comparison) -> str:
    def share(count: int) -> str:
        return f"{count} ({100 * count / max(1, words.words):.2f} %)"

    return (
        f"words: {words.words} in the recordings alone; the stream differs in {share(words.differ)} of them,"
        f" in {share(words.differ_inside)} farther than {JOINT_S:g} s from a joint"
    )


def save_plot(report: Report, path: Path) -> None:
    """Draw compute and memory over time; at real time how late chunks are; with --find, its tries."""
    from matplotlib.figure import Figure

    run, trials = report.run, report.trials
    draws: list[Callable[[Axes], None]] = [partial(_draw_compute, run), partial(_draw_memory, run)]
    if not run.fast:
        draws.append(partial(_draw_latency, run))
    if trials:
        draws.append(partial(_draw_trials, trials))
    rows, columns = (2, 2) if len(draws) == 4 else (1, len(draws))
    figure = Figure(figsize=(4.5 * columns, 3.6 * rows), layout="constrained")
    for axis, draw in zip(figure.subplots(rows, columns).flat, draws, strict=True):
        draw(axis)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _draw_compute(measurement: Measurement, axis: "Axes") -> None:
    ms = 1000 * measurement.chunks.compute
    times = np.broadcast_to(np.arange(ms.shape[1]) * measurement.chunk_s / 60, ms.shape)
    step = max(1, ms.size // _MOST_DOTS)
    axis.plot(times.ravel()[::step], ms.ravel()[::step], ".", color="grey", markersize=1.5, alpha=0.5)
    middles = (np.arange(10) + 0.5) * measurement.seconds / 600
    walls, cpus = measurement.tenths, measurement.tenths_cpu
    lines = {
        "p50": [None if found is None else found.p50 for found in walls],
        "p95": [None if found is None else found.p95 for found in walls],
        "p50 on the processor": [None if found is None else found.p50 for found in cpus],
    }
    for name, values in lines.items():
        points = [(x, value) for x, value in zip(middles, values, strict=True) if value is not None]
        if points:
            axis.plot(*zip(*points, strict=True), ".-", label=f"{name} of a tenth")
    highest = float(np.nanpercentile(ms, 99.5)) if measurement.chunks.heard else 1.0
    axis.set(title="compute a chunk", xlabel="minutes", ylabel="ms", ylim=(0, 1.2 * highest))
    axis.legend(fontsize=8)


def _draw_memory(measurement: Measurement, axis: "Axes") -> None:
    series = measurement.memory.series
    if series:
        seconds, mb = zip(*series, strict=True)
        axis.plot(np.array(seconds) / 60, mb, ".-")
        axis.set_ylim(0, 1.2 * max(mb))
    axis.set(title="resident memory", xlabel="minutes", ylabel="MB")


def _draw_latency(measurement: Measurement, axis: "Axes") -> None:
    chunks = measurement.chunks
    for name, times in (("lag", chunks.lag), ("partial", chunks.partial), ("final", chunks.final)):
        known = times[~np.isnan(times)]
        if len(known):
            shares = np.linspace(0, 100, 201)
            axis.plot(1000 * np.percentile(known, shares), shares, label=_NAMES[name])
    axis.set(title="how long after the chunk's audio", xlabel="ms", ylabel="% of them are sooner")
    axis.legend(fontsize=8)


def _draw_trials(trials: dict[int, Measurement], axis: "Axes") -> None:
    runs = trials.values()
    axis.plot(list(trials), [run.load for run in runs], "o-", label="load")
    waits = [(run.percentiles["lag"], run.chunk_s) for run in runs]
    late = [0.0 if lag is None else lag.p95 / (1000 * chunk_s) for lag, chunk_s in waits]
    axis.plot(list(trials), late, "s--", label="p95 of waiting, in chunks")
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set(title="streams at once", xlabel="streams", ylim=(0, 2))
    axis.legend(fontsize=8)


def _ms(value: float) -> str:
    return f"{value:.1f}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
