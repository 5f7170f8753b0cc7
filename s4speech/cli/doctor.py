"""`s4speech doctor`: what a data set holds, and what is wrong with it."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="lhotse or NeMo manifest, Kaldi or Shar folder, audio folder, or corpus."),
    ] = None,
    train: Annotated[list[Path] | None, typer.Option(help="One that is trained on; may be repeated.")] = None,
    test: Annotated[
        list[Path] | None, typer.Option(help="One that is tested on, which training must not know.")
    ] = None,
    source_format: Annotated[
        str | None, typer.Option("--from", help="The format of all, where looking does not tell.")
    ] = None,
    part: Annotated[list[str] | None, typer.Option(help="Only this part of each; may be repeated.")] = None,
    alphabet: Annotated[
        str | None, typer.Option(help="Characters that a transcript may have; others are an error.")
    ] = None,
    min_s: Annotated[float, typer.Option(help="Shortest utterance in seconds.")] = 0.1,
    repeated: Annotated[
        int, typer.Option(help="Texts of so many utterances are worth a line; 0: none.", min=0)
    ] = 5,
    jobs: Annotated[int | None, typer.Option(help="Processes that read audio.", min=1)] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Read headers only: no audio is decoded.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for warnings, not only for errors.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all of it to this file.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the findings to this file.")] = None,
) -> None:
    """Find bad audio, odd texts, repetitions and test data in training; exit with 1 for errors."""
    import json
    import math

    from rich.console import Console

    from s4speech.cli.doctor_report import as_dict, print_report
    from s4speech.cli.progress import counter
    from s4speech.data.checkup import DataSet, check, role_of
    from s4speech.data.clip import default_jobs
    from s4speech.data.findings import findings_csv
    from s4speech.data.source import read_source
    from s4speech.errors import InputError
    from s4speech.files import write_by_rename

    if not math.isfinite(min_s) or min_s < 0:
        raise InputError(f"--min-s: got {min_s:g}; wanted seconds, 0 or more")
    named = [("", path) for path in sources or []]
    named += [("train", path) for path in train or []] + [("test", path) for path in test or []]
    if not named:
        raise InputError("nothing to examine; give a manifest or a folder, see `s4speech doctor --help`")
    sets = [
        DataSet(one, role or role_of(one.name))
        for role, path in named
        for one in read_source(path, part or [], source_format)
    ]
    with counter("doctor", sum(len(one.part.cuts) for one in sets)) as advance:
        checked = check(
            sets,
            alphabet=alphabet,
            min_s=min_s,
            jobs=jobs or default_jobs(),
            fast=fast,
            repeated=repeated or None,
            advance=advance,
        )
    if json_file is not None:
        write_by_rename(json_file, json.dumps(as_dict(checked), ensure_ascii=False, indent=2) + "\n")
    if csv_file is not None:
        write_by_rename(csv_file, findings_csv(checked.findings))
    print_report(checked, Console(), fast=fast)
    wrong = checked.findings if strict else [finding for finding in checked.findings if finding.fatal]
    raise typer.Exit(1 if wrong else 0)
