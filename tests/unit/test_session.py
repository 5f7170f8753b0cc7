"""A session: what it takes, what it refuses and stays usable, how it ends. The model has random weights."""

import threading

import numpy as np
import pytest
import torch

from s4speech.config.streaming import Calibration, EndpointRule, SearchOptions
from s4speech.models.package import load_asr, save_asr
from s4speech.search.hotwords import Hotwords
from s4speech.streaming.confidence import confidence
from s4speech.streaming.events import Final, Partial
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.segment import LiveSegment
from s4speech.streaming.steps import run_steps
from s4speech.streaming.word_times import word_times
from s4speech.text.tokenizer import EOS
from tests.conftest import message
from tests.tiny_streaming import RATE, babble, tiny_package
from tests.unit.test_recognizer import make_recognizer, posteriors


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return tiny_package(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def recognizer(package):
    return Recognizer(package)


@pytest.fixture(scope="module")
def expected(recognizer):
    return said(recognizer.stream(), babble(4))


def said(session, *pieces, rate=RATE):
    return [event for piece in pieces for event in session.accept(piece, rate)] + session.finish()


def words(events):
    return [word for event in events if isinstance(event, Final) for word in event.segment.words]


@pytest.mark.parametrize(
    "bad",
    [
        (np.array([0.1, np.nan]), RATE),
        (np.array([[0.1, 0.2], [0.1, np.inf]]), RATE),
        (np.full(10, 1e30), RATE),
        (np.zeros(10), 999),
        (np.zeros(10), 768_001),
        (np.zeros(10, np.uint8), RATE),
        (np.zeros((10, 0)), RATE),
        (np.zeros((2, 2, 2)), RATE),
        (np.array(0.5), RATE),
        (np.array(["a"]), RATE),
    ],
)
def test_what_is_refused_changes_nothing(recognizer, expected, bad):
    session, wave = recognizer.stream(), babble(4)
    events = session.accept(wave[:20_001], RATE)
    message(lambda: session.accept(*bad))
    events += session.accept(wave[20_001:], RATE)
    assert events + session.finish() == expected


def test_other_types_and_channels_are_the_same_audio(recognizer, expected):
    wave = babble(4)
    assert said(recognizer.stream(), wave.astype(np.float64)) == expected
    assert said(recognizer.stream(), np.stack([wave, wave], 1)) == expected
    assert said(recognizer.stream(), wave[:0], wave[:, None], np.zeros((0, 2))) == expected
    scaled = np.round(wave * 32768).astype(np.int16)
    of_integers = said(recognizer.stream(), scaled)
    assert of_integers == said(recognizer.stream(), (scaled / 32768).astype(np.float32))
    assert of_integers == said(recognizer.stream(), scaled.astype(np.int32) << 16)


def test_clipped_and_loud_audio_is_taken_as_it_is(recognizer):
    for wave in (np.clip(babble(2) * 100, -1, 1), babble(2) * 32768):
        assert said(recognizer.stream(), wave) == said(recognizer.stream(), *np.split(wave, 10))


def test_a_finished_session_takes_no_more(recognizer):
    session = recognizer.stream()
    said(session, babble(1))
    assert session.finish() == []
    with pytest.raises(ValueError, match="session finished"):
        session.accept(babble(1), RATE)
    with recognizer.stream() as session:
        session.accept(babble(1), RATE)
    with pytest.raises(ValueError, match="session finished"):
        session.accept(np.zeros(0), RATE)
    assert session.finish() == []


@pytest.mark.parametrize("size", [0, 1, 399, 400, 720, 1359])
def test_a_stream_of_less_than_a_frame_says_nothing(recognizer, size):
    assert said(recognizer.stream(), babble(1)[:size]) == []


def test_the_rate_may_change(recognizer):
    first, second = babble(3, 48_000), babble(3, 8000, seed=1)
    session = recognizer.stream()
    events = session.accept(first, 48_000) + session.accept(second, 8000) + session.finish()
    assert words(events)[-1].end_s > 4.5
    session = recognizer.stream()
    pieces = [(first[:10_001], 48_000), (first[10_001:], 48_000), (second[:0], 48_000), (second, 8000)]
    again = [event for piece, rate in pieces for event in session.accept(piece, rate)]
    assert again + session.finish() == events


def test_silence_says_nothing_and_time_goes_on(recognizer):
    session = recognizer.stream(chunk_ms=1280)
    assert session.accept(np.zeros(RATE * 64, np.int16), RATE) == []
    events = said(session, babble(4))
    assert 64 <= words(events)[0].start_s < words(events)[-1].end_s <= 68
    assert len(words(events)) >= 2


def test_times_do_not_drift(recognizer):
    """A week into a stream, words are where the frames are."""
    setup = recognizer.stream().stream.setup
    week = 7 * 24 * 3600 * 25 // 2
    segment = LiveSegment(setup, first_frame=week)
    frames = torch.full((10, 30), -20.0)
    frames[:, 0] = -1e-3
    token = recognizer.tokenizer.encode("A")[0]
    frames[5, token], frames[5, 0] = -1e-3, -20.0
    memory = setup.model.decoder.project(torch.zeros(1, 10, 16))
    run_steps(setup.model.decoder, [segment.advance(frames, memory)])
    assert segment.started_s() == (week + 5) * 1280 / RATE
    found = segment.finish()
    assert found is not None
    assert found.start_s == pytest.approx((week + 5) * 0.08, abs=1e-6)


def test_the_cap_ends_a_segment_and_what_is_said_goes_on(recognizer):
    rules = [EndpointRule(name="cap", length_s=0.96)]
    events = said(recognizer.stream(endpoints=rules), babble(4))
    finals = [event for event in events if isinstance(event, Final)]
    assert finals[0].reason == "cap"
    assert len(finals) >= 3
    for final in finals[:-1]:
        assert final.segment.end_s - final.segment.start_s <= 0.96 + 0.32


def test_words_that_rescoring_takes_back_are_taken_back(recognizer):
    """A partial that no final follows is replaced by an empty one."""
    events = said(recognizer.stream(search=SearchOptions(beam=8, rescore_weight=9.0)), babble(6))
    shown, taken_back = "", 0
    for event in events:
        taken_back += isinstance(event, Partial) and bool(shown) and not event.text
        shown = event.text if isinstance(event, Partial) else ""
    assert shown == ""
    assert taken_back


def test_threads_use_sessions_of_one_recogniser(recognizer):
    waves = [babble(3, seed=seed) for seed in range(3)]
    alone = [said(recognizer.stream(), wave) for wave in waves]
    found = {}

    def listen(index):
        found[index] = said(recognizer.stream(), *np.split(waves[index], 30))

    threads = [threading.Thread(target=listen, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(3)] == alone


def test_options_out_of_range(recognizer, tmp_path):
    for chunk_ms in (0, -1, float("nan"), 20_001):
        assert message(lambda ms=chunk_ms: recognizer.stream(chunk_ms=ms)).startswith("chunk_ms: got")
    pause = EndpointRule(name="pause", after_words=True)
    assert "endpoints: got pause" in message(lambda: recognizer.stream(endpoints=[pause]))
    assert "Ж" in message(lambda: recognizer.stream(hotwords=["Ж"]))
    (tmp_path / "words.txt").write_text("CAT\nDOG :x\n")
    assert "words.txt:2" in message(lambda: recognizer.hotwords(tmp_path / "words.txt"))


def test_hotwords_are_preferred(recognizer):
    hotwords = Hotwords(["THE"], recognizer.tokenizer, 6.0)
    for listen in (
        lambda **options: words(said(recognizer.stream(**options), babble(6))),
        lambda **options: recognizer.transcribe(babble(6), RATE, **options).words,
    ):
        plain, biased = listen(), listen(hotwords=hotwords)
        count = [sum(word.text.count("THE") for word in found) for found in (plain, biased)]
        assert count[1] > count[0]


class CountingLM:
    """A language model that likes all tokens alike. Its state: how many it has read."""

    def __init__(self, size):
        self.size, self.starts = size, []

    def init_state(self, batch):
        return (torch.zeros(batch, 1),)

    def score(self, tokens, state):
        self.starts += [int(n) for token, n in zip(tokens.tolist(), state[0], strict=True) if token == EOS]
        return torch.full((len(tokens), self.size), -3.0), (state[0] + 1,)


def test_a_language_model_goes_on_after_a_segment(recognizer):
    options = recognizer.config.streaming.search.model_copy(update={"lm_weight": 0.5})
    lm = CountingLM(recognizer.tokenizer.vocab_size)
    session = recognizer.stream(search=options, lm=lm)
    lm.starts.clear()  # of the check that it scores as many tokens as the model
    events = said(session, babble(4))
    texts = [event.segment.text for event in events if isinstance(event, Final)]
    assert len(texts) >= 2
    assert lm.starts[0] == 0
    # <sos> and the tokens of the first segment, when the second begins
    assert lm.starts[1] >= 2
    assert lm.starts == sorted(lm.starts)


def test_an_offline_model_says_what_to_do(package):
    offline = make_recognizer(package.tokenizer)
    assert not offline.can_stream
    assert "encoder.type is streaming" in message(offline.stream)
    assert "hotwords: not for this model" in message(
        lambda: offline.transcribe(babble(1), RATE, hotwords=["THE"])
    )


def test_a_streaming_model_survives_its_directory(tmp_path, recognizer, expected):
    package = tiny_package(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    save_asr(folder, package.config, package.model, tmp_path / "tokenizer.model", "a card")
    loaded = Recognizer.load(folder)
    assert loaded.config == load_asr(folder).config
    assert said(loaded.stream(), babble(4)) == expected


def test_confidence_is_calibrated():
    plain = Calibration()
    for p in (0.0005, 0.1, 0.5, 0.9, 0.9995):
        assert confidence(np.log(p), plain) == pytest.approx(p, abs=5e-4)
    assert confidence(-np.inf, plain) == 0.0
    assert confidence(0.0, plain) == 1.0
    assert confidence(np.log(0.5), Calibration(offset=1.0)) == pytest.approx(0.731, abs=1e-3)
    assert confidence(np.log(0.9), Calibration(scale=0.5)) == pytest.approx(0.75, abs=1e-3)
    assert confidence(0.0, Calibration(scale=1e9)) == 1.0


def test_word_times_step_over_frames_that_nobody_heard(recognizer):
    ids = recognizer.tokenizer.encode("CAT DOG")
    (_, first), (_, second) = recognizer.tokenizer.words(ids)
    labels = [0, *(label for token in ids[first] for label in (token, 0)), 0, 0]
    at = len(labels)
    labels += [label for token in ids[second] for label in (token, 0)]
    places = [100 + frame + (50 if frame >= at - 1 else 0) for frame in range(len(labels))]
    found = word_times(posteriors(labels, 30), ids, recognizer.tokenizer, 0.08, 0.0, places=places)
    assert [word.start_s for word in found] == pytest.approx([101 * 0.08, places[at] * 0.08])
    assert found[0].end_s < 110 * 0.08
