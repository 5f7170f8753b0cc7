"""The law of segments: what is said in one goes on in the next as if the stream had not been cut."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from s4speech.models.asr.build import build_asr
from s4speech.models.asr.streaming import Projected, Start, TriggeredDecoder
from s4speech.models.asr.triggers import trigger_frames
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.segment import LiveSegment, Opening, Setup
from s4speech.streaming.steps import Step, Steps, cut, run_steps, size
from s4speech.text.tokenizer import EOS, SOS
from tests.oracles.compare import close
from tests.tiny_streaming import tiny_package

CUTS = [0, 11, 19, 30]
# (frame, token, its rival): the second and third segments begin within the decoder's reach of the cut.
SAID = [(2, 5, 6), (5, 9, 0), (8, 7, 4), (12, 8, 0), (16, 5, 11), (20, 6, 9), (25, 10, 7)]


def posteriors(vocab_size: int) -> Tensor:
    """(30, V) natural logs: the tokens of SAID, each with a rival; blank elsewhere, the rest below 0.01."""
    p = torch.full((CUTS[-1], vocab_size), 1e-5)
    p[:, 0] = 1.0
    for frame, token, rival in SAID:
        p[frame, 0] = 0.1
        p[frame, token], p[frame, rival] = 0.55, 0.35
    return (p / p.sum(-1, keepdim=True)).log()


class Oracle:
    """The decoder one token at a time, over the projection of the whole stream."""

    def __init__(self, decoder: TriggeredDecoder, whole: Projected, log_probs: Tensor) -> None:
        self._decoder, self._whole, self._log_probs = decoder, whole, log_probs

    def read(self, tokens: list[int], first: int, stop: int, start: Start) -> tuple[float, Any]:
        """log p(tokens, <eos>) in the segment of these frames, and the state after the tokens."""
        triggers = [*trigger_frames(self._log_probs[first:stop], tokens), stop - first - 1]
        state, total = start.state, 0.0
        for token, target, frame in zip([start.token, *tokens], [*tokens, EOS], triggers, strict=True):
            seen = cut(self._whole, self._decoder.window(first + frame, stop))
            valid = torch.ones(1, size(seen), dtype=torch.bool)
            log_probs, state = self._decoder.score(torch.tensor([token]), state, seen, valid)
            total += float(log_probs[0, target].double())
        return total, state


def leaves(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [leaf for part in state for leaf in leaves(part)]


def same(found: Any, wanted: Any) -> None:
    for one, two in zip(leaves(found), leaves(wanted), strict=True):
        assert one.shape == two.shape
        close(one, two, 1e-4)


def deep_setup(folder: Path, decoder: str) -> Setup:
    """Of a decoder of two layers: what the first one sees is in the state of the second."""
    package = tiny_package(folder, decoder=decoder)
    config = package.config.model
    config = config.model_copy(update={"decoder": config.decoder.model_copy(update={"n_layers": 2})})
    torch.manual_seed(0)
    return Recognizer(replace(package, model=build_asr(config))).stream().stream.setup


def watched(work: Steps[None], steps: list[Step]) -> Steps[None]:
    """The work, and a list of what it asks."""
    with suppress(StopIteration):
        step = next(work)
        while True:
            steps.append(step)
            step = work.send((yield step))


@pytest.mark.parametrize("decoder", ["s4", "transformer"])
def test_a_segment_goes_on_where_the_one_before_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    setup = deep_setup(tmp_path, decoder)
    model = setup.model
    log_probs = posteriors(setup.tokenizer.vocab_size)
    memory = torch.randn(1, len(log_probs), 16, generator=torch.Generator().manual_seed(3)) * 2
    whole = model.decoder.project(memory)
    oracle = Oracle(model.decoder, whole, log_probs)

    rescored: list[tuple[list[list[int]], list[float]]] = []
    rescore = TriggeredDecoder.rescore

    def spy(self: TriggeredDecoder, hypotheses: list[list[int]], *rest: Any) -> list[float]:
        rescored.append((hypotheses, rescore(self, hypotheses, *rest)))
        return rescored[-1][1]

    monkeypatch.setattr(TriggeredDecoder, "rescore", spy)
    opening, start = Opening(), Start(model.decoder.init_state(1), SOS)
    for first, stop in pairwise(CUTS):
        segment = LiveSegment(setup, opening, first_frame=first)
        steps: list[Step] = []
        projected = model.decoder.project(memory[:, first:stop])
        run_steps(model.decoder, [watched(segment.advance(log_probs[first:stop], projected), steps)])
        # The one-pass search: which tokens it reads first, from which state, and what it sees.
        frames = [frame for frame, *_ in SAID if first <= frame < stop]
        assert len(steps) == len(frames)
        assert steps[0].tokens.tolist() == [start.token]
        same(steps[0].state, start.state)
        for step, frame in zip(steps, frames, strict=True):
            same(step.seen, cut(whole, model.decoder.window(frame, stop)))

        found = segment.finish()
        assert found is not None
        hypotheses, scores = rescored.pop()
        assert len(hypotheses) > 1
        for tokens, score in zip(hypotheses, scores, strict=True):
            assert score == pytest.approx(oracle.read(tokens, first, stop, start)[0], abs=1e-4)

        opening = segment.opening()
        said = next(t for t in hypotheses if setup.tokenizer.decode(t) == found.text)
        start = Start(oracle.read(said, first, stop, start)[1], EOS)
        assert opening.start is not None and opening.start.token == EOS
        same(opening.start.state, start.state)
        assert opening.context is not None
        same(opening.context, cut(whole, slice(max(0, stop - model.decoder.left), stop)))
