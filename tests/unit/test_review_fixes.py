"""What reviews of the streaming code found, each once."""

import io
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from s4speech.config.streaming import EndpointRule, SearchOptions
from s4speech.errors import InputError
from s4speech.models.asr import streaming
from s4speech.models.asr.streaming import StreamingModel
from s4speech.search.frame_sync import FrameSyncSearch, run
from s4speech.search.prefixes import Tail
from s4speech.streaming.engine import BatchEngine
from s4speech.streaming.events import Event, Final
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.segment import LiveSegment
from s4speech.streaming.session import Session
from s4speech.streaming.steps import run_steps
from s4speech.streaming.vad import BLOCK, SpeechProbability
from tests.conftest import message
from tests.tiny_streaming import RATE, babble, tiny_recognizer


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return tiny_recognizer(tmp_path_factory.mktemp("tiny"))


def listen(session: Session, wave: NDArray[Any]) -> list[Event]:
    return session.accept(wave, RATE) + session.finish()


def test_expanding_a_state_makes_its_index_where_the_state_is(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a graphics card an index of the CPU is refused; the meta device stands for one here."""
    devices: list[torch.device] = []

    def spy(state: Any, index: torch.Tensor) -> Any:
        devices.append(index.device)
        return state

    monkeypatch.setattr(streaming, "select_rows", spy)
    state = recognizer.stream().stream.setup.model.decoder.init_state(1)
    streaming._expand(state._replace(position=state.position.to("meta")), 3)
    assert devices == [torch.device("meta")]


# A voice gate


def late(blocks: int = 4) -> SpeechProbability:
    """A detector that is sure 128 ms after speech begins."""
    waiting = deque([0.0] * blocks)

    def speech(samples: NDArray[np.float32]) -> float:
        waiting.append(float(np.abs(samples).max() > 1e-3))
        return waiting.popleft()

    return speech


def spy_on_hearing(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float32]]:
    """The windows that are heard."""
    heard: list[NDArray[np.float32]] = []
    hear = StreamingModel.hear

    def spy(self: StreamingModel, samples: torch.Tensor, state: Any) -> Any:
        heard.extend(samples.numpy().copy())
        return hear(self, samples, state)

    monkeypatch.setattr(StreamingModel, "hear", spy)
    return heard


@pytest.mark.parametrize("chunk_ms", [80, 320, 640])
@pytest.mark.parametrize("onset", [*range(2 * RATE, 2 * RATE + 10240, 1487)])
def test_the_gate_lets_a_quarter_of_a_second_before_the_detector_fires_be_heard(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, chunk_ms: float, onset: int
) -> None:
    heard = spy_on_hearing(monkeypatch)
    # Silence that says where it is, too quiet for the detector.
    wave = np.arange(5 * RATE, dtype=np.float32) * 1e-9
    wave[onset : onset + RATE] += 0.1
    listen(recognizer.stream(chunk_ms=chunk_ms, vad=late()), wave)
    fires = -(-onset // BLOCK) * BLOCK + 3 * BLOCK  # at the earliest
    first, last = round(float(heard[0][0]) * 1e9), round(float(heard[-1][-1]) * 1e9)
    assert first <= fires - RATE // 4
    assert first >= onset - RATE  # and not all of the silence
    assert last >= onset + RATE + RATE // 2  # the gate stays open after speech
    assert sum(map(len, heard)) < 4 * RATE


def test_the_detector_of_a_session_gets_every_sample_once(recognizer: Recognizer) -> None:
    seen: list[NDArray[np.float32]] = []

    def detect(samples: NDArray[np.float32]) -> float:
        seen.append(samples.copy())
        return float(len(seen) % 40 == 0)

    wave = babble(4)
    session = recognizer.stream(vad=detect)
    for piece in np.split(wave, range(999, len(wave), 999)):
        session.accept(piece, RATE)
    session.finish()
    assert np.array_equal(np.concatenate(seen), wave[: len(wave) // BLOCK * BLOCK])


def test_a_late_detector_loses_no_word_and_moves_none(recognizer: Recognizer) -> None:
    quiet = np.zeros(RATE * 2 + 777, np.float32)
    wave = np.concatenate([quiet, babble(3), quiet])

    def loud(samples: NDArray[np.float32]) -> float:
        return float(np.abs(samples).max() > 1e-3)

    wanted = listen(recognizer.stream(vad=loud), wave)
    found = listen(recognizer.stream(vad=late()), wave)
    first, second = (
        [
            (word.text, word.start_s)
            for event in events
            if isinstance(event, Final)
            for word in event.segment.words
        ]
        for events in (wanted, found)
    )
    assert first and first == second


def test_gated_sessions_of_an_engine_say_what_they_say_alone(recognizer: Recognizer) -> None:
    waves = [
        np.concatenate(
            [np.zeros(RATE * n, np.float32), babble(1.5 + n / 4, seed=n), np.zeros(RATE, np.float32)]
        )
        for n in range(4)
    ]
    engine = BatchEngine(recognizer)
    sessions = [engine.stream(vad=late()) for _ in waves] + [engine.stream()]
    said: dict[Any, list[Event]] = {session: [] for session in sessions}
    pieces = [
        np.split(wave, range(4000 + n, len(wave), 4000 + n)) for n, wave in enumerate([*waves, waves[0]])
    ]
    for turn in range(max(map(len, pieces))):
        for session, parts in zip(sessions, pieces, strict=True):
            if turn < len(parts):
                session.accept(parts[turn], RATE)
        for session, events in engine.advance():
            said[session] += events
    for session in sessions:
        said[session] += session.finish()
    alone = [listen(recognizer.stream(vad=late()), wave) for wave in waves]
    alone.append(listen(recognizer.stream(), waves[0]))
    for session, events in zip(sessions, alone, strict=True):
        assert any(isinstance(event, Final) for event in events)
        assert texts(said[session]) == texts(events)


def texts(events: list[Event]) -> list[Any]:
    """Words and times, without confidences, which follow the batch in the last digits."""
    return [
        [(word.text, word.start_s, word.end_s) for word in event.segment.words]
        if isinstance(event, Final)
        else event
        for event in events
    ]


@pytest.mark.parametrize("size", [400, 719, 720, 1999, 2000, 5120 + 3000, 5120 * 3 + 720, 5120 * 3 + 5119])
def test_what_is_passed_over_is_not_more_than_there_is(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    passed: list[int] = []
    skip = LiveSegment.skip

    def spy(self: LiveSegment, frames: int) -> None:
        passed.append(frames)
        skip(self, frames)

    monkeypatch.setattr(LiveSegment, "skip", spy)
    frames: list[int] = []
    advance = LiveSegment.advance

    def counted(self: LiveSegment, log_probs: torch.Tensor, *rest: Any) -> Any:
        frames.append(len(log_probs))
        return advance(self, log_probs, *rest)

    monkeypatch.setattr(LiveSegment, "advance", counted)
    wave = np.zeros(size, np.float32)
    rules = [EndpointRule(name="cap", length_s=60.0)]
    listen(recognizer.stream(endpoints=rules, vad=late()), wave)
    listen(recognizer.stream(endpoints=rules), wave)
    assert passed == frames  # when it is heard
    assert sum(passed) * 1280 <= size


# A cut in the middle of a token


def sharp(path: list[int]) -> NDArray[np.float64]:
    p = np.full((len(path), 8), 1e-6)
    p[range(len(path)), path] = 1.0
    found: NDArray[np.float64] = np.log(p / p.sum(-1, keepdims=True))
    return found


def spoken(*parts: list[int]) -> list[int]:
    """The tokens of segments whose frames say these."""
    tokens: list[int] = []
    tail: Tail | None = None
    for part in parts:
        search = FrameSyncSearch(SearchOptions(beam=4, decoder_weight=0), tail=tail)
        for frame in sharp(part):
            run(search.advance(frame), lambda ask: pytest.fail("a search without a decoder asks nothing"))
        said = search.hypotheses()[0].tokens
        tokens, tail = tokens + said, search.tail_after(said)
    return tokens


@pytest.mark.parametrize("path", [[4, 3, 3, 0, 5], [4, 3, 0, 3, 5], [4, 4, 4, 0, 0, 5, 3, 3]])
def test_a_cut_anywhere_neither_doubles_a_token_nor_loses_one(path: list[int]) -> None:
    whole = spoken(path)
    for first in range(len(path) + 1):
        for second in range(first, len(path) + 1):
            assert spoken(path[:first], path[first:second], path[second:]) == whole


def test_a_token_held_across_the_cap_is_said_once(recognizer: Recognizer) -> None:
    setup = recognizer.stream().stream.setup
    tokenizer, decoder = setup.tokenizer, setup.model.decoder
    a, b, c = ([token] for token in tokenizer.encode("THE CAT SAT ON A DOG")[:3])
    paths = [([*a, *b], [*b, 0, *c]), ([*a, *b, 0], [*b, 0, *c])]
    for (before, after), wanted in zip(paths, [[*a, *b, *c], [*a, *b, *b, *c]], strict=True):
        tokens: list[int] = []
        segment = LiveSegment(setup)
        for path in (before, after):
            log_probs = torch.full((len(path), tokenizer.vocab_size), -20.0)
            log_probs[range(len(path)), path] = 0.0
            projected = decoder.project(torch.zeros(1, len(path), 16))
            run_steps(decoder, [segment.advance(log_probs, projected)])
            assert segment.finish() is not None
            tokens += segment._said
            segment = LiveSegment(setup, segment.opening(), first_frame=segment.next_frame)
        assert tokens == wanted


# Bad arguments

BAD_RATES: list[Any] = [0, -5, 16000.0, float("nan"), "16000", None]


@pytest.mark.parametrize("rate", BAD_RATES)
@pytest.mark.parametrize("size", [0, 8000])
def test_a_bad_rate_is_refused_before_anything_changes(recognizer: Recognizer, rate: Any, size: int) -> None:
    wave = babble(1, 48_000)
    for one, two in ([recognizer.stream() for _ in "12"], [BatchEngine(recognizer).stream() for _ in "12"]):
        wanted = one.accept(wave, 48_000) + one.finish()
        events = two.accept(wave[:20_001], 48_000)
        with pytest.raises(InputError, match=r"^samples: sample rate [^\n]*; wanted [^\n]*$"):
            two.accept(np.zeros(size, np.float32), rate)
        assert wanted and events + two.accept(wave[20_001:], 48_000) + two.finish() == wanted


@pytest.mark.parametrize("together", [False, True])
def test_an_empty_block_at_another_rate_changes_nothing(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    wave, heard = babble(1, 48_000), spy_on_hearing(monkeypatch)
    for between in ([], [(wave[:0], 8000)]):
        session = BatchEngine(recognizer).stream() if together else recognizer.stream()
        for piece, rate in [(wave[:20_001], 48_000), *between, (wave[20_001:], 48_000)]:
            session.accept(piece, rate)
        session.finish()
    half = len(heard) // 2
    assert half and len(heard) == 2 * half
    for one, two in zip(heard[:half], heard[half:], strict=True):
        assert np.array_equal(one, two)


class Uniform:
    """A language model that knows nothing, of so many tokens."""

    def __init__(self, size: int) -> None:
        self._size = size

    def init_state(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 1)

    def score(self, tokens: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(tokens), self._size).log_softmax(-1), state


def test_a_language_model_of_other_tokens_is_refused(recognizer: Recognizer) -> None:
    recognizer.stream(lm=Uniform(30))
    for size in (29, 31):
        told = message(lambda size=size: recognizer.stream(lm=Uniform(size)))  # type: ignore[misc]
        assert told.startswith(f"lm: it scores {size} tokens, the model has 30; ")


def test_one_text_is_no_list_of_hotwords_and_a_path_is(recognizer: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "hotwords.txt"
    path.write_text("THE CAT\n")
    recognizer.stream(hotwords=path)
    for use in (
        recognizer.stream,
        lambda hotwords: recognizer.transcribe_file(io.BytesIO(), hotwords=hotwords),
    ):
        told = message(lambda use=use: use(hotwords="THE CAT"))  # type: ignore[misc]
        assert told.startswith("hotwords: got the text 'THE CAT'; wanted a list")
