"""Corpora by name: a thin registry over lhotse's recipes, and a layout check that names what is wrong.

A corpus reader takes the published layout and returns one CutSet a part, a cut an utterance.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import soundfile
from lhotse import CutSet
from lhotse.audio.utils import AudioLoadingError
from lhotse.recipes import prepare_librispeech, prepare_ljspeech

from s4speech.data.an4 import read_an4
from s4speech.data.csj import csj_paths, read_csj
from s4speech.data.problems import raise_problems
from s4speech.data.source import part_path, read_part
from s4speech.errors import InputError

Parts = Sequence[str]


def _root(root: Path, parts: Parts) -> list[Path]:
    return [root]


def _part_folders(root: Path, parts: Parts) -> list[Path]:
    return [root / part for part in parts]


@dataclass(frozen=True)
class Corpus:
    """read: (root, parts) -> the cuts of each part. paths: the files and folders that it reads."""

    read: Callable[[Path, Parts], dict[str, CutSet]]
    paths: Callable[[Path, Parts], list[Path]] = _root


def find_corpus(name: str) -> Corpus:
    """The corpus of that name. Raises InputError: unknown."""
    if name not in CORPORA:
        raise InputError(f"corpus.name: got {name!r}, wanted one of {', '.join(sorted(CORPORA))}")
    return CORPORA[name]


def read_corpus(name: str, root: Path, parts: Parts) -> dict[str, CutSet]:
    """The cuts of each part. Raises InputError: unknown corpus, missing folder, transcript or audio."""
    corpus = find_corpus(name)
    if not root.is_dir():
        raise InputError(f"corpus.root: no folder {root}; unpack {name} there or set corpus.root=PATH")
    return corpus.read(root, parts)


def read_librispeech(root: Path, parts: Parts) -> dict[str, CutSet]:
    """LibriSpeech (Panayotov et al. 2015): PART/SPEAKER/CHAPTER/*.flac and *.trans.txt, read by lhotse."""
    for part in parts:
        if not (root / part).is_dir():
            found = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "none"
            raise InputError(f"corpus part {part!r}: no folder {root / part}; the folders there: {found}")
        check_librispeech(root / part)
    # lhotse draws a progress bar a part on standard error
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            manifests = prepare_librispeech(root, dataset_parts=list(parts), num_jobs=4)
        except AudioLoadingError:
            raise_problems([p for part in parts for p in _unreadable(root / part)], "copy these files again")
            raise
    cuts = {}
    for part in parts:
        manifest = manifests[part]
        recordings, supervisions = manifest["recordings"], manifest["supervisions"]
        whole = CutSet.from_manifests(recordings=recordings, supervisions=supervisions)
        cuts[part] = CutSet.from_cuts(
            sorted((cut.with_id(cut.supervisions[0].id) for cut in whole), key=lambda cut: cut.id)
        )
    return cuts


def check_librispeech(part: Path) -> None:
    """Every transcript line has an id, a text and its audio file; every audio file has a transcript.

    Raises InputError naming the first problem and counting the rest.
    """
    problems: list[str] = []
    transcribed: set[Path] = set()
    for path in sorted(part.rglob("*.trans.txt")):
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: cannot be read as UTF-8 text ({error})")
            continue
        for number, line in enumerate(lines, 1):
            utterance, _, text = line.strip().partition(" ")
            audio = path.parent / f"{utterance}.flac"
            again = audio in transcribed
            transcribed.add(audio)
            if again:
                problems.append(f"{path}:{number}: {utterance} is there twice")
            elif not utterance:
                problems.append(f"{path}:{number}: empty line, wanted 'ID TEXT'")
            elif not text.strip():
                problems.append(f"{path}:{number}: {utterance} has an empty transcript")
            elif not audio.is_file():
                problems.append(f"{path}:{number}: {utterance} has no audio file {audio}")
            elif audio.stat().st_size == 0:
                problems.append(f"{audio}: empty file (0 bytes)")
    audio_files = set(part.rglob("*.flac"))
    problems += [f"{path}: no transcript" for path in sorted(audio_files - transcribed)]
    if not audio_files and not problems:
        raise InputError(f"{part}: no *.flac below it, wanted SPEAKER/CHAPTER/ID.flac")
    raise_problems(problems, "correct or remove these utterances")


def read_ljspeech(root: Path, parts: Parts) -> dict[str, CutSet]:
    """LJSpeech's layout (Ito and Johnson 2017): metadata.csv and wavs/ID.wav, by lhotse; one part, "all".

    The text of a cut is the normalised one of the third column.
    """
    check_ljspeech(root)
    with contextlib.redirect_stderr(io.StringIO()):
        manifests = prepare_ljspeech(root)
    whole = CutSet.from_manifests(**manifests)
    cuts = []
    for cut in whole:
        [supervision] = cut.supervisions
        supervision.text = supervision.custom["normalized_text"]
        cuts.append(cut.with_id(supervision.id))
    return {"all": CutSet.from_cuts(sorted(cuts, key=lambda cut: cut.id))}


def check_ljspeech(root: Path) -> None:
    """Every line of metadata.csv has an id, two texts and its audio file.

    Raises InputError naming the first problem and counting the rest.
    """
    path = root / "metadata.csv"
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as UTF-8 text ({error}); unpack the corpus again"
        ) from error
    problems: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        fields = line.split("|")
        audio = root / "wavs" / f"{fields[0]}.wav"
        if len(fields) != 3 or not fields[0].strip():
            problems.append(f"{path}:{number}: got {len(fields)} fields, wanted ID|TEXT|NORMALISED TEXT")
        elif not fields[2].strip():
            problems.append(f"{path}:{number}: {fields[0]} has an empty text")
        elif fields[0] in seen:
            problems.append(f"{path}:{number}: {fields[0]} is there twice")
        elif not audio.is_file():
            problems.append(f"{path}:{number}: {fields[0]} has no audio file {audio}")
        elif not _has_header(audio):
            problems.append(f"{path}:{number}: {audio} is not audio")
        seen.add(fields[0])
    if not lines:
        raise InputError(f"{path}: empty, wanted ID|TEXT|NORMALISED TEXT")
    raise_problems(problems, "correct or remove these utterances")


def _has_header(path: Path) -> bool:
    try:
        soundfile.info(path)
    except soundfile.LibsndfileError:
        return False
    return True


def _unreadable(part: Path) -> list[str]:
    """Which audio files have no header that can be read: lhotse's error has five lines for the first."""
    problems = []
    for path in sorted(part.rglob("*.flac")):
        try:
            soundfile.info(path)
        except (soundfile.LibsndfileError, OSError) as error:
            problems.append(f"{path}: not audio ({getattr(error, 'error_string', error)})")
    return problems


def _read_parts(format: str, root: Path, parts: Parts) -> dict[str, CutSet]:
    return {part: CutSet.from_cuts(read_part(root, part, format)) for part in parts}


def _part_places(root: Path, parts: Parts) -> list[Path]:
    return [part_path(root, part) for part in parts]


CORPORA: dict[str, Corpus] = {
    "librispeech": Corpus(read_librispeech, _part_folders),
    "ljspeech": Corpus(read_ljspeech),
    "an4": Corpus(read_an4),
    "csj": Corpus(read_csj, csj_paths),
    "csj-fluent": Corpus(partial(read_csj, fluent=True), csj_paths),
    # Any data, as manifests: a part is a folder or a file of that name.
    **{
        name: Corpus(partial(_read_parts, name), _part_places) for name in ("kaldi", "nemo", "lhotse", "shar")
    },
}
