"""`s4speech convert`: a data set in another format."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """What can be written."""

    kaldi = "kaldi"
    nemo = "nemo"
    lhotse = "lhotse"
    shar = "shar"


class AudioPlace(str, Enum):
    """Where the audio is afterwards."""

    reference = "reference"
    copy = "copy"
    link = "link"


def convert(
    source: Annotated[
        Path, typer.Argument(help="lhotse or NeMo manifest, Kaldi or Shar folder, audio folder, or corpus.")
    ],
    destination: Annotated[Path, typer.Argument(help="The folder to write; it must not be there yet.")],
    to: Annotated[Format, typer.Option(help="The format to write.")],
    source_format: Annotated[
        str | None, typer.Option("--from", help="The format of SOURCE, where looking does not tell.")
    ] = None,
    part: Annotated[list[str] | None, typer.Option(help="Only this part of SOURCE; may be repeated.")] = None,
    audio: Annotated[
        AudioPlace | None,
        typer.Option(help="Audio files: reference (stay where they are, the default), copy or link."),
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Utterances a shard (shar).", min=1)] = 1000,
    jobs: Annotated[int | None, typer.Option(help="Processes that encode audio (shar).", min=1)] = None,
) -> None:
    """Convert between Kaldi, NeMo, lhotse and Shar, also from a corpus as published."""
    from s4speech.cli.options import check_use
    from s4speech.cli.progress import counter
    from s4speech.data.clip import default_jobs
    from s4speech.data.convert import convert as write
    from s4speech.data.source import read_source

    check_use(to is not Format.shar, "manifests, shards hold their audio", audio=audio)
    check_use(to is Format.shar, "--to shar", jobs=jobs)
    parts = read_source(source, part or [], source_format)
    utterances = sum(len(one.cuts) for one in parts)
    with counter("convert", utterances) as advance:
        write(
            parts,
            destination,
            to.value,
            audio=audio.value if audio else "reference",
            shard_size=shard_size,
            jobs=jobs or default_jobs(),
            advance=advance,
        )
    for one in parts:
        hours = sum(cut.duration for cut in one.cuts) / 3600
        name = destination / one.name if one.name else destination
        typer.echo(f"{name}: {len(one.cuts)} utterances, {hours:.2f} h, {one.format} -> {to.value}")
