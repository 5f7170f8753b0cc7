"""Aligned pairs of words (or characters) and their listing."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer

Mark = Literal["C", "S", "D", "I"]
MARKS: tuple[Mark, ...] = ("C", "S", "D", "I")


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


def align_characters(ref: str, hyp: str) -> tuple[Pair, ...]:
    """Align the characters of ``hyp`` to those of ``ref``, spaces among them, with the fewest edits."""
    output = jiwer.process_characters(ref, hyp)
    return tuple(_pairs(output.references[0], output.hypotheses[0], output.alignments[0]))


def forgiven(pair: Pair) -> bool:
    """Tell whether ``pair`` is an optional word of the reference that was left out, which is no error."""
    return pair.mark == "C" and not pair.hyp


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
    ref, hyp = shown(pair.ref), shown(pair.hyp)
    width = max(_width(ref), _width(hyp))
    if pair.mark == "C":
        return _padded(ref, width), _padded(hyp, width), " " * width
    stars = "*" * width
    return (
        _padded(ref.upper() or stars, width),
        _padded(hyp.upper() or stars, width),
        pair.mark.ljust(width),
    )


def shown(text: str) -> str:
    """Return a word or a character as it is shown: a space can be seen."""
    return "\N{OPEN BOX}" if text == " " else text


def _width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: two for a Chinese or Japanese character."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
