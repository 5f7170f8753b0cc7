"""A state space model in blocks of Q frames: matrix products inside a block, a recurrence between blocks.

With z the state before a block and u its Q inputs,

    y_j = sum_{i <= j} K_{j-i} u_i + C A_bar^{j+1} z           K_l = C A_bar^l B_bar
    z'  = A_bar^Q z + sum_i A_bar^{Q-1-i} B_bar u_i

which is the convolution, the recurrence, and everything between them, by the choice of Q. All products have
real operands: the complex state of a conjugate pair is two real numbers (real part, imaginary part).
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4speech.layers.ssm import pairs, realify


class Blocks(NamedTuple):
    """The matrices above for H channels with M real state variables each.

    taps: (directions, H, Q), K_l. drive: (H, Q, M), row i is A_bar^{Q-1-i} B_bar.
    readout: (directions, H, M, Q), column j is C A_bar^{j+1}. transition: A_bar^Q, as complex (H, M / 2) or
    real (H, M) if it is diagonal, else (H, M, M) for states as row vectors.
    """

    taps: Tensor
    drive: Tensor
    readout: Tensor
    transition: Tensor

    def with_skip(self, d: Tensor) -> "Blocks":
        """With D (H,) added to K_0 of the forward direction."""
        skip = F.pad(d.unsqueeze(-1), (0, self.taps.shape[-1] - 1)).unsqueeze(0)
        return self._replace(taps=torch.cat([self.taps[:1] + skip, self.taps[1:]]))

    def to(self, dtype: torch.dtype) -> "Blocks":
        """In this real dtype and its complex one."""
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        kinds = [complex_dtype if part.is_complex() else dtype for part in self]
        return Blocks(*(part.to(kind) for part, kind in zip(self, kinds, strict=True)))


def block_size(rows: int, frames: int) -> int:
    """Q for the parallel form of `rows` sequences of `frames` frames, measured on a CPU.

    Larger blocks shorten the loop from block to block, and cost H Q^2 to make.
    """
    return max(1, min(frames, 128 if rows * frames >= 32768 else 64))


def diagonal_blocks(log_a_bar: Tensor, c_bar: Tensor, size: int) -> Blocks:
    """Blocks of y_l = Re sum_n c_n x_n with x_l = A_bar x_{l-1} + u_l.

    log_a_bar: (H, N) complex, c_bar: (directions, H, N) complex, or real where all powers of A_bar are.
    """
    powers = diagonal_powers(log_a_bar, size + 1)  # (H, N, Q + 1)
    if not c_bar.is_complex():
        powers = powers.real  # of a negative A_bar too: its logarithm has the imaginary part pi
    weighted = c_bar.unsqueeze(-1) * powers  # (directions, H, N, Q + 1)
    drive = powers[..., :size].flip(-1).transpose(1, 2)  # (H, Q, N)
    readout = weighted[..., 1:]
    if weighted.is_complex():
        # Re(c z) is the real scalar product of conj(c) and z
        drive = realify(drive)
        readout = torch.view_as_real(readout.conj().resolve_conj()).movedim(-1, -2).flatten(-3, -2)
    return Blocks(weighted[..., :size].real.sum(-2), drive, readout, powers[..., size])


def diagonal_powers(log_a_bar: Tensor, count: int) -> Tensor:
    """log_a_bar (H, N) complex -> A_bar^l for l = 0 .. count-1, (H, N, count).

    As products of two tables of sqrt(count) powers: a complex exponential costs far more than a product.
    """
    inner = math.isqrt(count - 1) + 1
    fine = torch.arange(inner, device=log_a_bar.device, dtype=log_a_bar.real.dtype)
    coarse = torch.arange(0, count, inner, device=log_a_bar.device, dtype=log_a_bar.real.dtype)
    near, far = (torch.exp(log_a_bar.unsqueeze(-1) * steps) for steps in (fine, coarse))
    return (far.unsqueeze(-1) * near.unsqueeze(-2)).flatten(-2)[..., :count]


def dense_blocks(a_bar: Tensor, b_bar: Tensor, c: Tensor, size: int) -> Blocks:
    """Blocks of x_l = A_bar x_{l-1} + B_bar u_l, y = C x, all real.

    a_bar: (H, M, M), b_bar: (H, M), c: (directions, H, M). The powers come by doubling: log2(size) matrix
    products for size of them.
    """
    reached, square = b_bar.unsqueeze(-1), a_bar  # (H, M, count) A_bar^i B_bar; A_bar^count
    observed = c.unsqueeze(-2) @ a_bar  # (directions, H, count, M) C A_bar^{j+1}
    power: Tensor | None = None  # A_bar^(the bits of size seen so far)
    bits = size
    while bits:
        if bits & 1:
            power = square if power is None else power @ square
        bits >>= 1
        if bits:
            reached = torch.cat([reached, square @ reached], -1)
            observed = torch.cat([observed, observed @ square], -2)
            square = square @ square
    assert power is not None  # size >= 1
    if reached.shape[-1] < size:  # the doubling reaches the power of two at or below size
        reached = torch.cat([reached, square @ reached], -1)
        observed = torch.cat([observed, observed @ square], -2)
    reached, observed = reached[..., :size], observed[..., :size, :]
    taps = (c.unsqueeze(-2) @ reached).squeeze(-2)
    return Blocks(taps, reached.flip(-1).transpose(1, 2), observed.transpose(-1, -2), power.transpose(1, 2))


def to_channels(x: Tensor) -> Tensor:
    """(B, T, H) -> (H, B, T)."""
    b, t, h = x.shape
    channels: Tensor = _Transpose.apply(x.reshape(b * t, h))  # type: ignore[no-untyped-call]
    return channels.view(h, b, t)


def to_frames(y: Tensor) -> Tensor:
    """(H, B, T) -> (B, T, H)."""
    h, b, t = y.shape
    frames: Tensor = _Transpose.apply(y.reshape(h, b * t))  # type: ignore[no-untyped-call]
    return frames.view(b, t, h)


class _Transpose(torch.autograd.Function):
    """A matrix transposed in memory, its gradient too: every product with a strided one would copy it again.

    In two dimensions: torch permutes three dimensions three times slower (58 ms against 20 for 33 MB).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.t().contiguous()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g.t().contiguous()


def toeplitz(taps: Tensor) -> Tensor:
    """taps (H, Q) -> (H, Q, Q), row i (source), column j (target): K_{j-i}, 0 for j < i."""
    size = taps.shape[-1]
    return F.pad(taps, (size - 1, 0)).unfold(-1, size, 1).flip(-2)


def convolve_blocks(u: Tensor, blocks: Blocks, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """u (H, B, T) with T a multiple of Q, state (H, B, M) before it -> y (H, B, T), state after it.

    The state after it is None where one block is all there is and no state was given: nothing needs it.
    """
    h, b, t = u.shape
    size = blocks.taps.shape[-1]
    framed = u.reshape(h, -1, size)  # (H, B T / Q, Q)
    local = framed @ toeplitz(blocks.taps[0]).to(u.dtype)
    if t == size and state is None:
        return local.view(h, b, t), None
    inflow = _products(framed, blocks.drive).view(h, b, t // size, -1)
    before, state = carry(inflow, blocks.transition, state)
    y = torch.baddbmm(local, before.flatten(1, 2).to(u.dtype), blocks.readout[0].to(u.dtype))
    return y.view(h, b, t), state


def convolve_both(u: Tensor, blocks: Blocks) -> Tensor:
    """The sum of both directions: u (H, B, T) with T a multiple of Q -> y (H, B, T).

    Backwards every matrix is turned round instead of the input, and the products of the two are one.
    """
    h, b, t = u.shape
    size = blocks.taps.shape[-1]
    framed = u.reshape(h, -1, size)
    local = framed @ (toeplitz(blocks.taps[0]) + toeplitz(blocks.taps[1]).mT).to(u.dtype)
    if t == size:
        return local.view(h, b, t)
    both = torch.cat([blocks.drive, blocks.drive.flip(1)], -1)
    ahead, back = _products(framed, both).view(h, b, t // size, -1).chunk(2, -1)
    before, _ = carry(ahead, blocks.transition)
    after, _ = carry(back.flip(2), blocks.transition)
    states = torch.cat([before, after.flip(2)], -1).flatten(1, 2)
    readout = torch.cat([blocks.readout[0], blocks.readout[1].flip(-1)], 1)
    return torch.baddbmm(local, states.to(u.dtype), readout.to(u.dtype)).view(h, b, t)


def _products(framed: Tensor, drive: Tensor) -> Tensor:
    """In the dtype of the input, the result in that of the state."""
    return (framed @ drive.to(framed.dtype)).to(drive.dtype)


def advance(state: Tensor, transition: Tensor) -> Tensor:
    """state (H, B, M) real times a transition of `Blocks`."""
    if transition.dim() == 3:
        return state @ transition
    if transition.is_complex():
        return realify(pairs(state) * transition.unsqueeze(1))
    return state * transition.unsqueeze(1)


def carry(inflow: Tensor, transition: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """z_{c+1} = A z_c + inflow_c from z_0 = state (H, B, M), None: 0.

    inflow: (H, B, C, M) -> z_0 .. z_{C-1} (H, B, C, M) and z_C (H, B, M). It is a loop over blocks, with a
    backward pass of its own: autograd would keep the intermediate results of each turn.
    """
    if state is None:
        state = inflow.new_zeros(*inflow.shape[:2], inflow.shape[-1])
    before, after = _Carry.apply(inflow, transition, state)  # type: ignore[no-untyped-call]
    return before, after


class _Carry(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inflow: Tensor, transition: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        before = torch.empty_like(inflow)
        for c in range(inflow.shape[2]):
            before[:, :, c] = state
            state = advance(state, transition).add_(inflow[:, :, c])
        ctx.save_for_backward(before, transition)
        return before, state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_before: Tensor, g_state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        before, transition = ctx.saved_tensors
        adjoint = transition.mT if transition.dim() == 3 else transition.conj().resolve_conj()
        g_inflow = torch.empty_like(before)
        for c in reversed(range(before.shape[2])):
            g_inflow[:, :, c] = g_state
            g_state = advance(g_state, adjoint).add_(g_before[:, :, c])
        if transition.dim() == 3:
            g_transition = before.flatten(1, 2).mT @ g_inflow.flatten(1, 2)
        elif transition.is_complex():
            g_transition = (pairs(before).conj() * pairs(g_inflow)).sum((1, 2))
        else:
            g_transition = (before * g_inflow).sum((1, 2))
        return g_inflow, g_transition, g_state
