"""Scores of synthesis against what they must be: the formula, stretched time, shifted pitch, voicing."""

import math

import numpy as np
import pytest

from s4speech.audio.pitch import f0_contour
from s4speech.errors import InputError
from s4speech.metrics.interval import bootstrap_mean
from s4speech.metrics.synthesis import (
    FRAME_S,
    Frames,
    analyse,
    compare,
    compare_frames,
    mel_cepstral_distortion,
    mel_cepstrum,
    time_warp,
)

RATE = 22050
PER_UNIT_DB = 10 / math.log(10) * math.sqrt(2)


def vowels(f0_hz=150.0, parts=((700, 1200), (300, 2300), (500, 900)), seconds=0.3):
    """A voice saying a few vowels, two formants (Hz) each; (S,) float32."""
    times = np.arange(int(seconds * RATE)) / RATE
    spoken = []
    for formants in parts:
        wave = np.zeros(len(times))
        for k in range(1, int(5000 / f0_hz)):
            gain = sum(1 / (1 + ((k * f0_hz - formant) / 120) ** 2) for formant in formants) + 0.003
            wave += gain * np.sin(2 * np.pi * k * f0_hz * times)
        spoken.append(wave)
    signal = 0.05 * np.concatenate(spoken)
    return (signal + np.random.default_rng(0).normal(0, 1e-4, len(signal))).astype(np.float32)


def frames(count=60, seed=0, f0_hz=120.0):
    cepstrum = np.random.default_rng(seed).normal(size=(count, 25)).cumsum(axis=0)
    return Frames(np.full(count, f0_hz), cepstrum)


def test_speech_against_itself_has_no_distortion_whatever_its_level_and_silence():
    speech = vowels()
    score = compare(speech, speech, RATE, f0_contour)
    assert (score.mcd_db, score.f0_rmse_cents, score.voicing_error, score.duration_error_s) == (0, 0, 0, 0)
    assert score.duration_s == pytest.approx(0.9, abs=0.02)
    padded = np.concatenate([np.zeros(2205, np.float32), 0.5 * speech, np.zeros(9000, np.float32)])
    padded_score = compare(speech, padded, RATE, f0_contour)
    assert padded_score.mcd_db < 0.8
    assert abs(padded_score.duration_error_s) <= 0.03
    assert mel_cepstral_distortion(speech, padded, RATE, f0_contour) == padded_score.mcd_db


def test_other_sounds_are_farther_than_the_same_sounds():
    near = mel_cepstral_distortion(vowels(), vowels(155.0), RATE, f0_contour)
    far = mel_cepstral_distortion(vowels(), vowels(parts=((300, 700), (800, 1800))), RATE, f0_contour)
    assert 0 < near < 0.6 * far


def test_an_offset_of_one_coefficient_gives_the_value_of_the_formula():
    a = frames()
    moved = a.cepstrum.copy()
    moved[:, 0] += 5.0  # the level does not count
    moved[:, 1] += 0.01
    moved[:, 24] -= 0.02
    score = compare_frames(a, Frames(a.f0_hz, moved))
    assert score.mcd_db == pytest.approx(PER_UNIT_DB * math.hypot(0.01, 0.02))


def test_time_warping_undoes_a_stretch():
    a = frames()
    stretched = Frames(np.repeat(a.f0_hz, 3), np.repeat(a.cepstrum, 3, axis=0))
    score = compare_frames(a, stretched)
    assert score.mcd_db == 0 and score.voicing_error == 0
    assert score.duration_error_s == pytest.approx(2 * 60 * FRAME_S)
    assert score.duration_error_percent == pytest.approx(200)


def test_the_path_pairs_every_frame_in_order_and_is_the_shortest():
    random = np.random.default_rng(3)
    a, b = random.normal(size=(5, 2)), random.normal(size=(6, 2))
    distances, pairs = time_warp(a, b)
    assert pairs[0].tolist() == [0, 0] and pairs[-1].tolist() == [4, 5]
    steps = {tuple(step) for step in np.diff(pairs, axis=0).tolist()}
    assert steps <= {(0, 1), (1, 0), (1, 1)}

    def shortest(i, j):  # every path
        here = float(np.linalg.norm(a[i] - b[j]))
        if i == j == 0:
            return here
        before = [(i - 1, j), (i, j - 1), (i - 1, j - 1)]
        return here + min(shortest(x, y) for x, y in before if x >= 0 and y >= 0)

    assert distances.sum() == pytest.approx(shortest(4, 5))


def test_a_semitone_is_a_hundred_cents_and_its_logarithm_is_as_documented():
    a = frames()
    score = compare_frames(a, Frames(a.f0_hz * 2 ** (1 / 12), a.cepstrum))
    assert score.f0_rmse_cents == pytest.approx(100)
    assert score.f0_rmse_cents * math.log(2) / 1200 == pytest.approx(math.log(2) / 12)
    # One vowel that rises and falls: at sudden edges the pitch is not found exactly.
    low, high = (vowels(f0, ((700, 1200),)) * np.hanning(6615) for f0 in (150.0, 150.0 * 2 ** (1 / 12)))
    heard = compare(low.astype(np.float32), high.astype(np.float32), RATE, f0_contour)
    assert heard.f0_rmse_cents == pytest.approx(100, abs=5)
    assert heard.voicing_error < 0.05


def test_voicing_counts_pairs_and_pitch_only_those_voiced_in_both():
    a = frames(count=40)
    f0 = a.f0_hz.copy()
    f0[:10] = 0
    f0[10:] *= 2
    score = compare_frames(a, Frames(f0, a.cepstrum))
    assert score.voicing_error == pytest.approx(10 / 40)
    assert score.f0_rmse_cents == pytest.approx(1200)
    assert math.isnan(compare_frames(a, Frames(np.zeros(40), a.cepstrum)).f0_rmse_cents)


def test_the_cepstrum_of_a_flat_envelope_is_its_level():
    cepstrum = mel_cepstrum(np.full((3, 513), math.exp(2 * 1.5)), RATE)
    assert cepstrum.shape == (3, 25)
    np.testing.assert_allclose(cepstrum[:, 0], 1.5)
    np.testing.assert_allclose(cepstrum[:, 1:], 0, atol=1e-12)


@pytest.mark.parametrize("rate, alpha", [(16000, 0.41), (22050, 0.455), (48000, 0.554)])
def test_an_envelope_made_of_warped_cosines_gives_its_coefficients_back(rate, alpha):
    # alpha: SPTK's table of warpings by sample rate
    w = np.pi * np.arange(4097) / 4096
    warped = w + 2 * np.arctan(alpha * np.sin(w) / (1 - alpha * np.cos(w)))
    wanted = np.random.default_rng(1).normal(size=25) / np.arange(1, 26)
    log_amplitude = np.cos(np.outer(warped, np.arange(25))) @ wanted
    found = mel_cepstrum(np.exp(2 * log_amplitude)[None], rate)[0]
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_the_distortion_is_the_distance_of_the_log_spectra_in_decibels():
    # Parseval, on the warped axis: the root mean square over frequency of 20 log10 of the amplitudes' ratio.
    difference = np.random.default_rng(2).normal(size=24)
    warped = np.pi * (np.arange(1000) + 0.5) / 1000
    ratio_db = 20 / math.log(10) * np.cos(np.outer(warped, np.arange(1, 25))) @ difference
    a = Frames(np.zeros(1), np.zeros((1, 25)))
    b = Frames(np.zeros(1), np.concatenate([[0.0], difference])[None])
    assert compare_frames(a, b).mcd_db == pytest.approx(np.sqrt(np.mean(ratio_db**2)))


@pytest.mark.parametrize(
    "samples, said",
    [
        (np.zeros(0, np.float32), "without sound"),
        (np.zeros(RATE, np.float32), "without sound"),
        (np.ones((10, 2), np.float32), "mono"),
        (np.array([np.nan], np.float32), "finite"),
        (np.ones(61 * RATE, np.float32), "at most 60 s"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(samples, said):
    with pytest.raises(InputError, match=f"^score: synthesised: .*{said}"):
        analyse(samples, RATE, f0_contour, "synthesised")


def test_the_mean_comes_with_an_interval_that_covers_it():
    random = np.random.default_rng(4)
    covered = 0
    for seed in range(200):
        found = bootstrap_mean(random.normal(3.0, 1.0, 60).tolist(), resamples=200, seed=seed)
        assert found.low <= found.mean <= found.high
        covered += found.low <= 3.0 <= found.high
    assert 0.88 < covered / 200 < 0.99
    assert bootstrap_mean([1.0, math.nan, 2.0])[::3] == (1.5, 2)
    assert math.isnan(bootstrap_mean([]).mean) and bootstrap_mean([]).values == 0
