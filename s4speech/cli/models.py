"""`s4speech models`: what models there are and what their cards say."""

from pathlib import Path
from typing import Annotated

import typer


def models(
    directories: Annotated[
        list[Path] | None, typer.Argument(help="Model directories to describe; none: the bundled models.")
    ] = None,
) -> None:
    """List the bundled models, or describe model directories."""
    from s4speech.streaming.pretrained import HOW_TO_TRAIN, bundled_models, find_model

    found = {str(path): find_model(path, None) for path in directories} if directories else bundled_models()
    if not found:
        typer.echo(f"No models are bundled with this version; {HOW_TO_TRAIN}.")
        return
    for name, directory in found.items():
        typer.echo(_describe(name, directory))


def _describe(name: str, directory: Path) -> str:
    """Return a model's size and the facts of its card, one a line, under its name."""
    facts = _size(directory) | _card_facts(directory / "README.md")
    width = max(map(len, facts))
    return "\n".join([name, *(f"  {key:<{width}}  {value}" for key, value in facts.items())])


def _size(directory: Path) -> dict[str, str]:
    """Return what the files themselves say. Raises InputError: not a safetensors file."""
    from s4speech.models.directory import task_of

    voice = task_of(directory) == "tts"
    tensors = [directory / name for name in ("model.safetensors", "vocoder.safetensors")[: 1 + voice]]
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    facts = {"parameters": f"{sum(map(_parameters, tensors)) / 1e6:.1f} M", "size": f"{size / 1e6:.1f} MB"}
    return facts | (_voice(directory) if voice else _recogniser(directory))


def _recogniser(directory: Path) -> dict[str, str]:
    from s4speech.text.tokenizer import Tokenizer

    return {"tokens": str(Tokenizer.load(directory / "tokenizer.model").vocab_size)}


def _voice(directory: Path) -> dict[str, str]:
    from s4speech.config.base import load_config
    from s4speech.config.voice import VoiceConfig

    config = load_config(VoiceConfig, directory / "config.yaml")
    return {
        "speakers": ", ".join(config.speakers),
        "sample rate": f"{config.mel.sample_rate} Hz",
        "reads": config.unit,
    }


def _parameters(path: Path) -> int:
    from math import prod

    from safetensors import SafetensorError, safe_open

    from s4speech.errors import InputError

    try:
        # The header alone, as numpy: no torch, and no tensor is read.
        with safe_open(path, framework="np") as tensors:
            return sum(prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a safetensors file ({error}); copy the model directory again"
        ) from error


def _card_facts(card: Path) -> dict[str, str]:
    """Return the `key: value` lines of a card's front matter, and its list items of that form.

    A directory without a card, or a card in another form, has none.
    """
    if not card.is_file():
        return {}
    facts: dict[str, str] = {}
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    in_front = bool(lines) and lines[0].strip() == "---"
    for number, line in enumerate(lines):
        if in_front and number and line.strip() == "---":
            in_front = False
        is_item = line.startswith(("- ", "* "))
        key, colon, value = line.removeprefix("- ").removeprefix("* ").partition(": ")
        if (in_front or is_item) and colon and len(key) <= 24 and value.strip():
            facts.setdefault(key.strip().strip("*").lower(), value.strip())
    return facts
