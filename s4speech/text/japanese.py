"""Japanese text as transcripts write it."""

# Small wa is written where somebody said it; Kaldi's and ESPnet's transcripts have the large one.
_SPELLINGS = str.maketrans({"ヮ": "ワ", "ゎ": "わ"})


def normalize_japanese(text: str) -> str:
    """Return ``text`` as CSJ's recipes score it: no spaces of any width, no lengthened n, no small wa.

    Nothing else: CSJ spells every word in one way, and its Latin letters and digits are of full width
    (``ＣＤ``) on both sides of a comparison.
    """
    text = "".join(text.split()).translate(_SPELLINGS)
    for n in "んン":
        while f"{n}ー" in text:
            text = text.replace(f"{n}ー", n)
    return text
