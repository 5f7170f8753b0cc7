"""Laws of the streaming search: exact CTC, each prefix its own state, equal to a search that is naive."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from s4speech.config.streaming import SearchOptions
from s4speech.models.asr.decoder import FrozenDecoder, S4Decoder, TransformerDecoder
from s4speech.search import Answer, Ask, FrameSyncSearch, Hypothesis, Start, ctc_prefix_beam, prefixes, run
from s4speech.text.tokenizer import EOS, SOS
from tests.oracles.ctc import RecurrentScorer, Transcript, transcripts_by_enumeration

Decoder = Callable[[Ask], Answer]


class ToyState(NamedTuple):
    history: Tensor  # (N, D)
    cache: Tensor  # (N, time, D), right-aligned: the kind that grows
    age: Tensor  # (N,)


class ToyDecoder:
    """Every score depends on all tokens read, in order, and on the frame at which each of them was read."""

    def __init__(self, vocabulary: int, frames: int, seed: int) -> None:
        make = torch.Generator().manual_seed(seed)
        self.embedding, self.output, self.memory = (
            torch.randn(rows, 5, generator=make, dtype=torch.float64)
            for rows in (vocabulary, vocabulary, frames)
        )

    def start(self) -> Start:
        zeros = torch.zeros(1, 5, dtype=torch.float64)
        state = ToyState(zeros, zeros[:, None, :][:, :0], torch.zeros(1, dtype=torch.long))
        return self(Ask(0, torch.tensor([3]), state))[1], SOS  # the state of an earlier segment

    def __call__(self, ask: Ask) -> Answer:
        state = ask.state
        read = self.embedding[ask.tokens] + self.memory[ask.frame]
        cache = torch.cat([state.cache, read[:, None]], dim=1)
        seen = torch.arange(cache.shape[1]).flip(0) <= state.age[:, None]
        past = (cache * seen[:, :, None]).sum(dim=1) / (state.age + 1)[:, None]
        history = (0.7 * state.history + read + past).tanh()
        return (history @ self.output.T).log_softmax(-1), ToyState(history, cache, state.age + 1)


class WindowDecoder:
    """A real decoder that sees the memory from 3 frames before to 1 frame after a trigger."""

    def __init__(self, decoder: S4Decoder | TransformerDecoder, frames: int) -> None:
        self.frozen = FrozenDecoder(decoder.eval())
        self.memory = torch.randn(1, frames, decoder.d_model, generator=torch.Generator().manual_seed(3))

    def start(self) -> Start:
        return self.frozen.bind(self.memory, torch.tensor([1])).init_state(1), SOS

    def __call__(self, ask: Ask) -> Answer:
        window = self.memory[:, max(ask.frame - 3, 0) : ask.frame + 2]
        return self.frozen.bind(window, torch.tensor([window.shape[1]])).score(ask.tokens, ask.state)


class PairHotword:
    """3 4 is a hotword. Node: how much of it was read."""

    def step(self, node: int, token: int) -> tuple[int, float]:
        if node == 1 and token == 4:
            return 0, 0.7
        return (1, 0.7 * (1 - node)) if token == 3 else (0, -0.7 * node)

    def pending(self, node: int) -> float:
        return 0.7 * node


def random_frames(frames: int, vocabulary: int, seed: int, scale: float = 2.5) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(frames, vocabulary, generator=make, dtype=torch.float64)
    logits[:, EOS] = -math.inf
    return logits.log_softmax(-1)


def search_all(
    search: FrameSyncSearch, log_probs: Tensor, decoder: Decoder | None = None
) -> list[Hypothesis]:
    for frame in log_probs.numpy():
        run(search.advance(frame), decoder or refuse)
    return search.hypotheses()


def refuse(ask: Ask) -> Answer:
    raise AssertionError(f"asked {ask}")


def as_values(hypotheses: Sequence[Hypothesis]) -> list[Any]:
    return [(h.tokens, h.frames, pytest.approx((h.score, *h.scores.values()), abs=1e-5)) for h in hypotheses]


def raw(hypotheses: Sequence[Hypothesis]) -> list[Any]:
    return [(h.tokens, h.frames, (h.score, *h.scores.values())) for h in hypotheses]


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_ctc_is_exact_with_a_beam_for_every_prefix(frames: int) -> None:
    log_probs = random_frames(frames, 5, seed=frames)
    options = SearchOptions(beam=1000, min_probability=0, decoder_weight=0)
    found = search_all(FrameSyncSearch(options), log_probs)
    truth = transcripts_by_enumeration(log_probs)
    possible = {h: score for h, score in truth.items() if score > -math.inf}
    assert {tuple(h.tokens): h.score for h in found} == pytest.approx(possible, abs=1e-9)
    assert all(h.scores == {"ctc": h.score, "attention": 0, "lm": 0, "hotwords": 0} for h in found)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beam", [1, 3, 10])
def test_a_narrow_beam_is_the_offline_prefix_beam(beam: int, seed: int) -> None:
    log_probs, least = random_frames(40, 9, seed), 0.01
    # There the most probable token is always proposed, here only where it is probable enough.
    assert log_probs[:, 1:].amax(dim=1).exp().min() > least
    lengths = torch.tensor([40])
    [offline] = ctc_prefix_beam(log_probs[None], lengths, beam=beam, nbest=beam, min_probability=least)
    options = SearchOptions(beam=beam, min_probability=least, decoder_weight=0)
    found = search_all(FrameSyncSearch(options), log_probs)
    assert [h.tokens for h in found] == [h.tokens for h in offline]
    assert [h.score for h in found] == pytest.approx([h.score for h in offline], abs=1e-9)


def replay(decoder: Decoder, start: Start, tokens: Sequence[int], frames: Sequence[int]) -> float:
    """log p of tokens, one after another, from scratch and alone."""
    (state, last), total = start, 0.0
    for token, frame in zip(tokens, frames, strict=True):
        log_probs, state = decoder(Ask(frame, torch.tensor([last]), state))
        total, last = total + float(log_probs[0, token]), token
    return total


class Path(NamedTuple):
    """A prefix of the naive search: probabilities, not logs."""

    in_blank: float
    in_token: float
    frames: tuple[int, ...]
    peak: float


class NaiveSearch:
    """The definition: a dictionary of prefixes, every extension in full, every score from scratch."""

    def __init__(self, options: SearchOptions, decoder: ToyDecoder, lm: RecurrentScorer) -> None:
        self.options, self.decoder, self.lm = options, decoder, lm
        self.live: dict[Transcript, Path] = {(): Path(1.0, 0.0, (), 0.0)}
        self.known: dict[tuple[Transcript, tuple[int, ...]], dict[str, float]] = {}

    def parts(self, tokens: Transcript, frames: tuple[int, ...]) -> dict[str, float]:
        if (tokens, frames) not in self.known:
            node, bonus = 0, 0.0
            for token in tokens:
                node, gain = PairHotword().step(node, token)
                bonus += gain
            self.known[tokens, frames] = {
                "attention": replay(self.decoder, self.decoder.start(), tokens, frames),
                "lm": replay(
                    lambda ask: self.lm.score(ask.tokens, ask.state),
                    (self.lm.init_state(1), SOS),
                    tokens,
                    frames,
                ),
                "hotwords": bonus - PairHotword().pending(node),
                "pending": PairHotword().pending(node),
            }
        return self.known[tokens, frames]

    def score(self, tokens: Transcript) -> float:
        path, o = self.live[tokens], self.options
        parts = self.parts(tokens, path.frames)
        score = o.decoder_weight * parts["attention"] + o.lm_weight * parts["lm"] + parts["hotwords"]
        return math.log(path.in_blank + path.in_token) + score + o.length_bonus * len(tokens)

    def advance(self, frame: int, probs: list[float]) -> None:
        before, after = self.live, {}
        for h, path in before.items():
            held = path.in_token * probs[h[-1]] if h else 0.0
            after[h] = path._replace(in_blank=(path.in_blank + path.in_token) * probs[0], in_token=held)
        tokens = [c for c, p in enumerate(probs) if p >= self.options.min_probability and c not in (0, EOS)]
        for h, path in before.items():
            for c in tokens:
                inflow = path.in_blank + (path.in_token if h[-1:] != (c,) else 0.0)
                if inflow == 0.0:
                    continue
                child, mass = (*h, c), inflow * probs[c]
                fresh = Path(0.0, mass, (*path.frames, frame), probs[c])
                if child not in before:
                    after[child] = fresh
                    continue
                old, new = before[child], after[child]
                new = new._replace(in_token=new.in_token + mass)
                leaf = not any(len(g) == len(child) + 1 and g[: len(child)] == child for g in before)
                going_on = old.in_token >= old.in_blank or mass > old.in_blank + old.in_token
                if leaf and going_on and probs[c] > old.peak:
                    new = new._replace(frames=fresh.frames, peak=fresh.peak)
                after[child] = new
        self.live = after
        ranked = sorted(after, key=lambda h: -self.score(h) - self.parts(h, after[h].frames)["pending"])
        ranks = {h: self.score(h) + self.parts(h, after[h].frames)["pending"] for h in ranked}
        least = ranks[ranked[0]] - (self.options.margin or math.inf)
        self.live = {h: after[h] for h in ranked[: self.options.beam] if ranks[h] >= least}

    def hypotheses(self) -> list[Hypothesis]:
        found = []
        for h, path in self.live.items():
            parts = self.parts(h, path.frames)
            scores = {"ctc": math.log(path.in_blank + path.in_token)}
            scores |= {name: parts[name] for name in ("attention", "lm", "hotwords")}
            found.append(Hypothesis(list(h), self.score(h), scores, "frames", list(path.frames)))
        return sorted(found, key=lambda h: -h.score)


# The third has room for everything, so nothing that is not worth a question may be left out either.
@pytest.mark.parametrize(
    "beam, least, frames, margin",
    [(1, 0.02, 25, None), (6, 0.02, 25, None), (5000, 0.1, 7, None), (6, 0.15, 25, 1.0), (50, 0.15, 16, 2.0)],
)
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_naive_search(
    beam: int, least: float, frames: int, margin: float | None, seed: int
) -> None:
    log_probs = random_frames(frames, 7, seed)
    decoder, lm = ToyDecoder(7, frames, seed), RecurrentScorer(torch.zeros(1, 7, dtype=torch.float64), seed)
    options = SearchOptions(
        beam=beam,
        margin=margin,
        min_probability=least,
        decoder_weight=0.6,
        lm_weight=0.3,
        length_bonus=0.9,
    )
    search = FrameSyncSearch(options, start=decoder.start(), lm=lm, hotwords=PairHotword())  # type: ignore[arg-type]
    naive = NaiveSearch(options, decoder, lm)
    for frame in range(frames):
        run(search.advance(log_probs[frame].numpy()), decoder)
        naive.advance(frame, log_probs[frame].exp().tolist())
        assert as_values(naive.hypotheses()) == raw(search.hypotheses())
    assert max(len(h.tokens) for h in search.hypotheses()) > 4


def check_states(decoder: ToyDecoder | WindowDecoder, log_probs: Tensor) -> None:
    options = SearchOptions(beam=6, min_probability=0.02, decoder_weight=0.5)
    search = FrameSyncSearch(options, start=decoder.start())
    found = search_all(search, log_probs, decoder)
    assert len(found) == 6
    for h in found:
        assert h.frames is not None and len(h.tokens) > 5
        assert h.scores["attention"] == pytest.approx(
            replay(decoder, decoder.start(), h.tokens, h.frames), abs=1e-5
        )
        assert h.score == pytest.approx(h.scores["ctc"] + 0.5 * h.scores["attention"], abs=1e-9)


@pytest.mark.parametrize("kind", ["toy", "s4", "transformer"])
@pytest.mark.parametrize("seed", range(3))
def test_every_prefix_carries_its_own_state(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    log_probs = random_frames(30, 12, seed)
    if kind == "toy":
        check_states(ToyDecoder(12, 30, seed), log_probs)
    elif kind == "s4":
        check_states(WindowDecoder(S4Decoder(12, 16, 2, 2, 32, d_state=8), 30), log_probs)
    else:
        check_states(WindowDecoder(TransformerDecoder(12, 16, 2, 2, 32), 30), log_probs)


def test_the_state_law_has_teeth(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = prefixes.StackedStates.keep

    def shift(self: prefixes.StackedStates, rows: Any) -> dict[int, int]:
        moved = keep(self, rows)
        return {row: (new + 1) % len(moved) for row, new in moved.items()}

    monkeypatch.setattr(prefixes.StackedStates, "keep", shift)
    with pytest.raises(AssertionError):
        check_states(ToyDecoder(12, 30, 0), random_frames(30, 12, 0))


def test_searches_that_take_turns_are_each_as_alone() -> None:
    decoder, options = ToyDecoder(9, 30, 1), SearchOptions(beam=5, min_probability=0.02)
    inputs = [random_frames(30, 9, seed) for seed in range(2)]
    alone = [raw(search_all(FrameSyncSearch(options, start=decoder.start()), x, decoder)) for x in inputs]
    searches = [FrameSyncSearch(options, start=decoder.start()) for _ in inputs]
    for frames in zip(*(x.numpy() for x in inputs), strict=True):
        steps = [search.advance(frame) for search, frame in zip(searches, frames, strict=True)]
        asks = [next(step, None) for step in steps]  # both wait at the same time
        for step, ask in zip(steps, asks, strict=True):
            if ask is not None:
                with pytest.raises(StopIteration):
                    step.send(decoder(ask))
    assert [raw(search.hypotheses()) for search in searches] == alone


@pytest.mark.parametrize("seed", range(3))
def test_the_common_prefix_stays(seed: int) -> None:
    log_probs, decoder = random_frames(40, 9, seed, scale=4.0), ToyDecoder(9, 40, seed)
    search = FrameSyncSearch(SearchOptions(beam=4), start=decoder.start())
    before: list[int] = []
    for frame in log_probs.numpy():
        run(search.advance(frame), decoder)
        common, found = search.common_prefix(), [h.tokens for h in search.hypotheses()]
        assert common[: len(before)] == before
        assert all(tokens[: len(common)] == common for tokens in found)
        assert len({tuple(tokens[: len(common) + 1]) for tokens in found}) > 1 or found == [common]
        before = common
    assert len(before) > 5


def test_what_cannot_win_is_not_asked_about() -> None:
    # A full beam; then a frame whose only token is improbable after everything.
    decoder, options = ToyDecoder(9, 21, 0), SearchOptions(beam=2, min_probability=0.02)
    search = FrameSyncSearch(options, start=decoder.start())
    search_all(search, random_frames(20, 9, 0), decoder)
    probs = np.full(9, 1e-4)
    probs[[0, 5]] = 0.97, 0.0293
    ranks = [h.score for h in search.hypotheses()]
    assert ranks[0] + math.log(0.0293) < ranks[-1] + math.log(0.97)
    asked = list(search.advance(np.log(probs)))
    assert asked == []
