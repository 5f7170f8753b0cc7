"""NeMo manifests: a JSON object a line with audio_filepath, duration, text and perhaps offset and speaker."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lhotse import MonoCut, Recording

from s4speech.data.cuts import Header, Utterance, gather, make_recording, read_headers
from s4speech.data.findings import Finding
from s4speech.data.lines import json_lines
from s4speech.errors import InputError

OWN = ("id", "audio_filepath", "duration", "offset", "text", "speaker", "lang")


def read_nemo(path: Path) -> tuple[list[MonoCut], list[Finding]]:
    """The utterances of a manifest, and those whose audio cannot be read.

    Relative paths are from the manifest's folder. An utterance is named by "id", else by its file's stem,
    with the number of its line where that is not one of a kind. Raises InputError naming file and line.
    """
    rows = [(number, _checked(row, f"{path}:{number}")) for number, row in json_lines(path)]
    folder = path.resolve().parent
    files = [str(folder / row["audio_filepath"]) for _, row in rows]
    headers = read_headers(files)
    recordings = {
        file: make_recording(name, file, header)
        for file, name in zip(headers, _names(headers), strict=True)
        if isinstance(header := headers[file], Header)
    }
    stems = Counter(Path(file).stem for file in files)
    found: list[tuple[str, Utterance | Finding]] = []
    for (number, row), file in zip(rows, files, strict=True):
        stem = Path(file).stem
        name = row.get("id") or (stem if stems[stem] == 1 else f"{stem}-{number:06d}")
        where = f"{path}:{number}"
        if file not in recordings:
            found.append((where, Finding(name, where, f"{file}: {headers[file]}", kind="unreadable")))
        else:
            found.append((where, _utterance(name, row, recordings[file])))
    return gather(found)


def _names(files: Iterable[str]) -> Iterator[str]:
    """A name a file: its stem, numbered from the second of that name on."""
    seen: Counter[str] = Counter()
    for file in files:
        stem = Path(file).stem
        seen[stem] += 1
        yield stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The row with speaker and id as text. Raises InputError: a value of the wrong kind."""
    if not row.get("audio_filepath"):
        raise InputError(f"{where}: no audio_filepath; wanted a NeMo manifest, one utterance a line")
    for key in ("speaker", "id"):
        if isinstance(row.get(key), int):
            row[key] = str(row[key])
    for key in ("id", "audio_filepath", "text", "speaker", "lang"):
        if not isinstance(row.get(key), str | None):
            raise InputError(f"{where}: {key}: got {str(row[key])[:80]!r}, wanted text")
    for key, least in (("duration", 0), ("offset", -1)):
        value = row.get(key)
        good = isinstance(value, int | float) and math.isfinite(value) and value > least
        if value is not None and not good:
            raise InputError(f"{where}: {key}: got {str(value)[:80]}, wanted seconds")
    return row


def _utterance(name: str, row: dict[str, Any], recording: Recording) -> Utterance:
    start = row.get("offset") or 0.0
    end = None if row.get("duration") is None else start + row["duration"]
    more = {key: value for key, value in row.items() if key not in OWN and _plain(value)}
    return Utterance(
        name,
        recording,
        start,
        end,
        0,
        row.get("text"),
        row.get("speaker"),
        row.get("lang"),
        None,
        more or None,
    )


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def nemo_lines(cuts: Iterable[MonoCut], audio_path: Callable[[MonoCut], str]) -> Iterator[str]:
    """A manifest, line by line. audio_path: what audio_filepath says for a cut."""
    for cut in cuts:
        row: dict[str, Any] = {"id": cut.id, "audio_filepath": audio_path(cut), "duration": cut.duration}
        if cut.start or cut.num_samples != cut.recording.num_samples:
            row["offset"] = cut.start
        for supervision in cut.supervisions:
            known = {"text": supervision.text, "speaker": supervision.speaker, "lang": supervision.language}
            row |= {key: value for key, value in known.items() if value is not None}
        row |= {key: value for key, value in (cut.custom or {}).items() if key not in row and _plain(value)}
        yield json.dumps(row, ensure_ascii=False) + "\n"
