"""A bar on standard error: how much audio is done, and the real-time factor."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Seconds done, and seconds in all where they are known.
Report = Callable[[float, float | None], None]


@contextmanager
def progress(name: str) -> Iterator[Report | None]:
    """Show a bar while one recording is transcribed; None when no person is watching."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[audio]}"),
        TextColumn("{task.fields[factor]}", style="cyan"),
    )
    # Without redirection: what is printed meanwhile goes where it is sent, into a pipe for one.
    with Progress(
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
