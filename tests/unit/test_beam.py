"""Options, ends and degenerate inputs of the joint beam search; its laws are in tests/laws."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from s4speech.search import Hypothesis, joint_beam_search
from tests.oracles.ctc import RecurrentScorer

EOS = 3


class TableScorer:
    """The same log-probabilities at every step; its state is only a count."""

    def __init__(self, probabilities: list[float]) -> None:
        self.log_probs = torch.tensor(probabilities, dtype=torch.float64).log()

    def init_state(self, batch: int) -> tuple[Tensor]:
        return (torch.zeros(batch),)

    def score(self, tokens: Tensor, state: tuple[Tensor]) -> tuple[Tensor, tuple[Tensor]]:
        return self.log_probs.expand(len(tokens), -1), (state[0] + 1,)


def search(
    decoder: Any, lengths: list[int], ctc: Tensor | None = None, **options: Any
) -> list[list[Hypothesis]]:
    options = {"sos": EOS, "eos": EOS, "beam": 3, "ctc_weight": 0.0, **options}
    return joint_beam_search(decoder, ctc, torch.tensor(lengths), **options)


def test_the_empty_transcript_can_win() -> None:
    [[best]] = search(TableScorer([0.1, 0.1, 0.2, 0.6]), [10])
    assert (best.tokens, best.ended_by) == ([], "eos")
    assert best.score == pytest.approx(math.log(0.6))
    assert best.scores == {"attention": best.score}


def test_one_frame_allows_one_token() -> None:
    [[best]] = search(TableScorer([0.7, 0.1, 0.15, 0.05]), [1], length_bonus=5.0)
    assert (best.tokens, best.ended_by) == ([2], "limit")
    assert best.score == pytest.approx(math.log(0.15) + math.log(0.05) + 5.0)


def test_blank_and_sos_are_never_proposed_and_unk_is() -> None:
    for h in search(TableScorer([0.6, 0.1, 0.3, 1e-9]), [4], sos=2, nbest=3)[0]:
        assert set(h.tokens) <= {1}


def test_a_bonus_makes_it_go_on_as_long_as_it_can_win() -> None:
    # A token costs log 0.5 and earns 0.7: longer is better by 0.007 a token, up to the last frame.
    [[best]] = search(TableScorer([0.0, 0.1, 0.5, 0.4]), [9], length_bonus=0.7)
    assert best.tokens == [2] * 9
    [[best]] = search(TableScorer([0.0, 0.1, 0.5, 0.4]), [9], length_bonus=0.69)
    assert best.tokens == []


def test_a_decoder_that_never_ends_gives_its_best_transcript() -> None:
    [[best]] = search(TableScorer([0.0, 0.4, 0.6, 0.0]), [5])
    assert (best.tokens, best.ended_by) == ([2] * 5, "limit")
    assert best.score == best.scores["attention"] == pytest.approx(5 * math.log(0.6))


def test_finished_utterances_leave_the_batch() -> None:
    make = torch.Generator().manual_seed(0)
    decoder = RecurrentScorer(torch.randn(3, 6, generator=make, dtype=torch.float64), seed=1)
    decoder.memory[:, 5] = torch.tensor([-20.0, 20.0, -20.0])  # only utterance 1 ends at once
    search(decoder, [6, 6, 4], sos=5, eos=5, beam=2)
    assert decoder.calls[0] == 6 and decoder.calls[1] == 4 and decoder.calls[-1] == 2
    assert decoder.calls == sorted(decoder.calls, reverse=True)


def test_it_stops_when_nothing_can_improve() -> None:
    decoder = RecurrentScorer(torch.zeros(1, 6, dtype=torch.float64), seed=1)
    decoder.memory[:, 5] = 20.0
    search(decoder, [500], sos=5, eos=5)
    assert len(decoder.calls) == 1


def test_no_utterances_and_no_decoder() -> None:
    assert search(None, [], torch.zeros(0, 4, 4), ctc_weight=1.0) == []
    log_probs = torch.randn(1, 6, 4).log_softmax(-1)
    [[best]] = search(None, [6], log_probs, ctc_weight=1.0)
    assert best.scores == {"ctc": best.score}


@pytest.mark.parametrize(
    "name, value",
    [("beam", 0), ("nbest", 4), ("nbest", 0), ("ctc_weight", 1.5), ("eos", 4), ("eos", 0)],
)
def test_a_bad_option_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: got {value}"):
        search(TableScorer([0.25] * 4), [3], **{name: value})


def test_missing_and_unfitting_parts_are_named() -> None:
    decoder = TableScorer([0.25] * 4)
    with pytest.raises(ValueError, match=r"^decoder: got None"):
        search(None, [3], torch.zeros(1, 3, 4), ctc_weight=0.5)
    with pytest.raises(ValueError, match=r"^ctc_log_probs: got None"):
        search(decoder, [3], ctc_weight=0.5)
    with pytest.raises(ValueError, match=r"^ctc: got scores"):
        search(decoder, [3], torch.zeros(1, 3, 5), ctc_weight=0.5)
    with pytest.raises(ValueError, match=r"^lm: got weight -1"):
        search(decoder, [3], lm=(decoder, -1.0))


def test_a_score_that_is_not_a_number_names_the_utterance() -> None:
    decoder = RecurrentScorer(torch.zeros(2, 6, dtype=torch.float64), seed=1)
    decoder.memory[1] = math.nan
    with pytest.raises(ValueError, match="utterance 1: a score of attention is not a number"):
        search(decoder, [4, 4], sos=5, eos=5)
