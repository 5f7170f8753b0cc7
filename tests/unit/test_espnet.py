"""Loading ESPnet's S4 decoders, against a dense float64 recurrence that reads ESPnet's own names."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from s4speech.models.asr.decoder import S4Decoder
from s4speech.models.espnet import default_heads, heads_of, load_s4_decoder, read_checkpoint
from tests.conftest import message
from tests.oracles import espnet
from tests.oracles.espnet import KERNEL, Shape

Weights = dict[str, Tensor]
SHAPES = {
    "fresh": Shape(),
    "trained": Shape(kernel_length=20),
    "long": Shape(kernel_length=512, layers=1),
    "an SSM for every second channel": Shape(n_ssm=2, kernel_length=3),
    "an SSM a channel": Shape(n_ssm=6, layers=1, vocab=5),
    "rank 2": Shape(rank=2, kernel_length=7, d_state=4),
}


def tensors(shape: Shape, prefix: str = "", seed: int = 0) -> Weights:
    """Random weights as a checkpoint has them: float32, and the length as an integer."""
    return {
        prefix + key: torch.from_numpy(np.asarray(value)).to(
            torch.int64 if key.endswith(".L") else torch.float32
        )
        for key, value in espnet.random_weights(shape, seed).items()
    }


def wanted(weights: Weights, tokens: Tensor, memory: Tensor, heads: int) -> Tensor:
    plain = {key: value.double().numpy() for key, value in weights.items()}
    rows = [
        espnet.log_probs(plain, row.numpy(), frames.double().numpy(), heads)
        for row, frames in zip(tokens, memory, strict=True)
    ]
    return torch.from_numpy(np.stack(rows))


def both_forms(decoder: S4Decoder, tokens: Tensor, memory: Tensor, lengths: Tensor) -> list[Tensor]:
    """Log-probabilities by convolution and by recurrence."""
    bound = decoder.freeze().bind(memory, lengths)
    state, rows = bound.init_state(len(memory)), []
    for token in tokens.unbind(1):
        log_probs, state = bound.score(token, state)
        rows.append(log_probs)
    return [decoder(tokens, memory, lengths).log_softmax(-1), torch.stack(rows, 1)]


@pytest.mark.parametrize("name", SHAPES, ids=str)
@torch.no_grad()
def test_both_forms_are_the_published_recurrence(name: str) -> None:
    shape, heads = SHAPES[name], 3
    weights = tensors(shape)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(shape.vocab, (2, 9), generator=generator)
    memory = torch.randn(2, 5, shape.d_model, generator=generator)
    right = wanted(weights, tokens, memory, heads)
    decoder = load_s4_decoder(weights, heads)
    for got in both_forms(decoder, tokens, memory, torch.tensor([5, 5])):
        assert float((got - right).abs().max()) < 2e-5
    # the oracle sees the heads, the length and the recurrence: it is not a test that anything passes
    assert float((wanted(weights, tokens, memory, 1) - right).abs().max()) > 1e-3


@torch.no_grad()
def test_padding_of_the_memory_changes_nothing() -> None:
    weights = tensors(SHAPES["trained"])
    tokens, memory = torch.tensor([[1, 2, 3]]), torch.randn(1, 4, 6)
    padded = torch.cat([memory, torch.full((1, 3, 6), 9.0)], 1)
    for got in both_forms(load_s4_decoder(weights, 2), tokens, padded, torch.tensor([4])):
        assert float((got - wanted(weights, tokens, memory, 2)).abs().max()) < 2e-5


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["decoder.", "weights.", "module.decoder."])
def test_a_decoder_inside_a_model(prefix: str) -> None:
    bare = tensors(SHAPES["trained"])
    model = {prefix + key: value for key, value in bare.items()}
    others = {
        "encoder.embed.conv.0.weight": torch.full((2, 2), torch.nan),
        "ctc.ctc_lo.weight": torch.ones(3),
    }
    for one, other in zip(
        load_s4_decoder(bare).state_dict().values(),
        load_s4_decoder(model | others).state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)


@torch.no_grad()
def test_the_length_that_averaging_added_up() -> None:
    """ESPnet's average of n checkpoints has n times the length; `averaged` is for what C was trained as."""
    weights = tensors(SHAPES["trained"])
    added = {key: value * 10 if key.endswith(".L") else value for key, value in weights.items()}
    right = load_s4_decoder(weights).state_dict()
    for key, value in load_s4_decoder(added, averaged=10).state_dict().items():
        assert torch.equal(value, right[key])
    as_espnet = load_s4_decoder(added).state_dict()
    assert not torch.allclose(
        as_espnet["layers.0.mixer.layer.layers.0.c"], right["layers.0.mixer.layer.layers.0.c"]
    )


@pytest.mark.parametrize(
    ("d_model", "heads"), [(512, 8), (256, 8), (64, 8), (16, 2), (6, 1), (40, 5), (66, 6)]
)
def test_heads_where_none_are_given(d_model: int, heads: int) -> None:
    assert default_heads(d_model) == heads


FIRST = f"decoder.layers.0.{KERNEL}"
LAST = f"decoder.layers.3.{KERNEL}"


def without(key: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if name != key}


def replaced(key: str, value: Tensor) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {key: value}


def no_last_block(weights: Weights) -> Weights:
    return {key: value for key, value in weights.items() if "layers.5." not in key}


BROKEN: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "nothing": (lambda weights: {}, "0 tensors called"),
    "another decoder": (without(f"{FIRST}.C"), f"{FIRST}.C"),
    "two decoders": (
        lambda weights: weights | {f"b.{key}": value for key, value in weights.items()},
        "2 tensors",
    ),
    "no embedding": (without("embed.weight"), "embed.weight is missing"),
    "no A": (without(f"{LAST}.inv_w_real"), f"{LAST}.inv_w_real is missing"),
    "no length": (without(f"{FIRST}.L"), f"{FIRST}.L is missing"),
    "no bias": (without("output.bias"), "output.bias is missing"),
    "no block": (no_last_block, "5 sub-blocks decoder.layers.N"),
    "no norm": (without("decoder.norm.norm.weight"), "decoder.norm.norm.weight is missing"),
    "two channels": (replaced(f"{FIRST}.C", torch.zeros(2, 6, 4, 2)), f"{FIRST}.C has shape (2, 6, 4, 2)"),
    "no GLU": (
        replaced("decoder.layers.0.layer.output_linear.0.weight", torch.zeros(6, 6)),
        "output_linear.0.weight has shape (6, 6), wanted (12, 6)",
    ),
    "another width": (replaced("output.weight", torch.zeros(11, 7)), "output.weight has shape (11, 7)"),
    "SSMs that do not divide": (replaced(f"{FIRST}.P", torch.zeros(1, 4, 4, 2)), f"{FIRST}.P is of 4 SSMs"),
    "rank 3": (replaced(f"{FIRST}.P", torch.zeros(3, 1, 4, 2)), "rank 3"),
    "not finite": (replaced("embed.weight", torch.full((11, 6), torch.nan)), "embed.weight has values"),
    "a gate": (
        replaced("decoder.layers.3.layer.input_gate.0.weight", torch.zeros(6, 6)),
        "decoder.layers.3.layer.input_gate.0.weight has no place",
    ),
    "a negative length": (replaced(f"{FIRST}.L", torch.tensor(-4)), f"{FIRST}.L is -4"),
}


@pytest.mark.parametrize("name", BROKEN, ids=str)
def test_what_cannot_be_loaded_is_named(name: str) -> None:
    change, text = BROKEN[name]
    assert text in message(lambda: load_s4_decoder(change(tensors(Shape()))))


def test_options_that_do_not_fit() -> None:
    weights = tensors(Shape(kernel_length=20))
    assert "n_heads: got 4" in message(lambda: load_s4_decoder(weights, 4))
    assert "n_heads: got 0" in message(lambda: load_s4_decoder(weights, 0))
    assert "averaged: got 0" in message(lambda: load_s4_decoder(weights, averaged=0))
    assert f"{FIRST}.L is 20, wanted a multiple of averaged 3" in message(
        lambda: load_s4_decoder(weights, averaged=3)
    )


def test_files(tmp_path: Path) -> None:
    weights = tensors(Shape(layers=1))
    save_file(weights, tmp_path / "a.safetensors")
    torch.save(weights, tmp_path / "b.pth")
    torch.save({"model": weights, "optimizers": [{"state": {}}], "epoch": 3}, tmp_path / "c.pth")
    for name in ("a.safetensors", "b.pth", "c.pth"):
        read = read_checkpoint(tmp_path / name)
        assert read.keys() == weights.keys()
        assert all(torch.equal(read[key], weights[key]) for key in weights)


class Attack:
    """What a pickle could do when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (self.path,))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"embed.weight": Attack(tmp_path / "ran")}, tmp_path / "bad.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Attack(tmp_path / "ran"), 2))
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "text.safetensors").write_text("not a checkpoint")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    for name in ("bad.pth", "plain.pth", "text.pth", "text.safetensors", "list.pth", "none.pth"):
        assert name in message(lambda name=name: read_checkpoint(tmp_path / name))  # type: ignore[misc]
    assert not (tmp_path / "ran").exists()


CONFIG = """
decoder: s4
decoder_conf:
  prenorm: true
  n_layers: 6
  layer:
    - {_name_: s4, postact: glu, measure: legs}
    - {_name_: mha, n_head: 4}
    - {_name_: ff, expand: 4, activation: gelu}
  residual: residual
"""


def test_heads_of_a_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    assert heads_of(path) == 4
    for old, new, text in (
        ("decoder: s4", "decoder: transformer", "decoder transformer"),
        ("prenorm: true", "prenorm: false", "decoder_conf.prenorm: got False"),
        ("activation: gelu", "activation: relu", "layer ff.activation: got relu"),
        ("measure: legs", "real_type: relu", "layer s4.real_type: got relu"),
        ("n_head: 4", "n_head: x", "mha.n_head: got x"),
        ("_name_: mha", "_name_: sru", "'sru'"),
    ):
        path.write_text(CONFIG.replace(old, new))
        assert text in message(lambda: heads_of(path))
