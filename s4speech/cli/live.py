"""What is shown while audio is heard: a line that is rewritten in place, JSON lines, or growing files."""

import json
import shutil
import sys
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.cells import cell_len

from s4speech.cli.formats import Document, clock, segment_as_dict
from s4speech.streaming.events import Event, Final, Partial

_CLEAR = "\r\x1b[K"
_DIM, _NORMAL = "\x1b[2m", "\x1b[0m"


class Display(Protocol):
    """Takes the events of one stream."""

    def show(self, event: Event) -> None: ...
    def close(self, heard_s: float) -> None: ...


class LiveLine:
    """A terminal: the words so far on its last line, those that may still change dim; finals above it."""

    def __init__(self, terminal: TextIO, prefix: str = "", times: bool = True) -> None:
        """prefix: of every final. times: finals begin with theirs, as whisper shows them."""
        self._terminal, self._prefix, self._times = terminal, prefix, times

    def show(self, event: Event) -> None:
        """Rewrite the line; a final stays and the line below it is the new last one."""
        if isinstance(event, Final):
            one = event.segment
            times = f"[{clock(one.start_s)} --> {clock(one.end_s)}]  " if self._times else ""
            self._write(f"{_CLEAR}{self._prefix}{times}{one.text}\n")
        else:
            # The last column stays free: some terminals begin a new line behind it.
            self._write(_CLEAR + shown_partial(event, shutil.get_terminal_size().columns - 1))

    def close(self, heard_s: float) -> None:
        """Leave an empty last line."""
        self._write(_CLEAR)

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()


def shown_partial(event: Partial, width: int) -> str:
    """Return the partial's end, as much as ``width`` columns hold, with its unstable part dim."""
    text, stable = event.text, len(event.stable_text)
    start = 0
    if cell_len(text) > width:
        start, used = len(text), 1  # for the mark of what is cut
        while start and used + cell_len(text[start - 1]) <= width:
            start -= 1
            used += cell_len(text[start])
    mark = "…" if start else ""
    return f"{mark}{text[start:stable]}{_DIM}{text[max(start, stable) :]}{_NORMAL}"


class JSONLines:
    """One object an event, each on a line of its own."""

    def __init__(self, write: Callable[[str], None], file: str | None = None) -> None:
        """file: the name to put into every object, None: none."""
        self._write, self._file = write, {} if file is None else {"file": file}

    def show(self, event: Event) -> None:
        """Write the event."""
        if isinstance(event, Partial):
            times = {"start": round(event.start_s, 3), "heard": round(event.heard_s, 3)}
            plain = {"type": "partial", "text": event.text, "stable": event.stable_text} | times
        else:
            segment = segment_as_dict(event.segment, word_timestamps=True)
            plain = {"type": "final", "reason": event.reason} | segment
        self._write(json.dumps(self._file | plain, ensure_ascii=False) + "\n")

    def close(self, heard_s: float) -> None:
        """Nothing is left to say."""


class Finals:
    """A document that grows by each final."""

    def __init__(
        self, document: Document, write: Callable[[str], None], close: Callable[[], None] | None = None
    ) -> None:
        self._document, self._write, self._close = document, write, close
        self._write(document.begin())

    def show(self, event: Event) -> None:
        """Add a final."""
        if isinstance(event, Final):
            self._write(self._document.add(event.segment))

    def close(self, heard_s: float) -> None:
        """Complete the document."""
        self._write(self._document.end(heard_s))
        if self._close is not None:
            self._close()


def to_stdout(prefix: str = "") -> Callable[[str], None]:
    """Return a function that prints lines, each after ``prefix``; the reader of a pipe has them at once."""

    def write(text: str) -> None:
        sys.stdout.write("".join(prefix + line for line in text.splitlines(keepends=True)))
        sys.stdout.flush()

    return write
