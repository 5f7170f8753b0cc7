"""Formats of data: what goes out comes back, nothing is run, nothing is written elsewhere."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
import soundfile
from lhotse import CutSet

from s4speech.data import source
from s4speech.data.convert import convert, safe_name
from s4speech.data.cuts import Utterance, make_cut, read_cuts
from s4speech.data.shar import changed_shards, checksums_path, read_shar
from s4speech.data.source import Part, find_format, read_source
from tests.conftest import message
from tests.data_sets import facts, recording, segment_cuts, tone, whole_cuts

TARGETS = ("kaldi", "nemo", "lhotse", "shar")


def part_of(cuts, name="", format="lhotse"):
    return Part(name, format, Path("here"), cuts)


def back(folder: Path, format: str) -> list:
    [part] = read_source(folder)
    assert (part.format, part.findings) == (format, [])
    return part.cuts


@pytest.mark.parametrize("audio", ["reference", "copy", "link"])
@pytest.mark.parametrize("cuts", [whole_cuts, segment_cuts], ids=["whole", "segments"])
@pytest.mark.parametrize("to", TARGETS)
def test_there_and_back(tmp_path, to, cuts, audio):
    made = cuts(tmp_path / "in")
    convert([part_of(made)], tmp_path / "out", to, audio=audio, shard_size=3)
    there = back(tmp_path / "out", to)
    assert facts(there) == facts(made)
    if to != "shar":  # whose recordings are the utterances
        assert [round(c.start * c.sampling_rate) for c in sorted(there, key=lambda c: c.id)] == [
            round(c.start * c.sampling_rate) for c in made
        ]
    if audio == "copy" or to == "shar":
        for file in (tmp_path / "in").iterdir():
            file.unlink()
        assert facts(back(tmp_path / "out", to)).keys() == facts(there).keys()
    if to != "shar" or cuts is whole_cuts:
        return
    convert([part_of(there)], tmp_path / "again", "lhotse", audio="copy")
    assert facts(back(tmp_path / "again", "lhotse")) == facts(there)


@pytest.mark.parametrize("first", TARGETS)
@pytest.mark.parametrize("second", TARGETS)
def test_every_format_from_every_other(tmp_path, first, second):
    made = segment_cuts(tmp_path / "in")
    convert([part_of(made)], tmp_path / "1", first, audio="copy")
    convert([part_of(back(tmp_path / "1", first))], tmp_path / "2", second, audio="copy")
    convert([part_of(back(tmp_path / "2", second))], tmp_path / "3", first, audio="copy")
    assert facts(back(tmp_path / "3", first)) == facts(made)


def test_a_kaldi_directory_is_as_kaldi_wants_it(tmp_path):
    convert([part_of(segment_cuts(tmp_path / "in"))], tmp_path / "out", "kaldi")
    said = {path.name: path.read_text().splitlines() for path in (tmp_path / "out").iterdir()}
    assert said["utt2spk"] == ["a-1 a", "a-2 a", "b-1 b", "b-2 b"]
    assert said["spk2utt"] == ["a a-1 a-2", "b b-1 b-2"]
    assert said["wav.scp"][0] == f"x_1 flac -c -d -s {tmp_path / 'in' / 'x_1.flac'} |"
    assert said["segments"][1] == "a-2 x_1 0.2799773 0.6805215"
    assert said["reco2dur"] == ["x_1 1", "x_2 1"]
    assert said["text"][3] == "b-2"
    assert said.keys() == {"wav.scp", "segments", "text", "utt2spk", "spk2utt", "reco2dur", "utt2dur"}


def test_a_nemo_manifest_of_copies_can_be_moved(tmp_path):
    made = whole_cuts(tmp_path / "in")
    convert([part_of(made)], tmp_path / "out", "nemo", audio="copy")
    rows = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "id": "a-1", "audio_filepath": "audio/a-1.wav", "duration": 0.3, "text": "one two", "speaker": "a"
    }  # fmt: skip
    (tmp_path / "out").rename(tmp_path / "moved")
    assert facts(back(tmp_path / "moved", "nemo")) == facts(made)


def test_lhotse_itself_reads_the_shards(tmp_path):
    made = whole_cuts(tmp_path / "in")
    convert([part_of(made)], tmp_path / "out", "shar", shard_size=3)
    assert facts(CutSet.from_shar(in_dir=tmp_path / "out")) == facts(made)
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[:2] == [
        "cuts.000000.jsonl.gz", "cuts.000001.jsonl.gz"
    ]  # fmt: skip


def test_shards_in_several_processes_are_the_same(tmp_path):
    made = whole_cuts(tmp_path / "in")
    for jobs in (1, 2):
        convert([part_of(made)], tmp_path / f"{jobs}", "shar", shard_size=2, jobs=jobs)
    assert facts(read_shar(tmp_path / "1")) == facts(read_shar(tmp_path / "2"))


def test_checksums_are_of_sha256sum_and_find_a_change(tmp_path):
    convert([part_of(whole_cuts(tmp_path / "in"))], tmp_path / "out", "shar")
    assert changed_shards(tmp_path / "out") == []
    sums = checksums_path(tmp_path / "out")
    command = ["sha256sum", "--quiet", "-c", sums.name]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    path = tmp_path / "out" / "recording.000000.tar"
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    assert changed_shards(tmp_path / "out") == [path]
    path.unlink()
    assert changed_shards(tmp_path / "out") == [path]


def test_parts_are_folders(tmp_path):
    one, two = whole_cuts(tmp_path / "in")[:2], whole_cuts(tmp_path / "in")[2:]
    parts = [part_of(one, "train"), part_of(two, "test")]
    for to in TARGETS:
        convert(parts, tmp_path / to, to)
        read = read_source(tmp_path / to)
        assert {part.name: facts(part.cuts) for part in read} == {"train": facts(one), "test": facts(two)}
        assert [part.name for part in read_source(tmp_path / to, ["test"])] == ["test"]
        assert "parts there: test, train" in message(lambda to=to: read_source(tmp_path / to, ["dev"]))


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path):
    made = whole_cuts(tmp_path / "in")
    convert([part_of(made)], tmp_path / "out", "lhotse")
    assert str(tmp_path / "out") in message(lambda: convert([part_of(made)], tmp_path / "out", "lhotse"))
    made[3].id = "not an id"
    told = message(lambda: convert([part_of(made)], tmp_path / "kaldi", "kaldi", audio="copy"))
    assert "'not an id'" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


HOSTILE = (
    "../../up",
    "/etc/passwd",
    "..",
    ".",
    ".hidden",
    "a/b\\c",
    "%2e%2e",
    "nul\0nul",
    "漢" * 90,
    "-rf",
    " ",
)


def test_names_of_files_stay_in_their_folder_and_apart():
    names = [safe_name(one) for one in HOSTILE]
    assert len(set(names)) == len(names)
    for name in names:
        assert (
            "/" not in name and not name.startswith(".") and len(name.encode()) <= 200 and name.isprintable()
        )


@pytest.mark.parametrize("to", ["nemo", "lhotse"])
def test_hostile_ids_stay_in_the_folder(tmp_path, to):
    made = whole_cuts(tmp_path / "in")
    for cut, name in zip(made, HOSTILE, strict=False):
        cut.id = cut.supervisions[0].id = cut.recording.id = name
    (tmp_path / "deep" / "er").mkdir(parents=True)
    convert([part_of(made)], tmp_path / "deep" / "er" / "out", to, audio="copy")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["er"]
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["out"]
    assert facts(back(tmp_path / "deep" / "er" / "out", to)) == facts(made)


@pytest.mark.parametrize("name", ["../up", "/abs", "a/../b", "./x", "nul\0", "a//b"])
def test_ids_that_no_shard_can_hold(tmp_path, name):
    made = whole_cuts(tmp_path / "in")[:1]
    made[0].id = name
    assert repr(name) in message(lambda: convert([part_of(made)], tmp_path / "out", "shar"))
    assert not (tmp_path / "out").exists()


def test_audio_that_only_lhotse_can_say(tmp_path):
    stereo = recording(tmp_path / "in", "s", tone(0.2).reshape(-1, 2))
    cuts = [make_cut(Utterance("s-1", stereo, channel=1, text="x", speaker="s"))]
    assert "--audio copy" in message(lambda: convert([part_of(cuts)], tmp_path / "no", "nemo"))
    convert([part_of(cuts)], tmp_path / "out", "nemo", audio="copy")
    [there] = back(tmp_path / "out", "nemo")
    assert (there.load_audio() == cuts[0].load_audio()).all()
    slower = [cut.resample(8000) for cut in whole_cuts(tmp_path / "in")[:1]]
    convert([part_of(slower)], tmp_path / "kaldi", "kaldi", audio="copy")
    [there] = back(tmp_path / "kaldi", "kaldi")
    assert (there.sampling_rate, there.num_samples) == (8000, 2400)


def test_two_recordings_of_one_id(tmp_path):
    made = whole_cuts(tmp_path / "in")[:2]
    made[1].recording.id = made[0].recording.id
    told = message(lambda: convert([part_of(made)], tmp_path / "out", "lhotse", audio="copy"))
    assert "two recordings" in told and not (tmp_path / "out").exists()


def test_shards_that_are_damaged(tmp_path):
    convert([part_of(whole_cuts(tmp_path / "in"))], tmp_path / "out", "shar")
    tar = tmp_path / "out" / "recording.000000.tar"
    data = tar.read_bytes()
    for cut in (0, 300, 5000, len(data) // 2):
        tar.write_bytes(data[:cut])
        assert str(tar) in message(lambda: read_shar(tmp_path / "out"))
    tar.unlink()
    assert "000000" in message(lambda: read_shar(tmp_path / "out"))
    with tarfile.open(tar, "w") as file:
        link = tarfile.TarInfo("a-1.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        file.addfile(tarfile.TarInfo("a-1.json"))
    assert "a-1.flac" in message(lambda: read_shar(tmp_path / "out"))


def test_formats_are_found(tmp_path, tiny_corpus):
    made = whole_cuts(tmp_path / "audio")
    assert find_format(tmp_path / "audio") == (tmp_path / "audio", "audio")
    assert {part.name for part in read_source(tiny_corpus)} == {"train-tiny", "dev-tiny", "test-tiny"}
    [part] = read_source(tiny_corpus / "dev-tiny")
    assert (part.name, part.format, len(part.cuts)) == ("dev-tiny", "librispeech", 10)
    [part] = read_source(tmp_path / "audio")
    assert [(cut.id, cut.supervisions) for cut in part.cuts] == [(cut.id, []) for cut in made]
    assert str(tmp_path / "none") in message(lambda: read_source(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "nothing here" in message(lambda: read_source(tmp_path / "empty"))
    assert "'tar'" in message(lambda: read_source(tmp_path / "audio", (), "tar"))
    assert "nothing here that is kaldi" in message(lambda: read_source(tmp_path / "audio", (), "kaldi"))


def test_a_broken_file_in_a_folder_of_audio_is_a_finding(tmp_path):
    whole_cuts(tmp_path / "audio")
    (tmp_path / "audio" / "bad.wav").write_bytes(b"no")
    soundfile.write(tmp_path / "audio" / "none.wav", tone(0), 16000)
    [part] = read_source(tmp_path / "audio")
    assert [finding.utterance for finding in part.findings] == ["bad", "none"]
    assert "bad" in message(lambda: convert([part], tmp_path / "out", "lhotse"))


@pytest.mark.parametrize("to", TARGETS)
def test_a_recipe_reads_it_by_part(tmp_path, to):
    from s4speech.data.corpora import find_corpus, read_corpus

    made = whole_cuts(tmp_path / "in")
    convert([part_of(made, "train"), part_of(made[:1], "test")], tmp_path / "data", to)
    sets = read_corpus(to, tmp_path / "data", ["train", "test"])
    assert {name: facts(list(cuts)) for name, cuts in sets.items()} == {
        "train": facts(made),
        "test": facts(made[:1]),
    }
    assert all(path.exists() for path in find_corpus(to).paths(tmp_path / "data", ["train", "test"]))
    told = message(lambda: read_corpus(to, tmp_path / "data", ["dev"]))
    assert "'dev'" in told and "train" in told


def test_manifests_beside_each_other_are_parts(tmp_path):
    convert([part_of(whole_cuts(tmp_path / "in"))], tmp_path / "out", "lhotse")
    (tmp_path / "all").mkdir()
    for name in ("train", "test"):
        (tmp_path / "all" / f"{name}.jsonl.gz").write_bytes((tmp_path / "out" / "cuts.jsonl.gz").read_bytes())
    (tmp_path / "all" / "other.json").write_text('{\n"a": 1\n}\n')
    assert [part.name for part in read_source(tmp_path / "all")] == ["test", "train"]
    assert source.part_path(tmp_path / "all", "train") == tmp_path / "all" / "train.jsonl.gz"
    assert len(read_cuts(tmp_path / "all" / "train.jsonl.gz")) == 4
