"""ARPA files: n-gram models as text, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import os
import re
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from s4speech.errors import InputError
from s4speech.text.ngram import ZERO, Floats, Ints, NgramModel
from s4speech.text.ngram_tables import arrange
from s4speech.text.tokenizer import BLANK, EOS, UNKNOWN

Table = tuple[Ints, Floats, Floats]  # tokens (n, G), log10 p, log10 back-off

_LINES = 100_000  # that are written at once


def read_arpa(path: str | Path, tokens: Sequence[str]) -> NgramModel:
    """The model of an ARPA file over `tokens`, of which <s> and </s> are EOS and <unk> is UNKNOWN.

    A token that is not in it has the probability of <unk>, or 10^-99 without one, as the blank.
    Raises InputError: unreadable, malformed, or a word that is no token (naming the line).
    """
    ids = {token: i for i, token in enumerate(tokens)} | {"<s>": EOS, "</s>": EOS}
    ids |= {"<unk>": UNKNOWN, "<UNK>": UNKNOWN}
    tables = list(_read(path, ids))
    try:
        levels = arrange(tables, len(tokens))
        unigrams = levels[0].log10
        missing = np.isnan(unigrams)
        unigrams[missing] = ZERO if missing[UNKNOWN] else unigrams[UNKNOWN]
        unigrams[BLANK] = ZERO if missing[BLANK] else unigrams[BLANK]
        return NgramModel(levels)
    except ValueError as error:
        raise InputError(f"{path}: {error}; wanted an ARPA file with each n-gram once") from error


def write_arpa(path: str | Path, model: NgramModel, tokens: Sequence[str]) -> None:
    """Write a model, by rename; gzipped when the name ends with .gz. The blank is left out.

    Raises InputError: a token has a space or is a mark of the format. OSError: not writable.
    """
    path = Path(path)
    names = list(tokens)
    names[UNKNOWN], names[EOS] = "<unk>", "</s>"
    bad = next((name for name in names if not name or re.search(r"[ \t\r\n]", name) or name == "<s>"), None)
    if bad is not None:
        raise InputError(
            f"{path}: token {bad!r} cannot stand in an ARPA file; it has spaces, or is <s> itself"
        )
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    opened = gzip.open if path.name.endswith(".gz") else open
    try:
        with opened(unfinished, "wt", encoding="utf-8", newline="\n") as file:
            file.write("\\data\\\n")
            for n, count in enumerate(_written(model), start=1):
                file.write(f"ngram {n}={count}\n")
            for n in range(1, model.order + 1):
                file.write(f"\n\\{n}-grams:\n")
                for lines in _lines(model, n, names):
                    file.write(lines)
            file.write("\n\\end\\\n")
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _written(model: NgramModel) -> list[int]:
    """How many n-grams of each order: of the unigrams without the blank, and with <s>."""
    return [model.vocab_size, *(int((~np.isnan(level.log10)).sum()) for level in model.levels[1:])]


def _lines(model: NgramModel, n: int, names: Sequence[str]) -> Iterator[str]:
    """The n-grams of one order in pieces of text."""
    level, last = model.levels[n - 1], n == model.order
    back_offs = np.zeros(len(level.words), np.float32) if last else level.back_off
    if n == 1:
        yield f"{ZERO:.7g}\t<s>" + ("\n" if last else f"\t{back_offs[EOS]:.7g}\n")
    for start in range(0, len(level.words), _LINES):
        nodes = np.arange(start, min(start + _LINES, len(level.words)))
        words = [level.words[nodes]]
        here = nodes
        for above in reversed(model.levels[: n - 1]):
            here = np.searchsorted(above.starts, here, side="right") - 1
            words.insert(0, above.words[here])
        columns = [[names[token] for token in column.tolist()] for column in words]
        if n > 1:
            columns[0] = ["<s>" if token == EOS else names[token] for token in words[0].tolist()]
        ends = level.words[nodes] == EOS
        entries = zip(
            level.log10[nodes].tolist(), map(" ".join, zip(*columns, strict=True)),
            back_offs[nodes].tolist(), ends.tolist(), level.words[nodes].tolist(), strict=True,
        )  # fmt: skip
        yield "".join(
            f"{p:.7g}\t{gram}\n" if last or end else f"{p:.7g}\t{gram}\t{back_off:.7g}\n"
            for p, gram, back_off, end, token in entries
            if p == p and (n > 1 or token != BLANK)
        )


def _read(path: str | Path, ids: Mapping[str, int]) -> Iterator[Table]:
    """The n-grams of an ARPA file, order by order."""
    try:
        with open(path, "rb") as file:
            opened = gzip.open if file.read(2) == b"\x1f\x8b" else open
        with opened(path, "rt", encoding="utf-8") as text:
            lines = ((number, line.strip(" \t\r\n")) for number, line in enumerate(text, start=1))
            yield from _parse(path, ((n, line) for n, line in lines if line), ids)
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror or error}); wanted an ARPA file") from error
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot read ({error}); wanted an ARPA file, plain or gzipped") from error


def _parse(path: str | Path, lines: Iterator[tuple[int, str]], ids: Mapping[str, int]) -> Iterator[Table]:
    def expect(wanted: str) -> tuple[int, str]:
        number, line = next(lines, (0, ""))
        if not number:
            raise InputError(f"{path}: ends where {wanted} is wanted; is the file whole?")
        return number, line

    number, line = expect("\\data\\")
    while line != "\\data\\":  # comments come before it
        number, line = expect("\\data\\")
    counts: list[int] = []
    number, line = expect("'ngram 1=COUNT'")
    while found := re.fullmatch(r"ngram\s+(\d{1,2})\s*=\s*(\d{1,18})", line):
        if int(found[1]) != len(counts) + 1:
            raise InputError(f"{path}:{number}: got '{line}'; wanted the count of order {len(counts) + 1}")
        counts.append(int(found[2]))
        number, line = expect("\\1-grams:")
    if not counts or not counts[0]:
        raise InputError(f"{path}:{number}: got '{_short(line)}'; wanted 'ngram 1=COUNT', 1 or more of them")
    for order, count in enumerate(counts, start=1):
        if line != f"\\{order}-grams:":
            raise InputError(f"{path}:{number}: got '{_short(line)}'; wanted '\\{order}-grams:'")
        grams, values = array("q"), array("d")  # as long as the file is, whatever the count says
        for i in range(count):
            number, line = expect(f"{order}-gram {i + 1} of {count}")
            try:
                words, numbers = _gram(line, order)
                grams.extend([ids[word] for word in words])
                values.extend(numbers)
            except KeyError as error:
                raise InputError(
                    f"{path}:{number}: {error} is no token of this model; wanted n-grams of the tokens that"
                    " its tokenizer splits text into"
                ) from None
            except ValueError:
                raise InputError(
                    f"{path}:{number}: got '{_short(line)}'; wanted LOG10, {order} tokens and, if it has one,"
                    " its back-off weight"
                ) from None
        log10, back_off = np.array(values, np.float32).reshape(-1, 2).T
        yield np.array(grams, np.int64).reshape(-1, order).T, log10, back_off
        number, line = expect("\\end\\")
    if line != "\\end\\":
        raise InputError(f"{path}:{number}: got '{_short(line)}'; wanted '\\end\\' after the counted n-grams")


def _gram(line: str, order: int) -> tuple[list[str], tuple[float, float]]:
    """Words, and log10 of probability (NaN: none) and back-off. Raises ValueError."""
    # Not split(): some tokens are spaces to Unicode.
    log_p, *words = (part for part in line.replace("\t", " ").split(" ") if part)
    back_off = float(words.pop()) if len(words) == order + 1 else 0.0
    value = float(log_p)
    if len(words) != order or not value <= 0 or not math.isfinite(back_off):
        raise ValueError
    # SOS and EOS are one token: that of <s> is its history, that of </s> its probability.
    if words[-1] == "<s>":
        return words, (math.nan, back_off)
    return words, (max(value, ZERO), 0.0 if words[-1] == "</s>" else back_off)


def _short(line: str) -> str:
    return line if len(line) <= 40 else line[:40] + "..."
