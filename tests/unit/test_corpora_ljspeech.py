"""LJSpeech's layout: what is read, and that each bad line is named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from s4speech.data.corpora import check_ljspeech, read_corpus
from tests.conftest import message

LINES = [
    "LJ001-0002|in being 1 of 2,|in being one of two,",
    'LJ001-0001|"Printing," he said|"Printing," he said',
    "LJ002-0001|Café – crème|Café – crème",
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "LJSpeech-1.1"
    (root / "wavs").mkdir(parents=True)
    for i, line in enumerate(LINES):
        name = line.split("|")[0]
        soundfile.write(root / "wavs" / f"{name}.wav", np.zeros(8000 + i), 22050, subtype="PCM_16")
    write(root, LINES)
    return root


def write(root: Path, lines: list[str]) -> None:
    (root / "metadata.csv").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def test_one_cut_a_line_with_its_normalised_text(corpus, capfd):
    [(part, cuts)] = read_corpus("ljspeech", corpus, ["all"]).items()
    assert part == "all" and [cut.id for cut in cuts] == ["LJ001-0001", "LJ001-0002", "LJ002-0001"]
    for cut in cuts:
        [line] = [line for line in LINES if line.startswith(cut.id)]
        assert cut.supervisions[0].text == line.split("|")[2]
        assert Path(cut.recording.sources[0].source) == corpus / "wavs" / f"{cut.id}.wav"
        assert cut.num_samples == soundfile.info(corpus / "wavs" / f"{cut.id}.wav").frames
        assert cut.sampling_rate == 22050
    assert capfd.readouterr() == ("", "")


def test_the_order_of_the_lines_does_not_matter(corpus):
    first = [cut.id for cut in read_corpus("ljspeech", corpus, ["all"])["all"]]
    write(corpus, LINES[::-1])
    assert [cut.id for cut in read_corpus("ljspeech", corpus, ["all"])["all"]] == first


@pytest.mark.parametrize(
    "line, said",
    [
        ("LJ003-0001|only one text", "got 2 fields, wanted ID|TEXT|NORMALISED TEXT"),
        ("LJ003-0001|one|two|three", "got 4 fields"),
        ("", "got 1 fields"),
        ("|a|a", "wanted ID|TEXT"),
        ("LJ003-0001|text|", "LJ003-0001 has an empty text"),
        ("LJ003-0001|text|   ", "LJ003-0001 has an empty text"),
        ("LJ001-0001|again|again", "LJ001-0001 is there twice"),
        ("LJ003-0001|a|a", "LJ003-0001 has no audio file"),
        ("../metadata|a|a", "has no audio file"),
    ],
)
def test_a_bad_line_is_named(corpus, line, said):
    write(corpus, [*LINES, line])
    told = message(lambda: read_corpus("ljspeech", corpus, ["all"]))
    assert f"{corpus / 'metadata.csv'}:4: " in told and said in told


@pytest.mark.parametrize("content", [b"", b"RIFF" + bytes(100), b"no audio at all"])
def test_a_file_that_is_no_audio_is_named_with_its_line(corpus, content):
    path = corpus / "wavs" / "LJ001-0001.wav"
    path.write_bytes(content)
    told = message(lambda: check_ljspeech(corpus))
    assert f"{corpus / 'metadata.csv'}:2: " in told and str(path) in told


def test_several_problems_are_one_line(corpus):
    write(corpus, ["x", *LINES, "y", "z"])
    told = message(lambda: check_ljspeech(corpus))
    assert ":1: " in told and "(and 2 more)" in told


def test_a_corpus_without_its_list(corpus):
    write(corpus, [])
    assert "metadata.csv: empty" in message(lambda: check_ljspeech(corpus))
    (corpus / "metadata.csv").write_bytes(b"LJ001-0001|caf\xe9|caf\xe9\n")
    assert "cannot be read as UTF-8" in message(lambda: check_ljspeech(corpus))
    (corpus / "metadata.csv").unlink()
    assert "metadata.csv: cannot be read" in message(lambda: check_ljspeech(corpus))
    assert str(corpus / "no") in message(lambda: read_corpus("ljspeech", corpus / "no", ["all"]))
