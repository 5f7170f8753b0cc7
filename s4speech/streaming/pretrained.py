"""Model directories by name: the bundled ones, found without loading torch."""

from pathlib import Path

from s4speech.errors import InputError
from s4speech.models.directory import FILES, check_directory

BUNDLED = Path(__file__).resolve().parent.parent / "pretrained"
HOW_TO_TRAIN = "train one with `make demo` in a clone of the repository"


def bundled_models() -> dict[str, Path]:
    """Return the directories in s4speech/pretrained by name."""
    if not BUNDLED.is_dir():
        return {}
    return {path.name: path for path in sorted(BUNDLED.iterdir()) if (path / FILES[0]).is_file()}


def find_model(name_or_dir: str | Path) -> Path:
    """Return the model directory that ``name_or_dir`` names; a directory wins over a bundled name.

    Raises InputError: neither, or a directory without one of the files every model has (naming it).
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
    check_directory(directory)
    return directory
