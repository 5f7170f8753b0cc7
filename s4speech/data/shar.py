"""lhotse Shar: cuts.NNNNNN.jsonl.gz beside recording.NNNNNN.tar, a few large files for many small ones.

Only the cuts are read into memory; the audio of an utterance is read from its place in the tar file when it
is asked for. So cuts from shards are chosen, shuffled and resumed as those from files are.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from lhotse import AudioSource, MonoCut, Recording
from lhotse.serialization import (
    CompositeIOBackend,
    IOBackend,
    get_current_io_backend,
    set_current_io_backend,
)
from lhotse.shar import SharWriter

from s4speech.data.cuts import (
    BAD_VALUES,
    TAR,
    check_cut,
    check_sources,
    not_lhotse,
    parse_cut,
    unreadable,
)
from s4speech.data.lines import json_lines, json_object
from s4speech.errors import InputError

SHARD_SIZE = 1000
_PLACE = re.compile(rf"{TAR}(.+)\?(\d+)\+(\d+)", re.DOTALL)
_MAX_META_BYTES = 2**20


class Place(NamedTuple):
    """Bytes of a file: `size` of them from `offset` on."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Raises OSError: the file is gone, or shorter."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(None, f"ends in the middle of the audio at byte {self.offset}", self.path)
        return data


def place_of(source: str) -> Place | None:
    """The place that a cut's source names; None: it is not inside a shard."""
    match = _PLACE.fullmatch(source)
    return Place(match[1], int(match[2]), int(match[3])) if match else None


class _ShardBackend(IOBackend):  # type: ignore[misc]  # lhotse has no types
    """How lhotse opens a source inside a shard."""

    def open(self, identifier: str, mode: str) -> BinaryIO:
        place = place_of(str(identifier))
        if place is None or mode != "rb":
            raise ValueError(f"{identifier}: not a place in a shard")
        return io.BytesIO(place.read())

    def handles_special_case(self, identifier: object) -> bool:
        return str(identifier).startswith(TAR)

    def is_applicable(self, identifier: object) -> bool:
        return self.handles_special_case(identifier)


set_current_io_backend(CompositeIOBackend([_ShardBackend(), get_current_io_backend()]))


def is_shar(folder: Path) -> bool:
    """The folder has shards of cuts and of recordings."""
    return any(folder.glob("cuts.*.jsonl*")) and any(folder.glob("recording.*.tar"))


def shards_of(folder: Path) -> list[tuple[Path, Path]]:
    """(cuts, recording) of each shard, in order. Raises InputError: none, or one of a pair is not there."""
    cuts = {path.name.split(".")[1]: path for path in folder.glob("cuts.*.jsonl*")}
    tars = {path.name.split(".")[1]: path for path in folder.glob("recording.*.tar")}
    if not cuts:
        raise InputError(f"{folder}: no cuts.*.jsonl.gz, wanted a Shar folder with audio")
    lonely = sorted(cuts.keys() ^ tars.keys())
    if lonely:
        raise InputError(
            f"{folder}: shard {lonely[0]} has not both its cuts and its recording file ({len(lonely)} such);"
            " copy the folder again"
        )
    return [(cuts[number], tars[number]) for number in sorted(cuts)]


def read_shar(folder: Path) -> list[MonoCut]:
    """The cuts of all shards, in order. Raises InputError: a shard that is damaged or not lhotse's."""
    return [cut for shard in shards_of(folder) for cut in read_shard(*shard)]


def read_shard(cuts_path: Path, tar_path: Path) -> list[MonoCut]:
    """The cuts of one shard; their sources are places in the tar file."""
    members = _members(tar_path)
    cuts = []
    for number, data in json_lines(cuts_path):
        where = f"{cuts_path}:{number}"
        cut = parse_cut(data, where, shar=True)
        member = next(members, None)
        if member is None or member[0] != cut.id:
            name = member[0] if member else "nothing"
            raise InputError(f"{where}: {cut.id} here, {name} in {tar_path}; copy both files again")
        _fill(cut, member[1], member[2], f"{tar_path}: {cut.id}")
        cuts.append(cut)
    if next(members, None) is not None:
        raise InputError(f"{tar_path}: more recordings than {cuts_path} has cuts; copy both files again")
    return cuts


def _fill(cut: MonoCut, place: Place, meta: dict[str, Any], where: str) -> None:
    """Give a cut its recording: a place in a tar file, with what the file says of it."""
    check_sources(meta, where, shar=True)
    try:
        cut.recording = Recording.from_dict(meta)
        cut.recording.id = cut.id  # it was cut out of what it is named for
        source = f"{TAR}{place.path}?{place.offset}+{place.size}"
        cut.recording.sources = [AudioSource("url", cut.recording.channel_ids, source)]
        check_cut(cut)
    except BAD_VALUES as error:
        raise not_lhotse(where, error) from error
    for supervision in cut.supervisions:
        supervision.recording_id = cut.id


def _members(path: Path) -> Iterator[tuple[str, Place, dict[str, Any]]]:
    """(id, where its audio is, its recording) of a shard, whose files come in pairs."""
    whole = str(path.resolve())
    try:
        with tarfile.open(path, "r:") as tar:
            members = iter(tar)
            for audio in members:
                meta = next(members, None)
                name = audio.name.rpartition(".")[0]
                if meta is None or meta.name != f"{name}.json" or not (audio.isreg() and meta.isreg()):
                    raise InputError(
                        f"{path}: {audio.name}: wanted audio and its .json; write the shards again"
                    )
                if meta.size > _MAX_META_BYTES:
                    raise InputError(f"{path}: {meta.name}: {meta.size} bytes; write the shards again")
                file = tar.extractfile(meta)
                text = file.read().decode("utf-8") if file else ""
                place = Place(whole, audio.offset_data, audio.size)
                yield name, place, json_object(text, f"{path}: {meta.name}")
    except (tarfile.TarError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a tar file that can be read ({error}); copy it again") from error


def write_shar(
    cuts: Sequence[MonoCut],
    folder: Path,
    *,
    shard_size: int = SHARD_SIZE,
    jobs: int = 1,
    advance: Callable[[int], object] = lambda utterances: None,
) -> None:
    """Write shards of FLAC (16 bits: the samples of 16 bit files are kept to the bit) in `jobs` processes.

    advance: is told how many more utterances are done. Raises InputError: an id that cannot name
    a file in a shard, audio that cannot be read.
    """
    for cut in cuts:
        name = PurePosixPath(f"{cut.id}.flac")
        if (
            str(name.parent / name.stem) != cut.id
            or name.is_absolute()
            or ".." in name.parts
            or "\0" in cut.id
        ):
            raise InputError(f"id {cut.id!r}: cannot be the name of a file in a shard; rename the utterance")
    pattern = str(folder.resolve()).replace("%", "%%")
    pieces = [
        (list(cuts[at : at + shard_size]), pattern, at // shard_size)
        for at in range(0, len(cuts), shard_size)
    ]
    with ExitStack() as stack:
        if jobs > 1 and len(pieces) > 1:
            pool = ProcessPoolExecutor(min(jobs, len(pieces)))
            done: Iterator[None] = stack.enter_context(pool).map(_write_shard, pieces)
        else:
            done = map(_write_shard, pieces)
        for piece, _ in zip(pieces, done, strict=True):
            advance(len(piece[0]))


def _write_shard(piece: tuple[list[MonoCut], str, int]) -> None:
    cuts, pattern, number = piece
    with SharWriter(pattern, {"recording": "flac"}, len(cuts), shard_offset=number) as writer:
        for cut in cuts:
            try:
                writer.write(cut)
            except Exception as error:  # lhotse's loading errors have no common base
                raise unreadable(cut, error) from error


def checksums_path(folder: Path) -> Path:
    """Beside a Shar folder, for lhotse takes every file in it for a shard: `sha256sum -c` reads it there."""
    return folder.with_name(f"{folder.name}.sha256")


def checksums(folder: Path) -> str:
    """A line for each file of a Shar folder."""
    return "".join(f"{_sha256(path)}  {folder.name}/{path.name}\n" for path in sorted(folder.iterdir()))


def changed_shards(folder: Path) -> list[Path]:
    """The files that are not as they were written, by the checksums beside the folder, if there are any."""
    path = checksums_path(folder)
    if not path.is_file():
        return []
    lines = path.read_text("utf-8", errors="replace").splitlines()
    wanted = {line[66:].rpartition("/")[2]: line[:64] for line in lines}
    return [folder / name for name, value in wanted.items() if _sha256(folder / name) != value]


def _sha256(path: Path) -> str:
    if not path.is_file():
        return "missing"
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
