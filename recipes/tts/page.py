"""One HTML page to listen to: every sentence as recorded, copied and synthesised, with its scores.

The audio lies beside the page in `samples/` as FLAC, so the page stays small, loads a sentence when it is
played, and the files can be used alone. `embed=True` puts everything into the one file instead, to be mailed
or attached (a third larger than the audio). No script, nothing from the network.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from s4speech.errors import InputError
from s4speech.files import write_by_rename

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #8886; padding: .45rem .7rem; text-align: left; vertical-align: top }
td.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap }
td.text { min-width: 16rem }
small { display: block; opacity: .75 }
audio { width: 15rem; height: 2.2rem }
img { max-width: 100%; background: #fff }
"""


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
        cells = [f'<td class="text">{_escape(sentence.text)}<small>{_escape(sentence.key)}</small></td>']
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
    title = _escape(page.title)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head>",
        f"<body><h1>{title}</h1>",
        *(f"<p>{_escape(note)}</p>" for note in page.notes),
    ]
    if page.summary:
        columns = list(dict.fromkeys(name for row in page.summary for name in row))
        cells = [
            [f'<td class="number">{_escape(row.get(name, ""))}</td>' for name in columns]
            for row in page.summary
        ]
        for row_cells, row in zip(cells, page.summary, strict=True):
            row_cells[0] = f'<th scope="row">{_escape(row.get(columns[0], ""))}</th>'
        parts += ["<h2>Summary</h2>", _table(columns, cells)]
    parts += ["<h2>Sentences</h2>", _table(["text", *page.systems], rows)]
    for caption, address in pictures:
        name = _escape(caption)
        parts.append(f'<h2>{name}</h2><img loading="lazy" alt="{name}" src="{_escape(address)}">')
    return "\n".join([*parts, "</body></html>", ""])


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{_escape(name)}</th>' for name in columns)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _player(address: str, label: str) -> str:
    return f'<audio controls preload="none" aria-label="{_escape(label)}" src="{_escape(address)}"></audio>'


def _told(take: Take) -> str:
    scores = " · ".join(f"{_escape(name)} {_escape(value)}" for name, value in take.scores.items())
    lines = [scores] if scores else []
    if take.heard is not None:
        lines.append(f"heard: {_escape(take.heard) or '(nothing)'}")
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
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _beside(folder: Path, name: str, data: bytes) -> str:
    write_by_rename(folder / name, data)
    return f"{folder.name}/{name}"


def _file_name(text: str) -> str:
    return re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-") or "x"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
