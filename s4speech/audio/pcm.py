"""Samples without a file around them: headerless PCM, and WAV that comes through a pipe."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from s4speech.errors import InputError

Samples: TypeAlias = NDArray[np.float32]

# Bytes a sample.
PCM_FORMATS: dict[str, int] = {
    "s16le": 2,
    "s24le": 3,
    "s32le": 4,
    "f32le": 4,
    "f64le": 8,
    "u8": 1,
    "mulaw": 1,
    "alaw": 1,
}
_MAX_CHANNELS = 1024  # libsndfile's
# The formats of WAV by (format tag, bits).
_WAV_FORMATS: dict[tuple[int, int], str] = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (3, 64): "f64le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
_EXTENSIBLE = 0xFFFE  # the format tag is the start of a GUID further on
_ENDLESS = 0x7FFF0000  # programs that write to a pipe put a size beyond this, or 0, for "until the end"
_MAX_HEADER_BYTES = 1 << 20


@dataclass
class RawPCM:
    """Headerless samples that are read from ``stream`` as they come, channels interleaved.

    Raises InputError: no such format, or no channels.
    """

    stream: IO[bytes]
    sample_rate_hz: int = 16000
    format: str = "s16le"
    channels: int = 1
    name: str = "standard input"  # for messages
    size: int | None = None  # bytes of samples; None: until the stream ends
    left_over: int = field(default=0, init=False)  # bytes of a last sample that is not whole, once it ended
    missing: int = field(default=0, init=False)  # bytes of ``size`` that did not come, once it ended

    def __post_init__(self) -> None:
        if self.format not in PCM_FORMATS:
            raise InputError(f"{self.name}: PCM format '{self.format}'; wanted {', '.join(PCM_FORMATS)}")
        if not 1 <= self.channels <= _MAX_CHANNELS:
            raise InputError(f"{self.name}: {self.channels} channels; wanted 1 to {_MAX_CHANNELS}")

    def blocks(self, frames: int) -> Iterator[Samples]:
        """Yield (at most ``frames``, channels) float32 as soon as they have come."""
        width = PCM_FORMATS[self.format] * self.channels
        rest = b""
        wanted = self.size
        while wanted is None or wanted > 0:
            size = frames * width - len(rest)
            data = read_some(self.stream, size if wanted is None else min(size, wanted))
            if not data:
                break
            if wanted is not None:
                wanted -= len(data)
            data = rest + data
            whole = len(data) - len(data) % width
            rest = data[whole:]
            if whole:
                yield decode_pcm(data[:whole], self.format).reshape(-1, self.channels)
        self.left_over, self.missing = len(rest), wanted or 0


def read_some(stream: IO[bytes], size: int) -> bytes:
    """Read what has come, at least one byte and at most ``size``; empty at the end."""
    # A pipe's `read` waits for all of it.
    read = getattr(stream, "read1", stream.read)
    data: bytes = read(size)
    return data


def decode_pcm(data: bytes, format: str) -> Samples:
    """Turn whole samples into float32 (S,); integers and companded samples are scaled to [-1, 1)."""
    if format == "s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
    if format == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)  # the sign is in the highest byte
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    if format == "s32le":
        return np.frombuffer(data, "<i4").astype(np.float32) / np.float32(2**31)
    if format == "u8":
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(2**7)
    if format in ("mulaw", "alaw"):
        table = _MULAW if format == "mulaw" else _ALAW
        return table[np.frombuffer(data, np.uint8)]
    # Beyond float32 it becomes infinite, which the reader reports.
    with np.errstate(over="ignore"):
        return np.frombuffer(data, "<f4" if format == "f32le" else "<f8").astype(np.float32)


def read_wav_header(stream: IO[bytes], name: str) -> tuple[RawPCM | None, bytes]:
    """Read a WAV header from a pipe, and return the samples behind it; and every byte that was read.

    None: it is no WAV, or one that only libsndfile reads (compressed, RF64, damaged).
    """
    seen = bytearray()

    def take(size: int) -> bytes:
        start = len(seen)
        while len(seen) < start + size <= _MAX_HEADER_BYTES:
            data = read_some(stream, start + size - len(seen))
            if not data:
                break
            seen.extend(data)
        return bytes(seen[start : start + size])

    riff = take(12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return None, bytes(seen)
    layout: bytes = b""
    while len(head := take(8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"data":
            return _behind_header(stream, name, layout, size), bytes(seen)
        body = take(size + size % 2)
        if len(body) < size:
            break
        if kind == b"fmt ":
            layout = body
    return None, bytes(seen)


def _behind_header(stream: IO[bytes], name: str, layout: bytes, size: int) -> RawPCM | None:
    """Return the samples that ``layout``, the fmt chunk of a WAV, describes; None: not PCM."""
    if len(layout) < 16:
        return None
    tag, channels, rate, _, width, bits = struct.unpack_from("<HHIIHH", layout)
    if tag == _EXTENSIBLE and len(layout) >= 26:
        (tag,) = struct.unpack_from("<H", layout, 24)
    format = _WAV_FORMATS.get((tag, bits))
    if format is None or not 1 <= channels <= _MAX_CHANNELS or width != channels * bits // 8:
        return None
    endless = size == 0 or size >= _ENDLESS
    return RawPCM(stream, rate, format, channels, name, None if endless else size)


def _g711() -> tuple[Samples, Samples]:
    """Return the values of the 256 codes of mu-law and of A-law (ITU-T G.711)."""
    code = np.arange(256)
    turned = ~code & 0xFF
    magnitude = (((turned & 15) << 3) + 132 << (turned >> 4 & 7)) - 132
    mulaw = np.where(turned & 128, -magnitude, magnitude)
    turned = code ^ 0x55
    exponent, mantissa = turned >> 4 & 7, (turned & 15) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, mantissa + 264 << np.maximum(exponent - 1, 0))
    alaw = np.where(turned & 128, magnitude, -magnitude)
    return (mulaw / 2**15).astype(np.float32), (alaw / 2**15).astype(np.float32)


_MULAW, _ALAW = _g711()
