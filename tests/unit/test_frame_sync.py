"""The streaming search by hand: triggers, repeats, silence, the language model's slot, its speed."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4speech.config.streaming import SearchOptions
from s4speech.search import Answer, Ask, FrameSyncSearch, Hypothesis, run
from s4speech.text.tokenizer import EOS, SOS, UNKNOWN

VOCABULARY = 8


def frame(**probs: float) -> NDArray[np.float64]:
    """Log-probabilities of tokens p3=0.5, ...; blank has the rest."""
    values = np.full(VOCABULARY, 1e-9)
    for name, p in probs.items():
        values[int(name[1:])] = p
    values[0] = 1 - values[1:].sum()
    log_probs: NDArray[np.float64] = np.log(values)
    return log_probs


SILENCE = frame()


class Recorder:
    """A decoder whose state is the tokens read as digits. log p of all tokens: -2, or `better` by frame."""

    def __init__(self, better: dict[int, float] | None = None) -> None:
        self.better = better or {}
        self.asks: list[tuple[int, list[int], list[int]]] = []

    def __call__(self, ask: Ask) -> Answer:
        self.asks.append((ask.frame, ask.tokens.tolist(), ask.state[0].tolist()))
        log_probs = torch.full((len(ask.tokens), VOCABULARY), self.better.get(ask.frame, -2.0))
        return log_probs, (ask.state[0] * 10 + ask.tokens,)

    def start(self) -> tuple[Any, int]:
        return (torch.tensor([9]),), SOS


def search_all(search: FrameSyncSearch, frames: list[NDArray[np.float64]], decoder: Any = None) -> Hypothesis:
    for log_probs in frames:
        run(search.advance(log_probs), decoder)
    return search.hypotheses()[0]


def options(**changes: Any) -> SearchOptions:
    return SearchOptions(**{"decoder_weight": 1.0, **changes})


def test_silence_asks_nothing_and_changes_nothing() -> None:
    search = FrameSyncSearch(options(), start=Recorder().start())
    assert [list(search.advance(SILENCE)) for _ in range(100)] == [[]] * 100
    [only] = search.hypotheses()
    assert (only.tokens, only.frames, search.common_prefix(), search.n_frames) == ([], [], [], 100)
    assert only.score == pytest.approx(100 * SILENCE[0])
    assert only.scores == {"ctc": only.score, "attention": 0, "lm": 0, "hotwords": 0}


@pytest.mark.parametrize("start, weight", [(None, 1.0), (Recorder().start(), 0.0)])
def test_without_a_decoder_nothing_is_asked(start: Any, weight: float) -> None:
    search = FrameSyncSearch(options(decoder_weight=weight), start=start)
    assert search_all(search, [frame(p3=0.9), SILENCE, frame(p4=0.9)]).tokens == [3, 4]


def test_each_prefix_reads_its_own_last_token_from_its_own_state() -> None:
    decoder = Recorder()
    search = FrameSyncSearch(options(), start=decoder.start())
    search_all(search, [frame(p3=0.5, p4=0.3), SILENCE, frame(p5=0.9)], decoder)
    # The empty prefix, 3 and 4: the state of the last two is the one before they are read.
    assert decoder.asks == [(0, [SOS], [9]), (2, [SOS, 3, 4], [9, 92, 92])]
    [found] = [h for h in search.hypotheses() if h.tokens == [3, 5]]
    assert (found.frames, found.scores["attention"]) == ([0, 2], -4.0)
    run(search.advance(frame(p6=0.9)), decoder)
    assert (5, 923) in zip(*decoder.asks[-1][1:], strict=True)


def test_a_better_frame_of_the_same_token_is_its_trigger() -> None:
    # Rises, peaks, falls; the decoder sees it only at the peak.
    decoder = Recorder({2: -0.5})
    frames = [frame(p3=0.1), frame(p3=0.5), frame(p3=0.8), frame(p3=0.3)]
    search = FrameSyncSearch(options(beam=2), start=decoder.start())
    best = search_all(search, frames[:3], decoder)
    assert (best.tokens, best.frames, best.scores["attention"]) == ([3], [2], -0.5)
    assert best.score == pytest.approx(best.scores["ctc"] - 0.5)
    assert all(SOS in tokens for _, tokens, _ in decoder.asks)
    asked = len(decoder.asks)
    assert search_all(search, frames[3:], decoder).frames == [2]
    assert len(decoder.asks) == asked


def test_a_prefix_that_falls_at_its_new_trigger_makes_room() -> None:
    def decoder(ask: Ask) -> Answer:
        log_probs = torch.zeros(len(ask.tokens), VOCABULARY)
        log_probs[:, 3] = -20.0 * ask.frame
        return log_probs, ask.state

    # After frame 1, 3 has 0.5, the empty prefix 0.28 and 4 0.07; only then the decoder speaks against 3.
    search = FrameSyncSearch(options(beam=2), start=Recorder().start())
    search_all(search, [frame(p3=0.3), frame(p3=0.5, p4=0.1)], decoder)
    assert [h.tokens for h in search.hypotheses()] == [[], [4]]


def test_a_prefix_with_children_keeps_its_trigger() -> None:
    # 3, then 4 while 3 is still there, then more of 3: the child came from the state of frame 0.
    search = FrameSyncSearch(options(decoder_weight=0))
    search_all(search, [frame(p3=0.5), frame(p3=0.3, p4=0.5), frame(p3=0.6, p4=0.3)])
    frames = {tuple(h.tokens): h.frames for h in search.hypotheses()}
    assert frames[(3, 4)] == [0, 1]
    assert frames[(3,)] == [0]


def test_the_same_token_later_is_no_better_trigger_of_the_first() -> None:
    search = FrameSyncSearch(options(decoder_weight=0))
    search_all(search, [frame(p3=0.7), *[SILENCE] * 3, frame(p3=0.9)])
    frames = {tuple(h.tokens): h.frames for h in search.hypotheses()}
    assert frames == {(3, 3): [0, 4], (3,): [0], (): []}


def test_a_false_start_is_not_the_trigger() -> None:
    search = FrameSyncSearch(options(decoder_weight=0))
    assert search_all(search, [frame(p3=0.05), *[SILENCE] * 3, frame(p3=0.9)]).frames == [4]


def test_a_repeat_needs_a_blank() -> None:
    decoder = Recorder()
    search = FrameSyncSearch(options(), start=decoder.start())
    peak = np.full(VOCABULARY, -math.inf)
    peak[3] = 0.0
    assert search_all(search, [peak, peak, peak], decoder).tokens == [3]
    assert all(len(h.tokens) < 2 for h in search.hypotheses())
    assert len(decoder.asks) == 1
    assert search_all(search, [SILENCE, peak], decoder).tokens == [3, 3]


def test_blank_and_end_are_never_tokens_and_unknown_is() -> None:
    search = FrameSyncSearch(options(decoder_weight=0, min_probability=0))
    p = {f"p{EOS}": 0.4, f"p{UNKNOWN}": 0.3}
    search_all(search, [frame(**p)] * 4)
    found = {token for h in search.hypotheses() for token in h.tokens}
    assert UNKNOWN in found
    assert not found & {0, EOS}


def test_the_length_bonus_pays_each_token() -> None:
    frames = [frame(p3=0.02), SILENCE]
    assert search_all(FrameSyncSearch(options(decoder_weight=0)), frames).tokens == []
    paid = search_all(FrameSyncSearch(options(decoder_weight=0, length_bonus=5.0)), frames)
    assert paid.tokens == [3]
    assert paid.score == pytest.approx(paid.scores["ctc"] + 5.0)


def test_a_frame_without_blank_kills_nobody() -> None:
    none = np.full(VOCABULARY, -math.inf)
    search = FrameSyncSearch(options(decoder_weight=0))
    assert search_all(search, [frame(p3=0.9), none, frame(p4=0.9)]).score == -math.inf


def test_what_the_decoder_excludes_is_no_hypothesis() -> None:
    decoder = Recorder({0: -math.inf})
    search = FrameSyncSearch(options(), start=decoder.start())
    search_all(search, [frame(p3=0.9)], decoder)
    assert [h.tokens for h in search.hypotheses()] == [[]]
    # But one always stays, here where neither blank nor a token is possible.
    certain = np.full(VOCABULARY, -math.inf)
    certain[3] = 0.0
    search = FrameSyncSearch(options(), start=decoder.start())
    search_all(search, [certain], decoder)
    assert len(search.hypotheses()) == 1


@pytest.mark.parametrize("part", ["CTC", "decoder"])
def test_a_score_that_is_no_number_is_refused(part: str) -> None:
    decoder = Recorder({1: math.nan} if part == "decoder" else {})
    search = FrameSyncSearch(options(), start=decoder.start())
    run(search.advance(SILENCE), decoder)
    bad = frame(p3=0.9)
    if part == "CTC":
        bad[4] = math.nan
    with pytest.raises(ValueError, match=rf"^frame 1: .*{part}"):
        run(search.advance(bad), decoder)


class CountingLM:
    """After token t: t + 1 has 0.8. Its state is the tokens read, as digits."""

    def __init__(self) -> None:
        self.read: list[tuple[list[int], list[int]]] = []

    def init_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, dtype=torch.long)

    def score(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self.read.append((tokens.tolist(), state.tolist()))
        log_probs = torch.full((len(tokens), VOCABULARY), math.log(0.2 / (VOCABULARY - 1)))
        log_probs.scatter_(1, (tokens[:, None] + 1) % VOCABULARY, math.log(0.8))
        return log_probs, state * 10 + tokens


def test_the_language_model_reads_each_prefix_once() -> None:
    lm = CountingLM()
    search = FrameSyncSearch(options(decoder_weight=0, lm_weight=1.0), lm=lm)
    frames = [frame(p3=0.5, p6=0.3), frame(p3=0.5, p6=0.4), SILENCE, frame(p4=0.4, p6=0.5), SILENCE]
    best = search_all(search, frames)
    assert (best.tokens, search.lm_start_after([])) == ([3, 4], (torch.tensor([0]), SOS))
    assert best.scores["lm"] == pytest.approx(2 * math.log(0.8), abs=1e-6)
    assert best.score == pytest.approx(best.scores["ctc"] + best.scores["lm"])
    rows = [row for tokens, states in lm.read for row in zip(states, tokens, strict=True)]
    assert len(rows) == len(set(rows))
    assert {(0, SOS), (2, 3), (2, 6)} <= set(rows)


def test_the_next_segment_goes_on_in_the_language_model() -> None:
    lm = CountingLM()
    search = FrameSyncSearch(
        options(decoder_weight=0, lm_weight=1.0), lm=lm, lm_start=(torch.tensor([7]), EOS)
    )
    best = search_all(search, [frame(p3=0.9), SILENCE, frame(p4=0.9)])
    for _ in range(2):  # asking twice reads once
        assert search.lm_start_after(best.tokens) == (torch.tensor([7234]), EOS)
    after = search_all(search, [SILENCE, frame(p5=0.9)])
    assert search.lm_start_after(after.tokens) == (torch.tensor([72345]), EOS)
    with pytest.raises(ValueError, match=r"^tokens: got \[6\]"):
        search.lm_start_after([6])
    assert FrameSyncSearch(options(lm_weight=0), lm=lm).lm_start_after([6]) is None


def test_a_frame_costs_little() -> None:
    # 50 microseconds when written, with 8 prefixes and 5 candidates in every frame.
    rng, frames = np.random.default_rng(0), []
    for _ in range(200):
        probs = np.full(5000, 1e-7)
        probs[rng.choice(np.arange(3, 5000), 5, replace=False)] = 0.6, 0.05, 0.05, 0.05, 0.05
        probs[0] = 1 - probs[1:].sum()
        frames.append(np.log(probs))
    took = []
    for _ in range(3):
        search, start = FrameSyncSearch(SearchOptions(decoder_weight=0)), time.process_time()
        assert len(search_all(search, frames).tokens) > 100
        took.append(time.process_time() - start)
    assert min(took) / 200 < 1e-3
