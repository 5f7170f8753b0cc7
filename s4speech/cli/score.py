"""`s4speech score`: error rates of hypotheses against references, and of two systems against each other."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from s4speech.metrics.error_rate import ErrorReport
    from s4speech.metrics.significance import Comparison
    from s4speech.metrics.texts import Texts


class Unit(str, Enum):
    """What is counted."""

    word = "word"
    char = "char"


class By(str, Enum):
    """What errors are broken down by."""

    speaker = "speaker"
    length = "length"


class Lot(str, Enum):
    """What intervals draw."""

    utterance = "utterance"
    speaker = "speaker"


class Kind(str, Enum):
    """File formats; auto: by extension, else by content."""

    auto = "auto"
    trn = "trn"
    ctm = "ctm"
    stm = "stm"
    kaldi = "kaldi"
    lines = "lines"


def score(
    reference: Annotated[Path, typer.Argument(help="References: TRN, STM, CTM, Kaldi text or plain lines.")],
    hypothesis: Annotated[
        Path, typer.Argument(help="Hypotheses with the same ids; against STM or CTM: a CTM.")
    ],
    compare: Annotated[
        Path | None, typer.Option(help="Another system's hypotheses: is the difference significant?")
    ] = None,
    unit: Annotated[
        Unit, typer.Option(help="What alignments, breakdowns and comparisons count.")
    ] = Unit.word,
    by: Annotated[
        list[By] | None, typer.Option(help="Break down by speaker or length; may be said twice.")
    ] = None,
    confusions: Annotated[int, typer.Option(min=0, help="How many of the most frequent errors.")] = 10,
    resample: Annotated[
        Lot, typer.Option(help="What the bootstrap draws for the intervals.")
    ] = Lot.utterance,
    sclite: Annotated[
        bool, typer.Option("--sclite", help="Align with sclite's costs, ignoring case.")
    ] = False,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="Compare in lower case.")] = False,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Compare A-Z and apostrophes only, in capitals (English).")
    ] = False,
    kind: Annotated[Kind, typer.Option("--format", help="Of all files.")] = Kind.auto,
    alignment: Annotated[
        Path | None, typer.Option(help="Write the REF/HYP/EVAL listing to this file.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page of everything to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print WER and CER with counts, 95 % intervals, breakdowns and the most frequent errors.

    Formats are told by extension (.trn, .ctm, .stm), else by content; see docs/scoring.md.
    """
    from s4speech.files import write_by_rename
    from s4speech.metrics.alignment import listing
    from s4speech.metrics.error_rate import score as error_report
    from s4speech.metrics.significance import compare as compared
    from s4speech.metrics.texts import read_texts

    paths = [hypothesis, *([compare] if compare else [])]
    texts = read_texts(reference, paths, None if kind is Kind.auto else kind.value)
    texts = _prepared(texts, normalize=normalize, lower=ignore_case or sclite)
    reports = [
        error_report(
            texts.refs,
            system,
            texts.speakers,
            unit=unit.value,
            sclite=sclite,
            marked=texts.marked,
            resample=resample.value,
        )
        for system in texts.systems
    ]
    comparison = compared(*reports, resample=resample.value) if compare else None
    if alignment is not None:
        write_by_rename(alignment, listing(reports[0].alignments))
    if html is not None:
        _write_html(html, reference, paths, reports)
    if as_json:
        _print_json(reports[0], comparison, confusions)
        return
    _print_tables(reports, comparison, texts, paths, reference, by or [], confusions)


def _prepared(texts: Texts, *, normalize: bool, lower: bool) -> Texts:
    from s4speech.errors import InputError
    from s4speech.text.normalize import normalize_english

    if normalize and texts.marked:
        raise InputError("score: --normalize would take the { } and ( ) out of the references; drop it")
    if normalize:
        texts = texts.changed(normalize_english)
    return texts.changed(str.lower) if lower else texts


def _print_json(report: ErrorReport, comparison: Comparison | None, confusions: int) -> None:
    import json

    from s4speech.metrics.report import comparison_as_dict, report_as_dict

    plain = report_as_dict(report, confusions=confusions)
    if comparison is not None:
        plain["compared"] = comparison_as_dict(comparison)
    typer.echo(json.dumps(_without_nan(plain), ensure_ascii=False, indent=2))


def _without_nan(value: Any) -> Any:
    """Return plain data with null for what has no value: JSON knows neither nan nor infinity."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _print_tables(
    reports: list[ErrorReport],
    comparison: Comparison | None,
    texts: Texts,
    paths: list[Path],
    reference: Path,
    by: list[By],
    confusions: int,
) -> None:
    from s4speech.metrics.report import format_comparison, format_report
    from s4speech.metrics.texts import NAMES

    speakers = f", {len(set(texts.speakers.values()))} speakers" if texts.speakers else ""
    kinds = [NAMES[kind] for kind in texts.formats]
    lines = [
        f"ref  {reference} ({kinds[0]}, {len(texts.refs)} utterances{speakers})",
        f"hyp  {paths[0]} ({kinds[1]})\n",
        format_report(reports[0], by=[one.value for one in by], confusions=confusions),
    ]
    if comparison is not None:
        lines += [f"this against {paths[1]} ({kinds[2]})", format_comparison(comparison, *reports)]
    typer.echo("\n".join(lines), nl=False)


def _write_html(target: Path, reference: Path, paths: list[Path], reports: list[ErrorReport]) -> None:
    from s4speech.metrics.html import write_report

    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    write_report(target, dict(zip(names, reports, strict=True)), title=f"Scores against {reference.name}")
