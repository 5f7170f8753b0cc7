"""References and hypotheses from files of any kind that is scored: TRN, CTM, STM, Kaldi text, plain lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from s4speech.errors import InputError
from s4speech.metrics.network import is_marked, parse
from s4speech.metrics.timed import by_recording, cut, read_ctm, read_stm
from s4speech.metrics.trn import is_trn, read_trn, speaker_of, text_lines

Format = Literal["trn", "ctm", "stm", "kaldi", "lines"]
NAMES: dict[Format, str] = {
    "trn": "TRN",
    "ctm": "CTM",
    "stm": "STM",
    "kaldi": "Kaldi text",
    "lines": "plain lines",
}


@dataclass(frozen=True)
class Texts:
    """What is scored: text by utterance id, of the references and of each system."""

    refs: Mapping[str, str]
    systems: Sequence[Mapping[str, str]]
    speakers: Mapping[str, str] | None  # by id; None where the ids do not tell
    marked: bool  # references hold alternatives or optional words
    formats: Sequence[Format]  # of the reference, then of each system

    def changed(self, change: Callable[[str], str]) -> "Texts":
        """Return the same with every text changed, such as put into lower case."""
        return Texts(
            {key: change(text) for key, text in self.refs.items()},
            [{key: change(text) for key, text in system.items()} for system in self.systems],
            self.speakers,
            self.marked,
            self.formats,
        )


def read_texts(reference: Path, hypotheses: Sequence[Path], kind: Format | None = None) -> Texts:
    """Read a reference file and the hypothesis files that go with it; ``kind``: all are of this format.

    Without ``kind`` each file's format is found by `detect`. A CTM goes with an STM, with a CTM, or with a
    reference whose ids are its recordings; plain lines go with plain lines, the first with the first.

    Raises InputError: a file that cannot be read or is broken (naming file and line), formats that do not go
    together, marks that are broken, or marks in a hypothesis.
    """
    formats = [kind or detect(path) for path in (reference, *hypotheses)]
    for path, one in zip(hypotheses, formats[1:], strict=True):
        _check_together(reference, formats[0], path, one)
    if formats[0] == "stm":
        segments = read_stm(reference)
        parts = [cut(segments, read_ctm(path), path) for path in hypotheses]
        refs, speakers = parts[0][0], parts[0][2]
        systems: list[Mapping[str, str]] = [hyps for _, hyps, _ in parts]
    else:
        refs = _read(reference, formats[0])
        systems = [_read(path, one) for path, one in zip(hypotheses, formats[1:], strict=True)]
        if formats[0] != "ctm":
            systems = [
                _with_silent(system, refs) if one == "ctm" else system
                for system, one in zip(systems, formats[1:], strict=True)
            ]
        speakers = {} if formats[0] == "lines" else {utterance: speaker_of(utterance) for utterance in refs}
    for path, system, one in zip(hypotheses, systems, formats[1:], strict=True):
        _check_same_lines(reference, refs, path, system) if one == "lines" else None
    marked = formats[0] in ("trn", "stm") and any(is_marked(text) for text in refs.values())
    if marked:
        _check_marks(reference, refs)
        for path, system in zip(hypotheses, systems, strict=True):
            _check_plain(path, system)
    told = 0 < len(set(speakers.values())) < len(refs) or len(refs) == 1
    return Texts(refs, systems, speakers if told and speakers else None, marked, formats)


def detect(path: Path) -> Format:
    """Tell a file's format by its extension, else by its lines.

    .trn, .ctm and .stm are what they say. Otherwise: an id in parentheses at the end of every line is TRN;
    times as in CTM or STM are such; a first word that has a digit in every line, and is another in each, is
    an id of Kaldi's ``text``; anything else is plain lines.

    Raises InputError: the file cannot be read, or is empty.
    """
    if (suffix := path.suffix.lower().removeprefix(".")) in ("trn", "ctm", "stm"):
        return suffix  # type: ignore[return-value]
    lines = [line for _, line in text_lines(path)]
    if not lines:
        raise InputError(f"{path}: no lines; wanted TRN, CTM, STM, Kaldi text or plain lines")
    if all(map(is_trn, lines)):
        return "trn"
    rows = [line.split(maxsplit=6) for line in lines]
    if all(len(row) in (5, 6) and _is_number(row[2]) and _is_number(row[3]) for row in rows):
        return "ctm"
    if all(len(row) >= 5 and _is_number(row[3]) and _is_number(row[4]) for row in rows):
        return "stm"
    names = {row[0] for row in rows}
    if len(names) == len(rows) and all(any(letter.isdigit() for letter in name) for name in names):
        return "kaldi"
    return "lines"


def _with_silent(system: Mapping[str, str], refs: Mapping[str, str]) -> Mapping[str, str]:
    """A recording without words has no line in a CTM: its text is empty. Ids that are all others stay so."""
    return dict.fromkeys(refs, "") | dict(system) if refs.keys() & system.keys() else system


def _read(path: Path, kind: Format) -> dict[str, str]:
    if kind == "trn":
        return read_trn(path)
    if kind == "ctm":
        return by_recording(read_ctm(path))
    texts: dict[str, str] = {}
    if kind == "lines":
        try:
            # A blank line is an empty text here: leaving it out would shift all after it.
            lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
        except OSError as error:
            raise InputError(f"{path}: cannot read ({error.strerror}); wanted a text file") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 at byte {error.start}; wanted a text in UTF-8") from error
        return {f"line-{number}": " ".join(line.split()) for number, line in enumerate(lines, start=1)}
    for number, line in text_lines(path, "Kaldi text"):
        name, *words = line.split()
        if name in texts:
            raise InputError(f"{path}:{number}: the id '{name}' came before; wanted each id once")
        texts[name] = " ".join(words)
    return texts


def _check_together(reference: Path, ref: Format, hypothesis: Path, hyp: Format) -> None:
    pairs: dict[Format, tuple[Format, ...]] = {
        "trn": ("trn", "kaldi", "ctm"),
        "kaldi": ("trn", "kaldi", "ctm"),
        "ctm": ("ctm",),
        "stm": ("ctm",),
        "lines": ("lines",),
    }
    wanted = pairs[ref]
    if hyp not in wanted:
        raise InputError(
            f"{hypothesis}: got {NAMES[hyp]} against {NAMES[ref]} ({reference}); wanted"
            f" {' or '.join(NAMES[one] for one in wanted)}; say --format if a file was taken for another kind"
        )


def _check_same_lines(
    reference: Path, refs: Mapping[str, str], hypothesis: Path, hyps: Mapping[str, str]
) -> None:
    if len(refs) != len(hyps):
        raise InputError(f"{hypothesis}: got {len(hyps)} lines, {reference} has {len(refs)}; wanted as many")


def _check_marks(path: Path, refs: Mapping[str, str]) -> None:
    for utterance, text in refs.items():
        try:
            parse(text)
        except InputError as error:
            raise InputError(f"{path}: utterance '{utterance}': {error}") from error


def _check_plain(path: Path, hyps: Mapping[str, str]) -> None:
    for utterance, text in hyps.items():
        if "{" in text or "}" in text:
            raise InputError(
                f"{path}: utterance '{utterance}' has alternatives; only a reference may have them"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
