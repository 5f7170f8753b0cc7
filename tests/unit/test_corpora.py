"""Reading a corpus in its published layout."""

from pathlib import Path

import pytest
import soundfile
from lhotse import CutSet

from s4speech.data.corpora import CORPORA, Corpus, check_librispeech, find_corpus, read_corpus
from s4speech.data.problems import raise_problems
from tests.conftest import message
from tests.e2e.corpus import PARTS, UTTERANCES, make_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "LibriSpeech", ["dev-tiny", "test-tiny"])


def test_one_cut_an_utterance_with_its_text_and_speaker(tiny_corpus):
    parts = read_corpus("librispeech", tiny_corpus, list(PARTS))
    assert list(parts) == list(PARTS)
    for part, cuts in parts.items():
        texts = {}
        for path in (tiny_corpus / part).rglob("*.trans.txt"):
            texts |= dict(line.split(" ", 1) for line in path.read_text().splitlines())
        assert {cut.id: cut.supervisions[0].text for cut in cuts} == texts
        assert len(texts) == len(PARTS[part]) * UTTERANCES[part]
        for cut in cuts:
            path = Path(cut.recording.sources[0].source)
            assert path.stem == cut.id
            assert cut.supervisions[0].speaker == path.parts[-3] == cut.id.split("-")[0]
            assert cut.duration == soundfile.info(path).duration
            assert (cut.supervisions[0].start, cut.supervisions[0].duration) == (0, cut.duration)


def test_the_order_does_not_depend_on_the_threads(corpus):
    first, second = (read_corpus("librispeech", corpus, ["dev-tiny"])["dev-tiny"] for _ in range(2))
    ids = [cut.id for cut in first]
    assert ids == sorted(ids) == [cut.id for cut in second]


def test_nothing_is_printed(corpus, capfd):
    read_corpus("librispeech", corpus, ["dev-tiny"])
    assert capfd.readouterr() == ("", "")


def test_names_and_folders(corpus):
    assert all(name in message(lambda: read_corpus("ted", corpus, [])) for name in ("'ted'", *CORPORA))
    assert str(corpus / "no") in message(lambda: read_corpus("librispeech", corpus / "no", []))
    told = message(lambda: read_corpus("librispeech", corpus, ["train-clean-100"]))
    assert "'train-clean-100'" in told and "dev-tiny, test-tiny" in told
    (corpus / "empty").mkdir()
    assert str(corpus / "empty") in message(lambda: read_corpus("librispeech", corpus, ["empty"]))


def test_a_corpus_whose_parts_are_no_folders(tmp_path, monkeypatch):
    monkeypatch.setitem(CORPORA, "lists", Corpus(lambda root, parts: {part: CutSet([]) for part in parts}))
    assert list(read_corpus("lists", tmp_path, ["train", "test"])) == ["train", "test"]
    assert find_corpus("lists").paths(tmp_path, ["train"]) == [tmp_path]
    assert find_corpus("librispeech").paths(tmp_path, ["a", "b"]) == [tmp_path / "a", tmp_path / "b"]


def test_several_problems_are_one_line(corpus):
    part = corpus / "dev-tiny"
    for speaker in ("5", "6"):
        (part / speaker / "1" / f"{speaker}-1-0000.flac").unlink()
    (part / "6" / "1" / "6-1-0001.flac").write_bytes(b"")
    told = message(lambda: check_librispeech(part))
    assert "5-1-0000" in told and "(and 2 more)" in told


@pytest.mark.parametrize(
    ("line", "said"),
    [("5-1-0000", "empty transcript"), ("5-1-0000   ", "empty transcript"), ("", "empty line")],
)
def test_a_transcript_without_words(corpus, line, said):
    path = corpus / "dev-tiny" / "5" / "1" / "5-1.trans.txt"
    path.write_text("\n".join([path.read_text().splitlines()[1], line]) + "\n")
    told = message(lambda: check_librispeech(path.parents[2]))
    assert f"{path}:2: " in told and said in told


def test_a_file_that_is_no_audio_is_named(corpus):
    path = corpus / "dev-tiny" / "5" / "1" / "5-1-0003.flac"
    path.write_bytes(b"fLaC" + bytes(100))
    assert str(path) in message(lambda: read_corpus("librispeech", corpus, ["dev-tiny"]))


def test_no_problem_is_no_error():
    raise_problems([], "do nothing")
