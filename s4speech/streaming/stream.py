"""One stream of audio on its way to events, whoever drives it: a session alone, or an engine with others."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from s4speech.audio.io import Samples
from s4speech.config.streaming import EndpointRule
from s4speech.layers import State, cat_rows, split_rows
from s4speech.layers.state import map_state
from s4speech.models.asr.streaming import Projected
from s4speech.streaming.endpoint import fired
from s4speech.streaming.events import END, Event, Final, Partial
from s4speech.streaming.memory import release_memory
from s4speech.streaming.resample import Resampler
from s4speech.streaming.samples import SampleQueue
from s4speech.streaming.segment import LiveSegment, Setup
from s4speech.streaming.steps import Steps, run_steps
from s4speech.streaming.vad import LOOK_AHEAD, VoiceGate

# Chunks after which free memory is given back, beside the end of a segment. After each one it would take a
# third of the computing more; at the ends alone, three hours end 5 % above their first ten minutes.
RELEASE_EVERY = 8


class Stream:
    """The audio not yet heard, the state of the encoder, the segment in progress. One owner.

    Audio is heard in chunks on a fixed grid, so the pieces in which it comes change nothing in the events.
    What is kept is bounded by the audio not yet heard and by the longest segment that the rules allow.
    """

    def __init__(
        self, setup: Setup, rules: Sequence[EndpointRule], chunk_frames: int, gate: VoiceGate | None = None
    ) -> None:
        self._setup, self._rules, self._chunk_frames, self._gate = setup, rules, chunk_frames, gate
        self._queue = SampleQueue()
        self._resampler: Resampler | None = None
        self._gated = 0  # samples at the front of the queue that the gate has seen
        self._ahead = 0 if gate is None else LOOK_AHEAD  # samples after a chunk that the gate wants to see
        self._taken = 0  # frames of the chunk that was taken
        self._ended = False
        self._unreleased = 0  # chunks since free memory was given back
        self._segment = LiveSegment(setup)
        self._shown = ("", "")
        self.state: State = setup.model.init_state(1)

    @property
    def setup(self) -> Setup:
        """How it is recognised."""
        return self._setup

    def push(self, samples: Samples, sample_rate: int) -> None:
        """Put mono samples (S,) in. At a new rate, what the old one has left comes first."""
        if not len(samples):
            return
        if self._resampler is None or self._resampler.source_hz != sample_rate:
            self.flush()
            self._resampler = Resampler(sample_rate, self._setup.model.sample_rate)
        self._queue.push(self._resampler.push(samples))

    def flush(self) -> None:
        """Put what the resampler holds back into the queue."""
        if self._resampler is not None:
            self._queue.push(self._resampler.flush())
            self._resampler = None

    @property
    def ready(self) -> bool:
        """There is a whole chunk, and what a gate wants to see after it."""
        model = self._setup.model
        window = self._chunk_frames * model.frame_samples + model.overlap_samples
        return len(self._queue) >= (window if self._ended else window + self._ahead)

    def take(self) -> Samples | None:
        """The next chunk, or at the end the rest; None: the gate says that it need not be heard."""
        model = self._setup.model
        hop = self._chunk_frames * model.frame_samples
        seen = self._queue.take(hop + model.overlap_samples + self._ahead, hop)
        window = seen[: hop + model.overlap_samples]
        self._taken = min(self._chunk_frames, len(window) // model.frame_samples)
        if self._gate is None:
            return window
        opened = self._gate.open(seen[self._gated :], len(seen))
        self._gated = max(0, len(seen) - hop)
        return window if opened else None

    def hear(self, log_probs: Tensor, projected: Projected | None) -> Steps[list[Event]]:
        """What the model made of the chunk that was taken: log_probs (C, V), projection (1 row)."""
        yield from self._segment.advance(log_probs, projected)
        return self._events()

    def skip(self) -> list[Event]:
        """The chunk that was taken passes unheard."""
        self._segment.skip(self._taken)
        return self._events()

    @torch.inference_mode()
    def end(self) -> list[Event]:
        """End the stream: hear what is left, and say what was said."""
        self.flush()
        self._ended = True
        events: list[Event] = []
        while self.ready:
            events += hear_chunks([self])[0]
        if len(self._queue) >= self._setup.model.min_samples:
            events += hear_chunks([self])[0]
        return events + self._close(END)

    def _events(self) -> list[Event]:
        """What to say after a chunk."""
        self._unreleased += 1
        words, silence_s, length_s = self._segment.pause()
        rule = fired(self._rules, words=words, silence_s=silence_s, length_s=length_s)
        if rule is not None:
            events = self._close(rule.name)
            self._segment = LiveSegment(
                self._setup, self._segment.opening(), first_frame=self._segment.next_frame
            )
            self._release()
            return events
        if self._unreleased >= RELEASE_EVERY:
            self._release()
        shown = self._segment.text()
        return [] if shown == self._shown else [self._partial(*shown)]

    def _release(self) -> None:
        release_memory()
        self._unreleased = 0

    def _partial(self, text: str, stable: str) -> Partial:
        self._shown = (text, stable)
        heard_s = self._setup.seconds(self._segment.next_frame)
        started_s = self._segment.started_s()
        return Partial(text, stable, heard_s if started_s is None else started_s, heard_s)

    def _close(self, reason: str) -> list[Event]:
        """Finish the segment in progress."""
        segment = self._segment.finish()
        shown, self._shown = self._shown, ("", "")
        if segment is not None:
            return [Final(segment, reason)]
        # Words were shown that nothing follows.
        return [self._partial("", "")] if shown[0] else []


@torch.inference_mode()
def hear_chunks(streams: Sequence[Stream]) -> list[list[Event]]:
    """Take the next chunk of each of these streams, of one model and one chunk size; the events of each.

    The model is called once for all of them.
    """
    windows = [stream.take() for stream in streams]
    heard = [(stream, window) for stream, window in zip(streams, windows, strict=True) if window is not None]
    found = iter(_hear(*zip(*heard, strict=True)) if heard else [])
    return [
        stream.skip() if window is None else next(found)
        for stream, window in zip(streams, windows, strict=True)
    ]


def _hear(streams: Sequence[Stream], windows: Sequence[Samples]) -> list[list[Event]]:
    setup, count = streams[0].setup, len(streams)
    samples = torch.from_numpy(np.stack(windows)).to(setup.device)
    heard, state = setup.model.hear(samples, cat_rows([stream.state for stream in streams]))
    for stream, own in zip(streams, _apart(state, count), strict=True):
        stream.state = own
    decodes = any(stream.setup.decodes for stream in streams)
    projected = _apart(setup.model.decoder.project(heard.memory), count) if decodes else [None] * count
    works = [
        stream.hear(log_probs.squeeze(0), own)
        for stream, log_probs, own in zip(streams, _apart(heard.log_probs, count), projected, strict=True)
    ]
    return run_steps(setup.model.decoder, works)


def _apart(state: State, count: int) -> list[State]:
    """Each stream's row, in memory of its own: it may be kept for longer than those of the others."""
    rows = split_rows(state, [1] * count)
    return rows if count == 1 else [map_state(torch.clone, row) for row in rows]
