"""The manifest doctor: reads every utterance before anything is trained on it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import soundfile
from lhotse import CutSet, Recording
from lhotse.cut import Cut

SILENT_PEAK = 1e-3
CLIPPED_SHARE = 0.01


@dataclass(frozen=True)
class Finding:
    """One problem of one utterance. fatal: the recipe cannot go on."""

    utterance: str
    where: str
    problem: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.utterance}: {self.problem}"


@dataclass(frozen=True)
class Diagnosis:
    """utterances, hours, speakers of a part, and what is wrong with it."""

    utterances: int
    hours: float
    speakers: int
    findings: list[Finding]


def examine(cuts: CutSet, *, alphabet: Iterable[str], min_s: float = 0.1, threads: int = 2) -> Diagnosis:
    """Decode all audio and check all text.

    Fatal: unreadable or truncated audio, NaN, several channels, shorter than `min_s`, empty text, characters
    outside `alphabet`, a repeated id. Not fatal: silent (peak below 0.001) and clipped (1 % of samples at
    full scale) clips.
    """
    letters = frozenset(alphabet)
    all_cuts = list(cuts)
    with ThreadPoolExecutor(threads) as pool:
        examined = pool.map(lambda cut: _examine_cut(cut, letters, min_s), all_cuts)
        findings = [finding for found in examined for finding in found]
    seen: set[str] = set()
    for cut in all_cuts:
        if cut.id in seen:
            findings.append(Finding(cut.id, source(cut), "this id occurs twice"))
        seen.add(cut.id)
    hours = sum(cut.duration for cut in all_cuts) / 3600
    return Diagnosis(len(all_cuts), hours, len({cut.supervisions[0].speaker for cut in all_cuts}), findings)


def source(cut: Cut) -> str:
    """The audio file of a cut."""
    return str(cut.recording.sources[0].source)


def _examine_cut(cut: Cut, letters: frozenset[str], min_s: float) -> list[Finding]:
    text, where = (cut.supervisions[0].text or "").strip(), source(cut)
    problems: list[tuple[str, bool]] = []
    if not text:
        problems.append(("empty transcript", True))
    foreign = sorted(set(text) - letters)
    if foreign:
        problems.append((f"characters outside the alphabet: {' '.join(map(repr, foreign[:8]))}", True))
    problems += _examine_audio(where, cut.recording, min_s)
    return [Finding(cut.id, where, problem, fatal) for problem, fatal in problems]


def _examine_audio(path: str, recording: Recording, min_s: float) -> list[tuple[str, bool]]:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        return [(f"unreadable audio ({str(error).strip()})", True)]
    if samples.shape[1] > 1:
        return [(f"{samples.shape[1]} channels, wanted one: mix them down, or choose one", True)]
    expected = recording.num_samples
    if rate != recording.sampling_rate:  # resampled when it is read: known to half a sample
        expected = int((expected - 0.5) * rate / recording.sampling_rate)
    if len(samples) < expected:
        return [(f"truncated: {len(samples)} samples, the header says {expected}", True)]
    if len(samples) < min_s * rate:
        return [(f"too short: {len(samples)} samples, wanted at least {round(min_s * rate)}", True)]
    if not np.isfinite(samples).all():
        return [("samples that are not numbers (NaN or infinite)", True)]
    peak = np.abs(samples)
    if peak.max() < SILENT_PEAK:
        return [(f"silent: peak {peak.max():.1e}", False)]
    if (peak > 0.999).mean() > CLIPPED_SHARE:
        return [(f"clipped: {100 * (peak > 0.999).mean():.1f} % of the samples at full scale", False)]
    return []
