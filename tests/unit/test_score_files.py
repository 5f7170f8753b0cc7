"""TRN, CTM, STM, Kaldi text and plain lines: what is read, written, refused, and what goes with what."""

from pathlib import Path

import pytest

from s4speech.errors import InputError
from s4speech.metrics.error_rate import score
from s4speech.metrics.texts import detect, read_texts
from s4speech.metrics.timed import TimedWord, cut, read_ctm, read_stm, write_ctm
from s4speech.metrics.trn import read_trn, speaker_of, write_trn


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


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("x.trn", "anything", "trn"),
        ("x.stm", "anything", "stm"),
        ("x.ctm", "anything", "ctm"),
        ("x.txt", "a b (s-1)\n;; comment\n(s-2)\n", "trn"),
        ("x.txt", "rec A 0.10 0.2 yes 0.9\nrec A 1 0.2 no\n", "ctm"),
        ("x.txt", "rec 1 spk 0.0 2.5 <o,m> yes no\nrec 1 spk 2.5 3.5\n", "stm"),
        ("text", "s1-1 yes no\ns1-2\n", "kaldi"),
        ("x.txt", "yes no\nyes\n", "lines"),
        ("x.txt", "one 1\ntwo 2\n", "lines"),
        ("x.txt", "u1 yes\nu1 no\n", "lines"),
    ],
    ids=str,
)
def test_formats_are_told(tmp_path, name, text, kind):
    assert detect(write(tmp_path / name, text)) == kind


def test_kaldi_against_trn(tmp_path):
    ref = write(tmp_path / "text", "s1-1 yes  no\ns1-2\ns2-1 a\n")
    hyp = write(tmp_path / "hyp.trn", "yes (s1-1)\nb (s1-2)\na (s2-1)\n")
    texts = read_texts(ref, [hyp, ref])
    assert texts.refs == {"s1-1": "yes no", "s1-2": "", "s2-1": "a"}
    assert texts.systems[0]["s1-2"] == "b"
    assert texts.systems[1] == texts.refs
    assert texts.speakers == {"s1-1": "s1", "s1-2": "s1", "s2-1": "s2"}
    assert list(texts.formats) == ["kaldi", "trn", "kaldi"]


def test_plain_lines_keep_their_places(tmp_path):
    ref, hyp = write(tmp_path / "r", "a b\n\nc\n"), write(tmp_path / "h", "a b\n\nd\n")
    texts = read_texts(ref, [hyp])
    assert list(texts.refs.values()) == ["a b", "", "c"]
    assert list(texts.systems[0].values()) == ["a b", "", "d"]
    assert texts.speakers is None


def test_ids_that_are_their_own_speakers_tell_none(tmp_path):
    ref = write(tmp_path / "r.trn", "a (u1)\nb (u2)\n")
    assert read_texts(ref, [ref]).speakers is None


STM = """;; LABEL "O" "All" "All"
rec a ann 0.0 1.0 <o> one { um / uh / @ } two
rec a bob 1.5 2.5 three (four)
rec a ann 2.5 3.0 IGNORE_TIME_SEGMENT_IN_SCORING
rec a ann 3.0 4.0 five
rec b ann 0.0 9.0 six
"""
CTM = """rec A 0.2 0.2 one 0.9
rec A 0.9 0.3 two
rec A 1.3 0.1 early
rec A 1.6 0.2 three
rec A 2.6 0.2 noise
rec A 3.9 0.2 five
rec A 7.0 0.2 late
"""


def test_words_go_to_the_segment_that_ends_after_their_middle(tmp_path):
    """Where sclite puts them: `two` has its middle at 1.05 s; what is in a gap is the next segment's."""
    refs, hyps, speakers = cut(
        read_stm(write(tmp_path / "r.stm", STM)), read_ctm(write(tmp_path / "h.ctm", CTM)), "h.ctm"
    )
    assert hyps == {"ann-000": "one", "bob-000": "two early three", "ann-001": "five late", "ann-002": ""}
    assert refs["ann-000"] == "one { um / uh / @ } two"
    assert refs["ann-002"] == "six"
    assert set(speakers.values()) == {"ann", "bob"}
    texts = read_texts(tmp_path / "r.stm", [tmp_path / "h.ctm"])
    assert texts.marked
    assert texts.refs == refs


def test_ctm_with_ctm_and_with_ids(tmp_path):
    ctm = write(tmp_path / "h.ctm", "u1 1 0.5 0.1 b\nu1 1 0.1 0.1 a\nu2 A 0 1 c\nu2 B 0 1 d\n")
    assert read_texts(ctm, [ctm]).refs == {"u1": "a b", "u2-A": "c", "u2-B": "d"}
    ref = write(tmp_path / "r.trn", "a (u1)\nc (u2-A)\nd (u2-B)\n")
    assert read_texts(ref, [ctm]).systems[0]["u1"] == "a b"
    # a recording in which nothing was heard has no line; but a CTM of other recordings is a mistake
    more = write(tmp_path / "more.trn", "a (u1)\nc (u2-A)\nd (u2-B)\ne f (u3)\n")
    found = read_texts(more, [ctm])
    assert found.systems[0]["u3"] == "" and score(found.refs, found.systems[0]).words.deletions == 2
    other = write(tmp_path / "other.trn", "a (x1)\n")
    assert read_texts(other, [ctm]).systems[0].keys() == {"u1", "u2-A", "u2-B"}


def test_ctm_round_trip(tmp_path):
    words = [TimedWord("b", "1", 0.5, 0.25, "yes", 0.5), TimedWord("a", "1", 2.0, 0.125, "über")]
    write_ctm(tmp_path / "x.ctm", words)
    assert (tmp_path / "x.ctm").read_text("utf-8") == "a 1 2.000 0.125 über\nb 1 0.500 0.250 yes 0.5000\n"
    assert read_ctm(tmp_path / "x.ctm") == words[::-1]
    with pytest.raises(InputError, match="the word 'a b' cannot stand in CTM"):
        write_ctm(tmp_path / "x.ctm", [TimedWord("a", "1", 0, 1, "a b")])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("h.ctm", "rec A 0.1 word\n", r"h\.ctm:1: got 4 fields"),
        ("h.ctm", "rec A 0.1 0.2 w\nrec A x 0.2 word\n", r"h\.ctm:2: got 'x' for a time"),
        ("h.ctm", "rec A -1 0.2 word\n", r"h\.ctm:1: got the time -1"),
        ("h.ctm", "rec A nan 0.2 word\n", r"h\.ctm:1: got 'nan' for a time"),
        ("h.ctm", "rec A 1 0.2 word high\n", r"h\.ctm:1: got 'high' for a confidence"),
        ("h.ctm", "rec A * * <ALT_BEGIN>\n", r"h\.ctm:1: got '<ALT_BEGIN>', alternatives"),
        ("h.ctm", "other A 0.1 0.2 word\n", r"recording 'other' channel 'A' is not in the reference"),
        ("h.trn", "a (u)\n", "got TRN against STM"),
    ],
    ids=str,
)
def test_a_bad_hypothesis_for_stm_names_file_and_line(tmp_path, name, text, message):
    ref = write(tmp_path / "r.stm", STM)
    with pytest.raises(InputError, match=message):
        read_texts(ref, [write(tmp_path / name, text)])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.stm", "rec A spk 0.1\n", r"r\.stm:1: got 4 fields"),
        ("r.stm", "rec A spk 2 1 word\n", r"r\.stm:1: the segment ends at 1 s, before its start 2 s"),
        ("r.stm", ";; nothing\n", "no segments"),
        ("r.stm", "rec A spk 0 1 { a\n", r"r\.stm: utterance 'spk-000': '{ a': a '{' without its '}'"),
        ("r.trn", "a } (u)\n", r"r\.trn: utterance 'u': 'a }': a '}' without its '{'"),
        ("r.trn", "{ a } (u)\n", "braces with one alternative"),
        ("text", "u1 a\nu1 b\n", r"text:2: the id 'u1' came before"),
        ("r.txt", "a\nb\n", "got 1 lines, .* has 2"),
        ("empty", "", "no lines"),
        ("no", None, "no: cannot read"),
    ],
    ids=str,
)
def test_a_bad_reference_names_file_and_line(tmp_path, name, text, message):
    hyps = {"r.stm": ("h.ctm", "rec A 0 1 w\n"), "r.trn": ("h.trn", "a (u)\n")}
    hyp, said = hyps.get(name, ("h.txt", "a\n"))
    if text is not None:
        write(tmp_path / name, text)
    with pytest.raises(InputError, match=message):
        read_texts(tmp_path / name, [write(tmp_path / hyp, said)], "kaldi" if name == "text" else None)


def test_alternatives_in_a_hypothesis_are_refused(tmp_path):
    ref = write(tmp_path / "r.trn", "{ a / b } (u)\n")
    with pytest.raises(InputError, match=r"h\.trn: utterance 'u' has alternatives"):
        read_texts(ref, [write(tmp_path / "h.trn", "{ a / b } (u)\n")])
