"""Error rates, intervals, breakdowns and the listing."""

import json
import math
import random
import subprocess
import sys

import numpy as np
import pytest

from s4speech.errors import InputError
from s4speech.metrics.alignment import align, align_characters, listing
from s4speech.metrics.error_rate import Counts, length_class, score
from s4speech.metrics.interval import bootstrap_rate
from s4speech.metrics.report import format_report, report_as_dict


def edit_distance(ref, hyp):
    """The textbook table (Wagner & Fischer 1974), as the oracle."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(hyp) + 1)] for i in range(len(ref) + 1)]
    for i in range(1, len(ref) + 1):
        for j in range(1, len(hyp) + 1):
            table[i][j] = min(
                table[i - 1][j] + 1,
                table[i][j - 1] + 1,
                table[i - 1][j - 1] + (ref[i - 1] != hyp[j - 1]),
            )
    return table[-1][-1]


def random_text(generator, words="AB CD EF GHI", most=8):
    return " ".join(generator.choices(words.split(), k=generator.randint(0, most)))


def test_counts_equal_the_textbook_edit_distance():
    generator = random.Random(0)
    for _ in range(300):
        ref, hyp = random_text(generator), random_text(generator)
        one = score({"u": ref}, {"u": hyp}, resamples=2).utterances["u"]
        assert one.words.errors == edit_distance(ref.split(), hyp.split())
        assert one.characters.errors == edit_distance(ref, hyp)
        assert one.words.reference == len(ref.split())
        assert one.characters.reference == len(ref)
        assert [p.ref for p in one.alignment if p.mark != "I"] == ref.split()
        assert [p.hyp for p in one.alignment if p.mark != "D"] == hyp.split()


def test_a_report_by_hand():
    report = score(
        {"s1-a": "THE CAT SAT", "s2-b": "A DOG", "s2-c": "YES"},
        {"s1-a": "THE CAT SAT", "s2-b": "ON A LOG", "s2-c": ""},
        {"s1-a": "s1", "s2-b": "s2", "s2-c": "s2"},
    )
    assert report.words == Counts(correct=4, substitutions=1, deletions=1, insertions=1)
    assert report.wer == 3 / 6
    assert (report.sentences, report.sentences_wrong) == (3, 2)
    assert list(report.speakers) == ["s2", "s1"]
    assert report.speakers["s2"].counts.rate == 1.0
    assert report.speakers["s2"].utterances == 2
    assert math.isnan(report.speakers["s1"].interval[0])
    assert {name: group.utterances for name, group in report.lengths.items()} == {"1-5": 3}
    assert report.confusions == (("", "ON", 1), ("DOG", "LOG", 1), ("YES", "", 1))
    text = format_report(report)
    assert "WER          50.00" in text
    assert "    1  DOG -> LOG                          1  YES               1  ON\n" in text
    assert json.loads(json.dumps(report_as_dict(report)))["words"]["insertions"] == 1


def test_characters_as_the_unit():
    report = score({"a": "AB C", "b": "XY"}, {"a": "AD C", "b": "XYZ"}, unit="char")
    assert report.counts == report.characters == Counts(5, 1, 0, 1)
    assert report.counts.rate == report.cer
    assert report.interval == report.cer_interval
    assert report.confusions == (("", "Z", 1), ("B", "D", 1))
    assert report.sentences_wrong == 2
    assert [pair.mark for pair in report.utterances["a"].alignment] == ["C", "S", "C", "C"]
    assert "CER %" in format_report(report, by=["length"])


def test_tables_fit_a_terminal(refs):
    speakers = {utterance: utterance.split("-")[0] for utterance in refs}
    text = format_report(score(refs, noisy(refs, 0.3, 8), speakers), by=["speaker", "length"])
    assert max(map(len, text.splitlines())) <= 80


def test_length_classes_double():
    shown = [length_class(length) for length in (0, 1, 5, 6, 10, 11, 20, 21, 40, 41, 81)]
    assert shown == ["0", *["1-5"] * 2, *["6-10"] * 2, *["11-20"] * 2, *["21-40"] * 2, "41-80", "81-160"]


def test_lengths_add_up_to_the_whole(refs):
    report = score(refs, noisy(refs, 0.3, 8))
    assert Counts.total(group.counts for group in report.lengths.values()) == report.words
    assert list(report.lengths) == ["1-5", "6-10", "11-20", "21-40"]


def test_empty_texts_on_either_side():
    assert score({"a": "X Y"}, {"a": ""}).wer == 1.0
    assert score({"a": ""}, {"a": ""}).wer == 0.0
    assert score({"a": "", "b": "X"}, {"a": "Z", "b": "X"}).wer == 1.0
    nothing = score({"a": ""}, {"a": "Z"})
    assert math.isinf(nothing.wer)
    assert math.isnan(nothing.wer_interval[0])


def test_spaces_around_words_do_not_count():
    assert score({"a": "X  Y "}, {"a": " X Y"}).cer == 0.0


@pytest.mark.parametrize(
    ("refs", "hyps", "message"),
    [
        ({"a": "X", "b": "Y"}, {"a": "X"}, "'b' has no hypothesis"),
        ({"a": "X"}, {"a": "X", "c": "Y"}, "'c' has no reference"),
        ({}, {}, "no reference"),
    ],
)
def test_an_id_on_one_side_only_is_named(refs, hyps, message):
    with pytest.raises(InputError, match=message):
        score(refs, hyps)


def test_an_utterance_without_a_speaker_is_named():
    with pytest.raises(InputError, match="'b' has no speaker"):
        score({"a": "X", "b": "Y"}, {"a": "X", "b": "Y"}, {"a": "s"})


def noisy(refs, rate, seed):
    generator = random.Random(seed)
    return {
        u: " ".join("BAD" if generator.random() < rate else word for word in text.split())
        for u, text in refs.items()
    }


@pytest.fixture(scope="module")
def refs():
    generator = random.Random(1)
    return {f"s{i % 4}-{i}": random_text(generator, most=20) + " END" for i in range(200)}


def test_the_interval_holds_the_rate_is_seeded_and_as_wide_as_theory_says(refs):
    report = score(refs, noisy(refs, 0.2, 2))
    low, high = report.wer_interval
    assert low < report.wer < high
    assert score(refs, noisy(refs, 0.2, 2)).wer_interval == (low, high)
    # The ratio estimator's standard error, from the residuals errors - rate * length.
    residuals = np.array(
        [o.words.errors - report.wer * o.words.reference for o in report.utterances.values()]
    )
    expected = 1.96 * residuals.std() * math.sqrt(len(residuals)) / report.words.reference
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)


def test_intervals_by_speaker_are_those_of_speakers_drawn_whole(refs):
    speakers = {utterance: utterance.split("-")[0] for utterance in refs}
    hyps = noisy(refs, 0.2, 2) | {u: "" for u in refs if u.startswith("s1")}
    by_utterance = score(refs, hyps, speakers)
    by_speaker = score(refs, hyps, speakers, resample="speaker")
    groups = [by_speaker.speakers[name].counts for name in ("s0", "s1", "s2", "s3")]
    expected = bootstrap_rate([one.errors for one in groups], [one.reference for one in groups])
    assert by_speaker.wer_interval == expected
    low, high = by_utterance.wer_interval
    assert expected[1] - expected[0] > 2 * (high - low)  # one bad speaker of four
    with pytest.raises(InputError, match="need the speakers"):
        score(refs, hyps, resample="speaker")


def test_listing_lines_up_its_rows():
    text = listing({"s-1": align("the cat sat", "the hat sat down"), "s-2": align("", "")})
    first, second = text.split("\n\n")
    rows = first.splitlines()
    assert rows[:2] == ["id: s-1", "scores: C=2 S=1 D=0 I=1"]
    assert rows[2] == "REF:  the CAT sat ****"
    assert rows[3] == "HYP:  the HAT sat DOWN"
    assert rows[4] == "EVAL:     S       I"
    assert second.startswith("id: s-2\nscores: C=0 S=0 D=0 I=0\nREF:\nHYP:\n")


def test_listing_of_characters_shows_spaces_and_wide_letters():
    rows = listing({"u": align_characters("猫 a", "犬 b")}).splitlines()
    assert rows[2:] == ["REF:  猫 ␣ A", "HYP:  犬 ␣ B", "EVAL: S    S"]


def test_metrics_imports_no_torch():
    code = "import sys, s4speech.metrics.html, s4speech.metrics.texts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
