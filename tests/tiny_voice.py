"""A tiny voice with random weights: a hum of some frames a phone, the same for the same text."""

import math
from pathlib import Path
from typing import Any

import torch

from s4speech.config.voice import VoiceConfig
from s4speech.models.tts.parallel import ParallelModel
from s4speech.models.vocoder.vocoder import Vocoder
from s4speech.models.voice import save_voice
from s4speech.streaming.synthesizer import Synthesizer
from s4speech.text.characters import Speller
from s4speech.text.phonemes import SYMBOLS

HERTZ = 150.0
FRAMES = 6  # a token, about
CARD = "---\nlicense: cc0-1.0\n---\n# Tiny\n\n- data: nothing\n"


def tiny_config(**changes: Any) -> VoiceConfig:
    """Its config.yaml, with other keys."""
    size = {"d_model": 16, "n_layers": 1, "d_state": 4}
    keys: dict[str, Any] = {
        "symbols": list(Speller.symbols if changes.get("unit") == "characters" else SYMBOLS),
        "speakers": ["ann", "bob"],
        "mel": {"sample_rate": 8000, "n_fft": 256, "hop": 64, "n_mels": 20},
        "model": size | {"encoder": size},
        "vocoder": size | {"n_layers": 2, "d_ff": 16, "s4d_every": 2},
    }
    return VoiceConfig.model_validate(keys | changes)


def tiny_models(config: VoiceConfig) -> tuple[ParallelModel, Vocoder]:
    """Acoustic model and vocoder of a config."""
    torch.manual_seed(0)
    model = ParallelModel(len(config.symbols), config.mel, config.model, len(config.speakers))
    bands = config.mel.n_mels
    model.set_statistics(
        torch.full((bands,), -6.0),
        torch.ones(bands),
        torch.tensor([HERTZ, 1.0]).log() + torch.tensor([0, 0.1]),
    )
    torch.nn.init.normal_(model.encoder.speaker.weight)
    torch.nn.init.constant_(model.duration.output.bias, math.log(FRAMES + 1))
    vocoder = Vocoder(config.mel, config.vocoder)
    vocoder.set_statistics(model.mean, model.std)
    with torch.no_grad():  # hardly any noise, so that the pitch can be measured
        vocoder.head.bias[vocoder.bins : 2 * vocoder.bins] = -6.0
    return model.eval(), vocoder.eval()


def tiny_voice(folder: Path, half: bool = False, **changes: Any) -> Path:
    """A voice directory in a new folder."""
    folder.mkdir()
    config = tiny_config(**changes)
    save_voice(folder, config, *tiny_models(config), CARD, half=half)
    return folder


def tiny_synthesizer(folder: Path, **changes: Any) -> Synthesizer:
    """Of such a directory; unknown words are spelled."""
    return Synthesizer.load(tiny_voice(folder, **changes), g2p=None)
