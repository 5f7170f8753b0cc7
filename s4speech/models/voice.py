"""A voice directory: what is published, loaded and spoken with.

config.yaml, model.safetensors (the acoustic model), vocoder.safetensors, README.md (the card). Loading runs
no code from the directory: typed YAML and safetensors only.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from s4speech.config.base import dump_config, load_config
from s4speech.config.voice import VoiceConfig
from s4speech.errors import InputError
from s4speech.models.directory import check_directory
from s4speech.models.loading import as_half, build_checked, load_tensors, save_tensors
from s4speech.models.tts.parallel import ParallelModel
from s4speech.models.vocoder.vocoder import Vocoder
from s4speech.text.characters import Speller
from s4speech.text.phonemes import SYMBOLS


@dataclass(frozen=True)
class Voice:
    """A voice ready for use; its models are in eval mode."""

    model: ParallelModel
    vocoder: Vocoder
    config: VoiceConfig


def save_voice(
    folder: Path, config: VoiceConfig, model: ParallelModel, vocoder: Vocoder, card: str, *, half: bool
) -> None:
    """Write a voice directory into an existing, empty folder.

    half: weights as float16, which take half the room; `load_voice` makes float32 of them. The statistics,
    which scale everything, stay float32.
    """
    (folder / "config.yaml").write_text(dump_config(config.model_copy(update={"half": half})), "utf-8")
    for module, name in ((model, "model"), (vocoder, "vocoder")):
        state = {key: value.contiguous() for key, value in module.state_dict().items()}
        if half:
            state |= as_half({key: state[key] for key, _ in module.named_parameters()})
        save_tensors(folder / f"{name}.safetensors", state)
    (folder / "README.md").write_text(card, "utf-8")


def load_voice(folder: str | Path) -> Voice:
    """Load a voice directory.

    Raises InputError naming the file: missing, of another kind of model, damaged, or of other symbols than
    those that this version makes of text.
    """
    folder = Path(folder)
    check_directory(folder, "tts")
    path = folder / "config.yaml"
    config = load_config(VoiceConfig, path)
    wanted = SYMBOLS if config.unit == "phonemes" else Speller.symbols
    if missing := [symbol for symbol in wanted if symbol not in config.symbols]:
        raise InputError(
            f"{path}: symbols: {missing[0]!r} is missing ({len(missing)} in all), which text is read as;"
            " the voice is of another version, train it again"
        )
    model = build_checked(
        lambda: ParallelModel(len(config.symbols), config.mel, config.model, len(config.speakers)), path
    )
    vocoder = build_checked(lambda: Vocoder(config.mel, config.vocoder), path)
    _fill(model, folder / "model.safetensors")
    _fill(vocoder, folder / "vocoder.safetensors")
    vocoder.noise_scale = config.noise_scale
    return Voice(model, vocoder, config)


def _fill(module: nn.Module, path: Path) -> None:
    module.load_state_dict(load_tensors(path, module.state_dict()))
    module.eval().requires_grad_(False)
