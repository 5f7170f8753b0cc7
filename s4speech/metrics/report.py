"""Error reports and their comparison as text for a terminal and as plain data."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any, Literal

from s4speech.metrics.alignment import shown
from s4speech.metrics.error_rate import Counts, ErrorReport, Group
from s4speech.metrics.significance import Comparison

By = Literal["speaker", "length"]
NAMES = {"word": "WER", "char": "CER"}
BY_SPEAKER: frozenset[By] = frozenset({"speaker"})


def format_report(report: ErrorReport, *, by: Collection[By] = BY_SPEAKER, confusions: int = 10) -> str:
    """Return the report as tables of 80 columns: rates with their counts, groups, most frequent errors."""
    rates = [
        _row("WER", report.words, report.wer_interval),
        _row("CER", report.characters, report.cer_interval),
    ]
    lines = [
        f"{'':<10} {'rate %':>7}  {'95 % interval':<15}"
        f" {'ref':>8} {'corr':>8} {'sub':>7} {'del':>7} {'ins':>7}",
        *(rates if report.unit == "word" else reversed(rates)),
        f"{'sentences':<10} {percent(report.sentences_wrong / report.sentences):>7}"
        f"  {report.sentences_wrong} of {report.sentences} have an error",
    ]
    if "speaker" in by and report.speakers:
        lines += ["", *_groups("speaker", report.speakers, report.unit)]
    if "length" in by:
        lines += ["", *_groups(f"{report.unit}s in ref", report.lengths, report.unit)]
    if confusions and report.confusions:
        lines += ["", *_confusions(report, confusions)]
    return "\n".join(lines) + "\n"


def format_comparison(
    comparison: Comparison, report: ErrorReport, other: ErrorReport, *, most: int = 5
) -> str:
    """Return how ``report`` compares with ``other``: rates, interval, test, and where they differ most."""
    name, test = NAMES[report.unit], comparison.test
    low, high = comparison.interval
    lines = [
        f"{'':<6} {'this %':>8} {'other %':>8} {'difference':>11}  {'95 % interval':<18} {'relative':>9}",
        f"{name:<6} {percent(report.counts.rate):>8} {percent(other.counts.rate):>8}"
        f" {_signed(comparison.difference):>11}"
        f"  {_signed(low) + ' to ' + _signed(high):<18} {_signed(comparison.relative, 1) + ' %':>9}",
        f"MAPSSWE: {test.segments} segments, z {test.z:.2f}, {_probability(test.p)}: {_verdict(comparison)}",
        *(["fewer than 50 segments: z and p are rough"] if 0 < test.segments < 50 else []),
        f"utterances: {comparison.wins} better here, {comparison.losses} better there,"
        f" {len(comparison.errors) - comparison.wins - comparison.losses} equal",
    ]
    worst = list(comparison.errors.items())
    for title, sign, rows in (("largest losses", 1, worst), ("largest wins", -1, worst[::-1])):
        rows = [(utterance, pair) for utterance, pair in rows[:most] if sign * (pair[0] - pair[1]) > 0]
        if rows:
            lines += ["", f"  {title:<40} {'this':>5} {'other':>5} {report.unit + 's':>5}"]
            lines += [
                f"  {utterance:<40} {ours:>5} {theirs:>5} {_reference(report, utterance):>5}"
                for utterance, (ours, theirs) in rows
            ]
    return "\n".join(lines) + "\n"


def report_as_dict(report: ErrorReport, *, confusions: int = 20) -> dict[str, Any]:
    """Return the totals as plain data for JSON: rates as fractions, no utterances."""
    wrong = {
        kind: _of_kind(report, kind)[:confusions] for kind in ("substitutions", "deletions", "insertions")
    }
    return {
        "unit": report.unit,
        "wer": report.wer,
        "wer_interval_95": list(report.wer_interval),
        "cer": report.cer,
        "cer_interval_95": list(report.cer_interval),
        "words": asdict(report.words),
        "characters": asdict(report.characters),
        "sentences": report.sentences,
        "sentences_wrong": report.sentences_wrong,
        "speakers": {name: _group_as_dict(group) for name, group in report.speakers.items()},
        "lengths": {name: _group_as_dict(group) for name, group in report.lengths.items()},
        "confusions": {kind: [list(one) for one in some] for kind, some in wrong.items()},
    }


def comparison_as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data for JSON: this minus the other, rates as fractions."""
    return {
        "difference": comparison.difference,
        "interval_95": list(comparison.interval),
        "relative": comparison.relative,
        "mapsswe": asdict(comparison.test),
        "wins": comparison.wins,
        "losses": comparison.losses,
    }


def percent(rate: float, digits: int = 2) -> str:
    """Return a rate in per cent."""
    return f"{100 * rate:.{digits}f}"


def _row(name: str, counts: Counts, interval: tuple[float, float]) -> str:
    return (
        f"{name:<10} {percent(counts.rate):>7}  {_between(interval):<15} {counts.reference:>8}"
        f" {counts.correct:>8} {counts.substitutions:>7} {counts.deletions:>7} {counts.insertions:>7}"
    )


def _between(interval: tuple[float, float]) -> str:
    return "-" if math.isnan(interval[0]) else f"{percent(interval[0])} - {percent(interval[1])}"


def _groups(title: str, groups: Mapping[str, Group], unit: str) -> list[str]:
    head = (
        f"{title:<14} {NAMES[unit] + ' %':>7}  {'95 % interval':<15} {'utts':>6} {unit + 's':>7}"
        f" {'sub':>6} {'del':>6} {'ins':>6}"
    )
    return [head] + [
        f"{name:<14} {percent(group.counts.rate):>7}  {_between(group.interval):<15} {group.utterances:>6}"
        f" {group.counts.reference:>7} {group.counts.substitutions:>6} {group.counts.deletions:>6}"
        f" {group.counts.insertions:>6}"
        for name, group in groups.items()
    ]


def _confusions(report: ErrorReport, most: int) -> list[str]:
    """Return three columns side by side."""
    columns = [
        [
            f"{times:>5}  {shown(ref)} -> {shown(hyp)}"
            for ref, hyp, times in _of_kind(report, "substitutions")
        ],
        [f"{times:>5}  {shown(ref)}" for ref, _, times in _of_kind(report, "deletions")],
        [f"{times:>5}  {shown(hyp)}" for _, hyp, times in _of_kind(report, "insertions")],
    ]
    rows = zip_longest(*(column[:most] for column in columns), fillvalue="")
    lines = [f"{'substitutions (ref -> hyp)':<38} {'deletions':<20} insertions"]
    return lines + [f"{_cut(a, 38):<38} {_cut(b, 20):<20} {_cut(c, 20)}".rstrip() for a, b, c in rows]


def _of_kind(report: ErrorReport, kind: str) -> Sequence[tuple[str, str, int]]:
    lacks = {"substitutions": (False, False), "deletions": (False, True), "insertions": (True, False)}[kind]
    return [one for one in report.confusions if (not one[0], not one[1]) == lacks]


def _group_as_dict(group: Group) -> dict[str, Any]:
    interval = None if math.isnan(group.interval[0]) else list(group.interval)
    rate = {"rate": group.counts.rate, "interval_95": interval}
    return {"utterances": group.utterances} | rate | asdict(group.counts)


def _verdict(comparison: Comparison) -> str:
    test = comparison.test
    if test.z == 0 and comparison.difference:
        return "segments too few or too even for the test"
    if test.p >= 0.05:
        return "no significant difference at 0.05"
    return f"this is significantly {'better' if test.z < 0 else 'worse'} (p < 0.05)"


def _probability(p: float) -> str:
    return f"p {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def _reference(report: ErrorReport, utterance: str) -> int:
    return report.utterances[utterance].counts(report.unit).reference


def _signed(rate: float, digits: int = 2) -> str:
    return "-" if math.isnan(rate) else f"{100 * rate:+.{digits}f}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
