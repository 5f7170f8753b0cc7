"""All the steps from written English to words, in order."""

import re

from s4speech.text.english.characters import plain
from s4speech.text.english.numerals import read_numbers
from s4speech.text.english.tables import CUT, EMPHASIS
from s4speech.text.english.words import quieten, read_addresses, read_words

_MARKS = ",.;:!?"
_RANK = {mark: rank for rank, mark in enumerate(",;:.!?")}
_SPACED_DASH = re.compile(r"(?<!\d) [-\u2013]+ | [-\u2013]+ (?!\d)|-{2,}|\u2013(?!\d)|(?<!\d)\u2013")
_ELLIPSIS = re.compile(r"\.{2,} {0,4}(?=([a-z0-9]?))|(?:\. ){2,}\.")
_BRACKETS = re.compile(r"[()\[\]{}|]")
_SPACES = re.compile(" {2,}")  # collapsed before patterns that would walk over a run from each of its places
_EMPHASIS_MARKS = re.compile(r"(?<!\w)[*_~]{1,3}(?=\w)|(?<=\w)[*_]{1,3}(?!\w)|[`\"]|(?<=\w)_(?=\w)")
_BLANK_LINE = re.compile(r"\n[ \n]*\n")
_GLUED_STOP = re.compile(r"(?<=[A-Za-z]{2})(?<!\b[Pp]h)\.(?=[A-Za-z])")
_LOOSE_MARK = re.compile(r" (?=[,.;:!?])")
_COMMA_RUN = re.compile(r"[,;:!?][ ,.;:!?]+")  # begins with no full stop, which may be an abbreviation's
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
# What a sign is called where each character is said.
SIGN_NAMES = {sign: said.strip() for sign, said in _SYMBOLS.items() if said.strip(", ")} | {
    ".": "dot",
    ",": "comma",
    ":": "colon",
    ";": "semicolon",
    "!": "exclamation mark",
    "?": "question mark",
    "-": "dash",
    "_": "underscore",
    "*": "star",
    "^": "caret",
    "'": "apostrophe",
    '"': "quote",
    "(": "open parenthesis",
    ")": "close parenthesis",
    "$": "dollar",
    "<": "less than",
    "[": "open bracket",
    "]": "close bracket",
}
_SYMBOL = re.compile(r"[^A-Za-z' \-,.;:!?&/]")
_LATE_SYMBOL = re.compile("[&/]")  # part of AT&T and w/o
_INNER_MARK = re.compile(r"(?<=[a-z'])[,;:!?.](?=[a-z'])")
_LOOSE_HYPHEN = re.compile(r"(?<![A-Za-z'])-+|-+(?![A-Za-z'])")
_WORD = re.compile(r"[A-Za-z']+")


def _apostrophes(m: re.Match[str]) -> str:
    """Keep an apostrophe inside a word, and at its edge only where it stands for letters left out."""
    word = m[0]
    core = word.strip("'")
    if not core:
        return " "
    small = core.lower()
    front = "'" if "'" + small in EMPHASIS and word[0] == "'" else ""
    cut = small + "'" in CUT or (small.endswith("in") and len(core) > 4 and small.isalpha())
    cut = cut and not core.isupper()  # which may be spelt
    return front + re.sub("'{2,}", "'", core) + ("'" if cut and word[-1] == "'" else "")


def _strongest(m: re.Match[str]) -> str:
    return max((c for c in m[0] if c != " "), key=_RANK.__getitem__) + " "


def _plain_marks(text: str) -> str:
    """Leave letters, spaces, & and /, the apostrophe and the hyphen inside words, and pauses after words."""
    text = _SPACED_DASH.sub(", ", text)
    text = _ELLIPSIS.sub(lambda m: ", " if m[1] else ". ", text)
    text = _EMPHASIS_MARKS.sub(lambda m: " " if m[0] in '_"`' else "", text)
    text = _SYMBOL.sub(lambda m: _SYMBOLS.get(m[0], " "), _BRACKETS.sub(", ", text))
    text = _LOOSE_HYPHEN.sub(" ", _WORD.sub(_apostrophes, text))
    text = _LOOSE_MARK.sub("", _SPACES.sub(" ", text))
    text = _GLUED_STOP.sub(lambda m: ". " if m.string[m.end()].isupper() else " dot ", text)
    return _COMMA_RUN.sub(_strongest, text).strip()


def _settled(text: str) -> str:
    """Words with marks anywhere -> the output alphabet, each mark behind a word."""
    text = _LATE_SYMBOL.sub(lambda m: _SYMBOLS[m[0]], text.lower())
    text = _INNER_MARK.sub(lambda m: " dot " if m[0] == "." else m[0] + " ", text)
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
    text = plain(text).strip().removesuffix(" ,")  # a picture at the end needs no pause
    text = _BLANK_LINE.sub(". ", text).replace("\n", " ")
    text = _SPACES.sub(" ", text)
    text = quieten(text)
    text = read_addresses(text)
    if re.search(r"\d", text):
        text = read_numbers(text)
    text = _settled(read_words(_plain_marks(text)))
    # What the first reading parted from its neighbours (a.Dr.X) or made small (tV) may be short itself.
    return _settled(read_words(text))
