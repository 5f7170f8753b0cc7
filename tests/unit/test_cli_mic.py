"""`transcribe --mic`, with a microphone and a recogniser that are fakes."""

import os
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from s4speech.audio import microphone as microphone_module
from s4speech.cli import transcribe
from tests.conftest import one_line
from tests.fake_recognizer import WORDS, run_here

SEGMENT = " ".join(WORDS)
TIMEOUT_S = 60  # the machine may be busy


@pytest.fixture
def run(capfd, monkeypatch):
    """Run `transcribe` here: returns (exit code, standard output, standard error)."""
    return run_here(capfd, monkeypatch)


class PortAudioError(Exception):
    pass


class FakeSoundDevice:
    """As much of sounddevice as is used: one input device, number 3, that gives 3.1 s and then nothing."""

    PortAudioError = PortAudioError
    devices = (
        {"index": 0, "name": "Speaker", "max_input_channels": 0, "default_samplerate": 48000.0},
        {"index": 3, "name": "Webcam", "max_input_channels": 1, "default_samplerate": 48000.0},
    )
    seconds = 3.1
    opened = None

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return list(self.devices)
        for one in self.devices:
            if one["max_input_channels"] and device in (None, one["index"], one["name"]):
                return one
        raise ValueError(f"No input device matching {device!r}\nsecond line")

    def check_input_settings(self, device, channels, dtype, samplerate):
        if samplerate == 1234:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def InputStream(self, *, samplerate, blocksize, callback, **options):
        self.opened = SimpleNamespace(samplerate=samplerate, **options)

        class Stream:
            def start(stream):
                for _ in range(round(self.seconds * samplerate / blocksize)):
                    callback(np.zeros((blocksize, 1), np.float32), blocksize, None, None)

            def __enter__(stream):
                return stream

            def __exit__(stream, *_):
                self.opened = None

        return Stream()


@pytest.fixture
def sounddevice(monkeypatch):
    fake = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(microphone_module, "_SILENT_S", 0.3)
    return fake


def test_the_microphone(run, sounddevice):
    # It never ends by itself: here it is pulled out.
    code, out, error = run("--mic", "-f", "txt")
    assert (code, out) == (2, f"{SEGMENT}\nALPHA BRAVO CHARLIE DELTA\n")
    assert one_line(error) and "microphone 'Webcam': no more audio comes" in error
    assert sounddevice.opened is None


@pytest.fixture
def ctrl_c_soon(monkeypatch):
    """A second from now."""
    monkeypatch.setattr(microphone_module, "_SILENT_S", TIMEOUT_S)
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    yield
    signal.signal(signal.SIGALRM, before)


def test_the_microphone_is_stopped_by_ctrl_c(run, sounddevice, ctrl_c_soon, tmp_path):
    code, out, error = run("--mic", "--mic-device", "3", "-o", tmp_path)
    assert (code, out, error) == (130, "", "")
    assert (tmp_path / "microphone.txt").read_text() == f"{SEGMENT}\nALPHA BRAVO CHARLIE DELTA\n"


def test_audio_that_was_lost_is_counted(run, sounddevice, ctrl_c_soon, monkeypatch):
    monkeypatch.setattr(microphone_module, "_BACKLOG_S", 1.0)
    code, out, error = run("--mic", "-f", "txt")
    assert (code, out) == (130, "ALPHA BRAVO CHARLIE DELTA\n")
    assert one_line(error) and "2.1 s were lost" in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--mic-device", "nope"], "microphone 'nope': No input device matching 'nope'; there are: 3 Webcam"),
        (["--mic-device", "0"], "microphone '0': No input device matching 0; there are: 3 Webcam"),
        (["--sample-rate", "1234"], "microphone: Invalid sample rate"),
    ],
)
def test_a_microphone_that_is_not_there(run, sounddevice, monkeypatch, arguments, named):
    monkeypatch.setattr(transcribe, "_load", lambda *_: pytest.fail("loaded"))
    code, out, error = run("--mic", *arguments)
    assert (code, out) == (2, "")
    assert one_line(error) and named in error


def test_no_microphone_at_all(run, sounddevice):
    sounddevice.devices = FakeSoundDevice.devices[:1]
    code, _, error = run("--mic")
    assert code == 2
    assert one_line(error) and "there is no input device" in error


def test_a_microphone_that_cannot_be_opened(run, sounddevice, monkeypatch):
    def refuse(**options):
        raise PortAudioError("Device unavailable [PaErrorCode -9985]")

    monkeypatch.setattr(sounddevice, "InputStream", refuse)
    code, _, error = run("--mic")
    assert code == 2
    assert one_line(error) and "microphone 'Webcam': Device unavailable" in error


@pytest.mark.parametrize(
    ("failure", "named"),
    [
        (ImportError("no module"), "pip install 's4speech[mic]'"),
        (OSError("PortAudio library not found"), "PortAudio library not found; install PortAudio"),
    ],
)
def test_the_microphone_needs_an_extra(run, monkeypatch, failure, named):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "sounddevice":
                raise failure

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    code, out, error = run("--mic")
    assert (code, out) == (2, "")
    assert one_line(error) and named in error
