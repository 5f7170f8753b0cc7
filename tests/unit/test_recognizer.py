"""The recogniser around a model: windows, word times, batching. The model here has random weights."""

import itertools
import subprocess
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch

from s4speech.errors import InputError
from s4speech.streaming.pretrained import bundled_models, find_model
from s4speech.streaming.windows import cut_windows, iter_windows
from s4speech.streaming.word_times import word_times
from s4speech.text.tokenizer import Tokenizer
from tests.tiny_streaming import babble as noise
from tests.tiny_streaming import tiny_recognizer

RATE = 16000
TEXTS = ["THE CAT SAT ON THE MAT", "IT IS A DOG", "HELLO WORLD"] * 5


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer.train(TEXTS, tmp_path_factory.mktemp("tok") / "m", 30)


@pytest.mark.parametrize("seconds", [0.1, 19.9, 20.0, 20.01, 21, 25.3, 30, 39.9, 40.1, 61, 200])
def test_windows_hold_everything_once_and_are_neither_too_long_nor_crumbs(seconds):
    samples = np.random.default_rng(0).uniform(-1, 1, int(seconds * RATE)).astype(np.float32)
    windows = cut_windows(samples, RATE)
    assert windows[0].start == 0
    assert windows[-1].stop == len(samples)
    assert all(one.stop == two.start for one, two in pairwise(windows))
    lengths = [(w.stop - w.start) / RATE for w in windows]
    assert max(lengths) <= 20
    assert len(windows) == 1 or min(lengths) >= 4.9


def test_a_window_ends_in_the_pause():
    samples = np.random.default_rng(0).uniform(-1, 1, 60 * RATE).astype(np.float32)
    samples[int(17.3 * RATE) : int(17.7 * RATE)] *= 0.01
    assert 17.3 < cut_windows(samples, RATE)[0].stop / RATE < 17.7


def posteriors(labels, size, certainty=0.9):
    """(T, V) log-probabilities that favour one label a frame."""
    probs = torch.full((len(labels), size), (1 - certainty) / (size - 1))
    probs[torch.arange(len(labels)), torch.tensor(labels)] = certainty
    return probs.log()


def test_word_times_come_from_the_frames_that_say_them(tokenizer):
    ids = tokenizer.encode("THE CAT")
    labels = [0] * 5
    where = {}
    for index, token in enumerate(ids):
        where[index] = len(labels)
        labels += [token, token, 0, 0]
    labels += [0] * 20
    words = word_times(posteriors(labels, 30), ids, tokenizer, 0.04, 100.0)
    assert [word.text for word in words] == ["THE", "CAT"]
    (_, first), (_, second) = tokenizer.words(ids)
    assert words[0].start_s == pytest.approx(100 + 5 * 0.04)
    assert words[1].start_s == pytest.approx(100 + where[second.start] * 0.04)
    assert words[0].end_s <= words[1].start_s
    # The last word ends 0.2 s after its last mark, not at the end of the silence.
    assert words[1].end_s == pytest.approx(100 + (where[len(ids) - 1] + 2) * 0.04 + 0.2)
    assert words[0].confidence == pytest.approx(0.9, abs=1e-3)
    assert first.stop == second.start


def test_tokens_that_do_not_fit_are_spread_with_confidence_zero(tokenizer):
    ids = tokenizer.encode("THE CAT SAT ON THE MAT")
    words = word_times(posteriors([0] * 3, 30), ids, tokenizer, 0.04, 1.0)
    assert [word.text for word in words] == ["THE", "CAT", "SAT", "ON", "THE", "MAT"]
    assert words[0].start_s == 1.0
    assert words[-1].end_s == pytest.approx(1.12)
    assert {word.confidence for word in words} == {0.0}
    assert word_times(posteriors([0] * 3, 30), [], tokenizer, 0.04, 1.0) == ()


def test_repeated_tokens_need_a_blank(tokenizer):
    token = tokenizer.encode("A")[0]
    assert word_times(posteriors([token] * 2, 30), [token] * 2, tokenizer, 0.04, 0.0)[0].confidence == 0.0
    words = word_times(posteriors([token, 0, token], 30), [token] * 2, tokenizer, 0.04, 0.0)
    assert all(word.confidence > 0.8 for word in words)


def test_a_missing_model_or_file_is_named(tmp_path):
    assert isinstance(bundled_models(), dict)
    with pytest.raises(InputError, match="model 'nothing': no such directory"):
        find_model("nothing")
    with pytest.raises(InputError, match=r"config\.yaml: no such file"):
        find_model(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        find_model(tmp_path)


def test_importing_the_package_loads_no_torch():
    code = (
        "import sys, s4speech, s4speech.streaming.transcript, s4speech.streaming.pretrained;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def make_recognizer(tokenizer, **features):
    from s4speech.config.asr import ASRConfig
    from s4speech.models.asr.build import build_asr
    from s4speech.models.package import ASRPackage, ASRPackageConfig
    from s4speech.streaming.recognizer import Recognizer

    torch.manual_seed(0)
    config = ASRConfig.model_validate(
        {
            "vocab_size": tokenizer.vocab_size,
            "features": features,
            "encoder": {"d_model": 32, "n_layers": 1, "n_heads": 2, "d_ff": 64},
            "decoder": {"type": "s4", "d_model": 32, "n_layers": 1, "n_heads": 2, "d_ff": 64},
        }
    )
    return Recognizer(ASRPackage(build_asr(config), tokenizer, ASRPackageConfig(model=config)))


@pytest.fixture(scope="module")
def recognizer(tokenizer):
    return make_recognizer(tokenizer)


def babble(seconds, rate=RATE):
    return np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * rate)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.025, 0.3, 45])
def test_transcribe_short_and_long(recognizer, seconds):
    seen = []
    result = recognizer.transcribe(
        babble(seconds),
        RATE,
        beam=2,
        ctc_weight=1.0,
        progress=lambda *told: seen.append(told),
    )
    assert result.duration_s == pytest.approx(seconds, abs=1e-3)
    assert seen[-1] == (result.duration_s, result.duration_s)
    assert result.text == " ".join(word.text for word in result.words)
    starts = [word.start_s for word in result.words]
    assert starts == sorted(starts)
    assert all(0 <= word.start_s <= word.end_s <= seconds + 0.1 for word in result.words)


def test_threads_share_one_recognizer(recognizer):
    expected = recognizer.transcribe(babble(2), RATE, beam=3)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(recognizer.transcribe(babble(2), RATE, beam=3)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beam": 0}, "beam: got 0"), ({"ctc_weight": 1.5}, "ctc_weight: got 1.5")],
)
def test_options_out_of_range(recognizer, options, message):
    with pytest.raises(InputError, match=message):
        recognizer.transcribe(babble(1), RATE, **options)


def test_bad_samples(recognizer):
    for samples, message in (
        (np.full(RATE, np.nan), "sample 0"),
        (np.full(RATE, 1e30), "sample 0"),  # its power is infinite in float32
        (np.zeros(1), "has 1 samples"),
    ):
        with pytest.raises(InputError, match=message):
            recognizer.transcribe(samples, RATE)


@pytest.mark.parametrize("window_s", [0.010, 0.032])
def test_the_shortest_recording_is_one_window_of_the_model(tokenizer, tmp_path, window_s):
    recognizer = make_recognizer(tokenizer, window_s=window_s)
    least = round(window_s * RATE)
    for name, count in (("enough", least), ("short", least - 1)):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, babble(1)[:count], RATE)
        if name == "enough":
            assert recognizer.transcribe(babble(1)[:count], RATE) == recognizer.transcribe_file(path)
            continue
        with pytest.raises(InputError, match=f"wanted at least {least}"):
            recognizer.transcribe(babble(1)[:count], RATE)
        with pytest.raises(InputError, match=rf"short\.wav: .*wanted at least {least}"):
            recognizer.transcribe_file(path)


@pytest.mark.parametrize("seconds", [0, 0.1, 19.9, 20.0, 20.01, 25.3, 39.9, 40.1, 61, 200])
def test_windows_of_blocks_are_those_of_the_whole(seconds):
    rng = np.random.default_rng(1)
    samples = rng.uniform(-1, 1, int(seconds * RATE)).astype(np.float32)
    blocks = np.split(samples, np.sort(rng.integers(0, len(samples) + 1, 9)))
    windows = list(iter_windows(blocks, RATE))
    assert [slice(start, start + len(window)) for start, window in windows] == cut_windows(samples, RATE)
    assert np.array_equal(np.concatenate([window for _, window in windows]), samples)


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    return tiny_recognizer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(params=["recognizer", "streaming"])
def either(request):
    return request.getfixturevalue(request.param)


def test_a_file_is_its_samples(either, tmp_path):
    wave, quick = noise(23, 44_100), {"beam": 2, "ctc_weight": 1.0}
    soundfile.write(tmp_path / "a.wav", wave, 44_100, subtype="FLOAT")
    seen = []
    result = either.transcribe(wave, 44_100, **quick)
    assert (
        either.transcribe_file(tmp_path / "a.wav", **quick, progress=lambda *told: seen.append(told))
        == result
    )
    assert len(result.segments) == 2
    assert seen[-1] == pytest.approx((23, 23))
    blocks = ((block, 44_100) for block in np.split(wave, 50))
    assert tuple(either.transcribe_stream(blocks, **quick)) == result.segments


def test_a_recording_without_end_is_transcribed_as_it_comes(streaming, monkeypatch):
    monkeypatch.setattr("s4speech.streaming.recording._MAX_WINDOW_S", 2.0)
    monkeypatch.setattr("s4speech.streaming.recording._AHEAD", 2)
    endless = itertools.repeat((noise(0.5), RATE))
    segments = list(itertools.islice(streaming.transcribe_stream(endless), 4))
    assert [one.end_s <= two.start_s for one, two in pairwise(segments)] == [True] * 3


def test_damage_costs_only_what_follows(streaming):
    good = noise(8)
    blocks = [*((block, RATE) for block in np.split(good, 8)), (np.full(9, np.nan), RATE), (good, RATE)]
    segments = []
    with pytest.raises(InputError, match="sample 0"):
        for segment in streaming.transcribe_stream(blocks):
            segments.append(segment)
    assert tuple(segments) == streaming.transcribe(good, RATE).segments
    with pytest.raises(InputError, match="sample 0"):
        list(streaming.transcribe_stream([(good[:9], RATE), (np.full(9, np.nan), RATE)]))


def test_windows_of_a_streaming_model_are_the_same_in_any_batch(streaming):
    wave = noise(45)
    together = streaming.transcribe(wave, RATE)
    assert len(together.segments) == 3
    starts = [window.start for window in cut_windows(wave, RATE)]
    for start, stop, segment in zip(starts, [*starts[1:], len(wave)], together.segments, strict=True):
        alone = streaming.transcribe(wave[start:stop], RATE)
        assert alone.text == segment.text
        shift = start / RATE
        assert [word.start_s + shift for word in alone.words] == pytest.approx(
            [word.start_s for word in segment.words]
        )


def test_ctc_weight_of_a_streaming_model(streaming):
    wave = noise(4)
    texts = {weight: streaming.transcribe(wave, RATE, ctc_weight=weight).text for weight in (0.01, 0.5, 1.0)}
    assert len(set(texts.values())) > 1
    with pytest.raises(InputError, match="ctc_weight: got 0"):
        streaming.transcribe(wave, RATE, ctc_weight=0.0)
    with pytest.raises(InputError, match="beam: got 0"):
        next(streaming.transcribe_stream([(wave, RATE)], beam=0))
