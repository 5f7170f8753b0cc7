"""The manifest doctor: each fault is found, named and weighed, sound utterances are not."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from s4speech.data.doctor import examine

RATE = 16000
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' "


def cut(
    folder: Path, name: str, samples: np.ndarray, text: str = "A WORD", suffix: str = "wav", rate: int = RATE
) -> MonoCut:
    path = folder / f"{name}.{suffix}"
    soundfile.write(path, samples, rate, subtype="FLOAT" if suffix == "wav" else None)
    recording = Recording.from_file(path, recording_id=name)
    duration = recording.duration
    words = SupervisionSegment(name, name, 0, duration, text=text, speaker=name.split("-")[0])
    return MonoCut(name, 0, duration, 0, supervisions=[words], recording=recording)


def noise(seconds: float = 0.5, peak: float = 0.5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-peak, peak, round(RATE * seconds))


def problems(*cuts: MonoCut, min_s: float = 0.1) -> list[tuple[str, str, bool]]:
    diagnosis = examine(cuts, alphabet=ALPHABET, min_s=min_s)
    return [(one.utterance, one.problem, one.fatal) for one in diagnosis.findings]


def test_a_sound_corpus_has_no_findings(tmp_path):
    cuts = [cut(tmp_path, f"{s}-{n}", noise(seed=3 * int(s) + n), "DON'T") for s in "12" for n in range(3)]
    diagnosis = examine(CutSet.from_cuts(cuts), alphabet=ALPHABET)
    assert diagnosis.findings == []
    assert (diagnosis.utterances, diagnosis.speakers) == (6, 2)
    assert diagnosis.hours == pytest.approx(3 / 3600)


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text(tmp_path, text):
    assert problems(cut(tmp_path, "1-1", noise(), text)) == [("1-1", "empty transcript", True)]


def test_characters_outside_the_alphabet_are_shown(tmp_path):
    ((_, problem, fatal),) = problems(cut(tmp_path, "1-1", noise(), "ÉTÉ 7 a\nb"))
    assert fatal and "'7'" in problem and "'É'" in problem and "'T'" not in problem and "\n" not in problem


@pytest.mark.parametrize(
    ("samples", "said", "fatal"),
    [
        (noise(0.05), "too short: 800 samples, wanted at least 1600", True),
        (noise()[:1], "too short: 1 sample", True),
        (np.append(noise(), np.nan), "not numbers", True),
        (np.append(noise(), -np.inf), "not numbers", True),
        (noise(peak=0.0005), "silent", False),
        (np.zeros(RATE), "silent", False),
        (np.clip(noise(peak=2.0), -1, 1), "clipped: ", False),
    ],
)
def test_audio(tmp_path, samples, said, fatal):
    ((name, problem, how),) = problems(cut(tmp_path, "1-1", samples))
    assert name == "1-1" and said in problem and how == fatal


def test_audio_that_changed_after_the_manifest(tmp_path):
    whole = cut(tmp_path, "1-1", noise(3), suffix="flac")
    path = tmp_path / "1-1.flac"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    ((_, problem, fatal),) = problems(whole)
    assert fatal and ("truncated" in problem or "unreadable" in problem) and "\n" not in problem
    soundfile.write(path, noise(1), RATE)
    assert "truncated: 16000 samples, the header says 48000" in problems(whole)[0][1]
    for content in (b"", b"no audio at all"):
        path.write_bytes(content)
        assert "unreadable" in problems(whole)[0][1]
    path.unlink()
    assert "unreadable" in problems(whole)[0][1]


def test_several_channels(tmp_path):
    stereo = cut(tmp_path, "1-1", np.stack([noise(), noise()], 1))
    ((_, problem, fatal),) = problems(stereo)
    assert fatal and "2 channels, wanted one" in problem


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100])
def test_audio_that_is_resampled_when_it_is_read(tmp_path, rate):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * rate + 12345 % rate)
    one = cut(tmp_path, "1-1", samples, rate=rate)
    assert problems(one.resample(RATE)) == []
    soundfile.write(tmp_path / "1-1.wav", samples[:-4], rate, subtype="FLOAT")
    assert "truncated" in problems(one.resample(RATE))[0][1]


def test_an_id_that_occurs_twice(tmp_path):
    first = cut(tmp_path, "1-1", noise())
    (tmp_path / "b").mkdir()
    second = cut(tmp_path / "b", "1-1", noise())
    ((name, problem, fatal),) = problems(first, second)
    assert (name, problem, fatal) == ("1-1", "this id occurs twice", True)


def test_findings_name_the_file_and_come_in_the_order_of_the_cuts(tmp_path):
    cuts = [cut(tmp_path, f"1-{n}", noise(seed=n), "" if n % 2 else "A") for n in range(20)]
    findings = examine(CutSet.from_cuts(cuts), alphabet=ALPHABET).findings
    assert [one.utterance for one in findings] == [f"1-{n}" for n in range(1, 20, 2)]
    assert str(findings[0]) == f"{tmp_path / '1-1.wav'}: 1-1: empty transcript"
