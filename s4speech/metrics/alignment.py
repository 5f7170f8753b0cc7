"""Aligned word pairs, their listing, and TRN files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jiwer

from s4speech.errors import InputError
from s4speech.files import write_by_rename

Mark = Literal["C", "S", "D", "I"]
MARKS: tuple[Mark, ...] = ("C", "S", "D", "I")

_TRN_LINE = re.compile(r"^(?P<words>.*)\((?P<id>[^()\s]+)\)\s*$")


@dataclass(frozen=True)
class Pair:
    """One step of an alignment: correct (C), substituted (S), deleted (D) or inserted (I)."""

    mark: Mark
    ref: str  # "" for an insertion
    hyp: str  # "" for a deletion


def align(ref: str, hyp: str) -> tuple[Pair, ...]:
    """Align the words of ``hyp`` to those of ``ref`` with the fewest edits. Both may be empty."""
    output = jiwer.process_words(ref, hyp)
    return tuple(_pairs(output.references[0], output.hypotheses[0], output.alignments[0]))


def _pairs(ref: Sequence[str], hyp: Sequence[str], chunks: Sequence[jiwer.AlignmentChunk]) -> Iterator[Pair]:
    """Yield the pairs of a jiwer alignment, which groups neighbours of one kind."""
    marks: dict[str, Mark] = {"equal": "C", "substitute": "S", "delete": "D", "insert": "I"}
    for chunk in chunks:
        mark = marks[chunk.type]
        for offset in range(
            max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        ):
            yield Pair(
                mark,
                "" if mark == "I" else ref[chunk.ref_start_idx + offset],
                "" if mark == "D" else hyp[chunk.hyp_start_idx + offset],
            )


def listing(alignments: Mapping[str, Sequence[Pair]]) -> str:
    """Return what sclite's ``pralign`` shows: for each utterance id, REF, HYP and EVAL rows in columns.

    Words in error are in capitals, or in stars where the other side has none; text that is in capitals
    already stays as it is, and the EVAL row tells.
    """
    blocks = []
    for utterance, pairs in alignments.items():
        counts = " ".join(f"{mark}={sum(pair.mark == mark for pair in pairs)}" for mark in MARKS)
        columns = [_column(pair) for pair in pairs]
        rows = zip(*columns, strict=True) if columns else ((), (), ())
        lines = [
            f"{name:<5} {' '.join(row)}".rstrip()
            for name, row in zip(("REF:", "HYP:", "EVAL:"), rows, strict=True)
        ]
        blocks.append("\n".join([f"id: {utterance}", f"scores: {counts}", *lines]) + "\n")
    return "\n".join(blocks)


def _column(pair: Pair) -> tuple[str, str, str]:
    """Return one column of the listing, its three cells equally wide."""
    width = max(len(pair.ref), len(pair.hyp))
    if pair.mark == "C":
        return pair.ref.ljust(width), pair.hyp.ljust(width), " " * width
    stars = "*" * width
    return (
        (pair.ref.upper() or stars).ljust(width),
        (pair.hyp.upper() or stars).ljust(width),
        pair.mark.ljust(width),
    )


def read_trn(path: str | Path) -> dict[str, str]:
    """Read a TRN file: one ``words (id)`` a line. Returns text by id, in the file's order.

    Blank lines and ``;;`` comments are skipped; the words may be none (an empty hypothesis).

    Raises InputError: unreadable, not UTF-8, a line without an id, or an id twice (naming file and line).
    """
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror}); wanted a TRN file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; wanted a TRN text file") from error
    texts: dict[str, str] = {}
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        match = _TRN_LINE.match(line)
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


def speaker_of(utterance: str) -> str:
    """Return the speaker of a TRN id: what comes before its first hyphen (all of it when it has none)."""
    return utterance.split("-", 1)[0]
