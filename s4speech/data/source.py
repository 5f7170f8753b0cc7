"""Data of any of the formats that are read here: what it is, found out by looking, and its utterances."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lhotse import MonoCut

from s4speech.data import kaldi, nemo, shar
from s4speech.data.cuts import Header, Utterance, gather, make_recording, read_cuts, read_headers
from s4speech.data.findings import Finding
from s4speech.data.lines import json_lines
from s4speech.data.problems import raise_problems
from s4speech.errors import InputError

AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aiff", ".aif")
_MANIFESTS = ("manifest.jsonl", "manifest.json", "cuts.jsonl.gz", "cuts.jsonl")  # that a folder is named for
_LINES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")


@dataclass(frozen=True)
class Part:
    """Utterances that belong together. name: empty for data of one part. findings: of those left out."""

    name: str
    format: str
    path: Path
    cuts: list[MonoCut]
    findings: list[Finding] = field(default_factory=list)


Read = Callable[[Path], tuple[list[MonoCut], list[Finding]]]


def read_audio_folder(folder: Path) -> tuple[list[MonoCut], list[Finding]]:
    """Every audio file below a folder as an utterance without a text, named by its path from there."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO)
    headers = read_headers(map(str, files))

    def row(path: Path) -> Utterance | Finding:
        name = path.relative_to(folder).with_suffix("").as_posix()
        header = headers[str(path)]
        if isinstance(header, Header):
            return Utterance(name, make_recording(name, str(path), header))
        return Finding(name, str(path), header, kind="unreadable")

    return gather((str(path), row(path)) for path in files)


def part_path(root: Path, part: str) -> Path:
    """Where a part of a data set is: the folder of that name, or the manifest."""
    names = [part, *(f"{part}{ending}" for ending in _LINES)]
    return next((root / name for name in names if (root / name).exists()), root / part)


def read_part(root: Path, part: str, format: str) -> list[MonoCut]:
    """The utterances of a part as a recipe wants them: all have a text, and a speaker (else: themselves).

    Raises InputError: no such part, one that is several, audio that cannot be read, no transcript.
    """
    path = part_path(root, part)
    if not path.exists():
        found = ", ".join(sorted(entry.name for entry in root.iterdir())[:20]) or "nothing"
        raise InputError(f"corpus part {part!r}: neither {path} nor a manifest of that name; there: {found}")
    read = read_source(path, (), format)
    if len(read) > 1:
        raise InputError(f"corpus part {part!r}: {path} has parts itself; set corpus.root to it")
    raise_problems([str(finding) for finding in read[0].findings], "correct or remove these utterances")
    for cut in read[0].cuts:
        if not cut.supervisions:
            raise InputError(f"{path}: {cut.id} has no transcript; remove it, or add its text")
        cut.supervisions[0].speaker = cut.supervisions[0].speaker or cut.id
    return read[0].cuts


READERS: dict[str, Read] = {
    "kaldi": kaldi.read_kaldi,
    "nemo": nemo.read_nemo,
    "lhotse": lambda path: (read_cuts(path), []),
    "shar": lambda path: (shar.read_shar(path), []),
    "audio": read_audio_folder,
}


def read_source(path: Path, parts: Sequence[str] = (), format: str | None = None) -> list[Part]:
    """The parts of a manifest, a data directory or a corpus, or those that are named.

    format: one of READERS or a corpus of `s4speech.data.corpora`; None: found out. Raises InputError: nothing
    that is known, a part that is not there, what the reader of the format says.
    """
    from s4speech.data.corpora import CORPORA, read_corpus

    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if format is not None and format not in READERS and format not in CORPORA:
        wanted = ", ".join(dict.fromkeys([*READERS, *CORPORA]))
        raise InputError(f"format: got {format!r}, wanted one of {wanted}")
    if format is None or format == "librispeech":
        root, found = _corpus(path)
    elif format in CORPORA and format not in READERS:
        root, found = path, {name: format for name in parts or ("all",)}
    else:
        root, found = path, {}
    if found:
        names = _choose(parts, list(found), path)
        corpus = found[names[0]]
        sets = read_corpus(corpus, root, names)
        return [Part(name, corpus, root, list(sets[name])) for name in names]
    places = {"": (path, format)} if format and path.is_file() else _places(path, format)
    if not places or (format is not None and any(kind != format for _, kind in places.values())):
        raise InputError(
            f"{path}: nothing here that is {format or 'known'}; wanted a lhotse or NeMo manifest (JSON"
            " lines), a Kaldi data directory (wav.scp), a Shar folder, a folder of audio, or a corpus"
        )
    read = []
    for name in _choose(parts, list(places), path):
        place, kind = places[name]
        read.append(Part(name, kind, place, *READERS[kind](place)))
    return read


def _choose(wanted: Sequence[str], there: Sequence[str], path: Path) -> Sequence[str]:
    for name in wanted:
        if name not in there:
            told = ", ".join(filter(None, there)) or "it is one part without a name"
            raise InputError(f"--part: no {name!r} in {path}; parts there: {told}")
    return wanted or there


def _corpus(path: Path) -> tuple[Path, dict[str, str]]:
    """The root of a corpus in a published layout, and part -> corpus; no parts: it is none."""
    if not path.is_dir():
        return path, {}
    if (path / "metadata.csv").is_file() and (path / "wavs").is_dir():
        return path, {"all": "ljspeech"}
    if next(path.glob("*/*/*.trans.txt"), None):
        path = path.resolve()
        return path.parent, {path.name: "librispeech"}
    parts = sorted(folder.name for folder in path.iterdir() if next(folder.glob("*/*/*.trans.txt"), None))
    return path, {name: "librispeech" for name in parts}


def _places(path: Path, format: str | None) -> dict[str, tuple[Path, str]]:
    """Part -> where it is and its format, of a file, a folder, or a folder of those."""
    whole = find_format(path)
    if whole is not None and whole[1] != "audio":
        return {"": whole}
    places = {}
    for entry in sorted(path.iterdir()) if path.is_dir() else []:
        try:
            found = find_format(entry)
        except InputError:  # some other file beside them
            continue
        if found is not None and found[1] != "audio" and format in (None, found[1]):
            places[entry.name if entry.is_dir() else entry.name.split(".json")[0]] = found
    return places or ({"": whole} if whole else {})


def find_format(path: Path) -> tuple[Path, str] | None:
    """What to read of one part, and its format, by names of files and a first line; None: nothing known."""
    if path.is_file() and path.name.endswith(_LINES):
        _, first = next(json_lines(path), (0, {}))
        return path, "nemo" if "audio_filepath" in first else "lhotse"
    if not path.is_dir():
        return None
    if (path / "wav.scp").is_file():
        return path, "kaldi"
    if shar.is_shar(path):
        return path, "shar"
    for name in _MANIFESTS:
        if (path / name).is_file():
            return find_format(path / name)
    audio = (entry for entry in path.rglob("*") if entry.suffix.lower() in AUDIO)
    return (path, "audio") if next(audio, None) else None
