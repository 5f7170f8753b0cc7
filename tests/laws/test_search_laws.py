"""Laws of the joint beam search: batch == alone, each hypothesis its state, full width == exhaustive."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from s4speech.search import Hypothesis, joint_beam_search
from tests.oracles.ctc import RecurrentScorer, Transcript, rescore, transcripts_by_enumeration

SOS_EOS = 4  # blank 0, unk 1, two more tokens, sos = eos


def make_problem(batch: int, frames: int, vocabulary: int, seed: int = 0) -> tuple[RecurrentScorer, Tensor]:
    make = torch.Generator().manual_seed(seed)
    memory = torch.randn(batch, vocabulary, generator=make, dtype=torch.float64)
    logits = 2 * torch.randn(batch, frames, vocabulary, generator=make, dtype=torch.float64)
    return RecurrentScorer(memory, seed + 1), logits.log_softmax(-1)


def all_transcripts(tokens: list[int], longest: int) -> list[Transcript]:
    return [h for n in range(longest + 1) for h in itertools.product(tokens, repeat=n)]


def as_pairs(hypotheses: list[Hypothesis]) -> list[tuple[list[int], float]]:
    return [(h.tokens, pytest.approx(h.score, abs=1e-9)) for h in hypotheses]


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("lm_weight, bonus", [(0.0, 0.0), (0.5, 0.0), (0.4, 1.5), (0.0, -0.5)])
@pytest.mark.parametrize("eos", [SOS_EOS, 5])  # the same as sos, and another token
def test_full_width_is_exhaustive_search(ctc_weight: float, lm_weight: float, bonus: float, eos: int) -> None:
    frames, beam = 4, 400  # 341 transcripts of 4 tokens
    decoder, log_probs = make_problem(1, frames, 6)
    lm = RecurrentScorer(torch.zeros(1, 6, dtype=torch.float64), seed=9)
    tokens = [t for t in range(1, 6) if t not in (SOS_EOS, eos)]
    ctc = transcripts_by_enumeration(log_probs[0])
    parts: dict[Transcript, dict[str, float]] = {}
    truth: dict[Transcript, float] = {}
    for h in all_transcripts(tokens, frames):
        attention, lm_score = (rescore(scorer, 0, h, SOS_EOS, eos) for scorer in (decoder, lm))
        parts[h] = {"attention": attention, "ctc": ctc.get(h, -math.inf), "lm": lm_score}
        truth[h] = (1 - ctc_weight) * attention + lm_weight * lm_score + bonus * len(h)
        truth[h] += ctc_weight * parts[h]["ctc"] if ctc_weight else 0.0
    expected = sorted(((s, h) for h, s in truth.items() if s > -math.inf), reverse=True)

    options = {"sos": SOS_EOS, "eos": eos, "beam": beam, "ctc_weight": ctc_weight, "length_bonus": bonus}
    for nbest in (1, 5, beam):
        [found] = joint_beam_search(
            decoder, log_probs, torch.tensor([frames]), nbest=nbest, lm=(lm, lm_weight), **options
        )
        assert [(h.score, tuple(h.tokens)) for h in found] == [
            (pytest.approx(score, abs=1e-9), h) for score, h in expected[:nbest]
        ]
        for h in found:
            assert h.scores == pytest.approx({k: parts[tuple(h.tokens)][k] for k in h.scores}, abs=1e-9)
            assert h.ended_by == ("limit" if len(h.tokens) == frames else "eos")


@pytest.mark.parametrize("droppable", [True, False])
@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("bonus", [0.0, 1.0])
def test_a_batch_is_each_utterance_alone(droppable: bool, ctc_weight: float, bonus: float) -> None:
    lengths = torch.tensor([12, 5, 1, 0, 9, 12])
    decoder, log_probs = make_problem(6, 12, 8, seed=3)
    decoder = RecurrentScorer(decoder.memory, decoder.seed, droppable)
    lm = RecurrentScorer(torch.zeros(1, 8, dtype=torch.float64), seed=5, droppable=False)
    padded = log_probs.clone()
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = math.nan
    decoder.memory[3] = math.nan  # what a decoder makes of an utterance without frames

    def search(rows: slice, scorer: RecurrentScorer, ctc: Tensor) -> list[list[Hypothesis]]:
        return joint_beam_search(
            scorer, ctc, lengths[rows], sos=7, eos=7, beam=4, ctc_weight=ctc_weight, nbest=3, lm=(lm, 0.3),
            length_bonus=bonus,
        )  # fmt: skip

    batch = search(slice(None), decoder, padded)
    assert len(batch) == 6
    for row, length in enumerate(lengths.tolist()):
        one = RecurrentScorer(decoder.memory[row : row + 1], decoder.seed)
        [alone] = search(slice(row, row + 1), one, log_probs[row : row + 1, :length])
        assert as_pairs(alone) == [(h.tokens, h.score) for h in batch[row]]
        assert [h.ended_by for h in alone] == [h.ended_by for h in batch[row]]
    assert [(h.tokens, h.score, h.ended_by) for h in batch[3]] == [([], 0.0, "limit")]


def check_rescoring(select: Callable[[Tensor], Tensor] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every score of a narrow beam equals the transcript's score alone and from scratch."""
    if select is not None:
        from s4speech.search import beam

        honest = beam.select_rows
        monkeypatch.setattr(beam, "select_rows", lambda state, index: honest(state, select(index)))
    decoder, log_probs = make_problem(3, 15, 9, seed=2)
    lengths = torch.tensor([15, 8, 11])
    batch = joint_beam_search(decoder, log_probs, lengths, sos=8, eos=8, beam=5, ctc_weight=0.3, nbest=5)
    for row, length in enumerate(lengths.tolist()):
        assert len(batch[row]) == 5
        assert len({tuple(h.tokens) for h in batch[row]}) == 5
        for h in batch[row]:
            assert h.scores["attention"] == pytest.approx(rescore(decoder, row, (*h.tokens,), 8, 8), abs=1e-9)
            loss = torch.nn.functional.ctc_loss(
                log_probs[row, :length], torch.tensor(h.tokens), torch.tensor(length),
                torch.tensor(len(h.tokens)), reduction="sum",
            )  # fmt: skip
            assert h.scores["ctc"] == pytest.approx(-float(loss), abs=1e-9)
            assert h.score == pytest.approx(0.7 * h.scores["attention"] + 0.3 * h.scores["ctc"], abs=1e-9)


def test_every_hypothesis_carries_its_own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    check_rescoring(None, monkeypatch)


def test_the_state_law_has_teeth(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        check_rescoring(lambda index: index // 5 * 5, monkeypatch)
