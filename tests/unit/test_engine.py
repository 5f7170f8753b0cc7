"""The batch engine: one model call for all, and nobody disturbs the others."""

import numpy as np
import pytest

from s4speech.models.asr.streaming import StreamingModel, TriggeredDecoder
from s4speech.streaming.engine import BatchEngine
from tests.conftest import message
from tests.tiny_streaming import RATE, babble, tiny_recognizer


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return tiny_recognizer(tmp_path_factory.mktemp("tiny"))


def drained(engine):
    """All that an engine's sessions have to say, by session."""
    said = {}
    while found := engine.advance():
        for session, events in found:
            said.setdefault(session, []).extend(events)
    return said


def test_one_model_call_for_all_and_few_decoder_steps(recognizer, monkeypatch):
    rows, steps = [], []
    hear, score = StreamingModel.hear, TriggeredDecoder.score
    monkeypatch.setattr(StreamingModel, "hear", lambda *a: rows.append(len(a[1])) or hear(*a))
    monkeypatch.setattr(TriggeredDecoder, "score", lambda *a: steps.append(len(a[4])) or score(*a))
    engine = BatchEngine(recognizer, chunk_ms=320)
    sessions = [engine.stream() for _ in range(5)]
    for index, session in enumerate(sessions):
        session.accept(babble(1, seed=index), RATE)
    drained(engine)
    assert rows == [5, 5]  # a second has two chunks of 320 ms and what they look ahead
    assert len(steps) <= 8  # at most one a frame, for all
    assert max(steps) == 5


def test_an_engine_without_audio_says_nothing(recognizer):
    engine = BatchEngine(recognizer)
    assert engine.advance() == []
    session = engine.stream()
    assert engine.advance() == []
    session.accept(babble(0.3), RATE)
    assert engine.advance() == []
    assert session.finish() == recognizer_says(recognizer, babble(0.3))


def recognizer_says(recognizer, wave):
    session = recognizer.stream()
    return session.accept(wave, RATE) + session.finish()


def test_a_session_that_is_behind_catches_up(recognizer):
    engine = BatchEngine(recognizer)
    late, session = engine.stream(), engine.stream()
    late.accept(babble(3), RATE)
    session.accept(babble(0.4), RATE)
    assert [len(engine.advance()) for _ in range(3)] == [2, 1, 1]
    assert session.finish() is not None
    assert late.finish()


def test_bad_audio_of_one_session_is_its_own_affair(recognizer):
    engine = BatchEngine(recognizer)
    good, bad = engine.stream(), engine.stream()
    wave, said = babble(3), {good: [], bad: []}
    for piece in np.split(wave, 10):
        good.accept(piece, RATE)
        bad.accept(piece, RATE)
        assert "is nan" in message(lambda: bad.accept(np.full(5, np.nan), RATE))
        for session, events in drained(engine).items():
            said[session] += events
    assert said[good] == said[bad]
    assert good.finish() == bad.finish()


def test_a_finished_session_is_gone(recognizer):
    engine = BatchEngine(recognizer)
    one, two = engine.stream(), engine.stream()
    one.accept(babble(2), RATE)
    assert one.finish() == recognizer_says(recognizer, babble(2))
    assert one.finish() == []
    with two:
        two.accept(babble(2), RATE)
    assert engine.advance() == []
    with pytest.raises(ValueError, match="session finished"):
        two.accept(babble(1), RATE)
    assert not engine._sessions


def test_sessions_may_differ_in_all_but_the_chunk(recognizer):
    """Their rules, searches and hotwords are their own."""
    options = [{}, {"hotwords": ["THE"]}, {"search": recognizer.config.streaming.search.model_copy()}]
    options[2]["search"] = options[2]["search"].model_copy(
        update={"decoder_weight": 0.0, "rescore_weight": 0.0}
    )
    engine = BatchEngine(recognizer)
    sessions = [engine.stream(**chosen) for chosen in options]
    for session in sessions:
        session.accept(babble(3), RATE)
    said = drained(engine)
    for session, chosen in zip(sessions, options, strict=True):
        alone = recognizer.stream(**chosen)
        wanted = alone.accept(babble(3), RATE) + alone.finish()
        found = said[session] + session.finish()
        assert [type(event) for event in found] == [type(event) for event in wanted]
        assert [getattr(event, "text", None) for event in found] == [
            getattr(event, "text", None) for event in wanted
        ]
    with pytest.raises(TypeError):
        engine.stream(chunk_ms=100)
