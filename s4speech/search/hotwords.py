"""Hotwords: phrases that a search prefers, in a trie with failure links (Aho and Corasick 1975)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from s4speech.errors import InputError
from s4speech.text.normalize import normalize_english
from s4speech.text.tokenizer import UNKNOWN, Tokenizer

_ROOT = 0


class Phrase(NamedTuple):
    """A hotword. score: natural log a token, None for that of all; where: what an error names."""

    text: str
    score: float | None = None
    where: str = "hotwords"


class Hotwords:
    """The bonus of a token sequence, one token at a time. Immutable; the place in the trie is an int node.

    Every token of a match that is not finished counts `score`. A finished one keeps that, an abandoned one
    gives it back. Each occurrence counts, but of phrases that end at the same token only the longest, and in
    a longer phrase that begins with a shorter one the shorter is not paid twice.

    Args:
        phrases: at least a word each, as text. A phrase that the tokenizer cannot spell as it is is tried as
            transcripts write it (`normalize_english`), so "Moby Dick" does for a vocabulary of capitals.
        tokenizer: whose tokens the search finds.
        score: natural log a token, for phrases without a score of their own; 0 or more.

    Raises:
        InputError: no phrase, or one that is blank, or that the tokenizer cannot spell, or a bad score.
    """

    def __init__(self, phrases: Iterable[str | Phrase], tokenizer: Tokenizer, score: float) -> None:
        self._next: list[dict[int, int]] = [{}]
        self._fail = [_ROOT]
        self._pending = [0.0]  # bonus of the node's tokens that is given back if the match fails
        self._kept = [0.0]  # bonus that stays, on arrival
        ends: dict[int, float] = {}  # score a token of the phrase that ends here
        for phrase in phrases:
            text, own, where = phrase if isinstance(phrase, Phrase) else Phrase(phrase)
            value = score if own is None else own
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{where}: '{text}': got score {value}; wanted 0 or more")
            path = self._path(_spell(text, tokenizer, where), value)
            ends[path] = max(value, ends.get(path, 0.0))
        if not ends:
            raise InputError("hotwords: got no phrase; wanted one or more")
        self._link(ends)

    def step(self, node: int, token: int) -> tuple[int, float]:
        """Reads a token at a node (0 at the beginning): the next node, and what the bonus changes by."""
        before = self._pending[node]
        while token not in self._next[node] and node != _ROOT:
            node = self._fail[node]
        node = self._next[node].get(token, _ROOT)
        return node, self._pending[node] + self._kept[node] - before

    def pending(self, node: int) -> float:
        """The part of the bonus that is lost if nothing follows."""
        return self._pending[node]

    def _path(self, tokens: list[int], score: float) -> int:
        """Adds a path; returns its node. `_pending` is the score of each single token until `_link`."""
        node = _ROOT
        for token in tokens:
            if token not in self._next[node]:
                self._next[node][token] = len(self._next)
                self._next.append({})
                self._fail.append(_ROOT)
                self._pending.append(0.0)
                self._kept.append(0.0)
            node = self._next[node][token]
            self._pending[node] = max(score, self._pending[node])
        return node

    def _link(self, ends: dict[int, float]) -> None:
        """Sets the failure links and the bonuses, shorter nodes first."""
        queue = deque([(_ROOT, 0, 0)])  # node, its depth, the tokens of it that a finished phrase has paid
        while queue:
            node, depth, paid = queue.popleft()
            for token, child in self._next[node].items():
                fail = self._fail[node]
                while token not in self._next[fail] and fail != _ROOT:
                    fail = self._fail[fail]
                self._fail[child] = self._next[fail].get(token, _ROOT) if node != _ROOT else _ROOT
                if child in ends:
                    self._pending[child] = 0.0
                    self._kept[child] = ends[child] * (depth + 1 - paid)
                    queue.append((child, depth + 1, depth + 1))
                else:
                    self._pending[child] += self._pending[node]
                    self._kept[child] = self._kept[self._fail[child]]
                    queue.append((child, depth + 1, paid))


def read_hotwords(path: str | Path, tokenizer: Tokenizer, score: float) -> Hotwords:
    """Read a file of one phrase a line, `NEW YORK`, with its own score a token if it ends in ` :2.5`.

    Blank lines and those that begin with # are skipped. Raises InputError, naming the file and line:
    unreadable, or what `Hotwords` refuses.
    """
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror}); wanted a file of hotwords") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; wanted a file of hotwords") from error
    phrases = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}:{number}"
        text, colon, own = f" {line.strip()}".rpartition(" :")
        if not colon:
            phrases.append(Phrase(line.strip(), None, where))
            continue
        try:
            phrases.append(Phrase(text.strip(), float(own), where))
        except ValueError:
            raise InputError(f"{where}: got score '{own}'; wanted a number after ' :'") from None
    if not phrases:
        raise InputError(f"{path}: no hotwords; wanted one phrase a line")
    return Hotwords(phrases, tokenizer, score)


def _spell(text: str, tokenizer: Tokenizer, where: str) -> list[int]:
    """The token ids of a phrase."""
    if not text.strip():
        raise InputError(f"{where}: got a blank phrase; wanted one word or more")
    spellings = [" ".join(text.split())]
    # The normaliser drops what it does not know; a phrase must not lose a digit or a letter that way.
    lost = [c for c in text if c.isalnum() and not normalize_english(c)]
    if not lost:
        spellings.append(normalize_english(text))
    for spelling in spellings:
        tokens = tokenizer.encode(spelling)
        if tokens and UNKNOWN not in tokens:
            return tokens
    if not lost:  # the characters that stop the best spelling
        lost = min(
            ([c for c in spelling if UNKNOWN in tokenizer.encode(c)] for spelling in spellings), key=len
        )
    raise InputError(
        f"{where}: '{text}' has characters that the model never writes ({''.join(lost) or text}); spell it"
        " without them"
    )
