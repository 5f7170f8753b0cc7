"""Laws of speech from text: chunks, word times, durations, pitch, volume, threads; any text is answered."""

import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import s4speech
from s4speech.errors import InputError
from s4speech.streaming.synthesizer import Speech, Synthesizer
from tests.conftest import REPOSITORY, message
from tests.e2e.test_docs_code import run_blocks
from tests.tiny_voice import HERTZ, tiny_synthesizer, tiny_voice

TEXT = "Good morning, all of you. It is 7 o'clock!\n\nWho is it?"
SSML = (
    '<speak>One <prosody volume="-12dB">two three</prosody><break time="300ms"/>'
    '<prosody rate="slow" pitch="+2st">four, five.</prosody></speak>'
)


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    return tiny_synthesizer(tmp_path_factory.mktemp("voices") / "tiny")


def streamed(synthesizer: Synthesizer, text: Any, **options: Any) -> Speech:
    chunks = list(synthesizer.stream(text, **options))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    return Speech(samples, chunks[0].sample_rate, tuple(word for chunk in chunks for word in chunk.words))


def pitch_hz(samples: NDArray[np.float32], rate: int) -> float:
    """By the shortest lag at which the samples are nearly the same again, 60 to 700 Hz."""
    power = np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2
    again = np.fft.irfft(power)[: rate // 60]
    lags = np.arange(rate // 700, len(again) - 1)
    peaks = [k for k in lags if again[k] > max(again[k - 1], again[k + 1])]
    best = max(again[k] for k in peaks)
    return rate / next(k for k in peaks if again[k] > 0.85 * best)


@pytest.mark.parametrize("text", [TEXT, SSML], ids=["plain", "ssml"])
@pytest.mark.parametrize("first_chunk_s", [1e-3, 0.1, 0.7])
def test_streamed_is_whole(synthesizer: Synthesizer, text: str, first_chunk_s: float) -> None:
    options: dict[str, Any] = {"length_scale": 1.3, "pitch": -3.0, "volume": 0.7, "speaker": "bob"}
    whole = synthesizer.synthesize(text, **options)
    parts = streamed(synthesizer, text, first_chunk_s=first_chunk_s, **options)
    assert whole.samples.dtype == parts.samples.dtype == np.float32
    assert len(whole.samples) == len(parts.samples) and whole.sample_rate == 8000
    assert np.abs(whole.samples).max() > 1e-2
    np.testing.assert_allclose(parts.samples, whole.samples, rtol=0, atol=1e-4)
    assert parts.words == whole.words


def test_the_first_chunk_is_as_long_for_any_text(synthesizer: Synthesizer) -> None:
    first = [next(synthesizer.stream(text)) for text in (TEXT, TEXT * 1000, "on and on " * 10_000)]
    assert 0.2 < first[0].duration_s < 0.4
    assert all(chunk.duration_s == first[0].duration_s for chunk in first)


def test_the_first_sentence_is_the_same_whatever_follows(synthesizer: Synthesizer) -> None:
    one = synthesizer.synthesize("Good morning, all of you.").samples
    two = synthesizer.synthesize("Good morning, all of you. Bye.", sentence_silence_s=0.5).samples
    np.testing.assert_allclose(two[: len(one)], one, rtol=0, atol=1e-4)
    assert not two[len(one) : len(one) + 4000].any() and two[len(one) + 4000 :].any()


@pytest.mark.parametrize("text", [TEXT, SSML, "on and on " * 200], ids=["plain", "ssml", "long"])
def test_word_times_follow_one_another_inside_the_audio(synthesizer: Synthesizer, text: str) -> None:
    speech = synthesizer.synthesize(text)
    words = speech.words
    assert [word.text for word in words[:3]] in (
        ["good", "morning", "all"],
        ["one", "two", "three"],
        ["on", "and", "on"],
    )
    assert words[0].start_s > 0 and words[-1].end_s < speech.duration_s
    assert all(word.start_s < word.end_s for word in words)
    assert all(a.end_s <= b.start_s for a, b in pairwise(words))


def test_a_break_is_silence_between_the_words_beside_it(synthesizer: Synthesizer) -> None:
    speech = synthesizer.synthesize('<speak>one<break time="1s"/>two</speak>')
    one, two = speech.words
    assert two.start_s - one.end_s > 1.0
    quiet = np.flatnonzero(speech.samples == 0)
    assert len(quiet) >= 8000
    assert one.end_s * 8000 <= quiet[0] and quiet[-1] <= two.start_s * 8000


def test_length_scale_and_rate_change_the_duration(synthesizer: Synthesizer) -> None:
    def seconds(text: str, **options: float) -> float:
        return synthesizer.synthesize(text, **options).duration_s

    text = "It is a very fine morning."
    assert seconds(text, length_scale=2.0) / seconds(text) == pytest.approx(2, rel=0.05)
    assert seconds(text, length_scale=0.5) / seconds(text) == pytest.approx(0.5, rel=0.05)
    slow = f'<speak><prosody rate="50%">{text}</prosody></speak>'
    assert seconds(slow) == seconds(text, length_scale=2.0)


def test_pitch_changes_the_pitch_only(synthesizer: Synthesizer) -> None:
    text = "Oh, my."
    plain = synthesizer.synthesize(text, length_scale=4)
    assert pitch_hz(plain.samples, 8000) == pytest.approx(HERTZ, rel=0.1)
    for semitones in (-7.0, 12.0):
        higher = synthesizer.synthesize(text, length_scale=4, pitch=semitones)
        assert higher.words == plain.words and len(higher.samples) == len(plain.samples)
        ratio = pitch_hz(higher.samples, 8000) / pitch_hz(plain.samples, 8000)
        assert ratio == pytest.approx(2 ** (semitones / 12), rel=0.03)
        marked = f'<speak><prosody pitch="{semitones:+g}st">{text}</prosody></speak>'
        assert np.array_equal(synthesizer.synthesize(marked, length_scale=4).samples, higher.samples)


def test_volume_scales_the_samples(synthesizer: Synthesizer) -> None:
    plain = synthesizer.synthesize(TEXT).samples
    assert np.array_equal(synthesizer.synthesize(TEXT, volume=0.5).samples, plain * np.float32(0.5))
    assert not synthesizer.synthesize(TEXT, volume=0).samples.any()


def test_the_volume_of_words_changes_without_a_step(synthesizer: Synthesizer) -> None:
    def say(volume: str) -> Speech:
        return synthesizer.synthesize(f'<speak>one <prosody volume="{volume}">two</prosody> three</speak>')

    plain, soft = say("+0dB"), say("-20dB")
    assert soft.words == plain.words
    near = np.abs(plain.samples) > 1e-3
    gains = np.where(near, soft.samples / np.where(near, plain.samples, 1), np.nan)
    start, stop = (round(8000 * time) for time in (plain.words[1].start_s, plain.words[1].end_s))
    frame = 64
    for part, wanted in ((slice(start + frame, stop - frame), 0.1), (slice(start - frame), 1.0)):
        np.testing.assert_allclose(gains[part][near[part]], wanted, rtol=1e-3)
    at = np.flatnonzero(near)
    steps = np.abs(np.diff(gains[at])) / np.diff(at)
    assert steps.max() < 1.5 * 0.9 / frame


def test_speakers_differ_and_an_unknown_one_is_named(synthesizer: Synthesizer) -> None:
    assert synthesizer.speakers == ("ann", "bob")
    ann, bob = (synthesizer.synthesize("Hello.", speaker=name).samples for name in ("ann", "bob"))
    assert np.array_equal(ann, synthesizer.synthesize("Hello.").samples)
    assert np.array_equal(bob, synthesizer.synthesize("Hello.", speaker=1).samples)
    assert len(ann) != len(bob) or np.abs(ann - bob).max() > 1e-3
    error = message(lambda: synthesizer.stream("Hello.", speaker="eve"))
    assert error == "speaker: got 'eve'; wanted one of ann, bob"


def test_what_is_wrong_is_said_before_anything_is_made(synthesizer: Synthesizer) -> None:
    for text in ("", " ?! "):
        assert "give some words" in message(lambda text=text: synthesizer.stream(text))  # type: ignore[misc]
    assert "SSML line 2, column 1" in message(lambda: synthesizer.stream("<speak>a\n<b/></speak>"))
    assert "length_scale: got 0" in message(lambda: synthesizer.stream("a", length_scale=0))
    assert "first_chunk_s: got inf" in message(lambda: synthesizer.stream("a", first_chunk_s=float("inf")))
    # SSML in the text of a user, who is not to be taken for a program
    assert synthesizer.synthesize("<speak>a</speak>", ssml=False).words[0].text != "a"


def test_pieces_of_text_sound_as_the_whole(synthesizer: Synthesizer) -> None:
    assert np.array_equal(streamed(synthesizer, iter(TEXT)).samples, streamed(synthesizer, TEXT).samples)


def test_describe(synthesizer: Synthesizer) -> None:
    (first, phonemes), *rest = synthesizer.describe("Dr. Smith is 7. Is he?")
    assert first == "doctor smith is seven."
    assert phonemes == "dˈɑktəɹ smˈɪθ ɪz sˈɛvən."
    assert [spoken for spoken, _ in rest] == ["is he?"]


@given(text=st.text(max_size=40))
@settings(max_examples=25, deadline=None)
def test_any_text_is_spoken_or_refused(synthesizer: Synthesizer, text: str) -> None:
    try:
        speech = synthesizer.synthesize(text, ssml=False)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert speech.words and np.isfinite(speech.samples).all()


def test_threads_share_one_synthesizer(synthesizer: Synthesizer) -> None:
    texts = [TEXT, "Something else, and longer than that."]
    alone = [synthesizer.synthesize(text).samples for text in texts]
    together: list[list[NDArray[np.float32]]] = [[], []]

    def work(number: int) -> None:
        for _ in range(3):
            together[number].append(streamed(synthesizer, texts[number]).samples)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for wanted, got in zip(alone, together, strict=True):
        assert len(got) == 3
        for samples in got:
            np.testing.assert_allclose(samples, wanted, rtol=0, atol=1e-4)


def test_a_voice_of_characters(tmp_path: Path) -> None:
    synthesizer = tiny_synthesizer(tmp_path / "letters", unit="characters")
    assert list(synthesizer.describe("Hi, 2 you.")) == [("hi, two you.", "hi, two you.")]
    assert [word.text for word in synthesizer.synthesize("Hi, 2 you.").words] == ["hi", "two", "you"]
    assert "reads characters" in message(lambda: synthesizer.stream("[[hˈI]]"))


def test_load_with_the_bundled_letter_to_sound(tmp_path: Path) -> None:
    loaded = s4speech.Synthesizer.load(tiny_voice(tmp_path / "tiny"))
    ((_, guessed),) = loaded.describe("brimfle")
    ((_, spelled),) = Synthesizer.load(tmp_path / "tiny", g2p=None).describe("brimfle")
    assert guessed.startswith("bɹ") and len(guessed) < len(spelled)


def test_the_code_of_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = tiny_voice(tmp_path / "tiny")
    monkeypatch.setattr("s4speech.streaming.pretrained.bundled_models", lambda: {"en-tts": voice})
    namespace = run_blocks(REPOSITORY / "docs" / "synthesis.md")
    assert sum(namespace["seconds"]) > 1
