"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write_by_rename(path: str | Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) to ``path``: beside it first, then renamed over it.

    A reader, or a run that is killed, never sees half a file.

    Raises OSError naming ``path``: its folder is missing, not writable, or the disk is full; ``path`` is then
    as it was.
    """
    path = Path(path)
    # The process id keeps two programs that write the same file from sharing the unfinished one.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        unfinished.replace(path)
    except OSError as error:
        # The user asked for this file and has not heard of the unfinished one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
