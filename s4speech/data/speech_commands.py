"""Speech Commands (Warden 2018): one word a clip of about 1 s at 16 kHz, ROOT/WORD/SPEAKER_nohash_N.wav.

lhotse's recipe is not used: it wants the training and the test archive side by side, under its own folder
names, has no split for a folder without lists, and its manifests would only be asked for path and word.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch

from s4speech.audio.io import Samples, audio_info, prepare_samples, read_audio
from s4speech.data.augment import Augmentation, Augmenter, to_float, to_int16
from s4speech.data.classify import Example, SequenceDataset, TaskData
from s4speech.data.problems import raise_problems
from s4speech.errors import InputError

SAMPLE_RATE_HZ = 16000
_WORDS = """
backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no off on
one right seven sheila six stop three tree two up visual wow yes zero
"""
WORDS = tuple(_WORDS.split())  # of version 0.02
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}

Split: TypeAlias = Literal["official", "speakers"]
Parts: TypeAlias = "dict[str, list[Clip]]"


@dataclass(frozen=True)
class Clip:
    """One file."""

    path: Path
    word: str
    speaker: str


def speech_commands_task(
    root: Path,
    *,
    split: Split = "official",
    words: Sequence[str] = (),
    percentages: tuple[float, float, float] = (80, 10, 10),
    test_rates: Sequence[int] = (SAMPLE_RATE_HZ,),
    augmentation: Augmentation | None = None,
    cache: bool = True,
    seed: int = 0,
) -> TaskData:
    """Which word a clip says; see `read_speech_commands` for the parts.

    test_rates: sample rates in Hz of the test sets, which are named test (16 kHz), test-8k and so on; their
    clips are resampled, and their `rate` is the one for the layers. augmentation: of the training part.
    cache: keep all clips in memory as 16 bit integers (32 kB a second).

    Raises InputError: what `read_speech_commands` and `check_clips` raise, no noise, or no such sample rate.
    """
    words = words or WORDS
    parts = read_speech_commands(root, split, words, percentages)
    audio = {name: _Audio(clips, cache) for name, clips in parts.items()}
    targets = {name: [words.index(clip.word) for clip in clips] for name, clips in parts.items()}
    if not test_rates:
        raise InputError(f"test_rates: got none, wanted rates in Hz such as {SAMPLE_RATE_HZ}")
    tests: dict[str, SequenceDataset] = {}
    for rate in test_rates:
        if not 1000 <= rate <= 192_000:
            raise InputError(
                f"test_rates: got {rate}, wanted Hz, 1000 to 192000; {SAMPLE_RATE_HZ} is the corpus's"
            )
        name = "test" if rate == SAMPLE_RATE_HZ else f"test-{rate / 1000:g}k"
        tests[name] = SpeechCommands(audio["test"], targets["test"], sample_rate=rate)
    augment = None if augmentation is None else Augmenter(augmentation, SAMPLE_RATE_HZ)
    return TaskData(
        SpeechCommands(audio["train"], targets["train"], augment=augment, seed=seed),
        SpeechCommands(audio["valid"], targets["valid"]),
        tests,
        classes=tuple(words),
        vocab_size=None,
        per_frame=False,
    )


def read_speech_commands(
    root: Path,
    split: Split,
    words: Sequence[str] = (),
    percentages: tuple[float, float, float] = (80, 10, 10),
) -> Parts:
    """The clips of train, valid and test, by word and name. No audio is read.

    split: official: validation_list.txt and testing_list.txt decide, the rest is training. speakers: for a
    folder without lists; the SHA-1 of the speaker's name decides, in the manner of the corpus's own
    `which_set`: a speaker is in one part, and stays there when clips are added; train, valid and test get
    about `percentages` of the speakers.
    words: the classes, by default the 35 of version 0.02. Folders that are not asked for, such as
    _background_noise_ and _silence_, are not read.

    Raises InputError: no such folder or list, a word twice, a file name of another form, a file in a list and
    not there, a speaker in two parts, or a word without a clip in a part.
    """
    words = words or WORDS
    again = [word for word, count in Counter(words).items() if count > 1]
    if again:
        raise InputError(f"words: got {again[0]!r} twice, wanted each word once")
    if split == "speakers" and (min(percentages) < 0 or not math.isclose(sum(percentages), 100)):
        got = ", ".join(f"{p:g}" for p in percentages)
        raise InputError(f"percentages: got {got}, wanted train, valid, test, together 100")
    if not root.is_dir():
        raise InputError(
            f"corpus.root: no folder {root}; unpack Speech Commands there, or give another folder"
        )
    clips = [clip for word in words for clip in _word_clips(root, word)]
    if split == "official":
        parts = _official(root, words, clips)
    else:
        parts = {"train": [], "valid": [], "test": []}
        for clip in clips:
            parts[_speaker_part(clip.speaker, percentages)].append(clip)
    _check_parts(parts, words)
    return parts


def check_clips(clips: Sequence[Clip]) -> list[int]:
    """Samples of each clip, from the headers. Raises InputError: not audio, cut short, not 16 kHz mono."""
    problems, frames = [], []
    for clip in clips:
        try:
            info = audio_info(clip.path)
        except InputError as error:
            problems.append(str(error))
            continue
        frames.append(info.frames)
        if (info.sample_rate_hz, info.channels) != (SAMPLE_RATE_HZ, 1):
            problems.append(
                f"{clip.path}: got {info.sample_rate_hz} Hz and {info.channels} channels, wanted "
                f"{SAMPLE_RATE_HZ} Hz and one channel"
            )
    raise_problems(problems, "copy or convert these files again, or remove them")
    return frames


class SpeechCommands(SequenceDataset):
    """The clips of one part as waveforms at one sample rate, with the number of their word."""

    def __init__(
        self,
        audio: "_Audio",
        targets: Sequence[int],
        *,
        sample_rate: int = SAMPLE_RATE_HZ,
        augment: Augmenter | None = None,
        seed: int = 0,
    ) -> None:
        self._audio, self._targets, self._augment, self._seed = audio, targets, augment, seed
        self._sample_rate = sample_rate
        self.rate = SAMPLE_RATE_HZ / sample_rate
        self.lengths = [math.ceil(n / self.rate) for n in audio.frames]

    def example(self, index: int, epoch: int) -> Example:
        """Waveform (T, 1) float32 and the class () int64; augmented as (seed, epoch, index) says."""
        samples = self._audio.read(index)
        if self._augment is not None:
            samples = self._augment(samples, np.random.default_rng((self._seed, epoch, index)))
        if self._sample_rate != SAMPLE_RATE_HZ:
            # soxr cuts off what is above half the new rate
            samples = prepare_samples(samples, SAMPLE_RATE_HZ, self._sample_rate, min_samples=1)
        return torch.from_numpy(samples).unsqueeze(1), torch.tensor(self._targets[index])


class _Audio:
    """The samples of clips, read each time or, with `cache`, once. Test sets of all rates share them."""

    def __init__(self, clips: Sequence[Clip], cache: bool) -> None:
        self._clips = clips
        self.frames = check_clips(clips)
        self._cache = [to_int16(self._read(i)) for i in range(len(clips))] if cache else None

    def read(self, index: int) -> Samples:
        """(S,) float32 at 16 kHz, in [-1, 1)."""
        return self._read(index) if self._cache is None else to_float(self._cache[index])

    def _read(self, index: int) -> Samples:
        return read_audio(self._clips[index].path, SAMPLE_RATE_HZ, min_samples=1)


def _word_clips(root: Path, word: str) -> list[Clip]:
    """The clips of a word, by name."""
    folder = root / word
    if word.startswith("_") or not folder.is_dir():
        here = (
            sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] not in "_.")
            if root.is_dir()
            else []
        )
        raise InputError(
            f"words: no folder of the word {word!r} in {root}; the words there: {', '.join(here) or 'none'}"
        )
    clips, problems = [], []
    for path in sorted(folder.glob("*.wav")):
        speaker, mark, _ = path.name.partition("_nohash_")
        if mark and speaker:
            clips.append(Clip(path, word, speaker))
        else:
            problems.append(f"{path}: got this name, wanted SPEAKER_nohash_NUMBER.wav")
    raise_problems(problems, "rename or remove these files")
    return clips


def _official(root: Path, words: Sequence[str], clips: Sequence[Clip]) -> Parts:
    """The parts by the lists of the corpus."""
    parts: Parts = {"train": [], "valid": [], "test": []}
    part_of: dict[str, str] = {}
    problems = []
    here = {f"{clip.word}/{clip.path.name}" for clip in clips}
    for part, name in LISTS.items():
        try:
            lines = (root / name).read_text("utf-8").split()
        except OSError as error:
            raise InputError(
                f"{root / name}: cannot read ({error.strerror}), wanted the list of the corpus; use "
                "split=speakers if the folder has none"
            ) from error
        for number, line in enumerate(lines, 1):
            if line.partition("/")[0] not in words:
                continue
            if line not in here:
                problems.append(f"{root / name}:{number}: no file {root / line}")
            elif part_of.setdefault(line, part) != part:
                problems.append(f"{root / name}:{number}: {line} is also in {LISTS[part_of[line]]}")
    raise_problems(problems, "unpack the corpus again")
    for clip in clips:
        parts[part_of.get(f"{clip.word}/{clip.path.name}", "train")].append(clip)
    return parts


def _speaker_part(speaker: str, percentages: tuple[float, float, float]) -> str:
    # Not the hash of the name alone, which `which_set` takes: it sends the speakers of the published test set
    # to test, for that is how the set was made, and nobody would be left to train on.
    digest = hashlib.sha1(f"s4speech/{speaker}".encode(), usedforsecurity=False).digest()
    percent = 100 * int.from_bytes(digest[:4], "big") / 2**32
    _, valid, test = percentages
    return "valid" if percent < valid else "test" if percent < valid + test else "train"


def _check_parts(parts: Parts, words: Sequence[str]) -> None:
    """Raise InputError: a speaker in two parts, or a word without a clip in a part."""
    problems = []
    first: dict[str, tuple[str, Clip]] = {}
    for part, clips in parts.items():
        for clip in clips:
            other, example = first.setdefault(clip.speaker, (part, clip))
            if other != part:
                problems.append(
                    f"speaker {clip.speaker} is in {other} ({example.path}) and in {part} ({clip.path})"
                )
    raise_problems(problems, "correct the lists, or use split=speakers")
    for part, clips in parts.items():
        there = {clip.word for clip in clips}
        problems += [f"{part}: no clip of the word {word!r}" for word in words if word not in there]
    raise_problems(problems, "leave these words out, or change percentages")
