"""The recogniser: a model directory, loaded once, that turns samples into a transcript."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s4speech.audio.io import Samples, Source, prepare_samples, read_audio
from s4speech.audio.limits import MAX_DURATION_S
from s4speech.errors import InputError
from s4speech.models.asr.recognize import hear, search
from s4speech.models.package import ASRPackage, load_asr
from s4speech.streaming.pretrained import find_model
from s4speech.streaming.transcript import Segment, Transcript
from s4speech.streaming.windows import cut_windows
from s4speech.streaming.word_times import word_times

Progress = Callable[[float, float], None]

_MAX_WINDOW_S = 20.0
_BATCH_S = 60.0  # audio decoded together, padding included


class Recognizer:
    """A loaded recognition model. Immutable: any number of threads may transcribe with one at a time.

    >>> recognizer = Recognizer.load("exp/mini/package/mini-s4")
    >>> recognizer.transcribe_file("speech.flac").text
    """

    def __init__(self, package: ASRPackage, device: str = "cpu") -> None:
        """Take a package from `load_asr` and freeze its decoder: constants are computed here, once."""
        self._device = torch.device(device)
        self._model = package.model.eval().requires_grad_(False).to(self._device)
        self._decoder = self._model.decoder.freeze()
        self._tokenizer = package.tokenizer
        self._frame_shift_s = package.frame_shift_s
        self.config = package.config
        self.sample_rate_hz: int = self._model.features.sample_rate

    @classmethod
    def load(cls, name_or_dir: str | Path, *, device: str = "cpu") -> Recognizer:
        """Load a bundled model by name, or a model directory.

        Raises InputError: no such model, or a missing or foreign file in it.
        """
        return cls(load_asr(find_model(name_or_dir)), device)

    def transcribe(
        self,
        samples: NDArray[Any],
        sample_rate: int,
        *,
        beam: int | None = None,
        ctc_weight: float | None = None,
        progress: Progress | None = None,
    ) -> Transcript:
        """Transcribe a whole recording, of any length.

        It is cut at pauses into windows of at most 20 s, which are decoded a few at a time.

        Args:
            samples: (S,) or (S, channels), floats in [-1, 1] or signed integers.
            sample_rate: of ``samples``, in Hz.
            beam: hypotheses kept alive; more is slower and seldom better beyond 10. None: as the model's
                config.yaml says.
            ctc_weight: 0 (decoder only) to 1 (CTC only). None: as the model's config.yaml says.
            progress: called with (seconds done, seconds in all) now and then.

        Raises InputError: an option out of range, or samples that are too few, not finite or misshapen.
        """
        beam = self.config.decode.beam if beam is None else beam
        ctc_weight = self.config.decode.ctc_weight if ctc_weight is None else ctc_weight
        if beam < 1:
            raise InputError(f"beam: got {beam}; wanted 1 or more")
        if not 0 <= ctc_weight <= 1:
            raise InputError(f"ctc_weight: got {ctc_weight}; wanted 0 to 1")
        least = self._model.features.window
        wave = prepare_samples(samples, sample_rate, self.sample_rate_hz, min_samples=least)
        total_s = len(wave) / self.sample_rate_hz
        windows = cut_windows(wave, self.sample_rate_hz, _MAX_WINDOW_S)
        segments: dict[int, Segment] = {}
        done_samples = 0
        for batch in _batches(windows, round(_BATCH_S * self.sample_rate_hz)):
            for window, segment in zip(batch, self._decode(wave, batch, beam, ctc_weight), strict=True):
                done_samples += window.stop - window.start
                if segment is not None:
                    segments[window.start] = segment
            if progress is not None:
                progress(done_samples / self.sample_rate_hz, total_s)
        ordered = tuple(segments[start] for start in sorted(segments))
        return Transcript(
            text=" ".join(segment.text for segment in ordered),
            segments=ordered,
            words=tuple(word for segment in ordered for word in segment.words),
            duration_s=total_s,
        )

    def transcribe_file(
        self,
        source: Source,
        *,
        beam: int | None = None,
        ctc_weight: float | None = None,
        max_duration_s: float = MAX_DURATION_S,
        progress: Progress | None = None,
    ) -> Transcript:
        """Transcribe a file, ``"-"`` for standard input, or a binary file object: what `read_audio` reads."""
        least = self._model.features.window
        samples = read_audio(source, self.sample_rate_hz, min_samples=least, max_duration_s=max_duration_s)
        return self.transcribe(
            samples, self.sample_rate_hz, beam=beam, ctc_weight=ctc_weight, progress=progress
        )

    @torch.inference_mode()
    def _decode(
        self, wave: Samples, windows: Sequence[slice], beam: int, ctc_weight: float
    ) -> list[Segment | None]:
        """Decode windows of ``wave`` as one batch; None for one without words."""
        sizes = [window.stop - window.start for window in windows]
        padded = np.zeros((len(windows), max(sizes)), np.float32)
        for row, window in zip(padded, windows, strict=True):
            row[: window.stop - window.start] = wave[window]
        features, lengths = self._model.features(
            torch.from_numpy(padded).to(self._device), torch.tensor(sizes, device=self._device)
        )
        heard = hear(self._model, features, lengths)
        found = search("joint", self._decoder, heard, beam=beam, ctc_weight=ctc_weight)
        return [
            self._segment(best[0].tokens, log_probs[:length], window.start)
            for best, log_probs, length, window in zip(
                found, heard.log_probs, heard.lengths.tolist(), windows, strict=True
            )
        ]

    def _segment(self, tokens: list[int], log_probs: torch.Tensor, start: int) -> Segment | None:
        """Make a segment of one window's tokens; log_probs (T, V), start: the window's first sample."""
        words = word_times(
            log_probs, tokens, self._tokenizer, self._frame_shift_s, start / self.sample_rate_hz
        )
        if not words:
            return None
        return Segment(" ".join(word.text for word in words), words[0].start_s, words[-1].end_s, words)


def _batches(windows: Sequence[slice], limit: int) -> list[list[slice]]:
    """Group windows of like length so that a group has at most ``limit`` samples, padding included."""
    groups: list[list[slice]] = []
    for window in sorted(windows, key=lambda w: w.start - w.stop):
        # Sorted from the longest, so the first of a group is what all are padded to.
        if groups and (len(groups[-1]) + 1) * (groups[-1][0].stop - groups[-1][0].start) <= limit:
            groups[-1].append(window)
        else:
            groups.append([window])
    return groups
