"""The manifest doctor: reads every utterance before anything is trained on it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lhotse import CutSet
from lhotse.cut import Cut

from s4speech.data.clip import Clip, Heard, hear_all
from s4speech.data.cuts import CHOSEN
from s4speech.data.findings import Finding
from s4speech.data.leakage import Row, leakage
from s4speech.data.shar import place_of
from s4speech.data.transcripts import (
    OddCharacter,
    odd_characters,
    plain_text,
    rate_outliers,
    repeated_texts,
)

__all__ = ["Diagnosis", "Finding", "diagnose", "examine", "leakage", "source"]


@dataclass(frozen=True)
class Diagnosis:
    """utterances, hours, speakers of a part, and what is wrong with it.

    durations_s: of each utterance. rates: utterances of each sample rate (Hz) of the files. odd: characters.
    rows: what `leakage` compares.
    """

    utterances: int
    hours: float
    speakers: int
    findings: list[Finding]
    durations_s: list[float] = field(default_factory=list)
    rates: Counter[int] = field(default_factory=Counter)
    odd: list[OddCharacter] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def examine(cuts: CutSet, *, alphabet: Iterable[str] | None, min_s: float = 0.1, jobs: int = 1) -> Diagnosis:
    """Decode all audio and check all text, in `jobs` processes. alphabet: None where any character may be.

    Fatal: unreadable or truncated audio, NaN, several channels, shorter than `min_s`, empty text, characters
    outside `alphabet`, a repeated id. Not fatal: silent (peak below 0.001), clipped (1 % of samples at
    full scale) and off-centre (mean above 0.02) clips, the same audio again, a speaking rate that nobody has.
    """
    return diagnose(cuts, alphabet=alphabet, min_s=min_s, jobs=jobs)


def diagnose(
    cuts: Iterable[Cut],
    *,
    alphabet: Iterable[str] | None = None,
    min_s: float = 0.1,
    jobs: int = 1,
    fast: bool = False,
    repeated: int | None = None,
    advance: Callable[[int], object] = lambda clips: None,
) -> Diagnosis:
    """`examine`, also of data without an alphabet, or without texts altogether (noise).

    fast: only headers of the audio are read. repeated: texts of so many utterances are findings, too.
    advance: is told how many more utterances are done.
    """
    letters = None if alphabet is None else frozenset(alphabet)
    all_cuts = list(cuts)
    heard = list(hear_all([_clip(cut, min_s, fast) for cut in all_cuts], jobs, advance))
    told = any(cut.supervisions for cut in all_cuts)
    findings = [
        finding
        for cut, one in zip(all_cuts, heard, strict=True)
        for finding in [*(_text_findings(cut, letters) if told else ()), *_audio_findings(cut, one)]
    ]
    texts = [text_of(cut) for cut in all_cuts]
    rows = [
        Row(cut.id, source(cut), speaker_of(cut), plain_text(text), one.digest)
        for cut, text, one in zip(all_cuts, texts, heard, strict=True)
    ]
    durations = [cut.duration for cut in all_cuts]
    findings += _repeated_ids(rows) + _repeated_audio(rows) + _rates_of_speech(rows, durations)
    findings += _repeated_texts(rows, repeated) if repeated else []
    rates = Counter(one.rate for one in heard if one.rate)
    findings += _other_rates(rows, heard, rates) if letters is None else []
    return Diagnosis(
        len(all_cuts),
        sum(durations) / 3600,
        len({speaker for row in rows if (speaker := row.speaker) is not None}),
        findings,
        durations,
        rates,
        odd_characters(texts, letters),
        rows,
    )


def source(cut: Cut) -> str:
    """The audio file of a cut."""
    return str(cut.recording.sources[0].source)


def text_of(cut: Cut) -> str:
    """Its transcript; empty: it has none."""
    return (cut.supervisions[0].text or "").strip() if cut.supervisions else ""


def speaker_of(cut: Cut) -> str | None:
    """Who speaks, if that is known."""
    return cut.supervisions[0].speaker if cut.supervisions else None


def _clip(cut: Cut, min_s: float, fast: bool) -> Clip:
    recording = cut.recording
    place = place_of(source(cut))
    # speed and the like change the length: what the file should hold is then not known from here
    same = all(_name(change) in _KEEP_LENGTH for change in recording.transforms or ())
    whole = not cut.start and cut.num_samples == recording.num_samples
    return Clip(
        path=place.path if place else source(cut),
        rate=recording.sampling_rate,
        samples=recording.num_samples if same else 0,
        offset=place.offset if place else 0,
        size=place.size if place else -1,
        start_s=cut.start,
        duration_s=None if whole or not same else cut.duration,
        channel=cut.channel if (cut.custom or {}).get(CHOSEN) else None,
        min_s=min_s,
        headers_only=fast,
    )


_KEEP_LENGTH = {"Resample", "Volume"}


def _name(change: object) -> str:
    """Of a transform, which lhotse keeps as an object or as its description."""
    return str(change["name"]) if isinstance(change, dict) else type(change).__name__


def _text_findings(cut: Cut, letters: frozenset[str] | None) -> list[Finding]:
    text, where = text_of(cut), source(cut)
    findings = []
    if not text:
        findings.append(Finding(cut.id, where, "empty transcript", kind="empty_text"))
    foreign = sorted(set(text) - letters) if letters is not None else []
    if foreign:
        problem = f"characters outside the alphabet: {' '.join(map(repr, foreign[:8]))}"
        findings.append(Finding(cut.id, where, problem, kind="characters"))
    return findings


def _audio_findings(cut: Cut, heard: Heard) -> list[Finding]:
    return [Finding(cut.id, source(cut), one.text, one.fatal, one.kind) for one in heard.problems]


def _repeated_ids(rows: Sequence[Row]) -> list[Finding]:
    seen: set[str] = set()
    findings = []
    for row in rows:
        if row.id in seen:
            findings.append(Finding(row.id, row.where, "this id occurs twice", kind="id"))
        seen.add(row.id)
    return findings


def _repeated_audio(rows: Sequence[Row]) -> list[Finding]:
    first: dict[str, Row] = {}
    findings = []
    for row in rows:
        other = first.setdefault(row.digest, row) if row.digest else row
        if other is not row and other.id != row.id:
            same = "and text" if other.text == row.text else "with another text"
            problem = f"the same audio as {other.id}, {same}"
            findings.append(Finding(row.id, row.where, problem, False, "same_audio"))
    return findings


def _repeated_texts(rows: Sequence[Row], least: int) -> list[Finding]:
    findings = []
    for text, numbers in repeated_texts([row.text for row in rows], least):
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        problem = f"{len(numbers)} utterances have the text {shown!r}"
        findings.append(Finding(rows[numbers[0]].id, rows[numbers[0]].where, problem, False, "same_text"))
    return findings


def _rates_of_speech(rows: Sequence[Row], durations: Sequence[float]) -> list[Finding]:
    outliers = rate_outliers([len(row.text.replace(" ", "")) for row in rows], durations)
    return [
        Finding(
            rows[n].id,
            rows[n].where,
            f"{rate:.1f} characters a second, the median is {median:.1f}: is this its text?",
            False,
            "speaking_rate",
        )
        for n, rate, median in outliers
    ]


def _other_rates(rows: Sequence[Row], heard: Sequence[Heard], rates: Counter[int]) -> list[Finding]:
    if len(rates) < 2:
        return []
    [(usual, _)] = rates.most_common(1)
    return [
        Finding(row.id, row.where, f"{one.rate} Hz, most have {usual} Hz", False, "sample_rate")
        for row, one in zip(rows, heard, strict=True)
        if one.rate not in (0, usual)
    ]
