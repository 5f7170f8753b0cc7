"""Every hypothesis was continued from hypothesis 0's recurrent state (FACTS.md section 1, defect 1).

The published S4 decoder's batched beam search reordered the tokens of the beam and not its states: beam-20
error 40.2 % on a toy task, 33.2 % with each hypothesis its own state. Nothing crashed; only the scores were
wrong.
"""

import pytest
import torch

from s4speech.models.asr.decoder import S4Decoder
from s4speech.search import Hypothesis, beam, joint_beam_search
from tests.oracles.ctc import RecurrentScorer, rescore

EOS = 9


def search(decoder: RecurrentScorer) -> list[Hypothesis]:
    [found] = joint_beam_search(
        decoder, None, torch.tensor([8]), sos=EOS, eos=EOS, beam=6, ctc_weight=0.0, nbest=6
    )
    return found


def wrong_by(decoder: RecurrentScorer, found: list[Hypothesis]) -> float:
    """Largest difference, in nats, between a score and that of the same transcript from scratch."""
    return max(abs(h.score - rescore(decoder, 0, (*h.tokens,), EOS, EOS)) for h in found)


def test_the_defect_changes_the_answer_and_ours_is_free_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = torch.full((1, 10), -1.0, dtype=torch.float64)
    memory[0, EOS] = -3.0  # so that transcripts are a few tokens long
    decoder = RecurrentScorer(memory, seed=4)
    ours = search(decoder)
    assert max(len(h.tokens) for h in ours) >= 3
    assert wrong_by(decoder, ours) < 1e-9

    honest = beam.select_rows
    monkeypatch.setattr(beam, "select_rows", lambda state, index: honest(state, torch.zeros_like(index)))
    defective = search(decoder)
    assert wrong_by(decoder, defective) > 0.1
    assert [h.tokens for h in defective] != [h.tokens for h in ours]


def test_the_s4_decoder_scores_in_the_beam_as_in_training() -> None:
    torch.manual_seed(0)
    decoder = S4Decoder(10, d_model=16, n_layers=2, n_heads=2, d_ff=32, d_state=8).eval()
    memory, lengths = torch.randn(3, 7, 16), torch.tensor([7, 4, 6])
    scorer = decoder.freeze().bind(memory, lengths)
    batch = joint_beam_search(scorer, None, lengths, sos=EOS, eos=EOS, beam=4, ctc_weight=0.0, nbest=4)
    for row, found in enumerate(batch):
        for h in found:
            read, write = torch.tensor([[EOS, *h.tokens]]), torch.tensor([*h.tokens, EOS])
            with torch.no_grad():
                logits = decoder(read, memory[row : row + 1], lengths[row : row + 1])[0]
            forced = logits.log_softmax(-1).gather(1, write[:, None]).sum()
            assert h.score == pytest.approx(float(forced), rel=1e-4)
