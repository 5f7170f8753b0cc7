"""Model directories by name: the bundled ones, found without loading torch."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from s4speech.errors import InputError
from s4speech.models.directory import FILES, check_directory, task_of

BUNDLED = Path(__file__).resolve().parent.parent / "pretrained"
LETTER_TO_SOUND = "en-g2p"  # part of every voice, no model to be asked for
HOW_TO_TRAIN = "train one with `make demo` in a clone of the repository"


def bundled_models() -> dict[str, Path]:
    """Return the directories of recognition models and voices in s4speech/pretrained by name."""
    if not BUNDLED.is_dir():
        return {}
    folders = (path for path in sorted(BUNDLED.iterdir()) if path.name != LETTER_TO_SOUND)
    return {path.name: path for path in folders if (path / FILES[0]).is_file()}


def find_model(name_or_dir: str | Path, task: str | None = "asr") -> Path:
    """Return the model directory that ``name_or_dir`` names; a directory wins over a bundled name.

    task: "asr" or "tts"; None: either. Raises InputError: neither a directory nor a name, a directory for
    another task, or without one of the files every such model has (naming it).
    """
    directory = Path(name_or_dir)
    if not directory.is_dir():
        bundled = bundled_models()
        if str(name_or_dir) not in bundled:
            names = ", ".join(bundled) or "none"
            raise InputError(
                f"model '{name_or_dir}': no such directory and no bundled model (bundled: {names});"
                f" give a model directory, or {HOW_TO_TRAIN}"
            )
        directory = bundled[str(name_or_dir)]
    check_directory(directory, task or task_of(directory))
    return directory


@cache
def letter_to_sound() -> Callable[[str], tuple[str, ...]]:
    """Phones of words that the lexicon lacks: the bundled rules, loaded (with torch) at the first call."""
    from s4speech.models.g2p import load_g2p

    return load_g2p(BUNDLED / LETTER_TO_SOUND)
