"""Published archives: fetched whole or not at all, checked, unpacked. Nothing here runs without being asked.

lhotse (1.33) has a download function for each corpus, which is not used. It continues a file with whatever
the server sends, so that one that does not know ranges makes a wrong file; takes a transfer that ended early
for a whole one; compares no checksum; asks one address once; unpacks links.
"""

import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from s4speech.errors import InputError

Report = Callable[[int, int | None], None]  # bytes that are there, bytes in all (None: unknown)
Say = Callable[[str], None]
BLOCK_BYTES = 2**20
TIMEOUT_S = 30.0
TRIES = 6  # rounds through all addresses in a row that bring nothing
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Archive:
    """A published file.

    urls: where it lies, the same file under the same name, asked in this order. checksum: ``md5:HEX`` or
    ``sha256:HEX``. size: in bytes, where it is known. inside: the folder of the tar that is wanted; None: the
    file itself is.
    """

    urls: tuple[str, ...]
    checksum: str
    size: int | None = None
    inside: str | None = None

    @property
    def name(self) -> str:
        return self.urls[0].rpartition("/")[2]


@dataclass(frozen=True)
class Wanted:
    """An archive, and the file or folder that is to be made of it. folder: where the archive is kept."""

    archive: Archive
    to: Path
    folder: Path


class _NotHere(Exception):
    """This address does not have the file."""


class _EndedEarly(Exception):
    """The transfer stopped: it may go on at a later time."""


def obtain(wanted: Wanted, *, report: Report, say: Say, pause: Callable[[float], None] = time.sleep) -> None:
    """Fetch and unpack what is wanted; what is there already is left alone.

    An archive that lies in the folder, put there by hand, is checked and used, and kept; a fetched one is
    removed once it is unpacked.
    Raises InputError: as `fetch` and `unpack` do, or another process is at the same work.
    """
    archive, folder = wanted.archive, wanted.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); set another path") from error
    with _lock(folder / f".{archive.name}.lock"):
        if wanted.to.exists():
            return
        given = (folder / archive.name).exists()
        path = fetch(archive, folder, report=report, say=say, pause=pause)
        if archive.inside is not None:
            say(f"{path}: unpacked to {wanted.to}")
            left_out = unpack(path, archive.inside, wanted.to)
            if left_out:
                say(f"{path}: {left_out} links or special files in it were left out")
            if not given:
                path.unlink()


def fetch(
    archive: Archive,
    folder: Path,
    *,
    report: Report,
    say: Say,
    pause: Callable[[float], None] = time.sleep,
    tries: int = TRIES,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """The archive in `folder`, which has to exist; its bytes have the published checksum.

    What was received of it is kept as NAME.part, and a later call goes on there. Each round asks every
    address; between rounds `pause` waits 1, 2, 4 ... seconds.
    Raises InputError: a file of that name with another checksum lies there; no address has the file, or none
    answers, naming the address, the reason, and where to put the file by hand; the disk is full.
    """
    target = folder / archive.name
    if target.exists():
        problem = _difference(archive, target)
        if problem:
            raise InputError(f"{target}: {problem}; remove it, and it is fetched again")
        return target
    part = folder / f"{archive.name}.part"
    problems: dict[str, str] = {}
    urls, failures = list(archive.urls), 0
    with open(part, "ab") as file:
        while urls and failures < tries:
            for url in tuple(urls):
                before = file.seek(0, os.SEEK_END)
                try:
                    continued = _receive(url, file, archive.size, report, timeout_s)
                except _NotHere as error:
                    urls.remove(url)
                    problems[url] = str(error)
                except (_EndedEarly, OSError, http.client.HTTPException) as error:
                    problems[url] = _reason(error)
                    if file.seek(0, os.SEEK_END) > before:
                        failures = 0
                else:
                    say(f"{part}: checked")
                    problem = _difference(archive, part)
                    if problem is None:
                        os.fsync(file.fileno())
                        part.replace(target)
                        return target
                    problems[url] = problem
                    file.truncate(0)
                    if not continued:  # else the beginning may be another file's: this address is asked again
                        urls.remove(url)
            failures += 1
            if urls and failures < tries:
                wait_s = min(LONGEST_PAUSE_S, 2.0 ** (failures - 1))
                say(f"{archive.name}: {problems[urls[-1]]}; asked again in {wait_s:g} s")
                pause(wait_s)
        have = file.seek(0, os.SEEK_END)
    if not have:
        part.unlink()
    raise InputError(_not_fetched(archive, target, problems, have))


def _not_fetched(archive: Archive, target: Path, problems: dict[str, str], have: int) -> str:
    first, *others = problems.items()
    more = f", nor from {len(others)} other addresses ({others[-1][0]}: {others[-1][1]})" if others else ""
    again = f"; the same command goes on after {have} bytes" if have else ""
    return (
        f"{archive.name}: cannot be fetched from {first[0]}: {first[1]}{more}; check the network, or get the "
        f"file elsewhere and put it at {target}{again}"
    )


def _reason(error: Exception) -> str:
    """In a few words, on one line."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(getattr(cause, "strerror", None) or cause or type(error).__name__).split())


def _receive(url: str, file: IO[bytes], size: int | None, report: Report, timeout_s: float) -> bool:
    """Write to the file what it lacks of `url`; return whether it went on after bytes that were there.

    Raises _NotHere; _EndedEarly, OSError or HTTPException when a later try may do.
    """
    have = file.seek(0, os.SEEK_END)
    if size is not None and have >= size:
        if have == size:
            return True
        file.truncate(0)
        have = 0
    headers = {"User-Agent": "s4speech", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                if error.headers.get("Content-Range", "") == f"bytes */{have}":
                    return True  # it was whole
                file.truncate(0)
                raise _EndedEarly("what was there is longer than the file") from error
            told = f"HTTP {error.code} {error.reason}"
            later = error.code >= 500 or error.code in (408, 429)
            raise (_EndedEarly if later else _NotHere)(told) from error
    with response:
        total = _total(response, have)
        if total is not None and size is not None and total != size:
            raise _NotHere(f"has {total} bytes, wanted {size}")
        continued = have > 0 and response.status == http.client.PARTIAL_CONTENT
        if not continued:  # the server sends it from the beginning
            file.truncate(0)
            have = 0
        report(have, total)
        while block := response.read(BLOCK_BYTES):
            _write(file, block)
            have += len(block)
            report(have, total)
    if total is not None and have < total:
        raise _EndedEarly(f"ended after {have} of {total} bytes")
    return continued


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    """Bytes of the whole file, if the server tells. Raises _NotHere: it sends another range."""
    if response.status == http.client.PARTIAL_CONTENT:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != have:
            raise _NotHere("sends another range than was asked for")
        return None if told[2] == "*" else int(told[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _write(file: IO[bytes], block: bytes) -> None:
    """Raises InputError: the disk is full. (As an OSError it would be taken for one of the network.)"""
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        raise InputError(
            f"{file.name}: cannot be written ({error.strerror}); make room and give the same command again"
        ) from error


def _difference(archive: Archive, path: Path) -> str | None:
    """What tells the file from the published one. Raises InputError: it cannot be read."""
    kind, _, wanted = archive.checksum.partition(":")
    hasher = hashlib.new(kind, usedforsecurity=False)
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                hasher.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); remove it") from error
    got = hasher.hexdigest()
    return None if got == wanted else f"got {kind} {got}, wanted the published {wanted}"


def unpack(path: Path, inside: str, to: Path) -> int:
    """Unpack a tar file; its folder `inside` becomes `to`, and what lies beside it comes to lie beside `to`.

    `to` appears last and by rename: when it is there it is whole. A file that lies beside it already is kept.
    Returns how many links and special files were left out: corpora need none.
    Raises InputError: no tar file, a damaged one, one without `inside`, or with a path that leads outside.
    """
    if not hasattr(tarfile, "data_filter"):
        raise InputError("this Python unpacks archives unsafely; update it to 3.10.12, 3.11.4 or a later one")
    work = to.parent / f".{to.name}.unpacking"
    left_out = 0

    def files_and_folders(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        nonlocal left_out
        if member.isfile() or member.isdir():
            return tarfile.data_filter(member, folder)
        left_out += 1
        return None

    try:
        shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
        work.mkdir(parents=True)
        with tarfile.open(path, "r|*", errorlevel=1) as tar:
            tar.extractall(work, filter=files_and_folders)
        found = work / inside
        if not found.is_dir():
            raise InputError(f"{path}: has no folder {inside}; wanted the published archive")
        for beside in sorted(found.parent.iterdir()):
            if beside != found and not (to.parent / beside.name).exists():
                beside.rename(to.parent / beside.name)
        found.rename(to)
    except tarfile.FilterError as error:
        raise InputError(f"{path}: {error}; nothing of it is used, wanted the published archive") from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(
            f"{path}: cannot be unpacked ({_reason(error)}); correct that, or remove it"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return left_out


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time. Raises InputError: another one is at it."""
    with open(path, "ab") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            name = path.name.removeprefix(".").removesuffix(".lock")
            raise InputError(
                f"{path.parent / name}: another process is fetching it; wait for it to end"
            ) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
