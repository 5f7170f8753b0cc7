"""Word and character error rates, how sure they are, and whether two of them differ."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import jiwer
import numpy as np
from numpy.typing import NDArray

from s4speech.errors import InputError
from s4speech.metrics.alignment import MARKS, Pair, align


@dataclass(frozen=True)
class Counts:
    """Edits of hypotheses against references, in words or in characters."""

    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def reference(self) -> int:
        """How many words (or characters) the references have."""
        return self.correct + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word: 0.05 is 5 %. Over an empty reference 0 without errors, else infinite."""
        if self.reference == 0:
            return math.inf if self.errors else 0.0
        return self.errors / self.reference

    @staticmethod
    def total(counts: Iterable["Counts"]) -> "Counts":
        """Add up ``counts``."""
        parts = list(counts)
        return Counts(*(sum(getattr(part, field.name) for part in parts) for field in fields(Counts)))


@dataclass(frozen=True)
class UtteranceScore:
    """One utterance: its edits and its alignment."""

    speaker: str | None
    words: Counts
    characters: Counts
    alignment: tuple[Pair, ...]


@dataclass(frozen=True)
class ErrorReport:
    """What `score` found. Rates are fractions (0.05 is 5 %); intervals are 95 %."""

    utterances: Mapping[str, UtteranceScore]  # by id, in the order of the references
    words: Counts
    characters: Counts  # spaces count as characters
    wer_interval: tuple[float, float]
    cer_interval: tuple[float, float]
    speakers: Mapping[str, Counts]  # words by speaker, worst first; empty when no speakers were given
    confusions: tuple[tuple[str, str, int], ...]  # (reference word or "", hypothesis word or "", times)

    @property
    def wer(self) -> float:
        """Word error rate."""
        return self.words.rate

    @property
    def cer(self) -> float:
        """Character error rate."""
        return self.characters.rate

    @property
    def sentences(self) -> int:
        """How many utterances were scored."""
        return len(self.utterances)

    @property
    def sentences_wrong(self) -> int:
        """How many of them have at least one wrong word."""
        return sum(one.words.errors > 0 for one in self.utterances.values())

    @property
    def alignments(self) -> dict[str, tuple[Pair, ...]]:
        """Each utterance's alignment by id: what `s4speech.metrics.alignment.listing` prints."""
        return {utterance: one.alignment for utterance, one in self.utterances.items()}


@dataclass(frozen=True)
class MatchedPairs:
    """Whether two systems differ on the same utterances."""

    difference: float  # word error rate of a minus that of b: negative when a is better
    z: float  # standard errors from no difference
    p: float  # two-sided: how often chance alone would give as much
    segments: int  # utterances compared


def score(
    refs: Mapping[str, str],
    hyps: Mapping[str, str],
    speakers: Mapping[str, str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    most_confused: int = 20,
) -> ErrorReport:
    """Score hypotheses against references, both text by utterance id. Texts may be empty.

    Every edit costs 1 (sclite's weights 4/3/3 differ only in which of equally many edits are shown).
    Texts are compared as they are: normalise both sides first. Intervals: percentile bootstrap over
    utterances, ``resamples`` of them drawn with ``seed``.

    Raises InputError: no references, or an id on one side only (naming it).
    """
    _check_same_ids(refs, hyps, "hypothesis", "reference")
    if speakers is not None and (missing := [u for u in refs if u not in speakers]):
        raise InputError(
            f"utterance '{missing[0]}' has no speaker ({len(missing)} such); give each one's speaker"
        )
    utterances = {
        utterance: _score_one(ref, hyps[utterance], speakers[utterance] if speakers is not None else None)
        for utterance, ref in refs.items()
    }
    words = [one.words for one in utterances.values()]
    characters = [one.characters for one in utterances.values()]
    return ErrorReport(
        utterances=utterances,
        words=Counts.total(words),
        characters=Counts.total(characters),
        wer_interval=_bootstrap(words, resamples, seed),
        cer_interval=_bootstrap(characters, resamples, seed),
        speakers=_by_speaker(utterances.values()),
        confusions=_confusions(utterances.values(), most_confused),
    )


def matched_pairs(report_a: ErrorReport, report_b: ErrorReport) -> MatchedPairs:
    """Test whether systems a and b differ in word errors on the same utterances.

    The matched-pairs test of Gillick & Cox (1989, "Some statistical issues in the comparison of speech
    recognition algorithms"), with whole utterances as segments. MAPSSWE cuts at runs of words both get
    right, so it has more segments; utterances are independent too and need no such choice. The normal
    approximation wants about 50 of them or more.

    Raises InputError: other utterances or references in b than in a, or fewer than two.
    """
    a, b = report_a.utterances, report_b.utterances
    _check_same_ids(a, b, "second report", "first")
    if len(a) < 2:
        raise InputError(f"matched pairs: got {len(a)} utterance, wanted at least 2; score more of them")
    for utterance, one in a.items():
        if _reference(one) != _reference(b[utterance]):
            raise InputError(
                f"matched pairs: utterance '{utterance}' has another reference in the second report;"
                " score both against the same references"
            )
    differences = np.array([one.words.errors - b[u].words.errors for u, one in a.items()], dtype=np.float64)
    mean = float(differences.mean())
    standard_error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    # Equal differences everywhere leave no spread to divide by.
    z = mean / standard_error if standard_error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    words = report_a.words.reference
    return MatchedPairs(
        difference=float(differences.sum()) / words if words else 0.0,
        z=z,
        p=math.erfc(abs(z) / math.sqrt(2)),
        segments=len(differences),
    )


def _check_same_ids(
    first: Mapping[str, object], second: Mapping[str, object], second_name: str, first_name: str
) -> None:
    """Raise InputError when an id is on one side only, or there are none."""
    if not first:
        raise InputError(f"score: no {first_name} utterances; wanted at least one")
    for has, lacks, name in ((first, second, second_name), (second, first, first_name)):
        if missing := [utterance for utterance in has if utterance not in lacks]:
            raise InputError(
                f"utterance '{missing[0]}' has no {name} ({len(missing)} such of {len(has)});"
                " wanted the same ids on both sides (an empty text is allowed)"
            )


def _score_one(ref: str, hyp: str, speaker: str | None) -> UtteranceScore:
    ref, hyp = " ".join(ref.split()), " ".join(hyp.split())
    pairs = align(ref, hyp)
    marks = Counter(pair.mark for pair in pairs)
    output = jiwer.process_characters(ref, hyp)
    characters = Counts(output.hits, output.substitutions, output.deletions, output.insertions)
    return UtteranceScore(speaker, Counts(*(marks[mark] for mark in MARKS)), characters, pairs)


def _reference(one: UtteranceScore) -> list[str]:
    return [pair.ref for pair in one.alignment if pair.mark != "I"]


def _bootstrap(counts: list[Counts], resamples: int, seed: int) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of the rate over resampled utterances; nan without references."""
    errors = np.array([one.errors for one in counts], dtype=np.int64)
    lengths = np.array([one.reference for one in counts], dtype=np.int64)
    if lengths.sum() == 0:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    # How often each utterance is drawn is multinomial; in blocks, so that a large test set fits in memory.
    block = max(1, 4_000_000 // len(counts))
    rates: list[NDArray[np.float64]] = []
    for start in range(0, resamples, block):
        times = generator.multinomial(
            len(counts), np.full(len(counts), 1 / len(counts)), size=min(block, resamples - start)
        )
        drawn = times @ lengths
        # A draw of silent utterances only has no rate.
        rates.append((times @ errors)[drawn > 0] / drawn[drawn > 0])
    low, high = np.percentile(np.concatenate(rates), [2.5, 97.5])
    return float(low), float(high)


def _by_speaker(utterances: Iterable[UtteranceScore]) -> dict[str, Counts]:
    """Return word counts by speaker, highest rate first."""
    groups: dict[str, list[Counts]] = {}
    for one in utterances:
        if one.speaker is not None:
            groups.setdefault(one.speaker, []).append(one.words)
    totals = {speaker: Counts.total(counts) for speaker, counts in groups.items()}
    return dict(sorted(totals.items(), key=lambda item: (-item[1].rate, item[0])))


def _confusions(utterances: Iterable[UtteranceScore], most: int) -> tuple[tuple[str, str, int], ...]:
    """Return the most frequent wrong pairs, the alphabet deciding between equals."""
    times = Counter((pair.ref, pair.hyp) for one in utterances for pair in one.alignment if pair.mark != "C")
    ordered = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return tuple((ref, hyp, count) for (ref, hyp), count in ordered[:most])
