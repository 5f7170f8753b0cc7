"""Checks of options that several commands have."""

import math

from s4speech.errors import InputError


def check_use(possible: bool, what: str, **options: object) -> None:
    """Raise InputError for an option that was given where it would do nothing; what: that it is for."""
    for name, value in options.items():
        if not (possible or value is None or value is False):
            raise InputError(f"--{name.replace('_', '-')}: is for {what} only; leave it out")


def check_chunk(chunk_ms: float | None) -> None:
    """Raise InputError for a --chunk-ms that is no length."""
    if chunk_ms is not None and not 0 < chunk_ms < math.inf:
        raise InputError(f"--chunk-ms: got {chunk_ms:g}; wanted more than 0, for example 320")
