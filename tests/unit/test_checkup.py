"""What the doctor says of a whole data set, and of a test set against training."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from s4speech.cli.main import app, main
from s4speech.data.checkup import DataSet, check, role_of
from s4speech.data.clip import POOLED, Clip, hear, hear_all
from s4speech.data.convert import convert
from s4speech.data.cuts import Utterance, make_cut, write_cuts
from s4speech.data.doctor import diagnose
from s4speech.data.leakage import Row, leakage
from s4speech.data.source import Part, read_source
from s4speech.data.transcripts import odd_characters, plain_text, rate_outliers, repeated_texts
from tests.data_sets import RATE, recording, segment_cuts, tone, whole_cuts


def cut(folder: Path, name: str, samples: np.ndarray, text: str | None = "a word", rate: int = RATE):
    return make_cut(Utterance(name, recording(folder, name, samples, rate), text=text, speaker=name[0]))


def found(cuts, **options) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for finding in diagnose(cuts, **options).findings:
        kinds.setdefault(finding.kind, []).append(finding.utterance)
    return kinds


# Audio


def test_audio_of_every_kind(tmp_path):
    cuts = [
        cut(tmp_path, "a-good", tone(0.5, 1)),
        cut(tmp_path, "a-dc", tone(0.5, 2) * 0.5 + 0.1),
        cut(tmp_path, "a-silent", np.zeros(RATE)),
        cut(tmp_path, "b-silent", np.zeros(RATE)),
        cut(tmp_path, "a-clipped", np.clip(tone(0.5, 3) * 5, -1, 1)),
        cut(tmp_path, "a-slow", tone(0.5, 4, 8000), rate=8000),
        cut(tmp_path, "a-again", tone(0.5, 1), text="another"),
        cut(tmp_path, "a-short", tone(0.05, 5)),
    ]
    assert found(cuts) == {
        "dc": ["a-dc"],
        "silent": ["a-silent", "b-silent"],
        "clipped": ["a-clipped"],
        "short": ["a-short"],
        "same_audio": ["a-again"],
        "sample_rate": ["a-slow"],
    }


def test_pieces_of_a_recording_are_heard_alone(tmp_path):
    samples = np.concatenate([tone(0.5, 1), np.zeros(RATE // 2), tone(0.5, 2)])
    whole = recording(tmp_path, "r", samples)
    cuts = [
        make_cut(Utterance(f"p{n}", whole, n / 2, n / 2 + 0.5, text=f"{n}", speaker="s")) for n in range(3)
    ]
    assert found(cuts) == {"silent": ["p1"]}
    soundfile.write(tmp_path / "r.wav", samples[: round(1.2 * RATE)], RATE)
    assert found(cuts) == {"silent": ["p1"], "truncated": ["p2"]}
    assert found(cuts, fast=True) == {"truncated": ["p2"]}


def test_the_same_audio_in_other_containers(tmp_path):
    one, two = cut(tmp_path, "a-1", tone(0.3)), cut(tmp_path, "a-2", tone(0.3))
    soundfile.write(tmp_path / "a-2.flac", tone(0.3), RATE)
    two.recording.sources[0].source = str(tmp_path / "a-2.flac")
    assert found([one, two]) == {"same_audio": ["a-2"]}


def test_audio_in_shards_is_heard_in_its_place(tmp_path):
    cuts = segment_cuts(tmp_path / "in")
    convert([Part("", "lhotse", tmp_path, cuts)], tmp_path / "out", "shar")
    [part] = read_source(tmp_path / "out")
    assert found(part.cuts) == found(cuts) == {"empty_text": ["b-2"], "short": ["b-1", "b-2"]}
    digests = [row.digest for row in diagnose(part.cuts).rows]
    assert digests == [row.digest for row in diagnose(cuts).rows] and len(set(digests)) == 4


def test_headers_tell_of_missing_and_cut_files(tmp_path):
    cuts = [cut(tmp_path, f"a-{n}", tone(0.5, n)) for n in range(3)]
    (tmp_path / "a-0.wav").unlink()
    soundfile.write(tmp_path / "a-1.wav", tone(0.2), RATE)
    assert found(cuts, fast=True) == {"unreadable": ["a-0"], "truncated": ["a-1"]}


def test_processes_hear_what_one_hears(tmp_path):
    paths = [tmp_path / f"{n}.wav" for n in range(3)]
    for n, path in enumerate(paths):
        soundfile.write(path, tone(0.2, n), RATE)
    clips = [Clip(str(paths[n % 3]), RATE, 3200) for n in range(POOLED + 7)]
    done: list[int] = []
    assert list(hear_all(clips, 2, done.append)) == [hear(clip) for clip in clips]
    assert sum(done) == len(clips)


# Texts


def test_characters_and_why_they_are_odd():
    texts = ["the quick brown fox" * 1500, "th\u0435 caf\u00e9 \u00a0 \u200b\ufffd \t 10\u20ac \u6f22"]
    odd = {one.character: (one.times, one.why) for one in odd_characters(texts)}
    assert odd == {
        "\u0435": (1, "cyrillic among latin"),
        "\u00e9": (1, "rare"),
        "\u00a0": (1, "another space"),
        "\u200b": (1, "invisible"),
        "\ufffd": (1, "stands for a lost character"),
        "\t": (1, "control"),
        "\u20ac": (1, "symbol"),
        "\u6f22": (1, "japanese among latin"),
        "0": (1, "rare"),
        "1": (1, "rare"),
        "a": (1, "rare"),
    }
    assert odd_characters(["e\u0301"], "e")[0].code == "U+0301 COMBINING ACUTE ACCENT"
    assert [one.character for one in odd_characters(["abba", "c"], "ab")] == ["c"]
    assert odd_characters(["THE FOX " * 500 + "the fox " * 500 + "Q" + "q" * 100]) == []


@pytest.mark.parametrize("text", ["DON'T  Stop-it!", "dont stop it", "Ｄｏｎ’t ｓｔｏｐ it."])
def test_texts_that_are_compared(text):
    assert plain_text(text) == "dont stop it"


def test_repeated_texts():
    plain = ["a", "b", "a", "", "", "", "b", "a"]
    assert repeated_texts(plain, 2) == [("a", [0, 2, 7]), ("b", [1, 6])]
    assert repeated_texts(plain, 3) == [("a", [0, 2, 7])]


def test_rates_that_nobody_speaks_at():
    rng = np.random.default_rng(0)
    seconds = rng.uniform(2, 10, 100)
    characters = np.round(seconds * rng.normal(14, 1.5, 100)).astype(int)
    assert rate_outliers(characters.tolist(), seconds.tolist()) == []
    characters[[3, 50]] = [round(seconds[3] * 60), 3]
    outliers = rate_outliers(characters.tolist(), seconds.tolist())
    assert [number for number, _, _ in outliers] == [3, 50]
    assert outliers[0][1:] == pytest.approx((60, 14), rel=0.1)
    assert rate_outliers([1] * 19, [1.0] * 18 + [9.0]) == []


# Leakage


def test_what_is_in_training_and_in_test():
    train = [
        Row("t1", "f", "s1", "one", "aa"),
        Row("t2", "f", "s2", "two", "bb"),
        Row("t3", "f", "s2", "two", ""),
    ]
    test = [
        Row("t1", "g", "s9", "other", "x"),
        Row("e2", "g", "s2", "two", "y"),
        Row("e3", "g", "s2", "", "bb"),
        Row("e4", "g", None, "new", ""),
    ]
    told = [(one.utterance, one.kind, one.fatal) for one in leakage(train, test, "dev")]
    assert told == [
        ("t1", "leaked_id", True),
        ("e2", "leaked_text", False),
        ("e3", "leaked_audio", False),
        ("s2", "leaked_speaker", False),
    ]
    assert "2 times" in leakage(train, test, "dev")[1].problem
    assert leakage(train, [], "dev") == leakage([], test, "dev") == []


def test_roles(tmp_path):
    assert [role_of(name) for name in ("train-clean-5", "dev-4spk", "test", "all", "")] == [
        "train",
        "test",
        "test",
        "",
        "",
    ]
    cuts = whole_cuts(tmp_path)
    sets = [
        DataSet(Part(name, "lhotse", tmp_path, cuts[:2]), role_of(name)) for name in ("train", "dev", "all")
    ]
    checked = check(sets)
    assert list(checked.leaks) == [1]
    assert {finding.kind for finding in checked.leaks[1]} >= {"leaked_id", "leaked_text", "leaked_audio"}


# The command


def doctor(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments)], env={"COLUMNS": "100"})
    return result.exit_code, result.output


def data_set(folder: Path, cuts) -> Path:
    path = folder / "cuts.jsonl.gz"
    write_cuts(cuts, path)
    return path


def test_a_clean_set(tmp_path):
    path = data_set(tmp_path, whole_cuts(tmp_path)[:2])
    code, output = doctor(path, "--min-s", 0.1)
    assert code == 0 and "nothing found; all audio was decoded" in output
    assert doctor(path, "--fast")[1].endswith("nothing found; only headers were read\n")


def test_warnings_are_0_and_errors_1(tmp_path):
    cuts = [cut(tmp_path, "a-1", tone(0.5, 1)), cut(tmp_path, "a-2", np.zeros(RATE))]
    assert doctor(data_set(tmp_path, cuts))[0] == 0
    assert doctor(data_set(tmp_path, cuts), "--strict")[0] == 1
    assert doctor(data_set(tmp_path, cuts), "--alphabet", "awor d")[0] == 0
    code, output = doctor(data_set(tmp_path, cuts), "--alphabet", "awo d")
    assert code == 1 and "U+0072 LATIN SMALL LETTER R" in output


def test_files_hold_all_of_it(tmp_path):
    cuts = whole_cuts(tmp_path)
    path = data_set(tmp_path, cuts)
    code, output = doctor(
        "--train", path, "--test", path, "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"
    )
    assert code == 1 and "of the tests, what is also in training" in output
    told = json.loads((tmp_path / "a.json").read_text())
    assert [one["utterances"] for one in told["sets"]] == [4, 4]
    assert told["sets"][0]["duration_s"]["max"] == 0.6 and sum(told["sets"][0]["duration_s"]["counts"]) == 4
    assert told["leakage"] == [
        {"set": told["sets"][1]["name"], "utterances": 4, "leaked_id": 4, "leaked_audio": 4, "leaked_text": 3,
         "leaked_speaker": 2}
    ]  # fmt: skip
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == [one["kind"] for one in told["findings"]]
    assert {row["fatal"] for row in rows if row["kind"] == "empty_text"} == {"True"}


def test_noise_has_no_texts(tmp_path):
    whole_cuts(tmp_path / "noise")
    code, output = doctor(tmp_path / "noise")
    assert code == 0 and "audio" in output and "empty" not in output


def test_a_changed_shard_is_found(tmp_path):
    cuts = whole_cuts(tmp_path / "in")[:2]
    convert([Part("", "lhotse", tmp_path, cuts)], tmp_path / "out", "shar")
    assert doctor(tmp_path / "out")[0] == 0
    path = tmp_path / "out" / "recording.000000.tar"
    data = bytearray(path.read_bytes())
    data[2000] ^= 4
    path.write_bytes(data)
    code, output = doctor(tmp_path / "out")
    assert code == 1 and "checksum" in output


@pytest.mark.parametrize(
    "arguments",
    [["doctor"], ["doctor", "nowhere"], ["doctor", ".", "--min-s", "nan"], ["doctor", ".", "--from", "tar"],
     ["convert", "nowhere", "out", "--to", "kaldi"], ["convert", ".", "out", "--to", "tar"],
     ["convert", ".", "out", "--to", "shar", "--audio", "copy"],
     ["convert", ".", "out", "--to", "nemo", "--jobs", "2"]],
    ids=["nothing", "nowhere", "nan", "format", "source", "to", "audio", "jobs"],
)  # fmt: skip
def test_bad_input_is_one_line_and_2(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.startswith("s4speech: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_convert_and_doctor_as_commands(tmp_path, tiny_corpus):
    arguments = [
        str(tiny_corpus),
        str(tmp_path / "out"),
        "--to",
        "shar",
        "--part",
        "dev-tiny",
        "--shard-size",
        "4",
    ]
    result = CliRunner().invoke(app, ["convert", *arguments])
    assert result.exit_code == 0 and "10 utterances" in result.output
    assert len(list((tmp_path / "out" / "dev-tiny").glob("*.tar"))) == 3
    assert doctor(tmp_path / "out", "--repeated", 0)[0] == 0
