"""What is wrong with an utterance."""

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
