"""Running text -> sentences, one at a time."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from s4speech.text.english import tables

MASK = "\ue000"  # stands for something that is no text: phonemes, a pause
LONGEST = 600  # characters; a sentence beyond is parted at a comma or a space

_TITLES = {
    *tables.TITLES,
    *(word.lower() for word in tables.CAPITAL_TITLES),
    "dr",
    "st",
    "e.g",
    "i.e",
    "cf",
    "ca",
}
_ENDINGS = {*tables.ENDINGS, *(word.lower() for word in tables.CAPITAL_ENDINGS), "al"}
_LABELS = set(tables.BEFORE_NUMBER)
_MONTHS = {*tables.MONTH_SHORT, *tables.DAYS} - {"may", "sat", "sun"}
_END = re.compile(
    r"""(?P<mark>[.!?\u2026]{1,9})["'\u2019\u201d\u00bb)\]*_]{0,4}(?P<gap>\s+|(?=\Z))"""
    r"""|[\u3002\uff01\uff1f][\u300d\u300f\uff09]?\s*|(?P<blank>\n[ \t\r]*\n\s*)"""
)
_WORD_BEFORE = re.compile(r"[\w.'\u2019" + MASK + r"-]*\Z")
_OPENING = "\"'\u2018\u201c\u00ab([{*_-\u2013\u2014 "
_BLANK = re.compile(r"\n[ \t\r]*\n")
_SOFT_END = re.compile(r"[,;:\u2013\u2014)]\s|\s--?\s")


class Part(NamedTuple):
    """``text[start:stop]`` is a sentence with the white space behind it; parts follow one another."""

    start: int
    stop: int
    paragraph_end: bool


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Tell whether the full stops, ! or ? of ``match`` end the sentence that began at ``start``."""
    if match["mark"] is None or not match["gap"]:
        return True
    if _BLANK.search(match["gap"]):
        return True
    after = text[match.end() : match.end() + 12].lstrip(_OPENING)
    if after[:1].islower():
        return False
    mark = match["mark"]
    if mark != ".":
        return True
    found = _WORD_BEFORE.search(text[max(start, match.start() - 40) : match.start()])
    word = found[0].strip("'") if found else ""
    small, begins = word.lower(), after.split(" ")[0].split("\n")[0].rstrip(",.;:!?") in tables.STARTERS
    if small in _TITLES:
        return False
    if small in _LABELS and after[:1].isdigit():
        return False
    if small in _MONTHS and word[:1].isupper() and (after[:1].isdigit() or not begins):
        return False
    if len(word) == 1 and word.isalpha():  # an initial, or the pronoun
        return word == "I" and begins
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", word) or small in _ENDINGS:
        return begins
    # "1. The male debtors' side": a number that opens a sentence counts an item.
    opens = not text[start : match.start() - len(word)][:50].strip(_OPENING + "\n")
    return not (word.isdigit() and opens)


def _cut(text: str, start: int) -> int:
    """Return where to part a sentence too long: behind the last comma or space before LONGEST characters."""
    window = text[start : start + LONGEST]
    soft = [m.end() for m in _SOFT_END.finditer(window) if m.end() > LONGEST // 3]
    return start + (soft[-1] if soft else max(window.rfind(" "), window.rfind("\n")) + 1 or LONGEST)


def find_sentences(text: str) -> Iterator[Part]:
    """Yield the parts of ``text``, lazily: contiguous, from the first character to the last.

    Abbreviations, initials, decimals, ellipses before a small letter and quotes that go on ("What?" he said)
    end no sentence. A blank line always does, and ends the paragraph.
    """
    start = 0
    for match in _END.finditer(text):
        while match.end() - start > LONGEST:
            cut = _cut(text, start)
            yield Part(start, cut, False)
            start = cut
        blank = match["blank"] is not None or bool(match["gap"] and _BLANK.search(match["gap"]))
        if match.end() > start and (blank or _ends(text, start, match)):
            yield Part(start, match.end(), blank or match.end() == len(text))
            start = match.end()
    while len(text) - start > LONGEST:
        cut = _cut(text, start)
        yield Part(start, cut, False)
        start = cut
    if start < len(text):
        yield Part(start, len(text), True)


def split_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of ``text``, lazily, stripped of white space; nothing else is dropped."""
    for part in find_sentences(text):
        sentence = text[part.start : part.stop].strip()
        if sentence:
            yield sentence
