"""One HTML page to listen to: every sentence as recorded, copied and synthesised, with its scores.

The audio lies beside the page in `samples/` as FLAC, so the page stays small, loads a sentence when it is
played, and the files can be used alone. `embed=True` puts everything into the one file instead, to be mailed
or attached (a third larger than the audio). No script, nothing from the network.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.metrics.html_parts import document, embedded, escape, row, table

_STYLE = "audio { width: 15rem; height: 2.2rem }\n"


@dataclass(frozen=True)
class Take:
    """One sentence by one system."""

    audio: Path
    scores: Mapping[str, str] = field(default_factory=dict)  # as shown: {"WER": "3.1 %"}
    heard: str | None = None  # what the judge heard, where that is worth showing


@dataclass(frozen=True)
class SpokenText:
    """One sentence and its takes by system; a system may lack some."""

    key: str
    text: str
    takes: Mapping[str, Take]


@dataclass(frozen=True)
class Page:
    """What the page shows, in this order."""

    title: str
    notes: Sequence[str]  # a paragraph each: data, model, command, commit, hardware
    systems: Sequence[str]  # columns of the table, e.g. real, Griffin-Lim copy, vocoder copy, S4
    sentences: Sequence[SpokenText]
    summary: Sequence[Mapping[str, str]] = ()  # rows by column name; a missing cell stays empty
    pictures: Mapping[str, Path] = field(default_factory=dict)  # PNG by caption


def write_page(page: Page, target: Path, *, embed: bool = False) -> None:
    """Write ``page`` to ``target`` (an .html file).

    Unless ``embed``, its audio and pictures go to `samples/` beside it. The page comes last, by rename: it
    never points at files that are not there.

    Raises InputError: a take of a system that is not in ``page.systems``, two sentences with one key, or an
    audio file or picture that cannot be read. OSError: the folder cannot be written.
    """
    _check(page)
    folder = target.parent / "samples"
    place = _embedded if embed else lambda name, kind, data: _beside(folder, name, data)
    if not embed:
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for sentence in page.sentences:
        cells = [f'<td class="text">{escape(sentence.text)}<small>{escape(sentence.key)}</small></td>']
        for system in page.systems:
            take = sentence.takes.get(system)
            if take is None:
                cells.append("<td></td>")
                continue
            name = f"{_file_name(sentence.key)}.{_file_name(system)}.flac"
            address = place(name, "audio/flac", _flac(take.audio))
            cells.append(f"<td>{_player(address, f'{sentence.key}, {system}')}{_told(take)}</td>")
        rows.append(cells)
    pictures = [
        (caption, place(f"{_file_name(caption)}.png", "image/png", _read(path)))
        for caption, path in page.pictures.items()
    ]
    write_by_rename(target, _document(page, rows, pictures))


def _document(page: Page, rows: Iterable[Iterable[str]], pictures: Iterable[tuple[str, str]]) -> str:
    body = [f"<p>{escape(note)}</p>" for note in page.notes]
    if page.summary:
        columns = list(dict.fromkeys(name for line in page.summary for name in line))
        cells = [row([line.get(name, "") for name in columns]) for line in page.summary]
        body += ["<h2>Summary</h2>", table(columns, cells)]
    body += ["<h2>Sentences</h2>", table(["text", *page.systems], rows)]
    for caption, address in pictures:
        name = escape(caption)
        body.append(f'<h2>{name}</h2><img loading="lazy" alt="{name}" src="{escape(address)}">')
    return document(page.title, body, style=_STYLE)


def _player(address: str, label: str) -> str:
    return f'<audio controls preload="none" aria-label="{escape(label)}" src="{escape(address)}"></audio>'


def _told(take: Take) -> str:
    scores = " · ".join(f"{escape(name)} {escape(value)}" for name, value in take.scores.items())
    lines = [scores] if scores else []
    if take.heard is not None:
        lines.append(f"heard: {escape(take.heard) or '(nothing)'}")
    return "".join(f"<small>{line}</small>" for line in lines)


def _check(page: Page) -> None:
    keys = [_file_name(sentence.key) for sentence in page.sentences]
    for names, what in ((keys, "sentence"), ([_file_name(name) for name in page.systems], "system")):
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"page: {what} '{twice[0]}' is there twice; give each its own name")
    for sentence in page.sentences:
        if foreign := [name for name in sentence.takes if name not in page.systems]:
            raise InputError(
                f"page: sentence '{sentence.key}' has a take by '{foreign[0]}';"
                f" wanted one of {', '.join(page.systems)}"
            )


def _flac(path: Path) -> bytes:
    """Return an audio file as 16 bit FLAC: half of WAV, without loss, played by every browser."""
    try:
        samples, sample_rate = soundfile.read(path, dtype="float32")
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"page: {path}: cannot be read ({error}); wanted an audio file") from error
    written = io.BytesIO()
    soundfile.write(written, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return written.getvalue()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"page: {path}: cannot be read ({error}); wanted a PNG") from error


def _embedded(name: str, kind: str, data: bytes) -> str:
    return embedded(kind, data)


def _beside(folder: Path, name: str, data: bytes) -> str:
    write_by_rename(folder / name, data)
    return f"{folder.name}/{name}"


def _file_name(text: str) -> str:
    return re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-") or "x"
