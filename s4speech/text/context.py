"""Which form of a word is said, by the words around it: function words, and the commonest heteronyms.

Rules over a word or two, no parser: they are right for most uses and no more.
"""

from collections.abc import Sequence

from s4speech.text.lexicon import DEFAULT, ENDING, LETTER_NAMES, NOUN, VERB, Forms


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# After these a verb is likely, and a noun after those.
_VERB_BEFORE = _words(
    "to will would shall should can could may might must cannot can't don't doesn't didn't won't "
    "wouldn't couldn't shouldn't not never i we you they who let's i'll we'll you'll they'll he'll "
    "she'll i'd we'd you'd they'd"
)
_NOUN_BEFORE = _words(
    "the a an this that his her its their our your my no any some of in for every each great little "
    "much good new common general public daily first whose"
)
_PARTICIPLE_BEFORE = _words(
    "have has had having i've we've you've they've be been being is are was were well"
)
_MODALS = _words("to will would shall should can could may might must do does did don't doesn't didn't let")
_BE = _words("be is are was were been being")
_LIVE_THINGS = _words(
    "music show shows audience audiences broadcast broadcasts television tv performance performances "
    "concert concerts wire wires stock bait ammunition coverage birth births oak oaks stream streams "
    "streaming recording recordings coals bird birds animal animals"
)
_LEAD_THINGS = _words(
    "pipe pipes pencil pencils poisoning paint bullet bullets roof roofs mine mines ore shot type weight"
)
_LEAD_BEFORE = _words("molten red white sheet black like")
_WOUND_NEXT = _words("up around round through down its along about itself upon")
_TEAR_NEXT = _words("down up apart off out away open it them him")


def choose(word: str, forms: Forms, before: tuple[str, ...], after: str | None, vowel: bool) -> str:
    """Phonemes of the form that fits.

    before: up to three words before in the same phrase, the nearest last. after: the next word of the phrase,
    None if it ends here. vowel: the next word starts with a vowel.
    """
    previous = before[-1] if before else ""
    special = _function_word(word, after, vowel) or _heteronym(word, forms, before, previous, after)
    if special is not None:
        return special
    if after is None and ENDING in forms:
        return forms[ENDING]
    if VERB in forms and previous in _VERB_BEFORE:
        return forms[VERB]
    if NOUN in forms and previous in _NOUN_BEFORE:
        return forms[NOUN]
    return forms[DEFAULT]


def _function_word(word: str, after: str | None, vowel: bool) -> str | None:
    match word:
        case "the":
            return "ði" if vowel or after is None else "ðə"
        case "a":
            return "ə"
        case "an":
            return "ən"
        case "to":
            return "tu" if after is None else "tʊ" if vowel else "tə"
        case "in":
            return "ˈɪn" if after is None else "ɪn"
        case "am":
            return "ˈæm" if after is None else "əm"
        case "that":
            return "ðˈæt" if after is None else "ðæt"
        case "i":
            return "ˌI"
    return None


def _heteronym(
    word: str, forms: Forms, before: tuple[str, ...], previous: str, after: str | None
) -> str | None:
    recent = set(before[-2:])
    match word:
        case "read" if previous != "to" and (recent & _PARTICIPLE_BEFORE or previous.endswith("'ve")):
            return forms["VBD"]
        case "read" if previous in ("he", "she") and not _MODALS.intersection(before[-3:]):
            return forms["VBD"]
        case "live":
            return forms[DEFAULT if previous == "a" or after in _LIVE_THINGS else VERB]
        case "lead" if after in _LEAD_THINGS or previous in _LEAD_BEFORE:
            return forms["METAL"]
        case "used" if after == "to" and not recent & _BE:
            return forms["VBD"]
        case "close":
            verb = (previous in _VERB_BEFORE and after != "to") or (previous == "the" and after == "of")
            return forms[VERB if verb else DEFAULT]
        case "wound" if after in _WOUND_NEXT:
            return forms["VBD"]
        case "tear" if after in _TEAR_NEXT:
            return forms[VERB]
    return None


def spelled(words: Sequence[str]) -> list[bool]:
    """Of the words of a phrase, which are letters to be named.

    Single letters are ("f b i"), but for `a` and `i`: `i` is one beside other letters, `a` only where no
    article can be, at the end. The letter A elsewhere is written `ay` by the normaliser.
    """
    single = [len(word) == 1 and word in LETTER_NAMES for word in words]
    sure = [(is_one and words[i] not in "ai") or words[i] == "ay" for i, is_one in enumerate(single)]
    named = list(single)
    for i, word in enumerate(words):
        if word == "i":
            named[i] = any(sure[max(0, i - 1) : i + 2])
        elif word == "a":
            named[i] = i == len(words) - 1
    return named
