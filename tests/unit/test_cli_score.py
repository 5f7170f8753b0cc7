"""`s4speech score`: what it prints, writes and refuses."""

import json

import pytest

from s4speech.cli.main import main
from s4speech.metrics.error_rate import score
from s4speech.metrics.report import format_report
from tests.conftest import one_line

REF = "THE CAT SAT (s1-1)\nA DOG (s1-2)\nYES (s2-1)\nNO (s2-2)\n"
HYP = "THE CAT SAT (s1-1)\nA LOG (s1-2)\n(s2-1)\nOH NO (s2-2)\n"
TABLE = """
            rate %  95 % interval        ref     corr     sub     del     ins
WER          42.86  10.00 - 100.00         7        5       1       1       1
CER          33.33  6.25 - 120.00         21       17       1       3       3
sentences    75.00  3 of 4 have an error

speaker          WER %  95 % interval     utts   words    sub    del    ins
s2              100.00  100.00 - 100.00      2       2      0      1      1
s1               20.00  0.00 - 50.00         2       5      1      0      0

words in ref     WER %  95 % interval     utts   words    sub    del    ins
1-5              42.86  10.00 - 100.00       4       7      1      1      1

substitutions (ref -> hyp)             deletions            insertions
    1  DOG -> LOG                          1  YES               1  OH
"""
COMPARED = """
         this %  other %  difference  95 % interval       relative
WER       42.86     0.00      +42.86  +10.00 to +100.00        - %
MAPSSWE: 3 segments, z 0.00, p 1.0000: segments too few or too even for the test
fewer than 50 segments: z and p are rough
utterances: 0 better here, 3 better there, 1 equal

  largest losses                            this other words
  s1-2                                         1     0     2
  s2-1                                         1     0     1
  s2-2                                         1     0     1
"""


@pytest.fixture
def files(tmp_path):
    for name, text in (("ref.trn", REF), ("hyp.trn", HYP), ("same.trn", REF)):
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in ("ref.trn", "hyp.trn", "same.trn")]


@pytest.fixture
def run(capfd):
    def command(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["score", *map(str, arguments)])
        captured = capfd.readouterr()
        return caught.value.code, captured.out, captured.err

    return command


def test_the_whole_table(run, files):
    ref, hyp, same = files
    code, out, error = run(ref, hyp, "--compare", same, "--by", "speaker", "--by", "length")
    assert (code, error) == (0, "")
    head = f"ref  {ref} (TRN, 4 utterances, 2 speakers)\nhyp  {hyp} (TRN)\n"
    assert out == f"{head}{TABLE}\nthis against {same} (TRN){COMPARED}"


def test_without_breakdowns(run, files):
    code, out, _ = run(*files[:2], "--confusions", 0)
    assert code == 0
    assert out.count("\n") == 7


def test_json_is_what_the_library_says(run, files):
    ref, hyp, same = files
    plain = json.loads(run(ref, hyp, "--compare", same, "--json")[1])
    assert plain["words"] == {"correct": 5, "substitutions": 1, "deletions": 1, "insertions": 1}
    assert plain["confusions"]["substitutions"] == [["DOG", "LOG", 1]]
    assert plain["lengths"]["1-5"]["utterances"] == 4
    compared = plain["compared"]
    assert compared["mapsswe"] == {"segments": 3, "difference": 3 / 7, "z": 0.0, "p": 1.0}
    assert (compared["wins"], compared["losses"]) == (0, 3)
    assert compared["relative"] is None  # of no errors at all; nan is not JSON


def test_characters(run, files):
    plain = json.loads(run(*files[:2], "--unit", "char", "--json")[1])
    assert plain["unit"] == "char"
    assert plain["confusions"]["substitutions"] == [["D", "L", 1]]
    assert plain["speakers"]["s1"]["correct"] == 15
    assert "chars in ref     CER %" in run(*files[:2], "--unit", "char", "--by", "length")[1]


def test_a_page_with_both_systems(run, files, tmp_path):
    ref, hyp, same = files
    assert run(ref, hyp, "--compare", same, "--html", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert '"systems":["hyp","same"]' in page
    assert '["DOG","LOG"]' in page


def test_case_matters_unless_asked(run, files):
    ref, hyp, _ = files
    hyp.write_text(REF.lower())
    assert json.loads(run(ref, hyp, "--json")[1])["wer"] == 1
    for option in ("--ignore-case", "--sclite"):
        assert json.loads(run(ref, hyp, "--json", option)[1])["wer"] == 0


def test_intervals_by_speaker(run, files):
    ref, hyp, same = files
    options = ("--compare", same, "--resample", "speaker", "--json")
    plain = json.loads(run(ref, hyp, *options)[1])
    assert plain["wer_interval_95"] == [0.2, 1.0]  # s1 drawn twice, s2 drawn twice
    assert plain["compared"]["interval_95"] == [0.2, 1.0]


def test_stm_with_ctm(run, tmp_path):
    (tmp_path / "r.stm").write_text("a 1 ann 0 1 one { um / @ } two\na 1 bob 1 2 (uh) three\n")
    (tmp_path / "h.ctm").write_text("a 1 0.1 0.1 one 0.9\na 1 0.5 0.1 too 0.5\na 1 1.2 0.1 three 1.0\n")
    code, out, _ = run(tmp_path / "r.stm", tmp_path / "h.ctm", "--alignment", tmp_path / "a.txt")
    assert code == 0
    assert "(STM, 2 utterances)" in out
    assert "WER          25.00" in out  # one two uh three: the optional word is right
    assert "REF:  (uh) three" in (tmp_path / "a.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ref.trn", "h.ctm"], "no hypothesis"),
        (["ref.trn", "lines"], "got plain lines against TRN"),
        (["ref.trn", "hyp.trn", "--format", "stm"], "got STM against STM"),
        (["marks.trn", "hyp.trn", "--normalize"], "--normalize would take"),
        (["ref.trn", "hyp.trn", "--confusions", "-1"], "confusions"),
        (["ref.trn", "hyp.trn", "--by", "colour"], "colour"),
    ],
    ids=["other-ids", "lines", "stm", "marks", "negative", "choice"],
)
def test_what_cannot_be_scored_is_one_line(run, files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.ctm").write_text("rec 1 0 1 word\n")
    (tmp_path / "lines").write_text("a b\nc d\n")
    (tmp_path / "marks.trn").write_text(REF.replace("CAT", "{ CAT / RAT }"))
    code, out, error = run(*arguments)
    assert (code, out) == (2, "")
    assert one_line(error)
    assert message in error


def test_a_report_of_the_library_is_the_same_table():
    refs = {"s1-1": "THE CAT SAT", "s1-2": "A DOG", "s2-1": "YES", "s2-2": "NO"}
    hyps = {"s1-1": "THE CAT SAT", "s1-2": "A LOG", "s2-1": "", "s2-2": "OH NO"}
    report = score(refs, hyps, {utterance: utterance[:2] for utterance in refs})
    assert format_report(report, by=["speaker", "length"]) == TABLE.lstrip("\n")
