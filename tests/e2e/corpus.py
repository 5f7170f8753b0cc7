"""A tiny corpus in the published LibriSpeech layout, whose letters are tones: small, and easy to learn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16000
WORDS = ("AB", "CAD", "BED", "DAB", "ACE", "BEAD")
PARTS = {"train-tiny": (1, 2, 3, 4), "dev-tiny": (5, 6), "test-tiny": (7, 8)}  # speakers, all different
UTTERANCES = {"train-tiny": 14, "dev-tiny": 5, "test-tiny": 5}  # of each speaker
_TONES_HZ = {
    "A": (400, 1500),
    "B": (700, 2000),
    "C": (1000, 2600),
    "D": (1300, 3300),
    "E": (550, 3700),
}
_LETTER_S, _GAP_S = 0.12, 0.1


def make_corpus(root: Path, parts: Sequence[str] = tuple(PARTS), seed: int = 0) -> Path:
    """Write PART/SPEAKER/1/*.flac and *.trans.txt, utterances of 1 to 2 s, and return `root`."""
    rng = np.random.default_rng(seed)
    for part in parts:
        for speaker in PARTS[part]:
            folder = root / part / str(speaker) / "1"
            folder.mkdir(parents=True)
            lines = []
            for number in range(UTTERANCES[part]):
                words = rng.choice(WORDS, size=rng.integers(2, 5))
                text, name = " ".join(words), f"{speaker}-1-{number:04d}"
                # The test part's first texts end in a word that nobody says: a known error to score.
                spoken = text if part != "test-tiny" or number else " ".join(words[:-1])
                soundfile.write(folder / f"{name}.flac", speak(spoken, speaker, rng), RATE)
                lines.append(f"{name} {text}\n")
            (folder / f"{speaker}-1.trans.txt").write_text("".join(lines), encoding="utf-8")
    return root


def speak(text: str, speaker: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A text as tones: two for each letter, a pause for a space; speakers differ in pitch."""
    pitch = 1 + 0.01 * (speaker % 5 - 2)
    pause = np.zeros(round(RATE * _GAP_S))
    pieces = [pause]
    for letter in text:
        if letter == " ":
            pieces.append(pause)
            continue
        time = np.arange(round(RATE * _LETTER_S * rng.uniform(0.9, 1.1))) / RATE
        tones = sum(np.sin(2 * np.pi * pitch * hz * time) for hz in _TONES_HZ[letter])
        pieces += [0.2 * tones * np.hanning(len(time)), pause[: len(pause) // 4]]
    samples = np.concatenate([*pieces, pause])
    return samples + 0.003 * rng.standard_normal(len(samples))
