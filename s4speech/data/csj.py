"""The Corpus of Spontaneous Japanese (Maekawa 2003) as published: MORPH/SDB/VOLUME/TALK.sdb, WAV/VOLUME/...

lhotse reads the transcripts. Utterances, evaluation talks and text are those of Kaldi's egs/csj and ESPnet's
egs2/csj, which published character error rates are of. Tests compare with counts made by hand on sentences of
our own; that the corpus itself gives ESPnet's counts (egs/csj/asr/README.md) is not checked, for want of it.
"""

import contextlib
import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.recipes.csj import DECISIONS, CSJSDBParser, prepare_manifests

from s4speech.data.problems import raise_problems
from s4speech.errors import InputError
from s4speech.text.japanese import normalize_japanese

VOLUMES = ("core", "noncore")
# Parts that are lists of talks, left out of their volume and of the dialogues: the evaluation talks; those of
# a speaker who is in eval2; lhotse's choice for validation (ESPnet's: the first 4000 training utterances).
LISTED: Mapping[str, tuple[str, ...]] = {
    name: tuple(talks.split())
    for name, talks in {
        "eval1": "A01M0097 A01M0110 A01M0137 A03M0106 A03M0112 A03M0156 A04M0051 A04M0121 A04M0123 A05M0011",
        "eval2": "A01F0001 A01F0034 A01F0063 A01M0056 A01M0141 A02M0012 A03F0072 A03M0016 A06F0135 A06M0064",
        "eval3": "S00F0019 S00F0066 S00F0148 S00F0152 S00M0008 S00M0070 S00M0079 S00M0112 S00M0213 S01F0105",
        "excluded": "D01M0019 D02M0028 D03M0017 D04M0056 R00M0187 S05M0613",
        "valid": "A01M0264 A01M0377 A01M0776 A01M0891 A03F0109 A04M0899 A05M0420 A07M0318 A07M0912 A11M0795"
        " A12M0983 D03F0058 R00M0415 R01F0101 R01F0125 R02M0073 R03F0108 R03F0157 S00F0014 S00M0793 S01F0507"
        " S02F0122 S02F0362 S02M1351 S02M1372 S03F1199 S04F1020 S05F0443 S07F0853 S07F1333 S07M0827 S08F0717"
        " S08F1340 S09M0619 S10M1090 S10M1275 S11F0578 S11M0864 S11M1174",
    }.items()
}
TRAINING = (*VOLUMES, "dialogue")  # what is in no list: talks of one voice, by volume, and the dialogues
_PARTS = (*TRAINING, *LISTED)

PAUSE_S, LONGEST_S = 0.5, 10.0  # Kaldi's csjconnect
MOST_REPEATS = 300  # of a training text, "えー" above all; Kaldi's remove_dup_utts
SHORTEST_S = 0.2  # of a cut: a shorter utterance is heard with what is around it
SLACK_S = 1.0  # of a transcript that goes on after its recording
MASKED = "×"  # names and insults
_FLUENT = DECISIONS | {"F": 1, "D": 1, "D2": 1}  # 1: the second of (what is said, nothing)

_TIME = re.compile(r"\d+ (\d+\.\d+)-(\d+\.\d+) ([LR]):\S*")
_SURFACE, _PRONUNCIATION = 5, 10  # columns of a line, counted from 0
_ZERO = re.compile(r"ゼロ|零|\(A_(?:ゼロ|零);[^()]*\)")


@dataclass(frozen=True)
class Voice:
    """One voice of a talk: the lines of its channel, and its recording."""

    name: str  # TALK, or TALK-L and TALK-R of a dialogue
    lines: tuple[str, ...]
    wav: Path


def csj_paths(root: Path, parts: Sequence[str]) -> list[Path]:
    """The folders that are read: the published tree has many more."""
    return [root / "MORPH" / "SDB", root / "WAV"]


def read_csj(root: Path, parts: Sequence[str], fluent: bool = False) -> dict[str, CutSet]:
    """One cut an utterance, a segment of its talk's recording; the speaker is the talk.

    parts: core, noncore (monologues), dialogue, eval1, eval2, eval3, excluded, valid. Neighbours of at most
    0.5 s pause are one utterance until it is longer than 10 s; one with a masked word is left out, as are
    training texts beyond their 300th time (evenly chosen). fluent: without fillers and fragments; the default
    has them, as the published figures do.
    """
    talks = _find_talks(root, parts)
    check_csj(root, talks)
    parser = CSJSDBParser(_FLUENT if fluent else DECISIONS, _surfaces)
    cuts: dict[str, list[MonoCut]] = {part: [] for part in parts}
    for part, paths in talks.items():
        for path in paths:
            for voice in _voices(root, path):
                recording, segments = _parse(voice, path)
                cuts[part] += _utterances(recording, segments, parser)
    _limit_repeats([part for name, part in cuts.items() if name in TRAINING])
    return {part: CutSet.from_cuts(sorted(found, key=lambda cut: cut.id)) for part, found in cuts.items()}


def _find_talks(root: Path, parts: Sequence[str]) -> dict[str, list[Path]]:
    """The transcripts of each part. Raises InputError: unknown part, no such tree, a part not whole."""
    sdb = root / "MORPH" / "SDB"
    for folder in (sdb, root / "WAV"):
        if not folder.is_dir():
            raise InputError(
                f"corpus.root: no folder {folder}; wanted the published tree of CSJ, MORPH/SDB/"
                "{core,noncore}/TALK.sdb and WAV/{core,noncore}/TALK.wav"
            )
    there = {path.stem: path for volume in VOLUMES for path in sorted((sdb / volume).glob("*.sdb"))}
    if not there:
        raise InputError(f"{sdb}: no core/*.sdb or noncore/*.sdb below it; copy the transcripts")
    listed = {talk for talks in LISTED.values() for talk in talks}
    free = [path for talk, path in there.items() if talk not in listed]
    found: dict[str, list[Path]] = {}
    for part in parts:
        if part in LISTED:
            missing = [talk for talk in LISTED[part] if talk not in there]
            if missing:
                raise InputError(
                    f"corpus part {part!r}: {len(missing)} of its {len(LISTED[part])} talks have no "
                    f"transcript in {sdb}: {', '.join(missing[:5])}; figures of a part are of all its talks"
                )
            found[part] = [there[talk] for talk in LISTED[part]]
        elif part in TRAINING:
            found[part] = [
                path
                for path in free
                if (path.stem[0] == "D") == (part == "dialogue") and part in (path.parent.name, "dialogue")
            ]
            if not found[part]:
                raise InputError(f"corpus part {part!r}: no transcripts of it in {sdb}")
        else:
            raise InputError(f"corpus part {part!r}: wanted one of {', '.join(_PARTS)}")
    return found


def check_csj(root: Path, talks: Mapping[str, Iterable[Path]]) -> None:
    """Every transcript is Shift_JIS of lines that lhotse reads, and has its audio.

    Raises InputError naming the first problem and counting the rest.
    """
    problems = [line for paths in talks.values() for path in paths for line in _problems(root, path)]
    raise_problems(problems, "copy these files of the corpus again")


def _problems(root: Path, path: Path) -> Iterator[str]:
    try:
        lines = path.read_text("shift_jis").splitlines()
    except UnicodeDecodeError as error:
        yield f"{path}: not Shift_JIS at byte {error.start}, as the published transcripts are"
        return
    end_s = 0.0
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) <= _SURFACE:
            yield f"{path}:{number}: got {len(fields)} columns, wanted at least {_SURFACE + 1}"
        elif (time := _TIME.fullmatch(fields[3])) is None:
            yield f"{path}:{number}: column 4 is {fields[3]!r}, wanted 'NUMBER START-END CHANNEL:...'"
        elif float(time[1]) >= float(time[2]):
            yield f"{path}:{number}: an utterance from {time[1]} to {time[2]} s"
        else:
            end_s = max(end_s, float(time[2]))
            continue
        return
    if not any(lines):
        yield f"{path}: empty"
    for column, name in ((_SURFACE, "text"), (_PRONUNCIATION, "pronunciation")):
        marks = Counter("".join(cell for line in lines for cell in line.split("\t")[column : column + 1]))
        if marks["("] != marks[")"]:  # lhotse would lose all that comes after
            yield f"{path}: {marks['(']} opening and {marks[')']} closing brackets of tags in the {name}"
    for wav in _wavs(root, path).values():
        if not wav.is_file():
            yield f"{path}: no audio file {wav}"
            continue
        try:
            info = soundfile.info(wav)
        except soundfile.LibsndfileError as error:
            yield f"{wav}: not audio ({error.error_string})"
            continue
        if info.channels != 1:
            yield f"{wav}: {info.channels} channels, wanted one; of a dialogue TALK-L.wav and TALK-R.wav"
        elif info.duration < end_s - SLACK_S:  # lhotse shortens an utterance that is a little too long
            yield f"{wav}: {info.duration:.1f} s, the transcript goes on to {end_s:.1f} s"


def _wavs(root: Path, path: Path) -> dict[str, Path]:
    """Channel -> recording: L alone of a monologue, L and R of a dialogue."""
    folder, talk = root / "WAV" / path.parent.name, path.stem
    if talk[0] == "D":
        return {side: folder / f"{talk}-{side}.wav" for side in "LR"}
    return {"": folder / f"{talk}.wav"}


def _voices(root: Path, path: Path) -> Iterator[Voice]:
    lines = [line for line in path.read_text("shift_jis").splitlines() if line]
    for side, wav in _wavs(root, path).items():
        # without the channel's mark all lines are the one voice's
        own = [line for line in lines if f" {side}:" in line.split("\t")[3]] if side else lines
        if own:
            yield Voice(wav.stem, tuple(own), wav)


def _parse(voice: Voice, path: Path) -> tuple[Recording, list[SupervisionSegment]]:
    """Inter-pausal units of one voice in order, by lhotse; their tagged words are in custom["raw"].

    Raises InputError: lhotse cannot, naming the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        # lhotse wants PART/TALK/TALK.sdb with the path of the audio beside it, and a line end at the end.
        place = Path(folder) / "part" / voice.name
        place.mkdir(parents=True)
        (place / f"{voice.name}.sdb").write_text("\n".join([*voice.lines, ""]), "shift_jis")
        (place / f"{voice.name}-wav.list").write_text(str(voice.wav))
        try:
            # it draws progress bars, and prints what it does not understand
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                manifests = prepare_manifests(Path(folder), ["part"])["part"]
        except (AssertionError, NotImplementedError, LookupError, ValueError) as error:
            raise InputError(f"{path}: lhotse cannot read its tags ({error}); copy the file again") from error
    [recording] = manifests["recordings"]
    return recording, list(manifests["supervisions"])


def _utterances(
    recording: Recording, segments: Sequence[SupervisionSegment], parser: CSJSDBParser
) -> Iterator[MonoCut]:
    for group in join_segments(segments):
        text = normalize_japanese("".join(parser.parse(segment.custom["raw"]) for segment in group))
        if not text or any(MASKED in segment.text for segment in group):
            continue
        start, end = group[0].start, group[-1].end
        room_s = max(0.0, SHORTEST_S - (end - start)) / 2
        name = f"{recording.id}_{round(1000 * start):07d}_{round(1000 * end):07d}"
        start = round(max(0.0, start - room_s), 3)
        supervision = SupervisionSegment(
            id=name,
            recording_id=recording.id,
            start=0.0,
            duration=min(round(end + room_s - start, 3), recording.duration - start),
            text=text,
            language="ja",
            speaker=recording.id,
            gender=group[0].gender,
        )
        yield MonoCut(name, start, supervision.duration, 0, [supervision], recording=recording)


def join_segments(segments: Iterable[SupervisionSegment]) -> list[list[SupervisionSegment]]:
    """Neighbours become one utterance: at most PAUSE_S apart, and what is joined so far at most LONGEST_S."""
    groups: list[list[SupervisionSegment]] = []
    for segment in segments:
        start = round(segment.start, 3)  # as the transcript has it
        if groups:
            first, last = round(groups[-1][0].start, 3), round(groups[-1][-1].end, 3)
            if start - last <= PAUSE_S and last - first <= LONGEST_S:
                groups[-1].append(segment)
                continue
        groups.append([segment])
    return groups


def _surfaces(raw: str) -> str:
    """The tagged words of "WORD+MORPHEME+PRONUNCIATION WORD+..."; a lone zero is a digit, as in Kaldi."""
    words = (token.split("+")[0] for token in raw.split(" "))
    return " ".join("０" if _ZERO.fullmatch(word) else word for word in words if word)


def _limit_repeats(parts: Iterable[list[MonoCut]]) -> None:
    """Of a text that occurs more than MOST_REPEATS times in all parts, so many are left, evenly chosen."""
    lists = list(parts)
    times = Counter(cut.supervisions[0].text for cuts in lists for cut in cuts)
    seen = {text: count() for text, n in times.items() if n > MOST_REPEATS}
    for cuts in lists:
        kept = []
        for cut in cuts:
            text = cut.supervisions[0].text
            if text in seen:
                number = next(seen[text])
                if (number + 1) * MOST_REPEATS // times[text] == number * MOST_REPEATS // times[text]:
                    continue
            kept.append(cut)
        cuts[:] = kept
