"""Blocks of Q frames: their matrices against powers, the product against a loop, gradients of the carry."""

import pytest
import torch
from torch import Tensor

from s4speech.layers.chunk import (
    Blocks,
    advance,
    block_size,
    convolve_blocks,
    convolve_both,
    dense_blocks,
    diagonal_blocks,
    diagonal_sums,
    to_channels,
    to_frames,
    toeplitz,
)
from tests.oracles.compare import close, frames

H, M = 3, 4  # channels, real states
SIZES = [1, 2, 3, 4, 5, 7, 8, 16, 31]
KINDS = ["complex", "real", "dense"]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_size = pytest.mark.parametrize("size", SIZES)


def stable(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    a = frames(*shape, dtype=dtype, seed=5)
    return a / (1 + a.abs())


def system(kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """A_bar (H, M, M), B_bar (H, M), C (2, H, M), real and dense, on the states that `blocks` has."""
    if kind == "dense":
        return 0.4 * stable(H, M, M), frames(H, M, seed=6), frames(2, H, M, seed=7)
    if kind == "real":
        return torch.diag_embed(stable(H, M)), torch.ones(H, M).double(), frames(2, H, M, seed=7)
    a, c = stable(H, M // 2, dtype=torch.complex128), frames(2, H, M // 2, dtype=torch.complex128, seed=7)
    rows = torch.stack([torch.stack([a.real, -a.imag], -1), torch.stack([a.imag, a.real], -1)], -2)
    dense = torch.stack([torch.block_diag(*channel) for channel in rows])
    b = torch.tensor([1.0, 0.0]).double().repeat(H, M // 2)
    return dense, b, torch.stack([c.real, -c.imag], -1).flatten(-2)


def blocks(kind: str, size: int) -> Blocks:
    if kind == "dense":
        return dense_blocks(*system(kind), size)
    if kind == "real":  # half of them negative: their logarithms have the imaginary part pi
        return diagonal_blocks(torch.log(stable(H, M) + 0j), frames(2, H, M, seed=7), size)
    a, c = stable(H, M // 2, dtype=torch.complex128), frames(2, H, M // 2, dtype=torch.complex128, seed=7)
    return diagonal_blocks(torch.log(a), c, size)


@each_kind
@each_size
def test_the_matrices_are_the_powers(kind: str, size: int) -> None:
    a, b, c = system(kind)
    powers = [torch.eye(M).double().expand(H, M, M)]
    for _ in range(size):
        powers.append(a @ powers[-1])
    made = blocks(kind, size)
    reached = torch.stack([(power @ b.unsqueeze(-1)).squeeze(-1) for power in powers[:size]], 1)  # (H, Q, M)
    close(made.taps, torch.einsum("dhm,hqm->dhq", c, reached), 1e-12)
    close(made.drive, reached.flip(1), 1e-12)
    close(made.readout, torch.stack([torch.einsum("dhm,hmn->dhn", c, p) for p in powers[1:]], -1), 1e-12)
    z = frames(H, 2, M)
    close(advance(z, made.transition), torch.einsum("hmn,hbn->hbm", powers[size], z), 1e-12)


def loop(kind: str, u: Tensor, z: Tensor, direction: int = 0) -> tuple[Tensor, Tensor]:
    """u (H, B, T), z (H, B, M) -> y (H, B, T), z after it."""
    a, b, c = system(kind)
    outputs = []
    for value in u.unbind(-1):
        z = torch.einsum("hmn,hbn->hbm", a, z) + b.unsqueeze(1) * value.unsqueeze(-1)
        outputs.append(torch.einsum("hm,hbm->hb", c[direction], z))
    return torch.stack(outputs, -1), z


@each_kind
@each_size
@pytest.mark.parametrize("count", [1, 2, 5])
def test_blocks_are_the_loop(kind: str, size: int, count: int) -> None:
    u, z = frames(H, 2, size * count), frames(H, 2, M, seed=2)
    made = blocks(kind, size)
    y, after = convolve_blocks(u, made, state=z)
    wanted, wanted_after = loop(kind, u, z)
    close(y, wanted, 1e-12)
    close(after, wanted_after, 1e-12)
    none = torch.zeros_like(z)
    close(convolve_blocks(u, made)[0], loop(kind, u, none)[0], 1e-12)
    back = loop(kind, u.flip(-1), none, 1)[0].flip(-1)
    close(convolve_both(u, made), loop(kind, u, none)[0] + back, 1e-12)


@each_kind
def test_gradcheck_of_the_blocks(kind: str) -> None:
    parts = [part.clone().requires_grad_() for part in blocks(kind, 4)]
    u, z = frames(H, 2, 12).requires_grad_(), frames(H, 2, M, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, z, *b: convolve_blocks(u, Blocks(*b), z), (u, z, *parts))
    assert torch.autograd.gradcheck(lambda u, *b: convolve_blocks(u, Blocks(*b)), (u, *parts)), "from nothing"
    assert torch.autograd.gradcheck(lambda u, *b: convolve_both(u, Blocks(*b)), (u, *parts))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_diagonal_sums(size: int) -> None:
    matrix = frames(H, size, size)
    wanted = [[float(m.diagonal(k).sum()) for k in range(size)] for m in matrix]
    close(diagonal_sums(matrix), torch.tensor(wanted, dtype=torch.float64), 1e-12)


def test_gradcheck_of_the_transposes() -> None:
    x = frames(2, 5, 3).requires_grad_()
    close(to_channels(x), x.permute(2, 0, 1), 0.0)
    close(to_frames(to_channels(x)), x, 0.0)
    assert torch.autograd.gradcheck(to_channels, x) and torch.autograd.gradcheck(to_frames, x)


def test_toeplitz() -> None:
    matrix = toeplitz(torch.tensor([[1.0, 2.0, 3.0]]))
    assert matrix.tolist() == [[[1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]]


def test_the_skip_is_of_the_forward_direction_alone() -> None:
    made = blocks("real", 3)
    with_skip = made.with_skip(torch.tensor([1.0, 2.0, 3.0]).double())
    assert torch.equal((with_skip.taps - made.taps)[0, :, 1:], torch.zeros(H, 2).double())
    close((with_skip.taps - made.taps)[0, :, 0], torch.tensor([1.0, 2.0, 3.0]).double(), 1e-12)
    assert torch.equal(with_skip.taps[1], made.taps[1])


def test_a_block_is_never_longer_than_the_sequence() -> None:
    for rows in (0, 1, 8, 100_000):
        for length in (1, 2, 63, 64, 65, 127, 128, 129, 100_000):
            assert 1 <= block_size(rows, length) <= length
