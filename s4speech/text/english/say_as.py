"""SSML's say-as: text whose kind is told, in words."""

import re

from s4speech.errors import InputError
from s4speech.text.english import amounts, words
from s4speech.text.english import numbers as n
from s4speech.text.english.characters import plain
from s4speech.text.english.reading import SIGN_NAMES, normalize_english

KINDS = (
    "characters",
    "spell-out",
    "verbatim",
    "cardinal",
    "number",
    "ordinal",
    "digits",
    "date",
    "time",
    "telephone",
    "fraction",
    "unit",
    "currency",
)
_ORDERS = {"mdy", "dmy", "ymd", "md", "dm", "ym", "my", "y", "m", "d"}


def _characters(text: str) -> str:
    said = []
    for char in plain(text):
        if char.isalpha():
            said.append(words.letters(char))
        elif char.isdigit():
            said.append(n.digits(char))
        elif char.strip():
            said.append(SIGN_NAMES.get(char, ""))
    return ", ".join(word for word in said if word).replace(", ", " ")


def _date(text: str, order: str) -> str:
    """Read the numbers of a date in the order of the letters y, m, d."""
    parts = re.findall(r"\d{1,4}", text)
    if order not in _ORDERS or len(parts) != len(order) or re.search("[a-zA-Z]", text):
        return normalize_english(text)
    found = dict(zip(order, parts, strict=True))
    if "m" not in found:
        return n.year(found["y"]) if "y" in found else n.ordinal(found["d"])
    month, day = int(found["m"]), int(found.get("d", 1))
    said = amounts.date(found.get("y", ""), month, day) or normalize_english(text)
    return said if "d" in found else re.sub(r" \w+,?", "", said, count=1) if "y" in found else said.split()[0]


def _time(text: str) -> str:
    match = re.fullmatch(r"\s*(\d{1,2})[:.h]?([0-5]\d)?(?::([0-5]\d))?\s*", text)
    return amounts.clock(match[1], match[2] or "00", match[3]) if match else normalize_english(text)


def _fraction(text: str) -> str:
    match = re.fullmatch(r"\s*(?:(\d{1,9})[ +]+)?(\d{1,9})\s*/\s*(\d{1,9})\s*", plain(text))
    if not match:
        return normalize_english(text)
    said = n.fraction(match[2], match[3])
    return (
        f"{n.cardinal(match[1])} and {'a' + said[3:] if said[:4] == 'one ' else said}" if match[1] else said
    )


def say_as(text: str, kind: str, order: str = "") -> str:
    """Return ``text`` as spoken, in the form of ``normalize_english``, when it is known to be of a ``kind``.

    ``order``: for a date, its parts (``mdy``, ``dmy``, ``ymd``, ...). Text that does not fit its kind is read
    as if nothing had been said about it. Raises InputError: a kind that is not in KINDS.
    """
    if kind not in KINDS:
        raise InputError(f"say-as: got interpret-as {kind!r}, wanted one of {', '.join(KINDS)}")
    flat = plain(text).strip()
    whole = re.fullmatch(r"(-?)([\d, ]*\d)(?:st|nd|rd|th)?", flat)
    if kind in ("characters", "spell-out", "verbatim"):
        return _characters(text)
    if kind in ("digits", "telephone") and re.search(r"\d", flat) and not re.search("[A-Za-z]", flat):
        return n.digits(flat) if kind == "digits" else amounts.telephone(flat)
    if kind == "ordinal" and n.roman(flat):
        return n.ordinal(str(n.roman(flat)))
    if kind in ("cardinal", "number") and n.roman(flat):
        return n.cardinal(str(n.roman(flat)))
    if whole and kind in ("cardinal", "number", "ordinal"):
        said = (n.ordinal if kind == "ordinal" else n.cardinal)(whole[2].replace(" ", ""))
        return ("minus " if whole[1] else "") + said
    if kind == "date":
        return _date(flat, order)
    if kind == "time":
        return _time(flat)
    if kind == "fraction":
        return _fraction(flat)
    if kind == "currency" and re.fullmatch(r"[\d.,]*\d", flat):
        return normalize_english("$" + flat)
    return normalize_english(text)
