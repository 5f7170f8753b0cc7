"""Whether two systems differ on the same utterances."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from s4speech.errors import InputError
from s4speech.metrics.alignment import Pair
from s4speech.metrics.error_rate import Counts, ErrorReport, Resample, by_lot, check_same_ids
from s4speech.metrics.interval import percentiles, resampled_totals

# So many words in a row that both systems have right end a segment (sc_stats: "minimum number of correct
# boundary words").
BOUNDARY_WORDS = 2


@dataclass(frozen=True)
class MatchedPairs:
    """What `matched_pairs` found."""

    segments: int  # stretches with errors, which the test takes for independent
    difference: float  # error rate of a minus that of b: negative when a is better
    z: float  # standard errors from no difference
    p: float  # two-sided: how often chance alone would give as much


@dataclass(frozen=True)
class Comparison:
    """System a against system b, in the unit of their reports."""

    difference: float  # error rate of a minus that of b: negative when a is better
    interval: tuple[float, float]  # of the difference, 95 %, paired bootstrap
    relative: float  # the difference in parts of b's rate: -0.1 is 10 % fewer errors; nan where b has none
    test: MatchedPairs
    errors: Mapping[str, tuple[int, int]]  # of a and of b by utterance, a's worst losses first

    @property
    def wins(self) -> int:
        """In how many utterances a has fewer errors."""
        return sum(a < b for a, b in self.errors.values())

    @property
    def losses(self) -> int:
        """In how many utterances a has more errors."""
        return sum(a > b for a, b in self.errors.values())


def compare(
    a: ErrorReport, b: ErrorReport, *, resample: Resample = "utterance", resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Compare two reports over the same references.

    The interval draws utterances (or speakers with all of theirs) and takes what both systems did on them, so
    that what is hard for both does not widen it (Bisani & Ney 2004).

    Raises InputError: other utterances, references or units in b than in a, or ``resample`` by speaker
    without speakers.
    """
    check_same_ids(a.utterances, b.utterances, "second report", "first")
    if a.unit != b.unit:
        raise InputError(f"compare: got {a.unit} and {b.unit} errors; score both in the same unit")
    lots = [one.speaker for one in a.utterances.values()] if resample == "speaker" else None
    if lots is not None and None in lots:
        raise InputError("compare: intervals by speaker need the speakers; give them, or resample utterances")
    ours = [one.counts(a.unit) for one in a.utterances.values()]
    theirs = [b.utterances[utterance].counts(b.unit) for utterance in a.utterances]
    rows = list(zip(by_lot(ours, lots), by_lot(theirs, lots), strict=True))
    columns = [[one.errors for one, _ in rows], [one.errors for _, one in rows]]
    # Alternatives may make the references of the two systems differ by a word or so.
    columns += [[one.reference for _, one in rows], [one.reference for one, _ in rows]]
    drawn = resampled_totals(columns, resamples=resamples, seed=seed)
    test = matched_pairs(a.alignments, b.alignments, marked=a.marked)
    errors = {
        utterance: (one.errors, other.errors)
        for utterance, one, other in zip(a.utterances, ours, theirs, strict=True)
    }
    return Comparison(
        difference=test.difference,
        interval=percentiles(drawn[:, 0] / drawn[:, 3] - drawn[:, 1] / drawn[:, 2]),
        relative=test.difference / b.counts.rate if b.counts.errors else math.nan,
        test=test,
        errors=dict(sorted(errors.items(), key=lambda item: item[1][1] - item[1][0])),
    )


def matched_pairs(
    a: Mapping[str, Sequence[Pair]], b: Mapping[str, Sequence[Pair]], *, marked: bool = False
) -> MatchedPairs:
    """Test whether systems a and b make equally many errors, given their alignments by utterance.

    The matched-pairs sentence-segment word error test (MAPSSWE) of Gillick & Cox (1989, "Some statistical
    issues in the comparison of speech recognition algorithms") as NIST's sc_stats does it: an utterance is
    cut where both have two or more words in a row right; the segments between, those with errors, are taken
    for independent, and z is the mean of their differences over its standard error. The normal approximation
    wants about 50 segments or more. Without spread z is 0, as in sc_stats. ``marked``: the references have
    alternatives, so a and b may have taken different ones.

    Raises InputError: other utterances or references in b than in a.
    """
    check_same_ids(a, b, "second system", "first")
    segments: list[tuple[int, int]] = []
    for utterance, pairs in a.items():
        segments += _segments(_steps(pairs, b[utterance], utterance, marked))
    differences = np.array([ours - theirs for ours, theirs in segments], dtype=np.float64)
    z = 0.0
    if len(differences) > 1 and (deviation := float(differences.std(ddof=1))) > 0:
        z = float(differences.mean()) / (deviation / math.sqrt(len(differences)))
    rates = [Counts.of(chain.from_iterable(system.values())).rate for system in (a, b)]
    # Nothing but insertions has no rate, on either side.
    difference = rates[0] - rates[1] if all(map(math.isfinite, rates)) else math.nan
    return MatchedPairs(len(segments), difference, z, math.erfc(abs(z) / math.sqrt(2)))


@dataclass(frozen=True)
class _Step:
    """A word of the reference, or what was inserted before it: what both systems made of it."""

    right: bool  # a word, and both have it right
    a: int  # errors
    b: int


def _segments(steps: Iterator[_Step]) -> Iterator[tuple[int, int]]:
    """Yield the errors of both systems in each segment of an utterance that has any."""
    a = b = right = 0
    for step in steps:
        right = right + 1 if step.right else 0
        a, b = a + step.a, b + step.b
        if right == BOUNDARY_WORDS and a + b:
            yield a, b
            a = b = 0
    if a + b:
        yield a, b


def _steps(a: Sequence[Pair], b: Sequence[Pair], utterance: str, marked: bool) -> Iterator[_Step]:
    """Walk along the reference with both alignments.

    Where the two took other alternatives of it, what is not the same is one step, never right.
    """
    ours, theirs = _by_word(a), _by_word(b)
    refs = [word for word, *_ in ours], [word for word, *_ in theirs]
    if refs[0] == refs[1]:
        stretches: Sequence[tuple[str, int, int, int, int]] = [("equal", 0, len(ours), 0, len(theirs))]
    elif marked:
        stretches = difflib.SequenceMatcher(None, *refs, autojunk=False).get_opcodes()
    else:
        raise InputError(
            f"matched pairs: utterance '{utterance}' has another reference in the second system;"
            " score both against the same references"
        )
    for kind, start_a, end_a, start_b, end_b in stretches:
        if kind != "equal":
            left, right = ours[start_a:end_a], theirs[start_b:end_b]
            yield _Step(False, sum(i + e for _, i, e in left), sum(i + e for _, i, e in right))
            continue
        for (_, inserted_a, error_a), (_, inserted_b, error_b) in zip(
            ours[start_a:end_a], theirs[start_b:end_b], strict=True
        ):
            if inserted_a or inserted_b:
                yield _Step(False, inserted_a, inserted_b)
            yield _Step(not error_a and not error_b, error_a, error_b)


def _by_word(pairs: Sequence[Pair]) -> list[tuple[str, int, int]]:
    """Return each word of the reference, and its end (""): insertions before it, and 1 if it is wrong."""
    words: list[tuple[str, int, int]] = []
    inserted = 0
    for pair in pairs:
        if pair.mark == "I":
            inserted += 1
            continue
        words.append((pair.ref, inserted, int(pair.mark != "C")))
        inserted = 0
    return [*words, ("", inserted, 0)]
