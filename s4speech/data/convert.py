"""Writing a data set in another format, with its audio where it is, copied or linked."""

import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote

import soundfile
from lhotse import AudioSource, MonoCut, Recording
from lhotse.utils import fastcopy

from s4speech.data import shar
from s4speech.data.cuts import unreadable, write_cuts
from s4speech.data.kaldi import kaldi_tables, table_text, wav_entry
from s4speech.data.nemo import nemo_lines
from s4speech.data.problems import raise_problems
from s4speech.data.source import Part
from s4speech.errors import InputError
from s4speech.files import write_by_rename

Target = Literal["kaldi", "nemo", "lhotse", "shar"]
Audio = Literal["reference", "copy", "link"]
Advance = Callable[[int], object]
NEMO, LHOTSE, AUDIO = "manifest.jsonl", "cuts.jsonl.gz", "audio"
_LONGEST_NAME = 200  # bytes, of the 255 that file systems have


def convert(
    parts: Sequence[Part],
    destination: Path,
    to: Target,
    *,
    audio: Audio = "reference",
    shard_size: int = shar.SHARD_SIZE,
    jobs: int = 1,
    advance: Advance = lambda utterances: None,
) -> None:
    """Write the parts as the folder `destination`, those with names as folders in it; it appears when whole.

    audio: stays where it is (absolute paths), is copied or linked to an audio folder; shards hold it.
    advance: is told how many more utterances are done. Raises InputError: the folder is there, what the
    format cannot hold, audio that cannot be read.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(f"{destination}: is there already; give another folder, or remove it")
    raise_problems([str(f) for part in parts for f in part.findings], "correct or remove these utterances")
    destination = destination.absolute()
    destination.parent.mkdir(parents=True, exist_ok=True)
    unfinished = destination.with_name(f".{destination.name[:100]}.{os.getpid()}.tmp")
    unfinished.mkdir()
    try:
        for part in parts:
            name = safe_name(part.name) if part.name else ""
            folder, final = unfinished / name, destination / name
            folder.mkdir(exist_ok=True)
            if to == "shar":
                shar.write_shar(part.cuts, folder, shard_size=shard_size, jobs=jobs, advance=advance)
            else:
                _WRITERS[to](part.cuts, folder, _AudioFiles(folder / AUDIO, final / AUDIO, audio), advance)
            if to == "shar" and name:
                write_by_rename(shar.checksums_path(folder), shar.checksums(folder))
        unfinished.replace(destination)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if to == "shar" and not parts[0].name:
        write_by_rename(shar.checksums_path(destination), shar.checksums(destination))


def safe_name(name: str) -> str:
    """A file's name for an id, another for each: no slash, not hidden, not too long.

    What is not a letter, a digit or one of ``_.-~`` is written as %XX.
    """
    quoted = quote(name, safe="") or "%"
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()
        quoted = f"{quoted[: _LONGEST_NAME - 33]}-{digest[:32]}"
    return quoted


class _AudioFiles:
    """Where the audio of recordings is once the data set is written.

    folder: where copies and links are put now; final: where they will be then.
    """

    def __init__(self, folder: Path, final: Path, mode: Audio) -> None:
        self._folder, self._final, self.mode = folder, final, mode
        self._placed: dict[str, tuple[str, str]] = {}  # recording's name -> source, path

    def plain(self, cut: MonoCut) -> str:
        """A file that is the recording of one channel as the cut has it. Raises InputError."""
        recording = cut.recording
        if not recording.transforms and recording.num_channels == 1:
            return self.of(cut)
        if self.mode != "copy":
            what = "resampled or changed when read" if recording.transforms else "one channel of several"
            raise InputError(
                f"{cut.id}: its audio is {what}, which only lhotse's format says; use --audio copy"
            )
        name = f"{recording.id}-{cut.channel}" if recording.num_channels > 1 else recording.id
        return self._place(
            name, f"{_source(recording)} {cut.channel}", ".flac", lambda path: _decode(cut, path)
        )

    def of(self, cut: MonoCut) -> str:
        """The file that the recording is read from. Raises InputError."""
        source = _source(cut.recording)
        place = shar.place_of(source)
        if place is None and self.mode == "reference":
            return os.path.abspath(source)
        if place is None:
            put = shutil.copyfile if self.mode == "copy" else os.symlink
            original = os.path.abspath(source)
            return self._place(
                cut.recording.id, source, Path(source).suffix, lambda path: put(original, path)
            )
        if self.mode != "copy":
            raise InputError(f"{cut.id}: its audio is inside {place.path}; use --audio copy")
        data = place.read()
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            suffix = f".{file.format.lower()}"
        return self._place(cut.recording.id, source, suffix, lambda path: path.write_bytes(data))

    def _place(self, name: str, source: str, suffix: str, put: Callable[[Path], object]) -> str:
        known = self._placed.get(name)
        if known is None:
            file = safe_name(name) + (suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else "")
            self._folder.mkdir(exist_ok=True)
            put(self._folder / file)
            known = self._placed[name] = (source, str(self._final / file))
        if known[0] != source:
            raise InputError(f"{name}: two recordings with this id, {known[0]} and {source}; rename one")
        return known[1]


def _source(recording: Recording) -> str:
    return cast(str, recording.sources[0].source)


def _decode(cut: MonoCut, path: Path) -> None:
    try:
        samples = cut.recording.load_audio(channels=cut.channel)
    except Exception as error:  # lhotse's loading errors have no common base
        raise unreadable(cut, error) from error
    soundfile.write(path, samples.T, cut.recording.sampling_rate, subtype="PCM_16")


def _write_kaldi(cuts: Sequence[MonoCut], folder: Path, audio: _AudioFiles, advance: Advance) -> None:
    tables = kaldi_tables(cuts, lambda cut: wav_entry(_told(audio.plain(cut), advance)))
    for name, table in tables.items():
        (folder / name).write_text(table_text(table), encoding="utf-8")


def _write_nemo(cuts: Sequence[MonoCut], folder: Path, audio: _AudioFiles, advance: Advance) -> None:
    def path(cut: MonoCut) -> str:
        whole = _told(audio.plain(cut), advance)
        return whole if audio.mode == "reference" else f"{AUDIO}/{Path(whole).name}"

    with (folder / NEMO).open("w", encoding="utf-8") as file:
        file.writelines(nemo_lines(cuts, path))


def _write_lhotse(cuts: Sequence[MonoCut], folder: Path, audio: _AudioFiles, advance: Advance) -> None:
    def placed(cut: MonoCut) -> MonoCut:
        path = _told(audio.of(cut), advance)
        source = AudioSource("file", cut.recording.sources[0].channels, path)
        moved: MonoCut = fastcopy(cut, recording=fastcopy(cut.recording, sources=[source]))
        return moved

    write_cuts(map(placed, cuts), folder / LHOTSE)


def _told(path: str, advance: Advance) -> str:
    advance(1)
    return path


_WRITERS = {"kaldi": _write_kaldi, "nemo": _write_nemo, "lhotse": _write_lhotse}
