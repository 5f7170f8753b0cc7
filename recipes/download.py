"""Fetching what a recipe reads, before its first stage, if it was told to (``download=true``)."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from recipes.context import RecipeConfig, RecipeContext
from s4speech.data.archives import from_mirror, wanted_of_corpus
from s4speech.data.download import Report, Wanted, obtain
from s4speech.data.processes import launched
from s4speech.errors import InputError

POLL_S = 1.0  # how often a process looks whether the first one has fetched everything
Url = Annotated[str, Field(pattern=r"^https?://\S+$")]


class DownloadingConfig(RecipeConfig):
    """download: fetch what is published of the data and is not there; nothing is fetched without it. mirror:
    URL of a folder with the archives under their published names, which is asked first."""

    download: bool = False
    mirror: Url | None = None


def provide_corpora(
    context: RecipeContext[Any], corpora: Sequence[tuple[str, str, Sequence[str]]], dry_run: bool
) -> None:
    """`provide` for (name, root, parts) of each corpus."""
    wanted: list[Wanted] = []
    unpublished: list[Path] = []
    for name, root, parts in corpora:
        found, unknown = wanted_of_corpus(name, Path(root), parts)
        wanted += found
        unpublished += unknown
    provide(context, wanted, unpublished, dry_run)


def provide(
    context: RecipeContext[Any], wanted: Sequence[Wanted], unpublished: Sequence[Path], dry_run: bool
) -> None:
    """Fetch what is `wanted`, if the config says so; a dry run tells what would be fetched.

    Of several processes with the same command the first one does this; the others wait, and tell nothing.
    unpublished: what is lacking and no archive of which is known.
    Raises InputError: something published is not there and `download` is not set; something to be fetched is
    not published; the disk has no room; as `obtain` does.
    """
    config = context.config
    if not config.download:
        if wanted and not dry_run:
            raise InputError(
                f"{wanted[0].to}: is not there{_others(wanted)}; set the path to where it is, or give "
                f"download=true to fetch {_amount(wanted)}"
            )
        return
    if unpublished:
        raise InputError(
            f"download: no published archive of {unpublished[0]} is known; put it there, or correct the path"
        )
    if launched().rank:
        while not dry_run and not all(one.to.exists() for one in wanted):
            time.sleep(POLL_S)
        return
    if config.mirror is not None:
        wanted = [from_mirror(one, config.mirror) for one in wanted]
    if not wanted:
        context.say("download: everything is there")
        return
    told = "would fetch" if dry_run else "fetches"
    context.say(f"download: {told} {_amount(wanted)}: {', '.join(one.archive.name for one in wanted)}")
    if dry_run:
        return
    _check_room(wanted)
    for number, one in enumerate(wanted, 1):
        context.say(f"download: [{number}/{len(wanted)}] {one.archive.name} from {one.archive.urls[0]}")
        with _progress(context.console, one.archive.name) as report:
            obtain(one, report=report, say=context.say)


def _others(wanted: Sequence[Wanted]) -> str:
    return f", nor are {len(wanted) - 1} others" if len(wanted) > 1 else ""


def _amount(wanted: Sequence[Wanted]) -> str:
    """In words; how much the archives of unknown size are is not told."""
    known = sum(one.archive.size or 0 for one in wanted) / 1e9
    files = "1 file" if len(wanted) == 1 else f"{len(wanted)} files"
    return f"{files}, {known:.1f} GB" if known else files


def _check_room(wanted: Sequence[Wanted]) -> None:
    """For what is unpacked, which audio hardly grows by, and the largest archive beside it."""
    sizes = [one.archive.size or 0 for one in wanted]
    folder = wanted[0].folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    needed, free = sum(sizes) + max(sizes), shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"{folder}: has {free / 1e9:.1f} GB of room, the download needs {needed / 1e9:.1f} GB; "
            "make room, or set another path"
        )


@contextmanager
def _progress(console: Console, name: str) -> Iterator[Report]:
    """A bar on a terminal; elsewhere a line for every tenth."""
    if not console.is_terminal:
        tenths = [0]

        def tell(have: int, total: int | None) -> None:
            tenth = 10 * have // total if total else 0
            if tenth > tenths[0]:
                tenths[0] = tenth
                console.print(f"download: {name}: {10 * tenth} %", markup=False, highlight=False)

        yield tell
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda have, total: progress.update(task, completed=have, total=total)
