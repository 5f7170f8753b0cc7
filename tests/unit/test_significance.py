"""MAPSSWE and the paired bootstrap: published values, hand-made segments, laws."""

import math
import random

import numpy as np
import pytest

from s4speech.errors import InputError
from s4speech.metrics.alignment import Pair
from s4speech.metrics.error_rate import score
from s4speech.metrics.report import comparison_as_dict, format_comparison
from s4speech.metrics.significance import compare, matched_pairs
from tests.unit.test_metrics import noisy, random_text


@pytest.fixture(scope="module")
def refs():
    generator = random.Random(1)
    return {f"s{i % 4}-{i}": random_text(generator, most=20) + " END" for i in range(200)}


def pairs(text):
    """Marks, each with its reference word: "Ca Sb I"."""
    return [Pair(t[0], t[1:], "" if t[0] == "D" else "x") for t in text.split()]


def test_the_published_example_of_sc_stats():
    """github.com/usnistgov/SCTK, src/sclite/testdata/base_sc_stats/test1a and test1b: 3 segments, Z 2.000."""
    words = "Cyeah Dhow Sdo Cwe Shandle Show Sdo Cwe C(ha-)"
    a = {"0": pairs("I"), "1": pairs(f"{words} Daddress Cthat I I")}
    b = {"0": [], "1": pairs(f"{words} Saddress Sthat")}
    found, turned = matched_pairs(a, b), matched_pairs(b, a)
    assert (found.segments, turned.segments) == (3, 3)
    assert found.z == pytest.approx(2.0)
    assert turned.z == pytest.approx(-2.0)
    assert found.p == turned.p == pytest.approx(0.0455, abs=1e-4)
    assert found.difference == pytest.approx(2 / 11)


@pytest.mark.parametrize(
    ("a", "b", "segments"),
    [
        ("Ca Cb Cc", "Ca Cb Cc", 0),
        ("Sa Cb Cc Sd", "Ca Cb Cc Cd", 2),  # two right words part them
        ("Sa Cb Sc", "Ca Cb Cc", 1),  # one does not
        ("Sa Cb Cc Sd", "Ca Sb Cc Cd", 1),  # both have to be right
        ("Sa Cb I Cc Sd", "Ca Cb Cc Cd", 1),  # and nothing inserted between
        ("Sa Cb Cc Sd", "Ca Cb I Cc Cd", 1),
        ("Ca Cb I", "Ca Cb", 1),
        ("Ca Cb", "Ca Cb I", 1),
        ("I Ca Cb Sc", "Ca Cb Cc", 2),
        ("I", "", 1),
        ("", "", 0),
    ],
    ids=str,
)
def test_where_segments_end(a, b, segments):
    assert matched_pairs({"u": pairs(a)}, {"u": pairs(b)}).segments == segments


def test_segments_do_not_cross_utterances():
    one = {"1": pairs("Sa"), "2": pairs("Sa")}
    assert matched_pairs(one, one).segments == 2


def test_z_against_the_formula():
    """One segment an utterance: its differences are 1, 0, 0, 0, of mean 1/4 and deviation 1/2, so z is 1."""
    a = {str(i): pairs("Sa") for i in range(4)}
    b = a | {"0": pairs("Ca")}
    found = matched_pairs(a, b)
    assert (found.segments, found.z) == (4, pytest.approx(1.0))
    assert found.p == pytest.approx(0.31731, abs=1e-5)
    assert found.difference == pytest.approx(0.25)


def test_turning_the_systems_turns_the_sign(refs):
    a, b = score(refs, noisy(refs, 0.3, 3)), score(refs, noisy(refs, 0.1, 4))
    found, turned = matched_pairs(a.alignments, b.alignments), matched_pairs(b.alignments, a.alignments)
    assert (turned.segments, turned.difference, turned.z, turned.p) == (
        found.segments, -found.difference, -found.z, found.p,
    )  # fmt: skip
    assert found.z > 5
    assert found.difference == pytest.approx(a.wer - b.wer)


def test_equal_systems_are_not_different(refs):
    a = score(refs, noisy(refs, 0.2, 5))
    same = matched_pairs(a.alignments, a.alignments)
    assert (same.difference, same.z, same.p) == (0.0, 0.0, 1.0)


def test_systems_of_one_error_rate_differ_as_often_as_p_says():
    """p is uniform when there is no difference: of 100 tries 5 are expected below 0.05."""
    generator = random.Random(0)

    def system():
        return {
            str(i): [Pair("CS"[generator.random() < 0.2], "x", "y") for _ in range(15)] for i in range(40)
        }

    found = [matched_pairs(system(), system()).p for _ in range(100)]
    assert 0.4 < np.mean(found) < 0.6
    assert sum(p < 0.05 for p in found) <= 12


def test_without_spread_nothing_is_said():
    a, b = {"1": pairs("Sa"), "2": pairs("Sa")}, {"1": pairs("Ca"), "2": pairs("Ca")}
    assert (matched_pairs(a, b).z, matched_pairs(a, b).p) == (0.0, 1.0)


def test_other_utterances_and_references_are_refused():
    one = {"a": pairs("Cx"), "b": pairs("Cy")}
    with pytest.raises(InputError, match="'b' has no second system"):
        matched_pairs(one, {"a": pairs("Cx")})
    with pytest.raises(InputError, match="'b' has another reference"):
        matched_pairs(one, {"a": pairs("Cx"), "b": pairs("Cz")})


def test_other_alternatives_are_part_of_a_segment():
    a, b = {"u": pairs("Ca Cum Cb Cc Sd")}, {"u": pairs("Ca Cuh Cb Cc Cd")}
    assert matched_pairs(a, b, marked=True).segments == 1  # what both have right is no segment
    b = {"u": pairs("Ca Suh Cb Cc Cd")}
    assert matched_pairs(a, b, marked=True).segments == 2


def test_the_interval_of_the_difference_is_paired(refs):
    """Two systems with nearly the same errors: their rates are unsure, their difference is not."""
    hyps = noisy(refs, 0.4, 5)
    changed = hyps | {u: refs[u] for u in list(refs)[:4]}
    a, b = score(refs, hyps), score(refs, changed)
    found = compare(a, b)
    low, high = found.interval
    assert low < found.difference == a.wer - b.wer < high
    assert high - low < (a.interval[1] - a.interval[0]) / 1.5
    assert compare(a, b) == found
    d = np.array([a.utterances[u].words.errors - b.utterances[u].words.errors for u in refs])
    n = np.array([a.utterances[u].words.reference for u in refs])
    deviation = (d - found.difference * n).std() * math.sqrt(len(d)) / n.sum()
    assert (high - low) / 2 == pytest.approx(1.96 * deviation, rel=0.15)


def test_a_comparison_by_hand():
    refs = {"s1-a": "A B", "s1-b": "C D", "s2-c": "E F"}
    a = score(refs, {"s1-a": "A X", "s1-b": "C D", "s2-c": "X X"}, {u: u[:2] for u in refs})
    b = score(refs, {"s1-a": "A B", "s1-b": "C X", "s2-c": "E F"}, {u: u[:2] for u in refs})
    found = compare(a, b)
    assert (found.wins, found.losses) == (1, 2)
    assert list(found.errors.items()) == [("s2-c", (2, 0)), ("s1-a", (1, 0)), ("s1-b", (0, 1))]
    assert found.difference == pytest.approx(2 / 6)
    assert found.relative == pytest.approx(2.0)
    text = format_comparison(found, a, b)
    assert max(map(len, text.splitlines())) <= 80
    assert "WER       50.00    16.67      +33.33" in text
    assert "+200.0 %" in text
    assert "1 better here, 2 better there, 0 equal" in text
    assert text.index("s2-c") < text.index("s1-a") < text.index("s1-b")
    assert comparison_as_dict(found)["mapsswe"]["segments"] == 3
    by_speaker = compare(a, b, resample="speaker")
    assert by_speaker.interval == (0.0, 1.0)  # s1 drawn twice: 0; s2 twice: 1


def test_reports_of_two_units_are_refused():
    one = {"u": "A"}
    with pytest.raises(InputError, match="got word and char errors"):
        compare(score(one, one), score(one, one, unit="char"))
    with pytest.raises(InputError, match="need the speakers"):
        compare(score(one, one), score(one, one), resample="speaker")
