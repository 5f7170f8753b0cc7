"""Text as transcripts write it."""

import re
import unicodedata

# Typed or typographic marks that people use for an apostrophe; NFKC leaves them apart.
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\u00b4`\u2032\uff07"), "'")
_BREAKS = re.compile(r"[-\u2010-\u2015\u2212/_\s]+")
_OTHER = re.compile(r"[^A-Z' ]+")


def normalize_english(text: str) -> str:
    """Return ``text`` as LibriSpeech writes it: words of A-Z and the apostrophe, one space between them.

    Hyphens, dashes and slashes part words; accents are removed (``café`` -> ``CAFE``); other punctuation is
    dropped without a space (``U.S.`` -> ``US``). Digits are dropped too: a transcript has them spelt out.
    """
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).upper()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = _OTHER.sub("", _BREAKS.sub(" ", text))
    return " ".join(word for word in text.split() if word.strip("'"))
