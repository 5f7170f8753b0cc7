"""Pronunciations of English words: the American lexicon of the package misaki, names, and derived words.

misaki's data (Apache-2.0) are two tables, word -> phonemes: `gold`, checked by hand, and `silver`. It lacks
most names of people: names.txt has them (tools/make_names.py). Phonemes are one character each, IPA but for
A I O W Y (the vowels of day, my, go, now, boy); a stress mark stands before its vowel. A word that is said
in several ways has a form for a part of speech (NOUN, VERB ...), for the end of a phrase ("None") and for
everything else (DEFAULT).
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TypeAlias

DEFAULT, NOUN, VERB, ENDING = "DEFAULT", "NOUN", "VERB", "None"
VOWELS = frozenset("æɑɔəɛɜɪiʊuʌAIOWYᵊᵻ")
STRESSES = "ˌˈ"

Forms: TypeAlias = Mapping[str, str]

_LETTERS = (
    "ˈA bˈi sˈi dˈi ˈi ˈɛf ʤˈi ˈAʧ ˈI ʤˈA kˈA ˈɛl ˈɛm ˈɛn ˈO pˈi kjˈu ˈɑɹ ˈɛs tˈi jˈu vˈi "
    "dˈʌbᵊlju ˈɛks wˈI zˈi"
)
LETTER_NAMES = MappingProxyType(dict(zip("abcdefghijklmnopqrstuvwxyz", _LETTERS.split(), strict=True)))

# What the tables lack, or mean otherwise: they tell the month from the adjective by its capital.
_OWN: Mapping[str, Forms] = {
    "'n": {DEFAULT: "ən"},
    "august": {DEFAULT: "ˈɔɡəst"},
    "ay": {DEFAULT: "ˈA"},  # the letter A, see `english`
    "cetera": {DEFAULT: "sˈɛtəɹə"},
    "et": {DEFAULT: "ɛt"},
    "lead": {DEFAULT: "lˈid", "METAL": "lˈɛd"},
}
FLAPPING = frozenset("AIOWYiuæɑəɛɪɹʊʌ")  # a t after these is a flap before an unstressed vowel
_DOUBLED = re.compile(r"([bdgklmnprtvz])\1(?:ed|ing)$")


def find(word: str) -> Forms | None:
    """The forms of a lower-case word as the tables have it; None if they do not."""
    if word in _OWN:
        return _OWN[word]
    forms = find_misaki(word)
    if forms is None and word in names():
        return {DEFAULT: names()[word]}
    return forms


def find_misaki(word: str) -> Forms | None:
    """The forms of a lower-case word as the tables of misaki have it."""
    found = gold().get(word) or _capitalized().get(word)
    if found is None:
        found = silver().get(word)
    return {DEFAULT: found} if isinstance(found, str) else found


def find_derived(word: str, find: Callable[[str], Forms | None] = find) -> Forms | None:
    """The forms of a word that is not in the tables but whose stem is: `find` with an ending added."""
    for ending, stems in _stems(word):
        for stem in stems:
            forms = find(stem)
            if forms is not None:
                use = forms.get(VERB, forms[DEFAULT]) if ending in ("ed", "ing") else forms[DEFAULT]
                return {DEFAULT: _join(use, ending)}
    return None


def _stems(word: str) -> list[tuple[str, list[str]]]:
    """(ending, stems it may have been added to), the likelier stem first."""
    found: list[tuple[str, list[str]]] = []
    for clitic in ("'ll", "'ve", "'re", "'d", "'m"):
        if word.endswith(clitic):
            found.append((clitic, [word.removesuffix(clitic)]))
    if word.endswith("'s"):
        found.append(("s", [word[:-2]]))
    elif word.endswith("s'"):
        found.append(("", [word[:-1]]))
        found.append(("s", [word[:-2]]))
    elif word.endswith("in'"):
        found.append(("in", _verbs(word[:-3])))
    elif word.endswith("ies") and len(word) > 4:
        found.append(("s", [word[:-3] + "y", word[:-1]]))
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        found.append(("s", [word[:-1], word[:-2]] if word.endswith("es") else [word[:-1]]))
    elif word.endswith("ied") and len(word) > 4:
        found.append(("ed", [word[:-3] + "y", word[:-1]]))
    elif word.endswith("ed") and len(word) > 4:
        found.append(("ed", _verbs(word[:-2])))
    elif word.endswith("ing") and len(word) > 5:
        found.append(("ing", _verbs(word[:-3])))
    return found


def _verbs(stem: str) -> list[str]:
    """Verbs that give `stem` before -ed and -ing: baking, stopping, picnicking, walking."""
    if _DOUBLED.search(stem + "ed"):
        return [stem[:-1], stem, stem + "e"]
    if stem.endswith("ck"):
        return [stem, stem[:-1]]
    return [stem, stem + "e"]


def _join(stem: str, ending: str) -> str:
    """Phonemes of a stem with an ending, which sounds by the stem's last phoneme."""
    last, before = stem[-1], stem[-2:-1]
    flapped = stem[:-1] + "ɾ" if last == "t" and before in FLAPPING else stem
    match ending:
        case "s":
            return stem + ("ᵻz" if last in "szʃʒʧʤ" else "s" if last in "ptkfθ" else "z")
        case "ed":
            if last in "td":
                return flapped + "ᵻd"
            return stem + ("t" if last in "pkfθʃsʧ" else "d")
        case "ing":
            return flapped + "ɪŋ"
        case "in":
            return flapped + "ɪn"
        case "'ll":
            return stem + ("l" if last in VOWELS else "əl")
        case "'ve":
            return stem + ("v" if last in VOWELS else "əv")
        case "'d":
            return flapped + ("ᵻd" if last in "td" else "d")
        case "'re":
            return flapped + "əɹ"
        case "'m":
            return stem + ("m" if last in VOWELS else "əm")
    return stem


@cache
def gold() -> dict[str, str | Forms]:
    """misaki's words that were checked by hand."""
    return _read("us_gold.json")


@cache
def silver() -> dict[str, str | Forms]:
    """misaki's other words."""
    return _read("us_silver.json")


@cache
def names() -> dict[str, str]:
    """Words of the CMU Pronouncing Dictionary that misaki lacks."""
    text = (resources.files("s4speech.text") / "names.txt").read_text("utf-8")
    return dict(line.split(" ") for line in text.splitlines() if line and not line.startswith("#"))


@cache
def _capitalized() -> dict[str, str | Forms]:
    """Names and acronyms of gold in small letters, where no other word is written so."""
    checked, found = gold(), dict[str, str | Forms]()
    for word, forms in checked.items():
        if not word.islower() and len(word) > 1:
            small = word.lower()
            # Of Ace and ACE the first is the word.
            if small not in checked and (small not in found or word.istitle()):
                found[small] = forms
    return found


def _read(name: str) -> dict[str, str | Forms]:
    table: dict[str, str | Forms] = json.loads((resources.files("misaki") / "data" / name).read_bytes())
    return table
