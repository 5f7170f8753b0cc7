"""The voice gate: silence is not heard, what is said is, and times stay right."""

import io
import sys
import tarfile

import numpy as np
import pytest
import soundfile
import soxr
import torch

from s4speech.models.asr.streaming import StreamingModel
from s4speech.streaming.events import Final
from s4speech.streaming.vad import BLOCK, VoiceGate, silero
from tests.conftest import REPOSITORY, message
from tests.tiny_streaming import RATE, babble, tiny_recognizer

ARCHIVE = REPOSITORY.parent / "shared" / "data" / "librispeech-train-clean-5.tar"


def loud(samples):
    """The plainest detector."""
    return float(np.abs(samples).max() > 1e-3)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return tiny_recognizer(tmp_path_factory.mktemp("tiny"))


def test_the_gate_opens_for_speech_and_half_a_second_after():
    gate, block = VoiceGate(loud), np.zeros(RATE // 10, np.float32)
    assert [gate.open(block) for _ in range(5)] == [False] * 5
    assert gate.open(block + 1)
    # the last block of the speech ends up to 32 ms later: the gate reads whole blocks of 512 samples
    assert [gate.open(block) for _ in range(9)] == [True] * 6 + [False] * 3
    assert gate.open(block + 1)


def test_the_detector_gets_every_sample_once_in_blocks():
    seen = []
    gate = VoiceGate(lambda samples: seen.append(samples.copy()) or 0.0)
    wave = np.arange(10_000, dtype=np.float32)
    for piece in np.split(wave, [100, 700, 701, 5000]):
        gate.open(piece)
    assert {len(block) for block in seen} == {BLOCK}
    assert np.array_equal(np.concatenate(seen), wave[: len(seen) * BLOCK])


def listen(recognizer, pieces, **options):
    session = recognizer.stream(**options)
    return [event for piece in pieces for event in session.accept(piece, RATE)] + session.finish()


def test_silence_is_not_heard_and_times_stay_right(recognizer, monkeypatch):
    wave = np.concatenate([np.zeros(RATE * 10, np.float32), babble(3), np.zeros(RATE * 10, np.float32)])
    calls, hear = [], StreamingModel.hear
    monkeypatch.setattr(StreamingModel, "hear", lambda *a: calls.append(1) or hear(*a))
    with_gate = listen(recognizer, [wave], vad=loud)
    gated, calls[:] = len(calls), []
    listen(recognizer, [wave])
    assert gated < len(calls) / 3
    words = [word for event in with_gate if isinstance(event, Final) for word in event.segment.words]
    assert len(words) >= 3
    assert 9.9 < words[0].start_s < words[-1].end_s < 14.2


def test_any_cut_gives_the_same_events_through_the_gate(recognizer):
    wave = np.concatenate([np.zeros(RATE * 2, np.float32), babble(3), np.zeros(RATE, np.float32), babble(1)])
    whole = listen(recognizer, [wave], vad=loud)
    assert any(isinstance(event, Final) for event in whole)
    assert listen(recognizer, np.split(wave, range(999, len(wave), 999)), vad=loud) == whole


def test_without_the_extra_the_error_says_how_to_get_it(recognizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    assert "pip install 's4speech[vad]'" in message(lambda: recognizer.stream(vad=True))


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="needs ../shared/data")
def test_silero_hears_speech_and_not_noise(recognizer):
    pytest.importorskip("silero_vad")
    threads = torch.get_num_threads()
    with tarfile.open(ARCHIVE) as archive:
        member = next(member for member in archive if member.name.endswith(".opus"))
        encoded = io.BytesIO(archive.extractfile(member).read())
    speech, rate = soundfile.read(encoded, dtype="float32")
    speech = soxr.resample(speech, rate, RATE)
    noise = np.random.default_rng(0).normal(0, 0.01, RATE * 2).astype(np.float32)
    for wave, spoken in ((speech[: RATE * 4], True), (noise, False), (noise * 0, False)):
        detector = silero()
        found = [detector(wave[i : i + BLOCK]) for i in range(0, len(wave) - BLOCK, BLOCK)]
        assert (max(found) > 0.5) == spoken
    assert torch.get_num_threads() == threads
    assert listen(recognizer, [noise], vad=True) == []
