"""Transcripts as files."""

import itertools
import json
from functools import partial

import pytest

from s4speech.cli.formats import as_dict, as_json, document, render
from s4speech.metrics.timed import read_ctm
from s4speech.streaming.transcript import Segment, Transcript, Word


def segment(text, start, end):
    parts = text.split()
    step = (end - start) / len(parts)
    words = tuple(Word(p, start + i * step, start + (i + 1) * step, 0.9) for i, p in enumerate(parts))
    return Segment(text, start, end, words)


def transcript(*segments):
    words = tuple(word for one in segments for word in one.words)
    return Transcript(" ".join(one.text for one in segments), segments, words, 4000.0)


def as_format(extension, transcript, max_line_width=None):
    return render(transcript, extension, "talk", max_line_width=max_line_width)


as_txt, as_vtt, as_srt, as_tsv = (partial(as_format, extension) for extension in ("txt", "vtt", "srt", "tsv"))

TWO = transcript(segment("HELLO WORLD", 0.5, 1.5), segment("GOOD BYE", 3661.0, 3662.2504))
EMPTY = transcript()


def test_txt():
    assert as_txt(TWO) == "HELLO WORLD\nGOOD BYE\n"
    assert as_txt(EMPTY) == ""


def test_srt_always_has_hours_and_a_comma():
    assert as_srt(TWO) == (
        "1\n00:00:00,500 --> 00:00:01,500\nHELLO WORLD\n\n2\n01:01:01,000 --> 01:01:02,250\nGOOD BYE\n\n"
    )


def test_vtt_has_a_dot_and_hours_when_needed():
    assert as_vtt(TWO) == (
        "WEBVTT\n\n00:00.500 --> 00:01.500\nHELLO WORLD\n\n01:01:01.000 --> 01:01:02.250\nGOOD BYE\n\n"
    )
    assert as_vtt(EMPTY) == "WEBVTT\n\n"


def test_tsv_is_in_whole_milliseconds_and_keeps_its_columns():
    assert as_tsv(TWO) == "start\tend\ttext\n500\t1500\tHELLO WORLD\n3661000\t3662250\tGOOD BYE\n"
    assert as_tsv(transcript(segment("A\tB", 0, 1))).splitlines()[1] == "0\t1000\tA B"


def test_the_arrow_cannot_end_a_cue_header():
    arrow = transcript(segment("A --> B", 0, 1))
    assert as_srt(arrow).count("-->") == 1
    assert as_vtt(arrow).splitlines()[3] == "A --&gt; B"
    assert as_vtt(transcript(segment("R&D <b>", 0, 1))).splitlines()[3] == "R&amp;D &lt;b&gt;"


def test_a_blank_line_cannot_end_a_cue():
    assert "A B\n\n" in as_srt(transcript(segment("A\n\nB", 0, 1)))


def test_rounding_carries_into_the_next_unit():
    assert "00:01:00,000 --> 01:00:00,000" in as_srt(transcript(segment("A", 59.9996, 3599.9999)))


def test_json_has_words_only_when_asked():
    plain = as_dict(TWO)
    assert plain["text"] == "HELLO WORLD GOOD BYE"
    assert plain["duration"] == 4000.0
    assert plain["segments"][0] == {"id": 0, "start": 0.5, "end": 1.5, "text": "HELLO WORLD"}
    words = json.loads(as_json(TWO, word_timestamps=True))["segments"][0]["words"]
    assert words[0] == {"word": "HELLO", "start": 0.5, "end": 1.0, "probability": 0.9}


def test_json_keeps_other_scripts_readable():
    assert "こんにちは" in as_json(transcript(segment("こんにちは", 0, 1)))


@pytest.mark.parametrize("width", [1, 5, 11, 20])
def test_max_line_width(width):
    long = transcript(segment("ONE TWO THREE FOUR FIVE SIX SEVEN", 0, 7))
    lines = as_txt(long, width).splitlines()
    assert " ".join(lines) == long.text
    assert all(len(line) <= width or " " not in line for line in lines)
    rows = [line.split("\t") for line in as_tsv(long, width).splitlines()[1:]]
    assert [row[2] for row in rows] == lines
    assert all(int(one[1]) <= int(two[0]) for one, two in itertools.pairwise(rows))


def test_ctm_is_what_score_reads(tmp_path):
    text = render(TWO, "ctm", "a talk/one")
    assert text.splitlines()[:2] == [
        "a_talk/one 1 0.500 0.500 HELLO 0.9000",
        "a_talk/one 1 1.000 0.500 WORLD 0.9000",
    ]
    (tmp_path / "hyp.ctm").write_text(text)
    assert [(one.word, one.start_s) for one in read_ctm(tmp_path / "hyp.ctm")] == [
        (word.text, round(word.start_s, 3)) for word in TWO.words
    ]
    assert render(EMPTY, "ctm", "talk") == ""


@pytest.mark.parametrize("extension", ["txt", "vtt", "srt", "tsv", "ctm"])
def test_a_file_that_grows_is_the_same_file(extension):
    growing = document(extension, "talk", max_line_width=8)
    whole = growing.begin() + "".join(growing.add(one) for one in TWO.segments) + growing.end(4000.0)
    assert whole == render(TWO, extension, "talk", max_line_width=8)


@pytest.mark.parametrize("some", [EMPTY, TWO])
def test_json_that_grows_says_the_same(some):
    growing = document("json", "talk", word_timestamps=True)
    whole = growing.begin() + "".join(growing.add(one) for one in some.segments) + growing.end(4000.0)
    assert json.loads(whole) == as_dict(some, word_timestamps=True)
    assert render(some, "json", "talk") == as_json(some)
