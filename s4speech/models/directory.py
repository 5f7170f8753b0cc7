"""The files of a model directory, looked for without loading torch."""

from pathlib import Path

from s4speech.errors import InputError

FILES = ("config.yaml", "model.safetensors", "tokenizer.model", "stats.safetensors")


def check_directory(directory: Path) -> None:
    """Raise InputError unless every file that loading reads is there, naming the first that is not."""
    if not directory.is_dir():
        raise InputError(f"model {directory}: no such directory; wanted one with {', '.join(FILES)}")
    for name in FILES:
        if not (directory / name).is_file():
            raise InputError(
                f"{directory / name}: no such file; wanted a model directory with {', '.join(FILES)};"
                " copy the whole directory that the package stage wrote"
            )
