"""What is wrong with an utterance."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One problem of one utterance. fatal: the recipe cannot go on. kind: a word to count by."""

    utterance: str
    where: str
    problem: str
    fatal: bool = True
    kind: str = "other"

    def __str__(self) -> str:
        return f"{self.where}: {self.utterance}: {self.problem}"


def findings_csv(findings: Iterable[Finding]) -> str:
    """The findings as CSV, a line each under a line of names."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["fatal", "kind", "utterance", "file", "problem"])
    writer.writerows([f.fatal, f.kind, f.utterance, f.where, f.problem] for f in findings)
    return text.getvalue()
