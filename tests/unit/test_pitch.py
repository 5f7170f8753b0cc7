"""F0 at given times: known tones, octaves, silence, edges, and what is refused."""

import numpy as np
import pytest

from s4speech.audio.pitch import f0_contour
from s4speech.errors import InputError

RATE = 22050


def harmonics(f0_hz, seconds=1.0, rate=RATE):
    """A voice-like tone: harmonics falling as 1/k under 5 kHz, and a little noise; (S,) float32."""
    times = np.arange(int(seconds * rate)) / rate
    f0 = np.broadcast_to(f0_hz, times.shape)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    wave = sum(np.sin(k * phase) / k * (k * f0 < 5000) for k in range(1, 30))
    return (0.1 * wave + np.random.default_rng(0).normal(0, 1e-4, len(times))).astype(np.float32)


def cents(a, b):
    return 1200 * np.log2(a / b)


@pytest.mark.parametrize("rate", [16000, 22050, 24000])
@pytest.mark.parametrize("f0_hz", [80.0, 150.0, 220.0, 400.0])
def test_a_tone_is_found_within_five_cents_without_an_octave_error(f0_hz, rate):
    times = np.arange(0.1, 0.9, 256 / 22050)
    found = f0_contour(harmonics(f0_hz, rate=rate), rate, times)
    assert found.shape == times.shape and found.dtype == np.float32
    assert np.all(found > 0)
    assert np.median(np.abs(cents(found, f0_hz))) < 5
    assert np.max(np.abs(cents(found, f0_hz))) < 50


def test_a_glide_is_followed_at_any_times():
    glide = 120 * 2 ** np.linspace(0, 1, RATE)  # an octave in a second
    times = np.sort(np.random.default_rng(1).uniform(0.1, 0.9, 200))
    found = f0_contour(harmonics(glide), RATE, times)
    assert np.max(np.abs(cents(found, 120 * 2**times))) < 20


def test_silence_noise_and_what_lies_outside_have_no_pitch():
    times = np.arange(0, 1, 0.01)
    assert not f0_contour(np.zeros(RATE, np.float32), RATE, times).any()
    noise = np.random.default_rng(2).normal(0, 0.1, RATE).astype(np.float32)
    assert np.mean(f0_contour(noise, RATE, times) > 0) < 0.1
    assert not f0_contour(harmonics(150.0), RATE, np.array([-0.5, 1.2, 60.0])).any()


def test_where_the_voice_stops_the_pitch_stops():
    wave = np.concatenate([harmonics(150.0, 0.5), np.zeros(RATE // 2, np.float32)])
    found = f0_contour(wave, RATE, np.arange(0.05, 0.95, 0.01))
    assert np.all(found[:38] > 0) and not found[55:].any()


@pytest.mark.parametrize("count", [0, 1, 50, 2000])
def test_short_signals_have_an_answer_of_the_right_length(count):
    found = f0_contour(harmonics(150.0)[:count], RATE, np.arange(0, 0.2, 0.01))
    assert found.shape == (20,) and np.all(np.isfinite(found))


@pytest.mark.parametrize(
    "samples, options",
    [
        (np.zeros((100, 2), np.float32), {}),
        (np.array([0.0, np.nan], np.float32), {}),
        (np.zeros(100, np.float32), {"floor": 0}),
        (np.zeros(100, np.float32), {"floor": 300, "ceiling": 200}),
        (np.zeros(100, np.float32), {"ceiling": 20000}),
    ],
)
def test_what_cannot_be_analysed_is_refused_in_one_line(samples, options):
    with pytest.raises(InputError, match=r"^pitch: got .*wanted"):
        f0_contour(samples, RATE, np.zeros(1), **options)
