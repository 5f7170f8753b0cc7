"""Lines of files that others wrote, text and JSON, plain or gzip: every fault has a file and a line."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from s4speech.errors import InputError

MAX_LINE_BYTES = 16 * 2**20  # of one line: nothing that a manifest says of an utterance is near it


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text without its end) of each line. CRLF and a byte order mark are taken.

    Raises InputError naming file and line: missing, not UTF-8, a NUL, over 16 MiB, a damaged gzip file.
    """
    number = 0
    try:
        with _open(path) as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                yield number, _text(line, f"{path}:{number}", first=number == 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}:{number + 1}: damaged gzip file ({error}); copy or unpack it again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _text(line: bytes, where: str, *, first: bool) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise InputError(f"{where}: a line of more than {MAX_LINE_BYTES >> 20} MiB; is this a manifest?")
    if first:
        line = line.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in line:
        raise InputError(f"{where}: a NUL byte; wanted text, is this a binary file or UTF-16?")
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 ({error}); save the file as UTF-8") from error


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of each line that is not blank. Raises InputError: `text_lines`, not an object."""
    for number, line in text_lines(path):
        if line.strip():
            yield number, json_object(line, f"{path}:{number}")


def json_object(text: str, where: str) -> dict[str, Any]:
    """One JSON object. Raises InputError: anything else, NaN, half a surrogate pair, nested too deep."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        if "\\u" in text:  # the only way for a lone surrogate to come in
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a JSON object a line ({error}); correct the line") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: got a JSON {type(value).__name__}, wanted an object a line")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
