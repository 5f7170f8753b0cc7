"""Word and character error rates, how sure they are, and where the errors are."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import jiwer

from s4speech.errors import InputError
from s4speech.metrics.alignment import MARKS, Pair, align, align_characters, forgiven
from s4speech.metrics.interval import bootstrap_rate
from s4speech.metrics.network import LEVENSHTEIN, SCLITE, align_network, is_marked, is_optional, parse, plain

Unit = Literal["word", "char"]
Resample = Literal["utterance", "speaker"]


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
    def of(pairs: Iterable[Pair]) -> "Counts":
        """Count the marks of an alignment."""
        marks = Counter(pair.mark for pair in pairs)
        return Counts(*(marks[mark] for mark in MARKS))

    @staticmethod
    def total(counts: Iterable["Counts"]) -> "Counts":
        """Add up ``counts``."""
        parts = list(counts)
        return Counts(*(sum(getattr(part, field.name) for part in parts) for field in fields(Counts)))


@dataclass(frozen=True)
class UtteranceScore:
    """One utterance: its edits and its alignment, which is in the unit of the report."""

    speaker: str | None
    words: Counts
    characters: Counts
    alignment: tuple[Pair, ...]

    def counts(self, unit: Unit) -> Counts:
        """Return the edits in ``unit``."""
        return self.words if unit == "word" else self.characters


@dataclass(frozen=True)
class Group:
    """Some of the utterances: of one speaker, or of about one length. Counts are in the report's unit."""

    utterances: int
    counts: Counts
    interval: tuple[float, float]  # nan for one utterance


@dataclass(frozen=True)
class ErrorReport:
    """What `score` found. Rates are fractions (0.05 is 5 %); intervals are 95 %."""

    unit: Unit  # what alignments, groups and confusions are in: words or characters
    marked: bool  # references may hold alternatives, so another report may have taken others
    utterances: Mapping[str, UtteranceScore]  # by id, in the order of the references
    words: Counts
    characters: Counts  # spaces count as characters
    wer_interval: tuple[float, float]
    cer_interval: tuple[float, float]
    speakers: Mapping[str, Group]  # worst first; empty when no speakers were given
    lengths: Mapping[str, Group]  # by the length of the reference, shortest first: "1-5", "6-10", "11-20" ...
    confusions: tuple[
        tuple[str, str, int], ...
    ]  # (reference or "", hypothesis or "", times), most frequent first

    @property
    def wer(self) -> float:
        """Word error rate."""
        return self.words.rate

    @property
    def cer(self) -> float:
        """Character error rate."""
        return self.characters.rate

    @property
    def counts(self) -> Counts:
        """The edits in the report's unit."""
        return self.words if self.unit == "word" else self.characters

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the rate in the report's unit."""
        return self.wer_interval if self.unit == "word" else self.cer_interval

    @property
    def sentences(self) -> int:
        """How many utterances were scored."""
        return len(self.utterances)

    @property
    def sentences_wrong(self) -> int:
        """How many of them have at least one error."""
        return sum(one.counts(self.unit).errors > 0 for one in self.utterances.values())

    @property
    def alignments(self) -> dict[str, tuple[Pair, ...]]:
        """Each utterance's alignment by id: what `s4speech.metrics.alignment.listing` prints."""
        return {utterance: one.alignment for utterance, one in self.utterances.items()}


def score(
    refs: Mapping[str, str],
    hyps: Mapping[str, str],
    speakers: Mapping[str, str] | None = None,
    *,
    unit: Unit = "word",
    sclite: bool = False,
    marked: bool = False,
    resample: Resample = "utterance",
    resamples: int = 1000,
    seed: int = 0,
) -> ErrorReport:
    """Score hypotheses against references, both text by utterance id. Texts may be empty.

    Every edit costs 1, so the errors are the fewest there can be. ``sclite``: a substitution costs 4, a
    deletion or an insertion 3, as in sclite: the split of the errors, and now and then their number, is
    sclite's. ``marked``: references may hold alternatives and optional words (`s4speech.metrics.network`);
    characters are then counted along the alternatives that the words took. Texts are compared as they are:
    normalise both sides first. Intervals: percentile bootstrap over utterances, or over speakers with all
    their utterances, ``resamples`` of them drawn with ``seed``; by speaker and by length always over
    utterances.

    Raises InputError: no references, an id on one side only, an utterance without a speaker (naming it), or
    ``resample`` by speaker without speakers.
    """
    check_same_ids(refs, hyps, "hypothesis", "reference")
    if speakers is not None and (missing := [u for u in refs if u not in speakers]):
        raise InputError(
            f"utterance '{missing[0]}' has no speaker ({len(missing)} such); give each one's speaker"
        )
    if speakers is None and resample == "speaker":
        raise InputError("score: intervals by speaker need the speakers; give them, or resample utterances")
    utterances = {
        utterance: _score_one(
            ref, hyps[utterance], speakers[utterance] if speakers is not None else None,
            unit=unit, sclite=sclite, marked=marked and is_marked(ref),
        )
        for utterance, ref in refs.items()
    }  # fmt: skip
    scored = list(utterances.values())
    words, characters = [one.words for one in scored], [one.characters for one in scored]
    lots = [one.speaker for one in scored] if resample == "speaker" else None
    by_speaker = _groups(scored, [one.speaker for one in scored], unit, resamples, seed)
    lengths = [length_class(one.counts(unit).reference) for one in scored]
    by_length = _groups(scored, lengths, unit, resamples, seed)
    return ErrorReport(
        unit=unit,
        marked=marked,
        utterances=utterances,
        words=Counts.total(words),
        characters=Counts.total(characters),
        wer_interval=_interval(words, lots, resamples, seed),
        cer_interval=_interval(characters, lots, resamples, seed),
        speakers=dict(sorted(by_speaker.items(), key=lambda item: (-item[1].counts.rate, item[0]))),
        lengths=dict(sorted(by_length.items(), key=lambda item: int(item[0].partition("-")[0]))),
        confusions=_confusions(scored),
    )


def length_class(length: int) -> str:
    """Return the class of a reference of ``length`` words: 0, 1-5, 6-10, 11-20, 21-40 and so on, doubling."""
    if length == 0:
        return "0"
    low, high = 1, 5
    while length > high:
        low, high = high + 1, 2 * high
    return f"{low}-{high}"


def check_same_ids(
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


def by_lot(counts: Sequence[Counts], lots: Sequence[str | None] | None) -> list[Counts]:
    """Add up the counts of each lot (a speaker), in order of appearance. No lots: each for itself."""
    if lots is None:
        return list(counts)
    found: dict[str | None, list[Counts]] = {}
    for lot, one in zip(lots, counts, strict=True):
        found.setdefault(lot, []).append(one)
    return [Counts.total(some) for some in found.values()]


def _interval(
    counts: Sequence[Counts], lots: Sequence[str | None] | None, resamples: int, seed: int
) -> tuple[float, float]:
    rows = by_lot(counts, lots)
    errors, lengths = [one.errors for one in rows], [one.reference for one in rows]
    return bootstrap_rate(errors, lengths, resamples=resamples, seed=seed)


def _groups(
    scored: Sequence[UtteranceScore], names: Sequence[str | None], unit: Unit, resamples: int, seed: int
) -> dict[str, Group]:
    """Return the utterances of each name together; those without one are left out."""
    found: dict[str, list[Counts]] = {}
    for name, one in zip(names, scored, strict=True):
        if name is not None:
            found.setdefault(name, []).append(one.counts(unit))
    unsure = math.nan, math.nan  # one utterance tells nothing of the spread
    return {
        name: Group(
            utterances=len(some),
            counts=Counts.total(some),
            interval=_interval(some, None, resamples, seed) if len(some) > 1 else unsure,
        )
        for name, some in found.items()
    }


def _score_one(
    ref: str, hyp: str, speaker: str | None, *, unit: Unit, sclite: bool, marked: bool
) -> UtteranceScore:
    hyp = " ".join(hyp.split())
    if marked:
        pairs = align_network(parse(ref), hyp.split(), SCLITE if sclite else LEVENSHTEIN)
        # A forgiven word is among the words that are right, but nobody said its letters.
        said = [pair.ref for pair in pairs if pair.ref and not forgiven(pair)]
        ref = " ".join(word[1:-1] if is_optional(word) else word for word in said)
    else:
        ref = " ".join(ref.split())
        pairs = align_network(plain(ref.split()), hyp.split(), SCLITE) if sclite else align(ref, hyp)
    words = Counts.of(pairs)
    if unit == "char":
        pairs = align_network(plain(ref), hyp, SCLITE) if sclite else align_characters(ref, hyp)
        return UtteranceScore(speaker, words, Counts.of(pairs), pairs)
    output = jiwer.process_characters(ref, hyp)
    characters = Counts(output.hits, output.substitutions, output.deletions, output.insertions)
    return UtteranceScore(speaker, words, characters, pairs)


def _confusions(utterances: Iterable[UtteranceScore]) -> tuple[tuple[str, str, int], ...]:
    """Return the wrong pairs, the most frequent first, the alphabet deciding between equals."""
    times = Counter((pair.ref, pair.hyp) for one in utterances for pair in one.alignment if pair.mark != "C")
    ordered = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return tuple((ref, hyp, count) for (ref, hyp), count in ordered)
