"""Hearing only when somebody speaks: silence costs no recognition.

A detector is sure of a word only after its beginning, so the gate decides about a chunk when it has seen what
follows: words come LOOK_AHEAD later than without a gate.
"""

from collections.abc import Callable
from typing import TypeAlias

from s4speech.audio.io import Samples
from s4speech.errors import InputError
from s4speech.streaming.samples import SampleQueue

SpeechProbability: TypeAlias = Callable[[Samples], float]  # of the next BLOCK samples of one stream, in order

SAMPLE_RATE_HZ = 16000
BLOCK = 512
# Lower than silero's own 0.5: a chunk heard in vain costs time, a word not heard is lost.
_THRESHOLD = 0.35
_HANGOVER = 8000
LOOK_AHEAD = 4800  # samples: 300 ms, of which the detector may not have seen the last BLOCK


class VoiceGate:
    """Says of each chunk of one stream whether it must be heard.

    It must with speech in it, or up to 0.5 s before it, or in what the gate has seen after it.
    """

    def __init__(self, speech: SpeechProbability) -> None:
        self._speech = speech
        self._waiting = SampleQueue()
        self._silence: int | None = None  # samples since the last speech; None: there was none

    def open(self, samples: Samples, since: int | None = None) -> bool:
        """Take the samples that follow those of the last call; must a chunk be heard that begins `since`
        samples before their end (None: with them)?"""
        since = len(samples) if since is None else since
        self._waiting.push(samples)
        while len(self._waiting) >= BLOCK:
            if self._speech(self._waiting.take(BLOCK)) >= _THRESHOLD:
                self._silence = 0
            elif self._silence is not None:
                self._silence += BLOCK
        return self._silence is not None and self._silence <= since + _HANGOVER


def silero() -> SpeechProbability:
    """Silero VAD for one stream (it keeps a state). Raises InputError: the extra is not installed."""
    import torch

    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad
    except ImportError as error:
        raise InputError(
            "vad: silero-vad is not installed; install it with: pip install 's4speech[vad]'"
        ) from error
    finally:
        torch.set_num_threads(threads)  # importing it sets 1 for the whole program
    model = load_silero_vad()

    def speech(samples: Samples) -> float:
        with torch.inference_mode():
            return float(model(torch.from_numpy(samples.copy()), SAMPLE_RATE_HZ))

    return speech
