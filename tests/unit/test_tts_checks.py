"""What a synthesis recipe refuses or holds out before anything is trained; pieces for the vocoder."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Recording
from pydantic import ValidationError
from rich.console import Console

from recipes.tts.alignment import _check_lengths
from recipes.tts.config import SpeechCorpusConfig, TTSRecipe, VoiceConfig
from recipes.tts.context import TTSContext
from recipes.tts.data import PARTS, _parts_of_texts, _parts_of_voices
from s4speech.config.base import load_config
from s4speech.config.tts import AdversarialConfig, MelConfig, TextEncoderConfig
from s4speech.data import places
from s4speech.data.vocoder import Pieces, SegmentDataset
from tests.conftest import message

MEL = MelConfig(sample_rate=8000, n_fft=64, hop=16, n_mels=6)
TTS = Path(__file__).parents[2] / "egs" / "kathleen" / "tts"


def texts(first: int, last: int) -> set[str]:
    return {f"text {i}" for i in range(first, last)}


def test_a_text_held_out_of_one_voice_is_held_out_of_the_others() -> None:
    voices = [texts(0, 60), texts(40, 100), texts(0, 100)]
    found = _parts_of_voices(voices, 5, 10)
    assert set(found) == texts(0, 100)
    for voice in voices:
        alone = _parts_of_texts(voice, 5, 10)
        assert sum(part == "test" for part in alone.values()) == 10
        assert all(PARTS.index(found[text]) >= PARTS.index(part) for text, part in alone.items())
    assert _parts_of_voices(voices[:1], 5, 10) == _parts_of_texts(voices[0], 5, 10)


def segments(path: Path, samples: np.ndarray, frames: int) -> SegmentDataset:
    soundfile.write(path, samples.astype(np.float32), MEL.sample_rate, subtype="FLOAT")
    cut = Recording.from_file(path).to_cut()
    pitch = {cut.id: torch.full((len(samples) // MEL.hop,), 100.0)}
    return SegmentDataset(MEL, CutSet.from_cuts([cut]), pitch, frames=frames, batch_size=1, batches=1, seed=0)


def test_samples_beyond_full_scale_do_not_turn_around(tmp_path: Path) -> None:
    samples = np.linspace(-1.2, 1.2, 16 * 20)
    found = segments(tmp_path / "loud.wav", samples, 20)[0].samples[0].numpy()
    np.testing.assert_allclose(found, samples.clip(-1, 1), atol=1e-4)


def test_recordings_that_are_too_short_for_a_piece(tmp_path: Path) -> None:
    told = message(lambda: segments(tmp_path / "short.wav", np.zeros(16 * 19), 20))
    assert "no recording is as long as 20 frames of 0.002 s" in told


def test_every_epoch_and_every_device_has_pieces_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def items(rank: int, ranks: int) -> list[list[int]]:
        monkeypatch.setattr(places, "processes", lambda: (rank, ranks))
        pieces, found = Pieces(4), []
        for epoch in range(3):
            pieces.set_epoch(epoch)
            found.append(list(pieces))
        return found

    assert items(0, 1) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    both = [items(rank, 2) for rank in range(2)]
    assert both == [[[0, 2], [4, 6], [8, 10]], [[1, 3], [5, 7], [9, 11]]]


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "two hops": (lambda: MelConfig(n_fft=512, hop=256), "got 512 with hop 256"),
    "odd hops": (lambda: MelConfig(n_fft=80, hop=16), "got 80 with hop 16"),
    "even kernel": (lambda: TextEncoderConfig(kernel_size=4), "got 4, wanted an odd number"),
    "accumulate": (lambda: AdversarialConfig(accumulate=2), "accumulate: got 2, wanted 1"),
    "devices": (lambda: AdversarialConfig(devices=2), "devices: got 2, wanted 1"),
    "one name": (
        lambda: SpeechCorpusConfig(voices=[VoiceConfig(root=root, speaker="a") for root in ("b", "c")]),
        "speaker 'a' is there twice",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_configs_that_cannot_work(name: str) -> None:
    build, told = BAD[name]
    with pytest.raises(ValidationError, match=told):
        build()


@pytest.mark.parametrize("hops", [4, 6, 8])
def test_squared_windows_add_up_to_a_constant(hops: int) -> None:
    mel = MelConfig(n_fft=16 * hops, hop=16)
    total = torch.hann_window(mel.n_fft, dtype=torch.float64).square().unflatten(0, (hops, 16)).sum(0)
    assert all(abs(float(b - a)) < 1e-12 for a, b in pairwise(total))


def test_a_text_that_is_too_long_is_found_before_the_training() -> None:
    pitch = {"a": torch.ones(3), "b": torch.ones(2), "c": torch.ones(9)}
    context: Any = SimpleNamespace(token_ids={"a": [1, 2, 3], "b": [1, 2, 3], "c": [4] * 10}, pitch=pitch)
    told = message(lambda: _check_lengths(context))
    assert told.startswith("b: 2 frames for 3 phones") and "1 more" in told
    context.token_ids = {"a": [1, 2, 3]}
    _check_lengths(context)


def context_of(name: str, *overrides: str) -> TTSContext:
    return TTSContext(load_config(TTSRecipe, TTS / name, overrides), Console(), "")


def test_no_finetuning_on_autoregressive_frames() -> None:
    assert "got autoregressive" in message(context_of("ar_s4.yaml").check_finetune)
    context_of("recipe.yaml").check_finetune()


def test_missing_gpus_are_those_of_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    checks = {
        "align": TTSContext.check_align,
        "train": TTSContext.check_train,
        "train_vocoder": TTSContext.check_vocoder,
    }
    for section, check in checks.items():
        context = context_of("recipe.yaml", f"{section}.accelerator=gpu")
        assert f"{section}.accelerator: got gpu" in message(lambda c=context, f=check: f(c))
