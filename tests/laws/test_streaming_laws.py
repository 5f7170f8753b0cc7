"""The laws of streams: how audio is cut, who else listens, and how long it lasts change nothing."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from s4speech.streaming.engine import BatchEngine
from s4speech.streaming.events import Event, Final, Partial
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.session import Session
from tests.tiny_streaming import RATE, babble, tiny_recognizer

RATES = [8000, 16000, 44100, 48000, 96000]


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return tiny_recognizer(tmp_path_factory.mktemp("tiny"))


def heard(session: Session, pieces: list[NDArray[Any]], rate: int = RATE) -> list[Event]:
    """Everything a session says."""
    events = [event for piece in pieces for event in session.accept(piece, rate)]
    return events + session.finish()


@pytest.fixture(scope="module")
def whole(recognizer: Recognizer) -> dict[int, list[Event]]:
    """What is said about 6 s in one piece, at each rate."""
    return {rate: heard(recognizer.stream(), [babble(6, rate)], rate) for rate in RATES}


def finals(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def test_the_babble_has_something_to_say(whole: dict[int, list[Event]]) -> None:
    for events in whole.values():
        assert len(finals(events)) >= 3
        assert "pause" in {final.reason for final in finals(events)}
        assert sum(len(final.segment.words) for final in finals(events)) >= 3
    assert {"cap", "end"} <= {final.reason for events in whole.values() for final in finals(events)}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", range(3))
def test_any_cut_gives_the_same_events(
    recognizer: Recognizer, whole: dict[int, list[Event]], rate: int, seed: int
) -> None:
    wave, rng = babble(6, rate), np.random.default_rng(seed)
    cuts = rng.integers(0, len(wave), [3, 30, 300][seed])
    pieces = np.split(wave, np.sort(cuts))
    assert repr(heard(recognizer.stream(), pieces, rate)) == repr(whole[rate])


def test_one_sample_at_a_time(recognizer: Recognizer) -> None:
    wave = babble(1.5)
    single = heard(recognizer.stream(), [wave[i : i + 1] for i in range(len(wave))])
    assert repr(single) == repr(heard(recognizer.stream(), [wave]))
    assert finals(single)


@pytest.mark.parametrize("chunk_ms", [80, 160, 640, 1000])
def test_any_cut_at_any_chunk_size(recognizer: Recognizer, chunk_ms: float) -> None:
    wave = babble(4)
    pieces = np.split(wave, range(777, len(wave), 777))
    one, many = (recognizer.stream(chunk_ms=chunk_ms) for _ in range(2))
    assert repr(heard(many, pieces)) == repr(heard(one, [wave]))


@pytest.mark.parametrize("decoder", ["s4", "transformer"])
@pytest.mark.parametrize(
    "search",
    [{}, {"decoder_weight": 0.0}, {"rescore_weight": 0.0}, {"decoder_weight": 0.0, "rescore_weight": 0.0}],
    ids=["both", "rescore", "onepass", "ctc"],
)
def test_stable_words_stay_and_times_go_on(tmp_path: Path, decoder: str, search: dict[str, float]) -> None:
    recognizer = tiny_recognizer(tmp_path, decoder=decoder, search={"beam": 4} | search)
    stable, clock, said = "", 0.0, 0
    for event in heard(recognizer.stream(), [babble(8, seed=3)]):
        if isinstance(event, Partial):
            assert event.text.startswith(event.stable_text)
            assert event.stable_text.startswith(stable)
            assert event.start_s <= event.heard_s
            stable = event.stable_text
        else:
            assert event.segment.text.startswith(stable)
            assert event.segment.text == " ".join(word.text for word in event.segment.words)
            for word in event.segment.words:
                assert clock <= word.start_s <= word.end_s <= 8.0
                assert 0 <= word.confidence <= 1
                clock = word.start_s
            said += len(event.segment.words)
            stable = ""
    assert said >= 5


def interleaved(
    recognizer: Recognizer, waves: list[NDArray[np.float32]], seed: int, **options: Any
) -> list[list[Event]]:
    """What sessions of one engine say that join, pause and finish at any time."""
    rng, engine = np.random.default_rng(seed), BatchEngine(recognizer)
    said: list[list[Event]] = [[] for _ in waves]
    sessions: dict[int, Any] = {}
    left = dict(enumerate(waves))
    index_of: dict[Any, int] = {}
    while left:
        for index in list(left):
            if index not in sessions:
                if rng.random() < 0.5:
                    continue
                sessions[index] = engine.stream(**options)
                index_of[sessions[index]] = index
            if rng.random() < 0.3:
                continue
            size = int(rng.integers(0, 12_000))
            assert sessions[index].accept(left[index][:size], RATE) == []
            left[index] = left[index][size:]
            if not len(left[index]):
                del left[index]
                said[index] += sessions[index].finish()
        for session, events in engine.advance():
            said[index_of[session]] += events
    assert engine.advance() == []
    return said


def plain(events: list[Event], with_confidence: bool = False) -> list[Any]:
    """Everything but the confidences."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, Partial):
            found.append(event)
        else:
            words = [(word.text, word.start_s, word.end_s) for word in event.segment.words]
            found.append((event.reason, event.segment.text, words))
    return found


@pytest.mark.parametrize("decoder", ["s4", "transformer"])
def test_eight_sessions_together_are_eight_alone(tmp_path: Path, decoder: str) -> None:
    recognizer = tiny_recognizer(tmp_path, decoder=decoder)
    waves = [babble(1.5 + 0.3 * seed, seed=seed) for seed in range(8)]
    together = interleaved(recognizer, waves, seed=0)
    for wave, found in zip(waves, together, strict=True):
        alone = heard(recognizer.stream(), [wave])
        assert plain(found) == plain(alone)
        assert finals(found)
        for one, two in zip(finals(found), finals(alone), strict=True):
            for a, b in zip(one.segment.words, two.segment.words, strict=True):
                assert a.confidence == pytest.approx(b.confidence, abs=2e-3)


def footprint(value: Any, shared: set[int]) -> int:
    """Bytes of the tensors and arrays, and items of the containers, that an object holds."""
    if id(value) in shared or isinstance(value, (str, int, float, type(None))):
        return 0
    shared.add(id(value))
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes()
    if isinstance(value, np.ndarray):
        return value.nbytes
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = [*value]
    for name in itertools.chain(getattr(value, "__dict__", ()), *(getattr(type(value), "__slots__", ()),)):
        parts.append(getattr(value, name, None))
    return len(parts) + sum(footprint(part, shared) for part in parts)


def test_nothing_grows(recognizer: Recognizer) -> None:
    session = recognizer.stream(chunk_ms=160)
    setup = session.stream.setup
    wave, sizes = babble(3), []
    for chunk in range(220):
        session.accept(np.roll(wave, 777 * chunk)[: RATE * 16 // 100], RATE)
        if chunk % 5 == 0:
            sizes.append(footprint(session, {id(setup), id(setup.model), id(setup.tokenizer)}))
    assert max(sizes[24:]) <= 1.05 * max(sizes[4:16])
    leaves = [tuple(leaf.shape) for leaf in _leaves(session.stream.state)]
    assert leaves == [tuple(leaf.shape) for leaf in _leaves(setup.model.init_state(1))]


def _leaves(state: Any) -> list[torch.Tensor]:
    return [state] if isinstance(state, torch.Tensor) else [leaf for part in state for leaf in _leaves(part)]
