"""Alternatives, optional words and sclite's costs, against published results of sclite and against jiwer.

The rows come from sctk's own tests (github.com/usnistgov/SCTK, src/sclite/testdata: tests.ref, tests.hyp and
what sclite -D found, base/test7.pra; csrnab and lvc are too long to stand here, see docs/scoring.md).
"""

import random

import jiwer
import pytest

from s4speech.errors import InputError
from s4speech.metrics.alignment import align, align_characters, forgiven
from s4speech.metrics.error_rate import Counts, score
from s4speech.metrics.network import LEVENSHTEIN, SCLITE, align_network, is_marked, parse, plain
from tests.unit.test_metrics import edit_distance, random_text

G = "uh uh had a long {} problem of my bright"
G_HYP = "uh uh have along which go problem of my private"
PUBLISHED = [
    ("a b { c d / c / e } e f g", "a b c d e f g", (7, 0, 0, 0)),
    ("a b { c / e / c d } f g", "a b c d e f g", (6, 0, 0, 1)),
    ("a b c d { e / c / @ } f g", "a b c d e f g", (7, 0, 0, 0)),
    ("a b c d e { e / c / @ } f g", "a b c d e f g", (7, 0, 0, 0)),
    (G.format("{ age-old / age old }"), G_HYP, (5, 5, 0, 0)),
    (G.format("{ age old / age-old }"), G_HYP, (5, 5, 0, 0)),
    (
        "a { b / cd / { g h i / gh i / g ih} bd } { e { i n / th } f / ef }",
        "a gh i bd e i th f",
        (7, 0, 0, 1),
    ),
    (
        "a { b / cd / { g h i / gh i / g ih} bd } { e { i n / th } f / ef }",
        "a gh i bd e i n th f",
        (8, 0, 0, 1),
    ),
    ("b (c) d", "b e", (2, 1, 0, 0)),
    ("b (c) d", "b c e", (2, 1, 0, 0)),
    ("b (c) d", "b d e", (3, 0, 0, 1)),
    ("b (c) d", "b c i e", (2, 1, 0, 1)),
    ("b (c) d", "b s i e", (1, 2, 0, 1)),
    ("b (c) d", "e", (1, 1, 1, 0)),
    ("(a) (c) b d e", "s s s", (2, 3, 0, 0)),
    ("a c b (d) (e)", "s s s", (2, 3, 0, 0)),
]


@pytest.mark.parametrize(("ref", "hyp", "counts"), PUBLISHED, ids=range(len(PUBLISHED)))
def test_published_results_of_sclite(ref, hyp, counts):
    report = score({"u": ref}, {"u": hyp}, sclite=True, marked=True)
    assert report.words == Counts(*counts)


def test_sclite_costs_can_count_more_errors_than_the_fewest():
    """Five substitutions cost 20; three deletions and three insertions around two right words cost 18."""
    ref, hyp = {"u": "p q r a b"}, {"u": "a b x y z"}
    assert score(ref, hyp).words.errors == 5
    assert score(ref, hyp, sclite=True).words == Counts(2, 0, 3, 3)


def test_the_network_of_plain_words_counts_as_jiwer():
    generator = random.Random(5)
    for _ in range(200):
        ref, hyp = random_text(generator), random_text(generator)
        pairs = align_network(plain(ref.split()), hyp.split(), LEVENSHTEIN)
        assert Counts.of(pairs).errors == Counts.of(align(ref, hyp)).errors
        assert [pair.ref for pair in pairs if pair.ref] == ref.split()
        assert [pair.hyp for pair in pairs if pair.hyp] == hyp.split()


def test_counts_are_those_of_jiwer_over_any_text():
    generator = random.Random(6)
    letters = "ab cé猫\U0001f600'-/"
    for _ in range(200):
        ref, hyp = (" ".join("".join(generator.choices(letters, k=12)).split()) for _ in range(2))
        report = score({"u": ref}, {"u": hyp}, resamples=2)
        words, characters = jiwer.process_words(ref, hyp), jiwer.process_characters(ref, hyp)
        for ours, theirs in ((report.words, words), (report.characters, characters)):
            counted = Counts(theirs.hits, theirs.substitutions, theirs.deletions, theirs.insertions)
            assert ours == counted
        assert score({"u": ref}, {"u": hyp}, unit="char", resamples=2).counts == report.characters
        assert Counts.of(align_characters(ref, hyp)) == report.characters


def expand(choices):
    """All plain texts of a list of parts, each a list of alternatives: the oracle."""
    texts = [""]
    for part in choices:
        texts = [f"{text} {one}" for text in texts for one in part]
    return texts


def test_the_best_alternative_is_taken():
    generator = random.Random(7)
    for _ in range(100):
        choices = [[random_text(generator, most=2) for _ in range(generator.randint(1, 3))] for _ in range(4)]
        shown = [
            "{ " + " / ".join(one or "@" for one in part) + " }" if len(part) > 1 else part[0]
            for part in choices
        ]
        hyp = random_text(generator)
        best = min(edit_distance(text.split(), hyp.split()) for text in expand(choices))
        pairs = align_network(parse(" ".join(shown)), hyp.split(), LEVENSHTEIN)
        assert Counts.of(pairs).errors == best
        assert [pair.hyp for pair in pairs if pair.hyp] == hyp.split()
        assert " ".join(pair.ref for pair in pairs if pair.ref) in {
            " ".join(t.split()) for t in expand(choices)
        }


def test_a_forgiven_word_is_right_and_has_no_letters():
    report = score({"u": "a (bcd) e"}, {"u": "a e"}, marked=True)
    assert report.words == Counts(correct=3)
    assert report.characters == Counts(correct=3)
    assert [forgiven(pair) for pair in report.utterances["u"].alignment] == [False, True, False]
    said = score({"u": "a (bcd) e"}, {"u": "a bcd e"}, marked=True)
    assert (said.words, said.characters) == (Counts(correct=3), Counts(correct=7))


def test_marks_are_text_unless_asked_for():
    assert score({"u": "{ a / b }"}, {"u": "a"}).words.reference == 5
    assert is_marked("a (b)")
    assert not is_marked("a (b c) / @")


@pytest.mark.parametrize("text", ["{ a / b", "a }", "{ a }", "{ a / { b } }"], ids=str)
def test_broken_marks_are_refused(text):
    with pytest.raises(InputError, match=r"wanted \{ a / b \}"):
        parse(text)


def test_slashes_and_at_signs_outside_braces_are_words():
    pairs = align_network(parse("a / @ b/c"), ["a", "/", "@", "b/c"], SCLITE)
    assert Counts.of(pairs) == Counts(correct=4)
