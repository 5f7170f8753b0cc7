"""Words that are lost or said twice in long and hard sentences: by how long each word is, and by a judge.

The judge errs, too: it writes names as it likes and leaves out words that are repeated. So only places where
several words are missing or too many are counted, and all of them are listed to be looked at.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.progress import track

from recipes.tts.context import TTSContext
from recipes.tts.judge import Judge, read_texts, spoken
from recipes.tts.synthesis import write_wav
from s4speech.files import write_by_rename
from s4speech.metrics.alignment import Pair, align, listing
from s4speech.text.english import normalize_english

RUN = 2  # words that are missing or too many at one place
RATIO = 3  # of the letters on the one side to those on the other
SLACK = 1.5  # how far beyond nearly all recorded words the duration of a phone may be
TAIL = 1e-3  # the recorded words on each side that "nearly all" leaves out
MANY = 6  # phones: longer words are taken together
SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """kind: skipped or repeated (by the judge), lost, added or duration (by the timings of the words)."""

    sentence: str
    kind: str
    words: str


def search_hard(context: TTSContext, voice: Path, judge: Judge | None, folder: Path) -> dict[str, Any]:
    """Speak the sentences of `score.hard` with a voice directory: hard/ID.wav, hard.txt, the findings."""
    import s4speech

    texts = read_texts(Path(str(context.config.score.hard)))
    synthesizer = s4speech.Synthesizer.load(str(voice))
    bands = plausible_phone_s(context)
    (folder / "hard").mkdir(exist_ok=True)
    findings: list[Finding] = []
    heard: dict[str, tuple[Pair, ...]] = {}
    marks: Counter[str] = Counter()
    console, words, seconds = context.console, 0, 0.0
    for key, text in track(texts.items(), "hard", console=console, disable=not console.is_terminal):
        speech = synthesizer.synthesize(text)
        path = folder / "hard" / f"{key}.wav"
        write_wav(path, speech.samples, speech.sample_rate)
        wanted = synthesizer.reader.pronounce(normalize_english(text)).words
        words, seconds = words + len(wanted), seconds + len(speech.samples) / speech.sample_rate
        said = [(word.text, word.end_s - word.start_s) for word in speech.words]
        findings += by_timings(key, [(word.text, word.stop - word.start) for word in wanted], said, bands)
        if judge is not None:
            heard[key] = align(spoken(text), spoken(judge.transcribe(path)))
            marks.update(pair.mark for pair in heard[key])
            findings += by_judge(key, heard[key])
    wrong = {one.sentence for one in findings}
    lines = [f"{one.sentence}: {one.kind}: {one.words}" for one in findings]
    shown = listing({key: pairs for key, pairs in heard.items() if key in wrong})
    write_by_rename(folder / "hard.txt", "\n".join([*lines, "", shown]))
    kinds = Counter(one.kind for one in findings)
    found = {
        "sentences": len(texts),
        "words": words,
        "audio_s": seconds,
        "phone_s": bands,
        "judge": None if judge is None else {"name": judge.name, **{mark: marks[mark] for mark in "CSDI"}},
        "sentences_with_findings": dict(Counter(key.rsplit("-", 1)[0] for key in sorted(wrong))),
        "findings": [asdict(one) for one in findings],
    }
    counts = [f"{kinds[kind]} {kind}" for kind in ("lost", "added", "duration")]
    by_ear = f"by the judge {kinds['skipped']} places skipped, {kinds['repeated']} repeated"
    found["told"] = (
        f"{len(texts)} hard sentences, {words} words: by their timings {', '.join(counts)}; "
        f"{by_ear if judge else 'no judge listened'}; in {len(wrong)} sentences, see hard.txt"
    )
    for line in lines[:SHOWN]:
        context.say(f"hard: {line}")
    write_by_rename(folder / "hard.json", json.dumps(found, indent=1, ensure_ascii=False))
    return found


def plausible_phone_s(context: TTSContext) -> dict[int, tuple[float, float]]:
    """Seconds a phone within which nearly every recorded word of 1, 2, .. and of MANY or more phones lies,
    with room on both sides."""
    durations, hop_s = context.durations, context.config.mel.hop_s
    rates: dict[int, list[float]] = {phones: [] for phones in range(1, MANY + 1)}
    for key, one in context.spoken.items():
        ends = np.concatenate([[0], durations[key].cumsum(0).numpy()])
        for _, start, stop in cast(list[tuple[str, int, int]], one["words"]):
            rates[min(stop - start, MANY)].append((ends[stop] - ends[start]) * hop_s / (stop - start))
    whole = [rate for found in rates.values() for rate in found]
    bands = {}
    for phones, found in rates.items():
        low, high = np.quantile(found or whole, [TAIL, 1 - TAIL])
        bands[phones] = float(low) / SLACK, float(high) * SLACK
    return bands


def by_timings(
    key: str,
    wanted: Sequence[tuple[str, int]],
    said: Sequence[tuple[str, float]],
    bands: Mapping[int, tuple[float, float]],
) -> Iterator[Finding]:
    """wanted: each word with its number of phones; said: with its seconds; bands: `plausible_phone_s`."""
    pairs = align(" ".join(word for word, _ in wanted), " ".join(word for word, _ in said))
    for mark, kind in (("D", "lost"), ("S", "lost"), ("I", "added")):
        for pair in pairs:
            if pair.mark == mark:
                yield Finding(key, kind, pair.ref or pair.hyp)
    if all(pair.mark == "C" for pair in pairs):
        for (word, phones), (_, seconds) in zip(wanted, said, strict=True):
            low, high = bands[min(phones, MANY)]
            if not low <= seconds / phones <= high:
                yield Finding(key, "duration", f"{word} ({seconds:.2f} s, {phones} phones)")


def by_judge(key: str, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Places where at least two words more were written than heard, or heard than written, and three times
    the letters: a name spelled in another way has as many letters."""
    for right, group in groupby(pairs, lambda pair: pair.mark == "C"):
        if right:
            continue
        place = list(group)
        written, heard = [p.ref for p in place if p.ref], [p.hyp for p in place if p.hyp]
        for more, less, kind in ((written, heard, "skipped"), (heard, written, "repeated")):
            if len(more) - len(less) >= RUN and len("".join(more)) >= RATIO * len("".join(less)):
                yield Finding(key, kind, " ".join(more) + (f" (for: {' '.join(less)})" if less else ""))
