"""What `s4speech doctor` prints and writes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from s4speech.data.checkup import Checkup, DataSet
from s4speech.data.findings import Finding
from s4speech.data.leakage import KINDS

_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 24
_SHOWN = 20  # odd characters in the terminal; files have all


def print_report(checked: Checkup, console: Console, *, fast: bool) -> None:
    """Tables: the sets, what was found by kind, odd characters, tests against training; a verdict."""
    console.print(_sets(checked.sets))
    for one in checked.sets:
        told = ", ".join(
            f"{name} {value:.2f}" for name, value in _durations(one.diagnosis.durations_s).items()
        )
        console.print(f"{escape(one.name)}: {told or 'no'} s", highlight=False)
        console.print(f"  {_histogram(one.diagnosis.durations_s)}", highlight=False)
    if checked.findings:
        console.print(_kinds(checked.findings))
    if any(one.diagnosis.odd for one in checked.sets):
        console.print(_characters(checked.sets))
    if checked.leaks:
        console.print(_leaks(checked))
    fatal = sum(finding.fatal for finding in checked.findings)
    warnings = len(checked.findings) - fatal
    heard = "only headers were read" if fast else "all audio was decoded"
    if checked.findings:
        console.print(f"{fatal} errors, {warnings} warnings; {heard}")
    else:
        console.print(f"nothing found; {heard}")


def _sets(sets: Sequence[DataSet]) -> Table:
    table = Table(title="data")
    for name in ("set", "role", "format"):
        table.add_column(name, overflow="fold")
    for name in ("utterances", "hours", "speakers", "Hz"):
        table.add_column(name, justify="right")
    for one in sets:
        found = one.diagnosis
        rates = ", ".join(str(rate) for rate, _ in found.rates.most_common(3))
        counts = (str(found.utterances), f"{found.hours:.2f}", str(found.speakers) if found.speakers else "?")
        table.add_row(escape(one.name), one.role, one.part.format, *counts, rates)
    return table


def _kinds(findings: Sequence[Finding]) -> Table:
    table = Table(title="findings")
    for name in ("kind", "", "number"):
        table.add_column(name, justify="right" if name == "number" else "left")
    table.add_column("the first", overflow="fold")
    first: dict[str, Finding] = {}
    counts = Counter(finding.kind for finding in findings)
    for finding in findings:
        first.setdefault(finding.kind, finding)
    for kind, finding in sorted(first.items(), key=lambda row: (not row[1].fatal, -counts[row[0]])):
        weight = "[red]error[/]" if finding.fatal else "[yellow]warning[/]"
        table.add_row(kind, weight, str(counts[kind]), escape(f"{finding.utterance}: {finding.problem}"))
    return table


def _characters(sets: Sequence[DataSet]) -> Table:
    table = Table(title="odd characters")
    for name in ("set", "character", "code point", "times", "why"):
        table.add_column(name, justify="right" if name == "times" else "left")
    for one in sets:
        for odd in one.diagnosis.odd[:_SHOWN]:
            shown = odd.character if odd.character.isprintable() and not odd.character.isspace() else ""
            table.add_row(escape(one.name), escape(shown), odd.code, str(odd.times), odd.why)
        if len(one.diagnosis.odd) > _SHOWN:
            table.add_row(escape(one.name), "...", f"{len(one.diagnosis.odd) - _SHOWN} more", "", "")
    return table


def _leaks(checked: Checkup) -> Table:
    table = Table(title="of the tests, what is also in training")
    table.add_column("set")
    for name in ("utterances", "same id", "same audio", "same text", "speakers"):
        table.add_column(name, justify="right")
    for number, found in checked.leaks.items():
        one = checked.sets[number]
        counts = Counter(finding.kind for finding in found)
        cells = [str(counts[kind]) for kind in KINDS]
        if not any(row.digest for row in one.diagnosis.rows):
            cells[1] = "not read"
        table.add_row(escape(one.name), str(one.diagnosis.utterances), *cells)
    return table


def _durations(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    low, median, high, top = np.percentile(seconds, [0, 50, 99, 100])
    return {"min": float(low), "median": float(median), "p99": float(high), "max": float(top)}


def _histogram(seconds: Sequence[float]) -> str:
    """A line of bars from 0 to the 99th percentile."""
    if not seconds:
        return ""
    top = float(np.percentile(seconds, 99)) or 1.0
    counts, _ = np.histogram(np.minimum(seconds, top), bins=_BINS, range=(0, top))
    levels = np.ceil(counts / max(counts.max(), 1) * (len(_BARS) - 1)).astype(int)
    return f"0 s |{''.join(_BARS[level] for level in levels)}| {top:.1f} s"


def as_dict(checked: Checkup) -> dict[str, Any]:
    """All of it, as JSON can hold it."""
    return {
        "sets": [_set_as_dict(one) for one in checked.sets],
        "leakage": [
            {"set": checked.sets[number].name, "utterances": checked.sets[number].diagnosis.utterances}
            | {kind: sum(finding.kind == kind for finding in found) for kind in KINDS}
            for number, found in checked.leaks.items()
        ],
        "findings": [
            {
                "kind": finding.kind,
                "fatal": finding.fatal,
                "utterance": finding.utterance,
                "file": finding.where,
                "problem": finding.problem,
            }
            for finding in checked.findings
        ],
    }


def _set_as_dict(one: DataSet) -> dict[str, Any]:
    found = one.diagnosis
    counts, edges = np.histogram(found.durations_s or [0.0], bins=_BINS)
    if not found.durations_s:
        counts[:] = 0
    return {
        "name": one.name,
        "path": str(one.part.path),
        "role": one.role,
        "format": one.part.format,
        "utterances": found.utterances,
        "hours": found.hours,
        "speakers": found.speakers,
        "sample_rates": {str(rate): times for rate, times in found.rates.items()},
        "duration_s": _durations(found.durations_s) | {"edges": edges.tolist(), "counts": counts.tolist()},
        "odd_characters": [
            {"character": odd.character, "code": odd.code, "times": odd.times, "why": odd.why}
            for odd in found.odd
        ],
        "findings": dict(Counter(finding.kind for finding in found.findings)),
    }
