"""CTC greedy, prefix beam and prefix scores against the enumeration of every path."""

import itertools
import math
import time

import pytest
import torch
from torch import Tensor

from s4speech.layers import select_rows
from s4speech.search import CTCPrefixScorer, ctc_greedy, ctc_prefix_beam
from tests.oracles.ctc import prefix_score, transcripts_by_enumeration


def random_log_probs(batch: int, frames: int, vocabulary: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, frames, vocabulary, generator=make, dtype=torch.float64)
    return (scale * logits).log_softmax(-1)


def one_hot_log_probs(labels: list[int], vocabulary: int, confidence: list[float] | None = None) -> Tensor:
    p = torch.tensor(confidence or [0.9] * len(labels), dtype=torch.float64)
    probs = ((1 - p) / (vocabulary - 1))[:, None].repeat(1, vocabulary)
    probs[torch.arange(len(labels)), torch.tensor(labels)] = p
    return probs.log()[None]


def test_greedy_collapses_and_times_tokens_at_their_peak() -> None:
    confidence = [0.9, 0.6, 0.8, 0.7, 0.9, 0.5, 0.6, 0.9]
    log_probs = one_hot_log_probs([0, 2, 2, 2, 0, 2, 3, 0], 4, confidence)
    [best] = ctc_greedy(log_probs, torch.tensor([8]))
    assert best.tokens == [2, 2, 3]
    assert best.frames == [2, 5, 6]
    assert best.score == pytest.approx(sum(math.log(p) for p in confidence), abs=1e-12)


def test_greedy_ignores_padding_and_takes_empty_utterances() -> None:
    log_probs = one_hot_log_probs([1, 0, 2, 2, 2], 4).repeat(3, 1, 1)
    log_probs[1, 2:] = math.nan
    log_probs[2] = math.nan
    hypotheses = ctc_greedy(log_probs, torch.tensor([5, 2, 0]))
    assert [h.tokens for h in hypotheses] == [[1, 2], [1], []]
    assert hypotheses[2].score == 0.0


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_prefix_beam_holding_every_prefix_is_exact(frames: int) -> None:
    log_probs = random_log_probs(3, frames, 4)
    lengths = torch.tensor([frames, max(frames - 1, 0), 0])
    batch = ctc_prefix_beam(log_probs, lengths, beam=2000, nbest=2000, min_probability=0.0)
    for row, (found, length) in enumerate(zip(batch, lengths.tolist(), strict=True)):
        truth = transcripts_by_enumeration(log_probs[row, :length])
        scores = {tuple(h.tokens): h.score for h in found if h.score > -math.inf}
        assert scores == pytest.approx({h: s for h, s in truth.items() if s > -math.inf}, abs=1e-9)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_prefix_beam_beats_greedy_and_pruning_loses_little() -> None:
    # Blank wins both frames, yet token 1 is the likelier transcript: 0.36 against 0.64.
    log_probs = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]], dtype=torch.float64).log()
    lengths = torch.tensor([2])
    assert ctc_greedy(log_probs, lengths)[0].tokens == []
    [[best]] = ctc_prefix_beam(log_probs, lengths, beam=4)
    assert best.tokens == [1]
    assert best.score == pytest.approx(math.log(0.64), abs=1e-12)
    log_probs = random_log_probs(1, 30, 12, scale=4.0)
    [[exact]] = ctc_prefix_beam(log_probs, torch.tensor([30]), beam=50, min_probability=0.0)
    [[pruned]] = ctc_prefix_beam(log_probs, torch.tensor([30]), beam=50)
    assert pruned.tokens == exact.tokens
    assert exact.score - 0.01 < pruned.score <= exact.score


def test_prefix_beam_has_a_result_where_every_token_is_below_the_threshold() -> None:
    log_probs = torch.full((1, 3, 5), 0.2, dtype=torch.float64).log()
    [[best]] = ctc_prefix_beam(log_probs, torch.tensor([3]), beam=10, min_probability=0.9)
    assert best.score > -math.inf


@pytest.mark.parametrize("option, value", [("beam", 0), ("nbest", 5), ("min_probability", 1.0)])
def test_prefix_beam_names_a_bad_option(option: str, value: float) -> None:
    options = {"beam": 4, "nbest": 1, "min_probability": 0.0, option: value}
    with pytest.raises(ValueError, match=f"^{option}: got {value}"):
        ctc_prefix_beam(random_log_probs(1, 2, 3), torch.tensor([2]), **options)  # type: ignore[arg-type]


def follow(scorer: CTCPrefixScorer, prefix: tuple[int, ...], rows: int = 1) -> tuple[Tensor, Tensor]:
    """Prefix scores (N, V) and end scores (N,) after the same prefix in every row."""
    state = scorer.init_state(rows)
    for token in prefix:
        state = scorer.extend(state, torch.full((rows,), token))
    return scorer.scores(state), scorer.end_scores(state)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_prefix_scores_are_exact_for_every_prefix(frames: int) -> None:
    log_probs = random_log_probs(1, frames, 4)
    truth = transcripts_by_enumeration(log_probs[0])
    scorer = CTCPrefixScorer(log_probs, torch.tensor([frames]))
    for prefix in itertools.chain.from_iterable(itertools.product((1, 2, 3), repeat=n) for n in range(4)):
        scores, end = follow(scorer, prefix)
        for token in (1, 2, 3):
            expected = prefix_score(truth, (*prefix, token))
            assert float(scores[0, token]) == pytest.approx(expected, abs=1e-9) or expected == -math.inf
            if expected == -math.inf:
                assert scores[0, token] == -math.inf
        assert float(end[0]) == pytest.approx(truth.get(prefix, -math.inf), abs=1e-9)


def test_end_scores_are_the_ctc_loss_of_long_transcripts() -> None:
    log_probs = random_log_probs(3, 120, 30)
    lengths = torch.tensor([120, 77, 90])
    make = torch.Generator().manual_seed(1)
    targets = torch.randint(1, 4, (3, 25), generator=make)  # few kinds, so many repeats
    loss = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, lengths, torch.full((3,), 25), reduction="none"
    )
    log_probs[1, 77:] = math.nan
    scorer = CTCPrefixScorer(log_probs, lengths)
    state = scorer.init_state(3)
    for token in targets.T:
        state = scorer.extend(state, token)
    torch.testing.assert_close(scorer.end_scores(state), -loss, rtol=1e-10, atol=1e-9)


def test_rows_are_independent_and_can_be_reordered_and_dropped() -> None:
    log_probs, lengths = random_log_probs(3, 9, 5), torch.tensor([9, 4, 6])
    scorer = CTCPrefixScorer(log_probs, lengths)
    state = scorer.extend(scorer.init_state(6), torch.tensor([1, 2, 3, 4, 1, 2]))
    state = select_rows(state, torch.tensor([1, 0, 3, 3, 5, 4]))
    state = scorer.extend(state, torch.tensor([2, 2, 3, 4, 1, 2]))
    prefixes = [(2, 2), (1, 2), (4, 3), (4, 4), (2, 1), (1, 2)]
    kept = scorer.keep(torch.tensor([0, 2]))
    kept_state = select_rows(state, torch.tensor([0, 1, 4, 5]))
    scores, kept_scores = scorer.scores(state), kept.scores(kept_state)
    torch.testing.assert_close(kept_scores, scores[[0, 1, 4, 5]], rtol=0, atol=1e-12)
    torch.testing.assert_close(kept.end_scores(kept_state), scorer.end_scores(state)[[0, 1, 4, 5]])
    for row, prefix in enumerate(prefixes):
        b = row // 2
        alone = CTCPrefixScorer(log_probs[b : b + 1, : int(lengths[b])], lengths[b : b + 1])
        expected, end = follow(alone, prefix)
        torch.testing.assert_close(scores[row, 1:], expected[0, 1:], rtol=0, atol=1e-9)
        torch.testing.assert_close(scorer.end_scores(state)[row], end[0], rtol=0, atol=1e-9)


def test_the_input_is_left_alone_and_zero_probabilities_make_no_nan() -> None:
    log_probs = random_log_probs(1, 6, 4)
    log_probs[0, 2, 1:] = -math.inf
    log_probs[0, 3, 0] = -math.inf
    before = log_probs.clone()
    truth = transcripts_by_enumeration(log_probs[0])
    scores, end = follow(CTCPrefixScorer(log_probs, torch.tensor([6])), (1, 2))
    assert torch.equal(log_probs, before)
    assert float(scores[0, 3]) == pytest.approx(prefix_score(truth, (1, 2, 3)), abs=1e-9)
    assert float(end[0]) == pytest.approx(truth[(1, 2)], abs=1e-9)


@pytest.mark.parametrize(
    "shape, lengths, name",
    [((2, 3), [3, 3], "log_probs"), ((2, 3, 4), [3], "lengths"), ((2, 3, 4), [3, 4], "lengths")],
)
def test_bad_shapes_are_named(shape: tuple[int, ...], lengths: list[int], name: str) -> None:
    for search in (ctc_greedy, CTCPrefixScorer):
        with pytest.raises(ValueError, match=f"^{name}: got"):
            search(torch.zeros(shape), torch.tensor(lengths))


def test_no_loop_over_time_or_vocabulary() -> None:
    # A step took 3 ms when written; a loop over 250 frames or 5000 tokens would take far more than the bound.
    scorer = CTCPrefixScorer(random_log_probs(1, 250, 5000).float(), torch.tensor([250]))
    state = scorer.init_state(10)
    took = []
    for token in range(1, 6):
        start = time.perf_counter()
        scorer.scores(state)
        state = scorer.extend(state, torch.full((10,), token))
        took.append(time.perf_counter() - start)
    assert min(took) < 0.1
