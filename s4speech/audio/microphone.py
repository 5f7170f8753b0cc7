"""A microphone as a source of audio: the sounddevice extra, over PortAudio."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from s4speech.audio.blocks import AudioBlocks
from s4speech.audio.pcm import Samples
from s4speech.errors import InputError

_BLOCK_S = 0.05
_BACKLOG_S = 60.0  # kept while recognition is behind
_SILENT_S = 5.0  # without a block for so long, the device is gone


@dataclass
class Microphone:
    """An input device that can be recorded from."""

    index: int
    name: str
    sample_rate_hz: int
    lost_s: float = field(default=0.0, init=False)  # nobody took it in time


def find_microphone(device: str | None = None, sample_rate_hz: int | None = None) -> Microphone:
    """Find an input device by number or part of its name; None: the system's choice, and its own rate.

    Raises InputError: sounddevice or PortAudio is missing, no such device, or not at that rate (Hz, > 0).
    """
    if sample_rate_hz is not None and sample_rate_hz <= 0:
        raise InputError(f"microphone: got sample rate {sample_rate_hz} Hz; wanted more, for example 16000")
    sounddevice = _sounddevice()
    try:
        wanted = int(device) if device is not None and device.isdecimal() else device
        info = sounddevice.query_devices(wanted, "input")
        rate = round(info["default_samplerate"]) if sample_rate_hz is None else sample_rate_hz
        sounddevice.check_input_settings(info["index"], channels=1, dtype="float32", samplerate=rate)
    except (ValueError, sounddevice.PortAudioError) as error:
        names = [f"{one['index']} {one['name']}" for one in _inputs(sounddevice)]
        there = f"there are: {', '.join(names)}" if names else "there is no input device"
        asked = "microphone" if device is None else f"microphone '{device}'"
        raise InputError(f"{asked}: {str(error).splitlines()[0]}; {there}") from error
    return Microphone(info["index"], info["name"], rate)


@contextmanager
def record(microphone: Microphone) -> Iterator[AudioBlocks]:
    """Record until the block is left. Raises InputError: it cannot be opened, or stops (while iterating)."""
    sounddevice = _sounddevice()
    # Unlike Queue, it is whole after an exception that a signal raises in it.
    waiting: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def hear(samples: Samples, frames: int, time: Any, status: Any) -> None:
        if waiting.qsize() < _BACKLOG_S / _BLOCK_S:
            waiting.put(samples[:, 0].copy())
        else:
            microphone.lost_s += frames / microphone.sample_rate_hz

    def blocks() -> Iterator[Samples]:
        while True:
            try:
                block = waiting.get(timeout=_SILENT_S)
            except queue.Empty:
                raise InputError(
                    f"microphone '{microphone.name}': no more audio comes; is it still connected?"
                ) from None
            yield block

    try:
        stream = sounddevice.InputStream(
            samplerate=microphone.sample_rate_hz,
            blocksize=round(_BLOCK_S * microphone.sample_rate_hz),
            device=microphone.index,
            channels=1,
            dtype="float32",
            callback=hear,
        )
        stream.start()
    except sounddevice.PortAudioError as error:
        raise InputError(f"microphone '{microphone.name}': {str(error).splitlines()[0]}") from error
    with stream:
        yield AudioBlocks(f"microphone '{microphone.name}'", microphone.sample_rate_hz, None, blocks())


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise InputError(
            "microphone: the package sounddevice is missing; install it with: pip install 's4speech[mic]'"
        ) from error
    except OSError as error:
        raise InputError(
            f"microphone: {error}; install PortAudio (Debian and Ubuntu: apt install libportaudio2)"
        ) from error
    return sounddevice


def _inputs(sounddevice: Any) -> list[dict[str, Any]]:
    return [one for one in sounddevice.query_devices() if one["max_input_channels"] > 0]
