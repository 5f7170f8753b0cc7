"""Memory that the allocator keeps, given back to the system."""

import ctypes
import functools
import platform
from collections.abc import Callable


@functools.cache
def _trim() -> Callable[[int], object] | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    trim: Callable[[int], object] = ctypes.CDLL("libc.so.6").malloc_trim
    return trim


def release_memory() -> None:
    """Give free heap pages back. Without glibc: do nothing.

    Segments differ in length, so the arrays of one leave holes that those of the next do not fit: over three
    hours of one stream that made 8 %.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
