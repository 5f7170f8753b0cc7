"""CMU AN4 (Acero 1990), census data: letters, numbers, names, dates at 16 kHz. lhotse has no recipe for it.

As published, ``an4_sphere.tar.gz``: etc/an4_{train,test}.transcription with lines ``<s> TEXT </s> (ID)``, and
wav/{an4_clstk,an4test_clstk}/SPEAKER/ID.sph, where ID is NUMBER-SPEAKER-b. Or a subset of it as one folder of
audio: transcripts.tsv (path, speaker, text) and split.tsv (path, train or test).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio.utils import AudioLoadingError

from s4speech.data import sphere  # noqa: F401  (lhotse then reads .sph)
from s4speech.data.problems import raise_problems
from s4speech.errors import InputError

FOLDERS = {"train": "an4_clstk", "test": "an4test_clstk"}
_ID = r"[^\s()-]+-(?P<speaker>[^\s()-]+)-[^\s()-]+"
_LINE = re.compile(rf"(?:<s>)?(?P<text>[^<>()]*)(?:</s>)?\s*\((?P<id>{_ID})\)")
_NEXT = "correct or remove these utterances"


class _Utterance(NamedTuple):
    where: str  # the line that tells of it
    id: str
    speaker: str
    text: str
    audio: Path


def read_an4(root: Path, parts: Sequence[str]) -> dict[str, CutSet]:
    """The cuts of parts train and test, ordered by id.

    Raises InputError: another part, neither layout, a line or a file that will not do (the first, the others
    counted).
    """
    for part in parts:
        if part not in FOLDERS:
            raise InputError(f"corpus part {part!r}: wanted one of: {', '.join(FOLDERS)}")
    if (root / "etc").is_dir():
        rows = {part: _published(root, part) for part in parts}
    elif (root / "transcripts.tsv").is_file():
        rows = _subset(root, parts)
    else:
        raise InputError(f"{root}: neither etc/an4_train.transcription nor transcripts.tsv; wanted AN4")
    return {part: _cuts(rows[part]) for part in parts}


def _published(root: Path, part: str) -> list[_Utterance]:
    path = root / "etc" / f"an4_{part}.transcription"
    found, problems = [], []
    for number, line in enumerate(_lines(path), 1):
        told = _LINE.fullmatch(line.strip())
        if told is None:
            got = line.strip()[:60]
            problems.append(f"{path}:{number}: got {got!r}, wanted <s> TEXT </s> (NUMBER-SPEAKER-b)")
            continue
        audio = root / "wav" / FOLDERS[part] / told["speaker"] / f"{told['id']}.sph"
        text = " ".join(told["text"].split())
        found.append(_Utterance(f"{path}:{number}", told["id"], told["speaker"], text, audio))
    raise_problems(problems, _NEXT)
    return found


def _subset(root: Path, parts: Sequence[str]) -> dict[str, list[_Utterance]]:
    """Paths are relative to the root. A first line of column names may be there."""
    path = root / "split.tsv"
    part_of = dict(_rows(path, ("path", "part")))
    found: dict[str, list[_Utterance]] = {part: [] for part in parts}
    problems = []
    path = root / "transcripts.tsv"
    for number, (name, speaker, text) in enumerate(_rows(path, ("path", "speaker", "text")), 1):
        one = _Utterance(f"{path}: utterance {number}", Path(name).stem, speaker, text, root / name)
        if name not in part_of:
            problems.append(f"{one.where}: {name} has no line in split.tsv")
        elif part_of[name] in found:
            found[part_of[name]].append(one)
    raise_problems(problems, _NEXT)
    return found


def _rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    rows = [line.split("\t") for line in _lines(path)]
    if rows and rows[0] == list(columns):
        rows = rows[1:]
    wrong = [row for row in rows if len(row) != len(columns)]
    raise_problems([f"{path}: got {row}, wanted {', '.join(columns)}, with tabs" for row in wrong], _NEXT)
    return rows


def _lines(path: Path) -> list[str]:
    """Without empty ones at the end. Raises InputError: missing, or not UTF-8."""
    try:
        return path.read_text("utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as UTF-8 text ({error}); unpack the corpus again"
        ) from error


def _cuts(rows: Sequence[_Utterance]) -> CutSet:
    problems: list[str] = []
    cuts: dict[str, MonoCut] = {}
    for row in rows:
        try:
            if row.id in cuts:
                raise InputError(f"{row.id} is there twice")
            if not row.text:
                raise InputError(f"{row.id} has an empty transcript")
            if not row.audio.is_file():
                raise InputError(f"{row.id} has no audio file {row.audio}")
            recording = Recording.from_file(row.audio, recording_id=row.id)
        except InputError as error:
            problems.append(f"{row.where}: {error}")
        except AudioLoadingError:
            problems.append(f"{row.where}: {row.audio} is not audio that libsndfile reads")
        else:
            duration = recording.duration
            supervision = SupervisionSegment(
                row.id, row.id, 0, duration, text=row.text, language="English", speaker=row.speaker
            )
            cuts[row.id] = MonoCut(row.id, 0, duration, 0, [supervision], recording=recording)
    raise_problems(problems, _NEXT)
    return CutSet.from_cuts(cuts[name] for name in sorted(cuts))
