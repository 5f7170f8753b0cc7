"""Characters of normalised text as the tokens of a voice: the alternative to phonemes."""

from collections.abc import Sequence

from s4speech.errors import InputError
from s4speech.text.phonemes import BEGIN, END, PAUSES, Phones, assemble, split_spoken


class Speller:
    """Words to their letters, with a space between words; used as a `Pronouncer` is."""

    symbols: tuple[str, ...] = (BEGIN, END, *PAUSES, " ", "'", "-", *"abcdefghijklmnopqrstuvwxyz")

    def known(self, word: str) -> bool:
        """Whether the word has only characters that are tokens."""
        return set(word) <= set(self.symbols)

    def pronounce(self, spoken: str) -> Phones:
        """Normalised text -> characters. Raises InputError: [[phonemes]], or what no normalised text has."""
        parts, follows = list[tuple[str, Sequence[str]]](), False
        for part in split_spoken(spoken):
            pause = part in PAUSES
            if part.startswith("[["):
                self.tokens_of(part[2:-2])
            if follows and not pause:
                parts.append(("", " "))
            parts.append(("" if pause else part, part))
            follows = True
        return assemble(parts)

    def tokens_of(self, phonemes: str) -> tuple[str, ...]:
        """Raises InputError: a voice of characters cannot read phonemes."""
        raise InputError(
            f"phonemes {phonemes!r}: this voice reads characters; write the word as it sounds, or take a "
            "voice of phonemes"
        )
