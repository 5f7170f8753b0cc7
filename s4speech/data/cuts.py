"""Utterances as lhotse cuts: made from files, read from a lhotse manifest, written as one."""

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import soundfile
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from s4speech.data import sphere  # noqa: F401  (lhotse then reads .sph)
from s4speech.data.findings import Finding
from s4speech.data.lines import json_lines
from s4speech.errors import InputError

TAR = "tar:"  # a source inside a Shar shard, see `s4speech.data.shar`
SLACK_S = 0.05  # times that people rounded may end this much after the recording
CHOSEN = "channel_chosen"  # custom field: the manifest said which channel of several


class Header(NamedTuple):
    """What an audio file says of itself; samples of each channel."""

    rate: int
    samples: int
    channels: int


class Utterance(NamedTuple):
    """A row of a manifest. end_s: None is the end of the recording."""

    id: str
    recording: Recording
    start_s: float = 0.0
    end_s: float | None = None
    channel: int = 0
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    gender: str | None = None
    custom: dict[str, Any] | None = None


def read_headers(paths: Iterable[str], threads: int = 8) -> dict[str, Header | str]:
    """Each file's header, or what is wrong with it."""
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(wanted, pool.map(_header, wanted), strict=True))


def shell_safe(path: str) -> bool:
    """lhotse puts the paths of these into a shell's command as they are: they must mean nothing to it."""
    return not path.lower().endswith((".opus", ".sph")) or not re.search(r"[^\w@%+=:,./-]", path)


def _header(path: str) -> Header | str:
    if not shell_safe(path):
        return "a path that a shell would not take as it is; rename the file"
    try:
        if not Path(path).is_file():
            return "no such file"
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        return f"not audio that can be read ({getattr(error, 'error_string', error)})"
    return Header(info.samplerate, info.frames, info.channels) if info.frames else "empty: no samples"


def make_recording(name: str, path: str, header: Header) -> Recording:
    """A whole file."""
    return Recording(
        id=name,
        sources=[AudioSource("file", list(range(header.channels)), path)],
        sampling_rate=header.rate,
        num_samples=header.samples,
        duration=header.samples / header.rate,
    )


def make_cut(row: Utterance) -> MonoCut:
    """The cut of a row, on whole samples; without a supervision where there is no text and no speaker.

    Raises ValueError saying what is wrong with its times or its channel.
    """
    recording = row.recording
    rate, last = recording.sampling_rate, recording.num_samples
    first = round(row.start_s * rate)
    end = last if row.end_s is None else round(row.end_s * rate)
    if last < end <= last + SLACK_S * rate:
        end = last
    if not 0 <= first < end <= last:
        raise ValueError(
            f"from {first / rate:.3f} to {end / rate:.3f} s of a recording of {last / rate:.3f} s"
        )
    if row.channel not in recording.channel_ids:
        raise ValueError(f"channel {row.channel} of a recording with {recording.num_channels}")
    duration = (end - first) / rate
    cut = MonoCut(row.id, first / rate, duration, row.channel, recording=recording, custom=row.custom)
    if row.text is not None or row.speaker is not None:
        cut.supervisions = [
            SupervisionSegment(
                id=row.id,
                recording_id=recording.id,
                start=0.0,
                duration=duration,
                channel=row.channel,
                text=row.text,
                language=row.language,
                speaker=row.speaker,
                gender=row.gender,
            )
        ]
    return cut


def gather(rows: Iterable[tuple[str, Utterance | Finding]]) -> tuple[list[MonoCut], list[Finding]]:
    """The cuts of rows, each with where it stands, and what is wrong with the others."""
    cuts: list[MonoCut] = []
    findings: list[Finding] = []
    for where, row in rows:
        if isinstance(row, Finding):
            findings.append(row)
            continue
        try:
            cuts.append(make_cut(row))
        except (ValueError, OverflowError) as error:
            findings.append(Finding(row.id, where, f"wrong times: {error}", kind="times"))
    return cuts, findings


def unreadable(cut: MonoCut, error: Exception) -> InputError:
    """What a user is told of audio that lhotse could not load, which takes lhotse several lines."""
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{cut.id}: its audio cannot be read ({reason}); `s4speech doctor` lists all such")


def read_cuts(path: Path) -> list[MonoCut]:
    """The cuts of a lhotse manifest (JSON lines, plain or gzip).

    Raises InputError naming file and line: not a MonoCut with a recording and at most one supervision, or a
    source that is not a file (commands are never run, nothing is fetched).
    """
    return [parse_cut(data, f"{path}:{number}") for number, data in json_lines(path)]


def parse_cut(data: dict[str, Any], where: str, *, shar: bool = False) -> MonoCut:
    """One cut of its JSON object. shar: its audio is in a shard beside it. Raises InputError."""
    if "cut_id" not in data and data.get("type") != "MonoCut":
        kind = data.get("type", "an object without a type")
        raise InputError(
            f"{where}: got {kind}, wanted a MonoCut; make cuts of recordings and supervisions with"
            " `lhotse cut simple`, and whole ones with `lhotse cut trim-to-supervisions`"
        )
    check_sources(data, where, shar=shar)
    try:
        cut = MonoCut.from_dict({key: value for key, value in data.items() if key != "type"})
        check_cut(cut)
    except BAD_VALUES as error:
        raise not_lhotse(where, error) from error
    return cut


# What lhotse's classes raise for values of the wrong kind.
BAD_VALUES = (TypeError, ValueError, KeyError, AttributeError, AssertionError, ArithmeticError)


def not_lhotse(where: str, error: Exception) -> InputError:
    """What a user is told of an object that is none of lhotse's."""
    text = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{where}: not a cut of lhotse ({text}); write the manifest again")


def check_cut(cut: MonoCut) -> None:
    """Raises ValueError: what later code takes for granted is not so."""
    if not isinstance(cut.id, str) or not cut.id:
        raise ValueError(f"id: got {cut.id!r}, wanted text")
    numbers = {"start": cut.start, "duration": cut.duration}
    if cut.recording is None:
        raise ValueError("no recording")
    numbers |= {"sampling_rate": cut.recording.sampling_rate, "num_samples": cut.recording.num_samples}
    for name, value in numbers.items():
        good = isinstance(value, int | float) and 0 <= value < 1e12  # no nan, no infinity
        if not good or (name != "start" and value == 0):
            raise ValueError(f"{name}: got {value!r}, wanted a positive number")
    if cut.num_samples < 1:
        raise ValueError(f"duration: got {cut.duration!r}, less than a sample")
    if len(cut.recording.sources) != 1:
        raise ValueError(f"{len(cut.recording.sources)} sources of a recording, wanted one")
    if len(cut.supervisions) > 1:
        raise ValueError(f"{len(cut.supervisions)} supervisions, wanted one; lhotse cut trim-to-supervisions")
    for supervision in cut.supervisions:
        for name in ("text", "speaker"):
            if not isinstance(getattr(supervision, name), str | None):
                raise ValueError(f"{name}: got {getattr(supervision, name)!r}, wanted text")


def check_sources(value: object, where: str, *, shar: bool = False) -> None:
    """Raises InputError: anywhere in a manifest's object, audio that is not a local file.

    lhotse would run sources of type command through a shell, and fetch those of type url.
    """
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, Mapping):
            pending += value.values()
            if "source" in value and "channels" in value:
                _check_source(value, where, shar)


def _check_source(source: Mapping[str, object], where: str, shar: bool) -> None:
    kind, path = source.get("type"), source["source"]
    if shar and kind == "shar":
        return
    if not isinstance(path, str) or not path or path == "-":
        raise InputError(f"{where}: an audio source of {path!r}, wanted the path of a file")
    if not shell_safe(path):
        raise InputError(f"{where}: {path[:80]!r} is a path that a shell would take apart; rename the file")
    if kind == "file" or (kind == "url" and path.startswith(TAR)):
        return
    why = {"command": "commands are not run", "shar": "its shards are to be read as a Shar folder"}
    raise InputError(
        f"{where}: an audio source of type {kind!r} ({why.get(str(kind), 'only local files are read')}):"
        f" {path[:80]!r}; decode the audio to files first"
    )


def cut_lines(cuts: Iterable[MonoCut]) -> Iterator[str]:
    """A lhotse manifest, line by line."""
    for cut in cuts:
        yield json.dumps(cut.to_dict(), ensure_ascii=False) + "\n"


def write_cuts(cuts: Iterable[MonoCut], path: Path) -> None:
    """As JSON lines, gzip; the same cuts give the same bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for line in cut_lines(cuts):
            file.write(line.encode("utf-8"))
