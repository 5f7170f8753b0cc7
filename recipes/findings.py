"""What the doctor stages of the recipes find."""

from collections.abc import Sequence
from pathlib import Path

from s4speech.data.findings import Finding, findings_csv
from s4speech.data.problems import raise_problems

FINDINGS = "findings.csv"


def write_findings(findings: Sequence[Finding], folder: Path) -> None:
    """All of them, as findings.csv."""
    (folder / FINDINGS).write_text(findings_csv(findings), encoding="utf-8")


def verdict(findings: Sequence[Finding], folder: Path) -> str:
    """A line for the user. Raises InputError: a fatal one."""
    fatal = [str(f) for f in findings if f.fatal]
    raise_problems(fatal, f"correct or remove these utterances; all of them: {folder / FINDINGS}")
    return f"doctor: no fatal finding, {len(findings)} to look at in {folder / FINDINGS}"
