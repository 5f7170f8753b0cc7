"""An error report as text and as plain data."""

from dataclasses import asdict
from typing import Any

from s4speech.metrics.error_rate import Counts, ErrorReport


def format_report(report: ErrorReport) -> str:
    """Return the report as tables: both rates with their counts, speakers, most frequent errors."""
    lines = [
        f"{'':<10} {'rate %':>7}  {'95 % interval':<15}"
        f" {'ref':>8} {'corr':>8} {'sub':>7} {'del':>7} {'ins':>7}",
        _row("WER", report.words, report.wer_interval),
        _row("CER", report.characters, report.cer_interval),
        f"{'sentences':<10} {_percent(report.sentences_wrong / report.sentences):>7}"
        f"  {report.sentences_wrong} of {report.sentences} have an error",
    ]
    if report.speakers:
        lines += ["", f"{'speaker':<16} {'WER %':>7} {'words':>8} {'sub':>7} {'del':>7} {'ins':>7}"]
        lines += [
            f"{speaker:<16} {_percent(counts.rate):>7} {counts.reference:>8} {counts.substitutions:>7}"
            f" {counts.deletions:>7} {counts.insertions:>7}"
            for speaker, counts in report.speakers.items()
        ]
    if report.confusions:
        lines += ["", "times  most frequent errors (reference -> hypothesis)"]
        lines += [f"{times:>5}  {ref or '***'} -> {hyp or '***'}" for ref, hyp, times in report.confusions]
    return "\n".join(lines) + "\n"


def report_as_dict(report: ErrorReport) -> dict[str, Any]:
    """Return the totals as plain data for JSON: rates as fractions, no utterances."""
    return {
        "wer": report.wer,
        "wer_interval_95": list(report.wer_interval),
        "cer": report.cer,
        "cer_interval_95": list(report.cer_interval),
        "words": asdict(report.words),
        "characters": asdict(report.characters),
        "sentences": report.sentences,
        "sentences_wrong": report.sentences_wrong,
        "speakers": {name: asdict(counts) | {"wer": counts.rate} for name, counts in report.speakers.items()},
        "confusions": [list(one) for one in report.confusions],
    }


def _row(name: str, counts: Counts, interval: tuple[float, float]) -> str:
    between = f"{_percent(interval[0])} - {_percent(interval[1])}"
    return (
        f"{name:<10} {_percent(counts.rate):>7}  {between:<15} {counts.reference:>8} {counts.correct:>8}"
        f" {counts.substitutions:>7} {counts.deletions:>7} {counts.insertions:>7}"
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f}"
