"""A small data set in every format, for the tests of data tools."""

from pathlib import Path

import numpy as np
import soundfile
from lhotse import MonoCut

from s4speech.data.cuts import Header, Utterance, make_cut, make_recording

RATE = 16000
TEXTS = {"a-1": "one two", "a-2": "three  four 'n five", "b-1": "sechs sieben äöü 漢字", "b-2": ""}


def tone(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Noise of 16 bits, so that FLAC and WAV hold it to the bit."""
    samples = np.random.default_rng(seed).uniform(-0.4, 0.4, round(seconds * rate))
    return np.round(samples * 32768) / 32768


def recording(folder: Path, name: str, samples: np.ndarray, rate: int = RATE, suffix: str = ".wav"):
    """Write a file and return lhotse's description of it."""
    path = folder / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return make_recording(name, str(path), Header(rate, len(samples), 1 if samples.ndim == 1 else 2))


def whole_cuts(folder: Path, suffix: str = ".wav") -> list[MonoCut]:
    """Four utterances of two speakers, a file each."""
    return [
        make_cut(
            Utterance(
                name,
                recording(folder, name, tone(0.3 + 0.1 * n, n), suffix=suffix),
                text=text,
                speaker=name[0],
            )
        )
        for n, (name, text) in enumerate(TEXTS.items())
    ]


def segment_cuts(folder: Path, suffix: str = ".flac", rate: int = 44100) -> list[MonoCut]:
    """The same, as pieces of two files, on samples that no decimal fraction of a second is."""
    files = {name: recording(folder, name, tone(1.0, 7, rate), rate, suffix) for name in ("x_1", "x_2")}
    rows = [
        ("a-1", "x_1", 0, 12347),
        ("a-2", "x_1", 12347, 30011),
        ("b-1", "x_2", 1, 7),
        ("b-2", "x_2", 44099, None),
    ]
    return [
        make_cut(
            Utterance(
                name, files[file], start / rate, None if end is None else end / rate, 0, TEXTS[name], name[0]
            )
        )
        for name, file, start, end in rows
    ]


def facts(cuts: list[MonoCut]) -> dict[str, tuple]:
    """What a conversion has to keep of each utterance: text, speaker, first sample, samples, audio."""
    return {
        cut.id: (
            cut.supervisions[0].text,
            cut.supervisions[0].speaker,
            cut.num_samples,
            cut.sampling_rate,
            cut.load_audio().tobytes(),
        )
        for cut in cuts
    }
