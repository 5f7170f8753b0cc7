"""The lexicon: what its tables hold, and the words that are derived from theirs."""

import re

import pytest

from s4speech.text import lexicon


def said(word: str) -> str | None:
    forms = lexicon.find(word) or lexicon.find_derived(word)
    return None if forms is None else forms[lexicon.DEFAULT]


def test_every_entry_is_of_known_phonemes_with_stress_before_vowels() -> None:
    consonants = "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ"
    wanted = re.compile(f"(?:[{consonants}]|ʔ(?=n)|[ˌˈ]?[æɑɔɛɜɪiʊuʌAIOWY]|[əᵊᵻ])+")
    tables = (lexicon.gold(), lexicon.silver(), lexicon.names())
    wrong = [
        (word, phonemes)
        for table in tables
        for word, forms in table.items()
        for phonemes in ([forms] if isinstance(forms, str) else forms.values())
        if phonemes is not None and not wanted.fullmatch(phonemes)
    ]
    assert wrong == []
    assert [len(table) > 50_000 for table in tables] == [True, True, True]


def test_names_fill_what_misaki_lacks_and_keep_their_licence() -> None:
    assert said("margaret") == "mˈɑɹɡəɹɪt"
    assert said("o'brien") == "ObɹˈIɪn"
    assert lexicon.find_misaki("margaret") is None
    assert not [word for word in list(lexicon.names())[::50] if lexicon.find_misaki(word)]
    text = (lexicon.resources.files("s4speech.text") / "names.txt").read_text("utf-8")
    assert "Copyright (C) 1993-2015 Carnegie Mellon University" in text
    assert "AS IS" in text


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        # -s after p t k f θ, after a hiss, and elsewhere
        ("margaret's", "mˈɑɹɡəɹɪts"),
        ("felix's", "fˈilɪksᵻz"),
        ("paul's", "pˈɔlz"),
        ("boss's", "bˈɔsᵻz"),
        ("boys'", "bˈYz"),
        ("jones'", "ʤˈOnz"),
        # clitics
        ("dog'll", "dˈɔɡəl"),
        ("she'd", "ʃid"),
        ("hat'd", "hˈæɾᵻd"),
        ("who've", "hˌuv"),
        ("what're", "wˌʌɾəɹ"),
        ("walkin'", "wˈɔkɪn"),
        # not words of the tables: made of ones that are
        ("googling", "ɡˈuɡᵊlɪŋ"),
        ("emailed", "ˈimˌAld"),
    ],
)
def test_endings(word: str, phonemes: str) -> None:
    assert said(word) == phonemes


@pytest.mark.parametrize(
    ("stem", "ending", "phonemes"),
    [
        ("kˈæt", "s", "kˈæts"),
        ("dˈɔɡ", "s", "dˈɔɡz"),
        ("ʤˈʌʤ", "s", "ʤˈʌʤᵻz"),
        ("wˈɔk", "ed", "wˈɔkt"),
        ("bˈɛɡ", "ed", "bˈɛɡd"),
        ("nˈid", "ed", "nˈidᵻd"),
        ("wˈAt", "ed", "wˈAɾᵻd"),
        ("ˈækt", "ed", "ˈæktᵻd"),
        ("ɹˈIt", "ing", "ɹˈIɾɪŋ"),
        ("wˈɔk", "ing", "wˈɔkɪŋ"),
    ],
)
def test_allomorphs(stem: str, ending: str, phonemes: str) -> None:
    assert lexicon.find_derived(f"x{'ing' if ending == 'ing' else ending}", lambda _: None) is None
    spelled = {"s": "xaaas", "ed": "xaaaed", "ing": "xaaaing"}[ending]
    forms = lexicon.find_derived(spelled, lambda word: {lexicon.DEFAULT: stem} if word == "xaaa" else None)
    assert forms == {lexicon.DEFAULT: phonemes}


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("stopped", "stop"),
        ("running", "run"),
        ("baking", "bake"),
        ("baked", "bake"),
        ("picnicking", "picnic"),
        ("tried", "try"),
        ("ties", "tie"),
        ("flies", "fly"),
        ("boxes", "box"),
        ("calling", "call"),
    ],
)
def test_stems(word: str, stem: str) -> None:
    forms = lexicon.find_derived(word, lambda other: {lexicon.DEFAULT: "ˈɪm"} if other == stem else None)
    assert forms is not None
    assert lexicon.find_derived(word, lambda _: None) is None


def test_the_ending_of_a_heteronym_is_put_to_its_verb() -> None:
    forms = {lexicon.DEFAULT: "ɹˈɛkəɹd", lexicon.VERB: "ɹəkˈɔɹd"}
    assert lexicon.find_derived("recording", lambda w: forms if w == "record" else None) == {
        lexicon.DEFAULT: "ɹəkˈɔɹdɪŋ"
    }
    assert lexicon.find_derived("records", lambda w: forms if w == "record" else None) == {
        lexicon.DEFAULT: "ɹˈɛkəɹdz"
    }


@pytest.mark.parametrize("word", ["", "xqzt", "s", "'s", "ed", "ing", "ies", "zzzs", "xqzt's"])
def test_what_no_table_knows(word: str) -> None:
    assert lexicon.find_derived(word) is None
