"""Odd options of the command line, and constants of the layers that hear a chunk at a time."""

import json
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from s4speech.audio import microphone
from s4speech.cli import transcribe
from s4speech.cli.main import main
from s4speech.layers.chunked import ChunkAttention, ChunkConv
from tests.conftest import message, one_line
from tests.fake_recognizer import FakeRecognizer, run_here
from tests.oracles.compare import close, frames


@pytest.fixture
def run(capfd, monkeypatch):
    """Run `transcribe` here: returns (exit code, standard output, standard error)."""
    return run_here(capfd, monkeypatch)


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    return path


def test_hotwords_through_a_named_pipe(tmp_path, talk, monkeypatch, run):
    """It is opened once: a second opening would wait for another writer for ever."""

    def load(directory, device):
        time.sleep(0.5)  # a writer whose pipe was opened before has ended now
        return FakeRecognizer()

    def read(recognizer, path):
        found.append(path.read_text())

    found = []
    monkeypatch.setattr(transcribe, "_load", load)
    monkeypatch.setattr(FakeRecognizer, "hotwords", read, raising=False)
    pipe = tmp_path / "words"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", 'echo "MOBY DICK" > "$0"', pipe])
    # Should it wait after all: opens and closes it, so that the test fails.
    rescue = threading.Timer(10, lambda: os.close(os.open(pipe, os.O_RDWR)))
    rescue.start()
    code, _, error = run(talk, "--stream", "--hotwords", pipe)
    rescue.cancel()
    writer.kill()
    writer.wait()
    assert (code, error, found) == (0, "", ["MOBY DICK\n"])


def test_hotwords_in_a_directory(run, talk, tmp_path):
    code, out, error = run(talk, "--stream", "--hotwords", tmp_path)
    assert (code, out) == (2, "")
    assert one_line(error) and "Is a directory" in error


@pytest.mark.parametrize("rate", [0, -1])
def test_a_microphone_rate_that_is_none(monkeypatch, rate):
    info = {"index": 0, "name": "Webcam", "default_samplerate": 48000.0}
    fake = SimpleNamespace(
        PortAudioError=OSError, query_devices=lambda *_: info, check_input_settings=lambda *_, **__: None
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert microphone.find_microphone().sample_rate_hz == 48000
    assert f"got sample rate {rate} Hz" in message(lambda: microphone.find_microphone(None, rate))


def test_partials_have_times(run, talk):
    _, out, _ = run(talk, "--stream")
    events = [json.loads(line) for line in out.splitlines()]
    partials = [(event["start"], event["heard"]) for event in events if event["type"] == "partial"]
    assert partials == [(0.0, 0.3), (0.0, 0.5), (0.0, 0.8), (0.0, 1.0)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--find", "--streams", "2"], "--streams: is for runs without --find only"),
        (["--find", "--fast"], "--find: is for runs without --fast only"),
        (["--same-words"], "--same-words: is for --fast only"),
        (["--hours", "1", "--seconds", "1"], "--seconds: is for runs without --hours only"),
        (["--chunk-ms", "0"], "--chunk-ms: got 0; wanted more than 0"),
    ],
)
def test_options_of_bench_that_exclude_each_other(arguments, named, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", "stream", "x.wav", *arguments])
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert one_line(error) and named in error


@pytest.mark.parametrize(
    "said", ["files that are done are kept", "rounded to whole encoder frames (at least one)"]
)
def test_what_the_help_says(said, capsys):
    with pytest.raises(SystemExit):
        main(["transcribe", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert said in shown


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 8, 20])  # with constants made before, and without
@pytest.mark.parametrize("kernel", [1, 15])
def test_constants_of_chunks_change_nothing(chunk, kernel):
    torch.manual_seed(0)
    layer = ChunkAttention(16, 2, 6).double().eval()
    torch.nn.init.normal_(layer.distance)
    conv = ChunkConv(16, kernel).double().eval()
    x = frames(2, 40, 16).double()
    with torch.no_grad():
        for module, whole in (
            (layer, layer(x, torch.ones(2, 40, dtype=torch.bool), chunk)),
            (conv, conv(x, chunk)),
        ):
            frozen = module.freeze()
            state, parts = frozen.init_state(2), []
            for i in range(0, 40, chunk):
                y, state = frozen.scan(x[:, i : i + chunk], state)
                parts.append(y)
            close(torch.cat(parts, 1), whole, 1e-10)


def test_a_small_and_a_large_convolution_are_one():
    conv = ChunkConv(64, 31).eval()
    frozen = conv.freeze()
    x = frames(8, 40, 64).float()  # all rows at once: too many products to be made at once
    with torch.no_grad():
        together, state = frozen.scan(x, frozen.init_state(8))
        alone, _ = frozen.scan(x[:1], frozen.init_state(1))
    assert 8 * 40 * 64 * 31 > 1 << 18 > 40 * 64 * 31
    close(together[:1], alone, 1e-5)
    close(state.past, x[:, -15:], 0.0)


def test_unequal_rows_are_masked_one_by_one():
    """A stream that has begun, with one whose window is full."""
    torch.manual_seed(0)
    layer = ChunkAttention(16, 2, 6).double().eval()
    torch.nn.init.normal_(layer.distance)
    frozen = layer.freeze()
    with torch.no_grad():
        x = frames(1, 4, 16).double()
        state = old = frozen.init_state(1)
        for _ in range(3):
            _, old = frozen.scan(x, old)
        both = type(state)(*(torch.cat(pair) for pair in zip(old, state, strict=True)))
        found, _ = frozen.scan(x.expand(2, -1, -1), both)
        close(found, torch.cat([frozen.scan(x, old)[0], frozen.scan(x, state)[0]]), 1e-10)
