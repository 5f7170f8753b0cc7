"""Speech Commands: which clip is in which part, waveforms, augmentation, and what is wrong with a folder."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s4speech.data.augment import Augmentation, Augmenter, to_float, to_int16
from s4speech.data.classify import SequenceDataset, make_loader
from s4speech.data.speech_commands import WORDS, check_clips, read_speech_commands, speech_commands_task
from tests.conftest import REPOSITORY, message

SPEECH_COMMANDS = REPOSITORY / "data" / "speech_commands"
TINY_WORDS = ("yes", "no")
SPEAKERS = [hashlib.sha1(bytes([i])).hexdigest()[:8] for i in range(40)]


def write_clip(path: Path, samples: int = 16000, rate: int = 16000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(path.name).encode()))
    shape = (samples, channels) if channels > 1 else samples
    soundfile.write(path, rng.uniform(-0.5, 0.5, shape), rate, subtype="PCM_16")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """40 speakers, two words each; the clips of the first are shorter. Other folders as in the archive."""
    root = tmp_path / "speech_commands"
    for number, speaker in enumerate(SPEAKERS):
        for word in TINY_WORDS:
            write_clip(root / word / f"{speaker}_nohash_0.wav", 1200 if number else 800)
    write_clip(root / "_background_noise_" / "running_tap.wav")
    write_clip(root / "_silence_" / "_silence_1.wav")
    (root / "README.md").write_text("read me")
    (root / "yes" / "notes.txt").write_text("not a clip")
    return root


def write_lists(root: Path, valid: list[str], test: list[str]) -> None:
    for name, speakers in (("validation_list.txt", valid), ("testing_list.txt", test)):
        lines = [f"{word}/{speaker}_nohash_0.wav" for word in TINY_WORDS for speaker in speakers]
        # other words, which nobody asked for, are in the lists too
        (root / name).write_text("\n".join([*lines, "zero/00000000_nohash_0.wav"]) + "\n")


def test_the_35_words():
    assert len(WORDS) == len(set(WORDS)) == 35 and list(WORDS) == sorted(WORDS)


def test_official_lists_decide(corpus):
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])
    parts = read_speech_commands(corpus, "official", TINY_WORDS)
    speakers = {part: {clip.speaker for clip in clips} for part, clips in parts.items()}
    assert speakers == {"valid": set(SPEAKERS[:3]), "test": set(SPEAKERS[3:8]), "train": set(SPEAKERS[8:])}
    assert {part: len(clips) for part, clips in parts.items()} == {"train": 64, "valid": 6, "test": 10}
    for clip in parts["train"]:
        assert clip.path == corpus / clip.word / f"{clip.speaker}_nohash_0.wav"


def test_a_missing_list_is_named_with_the_other_way_to_split(corpus):
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])
    (corpus / "testing_list.txt").unlink()
    told = message(lambda: read_speech_commands(corpus, "official", TINY_WORDS))
    assert str(corpus / "testing_list.txt") in told and "split=speakers" in told


def test_speakers_are_in_one_part_and_stay_there(corpus):
    percentages = (60, 20, 20)
    parts = read_speech_commands(corpus, "speakers", TINY_WORDS, percentages)
    speakers = {part: {clip.speaker for clip in clips} for part, clips in parts.items()}
    assert set.union(*speakers.values()) == set(SPEAKERS)
    assert sum(map(len, speakers.values())) == len(SPEAKERS)
    assert parts == read_speech_commands(corpus, "speakers", TINY_WORDS, percentages)
    for speaker in SPEAKERS:
        write_clip(corpus / "yes" / f"{speaker}_nohash_1.wav")
    more = read_speech_commands(corpus, "speakers", TINY_WORDS, percentages)
    assert {part: {clip.speaker for clip in clips} for part, clips in more.items()} == speakers


def test_percentages_are_of_the_speakers(tmp_path):
    for number in range(1000):
        path = tmp_path / "yes" / f"{number:08x}_nohash_0.wav"
        path.parent.mkdir(exist_ok=True)
        path.touch()  # no audio is read
    parts = read_speech_commands(tmp_path, "speakers", ["yes"], (70, 10, 20))
    shares = {part: len(clips) / 1000 for part, clips in parts.items()}
    assert shares == pytest.approx({"train": 0.7, "valid": 0.1, "test": 0.2}, abs=0.05)


def test_clips_are_the_files_with_their_own_length(corpus):
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])
    cached = speech_commands_task(corpus, words=TINY_WORDS)
    read = speech_commands_task(corpus, words=TINY_WORDS, cache=False)
    assert (cached.classes, cached.vocab_size, cached.per_frame) == (TINY_WORDS, None, False)
    assert (len(cached.train), len(cached.valid), len(cached.test["test"])) == (64, 6, 10)
    assert sorted(cached.valid.lengths) == [800] * 2 + [1200] * 4
    for task in (cached, read):
        clips = read_speech_commands(corpus, "official", TINY_WORDS)["valid"]
        for i, clip in enumerate(clips):
            samples, target = task.valid[i]
            assert samples.dtype == torch.float32 and target.dtype == torch.int64
            assert task.classes[int(target)] == clip.word
            assert np.array_equal(samples[:, 0].numpy(), soundfile.read(clip.path, dtype="float32")[0])
    (batch,) = make_loader(cached.valid, 6, shuffle=False, seed=0)
    assert batch.inputs.shape == (6, 1200, 1) and batch.lengths.tolist() == cached.valid.lengths


def test_the_test_part_at_half_the_rate_keeps_what_is_below_and_loses_what_is_above(corpus):
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])
    time = np.arange(16000) / 16000
    low, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 6000 * time)
    soundfile.write(corpus / "yes" / f"{SPEAKERS[3]}_nohash_0.wav", 0.3 * (low + high), 16000)
    task = speech_commands_task(corpus, words=TINY_WORDS, test_rates=(16000, 8000, 11025))
    assert {name: part.rate for name, part in task.test.items()} == {
        "test": 1.0,
        "test-8k": 2.0,
        "test-11.025k": 16000 / 11025,
    }
    index = task.test["test"].lengths.index(16000)
    half, target = task.test["test-8k"][index]
    assert half.shape == (8000, 1) and target == task.test["test"][index][1]
    inner = slice(500, 7500)
    assert np.abs(half[inner, 0].numpy() - 0.3 * low[::2][inner]).max() < 1e-3
    assert all(
        len(part[i][0]) == pytest.approx(part.lengths[i], abs=1)
        for part in task.test.values()
        for i in range(10)
    )


def test_augmentation_depends_on_seed_epoch_and_example(corpus):
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])

    def train(seed: int) -> SequenceDataset:
        options = Augmentation(shift_s=0.01, noise=corpus / "_background_noise_")
        return speech_commands_task(corpus, words=TINY_WORDS, augmentation=options, seed=seed).train

    first, again, other = train(0), train(0), train(1)
    for index in (0, 5):
        sample = first.example(index, 2)[0]
        assert len(sample) == first.lengths[index]
        assert torch.equal(sample, again.example(index, 2)[0])
        assert not torch.equal(sample, first.example(index, 3)[0])
        assert not torch.equal(sample, other.example(index, 2)[0])
    valid = speech_commands_task(corpus, words=TINY_WORDS, augmentation=Augmentation()).valid
    assert torch.equal(valid.example(0, 0)[0], valid.example(0, 9)[0])


def test_augmentation_shifts_and_scales_within_its_limits():
    samples = np.linspace(0.1, 0.9, 1000, dtype=np.float32)
    shift = Augmenter(Augmentation(shift_s=0.01, gain_db=0.0), 16000)
    seen = set()
    for seed in range(200):
        moved = shift(samples, np.random.default_rng(seed))
        start, end = (moved != 0).argmax(), len(moved) - (moved[::-1] != 0).argmax()
        by = start if start else end - 1000
        assert abs(by) <= 160
        assert np.array_equal(moved[start:end], samples[max(-by, 0) : 1000 - max(by, 0)])
        seen.add(int(by))
    assert min(seen) < -140 and max(seen) > 140
    gain = Augmenter(Augmentation(shift_s=0.0, gain_db=6.0), 16000)
    scales = [float((gain(samples, np.random.default_rng(seed)) / samples).mean()) for seed in range(200)]
    assert 0.5 < min(scales) < 0.55 and 1.85 < max(scales) < 2.0


def test_noise_is_mixed_at_the_ratio_that_was_asked_for(tmp_path):
    write_clip(tmp_path / "noise" / "long.wav", 5000)
    write_clip(tmp_path / "noise" / "deeper" / "short.wav", 300)
    options = Augmentation(0.0, 0.0, tmp_path / "noise", noise_probability=1.0, snr_db=(3.0, 9.0))
    augment = Augmenter(options, 16000)
    samples = np.sin(np.arange(1000) / 5).astype(np.float32)
    ratios = []
    for seed in range(50):
        noise = augment(samples, np.random.default_rng(seed)) - samples
        ratios.append(10 * np.log10(np.mean(samples**2) / np.mean(noise**2)))
    assert 2.99 < min(ratios) < 4 and 8 < max(ratios) < 9.01
    assert not augment(np.zeros(1000, np.float32), np.random.default_rng(0)).any()


def test_pauses_in_the_noise_do_no_harm(tmp_path):
    soundfile.write(tmp_path / "pause.wav", np.zeros(4000), 16000)
    augment = Augmenter(Augmentation(0.0, 0.0, tmp_path, noise_probability=1.0), 16000)
    samples = np.ones(1000, np.float32)
    assert np.array_equal(augment(samples, np.random.default_rng(0)), samples)


def test_16_bit_samples_are_kept_exactly():
    every = np.arange(-32768, 32768, dtype=np.int16)
    assert np.array_equal(to_int16(to_float(every)), every)
    assert to_int16(np.array([1.0, -2.0], np.float32)).tolist() == [32767, -32768]


def damage(root: Path, what: str) -> None:
    path = root / "no" / f"{SPEAKERS[9]}_nohash_0.wav"
    match what:
        case "not audio":
            path.write_text("no audio")
        case "cut short":
            path.write_bytes(path.read_bytes()[:1000])
        case "no samples":
            soundfile.write(path, np.zeros(0), 16000)
        case "8 kHz":
            write_clip(path, 8000, rate=8000)
        case "stereo":
            write_clip(path, channels=2)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("not audio", "not audio"),
        ("cut short", "truncated"),
        ("no samples", "no samples"),
        ("8 kHz", "got 8000 Hz and 1 channels"),
        ("stereo", "got 16000 Hz and 2 channels"),
    ],
)
@pytest.mark.parametrize("cache", [True, False])
def test_clips_that_cannot_be_used_are_named(corpus, what, told, cache):
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])
    damage(corpus, what)
    got = message(lambda: speech_commands_task(corpus, words=TINY_WORDS, cache=cache))
    assert f"{SPEAKERS[9]}_nohash_0.wav" in got and told in got


def test_several_bad_clips_are_counted(corpus):
    clips = read_speech_commands(corpus, "speakers", TINY_WORDS)["train"]
    for clip in clips[:3]:
        clip.path.write_text("no audio")
    told = message(lambda: check_clips(clips))
    assert str(clips[0].path) in told and "(and 2 more)" in told


def test_errors_of_the_layout(corpus, tmp_path):
    def told(**options) -> str:
        return message(lambda: read_speech_commands(**{"root": corpus, "split": "speakers"} | options))

    assert f"no folder {tmp_path / 'nothing'}" in told(root=tmp_path / "nothing")
    assert "'maybe'" in (got := told(words=["yes", "maybe"])) and got.endswith("the words there: no, yes")
    assert "'_silence_'" in told(words=["_silence_"])
    assert "'backward'" in told()  # the first of the 35
    assert "'yes' twice" in told(words=["yes", "no", "yes"])
    assert "got 80, 10, 20" in told(words=TINY_WORDS, percentages=(80, 10, 20))
    assert "test: no clip of the word 'yes' (and 1 more)" in told(words=TINY_WORDS, percentages=(80, 20, 0))
    (corpus / "yes" / "odd.wav").touch()
    assert str(corpus / "yes" / "odd.wav") in told(words=TINY_WORDS)


def test_errors_of_the_lists(corpus):
    def told() -> str:
        return message(lambda: read_speech_commands(corpus, "official", TINY_WORDS))

    write_lists(corpus, SPEAKERS[:3], SPEAKERS[2:8])
    both = f"yes/{SPEAKERS[2]}_nohash_0.wav is also in validation_list.txt"
    assert both in (got := told()) and f"{corpus / 'testing_list.txt'}:1:" in got
    write_lists(corpus, SPEAKERS[:3], [*SPEAKERS[3:8], "12345678"])
    assert f"no file {corpus / 'yes' / '12345678_nohash_0.wav'}" in told()
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])
    (corpus / "testing_list.txt").write_text(f"yes/{SPEAKERS[5]}_nohash_0.wav\n")
    assert f"speaker {SPEAKERS[5]} is in train" in (got := told()) and f"no/{SPEAKERS[5]}" in got
    (corpus / "testing_list.txt").write_text("")
    assert "test: no clip of the word 'yes'" in told()


def test_errors_of_the_options(corpus, tmp_path):
    write_lists(corpus, SPEAKERS[:3], SPEAKERS[3:8])

    def told(**options) -> str:
        return message(lambda: speech_commands_task(corpus, words=TINY_WORDS, **options))

    assert "test_rates: got 16" in told(test_rates=(16,))
    assert "test_rates: got none" in told(test_rates=())
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(empty) in told(augmentation=Augmentation(noise=empty))
    assert str(tmp_path / "nowhere") in told(augmentation=Augmentation(noise=tmp_path / "nowhere"))


@pytest.mark.skipif(not SPEECH_COMMANDS.is_dir(), reason="needs the published test set")
def test_the_published_test_set_splits_by_speaker():
    words = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
    parts = read_speech_commands(SPEECH_COMMANDS, "speakers", words)
    total = sum(map(len, parts.values()))
    assert total == 4074
    assert len(parts["train"]) / total == pytest.approx(0.8, abs=0.05)
    assert all(len(clips) > 300 for clips in parts.values())
