"""Speech recognition and synthesis on state space sequence layers."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s4speech.streaming.recognizer import Recognizer as Recognizer
    from s4speech.streaming.synthesizer import Speech as Speech
    from s4speech.streaming.synthesizer import Synthesizer as Synthesizer
    from s4speech.streaming.transcript import Transcript as Transcript

__version__ = "0.1.0"
__all__ = ["Recognizer", "Speech", "Synthesizer", "Transcript", "__version__"]

# Loaded when first used: `import s4speech` costs nothing, torch comes with the first model.
_LAZY = {
    "Recognizer": "s4speech.streaming.recognizer",
    "Speech": "s4speech.streaming.synthesizer",
    "Synthesizer": "s4speech.streaming.synthesizer",
    "Transcript": "s4speech.streaming.transcript",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 's4speech' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
