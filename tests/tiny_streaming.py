"""A tiny streaming recogniser with random weights: it babbles, always the same for the same audio."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s4speech.config.asr import ASRConfig
from s4speech.config.streaming import StreamingConfig
from s4speech.models.asr.build import build_asr
from s4speech.models.package import ASRPackage, ASRPackageConfig
from s4speech.streaming.recognizer import Recognizer
from s4speech.text.tokenizer import BLANK, Tokenizer

RATE = 16000
TEXTS = ["THE CAT SAT ON THE MAT", "IT IS A DOG", "HELLO WORLD"] * 5
# Short ones, so that a few seconds have several segments.
STREAMING = {
    "chunk_ms": 320.0,
    "search": {"beam": 4},
    "endpoints": [
        {"name": "pause", "after_words": True, "silence_s": 0.3},
        {"name": "silence", "silence_s": 1.0},
        {"name": "cap", "length_s": 2.0},
    ],
}


def tiny_package(folder: Path, *, decoder: str = "s4", **streaming: Any) -> ASRPackage:
    """The package; ``streaming``: keys of StreamingConfig."""
    tokenizer = Tokenizer.train(TEXTS, folder / "tokenizer.model", 30)
    size: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 24}
    encoder = size | {"type": "streaming", "reduce": True, "kernel_size": 5, "left_frames": 6, "d_state": 4}
    config = ASRConfig.model_validate(
        {
            "vocab_size": tokenizer.vocab_size,
            "features": {"n_mels": 20},
            "encoder": encoder | {"decoder_left": 5, "decoder_right": 1},
            "decoder": size | {"type": decoder},
        }
    )
    torch.manual_seed(1)
    model = build_asr(config).eval()
    model.set_statistics(torch.full((20,), -5.0), torch.full((20,), 2.0))
    # Weights, found by trial, with which `babble` has words with peaks, and its silence has none.
    torch.manual_seed(1)
    for weight in model.encoder.parameters():
        if weight.dim() > 1:
            torch.nn.init.xavier_normal_(weight, gain=1.5)
    torch.nn.init.normal_(model.ctc.weight, generator=torch.Generator().manual_seed(1))
    torch.nn.init.zeros_(model.ctc.bias)
    model.ctc.bias.data[BLANK] = 7.0
    chosen = StreamingConfig.model_validate(STREAMING | streaming)
    return ASRPackage(model, tokenizer, ASRPackageConfig(model=config, streaming=chosen))


def tiny_recognizer(folder: Path, **options: Any) -> Recognizer:
    """The recogniser of `tiny_package`."""
    return Recognizer(tiny_package(folder, **options))


def babble(seconds: float, rate: int = RATE, seed: int = 0) -> NDArray[np.float32]:
    """Noise that swells and fades; silence between 1.0 and 1.6 s of every 3 s."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    wave = (
        rng.normal(size=len(t))
        * (0.55 + 0.45 * np.sin(7 * t))
        * np.sin(2 * np.pi * (200 + 150 * np.sin(3 * t)) * t)
    )
    wave[(t % 3 > 1.0) & (t % 3 < 1.6)] = 0
    return (0.3 * wave).astype(np.float32)
