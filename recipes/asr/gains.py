"""What language models gain, and whether by chance."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from s4speech.metrics.error_rate import ErrorReport
from s4speech.metrics.significance import matched_pairs


def gains(reports: Mapping[str, ErrorReport]) -> dict[str, dict[str, Any]]:
    """Each report against each of those before it; the first is that without a language model.

    relative_gain: the part of the other's errors that is gone. difference: of the error rates,
    negative where it is better; segments, z, p: of the matched-pairs test.
    """
    found: dict[str, dict[str, Any]] = {}
    keys = list(reports)
    for i, key in enumerate(keys[1:], start=1):
        found[key] = {}
        for other in keys[:i]:
            report, before = reports[key], reports[other]
            relative = 1 - report.counts.rate / before.counts.rate if before.counts.rate else 0.0
            found[key][other] = {"relative_gain": relative} | asdict(
                matched_pairs(report.alignments, before.alignments)
            )
    return found


def gain_table() -> Table:
    """For `add_gains`."""
    return Table("part", "decoding", "against", "gain %", "difference", "p", box=None)


def add_gains(table: Table, part: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Rows of `gains`."""
    for key, others in found.items():
        for other, one in others.items():
            told = (f"{100 * one['relative_gain']:.1f}", f"{100 * one['difference']:+.2f}", f"{one['p']:.2g}")
            table.add_row(part, key, other, *told)
