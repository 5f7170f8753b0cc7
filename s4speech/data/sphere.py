"""NIST SPHERE audio (.sph) without a program beside: libsndfile reads it, unless it is compressed.

lhotse gives each .sph file to sph2pipe, a C program that few have. To import this module is enough.
"""

import os
from pathlib import Path
from typing import Any

from lhotse.audio import backend as lhotse_backend

HEADER_BYTES = 1024


class SphereBackend(lhotse_backend.Sph2pipeSubprocessBackend):  # type: ignore[misc]  # lhotse has no types
    """libsndfile for what it can read of the files that lhotse's own would read."""

    def read_audio(self, path_or_fd: Any, *args: Any, **options: Any) -> Any:
        """Samples (channels, time) and sample rate."""
        if _is_plain(path_or_fd):
            return lhotse_backend.LibsndfileBackend().read_audio(path_or_fd, *args, **options)
        return super().read_audio(path_or_fd, *args, **options)

    def info(self, path_or_fd: Any, *args: Any, **options: Any) -> Any:
        """lhotse's description of the file."""
        if _is_plain(path_or_fd):
            return lhotse_backend.LibsndfileBackend().info(path_or_fd, *args, **options)
        return super().info(path_or_fd, *args, **options)


def _is_plain(path: str | Path) -> bool:
    """A SPHERE file that shorten has not compressed."""
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    return header.startswith(b"NIST_1A") and b"shorten" not in header


def _use() -> None:
    """In the place of lhotse's, unless the user has chosen what reads audio."""
    if "LHOTSE_AUDIO_BACKEND" not in os.environ:
        own = lhotse_backend.Sph2pipeSubprocessBackend
        others = lhotse_backend.get_default_audio_backend().backends
        ours = [SphereBackend() if isinstance(one, own) else one for one in others]
        lhotse_backend.set_current_audio_backend(lhotse_backend.CompositeAudioBackend(ours))


_use()
