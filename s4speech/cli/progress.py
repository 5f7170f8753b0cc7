"""A bar on standard error: how much audio is done, and the real-time factor."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s4speech.streaming.recognizer import Progress


@contextmanager
def progress(name: str) -> Iterator["Progress | None"]:
    """Show a bar while one recording is transcribed; None when no person is watching."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.markup import escape

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TextColumn("{task.fields[audio]}"),
        bars.TextColumn("{task.fields[factor]}", style="cyan"),
    )
    # Without redirection: what is printed meanwhile goes where it is sent, into a pipe for one.
    with bars.Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task(escape(name), total=None, audio="", factor="")
        start = time.monotonic()

        def report(done_s: float, total_s: float | None) -> None:
            of_total = "" if total_s is None else f" / {_clock(total_s)}"
            factor = f"RTF {(time.monotonic() - start) / done_s:.2f}" if done_s else ""
            bar.update(
                task, completed=done_s, total=total_s, audio=f"{_clock(done_s)}{of_total}", factor=factor
            )

        yield report


def _clock(seconds: float) -> str:
    minutes, whole = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{whole:02d}"


@contextmanager
def counter(name: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar of things done, of `total`; what is given is told how many more are."""
    if not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn(name),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(name, total=total)
        yield lambda more: bar.advance(task, more)
