"""Manifests that others wrote: every fault is one line with file and line, and nothing in them is run."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s4speech.data.cuts import read_cuts
from s4speech.data.kaldi import Entry, parse_entry, read_kaldi
from s4speech.data.lines import MAX_LINE_BYTES, json_lines, text_lines
from s4speech.data.nemo import read_nemo
from tests.conftest import message
from tests.data_sets import RATE, tone, whole_cuts


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def wav(path: Path, seconds: float = 0.5, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tone(seconds * channels).reshape(-1, channels)
    soundfile.write(path, samples, RATE)
    return path


# Lines


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("suffix", ["", ".gz"], ids=["text", "gzip"])
def test_lines_are_the_same_however_they_are_saved(tmp_path, end, mark, suffix):
    content = mark + f"one{end}zwei \u2028ö{end}three".encode()
    path = write(tmp_path / f"lines{suffix}", gzip.compress(content) if suffix else content)
    assert list(text_lines(path)) == [(1, "one"), (2, "zwei \u2028ö"), (3, "three")]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"good\n\xff\xfea\x00\n", 2, "NUL"),
        (b"good\ngood\nb\xe4d\n", 3, "not UTF-8"),
        (b"a" * (MAX_LINE_BYTES + 1), 1, "16 MiB"),
    ],
    ids=["utf-16", "latin-1", "huge"],
)
def test_bytes_that_are_no_text(tmp_path, content, line, said):
    path = write(tmp_path / "text", content)
    told = message(lambda: list(text_lines(path)))
    assert told.startswith(f"{path}:{line}: ") and said in told
    assert f"{path}.gz:{line}: " in message(
        lambda: list(text_lines(write(Path(f"{path}.gz"), gzip.compress(content))))
    )


def test_gzip_that_is_none_or_cut(tmp_path):
    data = gzip.compress(b"line\n" * 1000)
    for content in (b"plain", data[:-20], data[:30] + b"xxxx" + data[34:]):
        assert "damaged gzip" in message(lambda c=content: list(text_lines(write(tmp_path / "a.gz", c))))
    assert str(tmp_path / "none") in message(lambda: list(text_lines(tmp_path / "none")))
    assert str(tmp_path) in message(lambda: list(text_lines(tmp_path)))


@pytest.mark.parametrize(
    "line", ["{", "[1]", "1", '{"a": NaN}', '{"a": "\\ud800"}', "[" * 100_000, "{'a': 1}"],
    ids=["open", "list", "number", "nan", "surrogate", "deep", "python"],
)  # fmt: skip
def test_lines_that_are_no_json_object(tmp_path, line):
    path = write(tmp_path / "a.jsonl", '{"good": 1}\n\n' + line + "\n")
    assert message(lambda: list(json_lines(path))).startswith(f"{path}:3: ")


# Kaldi


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("/a/b c.wav", Entry("/a/b c.wav")),
        ("cat x.wav |", Entry("x.wav")),
        ("flac -c -d -s 'a b.flac' |", Entry("a b.flac")),
        ("/usr/bin/flac -cds a.flac|", Entry("a.flac")),
        ("sph2pipe -f wav -p -c 2 s.sph |", Entry("s.sph", 1)),
        ("sox a.mp3 -t wav - |", Entry("a.mp3")),
        ("ffmpeg -threads 1 -i a.flac -ar 8000 -map_channel 0.0.0  -f wav -threads 1 pipe:1 |",
         Entry("a.flac", None, 8000)),
    ],
    ids=["path", "cat", "flac", "flac-path", "sph2pipe", "sox", "lhotse-ffmpeg"],
)  # fmt: skip
def test_pipes_that_decode_one_file(text, entry):
    assert parse_entry(text, "wav.scp:1") == entry


@pytest.mark.parametrize(
    "text",
    [
        "touch {0} |", "cat a.wav; touch {0} |", "cat a.wav | touch {0} |", "cat $(touch {0}) b |", "|", " |",
        "cat a.wav b.wav |", "cat -n a.wav |", "flac -c a.flac |", "flac -t -d a.flac |",
        "sox a.wav -t wav - speed 2 |", "sox -r 8k a.wav -t wav - |", "sph2pipe -f raw a.sph |",
        "ffmpeg -i a.wav -af volume=2 -f wav - |", "ffmpeg -i a.wav -f wav {0} |",
        "wget -O - http://host/a.wav |", "cat 'a.wav |", "data.ark:1234", "-", "cat - |", "",
    ],
)  # fmt: skip
def test_pipes_that_do_more_are_refused_and_never_run(tmp_path, text):
    made = tmp_path / "made"
    folder = write(tmp_path / "data" / "wav.scp", f"u1 {text.format(made)}\n").parent
    told = message(lambda: read_kaldi(folder))
    assert told.startswith(f"{folder / 'wav.scp'}:1: ") and not made.exists()


def kaldi(folder: Path, **files: str) -> Path:
    wav(folder / "a.wav")
    wav(folder / "b.wav", channels=2)
    scp = f"a {folder / 'a.wav'}\nb sph2pipe -f wav -c 2 {folder / 'b.wav'} |\n"
    for name, content in ({"wav.scp": scp, "text": "a x  y\nb\n", "utt2spk": "a s\nb s\n"} | files).items():
        write(folder / name, content)
    return folder


def test_a_kaldi_directory(tmp_path):
    cuts, findings = read_kaldi(kaldi(tmp_path, spk2gender="s f\n"))
    assert findings == []
    assert [(c.id, c.supervisions[0].text, c.supervisions[0].speaker, c.channel) for c in cuts] == [
        ("a", "x  y", "s", 0), ("b", "", "s", 1)
    ]  # fmt: skip
    assert cuts[0].supervisions[0].gender == "f"
    both, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    assert np.array_equal(cuts[1].load_audio()[0], both[:, 1])


def test_segments_of_a_kaldi_directory(tmp_path):
    lines = "a-1 a 0.1 0.2\na-2 a 0.2 -1\na-3 a 0 0.52\n"
    folder = kaldi(tmp_path, segments=lines, text="a-1 x\na-2 y\na-3 z\n", utt2spk="a-1 s\na-2 s\na-3 s\n")
    cuts, findings = read_kaldi(folder)
    assert findings == []
    assert [(cut.start, cut.num_samples) for cut in cuts] == [(0.1, 1600), (0.2, 4800), (0, 8000)]


def test_audio_that_is_not_there_is_a_finding(tmp_path):
    folder = kaldi(tmp_path, text="a x\nb y\nc z\n", **{"wav.scp": f"a {tmp_path / 'a.wav'}\nb no.wav\n"})
    cuts, findings = read_kaldi(folder)
    assert [cut.id for cut in cuts] == ["a"]
    assert [(one.utterance, one.fatal) for one in findings] == [("b", True), ("c", True)]
    assert "no such file" in findings[0].problem and findings[0].where == f"{folder / 'wav.scp'}:2"


def test_a_path_that_no_file_system_has(tmp_path):
    _, [finding] = read_kaldi(write(tmp_path / "wav.scp", f"a {'9' * 5000}\n").parent)
    assert finding.utterance == "a" and "too long" in finding.problem


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"text": "a x\n\n"}, "text:2"),
        ({"text": "a x\na y\n"}, "text:2"),
        ({"segments": "a-1 a 0\n"}, "segments:1"),
        ({"segments": "a-1 a zero 1\n"}, "segments:1"),
        ({"segments": "a-1 a nan 1\n"}, "segments:1"),
        ({"segments": "a-1 nowhere 0 1\n"}, "segments:1"),
    ],
    ids=["empty", "twice", "short", "words", "nan", "unknown"],
)
def test_lines_that_kaldi_would_not_take(tmp_path, files, where):
    folder = kaldi(tmp_path, **files)
    assert message(lambda: read_kaldi(folder)).startswith(f"{folder}/{where}: ")


@pytest.mark.parametrize("times", ["0.3 0.2", "-1 0.2", "0.4 0.4", "0 9", "9e8 -1"])
def test_times_outside_the_recording_are_findings(tmp_path, times):
    cuts, [finding, *_] = read_kaldi(kaldi(tmp_path, segments=f"a a {times}\nb b 0 0.1 1\n"))
    assert ([cut.id for cut in cuts], finding.utterance) == (["b"], "a")


# NeMo


def nemo(folder: Path, *rows: dict) -> Path:
    return write(folder / "m.json", "".join(json.dumps(row) + "\n" for row in rows))


def test_a_nemo_manifest(tmp_path):
    wav(tmp_path / "x" / "a.wav")
    wav(tmp_path / "y" / "a.wav")
    path = nemo(
        tmp_path,
        {"audio_filepath": "x/a.wav", "duration": 0.5, "text": "hello", "speaker": 7, "score": 0.5},
        {"audio_filepath": str(tmp_path / "x/a.wav"), "duration": 0.1, "offset": 0.2, "text": "part"},
        {"audio_filepath": "y/a.wav", "text": "all of it", "lang": "en"},
    )
    cuts, findings = read_nemo(path)
    assert findings == []
    assert [(c.id, c.start, c.duration, c.supervisions[0].text) for c in cuts] == [
        ("a-000001", 0, 0.5, "hello"), ("a-000002", 0.2, 0.1, "part"), ("a-000003", 0, 0.5, "all of it")
    ]  # fmt: skip
    assert (cuts[0].supervisions[0].speaker, cuts[0].custom) == ("7", {"score": 0.5})
    assert [cut.recording.id for cut in cuts] == ["a", "a", "a-2"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "x"}, "audio_filepath"),
        ({"audio_filepath": 1}, "audio_filepath"),
        ({"audio_filepath": "a.wav", "duration": "long"}, "duration"),
        ({"audio_filepath": "a.wav", "duration": -1}, "duration"),
        ({"audio_filepath": "a.wav", "text": ["x"]}, "text"),
        ({"audio_filepath": "a.wav", "speaker": {}}, "speaker"),
    ],
    ids=["no-path", "number", "word", "negative", "list", "object"],
)
def test_rows_that_are_no_utterance(tmp_path, row, said):
    path = nemo(tmp_path, {"audio_filepath": "a.wav", "text": "x"}, row)
    told = message(lambda: read_nemo(path))
    assert told.startswith(f"{path}:2: ") and said in told


def test_times_beyond_all_recordings(tmp_path):
    wav(tmp_path / "a.wav")
    path = nemo(tmp_path, {"audio_filepath": "a.wav", "duration": 1e308})
    assert "wrong times" in read_nemo(path)[1][0].problem


@pytest.mark.parametrize(
    "name",
    ["none.wav", "nul\0.wav", "x" * 5000, "../none.wav", ".", "a;touch b;.opus", "-"],
    ids=["none", "nul", "long", "up", "folder", "shell", "stdin"],
)
def test_audio_paths_that_are_no_file_are_findings(tmp_path, name):
    write(tmp_path / "a;touch b;.opus", b"x")
    cuts, [finding] = read_nemo(nemo(tmp_path, {"audio_filepath": name, "text": "x"}))
    assert cuts == [] and finding.fatal and finding.where.endswith("m.json:1")


# lhotse


def lhotse(folder: Path, change) -> Path:
    data = whole_cuts(folder)[0].to_dict()
    change(data)
    return write(folder / "cuts.jsonl", json.dumps(data) + "\n")


def _source(**values):
    return lambda data: data["recording"]["sources"][0].update(values)


def _impulse(made: Path):
    """An effect of a recording that is read by a command."""

    def change(data):
        rir = dict(
            data["recording"], sources=[{"type": "command", "channels": [0], "source": f"touch {made}"}]
        )
        data["recording"]["transforms"] = [{"name": "ReverbWithImpulseResponse", "kwargs": {"rir": rir}}]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _source(type="command", source="touch made"),
        _source(type="url", source="http://host/a.wav"),
        _source(type="url", source="pipe:touch made"),
        _source(type="memory", source="UklGRg=="),
        _source(type="shar", source=""),
        _source(source="-"),
        _source(source="a;touch made;.opus"),
        _source(source="$(touch made).sph"),
        _impulse(Path("made")),
        lambda data: data.update(type="MixedCut"),
        lambda data: data.pop("type"),
        lambda data: data.pop("recording"),
        lambda data: data.update(id=5),
        lambda data: data.update(duration=-1.0),
        lambda data: data.update(duration="long"),
        lambda data: data.update(duration=1e-9),
        lambda data: data["recording"].update(sampling_rate=1e30),
        lambda data: data.update(unknown=1),
        lambda data: data.update(supervisions=data["supervisions"] * 2),
        lambda data: data["supervisions"][0].update(text=5),
        lambda data: data["recording"].update(sources=[]),
        lambda data: data.update(supervisions=5),
    ],
    ids=[
        "command", "url", "pipe", "memory", "shar", "stdin", "opus-shell", "sph-shell", "nested", "mixed",
        "untyped", "silent", "id", "negative", "word", "nothing", "rate", "unknown", "two", "text",
        "sourceless", "number",
    ],
)  # fmt: skip
def test_cuts_that_are_refused(tmp_path, monkeypatch, change):
    path = lhotse(tmp_path, change)
    monkeypatch.chdir(tmp_path)
    assert message(lambda: read_cuts(path)).startswith(f"{path}:1: ")
    assert not (tmp_path / "made").exists()


def test_recordings_are_no_cuts(tmp_path):
    data = whole_cuts(tmp_path)[0].recording.to_dict()
    path = write(tmp_path / "recordings.jsonl", json.dumps(data) + "\n")
    assert "lhotse cut simple" in message(lambda: read_cuts(path))
