"""Laws of shallow fusion, in both searches, with every kind of language model.

What a search says a hypothesis has from the language model is what the model gives that text from scratch;
with room for everything the search is the exhaustive one; a batch is each utterance alone.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s4speech.config.lm import LMConfig, S4LMConfig, TransformerLMConfig
from s4speech.config.streaming import SearchOptions
from s4speech.models.lm import LanguageModel
from s4speech.search import FrameSyncSearch, NgramLM, Scorer, beam, joint_beam_search, prefixes, run
from s4speech.text.tokenizer import EOS, SOS, Tokenizer
from tests.oracles.ctc import RecurrentScorer, Transcript, rescore, transcripts_by_enumeration

VOCABULARY = 7  # blank, unknown, sos = eos, the mark of a word, a, b, c
SIZE = {"d_model": 16, "n_layers": 2, "d_ff": 24, "vocab_size": VOCABULARY}
CONFIGS: dict[str, LMConfig] = {
    "s4": S4LMConfig(d_state=8, **SIZE),
    "transformer": TransformerLMConfig(type="transformer", n_heads=2, window=None, **SIZE),
    "window": TransformerLMConfig(type="transformer", n_heads=2, window=3, **SIZE),
}
ARPA = """\\data\\
ngram 1=6
ngram 2=4
ngram 3=3

\\1-grams:
-0.7\t</s>
-99\t<s>\t-0.5
-2.0\t<unk>
-0.4\ta\t-0.3
-0.6\tb\t-0.2
-1.0\t\u2581\t-0.1

\\2-grams:
-0.3\tb </s>
-0.1\t<s> \u2581\t-0.6
-0.25\t\u2581 a\t-0.45
-0.8\ta b\t0.15

\\3-grams:
-0.05\t\u2581 a b
-0.2\t<s> \u2581 b
-1.5\t\u2581 a </s>

\\end\\
"""
Whole = Callable[[Sequence[int]], float]  # log p of a text, from scratch; EOS is a token like others


def neural(config: LMConfig) -> tuple[Scorer, Whole]:
    torch.manual_seed(4)
    model = LanguageModel(config).eval()
    torch.nn.init.normal_(model.output.weight, std=0.6)

    def whole(tokens: Sequence[int]) -> float:
        with torch.no_grad():
            log_probs = model(torch.tensor([[SOS, *tokens]]))[0].double().log_softmax(-1)
        return float(log_probs[range(len(tokens)), list(tokens)].sum())

    return model.freeze(), whole


def ngram(folder: Path) -> tuple[Scorer, Whole]:
    tokenizer = Tokenizer.train(["abc"], folder / "tokenizer.model", VOCABULARY, "char")
    (folder / "lm.arpa").write_text(ARPA, "utf-8")
    lm = NgramLM(folder / "lm.arpa", tokenizer)

    def whole(tokens: Sequence[int]) -> float:
        state, total, last = lm.init_state(1), 0.0, SOS
        for token in tokens:
            log_probs, state = lm.score(torch.tensor([last]), state)
            total, last = total + float(log_probs[0, token]), token
        return total

    return lm, whole


@pytest.fixture(params=[*CONFIGS, "ngram"])
def fused(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Scorer, Whole]:
    return ngram(tmp_path) if request.param == "ngram" else neural(CONFIGS[request.param])


def problem(batch: int, frames: int, seed: int = 0) -> tuple[RecurrentScorer, Tensor]:
    make = torch.Generator().manual_seed(seed)
    memory = torch.randn(batch, VOCABULARY, generator=make, dtype=torch.float64)
    logits = 2 * torch.randn(batch, frames, VOCABULARY, generator=make, dtype=torch.float64)
    return RecurrentScorer(memory, seed + 1), logits.log_softmax(-1)


def test_a_joint_search_with_room_for_all_is_exhaustive(fused: tuple[Scorer, Whole]) -> None:
    lm, whole = fused
    decoder, log_probs = problem(1, 3)
    ctc = transcripts_by_enumeration(log_probs[0])
    tokens = [t for t in range(1, VOCABULARY) if t != EOS]
    truth: dict[Transcript, float] = {}
    for h in (h for n in range(4) for h in itertools.product(tokens, repeat=n)):
        attention = rescore(decoder, 0, h, SOS, EOS)
        truth[h] = 0.7 * attention + 0.3 * ctc.get(h, -math.inf) + 0.6 * whole([*h, EOS]) + 0.8 * len(h)
    expected = sorted(((score, h) for h, score in truth.items() if score > -math.inf), reverse=True)
    [found] = joint_beam_search(
        decoder, log_probs, torch.tensor([3]), sos=SOS, eos=EOS, beam=200, ctc_weight=0.3, nbest=10,
        lm=(lm, 0.6), length_bonus=0.8,
    )  # fmt: skip
    assert [(tuple(h.tokens), h.score) for h in found] == [
        (h, pytest.approx(score, abs=1e-4)) for score, h in expected[:10]
    ]


def test_a_frame_synchronous_search_with_room_for_all_is_exhaustive(fused: tuple[Scorer, Whole]) -> None:
    lm, whole = fused
    _, log_probs = problem(1, 4, seed=2)
    log_probs = log_probs[0].index_fill(1, torch.tensor([EOS]), -math.inf).log_softmax(-1)
    options = SearchOptions(beam=5000, min_probability=0, decoder_weight=0, lm_weight=0.6, length_bonus=0.8)
    search = FrameSyncSearch(options, lm=lm)
    for frame in log_probs.numpy():
        run(search.advance(frame), lambda ask: pytest.fail("there is no decoder"))
    truth = {
        h: score + 0.6 * whole(h) + 0.8 * len(h)
        for h, score in transcripts_by_enumeration(log_probs).items()
        if score > -math.inf
    }
    assert {tuple(h.tokens): h.score for h in search.hypotheses()} == pytest.approx(truth, abs=1e-4)


def test_a_batch_is_each_utterance_alone(fused: tuple[Scorer, Whole]) -> None:
    lm, _ = fused
    lengths = torch.tensor([14, 6, 1, 9])  # they end one after another, and the rest goes on
    decoder, log_probs = problem(4, 14, seed=3)
    options = {"sos": SOS, "eos": EOS, "beam": 4, "ctc_weight": 0.3, "nbest": 3, "length_bonus": 0.5}
    batch = joint_beam_search(decoder, log_probs, lengths, lm=(lm, 0.5), **options)
    for row, length in enumerate(lengths.tolist()):
        one = RecurrentScorer(decoder.memory[row : row + 1], decoder.seed)
        own = log_probs[row : row + 1, :length]
        [alone] = joint_beam_search(one, own, lengths[row : row + 1], lm=(lm, 0.5), **options)
        assert [(h.tokens, pytest.approx(h.score, abs=1e-4)) for h in alone] == [
            (h.tokens, h.score) for h in batch[row]
        ]


def wrong_in_the_joint_search(lm: Scorer, whole: Whole) -> float:
    """Largest difference, in nats, of a language model score and that of the same text from scratch."""
    decoder, log_probs = problem(3, 15, seed=5)
    decoder.memory[:, EOS] = -3.0  # so that texts are a few tokens long
    found = joint_beam_search(
        decoder, log_probs, torch.tensor([15, 8, 11]), sos=SOS, eos=EOS, beam=5, ctc_weight=0.3, nbest=5,
        lm=(lm, 0.5), length_bonus=1.0,
    )  # fmt: skip
    assert max(len(h.tokens) for best in found for h in best) >= 6
    return max(abs(h.scores["lm"] - whole([*h.tokens, EOS])) for best in found for h in best)


def wrong_in_the_frame_synchronous_search(lm: Scorer, whole: Whole) -> float:
    _, log_probs = problem(1, 25, seed=5)
    search = FrameSyncSearch(SearchOptions(beam=6, decoder_weight=0, lm_weight=0.5, length_bonus=1.0), lm=lm)
    for frame in log_probs[0].numpy():
        run(search.advance(frame), lambda ask: pytest.fail("there is no decoder"))
    assert max(len(h.tokens) for h in search.hypotheses()) >= 6
    return max(abs(h.scores["lm"] - whole(h.tokens)) for h in search.hypotheses())


def test_every_hypothesis_has_a_state_of_its_own(fused: tuple[Scorer, Whole]) -> None:
    assert wrong_in_the_joint_search(*fused) < 1e-4
    assert wrong_in_the_frame_synchronous_search(*fused) < 1e-4


def test_that_law_has_teeth(fused: tuple[Scorer, Whole], monkeypatch: pytest.MonkeyPatch) -> None:
    """The states of all hypotheses of an utterance become those of its first (FACTS.md, defect 1)."""
    honest = beam.select_rows
    monkeypatch.setattr(beam, "select_rows", lambda state, rows: honest(state, rows // 5 * 5))
    monkeypatch.setattr(prefixes, "select_rows", lambda state, rows: honest(state, torch.zeros_like(rows)))
    assert wrong_in_the_joint_search(*fused) > 0.1
    assert wrong_in_the_frame_synchronous_search(*fused) > 0.1
