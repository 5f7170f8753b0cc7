"""Which form of a word is said, by the words around it: function words, and the commonest heteronyms.

Rules over a word or two, no parser: they are right for most uses and no more.
"""

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
_PAST_BEFORE = _words(
    "have has had having i've we've you've they've he she be been being is are was were well"
)
_BE = _words("be is are was were been being am get got")
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
# Acronyms that start with A before a letter whose name starts with a consonant; elsewhere `a` is the article
# ("a t v"). Before a vowel the article is `an`, so there the letter is meant in any case ("a f c", "a m").
_A_ACRONYMS = _words(
    "ab abc ac aclu acdc ad adhd adp ak aka ap apa apb api apr apy at atc atm atp att av aws"
)


def choose(word: str, forms: Forms, before: tuple[str, ...], after: str | None, vowel: bool) -> str:
    """Phonemes of the form that fits.

    before: words before in the same phrase, the nearest last. after: the next word of the phrase, None if it
    ends here. vowel: the next word starts with a vowel.
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
        case "read" if recent & _PAST_BEFORE and not recent & {"to", "will", "can"}:
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


def spelled(words: list[str]) -> list[bool]:
    """Of the words of a phrase, which are letters to be named.

    Single letters always are; `a` and `i` only beside other letters ("f b i"), and a last `a` ("plan a").
    """
    result = [len(word) == 1 and word in LETTER_NAMES for word in words]
    start = 0
    while start < len(words):
        stop = start
        while stop < len(words) and result[stop]:
            stop += 1
        run = words[start:stop]
        if run and not any(letter not in "ai" for letter in run) and run != ["a", "i"]:
            for i in range(start, stop):
                result[i] = False
        elif run[:1] == ["a"] and _is_article("".join(run), words[start - 1] if start else ""):
            result[start] = False
        start = max(stop, start + 1)
    if words and words[-1] == "a":
        result[-1] = True
    return result


def _is_article(run: str, previous: str) -> bool:
    """Whether the `a` that begins a run of letters is the article: "a t v", but "an a t m", "seven a m"."""
    vowel_name = len(run) > 1 and run[1] in "aefhilmnorsx"
    return not vowel_name and run not in _A_ACRONYMS and previous not in _NOUN_BEFORE
