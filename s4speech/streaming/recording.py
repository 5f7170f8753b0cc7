"""A recording of any length, window by window, in memory that does not depend on its length."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
import torch

from s4speech.audio.io import Samples, check_length
from s4speech.errors import InputError
from s4speech.streaming.resample import Resampler
from s4speech.streaming.transcript import Segment
from s4speech.streaming.whole import WindowDecoder, WindowOptions
from s4speech.streaming.windows import iter_windows

Block: TypeAlias = tuple[Samples, int]  # mono, and its sample rate
_Window: TypeAlias = tuple[int, Samples]  # its first sample, and all of them

_MAX_WINDOW_S = 20.0
_BATCH_S = 60.0  # audio decoded together, padding included
_AHEAD = 12  # windows out of which batches of like lengths are made


def decode_recording(
    decoder: WindowDecoder, blocks: Iterable[Block], options: WindowOptions, name: str
) -> Iterator[tuple[float, Segment | None]]:
    """The end in seconds and the segment of each window, in order; None: no words.

    It is cut at pauses, into windows of at most 20 s. Raises InputError: less than one analysis window in
    all, and, after everything before it, what ``blocks`` raises.
    """
    rate_hz = decoder.sample_rate_hz
    faults: list[InputError] = []
    resampled = _resampled(_until_fault(blocks, faults), rate_hz)
    windows = iter_windows(resampled, rate_hz, _MAX_WINDOW_S)
    while ahead := list(islice(windows, _AHEAD)):
        if faults and len(ahead[-1][1]) < decoder.min_samples:
            del ahead[-1]
        found: dict[int, Segment | None] = {}
        for batch in _batches(ahead, round(_BATCH_S * rate_hz)):
            # Only a recording of one window can be so short.
            check_length(len(batch[0][1]), rate_hz, decoder.min_samples, name)
            found |= _decode(decoder, batch, options)
        for start, samples in ahead:
            yield (start + len(samples)) / rate_hz, found[start]
    if faults:
        raise faults[0]


def _decode(
    decoder: WindowDecoder, windows: Sequence[_Window], options: WindowOptions
) -> dict[int, Segment | None]:
    """The segments of windows, as one batch, by their first samples."""
    sizes = [len(samples) for _, samples in windows]
    padded = np.zeros((len(windows), max(sizes)), np.float32)
    for row, (_, samples) in zip(padded, windows, strict=True):
        row[: len(samples)] = samples
    starts_s = [start / decoder.sample_rate_hz for start, _ in windows]
    found = decoder.decode(torch.from_numpy(padded), torch.tensor(sizes), starts_s, options)
    return {start: segment for (start, _), segment in zip(windows, found, strict=True)}


def _until_fault(blocks: Iterable[Block], faults: list[InputError]) -> Iterator[Block]:
    """The blocks up to bad input, which goes into ``faults``."""
    try:
        yield from blocks
    except InputError as fault:
        faults.append(fault)


def _resampled(blocks: Iterable[Block], rate_hz: int) -> Iterator[Samples]:
    resampler: Resampler | None = None
    for samples, source_hz in blocks:
        if resampler is None or resampler.source_hz != source_hz:
            if resampler is not None:
                yield resampler.flush()
            resampler = Resampler(source_hz, rate_hz)
        yield resampler.push(samples)
    if resampler is not None:
        yield resampler.flush()


def _batches(windows: Sequence[_Window], limit: int) -> list[list[_Window]]:
    """Group windows of like length so that a group has at most ``limit`` samples, padding included."""
    groups: list[list[_Window]] = []
    for window in sorted(windows, key=lambda window: -len(window[1])):
        # Sorted from the longest, so the first of a group is what all are padded to.
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0][1]) <= limit:
            groups[-1].append(window)
        else:
            groups.append([window])
    return groups
