"""Written English in words as it is spoken."""

import re

from s4speech.text.english.characters import plain
from s4speech.text.english.numerals import read_numbers
from s4speech.text.english.tables import CUT, EMPHASIS
from s4speech.text.english.words import quieten, read_addresses, read_words

_MARKS = ",.;:!?"
_RANK = {mark: rank for rank, mark in enumerate(",;:.!?")}
_SPACED_DASH = re.compile(r"(?<!\d) +[-\u2013]+ +| +[-\u2013]+ +(?!\d)|-{2,}|\u2013(?!\d)|(?<!\d)\u2013")
_ELLIPSIS = re.compile(r"\.{2,} {0,4}(?=([a-z0-9]?))|(?:\. ){2,}\.")
_BRACKETS = re.compile(r"[(\[{] *| *[)\]}|]")
_EMPHASIS_MARKS = re.compile(r"(?<!\w)[*_~]{1,3}(?=\w)|(?<=\w)[*_]{1,3}(?!\w)|[`\"]|(?<=\w)_(?=\w)")
_BLANK_LINE = re.compile(r"\n[ \n]*\n")
_MARK_RUN = re.compile(r"[ ,.;:!?]*[,.;:!?][ ,.;:!?]*")
_SYMBOLS = {
    "&": " and ",
    "@": " at ",
    "#": " hash ",
    "%": " percent ",
    "+": " plus ",
    "=": " equals ",
    "<": " less than ",
    ">": " greater than ",
    "~": " about ",
    "/": " slash ",
    "\\": " backslash ",
    "*": " ",
    "^": " ",
    "_": " ",
    "$": " dollars ",
    "\u00b0": " degrees ",
    "\u00a7": " section ",
    "\u00a3": " pounds ",
    "\u20ac": " euros ",
    "\u00a5": " yen ",
    "\u00a2": " cents ",
    "\u20b9": " rupees ",
    "\u20a9": " won ",
    "\u20bd": " rubles ",
    "\u2013": ", ",
}
_SYMBOL = re.compile(r"[^a-z' \-,.;:!?]")
_INNER_MARK = re.compile(r"(?<=[a-z'])[,;:!?.](?=[a-z'])")
_LOOSE_HYPHEN = re.compile(r"(?<![a-z'])-+|-+(?![a-z'])")
_WORD = re.compile(r"[a-z']+")


def _apostrophes(m: re.Match[str]) -> str:
    """Keep an apostrophe inside a word, and at its edge only where it stands for letters left out."""
    word = m[0]
    core = word.strip("'")
    if not core:
        return " "
    front = "'" if "'" + core in EMPHASIS and word[0] == "'" else ""
    cut = core + "'" in CUT or (core.endswith("in") and len(core) > 4)
    return front + re.sub("'{2,}", "'", core) + ("'" if cut and word[-1] == "'" else "")


def _strongest(m: re.Match[str]) -> str:
    return max((c for c in m[0] if c != " "), key=_RANK.__getitem__) + " "


def _tidy(text: str) -> str:
    """Lower-case text with symbols -> the output alphabet, pauses after words."""
    text = _SYMBOL.sub(lambda m: _SYMBOLS.get(m[0], " "), text)
    text = _INNER_MARK.sub(lambda m: " dot " if m[0] == "." else m[0] + " ", text)
    text = _LOOSE_HYPHEN.sub(" ", _WORD.sub(_apostrophes, text))
    return _MARK_RUN.sub(_strongest, " ".join(text.split()) + " ").strip().lstrip(_MARKS + " ")


def normalize_english(text: str) -> str:
    """Return written English as the words that are spoken, with the punctuation that makes pauses.

    ``"Dr. Smith paid $3.50 on 4/5/2021."`` -> ``"doctor smith paid three dollars and fifty cents on april
    fifth, twenty twenty one."`` The result has a-z, the apostrophe, a hyphen between the parts of a compound,
    single spaces, and ``, . ; : ! ?`` after words, never two in a row; no other character. It may be empty,
    when nothing in ``text`` can be said. Any string is accepted; time is linear in its length; the function
    is idempotent. Give one sentence or paragraph at a time: text all in capitals is told from acronyms by it.

    Letters that are spelt (FBI, U.S., p.m.) stand alone, and the letter A is written ``ay``: the article is
    ``a``. Dates by numbers are American (month first) unless the first is more than 12 or full stops part
    them; years 1100-2099 are read in pairs. Numbers have no "and". Pictures (emoji) are named once a run,
    accents are folded, Greek, Cyrillic, kana and Hangul are transliterated, other letters are named, Han
    characters are announced as such, and controls are dropped (see ``characters.plain``).
    """
    text = plain(text).strip()
    text = _BLANK_LINE.sub(". ", text).replace("\n", " ")
    text = re.sub(r" {2,}", " ", text)
    text = quieten(text)
    text = read_addresses(text)
    if re.search(r"\d", text):
        text = read_numbers(text)
    text = _SPACED_DASH.sub(", ", text)
    text = _ELLIPSIS.sub(lambda m: ", " if m[1] else ". ", text)
    text = _EMPHASIS_MARKS.sub(lambda m: " " if m[0] in '_"`' else "", text)
    text = _BRACKETS.sub(", ", text)
    text = re.sub(r" +(?=[,.;:!?])", "", text)
    return _tidy(read_words(text).lower())
