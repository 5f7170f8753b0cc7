"""English words to phones, the tokens that a voice reads.

Tokens are phones and pause marks, no spaces. A vowel has three forms: unstressed "ɛ", "ˌɛ" and "ˈɛ".
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from s4speech.errors import InputError
from s4speech.text import context, lexicon

BEGIN, END = "^", "$"
PAUSES = (",", ".", ";", ":", "!", "?")
CONSONANTS = tuple("bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ")
VOWELS = tuple("ɑæɔəɛɜɪiʊuʌAIOWY")
_REDUCED = "ə"  # never stressed
SYMBOLS: tuple[str, ...] = (
    BEGIN,
    END,
    *PAUSES,
    *CONSONANTS,
    *(stress + vowel for vowel in VOWELS for stress in ("", "ˌ", "ˈ") if vowel != _REDUCED or not stress),
)

# From the lightest to the strongest; of several in a row the strongest stays.
_STRENGTH = {pause: rank for rank, pause in enumerate(",:;.!?")}
# Symbols of the lexicon that a small voice need not tell apart: syllabic l and n, the vowel between ɪ and ə,
# the glottal stop before a syllabic n.
_MERGED = {"ᵊ": "ə", "ᵻ": "ɪ", "ʔn": "tən", "ʔ": "t", "ɐ": "ə"}
# IPA as others write it, for [[...]] and SSML. No pair of phones that the lexicon has is in it.
_IPA = {
    "eɪ": "A", "aɪ": "I", "oʊ": "O", "aʊ": "W", "t͡ʃ": "ʧ", "d͡ʒ": "ʤ", "ɚ": "əɹ", "ɝ": "ɜɹ", "r": "ɹ",
    "g": "ɡ", "ɒ": "ɑ", "a": "æ", "e": "ɛ", "o": "O", "ɫ": "l", "ː": "", "'": "ˈ", ".": "", "͡": "",
}  # fmt: skip
_WRITTEN = {**_IPA, **_MERGED}
# How the first parts of hyphenated words are said where the word alone is said otherwise.
_PREFIXES = {"re-": "ɹˌi", "co-": "kˌO", "pre-": "pɹˌi", "de-": "dˌi", "bi-": "bˌI"}

_BY_HAND = re.compile(r"\[\[[^\[\]]*\]\]")

Unknown = Callable[[str], tuple[str, ...]]


class SpokenWord(NamedTuple):
    """A word and its place: `tokens[start:stop]` of the `Phones` it belongs to."""

    text: str
    start: int
    stop: int


class Phones(NamedTuple):
    """What a voice reads for an utterance: "^", tokens, a pause, "$"; and where each word is."""

    tokens: tuple[str, ...]
    words: tuple[SpokenWord, ...]


def assemble(parts: Iterable[tuple[str, Sequence[str]]]) -> Phones:
    """An utterance of parts (word, its tokens); a part whose word is "" is a pause mark, or a space.

    Pauses in a row become the strongest of them, none begins the utterance, and one ends it.
    """
    tokens, words = [BEGIN], list[SpokenWord]()
    for text, some in parts:
        if text:
            words.append(SpokenWord(text, len(tokens), len(tokens) + len(some)))
            tokens.extend(some)
            continue
        for pause in some:
            if tokens[-1] in _STRENGTH and pause in _STRENGTH:
                tokens[-1] = max(tokens[-1], pause, key=_STRENGTH.__getitem__)
            elif len(tokens) > 1:
                tokens.append(pause)
    if tokens[-1] not in _STRENGTH:
        tokens.append(".")
    return Phones((*tokens, END), tuple(words))


def split_spoken(spoken: str) -> list[str]:
    """Words, [[phonemes]] and pause marks of normalised text. Raises InputError: it has anything else."""
    parts = re.findall(rf"{_BY_HAND.pattern}|[a-z'-]+|[,.;:!?]|\S", spoken)
    for part in parts:
        if part not in PAUSES and not re.fullmatch(rf"{_BY_HAND.pattern}|[a-z'-]+", part):
            raise InputError(
                f"text {spoken[:40]!r}: got the character {part!r} at {spoken.index(part)}, "
                f"wanted a-z, ' - [[phonemes]] and {' '.join(PAUSES)}; normalise the text first"
            )
    return [part for part in parts if part.strip("'-")]


class Pronouncer:
    """Words to phones by the lexicon; immutable, may be shared between threads."""

    symbols = SYMBOLS

    def __init__(self, unknown: Unknown | None = None) -> None:
        """unknown: letters of a word that the lexicon lacks (a-z) -> its tokens; None: it is spelled."""
        self._unknown = unknown
        lexicon.find("")  # reads the tables now (0.2 s), not in the first sentence that somebody waits for

    def known(self, word: str) -> bool:
        """Whether the lexicon, with its rules for endings and hyphens, has a lower-case word or letter."""
        return all(piece in lexicon.LETTER_NAMES or _forms(piece) is not None for piece in _pieces(word))

    def pronounce(self, spoken: str) -> Phones:
        """Normalised text, in which words may be given as [[phonemes]] -> phones.

        Raises InputError: a character that no normalised text has, or what `tokens_of` refuses.
        """
        parts, phrase = list[tuple[str, Sequence[str]]](), list[str]()
        for part in [*split_spoken(spoken), ""]:
            if part and part not in PAUSES:
                phrase.append(part)
                continue
            parts += zip(phrase, self._phrase(phrase), strict=True)
            parts.append(("", part))
            phrase = []
        return assemble(parts)

    def tokens_of(self, phonemes: str) -> tuple[str, ...]:
        """Tokens of phonemes written by hand, "hɛlˈO" or IPA: a stress mark holds for the next vowel.

        Raises InputError naming the symbol and its place.
        """
        tokens, stress, place = list[str](), "", 0
        while place < len(phonemes):
            size = next(
                n for n in (3, 2, 1, 0) if not n or phonemes[place : place + n] in {**_IPA, **_MERGED}
            )
            text = phonemes[place : place + max(size, 1)]
            for symbol in {**_IPA, **_MERGED}.get(text, text):
                if symbol in lexicon.STRESSES:
                    stress = symbol
                elif symbol in VOWELS:
                    stressed = "ʌ" if stress and symbol == _REDUCED else symbol
                    tokens.append(stress + stressed)
                    stress = ""
                elif symbol in SYMBOLS and symbol not in (BEGIN, END):
                    tokens.append(symbol)
                elif not symbol.isspace():
                    raise InputError(
                        f"phonemes {phonemes!r}: got {symbol!r} at character {place + 1}, wanted one of "
                        f"{' '.join((*CONSONANTS, *VOWELS, 'ˈ', 'ˌ', *PAUSES))}"
                    )
            place += len(text)
        if stress:
            raise InputError(
                f"phonemes {phonemes!r}: no vowel after the stress mark; put it before its vowel"
            )
        if not tokens:
            raise InputError("phonemes: got none between the marks, wanted some such as hɛlˈO")
        return tuple(tokens)

    def _phrase(self, words: list[str]) -> list[tuple[str, ...]]:
        """Tokens of each word of a phrase, last word first: a form may depend on the next sound."""
        pieces = [piece for word in words for piece in _pieces(word)]
        named = context.spelled(pieces)
        found: list[tuple[str, ...]] = [()] * len(pieces)
        after, vowel = None, False
        for i in reversed(range(len(pieces))):
            piece, forms = pieces[i], _forms(pieces[i])
            if _BY_HAND.match(piece):
                found[i] = self.tokens_of(piece[2:-2])
            elif named[i]:
                found[i] = _tokens(lexicon.LETTER_NAMES[piece])
            elif forms is not None:
                found[i] = _tokens(
                    context.choose(piece, forms, tuple(pieces[max(0, i - 3) : i]), after, vowel)
                )
            else:
                found[i] = self._guess(piece)
            after, vowel = piece, found[i][0][-1] in VOWELS
        pending = iter(found)
        return [tuple(token for _ in _pieces(word) for token in next(pending)) for word in words]

    def _guess(self, word: str) -> tuple[str, ...]:
        letters = re.sub("[^a-z]", "", word)
        return (self._unknown(letters) if self._unknown else ()) or spell(letters)


def spell(letters: str) -> tuple[str, ...]:
    """Tokens of a word spelled letter by letter; the last letter has the stress."""
    *first, last = (lexicon.LETTER_NAMES[letter] for letter in letters)
    return _tokens("".join(first).replace("ˈ", "ˌ") + last)


@lru_cache(maxsize=4096)
def _tokens(phonemes: str) -> tuple[str, ...]:
    """Tokens of the lexicon's phonemes."""
    for old, new in _MERGED.items():
        phonemes = phonemes.replace(old, new)
    return tuple(re.findall("[ˌˈ]?.", phonemes))


@lru_cache(maxsize=4096)
def _forms(word: str) -> lexicon.Forms | None:
    if word in _PREFIXES:
        return {lexicon.DEFAULT: _PREFIXES[word]}
    bare = word.strip("'")
    for find in (lexicon.find, lexicon.find_derived):
        for spelling in dict.fromkeys((word, bare)):
            forms = find(spelling)
            if forms is not None:
                return forms
    return None


@lru_cache(maxsize=4096)
def _pieces(word: str) -> tuple[str, ...]:
    """A hyphenated word as what is looked up: itself, the word without hyphens, or its parts."""
    word = word.strip("-")
    if "-" not in word or _BY_HAND.match(word) or _forms(word) is not None:
        return (word,)
    joined, parts = word.replace("-", ""), [part for part in word.split("-") if part.strip("'")]
    if parts[0] != "re" and lexicon.find(joined) is not None:
        return (joined,)
    prefix = parts[0] + "-"
    return (prefix, *parts[1:]) if prefix in _PREFIXES else tuple(parts)
