"""ESPnet's S4 decoder, its weights in ours: the same log-probabilities (shared/golden/README.md).

Only where that folder is; tests/laws prove the layer against the project's own oracle.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from s4speech.layers import S4
from s4speech.models.asr.decoder import DecoderLayer, S4Decoder
from tests.conftest import REPOSITORY
from tests.oracles.compare import close

GOLDEN = REPOSITORY.parent / "shared" / "golden"
LENGTHS = torch.tensor([11, 11, 11])

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not here")


def load_s4(layer: S4, saved: dict[str, Tensor], name: str) -> None:
    """One kernel: A = -exp(inv_w_real) + i w_imag - P P^*, with C stored as C (I - A_bar^L)."""
    kernel = {key: saved[f"{name}.kernel.kernel.{key}"] for key in ("inv_w_real", "w_imag", "P", "B", "C")}
    layer.log_a_real.copy_(kernel["inv_w_real"])
    layer.a_imag.copy_(kernel["w_imag"])
    layer.p.copy_(kernel["P"])
    layer.b.copy_(kernel["B"][0])
    layer.c.copy_(kernel["C"])
    layer.log_dt.copy_(saved[f"{name}.kernel.kernel.log_dt"].unsqueeze(-1))
    layer.d.copy_(saved[f"{name}.D"][0])
    length = int(saved[f"{name}.kernel.kernel.L"])
    if length:
        a_bar, _, c = layer.discrete(1.0)
        power = torch.linalg.matrix_power(a_bar, length)
        c = torch.linalg.solve(torch.eye(64) - power.mT, c[0].unsqueeze(-1)).squeeze(-1)  # real: 2 conj(C)
        layer.c.copy_(
            torch.view_as_real(torch.view_as_complex(c.unflatten(-1, (-1, 2))).conj().resolve_conj()) / 2
        )


def load_decoder(saved: dict[str, Tensor]) -> S4Decoder:
    weights = {key.removeprefix("weights."): value for key, value in saved.items()}

    def copy(module: torch.nn.Module, name: str) -> None:
        module.weight.copy_(weights[f"{name}.weight"])  # type: ignore[union-attr,operator]
        if f"{name}.bias" in weights:
            module.bias.copy_(weights[f"{name}.bias"])  # type: ignore[union-attr,operator]

    decoder = S4Decoder(30, 16, 2, 2, 64, kernel="s4", d_state=64).eval()
    copy(decoder.embedding, "embed")
    copy(decoder.output, "output")
    copy(decoder.norm, "decoder.norm.norm")
    for number, layer in enumerate(decoder.layers):
        assert isinstance(layer, DecoderLayer)
        s4, cross, ff = (f"decoder.layers.{3 * number + i}" for i in range(3))
        ssm, mix = layer.mixer.layer.layers  # type: ignore[union-attr,misc]
        load_s4(ssm, weights, f"{s4}.layer")
        copy(mix.project, f"{s4}.layer.output_linear.0")
        copy(layer.mixer.norm, f"{s4}.norm.norm")
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("project_out", "out")):
            copy(getattr(layer.cross, ours), f"{cross}.layer.linear_{theirs}")
        copy(layer.cross_norm, f"{cross}.norm.norm")
        net = layer.feed_forward.layer.net  # type: ignore[union-attr]
        copy(net[0], f"{ff}.layer.ff.0.0")
        copy(net[-1], f"{ff}.layer.ff.2")
        copy(layer.feed_forward.norm, f"{ff}.norm.norm")
    return decoder


@pytest.mark.parametrize("kind", ["fresh", "trained"])
@torch.no_grad()
def test_the_published_decoder_in_both_forms(kind: str) -> None:
    saved = load_file(Path(GOLDEN) / f"espnet_s4_decoder_{kind}.safetensors")
    decoder = load_decoder(saved)
    tokens, memory = saved["tokens"], saved["memory"]
    close(decoder(tokens, memory, LENGTHS).log_softmax(-1), saved["log_probs"], 1e-4)
    bound = decoder.freeze().bind(memory, LENGTHS)
    state, rows = bound.init_state(3), []
    for token in tokens.unbind(1):
        log_probs, state = bound.score(token, state)
        rows.append(log_probs)
    close(torch.stack(rows, 1), saved["log_probs"], 1e-4)
