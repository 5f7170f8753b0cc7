"""Every step computed again what does not change (FACTS.md section 1, defect 5).

The published decoder projected the keys and values of the whole encoder output at every step, for every layer
and hypothesis, and computed the constants of its SSMs for every utterance: 300 to 500 ms a token.
"""

from collections import Counter
from typing import Any

import pytest
import torch

from s4speech.layers import S4D
from s4speech.layers.attention import CrossAttention
from s4speech.models.asr.decoder import Decoder, S4Decoder, TransformerDecoder
from s4speech.search import joint_beam_search

EOS, LAYERS = 9, 3


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the expensive constants are computed."""
    counted: Counter[str] = Counter()

    def count(owner: Any, method: str) -> None:
        honest = getattr(owner, method)

        def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
            counted[method] += 1
            return honest(self, *args, **kwargs)

        monkeypatch.setattr(owner, method, counting)

    count(CrossAttention, "project")
    count(S4D, "discrete")
    return counted


@pytest.mark.parametrize("kind", [S4Decoder, TransformerDecoder])
def test_keys_values_and_ssm_constants_are_computed_once(kind: type[Decoder], calls: Counter[str]) -> None:
    torch.manual_seed(0)
    decoder = kind(10, 16, LAYERS, 2, 32).eval()  # type: ignore[call-arg]
    frozen = decoder.freeze()
    assert (calls["discrete"] > 0) == (kind is S4Decoder), "nothing is counted"
    for layer in frozen.decoder.layers:
        for name, part in (("key", layer.cross.key), ("value", layer.cross.value)):
            part.register_forward_hook(lambda *_, name=name: calls.update([name]))
    calls.clear()

    memory, lengths = torch.randn(3, 12, 16), torch.tensor([12, 4, 9])
    for utterances in (slice(0, 2), slice(0, 3)):  # a second batch with the same frozen decoder
        calls.clear()
        scorer = frozen.bind(memory[utterances], lengths[utterances])
        assert calls == {"project": LAYERS, "key": LAYERS, "value": LAYERS}
        found = joint_beam_search(
            scorer, None, lengths[utterances], sos=EOS, eos=EOS, beam=4, ctc_weight=0.0, length_bonus=2.0
        )
        assert sum(len(best[0].tokens) for best in found) > 4, "the search took no steps"
        assert calls == {"project": LAYERS, "key": LAYERS, "value": LAYERS}, "projected again while decoding"


def test_an_utterance_that_leaves_costs_no_projection(calls: Counter[str]) -> None:
    decoder = S4Decoder(10, 16, LAYERS, 2, 32)
    scorer = decoder.freeze().bind(torch.randn(3, 12, 16), torch.tensor([12, 4, 9]))
    calls.clear()
    kept = scorer.keep(torch.tensor([2, 0]))
    assert not calls
    assert kept.memories[0].keys.shape[0] == 2


def test_memory_is_not_copied_for_each_hypothesis() -> None:
    """Hypotheses share their utterance's keys and values: 60 rows attend to one row of memory."""
    decoder = S4Decoder(10, 16, LAYERS, 2, 32)
    scorer = decoder.freeze().bind(torch.randn(1, 12, 16), torch.tensor([12]))
    scorer.score(torch.full((60,), EOS), scorer.init_state(60))
    assert all(memory.keys.shape == (1, 2, 12, 8) for memory in scorer.memories)
