"""Error rates, intervals, significance, listing and TRN files."""

import json
import math
import random
import subprocess
import sys

import numpy as np
import pytest

from s4speech.errors import InputError
from s4speech.metrics.alignment import align, listing, read_trn, speaker_of, write_trn
from s4speech.metrics.error_rate import Counts, matched_pairs, score
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
        one = score({"u": ref}, {"u": hyp}).utterances["u"]
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
    assert report.speakers["s2"].rate == 1.0
    assert report.confusions == (("", "ON", 1), ("DOG", "LOG", 1), ("YES", "", 1))
    text = format_report(report)
    assert "WER          50.00" in text
    assert "DOG -> LOG" in text
    assert json.loads(json.dumps(report_as_dict(report)))["words"]["insertions"] == 1


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


def test_matched_pairs_against_the_formula(refs):
    a, b = score(refs, noisy(refs, 0.3, 3)), score(refs, noisy(refs, 0.1, 4))
    result = matched_pairs(a, b)
    assert result.difference == pytest.approx(a.wer - b.wer)
    assert result.z > 5
    assert result.p < 1e-6
    d = np.array([a.utterances[u].words.errors - b.utterances[u].words.errors for u in refs])
    assert result.z == pytest.approx(d.mean() / (d.std(ddof=1) / math.sqrt(len(d))))
    other = matched_pairs(b, a)
    assert (other.difference, other.z, other.p) == (-result.difference, -result.z, result.p)


def test_matched_pairs_of_equal_systems_are_not_different(refs):
    same = matched_pairs(score(refs, noisy(refs, 0.2, 5)), score(refs, noisy(refs, 0.2, 5)))
    assert (same.difference, same.z, same.p) == (0.0, 0.0, 1.0)
    assert matched_pairs(score(refs, noisy(refs, 0.2, 6)), score(refs, noisy(refs, 0.2, 7))).p > 0.01


def test_matched_pairs_known_p():
    # z = 1.959964 is p = 0.05 in every table; d = (mean + s, mean - s, ...) gives any z wanted.
    refs = {str(i): "X" for i in range(4)}
    a, b = score(refs, dict.fromkeys(refs, "Y")), score(refs, {**dict.fromkeys(refs, "Y"), "0": "X"})
    result = matched_pairs(a, b)  # d = 1 0 0 0: mean 1/4, s = 1/2, z = 1
    assert result.z == pytest.approx(1.0)
    assert result.p == pytest.approx(0.31731, abs=1e-5)


def test_matched_pairs_refuses_other_utterances_and_references():
    one = score({"a": "X", "b": "Y"}, {"a": "X", "b": "Y"})
    with pytest.raises(InputError, match="'b' has no second report"):
        matched_pairs(one, score({"a": "X"}, {"a": "X"}))
    with pytest.raises(InputError, match="'b' has another reference"):
        matched_pairs(one, score({"a": "X", "b": "Z"}, {"a": "X", "b": "Z"}))
    with pytest.raises(InputError, match="at least 2"):
        matched_pairs(score({"a": "X"}, {"a": "X"}), score({"a": "X"}, {"a": "X"}))


def test_listing_lines_up_its_rows():
    text = listing({"s-1": align("the cat sat", "the hat sat down"), "s-2": align("", "")})
    first, second = text.split("\n\n")
    rows = first.splitlines()
    assert rows[:2] == ["id: s-1", "scores: C=2 S=1 D=0 I=1"]
    assert rows[2] == "REF:  the CAT sat ****"
    assert rows[3] == "HYP:  the HAT sat DOWN"
    assert rows[4] == "EVAL:     S       I"
    assert second.startswith("id: s-2\nscores: C=0 S=0 D=0 I=0\nREF:\nHYP:\n")


def test_trn_round_trip(tmp_path):
    texts = {"s1-1": "HELLO WORLD", "s1-2": "", "s2-1": "A (LAUGH) B", "s2-2": "KATZE ÜBER"}
    write_trn(tmp_path / "x.trn", texts)
    assert read_trn(tmp_path / "x.trn") == texts
    assert (tmp_path / "x.trn").read_text(encoding="utf-8").splitlines()[0] == "HELLO WORLD (s1-1)"
    assert [p.name for p in tmp_path.iterdir()] == ["x.trn"]
    assert speaker_of("s1-1") == "s1"
    assert speaker_of("alone") == "alone"


def test_trn_skips_comments_and_blank_lines_and_takes_crlf(tmp_path):
    (tmp_path / "x.trn").write_bytes(b";; made by hand\r\n\r\nA  B (s-1)\r\n(s-2)\r\n")
    assert read_trn(tmp_path / "x.trn") == {"s-1": "A B", "s-2": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A (s-1)\nB\n", r":2: no id at the end, got 'B'"),
        (b"A (s-1)\nB (s-1)\n", r":2: the id 's-1' came before"),
        (b"", "no utterances"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_bad_trn_names_file_and_line(tmp_path, content, message):
    (tmp_path / "x.trn").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_trn(tmp_path / "x.trn")
    assert "x.trn" in str(caught.value)


def test_trn_missing_file_and_impossible_id(tmp_path):
    with pytest.raises(InputError, match=r"no\.trn: cannot read"):
        read_trn(tmp_path / "no.trn")
    with pytest.raises(InputError, match="cannot stand in TRN"):
        write_trn(tmp_path / "x.trn", {"a b": "X"})


def test_metrics_imports_no_torch():
    code = "import sys, s4speech.metrics.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
