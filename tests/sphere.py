"""NIST SPHERE files, written by hand: nothing that is installed writes them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_sphere(path: Path, samples: NDArray[np.int16], rate: int, order: str = "little") -> None:
    """One channel of 16 bit after the header of 1024 bytes, which says in which order the bytes are."""
    fields = {
        "channel_count": f"-i {1}",
        "sample_count": f"-i {len(samples)}",
        "sample_rate": f"-i {rate}",
        "sample_n_bytes": "-i 2",
        "sample_byte_format": "-s2 01" if order == "little" else "-s2 10",
        "sample_sig_bits": "-i 16",
        "sample_coding": "-s3 pcm",
    }
    lines = ["NIST_1A", "   1024", *(f"{name} {value}" for name, value in fields.items()), "end_head", ""]
    header = "\n".join(lines).encode("ascii").ljust(1024)
    path.write_bytes(header + samples.astype("<i2" if order == "little" else ">i2").tobytes())
