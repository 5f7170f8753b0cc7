"""What is odd about the texts of a data set: characters, repetitions, speaking rates."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

REPEATED = 5  # utterances of the same text are worth a line from here on
_RARE = 1e-4  # share of the characters
_JAPANESE = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}
_PLAIN = frozenset(" .,?!;:'\"()-")
_BROKEN = {
    "Cc": "control",
    "Cf": "invisible",
    "Co": "private",
    "Cn": "unassigned",
    "Zl": "line",
    "Zp": "line",
}


class OddCharacter(NamedTuple):
    """A character, how often it occurs, and why it is odd."""

    character: str
    times: int
    why: str

    @property
    def code(self) -> str:
        """As U+00E9 LATIN SMALL LETTER E WITH ACUTE."""
        return f"U+{ord(self.character):04X} {unicodedata.name(self.character, 'without a name')}"


def odd_characters(texts: Iterable[str], alphabet: Iterable[str] | None = None) -> list[OddCharacter]:
    """The characters outside an alphabet; without one, those that a transcript rarely means to have.

    These are control and invisible characters, spaces but the plain one, letters of a script other than most
    of the text's, symbols, and whatever is less than one character in 10 000.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    if alphabet is not None:
        allowed = frozenset(alphabet)
        found = [OddCharacter(c, n, "not in the alphabet") for c, n in counts.items() if c not in allowed]
    else:
        main, total = _main_script(counts), sum(counts.values())
        folded: Counter[str] = Counter()  # a rare capital of a common letter is not odd
        for character, times in counts.items():
            folded[character.lower()] += times
        found = [
            OddCharacter(c, n, why)
            for c, n in counts.items()
            if (why := _why_odd(c, folded[c.lower()] / total, main))
        ]
    return sorted(found, key=lambda odd: (-odd.times, odd.character))


def _script(character: str) -> str:
    script = unicodedata.name(character, "NONE ").replace("FULLWIDTH ", "").split(" ")[0]
    return "JAPANESE" if script in _JAPANESE else script


def _main_script(counts: Counter[str]) -> str:
    scripts: Counter[str] = Counter()
    for character, count in counts.items():
        if character.isalpha():
            scripts[_script(character)] += count
    return scripts.most_common(1)[0][0] if scripts else ""


def _why_odd(character: str, share: float, main: str) -> str:
    category = unicodedata.category(character)
    if character == "\ufffd":
        return "stands for a lost character"
    if category in _BROKEN:
        return _BROKEN[category]
    if category == "Zs" and character not in " \u3000":
        return "another space"
    if category[0] == "L" and _script(character) != main and character.isalpha():
        return f"{_script(character).lower()} among {main.lower()}"
    if category[0] == "S":
        return "symbol"
    return "rare" if share < _RARE and character not in _PLAIN else ""


def plain_text(text: str) -> str:
    """What is compared: letters, digits and marks in one case, one space between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(
        c if unicodedata.category(c)[0] in "LNM" else " " if c.isspace() or c == "-" else "" for c in folded
    )
    return " ".join(kept.split())


def repeated_texts(plain: Sequence[str], least: int = REPEATED) -> list[tuple[str, list[int]]]:
    """Texts of at least so many utterances with the numbers of these, the most frequent first."""
    places: dict[str, list[int]] = {}
    for number, text in enumerate(plain):
        if text:
            places.setdefault(text, []).append(number)
    found = [(text, numbers) for text, numbers in places.items() if len(numbers) >= least]
    return sorted(found, key=lambda row: -len(row[1]))


def rate_outliers(characters: Sequence[int], seconds: Sequence[float]) -> list[tuple[int, float, float]]:
    """(number, characters a second, the median) of those that are spoken at no human rate.

    More than twice, or less than half, as fast as the median of all, and 6 robust deviations from it on a
    log scale; of at least 20 utterances with a text. Often the text of another recording.
    """
    counts, lengths = np.asarray(characters, np.float64), np.asarray(seconds, np.float64)
    told = np.flatnonzero((counts > 0) & (lengths > 0))
    if len(told) < 20:
        return []
    logs = np.log(counts[told] / lengths[told])
    median = np.median(logs)
    spread = 1.4826 * np.median(np.abs(logs - median))
    far = np.abs(logs - median) > max(np.log(2), 6 * spread)
    return [
        (int(n), float(np.exp(v)), float(np.exp(median))) for n, v in zip(told[far], logs[far], strict=True)
    ]
