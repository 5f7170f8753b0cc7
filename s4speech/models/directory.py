"""The files of a model directory, looked for without loading torch."""

from pathlib import Path
from typing import NamedTuple

from s4speech.config.files import read_yaml
from s4speech.errors import InputError

FILES = ("config.yaml", "model.safetensors", "tokenizer.model", "stats.safetensors")
LM_FILES = ("config.yaml", "tokenizer.model", "model.safetensors or ngram.safetensors")
VOICE_FILES = ("config.yaml", "model.safetensors", "vocoder.safetensors")


class Kind(NamedTuple):
    """What a directory of a `task` is called, the files it has, and the command that uses it."""

    name: str
    files: tuple[str, ...]
    command: str


KINDS = {
    "asr": Kind("a recognition model", FILES, "s4speech transcribe"),
    "tts": Kind("a voice", VOICE_FILES, "s4speech synthesize"),
}


def task_of(directory: Path) -> str:
    """Return the task that config.yaml says; "asr" where it says none, or one that is not known.

    Raises InputError: no such directory, no config.yaml, or not YAML.
    """
    if not directory.is_dir():
        raise InputError(f"model {directory}: no such directory; wanted one with {', '.join(FILES)}")
    path = directory / "config.yaml"
    if not path.is_file():
        raise _missing(path, FILES)
    task = read_yaml(path).get("task")
    return task if isinstance(task, str) and task in KINDS else "asr"


def check_directory(directory: Path, task: str = "asr") -> None:
    """Raise InputError unless it is for `task` and every file that loading reads is there, naming the first
    that is not."""
    found, kind = task_of(directory), KINDS[task]
    if found != task:
        raise InputError(
            f"{directory / 'config.yaml'}: task: got '{found}', {KINDS[found].name}; wanted '{task}',"
            f" {kind.name}; use it with `{KINDS[found].command}`"
        )
    for name in kind.files:
        if not (directory / name).is_file():
            raise _missing(directory / name, kind.files)


def check_lm(path: Path) -> None:
    """Raise InputError unless a language model may be there: a file, or a model directory of or with one."""
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"language model {path}: no such file or directory")
        return
    config = path / "config.yaml"
    if not config.is_file():
        raise _missing(config, LM_FILES)
    about = read_yaml(config)
    task = about.get("task")
    if task == "asr" and about.get("lm") is None:
        raise InputError(f"{config}: lm: there is no language model in this directory; name another")
    if task not in ("lm", "asr"):
        raise InputError(f"{config}: task: got {task!r}; wanted 'lm', a language model")


def _missing(path: Path, files: tuple[str, ...]) -> InputError:
    return InputError(
        f"{path}: no such file; wanted a model directory with {', '.join(files)};"
        " copy the whole directory that the package stage wrote"
    )
