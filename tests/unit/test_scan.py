"""The linear recurrence by chunks against a loop, and its gradients against differences."""

import pytest
import torch
from torch import Tensor

from s4speech.layers.scan import CHUNK, linear_scan
from tests.oracles.compare import close, frames

DTYPES = [torch.float64, torch.complex128]
LENGTHS = [1, 2, 3, 4, 5, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 100]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_kind = pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])


def make(rows: int, length: int, states: int, dtype: torch.dtype, varying: bool) -> tuple[Tensor, ...]:
    """a of modulus below 1, b and the state before it."""
    a = frames(*((rows, length) if varying else ()), states, dtype=dtype)
    return a / (1 + a.abs()), frames(rows, length, states, dtype=dtype, seed=2), frames(
        rows, states, dtype=dtype, seed=3
    )  # fmt: skip


def loop(a: Tensor, b: Tensor, state: Tensor) -> Tensor:
    states = []
    for t in range(b.shape[1]):
        state = (a[:, t] if a.dim() == 3 else a) * state + b[:, t]
        states.append(state)
    return torch.stack(states, 1)


def same(got: Tensor, wanted: Tensor) -> None:
    """Real or complex."""
    close(torch.view_as_real(got + 0j), torch.view_as_real(wanted + 0j), 1e-12)


@each_dtype
@each_kind
@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_the_loop(length: int, varying: bool, dtype: torch.dtype) -> None:
    a, b, state = make(3, length, 2, dtype, varying)
    given = [t.clone() for t in (a, b, state)]
    close(
        torch.view_as_real(linear_scan(a, b, state) + 0j), torch.view_as_real(loop(a, b, state) + 0j), 1e-12
    )
    assert all(torch.equal(now, was) for now, was in zip((a, b, state), given, strict=True)), "inputs changed"


@each_dtype
@each_kind
def test_no_frames(varying: bool, dtype: torch.dtype) -> None:
    a, b, state = make(3, 0, 2, dtype, varying)
    assert linear_scan(a, b, state).shape == (3, 0, 2)


@each_dtype
@each_kind
@pytest.mark.parametrize("length", [1, 7, CHUNK, CHUNK + 3])
def test_gradcheck(length: int, varying: bool, dtype: torch.dtype) -> None:
    inputs = [t.requires_grad_() for t in make(2, length, 2, dtype, varying)]
    assert torch.autograd.gradcheck(linear_scan, inputs)


@each_dtype
@each_kind
@pytest.mark.parametrize("length", [9, CHUNK, 2 * CHUNK + 1])
def test_gradients_are_those_of_the_loop(length: int, varying: bool, dtype: torch.dtype) -> None:
    """Also of a sum, whose gradient is one number expanded, and of part of the frames."""
    inputs = [t.requires_grad_() for t in make(2, length, 3, dtype, varying)]
    for read in (
        lambda h: h.sum(),
        lambda h: h[:, 1::2, :2].sum(),
        lambda h: h.transpose(1, 2)[..., -1].sum(),
    ):
        got = torch.autograd.grad(read(linear_scan(*inputs)).real, inputs)
        wanted = torch.autograd.grad(read(loop(*inputs)).real, inputs)
        for g, w in zip(got, wanted, strict=True):
            same(g, w)


@each_kind
@pytest.mark.parametrize("length", [9, CHUNK])
def test_inputs_of_any_strides(length: int, varying: bool) -> None:
    a, b, state = make(2, length, 3, torch.float64, varying)
    turned = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in (a, b, state)]
    same(linear_scan(*turned), loop(a, b, state))


def test_strong_decay_is_exact() -> None:
    """a = 0 forgets everything; a tiny a has powers that underflow."""
    b, state = frames(1, 70, 2), frames(1, 2)
    for a in (0.0, 1e-200):
        for decay in (torch.full((2,), a).double(), torch.full((1, 70, 2), a).double()):
            assert torch.equal(linear_scan(decay, b, state), b)
