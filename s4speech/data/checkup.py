"""Several data sets examined together: each by itself, and what test sets share with training."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from s4speech.data import shar
from s4speech.data.doctor import Diagnosis, diagnose
from s4speech.data.findings import Finding
from s4speech.data.leakage import leakage
from s4speech.data.source import Part

_TESTS = ("test", "dev", "eval", "valid")


@dataclass
class DataSet:
    """A part, its role (train, test, or empty) and what the doctor says of it."""

    part: Part
    role: str
    diagnosis: Diagnosis = field(default_factory=lambda: Diagnosis(0, 0.0, 0, []))

    @property
    def name(self) -> str:
        """As it is printed."""
        only = self.part.name in ("", "all")
        return self.part.path.resolve().name if only else self.part.name


@dataclass(frozen=True)
class Checkup:
    """The sets, and the findings of each test set against training by its number among the sets."""

    sets: list[DataSet]
    leaks: dict[int, list[Finding]]

    @cached_property
    def findings(self) -> list[Finding]:
        """All of them: set by set, then of the tests against training."""
        own = [finding for one in self.sets for finding in one.diagnosis.findings]
        return own + [finding for found in self.leaks.values() for finding in found]


def role_of(name: str) -> str:
    """What a part of a corpus is for, by the begin of its name; empty: it does not say."""
    if name.startswith("train"):
        return "train"
    return "test" if name.startswith(_TESTS) else ""


def check(
    sets: Sequence[DataSet],
    *,
    alphabet: Iterable[str] | None = None,
    min_s: float = 0.1,
    jobs: int = 1,
    fast: bool = False,
    repeated: int | None = None,
    advance: Callable[[int], object] = lambda clips: None,
) -> Checkup:
    """Diagnose each set, as `diagnose` does, and compare tests with training."""
    letters = None if alphabet is None else frozenset(alphabet)
    for one in sets:
        one.diagnosis = diagnose(
            one.part.cuts,
            alphabet=letters,
            min_s=min_s,
            jobs=jobs,
            fast=fast,
            repeated=repeated,
            advance=advance,
        )
        one.diagnosis.findings[:0] = one.part.findings
        if one.part.format == "shar" and not fast:
            one.diagnosis.findings[:0] = [
                Finding(
                    path.name, str(path), "is not as it was written: its checksum differs", kind="checksum"
                )
                for path in shar.changed_shards(one.part.path)
            ]
    train = [row for one in sets if one.role == "train" for row in one.diagnosis.rows]
    leaks = {
        number: leakage(train, one.diagnosis.rows, one.name)
        for number, one in enumerate(sets)
        if one.role == "test" and train
    }
    return Checkup(list(sets), leaks)
