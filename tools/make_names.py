"""Make s4speech/text/names.txt: words of the CMU Pronouncing Dictionary that the lexicon of misaki lacks.

    git clone https://github.com/cmusphinx/cmudict
    PYTHONPATH=. python tools/make_names.py cmudict/cmudict.dict cmudict/LICENSE

They are mostly names of people and places. Phonemes are written as misaki writes them. Words that the rules
for endings derive are left out. The licence (BSD, two clauses) asks that its text stays with the data: it
is the head of the file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from s4speech.text import lexicon

_PHONES = (
    "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH",
    "ɑ æ ʌ ɔ W I ɛ ɜɹ A ɪ i O Y ʊ u b ʧ d ð f ɡ h ʤ k l m n ŋ p ɹ s ʃ t θ v w j z ʒ",
)
ARPABET = dict(zip(*(row.split() for row in _PHONES), strict=True))
REDUCED = {"AH0": "ə", "ER0": "əɹ"}
STRESS = {"": "", "0": "", "1": "ˈ", "2": "ˌ"}


def phonemes(arpabet: list[str]) -> str:
    """ARPAbet as misaki would write it: a t between a vowel or r and an unstressed vowel is a flap."""
    text = ""
    for i, phone in enumerate(arpabet):
        following = arpabet[i + 1] if i + 1 < len(arpabet) else ""
        if phone == "T" and following.endswith("0") and text[-1:] and text[-1] in lexicon.FLAPPING:
            text += "ɾ"
        else:
            text += REDUCED.get(phone) or STRESS[phone[2:]] + ARPABET[phone[:2]]
    return text


def entries(path: Path) -> Iterator[tuple[str, str]]:
    """(word, phonemes) of the first pronunciation of each word of letters and apostrophes."""
    for line in path.read_text("utf-8").splitlines():
        word, *phones = line.split("#")[0].split()
        if re.fullmatch("[a-z][a-z']*[a-z]", word):
            yield word, phonemes(phones)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("licence", type=Path)
    parser.add_argument("--out", type=Path, default=Path("s4speech/text/names.txt"))
    args = parser.parse_args()
    head = "From the CMU Pronouncing Dictionary, by tools/make_names.py.\n" + args.licence.read_text("utf-8")
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    mine = {}
    for word, said in entries(args.dictionary):
        if lexicon.find_misaki(word) is None and lexicon.find_derived(word, lexicon.find_misaki) is None:
            mine[word] = said

    def find(word: str) -> lexicon.Forms | None:
        return {lexicon.DEFAULT: mine[word]} if word in mine else lexicon.find_misaki(word)

    derived = {word: lexicon.find_derived(word, find) for word in mine}
    for word, forms in derived.items():
        if forms is not None and ("'" in word or forms[lexicon.DEFAULT] == mine[word]):
            del mine[word]
    lines += [f"{word} {said}" for word, said in sorted(mine.items())]
    args.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
