"""What the doctor stages of the recipes find."""

import csv
from collections.abc import Sequence
from pathlib import Path

from s4speech.data.doctor import Finding
from s4speech.data.problems import raise_problems

FINDINGS = "findings.csv"


def write_findings(findings: Sequence[Finding], folder: Path) -> None:
    """All of them, as findings.csv."""
    with (folder / FINDINGS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["fatal", "utterance", "file", "problem"])
        writer.writerows([f.fatal, f.utterance, f.where, f.problem] for f in findings)


def verdict(findings: Sequence[Finding], folder: Path) -> str:
    """A line for the user. Raises InputError: a fatal one."""
    fatal = [str(f) for f in findings if f.fatal]
    raise_problems(fatal, f"correct or remove these utterances; all of them: {folder / FINDINGS}")
    return f"doctor: no fatal finding, {len(findings)} to look at in {folder / FINDINGS}"
