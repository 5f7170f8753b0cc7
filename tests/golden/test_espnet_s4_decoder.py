"""ESPnet's S4 decoder, its weights in ours: the same log-probabilities (shared/golden/README.md).

Only where that folder is; tests/unit/test_espnet.py proves the loader without it.
"""

import pytest
import torch
from safetensors.torch import load_file

from s4speech.models.espnet import load_s4_decoder
from tests.conftest import REPOSITORY

GOLDEN = REPOSITORY.parent / "shared" / "golden"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not here")


@pytest.mark.parametrize("kind", ["fresh", "trained"])
@torch.no_grad()
def test_the_published_decoder_in_both_forms(kind: str) -> None:
    saved = load_file(GOLDEN / f"espnet_s4_decoder_{kind}.safetensors")
    tokens, memory, wanted = saved["tokens"], saved["memory"], saved["log_probs"]
    decoder = load_s4_decoder(saved)
    lengths = torch.full((len(memory),), memory.shape[1])
    convolution = decoder(tokens, memory, lengths).log_softmax(-1)
    bound = decoder.freeze().bind(memory, lengths)
    state, rows = bound.init_state(len(memory)), []
    for token in tokens.unbind(1):
        log_probs, state = bound.score(token, state)
        rows.append(log_probs)
    for form, got in (("convolution", convolution), ("recurrence", torch.stack(rows, 1))):
        difference = float((got - wanted).abs().max())
        print(f"{kind}, {form}: largest difference of log-probabilities {difference:.2e}")
        assert difference <= 1e-4
