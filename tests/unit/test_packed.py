"""Packed weights compute what the layers compute."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from s4speech.layers import S4D, Chain, FeedForward
from s4speech.layers.packed import PackedLinear, keep_blocks, pack_linears
from tests.oracles.compare import close, frames


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 1, 5), (2, 7, 5), (1, 300, 5), (2, 0, 5)])
def test_packed_is_linear(shape: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(5, 9, bias)
    x = frames(*shape, dtype=torch.float32)
    with torch.inference_mode():
        close(PackedLinear(linear)(x), linear(x), 1e-6)


def test_a_strided_input() -> None:
    linear = nn.Linear(5, 9)
    x = frames(2, 5, 7, dtype=torch.float32).transpose(1, 2)[:, ::2]
    with torch.inference_mode():
        close(PackedLinear(linear)(x), linear(x), 1e-6)


def test_linears_are_found_wherever_they_are_and_copied_with_their_parent() -> None:
    torch.manual_seed(0)
    model = Chain(FeedForward(8, 12), FeedForward(8, 12)).eval()
    x = frames(2, 6, 8, dtype=torch.float32)
    packed = pack_linears(deepcopy(model))
    assert sum(isinstance(m, PackedLinear) for m in packed.modules()) == 4
    with torch.inference_mode():
        close(deepcopy(packed)(x), model(x), 1e-6)
        close(packed.freeze().scan(x, ((), ()))[0], model(x), 1e-6)


def test_float64_stays_as_it_is() -> None:
    assert isinstance(pack_linears(nn.Sequential(nn.Linear(3, 3).double()))[0], nn.Linear)


@pytest.mark.parametrize("t", [8, 16, 5])
def test_kept_matrices_are_those_of_the_layer(t: int) -> None:
    torch.manual_seed(0)
    layer = S4D(6, 4, bidirectional=True).eval()
    kept = keep_blocks(deepcopy(layer), 8)
    x = frames(1, t, 6, dtype=torch.float32)
    with torch.inference_mode():
        close(kept(x, torch.tensor([t - 2])), layer(x, torch.tensor([t - 2])), 1e-6)
    assert kept.blocks(8, 1.0) is kept.blocks(8, 1.0)
