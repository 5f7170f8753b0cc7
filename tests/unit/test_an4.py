"""AN4 in its published layout, and as a subset of it; SPHERE files without sph2pipe."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import Recording
from numpy.typing import NDArray

from s4speech.data.corpora import read_corpus
from tests.conftest import message
from tests.sphere import write_sphere

RATE = 16000
TRAIN = ["<s> ENTER SIX </s> (an1-fash-b)", "<s> M </s> (cen2-mgah-b)", "<s> YES  NO </s> (an3-fash-b)"]
TEST = ["GO (an5-fcaw-b)", "TEN (an6-mjwl-b)"]  # without tags, as published


def samples(number: int) -> NDArray[np.int16]:
    time = np.arange(RATE // 2 + number) / RATE
    return (8000 * np.sin(2 * np.pi * (300 + 50 * number) * time)).astype(np.int16)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "an4"
    (root / "etc").mkdir(parents=True)
    number = 0
    for part, lines in (("train", TRAIN), ("test", TEST)):
        (root / "etc" / f"an4_{part}.transcription").write_text("\n".join(lines) + "\n")
        for line in lines:
            name = line.rpartition("(")[2][:-1]
            folder = root / "wav" / ("an4_clstk" if part == "train" else "an4test_clstk") / name.split("-")[1]
            folder.mkdir(parents=True, exist_ok=True)
            write_sphere(folder / f"{name}.sph", samples(number), RATE)
            number += 1
    return root


def test_the_published_layout(corpus, capfd):
    parts = read_corpus("an4", corpus, ["train", "test"])
    told = {
        part: {cut.id: (cut.supervisions[0].text, cut.supervisions[0].speaker) for cut in cuts}
        for part, cuts in parts.items()
    }
    assert told == {
        "train": {
            "an1-fash-b": ("ENTER SIX", "fash"),
            "an3-fash-b": ("YES NO", "fash"),
            "cen2-mgah-b": ("M", "mgah"),
        },
        "test": {"an5-fcaw-b": ("GO", "fcaw"), "an6-mjwl-b": ("TEN", "mjwl")},
    }
    assert all([cut.id for cut in cuts] == sorted(cut.id for cut in cuts) for cuts in parts.values())
    cut = parts["train"]["cen2-mgah-b"]
    assert (cut.sampling_rate, cut.num_samples) == (RATE, len(samples(1)))
    assert np.array_equal((cut.load_audio()[0] * 2**15).round(), samples(1))
    assert cut.resample(8000).load_audio().shape == (1, cut.num_samples // 2 + 1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_sphere_file_in_either_order_of_bytes(tmp_path, order):
    write_sphere(tmp_path / "a.sph", samples(3), RATE, order)
    audio = Recording.from_file(tmp_path / "a.sph").load_audio(offset=0.1, duration=0.2)
    assert np.array_equal((audio[0] * 2**15).round(), samples(3)[1600:4800])


def test_a_compressed_one_is_left_to_sph2pipe(corpus):
    path = corpus / "wav" / "an4_clstk" / "fash" / "an1-fash-b.sph"
    path.write_bytes(path.read_bytes().replace(b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00", 1))
    told = message(lambda: read_corpus("an4", corpus, ["train"]))
    assert str(path) in told and "an4_train.transcription:1: " in told


@pytest.mark.parametrize("header", [True, False], ids=["with column names", "without"])
def test_a_subset_in_one_folder(tmp_path, header):
    root = tmp_path / "an4"
    (root / "wav").mkdir(parents=True)
    rows = [("an2-b-b", "b", "NO", "train"), ("an1-a-b", "a", "YES", "train"), ("an3-c-b", "c", "GO", "test")]
    for number, (name, *_) in enumerate(rows):
        soundfile.write(root / "wav" / f"{name}.flac", samples(number), RATE)
    texts = ["path\tspeaker\ttext"] * header + [f"wav/{n}.flac\t{s}\t{t}" for n, s, t, _ in rows]
    (root / "transcripts.tsv").write_text("\n".join(texts) + "\n")
    (root / "split.tsv").write_text("".join(f"wav/{n}.flac\t{p}\n" for n, _, _, p in rows))
    parts = read_corpus("an4", root, ["train", "test"])
    assert {part: [cut.id for cut in cuts] for part, cuts in parts.items()} == {
        "train": ["an1-a-b", "an2-b-b"],
        "test": ["an3-c-b"],
    }
    [cut] = parts["test"]
    assert (cut.supervisions[0].text, cut.supervisions[0].speaker, cut.num_samples) == ("GO", "c", 8002)
    assert list(read_corpus("an4", root, ["test"])) == ["test"]
    (root / "split.tsv").write_text("wav/an1-a-b.flac\ttrain\n")
    told = message(lambda: read_corpus("an4", root, ["train"]))
    assert "utterance 1: wav/an2-b-b.flac has no line in split.tsv (and 1 more)" in told
    (root / "transcripts.tsv").write_text("wav/an1-a-b.flac YES\n")
    assert "transcripts.tsv: got ['wav/an1-a-b.flac YES']" in message(
        lambda: read_corpus("an4", root, ["train"])
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("<s> YES </s> an1-fash-b", "wanted <s> TEXT </s> (NUMBER-SPEAKER-b)"),
        ("<s> YES </s> (an1fashb)", "wanted <s> TEXT"),
        ("<s> </s> (an9-fash-b)", "an9-fash-b has an empty transcript"),
        ("<s> YES </s> (an9-fash-b)", "an9-fash-b has no audio file"),
        ("<s> YES </s> (an1-fash-b)", "an1-fash-b is there twice"),
        ("<s> YES </s> (an1-../../x-b)", "has no audio file"),
    ],
)
def test_a_bad_line_is_named(corpus, line, said):
    path = corpus / "etc" / "an4_train.transcription"
    path.write_text("\n".join([*TRAIN, line]))
    told = message(lambda: read_corpus("an4", corpus, ["train"]))
    assert f"{path}:4: " in told and said in told


def test_what_is_no_an4(corpus, tmp_path):
    assert "'dev': wanted one of: train, test" in message(lambda: read_corpus("an4", corpus, ["dev"]))
    (tmp_path / "none").mkdir()
    assert "neither etc/" in message(lambda: read_corpus("an4", tmp_path / "none", ["train"]))
    (corpus / "etc" / "an4_test.transcription").unlink()
    assert "an4_test.transcription: cannot be read" in message(lambda: read_corpus("an4", corpus, ["test"]))
    path = corpus / "wav" / "an4_clstk" / "mgah" / "cen2-mgah-b.sph"
    for content in (b"", b"no audio"):
        path.write_bytes(content)
        assert str(path) in message(lambda: read_corpus("an4", corpus, ["train"]))
