"""A small tree in the published layout of CSJ: our own sentences with CSJ's tags, characters as tones.

Columns, counted from 0, as lhotse and Kaldi read them: 2 talk, 3 "NUMBER START-END CHANNEL:-001-001", 5 word
with tags, 9 word without, 10 pronunciation with tags, 11 part of speech, 12 its form. What else is in a line
nobody reads; here it is our guess.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from s4speech.data.csj import LISTED

RATE = 16000
SOUND_S, MARGIN_S = 0.08, 0.05  # of a character; silence around a unit


@dataclass(frozen=True)
class Word:
    """One line: the word as written, as pronounced, and what of it is heard and remains in the text."""

    surface: str
    pronunciation: str
    heard: str
    kind: str = "名詞"


def plain(text: str, reading: str) -> Word:
    return Word(text, reading, text)


PLAIN = [
    plain("山", "ヤマ"), plain("川", "カワ"), plain("海", "ウミ"), plain("空", "ソラ"), plain("花", "ハナ"),
    plain("は", "ワ"), plain("が", "ガ"), plain("です", "デス"),
]  # fmt: skip
FILLER = Word("(F えー)", "(F エー)", "えー", "感動詞")
FRAGMENT = Word("(D か)", "(D カ)", "か", "言いよどみ")

# Of the talk TAGGED: the pause before each unit in seconds, and its words.
TAGGED = "A01F0055"
UNITS: list[tuple[float, list[Word]]] = [
    # fillers and a fragment: one utterance with the unit after it, 0.4 s later
    (0.4, [FILLER, PLAIN[0], PLAIN[5], Word("(D や)", "(D ヤ)", "や", "言いよどみ"), PLAIN[1]]),
    (0.4, [Word("(F んー)", "(F ンー)", "ん", "感動詞"), PLAIN[7]]),
    # a particle said again, unclear words: one reading, two, none
    (0.9, [PLAIN[2], Word("(D2 が)", "(D2 ガ)", "が", "助詞"), PLAIN[5], Word("(? 空)", "(? ソラ)", "空")]),
    (0.5, [Word("(? 花,鼻)", "(? ハナ)", "花"), Word("(?)", "(?)", ""), PLAIN[7]]),
    # letters, numbers and zeros; lost spellings; slips of the tongue are only in the pronunciation
    (
        0.6,
        [
            Word("(A シーディー;ＣＤ)", "(W シージー;シーディー)", "ＣＤ"),
            PLAIN[5],
            Word("(A 二;２)", "ニ", "二"),
        ],
    ),
    (
        0.6,
        [
            Word("ゼロ", "ゼロ", "０"),
            Word("(K う (F えー) み;海)", "(K ウ (F エー) ミ;ウミ)", "海"),
            PLAIN[7],
        ],
    ),
    # words about words, foreign ones, reading aloud, with a laugh, in a low voice, a pause and a drawn vowel
    (
        0.6,
        [
            Word("(M は)", "(M ワ)", "は"),
            PLAIN[5],
            Word("(O オッケー)", "(O オッケー)", "オッケー"),
            PLAIN[7],
        ],
    ),
    (
        0.6,
        [Word("(笑 花", "(笑 ハ<H>ナ", "花"), Word("です)", "デ(L ス))", "です"), Word("一・", "イチ", "一")],
    ),
    (
        0.6,
        [Word("(X 山)", "(X ヤマ)", "山"), Word("くゎ", "クヮ", "くわ"), Word("<息>", "<息>", ""), PLAIN[7]],
    ),
    # a tag over two units, 0.8 s apart, makes them one
    (0.6, [Word("(L 山", "(L ヤマ", "山")]),
    (0.8, [Word("です)", "デス)", "です")]),
    # a masked name: the unit and what it is joined with are left out
    (0.6, [PLAIN[0], PLAIN[5]]),
    (0.3, [Word("(R ××)", "(R ××)", "空空"), PLAIN[7]]),
    # nothing but noise
    (0.6, [Word("<雑音>", "<雑音>", "")]),
    # a filler alone
    (0.6, [FILLER]),
]
# By hand, what they are to become: (disfluent, fluent) of each utterance; an empty one is left out.
TEXTS: list[tuple[str, str]] = [
    ("えー山はや川んです", "山は川です"),
    ("海がは空花です", "海は空花です"),
    ("ＣＤは二", "ＣＤは二"),
    ("０海です", "０海です"),
    ("ははオッケーです", "ははオッケーです"),
    ("花です一", "花です一"),
    ("山くわです", "山くわです"),
    ("山です", "山です"),
    ("えー", ""),
]
UNITS_OF_A_TALK = 6  # of the others in training: three utterances of two units
CORE = [TAGGED, *(f"A01M00{n}" for n in (18, 25, 36, 43)), *(f"S00F00{n}" for n in (31, 38, 42, 57))]
NONCORE = [*(f"A02M00{n}" for n in (74, 76, 84, 98)), *(f"S01F00{n}" for n in (12, 23, 34, 45))]
DIALOGUES = ["D01F0002"]


def make_csj(root: Path, seed: int = 0) -> Path:
    """Write MORPH/SDB/{core,noncore}/TALK.sdb and WAV/{core,noncore}/TALK.wav; return `root`."""
    rng = np.random.default_rng(seed)
    listed = [talk for talks in LISTED.values() for talk in talks]
    for number, talk in enumerate([*CORE, *NONCORE, *DIALOGUES, *listed]):
        volume = "core" if talk in CORE or (talk in listed and number % 2) else "noncore"
        for kind in ("MORPH/SDB", "WAV"):
            (root / kind / volume).mkdir(parents=True, exist_ok=True)
        units = UNITS if talk == TAGGED else _random_units(rng, 2 if talk in listed else UNITS_OF_A_TALK)
        sides = "LR" if talk[0] == "D" else "L"
        lines: list[str] = []
        for side in sides:
            own, samples = _speak(talk, side, units, rng)
            lines += own
            name = f"{talk}-{side}" if len(sides) == 2 else talk
            soundfile.write(root / "WAV" / volume / f"{name}.wav", samples, RATE, "PCM_16")
        path = root / "MORPH" / "SDB" / volume / f"{talk}.sdb"
        path.write_bytes("".join(f"{line}\r\n" for line in lines).encode("shift_jis"))
    return root


def _random_units(rng: np.random.Generator, count: int) -> list[tuple[float, list[Word]]]:
    """Units of two to four words, every second one close to the one before it."""
    units = []
    for number in range(count):
        words = [PLAIN[i] for i in rng.integers(len(PLAIN), size=rng.integers(2, 5))]
        if rng.random() < 0.3:
            words.insert(0, FILLER if rng.random() < 0.6 else FRAGMENT)
        units.append((0.3 if number % 2 else 0.8, words))
    return units


def _speak(
    talk: str, side: str, units: Sequence[tuple[float, list[Word]]], rng: np.random.Generator
) -> tuple[list[str], NDArray[np.float64]]:
    """The lines of one voice, and its recording: a quiet noise with a pair of tones for each character."""
    pieces: list[NDArray[np.float64]] = []
    lines: list[str] = []
    length = 0
    for number, (pause_s, words) in enumerate(units, 1):
        sound = _tones("".join(word.heard for word in words), rng)
        pieces += [np.zeros(round(pause_s * RATE)), sound]
        start = length + round(pause_s * RATE)
        length = start + len(sound)
        time = f"{number:04d} {start / RATE:09.3f}-{length / RATE:09.3f} {side}:-001-001"
        lines += [_line(len(lines) + i, talk, time, word) for i, word in enumerate(words)]
    samples = np.concatenate([*pieces, np.zeros(RATE // 2)])
    return lines, samples + 0.003 * rng.standard_normal(len(samples))


def _line(number: int, talk: str, time: str, word: Word) -> str:
    bare = word.heard or word.surface
    columns = [
        f"{number:05d}",
        "1",
        talk,
        time,
        word.surface,
        word.surface,
        word.pronunciation,
        bare,
        bare,
        bare,
    ]
    return "\t".join([*columns, word.pronunciation, word.kind, "", "", "", "", ""])


def _tones(text: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Two tones for each character, which depend on it alone; the length is whole milliseconds."""
    silence = np.zeros(round(RATE * MARGIN_S))
    pieces = [silence]
    for character in text:
        time = np.arange(round(RATE * SOUND_S)) / RATE
        low, high = 300 + 83 * (ord(character) % 13), 1700 + 301 * (ord(character) % 17)
        tones = np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)
        pieces += [rng.uniform(0.15, 0.25) * tones * np.hanning(len(time))]
    return np.concatenate([*pieces, silence])


def utterances(talks: Iterable[str]) -> int:
    """How many utterances the training talks among these make."""
    return sum(len(TEXTS) if talk == TAGGED else UNITS_OF_A_TALK // 2 for talk in talks)
