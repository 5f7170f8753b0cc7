"""Resampling in pieces: any cut gives the same bytes, and those of the whole at once."""

import numpy as np
import pytest
import soxr

from s4speech.streaming.resample import Resampler
from s4speech.streaming.samples import SampleQueue

TARGET = 16000


def pieces(samples, cuts):
    return np.split(samples, sorted(cuts))


def resampled(samples, rate, cuts=()):
    resampler = Resampler(rate, TARGET)
    parts = [resampler.push(piece) for piece in pieces(samples, cuts)]
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 768_000])
def test_any_cut_gives_the_same_samples(rate):
    rng = np.random.default_rng(rate)
    samples = rng.uniform(-1, 1, rate * 3 // 4 + 7).astype(np.float32)
    whole = resampled(samples, rate)
    assert len(whole) == pytest.approx(len(samples) * TARGET / rate, abs=1)
    assert np.array_equal(whole, soxr.resample(samples, rate, TARGET)) or rate == TARGET
    for count in (1, 5, 300):
        assert np.array_equal(resampled(samples, rate, rng.integers(0, len(samples), count)), whole)
    short = samples[:500]
    assert np.array_equal(resampled(short, rate, range(1, 500)), resampled(short, rate))


@pytest.mark.parametrize(("rate", "delay_ms"), [(8000, 120), (44100, 41), (48000, 41), (96000, 80)])
def test_the_delay_is_bounded_and_the_tone_is_where_it_was(rate, delay_ms):
    t = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    resampler, ready = Resampler(rate, TARGET), 0
    for number, block in enumerate(np.split(tone, 100), start=1):
        ready += len(resampler.push(block))
        assert number * 10 - delay_ms <= 1000 * ready / TARGET <= number * 10
    found = resampled(tone, rate)
    wanted = np.sin(2 * np.pi * 440 * np.arange(len(found)) / TARGET)
    assert np.abs(found - wanted)[800:-800].max() < 1e-3


def test_nothing_in_nothing_out():
    resampler = Resampler(48000, TARGET)
    assert len(resampler.push(np.zeros(0, np.float32))) == 0
    assert len(resampler.flush()) == 0


def test_the_queue_gives_what_was_put_in_and_no_memory_stays():
    queue, rng = SampleQueue(), np.random.default_rng(0)
    samples = np.arange(100_000, dtype=np.float32)
    taken, put = 0, 0
    while taken < len(samples):
        size = int(rng.integers(0, 700))
        queue.push(samples[put : put + size])
        put += size
        while len(queue) >= 500 or (put >= len(samples) and len(queue)):
            window = queue.take(500, 320)
            assert np.array_equal(window, samples[taken : taken + len(window)])
            taken += min(320, len(window))
    queue.push(samples)  # a backlog
    queue.take(len(queue))
    queue.push(samples[:10])
    for _ in range(20_000):
        queue.push(samples[:10])
        queue.take(10)
    assert len(queue._data) < 1000
