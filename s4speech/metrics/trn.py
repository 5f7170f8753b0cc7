"""TRN files of sclite: one ``words (speaker-utterance)`` a line."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from s4speech.errors import InputError
from s4speech.files import write_by_rename

_LINE = re.compile(r"^(?P<words>.*)\((?P<id>[^()\s]+)\)\s*$")


def read_trn(path: str | Path) -> dict[str, str]:
    """Read a TRN file. Returns text by id, in the file's order; sclite's marks stay in the text.

    Blank lines and ``;;`` comments are skipped; the words may be none (an empty hypothesis).

    Raises InputError: unreadable, not UTF-8, a line without an id, or an id twice (naming file and line).
    """
    texts: dict[str, str] = {}
    for number, line in text_lines(path, "TRN"):
        match = _LINE.match(line)
        if match is None:
            shown = line.strip()[-40:]
            raise InputError(
                f"{path}:{number}: no id at the end, got '{shown}'; wanted 'words (speaker-utt)'"
            )
        if match["id"] in texts:
            raise InputError(f"{path}:{number}: the id '{match['id']}' came before; wanted each id once")
        texts[match["id"]] = " ".join(match["words"].split())
    if not texts:
        raise InputError(f"{path}: no utterances; wanted lines of 'words (speaker-utt)'")
    return texts


def write_trn(path: str | Path, texts: Mapping[str, str]) -> None:
    """Write ``texts`` (text by id) as a TRN file, by rename.

    Raises InputError: an id that is empty or has a space or a parenthesis, which TRN cannot hold.
    """
    lines = []
    for utterance, text in texts.items():
        if not re.fullmatch(r"[^()\s]+", utterance):
            raise InputError(
                f"{path}: the id '{utterance}' cannot stand in TRN; wanted no space, no parenthesis"
            )
        lines.append(f"{' '.join(text.split())} ({utterance})\n")
    write_by_rename(path, "".join(lines))


def is_trn(line: str) -> bool:
    """Tell whether ``line`` has an id at its end."""
    return _LINE.match(line) is not None


def speaker_of(utterance: str) -> str:
    """Return the speaker of an id: what comes before its first hyphen (all of it when it has none)."""
    return utterance.split("-", 1)[0]


def text_lines(path: str | Path, kind: str = "text") -> Iterator[tuple[int, str]]:
    """Yield the lines of a ``kind`` file with their numbers from 1, without blank ones and ``;;`` comments.

    Raises InputError: unreadable, or not UTF-8.
    """
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror}); wanted a {kind} file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; wanted a {kind} file in UTF-8") from error
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip() and not line.startswith(";;"):
            yield number, line
