"""A segment while it is recognised: search, the text so far, and at its end rescoring and word times."""

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from s4speech.config.streaming import Calibration, SearchOptions
from s4speech.layers.state import map_state
from s4speech.models.asr.streaming import Projected, Start, StreamingModel
from s4speech.search.frame_sync import Ask, FrameSyncSearch, Read
from s4speech.search.hotwords import Hotwords
from s4speech.search.hypothesis import Hypothesis, Scorer
from s4speech.search.prefixes import Start as LMStart
from s4speech.search.prefixes import Tail
from s4speech.streaming.steps import Step, Steps, cut, join, size
from s4speech.streaming.transcript import Segment
from s4speech.streaming.word_times import word_times
from s4speech.text.tokenizer import BLANK, Tokenizer


@dataclass(frozen=True)
class Setup:
    """What all segments of a stream share, and all streams that are used alike."""

    model: StreamingModel
    tokenizer: Tokenizer
    search: SearchOptions
    calibration: Calibration
    device: torch.device
    hotwords: Hotwords | None = None
    lm: Scorer | None = None

    @property
    def decodes(self) -> bool:
        """The attention decoder has a say."""
        return self.search.decoder_weight > 0 or self.search.rescore_weight > 0

    def seconds(self, frames: int) -> float:
        """From encoder frames; of whole numbers, so that days of audio do not add up to an error."""
        return frames * self.model.frame_samples / self.model.sample_rate


class Opening(NamedTuple):
    """What a segment takes over from those before it; None: the beginning of a stream."""

    start: Start | None = None  # of the attention decoder
    lm: LMStart | None = None  # of the language model
    context: Projected | None = None  # what the decoder sees of the frames before the segment
    tail: Tail | None = None  # of the search: a token that was cut is not a new one


_BEGINNING = Opening()


class LiveSegment:
    """The frames of one segment and the search over them. One owner."""

    def __init__(
        self, setup: Setup, opening: Opening = _BEGINNING, *, first_frame: int = 0, offset_s: float = 0.0
    ) -> None:
        """first_frame: where it begins in the recording, whose frame 0 is at ``offset_s`` seconds."""
        self._setup, self._offset_s = setup, offset_s
        self._start = (opening.start or setup.model.decoder.start()) if setup.decodes else None
        self._search = FrameSyncSearch(
            setup.search,
            start=self._start,
            lm=setup.lm,
            lm_start=opening.lm,
            hotwords=setup.hotwords,
            tail=opening.tail,
        )
        self._projected = opening.context
        self._context = 0 if opening.context is None else size(opening.context)
        self._chunks: list[Tensor] = []  # the log-probabilities
        self._places: list[int] = []  # of its frames in the recording: skipped ones leave gaps
        self._first = self.next_frame = first_frame
        self._best = self._search.hypotheses()[0]
        self._said: list[int] = []
        self._voiced = first_frame  # the frame after the last one that was not blank

    def advance(self, log_probs: Tensor, projected: Projected | None) -> Steps[None]:
        """Hear C frames: CTC's log_probs (C, V), and their projection (1 row) if the decoder has a say."""
        self._chunks.append(log_probs)
        self._places += range(self.next_frame, self.next_frame + len(log_probs))
        if projected is not None:
            self._projected = projected if self._projected is None else join(self._projected, projected)
        for row in log_probs.double().cpu().numpy():
            self.next_frame += 1
            if row.argmax() != BLANK:
                self._voiced = self.next_frame
            asks = self._search.advance(row)
            ask = next(asks, None)
            if ask is not None:
                answer = yield self._step(ask)
                with suppress(StopIteration):
                    asks.send(answer)
        self._best = self._search.hypotheses()[0]

    def skip(self, frames: int) -> None:
        """Let frames pass in which nothing is said."""
        self.next_frame += frames

    def _step(self, ask: Ask | Read) -> Step | Read:
        if isinstance(ask, Read):
            return ask
        assert self._projected is not None  # a search without a decoder asks nothing
        seen = self._setup.model.decoder.window(self._context + ask.frame, size(self._projected))
        return Step(ask.tokens, ask.state, cut(self._projected, seen), ask.read)

    def text(self) -> tuple[str, str]:
        """The words so far, and those of them that will not change.

        A word is done when all live prefixes have the beginning of the next one.
        """
        words = self._setup.tokenizer.words
        done = words(self._search.common_prefix())[:-1]
        return self._setup.tokenizer.decode(self._best.tokens), " ".join(word for word, _ in done)

    def started_s(self) -> float | None:
        """When the first word began, about; None while there is none."""
        if not self._best.frames:
            return None
        return self._offset_s + self._setup.seconds(self._places[self._best.frames[0]])

    def pause(self) -> tuple[bool, float, float]:
        """What endpoint rules read: is there a word, seconds since the last token, seconds in all."""
        voiced = self._voiced
        if self._best.frames:
            voiced = max(voiced, self._places[self._best.frames[-1]] + 1)
        silence, length = self.next_frame - voiced, self.next_frame - self._first
        return bool(self._best.tokens), self._setup.seconds(silence), self._setup.seconds(length)

    def finish(self) -> Segment | None:
        """The segment's words; None if it has none."""
        if not self._places:
            return None
        self._chunks = [torch.cat(self._chunks)]
        tokens = self._choose(self._chunks[0])
        words = word_times(
            self._chunks[0],
            tokens,
            self._setup.tokenizer,
            self._setup.model.frame_shift_s,
            self._offset_s,
            places=self._places,
            calibration=self._setup.calibration,
        )
        self._said = tokens if words else []
        return Segment.of(words)

    def opening(self) -> Opening:
        """Where the next segment begins, after `finish`; where this one did, if nothing was said."""
        start, context, decoder = self._start, self._projected, self._setup.model.decoder
        if self._said and start is not None and context is not None:
            start = decoder.advance(self._said, self._chunks[0], context, self._context, start)
        if context is not None:
            context = cut(context, slice(max(0, size(context) - decoder.left), None))
            context = map_state(torch.clone, context)  # not a view of all the segment
        search, said = self._search, self._said
        return Opening(start, search.lm_start_after(said), context, search.tail_after(said))

    def _choose(self, log_probs: Tensor) -> list[int]:
        """The tokens of the best hypothesis, by the decoder in convolution form if it is to rescore."""
        options = self._setup.search
        found = self._search.hypotheses()[: options.nbest]
        alone = len(found) == 1 or not options.rescore_weight
        if alone or self._start is None or self._projected is None:
            return found[0].tokens
        rescored = self._setup.model.decoder.rescore(
            [h.tokens for h in found], log_probs, self._projected, self._context, self._start
        )

        def score(pair: tuple[Hypothesis, float]) -> float:
            one_pass = options.decoder_weight * pair[0].scores["attention"]
            return pair[0].score - one_pass + options.rescore_weight * pair[1]

        return max(zip(found, rescored, strict=True), key=score)[0].tokens
