"""`transcribe --stream` with a model: the tiny one, as a directory; what each option changes."""

import io
import json
import re
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import soundfile

from s4speech.cli.main import main
from s4speech.models.package import save_asr
from tests.tiny_streaming import RATE, babble, tiny_package


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model directory; read only."""
    source = tmp_path_factory.mktemp("source")
    package = tiny_package(source)
    folder = tmp_path_factory.mktemp("tiny")
    save_asr(folder, package.config, package.model, source / "tokenizer.model", "# A test\n")
    return folder


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "talk.wav"
    soundfile.write(path, babble(5.0), RATE, subtype="PCM_16")
    return path


@pytest.fixture
def stream(model, capsys):
    """`transcribe --stream -m MODEL` here: arguments -> standard output."""

    def command(*arguments, model=model):
        with pytest.raises(SystemExit) as caught:
            main(["transcribe", "--stream", "-m", str(model), *map(str, arguments)])
        captured = capsys.readouterr()
        assert (caught.value.code, captured.err) == (0, "")
        return captured.out

    return command


def finals(out):
    return [event for event in map(json.loads, out.splitlines()) if event["type"] == "final"]


def partials(out):
    return [event for event in map(json.loads, out.splitlines()) if event["type"] == "partial"]


def texts(out):
    return [final["text"] for final in finals(out)]


def test_json_lines_are_the_recognisers_events(stream, model, talk):
    from s4speech.streaming.recognizer import Recognizer

    out = stream(talk)
    assert stream(talk, "-f", "json") == out
    session = Recognizer.load(model).stream()
    samples, rate = soundfile.read(talk, dtype="float32")
    events = session.accept(samples, rate) + session.finish()
    said = [event.segment for event in events if hasattr(event, "segment")]
    assert len(said) >= 2
    assert [(one["text"], one["start"], one["end"]) for one in finals(out)] == [
        (one.text, round(one.start_s, 3), round(one.end_s, 3)) for one in said
    ]
    shown = partials(out)
    assert [(one["text"], one["start"], one["heard"]) for one in shown] == [
        (one.text, round(one.start_s, 3), round(one.heard_s, 3)) for one in events if hasattr(one, "heard_s")
    ]
    assert all(one["start"] <= one["heard"] for one in shown)


def test_subtitles(stream, talk):
    cues = re.findall(r"^(\d+)\n(\S+) --> (\S+)\n(.+)\n$", stream(talk, "-f", "srt"), re.MULTILINE)
    lines = finals(stream(talk, "-f", "json"))
    assert [text for *_, text in cues] == [line["text"] for line in lines]
    assert [cue[0] for cue in cues] == [str(1 + i) for i in range(len(lines))]
    for (_, start, end, _), line in zip(cues, lines, strict=True):
        assert (seconds(start), seconds(end)) == pytest.approx((line["start"], line["end"]))


def seconds(clock):
    hours, minutes, rest = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest.replace(",", "."))


@pytest.mark.parametrize(("chunk_ms", "step_s"), [(1, 0.08), (150, 0.16), (320, 0.32)])
def test_the_chunk_is_whole_encoder_frames(stream, talk, chunk_ms, step_s):
    chunks = [one["heard"] / step_s for one in partials(stream(talk, "--chunk-ms", chunk_ms))]
    chunks = chunks[:-1]  # the end of the audio is no whole chunk
    assert chunks == pytest.approx([round(number) for number in chunks])
    assert min(later - earlier for earlier, later in pairwise(chunks)) == pytest.approx(1)


def test_hotwords(stream, talk, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("HAT :2\n")
    assert "HAT" not in "".join(texts(stream(talk)))
    assert "HAT" in "".join(texts(stream(talk, "--hotwords", words)))


@pytest.mark.parametrize("written", [True, False])
def test_the_beam(stream, model, talk, tmp_path, written):
    """Also for a model whose config.yaml leaves the options for streams to the defaults."""
    if not written:
        for file in model.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        config = (tmp_path / "config.yaml").read_text()
        found = re.sub(r"^streaming:\n(  .*\n)+", "streaming: null\n", config, flags=re.MULTILINE)
        assert found != config
        (tmp_path / "config.yaml").write_text(found)
        model = tmp_path
    outputs = [stream(talk, *beam, model=model) for beam in ((), ("--beam_size", 1), ("--beam_size", 40))]
    assert len({json.dumps(finals(out)) for out in outputs}) > 1, outputs


@pytest.mark.parametrize("options", [(), ("--pcm-format", "f32le")])
def test_samples_without_a_header(stream, talk, monkeypatch, options):
    samples, _ = soundfile.read(talk, dtype="float32" if options else "int16")
    buffer = io.BytesIO(samples.tobytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer, isatty=lambda: False))
    out = stream("-", "--sample-rate", RATE, *options)
    assert texts(out)
    assert out == stream(talk)
