"""Words to phones, context, pauses; phonemes by hand; characters as the alternative."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4speech.errors import InputError
from s4speech.text.characters import Speller
from s4speech.text.context import spelled
from s4speech.text.phonemes import BEGIN, END, PAUSES, SYMBOLS, Phones, Pronouncer, spell


@pytest.fixture(scope="module")
def pronouncer() -> Pronouncer:
    return Pronouncer()


def written(phones: Phones) -> str:
    """The phones of the words, parted by spaces."""
    return " ".join("".join(phones.tokens[word.start : word.stop]) for word in phones.words)


def test_symbols_never_change_their_place() -> None:
    """Trained voices index them."""
    vowels = "ɑæɔəɛɜɪiʊuʌAIOWY"
    forms = [stress + v for v in vowels for stress in ("", "ˌ", "ˈ") if v != "ə" or not stress]
    assert list(SYMBOLS) == ["^", "$", *",.;:!?", *"bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ", *forms]
    assert len(set(SYMBOLS)) == len(SYMBOLS) == 79


@pytest.mark.parametrize(
    ("spoken", "phones"),
    [
        # function words by what follows
        ("the end of the day", "ði ˈɛnd ʌv ðə dˈA"),
        ("the hour, the union", "ði ˈWəɹ ðə jˈunjən"),
        ("to eat to live to", "tʊ ˈit tə lˈɪv tu"),
        ("a man and an owl", "ə mˈæn ænd ən ˈWl"),
        ("i am what i am", "ˌI əm wˌʌt ˌI ˈæm"),
        ("come in, in time", "kˈʌm ˈɪn ɪn tˈIm"),
        ("can you? i can", "kæn ju ˌI kˈæn"),
        # heteronyms
        ("i read it", "ˌI ɹˈid ɪt"),
        ("i have never read it", "ˌI hæv nˈɛvəɹ ɹˈɛd ɪt"),
        ("it was to be read", "ɪt wʌz tə bi ɹˈɛd"),
        ("he read it", "hi ɹˈɛd ɪt"),
        ("could he read it", "kʊd hi ɹˈid ɪt"),
        ("i have to read", "ˌI hæv tə ɹˈid"),
        ("we live here", "wi lˈɪv hˈɪɹ"),
        ("a live broadcast", "ə lˈIv bɹˈɔdkˌæst"),
        ("i used to use it", "ˌI jˈust tə jˈuz ɪt"),
        ("it is used to cut", "ɪt ɪz jˈuzd tə kˈʌt"),
        ("no use", "nˈO jˈus"),
        ("close to the close of day", "klˈOs tə ðə klˈOz ʌv dˈA"),
        ("they will close it", "ðA wɪl klˈOz ɪt"),
        ("they object to the object", "ðA əbʤˈɛkt tə ði ˈɑbʤəkt"),
        ("lead me to the lead pipe", "lˈid mˌi tə ðə lˈɛd pˈIp"),
        ("the wind, to wind up", "ðə wˈɪnd tə wˈInd ˌʌp"),
        ("he wound up with a wound", "hi wˈWnd ˌʌp wɪð ə wˈund"),
        # letters: A is written ay
        ("the f b i", "ði ˈɛf bˈi ˈI"),
        ("seven ay m", "sˈɛvən ˈA ˈɛm"),
        ("a c d", "ə sˈi dˈi"),
        ("plan a", "plˈæn ˈA"),
        # hyphens
        ("re-enter", "ɹiˈɛntəɹ"),
        ("to-day", "tədˈA"),
        ("x-ray", "ˈɛksɹˌA"),
        ("re-cat", "ɹˌikˈæt"),
        ("re-sign", "ɹisˈIn"),
        ("half-eaten", "hˈæfˈitən"),
        # apostrophes
        ("'hello'", "həlˈO"),
        ("'tis o'clock", "tˈɪz əklˈɑk"),
        ("rock 'n roll", "ɹˈɑk ən ɹˈOl"),
        # symbols that are merged: ᵊ ᵻ ʔ
        ("kitten's horses wanted little", "kˈɪtənz hˈɔɹsɪz wˈɑntɪd lˈɪɾəl"),
        ("august", "ˈɔɡəst"),
        # unknown: spelled
        ("xqzt", "ˌɛkskjˌuzˌitˈi"),
    ],
)
def test_words_in_context(pronouncer: Pronouncer, spoken: str, phones: str) -> None:
    assert written(pronouncer.pronounce(spoken)) == phones


def test_tokens_of_a_sentence(pronouncer: Pronouncer) -> None:
    got = pronouncer.pronounce("yes, the cat")
    assert got.tokens == ("^", "j", "ˈɛ", "s", ",", "ð", "ə", "k", "ˈæ", "t", ".", "$")
    assert got.words == (("yes", 1, 4), ("the", 5, 7), ("cat", 7, 10))


@pytest.mark.parametrize(
    ("spoken", "pauses"),
    [
        ("no", "."),
        ("no.", "."),
        ("no?", "?"),
        ("no,", ","),
        ("no,.", "."),
        ("no! ?", "?"),
        ("no . . .", "."),
        (", no", "."),
        ("no; : , no", ";."),
        ("no, no; no: no! no?", ",;:!?"),
    ],
)
def test_pauses_merge_and_one_ends_the_sentence(pronouncer: Pronouncer, spoken: str, pauses: str) -> None:
    for reader in (pronouncer, Speller()):
        tokens = reader.pronounce(spoken).tokens
        assert "".join(token for token in tokens if token in PAUSES) == pauses
        assert tokens[0] == BEGIN
        assert tokens[-1] == END
        assert tokens[-2] in PAUSES


@pytest.mark.parametrize("spoken", ["", " ", ",", "- '", "?!", "--"])
def test_no_words(pronouncer: Pronouncer, spoken: str) -> None:
    assert pronouncer.pronounce(spoken) == Phones(("^", ".", "$"), ())


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.text("abeinoqrstxyz'-", min_size=1, max_size=9), st.sampled_from([*PAUSES]))))
def test_nothing_is_dropped_and_tokens_belong_to_words(parts: list[str]) -> None:
    """Every word with a letter has tokens of its own, in order; the rest are pauses and the two ends."""
    for reader in (Pronouncer(), Speller()):
        got = reader.pronounce(" ".join(parts))
        assert set(got.tokens) <= set(reader.symbols)
        assert [word.text for word in got.words] == [part for part in parts if re.search("[a-z]", part)]
        owned: set[int] = set()
        for word in got.words:
            assert word.start < word.stop
            assert not owned or word.start > max(owned)
            owned |= set(range(word.start, word.stop))
        rest = [token for i, token in enumerate(got.tokens) if i not in owned]
        assert set(rest) <= {BEGIN, END, *PAUSES, " "}


@pytest.mark.parametrize("spoken", ["Hello", "it is 5", "naïve", "a/b", "\0"])
def test_text_that_is_not_normalised(pronouncer: Pronouncer, spoken: str) -> None:
    with pytest.raises(InputError, match="normalise the text first"):
        pronouncer.pronounce(spoken)


def test_unknown_words_are_asked_for_once_and_spelled_if_there_is_no_answer() -> None:
    asked: list[str] = []

    def unknown(word: str) -> tuple[str, ...]:
        asked.append(word)
        return ("b", "ˈɑ") if word == "xqzt" else ()

    got = Pronouncer(unknown).pronounce("the xqzt-cat xq'vz")
    assert asked == ["xqvz", "xqzt"]  # from the last: the form of a word depends on the next
    assert written(got) == f"ðə bˈɑkˈæt {''.join(spell('xqvz'))}"


def test_known(pronouncer: Pronouncer) -> None:
    words = ["cat", "cat's", "margaret's", "half-eaten", "q", "'tis", "xqzt", "xqzt-cat"]
    assert [pronouncer.known(word) for word in words] == [True] * 6 + [False] * 2


def test_which_letters_are_named() -> None:
    """`i` is a pronoun but beside letters; `a` an article but at the end."""
    for text, named in [
        ("i am", "00"),
        ("c i ay", "110"),
        ("ay i", "01"),
        ("a b c", "011"),
        ("a i", "00"),
        ("vitamin a", "01"),
        ("i o u", "111"),
    ]:
        assert "".join(str(int(flag)) for flag in spelled(text.split())) == named, text


@pytest.mark.parametrize(
    ("phonemes", "tokens"),
    [
        ("hɛlˈO", ["h", "ɛ", "l", "ˈO"]),
        ("həˈloʊ", ["h", "ə", "l", "ˈO"]),  # IPA: the mark before the syllable
        ("ˈt͡ʃɜːrtʃ", ["ʧ", "ˈɜ", "ɹ", "t", "ʃ"]),
        ("bˈɚd gˈeɪm", ["b", "ə", "ɹ", "d", "ɡ", "ˈA", "m"]),
        ("nˈaʊ, sˈaɪ", ["n", "ˈW", ",", "s", "ˈI"]),
        ("kˈɪʔn lˈɪɾᵊl", ["k", "ˈɪ", "t", "ə", "n", "l", "ˈɪ", "ɾ", "ə", "l"]),
    ],
)
def test_phonemes_by_hand(pronouncer: Pronouncer, phonemes: str, tokens: list[str]) -> None:
    got = pronouncer.tokens_of(phonemes)
    if phonemes.startswith("bˈɚ"):
        tokens = ["b", "ˈʌ", *tokens[2:]]  # no stressed schwa
    assert list(got) == tokens


@pytest.mark.parametrize(
    ("phonemes", "match"),
    [
        ("hɛlX", "got 'X' at character 4"),
        ("ɛ5", "got '5' at character 2"),
        ("^ɛ", "got '\\^' at character 1"),
        ("hˈ", "no vowel after the stress mark"),
        ("", "got none"),
        ("  ", "got none"),
    ],
)
def test_wrong_phonemes_are_named(pronouncer: Pronouncer, phonemes: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        pronouncer.tokens_of(phonemes)


def test_what_is_printed_can_be_given_back(pronouncer: Pronouncer) -> None:
    """The phonemes of a dry run, pasted into [[...]], are the same tokens, also for t + ʃ and ɔ + ɪ."""
    spoken = "hotshot drawing coincidence idea the quick brown fox jumped over kitten margaret"
    for word in spoken.split():
        [got] = pronouncer.pronounce(word).words
        tokens = pronouncer.pronounce(word).tokens[got.start : got.stop]
        assert pronouncer.tokens_of("".join(tokens)) == tokens


def test_phonemes_among_words(pronouncer: Pronouncer) -> None:
    """They take part in the context of the words beside them: "the" and "a" end no phrase there."""
    got = pronouncer.pronounce("the [[ˈɑm]], a [[bˈi d]] sat.")
    assert written(got) == "ði ˈɑm ə bˈid sˈæt"
    assert [word.text for word in got.words] == ["the", "[[ˈɑm]]", "a", "[[bˈi d]]", "sat"]
    for wrong in ("[[]]", "the [[hɛlX]]", "[[ɛ", "[ɛ]", "[[[ɛ]]]"):
        with pytest.raises(InputError):
            pronouncer.pronounce(wrong)
    with pytest.raises(InputError, match="reads characters"):
        Speller().pronounce("the [[ˈɑm]]")


def test_characters() -> None:
    got = Speller().pronounce("it's me, re-do")
    assert "".join(got.tokens) == "^it's me, re-do.$"
    assert got.words == (("it's", 1, 5), ("me", 6, 8), ("re-do", 10, 15))
    assert len(set(Speller.symbols)) == len(Speller.symbols) == 37
    assert Speller().known("it's")
    assert not Speller().known("café")
    with pytest.raises(InputError, match="reads characters"):
        Speller().tokens_of("hɛlˈO")


def test_spelling() -> None:
    """Each letter's name, the last one stressed; every letter has one."""
    assert "".join(spell("abc")) == "ˌAbˌisˈi"
    names = [spell(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert len(set(names)) == 26
    assert set(itertools.chain(*names)) <= set(SYMBOLS)
