"""Kaldi data directories: wav.scp, segments, text, utt2spk and their kin. Pipes are read, never run."""

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lhotse import MonoCut, Recording

from s4speech.data.cuts import CHOSEN, Header, Utterance, gather, make_recording, read_headers
from s4speech.data.findings import Finding
from s4speech.data.lines import text_lines
from s4speech.errors import InputError

Table = dict[str, tuple[str, str]]  # key -> (file:line, what follows it)
# Options with the number of their values, of commands that only decode one file to standard output.
_SPH2PIPE = {"-f": 1, "-c": 1, "-p": 0}
_FFMPEG = {"-i": 1, "-ar": 1, "-ac": 1, "-f": 1, "-threads": 1, "-map_channel": 1, "-v": 1, "-loglevel": 1}
_FLAC = re.compile(r"-[cdsF]+|--(stdout|decode|silent)")
WANTED = "the path of an audio file, or one decoded by cat, flac -c -d -s, sph2pipe, sox or ffmpeg alone"


class Entry(NamedTuple):
    """What a line of wav.scp reads. channel: chosen from several; rate: resampled to, in Hz."""

    path: str
    channel: int | None = None
    rate: int | None = None


def read_kaldi(folder: Path) -> tuple[list[MonoCut], list[Finding]]:
    """The utterances in the order of segments (or wav.scp), and those whose audio cannot be read.

    Paths are from the working directory, as Kaldi's, or from `folder` if the file is there. Without utt2spk
    and text there are no supervisions. Raises InputError naming file and line.
    """
    entries = {
        name: (where, parse_entry(rest, where)) for name, (where, rest) in _table(folder / "wav.scp").items()
    }
    files = {name: _find(folder, entry.path) for name, (_, entry) in entries.items()}
    headers = read_headers(files.values())
    recordings: dict[str, Recording] = {}
    unreadable: dict[str, str] = {}
    for name, (_, entry) in entries.items():
        header = headers[files[name]]
        if isinstance(header, Header):
            recording = make_recording(name, files[name], header)
            changed = entry.rate not in (None, header.rate)
            recordings[name] = recording.resample(entry.rate) if changed else recording
        else:
            unreadable[name] = f"{files[name]}: {header}"
    tables = {name: _table(folder / name, optional=True) for name in _OF_UTTERANCES}
    genders = _table(folder / "spk2gender", optional=True)

    def rows() -> Iterator[tuple[str, Utterance | Finding]]:
        seen = set()
        for where, name, source, start, end, channel in _segments(folder, entries):
            seen.add(name)
            if source in unreadable:
                yield where, Finding(name, entries[source][0], unreadable[source], kind="unreadable")
                continue
            known = {table: tables[table][name][1] for table in _OF_UTTERANCES if name in tables[table]}
            if tables["text"]:
                known.setdefault("text", "")
            speaker = known.get("utt2spk")
            chosen = entries[source][1].channel if channel is None else channel
            yield where, Utterance(
                name, recordings[source], start, end, chosen or 0, known.get("text"), speaker,
                known.get("utt2lang"), genders[speaker][1] if speaker in genders else None,
                None if chosen is None else {CHOSEN: True},
            )  # fmt: skip
        for table in ("text", "utt2spk"):
            for name, (where, _) in tables[table].items():
                if name not in seen:
                    yield (
                        where,
                        Finding(name, where, "has no audio: not in segments or wav.scp", kind="layout"),
                    )

    return gather(rows())


_OF_UTTERANCES = ("text", "utt2spk", "utt2lang")


def _table(path: Path, *, optional: bool = False) -> Table:
    """Raises InputError: an empty line, a key that is there twice."""
    table: Table = {}
    if optional and not path.exists():
        return table
    for number, line in text_lines(path):
        where = f"{path}:{number}"
        key, *rest = re.split(r"[ \t]+", line.strip(" \t"), maxsplit=1)
        if not key:
            raise InputError(f"{where}: an empty line, wanted 'ID VALUE'; remove it")
        if key in table:
            raise InputError(f"{where}: {key} is there twice; remove one of them")
        table[key] = where, rest[0] if rest else ""
    return table


Segment = tuple[str, str, str, float, float | None, int | None]


def _segments(folder: Path, recordings: Mapping[str, tuple[str, Entry]]) -> Iterator[Segment]:
    """(file:line, utterance, recording, start, end, channel): of segments, or each recording as a whole."""
    path = folder / "segments"
    if not path.exists():
        yield from ((where, name, name, 0.0, None, None) for name, (where, _) in recordings.items())
        return
    for name, (where, rest) in _table(path).items():
        fields = rest.split()
        try:
            source, start, end = fields[0], float(fields[1]), float(fields[2])
            channel = int(fields[3]) if len(fields) == 4 else None
            if len(fields) > 4 or not (abs(start) < 1e9 and abs(end) < 1e9):
                raise ValueError
        except (ValueError, IndexError):
            raise InputError(
                f"{where}: got {rest[:80]!r} after {name}, wanted 'RECORDING START END [CHANNEL]'"
            ) from None
        if source not in recordings:
            raise InputError(f"{where}: {name}: no recording {source!r} in wav.scp; add or remove it")
        yield where, name, source, start, None if end == -1 else end, channel


def _find(folder: Path, path: str) -> str:
    beside = folder.resolve() / path
    return str(beside if os.path.exists(beside) else Path.cwd() / path)  # exists() would raise: too long


def parse_entry(text: str, where: str) -> Entry:
    """What a line of wav.scp reads, found without running anything.

    Raises InputError: a pipe that does more than decode one file, a Kaldi archive, nothing.
    """
    entry = _pipe(text[:-1]) if text.endswith("|") else _path(text)
    if entry is None:
        raise InputError(
            f"{where}: got {text[:120]!r}, which is not run here; wanted {WANTED}; decode such audio to files"
            " (Kaldi's copy_data_dir.sh and wav-copy do that) and list those"
        )
    return entry


def _path(text: str) -> Entry | None:
    if not text or text == "-" or re.search(r"\.ark:\d+$", text):
        return None
    return Entry(text)


def _pipe(command: str) -> Entry | None:
    try:
        program, *rest = shlex.split(command)
    except ValueError:  # no word, or an open quote
        return None
    parse = _COMMANDS.get(program.rsplit("/", 1)[-1])
    entry = parse(rest) if parse else None
    return entry if entry is None or _path(entry.path) else None


def _options(words: Sequence[str], known: Mapping[str, int]) -> tuple[list[str], dict[str, str]] | None:
    """Words that are no options, and the options with their values; None: an option that is not known."""
    free: list[str] = []
    options: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word in known and len(left) >= known[word]:
            options[word] = left.pop(0) if known[word] else ""
        elif word.startswith("-") and word != "-":
            return None
        else:
            free.append(word)
    return free, options


def _cat(words: list[str]) -> Entry | None:
    return Entry(words[0]) if len(words) == 1 and not words[0].startswith("-") else None


def _flac(words: list[str]) -> Entry | None:
    flags = [word for word in words if _FLAC.fullmatch(word)]
    decodes = any("d" in flag for flag in flags if not flag.startswith("--")) or "--decode" in flags
    return _cat([word for word in words if word not in flags]) if decodes else None


def _sox(words: list[str]) -> Entry | None:
    return _cat(words[:1]) if words[1:] in (["-t", "wav", "-"], ["-t", "wav", "-b", "16", "-"]) else None


def _sph2pipe(words: list[str]) -> Entry | None:
    parsed = _options(words, _SPH2PIPE)
    if parsed is None or parsed[1].get("-f", "wav") not in ("wav", "rif"):
        return None
    channel = parsed[1].get("-c")
    if len(parsed[0]) != 1 or channel not in (None, "1", "2"):
        return None
    return Entry(parsed[0][0], None if channel is None else int(channel) - 1)


def _ffmpeg(words: list[str]) -> Entry | None:
    """As `lhotse kaldi export` writes it, and plainer ones."""
    parsed = _options(words, _FFMPEG | {"-nostdin": 0})
    if parsed is None or parsed[0] not in (["-"], ["pipe:1"]) or "-i" not in parsed[1]:
        return None
    options = parsed[1]
    channel = re.fullmatch(r"0\.0\.(\d)", options.get("-map_channel", "0.0.0"))
    rate = options.get("-ar")
    if channel is None or options.get("-ac", "1") != "1" or options.get("-f") != "wav":
        return None
    if rate is not None and not (rate.isdecimal() and 1000 <= int(rate) <= 400_000):
        return None
    return Entry(options["-i"], int(channel[1]) or None, None if rate is None else int(rate))


_COMMANDS: dict[str, Callable[[list[str]], Entry | None]] = {
    "cat": _cat,
    "ffmpeg": _ffmpeg,
    "flac": _flac,
    "sox": _sox,
    "sph2pipe": _sph2pipe,
}


def wav_entry(path: str) -> str:
    """A file of one channel in wav.scp: its path, or the pipe that makes a WAV file of it."""
    suffix = Path(path).suffix.lower()
    quoted = shlex.quote(path)
    if suffix == ".flac":
        return f"flac -c -d -s {quoted} |"
    if suffix in (".sph", ".wv1"):
        return f"sph2pipe -f wav -p {quoted} |"
    return path if suffix == ".wav" else f"ffmpeg -v error -i {quoted} -f wav - |"


def kaldi_tables(cuts: Sequence[MonoCut], entry: Callable[[MonoCut], str]) -> dict[str, dict[str, str]]:
    """File name -> key -> value, of a data directory. entry: the line of wav.scp for a cut's recording.

    A speaker that is not known is the utterance itself, as Kaldi has it. Raises InputError: an id that Kaldi
    cannot have, an id that is there twice, a line break in a text.
    """
    whole = all(not cut.start and cut.num_samples == cut.recording.num_samples for cut in cuts)
    whole = whole and len({cut.recording.id for cut in cuts}) == len(cuts)
    tables: dict[str, dict[str, str]] = {}

    def put(file: str, key: str, value: str) -> None:
        if not key or re.search(r"\s|\0", key):
            raise InputError(f"id {key!r}: Kaldi's ids have no spaces; rename the utterance or speaker")
        if "\n" in value or "\r" in value or "\0" in value:
            raise InputError(f"{key}: a line break in {value[:60]!r}, which Kaldi's {file} cannot hold")
        table = tables.setdefault(file, {})
        if table.setdefault(key, value) != value:
            raise InputError(
                f"{key}: two values of {file}, {table[key][:60]!r} and {value[:60]!r}; rename one"
            )

    seen: set[str] = set()
    for cut in cuts:
        if cut.id in seen:
            raise InputError(f"{cut.id}: this id occurs twice; Kaldi's files hold it once")
        seen.add(cut.id)
        [supervision] = cut.supervisions or [None]
        source = cut.id if whole else cut.recording.id
        put("wav.scp", source, entry(cut))
        put("reco2dur", source, _seconds(cut.recording.duration))
        if not whole:
            put("segments", cut.id, f"{source} {_seconds(cut.start)} {_seconds(cut.start + cut.duration)}")
        put("utt2dur", cut.id, _seconds(cut.duration))
        speaker = (supervision.speaker if supervision else None) or cut.id
        put("utt2spk", cut.id, speaker)
        if supervision and supervision.text is not None:
            put("text", cut.id, supervision.text.strip())
        if supervision and supervision.language:
            put("utt2lang", cut.id, supervision.language)
        if supervision and supervision.gender:
            put("spk2gender", speaker, supervision.gender)
    of_speakers: dict[str, list[str]] = {}
    for name, speaker in sorted(tables.get("utt2spk", {}).items()):
        of_speakers.setdefault(speaker, []).append(name)
    tables["spk2utt"] = {speaker: " ".join(names) for speaker, names in of_speakers.items()}
    return tables


def table_text(table: Mapping[str, str]) -> str:
    """The lines of a file, in the order that Kaldi wants: of the bytes of the keys."""
    rows = sorted(table.items(), key=lambda row: row[0].encode())
    return "".join(f"{key} {value}".rstrip(" ") + "\n" for key, value in rows)


def _seconds(value: float) -> str:
    """To a tenth of a microsecond: less than a sample at any rate."""
    return f"{value:.7f}".rstrip("0").rstrip(".")
