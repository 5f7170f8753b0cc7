"""Windows of a recording, decoded at full context, several at a time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from s4speech.errors import InputError
from s4speech.layers import split_rows
from s4speech.models.asr.model import ASRModel
from s4speech.models.asr.recognize import hear, search
from s4speech.models.asr.streaming import Projected
from s4speech.models.package import ASRPackage
from s4speech.search.hotwords import Hotwords
from s4speech.search.hypothesis import Scorer
from s4speech.streaming.segment import LiveSegment, Setup
from s4speech.streaming.steps import Steps, cut, run_steps
from s4speech.streaming.transcript import Segment
from s4speech.streaming.word_times import word_times


class WindowOptions(NamedTuple):
    """How windows are decoded; None: as the model's config.yaml says."""

    beam: int | None = None
    ctc_weight: float | None = None
    hotwords: Hotwords | None = None


class WindowDecoder(Protocol):
    """What decodes whole windows. Immutable."""

    sample_rate_hz: int
    min_samples: int  # of a window

    def decode(
        self, samples: Tensor, lengths: Tensor, starts_s: Sequence[float], options: WindowOptions
    ) -> list[Segment | None]:
        """Samples (B, S), lengths (B,), where each window begins; None for one without words.

        Raises InputError: an option that is not for this model.
        """
        ...


class OfflineWindows:
    """Windows for a model that hears whole utterances: joint beam search."""

    def __init__(self, package: ASRPackage, device: torch.device, lm: Scorer | None = None) -> None:
        """Constants are computed here, once. lm: for a search whose decode.lm_weight is not 0."""
        self._model: ASRModel = package.model
        self._device = device
        self.sample_rate_hz: int = package.model.features.sample_rate
        self.min_samples: int = package.model.features.window
        self._decoder = package.model.decoder.freeze()
        self._tokenizer, self._defaults = package.tokenizer, package.config.decode
        self._lm = None if lm is None else (lm, self._defaults.lm_weight)
        beside = None if lm is None else self._defaults.lm_ctc_weight
        self._ctc_weight = self._defaults.ctc_weight if beside is None else beside

    @torch.inference_mode()
    def decode(
        self, samples: Tensor, lengths: Tensor, starts_s: Sequence[float], options: WindowOptions
    ) -> list[Segment | None]:
        if options.hotwords is not None:
            raise InputError("hotwords: not for this model; use one whose encoder.type is streaming")
        beam = self._defaults.beam if options.beam is None else options.beam
        ctc_weight = self._ctc_weight if options.ctc_weight is None else options.ctc_weight
        features = self._model.features(samples.to(self._device), lengths.to(self._device))
        heard = hear(self._model, *features)
        found = search(
            "joint",
            self._decoder,
            heard,
            beam=beam,
            ctc_weight=ctc_weight,
            lm=self._lm,
            length_bonus=self._defaults.length_bonus,
        )
        return [
            self._segment(best[0].tokens, log_probs[:length], start_s)
            for best, log_probs, length, start_s in zip(
                found, heard.log_probs, heard.lengths.tolist(), starts_s, strict=True
            )
        ]

    def _segment(self, tokens: list[int], log_probs: Tensor, start_s: float) -> Segment | None:
        words = word_times(log_probs, tokens, self._tokenizer, self._model.frame_shift_s, start_s)
        return Segment.of(words)


class StreamingWindows:
    """Windows for a streaming model: the search of its streams, over frames that saw all of the window."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.sample_rate_hz, self.min_samples = setup.model.sample_rate, setup.model.min_samples

    @torch.inference_mode()
    def decode(
        self, samples: Tensor, lengths: Tensor, starts_s: Sequence[float], options: WindowOptions
    ) -> list[Segment | None]:
        setup = self._with(options)
        heard = setup.model.hear_whole(samples.to(setup.device), lengths.to(setup.device))
        rows: Sequence[Projected | None] = [None] * len(starts_s)
        if setup.decodes:
            rows = split_rows(setup.model.decoder.project(heard.memory), [1] * len(starts_s))
        works = [
            _whole(setup, log_probs[:length], None if row is None else cut(row, slice(length)), start_s)
            for log_probs, length, row, start_s in zip(
                heard.log_probs, heard.lengths.tolist(), rows, starts_s, strict=True
            )
        ]
        return run_steps(setup.model.decoder, works)

    def _with(self, options: WindowOptions) -> Setup:
        """ctc_weight is the part of CTC in CTC + decoder, as for other models."""
        search = self._setup.search
        if options.beam is not None:
            search = search.model_copy(update={"beam": options.beam})
        if options.ctc_weight is not None:
            if options.ctc_weight == 0:
                raise InputError(
                    "ctc_weight: got 0; a streaming model wants more: CTC says when there is a token"
                )
            search = search.with_ctc_weight(options.ctc_weight)
        return replace(self._setup, search=search, hotwords=options.hotwords)


def _whole(
    setup: Setup, log_probs: Tensor, projected: Projected | None, start_s: float
) -> Steps[Segment | None]:
    segment = LiveSegment(setup, offset_s=start_s)
    yield from segment.advance(log_probs, projected)
    return segment.finish()
